// SPDX-License-Identifier: Apache-2.0
/*
 * The mirror of bn_services, bn_service_slots and bn_backends, and the commit.
 *
 * Invariants: every entry of the mirror is in the map and the other way round, except inside
 * commit(); a backend's index belongs to one (service, address, port, protocol) from the moment
 * it is taken until its last reference is gone, and its generation only grows, also from one
 * owner to the next, so that a flow never mistakes a new backend for its own; a run of places is
 * never written while a frontend names it.
 *
 * A commit first takes everything that it needs (runs, indices) without touching the kernel, so
 * that what does not fit is refused before anything changed.
 */
#include "datapath/services.h"

#include "datapath/runs.h"

#include <arpa/inet.h>
#include <bpf/bpf.h>
#include <bpfnet/access.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define HASH_NONFATAL_OOM 1
#include <uthash.h>

struct backend_key {
	union bn_addr addr;
	uint32_t service;
	__be16 port;
	uint8_t protocol;
	uint8_t pad;
};

struct backend {
	struct backend_key key;
	uint32_t index;
	uint32_t gen;
	uint32_t refs;    /* frontends that list it, in whatever state */
	uint32_t serves;  /* of these, the ones that send new flows to it */
	uint32_t staged, staged_serves; /* the same after the commit under way */
	uint8_t state;    /* as in the map */
	uint8_t wanted;   /* as the commit under way wants it */
	uint8_t touched;  /* on the commit's list */
	uint8_t born;     /* by the commit under way */
	UT_hash_handle hh;
};

struct service;

struct frontend {
	struct bn_service_key key;
	struct bn_service value;
	struct service *owner;     /* NULL: a predecessor's, unclaimed */
	struct backend **backends; /* all listed; the first value.count are in the run */
	uint32_t n_backends;
	struct bn_service next; /* the commit under way */
	struct backend **next_backends;
	uint32_t n_next;
	struct service *next_owner;
	enum { KEEP, WRITE, REMOVE } op;
	uint8_t touched;
	uint8_t born;
	UT_hash_handle hh;
	struct frontend *sibling; /* of the same owner */
	struct frontend *list;    /* the commit's */
};

/* An address that frontends share: its port-0 entry in the map. */
struct address {
	union bn_addr addr;
	uint32_t refs;
	uint8_t known; /* in the map */
	uint8_t touched;
	UT_hash_handle hh;
	struct address *list;
};

struct service {
	char *key; /* "namespace/name" */
	uint32_t id;
	struct frontend *frontends;
	UT_hash_handle hh, hh_id;
};

struct bn_services {
	struct bn_services_config config;
	struct bn_runs runs;
	struct frontend *frontends;
	struct backend *backends;
	struct address *addresses;
	struct service *services, *by_id;
	uint32_t *free_backends; /* indices given back, the latest last */
	size_t n_free, cap_free;
	uint32_t top_backend;    /* first index never used */
	uint32_t next_id;
	uint32_t *gens; /* generations of free indices, by index, lazily sized */
	uint32_t n_gens;
	uint64_t n_frontends, n_backends;
	/* the commit under way */
	struct frontend *changed;
	struct address *changed_addresses;
	struct backend **touched;
	size_t n_touched, cap_touched;
};

/* --- small parts --- */

static int push_free(struct bn_services *s, uint32_t index)
{
	if (s->n_free == s->cap_free) {
		size_t cap = s->cap_free ? s->cap_free * 2 : 64;
		uint32_t *p = reallocarray(s->free_backends, cap, sizeof(*p));

		if (!p)
			return -ENOMEM;
		s->free_backends = p;
		s->cap_free = cap;
	}
	s->free_backends[s->n_free++] = index;
	return 0;
}

static int touch_backend(struct bn_services *s, struct backend *b)
{
	if (b->touched)
		return 0;
	if (s->n_touched == s->cap_touched) {
		size_t cap = s->cap_touched ? s->cap_touched * 2 : 256;
		struct backend **p = reallocarray(s->touched, cap, sizeof(*p));

		if (!p)
			return -ENOMEM;
		s->touched = p;
		s->cap_touched = cap;
	}
	b->touched = 1;
	b->staged = b->refs;
	b->staged_serves = b->serves;
	b->wanted = b->state;
	s->touched[s->n_touched++] = b;
	return 0;
}

