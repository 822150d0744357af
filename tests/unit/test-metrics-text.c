// SPDX-License-Identifier: Apache-2.0
/* The metrics text: grouping, escapes, the sources of the agent, and the table's own rules. */
#include "unit/flows-fixture.h"

#include <math.h>
#include <stdbool.h>
#include <stdlib.h>

#include "metrics/sources.h"

static void collect_one(struct bn_metrics_out *out, void *user)
{
	bn_metric_map(out, "bn_flows", true, 1, 10, 100);
	bn_metric_map(out, "bn_node", false, 1, 1, 8);
	bn_metric_u64(out, BN_METRIC_BUILD_INFO, 1, "version", "1\"2\\3\n4", "node", "n", NULL);
}

static void collect_two(struct bn_metrics_out *out, void *user)
{
	bn_metric_map(out, user, true, UINT64_MAX, 20, 200);
	bn_metric_f64(out, BN_METRIC_PROCESS_CPU, 1.25, NULL);
	bn_metric_f64(out, BN_METRIC_PROCESS_START, INFINITY, NULL);
	bn_metric_f64(out, BN_METRIC_PROCESS_START, NAN, "a", "b", NULL);
}

static void test_text(void **state)
{
	char map[] = "bn_names";
	struct bn_metrics *m;
	size_t len;
	char *text;

	assert_int_equal(bn_metrics_new(&m), 0);
	assert_int_equal(bn_metrics_text(m, &text, &len), 0);
	assert_string_equal(text, "");
	free(text);
	assert_int_equal(bn_metrics_register(m, collect_one, NULL), 0);
	assert_int_equal(bn_metrics_register(m, collect_two, map), 0);
	assert_int_equal(bn_metrics_text(m, &text, &len), 0);
	assert_int_equal(len, strlen(text));
	assert_string_equal(
		text, "# HELP bpfnet_build_info Version of the agent; always 1.\n"
		      "# TYPE bpfnet_build_info gauge\n"
		      "bpfnet_build_info{version=\"1\\\"2\\\\3\\n4\",node=\"n\"} 1\n"
		      "# HELP bpfnet_map_entries Entries of a BPF map.\n"
		      "# TYPE bpfnet_map_entries gauge\n"
		      "bpfnet_map_entries{map=\"bn_flows\"} 1\n"
		      "bpfnet_map_entries{map=\"bn_names\"} 18446744073709551615\n"
		      "# HELP bpfnet_map_max_entries Entries that a BPF map holds at most.\n"
		      "# TYPE bpfnet_map_max_entries gauge\n"
		      "bpfnet_map_max_entries{map=\"bn_flows\"} 10\n"
		      "bpfnet_map_max_entries{map=\"bn_names\"} 20\n"
		      "# HELP bpfnet_map_bytes Memory of a BPF map.\n"
		      "# TYPE bpfnet_map_bytes gauge\n"
		      "bpfnet_map_bytes{map=\"bn_flows\"} 100\n"
		      "bpfnet_map_bytes{map=\"bn_node\"} 8\n"
		      "bpfnet_map_bytes{map=\"bn_names\"} 200\n"
		      "# HELP process_start_time_seconds When the agent started, in seconds since "
		      "the epoch.\n"
		      "# TYPE process_start_time_seconds gauge\n"
		      "process_start_time_seconds +Inf\n"
		      "process_start_time_seconds{a=\"b\"} NaN\n"
		      "# HELP process_cpu_seconds_total CPU time of the agent.\n"
		      "# TYPE process_cpu_seconds_total counter\n"
		      "process_cpu_seconds_total 1.25\n");
	free(text);
	bn_metrics_free(m);
}

static int read_counters(void *user, __u64 ret[BN_CNT_MAX])
{
	if (*(int *)user < 0)
		return *(int *)user;
	for (unsigned int i = 0; i < BN_CNT_MAX; i++)
		ret[i] = 100 + i;
	return 0;
}

static int read_drops(void *user, struct bn_drop_counter ret[BN_DROP_MAX])
{
	if (*(int *)user < 0)
		return *(int *)user;
	for (unsigned int i = 0; i < BN_DROP_MAX; i++)
		ret[i] = (struct bn_drop_counter){
			.of[BN_DROPPED_EGRESS] = {i, i * 64},
			.of[BN_DROPPED_INGRESS] = {i * 2, i * 128},
			.suppressed = 1,
			.lost = i / 2,
		};
	return 0;
}

