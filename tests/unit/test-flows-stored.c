// SPDX-License-Identifier: Apache-2.0
/*
 * The agent filters its records, the command filters what it reads from a file: on flows of every
 * kind, written by the agent, each filter must let the same ones pass.
 */
#include "unit/flows-fixture.h"

#include <jansson.h>
#include <stdlib.h>

#include "command.h"
#include "flow.h"
#include "flows/filter.h"
#include "flows/json.h"

#define N_RECORDS 2000
#define ARGS_MAX 16

static struct bn_flow_record records[N_RECORDS];
static json_t *flows[N_RECORDS];

static const char *const addresses[][2] = {
	{"10.0.0.1", "fd00::1"},          /* default/client */
	{"10.0.0.2", "fd00::2"},          /* default/web-1 */
	{"10.0.0.3", "fd00::3"},          /* other/web-1 */
	{"192.0.2.1", "2001:db8::1"},     /* the node */
	{"192.0.2.2", "2001:db8::2"},     /* another node */
	{"203.0.113.9", "2001:db8:9::9"}, /* nobody's */
	{"10.96.0.10", "fd96::10"},       /* a service's */
};
#define N_ADDRESSES (sizeof(addresses) / sizeof(*addresses))

static uint32_t random_state = 1;

static unsigned int pick(unsigned int n)
{
	random_state = random_state * 1664525 + 1013904223;
	return (unsigned int)(((uint64_t)random_state * n) >> 32);
}

static struct bn_names *make_names(void)
{
	const struct bn_name_spec host = {.kind = BN_NAME_HOST, .name = "a", .identity = 1};
	const struct bn_name_spec node = {.kind = BN_NAME_NODE, .name = "b", .identity = 3};
	struct bn_names *names;

	assert_int_equal(bn_names_new(NULL, &names), 0);
	for (int family = 0; family < 2; family++) {
		union bn_addr a = fixture_addr(addresses[3][family]);
		union bn_addr b = fixture_addr(addresses[4][family]);
		union bn_addr vip = fixture_addr(addresses[6][family]);

		fixture_pod(names, addresses[0][family], "default", "client", 300, "client");
		fixture_pod(names, addresses[1][family], "default", "web-1", 301, "web");
		fixture_pod(names, addresses[2][family], "other", "web-1", 302, NULL);
		bn_names_set(names, &a, &host);
		bn_names_set(names, &b, &node);
		bn_names_service_set(names, &vip, 80, IPPROTO_TCP, "default", "web", "http");
	}
	return names;
}

static struct bn_event make_event(void)
{
	static const uint8_t protocols[] = {IPPROTO_TCP,  IPPROTO_TCP,    IPPROTO_UDP, IPPROTO_SCTP,
					    IPPROTO_ICMP, IPPROTO_ICMPV6, 47};
	uint8_t type = (uint8_t)(BN_EVENT_FLOW_OPENED + pick(4)), protocol = protocols[pick(7)];
	unsigned int family = pick(2), to = pick(N_ADDRESSES);
	struct bn_event e = fixture_event(type, protocol, addresses[pick(N_ADDRESSES)][family],
					  pick(2) ? 40000 : 80, addresses[to][family],
					  pick(2) ? 80 : 53);

	if (type == BN_EVENT_DROP && pick(8) == 0) {
		memset(&e.tuple, 0, sizeof(e.tuple)); /* no IP packet */
		return e;
	}
	if (pick(2))
		fixture_target(&e, addresses[pick(N_ADDRESSES)][family], pick(2) ? 40000 : 50000,
			       addresses[1][family], 8080);
	if (type == BN_EVENT_DROP)
		e.reason = (uint8_t)(1 + pick(BN_DROP_MAX - 1));
	else if (type == BN_EVENT_AUDIT || (type == BN_EVENT_FLOW_OPENED && pick(4) == 0))
		e.reason = BN_DROP_POLICY_INGRESS;
	if (protocol == IPPROTO_TCP)
		e.tcp_flags = (uint8_t)pick(256);
	if (type == BN_EVENT_FLOW_CLOSED && protocol == IPPROTO_TCP) {
		e.reply_tcp_flags = (uint8_t)pick(256);
		e.closed_by = (uint8_t)pick(3);
	}
	if (pick(2)) {
		e.src_identity = pick(2) ? 300 : pick(4);
		e.dst_identity = pick(2) ? 301 : pick(4);
	}
	return e;
}

static int setup(void **state)
{
	struct bn_names *names = make_names();
	struct bn_buf buf = {0};

	for (size_t i = 0; i < N_RECORDS; i++) {
		struct bn_flow_record *rec = &records[i];
		const struct bn_event *e = &rec->event;
		__be16 port;

		rec->event = make_event();
		rec->time = 1700000000000000000ull + i;
		if (e->tuple.family) {
			rec->source = bn_names_get(names, &e->tuple.saddr, UINT64_MAX);
			rec->destination =
				bn_names_get(names, bn_flow_destination(e, &port), UINT64_MAX);
			rec->service = bn_names_service_get(names, &e->tuple.daddr,
							    ntohs(e->tuple.dport),
							    e->tuple.protocol, UINT64_MAX);
		}
		bn_buf_reset(&buf);
		bn_flow_json(&buf, rec, "a");
		flows[i] = json_loadb(buf.data, buf.len, JSON_REJECT_DUPLICATES, NULL);
		assert_non_null(flows[i]);
	}
	bn_buf_done(&buf);
	bn_names_free(names);
	return 0;
}

static int teardown(void **state)
{
	for (size_t i = 0; i < N_RECORDS; i++) {
		bn_flow_record_done(&records[i]);
		json_decref(flows[i]);
	}
	return 0;
}

