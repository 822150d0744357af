// SPDX-License-Identifier: Apache-2.0
/*
 * Source ranges and answering backends of services: a sorted list of keys for each service, and the
 * map's wanted content over all of them.
 *
 * Invariant: between bn_sources_add() and trim or revert the map has both lists of the service.
 */
#include "datapath/sources.h"

#include "datapath/wanted.h"

#include <arpa/inet.h>
#include <bpfnet/access.h>
#include <bpfnet/source.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define HASH_NONFATAL_OOM 1
#include <uthash.h>

struct list {
	struct bn_source_key *keys;
	size_t n;
};

struct service {
	uint32_t id;
	struct list now, next; /* next: between add and trim or revert */
	UT_hash_handle hh;
};

struct bn_sources {
	struct bn_wanted wanted;
	uint32_t max; /* entries of the map */
	bool answers; /* direct server return: backends here are listed */
	struct service *services;
};

int bn_sources_new(int fd, bool answers, struct bn_sources **ret, struct bn_error *err)
{
	struct bn_sources *s = calloc(1, sizeof(*s));
	struct bn_map_shape shape;
	int r = s ? bn_map_shape(fd, &shape) : -ENOMEM;

	if (!r)
		r = bn_wanted_init(&s->wanted, fd);
	if (r) {
		free(s);
		return bn_error_set(err, r, "can't read the map of source ranges: %s",
				    strerror(-r));
	}
	s->max = shape.max_entries;
	s->answers = answers;
	*ret = s;
	return 0;
}

static void drop(struct bn_sources *s, struct service *v)
{
	HASH_DEL(s->services, v);
	free(v->now.keys);
	free(v->next.keys);
	free(v);
}

void bn_sources_free(struct bn_sources *s)
{
	struct service *v, *tmp;

	if (!s)
		return;
	HASH_ITER(hh, s->services, v, tmp)
		drop(s, v);
	bn_wanted_done(&s->wanted);
	free(s);
}

static struct service *find(struct bn_sources *s, uint32_t id)
{
	struct service *v;

	HASH_FIND(hh, s->services, &id, sizeof(id), v);
	return v;
}

static struct service *get(struct bn_sources *s, uint32_t id)
{
	struct service *v = find(s, id);

	if (v)
		return v;
	v = calloc(1, sizeof(*v));
	if (!v)
		return NULL;
	v->id = id;
	HASH_ADD(hh, s->services, id, sizeof(v->id), v);
	if (!find(s, id)) {
		free(v);
		return NULL;
	}
	return v;
}

static int by_key(const void *a, const void *b)
{
	return memcmp(a, b, sizeof(struct bn_source_key));
}

static bool has(const struct list *l, const struct bn_source_key *key)
{
	return l->n && bsearch(key, l->keys, l->n, sizeof(*key), by_key);
}

static void add_key(struct list *l, uint32_t id, unsigned int prefix, const union bn_addr *addr)
{
	struct bn_source_key *key = &l->keys[l->n++];

	key->prefixlen = BN_SOURCE_PREFIX(prefix);
	key->service = id;
	memcpy(key->addr, addr, sizeof(key->addr));
}

static void add_answering(struct list *l, uint32_t id, uint8_t protocol,
			  const struct bn_backend_spec *backend)
{
	struct bn_source_key *key = &l->keys[l->n++];

	key->prefixlen = BN_SOURCE_WHOLE;
	key->service = id | BN_SOURCE_ANSWERS;
	memcpy(key->addr, &backend->addr, sizeof(key->addr));
	key->port = htons(backend->port);
	key->protocol = protocol;
}

/*
 * Another node may send on to any backend here what came to it for this frontend, also to one that
 * gets no new flows from this node: it may not know that yet, and its flows are older. Of what names
 * no node it may be here (nodeName of an EndpointSlice is optional). Cluster IPs count, since they may be routed to nodes; a host port is every node's own.
 */
static bool answers(const struct bn_sources *s, const struct bn_frontend_spec *f, size_t backend)
{
	return s->answers && f->kind != BN_FRONTEND_HOST_PORT &&
	       (f->backends[backend].local || !f->backends[backend].node);
}

static size_t count_keys(const struct bn_sources *s, const struct bn_service_spec *spec)
{
	size_t n = 0;

	for (size_t i = 0; i < spec->n_frontends; i++) {
		const struct bn_frontend_spec *f = &spec->frontends[i];

		n += f->n_source_ranges;
		for (size_t k = 0; k < f->n_backends; k++)
			n += answers(s, f, k);
	}
	return n;
}

