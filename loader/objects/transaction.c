// SPDX-License-Identifier: Apache-2.0
/*
 * A change of objects, all or nothing. Objects are staged (stage.c): written to the store within
 * its transaction and linked into the model. Then conflicts are looked for and what is
 * open is allotted, the datapath gets the difference, and the store commits. Any failure takes
 * the steps back in reverse order; what the datapath already had is told the old state again.
 *
 * A conflict is one only if it is there at the end, so two objects may trade addresses.
 */
#include "transaction.h"

#include <errno.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define TRANSACTION_TRIM 1000 /* objects after which freed memory goes back to the system */

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

static int check_conflicts(struct bn_transaction *t, const struct bn_entry *entry,
			   struct bn_error *err)
{
	struct bn_document document = bn_stage_document(t, entry);
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

static int allot(struct bn_transaction *t, struct bn_service_object *service,
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
static int settle(struct bn_transaction *t, struct bn_error *err)
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
		document = bn_stage_document(t, entry);
		r = allot(t, (struct bn_service_object *)entry->new, &document, err);
		if (r < 0) {
			t->bad = entry->input;
			return r;
		}
	}
	return 0;
}

static void undo(struct bn_transaction *t)
{
	while (t->n) {
		struct bn_entry *entry = &t->entries[--t->n];

		if (entry->new == entry->old)
			continue;
		bn_stage_replace(t->objects, entry->new, entry->old);
		bn_object_free(entry->new);
	}
}

static int finish(struct bn_transaction *t, struct bn_error *err)
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

static void notify(struct bn_transaction *t)
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

static json_t *results(const struct bn_transaction *t)
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

static void release(struct bn_transaction *t)
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

static int begin(struct bn_transaction *t, struct bn_error *err)
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

static void tell_applied(const struct bn_transaction *t, int result)
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
static int end(struct bn_transaction *t, int r, json_t **ret_results, struct bn_error *err)
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
	struct bn_transaction t = {.objects = objects, .inputs = inputs};
	int r;

	r = begin(&t, err);
	if (r < 0)
		return r;
	return end(&t, bn_input_read(inputs, n, fn, &t, err), ret_results, err);
}

int bn_objects_apply(struct bn_objects *objects, const struct bn_input *inputs, size_t n,
		     json_t **ret_results, struct bn_error *err)
{
	return run(objects, inputs, n, bn_stage_apply, ret_results, err);
}

int bn_objects_delete(struct bn_objects *objects, const struct bn_input *inputs, size_t n,
		      json_t **ret_results, struct bn_error *err)
{
	return run(objects, inputs, n, bn_stage_delete, ret_results, err);
}

int bn_objects_sync(struct bn_objects *objects, const char *folder,
		    const struct bn_sync_file *files, size_t n, size_t *ret_bad,
		    struct bn_error *err)
{
	struct bn_transaction t = {.objects = objects, .files = files, .n_files = n, .bad = n};
	int r;

	*ret_bad = n;
	r = begin(&t, err);
	if (r < 0)
		return r;
	for (t.file = 0; r == 0 && t.file < n; t.file++) {
		if (files[t.file].kept)
			continue;
		r = bn_input_read(&files[t.file].input, 1, bn_stage_apply, &t, err);
		if (r < 0)
			t.bad = t.file;
	}
	if (r == 0)
		r = bn_stage_leftovers(&t, folder, err);
	r = end(&t, r, NULL, err);
	*ret_bad = t.bad;
	return r;
}
