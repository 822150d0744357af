// SPDX-License-Identifier: Apache-2.0
/*
 * The primitive checks of manifests. Every refusal is one line without control characters,
 * however hostile the value that it quotes.
 */
#include "check.h"

#include <errno.h>
#include <netinet/in.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CHECK_REASON_MAX 400
#define CHECK_LIST_MAX 160

struct bn_field bn_field_root(const struct bn_document *document, json_t *value,
			      struct bn_error *err)
{
	return (struct bn_field){.document = document, .value = value, .err = err};
}

static json_t *present(json_t *value)
{
	return json_is_null(value) ? NULL : value;
}

struct bn_field bn_field_get(const struct bn_field *up, const char *key)
{
	struct bn_field field = *up;

	field.up = up;
	field.key = key;
	field.value = up->value ? present(json_object_get(up->value, key)) : NULL;
	return field;
}

struct bn_field bn_field_item(const struct bn_field *up, size_t index)
{
	struct bn_field field = *up;

	field.up = up;
	field.key = NULL;
	field.index = index;
	field.value = present(json_array_get(up->value, index));
	return field;
}

/* Control characters and the rest of an overlong reason don't reach logs and terminals. */
static void clean(char *text)
{
	for (char *p = text; *p; p++) {
		if ((unsigned char)*p < 0x20 || *p == 0x7f)
			*p = '?';
	}
}

static void put_path(FILE *f, const struct bn_field *field)
{
	if (!field->up) {
		if (field->document->item >= 0)
			fprintf(f, "items[%ld]", field->document->item);
		return;
	}
	put_path(f, field->up);
	if (!field->key)
		fprintf(f, "[%zu]", field->index);
	else if (field->up->up || field->document->item >= 0)
		fprintf(f, ".%.100s", field->key);
	else
		fprintf(f, "%.100s", field->key);
}

static int fail(const struct bn_document *document, const struct bn_field *field,
		struct bn_error *err, int r, const char *format, va_list ap)
{
	char reason[CHECK_REASON_MAX], *path = NULL;
	size_t size = 0;
	FILE *f;

	vsnprintf(reason, sizeof(reason), format, ap);
	clean(reason);
	f = open_memstream(&path, &size);
	if (!f)
		return -ENOMEM;
	fprintf(f, "%s: document %u", document->file, document->number);
	if (field && (field->up || document->item >= 0)) {
		fputs(": ", f);
		put_path(f, field);
	} else if (document->item >= 0) {
		fprintf(f, ": items[%ld]", document->item);
	}
	if (fclose(f) != 0) {
		free(path);
		return -ENOMEM;
	}
	clean(path);
	bn_error_set(err, r, "%s: %s", path, reason);
	free(path);
	return r;
}

int bn_field_fail(const struct bn_field *field, const char *format, ...)
{
	va_list ap;
	int r;

	va_start(ap, format);
	r = fail(field->document, field, field->err, -EINVAL, format, ap);
	va_end(ap);
	return r;
}

int bn_document_fail(const struct bn_document *document, struct bn_error *err, int r,
		     const char *format, ...)
{
	va_list ap;

	va_start(ap, format);
	r = fail(document, NULL, err, r, format, ap);
	va_end(ap);
	return r;
}

static const char *type_name(const json_t *value)
{
	switch (json_typeof(value)) {
	case JSON_OBJECT:
		return "a mapping";
	case JSON_ARRAY:
		return "a list";
	case JSON_STRING:
		return "a string";
	case JSON_INTEGER:
		return "an integer";
	case JSON_REAL:
		return "a fraction";
	case JSON_TRUE:
	case JSON_FALSE:
		return "a boolean";
	case JSON_NULL:
		return "null";
	}
	return "unknown";
}

int bn_field_object(const struct bn_field *field)
{
	if (!field->value || json_is_object(field->value))
		return 0;
	return bn_field_fail(field, "must be a mapping, not %s", type_name(field->value));
}

/* "A, B", as far as it fits. */
static void list_names(const char *const *names, char *list, size_t size)
{
	size_t n = 0;

	*list = 0;
	for (int i = 0; names[i] && n < size; i++)
		n += (size_t)snprintf(list + n, size - n, "%s%s", i ? ", " : "", names[i]);
}

