/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * The decision on a flow's first packet: service and backend, both ends' policy, NAT, route; and
 * on a stale flow's next packet the same without a new backend. s->src is known, s->dst is found
 * here. The result is a pair of entries, s->fwd and s->rev.
 */
#pragma once

#include "lib/answer.h"
#include "lib/epoch.h"
#include "lib/flow.h"
#include "lib/outside.h"
#include "lib/pick.h"
#include "lib/policy.h"
#include "lib/rewrite.h"
#include "lib/route.h"
#include "lib/sock-flow.h"

/*
 * Source ports that are tried for a translated tuple before the flow is refused. They are drawn at
 * random, so that with 95 % of the range taken one search in 500,000 finds none; a range of no more
 * ports than this is searched whole.
 */
#define BN_NAT_TRIES 256

/* The pair's reply direction, from s->fwd. */
static __noinline int decide_reply(struct bn_scratch *s)
{
	struct bn_flow *f, *r;
	struct bn_tuple *t;

	if (!s)
		return 0;
	f = &s->fwd;
	r = &s->rev;
	t = &s->pkt.tuple;
	__builtin_memset(r, 0, sizeof(*r));
	r->to_saddr = t->daddr;
	r->to_daddr = t->saddr;
	r->to_sport = t->dport;
	r->to_dport = t->sport;
	r->flags = f->flags &
		   (BN_FLOW_NAT | BN_FLOW_SERVICE | BN_FLOW_HAIRPIN | BN_FLOW_MASQ | BN_FLOW_NODE);
	r->served = bn_flow_service(&f->hot);
	if (s->pkt.flags & BN_PKT_DSR) {
		r->to_saddr = s->frontend;
		r->to_sport = s->frontend_port;
		r->flags |= BN_FLOW_NAT;
		r->served |= BN_FLOW_DIRECT;
	}
	r->created = s->pkt.now;
	r->last_seen = s->pkt.now;
	r->epoch = f->epoch;
	r->slots = bn_flow_slots(s->dst.slot, s->src.slot);
	r->in_ifindex = s->dst.kind == BN_ADDR_LOCAL_POD ? s->dst.ifindex : 0;
	if (s->pkt.hook != BN_HOOK_FROM_POD && f->action == BN_ACT_HOST)
		r->in_ifindex = host_peer_ifindex();
	if (s->src.kind == BN_ADDR_LOCAL_POD) {
		/*
		 * Back into the pod, past the stack from wherever an ingress hook sees it. What this
		 * node itself answers comes by the stack: an uplink that sees it sees a forgery.
		 */
		r->action = s->dst.kind == BN_ADDR_HOST ? BN_ACT_PASS : BN_ACT_PEER;
		r->out_ifindex = s->src.ifindex;
		r->mtu = s->src.mtu;
	} else {
		r->action = s->back.action; /* nothing set: by the stack */
		r->out_ifindex = s->back.out_ifindex;
		r->mtu = s->back.mtu;
	}
	return nat_prepare(&r->hot, &s->peer);
}

/* Whether the source becomes the node's: a local pod towards what is no pod and no node. */
static __always_inline bool decide_masquerades(const struct bn_scratch *s)
{
	const __u32 feature = s->pkt.tuple.family == BN_IPV4 ? BN_FEATURE_MASQUERADE4
							     : BN_FEATURE_MASQUERADE6;

	return bn_config.features & feature && s->src.kind == BN_ADDR_LOCAL_POD && !s->dst.kind &&
	       s->fwd.action == BN_ACT_NEIGH &&
	       !(range_flags(&s->fwd.to_daddr) & (BN_RANGE_POD | BN_RANGE_DIRECT));
}

static __always_inline bool decide_has_ports(__u8 protocol)
{
	return protocol == IPPROTO_TCP || protocol == IPPROTO_UDP || protocol == IPPROTO_SCTP ||
	       protocol == IPPROTO_ICMP || protocol == IPPROTO_ICMPV6;
}

