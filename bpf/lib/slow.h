/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * Everything that the established path leaves: first packets, handshakes and closes, fragments,
 * options and extension headers, SCTP, ICMP and its errors, refusals. The same steps for every
 * hook: who sends, what packet, which flow, decide or follow, send on.
 */
#pragma once

#include "lib/decide.h"
#include "lib/frag.h"
#include "lib/icmp_error.h"
#include "lib/parse.h"

static __always_inline void slow_begin(struct __sk_buff *skb, struct bn_scratch *s, __u32 hook,
				       const struct bn_looked *looked)
{
	const __u32 ifindex = skb->ifindex, len = skb->len;
	const struct bn_epochs *ep;

	if (!(looked->flags & BN_LOOKED_PARSED)) {
		__builtin_memset(&s->pkt, 0, sizeof(s->pkt));
		s->pkt.len = len > ETH_HLEN ? len - ETH_HLEN : 0;
	}
	__builtin_memset(&s->src, 0, sizeof(s->src));
	__builtin_memset(&s->dst, 0, sizeof(s->dst));
	__builtin_memset(&s->fwd, 0, sizeof(s->fwd));
	__builtin_memset(&s->back, 0, sizeof(s->back));
	__builtin_memset(&s->verdict, 0, sizeof(s->verdict));
	s->audited = 0;
	s->placed_set = ~0u;
	s->pkt.hook = hook;
	s->pkt.looked = looked->flags;
	s->found_set = looked->set;
	s->found_way = looked->way;
	s->found_tag = looked->tag;
	s->pkt.ifindex = ifindex;
	s->pkt.now = bn_now();
	/* before any of the packet's ends is looked up */
	ep = epochs_get();
	s->generation = ep ? ep->generation : 0;
}

/* The packet's headers, if the established path has not read all of them already. 0 or the reason. */
static __always_inline int slow_parse(struct __sk_buff *skb, const struct bn_looked *looked)
{
	return looked->flags & BN_LOOKED_PARSED ? 0 : bn_parse(skb);
}

/* How much longer the packet in hand becomes, for it says where its answers leave from (dsr.h). */
static __always_inline __u32 slow_grows(struct __sk_buff *skb, const struct bn_scratch *s)
{
	if (likely(!flow_is_sent_directly(&s->fwd.hot)) ||
	    s->pkt.flags & (BN_PKT_FRAG_LATER | BN_PKT_ICMP_ERROR) || !decide_begins(skb, s))
		return 0;
	return dsr_bytes(s->pkt.tuple.family);
}

/* Whether the next hop takes the packet as it is: GSO packets are cut to gso_size on the way. */
static __always_inline bool slow_fits(struct __sk_buff *skb, const struct bn_scratch *s,
				      __u32 grows)
{
	__u32 len = s->pkt.len + grows, headers;

	if (!s->fwd.mtu || len <= s->fwd.mtu)
		return true;
	if (!skb->gso_size)
		return false;
	headers = s->pkt.l4_off - ETH_HLEN + grows +
		  (s->pkt.tuple.protocol == IPPROTO_TCP ? s->pkt.tcp_hlen : 8);
	return headers + skb->gso_size <= s->fwd.mtu;
}

/* Whether the packet leaves with an address of this node, which the stack takes from no device. */
static __noinline bool slow_poses_as_node(struct bn_scratch *s)
{
	if (!s || bn_addr_equal(&s->fwd.to_saddr, &s->pkt.tuple.saddr))
		return false;
	party_of_address(&s->leaves_as, &s->fwd.to_saddr);
	return s->leaves_as.kind == BN_ADDR_HOST || service_owns(s, &s->fwd.to_saddr);
}

/* Makes the packet in hand what its sender sent, before it is quoted. 0 or the reason. */
static __always_inline int slow_as_sent(struct __sk_buff *skb, const struct bn_scratch *s)
{
	const __u32 flags = BN_FLOW_ORIGIN | BN_FLOW_SERVICE;

	/* only answers of this are translated, the client's packets are not */
	if (!(bn_config.features & BN_FEATURE_DSR) || s->pkt.hook != BN_HOOK_FROM_UPLINK ||
	    (s->fwd.flags & (flags | BN_FLOW_NAT)) != flags)
		return 0;
	return dsr_as_sent(skb);
}

