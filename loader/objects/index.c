// SPDX-License-Identifier: Apache-2.0
/*
 * The tables: objects by name, owners of addresses and node ports, pods and services by label,
 * services with their slices. Linking and unlinking touch what an object bears on, which is what
 * makes a change cost what it changes.
 *
 * Invariant: unlinking, and linking again what was linked before in the same transaction, needs
 * no memory, so a transaction can always be undone. That is why claims and label links are part
 * of their objects, and why refs that fall empty live until bn_index_sweep.
 */
#include "state.h"

#undef uthash_nonfatal_oom
#define uthash_nonfatal_oom(element) (objects->no_memory = true)

#include <bpfnet/limits.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define INDEX_KEY_MAX 1024 /* namespace, label key and value with their limits: 63 + 317 + 63 */

/* Whether the last insertion failed for want of memory. */
static int memory(struct bn_objects *objects)
{
	bool lost = objects->no_memory;

	objects->no_memory = false;
	return lost ? -ENOMEM : 0;
}

/* Strings one after the other, with a zero byte between them. */
static size_t join(char *buf, const char *a, const char *b, const char *c)
{
	size_t n = strlen(a);

	memcpy(buf, a, n);
	buf[n++] = 0;
	memcpy(buf + n, b, strlen(b));
	n += strlen(b);
	if (c) {
		buf[n++] = 0;
		memcpy(buf + n, c, strlen(c));
		n += strlen(c);
	}
	return n;
}

struct bn_object *bn_index_find(struct bn_objects *objects, enum bn_object_kind kind,
				const char *namespace, const char *name)
{
	struct bn_object *found = NULL;
	char key[INDEX_KEY_MAX];
	size_t n;

	if (strlen(namespace) + strlen(name) > INDEX_KEY_MAX - 8)
		return NULL;
	key[0] = (char)('a' + kind);
	n = 1 + join(key + 1, namespace, name, NULL);
	HASH_FIND(hh, objects->objects, key, n, found);
	return found;
}

/* ---- services by name ---- */

struct bn_service_ref *bn_index_service(struct bn_objects *objects, const char *namespace,
					const char *name)
{
	struct bn_service_ref *ref = NULL;
	char key[INDEX_KEY_MAX];
	size_t n;

	if (strlen(namespace) + strlen(name) > INDEX_KEY_MAX - 8)
		return NULL;
	n = join(key, namespace, name, NULL);
	HASH_FIND(hh, objects->services, key, n, ref);
	return ref;
}

static void touch_service(struct bn_objects *objects, struct bn_service_ref *ref)
{
	if (ref->is_touched)
		return;
	ref->is_touched = true;
	STAILQ_INSERT_TAIL(&objects->touched_services, ref, touched);
}

static int need_service(struct bn_objects *objects, const char *namespace, const char *name,
			struct bn_service_ref **ret)
{
	struct bn_service_ref *ref = bn_index_service(objects, namespace, name);
	size_t n = strlen(namespace) + 1 + strlen(name);

	if (!ref) {
		if (n > INDEX_KEY_MAX - 8)
			return -EINVAL;
		ref = calloc(1, sizeof(*ref) + n + 1);
		if (!ref)
			return -ENOMEM;
		LIST_INIT(&ref->slices);
		join(ref->key, namespace, name, NULL);
		HASH_ADD(hh, objects->services, key, n, ref);
		if (memory(objects) < 0) {
			free(ref);
			return -ENOMEM;
		}
	}
	touch_service(objects, ref);
	*ret = ref;
	return 0;
}

/* ---- pods and services by label ---- */

static struct bn_label_ref *find_label(struct bn_objects *objects, const char *namespace,
				       const struct bn_label *label)
{
	struct bn_label_ref *ref = NULL;
	char key[INDEX_KEY_MAX];
	size_t n = join(key, namespace, label->key, label->value);

	HASH_FIND(hh, objects->labels, key, n, ref);
	return ref;
}

