// SPDX-License-Identifier: Apache-2.0
/*
 * NetworkPolicy (networking.k8s.io/v1), with the API's validation and defaults: without policyTypes
 * a policy is about ingress, and about egress too if it has an egress rule. Bits of a CIDR past its
 * prefix are ignored, as Kubernetes does. A field that the API doesn't have is refused, as its server
 * does for kubectl: a misspelt one would open or shut what nobody meant.
 */
#include "state.h"

#include <errno.h>
#include <string.h>

/* A single object is 1 MiB, which bounds all of these; the limits keep sums from overflowing. */
#define POLICY_ITEMS_MAX 65536

/* ---- selectors ---- */

static int parse_values(const struct bn_field *list, struct bn_arena *arena,
			struct bn_requirement *ret)
{
	const char **values;
	size_t n;

	if (bn_field_array(list, 4096, &n) < 0)
		return -EINVAL;
	values = bn_arena_alloc(arena, n, sizeof(*values));
	if (!values)
		return -ENOMEM;
	for (size_t i = 0; i < n; i++) {
		struct bn_field item = bn_field_item(list, i);
		const char *text = NULL;

		if (bn_field_required(&item) < 0 ||
		    bn_field_name(&item, bn_name_label_value, &text) < 0)
			return -EINVAL;
		if (bn_parse_copy(arena, text, &values[i]) < 0)
			return -ENOMEM;
	}
	ret->values = values;
	ret->n_values = (uint16_t)n;
	return 0;
}

static int parse_expression(const struct bn_field *item, struct bn_arena *arena,
			    struct bn_requirement *ret)
{
	static const char *const members[] = {"key", "operator", "values", NULL};
	static const char *const operators[] = {"In", "NotIn", "Exists", "DoesNotExist", NULL};
	struct bn_field key = bn_field_get(item, "key");
	struct bn_field op = bn_field_get(item, "operator");
	struct bn_field values = bn_field_get(item, "values");
	const char *text = NULL;
	int v = 0, r;

	if (bn_field_required(item) < 0 || bn_field_members(item, members) < 0 ||
	    bn_field_required(&key) < 0 || bn_field_name(&key, bn_name_label_key, &text) < 0 ||
	    bn_field_required(&op) < 0 || bn_field_choice(&op, operators, 0, &v) < 0)
		return -EINVAL;
	ret->op = (uint8_t)v;
	r = bn_parse_copy(arena, text, &ret->key);
	if (r == 0)
		r = parse_values(&values, arena, ret);
	if (r < 0)
		return r;
	if ((v == BN_IN || v == BN_NOT_IN) && !ret->n_values)
		return bn_field_fail(&values, "must name a value for the operator %s",
				     operators[v]);
	if ((v == BN_EXISTS || v == BN_DOES_NOT_EXIST) && ret->n_values)
		return bn_field_fail(&values, "must be empty for the operator %s", operators[v]);
	return 0;
}

int bn_parse_selector(const struct bn_field *field, struct bn_arena *arena, struct bn_selector *ret)
{
	static const char *const members[] = {"matchLabels", "matchExpressions", NULL};
	struct bn_field labels = bn_field_get(field, "matchLabels");
	struct bn_field list = bn_field_get(field, "matchExpressions");
	struct bn_requirement *requirements;
	struct bn_label *equal;
	size_t n_equal, n;
	int r;

	if (bn_field_members(field, members) < 0 || bn_field_array(&list, 4096, &n) < 0)
		return -EINVAL;
	r = bn_parse_labels(&labels, arena, &equal, &n_equal);
	if (r < 0)
		return r;
	requirements = bn_arena_alloc(arena, n_equal + n, sizeof(*requirements));
	if (!requirements)
		return -ENOMEM;
	for (size_t i = 0; i < n_equal; i++)
		requirements[i] = (struct bn_requirement){
			.key = equal[i].key,
			.values = &equal[i].value,
			.n_values = 1,
			.op = BN_IN,
		};
	for (size_t i = 0; i < n; i++) {
		struct bn_field item = bn_field_item(&list, i);

		r = parse_expression(&item, arena, &requirements[n_equal + i]);
		if (r < 0)
			return r;
	}
	ret->requirements = requirements;
	ret->n = n_equal + n;
	return 0;
}

/* *ret stays NULL where the field is absent. */
static int parse_optional_selector(const struct bn_field *field, struct bn_arena *arena,
				   const struct bn_selector **ret)
{
	struct bn_selector *selector;
	int r;

	if (!field->value)
		return 0;
	selector = bn_arena_alloc(arena, 1, sizeof(*selector));
	if (!selector)
		return -ENOMEM;
	r = bn_parse_selector(field, arena, selector);
	*ret = selector;
	return r;
}

/* ---- blocks ---- */

