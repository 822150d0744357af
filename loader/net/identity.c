// SPDX-License-Identifier: Apache-2.0
/*
 * Why: policy matches a small number instead of a set of labels, and flows decided before a restart
 * keep meaning the same after it.
 *
 * Invariants: a number is on disk before anyone uses it; `next` only grows. Dropping an unused
 * number is not written at once: the file then names one too many until the next write.
 */
#include "net/identity.h"

#include "error.h"
#include "net/statefile.h"

#include <bpfnet/limits.h>
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define HASH_NONFATAL_OOM 1
#include <uthash.h>

#define FILE_NAME "identities.json"

struct identity {
	UT_hash_handle by_key;
	UT_hash_handle by_number;
	uint32_t number;
	unsigned references;
	char key[]; /* namespace, a newline, labels as sorted JSON */
};

struct bn_identities {
	struct identity *by_key;
	struct identity *by_number;
	uint32_t next;
	char *path;
};

static void drop(struct bn_identities *ids, struct identity *i)
{
	HASH_DELETE(by_key, ids->by_key, i);
	HASH_DELETE(by_number, ids->by_number, i);
	free(i);
}

static int insert(struct bn_identities *ids, const char *key, uint32_t number,
		  struct identity **ret)
{
	const size_t length = strlen(key);
	struct identity *i = calloc(1, sizeof(*i) + length + 1);

	if (!i)
		return -ENOMEM;
	memcpy(i->key, key, length);
	i->number = number;
	HASH_ADD(by_key, ids->by_key, key[0], length, i);
	if (!i->by_key.tbl) {
		free(i);
		return -ENOMEM;
	}
	HASH_ADD(by_number, ids->by_number, number, sizeof(i->number), i);
	if (!i->by_number.tbl) {
		HASH_DELETE(by_key, ids->by_key, i);
		free(i);
		return -ENOMEM;
	}
	*ret = i;
	return 0;
}

static struct identity *by_key(const struct bn_identities *ids, const char *key)
{
	struct identity *i;

	HASH_FIND(by_key, ids->by_key, key, strlen(key), i);
	return i;
}

static struct identity *by_number(const struct bn_identities *ids, uint32_t number)
{
	struct identity *i;

	HASH_FIND(by_number, ids->by_number, &number, sizeof(number), i);
	return i;
}

static int load(struct bn_identities *ids, const json_t *file)
{
	const json_t *next = json_object_get(file, "next");
	json_t *known = json_object_get(file, "identities");
	struct identity *i;
	const char *key;
	json_t *value;
	int r;

	if (!json_is_integer(next) || !json_is_object(known) ||
	    json_integer_value(next) < BN_IDENTITY_FIRST || json_integer_value(next) > UINT32_MAX)
		return -EBADMSG;
	ids->next = (uint32_t)json_integer_value(next);
	json_object_foreach(known, key, value) {
		json_int_t number = json_integer_value(value);

		if (number < BN_IDENTITY_FIRST || number >= ids->next ||
		    by_number(ids, (uint32_t)number))
			return -EBADMSG;
		r = insert(ids, key, (uint32_t)number, &i);
		if (r < 0)
			return r;
	}
	return 0;
}

static int save(const struct bn_identities *ids, struct bn_error *err)
{
	json_t *known = json_object();
	const struct identity *i;
	json_t *file;
	int r = 0;

	for (i = ids->by_number; i; i = i->by_number.next)
		r |= json_object_set_new(known, i->key, json_integer(i->number));
	file = json_pack("{sIso}", "next", (json_int_t)ids->next, "identities", known);
	if (!file || r < 0)
		r = bn_error_set(err, -ENOMEM, "cannot write %s: out of memory", ids->path);
	else
		r = bn_statefile_write(ids->path, file, err);
	json_decref(file);
	return r;
}

int bn_identities_new(const char *state_dir, struct bn_identities **ret, struct bn_error *err)
{
	struct bn_identities *ids = calloc(1, sizeof(*ids));
	json_t *file = NULL;
	int r = -ENOMEM;

	if (!ids || asprintf(&ids->path, "%s/" FILE_NAME, state_dir) < 0)
		goto fail;
	ids->next = BN_IDENTITY_FIRST;
	r = bn_statefile_read(ids->path, &file, err);
	if (r == 0)
		r = load(ids, file);
	else if (r == -ENOENT)
		r = 0;
	json_decref(file);
	if (r == -EBADMSG)
		bn_error_set(err, r, "%s is damaged; remove it while bpfnetd does not run",
			     ids->path);
	if (r < 0)
		goto fail;
	*ret = ids;
	return 0;
fail:
	bn_identities_free(ids);
	return r;
}

void bn_identities_free(struct bn_identities *ids)
{
	if (!ids)
		return;
	while (ids->by_number)
		drop(ids, ids->by_number);
	free(ids->path);
	free(ids);
}

int bn_identities_get(struct bn_identities *ids, const char *namespace, const json_t *labels,
		      uint32_t *ret, struct bn_error *err)
{
	char *text = labels ? json_dumps(labels, JSON_SORT_KEYS | JSON_COMPACT) : strdup("{}");
	struct identity *i = NULL;
	char *key = NULL;
	int r = -ENOMEM;

	if (!text || asprintf(&key, "%s\n%s", namespace, text) < 0)
		goto out;
	i = by_key(ids, key);
	r = 0;
	if (!i) {
		/* 2^32 label sets: the counter does not come round in a node's life. */
		r = insert(ids, key, ids->next, &i);
		if (r < 0)
			goto out;
		ids->next++;
		r = save(ids, err);
		if (r < 0) {
			drop(ids, i);
			goto out;
		}
	}
	i->references++;
	*ret = i->number;
out:
	free(key);
	free(text);
	return r < 0 ? bn_error_set(err, r, "cannot allot an identity: %s", strerror(-r)) : 0;
}

void bn_identities_put(struct bn_identities *ids, uint32_t identity)
{
	struct identity *i = by_number(ids, identity);

	if (i && --i->references == 0)
		drop(ids, i);
}

int bn_identities_settle(struct bn_identities *ids, struct bn_error *err)
{
	struct identity *i, *tmp;
	bool changed = false;

	HASH_ITER(by_number, ids->by_number, i, tmp) {
		if (i->references)
			continue;
		drop(ids, i);
		changed = true;
	}
	return changed ? save(ids, err) : 0;
}

int bn_identities_uninstall(struct bn_identities *ids, struct bn_error *err)
{
	return bn_statefile_remove(ids->path, err);
}
