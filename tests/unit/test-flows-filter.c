// SPDX-License-Identifier: Apache-2.0
/* Flow filters: a table of filters against three flows, and what is refused. */
#include "unit/flows-fixture.h"

#include <jansson.h>
#include <stdlib.h>

#include "flows/filter.h"

enum {
	WEB = 1 << 0,    /* client -> service web, backend web-1, TCP, opened */
	DENIED = 1 << 1, /* web-1 of "other" -> client, UDP over IPv6, dropped */
	WORLD = 1 << 2,  /* client -> world, ICMP, closed */
	ALL = WEB | DENIED | WORLD,
};

static struct bn_flow_record records[3];

static int setup(void **state)
{
	struct bn_names *names;
	union bn_addr vip = fixture_addr("10.96.0.10");

	assert_int_equal(bn_names_new(NULL, &names), 0);
	fixture_pod(names, "10.0.0.1", "default", "client", 300, "client");
	fixture_pod(names, "10.0.0.2", "default", "web-1", 301, "web");
	fixture_pod(names, "fd00::1", "default", "client", 300, "client");
	fixture_pod(names, "fd00::3", "other", "web-1", 302, "web");
	bn_names_service_set(names, &vip, 80, IPPROTO_TCP, "default", "web", "http");

	records[0].event = fixture_event(BN_EVENT_FLOW_OPENED, IPPROTO_TCP, "10.0.0.1", 40000,
					 "10.96.0.10", 80);
	fixture_target(&records[0].event, "10.0.0.1", 40000, "10.0.0.2", 8080);
	records[0].event.src_identity = 300;
	records[0].event.dst_identity = 301;
	records[0].event.tcp_flags = 0xc2; /* SYN, ECE, CWR */
	records[0].service = bn_names_service_get(names, &vip, 80, IPPROTO_TCP, UINT64_MAX);
	records[1].event =
		fixture_event(BN_EVENT_DROP, IPPROTO_UDP, "fd00::3", 5000, "fd00::1", 53);
	records[1].event.src_identity = 302;
	records[1].event.dst_identity = 300;
	records[2].event =
		fixture_event(BN_EVENT_FLOW_CLOSED, IPPROTO_ICMP, "10.0.0.1", 80, "203.0.113.9", 0);
	records[2].event.src_identity = 300;
	records[2].event.dst_identity = BN_IDENTITY_WORLD;
	for (size_t i = 0; i < 3; i++) {
		__be16 port;

		records[i].source = bn_names_get(names, &records[i].event.tuple.saddr, UINT64_MAX);
		records[i].destination = bn_names_get(
			names, bn_flow_destination(&records[i].event, &port), UINT64_MAX);
	}
	bn_names_free(names);
	return 0;
}

static int teardown(void **state)
{
	for (size_t i = 0; i < 3; i++)
		bn_flow_record_done(&records[i]);
	return 0;
}

/* "field value, !field value": as JSON */
static json_t *filters_of(const char *text)
{
	json_t *array = json_array();
	char *copy = strdup(text), *rest = copy, *one;

	while (*copy && (one = strsep(&rest, ";"))) {
		bool negate = *one == '!';
		char *value = strchr(one, ' ');

		*value++ = 0;
		json_array_append_new(array, json_pack("{s:s, s:s, s:b}", "field", one + negate,
						       "value", value, "not", negate));
	}
	free(copy);
	return array;
}

