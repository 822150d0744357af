/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * The life of a flow: transient while it is half-open, established when both ends have shown
 * themselves, transient again when one of them closes.
 *
 *        first packet      ACK of the handshake,        FIN or RST
 *   ---> [syn, udp] ---------- lasting UDP -----> [established] --------> [closing, closed]
 *
 * Everywhere below, s->pkt.tuple is the key of the packet in hand, s->fwd a copy of its entry and
 * s->peer the key of the opposite direction.
 */
#pragma once

#include "lib/table.h"

/* State bits of a flow that nothing throws out of the table. */
static __always_inline bool flow_established(__u8 state)
{
	return (state & (BN_FS_ESTABLISHED | BN_FS_CROWDED | BN_FS_CLOSING)) == BN_FS_ESTABLISHED;
}

static __always_inline bool flow_closed(__u8 state)
{
	return state & (BN_FS_RST | BN_FS_PEER_RST) ||
	       (state & (BN_FS_FIN | BN_FS_PEER_FIN)) == (BN_FS_FIN | BN_FS_PEER_FIN);
}

static __always_inline __u32 flow_life(const struct bn_flow *f, __u8 protocol)
{
	if (f->action == BN_ACT_DROP)
		return bn_config.life.refusal;
	switch (protocol) {
	case IPPROTO_TCP:
		if (flow_closed(f->state))
			return bn_config.life.closed;
		if (f->state & BN_FS_CLOSING)
			return bn_config.life.closing;
		if (f->state & BN_FS_ESTABLISHED)
			return bn_config.life.established;
		return bn_config.life.syn;
	case IPPROTO_UDP:
	case IPPROTO_SCTP:
		return f->state & BN_FS_ESTABLISHED ? bn_config.life.udp_lasting
						    : bn_config.life.udp;
	}
	return bn_config.life.icmp;
}

/* For most flows: where to expect the opposite direction. */
static __always_inline void flow_hot_peer_key(struct bn_tuple *ret, const struct bn_tuple *key,
					      const struct bn_flow_hot *f)
{
	ret->saddr = f->to_daddr;
	ret->daddr = f->to_saddr;
	ret->sport = f->to_dport;
	ret->dport = f->to_sport;
	ret->protocol = key->protocol;
	ret->family = key->family;
	ret->pad = 0;
}

static __always_inline void flow_peer_key(struct bn_tuple *ret, const struct bn_tuple *key,
					  const struct bn_flow *f)
{
	if (unlikely(flow_is_answered_directly(&f->hot)))
		bn_tuple_reverse(ret, key);
	else
		flow_hot_peer_key(ret, key, &f->hot);
}

/* Whether the table has the packet's flow; s->fwd gets a copy. */
BN_GLOBAL int flow_lookup(void)
{
	struct bn_scratch *s = bn_scratch_get();
	struct bn_place place;

	if (!s)
		return 0;
	place.set = NULL;
	if (s->pkt.looked & BN_LOOKED_FOUND)
		table_again(s->found_set, s->found_way, s->found_tag, &place);
	else if (!(s->pkt.looked & BN_LOOKED))
		table_find(s, BN_THIS, s->pkt.now, &place);
	if (!table_copy(&place, &s->fwd))
		return 0;
	s->found_set = place.index;
	s->found_way = place.way;
	s->found_tag = place.tag;
	return 1;
}

/* Where flow_lookup() found the packet's entry, if it is still there. */
static __always_inline struct bn_flow_hot *flow_live(struct bn_scratch *s, struct bn_place *place)
{
	table_again(s->found_set, s->found_way, s->found_tag, place);
	return table_flow(place);
}

/*
 * The live entry of the opposite direction. Where that one's time was over, its key may be another
 * flow's by now, whose entry is not found.
 */
static __always_inline struct bn_flow_hot *flow_opposite(struct bn_scratch *s, __u32 now,
							 struct bn_place *place)
{
	struct bn_flow_hot *f;

	table_find(s, BN_OPPOSITE, now, place);
	f = table_flow(place);
	if (f && !flow_answers(f, &s->pkt.tuple, s->fwd.flags)) {
		place->set = NULL;
		return NULL;
	}
	return f;
}

static __always_inline struct bn_flow_hot *flow_peer(struct bn_scratch *s, struct bn_place *place)
{
	return flow_opposite(s, s->pkt.now, place);
}

/* By whom, if the packet in hand shows it: it is the reset, or the second FIN. */
static __always_inline __u32 flow_closed_by(const struct bn_scratch *s, __u8 cause)
{
	bool source = s->fwd.flags & BN_FLOW_ORIGIN;

	if (cause == BN_CLOSE_RST)
		return source ? BN_CLOSED_BY_SOURCE : BN_CLOSED_BY_DESTINATION;
	if (cause == BN_CLOSE_FIN)
		return source ? BN_CLOSED_BY_DESTINATION : BN_CLOSED_BY_SOURCE;
	return BN_CLOSED_BY_NOBODY;
}

