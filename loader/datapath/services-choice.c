// SPDX-License-Identifier: Apache-2.0
/*
 * What a frontend chooses from: the backends for traffic whose policy is Cluster, those for Local,
 * and how: at random, by a Maglev table where outside traffic or weights ask for one, from inside
 * its own entry where that is all.
 */
#include "datapath/maglev.h"
#include "datapath/services-mirror.h"

#include <arpa/inet.h>
#include <bpfnet/access.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* One spec's backend for sorting: by address and port, so that equal lists are equal. */
struct item {
	struct backend *backend;
	uint16_t weight;
};

static int by_address(const void *a, const void *b)
{
	const struct backend *x = ((const struct item *)a)->backend;
	const struct backend *y = ((const struct item *)b)->backend;
	int r = memcmp(&x->key.addr, &y->key.addr, sizeof(x->key.addr));

	return r ? r : (int)ntohs(x->key.port) - (int)ntohs(y->key.port);
}

/* Appends the backends that `wanted` says, in order. */
static int append(struct bn_services *s, const struct service *v, const struct bn_frontend_spec *fs,
		  struct item *items, uint32_t *n, bool (*wanted)(const struct bn_backend_spec *),
		  bool local)
{
	uint32_t from = *n;

	for (size_t i = 0; i < fs->n_backends; i++) {
		const struct bn_backend_spec *bs = &fs->backends[i];
		int r;

		if (!wanted(bs))
			continue;
		r = bn_services_stage_backend(s, v, fs, bs, &items[*n].backend);
		if (r)
			return r;
		items[(*n)++].weight = local ? bs->local_weight : bs->weight;
	}
	qsort(items + from, *n - from, sizeof(*items), by_address);
	return 0;
}

static bool for_cluster(const struct bn_backend_spec *b)
{
	return b->use & BN_USE_CLUSTER;
}

static bool for_local(const struct bn_backend_spec *b)
{
	return b->use & BN_USE_LOCAL;
}

static bool for_nobody(const struct bn_backend_spec *b)
{
	return !b->use;
}

uint32_t bn_choice_places(const struct bn_service *v)
{
	return v->count + (v->flags & BN_SERVICE_INLINE ? 0 : v->local_count);
}

static uint32_t lines(uint32_t size)
{
	return (size + BN_MAGLEV_LINE - 1) / BN_MAGLEV_LINE;
}

int bn_choice_stage(struct bn_services *s, const struct service *v,
		    const struct bn_frontend_spec *fs, struct frontend *f)
{
	bool local = fs->local_inside || fs->local_outside;
	size_t room = 2 * fs->n_backends + 1;
	struct item *items = calloc(room, sizeof(*items));
	struct backend **backends = calloc(room, sizeof(*backends));
	uint16_t *weights = calloc(room, sizeof(*weights));
	uint32_t n = 0, count, places;
	int r = items && backends && weights ? 0 : -ENOMEM;

	if (!r)
		r = append(s, v, fs, items, &n, for_cluster, false);
	count = n;
	if (!r && local)
		r = append(s, v, fs, items, &n, for_local, true);
	places = n;
	if (!r)
		r = append(s, v, fs, items, &n, for_nobody, false);
	/* for Local alone, where that is nobody's policy */
	for (size_t i = 0; i < fs->n_backends && !r && !local; i++) {
		if (fs->backends[i].use == BN_USE_LOCAL)
			r = bn_services_stage_backend(s, v, fs, &fs->backends[i],
						      &items[n++].backend);
	}
	if (r) {
		free(items);
		free(backends);
		free(weights);
		return r;
	}
	for (uint32_t i = 0; i < n; i++) {
		backends[i] = items[i].backend;
		weights[i] = items[i].weight;
	}
	free(items);
	f->next_backends = backends;
	f->next_weights = weights;
	f->n_next = n;
	memset(&f->next, 0, sizeof(f->next));
	f->next.id = v->id;
	f->next.kind = fs->kind;
	f->next.port_index = fs->port_index;
	f->next.count = count;
	f->next.affinity = fs->affinity_seconds;
	f->next.flags = (fs->restricted ? BN_SERVICE_RESTRICTED : 0) |
			(fs->local_inside ? BN_SERVICE_LOCAL_INSIDE : 0) |
			(fs->local_outside ? BN_SERVICE_LOCAL_OUTSIDE : 0);
	if (!local && count <= BN_SERVICE_PLACES && (!fs->consistent || count <= 1)) {
		f->next.flags |= BN_SERVICE_INLINE;
		return 0;
	}
	f->next.local_count = places - count;
	if (fs->consistent) {
		f->next.lut_size = count > 1 ? bn_maglev_size(count) : 0;
		f->next.local_lut_size =
			f->next.local_count > 1 ? bn_maglev_size(f->next.local_count) : 0;
	}
	return 0;
}

/* Whether the entry that stands says what the next one would. */
bool bn_choice_same(const struct frontend *f)
{
	const struct bn_service *a = &f->value, *b = &f->next;
	uint32_t n = bn_choice_places(b);

	if (a->id != b->id || a->kind != b->kind || a->flags != b->flags ||
	    a->port_index != b->port_index || a->count != b->count || a->affinity != b->affinity ||
	    bn_choice_places(a) != n)
		return false;
	for (uint32_t i = 0; i < n; i++) {
		if (f->backends[i] != f->next_backends[i])
			return false;
	}
	if (b->flags & BN_SERVICE_INLINE)
		return true;
	if (a->lut_size != b->lut_size || a->local_lut_size != b->local_lut_size)
		return false;
	/* a predecessor's weights are not known */
	return !(b->lut_size || b->local_lut_size) ||
	       (f->weights && !memcmp(f->weights, f->next_weights, n * sizeof(*f->weights)));
}