/*
 * Records the pair as s->fwd stands. The reply's entry is the reservation of the translated tuple.
 * 0, -EEXIST where another flow has it, or the reason.
 */
BN_GLOBAL int decide_reserve(__u32 life)
{
	struct bn_scratch *s = bn_scratch_get();
	int r;

	if (!s)
		return BN_DROP_INTERNAL;
	flow_peer_key(&s->peer, &s->pkt.tuple, &s->fwd);
	if (s->fwd.flags & (BN_FLOW_MASQ | BN_FLOW_HAIRPIN))
		table_touch(&s->peer);
	decide_reply(s);
	r = table_insert(s, BN_OPPOSITE, life, true);
	if (!r) {
		nat_prepare(&s->fwd.hot, &s->pkt.tuple);
		r = table_insert(s, BN_THIS, life, false);
	}
	if (!r || r == -EEXIST)
		return r;
	return r == -ENOSPC ? BN_DROP_FLOW_TABLE_FULL : BN_DROP_INTERNAL;
}

static __always_inline __be16 decide_port(__u32 number)
{
	const __u32 range = (__u32)bn_config.nat_port_max - bn_config.nat_port_min + 1;

	return bpf_htons(bn_config.nat_port_min + number % range);
}

/*
 * The key of the answers to the packet in hand, which are to leave from another node's frontend, is
 * another flow's: of the pod's own, or of a client that came by a frontend here. No other key would do,
 * so that flow ends, unless it is a connection that stands. 0 or the reason.
 */
BN_GLOBAL int decide_supersede(void)
{
	struct bn_scratch *s = bn_scratch_get();
	__u8 looked;
	int r = 0;

	if (!s)
		return BN_DROP_INTERNAL;
	looked = s->pkt.looked;
	s->inner_to = s->pkt.tuple;
	s->rev = s->fwd;
	s->pkt.looked = 0;
	s->pkt.tuple = s->peer;
	if (flow_lookup()) {
		if (s->pkt.tuple.protocol != IPPROTO_UDP &&
		    (s->fwd.state & (BN_FS_ESTABLISHED | BN_FS_CLOSING)) == BN_FS_ESTABLISHED)
			r = BN_DROP_DSR_CONFLICT;
		else
			flow_end(BN_CLOSE_STALE);
	}
	s->pkt.looked = looked;
	s->pkt.tuple = s->inner_to;
	s->fwd = s->rev;
	return r;
}

/*
 * Records the pair, with a source port of the range where the source becomes the node's or the
 * tuple is taken; the original one is kept where it is of the range and free. 0 or the reason.
 */
BN_GLOBAL int decide_record(void)
{
	struct bn_scratch *s = bn_scratch_get();
	const __u32 range = (__u32)bn_config.nat_port_max - bn_config.nat_port_min + 1;
	__u32 start, life;
	bool has_ports;
	int i, r;

	if (!s)
		return BN_DROP_INTERNAL;
	has_ports = decide_has_ports(s->pkt.tuple.protocol);
	life = flow_life(&s->fwd, s->pkt.tuple.protocol);
	if (s->fwd.flags & BN_FLOW_MASQ && has_ports && s->fwd.to_sport) {
		__u32 port = bpf_ntohs(s->fwd.to_sport);

		/* outside the range it could be a socket's of the node itself */
		if (port < bn_config.nat_port_min || port > bn_config.nat_port_max)
			s->fwd.to_sport = decide_port(bpf_get_prandom_u32());
	}
	r = decide_reserve(life);
	if (r != -EEXIST)
		return r;
	if (s->pkt.flags & BN_PKT_DSR) {
		r = decide_supersede();
		if (r)
			return r;
		r = decide_reserve(life);
		return r == -EEXIST ? BN_DROP_DSR_CONFLICT : r;
	}
	/* the client has this backend by another address already: the answer goes by this node */
	if (bn_flow_is_direct(&s->fwd.hot)) {
		s->fwd.served &= ~BN_FLOW_DIRECT;
		if (!outside_address(s))
			return BN_DROP_NO_ROUTE;
	}
	if (!has_ports)
		return BN_DROP_NAT_PORTS_EXHAUSTED;
	/* also a plain flow's: a translated one may hold the tuple that it would reply with */
	s->fwd.flags |= BN_FLOW_NAT;
	start = bpf_get_prandom_u32() % range;
	for (i = 0; i < BN_NAT_TRIES; i++) {
		s->fwd.to_sport =
			decide_port(range <= BN_NAT_TRIES ? start + i : bpf_get_prandom_u32());
		r = decide_reserve(life);
		if (r != -EEXIST)
			return r;
	}
	return BN_DROP_NAT_PORTS_EXHAUSTED;
}

