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

int bn_services_stage_backend(struct bn_services *s, const struct service *v,
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

static int stage_frontend(struct bn_services *s, struct service *v,
			  const struct bn_frontend_spec *fs, struct bn_error *err)
{
	struct bn_service_key key = {.port = htons(fs->port), .protocol = fs->protocol};
	struct frontend *f;
	struct address *a;
	int r;

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
	r = bn_choice_stage(s, v, fs, f);
	if (r)
		return r;
	f->next_owner = v;
	if (!f->born && bn_choice_same(f)) {
		f->op = KEEP;
		f->next = f->value;
		return 0;
	}
	f->op = WRITE;
	r = bn_choice_take(s, v->key, f, err);
	if (r) {
		f->op = f->born ? REMOVE : KEEP;
		free(f->next_backends);
		free(f->next_weights);
		f->next_backends = NULL;
		f->next_weights = NULL;
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
			while (bn_mirror_service_register(s, v, s->next_id++ % BN_SERVICE_IDS))
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
				b->staged_serves -= i < bn_choice_places(&f->value);
			}
		}
		if (f->op == REMOVE || !f->next_backends)
			continue;
		for (uint32_t i = 0; i < f->n_next; i++) {
			f->next_backends[i]->staged++;
			f->next_backends[i]->staged_serves += i < bn_choice_places(&f->next);
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
