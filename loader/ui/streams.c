// SPDX-License-Identifier: Apache-2.0
/*
 * A stream holds a little for what the connection can't take at the moment; past that its
 * subscription waits, with its place in the history. A stream that has nothing to send is suspended,
 * and then the library does not look at its connection: so its end is watched for here.
 *
 * Invariant: a stream lives as long as its response, which the library frees with the connection.
 */
#include "ui/streams.h"

#include <errno.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/queue.h>

#define STREAM_QUEUE 65536
#define STREAM_BLOCK 16384
#define STREAM_BEAT_USEC 15000000

struct stream {
	LIST_ENTRY(stream) entry;
	struct bn_ui_streams *streams;
	struct bn_subscription *sub;
	struct MHD_Connection *connection;
	sd_event_source *hangup, *beat;
	struct bn_buf queue; /* of which `sent` is out */
	size_t sent;
	bool waiting; /* the subscription, for room */
	bool suspended;
	bool ended; /* nothing comes after what is queued */
	bool gone;
};

struct bn_ui_streams {
	sd_event *event;
	struct bn_http *http;
	struct bn_observer *observer;
	LIST_HEAD(, stream) list;
	unsigned int n;
};

static size_t queued(const struct stream *s)
{
	return s->queue.len - s->sent;
}

static void wake(struct stream *s)
{
	if (!s->suspended)
		return;
	s->suspended = false;
	bn_http_resume(s->streams->http, s->connection);
}

/* ---- from the observer ---- */

static int send_line(void *user, const char *line, size_t len)
{
	struct stream *s = user;

	/* a line longer than the queue goes alone */
	if (queued(s) && queued(s) + len + 1 > STREAM_QUEUE) {
		s->waiting = true;
		return -EAGAIN;
	}
	if (s->sent) {
		memmove(s->queue.data, s->queue.data + s->sent, queued(s));
		s->queue.len -= s->sent;
		s->sent = 0;
	}
	if (!bn_buf_reserve(&s->queue, len + 1))
		return -ENOMEM;
	bn_buf_put(&s->queue, line, len + 1);
	wake(s);
	return 0;
}

static void on_end(void *user, int error, const struct bn_reader_totals *totals)
{
	struct stream *s = user;

	bn_subscription_free(s->sub);
	s->sub = NULL;
	s->ended = true;
	s->gone = error < 0;
	wake(s);
}

/* ---- to the connection ---- */

static ssize_t on_read(void *user, uint64_t pos, char *to, size_t max)
{
	struct stream *s = user;
	size_t n = queued(s) < max ? queued(s) : max;

	if (s->gone)
		return MHD_CONTENT_READER_END_WITH_ERROR;
	if (!n && s->ended)
		return MHD_CONTENT_READER_END_OF_STREAM;
	if (!n) {
		s->suspended = true;
		MHD_suspend_connection(s->connection);
		return 0;
	}
	memcpy(to, s->queue.data + s->sent, n);
	s->sent += n;
	if (s->waiting && queued(s) <= STREAM_QUEUE / 2) {
		s->waiting = false;
		bn_subscription_resume(s->sub);
	}
	return (ssize_t)n;
}

static int on_hangup(sd_event_source *source, int fd, uint32_t revents, void *user)
{
	struct stream *s = user;

	s->gone = true;
	wake(s);
	return sd_event_source_set_enabled(source, SD_EVENT_OFF);
}

/* Tells a page that has heard nothing that this is so. */
static int on_beat(sd_event_source *source, uint64_t usec, void *user)
{
	struct stream *s = user;
	int r;

	if (!queued(s))
		(void)send_line(s, "\n", 0);
	r = sd_event_source_set_time_relative(source, STREAM_BEAT_USEC);
	return r < 0 ? r : sd_event_source_set_enabled(source, SD_EVENT_ONESHOT);
}

static int watch(struct stream *s)
{
	const union MHD_ConnectionInfo *info =
		MHD_get_connection_info(s->connection, MHD_CONNECTION_INFO_CONNECTION_FD);
	sd_event *event = s->streams->event;
	int r;

	if (!info)
		return -ENOTSUP;
	r = sd_event_add_io(event, &s->hangup, info->connect_fd, EPOLLRDHUP, on_hangup, s);
	if (r < 0)
		return r;
	return sd_event_add_time_relative(event, &s->beat, CLOCK_MONOTONIC, STREAM_BEAT_USEC, 0,
					  on_beat, s);
}

static void stream_free(void *user)
{
	struct stream *s = user;

	LIST_REMOVE(s, entry);
	s->streams->n--;
	bn_subscription_free(s->sub);
	sd_event_source_disable_unref(s->hangup);
	sd_event_source_disable_unref(s->beat);
	bn_buf_done(&s->queue);
	free(s);
}

/* ---- asking ---- */

static int subscribe(struct stream *s, const char *text, struct bn_error *err)
{
	struct bn_flow_query query = {0};
	json_t *params = text ? json_loads(text, JSON_REJECT_DUPLICATES, NULL) : json_object();
	int r;

	if (!json_is_object(params)) {
		json_decref(params);
		return bn_error_set(err, -EINVAL, "cannot read flows: 'query' is no JSON object");
	}
	r = bn_flow_query_parse(params, &query, err);
	json_decref(params);
	if (r == 0)
		r = bn_observer_subscribe(s->streams->observer, &query, send_line, on_end, s,
					  &s->sub);
	bn_flow_query_done(&query);
	return r;
}

int bn_ui_stream(struct bn_ui_streams *streams, struct MHD_Connection *connection,
		 const char *query, struct MHD_Response **ret, struct bn_error *err)
{
	struct stream *s;
	int r;

	if (streams->n >= BN_UI_STREAMS_MAX)
		return bn_error_set(err, -EBUSY, "cannot read flows: %d pages read them already",
				    BN_UI_STREAMS_MAX);
	s = calloc(1, sizeof(*s));
	if (!s)
		return -ENOMEM;
	s->streams = streams;
	s->connection = connection;
	LIST_INSERT_HEAD(&streams->list, s, entry);
	streams->n++;
	r = subscribe(s, query, err);
	if (r == 0)
		r = watch(s);
	*ret = r < 0 ? NULL
		     : MHD_create_response_from_callback(MHD_SIZE_UNKNOWN, STREAM_BLOCK, on_read, s,
							 stream_free);
	if (!*ret)
		stream_free(s);
	return r < 0 ? r : *ret ? 0 : -ENOMEM;
}

/* ---- life ---- */

int bn_ui_streams_new(sd_event *event, struct bn_http *http, struct bn_observer *observer,
		      struct bn_ui_streams **ret)
{
	struct bn_ui_streams *streams = calloc(1, sizeof(*streams));

	if (!streams)
		return -ENOMEM;
	streams->event = sd_event_ref(event);
	streams->http = http;
	streams->observer = observer;
	LIST_INIT(&streams->list);
	*ret = streams;
	return 0;
}

void bn_ui_streams_stop(struct bn_ui_streams *streams)
{
	struct stream *s;

	LIST_FOREACH(s, &streams->list, entry) {
		s->gone = true;
		wake(s);
	}
}

void bn_ui_streams_free(struct bn_ui_streams *streams)
{
	if (!streams)
		return;
	sd_event_unref(streams->event);
	free(streams);
}
