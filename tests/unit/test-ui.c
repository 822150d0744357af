// SPDX-License-Identifier: Apache-2.0
/* The page over HTTP: who may ask, what is answered, and what a reader that stalls costs. */
#include "unit/flows-fixture.h"
#include "unit/http-fixture.h"

#include "flows/observer.h"
#include "ui/guard.h"
#include "ui/streams.h"
#include "ui/ui.h"

#include <sys/socket.h>

#define PORT 9963
#define HISTORY 3000
#define HEAD " HTTP/1.1\r\nHost: localhost:9963\r\n\r\n"
#define LOST "\"num_events_lost\":\""
#define FOLLOW "GET /api/flows?query=%7B%22follow%22:true%7D" HEAD

static sd_event *event;
static struct bn_names *names;
static struct bn_observer *observer;
static struct bn_ui *ui;
static struct bn_listen at;
static struct bn_string_list hosts;
static unsigned int made; /* how often the document was */
static char reply[16 << 20];

static json_t *make(void *user)
{
	made++;
	return json_pack("{s:i}", "made", (int)made);
}

static const struct bn_ui_document documents[] = {{"thing", make}};

static int setup(void **state)
{
	struct bn_observer_config config = {.events_fd = -1, .node_name = "n", .history = HISTORY};
	struct bn_ui_config page = {
		.at = &at, .hosts = &hosts, .documents = documents, .n_documents = 1};
	int r = tn_fresh_node(state);

	made = 0;
	assert_int_equal(sd_event_new(&event), 0);
	assert_int_equal(bn_names_new(NULL, &names), 0);
	config.names = names;
	assert_int_equal(bn_observer_new(event, &config, &observer), 0);
	page.observer = observer;
	at = (struct bn_listen){.addr = fixture_addr("127.0.0.1"), .port = PORT};
	assert_int_equal(bn_ui_new(event, &page, &ui), 0);
	assert_int_equal(bn_ui_error(ui), 0);
	return r;
}

static int teardown(void **state)
{
	bn_ui_free(ui);
	bn_observer_free(observer);
	bn_names_free(names);
	sd_event_unref(event);
	return 0;
}

static int dial(void)
{
	int fd = tn_dial("127.0.0.1", PORT);

	assert_true(fd >= 0);
	return fd;
}

static int request(const char *text)
{
	int fd = dial();

	http_say(fd, text);
	return fd;
}

/* Lets the loop run until `part` was heard, or the end where it is NULL. */
static const char *hear(int fd, const char *part)
{
	if (!http_hear(event, fd, reply, sizeof(reply), part, 8000)) {
		size_t n = strlen(reply);

		fail_msg("heard only %zu bytes, at last: %s", n, n > 300 ? reply + n - 300 : reply);
	}
	return reply;
}

/* What was heard without its head and without the sizes of its chunks. */
static const char *body(void)
{
	static char text[sizeof(reply)];
	const char *p = strstr(reply, "\r\n\r\n") + 4;
	char *end = text;
	size_t n;

	while (sscanf(p, "%zx", &n) == 1) {
		p = strchr(p, '\n') + 1;
		n = strnlen(p, n);
		memcpy(end, p, n);
		end += n;
		p += n;
		p += strspn(p, "\r\n");
	}
	*end = '\0';
	return text;
}

static const char *ask(const char *text)
{
	int fd = request(text);
	const char *heard = hear(fd, NULL);

	close(fd);
	return heard;
}

static void flow(uint16_t port)
{
	struct bn_event e =
		fixture_event(BN_EVENT_FLOW_OPENED, IPPROTO_TCP, "10.0.0.1", port, "10.0.0.2", 80);

	assert_int_equal(bn_observer_inject(observer, &e), 0);
}

