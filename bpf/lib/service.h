/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* From a frontend to one of its backends. */
#pragma once

#include "lib/packet.h"

/* Reading an entry that the agent writes meanwhile: as often as this, at most. */
#define SERVICE_TRIES 3

static __always_inline __u64 service_hash(const union bn_addr *addr, __be16 port, __u8 protocol)
{
	return bn_hash_frontend(bn_config.hash_key, addr, port, protocol);
}

static __always_inline struct bn_service_entry *service_slot(__u32 group, __u32 i)
{
	__u32 at = group * BN_SERVICE_GROUP + i;

	return bpf_map_lookup_elem(&bn_services, &at);
}

static __always_inline bool service_is(const struct bn_service_entry *e, const union bn_addr *addr,
				       __be16 port, __u8 protocol)
{
	return e->port == port && e->protocol == protocol && bn_addr_equal(&e->addr, addr);
}

/* The group's word, which changes with whatever the agent does to one of its entries. */
static __always_inline __u32 service_word(__u32 group)
{
	const struct bn_service_entry *first = service_slot(group, 0);

	return first ? *(const volatile __u32 *)&first->group : 0;
}

/* Its place + 1, or 0. `way` is where it most likely is. */
static __always_inline __u32 service_in_group(__u32 group, __u32 way, const union bn_addr *addr,
					      __be16 port, __u8 protocol, __u32 *ret_word)
{
	struct bn_service_entry *first = service_slot(group, 0), *e = service_slot(group, way);
	__u32 word;
	int i;

	if (!first || !e)
		return 0;
	bn_touch(e);
	bn_touch((void *)e + 64);
	word = *(volatile __u32 *)&first->group;
	*ret_word = word;
	if (likely(word & 1u << way && service_is(e, addr, port, protocol)))
		return group * BN_SERVICE_GROUP + way + 1;
#pragma unroll
	for (i = 0; i < BN_SERVICE_GROUP; i++) {
		e = service_slot(group, i);
		if (e && word & 1u << i && service_is(e, addr, port, protocol))
			return group * BN_SERVICE_GROUP + i + 1;
	}
	return 0;
}

/*
 * The place of a frontend's entry in bn_services + 1, or 0. d0 and d1 are its address's. Numbers in and
 * out, so that the verifier proves it once and not for every state of a caller's stack.
 */
BN_GLOBAL int service_find(__u64 d0, __u64 d1, __u32 port_, __u32 protocol_)
{
	const union bn_addr address = {.d = {d0, d1}}, *addr = &address;
	__u32 home, elsewhere = 0, word = 0, other = 0, at;
	__be16 port = (__be16)port_;
	__u8 protocol = (__u8)protocol_;
	__u64 hash;
	int i;

	hash = service_hash(addr, port, protocol);
	home = bn_service_home(hash, bn_config.service_groups);
	for (i = 0; i < SERVICE_TRIES; i++) {
		at = service_in_group(home, bn_service_way(hash), addr, port, protocol, &word);
		if (at)
			return at;
		if (unlikely(BN_GROUP_SPILLED(word))) {
			elsewhere = bn_service_elsewhere(hash, bn_config.service_groups);
			at = service_in_group(elsewhere, bn_service_way(hash), addr, port, protocol,
					      &other);
			if (at)
				return at;
		}
		/* it may have moved behind our back, within a group or from one to the other */
		if (likely(service_word(home) == word &&
			   (!BN_GROUP_SPILLED(word) || service_word(elsewhere) == other)))
			return 0;
	}
	return 0;
}

static __always_inline struct bn_service_entry *service_entry(const union bn_addr *addr,
							      __be16 port, __u8 protocol)
{
	__u32 at = service_find(addr->d[0], addr->d[1], port, protocol);

	if (!at)
		return NULL;
	at--;
	return bpf_map_lookup_elem(&bn_services, &at);
}

