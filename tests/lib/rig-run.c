// SPDX-License-Identifier: Apache-2.0
/* Runs programs on packets, and reads what they left behind: flows, counters, records. */
#include "rig.h"

#include <errno.h>
#include <linux/if_ether.h>
#include <linux/ipv6.h>
#include <stdlib.h>
#include <string.h>

#ifndef BPF_F_TEST_SKB_CHECKSUM_COMPLETE
#define BPF_F_TEST_SKB_CHECKSUM_COMPLETE (1U << 2)
#endif

void bn_rig_run_fd(struct bn_rig *rig, int prog_fd, __u32 ifindex, __u32 ingress,
		   const struct bn_packet *in, __u32 repeat, struct bn_result *ret)
{
	struct __sk_buff ctx = {.ifindex = ifindex, .ingress_ifindex = ingress};
	LIBBPF_OPTS(bpf_test_run_opts, opts, .data_in = in->data, .data_size_in = in->len,
		    .data_out = ret->out.data, .data_size_out = sizeof(ret->out.data),
		    .ctx_in = &ctx, .ctx_size_in = sizeof(ctx), .repeat = repeat,
		    .flags = rig->complete ? BPF_F_TEST_SKB_CHECKSUM_COMPLETE : 0);
	int r = bpf_prog_test_run_opts(prog_fd, &opts);

	if (r == -EINVAL && in->len < ETH_HLEN + sizeof(struct ipv6hdr)) {
		ret->out.len = 0;
		ret->verdict = BN_VERDICT_REFUSED;
		return;
	}
	if (r == -EBADMSG && rig->complete) {
		ret->out.len = 0;
		ret->verdict = BN_VERDICT_BAD_SUM;
		return;
	}
	if (r)
		bn_rig_die("BPF_PROG_TEST_RUN", -r);
	ret->out.len = opts.data_size_out;
	bn_packet_locate(&ret->out);
	ret->verdict = (int)opts.retval;
}

bool bn_rig_can_complete(struct bn_rig *rig)
{
	__u8 data[128] = {[12] = 8, [14] = 0x45};
	LIBBPF_OPTS(bpf_test_run_opts, opts, .data_in = data, .data_size_in = sizeof(data),
		    .flags = BPF_F_TEST_SKB_CHECKSUM_COMPLETE);

	return !bpf_prog_test_run_opts(bpf_program__fd(bn_rig_program(rig, BN_HOOK_FROM_POD)),
				       &opts);
}

bool bn_rig_can_ingress(struct bn_rig *rig)
{
	__u8 data[128] = {[12] = 8, [14] = 0x45};
	struct __sk_buff ctx = {.ifindex = rig->dev[BN_POD_B].ifindex,
				.ingress_ifindex = rig->dev[BN_POD_A].ifindex};
	LIBBPF_OPTS(bpf_test_run_opts, opts, .data_in = data, .data_size_in = sizeof(data),
		    .ctx_in = &ctx, .ctx_size_in = sizeof(ctx));

	bool can = !bpf_prog_test_run_opts(bpf_program__fd(bn_rig_program(rig, BN_HOOK_TO_POD)),
					   &opts);

	ring_buffer__consume(rig->ring); /* its record is nobody's */
	return can;
}

void bn_rig_run(struct bn_rig *rig, __u8 hook, int device, __u32 ingress,
		const struct bn_packet *in, struct bn_result *ret)
{
	rig->n_events = 0;
	bn_rig_run_fd(rig, bpf_program__fd(bn_rig_program(rig, hook)), rig->dev[device].ifindex,
		      ingress, in, 1, ret);
	ring_buffer__consume(rig->ring);
}

void bn_rig_counts(const struct bn_rig *rig, struct bn_counts *ret)
{
	struct bn_drop_counter *drops = calloc(rig->cpus, sizeof(*drops));
	__u64 *counters = calloc(rig->cpus, sizeof(*counters));

	if (!drops || !counters)
		bn_rig_die("counters", ENOMEM);
	memset(ret, 0, sizeof(*ret));
	for (__u32 i = 0; i < BN_CNT_MAX; i++) {
		if (bpf_map_lookup_elem(bn_rig_map(rig, "bn_counters"), &i, counters))
			bn_rig_die("bn_counters", errno);
		for (int cpu = 0; cpu < rig->cpus; cpu++)
			ret->counter[i] += counters[cpu];
	}
	for (__u32 i = 0; i < BN_DROP_MAX; i++) {
		if (bpf_map_lookup_elem(bn_rig_map(rig, "bn_drops"), &i, drops))
			bn_rig_die("bn_drops", errno);
		for (int cpu = 0; cpu < rig->cpus; cpu++) {
			for (int way = 0; way < BN_DROPPED_WAYS; way++) {
				ret->dropped[way][i] += drops[cpu].of[way].packets;
				ret->drop[i] += drops[cpu].of[way].packets;
			}
		}
	}
	free(drops);
	free(counters);
}

