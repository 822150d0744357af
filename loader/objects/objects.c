// SPDX-License-Identifier: Apache-2.0
/*
 * Opening and closing the objects, and the endpoints of this node. At a start the model is built
 * from the store's texts, by the very code that reads manifests; everything is then touched, so
 * that the first published change is the whole model.
 */
#include "objects.h"

#include "state.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define OBJECTS_ENDPOINT_IPS_MAX 16

/* ---- life ---- */

static int copy_config(struct bn_objects *objects, const struct bn_objects_config *config)
{
	struct bn_cidr *cidrs = calloc(config->n_service_cidrs + 1, sizeof(*cidrs));

	objects->config = *config;
	objects->config.state_dir = strdup(config->state_dir);
	objects->config.node_name = strdup(config->node_name);
	objects->config.service_cidrs = cidrs;
	if (!cidrs || !objects->config.state_dir || !objects->config.node_name)
		return -ENOMEM;
	for (size_t i = 0; i < config->n_service_cidrs; i++)
		cidrs[i] = config->service_cidrs[i];
	return 0;
}

static int adopt(struct bn_objects *objects, const struct bn_row *row, struct bn_object *object)
{
	if (object->kind != row->kind || strcmp(object->namespace, row->namespace) ||
	    strcmp(object->name, row->name))
		return -EINVAL;
	if (object->kind == BN_KIND_SERVICE) {
		struct bn_service_object *service = (struct bn_service_object *)object;

		if (row->allotted && bn_allot_parse(service, row->allotted) < 0)
			return -EINVAL;
		bn_allot_prepare(service);
	}
	if (bn_index_find(objects, object->kind, object->namespace, object->name))
		return -EINVAL;
	return bn_index_link(objects, object);
}

static int load_row(void *user, const struct bn_row *row, struct bn_error *err)
{
	struct bn_objects *objects = user;
	struct bn_document document = {
		.file = "objects.db", .number = 1, .item = -1, .stored = true};
	struct bn_error reason = BN_ERROR_INIT;
	struct bn_object *object = NULL;
	json_t *tree;
	int r;

	tree = json_loadb(row->text, row->size, JSON_REJECT_DUPLICATES, NULL);
	r = tree ? bn_parse_object(&document, tree, &object, &reason) : -EINVAL;
	json_decref(tree);
	if (r == 0)
		r = adopt(objects, row, object);
	if (r == -EINVAL) {
		r = bn_error_set(err, -EBADMSG,
				 "cannot read %s/objects.db: its record of %.80s/%.80s is not "
				 "valid%s%s; move the file away and apply the manifests again",
				 objects->config.state_dir, row->namespace, row->name,
				 reason.text ? ": " : "", reason.text ? reason.text : "");
	}
	if (r < 0)
		bn_object_free(object);
	bn_error_done(&reason);
	return r;
}

int bn_objects_new(const struct bn_objects_config *config, struct bn_objects **ret,
		   struct bn_error *err)
{
	struct bn_objects *objects = calloc(1, sizeof(*objects));
	int r;

	if (!objects)
		return -ENOMEM;
	STAILQ_INIT(&objects->touched_services);
	LIST_INIT(&objects->idle_labels);
	LIST_INIT(&objects->zoned_services);
	r = copy_config(objects, config);
	if (r == 0)
		r = bn_allot_open(objects);
	if (r == 0)
		r = bn_store_open(objects->config.state_dir, &objects->store, err);
	if (r == 0)
		r = bn_store_each(objects->store, load_row, objects, err);
	if (r < 0) {
		bn_objects_free(objects);
		return r;
	}
	*ret = objects;
	return 0;
}

int bn_objects_start(struct bn_objects *objects, struct bn_error *err)
{
	int r;

	if (objects->started)
		return 0;
	r = bn_transaction_begin(objects, err);
	if (r < 0)
		return r;
	r = bn_transaction_publish(objects, err);
	objects->started = r == 0;
	bn_transaction_end(objects);
	return r;
}

void bn_objects_free(struct bn_objects *objects)
{
	if (!objects)
		return;
	bn_index_free(objects);
	bn_allot_close(objects);
	bn_store_free(objects->store);
	free((void *)objects->config.service_cidrs);
	free((void *)objects->config.node_name);
	free((void *)objects->config.state_dir);
	free(objects);
}

