// SPDX-License-Identifier: Apache-2.0
/* `status` and `version`: whether the node works, and which programs are at work. */
#include <stdio.h>
#include <string.h>

#include "client.h"
#include "output.h"
#include "text.h"

static void print_field(const char *title, const json_t *value)
{
	if (!value)
		return;
	printf("%-13s", title);
	bn_output_value(stdout, value);
	putchar('\n');
}

/* features: names of those that are there, from a list or an object of booleans */
static void print_features(const json_t *features)
{
	const char *key, *separator = "";
	const json_t *v;

	if (!json_is_object(features)) {
		print_field("Features:", features);
		return;
	}
	printf("%-13s", "Features:");
	json_object_foreach((json_t *)features, key, v) {
		if (json_is_false(v) || json_is_null(v))
			continue;
		fputs(separator, stdout);
		bn_text_clean(stdout, key);
		if (!json_is_true(v)) {
			putchar('=');
			bn_output_value(stdout, v);
		}
		separator = ", ";
	}
	putchar('\n');
}

static void print_attachment(const json_t *a)
{
	const char *key, *separator = "";
	const json_t *v;

	if (!json_is_object(a)) {
		bn_output_value(stdout, a);
		return;
	}
	json_object_foreach((json_t *)a, key, v) {
		fputs(separator, stdout);
		bn_text_clean(stdout, key);
		putchar('=');
		bn_output_value(stdout, v);
		separator = " ";
	}
}

/* When the maps were compared last, and what was put right since the start. */
static void print_audit(const json_t *audit)
{
	const json_t *ago = json_object_get(audit, "ago_s"), *v;
	json_int_t repaired = 0;
	const char *key;

	if (!audit)
		return;
	json_object_foreach(json_object_get(audit, "repaired"), key, v)
		repaired += json_integer_value(v);
	printf("%-13s", "Audit:");
	if (json_is_integer(ago))
		printf("%lld s ago", (long long)json_integer_value(ago));
	else
		printf("none yet");
	printf(", %lld entries put right\n", (long long)repaired);
}

static void print_status(const struct bn_call *call, const json_t *status)
{
	static const struct bn_column maps[] = {
		{.title = "MAP", .key = "name"},
		{.title = "ENTRIES", .key = "entries", .right = true},
		{.title = "MAX", .key = "max_entries", .right = true},
		{.title = "BYTES", .key = "bytes", .right = true},
		{0},
	};
	const json_t *item;
	size_t i;

	print_field("State:", json_object_get(status, "state"));
	json_array_foreach(json_object_get(status, "reasons"), i, item)
		print_field(i ? "" : "Reasons:", item);
	print_field("Node:", json_object_get(status, "node"));
	print_field("Version:", json_object_get(status, "version"));
	print_field("Kernel:", json_object_get(status, "kernel"));
	print_features(json_object_get(status, "features"));
	json_array_foreach(json_object_get(status, "attachments"), i, item) {
		printf("%-13s", i ? "" : "Attachments:");
		print_attachment(item);
		putchar('\n');
	}
	print_audit(json_object_get(status, "audit"));
	if (json_array_size(json_object_get(status, "maps")) > 0) {
		putchar('\n');
		bn_output(call, maps, json_object_get(status, "maps"));
	}
}

int bn_cmd_status(struct bn_call *call)
{
	json_t *status = NULL;
	const char *state;
	int r;

	r = bn_client_ask(call, &(struct bn_ask)BN_ASK("status", NULL), &status);
	if (r)
		return r;
	if (bn_output_is_table(call))
		print_status(call, status);
	else
		bn_output(call, NULL, status);
	state = json_string_value(json_object_get(status, "state"));
	if (state && strcmp(state, "live") == 0)
		r = BN_EXIT_DONE;
	else if (state && strcmp(state, "degraded") == 0)
		r = BN_EXIT_DEGRADED;
	else
		r = BN_EXIT_FAILED;
	json_decref(status);
	return r;
}

/* Works without an agent, and names its version where there is one. */
int bn_cmd_version(struct bn_call *call)
{
	struct bn_ask ask = BN_ASK("version", NULL);
	json_t *agent = NULL, *both;

	ask.quiet = true;
	bn_client_ask(call, &ask, &agent);
	if (!bn_output_is_table(call)) {
		both = json_pack("{s:{s:s},s:o?}", "client", "version", BN_VERSION, "agent",
				 json_incref(agent));
		bn_output(call, NULL, both);
		json_decref(both);
	} else {
		const json_t *node = json_object_get(agent, "node");

		puts("bpfnet  " BN_VERSION);
		fputs("bpfnetd ", stdout);
		if (agent)
			bn_output_value(stdout, json_object_get(agent, "version"));
		else
			fputs("does not answer", stdout);
		if (node) {
			fputs(" (node ", stdout);
			bn_output_value(stdout, node);
			putchar(')');
		}
		putchar('\n');
	}
	json_decref(agent);
	return BN_EXIT_DONE;
}
