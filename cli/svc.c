// SPDX-License-Identifier: Apache-2.0
/* `svc`: services as the datapath has them. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "client.h"
#include "output.h"
#include "text.h"

#define FRONTENDS_SHOWN 2 /* in a table that is not wide */

static const char *string_of(const json_t *o, const char *key)
{
	return json_string_value(json_object_get(o, key));
}

static void print_frontend(FILE *f, const json_t *frontend)
{
	bn_output_address(f, string_of(frontend, "ip"),
			  json_integer_value(json_object_get(frontend, "port")));
	fputc('/', f);
	bn_output_value(f, json_object_get(frontend, "protocol"));
}

static void print_frontends(FILE *f, const json_t *row, size_t max)
{
	const json_t *frontends = json_object_get(row, "frontends");
	size_t n = json_array_size(frontends);

	if (json_is_true(json_object_get(row, "headless"))) {
		fputs("None", f);
		return;
	}
	for (size_t i = 0; i < n && i < max; i++) {
		if (i)
			fputc(',', f);
		print_frontend(f, json_array_get(frontends, i));
	}
	if (n > max)
		fprintf(f, " +%zu", n - max);
}

static void cell_frontends(FILE *f, const json_t *row, const struct bn_column *column)
{
	print_frontends(f, row, column->wide ? SIZE_MAX : FRONTENDS_SHOWN);
}

static void cell_active(FILE *f, const json_t *row, const struct bn_column *column)
{
	const json_t *backend;
	size_t i, active = 0;

	json_array_foreach(json_object_get(row, "backends"), i, backend) {
		const char *state = string_of(backend, "state");

		active += state && strcmp(state, "active") == 0;
	}
	fprintf(f, "%zu/%zu", active, json_array_size(json_object_get(row, "backends")));
}

static void cell_address(FILE *f, const json_t *row, const struct bn_column *column)
{
	bn_output_address(f, string_of(row, "ip"),
			  json_integer_value(json_object_get(row, "port")));
}

/* Without a range nobody may, where there is a list. */
static void cell_sources(FILE *f, const json_t *row, const struct bn_column *column)
{
	const json_t *ranges = json_object_get(row, "source_ranges");

	if (!ranges)
		fputs("any", f);
	else if (!json_array_size(ranges))
		fputs("none", f);
	else
		bn_output_value(f, ranges);
}

static const struct bn_column list_columns[] = {
	{.title = "NAMESPACE", .key = "namespace"},
	{.title = "NAME", .key = "name"},
	{.title = "TYPE", .key = "type"},
	{.title = "ACTIVE", .cell = cell_active, .right = true},
	{.title = "FRONTENDS", .cell = cell_frontends},
	{0},
};

static const struct bn_column list_columns_wide[] = {
	{.title = "NAMESPACE", .key = "namespace"},
	{.title = "NAME", .key = "name"},
	{.title = "TYPE", .key = "type"},
	{.title = "ACTIVE", .cell = cell_active, .right = true},
	{.title = "FRONTENDS", .cell = cell_frontends, .wide = true},
	{0},
};

static const struct bn_column frontend_columns[] = {
	{.title = "FRONTEND", .cell = cell_address},
	{.title = "PROTOCOL", .key = "protocol"},
	{.title = "KIND", .key = "kind"},
	{.title = "POLICY", .key = "traffic_policy"},
	{.title = "SOURCES", .cell = cell_sources, .wide = true},
	{0},
};

static const struct bn_column backend_columns[] = {
	{.title = "BACKEND", .cell = cell_address},
	{.title = "STATE", .key = "state"},
	{.title = "WEIGHT", .key = "weight", .right = true},
	{.title = "CONNECTIONS", .key = "connections", .right = true},
	{.title = "BYTES", .key = "bytes", .right = true},
	{.title = "POD", .key = "pod"},
	{.title = "NODE", .key = "node"},
	{.title = "ZONE", .key = "zone", .wide = true},
	{.title = "SERVES", .key = "serves", .wide = true},
	{0},
};

int bn_cmd_svc_list(struct bn_call *call)
{
	const char *namespace = bn_call_option(call, "namespace");
	json_t *params = json_pack("{s:s*}", "namespace", namespace);
	json_t *result = NULL;
	int r;

	r = bn_client_ask(call, &(struct bn_ask)BN_ASK("svc.list", params), &result);
	if (!r)
		r = bn_output(call,
			      call->format == BN_FORMAT_WIDE ? list_columns_wide : list_columns,
			      result);
	json_decref(result);
	json_decref(params);
	return r;
}

static void print_line(const char *title, const json_t *value)
{
	if (!value || json_is_null(value))
		return;
	fputs(title, stdout);
	bn_output_value(stdout, value);
	putchar('\n');
}

static void print_service(const char *name, const json_t *service)
{
	const json_t *seconds = json_object_get(service, "session_affinity_s");
	const json_t *health = json_object_get(service, "health_check");

	fputs("Name:             ", stdout);
	bn_text_clean(stdout, name);
	putchar('\n');
	print_line("Type:             ", json_object_get(service, "type"));
	fputs("Active:           ", stdout);
	cell_active(stdout, service, NULL);
	putchar('\n');
	print_line("Not in force:     ", json_object_get(service, "refused"));
	print_line("Internal traffic: ", json_object_get(service, "internal_traffic_policy"));
	print_line("External traffic: ", json_object_get(service, "external_traffic_policy"));
	print_line("Distribution:     ", json_object_get(service, "traffic_distribution"));
	if (json_integer_value(seconds))
		printf("Affinity:         client address, %" JSON_INTEGER_FORMAT " s\n",
		       json_integer_value(seconds));
	if (json_is_object(health))
		printf("Health check:     port %" JSON_INTEGER_FORMAT ", %" JSON_INTEGER_FORMAT
		       " ready here\n",
		       json_integer_value(json_object_get(health, "port")),
		       json_integer_value(json_object_get(health, "local_endpoints")));
	putchar('\n');
}

/* NS/NAME, or NS/pod/NAME for the host ports of a Pod. */
static bool split_service(const char *text, char **ret_namespace, const char **ret_name)
{
	const char *slash = strchr(text, '/');
	const char *pod = slash && !strncmp(slash, "/pod/", 5) ? slash + 5 : NULL;

	if (!pod || !*pod || strchr(pod, '/') || slash == text)
		return bn_split_name(text, ret_namespace, ret_name);
	*ret_namespace = strndup(text, (size_t)(slash - text));
	*ret_name = slash + 1;
	return *ret_namespace != NULL;
}

int bn_cmd_svc_get(struct bn_call *call)
{
	json_t *params, *result = NULL;
	char *namespace = NULL;
	const char *name;
	int r;

	if (!split_service(call->args[0], &namespace, &name))
		return bn_call_usage(call, "'%s' is not of the form NS/NAME", call->args[0]);
	params = json_pack("{s:s,s:s}", "namespace", namespace, "name", name);
	r = bn_client_ask(call, &(struct bn_ask)BN_ASK("svc.get", params), &result);
	if (!r && !bn_output_is_table(call)) {
		r = bn_output(call, NULL, result);
	} else if (!r) {
		print_service(call->args[0], result);
		if (json_array_size(json_object_get(result, "frontends"))) {
			r = bn_output(call, frontend_columns, json_object_get(result, "frontends"));
			putchar('\n');
		}
		if (!r)
			r = bn_output(call, backend_columns, json_object_get(result, "backends"));
	}
	json_decref(result);
	json_decref(params);
	free(namespace);
	return r;
}