static struct backend *backend_find(struct bn_services *s, const struct backend_key *key)
{
	struct backend *b;

	HASH_FIND(hh, s->backends, key, sizeof(*key), b);
	return b;
}

static int backend_add(struct bn_services *s, const struct backend_key *key, uint32_t index,
		       struct backend **ret)
{
	struct backend *b = calloc(1, sizeof(*b));

	if (!b)
		return -ENOMEM;
	b->key = *key;
	b->index = index;
	HASH_ADD(hh, s->backends, key, sizeof(b->key), b);
	s->n_backends++;
	*ret = b;
	return 0;
}

static struct address *address_get(struct bn_services *s, const union bn_addr *addr)
{
	struct address *a;

	HASH_FIND(hh, s->addresses, addr, sizeof(*addr), a);
	if (a)
		return a;
	a = calloc(1, sizeof(*a));
	if (!a)
		return NULL;
	a->addr = *addr;
	HASH_ADD(hh, s->addresses, addr, sizeof(a->addr), a);
	return a;
}

static struct frontend *frontend_find(struct bn_services *s, const struct bn_service_key *key)
{
	struct frontend *f;

	HASH_FIND(hh, s->frontends, key, sizeof(*key), f);
	return f;
}

static struct frontend *frontend_add(struct bn_services *s, const struct bn_service_key *key)
{
	struct frontend *f = calloc(1, sizeof(*f));

	if (!f)
		return NULL;
	f->key = *key;
	HASH_ADD(hh, s->frontends, key, sizeof(f->key), f);
	s->n_frontends++;
	return f;
}

static void frontend_drop(struct bn_services *s, struct frontend *f)
{
	HASH_DEL(s->frontends, f);
	s->n_frontends--;
	free(f->backends);
	free(f);
}

static struct service *service_find(struct bn_services *s, const char *namespace, const char *name)
{
	char key[600];
	struct service *v;

	snprintf(key, sizeof(key), "%s/%s", namespace, name);
	HASH_FIND_STR(s->services, key, v);
	return v;
}

static void service_destroy(struct service *v)
{
	free(v->key);
	free(v);
}

static void service_drop(struct bn_services *s, struct service *v)
{
	HASH_DEL(s->services, v);
	if (v->id)
		HASH_DELETE(hh_id, s->by_id, v);
	service_destroy(v);
}

static int service_register(struct bn_services *s, struct service *v, uint32_t id)
{
	struct service *taken;

	HASH_FIND(hh_id, s->by_id, &id, sizeof(id), taken);
	if (taken)
		return -EEXIST;
	v->id = id;
	HASH_ADD(hh_id, s->by_id, id, sizeof(v->id), v);
	return 0;
}

static struct service *service_get(struct bn_services *s, const char *namespace, const char *name)
{
	struct service *v = service_find(s, namespace, name);

	if (v)
		return v;
	v = calloc(1, sizeof(*v));
	if (!v)
		return NULL;
	if (asprintf(&v->key, "%s/%s", namespace, name) < 0) {
		free(v);
		return NULL;
	}
	HASH_ADD_KEYPTR(hh, s->services, v->key, strlen(v->key), v);
	return v;
}

/* --- taking over --- */

struct reading {
	struct bn_services *s;
	struct bn_service_slot *places;
	uint32_t cap;
};

static int read_frontend(void *user, const void *key, const void *value)
{
	struct reading *rd = user;
	struct bn_services *s = rd->s;
	const struct bn_service_key *k = key;
	const struct bn_service *v = value;
	struct frontend *f;
	struct address *a;

	a = address_get(s, &k->addr);
	if (!a)
		return -ENOMEM;
	if (!k->port && !k->protocol) {
		a->known = 1;
		return 0;
	}
	f = frontend_add(s, k);
	if (!f)
		return -ENOMEM;
	f->value = *v;
	a->refs++;
	if (v->id >= s->next_id)
		s->next_id = v->id + 1;
	if ((uint64_t)v->first + v->count > s->config.max_slots) {
		/* not of this map: as good as none, and rewritten when claimed */
		f->value.count = 0;
		f->value.first = 0;
	}
	return 0;
}

