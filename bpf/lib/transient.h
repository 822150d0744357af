/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * The transient table: BN_WAYS-way sets in an array, for flows that are not established.
 *
 * Writers hold the set's lock; readers don't. A writer clears a way's tag, writes the entry and
 * sets the tag; a reader copies what it needs and looks at the tag again (transient_copy()). The
 * victim of a full set is the entry that expires first, so refusals and closed flows go before
 * half-open ones, and those before established flows that found the main table full.
 */
#pragma once

#include "lib/event.h"

static __always_inline __u64 tuple_hash(const struct bn_tuple *t)
{
	const __u64 *w = (const __u64 *)t;
	__u64 h = bn_config.hash_seed;
	int i;

#pragma unroll
	for (i = 0; i < 5; i++) {
		h = (h ^ w[i]) * 0x9fb21c651e98df25ull;
		h ^= h >> 32;
	}
	return h;
}

static __always_inline bool tuple_equal(const struct bn_tuple *a, const struct bn_tuple *b)
{
	const __u64 *x = (const __u64 *)a, *y = (const __u64 *)b;

	return !((x[0] ^ y[0]) | (x[1] ^ y[1]) | (x[2] ^ y[2]) | (x[3] ^ y[3]) | (x[4] ^ y[4]));
}

static __always_inline bool bn_expired(__u32 deadline, __u32 now)
{
	return (__s32)(deadline - now) < 0;
}

/* A place in the table; `set` is NULL where nothing was found. */
struct bn_place {
	struct bn_transient_set *set;
	__u32 index; /* of the set */
	__u32 way;
	__u32 tag;
};

static __always_inline struct bn_transient_set *transient_set(__u64 hash)
{
	__u32 index = (__u32)hash & bn_config.transient_mask;

	return bpf_map_lookup_elem(&bn_transient, &index);
}

static __always_inline __u32 transient_tag(__u64 hash)
{
	return (__u32)(hash >> 32) | 1;
}

/* Expired entries are not found. */
static __always_inline void transient_find(const struct bn_tuple *t, __u32 now,
					   struct bn_place *ret)
{
	__u64 hash = tuple_hash(t);
	struct bn_transient_set *set = transient_set(hash);
	__u32 tag = transient_tag(hash);
	int i;

	ret->set = NULL;
	ret->index = (__u32)hash & bn_config.transient_mask;
	ret->way = 0;
	ret->tag = tag;
	if (!set)
		return;
#pragma unroll
	for (i = 0; i < BN_WAYS; i++) {
		if (set->tag[i] == tag && !bn_expired(set->expires[i], now) &&
		    tuple_equal(&set->entry[i].key, t)) {
			ret->set = set;
			ret->way = i;
			return;
		}
	}
}

static __always_inline struct bn_flow *transient_flow(const struct bn_place *p)
{
	__u32 way = p->way;

	if (!p->set || way >= BN_WAYS)
		return NULL;
	return &p->set->entry[way].flow;
}

/* Copies the entry out; false if it was replaced meanwhile. */
static __always_inline bool transient_copy(const struct bn_place *p, struct bn_flow *ret)
{
	__u32 way = p->way;

	if (!p->set || way >= BN_WAYS)
		return false;
	*ret = p->set->entry[way].flow;
	barrier_data(ret);
	return *(volatile __u32 *)&p->set->tag[way] == p->tag;
}

static __always_inline void transient_extend(const struct bn_place *p, __u32 deadline)
{
	__u32 way = p->way;

	if (p->set && way < BN_WAYS)
		p->set->expires[way] = deadline;
}

/* A place that was found earlier, by its numbers; gone if another entry stands there. */
static __always_inline void transient_again(__u32 index, __u32 way, __u32 tag, struct bn_place *ret)
{
	struct bn_transient_set *set = bpf_map_lookup_elem(&bn_transient, &index);

	ret->set = NULL;
	ret->index = index;
	ret->way = way;
	ret->tag = tag;
	if (set && way < BN_WAYS && set->tag[way] == tag)
		ret->set = set;
}

/* Frees a place, unless something else stands there by now. */
static __always_inline void transient_clear(const struct bn_place *p)
{
	struct bn_transient_set *set = p->set;
	__u32 way = p->way;

	if (!set || way >= BN_WAYS)
		return;
	bpf_spin_lock(&set->lock);
	if (set->tag[way] == p->tag)
		set->tag[way] = 0;
	bpf_spin_unlock(&set->lock);
}

enum bn_direction {
	BN_THIS = 0,     /* the packet in hand: s->pkt.tuple and s->fwd */
	BN_OPPOSITE = 1, /* s->peer and s->rev */
};

static __always_inline const struct bn_tuple *direction_key(const struct bn_scratch *s,
							    __u32 direction)
{
	return direction == BN_OPPOSITE ? &s->peer : &s->pkt.tuple;
}

