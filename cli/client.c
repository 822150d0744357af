// SPDX-License-Identifier: Apache-2.0
/*
 * Talks to the agent. Invariants: never blocks but in bn_wait(); an agent that answers before it
 * has taken the whole body is heard.
 */
#include "client.h"

#include <bpfnet/control.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "lines.h"
#include "text.h"
#include "wait.h"

#define TAKE_MAX 20000 /* lines at once: keys and the clock want their turn */
#define LINE_MAX_BYTES ((size_t)BN_CONTROL_REPLY_MAX + (1u << 20))

struct bn_client {
	const struct bn_call *call;
	bool quiet;
	bool streaming; /* output goes out while more comes in */
	bool hasty;     /* don't wait for more of it: -EAGAIN */
	uint64_t *lost; /* counts the lines that are missing, borrowed; NULL: they are told */
	int fd;
	struct bn_lines lines;
	struct bn_wait_stream stream;
};

static int client_fail(const struct bn_client *c, const char *format, ...)
	__attribute__((format(printf, 2, 3)));

static int client_fail(const struct bn_client *c, const char *format, ...)
{
	char *text = NULL;
	va_list ap;

	if (c->quiet)
		return BN_EXIT_FAILED;
	va_start(ap, format);
	if (vasprintf(&text, format, ap) < 0)
		text = NULL;
	va_end(ap);
	bn_fail("%s", text ? text : "out of memory");
	free(text);
	return BN_EXIT_FAILED;
}

/* Waits for events on the socket, as bn_wait() does. */
static int client_wait(struct bn_client *c, short events)
{
	return bn_wait(c->fd, events, c->streaming ? &c->stream : NULL);
}

static int client_connect(struct bn_client *c)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	const char *dir = c->call->run_dir;
	const char *hint = "is bpfnetd running?";
	int dir_fd = -1, r = 0;

	/* paths longer than sun_path go by way of the folder's descriptor */
	if ((size_t)snprintf(address.sun_path, sizeof(address.sun_path), "%s/%s", dir,
			     BN_CONTROL_SOCKET) >= sizeof(address.sun_path)) {
		dir_fd = open(dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
		snprintf(address.sun_path, sizeof(address.sun_path), "/proc/self/fd/%d/%s", dir_fd,
			 BN_CONTROL_SOCKET);
		if (dir_fd < 0)
			r = errno;
	}
	if (!r) {
		c->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
		if (c->fd < 0 || connect(c->fd, (struct sockaddr *)&address, sizeof(address)) < 0 ||
		    fcntl(c->fd, F_SETFL, O_NONBLOCK) < 0)
			r = errno;
	}
	if (dir_fd >= 0)
		close(dir_fd);
	if (!r)
		return 0;
	if (r == EACCES || r == EPERM)
		hint = "only root and the group it is configured for may use it;";
	return client_fail(c, "can't reach bpfnetd at %s/%s: %s; %s (--run-dir picks another)", dir,
			   BN_CONTROL_SOCKET, strerror(r), hint);
}

/* Sends all of it, or stops when the agent has something to say already. -errno. */
static int client_send(struct bn_client *c, const char *data, size_t size, int pass_fd)
{
	char control[CMSG_SPACE(sizeof(int))] __attribute__((aligned(8))) = {0};

	while (size > 0) {
		struct iovec iov = {.iov_base = (char *)data, .iov_len = size};
		struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1};
		ssize_t n;
		int r;

		if (pass_fd >= 0) {
			struct cmsghdr *h;

			msg.msg_control = control;
			msg.msg_controllen = sizeof(control);
			h = CMSG_FIRSTHDR(&msg);
			h->cmsg_level = SOL_SOCKET;
			h->cmsg_type = SCM_RIGHTS;
			h->cmsg_len = CMSG_LEN(sizeof(int));
			memcpy(CMSG_DATA(h), &pass_fd, sizeof(int));
		}
		n = sendmsg(c->fd, &msg, MSG_NOSIGNAL);
		if (n >= 0) {
			data += n;
			size -= (size_t)n;
			pass_fd = -1;
			continue;
		}
		if (errno == EINTR)
			continue;
		if (errno != EAGAIN)
			return -errno;
		r = client_wait(c, POLLOUT);
		if (r < 0)
			return r;
	}
	return 0;
}

