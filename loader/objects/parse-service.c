// SPDX-License-Identifier: Apache-2.0
/*
 * Services, validated as the API server does; what it would default or allot is left open here
 * and filled in by allot.c, which knows the other services.
 */
#include "state.h"

#include <errno.h>
#include <string.h>

#define SERVICE_PORTS_MAX 1000
#define SERVICE_IPS_MAX 256

static int parse_target_port(const struct bn_field *port, struct bn_service_port *p,
			     struct bn_arena *arena)
{
	struct bn_field target = bn_field_get(port, "targetPort");
	const char *name = NULL;

	if (json_is_string(target.value)) {
		if (bn_field_name(&target, bn_name_port, &name) < 0)
			return -EINVAL;
		return bn_parse_copy(arena, name, &p->target_name);
	}
	if (target.value && !json_is_integer(target.value))
		return bn_field_fail(&target, "must be a port number or a port's name");
	/* 0 is what Go writes for an unset one */
	if (!target.value || !json_integer_value(target.value)) {
		p->target = p->port;
		return 0;
	}
	return bn_field_port(&target, &p->target);
}

static int parse_port(const struct bn_field *item, struct bn_service_port *p,
		      struct bn_service_object *service)
{
	struct bn_field name = bn_field_get(item, "name");
	struct bn_field number = bn_field_get(item, "port");
	struct bn_field protocol = bn_field_get(item, "protocol");
	struct bn_field node = bn_field_get(item, "nodePort");
	struct bn_field app = bn_field_get(item, "appProtocol");
	const char *text = NULL;
	int64_t node_port = 0;

	if (bn_field_required(item) < 0 || bn_field_object(item) < 0 ||
	    bn_field_string(&name, &text) < 0)
		return -EINVAL;
	if (text && *text && bn_field_name(&name, bn_name_label, &text) < 0)
		return -EINVAL;
	if (bn_parse_copy(&service->o.arena, text ? text : "", &p->name) < 0)
		return -ENOMEM;
	if (bn_field_required(&number) < 0 || bn_field_port(&number, &p->port) < 0 ||
	    bn_field_protocol(&protocol, &p->protocol) < 0 || bn_field_string(&app, &text) < 0)
		return -EINVAL;
	if (json_is_integer(node.value) && !json_integer_value(node.value))
		node.value = NULL;
	if (bn_field_int(&node, 1, 65535, 0, &node_port) < 0)
		return -EINVAL;
	if (node_port && service->type != BN_TYPE_NODE_PORT &&
	    service->type != BN_TYPE_LOAD_BALANCER)
		return bn_field_fail(&node, "needs the type NodePort or LoadBalancer");
	p->node_port = (uint16_t)node_port;
	return parse_target_port(item, p, &service->o.arena);
}

/* The n ports before `port` must differ from it. */
static int check_distinct(const struct bn_field *item, const struct bn_service_port *ports,
			  size_t n, const struct bn_service_port *port)
{
	struct bn_field name = bn_field_get(item, "name");
	struct bn_field number = bn_field_get(item, "port");
	struct bn_field node = bn_field_get(item, "nodePort");

	for (size_t i = 0; i < n; i++) {
		if (*port->name && !strcmp(ports[i].name, port->name))
			return bn_field_fail(&name, "duplicate port name \"%s\"", port->name);
		if (ports[i].protocol != port->protocol)
			continue;
		if (ports[i].port == port->port)
			return bn_field_fail(&number,
					     "duplicate of spec.ports[%zu]: same port and "
					     "protocol",
					     i);
		if (port->node_port && ports[i].node_port == port->node_port)
			return bn_field_fail(&node, "duplicate of spec.ports[%zu].nodePort", i);
	}
	return 0;
}

static int parse_ports(const struct bn_field *spec, struct bn_service_object *service)
{
	struct bn_field list = bn_field_get(spec, "ports");
	size_t n;
	int r;

	if (bn_field_array(&list, SERVICE_PORTS_MAX, &n) < 0)
		return -EINVAL;
	if (!n && !service->headless && service->type != BN_TYPE_EXTERNAL_NAME)
		return bn_field_fail(&list, "is required");
	service->ports = bn_arena_alloc(&service->o.arena, n, sizeof(*service->ports));
	if (!service->ports)
		return -ENOMEM;
	for (size_t i = 0; i < n; i++) {
		struct bn_field item = bn_field_item(&list, i);
		struct bn_field name = bn_field_get(&item, "name");
		struct bn_service_port *port = &service->ports[i];

		r = parse_port(&item, port, service);
		if (r < 0)
			return r;
		if (n > 1 && !*port->name)
			return bn_field_fail(&name, "is required where there are several ports");
		if (check_distinct(&item, service->ports, i, port) < 0)
			return -EINVAL;
		service->n_ports++;
	}
	return 0;
}

