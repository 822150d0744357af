// SPDX-License-Identifier: Apache-2.0
/* The observer: history, replay and following, slow and vanishing readers, the price of a flow. */
#include "unit/flows-fixture.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include "flows/observer.h"

struct reader {
	struct bn_subscription *sub;
	char *first, *last; /* flow lines */
	size_t lines;
	size_t room;                /* lines taken before it says -EAGAIN */
	size_t free_at;             /* frees itself at this line; 0: never */
	uint64_t lost[BN_LOST_MAX]; /* by {"lost_events":...} */
	int fail;                   /* what send returns */
	int ended, error;
	bool free_at_end;
	struct bn_reader_totals totals;
};

static sd_event *loop;
static struct bn_names *names;
static struct bn_observer *observer;
static uint64_t kernel_lost;

static int lost_of_kernel(void *user, uint64_t *ret)
{
	*ret = kernel_lost;
	return 0;
}

static void observer_new(size_t history)
{
	const struct bn_observer_config config = {
		.events_fd = -1,
		.node_name = "node-a",
		.names = names,
		.history = history,
		.lost = lost_of_kernel,
	};

	assert_int_equal(bn_observer_new(loop, &config, &observer), 0);
}

static int setup(void **state)
{
	assert_int_equal(sd_event_new(&loop), 0);
	assert_int_equal(bn_names_new(NULL, &names), 0);
	fixture_pod(names, "10.0.0.1", "default", "client", 300, "client");
	observer_new(1000);
	return 0;
}

static int teardown(void **state)
{
	bn_observer_free(observer);
	bn_names_free(names);
	sd_event_unref(loop);
	return 0;
}

static int on_line(void *user, const char *line, size_t len)
{
	struct reader *r = user;
	enum bn_lost_source source;
	uint64_t lost;

	if (r->fail)
		return r->fail;
	if (r->room == 0)
		return -EAGAIN;
	r->room--;
	assert_int_equal(line[len], '\n');
	if (fixture_lost(line, &source, &lost)) {
		r->lost[source] += lost;
		return 0;
	}
	r->lines++;
	free(r->last);
	r->last = strndup(line, len);
	if (!r->first)
		r->first = strndup(line, len);
	if (r->lines == r->free_at)
		bn_subscription_free(r->sub);
	return 0;
}

static void on_end(void *user, int error, const struct bn_reader_totals *totals)
{
	struct reader *r = user;

	r->ended++;
	r->error = error;
	r->totals = *totals;
	if (r->free_at_end)
		bn_subscription_free(r->sub);
}

static void subscribe(struct reader *r, struct bn_flow_query *q)
{
	*r = (struct reader){.room = r->room ? r->room : SIZE_MAX,
			     .free_at = r->free_at,
			     .fail = r->fail,
			     .free_at_end = r->free_at_end};
	assert_int_equal(bn_observer_subscribe(observer, q, on_line, on_end, r, &r->sub), 0);
}

static void reader_done(struct reader *r)
{
	free(r->first);
	free(r->last);
	if (!r->free_at_end && !r->free_at)
		bn_subscription_free(r->sub);
}

/* Runs the loop until nothing is left to do; returns the turns it took. */
static unsigned int settle(void)
{
	unsigned int turns = 0;

	while (sd_event_run(loop, 0) > 0)
		turns++;
	return turns;
}

/* Flows to ports first, first + 1, ... */
static void inject(unsigned int first, unsigned int count)
{
	for (unsigned int i = 0; i < count; i++) {
		struct bn_event e = fixture_event(BN_EVENT_FLOW_OPENED, IPPROTO_TCP, "10.0.0.1",
						  1000, "203.0.113.9", (uint16_t)(first + i));

		assert_int_equal(bn_observer_inject(observer, &e), 0);
	}
}

static unsigned int port_of(const char *line)
{
	const char *p = strstr(line, "\"destination_port\":");
	unsigned int port = 0;

	assert_non_null(p);
	assert_int_equal(sscanf(p, "\"destination_port\":%u", &port), 1);
	return port;
}