static struct bn_flow_sums sums;

static int read_flows(void *user, struct bn_flow_sums *ret)
{
	*ret = sums;
	return *(int *)user;
}

static void collect_histogram(struct bn_metrics_out *out, void *user)
{
	struct bn_histogram h = {0};

	bn_histogram_add(&h, 50e-6);
	bn_histogram_add(&h, 100e-6);
	bn_histogram_add(&h, 20);
	bn_metric_histogram(out, BN_METRIC_APPLY, &h, "a", "b", NULL);
}

static void assert_has(const char *text, const char *line)
{
	size_t len = strlen(line);

	for (const char *p = text; (p = strstr(p, line)); p += len)
		if ((p == text || p[-1] == '\n') && p[len] == '\n')
			return;
	fail_msg("no line '%s' in\n%s", line, text);
}

static void test_sources(void **state)
{
	const struct bn_event closed =
		fixture_event(BN_EVENT_FLOW_CLOSED, IPPROTO_TCP, "10.0.0.1", 1, "10.0.0.2", 2);
	struct bn_observer_config config = {.events_fd = -1, .node_name = "n", .history = 10};
	struct bn_metrics_flows flows = {0};
	int result = 0;
	struct bn_metrics_datapath datapath = {read_counters, read_drops, read_flows, &result,
					       4536};
	struct bn_metrics *m;
	sd_event *loop;
	size_t len;
	char *text;

	sums = (struct bn_flow_sums){.transient = 5, .both = 2, .packets = 7, .bytes = 200};
	assert_int_equal(sd_event_new(&loop), 0);
	assert_int_equal(bn_names_new(NULL, &flows.names), 0);
	config.names = flows.names;
	assert_int_equal(bn_observer_new(loop, &config, &flows.observer), 0);
	assert_int_equal(bn_metrics_new(&m), 0);
	assert_int_equal(bn_metrics_add_datapath(m, &datapath), 0);
	assert_int_equal(bn_metrics_add_flows(m, &flows, 2), 0);
	assert_int_equal(bn_metrics_add_agent(m), 0);
	fixture_pod(flows.names, "10.0.0.1", "default", "web", 300, NULL);
	for (int i = 0; i < 12; i++)
		assert_int_equal(bn_observer_inject(flows.observer, &closed), 0);

	assert_int_equal(bn_metrics_text(m, &text, &len), 0);
	assert_has(text, "bpfnet_build_info{version=\"" BN_VERSION "\"} 1");
	assert_has(text,
		   "bpfnet_drop_packets_total{reason=\"policy-ingress\",direction=\"egress\"} 16");
	assert_has(text, "bpfnet_drop_packets_total{reason=\"policy-ingress\","
			 "direction=\"ingress\"} 32");
	assert_has(text,
		   "bpfnet_drop_bytes_total{reason=\"policy-ingress\",direction=\"egress\"} 1024");
	/* closed ones and those that are open; it does not fall where one is seen in neither */
	assert_has(text, "bpfnet_packets_total 121");
	assert_has(text, "bpfnet_bytes_total 315");
	assert_has(text, "bpfnet_flows{state=\"transient\"} 5");
	assert_has(text, "bpfnet_nat_flows{nat=\"dnat,snat\"} 2");
	assert_has(text, "bpfnet_nat_ports 4536");
	assert_has(text, "bpfnet_events_suppressed_total{reason=\"nat-loop\"} 1");
	assert_has(text, "bpfnet_flows_opened_total 100");
	assert_has(text, "bpfnet_rejects_total 111");
	assert_has(text, "bpfnet_events_lost_total{stage=\"ring-buffer\"} 106");
	assert_has(text, "bpfnet_events_lost_total{stage=\"readers\"} 0");
	assert_has(text, "bpfnet_flow_events_lost_total{type=\"opened\"} 112");
	assert_has(text, "bpfnet_flow_events_lost_total{type=\"closed\"} 113");
	assert_has(text, "bpfnet_drop_events_lost_total{reason=\"policy-ingress\"} 8");
	assert_has(text, "bpfnet_events_injected_total 12");
	assert_has(text, "bpfnet_flows_ended_total{cause=\"fin\"} 12");
	assert_has(text, "bpfnet_flow_events_total{type=\"closed\"} 12");
	assert_has(text, "bpfnet_history_flows 10");
	assert_has(text, "bpfnet_history_overwritten_total 2");
	assert_has(text, "bpfnet_names{kind=\"address\"} 1");
	assert_non_null(strstr(text, "\nprocess_resident_memory_bytes "));
	assert_non_null(strstr(text, "\nprocess_start_time_seconds 1"));
	free(text);

	/* what cannot be read is left out */
	sums.packets = 0;
	assert_int_equal(bn_metrics_text(m, &text, &len), 0);
	assert_has(text, "bpfnet_packets_total 121");
	free(text);
	result = -ENOENT;
	assert_int_equal(bn_metrics_text(m, &text, &len), 0);
	assert_null(strstr(text, "bpfnet_drop_packets_total"));
	assert_null(strstr(text, "bpfnet_flows_opened_total"));
	assert_has(text, "bpfnet_events_injected_total 12");
	free(text);

	bn_metrics_free(m);
	bn_metrics_flows_done(&flows);
	bn_observer_free(flows.observer);
	bn_names_free(flows.names);
	sd_event_unref(loop);
}

