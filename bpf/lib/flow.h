/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * The life of a flow: half-open in the transient table, into the main one when both ends have
 * shown themselves, back again when one of them closes.
 *
 *        first packet            ACK of the handshake,             FIN or RST
 *   ---> [transient: syn/udp] --- lasting UDP -----> [bn_flows] -------------> [transient: closing]
 *
 * Everywhere below, s->pkt.tuple is the key of the packet in hand, s->fwd a copy of its entry and
 * s->peer the key of the opposite direction.
 */
#pragma once

#include "lib/transient.h"

enum bn_where {
	BN_NOWHERE = 0,
	BN_IN_FLOWS = 1,
	BN_IN_TRANSIENT = 2,
};

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

static __always_inline void flow_peer_key(struct bn_tuple *ret, const struct bn_tuple *key,
					  const struct bn_flow *f)
{
	ret->saddr = f->to_daddr;
	ret->daddr = f->to_saddr;
	ret->sport = f->to_dport;
	ret->dport = f->to_sport;
	ret->protocol = key->protocol;
	ret->family = key->family;
	ret->pad = 0;
}

/* Looks in both tables; s->fwd gets a copy. */
BN_GLOBAL int flow_lookup(void)
{
	struct bn_scratch *s = bn_scratch_get();
	struct bn_place place;
	struct bn_flow *f;

	if (!s)
		return BN_NOWHERE;
	if (!s->pkt.looked) {
		f = bpf_map_lookup_elem(&bn_flows, &s->pkt.tuple);
		if (f)
			goto established;
	}
	transient_find(&s->pkt.tuple, s->pkt.now, &place);
	if (transient_copy(&place, &s->fwd)) {
		s->found_set = place.index;
		s->found_way = place.way;
		s->found_tag = place.tag;
		return BN_IN_TRANSIENT;
	}
	/* it may have moved from one to the other while we looked */
	if (!s->pkt.looked)
		return BN_NOWHERE;
	f = bpf_map_lookup_elem(&bn_flows, &s->pkt.tuple);
	if (!f)
		return BN_NOWHERE;
established:
	s->fwd = *f;
	return BN_IN_FLOWS;
}

/* The live entry of the packet in hand, where flow_lookup() found it; *place for the transient. */
static __always_inline struct bn_flow *flow_live(struct bn_scratch *s, __u32 where,
						 struct bn_place *place)
{
	place->set = NULL;
	if (where == BN_IN_FLOWS)
		return bpf_map_lookup_elem(&bn_flows, &s->pkt.tuple);
	transient_again(s->found_set, s->found_way, s->found_tag, place);
	return transient_flow(place);
}

/* The live entry of the opposite direction, wherever it is. */
static __always_inline struct bn_flow *flow_peer(struct bn_scratch *s, __u32 where,
						 struct bn_place *place)
{
	place->set = NULL;
	if (where == BN_IN_FLOWS)
		return bpf_map_lookup_elem(&bn_flows, &s->peer);
	transient_find(&s->peer, s->pkt.now, place);
	return transient_flow(place);
}

BN_GLOBAL int flow_delete(__u32 where)
{
	struct bn_scratch *s = bn_scratch_get();

	if (!s)
		return 0;
	if (where == BN_IN_FLOWS) {
		__u64 gone = !bpf_map_delete_elem(&bn_flows, &s->pkt.tuple);

		gone += !bpf_map_delete_elem(&bn_flows, &s->peer);
		bn_count(BN_CNT_FLOWS_DEMOTED, gone);
	}
	if (where != BN_NOWHERE) {
		transient_delete(BN_THIS);
		transient_delete(BN_OPPOSITE);
	}
	return 0;
}

/*
 * Reports the flow's end, once: whichever direction the packet in hand belongs to. `peer` is the
 * opposite direction's entry or NULL.
 */
static __always_inline void flow_report_closed(struct bn_scratch *s, struct bn_flow *peer,
					       __u8 cause)
{
	if (s->fwd.flags & BN_FLOW_COUNTED)
		return;
	s->fwd.flags |= BN_FLOW_COUNTED;
	if (peer)
		peer->flags |= BN_FLOW_COUNTED;
	__builtin_memset(&s->ended_reply, 0, sizeof(s->ended_reply));
	if (s->fwd.flags & BN_FLOW_ORIGIN) {
		s->ended.key = s->pkt.tuple;
		s->ended.flow = s->fwd;
		if (peer)
			s->ended_reply = *peer;
	} else if (peer) {
		s->ended.key = s->peer;
		s->ended.flow = *peer;
		s->ended_reply = s->fwd;
	} else {
		return;
	}
	event_closed(cause);
}

/*
 * Both directions were seen: from the transient table into the main one, reply direction first.
 * A full table leaves the flow where it is, with the lifetime of an established one.
 */
