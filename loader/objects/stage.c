// SPDX-License-Identifier: Apache-2.0
/*
 * Staging: objects are written to the store within its transaction and linked into the model, one by
 * one. Conflicts are not looked at yet, so that two objects may trade addresses.
 */
#include "transaction.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static size_t input_of(const struct bn_transaction *t, const struct bn_document *document)
{
	return t->files ? t->file : document->input;
}

static int add_entry(struct bn_transaction *t, const struct bn_document *document,
		     struct bn_object *old, struct bn_object *new, enum bn_result result)
{
	struct bn_entry *entries;

	if (t->n == t->room) {
		size_t room = t->room ? 2 * t->room : 16;

		entries = reallocarray(t->entries, room, sizeof(*entries));
		if (!entries)
			return -ENOMEM;
		t->entries = entries;
		t->room = room;
	}
	t->entries[t->n++] = (struct bn_entry){
		.old = old,
		.new = new,
		.document = document ? document->number : 0,
		.item = document ? document->item : -1,
		.input = document ? (uint32_t)input_of(t, document) : 0,
		.result = (uint8_t)result,
	};
	return 0;
}

struct bn_document bn_stage_document(const struct bn_transaction *t, const struct bn_entry *entry)
{
	return (struct bn_document){
		.file = t->files ? t->files[entry->input].input.file : t->inputs[entry->input].file,
		.input = entry->input,
		.number = entry->document,
		.item = entry->item,
	};
}

static int fail_duplicate(const struct bn_document *document, const struct bn_object *object,
			  const char *where, struct bn_error *err)
{
	char what[600];

	return bn_document_fail(document, err, -EINVAL, "%s is a duplicate, it is also in %s",
				bn_object_describe(object, what, sizeof(what)), where);
}

static const char *zone_of(const struct bn_object *object)
{
	const char *zone = NULL;

	if (object && object->kind == BN_KIND_NODE)
		zone = ((const struct bn_node_object *)object)->zone;
	return zone ? zone : "";
}

/* Replaces old by new in the model; both may be NULL, and nothing changes on failure. */
int bn_stage_replace(struct bn_objects *objects, struct bn_object *old, struct bn_object *new)
{
	int r;

	if (old)
		bn_index_unlink(objects, old);
	r = new ? bn_index_link(objects, new) : 0;
	if (r < 0 && old)
		bn_index_link(objects, old);
	if (strcmp(zone_of(old), zone_of(new)))
		bn_index_touch_zone(objects, old ? old->name : new->name);
	return r;
}

/* What an update may not change, and what it takes over; `old` is NULL for a new object. */
static int stage_update(const struct bn_objects *objects, const struct bn_document *document,
			json_t *tree, struct bn_object *old, struct bn_object *new,
			struct bn_error *err)
{
	struct bn_field root = bn_field_root(document, tree, err);
	struct bn_service_object *service = (struct bn_service_object *)new;
	int r;

	if (new->kind == BN_KIND_SERVICE) {
		r = bn_allot_check_ports(objects, &root, service,
					 (const struct bn_service_object *)old);
		return r < 0 || !old ? r
				     : bn_allot_update(&root, service,
						       (const struct bn_service_object *)old);
	}
	if (old && new->kind == BN_KIND_SLICE &&
	    ((struct bn_slice_object *)new)->family != ((struct bn_slice_object *)old)->family) {
		struct bn_field type = bn_field_get(&root, "addressType");

		return bn_field_fail(&type, "is immutable, delete the EndpointSlice first");
	}
	return 0;
}

/* Whether the object at hand was given by another file of the folder, which still has it. */
static const char *kept_by(const struct bn_transaction *t, const char *origin)
{
	for (size_t i = 0; origin && i < t->n_files; i++) {
		if (t->files[i].kept && !strcmp(t->files[i].path, origin))
			return t->files[i].path;
	}
	return NULL;
}

/* 1: the store has the very same text; 0: it has not, or not the object. */
static int compare_stored(struct bn_transaction *t, const struct bn_document *document,
			  const struct bn_object *old, const struct bn_row *row,
			  struct bn_error *err)
{
	struct bn_row stored;
	bool same;
	int r;

	r = bn_store_get(t->objects->store, row->kind, row->namespace, row->name, &stored, err);
	if (r < 0)
		return r;
	if (kept_by(t, stored.origin))
		return fail_duplicate(document, old, kept_by(t, stored.origin), err);
	same = stored.size == row->size && !memcmp(stored.text, row->text, row->size);
	if (!same)
		return 0;
	if (!row->origin != !stored.origin || (row->origin && strcmp(row->origin, stored.origin))) {
		r = bn_store_set_origin(t->objects->store, row, err);
		if (r < 0)
			return r;
	}
	return 1;
}

static int stage_new(struct bn_transaction *t, const struct bn_document *document, json_t *tree,
		     struct bn_object *new, const struct bn_row *row, struct bn_error *err)
{
	struct bn_objects *objects = t->objects;
	struct bn_object *old = bn_index_find(objects, new->kind, new->namespace, new->name);
	int r;

