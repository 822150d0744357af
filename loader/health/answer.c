// SPDX-License-Identifier: Apache-2.0
/* What a health check is answered, by the port that it came to. */
#include "health/answer.h"

#include <jansson.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

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

enum MHD_Result bn_health_respond(void *user, struct MHD_Connection *connection, const char *method,
				  const char *path)
{
	struct bn_health_service service;
	struct MHD_Response *response;
	enum MHD_Result r;

	if (!bn_health_answer(user, local_port(connection), &service))
		return MHD_NO;
	response = make_response(&service);
	if (!response)
		return MHD_NO;
	r = MHD_queue_response(
		connection, service.local ? MHD_HTTP_OK : MHD_HTTP_SERVICE_UNAVAILABLE, response);
	MHD_destroy_response(response);
	return r;
}