static void test_all_that_is_kept(void **state)
{
	struct reader r = {0};
	struct bn_flow_query q = {0};

	inject(1, 1500); /* the history holds 1000 */
	subscribe(&r, &q);
	assert_int_equal(r.lines, 0); /* nothing before the loop runs */
	assert_true(settle() > 5);    /* in turns */
	assert_int_equal(r.lines, 1000);
	assert_int_equal(port_of(r.first), 501);
	assert_int_equal(port_of(r.last), 1500);
	assert_int_equal(r.ended, 1);
	assert_int_equal(r.error, 0);
	assert_int_equal(r.totals.sent, 1000);
	assert_int_equal(r.totals.lost[BN_LOST_READER], 0);
	inject(1, 1);
	settle();
	assert_int_equal(r.lines, 1000);
	reader_done(&r);
}

static void test_last(void **state)
{
	struct reader r = {0}, none = {0}, more = {0};
	struct bn_flow_query q = {.last = 3}, q_none = {.last = 3}, q_more = {.last = 5000};
	json_t *to_port_7 = json_pack("[{s:s, s:s}]", "field", "to-port", "value", "7");
	json_t *dropped = json_pack("[{s:s, s:s}]", "field", "verdict", "value", "dropped");

	for (int i = 0; i < 100; i++)
		inject(1, 10);
	assert_int_equal(bn_flow_filter_parse(to_port_7, &q.filter, NULL), 0);
	assert_int_equal(bn_flow_filter_parse(dropped, &q_none.filter, NULL), 0);
	subscribe(&r, &q);
	assert_null(q.filter);
	subscribe(&none, &q_none);
	subscribe(&more, &q_more);
	settle();
	assert_int_equal(r.lines, 3);
	assert_int_equal(port_of(r.first), 7);
	assert_int_equal(r.ended, 1);
	assert_int_equal(none.lines, 0);
	assert_int_equal(none.ended, 1);
	assert_int_equal(more.lines, 1000);
	reader_done(&r);
	reader_done(&none);
	reader_done(&more);
	json_decref(to_port_7);
	json_decref(dropped);
}

static void test_follow(void **state)
{
	struct reader fresh = {0}, some = {0};
	struct bn_flow_query q_fresh = {.follow = true}, q_some = {.follow = true, .last = 2};

	inject(1, 5);
	subscribe(&fresh, &q_fresh);
	subscribe(&some, &q_some);
	inject(6, 1); /* between the question and its first turn */
	settle();
	inject(7, 2);
	assert_int_equal(fresh.lines, 3); /* at once, not in a later turn */
	assert_int_equal(port_of(fresh.first), 6);
	assert_int_equal(some.lines, 5);
	assert_int_equal(port_of(some.first), 4);
	assert_int_equal(settle(), 0); /* those who wait cost nothing */
	assert_int_equal(fresh.ended, 0);
	reader_done(&fresh);
	reader_done(&some);
	inject(9, 1);
}

static void test_times(void **state)
{
	struct reader since = {0}, until = {0}, both = {0};
	struct bn_flow_query q_since = {0}, q_until = {0}, q_both = {0};
	struct timespec ts;
	uint64_t middle;

	inject(1, 3);
	nanosleep(&(struct timespec){.tv_nsec = 2000000}, NULL);
	clock_gettime(CLOCK_REALTIME, &ts);
	middle = (uint64_t)ts.tv_sec * 1000000000 + (uint64_t)ts.tv_nsec;
	nanosleep(&(struct timespec){.tv_nsec = 2000000}, NULL);
	inject(4, 2);
	q_since.since = middle;
	q_until.until = middle;
	q_both.since = middle;
	q_both.last = 1;
	q_both.follow = true;
	q_both.until = middle + 20000000;
	subscribe(&since, &q_since);
	subscribe(&until, &q_until);
	subscribe(&both, &q_both);
	settle();
	assert_int_equal(since.lines, 2);
	assert_int_equal(until.lines, 3);
	assert_int_equal(both.lines, 1);
	assert_int_equal(port_of(both.first), 5);
	assert_int_equal(both.ended, 0);
	while (!both.ended) /* its time is over, though nothing happens */
		assert_true(sd_event_run(loop, 1000000) > 0);
	assert_int_equal(both.error, 0);
	reader_done(&since);
	reader_done(&until);
	reader_done(&both);
}