/* The backends that a taken-over frontend names; a list that makes no sense counts as empty. */
static int read_places(struct reading *rd, struct frontend *f)
{
	struct bn_services *s = rd->s;
	struct bn_backend value;
	int r;

	if (!f->value.count)
		return 0;
	if (rd->cap < f->value.count) {
		struct bn_service_slot *p =
			reallocarray(rd->places, f->value.count, sizeof(*p));

		if (!p)
			return -ENOMEM;
		rd->places = p;
		rd->cap = f->value.count;
	}
	r = bn_array_read(s->config.slots_fd, f->value.first, f->value.count, rd->places, 0);
	if (r)
		return r;
	f->backends = calloc(f->value.count, sizeof(*f->backends));
	if (!f->backends)
		return -ENOMEM;
	f->n_backends = f->value.count;
	bn_runs_claim(&s->runs, f->value.first, f->value.count);
	for (uint32_t i = 0; i < f->value.count; i++) {
		struct backend_key key = {.service = f->value.id, .protocol = f->key.protocol};
		struct backend *b;

		if (rd->places[i].backend >= s->config.max_backends)
			continue;
		r = bn_array_read(s->config.backends_fd, rd->places[i].backend, 1, &value, 0);
		if (r)
			return r;
		key.addr = rd->places[i].addr;
		key.port = rd->places[i].port;
		/* a backend that says otherwise than its place is as good as none */
		if (!bn_addr_equal(&key.addr, &value.addr) || key.port != value.port ||
		    value.gen != rd->places[i].gen)
			continue;
		b = backend_find(s, &key);
		if (!b) {
			r = backend_add(s, &key, rd->places[i].backend, &b);
			if (r)
				return r;
			b->gen = value.gen;
			b->state = value.state;
		}
		if (b->index != rd->places[i].backend)
			continue;
		b->refs++;
		b->serves++;
		f->backends[i] = b;
		if (b->index >= s->top_backend)
			s->top_backend = b->index + 1;
	}
	return 0;
}

/* Free indices below top, with the generations that they had. */
static int read_gaps(struct bn_services *s)
{
	uint8_t *used;
	struct backend *b, *tmp;
	int r = 0;

	if (!s->top_backend)
		return 0;
	used = calloc(s->top_backend, 1);
	s->gens = calloc(s->top_backend, sizeof(*s->gens));
	if (!used || !s->gens) {
		free(used);
		return -ENOMEM;
	}
	s->n_gens = s->top_backend;
	HASH_ITER(hh, s->backends, b, tmp)
		used[b->index] = 1;
	for (uint32_t i = s->top_backend; i-- > 0 && !r;) {
		struct bn_backend value;

		if (used[i])
			continue;
		r = bn_array_read(s->config.backends_fd, i, 1, &value, 0);
		if (!r) {
			s->gens[i] = value.gen;
			r = push_free(s, i);
		}
	}
	free(used);
	return r;
}

int bn_services_new(const struct bn_services_config *config, struct bn_services **ret,
		    struct bn_error *err)
{
	struct bn_services *s = calloc(1, sizeof(*s));
	struct reading rd = {.s = s};
	struct frontend *f, *tmp;
	int r;

	if (!s)
		return -ENOMEM;
	s->config = *config;
	s->next_id = 1;
	bn_runs_init(&s->runs, config->max_slots);
	r = bn_map_each(config->services_fd, read_frontend, &rd);
	HASH_ITER(hh, s->frontends, f, tmp) {
		if (!r)
			r = read_places(&rd, f);
	}
	free(rd.places);
	if (!r)
		r = bn_runs_claimed(&s->runs);
	if (!r)
		r = read_gaps(s);
	if (r) {
		bn_services_free(s);
		return bn_error_set(err, r, "can't read the services that stand in the maps: %s",
				    strerror(-r));
	}
	*ret = s;
	return 0;
}

