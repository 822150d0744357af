// SPDX-License-Identifier: Apache-2.0
/* What a frontend chooses from: its lists, where they stand, and what is taken for them. */
#include "datapath/maglev.h"
#include "datapath/services-mirror.h"

#include <arpa/inet.h>
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define SLOTS 64
#define LINES 64
#define MOST (BN_SERVICE_PLACES + 8)

static struct service service = {.key = "default/web", .id = 7};

/* Everything that a test made, and a list of backends as it is written below. */
struct stage {
	struct bn_services s;
	struct frontend f;
	struct bn_frontend_spec spec;
	struct bn_backend_spec backends[MOST];
};

static int setup(void **state)
{
	struct stage *t = calloc(1, sizeof(*t));

	if (!t)
		return -1;
	t->s.config.max_slots = SLOTS;
	t->s.config.max_lines = LINES;
	bn_runs_init(&t->s.runs, SLOTS);
	bn_runs_init(&t->s.luts, LINES);
	t->spec.protocol = IPPROTO_TCP;
	t->spec.backends = t->backends;
	*state = t;
	return 0;
}

static int teardown(void **state)
{
	struct stage *t = *state;
	struct backend *b, *next;

	HASH_ITER(hh, t->s.backends, b, next) {
		HASH_DEL(t->s.backends, b);
		free(b);
	}
	free(t->s.touched);
	free(t->f.next_backends);
	free(t->f.next_weights);
	free(t->f.backends);
	free(t->f.weights);
	bn_runs_done(&t->s.runs);
	bn_runs_done(&t->s.luts);
	free(t);
	return 0;
}

/* 10.0.0.<last>:8080 with the use and the weight; its local weight is ten times that. */
static void add(struct stage *t, uint8_t last, uint8_t use, uint16_t weight)
{
	struct bn_backend_spec *b = &t->backends[t->spec.n_backends++];

	assert_true(t->spec.n_backends <= MOST);
	bn_addr_set_v4(&b->addr, htonl(10u << 24 | last));
	b->port = 8080;
	b->use = use;
	b->weight = weight;
	b->local_weight = (uint16_t)(10 * weight);
	b->state = BN_BACKEND_ACTIVE;
}

static void stage(struct stage *t)
{
	free(t->f.next_backends);
	free(t->f.next_weights);
	t->f.next_backends = NULL;
	t->f.next_weights = NULL;
	assert_int_equal(bn_choice_stage(&t->s, &service, &t->spec, &t->f), 0);
	assert_int_equal(t->f.next.id, service.id);
}

/* The list as its backends' last bytes. */
static void assert_list(const struct stage *t, const char *expected)
{
	char got[256] = "";

	for (uint32_t i = 0; i < t->f.n_next; i++) {
		size_t n = strlen(got);

		snprintf(got + n, sizeof(got) - n, i ? " %u" : "%u",
			 t->f.next_backends[i]->key.addr.b[15]);
	}
	assert_string_equal(got, expected);
}

/* As if the commit under way had been written. */
static void settle(struct stage *t)
{
	free(t->f.backends);
	free(t->f.weights);
	t->f.value = t->f.next;
	t->f.backends = t->f.next_backends;
	t->f.weights = t->f.next_weights;
	t->f.n_backends = t->f.n_next;
	t->f.next_backends = NULL;
	t->f.next_weights = NULL;
}

static void test_in_the_entry(void **state)
{
	struct stage *t = *state;

	add(t, 3, BN_USE_CLUSTER, 1);
	add(t, 1, BN_USE_CLUSTER, 1);
	add(t, 2, BN_USE_CLUSTER, 1);
	stage(t);
	assert_list(t, "1 2 3");
	assert_int_equal(t->f.next.flags, BN_SERVICE_INLINE);
	assert_int_equal(t->f.next.count, 3);
	assert_int_equal(bn_choice_places(&t->f.next), 3);
	assert_int_equal(bn_choice_take(&t->s, "web", &t->f, NULL), 0);
	assert_int_equal(t->s.runs.used, 0);
	assert_int_equal(t->s.luts.used, 0);
	for (uint32_t i = 0; i < 3; i++) {
		t->f.next_backends[i]->index = 100 + i;
		t->f.next_backends[i]->gen = 200 + i;
	}
	bn_choice_fill(&t->f);
	for (uint32_t i = 0; i < 3; i++) {
		const struct bn_service_slot *slot = &t->f.next.place[i];

		assert_int_equal(slot->backend, 100 + i);
		assert_int_equal(slot->gen, 200 + i);
		assert_int_equal(slot->port, htons(8080));
		assert_memory_equal(slot->addr, &t->f.next_backends[i]->key.addr, 16);
	}
}

