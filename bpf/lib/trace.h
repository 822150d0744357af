/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * What a trace has seen of the packet in hand, and whose filter it is. Frames are read as they lie in
 * memory, so that a trace depends on nothing that the program it watches believes.
 */
#pragma once

#include "lib/table.h"
#include <bpfnet/trace.h>

/* A frame as it came, or as it left. */
enum bn_trace_when {
	BN_TRACE_BEFORE = 0,
	BN_TRACE_AFTER = 1,
};

struct bn_trace_frame {
	__u8 bytes[BN_TRACE_BYTES]; /* zero behind `captured` */
	__u32 captured;
	__u32 pad;
	struct bn_tuple tuple; /* all zero: no IP packet */
	__u64 mark;            /* of what is the packet's own, whatever NAT does to its headers */
	__u8 tcp_flags;
	__u8 pad2[7];
};

struct bn_trace_state {
	struct bn_trace_frame frame[2]; /* by enum bn_trace_when */
	__u64 now;                      /* CLOCK_MONOTONIC, ns */
	__u64 skb;                      /* where its buffer is; 0: it has none yet */
	__u64 packet; /* its number, and of the last one that this CPU has given one */
	__u64 numbers;
	__u32 ifindex, length; /* of the device, of the frame */
	__u32 pending;         /* it is wanted when the program has ended */
	__u32 asleep;          /* jiffies until when nobody wants any; 0: somebody may */
};

/* A packet that may come by another hook. */
struct bn_trace_seen {
	__u64 packet;
	__u64 time; /* CLOCK_MONOTONIC, ns */
	__u64 mark;
};

#define BN_TRACE_SEEN_NS 1000000000ull /* for so long */

BN_MAP(bn_trace_filter, BPF_MAP_TYPE_ARRAY, __u32, struct bn_trace_filter, BN_TRACE_SLOTS);
BN_MAP(bn_trace_counts, BPF_MAP_TYPE_PERCPU_ARRAY, __u32, struct bn_trace_count, BN_TRACE_SLOTS);
BN_MAP(bn_trace_state, BPF_MAP_TYPE_PERCPU_ARRAY, __u32, struct bn_trace_state, 1);
BN_MAP(bn_trace_seen, BPF_MAP_TYPE_LRU_HASH, __u64, struct bn_trace_seen, 4096);

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 1 << 20);
} bn_trace_ring SEC(".maps");

static __always_inline struct bn_trace_state *trace_state(void)
{
	__u32 zero = 0;

	return bpf_map_lookup_elem(&bn_trace_state, &zero);
}

/* Copies the first bytes of the packet in hand. */
BN_GLOBAL int trace_capture(struct __sk_buff *skb, __u32 when)
{
	struct bn_trace_state *st = trace_state();
	struct bn_trace_frame *f;
	__u32 n = skb->len;

	if (!st)
		return 0;
	f = when == BN_TRACE_AFTER ? &st->frame[BN_TRACE_AFTER] : &st->frame[BN_TRACE_BEFORE];
	if (when == BN_TRACE_BEFORE)
		st->length = n;
	__builtin_memset(f->bytes, 0, sizeof(f->bytes));
	f->captured = 0;
	if (n > BN_TRACE_BYTES)
		n = BN_TRACE_BYTES;
	bn_opaque(n);
	if (n < ETH_HLEN || n > BN_TRACE_BYTES)
		return 0;
	if (!bpf_skb_load_bytes(skb, 0, f->bytes, n))
		f->captured = n;
	return 0;
}

/* The same in the driver, a word at a time. */
BN_GLOBAL int trace_capture_xdp(struct xdp_md *xdp, __u32 when)
{
	const __u8 *data = (void *)(long)xdp->data, *end = (void *)(long)xdp->data_end;
	struct bn_trace_state *st = trace_state();
	struct bn_trace_frame *f;
	int i;

	if (!st)
		return 0;
	f = when == BN_TRACE_AFTER ? &st->frame[BN_TRACE_AFTER] : &st->frame[BN_TRACE_BEFORE];
	if (when == BN_TRACE_BEFORE)
		st->length = end - data;
	__builtin_memset(f->bytes, 0, sizeof(f->bytes));
	f->captured = 0;
#pragma unroll
	for (i = 0; i < BN_TRACE_BYTES; i += 2) {
		if (data + i + 2 > end)
			break;
		__builtin_memcpy(f->bytes + i, data + i, 2);
		f->captured = i + 2;
	}
	return 0;
}

static __always_inline __u64 trace_word(const __u8 *p)
{
	__u64 w;

	__builtin_memcpy(&w, p, sizeof(w));
	return w;
}

