// SPDX-License-Identifier: Apache-2.0
/*
 * Packet costs as ratios to an empty program of the same kind, tc's or XDP's. Every round times, for each
 * group of rows and in it one node after the other, so that what is compared stands close together: the
 * empty program, and for each row the datapath under the wrapper and the empty program under the wrapper.
 * A row's cost is wrapped - base + empty; its ratio to `empty` of the same round is what is reported. One
 * JSON object a line goes to stdout; report.py makes the table.
 *
 * Usage: bench [ROUNDS [PROTOCOL...]]
 *        bench policy [ROUNDS [PROTOCOL...]]
 *        bench services [ROUNDS [PROTOCOL...]]
 *        bench xdp [ROUNDS [PROTOCOL...]]
 *        bench quiet [CONNECTIONS [EXCHANGES]]
 */
#include "bench.h"

#include <errno.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#define REPEAT_EMPTY 1000000u
/* Rounds with the same programs and tables: where the JIT happens to put a program moves its cost
 * by half a percent, so comparing nodes needs several loads of each. */
#define GENERATION 4
/* Batches of first packets that are averaged, and of those before them that are not. */
#define BENCH_FIRST 8
#define BENCH_WARM 2
#define BENCH_WARM_EMPTY 16 /* as many as there are ports for */

static const char *const protocol_names[] = {"tcp4", "tcp6", "udp4", "udp6"};
static const struct bench_packet tcp_data = {false, BN_TCP_ACK | BN_TCP_PSH, 64};
static const struct bench_packet tcp_reply = {true, BN_TCP_ACK | BN_TCP_PSH, 64};

/* One TCP connection, open to close. */
static const struct bench_packet connection[] = {
	{false, BN_TCP_SYN, 0},
	{true, BN_TCP_SYN | BN_TCP_ACK, 0},
	{false, BN_TCP_ACK, 0},
	{false, BN_TCP_ACK | BN_TCP_PSH, 64},
	{true, BN_TCP_ACK, 0},
	{true, BN_TCP_ACK | BN_TCP_PSH, 512},
	{false, BN_TCP_ACK, 0},
	{false, BN_TCP_FIN | BN_TCP_ACK, 0},
	{true, BN_TCP_FIN | BN_TCP_ACK, 0},
	{false, BN_TCP_ACK, 0},
};
#define CONNECTION (sizeof(connection) / sizeof(connection[0]))
static const struct bench_packet exchange[] = {{false, 0, 40}, {true, 0, 120}};

int bench_round;

static const char *const table_names[] = {
	[BENCH_EMPTY] = "empty", [BENCH_ESTABLISHED] = "16384", [BENCH_FILLED] = "3/4"};

void bench_record(const char *row, const struct bench_node *node, enum bench_protocol p,
		  double empty, const struct bench_time *t)
{
	double cost = t->wrapped - t->base + empty;

	printf("{\"row\":\"%s\",\"protocol\":\"%s\",\"services\":%u,\"table\":\"%s\",\"rules\":%u,"
	       "\"round\":%d,\"empty_ns\":%.2f,\"wrapped_ns\":%.2f,\"base_ns\":%.2f,"
	       "\"ratio\":%.4f}\n",
	       row, protocol_names[p], node->services, table_names[node->table], node->rules,
	       bench_round, empty, t->wrapped, t->base, cost / empty);
}

void bench_proved(struct bench_node *node, enum bench_protocol p, __u64 before, __u64 wanted,
		  __u64 missed)
{
	__u64 seen = bench_flows_packets(node, p) - before;

	if (seen > wanted || seen + missed < wanted)
		bench_die("packets counted by the flows' entries", seen, wanted);
}

/*
 * Flows in another order than they were opened in. A fresh table lays entries out in the order
 * of opening, which the CPU's prefetchers like; a table that has lived does not.
 */
static void flows_shuffle(const struct bench_node *node, struct bench_flow *ret)
{
	memcpy(ret, node->flows, BENCH_FLOWS * sizeof(*ret));
	for (unsigned int i = BENCH_FLOWS - 1; i; i--) {
		unsigned int k = (unsigned int)rand() % (i + 1);
		struct bench_flow f = ret[i];

		ret[i] = ret[k];
		ret[k] = f;
	}
}