void bn_services_free(struct bn_services *s)
{
	struct frontend *f, *ftmp;
	struct backend *b, *btmp;
	struct address *a, *atmp;
	struct service *v, *vtmp;

	if (!s)
		return;
	HASH_ITER(hh, s->frontends, f, ftmp)
		frontend_drop(s, f);
	HASH_ITER(hh, s->backends, b, btmp) {
		HASH_DEL(s->backends, b);
		free(b);
	}
	HASH_ITER(hh, s->addresses, a, atmp) {
		HASH_DEL(s->addresses, a);
		free(a);
	}
	HASH_CLEAR(hh_id, s->by_id);
	HASH_ITER(hh, s->services, v, vtmp) {
		HASH_DEL(s->services, v);
		service_destroy(v);
	}
	free(s->free_backends);
	free(s->gens);
	free(s->touched);
	bn_runs_done(&s->runs);
	free(s);
}

/* --- staging --- */

static void stage_list(struct bn_services *s, struct frontend *f)
{
	if (f->touched)
		return;
	f->touched = 1;
	f->op = KEEP;
	f->list = s->changed;
	s->changed = f;
}

static void stage_remove(struct bn_services *s, struct frontend *f)
{
	stage_list(s, f);
	f->op = REMOVE;
}

/* The backends that new flows go to: the active ones, else those that still serve. */
static uint8_t served_state(const struct bn_frontend_spec *f)
{
	bool terminating = false;

	for (size_t i = 0; i < f->n_backends; i++) {
		if (f->backends[i].state == BN_BACKEND_ACTIVE)
			return BN_BACKEND_ACTIVE;
		if (f->backends[i].state == BN_BACKEND_TERMINATING)
			terminating = true;
	}
	return terminating ? BN_BACKEND_TERMINATING : BN_BACKEND_FREE;
}

static int stage_backend(struct bn_services *s, const struct service *v,
			 const struct bn_frontend_spec *fs, const struct bn_backend_spec *bs,
			 struct backend **ret)
{
	struct backend_key key = {
		.addr = bs->addr,
		.service = v->id,
		.port = htons(bs->port),
		.protocol = fs->protocol,
	};
	struct backend *b = backend_find(s, &key);
	int r;

	if (!b) {
		r = backend_add(s, &key, UINT32_MAX, &b);
		if (r)
			return r;
		b->born = 1;
	}
	r = touch_backend(s, b);
	if (r)
		return r;
	b->wanted = bs->state;
	*ret = b;
	return 0;
}

static bool same_run(const struct frontend *f, struct backend *const *next, uint32_t n)
{
	if (f->value.count != n)
		return false;
	for (uint32_t i = 0; i < n; i++) {
		if (f->backends[i] != next[i])
			return false;
	}
	return true;
}

static int by_address(const void *a, const void *b)
{
	const struct backend *x = *(struct backend *const *)a, *y = *(struct backend *const *)b;
	int r = memcmp(&x->key.addr, &y->key.addr, sizeof(x->key.addr));

	return r ? r : (int)ntohs(x->key.port) - (int)ntohs(y->key.port);
}

