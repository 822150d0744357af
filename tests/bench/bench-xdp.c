// SPDX-License-Identifier: Apache-2.0
/*
 * NodePorts with backends on another node: the established packet in the driver, as a ratio to an
 * empty XDP program. The flows are opened by bn_from_uplink, as they would be.
 */
#include "bench.h"

/* Packets that asked for their next hop and went by tc, one in 25 jiffies, of all these runs. */
#define ASKED 64

static void row(struct bench_node *node, enum bench_protocol p, const char *name, double empty,
		const struct bench_packet *packet, const struct bench_flow *flows, unsigned int n,
		unsigned int repeat)
{
	struct bench_time t;

	bench_tape(node, p, packet, flows, n, bench_client(node));
	bench_compare(node, p, packet, flows, n);
	bench_run(node, p, repeat, &t);
	bench_record(name, node, p, empty, &t);
}

static void row_access(struct bench_node *node, enum bench_protocol p, double empty,
		       const struct bench_packet *packet)
{
	struct bench_time t;
	struct bn_result r;

	bench_tape(node, p, packet, node->flows, BENCH_FLOWS, bench_client(node));
	bench_target_access();
	bench_once(node, p, 0, &r);
	if (r.verdict != XDP_TX)
		bench_die("verdict", r.verdict, XDP_TX);
	bench_run(node, p, BENCH_REPEAT_CYCLE, &t);
	bench_record("XDP, one access, 16384 flows", node, p, empty, &t);
}

/* What is of no flow, and so tc's: what is done for it here is done there once more. */
static void row_passed(struct bench_node *node, enum bench_protocol p, double empty)
{
	static const struct bench_packet first = {false, BN_TCP_SYN, 0};
	struct bench_flow none;
	struct bench_time t;
	struct bn_result r;

	bench_flow_draw(node, p, &none);
	bench_tape(node, p, &first, &none, 1, bench_client(node));
	bench_once(node, p, 0, &r);
	if (r.verdict != XDP_PASS)
		bench_die("verdict", r.verdict, XDP_PASS);
	bench_run(node, p, BENCH_REPEAT_ONE, &t);
	bench_record("XDP, of no flow: passed on", node, p, empty, &t);
}

void bench_xdp_begin(struct bench_node *node)
{
	bn_rig_xdp_prepare(&node->rig, BN_UPLINK);
	node->path = BENCH_XDP;
}

void bench_xdp(struct bench_node *node, enum bench_protocol p, double empty)
{
	static const struct bench_packet there = {false, BN_TCP_ACK | BN_TCP_PSH, 64};
	static const struct bench_packet back = {true, BN_TCP_ACK | BN_TCP_PSH, 64};
	const struct bench_flow *one = &node->flows[(bench_round * 7919u) % BENCH_FLOWS];
	__u64 before = bench_flows_packets(node, p);

	row(node, p, "XDP NodePort, one flow", empty, &there, one, 1, BENCH_REPEAT_ONE);
	row(node, p, "XDP NodePort, 16384 flows", empty, &there, node->flows, BENCH_FLOWS,
	    BENCH_REPEAT_CYCLE);
	bench_proved(node, p, before, 2 * 64 + BENCH_REPEAT_ONE + BENCH_REPEAT_CYCLE, ASKED);
	row_access(node, p, empty, &there);
	row(node, p, "XDP NodePort, reply, one flow", empty, &back, one, 1, BENCH_REPEAT_ONE);
	row_passed(node, p, empty);
}
