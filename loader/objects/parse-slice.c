// SPDX-License-Identifier: Apache-2.0
/*
 * EndpointSlices. Of an endpoint's addresses the first counts, as for kube-proxy: Kubernetes
 * defines them as interchangeable.
 */
#include "state.h"

#include <errno.h>
#include <string.h>

#define SLICE_ENDPOINTS_MAX 1000
#define SLICE_ADDRESSES_MAX 100
#define SLICE_PORTS_MAX 1000

static int parse_ports(const struct bn_field *root, struct bn_slice_object *slice)
{
	struct bn_field list = bn_field_get(root, "ports");
	size_t n;

	if (bn_field_array(&list, SLICE_PORTS_MAX, &n) < 0)
		return -EINVAL;
	slice->ports = bn_arena_alloc(&slice->o.arena, n, sizeof(*slice->ports));
	if (!slice->ports)
		return -ENOMEM;
	for (size_t i = 0; i < n; i++) {
		struct bn_field item = bn_field_item(&list, i);
		struct bn_field name = bn_field_get(&item, "name");
		struct bn_field number = bn_field_get(&item, "port");
		struct bn_field protocol = bn_field_get(&item, "protocol");
		struct bn_slice_port *port = &slice->ports[slice->n_ports];
		const char *text = NULL;

		if (bn_field_required(&item) < 0 || bn_field_object(&item) < 0 ||
		    bn_field_string(&name, &text) < 0 || bn_field_port(&number, &port->port) < 0 ||
		    bn_field_protocol(&protocol, &port->protocol) < 0)
			return -EINVAL;
		if (text && *text && bn_field_name(&name, bn_name_label, &text) < 0)
			return -EINVAL;
		for (size_t k = 0; k < slice->n_ports; k++) {
			if (!strcmp(slice->ports[k].name, text ? text : ""))
				return bn_field_fail(&name, "duplicate port name \"%s\"",
						     text ? text : "");
		}
		if (bn_parse_copy(&slice->o.arena, text ? text : "", &port->name) < 0)
			return -ENOMEM;
		slice->n_ports++;
	}
	return 0;
}

/* Nil is unknown, which counts as true, but for terminating. */
static int parse_conditions(const struct bn_field *endpoint, uint8_t *ret)
{
	struct bn_field conditions = bn_field_get(endpoint, "conditions");
	struct bn_field field = bn_field_get(&conditions, "ready");
	bool ready, serving, terminating;

	if (bn_field_object(&conditions) < 0 || bn_field_bool(&field, true, &ready) < 0)
		return -EINVAL;
	field = bn_field_get(&conditions, "serving");
	if (bn_field_bool(&field, true, &serving) < 0)
		return -EINVAL;
	field = bn_field_get(&conditions, "terminating");
	if (bn_field_bool(&field, false, &terminating) < 0)
		return -EINVAL;
	if (ready)
		*ret = BN_BACKEND_ACTIVE;
	else
		*ret = serving && terminating ? BN_BACKEND_TERMINATING : BN_BACKEND_NOT_READY;
	return 0;
}

static int parse_addresses(const struct bn_field *endpoint, uint8_t family, union bn_addr *ret)
{
	struct bn_field list = bn_field_get(endpoint, "addresses");
	union bn_addr addr;
	int found = 0;
	size_t n;

	if (bn_field_required(&list) < 0 || bn_field_array(&list, SLICE_ADDRESSES_MAX, &n) < 0)
		return -EINVAL;
	if (!n)
		return bn_field_fail(&list, "must name an address");
	for (size_t i = 0; i < n; i++) {
		struct bn_field item = bn_field_item(&list, i);

		if (bn_field_address(&item, &addr, &found) < 0)
			return -EINVAL;
		if (found != family)
			return bn_field_fail(&item, "\"%.64s\" is not an IPv%d address",
					     json_string_value(item.value), family);
		if (!i)
			*ret = addr;
	}
	return 0;
}

/* The pod of a targetRef, where it is one of the slice's namespace. */
static int parse_target(const struct bn_field *endpoint, struct bn_slice_object *slice,
			const char **ret)
{
	struct bn_field ref = bn_field_get(endpoint, "targetRef");
	struct bn_field kind = bn_field_get(&ref, "kind");
	struct bn_field name = bn_field_get(&ref, "name");
	struct bn_field namespace = bn_field_get(&ref, "namespace");
	const char *k = NULL, *n = NULL, *ns = NULL;

	if (bn_field_object(&ref) < 0 || bn_field_string(&kind, &k) < 0 ||
	    bn_field_string(&name, &n) < 0 || bn_field_string(&namespace, &ns) < 0)
		return -EINVAL;
	if (!k || strcmp(k, "Pod") || !n || (ns && *ns && strcmp(ns, slice->o.namespace)))
		return 0;
	return bn_parse_copy(&slice->o.arena, n, ret);
}

/* forZones or forNodes: names of at most eight places. */
static int parse_places(const struct bn_field *hints, const char *key, struct bn_arena *arena,
			const char *names[8], uint8_t *ret_n)
{
	struct bn_field list = bn_field_get(hints, key);
	size_t n;

	if (bn_field_array(&list, 8, &n) < 0)
		return -EINVAL;
	for (size_t i = 0; i < n; i++) {
		struct bn_field item = bn_field_item(&list, i);
		struct bn_field name = bn_field_get(&item, "name");
		const char *text = NULL;

		if (bn_field_required(&item) < 0 || bn_field_object(&item) < 0 ||
		    bn_field_required(&name) < 0 || bn_field_string(&name, &text) < 0)
			return -EINVAL;
		if (bn_parse_copy(arena, text, &names[i]) < 0)
			return -ENOMEM;
		++*ret_n;
	}
	return 0;
}