static const struct {
	const char *filters;
	unsigned int want;
} matches[] = {
	{"", ALL},
	{"pod default/web", WEB},
	{"pod web", WEB},
	{"pod web-1", WEB},
	{"pod eb-1", 0},
	{"pod other/web", DENIED},
	{"pod other/", DENIED},
	{"pod client", ALL},
	{"from-pod client", WEB | WORLD},
	{"to-pod client", DENIED},
	{"to-pod default/web-1", WEB},
	{"to-pod web-1;to-pod client", WEB | DENIED},
	{"from-pod client;to-pod web", WEB},
	{"!pod web", DENIED | WORLD},
	{"!pod web;!pod other/web", WORLD},
	{"pod client;!to-pod client", WEB | WORLD},
	{"namespace default", ALL},
	{"from-namespace other", DENIED},
	{"to-namespace default", WEB | DENIED},
	{"namespace othe", 0},
	{"label app=web", WEB | DENIED},
	{"label k8s:app=web", WEB | DENIED},
	{"label app==web", WEB | DENIED},
	{"label app=web,tier=back", WEB | DENIED},
	{"label app=web,tier=front", 0},
	{"label app", ALL},
	{"label ap", 0},
	{"label app!=client", ALL},
	{"label reserved:world", WORLD},
	{"label reserved:host", 0},
	{"ip 10.0.0.2", WEB},
	{"ip 10.96.0.10", WEB},
	{"to-ip 10.96.0.0/16", WEB},
	{"from-ip 10.96.0.0/16", 0},
	{"ip 10.0.0.0/8", WEB | WORLD},
	{"ip 0.0.0.0/0", WEB | WORLD},
	{"ip ::/0", DENIED},
	{"ip fd00::/64", DENIED},
	{"to-ip fd00::1", DENIED},
	{"to-ip fd00::3", 0},
	{"port 80", WEB},
	{"port 8080", WEB},
	{"port 40000", WEB},
	{"to-port 40000", 0},
	{"from-port 40000", WEB},
	{"port 53;port 80", WEB | DENIED},
	{"identity 300", ALL},
	{"from-identity 300", WEB | WORLD},
	{"to-identity 300", DENIED},
	{"identity 301;identity 302", WEB | DENIED},
	{"identity 30", 0},
	{"identity World", WORLD},
	{"from-identity world", 0},
	{"!identity 0302", WEB | WORLD},
	{"tcp-flags SYN", WEB},
	{"tcp-flags ack,syn", 0},
	{"tcp-flags ACK;tcp-flags ece,SYN", WEB},
	{"!tcp-flags SYN", DENIED | WORLD},
	{"protocol tcp", WEB},
	{"protocol UDP", DENIED},
	{"protocol icmp", WORLD},
	{"protocol icmpv6", 0},
	{"protocol sctp", 0},
	{"verdict FORWARDED", WEB | WORLD},
	{"verdict dropped", DENIED},
	{"!verdict dropped", WEB | WORLD},
	{"drop-reason policy-ingress", DENIED},
	{"drop-reason policy-egress", 0},
	{"!drop-reason policy-ingress", WEB | WORLD},
	{"service default/web", WEB},
	{"service we", WEB},
	{"service other/web", 0},
};

static void test_matches(void **state)
{
	for (size_t i = 0; i < sizeof(matches) / sizeof(*matches); i++) {
		json_t *json = filters_of(matches[i].filters);
		struct bn_error err = BN_ERROR_INIT;
		struct bn_flow_filter *f = NULL;
		unsigned int got = 0;

		if (bn_flow_filter_parse(json, &f, &err) < 0)
			fail_msg("'%s': %s", matches[i].filters, bn_error_text(&err));
		for (size_t j = 0; j < 3; j++)
			if (bn_flow_filter_match(f, &records[j]))
				got |= 1u << j;
		if (got != matches[i].want)
			fail_msg("'%s': flows 0x%x, not 0x%x", matches[i].filters, got,
				 matches[i].want);
		bn_flow_filter_free(f);
		json_decref(json);
	}
}