static int need_label(struct bn_objects *objects, const char *namespace,
		      const struct bn_label *label, struct bn_label_ref **ret)
{
	struct bn_label_ref *ref = find_label(objects, namespace, label);
	size_t n = strlen(namespace) + strlen(label->key) + strlen(label->value) + 2;

	if (!ref) {
		ref = calloc(1, sizeof(*ref) + n + 1);
		if (!ref)
			return -ENOMEM;
		LIST_INIT(&ref->pods);
		LIST_INIT(&ref->services);
		join(ref->key, namespace, label->key, label->value);
		HASH_ADD(hh, objects->labels, key, n, ref);
		if (memory(objects) < 0) {
			free(ref);
			return -ENOMEM;
		}
	}
	*ret = ref;
	return 0;
}

static void unlink_label(struct bn_objects *objects, struct bn_label_link *link)
{
	struct bn_label_ref *ref = link->ref;

	if (!ref)
		return;
	LIST_REMOVE(link, entry);
	link->ref = NULL;
	if (link->object->kind == BN_KIND_POD)
		ref->n_pods--;
	else
		ref->n_services--;
	if (!ref->is_idle && LIST_EMPTY(&ref->pods) && LIST_EMPTY(&ref->services)) {
		ref->is_idle = true;
		LIST_INSERT_HEAD(&objects->idle_labels, ref, idle);
	}
}

static int link_label(struct bn_objects *objects, struct bn_object *object,
		      struct bn_label_link *link, const struct bn_label *label)
{
	struct bn_label_ref *ref;
	int r = need_label(objects, object->namespace, label, &ref);

	if (r < 0)
		return r;
	link->ref = ref;
	link->object = object;
	if (object->kind == BN_KIND_POD) {
		LIST_INSERT_HEAD(&ref->pods, link, entry);
		ref->n_pods++;
	} else {
		LIST_INSERT_HEAD(&ref->services, link, entry);
		ref->n_services++;
	}
	return 0;
}

bool bn_pod_has_label(const struct bn_pod_object *pod, const struct bn_label *label)
{
	for (size_t i = 0; i < pod->n_labels; i++) {
		if (!strcmp(pod->labels[i].key, label->key))
			return !strcmp(pod->labels[i].value, label->value);
	}
	return false;
}

bool bn_pod_selected(const struct bn_pod_object *pod, const struct bn_service_object *service)
{
	for (size_t i = 0; i < service->n_selector; i++) {
		if (!bn_pod_has_label(pod, &service->selector[i]))
			return false;
	}
	return service->n_selector && !strcmp(pod->o.namespace, service->o.namespace);
}

int bn_index_each_selected(struct bn_objects *objects, const struct bn_service_object *service,
			   int (*fn)(void *user, const struct bn_pod_object *pod), void *user)
{
	struct bn_label_ref *rarest = NULL;
	struct bn_label_link *link;
	int r;

	for (size_t i = 0; i < service->n_selector; i++) {
		struct bn_label_ref *ref =
			find_label(objects, service->o.namespace, &service->selector[i]);

		if (!ref)
			return 0;
		if (!rarest || ref->n_pods < rarest->n_pods)
			rarest = ref;
	}
	if (!rarest)
		return 0;
	LIST_FOREACH(link, &rarest->pods, entry) {
		const struct bn_pod_object *pod = (const struct bn_pod_object *)link->object;

		if (!bn_pod_selected(pod, service))
			continue;
		r = fn(user, pod);
		if (r != 0)
			return r;
	}
	return 0;
}

/* A service hangs under one label of its selector, which every pod that it can match has. */
static void touch_selecting(struct bn_objects *objects, struct bn_pod_object *pod)
{
	struct bn_label_link *link;

	for (size_t i = 0; i < pod->n_labels; i++) {
		if (!pod->links[i].ref)
			continue;
		LIST_FOREACH(link, &pod->links[i].ref->services, entry) {
			struct bn_service_object *service =
				(struct bn_service_object *)link->object;

			if (service->ref && bn_pod_selected(pod, service))
				touch_service(objects, service->ref);
		}
	}
}

/* ---- what policy looks at ---- */

