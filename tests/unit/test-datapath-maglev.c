// SPDX-License-Identifier: Apache-2.0
/* Maglev tables: balance, weights, and what a change of the set moves. */
#include "datapath/maglev.h"

#include <endian.h>
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static struct bn_maglev_backend *make(size_t n, uint32_t set)
{
	struct bn_maglev_backend *b = calloc(n ? n : 1, sizeof(*b));

	assert_non_null(b);
	for (size_t i = 0; i < n; i++) {
		/* neighbours in address, as pods' are; every other set is IPv6 */
		if (set % 2) {
			b[i].addr.w[0] = htobe32(0xfd000244);
			b[i].addr.w[3] = htobe32(set << 16 | (uint32_t)i);
		} else {
			bn_addr_set_v4(&b[i].addr, htobe32(0x0af40000 + set * 65536 + (uint32_t)i));
		}
		b[i].port = 8080;
		b[i].weight = 1;
	}
	return b;
}

static uint16_t *build(const struct bn_maglev_backend *b, size_t n, uint32_t size)
{
	uint16_t *table = malloc(size * sizeof(*table));

	assert_non_null(table);
	memset(table, 0xff, size * sizeof(*table));
	assert_int_equal(bn_maglev_build(b, n, size, table), 0);
	for (uint32_t i = 0; i < size; i++)
		assert_true(table[i] < n);
	return table;
}

static uint32_t *counted(const uint16_t *table, uint32_t size, size_t n)
{
	uint32_t *count = calloc(n, sizeof(*count));

	assert_non_null(count);
	for (uint32_t i = 0; i < size; i++)
		count[table[i]]++;
	return count;
}

static bool prime(uint32_t n)
{
	for (uint32_t d = 2; (uint64_t)d * d <= n; d++)
		if (n % d == 0)
			return false;
	return n > 1;
}

/* ratio for every number of backends; prime, so that every skip walks the whole table */
static void sizes(void **state)
{
	uint32_t before = 0;

	assert_int_equal(bn_maglev_size(0), 0);
	assert_int_equal(bn_maglev_size(1), 0);
	for (size_t n = 2; n <= BN_MAGLEV_BACKENDS_MAX; n++) {
		uint32_t size = bn_maglev_size(n);

		assert_true(size >= n * BN_MAGLEV_RATIO);
		assert_true(size >= before);
		if (size != before)
			assert_true(prime(size));
		before = size;
	}
}

static void balance(void **state)
{
	static const size_t ns[] = {2, 3, 7, 10, 11, 40, 99, 100, 163, 500, 1000};

	for (size_t k = 0; k < sizeof(ns) / sizeof(ns[0]); k++) {
		size_t n = ns[k];
		uint32_t size = bn_maglev_size(n);
		struct bn_maglev_backend *b = make(n, (uint32_t)k);
		uint16_t *table = build(b, n, size);
		uint32_t *count = counted(table, size, n);

		for (size_t i = 0; i < n; i++) {
			assert_true(count[i] >= size / n);
			assert_true(count[i] <= size / n + 1);
			assert_true((double)count[i] * (double)n / size <= 1.02);
		}
		free(count);
		free(table);
		free(b);
	}
}

/* The share of the flows of other backends that moves when one of n goes; its own all do. */
static double moved(size_t n, uint32_t set, size_t gone)
{
	struct bn_maglev_backend *b = make(n, set), *rest = make(n, set);
	uint32_t size = bn_maglev_size(n), others = 0, changed = 0;
	uint16_t *before, *after;

	assert_int_equal(bn_maglev_size(n - 1), size);
	memmove(&rest[gone], &rest[gone + 1], (n - 1 - gone) * sizeof(*rest));
	before = build(b, n, size);
	after = build(rest, n - 1, size);
	for (uint32_t i = 0; i < size; i++) {
		if (before[i] == gone)
			continue;
		others++;
		changed += after[i] + (after[i] >= gone) != before[i];
	}
	free(before);
	free(after);
	free(b);
	free(rest);
	return (double)changed / others;
}

static void removal_moves_few(void **state)
{
	for (uint32_t set = 0; set < 20; set++)
		assert_true(moved(100, set, set * 5) <= 0.02);
	for (uint32_t set = 0; set < 4; set++) {
		assert_true(moved(50, set, 49) <= 0.02);
		assert_true(moved(1000, set, 7) <= 0.01);
	}
	/* small tables, small sets */
	assert_true(moved(10, 0, 3) <= 0.05);
}

