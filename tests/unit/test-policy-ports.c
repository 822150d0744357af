// SPDX-License-Identifier: Apache-2.0
/* Rules' ports to parts: against a line that is painted point by point, and cases by hand. */
#include "policy/ports.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define KEY(protocol, port) bn_policy_key(BN_POLICY_##protocol, port)
#define RANGE(protocol, first, last) {KEY(protocol, first), KEY(protocol, last)}

static void expect(const struct bn_port_rule *rules, size_t n, uint32_t otherwise,
		   const struct bn_policy_part *want, size_t n_want)
{
	struct bn_policy_part *parts = NULL;
	size_t n_parts = 0;

	assert_int_equal(bn_ports_compile(rules, n, otherwise, &parts, &n_parts), 0);
	for (size_t i = 0; i < n_parts && i < n_want; i++) {
		if (parts[i].from != want[i].from || parts[i].verdict != want[i].verdict)
			fail_msg("part %zu: %#x from %#x, should be %#x from %#x", i,
				 parts[i].verdict, parts[i].from, want[i].verdict, want[i].from);
	}
	assert_int_equal(n_parts, n_want);
	free(parts);
}

#define RULE(verdict_, ...) \
	{.ranges = (const struct bn_port_range[]){__VA_ARGS__}, \
	 .n = sizeof((const struct bn_port_range[]){__VA_ARGS__}) / sizeof(struct bn_port_range), \
	 .verdict = (verdict_)}
#define EXPECT(rules, otherwise, ...) \
	expect(rules, sizeof(rules) / sizeof(rules[0]), otherwise, \
	       (const struct bn_policy_part[]){__VA_ARGS__}, \
	       sizeof((const struct bn_policy_part[]){__VA_ARGS__}) / \
		       sizeof(struct bn_policy_part))

static void test_none(void **state)
{
	const struct bn_port_rule empty[] = {{.verdict = 5}, {.verdict = 6}};

	expect(NULL, 0, 9, &(struct bn_policy_part){0, 9}, 1);
	EXPECT(empty, 9, {0, 9});
}

static void test_all(void **state)
{
	const struct bn_port_rule rules[] = {RULE(1, BN_PORT_RANGE_ALL), RULE(2, RANGE(TCP, 1, 2))};

	EXPECT(rules, 9, {0, 1});
}

/* Both ends of each protocol's ports, where the next protocol begins. */
static void test_ends(void **state)
{
	const struct bn_port_rule tcp[] = {RULE(1, RANGE(TCP, 0, 65535))};
	const struct bn_port_rule udp[] = {RULE(1, RANGE(UDP, 0, 65535))};
	const struct bn_port_rule sctp[] = {RULE(1, RANGE(SCTP, 0, 65535))};
	const struct bn_port_rule other[] = {RULE(1, RANGE(OTHER, 0, 0))};
	const struct bn_port_rule points[] = {
		RULE(1, RANGE(TCP, 0, 0), RANGE(TCP, 65535, 65535)),
		RULE(2, RANGE(UDP, 0, 0), RANGE(SCTP, 65535, 65535)),
	};

	EXPECT(tcp, 9, {0, 1}, {KEY(UDP, 0), 9});
	EXPECT(udp, 9, {0, 9}, {KEY(UDP, 0), 1}, {KEY(SCTP, 0), 9});
	EXPECT(sctp, 9, {0, 9}, {KEY(SCTP, 0), 1}, {KEY(OTHER, 0), 9});
	EXPECT(other, 9, {0, 9}, {KEY(OTHER, 0), 1});
	EXPECT(points, 9, {0, 1}, {KEY(TCP, 1), 9}, {KEY(TCP, 65535), 1}, {KEY(UDP, 0), 2},
	       {KEY(UDP, 1), 9}, {KEY(SCTP, 65535), 2}, {KEY(OTHER, 0), 9});
}

/* The first rule that covers a port is the one that is named. */
static void test_overlaps(void **state)
{
	const struct bn_port_rule first_inside[] = {RULE(1, RANGE(TCP, 80, 90)),
						    RULE(2, RANGE(TCP, 70, 100))};
	const struct bn_port_rule first_outside[] = {RULE(1, RANGE(TCP, 70, 100)),
						     RULE(2, RANGE(TCP, 80, 90))};
	const struct bn_port_rule over[] = {RULE(1, RANGE(TCP, 70, 85)),
					    RULE(2, RANGE(TCP, 80, 90)),
					    RULE(3, RANGE(TCP, 60, 95))};
	const struct bn_port_rule same[] = {RULE(1, RANGE(UDP, 53, 53), RANGE(UDP, 53, 53)),
					    RULE(2, RANGE(UDP, 53, 53))};

	EXPECT(first_inside, 9, {0, 9}, {70, 2}, {80, 1}, {91, 2}, {101, 9});
	EXPECT(first_outside, 9, {0, 9}, {70, 1}, {101, 9});
	EXPECT(over, 9, {0, 9}, {60, 3}, {70, 1}, {86, 2}, {91, 3}, {96, 9});
	EXPECT(same, 9, {0, 9}, {KEY(UDP, 53), 1}, {KEY(UDP, 54), 9});
}

