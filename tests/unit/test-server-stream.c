// SPDX-License-Identifier: Apache-2.0
/*
 * Answers that take their time: late ones, large ones, streams, readers that don't read, and the
 * bounds and deadlines that keep them from harming others.
 */
#include "server-fixture.h"

#include <signal.h>

/* Waits in the loop until something happens or some seconds have gone. */
static void wait_for(struct fixture *f, uint64_t *counter_of(struct bn_server_stats *), uint64_t n)
{
	for (int i = 0; i < 200; i++) {
		struct bn_server_stats s = stats(f);

		if (*counter_of(&s) >= n)
			return;
		sd_event_run(f->event, 50 * MSEC);
	}
}

static uint64_t *timeouts_of(struct bn_server_stats *s)
{
	return &s->timeouts;
}

static int setup_hasty(void **state)
{
	return setup_within(state, 300 * MSEC);
}

static void test_timeouts(void **state)
{
	struct fixture *f = *state;
	int line = client(f), body = client(f), idle = client(f), drain = client(f);

	tell(f, line, "{");
	tell(f, body, "{\"v\":1,\"method\":\"apply\",\"body\":10}\nabc");
	assert_int_equal(setsockopt(drain, SOL_SOCKET, SO_RCVBUF, &(int){1}, sizeof(int)), 0);
	tell(f, drain, "{\"v\":1,\"method\":\"ct.list\"}\n");
	wait_for(f, timeouts_of, 2);
	assert_non_null(strstr(hear(f, line), "timeout"));
	assert_non_null(strstr(hear(f, body), "timeout"));
	assert_true(hung_up(f, idle));
	assert_true(hung_up(f, line));
	close(line);
	close(body);
	close(idle);
	close(drain);
	pump(f);
	assert_int_equal(stats(f).timeouts, 2);
	assert_int_equal(stats(f).connections, 0);
}

static void test_late_answer(void **state)
{
	struct fixture *f = *state;
	int fd = client(f);

	assert_string_equal(ask(f, fd, "{\"v\":1,\"method\":\"late\",\"params\":{\"a\":1}}\n"), "");
	assert_int_equal(json_integer_value(json_object_get(bn_request_params(f->late), "a")), 1);
	/* what follows waits its turn */
	assert_string_equal(ask(f, fd, "{\"v\":1,\"method\":\"status\"}\n"), "");
	bn_reply_error(f->late, "full", "no room");
	assert_string_equal(hear(f, fd), "{\"ok\":false,\"error\":\"no room\",\"code\":\"full\"}\n"
					 "{\"ok\":true,\"result\":{\"state\":\"live\"}}\n");
	/* the client goes before the answer */
	ask(f, fd, "{\"v\":1,\"method\":\"late\"}\n");
	close(fd);
	pump(f);
	assert_int_equal(stats(f).connections, 0);
	bn_reply(f->late, json_true());
	/* and the server does */
	fd = client(f);
	ask(f, fd, "{\"v\":1,\"method\":\"late\"}\n");
	bn_server_free(f->server);
	f->server = NULL;
	assert_true(hung_up(f, fd));
	bn_reply_errno(f->late, -EBUSY, NULL);
	close(fd);
}

static void test_answer_too_large(void **state)
{
	struct fixture *f = *state;
	int fd = client(f);

	assert_non_null(strstr(ask(f, fd, "{\"v\":1,\"method\":\"huge\"}\n"), "too-large"));
	assert_true(hung_up(f, fd));
	assert_int_equal(stats(f).replies_over, 1);
	assert_int_equal(stats(f).queued_bytes, 0);
	close(fd);
}

static void test_stream(void **state)
{
	struct fixture *f = *state;
	int fd = client(f);

	assert_string_equal(ask(f, fd, "{\"v\":1,\"method\":\"flows\"}\n"),
			    "{\"ok\":true,\"stream\":true}\n");
	assert_int_equal(bn_stream_send(f->stream, "{\"a\":1}", 7), 0);
	assert_int_equal(bn_stream_send(f->stream, "{\"a\":2}", 7), 0);
	assert_string_equal(hear(f, fd), "{\"a\":1}\n{\"a\":2}\n");
	assert_int_equal(stats(f).streams, 1);
	bn_stream_end(f->stream, json_pack("{s:i}", "count", 2));
	assert_string_equal(hear(f, fd), "{\"end\":true,\"count\":2}\n");
	assert_int_equal(stats(f).streams, 0);
	/* the connection goes on */
	ask(f, fd, "{\"v\":1,\"method\":\"flows\"}\n");
	close(fd);
	pump(f);
	assert_null(f->stream);
	assert_int_equal(f->stream_closed, 1);
}

static void test_slow_reader(void **state)
{
	struct fixture *f = *state;
	int slow = client(f), fast = client(f);
	struct bn_stream *slow_stream, *fast_stream;
	unsigned long long sum = 0, lost = 0, fast_lines = 0;
	char line[128];
	json_t *o;
	int lines = 20000;

	ask(f, slow, "{\"v\":1,\"method\":\"flows\"}\n");
	slow_stream = f->stream;
	ask(f, fast, "{\"v\":1,\"method\":\"flows\"}\n");
	fast_stream = f->stream;
	memset(line, 'x', sizeof(line));
	memcpy(line, "{\"pad\":\"", 8);
	memcpy(line + sizeof(line) - 2, "\"}", 2);
	for (int i = 0; i < lines; i++) {
		bn_stream_send(slow_stream, line, sizeof(line));
		assert_int_equal(bn_stream_send(fast_stream, line, sizeof(line)), 0);
		if (i % 50 == 49) {
			for (const char *p = hear(f, fast); *p; p++)
				fast_lines += *p == '\n';
		}
	}
	assert_int_equal(fast_lines, lines);
	assert_true(stats(f).stream_lost > 1000);
	assert_true(stats(f).queued_bytes <= (16 << 10) + 64);
	/* every line either arrives or is counted in its place */
	bn_stream_end(slow_stream, NULL);
	for (char *p = (char *)hear(f, slow), *end; (end = strchr(p, '\n')); p = end + 1) {
		o = json_loadb(p, (size_t)(end - p), 0, NULL);
		assert_non_null(o);
		sum += json_object_get(o, "pad") != NULL;
		lost += (unsigned long long)json_integer_value(json_object_get(o, "lost"));
		json_decref(o);
	}
	assert_int_equal(sum + lost, lines);
	assert_int_equal(lost, stats(f).stream_lost);
	close(slow);
	close(fast);
}

static void test_list_loses_nothing(void **state)
{
	struct fixture *f = *state;
	unsigned n = 0;
	int fd = client(f);

	assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &(int){1}, sizeof(int)), 0);
	tell(f, fd, "{\"v\":1,\"method\":\"ct.list\"}\n");
	for (const char *p = hear(f, fd); *p; p++)
		n += *p == '\n';
	assert_int_equal(n, LIST_LINES + 2);
	assert_non_null(strstr(f->answer, "{\"end\":true,\"count\":5000}\n"));
	assert_int_equal(stats(f).stream_lost, 0);
	close(fd);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_timeouts, setup_hasty, teardown),
		TEST(test_late_answer),
		TEST(test_answer_too_large),
		TEST(test_stream),
		TEST(test_slow_reader),
		TEST(test_list_loses_nothing),
	};

	signal(SIGPIPE, SIG_IGN);
	bn_log_setup(BN_LOG_ERROR, BN_LOG_TEXT); /* refusals are what is tested here */
	return cmocka_run_group_tests(tests, NULL, NULL);
}
