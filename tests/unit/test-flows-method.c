// SPDX-License-Identifier: Apache-2.0
/* Flows and metrics over a control socket: whole streams, slow readers, readers that go. */
#include "unit/flows-fixture.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "flows/method.h"
#include "flows/observer.h"
#include "metrics/method.h"
#include "metrics/sources.h"
#include "server/server.h"
#include "lib/temp.h"

struct fixture {
	char dir[BN_TEMP_MAX];
	sd_event *loop;
	struct bn_server *server;
	struct bn_names *names;
	struct bn_observer *observer;
	struct bn_metrics *metrics;
	struct bn_metrics_flows flows;
	char buf[4 << 20];
	size_t len;
};

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));
	struct bn_server_config server = {.group = BN_SERVER_NO_GROUP, .stream_queue_max = 16384};
	struct bn_observer_config config = {.events_fd = -1, .node_name = "n", .history = 2000};

	assert_non_null(f);
	assert_non_null(bn_temp_dir(f->dir, "flows"));
	server.run_dir = f->dir;
	assert_int_equal(sd_event_new(&f->loop), 0);
	assert_int_equal(bn_server_new(f->loop, &server, &f->server, NULL), 0);
	assert_int_equal(bn_names_new(NULL, &f->names), 0);
	config.names = f->names;
	assert_int_equal(bn_observer_new(f->loop, &config, &f->observer), 0);
	f->flows.observer = f->observer;
	f->flows.names = f->names;
	assert_int_equal(bn_metrics_new(&f->metrics), 0);
	assert_int_equal(bn_metrics_add_flows(f->metrics, &f->flows, 10), 0);
	assert_int_equal(
		bn_server_method(f->server, "flows", BN_ACCESS_READ, bn_flows_method, f->observer),
		0);
	assert_int_equal(bn_server_method(f->server, "metrics", BN_ACCESS_READ, bn_metrics_method,
					  f->metrics),
			 0);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;
	struct bn_observer_stats s;

	bn_server_free(f->server);
	bn_observer_stats(f->observer, &s);
	assert_int_equal(s.readers, 0);
	bn_metrics_free(f->metrics);
	bn_metrics_flows_done(&f->flows);
	bn_observer_free(f->observer);
	bn_names_free(f->names);
	sd_event_unref(f->loop);
	(void)rmdir(f->dir);
	free(f);
	return 0;
}

static void pump(struct fixture *f)
{
	while (sd_event_run(f->loop, 0) > 0)
		;
}

static int ask(struct fixture *f, const char *request)
{
	int fds[2], small = 4096;

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds),
			 0);
	/* little room in the kernel, so that the agent's own bounds are met */
	(void)setsockopt(fds[1], SOL_SOCKET, SO_SNDBUF, &small, sizeof(small));
	assert_int_equal(bn_server_adopt(f->server, fds[1]), 0);
	assert_int_equal(write(fds[0], request, strlen(request)), strlen(request));
	pump(f);
	f->len = 0;
	return fds[0];
}

/* Reads what there is, without asking the agent for more. */
static bool hear_once(struct fixture *f, int fd)
{
	ssize_t n = recv(fd, f->buf + f->len, sizeof(f->buf) - 1 - f->len, 0);

	if (n > 0)
		f->len += (size_t)n;
	f->buf[f->len] = 0;
	return n > 0;
}

static void hear(struct fixture *f, int fd)
{
	do
		pump(f);
	while (hear_once(f, fd));
}

static size_t count(const char *text, const char *what)
{
	size_t n = 0;

	while ((text = strstr(text, what))) {
		n++;
		text += strlen(what);
	}
	return n;
}

static void inject(struct fixture *f, unsigned int n)
{
	struct bn_event e = fixture_event(BN_EVENT_FLOW_OPENED, IPPROTO_TCP, "10.0.0.1", 1000,
					  "203.0.113.9", 80);

	while (n--)
		assert_int_equal(bn_observer_inject(f->observer, &e), 0);
}

