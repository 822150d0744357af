/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * NetworkPolicy and ClusterNetworkPolicy, compiled. What an endpoint may send or receive in one
 * direction is a table, shared by all endpoints that policies treat alike; it answers for each
 * identity of the other end:
 *
 *   bn_policy[table].page[identity / 256] ─► bn_policy_pages[page].run[identity % 256]
 *     ─► bn_policy_ports[run's lines]: from which protocol and port on which verdict holds
 *
 * So a decision is three loads by index; where a peer's ports are many a fourth, or if they are far
 * apart a short search in the run. None of it grows with policies, rules or pods. Tables are written
 * whole under a free number before an endpoint names them. In a table that is in use, only
 * identities are filled in that no address has yet. Equal pages and equal runs are shared.
 */
#pragma once

#include <bpfnet/limits.h>
#include <bpfnet/types.h>

enum bn_policy_direction {
	BN_POLICY_EGRESS = 0,
	BN_POLICY_INGRESS = 1,
	BN_POLICY_DIRECTIONS,
};

/*
 * Tables of an endpoint. BN_POLICY_OPEN: no policy selects it in that direction. Any number that is
 * no table's denies everything; BN_POLICY_CLOSED is one of these.
 */
#define BN_POLICY_OPEN 0
#define BN_POLICY_CLOSED 0xffff

/* A verdict: the number of the rule that decided, 0 where none did, and whether it allows. */
#define BN_VERDICT_ALLOW (1u << 31)
#define BN_VERDICT_RULE 0x00ffffffu

#define BN_POLICY_PAGE 256 /* identities of a page */
#define BN_POLICY_PAGES (BN_IDENTITIES / BN_POLICY_PAGE)

struct bn_policy_table {
	__u32 page[BN_POLICY_PAGES]; /* index into bn_policy_pages; page 0 allows nothing */
};
BN_ASSERT_SIZE(struct bn_policy_table, 1024);

struct bn_policy_page {
	__u32 run[BN_POLICY_PAGE]; /* of the identity's ports; 0: none allowed */
};
BN_ASSERT_SIZE(struct bn_policy_page, 1024);

/*
 * A run, as pages name it: the first of its lines; of how many, 2^levels; and which form they have:
 *
 *   0      all lines hold parts, sorted by where they begin; what is left over is BN_POLICY_END
 *   1 + n  an index: 2^n lines with a bit for each key, set where a part begins, in groups of 32 that
 *          know how many begin before them; then the parts' verdicts, in order. Keys behind the last
 *          bit are like the last
 *
 * An index is made where it takes no more lines: among others, for any more than 8192 parts.
 */
#define BN_POLICY_RUN_FIRST 0x00ffffffu
#define BN_POLICY_RUN_LEVELS_SHIFT 24
#define BN_POLICY_RUN_LEVELS 15 /* 2^15 lines hold all that 3 * 65536 ports and the rest can differ */
#define BN_POLICY_RUN_INDEX_SHIFT 28

/* Where a verdict begins: it holds up to the next part's. The first of a run begins at 0. */
struct bn_policy_part {
	__u32 from; /* bn_policy_key(); BN_POLICY_END: not used */
	__u32 verdict;
};
BN_ASSERT_SIZE(struct bn_policy_part, 8);

#define BN_POLICY_PARTS 8
#define BN_POLICY_END 0xffffffffu

/* 32 keys, the lowest in the lowest bit. */
struct bn_policy_bits {
	__u32 before; /* place of the verdict that holds up to the first bit; as if all lines had them */
	__u32 begins;
};
BN_ASSERT_SIZE(struct bn_policy_bits, 8);

#define BN_POLICY_BITS 8
#define BN_POLICY_BITS_KEYS (32 * BN_POLICY_BITS) /* of a line */
#define BN_POLICY_VERDICTS 16                     /* of a line */

struct bn_policy_line {
	union {
		struct bn_policy_part part[BN_POLICY_PARTS];
		struct bn_policy_bits bits[BN_POLICY_BITS];
		__u32 verdict[BN_POLICY_VERDICTS];
	};
};
BN_ASSERT_SIZE(struct bn_policy_line, 64);

static inline __attribute__((always_inline)) __u32 bn_policy_run_first(__u32 run)
{
	return run & BN_POLICY_RUN_FIRST;
}

static inline __attribute__((always_inline)) __u32 bn_policy_run_lines(__u32 run)
{
	return 1u << (run >> BN_POLICY_RUN_LEVELS_SHIFT & BN_POLICY_RUN_LEVELS);
}

/* Lines of bits; 0: the run's lines hold parts. */
static inline __attribute__((always_inline)) __u32 bn_policy_run_index(__u32 run)
{
	return 1u << (run >> BN_POLICY_RUN_INDEX_SHIFT) >> 1;
}

/* What runs are sorted by: rules name ports of TCP, UDP and SCTP alone; all else is one thing. */
enum bn_policy_protocol {
	BN_POLICY_TCP = 0,
	BN_POLICY_UDP = 1,
	BN_POLICY_SCTP = 2,
	BN_POLICY_OTHER = 3,
};

/* `protocol` is an enum bn_policy_protocol, `port` the destination's in host byte order. */
static inline __attribute__((always_inline)) __u32 bn_policy_key(__u32 protocol, __u32 port)
{
	return protocol << 16 | (protocol == BN_POLICY_OTHER ? 0 : port);
}

/*
 * bn_policy_cidrs: the identity of an address that bn_addresses does not have, by longest prefix
 * (struct bn_range_key). There is always an entry for all of IPv4 and one for all of IPv6.
 */
struct bn_policy_cidr {
	__u32 identity;
};
BN_ASSERT_SIZE(struct bn_policy_cidr, 4);
