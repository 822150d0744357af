// SPDX-License-Identifier: Apache-2.0
/*
 * `flows`: asks for a stream and shows it, as lines for people or as the agent's own JSON, byte
 * for byte.
 */
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "client.h"
#include "flow.h"
#include "output.h"
#include "text.h"

#define LAST_DEFAULT 20
#define LAST_MAX 100000000L

struct shower {
	const struct bn_call *call;
	struct bn_flow_style style;
};

static int show(const json_t *flow, const char *text, size_t len, void *user)
{
	const struct shower *s = user;
	const json_t *lost = json_object_get(flow, "lost_events");

	if (s->call->format == BN_FORMAT_JSON) {
		fwrite(text, 1, len, stdout);
		putchar('\n');
		return 0;
	}
	if (s->call->format == BN_FORMAT_YAML)
		return bn_output_yaml(stdout, flow, true);
	if (lost) {
		const json_t *n = json_object_get(lost, "num_events_lost");
		const char *source = json_string_value(json_object_get(lost, "source"));

		bn_fail("flows are missing here: %lld lost (%s)",
			json_is_string(n) ? atoll(json_string_value(n))
					  : (long long)json_integer_value(n),
			source ? source : "unknown");
		return 0;
	}
	bn_flow_print(stdout, flow, &s->style);
	return 0;
}

static int take_time(const struct bn_call *call, json_t *params, const char *name)
{
	const char *text = bn_call_option(call, name);
	struct timespec now;
	int64_t ns;

	if (!text)
		return 0;
	clock_gettime(CLOCK_REALTIME, &now);
	if (!bn_time_parse(text, now.tv_sec * INT64_C(1000000000) + now.tv_nsec, &ns))
		return bn_call_usage(
			call,
			"'--%s %s': expected a span back like 90s, 5m, 1h30m or 2d, or "
			"a time like 2006-01-02T15:04:05Z or 2006-01-02",
			name, text);
	json_object_set_new(params, name, json_integer(ns));
	return 0;
}

static int take_last(const struct bn_call *call, json_t *params)
{
	const char *text = bn_call_option(call, "last");
	bool all = bn_call_option(call, "all");
	char *end = NULL;
	long n = 0;

	if (text && all)
		return bn_call_usage(call, "'--last' and '--all' contradict");
	if (text) {
		n = strtol(text, &end, 10);
		if (text[strspn(text, "0123456789")] || !*text || n < 1 || n > LAST_MAX)
			return bn_call_usage(call, "'--last %s': expected a number from 1 to %ld",
					     text, LAST_MAX);
	} else if (!all && !bn_call_option(call, "follow") && !bn_call_option(call, "since") &&
		   !bn_call_option(call, "until")) {
		n = LAST_DEFAULT;
	} else if (all && bn_call_option(call, "follow") && !bn_call_option(call, "since")) {
		/* with `follow`, what is kept has to be asked for */
		json_object_set_new(params, "since", json_integer(0));
	}
	if (n)
		json_object_set_new(params, "last", json_integer(n));
	return 0;
}

int bn_cmd_flows(struct bn_call *call)
{
	struct shower s = {
		.call = call,
		.style = {.numeric = bn_call_option(call, "numeric"),
			  .wide = call->format == BN_FORMAT_WIDE,
			  .color = bn_text_color(bn_call_option(call, "color"))},
	};
	json_t *params = json_object(), *filters = NULL;
	int r;

	r = bn_filters_parse(call, &filters);
	if (!r)
		r = take_last(call, params);
	if (!r)
		r = take_time(call, params, "since");
	if (!r)
		r = take_time(call, params, "until");
	if (r)
		goto out;
	json_object_set_new(params, "follow", json_boolean(bn_call_option(call, "follow")));
	json_object_set(params, "filters", filters);
	r = bn_client_stream(call, &(struct bn_ask)BN_ASK("flows", params), show, &s);
out:
	json_decref(filters);
	json_decref(params);
	return r;
}
