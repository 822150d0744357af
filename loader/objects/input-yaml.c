// SPDX-License-Identifier: Apache-2.0
/*
 * YAML: libyaml's events into JSON trees. The items of a List are handed over while the text
 * streams by, so only one of them is ever a tree; `kind` may stand after `items` (kubectl sorts
 * keys), so a sequence under a top-level `items` is taken as a List's until the document ends
 * and proves it.
 *
 * Aliases are refused: they are what makes a small text a large tree. libyaml is fed in small
 * pieces and no further than an object's limit past the last event, so a scalar can't grow.
 */
#include "input.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <yaml.h>

#define YAML_AHEAD_MAX (4 * BN_INPUT_OBJECT_MAX + 65536) /* characters have up to 4 bytes */

struct yaml_reader {
	struct bn_reader *reader;
	yaml_parser_t parser;
	size_t given;    /* bytes handed to libyaml */
	size_t at_event; /* of these, when the last event came */
	bool starved;    /* the limit was hit */
	size_t start;    /* character at which the object at hand begins */
};

static int fail(struct yaml_reader *y, const yaml_mark_t *mark, const char *why)
{
	return bn_document_fail(&y->reader->document, y->reader->err, -EINVAL,
				"broken YAML at line %zu: %s", mark->line + 1, why);
}

static int too_large(struct yaml_reader *y)
{
	return bn_document_fail(&y->reader->document, y->reader->err, -EFBIG,
				"is larger than 1 MiB, the limit of an object");
}

static int feed(void *user, unsigned char *buffer, size_t size, size_t *ret_size)
{
	struct yaml_reader *y = user;
	size_t left = y->reader->input->size - y->given;

	if (y->given - y->at_event > YAML_AHEAD_MAX) {
		y->starved = true;
		return 0;
	}
	*ret_size = size < left ? size : left;
	memcpy(buffer, y->reader->input->text + y->given, *ret_size);
	y->given += *ret_size;
	return 1;
}

static int next(struct yaml_reader *y, yaml_event_t *event)
{
	const yaml_parser_t *p = &y->parser;
	char why[200];

	if (yaml_parser_parse(&y->parser, event)) {
		y->at_event = y->given;
		return 0;
	}
	if (p->error == YAML_MEMORY_ERROR)
		return -ENOMEM;
	if (!y->reader->document.number)
		y->reader->document.number = 1;
	if (y->starved)
		return too_large(y);
	snprintf(why, sizeof(why), "%s%s%s", p->problem ? p->problem : "unreadable",
		 p->context ? " " : "", p->context ? p->context : "");
	return fail(y, p->error == YAML_READER_ERROR ? &p->mark : &p->problem_mark, why);
}

static bool is_one_of(const char *s, const char *const *words)
{
	for (; *words; words++) {
		if (!strcmp(s, *words))
			return true;
	}
	return false;
}

static bool is_null(const char *s)
{
	static const char *const words[] = {"", "~", "null", "Null", "NULL", NULL};

	return is_one_of(s, words);
}

/*
 * 1 or 0, or -1 where it is no boolean. A plain y or n is a name to kubectl and to most others,
 * whatever YAML 1.1 says of it.
 */
static int as_bool(const char *s)
{
	static const char *const yes[] = {"true", "True", "TRUE", "yes", "Yes",
					  "YES",  "on",   "On",   "ON",  NULL};
	static const char *const no[] = {"false", "False", "FALSE", "no",  "No",
					 "NO",    "off",   "Off",   "OFF", NULL};

	return is_one_of(s, yes) ? 1 : is_one_of(s, no) ? 0 : -1;
}

