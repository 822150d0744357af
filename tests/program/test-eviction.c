// SPDX-License-Identifier: Apache-2.0
/*
 * A flow table of one set: seven entries, three flows and a half. Who is thrown out, and
 * that every flow that ends so is counted and reported exactly once.
 */
#include "lib/program.h"

#include <stdlib.h>
#include <string.h>

static struct bn_result result;
static unsigned int live, evicted_records;

static int send_syn(struct bn_rig *rig, int family, __u16 port, __u8 flags)
{
	struct bn_step s = {
		.hook = BN_HOOK_FROM_POD, .device = BN_POD_A, TCP("A", port, "VIP", 80, flags)};
	int verdict = bn_step_send(rig, &s, family, &result);

	for (unsigned int i = 0; i < rig->n_events; i++)
		if (rig->events[i].header.type == BN_EVENT_FLOW_CLOSED &&
		    rig->events[i].cause == BN_CLOSE_EVICTED)
			evicted_records++;
	return verdict;
}

static int send_query(struct bn_rig *rig, int family, __u16 port)
{
	struct bn_step s = {
		.hook = BN_HOOK_FROM_POD, .device = BN_POD_A, UDP("A", port, "VIP", 53)};

	return bn_step_send(rig, &s, family, &result);
}

static void count_live(const struct bn_flow_entry *e, enum bn_where where, void *data)
{
	if (e->flow.flags & BN_FLOW_ORIGIN && e->flow.action != BN_ACT_DROP)
		live++;
}

static const char *counted(struct bn_rig *rig, int family)
{
	static char why[160];
	struct bn_counts before, after;
	__u64 opened, closed, evicted;

	evicted_records = live = 0;
	bn_rig_counts(rig, &before);
	for (int i = 0; i < 50; i++)
		if (send_syn(rig, family, 10000 + i, SYN) != 7)
			return "a full set refuses a new flow";
	bn_rig_counts(rig, &after);
	opened = after.counter[BN_CNT_FLOWS_OPENED] - before.counter[BN_CNT_FLOWS_OPENED];
	closed = after.counter[BN_CNT_FLOWS_CLOSED] - before.counter[BN_CNT_FLOWS_CLOSED];
	evicted = after.counter[BN_CNT_FLOWS_EVICTED] - before.counter[BN_CNT_FLOWS_EVICTED];
	bn_rig_flows_each(rig, count_live, NULL);
	if (opened != 50 || closed != opened - live || evicted_records != closed || !evicted) {
		snprintf(why, sizeof(why),
			 "50 flows: %llu opened, %llu closed (%u records), %llu evicted, %u live",
			 opened, closed, evicted_records, evicted, live);
		return why;
	}
	return NULL;
}

/* The last flow opened must be whole: both of its entries there. */
static const char *newest_whole(struct bn_rig *rig, int family)
{
	for (int i = 0; i < 50; i++) {
		struct bn_tuple key = bn_tuple_make(family, IPPROTO_TCP, "A", 11000 + i, "VIP", 80);
		struct bn_tuple back =
			bn_tuple_make(family, IPPROTO_TCP, "B", 8080, "A", 11000 + i);
		struct bn_flow f;

		send_syn(rig, family, 11000 + i, SYN);
		if (bn_rig_flow(rig, &key, &f) != BN_TRANSIENT ||
		    bn_rig_flow(rig, &back, &f) != BN_TRANSIENT)
			return "a new flow threw out its own other half";
	}
	return NULL;
}

/* Refusals expire sooner than half-open flows and go first. */
static const char *refusals_first(struct bn_rig *rig, int family)
{
	struct bn_tuple key = bn_tuple_make(family, IPPROTO_TCP, "A", 12000, "VIP", 80);
	struct bn_step denied = {
		.hook = BN_HOOK_FROM_POD, .device = BN_POD_C, TCP("C", 1, "B", 8080, SYN)};
	const char *wrong = NULL;
	struct bn_flow f;

	send_syn(rig, family, 12000, SYN);
	bn_rig_policy_enforce(rig, BN_POD_C, BN_POLICY_EGRESS, true);
	for (int i = 0; i < 100 && !wrong; i++) {
		denied.in.sport = i + 1;
		if (bn_step_send(rig, &denied, family, &result) != 2)
			wrong = "not denied";
	}
	if (!wrong && bn_rig_flow(rig, &key, &f) != BN_TRANSIENT)
		wrong = "refusals threw out a half-open flow";
	bn_rig_policy_clear(rig);
	return wrong;
}

