/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * The established path: parse, one lookup, apply. TCP and UDP without options, extension headers
 * or fragments, whose flow is established and still holds. Everything else returns
 * BN_SLOW with the packet untouched. So does a refused flow's packet, unless all there is to do is
 * to count it: a flood of those should cost no more. A pod's packets on flows that are known but not
 * established, or that they close, go this way too once their flow has moved on (follow.h).
 */
#pragma once

#include "lib/endpoint.h"
#include "lib/epoch.h"
#include "lib/flow.h"
#include "lib/follow.h"
#include "lib/frame.h"
#include "lib/hop.h"
#include "lib/nat.h"
#include "lib/pick.h"

#define BN_SLOW (-100)

/*
 * Family and protocol are constants from here on: one source, four copies, and no kernel has to
 * find out by itself that a header that was checked as IPv4 is not written as IPv6.
 */
struct bn_fast {
	struct ethhdr *eth;
	void *l3;
	void *l4;
	__u8 ttl;
	__u8 l4_hlen;
	__u8 tcp_flags; /* 0 for UDP */
};

#define FAST_L4_OFF(family) \
	(ETH_HLEN + ((family) == BN_IPV4 ? sizeof(struct iphdr) : sizeof(struct ipv6hdr)))

/* The headers that fast_path() has seen the kind of; pointers are verified for what they name. */
static __always_inline bool fast_parse(const struct bn_frame *frame, struct bn_fast *p,
				       struct bn_tuple *t, const __u8 family, const __u8 protocol)
{
	void *data = frame->data, *end = frame->end;
	__be16 *ports;
	__u32 len;

	p->eth = data;
	p->l3 = data + ETH_HLEN;
	p->l4 = data + FAST_L4_OFF(family);
	if (p->l4 + (protocol == IPPROTO_TCP ? sizeof(struct tcphdr) : sizeof(struct udphdr)) > end)
		return false;
	if (family == BN_IPV4) {
		struct iphdr *ip = p->l3;

		len = bpf_ntohs(ip->tot_len);
		p->ttl = ip->ttl;
		bn_addr_set_v4(&t->saddr, ip->saddr);
		bn_addr_set_v4(&t->daddr, ip->daddr);
	} else {
		struct ipv6hdr *ip = p->l3;

		len = bpf_ntohs(ip->payload_len) + sizeof(*ip);
		p->ttl = ip->hop_limit;
		__builtin_memcpy(&t->saddr, &ip->saddr, 16);
		__builtin_memcpy(&t->daddr, &ip->daddr, 16);
	}
	if (protocol == IPPROTO_TCP) {
		__u8 *tcp = p->l4;

		p->tcp_flags = tcp[13];
		p->l4_hlen = (tcp[12] >> 4) * 4;
		if (p->l4_hlen < sizeof(struct tcphdr))
			return false;
	} else {
		p->l4_hlen = sizeof(struct udphdr);
		p->tcp_flags = 0;
	}
	/* what lies about its length is for the full parser to name; so is BIG TCP's zero */
	if (len < FAST_L4_OFF(family) - ETH_HLEN + p->l4_hlen || len > frame->len - ETH_HLEN)
		return false;
	ports = p->l4;
	t->sport = ports[0];
	t->dport = ports[1];
	t->protocol = protocol;
	t->family = family;
	t->pad = 0;
	return true;
}

/* The transport header's part of fast_leave(); `l4_len`: from there on. False: for bn_parse(). */
static __always_inline bool fast_leave_l4(struct bn_packet *pkt, void *l4, void *end, __u32 l4_len)
{
	if (pkt->tuple.protocol == IPPROTO_TCP) {
		__u8 *tcp = l4;

		if (l4 + sizeof(struct tcphdr) > end)
			return false;
		pkt->tcp_flags = tcp[13];
		pkt->tcp_hlen = (tcp[12] >> 4) * 4;
	} else {
		struct udphdr *udp = l4;
		__u32 len;

		if (l4 + sizeof(*udp) > end)
			return false;
		len = bpf_ntohs(udp->len);
		if (len < sizeof(*udp) || len > l4_len)
			return false;
		pkt->tcp_flags = 0;
		pkt->tcp_hlen = 0;
	}
	return true;
}

