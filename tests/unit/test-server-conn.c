// SPDX-License-Identifier: Apache-2.0
/*
 * The control socket from a client's side: framing, limits, rubbish, descriptors, slow readers,
 * late answers. Client and server share the test's loop; the client never blocks.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <bpfnet/control.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "log.h"
#include "server/server.h"

#define MSEC UINT64_C(1000)

struct fixture {
	char dir[64];
	sd_event *event;
	struct bn_server *server;
	struct bn_request *late;
	struct bn_stream *stream;
	unsigned stream_closed;
	unsigned sent; /* lines by on_room */
	char answer[1 << 20];
	size_t answer_len;
};

/* Lets the loop do all that it can without waiting. */
static void pump(struct fixture *f)
{
	for (int i = 0; i < 2000 && sd_event_run(f->event, 0) > 0; i++)
		;
}

static int client(struct fixture *f)
{
	struct sockaddr_un a = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	snprintf(a.sun_path, sizeof(a.sun_path), "%s/%s", f->dir, BN_CONTROL_SOCKET);
	assert_int_equal(connect(fd, (struct sockaddr *)&a, sizeof(a)), 0);
	pump(f);
	return fd;
}

static void say(struct fixture *f, int fd, const char *data, size_t len)
{
	while (len > 0) {
		ssize_t n = send(fd, data, len, MSG_NOSIGNAL);

		if (n < 0 && errno != EAGAIN)
			return; /* hung up: the answer says why */
		if (n > 0) {
			data += n;
			len -= (size_t)n;
		}
		pump(f);
	}
}

static void tell(struct fixture *f, int fd, const char *text)
{
	say(f, fd, text, strlen(text));
}

/* Everything that has been answered; NUL-terminated. */
static const char *hear(struct fixture *f, int fd)
{
	ssize_t n;

	f->answer_len = 0;
	do {
		pump(f);
		n = recv(fd, f->answer + f->answer_len, sizeof(f->answer) - 1 - f->answer_len, 0);
		if (n > 0)
			f->answer_len += (size_t)n;
	} while (n > 0);
	f->answer[f->answer_len] = '\0';
	return f->answer;
}

static bool hung_up(struct fixture *f, int fd)
{
	char c;

	pump(f);
	return recv(fd, &c, 1, 0) == 0;
}

static const char *ask(struct fixture *f, int fd, const char *line)
{
	say(f, fd, line, strlen(line));
	return hear(f, fd);
}

static int on_status(struct bn_request *r, void *user)
{
	bn_reply(r, json_pack("{s:s}", "state", "live"));
	return 0;
}

static int on_apply(struct bn_request *r, void *user)
{
	size_t size;
	const char *body = bn_request_body(r, &size);

	assert_int_equal(body[size], '\0');
	bn_reply(r, json_pack("{s:I,s:s#}", "size", (json_int_t)size, "begin", body,
			      (int)(size < 5 ? size : 5)));
	return 0;
}

static int on_endpoint_add(struct bn_request *r, void *user)
{
	int fd = bn_request_take_fd(r, 0);
	char text[8] = "";

	assert_int_equal(bn_request_take_fd(r, 0), -EBADF);
	assert_int_equal(bn_request_take_fd(r, 99), -EBADF);
	if (fd < 0)
		return -EINVAL;
	assert_int_equal(pread(fd, text, 5, 0), 5);
	close(fd);
	bn_reply(r, json_string(text));
	return 0;
}

static int on_late(struct bn_request *r, void *user)
{
	struct fixture *f = user;

	f->late = r;
	return 0;
}

static int on_missing(struct bn_request *r, void *user)
{
	return -ENOENT;
}

static int on_huge(struct bn_request *r, void *user)
{
	char *text = malloc(1 << 20);

	memset(text, 'x', 1 << 20);
	bn_reply(r, json_stringn(text, 1 << 20));
	free(text);
	return 0;
}

static void on_closed(void *user)
{
	struct fixture *f = user;

	f->stream = NULL;
	f->stream_closed++;
}

static int on_flows(struct bn_request *r, void *user)
{
	struct fixture *f = user;

	f->stream = bn_reply_stream(r, on_closed, f);
	assert_non_null(f->stream);
	return 0;
}