/*
 * Reports the flow's end, once: whichever direction the packet in hand belongs to. `own` and
 * `opposite` are its live entries.
 */
static __always_inline void flow_report_closed(struct bn_scratch *s, struct bn_place *own,
					       struct bn_place *opposite, __u8 cause)
{
	const __u32 who = flow_closed_by(s, cause);

	if (s->fwd.flags & BN_FLOW_COUNTED)
		return;
	s->fwd.flags |= BN_FLOW_COUNTED;
	table_flag(own, BN_FLOW_COUNTED);
	table_flag(opposite, BN_FLOW_COUNTED);
	if (s->fwd.flags & BN_FLOW_ORIGIN) {
		s->ended.key = s->pkt.tuple;
		s->ended.flow = s->fwd;
		if (!table_copy(opposite, &s->ended_reply))
			__builtin_memset(&s->ended_reply, 0, sizeof(s->ended_reply));
	} else {
		s->ended.key = s->peer;
		if (!table_copy(opposite, &s->ended.flow))
			return;
		s->ended_reply = s->fwd;
	}
	event_closed(cause | EVENT_CLOSED_BY(who));
}

/* The end of the flow that flow_lookup() found: it is reported, and both directions are removed. */
BN_GLOBAL int flow_end(__u32 cause)
{
	struct bn_scratch *s = bn_scratch_get();
	struct bn_place own, opposite;
	__u64 gone;

	if (!s)
		return 0;
	flow_peer_key(&s->peer, &s->pkt.tuple, &s->fwd);
	flow_live(s, &own);
	flow_peer(s, &opposite);
	flow_report_closed(s, &own, &opposite, cause);
	gone = table_change(&opposite, TABLE_FREE, 0, s->pkt.now) == 2;
	gone += table_change(&own, TABLE_FREE, 0, s->pkt.now) == 2;
	bn_count(BN_CNT_FLOWS_DEMOTED, gone);
	return 0;
}

/*
 * Both directions were seen: nothing throws the flow out any more. Where one of its sets has no
 * room for that, both stay transient, with the lifetime of an established flow.
 */
static __always_inline void flow_promote(struct bn_scratch *s, const struct bn_place *own,
					 const struct bn_place *peer)
{
	const __u32 state = BN_FS_ESTABLISHED | BN_FS_REPLIED;
	__u32 deadline;

	s->fwd.state |= state;
	deadline = s->pkt.now + flow_life(&s->fwd, s->pkt.tuple.protocol);
	if (table_change(peer, TABLE_ESTABLISH, state, deadline) == 1 ||
	    table_change(own, TABLE_ESTABLISH, state, deadline) == 1) {
		table_change(own, TABLE_RELEASE, state | BN_FS_CROWDED, deadline);
		table_change(peer, TABLE_RELEASE, state | BN_FS_CROWDED, deadline);
		bn_count(BN_CNT_FLOWS_FULL, 1);
		return;
	}
	bn_count(BN_CNT_FLOWS_PROMOTED, 2);
}

/*
 * A flow whose answers pass this node by has shown all that it will: from now on it is the
 * established path's. It stays transient, for its client alone would have to be believed; a packet of
 * one that has lost its place finds the same backend again.
 */
static __always_inline void flow_promote_direct(struct bn_scratch *s, const struct bn_place *own)
{
	struct bn_place reserved;
	struct bn_flow_hot *f;
	__u32 deadline;

	s->fwd.state |= BN_FS_ESTABLISHED;
	deadline = s->pkt.now + flow_life(&s->fwd, s->pkt.tuple.protocol);
	flow_peer(s, &reserved);
	table_extend(&reserved, deadline);
	f = table_flow(own);
	if (f)
		bn_handshake_set(f, 0);
	table_change(own, TABLE_RELEASE, BN_FS_ESTABLISHED, deadline);
}

/* A FIN or RST: transient again, from the state that each direction is in by then. */
static __always_inline void flow_close(struct bn_scratch *s)
{
	__u8 flags = s->pkt.tcp_flags, mine = 0, peers = 0;
	struct bn_place own, opposite;
	struct bn_flow_hot *f, *peer;
	__u64 gone = 0;

	if (flags & TCP_FIN) {
		mine |= BN_FS_FIN;
		peers |= BN_FS_PEER_FIN;
	}
	if (flags & TCP_RST) {
		mine |= BN_FS_RST;
		peers |= BN_FS_PEER_RST;
	}
	peer = flow_peer(s, &opposite);
	s->fwd.state |= mine;
	if (peer) {
		s->rev.state = peer->state | peers;
		s->rev.action = peer->action;
		gone += table_change(&opposite, TABLE_RELEASE, peers,
				     s->pkt.now + flow_life(&s->rev, IPPROTO_TCP)) == 2;
	}
	f = flow_live(s, &own);
	if (f) {
		f->packets = s->fwd.packets;
		f->bytes = s->fwd.bytes;
		f->last_seen = s->fwd.last_seen;
		f->tcp_flags = s->fwd.tcp_flags;
		gone += table_change(&own, TABLE_RELEASE, mine,
				     s->pkt.now + flow_life(&s->fwd, IPPROTO_TCP)) == 2;
	}
	bn_count(BN_CNT_FLOWS_DEMOTED, gone);
	if (flow_closed(s->fwd.state))
		flow_report_closed(s, &own, &opposite,
				   flags & TCP_RST ? BN_CLOSE_RST : BN_CLOSE_FIN);
}