/* The same set in any order, as on any node, gives the same table. */
static void order_does_not_matter(void **state)
{
	enum { N = 37 };
	struct bn_maglev_backend *b = make(N, 1), shuffled[N];
	uint32_t size = bn_maglev_size(N);
	size_t at[N];
	uint16_t *one, *other;

	for (size_t i = 0; i < N; i++) {
		b[i].weight = (uint16_t)(1 + i % 3);
		at[i] = (i * 11 + 5) % N;
		shuffled[at[i]] = b[i];
	}
	one = build(b, N, size);
	other = build(shuffled, N, size);
	for (uint32_t i = 0; i < size; i++)
		assert_int_equal(at[one[i]], other[i]);
	free(one);
	free(other);
	free(b);
}

/* Tables are the same everywhere and in every version: nodes of a cluster are not updated at once. */
static void known_table(void **state)
{
	struct bn_maglev_backend *b = make(5, 0);
	uint32_t size = bn_maglev_size(5);
	uint16_t *table = build(b, 5, size);
	uint32_t sum = 2166136261u;

	for (uint32_t i = 0; i < size; i++)
		sum = (sum ^ table[i]) * 16777619u;
	assert_int_equal(size, 1021);
	assert_int_equal(sum, 0x2118637d);
	free(table);
	free(b);
}

static void weighted(const uint16_t *weights, size_t n, double within)
{
	struct bn_maglev_backend *b = make(n, 2);
	uint32_t size = bn_maglev_size(n);
	uint16_t *table;
	uint32_t *count, sum = 0;

	for (size_t i = 0; i < n; i++) {
		b[i].weight = weights[i];
		sum += weights[i];
	}
	table = build(b, n, size);
	count = counted(table, size, n);
	for (size_t i = 0; i < n; i++) {
		double share = (double)count[i] / size, asked = (double)weights[i] / sum;

		assert_true(share <= asked + within && share >= asked - within);
		if (!weights[i])
			assert_int_equal(count[i], 0);
	}
	free(count);
	free(table);
	free(b);
}

static void weighted_shares(void **state)
{
	uint16_t many[200];

	weighted((uint16_t[]){90, 10}, 2, 0.005);
	weighted((uint16_t[]){10, 90}, 2, 0.005);
	weighted((uint16_t[]){99, 1}, 2, 0.005);
	weighted((uint16_t[]){1, 0}, 2, 0);
	weighted((uint16_t[]){65535, 1, 65535}, 3, 0.001);
	/* a split in percent over uneven numbers of pods: 3 of one version, 7 of the other */
	weighted((uint16_t[]){300, 300, 300, 14, 14, 14, 14, 14, 14, 14}, 10, 0.001);
	for (size_t i = 0; i < 200; i++)
		many[i] = i < 100 ? 1 : 1000;
	weighted(many, 200, 0.0001);
}

/* A weight that changes a little moves few flows of those that did not change. */
static void reweighing_moves_few(void **state)
{
	struct bn_maglev_backend *b = make(100, 3);
	uint32_t size = bn_maglev_size(100), changed = 0;
	uint16_t *before, *after;

	for (size_t i = 0; i < 100; i++)
		b[i].weight = 10;
	before = build(b, 100, size);
	b[0].weight = 20;
	after = build(b, 100, size);
	for (uint32_t i = 0; i < size; i++)
		changed += before[i] != after[i] && before[i] && after[i];
	assert_true(changed <= size / 25);
	free(before);
	free(after);
	free(b);
}

static void refused(void **state)
{
	struct bn_maglev_backend b[2] = {};
	uint16_t table[251];

	assert_int_equal(bn_maglev_build(b, 2, 251, table), -EINVAL);
	assert_int_equal(bn_maglev_build(b, 0, 251, table), -EINVAL);
	assert_int_equal(bn_maglev_build(b, BN_MAGLEV_BACKENDS_MAX + 1, 251, table), -E2BIG);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(sizes),
		cmocka_unit_test(balance),
		cmocka_unit_test(removal_moves_few),
		cmocka_unit_test(order_does_not_matter),
		cmocka_unit_test(known_table),
		cmocka_unit_test(weighted_shares),
		cmocka_unit_test(reweighing_moves_few),
		cmocka_unit_test(refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
