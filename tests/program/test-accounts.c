// SPDX-License-Identifier: Apache-2.0
/*
 * Nothing vanishes uncounted: packets dropped and flows that open or end are records, or counted
 * as withheld or lost, exactly, with a ring buffer that has long been full.
 */
#include "lib/program.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* Three times what the ring buffer takes. */
#define RING_BYTES 65536
#define MANY (3 * RING_BYTES / (8 + (unsigned int)sizeof(struct bn_event)))
#define RATE 100

struct account {
	__u64 counter[BN_CNT_MAX];
	struct bn_drop_counter drop[BN_DROP_MAX];
};

struct records {
	__u64 opened, closed, drop[BN_DROP_MAX];
};

static struct account account_read(const struct bn_rig *rig)
{
	struct bn_drop_counter *drops = calloc(rig->cpus, sizeof(*drops));
	__u64 *counters = calloc(rig->cpus, sizeof(*counters));
	struct account a = {0};

	for (__u32 i = 0; i < BN_CNT_MAX; i++) {
		if (bpf_map_lookup_elem(bn_rig_map(rig, "bn_counters"), &i, counters))
			bn_rig_die("bn_counters", errno);
		for (int cpu = 0; cpu < rig->cpus; cpu++)
			a.counter[i] += counters[cpu];
	}
	for (__u32 i = 0; i < BN_DROP_MAX; i++) {
		if (bpf_map_lookup_elem(bn_rig_map(rig, "bn_drops"), &i, drops))
			bn_rig_die("bn_drops", errno);
		for (int cpu = 0; cpu < rig->cpus; cpu++) {
			for (int way = 0; way < BN_DROPPED_WAYS; way++)
				a.drop[i].of[way].packets += drops[cpu].of[way].packets;
			a.drop[i].suppressed += drops[cpu].suppressed;
			a.drop[i].lost += drops[cpu].lost;
		}
	}
	free(drops);
	free(counters);
	return a;
}

static __u64 dropped(const struct account *a, __u32 reason)
{
	__u64 packets = 0;

	for (int way = 0; way < BN_DROPPED_WAYS; way++)
		packets += a->drop[reason].of[way].packets;
	return packets;
}

/* As if nothing had been dropped for a second. */
static void windows_forget(const struct bn_rig *rig)
{
	struct bn_drop_counter *none = calloc(rig->cpus, sizeof(*none));

	for (__u32 i = 0; i < BN_DROP_MAX; i++) {
		if (bpf_map_update_elem(bn_rig_map(rig, "bn_drops"), &i, none, BPF_ANY))
			bn_rig_die("bn_drops", errno);
	}
	free(none);
}

static void count_record(const struct bn_event *e, void *data)
{
	struct records *r = data;

	r->opened += e->header.type == BN_EVENT_FLOW_OPENED;
	r->closed += e->header.type == BN_EVENT_FLOW_CLOSED;
	if (e->header.type == BN_EVENT_DROP)
		r->drop[e->reason]++;
}

/* Runs a packet `times` times without anybody who empties the ring buffer. */
static void send_times(struct bn_rig *rig, const struct bn_step *s, int family, __u32 times)
{
	struct bn_result result;
	struct bn_packet in;

	bn_step_packet(rig, s, family, &in);
	bn_rig_run_fd(rig, bpf_program__fd(bn_rig_program(rig, s->hook)),
		      rig->dev[s->device].ifindex, 0, &in, times, &result);
}

static char why[200];

static const char *differs(const char *what, __u64 counted, __u64 records, __u64 suppressed,
			   __u64 lost)
{
	if (counted == records + suppressed + lost)
		return NULL;
	snprintf(why, sizeof(why), "%s: %llu, but %llu records, %llu suppressed, %llu lost", what,
		 counted, records, suppressed, lost);
	return why;
}

/* The whole account from `before` to now, with what is in the ring buffer. */
static const char *balance(struct bn_rig *rig, const struct account *before)
{
	struct account after = account_read(rig);
	struct records records = {0};
	__u64 lost = 0;
	const char *wrong;

	rig->on_event = count_record;
	rig->on_event_data = &records;
	ring_buffer__consume(rig->ring);
	rig->on_event = NULL;
	for (int i = 0; i < BN_CNT_MAX; i++)
		after.counter[i] -= before->counter[i];
	wrong = differs("flows opened", after.counter[BN_CNT_FLOWS_OPENED], records.opened, 0,
			after.counter[BN_CNT_LOST_OPENED]);
	if (!wrong)
		wrong = differs("flows closed", after.counter[BN_CNT_FLOWS_CLOSED], records.closed,
				0, after.counter[BN_CNT_LOST_CLOSED]);
	lost = after.counter[BN_CNT_LOST_OPENED] + after.counter[BN_CNT_LOST_CLOSED];
	for (__u32 i = 0; i < BN_DROP_MAX && !wrong; i++) {
		after.drop[i].lost -= before->drop[i].lost;
		lost += after.drop[i].lost;
		wrong = differs(bn_rig_drop_label((__u8)i), dropped(&after, i) - dropped(before, i),
				records.drop[i],
				after.drop[i].suppressed - before->drop[i].suppressed,
				after.drop[i].lost);
	}
	if (!wrong && lost != after.counter[BN_CNT_EVENTS_LOST])
		wrong = "what is lost of each kind is not what is lost in all";
	return wrong;
}

