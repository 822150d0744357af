// SPDX-License-Identifier: Apache-2.0
#include "choose.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

void bn_chooser_open(struct bn_chooser *chooser, struct bn_objects *objects,
		     const struct bn_service_object *service)
{
	*chooser = (struct bn_chooser){.objects = objects, .service = service};
}

void bn_chooser_close(struct bn_chooser *chooser)
{
	free(chooser->v);
	chooser->v = NULL;
}

int bn_chooser_begin(struct bn_chooser *chooser, size_t n)
{
	struct bn_candidate *v;

	chooser->n = 0;
	if (n <= chooser->room)
		return 0;
	v = reallocarray(chooser->v, n, sizeof(*v));
	if (!v)
		return -ENOMEM;
	chooser->v = v;
	chooser->room = n;
	return 0;
}

static struct bn_candidate *add(struct bn_chooser *c, const struct bn_backend_spec *spec)
{
	struct bn_candidate *candidate = &c->v[c->n++];

	*candidate = (struct bn_candidate){.spec = *spec, .weight = 1};
	candidate->spec.local = spec->node && !strcmp(spec->node, c->objects->config.node_name);
	return candidate;
}

void bn_chooser_add_pod(struct bn_chooser *chooser, const struct bn_pod_object *pod,
			const union bn_addr *addr, uint16_t port, uint8_t state)
{
	const char *node = pod->running ? chooser->objects->config.node_name : pod->node;
	struct bn_backend_spec spec = {
		.addr = *addr,
		.port = port,
		.state = state,
		.node = node,
		.pod = pod->o.name,
		.zone = node ? bn_index_zone(chooser->objects, node) : NULL,
	};

	add(chooser, &spec);
}

void bn_chooser_add_endpoint(struct bn_chooser *chooser, const struct bn_slice_endpoint *endpoint,
			     uint16_t port)
{
	struct bn_backend_spec spec = {
		.addr = endpoint->addr,
		.port = port,
		.state = endpoint->state,
		.node = endpoint->node,
		.pod = endpoint->pod,
	};

	add(chooser, &spec);
}

/* ---- duplicates ---- */

/* By address and port, the best state first. */
static int compare(const void *x, const void *y)
{
	const struct bn_backend_spec *a = &((const struct bn_candidate *)x)->spec;
	const struct bn_backend_spec *b = &((const struct bn_candidate *)y)->spec;
	int r = memcmp(&a->addr, &b->addr, sizeof(a->addr));

	if (r == 0)
		r = (int)a->port - (int)b->port;
	return r ? r : (int)a->state - (int)b->state;
}

static void drop_duplicates(struct bn_chooser *c)
{
	size_t n = 0;

	qsort(c->v, c->n, sizeof(*c->v), compare);
	for (size_t i = 0; i < c->n; i++) {
		if (!n || !bn_addr_equal(&c->v[n - 1].spec.addr, &c->v[i].spec.addr) ||
		    c->v[n - 1].spec.port != c->v[i].spec.port)
			c->v[n++] = c->v[i];
	}
	c->n = n;
}

/* ---- use ---- */

/*
 * Of those in reach the ready ones, or where there is none those that terminate but still serve:
 * for either traffic policy apart, as kube-proxy's CategorizeEndpoints (KEP-1669).
 */
static void use_best(struct bn_chooser *c, enum bn_backend_use use)
{
	static const uint8_t states[] = {BN_BACKEND_ACTIVE, BN_BACKEND_TERMINATING};
	bool found = false;

	for (size_t k = 0; k < 2 && !found; k++) {
		for (size_t i = 0; i < c->n; i++) {
			struct bn_candidate *one = &c->v[i];

			if (one->spec.state != states[k] || !one->weight ||
			    (use == BN_USE_LOCAL && !one->spec.local))
				continue;
			one->spec.use |= (uint8_t)use;
			found = true;
		}
	}
}

int bn_chooser_end(struct bn_chooser *chooser, struct bn_arena *arena,
		   const struct bn_backend_spec **ret, size_t *ret_n, bool *ret_uneven)
{
	struct bn_backend_spec *specs;

	drop_duplicates(chooser);
	use_best(chooser, BN_USE_CLUSTER);
	use_best(chooser, BN_USE_LOCAL);
	specs = bn_arena_alloc(arena, chooser->n, sizeof(*specs));
	if (!specs)
		return -ENOMEM;
	*ret_uneven = false;
	for (size_t i = 0; i < chooser->n; i++) {
		specs[i] = chooser->v[i].spec;
		specs[i].weight = specs[i].local_weight = chooser->v[i].weight;
	}
	*ret = specs;
	*ret_n = chooser->n;
	return 0;
}
