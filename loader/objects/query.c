// SPDX-License-Identifier: Apache-2.0
/*
 * `get`: the text that was applied, with what kubectl would show beside it: allotments from the
 * model and the API server's defaults. Derived EndpointSlices exist only here.
 */
#include "state.h"

#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>

#define QUERY_SLICE_MAX 100 /* endpoints of a derived slice, as Kubernetes' controller does */

struct query {
	struct bn_objects *objects;
	json_t *list;
	const char *name; /* NULL: all */
};

static int find_kind(const char *text, enum bn_object_kind *ret)
{
	size_t n = strcspn(text, "."); /* endpointslices.discovery.k8s.io */

	for (int i = 0; i < BN_KIND_STORED_MAX; i++) {
		const char *const names[] = {bn_kinds[i].singular, bn_kinds[i].plural,
					     bn_kinds[i].shorthand};

		for (size_t k = 0; k < sizeof(names) / sizeof(names[0]); k++) {
			if (strlen(names[k]) == n && !strncasecmp(names[k], text, n)) {
				*ret = (enum bn_object_kind)i;
				return 0;
			}
		}
	}
	return -EINVAL;
}

/* ---- defaults ---- */

/* Sets what is absent, null, or an empty string; takes the value. */
static void set_missing(json_t *object, const char *key, json_t *value)
{
	json_t *old = json_object_get(object, key);

	if (old && !json_is_null(old) && !(json_is_string(old) && !json_string_length(old)))
		json_decref(value);
	else
		json_object_set_new(object, key, value);
}

static json_t *member(json_t *object, const char *key)
{
	set_missing(object, key, json_object());
	return json_object_get(object, key);
}

static const char *protocol_name(uint8_t protocol)
{
	return protocol == IPPROTO_TCP ? "TCP" : protocol == IPPROTO_UDP ? "UDP" : "SCTP";
}

static void show_service(json_t *tree, const struct bn_service_object *service)
{
	static const char *const policies[] = {"", "SingleStack", "PreferDualStack",
					       "RequireDualStack"};
	static const char *const types[] = {"ClusterIP", "NodePort", "LoadBalancer",
					    "ExternalName"};
	json_t *spec = member(tree, "spec"), *ports = json_object_get(spec, "ports"), *port;
	json_t *ips = json_array(), *families = json_array();
	char buf[BN_ADDR_STRLEN];
	size_t i;

	for (i = 0; i < service->n_cluster_ips; i++)
		json_array_append_new(ips,
				      json_string(bn_addr_format(&service->cluster_ips[i], buf)));
	if (service->headless)
		json_array_append_new(ips, json_string("None"));
	for (i = 0; i < service->n_families; i++)
		json_array_append_new(
			families, json_string(service->families[i] == BN_IPV4 ? "IPv4" : "IPv6"));
	if (json_array_size(ips)) {
		json_object_set(spec, "clusterIP", json_array_get(ips, 0));
		json_object_set(spec, "clusterIPs", ips);
		json_object_set(spec, "ipFamilies", families);
		set_missing(spec, "ipFamilyPolicy", json_string(policies[service->policy]));
		set_missing(spec, "internalTrafficPolicy", json_string("Cluster"));
	}
	json_decref(ips);
	json_decref(families);
	set_missing(spec, "type", json_string(types[service->type]));
	set_missing(spec, "sessionAffinity", json_string("None"));
	if (service->type == BN_TYPE_NODE_PORT || service->type == BN_TYPE_LOAD_BALANCER)
		set_missing(spec, "externalTrafficPolicy", json_string("Cluster"));
	if (service->health_port)
		json_object_set_new(spec, "healthCheckNodePort",
				    json_integer(service->health_port));
	json_array_foreach(ports, i, port) {
		if (i >= service->n_ports)
			break;
		set_missing(port, "protocol", json_string("TCP"));
		if (!service->ports[i].target_name)
			json_object_set_new(port, "targetPort",
					    json_integer(service->ports[i].target));
		if (service->ports[i].node_port)
			json_object_set_new(port, "nodePort",
					    json_integer(service->ports[i].node_port));
	}
	member(member(tree, "status"), "loadBalancer");
}

static void show_pod(json_t *tree, const struct bn_pod_object *pod)
{
	json_t *status, *ips;
	char buf[BN_ADDR_STRLEN];

	if (!pod->running)
		return;
	status = member(tree, "status");
	ips = json_array();
	for (size_t i = 0; i < pod->running->n_ips; i++)
		json_array_append_new(
			ips, json_pack("{s:s}", "ip", bn_addr_format(&pod->running->ips[i], buf)));
	json_object_set_new(status, "podIP",
			    json_string(bn_addr_format(&pod->running->ips[0], buf)));
	json_object_set_new(status, "podIPs", ips);
}

