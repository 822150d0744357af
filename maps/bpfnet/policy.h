/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * NetworkPolicy and ClusterNetworkPolicy, compiled. What an endpoint may send or receive in one
 * direction is a table, shared by all endpoints that policies treat alike; it answers for each
 * identity of the other end:
 *
 *   bn_policy[table].page[identity / 256] ─► bn_policy_pages[page].run[identity % 256]
 *     ─► bn_policy_ports[run's lines]: from which protocol and port on which verdict holds
 *
 * So a decision is three loads by index, and a search in the run where a peer's ports are many;
 * neither grows with policies, rules or pods. Tables are written whole under a free number before an
 * endpoint names them. In a table that is in use, only identities are filled in that no address has
 * yet. Equal pages and equal runs are shared.
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

/* A run: the first of its lines, of which there are two to the power of the top bits. */
#define BN_POLICY_RUN_SHIFT 27
#define BN_POLICY_RUN_FIRST ((1u << BN_POLICY_RUN_SHIFT) - 1)
#define BN_POLICY_RUN_LEVELS 15 /* 2^15 lines hold all that 3 * 65536 ports and the rest can differ */

/* Where a verdict begins: it holds up to the next part's. The first of a run begins at 0. */
struct bn_policy_part {
	__u32 from; /* bn_policy_key(); BN_POLICY_END: not used */
	__u32 verdict;
};
BN_ASSERT_SIZE(struct bn_policy_part, 8);

#define BN_POLICY_PARTS 8
#define BN_POLICY_END 0xffffffffu

struct bn_policy_line {
	struct bn_policy_part part[BN_POLICY_PARTS];
};
BN_ASSERT_SIZE(struct bn_policy_line, 64);

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