/* Sends the packet on as s->fwd says: TTL and MTU first, then NAT, then out. */
BN_GLOBAL int slow_send(struct __sk_buff *skb)
{
	struct bn_scratch *s = bn_scratch_get();
	__u32 action, hop, grows, r;

	if (!s)
		return TC_ACT_SHOT;
	grows = slow_grows(skb, s);
	action = hook_is_egress(s->pkt.hook) ? BN_ACT_PASS : s->fwd.action;
	hop = action == BN_ACT_PEER || action == BN_ACT_NEIGH ? action : 0;
	if (hop) {
		if (s->pkt.ttl <= 1) {
			r = slow_as_sent(skb, s);
			return r ? bn_drop(r) : answer_ttl(skb, s);
		}
		if (!slow_fits(skb, s, grows)) {
			if (s->pkt.flags & BN_PKT_DF || s->pkt.hook == BN_HOOK_FROM_HOST ||
			    flow_is_answered_directly(&s->fwd.hot) || slow_poses_as_node(s)) {
				r = slow_as_sent(skb, s);
				return r ? bn_drop(r) : answer_too_big(skb, s, s->fwd.mtu - grows);
			}
			action = BN_ACT_PASS; /* the stack fragments it */
			hop = 0;
		}
	}
	if (hop || s->fwd.flags & BN_FLOW_NAT || s->pkt.flags & BN_PKT_ICMP_ERROR) {
		r = nat_rewrite(skb, hop);
		if (!r && grows)
			r = dsr_put(skb);
		if (r)
			return bn_drop(r);
	}
	bn_count(BN_CNT_FORWARDED_PACKETS, 1);
	if (action == BN_ACT_HOST)
		return bpf_redirect(s->fwd.out_ifindex, BPF_F_INGRESS);
	if (action == BN_ACT_PEER)
		return bpf_redirect_peer(s->fwd.out_ifindex, 0);
	if (action == BN_ACT_NEIGH)
		return bpf_redirect_neigh(s->fwd.out_ifindex, NULL, 0, 0);
	return TC_ACT_UNSPEC;
}

static __always_inline int slow_refuse(struct __sk_buff *skb, struct bn_scratch *s, __u32 reason)
{
	if (s->pkt.hook != BN_HOOK_TO_POD &&
	    (reason == BN_DROP_SERVICE_UNKNOWN || reason == BN_DROP_SERVICE_NO_BACKEND)) {
		if (s->pkt.flags & BN_PKT_ECHO_REQUEST && service_owns(s, &s->pkt.tuple.daddr))
			return answer_echo(skb);
		return answer_refused(skb, s, reason);
	}
	return bn_drop(reason);
}

/*
 * A packet that came by the stack and was decided where it entered: too large to go past it. Its
 * flow's entry names the pod it came from and this one.
 */
BN_GLOBAL int slow_by_stack(struct __sk_buff *skb)
{
	struct bn_scratch *s = bn_scratch_get();
	struct bn_place place;
	struct bn_flow_hot *f;

	if (!s)
		return 0;
	bn_tuple_reverse(&s->peer, &s->pkt.tuple);
	table_find(s, BN_OPPOSITE, s->pkt.now, &place);
	f = table_flow(&place);
	return f && f->flags & BN_FLOW_NAT && f->in_ifindex == s->pkt.ifindex &&
	       f->out_ifindex == skb->ingress_ifindex;
}

/*
 * Whether the entry found serves this packet: 0 no (it has been removed; decide anew), 1 yes,
 * 2 yes and it has been counted already.
 */
BN_GLOBAL int slow_entry_serves(struct __sk_buff *skb)
{
	struct bn_scratch *s = bn_scratch_get();
	struct bn_flow_hot *peer;
	struct bn_place place;
	struct bn_flow *f;
	bool answers = false, over = false;
	__u32 in;

	if (!s)
		return 0;
	f = &s->fwd;
	in = hook_has_device(s->pkt.hook) ? s->pkt.ifindex : 0;
	if (f->action == BN_ACT_DROP) {
		const struct bn_epochs *ep = epochs_get();

		return f->in_ifindex == in && ep && f->epoch == epoch_sum(ep, f->slots);
	}
	if (s->pkt.hook == BN_HOOK_TO_POD && f->in_ifindex &&
	    f->in_ifindex == skb->ingress_ifindex && f->out_ifindex == s->pkt.ifindex)
		return 2;
	if (f->in_ifindex == in &&
	    (s->pkt.hook != BN_HOOK_TO_POD || f->out_ifindex == s->pkt.ifindex)) {
		/* of a flow that is answered past this node nobody here saw the end */
		__u8 over_with = BN_FS_CLOSING |
				 (flow_is_sent_directly(&f->hot) ? BN_FS_ESTABLISHED : 0);
		bool fresh = (s->pkt.tcp_flags & (TCP_SYN | TCP_ACK)) == TCP_SYN &&
			     f->state & over_with;

		if (!fresh && service_backend_serves(s)) {
			over = flow_established(f->state) &&
			       bn_expired(f->last_seen + table_lasts(s->pkt.tuple.protocol),
					  s->pkt.now);
			if (likely(!over))
				return 1;
		}
		answers = !fresh && s->pkt.tuple.protocol == IPPROTO_TCP &&
			  !(s->pkt.tcp_flags & TCP_SYN);
	}
	flow_peer_key(&s->peer, &s->pkt.tuple, f);
	peer = flow_peer(s, &place);
	/* the backend has left since its SYN-ACK: it serves whom it has told so */
	if (answers && peer && peer->packets)
		return 1;
	/* both directions' time is over, and nobody needed their places */
	if (over && peer) {
		peer->last_seen = s->pkt.now;
		return 1;
	}
	flow_end(over ? BN_CLOSE_EXPIRED : BN_CLOSE_STALE);
	return 0;
}

