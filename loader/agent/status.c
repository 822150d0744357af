// SPDX-License-Identifier: Apache-2.0
/* `status`, `map list` and the maps' metrics: how full, how large, what is in force. */
#include "agent/agent.h"
#include "datapath/flow-table.h"
#include "health/health.h"
#include "net/hostcheck.h"

#include <bpfnet/access.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>

/* Entries in use where somebody knows them without walking the map. */
static uint64_t entries_of(struct bn_agent *a, int id, uint64_t max)
{
	struct bn_services_usage usage;
	uint64_t n = 0;

	bn_services_usage(a->services, &usage);
	switch (id) {
	case BN_MAP_bn_services:
		return usage.frontends;
	case BN_MAP_bn_service_slots:
		return usage.slots;
	case BN_MAP_bn_backends:
		return usage.backends;
	case BN_MAP_bn_maglev:
		return usage.lines;
	case BN_MAP_bn_addresses:
		return bn_addresses_count(a->addresses);
	case BN_MAP_bn_endpoints:
		return bn_endpoints_count(a->endpoints);
	case BN_MAP_bn_flows:
		return bn_flows_count(&a->programs, &n) ? 0 : n;
	case BN_MAP_bn_events:
		return max;
	}
	if (bn_map_count(a->programs.maps[id], &n))
		return 0;
	return n;
}

typedef void (*map_fn)(void *user, const char *name, uint64_t entries, uint64_t max,
		       uint64_t bytes);

static void each_map(struct bn_agent *a, map_fn fn, void *user)
{
	for (int i = 0; i < BN_MAP_MAX; i++) {
		struct bn_map_shape shape;
		uint64_t bytes = 0;

		if (a->programs.maps[i] < 0 || bn_map_shape(a->programs.maps[i], &shape))
			continue;
		bn_map_bytes(a->programs.maps[i], &bytes);
		/* a set has ways for several */
		if (i == BN_MAP_bn_flows)
			shape.max_entries *= BN_WAYS;
		fn(user, bn_map_names[i], entries_of(a, i, shape.max_entries), shape.max_entries,
		   bytes);
	}
}

static void map_json(void *user, const char *name, uint64_t entries, uint64_t max, uint64_t bytes)
{
	json_array_append_new(user, json_pack("{s:s, s:I, s:I, s:I}", "name", name, "entries",
					      (json_int_t)entries, "max_entries", (json_int_t)max,
					      "bytes", (json_int_t)bytes));
}

static void map_metric(void *user, const char *name, uint64_t entries, uint64_t max, uint64_t bytes)
{
	bn_metric_map(user, name, entries, max, bytes);
}

void bn_agent_collect_maps(struct bn_metrics_out *out, void *user)
{
	each_map(user, map_metric, out);
}

int bn_agent_method_map_list(struct bn_request *r, void *user)
{
	json_t *maps = json_array();

	each_map(user, map_json, maps);
	bn_reply(r, maps);
	return 0;
}

static int attachment_json(void *user, const struct bn_attachment *at)
{
	json_array_append_new(user, json_pack("{s:s, s:i, s:s, s:s, s:I}", "device", at->ifname,
					      "ifindex", at->ifindex, "hook",
					      bn_attach_point_name(at->point), "mechanism",
					      bn_attach_mechanism_name(at->mechanism), "program",
					      (json_int_t)at->prog_id));
	return 0;
}

struct reasons {
	json_t *array;
};

/* Takes the text; NULL is one that is not UTF-8, a file's name for example. */
static void add_reason(struct reasons *rs, json_t *text)
{
	json_array_append_new(rs->array, text ? text : json_string("see the log"));
}

static int endpoint_reason(void *user, const struct bn_endpoint_info *info)
{
	struct reasons *rs = user;

	if (info->state == BN_ENDPOINT_DEGRADED)
		add_reason(rs, json_sprintf("endpoint %s/%s: %s", info->namespace, info->pod,
					    info->reason ? info->reason : "degraded"));
	return 0;
}

static void folder_reason(void *user, const char *dir, const char *problem)
{
	struct reasons *rs = user;

	add_reason(rs, json_sprintf("manifests in %s: %s", dir, problem));
}

