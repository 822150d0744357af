// SPDX-License-Identifier: Apache-2.0
/*
 * The rules are kube-proxy's (CategorizeEndpoints and topologyModeFromHints); what the EndpointSlice
 * controller writes as hints for a trafficDistribution is worked out here for derived endpoints.
 */
#include "choose.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define CHOOSE_SCALE_MAX 1000000u /* of a common multiple of the groups' sums */

static bool same(const char *a, const char *b)
{
	return a && b && !strcmp(a, b);
}

void bn_chooser_open(struct bn_chooser *chooser, struct bn_objects *objects,
		     const struct bn_service_object *service)
{
	*chooser = (struct bn_chooser){
		.objects = objects,
		.service = service,
		.zone = bn_index_zone(objects, objects->config.node_name),
	};
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

static int16_t group_of(const struct bn_service_object *service, const struct bn_pod_object *pod)
{
	for (size_t i = 0; pod && i < service->n_groups; i++) {
		if (bn_pod_has_label(pod, &service->groups[i].label))
			return (int16_t)i;
	}
	return -1;
}

/* `pod` is NULL where no manifest tells of it. */
static struct bn_candidate *add(struct bn_chooser *c, const struct bn_backend_spec *spec,
				const struct bn_pod_object *pod)
{
	struct bn_candidate *candidate = &c->v[c->n++];

	*candidate = (struct bn_candidate){
		.spec = *spec,
		.weight = pod ? pod->weight : 1,
		.group = group_of(c->service, pod),
	};
	candidate->spec.local = same(spec->node, c->objects->config.node_name);
	/* who is in no group has no share of any */
	if (c->service->n_groups &&
	    (candidate->group < 0 || !c->service->groups[candidate->group].share))
		candidate->weight = 0;
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
	struct bn_candidate *one = add(chooser, &spec, pod);

	if (!chooser->service->distribution)
		return;
	one->zone_hints = spec.zone;
	one->for_zone = same(spec.zone, chooser->zone);
	if (chooser->service->distribution != BN_DISTRIBUTION_NODE)
		return;
	one->node_hints = node;
	one->for_node = one->spec.local;
}

static bool is_among(const char *const *names, size_t n, const char *name)
{
	for (size_t i = 0; i < n; i++) {
		if (same(names[i], name))
			return true;
	}
	return false;
}

void bn_chooser_add_endpoint(struct bn_chooser *chooser, const struct bn_slice_endpoint *endpoint,
			     uint16_t port)
{
	const struct bn_slice_hints *hints = endpoint->hints;
	const char *namespace = chooser->service->o.namespace;
	const struct bn_pod_object *pod = NULL;
	struct bn_candidate *one;
	struct bn_backend_spec spec = {
		.addr = endpoint->addr,
		.port = port,
		.state = endpoint->state,
		.node = endpoint->node,
		.pod = endpoint->pod,
		.zone = endpoint->zone,
	};

	/* only a pod that the service selects makes the service be told of its changes */
	if (endpoint->pod && chooser->service->n_selector)
		pod = (const struct bn_pod_object *)bn_index_find(chooser->objects, BN_KIND_POD,
								  namespace, endpoint->pod);
	if (pod && !bn_pod_selected(pod, chooser->service))
		pod = NULL;
	one = add(chooser, &spec, pod);
	if (!hints)
		return;
	one->zone_hints = hints->n_zones;
	one->for_zone = is_among(hints->zones, hints->n_zones, chooser->zone);
	one->node_hints = hints->n_nodes;
	one->for_node = is_among(hints->nodes, hints->n_nodes, chooser->objects->config.node_name);
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

/* Hints count if every ready endpoint has them and one at least is for here. */
static enum bn_distribution topology(const struct bn_chooser *c)
{
	bool all_nodes = true, all_zones = true, here = false, near = false;

	for (size_t i = 0; i < c->n; i++) {
		const struct bn_candidate *one = &c->v[i];

		if (one->spec.state != BN_BACKEND_ACTIVE || !one->weight)
			continue;
		all_nodes = all_nodes && one->node_hints;
		all_zones = all_zones && one->zone_hints;
		here = here || one->for_node;
		near = near || one->for_zone;
	}
	if (all_nodes && here)
		return BN_DISTRIBUTION_NODE;
	return all_zones && near ? BN_DISTRIBUTION_ZONE : BN_DISTRIBUTION_NONE;
}

static bool in_reach(const struct bn_candidate *one, enum bn_backend_use use,
		     enum bn_distribution mode)
{
	if (use == BN_USE_LOCAL)
		return one->spec.local;
	if (one->spec.state != BN_BACKEND_ACTIVE || mode == BN_DISTRIBUTION_NONE)
		return true;
	return mode == BN_DISTRIBUTION_NODE ? one->for_node : one->for_zone;
}

/*
 * The ready ones, or where none is those that terminate but still serve: for each traffic policy
 * apart (KEP-1669).
 */
static void use_best(struct bn_chooser *c, enum bn_backend_use use)
{
	static const uint8_t states[] = {BN_BACKEND_ACTIVE, BN_BACKEND_TERMINATING};
	enum bn_distribution mode = topology(c);
	bool found = false;

	for (size_t k = 0; k < 2 && !found; k++) {
		for (size_t i = 0; i < c->n; i++) {
			struct bn_candidate *one = &c->v[i];

			if (one->spec.state != states[k] || !one->weight ||
			    !in_reach(one, use, mode))
				continue;
			one->spec.use |= (uint8_t)use;
			found = true;
		}
	}
}

/* ---- weights ---- */

static uint64_t gcd(uint64_t a, uint64_t b)
{
	while (b) {
		uint64_t rest = a % b;

		a = b;
		b = rest;
	}
	return a;
}

/*
 * What each group's members weigh together: those in use, or where none is, all, which is what
 * one would get that became ready.
 */
static void sum_groups(const struct bn_chooser *c, enum bn_backend_use use, uint64_t sums[])
{
	uint64_t used[BN_WEIGHT_GROUPS_MAX] = {0};

	memset(sums, 0, c->service->n_groups * sizeof(*sums));
	for (size_t i = 0; i < c->n; i++) {
		const struct bn_candidate *one = &c->v[i];

		if (one->group < 0)
			continue;
		sums[one->group] += one->weight;
		if (one->spec.use & use)
			used[one->group] += one->weight;
	}
	for (size_t i = 0; i < c->service->n_groups; i++)
		sums[i] = used[i] ? used[i] : sums[i];
}

/*
 * A member weighs share * weight / sum of the group. As whole numbers: times a common multiple of
 * the sums, divided by what all have in common, and brought below 65536.
 */
static void weigh_groups(const struct bn_chooser *c, enum bn_backend_use use, uint64_t *weights)
{
	uint64_t sums[BN_WEIGHT_GROUPS_MAX], scale = 1, common = 0, largest = 0;

	sum_groups(c, use, sums);
	for (size_t i = 0; i < c->service->n_groups; i++) {
		uint64_t multiple = sums[i] ? scale / gcd(scale, sums[i]) * sums[i] : scale;

		scale = multiple <= CHOOSE_SCALE_MAX ? multiple : CHOOSE_SCALE_MAX;
	}
	for (size_t i = 0; i < c->n; i++) {
		const struct bn_candidate *one = &c->v[i];

		weights[i] = 0;
		if (!one->weight)
			continue;
		weights[i] = c->service->groups[one->group].share * one->weight * scale /
			     sums[one->group];
		if (!weights[i])
			weights[i] = 1;
		common = gcd(common, weights[i]);
		largest = weights[i] > largest ? weights[i] : largest;
	}
	for (size_t i = 0; i < c->n && largest; i++) {
		if (!weights[i])
			continue;
		weights[i] /= common;
		if (largest / common > UINT16_MAX)
			weights[i] = weights[i] * UINT16_MAX / (largest / common);
		if (!weights[i])
			weights[i] = 1;
	}
}

/* Whether the weights of those in use differ. */
static bool weigh(struct bn_chooser *c, enum bn_backend_use use, struct bn_backend_spec *specs,
		  uint64_t *scratch)
{
	uint16_t first = 0;
	bool uneven = false;

	if (c->service->n_groups)
		weigh_groups(c, use, scratch);
	for (size_t i = 0; i < c->n; i++) {
		uint16_t weight = c->service->n_groups ? (uint16_t)scratch[i] : c->v[i].weight;

		if (use == BN_USE_CLUSTER)
			specs[i].weight = weight;
		else
			specs[i].local_weight = weight;
		if (!(specs[i].use & use))
			continue;
		uneven = uneven || (first && weight != first);
		first = weight;
	}
	return uneven;
}

int bn_chooser_end(struct bn_chooser *chooser, struct bn_arena *arena,
		   const struct bn_backend_spec **ret, size_t *ret_n, bool *ret_uneven)
{
	struct bn_backend_spec *specs;
	uint64_t *scratch = NULL;
	bool cluster, local;

	drop_duplicates(chooser);
	use_best(chooser, BN_USE_CLUSTER);
	use_best(chooser, BN_USE_LOCAL);
	specs = bn_arena_alloc(arena, chooser->n, sizeof(*specs));
	if (chooser->service->n_groups)
		scratch = bn_arena_alloc(arena, chooser->n, sizeof(*scratch));
	if (!specs || (chooser->service->n_groups && !scratch))
		return -ENOMEM;
	for (size_t i = 0; i < chooser->n; i++)
		specs[i] = chooser->v[i].spec;
	cluster = weigh(chooser, BN_USE_CLUSTER, specs, scratch);
	local = weigh(chooser, BN_USE_LOCAL, specs, scratch);
	*ret_uneven = cluster || local;
	*ret = specs;
	*ret_n = chooser->n;
	return 0;
}
