/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The pair of devices by which the node's own packets to services are decided, where its sockets
 * are not balanced. Both ends are in the node's namespace:
 *
 *   +-- bnhost<hash>  02:bf:<own ifindex> ------+    +-- bnpeer<hash>  02:bf:ff:ff:ff:ff --+
 *   | SERVICE-CIDR via 169.254.1.1, fe80::1     |====| no address, no route                |
 *   |   src <node address>                      |    | ingress: bn_from_host               |
 *   | neighbours 169.254.1.1, fe80::1 permanent |    |                                     |
 *   | egress: bn_host_egress                    |    |                                     |
 *   | 192.0.0.8/32                              |    |                                     |
 *   +-------------------------------------------+    +-------------------------------------+
 *
 * What the node sends to an address of its own goes by the loopback device; what of it is a
 * service's is put into the far end's ingress from there (bn_from_loopback). Its answers come out of
 * the near end with the node's own address, which a reverse-path filter lets pass only where it is
 * loose and the device has an address: any, so the dummy of RFC 7600.
 *
 * Names follow from the agent's bpffs folder, so an agent finds its own pair again.
 */
#pragma once

#include "address.h"

#include <net/if.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct bn_error;
struct bn_nl;

/* Of every namespace's loopback device. */
#define BN_LOOPBACK_IFINDEX 1

struct bn_host_device {
	int ifindex;      /* the node's end, 0: none */
	int peer_ifindex; /* where packets are decided */
};

/* Makes the pair, down, unless it is there; settings and MTU as they should be. */
int bn_host_device_ensure(struct bn_nl *nl, const char *bpffs, uint32_t mtu, bool v6,
			  struct bn_host_device *ret, struct bn_error *err);

/* Both ends up, and the gateways' MAC known: after the programs are attached. */
int bn_host_device_raise(struct bn_nl *nl, const struct bn_host_device *device, bool v6,
			 struct bn_error *err);

/* `source` NULL: the kernel's choice. */
struct bn_host_route {
	struct bn_cidr to;
	const union bn_addr *source;
};

/*
 * Exactly these routes to the device; what is right is left alone. -EEXIST where another route to
 * the same CIDR stands, which is not touched; the rest is done.
 */
int bn_host_device_routes(struct bn_nl *nl, const struct bn_host_device *device,
			  const struct bn_host_route *routes, size_t n, struct bn_error *err);

/* One route more or less; what is there already, or gone, is fine. */
int bn_host_device_route(struct bn_nl *nl, const struct bn_host_device *device,
			 const struct bn_host_route *route, bool wanted, struct bn_error *err);

/* Removes the pair and with it the routes; fine where it is gone. */
int bn_host_device_remove(struct bn_nl *nl, const char *bpffs, struct bn_error *err);