static const struct {
	const char *json;
	const char *text; /* part of the error */
} refusals[] = {
	{"{}", "'filters' is not an array"},
	{"[1]", "expected {\"field\""},
	{"[{\"field\":\"pod\"}]", "expected {\"field\""},
	{"[{\"field\":\"pod\",\"value\":\"a\",\"not\":1}]", "expected {\"field\""},
	{"[{\"field\":\"colour\",\"value\":\"a\"}]", "by 'colour': no such field; use pod,"},
	{"[{\"field\":\"pod\",\"value\":\"\"}]", "expected [NAMESPACE/]PREFIX of a pod"},
	{"[{\"field\":\"pod\",\"value\":\"/a\"}]", "expected [NAMESPACE/]PREFIX of a pod"},
	{"[{\"field\":\"pod\",\"value\":\"a/b/c\"}]", "expected [NAMESPACE/]PREFIX of a pod"},
	{"[{\"field\":\"namespace\",\"value\":\"a/b\"}]", "the name of a namespace"},
	{"[{\"field\":\"label\",\"value\":\"a in (b)\"}]", "KEY, KEY=VALUE"},
	{"[{\"field\":\"label\",\"value\":\"a=b,\"}]", "KEY, KEY=VALUE"},
	{"[{\"field\":\"label\",\"value\":\"!=\"}]", "KEY, KEY=VALUE"},
	{"[{\"field\":\"label\",\"value\":\"reserved:moon\"}]", "KEY, KEY=VALUE"},
	{"[{\"field\":\"ip\",\"value\":\"10.0.0\"}]", "an address or a CIDR"},
	{"[{\"field\":\"ip\",\"value\":\"10.0.0.0/33\"}]", "an address or a CIDR"},
	{"[{\"field\":\"ip\",\"value\":\"::ffff:1.2.3.4\"}]", "an address or a CIDR"},
	{"[{\"field\":\"port\",\"value\":\"0\"}]", "from 1 to 65535"},
	{"[{\"field\":\"port\",\"value\":\"65536\"}]", "from 1 to 65535"},
	{"[{\"field\":\"port\",\"value\":\"-1\"}]", "from 1 to 65535"},
	{"[{\"field\":\"port\",\"value\":\"99999999999999999999999\"}]", "from 1 to 65535"},
	{"[{\"field\":\"port\",\"value\":80}]", "expected {\"field\""},
	{"[{\"field\":\"identity\",\"value\":\"4294967296\"}]", "an identity's number, or unknown"},
	{"[{\"field\":\"to-identity\",\"value\":\"moon\"}]", "an identity's number, or unknown"},
	{"[{\"field\":\"from-identity\",\"value\":\"-1\"}]", "an identity's number, or unknown"},
	{"[{\"field\":\"tcp-flags\",\"value\":\"SYN,\"}]", "flags of FIN, SYN"},
	{"[{\"field\":\"tcp-flags\",\"value\":\"SYN|ACK\"}]", "flags of FIN, SYN"},
	{"[{\"field\":\"protocol\",\"value\":\"ipx\"}]", "tcp, udp, sctp"},
	{"[{\"field\":\"verdict\",\"value\":\"maybe\"}]", "forwarded, dropped or audit"},
	{"[{\"field\":\"drop-reason\",\"value\":\"bad-luck\"}]", "one of malformed-header "},
	{"[{\"field\":\"pod\",\"value\":\"a\\u0000b\"}]", "expected [NAMESPACE/]PREFIX"},
};

static void test_refusals(void **state)
{
	for (size_t i = 0; i < sizeof(refusals) / sizeof(*refusals); i++) {
		json_t *json = json_loads(refusals[i].json, JSON_ALLOW_NUL, NULL);
		struct bn_error err = BN_ERROR_INIT;
		struct bn_flow_filter *f = NULL;

		assert_non_null(json);
		if (bn_flow_filter_parse(json, &f, &err) != -EINVAL || f)
			fail_msg("'%s' was taken", refusals[i].json);
		if (!strstr(bn_error_text(&err), refusals[i].text))
			fail_msg("'%s': '%s' does not say '%s'", refusals[i].json,
				 bn_error_text(&err), refusals[i].text);
		bn_error_done(&err);
		json_decref(json);
	}
}

static void test_bounds(void **state)
{
	char *big = malloc(BN_FLOW_FILTER_VALUE_MAX + 2);
	json_t *many = json_array(), *one = json_array();
	struct bn_flow_filter *f = NULL;
	struct bn_error err = BN_ERROR_INIT;

	memset(big, 'a', BN_FLOW_FILTER_VALUE_MAX + 1);
	big[BN_FLOW_FILTER_VALUE_MAX + 1] = 0;
	json_array_append_new(one, json_pack("{s:s, s:s}", "field", "pod", "value", big));
	assert_int_equal(bn_flow_filter_parse(one, &f, &err), -EINVAL);
	bn_error_done(&err);
	for (int i = 0; i <= BN_FLOW_FILTERS_MAX; i++)
		json_array_append_new(many, json_pack("{s:s, s:s}", "field", "pod", "value", "a"));
	assert_int_equal(bn_flow_filter_parse(many, &f, &err), -E2BIG);
	bn_error_done(&err);
	assert_int_equal(bn_flow_filter_parse(NULL, &f, NULL), 0);
	assert_null(f);
	json_decref(many);
	json_decref(one);
	free(big);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_matches, setup, teardown),
		cmocka_unit_test(test_refusals),
		cmocka_unit_test(test_bounds),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
