// SPDX-License-Identifier: Apache-2.0
/* Runs laid out: which form they take and what they say, and as one in the maps' memory. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

#include "error.h"
#include "policy-run.h"
#include "policy/ports.h"
#include "policy/space.h"

#include <bpf/bpf.h>
#include <bpfnet/policy-run.h>
#include <errno.h>
#include <string.h>

#define KEYS (BN_PORT_KEY_MAX + 1)
#define TCP_LAST 0xffff
#define OTHER BN_PORT_KEY_MAX

/* n parts as far apart from each other as fit in front of the last, which begins at `last`. */
static struct bn_policy_part *spread(size_t n, uint32_t last)
{
	struct bn_policy_part *parts = calloc(n, sizeof(*parts));

	assert_non_null(parts);
	for (size_t i = 0; i < n; i++)
		parts[i] = (struct bn_policy_part){n > 1 ? (uint64_t)last * i / (n - 1) : 0,
						   BN_VERDICT_ALLOW | (uint32_t)(i + 1)};
	return parts;
}

static void expect_said(const struct bn_policy_run *run, const struct bn_policy_part *parts,
			size_t n)
{
	for (size_t i = 0; i < n; i += 1 + n / 200) {
		uint32_t end = i + 1 < n ? parts[i + 1].from : KEYS;

		assert_int_equal(run_verdict(run->lines, run->name, parts[i].from),
				 parts[i].verdict);
		assert_int_equal(run_verdict(run->lines, run->name, end - 1), parts[i].verdict);
	}
	assert_int_equal(run_verdict(run->lines, run->name, OTHER), parts[n - 1].verdict);
}

/* An index is taken where it needs no more lines than parts do. */
static void test_forms(void **state)
{
	static const struct {
		size_t n;
		uint32_t last, lines, index;
	} cases[] = {
		{1, 0, 1, 0},
		{8, 7, 1, 0},
		{9, 8, 2, 1},
		{9, 255, 2, 1},
		{9, 256, 2, 0},
		{16, 255, 2, 1},
		{17, 255, 4, 1},
		{32, 511, 4, 2},
		{33, 512, 8, 4},
		{2048, TCP_LAST, 256, 0},
		{2049, TCP_LAST, 512, 256},
		{2049, TCP_LAST + 1, 512, 0},
		{8192, OTHER, 1024, 0},
		{8193, OTHER, 2048, 1024},
		{10000, 11000, 1024, 64},
		{KEYS, OTHER, 16384, 1024},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct bn_policy_part *parts = spread(cases[i].n, cases[i].last);
		struct bn_policy_run run;

		assert_int_equal(bn_policy_run_make(&run, parts, cases[i].n), 0);
		if (run.n != cases[i].lines || bn_policy_run_index(run.name) != cases[i].index)
			fail_msg("%zu parts up to %#x: %u lines, %u of them index", cases[i].n,
				 cases[i].last, run.n, bn_policy_run_index(run.name));
		assert_int_equal(bn_policy_run_lines(run.name), run.n);
		assert_int_equal(bn_policy_run_first(run.name), 0);
		expect_said(&run, parts, cases[i].n);
		bn_policy_run_done(&run);
		free(parts);
	}
}

/* Parts that begin anywhere, dense here and sparse there. */
static void test_random(void **state)
{
	for (unsigned int round = 0; round < 100; round++) {
		static struct bn_policy_part parts[4096];
		uint32_t from = 0, most = 1u << (1 + (unsigned int)rand() % 7);
		struct bn_policy_run run;
		size_t n = 0;

		while (n < 1 + round * 40 && from < KEYS) {
			parts[n] = (struct bn_policy_part){from, (uint32_t)rand() | 1};
			n++;
			from += 1 + (uint32_t)rand() % (rand() % 8 ? most : 16 * most);
		}
		assert_int_equal(bn_policy_run_make(&run, parts, n), 0);
		expect_said(&run, parts, n);
		bn_policy_run_done(&run);
	}
}

static int array(size_t size, uint32_t n)
{
	LIBBPF_OPTS(bpf_map_create_opts, mapped, .map_flags = BPF_F_MMAPABLE);
	int fd = bpf_map_create(BPF_MAP_TYPE_ARRAY, "a", 4, (uint32_t)size, n, &mapped);

	assert_true(fd >= 0);
	return fd;
}

/* Equal runs are one, in use and after a restart; one that does not fit is refused by its lines. */
static void test_space(void **state)
{
	const struct bn_space_config config = {
		.tables_fd = array(sizeof(struct bn_policy_table), 4),
		.pages_fd = array(sizeof(struct bn_policy_page), 8),
		.ports_fd = array(sizeof(struct bn_policy_line), 1500),
		.tables = 4,
		.pages = 8,
		.lines = 1500,
	};
	struct bn_policy_part *parts = spread(10000, 11000), *few = spread(3, 100);
	struct bn_error err = BN_ERROR_INIT;
	uint32_t small, run, again, table;
	struct bn_policy_page page, bad;
	struct bn_policy_table t;
	struct bn_space *space;

	assert_int_equal(bn_space_open(&config, &space, &err), 0);
	assert_int_equal(bn_space_run(space, few, 3, &small, &err), 0);
	assert_int_equal(bn_space_run(space, parts, 10000, &run, &err), 0);
	assert_int_equal(bn_policy_run_index(run), 64);
	assert_int_equal(bn_space_run(space, parts, 10000, &again, &err), 0);
	assert_int_equal(again, run);
	assert_int_equal(bn_space_use(space).lines, 1024 + 1 + 1);
	parts[9999].verdict++;
	assert_int_equal(bn_space_run(space, parts, 10000, &again, &err), -ENOSPC);
	assert_non_null(strstr(bn_error_text(&err), "1024 lines of ports"));
	bn_error_done(&err);
	parts[9999].verdict--;
	assert_int_equal(bn_space_table(space, &run, 1, small, &table, &err), 0);
	bn_space_close(space);

	/* a name of one line, which is its index: the verdicts would be another run's */
	assert_int_equal(bpf_map_lookup_elem(config.tables_fd, &table, &t), 0);
	assert_int_equal(bpf_map_lookup_elem(config.pages_fd, &t.page[0], &page), 0);
	bad = page;
	bad.run[0] = 1u << BN_POLICY_RUN_INDEX_SHIFT | bn_policy_run_first(run);
	assert_int_equal(bpf_map_update_elem(config.pages_fd, &t.page[0], &bad, BPF_ANY), 0);
	assert_int_equal(bn_space_open(&config, &space, &err), 0);
	assert_int_equal(bn_space_found(space, table), -EINVAL);
	bn_space_close(space);
	assert_int_equal(bpf_map_update_elem(config.pages_fd, &t.page[0], &page, BPF_ANY), 0);

	assert_int_equal(bn_space_open(&config, &space, &err), 0);
	assert_int_equal(bn_space_found(space, table), 0);
	assert_int_equal(bn_space_run(space, parts, 10000, &again, &err), 0);
	assert_int_equal(again, run);
	assert_int_equal(bn_space_use(space).lines, 1024 + 1 + 1);
	bn_space_close(space);
	free(parts);
	free(few);
	close(config.tables_fd);
	close(config.pages_fd);
	close(config.ports_fd);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_forms),
		cmocka_unit_test(test_random),
		cmocka_unit_test(test_space),
	};

	return cmocka_run_group_tests_name("policy-run", tests, NULL, NULL);
}
