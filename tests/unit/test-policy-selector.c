// SPDX-License-Identifier: Apache-2.0
/* Label selectors: each operator on a label that is there, is not there, or has another value. */
#include "policy/selector.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static const struct bn_label labels[] = {{"app", "web"}, {"tier", ""}, {"example.org/env", "prod"}};

static const struct {
	struct bn_requirement requirement;
	bool holds;
} cases[] = {
#define VALUES(...) \
	.values = (const char *const[]){__VA_ARGS__}, \
	.n_values = sizeof((const char *const[]){__VA_ARGS__}) / sizeof(char *)
	{{.key = "app", .op = BN_IN, VALUES("web")}, true},
	{{.key = "app", .op = BN_IN, VALUES("db", "web")}, true},
	{{.key = "app", .op = BN_IN, VALUES("db", "cache")}, false},
	{{.key = "app", .op = BN_IN, VALUES("we", "webs", "WEB", "")}, false},
	{{.key = "tier", .op = BN_IN, VALUES("")}, true},
	{{.key = "tier", .op = BN_IN, VALUES("front")}, false},
	{{.key = "none", .op = BN_IN, VALUES("web", "")}, false},
	{{.key = "App", .op = BN_IN, VALUES("web")}, false},
	{{.key = "env", .op = BN_IN, VALUES("prod")}, false},
	{{.key = "example.org/env", .op = BN_IN, VALUES("prod")}, true},
	{{.key = "app", .op = BN_NOT_IN, VALUES("web")}, false},
	{{.key = "app", .op = BN_NOT_IN, VALUES("db", "web")}, false},
	{{.key = "app", .op = BN_NOT_IN, VALUES("db")}, true},
	{{.key = "tier", .op = BN_NOT_IN, VALUES("")}, false},
	{{.key = "none", .op = BN_NOT_IN, VALUES("web")}, true},
	{{.key = "none", .op = BN_NOT_IN, VALUES("")}, true},
	{{.key = "app", .op = BN_EXISTS}, true},
	{{.key = "tier", .op = BN_EXISTS}, true},
	{{.key = "none", .op = BN_EXISTS}, false},
	{{.key = "app", .op = BN_DOES_NOT_EXIST}, false},
	{{.key = "tier", .op = BN_DOES_NOT_EXIST}, false},
	{{.key = "none", .op = BN_DOES_NOT_EXIST}, true},
};
#define CASES (sizeof(cases) / sizeof(cases[0]))

static bool matches(const struct bn_requirement *requirements, size_t n)
{
	return bn_selector_matches(&(struct bn_selector){requirements, n}, labels,
				   sizeof(labels) / sizeof(labels[0]), NULL);
}

static void test_operators(void **state)
{
	for (size_t i = 0; i < CASES; i++) {
		if (matches(&cases[i].requirement, 1) != cases[i].holds)
			fail_msg("case %zu: %s, operator %u", i, cases[i].requirement.key,
				 cases[i].requirement.op);
	}
}

static void test_together(void **state)
{
	for (size_t i = 0; i < CASES; i++) {
		for (size_t k = 0; k < CASES; k++) {
			struct bn_requirement both[] = {cases[i].requirement, cases[k].requirement};

			assert_int_equal(matches(both, 2), cases[i].holds && cases[k].holds);
		}
	}
}

static void test_empty(void **state)
{
	const struct bn_selector all = {0};

	assert_true(bn_selector_matches(&all, NULL, 0, NULL));
	assert_true(bn_selector_matches(&all, labels, 3, NULL));
	assert_true(bn_selector_matches(&all, NULL, 0, "default"));
}

static void test_no_labels(void **state)
{
	for (size_t i = 0; i < CASES; i++) {
		const struct bn_requirement *r = &cases[i].requirement;
		bool negative = r->op == BN_NOT_IN || r->op == BN_DOES_NOT_EXIST;

		assert_int_equal(bn_selector_matches(&(struct bn_selector){r, 1}, NULL, 0, NULL),
				 negative);
	}
}

/* A namespace has its name as a label, unless its labels say otherwise; a pod has not. */
static void test_namespace(void **state)
{
	static const char key[] = "kubernetes.io/metadata.name";
	const struct bn_requirement in = {.key = key, .op = BN_IN, VALUES("red")};
	const struct bn_requirement not_in = {.key = key, .op = BN_NOT_IN, VALUES("red")};
	const struct bn_requirement exists = {.key = key, .op = BN_EXISTS};
	const struct bn_label other = {key, "blue"};

	assert_true(bn_selector_matches(&(struct bn_selector){&in, 1}, NULL, 0, "red"));
	assert_false(bn_selector_matches(&(struct bn_selector){&in, 1}, NULL, 0, "blue"));
	assert_false(bn_selector_matches(&(struct bn_selector){&in, 1}, NULL, 0, NULL));
	assert_false(bn_selector_matches(&(struct bn_selector){&not_in, 1}, NULL, 0, "red"));
	assert_true(bn_selector_matches(&(struct bn_selector){&not_in, 1}, NULL, 0, "blue"));
	assert_true(bn_selector_matches(&(struct bn_selector){&not_in, 1}, NULL, 0, NULL));
	assert_true(bn_selector_matches(&(struct bn_selector){&exists, 1}, NULL, 0, "red"));
	assert_false(bn_selector_matches(&(struct bn_selector){&exists, 1}, NULL, 0, NULL));
	/* what a manifest says instead does not count; a pod may have any label */
	assert_true(bn_selector_matches(&(struct bn_selector){&in, 1}, &other, 1, "red"));
	assert_false(bn_selector_matches(&(struct bn_selector){&in, 1}, &other, 1, NULL));
}

/* Different requirements have different texts, and a copy has the same and lives on its own. */
static void test_text(void **state)
{
	struct bn_arena arena = {0};
	char *texts[CASES];

	for (size_t i = 0; i < CASES; i++) {
		struct bn_requirement r = cases[i].requirement;
		const char *values[4];
		struct bn_selector copy;
		char held[4][16], *text;

		for (size_t k = 0; k < r.n_values; k++) {
			snprintf(held[k], sizeof(held[k]), "%s", r.values[k]);
			values[k] = held[k];
		}
		r.values = values;
		assert_int_equal(bn_selector_copy(&arena, &(struct bn_selector){&r, 1}, &copy), 0);
		memset(held, 'x', sizeof(held));
		memset(&r, 0, sizeof(r));
		texts[i] = bn_selector_text(&(struct bn_selector){&cases[i].requirement, 1});
		text = bn_selector_text(&copy);
		assert_non_null(texts[i]);
		assert_string_equal(text, texts[i]);
		free(text);
	}
	for (size_t i = 0; i < CASES; i++) {
		for (size_t k = i + 1; k < CASES; k++)
			assert_string_not_equal(texts[i], texts[k]);
	}
	for (size_t i = 0; i < CASES; i++)
		free(texts[i]);
	bn_arena_done(&arena);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_operators), cmocka_unit_test(test_together),
		cmocka_unit_test(test_empty),     cmocka_unit_test(test_no_labels),
		cmocka_unit_test(test_namespace), cmocka_unit_test(test_text),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
