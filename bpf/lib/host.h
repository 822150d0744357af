/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * The node's own traffic to services, where its sockets are not balanced. It leaves the stack by one
 * end of a pair of devices, is decided at the other, and its answers enter the stack by the first:
 * from where the route to the service's address leads, which is what strict reverse-path filters
 * ask for.
 */
#pragma once

#include "lib/endpoint.h"

/* The node's end of the pair; 0: there is none. */
static __always_inline __u32 host_ifindex(void)
{
	__u32 zero = 0;
	const struct bn_node *n = bpf_map_lookup_elem(&bn_node, &zero);

	return n ? n->host_ifindex : 0;
}

/* Into the node's stack, 0 or the reason. The device takes whatever is not too large for the stack. */
static __always_inline int host_route(__u8 *action, __u32 *out_ifindex, __u16 *mtu)
{
	*action = BN_ACT_HOST;
	*out_ifindex = host_ifindex();
	*mtu = 0;
	return *out_ifindex ? 0 : BN_DROP_NO_ROUTE;
}

/*
 * A service's flow from the node, its backend chosen and routed. A backend that is the node itself
 * gets it from the service's address, so that its answers come here too.
 */
static __always_inline int host_decide(struct bn_scratch *s)
{
	struct bn_flow *f = &s->fwd;

	if (s->dst.kind != BN_ADDR_HOST)
		return 0;
	f->to_saddr = s->pkt.tuple.daddr;
	f->flags |= BN_FLOW_HAIRPIN | BN_FLOW_NAT;
	return host_route(&f->action, &f->out_ifindex, &f->mtu);
}
