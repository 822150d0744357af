// SPDX-License-Identifier: Apache-2.0
/* `policy`: what is enforced here, what each rule has decided, and what a flow would meet. */
#include "client.h"
#include "output.h"
#include "text.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

static bool denies(const json_t *rule)
{
	const char *action = json_string_value(json_object_get(rule, "action"));

	return action && !strcmp(action, "Deny");
}

/* Of the rules that deny, or of those that allow. */
static json_int_t hits(const json_t *policy, bool denied)
{
	json_t *rule, *rules = json_object_get(policy, "rules");
	json_int_t n = 0;
	size_t i;

	json_array_foreach(rules, i, rule) {
		if (denies(rule) == denied)
			n += json_integer_value(json_object_get(rule, "hits"));
	}
	return n;
}

static void cell_rules(FILE *f, const json_t *row, const struct bn_column *column)
{
	fprintf(f, "%zu", json_array_size(json_object_get(row, "rules")));
}

static void cell_allowed(FILE *f, const json_t *row, const struct bn_column *column)
{
	fprintf(f, "%" JSON_INTEGER_FORMAT, hits(row, false));
}

static void cell_denied(FILE *f, const json_t *row, const struct bn_column *column)
{
	const json_t *denied = json_object_get(row, "denied");

	fprintf(f, "%" JSON_INTEGER_FORMAT,
		hits(row, true) + json_integer_value(json_object_get(denied, "ingress")) +
			json_integer_value(json_object_get(denied, "egress")));
}

#define DECISIONS \
	{.title = "TYPES", .key = "types"}, \
		{.title = "ENDPOINTS", .key = "endpoints", .right = true}, \
		{.title = "RULES", .cell = cell_rules, .right = true}, \
		{.title = "ALLOWED", .cell = cell_allowed, .right = true}, \
	{ \
		.title = "DENIED", .cell = cell_denied, .right = true \
	}

static const struct bn_column columns[] = {
	{.title = "NAMESPACE", .key = "namespace"},
	{.title = "NAME", .key = "name"},
	{.title = "TIER", .key = "tier", .wide = true},
	{.title = "PRIORITY", .key = "priority", .right = true, .wide = true},
	DECISIONS,
	{0},
};

static const struct bn_column cluster_columns[] = {
	{.title = "NAME", .key = "name"},
	{.title = "TIER", .key = "tier"},
	{.title = "PRIORITY", .key = "priority", .right = true},
	DECISIONS,
	{0},
};

static const struct bn_column cluster_rule_columns[] = {
	{.title = "DIRECTION", .key = "direction"},
	{.title = "RULE", .key = "index", .right = true},
	{.title = "NAME", .key = "name"},
	{.title = "ACTION", .key = "action"},
	{.title = "HITS", .key = "hits", .right = true},
	{0},
};

static const struct bn_column rule_columns[] = {
	{.title = "DIRECTION", .key = "direction"},
	{.title = "RULE", .key = "index", .right = true},
	{.title = "HITS", .key = "hits", .right = true},
	{0},
};

int bn_cmd_policy_list(struct bn_call *call)
{
	const char *namespace = bn_call_option(call, "namespace");
	json_t *params = json_pack("{s:s*}", "namespace", namespace), *result = NULL;
	int r;

	r = bn_client_ask(call, &(struct bn_ask)BN_ASK("policy.list", params), &result);
	if (!r)
		r = bn_output(call, columns, result);
	json_decref(params);
	json_decref(result);
	return r;
}

/* As a table: the policy's line, then its rules; what no rule allowed stands last as "default". */
static int print_policy(const struct bn_call *call, const json_t *policy)
{
	const json_t *denied = json_object_get(policy, "denied");
	json_t *list = json_pack("[O]", (json_t *)policy), *rules, *value;
	bool cluster = json_object_get(policy, "tier");
	const char *direction;
	int r = bn_output(call, cluster ? cluster_columns : columns, list);

	json_decref(list);
	rules = json_deep_copy(json_object_get(policy, "rules"));
	json_object_foreach((json_t *)denied, direction, value)
		json_array_append_new(rules, json_pack("{sssssO}", "direction", direction, "index",
						       "default", "hits", value));
	putchar('\n');
	if (!r)
		r = bn_output(call, cluster ? cluster_rule_columns : rule_columns, rules);
	json_decref(rules);
	return r;
}

