// SPDX-License-Identifier: Apache-2.0
/*
 * Pods and Nodes. Of a Pod, what decides whether it is an endpoint counts: addresses, named
 * ports, readiness, phase. Containers may be missing, since standalone nobody runs them.
 */
#include "state.h"

#include <errno.h>
#include <string.h>

#define POD_CONTAINERS_MAX 1000
#define POD_PORTS_MAX 1000
#define POD_CONDITIONS_MAX 1000
#define NODE_ADDRESSES_MAX 64

/* Claims for addresses and host ports; what owns none has none. */
static int claim(struct bn_object *object, const union bn_addr *ips, size_t n,
		 const struct bn_host_port *ports, size_t n_ports)
{
	if (!(n + n_ports))
		return 0;
	object->claims = bn_arena_alloc(&object->arena, n + n_ports, sizeof(*object->claims));
	if (!object->claims)
		return -ENOMEM;
	for (size_t i = 0; i < n; i++)
		object->claims[i].key.addr = ips[i];
	for (size_t i = 0; i < n_ports; i++) {
		object->claims[n + i].key.port = ports[i].port;
		object->claims[n + i].item = (uint16_t)i;
	}
	object->n_claims = (uint16_t)(n + n_ports);
	return 0;
}

/* Addresses that a host port may be bound to: any of the host's, loopback and wildcard too. */
static int parse_host_ip(const struct bn_field *field, struct bn_host_port *ret)
{
	const char *text = NULL;
	int family;

	if (bn_field_string(field, &text) < 0)
		return -EINVAL;
	ret->families = BN_HOST_IPV4 | BN_HOST_IPV6;
	if (!text || !*text)
		return 0;
	if (bn_addr_parse(text, &ret->addr, &family) < 0)
		return bn_field_fail(field, "\"%.64s\" is not an IPv4 or IPv6 address", text);
	ret->families = family == BN_IPV4 ? BN_HOST_IPV4 : BN_HOST_IPV6;
	return 0;
}

/* One entry of a container's ports; ret->name is borrowed from the tree. */
static int parse_port(const struct bn_field *port, struct bn_pod_port *ret,
		      struct bn_host_port *ret_host)
{
	struct bn_field number = bn_field_get(port, "containerPort");
	struct bn_field protocol = bn_field_get(port, "protocol");
	struct bn_field host_port = bn_field_get(port, "hostPort");
	struct bn_field host_ip = bn_field_get(port, "hostIP");
	struct bn_field name = bn_field_get(port, "name");
	int64_t host;

	if (bn_field_required(port) < 0 || bn_field_object(port) < 0 ||
	    bn_field_required(&number) < 0 || bn_field_port(&number, &ret->port) < 0 ||
	    bn_field_protocol(&protocol, &ret->protocol) < 0 ||
	    bn_field_int(&host_port, 0, 65535, 0, &host) < 0 ||
	    parse_host_ip(&host_ip, ret_host) < 0 ||
	    bn_field_name(&name, bn_name_port, &ret->name) < 0)
		return -EINVAL;
	ret_host->port = (uint16_t)host;
	ret_host->target = ret->port;
	ret_host->protocol = ret->protocol;
	return 0;
}

/* A pod of the host's network holds each of its ports there, and none by another number. */
static int keep_host_port(const struct bn_field *port, const struct bn_host_port *p,
			  struct bn_pod_object *pod)
{
	struct bn_field field = bn_field_get(port, "hostPort");
	char path[96];

	if (pod->host_network && p->port && p->port != p->target)
		return bn_field_fail(&field,
				     "must be the containerPort, %u, in a Pod of the host's "
				     "network",
				     p->target);
	if (!p->port && !pod->host_network)
		return 0;
	pod->host_ports[pod->n_host_ports] = *p;
	pod->host_ports[pod->n_host_ports].port = p->port ? p->port : p->target;
	for (size_t i = 0; i < pod->n_host_ports; i++) {
		if (!bn_host_port_overlaps(&pod->host_ports[i],
					   &pod->host_ports[pod->n_host_ports]))
			continue;
		if (!p->port)
			return 0; /* implied ones may repeat */
		return bn_field_fail(&field, "duplicate of %s",
				     bn_host_port_path(&pod->host_ports[i], path, sizeof(path)));
	}
	pod->n_host_ports++;
	return 0;
}

/* Keeps the ports of one container that have a name or are the host's; there is room. */
static int keep_ports(const struct bn_field *ports, size_t n, bool init, size_t container,
		      struct bn_pod_object *pod)
{
	size_t first = pod->n_ports;

