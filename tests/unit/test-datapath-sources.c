// SPDX-License-Identifier: Apache-2.0
/* Source ranges and answering backends in a map of the kernel: added, kept, trimmed, pruned. */
#include "datapath/sources.h"

#include <arpa/inet.h>
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

static int open_map(bool answers, void **state)
{
	LIBBPF_OPTS(bpf_map_create_opts, opts, .map_flags = BPF_F_NO_PREALLOC);
	struct bn_sources *s;

	if (geteuid() != 0)
		return 0;
	fd = bpf_map_create(BPF_MAP_TYPE_LPM_TRIE, "test_sources", sizeof(struct bn_source_key),
			    sizeof(struct bn_source), MAX, &opts);
	if (fd < 0 || bn_sources_new(fd, answers, &s, NULL))
		return -1;
	*state = s;
	return 0;
}

static int setup(void **state)
{
	return open_map(false, state);
}

static int setup_answers(void **state)
{
	return open_map(true, state);
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

/* On the port that add_backends() gives the first one, or on a later one's. */
static bool answers_on(uint32_t id, const char *address, uint16_t port)
{
	struct bn_source_key key = {.prefixlen = BN_SOURCE_WHOLE,
				    .service = id | BN_SOURCE_ANSWERS,
				    .port = htons(port),
				    .protocol = IPPROTO_TCP};
	struct bn_source value;
	union bn_addr addr;

	assert_int_equal(bn_addr_parse(address, &addr, NULL), 0);
	memcpy(key.addr, &addr, sizeof(key.addr));
	return !bpf_map_lookup_elem(fd, &key, &value);
}

#define FIRST_PORT 8080

static bool answers(uint32_t id, const char *address)
{
	for (uint16_t port = FIRST_PORT; port < FIRST_PORT + 16; port++) {
		if (answers_on(id, address, port))
			return true;
	}
	return false;
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

struct backend {
	const char *address;
	bool local;
	uint8_t state, use;
	bool nameless; /* its node is */
};

#define HERE(address) {address, true, BN_BACKEND_ACTIVE, BN_USE_CLUSTER | BN_USE_LOCAL}
#define ELSEWHERE(address) {address, false, BN_BACKEND_ACTIVE, BN_USE_CLUSTER}
#define LEAVING(address) {address, true, BN_BACKEND_TERMINATING, 0}
#define SOMEWHERE(address) {address, false, BN_BACKEND_ACTIVE, BN_USE_CLUSTER, true}

/* Frontends of these kinds with the same backends, as the objects give them. */
static int add_backends(struct bn_sources *s, uint32_t id, const uint8_t *kinds, size_t n_kinds,
			const struct backend *list, size_t n, struct bn_error *err)
{
	struct bn_frontend_spec frontends[BN_FRONTEND_MAX] = {0};
	struct bn_backend_spec backends[16] = {0};

	for (size_t i = 0; i < n; i++) {
		assert_int_equal(bn_addr_parse(list[i].address, &backends[i].addr, NULL), 0);
		backends[i].port = (uint16_t)(FIRST_PORT + i);
		backends[i].local = list[i].local;
		backends[i].node = list[i].nameless ? NULL : list[i].local ? "here" : "elsewhere";
		backends[i].state = list[i].state;
		backends[i].use = list[i].use;
	}
	for (size_t i = 0; i < n_kinds; i++)
		frontends[i] = (struct bn_frontend_spec){.kind = kinds[i],
							 .protocol = IPPROTO_TCP,
							 .backends = backends,
							 .n_backends = n};
	return bn_sources_add(s, id,
			      &(struct bn_service_spec){
				      .namespace = "default",
				      .name = "web",
				      .frontends = frontends,
				      .n_frontends = n_kinds,
			      },
			      err);
}

#define N(array) (sizeof(array) / sizeof((array)[0]))
static const uint8_t kinds[] = {BN_FRONTEND_CLUSTER_IP, BN_FRONTEND_NODE_PORT};

static void answering(void **state)
{
	/* fd00:244::3 is one address with two ports */
	static const struct backend first[] = {HERE("10.244.0.1"),     ELSEWHERE("10.244.1.1"),
					       LEAVING("fd00:244::2"), HERE("fd00:244::3"),
					       HERE("fd00:244::3"),    SOMEWHERE("10.244.0.7")};
	static const struct backend then[] = {HERE("10.244.0.9"), ELSEWHERE("fd00:244::3")};
	struct bn_sources *s = *state;

	if (!s)
		skip();
	assert_int_equal(add_backends(s, 5, kinds, N(kinds), first, N(first), NULL), 0);
	assert_true(answers(5, "10.244.0.1"));
	bn_sources_trim(s, 5);
	assert_true(answers(5, "10.244.0.1"));
	assert_true(answers(5, "10.244.0.7"));
	assert_true(answers(5, "fd00:244::2"));
	assert_true(answers(5, "fd00:244::3"));
	assert_false(answers(5, "10.244.1.1"));
	assert_false(answers(6, "10.244.0.1"));
	assert_false(admitted(5, "10.244.0.1"));
	/* each by its port */
	assert_true(answers_on(5, "fd00:244::3", FIRST_PORT + 3));
	assert_true(answers_on(5, "fd00:244::3", FIRST_PORT + 4));
	assert_false(answers_on(5, "fd00:244::3", FIRST_PORT));
	assert_int_equal(entries(), 5);
	/* in between, those of before and after do */
	assert_int_equal(add_backends(s, 5, kinds, N(kinds), then, N(then), NULL), 0);
	assert_true(answers(5, "fd00:244::3"));
	assert_true(answers(5, "10.244.0.9"));
	bn_sources_revert(s, 5);
	assert_true(answers(5, "fd00:244::3"));
	assert_false(answers(5, "10.244.0.9"));
	/* one that is on another node now goes */
	assert_int_equal(add_backends(s, 5, kinds, N(kinds), then, N(then), NULL), 0);
	bn_sources_trim(s, 5);
	assert_false(answers(5, "fd00:244::3"));
	assert_true(answers(5, "10.244.0.9"));
	assert_int_equal(entries(), 1);
	bn_sources_remove(s, 5);
	assert_int_equal(entries(), 0);
}

/* Everything that another node may have been asked for. */
static void answering_for(void **state)
{
	static const struct backend list[] = {HERE("10.244.0.1")};
	struct bn_sources *s = *state;

	if (!s)
		skip();
	for (uint8_t kind = 0; kind < BN_FRONTEND_MAX; kind++) {
		assert_int_equal(add_backends(s, kind + 1u, &kind, 1, list, N(list), NULL), 0);
		bn_sources_trim(s, kind + 1u);
		assert_int_equal(answers(kind + 1u, "10.244.0.1"), kind != BN_FRONTEND_HOST_PORT);
	}
}

static void answering_to_nobody(void **state)
{
	static const struct backend list[] = {HERE("10.244.0.1"), LEAVING("10.244.0.2")};
	struct bn_sources *s = *state;

	if (!s)
		skip();
	assert_int_equal(add_backends(s, 5, kinds, N(kinds), list, N(list), NULL), 0);
	bn_sources_trim(s, 5);
	assert_int_equal(entries(), 0);
}

static void too_many_answering(void **state)
{
	static const struct backend list[] = {
		HERE("10.244.0.1"), HERE("10.244.0.2"), HERE("10.244.0.3"),
		HERE("10.244.0.4"), HERE("10.244.0.5"), HERE("10.244.0.6"),
		HERE("10.244.0.7"), HERE("10.244.0.8"), HERE("10.244.0.9"),
	};
	struct bn_error err = BN_ERROR_INIT;
	struct bn_sources *s = *state;

	if (!s)
		skip();
	assert_int_equal(add_backends(s, 5, kinds, N(kinds), list, N(list), &err), -ENOSPC);
	assert_non_null(
		strstr(bn_error_text(&err), "9 source ranges and local backends do not fit, 8"));
	bn_error_done(&err);
	assert_int_equal(entries(), 0);
}

/* A predecessor of another mode has left some, also of a service that is still there. */
static void prune_answers(void **state)
{
	static const struct backend list[] = {HERE("10.244.0.1")};
	struct bn_sources *s = *state, *then;

	if (!s)
		skip();
	assert_int_equal(add_backends(s, 5, kinds, N(kinds), list, N(list), NULL), 0);
	bn_sources_trim(s, 5);
	assert_int_equal(bn_sources_prune(s), 0);
	assert_true(answers(5, "10.244.0.1"));
	assert_int_equal(bn_sources_new(fd, false, &then, NULL), 0);
	assert_int_equal(add_backends(then, 5, kinds, N(kinds), list, N(list), NULL), 0);
	bn_sources_trim(then, 5);
	assert_int_equal(bn_sources_prune(then), 0);
	assert_false(answers(5, "10.244.0.1"));
	bn_sources_free(then);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(change, setup, teardown),
		cmocka_unit_test_setup_teardown(failure, setup, teardown),
		cmocka_unit_test_setup_teardown(too_many, setup, teardown),
		cmocka_unit_test_setup_teardown(prune, setup, teardown),
		cmocka_unit_test_setup_teardown(answering, setup_answers, teardown),
		cmocka_unit_test_setup_teardown(answering_for, setup_answers, teardown),
		cmocka_unit_test_setup_teardown(answering_to_nobody, setup, teardown),
		cmocka_unit_test_setup_teardown(too_many_answering, setup_answers, teardown),
		cmocka_unit_test_setup_teardown(prune_answers, setup_answers, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
