// SPDX-License-Identifier: Apache-2.0
#include "metrics/series.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#undef uthash_nonfatal_oom
#define uthash_nonfatal_oom(element) (oom = true)

int bn_series_init(struct bn_series_set *set, size_t max, size_t labels)
{
	const char *values[BN_SERIES_LABELS] = {NULL};

	memset(set, 0, sizeof(*set));
	TAILQ_INIT(&set->by_use);
	set->max = max;
	for (size_t i = 0; i < labels; i++)
		values[i] = "other";
	return bn_series_label(&set->other, values);
}

void bn_series_reset(struct bn_series *s)
{
	for (size_t i = 0; i < BN_SERIES_LABELS; i++) {
		free(s->labels[i]);
		s->labels[i] = NULL;
	}
	memset(&s->histogram, 0, sizeof(s->histogram));
}

static void drop(struct bn_series_set *set, struct bn_series *s)
{
	HASH_DELETE(hh, set->all, s);
	TAILQ_REMOVE(&set->by_use, s, entry);
	set->n--;
	bn_series_reset(s);
	free(s);
}

void bn_series_done(struct bn_series_set *set)
{
	struct bn_series *s, *next;

	HASH_ITER(hh, set->all, s, next)
		drop(set, s);
	bn_series_reset(&set->other);
}

int bn_series_label(struct bn_series *s, const char *const values[BN_SERIES_LABELS])
{
	for (size_t i = 0; i < BN_SERIES_LABELS && values[i]; i++) {
		s->labels[i] = strdup(values[i]);
		if (!s->labels[i]) {
			bn_series_reset(s);
			return -ENOMEM;
		}
	}
	return 0;
}

static struct bn_series *other(struct bn_series_set *set)
{
	set->others++;
	return &set->other;
}

struct bn_series *bn_series_get(struct bn_series_set *set, const void *key, uint64_t now)
{
	struct bn_series *s = NULL, *oldest = TAILQ_FIRST(&set->by_use);
	bool oom = false;

	HASH_FIND(hh, set->all, key, BN_SERIES_KEY, s);
	if (s) {
		if (TAILQ_NEXT(s, entry)) {
			TAILQ_REMOVE(&set->by_use, s, entry);
			TAILQ_INSERT_TAIL(&set->by_use, s, entry);
		}
		s->used = now;
		return s;
	}
	if (set->n >= set->max) {
		if (!oldest || now < oldest->used + BN_SERIES_IDLE_NS)
			return other(set);
		drop(set, oldest);
	}
	s = calloc(1, sizeof(*s));
	if (!s)
		return other(set);
	memcpy(s->key, key, BN_SERIES_KEY);
	s->used = now;
	HASH_ADD(hh, set->all, key, BN_SERIES_KEY, s);
	if (oom) {
		free(s);
		return other(set);
	}
	TAILQ_INSERT_TAIL(&set->by_use, s, entry);
	set->n++;
	return s;
}

void bn_series_prune(struct bn_series_set *set, uint64_t before)
{
	struct bn_series *s;

	while ((s = TAILQ_FIRST(&set->by_use)) && s->used < before)
		drop(set, s);
}

uint64_t bn_series_sum(struct bn_series *s, uint64_t sum)
{
	if (sum < s->sum.last)
		s->sum.base += s->sum.last - sum;
	s->sum.last = sum;
	return s->sum.base + sum;
}

void bn_series_each(struct bn_series_set *set,
		    void (*fn)(void *user, const struct bn_series *series), void *user)
{
	struct bn_series *s;

	for (s = set->all; s; s = s->hh.next) {
		if (s->labels[0])
			fn(user, s);
	}
	if (set->others)
		fn(user, &set->other);
}