static int touch_object(struct bn_objects *objects, const struct bn_object *object)
{
	struct bn_touched_object *touched = NULL;
	uint8_t kind = object->kind == BN_KIND_RUNNING ? BN_KIND_POD : object->kind;
	char key[INDEX_KEY_MAX];
	size_t n;

	if (kind == BN_KIND_SERVICE || kind == BN_KIND_SLICE)
		return 0;
	key[0] = (char)('a' + kind);
	n = 1 + join(key + 1, object->namespace, object->name, NULL);
	HASH_FIND(hh, objects->touched_objects, key, n, touched);
	if (touched)
		return 0;
	touched = calloc(1, sizeof(*touched) + n + 1);
	if (!touched)
		return -ENOMEM;
	touched->kind = kind;
	memcpy(touched->key, key, n);
	HASH_ADD(hh, objects->touched_objects, key, n, touched);
	if (memory(objects) < 0) {
		free(touched);
		return -ENOMEM;
	}
	return 0;
}

/* ---- owners of addresses and node ports ---- */

const struct bn_claim *bn_index_claimed(struct bn_objects *objects, const union bn_addr *addr,
					uint32_t port)
{
	struct bn_claim probe = {0}, *found = NULL;

	if (addr)
		probe.key.addr = *addr;
	probe.key.port = port;
	HASH_FIND(hh, objects->claims, &probe.key, sizeof(probe.key), found);
	return found;
}

struct bn_peer_spec bn_index_peer(struct bn_objects *objects, const union bn_addr *addr)
{
	struct bn_peer_spec peer = {.addr = *addr};
	const struct bn_claim *claim = bn_index_claimed(objects, addr, 0);

	for (; claim; claim = claim->next) {
		switch (claim->owner->kind) {
		case BN_KIND_NODE:
			if (strcmp(claim->owner->name, objects->config.node_name)) {
				peer.kind = BN_ADDR_REMOTE_NODE;
				peer.identity = BN_IDENTITY_REMOTE_NODE;
			} else {
				peer.kind = BN_ADDR_HOST;
				peer.identity = BN_IDENTITY_HOST;
			}
			return peer;
		case BN_KIND_POD:
			peer.kind = BN_ADDR_REMOTE_POD;
			peer.identity = BN_IDENTITY_UNKNOWN;
			return peer;
		default:
			break;
		}
	}
	return peer;
}

static int touch_addr(struct bn_objects *objects, const union bn_addr *addr)
{
	struct bn_touched_addr *touched = NULL;

	HASH_FIND(hh, objects->touched_addrs, addr, sizeof(*addr), touched);
	if (touched)
		return 0;
	touched = calloc(1, sizeof(*touched));
	if (!touched)
		return -ENOMEM;
	touched->addr = *addr;
	touched->before = bn_index_peer(objects, addr);
	HASH_ADD(hh, objects->touched_addrs, addr, sizeof(touched->addr), touched);
	if (memory(objects) < 0) {
		free(touched);
		return -ENOMEM;
	}
	return 0;
}

int bn_index_claim(struct bn_objects *objects, struct bn_object *owner, struct bn_claim *claim)
{
	struct bn_claim *first = NULL;

	if (!claim->key.port && owner->kind != BN_KIND_SERVICE &&
	    touch_addr(objects, &claim->key.addr) < 0)
		return -ENOMEM;
	HASH_FIND(hh, objects->claims, &claim->key, sizeof(claim->key), first);
	claim->owner = owner;
	claim->next = NULL;
	if (first) {
		claim->next = first->next;
		first->next = claim;
		return 0;
	}
	HASH_ADD(hh, objects->claims, key, sizeof(claim->key), claim);
	if (memory(objects) < 0) {
		claim->owner = NULL;
		return -ENOMEM;
	}
	return 0;
}

static void unclaim(struct bn_objects *objects, struct bn_claim *claim)
{
	struct bn_claim *first = NULL, *at;

	if (!claim->owner)
		return;
	if (!claim->key.port && claim->owner->kind != BN_KIND_SERVICE)
		touch_addr(objects, &claim->key.addr);
	HASH_FIND(hh, objects->claims, &claim->key, sizeof(claim->key), first);
	if (first == claim) {
		HASH_DELETE(hh, objects->claims, claim);
		if (claim->next)
			HASH_ADD(hh, objects->claims, key, sizeof(claim->key), claim->next);
	} else {
		for (at = first; at && at->next != claim; at = at->next)
			;
		if (at)
			at->next = claim->next;
	}
	claim->owner = NULL;
	claim->next = NULL;
}

