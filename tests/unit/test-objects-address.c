// SPDX-License-Identifier: Apache-2.0
#include "address.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
/* cmocka wants the headers above first */
#include <cmocka.h>

static void test_addresses(void **state)
{
	static const struct {
		const char *text;
		int family; /* 0: refused */
		const char *out;
	} cases[] = {
		{"10.0.0.1", 4, "10.0.0.1"},
		{"0.0.0.0", 4, "0.0.0.0"},
		{"fd00::1", 6, "fd00::1"},
		{"FD00:0:0::0001", 6, "fd00::1"},
		{"::", 6, "::"},
		{"", 0, NULL},
		{"10.0.0", 0, NULL},
		{"10.0.0.01", 0, NULL},
		{"10.0.0.256", 0, NULL},
		{" 10.0.0.1", 0, NULL},
		{"10.0.0.1 ", 0, NULL},
		{"0x0a.0.0.1", 0, NULL},
		{"::ffff:10.0.0.1", 0, NULL},
		{"::ffff:a00:1", 0, NULL},
		{"fe80::1%eth0", 0, NULL},
		{"fd00::1::2", 0, NULL},
	};
	char buf[BN_ADDR_STRLEN];
	union bn_addr a;
	int family;

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		int r = bn_addr_parse(cases[i].text, &a, &family);

		assert_int_equal(r, cases[i].family ? 0 : -EINVAL);
		if (r)
			continue;
		assert_int_equal(family, cases[i].family);
		assert_int_equal(bn_addr_family(&a), cases[i].family);
		assert_string_equal(bn_addr_format(&a, buf), cases[i].out);
	}
}

static void test_cidrs(void **state)
{
	static const char *const bad[] = {"10.0.0.0",     "10.0.0.0/",         "10.0.0.0/33",
					  "10.0.0.0/08",  "10.0.0.0/-1",       "10.0.0.1/24",
					  "fd00::/129",   "fd00::1/64",        "/8",
					  "10.0.0.0/8/8", "::ffff:0.0.0.0/96", "10.0.0.0/ 8"};
	static const struct {
		const char *cidr, *addr;
		bool in;
	} cases[] = {
		{"10.96.0.0/12", "10.96.0.1", true},
		{"10.96.0.0/12", "10.111.255.255", true},
		{"10.96.0.0/12", "10.112.0.0", false},
		{"0.0.0.0/0", "255.255.255.255", true},
		{"0.0.0.0/0", "fd00::1", false},
		{"::/0", "10.0.0.1", false},
		{"::/0", "fd00::1", true},
		{"fd00:10::/108", "fd00:10::f:ffff", true},
		{"fd00:10::/108", "fd00:10::10:0", false},
		{"10.0.0.1/32", "10.0.0.1", true},
		{"10.0.0.1/32", "10.0.0.0", false},
	};
	char buf[BN_CIDR_STRLEN];
	union bn_addr a;
	struct bn_cidr c;

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_int_equal(bn_cidr_parse(bad[i], &c), -EINVAL);
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		assert_int_equal(bn_cidr_parse(cases[i].cidr, &c), 0);
		assert_string_equal(bn_cidr_format(&c, buf), cases[i].cidr);
		assert_int_equal(bn_addr_parse(cases[i].addr, &a, NULL), 0);
		assert_int_equal(bn_cidr_contains(&c, &a), cases[i].in);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_addresses),
		cmocka_unit_test(test_cidrs),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
