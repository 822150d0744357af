// SPDX-License-Identifier: Apache-2.0
/*
 * Working out a commit: what each frontend is to become, which backends come and go, whether it
 * all fits. Nothing here touches the kernel, so what is refused has changed nothing.
 */
#include "datapath/services-mirror.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

static void stage_list(struct bn_services *s, struct frontend *f)
{
	if (f->touched)
		return;
	f->touched = 1;
	f->op = KEEP;
	f->list = s->changed;
	s->changed = f;
}

void bn_services_stage_remove(struct bn_services *s, struct frontend *f)
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
	struct backend *b = bn_mirror_backend_find(s, &key);
	int r;

	if (!b) {
		r = bn_mirror_backend_add(s, &key, UINT32_MAX, &b);
		if (r)
			return r;
		b->born = 1;
	}
	r = bn_mirror_touch_backend(s, b);
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
	f = bn_mirror_frontend_find(s, &key);
	if (f && f->owner && f->owner != v && !(f->touched && f->op == REMOVE))
		return bn_error_set(err, -EEXIST,
				    "can't make the service %s: its address, port and protocol "
				    "belong to %s",
				    v->key, f->owner->key);
	if (!f) {
		f = bn_mirror_frontend_add(s, &key);
		a = f ? bn_mirror_address_get(s, &key.addr) : NULL;
		if (!a) {
			if (f)
				bn_mirror_frontend_drop(s, f);
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
	f->next = (struct bn_service){
		.id = v->id,
		.count = n,
		.kind = fs->kind,
		.flags = fs->restricted ? BN_SERVICE_RESTRICTED : 0,
	};
	if (!f->born && f->value.id == v->id && f->value.kind == fs->kind &&
	    f->value.flags == f->next.flags && same_run(f, next, n)) {
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
		f = bn_mirror_frontend_find(s, &key);
		if (!f || f->owner)
			continue;
		HASH_FIND(hh_id, s->by_id, &f->value.id, sizeof(f->value.id), taken);
		if (!taken && f->value.id)
			return f->value.id;
	}
	return 0;
}

int bn_services_stage_service(struct bn_services *s, const struct bn_service_spec *spec,
			 struct bn_error *err)
{
	struct service *v = bn_mirror_service_get(s, spec->namespace, spec->name);
	int r = 0;

	if (!v)
		return -ENOMEM;
	if (!v->id) {
		uint32_t id = find_old_id(s, spec);

		if (!id || bn_mirror_service_register(s, v, id))
			while (bn_mirror_service_register(s, v, s->next_id++))
				;
	}
	for (struct frontend *f = v->frontends; f; f = f->sibling)
		bn_services_stage_remove(s, f);
	for (size_t i = 0; i < spec->n_frontends && !r; i++)
		r = stage_frontend(s, v, &spec->frontends[i], err);
	return r;
}

/* References after the commit; every backend of a changed frontend is on the list. */
int bn_services_stage_references(struct bn_services *s)
{
	int r = 0;

	for (struct frontend *f = s->changed; f && !r; f = f->list) {
		for (uint32_t i = 0; i < f->n_backends && !r; i++) {
			struct backend *b = f->backends[i];

			if (!b)
				continue;
			r = bn_mirror_touch_backend(s, b);
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
int bn_services_stage_indices(struct bn_services *s, struct bn_error *err)
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

int bn_services_stage_room(struct bn_services *s, struct bn_error *err)
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
