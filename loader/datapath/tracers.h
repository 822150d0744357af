/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The datapath's programs with a trace around them (bpf/trace.bpf.c), and the maps that they have
 * besides. Loaded here and attached by whoever asks for them.
 */
#pragma once

#include "datapath/programs.h"

#include <bpfnet/trace.h>

struct bn_tracers;

/* `programs` is borrowed for the call. */
int bn_tracers_new(const struct bn_programs *programs, struct bn_tracers **ret,
		   struct bn_error *err);
/* Closes descriptors; where the programs are attached they stay. */
void bn_tracers_free(struct bn_tracers *t);

/* The program that takes that one's place, borrowed; a negative number: none does. */
int bn_tracers_program(const struct bn_tracers *t, enum bn_program_id program);
/* The ring buffer's descriptor, borrowed. */
int bn_tracers_ring(const struct bn_tracers *t);
/* What the slot wants from now on; NULL: nothing. */
int bn_tracers_set(struct bn_tracers *t, uint32_t slot, const struct bn_trace_filter *filter);
/* Of all CPUs, since the programs were loaded: records over the rate, and without room. */
int bn_tracers_missed(const struct bn_tracers *t, uint32_t slot, uint64_t *ret_suppressed,
		      uint64_t *ret_lost);