static void test_slow_reader(void **state)
{
	struct reader r = {.room = 10}, quick = {0};
	struct bn_flow_query q = {.follow = true}, q_quick = {.follow = true};
	struct bn_observer_stats s;

	subscribe(&r, &q);
	subscribe(&quick, &q_quick);
	settle();
	inject(1, 2000);
	settle();
	assert_int_equal(r.lines, 10);
	assert_int_equal(quick.lines, 2000); /* not held up */
	r.room = SIZE_MAX;
	bn_subscription_resume(r.sub);
	settle();
	/* 11 to 1000 were overwritten */
	assert_int_equal(r.lost[BN_LOST_READER], 990);
	assert_int_equal(r.lines, 1010);
	assert_int_equal(port_of(r.last), 2000);
	inject(2001, 1);
	assert_int_equal(r.lines, 1011);
	bn_observer_stats(observer, &s);
	assert_int_equal(s.reader_lost, 990);
	assert_int_equal(s.reader_sent, 3012);
	assert_int_equal(s.readers, 2);
	assert_int_equal(s.overwritten, 1001);
	assert_int_equal(s.kept, 1000);
	reader_done(&r);
	reader_done(&quick);
}

static void test_slow_replay(void **state)
{
	struct reader r = {.room = 100};
	struct bn_flow_query q = {0};

	inject(1, 1000);
	subscribe(&r, &q);
	settle();
	inject(1001, 500);
	for (int i = 0; i < 1000 && !r.ended; i++) {
		r.room = 7;
		bn_subscription_resume(r.sub);
		settle();
	}
	/* 1 to 1000 were promised; 101 to 500 are gone, later ones were not asked for */
	assert_int_equal(r.lost[BN_LOST_READER], 400);
	assert_int_equal(r.lines, 600);
	assert_int_equal(port_of(r.last), 1000);
	assert_int_equal(r.ended, 1);
	assert_int_equal(r.totals.lost[BN_LOST_READER], 400);
	reader_done(&r);
}

static void test_vanishing_readers(void **state)
{
	struct reader gone = {.fail = -EPIPE, .free_at_end = true};
	struct reader mid = {.free_at = 5}, live = {.free_at = 2}, stays = {0};
	struct bn_flow_query q1 = {.follow = true}, q2 = {0}, q3 = {.follow = true},
			     q4 = {.follow = true};
	struct bn_observer_stats s;

	inject(1, 20);
	subscribe(&gone, &q1);
	subscribe(&live, &q3);
	subscribe(&mid, &q2);
	subscribe(&stays, &q4);
	settle();
	assert_int_equal(mid.lines, 5);
	inject(21, 10);
	settle();
	assert_int_equal(gone.ended, 1);
	assert_int_equal(gone.error, -EPIPE);
	assert_int_equal(live.lines, 2);
	assert_int_equal(live.ended, 0);
	assert_int_equal(stays.lines, 10);
	bn_observer_stats(observer, &s);
	assert_int_equal(s.readers, 1);
	assert_int_equal(s.readers_total, 4);
	reader_done(&gone);
	reader_done(&mid);
	reader_done(&live);
	reader_done(&stays);
}

static int count_other(sd_event_source *source, int fd, uint32_t revents, void *user)
{
	++*(unsigned int *)user;
	return 0;
}

/* A long replay must not keep the loop's other sources waiting. */
static void test_fairness(void **state)
{
	struct reader r = {0};
	struct bn_flow_query q = {0};
	sd_event_source *source;
	unsigned int others = 0, turns = 0;
	int fd = eventfd(1, EFD_CLOEXEC);

	inject(1, 1000);
	assert_true(sd_event_add_io(loop, &source, fd, EPOLLIN, count_other, &others) >= 0);
	subscribe(&r, &q);
	while (!r.ended && sd_event_run(loop, 0) > 0)
		turns++;
	assert_int_equal(r.lines, 1000);
	assert_true(others * 3 > turns);
	sd_event_source_unref(source);
	close(fd);
	reader_done(&r);
}

static void test_names_stay(void **state)
{
	union bn_addr a = fixture_addr("10.0.0.1");
	struct reader r = {0};
	struct bn_flow_query q = {0};

	inject(1, 1);
	fixture_pod(names, "10.0.0.1", "default", "renamed", 300, "client");
	inject(2, 1);
	assert_int_equal(bn_names_remove(names, &a), 0);
	subscribe(&r, &q);
	settle();
	assert_non_null(strstr(r.first, "\"pod_name\":\"client\""));
	assert_non_null(strstr(r.last, "\"pod_name\":\"renamed\""));
	reader_done(&r);
}

