// SPDX-License-Identifier: Apache-2.0
/*
 * Two CPUs that have the same new flow at the same moment, in a table where every set is crowded: an
 * entry's key stands in it once, whichever of its two sets either of them chose.
 */
#include "lib/program.h"

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#define ROUNDS 50000 /* divided by what the machine is slower by */

struct race {
	struct bn_rig *rig;
	int family;
	struct bn_packet packet;
	unsigned int rounds;
	atomic_uint begun, done; /* rounds, of both */
};

struct count {
	struct bn_tuple key;
	unsigned int n;
};

static void on_cpu(int cpu)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(cpu, &set);
	pthread_setaffinity_np(pthread_self(), sizeof(set), &set);
}

static void wait_for(atomic_uint *n, unsigned int value)
{
	while (atomic_load(n) < value)
		sched_yield();
}

static void send_one(struct race *r)
{
	struct bn_result result;

	bn_rig_run_fd(r->rig, bpf_program__fd(bn_rig_program(r->rig, BN_HOOK_FROM_POD)),
		      r->rig->dev[BN_POD_A].ifindex, 0, &r->packet, 1, &result);
	atomic_fetch_add(&r->done, 1);
}

static void *other_cpu(void *data)
{
	struct race *r = data;

	on_cpu(r->rig->cpus - 1);
	for (unsigned int i = 1; i <= r->rounds; i++) {
		wait_for(&r->begun, i);
		send_one(r);
	}
	return NULL;
}

static void count_key(const struct bn_flow_entry *e, enum bn_where where, void *data)
{
	struct count *c = data;

	c->n += !memcmp(&e->key, &c->key, sizeof(c->key));
}

static const char *once(struct race *r, __u16 port)
{
	struct count there = {bn_tuple_make(r->family, IPPROTO_UDP, "A", port, "B", 9000), 0};
	struct count back = {bn_tuple_make(r->family, IPPROTO_UDP, "B", 9000, "A", port), 0};

	bn_rig_flows_each(r->rig, count_key, &there);
	bn_rig_flows_each(r->rig, count_key, &back);
	return there.n > 1 || back.n > 1 ? "a key stands in both its sets" : NULL;
}

static const char *raced(struct bn_rig *rig, int family)
{
	const char *slow = getenv("BPFNET_TEST_SLOW");
	struct race r = {.rig = rig, .family = family, .rounds = ROUNDS};
	const char *wrong = NULL;
	cpu_set_t before;
	pthread_t thread;

	if (slow && atoi(slow) > 1)
		r.rounds /= atoi(slow);
	pthread_getaffinity_np(pthread_self(), sizeof(before), &before);
	if (pthread_create(&thread, NULL, other_cpu, &r))
		return "no second thread";
	on_cpu(0);
	for (unsigned int i = 1; i <= r.rounds; i++) {
		__u16 port = (__u16)(1024 + i);
		struct bn_step s = {FROM(BN_POD_A), UDP("A", port, "B", 9000)};

		bn_step_packet(rig, &s, family, &r.packet);
		atomic_store(&r.begun, i);
		send_one(&r);
		wait_for(&r.done, 2 * i);
		if (!wrong)
			wrong = once(&r, port);
	}
	pthread_join(thread, NULL);
	pthread_setaffinity_np(pthread_self(), sizeof(before), &before);
	return wrong;
}

static const struct bn_case cases[] = {
	{"the same new flow on two CPUs", .run = raced},
};

int main(void)
{
	static const struct bn_rig_options options = {.flow_sets = 16, .quiet = true};

	return bn_program_main("race", cases, sizeof(cases) / sizeof(cases[0]), &options);
}