/* Where replies to a sender that is no pod of this node go; 0 or the reason. */
static __always_inline int decide_back(struct __sk_buff *skb, struct bn_scratch *s)
{
	if (s->pkt.hook == BN_HOOK_FROM_UPLINK)
		return outside_route_back(skb, s);
	if (s->pkt.hook == BN_HOOK_FROM_HOST)
		return host_route(&s->back.action, &s->back.out_ifindex, &s->back.mtu);
	return 0;
}

/*
 * The packet in hand says where its flow's answers leave from. Where the flow's entries say another
 * address, the flow is to end and another to be decided (BN_DROP_WRONG_DESTINATION): of datagrams the
 * latest says where the answers come from, a connection has one such address. 0 or the reason.
 */
static __always_inline int decide_agrees(const struct bn_scratch *s, const struct bn_flow_hot *peer)
{
	if (peer && flow_is_answered_directly(peer) && peer->to_sport == s->frontend_port &&
	    bn_addr_equal(&peer->to_saddr, &s->frontend))
		return 0;
	return peer && s->pkt.tuple.protocol != IPPROTO_UDP && s->fwd.state & BN_FS_ESTABLISHED
		       ? BN_DROP_DSR_CONFLICT
		       : BN_DROP_WRONG_DESTINATION;
}

/*
 * The reply's entry of a translated flow that is not established lives as long as the flow's own, and
 * is made again where it was thrown out, so that replies don't pass untranslated. Returns 0 or the
 * reason; where the replies' tuple is another flow's by now, BN_DROP_WRONG_DESTINATION: the flow is to
 * end, and another to be decided.
 */
BN_GLOBAL int decide_mend(struct __sk_buff *skb)
{
	struct bn_scratch *s = bn_scratch_get();
	struct bn_flow_hot *peer;
	struct bn_place place;
	int r;

	if (!s)
		return BN_DROP_INTERNAL;
	flow_peer_key(&s->peer, &s->pkt.tuple, &s->fwd);
	peer = flow_peer(s, &place);
	if (s->pkt.flags & BN_PKT_DSR) {
		r = decide_agrees(s, peer);
		/* nothing ends for a claim that is false */
		if (r == BN_DROP_WRONG_DESTINATION && dsr_accept())
			r = BN_DROP_DSR_FRONTEND;
		if (r)
			return r;
	}
	if (peer) {
		table_extend(&place, s->pkt.now + flow_life(&s->fwd, s->pkt.tuple.protocol));
		return 0;
	}
	party_of_address(&s->dst, &s->fwd.to_daddr);
	if (s->fwd.flags & BN_FLOW_SERVICE && decide_back(skb, s))
		return BN_DROP_NO_ROUTE;
	decide_reply(s);
	s->rev.state = s->fwd.state & (BN_FS_ESTABLISHED | BN_FS_REPLIED);
	return table_insert(s, BN_OPPOSITE, flow_life(&s->fwd, s->pkt.tuple.protocol), true)
		       ? BN_DROP_WRONG_DESTINATION
		       : 0;
}

