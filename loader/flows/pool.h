/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Strings that many records share are kept once: namespaces, ports' names, sets of labels. Each is
 * counted, and the pool itself lives as long as its registry or any string of it.
 */
#pragma once

#include "model.h"

#include <stddef.h>
#include <uthash.h>

struct bn_pool;

/* One or more strings, each with its NUL: a namespace, a port's name, a set of labels. */
struct bn_shared {
	UT_hash_handle hh;
	struct bn_pool *pool;
	size_t refs;
	size_t len;
	char text[];
};

/* NULL without memory. */
struct bn_pool *bn_pool_new(void);
void bn_pool_unref(struct bn_pool *pool);

/*
 * 0 or -ENOMEM; *ret is the caller's reference, untouched where there is no string (NULL) or no label.
 * Equal sets of labels are equal whatever their order: "key=value" NUL "key=value" NUL, sorted.
 */
int bn_pool_string(struct bn_pool *pool, const char *text, struct bn_shared **ret);
int bn_pool_labels(struct bn_pool *pool, const struct bn_label *labels, size_t n,
		   struct bn_shared **ret);
/* May be NULL. */
void bn_shared_unref(struct bn_shared *s);
