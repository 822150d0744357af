// SPDX-License-Identifier: Apache-2.0
/*
 * Manifests: any bytes, as a file. Beyond not crashing: a refusal is one line that names the
 * file, and what is accepted is accepted again when the store gives it back as JSON.
 */
#include "objects/input.h"
#include "objects/state.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int again(void *user, const struct bn_document *document, json_t *tree, struct bn_error *err)
{
	struct bn_object *object = NULL;
	int r = bn_parse_object(document, tree, &object, err);

	bn_object_free(object);
	return r;
}

static int first(void *user, const struct bn_document *document, json_t *tree, struct bn_error *err)
{
	struct bn_object *object = NULL;
	struct bn_input input = {.file = "stored"};
	struct bn_error second = BN_ERROR_INIT;
	char *text;
	int r;

	r = bn_parse_object(document, tree, &object, err);
	if (r < 0)
		return r;
	if (object->kind == BN_KIND_SERVICE) {
		struct bn_service_object *service = (struct bn_service_object *)object;

		bn_allot_prepare(service);
		if (bn_allot_format(service, &text) < 0 || bn_allot_parse(service, text) < 0)
			abort();
		free(text);
	}
	bn_object_free(object);
	text = json_dumps(tree, JSON_COMPACT);
	if (!text)
		abort();
	input.text = text;
	input.size = strlen(text);
	if (input.size <= BN_INPUT_OBJECT_MAX && bn_input_read(&input, 1, again, NULL, &second) < 0)
		abort();
	free(text);
	bn_error_done(&second);
	return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct bn_input input = {.file = "fuzz", .text = (const char *)data, .size = size};
	struct bn_error err = BN_ERROR_INIT;

	if (bn_input_read(&input, 1, first, NULL, &err) < 0 &&
	    (!err.text || strncmp(err.text, "fuzz: ", 6) || strchr(err.text, '\n')))
		abort();
	bn_error_done(&err);
	return 0;
}