static void rows_established(struct bench_node *node, enum bench_protocol p, double empty)
{
	static struct bench_flow shuffled[BENCH_FLOWS];
	const struct bench_packet *packet = &tcp_data;
	bool check = bench_round % GENERATION == 0;
	struct bench_time t;
	__u64 before = 0, runs = 0;
	unsigned int one = (bench_round * 7919u) % BENCH_FLOWS;

	if (check)
		before = bench_flows_packets(node, p);
	bench_tape(node, p, packet, &node->flows[one], 1, "A");
	if (check) {
		bench_compare(node, p, packet, &node->flows[one], 1);
		runs += 64;
	}
	bench_run(node, p, BENCH_REPEAT_ONE, &t);
	bench_record("established, one flow", node, p, empty, &t);
	bench_tape(node, p, packet, node->flows, BENCH_FLOWS, "A");
	if (check) {
		bench_compare(node, p, packet, node->flows, BENCH_FLOWS);
		runs += 64;
	}
	bench_run(node, p, BENCH_REPEAT_CYCLE, &t);
	bench_record("established, 16384 flows", node, p, empty, &t);
	if (check)
		bench_proved(node, p, before, runs + BENCH_REPEAT_ONE + BENCH_REPEAT_CYCLE, 0);
	flows_shuffle(node, shuffled);
	bench_tape(node, p, packet, shuffled, BENCH_FLOWS, "A");
	bench_run(node, p, BENCH_REPEAT_CYCLE, &t);
	bench_record("established, 16384 flows, random order", node, p, empty, &t);
	bench_tape(node, p, &tcp_reply, &node->flows[one], 1, "A");
	if (check)
		bench_compare(node, p, &tcp_reply, &node->flows[one], 1);
	bench_run(node, p, BENCH_REPEAT_ONE, &t);
	bench_record("established, reply, one flow", node, p, empty, &t);
}

static __u64 counted(const struct bench_node *node, unsigned int counter)
{
	struct bn_counts c;

	bn_rig_counts(&node->rig, &c);
	return c.counter[counter];
}

static void expect_counter(const struct bench_node *node, unsigned int counter, __u64 before,
			   __u64 wanted)
{
	__u64 seen = counted(node, counter) - before;

	if (seen != wanted)
		bench_die(bn_rig_counter_name(counter), seen, wanted);
}

/* A batch of flows side by side, one packet of each in turn; every step is timed. */
static void opening(struct bench_node *node, enum bench_protocol p, double empty)
{
	static struct bench_flow flows[BENCH_BATCH];
	bool tcp = bench_ipproto(p) == 6;
	const struct bench_packet *packets = tcp ? connection : exchange;
	unsigned int n = tcp ? CONNECTION : 2;
	struct bench_time t, sum = {};
	__u64 opened, promoted, full, closed;

	opened = counted(node, BN_CNT_FLOWS_OPENED);
	promoted = counted(node, BN_CNT_FLOWS_PROMOTED);
	full = counted(node, BN_CNT_FLOWS_FULL);
	closed = counted(node, BN_CNT_FLOWS_CLOSED);
	for (unsigned int i = 0; i < BENCH_BATCH; i++)
		bench_flow_draw(node, p, &flows[i]);
	for (unsigned int step = 0; step < n; step++) {
		bench_tape(node, p, &packets[step], flows, BENCH_BATCH, "A");
		bench_run(node, p, BENCH_BATCH, &t);
		if (!step)
			bench_flows_learn(node, p, flows, BENCH_BATCH);
		else
			bench_drain(node);
		sum.wrapped += t.wrapped / n;
		sum.base += t.base / n;
		if (step == 1)
			bench_record("first reply", node, p, empty, &t);
		else if (step == 2)
			bench_record("promotion (ACK of the handshake)", node, p, empty, &t);
		else if (step == 7)
			bench_record("first FIN", node, p, empty, &t);
	}
	bench_record(tcp ? "TCP connection, average of 10 packets"
			 : "UDP exchange, average of 2 packets",
		     node, p, empty, &sum);
	expect_counter(node, BN_CNT_FLOWS_OPENED, opened, BENCH_BATCH);
	if (tcp) {
		/* in a table that is filled, both sets of a few are full */
		expect_counter(node, BN_CNT_FLOWS_PROMOTED, promoted,
			       2 * (BENCH_BATCH - (counted(node, BN_CNT_FLOWS_FULL) - full)));
		expect_counter(node, BN_CNT_FLOWS_CLOSED, closed, BENCH_BATCH);
	}
}

/*
 * First packets of batch after batch of flows. The first ones are not reported: whatever went on
 * before has left cold what a node that new connections keep coming to has as warm as its caches allow,
 * such as code, page tables, the ring buffer and the services.
 */
