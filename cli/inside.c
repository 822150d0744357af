// SPDX-License-Identifier: Apache-2.0
/* `ct`, `nat`, `map`, `metrics`, `config`: the inside, for people who debug. */
#include <string.h>

#include "client.h"
#include "output.h"
#include "text.h"

static void print_end(FILE *f, const json_t *row, const char *ip, const char *port)
{
	bn_output_address(f, json_string_value(json_object_get(row, ip)),
			  json_integer_value(json_object_get(row, port)));
}

/* key: "source" of source and source_port */
static void cell_end(FILE *f, const json_t *row, const struct bn_column *column)
{
	char port[64];

	snprintf(port, sizeof(port), "%s_port", column->key);
	print_end(f, row, column->key, port);
}

static void cell_expires(FILE *f, const json_t *row, const struct bn_column *column)
{
	const json_t *v = json_object_get(row, column->key);

	if (json_is_number(v))
		fprintf(f, "%.0fs", json_number_value(v));
}

static void cell_used(FILE *f, const json_t *row, const struct bn_column *column)
{
	double entries = json_number_value(json_object_get(row, "entries"));
	double max = json_number_value(json_object_get(row, "max_entries"));

	if (max > 0)
		fprintf(f, "%.1f%%", 100 * entries / max);
}

static const struct bn_column ct_columns[] = {
	{.title = "PROTOCOL", .key = "protocol"},
	{.title = "SOURCE", .key = "source", .cell = cell_end},
	{.title = "DESTINATION", .key = "destination", .cell = cell_end},
	{.title = "STATE", .key = "state"},
	{.title = "NAT", .key = "nat"},
	{.title = "PACKETS", .key = "packets", .right = true},
	{.title = "BYTES", .key = "bytes", .right = true},
	{.title = "EXPIRES", .key = "expires_s", .cell = cell_expires, .right = true},
	{0},
};

static const struct bn_column nat_columns[] = {
	{.title = "PROTOCOL", .key = "protocol"},
	{.title = "SOURCE", .key = "source", .cell = cell_end},
	{.title = "DESTINATION", .key = "destination", .cell = cell_end},
	{.title = "TO-SOURCE", .key = "to_source", .cell = cell_end},
	{.title = "TO-DESTINATION", .key = "to_destination", .cell = cell_end},
	{.title = "EXPIRES", .key = "expires_s", .cell = cell_expires, .right = true},
	{0},
};

static const struct bn_column map_columns[] = {
	{.title = "NAME", .key = "name"},
	{.title = "ENTRIES", .key = "entries", .right = true},
	{.title = "MAX", .key = "max_entries", .right = true},
	{.title = "USED", .cell = cell_used, .right = true},
	{.title = "BYTES", .key = "bytes", .right = true},
	{0},
};

static const struct bn_column audit_columns[] = {
	{.title = "NAME", .key = "name"},
	{.title = "CHECKED", .key = "checked", .right = true},
	{.title = "MISSING", .key = "missing", .right = true},
	{.title = "WRONG", .key = "wrong", .right = true},
	{.title = "EXTRA", .key = "extra", .right = true},
	{.title = "FAILED", .key = "failed", .right = true},
	{0},
};

static int add_row(const json_t *object, const char *text, size_t len, void *user)
{
	return bn_rows_add(user, object);
}

static int stream_rows(const struct bn_call *call, const char *method,
		       const struct bn_column *columns)
{
	struct bn_rows *rows = bn_rows_new(call, columns);
	int r;

	if (!rows)
		return bn_fail("out of memory");
	r = bn_client_stream(call, &(struct bn_ask)BN_ASK(method, NULL), add_row, rows);
	bn_rows_end(rows, r != 0);
	return r;
}

int bn_cmd_ct_list(struct bn_call *call)
{
	return stream_rows(call, "ct.list", ct_columns);
}

int bn_cmd_nat_list(struct bn_call *call)
{
	return stream_rows(call, "nat.list", nat_columns);
}

int bn_cmd_map_list(struct bn_call *call)
{
	json_t *result = NULL;
	int r;

	r = bn_client_ask(call, &(struct bn_ask)BN_ASK("map.list", NULL), &result);
	if (!r)
		r = bn_output(call, map_columns, result);
	json_decref(result);
	return r;
}

/* Drift that was put right is done; drift that could not be is a failure. */
int bn_cmd_map_audit(struct bn_call *call)
{
	json_t *result = NULL, *row;
	json_int_t failed = 0;
	size_t i;
	int r;

	r = bn_client_ask(call, &(struct bn_ask)BN_ASK("map.audit", NULL), &result);
	if (!r)
		r = bn_output(call, audit_columns, result);
	json_array_foreach(result, i, row)
		failed += json_integer_value(json_object_get(row, "failed"));
	if (!r && failed) {
		fprintf(stderr, "bpfnet: %lld entries could not be put right, see bpfnetd's log\n",
			(long long)failed);
		r = BN_EXIT_FAILED;
	}
	json_decref(result);
	return r;
}

int bn_cmd_metrics(struct bn_call *call)
{
	json_t *result = NULL;
	int r;

	r = bn_client_ask(call, &(struct bn_ask)BN_ASK("metrics", NULL), &result);
	if (!r && bn_output_is_table(call) && json_is_string(result))
		fwrite(json_string_value(result), 1, json_string_length(result), stdout);
	else if (!r)
		r = bn_output(call, NULL, result);
	json_decref(result);
	return r;
}

int bn_cmd_config(struct bn_call *call)
{
	json_t *result = NULL;
	int r;

	r = bn_client_ask(call, &(struct bn_ask)BN_ASK("config", NULL), &result);
	/* for people it is the configuration file that would make it so */
	if (!r && bn_output_is_table(call))
		r = bn_output_yaml(stdout, result, false);
	else if (!r)
		r = bn_output(call, NULL, result);
	json_decref(result);
	return r;
}
