// SPDX-License-Identifier: Apache-2.0
/*
 * One connection to the control socket. Invariants: the socket is never read or written but when
 * the loop says so, once an event and a bounded amount, so no peer can hold up the loop; input
 * is only read while a request is incomplete; a timer runs only while the peer owes us bytes or
 * owes us reading an answer; a connection is closed only from its own events or with the server,
 * never from inside a reply function.
 */
#include "server/conn.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#define READ_LINE (16u << 10)   /* bytes a read while it is not known what comes */
#define TRANSFER_MAX (1u << 20) /* bytes one event may move */

static void conn_timer_off(struct bn_conn *c)
{
	sd_event_source_disable_unref(c->timer);
	c->timer = NULL;
}

static void conn_fds_close(struct bn_conn *c)
{
	for (unsigned i = 0; i < c->n_fds; i++)
		close(c->fds[i]);
	c->n_fds = 0;
	c->fds_over = false;
}

void bn_conn_close(struct bn_conn *c)
{
	struct bn_server *s = c->server;

	LIST_REMOVE(c, entry);
	s->stats.connections--;
	conn_timer_off(c);
	sd_event_source_disable_unref(c->io);
	if (c->request && c->state == CONN_BUSY)
		c->request->conn = NULL; /* its method will answer nobody */
	else if (c->request)
		bn_request_free(c->request);
	if (c->stream) {
		s->stats.streams--;
		if (c->stream->closed)
			c->stream->closed(c->stream->user);
		free(c->stream);
	}
	conn_fds_close(c);
	bn_conn_queue_clear(c);
	bn_bytes_done(&c->in);
	close(c->fd);
	bn_creds_done(&c->creds);
	free(c);
}

int bn_conn_queue(struct bn_conn *c, const void *data, size_t n)
{
	struct bn_server *s = c->server;
	size_t max = s->config.reply_max;

	/* of all connections together no more than two of the largest answers */
	if (n > max || bn_bytes_size(&c->out) > max - n || s->stats.queued_bytes > 2 * max - n)
		return -ENOBUFS;
	if (bn_bytes_append(&c->out, data, n) < 0)
		return -ENOMEM;
	s->stats.queued_bytes += n;
	return 0;
}

void bn_conn_queue_clear(struct bn_conn *c)
{
	c->server->stats.queued_bytes -= bn_bytes_size(&c->out);
	bn_bytes_done(&c->out);
}

void bn_conn_update(struct bn_conn *c)
{
	uint32_t events = 0; /* hang-ups are always reported */

	if (c->state == CONN_LINE || c->state == CONN_BODY)
		events = EPOLLIN;
	else if (c->state == CONN_REPLY || bn_bytes_size(&c->out) > 0 ||
		 (c->stream && c->stream->kick))
		events = EPOLLOUT;
	sd_event_source_set_io_events(c->io, events);
}

static int conn_on_timer(sd_event_source *source, uint64_t usec, void *user)
{
	struct bn_conn *c = user;
	struct bn_server *s = c->server;

	if (c->state == CONN_LINE && bn_bytes_size(&c->in) == 0) {
		bn_conn_close(c); /* idle between requests: nothing is wrong */
		return 0;
	}
	s->stats.timeouts++;
	if (c->state == CONN_REPLY) {
		bn_server_complain(s, &c->creds, "did not read its answer in time");
		bn_conn_close(c);
		return 0;
	}
	bn_server_complain(s, &c->creds, "did not finish its request in time");
	c->close_after = true;
	bn_conn_error(c, BN_CONTROL_CODE_TIMEOUT, "the request did not arrive in time");
	return 0;
}

static int conn_timer_on(struct bn_conn *c, uint64_t usec)
{
	conn_timer_off(c);
	return sd_event_add_time_relative(c->server->event, &c->timer, CLOCK_MONOTONIC, usec, 0,
					  conn_on_timer, c);
}

void bn_conn_finish(struct bn_conn *c)
{
	c->state = CONN_REPLY;
	if (conn_timer_on(c, c->server->config.drain_timeout_usec) < 0)
		c->close_after = true;
	bn_conn_update(c);
}

