// SPDX-License-Identifier: Apache-2.0
/*
 * JSON. A List may be hundreds of megabytes, so its text is cut into its items by a scanner that
 * knows only strings, brackets and depth, and jansson parses one item at a time; it is jansson
 * that decides what is valid. The scanner never reads past `end` and never recurses.
 */
#include "input.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

struct span {
	const char *p, *end;
};

struct json_reader {
	struct bn_reader *reader;
	const char *at, *end;
};

static int broken(struct json_reader *j, const char *at, const char *why)
{
	unsigned line = 1;

	for (const char *p = j->reader->input->text; p < at; p++)
		line += *p == '\n';
	return bn_document_fail(&j->reader->document, j->reader->err, -EINVAL,
				"broken JSON at line %u: %s", line, why);
}

static void skip_space(struct json_reader *j)
{
	while (j->at < j->end && memchr(" \t\r\n", *j->at, 4))
		j->at++;
}

/* From an opening quote past the closing one; NULL where the text ends before. */
static const char *string_end(const char *p, const char *end)
{
	for (p++; p < end; p++) {
		if (*p == '\\')
			p++;
		else if (*p == '"')
			return p + 1;
	}
	return NULL;
}

/* The extent of the value at j->at, which moves past it. */
static int scan_value(struct json_reader *j, struct span *ret)
{
	const char *p = j->at;
	unsigned depth = 0;

	while (p && p < j->end) {
		char c = *p;

		if (c == '"') {
			p = string_end(p, j->end);
			if (p && !depth)
				break;
			continue;
		}
		if (c == '{' || c == '[') {
			if (++depth > BN_INPUT_DEPTH_MAX)
				return broken(j, p, "nested deeper than 64 levels");
		} else if (c == '}' || c == ']') {
			if (!depth)
				break;
			if (!--depth) {
				p++;
				break;
			}
		} else if (!depth && (c == ',' || memchr(" \t\r\n", c, 4))) {
			break;
		}
		p++;
	}
	if (!p || depth)
		return broken(j, j->end, "the text ends inside an object");
	ret->p = j->at;
	ret->end = j->at = p;
	return 0;
}

static int parse(struct json_reader *j, struct span span, const char *base, json_t **ret)
{
	json_error_t error;

	*ret = json_loadb(span.p, (size_t)(span.end - span.p),
			  JSON_REJECT_DUPLICATES | JSON_DECODE_ANY, &error);
	if (*ret)
		return 0;
	/* the line within the span, told as the line within the file */
	for (int line = 1; line < error.line && base < j->end; base++)
		line += *base == '\n';
	return broken(j, base, error.text);
}

static bool span_is(struct span span, const char *text)
{
	return (size_t)(span.end - span.p) == strlen(text) && !memcmp(span.p, text, strlen(text));
}

/*
 * Walks the members of the object at j->at, which moves past it, and finds the extents of the
 * object and of its `items` list, if it has one.
 */
static int scan_object(struct json_reader *j, struct span *ret_object, struct span *ret_items)
{
	struct span key, value;
	int r;

	ret_object->p = j->at++;
	ret_items->p = ret_items->end = NULL;
	for (skip_space(j); j->at < j->end && *j->at != '}'; skip_space(j)) {
		if (*j->at != '"')
			return broken(j, j->at, "a quoted key is missing");
		r = scan_value(j, &key);
		if (r < 0)
			return r;
		skip_space(j);
		if (j->at == j->end || *j->at != ':')
			return broken(j, j->at, "':' is missing after a key");
		j->at++;
		skip_space(j);
		r = scan_value(j, &value);
		if (r < 0)
			return r;
		if (span_is(key, "\"items\"") && value.p < value.end && *value.p == '[') {
			if (ret_items->p)
				return broken(j, key.p, "duplicate key items");
			*ret_items = value;
		}
		skip_space(j);
		if (j->at < j->end && *j->at == ',')
			j->at++;
		else if (j->at < j->end && *j->at != '}')
			return broken(j, j->at, "',' is missing between members");
	}
	if (j->at == j->end)
		return broken(j, j->end, "the text ends inside an object");
	ret_object->end = ++j->at;
	return 0;
}

static int too_large(struct json_reader *j)
{
	return bn_document_fail(&j->reader->document, j->reader->err, -EFBIG,
				"is larger than 1 MiB, the limit of an object");
}

/* The object without the content of its items. */
static int parse_head(struct json_reader *j, struct span object, struct span items, json_t **ret)
{
	size_t before, after;
	struct span span;
	char *text;
	int r;

	if (!items.p)
		items.p = items.end = object.end;
	before = (size_t)(items.p - object.p);
	after = (size_t)(object.end - items.end);
	if (before + after > BN_INPUT_OBJECT_MAX)
		return too_large(j);
	text = malloc(before + after + 2);
	if (!text)
		return -ENOMEM;
	memcpy(text, object.p, before);
	span.p = text;
	if (after) {
		memcpy(text + before, "[]", 2);
		memcpy(text + before + 2, items.end, after);
		span.end = text + before + 2 + after;
	} else {
		span.end = text + before;
	}
	r = parse(j, span, object.p, ret);
	free(text);
	return r;
}

static int read_items(struct json_reader *j, json_t *head, struct span items)
{
	struct json_reader in = {.reader = j->reader, .at = items.p + 1, .end = items.end - 1};
	struct span item;
	json_t *value;
	int r = 0;

	skip_space(&in);
	if (in.at == in.end)
		return 0;
	for (j->reader->document.item = 0; r == 0; j->reader->document.item++) {
		r = scan_value(&in, &item);
		if (r < 0)
			return r;
		if ((size_t)(item.end - item.p) > BN_INPUT_OBJECT_MAX)
			return too_large(j);
		r = parse(j, item, item.p, &value);
		if (r < 0)
			return r;
		r = bn_input_item(j->reader, head, value);
		json_decref(value);
		if (r < 0)
			return r;
		skip_space(&in);
		if (in.at == in.end)
			break;
		if (*in.at++ != ',')
			return broken(j, in.at, "',' is missing between items");
		skip_space(&in);
	}
	j->reader->document.item = -1;
	return r;
}

static int read_document(struct json_reader *j)
{
	struct span object = {NULL, NULL}, items = {NULL, NULL};
	json_t *head;
	int r;

	if (*j->at != '{')
		return broken(j, j->at, "an object must begin here");
	r = scan_object(j, &object, &items);
	if (r < 0)
		return r;
	r = parse_head(j, object, items, &head);
	if (r < 0)
		return r;
	if (!bn_input_is_list(head)) {
		if (items.p)
			r = bn_document_fail(&j->reader->document, j->reader->err, -EINVAL,
					     "items: only a List has items");
		else
			r = bn_input_object(j->reader, head);
	} else if (items.p) {
		r = read_items(j, head, items);
	} else if (!json_is_null(json_object_get(head, "items")) &&
		   json_object_get(head, "items")) {
		r = bn_document_fail(&j->reader->document, j->reader->err, -EINVAL,
				     "items: must be a list");
	}
	json_decref(head);
	return r;
}

int bn_input_read_json(struct bn_reader *reader)
{
	struct json_reader j = {
		.reader = reader,
		.at = reader->input->text,
		.end = reader->input->text + reader->input->size,
	};
	int r;

	for (skip_space(&j); j.at < j.end; skip_space(&j)) {
		if (j.end - j.at >= 3 && !memcmp(j.at, "---", 3)) {
			j.at += 3;
			continue;
		}
		reader->document.number++;
		reader->document.item = -1;
		r = read_document(&j);
		if (r < 0)
			return r;
	}
	return 0;
}