/* ---- endpoints of this node ---- */

static int running_new(const char *namespace, const char *name, const union bn_addr *ips, size_t n,
		       struct bn_running_object **ret)
{
	struct bn_running_object *running =
		(struct bn_running_object *)bn_object_new(BN_KIND_RUNNING, namespace, name);

	if (!running)
		return -ENOMEM;
	running->ips = bn_arena_alloc(&running->o.arena, n, sizeof(*ips));
	running->o.claims = bn_arena_alloc(&running->o.arena, n, sizeof(*running->o.claims));
	if (!running->ips || !running->o.claims) {
		bn_object_free(&running->o);
		return -ENOMEM;
	}
	for (size_t i = 0; i < n; i++) {
		running->ips[i] = ips[i];
		running->o.claims[i].key.addr = ips[i];
	}
	running->n_ips = n;
	running->o.n_claims = (uint16_t)n;
	*ret = running;
	return 0;
}

/* The pod's links depend on its endpoint, so the pod is taken out meanwhile. */
static int swap_running(struct bn_objects *objects, struct bn_object *pod, struct bn_object *old,
			struct bn_object *new)
{
	int r = 0;

	if (pod)
		bn_index_unlink(objects, pod);
	if (old)
		bn_index_unlink(objects, old);
	if (new)
		r = bn_index_link(objects, new);
	if (r < 0 && old)
		bn_index_link(objects, old);
	if (pod)
		bn_index_link(objects, pod);
	return r;
}

static int fail_claim(const struct bn_object *object, const struct bn_claim *claim, const char *why,
		      struct bn_error *err)
{
	char addr[BN_ADDR_STRLEN];

	if (claim->key.port)
		return bn_error_set(err, -EADDRINUSE,
				    "cannot give host port %u to pod %s/%s: it is already taken "
				    "by %s",
				    claim->key.port, object->namespace, object->name, why);
	return bn_error_set(
		err, -EADDRINUSE, "cannot give %s to pod %s/%s: it is already taken by %s",
		bn_addr_format(&claim->key.addr, addr), object->namespace, object->name, why);
}

static int check_free(struct bn_objects *objects, const struct bn_object *object,
		      struct bn_error *err)
{
	const struct bn_claim *claim = NULL;
	const struct bn_object *other;
	char what[600];

	other = object ? bn_conflict_find(objects, object, &claim) : NULL;
	return other ? fail_claim(object, claim, bn_object_describe(other, what, sizeof(what)), err)
		     : 0;
}

/* At a start the ports are in use since before; whoever took one meanwhile can't be refused. */
static int check_sockets(struct bn_objects *objects, const struct bn_object *pod,
			 struct bn_error *err)
{
	const struct bn_claim *claim = NULL;

	if (pod && objects->started)
		claim = bn_conflict_socket(objects, pod, NULL);
	return claim ? fail_claim(pod, claim, "a socket of the host", err) : 0;
}

static int set_running(struct bn_objects *objects, const char *namespace, const char *name,
		       struct bn_object *new, struct bn_error *err)
{
	struct bn_object *pod = bn_index_find(objects, BN_KIND_POD, namespace, name);
	struct bn_object *old = bn_index_find(objects, BN_KIND_RUNNING, namespace, name);
	int r;

	r = bn_transaction_begin(objects, err);
	if (r < 0)
		return r;
	r = swap_running(objects, pod, old, new);
	if (r == 0) {
		r = check_free(objects, new, err);
		if (r == 0 && new)
			r = check_free(objects, pod, err);
		if (r == 0 && new && !old)
			r = check_sockets(objects, pod, err);
		if (r == 0 && objects->started)
			r = bn_transaction_publish(objects, err);
		if (r < 0)
			swap_running(objects, pod, new, old);
	}
	if (r == 0)
		bn_object_free(old);
	bn_transaction_end(objects);
	return r;
}

