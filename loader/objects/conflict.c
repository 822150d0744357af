// SPDX-License-Identifier: Apache-2.0
/*
 * No two owners of one thing at the end of a change: addresses of pods, nodes and services, node
 * ports, host ports of this node; and no socket of the host's on a port that comes into use.
 *
 * A node port is one service's, whatever the protocol, as in Kubernetes; between a node port and a
 * host port, or two host ports, the protocol counts.
 */
#include "state.h"

#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>

static bool service_uses(const struct bn_service_object *service, uint32_t port, uint8_t protocol)
{
	for (size_t i = 0; i < service->n_ports; i++) {
		if (service->ports[i].node_port == port && service->ports[i].protocol == protocol)
			return true;
	}
	return service->health_port == port && protocol == IPPROTO_TCP;
}

static const struct bn_host_port *host_port_of(const struct bn_claim *claim)
{
	const struct bn_pod_object *pod = (const struct bn_pod_object *)claim->owner;

	return claim->owner->kind == BN_KIND_POD ? &pod->host_ports[claim->item] : NULL;
}

/* Whether two claims of one key can't both stand. */
static bool excludes(const struct bn_claim *a, const struct bn_claim *b)
{
	const struct bn_host_port *x, *y;

	if (a->owner == b->owner)
		return false;
	if (!a->key.port)
		return true;
	x = host_port_of(a);
	y = host_port_of(b);
	if (x && y)
		return bn_host_port_overlaps(x, y);
	if (x)
		return service_uses((const struct bn_service_object *)b->owner, a->key.port,
				    x->protocol);
	if (y)
		return service_uses((const struct bn_service_object *)a->owner, a->key.port,
				    y->protocol);
	return true;
}

const struct bn_object *bn_conflict_find(struct bn_objects *objects, const struct bn_object *object,
					 const struct bn_claim **ret)
{
	for (size_t i = 0; i < object->n_claims; i++) {
		const struct bn_claim *mine = &object->claims[i], *other;

		if (!mine->owner)
			continue;
		other = bn_index_claimed(objects, &mine->key.addr, mine->key.port);
		for (; other; other = other->next) {
			if (excludes(mine, other)) {
				*ret = mine;
				return other->owner;
			}
		}
	}
	return NULL;
}

const char *bn_conflict_path(const struct bn_claim *claim, char *buf, size_t size)
{
	static const char *const addresses[_BN_KIND_MAX] = {
		[BN_KIND_NODE] = "status.addresses",
		[BN_KIND_POD] = "status.podIPs",
		[BN_KIND_SERVICE] = "spec.clusterIPs",
		[BN_KIND_RUNNING] = "status.podIPs",
	};
	const struct bn_service_object *service;

	if (!claim->key.port) {
		snprintf(buf, size, "%s", addresses[claim->owner->kind]);
		return buf;
	}
	if (claim->owner->kind == BN_KIND_POD)
		return bn_host_port_path(host_port_of(claim), buf, size);
	service = (const struct bn_service_object *)claim->owner;
	for (size_t i = 0; i < service->n_ports; i++) {
		if (service->ports[i].node_port == claim->key.port) {
			snprintf(buf, size, "spec.ports[%zu].nodePort", i);
			return buf;
		}
	}
	snprintf(buf, size, "spec.healthCheckNodePort");
	return buf;
}

/* ---- sockets of the host ---- */

static bool is_free(struct bn_objects *objects, const union bn_addr *addr, uint16_t port,
		    uint8_t protocol)
{
	return objects->config.host_port_free(objects->config.user, addr, port, protocol);
}

bool bn_conflict_node_port_free(struct bn_objects *objects, uint16_t port, uint8_t protocol)
{
	return !objects->config.host_port_free ||
	       (is_free(objects, &bn_addr_any4, port, protocol) &&
		is_free(objects, &bn_addr_any6, port, protocol));
}

static bool host_port_free(struct bn_objects *objects, const struct bn_host_port *port)
{
	bool any = port->families == (BN_HOST_IPV4 | BN_HOST_IPV6);

	return any ? bn_conflict_node_port_free(objects, port->port, port->protocol)
		   : is_free(objects, &port->addr, port->port, port->protocol);
}

/* Whether the pod had the port here before the change, in which nobody took it from it. */
static bool had_host_port(const struct bn_objects *objects, const struct bn_pod_object *pod,
			  const struct bn_pod_object *old, const struct bn_host_port *port)
{
	/* `old` is out of the tables, so its endpoint is the new one's */
	if (!old || (!pod->running && !bn_pod_is_here(objects, old)))
		return false;
	for (size_t i = 0; i < old->n_host_ports; i++) {
		const struct bn_host_port *was = &old->host_ports[i];

		if (was->port == port->port && was->protocol == port->protocol &&
		    was->families == port->families && bn_addr_equal(&was->addr, &port->addr))
			return true;
	}
	return false;
}

static bool service_ports_free(struct bn_objects *objects, const struct bn_service_object *service,
			       const struct bn_service_object *old, uint16_t number)
{
	static const uint8_t protocols[] = {IPPROTO_TCP, IPPROTO_UDP, IPPROTO_SCTP};

	for (size_t i = 0; i < sizeof(protocols); i++) {
		if (service_uses(service, number, protocols[i]) &&
		    !(old && service_uses(old, number, protocols[i])) &&
		    !bn_conflict_node_port_free(objects, number, protocols[i]))
			return false;
	}
	return true;
}

const struct bn_claim *bn_conflict_socket(struct bn_objects *objects,
					  const struct bn_object *object,
					  const struct bn_object *old)
{
	const struct bn_pod_object *pod = (const struct bn_pod_object *)object;

	if (!objects->config.host_port_free)
		return NULL;
	/* a pod of the host's network is who listens */
	if (object->kind == BN_KIND_POD && pod->host_network)
		return NULL;
	for (size_t i = 0; i < object->n_claims; i++) {
		const struct bn_claim *claim = &object->claims[i];

		if (!claim->owner || !claim->key.port)
			continue;
		if (object->kind == BN_KIND_POD
			    ? !had_host_port(objects, pod, (const struct bn_pod_object *)old,
					     host_port_of(claim)) &&
				      !host_port_free(objects, host_port_of(claim))
			    : !service_ports_free(objects, (const struct bn_service_object *)object,
						  (const struct bn_service_object *)old,
						  (uint16_t)claim->key.port))
			return claim;
	}
	return NULL;
}