static int on_wait(struct bn_lines *lines)
{
	struct bn_client *c = lines->user;

	return c->hasty ? bn_wait_none(c->fd) : client_wait(c, POLLIN);
}

/* The next line, valid until the next call. 1, 0 at the end, -errno. */
static int client_line(struct bn_client *c, char **ret_line, size_t *ret_len)
{
	int r = bn_lines_next(&c->lines, ret_line, ret_len);

	return r == BN_LINE_LONG ? -EMSGSIZE : r;
}

static int client_send_all(struct bn_client *c, const struct bn_ask *ask)
{
	json_t *o = json_pack("{s:i,s:s,s:O*}", "v", BN_CONTROL_VERSION, "method", ask->method,
			      "params", ask->params);
	size_t size = 0, max = BN_CONTROL_LINE_MAX_WRITE;
	char *line;
	int r;

	for (size_t i = 0; i < ask->n_body; i++)
		size += ask->body[i].iov_len;
	if (size)
		json_object_set_new(o, "body", json_integer((json_int_t)size));
	line = json_dumps(o, JSON_COMPACT);
	json_decref(o);
	if (!line)
		return client_fail(c, "can't ask for '%s': an argument is not UTF-8", ask->method);
	if (strlen(line) >= max) {
		free(line);
		return client_fail(c, "can't send '%s': too many files at once; join some of them",
				   ask->method);
	}
	r = client_send(c, line, strlen(line), ask->fd);
	free(line);
	if (!r)
		r = client_send(c, "\n", 1, -1);
	for (size_t i = 0; i < ask->n_body && !r; i++)
		r = client_send(c, ask->body[i].iov_base, ask->body[i].iov_len, -1);
	/* one who refuses to read on may have said why */
	if (r == -EPIPE || r == -ECONNRESET)
		r = 0;
	return r < 0 ? client_fail(c, "can't send '%s' to bpfnetd: %s", ask->method,
				   r == -EINTR ? "interrupted" : strerror(-r))
		     : 0;
}

static int client_lost(const struct bn_client *c, const char *method, int r)
{
	const char *why = r == 0           ? "it hung up before it had answered"
			  : r == -EINTR    ? "interrupted; it may have been done all the same"
			  : r == -EMSGSIZE ? "a line of the answer is too long"
					   : strerror(-r);

	return client_fail(c, "no answer to '%s' from bpfnetd at %s/%s: %s", method,
			   c->call->run_dir, BN_CONTROL_SOCKET, why);
}

/* Reads and judges the first line of the answer. */
static int client_answer(struct bn_client *c, const struct bn_ask *ask, json_t **ret)
{
	const char *text;
	json_error_t why;
	json_t *answer;
	char *line;
	size_t len;
	int r;

	r = client_line(c, &line, &len);
	if (r <= 0)
		return client_lost(c, ask->method, r);
	answer = json_loadb(line, len, 0, &why);
	if (!json_is_object(answer)) {
		json_decref(answer);
		return client_fail(c, "can't read bpfnetd's answer to '%s': %s", ask->method,
				   why.text);
	}
	if (json_is_true(json_object_get(answer, "ok"))) {
		*ret = answer;
		return 0;
	}
	text = json_string_value(json_object_get(answer, "error"));
	r = client_fail(c, "%s", text ? text : "bpfnetd refused without saying why");
	json_decref(answer);
	return r;
}

static void client_done(struct bn_client *c)
{
	if (c->fd >= 0)
		close(c->fd);
	bn_lines_done(&c->lines);
}