/* What came can't be answered as asked, and what follows can't be made out. */
static void conn_refuse(struct bn_conn *c, const char *code, const char *text)
{
	c->server->stats.bad_requests++;
	bn_server_complain(c->server, &c->creds, text);
	if (c->request) {
		bn_request_free(c->request);
		c->request = NULL;
	}
	conn_fds_close(c);
	c->close_after = true;
	bn_conn_error(c, code, text);
}

static void conn_dispatch(struct bn_conn *c)
{
	struct bn_request *r = c->request;
	struct bn_server *s = c->server;
	int ret;

	conn_timer_off(c);
	c->state = CONN_BUSY;
	bn_conn_update(c);
	LIST_INSERT_HEAD(&s->requests, r, entry);
	s->stats.requests++;
	s->current = r;
	ret = r->method->fn(r, r->method->user);
	if (ret < 0 && s->current == r)
		bn_reply_errno(r, ret, NULL);
	s->current = NULL;
}

/* The input begins with the whole body: it becomes the request's, what follows stays. */
static int conn_take_body(struct bn_conn *c)
{
	struct bn_request *r = c->request;
	size_t size = (size_t)r->head.body;
	struct bn_bytes rest = BN_BYTES_NULL;
	size_t more = bn_bytes_size(&c->in) - size;

	if (more && bn_bytes_append(&rest, bn_bytes_head(&c->in) + size, more) < 0)
		return -ENOMEM;
	c->in.end -= more;
	if (!bn_bytes_reserve(&c->in, 1)) {
		bn_bytes_done(&rest);
		return -ENOMEM;
	}
	c->in.data[c->in.end] = '\0';
	r->body = c->in;
	c->in = rest;
	return 0;
}

/* Checks what the line asks for against who asks and the method's limits. */
static void conn_request(struct bn_conn *c, struct bn_head *head)
{
	struct bn_server *s = c->server;
	struct bn_server_method_entry *m;
	const char *code;
	char text[256];

	HASH_FIND_STR(s->methods, head->method, m);
	if (!m) {
		code = BN_CONTROL_CODE_UNKNOWN_METHOD;
		snprintf(text, sizeof(text), "this agent has no method '%s'", head->method);
	} else if (!bn_creds_may(&c->creds, m->access, s->owner, s->config.group)) {
		s->stats.forbidden++;
		code = BN_CONTROL_CODE_FORBIDDEN;
		snprintf(text, sizeof(text), "user %u may not use '%s': only root may",
			 (unsigned)c->creds.uid, m->name);
	} else if ((unsigned long long)head->body > m->body_max) {
		code = BN_CONTROL_CODE_TOO_LARGE;
		snprintf(text, sizeof(text), "'%s' takes at most %zu bytes, not %lld", m->name,
			 m->body_max, (long long)head->body);
	} else if (c->fds_over || c->n_fds > m->fds_max) {
		code = BN_CONTROL_CODE_BAD_REQUEST;
		snprintf(text, sizeof(text), "'%s' takes at most %u descriptors", m->name,
			 m->fds_max);
	} else {
		struct bn_request *r = calloc(1, sizeof(*r));

		if (!r) {
			conn_refuse(c, BN_CONTROL_CODE_BUSY, "out of memory");
			return;
		}
		r->server = s;
		r->conn = c;
		r->method = m;
		r->head = *head;
		*head = (struct bn_head)BN_HEAD_NULL;
		for (unsigned i = 0; i < BN_CONTROL_FDS_MAX; i++)
			r->fds[i] = i < c->n_fds ? c->fds[i] : -1;
		c->n_fds = 0;
		c->request = r;
		return;
	}
	if (head->body > 0) {
		conn_refuse(c, code, text);
		return;
	}
	s->stats.bad_requests++;
	bn_server_complain(s, &c->creds, text);
	conn_fds_close(c);
	bn_conn_error(c, code, text);
}

