/* SPDX-License-Identifier: Apache-2.0 */
/* The inside of the control socket, shared by its files and nobody else. */
#pragma once

#include <bpfnet/control.h>
#include <sys/queue.h>
#include <uthash.h>

#include "server/bytes.h"
#include "server/creds.h"
#include "server/head.h"
#include "server/server.h"

struct bn_server_method_entry {
	const char *name;
	enum bn_access access;
	size_t body_max;
	unsigned fds_max;
	bn_method_fn fn;
	void *user;
	UT_hash_handle hh;
};

/*
 *           line complete           body complete           answered             read by the peer
 * CONN_LINE ------------> CONN_BODY -------------> CONN_BUSY --------> CONN_REPLY ------> CONN_LINE
 *                                                     `--> CONN_STREAM --> end --^
 */
enum bn_conn_state {
	CONN_LINE,   /* waits for the rest of a request line */
	CONN_BODY,   /* waits for the rest of its body */
	CONN_BUSY,   /* a method has the request; nothing is read */
	CONN_STREAM, /* a method sends lines as they come */
	CONN_REPLY,  /* the answer is complete and on its way */
};

struct bn_conn {
	LIST_ENTRY(bn_conn) entry;
	struct bn_server *server;
	struct bn_creds creds;
	int fd;
	sd_event_source *io;
	sd_event_source *timer; /* on only while the peer owes us something */
	enum bn_conn_state state;
	bool close_after; /* hang up when the answer has been read */
	bool eof;         /* the peer will send no more */
	struct bn_bytes in;
	size_t scanned; /* bytes of `in` known to hold no newline */
	struct bn_bytes out;
	int fds[BN_CONTROL_FDS_MAX]; /* of the request being received */
	unsigned n_fds;
	bool fds_over;              /* more came than there may be; the rest is closed */
	struct bn_request *request; /* CONN_BODY, CONN_BUSY */
	struct bn_stream *stream;   /* CONN_STREAM */
};

struct bn_request {
	LIST_ENTRY(bn_request) entry;
	struct bn_server *server; /* NULL: gone before the answer */
	struct bn_conn *conn;     /* NULL: gone before the answer */
	const struct bn_server_method_entry *method;
	struct bn_head head;
	struct bn_bytes body;
	size_t charged; /* of the server's body_bytes */
	int fds[BN_CONTROL_FDS_MAX];
};

struct bn_stream {
	struct bn_conn *conn;
	void (*closed)(void *user);
	void (*room)(struct bn_stream *s, void *user);
	void *user;
	uint64_t lost; /* lines dropped since the last {"lost":N} */
	bool kick;     /* call `room` though nothing waits to be sent */
};

struct bn_server {
	sd_event *event;
	sd_event_source *listen;
	struct bn_server_config config;
	char *path;     /* of the socket; NULL before it is there */
	dev_t path_dev; /* which file it was, so that nobody else's is removed */
	ino_t path_ino;
	int reserve_fd; /* given up to refuse connections when descriptors have run out */
	uid_t owner;
	struct bn_server_method_entry *methods;
	LIST_HEAD(, bn_conn) conns;
	LIST_HEAD(, bn_request) requests; /* handed to a method, not answered */
	struct bn_request *current;       /* the one whose method is running */
	size_t body_bytes;                /* of all requests */
	struct bn_server_stats stats;
	uint64_t log_window_usec;
	unsigned log_count;
	unsigned log_suppressed;
};

/* Logs what a client did wrong; floods are summed up. */
void bn_server_complain(struct bn_server *s, const struct bn_creds *who, const char *what);

/* Takes fd and creds over, also on failure. */
int bn_conn_new(struct bn_server *s, int fd, struct bn_creds *creds);
void bn_conn_close(struct bn_conn *c);
/* Appends to the output; -ENOBUFS beyond the bound of an answer. */
int bn_conn_queue(struct bn_conn *c, const void *data, size_t n);
/* Drops what is queued. */
void bn_conn_queue_clear(struct bn_conn *c);
/* The answer is complete: write it, then take the next request or hang up. */
void bn_conn_finish(struct bn_conn *c);
/* Asks the loop for the events that the state needs. */
void bn_conn_update(struct bn_conn *c);

void bn_request_free(struct bn_request *r);
/* {"ok":false,...}, for a connection that has no request. */
void bn_conn_error(struct bn_conn *c, const char *code, const char *text);
/* The output has run low: report losses, let the sender go on. */
void bn_stream_low(struct bn_stream *s);
