// SPDX-License-Identifier: Apache-2.0
/*
 * Fuzzes what comes out of the ring buffer: the check of a record, its names, the history, the
 * writer and a filter. Whatever passes the check must come out as valid JSON.
 */
#include <jansson.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "flows/observer.h"
#include "flows/reader.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int on_line(void *user, const char *line, size_t len)
{
	json_error_t error;
	json_t *o = json_loadb(line, len, JSON_REJECT_DUPLICATES, &error);

	if (!json_is_object(o) || line[len] != '\n')
		abort();
	json_decref(o);
	++*(size_t *)user;
	return 0;
}

static struct bn_observer *observer_new(sd_event **ret_loop, size_t *lines)
{
	static const char filters[] =
		"[{\"field\":\"ip\",\"value\":\"10.0.0.0/8\",\"not\":true},"
		"{\"field\":\"label\",\"value\":\"moon\",\"not\":true},"
		"{\"field\":\"port\",\"value\":\"81\",\"not\":true},"
		"{\"field\":\"drop-reason\",\"value\":\"multicast\",\"not\":true},"
		"{\"field\":\"service\",\"value\":\"a/b\",\"not\":true}]";
	struct bn_observer_config config = {.events_fd = -1, .node_name = "n", .history = 64};
	struct bn_flow_query all = {.follow = true}, some = {.follow = true};
	struct bn_subscription *sub;
	struct bn_observer *observer;
	json_t *json = json_loads(filters, 0, NULL);

	if (sd_event_new(ret_loop) < 0 || bn_names_new(NULL, &config.names) < 0 ||
	    bn_observer_new(*ret_loop, &config, &observer) < 0 ||
	    bn_flow_filter_parse(json, &some.filter, NULL) < 0 ||
	    bn_observer_subscribe(observer, &all, on_line, NULL, lines, &sub) < 0 ||
	    bn_observer_subscribe(observer, &some, on_line, NULL, lines, &sub) < 0)
		abort();
	json_decref(json);
	while (sd_event_run(*ret_loop, 0) > 0)
		;
	return observer;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct bn_observer *observer;
	static sd_event *loop;
	static size_t lines;
	struct bn_event e;
	size_t before;

	if (!observer)
		observer = observer_new(&loop, &lines);
	if (bn_event_check(data, size, &e) < 0)
		return 0;
	before = lines;
	if (bn_observer_inject(observer, &e) < 0 || lines == before)
		abort();
	return 0;
}