static void conn_line(struct bn_conn *c, size_t len)
{
	struct bn_error err = BN_ERROR_INIT;
	struct bn_head head = BN_HEAD_NULL;
	int r;

	r = bn_head_parse(bn_bytes_head(&c->in), len, &head, &err);
	bn_bytes_consume(&c->in, len + 1);
	c->scanned = 0;
	if (r < 0)
		conn_refuse(c,
			    r == -EPROTONOSUPPORT ? BN_CONTROL_CODE_VERSION
						  : BN_CONTROL_CODE_BAD_REQUEST,
			    bn_error_text(&err));
	else
		conn_request(c, &head);
	bn_head_done(&head);
	bn_error_done(&err);
	if (!c->request || c->request->head.body == 0)
		return;
	c->state = CONN_BODY;
	c->request->charged = bn_bytes_size(&c->in);
	c->server->body_bytes += c->request->charged;
	if (conn_timer_on(c, c->server->config.body_timeout_usec) < 0)
		conn_refuse(c, BN_CONTROL_CODE_BUSY, "out of memory");
}

/* Makes the most of what has been received. */
static void conn_parse(struct bn_conn *c)
{
	if (c->state == CONN_LINE) {
		size_t size = bn_bytes_size(&c->in);
		bool writer = bn_creds_may(&c->creds, BN_ACCESS_WRITE, c->server->owner,
					   c->server->config.group);
		size_t max = writer ? BN_CONTROL_LINE_MAX_WRITE : BN_CONTROL_LINE_MAX_READ;
		const char *newline = size > c->scanned ? memchr(bn_bytes_head(&c->in) + c->scanned,
								 '\n', size - c->scanned)
							: NULL;
		size_t len = newline ? (size_t)(newline - bn_bytes_head(&c->in)) : size;

		if (len >= max) {
			conn_refuse(c, BN_CONTROL_CODE_TOO_LARGE, "the request line is too long");
			return;
		}
		c->scanned = size;
		if (!newline)
			return;
		conn_line(c, len);
		if (c->state != CONN_BODY) {
			if (c->request && c->state == CONN_LINE)
				conn_dispatch(c);
			return;
		}
	}
	if (c->state != CONN_BODY || bn_bytes_size(&c->in) < (size_t)c->request->head.body)
		return;
	if (conn_take_body(c) < 0)
		conn_refuse(c, BN_CONTROL_CODE_BUSY, "out of memory");
	else
		conn_dispatch(c);
}

static void conn_take_fds(struct bn_conn *c, struct msghdr *msg)
{
	for (struct cmsghdr *h = CMSG_FIRSTHDR(msg); h; h = CMSG_NXTHDR(msg, h)) {
		size_t n;

		if (h->cmsg_level != SOL_SOCKET || h->cmsg_type != SCM_RIGHTS)
			continue;
		n = (h->cmsg_len - CMSG_LEN(0)) / sizeof(int);
		for (size_t i = 0; i < n; i++) {
			int fd;

			memcpy(&fd, CMSG_DATA(h) + i * sizeof(int), sizeof(int));
			if (c->n_fds < BN_CONTROL_FDS_MAX) {
				c->fds[c->n_fds++] = fd;
			} else {
				close(fd);
				c->fds_over = true;
			}
		}
	}
	if (msg->msg_flags & MSG_CTRUNC)
		c->fds_over = true;
}

/* The peer has closed its writing side; true: the connection is gone. */
static bool conn_on_eof(struct bn_conn *c)
{
	c->eof = true;
	if (c->state == CONN_LINE && bn_bytes_size(&c->in) == 0) {
		bn_conn_close(c);
		return true;
	}
	conn_refuse(c, BN_CONTROL_CODE_BAD_REQUEST, "the request ended early");
	return false;
}