	for (size_t i = 0; i < n; i++) {
		struct bn_field port = bn_field_item(ports, i);
		struct bn_field name = bn_field_get(&port, "name");
		struct bn_pod_port p = {0};
		struct bn_host_port host = {
			.init = init,
			.container = (uint16_t)container,
			.item = (uint16_t)i,
		};

		if (parse_port(&port, &p, &host) < 0 || keep_host_port(&port, &host, pod) < 0)
			return -EINVAL;
		if (!p.name)
			continue;
		for (size_t k = first; k < pod->n_ports; k++) {
			if (!strcmp(pod->ports[k].name, p.name))
				return bn_field_fail(&name, "duplicate port name \"%s\"", p.name);
		}
		if (bn_parse_copy(&pod->o.arena, p.name, &p.name) < 0)
			return -ENOMEM;
		pod->ports[pod->n_ports++] = p;
	}
	return 0;
}

static size_t count_ports(json_t *containers)
{
	json_t *container;
	size_t i, n = 0;

	json_array_foreach(containers, i, container)
		n += json_array_size(json_object_get(container, "ports"));
	return n;
}

/* Init containers count while they run beside the others: with restartPolicy Always. */
static int parse_containers(const struct bn_field *list, bool init, struct bn_pod_object *pod)
{
	size_t n, n_ports;
	int r;

	if (bn_field_array(list, POD_CONTAINERS_MAX, &n) < 0)
		return -EINVAL;
	for (size_t i = 0; i < n; i++) {
		struct bn_field container = bn_field_item(list, i);
		struct bn_field name = bn_field_get(&container, "name");
		struct bn_field restart = bn_field_get(&container, "restartPolicy");
		struct bn_field ports = bn_field_get(&container, "ports");
		const char *text = NULL, *policy = NULL;

		if (bn_field_required(&container) < 0 || bn_field_object(&container) < 0 ||
		    bn_field_name(&name, bn_name_label, &text) < 0 ||
		    bn_field_string(&restart, &policy) < 0 ||
		    bn_field_array(&ports, POD_PORTS_MAX, &n_ports) < 0)
			return -EINVAL;
		if (init && (!policy || strcmp(policy, "Always")))
			continue;
		r = keep_ports(&ports, n_ports, init, i, pod);
		if (r < 0)
			return r;
	}
	return 0;
}

static int parse_spec(const struct bn_field *root, struct bn_pod_object *pod)
{
	struct bn_field spec = bn_field_get(root, "spec");
	struct bn_field node = bn_field_get(&spec, "nodeName");
	struct bn_field host = bn_field_get(&spec, "hostNetwork");
	struct bn_field containers = bn_field_get(&spec, "containers");
	struct bn_field inits = bn_field_get(&spec, "initContainers");
	const char *name = NULL;
	size_t n;
	int r;

	if (bn_field_object(&spec) < 0 || bn_field_bool(&host, false, &pod->host_network) < 0 ||
	    bn_field_string(&node, &name) < 0)
		return -EINVAL;
	if (name && *name && bn_field_name(&node, bn_name_subdomain, &name) < 0)
		return -EINVAL;
	if (name && *name && bn_parse_copy(&pod->o.arena, name, &pod->node) < 0)
		return -ENOMEM;
	n = count_ports(containers.value) + count_ports(inits.value);
	if (n > POD_PORTS_MAX)
		return bn_field_fail(&containers, "have %zu ports, %d are the most", n,
				     POD_PORTS_MAX);
	pod->ports = bn_arena_alloc(&pod->o.arena, n, sizeof(*pod->ports));
	pod->host_ports = bn_arena_alloc(&pod->o.arena, n, sizeof(*pod->host_ports));
	if (!pod->ports || !pod->host_ports)
		return -ENOMEM;
	r = parse_containers(&containers, false, pod);
	return r < 0 ? r : parse_containers(&inits, true, pod);
}

/* podIP is podIPs[0] where both are given. */
static int parse_pod_ips(const struct bn_field *status, struct bn_pod_object *pod)
{
	struct bn_field one = bn_field_get(status, "podIP");
	struct bn_field list = bn_field_get(status, "podIPs");
	const char *text = NULL;
	int first = 0, family = 0;
	union bn_addr addr;
	size_t n;

	if (bn_field_array(&list, 2, &n) < 0)
		return -EINVAL;
	for (size_t i = 0; i < n; i++) {
		struct bn_field item = bn_field_item(&list, i);
		struct bn_field ip = bn_field_get(&item, "ip");

		if (bn_field_required(&item) < 0 || bn_field_object(&item) < 0 ||
		    bn_field_address(&ip, &pod->ips[i], &family) < 0)
			return -EINVAL;
		if (i && family == first)
			return bn_field_fail(&ip,
					     "is a second IPv%d address, one of each family "
					     "is allowed",
					     family);
		first = family;
		pod->n_ips++;
	}
	if (bn_field_string(&one, &text) < 0)
		return -EINVAL;
	if (!text || !*text)
		return 0;
	if (bn_field_address(&one, &addr, &family) < 0)
		return -EINVAL;
	if (n && !bn_addr_equal(&addr, &pod->ips[0]))
		return bn_field_fail(&one, "%s is not status.podIPs[0].ip", text);
	pod->ips[0] = addr;
	pod->n_ips = (uint8_t)(n ? n : 1);
	return 0;
}