static int stage_frontend(struct bn_services *s, struct service *v,
			  const struct bn_frontend_spec *fs, struct bn_error *err)
{
	struct bn_service_key key = {.port = htons(fs->port), .protocol = fs->protocol};
	uint8_t served = served_state(fs);
	struct backend **next = NULL;
	struct frontend *f;
	struct address *a;
	uint32_t n = 0, all = 0;
	int r = 0;

	key.addr = fs->addr;
	f = frontend_find(s, &key);
	if (f && f->owner && f->owner != v && !(f->touched && f->op == REMOVE))
		return bn_error_set(err, -EEXIST,
				    "can't make the service %s: its address, port and protocol "
				    "belong to %s",
				    v->key, f->owner->key);
	if (!f) {
		f = frontend_add(s, &key);
		a = f ? address_get(s, &key.addr) : NULL;
		if (!a) {
			if (f)
				frontend_drop(s, f);
			return -ENOMEM;
		}
		f->born = 1;
		a->refs++;
		if (!a->touched) {
			a->touched = 1;
			a->list = s->changed_addresses;
			s->changed_addresses = a;
		}
	}
	stage_list(s, f);
	next = calloc(fs->n_backends ? fs->n_backends : 1, sizeof(*next));
	if (!next)
		return -ENOMEM;
	/* those that serve first, each part in a fixed order, so that equal lists are equal */
	for (int serving = 1; serving >= 0 && !r; serving--) {
		uint32_t from = all;

		for (size_t i = 0; i < fs->n_backends && !r; i++) {
			const struct bn_backend_spec *bs = &fs->backends[i];

			if ((bs->state == served) == serving)
				r = stage_backend(s, v, fs, bs, &next[all++]);
		}
		if (!r)
			qsort(next + from, all - from, sizeof(*next), by_address);
		if (serving)
			n = all;
	}
	if (r) {
		free(next);
		return r;
	}
	f->next_backends = next;
	f->n_next = all;
	f->next_owner = v;
	f->next = (struct bn_service){.id = v->id, .count = n, .kind = fs->kind};
	if (!f->born && f->value.id == v->id && f->value.kind == fs->kind && same_run(f, next, n)) {
		f->op = KEEP;
		f->next.first = f->value.first;
		return 0;
	}
	f->op = WRITE;
	r = bn_runs_take(&s->runs, n, &f->next.first);
	if (r) {
		f->op = f->born ? REMOVE : KEEP;
		free(f->next_backends);
		f->next_backends = NULL;
		if (r == -ENOSPC)
			return bn_error_set(
				err, r,
				"can't make the service %s: its list of %u backends does not fit, "
				"%llu of %u places are taken; raise maps.service-slots",
				v->key, n, (unsigned long long)s->runs.used, s->config.max_slots);
	}
	return r;
}

/* A claimed predecessor's entry tells the id that the service had. */
static uint32_t find_old_id(struct bn_services *s, const struct bn_service_spec *spec)
{
	for (size_t i = 0; i < spec->n_frontends; i++) {
		struct bn_service_key key = {.port = htons(spec->frontends[i].port),
					     .protocol = spec->frontends[i].protocol};
		struct service *taken;
		struct frontend *f;

		key.addr = spec->frontends[i].addr;
		f = frontend_find(s, &key);
		if (!f || f->owner)
			continue;
		HASH_FIND(hh_id, s->by_id, &f->value.id, sizeof(f->value.id), taken);
		if (!taken && f->value.id)
			return f->value.id;
	}
	return 0;
}

static int stage_service(struct bn_services *s, const struct bn_service_spec *spec,
			 struct bn_error *err)
{
	struct service *v = service_get(s, spec->namespace, spec->name);
	int r = 0;

	if (!v)
		return -ENOMEM;
	if (!v->id) {
		uint32_t id = find_old_id(s, spec);

		if (!id || service_register(s, v, id))
			while (service_register(s, v, s->next_id++))
				;
	}
	for (struct frontend *f = v->frontends; f; f = f->sibling)
		stage_remove(s, f);
	for (size_t i = 0; i < spec->n_frontends && !r; i++)
		r = stage_frontend(s, v, &spec->frontends[i], err);
	return r;
}

/* References after the commit; every backend of a changed frontend is on the list. */
static int stage_references(struct bn_services *s)
{
	int r = 0;

	for (struct frontend *f = s->changed; f && !r; f = f->list) {
		for (uint32_t i = 0; i < f->n_backends && !r; i++) {
			struct backend *b = f->backends[i];

			if (!b)
				continue;
			r = touch_backend(s, b);
			if (!r) {
				b->staged--;
				b->staged_serves -= i < f->value.count;
			}
		}
		if (f->op == REMOVE || !f->next_backends)
			continue;
		for (uint32_t i = 0; i < f->n_next; i++) {
			f->next_backends[i]->staged++;
			f->next_backends[i]->staged_serves += i < f->next.count;
		}
	}
	return r;
}