int bn_cmd_policy_get(struct bn_call *call)
{
	json_t *params = NULL, *result = NULL;
	char *namespace = NULL;
	const char *name = call->args[0];
	int r;

	if (strchr(name, '/') && !bn_split_name(name, &namespace, &name))
		return bn_call_usage(call, "'%s' is not of the form NS/NAME", call->args[0]);
	params = json_pack("{s:s*,s:s}", "namespace", namespace, "name", name);
	r = bn_client_ask(call, &(struct bn_ask)BN_ASK("policy.get", params), &result);
	if (!r)
		r = bn_output_is_table(call) ? print_policy(call, result)
					     : bn_output(call, NULL, result);
	json_decref(params);
	json_decref(result);
	free(namespace);
	return r;
}

static void print_address(const char *what, const json_t *answer, const char *name,
			  const char *identity)
{
	printf("%-12s %s", what, name);
	if (json_string_value(json_object_get(answer, what)) &&
	    strcmp(name, json_string_value(json_object_get(answer, what))))
		printf(" %s", json_string_value(json_object_get(answer, what)));
	printf(", identity %" JSON_INTEGER_FORMAT "\n",
	       json_integer_value(json_object_get(answer, identity)));
}

static void print_trace(const json_t *answer, const char *from, const char *to)
{
	const char *service = json_string_value(json_object_get(answer, "service"));
	const char *reason = json_string_value(json_object_get(answer, "drop_reason"));
	const json_t *rule;
	size_t i;

	print_address("source", answer, from, "source_identity");
	print_address("destination", answer, to, "destination_identity");
	if (service) {
		const char *backend = json_string_value(json_object_get(answer, "backend"));

		printf("%-12s %s, backend %s\n", "service", service, backend ? backend : "none");
	}
	json_array_foreach(json_object_get(answer, "rules"), i, rule) {
		const char *policy = json_string_value(json_object_get(rule, "policy"));
		const char *own = json_string_value(json_object_get(rule, "rule"));
		const json_t *index = json_object_get(rule, "index");

		printf("%-12s ", json_string_value(json_object_get(rule, "direction")));
		if (json_is_integer(index))
			printf("%s rule %" JSON_INTEGER_FORMAT, policy, json_integer_value(index));
		else
			printf("no rule: default deny by %s", policy);
		if (own) {
			fputs(" \"", stdout);
			bn_text_clean(stdout, own);
			putchar('"');
		}
		putchar('\n');
	}
	printf("%-12s %s", "verdict", json_string_value(json_object_get(answer, "verdict")));
	if (reason)
		printf(" %s", reason);
	putchar('\n');
}

int bn_cmd_policy_trace(struct bn_call *call)
{
	const char *from = bn_call_option(call, "from"), *to = bn_call_option(call, "to");
	const char *protocol = bn_call_option(call, "protocol");
	json_t *params = NULL, *result = NULL;
	int r;

	if (!from || !to)
		return bn_call_usage(call, "--from and --to must be given");
	if (!bn_call_option(call, "port") && !(protocol && !strcasecmp(protocol, "icmp")))
		return bn_call_usage(call, "--port must be given for all protocols but icmp");
	params = json_pack("{s:s,s:s,s:s*}", "from", from, "to", to, "protocol", protocol);
	r = bn_call_port(call, params);
	if (!r)
		r = bn_client_ask(call, &(struct bn_ask)BN_ASK("policy.trace", params), &result);
	if (!r && bn_output_is_table(call))
		print_trace(result, from, to);
	else if (!r)
		r = bn_output(call, NULL, result);
	json_decref(params);
	json_decref(result);
	return r;
}
