/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * The node's own traffic to services, where its sockets are not balanced. It leaves the stack by one
 * end of a pair of devices, is decided at the other, and its answers enter the stack by the first:
 * from where the route to the service's address leads, which is what strict reverse-path filters
 * ask for.
 */
#pragma once

#include "lib/endpoint.h"

static __always_inline const struct bn_node *host_node(void)
{
	__u32 zero = 0;

	return bpf_map_lookup_elem(&bn_node, &zero);
}

/* The node's end of the pair; 0: there is none. */
static __always_inline __u32 host_ifindex(void)
{
	const struct bn_node *n = host_node();

	return n ? n->host_ifindex : 0;
}

/* The far end. */
static __always_inline __u32 host_peer_ifindex(void)
{
	const struct bn_node *n = host_node();

	return n ? n->peer_ifindex : 0;
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
 * A service's flow whose backend is the node itself. Its answers must come back here. So from the
 * node it gets it from the service's address; where that is the node's own, and from outside, from
 * the node's with a source port of the range, which no socket has. 0 or the reason.
 */
static __noinline int host_decide(struct bn_scratch *s)
{
	const struct bn_node *n = host_node();
	const struct bn_tuple *t;
	struct bn_flow *f;

	if (!s || !n)
		return BN_DROP_INTERNAL;
	t = &s->pkt.tuple;
	f = &s->fwd;
	f->flags |= BN_FLOW_NAT;
	f->to_saddr = t->daddr;
	party_of_address(&s->leaves_as, &t->daddr);
	if (s->pkt.hook == BN_HOOK_FROM_HOST && s->leaves_as.kind != BN_ADDR_HOST) {
		f->flags |= BN_FLOW_HAIRPIN;
	} else {
		f->flags |= BN_FLOW_MASQ;
		if (s->leaves_as.kind != BN_ADDR_HOST)
			f->to_saddr = t->family == BN_IPV4 ? n->v4 : n->v6;
		if (bn_addr_zero(&f->to_saddr))
			return BN_DROP_NO_ROUTE;
	}
	return host_route(&f->action, &f->out_ifindex, &f->mtu);
}
