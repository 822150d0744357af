/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * Records of the ring buffer `bn_events`, and the counters that stay exact when records are
 * lost. Every record begins with struct bn_event_header; a reader skips what it doesn't know.
 */
#pragma once

#include <bpfnet/drop_reasons.h>
#include <bpfnet/types.h>

#define BN_EVENT_VERSION 1

enum bn_event_type {
	BN_EVENT_FLOW_OPENED = 1,
	BN_EVENT_FLOW_CLOSED = 2,
	BN_EVENT_DROP = 3,
	BN_EVENT_AUDIT = 4, /* a flow goes on that policy denies by now: once for each epoch */
	BN_EVENT_TRACE = 5, /* of another ring buffer, see trace.h */
};

/* Which program saw the packet. */
enum bn_hook {
	BN_HOOK_FROM_POD = 1,
	BN_HOOK_TO_POD = 2,
	BN_HOOK_FROM_UPLINK = 3,
	BN_HOOK_FROM_HOST = 4,
	BN_HOOK_XDP = 5, /* on an uplink's driver; traces alone name it, and what follows TO_UPLINK */
	BN_HOOK_TO_UPLINK = 6, /* the node's own packets, where its firewall is on */
	BN_HOOK_HOST_EGRESS = 7, /* the near end of the way that BN_HOOK_FROM_HOST is the far end of */
	BN_HOOK_LOOPBACK = 8,
	BN_HOOK_MAX,
};

/* Why a flow ended, bn_event.cause of BN_EVENT_FLOW_CLOSED. */
enum bn_close_cause {
	BN_CLOSE_FIN = 1,     /* both directions sent FIN */
	BN_CLOSE_RST = 2,
	BN_CLOSE_EXPIRED = 3, /* idle longer than its lifetime */
	BN_CLOSE_EVICTED = 4, /* thrown out of a full set of the transient table */
	BN_CLOSE_STALE = 5,   /* its decision no longer holds and none took its place */
};

/* Which end closed a flow first, bn_event.closed_by of BN_EVENT_FLOW_CLOSED. */
enum bn_closed_by {
	BN_CLOSED_BY_NOBODY = 0, /* its time was over, or nobody knows */
	BN_CLOSED_BY_SOURCE = 1, /* the end that opened it */
	BN_CLOSED_BY_DESTINATION = 2,
};

struct bn_event_header {
	__u8 version; /* BN_EVENT_VERSION */
	__u8 type;    /* enum bn_event_type */
	__u16 size;   /* of the whole record, bytes */
};
BN_ASSERT_SIZE(struct bn_event_header, 4);

/*
 * A record wakes its reader unless one of the same CPU has done so within this time; whoever has
 * been woken looks again when it is over. At 200,000 records a second this is 170 KB of them.
 */
#define BN_EVENT_QUIET_NS 5000000ull

struct bn_event {
	struct bn_event_header header; /* 0 */
	__u8 hook;                     /* 4   enum bn_hook */
	__u8 reason;                   /* 5   enum bn_drop_reason; opened, audit: for which it is audited */
	__u8 cause;                    /* 6   enum bn_close_cause */
	__u8 flags;                    /* 7   enum bn_flow_flag */
	__u64 time;                    /* 8   CLOCK_MONOTONIC, ns */
	struct bn_tuple tuple;         /* 16  as the sender sent it */
	union bn_addr to_saddr;        /* 56  as it leaves; all zero when not decided */
	union bn_addr to_daddr;        /* 72 */
	__be16 to_sport;               /* 88 */
	__be16 to_dport;               /* 90 */
	__u32 ifindex;                 /* 92  the hook's device */
	__u32 src_identity;            /* 96 */
	__u32 dst_identity;            /* 100 */
	__u32 service;                 /* 104 service id, 0: none */
	union { /* 108 */
		__u32 length;         /* of this packet, from the IP header on */
		__u8 reply_tcp_flags; /* closed: that the reply direction has shown */
	};
	__u8 tcp_flags;                /* 112 of this packet; closed: that its direction has shown */
	__u8 state;                    /* 113 enum bn_flow_state of the origin, closed flows */
	__u8 reply_state;              /* 114 the same of the reply direction */
	__u8 closed_by;                /* 115 closed: enum bn_closed_by */
	union { /* 116 */
		__u32 duration;       /* closed: milliseconds since opened */
		__u32 egress_verdict; /* all but closed: BN_VERDICT_...; 0: no policy's affair */
	};
	__u64 packets;                 /* 120 closed: origin direction */
	__u64 bytes;                   /* 128 */
	__u64 reply_packets;           /* 136 closed: reply direction */
	__u64 reply_bytes;             /* 144 */
	union { /* 152 */
		__u32 handshake;       /* closed: microseconds, at most BN_HANDSHAKE_MAX; 0: none seen */
		__u32 ingress_verdict; /* likewise */
	};
	__u32 backend;                 /* 156 index, valid with BN_FLOW_BACKEND */
};
BN_ASSERT_SIZE(struct bn_event, 160);
BN_ASSERT_AT(struct bn_event, tuple, 16);
BN_ASSERT_AT(struct bn_event, packets, 120);