static int parse_families(const struct bn_field *spec, struct bn_service_object *service)
{
	static const char *const policies[] = {"SingleStack", "PreferDualStack", "RequireDualStack",
					       NULL};
	static const char *const families[] = {"IPv4", "IPv6", NULL};
	struct bn_field policy = bn_field_get(spec, "ipFamilyPolicy");
	struct bn_field list = bn_field_get(spec, "ipFamilies");
	int v = -1;
	size_t n;

	if (bn_field_choice(&policy, policies, -1, &v) < 0 || bn_field_array(&list, 2, &n) < 0)
		return -EINVAL;
	service->policy = (uint8_t)(v + 1);
	for (size_t i = 0; i < n; i++) {
		struct bn_field item = bn_field_item(&list, i);
		int family = 0;

		if (bn_field_required(&item) < 0 ||
		    bn_field_choice(&item, families, 0, &family) < 0)
			return -EINVAL;
		service->families[i] = family ? BN_IPV6 : BN_IPV4;
		if (i && service->families[0] == service->families[1])
			return bn_field_fail(&item, "duplicate family");
		service->n_families++;
	}
	if (n == 2 && service->policy == BN_FAMILY_SINGLE)
		return bn_field_fail(&list, "two families need the ipFamilyPolicy PreferDualStack "
					    "or RequireDualStack");
	return 0;
}

static bool is_none(const struct bn_field *field)
{
	return json_is_string(field->value) && !strcmp(json_string_value(field->value), "None");
}

/* One given cluster IP, whose family must be the one that ipFamilies has in its place. */
static int add_cluster_ip(const struct bn_field *field, struct bn_service_object *service)
{
	size_t i = service->n_cluster_ips;
	int family = 0;

	if (bn_field_address(field, &service->cluster_ips[i], &family) < 0)
		return -EINVAL;
	if (i < service->n_families && service->families[i] != family)
		return bn_field_fail(field, "is an IPv%d address, spec.ipFamilies[%zu] is IPv%d",
				     family, i, service->families[i]);
	if (i && bn_addr_family(&service->cluster_ips[0]) == family)
		return bn_field_fail(field, "is a second IPv%d address", family);
	service->n_cluster_ips++;
	service->n_given_ips++;
	return 0;
}

static int parse_cluster_ips(const struct bn_field *spec, struct bn_service_object *service)
{
	struct bn_field one = bn_field_get(spec, "clusterIP");
	struct bn_field list = bn_field_get(spec, "clusterIPs");
	const char *text = NULL;
	union bn_addr addr;
	int family = 0;
	size_t n;

	if (bn_field_string(&one, &text) < 0 || bn_field_array(&list, 2, &n) < 0)
		return -EINVAL;
	if (text && !*text)
		text = NULL;
	if (service->type == BN_TYPE_EXTERNAL_NAME) {
		if ((text && !is_none(&one)) || n)
			return bn_field_fail(text ? &one : &list,
					     "must not be set for the type ExternalName");
		return 0;
	}
	for (size_t i = 0; i < n; i++) {
		struct bn_field item = bn_field_item(&list, i);

		if (is_none(&item)) {
			if (n > 1)
				return bn_field_fail(&item, "None must stand alone");
			service->headless = true;
		} else if (add_cluster_ip(&item, service) < 0) {
			return -EINVAL;
		}
	}
	if (n == 2 && service->policy == BN_FAMILY_SINGLE)
		return bn_field_fail(&list, "two addresses need the ipFamilyPolicy PreferDualStack "
					    "or RequireDualStack");
	if (!text)
		return 0;
	if (is_none(&one)) {
		if (service->n_cluster_ips)
			return bn_field_fail(&one, "None is not spec.clusterIPs[0]");
		service->headless = true;
		return 0;
	}
	if (service->headless)
		return bn_field_fail(&one, "%.64s is not spec.clusterIPs[0]", text);
	if (!n)
		return add_cluster_ip(&one, service);
	if (bn_field_address(&one, &addr, &family) < 0)
		return -EINVAL;
	if (!bn_addr_equal(&addr, &service->cluster_ips[0]))
		return bn_field_fail(&one, "%.64s is not spec.clusterIPs[0]", text);
	return 0;
}

/*
 * ipMode Proxy: what is sent there is to pass the balancer, so it is no frontend here (KEP-1860).
 */
static int parse_ip_mode(const struct bn_field *ingress, bool *ret_proxied)
{
	static const char *const names[] = {"VIP", "Proxy", NULL};
	struct bn_field mode = bn_field_get(ingress, "ipMode");
	int v = 0;

	if (bn_field_choice(&mode, names, 0, &v) < 0)
		return -EINVAL;
	*ret_proxied = v == 1;
	return 0;
}

