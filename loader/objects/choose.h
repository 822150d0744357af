/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which of a service port's backends get new flows, and how many of them: readiness, what is left
 * when none is ready, topology, weights. One chooser serves a service's ports one by one.
 */
#pragma once

#include "state.h"

struct bn_candidate {
	struct bn_backend_spec spec;
	uint16_t weight; /* its own */
	int16_t group;   /* of the service's weight groups; -1: none */
	/* EndpointSlice hints: whether there are any, and whether they name this place */
	bool zone_hints, for_zone, node_hints, for_node;
};

struct bn_chooser {
	struct bn_objects *objects;
	const struct bn_service_object *service;
	const char *zone; /* of this node, or NULL */
	struct bn_candidate *v;
	size_t n, room;
};

void bn_chooser_open(struct bn_chooser *chooser, struct bn_objects *objects,
		     const struct bn_service_object *service);
void bn_chooser_close(struct bn_chooser *chooser);
/* Forgets the last port's; at most n may be added. */
int bn_chooser_begin(struct bn_chooser *chooser, size_t n);
void bn_chooser_add_pod(struct bn_chooser *chooser, const struct bn_pod_object *pod,
			const union bn_addr *addr, uint16_t port, uint8_t state);
void bn_chooser_add_endpoint(struct bn_chooser *chooser, const struct bn_slice_endpoint *endpoint,
			     uint16_t port);
/* *ret_uneven: the weights of those that get new flows differ. */
int bn_chooser_end(struct bn_chooser *chooser, struct bn_arena *arena,
		   const struct bn_backend_spec **ret, size_t *ret_n, bool *ret_uneven);
