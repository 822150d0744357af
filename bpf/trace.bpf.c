// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/*
 * The datapath's programs once more, each between two calls that look at the packet before and after
 * it. They take the others' places only while somebody traces, so that nobody else pays for it.
 *
 * Where the agent dies meanwhile they stay, like all its programs; the filters expire, and from then on
 * a packet costs a look at `asleep`, until the next agent puts the plain ones back.
 */
#include "lib/hook-host.h"
#include "lib/hook-pod.h"
#include "lib/hook-uplink.h"
#include "lib/hook-xdp.h"
#include "lib/trace.h"

static __always_inline struct bn_trace_state *trace_begin(__u32 ifindex)
{
	struct bn_trace_state *st = trace_state();
	struct bn_scratch *s = bn_scratch_get();

	if (!st || !s)
		return NULL;
	st->pending = !st->asleep || bn_expired(st->asleep, bn_now());
	if (!st->pending)
		return NULL;
	/* what begins to decide, says so; the established path does not */
	s->pkt.hook = 0;
	s->dropped = 0;
	st->ifindex = ifindex;
	return st;
}

/* The established path's packet: its flow's entry says what was done. */
BN_GLOBAL int trace_established(void)
{
	struct bn_trace_state *st = trace_state();
	struct bn_scratch *s = bn_scratch_get();
	struct bn_place place;

	if (!st || !s)
		return 0;
	__builtin_memset(&s->src, 0, sizeof(s->src));
	__builtin_memset(&s->dst, 0, sizeof(s->dst));
	__builtin_memset(&s->fwd, 0, sizeof(s->fwd));
	__builtin_memset(&s->verdict, 0, sizeof(s->verdict));
	s->pkt.tuple = st->frame[BN_TRACE_BEFORE].tuple;
	if (!s->pkt.tuple.family)
		return 0;
	table_find(s, BN_THIS, bn_now(), &place);
	if (!table_copy(&place, &s->fwd))
		__builtin_memset(&s->fwd, 0, sizeof(s->fwd));
	return 0;
}

/* Whether the program has refused the packet. */
static __always_inline bool trace_refused(__u32 hook, int verdict)
{
	return verdict == (hook == BN_HOOK_XDP ? XDP_DROP : TC_ACT_SHOT);
}

/* Why the packet was dropped, 0: it was not. */
static __always_inline __u32 trace_reason(const struct bn_scratch *s, __u32 hook, int verdict,
					  bool established)
{
	if (s->dropped)
		return s->dropped;
	if (!trace_refused(hook, verdict))
		return 0;
	if (!established)
		return BN_DROP_INTERNAL;
	return s->fwd.action == BN_ACT_DROP ? s->fwd.reason : BN_DROP_CHECKSUM_UPDATE;
}

/* enum bn_trace_action, and where to. */
static __always_inline __u8 trace_action(const struct bn_trace_state *st,
					 const struct bn_scratch *s, __u32 hook, int verdict,
					 __u32 *to)
{
	*to = 0;
	if (trace_refused(hook, verdict))
		return BN_TRACE_DROP;
	if (hook == BN_HOOK_XDP) {
		if (verdict == XDP_REDIRECT) {
			*to = s->fwd.out_ifindex;
			return BN_TRACE_REDIRECTED;
		}
		*to = verdict == XDP_TX ? st->ifindex : 0;
		return verdict == XDP_TX ? BN_TRACE_SENT_BACK : BN_TRACE_PASSED;
	}
	if (verdict != TC_ACT_REDIRECT)
		return BN_TRACE_PASSED;
	if (hook == BN_HOOK_LOOPBACK) {
		*to = host_peer_ifindex();
		return BN_TRACE_INJECTED;
	}
	if (!s->dropped && s->fwd.action == BN_ACT_PEER) {
		*to = s->fwd.out_ifindex;
		return BN_TRACE_DELIVERED;
	}
	if (!s->dropped && s->fwd.action == BN_ACT_NEIGH) {
		*to = s->fwd.out_ifindex;
		return BN_TRACE_REDIRECTED;
	}
	if (!s->dropped && s->fwd.action == BN_ACT_HOST) {
		*to = s->fwd.out_ifindex;
		return BN_TRACE_INJECTED;
	}
	*to = st->ifindex;
	return BN_TRACE_ANSWERED;
}

BN_GLOBAL int trace_lost(__u32 slots)
{
	__u32 slot;

	for (slot = 0; slot < BN_TRACE_SLOTS; slot++) {
		__u32 key = slot;
		struct bn_trace_count *c = bpf_map_lookup_elem(&bn_trace_counts, &key);

		if (c && slots >> slot & 1)
			c->lost++;
	}
	return 0;
}