void bn_choice_give(struct bn_services *s, const struct bn_service *v)
{
	if (v->flags & BN_SERVICE_INLINE)
		return;
	bn_runs_give(&s->runs, v->first, bn_choice_places(v));
	bn_runs_give(&s->luts, v->lut, lines(v->lut_size));
	bn_runs_give(&s->luts, v->local_lut, lines(v->local_lut_size));
}

void bn_choice_claim(struct bn_services *s, const struct bn_service *v)
{
	if (v->flags & BN_SERVICE_INLINE)
		return;
	bn_runs_claim(&s->runs, v->first, bn_choice_places(v));
	bn_runs_claim(&s->luts, v->lut, lines(v->lut_size));
	bn_runs_claim(&s->luts, v->local_lut, lines(v->local_lut_size));
}

bool bn_choice_sound(const struct bn_services *s, const struct bn_service *v)
{
	if (v->flags & BN_SERVICE_INLINE)
		return v->count <= BN_SERVICE_PLACES;
	return (uint64_t)v->first + v->count + v->local_count <= s->config.max_slots &&
	       (uint64_t)v->lut + lines(v->lut_size) <= s->config.max_lines &&
	       (uint64_t)v->local_lut + lines(v->local_lut_size) <= s->config.max_lines;
}

int bn_choice_take(struct bn_services *s, const char *service, struct frontend *f,
		   struct bn_error *err)
{
	uint32_t places = bn_choice_places(&f->next), first, lut = 0, local_lut = 0;
	const char *map = "service-slots", *what = "places";
	const struct bn_runs *of = &s->runs;
	uint32_t need = places, max = s->config.max_slots;
	int r;

	if (f->next.flags & BN_SERVICE_INLINE)
		return 0;
	r = bn_runs_take(&s->runs, places, &first);
	if (!r) {
		map = "maglev";
		what = "lines of Maglev tables";
		of = &s->luts;
		max = s->config.max_lines;
		need = lines(f->next.lut_size) + lines(f->next.local_lut_size);
		r = bn_runs_take(&s->luts, lines(f->next.lut_size), &lut);
		if (!r) {
			r = bn_runs_take(&s->luts, lines(f->next.local_lut_size), &local_lut);
			if (r)
				bn_runs_give(&s->luts, lut, lines(f->next.lut_size));
		}
		if (r)
			bn_runs_give(&s->runs, first, places);
	}
	if (r == -ENOSPC)
		return bn_error_set(err, r,
				    "can't make the service %s: its list of %u backends does not "
				    "fit, it needs %u and %llu of %u %s are taken; raise maps.%s",
				    service, places, need, (unsigned long long)of->used, max, what,
				    map);
	if (r)
		return r;
	f->next.first = first;
	f->next.lut = lut;
	f->next.local_lut = local_lut;
	return 0;
}

void bn_choice_slot(const struct backend *b, struct bn_service_slot *ret)
{
	memset(ret, 0, sizeof(*ret));
	memcpy(ret->addr, &b->key.addr, sizeof(ret->addr));
	ret->backend = b->index;
	ret->gen = b->gen;
	ret->port = b->key.port;
}

/* Into the entry, when the backends' indices are known. */
void bn_choice_fill(struct frontend *f)
{
	if (!(f->next.flags & BN_SERVICE_INLINE))
		return;
	for (uint32_t i = 0; i < f->next.count; i++)
		bn_choice_slot(f->next_backends[i], &f->next.place[i]);
}

static int build_lut(int fd, uint32_t first, uint32_t size, struct backend *const *backends,
		     const uint16_t *weights, uint32_t n)
{
	struct bn_maglev_backend *of = calloc(n + 1, sizeof(*of));
	struct bn_maglev_line *table = calloc(lines(size) + 1, sizeof(*table));
	int r = of && table ? 0 : -ENOMEM;

	for (uint32_t i = 0; i < n && !r; i++)
		of[i] = (struct bn_maglev_backend){.addr = backends[i]->key.addr,
						   .port = ntohs(backends[i]->key.port),
						   .weight = weights[i]};
	if (!r)
		r = bn_maglev_build(of, n, size, table[0].place);
	if (!r)
		r = bn_array_write(fd, first, lines(size), table);
	free(of);
	free(table);
	return r;
}

int bn_choice_write_luts(struct bn_services *s, const struct frontend *f)
{
	const struct bn_service *v = &f->next;
	int r = 0;

	if (v->flags & BN_SERVICE_INLINE)
		return 0;
	if (v->lut_size)
		r = build_lut(s->config.maglev_fd, v->lut, v->lut_size, f->next_backends,
			      f->next_weights, v->count);
	if (!r && v->local_lut_size)
		r = build_lut(s->config.maglev_fd, v->local_lut, v->local_lut_size,
			      f->next_backends + v->count, f->next_weights + v->count,
			      v->local_count);
	return r;
}
