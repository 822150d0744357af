// SPDX-License-Identifier: Apache-2.0
/*
 * Putting a staged commit into the maps, and bringing the mirror in line with what became of it.
 *
 * Invariant: a run of places is never written while a frontend names it, and every list names
 * backends that are in their map.
 */
#include "datapath/services-mirror.h"

#include <bpfnet/access.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>

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

void bn_mirror_backend_value(const struct backend *b, struct bn_backend *ret)
{
	memset(ret, 0, sizeof(*ret));
	ret->addr = b->key.addr;
	ret->port = b->key.port;
	ret->protocol = b->key.protocol;
	ret->state = b->state;
	ret->gen = b->gen;
}

/* Backends that come or come back: before any list names them. */
int bn_services_write_backends(struct bn_services *s)
{
	struct batch values = {.ks = 4, .vs = sizeof(struct bn_backend)};
	struct bn_backend value;
	int r = 0, r2;

	for (size_t i = 0; i < s->n_touched && !r; i++) {
		struct backend *b = s->touched[i];

		if (!b->staged || (!b->born && b->state == b->wanted))
			continue;
		b->state = b->wanted;
		bn_mirror_backend_value(b, &value);
		r = batch_add(&values, &b->index, &value);
	}
	r2 = batch_write(&values, s->config.backends_fd);
	return r ? r : r2;
}

int bn_services_write_places(struct bn_services *s)
{
	struct batch places = {.ks = 4, .vs = sizeof(struct bn_service_slot)};
	int r = 0, r2;

	for (struct frontend *f = s->changed; f && !r; f = f->list) {
		if (f->op != WRITE)
			continue;
		bn_choice_fill(f);
		for (uint32_t i = 0;
		     !(f->next.flags & BN_SERVICE_INLINE) && i < bn_choice_places(&f->next) && !r;
		     i++) {
			uint32_t at = f->next.first + i;
			struct bn_service_slot slot;

			bn_choice_slot(f->next_backends[i], &slot);
			r = batch_add(&places, &at, &slot);
		}
		if (!r)
			r = bn_choice_write_luts(s, f);
	}
	r2 = batch_write(&places, s->config.slots_fd);
	return r ? r : r2;
}

/* By the table's own protocol: a reader finds the old entry or the new one. */
int bn_services_write_frontends(struct bn_services *s)
{
	int r = 0;

	for (struct address *a = s->changed_addresses; a && !r; a = a->list) {
		struct bn_service_key key = {0};
		struct bn_service value = {0};

		key.addr = a->addr;
		if (a->refs && !a->known)
			r = bn_frontends_set(&s->table, &key, &value);
	}
	for (struct frontend *f = s->changed; f && !r; f = f->list) {
		if (f->op == WRITE)
			r = bn_frontends_set(&s->table, &f->key, &f->next);
	}
	return r;
}

int bn_services_delete_frontends(struct bn_services *s)
{
	for (struct frontend *f = s->changed; f; f = f->list) {
		if (f->op == REMOVE && !f->born)
			bn_frontends_delete(&s->table, &f->key);
	}
	return 0;
}

/* Backends that take no new flows any more: a new generation sends half-open flows elsewhere. */
int bn_services_retire_backends(struct bn_services *s)
{
	struct batch values = {.ks = 4, .vs = sizeof(struct bn_backend)};
	struct bn_backend value;
	bool retired = false;
	int r = 0, r2;

	for (size_t i = 0; i < s->n_touched && !r; i++) {
		struct backend *b = s->touched[i];

		if (b->staged_serves || !b->serves)
			continue;
		b->gen++;
		s->retired_udp += b->key.protocol == IPPROTO_UDP;
		bn_mirror_backend_value(b, &value);
		if (!b->staged)
			value.state = BN_BACKEND_FREE;
		r = batch_add(&values, &b->index, &value);
	}
	if (values.n && s->epochs)
		retired = true;
	r2 = batch_write(&values, s->config.backends_fd);
	/* whoever has compared generations before this does so again */
	if (retired)
		__atomic_fetch_add(&s->epochs->backends, 1, __ATOMIC_SEQ_CST);
	return r ? r : r2;
}

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
		bn_frontends_delete(&s->table, &key);
		a->known = 0;
	}
}

void bn_services_settle_addresses(struct bn_services *s, bool ok)
{
	struct address *a = s->changed_addresses, *next;

	for (; a; a = next) {
		next = a->list;
		a->touched = 0;
		a->list = NULL;
		if (a->refs) {
			if (ok && !a->known && s->config.address)
				s->config.address(s->config.user, &a->addr, true);
			a->known |= ok;
			continue;
		}
		if (s->config.address)
			s->config.address(s->config.user, &a->addr, false);
		HASH_DEL(s->addresses, a);
		free(a);
	}
	s->changed_addresses = NULL;
}

void bn_services_settle_backends(struct bn_services *s, bool ok)
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
			bn_mirror_push_free(s, b->index);
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

void bn_services_settle_frontends(struct bn_services *s, bool ok)
{
	struct frontend *f = s->changed, *next;

	for (; f; f = next) {
		next = f->list;
		f->list = NULL;
		f->touched = 0;
		if (!ok && f->op == WRITE)
			bn_choice_give(s, &f->next);
		if (ok ? f->op == REMOVE : f->born) {
			if (ok && !f->born)
				bn_choice_give(s, &f->value);
			service_unlink(f);
			free(f->next_backends);
			free(f->next_weights);
			address_put(s, &f->key.addr);
			bn_mirror_frontend_drop(s, f);
			continue;
		}
		if (!ok || !f->next_backends) {
			free(f->next_backends);
			free(f->next_weights);
			f->next_backends = NULL;
			f->next_weights = NULL;
			continue;
		}
		if (f->op == WRITE) {
			if (!f->born)
				bn_choice_give(s, &f->value);
			f->value = f->next;
		}
		free(f->backends);
		free(f->weights);
		f->backends = f->next_backends;
		f->weights = f->next_weights;
		f->n_backends = f->n_next;
		f->next_backends = NULL;
		f->next_weights = NULL;
		f->born = 0;
		if (f->owner != f->next_owner) {
			service_unlink(f);
			f->owner = f->next_owner;
			service_link(f);
		}
	}
	s->changed = NULL;
}

void bn_services_settle_services(struct bn_services *s, const struct bn_service_spec *set, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		struct service *v = bn_mirror_service_find(s, set[i].namespace, set[i].name);

		if (v && !v->frontends)
			bn_mirror_service_drop(s, v);
	}
}
