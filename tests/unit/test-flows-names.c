// SPDX-License-Identifier: Apache-2.0
/* The registry of names: changes, times, tombstones, sharing and its price. */
#include "unit/flows-fixture.h"

#include <malloc.h>
#include <stdio.h>

#define SEC 1000000000ull

static uint64_t now;

static uint64_t test_clock(void)
{
	return now;
}

static struct bn_names *names_new(void)
{
	struct bn_names *names;

	now = 100 * SEC;
	assert_int_equal(bn_names_new(test_clock, &names), 0);
	return names;
}

static void assert_name(struct bn_names *names, const char *addr, uint64_t time, const char *want)
{
	union bn_addr a = fixture_addr(addr);
	struct bn_name *name = bn_names_get(names, &a, time);

	if (!want) {
		assert_null(name);
		return;
	}
	assert_non_null(name);
	assert_string_equal(bn_name_text(name), want);
	bn_name_unref(name);
}

static void test_fields(void **state)
{
	struct bn_names *names = names_new();
	union bn_addr a = fixture_addr("fd00::1");
	struct bn_name *name;
	const char *label;

	fixture_pod(names, "fd00::1", "default", "web-1", 300, "web");
	name = bn_names_get(names, &a, now);
	assert_non_null(name);
	assert_int_equal(bn_name_kind(name), BN_NAME_POD);
	assert_int_equal(bn_name_identity(name), 300);
	assert_string_equal(bn_name_namespace(name), "default");
	label = bn_name_label_next(name, NULL);
	assert_string_equal(label, "app=web");
	label = bn_name_label_next(name, label);
	assert_string_equal(label, "tier=back");
	assert_null(bn_name_label_next(name, label));
	assert_null(bn_name_port_name(name));
	bn_names_free(names);
	/* a reference outlives the registry */
	assert_string_equal(bn_name_text(name), "web-1");
	assert_string_equal(bn_name_namespace(name), "default");
	bn_name_unref(name);
}

static void test_names_of_the_time(void **state)
{
	struct bn_names *names = names_new();
	union bn_addr a = fixture_addr("10.0.0.1");

	assert_name(names, "10.0.0.1", now, NULL);
	fixture_pod(names, "10.0.0.1", "default", "first", 300, "a");
	assert_name(names, "10.0.0.1", 1, "first"); /* older than all that is known */
	now += SEC;
	fixture_pod(names, "10.0.0.1", "default", "second", 301, "a");
	assert_name(names, "10.0.0.1", now - 1, "first");
	assert_name(names, "10.0.0.1", now, "second");
	now += SEC;
	assert_int_equal(bn_names_remove(names, &a), 0);
	assert_int_equal(bn_names_remove(names, &a), -ENOENT);
	assert_name(names, "10.0.0.1", now + SEC, "second"); /* late events */
	now += SEC;
	fixture_pod(names, "10.0.0.1", "default", "third", 302, "a");
	assert_name(names, "10.0.0.1", 101 * SEC - 1, "first");
	assert_name(names, "10.0.0.1", 102 * SEC, "second");
	assert_name(names, "10.0.0.1", now, "third");
	now += BN_NAMES_GRACE_NS + SEC;
	bn_names_prune(names);
	assert_name(names, "10.0.0.1", 101 * SEC - 1, "third");
	bn_names_free(names);
}

static void test_removed_is_forgotten(void **state)
{
	struct bn_names *names = names_new();
	union bn_addr a = fixture_addr("10.0.0.1");
	struct bn_names_stats stats;

	fixture_pod(names, "10.0.0.1", "default", "web", 300, "a");
	assert_int_equal(bn_names_remove(names, &a), 0);
	assert_name(names, "10.0.0.1", now + BN_NAMES_GRACE_NS, "web");
	assert_name(names, "10.0.0.1", now + BN_NAMES_GRACE_NS + 1, NULL);
	bn_names_stats(names, &stats);
	assert_int_equal(stats.addresses, 0);
	assert_int_equal(stats.removed, 1);
	now += BN_NAMES_GRACE_NS + 1;
	bn_names_prune(names);
	bn_names_stats(names, &stats);
	assert_int_equal(stats.removed, 0);
	assert_name(names, "10.0.0.1", 100 * SEC, NULL);
	bn_names_free(names);
}