static void test_closed_flows_get_identities(void **state)
{
	struct bn_event e = fixture_event(BN_EVENT_FLOW_CLOSED, IPPROTO_TCP, "10.0.0.1", 1000,
					  "203.0.113.9", 80);
	struct reader r = {0};
	struct bn_flow_query q = {.follow = true};

	e.hook = 0;
	subscribe(&r, &q);
	settle();
	assert_int_equal(bn_observer_inject(observer, &e), 0);
	assert_non_null(strstr(r.first, "\"source\":{\"identity\":300,"));
	assert_non_null(strstr(r.first, "\"destination\":{\"identity\":2,"));
	e.cause = 9;
	assert_int_equal(bn_observer_inject(observer, &e), -EBADMSG);
	e.header.size = 4;
	assert_int_equal(bn_observer_inject(observer, &e), -EBADMSG);
	reader_done(&r);
}

static void test_drops_name_the_device(void **state)
{
	const struct bn_name_spec spec = {.kind = BN_NAME_POD,
					  .namespace = "default",
					  .name = "liar",
					  .identity = 310,
					  .local = true};
	struct bn_event e =
		fixture_event(BN_EVENT_DROP, IPPROTO_UDP, "10.0.0.1", 1000, "203.0.113.9", 80);
	struct reader r = {0};
	struct bn_flow_query q = {.follow = true};

	assert_int_equal(bn_names_device_set(names, 7, &spec), 0);
	e.reason = BN_DROP_SPOOFED_SOURCE;
	e.ifindex = 7;
	subscribe(&r, &q);
	settle();
	assert_int_equal(bn_observer_inject(observer, &e), 0);
	assert_non_null(strstr(r.first, "\"source\":\"10.0.0.1\""));
	assert_non_null(strstr(r.first, "\"pod_name\":\"liar\""));
	assert_non_null(strstr(r.first, "\"source\":{\"identity\":310,"));
	/* nothing but the device is known */
	memset(&e.tuple, 0, sizeof(e.tuple));
	e.reason = BN_DROP_UNSUPPORTED_ETHERTYPE;
	assert_int_equal(bn_observer_inject(observer, &e), 0);
	assert_non_null(strstr(r.last, "\"source\":{\"identity\":310,\"namespace\":\"default\","
				       "\"pod_name\":\"liar\""));
	e.hook = BN_HOOK_TO_POD;
	assert_int_equal(bn_observer_inject(observer, &e), 0);
	assert_non_null(strstr(r.last,
			       "\"destination\":{\"identity\":310,\"namespace\":\"default\","
			       "\"pod_name\":\"liar\""));
	reader_done(&r);
	assert_int_equal(bn_names_device_remove(names, 7), 0);
}

static void closed_direction(const char *want)
{
	struct bn_event e =
		fixture_event(BN_EVENT_FLOW_CLOSED, IPPROTO_TCP, "10.0.0.7", 1000, "10.0.0.8", 80);
	struct reader r = {0};
	struct bn_flow_query q = {.follow = true};

	e.hook = 0;
	subscribe(&r, &q);
	settle();
	assert_int_equal(bn_observer_inject(observer, &e), 0);
	assert_non_null(strstr(r.last, want));
	reader_done(&r);
}

static void test_closed_flows_get_a_direction(void **state)
{
	struct bn_name_spec pod = {.kind = BN_NAME_POD, .namespace = "default", .name = "p"};
	union bn_addr from = fixture_addr("10.0.0.7"), to = fixture_addr("10.0.0.8");

	closed_direction("\"traffic_direction\":\"INGRESS\"");
	assert_int_equal(bn_names_set(names, &from, &pod), 0);
	closed_direction("\"traffic_direction\":\"INGRESS\""); /* another node's pod */
	pod.local = true;
	assert_int_equal(bn_names_set(names, &to, &pod), 0);
	closed_direction("\"traffic_direction\":\"INGRESS\"");
	assert_int_equal(bn_names_set(names, &from, &pod), 0);
	closed_direction("\"traffic_direction\":\"EGRESS\"");
}