/* ---- linking ---- */

size_t bn_pod_ips(const struct bn_pod_object *pod, const union bn_addr **ret)
{
	*ret = pod->running ? pod->running->ips : pod->ips;
	return pod->running ? pod->running->n_ips : pod->n_ips;
}

const char *bn_index_zone(struct bn_objects *objects, const char *node)
{
	const struct bn_object *found = bn_index_find(objects, BN_KIND_NODE, "", node);

	return found ? ((const struct bn_node_object *)found)->zone : NULL;
}

void bn_index_touch_zone(struct bn_objects *objects, const char *node)
{
	struct bn_service_object *service;
	struct bn_service_ref *ref, *next;
	struct bn_slice_object *slice;

	LIST_FOREACH(service, &objects->zoned_services, zoned)
		touch_service(objects, service->ref);
	/* given hints are compared with this node's zone alone */
	if (strcmp(node, objects->config.node_name))
		return;
	HASH_ITER(hh, objects->services, ref, next) {
		LIST_FOREACH(slice, &ref->slices, entry) {
			if (slice->hinted)
				touch_service(objects, ref);
		}
	}
}

bool bn_index_is_served(const struct bn_objects *objects, const struct bn_service_ref *ref)
{
	uint32_t kinds = objects->config.frontend_kinds;

	if (ref->service)
		return true;
	return ref->pod && !ref->pod->host_network && bn_pod_is_here(objects, ref->pod) &&
	       (!kinds || kinds & 1u << BN_FRONTEND_HOST_PORT);
}

static int link_host_ports(struct bn_objects *objects, struct bn_pod_object *pod)
{
	char name[INDEX_KEY_MAX];
	int r;

	if (!pod->n_host_ports)
		return 0;
	snprintf(name, sizeof(name), BN_HOST_PORT_PREFIX "%s", pod->o.name);
	r = need_service(objects, pod->o.namespace, name, &pod->ref);
	if (r == 0)
		pod->ref->pod = pod;
	return r;
}

static int link_pod(struct bn_objects *objects, struct bn_pod_object *pod)
{
	int r;

	pod->running = (const struct bn_running_object *)bn_index_find(
		objects, BN_KIND_RUNNING, pod->o.namespace, pod->o.name);
	for (size_t i = 0; i < pod->n_labels; i++) {
		r = link_label(objects, &pod->o, &pod->links[i], &pod->labels[i]);
		if (r < 0)
			return r;
	}
	touch_selecting(objects, pod);
	return link_host_ports(objects, pod);
}

/* The label of the selector that the fewest services hang under: pods look through these. */
static const struct bn_label *rarest_label(struct bn_objects *objects,
					   const struct bn_service_object *service)
{
	const struct bn_label *rarest = NULL;
	size_t fewest = SIZE_MAX;

	for (size_t i = 0; i < service->n_selector; i++) {
		struct bn_label_ref *ref =
			find_label(objects, service->o.namespace, &service->selector[i]);
		size_t n = ref ? ref->n_services : 0;

		if (n < fewest) {
			fewest = n;
			rarest = &service->selector[i];
		}
	}
	return rarest;
}

static int link_service(struct bn_objects *objects, struct bn_service_object *service)
{
	int r = need_service(objects, service->o.namespace, service->o.name, &service->ref);

	if (r < 0)
		return r;
	service->ref->service = service;
	if (service->distribution)
		LIST_INSERT_HEAD(&objects->zoned_services, service, zoned);
	if (!service->n_selector)
		return 0;
	if (!service->under)
		service->under = rarest_label(objects, service);
	return link_label(objects, &service->o, &service->link, service->under);
}

static int link_slice(struct bn_objects *objects, struct bn_slice_object *slice)
{
	int r;

	if (!slice->service)
		return 0;
	r = need_service(objects, slice->o.namespace, slice->service, &slice->ref);
	if (r == 0)
		LIST_INSERT_HEAD(&slice->ref->slices, slice, entry);
	return r;
}

