/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The policy maps' memory: tables, pages and runs in the mapped arrays (maps/bpfnet/policy.h). Equal
 * runs and equal pages are one; each is counted by who names it. What stands in the maps from an
 * earlier run is found again by its content, so a restart that wants the same changes nothing.
 *
 * What is freed rests until bn_space_turn(), since a packet may still be reading it.
 */
#pragma once

#include <bpfnet/policy.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct bn_error;
struct bn_space;

struct bn_space_config {
	int tables_fd, pages_fd, ports_fd; /* borrowed */
	uint32_t tables, pages, lines;     /* the maps' sizes */
};

int bn_space_open(const struct bn_space_config *config, struct bn_space **ret,
		  struct bn_error *err);
void bn_space_close(struct bn_space *space);
/* A table that an endpoint names in the maps, as an earlier run left it: before anything else. */
int bn_space_found(struct bn_space *space, uint32_t table);
/* Drops those that were found and nobody has wanted since: when no endpoint names them any more. */
void bn_space_settle(struct bn_space *space);

/* A run of n parts; takes a reference. -ENOSPC says by how much it does not fit. */
int bn_space_run(struct bn_space *space, const struct bn_policy_part *parts, size_t n,
		 uint32_t *ret, struct bn_error *err);
void bn_space_run_put(struct bn_space *space, uint32_t run);

/* A new table: for each identity below n a run, for those above `rest`. Takes what references it
 * needs of its own. */
int bn_space_table(struct bn_space *space, const uint32_t *runs, size_t n, uint32_t rest,
		   uint32_t *ret, struct bn_error *err);
void bn_space_table_put(struct bn_space *space, uint32_t table);
/* Fills in an identity that no address has yet. */
int bn_space_table_set(struct bn_space *space, uint32_t table, uint32_t identity, uint32_t run,
		       struct bn_error *err);

/*
 * A copy of all that stands, beside the maps, in which what does not fit has room all the same: a change
 * is prepared on it to know by how much. Closed like any other; 0 or -errno.
 */
int bn_space_measure(struct bn_space *space, struct bn_space **ret);

/* The maps' memory, 14 MB, is mapped from the first use on, until this is called. */
void bn_space_release(struct bn_space *space);
/* What was freed before the last turn may be used again. */
void bn_space_turn(struct bn_space *space);

struct bn_space_use {
	uint32_t tables, pages, lines;
};
struct bn_space_use bn_space_use(const struct bn_space *space);
/* How much more than fits a copy's tables, pages and runs have taken. */
struct bn_space_use bn_space_lacks(const struct bn_space *copy);
