// SPDX-License-Identifier: Apache-2.0
/*
 * Nodes for the benchmark: default map sizes, 10 or 10,000 services of both families and
 * protocols, and their established flows, opened by real handshakes through the programs.
 */
#include "bench.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static __u32 random_state = 88172645; /* fixed: runs draw the same services */

static __u32 random_next(void)
{
	random_state ^= random_state << 13;
	random_state ^= random_state >> 17;
	random_state ^= random_state << 5;
	return random_state;
}

static union bn_addr vip_of(const struct bench_node *node, unsigned int service, int family)
{
	union bn_addr a;

	if (node->path != BENCH_FROM_POD) {
		a = bn_rig_addr("NODE", family);
	} else if (family == 4) {
		bn_addr_set_v4(&a, htonl(0x0a600100 + service));
	} else {
		bn_address_parse("fd00:96::1:0", a.b);
		a.w[3] = htonl(0x10000 + service);
	}
	return a;
}

static __u16 port_of(const struct bench_node *node, unsigned int service, enum bench_protocol p)
{
	if (node->path != BENCH_FROM_POD)
		return 30000 + service;
	return bench_ipproto(p) == 6 ? 80 : 53;
}

/* Each another one, all over the range: how far policy has to look depends on it. */
static __u16 backend_port(unsigned int backend)
{
	return 1024 + backend * 40507 % (32768 - 1024);
}

void bench_services(struct bench_node *node, enum bench_protocol p)
{
	bool outside = node->path != BENCH_FROM_POD;
	int family = bench_family(p);

	for (unsigned int i = 0; i < node->services; i++) {
		struct bn_rig_backend backends[BENCH_BACKENDS];
		union bn_addr vip = outside ? bn_rig_addr("ANY", family) : vip_of(node, i, family);

		/* all on one pod, told apart by port */
		for (unsigned int b = 0; b < BENCH_BACKENDS; b++) {
			backends[b].addr = bn_rig_addr(outside ? "REMOTE" : "B", family);
			backends[b].port = backend_port(i * BENCH_BACKENDS + b);
			backends[b].state = BN_BACKEND_ACTIVE;
		}
		bn_rig_service(&node->rig, &vip, port_of(node, i, p), bench_ipproto(p), backends,
			       BENCH_BACKENDS);
		if (!outside)
			bn_rig_own_address(&node->rig, &vip);
	}
}

void bench_policy(struct bench_node *node, enum bench_protocol p, unsigned int rules)
{
	struct bn_policy_part *parts = calloc(rules, sizeof(*parts));
	const struct bn_rig *rig = &node->rig;
	__u32 protocol = bench_ipproto(p) == 6 ? BN_POLICY_TCP : BN_POLICY_UDP;

	if (!parts)
		bn_rig_die("policy", ENOMEM);
	node->rules = rules;
	for (unsigned int i = 0; i < rules; i++) {
		/* the same number of ports each */
		parts[i].from = i ? bn_policy_key(protocol, 65536 * i / rules) : 0;
		parts[i].verdict = BN_VERDICT_ALLOW | (i + 1);
	}
	bn_rig_policy_run(&node->rig, BN_POD_A, BN_POLICY_EGRESS, rig->dev[BN_POD_B].identity,
			  parts, rules);
	bn_rig_policy_enforce(&node->rig, BN_POD_A, BN_POLICY_EGRESS, true);
	bn_rig_policy_run(&node->rig, BN_POD_B, BN_POLICY_INGRESS, rig->dev[BN_POD_A].identity,
			  parts, rules);
	bn_rig_policy_enforce(&node->rig, BN_POD_B, BN_POLICY_INGRESS, true);
	free(parts);
}

/* A UDP flow lasts after two seconds; a tenth of them is enough to wait for here. */
static void quick(struct bn_config *c)
{
	c->hz = 25;
}

/* ... and ports for as many clients of one backend. */
static void quick_and_wide(struct bn_config *c)
{
	quick(c);
	c->nat_port_min = 1024;
	c->nat_port_max = 65535;
}