/*
 * The packet goes the long way, its tuple is in the scratch area. fast_parse() has taken it; if the
 * full parser (parse.h), which is stricter, would take it too, what that would find out is filled in
 * here. Returns what of enum bn_looked_flag that makes true.
 */
BN_GLOBAL int fast_leave(struct __sk_buff *skb)
{
	void *data = (void *)(long)skb->data, *end = (void *)(long)skb->data_end;
	struct bn_scratch *s = bn_scratch_get();
	const struct bn_tuple *t;
	struct bn_packet *pkt;

	if (!s || skb->vlan_present || data + ETH_HLEN + sizeof(struct iphdr) > end)
		return BN_LOOKED;
	pkt = &s->pkt;
	t = &pkt->tuple;
	pkt->flags = BN_PKT_DF;
	pkt->icmp_type = 0;
	if (t->family == BN_IPV4) {
		struct iphdr *ip = data + ETH_HLEN;

		if (!(ip->frag_off & bpf_htons(IP_DF)))
			pkt->flags = 0;
		pkt->frag_id = ip->id;
		pkt->len = bpf_ntohs(ip->tot_len);
		pkt->ttl = ip->ttl;
		pkt->l4_off = FAST_L4_OFF(BN_IPV4);
		if (!fast_leave_l4(pkt, data + FAST_L4_OFF(BN_IPV4), end, pkt->len - sizeof(*ip)))
			return BN_LOOKED;
	} else {
		struct ipv6hdr *ip = data + ETH_HLEN;

		if ((void *)(ip + 1) > end || (*(__u8 *)ip & 0xf0) != 0x60 ||
		    bn_addr_is_v4(&t->saddr) || bn_addr_is_v4(&t->daddr))
			return BN_LOOKED;
		pkt->frag_id = 0;
		pkt->len = bpf_ntohs(ip->payload_len) + sizeof(*ip);
		pkt->ttl = ip->hop_limit;
		pkt->l4_off = FAST_L4_OFF(BN_IPV6);
		if (!fast_leave_l4(pkt, data + FAST_L4_OFF(BN_IPV6), end, pkt->len - sizeof(*ip)))
			return BN_LOOKED;
	}
	if (mac_is_pods(data, skb->ifindex) && !(((struct ethhdr *)data)->h_dest[0] & 1))
		return BN_LOOKED | BN_LOOKED_PARSED | BN_LOOKED_MAC;
	return BN_LOOKED | BN_LOOKED_PARSED;
}

static __always_inline bool fast_fits(struct __sk_buff *skb, const enum bn_hook hook, __u32 headers,
				      __u32 len, __u32 mtu)
{
	__u32 gso;

	if (likely(len <= mtu))
		return true;
	if (hook == BN_HOOK_XDP) /* before anything could be merged */
		return false;
	gso = skb->gso_size;
	return gso && gso + headers <= mtu;
}

/* A packet of a flow that stands refused: dropped and counted, if that is all there is to do. */
static __always_inline int fast_refused(const struct bn_flow_hot *f, __u32 ifindex, __u32 len,
					const enum bn_hook hook, __u32 now)
{
	const struct bn_epochs *ep = epochs_get();
	struct bn_drop_counter *c;
	__u32 reason;

	if (!ep || f->in_ifindex != (hook_has_device(hook) ? ifindex : 0) ||
	    f->epoch != epoch_sum(ep, f->slots))
		return BN_SLOW;
	reason = f->reason;
	c = bpf_map_lookup_elem(&bn_drops, &reason);
	/* one that is to be reported goes the long way */
	if (!c || now - c->window >= bn_config.hz || c->sent < bn_config.event_rate)
		return BN_SLOW;
	drop_add(c, hook, len);
	c->suppressed++;
	return TC_ACT_SHOT;
}

/* Whether a UDP flow's backend still takes what is not TCP; looks only where some backend left. */
static __always_inline bool fast_backend_current(struct bn_flow_hot *f,
						 const struct bn_flow_cold *cold,
						 const struct bn_epochs *ep)
{
	__u32 epoch = *(const volatile __u32 *)&ep->backends;

	if (likely(!(f->flags & BN_FLOW_BACKEND) || f->backend_epoch == epoch))
		return true;
	if (!service_backend_current(cold))
		return false;
	f->backend_epoch = epoch;
	return true;
}

