// SPDX-License-Identifier: Apache-2.0
#define HASH_NONFATAL_OOM 1
#include "policy/shared.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>

struct bn_shared *bn_shared_get(const struct bn_shared_set *set, uint32_t number)
{
	struct bn_shared *s = NULL;

	HASH_FIND(by_number, set->by_number, &number, sizeof(number), s);
	return s;
}

struct bn_shared *bn_shared_find(const struct bn_shared_set *set, uint64_t hash)
{
	struct bn_shared *s = NULL;

	HASH_FIND(hh, set->by_hash, &hash, sizeof(hash), s);
	return s;
}

/* False: no memory. */
static bool hash_in(struct bn_shared_set *set, struct bn_shared *s)
{
	struct bn_shared *first = bn_shared_find(set, s->hash);

	if (first) {
		s->next = first->next;
		first->next = s;
		return true;
	}
	HASH_ADD(hh, set->by_hash, hash, sizeof(s->hash), s);
	return s->hh.tbl;
}

int bn_shared_add(struct bn_shared_set *set, uint64_t hash, uint32_t number, struct bn_shared **ret)
{
	struct bn_shared *s = calloc(1, sizeof(*s));

	if (!s)
		return -ENOMEM;
	s->hash = hash;
	s->number = number;
	HASH_ADD(by_number, set->by_number, number, sizeof(s->number), s);
	if (!s->by_number.tbl) {
		free(s);
		return -ENOMEM;
	}
	if (!hash_in(set, s)) {
		HASH_DELETE(by_number, set->by_number, s);
		free(s);
		return -ENOMEM;
	}
	*ret = s;
	return 0;
}

int bn_shared_copy(struct bn_shared_set *to, const struct bn_shared_set *from)
{
	const struct bn_shared *at;
	struct bn_shared *copy;

	for (at = from->by_number; at; at = at->by_number.next) {
		int r = bn_shared_add(to, at->hash, at->number, &copy);

		if (r)
			return r;
		copy->references = at->references;
	}
	return 0;
}

void bn_shared_unhash(struct bn_shared_set *set, struct bn_shared *s)
{
	struct bn_shared *first = bn_shared_find(set, s->hash), *at;

	if (first == s) {
		HASH_DELETE(hh, set->by_hash, s);
		if (s->next)
			HASH_ADD(hh, set->by_hash, hash, sizeof(s->hash), s->next);
	} else {
		for (at = first; at && at->next != s; at = at->next)
			;
		if (at)
			at->next = s->next;
	}
	s->next = NULL;
}

void bn_shared_rehash(struct bn_shared_set *set, struct bn_shared *s, uint64_t hash)
{
	s->hash = hash;
	hash_in(set, s);
}

void bn_shared_remove(struct bn_shared_set *set, struct bn_shared *s)
{
	bn_shared_unhash(set, s);
	HASH_DELETE(by_number, set->by_number, s);
	free(s);
}

void bn_shared_clear(struct bn_shared_set *set)
{
	struct bn_shared *at, *tmp;

	HASH_CLEAR(hh, set->by_hash);
	HASH_ITER(by_number, set->by_number, at, tmp) {
		HASH_DELETE(by_number, set->by_number, at);
		free(at);
	}
}