void bench_node_new(struct bench_node *node, unsigned int services, enum bench_table table,
		    enum bench_path path)
{
	const struct bn_rig_options options = {
		.flow_sets = BN_DEFAULT_FLOW_SETS,
		.masquerade = true,
		.configure = path == BENCH_FROM_POD ? quick : quick_and_wide};

	memset(node, 0, sizeof(*node));
	node->services = services;
	node->table = table;
	node->path = path;
	node->flows = calloc(BENCH_FLOWS, sizeof(*node->flows));
	if (!node->flows)
		bn_rig_die("flows", ENOMEM);
	bn_rig_new(&node->rig, &options);
	/* pod C is the one that is denied */
	bn_rig_policy_enforce(&node->rig, BN_POD_C, BN_POLICY_EGRESS, true);
}

void bench_node_free(struct bench_node *node)
{
	free(node->flows);
	bn_rig_free(&node->rig);
}

/*
 * The ports that Linux gives out, in no order: of a datagram's socket it is drawn at random, of a
 * connection each destination's ports begin somewhere else (RFC 6056, 3.3.4). One after the other would
 * have the CPU foresee where the next flow is.
 */
#define CLIENT_PORTS (61000 - 32768)

static __u16 client_port(__u32 i)
{
	static __u16 ports[CLIENT_PORTS];

	if (!ports[0]) {
		for (__u32 n = 0; n < CLIENT_PORTS; n++) {
			__u32 k = random_next() % (n + 1);

			ports[n] = ports[k];
			ports[k] = 32768 + n;
		}
	}
	return ports[i];
}

void bench_flow_draw(struct bench_node *node, enum bench_protocol p, struct bench_flow *ret)
{
	unsigned int service;

	memset(ret, 0, sizeof(*ret));
	/* the first BENCH_FLOWS are the established flows' own, if there are such */
	ret->sport = client_port(node->next_port++);
	if (node->next_port == CLIENT_PORTS)
		node->next_port = node->table == BENCH_EMPTY ? 0 : BENCH_FLOWS;
	service = random_next() % node->services;
	ret->dport = port_of(node, service, p);
	ret->vip = vip_of(node, service, bench_family(p));
}

struct learn {
	struct bench_flow **by_port;
	__u8 protocol;
	unsigned int learnt;
};

static void learn_begin(struct learn *l, enum bench_protocol p, struct bench_flow *flows,
			unsigned int n)
{
	*l = (struct learn){.by_port = calloc(65536, sizeof(*l->by_port)),
			    .protocol = bench_ipproto(p)};
	if (!l->by_port)
		bn_rig_die("flows", ENOMEM);
	for (unsigned int i = 0; i < n; i++) {
		l->by_port[flows[i].sport] = &flows[i];
		flows[i].learnt = false;
	}
}

static void learn_entry(const struct bn_flow_entry *e, enum bn_where where, void *data)
{
	struct learn *l = data;
	struct bench_flow *f = l->by_port[ntohs(e->key.sport)];

	if (!f || !(e->flow.flags & BN_FLOW_ORIGIN) || e->key.protocol != l->protocol ||
	    !bn_addr_equal(&e->key.daddr, &f->vip))
		return;
	f->learnt = true;
	f->backend = e->flow.to_daddr;
	f->to_sport = ntohs(e->flow.to_sport);
	f->to_dport = ntohs(e->flow.to_dport);
}

unsigned int bench_flows_kept(struct bench_node *node, enum bench_protocol p,
			      struct bench_flow *flows, unsigned int n)
{
	unsigned int kept = 0;
	struct learn l;

	learn_begin(&l, p, flows, n);
	bn_rig_flows_each(&node->rig, learn_entry, &l);
	free(l.by_port);
	for (unsigned int i = 0; i < n; i++) {
		if (flows[i].learnt)
			flows[kept++] = flows[i];
	}
	return kept;
}

static void learn_event(const struct bn_event *e, void *data)
{
	struct learn *l = data;
	struct bench_flow *f = l->by_port[ntohs(e->tuple.sport)];

	if (!f || e->header.type != BN_EVENT_FLOW_OPENED || e->tuple.protocol != l->protocol ||
	    !bn_addr_equal(&e->tuple.daddr, &f->vip))
		return;
	l->learnt += !f->learnt;
	f->learnt = true;
	f->backend = e->to_daddr;
	f->to_sport = ntohs(e->to_sport);
	f->to_dport = ntohs(e->to_dport);
}