/* The packet has been through: a record, if anybody wants it. */
BN_GLOBAL int trace_tell(__u32 hook, __u32 verdict)
{
	struct bn_trace_state *st = trace_state();
	struct bn_scratch *s = bn_scratch_get();
	struct bn_trace_frame *was, *is;
	struct bn_trace_record *r;
	__u32 reason, slots, to;
	bool established;
	__u8 action;

	if (!st || !s)
		return 0;
	was = &st->frame[BN_TRACE_BEFORE];
	is = &st->frame[BN_TRACE_AFTER];
	st->now = bpf_ktime_get_ns();
	trace_parse(BN_TRACE_BEFORE);
	trace_parse(BN_TRACE_AFTER);
	established = !s->pkt.hook;
	if (established)
		trace_established();
	else if (s->pkt.tuple.family)
		was->tuple = s->pkt.tuple; /* it has read further, and knows fragments' ports */
	reason = trace_reason(s, hook, verdict, established);
	if (!was->tuple.family && !reason)
		return 0; /* no IP packet */
	slots = trace_slots(reason);
	if (!slots)
		return 0;
	action = trace_action(st, s, hook, verdict, &to);
	trace_number(hook, action == BN_TRACE_PASSED || action == BN_TRACE_INJECTED);
	r = bpf_ringbuf_reserve(&bn_trace_ring, sizeof(*r), 0);
	if (!r) {
		trace_lost(slots);
		return 0;
	}
	__builtin_memset(r, 0, sizeof(*r));
	event_packet(&r->event, s);
	r->event.header.version = BN_EVENT_VERSION;
	r->event.header.type = BN_EVENT_TRACE;
	r->event.header.size = sizeof(*r);
	r->event.hook = hook;
	r->event.reason = reason;
	r->event.time = st->now;
	r->event.tuple = was->tuple;
	if (!reason) {
		r->event.to_saddr = is->tuple.saddr;
		r->event.to_daddr = is->tuple.daddr;
		r->event.to_sport = is->tuple.sport;
		r->event.to_dport = is->tuple.dport;
	}
	r->event.ifindex = st->ifindex;
	r->event.length = st->length > ETH_HLEN ? st->length - ETH_HLEN : 0;
	r->event.tcp_flags = was->tcp_flags;
	r->packet = st->packet;
	r->traces = slots;
	r->to_ifindex = to;
	r->verdict = verdict;
	r->frame = st->length;
	r->captured = was->captured;
	r->action = action;
	__builtin_memcpy(r->bytes, was->bytes, sizeof(r->bytes));
	bpf_ringbuf_submit(r, 0);
	return 0;
}

static __always_inline void trace_enter(struct __sk_buff *skb)
{
	struct bn_trace_state *st = trace_begin(skb->ifindex);

	if (!st)
		return;
	st->skb = (__u64)skb;
	trace_capture(skb, BN_TRACE_BEFORE);
}

static __always_inline int trace_leave(struct __sk_buff *skb, __u32 hook, int verdict)
{
	struct bn_trace_state *st = trace_state();

	if (st && st->pending) {
		st->pending = 0;
		trace_capture(skb, BN_TRACE_AFTER);
		trace_tell(hook, verdict);
	}
	return verdict;
}

#define TRACED(program, hook) \
	SEC("tc") int bn_trace_##program(struct __sk_buff *skb) \
	{ \
		trace_enter(skb); \
		return trace_leave(skb, hook, program(skb)); \
	}

TRACED(from_pod, BN_HOOK_FROM_POD)
TRACED(to_pod, BN_HOOK_TO_POD)
TRACED(from_uplink, BN_HOOK_FROM_UPLINK)
TRACED(to_uplink, BN_HOOK_TO_UPLINK)
TRACED(from_host, BN_HOOK_FROM_HOST)
TRACED(host_egress, BN_HOOK_HOST_EGRESS)
TRACED(from_loopback, BN_HOOK_LOOPBACK)

SEC("xdp")
int bn_trace_xdp(struct xdp_md *xdp)
{
	struct bn_trace_state *st = trace_begin(xdp->ingress_ifindex);
	int r;

	if (st) {
		st->skb = 0;
		trace_capture_xdp(xdp, BN_TRACE_BEFORE);
	}
	r = in_driver(xdp);
	if (st) {
		st->pending = 0;
		trace_capture_xdp(xdp, BN_TRACE_AFTER);
		trace_tell(BN_HOOK_XDP, r);
	}
	return r;
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