/* Indices for the newborn that are really used. -ENOSPC with the count that does not fit. */
static int stage_indices(struct bn_services *s, struct bn_error *err)
{
	uint64_t need = 0, room = s->n_free + (s->config.max_backends - s->top_backend);

	for (size_t i = 0; i < s->n_touched; i++) {
		if (s->touched[i]->born && s->touched[i]->staged)
			need++;
	}
	if (need > room)
		return bn_error_set(err, -ENOSPC,
				    "can't make the services: %llu backends do not fit, %u are the "
				    "most; raise maps.backends",
				    (unsigned long long)(need - room), s->config.max_backends);
	for (size_t i = 0; i < s->n_touched; i++) {
		struct backend *b = s->touched[i];

		if (!b->born || !b->staged)
			continue;
		if (s->n_free) {
			b->index = s->free_backends[--s->n_free];
			b->gen = b->index < s->n_gens ? s->gens[b->index] + 1 : 1;
		} else {
			b->index = s->top_backend++;
			b->gen = 1;
		}
	}
	return 0;
}

static int stage_room(struct bn_services *s, struct bn_error *err)
{
	uint64_t addresses = HASH_COUNT(s->addresses);
	uint64_t need = s->n_frontends + addresses;

	/* what goes is only removed after what comes is in, so both count */
	if (need > s->config.max_services)
		return bn_error_set(
			err, -ENOSPC,
			"can't make the services: %llu frontends do not fit, %u are the most "
			"(one more for each address); raise maps.services",
			(unsigned long long)(need - s->config.max_services),
			s->config.max_services);
	return 0;
}

/* --- writing --- */

struct batch {
	char *keys, *values;
	size_t ks, vs, n, cap;
};

static int batch_add(struct batch *b, const void *key, const void *value)
{
	if (b->n == b->cap) {
		size_t cap = b->cap ? b->cap * 2 : 256;
		char *k = reallocarray(b->keys, cap, b->ks);
		char *v;

		if (!k)
			return -ENOMEM;
		b->keys = k;
		v = reallocarray(b->values, cap, b->vs);
		if (!v)
			return -ENOMEM;
		b->values = v;
		b->cap = cap;
	}
	memcpy(b->keys + b->n * b->ks, key, b->ks);
	memcpy(b->values + b->n * b->vs, value, b->vs);
	b->n++;
	return 0;
}

static int batch_write(struct batch *b, int fd)
{
	int r = b->n ? bn_map_write(fd, b->keys, b->values, b->n, NULL) : 0;

	free(b->keys);
	free(b->values);
	return r;
}

static void backend_value(const struct backend *b, struct bn_backend *ret)
{
	memset(ret, 0, sizeof(*ret));
	ret->addr = b->key.addr;
	ret->port = b->key.port;
	ret->protocol = b->key.protocol;
	ret->state = b->state;
	ret->gen = b->gen;
}

/* Backends that come or come back: before any list names them. */
static int write_backends(struct bn_services *s)
{
	struct batch values = {.ks = 4, .vs = sizeof(struct bn_backend)};
	struct bn_backend value;
	int r = 0, r2;

	for (size_t i = 0; i < s->n_touched && !r; i++) {
		struct backend *b = s->touched[i];

		if (!b->staged || (!b->born && b->state == b->wanted))
			continue;
		b->state = b->wanted;
		backend_value(b, &value);
		r = batch_add(&values, &b->index, &value);
	}
	r2 = batch_write(&values, s->config.backends_fd);
	return r ? r : r2;
}

static int write_places(struct bn_services *s)
{
	struct batch places = {.ks = 4, .vs = sizeof(struct bn_service_slot)};
	int r = 0, r2;

	for (struct frontend *f = s->changed; f && !r; f = f->list) {
		if (f->op != WRITE)
			continue;
		for (uint32_t i = 0; i < f->next.count && !r; i++) {
			const struct backend *b = f->next_backends[i];
			struct bn_service_slot slot = {.addr = b->key.addr,
						       .port = b->key.port,
						       .backend = b->index,
						       .gen = b->gen};
			uint32_t at = f->next.first + i;

			r = batch_add(&places, &at, &slot);
		}
	}
	r2 = batch_write(&places, s->config.slots_fd);
	return r ? r : r2;
}