int bn_agent_hostcheck(struct bn_agent *a, struct bn_hostcheck *ret)
{
	const char **names = calloc(a->n_uplinks + 1, sizeof(*names));
	int r = -ENOMEM;

	for (size_t i = 0; names && i < a->n_uplinks; i++)
		names[i] = a->uplinks[i].name;
	if (names)
		r = bn_hostcheck_run(names, a->n_uplinks, true, ret, NULL);
	free(names);
	if (r == 0)
		r = bn_hostcheck_ports(ret, "nat-ports-conflict", "translated flows", "nat.ports",
				       a->config->nat_ports.min, a->config->nat_ports.max);
	if (r == 0)
		r = bn_hostcheck_ports(ret, "node-ports-conflict", "services",
				       "services.node-port-range", a->config->node_ports.min,
				       a->config->node_ports.max);
	return r;
}

static void found_reason(void *user, json_t *text)
{
	add_reason(user, text);
}

static void health_reason(void *user, const struct bn_health_service *service, int error)
{
	struct reasons *rs = user;

	add_reason(rs,
		   json_sprintf("service %s/%s: health checks on port %u aren't answered: %s",
				service->namespace, service->name, service->port, strerror(error)));
}

json_t *bn_agent_reasons(struct bn_agent *a, json_t **ret_notes)
{
	struct reasons rs = {.array = json_array()};
	struct bn_hostcheck check = BN_HOSTCHECK_INIT;

	*ret_notes = json_array();
	if (a->refused)
		add_reason(&rs, json_string(a->refused));
	for (size_t i = 0; i < a->n_folders; i++)
		bn_folder_problems(a->folders[i], folder_reason, &rs);
	for (size_t i = a->n_folders; i < a->config->manifests.n; i++)
		folder_reason(&rs, a->config->manifests.items[i],
			      "not watched since the last reload, see the log");
	bn_endpoints_each(a->endpoints, endpoint_reason, &rs);
	if (a->host_off && a->sockets_off)
		add_reason(&rs,
			   json_sprintf("the node itself reaches no services: %s", a->host_off));
	bn_agent_xdp_problems(a, found_reason, &rs);
	bn_agent_audit_problems(a, found_reason, &rs);
	bn_agent_fit_problems(a, found_reason, &rs);
	if (bn_policy_problem(a->policy))
		add_reason(&rs, json_sprintf("what policies select is closed: %s",
					     bn_policy_problem(a->policy)));
	bn_health_problems(a->health, health_reason, &rs);
	for (size_t i = 0; i < a->n_uplinks; i++) {
		if (!a->uplinks[i].attached)
			add_reason(&rs, json_sprintf("device %s: no program is attached",
						     a->uplinks[i].name));
	}
	bn_agent_hostcheck(a, &check);
	for (size_t i = 0; i < check.n; i++) {
		json_t *to = check.findings[i].severity == BN_HOSTCHECK_DEGRADED ? rs.array
										 : *ret_notes;

		json_array_append_new(to, json_string(check.findings[i].text));
	}
	bn_hostcheck_done(&check);
	return rs.array;
}

int bn_agent_method_status(struct bn_request *r, void *user)
{
	struct bn_agent *a = user;
	json_t *maps = json_array(), *attachments = json_array(), *notes, *reasons, *features;
	struct utsname u;

	uname(&u);
	each_map(a, map_json, maps);
	bn_attach_list(&a->attach, attachment_json, attachments, NULL);
	reasons = bn_agent_reasons(a, &notes);
	features = json_pack("{s:s, s:b, s:i, s:b, s:b}", "attach",
			     bn_attach_mechanism_name(a->attach.mechanism), "masquerade",
			     a->config->masquerade != BN_MASQUERADE_OFF, "hz", (int)a->programs.hz,
			     "flow_events", a->config->flow_events, "host_firewall", a->guarded);
	bn_agent_xdp_status(a, features, attachments);
	bn_agent_sockets_status(a, features, attachments);
	bn_agent_host_status(a, features, notes);
	bn_reply(r, json_pack("{s:s, s:o, s:o, s:s, s:s, s:s, s:o, s:o, s:o, s:o}", "state",
			      !a->live                        ? "starting"
			      : json_array_size(reasons) != 0 ? "degraded"
							      : "live",
			      "reasons", reasons, "notes", notes, "node", a->config->node_name,
			      "version", BN_VERSION, "kernel", u.release, "features", features,
			      "attachments", attachments, "maps", maps, "audit",
			      bn_agent_audit_json(a)));
	return 0;
}
