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
		for (int cpu = 0; cpu < rig->cpus; cpu++)
			ret->drop[i] += drops[cpu].packets;
	}
	free(drops);
	free(counters);
}

void bn_rig_transient_each(const struct bn_rig *rig,
			   void (*fn)(const struct bn_transient_entry *e, void *data), void *data)
{
	struct bn_transient_set *sets;
	LIBBPF_OPTS(bpf_map_batch_opts, opts);
	__u32 n = rig->config.transient_mask + 1, next, *keys;
	int fd = bn_rig_map(rig, "bn_transient");

	sets = calloc(n, sizeof(*sets));
	keys = calloc(n, sizeof(*keys));
	if (!sets || !keys)
		bn_rig_die("bn_transient", ENOMEM);
	if (bpf_map_lookup_batch(fd, NULL, &next, keys, sets, &n, &opts) && errno != ENOENT)
		bn_rig_die("bn_transient", errno);
	for (__u32 i = 0; i < n; i++)
		for (int way = 0; way < BN_WAYS; way++)
			if (sets[i].tag[way])
				fn(&sets[i].entry[way], data);
	free(sets);
	free(keys);
}

struct find {
	const struct bn_tuple *key;
	struct bn_flow *flow;
	int found;
};

static void find_entry(const struct bn_transient_entry *e, void *data)
{
	struct find *f = data;

	if (memcmp(&e->key, f->key, sizeof(e->key)))
		return;
	*f->flow = e->flow;
	f->found++;
}

int bn_rig_flow(const struct bn_rig *rig, const struct bn_tuple *key, struct bn_flow *ret)
{
	struct find f = {.key = key, .flow = ret};

	if (!bpf_map_lookup_elem(bn_rig_map(rig, "bn_flows"), key, ret))
		return BN_IN_FLOWS;
	bn_rig_transient_each(rig, find_entry, &f);
	if (f.found > 1)
		bn_rig_die("one tuple twice in the transient table", 0);
	return f.found ? BN_IN_TRANSIENT : BN_NOWHERE;
}

__u32 bn_rig_flows_count(const struct bn_rig *rig)
{
	int fd = bn_rig_map(rig, "bn_flows");
	struct bn_tuple key, next;
	__u32 n = 0;

	for (int r = bpf_map_get_next_key(fd, NULL, &next); !r;
	     r = bpf_map_get_next_key(fd, &key, &next)) {
		key = next;
		n++;
	}
	return n;
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
	__u32 n = rig->config.transient_mask + 1, *keys = calloc(n, sizeof(*keys));
	struct bn_transient_set *sets = calloc(n, sizeof(*sets));
	LIBBPF_OPTS(bpf_map_batch_opts, opts);

	if (!keys || !sets)
		bn_rig_die("bn_transient", ENOMEM);
	for (__u32 i = 0; i < n; i++)
		keys[i] = i;
	if (bpf_map_update_batch(bn_rig_map(rig, "bn_transient"), keys, sets, &n, &opts))
		bn_rig_die("bn_transient", errno);
	free(keys);
	free(sets);
}

void bn_rig_forget(struct bn_rig *rig)
{
	bn_rig_forget_transient(rig);
	map_empty(bn_rig_map(rig, "bn_flows"));
	map_empty(bn_rig_map(rig, "bn_fragments"));
	ring_buffer__consume(rig->ring);
	rig->n_events = 0;
}
