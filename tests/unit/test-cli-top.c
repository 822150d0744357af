// SPDX-License-Identifier: Apache-2.0
/* What `top` adds up from readings of the flow table and from records, and the tables it makes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "top.h"

#define CONN(sport, packets, bytes, reply) \
	"{\"protocol\":\"tcp\",\"source\":\"10.0.0.2\",\"source_port\":" #sport \
	",\"destination\":\"10.96.0.10\",\"destination_port\":80,\"to_destination\":\"10.0.0.3\"," \
	"\"to_destination_port\":8080,\"packets\":" #packets ",\"bytes\":" #bytes \
	",\"reply_packets\":1,\"reply_bytes\":" #reply ",\"service\":\"default/web\"}"

#define FLOW(event, sport, more) \
	"{\"event_type\":\"" event \
	"\",\"IP\":{\"source\":\"10.0.0.2\",\"destination\":\"10.0.0.3\"}," \
	"\"l4\":{\"TCP\":{\"source_port\":" #sport ",\"destination_port\":8080}}," \
	"\"source\":{\"namespace\":\"default\",\"pod_name\":\"client\"}," \
	"\"destination\":{\"namespace\":\"default\",\"pod_name\":\"web-1\"}," \
	"\"destination_service\":{\"namespace\":\"default\",\"name\":\"web\"}" more "}"

static void feed(struct bn_top *t, void (*fn)(struct bn_top *, const json_t *), const char *text)
{
	json_t *o = json_loads(text, 0, NULL);

	assert_non_null(o);
	fn(t, o);
	json_decref(o);
}

static void reading(struct bn_top *t, double seconds, const char *a, const char *b)
{
	bn_top_begin(t);
	if (a)
		feed(t, bn_top_conn, a);
	if (b)
		feed(t, bn_top_conn, b);
	bn_top_end(t, seconds);
}

static struct bn_top *begin(void)
{
	struct bn_top *t = bn_top_new();

	assert_non_null(t);
	feed(t, bn_top_endpoints,
	     "[{\"namespace\":\"default\",\"pod\":\"client\",\"ips\":[\"10.0.0.2\"]},"
	     "{\"namespace\":\"default\",\"pod\":\"web-1\",\"ips\":[\"10.0.0.3\"]}]");
	return t;
}

static const struct bn_top_row *only(struct bn_top *t, enum bn_top_view view)
{
	const struct bn_top_row **rows, *row;
	size_t n;

	rows = bn_top_rows(t, view, BN_TOP_OUT, false, &n);
	assert_non_null(rows);
	assert_int_equal(n, 1);
	row = rows[0];
	free(rows);
	return row;
}

static void values(const struct bn_top_row *r, double flows, double opened, double packets,
		   double out, double in, double drops)
{
	const double want[] = {flows, opened, packets, out, in, drops};

	for (size_t i = 0; i < 6; i++) {
		if (r->value[i] != want[i])
			fail_msg("%s: %g, not %g", bn_top_sorts[i], r->value[i], want[i]);
	}
}

/* Readings give differences, and the first one is where they begin. */
static void test_live(void **state)
{
	struct bn_top *t = begin();
	const struct bn_top_row *r;

	reading(t, 1, CONN(1000, 10, 1000, 5000), NULL);
	r = only(t, BN_TOP_TALKERS);
	assert_string_equal(r->name, "default/client");
	assert_string_equal(r->other, "default/web-1");
	values(r, 1, 0, 0, 0, 0, 0);
	reading(t, 2, CONN(1000, 14, 1400, 9000), CONN(1001, 2, 200, 300));
	values(only(t, BN_TOP_TALKERS), 2, 0, 3, 300, 2150, 0);
	values(only(t, BN_TOP_SERVICES), 2, 0, 3, 300, 2150, 0);
	assert_string_equal(only(t, BN_TOP_SERVICES)->name, "default/web");
	/* the same ports again: all of it is new */
	reading(t, 1, CONN(1000, 3, 30, 40), NULL);
	values(only(t, BN_TOP_TALKERS), 1, 0, 3, 30, 40, 0);
	bn_top_free(t);
}

/* A flow is counted to its last packet, once, whoever tells of it first. */
static void test_closed(void **state)
{
	static const char closed[] = FLOW("closed", 1000,
					  ",\"packets\":20,\"bytes\":2000,\"reply_packets\":9,"
					  "\"reply_bytes\":9000");
	static const char brief[] = FLOW("closed", 1002,
					 ",\"packets\":5,\"bytes\":500,\"reply_packets\":4,"
					 "\"reply_bytes\":400");
	struct bn_top *t = begin();

	reading(t, 1, CONN(1000, 10, 1000, 5000), NULL);
	/* ended between two readings */
	feed(t, bn_top_flow, closed);
	/* came and went: no reading has seen it */
	feed(t, bn_top_flow, FLOW("opened", 1002, ""));
	feed(t, bn_top_flow, brief);
	/* the first still stands in the table for a moment */
	reading(t, 1, CONN(1000, 20, 2000, 9000), NULL);
	values(only(t, BN_TOP_TALKERS), 1, 1, 15, 1500, 4400, 0);
	values(only(t, BN_TOP_SERVICES), 1, 1, 15, 1500, 4400, 0);
	reading(t, 1, NULL, NULL);
	values(only(t, BN_TOP_TALKERS), 0, 0, 0, 0, 0, 0);
	/* read, then told: nothing more */
	reading(t, 1, CONN(1003, 7, 70, 7), NULL);
	feed(t, bn_top_flow,
	     FLOW("closed", 1003,
		  ",\"packets\":7,\"bytes\":70,\"reply_packets\":1,"
		  "\"reply_bytes\":7"));
	reading(t, 1, NULL, NULL);
	values(only(t, BN_TOP_TALKERS), 0, 0, 0, 0, 0, 0);
	bn_top_free(t);
}