/*
 * What the slow path will want of memory for a first packet, all on its way together: both directions'
 * places, of which neither depends on the backend (bn_hash_tuple()), and with `service` the frontend. `at`:
 * low half of the hash of s->pkt.tuple. In vain if the table has the flow, so for a SYN it is done while the
 * last SYN's flow was new. The frontend comes last, since stores wait for loads that came before.
 */
BN_GLOBAL int fast_expect(__u32 at, __u32 service)
{
	struct bn_scratch *s = bn_scratch_get();

	if (!s)
		return 0;
	table_touch_at(at);
	table_touch_at(at ^ BN_HASH_OPPOSITE);
	if (service)
		service_touch(&s->pkt.tuple.daddr, s->pkt.tuple.dport, s->pkt.tuple.protocol);
	return 0;
}

/* Of the two directions of a flow that the node itself is an end of, its firewall being on. */
static __always_inline bool fast_is_towards_node(const struct bn_flow_hot *f)
{
	return !(f->flags & BN_FLOW_ORIGIN) == !!(f->flags & BN_FLOW_NODE);
}

/*
 * Whether the entry `f` still says what is to become of the packet, and if so, that. `follows`: it is
 * s->fwd, and its flow moves on.
 */
static __always_inline int fast_apply(void *ctx, const struct bn_frame *frame,
				      const enum bn_hook hook, const struct bn_fast *p,
				      struct bn_flow_hot *f, const struct bn_flow_cold *cold,
				      const __u8 family, const __u8 protocol, const bool follows)
{
	const __u32 check = protocol == IPPROTO_TCP ? BN_CHECK_TCP : BN_CHECK_UDP;
	__u32 ifindex = frame->ifindex, len = frame->len - ETH_HLEN, now;
	const struct bn_hop_mac *mac = NULL;
	const struct bn_epochs *ep;
	bool hop = false, host = false;

	ep = epochs_get();
	if (!ep || unlikely(f->epoch != epoch_sum(ep, f->slots)))
		return BN_SLOW;
	/* in the driver, what goes into a pod is the tc program's */
	if (hook == BN_HOOK_XDP && f->action != BN_ACT_NEIGH)
		return BN_SLOW;
	if (hook_has_device(hook)) {
		if (f->in_ifindex != ifindex ||
		    (hook == BN_HOOK_FROM_POD && !mac_is_pods(p->eth, ifindex)))
			return BN_SLOW;
	} else if (f->in_ifindex) {
		return BN_SLOW;
	}
	if (hook == BN_HOOK_TO_POD) {
		if (f->out_ifindex != ifindex)
			return BN_SLOW;
	} else if (hook == BN_HOOK_TO_UPLINK) {
		if (f->action != BN_ACT_PASS || fast_is_towards_node(f))
			return BN_SLOW;
	} else if (f->action == BN_ACT_PEER || f->action == BN_ACT_NEIGH) {
		hop = true;
		if (p->ttl <= 1 ||
		    !fast_fits(ctx, hook, FAST_L4_OFF(family) - ETH_HLEN + p->l4_hlen, len, f->mtu))
			return BN_SLOW;
	} else if (f->action == BN_ACT_HOST) {
		host = true;
	} else if (hook == BN_HOOK_FROM_UPLINK && (f->out_ifindex || !fast_is_towards_node(f))) {
		return BN_SLOW;
	}
	now = bn_now();
	/* its time is over: the opposite direction's entry may be gone already */
	if (unlikely(bn_expired(f->last_seen + table_lasts(protocol), now)))
		return BN_SLOW;
	if (hook == BN_HOOK_XDP) {
		mac = hop_find(ctx, f, family, protocol, ifindex, ep->slot[BN_SLOT_NONE], now);
		if (!mac || !hop_is_for(mac, p->eth))
			return BN_SLOW;
	}
	if (follows) {
		if (!follow_track())
			return BN_SLOW;
	} else {
		if (protocol == IPPROTO_UDP && !fast_backend_current(f, cold, ep))
			return BN_SLOW;
		f->packets++;
		f->bytes += len;
		f->last_seen = now;
		if (protocol == IPPROTO_TCP)
			f->tcp_flags |= p->tcp_flags;
	}

	if (hook == BN_HOOK_XDP)
		hop_set(mac, p->eth);
	else if (host || (hop && f->action == BN_ACT_PEER))
		mac_set(p->eth, f->out_ifindex);
	nat_network(p->l3, f, family, hop);
	if (f->flags & BN_FLOW_NAT) {
		__be16 *ports = p->l4;

		ports[0] = f->to_sport;
		ports[1] = f->to_dport;
		if (hook == BN_HOOK_XDP) {
			__u16 *sum = p->l4 + check;

			if (protocol == IPPROTO_TCP || *sum)
				nat_transport_full(sum, f, protocol);
		} else if (nat_transport(ctx, p->l4 + check, FAST_L4_OFF(family) + check, f, family,
					 protocol)) {
			return TC_ACT_SHOT;
		}
	}
	if (hook == BN_HOOK_XDP)
		return likely(f->out_ifindex == ifindex) ? XDP_TX : bpf_redirect(f->out_ifindex, 0);
	if (hop && family == BN_IPV6)
		nat_csum_complete(ctx, BN_TTL_STEP6);
	if (!hop)
		return host ? bpf_redirect(f->out_ifindex, BPF_F_INGRESS) : TC_ACT_UNSPEC;
	if (f->action == BN_ACT_PEER)
		return bpf_redirect_peer(f->out_ifindex, 0);
	return bpf_redirect_neigh(f->out_ifindex, NULL, 0, 0);
}