static __always_inline int flow_promote(struct bn_scratch *s, const struct bn_flow *peer,
					const struct bn_place *peer_place)
{
	struct bn_place own;

	s->fwd.state |= BN_FS_ESTABLISHED | BN_FS_REPLIED;
	s->rev = *peer;
	s->rev.state |= BN_FS_ESTABLISHED | BN_FS_REPLIED;
	if (bpf_map_update_elem(&bn_flows, &s->peer, &s->rev, BPF_ANY)) {
		bn_count(BN_CNT_FLOWS_FULL, 1);
		goto stay;
	}
	if (bpf_map_update_elem(&bn_flows, &s->pkt.tuple, &s->fwd, BPF_ANY)) {
		bpf_map_delete_elem(&bn_flows, &s->peer);
		bn_count(BN_CNT_FLOWS_FULL, 1);
		goto stay;
	}
	bn_count(BN_CNT_FLOWS_PROMOTED, 2);
	transient_again(s->found_set, s->found_way, s->found_tag, &own);
	transient_clear(&own);
	transient_clear(peer_place);
	return BN_IN_FLOWS;
stay:
	transient_insert(BN_OPPOSITE, flow_life(&s->rev, s->pkt.tuple.protocol), false);
	transient_insert(BN_THIS, flow_life(&s->fwd, s->pkt.tuple.protocol), false);
	return BN_IN_TRANSIENT;
}

/* A FIN or RST: out of the main table, the transient copies first so that nothing is missed. */
static __always_inline int flow_close(struct bn_scratch *s, struct bn_flow *peer, __u32 where)
{
	__u8 flags = s->pkt.tcp_flags;

	if (flags & TCP_FIN)
		s->fwd.state |= BN_FS_FIN;
	if (flags & TCP_RST)
		s->fwd.state |= BN_FS_RST;
	if (peer) {
		s->rev = *peer;
		if (flags & TCP_FIN)
			s->rev.state |= BN_FS_PEER_FIN;
		if (flags & TCP_RST)
			s->rev.state |= BN_FS_PEER_RST;
	}
	if (flow_closed(s->fwd.state))
		flow_report_closed(s, peer ? &s->rev : NULL,
				   flags & TCP_RST ? BN_CLOSE_RST : BN_CLOSE_FIN);
	if (peer)
		transient_insert(BN_OPPOSITE, flow_life(&s->rev, IPPROTO_TCP), false);
	transient_insert(BN_THIS, flow_life(&s->fwd, IPPROTO_TCP), false);
	if (where == BN_IN_FLOWS) {
		__u64 gone = !bpf_map_delete_elem(&bn_flows, &s->pkt.tuple);

		gone += !bpf_map_delete_elem(&bn_flows, &s->peer);
		bn_count(BN_CNT_FLOWS_DEMOTED, gone);
	}
	return BN_IN_TRANSIENT;
}

/* Whether a UDP or SCTP flow has lasted: both directions, several packets, over two seconds. */
static __always_inline bool flow_lasting(const struct bn_scratch *s, const struct bn_flow *peer)
{
	return peer->packets && s->fwd.packets && peer->packets + s->fwd.packets >= 4 &&
	       s->pkt.now - s->fwd.created >= 2 * bn_config.hz;
}

/* Milliseconds would be jiffies' resolution; the handshake is told in microseconds of those. */
static __always_inline __u32 flow_handshake(const struct bn_scratch *s)
{
	return (__u32)((__u64)(s->pkt.now - s->fwd.created) * 1000000 / bn_config.hz);
}

/*
 * Accounts the packet in hand to its entry and moves the flow between the tables. s->fwd must be
 * current; it is what gets stored.
 */
BN_GLOBAL int flow_track(__u32 where)
{
	struct bn_scratch *s = bn_scratch_get();
	struct bn_place place = {};
	struct bn_flow *f = NULL, *peer;
	__u8 protocol, flags;

	if (!s)
		return 0;
	protocol = s->pkt.tuple.protocol;
	flags = s->pkt.tcp_flags;
	s->fwd.packets++;
	s->fwd.bytes += s->pkt.len;
	s->fwd.last_seen = s->pkt.now;
	flow_peer_key(&s->peer, &s->pkt.tuple, &s->fwd);

	if (protocol == IPPROTO_TCP && !(s->pkt.flags & BN_PKT_FRAG_LATER)) {
		if (flags & (TCP_FIN | TCP_RST)) {
			__u8 news = (flags & TCP_FIN ? BN_FS_FIN : 0) |
				    (flags & TCP_RST ? BN_FS_RST : 0);

			if (where == BN_IN_FLOWS || (s->fwd.state & news) != news)
				return flow_close(s, flow_peer(s, where, &place), where);
		} else if (where == BN_IN_TRANSIENT && !(s->fwd.state & BN_FS_CLOSING)) {
			if (flags & TCP_SYN)
				s->fwd.state |= BN_FS_SYN;
			else if (!(s->fwd.state & BN_FS_ESTABLISHED)) {
				peer = flow_peer(s, where, &place);
				if (peer && peer->packets && !(peer->state & BN_FS_CLOSING)) {
					if (s->fwd.flags & BN_FLOW_ORIGIN)
						s->fwd.handshake = flow_handshake(s);
					return flow_promote(s, peer, &place);
				}
			}
		}
	} else if (where == BN_IN_TRANSIENT && !(s->fwd.state & BN_FS_ESTABLISHED) &&
		   (protocol == IPPROTO_UDP || protocol == IPPROTO_SCTP) &&
		   s->pkt.now - s->fwd.created >= 2 * bn_config.hz) {
		peer = flow_peer(s, where, &place);
		if (peer && flow_lasting(s, peer))
			return flow_promote(s, peer, &place);
	}

	f = flow_live(s, where, &place);
	if (place.set)
		transient_extend(&place, s->pkt.now + flow_life(&s->fwd, protocol));
	if (f) {
		f->packets = s->fwd.packets;
		f->bytes = s->fwd.bytes;
		f->last_seen = s->fwd.last_seen;
		f->state = s->fwd.state;
		f->handshake = s->fwd.handshake;
	}
	return where;
}
