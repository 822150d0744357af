// SPDX-License-Identifier: Apache-2.0
/*
 * Which format an input has, and what both make of a document. A file whose first character is
 * an opening brace followed by a quote or its closing brace is JSON, as kubectl decides it;
 * everything else is YAML, flow mappings included.
 */
#include "input.h"

#include <errno.h>
#include <string.h>

bool bn_input_is_list(json_t *head)
{
	const char *kind = json_string_value(json_object_get(head, "kind"));
	size_t n = kind ? strlen(kind) : 0;

	return n >= 4 && !strcmp(kind + n - 4, "List");
}

static int call(struct bn_reader *reader, json_t *object)
{
	return reader->fn(reader->user, &reader->document, object, reader->err);
}

int bn_input_object(struct bn_reader *reader, json_t *object)
{
	reader->document.item = -1;
	return call(reader, object);
}

/* A typed list (ServiceList) names its items' kind; the items may leave it out. */
static int inherit_kind(struct bn_reader *reader, json_t *head, json_t *item)
{
	const char *kind = json_string_value(json_object_get(head, "kind"));
	json_t *version = json_object_get(head, "apiVersion");

	if (json_object_get(item, "kind") || !kind || !strcmp(kind, "List"))
		return 0;
	if (json_object_set_new(item, "kind", json_stringn(kind, strlen(kind) - 4)) < 0)
		return -ENOMEM;
	if (version && !json_object_get(item, "apiVersion") &&
	    json_object_set(item, "apiVersion", version) < 0)
		return -ENOMEM;
	return 0;
}

int bn_input_item(struct bn_reader *reader, json_t *head, json_t *item)
{
	int r;

	if (!json_is_object(item))
		return bn_document_fail(&reader->document, reader->err, -EINVAL,
					"must be an object, as every item of a List");
	r = inherit_kind(reader, head, item);
	if (r < 0)
		return r;
	if (bn_input_is_list(item))
		return bn_document_fail(&reader->document, reader->err, -EINVAL,
					"is a List inside a List, write its items out");
	return call(reader, item);
}

static size_t skip_space(const char *text, size_t size, size_t at)
{
	while (at < size && memchr(" \t\r\n", text[at], 4))
		at++;
	return at;
}

static bool is_json(const char *text, size_t size)
{
	size_t at = skip_space(text, size, 0);

	if (at == size || text[at] != '{')
		return false;
	at = skip_space(text, size, at + 1);
	return at < size && (text[at] == '"' || text[at] == '}');
}

int bn_input_read(const struct bn_input *inputs, size_t n, bn_input_fn *fn, void *user,
		  struct bn_error *err)
{
	size_t total = 0;
	int r;

	for (size_t i = 0; i < n; i++) {
		if (inputs[i].size > BN_INPUT_TOTAL_MAX - total)
			return bn_error_set(err, -EFBIG,
					    "%s: more than 256 MiB in one call, split it",
					    inputs[i].file);
		total += inputs[i].size;
	}
	for (size_t i = 0; i < n; i++) {
		struct bn_reader reader = {
			.input = &inputs[i],
			.document = {.file = inputs[i].file, .input = i, .item = -1},
			.fn = fn,
			.user = user,
			.err = err,
		};

		if (is_json(inputs[i].text, inputs[i].size))
			r = bn_input_read_json(&reader);
		else
			r = bn_input_read_yaml(&reader);
		if (r < 0)
			return r;
	}
	return 0;
}
