// SPDX-License-Identifier: Apache-2.0
/*
 * Feeds bytes of a stranger to the control socket as a client of every right: first the request
 * line alone, then a whole connection, in pieces whose sizes the input chooses. What it answers
 * must be lines of JSON, and every method that is reached must be answered.
 */
#include <bpfnet/control.h>
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "log.h"
#include "server/head.h"
#include "server/server.h"
#include "lib/temp.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static sd_event *event;
static struct bn_server *server;

static int on_read(struct bn_request *r, void *user)
{
	bn_reply(r, json_deep_copy(bn_request_params(r)));
	return 0;
}

static int on_write(struct bn_request *r, void *user)
{
	size_t size;
	const char *body = bn_request_body(r, &size);

	if (body[size] != '\0')
		abort();
	return size % 2 ? -EINVAL : on_read(r, user);
}

static int on_stream(struct bn_request *r, void *user)
{
	struct bn_stream *s = bn_reply_stream(r, NULL, NULL);

	for (int i = 0; i < 3; i++)
		bn_stream_send(s, "{}", 2);
	bn_stream_end(s, NULL);
	return 0;
}

static char dir[BN_TEMP_MAX];

static void stop(void)
{
	bn_server_free(server);
	sd_event_unref(event);
	rmdir(dir);
}

static void start(void)
{
	struct bn_server_config config = {.run_dir = bn_temp_dir(dir, "fuzz"),
					  .group = BN_SERVER_NO_GROUP};

	if (!config.run_dir || sd_event_new(&event) < 0 ||
	    bn_server_new(event, &config, &server, NULL) < 0)
		abort();
	atexit(stop);
	bn_log_setup(BN_LOG_ERROR, BN_LOG_TEXT);
	bn_server_method(server, "apply", BN_ACCESS_WRITE, on_write, NULL);
	bn_server_method(server, "status", BN_ACCESS_READ, on_read, NULL);
	bn_server_method(server, "flows", BN_ACCESS_READ, on_stream, NULL);
}

static void check_answers(int fd)
{
	static char answers[1 << 20];
	ssize_t n = recv(fd, answers, sizeof(answers), MSG_DONTWAIT);
	char *p = answers;

	while (n > 0) {
		char *end = memchr(p, '\n', (size_t)n);
		json_t *o;

		if (!end)
			break; /* the rest did not fit */
		o = json_loadb(p, (size_t)(end - p), 0, NULL);
		if (!json_is_object(o))
			abort();
		json_decref(o);
		n -= end + 1 - p;
		p = end + 1;
	}
}

static void run_head(const uint8_t *data, size_t size)
{
	struct bn_error err = BN_ERROR_INIT;
	struct bn_head head = BN_HEAD_NULL;

	if (bn_head_parse((const char *)data, size, &head, &err) == 0 &&
	    (!head.method || !json_is_object(head.params) || head.body < 0))
		abort();
	bn_head_done(&head);
	bn_error_done(&err);
}

static void run_loop(void)
{
	for (int i = 0; i < 100 && sd_event_run(event, 0) > 0; i++)
		;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct bn_server_stats stats;
	int fds[2];

	if (!server)
		start();
	run_head(data, size);
	if (size == 0 || socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fds) < 0)
		return 0;
	if (bn_server_adopt(server, fds[1]) < 0)
		abort();
	for (size_t step = (size_t)*data + 1; size > 0;) {
		ssize_t n = send(fds[0], data, size < step ? size : step, MSG_NOSIGNAL);

		run_loop();
		if (n < 0)
			break;
		data += n;
		size -= (size_t)n;
		check_answers(fds[0]);
	}
	shutdown(fds[0], SHUT_WR);
	run_loop();
	check_answers(fds[0]);
	close(fds[0]);
	run_loop();
	bn_server_get_stats(server, &stats);
	if (stats.connections || stats.streams || stats.queued_bytes)
		abort();
	return 0;
}