int bn_parse_cidr(const struct bn_field *field, struct bn_cidr *ret)
{
	const char *text = NULL, *slash;
	char addr[BN_ADDR_STRLEN];
	unsigned prefix = 0, most;
	int family = 0;
	size_t n;

	if (bn_field_required(field) < 0 || bn_field_string(field, &text) < 0)
		return -EINVAL;
	slash = strchr(text, '/');
	n = slash ? (size_t)(slash - text) : 0;
	if (!slash || n >= sizeof(addr) || !slash[1] || strlen(slash + 1) > 3)
		goto bad;
	memcpy(addr, text, n);
	addr[n] = 0;
	if (bn_addr_parse(addr, &ret->addr, &family) < 0)
		goto bad;
	for (const char *p = slash + 1; *p; p++) {
		if (*p < '0' || *p > '9' || (p == slash + 1 && *p == '0' && p[1]))
			goto bad;
		prefix = 10 * prefix + (unsigned)(*p - '0');
	}
	most = family == BN_IPV4 ? 32 : 128;
	if (prefix > most)
		goto bad;
	ret->family = (uint8_t)family;
	ret->prefix = (uint8_t)prefix;
	for (unsigned bit = 128 - most + prefix; bit < 128; bit++)
		ret->addr.b[bit / 8] &= (uint8_t)~(0x80 >> bit % 8);
	return 0;
bad:
	return bn_field_fail(field, "\"%.64s\" is not a CIDR, ADDRESS/PREFIX", text);
}

static int parse_block(const struct bn_field *field, struct bn_arena *arena,
		       struct bn_policy_peer *peer)
{
	static const char *const members[] = {"cidr", "except", NULL};
	struct bn_field cidr = bn_field_get(field, "cidr");
	struct bn_field list = bn_field_get(field, "except");
	struct bn_cidr *except;
	size_t n;

	if (bn_field_members(field, members) < 0 ||
	    bn_field_array(&list, POLICY_ITEMS_MAX, &n) < 0 ||
	    bn_parse_cidr(&cidr, &peer->block) < 0)
		return -EINVAL;
	except = bn_arena_alloc(arena, n, sizeof(*except));
	if (!except)
		return -ENOMEM;
	for (size_t i = 0; i < n; i++) {
		struct bn_field item = bn_field_item(&list, i);

		if (bn_parse_cidr(&item, &except[i]) < 0)
			return -EINVAL;
		if (except[i].family != peer->block.family ||
		    except[i].prefix <= peer->block.prefix ||
		    !bn_cidr_contains(&peer->block, &except[i].addr))
			return bn_field_fail(&item, "\"%.64s\" is not a part of the cidr \"%.64s\"",
					     json_string_value(item.value),
					     json_string_value(cidr.value));
	}
	peer->is_block = true;
	peer->except = except;
	peer->n_except = n;
	return 0;
}

/* ---- rules ---- */

static int parse_peer(const struct bn_field *item, struct bn_arena *arena,
		      struct bn_policy_peer *peer)
{
	static const char *const members[] = {"podSelector", "namespaceSelector", "ipBlock", NULL};
	struct bn_field pods = bn_field_get(item, "podSelector");
	struct bn_field namespaces = bn_field_get(item, "namespaceSelector");
	struct bn_field block = bn_field_get(item, "ipBlock");
	int r;

	if (bn_field_required(item) < 0 || bn_field_object(item) < 0)
		return -EINVAL;
	if (!pods.value && !namespaces.value && !block.value)
		return bn_field_fail(item, "must have a podSelector, a namespaceSelector or an "
					   "ipBlock");
	if (block.value && (pods.value || namespaces.value))
		return bn_field_fail(&block, "must not stand beside a selector");
	if (bn_field_members(item, members) < 0)
		return -EINVAL;
	if (block.value)
		return parse_block(&block, arena, peer);
	r = parse_optional_selector(&pods, arena, &peer->pods);
	return r < 0 ? r : parse_optional_selector(&namespaces, arena, &peer->namespaces);
}

static int parse_port(const struct bn_field *item, struct bn_arena *arena,
		      struct bn_policy_port *port)
{
	static const char *const members[] = {"protocol", "port", "endPort", NULL};
	struct bn_field protocol = bn_field_get(item, "protocol");
	struct bn_field number = bn_field_get(item, "port");
	struct bn_field end = bn_field_get(item, "endPort");
	const char *name = NULL;

	if (bn_field_required(item) < 0 || bn_field_members(item, members) < 0 ||
	    bn_field_protocol(&protocol, &port->protocol) < 0)
		return -EINVAL;
	if (json_is_string(number.value)) {
		if (bn_field_name(&number, bn_name_port, &name) < 0)
			return -EINVAL;
		if (end.value)
			return bn_field_fail(&end, "must not stand beside a port's name");
		return bn_parse_copy(arena, name, &port->name);
	}
	if (number.value && !json_is_number(number.value))
		return bn_field_fail(&number, "must be a port number or a port's name");
	if (bn_field_port(&number, &port->port) < 0 || bn_field_port(&end, &port->end) < 0)
		return -EINVAL;
	if (end.value && !number.value)
		return bn_field_fail(&end, "needs a port");
	if (end.value && port->end < port->port)
		return bn_field_fail(&end, "%u is less than the port, %u", port->end, port->port);
	if (!end.value)
		port->end = port->port;
	return 0;
}

