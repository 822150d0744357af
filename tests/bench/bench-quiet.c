// SPDX-License-Identifier: Apache-2.0
/*
 * One quiet connection while millions of short ones and of DNS exchanges pass through the same
 * tables, none of them cleared: strangers can't push out friends. The connection survives if its
 * two entries still stand in the main table, untouched, and its next packets are forwarded by
 * them without a new decision.
 */
#include "bench.h"

#include <arpa/inet.h>
#include <string.h>

static const struct bench_packet syn = {false, BN_TCP_SYN, 0};
static const struct bench_packet syn_ack = {true, BN_TCP_SYN | BN_TCP_ACK, 0};
static const struct bench_packet ack = {false, BN_TCP_ACK, 0};
static const struct bench_packet request = {false, BN_TCP_ACK | BN_TCP_PSH, 64};
static const struct bench_packet fin = {false, BN_TCP_FIN | BN_TCP_ACK, 0};
static const struct bench_packet fin_back = {true, BN_TCP_FIN | BN_TCP_ACK, 0};
static const struct bench_packet query = {false, 0, 40};
static const struct bench_packet answer = {true, 0, 120};

/* A flood of strangers throws out strangers: those that are gone take no further part. */
static unsigned int pass(struct bench_node *node, enum bench_protocol p, struct bench_flow *flows,
			 unsigned int n, const struct bench_packet *packet, bool first)
{
	bench_tape(node, p, packet, flows, n, "A");
	bench_apply(node, p, n);
	bench_drain(node);
	return first ? bench_flows_kept(node, p, flows, n) : n;
}

static void batch(struct bench_node *node, enum bench_protocol p)
{
	static struct bench_flow flows[BENCH_BATCH];
	unsigned int n = BENCH_BATCH;

	for (unsigned int i = 0; i < BENCH_BATCH; i++)
		bench_flow_draw(node, p, &flows[i]);
	if (bench_ipproto(p) == 17) {
		n = pass(node, p, flows, n, &query, true);
		pass(node, p, flows, n, &answer, false);
		return;
	}
	n = pass(node, p, flows, n, &syn, true);
	pass(node, p, flows, n, &syn_ack, false);
	pass(node, p, flows, n, &ack, false);
	pass(node, p, flows, n, &request, false);
	pass(node, p, flows, n, &fin, false);
	pass(node, p, flows, n, &fin_back, false);
	pass(node, p, flows, n, &ack, false);
}

static void entries_expect(struct bench_node *node, const struct bench_flow *quiet, __u64 packets,
			   __u64 replies)
{
	struct bn_tuple key = {.saddr = node->rig.dev[BN_POD_A].v4,
			       .daddr = quiet->vip,
			       .sport = htons(quiet->sport),
			       .dport = htons(quiet->dport),
			       .protocol = 6,
			       .family = 4};
	struct bn_tuple back = {.saddr = quiet->backend,
				.daddr = node->rig.dev[BN_POD_A].v4,
				.sport = htons(quiet->to_dport),
				.dport = htons(quiet->to_sport),
				.protocol = 6,
				.family = 4};
	struct bn_flow f;

	if (bn_rig_flow(&node->rig, &key, &f) != BN_ESTABLISHED || f.packets != packets)
		bench_die("the quiet connection's packets", f.packets, packets);
	if (bn_rig_flow(&node->rig, &back, &f) != BN_ESTABLISHED || f.packets != replies)
		bench_die("the quiet connection's replies", f.packets, replies);
}

int bench_quiet(unsigned int connections, unsigned int exchanges)
{
	static struct bench_node node;
	struct bench_flow quiet;
	struct bn_counts before, after;

	bench_node_new(&node, 10000, BENCH_EMPTY, BENCH_FROM_POD);
	for (int p = 0; p < BENCH_PROTOCOLS; p++)
		bench_services(&node, p);
	bench_flow_draw(&node, BENCH_TCP4, &quiet);
	pass(&node, BENCH_TCP4, &quiet, 1, &syn, true);
	pass(&node, BENCH_TCP4, &quiet, 1, &syn_ack, false);
	pass(&node, BENCH_TCP4, &quiet, 1, &ack, false);
	entries_expect(&node, &quiet, 2, 1);
	bn_rig_counts(&node.rig, &before);
	for (unsigned int done = 0; done < connections; done += BENCH_BATCH)
		batch(&node, done / BENCH_BATCH & 1 ? BENCH_TCP6 : BENCH_TCP4);
	for (unsigned int done = 0; done < exchanges; done += BENCH_BATCH)
		batch(&node, done / BENCH_BATCH & 1 ? BENCH_UDP6 : BENCH_UDP4);
	bn_rig_counts(&node.rig, &after);
	entries_expect(&node, &quiet, 2, 1);
	pass(&node, BENCH_TCP4, &quiet, 1, &request, false);
	bench_tape(&node, BENCH_TCP4, &request, &quiet, 1, "A");
	bench_compare(&node, BENCH_TCP4, &request, &quiet, 1);
	entries_expect(&node, &quiet, 2 + 1 + 64, 1);
	printf("{\"row\":\"quiet connection\",\"survives\":true,\"flows_opened\":%llu,"
	       "\"flows_closed\":%llu,\"evicted\":%llu,\"promotions_refused\":%llu}\n",
	       after.counter[BN_CNT_FLOWS_OPENED] - before.counter[BN_CNT_FLOWS_OPENED],
	       after.counter[BN_CNT_FLOWS_CLOSED] - before.counter[BN_CNT_FLOWS_CLOSED],
	       after.counter[BN_CNT_FLOWS_EVICTED] - before.counter[BN_CNT_FLOWS_EVICTED],
	       after.counter[BN_CNT_FLOWS_FULL] - before.counter[BN_CNT_FLOWS_FULL]);
	bench_node_free(&node);
	return 0;
}