void bench_flows_learn(struct bench_node *node, enum bench_protocol p, struct bench_flow *flows,
		       unsigned int n)
{
	struct learn l;

	learn_begin(&l, p, flows, n);
	node->rig.on_event = learn_event;
	node->rig.on_event_data = &l;
	bench_drain(node);
	node->rig.on_event = NULL;
	free(l.by_port);
	if (l.learnt != n)
		bench_die("flows that were opened and told of", l.learnt, n);
}

/* Established entries in ways drawn at random, until three quarters of what it is sized for are. */
static void table_fill(struct bench_node *node)
{
	__u32 sets = node->rig.config.flow_mask + 1, n = sets * BN_WAYS_PLANNED / 4 * 3;

	bn_rig_flows_fill_random(&node->rig, n - 2 * BENCH_FLOWS, random_next);
}

const char *bench_client(const struct bench_node *node)
{
	return node->path == BENCH_FROM_POD ? "A" : "WORLD";
}

__u64 bench_flows_packets(struct bench_node *node, enum bench_protocol p)
{
	__u64 sum = 0;

	for (unsigned int i = 0; i < BENCH_FLOWS; i++) {
		const struct bench_flow *f = &node->flows[i];
		struct bn_tuple key = {.saddr = bn_rig_addr(bench_client(node), bench_family(p)),
				       .daddr = f->vip,
				       .sport = htons(f->sport),
				       .dport = htons(f->dport),
				       .protocol = bench_ipproto(p),
				       .family = bench_family(p)};
		struct bn_flow flow;

		if (bn_rig_flow(&node->rig, &key, &flow) != BN_ESTABLISHED)
			bench_die("established flows in the table", i, BENCH_FLOWS);
		sum += flow.packets;
	}
	return sum;
}

void bench_flows_establish(struct bench_node *node, enum bench_protocol p)
{
	static const struct bench_packet tcp[] = {
		{false, BN_TCP_SYN, 0}, {true, BN_TCP_SYN | BN_TCP_ACK, 0}, {false, BN_TCP_ACK, 0}};
	static const struct bench_packet udp[] = {
		{false, 0, 0}, {true, 0, 0}, {false, 0, 0}, {true, 0, 0}};
	bool is_tcp = bench_ipproto(p) == 6;
	const struct bench_packet *packets = is_tcp ? tcp : udp;
	struct bn_counts before, after;

	bn_rig_counts(&node->rig, &before);
	node->next_port = 0;
	for (unsigned int at = 0; at < BENCH_FLOWS; at += BENCH_BATCH) {
		struct bench_flow *flows = node->flows + at;

		for (unsigned int i = 0; i < BENCH_BATCH; i++)
			bench_flow_draw(node, p, &flows[i]);
		for (int step = 0; step < (is_tcp ? 3 : 4); step++) {
			if (!is_tcp && step == 2)
				usleep(2 * 25 * 10000); /* what lasts, if HZ is 100 at the least */
			bench_tape(node, p, &packets[step], flows, BENCH_BATCH, bench_client(node));
			bench_apply(node, p, BENCH_BATCH);
			if (!step)
				bench_flows_learn(node, p, flows, BENCH_BATCH);
			else
				bench_drain(node);
		}
	}
	bn_rig_counts(&node->rig, &after);
	if (after.counter[BN_CNT_FLOWS_PROMOTED] - before.counter[BN_CNT_FLOWS_PROMOTED] !=
	    2 * BENCH_FLOWS)
		bench_die("entries promoted",
			  after.counter[BN_CNT_FLOWS_PROMOTED] -
				  before.counter[BN_CNT_FLOWS_PROMOTED],
			  2 * BENCH_FLOWS);
	if (node->table == BENCH_FILLED)
		table_fill(node);
}

void bench_drain(struct bench_node *node)
{
	ring_buffer__consume(node->rig.ring);
	node->rig.n_events = 0;
}
