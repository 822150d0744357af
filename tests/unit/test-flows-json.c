// SPDX-License-Identifier: Apache-2.0
/* The flow writer: golden lines, and hostile text that must stay valid JSON. */
#include "unit/flows-fixture.h"

#include <jansson.h>

#include "flows/json.h"

#define TIME 1700000000123456789ull /* 2023-11-14T22:13:20.123456789Z */

struct world {
	struct bn_names *names;
	struct bn_buf buf;
};

static int setup(void **state)
{
	static struct world w;
	union bn_addr vip = fixture_addr("10.96.0.10"), vip6 = fixture_addr("fd96::10");
	union bn_addr node = fixture_addr("192.0.2.1");
	const struct bn_name_spec host = {.kind = BN_NAME_HOST, .name = "node-a", .identity = 1};

	w = (struct world){0};
	assert_int_equal(bn_names_new(NULL, &w.names), 0);
	fixture_pod(w.names, "10.0.0.1", "default", "client", 300, "client");
	fixture_pod(w.names, "10.0.0.2", "default", "web-1", 301, "web");
	fixture_pod(w.names, "fd00::1", "default", "client", 300, "client");
	fixture_pod(w.names, "fd00::2", "default", "web-1", 301, "web");
	assert_int_equal(bn_names_set(w.names, &node, &host), 0);
	bn_names_service_set(w.names, &vip, 80, IPPROTO_TCP, "default", "web", "http");
	bn_names_service_set(w.names, &vip6, 80, IPPROTO_TCP, "default", "web", NULL);
	bn_names_rule_set(w.names, 7, "default", "out", 3, NULL);
	bn_names_rule_set(w.names, 8, "shop", "in", -1, NULL);
	bn_names_rule_set(w.names, 9, NULL, "lockdown", 0, "no \"db\"");
	bn_names_rule_set(w.names, 10, NULL, "lockdown", 24, NULL);
	*state = &w;
	return 0;
}

static int teardown(void **state)
{
	struct world *w = *state;

	bn_names_free(w->names);
	bn_buf_done(&w->buf);
	return 0;
}

static struct bn_flow_record record_of(struct world *w, const struct bn_event *e)
{
	struct bn_flow_record rec = {.event = *e, .time = TIME};
	__be16 port;

	rec.source = bn_names_get(w->names, &e->tuple.saddr, UINT64_MAX);
	rec.destination = bn_names_get(w->names, bn_flow_destination(e, &port), UINT64_MAX);
	rec.service = bn_names_service_get(w->names, &e->tuple.daddr, ntohs(e->tuple.dport),
					   e->tuple.protocol, UINT64_MAX);
	if (e->header.type != BN_EVENT_FLOW_CLOSED) {
		rec.rule[BN_POLICY_EGRESS] = bn_names_rule_get(
			w->names, e->egress_verdict & BN_VERDICT_RULE, UINT64_MAX);
		rec.rule[BN_POLICY_INGRESS] = bn_names_rule_get(
			w->names, e->ingress_verdict & BN_VERDICT_RULE, UINT64_MAX);
	}
	return rec;
}

static void assert_line(struct world *w, const struct bn_event *e, const char *want)
{
	struct bn_flow_record rec = record_of(w, e);
	json_error_t error;
	json_t *o;

	bn_buf_reset(&w->buf);
	bn_flow_json(&w->buf, &rec, "node-a");
	bn_flow_record_done(&rec);
	o = json_loadb(w->buf.data, w->buf.len, JSON_REJECT_DUPLICATES, &error);
	if (!o)
		fail_msg("not JSON: %s: %.*s", error.text, (int)w->buf.len, w->buf.data);
	json_decref(o);
	bn_buf_putc(&w->buf, 0);
	assert_string_equal(w->buf.data, want);
}

#define CLIENT \
	"\"source\":{\"identity\":300,\"namespace\":\"default\",\"pod_name\":\"client\"," \
	"\"labels\":[\"k8s:app=client\",\"k8s:tier=back\"]}"
#define WEB \
	"\"destination\":{\"identity\":301,\"namespace\":\"default\",\"pod_name\":\"web-1\"," \
	"\"labels\":[\"k8s:app=web\",\"k8s:tier=back\"]}"
#define TIME_TEXT "{\"time\":\"2023-11-14T22:13:20.123456789Z\","

