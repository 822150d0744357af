// SPDX-License-Identifier: Apache-2.0
/*
 * Requests from a method's side: what was asked, and the ways to answer. A request outlives its
 * connection and even the server: answering it then only frees it. A stream lives until its
 * sender ends it or its reader goes, whichever is first. Nothing here touches the socket; the
 * loop does when the reader can take it.
 */
#include "server/conn.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

void bn_request_free(struct bn_request *r)
{
	if (r->server)
		r->server->body_bytes -= r->charged;
	for (unsigned i = 0; i < BN_CONTROL_FDS_MAX; i++) {
		if (r->fds[i] >= 0)
			close(r->fds[i]);
	}
	bn_head_done(&r->head);
	bn_bytes_done(&r->body);
	free(r);
}

json_t *bn_request_params(struct bn_request *r)
{
	return r->head.params;
}

const char *bn_request_body(struct bn_request *r, size_t *ret_size)
{
	*ret_size = bn_bytes_size(&r->body);
	return *ret_size ? bn_bytes_head(&r->body) : "";
}

int bn_request_take_fd(struct bn_request *r, unsigned i)
{
	int fd;

	if (i >= BN_CONTROL_FDS_MAX || r->fds[i] < 0)
		return -EBADF;
	fd = r->fds[i];
	r->fds[i] = -1;
	return fd;
}

const char *bn_request_method(const struct bn_request *r)
{
	return r->head.method;
}

/* Ends the request; the connection that waits for its answer, or NULL. */
static struct bn_conn *request_end(struct bn_request *r)
{
	struct bn_conn *c = r->conn;

	if (r->server) {
		LIST_REMOVE(r, entry);
		if (r->server->current == r)
			r->server->current = NULL;
	}
	if (c)
		c->request = NULL;
	bn_request_free(r);
	return c;
}

static int queue_dump(const char *buffer, size_t size, void *data)
{
	return bn_conn_queue(data, buffer, size);
}

static int queue_json(struct bn_conn *c, const json_t *value)
{
	return json_dump_callback(value, queue_dump, c, JSON_COMPACT | JSON_ENCODE_ANY) < 0
		       ? -ENOBUFS
		       : 0;
}

static int queue_text(struct bn_conn *c, const char *text)
{
	return bn_conn_queue(c, text, strlen(text));
}

void bn_conn_error(struct bn_conn *c, const char *code, const char *text)
{
	json_t *o = json_pack("{s:b,s:s,s:s}", "ok", 0, "error", text, "code", code);

	if (!o) /* a text that is not UTF-8 */
		o = json_pack("{s:b,s:s,s:s}", "ok", 0, "error", "failed", "code", code);
	if (!o || queue_json(c, o) < 0 || queue_text(c, "\n") < 0) {
		bn_conn_queue_clear(c);
		c->close_after = true;
	}
	json_decref(o);
	bn_conn_finish(c);
}

void bn_reply(struct bn_request *r, json_t *result)
{
	struct bn_conn *c = request_end(r);

	if (!c)
		goto out;
	if (!result) {
		bn_conn_error(c, BN_CONTROL_CODE_FAILED, "out of memory");
	} else if (queue_text(c, "{\"ok\":true,\"result\":") < 0 || queue_json(c, result) < 0 ||
		   queue_text(c, "}\n") < 0) {
		c->server->stats.replies_over++;
		bn_server_complain(c->server, &c->creds, "asked for more than an answer may hold");
		bn_conn_queue_clear(c);
		c->close_after = true;
		bn_conn_error(
			c, BN_CONTROL_CODE_TOO_LARGE,
			"the answer is too large, or too many are waiting to be read; ask for "
			"less");
	} else {
		bn_conn_finish(c);
	}
out:
	json_decref(result);
}

void bn_reply_error(struct bn_request *r, const char *code, const char *text)
{
	struct bn_conn *c = request_end(r);

	if (c)
		bn_conn_error(c, code, text);
}