/* A packet of a flow that was found where `looked` says, and that is to move on: see follow.h. */
static __always_inline int fast_follow(void *ctx, const enum bn_hook hook,
				       const struct bn_looked *looked, const __u8 family,
				       const __u8 protocol)
{
	struct bn_scratch *s = bn_scratch_get();
	struct bn_frame frame;
	struct bn_tuple t;
	struct bn_fast p;

	if (!s)
		return BN_SLOW;
	s->pkt.looked = looked->flags;
	s->found_set = looked->set;
	s->found_way = looked->way;
	s->found_tag = looked->tag;
	if (!follow_copy())
		return BN_SLOW;
	/* parsed again, rather than kept on a stack that is full */
	frame_of(&frame, ctx, hook);
	if (!fast_parse(&frame, &p, &t, family, protocol))
		return BN_SLOW;
	return fast_apply(ctx, &frame, hook, &p, &s->fwd.hot, &s->fwd.cold, family, protocol, true);
}

static __always_inline int fast_flow(void *ctx, const struct bn_frame *frame,
				     const enum bn_hook hook, struct bn_looked *looked,
				     const __u8 family, const __u8 protocol)
{
	__u32 ifindex = frame->ifindex, len = frame->len - ETH_HLEN;
	__u32 tag, index, way, now;
	struct bn_flow_set *set;
	struct bn_tuple t;
	struct bn_fast p;
	struct bn_flow_hot *f;
	struct bn_scratch *s;
	__u64 hash;

	if (unlikely(!fast_parse(frame, &p, &t, family, protocol)))
		return BN_SLOW;
	hash = tuple_hash(&t);
	tag = bn_flow_tag(hash);
	index = bn_flow_home(hash, bn_config.flow_mask);
	way = bn_flow_way(hash);
	set = table_set(index);
	if (!set || way >= BN_WAYS)
		return BN_SLOW;
	f = &set->entry[way].flow;
	if (hook != BN_HOOK_XDP && protocol == IPPROTO_TCP && unlikely(p.tcp_flags & TCP_SYN)) {
		s = bn_scratch_get();
		if (!s)
			return BN_SLOW;
		if (s->syn_was_new || p.tcp_flags & TCP_ACK) {
			s->pkt.tuple = t;
			fast_expect((__u32)hash,
				    hook == BN_HOOK_FROM_POD && !(p.tcp_flags & TCP_ACK));
		}
	}
	if (unlikely(!tuple_equal(&set->entry[way].key, &t))) {
		__u64 found;
		__u32 at;

		s = bn_scratch_get();
		if (!s)
			return BN_SLOW;
		s->pkt.tuple = t;
		if (protocol == IPPROTO_UDP && hook_has_device(hook))
			fast_expect((__u32)hash, true);
		at = table_search(BN_THIS, bn_now());
		if (at == TABLE_NOT_FOUND) {
			if (hook == BN_HOOK_XDP)
				return BN_SLOW;
			s->syn_was_new = p.tcp_flags & TCP_SYN;
			looked->flags |= fast_leave(ctx);
			return BN_SLOW;
		}
		index = at >> 3;
		way = at & 7;
		set = table_set(index);
		if (!set)
			return BN_SLOW;
		/* another number than `way`, whose bound 5.10 loses in a spill */
		found = way;
		bn_opaque(found);
		if (found >= BN_WAYS)
			return BN_SLOW;
		f = &set->entry[found].flow;
	}
	if (unlikely(!flow_established(f->state) ||
		     (protocol == IPPROTO_TCP && p.tcp_flags & (TCP_FIN | TCP_SYN | TCP_RST)))) {
		now = bn_now();
		s = bn_scratch_get();
		if (!s)
			return BN_SLOW;
		s->syn_was_new = 0;
		if (hook != BN_HOOK_XDP && f->action != BN_ACT_DROP) {
			/* what the slow path will want of both directions */
			bn_touch(&set->cold[way]);
			flow_hot_peer_key(&s->peer, &t, f);
			table_touch(&s->peer);
		}
		if (set->tag[way] == tag &&
		    (flow_established(f->state) || !bn_expired(set->expires[way], now))) {
			looked->flags = BN_LOOKED_FOUND;
			looked->set = index;
			looked->way = way;
			looked->tag = tag;
			if (f->action == BN_ACT_DROP) {
				int r = fast_refused(f, ifindex, len, hook, now);

				if (r != BN_SLOW)
					return r;
			}
		}
		if (hook == BN_HOOK_XDP) /* tc finds out for itself */
			return BN_SLOW;
		s->pkt.tuple = t;
		looked->flags |= fast_leave(ctx);
		if (hook != BN_HOOK_FROM_POD || looked->flags != (BN_LOOKED | BN_LOOKED_FOUND |
								  BN_LOOKED_PARSED | BN_LOOKED_MAC))
			return BN_SLOW;
		return fast_follow(ctx, hook, looked, family, protocol);
	}
	return fast_apply(ctx, frame, hook, &p, f, &set->cold[way], family, protocol, false);
}

