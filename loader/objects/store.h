/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The database of objects: their text as it was applied, where it came from and what was
 * allotted to it. Kinds are enum bn_object_kind, whose stored values never change.
 */
#pragma once

#include <error.h>
#include <stddef.h>

struct bn_store;

/* One object; strings are borrowed until the next call. */
struct bn_row {
	int kind;
	const char *namespace;
	const char *name;
	const char *text;
	size_t size;
	const char *allotted; /* or NULL */
	const char *origin;   /* or NULL */
};

/* A database that is not bpfnet's, of another version, broken or in use is refused. */
int bn_store_open(const char *dir, struct bn_store **ret, struct bn_error *err);
void bn_store_free(struct bn_store *store);

int bn_store_begin(struct bn_store *store, struct bn_error *err);
int bn_store_commit(struct bn_store *store, struct bn_error *err);
void bn_store_rollback(struct bn_store *store);

/* -ENOENT where there is none. */
int bn_store_get(struct bn_store *store, int kind, const char *namespace, const char *name,
		 struct bn_row *ret, struct bn_error *err);
/* Writes text and origin, and forgets what was allotted. */
int bn_store_put(struct bn_store *store, const struct bn_row *row, struct bn_error *err);
int bn_store_set_allotted(struct bn_store *store, const struct bn_row *row, struct bn_error *err);
int bn_store_set_origin(struct bn_store *store, const struct bn_row *row, struct bn_error *err);
int bn_store_delete(struct bn_store *store, int kind, const char *namespace, const char *name,
		    struct bn_error *err);

typedef int bn_store_fn(void *user, const struct bn_row *row, struct bn_error *err);

/* Every object, in the order of first creation. */
int bn_store_each(struct bn_store *store, bn_store_fn *fn, void *user, struct bn_error *err);
/* Of one kind and, unless NULL, one namespace, by namespace and name. */
int bn_store_each_of(struct bn_store *store, int kind, const char *namespace, bn_store_fn *fn,
		     void *user, struct bn_error *err);
/* Those whose origin begins with prefix. fn must not write. */
int bn_store_each_from(struct bn_store *store, const char *prefix, bn_store_fn *fn, void *user,
		       struct bn_error *err);