static void show_slice(json_t *tree)
{
	json_t *port;
	size_t i;

	json_array_foreach(json_object_get(tree, "ports"), i, port) {
		set_missing(port, "name", json_string(""));
		set_missing(port, "protocol", json_string("TCP"));
	}
}

static int add_row(void *user, const struct bn_row *row, struct bn_error *err)
{
	struct query *q = user;
	struct bn_object *object = bn_index_find(q->objects, (enum bn_object_kind)row->kind,
						 row->namespace, row->name);
	json_t *tree = json_loadb(row->text, row->size, 0, NULL);

	if (!object || !tree) {
		json_decref(tree);
		return bn_error_set(err, -EBADMSG,
				    "cannot read %s/%s: the database has changed under bpfnetd",
				    row->namespace, row->name);
	}
	if (*row->namespace)
		set_missing(member(tree, "metadata"), "namespace", json_string(row->namespace));
	if (row->kind == BN_KIND_SERVICE)
		show_service(tree, (const struct bn_service_object *)object);
	else if (row->kind == BN_KIND_POD)
		show_pod(tree, (const struct bn_pod_object *)object);
	else if (row->kind == BN_KIND_SLICE)
		show_slice(tree);
	return json_array_append_new(q->list, tree) < 0 ? -ENOMEM : 0;
}

/* ---- derived slices ---- */

struct deriver {
	struct query *q;
	const struct bn_service_object *service;
	int family;
	json_t *slices; /* of this service and family */
};

/* The service's ports as this pod has them. */
static json_t *resolve_ports(const struct bn_service_object *service,
			     const struct bn_pod_object *pod)
{
	json_t *ports = json_array();

	for (size_t i = 0; i < service->n_ports; i++) {
		uint16_t target = bn_build_target(&service->ports[i], pod);

		if (target)
			json_array_append_new(
				ports, json_pack("{s:s, s:i, s:s}", "name", service->ports[i].name,
						 "port", target, "protocol",
						 protocol_name(service->ports[i].protocol)));
	}
	return ports;
}

/* A slice of these ports with room for one more endpoint; takes `ports`. */
static json_t *need_slice(struct deriver *d, json_t *ports)
{
	const char *family = d->family == BN_IPV4 ? "IPv4" : "IPv6";
	size_t i, n = json_array_size(d->slices);
	json_t *slice, *labels;
	char name[300];

	json_array_foreach(d->slices, i, slice) {
		if (json_array_size(json_object_get(slice, "endpoints")) < QUERY_SLICE_MAX &&
		    json_equal(json_object_get(slice, "ports"), ports)) {
			json_decref(ports);
			return slice;
		}
	}
	snprintf(name, sizeof(name), n ? "%s-%s-%zu" : "%s-%s", d->service->o.name,
		 d->family == BN_IPV4 ? "ipv4" : "ipv6", n + 1);
	labels = json_pack("{s:s, s:s}", "endpointslice.kubernetes.io/managed-by", "bpfnetd",
			   "kubernetes.io/service-name", d->service->o.name);
	slice = json_pack("{s:s, s:s, s:{s:s, s:s, s:o}, s:s, s:[], s:o}", "apiVersion",
			  "discovery.k8s.io/v1", "kind", "EndpointSlice", "metadata", "name", name,
			  "namespace", d->service->o.namespace, "labels", labels, "addressType",
			  family, "endpoints", "ports", ports);
	return json_array_append_new(d->slices, slice) < 0 ? NULL : slice;
}

/* What Kubernetes' controller hints at for a trafficDistribution; NULL: nothing. */
static json_t *derive_hints(const struct bn_service_object *service, const char *node,
			    const char *zone)
{
	bool by_node = service->distribution == BN_DISTRIBUTION_NODE && node;
	json_t *hints;

	if (!service->distribution || (!zone && !by_node))
		return NULL;
	hints = json_object();
	if (zone)
		json_object_set_new(hints, "forZones", json_pack("[{s:s}]", "name", zone));
	if (by_node)
		json_object_set_new(hints, "forNodes", json_pack("[{s:s}]", "name", node));
	return hints;
}

static int derive_pod(void *user, const struct bn_pod_object *pod)
{
	struct deriver *d = user;
	uint8_t state = bn_build_pod_state(d->service, pod);
	const char *node = pod->running ? d->q->objects->config.node_name : pod->node;
	const char *zone = node ? bn_index_zone(d->q->objects, node) : NULL;
	const union bn_addr *ips;
	size_t i, n = bn_pod_ips(pod, &ips);
	char buf[BN_ADDR_STRLEN];
	json_t *slice, *endpoint, *hints;

	for (i = 0; i < n && bn_addr_family(&ips[i]) != d->family; i++)
		;
	if (i == n || pod->finished)
		return 0;
	slice = need_slice(d, resolve_ports(d->service, pod));
	endpoint = json_pack("{s:[s], s:{s:b, s:b, s:b}, s:s*, s:{s:s, s:s, s:s}}", "addresses",
			     bn_addr_format(&ips[i], buf), "conditions", "ready",
			     state == BN_BACKEND_ACTIVE, "serving", pod->ready, "terminating",
			     pod->terminating, "nodeName", node, "targetRef", "kind", "Pod", "name",
			     pod->o.name, "namespace", pod->o.namespace);
	if (zone)
		json_object_set_new(endpoint, "zone", json_string(zone));
	hints = state == BN_BACKEND_ACTIVE ? derive_hints(d->service, node, zone) : NULL;
	if (hints)
		json_object_set_new(endpoint, "hints", hints);
	return json_array_append_new(json_object_get(slice, "endpoints"), endpoint) < 0 ? -ENOMEM
											: 0;
}