static int parse_addresses(const struct bn_field *list, const char *key, struct bn_arena *arena,
			   union bn_addr **ret, uint16_t *ret_n)
{
	int family = 0;
	size_t n;

	if (bn_field_array(list, SERVICE_IPS_MAX, &n) < 0)
		return -EINVAL;
	if (!n)
		return 0;
	*ret = bn_arena_alloc(arena, n, sizeof(**ret));
	if (!*ret)
		return -ENOMEM;
	for (size_t i = 0; i < n; i++) {
		struct bn_field item = bn_field_item(list, i);
		struct bn_field ip = key && json_is_object(item.value) ? bn_field_get(&item, key)
								       : item;
		bool proxied = false;

		if (key && (bn_field_required(&item) < 0 || bn_field_object(&item) < 0))
			return -EINVAL;
		if (key && !ip.value)
			continue; /* an ingress by host name */
		if (key && parse_ip_mode(&item, &proxied) < 0)
			return -EINVAL;
		if (bn_field_address(&ip, &(*ret)[*ret_n], &family) < 0)
			return -EINVAL;
		*ret_n += !proxied;
	}
	return 0;
}

static int parse_affinity(const struct bn_field *spec, struct bn_service_object *service)
{
	static const char *const names[] = {"None", "ClientIP", NULL};
	struct bn_field affinity = bn_field_get(spec, "sessionAffinity");
	struct bn_field config = bn_field_get(spec, "sessionAffinityConfig");
	struct bn_field client = bn_field_get(&config, "clientIP");
	struct bn_field timeout = bn_field_get(&client, "timeoutSeconds");
	int64_t seconds = 0;
	int v = 0;

	if (bn_field_choice(&affinity, names, 0, &v) < 0 || bn_field_object(&config) < 0 ||
	    bn_field_object(&client) < 0 || bn_field_int(&timeout, 1, 86400, 10800, &seconds) < 0)
		return -EINVAL;
	if (!v && config.value)
		return bn_field_fail(&config, "needs the sessionAffinity ClientIP");
	service->affinity_seconds = v ? (uint32_t)seconds : 0;
	return 0;
}

static int parse_traffic(const struct bn_field *spec, struct bn_service_object *service)
{
	static const char *const policies[] = {"Cluster", "Local", NULL};
	bool external = service->type == BN_TYPE_NODE_PORT ||
			service->type == BN_TYPE_LOAD_BALANCER || service->n_external_ips;
	static const char *const distributions[] = {"PreferClose", "PreferSameZone",
						    "PreferSameNode", NULL};
	struct bn_field distribution = bn_field_get(spec, "trafficDistribution");
	struct bn_field in = bn_field_get(spec, "internalTrafficPolicy");
	struct bn_field ex = bn_field_get(spec, "externalTrafficPolicy");
	struct bn_field health = bn_field_get(spec, "healthCheckNodePort");
	struct bn_field nodes = bn_field_get(spec, "allocateLoadBalancerNodePorts");
	int64_t port = 0;
	bool wanted;
	int v = 0;

	if (bn_field_choice(&distribution, distributions, -1, &v) < 0)
		return -EINVAL;
	service->distribution = (uint8_t)(v + 1);
	if (bn_field_choice(&in, policies, 0, &v) < 0)
		return -EINVAL;
	service->internal_local = v;
	if (json_string_length(ex.value) == 0 && json_is_string(ex.value))
		ex.value = NULL;
	if (bn_field_choice(&ex, policies, 0, &v) < 0)
		return -EINVAL;
	if (ex.value && !external)
		return bn_field_fail(&ex,
				     "needs the type NodePort or LoadBalancer, or externalIPs");
	service->external_local = v;
	if (json_is_integer(health.value) && !json_integer_value(health.value))
		health.value = NULL;
	if (bn_field_int(&health, 1, 65535, 0, &port) < 0)
		return -EINVAL;
	if (port && (service->type != BN_TYPE_LOAD_BALANCER || !service->external_local))
		return bn_field_fail(&health, "needs the type LoadBalancer and the "
					      "externalTrafficPolicy Local");
	service->health_port = (uint16_t)port;
	if (bn_field_bool(&nodes, true, &wanted) < 0)
		return -EINVAL;
	if (nodes.value && service->type != BN_TYPE_LOAD_BALANCER)
		return bn_field_fail(&nodes, "needs the type LoadBalancer");
	service->no_node_ports = !wanted;
	return 0;
}

