// SPDX-License-Identifier: Apache-2.0
/*
 * From objects to what the datapath is told. Slices that are given for a service win; without
 * any, its endpoints come from the pods that its selector matches. Nothing of this is kept:
 * a spec is built when it is asked for and lives in the caller's arena.
 */
#include "choose.h"
#include "state.h"

#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>

struct builder {
	struct bn_objects *objects;
	struct bn_arena *arena;
	const struct bn_service_object *service;
	const struct bn_service_port *port; /* at hand */
	int family;                         /* at hand */
	struct bn_chooser chooser;          /* backends of port and family at hand */
	const struct bn_backend_spec *backends;
	size_t n_backends;
	bool uneven; /* weights differ */
	struct bn_frontend_spec *frontends;
	size_t n_frontends;
	size_t first; /* frontend of the port and family at hand */
	size_t room;  /* for backends */
};

/* A headless service needs no port; then its backends are those of none. */
static const struct bn_service_port no_port = {.name = "", .protocol = IPPROTO_TCP};

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

/* ---- backends ---- */

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

	if (pod->finished || (!target && b->port != &no_port))
		return 0;
	for (size_t i = 0; i < n; i++) {
		if (bn_addr_family(&ips[i]) != b->family)
			continue;
		bn_chooser_add_pod(&b->chooser, pod, &ips[i], target,
				   bn_build_pod_state(b->service, pod));
		return 0; /* the first address of a family counts */
	}
	return 0;
}

static void add_endpoints(struct builder *b, const struct bn_slice_object *slice, uint16_t port)
{
	for (size_t i = 0; i < slice->n_endpoints; i++)
		bn_chooser_add_endpoint(&b->chooser, &slice->endpoints[i], port);
}

static void add_slice(struct builder *b, const struct bn_slice_object *slice)
{
	if (b->port == &no_port) {
		add_endpoints(b, slice, 0);
		return;
	}
	for (size_t i = 0; i < slice->n_ports; i++) {
		const struct bn_slice_port *port = &slice->ports[i];

		/* a port without a number stands for all, which no frontend can name */
		if (!port->port || port->protocol != b->port->protocol ||
		    strcmp(port->name, b->port->name))
			continue;
		add_endpoints(b, slice, port->port);
		return; /* names of a slice's ports are distinct */
	}
}

/* The backends of one port in one family, into b->backends. */
static int collect(struct builder *b)
{
	const struct bn_service_ref *ref = b->service->ref;
	const struct bn_slice_object *slice;
	int r;

	b->room = 0;
	if (LIST_EMPTY(&ref->slices)) {
		bn_index_each_selected(b->objects, b->service, count_pod, b);
	} else {
		LIST_FOREACH(slice, &ref->slices, entry)
			b->room += slice->family == b->family ? slice->n_endpoints : 0;
	}
	r = bn_chooser_begin(&b->chooser, b->room);
	if (r < 0)
		return r;
	if (LIST_EMPTY(&ref->slices)) {
		bn_index_each_selected(b->objects, b->service, add_pod, b);
	} else {
		LIST_FOREACH(slice, &ref->slices, entry) {
			if (slice->family == b->family)
				add_slice(b, slice);
		}
	}
	return bn_chooser_end(&b->chooser, b->arena, &b->backends, &b->n_backends, &b->uneven);
}

/* ---- frontends ---- */

/* The ranges of one family. */
static int filter_ranges(struct builder *b, struct bn_frontend_spec *f)
{
	const struct bn_service_object *s = b->service;
	struct bn_cidr *ranges;

	if (f->kind != BN_FRONTEND_LOAD_BALANCER || !s->n_source_ranges)
		return 0;
	ranges = bn_arena_alloc(b->arena, s->n_source_ranges, sizeof(*ranges));
	if (!ranges)
		return -ENOMEM;
	f->restricted = true;
	f->source_ranges = ranges;
	for (size_t i = 0; i < s->n_source_ranges; i++) {
		if (s->source_ranges[i].family == b->family)
			ranges[f->n_source_ranges++] = s->source_ranges[i];
	}
	return 0;
}

