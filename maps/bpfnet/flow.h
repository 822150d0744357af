/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * The flow table. A flow's first packet is decided in full; the decision is kept as what to *do*
 * under the tuple of each direction, so that every later packet is parse, one lookup, apply.
 *
 * The two entries of a flow find each other: an entry under tuple T holds the tuple T' that the
 * packet leaves with, and the opposite direction's entry is under reverse(T').
 *
 * `bn_flows` is a set-associative table in an array. A tuple has a home set and one other, and in
 * both the same preferred way, so an established packet compares one key where it expects it and
 * touches nothing but that entry. Home sets are the first half of the table, and the second half is
 * where they spill to: most of what a first packet costs is waiting for memory, so a table that is
 * sized for the worst day should not be all over it on every other. Entries are of two classes:
 *
 *  - established: TCP whose handshake was seen, lasting UDP. Nothing throws them out; they go when
 *    their lifetime since the last packet is over.
 *  - transient: half-open, short, one-sided and closing flows, and refusals. The victim of a full
 *    set is the transient entry that expires first; one that is alive is reported as evicted.
 *
 * At least one way of every set is for transient entries, so that new flows always find room:
 * what is established beyond that stays transient, with an established flow's lifetime.
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
	BN_ACT_HOST = 4,  /* into the node's stack by out_ifindex, bn_node.host_ifindex */
};

/* bn_flow.flags */
enum bn_flow_flag {
	BN_FLOW_ORIGIN = 1 << 0,  /* the direction of the first packet */
	BN_FLOW_NAT = 1 << 1,     /* the tuple changes */
	BN_FLOW_SERVICE = 1 << 2, /* the destination was a service's */
	BN_FLOW_BACKEND = 1 << 3, /* backend is valid, re-checked while not established */
	BN_FLOW_HAIRPIN = 1 << 4, /* the backend is the client itself */
	BN_FLOW_MASQ = 1 << 5,    /* the source is the node's */
	BN_FLOW_COUNTED = 1 << 6, /* its end was counted and reported */
	BN_FLOW_NODE = 1 << 7,    /* made on this node: no policy's affair, whatever its address */
};

/* bn_flow.state: what this direction has shown of itself (TCP), or of the whole flow. */
enum bn_flow_state {
	BN_FS_SYN = 1 << 0,         /* its first packet was seen: SYN (origin), SYN-ACK (reply) */
	BN_FS_ESTABLISHED = 1 << 1, /* both directions have been seen, and it lasts */
	BN_FS_FIN = 1 << 2,         /* this direction sent FIN */
	BN_FS_RST = 1 << 3,         /* this direction sent RST */
	BN_FS_PEER_FIN = 1 << 4,    /* the opposite direction sent FIN */
	BN_FS_PEER_RST = 1 << 5,    /* the opposite direction sent RST */
	BN_FS_REPLIED = 1 << 6,     /* the opposite direction has been seen */
	BN_FS_CROWDED = 1 << 7,     /* established, but its set had no room for one more */
};
#define BN_FS_CLOSING (BN_FS_FIN | BN_FS_RST | BN_FS_PEER_FIN | BN_FS_PEER_RST)

/* What the established path needs. */
struct bn_flow_hot {
	/* The tuple the packet leaves with; equal to the key's where there is no NAT. */
	union bn_addr to_saddr; /* 0 */
	union bn_addr to_daddr; /* 16 */
	__be16 to_sport;        /* 32 */
	__be16 to_dport;        /* 34 */
	/* One's-complement deltas, folded, in the packet's byte order: new = fold(old + delta). */
	__u16 l3_delta;    /* 36  IPv4 header and pseudo header: addresses */
	__u16 l4_delta;    /* 38  transport checksum: pseudo header and ports */
	__u16 mtu;         /* 40  of the next hop, bytes from the IP header on; 0: the stack's affair */
	__u8 flags;        /* 42  enum bn_flow_flag */
	__u8 state;        /* 43  enum bn_flow_state */
	__u32 in_ifindex;  /* 44  where packets of this entry come from; 0: through the stack */
	__u32 out_ifindex; /* 48 */
	union { /* 52 */
		__u32 slots; /* whose epochs it depends on, bn_flow_slots(); to be set before action */
		struct {
			__u8 slots_bytes[3];
			__u8 action; /* 55  enum bn_action */
		};
	};
	__u32 epoch;         /* 56  sum of the epochs it was decided in */
	__u32 last_seen;     /* 60  jiffies, low 32 bits */
	__u32 served : 24;   /* 64  bn_flow_service() and BN_FLOW_DIRECT */
	__u8 zero;           /* 67  always: see table_touch() */
	union { /* 68 */
		__u32 reason;        /* enum bn_drop_reason of BN_ACT_DROP */
		__u32 backend_epoch; /* not TCP: bn_epochs.backends when the backend's generation was compared */
		struct {             /* TCP */
			__u8 handshake[3]; /* origin: see bn_handshake_get(); low byte first */
			__u8 tcp_flags;    /* 71  of all of this direction's packets */
		};
	};
	__u64 packets; /* 72  of this direction */
	__u64 bytes;   /* 80  of this direction, from the IP header on */
};
BN_ASSERT_SIZE(struct bn_flow_hot, 88);
BN_ASSERT_AT(struct bn_flow_hot, l3_delta, 36);
BN_ASSERT_AT(struct bn_flow_hot, in_ifindex, 44);
BN_ASSERT_AT(struct bn_flow_hot, action, 55);
BN_ASSERT_AT(struct bn_flow_hot, zero, 67);
BN_ASSERT_AT(struct bn_flow_hot, tcp_flags, 71);
BN_ASSERT_AT(struct bn_flow_hot, packets, 72);

