// SPDX-License-Identifier: Apache-2.0
/* `flows`: asks the agent for a stream, or reads a file, and shows what is wanted of it. */
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "client.h"
#include "flow.h"
#include "text.h"

#define LAST_DEFAULT 20
#define LAST_MAX 100000000L

static int show_line(const json_t *flow, const char *text, size_t len, void *user)
{
	return bn_flow_show(user, flow, text, len);
}

static void show_idle(void *user)
{
	bn_flow_show_idle(user);
}

static int take_time(const struct bn_call *call, const char *name, int64_t *ret)
{
	const char *text = bn_call_option(call, name);
	struct timespec now;

	if (!text)
		return 0;
	clock_gettime(CLOCK_REALTIME, &now);
	if (!bn_time_parse(text, now.tv_sec * INT64_C(1000000000) + now.tv_nsec, ret))
		return bn_call_usage(
			call,
			"'--%s %s': expected a span back like 90s, 5m, 1h30m or 2d, or "
			"a time like 2006-01-02T15:04:05Z or 2006-01-02",
			name, text);
	return 0;
}

static int take_last(const struct bn_call *call, size_t *ret)
{
	const char *text = bn_call_option(call, "last");
	long n;

	if (text && bn_call_option(call, "all"))
		return bn_call_usage(call, "'--last' and '--all' contradict");
	if (!text)
		return 0;
	n = strtol(text, NULL, 10);
	if (text[strspn(text, "0123456789")] || !*text || n < 1 || n > LAST_MAX)
		return bn_call_usage(call, "'--last %s': expected a number from 1 to %ld", text,
				     LAST_MAX);
	*ret = (size_t)n;
	return 0;
}

static int take_range(const struct bn_call *call, struct bn_flow_range *range)
{
	int r = take_last(call, &range->last);

	if (!r)
		r = take_time(call, "since", &range->since);
	if (!r)
		r = take_time(call, "until", &range->until);
	if (!r && range->until && range->until < range->since)
		r = bn_call_usage(call, "'--until %s' is before '--since %s'",
				  bn_call_option(call, "until"), bn_call_option(call, "since"));
	return r;
}

static json_t *make_params(const struct bn_call *call, const struct bn_filters *filters,
			   const struct bn_flow_range *range)
{
	bool follow = bn_call_option(call, "follow"), all = bn_call_option(call, "all");
	json_t *params =
		json_pack("{s:b,s:o}", "follow", follow, "filters", bn_filters_json(filters));
	size_t last = range->last;

	if (!last && !all && !follow && !bn_call_option(call, "since") &&
	    !bn_call_option(call, "until"))
		last = LAST_DEFAULT;
	if (last)
		json_object_set_new(params, "last", json_integer((json_int_t)last));
	/* with `follow`, what is kept has to be asked for */
	if (bn_call_option(call, "since") || (all && follow))
		json_object_set_new(params, "since", json_integer(range->since));
	if (bn_call_option(call, "until"))
		json_object_set_new(params, "until", json_integer(range->until));
	return params;
}

static int ask_agent(const struct bn_call *call, const struct bn_filters *filters,
		     const struct bn_flow_range *range, struct bn_flow_show *show)
{
	struct bn_ask ask = BN_ASK("flows", make_params(call, filters, range));
	int r;

	if (bn_call_option(call, "follow"))
		ask.idle = show_idle;
	r = bn_client_stream(call, &ask, show_line, show);
	json_decref(ask.params);
	return r;
}

int bn_cmd_flows(struct bn_call *call)
{
	const struct bn_flow_style style = {.numeric = bn_call_option(call, "numeric"),
					    .color = bn_text_color(bn_call_option(call, "color"))};
	const char *input = bn_call_option(call, "input");
	struct bn_flow_range range = {0};
	struct bn_filters *filters = NULL;
	struct bn_flow_show *show;
	int r;

	if (input && bn_call_option(call, "follow"))
		return bn_call_usage(call, "'--input' reads to the end by itself: "
					   "'--follow' is for the agent's flows");
	r = bn_filters_parse(call, &filters);
	if (!r)
		r = take_range(call, &range);
	if (r)
		goto out;
	show = bn_flow_show_new(call, &style);
	if (!show) {
		r = bn_fail("out of memory");
		goto out;
	}
	r = input ? bn_flow_input(input, filters, &range, show)
		  : ask_agent(call, filters, &range, show);
	bn_flow_show_free(show, r != 0);
out:
	bn_filters_free(filters);
	return r;
}
