/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * What the slow path knows of the packet in hand, and the scratch space it works in. There is
 * one scratch area per CPU: our programs run with bottom halves off and never nest.
 */
#pragma once

#include "lib/config.h"
#include "lib/uapi.h"
#include <bpfnet/maps.bpf.h>

enum bn_packet_flag {
	BN_PKT_FRAG_FIRST = 1 << 0, /* first of several: has the transport header */
	BN_PKT_FRAG_LATER = 1 << 1, /* no transport header */
	BN_PKT_ICMP_ERROR = 1 << 2, /* quotes another packet */
	BN_PKT_ECHO_REQUEST = 1 << 3,
	BN_PKT_ECHO_REPLY = 1 << 4,
	BN_PKT_DF = 1 << 5,  /* must not be fragmented (IPv6: always) */
	BN_PKT_ND = 1 << 6,  /* neighbour discovery or MLD */
	BN_PKT_DSR = 1 << 7, /* its answer leaves from s->frontend, see dsr.h */
};

struct bn_packet {
	struct bn_tuple tuple;
	__be32 frag_id;
	__u32 len;    /* from the IP header on */
	__u16 l4_off; /* from the start of the frame */
	__u8 flags;   /* enum bn_packet_flag */
	__u8 tcp_flags;
	__u8 ttl;
	__u8 tcp_hlen; /* bytes */
	__u8 icmp_type;
	__u8 hook; /* enum bn_hook */
	__u32 ifindex;
	__u32 now; /* jiffies */
	/* of what is fragmented, in bytes: where a first fragment ends, and where a later one begins */
	__u16 frag_edge;
	__u8 looked; /* enum bn_looked_flag, of the established path */
	__u8 pad;
};

/* Whether a flow's packets enter by one device alone, which its entries name. */
static __always_inline bool hook_has_device(__u32 hook)
{
	return hook == BN_HOOK_FROM_POD || hook == BN_HOOK_FROM_HOST;
}

/* Whether the stack has routed the packet already: the program is on its last device's egress. */
static __always_inline bool hook_is_egress(__u32 hook)
{
	return hook == BN_HOOK_TO_POD || hook == BN_HOOK_TO_UPLINK;
}

/* One end of a flow, as far as this node knows it. */
struct bn_party {
	struct bn_policy_ref policy[BN_GENERATIONS];
	__u32 ifindex; /* local pods */
	__u32 flags;   /* enum bn_endpoint_flag */
	__u32 epoch;   /* of the slot, as of what was read */
	__u16 slot;
	__u16 mtu;
	__u8 kind; /* enum bn_address_kind; 0: world */
	__u8 pad[3];
};

static __always_inline void party_identity_set(struct bn_party *p, __u32 identity)
{
	p->policy[0].identity = identity;
	p->policy[1].identity = identity;
}

/* Whether this is the node itself, and it has a firewall: flows of its own are kept then. */
static __always_inline bool party_is_guarded(const struct bn_party *p)
{
	return p->kind == BN_ADDR_HOST && (p->policy[0].egress || p->policy[0].ingress ||
					   p->policy[1].egress || p->policy[1].ingress);
}

/* A direction's next hop, as in struct bn_flow. */
struct bn_hop {
	__u32 out_ifindex;
	__u16 mtu;
	__u8 action; /* enum bn_action */
	__u8 pad;
};

/* What the established path has looked for already, so that nobody looks twice. */
enum bn_looked_flag {
	BN_LOOKED = 1 << 0, /* in the flow table */
	BN_LOOKED_FOUND = 1 << 1,
	BN_LOOKED_PARSED = 1 << 2, /* all of the packet that bn_parse() fills */
	BN_LOOKED_MAC = 1 << 3,    /* from the pod's own MAC, to no group */
};

struct bn_looked {
	__u32 flags;
	__u32 set, way, tag; /* BN_LOOKED_FOUND */
};

#define BN_QUOTE_MAX 1232 /* IPv6: 1280 less the outer headers (RFC 4443 2.4) */

/* The way that table_insert() takes. */
struct bn_pick {
	__s64 left; /* eighths of jiffies that what is there has to live */
	__u32 way;
	__u32 same; /* its key is the newcomer's */
	__u32 best; /* where it is looked for first */
	__u32 pad;
};
#define BN_PICK_NEVER 0x7ffffffffll

struct bn_ended {
	struct bn_tuple key;
	struct bn_flow flow;
};

/* Who asks for a backend, and the answer. */
struct bn_ask {
	union bn_addr addr; /* the frontend's */
	union bn_addr client;
	__be16 port;
	__u8 protocol;
	__u8 outside; /* from outside the node: other traffic policy, consistent choice */
	__u32 hash;   /* of the flow */
	/* the answer */
	__u32 id; /* of the service; 0: there is none */
	struct bn_service_slot slot;
	__u8 kind;
	__u8 pad[3];
	/* under way */
	__u32 affinity;
	__u16 port_index;
	__u8 local;
	__u8 pad2;
};

