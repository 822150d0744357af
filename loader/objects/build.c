// SPDX-License-Identifier: Apache-2.0
/*
 * From objects to what the datapath is told. Slices that are given for a service win; without
 * any, its endpoints come from the pods that its selector matches. Nothing of this is kept:
 * a spec is built when it is asked for and lives in the caller's arena.
 */
#include "state.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* The kinds of frontends that the datapath is given. */
#define BUILD_FRONTENDS (1u << BN_FRONTEND_CLUSTER_IP)

struct backends {
	struct bn_backend_spec *v;
	size_t n;
};

struct builder {
	struct bn_objects *objects;
	struct bn_arena *arena;
	const struct bn_service_object *service;
	const struct bn_service_port *port; /* at hand */
	int family;                         /* at hand */
	struct backends backends;           /* of port and family at hand */
	struct bn_frontend_spec *frontends;
	size_t n_frontends;
	size_t room; /* for backends */
};

uint16_t bn_build_target(const struct bn_service_port *port, const struct bn_pod_object *pod)
{
	if (!port->target_name)
		return port->target;
	for (size_t i = 0; i < pod->n_ports; i++) {
		if (pod->ports[i].protocol == port->protocol &&
		    !strcmp(pod->ports[i].name, port->target_name))
			return pod->ports[i].port;
	}
	return 0;
}

uint8_t bn_build_pod_state(const struct bn_service_object *service, const struct bn_pod_object *pod)
{
	if ((pod->ready && !pod->terminating) || service->publish_not_ready)
		return BN_BACKEND_ACTIVE;
	return pod->ready ? BN_BACKEND_TERMINATING : BN_BACKEND_NOT_READY;
}

static int count_pod(void *user, const struct bn_pod_object *pod)
{
	struct builder *b = user;

	b->room++;
	return 0;
}

static int add_pod(void *user, const struct bn_pod_object *pod)
{
	struct builder *b = user;
	uint16_t target = bn_build_target(b->port, pod);
	const union bn_addr *ips;
	size_t n = bn_pod_ips(pod, &ips);

	if (pod->finished || !target)
		return 0;
	for (size_t i = 0; i < n; i++) {
		if (bn_addr_family(&ips[i]) != b->family)
			continue;
		b->backends.v[b->backends.n++] = (struct bn_backend_spec){
			.addr = ips[i],
			.port = target,
			.weight = 1,
			.state = bn_build_pod_state(b->service, pod),
			.node = pod->running ? b->objects->config.node_name : pod->node,
			.pod = pod->o.name,
		};
		return 0; /* the first address of a family counts */
	}
	return 0;
}

static void add_slice(struct builder *b, const struct bn_slice_object *slice)
{
	for (size_t i = 0; i < slice->n_ports; i++) {
		const struct bn_slice_port *port = &slice->ports[i];

		/* a port without a number stands for all, which no frontend can name */
		if (!port->port || port->protocol != b->port->protocol ||
		    strcmp(port->name, b->port->name))
			continue;
		for (size_t k = 0; k < slice->n_endpoints; k++) {
			const struct bn_slice_endpoint *endpoint = &slice->endpoints[k];

			b->backends.v[b->backends.n++] = (struct bn_backend_spec){
				.addr = endpoint->addr,
				.port = port->port,
				.weight = 1,
				.state = endpoint->state,
				.node = endpoint->node,
				.pod = endpoint->pod,
			};
		}
		return; /* names of a slice's ports are distinct */
	}
}

/* By address and port, the best state first. */
static int compare(const void *x, const void *y)
{
	const struct bn_backend_spec *a = x, *b = y;
	int r = memcmp(&a->addr, &b->addr, sizeof(a->addr));

	if (r == 0)
		r = (int)a->port - (int)b->port;
	return r ? r : (int)a->state - (int)b->state;
}

static void drop_duplicates(struct backends *b)
{
	size_t n = 0;

	qsort(b->v, b->n, sizeof(*b->v), compare);
	for (size_t i = 0; i < b->n; i++) {
		if (!n || !bn_addr_equal(&b->v[n - 1].addr, &b->v[i].addr) ||
		    b->v[n - 1].port != b->v[i].port)
			b->v[n++] = b->v[i];
	}
	b->n = n;
}

/* The backends of one port in one family, into b->backends. */
static int collect(struct builder *b)
{
	const struct bn_service_ref *ref = b->service->ref;
	const struct bn_slice_object *slice;

	b->room = 0;
	if (LIST_EMPTY(&ref->slices)) {
		bn_index_each_selected(b->objects, b->service, count_pod, b);
	} else {
		LIST_FOREACH(slice, &ref->slices, entry)
			b->room += slice->family == b->family ? slice->n_endpoints : 0;
	}
	b->backends.n = 0;
	b->backends.v = bn_arena_alloc(b->arena, b->room, sizeof(*b->backends.v));
	if (!b->backends.v)
		return -ENOMEM;
	if (LIST_EMPTY(&ref->slices)) {
		bn_index_each_selected(b->objects, b->service, add_pod, b);
	} else {
		LIST_FOREACH(slice, &ref->slices, entry) {
			if (slice->family == b->family)
				add_slice(b, slice);
		}
	}
	drop_duplicates(&b->backends);
	return 0;
}