static void test_query(void **state)
{
	struct bn_flow_query q;
	struct bn_error err = BN_ERROR_INIT;
	json_t *good = json_pack("{s:b, s:i, s:I, s:n, s:[{s:s, s:s}], s:s}", "follow", 1, "last",
				 20, "since", (json_int_t)1700000000000000000, "until", "filters",
				 "field", "port", "value", "80", "unknown", "ignored");
	json_t *bad[] = {
		json_pack("{s:s}", "follow", "yes"),
		json_pack("{s:i}", "last", -1),
		json_pack("{s:f}", "since", 1.5),
		json_pack("{s:i, s:i}", "since", 5, "until", 4),
		json_pack("{s:s}", "filters", "x"),
	};

	assert_int_equal(bn_flow_query_parse(good, &q, NULL), 0);
	assert_true(q.follow);
	assert_int_equal(q.last, 20);
	assert_int_equal(q.since, 1700000000000000000);
	assert_non_null(q.filter);
	bn_flow_query_done(&q);
	json_decref(good);
	assert_int_equal(bn_flow_query_parse(NULL, &q, NULL), 0);
	assert_false(q.follow);
	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
		assert_int_equal(bn_flow_query_parse(bad[i], &q, &err), -EINVAL);
		assert_non_null(err.text);
		bn_error_done(&err);
		json_decref(bad[i]);
	}
}

static void test_history_bounds(void **state)
{
	struct bn_history *h;
	struct bn_flow_record rec = {0};

	assert_int_equal(bn_history_new(BN_HISTORY_MAX + 1, &h), -EINVAL);
	assert_int_equal(bn_history_new(3, &h), 0);
	assert_null(bn_history_at(h, 0));
	for (uint64_t i = 0; i < 10; i++) {
		rec.time = i;
		assert_int_equal(bn_history_add(h, &rec), i);
	}
	assert_int_equal(bn_history_oldest(h), 7);
	assert_null(bn_history_at(h, 6));
	assert_null(bn_history_at(h, 10));
	for (uint64_t i = 7; i < 10; i++)
		assert_int_equal(bn_history_at(h, i)->time, i);
	bn_history_free(h);
}

static long resident_kib(void)
{
	FILE *f = fopen("/proc/self/statm", "re");
	long pages = 0;

	assert_int_equal(fscanf(f, "%*d %ld", &pages), 1);
	(void)fclose(f);
	return pages * (sysconf(_SC_PAGESIZE) / 1024);
}

static double seconds(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

static void test_price(void **state)
{
	struct reader r = {0};
	struct bn_flow_query q = {0};
	long start = resident_kib(), empty;
	double t[3];

	bn_observer_free(observer);
	observer_new(100000);
	empty = resident_kib();
	t[0] = seconds();
	inject(1, 100000);
	t[1] = seconds();
	print_message("history: %ld KiB empty, %.1f bytes a flow kept, %.0f ns to take one\n",
		      empty - start, (double)(resident_kib() - empty) * 1024 / 100000,
		      (t[1] - t[0]) * 1e4);
	assert_true(resident_kib() - start < 32 * 1024);
	subscribe(&r, &q);
	settle();
	t[2] = seconds();
	assert_int_equal(r.lines, 100000);
	print_message("replay: %.0f ns a line of %zu bytes\n", (t[2] - t[1]) * 1e4, strlen(r.last));
	reader_done(&r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_all_that_is_kept, setup, teardown),
		cmocka_unit_test_setup_teardown(test_last, setup, teardown),
		cmocka_unit_test_setup_teardown(test_follow, setup, teardown),
		cmocka_unit_test_setup_teardown(test_times, setup, teardown),
		cmocka_unit_test_setup_teardown(test_slow_reader, setup, teardown),
		cmocka_unit_test_setup_teardown(test_slow_replay, setup, teardown),
		cmocka_unit_test_setup_teardown(test_vanishing_readers, setup, teardown),
		cmocka_unit_test_setup_teardown(test_fairness, setup, teardown),
		cmocka_unit_test_setup_teardown(test_names_stay, setup, teardown),
		cmocka_unit_test_setup_teardown(test_closed_flows_get_identities, setup, teardown),
		cmocka_unit_test_setup_teardown(test_closed_flows_get_a_direction, setup, teardown),
		cmocka_unit_test_setup_teardown(test_drops_name_the_device, setup, teardown),
		cmocka_unit_test(test_query),
		cmocka_unit_test(test_history_bounds),
		cmocka_unit_test_setup_teardown(test_price, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