static void test_drops(void **state)
{
	struct bn_top *t = begin();
	const struct bn_top_row *r;

	reading(t, 1, NULL, NULL);
	for (int i = 0; i < 3; i++)
		feed(t, bn_top_flow, FLOW("drop", 1, ",\"drop_reason_desc\":\"policy-ingress\""));
	reading(t, 2, NULL, NULL);
	r = only(t, BN_TOP_DROPS);
	assert_string_equal(r->name, "policy-ingress");
	assert_string_equal(r->last, "default/client -> default/web-1");
	assert_true(r->value[BN_TOP_DROPPED] == 1.5 && r->value[BN_TOP_TOTAL] == 3);
	values(only(t, BN_TOP_TALKERS), 0, 0, 0, 0, 0, 1.5);
	/* a pair that has been silent for long goes, a reason stays */
	for (int i = 0; i < 12; i++)
		reading(t, 1, NULL, NULL);
	r = only(t, BN_TOP_DROPS);
	assert_true(r->value[BN_TOP_DROPPED] == 0 && r->value[BN_TOP_TOTAL] == 3);
	free(bn_top_rows(t, BN_TOP_TALKERS, BN_TOP_OUT, false, &(size_t){0}));
	bn_top_free(t);
}

/* Rubbish from the socket adds nothing and breaks nothing. */
static void test_rubbish(void **state)
{
	static const char *const rubbish[] = {
		"{}",
		"[]",
		"{\"event_type\":1}",
		"{\"event_type\":\"closed\"}",
		"{\"event_type\":\"closed\",\"l4\":{\"TCP\":{\"source_port\":1}}}",
		"{\"protocol\":\"tcp\"}",
		"{\"protocol\":1,\"source\":2,\"destination\":3}",
		"{\"event_type\":\"closed\",\"l4\":[],\"IP\":[],\"source\":[],\"destination\":1}",
	};
	struct bn_top *t = bn_top_new();
	size_t n;

	bn_top_begin(t);
	for (size_t i = 0; i < sizeof(rubbish) / sizeof(rubbish[0]); i++) {
		feed(t, bn_top_conn, rubbish[i]);
		feed(t, bn_top_flow, rubbish[i]);
		feed(t, bn_top_endpoints, rubbish[i]);
	}
	bn_top_end(t, 0);
	free(bn_top_rows(t, BN_TOP_SERVICES, BN_TOP_NAME, true, &n));
	assert_int_equal(n, 0);
	bn_top_free(t);
}

/* ---- tables ---- */

static const struct bn_top_row rows[] = {
	{"default/client", "shop/web-1", NULL, {3, 0.5, 1234, 5.2 * 1024 * 1024, 999, 0, 0}},
	{"a/\033[31mb", "[2001:db8::1]", NULL, {1000000, 0, 9.96, 1023, 1024, 12, 0}},
};
static const struct bn_top_row *const list[] = {&rows[0], &rows[1]};

static void take_line(void *user, size_t n, const char *text)
{
	char **all = user, *more = NULL;

	assert_true(asprintf(&more, "%s%s\n", *all, text) > 0);
	free(*all);
	*all = more;
}

static void table(size_t width, const char *want)
{
	const struct bn_top_style style = {.view = BN_TOP_TALKERS,
					   .sort = BN_TOP_OUT,
					   .width = width,
					   .most = 10,
					   .headers = true};
	char *got = strdup("");

	bn_top_table(list, 2, &style, take_line, &got);
	assert_string_equal(got, want);
	free(got);
}

static void test_table(void **state)
{
	table(0, "SOURCE          DESTINATION    FLOWS  NEW/s  PKT/s  *OUT/s  IN/s  DROP/s\n"
		 "default/client  shop/web-1         3    0.5   1.2K    5.2M   999       0\n"
		 "a/\\x1b[31mb     [2001:db8::1]     1M      0     10    1.0K    1K      12\n");
	/* names are cut before columns go, and columns before names are all but gone */
	table(64, "SOURCE     DESTINATI~  FLOWS  NEW/s  PKT/s  *OUT/s  IN/s  DROP/s\n"
		  "default/~  shop/web-1      3    0.5   1.2K    5.2M   999       0\n"
		  "a/\\x1b[3~  [2001:db8~     1M      0     10    1.0K    1K      12\n");
	table(30, "SOURCE    DESTINA~  *OUT/s\n"
		  "default~  shop/we~    5.2M\n"
		  "a/\\x1b[~  [2001:d~    1.0K\n");
	table(1, "~  ~\n~  ~\n~  ~\n");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_live),  cmocka_unit_test(test_closed),
		cmocka_unit_test(test_drops), cmocka_unit_test(test_rubbish),
		cmocka_unit_test(test_table),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
