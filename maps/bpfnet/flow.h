/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * The flow table. A flow's first packet is decided in full; the decision is kept as what to *do*
 * under the tuple of each direction, so that every later packet is parse, one lookup, apply.
 *
 * The two entries of a flow find each other: an entry under tuple T holds the tuple T' that the
 * packet leaves with, and the opposite direction's entry is under reverse(T').
 *
 * Two tables hold the same struct:
 *  - `bn_flows`, a hash: established TCP (handshake seen) and lasting UDP. Nothing is ever
 *    evicted from it; the agent sweeps idle entries, and without an agent a full table only
 *    means that new flows stay in the other one.
 *  - `bn_transient`, a set-associative table in an array: half-open, short, one-sided and closing
 *    flows, and negative decisions. Inserting costs a tenth of an LRU map's update, the victim is
 *    the entry that expires first, and what is thrown out is reported.
 */
#pragma once

#include <bpfnet/limits.h>
#include <bpfnet/types.h>

/* What to do with a packet of the flow. */
enum bn_action {
	BN_ACT_PASS = 0,  /* give it to the stack (or on to the device, on egress) */
	BN_ACT_PEER = 1,  /* bpf_redirect_peer() to out_ifindex */
	BN_ACT_NEIGH = 2, /* bpf_redirect_neigh() out of out_ifindex */
	BN_ACT_DROP = 3,  /* a cached refusal, for `reason` */
};

/* bn_flow.flags */
enum bn_flow_flag {
	BN_FLOW_ORIGIN = 1 << 0,  /* the direction of the first packet */
	BN_FLOW_NAT = 1 << 1,     /* the tuple changes */
	BN_FLOW_SERVICE = 1 << 2, /* the destination was a service's */
	BN_FLOW_BACKEND = 1 << 3, /* backend and backend_gen are valid, re-checked while not established */
	BN_FLOW_HAIRPIN = 1 << 4, /* the backend is the client itself */
	BN_FLOW_MASQ = 1 << 5,    /* the source is the node's */
	BN_FLOW_COUNTED = 1 << 6, /* its end was counted and reported */
};

/* bn_flow.state: what this direction has shown of itself (TCP), or of the whole flow. */
enum bn_flow_state {
	BN_FS_SYN = 1 << 0,         /* a SYN (origin) or SYN-ACK (reply) was seen */
	BN_FS_ESTABLISHED = 1 << 1, /* both directions seen; in bn_flows unless that is full */
	BN_FS_FIN = 1 << 2,         /* this direction sent FIN */
	BN_FS_RST = 1 << 3,         /* this direction sent RST */
	BN_FS_PEER_FIN = 1 << 4,    /* the opposite direction sent FIN */
	BN_FS_PEER_RST = 1 << 5,    /* the opposite direction sent RST */
	BN_FS_REPLIED = 1 << 6,     /* the opposite direction has been seen */
};
#define BN_FS_CLOSING (BN_FS_FIN | BN_FS_RST | BN_FS_PEER_FIN | BN_FS_PEER_RST)

struct bn_flow {
	/* The tuple the packet leaves with; equal to the key's where there is no NAT. */
	union bn_addr to_saddr; /* 0 */
	union bn_addr to_daddr; /* 16 */
	__be16 to_sport;        /* 32 */
	__be16 to_dport;        /* 34 */
	/* One's-complement deltas, folded, in the packet's byte order: new = fold(old + delta). */
	__u16 l3_delta;    /* 36  IPv4 header: addresses and one TTL step */
	__u16 l4_delta;    /* 38  transport checksum: pseudo header and ports */
	__u16 l4_pseudo;   /* 40  the pseudo header's part alone, for CHECKSUM_PARTIAL */
	__u16 mtu;         /* 42  of the next hop, bytes from the IP header on; 0: the stack's affair */
	__u32 in_ifindex;  /* 44  where packets of this entry come from; 0: through the stack */
	__u32 out_ifindex; /* 48 */
	__u16 src_slot;    /* 52  endpoint slots whose epochs the decision depends on */
	__u16 dst_slot;    /* 54 */
	__u32 epoch;       /* 56  sum of the epochs it was decided in */
	__u32 last_seen;   /* 60  jiffies, low 32 bits */
	__u8 action;       /* 64  enum bn_action */
	__u8 flags;        /* 65  enum bn_flow_flag */
	__u8 state;        /* 66  enum bn_flow_state */
	__u8 reason;       /* 67  enum bn_drop_reason of BN_ACT_DROP */
	__u32 service;     /* 68  service id, 0: none */
	__u32 backend;     /* 72  index into bn_backends */
	__u32 backend_gen; /* 76  its generation when chosen */
	__u64 packets;     /* 80  of this direction */
	__u64 bytes;       /* 88  of this direction, from the IP header on */
	__u32 created;     /* 96  jiffies, low 32 bits */
	__u32 handshake;   /* 100 microseconds from SYN to the handshake's end; origin only */
};
BN_ASSERT_SIZE(struct bn_flow, 104);
BN_ASSERT_AT(struct bn_flow, l3_delta, 36);
BN_ASSERT_AT(struct bn_flow, in_ifindex, 44);
BN_ASSERT_AT(struct bn_flow, action, 64);
BN_ASSERT_AT(struct bn_flow, packets, 80);
/* With the kernel's 48 bytes of hash element and the 40 of the key: 192, three cache lines. */

struct bn_transient_entry {
	struct bn_tuple key;
	struct bn_flow flow;
};
BN_ASSERT_SIZE(struct bn_transient_entry, 144);

/*
 * One set of the transient table:
 *
 *   0      4                   32                  60    64                          1072
 *   | lock | tag[7] (0: free)  | expires[7]        | pad | entry[0] ... entry[6]     |
 *
 * The first 64 bytes are all that a miss touches. Read from user space with BPF_F_LOCK.
 */
struct bn_transient_set {
	struct bpf_spin_lock lock; /* 0 */
	__u32 tag[BN_WAYS];        /* 4   high bits of the key's hash, 0: free */
	__u32 expires[BN_WAYS];    /* 32  jiffies, low 32 bits */
	__u32 pad;                 /* 60 */
	struct bn_transient_entry entry[BN_WAYS]; /* 64 */
};
BN_ASSERT_SIZE(struct bn_transient_set, 1072);
BN_ASSERT_AT(struct bn_transient_set, entry, 64);

/* bn_epochs: one element. [BN_SLOT_NONE] is the node's own: routes, addresses, devices. */
struct bn_epochs {
	__u32 slot[BN_SLOTS];
};
BN_ASSERT_SIZE(struct bn_epochs, 4 * BN_SLOTS);

/* bn_fragments: ports of a datagram whose first fragment has passed (RFC 791, RFC 8200 4.5). */
struct bn_fragment_key {
	union bn_addr saddr;
	union bn_addr daddr;
	__be32 id;
	__u8 protocol;
	__u8 family;
	__u16 pad;
};
BN_ASSERT_SIZE(struct bn_fragment_key, 40);

struct bn_fragment {
	__be16 sport;
	__be16 dport;
	__u32 seen; /* jiffies, low 32 bits */
};
BN_ASSERT_SIZE(struct bn_fragment, 8);