/* Far more than the stream's queue holds, and none of it lost. */
static void test_long_replay(void **state)
{
	struct fixture *f = *state;
	int fd;

	inject(f, 1500);
	fd = ask(f, "{\"v\":1,\"method\":\"flows\"}\n");
	hear(f, fd);
	assert_int_equal(strncmp(f->buf, "{\"ok\":true,\"stream\":true}\n", 26), 0);
	assert_int_equal(count(f->buf, "\"verdict\":\"FORWARDED\""), 1500);
	assert_int_equal(count(f->buf, "\"lost"), 0);
	assert_int_equal(count(f->buf, "{\"end\":true,\"sent\":1500,\"missed\":0}\n"), 1);
	close(fd);
	pump(f);
}

static void test_slow_follower(void **state)
{
	struct fixture *f = *state;
	uint64_t lost = 0;
	const char *p;
	size_t flows;
	int fd = ask(f, "{\"v\":1,\"method\":\"flows\",\"params\":{\"follow\":true}}\n");

	hear(f, fd);
	for (int i = 0; i < 50; i++) {
		inject(f, 100);
		pump(f);
	}
	hear(f, fd);
	inject(f, 1);
	hear(f, fd);
	flows = count(f->buf, "\"verdict\":\"FORWARDED\"");
	for (p = f->buf; (p = strstr(p, "{\"lost_events\":")); p++) {
		enum bn_lost_source source;
		uint64_t n = 0;

		assert_true(fixture_lost(p, &source, &n));
		assert_int_equal(source, BN_LOST_READER);
		lost += n;
	}
	/* everything is there or accounted for, and the history was used as the queue */
	assert_int_equal(flows + lost, 5001);
	assert_true(flows >= 2001);
	assert_true(lost > 0);
	close(fd);
	pump(f);
}

static void test_readers_that_go(void **state)
{
	struct fixture *f = *state;
	struct bn_observer_stats s;
	int fd;

	inject(f, 1500);
	fd = ask(f, "{\"v\":1,\"method\":\"flows\",\"params\":{\"follow\":true,\"last\":9999}}\n");
	assert_true(hear_once(f, fd));
	close(fd); /* in the middle of the replay */
	pump(f);
	inject(f, 10);
	pump(f);
	bn_observer_stats(f->observer, &s);
	assert_int_equal(s.readers, 0);
	assert_int_equal(s.readers_total, 1);
	/* and one that stays until the server goes */
	fd = ask(f, "{\"v\":1,\"method\":\"flows\",\"params\":{\"follow\":true,\"last\":9999}}\n");
	bn_observer_stats(f->observer, &s);
	assert_int_equal(s.readers, 1);
	close(fd);
}

static void test_bad_query(void **state)
{
	struct fixture *f = *state;
	int fd = ask(f,
		     "{\"v\":1,\"method\":\"flows\",\"params\":{\"filters\":[{\"field\":\"port\","
		     "\"value\":\"http\"}]}}\n");

	hear(f, fd);
	assert_int_equal(strncmp(f->buf, "{\"ok\":false", 11), 0);
	assert_non_null(strstr(f->buf, "by port 'http': expected a number from 1 to 65535"));
	assert_non_null(strstr(f->buf, "\"invalid\""));
	close(fd);
	pump(f);
}

static void test_metrics(void **state)
{
	struct fixture *f = *state;
	int fd;

	inject(f, 3);
	fd = ask(f, "{\"v\":1,\"method\":\"metrics\"}\n");
	hear(f, fd);
	assert_int_equal(strncmp(f->buf, "{\"ok\":true,\"result\":\"# HELP bpfnet_", 34), 0);
	assert_non_null(strstr(f->buf, "\\nbpfnet_events_injected_total 3\\n"));
	close(fd);
	pump(f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_long_replay, setup, teardown),
		cmocka_unit_test_setup_teardown(test_slow_follower, setup, teardown),
		cmocka_unit_test_setup_teardown(test_readers_that_go, setup, teardown),
		cmocka_unit_test_setup_teardown(test_bad_query, setup, teardown),
		cmocka_unit_test_setup_teardown(test_metrics, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
