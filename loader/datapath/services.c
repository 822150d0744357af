// SPDX-License-Identifier: Apache-2.0
/*
 * The commit of services, in the order in which every intermediate state is right, and questions
 * about them.
 *
 * A backend's index belongs to one (service, address, port, protocol) from the moment it is taken
 * until its last reference is gone, and its generation only grows, also from one owner to the
 * next, so that a flow never mistakes a new backend for its own.
 */
#include "datapath/services-mirror.h"

#include <arpa/inet.h>
#include <errno.h>
#include <string.h>

int bn_services_commit(struct bn_services *s, const struct bn_service_spec *set, size_t n_set,
		       const struct bn_service_spec *removed, size_t n_removed,
		       struct bn_error *err)
{
	int r = bn_frontends_hold(&s->table);

	if (r)
		bn_error_set(err, r, "can't map the services' table: %s", strerror(-r));
	bn_runs_settle(&s->runs);
	bn_runs_settle(&s->luts);
	for (size_t i = 0; i < n_removed; i++) {
		struct service *v =
			bn_mirror_service_find(s, removed[i].namespace, removed[i].name);

		for (struct frontend *f = v ? v->frontends : NULL; f; f = f->sibling)
			bn_services_stage_remove(s, f);
	}
	for (size_t i = 0; i < n_set && !r; i++)
		r = bn_services_stage_service(s, &set[i], err);
	if (!r)
		r = bn_services_stage_references(s);
	if (!r)
		r = bn_services_stage_room(s, err);
	if (!r)
		r = bn_services_stage_indices(s, err);
	if (!r) {
		r = bn_services_write_backends(s);
		if (!r)
			r = bn_services_write_places(s);
		if (!r)
			r = bn_services_write_frontends(s);
		if (!r)
			r = bn_services_delete_frontends(s);
		if (!r)
			r = bn_services_retire_backends(s);
		if (r)
			bn_error_set(err, r, "can't write the services' maps: %s", strerror(-r));
	}
	bn_services_settle_frontends(s, !r);
	bn_services_settle_backends(s, !r);
	bn_services_settle_addresses(s, !r);
	bn_services_settle_services(s, set, n_set);
	bn_services_settle_services(s, removed, n_removed);
	bn_frontends_release(&s->table);
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
			bn_services_stage_remove(s, f);
	}
	r = bn_services_stage_references(s);
	if (!r)
		r = bn_frontends_hold(&s->table);
	if (!r)
		r = bn_services_delete_frontends(s);
	if (!r)
		r = bn_services_retire_backends(s);
	bn_services_settle_frontends(s, !r);
	bn_services_settle_backends(s, !r);
	bn_services_settle_addresses(s, !r);
	bn_frontends_release(&s->table);
	return r ? bn_error_set(err, r, "can't remove stale services: %s", strerror(-r)) : 0;
}

bool bn_services_stands(struct bn_services *s, const struct bn_service_spec *spec)
{
	for (size_t i = 0; i < spec->n_frontends; i++) {
		struct bn_service_key key = {.addr = spec->frontends[i].addr,
					     .port = htons(spec->frontends[i].port),
					     .protocol = spec->frontends[i].protocol};
		const struct frontend *f = bn_mirror_frontend_find(s, &key);

		if (f && !f->owner)
			return true;
	}
	return false;
}

int bn_services_backend_index(struct bn_services *s, const char *namespace, const char *name,
			      const union bn_addr *addr, uint16_t port, uint8_t protocol,
			      uint32_t *ret)
{
	struct service *v = bn_mirror_service_find(s, namespace, name);
	struct backend_key key = {.addr = *addr, .port = htons(port), .protocol = protocol};
	struct backend *b;

	if (!v)
		return -ENOENT;
	key.service = v->id;
	b = bn_mirror_backend_find(s, &key);
	if (!b)
		return -ENOENT;
	*ret = b->index;
	return 0;
}

int bn_services_id(struct bn_services *s, const char *namespace, const char *name, uint32_t *ret)
{
	struct service *v = bn_mirror_service_find(s, namespace, name);

	if (!v)
		return -ENOENT;
	*ret = v->id;
	return 0;
}

void bn_services_addresses(const struct bn_services *s,
			   void (*fn)(void *user, const union bn_addr *addr), void *user)
{
	struct address *a, *tmp;

	HASH_ITER(hh, s->addresses, a, tmp) {
		fn(user, &a->addr);
	}
}

void bn_services_usage(const struct bn_services *s, struct bn_services_usage *ret)
{
	*ret = (struct bn_services_usage){
		.frontends = s->n_frontends,
		.backends = s->n_backends,
		.slots = s->runs.used,
		.lines = s->luts.used,
		.retired_udp = s->retired_udp,
	};
}