#define LIST_LINES 5000

static void on_room(struct bn_stream *s, void *user)
{
	struct fixture *f = user;
	char line[80];

	while (f->sent < LIST_LINES && bn_stream_room(s) > sizeof(line)) {
		int n = snprintf(line, sizeof(line), "{\"n\":%u,\"pad\":\"xxxxxxxxxxxxxxxxxxxx\"}",
				 f->sent++);

		assert_int_equal(bn_stream_send(s, line, (size_t)n), 0);
	}
	if (f->sent == LIST_LINES)
		bn_stream_end(s, json_pack("{s:i}", "count", LIST_LINES));
}

static int on_list(struct bn_request *r, void *user)
{
	struct bn_stream *s = bn_reply_stream(r, NULL, user);

	assert_non_null(s);
	bn_stream_on_room(s, on_room);
	return 0;
}

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));
	struct bn_server_config config = {
		.run_dir = f->dir,
		.group = BN_SERVER_NO_GROUP,
		.connections_max = 20,
		.stream_queue_max = 16 << 10,
		.reply_max = 512 << 10,
		.line_timeout_usec = 50 * MSEC,
		.body_timeout_usec = 50 * MSEC,
		.drain_timeout_usec = 50 * MSEC,
	};
	struct bn_error err = BN_ERROR_INIT;

	strcpy(f->dir, "/tmp/bpfnet-server-XXXXXX");
	assert_non_null(mkdtemp(f->dir));
	assert_int_equal(sd_event_new(&f->event), 0);
	assert_int_equal(bn_server_new(f->event, &config, &f->server, &err), 0);
	bn_server_method(f->server, "status", BN_ACCESS_READ, on_status, f);
	bn_server_method(f->server, "apply", BN_ACCESS_WRITE, on_apply, f);
	bn_server_method(f->server, "endpoint.add", BN_ACCESS_WRITE, on_endpoint_add, f);
	bn_server_method(f->server, "flows", BN_ACCESS_READ, on_flows, f);
	bn_server_method(f->server, "ct.list", BN_ACCESS_READ, on_list, f);
	bn_server_method(f->server, "late", BN_ACCESS_READ, on_late, f);
	bn_server_method(f->server, "missing", BN_ACCESS_READ, on_missing, f);
	bn_server_method(f->server, "huge", BN_ACCESS_READ, on_huge, f);
	assert_int_equal(bn_server_method(f->server, "huge", BN_ACCESS_READ, on_huge, f), -EEXIST);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;
	char path[128];

	bn_server_free(f->server);
	sd_event_unref(f->event);
	snprintf(path, sizeof(path), "%s/%s", f->dir, BN_CONTROL_SOCKET);
	assert_int_equal(access(path, F_OK), -1);
	assert_int_equal(rmdir(f->dir), 0);
	free(f);
	return 0;
}

static struct bn_server_stats stats(struct fixture *f)
{
	struct bn_server_stats s;

	bn_server_get_stats(f->server, &s);
	return s;
}

static void test_answers(void **state)
{
	struct fixture *f = *state;
	int fd = client(f);

	assert_string_equal(ask(f, fd, "{\"v\":1,\"method\":\"status\"}\n"),
			    "{\"ok\":true,\"result\":{\"state\":\"live\"}}\n");
	/* one connection serves many requests, also two in one piece */
	assert_string_equal(
		ask(f, fd, "{\"v\":1,\"method\":\"status\"}\n{\"v\":1,\"method\":\"status\"}\n"),
		"{\"ok\":true,\"result\":{\"state\":\"live\"}}\n"
		"{\"ok\":true,\"result\":{\"state\":\"live\"}}\n");
	assert_string_equal(ask(f, fd, "{\"v\":1,\"method\":\"missing\"}\n"),
			    "{\"ok\":false,\"error\":\"No such file or directory\",\"code\":"
			    "\"not-found\"}\n");
	assert_non_null(strstr(ask(f, fd, "{\"v\":1,\"method\":\"nope\"}\n"), "unknown-method"));
	assert_non_null(strstr(ask(f, fd, "{\"v\":1,\"method\":\"status\"}\n"), "live"));
	assert_int_equal(stats(f).requests, 5);
	assert_int_equal(stats(f).queued_bytes, 0);
	close(fd);
	pump(f);
	assert_int_equal(stats(f).connections, 0);
}