/* A refusal worth remembering, so that a flood of it costs a lookup: policy's. */
static __always_inline void decide_refuse(struct bn_scratch *s, __u32 reason)
{
	s->fwd.action = BN_ACT_DROP;
	s->fwd.reason = reason;
	s->fwd.refused_by =
		s->verdict[reason == BN_DROP_POLICY_EGRESS ? BN_POLICY_EGRESS : BN_POLICY_INGRESS];
	/* what refused it has the backend's place */
	s->fwd.flags &= ~(BN_FLOW_NAT | BN_FLOW_BACKEND);
	table_insert(s, BN_THIS, bn_config.life.refusal, false);
}

/* Fills what both a first decision and a repeated one need. */
static __always_inline void decide_begin(struct bn_scratch *s)
{
	struct bn_flow *f = &s->fwd;

	__builtin_memset(f, 0, sizeof(*f));
	/* a flow that these ends had before may have been judged */
	__builtin_memset(&s->verdict, 0, sizeof(s->verdict));
	s->audited = 0;
	f->to_saddr = s->pkt.tuple.saddr;
	f->to_daddr = s->pkt.tuple.daddr;
	f->to_sport = s->pkt.tuple.sport;
	f->to_dport = s->pkt.tuple.dport;
	f->flags = BN_FLOW_ORIGIN;
	f->created = s->pkt.now;
	f->last_seen = s->pkt.now;
	f->packets = 1;
	f->bytes = s->pkt.len;
	f->in_ifindex = hook_has_device(s->pkt.hook) ? s->pkt.ifindex : 0;
	s->clock = 0;
	if (bn_config.features & BN_FEATURE_EVENTS)
		s->clock = bpf_ktime_get_ns();
	if (s->pkt.tuple.protocol == IPPROTO_TCP) {
		f->tcp_flags = s->pkt.tcp_flags;
		if (s->pkt.tcp_flags & TCP_SYN)
			bn_handshake_begin(&f->hot, s->clock);
		if (s->pkt.tcp_flags & TCP_FIN)
			f->state |= BN_FS_FIN;
		if (s->pkt.tcp_flags & TCP_RST)
			f->state |= BN_FS_RST;
	}
}

#define SCTP_CHUNK_INIT 1

/* Whether the packet may be the first of its flow. */
static __always_inline bool decide_begins(struct __sk_buff *skb, const struct bn_scratch *s)
{
	__u8 chunk = 0;

	if (s->pkt.tuple.protocol == IPPROTO_TCP)
		return (s->pkt.tcp_flags & (TCP_SYN | TCP_ACK)) == TCP_SYN;
	if (s->pkt.tuple.protocol == IPPROTO_SCTP)
		return !(s->pkt.flags & BN_PKT_FRAG_LATER) &&
		       !bpf_skb_load_bytes(skb, s->pkt.l4_off + 12, &chunk, 1) &&
		       chunk == SCTP_CHUNK_INIT;
	return true;
}

/*
 * Whether the flow in s->fwd was first seen in its middle: which end began it is not known. One whose
 * origin's entry is lost may have been.
 */
static __noinline bool decide_was_midway(struct bn_scratch *s)
{
	const struct bn_flow_hot *origin;
	struct bn_place place;

	if (!s)
		return true;
	origin = &s->fwd.hot;
	if (s->pkt.tuple.protocol != IPPROTO_TCP && s->pkt.tuple.protocol != IPPROTO_SCTP)
		return false;
	if (!(s->fwd.flags & BN_FLOW_ORIGIN)) {
		flow_peer_key(&s->peer, &s->pkt.tuple, &s->fwd);
		origin = flow_peer(s, &place);
	}
	return !origin || !(origin->state & BN_FS_SYN);
}

/*
 * Policy of the flow from s->src to s->dst, with the addresses and ports that those have behind NAT.
 * *ret_known: the refusal is one of the flow's own direction, and would be its first packet's too.
 */
