// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/*
 * BPF_PROG_TEST_RUN hands every repeat the packet as the last one left it. These programs put
 * the original headers back, with the addresses and ports that the tape has for this repeat, and
 * tail-call into the program under test.
 *
 * Each exists twice, over `targets` (the datapath) and over `nothing` (the empty program): the
 * difference of the two is the datapath's cost without the wrapper's.
 */
#include "vmlinux.h"

#include "wrap.h"

#include <bpf/bpf_helpers.h>

char LICENSE[] SEC("license") = "Dual BSD/GPL";

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, WRAP_TAPE_MAX);
	__type(key, __u32);
	__type(value, struct wrap_tape);
} tape SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PROG_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u32);
} targets SEC(".maps"), nothing SEC(".maps");

/* Set by the benchmark before a run. */
__u32 tape_next;
__u32 tape_count;
__u8 head[WRAP_HEAD_MAX];

/* Repeats that found no place on the tape or no room in the packet: must stay 0. */
__u64 errors;

#define ETH 14
#define V4 20
#define V6 40

static __always_inline const struct wrap_tape *tape_step(void)
{
	__u32 at = tape_next;

	tape_next = at + 1 < tape_count ? at + 1 : 0;
	return bpf_map_lookup_elem(&tape, &at);
}

static __always_inline int rewrite(struct __sk_buff *skb, const __u32 l3_len, const __u32 l4_len,
				   const __u32 check)
{
	__u8 *data = (void *)(long)skb->data, *end = (void *)(long)skb->data_end;
	const struct wrap_tape *t = tape_step();

	if (!t || data + ETH + l3_len + l4_len > end) {
		errors++;
		return -1;
	}
	__builtin_memcpy(data, head, ETH + l3_len + l4_len);
	if (l3_len == V4) {
		*(__be16 *)(data + ETH + 10) = t->l3_check;
		*(__be32 *)(data + ETH + 16) = t->daddr.w[3];
	} else {
		*(__u64 *)(data + ETH + 24) = t->daddr.d[0];
		*(__u64 *)(data + ETH + 32) = t->daddr.d[1];
	}
	*(__be16 *)(data + ETH + l3_len) = t->sport;
	*(__be16 *)(data + ETH + l3_len + 2) = t->dport;
	*(__be16 *)(data + ETH + l3_len + check) = t->l4_check;
	return 0;
}

#define WRAP(name, l3_len, l4_len, check) \
	SEC("tc") int wrap_##name(struct __sk_buff *skb) \
	{ \
		if (!rewrite(skb, l3_len, l4_len, check)) \
			bpf_tail_call_static(skb, &targets, 0); \
		errors++; \
		return -1; \
	} \
	SEC("tc") int base_##name(struct __sk_buff *skb) \
	{ \
		if (!rewrite(skb, l3_len, l4_len, check)) \
			bpf_tail_call_static(skb, &nothing, 0); \
		errors++; \
		return -1; \
	}

WRAP(tcp4, V4, 20, 16)
WRAP(udp4, V4, 8, 6)
WRAP(tcp6, V6, 20, 16)
WRAP(udp6, V6, 8, 6)

SEC("tc") int empty(struct __sk_buff *skb)
{
	return 0;
}
