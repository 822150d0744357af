// SPDX-License-Identifier: Apache-2.0
/*
 * Between policies and the rest: their change is prepared before anything else of a commit and takes
 * effect after it, what they make of endpoints and addresses is written, and `policy` methods.
 */
#include "agent/agent.h"

#include "log.h"

#include <bpfnet/access.h>
#include <bpfnet/control.h>
#include <errno.h>
#include <string.h>

static void stage(void *user)
{
	struct bn_agent *a = user;

	bn_addresses_stage(a->addresses);
}

static void turn(void *user, bool take)
{
	struct bn_agent *a = user;

	bn_addresses_switch(a->addresses, take);
}

static int set_endpoint(void *user, const char *namespace, const char *pod, struct bn_error *err)
{
	struct bn_agent *a = user;
	struct bn_endpoint_info info;

	if (!strcmp(namespace, BN_NODE_NAMESPACE))
		return bn_agent_firewall_apply(a, err);
	/* one that is being added is published when that is done */
	if (!a->endpoints || bn_endpoints_find(a->endpoints, namespace, pod, &info) < 0 ||
	    !info.ifindex)
		return 0;
	return bn_agent_publish_endpoint(a, &info, err);
}

static int set_address(void *user, const union bn_addr *addr, uint32_t identity,
		       struct bn_error *err)
{
	struct bn_agent *a = user;
	struct bn_peer_spec peer = {
		.addr = *addr, .kind = BN_ADDR_REMOTE_NODE, .identity = identity};
	int r = bn_addresses_peer_identity(a->addresses, addr, identity, err);

	if (!r)
		bn_agent_name_peer(a, &peer);
	return r;
}

static void set_rule(void *user, uint32_t number, const struct bn_policy_rule_name *rule)
{
	struct bn_agent *a = user;
	char namespace[sizeof(rule->policy)], *slash;

	if (!rule) {
		bn_names_rule_remove(a->names, number);
		return;
	}
	strcpy(namespace, rule->policy);
	slash = strchr(namespace, '/');
	if (slash)
		*slash = 0;
	/* without memory for it, the flows that it decides go without its name */
	bn_names_rule_set(a->names, number, slash ? namespace : NULL,
			  slash ? slash + 1 : rule->policy, rule->index, rule->rule);
}

static int found(void *user, const void *key, const void *value)
{
	const struct bn_endpoint *e = value;
	struct bn_agent *a = user;

	int r = 0;

	for (int g = 0; g < BN_GENERATIONS && !r; g++)
		r = bn_policy_found(a->policy, e->policy[g].egress, e->policy[g].ingress);
	return r;
}

static int found_address(void *user, const void *key, const void *value)
{
	const struct bn_address *address = value;
	struct bn_agent *a = user;

	int r = 0;

	for (int g = 0; address->kind == BN_ADDR_HOST && g < BN_GENERATIONS && !r; g++)
		r = bn_policy_found(a->policy, address->policy[g].egress,
				    address->policy[g].ingress);
	return r;
}

static uint32_t entries(const struct bn_agent *a, enum bn_map_id id)
{
	struct bn_map_shape shape = {0};

	bn_map_shape(a->programs.maps[id], &shape);
	return shape.max_entries;
}

int bn_agent_policy_start(struct bn_agent *a, struct bn_error *err)
{
	const int *maps = a->programs.maps;
	struct bn_policy_config config = {
		.state_dir = a->config->state_dir,
		.tables_fd = maps[BN_MAP_bn_policy],
		.pages_fd = maps[BN_MAP_bn_policy_pages],
		.ports_fd = maps[BN_MAP_bn_policy_ports],
		.hits_fd = maps[BN_MAP_bn_policy_hits],
		.cidrs_fd = maps[BN_MAP_bn_policy_cidrs],
		.tables = entries(a, BN_MAP_bn_policy),
		.pages = entries(a, BN_MAP_bn_policy_pages),
		.lines = entries(a, BN_MAP_bn_policy_ports),
		.rules = entries(a, BN_MAP_bn_policy_hits),
		.cidrs = entries(a, BN_MAP_bn_policy_cidrs),
		.audit = a->config->policy_audit,
		.stage = stage,
		.turn = turn,
		.endpoint = set_endpoint,
		.address = set_address,
		.rule = set_rule,
		.user = a,
	};
	int r;

	r = bn_policy_new(&config, &a->policy, err);
	if (r)
		return r;
	r = bn_map_each(maps[BN_MAP_bn_endpoints], found, a);
	if (!r)
		r = bn_map_each(maps[BN_MAP_bn_addresses], found_address, a);
	return r ? bn_error_set(err, r, "can't read the endpoints' policies: %s", strerror(-r)) : 0;
}