static int client_begin(struct bn_client *c, const struct bn_ask *ask, json_t **ret)
{
	int r = client_connect(c);

	c->lines = (struct bn_lines){
		.fd = c->fd,
		.max = LINE_MAX_BYTES,
		.wait = on_wait,
		.user = c,
	};
	if (!r)
		r = client_send_all(c, ask);
	if (!r)
		r = client_answer(c, ask, ret);
	return r;
}

int bn_client_ask(const struct bn_call *call, const struct bn_ask *ask, json_t **ret)
{
	struct bn_client c = {.call = call, .fd = -1, .quiet = ask->quiet};
	json_t *answer = NULL;
	int r;

	r = client_begin(&c, ask, &answer);
	if (!r) {
		*ret = json_incref(json_object_get(answer, "result"));
		if (!*ret)
			r = client_fail(&c, "bpfnetd's answer to '%s' has no result", ask->method);
	}
	json_decref(answer);
	client_done(&c);
	return r;
}

/* One line of a stream. 0, with *ret_end set behind the last one; an exit code. */
static int stream_line(struct bn_client *c, const char *text, size_t len, bn_line_fn fn, void *user,
		       bool *ret_end)
{
	json_t *object = json_loadb(text, len, 0, NULL), *lost = json_object_get(object, "lost");
	int r = 0;

	if (json_is_true(json_object_get(object, "end")))
		*ret_end = true;
	else if (lost && c->lost)
		*c->lost += (uint64_t)json_integer_value(lost);
	else if (lost)
		client_fail(c, "%lld lines are missing here: this reader is too slow",
			    (long long)json_integer_value(lost));
	else if (object)
		r = fn(object, text, len, user);
	json_decref(object);
	return r;
}

static int stream_broken(const struct bn_client *c, const char *method, int r)
{
	if (r == 0)
		return client_fail(c, "bpfnetd hung up in the middle of '%s'; has it been stopped?",
				   method);
	return client_lost(c, method, r);
}

int bn_client_stream(const struct bn_call *call, const struct bn_ask *ask, bn_line_fn line,
		     void *user)
{
	struct bn_client c = {.call = call, .fd = -1, .quiet = ask->quiet};
	json_t *answer = NULL;
	bool end = false;
	char *text;
	size_t len;
	int r;

	r = client_begin(&c, ask, &answer);
	json_decref(answer);
	c.streaming = true;
	c.stream = (struct bn_wait_stream){ask->idle, user};
	while (!r && !end) {
		r = client_line(&c, &text, &len);
		if (r > 0)
			r = stream_line(&c, text, len, line, user, &end);
		else if (r == -EINTR || r == -EPIPE || r == -EIO)
			break;
		else
			r = stream_broken(&c, ask->method, r);
	}
	client_done(&c);
	return r < 0 ? BN_EXIT_DONE : r;
}

int bn_client_open(const struct bn_call *call, const struct bn_ask *ask, uint64_t *lost,
		   struct bn_client **ret)
{
	struct bn_client *c = calloc(1, sizeof(*c));
	json_t *answer = NULL;
	int r;

	if (!c)
		return bn_fail("out of memory");
	*c = (struct bn_client){.call = call, .fd = -1, .quiet = ask->quiet, .lost = lost};
	r = client_begin(c, ask, &answer);
	c->hasty = true;
	json_decref(answer);
	if (r)
		bn_client_close(c);
	else
		*ret = c;
	return r;
}

int bn_client_take(struct bn_client *c, bn_line_fn line, void *user)
{
	int left = TAKE_MAX;
	bool end = false;
	char *text;
	size_t len;
	int r;

	do {
		r = client_line(c, &text, &len);
		if (r > 0)
			r = stream_line(c, text, len, line, user, &end);
		else
			return r == -EAGAIN ? 0 : stream_broken(c, "flows", r);
	} while (!r && !end && --left);
	return end ? stream_broken(c, "flows", 0) : r;
}

int bn_client_wait(const struct bn_client *c, bool keys, int64_t usec)
{
	return bn_wait_key(c->fd, keys, usec);
}

void bn_client_close(struct bn_client *c)
{
	if (!c)
		return;
	client_done(c);
	free(c);
}
