// SPDX-License-Identifier: Apache-2.0
/*
 * Two CPUs at the same moment. The same new flow on both, in a table where every set is crowded: an
 * entry's key stands in it once, whichever of its two sets either of them chose. And a packet on one
 * while the agent, on the other, moves what the packet looks for.
 */
#include "lib/program.h"

#include <arpa/inet.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

/* both divided by what the machine is slower by */
#define ROUNDS 50000
#define MOVED_BATCHES 1000
#define MOVED_BATCH 1000 /* packets */

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

static unsigned int fewer(unsigned int n)
{
	const char *slow = getenv("BPFNET_TEST_SLOW");

	return slow && atoi(slow) > 1 ? n / (unsigned int)atoi(slow) : n;
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
	struct race r = {.rig = rig, .family = family, .rounds = fewer(ROUNDS)};
	const char *wrong = NULL;
	cpu_set_t before;
	pthread_t thread;

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

struct moves {
	struct bn_rig *rig;
	/* of the group where the address's entry is, by the way that each of them wants */
	struct bn_service_key frontends[BN_SERVICE_GROUP];
	atomic_bool over;
};

/* As the agent does when services come and go; the address stays owned all the time. */
static void *agent_moves(void *data)
{
	static const struct bn_service value = {.id = 2, .flags = BN_SERVICE_INLINE};
	struct moves *m = data;

	on_cpu(m->rig->cpus - 1);
	for (unsigned int i = 0; !atomic_load(&m->over); i++) {
		const struct bn_service_key *key = &m->frontends[i % BN_SERVICE_GROUP];

		if (bn_frontends_set(&m->rig->frontends, key, &value))
			return "no room";
		bn_frontends_delete(&m->rig->frontends, key);
	}
	return NULL;
}

/* Another four frontends whose home is the group. */
static void frontends_of(const struct bn_frontends *t, __u32 group,
			 struct bn_service_key ret[BN_SERVICE_GROUP])
{
	unsigned int found = 0;

	for (__u32 i = 1; found != (1u << BN_SERVICE_GROUP) - 1; i++) {
		struct bn_service_key key = {.port = 80, .protocol = IPPROTO_TCP};
		__u64 hash;
		__u32 way;

		bn_addr_set_v4(&key.addr, htonl(0x0a700000 + i));
		hash = bn_hash_frontend((const volatile __u64 *)t->key, &key.addr, key.port,
					key.protocol);
		way = bn_service_way(hash);
		if (bn_service_home(hash, t->groups) != group || found & 1u << way)
			continue;
		ret[way] = key;
		found |= 1u << way;
	}
}

static const char *moved(struct bn_rig *rig, int family)
{
	struct bn_step s = {FROM(BN_POD_A), TCP("A", 40000, "WORLD", 9, RST)};
	int fd = bpf_program__fd(bn_rig_program(rig, BN_HOOK_FROM_POD));
	union bn_addr address = bn_rig_addr(s.in.dst, family);
	const struct bn_frontends *t = &rig->frontends;
	const unsigned int batches = fewer(MOVED_BATCHES);
	struct moves m = {.rig = rig};
	struct bn_counts before, after;
	struct bn_result result;
	struct bn_packet packet;
	cpu_set_t cpus;
	pthread_t thread;
	void *wrong;

	bn_rig_own_address(rig, &address);
	frontends_of(
		t,
		bn_service_home(bn_hash_frontend((const volatile __u64 *)t->key, &address, 0, 0),
				t->groups),
		m.frontends);
	bn_step_packet(rig, &s, family, &packet);
	bn_rig_counts(rig, &before);
	pthread_getaffinity_np(pthread_self(), sizeof(cpus), &cpus);
	if (pthread_create(&thread, NULL, agent_moves, &m))
		return "no second thread";
	on_cpu(0);
	for (unsigned int i = 0; i < batches; i++)
		bn_rig_run_fd(rig, fd, rig->dev[BN_POD_A].ifindex, 0, &packet, MOVED_BATCH,
			      &result);
	atomic_store(&m.over, true);
	pthread_join(thread, &wrong);
	pthread_setaffinity_np(pthread_self(), sizeof(cpus), &cpus);
	bn_rig_counts(rig, &after);
	if (wrong)
		return wrong;
	return after.drop[BN_DROP_SERVICE_UNKNOWN] - before.drop[BN_DROP_SERVICE_UNKNOWN] ==
			       batches * MOVED_BATCH
		       ? NULL
		       : "a packet did not find what was there";
}

static const struct bn_case cases[] = {
	{"the same new flow on two CPUs", .run = raced},
	{"an entry that moves while a packet looks for it", .run = moved},
};

int main(void)
{
	static const struct bn_rig_options options = {.flow_sets = 16, .quiet = true};

	return bn_program_main("race", cases, sizeof(cases) / sizeof(cases[0]), &options);
}