static __always_inline int decide_policy(struct bn_scratch *s, const union bn_addr *saddr,
					 const union bn_addr *daddr, __be16 sport, __be16 dport,
					 bool midway, bool *ret_known)
{
	__u32 key = policy_key(s->pkt.tuple.protocol, dport);
	int r;

	*ret_known = false;
	if (midway && (policy_failsafe(&s->src, &s->dst, key) ||
		       policy_failsafe(&s->dst, &s->src, policy_key(s->pkt.tuple.protocol, sport))))
		return 0;
	r = policy_check(s, saddr, daddr, key);
	if (r)
		*ret_known = true;
	else if (midway)
		r = policy_check_midway(s, saddr, daddr, sport);
	return r;
}

/* decide_new(): the packet means this node itself, and no service. */
#define BN_DECIDE_NOT_OURS (-1)

/*
 * A flow's hash for Maglev tables, the same on every node, whichever address of the service it came
 * by: the client's end and the service's port.
 */
static __always_inline __u32 decide_hash(const struct bn_tuple *t)
{
	const __u64 key[] = {0x9fb21c651e98df25ull, 0xbf58476d1ce4e5b9ull, 0x94d049bb133111ebull};
	__u64 ends = (__u64)t->sport << 32 | (__u32)t->dport << 16 | t->protocol;

	return (__u32)bn_hash_finish(t->saddr.d[0] * key[0] + t->saddr.d[1] * key[1] +
					     ends * key[2],
				     0xd6e8feb86659fd93ull);
}

static __always_inline int decide_pick(struct bn_scratch *s, bool any)
{
	pick_ask(s);
	if (any)
		service_any(&s->ask.addr, s->pkt.tuple.family);
	if (s->pkt.hook == BN_HOOK_FROM_UPLINK) {
		s->ask.outside = 1;
		s->ask.hash = decide_hash(&s->pkt.tuple);
	}
	return pick_backend();
}

/* Where the reply's entry will be, unless the source changes too. */
static __noinline int decide_touch_reply(struct bn_scratch *s)
{
	if (!s)
		return 0;
	flow_peer_key(&s->peer, &s->pkt.tuple, &s->fwd);
	table_touch(&s->peer);
	return 0;
}

/*
 * The service that the packet means, and one of its backends: s->dst becomes who gets it, service
 * or not. 0, the reason, or BN_DECIDE_NOT_OURS.
 */
static __always_inline int decide_service(struct bn_scratch *s)
{
	const struct bn_tuple *t = &s->pkt.tuple;
	struct bn_flow *f = &s->fwd;
	int r = decide_pick(s, false);

	if (!s->ask.id) {
		party_of_address(&s->dst, &t->daddr);
		if (s->dst.kind == BN_ADDR_HOST) {
			r = decide_pick(s, true);
			/* host ports are published on all addresses, whatever is said of NodePorts */
			if (s->ask.kind == BN_FRONTEND_NODE_PORT &&
			    !(s->dst.flags & BN_HOST_NODE_PORTS))
				s->ask.id = 0;
			if (!s->ask.id)
				return s->pkt.hook == BN_HOOK_FROM_UPLINK &&
						       !party_is_guarded(&s->dst)
					       ? BN_DECIDE_NOT_OURS
					       : 0;
		}
	}
	if (!s->ask.id) {
		decide_touch_reply(s);
		/* a pod's own address is nobody else's */
		return s->dst.kind != BN_ADDR_LOCAL_POD && service_owns(s, &t->daddr)
			       ? BN_DROP_SERVICE_UNKNOWN
			       : 0;
	}
	f->served = s->ask.id;
	f->flags |= BN_FLOW_SERVICE;
	if (r)
		return r;
	f->backend = bn_flow_backend(s->ask.slot.backend, s->ask.slot.gen);
	service_slot_addr(&f->to_daddr, &s->ask.slot);
	f->to_dport = s->ask.slot.port;
	f->flags |= BN_FLOW_BACKEND | BN_FLOW_NAT;
	decide_touch_reply(s);
	party_of_address(&s->dst, &f->to_daddr);
	return 0;
}

