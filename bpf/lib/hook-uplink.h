/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * The programs on every device that leads out of the node: on its ingress, and where the node's
 * firewall is on also on its egress.
 */
#pragma once

#include "lib/fast.h"
#include "lib/slow.h"

/* Whether a packet that could not be parsed to its end has the port of a service of this node. */
static __noinline bool broken_for_service(struct __sk_buff *skb, struct bn_scratch *s)
{
	struct bn_tuple *t;
	union bn_addr any;
	__be16 ports[2];

	if (!s)
		return false;
	t = &s->pkt.tuple;
	if (!s->pkt.l4_off || s->pkt.flags & BN_PKT_FRAG_LATER ||
	    (t->protocol != IPPROTO_TCP && t->protocol != IPPROTO_UDP &&
	     t->protocol != IPPROTO_SCTP) ||
	    bpf_skb_load_bytes(skb, s->pkt.l4_off, ports, sizeof(ports)))
		return false;
	t->sport = ports[0];
	t->dport = ports[1];
	service_any(&any, t->family);
	return service_exists(s, &t->daddr, t->dport, t->protocol) ||
	       service_exists(s, &any, t->dport, t->protocol);
}

/*
 * From outside. Packets for local pods and for services are decided here; what is for the node
 * itself passes, unless it is for a service's port or a reply to a translated flow, or the node has
 * a firewall. Whatever else is routed through this node is not ours.
 */
static __noinline int slow_from_uplink(struct __sk_buff *skb, const struct bn_looked *looked)
{
	struct bn_scratch *s = bn_scratch_get();
	int r;

	if (!s || !looked)
		return TC_ACT_SHOT;
	slow_begin(skb, s, BN_HOOK_FROM_UPLINK, looked);
	r = slow_parse(skb, looked);
	if (!s->pkt.tuple.family || s->pkt.flags & BN_PKT_ND || outside_loopback(&s->pkt.tuple))
		return TC_ACT_UNSPEC;
	party_of_address(&s->src, &s->pkt.tuple.saddr);
	if (s->src.kind == BN_ADDR_LOCAL_POD || s->src.kind == BN_ADDR_HOST)
		return bn_drop(BN_DROP_UPLINK_SPOOF);
	party_of_address(&s->dst, &s->pkt.tuple.daddr);
	if (bn_config.features & BN_FEATURE_DSR && !r && s->dst.kind == BN_ADDR_LOCAL_POD)
		r = dsr_take(skb);
	if (s->dst.kind == BN_ADDR_LOCAL_POD ||
	    (s->dst.kind != BN_ADDR_HOST && service_owns(s, &s->pkt.tuple.daddr)))
		return r ? bn_drop(r) : slow_packet(skb, s);
	if (s->dst.kind != BN_ADDR_HOST)
		return TC_ACT_UNSPEC;
	if (r)
		return party_is_guarded(&s->dst) || broken_for_service(skb, s) ? bn_drop(r)
									       : TC_ACT_UNSPEC;
	/* what we know nothing of is the node's own affair */
	if (s->pkt.flags & BN_PKT_ICMP_ERROR) {
		if (icmp_error_translate(skb))
			return TC_ACT_UNSPEC;
		r = slow_quoted();
		return r ? bn_drop(r) : slow_send(skb);
	}
	if (s->pkt.flags & (BN_PKT_FRAG_FIRST | BN_PKT_FRAG_LATER)) {
		r = frag_ports();
		if (r)
			return party_is_guarded(&s->dst) ? bn_drop(r) : TC_ACT_UNSPEC;
	}
	return slow_flow(skb);
}

static __always_inline int from_uplink(struct __sk_buff *skb)
{
	struct bn_looked looked;
	int r = fast_path(skb, BN_HOOK_FROM_UPLINK, &looked);

	return r != BN_SLOW ? r : slow_from_uplink(skb, &looked);
}

/* Multicast and broadcast, which have no flows. */
static __always_inline bool to_group(const struct bn_tuple *t)
{
	return t->daddr.b[t->family == BN_IPV4 ? 12 : 0] >= (t->family == BN_IPV4 ? 224 : 0xff);
}

/* What can't be told to be of a flow leaves only where the firewall lets out everything. */
static __always_inline int to_uplink_unclear(const struct bn_scratch *s, int reason)
{
	const struct bn_policy_ref *policy = s->src.policy;

	return policy[0].egress || policy[1].egress ? bn_drop(reason) : TC_ACT_UNSPEC;
}

/* From the node itself, with an address of its own. */
static __noinline int slow_to_uplink(struct __sk_buff *skb, const struct bn_looked *looked)
{
	struct bn_scratch *s = bn_scratch_get();
	int r;

	if (!s || !looked)
		return TC_ACT_SHOT;
	slow_begin(skb, s, BN_HOOK_TO_UPLINK, looked);
	r = slow_parse(skb, looked);
	if (!s->pkt.tuple.family || s->pkt.flags & BN_PKT_ND || to_group(&s->pkt.tuple))
		return TC_ACT_UNSPEC;
	party_of_address(&s->src, &s->pkt.tuple.saddr);
	party_of_address(&s->dst, &s->pkt.tuple.daddr);
	if (!party_is_guarded(&s->src) || s->dst.kind == BN_ADDR_HOST ||
	    s->dst.kind == BN_ADDR_LOCAL_POD)
		return TC_ACT_UNSPEC;
	if (r)
		return to_uplink_unclear(s, r);
	/* about what the stack got, which the firewall let in */
	if (s->pkt.flags & BN_PKT_ICMP_ERROR)
		return TC_ACT_UNSPEC;
	if (s->pkt.flags & (BN_PKT_FRAG_FIRST | BN_PKT_FRAG_LATER)) {
		r = frag_ports();
		if (r)
			return to_uplink_unclear(s, r);
	}
	return slow_flow(skb);
}

static __always_inline int to_uplink(struct __sk_buff *skb)
{
	struct bn_looked looked;
	int r;

	/* decided where it entered */
	if (skb->ingress_ifindex)
		return TC_ACT_UNSPEC;
	r = fast_path(skb, BN_HOOK_TO_UPLINK, &looked);
	return r != BN_SLOW ? r : slow_to_uplink(skb, &looked);
}