static int parse_rule(const struct bn_field *item, const char *peers_key, struct bn_arena *arena,
		      struct bn_policy_rule *rule)
{
	const char *const members[] = {peers_key, "ports", NULL};
	struct bn_field peer_list = bn_field_get(item, peers_key);
	struct bn_field port_list = bn_field_get(item, "ports");
	struct bn_policy_peer *peers;
	struct bn_policy_port *ports;
	int r = 0;

	if (bn_field_required(item) < 0 || bn_field_members(item, members) < 0 ||
	    bn_field_array(&peer_list, POLICY_ITEMS_MAX, &rule->n_peers) < 0 ||
	    bn_field_array(&port_list, POLICY_ITEMS_MAX, &rule->n_ports) < 0)
		return -EINVAL;
	peers = bn_arena_alloc(arena, rule->n_peers, sizeof(*peers));
	ports = bn_arena_alloc(arena, rule->n_ports, sizeof(*ports));
	if (!peers || !ports)
		return -ENOMEM;
	rule->peers = peers;
	rule->ports = ports;
	for (size_t i = 0; r == 0 && i < rule->n_peers; i++) {
		struct bn_field peer = bn_field_item(&peer_list, i);

		r = parse_peer(&peer, arena, &peers[i]);
	}
	for (size_t i = 0; r == 0 && i < rule->n_ports; i++) {
		struct bn_field port = bn_field_item(&port_list, i);

		r = parse_port(&port, arena, &ports[i]);
	}
	return r;
}

static int parse_rules(const struct bn_field *spec, const char *key, const char *peers_key,
		       struct bn_arena *arena, const struct bn_policy_rule **ret, size_t *ret_n)
{
	struct bn_field list = bn_field_get(spec, key);
	struct bn_policy_rule *rules;
	int r = 0;

	if (bn_field_array(&list, POLICY_ITEMS_MAX, ret_n) < 0)
		return -EINVAL;
	rules = bn_arena_alloc(arena, *ret_n, sizeof(*rules));
	if (!rules)
		return -ENOMEM;
	*ret = rules;
	for (size_t i = 0; r == 0 && i < *ret_n; i++) {
		struct bn_field item = bn_field_item(&list, i);

		r = parse_rule(&item, peers_key, arena, &rules[i]);
	}
	return r;
}

static int parse_types(const struct bn_field *spec, struct bn_policy_spec *ret)
{
	static const char *const types[] = {"Ingress", "Egress", NULL};
	struct bn_field list = bn_field_get(spec, "policyTypes");
	size_t n;

	if (bn_field_array(&list, 2, &n) < 0)
		return -EINVAL;
	for (size_t i = 0; i < n; i++) {
		struct bn_field item = bn_field_item(&list, i);
		int v = 0;

		if (bn_field_required(&item) < 0 || bn_field_choice(&item, types, 0, &v) < 0)
			return -EINVAL;
		ret->selects[v ? BN_POLICY_EGRESS : BN_POLICY_INGRESS] = true;
	}
	if (!n) {
		ret->selects[BN_POLICY_INGRESS] = true;
		ret->selects[BN_POLICY_EGRESS] = ret->n_rules[BN_POLICY_EGRESS];
	}
	return 0;
}

int bn_parse_policy(const struct bn_field *root, struct bn_policy_object *policy)
{
	static const char *const members[] = {"podSelector", "ingress", "egress", "policyTypes",
					      NULL};
	struct bn_field spec = bn_field_get(root, "spec");
	struct bn_field pods = bn_field_get(&spec, "podSelector");
	struct bn_policy_spec *ret = &policy->spec;
	struct bn_arena *arena = &policy->o.arena;
	int r;

	if (bn_parse_members(root) < 0 || bn_field_members(&spec, members) < 0)
		return -EINVAL;
	ret->namespace = policy->o.namespace;
	ret->name = policy->o.name;
	r = bn_parse_selector(&pods, arena, &ret->pods);
	if (r == 0)
		r = parse_rules(&spec, "ingress", "from", arena, &ret->rules[BN_POLICY_INGRESS],
				&ret->n_rules[BN_POLICY_INGRESS]);
	if (r == 0)
		r = parse_rules(&spec, "egress", "to", arena, &ret->rules[BN_POLICY_EGRESS],
				&ret->n_rules[BN_POLICY_EGRESS]);
	return r < 0 ? r : parse_types(&spec, ret);
}
