/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A server with methods of every kind, and a client in the same loop; neither ever blocks.
 */
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <bpfnet/control.h>
#include <errno.h>
#include <fcntl.h>
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
#include "lib/temp.h"

#define MSEC UINT64_C(1000)

struct fixture {
	char dir[BN_TEMP_MAX];
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

/* `timeout`, in µs, for a line, a body and an answer alike. */
static int setup_within(void **state, uint64_t timeout)
{
	struct fixture *f = calloc(1, sizeof(*f));
	struct bn_server_config config = {
		.run_dir = f->dir,
		.group = BN_SERVER_NO_GROUP,
		.connections_max = 20,
		.stream_queue_max = 16 << 10,
		.reply_max = 512 << 10,
		.line_timeout_usec = timeout,
		.body_timeout_usec = timeout,
		.drain_timeout_usec = timeout,
	};
	struct bn_error err = BN_ERROR_INIT;

	assert_non_null(bn_temp_dir(f->dir, "server"));
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

/* Longer than any machine is busy, for tests that are not about time. */
static int setup(void **state)
{
	return setup_within(state, 600000 * MSEC);
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

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
