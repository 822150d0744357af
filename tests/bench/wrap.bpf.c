// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/*
 * BPF_PROG_TEST_RUN hands every repeat the packet as the last one left it. These programs put
 * the original headers back, with the addresses and ports that the tape has for this repeat, and
 * tail-call into the program under test.
 *
 * Each exists twice, over `targets` (the datapath) and over `nothing` (the empty program): the
 * difference of the two is the datapath's cost without the wrapper's. And all that for tc and for
 * XDP.
 */
#include "vmlinux.h"

#include "wrap.h"

#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>
#include <bpfnet/flow.h>

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
} targets SEC(".maps"), nothing SEC(".maps"), xdp_targets SEC(".maps"), xdp_nothing SEC(".maps");

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

/*
 * A NIC's packet has arrived as a whole. Stores that were narrower than the datapath's loads, as of
 * a plain memcpy() here, would have each of those wait until they are all out of the CPU's store
 * buffer: so words, that begin where the network header does.
 */
static __always_inline void restore(__u8 *data, const __u32 len)
{
	__u32 i;

	*(__u64 *)data = *(__u64 *)head;
	*(__u32 *)(data + 8) = *(__u32 *)(head + 8);
	*(__u16 *)(data + 12) = *(__u16 *)(head + 12);
	for (i = ETH; i + 8 <= len; i += 8)
		*(__u64 *)(data + i) = *(__u64 *)(head + i);
	for (; i < len; i += 2)
		*(__u16 *)(data + i) = *(__u16 *)(head + i);
}

static __always_inline int rewrite(__u8 *data, __u8 *end, const __u32 l3_len, const __u32 l4_len,
				   const __u32 check)
{
	const struct wrap_tape *t = tape_step();

	if (!t || data + ETH + l3_len + l4_len > end) {
		errors++;
		return -1;
	}
	restore(data, ETH + l3_len + l4_len);
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

#define RUN(section, context, program, map, l3_len, l4_len, check) \
	SEC(section) int program(struct context *ctx) \
	{ \
		if (!rewrite((void *)(long)ctx->data, (void *)(long)ctx->data_end, l3_len, l4_len, \
			     check)) \
			bpf_tail_call_static(ctx, &map, 0); \
		errors++; \
		return -1; \
	}

#define WRAP(name, l3_len, l4_len, check) \
	RUN("tc", __sk_buff, wrap_##name, targets, l3_len, l4_len, check) \
	RUN("tc", __sk_buff, base_##name, nothing, l3_len, l4_len, check) \
	RUN("xdp", xdp_md, xdp_wrap_##name, xdp_targets, l3_len, l4_len, check) \
	RUN("xdp", xdp_md, xdp_base_##name, xdp_nothing, l3_len, l4_len, check)

WRAP(tcp4, V4, 20, 16)
WRAP(udp4, V4, 8, 6)
WRAP(tcp6, V6, 20, 16)
WRAP(udp6, V6, 8, 6)

SEC("tc") int empty(struct __sk_buff *skb)
{
	return 0;
}

SEC("xdp") int xdp_empty(struct xdp_md *xdp)
{
	return XDP_PASS;
}

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, BN_DEFAULT_FLOW_SETS);
	__type(key, __u32);
	__type(value, struct bn_flow_set);
} sets SEC(".maps");

/*
 * What no datapath does without: the flow's place in a table of this size, both lines of its entry, one
 * of them written. How much of a row with many flows is the machine's memory, the difference says.
 */
SEC("xdp") int xdp_access(struct xdp_md *xdp)
{
	__u8 *data = (void *)(long)xdp->data, *end = (void *)(long)xdp->data_end;
	struct bn_flow_set *set;
	__be16 *ports;
	__u32 at, way;
	__u64 hash;

	if (data + ETH + V6 + 4 > end)
		return XDP_PASS;
	/* by the half word, as rewrite() puts them there: a word would wait for both stores */
	ports = (__be16 *)(data + ETH + (*(__be16 *)(data + 12) == bpf_htons(0x0800) ? V4 : V6));
	hash = ports[0] | (__u32)ports[1] << 16;
	hash *= 0x9e3779b97f4a7c15ull;
	hash = (hash ^ hash >> 32) * 0xd6e8feb86659fd93ull;
	at = bn_flow_home(hash >> 24, BN_DEFAULT_FLOW_SETS - 1);
	way = bn_flow_way(hash);
	set = bpf_map_lookup_elem(&sets, &at);
	if (!set || way >= BN_WAYS || set->entry[way].key.family)
		return XDP_PASS;
	set->entry[way].flow.packets++;
	return XDP_TX;
}
