/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* Lines of a run (bpfnet/policy.h), laid out in user space. */
#pragma once

#include <bpfnet/policy.h>
#include <stddef.h>
#include <stdint.h>

struct bn_policy_run {
	struct bn_policy_line *lines; /* owned */
	uint32_t n;                   /* a power of two */
	uint32_t name;                /* as pages name it, were its first line 0 */
};

/* `parts` are sorted and begin at 0. 0 or -ENOMEM; bn_policy_run_done() is due only after 0. */
int bn_policy_run_make(struct bn_policy_run *ret, const struct bn_policy_part *parts, size_t n);
void bn_policy_run_done(struct bn_policy_run *run);
