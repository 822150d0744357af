// SPDX-License-Identifier: Apache-2.0
/*
 * ClusterNetworkPolicy (policy.networking.k8s.io/v1alpha2), with the API's validation. What can't be
 * enforced is refused: a rule that is left out would deny or allow what nobody asked for.
 */
#include "state.h"

#include <errno.h>
#include <netinet/in.h>
#include <string.h>

/* The API's limits. */
#define CLUSTER_ITEMS_MAX 25
#define CLUSTER_PRIORITY_MAX 1000
#define CLUSTER_NAME_MAX 100

/* A list that is given has an item; one that is not has none. */
static int parse_list(const struct bn_field *field, size_t *ret_n)
{
	if (bn_field_array(field, CLUSTER_ITEMS_MAX, ret_n) < 0)
		return -EINVAL;
	return field->value && !*ret_n ? bn_field_fail(field, "must have an item") : 0;
}

/* The one of `keys` (ended by NULL) that is there, as the API's unions have it. */
static int parse_union(const struct bn_field *field, const char *const *keys, struct bn_field *ret,
		       int *ret_key)
{
	char list[160] = "";
	int found = -1;

	if (bn_field_required(field) < 0 || bn_field_object(field) < 0)
		return -EINVAL;
	for (int i = 0; keys[i]; i++) {
		struct bn_field member = bn_field_get(field, keys[i]);
		size_t n = strlen(list);

		snprintf(list + n, sizeof(list) - n, "%s%s", i ? ", " : "", keys[i]);
		if (!member.value)
			continue;
		if (found >= 0)
			return bn_field_fail(&member, "must not stand beside %s", keys[found]);
		*ret = member;
		found = i;
	}
	if (found < 0)
		return bn_field_fail(field, "must have one of %s", list);
	*ret_key = found;
	return bn_field_members(field, keys);
}

/* ---- pods ---- */

/* Selectors of namespaces and of pods in them, from a subject's or peer's member. */
static int parse_pods(const struct bn_field *field, bool pods, struct bn_arena *arena,
		      struct bn_selector *ret_namespaces, struct bn_selector *ret_pods)
{
	static const char *const members[] = {"namespaceSelector", "podSelector", NULL};
	struct bn_field namespaces, selector;
	int r;

	if (!pods)
		return bn_parse_selector(field, arena, ret_namespaces);
	if (bn_field_members(field, members) < 0)
		return -EINVAL;
	namespaces = bn_field_get(field, "namespaceSelector");
	selector = bn_field_get(field, "podSelector");
	if (bn_field_required(&selector) < 0)
		return -EINVAL;
	r = bn_parse_selector(&namespaces, arena, ret_namespaces);
	return r < 0 ? r : bn_parse_selector(&selector, arena, ret_pods);
}

static int parse_subject(const struct bn_field *field, struct bn_arena *arena,
			 struct bn_policy_spec *ret)
{
	static const char *const keys[] = {"namespaces", "pods", NULL};
	struct bn_field member;
	int key = 0;

	if (parse_union(field, keys, &member, &key) < 0)
		return -EINVAL;
	return parse_pods(&member, key == 1, arena, &ret->namespaces, &ret->pods);
}

/* ---- peers ---- */

enum {
	PEER_NAMESPACES,
	PEER_PODS, /* the last of `from` */
	PEER_NETWORKS,
	PEER_NODES,
	PEER_DOMAINS,
};

static const char *const peer_keys[] = {"namespaces", "pods",        "networks",
					"nodes",      "domainNames", NULL};
static const char *const source_keys[] = {"namespaces", "pods", NULL};

/* Each network is a peer of its own. */
static int parse_networks(const struct bn_field *list, struct bn_policy_peer *peers, size_t *n)
{
	size_t n_items;

	if (parse_list(list, &n_items) < 0)
		return -EINVAL;
	for (size_t i = 0; i < n_items; i++) {
		struct bn_field item = bn_field_item(list, i);
		struct bn_policy_peer *peer = &peers[*n];

		if (bn_parse_cidr(&item, &peer->block) < 0)
			return -EINVAL;
		for (size_t k = 0; k < i; k++) {
			if (json_equal(json_array_get(list->value, k), item.value))
				return bn_field_fail(&item, "stands here twice");
		}
		peer->is_block = true;
		++*n;
	}
	return 0;
}

static int parse_peer(const struct bn_field *item, const char *const *keys, struct bn_arena *arena,
		      struct bn_policy_peer *peers, size_t *n)
{
	struct bn_selector *selectors;
	struct bn_field member;
	int key = 0;

