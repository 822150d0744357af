// SPDX-License-Identifier: Apache-2.0
/* Health checks of services over HTTP: what is answered, where, and whose a port is. */
#include "http-fixture.h"

#include "health/health.h"

#include <address.h>
#include <errno.h>

static sd_event *event;
static struct bn_health *health;
static const char *refuse; /* an address that takes no node ports */

static bool takes(void *user, const union bn_addr *local)
{
	char text[BN_ADDR_STRLEN];

	return !refuse || strcmp(bn_addr_format(local, text), refuse);
}

static int setup(void **state)
{
	const struct bn_health_ops ops = {.takes = takes};
	int r = tn_fresh_node(state);

	tn_sh(-1, "ip link set lo up");
	refuse = NULL;
	assert_int_equal(sd_event_new(&event), 0);
	assert_int_equal(bn_health_new(event, &ops, &health), 0);
	return r;
}

static int teardown(void **state)
{
	bn_health_free(health);
	sd_event_unref(event);
	return 0;
}

static void set(const char *name, uint16_t port, size_t local)
{
	struct bn_health_service service = {"default", name, port, local};

	assert_int_equal(bn_health_set(health, &service, 1), 0);
}

/* Sends, and lets the loop run until the reply has `until` in it or the connection ends. */
static const char *talk(int fd, const char *request, const char *until)
{
	static char reply[4096];

	http_say(fd, request);
	(void)http_hear(event, fd, reply, sizeof(reply), until, 10000);
	return reply;
}

#define END "true\n}" /* of an answer */
#define GET "GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"

static void expect(const char *host, uint16_t port, const char *request, const char *status,
		   const char *body)
{
	int fd = tn_dial(host, port);
	const char *reply;

	assert_true(fd >= 0);
	reply = talk(fd, request, END);
	if (!tn_has(reply, status) || (body && !tn_has(reply, body)))
		fail_msg("not %s and %s but: %s", status, body ? body : "", reply);
	close(fd);
}

static void test_answers(void **state)
{
	set("web", 30500, 2);
	expect("127.0.0.1", 30500, GET, "HTTP/1.1 200 OK\r\n", "\"localEndpoints\": 2");
	expect("::1", 30500, GET, "HTTP/1.1 200 OK\r\n", "\"name\": \"web\"");
	expect("::1", 30500, GET, "Content-Type: application/json\r\n", "\"default\"");
	expect("::1", 30500, GET, "X-Content-Type-Options: nosniff\r\n", NULL);
	expect("::1", 30500, GET, "X-Load-Balancing-Endpoint-Weight: 2\r\n", NULL);
	expect("127.0.0.1", 30500, "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello",
	       "200 OK\r\n", "\"serviceProxyHealthy\": true");
	set("web", 30500, 0);
	expect("127.0.0.1", 30500, GET, "HTTP/1.1 503 Service Unavailable\r\n",
	       "\"localEndpoints\": 0");
	expect("127.0.0.1", 30500, GET, "X-Load-Balancing-Endpoint-Weight: 0\r\n", NULL);
	/* gone */
	assert_true(bn_health_holds(health, 30500));
	set("web", 0, 0);
	assert_false(bn_health_holds(health, 30500));
	assert_int_equal(tn_dial("127.0.0.1", 30500), -ECONNREFUSED);
	assert_int_equal(tn_dial("::1", 30500), -ECONNREFUSED);
}

static void test_ports_move(void **state)
{
	struct bn_health_service both[] = {{"default", "a", 30502, 1}, {"default", "b", 30501, 2}};
	int fd;

	set("a", 30501, 1);
	set("b", 30502, 2);
	fd = tn_dial("127.0.0.1", 30501);
	assert_true(tn_has(talk(fd, GET, END), "\"name\": \"a\""));
	assert_int_equal(bn_health_set(health, both, 2), 0);
	expect("127.0.0.1", 30501, GET, "200", "\"name\": \"b\"");
	expect("127.0.0.1", 30502, GET, "200", "\"name\": \"a\"");
	/* a connection from before hears of whom the port is now, and then of nobody */
	assert_true(tn_has(talk(fd, GET, END), "\"name\": \"b\""));
	both[1].port = 0;
	assert_int_equal(bn_health_set(health, both, 2), 0);
	assert_string_equal(talk(fd, GET, NULL), "");
	close(fd);
	assert_int_equal(tn_dial("127.0.0.1", 30501), -ECONNREFUSED);
	expect("::1", 30502, GET, "200", "\"name\": \"a\"");
}

static void count(void *user, const struct bn_health_service *service, int error)
{
	unsigned *n = user;

	assert_string_equal(service->name, "a");
	assert_int_equal(service->port, 30501);
	assert_int_equal(error, EADDRINUSE);
	++*n;
}

static void test_held(void **state)
{
	struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons(30501)};
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	unsigned n = 0;

	assert_int_equal(bind(fd, (struct sockaddr *)&a, sizeof(a)), 0);
	assert_int_equal(listen(fd, 1), 0);
	set("a", 30501, 1);
	set("b", 30502, 1);
	bn_health_problems(health, count, &n);
	assert_int_equal(n, 1);
	assert_false(bn_health_holds(health, 30501));
	expect("127.0.0.1", 30502, GET, "200", "\"name\": \"b\"");
	close(fd);
	/* any change tries again */
	set("b", 30502, 1);
	bn_health_problems(health, count, &n);
	assert_int_equal(n, 1);
	expect("127.0.0.1", 30501, GET, "200", "\"name\": \"a\"");
}

static void test_strangers(void **state)
{
	char head[8192];
	int fds[40], fd, open = 0;

	set("a", 30501, 1);
	refuse = "127.0.0.2";
	expect("127.0.0.1", 30501, GET, "200", NULL);
	fd = tn_dial("127.0.0.2", 30501);
	assert_true(fd >= 0);
	assert_string_equal(talk(fd, GET, NULL), "");
	close(fd);
	fd = tn_dial("127.0.0.1", 30501);
	assert_null(strstr(talk(fd, "GET\r\n\r\n", END), "200 OK"));
	close(fd);
	memset(head, 'a', sizeof(head) - 1);
	head[sizeof(head) - 1] = '\0';
	memcpy(head, "GET /", 5);
	fd = tn_dial("127.0.0.1", 30501);
	assert_null(strstr(talk(fd, head, END), "200 OK"));
	close(fd);
	/* one address can't take all connections: the others are closed at once */
	for (int i = 0; i < 40; i++)
		fds[i] = tn_dial("127.0.0.1", 30501);
	for (int i = 0; i < 40; i++)
		open += *talk(fds[i], GET, END) != '\0';
	assert_in_range(open, 1, 39);
	expect("::1", 30501, GET, "200", NULL);
	for (int i = 0; i < 40; i++)
		close(fds[i]);
	while (sd_event_run(event, 0) > 0)
		;
	expect("127.0.0.1", 30501, GET, "200", NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_answers, setup, teardown),
		cmocka_unit_test_setup_teardown(test_ports_move, setup, teardown),
		cmocka_unit_test_setup_teardown(test_held, setup, teardown),
		cmocka_unit_test_setup_teardown(test_strangers, setup, teardown),
	};

	return cmocka_run_group_tests(tests, tn_enter, NULL);
}