/* From a parsed packet with a known sender to its verdict. */
BN_GLOBAL int slow_flow(struct __sk_buff *skb)
{
	struct bn_scratch *s = bn_scratch_get();
	const struct bn_epochs *ep = epochs_get();
	bool known;
	int r;

	if (!s || !ep)
		return TC_ACT_SHOT;
	known = flow_lookup();
	if (known) {
		r = slow_entry_serves(skb);
		if (r == 2)
			return TC_ACT_UNSPEC;
		if (r && s->fwd.action == BN_ACT_DROP) {
			s->verdict[s->fwd.reason == BN_DROP_POLICY_EGRESS ? BN_POLICY_EGRESS
									  : BN_POLICY_INGRESS] =
				s->fwd.refused_by;
			return bn_drop(s->fwd.reason);
		}
		known = r;
	}
	if (known && s->fwd.epoch != epoch_sum(ep, s->fwd.slots)) {
		r = decide_again(skb);
		if (r == BN_DROP_WRONG_DESTINATION)
			known = false;
		else if (r)
			return bn_drop(r);
	}
	if (known &&
	    (s->pkt.flags & BN_PKT_DSR ||
	     (!flow_established(s->fwd.state) &&
	      (s->fwd.flags & (BN_FLOW_NAT | BN_FLOW_ORIGIN)) == (BN_FLOW_NAT | BN_FLOW_ORIGIN)))) {
		r = decide_mend(skb);
		if (r == BN_DROP_WRONG_DESTINATION) {
			flow_end(BN_CLOSE_STALE);
			known = false;
		} else if (r) {
			return bn_drop(r);
		}
	}
	if (known) {
		flow_track();
		return slow_send(skb);
	}
	if (s->pkt.hook == BN_HOOK_TO_POD && slow_by_stack(skb))
		return TC_ACT_UNSPEC;
	if (s->pkt.flags & BN_PKT_ECHO_REPLY) {
		/* perhaps the node itself asked for it, which its firewall would know */
		if (s->pkt.hook == BN_HOOK_FROM_UPLINK && s->dst.kind == BN_ADDR_HOST &&
		    !party_is_guarded(&s->dst))
			return TC_ACT_UNSPEC;
		if (s->pkt.hook == BN_HOOK_TO_UPLINK)
			return TC_ACT_UNSPEC;
		return bn_drop(BN_DROP_ICMP_UNSOLICITED);
	}
	r = decide_new(skb);
	if (r == BN_DECIDE_NOT_OURS)
		return TC_ACT_UNSPEC;
	if (r)
		return slow_refuse(skb, s, r);
	return slow_send(skb);
}

/*
 * Whether policy still allows the flow that an ICMP error quotes, found as s->fwd; asked where its
 * entry is stale, which only the flow's own packets renew. 0 or the reason.
 */
BN_GLOBAL int slow_quoted(void)
{
	struct bn_scratch *s = bn_scratch_get();
	const struct bn_epochs *ep = epochs_get();
	const union bn_addr *from, *to;
	__be16 port;

	if (!s || !ep)
		return BN_DROP_INTERNAL;
	if (s->fwd.epoch == epoch_sum(ep, s->fwd.slots) || s->fwd.flags & BN_FLOW_NODE)
		return 0;
	if (s->fwd.flags & BN_FLOW_ORIGIN) {
		from = &s->peer.saddr;
		to = &s->inner_to.saddr;
		port = s->inner_to.sport;
	} else {
		from = &s->inner_to.saddr;
		to = &s->peer.saddr;
		port = s->peer.sport;
	}
	party_of_address(&s->src, from);
	party_of_address(&s->dst, to);
	if (!policy_check(s, from, to, policy_key(s->peer.protocol, port)))
		return 0;
	party_of_address(&s->src, &s->pkt.tuple.saddr);
	party_of_address(&s->dst, &s->pkt.tuple.daddr);
	return BN_DROP_ICMP_UNRELATED;
}

/* Fragments' ports and ICMP errors' flows, then the flow. */
static __always_inline int slow_packet(struct __sk_buff *skb, struct bn_scratch *s)
{
	int r;

	if (!s)
		return TC_ACT_SHOT;
	if (s->pkt.flags & BN_PKT_ICMP_ERROR) {
		r = icmp_error_translate(skb);
		if (!r)
			r = slow_quoted();
		return r ? bn_drop(r) : slow_send(skb);
	}
	if (s->pkt.flags & (BN_PKT_FRAG_FIRST | BN_PKT_FRAG_LATER)) {
		r = frag_ports();
		if (r)
			return bn_drop(r);
	}
	return slow_flow(skb);
}
