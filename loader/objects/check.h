/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reading a JSON tree with a memory of the way: a bn_field knows its value and how it was
 * reached, so that whatever refuses it names file, document, path and reason. Absent and null
 * are the same. Fields live on the stack of the function that walks them.
 */
#pragma once

#include <address.h>
#include <error.h>
#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Where an object stands: for messages. */
struct bn_document {
	const char *file;
	size_t input;    /* index of the bn_input */
	unsigned number; /* in its file, from 1 */
	long item;       /* in its List, from 0; -1: not in a List */
	bool stored;     /* it was accepted once: bn_field_members() lets it be */
};

struct bn_field {
	const struct bn_field *up;
	const struct bn_document *document;
	const char *key; /* NULL: an item of an array, by index */
	size_t index;
	json_t *value; /* NULL: absent */
	struct bn_error *err;
};

struct bn_field bn_field_root(const struct bn_document *document, json_t *value,
			      struct bn_error *err);
/* Member of an object. `up` must be absent or have passed bn_field_object. */
struct bn_field bn_field_get(const struct bn_field *up, const char *key);
struct bn_field bn_field_item(const struct bn_field *up, size_t index);

/* Sets the error, "FILE: document N: PATH: reason", and returns -EINVAL. */
int bn_field_fail(const struct bn_field *field, const char *format, ...)
	__attribute__((format(printf, 2, 3)));
/* Likewise for the document as a whole, returning r. */
int bn_document_fail(const struct bn_document *document, struct bn_error *err, int r,
		     const char *format, ...) __attribute__((format(printf, 4, 5)));

/* Each checks the type; an absent field is no error. */
int bn_field_object(const struct bn_field *field);
/*
 * An object without members other than `names` (ended by NULL): where one that nobody heeds would
 * turn the meaning of the rest around.
 */
int bn_field_members(const struct bn_field *field, const char *const *names);
int bn_field_array(const struct bn_field *field, size_t max, size_t *ret_n);
int bn_field_string(const struct bn_field *field, const char **ret); /* NULL: absent */
int bn_field_bool(const struct bn_field *field, bool absent, bool *ret);
int bn_field_int(const struct bn_field *field, int64_t min, int64_t max, int64_t absent,
		 int64_t *ret);
int bn_field_port(const struct bn_field *field, uint16_t *ret); /* 0: absent */
/* An address that a host can have: not unspecified, loopback, link-local or multicast. */
int bn_field_address(const struct bn_field *field, union bn_addr *ret, int *ret_family);
int bn_field_protocol(const struct bn_field *field, uint8_t *ret); /* absent: TCP */
/* One of `names` (ended by NULL); *ret is its index, or `absent`. */
int bn_field_choice(const struct bn_field *field, const char *const *names, int absent, int *ret);
int bn_field_required(const struct bn_field *field);

/* Kubernetes' forms of names; NULL where the text has that form, else what it must be. */
const char *bn_name_label(const char *s);     /* DNS-1123 label */
const char *bn_name_subdomain(const char *s); /* DNS-1123 subdomain */
const char *bn_name_port(const char *s);      /* IANA service name */
const char *bn_name_label_key(const char *s);
const char *bn_name_label_value(const char *s);

/* String in one of these forms. */
int bn_field_name(const struct bn_field *field, const char *(*form)(const char *),
		  const char **ret);
