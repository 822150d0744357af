/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The main flow table never evicts, so idle entries are the agent's to remove. A flow goes when
 * both of its directions have been idle longer than its lifetime; its end is reported as the
 * datapath would. The transient table looks after itself.
 */
#pragma once

#include "datapath/programs.h"

#include <bpfnet/event.h>
#include <bpfnet/flow.h>
#include <stdbool.h>

struct bn_sweep_result {
	uint64_t entries; /* left in the main table */
	uint64_t removed;
};

/* Walks the main table once; `closed` is told of every flow that ended. */
int bn_sweep(const struct bn_programs *p, void (*closed)(void *user, const struct bn_event *event),
	     void *user, struct bn_sweep_result *ret);

/* Every live entry of both tables, for `ct list`: jiffies is now, low 32 bits. */
typedef int (*bn_flow_fn)(void *user, const struct bn_tuple *key, const struct bn_flow *flow,
			  int64_t expires_ms, bool established);
int bn_flows_each(const struct bn_programs *p, bn_flow_fn fn, void *user);

/* jiffies, low 32 bits, as the datapath sees them. */
uint32_t bn_jiffies(const struct bn_programs *p);
