/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Runs of consecutive places in an array. A run's capacity is a power of two, so freed
 * ones fit again. A freed run is kept back until bn_runs_settle(), since a packet may still be
 * reading it through the value that named it.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#define BN_RUN_CLASSES 25

struct bn_runs {
	uint32_t size; /* places in all */
	uint32_t top;  /* first place never used */
	struct bn_run_list {
		uint32_t *first;
		size_t n, cap;
	} free[BN_RUN_CLASSES], kept[BN_RUN_CLASSES];
	uint64_t used; /* places in runs handed out */
};

void bn_runs_init(struct bn_runs *runs, uint32_t size);
void bn_runs_done(struct bn_runs *runs);
/* Capacity of the run that holds n places; 0 for none. */
uint32_t bn_run_capacity(uint32_t n);
/* The same runs free, kept back and taken. 0 or -ENOMEM, and bn_runs_done() is due. */
int bn_runs_copy(struct bn_runs *to, const struct bn_runs *from);
/* Makes room for a run of n places behind all others, of which the next one may be. */
void bn_runs_grow(struct bn_runs *runs, uint32_t n);
/* *ret_first of a run for n places; n == 0 needs none and gives 0. -ENOSPC, -ENOMEM. */
int bn_runs_take(struct bn_runs *runs, uint32_t n, uint32_t *ret_first);
/* Gives back a run of n places. */
void bn_runs_give(struct bn_runs *runs, uint32_t first, uint32_t n);
/* Marks a run as in use that was found in the map; all of them before the first take. */
void bn_runs_claim(struct bn_runs *runs, uint32_t first, uint32_t n);
/* Builds the free lists between claimed runs: once, after the last claim. */
int bn_runs_claimed(struct bn_runs *runs);
void bn_runs_settle(struct bn_runs *runs);
