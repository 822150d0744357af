// SPDX-License-Identifier: Apache-2.0
/* What a trace's reader asks for, as the datapath gets it; and records that may not be believed. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <string.h>

#include "address.h"
#include "trace/trace.h"

static union bn_addr ips[2];

static int pod(void *user, const char *namespace, const char *name, const union bn_addr **ret_ips,
	       size_t *ret_n)
{
	if (strcmp(namespace, "shop") || strcmp(name, "web"))
		return -ENOENT;
	*ret_ips = ips;
	*ret_n = 2;
	return 0;
}

static int parse(const char *text, struct bn_trace_filter *ret, const char *expected)
{
	struct bn_error err = BN_ERROR_INIT;
	json_t *json = json_loads(text, 0, NULL);
	int r;

	assert_non_null(json);
	r = bn_trace_filter_parse(json, pod, NULL, ret, &err);
	if (expected && !strstr(bn_error_text(&err), expected))
		fail_msg("%s: %s", text, bn_error_text(&err));
	json_decref(json);
	bn_error_done(&err);
	return r;
}

static void test_nothing_is_everything(void **state)
{
	struct bn_trace_filter f;

	assert_int_equal(bn_trace_filter_parse(NULL, pod, NULL, &f, NULL), 0);
	assert_int_equal(f.wanted, 0);
	assert_int_equal(f.verdicts, BN_TRACE_FORWARDED | BN_TRACE_DROPPED);
	assert_true(f.reasons == 0 && f.expires == 0);
}

static void test_values(void **state)
{
	struct bn_trace_filter f;

	bn_addr_parse("10.0.0.7", &ips[0], NULL);
	bn_addr_parse("fd00::7", &ips[1], NULL);
	assert_int_equal(parse("[{\"field\":\"from-pod\",\"value\":\"shop/web\"},"
			       "{\"field\":\"to-ip\",\"value\":\"192.0.2.0/24\"},"
			       "{\"field\":\"port\",\"value\":\"80\"},"
			       "{\"field\":\"protocol\",\"value\":\"icmp\"},"
			       "{\"field\":\"tcp-flags\",\"value\":\"SYN,ACK\"}]",
			       &f, NULL),
			 0);
	assert_int_equal(f.wanted, 1u << BN_TRACE_FROM_POD | 1u << BN_TRACE_TO_IP |
					   1u << BN_TRACE_PORT | 1u << BN_TRACE_PROTOCOL |
					   1u << BN_TRACE_TCP_FLAGS);
	assert_true(bn_addr_equal(&f.addrs[0].addr, &ips[0]));
	assert_true(bn_addr_equal(&f.addrs[1].addr, &ips[1]));
	assert_int_equal(f.addrs[0].ends, BN_TRACE_FROM);
	assert_int_equal(f.addrs[2].ends, BN_TRACE_TO);
	assert_int_equal(f.addrs[2].mask.b[14], 255);
	assert_int_equal(f.addrs[2].mask.b[15], 0);
	assert_int_equal(f.addrs[2].mask.b[0], 255); /* no IPv6 address is in it */
	assert_int_equal(f.addrs[3].ends, 0);
	assert_int_equal(f.ports[0].port, htons(80));
	assert_int_equal(f.ports[0].ends, BN_TRACE_FROM | BN_TRACE_TO);
	assert_int_equal(f.protocols[0], IPPROTO_ICMP);
	assert_int_equal(f.protocols[1], IPPROTO_ICMPV6);
	assert_int_equal(f.protocols[2], BN_TRACE_NO_PROTOCOL);
	assert_int_equal(f.flags[0], 0x12);
}

static void test_a_reason_is_of_drops(void **state)
{
	struct bn_trace_filter f;

	assert_int_equal(
		parse("[{\"field\":\"drop-reason\",\"value\":\"policy-ingress\"}]", &f, NULL), 0);
	assert_int_equal(f.verdicts, BN_TRACE_DROPPED);
	assert_true(f.reasons == 1ull << BN_DROP_POLICY_INGRESS);
}

