// SPDX-License-Identifier: Apache-2.0
/* Source ranges of services in a map of the kernel: added, kept over a failure, trimmed, pruned. */
#include "datapath/sources.h"

#include <bpf/bpf.h>
#include <bpfnet/access.h>
#include <bpfnet/source.h>
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#define MAX 8

static int fd = -1;

static int setup(void **state)
{
	LIBBPF_OPTS(bpf_map_create_opts, opts, .map_flags = BPF_F_NO_PREALLOC);
	struct bn_sources *s;

	if (geteuid() != 0)
		return 0;
	fd = bpf_map_create(BPF_MAP_TYPE_LPM_TRIE, "test_sources", sizeof(struct bn_source_key),
			    sizeof(struct bn_source), MAX, &opts);
	if (fd < 0 || bn_sources_new(fd, &s, NULL))
		return -1;
	*state = s;
	return 0;
}

static int teardown(void **state)
{
	bn_sources_free(*state);
	if (fd >= 0)
		close(fd);
	return 0;
}

static bool admitted(uint32_t id, const char *address)
{
	struct bn_source_key key = {.prefixlen = BN_SOURCE_PREFIX(128), .service = id};
	struct bn_source value;
	union bn_addr addr;

	assert_int_equal(bn_addr_parse(address, &addr, NULL), 0);
	memcpy(key.addr, &addr, sizeof(key.addr));
	return !bpf_map_lookup_elem(fd, &key, &value);
}

static uint64_t entries(void)
{
	uint64_t n;

	assert_int_equal(bn_map_count(fd, &n), 0);
	return n;
}

/* Two frontends, one a family, as the objects give them. */
static int add(struct bn_sources *s, uint32_t id, const char *const *ranges, struct bn_error *err)
{
	struct bn_cidr v4[16], v6[16], cidr;
	size_t n4 = 0, n6 = 0;

	for (size_t i = 0; ranges[i]; i++) {
		assert_int_equal(bn_cidr_parse(ranges[i], &cidr), 0);
		if (cidr.family == BN_IPV4)
			v4[n4++] = cidr;
		else
			v6[n6++] = cidr;
	}
	return bn_sources_add(s, id,
			      &(struct bn_service_spec){
				      .namespace = "default",
				      .name = "web",
				      .frontends =
					      (struct bn_frontend_spec[]){
						      {.source_ranges = v4, .n_source_ranges = n4},
						      {.source_ranges = v6, .n_source_ranges = n6},
					      },
				      .n_frontends = 2,
			      },
			      err);
}

#define RANGES(...) ((const char *const[]){__VA_ARGS__, NULL})
#define NOTHING ((const char *const[]){NULL})

static void change(void **state)
{
	struct bn_sources *s = *state;

	if (!s)
		skip();
	assert_int_equal(add(s, 5, RANGES("10.0.0.0/8", "fd00::/16", "10.0.0.0/8"), NULL), 0);
	bn_sources_trim(s, 5);
	assert_int_equal(entries(), 2);
	assert_true(admitted(5, "10.1.2.3"));
	assert_true(admitted(5, "fd00::1"));
	assert_false(admitted(5, "11.0.0.1"));
	assert_false(admitted(6, "10.1.2.3"));
	/* in between, who may before or after may */
	assert_int_equal(add(s, 5, RANGES("11.0.0.0/8", "fd00::/16"), NULL), 0);
	assert_true(admitted(5, "10.1.2.3"));
	assert_true(admitted(5, "11.0.0.1"));
	bn_sources_trim(s, 5);
	assert_false(admitted(5, "10.1.2.3"));
	assert_true(admitted(5, "fd00::1"));
	assert_int_equal(entries(), 2);
	/* 0.0.0.0/0 is IPv4 alone */
	assert_int_equal(add(s, 5, RANGES("0.0.0.0/0"), NULL), 0);
	bn_sources_trim(s, 5);
	assert_true(admitted(5, "255.1.2.3"));
	assert_false(admitted(5, "fd00::1"));
	assert_int_equal(add(s, 5, NOTHING, NULL), 0);
	bn_sources_trim(s, 5);
	assert_int_equal(entries(), 0);
}

static void failure(void **state)
{
	struct bn_sources *s = *state;

	if (!s)
		skip();
	assert_int_equal(add(s, 5, RANGES("10.0.0.0/8"), NULL), 0);
	bn_sources_trim(s, 5);
	assert_int_equal(add(s, 5, RANGES("11.0.0.0/8"), NULL), 0);
	bn_sources_revert(s, 5);
	assert_true(admitted(5, "10.1.2.3"));
	assert_false(admitted(5, "11.0.0.1"));
	bn_sources_remove(s, 5);
	bn_sources_remove(s, 5);
	assert_int_equal(entries(), 0);
}

static void too_many(void **state)
{
	struct bn_error err = BN_ERROR_INIT;
	struct bn_sources *s = *state;

	if (!s)
		skip();
	assert_int_equal(add(s, 5, RANGES("10.0.0.0/8"), NULL), 0);
	bn_sources_trim(s, 5);
	assert_int_equal(add(s, 6,
			     RANGES("1.0.0.0/8", "2.0.0.0/8", "3.0.0.0/8", "4.0.0.0/8", "5.0.0.0/8",
				    "6.0.0.0/8", "7.0.0.0/8", "8.0.0.0/8"),
			     &err),
			 -ENOSPC);
	assert_non_null(strstr(bn_error_text(&err), "8 source ranges do not fit, 8"));
	bn_error_done(&err);
	assert_int_equal(entries(), 1);
	assert_true(admitted(5, "10.1.2.3"));
}

/* What a predecessor left of a service that is there no more. */
static void prune(void **state)
{
	struct bn_source_key key = {.prefixlen = BN_SOURCE_PREFIX(0), .service = 9};
	struct bn_source value = {0};
	struct bn_sources *s = *state;

	if (!s)
		skip();
	assert_int_equal(bpf_map_update_elem(fd, &key, &value, BPF_ANY), 0);
	assert_int_equal(add(s, 5, RANGES("10.0.0.0/8"), NULL), 0);
	bn_sources_trim(s, 5);
	assert_int_equal(bn_sources_prune(s), 0);
	assert_false(admitted(9, "10.1.2.3"));
	assert_true(admitted(5, "10.1.2.3"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(change, setup, teardown),
		cmocka_unit_test_setup_teardown(failure, setup, teardown),
		cmocka_unit_test_setup_teardown(too_many, setup, teardown),
		cmocka_unit_test_setup_teardown(prune, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
