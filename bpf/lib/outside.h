/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * Services for what comes from outside the node. A backend here gets the packet with its sender's
 * address. One elsewhere would answer the sender past this node, so it gets it from this node's
 * address, with a source port of the range, unless that is wanted (dsr.h). Replies leave with the
 * address that the sender knows, by redirect: the stack takes no packet from a pod that claims to come
 * from the node itself.
 */
#pragma once

#include "lib/dsr.h"
#include "lib/endpoint.h"
#include "lib/pick.h"
#include "lib/route.h"

/* Sources that nobody has (RFC 6890), or that have no meaning past their link. */
static __always_inline bool outside_martian(const struct bn_tuple *t)
{
	const __u8 *b = t->saddr.b;

	if (t->family == BN_IPV4)
		return b[12] == 0 || b[12] == 127 || b[12] >= 224 || (b[12] == 169 && b[13] == 254);
	return b[0] == 0xff || (b[0] == 0xfe && (b[1] & 0xc0) == 0x80) ||
	       (!t->saddr.d[0] && !t->saddr.w[2] && !(t->saddr.w[3] & bpf_htonl(~1u)));
}

/*
 * Whether a packet may begin a flow, as far as its source says: 0 or the reason. Nobody outside has a
 * service's address. Of what claims one, the reply's entry would be a pod's own packet to the service,
 * which then left as it is, past the service and to whoever is routed to. A load balancer's address may
 * be another node's own, but for the ports that nobody here reaches there. To the node itself, a link's
 * neighbours speak with their link-local addresses.
 */
static __always_inline int outside_source(struct bn_scratch *s)
{
	const struct bn_tuple *t = &s->pkt.tuple;

	if (s->src.kind == BN_ADDR_LOCAL_POD || s->src.kind == BN_ADDR_HOST)
		return 0;
	if (outside_martian(t) && (s->dst.kind != BN_ADDR_HOST || s->fwd.flags & BN_FLOW_SERVICE))
		return BN_DROP_MARTIAN_SOURCE;
	if (range_flags(&t->saddr) & BN_RANGE_SERVICE ||
	    service_exists(s, &t->saddr, t->sport, t->protocol))
		return BN_DROP_UPLINK_SPOOF;
	return 0;
}

/* 127.0.0.0/8 and ::1: never from outside, whoever has ports published there (RFC 1122 3.2.1.3). */
static __always_inline bool outside_loopback(const struct bn_tuple *t)
{
	if (t->family == BN_IPV4)
		return t->daddr.b[12] == 127;
	return !t->daddr.d[0] && !t->daddr.w[2] && t->daddr.w[3] == bpf_htonl(1);
}

/* Where replies to the sender of the packet in hand leave the node; 0 or the reason. */
static __noinline int outside_route_back(struct __sk_buff *skb, struct bn_scratch *s)
{
	struct bn_flow *r;

	if (!s)
		return BN_DROP_INTERNAL;
	r = &s->rev;
	__builtin_memset(r, 0, sizeof(*r));
	r->to_saddr = s->pkt.tuple.daddr;
	r->to_daddr = s->pkt.tuple.saddr;
	r->action = BN_ACT_PASS;
	route_fib(skb, r, s->pkt.tuple.family, s->pkt.tuple.protocol);
	if (r->action != BN_ACT_NEIGH)
		return BN_DROP_NO_ROUTE;
	s->back.out_ifindex = r->out_ifindex;
	s->back.mtu = r->mtu;
	s->back.action = r->action;
	return 0;
}

/* The flow takes the address that the node has on its way out; false where it has none. */
static __always_inline bool outside_address(struct bn_scratch *s)
{
	__u32 ifindex = s->fwd.out_ifindex;
	struct bn_device *dev = bpf_map_lookup_elem(&bn_devices, &ifindex);
	const union bn_addr *a;

	if (!dev)
		return false;
	a = s->pkt.tuple.family == BN_IPV4 ? &dev->v4 : &dev->v6;
	if (bn_addr_zero(a))
		return false;
	s->fwd.to_saddr = *a;
	s->fwd.flags |= BN_FLOW_NAT | BN_FLOW_MASQ;
	return true;
}

/* A service's flow from no pod of this node, its backend chosen and routed. 0 or the reason. */
static __always_inline int outside_decide(struct __sk_buff *skb, struct bn_scratch *s)
{
	if (s->dst.kind == BN_ADDR_LOCAL_POD)
		return 0;
	if (s->fwd.action != BN_ACT_NEIGH)
		return BN_DROP_NO_ROUTE;
	if (dsr_wanted(skb, s)) {
		s->fwd.served |= BN_FLOW_DIRECT;
		return 0;
	}
	return outside_address(s) ? 0 : BN_DROP_NO_ROUTE;
}
