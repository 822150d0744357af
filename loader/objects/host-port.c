// SPDX-License-Identifier: Apache-2.0
/*
 * Host ports of pods: a port of this node's that leads to one pod. They are frontends of a service
 * of their own, so that everything past the objects has one way to look at a port.
 *
 * Which two exclude each other follows the scheduler's HostPortInfo, taken per family: no hostIP is
 * every address, 0.0.0.0 every IPv4 one, :: every IPv6 one.
 */
#include "state.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

static bool is_any(const union bn_addr *addr)
{
	return bn_addr_equal(addr, &bn_addr_any4) || bn_addr_equal(addr, &bn_addr_any6);
}

bool bn_pod_is_here(const struct bn_objects *objects, const struct bn_pod_object *pod)
{
	return pod->running || (pod->node && !strcmp(pod->node, objects->config.node_name));
}

bool bn_host_port_overlaps(const struct bn_host_port *a, const struct bn_host_port *b)
{
	if (a->port != b->port || a->protocol != b->protocol || !(a->families & b->families))
		return false;
	return is_any(&a->addr) || is_any(&b->addr) || bn_addr_equal(&a->addr, &b->addr);
}

const char *bn_host_port_path(const struct bn_host_port *port, char *buf, size_t size)
{
	snprintf(buf, size, "spec.%s[%u].ports[%u].hostPort",
		 port->init ? "initContainers" : "containers", port->container, port->item);
	return buf;
}

static int add(struct bn_objects *objects, struct bn_arena *arena, const struct bn_pod_object *pod,
	       const struct bn_host_port *port, const union bn_addr *ip,
	       struct bn_frontend_spec *ret)
{
	bool v4 = bn_addr_is_v4(ip);
	struct bn_backend_spec *backend = bn_arena_alloc(arena, 1, sizeof(*backend));

	if (!backend)
		return -ENOMEM;
	*backend = (struct bn_backend_spec){
		.addr = *ip,
		.port = port->target,
		.weight = 1,
		.local_weight = 1,
		/* whoever publishes a port wants it reached, ready or not */
		.state = pod->terminating ? BN_BACKEND_TERMINATING : BN_BACKEND_ACTIVE,
		.use = BN_USE_CLUSTER | BN_USE_LOCAL,
		.local = true,
		.node = objects->config.node_name,
		.pod = pod->o.name,
		.zone = bn_index_zone(objects, objects->config.node_name),
	};
	*ret = (struct bn_frontend_spec){
		.addr = !is_any(&port->addr) ? port->addr
			: v4                 ? bn_addr_any4
					     : bn_addr_any6,
		.port = port->port,
		.protocol = port->protocol,
		.kind = BN_FRONTEND_HOST_PORT,
		.backends = backend,
		.n_backends = 1,
	};
	return 0;
}

int bn_build_host_ports(struct bn_objects *objects, struct bn_arena *arena,
			const struct bn_pod_object *pod, struct bn_service_spec *ret)
{
	struct bn_frontend_spec *frontends;
	const union bn_addr *ips;
	size_t n = bn_pod_ips(pod, &ips);
	int r;

	frontends = bn_arena_alloc(arena, 2 * pod->n_host_ports, sizeof(*frontends));
	if (!frontends)
		return -ENOMEM;
	*ret = (struct bn_service_spec){
		.namespace = pod->o.namespace,
		.name = pod->ref->key + strlen(pod->ref->key) + 1,
		.type = "HostPort",
		.frontends = frontends,
	};
	for (size_t i = 0; i < pod->n_host_ports; i++) {
		uint8_t left = pod->host_ports[i].families;

		for (size_t k = 0; k < n; k++) {
			uint8_t family = bn_addr_is_v4(&ips[k]) ? BN_HOST_IPV4 : BN_HOST_IPV6;

			if (!(left & family))
				continue; /* the first address of a family counts */
			left &= (uint8_t)~family;
			r = add(objects, arena, pod, &pod->host_ports[i], &ips[k],
				&frontends[ret->n_frontends++]);
			if (r < 0)
				return r;
		}
	}
	return 0;
}