/* Decimal, 0x, 0o or leading 0 (octal), 0b, with '_' between digits, as kubectl's parser. */
static bool as_integer(const char *s, json_int_t *ret)
{
	char digits[72], *end, *d = digits;
	unsigned long long v;
	bool negative;
	int base = 10;

	for (; *s; s++) {
		if (*s == '_')
			continue;
		if (d == digits + sizeof(digits) - 1)
			return false;
		*d++ = *s;
	}
	*d = 0;
	d = digits;
	negative = *d == '-';
	d += *d == '-' || *d == '+';
	if (d[0] == '0' && d[1]) {
		base = d[1] == 'x' || d[1] == 'X' ? 16 : d[1] == 'b' || d[1] == 'B' ? 2 : 8;
		d += base != 8 || d[1] == 'o' || d[1] == 'O' ? 2 : 1;
	}
	if (!*d || d[strspn(d, "0123456789abcdefABCDEF")])
		return false;
	errno = 0;
	v = strtoull(d, &end, base);
	if (*end || errno || v > (negative ? 1ULL << 63 : (1ULL << 63) - 1))
		return false;
	*ret = negative ? (json_int_t)(0 - v) : (json_int_t)v;
	return true;
}

/* [-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)? */
static bool as_real(const char *s, double *ret)
{
	static const char digit[] = "0123456789";
	const char *p = s + (*s == '-' || *s == '+');
	size_t whole = strspn(p, digit), fraction = 0;

	p += whole;
	if (*p == '.') {
		fraction = strspn(p + 1, digit);
		p += 1 + fraction;
	}
	if (!whole && !fraction)
		return false;
	/* 080 is no octal number, and to no parser a fraction */
	if (!*p && whole > 1 && p[-(ptrdiff_t)whole] == '0')
		return false;
	if (*p == 'e' || *p == 'E') {
		p++;
		p += *p == '-' || *p == '+';
		if (!strspn(p, digit))
			return false;
		p += strspn(p, digit);
	}
	if (*p)
		return false;
	*ret = strtod(s, NULL);
	return *ret <= 1e308 && *ret >= -1e308;
}

static json_t *plain(const char *s, size_t n)
{
	json_int_t integer;
	double real;

	if (is_null(s))
		return json_null();
	if (as_bool(s) >= 0)
		return json_boolean(as_bool(s));
	if (strchr("0123456789+-.", *s)) {
		if (as_integer(s, &integer))
			return json_integer(integer);
		if (as_real(s, &real))
			return json_real(real);
	}
	return json_stringn(s, n);
}

static bool tag_is(const yaml_char_t *tag, const char *name)
{
	return !tag || !strcmp((const char *)tag, name);
}

static int scalar(struct yaml_reader *y, const yaml_event_t *event, json_t **ret)
{
	const char *s = (const char *)event->data.scalar.value;
	size_t n = event->data.scalar.length;

	if (memchr(s, 0, n))
		return fail(y, &event->start_mark, "a string with a zero byte");
	if (!tag_is(event->data.scalar.tag, YAML_STR_TAG) &&
	    strcmp((const char *)event->data.scalar.tag, "!"))
		return fail(y, &event->start_mark, "tags other than !!str are not supported");
	if (event->data.scalar.tag || event->data.scalar.style != YAML_PLAIN_SCALAR_STYLE)
		*ret = json_stringn(s, n);
	else
		*ret = plain(s, n);
	return *ret ? 0 : -ENOMEM;
}

/* The event is the key's; *ret is its text as JSON has it. */
static int key_text(struct yaml_reader *y, const yaml_event_t *event, char **ret)
{
	const char *s;
	int b;

	if (event->type == YAML_ALIAS_EVENT)
		return fail(y, &event->start_mark, "aliases are not supported, write it out");
	if (event->type != YAML_SCALAR_EVENT)
		return fail(y, &event->start_mark, "a key must be a string");
	s = (const char *)event->data.scalar.value;
	if (memchr(s, 0, event->data.scalar.length))
		return fail(y, &event->start_mark, "a string with a zero byte");
	if (event->data.scalar.style == YAML_PLAIN_SCALAR_STYLE) {
		if (is_null(s))
			return fail(y, &event->start_mark, "a key must be a string, not null");
		b = as_bool(s);
		if (b >= 0)
			s = b ? "true" : "false";
	}
	*ret = strdup(s);
	return *ret ? 0 : -ENOMEM;
}