/* The transport header at `at`: ports, an echo's identifier, flags, and what tells packets apart. */
static __always_inline void trace_parse_l4(struct bn_trace_frame *f, __u32 at)
{
	struct bn_tuple *t = &f->tuple;
	const __u8 *p;

	bn_opaque(at);
	if (at > ETH_HLEN + 60 || f->captured < at + 8)
		return;
	p = f->bytes + at;
	switch (t->protocol) {
	case IPPROTO_TCP:
		f->mark = trace_word(p + 4); /* sequence and acknowledgement */
		f->tcp_flags = p[13];
		break;
	case IPPROTO_UDP:
		f->mark = trace_word(p + 8);
		break;
	case IPPROTO_SCTP:
		f->mark = trace_word(p + 12); /* behind the checksum */
		break;
	case IPPROTO_ICMP:
	case IPPROTO_ICMPV6:
		f->mark = trace_word(p + 8);
		if (p[0] == (t->family == BN_IPV4 ? ICMP_ECHO : ICMPV6_ECHO_REQUEST))
			__builtin_memcpy(&t->sport, p + 4, 2);
		else if (p[0] == (t->family == BN_IPV4 ? ICMP_ECHOREPLY : ICMPV6_ECHO_REPLY))
			__builtin_memcpy(&t->dport, p + 4, 2);
		return;
	default:
		return;
	}
	__builtin_memcpy(&t->sport, p, 2);
	__builtin_memcpy(&t->dport, p + 2, 2);
}

/*
 * Reads the frame's headers. Extension headers are not followed and later fragments have no ports:
 * what the datapath has found of such packets, it leaves in the scratch area.
 */
BN_GLOBAL int trace_parse(__u32 when)
{
	struct bn_trace_state *st = trace_state();
	struct bn_trace_frame *f;
	struct bn_tuple *t;
	__u16 proto;

	if (!st)
		return 0;
	f = when == BN_TRACE_AFTER ? &st->frame[BN_TRACE_AFTER] : &st->frame[BN_TRACE_BEFORE];
	t = &f->tuple;
	__builtin_memset(t, 0, sizeof(*t));
	f->tcp_flags = 0;
	f->mark = 0;
	__builtin_memcpy(&proto, f->bytes + 12, sizeof(proto));
	if (proto == bpf_htons(ETH_P_IP) && f->captured >= ETH_HLEN + sizeof(struct iphdr)) {
		struct iphdr *ip = (void *)(f->bytes + ETH_HLEN);
		__be32 addr;

		t->family = BN_IPV4;
		t->protocol = ip->protocol;
		__builtin_memcpy(&addr, &ip->saddr, sizeof(addr));
		bn_addr_set_v4(&t->saddr, addr);
		__builtin_memcpy(&addr, &ip->daddr, sizeof(addr));
		bn_addr_set_v4(&t->daddr, addr);
		if (!(ip->frag_off & bpf_htons(IP_OFFSET)))
			trace_parse_l4(f, ETH_HLEN + (*(__u8 *)ip & 15) * 4);
	} else if (proto == bpf_htons(ETH_P_IPV6) &&
		   f->captured >= ETH_HLEN + sizeof(struct ipv6hdr)) {
		struct ipv6hdr *ip = (void *)(f->bytes + ETH_HLEN);

		t->family = BN_IPV6;
		t->protocol = ip->nexthdr;
		__builtin_memcpy(&t->saddr, &ip->saddr, 16);
		__builtin_memcpy(&t->daddr, &ip->daddr, 16);
		trace_parse_l4(f, ETH_HLEN + sizeof(*ip));
	}
	return 0;
}

/* 1 or 0 without a branch, of which the verifier would have to follow both ways each time. */
static __always_inline __u32 trace_is_zero(__u64 n)
{
	n |= -n;
	bn_opaque(n);
	return (__u32)(n >> 63) ^ 1;
}

static __always_inline __u32 trace_addr_hit(const struct bn_trace_addr *want,
					    const union bn_addr *addr, __u8 family)
{
	return trace_is_zero(((addr->d[0] ^ want->addr.d[0]) & want->mask.d[0]) |
			     ((addr->d[1] ^ want->addr.d[1]) & want->mask.d[1]) |
			     (want->family ^ family));
}

/* Whether the frame is what the filter of the slot wants, as far as its headers go. */
BN_GLOBAL int trace_match(__u32 slot, __u32 when)
{
	struct bn_trace_filter *want = bpf_map_lookup_elem(&bn_trace_filter, &slot);
	struct bn_trace_state *st = trace_state();
	const struct bn_trace_frame *f;
	const struct bn_tuple *t;
	__u32 got = 0, ports;
	int i;

	if (!want || !st)
		return 0;
	f = when == BN_TRACE_AFTER ? &st->frame[BN_TRACE_AFTER] : &st->frame[BN_TRACE_BEFORE];
	t = &f->tuple;
	ports = trace_is_zero(t->protocol ^ IPPROTO_TCP) |
		trace_is_zero(t->protocol ^ IPPROTO_UDP) |
		trace_is_zero(t->protocol ^ IPPROTO_SCTP);
#pragma clang loop unroll(disable)
	for (i = 0; i < BN_TRACE_ADDRS; i++) {
		const struct bn_trace_addr *a = &want->addrs[i];
		__u32 from = trace_addr_hit(a, &t->saddr, t->family);
		__u32 to = trace_addr_hit(a, &t->daddr, t->family);

		got |= a->kind * ((from & a->ends) | (to & a->ends >> 1));
	}
#pragma clang loop unroll(disable)
	for (i = 0; i < BN_TRACE_PORTS; i++) {
		const struct bn_trace_port *p = &want->ports[i];
		__u32 from = trace_is_zero(p->port ^ t->sport) & ports;
		__u32 to = trace_is_zero(p->port ^ t->dport) & ports;

		got |= p->kind * ((from & p->ends) | (to & p->ends >> 1));
	}
#pragma clang loop unroll(disable)
	for (i = 0; i < BN_TRACE_PROTOCOLS; i++)
		got |= trace_is_zero(want->protocols[i] ^ t->protocol) << BN_TRACE_PROTOCOL;
#pragma clang loop unroll(disable)
	for (i = 0; i < BN_TRACE_FLAGS; i++)
		got |= (trace_is_zero((want->flags[i] & f->tcp_flags) ^ want->flags[i]) &
			(trace_is_zero(want->flags[i]) ^ 1))
		       << BN_TRACE_TCP_FLAGS;
	return (got & want->wanted) == want->wanted;
}

