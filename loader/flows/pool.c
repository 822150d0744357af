// SPDX-License-Identifier: Apache-2.0
#define HASH_NONFATAL_OOM 1
#include "flows/pool.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

struct bn_pool {
	struct bn_shared *table;
	size_t refs; /* of the registry and of every shared string */
};

struct bn_pool *bn_pool_new(void)
{
	struct bn_pool *pool = calloc(1, sizeof(*pool));

	if (pool)
		pool->refs = 1;
	return pool;
}

void bn_pool_unref(struct bn_pool *pool)
{
	if (--pool->refs == 0)
		free(pool);
}

static struct bn_shared *shared_get(struct bn_pool *pool, const char *text, size_t len)
{
	struct bn_shared *s;

	HASH_FIND(hh, pool->table, text, len, s);
	if (s) {
		s->refs++;
		return s;
	}
	s = malloc(sizeof(*s) + len);
	if (!s)
		return NULL;
	s->pool = pool;
	s->refs = 1;
	s->len = len;
	memcpy(s->text, text, len);
	HASH_ADD_KEYPTR(hh, pool->table, s->text, len, s);
	if (!s->hh.tbl) {
		free(s);
		return NULL;
	}
	pool->refs++;
	return s;
}

void bn_shared_unref(struct bn_shared *s)
{
	struct bn_pool *pool;

	if (!s || --s->refs)
		return;
	pool = s->pool;
	HASH_DEL(pool->table, s);
	free(s);
	bn_pool_unref(pool);
}

int bn_pool_string(struct bn_pool *pool, const char *text, struct bn_shared **ret)
{
	if (!text)
		return 0;
	*ret = shared_get(pool, text, strlen(text) + 1);
	return *ret ? 0 : -ENOMEM;
}

static int label_compare(const void *a, const void *b)
{
	const struct bn_label *x = a, *y = b;
	int r = strcmp(x->key, y->key);

	return r ? r : strcmp(x->value, y->value);
}

int bn_pool_labels(struct bn_pool *pool, const struct bn_label *labels, size_t n,
		   struct bn_shared **ret)
{
	struct bn_label *sorted;
	size_t len = 0;
	char *text, *p;

	if (n == 0)
		return 0;
	sorted = reallocarray(NULL, n, sizeof(*sorted));
	if (!sorted)
		return -ENOMEM;
	memcpy(sorted, labels, n * sizeof(*sorted));
	qsort(sorted, n, sizeof(*sorted), label_compare);
	for (size_t i = 0; i < n; i++)
		len += strlen(sorted[i].key) + strlen(sorted[i].value) + 2;
	text = malloc(len);
	if (text) {
		p = text;
		for (size_t i = 0; i < n; i++) {
			p = stpcpy(p, sorted[i].key);
			*p++ = '=';
			p = stpcpy(p, sorted[i].value) + 1;
		}
		*ret = shared_get(pool, text, len);
	}
	free(text);
	free(sorted);
	return text && *ret ? 0 : -ENOMEM;
}