static int write_frontends(struct bn_services *s)
{
	struct batch b = {.ks = sizeof(struct bn_service_key), .vs = sizeof(struct bn_service)};
	int r = 0, r2;

	for (struct address *a = s->changed_addresses; a && !r; a = a->list) {
		struct bn_service_key key = {0};
		struct bn_service value = {0};

		key.addr = a->addr;
		if (a->refs && !a->known)
			r = batch_add(&b, &key, &value);
	}
	for (struct frontend *f = s->changed; f && !r; f = f->list) {
		if (f->op == WRITE)
			r = batch_add(&b, &f->key, &f->next);
	}
	r2 = batch_write(&b, s->config.services_fd);
	return r ? r : r2;
}

static int delete_frontends(struct bn_services *s)
{
	int r = 0;

	for (struct frontend *f = s->changed; f && !r; f = f->list) {
		if (f->op == REMOVE && !f->born)
			r = bn_map_delete(s->config.services_fd, &f->key, 1);
	}
	return r;
}

/* Backends that take no new flows any more: a new generation sends half-open flows elsewhere. */
static int retire_backends(struct bn_services *s)
{
	struct batch values = {.ks = 4, .vs = sizeof(struct bn_backend)};
	struct bn_backend value;
	int r = 0, r2;

	for (size_t i = 0; i < s->n_touched && !r; i++) {
		struct backend *b = s->touched[i];

		if (b->staged_serves || !b->serves)
			continue;
		b->gen++;
		backend_value(b, &value);
		if (!b->staged)
			value.state = BN_BACKEND_FREE;
		r = batch_add(&values, &b->index, &value);
	}
	r2 = batch_write(&values, s->config.backends_fd);
	return r ? r : r2;
}

/* --- ending a commit --- */

static void service_link(struct frontend *f)
{
	f->sibling = f->owner->frontends;
	f->owner->frontends = f;
}

static void service_unlink(struct frontend *f)
{
	struct frontend **p;

	if (!f->owner)
		return;
	for (p = &f->owner->frontends; *p; p = &(*p)->sibling) {
		if (*p == f) {
			*p = f->sibling;
			return;
		}
	}
}

static void address_put(struct bn_services *s, const union bn_addr *addr)
{
	struct bn_service_key key = {0};
	struct address *a;

	HASH_FIND(hh, s->addresses, addr, sizeof(*addr), a);
	if (!a || --a->refs)
		return;
	if (!a->touched) {
		a->touched = 1;
		a->list = s->changed_addresses;
		s->changed_addresses = a;
	}
	if (a->known) {
		key.addr = a->addr;
		bn_map_delete(s->config.services_fd, &key, 1);
		a->known = 0;
	}
}

static void settle_addresses(struct bn_services *s, bool ok)
{
	struct address *a = s->changed_addresses, *next;

	for (; a; a = next) {
		next = a->list;
		a->touched = 0;
		a->list = NULL;
		if (a->refs) {
			a->known |= ok;
			continue;
		}
		HASH_DEL(s->addresses, a);
		free(a);
	}
	s->changed_addresses = NULL;
}

static void settle_backends(struct bn_services *s, bool ok)
{
	for (size_t i = 0; i < s->n_touched; i++) {
		struct backend *b = s->touched[i];

		if (ok) {
			b->refs = b->staged;
			b->serves = b->staged_serves;
		}
		b->touched = 0;
		if (b->refs) {
			b->born = 0;
			continue;
		}
		HASH_DEL(s->backends, b);
		s->n_backends--;
		if (b->index != UINT32_MAX) {
			push_free(s, b->index);
			if (b->index >= s->n_gens) {
				uint32_t n = s->top_backend;
				uint32_t *p = reallocarray(s->gens, n, sizeof(*p));

				if (p) {
					memset(p + s->n_gens, 0, (n - s->n_gens) * sizeof(*p));
					s->gens = p;
					s->n_gens = n;
				}
			}
			if (b->index < s->n_gens)
				s->gens[b->index] = b->gen;
		}
		free(b);
	}
	s->n_touched = 0;
}