static void add_frontend(struct builder *b, const union bn_addr *addr, enum bn_frontend_kind kind)
{
	if (!(BUILD_FRONTENDS & 1u << kind) || bn_addr_family(addr) != b->family)
		return;
	b->frontends[b->n_frontends++] = (struct bn_frontend_spec){
		.addr = *addr,
		.port = b->port->port,
		.protocol = b->port->protocol,
		.kind = (uint8_t)kind,
		.port_name = *b->port->name ? b->port->name : NULL,
		.backends = b->backends.v,
		.n_backends = b->backends.n,
	};
}

/* All frontends of the port and family at hand; they share their backends. */
static int add_port(struct builder *b)
{
	const struct bn_service_object *s = b->service;
	int r = collect(b);

	if (r < 0)
		return r;
	for (size_t i = 0; i < s->n_cluster_ips; i++)
		add_frontend(b, &s->cluster_ips[i], BN_FRONTEND_CLUSTER_IP);
	for (size_t i = 0; i < s->n_external_ips; i++)
		add_frontend(b, &s->external_ips[i], BN_FRONTEND_EXTERNAL_IP);
	for (size_t i = 0; i < s->n_ingress_ips; i++)
		add_frontend(b, &s->ingress_ips[i], BN_FRONTEND_LOAD_BALANCER);
	return 0;
}

static const char *type_name(uint8_t type)
{
	static const char *const names[] = {"ClusterIP", "NodePort", "LoadBalancer",
					    "ExternalName"};

	return names[type];
}

int bn_build_service(struct bn_objects *objects, struct bn_arena *arena,
		     const struct bn_service_object *service, struct bn_service_spec *ret)
{
	struct builder b = {.objects = objects, .arena = arena, .service = service};
	size_t n =
		(size_t)service->n_cluster_ips + service->n_external_ips + service->n_ingress_ips;
	int r;

	b.frontends = bn_arena_alloc(arena, n * service->n_ports, sizeof(*b.frontends));
	if (!b.frontends)
		return -ENOMEM;
	for (size_t i = 0; i < service->n_ports; i++) {
		for (size_t k = 0; k < service->n_families && !service->headless; k++) {
			b.port = &service->ports[i];
			b.family = service->families[k];
			r = add_port(&b);
			if (r < 0)
				return r;
		}
	}
	*ret = (struct bn_service_spec){
		.namespace = service->o.namespace,
		.name = service->o.name,
		.type = type_name(service->type),
		.frontends = b.frontends,
		.n_frontends = b.n_frontends,
	};
	return 0;
}

static int build_services(struct bn_objects *objects, struct bn_arena *arena,
			  struct bn_change *change)
{
	struct bn_service_spec *services, *removed;
	struct bn_service_ref *ref;
	size_t n = 0;
	int r;

	STAILQ_FOREACH(ref, &objects->touched_services, touched)
		n++;
	services = bn_arena_alloc(arena, n, sizeof(*services));
	removed = bn_arena_alloc(arena, n, sizeof(*removed));
	if (!services || !removed)
		return -ENOMEM;
	change->services = services;
	change->removed = removed;
	STAILQ_FOREACH(ref, &objects->touched_services, touched) {
		if (ref->service) {
			r = bn_build_service(objects, arena, ref->service,
					     &services[change->n_services++]);
			if (r < 0)
				return r;
		} else if (ref->is_known) {
			removed[change->n_removed++] = (struct bn_service_spec){
				.namespace = ref->key,
				.name = ref->key + strlen(ref->key) + 1,
			};
		}
	}
	return 0;
}

static int build_peers(struct bn_objects *objects, struct bn_arena *arena, struct bn_change *change)
{
	size_t n = HASH_COUNT(objects->touched_addrs);
	struct bn_touched_addr *touched, *next;
	struct bn_peer_spec *peers;
	union bn_addr *removed;

	peers = bn_arena_alloc(arena, n, sizeof(*peers));
	removed = bn_arena_alloc(arena, n, sizeof(*removed));
	if (!peers || !removed)
		return -ENOMEM;
	change->peers = peers;
	change->peers_removed = removed;
	HASH_ITER(hh, objects->touched_addrs, touched, next) {
		struct bn_peer_spec now = bn_index_peer(objects, &touched->addr);

		if (now.kind == touched->before.kind && now.identity == touched->before.identity)
			continue;
		if (now.kind)
			peers[change->n_peers++] = now;
		else
			removed[change->n_peers_removed++] = touched->addr;
	}
	return 0;
}

int bn_build_change(struct bn_objects *objects, struct bn_arena *arena, struct bn_change *ret)
{
	int r;

	*ret = (struct bn_change){0};
	r = build_services(objects, arena, ret);
	return r < 0 ? r : build_peers(objects, arena, ret);
}