/*
 * BN_FLOW_DIRECT: the flow of a client outside to a backend elsewhere, which answers it past the node
 * that the client asked (bpfnet/dsr.h). On that node it stands in the origin's entry, whose reply never
 * comes: the flow is transient for as long as it lasts, and its reply's entry reserves the tuple alone.
 * On the backend's node it stands in the reply's entry, under (pod, client) and leaving from the
 * frontend. The client's packets come as (client, pod) there and leave as they came, so the origin's
 * entry is under the reverse of the reply's key, not of what that leaves with. (A bit-field of its own
 * would keep the kernel from finding the set's lock: that wants every member to begin with a byte.)
 */
#define BN_FLOW_DIRECT BN_SERVICE_IDS

/* The service's id, 0: none. */
static inline __attribute__((always_inline)) __u32 bn_flow_service(const struct bn_flow_hot *f)
{
	return f->served & (BN_SERVICE_IDS - 1);
}

static inline __attribute__((always_inline)) int bn_flow_is_direct(const struct bn_flow_hot *f)
{
	return !!(f->served & BN_FLOW_DIRECT);
}

/* Both ends' slots in one word, beside the byte that is the action. */
#define BN_SLOT_BITS 12
#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
#define BN_SLOT_SHIFT 0
#else
#define BN_SLOT_SHIFT 8
#endif
_Static_assert(BN_SLOTS == 1 << BN_SLOT_BITS, "an endpoint's slot has as many bits");

static inline __attribute__((always_inline)) __u32 bn_flow_slots(__u32 src, __u32 dst)
{
	return ((src & (BN_SLOTS - 1)) | (dst & (BN_SLOTS - 1)) << BN_SLOT_BITS) << BN_SLOT_SHIFT;
}

static inline __attribute__((always_inline)) __u32 bn_flow_src_slot(__u32 slots)
{
	return slots >> BN_SLOT_SHIFT & (BN_SLOTS - 1);
}

static inline __attribute__((always_inline)) __u32 bn_flow_dst_slot(__u32 slots)
{
	return slots >> (BN_SLOT_SHIFT + BN_SLOT_BITS) & (BN_SLOTS - 1);
}

/*
 * Microseconds from a connection's SYN to the handshake's end, BN_HANDSHAKE_MAX for that long or
 * longer, 0: none seen. Until the flow is established, the clock's low bits at the SYN, or 0 if it
 * was not looked at.
 */
#define BN_HANDSHAKE_MAX 0xffffffu

static inline __attribute__((always_inline)) __u32 bn_handshake_get(const struct bn_flow_hot *f)
{
	return f->handshake[0] | (__u32)f->handshake[1] << 8 | (__u32)f->handshake[2] << 16;
}

static inline __attribute__((always_inline)) void bn_handshake_set(struct bn_flow_hot *f, __u32 us)
{
	f->handshake[0] = (__u8)us;
	f->handshake[1] = (__u8)(us >> 8);
	f->handshake[2] = (__u8)(us >> 16);
}

/* `clock`: CLOCK_MONOTONIC at the SYN, ns, or 0. */
static inline __attribute__((always_inline)) void bn_handshake_begin(struct bn_flow_hot *f, __u64 clock)
{
	__u32 us = (__u32)(clock / 1000) & BN_HANDSHAKE_MAX;

	bn_handshake_set(f, clock && !us ? 1 : us);
}

/* What only others need. */
struct bn_flow_cold {
	__u32 created; /* 0   jiffies, low 32 bits */
	union { /* 4 */
		__u32 backend;    /* which one: bn_flow_backend() */
		__u32 refused_by; /* BN_ACT_DROP: verdict of the policy, BN_VERDICT_... */
	};
};
BN_ASSERT_SIZE(struct bn_flow_cold, 8);

/*
 * A backend as a flow names it: its index in bn_backends and, of its generation when it was chosen, as
 * many low bits as there is room for. It would have to pass 4096 generations, exactly, within the life of
 * a half-open flow to be taken for the same.
 */
static inline __attribute__((always_inline)) __u32 bn_flow_backend(__u32 index, __u32 gen)
{
	return (index & (BN_BACKENDS_MAX - 1)) | gen << BN_BACKEND_BITS;
}

