// SPDX-License-Identifier: Apache-2.0
/* Metrics over HTTP: what is answered, and what strangers can't do. */
#include "http-fixture.h"

#include "metrics/listen.h"

#include <errno.h>
#include <sys/socket.h>

#define GET "GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n"
#define PORT 9962

static sd_event *event;
static struct bn_metrics *metrics;
static struct bn_metrics_listen *served;
static struct bn_listen at;
static unsigned int made; /* how often the text was */
static size_t filler;     /* lines of it */

static void collect(struct bn_metrics_out *out, void *user)
{
	made++;
	for (size_t i = 0; i <= filler; i++)
		bn_metric_u64(out, BN_METRIC_READERS, made, NULL);
}

static void serve(const char *host)
{
	assert_int_equal(bn_addr_parse(host, &at.addr, NULL), 0);
	at.port = PORT;
	assert_int_equal(bn_metrics_listen_new(event, metrics, &at, &served), 0);
}

static int setup(void **state)
{
	int r = tn_fresh_node(state);

	tn_sh(-1, "ip link set lo up");
	made = 0;
	filler = 0;
	assert_int_equal(sd_event_new(&event), 0);
	assert_int_equal(bn_metrics_new(&metrics), 0);
	assert_int_equal(bn_metrics_register(metrics, collect, NULL), 0);
	return r;
}

static int teardown(void **state)
{
	bn_metrics_listen_free(served);
	served = NULL;
	bn_metrics_free(metrics);
	sd_event_unref(event);
	return 0;
}

/* Lets the loop run until the peer has ended the connection; what it said. */
static const char *hear(int fd, uint64_t limit_ms)
{
	static char reply[1 << 16];

	assert_true(http_hear(event, fd, reply, sizeof(reply), NULL, limit_ms));
	return reply;
}

static const char *ask(const char *host, const char *request)
{
	int fd = tn_dial(host, PORT);
	const char *reply;

	assert_true(fd >= 0);
	http_say(fd, request);
	reply = hear(fd, 10000);
	close(fd);
	return reply;
}

static void test_answers(void **state)
{
	const char *reply;

	serve("::");
	reply = ask("::1", GET);
	assert_true(tn_has(reply, "HTTP/1.1 200 OK\r\n"));
	assert_true(tn_has(reply, "Content-Type: text/plain; version=0.0.4; charset=utf-8\r\n"));
	assert_true(tn_has(reply, "\r\n\r\n# HELP bpfnet_flow_readers "));
	assert_true(tn_has(reply, "\nbpfnet_flow_readers 1\n"));
	/* within a second everybody is told the same */
	assert_true(tn_has(ask("127.0.0.1", "GET /metrics HTTP/1.0\r\n\r\n"),
			   "\nbpfnet_flow_readers 1\n"));
	assert_int_equal(made, 1);
	reply = ask("::1", "HEAD /metrics HTTP/1.1\r\nHost: x\r\n\r\n");
	assert_true(tn_has(reply, "200 OK"));
	assert_false(tn_has(reply, "flow_readers"));
	assert_true(tn_has(ask("::1", "GET /metrics?a=b HTTP/1.1\r\nHost: x\r\n\r\n"), "200 OK"));
	assert_true(tn_has(ask("::1", "GET / HTTP/1.1\r\nHost: x\r\n\r\n"), "404 Not Found"));
	assert_true(tn_has(ask("::1", "GET /metrics/ HTTP/1.1\r\nHost: x\r\n\r\n"), "404"));
	reply = ask("::1", "POST /metrics HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\nhi");
	assert_true(tn_has(reply, "405 Method Not Allowed"));
	assert_true(tn_has(reply, "Allow: GET, HEAD\r\n"));
	sleep(1);
	assert_true(tn_has(ask("::1", GET), "\nbpfnet_flow_readers 2\n"));
}

static void test_one_address(void **state)
{
	serve("127.0.0.1");
	assert_true(tn_has(ask("127.0.0.1", GET), "200 OK"));
	assert_int_equal(tn_dial("127.0.0.2", PORT), -ECONNREFUSED);
	assert_int_equal(tn_dial("::1", PORT), -ECONNREFUSED);
}