static void test_setting_the_same_is_no_change(void **state)
{
	struct bn_names *names = names_new();
	union bn_addr a = fixture_addr("10.0.0.1");
	struct bn_names_stats stats;
	struct bn_name *before, *after;

	fixture_pod(names, "10.0.0.1", "default", "web", 300, "a");
	before = bn_names_get(names, &a, now);
	now += SEC;
	fixture_pod(names, "10.0.0.1", "default", "web", 300, "a");
	after = bn_names_get(names, &a, now);
	assert_ptr_equal(before, after);
	bn_name_unref(after);
	fixture_pod(names, "10.0.0.1", "default", "web", 300, "b"); /* a label */
	after = bn_names_get(names, &a, now);
	assert_ptr_not_equal(before, after);
	bn_name_unref(before);
	bn_name_unref(after);
	bn_names_stats(names, &stats);
	assert_int_equal(stats.addresses, 1);
	assert_int_equal(stats.removed, 1);
	bn_names_free(names);
}

static void test_flapping(void **state)
{
	struct bn_names *names = names_new();
	struct bn_names_stats stats;
	char name[32];

	for (int i = 0; i < 1000; i++) {
		snprintf(name, sizeof(name), "web-%d", i);
		fixture_pod(names, "10.0.0.1", "default", name, 300, "a");
		now += SEC / 10;
	}
	bn_names_stats(names, &stats);
	assert_int_equal(stats.addresses, 1);
	assert_in_range(stats.removed, 49, 52);
	assert_name(names, "10.0.0.1", now - SEC - SEC / 20, "web-989");
	bn_names_free(names);
}

static void test_services(void **state)
{
	struct bn_names *names = names_new();
	union bn_addr vip = fixture_addr("10.96.0.10");
	struct bn_name *s;

	assert_int_equal(
		bn_names_service_set(names, &vip, 53, IPPROTO_UDP, "kube-system", "dns", "dns-udp"),
		0);
	assert_int_equal(bn_names_service_set(names, &vip, 80, IPPROTO_TCP, "default", "web", NULL),
			 0);
	assert_int_equal(bn_names_service_id_set(names, 7, "default", "web"), 0);
	s = bn_names_service_get(names, &vip, 53, IPPROTO_UDP, now);
	assert_non_null(s);
	assert_int_equal(bn_name_kind(s), BN_NAME_SERVICE);
	assert_string_equal(bn_name_namespace(s), "kube-system");
	assert_string_equal(bn_name_text(s), "dns");
	assert_string_equal(bn_name_port_name(s), "dns-udp");
	assert_null(bn_name_label_next(s, NULL));
	bn_name_unref(s);
	assert_null(bn_names_service_get(names, &vip, 53, IPPROTO_TCP, now));
	s = bn_names_service_get(names, &vip, 80, IPPROTO_TCP, now);
	assert_null(bn_name_port_name(s));
	bn_name_unref(s);
	s = bn_names_service_id_get(names, 7, now);
	assert_string_equal(bn_name_text(s), "web");
	bn_name_unref(s);
	/* the three kinds of key never meet */
	assert_null(bn_names_get(names, &vip, now));
	assert_null(bn_names_service_get(names, &vip, 0, 0, now));
	assert_int_equal(bn_names_service_remove(names, &vip, 80, IPPROTO_TCP), 0);
	s = bn_names_service_get(names, &vip, 80, IPPROTO_TCP, now + SEC);
	assert_string_equal(bn_name_text(s), "web");
	bn_name_unref(s);
	assert_int_equal(bn_names_service_id_remove(names, 7), 0);
	now += BN_NAMES_GRACE_NS + SEC;
	assert_null(bn_names_service_id_get(names, 7, now));
	bn_names_free(names);
}

static void test_price(void **state)
{
	enum { COUNT = 100000 };
	struct bn_names *names = names_new();
	size_t before = mallinfo2().uordblks, after, text = 0;
	char name[32];

	for (uint32_t i = 0; i < COUNT; i++) {
		const struct bn_label labels[] = {{"app", "web"},
						  {"pod-template-hash", "5d4f8c7b9"}};
		struct bn_name_spec spec = {
			.kind = BN_NAME_POD,
			.namespace = "default",
			.name = name,
			.labels = labels,
			.n_labels = 2,
			.identity = 256 + i % 1000,
		};
		union bn_addr a;

		bn_addr_set_v4(&a, htonl(0x0a000000 + i));
		text += (size_t)snprintf(name, sizeof(name), "web-%u", i) + 1;
		assert_int_equal(bn_names_set(names, &a, &spec), 0);
	}
	after = mallinfo2().uordblks;
	print_message("names: %.1f bytes an address, %.1f of them its text\n",
		      (double)(after - before) / COUNT, (double)text / COUNT);
	/* a sanitizer's allocator is not the one that is shipped */
	if (after > before)
		assert_true((after - before) / COUNT <= 130);
	bn_names_free(names);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_fields),
		cmocka_unit_test(test_names_of_the_time),
		cmocka_unit_test(test_removed_is_forgotten),
		cmocka_unit_test(test_setting_the_same_is_no_change),
		cmocka_unit_test(test_flapping),
		cmocka_unit_test(test_services),
		cmocka_unit_test(test_price),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