static void test_opened_to_a_service(void **state)
{
	struct bn_event e = fixture_event(BN_EVENT_FLOW_OPENED, IPPROTO_TCP, "10.0.0.1", 40000,
					  "10.96.0.10", 80);

	fixture_target(&e, "10.0.0.1", 40000, "10.0.0.2", 8080);
	e.flags |= BN_FLOW_SERVICE | BN_FLOW_NAT;
	e.tcp_flags = 0x02;
	e.src_identity = 300;
	e.dst_identity = 301;
	e.ifindex = 9;
	assert_line(*state, &e,
		    TIME_TEXT
		    "\"verdict\":\"FORWARDED\",\"event_type\":\"opened\","
		    "\"IP\":{\"source\":\"10.0.0.1\",\"destination\":\"10.0.0.2\","
		    "\"ipVersion\":\"IPv4\"},"
		    "\"l4\":{\"TCP\":{\"source_port\":40000,\"destination_port\":8080,"
		    "\"flags\":{\"SYN\":true}}}," CLIENT "," WEB
		    ",\"destination_service\":{\"name\":\"web\",\"namespace\":\"default\","
		    "\"port_name\":\"http\"},\"traffic_direction\":\"EGRESS\",\"is_reply\":false,"
		    "\"node_name\":\"node-a\",\"interface\":{\"index\":9},"
		    "\"original\":{\"ip\":\"10.96.0.10\",\"port\":80},"
		    "\"Summary\":\"TCP Flags: SYN\"}");
}

static void test_closed_v6(void **state)
{
	struct bn_event e =
		fixture_event(BN_EVENT_FLOW_CLOSED, IPPROTO_TCP, "fd00::1", 40000, "fd96::10", 80);

	fixture_target(&e, "fd00::1", 40000, "fd00::2", 8080);
	e.hook = 0;
	e.packets = 6;
	e.bytes = 700;
	e.reply_packets = 5;
	e.reply_bytes = UINT64_MAX;
	e.duration = 12;
	e.handshake = 345;
	e.tcp_flags = 0x13;
	e.reply_tcp_flags = 0x16;
	e.closed_by = BN_CLOSED_BY_DESTINATION;
	assert_line(*state, &e,
		    TIME_TEXT
		    "\"verdict\":\"FORWARDED\",\"event_type\":\"closed\","
		    "\"IP\":{\"source\":\"fd00::1\",\"destination\":\"fd00::2\","
		    "\"ipVersion\":\"IPv6\"},"
		    "\"l4\":{\"TCP\":{\"source_port\":40000,\"destination_port\":8080,"
		    "\"flags\":{}}}," CLIENT "," WEB
		    ",\"destination_service\":{\"name\":\"web\",\"namespace\":\"default\"},"
		    "\"traffic_direction\":\"TRAFFIC_DIRECTION_UNKNOWN\",\"is_reply\":false,"
		    "\"node_name\":\"node-a\",\"original\":{\"ip\":\"fd96::10\",\"port\":80},"
		    "\"packets\":6,\"bytes\":700,\"reply_packets\":5,"
		    "\"reply_bytes\":9223372036854775807,\"duration_ms\":12,\"handshake_us\":345,"
		    "\"tcp_flags\":{\"FIN\":true,\"SYN\":true,\"ACK\":true},"
		    "\"reply_tcp_flags\":{\"SYN\":true,\"RST\":true,\"ACK\":true},"
		    "\"close_cause\":\"fin\",\"closed_by\":\"destination\","
		    "\"Summary\":\"TCP closed: fin, 6 packets out, 5 back\"}");
}

static void test_drop_without_backend(void **state)
{
	struct bn_event e =
		fixture_event(BN_EVENT_DROP, IPPROTO_TCP, "10.0.0.1", 40000, "10.96.0.10", 80);

	e.reason = BN_DROP_SERVICE_NO_BACKEND;
	e.src_identity = 300;
	e.tcp_flags = 0x12;
	assert_line(*state, &e,
		    TIME_TEXT "\"verdict\":\"DROPPED\",\"drop_reason\":13,"
			      "\"drop_reason_desc\":\"service-no-backend\",\"event_type\":\"drop\","
			      "\"IP\":{\"source\":\"10.0.0.1\",\"destination\":\"10.96.0.10\","
			      "\"ipVersion\":\"IPv4\"},"
			      "\"l4\":{\"TCP\":{\"source_port\":40000,\"destination_port\":80,"
			      "\"flags\":{\"SYN\":true,\"ACK\":true}}}," CLIENT
			      ",\"destination\":{\"identity\":0,\"labels\":[\"reserved:unknown\"]},"
			      "\"destination_service\":{\"name\":\"web\",\"namespace\":\"default\","
			      "\"port_name\":\"http\"},\"traffic_direction\":\"EGRESS\","
			      "\"node_name\":\"node-a\",\"Summary\":\"TCP Flags: SYN, ACK\"}");
}