static void test_no_backend(void **state)
{
	struct stage *t = *state;

	stage(t);
	assert_int_equal(t->f.next.flags, BN_SERVICE_INLINE);
	assert_int_equal(t->f.next.count, 0);
	t->spec.consistent = true;
	t->spec.local_outside = true;
	stage(t);
	assert_int_equal(t->f.next.flags, BN_SERVICE_LOCAL_OUTSIDE);
	assert_int_equal(bn_choice_places(&t->f.next), 0);
	assert_int_equal(t->f.next.lut_size, 0);
	assert_int_equal(t->f.next.local_lut_size, 0);
	assert_int_equal(bn_choice_take(&t->s, "web", &t->f, NULL), 0);
	assert_int_equal(t->s.runs.used, 0);
}

static void test_too_many_for_the_entry(void **state)
{
	struct stage *t = *state;

	for (uint8_t i = 0; i < BN_SERVICE_PLACES; i++)
		add(t, (uint8_t)(i + 1), BN_USE_CLUSTER, 1);
	stage(t);
	assert_int_equal(t->f.next.flags, BN_SERVICE_INLINE);
	add(t, 200, BN_USE_CLUSTER, 1);
	stage(t);
	assert_int_equal(t->f.next.flags, 0);
	assert_int_equal(t->f.next.count, BN_SERVICE_PLACES + 1);
	assert_int_equal(t->f.next.lut_size, 0);
	assert_int_equal(bn_choice_take(&t->s, "web", &t->f, NULL), 0);
	assert_int_equal(t->s.runs.used, bn_run_capacity(BN_SERVICE_PLACES + 1));
	bn_choice_give(&t->s, &t->f.next);
	assert_int_equal(t->s.runs.used, 0);
}

static void test_tables(void **state)
{
	struct stage *t = *state;

	t->spec.consistent = true;
	add(t, 1, BN_USE_CLUSTER, 3);
	stage(t);
	/* nothing to choose */
	assert_int_equal(t->f.next.flags, BN_SERVICE_INLINE);
	add(t, 2, BN_USE_CLUSTER, 1);
	stage(t);
	assert_int_equal(t->f.next.flags, 0);
	assert_int_equal(t->f.next.lut_size, bn_maglev_size(2));
	assert_int_equal(t->f.next_weights[0], 3);
	assert_int_equal(t->f.next_weights[1], 1);
	assert_int_equal(bn_choice_take(&t->s, "web", &t->f, NULL), 0);
	assert_true(t->s.luts.used > 0);
	bn_choice_give(&t->s, &t->f.next);
	assert_int_equal(t->s.runs.used, 0);
	assert_int_equal(t->s.luts.used, 0);
}

static void test_local(void **state)
{
	struct stage *t = *state;

	t->spec.local_inside = true;
	t->spec.consistent = true;
	add(t, 1, BN_USE_CLUSTER, 1);
	add(t, 2, BN_USE_CLUSTER | BN_USE_LOCAL, 2);
	add(t, 3, BN_USE_LOCAL, 3);
	stage(t);
	/* both lists, one after the other, each with weights of its own */
	assert_list(t, "1 2 2 3");
	assert_int_equal(t->f.next.flags, BN_SERVICE_LOCAL_INSIDE);
	assert_int_equal(t->f.next.count, 2);
	assert_int_equal(t->f.next.local_count, 2);
	assert_int_equal(bn_choice_places(&t->f.next), 4);
	assert_int_equal(t->f.next.lut_size, bn_maglev_size(2));
	assert_int_equal(t->f.next.local_lut_size, bn_maglev_size(2));
	assert_int_equal(t->f.next_weights[1], 2);
	assert_int_equal(t->f.next_weights[2], 20);
	assert_int_equal(t->f.next_weights[3], 30);
	/* where nobody's policy is Local, what is only for that is listed and has no place */
	t->spec.local_inside = false;
	stage(t);
	assert_list(t, "1 2 3");
	assert_int_equal(bn_choice_places(&t->f.next), 2);
	assert_int_equal(t->f.next.local_count, 0);
}

static void test_no_new_flows(void **state)
{
	struct stage *t = *state;

	add(t, 1, 0, 0);
	add(t, 2, BN_USE_CLUSTER, 1);
	add(t, 3, 0, 0);
	stage(t);
	assert_list(t, "2 1 3");
	assert_int_equal(t->f.next.count, 1);
	assert_int_equal(bn_choice_places(&t->f.next), 1);
}