/* An address may be named twice, as an ingress and an external IP say; the first counts. */
static bool has_frontend(const struct builder *b, const union bn_addr *addr, uint16_t port)
{
	for (size_t i = b->first; i < b->n_frontends; i++) {
		const struct bn_frontend_spec *f = &b->frontends[i];

		if (f->port == port && bn_addr_equal(&f->addr, addr))
			return true;
	}
	return false;
}

static int add_frontend(struct builder *b, const union bn_addr *addr, uint16_t port,
			enum bn_frontend_kind kind)
{
	const struct bn_service_object *s = b->service;
	uint32_t kinds = b->objects->config.frontend_kinds;
	bool external = kind != BN_FRONTEND_CLUSTER_IP;
	struct bn_frontend_spec *f = &b->frontends[b->n_frontends];

	if ((kinds && !(kinds & 1u << kind)) || bn_addr_family(addr) != b->family)
		return 0;
	if (external && has_frontend(b, addr, port))
		return 0;
	*f = (struct bn_frontend_spec){
		.addr = *addr,
		.port = port,
		.protocol = b->port->protocol,
		.kind = (uint8_t)kind,
		.port_name = *b->port->name ? b->port->name : NULL,
		.port_index = (uint16_t)(b->port - b->service->ports),
		.affinity_seconds = s->affinity_seconds,
		.local_inside = !external && s->internal_local,
		.local_outside = external && s->external_local,
		.consistent = external || b->uneven,
		.backends = b->backends,
		.n_backends = b->n_backends,
	};
	b->n_frontends++;
	return filter_ranges(b, f);
}

/* All frontends of the port and family at hand; they share their backends. */
static int add_port(struct builder *b)
{
	const struct bn_service_object *s = b->service;
	const union bn_addr *any = b->family == BN_IPV4 ? &bn_addr_any4 : &bn_addr_any6;
	int r = collect(b);

	b->first = b->n_frontends;
	for (size_t i = 0; r == 0 && i < s->n_cluster_ips; i++)
		r = add_frontend(b, &s->cluster_ips[i], b->port->port, BN_FRONTEND_CLUSTER_IP);
	for (size_t i = 0; r == 0 && i < s->n_external_ips; i++)
		r = add_frontend(b, &s->external_ips[i], b->port->port, BN_FRONTEND_EXTERNAL_IP);
	for (size_t i = 0; r == 0 && s->type == BN_TYPE_LOAD_BALANCER && i < s->n_ingress_ips; i++)
		r = add_frontend(b, &s->ingress_ips[i], b->port->port, BN_FRONTEND_LOAD_BALANCER);
	if (r == 0 && b->port->node_port)
		r = add_frontend(b, any, b->port->node_port, BN_FRONTEND_NODE_PORT);
	return r;
}

static int build_frontends(struct builder *b, struct bn_service_spec *ret)
{
	const struct bn_service_object *s = b->service;
	size_t each = (size_t)s->n_cluster_ips + s->n_external_ips + s->n_ingress_ips + 2;
	int r = 0;

	b->frontends = bn_arena_alloc(b->arena, each * s->n_ports, sizeof(*b->frontends));
	if (!b->frontends)
		return -ENOMEM;
	for (size_t i = 0; r == 0 && i < s->n_ports; i++) {
		for (size_t k = 0; r == 0 && k < s->n_families; k++) {
			b->port = &s->ports[i];
			b->family = s->families[k];
			r = add_port(b);
		}
	}
	ret->frontends = b->frontends;
	ret->n_frontends = b->n_frontends;
	return r;
}

static int build_headless(struct builder *b, struct bn_service_spec *ret)
{
	const struct bn_service_object *s = b->service;
	size_t n = s->n_ports ? s->n_ports : 1;
	struct bn_headless_spec *list;
	int r = 0;

	list = bn_arena_alloc(b->arena, n * s->n_families, sizeof(*list));
	if (!list)
		return -ENOMEM;
	ret->headless = list;
	for (size_t i = 0; r == 0 && i < n; i++) {
		for (size_t k = 0; r == 0 && k < s->n_families; k++) {
			b->port = s->n_ports ? &s->ports[i] : &no_port;
			b->family = s->families[k];
			r = collect(b);
			list[ret->n_headless++] = (struct bn_headless_spec){
				.protocol = b->port->protocol,
				.port_name = *b->port->name ? b->port->name : NULL,
				.backends = b->backends,
				.n_backends = b->n_backends,
			};
		}
	}
	return r;
}