static struct bn_event event_of_policy(uint8_t type)
{
	struct bn_event e = fixture_event(type, IPPROTO_TCP, "10.0.0.1", 40000, "10.0.0.2", 8080);

	e.tcp_flags = 0x02;
	e.src_identity = 300;
	e.dst_identity = 301;
	e.egress_verdict = BN_VERDICT_ALLOW | 7;
	e.ingress_verdict = 8;
	return e;
}

#define POLICY_IP \
	"\"IP\":{\"source\":\"10.0.0.1\",\"destination\":\"10.0.0.2\",\"ipVersion\":\"IPv4\"}," \
	"\"l4\":{\"TCP\":{\"source_port\":40000,\"destination_port\":8080," \
	"\"flags\":{\"SYN\":true}}}," CLIENT "," WEB
#define POLICY_RULES \
	",\"egress_allowed_by\":[{\"name\":\"out\",\"namespace\":\"default\"," \
	"\"kind\":\"NetworkPolicy\",\"index\":3}]" \
	",\"ingress_denied_by\":[{\"name\":\"in\",\"namespace\":\"shop\"," \
	"\"kind\":\"NetworkPolicy\",\"index\":null}],\"Summary\":\"TCP Flags: SYN\"}"

static void test_denied_by_policy(void **state)
{
	struct bn_event e = event_of_policy(BN_EVENT_DROP);

	e.reason = BN_DROP_POLICY_INGRESS;
	e.flags = 0;
	assert_line(*state, &e,
		    TIME_TEXT
		    "\"verdict\":\"DROPPED\",\"drop_reason\":16,"
		    "\"drop_reason_desc\":\"policy-ingress\",\"event_type\":\"drop\"," POLICY_IP
		    ",\"traffic_direction\":\"EGRESS\","
		    "\"node_name\":\"node-a\"" POLICY_RULES);
}

/* Of a policy without a namespace, whose rules deny and have names. */
static void test_cluster_policy(void **state)
{
	struct bn_event e = event_of_policy(BN_EVENT_DROP);

	e.reason = BN_DROP_POLICY_INGRESS;
	e.flags = 0;
	e.egress_verdict = BN_VERDICT_ALLOW | 10;
	e.ingress_verdict = 9;
	assert_line(*state, &e,
		    TIME_TEXT
		    "\"verdict\":\"DROPPED\",\"drop_reason\":16,"
		    "\"drop_reason_desc\":\"policy-ingress\",\"event_type\":\"drop\"," POLICY_IP
		    ",\"traffic_direction\":\"EGRESS\",\"node_name\":\"node-a\""
		    ",\"egress_allowed_by\":[{\"name\":\"lockdown\","
		    "\"kind\":\"ClusterNetworkPolicy\",\"index\":24}]"
		    ",\"ingress_denied_by\":[{\"name\":\"lockdown\","
		    "\"kind\":\"ClusterNetworkPolicy\",\"index\":0,\"rule\":\"no \\\"db\\\"\"}],"
		    "\"Summary\":\"TCP Flags: SYN\"}");
	/* what no rule decides */
	e.egress_verdict = e.ingress_verdict = BN_VERDICT_ALLOW;
	e.header.type = BN_EVENT_FLOW_OPENED;
	e.reason = 0;
	e.flags = BN_FLOW_ORIGIN;
	assert_line(*state, &e,
		    TIME_TEXT "\"verdict\":\"FORWARDED\",\"event_type\":\"opened\"," POLICY_IP
			      ",\"traffic_direction\":\"EGRESS\",\"is_reply\":false,"
			      "\"node_name\":\"node-a\",\"Summary\":\"TCP Flags: SYN\"}");
}

static void test_audited(void **state)
{
	struct bn_event e = event_of_policy(BN_EVENT_FLOW_OPENED);

	e.reason = BN_DROP_POLICY_INGRESS;
	e.flags = BN_FLOW_ORIGIN;
	assert_line(*state, &e,
		    TIME_TEXT "\"verdict\":\"AUDIT\",\"drop_reason\":16,"
			      "\"drop_reason_desc\":\"policy-ingress\","
			      "\"event_type\":\"opened\"," POLICY_IP
			      ",\"traffic_direction\":\"EGRESS\",\"is_reply\":false,"
			      "\"node_name\":\"node-a\"" POLICY_RULES);
}