static void conn_read(struct bn_conn *c)
{
	char control[CMSG_SPACE(sizeof(int) * 4)] __attribute__((aligned(8)));
	struct bn_server *s = c->server;
	size_t want = READ_LINE;
	struct msghdr msg = {0};
	struct iovec iov;
	char *place;
	ssize_t n;

	if (c->state == CONN_BODY) {
		want = (size_t)c->request->head.body - bn_bytes_size(&c->in);
		if (want > TRANSFER_MAX)
			want = TRANSFER_MAX;
	}
	place = bn_bytes_reserve(&c->in, want);
	if (!place) {
		conn_refuse(c, BN_CONTROL_CODE_BUSY, "out of memory");
		return;
	}
	iov = (struct iovec){.iov_base = place, .iov_len = want};
	msg.msg_iov = &iov;
	msg.msg_iovlen = 1;
	msg.msg_control = control;
	msg.msg_controllen = sizeof(control);
	n = recvmsg(c->fd, &msg, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
	if (n < 0) {
		if (errno != EAGAIN && errno != EINTR)
			bn_conn_close(c);
		return;
	}
	if (n == 0) {
		conn_on_eof(c);
		return;
	}
	c->in.end += (size_t)n;
	conn_take_fds(c, &msg);
	if (c->state == CONN_BODY) {
		c->request->charged += (size_t)n;
		s->body_bytes += (size_t)n;
		if (c->n_fds || c->fds_over) {
			conn_refuse(c, BN_CONTROL_CODE_BAD_REQUEST,
				    "descriptors belong to the first byte of a request");
			return;
		}
		if (s->body_bytes > 2 * (size_t)BN_CONTROL_BODY_MAX) {
			conn_refuse(c, BN_CONTROL_CODE_BUSY,
				    "too many manifests are being received at once; try again");
			return;
		}
	}
	conn_parse(c);
}

/* The answer has been read: on to what may have come behind the request. */
static void conn_next(struct bn_conn *c)
{
	if (c->close_after) {
		bn_conn_close(c);
		return;
	}
	c->state = CONN_LINE;
	c->scanned = 0;
	if (conn_timer_on(c, c->server->config.line_timeout_usec) < 0) {
		bn_conn_close(c);
		return;
	}
	bn_conn_update(c);
	conn_parse(c);
}

static void conn_write(struct bn_conn *c)
{
	size_t size = bn_bytes_size(&c->out);
	ssize_t n;

	if (size > 0) {
		n = send(c->fd, bn_bytes_head(&c->out), size < TRANSFER_MAX ? size : TRANSFER_MAX,
			 MSG_DONTWAIT | MSG_NOSIGNAL);
		if (n < 0) {
			if (errno != EAGAIN && errno != EINTR)
				bn_conn_close(c);
			return;
		}
		bn_bytes_consume(&c->out, (size_t)n);
		c->server->stats.queued_bytes -= (size_t)n;
	}
	if (c->stream)
		bn_stream_low(c->stream);
	if (c->state == CONN_REPLY && bn_bytes_size(&c->out) == 0)
		conn_next(c);
	else
		bn_conn_update(c);
}

static int conn_on_io(sd_event_source *source, int fd, uint32_t revents, void *user)
{
	struct bn_conn *c = user;

	if (c->state == CONN_LINE || c->state == CONN_BODY)
		conn_read(c); /* also on a hang-up: there may be bytes before it */
	else if (revents & (EPOLLHUP | EPOLLERR))
		bn_conn_close(c);
	else if (revents & EPOLLOUT)
		conn_write(c);
	return 0;
}

int bn_conn_new(struct bn_server *s, int fd, struct bn_creds *creds)
{
	struct bn_conn *c = calloc(1, sizeof(*c));
	int r = -ENOMEM;

	if (!c)
		goto fail;
	c->server = s;
	c->fd = fd;
	r = sd_event_add_io(s->event, &c->io, fd, EPOLLIN, conn_on_io, c);
	if (r < 0)
		goto fail;
	r = conn_timer_on(c, s->config.line_timeout_usec);
	if (r < 0)
		goto fail;
	c->creds = *creds;
	*creds = (struct bn_creds)BN_CREDS_NULL;
	LIST_INSERT_HEAD(&s->conns, c, entry);
	s->stats.connections++;
	s->stats.accepted++;
	return 0;
fail:
	if (c)
		sd_event_source_disable_unref(c->io);
	free(c);
	close(fd);
	bn_creds_done(creds);
	return r;
}
