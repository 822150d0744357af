/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* Records for the agent, and the one way out for a packet that is dropped. */
#pragma once

#include "lib/packet.h"

static __always_inline struct bn_event *event_reserve(__u8 type, __u8 hook, __u64 time)
{
	struct bn_event *e = bpf_ringbuf_reserve(&bn_events, sizeof(*e), 0);

	if (!e) {
		bn_count(BN_CNT_EVENTS_LOST, 1);
		return NULL;
	}
	__builtin_memset(e, 0, sizeof(*e));
	e->header.version = BN_EVENT_VERSION;
	e->header.type = type;
	e->header.size = sizeof(*e);
	e->hook = hook;
	e->time = time;
	return e;
}

/*
 * Hands the record to the agent. A wake-up costs more than the record, so there is one every
 * BN_EVENT_QUIET_NS on each CPU; what comes in between, the agent looks for (flows/reader.c).
 */
static __always_inline void event_submit(struct bn_scratch *s, struct bn_event *e)
{
	__u64 now = e->time;

	if (now - s->event_woken < BN_EVENT_QUIET_NS) {
		bpf_ringbuf_submit(e, BPF_RB_NO_WAKEUP);
		return;
	}
	s->event_woken = now;
	bpf_ringbuf_submit(e, BPF_RB_FORCE_WAKEUP);
}

static __always_inline void event_target(struct bn_event *e, const struct bn_flow *f)
{
	e->to_saddr = f->to_saddr;
	e->to_daddr = f->to_daddr;
	e->to_sport = f->to_sport;
	e->to_dport = f->to_dport;
	e->flags = f->flags;
	e->service = bn_flow_service(&f->hot);
	e->backend = bn_flow_backend_index(f->backend);
}

/* What is known of the packet in hand and where it would go. */
static __always_inline void event_packet(struct bn_event *e, const struct bn_scratch *s)
{
	e->tuple = s->pkt.tuple;
	event_target(e, &s->fwd);
	e->ifindex = s->pkt.ifindex;
	e->src_identity = party_policy(s, &s->src)->identity;
	e->dst_identity = party_policy(s, &s->dst)->identity;
	e->length = s->pkt.len;
	e->tcp_flags = s->pkt.tcp_flags;
	e->egress_verdict = s->verdict[BN_POLICY_EGRESS];
	e->ingress_verdict = s->verdict[BN_POLICY_INGRESS];
}

static __always_inline void event_opened(struct bn_scratch *s)
{
	struct bn_event *e;

	if (!(bn_config.features & BN_FEATURE_EVENTS))
		return;
	e = event_reserve(BN_EVENT_FLOW_OPENED, s->pkt.hook, s->clock);
	if (!e) {
		bn_count(BN_CNT_LOST_OPENED, 1);
		return;
	}
	event_packet(e, s);
	e->reason = (__u8)s->audited;
	event_submit(s, e);
}

/*
 * The flow of the packet in hand goes on in audit mode. Its ends s->src and s->dst are the flow's,
 * the record's are the packet's.
 */
static __always_inline void event_audited(struct bn_scratch *s)
{
	struct bn_event *e;

	if (!(bn_config.features & BN_FEATURE_EVENTS))
		return;
	e = event_reserve(BN_EVENT_AUDIT, s->pkt.hook, bpf_ktime_get_ns());
	if (!e) {
		bn_count(BN_CNT_LOST_AUDITED, 1);
		return;
	}
	event_packet(e, s);
	if (!(s->fwd.flags & BN_FLOW_ORIGIN)) {
		e->src_identity = party_policy(s, &s->dst)->identity;
		e->dst_identity = party_policy(s, &s->src)->identity;
	}
	e->reason = (__u8)s->audited;
	event_submit(s, e);
}

#define EVENT_CLOSED_BY(who) ((who) << 8)

/*
 * Reports the end of the flow in s->ended and s->ended_reply. `how`: enum bn_close_cause and
 * EVENT_CLOSED_BY() an enum bn_closed_by.
 */
