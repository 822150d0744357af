// SPDX-License-Identifier: Apache-2.0
/*
 * A small map's wanted content, by the bytes of the key.
 *
 * Invariant: an entry is remembered before it is written and forgotten after it is deleted, so a
 * failure between the two is drift that the audit mends.
 */
#include "datapath/wanted.h"

#include <bpf/bpf.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define HASH_NONFATAL_OOM 1
#include <uthash.h>

struct bn_wanted_entry {
	UT_hash_handle hh;
	char bytes[]; /* the key, then the value */
};

int bn_wanted_init(struct bn_wanted *w, int fd)
{
	struct bn_map_shape shape;
	int r = bn_map_shape(fd, &shape);

	if (r)
		return r;
	*w = (struct bn_wanted){fd, shape.key_size, shape.value_size, NULL};
	return 0;
}

void bn_wanted_done(struct bn_wanted *w)
{
	struct bn_wanted_entry *e, *tmp;

	HASH_ITER(hh, w->entries, e, tmp) {
		HASH_DEL(w->entries, e);
		free(e);
	}
}

static struct bn_wanted_entry *find(const struct bn_wanted *w, const void *key)
{
	struct bn_wanted_entry *e;

	HASH_FIND(hh, w->entries, key, w->key_size, e);
	return e;
}

int bn_wanted_set(struct bn_wanted *w, const void *key, const void *value)
{
	struct bn_wanted_entry *e = find(w, key), *added = NULL;
	int r;

	if (!e) {
		e = calloc(1, sizeof(*e) + w->key_size + w->value_size);
		if (!e)
			return -ENOMEM;
		memcpy(e->bytes, key, w->key_size);
		HASH_ADD_KEYPTR(hh, w->entries, e->bytes, w->key_size, e);
		added = find(w, key);
		if (!added) {
			free(e);
			return -ENOMEM;
		}
	}
	memcpy(e->bytes + w->key_size, value, w->value_size);
	r = bpf_map_update_elem(w->fd, key, value, BPF_ANY) ? -errno : 0;
	if (r && added) {
		HASH_DEL(w->entries, added);
		free(added);
	}
	return r;
}

int bn_wanted_remove(struct bn_wanted *w, const void *key)
{
	struct bn_wanted_entry *e = find(w, key);

	if (bpf_map_delete_elem(w->fd, key) && errno != ENOENT)
		return -errno;
	if (e) {
		HASH_DEL(w->entries, e);
		free(e);
	}
	return 0;
}

struct auditing {
	struct bn_wanted *w;
	struct bn_audit_count *c;
};

static int check_extra(void *user, const void *key, const void *value)
{
	struct auditing *a = user;

	if (!find(a->w, key))
		bn_audit_extra(a->c, a->w->fd, key);
	return 0;
}

int bn_wanted_prune(struct bn_wanted *w)
{
	struct bn_audit_count c = {0};
	struct auditing a = {w, &c};
	int r = bn_map_each(w->fd, check_extra, &a);

	return r ? r : c.error;
}

void bn_wanted_audit(struct bn_wanted *w, struct bn_audit_count *c)
{
	struct auditing a = {w, c};
	struct bn_wanted_entry *e, *tmp;
	int r;

	HASH_ITER(hh, w->entries, e, tmp)
		bn_audit_entry(c, w->fd, e->bytes, e->bytes + w->key_size, w->value_size);
	r = bn_map_each(w->fd, check_extra, &a);
	if (r)
		c->error = r;
}
