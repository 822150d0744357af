// SPDX-License-Identifier: Apache-2.0
#include "datapath/flow-table.h"

#include "sweep.skel.h"

#include <bpf/bpf.h>
#include <bpfnet/access.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define SETS_PER_READ 256
#define SETS_PER_RUN 64 /* SWEEP_SETS of bpf/sweep.bpf.c */

uint32_t bn_flow_sets(uint32_t flows)
{
	uint32_t sets = 1;

	while (sets * (uint64_t)BN_WAYS_PLANNED < flows && sets < 1u << 31)
		sets *= 2;
	return sets;
}

static int run(const struct bpf_program *program, uint32_t repeat)
{
	char packet[64] = {0};
	LIBBPF_OPTS(bpf_test_run_opts, opts, .data_in = packet, .data_size_in = sizeof(packet),
		    .repeat = (int)repeat);

	return bpf_prog_test_run_opts(bpf_program__fd(program), &opts) ? -errno : 0;
}

static int walk(const struct bn_programs *p, bool remove, struct bn_flow_sums *ret)
{
	struct bn_sweep *skel = p->sweep;
	uint32_t sets = p->node.flow_mask + 1;
	int r;

	skel->bss->bn_sweep_remove = remove;
	skel->bss->bn_sweep_next = 0;
	skel->bss->bn_sweep_sums = (struct bn_flow_sums){0};
	r = run(skel->progs.bn_sweep, (sets + SETS_PER_RUN - 1) / SETS_PER_RUN);
	if (!r)
		*ret = skel->bss->bn_sweep_sums;
	return r;
}

int bn_flows_sweep(const struct bn_programs *p, uint64_t *ret_live)
{
	struct bn_flow_sums sums;
	int r = walk(p, true, &sums);

	if (!r)
		*ret_live = sums.live;
	return r;
}

int bn_flows_sum(const struct bn_programs *p, struct bn_flow_sums *ret)
{
	return walk(p, false, ret);
}

/*
 * jiffies start at 2^32 - 300 * HZ and advance with the monotonic clock; a jiffy of error is
 * nothing to lifetimes of seconds.
 */
static uint32_t jiffies(const struct bn_programs *p)
{
	struct timespec ts;
	uint64_t ticks;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	ticks = (uint64_t)ts.tv_sec * p->hz + (uint64_t)ts.tv_nsec * p->hz / 1000000000u;
	return (uint32_t)(ticks - 300u * (uint64_t)p->hz);
}

/* Jiffies that an entry has to live. */
static int32_t left(const struct bn_programs *p, const struct bn_flow_set *set, unsigned int way,
		    uint32_t now)
{
	const struct bn_flow_entry *e = &set->entry[way];

	if (!(set->established & 1u << way))
		return (int32_t)(set->expires[way] - now);
	return (int32_t)(e->flow.last_seen +
			 (e->key.protocol == IPPROTO_TCP ? p->node.life.established
							 : p->node.life.udp_lasting) -
			 now);
}

typedef int (*set_fn)(void *user, const struct bn_flow_set *set);

static int each_set(int fd, set_fn fn, void *user)
{
	struct bn_flow_set *sets;
	struct bn_map_shape shape;
	int r;

	r = bn_map_shape(fd, &shape);
	if (r)
		return r;
	sets = calloc(SETS_PER_READ, sizeof(*sets));
	if (!sets)
		return -ENOMEM;
	for (uint32_t at = 0; at < shape.max_entries && !r; at += SETS_PER_READ) {
		uint32_t n = shape.max_entries - at;

		if (n > SETS_PER_READ)
			n = SETS_PER_READ;
		r = bn_array_read(fd, at, n, sets, BPF_F_LOCK);
		for (uint32_t i = 0; i < n && !r; i++)
			r = fn(user, &sets[i]);
	}
	free(sets);
	return r;
}

struct each {
	const struct bn_programs *p;
	uint32_t now;
	bn_flow_fn fn;
	void *user;
};

static int each_entry(void *user, const struct bn_flow_set *set)
{
	struct each *e = user;
	int r = 0;

	for (unsigned int way = 0; way < BN_WAYS && !r; way++) {
		int32_t rest = left(e->p, set, way, e->now);
		struct bn_flow flow;

		if (!set->tag[way] || rest < 0)
			continue;
		flow.hot = set->entry[way].flow;
		flow.cold = set->cold[way];
		r = e->fn(e->user, &set->entry[way].key, &flow, (int64_t)rest * 1000 / e->p->hz,
			  set->established & 1u << way);
	}
	return r;
}

int bn_flows_each(const struct bn_programs *p, bn_flow_fn fn, void *user)
{
	struct each e = {.p = p, .now = jiffies(p), .fn = fn, .user = user};

	return each_set(p->maps[BN_MAP_bn_flows], each_entry, &e);
}

static int adopt_set(void *user, const struct bn_flow_set *set)
{
	struct each *e = user;
	struct bn_sweep *skel = e->p->sweep;
	int r = 0;

	for (unsigned int way = 0; way < BN_WAYS && !r; way++) {
		int32_t rest = left(e->p, set, way, e->now);

		if (!set->tag[way] || rest < 0)
			continue;
		skel->bss->bn_adopt_entry = set->entry[way];
		skel->bss->bn_adopt_cold = set->cold[way];
		skel->bss->bn_adopt_established = !!(set->established & 1u << way);
		skel->bss->bn_adopt_left = rest;
		r = run(skel->progs.bn_adopt, 1);
	}
	return r;
}

int bn_flows_adopt(const struct bn_programs *p, int fd)
{
	struct each e = {.p = p, .now = jiffies(p)};

	return each_set(fd, adopt_set, &e);
}