/* An address that comes later, and one that somebody else has. */
static void test_address_to_come(void **state)
{
	struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons(PORT)};
	int fd, on = 1;

	serve("192.0.2.7");
	assert_int_equal(bn_metrics_listen_error(served), 0);
	tn_sh(-1, "ip addr add 192.0.2.7/32 dev lo");
	assert_true(tn_has(ask("192.0.2.7", GET), "200 OK"));
	bn_metrics_listen_free(served);
	fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	assert_int_equal(bind(fd, (struct sockaddr *)&a, sizeof(a)), 0);
	assert_int_equal(listen(fd, 1), 0);
	serve("192.0.2.7");
	assert_int_equal(bn_metrics_listen_error(served), -EADDRINUSE);
	close(fd);
	for (int i = 0; i < 20 && bn_metrics_listen_error(served); i++)
		sd_event_run(event, 1000000);
	assert_int_equal(bn_metrics_listen_error(served), 0);
	assert_true(tn_has(ask("192.0.2.7", GET), "200 OK"));
}

static void test_strangers(void **state)
{
	char head[16384];
	int fds[40], open = 0;

	serve("::");
	assert_false(tn_has(ask("::1", "GET\r\n\r\n"), "200 OK"));
	memset(head, 'a', sizeof(head) - 1);
	head[sizeof(head) - 1] = '\0';
	memcpy(head, "GET /", 5);
	assert_false(tn_has(ask("::1", head), "200 OK"));
	/* one address can't take all connections */
	for (int i = 0; i < 40; i++)
		fds[i] = tn_dial("127.0.0.1", PORT);
	for (int i = 0; i < 200; i++)
		sd_event_run(event, 1000);
	for (int i = 0; i < 40; i++)
		open += recv(fds[i], head, 1, MSG_DONTWAIT) < 0 && errno == EAGAIN;
	assert_int_equal(open, 8);
	assert_true(tn_has(ask("::1", GET), "200 OK"));
	for (int i = 0; i < 40; i++)
		close(fds[i]);
	while (sd_event_run(event, 0) > 0)
		;
	assert_true(tn_has(ask("127.0.0.1", GET), "200 OK"));
}

/*
 * Who sends a byte now and then makes progress, and so does who reads one: both are cut off all the
 * same, and one that says nothing is so before them.
 */
static void test_slow(void **state)
{
	int trickle, mute, reader, size = 4096;
	uint64_t from = http_now_ms(), mute_over = 0, trickle_over = 0, reader_over = 0;
	char c;

	serve("::");
	filler = 400000;
	trickle = tn_dial("::1", PORT);
	mute = tn_dial("::1", PORT);
	reader = tn_dial("::1", PORT);
	setsockopt(reader, SOL_SOCKET, SO_RCVBUF, &size, sizeof(size));
	assert_int_equal(send(reader, GET, strlen(GET), MSG_NOSIGNAL), strlen(GET));
	assert_int_equal(send(trickle, "GET /metrics HTTP/1.1\r\nA: ", 26, MSG_NOSIGNAL), 26);
	for (uint64_t next = from; !mute_over || !trickle_over || !reader_over;) {
		sd_event_run(event, 10000);
		assert_true(http_now_ms() < from + 40000);
		if (!mute_over && recv(mute, &c, 1, MSG_DONTWAIT) == 0)
			mute_over = http_now_ms() - from;
		if (http_now_ms() < next)
			continue;
		next += 1000;
		if (!trickle_over && send(trickle, "a", 1, MSG_NOSIGNAL) < 0)
			trickle_over = http_now_ms() - from;
		if (!reader_over && (recv(reader, &c, 1, MSG_DONTWAIT) == 0 ||
				     send(reader, "a", 1, MSG_NOSIGNAL) < 0))
			reader_over = http_now_ms() - from;
	}
	assert_in_range(mute_over, 4000, 12000);
	assert_in_range(trickle_over, 9000, 30000);
	assert_in_range(reader_over, 4000, 30000);
	close(mute);
	close(trickle);
	close(reader);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_answers, setup, teardown),
		cmocka_unit_test_setup_teardown(test_one_address, setup, teardown),
		cmocka_unit_test_setup_teardown(test_address_to_come, setup, teardown),
		cmocka_unit_test_setup_teardown(test_strangers, setup, teardown),
		cmocka_unit_test_setup_teardown(test_slow, setup, teardown),
	};

	return cmocka_run_group_tests(tests, tn_enter, NULL);
}