static int link_claims(struct bn_objects *objects, struct bn_object *object)
{
	const struct bn_pod_object *pod = NULL;
	int r = 0;

	if (object->kind == BN_KIND_POD)
		pod = (const struct bn_pod_object *)object;
	for (size_t i = 0; r == 0 && i < object->n_claims; i++) {
		struct bn_claim *claim = &object->claims[i];

		/* a running pod's addresses are claimed by its endpoint */
		if (pod && (claim->key.port ? !bn_pod_is_here(objects, pod) : !!pod->running))
			continue;
		r = bn_index_claim(objects, object, claim);
	}
	return r;
}

int bn_index_link(struct bn_objects *objects, struct bn_object *object)
{
	int r = 0;

	/* first, so that unlinking it finds it touched */
	r = touch_object(objects, object);
	if (r < 0)
		return r;
	HASH_ADD_KEYPTR(hh, objects->objects, object->key, bn_object_key_size(object), object);
	if (memory(objects) < 0)
		return -ENOMEM;
	if (object->kind == BN_KIND_POD)
		r = link_pod(objects, (struct bn_pod_object *)object);
	else if (object->kind == BN_KIND_SERVICE)
		r = link_service(objects, (struct bn_service_object *)object);
	else if (object->kind == BN_KIND_SLICE)
		r = link_slice(objects, (struct bn_slice_object *)object);
	if (r == 0)
		r = link_claims(objects, object);
	if (r < 0)
		bn_index_unlink(objects, object);
	return r;
}

void bn_index_unlink(struct bn_objects *objects, struct bn_object *object)
{
	touch_object(objects, object);
	for (size_t i = 0; i < object->n_claims; i++)
		unclaim(objects, &object->claims[i]);
	if (object->kind == BN_KIND_POD) {
		struct bn_pod_object *pod = (struct bn_pod_object *)object;

		touch_selecting(objects, pod);
		for (size_t i = 0; i < pod->n_labels; i++)
			unlink_label(objects, &pod->links[i]);
		if (pod->ref) {
			touch_service(objects, pod->ref);
			pod->ref->pod = NULL;
			pod->ref = NULL;
		}
		pod->running = NULL;
	} else if (object->kind == BN_KIND_SERVICE) {
		struct bn_service_object *service = (struct bn_service_object *)object;

		if (service->ref) {
			touch_service(objects, service->ref);
			if (service->distribution)
				LIST_REMOVE(service, zoned);
			service->ref->service = NULL;
			service->ref = NULL;
		}
		unlink_label(objects, &service->link);
	} else if (object->kind == BN_KIND_SLICE) {
		struct bn_slice_object *slice = (struct bn_slice_object *)object;

		if (slice->ref) {
			touch_service(objects, slice->ref);
			LIST_REMOVE(slice, entry);
			slice->ref = NULL;
		}
	}
	HASH_DELETE(hh, objects->objects, object);
}

/* ---- the end of a transaction ---- */

void bn_index_sweep(struct bn_objects *objects)
{
	struct bn_touched_object *object, *next_object;
	struct bn_touched_addr *addr, *next_addr;
	struct bn_service_ref *ref;
	struct bn_label_ref *label;

	while ((label = LIST_FIRST(&objects->idle_labels))) {
		LIST_REMOVE(label, idle);
		label->is_idle = false;
		if (!LIST_EMPTY(&label->pods) || !LIST_EMPTY(&label->services))
			continue;
		HASH_DELETE(hh, objects->labels, label);
		free(label);
	}
	while ((ref = STAILQ_FIRST(&objects->touched_services))) {
		STAILQ_REMOVE_HEAD(&objects->touched_services, touched);
		ref->is_touched = false;
		if (ref->service || ref->pod || !LIST_EMPTY(&ref->slices))
			continue;
		HASH_DELETE(hh, objects->services, ref);
		free(ref);
	}
	HASH_ITER(hh, objects->touched_addrs, addr, next_addr) {
		HASH_DELETE(hh, objects->touched_addrs, addr);
		free(addr);
	}
	HASH_ITER(hh, objects->touched_objects, object, next_object) {
		HASH_DELETE(hh, objects->touched_objects, object);
		free(object);
	}
}

void bn_index_free(struct bn_objects *objects)
{
	struct bn_object *object, *next;

	HASH_ITER(hh, objects->objects, object, next) {
		bn_index_unlink(objects, object);
		bn_object_free(object);
	}
	bn_index_sweep(objects);
}