/* Returns 0, the reason, or BN_DECIDE_NOT_OURS. */
BN_GLOBAL int decide_new(struct __sk_buff *skb)
{
	struct bn_scratch *s = bn_scratch_get();
	const struct bn_epochs *ep = epochs_get();
	bool midway, known;
	__u32 epoch;
	struct bn_flow *f;
	int r, refused;

	if (!s || !ep)
		return BN_DROP_INTERNAL;
	f = &s->fwd;
	decide_begin(s);
	/* the node's epoch before the tables; the ends' come with what is read of them */
	epoch = ep->slot[BN_SLOT_NONE];
	r = 0;
	if (hook_is_egress(s->pkt.hook))
		party_of_address(&s->dst, &f->to_daddr);
	else
		r = decide_service(s);
	if (r == BN_DECIDE_NOT_OURS)
		return r;
	bn_count(BN_CNT_DECISIONS, 1);
	/* before what its sender would be told */
	refused = outside_source(s);
	if (refused)
		return refused;
	if (r)
		return r;
	if (s->pkt.flags & BN_PKT_DSR) {
		r = dsr_accept();
		if (r)
			return r;
		f->served = s->ask.id;
		f->flags |= BN_FLOW_SERVICE;
	}
	f->epoch =
		epoch + (s->src.slot ? s->src.epoch : epoch) + (s->dst.slot ? s->dst.epoch : epoch);
	f->slots = bn_flow_slots(s->src.slot, s->dst.slot);
	if (s->pkt.hook == BN_HOOK_FROM_HOST && !(f->flags & BN_FLOW_SERVICE))
		return BN_DROP_SERVICE_UNKNOWN;
	if (s->pkt.hook == BN_HOOK_FROM_POD) {
		if (!s->dst.kind && range_flags(&f->to_daddr) & BN_RANGE_SERVICE)
			return BN_DROP_SERVICE_UNKNOWN;
		if (s->dst.kind == BN_ADDR_LOCAL_POD && s->dst.ifindex == s->pkt.ifindex) {
			if (!(f->flags & BN_FLOW_SERVICE))
				return BN_DROP_NAT_LOOP;
			/* to itself it seems to come from the service: an address that is routed
			 * here in both families, which the gateway's link-local one is not */
			f->to_saddr = s->pkt.tuple.daddr;
			f->flags |= BN_FLOW_HAIRPIN | BN_FLOW_NAT;
		}
	}
	if (s->src.kind == BN_ADDR_HOST)
		f->flags |= BN_FLOW_NODE;
	midway = unlikely(!decide_begins(skb, s));
	if (!midway)
		f->state |= BN_FS_SYN;
	r = decide_policy(s, &s->pkt.tuple.saddr, &f->to_daddr, s->pkt.tuple.sport, f->to_dport,
			  midway, &known);
	/* another is none to remember: a first packet with the same tuple may follow */
	if (known)
		decide_refuse(s, r);
	if (r)
		return r;
	route_set(skb, f, &s->dst, s->pkt.tuple.family, s->pkt.tuple.protocol, s->pkt.hook);
	if (s->pkt.hook != BN_HOOK_FROM_POD && f->flags & BN_FLOW_SERVICE) {
		r = decide_back(skb, s);
		if (!r)
			r = s->dst.kind == BN_ADDR_HOST ? host_decide(s) : outside_decide(skb, s);
		if (r)
			return r;
	} else if (decide_masquerades(s)) {
		outside_address(s);
	}
	/* from a socket of a pod or of the node itself, which may have been told another address */
	if (!(f->flags & BN_FLOW_SERVICE) &&
	    (s->pkt.hook == BN_HOOK_FROM_POD || s->src.kind == BN_ADDR_HOST))
		sock_flow_service(skb);
	r = decide_record();
	if (r)
		return r;
	bn_count(BN_CNT_FLOWS_OPENED, 1);
	event_opened(s);
	return 0;
}

/*
 * Tells that policy denies the flow in s->fwd by now: once for each epoch, with the first packet
 * of either direction, whose entry has the epoch before the other's.
 */
