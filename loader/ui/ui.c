// SPDX-License-Identifier: Apache-2.0
#include "ui/ui.h"

#include "error.h"
#include "http/listener.h"
#include "ui/guard.h"
#include "ui/page.h"
#include "ui/streams.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define UI_CONNECTIONS_MAX 48
#define UI_PER_ADDRESS_MAX 32
#define UI_MEMORY_MAX 32768 /* bytes of a request's head, and of an answer's piece */
#define UI_IDLE 30          /* seconds without progress */
#define UI_LIFETIME 30      /* seconds in all, of what is no stream */
#define UI_FRESH_USEC 1000000

#define API "/api/"

struct bn_ui {
	sd_event *event;
	struct bn_ui_config config;
	struct bn_http *http;
	struct bn_http_listener *listener;
	struct bn_ui_streams *streams;
	struct MHD_Response *page;
	struct {
		struct MHD_Response *last;
		uint64_t made; /* when, CLOCK_MONOTONIC, microseconds */
	} documents[BN_UI_DOCUMENTS_MAX];
};

/* ---- answers ---- */

static struct MHD_Response *respond(char *text, enum MHD_ResponseMemoryMode mode, const char *type)
{
	struct MHD_Response *response = MHD_create_response_from_buffer(strlen(text), text, mode);

	if (response)
		bn_ui_headers(response, type);
	else if (mode == MHD_RESPMEM_MUST_FREE)
		free(text);
	return response;
}

static struct MHD_Response *respond_json(json_t *value)
{
	char *text = value ? json_dumps(value, JSON_COMPACT) : NULL;

	json_decref(value);
	return text ? respond(text, MHD_RESPMEM_MUST_FREE, "application/json") : NULL;
}

/* Takes the response over. MHD_NO closes the connection. */
static enum MHD_Result queue(struct MHD_Connection *connection, unsigned int status,
			     struct MHD_Response *response)
{
	enum MHD_Result r;

	if (!response)
		return MHD_NO;
	r = MHD_queue_response(connection, status, response);
	MHD_destroy_response(response);
	return r;
}

static enum MHD_Result refuse(struct MHD_Connection *connection, unsigned int status,
			      const char *text)
{
	struct MHD_Response *response =
		respond((char *)text, MHD_RESPMEM_PERSISTENT, "text/plain; charset=utf-8");

	if (response && status == MHD_HTTP_METHOD_NOT_ALLOWED)
		MHD_add_response_header(response, MHD_HTTP_HEADER_ALLOW, "GET, HEAD");
	return queue(connection, status, response);
}

static enum MHD_Result answer_document(struct bn_ui *ui, struct MHD_Connection *connection,
				       size_t i)
{
	uint64_t now = 0;
	struct MHD_Response *response;

	sd_event_now(ui->event, CLOCK_MONOTONIC, &now);
	if (!ui->documents[i].last || now >= ui->documents[i].made + UI_FRESH_USEC) {
		response = respond_json(ui->config.documents[i].make(ui->config.user));
		if (!response)
			return refuse(connection, MHD_HTTP_SERVICE_UNAVAILABLE, "Out of memory.\n");
		if (ui->documents[i].last)
			MHD_destroy_response(ui->documents[i].last);
		ui->documents[i].last = response;
		ui->documents[i].made = now;
	}
	return MHD_queue_response(connection, MHD_HTTP_OK, ui->documents[i].last);
}

static enum MHD_Result answer_flows(struct bn_ui *ui, struct MHD_Connection *connection)
{
	const char *query = MHD_lookup_connection_value(connection, MHD_GET_ARGUMENT_KIND, "query");
	struct bn_error err = BN_ERROR_INIT;
	struct MHD_Response *response = NULL;
	unsigned int status = MHD_HTTP_OK;
	int r = bn_ui_stream(ui->streams, connection, query, &response, &err);

	if (r < 0) {
		status = r == -EINVAL || r == -E2BIG ? MHD_HTTP_BAD_REQUEST
						     : MHD_HTTP_SERVICE_UNAVAILABLE;
		response = respond_json(
			json_pack("{s:s}", "error", err.text ? err.text : strerror(-r)));
	} else {
		bn_ui_headers(response, "application/x-ndjson");
		bn_http_keep(ui->http, connection);
	}
	bn_error_done(&err);
	return queue(connection, status, response);
}

static enum MHD_Result answer(void *user, struct MHD_Connection *connection, const char *method,
			      const char *path)
{
	struct bn_ui *ui = user;
	const char *why = bn_ui_refuses(connection, ui->config.hosts);

	if (why)
		return refuse(connection, MHD_HTTP_FORBIDDEN, why);
	if (strcmp(method, MHD_HTTP_METHOD_GET) && strcmp(method, MHD_HTTP_METHOD_HEAD))
		return refuse(connection, MHD_HTTP_METHOD_NOT_ALLOWED,
			      "All of this can only be read.\n");
	if (!strcmp(path, "/"))
		return MHD_queue_response(connection, MHD_HTTP_OK, ui->page);
	if (!strcmp(path, API "flows"))
		return answer_flows(ui, connection);
	for (size_t i = 0; i < ui->config.n_documents; i++) {
		if (!strncmp(path, API, strlen(API)) &&
		    !strcmp(path + strlen(API), ui->config.documents[i].name))
			return answer_document(ui, connection, i);
	}
	return refuse(connection, MHD_HTTP_NOT_FOUND, "The page is at /.\n");
}

/* ---- life ---- */

int bn_ui_new(sd_event *event, const struct bn_ui_config *config, struct bn_ui **ret)
{
	struct bn_ui *ui = calloc(1, sizeof(*ui));
	const struct bn_http_config http = {
		.answer = answer,
		.user = ui,
		.connections = UI_CONNECTIONS_MAX,
		.per_address = UI_PER_ADDRESS_MAX,
		.memory = UI_MEMORY_MAX,
		.idle = UI_IDLE,
		.lifetime = UI_LIFETIME,
	};
	int r;

	if (!ui)
		return -ENOMEM;
	ui->event = sd_event_ref(event);
	ui->config = *config;
	ui->page = bn_ui_page();
	r = ui->page ? bn_http_new(event, &http, &ui->http) : -ENOMEM;
	if (r >= 0)
		r = bn_ui_streams_new(event, ui->http, config->observer, &ui->streams);
	if (r >= 0)
		r = bn_http_listener_new(event, ui->http, config->at, "the page", &ui->listener);
	if (r < 0) {
		bn_ui_free(ui);
		return r;
	}
	*ret = ui;
	return 0;
}

void bn_ui_free(struct bn_ui *ui)
{
	if (!ui)
		return;
	bn_http_listener_free(ui->listener);
	if (ui->streams)
		bn_ui_streams_stop(ui->streams);
	bn_http_free(ui->http);
	bn_ui_streams_free(ui->streams);
	for (size_t i = 0; i < BN_UI_DOCUMENTS_MAX; i++)
		if (ui->documents[i].last)
			MHD_destroy_response(ui->documents[i].last);
	if (ui->page)
		MHD_destroy_response(ui->page);
	sd_event_unref(ui->event);
	free(ui);
}

int bn_ui_error(const struct bn_ui *ui)
{
	return ui ? bn_http_listener_error(ui->listener) : 0;
}