static void test_same(void **state)
{
	struct stage *t = *state;

	t->spec.consistent = true;
	add(t, 1, BN_USE_CLUSTER, 1);
	add(t, 2, BN_USE_CLUSTER, 1);
	stage(t);
	settle(t);
	stage(t);
	assert_true(bn_choice_same(&t->f));
	/* weights are what the table is made of */
	t->backends[0].weight = 2;
	stage(t);
	assert_false(bn_choice_same(&t->f));
	t->backends[0].weight = 1;
	stage(t);
	assert_true(bn_choice_same(&t->f));
	free(t->f.weights);
	t->f.weights = NULL;
	assert_false(bn_choice_same(&t->f));
	settle(t);
	/* another backend, another policy, another affinity */
	t->backends[1].addr.b[15] = 9;
	stage(t);
	assert_false(bn_choice_same(&t->f));
	t->backends[1].addr.b[15] = 2;
	t->spec.restricted = true;
	stage(t);
	assert_false(bn_choice_same(&t->f));
	t->spec.restricted = false;
	t->spec.affinity_seconds = 5;
	stage(t);
	assert_false(bn_choice_same(&t->f));
	t->spec.affinity_seconds = 0;
	/* chosen at random, weights are nothing */
	t->spec.consistent = false;
	stage(t);
	assert_false(bn_choice_same(&t->f));
	settle(t);
	t->backends[0].weight = 2;
	stage(t);
	assert_true(bn_choice_same(&t->f));
}

static void fill(struct bn_runs *runs)
{
	uint32_t first;

	while (bn_runs_take(runs, 1, &first) == 0)
		;
}

static void test_no_room(void **state)
{
	struct bn_error err = BN_ERROR_INIT;
	struct stage *t = *state;
	uint64_t taken;

	t->spec.consistent = true;
	for (uint8_t i = 0; i < 4; i++)
		add(t, (uint8_t)(i + 1), BN_USE_CLUSTER, 1);
	stage(t);
	/* all lines taken: the places are given back */
	fill(&t->s.luts);
	taken = t->s.luts.used;
	assert_int_equal(bn_choice_take(&t->s, "default/web", &t->f, &err), -ENOSPC);
	assert_non_null(strstr(bn_error_text(&err), "default/web"));
	assert_non_null(strstr(bn_error_text(&err), "maps.maglev"));
	assert_int_equal(t->s.runs.used, 0);
	bn_error_done(&err);
	err = (struct bn_error)BN_ERROR_INIT;
	fill(&t->s.runs);
	assert_int_equal(bn_choice_take(&t->s, "default/web", &t->f, &err), -ENOSPC);
	assert_non_null(strstr(bn_error_text(&err), "4 backends"));
	assert_non_null(strstr(bn_error_text(&err), "of 64 places are taken"));
	assert_non_null(strstr(bn_error_text(&err), "maps.service-slots"));
	assert_int_equal(t->s.luts.used, taken);
	bn_error_done(&err);
}

/* What a predecessor left may be anything. */
static void test_sound(void **state)
{
	struct stage *t = *state;
	struct bn_service v = {.flags = BN_SERVICE_INLINE, .count = BN_SERVICE_PLACES};

	assert_true(bn_choice_sound(&t->s, &v));
	v.count++;
	assert_false(bn_choice_sound(&t->s, &v));
	v = (struct bn_service){.first = SLOTS - 6, .count = 4, .local_count = 2};
	assert_true(bn_choice_sound(&t->s, &v));
	v.local_count++;
	assert_false(bn_choice_sound(&t->s, &v));
	v.first = UINT32_MAX;
	assert_false(bn_choice_sound(&t->s, &v));
	v = (struct bn_service){.lut = LINES - 1, .lut_size = BN_MAGLEV_LINE};
	assert_true(bn_choice_sound(&t->s, &v));
	v.lut_size++;
	assert_false(bn_choice_sound(&t->s, &v));
	v = (struct bn_service){.local_lut = LINES, .local_lut_size = 1};
	assert_false(bn_choice_sound(&t->s, &v));
}

/* Claimed, a run is nobody else's; given back, it is again. */
static void test_claim(void **state)
{
	struct stage *t = *state;
	const struct bn_service v = {.first = 0, .count = 8, .lut = 0, .lut_size = BN_MAGLEV_LINE};
	uint32_t first;

	bn_choice_claim(&t->s, &v);
	assert_int_equal(bn_runs_claimed(&t->s.runs), 0);
	assert_int_equal(bn_runs_claimed(&t->s.luts), 0);
	assert_int_equal(bn_runs_take(&t->s.runs, 8, &first), 0);
	assert_in_range(first, 8, SLOTS - 8);
	assert_int_equal(bn_runs_take(&t->s.luts, 1, &first), 0);
	assert_in_range(first, 1, LINES - 1);
	bn_choice_give(&t->s, &v);
	bn_runs_settle(&t->s.runs);
	assert_int_equal(bn_runs_take(&t->s.runs, 8, &first), 0);
	assert_int_equal(first, 0);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(test_in_the_entry), TEST(test_no_backend), TEST(test_too_many_for_the_entry),
		TEST(test_tables),       TEST(test_local),      TEST(test_no_new_flows),
		TEST(test_same),         TEST(test_no_room),    TEST(test_sound),
		TEST(test_claim),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
