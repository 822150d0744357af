// SPDX-License-Identifier: Apache-2.0
/*
 * Each backend walks the table in an order of its own (offset and skip, from a hash of its address
 * and port) and takes the next entry that is still free, in turns, until every entry is taken.
 * Weights: a backend's quota of entries is fixed first, and turns are spread evenly over as many
 * rounds as the largest quota. Cost: about size * ln(size) steps, whatever the weights.
 *
 * Invariants: the outcome depends on the set of (address, port, weight) only; hashes are the same on
 * every architecture (XXH3's value is part of its format).
 */
#include "datapath/maglev.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#define MAGLEV_NONE UINT32_MAX

/* Largest primes below powers of four. */
static const uint32_t maglev_primes[] = {
	251, 1021, 4093, 16381, 65521, 262139, 1048573, 4194301, 16777213,
};

uint32_t bn_maglev_size(size_t n)
{
	const size_t last = sizeof(maglev_primes) / sizeof(maglev_primes[0]) - 1;
	size_t i = 0;

	if (n < 2)
		return 0;
	while (i < last && maglev_primes[i] < n * BN_MAGLEV_RATIO)
		i++;
	return maglev_primes[i];
}

struct maglev_walker {
	uint64_t hash;
	uint32_t at; /* where it stands */
	uint32_t skip;
	uint32_t quota; /* entries it is to have */
	uint32_t taken;
	uint32_t next;  /* in the list of its round */
	uint32_t index; /* into the caller's array */
};

static uint64_t walker_hash(const struct bn_maglev_backend *b, uint64_t seed)
{
	uint8_t key[18];

	memcpy(key, b->addr.b, 16);
	key[16] = b->port >> 8;
	key[17] = (uint8_t)b->port;
	return XXH3_64bits_withSeed(key, sizeof(key), seed);
}

static int by_hash(const void *a, const void *b, void *user)
{
	const struct maglev_walker *x = a, *y = b;
	const struct bn_maglev_backend *backends = user;

	if (x->hash != y->hash)
		return x->hash < y->hash ? -1 : 1;
	return memcmp(&backends[x->index], &backends[y->index], sizeof(*backends));
}

/* Quotas sum to `size` and are within one of the exact share. Returns the largest. */
static uint32_t share_out(struct maglev_walker *w, const struct bn_maglev_backend *backends,
			  size_t n, uint32_t size, uint64_t weights)
{
	uint64_t sum = 0, before = 0;
	uint32_t largest = 0;

	for (size_t i = 0; i < n; i++) {
		uint64_t upto;

		sum += backends[w[i].index].weight;
		upto = sum * size / weights;
		w[i].quota = (uint32_t)(upto - before);
		before = upto;
		if (w[i].quota > largest)
			largest = w[i].quota;
	}
	return largest;
}

static void take_one(struct maglev_walker *w, uint32_t size, uint16_t *table, uint8_t *full)
{
	while (full[w->at]) {
		w->at += w->skip;
		if (w->at >= size)
			w->at -= size;
	}
	full[w->at] = 1;
	table[w->at] = (uint16_t)w->index;
	w->taken++;
}

/*
 * rounds[r] lists who takes an entry in round r; a backend with quota q of a largest m has its
 * k-th turn in round k * m / q.
 */
static void fill(struct maglev_walker *w, size_t n, uint32_t size, uint32_t largest,
		 uint32_t *rounds, uint16_t *table, uint8_t *full)
{
	memset(rounds, 0xff, sizeof(*rounds) * largest);
	for (size_t i = n; i-- > 0;) {
		if (!w[i].quota)
			continue;
		w[i].next = rounds[0];
		rounds[0] = (uint32_t)i;
	}
	for (uint32_t r = 0; r < largest; r++) {
		uint32_t next, at;

		for (at = rounds[r]; at != MAGLEV_NONE; at = next) {
			uint64_t turn;

			next = w[at].next;
			take_one(&w[at], size, table, full);
			if (w[at].taken == w[at].quota)
				continue;
			turn = (uint64_t)w[at].taken * largest / w[at].quota;
			w[at].next = rounds[turn];
			rounds[turn] = at;
		}
	}
}

int bn_maglev_build(const struct bn_maglev_backend *backends, size_t n, uint32_t size,
		    uint16_t *ret_table)
{
	struct maglev_walker *walkers;
	uint32_t *rounds, largest;
	uint64_t weights = 0;
	uint8_t *full;

	if (n > BN_MAGLEV_BACKENDS_MAX)
		return -E2BIG;
	for (size_t i = 0; i < n; i++)
		weights += backends[i].weight;
	if (!weights || size < 2)
		return -EINVAL;
	walkers = malloc(n * sizeof(*walkers) + size * (sizeof(*rounds) + sizeof(*full)));
	if (!walkers)
		return -ENOMEM;
	rounds = (uint32_t *)(walkers + n);
	full = (uint8_t *)(rounds + size);
	memset(full, 0, size);
	for (size_t i = 0; i < n; i++) {
		uint64_t hash = walker_hash(&backends[i], 0);

		walkers[i] = (struct maglev_walker){
			.hash = hash,
			.at = (uint32_t)(hash % size),
			.skip = (uint32_t)(walker_hash(&backends[i], 1) % (size - 1)) + 1,
			.index = (uint32_t)i,
		};
	}
	qsort_r(walkers, n, sizeof(*walkers), by_hash, (void *)backends);
	largest = share_out(walkers, backends, n, size, weights);
	fill(walkers, n, size, largest, rounds, ret_table, full);
	free(walkers);
	return 0;
}