static void test_host(void **state)
{
	static const struct {
		const char *header, *local;
		bool known;
	} cases[] = {
		{"localhost", "127.0.0.1", true},
		{"LocalHost:1", "192.0.2.1", true},
		{"127.0.0.1:9963", "127.0.0.1", true},
		{"127.0.0.1", "192.0.2.1", false},
		{"192.0.2.1:8080", "192.0.2.1", true},
		{"[::1]:9963", "::1", true},
		{"[fd00::0:1]", "fd00::1", true},
		{"::1", "::1", false},
		{"[127.0.0.1]", "127.0.0.1", false},
		{"[localhost]", "127.0.0.1", false},
		{"a.example", "127.0.0.1", true},
		{"A.example:80", "127.0.0.1", true},
		{"b.example", "127.0.0.1", false},
		{"a.example.evil.example", "127.0.0.1", false},
		{"127.0.0.1.evil.example", "127.0.0.1", false},
		{"127.0.0.1:", "127.0.0.1", false},
		{"127.0.0.1:9x", "127.0.0.1", false},
		{"localhost:80:80", "127.0.0.1", false},
		{"[::1", "::1", false},
		{"[::1]x", "::1", false},
		{"", "127.0.0.1", false},
		{":80", "127.0.0.1", false},
		{"[]", "127.0.0.1", false},
	};
	char *items[] = {"a.example"}, long_name[400];
	const struct bn_string_list list = {.items = items, .n = 1};
	union bn_addr local;

	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		local = fixture_addr(cases[i].local);
		if (bn_ui_knows_host(cases[i].header, &local, &list) != cases[i].known)
			fail_msg("Host: %s", cases[i].header);
	}
	memset(long_name, 'a', sizeof(long_name) - 1);
	long_name[sizeof(long_name) - 1] = '\0';
	assert_false(bn_ui_knows_host(long_name, &local, &list));
}

static void test_answers(void **state)
{
	const char *heard = ask("GET /" HEAD);

	assert_true(tn_has(heard, "200 OK"));
	assert_true(
		tn_has(heard, "Content-Security-Policy: default-src 'none'; script-src 'sha256-"));
	assert_true(tn_has(heard, "frame-ancestors 'none'"));
	assert_true(tn_has(heard, "X-Content-Type-Options: nosniff"));
	assert_true(tn_has(heard, "Referrer-Policy: no-referrer"));
	assert_true(tn_has(heard, "</html>"));
	assert_null(strstr(heard, "Access-Control"));
	assert_true(tn_has(ask("GET /api/thing" HEAD), "{\"made\":1}"));
	assert_true(tn_has(ask("GET /api/thing" HEAD), "{\"made\":1}"));
	assert_true(tn_has(ask("GET /api/" HEAD), "404 Not Found"));
	assert_true(tn_has(ask("GET /api/thing2" HEAD), "404 Not Found"));
	assert_true(tn_has(ask("GET /thing" HEAD), "404 Not Found"));
	heard = ask("POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\n\r\nhi");
	assert_true(tn_has(heard, "405 Method Not Allowed"));
	assert_true(tn_has(heard, "Allow: GET, HEAD"));
	assert_true(tn_has(ask("OPTIONS /api/thing" HEAD), "405"));
	assert_true(tn_has(ask("GET /api/thing HTTP/1.1\r\nHost: evil.example\r\n\r\n"), "403"));
	assert_true(tn_has(ask("GET /api/thing HTTP/1.0\r\n\r\n"), "403"));
	assert_true(tn_has(ask("GET / HTTP/1.1\r\nHost: localhost\r\n"
			       "Sec-Fetch-Site: cross-site\r\n\r\n"),
			   "403"));
	assert_true(tn_has(ask("GET / HTTP/1.1\r\nHost: localhost\r\n"
			       "Sec-Fetch-Site: none\r\n\r\n"),
			   "200 OK"));
}

static void test_wrong_queries(void **state)
{
	static const char *const queries[] = {
		"nonsense",
		"[]",
		"%7B%22last%22:-1%7D",
		"%7B%22filters%22:7%7D",
		"%7B%22filters%22:[%7B%22field%22:%22ip%22,%22value%22:%22x%22%7D]%7D",
		"%7B%22follow%22:true,%22follow%22:false%7D"};
	char text[512];

	for (size_t i = 0; i < sizeof(queries) / sizeof(*queries); i++) {
		snprintf(text, sizeof(text), "GET /api/flows?query=%s" HEAD, queries[i]);
		assert_true(tn_has(ask(text), "400 Bad Request"));
		assert_true(tn_has(reply, "{\"error\":\""));
	}
}

