/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Walking a uthash table in parts while it changes. The place is a bucket's number: entries don't
 * leave their bucket but when the table doubles, and then those of bucket b go to b and to
 * b + half, both of which are still ahead if b is. So an entry that is there all the time is seen,
 * perhaps twice. uthash never shrinks a table, and an empty one has no buckets.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define HASH_NONFATAL_OOM 1
#include <uthash.h>

/*
 * Calls fn for the entries of the buckets from *at on, until it has called it `n` times or so.
 * fn must not add or remove entries. Returns whether there is more.
 */
static inline bool bn_buckets_walk(const UT_hash_table *t, uint32_t *at, uint32_t n,
				   void (*fn)(void *user, void *entry), void *user)
{
	uint32_t done = 0;

	/* an empty bucket costs little, but not nothing */
	for (; t && *at < t->num_buckets && done / 16 < n; (*at)++, done++) {
		struct UT_hash_handle *hh = t->buckets[*at].hh_head;

		for (; hh; hh = hh->hh_next, done += 16)
			fn(user, (char *)hh - t->hho);
	}
	if (t && *at < t->num_buckets)
		return true;
	*at = 0;
	return false;
}
