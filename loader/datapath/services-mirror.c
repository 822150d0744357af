// SPDX-License-Identifier: Apache-2.0
/*
 * The mirror of the services' maps, and how it is read back from them.
 *
 * Invariant: every entry of the mirror is in the map and the other way round, except inside a
 * commit.
 */
#include "datapath/services-mirror.h"

#include <bpfnet/access.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

int bn_mirror_push_free(struct bn_services *s, uint32_t index)
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

int bn_mirror_touch_backend(struct bn_services *s, struct backend *b)
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

struct backend *bn_mirror_backend_find(struct bn_services *s, const struct backend_key *key)
{
	struct backend *b;

	HASH_FIND(hh, s->backends, key, sizeof(*key), b);
	return b;
}

int bn_mirror_backend_add(struct bn_services *s, const struct backend_key *key, uint32_t index,
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

struct address *bn_mirror_address_get(struct bn_services *s, const union bn_addr *addr)
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

struct frontend *bn_mirror_frontend_find(struct bn_services *s, const struct bn_service_key *key)
{
	struct frontend *f;

	HASH_FIND(hh, s->frontends, key, sizeof(*key), f);
	return f;
}

struct frontend *bn_mirror_frontend_add(struct bn_services *s, const struct bn_service_key *key)
{
	struct frontend *f = calloc(1, sizeof(*f));

	if (!f)
		return NULL;
	f->key = *key;
	HASH_ADD(hh, s->frontends, key, sizeof(f->key), f);
	s->n_frontends++;
	return f;
}

void bn_mirror_frontend_drop(struct bn_services *s, struct frontend *f)
{
	HASH_DEL(s->frontends, f);
	s->n_frontends--;
	free(f->backends);
	free(f->weights);
	free(f);
}

struct service *bn_mirror_service_find(struct bn_services *s, const char *namespace,
				       const char *name)
{
	char key[600];
	struct service *v;

	snprintf(key, sizeof(key), "%s/%s", namespace, name);
	HASH_FIND_STR(s->services, key, v);
	return v;
}

void bn_mirror_service_destroy(struct service *v)
{
	free(v->key);
	free(v);
}

void bn_mirror_service_drop(struct bn_services *s, struct service *v)
{
	HASH_DEL(s->services, v);
	if (v->id)
		HASH_DELETE(hh_id, s->by_id, v);
	bn_mirror_service_destroy(v);
}

int bn_mirror_service_register(struct bn_services *s, struct service *v, uint32_t id)
{
	struct service *taken;

	HASH_FIND(hh_id, s->by_id, &id, sizeof(id), taken);
	if (taken || !id) /* 0 is no service's */
		return -EEXIST;
	v->id = id;
	HASH_ADD(hh_id, s->by_id, id, sizeof(v->id), v);
	return 0;
}

struct service *bn_mirror_service_get(struct bn_services *s, const char *namespace,
				      const char *name)
{
	struct service *v = bn_mirror_service_find(s, namespace, name);

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

struct reading {
	struct bn_services *s;
	struct bn_service_slot *places;
	uint32_t cap;
};

static int read_frontend(void *user, const struct bn_service_key *k, const struct bn_service *v)
{
	struct reading *rd = user;
	struct bn_services *s = rd->s;
	struct frontend *f;
	struct address *a;

	a = bn_mirror_address_get(s, &k->addr);
	if (!a)
		return -ENOMEM;
	if (!k->port && !k->protocol) {
		a->known = 1;
		return 0;
	}
	f = bn_mirror_frontend_add(s, k);
	if (!f)
		return -ENOMEM;
	f->value = *v;
	a->refs++;
	if (v->id >= s->next_id)
		s->next_id = v->id + 1;
	if (!bn_choice_sound(s, v)) {
		/* not of these maps: as good as none, and rewritten when claimed */
		memset(&f->value, 0, sizeof(f->value));
		f->value.id = v->id;
		f->value.flags = BN_SERVICE_INLINE;
	}
	return 0;
}

/* The backend that a place of a taken-over frontend names; *ret NULL where that makes no sense. */
static int read_place(struct bn_services *s, const struct frontend *f,
		      const struct bn_service_slot *place, struct backend **ret)
{
	struct backend_key key = {.service = f->value.id, .protocol = f->key.protocol};
	struct bn_backend value;
	struct backend *b;
	int r;

	*ret = NULL;
	if (place->backend >= s->config.max_backends)
		return 0;
	r = bn_array_read(s->config.backends_fd, place->backend, 1, &value, 0);
	if (r)
		return r;
	memcpy(&key.addr, place->addr, sizeof(key.addr));
	key.port = place->port;
	/* a backend that says otherwise than its place is as good as none */
	if (!bn_addr_equal(&key.addr, &value.addr) || key.port != value.port ||
	    value.gen != place->gen)
		return 0;
	b = bn_mirror_backend_find(s, &key);
	if (!b) {
		r = bn_mirror_backend_add(s, &key, place->backend, &b);
		if (r)
			return r;
		b->gen = value.gen;
		b->state = value.state;
	}
	if (b->index != place->backend)
		return 0;
	b->refs++;
	b->serves++;
	if (b->index >= s->top_backend)
		s->top_backend = b->index + 1;
	*ret = b;
	return 0;
}

/* The backends that a taken-over frontend names. */
static int read_places(struct reading *rd, struct frontend *f)
{
	uint32_t n = bn_choice_places(&f->value);
	struct bn_services *s = rd->s;
	int r = 0;

	if (!n)
		return 0;
	if (rd->cap < n) {
		struct bn_service_slot *p = reallocarray(rd->places, n, sizeof(*p));

		if (!p)
			return -ENOMEM;
		rd->places = p;
		rd->cap = n;
	}
	if (f->value.flags & BN_SERVICE_INLINE)
		memcpy(rd->places, f->value.place, n * sizeof(*rd->places));
	else
		r = bn_array_read(s->config.slots_fd, f->value.first, n, rd->places, 0);
	if (r)
		return r;
	f->backends = calloc(n, sizeof(*f->backends));
	if (!f->backends)
		return -ENOMEM;
	f->n_backends = n;
	bn_choice_claim(s, &f->value);
	for (uint32_t i = 0; i < n && !r; i++)
		r = read_place(s, f, &rd->places[i], &f->backends[i]);
	return r;
}

static int map_epochs(struct bn_services *s)
{
	void *p;

	if (s->config.epochs_fd < 0)
		return 0;
	p = mmap(NULL, sizeof(*s->epochs), PROT_READ | PROT_WRITE, MAP_SHARED, s->config.epochs_fd,
		 0);
	if (p == MAP_FAILED)
		return -errno;
	s->epochs = p;
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
			r = bn_mirror_push_free(s, i);
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
	uint32_t at = 0;
	struct frontend *f, *tmp;
	int r;

	if (!s)
		return -ENOMEM;
	s->config = *config;
	s->next_id = 1;
	bn_runs_init(&s->runs, config->max_slots);
	bn_runs_init(&s->luts, config->max_lines);
	r = bn_frontends_open(&s->table, config->services_fd, config->hash_key);
	if (!r)
		r = map_epochs(s);
	if (!r)
		r = bn_frontends_walk(&s->table, &at, UINT32_MAX, read_frontend, &rd);
	HASH_ITER(hh, s->frontends, f, tmp) {
		if (!r)
			r = read_places(&rd, f);
	}
	free(rd.places);
	if (!r)
		r = bn_runs_claimed(&s->runs);
	if (!r)
		r = bn_runs_claimed(&s->luts);
	if (!r)
		r = read_gaps(s);
	if (r) {
		bn_services_free(s);
		return bn_error_set(err, r, "can't read the services that stand in the maps: %s",
				    strerror(-r));
	}
	bn_frontends_release(&s->table);
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
		bn_mirror_frontend_drop(s, f);
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
		bn_mirror_service_destroy(v);
	}
	free(s->free_backends);
	free(s->gens);
	free(s->touched);
	bn_runs_done(&s->runs);
	bn_runs_done(&s->luts);
	bn_frontends_close(&s->table);
	if (s->epochs)
		munmap(s->epochs, sizeof(*s->epochs));
	free(s);
}