static bool same_places(const char *const a[8], size_t n_a, const char *const b[8], size_t n_b)
{
	for (size_t i = 0; n_a == n_b && i < n_a; i++) {
		if (strcmp(a[i], b[i]))
			return false;
	}
	return n_a == n_b;
}

/* Neighbours mostly have the same hints, so the last endpoint's are taken where they are. */
static int parse_hints(const struct bn_field *endpoint, struct bn_slice_object *slice,
		       const struct bn_slice_hints *last, const struct bn_slice_hints **ret)
{
	struct bn_field field = bn_field_get(endpoint, "hints");
	struct bn_arena scratch = {0};
	struct bn_slice_hints hints = {0}, *copy;
	int r;

	if (bn_field_object(&field) < 0)
		return -EINVAL;
	r = parse_places(&field, "forZones", &scratch, hints.zones, &hints.n_zones);
	if (r == 0)
		r = parse_places(&field, "forNodes", &scratch, hints.nodes, &hints.n_nodes);
	if (r < 0 || !(hints.n_zones + hints.n_nodes))
		goto out;
	slice->hinted = true;
	if (last && same_places(hints.zones, hints.n_zones, last->zones, last->n_zones) &&
	    same_places(hints.nodes, hints.n_nodes, last->nodes, last->n_nodes)) {
		*ret = last;
		goto out;
	}
	copy = bn_arena_alloc(&slice->o.arena, 1, sizeof(*copy));
	r = copy ? 0 : -ENOMEM;
	for (size_t i = 0; r == 0 && i < hints.n_zones; i++)
		r = bn_parse_copy(&slice->o.arena, hints.zones[i], &copy->zones[i]);
	for (size_t i = 0; r == 0 && i < hints.n_nodes; i++)
		r = bn_parse_copy(&slice->o.arena, hints.nodes[i], &copy->nodes[i]);
	if (r == 0) {
		copy->n_zones = hints.n_zones;
		copy->n_nodes = hints.n_nodes;
		*ret = copy;
	}
out:
	bn_arena_done(&scratch);
	return r;
}

/* A copy of what neighbours mostly share, so the last endpoint's is taken where it is the same. */
static int share_copy(struct bn_slice_object *slice, const char *text, const char *last,
		      const char **ret)
{
	if (text && last && !strcmp(text, last)) {
		*ret = last;
		return 0;
	}
	return bn_parse_copy(&slice->o.arena, text, ret);
}

/* Where an endpoint is: the names of its node and zone. */
static int parse_place(const struct bn_field *endpoint, struct bn_slice_object *slice,
		       const struct bn_slice_endpoint *last, struct bn_slice_endpoint *ret)
{
	struct bn_field node = bn_field_get(endpoint, "nodeName");
	struct bn_field zone = bn_field_get(endpoint, "zone");
	const char *node_name = NULL, *zone_name = NULL;
	int r;

	if (bn_field_name(&node, bn_name_subdomain, &node_name) < 0 ||
	    bn_field_string(&zone, &zone_name) < 0)
		return -EINVAL;
	r = share_copy(slice, node_name, last ? last->node : NULL, &ret->node);
	return r < 0 ? r : share_copy(slice, zone_name, last ? last->zone : NULL, &ret->zone);
}

static int parse_endpoints(const struct bn_field *root, struct bn_slice_object *slice)
{
	struct bn_field list = bn_field_get(root, "endpoints");
	const struct bn_slice_endpoint *last = NULL;
	size_t n;
	int r;

	if (bn_field_array(&list, SLICE_ENDPOINTS_MAX, &n) < 0)
		return -EINVAL;
	slice->endpoints = bn_arena_alloc(&slice->o.arena, n, sizeof(*slice->endpoints));
	if (!slice->endpoints)
		return -ENOMEM;
	for (size_t i = 0; i < n; i++) {
		struct bn_field item = bn_field_item(&list, i);
		struct bn_slice_endpoint *endpoint = &slice->endpoints[i];

		if (bn_field_required(&item) < 0 || bn_field_object(&item) < 0 ||
		    parse_addresses(&item, slice->family, &endpoint->addr) < 0 ||
		    parse_conditions(&item, &endpoint->state) < 0)
			return -EINVAL;
		r = parse_place(&item, slice, last, endpoint);
		if (r == 0)
			r = parse_hints(&item, slice, last ? last->hints : NULL, &endpoint->hints);
		if (r == 0)
			r = parse_target(&item, slice, &endpoint->pod);
		if (r < 0)
			return r;
		last = endpoint;
		slice->n_endpoints++;
	}
	return 0;
}

int bn_parse_slice(const struct bn_field *root, struct bn_slice_object *slice)
{
	static const char *const types[] = {"IPv4", "IPv6", "FQDN", NULL};
	struct bn_field type = bn_field_get(root, "addressType");
	struct bn_field metadata = bn_field_get(root, "metadata");
	struct bn_field labels = bn_field_get(&metadata, "labels");
	struct bn_field service = bn_field_get(&labels, "kubernetes.io/service-name");
	const char *name = NULL;
	int v = 0, r;

	if (bn_field_required(&type) < 0 || bn_field_choice(&type, types, 0, &v) < 0)
		return -EINVAL;
	if (v == 2)
		return bn_field_fail(&type, "FQDN is not supported, use IPv4 or IPv6");
	slice->family = v ? BN_IPV6 : BN_IPV4;
	if (bn_field_string(&service, &name) < 0)
		return -EINVAL;
	if (name && *name && bn_parse_copy(&slice->o.arena, name, &slice->service) < 0)
		return -ENOMEM;
	r = parse_ports(root, slice);
	return r < 0 ? r : parse_endpoints(root, slice);
}