BN_GLOBAL int event_closed(__u32 how)
{
	struct bn_scratch *s = bn_scratch_get();
	const struct bn_flow *f, *r;
	struct bn_event *e;

	if (!s)
		return 0;
	f = &s->ended.flow;
	r = &s->ended_reply;
	/* looked for by its key, which another flow may have by now */
	if (!flow_answers(&r->hot, &s->ended.key, f->flags))
		__builtin_memset(&s->ended_reply, 0, sizeof(s->ended_reply));
	bn_count(BN_CNT_FLOWS_CLOSED, 1);
	bn_count(BN_CNT_CLOSED_PACKETS, f->packets + r->packets);
	bn_count(BN_CNT_CLOSED_BYTES, f->bytes + r->bytes);
	if (!(bn_config.features & BN_FEATURE_EVENTS))
		return 0;
	e = event_reserve(BN_EVENT_FLOW_CLOSED, 0, bpf_ktime_get_ns());
	if (!e) {
		bn_count(BN_CNT_LOST_CLOSED, 1);
		return 0;
	}
	e->cause = (__u8)how;
	e->closed_by = (__u8)(how >> 8);
	e->tuple = s->ended.key;
	event_target(e, f);
	e->state = f->state;
	e->duration = (__u32)((__u64)(s->pkt.now - f->created) * 1000 / bn_config.hz);
	e->packets = f->packets;
	e->bytes = f->bytes;
	if (s->ended.key.protocol == IPPROTO_TCP) {
		if (f->state & BN_FS_ESTABLISHED)
			e->handshake = bn_handshake_get(&f->hot);
		e->tcp_flags = f->tcp_flags;
		e->reply_tcp_flags = r->tcp_flags;
	}
	e->reply_state = r->state;
	e->reply_packets = r->packets;
	e->reply_bytes = r->bytes;
	event_submit(s, e);
	return 0;
}

static __always_inline void drop_add(struct bn_drop_counter *c, __u32 hook, __u32 len)
{
	__u32 direction = bn_hook_direction(hook);

	c->of[direction].packets++;
	c->of[direction].bytes += len;
}

/* Counts a drop; says whether a record may be sent, at most event_rate a second per CPU. */
static __always_inline bool drop_count(const struct bn_scratch *s, __u32 reason)
{
	struct bn_drop_counter *c = bpf_map_lookup_elem(&bn_drops, &reason);
	__u32 now = s->pkt.now;

	if (!c)
		return false;
	drop_add(c, s->pkt.hook, s->pkt.len);
	if (now - c->window >= bn_config.hz) {
		c->window = now;
		c->sent = 0;
	}
	if (c->sent >= bn_config.event_rate) {
		c->suppressed++;
		return false;
	}
	c->sent++;
	return true;
}

static __always_inline void drop_lost(__u32 reason)
{
	struct bn_drop_counter *c = bpf_map_lookup_elem(&bn_drops, &reason);

	if (c)
		c->lost++;
}

/*
 * The one exit of a packet that goes nowhere. The scratch area holds whatever was learnt of the
 * packet; all of its tuple is zero when nothing was.
 */
BN_GLOBAL int bn_drop(__u32 reason)
{
	struct bn_scratch *s = bn_scratch_get();
	struct bn_event *e;

	if (!s)
		return TC_ACT_SHOT;
	s->dropped = reason;
	if (!drop_count(s, reason))
		return TC_ACT_SHOT;
	e = event_reserve(BN_EVENT_DROP, s->pkt.hook, bpf_ktime_get_ns());
	if (!e) {
		drop_lost(reason);
		return TC_ACT_SHOT;
	}
	e->reason = (__u8)reason;
	event_packet(e, s);
	event_submit(s, e);
	return TC_ACT_SHOT;
}

/* Counted like any drop, but without a record: chatter that every pod's kernel makes. */
static __always_inline int bn_drop_quiet(struct bn_scratch *s, __u32 reason)
{
	struct bn_drop_counter *c = bpf_map_lookup_elem(&bn_drops, &reason);

	s->dropped = reason;
	if (c) {
		drop_add(c, s->pkt.hook, s->pkt.len);
		c->suppressed++;
	}
	return TC_ACT_SHOT;
}
