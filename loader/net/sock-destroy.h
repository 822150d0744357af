/* SPDX-License-Identifier: Apache-2.0 */
/* Ending somebody's socket by netlink: SOCK_DESTROY, where the kernel has INET_DIAG_DESTROY. */
#pragma once

#include <bpfnet/types.h>

struct bn_error;

struct bn_sock_name {
	__u8 family; /* enum bn_family of the socket; its addresses may be IPv4's, mapped */
	__u8 protocol;
	union bn_addr local, remote;
	__be16 local_port, remote_port;
	__u64 cookie; /* so that it is this one and no later one */
};

/* In the network namespace of the caller. 0 also where the socket is gone. */
int bn_sock_destroy_by_name(const struct bn_sock_name *name, struct bn_error *err);