/* Whether a UDP or SCTP flow has lasted: both directions, several packets, over two seconds. */
static __always_inline bool flow_lasting(const struct bn_scratch *s, const struct bn_flow_hot *peer)
{
	return peer->packets && s->fwd.packets && peer->packets + s->fwd.packets >= 4 &&
	       s->pkt.now - s->fwd.created >= 2 * bn_config.hz;
}

/*
 * How long ago the SYN was, of which the entry has as many bits of the clock as it has room for:
 * jiffies tell when those have come round.
 */
static __always_inline __u32 flow_handshake(const struct bn_scratch *s)
{
	__u32 begun = bn_handshake_get(&s->fwd.hot), now, us;

	if (!begun || !(bn_config.features & BN_FEATURE_EVENTS))
		return 0;
	if (s->pkt.now - s->fwd.created >= BN_HANDSHAKE_MAX / 1000000 * bn_config.hz)
		return BN_HANDSHAKE_MAX;
	now = (__u32)(bpf_ktime_get_ns() / 1000);
	us = (now - begun) & BN_HANDSHAKE_MAX;
	return us ? us : 1;
}

/* Whether the packet in hand may be the one that shows a flow's second end. */
static __always_inline bool flow_ripens(const struct bn_scratch *s, bool tcp)
{
	if (s->fwd.state & (BN_FS_ESTABLISHED | BN_FS_CLOSING))
		return false;
	if (tcp)
		return !(s->pkt.tcp_flags & TCP_SYN);
	return (s->pkt.tuple.protocol == IPPROTO_UDP || s->pkt.tuple.protocol == IPPROTO_SCTP) &&
	       s->pkt.now - s->fwd.created >= 2 * bn_config.hz;
}

/* Whether it is the segment by which this direction of a connection begins. */
static __always_inline bool flow_begins(const struct bn_flow_hot *f, __u32 tcp_flags)
{
	__u32 both = tcp_flags & (TCP_SYN | TCP_ACK);

	return f->flags & BN_FLOW_ORIGIN ? both == TCP_SYN : tcp_flags & TCP_SYN;
}

/* Accounts the packet in hand to its entry and moves the flow on in its life. */
BN_GLOBAL int flow_track(void)
{
	struct bn_scratch *s = bn_scratch_get();
	struct bn_place place, opposite;
	struct bn_flow_hot *f, *peer;
	__u8 flags, news;
	bool tcp;

	if (!s)
		return 0;
	flags = s->pkt.tcp_flags;
	tcp = s->pkt.tuple.protocol == IPPROTO_TCP && !(s->pkt.flags & BN_PKT_FRAG_LATER);
	s->fwd.packets++;
	s->fwd.bytes += s->pkt.len;
	s->fwd.last_seen = s->pkt.now;
	if (tcp)
		s->fwd.tcp_flags |= flags;
	flow_peer_key(&s->peer, &s->pkt.tuple, &s->fwd);
	news = (flags & TCP_FIN ? BN_FS_FIN : 0) | (flags & TCP_RST ? BN_FS_RST : 0);
	if (tcp && (s->fwd.state & news) != news) {
		flow_close(s);
		return 0;
	}
	f = flow_live(s, &place);
	if (!f)
		return 0;
	f->packets = s->fwd.packets;
	f->bytes = s->fwd.bytes;
	f->last_seen = s->fwd.last_seen;
	if (tcp)
		f->tcp_flags = s->fwd.tcp_flags;
	if (tcp && flow_begins(&s->fwd.hot, flags) &&
	    !(s->fwd.state & (BN_FS_SYN | BN_FS_CLOSING))) {
		s->fwd.state |= BN_FS_SYN;
		f->state |= BN_FS_SYN;
	}
	if (flow_is_sent_directly(&s->fwd.hot)) {
		/* not UDP: on the established path its datagrams would not say where answers leave from */
		if (tcp && flow_ripens(s, tcp)) {
			flow_promote_direct(s, &place);
			return 0;
		}
	} else if (flow_ripens(s, tcp)) {
		peer = flow_peer(s, &opposite);
		if (peer && (tcp ? peer->packets && !(peer->state & BN_FS_CLOSING)
				 : flow_lasting(s, peer))) {
			if (tcp && s->fwd.flags & BN_FLOW_ORIGIN)
				bn_handshake_set(f, flow_handshake(s));
			else if (tcp)
				bn_handshake_set(peer, 0); /* of its end nobody knows */
			flow_promote(s, &place, &opposite);
			return 0;
		}
	}
	table_extend(&place, s->pkt.now + flow_life(&s->fwd, s->pkt.tuple.protocol));
	return 0;
}
