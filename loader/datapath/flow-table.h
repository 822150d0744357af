/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The flow table from user space. Whatever changes it runs as a program in the kernel
 * (bpf/sweep.bpf.c), under the table's own locks; user space only reads.
 */
#pragma once

#include "datapath/programs.h"

#include <bpfnet/event.h>
#include <bpfnet/flow.h>
#include <stdbool.h>

/* Sets that `flows` established entries need: a power of two. */
uint32_t bn_flow_sets(uint32_t flows);

/*
 * Removes flows whose lifetime is over in both directions, telling of their end as the datapath
 * does. *ret_live: entries that stay.
 */
int bn_flows_sweep(const struct bn_programs *p, uint64_t *ret_live);
/* What is alive, added up in the kernel: a few milliseconds for a large table. */
int bn_flows_sum(const struct bn_programs *p, struct bn_flow_sums *ret);
/* Takes over what the table `fd`, of this ABI and another size, has and ours has not. */
int bn_flows_adopt(const struct bn_programs *p, int fd);

/* Every live entry, for `ct list`. */
typedef int (*bn_flow_fn)(void *user, const struct bn_tuple *key, const struct bn_flow *flow,
			  int64_t expires_ms, bool established);
int bn_flows_each(const struct bn_programs *p, bn_flow_fn fn, void *user);