static inline __attribute__((always_inline)) __u32 bn_flow_backend_index(__u32 backend)
{
	return backend & (BN_BACKENDS_MAX - 1);
}

/* Both, with the members of both: how a flow is worked with outside the table. */
struct bn_flow {
	union {
		struct bn_flow_hot;
		struct bn_flow_hot hot;
	};
	union {
		struct bn_flow_cold;
		struct bn_flow_cold cold;
	};
};
BN_ASSERT_SIZE(struct bn_flow, 96);
BN_ASSERT_AT(struct bn_flow, created, 88);

struct bn_flow_entry {
	struct bn_tuple key;     /* 0   family 0: free */
	struct bn_flow_hot flow; /* 40 */
};
BN_ASSERT_SIZE(struct bn_flow_entry, 128);

/*
 * One set, a quarter of a page. Each entry is a pair of cache lines, which CPUs fetch together; so is
 * what a search and a change of the set touch besides, with what only others need.
 *
 *   0                      896                                                         960
 *   | entry[0] ... entry[6] | lock, tag[7], expires[7], established, away, spilled | cold[0] ...
 *
 * Arrays that may be mapped are the ones whose elements begin on a page, hence the map's flag.
 * Read from user space with BPF_F_LOCK.
 */
struct bn_flow_set {
	struct bn_flow_entry entry[BN_WAYS]; /* 0 */
	struct bpf_spin_lock lock;           /* 896 */
	__u32 tag[BN_WAYS];                  /* 900 high bits of the key's hash, 0: free */
	__u32 expires[BN_WAYS];              /* 928 jiffies, low 32 bits; established: not before */
	__u8 established;                    /* 956 a bit for each way */
	__u8 away;                           /* 957 a bit for each way whose home is another set */
	__u8 spilled;                        /* 958 entries at home here that are in their other set */
	__u8 zero;                           /* 959 always: see table_touch() */
	struct bn_flow_cold cold[BN_WAYS];   /* 960 */
	__u64 pad;                           /* 1016 */
};
BN_ASSERT_SIZE(struct bn_flow_set, 1024);
BN_ASSERT_AT(struct bn_flow_set, lock, 896);
BN_ASSERT_AT(struct bn_flow_set, established, 956);
BN_ASSERT_AT(struct bn_flow_set, zero, 959);
BN_ASSERT_AT(struct bn_flow_set, cold, 960);

/* Where the keys' hash says that an entry is; `mask`: sets - 1. */
static inline __attribute__((always_inline)) __u32 bn_flow_tag(__u64 hash)
{
	return (__u32)(hash >> 32) | 1;
}

static inline __attribute__((always_inline)) __u32 bn_flow_home(__u64 hash, __u32 mask)
{
	return (__u32)hash & mask >> 1;
}

/* What stands in the table, as bpf/sweep.bpf.c adds it up. */
struct bn_flow_sums {
	__u64 live; /* entries, of which a flow has two */
	/* flows, each in one of these; closing ones are transient */
	__u64 established, transient, refused;
	__u64 dnat, snat, both; /* flows whose destination, source or both are translated */
	__u64 packets, bytes;   /* of entries whose end is not in BN_CNT_CLOSED_... */
};

/* From the home to the other set, and back. */
static inline __attribute__((always_inline)) __u32 bn_flow_other(__u32 set, __u32 tag, __u32 mask)
{
	return (set ^ (tag >> 9 | (mask + 1) >> 1)) & mask;
}

/* Of a set, where an entry is looked for first; of the low half, so that it is known when the set is. */
static inline __attribute__((always_inline)) __u32 bn_flow_way(__u64 hash)
{
	return (((__u32)hash * 0x9e3779b1u >> 16) * BN_WAYS) >> 16;
}

/* bn_epochs: one element. [BN_SLOT_NONE] is the node's own: routes, addresses, devices. */
struct bn_epochs {
	__u32 slot[BN_SLOTS];
	__u32 backends; /* grows after a backend's generation has: compare that again */
	__u32 generation; /* of policy: struct bn_policy_ref */
};
BN_ASSERT_SIZE(struct bn_epochs, 4 * BN_SLOTS + 8);

/*
 * bn_fragments: what only a datagram's first fragment says, by what all of them say (RFC 791 2.3, RFC
 * 8200 4.5: of IPv6's, the first one's next header alone counts).
 */
struct bn_fragment_key {
	union bn_addr saddr;
	union bn_addr daddr;
	__be32 id;
	__u8 protocol; /* IPv6: 0 */
	__u8 family;
	__u16 pad;
};
BN_ASSERT_SIZE(struct bn_fragment_key, 40);

struct bn_fragment {
	__be16 sport;
	__be16 dport;
	__u32 seen; /* jiffies, low 32 bits */
	__u16 end;  /* where the first fragment ends: bytes of what is fragmented */
	__u8 protocol;
	__u8 pad;
};
BN_ASSERT_SIZE(struct bn_fragment, 12);