BN_GLOBAL int decide_tell_audited(void)
{
	struct bn_scratch *s = bn_scratch_get();
	struct bn_flow_hot *peer;
	struct bn_place place;

	if (!s)
		return 0;
	flow_peer_key(&s->peer, &s->pkt.tuple, &s->fwd);
	peer = flow_peer(s, &place);
	if (!peer || peer->epoch != s->fwd.epoch)
		event_audited(s);
	return 0;
}

/*
 * A stale entry, whose epoch has passed: policy and route are judged anew in the flow's original
 * direction, the NAT binding stays. s->fwd is the entry, s->src/s->dst are overwritten. Returns 0
 * or the reason.
 */
BN_GLOBAL int decide_again(struct __sk_buff *skb)
{
	struct bn_scratch *s = bn_scratch_get();
	const struct bn_epochs *ep = epochs_get();
	struct bn_flow_hot *live;
	struct bn_flow *f;
	struct bn_party *hop;
	struct bn_place place;
	bool midway, known;
	__u32 epoch;
	int r;

	if (!s || !ep)
		return BN_DROP_INTERNAL;
	f = &s->fwd;
	bn_count(BN_CNT_STALE, 1);
	epoch = epoch_sum(ep, f->slots);
	midway = unlikely(decide_was_midway(s));
	if (f->flags & BN_FLOW_ORIGIN) {
		party_of_address(&s->dst, &f->to_daddr);
		r = decide_policy(s, &s->pkt.tuple.saddr, &f->to_daddr, s->pkt.tuple.sport,
				  f->to_dport, midway, &known);
		hop = &s->dst;
	} else {
		/* the origin is where this reply goes, its destination is who replies */
		party_of_address(&s->src, &f->to_daddr);
		party_of_address(&s->dst, &s->pkt.tuple.saddr);
		if (f->flags & BN_FLOW_NODE)
			s->src.kind = BN_ADDR_HOST;
		r = decide_policy(s, &f->to_daddr, &s->pkt.tuple.saddr, f->to_dport,
				  s->pkt.tuple.sport, midway, &known);
		hop = &s->src;
	}
	/* An address that has changed hands is another flow. */
	if (!r && hop->slot != bn_flow_dst_slot(f->slots))
		r = BN_DROP_WRONG_DESTINATION;
	if (r) {
		flow_end(BN_CLOSE_STALE);
		/* from here on the packet's ends, not the flow's: it is told or decided by them */
		if (!(f->flags & BN_FLOW_ORIGIN)) {
			s->leaves_as = s->src;
			s->src = s->dst;
			s->dst = s->leaves_as;
		}
		return r;
	}
	if (f->action == BN_ACT_HOST) {
		r = host_route(&f->action, &f->out_ifindex, &f->mtu);
		if (r)
			return r;
	} else if (f->flags & BN_FLOW_ORIGIN) {
		route_set(skb, f, hop, s->pkt.tuple.family, s->pkt.tuple.protocol, s->pkt.hook);
		/* with this node's address, the stack would not take it back from a device */
		if (s->pkt.hook != BN_HOOK_FROM_POD &&
		    (f->flags & BN_FLOW_MASQ || bn_flow_is_direct(&f->hot)) &&
		    f->action != BN_ACT_NEIGH)
			return BN_DROP_NO_ROUTE;
	} else if (hop->kind == BN_ADDR_LOCAL_POD) {
		f->out_ifindex = hop->ifindex;
		f->mtu = hop->mtu;
	} else if (f->action == BN_ACT_NEIGH) {
		f->action = BN_ACT_PASS;
		route_fib(skb, f, s->pkt.tuple.family, s->pkt.tuple.protocol);
		if (f->action != BN_ACT_NEIGH)
			return BN_DROP_NO_ROUTE;
	}
	f->epoch = epoch;
	live = flow_live(s, &place);
	if (live) {
		live->action = f->action;
		live->out_ifindex = f->out_ifindex;
		live->mtu = f->mtu;
		live->epoch = f->epoch;
	}
	if (s->audited)
		decide_tell_audited();
	return 0;
}