/* All sets of the table, to be freed. */
static struct bn_flow_set *sets_read(const struct bn_rig *rig)
{
	struct bn_flow_set *sets;
	LIBBPF_OPTS(bpf_map_batch_opts, opts);
	__u32 n = rig->config.flow_mask + 1, next, *keys;

	sets = calloc(n, sizeof(*sets));
	keys = calloc(n, sizeof(*keys));
	if (!sets || !keys)
		bn_rig_die("bn_flows", ENOMEM);
	if (bpf_map_lookup_batch(bn_rig_map(rig, "bn_flows"), NULL, &next, keys, sets, &n, &opts) &&
	    errno != ENOENT)
		bn_rig_die("bn_flows", errno);
	free(keys);
	return sets;
}

static void sets_write(const struct bn_rig *rig, const struct bn_flow_set *sets)
{
	LIBBPF_OPTS(bpf_map_batch_opts, opts);
	__u32 n = rig->config.flow_mask + 1, *keys = calloc(n, sizeof(*keys));

	if (!keys)
		bn_rig_die("bn_flows", ENOMEM);
	for (__u32 i = 0; i < n; i++)
		keys[i] = i;
	if (bpf_map_update_batch(bn_rig_map(rig, "bn_flows"), keys, sets, &n, &opts))
		bn_rig_die("bn_flows", errno);
	free(keys);
}

void bn_rig_flows_each(const struct bn_rig *rig,
		       void (*fn)(const struct bn_flow_entry *e, enum bn_where where, void *data),
		       void *data)
{
	struct bn_flow_set *sets = sets_read(rig);

	for (__u32 i = 0; i <= rig->config.flow_mask; i++)
		for (int way = 0; way < BN_WAYS; way++)
			if (sets[i].tag[way])
				fn(&sets[i].entry[way],
				   sets[i].established & 1u << way ? BN_ESTABLISHED : BN_TRANSIENT,
				   data);
	free(sets);
}

void bn_rig_flows_change(struct bn_rig *rig, void (*fn)(struct bn_flow_entry *e))
{
	struct bn_flow_set *sets = sets_read(rig);

	for (__u32 i = 0; i <= rig->config.flow_mask; i++)
		for (int way = 0; way < BN_WAYS; way++)
			if (sets[i].tag[way])
				fn(&sets[i].entry[way]);
	sets_write(rig, sets);
	free(sets);
}

enum bn_where bn_rig_flow(const struct bn_rig *rig, const struct bn_tuple *key, struct bn_flow *ret)
{
	__u64 hash = bn_hash_tuple(rig->config.hash_key, key);
	__u32 tag = bn_flow_tag(hash), mask = rig->config.flow_mask;
	__u32 index[2] = {bn_flow_home(hash, mask)};
	enum bn_where where = BN_NOWHERE;
	struct bn_flow_set set;
	int found = 0;

	index[1] = bn_flow_other(index[0], tag, mask);
	for (int i = 0; i < 2 && (!i || index[0] != index[1]); i++) {
		if (bpf_map_lookup_elem(bn_rig_map(rig, "bn_flows"), &index[i], &set))
			bn_rig_die("bn_flows", errno);
		for (int way = 0; way < BN_WAYS; way++) {
			if (set.tag[way] != tag || memcmp(&set.entry[way].key, key, sizeof(*key)))
				continue;
			ret->hot = set.entry[way].flow;
			ret->cold = set.cold[way];
			where = set.established & 1u << way ? BN_ESTABLISHED : BN_TRANSIENT;
			found++;
		}
	}
	if (found > 1)
		bn_rig_die("one tuple twice in the flow table", 0);
	return where;
}

static void set_occupy(const struct bn_rig *rig, struct bn_flow_set *set, unsigned int way)
{
	memset(&set->entry[way], 0, sizeof(set->entry[way]));
	set->entry[way].key.family = 255; /* nobody's */
	set->entry[way].flow.last_seen = rig->config.life.established;
	set->tag[way] = 1;
	set->expires[way] = 0x7fffffff;
	set->established |= 1u << way;
}

static void count_established(const struct bn_flow_entry *e, enum bn_where where, void *data)
{
	*(__u32 *)data += where == BN_ESTABLISHED;
}

__u32 bn_rig_flows_count(const struct bn_rig *rig)
{
	__u32 n = 0;

	bn_rig_flows_each(rig, count_established, &n);
	return n;
}