/* The address under which what answers on all addresses of this node stands. */
static __always_inline void service_any(union bn_addr *ret, __u8 family)
{
	ret->d[0] = ret->d[1] = 0;
	if (family == BN_IPV4)
		bn_addr_set_v4(ret, 0);
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

static __always_inline void service_slot_addr(union bn_addr *ret, const struct bn_service_slot *s)
{
	ret->w[0] = s->addr[0];
	ret->w[1] = s->addr[1];
	ret->w[2] = s->addr[2];
	ret->w[3] = s->addr[3];
}

/* Whether the backend still takes what is new. */
static __always_inline bool service_generation_is(__u32 index, __u32 gen)
{
	struct bn_backend *b = bpf_map_lookup_elem(&bn_backends, &index);

	return b && b->gen == gen;
}

/* Whether the flow's backend, which it has one of, still takes what is not established. */
static __always_inline bool service_backend_current(const struct bn_flow_cold *f)
{
	__u32 index = bn_flow_backend_index(f->backend);
	struct bn_backend *b = bpf_map_lookup_elem(&bn_backends, &index);

	return b && bn_flow_backend(index, b->gen) == f->backend;
}

/* Whether the flow in s->fwd goes on with the backend that it has: a connection that stands does. */
static __always_inline bool service_backend_serves(const struct bn_scratch *s)
{
	const __u8 chosen = BN_FLOW_ORIGIN | BN_FLOW_BACKEND;

	return (s->pkt.tuple.protocol == IPPROTO_TCP &&
		s->fwd.state & (BN_FS_ESTABLISHED | BN_FS_CLOSING)) ||
	       (s->fwd.flags & chosen) != chosen || service_backend_current(&s->fwd.cold);
}

static __always_inline void affinity_key(struct bn_affinity_key *ret, const struct bn_ask *ask)
{
	ret->client = ask->client;
	ret->id = ask->id;
	ret->port_index = ask->port_index;
	ret->local = ask->local;
	ret->family = bn_addr_is_v4(&ask->addr) ? BN_IPV4 : BN_IPV6;
}

/* The backend that the client has, while its time is not over and the backend takes new flows. */
static __noinline int affinity_find(struct bn_ask *ask)
{
	struct bn_affinity_key key;
	struct bn_affinity *a;
	__u32 now = bn_now();

	if (!ask)
		return 0;
	affinity_key(&key, ask);
	a = bpf_map_lookup_elem(&bn_affinity, &key);
	if (!a || now - a->seen > ask->affinity * bn_config.hz ||
	    !service_generation_is(a->slot.backend, a->slot.gen))
		return 0;
	if (!(bn_config.features & BN_FEATURE_DRY_RUN))
		a->seen = now;
	ask->slot = a->slot;
	return 1;
}

static __noinline int affinity_remember(const struct bn_ask *ask)
{
	struct bn_affinity_key key;
	struct bn_affinity value;

	if (!ask || bn_config.features & BN_FEATURE_DRY_RUN)
		return 0;
	affinity_key(&key, ask);
	value.slot = ask->slot;
	value.seen = bn_now();
	bpf_map_update_elem(&bn_affinity, &key, &value, BPF_ANY);
	return 0;
}

/* Whether loadBalancerSourceRanges let the client in. */
static __noinline int service_admits(const struct bn_ask *ask)
{
	struct bn_source_key key = {.prefixlen = BN_SOURCE_PREFIX(128)};

	if (!ask)
		return 0;
	key.service = ask->id;
	__builtin_memcpy(key.addr, &ask->client, sizeof(key.addr));
	return bpf_map_lookup_elem(&bn_sources, &key) != NULL;
}

/* One of the lists' places, into ask->slot. 0 or the reason. */
static __always_inline int service_from_lists(struct bn_ask *ask, const struct bn_service *v)
{
	__u32 first = v->first, count = v->count, lut = v->lut, size = v->lut_size, at;
	struct bn_service_slot *slot;

	if (ask->local) {
		first += count;
		count = v->local_count;
		lut = v->local_lut;
		size = v->local_lut_size;
	}
	if (!count)
		return BN_DROP_SERVICE_NO_BACKEND;
	at = ask->outside ? ask->hash : bpf_get_prandom_u32();
	if (size) {
		struct bn_maglev_line *line;
		__u32 index;

		at %= size;
		index = lut + at / BN_MAGLEV_LINE;
		line = bpf_map_lookup_elem(&bn_maglev, &index);
		if (!line)
			return BN_DROP_INTERNAL;
		at = line->place[at % BN_MAGLEV_LINE];
	} else {
		at %= count;
	}
	at += first;
	slot = bpf_map_lookup_elem(&bn_service_slots, &at);
	if (!slot)
		return BN_DROP_INTERNAL;
	ask->slot = *slot;
	return 0;
}

static __always_inline int service_from(struct bn_ask *ask, const struct bn_service *v)
{
	__u8 flags = v->flags;

	ask->id = v->id;
	ask->kind = v->kind;
	ask->affinity = v->affinity;
	ask->port_index = v->port_index;
	ask->local =
		!!(flags & (ask->outside ? BN_SERVICE_LOCAL_OUTSIDE : BN_SERVICE_LOCAL_INSIDE));
	if (flags & BN_SERVICE_RESTRICTED && ask->outside && !service_admits(ask))
		return BN_DROP_SOURCE_RANGE;
	if (ask->affinity && affinity_find(ask))
		return 0;
	if (flags & BN_SERVICE_INLINE) {
		__u32 count = v->count, at;

		if (!count)
			return BN_DROP_SERVICE_NO_BACKEND;
		at = bpf_get_prandom_u32() % count & 3;
		bn_opaque(at);
		if (at >= BN_SERVICE_PLACES)
			return BN_DROP_INTERNAL;
		ask->slot = v->place[at];
	} else {
		int r = service_from_lists(ask, v);

		if (r)
			return r;
	}
	if (ask->affinity)
		affinity_remember(ask);
	return 0;
}

/* Has a frontend's entry on its way; see table.h. */
static __always_inline void service_touch(const union bn_addr *addr, __be16 port, __u8 protocol)
{
	__u64 hash = service_hash(addr, port, protocol);
	__u32 home = bn_service_home(hash, bn_config.service_groups);
	struct bn_service_entry *first = service_slot(home, 0);
	struct bn_service_entry *e = service_slot(home, bn_service_way(hash));

	if (!first || !e)
		return;
	bn_touch(first);
	bn_touch(e);
	bn_touch((void *)e + 64);
}

/*
 * The id and kind of the service whose frontend the client asks for from outside; id 0: there is none.
 * 0, or the reason for which it may not.
 */
static BN_SHARED int service_name(struct bn_ask *ask)
{
	struct bn_service_entry *e;
	__u32 seq, flags;
	int i;

	if (!ask)
		return BN_DROP_INTERNAL;
	for (i = 0; i < SERVICE_TRIES; i++) {
		e = service_entry(&ask->addr, ask->port, ask->protocol);
		if (!e)
			break;
		seq = *(volatile __u32 *)&e->seq;
		ask->id = e->value.id;
		ask->kind = e->value.kind;
		flags = e->value.flags;
		barrier_data(ask);
		if (likely(!(seq & 1) && *(volatile __u32 *)&e->seq == seq &&
			   e->port == ask->port && e->protocol == ask->protocol &&
			   bn_addr_equal(&e->addr, &ask->addr)))
			return flags & BN_SERVICE_RESTRICTED && !service_admits(ask)
				       ? BN_DROP_SOURCE_RANGE
				       : 0;
	}
	ask->id = 0;
	return 0;
}

/* Chooses a backend. 0 with ask->id 0 where there is no such frontend, else 0 or the reason. */
static BN_SHARED int service_pick(struct bn_ask *ask)
{
	struct bn_service_entry *e;
	__u32 seq;
	int i, r;

	if (!ask)
		return BN_DROP_INTERNAL;
	ask->id = 0;
	for (i = 0; i < SERVICE_TRIES; i++) {
		e = service_entry(&ask->addr, ask->port, ask->protocol);
		if (!e) {
			ask->id = 0;
			return 0;
		}
		seq = *(volatile __u32 *)&e->seq;
		r = service_from(ask, &e->value);
		barrier_data(ask);
		if (likely(!(seq & 1) && *(volatile __u32 *)&e->seq == seq &&
			   e->port == ask->port && e->protocol == ask->protocol &&
			   bn_addr_equal(&e->addr, &ask->addr)))
			return r;
	}
	return BN_DROP_INTERNAL;
}