static void row_first(struct bench_node *node, enum bench_protocol p, double empty)
{
	const struct bench_packet *packet = bench_ipproto(p) == 6 ? connection : exchange;
	static struct bench_flow flows[BENCH_BATCH];
	const unsigned int warm = node->table == BENCH_EMPTY ? BENCH_WARM_EMPTY : BENCH_WARM;
	struct bench_time t, sum = {};
	__u64 opened = counted(node, BN_CNT_FLOWS_OPENED);

	for (unsigned int batch = 0; batch < warm + BENCH_FIRST; batch++) {
		for (unsigned int i = 0; i < BENCH_BATCH; i++)
			bench_flow_draw(node, p, &flows[i]);
		bench_tape(node, p, packet, flows, BENCH_BATCH, "A");
		bench_run(node, p, BENCH_BATCH, &t);
		bench_drain(node);
		if (batch < warm)
			continue;
		sum.wrapped += t.wrapped / BENCH_FIRST;
		sum.base += t.base / BENCH_FIRST;
	}
	bench_record("first packet", node, p, empty, &sum);
	expect_counter(node, BN_CNT_FLOWS_OPENED, opened, (warm + BENCH_FIRST) * BENCH_BATCH);
}

static void rows_denied(struct bench_node *node, enum bench_protocol p, double empty)
{
	static const struct bench_packet syn = {false, BN_TCP_SYN, 0}, query = {false, 0, 40};
	const struct bench_packet *packet = bench_ipproto(p) == 6 ? &syn : &query;
	static struct bench_flow flows[BENCH_BATCH];
	struct bn_counts before, after;
	struct bench_time t;

	for (unsigned int i = 0; i < BENCH_BATCH; i++)
		bench_flow_draw(node, p, &flows[i]);
	bn_rig_counts(&node->rig, &before);
	bench_tape(node, p, packet, flows, 1, "C");
	bench_run(node, p, BENCH_REPEAT_ONE, &t);
	bench_record("denied, one flow", node, p, empty, &t);
	bench_drain(node);
	bench_tape(node, p, packet, flows, BENCH_BATCH, "C");
	bench_run(node, p, BENCH_BATCH, &t);
	bench_record("denied, fresh tuple each time", node, p, empty, &t);
	bench_drain(node);
	bn_rig_counts(&node->rig, &after);
	if (after.drop[BN_DROP_POLICY_EGRESS] - before.drop[BN_DROP_POLICY_EGRESS] !=
	    BENCH_REPEAT_ONE + BENCH_BATCH)
		bench_die("denied packets",
			  after.drop[BN_DROP_POLICY_EGRESS] - before.drop[BN_DROP_POLICY_EGRESS],
			  BENCH_REPEAT_ONE + BENCH_BATCH);
}

/* What is measured, one after the other in each round. */
struct kind {
	unsigned int services;
	enum bench_table table;
	enum bench_path path;
	unsigned int rules;
};
#define KINDS_MAX 6

static const struct suite {
	const char *name;
	struct kind kinds[KINDS_MAX];
	size_t n;
} suites[] = {
	{"",
	 {{10, BENCH_EMPTY, BENCH_FROM_POD, 0},
	  {10000, BENCH_EMPTY, BENCH_FROM_POD, 0},
	  {10, BENCH_ESTABLISHED, BENCH_FROM_POD, 0},
	  {10000, BENCH_ESTABLISHED, BENCH_FROM_POD, 0},
	  {10000, BENCH_FILLED, BENCH_FROM_POD, 0},
	  {10, BENCH_ESTABLISHED, BENCH_XDP, 0}},
	 6},
	{"policy",
	 {{10, BENCH_ESTABLISHED, BENCH_FROM_POD, 0},
	  {10, BENCH_ESTABLISHED, BENCH_FROM_POD, 1},
	  {10, BENCH_ESTABLISHED, BENCH_FROM_POD, 10000},
	  {10, BENCH_EMPTY, BENCH_FROM_POD, 1},
	  {10, BENCH_EMPTY, BENCH_FROM_POD, 10000}},
	 5},
	{"services",
	 {{10, BENCH_EMPTY, BENCH_FROM_POD, 0},
	  {10000, BENCH_EMPTY, BENCH_FROM_POD, 0},
	  {10, BENCH_ESTABLISHED, BENCH_FROM_POD, 0},
	  {10000, BENCH_ESTABLISHED, BENCH_FROM_POD, 0}},
	 4},
	{"xdp", {{10, BENCH_ESTABLISHED, BENCH_XDP, 0}}, 1},
};