	if (parse_union(item, keys, &member, &key) < 0)
		return -EINVAL;
	if (key == PEER_NETWORKS)
		return parse_networks(&member, peers, n);
	if (key == PEER_DOMAINS)
		return bn_field_fail(&member, "is not supported");
	selectors = bn_arena_alloc(arena, 2, sizeof(*selectors));
	if (!selectors)
		return -ENOMEM;
	if (key == PEER_NODES) {
		peers[(*n)++].nodes = &selectors[0];
		return bn_parse_selector(&member, arena, &selectors[0]);
	}
	peers[*n].namespaces = &selectors[0];
	peers[*n].pods = &selectors[1];
	++*n;
	return parse_pods(&member, key == PEER_PODS, arena, &selectors[0], &selectors[1]);
}

static int parse_peers(const struct bn_field *list, const char *const *keys, struct bn_arena *arena,
		       struct bn_policy_rule *rule)
{
	struct bn_policy_peer *peers;
	size_t n, room = 0;
	int r = 0;

	if (bn_field_required(list) < 0 || parse_list(list, &n) < 0)
		return -EINVAL;
	for (size_t i = 0; i < n; i++) {
		const json_t *networks =
			json_object_get(json_array_get(list->value, i), peer_keys[PEER_NETWORKS]);

		room += 1 + json_array_size(networks);
	}
	peers = bn_arena_alloc(arena, room, sizeof(*peers));
	if (!peers)
		return -ENOMEM;
	rule->peers = peers;
	for (size_t i = 0; r == 0 && i < n; i++) {
		struct bn_field item = bn_field_item(list, i);

		r = parse_peer(&item, keys, arena, peers, &rule->n_peers);
	}
	return r;
}

/* ---- protocols ---- */

static int parse_range(const struct bn_field *field, struct bn_policy_port *ret)
{
	static const char *const members[] = {"start", "end", NULL};
	struct bn_field start = bn_field_get(field, "start"), end = bn_field_get(field, "end");

	if (bn_field_members(field, members) < 0 || bn_field_required(&start) < 0 ||
	    bn_field_required(&end) < 0 || bn_field_port(&start, &ret->port) < 0 ||
	    bn_field_port(&end, &ret->end) < 0)
		return -EINVAL;
	if (ret->end <= ret->port)
		return bn_field_fail(&end, "%u is not greater than the start, %u", ret->end,
				     ret->port);
	return 0;
}

static int parse_protocol(const struct bn_field *item, struct bn_arena *arena,
			  struct bn_policy_port *ret)
{
	static const char *const keys[] = {"tcp", "udp", "sctp", "destinationNamedPort", NULL};
	static const char *const members[] = {"destinationPort", NULL};
	static const char *const port_keys[] = {"number", "range", NULL};
	static const uint8_t protocols[] = {IPPROTO_TCP, IPPROTO_UDP, IPPROTO_SCTP, 0};
	struct bn_field member, port, value;
	const char *name = NULL;
	int key = 0, form = 0;

	if (parse_union(item, keys, &member, &key) < 0)
		return -EINVAL;
	ret->protocol = protocols[key];
	if (!ret->protocol) {
		if (bn_field_name(&member, bn_name_port, &name) < 0)
			return -EINVAL;
		return bn_parse_copy(arena, name, &ret->name);
	}
	if (bn_field_members(&member, members) < 0)
		return -EINVAL;
	port = bn_field_get(&member, "destinationPort");
	if (parse_union(&port, port_keys, &value, &form) < 0)
		return -EINVAL;
	if (form)
		return parse_range(&value, ret);
	if (bn_field_port(&value, &ret->port) < 0)
		return -EINVAL;
	ret->end = ret->port;
	return 0;
}

static int parse_protocols(const struct bn_field *list, struct bn_arena *arena,
			   struct bn_policy_rule *rule)
{
	struct bn_policy_port *ports;

	if (parse_list(list, &rule->n_ports) < 0)
		return -EINVAL;
	ports = bn_arena_alloc(arena, rule->n_ports, sizeof(*ports));
	if (!ports)
		return -ENOMEM;
	rule->ports = ports;
	for (size_t i = 0; i < rule->n_ports; i++) {
		struct bn_field item = bn_field_item(list, i);
		int r = parse_protocol(&item, arena, &ports[i]);

		if (r < 0)
			return r;
		for (size_t k = 0; ports[i].name && k < rule->n_peers; k++) {
			if (!rule->peers[k].namespaces)
				return bn_field_fail(&item, "destinationNamedPort must not be used "
							    "with peers that are no pods");
		}
	}
	return 0;
}