	if (old && old->transaction == objects->transaction)
		return fail_duplicate(document, old, "an earlier document of this call", err);
	if (old) {
		r = compare_stored(t, document, old, row, err);
		if (r == 1) {
			old->transaction = objects->transaction;
			r = add_entry(t, document, old, old, BN_RESULT_UNCHANGED);
			return r < 0 ? r : 1;
		}
		if (r < 0)
			return r;
	}
	r = stage_update(objects, document, tree, old, new, err);
	if (r < 0)
		return r;
	if (new->kind == BN_KIND_SERVICE)
		bn_allot_prepare((struct bn_service_object *)new);
	r = bn_store_put(objects->store, row, err);
	if (r == 0)
		r = add_entry(t, document, old, new,
			      old ? BN_RESULT_CONFIGURED : BN_RESULT_CREATED);
	if (r < 0)
		return r;
	r = bn_stage_replace(objects, old, new);
	if (r < 0)
		t->n--;
	else
		new->transaction = objects->transaction;
	return r;
}

int bn_stage_apply(void *user, const struct bn_document *document, json_t *tree,
		   struct bn_error *err)
{
	struct bn_transaction *t = user;
	struct bn_object *new = NULL;
	size_t size;
	int r;

	r = bn_parse_object(document, tree, &new, err);
	if (r < 0)
		return r;
	size = json_dumpb(tree, t->text, BN_INPUT_OBJECT_MAX, JSON_COMPACT);
	if (!size || size > BN_INPUT_OBJECT_MAX) {
		r = bn_document_fail(document, err, -EFBIG,
				     "is larger than 1 MiB, the limit of an object");
	} else {
		struct bn_row row = {
			.kind = new->kind,
			.namespace = new->namespace,
			.name = new->name,
			.text = t->text,
			.size = size,
			.origin = t->files ? t->files[t->file].path : NULL,
		};

		r = stage_new(t, document, tree, new, &row, err);
	}
	if (r != 0)
		bn_object_free(new);
	return r < 0 ? r : 0;
}

static int stage_removal(struct bn_transaction *t, const struct bn_document *document,
			 struct bn_object *old, struct bn_error *err)
{
	int r;

	r = bn_store_delete(t->objects->store, old->kind, old->namespace, old->name, err);
	if (r == 0)
		r = add_entry(t, document, old, NULL, BN_RESULT_DELETED);
	return r < 0 ? r : bn_stage_replace(t->objects, old, NULL);
}

/* What is in a namespace goes with it, as in Kubernetes. */
static int stage_contents(struct bn_transaction *t, const struct bn_document *document,
			  const char *namespace, struct bn_error *err)
{
	struct bn_object *object, *next;
	int r = 0;

	HASH_ITER(hh, t->objects->objects, object, next) {
		if (r == 0 && object->kind < BN_KIND_STORED_MAX &&
		    !strcmp(object->namespace, namespace))
			r = stage_removal(t, document, object, err);
	}
	t->emptied = true;
	return r;
}

/* Whether the object went with its namespace in this very call. */
static bool went_already(const struct bn_transaction *t, const struct bn_identity_key *key)
{
	for (size_t i = 0; t->emptied && i < t->n; i++) {
		const struct bn_entry *entry = &t->entries[i];

		if (!entry->new && entry->old->kind == key->kind &&
		    !strcmp(entry->old->namespace, key->namespace) &&
		    !strcmp(entry->old->name, key->name))
			return true;
	}
	return false;
}

int bn_stage_delete(void *user, const struct bn_document *document, json_t *tree,
		    struct bn_error *err)
{
	struct bn_identity_key key;
	struct bn_transaction *t = user;
	struct bn_object *old;
	int r;

	r = bn_parse_identity(document, tree, &key, err);
	if (r < 0)
		return r;
	old = bn_index_find(t->objects, key.kind, key.namespace, key.name);
	if (old) {
		r = stage_removal(t, document, old, err);
		return r < 0 || key.kind != BN_KIND_NAMESPACE
			       ? r
			       : stage_contents(t, document, old->name, err);
	}
	if (went_already(t, &key))
		return 0;
	if (!*key.namespace)
		return bn_document_fail(document, err, -ENOENT, "%s \"%s\" not found",
					bn_kinds[key.kind].plural, key.name);
	return bn_document_fail(document, err, -ENOENT, "%s \"%s\" not found in namespace \"%s\"",
				bn_kinds[key.kind].plural, key.name, key.namespace);
}

struct leftovers {
	struct bn_transaction *t;
	struct bn_object **v;
	size_t n, room;
};

/* An object of the folder that no file has any more, unless its file was not read. */
static int find_leftover(void *user, const struct bn_row *row, struct bn_error *err)
{
	struct leftovers *left = user;
	struct bn_objects *objects = left->t->objects;
	struct bn_object *object, **v;

	object = bn_index_find(objects, row->kind, row->namespace, row->name);
	if (!object || object->transaction == objects->transaction || kept_by(left->t, row->origin))
		return 0;
	if (left->n == left->room) {
		size_t room = left->room ? 2 * left->room : 16;

		v = reallocarray(left->v, room, sizeof(*v));
		if (!v)
			return -ENOMEM;
		left->v = v;
		left->room = room;
	}
	left->v[left->n++] = object;
	return 0;
}

int bn_stage_leftovers(struct bn_transaction *t, const char *folder, struct bn_error *err)
{
	struct leftovers left = {.t = t};
	char *prefix = NULL;
	int r;

	if (asprintf(&prefix, "%s/", folder) < 0)
		return -ENOMEM;
	r = bn_store_each_from(t->objects->store, prefix, find_leftover, &left, err);
	for (size_t i = 0; r == 0 && i < left.n; i++)
		r = stage_removal(t, NULL, left.v[i], err);
	free(left.v);
	free(prefix);
	return r;
}