static void settle_frontends(struct bn_services *s, bool ok)
{
	struct frontend *f = s->changed, *next;

	for (; f; f = next) {
		next = f->list;
		f->list = NULL;
		f->touched = 0;
		if (!ok && f->op == WRITE)
			bn_runs_give(&s->runs, f->next.first, f->next.count);
		if (ok ? f->op == REMOVE : f->born) {
			if (ok && !f->born)
				bn_runs_give(&s->runs, f->value.first, f->value.count);
			service_unlink(f);
			free(f->next_backends);
			address_put(s, &f->key.addr);
			frontend_drop(s, f);
			continue;
		}
		if (!ok || !f->next_backends) {
			free(f->next_backends);
			f->next_backends = NULL;
			continue;
		}
		if (f->op == WRITE) {
			if (!f->born)
				bn_runs_give(&s->runs, f->value.first, f->value.count);
			f->value = f->next;
		}
		free(f->backends);
		f->backends = f->next_backends;
		f->n_backends = f->n_next;
		f->next_backends = NULL;
		f->born = 0;
		if (f->owner != f->next_owner) {
			service_unlink(f);
			f->owner = f->next_owner;
			service_link(f);
		}
	}
	s->changed = NULL;
}

static void settle_services(struct bn_services *s, const struct bn_service_spec *set, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		struct service *v = service_find(s, set[i].namespace, set[i].name);

		if (v && !v->frontends)
			service_drop(s, v);
	}
}

int bn_services_commit(struct bn_services *s, const struct bn_service_spec *set, size_t n_set,
		       const struct bn_service_spec *removed, size_t n_removed,
		       struct bn_error *err)
{
	int r = 0;

	bn_runs_settle(&s->runs);
	for (size_t i = 0; i < n_removed; i++) {
		struct service *v = service_find(s, removed[i].namespace, removed[i].name);

		for (struct frontend *f = v ? v->frontends : NULL; f; f = f->sibling)
			stage_remove(s, f);
	}
	for (size_t i = 0; i < n_set && !r; i++)
		r = stage_service(s, &set[i], err);
	if (!r)
		r = stage_references(s);
	if (!r)
		r = stage_room(s, err);
	if (!r)
		r = stage_indices(s, err);
	if (!r) {
		r = write_backends(s);
		if (!r)
			r = write_places(s);
		if (!r)
			r = write_frontends(s);
		if (!r)
			r = delete_frontends(s);
		if (!r)
			r = retire_backends(s);
		if (r)
			bn_error_set(err, r, "can't write the services' maps: %s", strerror(-r));
	}
	settle_frontends(s, !r);
	settle_backends(s, !r);
	settle_addresses(s, !r);
	settle_services(s, set, n_set);
	settle_services(s, removed, n_removed);
	if (r == -ENOMEM)
		bn_error_set(err, r, "can't make the services: out of memory");
	return r;
}

int bn_services_prune(struct bn_services *s, struct bn_error *err)
{
	struct frontend *f, *tmp;
	int r;

	HASH_ITER(hh, s->frontends, f, tmp) {
		if (!f->owner)
			stage_remove(s, f);
	}
	r = stage_references(s);
	if (!r)
		r = delete_frontends(s);
	if (!r)
		r = retire_backends(s);
	settle_frontends(s, !r);
	settle_backends(s, !r);
	settle_addresses(s, !r);
	return r ? bn_error_set(err, r, "can't remove stale services: %s", strerror(-r)) : 0;
}

/* --- questions --- */

int bn_services_backend_index(struct bn_services *s, const char *namespace, const char *name,
			      const union bn_addr *addr, uint16_t port, uint8_t protocol,
			      uint32_t *ret)
{
	struct service *v = service_find(s, namespace, name);
	struct backend_key key = {.addr = *addr, .port = htons(port), .protocol = protocol};
	struct backend *b;

	if (!v)
		return -ENOENT;
	key.service = v->id;
	b = backend_find(s, &key);
	if (!b)
		return -ENOENT;
	*ret = b->index;
	return 0;
}

int bn_services_id(struct bn_services *s, const char *namespace, const char *name, uint32_t *ret)
{
	struct service *v = service_find(s, namespace, name);

	if (!v)
		return -ENOENT;
	*ret = v->id;
	return 0;
}

void bn_services_usage(const struct bn_services *s, struct bn_services_usage *ret)
{
	*ret = (struct bn_services_usage){
		.frontends = s->n_frontends,
		.backends = s->n_backends,
		.slots = s->runs.used,
	};
}
