/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The label sets of a metric whose labels come from objects: services, backends, policies. There
 * are at most so many; what is new beyond that takes the place of one that nothing was heard of for
 * BN_SERIES_IDLE_NS, or else is counted under `other`, and that is counted, too. So neither many
 * objects nor their coming and going makes the agent, or who stores its metrics, grow without bound.
 */
#pragma once

#include "metrics/metrics.h"

#include <stddef.h>
#include <stdint.h>
#include <sys/queue.h>

#define HASH_NONFATAL_OOM 1
#include <uthash.h>

#define BN_SERIES_IDLE_NS (15ull * 60 * 1000 * 1000 * 1000)
#define BN_SERIES_LABELS 4
#define BN_SERIES_KEY 32

struct bn_series {
	UT_hash_handle hh;
	TAILQ_ENTRY(bn_series) entry; /* by last use */
	uint64_t used;
	char *labels[BN_SERIES_LABELS]; /* values; NULL at first, and of those not needed */
	unsigned char key[BN_SERIES_KEY];
	union {
		uint64_t count;
		struct bn_histogram histogram;
		struct {
			uint64_t last, base;
		} sum; /* bn_series_sum() */
	};
};

struct bn_series_set {
	size_t max, n;
	struct bn_series *all;
	TAILQ_HEAD(bn_series_list, bn_series) by_use;
	struct bn_series other;
	uint64_t others; /* observations that `other` got */
};

/* `labels` of them are in use: what `other` has everywhere. */
int bn_series_init(struct bn_series_set *set, size_t max, size_t labels);
void bn_series_done(struct bn_series_set *set);
/*
 * The series of a key, which is padded with zeros to BN_SERIES_KEY bytes. One whose labels are NULL
 * is new and zero, and gets them from the caller. Never NULL. `now` is CLOCK_MONOTONIC, ns.
 */
struct bn_series *bn_series_get(struct bn_series_set *set, const void *key, uint64_t now);
/* Takes copies; 0 or -ENOMEM, and then it has none. */
int bn_series_label(struct bn_series *series, const char *const values[BN_SERIES_LABELS]);
/* Zero again and without labels: the key means something else now. */
void bn_series_reset(struct bn_series *series);
/* Forgets those that were last used before that time. */
void bn_series_prune(struct bn_series_set *set, uint64_t before);
/*
 * A counter made of parts that come and go: what it stands at now that the parts' sum is `sum`. It
 * never falls.
 */
uint64_t bn_series_sum(struct bn_series *series, uint64_t sum);
/* Calls fn for each that has labels, `other` last where it was used. */
void bn_series_each(struct bn_series_set *set,
		    void (*fn)(void *user, const struct bn_series *series), void *user);
