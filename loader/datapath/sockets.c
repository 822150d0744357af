// SPDX-License-Identifier: Apache-2.0
#include "datapath/sockets.h"

#include <bpf/bpf.h>
#include <bpfnet/access.h>
#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#define HASH_NONFATAL_OOM 1
#include <uthash.h>

struct netns {
	uint64_t cookie;
	uint32_t kind;
	bool claimed; /* not only a predecessor's */
	UT_hash_handle hh;
};

struct bn_sockets {
	int fd;
	struct netns *all;
};

static struct netns *find(struct bn_sockets *s, uint64_t cookie)
{
	struct netns *n;

	HASH_FIND(hh, s->all, &cookie, sizeof(cookie), n);
	return n;
}

static struct netns *add(struct bn_sockets *s, uint64_t cookie, uint32_t kind)
{
	struct netns *n = calloc(1, sizeof(*n));

	if (!n)
		return NULL;
	n->cookie = cookie;
	n->kind = kind;
	HASH_ADD(hh, s->all, cookie, sizeof(cookie), n);
	if (!n->hh.tbl) {
		free(n);
		return NULL;
	}
	return n;
}

static void drop(struct bn_sockets *s, struct netns *n)
{
	HASH_DEL(s->all, n);
	free(n);
}

static int take(void *user, const void *key, const void *value)
{
	uint64_t cookie;

	memcpy(&cookie, key, sizeof(cookie));
	return add(user, cookie, ((const struct bn_sock_netns *)value)->kind) ? 0 : -ENOMEM;
}

int bn_sockets_new(int netns_fd, struct bn_sockets **ret, struct bn_error *err)
{
	struct bn_sockets *s = calloc(1, sizeof(*s));
	int r = -ENOMEM;

	if (s) {
		s->fd = netns_fd;
		r = bn_map_each(netns_fd, take, s);
	}
	if (r) {
		bn_sockets_free(s);
		return bn_error_set(err, r, "can't read the map bn_sock_netns: %s", strerror(-r));
	}
	*ret = s;
	return 0;
}

void bn_sockets_free(struct bn_sockets *s)
{
	if (!s)
		return;
	while (s->all)
		drop(s, s->all);
	free(s);
}

int bn_sockets_netns_set(struct bn_sockets *s, uint64_t cookie, enum bn_netns_kind kind,
			 struct bn_error *err)
{
	struct netns *n = cookie ? find(s, cookie) : NULL;
	struct bn_sock_netns value = {.kind = kind};
	bool born = !n;

	if (!cookie || (n && n->claimed && n->kind == kind))
		return 0;
	if (born)
		n = add(s, cookie, kind);
	if (!n)
		return bn_error_set(err, -ENOMEM, "can't note a network namespace: out of memory");
	if (bpf_map_update_elem(s->fd, &cookie, &value, BPF_ANY)) {
		int r = -errno;

		if (born)
			drop(s, n);
		return bn_error_set(err, r, "can't write the map bn_sock_netns: %s", strerror(-r));
	}
	n->kind = kind;
	n->claimed = true;
	return 0;
}

void bn_sockets_netns_remove(struct bn_sockets *s, uint64_t cookie)
{
	struct netns *n = cookie ? find(s, cookie) : NULL;

	if (!n)
		return;
	bpf_map_delete_elem(s->fd, &cookie);
	drop(s, n);
}

void bn_sockets_prune(struct bn_sockets *s)
{
	struct netns *n, *tmp;

	HASH_ITER(hh, s->all, n, tmp) {
		if (n->claimed)
			continue;
		bpf_map_delete_elem(s->fd, &n->cookie);
		drop(s, n);
	}
}