static int parse_load_balancer(const struct bn_field *root, const struct bn_field *spec,
			       struct bn_service_object *service)
{
	struct bn_field ip = bn_field_get(spec, "loadBalancerIP");
	struct bn_field ranges = bn_field_get(spec, "loadBalancerSourceRanges");
	struct bn_field status = bn_field_get(root, "status");
	struct bn_field balancer = bn_field_get(&status, "loadBalancer");
	struct bn_field ingress = bn_field_get(&balancer, "ingress");
	const char *text = NULL;
	union bn_addr addr;
	int family = 0;
	size_t n;

	if (bn_field_string(&ip, &text) < 0)
		return -EINVAL;
	if (text && *text && bn_field_address(&ip, &addr, &family) < 0)
		return -EINVAL;
	if (bn_field_array(&ranges, SERVICE_IPS_MAX, &n) < 0)
		return -EINVAL;
	if (n && service->type != BN_TYPE_LOAD_BALANCER)
		return bn_field_fail(&ranges, "needs the type LoadBalancer");
	service->source_ranges =
		bn_arena_alloc(&service->o.arena, n, sizeof(*service->source_ranges));
	if (!service->source_ranges)
		return -ENOMEM;
	for (size_t i = 0; i < n; i++) {
		struct bn_field item = bn_field_item(&ranges, i);

		if (bn_field_required(&item) < 0 || bn_field_string(&item, &text) < 0)
			return -EINVAL;
		if (bn_cidr_parse(text, &service->source_ranges[i]) < 0)
			return bn_field_fail(&item, "\"%.64s\" is not a CIDR", text);
		service->n_source_ranges++;
	}
	if (bn_field_object(&status) < 0 || bn_field_object(&balancer) < 0)
		return -EINVAL;
	return parse_addresses(&ingress, "ip", &service->o.arena, &service->ingress_ips,
			       &service->n_ingress_ips);
}

static int check_external_name(const struct bn_field *spec, const struct bn_service_object *service)
{
	struct bn_field name = bn_field_get(spec, "externalName");
	struct bn_field families = bn_field_get(spec, "ipFamilies");
	struct bn_field policy = bn_field_get(spec, "ipFamilyPolicy");
	const char *text = NULL;

	if (service->type != BN_TYPE_EXTERNAL_NAME)
		return bn_field_string(&name, &text);
	if (bn_field_required(&name) < 0 || bn_field_name(&name, bn_name_subdomain, &text) < 0)
		return -EINVAL;
	if (families.value)
		return bn_field_fail(&families, "must not be set for the type ExternalName");
	if (policy.value)
		return bn_field_fail(&policy, "must not be set for the type ExternalName");
	return 0;
}

int bn_parse_service(const struct bn_field *root, struct bn_service_object *service)
{
	static const char *const types[] = {"ClusterIP", "NodePort", "LoadBalancer", "ExternalName",
					    NULL};
	struct bn_field spec = bn_field_get(root, "spec");
	struct bn_field type = bn_field_get(&spec, "type");
	struct bn_field selector = bn_field_get(&spec, "selector");
	struct bn_field publish = bn_field_get(&spec, "publishNotReadyAddresses");
	struct bn_field external = bn_field_get(&spec, "externalIPs");
	int v = 0, r;

	if (bn_field_required(&spec) < 0 || bn_field_object(&spec) < 0 ||
	    bn_field_choice(&type, types, BN_TYPE_CLUSTER_IP, &v) < 0)
		return -EINVAL;
	service->type = (uint8_t)v;
	if (parse_families(&spec, service) < 0 || parse_cluster_ips(&spec, service) < 0 ||
	    check_external_name(&spec, service) < 0)
		return -EINVAL;
	if (service->headless && service->type != BN_TYPE_CLUSTER_IP) {
		struct bn_field ip = bn_field_get(&spec, "clusterIP");

		return bn_field_fail(&ip, "None needs the type ClusterIP");
	}
	r = parse_ports(&spec, service);
	if (r == 0)
		r = bn_parse_labels(&selector, &service->o.arena, &service->selector,
				    &service->n_selector);
	if (r == 0)
		r = bn_field_bool(&publish, false, &service->publish_not_ready);
	if (r == 0)
		r = parse_addresses(&external, NULL, &service->o.arena, &service->external_ips,
				    &service->n_external_ips);
	if (r == 0)
		r = parse_affinity(&spec, service);
	if (r == 0)
		r = parse_traffic(&spec, service);
	if (r == 0)
		r = parse_load_balancer(root, &spec, service);
	if (r == 0)
		r = bn_parse_weight_groups(root, service);
	if (r < 0)
		return r;
	/* room for two addresses, every node port and the health check's; allot.c fills it */
	service->o.claims = bn_arena_alloc(&service->o.arena, 3u + service->n_ports,
					   sizeof(*service->o.claims));
	return service->o.claims ? 0 : -ENOMEM;
}