static void node_new(struct bench_node *node, const struct kind *kind, enum bench_protocol p)
{
	bool xdp = kind->path == BENCH_XDP;

	/* in the driver nothing begins */
	bench_node_new(node, kind->services, kind->table, xdp ? BENCH_UPLINK : kind->path);
	bench_services(node, p);
	if (kind->rules)
		bench_policy(node, p, kind->rules);
	if (kind->table != BENCH_EMPTY)
		bench_flows_establish(node, p);
	if (xdp)
		bench_xdp_begin(node);
}

/* Rows that are timed together, by what a node needs to be for them. */
static const struct group {
	void (*rows)(struct bench_node *node, enum bench_protocol p, double empty);
	bool xdp, established; /* in the driver; with flows that stand */
} groups[] = {
	{rows_established, .established = true},       {row_first}, {opening}, {rows_denied},
	{bench_xdp, .xdp = true, .established = true},
};
#define GROUPS (sizeof(groups) / sizeof(groups[0]))

static void group_run(const struct group *g, struct bench_node *node, enum bench_protocol p)
{
	if (g->xdp != (node->path == BENCH_XDP) || (g->established && node->table == BENCH_EMPTY))
		return;
	if (!g->established) {
		bn_rig_forget_transient(&node->rig);
		bench_drain(node);
	}
	g->rows(node, p, bench_empty(node, REPEAT_EMPTY));
}

/* What ran before leaves caches as they are for what runs next: nobody is to have the same neighbour. */
static void shuffle(size_t *order, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		size_t k = (size_t)rand() % (i + 1);

		order[i] = order[k];
		order[k] = i;
	}
}

static void protocol_run(const struct suite *suite, enum bench_protocol p, int rounds)
{
	static struct bench_node nodes[KINDS_MAX];
	size_t order[KINDS_MAX];
	const size_t n = suite->n;

	for (bench_round = 0; bench_round < rounds; bench_round++) {
		shuffle(order, n);
		for (size_t i = 0; i < n && bench_round % GENERATION == 0; i++)
			node_new(&nodes[order[i]], &suite->kinds[order[i]], p);
		for (size_t g = 0; g < GROUPS; g++) {
			shuffle(order, n);
			for (size_t i = 0; i < n; i++)
				group_run(&groups[g], &nodes[order[i]], p);
		}
		fflush(stdout);
		fprintf(stderr, "\r%s: round %d of %d ", protocol_names[p], bench_round + 1,
			rounds);
		if (bench_round % GENERATION == GENERATION - 1 || bench_round == rounds - 1)
			for (size_t k = 0; k < n; k++)
				bench_node_free(&nodes[k]);
	}
	fputc('\n', stderr);
}

static void pin_cpu(void)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(libbpf_num_possible_cpus() - 1, &set);
	if (sched_setaffinity(0, sizeof(set), &set))
		bn_rig_die("sched_setaffinity", errno);
	setpriority(PRIO_PROCESS, 0, -20);
}

static bool wanted(int argc, char **argv, const char *protocol)
{
	for (int i = 2; i < argc; i++)
		if (!strcmp(argv[i], protocol))
			return true;
	return argc <= 2;
}

static int packets_main(int argc, char **argv, const struct suite *suite)
{
	int rounds = argc > 1 ? atoi(argv[1]) : 20;

	for (int p = 0; p < BENCH_PROTOCOLS; p++)
		if (wanted(argc, argv, protocol_names[p]))
			protocol_run(suite, p, rounds > 0 ? rounds : 1);
	return 0;
}

int main(int argc, char **argv)
{
	const struct suite *suite = &suites[0];
	int r;

	for (size_t i = 1; i < sizeof(suites) / sizeof(suites[0]); i++) {
		if (argc > 1 && !strcmp(argv[1], suites[i].name))
			suite = &suites[i];
	}
	bn_rig_enter();
	pin_cpu();
	bench_wrap_open();
	if (argc > 1 && !strcmp(argv[1], "quiet"))
		r = bench_quiet(argc > 2 ? atoi(argv[2]) : 2000000,
				argc > 3 ? atoi(argv[3]) : 2000000);
	else if (suite != suites)
		r = packets_main(argc - 1, argv + 1, suite);
	else
		r = packets_main(argc, argv, suite);
	bench_wrap_close();
	return r;
}