static void test_histogram(void **state)
{
	struct bn_metrics *m;
	char *text;
	size_t len;

	assert_int_equal(bn_metrics_new(&m), 0);
	assert_int_equal(bn_metrics_register(m, collect_histogram, NULL), 0);
	assert_int_equal(bn_metrics_text(m, &text, &len), 0);
	assert_has(text, "# TYPE bpfnet_apply_duration_seconds histogram");
	assert_has(text, "bpfnet_apply_duration_seconds_bucket{a=\"b\",le=\"5e-05\"} 1");
	assert_has(text, "bpfnet_apply_duration_seconds_bucket{a=\"b\",le=\"0.0001\"} 2");
	assert_has(text, "bpfnet_apply_duration_seconds_bucket{a=\"b\",le=\"10\"} 2");
	assert_has(text, "bpfnet_apply_duration_seconds_bucket{a=\"b\",le=\"+Inf\"} 3");
	assert_has(text, "bpfnet_apply_duration_seconds_sum{a=\"b\"} 20.00015");
	assert_has(text, "bpfnet_apply_duration_seconds_count{a=\"b\"} 3");
	free(text);
	bn_metrics_free(m);
}

/* A connection of a client to a service's backend; 0 microseconds: it is opened. */
static void connection(struct bn_metrics_flows *f, uint32_t service, const char *backend,
		       uint64_t time, uint32_t handshake)
{
	struct bn_event e = fixture_event(handshake ? BN_EVENT_FLOW_CLOSED : BN_EVENT_FLOW_OPENED,
					  IPPROTO_TCP, "10.0.0.9", 40000, backend, 8080);

	e.service = service;
	e.time = time;
	if (handshake)
		e.handshake = handshake;
	assert_int_equal(bn_observer_inject(f->observer, &e), 0);
}