static void test_byte_by_byte(void **state)
{
	struct fixture *f = *state;
	const char *request = "{\"v\":1,\"method\":\"apply\",\"body\":11}\nhello world"
			      "{\"v\":1,\"method\":\"status\"}\n";
	int fd = client(f);

	for (const char *p = request; *p; p++)
		say(f, fd, p, 1);
	assert_string_equal(hear(f, fd), "{\"ok\":true,\"result\":{\"size\":11,\"begin\":\"hello\"}}\n"
					 "{\"ok\":true,\"result\":{\"state\":\"live\"}}\n");
	/* the same in one piece: what follows the body is the next request */
	assert_string_equal(ask(f, fd, request),
			    "{\"ok\":true,\"result\":{\"size\":11,\"begin\":\"hello\"}}\n"
			    "{\"ok\":true,\"result\":{\"state\":\"live\"}}\n");
	assert_non_null(strstr(ask(f, fd, "{\"v\":1,\"method\":\"apply\",\"body\":0}\n"),
			       "\"size\":0"));
	close(fd);
}

static void test_large_body(void **state)
{
	struct fixture *f = *state;
	size_t size = 8 << 20;
	char *body = malloc(size);
	char line[80];
	int fd = client(f);

	memset(body, 'a', size);
	snprintf(line, sizeof(line), "{\"v\":1,\"method\":\"apply\",\"body\":%zu}\n", size);
	say(f, fd, line, strlen(line));
	say(f, fd, body, size);
	assert_non_null(strstr(hear(f, fd), "\"size\":8388608"));
	free(body);
	close(fd);
}

static void test_rubbish(void **state)
{
	static const struct {
		const char *line;
		const char *code;
	} cases[] = {
		{"\n", "bad-request"},
		{"GET / HTTP/1.1\r\n", "bad-request"},
		{"[]\n", "bad-request"},
		{"{}\n", "bad-request"},
		{"{\"v\":1}\n", "bad-request"},
		{"{\"v\":\"1\",\"method\":\"status\"}\n", "bad-request"},
		{"{\"v\":2,\"method\":\"status\"}\n", "version"},
		{"{\"v\":1,\"method\":\"status\",\"v\":1}\n", "bad-request"},
		{"{\"v\":1,\"method\":\"\"}\n", "bad-request"},
		{"{\"v\":1,\"method\":\"\\u001b[31m\"}\n", "bad-request"},
		{"{\"v\":1,\"method\":\"status\",\"params\":[]}\n", "bad-request"},
		{"{\"v\":1,\"method\":\"status\",\"body\":-1}\n", "bad-request"},
		{"{\"v\":1,\"method\":\"status\",\"body\":1.5}\n", "bad-request"},
		{"{\"v\":1,\"method\":\"status\",\"body\":9223372036854775807}\n", "too-large"},
		{"{\"v\":1,\"method\":\"status\",\"body\":92233720368547758070}\n", "bad-request"},
		{"{\"v\":1,\"method\":\"status\",\"body\":1}\n", "too-large"},
		{"{\"v\":1,\"method\":\"apply\",\"body\":268435457}\n", "too-large"},
		{"{\"v\":1,\"method\":\"nope\",\"body\":1}\n", "unknown-method"},
		{"{\"v\":1,\"method\":\"st\xff\xfe\"}\n", "bad-request"},
		{"{\"v\":1,\"method\":\"status\"} x\n", "bad-request"},
	};
	struct fixture *f = *state;

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		int fd = client(f);
		char code[64];

		snprintf(code, sizeof(code), "\"code\":\"%s\"}\n", cases[i].code);
		if (!strstr(ask(f, fd, cases[i].line), code))
			fail_msg("%s answered %s", cases[i].line, f->answer);
		/* exactly one line, then the end */
		assert_ptr_equal(strchr(f->answer, '\n'), f->answer + f->answer_len - 1);
		assert_true(hung_up(f, fd));
		close(fd);
	}
	assert_int_equal(stats(f).bad_requests, sizeof(cases) / sizeof(cases[0]));
	assert_int_equal(stats(f).requests, 0);
	assert_int_equal(stats(f).connections, 0);
}

