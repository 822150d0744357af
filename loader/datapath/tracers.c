// SPDX-License-Identifier: Apache-2.0
#include "datapath/tracers.h"

#include "trace.skel.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

struct bn_tracers {
	struct bn_trace *skel;
};

static int load(struct bn_tracers *t, const struct bn_programs *programs, struct bn_error *err)
{
	struct bn_trace *skel = bn_trace__open();
	int r;

	t->skel = skel;
	if (!skel)
		return -errno;
	struct bpf_map *own[] = {skel->maps.bn_trace_filter, skel->maps.bn_trace_counts,
				 skel->maps.bn_trace_state,  skel->maps.bn_trace_seen,
				 skel->maps.bn_trace_ring,   skel->maps.bn_scratch,
				 skel->maps.bn_hops};

	memcpy((void *)&skel->rodata->bn_config, &programs->node, sizeof(programs->node));
	r = bn_programs_share_maps(skel->obj, programs, err);
	for (size_t i = 0; i < sizeof(own) / sizeof(own[0]) && !r; i++)
		r = bpf_map__set_autocreate(own[i], true);
	/* where the kernel has refused the plain one */
	if (!r && programs->programs[BN_PROGRAM_XDP] < 0)
		r = bpf_program__set_autoload(skel->progs.bn_trace_xdp, false);
	return r ? r : bpf_object__load(skel->obj);
}

int bn_tracers_new(const struct bn_programs *programs, struct bn_tracers **ret,
		   struct bn_error *err)
{
	struct bn_tracers *t = calloc(1, sizeof(*t));
	int r;

	if (!t)
		return -ENOMEM;
	r = load(t, programs, err);
	if (r) {
		bn_tracers_free(t);
		return bn_error_set(err, r, "can't load the programs that trace: %s", strerror(-r));
	}
	*ret = t;
	return 0;
}

void bn_tracers_free(struct bn_tracers *t)
{
	if (!t)
		return;
	bn_trace__destroy(t->skel);
	free(t);
}

int bn_tracers_program(const struct bn_tracers *t, enum bn_program_id program)
{
	const struct bpf_program *const programs[BN_PROGRAM_MAX] = {
		[BN_PROGRAM_FROM_POD] = t->skel->progs.bn_trace_from_pod,
		[BN_PROGRAM_TO_POD] = t->skel->progs.bn_trace_to_pod,
		[BN_PROGRAM_FROM_UPLINK] = t->skel->progs.bn_trace_from_uplink,
		[BN_PROGRAM_TO_UPLINK] = t->skel->progs.bn_trace_to_uplink,
		[BN_PROGRAM_FROM_HOST] = t->skel->progs.bn_trace_from_host,
		[BN_PROGRAM_HOST_EGRESS] = t->skel->progs.bn_trace_host_egress,
		[BN_PROGRAM_FROM_LOOPBACK] = t->skel->progs.bn_trace_from_loopback,
		[BN_PROGRAM_XDP] = t->skel->progs.bn_trace_xdp,
	};

	return bpf_program__fd(programs[program]);
}

int bn_tracers_ring(const struct bn_tracers *t)
{
	return bpf_map__fd(t->skel->maps.bn_trace_ring);
}

int bn_tracers_set(struct bn_tracers *t, uint32_t slot, const struct bn_trace_filter *filter)
{
	static const struct bn_trace_filter nothing;

	return bpf_map_update_elem(bpf_map__fd(t->skel->maps.bn_trace_filter), &slot,
				   filter ? filter : &nothing, BPF_ANY)
		       ? -errno
		       : 0;
}

int bn_tracers_missed(const struct bn_tracers *t, uint32_t slot, uint64_t *ret_suppressed,
		      uint64_t *ret_lost)
{
	int cpus = libbpf_num_possible_cpus(), r = 0;
	struct bn_trace_count *counts;

	if (cpus < 1)
		return cpus;
	counts = calloc((size_t)cpus, sizeof(*counts));
	if (!counts)
		return -ENOMEM;
	*ret_suppressed = *ret_lost = 0;
	if (bpf_map_lookup_elem(bpf_map__fd(t->skel->maps.bn_trace_counts), &slot, counts))
		r = -errno;
	for (int i = 0; i < cpus; i++) {
		*ret_suppressed += counts[i].suppressed;
		*ret_lost += counts[i].lost;
	}
	free(counts);
	return r;
}