/* Ranges and answering backends of all frontends, each once: they share the service's list. */
static int list_of(const struct bn_sources *s, uint32_t id, const struct bn_service_spec *spec,
		   struct list *ret)
{
	size_t n = count_keys(s, spec), kept = 0;

	*ret = (struct list){0};
	if (!n)
		return 0;
	ret->keys = calloc(n, sizeof(*ret->keys));
	if (!ret->keys)
		return -ENOMEM;
	for (size_t i = 0; i < spec->n_frontends; i++) {
		const struct bn_frontend_spec *f = &spec->frontends[i];

		for (size_t k = 0; k < f->n_source_ranges; k++) {
			const struct bn_cidr *c = &f->source_ranges[k];

			add_key(ret, id, c->prefix + (c->family == BN_IPV4 ? 96 : 0), &c->addr);
		}
		for (size_t k = 0; k < f->n_backends; k++) {
			if (answers(s, f, k))
				add_answering(ret, id, f->protocol, &f->backends[k]);
		}
	}
	qsort(ret->keys, ret->n, sizeof(*ret->keys), by_key);
	for (size_t i = 0; i < ret->n; i++) {
		if (!i || by_key(&ret->keys[i], &ret->keys[kept - 1]))
			ret->keys[kept++] = ret->keys[i];
	}
	ret->n = kept;
	return 0;
}

/* What the list is made of, for people. */
static const char *content(const struct list *l)
{
	for (size_t i = 0; i < l->n; i++) {
		if (l->keys[i].service & BN_SOURCE_ANSWERS)
			return "source ranges and local backends";
	}
	return "source ranges";
}

/* Takes out of the map what `gone` lists and `stays` does not. What can't be, the audit takes. */
static void withdraw(struct bn_sources *s, const struct list *gone, const struct list *stays)
{
	for (size_t i = 0; i < gone->n; i++) {
		if (!has(stays, &gone->keys[i]))
			bn_wanted_remove(&s->wanted, &gone->keys[i]);
	}
}

int bn_sources_add(struct bn_sources *s, uint32_t id, const struct bn_service_spec *spec,
		   struct bn_error *err)
{
	const struct bn_source value = {0};
	struct service *v;
	struct list next;
	int r = list_of(s, id, spec, &next);
	const char *what;

	if (r)
		return r;
	if (!next.n && !find(s, id))
		return 0;
	v = get(s, id);
	if (!v) {
		free(next.keys);
		return -ENOMEM;
	}
	free(v->next.keys);
	v->next = next;
	for (size_t i = 0; i < next.n && !r; i++) {
		if (!has(&v->now, &next.keys[i]))
			r = bn_wanted_set(&s->wanted, &next.keys[i], &value);
	}
	if (!r)
		return 0;
	what = content(&next);
	bn_sources_revert(s, id); /* `next` is gone */
	if (r == -ENOSPC)
		return bn_error_set(err, r,
				    "can't make the service %s/%s: its %zu %s do not fit, "
				    "%u of all services are the most; raise maps.source-ranges",
				    spec->namespace, spec->name, next.n, what, s->max);
	return bn_error_set(err, r, "can't write the %s of the service %s/%s: %s", what,
			    spec->namespace, spec->name, strerror(-r));
}

/* One of the two lists becomes the only one. */
static void settle(struct bn_sources *s, uint32_t id, bool next)
{
	struct service *v = find(s, id);
	struct list stays, goes;

	if (!v)
		return;
	stays = next ? v->next : v->now;
	goes = next ? v->now : v->next;
	withdraw(s, &goes, &stays);
	free(goes.keys);
	v->now = stays;
	v->next = (struct list){0};
	if (!v->now.n)
		drop(s, v);
}

void bn_sources_trim(struct bn_sources *s, uint32_t id)
{
	settle(s, id, true);
}

void bn_sources_revert(struct bn_sources *s, uint32_t id)
{
	settle(s, id, false);
}

void bn_sources_remove(struct bn_sources *s, uint32_t id)
{
	settle(s, id, false);
	settle(s, id, true); /* what comes next is nothing */
}

int bn_sources_prune(struct bn_sources *s)
{
	return bn_wanted_prune(&s->wanted);
}

void bn_sources_audit(struct bn_sources *s, struct bn_audit_count *c)
{
	bn_wanted_audit(&s->wanted, c);
}
