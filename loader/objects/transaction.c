// SPDX-License-Identifier: Apache-2.0
/*
 * A change of objects, all or nothing. Objects are staged one by one: written to the store
 * within its transaction and linked into the model. Then conflicts are looked for and what is
 * open is allotted, the datapath gets the difference, and the store commits. Any failure takes
 * the steps back in reverse order; what the datapath already had is told the old state again.
 *
 * A conflict is one only if it is there at the end, so two objects may trade addresses.
 */
#include "state.h"

#include "input.h"

#include <errno.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define TRANSACTION_TRIM 1000 /* objects after which freed memory goes back to the system */

struct transaction {
	struct bn_objects *objects;
	struct bn_entry *entries;
	size_t n, room;
	char *text; /* of the object at hand; BN_INPUT_OBJECT_MAX bytes */
	const struct bn_input *inputs;
	/* a folder's: */
	const struct bn_sync_file *files;
	size_t n_files;
	size_t file;  /* at hand */
	size_t bad;   /* entry's input that was the cause of a failure */
	bool emptied; /* a namespace, of all that was in it */
	struct timespec began;
};

/* ---- staging ---- */

static size_t input_of(const struct transaction *t, const struct bn_document *document)
{
	return t->files ? t->file : document->input;
}

static int add_entry(struct transaction *t, const struct bn_document *document,
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

static struct bn_document document_of(const struct transaction *t, const struct bn_entry *entry)
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
static int replace(struct bn_objects *objects, struct bn_object *old, struct bn_object *new)
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
static const char *kept_by(const struct transaction *t, const char *origin)
{
	for (size_t i = 0; origin && i < t->n_files; i++) {
		if (t->files[i].kept && !strcmp(t->files[i].path, origin))
			return t->files[i].path;
	}
	return NULL;
}

/* 1: the store has the very same text; 0: it has not, or not the object. */
static int compare_stored(struct transaction *t, const struct bn_document *document,
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

static int stage_new(struct transaction *t, const struct bn_document *document, json_t *tree,
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
	r = replace(objects, old, new);
	if (r < 0)
		t->n--;
	else
		new->transaction = objects->transaction;
	return r;
}

static int stage_apply(void *user, const struct bn_document *document, json_t *tree,
		       struct bn_error *err)
{
	struct transaction *t = user;
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

static int stage_removal(struct transaction *t, const struct bn_document *document,
			 struct bn_object *old, struct bn_error *err)
{
	int r;

	r = bn_store_delete(t->objects->store, old->kind, old->namespace, old->name, err);
	if (r == 0)
		r = add_entry(t, document, old, NULL, BN_RESULT_DELETED);
	return r < 0 ? r : replace(t->objects, old, NULL);
}

/* What is in a namespace goes with it, as in Kubernetes. */
static int stage_contents(struct transaction *t, const struct bn_document *document,
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
static bool went_already(const struct transaction *t, const struct bn_identity_key *key)
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

static int stage_delete(void *user, const struct bn_document *document, json_t *tree,
			struct bn_error *err)
{
	struct bn_identity_key key;
	struct transaction *t = user;
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

/* ---- the end ---- */

static int fail_claim(const struct bn_document *document, const struct bn_claim *claim,
		      const char *why, struct bn_error *err)
{
	char path[96], what[BN_ADDR_STRLEN];

	if (claim->key.port)
		snprintf(what, sizeof(what), "%u", claim->key.port);
	else
		bn_addr_format(&claim->key.addr, what);
	return bn_document_fail(document, err, -EADDRINUSE, "%s: %s is already taken by %s",
				bn_conflict_path(claim, path, sizeof(path)), what, why);
}

static int check_conflicts(struct transaction *t, const struct bn_entry *entry,
			   struct bn_error *err)
{
	struct bn_document document = document_of(t, entry);
	const struct bn_claim *claim = NULL;
	const struct bn_object *other;
	char what[600];

	other = bn_conflict_find(t->objects, entry->new, &claim);
	if (other)
		return fail_claim(&document, claim, bn_object_describe(other, what, sizeof(what)),
				  err);
	claim = bn_conflict_socket(t->objects, entry->new, entry->old);
	return claim ? fail_claim(&document, claim, "a socket of the host", err) : 0;
}

static int allot(struct transaction *t, struct bn_service_object *service,
		 const struct bn_document *document, struct bn_error *err)
{
	struct bn_row row = {
		.kind = BN_KIND_SERVICE,
		.namespace = service->o.namespace,
		.name = service->o.name,
	};
	char *text = NULL;
	int r;

	r = bn_allot_service(t->objects, service, document, err);
	if (r == 0)
		r = bn_allot_format(service, &text);
	if (r == 0) {
		row.allotted = text;
		r = bn_store_set_allotted(t->objects->store, &row, err);
	}
	free(text);
	return r;
}

/* Two passes: what is named is claimed before anything is allotted. */
static int settle(struct transaction *t, struct bn_error *err)
{
	struct bn_document document;
	int r;

	for (size_t i = 0; i < t->n; i++) {
		const struct bn_entry *entry = &t->entries[i];

		if (!entry->new || entry->new == entry->old)
			continue;
		r = check_conflicts(t, entry, err);
		if (r < 0) {
			t->bad = entry->input;
			return r;
		}
	}
	for (size_t i = 0; i < t->n; i++) {
		const struct bn_entry *entry = &t->entries[i];

		if (!entry->new || entry->new == entry->old || entry->new->kind != BN_KIND_SERVICE)
			continue;
		document = document_of(t, entry);
		r = allot(t, (struct bn_service_object *)entry->new, &document, err);
		if (r < 0) {
			t->bad = entry->input;
			return r;
		}
	}
	return 0;
}

static void undo(struct transaction *t)
{
	while (t->n) {
		struct bn_entry *entry = &t->entries[--t->n];

		if (entry->new == entry->old)
			continue;
		replace(t->objects, entry->new, entry->old);
		bn_object_free(entry->new);
	}
}

static int finish(struct transaction *t, struct bn_error *err)
{
	int r;

	r = settle(t, err);
	if (r == 0)
		r = bn_transaction_publish(t->objects, err);
	if (r < 0) {
		undo(t);
		bn_store_rollback(t->objects->store);
		return r;
	}
	r = bn_store_commit(t->objects->store, err);
	if (r < 0) {
		bn_store_rollback(t->objects->store);
		undo(t);
		/* the datapath had this state before; should it refuse, its audit repairs it */
		bn_transaction_publish(t->objects, NULL);
	}
	return r;
}

static void notify_namespace(struct bn_objects *objects, const char *namespace)
{
	struct bn_object *object, *next;

	HASH_ITER(hh, objects->objects, object, next) {
		if (strcmp(object->namespace, namespace))
			continue;
		if (object->kind == BN_KIND_POD ||
		    (object->kind == BN_KIND_RUNNING &&
		     !bn_index_find(objects, BN_KIND_POD, namespace, object->name)))
			objects->config.pod_changed(objects->config.user, namespace, object->name);
	}
}

static void notify(struct transaction *t)
{
	struct bn_objects *objects = t->objects;

	for (size_t i = 0; objects->config.pod_changed && i < t->n; i++) {
		const struct bn_entry *entry = &t->entries[i];
		const struct bn_object *object = entry->new ? entry->new : entry->old;

		if (entry->new == entry->old)
			continue;
		if (object->kind == BN_KIND_POD)
			objects->config.pod_changed(objects->config.user, object->namespace,
						    object->name);
		else if (object->kind == BN_KIND_NAMESPACE)
			notify_namespace(objects, object->name);
	}
}

static json_t *results(const struct transaction *t)
{
	static const char *const names[] = {"unchanged", "created", "configured", "deleted"};
	json_t *list = json_array();

	for (size_t i = 0; list && i < t->n; i++) {
		const struct bn_entry *entry = &t->entries[i];
		const struct bn_object *o = entry->new ? entry->new : entry->old;
		json_t *one = json_pack("{s:s, s:s*, s:s, s:s}", "kind", bn_kinds[o->kind].singular,
					"namespace", *o->namespace ? o->namespace : NULL, "name",
					o->name, "result", names[entry->result]);

		if (json_array_append_new(list, one) < 0) {
			json_decref(list);
			return NULL;
		}
	}
	return list;
}

static void release(struct transaction *t)
{
	bool large = t->n > TRANSACTION_TRIM;

	for (size_t i = 0; i < t->n; i++) {
		if (t->entries[i].old != t->entries[i].new)
			bn_object_free(t->entries[i].old);
	}
	free(t->entries);
	free(t->text);
	bn_transaction_end(t->objects);
	if (large)
		malloc_trim(0);
}

static int begin(struct transaction *t, struct bn_error *err)
{
	int r;

	clock_gettime(CLOCK_MONOTONIC, &t->began);
	if (!t->objects->started)
		return bn_error_set(err, -EAGAIN,
				    "cannot change objects: bpfnetd is still starting, try again");
	r = bn_transaction_begin(t->objects, err);
	if (r < 0)
		return r;
	t->text = malloc(BN_INPUT_OBJECT_MAX);
	r = t->text ? bn_store_begin(t->objects->store, err) : -ENOMEM;
	if (r < 0)
		release(t);
	return r;
}

static void tell_applied(const struct transaction *t, int result)
{
	const struct bn_objects_config *config = &t->objects->config;
	struct timespec now;

	if (!config->applied)
		return;
	clock_gettime(CLOCK_MONOTONIC, &now);
	config->applied(config->user, result,
			(double)(now.tv_sec - t->began.tv_sec) +
				(double)(now.tv_nsec - t->began.tv_nsec) / 1e9);
}

/* After staging, which gave r: finishes or undoes, and always releases. */
static int end(struct transaction *t, int r, json_t **ret_results, struct bn_error *err)
{
	json_t *list = NULL;

	if (r == 0 && ret_results) {
		list = results(t);
		r = list ? 0 : -ENOMEM;
	}
	if (r < 0) {
		undo(t);
		bn_store_rollback(t->objects->store);
	} else {
		r = finish(t, err);
	}
	if (r == 0) {
		notify(t);
		if (ret_results)
			*ret_results = list;
	} else {
		json_decref(list);
	}
	tell_applied(t, r);
	release(t);
	return r;
}

static int run(struct bn_objects *objects, const struct bn_input *inputs, size_t n, bn_input_fn *fn,
	       json_t **ret_results, struct bn_error *err)
{
	struct transaction t = {.objects = objects, .inputs = inputs};
	int r;

	r = begin(&t, err);
	if (r < 0)
		return r;
	return end(&t, bn_input_read(inputs, n, fn, &t, err), ret_results, err);
}

int bn_objects_apply(struct bn_objects *objects, const struct bn_input *inputs, size_t n,
		     json_t **ret_results, struct bn_error *err)
{
	return run(objects, inputs, n, stage_apply, ret_results, err);
}

int bn_objects_delete(struct bn_objects *objects, const struct bn_input *inputs, size_t n,
		      json_t **ret_results, struct bn_error *err)
{
	return run(objects, inputs, n, stage_delete, ret_results, err);
}

/* ---- folders ---- */

struct leftovers {
	struct transaction *t;
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

static int stage_leftovers(struct transaction *t, const char *folder, struct bn_error *err)
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

int bn_objects_sync(struct bn_objects *objects, const char *folder,
		    const struct bn_sync_file *files, size_t n, size_t *ret_bad,
		    struct bn_error *err)
{
	struct transaction t = {.objects = objects, .files = files, .n_files = n, .bad = n};
	int r;

	*ret_bad = n;
	r = begin(&t, err);
	if (r < 0)
		return r;
	for (t.file = 0; r == 0 && t.file < n; t.file++) {
		if (files[t.file].kept)
			continue;
		r = bn_input_read(&files[t.file].input, 1, stage_apply, &t, err);
		if (r < 0)
			t.bad = t.file;
	}
	if (r == 0)
		r = stage_leftovers(&t, folder, err);
	r = end(&t, r, NULL, err);
	*ret_bad = t.bad;
	return r;
}
