/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From text to objects, one at a time: YAML or JSON, many documents to a file, Lists taken apart.
 * Nothing is validated here beyond syntax, size, depth and the shape of a List.
 */
#pragma once

#include "check.h"
#include "objects.h"

#define BN_INPUT_OBJECT_MAX ((size_t)1 << 20)  /* text of one object */
#define BN_INPUT_TOTAL_MAX ((size_t)256 << 20) /* of one call */
#define BN_INPUT_DEPTH_MAX 64

/* The tree is freed when this returns. A negative return ends the reading and is returned. */
typedef int bn_input_fn(void *user, const struct bn_document *document, json_t *object,
			struct bn_error *err);

int bn_input_read(const struct bn_input *inputs, size_t n, bn_input_fn *fn, void *user,
		  struct bn_error *err);

/* What the two formats share. */
struct bn_reader {
	const struct bn_input *input;
	struct bn_document document;
	bn_input_fn *fn;
	void *user;
	struct bn_error *err;
};

int bn_input_read_yaml(struct bn_reader *reader);
int bn_input_read_json(struct bn_reader *reader);

/* Whether an object is a List of objects: `kind: List` or `kind: ServiceList`. */
bool bn_input_is_list(json_t *head);
/* Hands an item of a List to fn; `head` is the List without its items, as far as it is known. */
int bn_input_item(struct bn_reader *reader, json_t *head, json_t *item);
/* Hands over an object that is no List. */
int bn_input_object(struct bn_reader *reader, json_t *object);
