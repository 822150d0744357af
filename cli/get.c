// SPDX-License-Identifier: Apache-2.0
/*
 * `get`: objects as they were applied, with what the agent's controllers added. Tables show per
 * kind what kubectl shows; JSON and YAML are the objects themselves, so they can be applied.
 */
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "client.h"
#include "output.h"
#include "text.h"

#define ENDPOINTS_SHOWN 3

/* A value by a path of keys separated by dots. */
static const json_t *at(const json_t *o, const char *path)
{
	while (o && *path) {
		size_t n = strcspn(path, ".");
		char key[64];

		snprintf(key, sizeof(key), "%.*s", (int)n, path);
		o = json_object_get(o, key);
		path += n + (path[n] == '.');
	}
	return o;
}

static void cell_path(FILE *f, const json_t *row, const struct bn_column *column)
{
	bn_output_value(f, at(row, column->key));
}

/* {a: 1, b: 2} as a=1,b=2 */
static void cell_pairs(FILE *f, const json_t *row, const struct bn_column *column)
{
	const json_t *v, *pairs = at(row, column->key);
	const char *key, *separator = "";

	json_object_foreach((json_t *)pairs, key, v) {
		fputs(separator, f);
		bn_text_clean(f, key);
		fputc('=', f);
		bn_output_value(f, v);
		separator = ",";
	}
}

static void cell_ready(FILE *f, const json_t *row, const struct bn_column *column)
{
	const json_t *condition;
	const char *status = "True";
	size_t i;

	json_array_foreach(at(row, "status.conditions"), i, condition) {
		const char *type = json_string_value(json_object_get(condition, "type"));

		if (type && strcmp(type, "Ready") == 0)
			status = json_string_value(json_object_get(condition, "status"));
	}
	fputs(status && strcmp(status, "True") == 0 ? "yes" : "no", f);
}

static void cell_pod_ips(FILE *f, const json_t *row, const struct bn_column *column)
{
	const json_t *ip, *ips = at(row, "status.podIPs");
	size_t i;

	if (json_array_size(ips) == 0)
		bn_output_value(f, at(row, "status.podIP"));
	json_array_foreach(ips, i, ip) {
		if (i)
			fputc(',', f);
		bn_output_value(f, json_object_get(ip, "ip"));
	}
}

static void cell_cluster_ips(FILE *f, const json_t *row, const struct bn_column *column)
{
	const json_t *ips = at(row, "spec.clusterIPs");

	bn_output_value(f, json_array_size(ips) ? ips : at(row, "spec.clusterIP"));
}

static void cell_service_ports(FILE *f, const json_t *row, const struct bn_column *column)
{
	const json_t *port;
	size_t i;

	json_array_foreach(at(row, "spec.ports"), i, port) {
		const char *protocol = json_string_value(json_object_get(port, "protocol"));
		json_int_t node_port = json_integer_value(json_object_get(port, "nodePort"));

		if (i)
			fputc(',', f);
		bn_output_value(f, json_object_get(port, "port"));
		if (node_port)
			fprintf(f, ":%lld", (long long)node_port);
		fputc('/', f);
		bn_text_clean(f, protocol ? protocol : "TCP");
	}
}

static void cell_slice_ports(FILE *f, const json_t *row, const struct bn_column *column)
{
	const json_t *port;
	size_t i;

	json_array_foreach(json_object_get(row, "ports"), i, port) {
		if (i)
			fputc(',', f);
		bn_output_value(f, json_object_get(port, "port"));
	}
}

static void cell_slice_endpoints(FILE *f, const json_t *row, const struct bn_column *column)
{
	const json_t *endpoint, *endpoints = json_object_get(row, "endpoints");
	size_t i, n = json_array_size(endpoints);

	json_array_foreach(endpoints, i, endpoint) {
		if (i == ENDPOINTS_SHOWN) {
			fprintf(f, " + %zu more...", n - i);
			break;
		}
		if (i)
			fputc(',', f);
		bn_output_value(f, json_object_get(endpoint, "addresses"));
	}
}

static void cell_node_ip(FILE *f, const json_t *row, const struct bn_column *column)
{
	const char *separator = "";
	const json_t *address;
	size_t i;

	json_array_foreach(at(row, "status.addresses"), i, address) {
		const char *type = json_string_value(json_object_get(address, "type"));

		if (!type || strcmp(type, "InternalIP") != 0)
			continue;
		fputs(separator, f);
		bn_output_value(f, json_object_get(address, "address"));
		separator = ",";
	}
}

#define NAMESPACE {.title = "NAMESPACE", .key = "metadata.namespace", .cell = cell_path}
#define NAME {.title = "NAME", .key = "metadata.name", .cell = cell_path}
#define LABELS {.title = "LABELS", .key = "metadata.labels", .cell = cell_pairs, .wide = true}

static const struct bn_column pod_columns[] = {
	NAMESPACE,
	NAME,
	{.title = "READY", .cell = cell_ready},
	{.title = "PHASE", .key = "status.phase", .cell = cell_path},
	{.title = "IP", .cell = cell_pod_ips},
	{.title = "NODE", .key = "spec.nodeName", .cell = cell_path},
	LABELS,
	{0},
};

