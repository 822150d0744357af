/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Numbered things of which equal ones are one, counted by who names them: found by number, and by
 * their content's hash. The content is the owner's, and so is telling equal hashes apart.
 */
#pragma once

#include <stdint.h>
#include <uthash.h>

struct bn_shared {
	UT_hash_handle hh; /* by hash; the first of those that have the same */
	UT_hash_handle by_number;
	struct bn_shared *next; /* with the same hash */
	uint64_t hash;
	uint32_t number;
	uint32_t references; /* the owner's to count */
};

/* All zero: empty. */
struct bn_shared_set {
	struct bn_shared *by_hash, *by_number;
};

/* NULL: there is none. */
struct bn_shared *bn_shared_get(const struct bn_shared_set *set, uint32_t number);
/* The first with that hash, the others by `next`. */
struct bn_shared *bn_shared_find(const struct bn_shared_set *set, uint64_t hash);

/* A new one, without references. 0 or -ENOMEM. */
int bn_shared_add(struct bn_shared_set *set, uint64_t hash, uint32_t number,
		  struct bn_shared **ret);
/* All of a set, with its references, into an empty one. 0 or -ENOMEM, and bn_shared_clear() is due. */
int bn_shared_copy(struct bn_shared_set *to, const struct bn_shared_set *from);
/* Frees it. */
void bn_shared_remove(struct bn_shared_set *set, struct bn_shared *shared);
void bn_shared_clear(struct bn_shared_set *set);

/*
 * While its content changes it is not found by hash. Without memory for the second it stays so, which
 * costs no more than a copy of the same.
 */
void bn_shared_unhash(struct bn_shared_set *set, struct bn_shared *shared);
void bn_shared_rehash(struct bn_shared_set *set, struct bn_shared *shared, uint64_t hash);