static int set_member(struct yaml_reader *y, json_t *object, const char *key, json_t *value,
		      const yaml_mark_t *mark)
{
	char why[120];

	if (json_object_get(object, key)) {
		snprintf(why, sizeof(why), "duplicate key \"%.64s\"", key);
		json_decref(value);
		return fail(y, mark, why);
	}
	return json_object_set_new(object, key, value) < 0 ? -ENOMEM : 0;
}

static int node(struct yaml_reader *y, yaml_event_t *event, unsigned depth, json_t **ret);

static int mapping(struct yaml_reader *y, unsigned depth, json_t *object)
{
	yaml_event_t event;
	yaml_mark_t mark;
	json_t *value;
	char *key;
	int r;

	for (;;) {
		r = next(y, &event);
		if (r < 0)
			return r;
		if (event.type == YAML_MAPPING_END_EVENT) {
			yaml_event_delete(&event);
			return 0;
		}
		mark = event.start_mark;
		r = key_text(y, &event, &key);
		yaml_event_delete(&event);
		if (r < 0)
			return r;
		r = next(y, &event);
		if (r == 0)
			r = node(y, &event, depth, &value);
		if (r == 0)
			r = set_member(y, object, key, value, &mark);
		free(key);
		if (r < 0)
			return r;
	}
}

static int sequence(struct yaml_reader *y, unsigned depth, json_t *array)
{
	yaml_event_t event;
	json_t *value;
	int r;

	for (;;) {
		r = next(y, &event);
		if (r < 0)
			return r;
		if (event.type == YAML_SEQUENCE_END_EVENT) {
			yaml_event_delete(&event);
			return 0;
		}
		r = node(y, &event, depth, &value);
		if (r < 0)
			return r;
		if (json_array_append_new(array, value) < 0)
			return -ENOMEM;
	}
}

/* The tree that begins with `event`, which is consumed. */
static int node(struct yaml_reader *y, yaml_event_t *event, unsigned depth, json_t **ret)
{
	json_t *value = NULL;
	int r = 0;

	if (event->end_mark.index - y->start > BN_INPUT_OBJECT_MAX) {
		r = too_large(y);
	} else if (event->type == YAML_SCALAR_EVENT) {
		r = scalar(y, event, &value);
	} else if (event->type == YAML_ALIAS_EVENT) {
		r = fail(y, &event->start_mark, "aliases are not supported, write it out");
	} else if (depth == BN_INPUT_DEPTH_MAX) {
		r = fail(y, &event->start_mark, "nested deeper than 64 levels");
	} else if (event->type == YAML_MAPPING_START_EVENT) {
		value = json_object();
		if (!tag_is(event->data.mapping_start.tag, YAML_MAP_TAG))
			r = fail(y, &event->start_mark, "tags are not supported here");
		else
			r = value ? mapping(y, depth + 1, value) : -ENOMEM;
	} else {
		value = json_array();
		if (!tag_is(event->data.sequence_start.tag, YAML_SEQ_TAG))
			r = fail(y, &event->start_mark, "tags are not supported here");
		else
			r = value ? sequence(y, depth + 1, value) : -ENOMEM;
	}
	yaml_event_delete(event);
	if (r < 0) {
		json_decref(value);
		return r;
	}
	*ret = value;
	return 0;
}

/* Items of a List, each handed over and freed. */
static int items(struct yaml_reader *y, json_t *head, size_t begin)
{
	size_t before = begin - y->start;
	yaml_event_t event;
	yaml_mark_t mark;
	json_t *value;
	int r;

	for (y->reader->document.item = 0;; y->reader->document.item++) {
		r = next(y, &event);
		if (r < 0)
			return r;
		mark = event.end_mark;
		if (event.type == YAML_SEQUENCE_END_EVENT)
			break;
		y->start = event.start_mark.index;
		r = node(y, &event, 2, &value);
		if (r < 0)
			return r;
		r = bn_input_item(y->reader, head, value);
		json_decref(value);
		if (r < 0)
			return r;
	}
	yaml_event_delete(&event);
	y->reader->document.item = -1;
	y->start = mark.index - before; /* what follows counts with what came before */
	return 0;
}