/* Of an exhausted rate; 1: there may be a record. */
static __always_inline int trace_rate(struct bn_trace_count *c, __u64 now)
{
	if (now - c->window >= 1000000000ull) {
		c->window = now;
		c->sent = 0;
	}
	if (c->sent >= BN_TRACE_RATE) {
		c->suppressed++;
		return 0;
	}
	c->sent++;
	return 1;
}

/*
 * Bits of the slots that want the packet, of which `reason` tells whether it was dropped. Translated
 * packets are looked for under both names, so that a filter sees all of a flow.
 */
BN_GLOBAL __u32 trace_slots(__u32 reason)
{
	struct bn_trace_state *st = trace_state();
	__u32 slots = 0, slot;

	if (!st)
		return 0;
	/* once for a second, where whoever renews the filters is gone */
	st->asleep = bn_now() + bn_config.hz;
	for (slot = 0; slot < BN_TRACE_SLOTS; slot++) {
		__u32 key = slot;
		struct bn_trace_filter *want = bpf_map_lookup_elem(&bn_trace_filter, &key);
		struct bn_trace_count *c = bpf_map_lookup_elem(&bn_trace_counts, &key);

		if (!want || !c || want->expires <= st->now)
			continue;
		st->asleep = 0;
		if (!(want->verdicts & (reason ? BN_TRACE_DROPPED : BN_TRACE_FORWARDED)))
			continue;
		if (want->reasons && !(want->reasons >> (reason & 63) & 1))
			continue;
		if (!trace_match(slot, BN_TRACE_BEFORE) && !trace_match(slot, BN_TRACE_AFTER))
			continue;
		if (trace_rate(c, st->now))
			slots |= 1u << slot;
	}
	return slots;
}

/* What all of a frame's bytes sum up to: the same frame's, seen twice, are the same. */
static __always_inline __u64 trace_sum(const struct bn_trace_frame *f)
{
	const __u64 *words = (const __u64 *)f->bytes;
	__u64 sum = 0xcbf29ce484222325ull;
	int i;

#pragma clang loop unroll(disable)
	for (i = 0; i < BN_TRACE_BYTES / 8; i++)
		sum = (sum ^ words[i]) * 0x100000001b3ull;
	return sum | 1; /* no address is odd */
}

/*
 * Gives the packet its number: the one that it had at an earlier hook, which it is known by where its
 * buffer lies, and, since buffers are used again, by what NAT leaves alone. What the driver's program
 * passes on has no buffer yet, and is the same byte for byte. `more`: it may meet another hook.
 */
BN_GLOBAL int trace_number(__u32 hook, __u32 more)
{
	struct bn_trace_state *st = trace_state();
	const struct bn_trace_seen *seen = NULL;
	struct bn_trace_seen now;
	__u64 key, sum;

	if (!st)
		return 0;
	sum = trace_sum(&st->frame[BN_TRACE_BEFORE]);
	key = st->skb;
	if (hook == BN_HOOK_FROM_UPLINK)
		seen = bpf_map_lookup_elem(&bn_trace_seen, &sum);
	else if (hook_is_egress(hook) || hook == BN_HOOK_FROM_HOST)
		seen = bpf_map_lookup_elem(&bn_trace_seen, &key);
	if (!key)
		key = sum;
	now.time = st->now;
	now.mark = st->frame[BN_TRACE_BEFORE].mark;
	if (seen && seen->mark == now.mark && now.time - seen->time < BN_TRACE_SEEN_NS) {
		now.packet = seen->packet;
	} else {
		st->numbers++;
		now.packet = st->numbers << 16 | (bpf_get_smp_processor_id() & 0xffff);
	}
	st->packet = now.packet;
	if (more)
		bpf_map_update_elem(&bn_trace_seen, &key, &now, BPF_ANY);
	else
		bpf_map_delete_elem(&bn_trace_seen, &key);
	return 0;
}