static const char *code_of(int error)
{
	switch (error) {
	case EINVAL:
	case EDOM:
	case ERANGE:
	case ENAMETOOLONG:
		return BN_CONTROL_CODE_INVALID;
	case ENOENT:
	case ESRCH:
	case ENODEV:
		return BN_CONTROL_CODE_NOT_FOUND;
	case EEXIST:
	case EADDRINUSE:
		return BN_CONTROL_CODE_CONFLICT;
	case ENOSPC:
	case E2BIG:
	case EFBIG:
		return BN_CONTROL_CODE_FULL;
	case EPERM:
	case EACCES:
		return BN_CONTROL_CODE_FORBIDDEN;
	case EBUSY:
	case EAGAIN:
		return BN_CONTROL_CODE_BUSY;
	default:
		return BN_CONTROL_CODE_FAILED;
	}
}

void bn_reply_errno(struct bn_request *r, int error, const struct bn_error *err)
{
	error = abs(error);
	bn_reply_error(r, code_of(error), err && err->text ? err->text : strerror(error));
}

struct bn_stream *bn_reply_stream(struct bn_request *r, void (*closed)(void *user), void *user)
{
	struct bn_conn *c = request_end(r);
	struct bn_stream *s;

	if (!c)
		return NULL;
	s = calloc(1, sizeof(*s));
	if (!s || queue_text(c, "{\"ok\":true,\"stream\":true}\n") < 0) {
		free(s);
		c->close_after = true;
		bn_conn_error(c, BN_CONTROL_CODE_BUSY, "out of memory");
		return NULL;
	}
	s->conn = c;
	s->closed = closed;
	s->user = user;
	c->stream = s;
	c->state = CONN_STREAM;
	c->server->stats.streams++;
	bn_conn_update(c);
	return s;
}

size_t bn_stream_room(const struct bn_stream *s)
{
	size_t max = s->conn->server->config.stream_queue_max;
	size_t used = bn_bytes_size(&s->conn->out);

	return s->lost || used >= max ? 0 : max - used;
}

/* A stream's queue has a bound of its own, so that readers can't take it from each other. */
static int stream_append(struct bn_stream *s, const char *line, size_t len)
{
	struct bn_conn *c = s->conn;

	if (!bn_bytes_reserve(&c->out, len + 1))
		return -ENOMEM;
	bn_bytes_append(&c->out, line, len);
	bn_bytes_append(&c->out, "\n", 1);
	c->server->stats.queued_bytes += len + 1;
	return 0;
}

static void stream_report_lost(struct bn_stream *s)
{
	char line[48];
	int len = snprintf(line, sizeof(line), "{\"lost\":%llu}", (unsigned long long)s->lost);

	if (s->lost && stream_append(s, line, (size_t)len) == 0)
		s->lost = 0;
}

int bn_stream_send(struct bn_stream *s, const char *line, size_t len)
{
	/* once behind, a reader stays so until half of the queue is read: fewer, larger gaps */
	if (len >= bn_stream_room(s) || stream_append(s, line, len) < 0) {
		s->lost++;
		s->conn->server->stats.stream_lost++;
		return -ENOBUFS;
	}
	bn_conn_update(s->conn);
	return 0;
}

void bn_stream_on_room(struct bn_stream *s, void (*room)(struct bn_stream *s, void *user))
{
	s->room = room;
	s->kick = room != NULL;
	bn_conn_update(s->conn);
}

void bn_stream_low(struct bn_stream *s)
{
	struct bn_conn *c = s->conn;

	if (bn_bytes_size(&c->out) > c->server->config.stream_queue_max / 2)
		return;
	stream_report_lost(s);
	s->kick = false;
	if (s->room)
		s->room(s, s->user); /* may end the stream */
}

void bn_stream_end(struct bn_stream *s, json_t *tail)
{
	struct bn_conn *c = s->conn;
	json_t *end = json_pack("{s:b}", "end", 1);
	char *line;

	stream_report_lost(s);
	if (end && tail)
		json_object_update_missing(end, tail);
	line = end ? json_dumps(end, JSON_COMPACT) : NULL;
	if (!line || stream_append(s, line, strlen(line)) < 0)
		c->close_after = true; /* a stream without its end is one that broke off */
	free(line);
	json_decref(end);
	json_decref(tail);
	c->server->stats.streams--;
	c->stream = NULL;
	free(s);
	bn_conn_finish(c);
}
