/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The devices of an endpoint: a veth pair whose host side is the pods' gateway.
 *
 *   pod namespace                               node namespace
 *   +-----------------------------------+       +----------------------------------------+
 *   | eth0  02:bf:<host ifindex>        |       | bn0123456789ab  02:bf:ff:ff:ff:ff      |
 *   |   IP/32, IP6/128 nodad            |=======|   no address                           |
 *   |   169.254.1.1 dev eth0            |       |   IP dev bn... src <node address>      |
 *   |   default via 169.254.1.1         |       |   neighbour IP -> pod's MAC, permanent |
 *   |   default via fe80::1             |       |                                        |
 *   +-----------------------------------+       +----------------------------------------+
 *
 * No interface has the gateways' addresses: the program on the host side answers for them.
 */
#pragma once

#include <bpfnet/types.h>
#include <net/if.h>
#include <stddef.h>
#include <stdint.h>

struct bn_error;
struct bn_nl;

#define BN_VETH_IPS_MAX 2 /* one of each family */
#define BN_VETH_MTU_DEFAULT 1500
#define BN_VETH_MTU_MIN_V6 1280 /* RFC 8200 section 5 */
/* rtm_protocol of the routes that are ours, in the node and in pods. */
#define BN_ROUTE_PROTOCOL 0xbf

struct bn_veth_spec {
	const char *host_ifname;
	const char *pod_ifname;
	int netns_fd;             /* the pod's, checked by the caller */
	const union bn_addr *ips; /* at most BN_VETH_IPS_MAX */
	size_t n_ips;
	uint32_t mtu; /* 0: BN_VETH_MTU_DEFAULT */
	/* Source of the node's own packets towards the pod; NULL: the kernel's choice. */
	const union bn_addr *node_v4;
	const union bn_addr *node_v6;
};

struct bn_veth {
	int ifindex;      /* host side */
	int peer_ifindex; /* pod side, in its namespace */
	uint8_t mac[6];   /* pod side */
	uint32_t mtu;
};

/* bn + 12 digits of a hash of the pod's name; `attempt` gives others where one is taken. */
void bn_veth_host_name(const char *namespace, const char *pod, unsigned attempt,
		       char ret[IF_NAMESIZE]);
void bn_veth_pod_mac(int host_ifindex, uint8_t ret[6]);

/*
 * Makes the pair, down, with MACs, MTU and the host side's sysctls; then calls `attach` with both
 * ifindexes known, so that programs are in place before anything can pass; then brings the pod's
 * side up (addresses, routes), then the host's (routes, neighbours), and waits until both carry
 * packets. On failure everything is as before, except what attach did: that is the caller's.
 */
typedef int (*bn_veth_attach_fn)(void *user, const struct bn_veth *veth, struct bn_error *err);
int bn_veth_create(struct bn_nl *nl, const struct bn_veth_spec *spec, bn_veth_attach_fn attach,
		   void *user, struct bn_veth *ret, struct bn_error *err);

/* Makes the host side as it should be, whatever it is now: sysctls, up, neighbours, routes. */
int bn_veth_repair(struct bn_nl *nl, const struct bn_veth_spec *spec, const struct bn_veth *veth,
		   struct bn_error *err);

/*
 * The last three alone: after the node's address changed, as the kernel deletes IPv4 routes whose
 * source is gone, or after the device was down, which loses all of it.
 */
int bn_veth_refresh(struct bn_nl *nl, const struct bn_veth_spec *spec, const struct bn_veth *veth,
		    struct bn_error *err);

/* Removes the pair and with it all addresses, routes and neighbours; fine where it is gone. */
int bn_veth_remove(struct bn_nl *nl, int ifindex, struct bn_error *err);
