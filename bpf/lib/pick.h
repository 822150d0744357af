/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* service.h for packet programs: by the scratch area's question, so that each is proved once. */
#pragma once

#include "lib/service.h"

/* Asks s->ask; see service_pick(). */
BN_GLOBAL int pick_backend(void)
{
	struct bn_scratch *s = bn_scratch_get();

	return s ? service_pick(&s->ask) : BN_DROP_INTERNAL;
}

/* The question for the packet whose tuple is s->pkt.tuple. */
static __always_inline void pick_ask(struct bn_scratch *s)
{
	const struct bn_tuple *t = &s->pkt.tuple;
	struct bn_ask *ask = &s->ask;

	ask->addr = t->daddr;
	ask->client = t->saddr;
	ask->port = t->dport;
	ask->protocol = t->protocol;
	ask->outside = 0;
	ask->hash = 0;
}

/* Which service s->ask's frontend is, without a backend of it; see service_name(). */
BN_GLOBAL int pick_name(void)
{
	struct bn_scratch *s = bn_scratch_get();

	return s ? service_name(&s->ask) : BN_DROP_INTERNAL;
}

BN_GLOBAL int pick_exists(void)
{
	struct bn_scratch *s = bn_scratch_get();

	return s && service_entry(&s->ask.addr, s->ask.port, s->ask.protocol);
}

static __always_inline bool service_exists(struct bn_scratch *s, const union bn_addr *addr,
					   __be16 port, __u8 protocol)
{
	s->ask.addr = *addr;
	s->ask.port = port;
	s->ask.protocol = protocol;
	return pick_exists();
}

/* Whether some service owns the address, on whatever port. */
static __always_inline bool service_owns(struct bn_scratch *s, const union bn_addr *addr)
{
	return service_exists(s, addr, 0, 0);
}
