// SPDX-License-Identifier: Apache-2.0
/*
 * Flows in the formats of `bpfnet flows`: the compact line (flow-line.c), tables, and `dict`, a
 * block for each flow as `hubble observe -o dict` has it; for programs the flow's own JSON, byte
 * for byte but for characters that would steer a terminal, bare or as Hubble's API wraps it.
 */
#include <stdlib.h>
#include <string.h>

#include "flow.h"
#include "output.h"
#include "text.h"

static const struct bn_flow_style plain, numeric = {.numeric = true};

static void time_cell(FILE *f, const json_t *flow, const struct bn_column *column)
{
	bn_flow_print_time(f, flow);
}

static void end_cell(FILE *f, const json_t *flow, const struct bn_column *column)
{
	bn_flow_print_end(f, flow, strcmp(column->key, "source") == 0, &plain);
}

static void address_cell(FILE *f, const json_t *flow, const struct bn_column *column)
{
	bn_flow_print_end(f, flow, strcmp(column->key, "source") == 0, &numeric);
}

static void identity_cell(FILE *f, const json_t *flow, const struct bn_column *column)
{
	bn_output_value(f, json_object_get(json_object_get(flow, column->key), "identity"));
}

static void labels_cell(FILE *f, const json_t *flow, const struct bn_column *column)
{
	bn_output_value(f, json_object_get(json_object_get(flow, column->key), "labels"));
}

static void service_cell(FILE *f, const json_t *flow, const struct bn_column *column)
{
	bn_flow_print_service(f, flow);
}

static void flags_cell(FILE *f, const json_t *flow, const struct bn_column *column)
{
	bn_flow_print_flags(f, flow);
}

static void policy_cell(FILE *f, const json_t *flow, const struct bn_column *column)
{
	bn_flow_print_rules(f, flow, true, "; ");
}

static void summary_cell(FILE *f, const json_t *flow, const struct bn_column *column)
{
	if (bn_flow_print_reason(f, flow))
		fputs("; ", f);
	bn_flow_print_packet(f, flow, false);
}

static const struct bn_column all_columns[] = {
	{.title = "TIMESTAMP", .cell = time_cell},
	{.title = "NODE", .key = "node_name", .wide = true},
	{.title = "SOURCE", .key = "source", .cell = end_cell},
	{.title = "ID", .key = "source", .cell = identity_cell, .right = true, .wide = true},
	{.title = "DESTINATION", .key = "destination", .cell = end_cell},
	{.title = "ID", .key = "destination", .cell = identity_cell, .right = true, .wide = true},
	{.title = "TYPE", .key = "event_type"},
	{.title = "VERDICT", .key = "verdict"},
	{.title = "SERVICE", .cell = service_cell},
	{.title = "POLICY", .cell = policy_cell},
	{.title = "SOURCE LABELS", .key = "source", .cell = labels_cell, .wide = true},
	{.title = "DESTINATION LABELS", .key = "destination", .cell = labels_cell, .wide = true},
	{.title = "FLAGS SEEN", .cell = flags_cell, .wide = true},
	{.title = "SUMMARY", .cell = summary_cell},
	{0},
};

struct bn_flow_show {
	const struct bn_call *call;
	struct bn_flow_style style;
	struct bn_column columns[sizeof(all_columns) / sizeof(all_columns[0])];
	struct bn_rows *rows; /* of a table */
	bool some;            /* have been shown */
};

struct bn_flow_show *bn_flow_show_new(const struct bn_call *call, const struct bn_flow_style *style)
{
	struct bn_flow_show *show = calloc(1, sizeof(*show));

	if (!show)
		return NULL;
	show->call = call;
	show->style = *style;
	memcpy(show->columns, all_columns, sizeof(all_columns));
	for (struct bn_column *c = show->columns; c->title; c++) {
		if (style->numeric && c->cell == end_cell)
			c->cell = address_cell;
	}
	show->rows = bn_rows_new(call, show->columns);
	if (!show->rows) {
		free(show);
		return NULL;
	}
	return show;
}

/* One line of a block; keys end where Hubble's do. What has no text has no line. */
static void dict_line(const char *key, const json_t *flow, const struct bn_flow_style *style,
		      void (*print)(FILE *f, const json_t *flow, const struct bn_flow_style *style))
{
	char *text = NULL;
	size_t size = 0;
	FILE *f = open_memstream(&text, &size);

	if (!f)
		return;
	print(f, flow, style);
	fclose(f);
	if (text && *text)
		printf("%11s: %s\n", key, text);
	free(text);
}

static void dict_time(FILE *f, const json_t *flow, const struct bn_flow_style *style)
{
	bn_flow_print_time(f, flow);
}

