/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the node has now: links, addresses, the devices of the default routes. Each call is a dump
 * through a netlink socket of the caller's, begun anew when the tables change meanwhile; arrays
 * are the caller's to free().
 */
#pragma once

#include <bpfnet/types.h>
#include <linux/netlink.h>
#include <net/if.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct bn_error;
struct bn_nl;

struct bn_link {
	int ifindex;
	int peer_netns; /* IFLA_LINK_NETNSID: id of the namespace that its other end is in, -1: none */
	int peer_ifindex; /* IFLA_LINK: of a veth its other end, 0: none */
	char name[IF_NAMESIZE];
	char kind[16]; /* "veth", "bridge", ...; "" of a hardware device */
	uint8_t mac[6];
	uint32_t mtu;
	uint32_t flags;    /* IFF_* */
	uint8_t operstate; /* IF_OPER_* */
	uint8_t xdp;       /* XDP_ATTACHED_*, of whatever program */
};

struct bn_own_address {
	union bn_addr addr;
	int ifindex;
	uint8_t prefix;
	bool link_local; /* 169.254.0.0/16, fe80::/10 */
	bool host_scope; /* loopback */
};

/* Whether the link is the host side of an endpoint, by kind and MAC. */
bool bn_link_is_host_side(const struct bn_link *link);
/* Whether both ends of a veth, or the device, carry packets. */
bool bn_link_is_ready(const struct bn_link *link);

/* From a message of RTM_NEWLINK or RTM_DELLINK; false where it is about something else (bridge
 * ports send such messages too). */
bool bn_link_read(const struct nlmsghdr *m, struct bn_link *ret);
bool bn_own_address_read(const struct nlmsghdr *m, struct bn_own_address *ret);

/* By name, or by ifindex where name is NULL; -ENODEV where there is none. */
int bn_link_get(struct bn_nl *nl, const char *name, int ifindex, struct bn_link *ret);

/* The other end of a veth, also in a namespace that is not ours; -ENODEV where there is none. */
int bn_link_get_peer(struct bn_nl *nl, const struct bn_link *link, struct bn_link *ret);

int bn_inventory_links(struct bn_nl *nl, struct bn_link **ret, size_t *ret_n, struct bn_error *err);
/* Without those of endpoints' host sides. */
int bn_inventory_addresses(struct bn_nl *nl, struct bn_own_address **ret, size_t *ret_n,
			   struct bn_error *err);
/* The devices that the default routes of the main table leave by, both families, each once. */
int bn_inventory_default_devices(struct bn_nl *nl, int **ret, size_t *ret_n, struct bn_error *err);
