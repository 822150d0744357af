/* SPDX-License-Identifier: Apache-2.0 */
/* The HTTP of the health checks: libmicrohttpd in the agent's loop, without a thread. */
#pragma once

#include "health/health.h"

#include <sys/socket.h>

struct bn_health_http;

int bn_health_http_new(sd_event *event, const struct bn_health *health,
		       struct bn_health_http **ret);
/* Closes every connection. */
void bn_health_http_free(struct bn_health_http *http);
/* Takes the descriptor, also on failure. */
void bn_health_http_add(struct bn_health_http *http, int fd, const struct sockaddr *from,
			socklen_t size);

/* health.c: what to say on a port; false: nothing is asked there any more. */
bool bn_health_answer(const struct bn_health *health, uint16_t port, struct bn_health_service *ret);