static const char *const filters[] = {
	"",
	"--pod default/web",
	"--pod client",
	"--pod other/",
	"--from-pod other/web-1",
	"--to-pod web-1",
	"--not --pod web",
	"--namespace default",
	"--from-namespace other",
	"--to-namespace other",
	"--label app=web",
	"--label app",
	"--label app!=web",
	"--label tier==back,app!=client",
	"--label k8s:tier",
	"--label reserved:host",
	"--label reserved:world",
	"--label reserved:unknown",
	"--label reserved:remote-node,app!=x",
	"--not --label app=web",
	"--ip 10.0.0.2",
	"--ip 10.96.0.10",
	"--from-ip 10.0.0.0/30",
	"--to-ip 10.96.0.0/12",
	"--ip 0.0.0.0/0",
	"--ip ::/0",
	"--to-ip fd00::/15",
	"--from-ip 2001:db8::/33",
	"--port 80",
	"--port 8080",
	"--from-port 40000",
	"--to-port 53",
	"--to-port 80 --to-port 8080",
	"--not --port 80",
	"--identity 300",
	"--identity 0",
	"--from-identity World",
	"--to-identity 1",
	"--to-identity remote-node --to-identity host",
	"--not --identity unknown",
	"--protocol tcp",
	"--protocol udp --protocol sctp",
	"--protocol icmp",
	"--protocol icmpv4",
	"--protocol ICMPv6",
	"--tcp-flags SYN",
	"--tcp-flags syn,ack",
	"--tcp-flags FIN --tcp-flags RST,ACK",
	"--not --tcp-flags CWR,URG",
	"--verdict FORWARDED",
	"--verdict dropped --verdict audit",
	"--not --verdict Dropped",
	"--drop-reason policy-ingress",
	"--drop-reason Malformed-Header",
	"--not --drop-reason policy-ingress",
	"--service web",
	"--service default/",
	"--service other/web",
	"--pod client --not --protocol tcp --port 80 --port 53 --not --verdict dropped",
};

static size_t split(char *text, char **argv)
{
	size_t n = 0;

	argv[n++] = (char *)"bpfnet";
	argv[n++] = (char *)"flows";
	for (char *one; (one = strsep(&text, " ")) && n < ARGS_MAX;)
		if (*one)
			argv[n++] = one;
	return n;
}

static void test_both_say_the_same(void **state)
{
	for (size_t i = 0; i < sizeof(filters) / sizeof(*filters); i++) {
		char *copy = strdup(filters[i]), *argv[ARGS_MAX];
		struct bn_flow_filter *agents = NULL;
		struct bn_error err = BN_ERROR_INIT;
		struct bn_filters *own = NULL;
		struct bn_call call;
		size_t matched = 0;
		json_t *json;

		assert_int_equal(bn_call_parse(&call, (int)split(copy, argv), argv), 0);
		assert_int_equal(bn_filters_parse(&call, &own), 0);
		json = bn_filters_json(own);
		if (bn_flow_filter_parse(json, &agents, &err) < 0)
			fail_msg("'%s': the agent refuses: %s", filters[i], bn_error_text(&err));
		for (size_t j = 0; j < N_RECORDS; j++) {
			bool agent = bn_flow_filter_match(agents, &records[j]);

			matched += agent;
			if (agent != bn_filters_match(own, flows[j]))
				fail_msg("'%s': %s for the agent alone:\n%s", filters[i],
					 agent ? "matches" : "does not match",
					 json_dumps(flows[j], JSON_INDENT(1)));
		}
		/* a filter that lets everything or nothing pass would show nothing */
		if (*filters[i] && (matched == 0 || matched == N_RECORDS) &&
		    strcmp(filters[i], "--service other/web") != 0)
			fail_msg("'%s' matches %zu flows", filters[i], matched);
		bn_flow_filter_free(agents);
		bn_filters_free(own);
		json_decref(json);
		bn_call_done(&call);
		free(copy);
	}
}

/* What the command lets through, the agent takes: else a mistype would end with exit code 1. */
static void test_refusals(void **state)
{
	static const char *const wrong[] = {
		"--ip 10.0.0.1/8",
		"--ip 10.0.0.0/33",
		"--ip 10.0.0.0/",
		"--ip 10.0.0.0/08",
		"--ip ::ffff:10.0.0.1",
		"--ip fd00::/129",
		"--ip 10.0.0",
		"--from-ip fd00::1/64",
		"--port 0",
		"--port 65536",
		"--port 0x50",
		"--identity -1",
		"--identity 4294967296",
		"--identity moon",
		"--to-identity 1.5",
		"--tcp-flags SYN,",
		"--tcp-flags SYN+ACK",
		"--tcp-flags ,",
		"--label =x",
		"--label a=b,",
		"--label a!==b",
		"--label reserved:moon",
		"--label a(b)",
		"--pod /a",
		"--pod a/b/c",
		"--namespace a/b",
		"--drop-reason bad-luck",
	};

	for (size_t i = 0; i < sizeof(wrong) / sizeof(*wrong); i++) {
		char *copy = strdup(wrong[i]), *argv[ARGS_MAX];
		struct bn_filters *own = NULL;
		struct bn_call call;

		assert_int_equal(bn_call_parse(&call, (int)split(copy, argv), argv), 0);
		if (bn_filters_parse(&call, &own) != BN_EXIT_USAGE)
			fail_msg("'%s' was taken", wrong[i]);
		bn_call_done(&call);
		free(copy);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_both_say_the_same),
		cmocka_unit_test(test_refusals),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