/*
 * Every packet that is dropped, every flow that opens and every one that ends is a record in the
 * ring buffer, or is counted as one that is missing:
 *   packets dropped = records + suppressed + lost, for each reason
 *   BN_CNT_FLOWS_OPENED = records + BN_CNT_LOST_OPENED, and likewise what closed
 * but for flows while BN_FEATURE_EVENTS is off. BN_EVENT_AUDIT that is missing is counted too
 * (BN_CNT_LOST_AUDITED).
 */

/* Which way a dropped packet went: out of a pod or the node itself, or towards a pod or from outside. */
enum bn_dropped {
	BN_DROPPED_EGRESS = 0,
	BN_DROPPED_INGRESS = 1,
	BN_DROPPED_WAYS,
};

static inline __attribute__((always_inline)) __u32 bn_hook_direction(__u32 hook)
{
	return hook == BN_HOOK_FROM_POD || hook == BN_HOOK_FROM_HOST ? BN_DROPPED_EGRESS
								      : BN_DROPPED_INGRESS;
}

/* bn_drops: per-CPU array by reason. */
struct bn_drop_counter {
	struct {
		__u64 packets;
		__u64 bytes;
	} of[BN_DROPPED_WAYS];
	__u64 suppressed; /* without a record: over the rate limit, or chatter that never has one */
	__u32 window;     /* jiffies when the current window began */
	__u32 sent;       /* records of the current window */
	__u64 lost;       /* records that found the ring buffer full */
};
BN_ASSERT_SIZE(struct bn_drop_counter, 56);

/* bn_counters: per-CPU array of __u64, by enum bn_counter. */
enum bn_counter {
	BN_CNT_FLOWS_OPENED = 0,
	BN_CNT_FLOWS_CLOSED = 1,
	BN_CNT_FLOWS_PROMOTED = 2,  /* entries put into bn_flows */
	BN_CNT_FLOWS_DEMOTED = 3,   /* entries taken out of bn_flows by the datapath */
	BN_CNT_FLOWS_FULL = 4,      /* promotions refused by a full bn_flows */
	BN_CNT_FLOWS_EVICTED = 5,   /* live entries thrown out of bn_transient */
	BN_CNT_EVENTS_LOST = 6,     /* records of all types that found the ring buffer full */
	BN_CNT_FORWARDED_PACKETS = 7, /* packets that took the slow path and went on */
	BN_CNT_DECISIONS = 8,       /* first packets decided */
	BN_CNT_STALE = 9,           /* flows decided anew after an epoch or generation change */
	BN_CNT_ICMP_TRANSLATED = 10,
	BN_CNT_REJECTS = 11,        /* resets and ICMP unreachables answered */
	BN_CNT_LOST_OPENED = 12,    /* of BN_CNT_EVENTS_LOST: flows that opened */
	BN_CNT_LOST_CLOSED = 13,    /* and flows that ended */
	BN_CNT_CLOSED_PACKETS = 14, /* of flows that have closed, both directions */
	BN_CNT_CLOSED_BYTES = 15,
	BN_CNT_LOST_AUDITED = 16,   /* of BN_CNT_EVENTS_LOST: flows that go on in audit mode */
	BN_CNT_MAX,
};
