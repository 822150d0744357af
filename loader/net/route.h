/* SPDX-License-Identifier: Apache-2.0 */
/* Where packets would go, as the kernel answers in the namespace of the netlink socket. */
#pragma once

#include <bpfnet/types.h>
#include <stdbool.h>

struct bn_nl;

struct bn_route {
	int ifindex;
	bool local;   /* to the namespace itself */
	bool has_via; /* else the destination is on the link */
	union bn_addr via;
};

/* -ENETUNREACH, -EHOSTUNREACH, -EACCES, -EINVAL: there is none, or one that refuses. */
int bn_route_get(struct bn_nl *nl, const union bn_addr *to, struct bn_route *ret);
/* Whether the kernel has asked for the neighbour's MAC and got no answer. */
bool bn_neighbour_failed(struct bn_nl *nl, int ifindex, const union bn_addr *addr);