static int parse_ready(const struct bn_field *status, bool *ret)
{
	struct bn_field list = bn_field_get(status, "conditions");
	size_t n;

	*ret = true;
	if (bn_field_array(&list, POD_CONDITIONS_MAX, &n) < 0)
		return -EINVAL;
	for (size_t i = 0; i < n; i++) {
		struct bn_field condition = bn_field_item(&list, i);
		struct bn_field type = bn_field_get(&condition, "type");
		struct bn_field value = bn_field_get(&condition, "status");
		static const char *const values[] = {"True", "False", "Unknown", NULL};
		const char *name = NULL;
		int v = 0;

		if (bn_field_required(&condition) < 0 || bn_field_object(&condition) < 0 ||
		    bn_field_required(&type) < 0 || bn_field_string(&type, &name) < 0 ||
		    bn_field_required(&value) < 0 || bn_field_choice(&value, values, 0, &v) < 0)
			return -EINVAL;
		if (!strcmp(name, "Ready"))
			*ret = v == 0;
	}
	return 0;
}

static int parse_status(const struct bn_field *root, struct bn_pod_object *pod)
{
	static const char *const phases[] = {"Pending",   "Running", "Unknown",
					     "Succeeded", "Failed",  NULL};
	struct bn_field status = bn_field_get(root, "status");
	struct bn_field phase = bn_field_get(&status, "phase");
	int v = 0;

	if (bn_field_object(&status) < 0 || bn_field_choice(&phase, phases, 0, &v) < 0)
		return -EINVAL;
	pod->finished = v >= 3;
	if (parse_pod_ips(&status, pod) < 0)
		return -EINVAL;
	return parse_ready(&status, &pod->ready);
}

int bn_parse_pod(const struct bn_field *root, struct bn_pod_object *pod)
{
	struct bn_field metadata = bn_field_get(root, "metadata");
	struct bn_field deletion = bn_field_get(&metadata, "deletionTimestamp");
	const char *text = NULL;
	int r;

	if (bn_field_string(&deletion, &text) < 0)
		return -EINVAL;
	pod->terminating = text;
	pod->weight = 1;
	if (bn_parse_weight(root, &pod->weight) < 0)
		return -EINVAL;
	r = parse_spec(root, pod);
	if (r == 0)
		r = parse_status(root, pod);
	if (r < 0)
		return r;
	if (pod->n_labels) {
		pod->links = bn_arena_alloc(&pod->o.arena, pod->n_labels, sizeof(*pod->links));
		if (!pod->links)
			return -ENOMEM;
	}
	/* what a finished pod had may be another's by now */
	if (pod->finished)
		pod->n_host_ports = 0;
	return claim(&pod->o, pod->ips, pod->host_network || pod->finished ? 0 : pod->n_ips,
		     pod->host_ports, pod->n_host_ports);
}

int bn_parse_node(const struct bn_field *root, struct bn_node_object *node)
{
	struct bn_field metadata = bn_field_get(root, "metadata");
	struct bn_field labels = bn_field_get(&metadata, "labels");
	struct bn_field zone = bn_field_get(&labels, "topology.kubernetes.io/zone");
	struct bn_field status = bn_field_get(root, "status");
	struct bn_field list = bn_field_get(&status, "addresses");
	const char *name = NULL;
	size_t n;

	if (bn_field_string(&zone, &name) < 0)
		return -EINVAL;
	if (name && *name && bn_parse_copy(&node->o.arena, name, &node->zone) < 0)
		return -ENOMEM;

	if (bn_field_object(&status) < 0 || bn_field_array(&list, NODE_ADDRESSES_MAX, &n) < 0)
		return -EINVAL;
	node->ips = bn_arena_alloc(&node->o.arena, n, sizeof(*node->ips));
	if (!node->ips)
		return -ENOMEM;
	for (size_t i = 0; i < n; i++) {
		struct bn_field item = bn_field_item(&list, i);
		struct bn_field type = bn_field_get(&item, "type");
		struct bn_field field = bn_field_get(&item, "address");
		const char *kind = NULL, *text = NULL;
		union bn_addr addr;
		bool twice = false;
		int family;

		if (bn_field_required(&item) < 0 || bn_field_object(&item) < 0 ||
		    bn_field_required(&type) < 0 || bn_field_string(&type, &kind) < 0 ||
		    bn_field_required(&field) < 0 || bn_field_string(&field, &text) < 0)
			return -EINVAL;
		if (strcmp(kind, "InternalIP") && strcmp(kind, "ExternalIP"))
			continue;
		if (bn_field_address(&field, &addr, &family) < 0)
			return -EINVAL;
		if (strcmp(kind, "InternalIP"))
			continue;
		for (size_t k = 0; k < node->n_ips; k++)
			twice = twice || bn_addr_equal(&node->ips[k], &addr);
		if (!twice)
			node->ips[node->n_ips++] = addr;
	}
	return claim(&node->o, node->ips, node->n_ips, NULL, 0);
}
