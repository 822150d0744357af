// SPDX-License-Identifier: Apache-2.0
/* Runs of places: none overlaps another, and what is free side by side is one. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "datapath/runs.h"

#include <errno.h>
#include <string.h>

#define PLACES 256
#define HELD 64

/* Taken, given back and settled at random: every place is one run's. */
static void test_random(void **state)
{
	for (unsigned int round = 0; round < 200; round++) {
		struct bn_runs runs;
		struct {
			uint32_t first, n;
		} held[HELD] = {{0}};
		uint8_t owner[PLACES] = {0};
		uint64_t used = 0;

		srand(round);
		bn_runs_init(&runs, PLACES);
		for (int step = 0; step < 400; step++) {
			size_t i = (size_t)rand() % HELD;
			uint32_t capacity = bn_run_capacity(held[i].n);

			if (held[i].n) {
				memset(&owner[held[i].first], 0, capacity);
				bn_runs_give(&runs, held[i].first, held[i].n);
				used -= capacity;
				held[i].n = 0;
			} else {
				uint32_t n = 1u + (uint32_t)rand() % 40;

				if (!bn_runs_take(&runs, n, &held[i].first)) {
					held[i].n = n;
					capacity = bn_run_capacity(n);
					assert_true(held[i].first + capacity <= PLACES);
					for (uint32_t k = 0; k < capacity; k++)
						assert_int_equal(owner[held[i].first + k]++, 0);
					used += capacity;
				}
			}
			assert_int_equal(runs.used, used);
			if (!(rand() % 8))
				bn_runs_settle(&runs);
		}
		/* all of it given back is all there was */
		for (size_t i = 0; i < HELD; i++)
			bn_runs_give(&runs, held[i].first, held[i].n);
		bn_runs_settle(&runs);
		assert_int_equal(bn_runs_take(&runs, PLACES, &held[0].first), 0);
		assert_int_equal(held[0].first, 0);
		bn_runs_done(&runs);
	}
}

/* What stands in the map from before, and the room between. */
static void test_found(void **state)
{
	struct bn_runs runs, copy;
	uint32_t first;

	bn_runs_init(&runs, 64);
	bn_runs_claim(&runs, 0, 1);
	bn_runs_claim(&runs, 16, 8);
	assert_int_equal(bn_runs_claimed(&runs), 0);
	/* in the gap, not behind */
	assert_int_equal(bn_runs_take(&runs, 1, &first), 0);
	assert_true(first < 16);
	assert_int_equal(bn_runs_copy(&copy, &runs), 0);
	for (int i = 0; i < 2; i++) {
		struct bn_runs *r = i ? &copy : &runs;

		assert_int_equal(bn_runs_take(r, 32, &first), 0);
		assert_int_equal(first, 24);
		assert_int_equal(bn_runs_take(r, 16, &first), -ENOSPC);
	}
	bn_runs_grow(&copy, 16);
	assert_int_equal(copy.size, 24 + 32 + 16);
	assert_int_equal(bn_runs_take(&copy, 16, &first), 0);
	assert_int_equal(first, 56);
	bn_runs_done(&runs);
	bn_runs_done(&copy);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_random),
		cmocka_unit_test(test_found),
	};

	return cmocka_run_group_tests_name("runs", tests, NULL, NULL);
}
