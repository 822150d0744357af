/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A change of objects in the making: what stage.c has staged so far, for transaction.c to settle or to
 * take back.
 */
#pragma once

#include "state.h"

#include "input.h"

#include <time.h>

struct bn_transaction {
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

/* bn_input_fn's, whose user is the transaction: stage a document that is applied, or deleted. */
int bn_stage_apply(void *user, const struct bn_document *document, json_t *tree,
		   struct bn_error *err);
int bn_stage_delete(void *user, const struct bn_document *document, json_t *tree,
		    struct bn_error *err);
/* Removes what the store has of a folder and none of its files has any more. */
int bn_stage_leftovers(struct bn_transaction *t, const char *folder, struct bn_error *err);
/* Puts an object into another's place, either of which may be NULL. */
int bn_stage_replace(struct bn_objects *objects, struct bn_object *old, struct bn_object *new);
/* The document that an entry is of, for messages. */
struct bn_document bn_stage_document(const struct bn_transaction *t, const struct bn_entry *entry);
