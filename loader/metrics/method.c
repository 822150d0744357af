// SPDX-License-Identifier: Apache-2.0
/*
 * Answers "metrics" over the control socket. Sources are asked while the request waits: they read
 * counters, and none of them blocks.
 */
#include "metrics/method.h"

#include "metrics/metrics.h"
#include "server/server.h"

#include <stdlib.h>

int bn_metrics_method(struct bn_request *request, void *user)
{
	char *text;
	size_t len;
	int r = bn_metrics_text(user, &text, &len);

	if (r < 0)
		return r;
	bn_reply(request, json_stringn(text, len));
	free(text);
	return 0;
}
