/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Tables of cases: packets in, and for each of them the verdict, the packet out, the counters
 * that changed (and no others) and the records written. One table serves both families.
 */
#pragma once

#include <netinet/in.h>

#include "rig.h"

enum bn_outcome {
	BN_FORWARDED = 1, /* redirected, rewritten as `to_*` say, TTL one less */
	BN_PASSED,        /* left to the stack, rewritten as `to_*` say, TTL untouched */
	BN_DELIVERED,     /* redirected into the node's stack, likewise */
	BN_ANSWERED,      /* turned back to its sender as `answer` */
	BN_DROPPED,       /* for `reason` */
};

/* What a packet of direct server return says first behind its network header (bpfnet/dsr.h). */
struct bn_step_frontend {
	const char *addr; /* NULL: nothing */
	__u16 port;
};

struct bn_step {
	const char *what;
	__u8 hook;   /* enum bn_hook */
	__u8 device; /* enum bn_rig_device */
	__u8 by;     /* to-pod: 1 + the device it came in by; 0: made on this node */
	struct bn_packet_spec in;
	struct bn_step_frontend frontend; /* in `in` */
	const struct bn_packet *raw;      /* instead of `in` */
	enum bn_outcome outcome;
	__u8 reason; /* also of an answer that refuses: BN_DROP_* */
	bool quiet;  /* the drop leaves no record */
	/* What changes, empty: nothing. */
	const char *to_src, *to_dst;
	__u16 to_sport, to_dport;
	struct bn_step_frontend to_frontend; /* that of `in` is taken out */
	const struct bn_packet *to_quote;    /* what an ICMP error quotes afterwards */
	struct bn_packet_spec answer;
	bool quote; /* the answer quotes the packet as it came in, answer.quote_len bytes */
	__u64 count[BN_CNT_MAX];
	__u8 cause; /* of the flow that was closed */
	/*
	 * What policy said, by which rules: in the record of what was opened or dropped, and in the
	 * rules' hits where the step counts a decision or a stale flow.
	 */
	__u32 egress, ingress;
	__u8 audited; /* opened, or goes on, though policy denies it: BN_DROP_* */
	/* Looked at after the step; fails by returning what is wrong. */
	const char *(*check)(struct bn_rig *rig, int family, const struct bn_result *result);
	/* Done before the step. */
	void (*before)(struct bn_rig *rig, int family);
};

#define BN_CASE_STEPS 16

struct bn_case {
	const char *name;
	int families; /* 4, 6, or 0: both */
	void (*prepare)(struct bn_rig *rig, int family);
	void (*restore)(struct bn_rig *rig, int family);
	struct bn_step step[BN_CASE_STEPS]; /* ends with one that has no hook */
	/* What a table can't say; after the steps. Returns what is wrong, or NULL. */
	const char *(*run)(struct bn_rig *rig, int family);
};

/*
 * Runs a case in one family; the number of things found wrong, each printed with its reason. With
 * `complete`, its steps run once more as packets whose sum a NIC has taken, which must follow.
 */
int bn_case_run(struct bn_rig *rig, const struct bn_case *c, int family, bool complete);

/* Builds a step's packet: names resolved, MACs filled in where they are zero. */
void bn_step_packet(struct bn_rig *rig, const struct bn_step *s, int family, struct bn_packet *ret);

/* A packet to be quoted. */
void bn_quote(struct bn_rig *rig, int family, struct bn_packet *ret, struct bn_packet_spec spec);
#define QUOTED(...) ((struct bn_step){UDP(__VA_ARGS__)}.in)

/* Runs one packet without expectations. */
int bn_step_send(struct bn_rig *rig, const struct bn_step *s, int family, struct bn_result *ret);
/* The same for a packet without anything unusual, from a pod. */
int bn_pod_send(struct bn_rig *rig, int family, int pod, const char *src, __u16 sport,
		const char *dst, __u16 dport, __u8 protocol, __u8 tcp_flags, struct bn_result *ret);

/* The key under which a tuple is kept; ports in host order, names as in bn_rig_address(). */
struct bn_tuple bn_tuple_make(int family, __u8 protocol, const char *src, __u16 sport,
			      const char *dst, __u16 dport);

#define FROM(d) .hook = BN_HOOK_FROM_POD, .device = (d)
#define TO(d) .hook = BN_HOOK_TO_POD, .device = (d)
/* ... that came by another device. */
#define TO_BY(d, device) TO(d), .by = (device) + 1
#define HOST .hook = BN_HOOK_FROM_HOST, .device = BN_HOST
#define UPLINK .hook = BN_HOOK_FROM_UPLINK, .device = BN_UPLINK
#define TCP(s, sp, d, dp, f, ...) \
	.in = {.protocol = IPPROTO_TCP, \
	       .src = (s), \
	       .sport = (sp), \
	       .dst = (d), \
	       .dport = (dp), \
	       .tcp_flags = (f), \
	       ##__VA_ARGS__}
#define UDP(s, sp, d, dp, ...) \
	.in = {.protocol = IPPROTO_UDP, \
	       .src = (s), \
	       .sport = (sp), \
	       .dst = (d), \
	       .dport = (dp), \
	       ##__VA_ARGS__}
#define SCTP(s, sp, d, dp, ...) \
	.in = {.protocol = 132, .src = (s), .sport = (sp), .dst = (d), .dport = (dp), ##__VA_ARGS__}
/* An ICMP error that quotes the packet `q`, see bn_quote(). */
#define ERROR(p, t, c, s, d, q, ...) \
	.in = {.protocol = (p), \
	       .type = (t), \
	       .code = (c), \
	       .src = (s), \
	       .dst = (d), \
	       .quote = &(q), \
	       ##__VA_ARGS__}
#define TRANSLATED .count = {[BN_CNT_ICMP_TRANSLATED] = 1}
/* An ICMP error in answer, which quotes the packet in hand unless it says another. */
#define ANSWER(p, t, c, s, d, ...) \
	.outcome = BN_ANSWERED, .quote = true, \
	.answer = { \
		.protocol = (p), .type = (t), .code = (c), .src = (s), .dst = (d), ##__VA_ARGS__}
#define DNAT(d, dp) .outcome = BN_FORWARDED, .to_dst = (d), .to_dport = (dp)
#define SNAT(s, sp) .outcome = BN_FORWARDED, .to_src = (s), .to_sport = (sp)
#define DROP(r) .outcome = BN_DROPPED, .reason = BN_DROP_##r
/* Refused, and the sender told. */
#define REFUSED(r) .reason = BN_DROP_##r, .count = {[BN_CNT_DECISIONS] = 1, [BN_CNT_REJECTS] = 1}
#define RESET(v, vp, c, cp, f, ...) \
	.outcome = BN_ANSWERED, .answer = {.protocol = IPPROTO_TCP, \
					   .src = (v), \
					   .sport = (vp), \
					   .dst = (c), \
					   .dport = (cp), \
					   .tcp_flags = (f), \
					   ##__VA_ARGS__}
#define UNREACHABLE4(...) \
	.outcome = BN_ANSWERED, .quote = true, \
	.answer = {.protocol = IPPROTO_ICMP, .type = 3, .code = 3, ##__VA_ARGS__}
#define UNREACHABLE6(...) \
	.outcome = BN_ANSWERED, .quote = true, \
	.answer = {.protocol = 58, .type = 1, .code = 4, ##__VA_ARGS__}
#define SYN BN_TCP_SYN
#define ACK BN_TCP_ACK
#define FIN BN_TCP_FIN
#define RST BN_TCP_RST
