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

/* A count where somebody has it without walking the map; false: nobody. */
static bool known_entries(struct bn_agent *a, int id, uint64_t *ret)
{
	struct bn_services_usage usage;
	struct bn_policy_use policy;

	bn_services_usage(a->services, &usage);
	bn_policy_use(a->policy, &policy);
	switch (id) {
	case BN_MAP_bn_services:
		*ret = usage.frontends;
		return true;
	case BN_MAP_bn_service_slots:
		*ret = usage.slots;
		return true;
	case BN_MAP_bn_backends:
		*ret = usage.backends;
		return true;
	case BN_MAP_bn_maglev:
		*ret = usage.lines;
		return true;
	case BN_MAP_bn_addresses:
		*ret = bn_addresses_count(a->addresses);
		return true;
	case BN_MAP_bn_endpoints:
		*ret = bn_endpoints_count(a->endpoints);
		return true;
	case BN_MAP_bn_policy:
		*ret = policy.tables;
		return true;
	case BN_MAP_bn_policy_pages:
		*ret = policy.pages;
		return true;
	case BN_MAP_bn_policy_ports:
		*ret = policy.lines;
		return true;
	case BN_MAP_bn_policy_hits:
		*ret = policy.rules;
		return true;
	case BN_MAP_bn_policy_cidrs:
		*ret = policy.cidrs;
		return true;
	}
	return false;
}

static bool map_state(struct bn_agent *a, int id, const uint64_t *flows, struct bn_map_state *ret)
{
	struct bn_flow_sums sums = {0};
	struct bn_map_shape shape;
	int fd = a->programs.maps[id];

	*ret = (struct bn_map_state){0};
	if (fd < 0 || bn_map_shape(fd, &shape))
		return false;
	bn_map_bytes(fd, &ret->bytes);
	ret->max = shape.max_entries;
	if (id == BN_MAP_bn_flows) {
		ret->max *= BN_WAYS; /* a set has ways for several */
		ret->fills = flows || !bn_flows_sum(&a->programs, &sums);
		ret->entries = flows ? *flows : sums.live;
	} else if (known_entries(a, id, &ret->entries)) {
		ret->fills = true;
	} else {
		ret->fills = shape.type == BPF_MAP_TYPE_HASH ||
			     shape.type == BPF_MAP_TYPE_LRU_HASH ||
			     shape.type == BPF_MAP_TYPE_LPM_TRIE;
		bn_map_count(fd, &ret->entries);
	}
	return true;
}

void bn_agent_each_map(struct bn_agent *a, const uint64_t *flows,
		       void (*fn)(void *user, int id, const struct bn_map_state *state), void *user)
{
	struct bn_map_state state;

	for (int i = 0; i < BN_MAP_MAX; i++) {
		if (map_state(a, i, flows, &state))
			fn(user, i, &state);
	}
}

static void map_json(void *user, int id, const struct bn_map_state *state)
{
	json_array_append_new(user,
			      json_pack("{s:s, s:I, s:I, s:I}", "name", bn_map_names[id], "entries",
					(json_int_t)state->entries, "max_entries",
					(json_int_t)state->max, "bytes", (json_int_t)state->bytes));
}

int bn_agent_method_map_list(struct bn_request *r, void *user)
{
	json_t *maps = json_array();

	bn_agent_each_map(user, NULL, map_json, maps);
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
	char text[BN_LISTEN_STRLEN];

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
	if (bn_metrics_listen_error(a->metrics_listen))
		add_reason(&rs,
			   json_sprintf("metrics aren't served on %s: %s",
					bn_listen_format(&a->config->metrics_listen, text),
					strerror(-bn_metrics_listen_error(a->metrics_listen))));
	if (bn_ui_error(a->ui))
		add_reason(&rs, json_sprintf("the page isn't served on %s: %s",
					     bn_listen_format(&a->config->ui_listen, text),
					     strerror(-bn_ui_error(a->ui))));
	bn_agent_export_problem(a, found_reason, &rs);
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

json_t *bn_agent_status_json(struct bn_agent *a)
{
	json_t *maps = json_array(), *attachments = json_array(), *notes, *reasons, *features;
	struct utsname u;

	uname(&u);
	bn_agent_each_map(a, NULL, map_json, maps);
	bn_attach_list(&a->attach, attachment_json, attachments, NULL);
	reasons = bn_agent_reasons(a, &notes);
	features = json_pack("{s:s, s:b, s:i, s:b, s:b, s:s}", "attach",
			     bn_attach_mechanism_name(a->attach.mechanism), "masquerade",
			     a->config->masquerade != BN_MASQUERADE_OFF, "hz", (int)a->programs.hz,
			     "flow_events", a->config->flow_events, "host_firewall", a->guarded,
			     "load_balancer_mode",
			     bn_load_balancer_mode_name(a->config->load_balancer_mode));
	bn_agent_xdp_status(a, features, attachments);
	bn_agent_sockets_status(a, features, attachments);
	bn_agent_host_status(a, features, notes);
	return json_pack("{s:s, s:o, s:o, s:s, s:s, s:s, s:o, s:o, s:o, s:o, s:o*}", "state",
			 !a->live                        ? "starting"
			 : json_array_size(reasons) != 0 ? "degraded"
							 : "live",
			 "reasons", reasons, "notes", notes, "node", a->config->node_name,
			 "version", BN_VERSION, "kernel", u.release, "features", features,
			 "attachments", attachments, "maps", maps, "audit", bn_agent_audit_json(a),
			 "export", bn_agent_export_json(a));
}

int bn_agent_method_status(struct bn_request *r, void *user)
{
	json_t *status = bn_agent_status_json(user);

	if (!status)
		return -ENOMEM;
	bn_reply(r, status);
	return 0;
}