int bn_objects_endpoint_set(struct bn_objects *objects, const char *namespace, const char *pod,
			    const union bn_addr *ips, size_t n, struct bn_error *err)
{
	struct bn_running_object *running;
	const char *must;
	int r;

	must = bn_name_label(namespace);
	if (must)
		return bn_error_set(err, -EINVAL, "\"%.80s\" is no namespace's name: %s", namespace,
				    must);
	must = bn_name_subdomain(pod);
	if (must)
		return bn_error_set(err, -EINVAL, "\"%.80s\" is no pod's name: %s", pod, must);
	if (!n || n > OBJECTS_ENDPOINT_IPS_MAX)
		return bn_error_set(err, -EINVAL, "pod %s/%s needs 1 to %d addresses, not %zu",
				    namespace, pod, OBJECTS_ENDPOINT_IPS_MAX, n);
	for (size_t i = 0; i < n; i++) {
		for (size_t k = 0; k < i; k++) {
			if (bn_addr_equal(&ips[i], &ips[k]))
				return bn_error_set(err, -EINVAL,
						    "pod %s/%s is given one address twice",
						    namespace, pod);
		}
	}
	r = running_new(namespace, pod, ips, n, &running);
	if (r < 0)
		return r;
	r = set_running(objects, namespace, pod, &running->o, err);
	if (r < 0)
		bn_object_free(&running->o);
	return r;
}

int bn_objects_endpoint_remove(struct bn_objects *objects, const char *namespace, const char *pod,
			       struct bn_error *err)
{
	if (!bn_index_find(objects, BN_KIND_RUNNING, namespace, pod))
		return bn_error_set(err, -ENOENT, "pod %s/%s has no endpoint here", namespace, pod);
	return set_running(objects, namespace, pod, NULL, err);
}

/* ---- reading the model ---- */

static int compare_refs(const void *x, const void *y)
{
	const struct bn_service_ref *const *a = x, *const *b = y;
	int r = strcmp((*a)->key, (*b)->key);

	return r ? r : strcmp((*a)->key + strlen((*a)->key) + 1, (*b)->key + strlen((*b)->key) + 1);
}

static int show(struct bn_objects *objects, const struct bn_service_ref *ref,
		int (*fn)(void *user, const struct bn_service_spec *service), void *user)
{
	struct bn_service_spec spec;
	struct bn_arena arena = {0};
	int r;

	r = bn_build_ref(objects, &arena, ref, &spec);
	if (r == 0)
		r = fn(user, &spec);
	bn_arena_done(&arena);
	return r;
}

int bn_objects_each_service(struct bn_objects *objects,
			    int (*fn)(void *user, const struct bn_service_spec *service),
			    void *user)
{
	struct bn_service_ref **refs, *ref, *next;
	size_t n = 0;
	int r = 0;

	refs = calloc(HASH_COUNT(objects->services) + 1, sizeof(struct bn_service_ref *));
	if (!refs)
		return -ENOMEM;
	HASH_ITER(hh, objects->services, ref, next) {
		if (bn_index_is_served(objects, ref))
			refs[n++] = ref;
	}
	qsort(refs, n, sizeof(struct bn_service_ref *), compare_refs);
	for (size_t i = 0; r == 0 && i < n; i++)
		r = show(objects, refs[i], fn, user);
	free(refs);
	return r;
}

int bn_objects_service(struct bn_objects *objects, const char *namespace, const char *name,
		       int (*fn)(void *user, const struct bn_service_spec *service), void *user)
{
	struct bn_service_ref *ref = bn_index_service(objects, namespace, name);

	return ref && bn_index_is_served(objects, ref) ? show(objects, ref, fn, user) : -ENOENT;
}

int bn_objects_pod_labels(struct bn_objects *objects, const char *namespace, const char *name,
			  int (*fn)(void *user, const struct bn_label *labels, size_t n),
			  void *user)
{
	const struct bn_pod_object *pod =
		(const struct bn_pod_object *)bn_index_find(objects, BN_KIND_POD, namespace, name);

	return pod ? fn(user, pod->labels, pod->n_labels) : -ENOENT;
}

int bn_objects_address_owner(struct bn_objects *objects, const union bn_addr *addr,
			     struct bn_owner *ret)
{
	const struct bn_claim *claim = bn_index_claimed(objects, addr, 0);

	if (!claim)
		return -ENOENT;
	ret->kind = claim->owner->kind == BN_KIND_NODE      ? BN_OWNER_NODE
		    : claim->owner->kind == BN_KIND_SERVICE ? BN_OWNER_SERVICE
							    : BN_OWNER_POD;
	ret->namespace = claim->owner->namespace;
	ret->name = claim->owner->name;
	return 0;
}
