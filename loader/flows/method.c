// SPDX-License-Identifier: Apache-2.0
/*
 * Ties a reader of flows to a stream of the control socket. The stream's queue is kept for what
 * the socket can't take at the moment; past that the subscription waits with its place in the
 * history, and goes on when the queue has run half empty.
 *
 * Invariant: subscription and stream end together, by whichever ends first; the struct goes with
 * them.
 */
#include "flows/method.h"

#include "flows/observer.h"
#include "server/server.h"

#include <errno.h>
#include <stdlib.h>

struct flow_stream {
	struct bn_subscription *sub;
	struct bn_stream *stream;
};

static void flow_stream_free(struct flow_stream *f)
{
	bn_subscription_free(f->sub);
	free(f);
}

static void on_closed(void *user)
{
	flow_stream_free(user);
}

static void on_room(struct bn_stream *stream, void *user)
{
	struct flow_stream *f = user;

	bn_stream_on_room(stream, NULL);
	bn_subscription_resume(f->sub);
}

static int send_line(void *user, const char *line, size_t len)
{
	struct flow_stream *f = user;

	if (bn_stream_room(f->stream) <= len) {
		bn_stream_on_room(f->stream, on_room);
		return -EAGAIN;
	}
	/* what can fail now is memory: the line is counted as lost and told by the stream */
	(void)bn_stream_send(f->stream, line, len);
	return 0;
}

static void on_end(void *user, int error, const struct bn_reader_totals *totals)
{
	struct flow_stream *f = user;

	uint64_t missed = 0;

	for (unsigned int source = 0; source < BN_LOST_MAX; source++)
		missed += totals->lost[source];
	bn_stream_end(f->stream, json_pack("{s:I, s:I}", "sent", (json_int_t)totals->sent, "missed",
					   (json_int_t)missed));
	flow_stream_free(f);
}

int bn_flows_method(struct bn_request *request, void *user)
{
	struct bn_observer *observer = user;
	struct bn_flow_query query = {0};
	struct bn_error err = BN_ERROR_INIT;
	struct flow_stream *f = calloc(1, sizeof(*f));
	int r;

	if (!f)
		return -ENOMEM;
	r = bn_flow_query_parse(bn_request_params(request), &query, &err);
	if (r == 0)
		r = bn_observer_subscribe(observer, &query, send_line, on_end, f, &f->sub);
	if (r < 0) {
		bn_reply_errno(request, r, &err);
		goto fail;
	}
	/* lines come from the event loop only, so the stream is there before the first */
	f->stream = bn_reply_stream(request, on_closed, f);
	if (!f->stream)
		goto fail;
	return 0;
fail:
	bn_flow_query_done(&query);
	bn_error_done(&err);
	flow_stream_free(f);
	return 0;
}