static bool is_one_of(const char *const *names, const char *name)
{
	while (*names && strcmp(*names, name))
		names++;
	return *names;
}

int bn_field_members(const struct bn_field *field, const char *const *names)
{
	char list[CHECK_LIST_MAX];
	const char *key;
	json_t *value;

	if (bn_field_object(field) < 0)
		return -EINVAL;
	if (!field->value || field->document->stored)
		return 0;
	json_object_foreach(field->value, key, value) {
		struct bn_field member = bn_field_get(field, key);

		if (is_one_of(names, key))
			continue;
		list_names(names, list, sizeof(list));
		return bn_field_fail(&member, "is not a field here, only %s %s", list,
				     names[1] ? "are" : "is");
	}
	return 0;
}

int bn_field_array(const struct bn_field *field, size_t max, size_t *ret_n)
{
	size_t n = 0;

	if (field->value) {
		if (!json_is_array(field->value))
			return bn_field_fail(field, "must be a list, not %s",
					     type_name(field->value));
		n = json_array_size(field->value);
	}
	if (n > max)
		return bn_field_fail(field, "has %zu items, at most %zu are allowed", n, max);
	*ret_n = n;
	return 0;
}

int bn_field_string(const struct bn_field *field, const char **ret)
{
	if (!field->value) {
		*ret = NULL;
		return 0;
	}
	if (!json_is_string(field->value))
		return bn_field_fail(field, "must be a string, not %s", type_name(field->value));
	*ret = json_string_value(field->value);
	return 0;
}

int bn_field_bool(const struct bn_field *field, bool absent, bool *ret)
{
	if (field->value && !json_is_boolean(field->value))
		return bn_field_fail(field, "must be true or false, not %s",
				     type_name(field->value));
	*ret = field->value ? json_is_true(field->value) : absent;
	return 0;
}

int bn_field_int(const struct bn_field *field, int64_t min, int64_t max, int64_t absent,
		 int64_t *ret)
{
	int64_t v;

	if (!field->value) {
		*ret = absent;
		return 0;
	}
	if (!json_is_integer(field->value))
		return bn_field_fail(field, "must be an integer, not %s", type_name(field->value));
	v = json_integer_value(field->value);
	if (v < min || v > max)
		return bn_field_fail(field, "must be %lld to %lld, not %lld", (long long)min,
				     (long long)max, (long long)v);
	*ret = v;
	return 0;
}

int bn_field_port(const struct bn_field *field, uint16_t *ret)
{
	int64_t v = 0;
	int r = bn_field_int(field, 1, 65535, 0, &v);

	if (r == 0)
		*ret = (uint16_t)v;
	return r;
}

static const char *special_address(const union bn_addr *a)
{
	static const union bn_addr zero, one = {.b = {[15] = 1}};

	if (bn_addr_is_v4(a)) {
		if (!a->w[3])
			return "unspecified";
		if (a->b[12] == 127)
			return "loopback";
		if (a->b[12] == 169 && a->b[13] == 254)
			return "link-local";
		if (a->b[12] >= 224)
			return a->b[12] < 240 ? "multicast" : "reserved";
		return NULL;
	}
	if (bn_addr_equal(a, &zero))
		return "unspecified";
	if (bn_addr_equal(a, &one))
		return "loopback";
	if (a->b[0] == 0xfe && (a->b[1] & 0xc0) == 0x80)
		return "link-local";
	return a->b[0] == 0xff ? "multicast" : NULL;
}

int bn_field_address(const struct bn_field *field, union bn_addr *ret, int *ret_family)
{
	const char *text = NULL, *special;
	union bn_addr addr;
	int r, family;

	r = bn_field_string(field, &text);
	if (r < 0)
		return r;
	if (!text)
		return bn_field_required(field);
	if (bn_addr_parse(text, &addr, &family) < 0)
		return bn_field_fail(field, "\"%.64s\" is not an IPv4 or IPv6 address", text);
	special = special_address(&addr);
	if (special)
		return bn_field_fail(field, "%.64s is a %s address", text, special);
	*ret = addr;
	if (ret_family)
		*ret_family = family;
	return 0;
}

