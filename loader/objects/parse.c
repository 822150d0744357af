// SPDX-License-Identifier: Apache-2.0
/*
 * What all kinds share: which kind it is, its name, its metadata. Known fields of a wrong type
 * are refused. Unknown ones are ignored, but for those of policies.
 */
#include "state.h"

#include <errno.h>
#include <string.h>

#define PARSE_ANNOTATIONS_MAX (256u << 10)

int bn_parse_copy(struct bn_arena *arena, const char *s, const char **ret)
{
	*ret = s ? bn_arena_strdup(arena, s) : NULL;
	return s && !*ret ? -ENOMEM : 0;
}

int bn_parse_members(const struct bn_field *root)
{
	static const char *const members[] = {"apiVersion", "kind",   "metadata",
					      "spec",       "status", NULL};

	return bn_field_members(root, members);
}

static int parse_kind(const struct bn_field *root, enum bn_object_kind *ret)
{
	struct bn_field version_field = bn_field_get(root, "apiVersion");
	struct bn_field kind_field = bn_field_get(root, "kind");
	const char *version = NULL, *kind = NULL;

	if (bn_field_required(&kind_field) < 0 || bn_field_string(&kind_field, &kind) < 0 ||
	    bn_field_required(&version_field) < 0 || bn_field_string(&version_field, &version) < 0)
		return -EINVAL;
	for (int i = 0; i < BN_KIND_STORED_MAX; i++) {
		if (strcmp(kind, bn_kinds[i].kind))
			continue;
		if (strcmp(version, bn_kinds[i].version))
			return bn_field_fail(&version_field,
					     "\"%.64s\" is not known for %s, use %s", version, kind,
					     bn_kinds[i].version);
		*ret = (enum bn_object_kind)i;
		return 0;
	}
	return bn_field_fail(&kind_field,
			     "\"%.64s\" is not supported, only Namespace, Node, Pod, Service, "
			     "EndpointSlice, NetworkPolicy and ClusterNetworkPolicy are",
			     kind);
}

static const char *(*name_form(enum bn_object_kind kind))(const char *)
{
	return kind == BN_KIND_NAMESPACE || kind == BN_KIND_SERVICE ? bn_name_label
								    : bn_name_subdomain;
}

int bn_parse_identity(const struct bn_document *document, json_t *tree, struct bn_identity_key *ret,
		      struct bn_error *err)
{
	struct bn_field root = bn_field_root(document, tree, err);
	struct bn_field metadata, field;
	int r;

	r = parse_kind(&root, &ret->kind);
	if (r < 0)
		return r;
	metadata = bn_field_get(&root, "metadata");
	field = bn_field_get(&metadata, "name");
	if (bn_field_required(&metadata) < 0 || bn_field_object(&metadata) < 0)
		return -EINVAL;
	if (bn_field_required(&field) < 0 ||
	    bn_field_name(&field, name_form(ret->kind), &ret->name) < 0)
		return -EINVAL;
	field = bn_field_get(&metadata, "namespace");
	if (bn_field_string(&field, &ret->namespace) < 0)
		return -EINVAL;
	if (ret->namespace && !*ret->namespace)
		ret->namespace = NULL;
	if (!bn_kinds[ret->kind].namespaced) {
		if (ret->namespace)
			return bn_field_fail(&field, "a %s has no namespace",
					     bn_kinds[ret->kind].kind);
		ret->namespace = "";
		return 0;
	}
	if (!ret->namespace) {
		ret->namespace = "default";
		return 0;
	}
	return bn_field_name(&field, bn_name_label, &ret->namespace);
}

int bn_parse_labels(const struct bn_field *field, struct bn_arena *arena, struct bn_label **ret,
		    size_t *ret_n)
{
	const char *key, *must;
	json_t *value;
	size_t n = 0;

	*ret = NULL;
	*ret_n = 0;
	if (bn_field_object(field) < 0)
		return -EINVAL;
	if (!field->value || !json_object_size(field->value))
		return 0;
	*ret = bn_arena_alloc(arena, json_object_size(field->value), sizeof(**ret));
	if (!*ret)
		return -ENOMEM;
	json_object_foreach(field->value, key, value) {
		struct bn_field label = bn_field_get(field, key);
		const char *text = NULL;

		must = bn_name_label_key(key);
		if (must)
			return bn_field_fail(field, "the key \"%.100s\" must be %s", key, must);
		if (bn_field_required(&label) < 0 ||
		    bn_field_name(&label, bn_name_label_value, &text) < 0)
			return -EINVAL;
		if (bn_parse_copy(arena, key, &(*ret)[n].key) < 0 ||
		    bn_parse_copy(arena, text, &(*ret)[n].value) < 0)
			return -ENOMEM;
		*ret_n = ++n;
	}
	return 0;
}