void bn_rig_flows_fill(struct bn_rig *rig, unsigned int spare)
{
	struct bn_flow_set *sets = sets_read(rig);

	for (__u32 i = 0; i <= rig->config.flow_mask; i++) {
		for (unsigned int way = 0; way + spare < BN_WAYS_ESTABLISHED; way++) {
			if (sets[i].tag[way])
				continue;
			set_occupy(rig, &sets[i], way);
		}
	}
	sets_write(rig, sets);
	free(sets);
}

void bn_rig_flows_crowd(struct bn_rig *rig)
{
	struct bn_flow_set *sets = sets_read(rig);

	for (__u32 i = 0; i <= rig->config.flow_mask >> 1; i++)
		for (unsigned int way = 0; way < BN_WAYS; way++)
			if (!sets[i].tag[way] &&
			    __builtin_popcount(sets[i].established) < BN_WAYS_CROWDED)
				set_occupy(rig, &sets[i], way);
	sets_write(rig, sets);
	free(sets);
}

void bn_rig_flows_expire(struct bn_rig *rig)
{
	struct bn_flow_set *sets = sets_read(rig);

	for (__u32 i = 0; i <= rig->config.flow_mask; i++)
		for (unsigned int way = 0; way < BN_WAYS; way++)
			if (sets[i].tag[way] && !(sets[i].established & 1u << way))
				sets[i].expires[way] -= 1u << 30; /* longer than any life */
	sets_write(rig, sets);
	free(sets);
}

void bn_rig_flows_age(struct bn_rig *rig, __u32 jiffies)
{
	struct bn_flow_set *sets = sets_read(rig);

	for (__u32 i = 0; i <= rig->config.flow_mask; i++)
		for (unsigned int way = 0; way < BN_WAYS; way++) {
			sets[i].expires[way] -= jiffies;
			sets[i].entry[way].flow.last_seen -= jiffies;
			sets[i].cold[way].created -= jiffies;
		}
	sets_write(rig, sets);
	free(sets);
}

/* The way that is looked at first, else another; home or the other set, whichever is emptier. */
void bn_rig_flows_fill_random(struct bn_rig *rig, __u32 n, __u32 (*random)(void))
{
	__u32 mask = rig->config.flow_mask;
	struct bn_flow_set *sets = sets_read(rig);

	while (n) {
		__u64 hash = (__u64)random() << 32 | random();
		__u32 tag = bn_flow_tag(hash), home = bn_flow_home(hash, mask);
		__u32 other = bn_flow_other(home, tag, mask), index = home;
		int have = __builtin_popcount(sets[home].established);
		unsigned int way = bn_flow_way(hash);

		if (have >= BN_WAYS_CROWDED && __builtin_popcount(sets[other].established) < have)
			index = other;
		if (__builtin_popcount(sets[index].established) >= BN_WAYS_ESTABLISHED)
			continue;
		while (sets[index].tag[way])
			way = (way + 1) % BN_WAYS;
		set_occupy(rig, &sets[index], way);
		sets[home].spilled += index != home;
		if (index != home)
			sets[index].away |= 1u << way;
		n--;
	}
	sets_write(rig, sets);
	free(sets);
}

static void map_empty(int fd)
{
	__u8 key[64], next[64];
	int r = bpf_map_get_next_key(fd, NULL, key);

	while (!r) {
		/* the successor first: without its key the search would begin at the start */
		r = bpf_map_get_next_key(fd, key, next);
		if (bpf_map_delete_elem(fd, key))
			bn_rig_die("emptying a map", errno);
		memcpy(key, next, sizeof(key));
	}
}

void bn_rig_forget_transient(struct bn_rig *rig)
{
	struct bn_flow_set *sets = sets_read(rig);
	__u32 mask = rig->config.flow_mask;

	for (__u32 i = 0; i <= mask; i++)
		for (int way = 0; way < BN_WAYS; way++)
			if (!(sets[i].established & 1u << way)) {
				if (sets[i].away & 1u << way)
					sets[bn_flow_other(i, sets[i].tag[way], mask)].spilled--;
				sets[i].away &= (__u8) ~(1u << way);
				sets[i].tag[way] = 0;
				sets[i].entry[way].key.family = 0;
			}
	sets_write(rig, sets);
	free(sets);
}

void bn_rig_forget(struct bn_rig *rig)
{
	struct bn_flow_set *sets = calloc(rig->config.flow_mask + 1, sizeof(*sets));

	if (!sets)
		bn_rig_die("bn_flows", ENOMEM);
	sets_write(rig, sets);
	free(sets);
	map_empty(bn_rig_map(rig, "bn_fragments"));
	ring_buffer__consume(rig->ring);
	rig->n_events = 0;
}