/*
 * `ctx` is the program's, as `hook` says. Verdicts are TC's, but for XDP's own XDP_TX and
 * XDP_REDIRECT; it drops what a TC program would.
 */
static __always_inline int fast_path(void *ctx, const enum bn_hook hook, struct bn_looked *looked)
{
	struct bn_frame frame;
	struct ethhdr *eth;
	void *data, *end;

	looked->flags = 0;
	looked->set = looked->way = looked->tag = 0;
	frame_of(&frame, ctx, hook);
	data = frame.data;
	end = frame.end;
	eth = data;
	if (data + ETH_HLEN + sizeof(struct iphdr) > end)
		return BN_SLOW;
	if (eth->h_proto == bpf_htons(ETH_P_IP)) {
		struct iphdr *ip = data + ETH_HLEN;

		if (*(__u8 *)ip != 0x45 || ip->frag_off & bpf_htons(IP_MF | IP_OFFSET))
			return BN_SLOW;
		if (ip->protocol == IPPROTO_TCP)
			return fast_flow(ctx, &frame, hook, looked, BN_IPV4, IPPROTO_TCP);
		if (ip->protocol == IPPROTO_UDP)
			return fast_flow(ctx, &frame, hook, looked, BN_IPV4, IPPROTO_UDP);
	} else if (eth->h_proto == bpf_htons(ETH_P_IPV6)) {
		struct ipv6hdr *ip = data + ETH_HLEN;

		if (data + ETH_HLEN + sizeof(*ip) > end)
			return BN_SLOW;
		if (ip->nexthdr == IPPROTO_TCP)
			return fast_flow(ctx, &frame, hook, looked, BN_IPV6, IPPROTO_TCP);
		if (ip->nexthdr == IPPROTO_UDP)
			return fast_flow(ctx, &frame, hook, looked, BN_IPV6, IPPROTO_UDP);
	}
	return BN_SLOW;
}
