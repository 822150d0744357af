/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The control socket: takes requests as <bpfnet/control.h> defines them, checks who asks, hands
 * them to the methods that the rest of the agent registers, and carries the answers back without
 * ever waiting for a reader.
 */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <systemd/sd-event.h>

#include "error.h"

struct bn_server;
struct bn_request;
struct bn_stream;

enum bn_access {
	BN_ACCESS_READ,
	BN_ACCESS_WRITE,
};

#define BN_SERVER_NO_GROUP ((gid_t) - 1)

/* Zero means the default for every number. */
struct bn_server_config {
	const char *run_dir;         /* made where it is missing */
	gid_t group;                 /* whose members may read; BN_SERVER_NO_GROUP: only root */
	unsigned connections_max;    /* 256, the last 16 of them for root */
	size_t stream_queue_max;     /* 1 MiB: what a live stream holds for a reader, bytes */
	size_t reply_max;            /* BN_CONTROL_REPLY_MAX */
	uint64_t line_timeout_usec;  /* 10 s: for a request line, and between requests */
	uint64_t body_timeout_usec;  /* 60 s: for a body */
	uint64_t drain_timeout_usec; /* 60 s: for an answer to be read */
};

/* Counted since the start; shown as metrics. */
struct bn_server_stats {
	uint64_t accepted;
	uint64_t requests;     /* handed to a method */
	uint64_t bad_requests; /* rubbish, half messages, too long, unknown methods */
	uint64_t forbidden;    /* refused for who asked */
	uint64_t refused_full; /* connections over the bound */
	uint64_t timeouts;     /* requests or answers not finished in time */
	uint64_t replies_over; /* answers over the bound */
	uint64_t stream_lost;  /* lines that slow readers missed */
	unsigned connections;  /* now */
	unsigned streams;      /* now */
	size_t queued_bytes;   /* now, of all answers and streams */
};

/*
 * Answers the request by exactly one of the bn_reply functions, now or later, and returns 0; or
 * returns -errno without having answered, which is answered for it.
 */
typedef int (*bn_method_fn)(struct bn_request *r, void *user);

/* Starts to listen. -EADDRINUSE where a living agent has the socket. */
int bn_server_new(sd_event *event, const struct bn_server_config *config, struct bn_server **ret,
		  struct bn_error *err);
/*
 * Hangs up on everyone (streams' `closed` is called), stops listening and removes the socket.
 * Requests that are still unanswered stay valid; answering them only frees them.
 */
void bn_server_free(struct bn_server *s);
/* `name` is borrowed for the server's life. Limits come from BN_CONTROL_METHODS. */
int bn_server_method(struct bn_server *s, const char *name, enum bn_access access, bn_method_fn fn,
		     void *user);
void bn_server_get_stats(const struct bn_server *s, struct bn_server_stats *ret);
/* Serves a connected stream socket (taken over, also on failure) as if it had been accepted. */
int bn_server_adopt(struct bn_server *s, int fd);

/* Never NULL: an object, empty where the request had none; borrowed until the answer. */
json_t *bn_request_params(struct bn_request *r);
/* The body, with a NUL behind it; borrowed until the answer. */
const char *bn_request_body(struct bn_request *r, size_t *ret_size);
/* The i-th descriptor, the caller's from now on; -EBADF where there is none. */
int bn_request_take_fd(struct bn_request *r, unsigned i);
const char *bn_request_method(const struct bn_request *r);

/* Each of these ends the request: `r` is gone afterwards. `result` is stolen. */
void bn_reply(struct bn_request *r, json_t *result);
void bn_reply_error(struct bn_request *r, const char *code, const char *text);
/* `error` is -errno (or errno) and chooses the code; the text is err's, or errno's own. */
void bn_reply_errno(struct bn_request *r, int error, const struct bn_error *err);
/*
 * Begins a stream. `closed` is called once when the reader is gone, and the stream with it; not
 * after bn_stream_end(), and never from inside a bn_stream function. NULL: out of memory or the
 * reader has gone already; the request is ended then too and `closed` is not called.
 */
struct bn_stream *bn_reply_stream(struct bn_request *r, void (*closed)(void *user), void *user);
/*
 * Sends one line (JSON without the newline; copied). 0, or -ENOBUFS where the reader is too far
 * behind: the line is dropped and counted.
 */
int bn_stream_send(struct bn_stream *s, const char *line, size_t len);
/*
 * For lists, which must not lose lines: `room` is called from the event loop now and whenever
 * the queue has run at least half empty; send while bn_stream_room() leaves place for a line.
 * Called until bn_stream_end() or bn_stream_on_room(s, NULL).
 */
void bn_stream_on_room(struct bn_stream *s, void (*room)(struct bn_stream *s, void *user));
size_t bn_stream_room(const struct bn_stream *s);
/* Sends {"end":true} with the keys of `tail` (stolen, may be NULL). The stream is gone. */
void bn_stream_end(struct bn_stream *s, json_t *tail);