static void test_bad_ones(void **state)
{
	static const struct {
		const char *text, *expected;
		int error;
	} cases[] = {
		{"{}", "not an array", -EINVAL},
		{"[1]", "expected {", -EINVAL},
		{"[{\"field\":\"label\",\"value\":\"a=b\"}]", "'label'", -EINVAL},
		{"[{\"field\":\"port\",\"value\":\"80\",\"not\":true}]", "expected {", -EINVAL},
		{"[{\"field\":\"port\",\"value\":\"0\"}]", "1 to 65535", -EINVAL},
		{"[{\"field\":\"port\",\"value\":\"99999999999999999999\"}]", "1 to", -EINVAL},
		{"[{\"field\":\"ip\",\"value\":\"10.0.0.1/33\"}]", "a CIDR", -EINVAL},
		{"[{\"field\":\"pod\",\"value\":\"shop/\"}]", "of a pod", -EINVAL},
		{"[{\"field\":\"pod\",\"value\":\"shop/none\"}]", "no pod shop/none", -ENOENT},
		{"[{\"field\":\"tcp-flags\",\"value\":\"SYN,\"}]", "flags of", -EINVAL},
		{"[{\"field\":\"verdict\",\"value\":\"audit\"}]", "dropped", -EINVAL},
		{"[{\"field\":\"drop-reason\",\"value\":\"none\"}]", "reason", -EINVAL},
	};
	struct bn_trace_filter f;

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		assert_int_equal(parse(cases[i].text, &f, cases[i].expected), cases[i].error);
}

static void too_many(const char *field, const char *value, size_t max)
{
	struct bn_error err = BN_ERROR_INIT;
	json_t *json = json_array();
	struct bn_trace_filter f;

	for (size_t i = 0; i < max; i++)
		json_array_append_new(json, json_pack("{s:s,s:s}", "field", field, "value", value));
	assert_int_equal(bn_trace_filter_parse(json, pod, NULL, &f, &err), 0);
	for (size_t i = 0; i < 100000; i++)
		json_array_append_new(json, json_pack("{s:s,s:s}", "field", field, "value", value));
	assert_int_equal(bn_trace_filter_parse(json, pod, NULL, &f, &err), -E2BIG);
	assert_non_null(strstr(bn_error_text(&err), "more than"));
	json_decref(json);
	bn_error_done(&err);
}

static void test_too_many(void **state)
{
	too_many("ip", "10.0.0.0/8", BN_TRACE_ADDRS);
	too_many("pod", "shop/web", BN_TRACE_ADDRS / 2);
	too_many("port", "80", BN_TRACE_PORTS);
	too_many("protocol", "tcp", BN_TRACE_PROTOCOLS);
	too_many("tcp-flags", "SYN", BN_TRACE_FLAGS);
}

static void test_records(void **state)
{
	struct bn_trace_record good = {.action = BN_TRACE_PASSED, .captured = BN_TRACE_BYTES}, bad,
			       ret;

	good.event.header.version = BN_EVENT_VERSION;
	good.event.header.type = BN_EVENT_TRACE;
	good.event.header.size = sizeof(good);
	good.event.hook = BN_HOOK_LOOPBACK;
	good.event.tuple.family = BN_IPV6;
	assert_int_equal(bn_trace_record_check(&good, sizeof(good), &ret), 0);
	assert_int_equal(bn_trace_record_check(&good, sizeof(good) - 1, &ret), -EBADMSG);
#define BAD(member, value) \
	do { \
		bad = good; \
		bad.member = value; \
		assert_int_equal(bn_trace_record_check(&bad, sizeof(bad), &ret), -EBADMSG); \
	} while (0)
	BAD(event.header.version, 0);
	BAD(event.header.type, BN_EVENT_DROP);
	BAD(event.header.size, sizeof(struct bn_event));
	BAD(event.hook, 0);
	BAD(event.hook, BN_HOOK_MAX);
	BAD(event.reason, BN_DROP_MAX);
	BAD(event.tuple.family, 0);
	BAD(action, 0);
	BAD(action, BN_TRACE_ACTION_MAX);
	BAD(captured, BN_TRACE_BYTES + 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_nothing_is_everything),
		cmocka_unit_test(test_values),
		cmocka_unit_test(test_a_reason_is_of_drops),
		cmocka_unit_test(test_bad_ones),
		cmocka_unit_test(test_too_many),
		cmocka_unit_test(test_records),
	};

	return cmocka_run_group_tests_name("trace-filter", tests, NULL, NULL);
}