static void test_services(void **state)
{
	struct bn_observer_config config = {.events_fd = -1, .node_name = "n", .history = 10};
	struct bn_metrics_flows flows = {0};
	const uint64_t later = BN_SERIES_IDLE_NS + 100;
	struct bn_metrics *m;
	sd_event *loop;
	size_t len;
	char *text;

	assert_int_equal(sd_event_new(&loop), 0);
	assert_int_equal(bn_names_new(NULL, &flows.names), 0);
	config.names = flows.names;
	assert_int_equal(bn_observer_new(loop, &config, &flows.observer), 0);
	assert_int_equal(bn_metrics_new(&m), 0);
	assert_int_equal(bn_metrics_add_flows(m, &flows, 2), 0);
	fixture_pod(flows.names, "10.0.0.1", "default", "web-1", 300, NULL);
	assert_int_equal(bn_names_service_id_set(flows.names, 7, "default", "web"), 0);
	assert_int_equal(bn_names_service_id_set(flows.names, 8, "default", "tea"), 0);

	connection(&flows, 7, "10.0.0.1", 100, 0);
	connection(&flows, 7, "10.0.0.1", 100, 0);
	connection(&flows, 7, "192.0.2.1", 100, 0);
	connection(&flows, 8, "10.0.0.1", 100, 0); /* no room for a third */
	connection(&flows, 9, "10.0.0.1", 100, 0); /* nobody's */
	connection(&flows, 0, "10.0.0.1", 100, 0);
	connection(&flows, 7, "10.0.0.1", 100, 200);
	connection(&flows, 7, "192.0.2.1", 100, 2000000);
	assert_int_equal(bn_metrics_text(m, &text, &len), 0);
	assert_has(text, "bpfnet_service_connections_total{namespace=\"default\",service=\"web\","
			 "backend=\"10.0.0.1:8080\",pod=\"default/web-1\"} 2");
	assert_has(text, "bpfnet_service_connections_total{namespace=\"default\",service=\"web\","
			 "backend=\"192.0.2.1:8080\",pod=\"\"} 1");
	assert_has(text, "bpfnet_service_connections_total{namespace=\"other\",service=\"other\","
			 "backend=\"other\",pod=\"other\"} 1");
	assert_has(text,
		   "bpfnet_metrics_other_total{metric=\"bpfnet_service_connections_total\"} 1");
	assert_has(text, "bpfnet_service_handshake_seconds_bucket{namespace=\"default\","
			 "service=\"web\",le=\"0.00025\"} 1");
	assert_has(text, "bpfnet_service_handshake_seconds_count{namespace=\"default\","
			 "service=\"web\"} 2");
	assert_has(text, "bpfnet_service_handshake_seconds_sum{namespace=\"default\","
			 "service=\"web\"} 2.0002");
	free(text);

	/* one that was heard of does not go, one that was not makes room */
	connection(&flows, 7, "10.0.0.1", later, 0);
	connection(&flows, 8, "10.0.0.1", later, 0);
	assert_int_equal(bn_metrics_text(m, &text, &len), 0);
	assert_has(text, "bpfnet_service_connections_total{namespace=\"default\",service=\"web\","
			 "backend=\"10.0.0.1:8080\",pod=\"default/web-1\"} 3");
	assert_has(text, "bpfnet_service_connections_total{namespace=\"default\",service=\"tea\","
			 "backend=\"10.0.0.1:8080\",pod=\"default/web-1\"} 1");
	assert_null(strstr(text, "192.0.2.1"));
	free(text);

	/* the number is another service's now */
	assert_int_equal(bn_names_service_id_set(flows.names, 8, "default", "milk"), 0);
	connection(&flows, 8, "10.0.0.1", UINT64_MAX / 2, 0);
	assert_int_equal(bn_metrics_text(m, &text, &len), 0);
	assert_has(text, "bpfnet_service_connections_total{namespace=\"default\",service=\"milk\","
			 "backend=\"10.0.0.1:8080\",pod=\"default/web-1\"} 1");
	assert_null(strstr(text, "tea"));
	free(text);

	bn_metrics_free(m);
	bn_metrics_flows_done(&flows);
	bn_observer_free(flows.observer);
	bn_names_free(flows.names);
	sd_event_unref(loop);
}

/* A sum of parts that come and go never falls. */
static void test_sum(void **state)
{
	struct bn_series s = {0};

	assert_int_equal(bn_series_sum(&s, 10), 10);
	assert_int_equal(bn_series_sum(&s, 15), 15);
	assert_int_equal(bn_series_sum(&s, 4), 15);
	assert_int_equal(bn_series_sum(&s, 6), 17);
	assert_int_equal(bn_series_sum(&s, 0), 17);
	assert_int_equal(bn_series_sum(&s, 1), 18);
}

/* Prometheus' conventions, which the table has to keep. */
static void test_table(void **state)
{
	static const struct {
		const char *name, *type, *help;
	} table[] = {
#define BN_X(id, name, type, help) {name, type, help},
		BN_METRICS(BN_X)
#undef BN_X
	};

	for (size_t i = 0; i < sizeof(table) / sizeof(*table); i++) {
		size_t len = strlen(table[i].name);
		bool total = len > 6 && strcmp(table[i].name + len - 6, "_total") == 0;

		assert_true(!strncmp(table[i].name, "bpfnet_", 7) ||
			    !strncmp(table[i].name, "process_", 8));
		assert_int_equal(strspn(table[i].name, "abcdefghijklmnopqrstuvwxyz_"), len);
		assert_int_equal(total, strcmp(table[i].type, "counter") == 0);
		assert_null(strpbrk(table[i].help, "\\\n"));
		for (size_t j = 0; j < i; j++)
			assert_string_not_equal(table[i].name, table[j].name);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_text),      cmocka_unit_test(test_sources),
		cmocka_unit_test(test_histogram), cmocka_unit_test(test_services),
		cmocka_unit_test(test_sum),       cmocka_unit_test(test_table),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
