// SPDX-License-Identifier: Apache-2.0
/*
 * Maps that the programs write on a packet's path are small ones of this load's own; all others are
 * shared. The one write that can't be led astray so is sessionAffinity's, whose map must be read:
 * BN_FEATURE_DRY_RUN takes it out of the programs.
 */
#include "datapath/dry-run.h"

#include "datapath/flow-table.h"
#include "pod.skel.h"
#include "uplink.skel.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <linux/bpf.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define DRY_FLOWS 64

struct bn_dry_run {
	struct bn_pod *pod;
	struct bn_uplink *uplink;
	struct ring_buffer *ring;
	uint32_t sets;
	bool told;
	struct bn_event event;
};

/* Entries of the maps that are written; 0: shared. */
static uint32_t own_entries(enum bn_map_id id)
{
	switch (id) {
	case BN_MAP_bn_flows:
		return bn_flow_sets(DRY_FLOWS);
	case BN_MAP_bn_events:
		return (uint32_t)sysconf(_SC_PAGESIZE);
	case BN_MAP_bn_fragments:
	case BN_MAP_bn_sock_dgram:
		return 64;
	case BN_MAP_bn_drops:
		return BN_DROP_MAX;
	case BN_MAP_bn_counters:
		return BN_CNT_MAX;
	case BN_MAP_bn_policy_hits:
	case BN_MAP_bn_sock_tcp:
		return 1;
	default:
		return 0;
	}
}

/* Gives the object the maps in force, or those that `first` has made. */
static int set_maps(struct bpf_object *obj, const struct bn_programs *programs,
		    struct bpf_object *first, struct bn_error *err)
{
	for (int i = 0; i < BN_MAP_MAX; i++) {
		struct bpf_map *m = bpf_object__find_map_by_name(obj, bn_map_names[i]);
		struct bpf_map *theirs =
			first ? bpf_object__find_map_by_name(first, bn_map_names[i]) : NULL;
		uint32_t own = own_entries(i);
		int r;

		if (!m)
			continue;
		if (!own)
			r = bpf_map__reuse_fd(m, programs->maps[i]);
		else if (theirs)
			r = bpf_map__reuse_fd(m, bpf_map__fd(theirs));
		else
			r = bpf_map__set_max_entries(m, own);
		if (r)
			return bn_error_set(err, r, "can't set up the map %s for a trace: %s",
					    bn_map_names[i], strerror(-r));
	}
	return 0;
}

static int on_event(void *user, void *data, size_t size)
{
	struct bn_dry_run *dry = user;

	if (size < sizeof(dry->event))
		return 0;
	memcpy(&dry->event, data, sizeof(dry->event));
	dry->told = true;
	return 0;
}

static int load(struct bn_dry_run *dry, const struct bn_programs *programs, struct bn_error *err)
{
	struct bn_config config = programs->node;
	int r;

	dry->sets = bn_flow_sets(DRY_FLOWS);
	config.features |= BN_FEATURE_EVENTS | BN_FEATURE_DRY_RUN;
	config.flow_mask = dry->sets - 1;
	config.event_rate = UINT32_MAX;
	dry->pod = bn_pod__open();
	dry->uplink = bn_uplink__open();
	if (!dry->pod || !dry->uplink)
		return bn_error_set(err, -errno, "can't open the datapath's programs: %m");
	memcpy((void *)&dry->pod->rodata->bn_config, &config, sizeof(config));
	memcpy((void *)&dry->uplink->rodata->bn_config, &config, sizeof(config));
	r = set_maps(dry->pod->obj, programs, NULL, err);
	if (!r)
		r = bpf_object__load(dry->pod->obj);
	if (!r)
		r = set_maps(dry->uplink->obj, programs, dry->pod->obj, err);
	if (!r)
		r = bpf_object__load(dry->uplink->obj);
	if (r)
		return bn_error_set(err, r, "can't load the datapath for a trace: %s",
				    strerror(-r));
	dry->ring = ring_buffer__new(bpf_map__fd(dry->pod->maps.bn_events), on_event, dry, NULL);
	return dry->ring ? 0 : bn_error_set(err, -errno, "can't read a trace's record: %m");
}

int bn_dry_run_new(const struct bn_programs *programs, struct bn_dry_run **ret,
		   struct bn_error *err)
{
	struct bn_dry_run *dry = calloc(1, sizeof(*dry));
	int r = dry ? load(dry, programs, err) : -ENOMEM;

	if (r) {
		bn_dry_run_free(dry);
		return r;
	}
	*ret = dry;
	return 0;
}

void bn_dry_run_free(struct bn_dry_run *dry)
{
	if (!dry)
		return;
	ring_buffer__free(dry->ring);
	bn_uplink__destroy(dry->uplink);
	bn_pod__destroy(dry->pod);
	free(dry);
}

static const struct bpf_program *program_of(const struct bn_dry_run *dry, enum bn_program_id id)
{
	switch (id) {
	case BN_PROGRAM_FROM_POD:
		return dry->pod->progs.bn_from_pod;
	case BN_PROGRAM_TO_POD:
		return dry->pod->progs.bn_to_pod;
	case BN_PROGRAM_FROM_UPLINK:
		return dry->uplink->progs.bn_from_uplink;
	case BN_PROGRAM_TO_UPLINK:
		return dry->uplink->progs.bn_to_uplink;
	default:
		return NULL;
	}
}

static int forget_flows(struct bn_dry_run *dry)
{
	static const struct bn_flow_set nothing;
	int r = 0;

	for (uint32_t i = 0; i < dry->sets && !r; i++)
		r = bpf_map_update_elem(bpf_map__fd(dry->pod->maps.bn_flows), &i, &nothing,
					BPF_ANY);
	return r;
}

int bn_dry_run_ask(struct bn_dry_run *dry, const struct bn_dry_question *q,
		   struct bn_dry_answer *ret, struct bn_error *err)
{
	const struct bpf_program *program = program_of(dry, q->program);
	struct __sk_buff ctx = {.ifindex = q->ifindex, .ingress_ifindex = q->ingress_ifindex};
	unsigned char out[2048];
	LIBBPF_OPTS(bpf_test_run_opts, opts, .data_in = q->packet, .data_size_in = (uint32_t)q->len,
		    .data_out = out, .data_size_out = sizeof(out), .ctx_in = &ctx,
		    .ctx_size_in = sizeof(ctx));
	int r;

	if (!program)
		return bn_error_set(err, -EINVAL, "no program to trace with");
	r = forget_flows(dry);
	dry->told = false;
	if (!r)
		r = bpf_prog_test_run_opts(bpf_program__fd(program), &opts);
	if (r)
		return bn_error_set(err, r, "can't run the datapath on a packet: %s", strerror(-r));
	ring_buffer__consume(dry->ring);
	*ret = (struct bn_dry_answer){
		.told = dry->told, .event = dry->event, .action = (int)opts.retval};
	return 0;
}
