/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* From a frontend to one of its backends. */
#pragma once

#include "lib/packet.h"

static __noinline struct bn_service *service_lookup(const union bn_addr *addr, __be16 port,
							 __u8 protocol)
{
	struct bn_service_key key = {.port = port, .protocol = protocol};

	if (!addr)
		return NULL;
	key.addr = *addr;
	return bpf_map_lookup_elem(&bn_services, &key);
}

/* Whether some service owns the address, on whatever port. */
static __always_inline bool service_owns(const union bn_addr *addr)
{
	return service_lookup(addr, 0, 0) != NULL;
}

/*
 * NodePorts and host ports on all addresses of this node stand under the unspecified address of
 * the family: ::ffff:0.0.0.0 or ::.
 */
static __always_inline struct bn_service *service_of_node(const struct bn_tuple *t)
{
	union bn_addr any = {};

	if (t->family == BN_IPV4)
		bn_addr_set_v4(&any, 0);
	return service_lookup(&any, t->dport, t->protocol);
}

static __noinline __attribute__((unused)) __u32 range_flags(const union bn_addr *addr)
{
	struct bn_range_key key = {.prefixlen = 128};
	struct bn_range *r;

	if (!addr)
		return 0;
	__builtin_memcpy(key.addr, addr, sizeof(key.addr));
	r = bpf_map_lookup_elem(&bn_ranges, &key);
	return r ? r->flags : 0;
}

/* Chooses at random among the frontend's places: s->fwd gets the backend. 0 or the reason. */
static __always_inline int service_choose(struct bn_scratch *s, const struct bn_service *svc)
{
	struct bn_service_slot *slot;
	__u32 place;

	s->fwd.service = svc->id;
	s->fwd.flags |= BN_FLOW_SERVICE;
	if (!svc->count)
		return BN_DROP_SERVICE_NO_BACKEND;
	place = svc->first + bpf_get_prandom_u32() % svc->count;
	slot = bpf_map_lookup_elem(&bn_service_slots, &place);
	if (!slot)
		return BN_DROP_INTERNAL;
	s->fwd.backend = slot->backend;
	s->fwd.to_daddr = slot->addr;
	s->fwd.to_dport = slot->port;
	s->fwd.backend_gen = slot->gen;
	s->fwd.flags |= BN_FLOW_BACKEND | BN_FLOW_NAT;
	return 0;
}

/* Whether the flow's backend, which it has one of, still takes what is not established. */
static __always_inline bool service_backend_current(const struct bn_flow_cold *f)
{
	__u32 index = f->backend;
	struct bn_backend *b = bpf_map_lookup_elem(&bn_backends, &index);

	return b && b->gen == f->backend_gen;
}
