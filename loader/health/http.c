// SPDX-License-Identifier: Apache-2.0
/*
 * libmicrohttpd without threads and without a listener of its own: its epoll descriptor is a source
 * of the agent's loop, and so is a timer for its connections' time, armed only while there are any.
 *
 * Strangers may connect, so connections and their memory and time are bounded.
 */
#include "health/http.h"

#include <errno.h>
#include <jansson.h>
#include <microhttpd.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define HTTP_CONNECTIONS_MAX 64
#define HTTP_PER_ADDRESS_MAX 16
#define HTTP_MEMORY_MAX 4096 /* bytes of a request's head */
#define HTTP_TIMEOUT 5u      /* seconds without progress */

struct bn_health_http {
	const struct bn_health *health;
	struct MHD_Daemon *daemon;
	sd_event_source *io, *timer;
};

static void run(struct bn_health_http *http)
{
	MHD_UNSIGNED_LONG_LONG ms = 0;

	MHD_run(http->daemon);
	if (MHD_get_timeout(http->daemon, &ms) != MHD_YES) {
		sd_event_source_set_enabled(http->timer, SD_EVENT_OFF);
		return;
	}
	sd_event_source_set_time_relative(http->timer, ms * 1000);
	sd_event_source_set_enabled(http->timer, SD_EVENT_ONESHOT);
}

static int on_io(sd_event_source *source, int fd, uint32_t revents, void *user)
{
	run(user);
	return 0;
}

static int on_timer(sd_event_source *source, uint64_t usec, void *user)
{
	run(user);
	return 0;
}

/* ---- the answer ---- */

static uint16_t local_port(struct MHD_Connection *connection)
{
	const union MHD_ConnectionInfo *info =
		MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CONNECTION_FD);
	struct sockaddr_storage ss = {0};
	socklen_t size = sizeof(ss);

	if (!info || getsockname(info->connect_fd, (struct sockaddr *)&ss, &size) < 0)
		return 0;
	return ntohs(ss.ss_family == AF_INET ? ((struct sockaddr_in *)&ss)->sin_port
					     : ((struct sockaddr_in6 *)&ss)->sin6_port);
}

static struct MHD_Response *make_response(const struct bn_health_service *service)
{
	struct MHD_Response *response = NULL;
	char *text, number[24];
	json_t *body;

	body = json_pack("{s:{s:s, s:s}, s:I, s:b}", "service", "namespace", service->namespace,
			 "name", service->name, "localEndpoints", (json_int_t)service->local,
			 "serviceProxyHealthy", 1);
	text = body ? json_dumps(body, JSON_INDENT(1)) : NULL;
	json_decref(body);
	if (!text)
		return NULL;
	response = MHD_create_response_from_buffer(strlen(text), text, MHD_RESPMEM_MUST_FREE);
	if (!response) {
		free(text);
		return NULL;
	}
	snprintf(number, sizeof(number), "%zu", service->local);
	MHD_add_response_header(response, "Content-Type", "application/json");
	MHD_add_response_header(response, "X-Content-Type-Options", "nosniff");
	MHD_add_response_header(response, "X-Load-Balancing-Endpoint-Weight", number);
	return response;
}

/* Any method and path is answered; a body is read and forgotten. MHD_NO closes the connection. */
static enum MHD_Result answer(void *user, struct MHD_Connection *connection, const char *url,
			      const char *method, const char *version, const char *data,
			      size_t *size, void **state)
{
	static char seen;
	const struct bn_health_http *http = user;
	struct bn_health_service service;
	struct MHD_Response *response;
	enum MHD_Result r;

	if (!*state) {
		*state = &seen;
		return MHD_YES;
	}
	if (*size) {
		*size = 0;
		return MHD_YES;
	}
	if (!bn_health_answer(http->health, local_port(connection), &service))
		return MHD_NO;
	response = make_response(&service);
	if (!response)
		return MHD_NO;
	r = MHD_queue_response(
		connection, service.local ? MHD_HTTP_OK : MHD_HTTP_SERVICE_UNAVAILABLE, response);
	MHD_destroy_response(response);
	return r;
}

/* ---- life ---- */

void bn_health_http_add(struct bn_health_http *http, int fd, const struct sockaddr *from,
			socklen_t size)
{
	/* the library closes what it does not take */
	MHD_add_connection(http->daemon, fd, from, size);
	run(http);
}

static int watch(struct bn_health_http *http, sd_event *event)
{
	const union MHD_DaemonInfo *info =
		MHD_get_daemon_info(http->daemon, MHD_DAEMON_INFO_EPOLL_FD);
	int r;

	if (!info)
		return -ENOTSUP;
	r = sd_event_add_io(event, &http->io, info->epoll_fd, EPOLLIN, on_io, http);
	if (r < 0)
		return r;
	r = sd_event_add_time(event, &http->timer, CLOCK_MONOTONIC, 0, 0, on_timer, http);
	return r < 0 ? r : sd_event_source_set_enabled(http->timer, SD_EVENT_OFF);
}

int bn_health_http_new(sd_event *event, const struct bn_health *health, struct bn_health_http **ret)
{
	struct bn_health_http *http = calloc(1, sizeof(*http));
	int r = -ENOMEM;

	if (!http)
		return -ENOMEM;
	http->health = health;
	http->daemon =
		MHD_start_daemon(MHD_USE_EPOLL | MHD_USE_NO_LISTEN_SOCKET, 0, NULL, NULL, answer,
				 http, MHD_OPTION_CONNECTION_LIMIT, (unsigned)HTTP_CONNECTIONS_MAX,
				 MHD_OPTION_PER_IP_CONNECTION_LIMIT, (unsigned)HTTP_PER_ADDRESS_MAX,
				 MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)HTTP_MEMORY_MAX,
				 MHD_OPTION_CONNECTION_TIMEOUT, HTTP_TIMEOUT, MHD_OPTION_END);
	if (http->daemon)
		r = watch(http, event);
	if (r < 0) {
		bn_health_http_free(http);
		return r;
	}
	*ret = http;
	return 0;
}

void bn_health_http_free(struct bn_health_http *http)
{
	if (!http)
		return;
	sd_event_source_disable_unref(http->io);
	sd_event_source_disable_unref(http->timer);
	if (http->daemon)
		MHD_stop_daemon(http->daemon);
	free(http);
}
