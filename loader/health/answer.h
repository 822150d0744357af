/* SPDX-License-Identifier: Apache-2.0 */
/* What a health check is answered. */
#pragma once

#include "health/health.h"

#include <microhttpd.h>

/* The `answer` of struct bn_http_config, any method and path; `user` is the struct bn_health. */
enum MHD_Result bn_health_respond(void *user, struct MHD_Connection *connection, const char *method,
				  const char *path);

/* health.c: what to say on a port; false: nothing is asked there any more. */
bool bn_health_answer(const struct bn_health *health, uint16_t port, struct bn_health_service *ret);