static void dict_node(FILE *f, const json_t *flow, const struct bn_flow_style *style)
{
	bn_output_value(f, json_object_get(flow, "node_name"));
}

static void dict_source(FILE *f, const json_t *flow, const struct bn_flow_style *style)
{
	bn_flow_print_end(f, flow, true, style);
}

static void dict_destination(FILE *f, const json_t *flow, const struct bn_flow_style *style)
{
	bn_flow_print_end(f, flow, false, style);
}

static void dict_service(FILE *f, const json_t *flow, const struct bn_flow_style *style)
{
	bn_flow_print_service(f, flow);
}

static void dict_type(FILE *f, const json_t *flow, const struct bn_flow_style *style)
{
	bn_output_value(f, json_object_get(flow, "event_type"));
}

static void dict_reason(FILE *f, const json_t *flow, const struct bn_flow_style *style)
{
	bn_flow_print_reason(f, flow);
}

static void dict_policy(FILE *f, const json_t *flow, const struct bn_flow_style *style)
{
	bn_flow_print_rules(f, flow, true, "; ");
}

static void dict_flags(FILE *f, const json_t *flow, const struct bn_flow_style *style)
{
	bn_flow_print_flags(f, flow);
}

static void dict_summary(FILE *f, const json_t *flow, const struct bn_flow_style *style)
{
	bn_flow_print_packet(f, flow, false);
}

static void show_dict(const struct bn_flow_show *show, const json_t *flow)
{
	static const struct {
		const char *key;
		void (*print)(FILE *f, const json_t *flow, const struct bn_flow_style *style);
	} lines[] = {
		{"TIMESTAMP", dict_time},
		{"NODE", dict_node},
		{"SOURCE", dict_source},
		{"DESTINATION", dict_destination},
		{"SERVICE", dict_service},
		{"TYPE", dict_type},
		{"VERDICT", bn_flow_print_verdict},
		{"REASON", dict_reason},
		{"POLICY", dict_policy},
		{"FLAGS SEEN", dict_flags},
		{"SUMMARY", dict_summary},
	};

	if (show->some)
		puts("------------");
	for (size_t i = 0; i < sizeof(lines) / sizeof(lines[0]); i++)
		dict_line(lines[i].key, flow, &show->style, lines[i].print);
}

/* GetFlowsResponse, the API's message, as protobuf's JSON writes it. */
static void show_jsonpb(const json_t *flow, const char *text, size_t len)
{
	static const char *const keys[] = {"node_name", "time"};

	fputs("{\"flow\":", stdout);
	bn_text_clean_json(stdout, text, len);
	for (size_t i = 0; i < 2; i++) {
		const json_t *value = json_object_get(flow, keys[i]);
		char *dump = value ? json_dumps(value, JSON_COMPACT | JSON_ENCODE_ANY) : NULL;

		if (!dump)
			continue;
		printf(",\"%s\":", keys[i]);
		bn_text_clean_json(stdout, dump, strlen(dump));
		free(dump);
	}
	fputs("}\n", stdout);
}

static void say_lost(const json_t *lost)
{
	const json_t *n = json_object_get(lost, "num_events_lost");
	const char *source = json_string_value(json_object_get(lost, "source"));

	bn_fail("flows are missing here: %lld lost (%s)",
		json_is_string(n) ? atoll(json_string_value(n)) : (long long)json_integer_value(n),
		source ? source : "unknown");
}

int bn_flow_show(struct bn_flow_show *show, const json_t *flow, const char *text, size_t len)
{
	enum bn_format format = show->call->format;
	const json_t *lost = json_object_get(flow, "lost_events");

	if (format == BN_FORMAT_YAML)
		return bn_output_yaml(stdout, flow, true);
	if (format == BN_FORMAT_JSONPB && !lost) {
		show_jsonpb(flow, text, len);
		return 0;
	}
	if (format == BN_FORMAT_JSON || format == BN_FORMAT_JSONPB) {
		bn_text_clean_json(stdout, text, len);
		putchar('\n');
		return 0;
	}
	if (lost) {
		say_lost(lost);
		return 0;
	}
	if (format == BN_FORMAT_DICT)
		show_dict(show, flow);
	else if (format == BN_FORMAT_COMPACT)
		bn_flow_print(stdout, flow, &show->style);
	else
		bn_rows_add(show->rows, flow);
	show->some = true;
	return 0;
}

void bn_flow_show_idle(struct bn_flow_show *show)
{
	bn_rows_flush(show->rows);
}

void bn_flow_show_free(struct bn_flow_show *show, bool failed)
{
	bn_rows_end(show->rows, failed);
	free(show);
}