int bn_agent_policy_prepare(struct bn_agent *a, const struct bn_change *change,
			    struct bn_error *err)
{
	return bn_policy_prepare(a->policy, change, err);
}

uint32_t bn_agent_policy_identity(struct bn_agent *a, const struct bn_peer_spec *peer)
{
	struct bn_owner owner;

	if (peer->kind == BN_ADDR_HOST)
		return BN_IDENTITY_HOST;
	if (peer->kind == BN_ADDR_REMOTE_NODE)
		return bn_policy_identity(a->policy, NULL, NULL, &peer->addr);
	if (bn_objects_address_owner(a->objects, &peer->addr, &owner) < 0 ||
	    owner.kind != BN_OWNER_POD)
		return BN_IDENTITY_UNKNOWN;
	return bn_policy_identity(a->policy, owner.namespace, owner.name, &peer->addr);
}

void bn_agent_policy_interface(struct bn_agent *a, const struct bn_endpoint_info *info,
			       struct bn_interface *ret)
{
	struct bn_policy_endpoint policy;

	bn_policy_endpoint(a->policy, info->namespace, info->pod, &policy);
	ret->identity4 = policy.identity4;
	ret->identity6 = policy.identity6;
	ret->egress = policy.egress;
	ret->ingress = policy.ingress;
	ret->flags = policy.audit ? BN_EP_AUDIT : 0;
}

int bn_agent_policy_describe(void *user, const struct bn_endpoint_info *info, json_t *endpoint)
{
	struct bn_agent *a = user;
	struct bn_policy_endpoint policy;
	bool selected[BN_POLICY_DIRECTIONS];

	bn_policy_endpoint(a->policy, info->namespace, info->pod, &policy);
	bn_policy_selects(a->policy, info->namespace, info->pod, selected);
	if (json_object_set_new(endpoint, "identity", json_integer(policy.identity4)) < 0 ||
	    json_object_set_new(endpoint, "policy_audit", json_boolean(policy.audit)) < 0)
		return -ENOMEM;
	return json_object_set_new(endpoint, "policy",
				   json_pack("{sbsb}", "ingress", selected[BN_POLICY_INGRESS],
					     "egress", selected[BN_POLICY_EGRESS])) < 0
		       ? -ENOMEM
		       : 0;
}

static const char *param(struct bn_request *r, const char *key)
{
	return json_string_value(json_object_get(bn_request_params(r), key));
}

int bn_agent_method_policy_list(struct bn_request *r, void *user)
{
	struct bn_agent *a = user;
	json_t *list = bn_policy_json(a->policy, param(r, "namespace"), NULL);

	if (!list)
		return -ENOMEM;
	bn_reply(r, list);
	return 0;
}

int bn_agent_method_policy_get(struct bn_request *r, void *user)
{
	const char *namespace = param(r, "namespace"), *name = param(r, "name");
	struct bn_error err = BN_ERROR_INIT;
	struct bn_agent *a = user;
	json_t *list;

	if (!name) {
		bn_reply_error(r, BN_CONTROL_CODE_INVALID, "params.name must be given");
		return 0;
	}
	list = bn_policy_json(a->policy, namespace ? namespace : "", name);
	if (!list)
		return -ENOMEM;
	if (json_array_size(list)) {
		bn_reply(r, json_incref(json_array_get(list, 0)));
	} else {
		if (namespace)
			bn_error_set(&err, -ENOENT, "network policy %s/%s not found", namespace,
				     name);
		else
			bn_error_set(&err, -ENOENT, "cluster network policy %s not found", name);
		bn_reply_errno(r, -ENOENT, &err);
	}
	bn_error_done(&err);
	json_decref(list);
	return 0;
}