static int check_annotations(const struct bn_field *field)
{
	const char *key, *must;
	size_t total = 0;
	json_t *value;

	if (bn_field_object(field) < 0)
		return -EINVAL;
	if (!field->value)
		return 0;
	json_object_foreach(field->value, key, value) {
		struct bn_field annotation = bn_field_get(field, key);
		const char *text = NULL;

		must = bn_name_label_key(key);
		if (must)
			return bn_field_fail(field, "the key \"%.100s\" must be %s", key, must);
		if (bn_field_required(&annotation) < 0 || bn_field_string(&annotation, &text) < 0)
			return -EINVAL;
		total += strlen(key) + strlen(text);
	}
	if (total > PARSE_ANNOTATIONS_MAX)
		return bn_field_fail(field, "%zu bytes are more than %u, the limit", total,
				     PARSE_ANNOTATIONS_MAX);
	return 0;
}

/*
 * Annotations that are true or false: BN_AUDIT of a Pod, a Namespace or a Node: policies of its pods,
 * or its firewall, report and don't enforce; BN_HOST_FIREWALL of a NetworkPolicy: it is nodes'.
 */
#define BN_AUDIT "bpfnet.io/policy-audit"
#define BN_HOST_FIREWALL "bpfnet.io/host-firewall"

static int parse_switch(const struct bn_field *annotations, const char *name, bool *ret)
{
	struct bn_field field = bn_field_get(annotations, name);
	const char *text = NULL;

	if (bn_field_string(&field, &text) < 0)
		return -EINVAL;
	*ret = text && !strcmp(text, "true");
	if (text && !*ret && strcmp(text, "false"))
		return bn_field_fail(&field, "\"%.64s\" is neither \"true\" nor \"false\"", text);
	return 0;
}

/* Labels of kinds that keep none are still checked. */
static int check_metadata(const struct bn_field *root, struct bn_object *object)
{
	struct bn_field metadata = bn_field_get(root, "metadata");
	struct bn_field labels = bn_field_get(&metadata, "labels");
	struct bn_field annotations = bn_field_get(&metadata, "annotations");
	struct bn_arena scratch = {0};
	struct bn_label *list;
	size_t n;
	int r;

	if (object->kind == BN_KIND_NAMESPACE) {
		struct bn_labels_object *ns = (struct bn_labels_object *)object;

		r = bn_parse_labels(&labels, &object->arena, &ns->labels, &ns->n_labels);
		if (r == 0)
			r = parse_switch(&annotations, BN_AUDIT, &ns->audit);
	} else if (object->kind == BN_KIND_POD) {
		struct bn_pod_object *pod = (struct bn_pod_object *)object;

		r = bn_parse_labels(&labels, &object->arena, &pod->labels, &pod->n_labels);
		if (r == 0)
			r = parse_switch(&annotations, BN_AUDIT, &pod->audit);
	} else if (object->kind == BN_KIND_NODE) {
		struct bn_node_object *node = (struct bn_node_object *)object;

		r = bn_parse_labels(&labels, &object->arena, &node->labels, &node->n_labels);
		if (r == 0)
			r = parse_switch(&annotations, BN_AUDIT, &node->audit);
	} else {
		r = bn_parse_labels(&labels, &scratch, &list, &n);
		bn_arena_done(&scratch);
		if (r == 0 && object->kind == BN_KIND_POLICY)
			r = parse_switch(&annotations, BN_HOST_FIREWALL,
					 &((struct bn_policy_object *)object)->spec.host);
	}
	return r < 0 ? r : check_annotations(&annotations);
}

static int parse_body(const struct bn_field *root, struct bn_object *object)
{
	switch ((enum bn_object_kind)object->kind) {
	case BN_KIND_NODE:
		return bn_parse_node(root, (struct bn_node_object *)object);
	case BN_KIND_POD:
		return bn_parse_pod(root, (struct bn_pod_object *)object);
	case BN_KIND_SERVICE:
		return bn_parse_service(root, (struct bn_service_object *)object);
	case BN_KIND_SLICE:
		return bn_parse_slice(root, (struct bn_slice_object *)object);
	case BN_KIND_POLICY:
		return bn_parse_policy(root, (struct bn_policy_object *)object);
	case BN_KIND_CLUSTER_POLICY:
		return bn_parse_cluster_policy(root, (struct bn_policy_object *)object);
	case BN_KIND_NAMESPACE:
	case BN_KIND_RUNNING:
	case _BN_KIND_MAX:
		break;
	}
	return 0;
}

int bn_parse_object(const struct bn_document *document, json_t *tree, struct bn_object **ret,
		    struct bn_error *err)
{
	struct bn_field root = bn_field_root(document, tree, err);
	struct bn_identity_key identity;
	struct bn_object *object;
	int r;

	r = bn_parse_identity(document, tree, &identity, err);
	if (r < 0)
		return r;
	object = bn_object_new(identity.kind, identity.namespace, identity.name);
	if (!object)
		return -ENOMEM;
	r = check_metadata(&root, object);
	if (r == 0)
		r = parse_body(&root, object);
	if (r < 0) {
		bn_object_free(object);
		return r;
	}
	*ret = object;
	return 0;
}