/* What is kept, and an end; with `follow` one line after the other, at once. */
static void test_streams(void **state)
{
	uint64_t from;
	int fd;

	flow(1);
	flow(2);
	ask("GET /api/flows" HEAD);
	assert_true(tn_has(reply, "\"source_port\":1,"));
	assert_true(tn_has(reply, "\"source_port\":2,"));
	ask("GET /api/flows?query=%7B%22filters%22:[%7B%22field%22:%22port%22,"
	    "%22value%22:%222%22%7D]%7D" HEAD);
	assert_null(strstr(reply, "\"source_port\":1,"));
	assert_true(tn_has(reply, "\"source_port\":2,"));
	fd = request(FOLLOW);
	hear(fd, "\r\n\r\n");
	from = http_now_ms();
	for (uint16_t port = 1000; port < 1020; port++) {
		char part[32];

		snprintf(part, sizeof(part), "\"source_port\":%u,", port);
		flow(port);
		hear(fd, part);
	}
	/* 20 round trips, each of which needs nothing but to be done */
	assert_true(http_now_ms() - from < 4000);
	close(fd);
}

static unsigned int readers(void)
{
	struct bn_observer_stats stats;

	bn_observer_stats(observer, &stats);
	return (unsigned int)stats.readers;
}

static void until_readers(unsigned int n)
{
	uint64_t until = http_now_ms() + 8000;

	while (readers() != n) {
		sd_event_run(event, 1000);
		assert_true(http_now_ms() < until);
	}
}

static void test_too_many(void **state)
{
	int fds[BN_UI_STREAMS_MAX];

	for (int i = 0; i < BN_UI_STREAMS_MAX; i++) {
		fds[i] = request(FOLLOW);
		hear(fds[i], "\r\n\r\n");
	}
	assert_true(tn_has(ask(FOLLOW), "503 Service Unavailable"));
	assert_true(tn_has(ask("GET /api/thing" HEAD), "200 OK"));
	assert_int_equal(readers(), BN_UI_STREAMS_MAX);
	/* who leaves makes room, though nothing is sent */
	close(fds[0]);
	until_readers(BN_UI_STREAMS_MAX - 1);
	fds[0] = request(FOLLOW);
	hear(fds[0], "200 OK");
	for (int i = 0; i < BN_UI_STREAMS_MAX; i++)
		close(fds[i]);
	until_readers(0);
}

/* It holds a bounded queue, is told exactly what it lost, and keeps nobody else. */
static void test_stalled(void **state)
{
	int stalled, other, size = 65536;
	unsigned int lines = 0;
	uint64_t lost = 0;

	stalled = dial();
	setsockopt(stalled, SOL_SOCKET, SO_RCVBUF, &size, sizeof(size));
	assert_int_equal(send(stalled, FOLLOW, strlen(FOLLOW), MSG_NOSIGNAL), strlen(FOLLOW));
	other = request(FOLLOW);
	hear(other, "\r\n\r\n");
	until_readers(2);
	for (unsigned int i = 0; i < 8 * HISTORY; i++) {
		flow((uint16_t)(i + 1));
		while (i % 100 == 0 && sd_event_run(event, 0) > 0)
			recv(other, reply, sizeof(reply), MSG_DONTWAIT);
	}
	flow(65000);
	hear(other, "\"source_port\":65000,");
	flow(65001);
	hear(stalled, "\"source_port\":65001,");
	for (const char *p = body(); (p = strstr(p, "\"source_port\":")); p++)
		lines++;
	for (const char *p = body(); (p = strstr(p, LOST)); p++)
		lost += strtoul(p + strlen(LOST), NULL, 10);
	assert_true(lost > 0);
	assert_int_equal(lines + lost, 8 * HISTORY + 2);
	close(other);
	close(stalled);
}

/* The agent ends with pages open: suspended, and in the middle of a line. */
static void test_end(void **state)
{
	int fd = request(FOLLOW);

	hear(fd, "\r\n\r\n");
	(void)request("GET /api/fl");
	sd_event_run(event, 1000);
	flow(7);
	until_readers(1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_host),
		cmocka_unit_test_setup_teardown(test_answers, setup, teardown),
		cmocka_unit_test_setup_teardown(test_wrong_queries, setup, teardown),
		cmocka_unit_test_setup_teardown(test_streams, setup, teardown),
		cmocka_unit_test_setup_teardown(test_too_many, setup, teardown),
		cmocka_unit_test_setup_teardown(test_stalled, setup, teardown),
		cmocka_unit_test_setup_teardown(test_end, setup, teardown),
	};

	return cmocka_run_group_tests(tests, tn_enter, NULL);
}