/* ---- services ---- */

static int compare_addrs(const void *a, const void *b)
{
	return memcmp(a, b, sizeof(union bn_addr));
}

/*
 * Ready backends of this node for the health check, each address once, as kube-proxy counts them;
 * of a dual-stack service the family that has more.
 */
static int count_local(struct bn_arena *arena, struct bn_service_spec *spec)
{
	size_t room = 0, n = 0, found[2] = {0};
	union bn_addr *addrs;

	for (size_t i = 0; i < spec->n_frontends; i++)
		room += spec->frontends[i].n_backends;
	addrs = bn_arena_alloc(arena, room, sizeof(*addrs));
	if (!addrs)
		return -ENOMEM;
	for (size_t i = 0; i < spec->n_frontends; i++) {
		const struct bn_frontend_spec *f = &spec->frontends[i];

		for (size_t k = 0; k < f->n_backends; k++) {
			if (f->backends[k].local && f->backends[k].state == BN_BACKEND_ACTIVE)
				addrs[n++] = f->backends[k].addr;
		}
	}
	qsort(addrs, n, sizeof(*addrs), compare_addrs);
	for (size_t i = 0; i < n; i++) {
		if (!i || !bn_addr_equal(&addrs[i - 1], &addrs[i]))
			found[bn_addr_family(&addrs[i]) == BN_IPV6]++;
	}
	spec->local_ready = found[0] > found[1] ? found[0] : found[1];
	return 0;
}

static const char *type_name(uint8_t type)
{
	static const char *const names[] = {"ClusterIP", "NodePort", "LoadBalancer",
					    "ExternalName"};

	return names[type];
}

static int build_service(struct bn_objects *objects, struct bn_arena *arena,
			 const struct bn_service_object *service, struct bn_service_spec *ret)
{
	struct builder b = {.objects = objects, .arena = arena, .service = service};
	int r;

	static const char *const distributions[] = {NULL, "PreferClose", "PreferSameZone",
						    "PreferSameNode"};

	*ret = (struct bn_service_spec){
		.namespace = service->o.namespace,
		.name = service->o.name,
		.type = type_name(service->type),
		.affinity_seconds = service->affinity_seconds,
		.is_headless = service->headless,
		.internal_local = service->internal_local,
		.external_local = service->external_local,
		.distribution = distributions[service->distribution],
		.health_port = service->health_port,
	};
	bn_chooser_open(&b.chooser, objects, service);
	r = service->headless ? build_headless(&b, ret) : build_frontends(&b, ret);
	if (r == 0 && service->health_port)
		r = count_local(arena, ret);
	bn_chooser_close(&b.chooser);
	return r;
}

