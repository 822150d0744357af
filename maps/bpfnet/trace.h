/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * Tracing: packets of a filter, at each hook that they pass. All of this exists only while somebody
 * traces: programs that stand before and behind those of the datapath (bpf/trace.bpf.c), and maps
 * that are not pinned.
 */
#pragma once

#include <bpfnet/event.h>

#define BN_TRACE_SLOTS 8 /* traces at once */
#define BN_TRACE_ADDRS 16
#define BN_TRACE_PORTS 8
#define BN_TRACE_PROTOCOLS 6
#define BN_TRACE_FLAGS 4
#define BN_TRACE_BYTES 128 /* of a packet, from the Ethernet header on */
#define BN_TRACE_RATE 2000 /* records a second, per trace and CPU */

/*
 * Values of one kind are alternatives, kinds must all match: each value belongs to one of these, and
 * `wanted` has those that there are.
 */
enum bn_trace_kind {
	BN_TRACE_POD,
	BN_TRACE_FROM_POD,
	BN_TRACE_TO_POD,
	BN_TRACE_IP,
	BN_TRACE_FROM_IP,
	BN_TRACE_TO_IP,
	BN_TRACE_PORT,
	BN_TRACE_FROM_PORT,
	BN_TRACE_TO_PORT,
	BN_TRACE_PROTOCOL,
	BN_TRACE_TCP_FLAGS,
	BN_TRACE_KINDS,
};

/* Which end of a packet. */
#define BN_TRACE_FROM 1u
#define BN_TRACE_TO 2u

struct bn_trace_addr {
	union bn_addr addr; /* no bits outside the mask */
	union bn_addr mask;
	__u32 kind;   /* 1 << enum bn_trace_kind */
	__u16 ends;   /* BN_TRACE_FROM, BN_TRACE_TO; 0: no value */
	__u16 family; /* enum bn_family */
};
BN_ASSERT_SIZE(struct bn_trace_addr, 40);

struct bn_trace_port {
	__be16 port;
	__u16 ends;
	__u32 kind;
};
BN_ASSERT_SIZE(struct bn_trace_port, 8);

#define BN_TRACE_FORWARDED 1u
#define BN_TRACE_DROPPED 2u

/* bn_trace_filter: array by slot. */
struct bn_trace_filter {
	__u64 expires;  /* 0   CLOCK_MONOTONIC, ns; 0: nobody traces. Renewed while somebody reads */
	__u64 reasons;  /* 8   bits of enum bn_drop_reason; 0: any */
	__u32 wanted;   /* 16  bits of enum bn_trace_kind */
	__u32 verdicts; /* 20  BN_TRACE_FORWARDED, BN_TRACE_DROPPED */
	__u8 protocols[BN_TRACE_PROTOCOLS]; /* 24  BN_TRACE_NO_PROTOCOL: no value */
	__u8 pad[2];
	__u8 flags[BN_TRACE_FLAGS]; /* 32  TCP's, that all must be set; 0: no value */
	__u32 pad2;
	struct bn_trace_port ports[BN_TRACE_PORTS]; /* 40 */
	struct bn_trace_addr addrs[BN_TRACE_ADDRS]; /* 104 */
};
BN_ASSERT_SIZE(struct bn_trace_filter, 744);
BN_ASSERT_AT(struct bn_trace_filter, ports, 40);
BN_ASSERT_AT(struct bn_trace_filter, addrs, 104);

#define BN_TRACE_NO_PROTOCOL 255 /* reserved by IANA */

enum bn_trace_action {
	BN_TRACE_PASSED = 1,     /* to whatever comes next: tc behind XDP, the stack, the device */
	BN_TRACE_REDIRECTED = 2, /* to `to_ifindex`, past the stack */
	BN_TRACE_DELIVERED = 3,  /* likewise into that device's peer: a pod here */
	BN_TRACE_INJECTED = 4,   /* into that device's ingress */
	BN_TRACE_SENT_BACK = 5,  /* by the driver, out of the device that it came from */
	BN_TRACE_DROP = 6,
	BN_TRACE_ANSWERED = 7,   /* turned into an answer to its sender */
	BN_TRACE_ACTION_MAX,
};

/* A record of the ring buffer `bn_trace_ring`. */
struct bn_trace_record {
	/*
	 * BN_EVENT_TRACE with the whole record's size. What is about the packet is of when it came, to_*
	 * of how it leaves; length, tcp_flags and verdicts as of a drop, whose reason is 0 otherwise.
	 */
	struct bn_event event;      /* 0 */
	__u64 packet;               /* 160 the same of one packet at several hooks */
	__u32 traces;               /* 168 bits of the slots that it is for */
	__u32 to_ifindex;           /* 172 0: none */
	__s32 verdict;              /* 176 what the program returned: TC_ACT_*, or XDP_* */
	__u32 frame;                /* 180 bytes, from the Ethernet header on */
	__u32 captured;             /* 184 bytes of it below */
	__u8 action;                /* 188 enum bn_trace_action */
	__u8 pad[3];
	__u8 bytes[BN_TRACE_BYTES]; /* 192 as it came; what is not linear is left out */
};
BN_ASSERT_SIZE(struct bn_trace_record, 320);
BN_ASSERT_AT(struct bn_trace_record, packet, 160);
BN_ASSERT_AT(struct bn_trace_record, bytes, 192);

/* Of one trace, on one CPU; `suppressed` and `lost` only grow. */
struct bn_trace_count {
	__u64 window; /* CLOCK_MONOTONIC, ns, when the current second began */
	__u32 sent;   /* records of it */
	__u32 pad;
	__u64 suppressed; /* over BN_TRACE_RATE */
	__u64 lost;       /* found the ring buffer full */
};
BN_ASSERT_SIZE(struct bn_trace_count, 32);

/* bn_trace_counts: per-CPU array by slot. */