/* ---- rules ---- */

static int parse_name(const struct bn_field *field, struct bn_arena *arena, const char **ret)
{
	const char *text = NULL;
	size_t n = 0;

	if (bn_field_string(field, &text) < 0)
		return -EINVAL;
	/* characters, not bytes */
	for (const char *p = text; p && *p; p++)
		n += (*p & 0xc0) != 0x80;
	if (n > CLUSTER_NAME_MAX)
		return bn_field_fail(field, "has %zu characters, at most %d are allowed", n,
				     CLUSTER_NAME_MAX);
	return bn_parse_copy(arena, n ? text : NULL, ret);
}

static int parse_rule(const struct bn_field *item, enum bn_policy_direction direction,
		      struct bn_arena *arena, struct bn_policy_rule *rule)
{
	static const char *const actions[] = {
		[BN_ACTION_ACCEPT] = "Accept",
		[BN_ACTION_DENY] = "Deny",
		[BN_ACTION_PASS] = "Pass",
		NULL,
	};
	bool egress = direction == BN_POLICY_EGRESS;
	const char *const members[] = {"name", "action", egress ? "to" : "from", "protocols", NULL};
	struct bn_field name = bn_field_get(item, "name");
	struct bn_field action = bn_field_get(item, "action");
	struct bn_field peers = bn_field_get(item, egress ? "to" : "from");
	struct bn_field protocols = bn_field_get(item, "protocols");
	int v = 0, r;

	if (bn_field_required(item) < 0 || bn_field_members(item, members) < 0)
		return -EINVAL;
	r = parse_name(&name, arena, &rule->name);
	if (r < 0)
		return r;
	if (bn_field_required(&action) < 0 || bn_field_choice(&action, actions, 0, &v) < 0)
		return -EINVAL;
	rule->action = (uint8_t)v;
	r = parse_peers(&peers, egress ? peer_keys : source_keys, arena, rule);
	return r < 0 ? r : parse_protocols(&protocols, arena, rule);
}

/* Without a rule, a policy is not about the direction. */
static int parse_rules(const struct bn_field *spec, const char *key,
		       enum bn_policy_direction direction, struct bn_arena *arena,
		       struct bn_policy_spec *ret)
{
	struct bn_field list = bn_field_get(spec, key);
	struct bn_policy_rule *rules;
	size_t n;
	int r = 0;

	if (bn_field_array(&list, CLUSTER_ITEMS_MAX, &n) < 0)
		return -EINVAL;
	rules = bn_arena_alloc(arena, n, sizeof(*rules));
	if (!rules)
		return -ENOMEM;
	ret->rules[direction] = rules;
	ret->n_rules[direction] = n;
	ret->selects[direction] = n;
	for (size_t i = 0; r == 0 && i < n; i++) {
		struct bn_field item = bn_field_item(&list, i);

		r = parse_rule(&item, direction, arena, &rules[i]);
	}
	return r;
}

int bn_parse_cluster_policy(const struct bn_field *root, struct bn_policy_object *policy)
{
	static const char *const members[] = {"tier",    "priority", "subject",
					      "ingress", "egress",   NULL};
	static const char *const tiers[] = {"Admin", "Baseline", NULL};
	struct bn_field spec = bn_field_get(root, "spec");
	struct bn_field tier = bn_field_get(&spec, "tier");
	struct bn_field priority = bn_field_get(&spec, "priority");
	struct bn_field subject = bn_field_get(&spec, "subject");
	struct bn_policy_spec *ret = &policy->spec;
	struct bn_arena *arena = &policy->o.arena;
	int64_t number = 0;
	int v = 0, r;

	if (bn_parse_members(root) < 0 || bn_field_required(&spec) < 0 ||
	    bn_field_members(&spec, members) < 0 || bn_field_required(&tier) < 0 ||
	    bn_field_choice(&tier, tiers, 0, &v) < 0 || bn_field_required(&priority) < 0 ||
	    bn_field_int(&priority, 0, CLUSTER_PRIORITY_MAX, 0, &number) < 0)
		return -EINVAL;
	ret->namespace = policy->o.namespace;
	ret->name = policy->o.name;
	ret->tier = v ? BN_TIER_BASELINE : BN_TIER_ADMIN;
	ret->priority = (uint16_t)number;
	r = parse_subject(&subject, arena, ret);
	if (r == 0)
		r = parse_rules(&spec, "ingress", BN_POLICY_INGRESS, arena, ret);
	return r < 0 ? r : parse_rules(&spec, "egress", BN_POLICY_EGRESS, arena, ret);
}