static const struct bn_column service_columns[] = {
	NAMESPACE,
	NAME,
	{.title = "TYPE", .key = "spec.type", .cell = cell_path},
	{.title = "CLUSTER-IP", .cell = cell_cluster_ips},
	{.title = "EXTERNAL-IP", .key = "spec.externalIPs", .cell = cell_path},
	{.title = "PORT(S)", .cell = cell_service_ports},
	{.title = "SELECTOR", .key = "spec.selector", .cell = cell_pairs, .wide = true},
	{0},
};

static const struct bn_column slice_columns[] = {
	NAMESPACE,
	NAME,
	{.title = "ADDRESSTYPE", .key = "addressType"},
	{.title = "PORTS", .cell = cell_slice_ports},
	{.title = "ENDPOINTS", .cell = cell_slice_endpoints},
	LABELS,
	{0},
};

static const struct bn_column policy_columns[] = {
	NAMESPACE,
	NAME,
	{.title = "POD-SELECTOR", .key = "spec.podSelector.matchLabels", .cell = cell_pairs},
	{.title = "TYPES", .key = "spec.policyTypes", .cell = cell_path},
	{0},
};

static const struct bn_column cluster_policy_columns[] = {
	NAME,
	{.title = "TIER", .key = "spec.tier", .cell = cell_path},
	{.title = "PRIORITY", .key = "spec.priority", .cell = cell_path, .right = true},
	{0},
};

static const struct bn_column namespace_columns[] = {NAME, LABELS, {0}};

static const struct bn_column node_columns[] = {
	NAME,
	{.title = "INTERNAL-IP", .cell = cell_node_ip},
	{.title = "POD-CIDRS", .key = "spec.podCIDRs", .cell = cell_path},
	LABELS,
	{0},
};

static const struct {
	const char *kind;
	const char *names; /* what people call it, between blanks */
	const struct bn_column *columns;
	bool cluster_wide;
} kinds[] = {
	{"Pod", " pod pods po ", pod_columns, false},
	{"Service", " service services svc ", service_columns, false},
	{"EndpointSlice", " endpointslice endpointslices ", slice_columns, false},
	{"NetworkPolicy", " networkpolicy networkpolicies netpol ", policy_columns, false},
	{"ClusterNetworkPolicy", " clusternetworkpolicy clusternetworkpolicies cnp ",
	 cluster_policy_columns, true},
	{"Namespace", " namespace namespaces ns ", namespace_columns, true},
	{"Node", " node nodes no ", node_columns, true},
};

static int find_kind(const char *name)
{
	char word[40];

	snprintf(word, sizeof(word), " %s ", name);
	for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
		if (strcasestr(kinds[i].names, word))
			return (int)i;
	}
	return -1;
}

const char *bn_get_kind(const char *name)
{
	int kind = find_kind(name);

	return kind < 0 ? NULL : kinds[kind].kind;
}

static int print_objects(const struct bn_call *call, int kind, bool one, json_t *result)
{
	json_t *list;
	int r;

	if (bn_output_is_table(call))
		return bn_output(call, kinds[kind].columns, result);
	if (one)
		return bn_output(call, NULL, json_array_get(result, 0));
	list = json_pack("{s:s,s:s,s:O}", "apiVersion", "v1", "kind", "List", "items", result);
	r = bn_output(call, NULL, list);
	json_decref(list);
	return r;
}

int bn_cmd_get(struct bn_call *call)
{
	const char *namespace = bn_call_option(call, "namespace");
	const char *name = call->n_args > 1 ? call->args[1] : NULL;
	json_t *params, *result = NULL;
	char *split = NULL;
	int kind, r;

	kind = find_kind(call->args[0]);
	if (kind < 0)
		return bn_call_usage(call,
				     "there is no kind '%s': pods, services, endpointslices, "
				     "networkpolicies, clusternetworkpolicies, namespaces or nodes",
				     call->args[0]);
	if (namespace && bn_call_option(call, "all-namespaces"))
		return bn_call_usage(call, "'--namespace' and '--all-namespaces' contradict");
	if (kinds[kind].cluster_wide && (namespace || (name && strchr(name, '/'))))
		return bn_call_usage(call, "a %s is in no namespace", kinds[kind].kind);
	if (name && strchr(name, '/')) {
		if (namespace)
			return bn_call_usage(call, "the namespace is given twice");
		if (!bn_split_name(name, &split, &name))
			return bn_call_usage(call, "'%s' is not of the form NS/NAME", name);
		namespace = split;
	} else if (name && !kinds[kind].cluster_wide && !namespace) {
		namespace = "default";
	}
	params = json_pack("{s:s,s:s*,s:s*}", "kind", kinds[kind].kind, "namespace", namespace,
			   "name", name);
	r = params ? bn_client_ask(call, &(struct bn_ask)BN_ASK("get", params), &result)
		   : bn_fail("can't get '%s': the name is not UTF-8", call->args[1]);
	if (!r)
		r = print_objects(call, kind, name != NULL, result);
	json_decref(result);
	json_decref(params);
	free(split);
	return r;
}