static void test_endless_line(void **state)
{
	struct fixture *f = *state;
	char *junk = malloc(4 << 20);
	int fd = client(f);

	memset(junk, '[', 4 << 20);
	say(f, fd, junk, 4 << 20);
	assert_non_null(strstr(hear(f, fd), "too-large"));
	free(junk);
	close(fd);
	/* nested deeper than any parser likes, but a line */
	fd = client(f);
	junk = malloc(100001);
	memset(junk, '[', 100000);
	junk[100000] = '\n';
	say(f, fd, junk, 100001);
	assert_non_null(strstr(hear(f, fd), "bad-request"));
	free(junk);
	close(fd);
}

static void test_ends_early(void **state)
{
	struct fixture *f = *state;
	int fd = client(f);

	tell(f, fd, "{\"v\":1,\"meth");
	shutdown(fd, SHUT_WR);
	assert_non_null(strstr(hear(f, fd), "ended early"));
	close(fd);
	fd = client(f);
	tell(f, fd, "{\"v\":1,\"method\":\"apply\",\"body\":10}\nabc");
	shutdown(fd, SHUT_WR);
	assert_non_null(strstr(hear(f, fd), "ended early"));
	close(fd);
	/* a whole request before the end is answered */
	fd = client(f);
	tell(f, fd, "{\"v\":1,\"method\":\"status\"}\n");
	shutdown(fd, SHUT_WR);
	assert_non_null(strstr(hear(f, fd), "live"));
	assert_true(hung_up(f, fd));
	close(fd);
	assert_int_equal(stats(f).bad_requests, 2);
}