static int derive_family(struct deriver *d)
{
	json_t *slice;
	size_t i;
	int r;

	d->slices = json_array();
	r = d->slices ? bn_index_each_selected(d->q->objects, d->service, derive_pod, d) : -ENOMEM;
	if (r == 0) {
		json_array_foreach(d->slices, i, slice) {
			const char *name = json_string_value(
				json_object_get(json_object_get(slice, "metadata"), "name"));

			if (!d->q->name || (name && !strcmp(name, d->q->name)))
				json_array_append(d->q->list, slice);
		}
	}
	json_decref(d->slices);
	return r;
}

static int derive_slices(struct query *q, const char *namespace)
{
	struct bn_service_ref *ref, *next;
	int r = 0;

	HASH_ITER(hh, q->objects->services, ref, next) {
		struct deriver d = {.q = q, .service = ref->service};

		if (!ref->service || !LIST_EMPTY(&ref->slices) || !ref->service->n_selector ||
		    (namespace && strcmp(namespace, ref->key)))
			continue;
		for (size_t i = 0; r == 0 && i < ref->service->n_families; i++) {
			d.family = ref->service->families[i];
			r = derive_family(&d);
		}
		if (r < 0)
			return r;
	}
	return 0;
}

static const char *metadata(const json_t *object, const char *key)
{
	const char *s =
		json_string_value(json_object_get(json_object_get(object, "metadata"), key));

	return s ? s : "";
}

static int compare_names(const void *x, const void *y)
{
	const json_t *a = *(json_t *const *)x, *b = *(json_t *const *)y;
	int r = strcmp(metadata(a, "namespace"), metadata(b, "namespace"));

	return r ? r : strcmp(metadata(a, "name"), metadata(b, "name"));
}

/* Derived slices stand behind the given ones: put them in their places. */
static int sort_list(json_t *list)
{
	size_t i, n = json_array_size(list);
	json_t **v = calloc(n + 1, sizeof(json_t *)), *item;

	if (!v)
		return -ENOMEM;
	json_array_foreach(list, i, item)
		v[i] = json_incref(item);
	qsort(v, n, sizeof(json_t *), compare_names);
	for (i = 0; i < n; i++)
		json_array_set_new(list, i, v[i]);
	free(v);
	return 0;
}

/* ---- get ---- */

static int get_one(struct query *q, enum bn_object_kind kind, const char *namespace,
		   struct bn_error *err)
{
	struct bn_row row;
	int r;

	r = bn_store_get(q->objects->store, kind, namespace, q->name, &row, err);
	if (r == 0)
		r = add_row(q, &row, err);
	else if (r == -ENOENT && kind == BN_KIND_SLICE)
		r = derive_slices(q, namespace);
	if (r < 0 && r != -ENOENT)
		return r;
	if (json_array_size(q->list))
		return 0;
	return bn_error_set(err, -ENOENT,
			    *namespace ? "%s \"%.253s\" not found in namespace \"%s\""
				       : "%s \"%.253s\" not found",
			    bn_kinds[kind].plural, q->name, namespace);
}

int bn_objects_get(struct bn_objects *objects, const char *kind, const char *namespace,
		   const char *name, json_t **ret_array, struct bn_error *err)
{
	struct query q = {.objects = objects, .name = name};
	enum bn_object_kind k;
	int r;

	if (find_kind(kind, &k) < 0)
		return bn_error_set(err, -EINVAL,
				    "\"%.64s\" is no kind, only namespaces, nodes, pods, services, "
				    "endpointslices, networkpolicies and "
				    "clusternetworkpolicies are",
				    kind);
	if (!bn_kinds[k].namespaced)
	namespace = "";
	else if (name && !namespace) namespace = "default";
	q.list = json_array();
	if (!q.list)
		return -ENOMEM;
	if (name) {
		r = get_one(&q, k, namespace, err);
	} else {
		r = bn_store_each_of(objects->store, (int)k, namespace, add_row, &q, err);
		if (r == 0 && k == BN_KIND_SLICE) {
			r = derive_slices(&q, namespace);
			if (r == 0)
				r = sort_list(q.list);
		}
	}
	if (r < 0) {
		json_decref(q.list);
		return r;
	}
	*ret_array = q.list;
	return 0;
}