int bn_field_choice(const struct bn_field *field, const char *const *names, int absent, int *ret)
{
	char list[CHECK_LIST_MAX];
	const char *text = NULL;
	int r;

	r = bn_field_string(field, &text);
	if (r < 0)
		return r;
	if (!text) {
		*ret = absent;
		return 0;
	}
	for (int i = 0; names[i]; i++) {
		if (!strcmp(text, names[i])) {
			*ret = i;
			return 0;
		}
	}
	list_names(names, list, sizeof(list));
	return bn_field_fail(field, "\"%.64s\" is not one of %s", text, list);
}

int bn_field_protocol(const struct bn_field *field, uint8_t *ret)
{
	static const char *const names[] = {"TCP", "UDP", "SCTP", NULL};
	static const uint8_t numbers[] = {IPPROTO_TCP, IPPROTO_UDP, IPPROTO_SCTP};
	int i, r = bn_field_choice(field, names, 0, &i);

	if (r == 0)
		*ret = numbers[i];
	return r;
}

int bn_field_required(const struct bn_field *field)
{
	return field->value ? 0 : bn_field_fail(field, "is required");
}

static bool is_lower(char c)
{
	return c >= 'a' && c <= 'z';
}

static bool is_digit(char c)
{
	return c >= '0' && c <= '9';
}

static bool is_alnum(char c)
{
	return is_lower(c) || is_digit(c) || (c >= 'A' && c <= 'Z');
}

/* [a-z0-9]([-a-z0-9]*[a-z0-9])? over n bytes */
static bool label_form(const char *s, size_t n)
{
	if (!n || s[0] == '-' || s[n - 1] == '-')
		return false;
	for (size_t i = 0; i < n; i++) {
		if (!is_lower(s[i]) && !is_digit(s[i]) && s[i] != '-')
			return false;
	}
	return true;
}

const char *bn_name_label(const char *s)
{
	size_t n = strlen(s);

	if (n <= 63 && label_form(s, n))
		return NULL;
	return "at most 63 lower-case letters, digits and '-', a letter or digit at both ends";
}

static bool subdomain_form(const char *s, size_t n)
{
	if (!n || n > 253)
		return false;
	for (size_t at = 0, len; at <= n; at += len + 1) {
		const char *dot = memchr(s + at, '.', n - at);

		len = dot ? (size_t)(dot - s) - at : n - at;
		if (!label_form(s + at, len))
			return false;
	}
	return true;
}

const char *bn_name_subdomain(const char *s)
{
	if (subdomain_form(s, strlen(s)))
		return NULL;
	return "at most 253 lower-case letters, digits, '-' and '.', a letter or digit at both "
	       "ends of every part";
}

const char *bn_name_port(const char *s)
{
	size_t n = strlen(s);
	bool letter = false;

	for (size_t i = 0; i < n; i++)
		letter = letter || is_lower(s[i]);
	if (n <= 15 && letter && label_form(s, n) && !strstr(s, "--"))
		return NULL;
	return "at most 15 lower-case letters, digits and single '-', with a letter";
}

/* ([A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?), at most 63 */
static bool qualified_form(const char *s, size_t n)
{
	if (!n || n > 63 || !is_alnum(s[0]) || !is_alnum(s[n - 1]))
		return false;
	for (size_t i = 0; i < n; i++) {
		if (!is_alnum(s[i]) && !strchr("-_.", s[i]))
			return false;
	}
	return true;
}

const char *bn_name_label_key(const char *s)
{
	const char *slash = strchr(s, '/');
	const char *name = slash ? slash + 1 : s;

	if (qualified_form(name, strlen(name)) &&
	    (!slash || subdomain_form(s, (size_t)(slash - s))))
		return NULL;
	return "a name of at most 63 letters, digits, '-', '_' and '.', optionally after a DNS "
	       "name and '/'";
}

const char *bn_name_label_value(const char *s)
{
	if (!*s || qualified_form(s, strlen(s)))
		return NULL;
	return "empty or at most 63 letters, digits, '-', '_' and '.', a letter or digit at both "
	       "ends";
}

int bn_field_name(const struct bn_field *field, const char *(*form)(const char *), const char **ret)
{
	const char *text = NULL, *must;
	int r;

	r = bn_field_string(field, &text);
	if (r < 0)
		return r;
	must = text ? form(text) : NULL;
	if (must)
		return bn_field_fail(field, "\"%.80s\" must be %s", text, must);
	*ret = text;
	return 0;
}