static void test_merges(void **state)
{
	const struct bn_port_rule touching[] = {
		RULE(1, RANGE(TCP, 80, 80), RANGE(TCP, 81, 81), RANGE(TCP, 82, 90))};
	const struct bn_port_rule over_protocols[] = {
		RULE(1, RANGE(UDP, 0, 65535), RANGE(TCP, 60000, 65535))};
	const struct bn_port_rule two_rules[] = {RULE(1, RANGE(TCP, 80, 80)),
						 RULE(2, RANGE(TCP, 81, 81))};
	const struct bn_port_rule as_otherwise[] = {RULE(9, RANGE(TCP, 80, 80))};

	EXPECT(touching, 9, {0, 9}, {80, 1}, {91, 9});
	EXPECT(over_protocols, 9, {0, 9}, {60000, 1}, {KEY(SCTP, 0), 9});
	EXPECT(two_rules, 9, {0, 9}, {80, 1}, {81, 2}, {82, 9});
	EXPECT(as_otherwise, 9, {0, 9});
}

/* What a tier passes is for the next one to say, and for none of its own behind that. */
static void test_tiers(void **state)
{
	struct bn_port_rule rules[] = {
		RULE(0, RANGE(TCP, 80, 90)),  RULE(1, RANGE(TCP, 70, 100)),
		RULE(2, RANGE(TCP, 85, 120)), RULE(0, BN_PORT_RANGE_ALL),
		RULE(3, BN_PORT_RANGE_ALL),
	};

	rules[0].pass = rules[3].pass = true;
	EXPECT(rules, 9, {0, 9}, {70, 1}, {80, 9}, {91, 1}, {101, 2}, {121, 9});
	rules[2].tier = rules[3].tier = rules[4].tier = 1;
	EXPECT(rules, 9, {0, 9}, {70, 1}, {80, 9}, {85, 2}, {91, 1}, {101, 2}, {121, 9});
	rules[4].tier = 2;
	EXPECT(rules, 9, {0, 3}, {70, 1}, {80, 3}, {85, 2}, {91, 1}, {101, 2}, {121, 3});
}

static uint64_t seed = 0x9e3779b97f4a7c15ull;

static uint32_t draw(uint32_t n)
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return (uint32_t)((seed >> 11) % n);
}

#define RULES 12
#define RANGES 6

static void test_random(void **state)
{
	static uint32_t line[BN_PORT_KEY_MAX + 1];
	static uint8_t done[BN_PORT_KEY_MAX + 1]; /* by the tier of this number, or 255 */
	struct bn_port_range ranges[RULES][RANGES];
	struct bn_port_rule rules[RULES];

	for (int round = 0; round < 200; round++) {
		size_t n = draw(RULES + 1), n_parts, at = 0;
		struct bn_policy_part *parts;

		for (size_t i = 0; i <= BN_PORT_KEY_MAX; i++)
			line[i] = 77, done[i] = 0;
		for (size_t i = 0; i < n; i++) {
			rules[i] = (struct bn_port_rule){
				.ranges = ranges[i],
				.n = draw(RANGES + 1),
				.verdict = draw(4),
				.tier = (uint8_t)(1 + i / (1 + (size_t)round % RULES)),
				.pass = !draw(4),
			};
			for (size_t k = 0; k < rules[i].n; k++) {
				uint32_t from = draw(BN_PORT_KEY_MAX + 1), to;

				to = draw(3) ? from + draw(70) : from + draw(BN_PORT_KEY_MAX);
				if (to > BN_PORT_KEY_MAX)
					to = BN_PORT_KEY_MAX;
				ranges[i][k] = (struct bn_port_range){from, to};
			}
		}
		for (size_t i = 0; i < n; i++) {
			for (size_t k = 0; k < rules[i].n; k++) {
				for (uint32_t x = ranges[i][k].from; x <= ranges[i][k].to; x++) {
					if (done[x] >= rules[i].tier)
						continue;
					done[x] = rules[i].pass ? rules[i].tier : 255;
					if (!rules[i].pass)
						line[x] = rules[i].verdict;
				}
			}
		}
		assert_int_equal(bn_ports_compile(rules, n, 77, &parts, &n_parts), 0);
		assert_int_equal(parts[0].from, 0);
		for (uint32_t x = 0; x <= BN_PORT_KEY_MAX; x++) {
			if (at + 1 < n_parts && parts[at + 1].from == x) {
				at++;
				assert_int_not_equal(parts[at].verdict, parts[at - 1].verdict);
			}
			if (line[x] != parts[at].verdict)
				fail_msg("round %d, key %#x: %u, should be %u", round, x,
					 parts[at].verdict, line[x]);
		}
		assert_int_equal(at + 1, n_parts);
		free(parts);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_none),   cmocka_unit_test(test_all),
		cmocka_unit_test(test_ends),   cmocka_unit_test(test_overlaps),
		cmocka_unit_test(test_merges), cmocka_unit_test(test_tiers),
		cmocka_unit_test(test_random),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