BN_GLOBAL int transient_delete(__u32 direction)
{
	struct bn_scratch *s = bn_scratch_get();
	const struct bn_tuple *t;
	struct bn_transient_set *set;
	__u64 hash;
	__u32 tag;
	int i;

	if (!s)
		return 0;
	t = direction_key(s, direction);
	hash = tuple_hash(t);
	set = transient_set(hash);
	tag = transient_tag(hash);
	if (!set)
		return 0;
	bpf_spin_lock(&set->lock);
#pragma unroll
	for (i = 0; i < BN_WAYS; i++) {
		if (set->tag[i] == tag && tuple_equal(&set->entry[i].key, t))
			set->tag[i] = 0;
	}
	bpf_spin_unlock(&set->lock);
	return 0;
}

/* Reports the end of an entry that was overwritten, kept in s->ended. */
static __always_inline void transient_report(struct bn_scratch *s, bool expired)
{
	struct bn_transient_entry *v = &s->ended;
	struct bn_place p;

	if (!(v->flow.flags & BN_FLOW_ORIGIN) || v->flow.flags & BN_FLOW_COUNTED ||
	    v->flow.action == BN_ACT_DROP)
		return;
	if (!expired)
		bn_count(BN_CNT_FLOWS_EVICTED, 1);
	s->inner.saddr = v->flow.to_daddr;
	s->inner.daddr = v->flow.to_saddr;
	s->inner.sport = v->flow.to_dport;
	s->inner.dport = v->flow.to_sport;
	s->inner.protocol = v->key.protocol;
	s->inner.family = v->key.family;
	s->inner.pad = 0;
	transient_find(&s->inner, s->pkt.now, &p);
	if (!transient_copy(&p, &s->ended_reply))
		__builtin_memset(&s->ended_reply, 0, sizeof(s->ended_reply));
	event_closed(expired ? BN_CLOSE_EXPIRED : BN_CLOSE_EVICTED);
}

/*
 * Puts one direction under its key for `life` jiffies. With `owned`, an unexpired entry of the
 * same key that belongs to another flow (one whose opposite direction is not the packet in hand)
 * is left alone and -EEXIST (-17) returned: that is how a translated tuple is reserved.
 */
BN_GLOBAL int transient_insert(__u32 direction, __u32 life, __u32 owned)
{
	struct bn_scratch *s = bn_scratch_get();
	const struct bn_tuple *key, *owner;
	struct bn_transient_set *set;
	const struct bn_flow *f;
	__u32 now, tag, way = 0;
	__u32 keep = BN_WAYS, turn;
	__s64 soonest = 0x7fffffffffll;
	bool same = false, report = false, expired = false, taken = false;
	__u64 hash;
	int i;

	if (!s)
		return -22;
	key = direction_key(s, direction);
	owner = &s->pkt.tuple;
	f = direction == BN_OPPOSITE ? &s->rev : &s->fwd;
	hash = tuple_hash(key);
	now = s->pkt.now;
	tag = transient_tag(hash);
	set = transient_set(hash);
	if (!set)
		return -22;
	/* a flow's second half never throws out its first */
	if (direction == BN_THIS && s->placed_hash == (hash & bn_config.transient_mask))
		keep = s->placed_way;
	turn = (__u32)(hash >> 24);
	bpf_spin_lock(&set->lock);
#pragma unroll
	for (i = 0; i < BN_WAYS; i++) {
		/* those that expire in the same jiffy take turns, by bits of the newcomer's hash */
		__s64 left = set->tag[i] ? (__s64)(__s32)(set->expires[i] - now) * 8 +
						   (((__u32)i + turn) & 7)
					 : -0x7fffffffffll;

		if (set->tag[i] == tag && tuple_equal(&set->entry[i].key, key)) {
			way = i;
			same = true;
			soonest = -0x7fffffffffll - 1;
		} else if (left < soonest && (__u32)i != keep) {
			soonest = left;
			way = i;
		}
	}
	if (way < BN_WAYS) {
		struct bn_transient_entry *e = &set->entry[way];

		expired = bn_expired(set->expires[way], now);
		if (set->tag[way]) {
			if (same && owned && !expired &&
			    !(bn_addr_equal(&e->flow.to_saddr, &owner->daddr) &&
			      bn_addr_equal(&e->flow.to_daddr, &owner->saddr) &&
			      e->flow.to_sport == owner->dport &&
			      e->flow.to_dport == owner->sport)) {
				taken = true;
			} else {
				s->ended = *e;
				report = true;
			}
		}
		if (!taken) {
			*(volatile __u32 *)&set->tag[way] = 0;
			e->key = *key;
			e->flow = *f;
			set->expires[way] = now + life;
			barrier_data(e);
			*(volatile __u32 *)&set->tag[way] = tag;
		}
	}
	bpf_spin_unlock(&set->lock);
	if (taken)
		return -17;
	s->placed_hash = hash & bn_config.transient_mask;
	s->placed_way = way;
	/* The same flow under the same key is an update, not an end. */
	if (report && (!same || expired))
		transient_report(s, expired);
	return 0;
}