/* A flow goes on; it may be its answer that told. */
static void test_audited_later(void **state)
{
	struct bn_event e = event_of_policy(BN_EVENT_AUDIT);

	e.reason = BN_DROP_POLICY_INGRESS;
	e.flags = 0;
	assert_line(*state, &e,
		    TIME_TEXT "\"verdict\":\"AUDIT\",\"drop_reason\":16,"
			      "\"drop_reason_desc\":\"policy-ingress\","
			      "\"event_type\":\"audit\"," POLICY_IP
			      ",\"traffic_direction\":\"EGRESS\",\"is_reply\":true,"
			      "\"node_name\":\"node-a\"" POLICY_RULES);
}

static void test_masqueraded_udp(void **state)
{
	struct bn_event e = fixture_event(BN_EVENT_FLOW_OPENED, IPPROTO_UDP, "10.0.0.1", 5353,
					  "203.0.113.9", 53);

	fixture_target(&e, "192.0.2.1", 33000, "203.0.113.9", 53);
	e.flags |= BN_FLOW_MASQ | BN_FLOW_NAT;
	e.src_identity = 300;
	e.dst_identity = BN_IDENTITY_WORLD;
	assert_line(*state, &e,
		    TIME_TEXT
		    "\"verdict\":\"FORWARDED\",\"event_type\":\"opened\","
		    "\"IP\":{\"source\":\"10.0.0.1\",\"source_xlated\":\"192.0.2.1\","
		    "\"destination\":\"203.0.113.9\",\"ipVersion\":\"IPv4\"},"
		    "\"l4\":{\"UDP\":{\"source_port\":5353,\"destination_port\":53}}," CLIENT
		    ",\"destination\":{\"identity\":2,\"labels\":[\"reserved:world\"]},"
		    "\"traffic_direction\":\"EGRESS\",\"is_reply\":false,\"node_name\":\"node-a\","
		    "\"translated\":{\"ip\":\"192.0.2.1\",\"port\":33000},\"Summary\":\"UDP\"}");
}

static void test_icmp_from_the_host(void **state)
{
	struct bn_event e =
		fixture_event(BN_EVENT_FLOW_OPENED, IPPROTO_ICMP, "192.0.2.1", 77, "10.0.0.2", 0);

	fixture_target(&e, "192.0.2.1", 77, "10.0.0.2", 0);
	e.hook = BN_HOOK_TO_POD;
	e.src_identity = BN_IDENTITY_HOST;
	e.dst_identity = 301;
	assert_line(*state, &e,
		    TIME_TEXT "\"verdict\":\"FORWARDED\",\"event_type\":\"opened\","
			      "\"IP\":{\"source\":\"192.0.2.1\",\"destination\":\"10.0.0.2\","
			      "\"ipVersion\":\"IPv4\"},\"l4\":{\"ICMPv4\":{\"type\":8,\"code\":0}},"
			      "\"source\":{\"identity\":1,\"node_name\":\"node-a\","
			      "\"labels\":[\"reserved:host\"]}," WEB
			      ",\"traffic_direction\":\"INGRESS\",\"is_reply\":false,"
			      "\"node_name\":\"node-a\",\"Summary\":\"ICMPv4\"}");
}

static void test_drop_of_no_packet(void **state)
{
	struct bn_event e = {
		.header = {BN_EVENT_VERSION, BN_EVENT_DROP, sizeof(e)},
		.hook = BN_HOOK_FROM_POD,
		.reason = BN_DROP_UNSUPPORTED_ETHERTYPE,
	};

	assert_line(*state, &e,
		    TIME_TEXT
		    "\"verdict\":\"DROPPED\",\"drop_reason\":2,"
		    "\"drop_reason_desc\":\"unsupported-ethertype\",\"event_type\":\"drop\","
		    "\"source\":{\"identity\":0,\"labels\":[\"reserved:unknown\"]},"
		    "\"destination\":{\"identity\":0,\"labels\":[\"reserved:unknown\"]},"
		    "\"traffic_direction\":\"EGRESS\",\"node_name\":\"node-a\","
		    "\"Summary\":\"no IP packet\"}");
}

static void test_reply_and_other_protocol(void **state)
{
	struct world *w = *state;
	struct bn_event e = fixture_event(BN_EVENT_DROP, 47, "10.0.0.2", 0, "10.0.0.1", 0);

	e.flags = BN_FLOW_NAT;
	e.hook = BN_HOOK_FROM_UPLINK;
	bn_buf_reset(&w->buf);
	{
		struct bn_flow_record rec = record_of(w, &e);

		bn_flow_json(&w->buf, &rec, "node-a");
		bn_flow_record_done(&rec);
	}
	bn_buf_putc(&w->buf, 0);
	assert_non_null(strstr(w->buf.data, "\"l4\":{\"protocol\":47}"));
	assert_non_null(strstr(w->buf.data, "\"is_reply\":true"));
	assert_non_null(strstr(w->buf.data, "\"traffic_direction\":\"INGRESS\""));
	assert_non_null(strstr(w->buf.data, "\"Summary\":\"IP protocol 47\""));
}