/*
 * A flow that has lost one of its two entries: its next packet must not go on by the other half
 * alone, or the reply would reach the client with the backend's own address.
 */
static const char *half_flow(struct bn_rig *rig, int family)
{
	struct bn_step reply = {.hook = BN_HOOK_FROM_POD, .device = BN_POD_B};
	union bn_addr vip = bn_rig_addr("VIP", family);

	for (int i = 0; i < 60; i++) {
		send_query(rig, family, 13000 + i);
		for (int back = 0; back <= 3 && back <= i; back++) {
			__u16 port = 13000 + i - back;
			struct bn_tuple key =
				bn_tuple_make(family, IPPROTO_UDP, "A", port, "VIP", 53);
			struct bn_tuple rev =
				bn_tuple_make(family, IPPROTO_UDP, "B", 5353, "A", port);
			struct bn_flow f;

			if (bn_rig_flow(rig, &key, &f) == BN_NOWHERE ||
			    bn_rig_flow(rig, &rev, &f) != BN_NOWHERE)
				continue;
			if (send_query(rig, family, port) != 7)
				return "the next packet of half a flow is refused";
			reply.in = (struct bn_packet_spec){.protocol = IPPROTO_UDP,
							   .src = "B",
							   .sport = 5353,
							   .dst = "A",
							   .dport = port};
			bn_step_send(rig, &reply, family, &result);
			if (result.verdict != 7 ||
			    memcmp(result.out.data + 14 + (family == 4 ? 12 : 8),
				   family == 4 ? vip.b + 12 : vip.b, family == 4 ? 4 : 16))
				return "the reply comes from the backend's own address";
		}
	}
	return NULL; /* where no halves came about there is nothing to get wrong */
}

/* event_rate is 10 below: a flood is counted in full and reported ten times a second. */
static const char *flood(struct bn_rig *rig, int family)
{
	struct bn_step s = {
		.hook = BN_HOOK_FROM_POD, .device = BN_POD_A, TCP("B", 1, "C", 80, SYN)};
	__u32 reason = BN_DROP_SPOOFED_SOURCE;
	struct bn_drop_counter *c = calloc(rig->cpus, sizeof(*c));
	unsigned int records = 0;
	__u64 packets = 0, suppressed = 0;
	int fd = bn_rig_map(rig, "bn_drops");

	if (!c || bpf_map_update_elem(fd, &reason, c, BPF_ANY))
		return "can't reset the counter";
	for (int i = 0; i < 100; i++) {
		bn_step_send(rig, &s, family, &result);
		records += rig->n_events;
	}
	bpf_map_lookup_elem(fd, &reason, c);
	for (int cpu = 0; cpu < rig->cpus; cpu++) {
		packets += c[cpu].of[BN_DROPPED_EGRESS].packets;
		suppressed += c[cpu].suppressed;
	}
	free(c);
	if (packets != 100 || records + suppressed != 100)
		return "a drop is neither reported nor counted as suppressed";
	/* per CPU, and the second may turn once meanwhile */
	return records <= 10u * 2 * rig->cpus ? NULL : "the flood is not limited";
}

static void slow_records(struct bn_config *c)
{
	c->event_rate = 10;
}

static const struct bn_case cases[] = {
	{"half a flow is no flow", .run = half_flow},
	{"a flood of drops", .run = flood},
	{"every flow thrown out is counted and reported once", .run = counted},
	{"a new flow keeps both of its entries", .run = newest_whole},
	{"refusals go before half-open flows", .run = refusals_first},
};

int main(void)
{
	static const struct bn_rig_options options = {.flow_sets = 1, .configure = slow_records};

	return bn_program_main("eviction", cases, sizeof(cases) / sizeof(cases[0]), &options);
}