static int no_list(struct yaml_reader *y)
{
	return bn_document_fail(&y->reader->document, y->reader->err, -EINVAL,
				"items: only a List has items");
}

/* A member of the document's mapping, whose value begins with `event`, consumed. */
static int member(struct yaml_reader *y, json_t *head, const char *key, yaml_event_t *event,
		  bool *listed)
{
	yaml_mark_t mark = event->start_mark;
	json_t *value;
	int r;

	if (!strcmp(key, "items") && event->type == YAML_SEQUENCE_START_EVENT) {
		yaml_event_delete(event);
		if (*listed)
			return fail(y, &mark, "duplicate key \"items\"");
		*listed = true;
		if (json_object_get(head, "kind") && !bn_input_is_list(head))
			return no_list(y);
		return items(y, head, mark.index);
	}
	r = node(y, event, 1, &value);
	return r < 0 ? r : set_member(y, head, key, value, &mark);
}

static int finish(struct yaml_reader *y, json_t *head, bool listed)
{
	struct bn_reader *reader = y->reader;
	json_t *rest = json_object_get(head, "items");

	if (!bn_input_is_list(head)) {
		if (listed)
			return no_list(y);
		return bn_input_object(reader, head);
	}
	if (rest && !json_is_null(rest))
		return bn_document_fail(&reader->document, reader->err, -EINVAL,
					"items: must be a list");
	return 0;
}

static int document(struct yaml_reader *y)
{
	bool listed = false;
	yaml_event_t event;
	json_t *head;
	char *key;
	int r;

	head = json_object();
	if (!head)
		return -ENOMEM;
	for (;;) {
		r = next(y, &event);
		if (r < 0)
			break;
		if (event.type == YAML_MAPPING_END_EVENT) {
			yaml_event_delete(&event);
			r = finish(y, head, listed);
			break;
		}
		r = key_text(y, &event, &key);
		yaml_event_delete(&event);
		if (r < 0)
			break;
		r = next(y, &event);
		if (r == 0)
			r = member(y, head, key, &event, &listed);
		free(key);
		if (r < 0)
			break;
	}
	json_decref(head);
	return r;
}

/* What stands at the top of a document: a mapping, or nothing. */
static int root(struct yaml_reader *y, yaml_event_t *event)
{
	yaml_mark_t mark = event->start_mark;
	bool empty, start;

	start = event->type == YAML_MAPPING_START_EVENT;
	empty = event->type == YAML_SCALAR_EVENT &&
		event->data.scalar.style == YAML_PLAIN_SCALAR_STYLE &&
		is_null((const char *)event->data.scalar.value);
	yaml_event_delete(event);
	if (empty)
		return 0;
	if (!start)
		return fail(y, &mark, "an object must be a mapping");
	y->start = mark.index;
	return document(y);
}

static int read_stream(struct yaml_reader *y)
{
	yaml_event_type_t type;
	yaml_event_t event;
	int r;

	for (;;) {
		r = next(y, &event);
		if (r < 0)
			return r;
		type = event.type;
		if (type == YAML_STREAM_START_EVENT || type == YAML_DOCUMENT_END_EVENT) {
			yaml_event_delete(&event);
		} else if (type == YAML_DOCUMENT_START_EVENT) {
			yaml_event_delete(&event);
			y->reader->document.number++;
			y->reader->document.item = -1;
		} else if (type == YAML_STREAM_END_EVENT) {
			yaml_event_delete(&event);
			return 0;
		} else {
			r = root(y, &event);
			if (r < 0)
				return r;
		}
	}
}

int bn_input_read_yaml(struct bn_reader *reader)
{
	struct yaml_reader y = {.reader = reader};
	int r;

	if (!yaml_parser_initialize(&y.parser))
		return -ENOMEM;
	yaml_parser_set_encoding(&y.parser, YAML_UTF8_ENCODING);
	yaml_parser_set_input(&y.parser, feed, &y);
	r = read_stream(&y);
	yaml_parser_delete(&y.parser);
	return r;
}