static void assert_string(const char *in, const char *want)
{
	struct bn_buf b = BN_BUF_INIT;
	json_t *s;

	bn_buf_json_string(&b, in);
	s = json_loadb(b.data, b.len, JSON_DECODE_ANY, NULL);
	assert_non_null(s);
	json_decref(s);
	bn_buf_putc(&b, 0);
	assert_string_equal(b.data, want);
	bn_buf_done(&b);
}

static void test_hostile_strings(void **state)
{
	assert_string("", "\"\"");
	assert_string("a\"b\\c/", "\"a\\\"b\\\\c/\"");
	assert_string("\x1b[2Jx\n\r\t\x7f", "\"\\u001b[2Jx\\u000a\\u000d\\u0009\\u007f\"");
	assert_string("\xc2\x9b"
		      "31m\xc2\xa0",
		      "\"\\u009b31m\xc2\xa0\""); /* C1: CSI */
	assert_string("gr\xc3\xbc\xc3\x9f \xe2\x82\xac \xf0\x9f\x8c\x8d",
		      "\"gr\xc3\xbc\xc3\x9f \xe2\x82\xac \xf0\x9f\x8c\x8d\"");
	assert_string("\xff\xc0\x80", "\"\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\"");
	assert_string("\xed\xa0\x80", "\"\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\""); /* surrogate */
	assert_string("\xe2\x82", "\"\xef\xbf\xbd\xef\xbf\xbd\"");                 /* cut short */
	assert_string("\xf4\x90\x80\x80", "\"\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\"");
}

/* As Hubble says it, numbers of 64 bits being strings there. */
static void test_lost(void **state)
{
	struct bn_buf b = BN_BUF_INIT;

	bn_flow_json_lost(&b, BN_LOST_DATAPATH, 7, 1700000000000000123, "node-a");
	bn_flow_json_lost(&b, BN_LOST_READER, UINT64_MAX, 1700000000000000000, "b");
	bn_buf_putc(&b, 0);
	assert_string_equal(
		b.data,
		"{\"lost_events\":{\"source\":\"PERF_EVENT_RING_BUFFER\",\"num_events_lost\":"
		"\"7\"},\"time\":\"2023-11-14T22:13:20.000000123Z\",\"node_name\":\"node-a\"}"
		"{\"lost_events\":{\"source\":\"HUBBLE_RING_BUFFER\",\"num_events_lost\":"
		"\"18446744073709551615\"},\"time\":\"2023-11-14T22:13:20.000000000Z\","
		"\"node_name\":\"b\"}");
	bn_buf_done(&b);
}

static void test_every_label(void **state)
{
	for (unsigned int i = 1; i < BN_DROP_MAX; i++)
		assert_string_not_equal(bn_drop_reason_label(i), "unknown");
	assert_string_equal(bn_drop_reason_label(0), "unknown");
	assert_string_equal(bn_drop_reason_label(BN_DROP_MAX), "unknown");
	for (unsigned int i = BN_CLOSE_FIN; i <= BN_CLOSE_STALE; i++)
		assert_string_not_equal(bn_close_cause_label(i), "unknown");
	assert_string_equal(bn_close_cause_label(255), "unknown");
	assert_string_equal(bn_identity_label(3), "remote-node");
	assert_null(bn_identity_label(256));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_opened_to_a_service, setup, teardown),
		cmocka_unit_test_setup_teardown(test_closed_v6, setup, teardown),
		cmocka_unit_test_setup_teardown(test_drop_without_backend, setup, teardown),
		cmocka_unit_test_setup_teardown(test_denied_by_policy, setup, teardown),
		cmocka_unit_test_setup_teardown(test_cluster_policy, setup, teardown),
		cmocka_unit_test_setup_teardown(test_audited, setup, teardown),
		cmocka_unit_test_setup_teardown(test_audited_later, setup, teardown),
		cmocka_unit_test_setup_teardown(test_masqueraded_udp, setup, teardown),
		cmocka_unit_test_setup_teardown(test_icmp_from_the_host, setup, teardown),
		cmocka_unit_test_setup_teardown(test_drop_of_no_packet, setup, teardown),
		cmocka_unit_test_setup_teardown(test_reply_and_other_protocol, setup, teardown),
		cmocka_unit_test(test_hostile_strings),
		cmocka_unit_test(test_lost),
		cmocka_unit_test(test_every_label),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