int bn_build_ref(struct bn_objects *objects, struct bn_arena *arena,
		 const struct bn_service_ref *ref, struct bn_service_spec *ret)
{
	return ref->service ? build_service(objects, arena, ref->service, ret)
			    : bn_build_host_ports(objects, arena, ref->pod, ret);
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
		if (bn_index_is_served(objects, ref)) {
			r = bn_build_ref(objects, arena, ref, &services[change->n_services++]);
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

/* A pod's addresses are policy's affair while they are its own. */
static struct bn_pod_spec pod_spec(const struct bn_pod_object *pod,
				   const struct bn_running_object *running, const char *namespace,
				   const char *name)
{
	struct bn_pod_spec spec = {.namespace = namespace, .name = name, .local = running};

	if (running) {
		spec.ips = running->ips;
		spec.n_ips = running->n_ips;
	}
	if (!pod)
		return spec;
	spec.audit = pod->audit;
	spec.labels = pod->labels;
	spec.n_labels = pod->n_labels;
	spec.ports = pod->ports;
	spec.n_ports = pod->n_ports;
	if (!running && !pod->host_network && !pod->finished) {
		spec.ips = pod->ips;
		spec.n_ips = pod->n_ips;
	}
	return spec;
}

/* This node, whose firewall policies may select it by its labels. */
static struct bn_pod_spec this_node_spec(const struct bn_node_object *node)
{
	struct bn_pod_spec spec = {
		.namespace = BN_NODE_NAMESPACE, .name = BN_NODE_POD, .local = true};

	if (node) {
		spec.labels = node->labels;
		spec.n_labels = node->n_labels;
		spec.audit = node->audit;
	}
	return spec;
}

static void add_touched_pod(struct bn_objects *objects, const char *namespace, const char *name,
			    struct bn_pod_spec *pods, struct bn_pod_spec *removed,
			    struct bn_change *change)
{
	const struct bn_object *pod = bn_index_find(objects, BN_KIND_POD, namespace, name);
	const struct bn_object *running = bn_index_find(objects, BN_KIND_RUNNING, namespace, name);

	if (pod || running)
		pods[change->n_pods++] = pod_spec((const struct bn_pod_object *)pod,
						  (const struct bn_running_object *)running,
						  namespace, name);
	else
		removed[change->n_pods_removed++] =
			(struct bn_pod_spec){.namespace = namespace, .name = name};
}

static struct bn_node_spec node_spec(const struct bn_node_object *node, const char *name)
{
	struct bn_node_spec spec = {.name = name};

	if (node) {
		spec.labels = node->labels;
		spec.n_labels = node->n_labels;
		spec.ips = node->ips;
		spec.n_ips = node->n_ips;
	}
	return spec;
}

static int build_policy(struct bn_objects *objects, struct bn_arena *arena,
			struct bn_change *change)
{
	size_t n = HASH_COUNT(objects->touched_objects);
	struct bn_policy_spec *policies = bn_arena_alloc(arena, n, sizeof(*policies));
	struct bn_policy_spec *gone = bn_arena_alloc(arena, n, sizeof(*gone));
	struct bn_pod_spec *pods = bn_arena_alloc(arena, n, sizeof(*pods));
	struct bn_pod_spec *removed = bn_arena_alloc(arena, n, sizeof(*removed));
	struct bn_namespace_spec *namespaces = bn_arena_alloc(arena, n, sizeof(*namespaces));
	struct bn_node_spec *nodes = bn_arena_alloc(arena, n, sizeof(*nodes));
	struct bn_touched_object *touched, *next;

	if (!policies || !gone || !pods || !removed || !namespaces || !nodes)
		return -ENOMEM;
	change->policies = policies;
	change->policies_removed = gone;
	change->pods = pods;
	change->pods_removed = removed;
	change->namespaces = namespaces;
	change->nodes = nodes;
	HASH_ITER(hh, objects->touched_objects, touched, next) {
		const char *namespace = touched->key + 1;
		const char *name = namespace + strlen(namespace) + 1;
		const struct bn_object *object;

		if (touched->kind == BN_KIND_POD) {
			add_touched_pod(objects, namespace, name, pods, removed, change);
			continue;
		}
		object = bn_index_find(objects, touched->kind, namespace, name);
		if (touched->kind == BN_KIND_NODE) {
			const struct bn_node_object *node = (const struct bn_node_object *)object;

			/* what a pod exchanges with its own node is no policy's affair but the node's */
			if (strcmp(name, objects->config.node_name))
				nodes[change->n_nodes++] = node_spec(node, name);
			else
				pods[change->n_pods++] = this_node_spec(node);
		} else if (touched->kind == BN_KIND_NAMESPACE) {
			const struct bn_labels_object *ns = (const struct bn_labels_object *)object;

			namespaces[change->n_namespaces++] =
				(struct bn_namespace_spec){name, ns ? ns->labels : NULL,
							   ns ? ns->n_labels : 0, ns && ns->audit};
		} else if (object) {
			policies[change->n_policies++] =
				((const struct bn_policy_object *)object)->spec;
		} else {
			gone[change->n_policies_removed++] =
				(struct bn_policy_spec){.namespace = namespace, .name = name};
		}
	}
	return 0;
}

int bn_build_change(struct bn_objects *objects, struct bn_arena *arena, struct bn_change *ret)
{
	int r;

	*ret = (struct bn_change){0};
	r = build_services(objects, arena, ret);
	if (r == 0)
		r = build_peers(objects, arena, ret);
	return r < 0 ? r : build_policy(objects, arena, ret);
}