static const char *flows(struct bn_rig *rig, int family)
{
	struct account before = account_read(rig), after;
	const char *wrong;

	for (unsigned int i = 0; i < MANY; i++) {
		struct bn_step s = {FROM(BN_POD_A), TCP("A", (__u16)(20000 + i), "VIP", 80, SYN)};

		send_times(rig, &s, family, 1);
	}
	after = account_read(rig);
	if (after.counter[BN_CNT_FLOWS_OPENED] - before.counter[BN_CNT_FLOWS_OPENED] != MANY ||
	    after.counter[BN_CNT_LOST_OPENED] == before.counter[BN_CNT_LOST_OPENED] ||
	    after.counter[BN_CNT_LOST_CLOSED] == before.counter[BN_CNT_LOST_CLOSED])
		return "not so many flows that the ring buffer is full";
	wrong = balance(rig, &before);
	if (wrong)
		return wrong;
	/* and where there is room again */
	before = account_read(rig);
	for (unsigned int i = 0; i < 10; i++) {
		struct bn_step s = {FROM(BN_POD_A), TCP("A", (__u16)(10000 + i), "VIP", 80, SYN)};

		send_times(rig, &s, family, 1);
	}
	after = account_read(rig);
	if (after.counter[BN_CNT_EVENTS_LOST] != before.counter[BN_CNT_EVENTS_LOST])
		return "lost though there is room";
	return balance(rig, &before);
}

/* Other reasons than that of the flood are told and lost on their own account. */
static const char *drops(struct bn_rig *rig, int family)
{
	const struct bn_step spoofed = {FROM(BN_POD_A), TCP("B", 1, "C", 80, SYN)};
	const struct bn_step nobody = {FROM(BN_POD_A), TCP("A", 2, "VIP3", 80, SYN)};
	struct account before, after;

	windows_forget(rig);
	before = account_read(rig);
	send_times(rig, &spoofed, family, 5);
	send_times(rig, &nobody, family, 3);
	/* flows fill the ring buffer, which the rate limit would not let drops do */
	for (unsigned int i = 0; i < MANY; i++) {
		struct bn_step s = {FROM(BN_POD_A), TCP("A", (__u16)(40000 + i), "VIP", 80, SYN)};

		send_times(rig, &s, family, 1);
	}
	send_times(rig, &spoofed, family, 3 * RATE);
	send_times(rig, &nobody, family, 7);
	after = account_read(rig);
	if (after.drop[BN_DROP_SPOOFED_SOURCE].lost == before.drop[BN_DROP_SPOOFED_SOURCE].lost ||
	    after.drop[BN_DROP_SPOOFED_SOURCE].suppressed ==
		    before.drop[BN_DROP_SPOOFED_SOURCE].suppressed ||
	    after.drop[BN_DROP_SERVICE_NO_BACKEND].lost ==
		    before.drop[BN_DROP_SERVICE_NO_BACKEND].lost)
		return "not some of each";
	return balance(rig, &before);
}

/* Chatter has no record of its own, and is no loss. */
static const char *chatter(struct bn_rig *rig, int family)
{
	const struct bn_step s = {TO(BN_POD_A), UDP("B", 1, "ff02::16", 5353)};
	struct account before = account_read(rig), after;
	struct bn_result result;
	struct bn_packet in;

	bn_step_packet(rig, &s, 6, &in);
	if (family == 4) /* ARP, of which nothing else is looked at */
		memcpy(in.data + 12, "\x08\x06", 2);
	bn_rig_run_fd(rig, bpf_program__fd(bn_rig_program(rig, s.hook)), rig->dev[s.device].ifindex,
		      0, &in, 10, &result);
	after = account_read(rig);
	if (dropped(&after, BN_DROP_NEIGHBOUR) - dropped(&before, BN_DROP_NEIGHBOUR) != 10)
		return "not dropped";
	return balance(rig, &before);
}

static void limited(struct bn_config *c)
{
	c->event_rate = RATE;
}

static const struct bn_case cases[] = {
	{"flows that open and end", .run = flows},
	{"drops, by reason", .run = drops},
	{"drops that leave no record", .run = chatter},
};

int main(void)
{
	static const struct bn_rig_options options = {
		.flow_sets = 64, .event_bytes = RING_BYTES, .configure = limited};

	return bn_program_main("accounts", cases, sizeof(cases) / sizeof(cases[0]), &options);
}