struct bn_scratch {
	struct bn_packet pkt;
	struct bn_party src;
	struct bn_party dst;
	struct bn_party leaves_as; /* whoever has the address that the packet leaves with */
	struct bn_tuple peer;      /* key of the opposite direction */
	struct bn_flow fwd;
	struct bn_flow rev;
	struct bn_ended ended;      /* origin direction of a flow whose end is told */
	struct bn_flow ended_reply; /* packets 0: not known */
	struct bn_hop back;         /* of replies to a sender that is no pod here */
	struct bn_tuple inner;      /* quoted by an ICMP error, as quoted */
	struct bn_tuple inner_to;
	union bn_addr frontend; /* BN_PKT_DSR: of another node */
	__be16 frontend_port;
	__u16 pad2[3];
	__u32 crc;       /* sctp.h's accumulator */
	__u32 cursor;    /* of a loop over a header's options */
	__u32 found_set; /* where flow_lookup() found the entry */
	__u32 found_way;
	__u32 found_tag;
	__u32 placed_set; /* where table_insert() put the last entry; ~0: nowhere yet */
	__u32 placed_way;
	__u32 searched_tag; /* of what table_search() was asked for last */
	__u32 not_in; /* the set of its key's two that table_put() is not to take, plus 1; 0: it may */
	__u32 syn_was_new; /* the last SYN's flow was not in the table */
	__u64 clock;       /* CLOCK_MONOTONIC, ns, when the packet's decision began; 0: not asked */
	__u64 event_woken; /* when a record last woke the agent: CLOCK_MONOTONIC, ns */
	__u32 verdict
		[BN_POLICY_DIRECTIONS]; /* of policy, by BN_VERDICT_...; 0: not asked, or denied */
	__u32 generation;               /* of policy, when the packet's ends were looked up */
	__u32 audited; /* the reason for which it would have been dropped; 0: none */
	__u32 dropped; /* the last reason for a drop, for traces (trace.bpf.c), which reset it */
	struct bn_pick pick;
	struct bn_ask ask;
	__u8 header[64]; /* under construction */
	__u8 quote[BN_QUOTE_MAX + 4];
};

/* What policy has for one of the packet's ends, and whether what it denies passes. */
static __always_inline const struct bn_policy_ref *party_policy(const struct bn_scratch *s,
								const struct bn_party *p)
{
	return &p->policy[s->generation % BN_GENERATIONS];
}

static __always_inline bool party_audited(const struct bn_scratch *s, const struct bn_party *p)
{
	return p->flags & BN_EP_AUDIT << s->generation % BN_GENERATIONS;
}

BN_MAP(bn_scratch, BPF_MAP_TYPE_PERCPU_ARRAY, __u32, struct bn_scratch, 1);

/*
 * Parts of the slow path are global functions, which the verifier proves once and apart from their
 * callers. On 5.10 those may take only the context and numbers, so everything else they share
 * is in the scratch area.
 */
#define BN_GLOBAL __attribute__((noinline))
/* A subprogram that not every program with its header calls. */
#define BN_SHARED __noinline __attribute__((unused))

static __always_inline struct bn_scratch *bn_scratch_get(void)
{
	__u32 zero = 0;

	return bpf_map_lookup_elem(&bn_scratch, &zero);
}

static __always_inline void bn_count(__u32 counter, __u64 n)
{
	__u64 *c = bpf_map_lookup_elem(&bn_counters, &counter);

	if (c)
		*c += n;
}

/*
 * Hides from clang what it knows of a number, so that a comparison stays the one that is written:
 * it would make `n != 3` of `n < 3` after `n &= 3`, from which 5.10 learns no bound.
 */
#define bn_opaque(n) asm volatile("" : "+r"(n))

/* Has the line at `p` on its way; the CPU doesn't wait for it. */
#define bn_touch(p) \
	({ \
		__u64 bn_unused; \
		asm volatile("%0 = *(u32 *)(%1 + 0)" : "=r"(bn_unused) : "r"(p)); \
	})

static __always_inline bool bn_addr_zero(const union bn_addr *a)
{
	return !(a->d[0] | a->d[1]);
}

/* Whether it is the reply's entry on the node of a backend that answers past the node that was asked. */
static __always_inline bool flow_is_answered_directly(const struct bn_flow_hot *f)
{
	return bn_flow_is_direct(f) && !(f->flags & BN_FLOW_ORIGIN);
}

/* ... or the origin's on the node that was asked, which sees no answer. */
static __always_inline bool flow_is_sent_directly(const struct bn_flow_hot *f)
{
	return bn_flow_is_direct(f) && f->flags & BN_FLOW_ORIGIN;
}

/*
 * Whether an entry, found under the key of that direction, is the opposite one of the flow with the key
 * `t` and these flags: its packets become the reverse. What else stands there is another flow's; a
 * refusal is nobody's.
 */
static __always_inline bool flow_answers(const struct bn_flow_hot *f, const struct bn_tuple *t,
					 __u32 flags)
{
	return f->action != BN_ACT_DROP && bn_addr_equal(&f->to_daddr, &t->saddr) &&
	       f->to_dport == t->sport &&
	       (flow_is_answered_directly(f)
			? !(flags & BN_FLOW_NAT)
			: bn_addr_equal(&f->to_saddr, &t->daddr) && f->to_sport == t->dport);
}
