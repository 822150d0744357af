// SPDX-License-Identifier: Apache-2.0
#include "policy/selector.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define NAMESPACE_NAME "kubernetes.io/metadata.name"

static const char *value_of(const char *key, const struct bn_label *labels, size_t n,
			    const char *name)
{
	if (name && !strcmp(key, NAMESPACE_NAME))
		return name;
	for (size_t i = 0; i < n; i++) {
		if (!strcmp(labels[i].key, key))
			return labels[i].value;
	}
	return NULL;
}

static bool holds(const struct bn_requirement *r, const char *value)
{
	bool among = false;

	for (size_t i = 0; value && i < r->n_values && !among; i++)
		among = !strcmp(value, r->values[i]);
	switch ((enum bn_operator)r->op) {
	case BN_IN:
		return among;
	case BN_NOT_IN:
		return !among;
	case BN_EXISTS:
		return value;
	case BN_DOES_NOT_EXIST:
		return !value;
	}
	return false;
}

bool bn_selector_matches(const struct bn_selector *selector, const struct bn_label *labels,
			 size_t n, const char *name)
{
	for (size_t i = 0; i < selector->n; i++) {
		const struct bn_requirement *r = &selector->requirements[i];

		if (!holds(r, value_of(r->key, labels, n, name)))
			return false;
	}
	return true;
}

char *bn_selector_text(const struct bn_selector *selector)
{
	static const char *const ops[] = {"=", "!=", "+", "-"};
	size_t size;
	char *text = NULL;
	FILE *f = open_memstream(&text, &size);

	if (!f)
		return NULL;
	for (size_t i = 0; i < selector->n; i++) {
		const struct bn_requirement *r = &selector->requirements[i];

		fprintf(f, "%s%s%s", i ? "&" : "", r->key, ops[r->op]);
		for (size_t k = 0; k < r->n_values; k++)
			fprintf(f, "%s%s", k ? "|" : "", r->values[k]);
	}
	if (fclose(f)) {
		free(text);
		return NULL;
	}
	return text;
}

int bn_selector_copy(struct bn_arena *arena, const struct bn_selector *from,
		     struct bn_selector *ret)
{
	struct bn_requirement *copy = bn_arena_alloc(arena, from->n, sizeof(*copy));

	if (!copy)
		return -ENOMEM;
	for (size_t i = 0; i < from->n; i++) {
		const struct bn_requirement *r = &from->requirements[i];
		const char **values = bn_arena_alloc(arena, r->n_values, sizeof(*values));

		copy[i] = *r;
		copy[i].key = bn_arena_strdup(arena, r->key);
		copy[i].values = values;
		if (!values || !copy[i].key)
			return -ENOMEM;
		for (size_t k = 0; k < r->n_values; k++) {
			values[k] = bn_arena_strdup(arena, r->values[k]);
			if (!values[k])
				return -ENOMEM;
		}
	}
	*ret = (struct bn_selector){copy, from->n};
	return 0;
}
