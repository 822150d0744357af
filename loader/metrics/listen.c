// SPDX-License-Identifier: Apache-2.0
/*
 * Who asks gets one answer to a connection. What a stranger can take is bounded by the number of
 * connections and the time that each may last; texts that are still being sent are as many as
 * seconds of that time at most.
 */
#include "metrics/listen.h"

#include "http/listener.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define LISTEN_CONNECTIONS_MAX 32
#define LISTEN_PER_ADDRESS_MAX 8
#define LISTEN_MEMORY_MAX 8192 /* bytes of a request's head */
#define LISTEN_IDLE 5          /* seconds without progress */
#define LISTEN_LIFETIME 10     /* seconds in all */
#define LISTEN_FRESH_USEC 1000000

struct bn_metrics_listen {
	sd_event *event;
	struct bn_metrics *metrics;
	struct bn_http *http;
	struct bn_http_listener *listener;
	struct MHD_Response *text; /* the last */
	uint64_t made;             /* when, CLOCK_MONOTONIC, microseconds */
};

/* ---- answers ---- */

static struct MHD_Response *respond(char *text, size_t len, enum MHD_ResponseMemoryMode mode,
				    const char *type)
{
	struct MHD_Response *response = MHD_create_response_from_buffer(len, text, mode);

	if (!response) {
		if (mode == MHD_RESPMEM_MUST_FREE)
			free(text);
		return NULL;
	}
	MHD_add_response_header(response, MHD_HTTP_HEADER_CONTENT_TYPE, type);
	MHD_add_response_header(response, "X-Content-Type-Options", "nosniff");
	MHD_add_response_header(response, MHD_HTTP_HEADER_CONNECTION, "close");
	return response;
}

static struct MHD_Response *metrics_response(struct bn_metrics_listen *l)
{
	uint64_t now = 0;
	char *text;
	size_t len;

	sd_event_now(l->event, CLOCK_MONOTONIC, &now);
	if (l->text && now < l->made + LISTEN_FRESH_USEC)
		return l->text;
	if (bn_metrics_text(l->metrics, &text, &len) < 0)
		return NULL;
	if (l->text)
		MHD_destroy_response(l->text);
	l->text = respond(text, len, MHD_RESPMEM_MUST_FREE,
			  "text/plain; version=0.0.4; charset=utf-8");
	l->made = now;
	return l->text;
}

static enum MHD_Result refuse(struct MHD_Connection *connection, unsigned int status,
			      const char *text)
{
	struct MHD_Response *response = respond((char *)text, strlen(text), MHD_RESPMEM_PERSISTENT,
						"text/plain; charset=utf-8");
	enum MHD_Result r;

	if (!response)
		return MHD_NO;
	if (status == MHD_HTTP_METHOD_NOT_ALLOWED)
		MHD_add_response_header(response, MHD_HTTP_HEADER_ALLOW, "GET, HEAD");
	r = MHD_queue_response(connection, status, response);
	MHD_destroy_response(response);
	return r;
}

static enum MHD_Result answer(void *user, struct MHD_Connection *connection, const char *method,
			      const char *path)
{
	struct MHD_Response *response;

	if (strcmp(path, "/metrics"))
		return refuse(connection, MHD_HTTP_NOT_FOUND, "Metrics are at /metrics.\n");
	if (strcmp(method, MHD_HTTP_METHOD_GET) && strcmp(method, MHD_HTTP_METHOD_HEAD))
		return refuse(connection, MHD_HTTP_METHOD_NOT_ALLOWED,
			      "Metrics can only be read.\n");
	response = metrics_response(user);
	if (!response)
		return refuse(connection, MHD_HTTP_SERVICE_UNAVAILABLE, "Out of memory.\n");
	return MHD_queue_response(connection, MHD_HTTP_OK, response);
}

/* ---- life ---- */

int bn_metrics_listen_new(sd_event *event, struct bn_metrics *metrics, const struct bn_listen *at,
			  struct bn_metrics_listen **ret)
{
	struct bn_metrics_listen *l = calloc(1, sizeof(*l));
	const struct bn_http_config config = {
		.answer = answer,
		.user = l,
		.connections = LISTEN_CONNECTIONS_MAX,
		.per_address = LISTEN_PER_ADDRESS_MAX,
		.memory = LISTEN_MEMORY_MAX,
		.idle = LISTEN_IDLE,
		.lifetime = LISTEN_LIFETIME,
	};
	int r;

	if (!l)
		return -ENOMEM;
	l->event = sd_event_ref(event);
	l->metrics = metrics;
	r = bn_http_new(event, &config, &l->http);
	if (r >= 0)
		r = bn_http_listener_new(event, l->http, at, "metrics", &l->listener);
	if (r < 0) {
		bn_metrics_listen_free(l);
		return r;
	}
	*ret = l;
	return 0;
}

void bn_metrics_listen_free(struct bn_metrics_listen *l)
{
	if (!l)
		return;
	bn_http_listener_free(l->listener);
	bn_http_free(l->http);
	if (l->text)
		MHD_destroy_response(l->text);
	sd_event_unref(l->event);
	free(l);
}

int bn_metrics_listen_error(const struct bn_metrics_listen *l)
{
	return l ? bn_http_listener_error(l->listener) : 0;
}