/* Waits in the loop until something happens or 2 s have gone. */
static void wait_for(struct fixture *f, uint64_t *counter_of(struct bn_server_stats *), uint64_t n)
{
	for (int i = 0; i < 40; i++) {
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

static void send_fds(int to, const char *text, const int *fds, size_t n)
{
	char control[CMSG_SPACE(sizeof(int) * 8)] __attribute__((aligned(8))) = {0};
	struct iovec iov = {.iov_base = (char *)text, .iov_len = strlen(text)};
	struct msghdr msg = {
		.msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = control,
		.msg_controllen = CMSG_SPACE(sizeof(int) * n),
	};
	struct cmsghdr *h = CMSG_FIRSTHDR(&msg);

	h->cmsg_level = SOL_SOCKET;
	h->cmsg_type = SCM_RIGHTS;
	h->cmsg_len = CMSG_LEN(sizeof(int) * n);
	memcpy(CMSG_DATA(h), fds, sizeof(int) * n);
	assert_int_equal(sendmsg(to, &msg, MSG_NOSIGNAL), strlen(text));
}

static size_t open_fds(void)
{
	size_t n = 0;

	for (int fd = 0; fd < 1024; fd++)
		n += fcntl(fd, F_GETFD) >= 0;
	return n;
}

static void test_descriptors(void **state)
{
	struct fixture *f = *state;
	int fd = client(f), file, many[8];
	size_t before = open_fds() - 2; /* the loop's timer stays; both ends of this go */

	file = memfd_create("test", MFD_CLOEXEC);
	assert_int_equal(write(file, "hello", 5), 5);
	send_fds(fd, "{\"v\":1,\"method\":\"endpoint.add\"}\n", &file, 1);
	assert_string_equal(hear(f, fd), "{\"ok\":true,\"result\":\"hello\"}\n");
	/* none: the method says so */
	assert_non_null(strstr(ask(f, fd, "{\"v\":1,\"method\":\"endpoint.add\"}\n"), "invalid"));
	/* where none is wanted, or too many, or too late */
	send_fds(fd, "{\"v\":1,\"method\":\"status\"}\n", &file, 1);
	assert_non_null(strstr(hear(f, fd), "at most 0 descriptors"));
	for (int i = 0; i < 8; i++)
		many[i] = file;
	send_fds(fd, "{\"v\":1,\"method\":\"endpoint.add\"}\n", many, 8);
	assert_non_null(strstr(hear(f, fd), "at most 1 descriptors"));
	tell(f, fd, "{\"v\":1,\"method\":\"apply\",\"body\":5}\n");
	send_fds(fd, "abc", &file, 1);
	assert_non_null(strstr(hear(f, fd), "first byte"));
	close(fd);
	/* and what a client leaves behind is closed */
	fd = client(f);
	send_fds(fd, "{", &file, 1);
	pump(f);
	close(fd);
	pump(f);
	close(file);
	assert_int_equal(open_fds(), before);
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

static void test_too_many(void **state)
{
	struct fixture *f = *state;
	int fds[20], more;

	for (int i = 0; i < 20; i++)
		fds[i] = client(f);
	more = client(f);
	assert_non_null(strstr(hear(f, more), "\"busy\""));
	assert_true(hung_up(f, more));
	close(more);
	assert_non_null(strstr(ask(f, fds[0], "{\"v\":1,\"method\":\"status\"}\n"), "live"));
	for (int i = 0; i < 20; i++)
		close(fds[i]);
	pump(f);
	assert_int_equal(stats(f).connections, 0);
	assert_int_equal(stats(f).refused_full, 1);
}

static void test_addresses(void **state)
{
	struct fixture *f = *state;
	struct bn_server_config config = {.run_dir = f->dir, .group = BN_SERVER_NO_GROUP};
	struct bn_error err = BN_ERROR_INIT;
	struct bn_server *other = NULL;
	char path[300], deep[256];
	struct stat st;
	int fd;

	snprintf(path, sizeof(path), "%s/%s", f->dir, BN_CONTROL_SOCKET);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0660);
	/* a living agent keeps its socket */
	assert_int_equal(bn_server_new(f->event, &config, &other, &err), -EADDRINUSE);
	assert_non_null(strstr(bn_error_text(&err), "another bpfnetd"));
	bn_error_done(&err);
	/* what is left of a dead one is replaced */
	bn_server_free(f->server);
	f->server = NULL;
	fd = socket(AF_UNIX, SOCK_STREAM, 0);
	struct sockaddr_un a = {.sun_family = AF_UNIX};
	strcpy(a.sun_path, path);
	assert_int_equal(bind(fd, (struct sockaddr *)&a, sizeof(a)), 0);
	close(fd);
	assert_int_equal(bn_server_new(f->event, &config, &other, &err), 0);
	bn_server_free(other);
	/* a file that is no socket is left alone */
	fd = open(path, O_CREAT | O_WRONLY, 0600);
	close(fd);
	assert_int_equal(bn_server_new(f->event, &config, &other, &err), -EEXIST);
	bn_error_done(&err);
	assert_int_equal(unlink(path), 0);
	/* folders are made, and paths may be longer than a socket's address */
	snprintf(deep, sizeof(deep), "%s/%0100d/%060d", f->dir, 1, 2);
	config.run_dir = deep;
	assert_int_equal(bn_server_new(f->event, &config, &other, &err), 0);
	snprintf(path, sizeof(path), "%s/%s", deep, BN_CONTROL_SOCKET);
	assert_int_equal(access(path, F_OK), 0);
	bn_server_free(other);
	assert_int_equal(access(path, F_OK), -1);
	assert_int_equal(rmdir(deep), 0);
	*strrchr(deep, '/') = '\0';
	assert_int_equal(rmdir(deep), 0);
	/* a file where a folder should be */
	config.run_dir = "/dev/null/x";
	assert_int_equal(bn_server_new(f->event, &config, &other, &err), -ENOTDIR);
	assert_non_null(strstr(bn_error_text(&err), "/dev/null"));
	bn_error_done(&err);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_answers),	  TEST(test_byte_by_byte),
		TEST(test_large_body),	  TEST(test_rubbish),
		TEST(test_endless_line),  TEST(test_ends_early),
		TEST(test_timeouts),	  TEST(test_descriptors),
		TEST(test_late_answer),	  TEST(test_answer_too_large),
		TEST(test_stream),	  TEST(test_slow_reader),
		TEST(test_list_loses_nothing), TEST(test_too_many),
		TEST(test_addresses),
	};

	signal(SIGPIPE, SIG_IGN);
	bn_log_setup(BN_LOG_ERROR, BN_LOG_TEXT); /* refusals are what is tested here */
	return cmocka_run_group_tests(tests, NULL, NULL);
}
