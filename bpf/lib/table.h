/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * The flow table (maps/bpfnet/flow.h): finding, inserting, changing and removing entries.
 *
 * Writers hold a set's lock; readers don't. A writer makes a way's key invalid, writes the entry
 * and makes the key valid; a reader copies what it needs and looks at the tag again (table_copy()).
 * The established path, which copies nothing, relies on what is true of any established entry: it
 * stays where it is until a packet or the sweep has taken that state from it.
 *
 * A cache line that comes from memory costs as much as six empty programs. So whoever knows that
 * he will need one touches it early, several at a time, and does something else meanwhile.
 */
#pragma once

#include "lib/event.h"

static __always_inline __u64 tuple_hash(const struct bn_tuple *t)
{
	return bn_hash_tuple(bn_config.hash_key, t);
}

/* The same, where a call costs less than the registers and the stack that it takes. */
static __noinline __u64 table_hash(const struct bn_tuple *t)
{
	return t ? tuple_hash(t) : 0;
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
	struct bn_flow_set *set;
	__u32 index; /* of the set */
	__u32 way;
	__u32 tag;
};

static __always_inline struct bn_flow_set *table_set(__u32 index)
{
	return bpf_map_lookup_elem(&bn_flows, &index);
}

static __always_inline __u32 table_other(__u32 index, __u32 tag)
{
	return bn_flow_other(index, tag, bn_config.flow_mask);
}

#define TABLE_NOT_FOUND 0xffffffffu

/* The way of the set that has the key, or TABLE_NOT_FOUND; expired transients are not found. */
static __always_inline __u32 table_search_set(const struct bn_flow_set *set,
					      const struct bn_tuple *t, __u32 tag, __u32 now)
{
	int i;

#pragma unroll
	for (i = 0; i < BN_WAYS; i++) {
		if (set->tag[i] == tag && tuple_equal(&set->entry[i].key, t) &&
		    (set->established & 1u << i || !bn_expired(set->expires[i], now)))
			return i;
	}
	return TABLE_NOT_FOUND;
}

/* Which of the scratch area's tuples is meant: global functions take no pointers on 5.10. */
enum bn_direction {
	BN_THIS = 0,     /* the packet in hand: s->pkt.tuple and s->fwd */
	BN_OPPOSITE = 1, /* s->peer and s->rev */
	BN_QUOTED = 2,   /* s->inner */
};

static __always_inline const struct bn_tuple *table_key(const struct bn_scratch *s, __u32 which)
{
	return which == BN_THIS ? &s->pkt.tuple : which == BN_OPPOSITE ? &s->peer : &s->inner;
}

/*
 * Looks for a tuple of the scratch area by its tag, in the home set and where that has spilled in
 * the other one: set << 3 | way.
 */
BN_GLOBAL __u32 table_search(__u32 which, __u32 now)
{
	struct bn_scratch *s = bn_scratch_get();
	__u32 tag, home, way, other;
	const struct bn_tuple *t;
	struct bn_flow_set *set;
	__u64 hash;

	if (!s)
		return TABLE_NOT_FOUND;
	t = table_key(s, which);
	hash = tuple_hash(t); /* the kernel allows no more calls within calls than there are here */
	tag = bn_flow_tag(hash);
	s->searched_tag = tag;
	home = bn_flow_home(hash, bn_config.flow_mask);
	set = table_set(home);
	if (!set)
		return TABLE_NOT_FOUND;
	way = table_search_set(set, t, tag, now);
	if (way != TABLE_NOT_FOUND)
		return home << 3 | way;
	if (likely(!set->spilled))
		return TABLE_NOT_FOUND;
	other = table_other(home, tag);
	set = table_set(other);
	if (!set)
		return TABLE_NOT_FOUND;
	way = table_search_set(set, t, tag, now);
	return way != TABLE_NOT_FOUND ? other << 3 | way : TABLE_NOT_FOUND;
}

/* The way in what table_search() and its like return; to be compared with BN_WAYS. */
static __always_inline __u32 table_way(__u32 at)
{
	__u32 way = at & 7;

	bn_opaque(way);
	return way;
}

static __always_inline struct bn_flow_hot *table_flow(const struct bn_place *p)
{
	struct bn_flow_set *set = p->set;
	__u32 way = p->way;

	if (!set || way >= BN_WAYS)
		return NULL;
	return &set->entry[way].flow;
}

/* A place that was found earlier, by its numbers; gone if another entry stands there. */
static __always_inline void table_again(__u32 index, __u32 way, __u32 tag, struct bn_place *ret)
{
	struct bn_flow_set *set = table_set(index);

	ret->set = NULL;
	ret->index = index;
	ret->way = way;
	ret->tag = tag;
	if (set && way < BN_WAYS && set->tag[way] == tag)
		ret->set = set;
}

static __always_inline void table_find(struct bn_scratch *s, __u32 which, __u32 now,
				       struct bn_place *ret)
{
	__u32 at = table_search(which, now);

	ret->set = NULL;
	ret->way = 0;
	if (at != TABLE_NOT_FOUND)
		table_again(at >> 3, table_way(at), s->searched_tag, ret);
}

/*
 * Has the places on their way where a key is, or would be put, to be written; `hash`: its low half. A
 * load that misses holds up what comes after it as soon as the CPU's window is full; a store doesn't,
 * until a locked instruction. So each line has a byte that is always zero and may be written without
 * the lock.
 */
static __always_inline void table_touch_at(__u32 hash)
{
	struct bn_flow_set *set = table_set(bn_flow_home(hash, bn_config.flow_mask));
	__u32 way = bn_flow_way(hash);

	bn_opaque(way);
	if (!set || way >= BN_WAYS)
		return;
	*(volatile __u8 *)&set->zero = 0;
	*(volatile __u8 *)&set->entry[way].key.pad = 0;
	*(volatile __u8 *)&set->entry[way].flow.zero = 0;
	bn_touch(&set->cold[way]);
}

static __always_inline void table_touch(const struct bn_tuple *t)
{
	table_touch_at((__u32)table_hash(t));
}

/* Copies the entry out; false if it was replaced meanwhile. */
static __always_inline bool table_copy(const struct bn_place *p, struct bn_flow *ret)
{
	__u32 way = p->way;

	if (!p->set || way >= BN_WAYS)
		return false;
	ret->hot = p->set->entry[way].flow;
	ret->cold = p->set->cold[way];
	barrier_data(ret);
	return *(volatile __u32 *)&p->set->tag[way] == p->tag;
}

static __always_inline void table_extend(const struct bn_place *p, __u32 deadline)
{
	__u32 way = p->way;

	if (p->set && way < BN_WAYS)
		p->set->expires[way] = deadline;
}

/* Adds to the flags of the entry in its place. */
static BN_SHARED int table_flag(const struct bn_place *p, __u32 flags)
{
	struct bn_flow_hot *f = p ? table_flow(p) : NULL;

	if (f)
		f->flags |= (__u8)flags;
	return 0;
}

/*
 * The number of an entry's home that counts those which live elsewhere. A client that has hundreds of
 * flows from one port has them all there, more than a byte counts. So a number that has come far stays far:
 * it can only cost a look too many, and of CPUs that change it at a time there are fewer than lie between
 * where nothing is taken off any more, where nothing is added, and the byte's end.
 */
#define TABLE_SPILLED_STAYS 128
#define TABLE_SPILLED_MOST 192

static __always_inline void table_spilled(__u32 home, __s32 change)
{
	struct bn_flow_set *set = table_set(home);
	__u8 n;

	if (!set)
		return;
	n = *(volatile __u8 *)&set->spilled;
	/* with its neighbours, which only change under the lock and a byte at a time */
	if (n < (change > 0 ? TABLE_SPILLED_MOST : TABLE_SPILLED_STAYS))
		__sync_fetch_and_add((__u32 *)&set->established, (__u32)change << 16);
}

enum table_change {
	TABLE_FREE = 1,
	TABLE_ESTABLISH = 2, /* where the set has room for one more */
	TABLE_RELEASE = 3,   /* established to transient */
};

/*
 * Changes a place unless something else stands there by now: its class, and `state` is added to
 * the flow's. Returns 0, 1 where a TABLE_ESTABLISH found no room, 2 where a TABLE_RELEASE found it
 * established, -1 where the place is gone.
 */
BN_GLOBAL int table_change_at(__u32 at, __u32 tag, __u32 change, __u32 state, __u32 deadline)
{
	__u32 way = table_way(at), index = at >> 3, bits, bit;
	struct bn_flow_set *set = table_set(index);
	bool away = false;
	int r = -1;

	if (!set || way >= BN_WAYS)
		return -1;
	bit = 1u << way;
	bpf_spin_lock(&set->lock);
	if (set->tag[way] == tag) {
		bits = set->established;
		set->entry[way].flow.state |= (__u8)state;
		set->expires[way] = deadline;
		if (change == TABLE_ESTABLISH) {
			/* one way must stay without: all but one zero bit is too many */
			__u32 rest = ~bits & ((1u << BN_WAYS) - 1) & ~bit;

			r = !(bits & bit) && !rest;
			if (!r)
				set->established = (__u8)(bits | bit);
		} else {
			r = bits & bit ? 2 : 0;
			set->established = (__u8)(bits & ~bit);
		}
		if (change == TABLE_FREE) {
			away = set->away & bit;
			set->away &= (__u8)~bit;
			set->entry[way].key.family = 0;
			set->tag[way] = 0;
		}
	}
	bpf_spin_unlock(&set->lock);
	if (away)
		table_spilled(table_other(index, tag), -1);
	return r;
}

static __always_inline int table_change(const struct bn_place *p, __u32 change, __u32 state,
					__u32 deadline)
{
	return p->set ? table_change_at(p->index << 3 | (p->way & 7), p->tag, change, state,
					deadline)
		      : -1;
}

/* Reports the end of an entry that was overwritten, kept in s->ended. */
static __always_inline void table_report(struct bn_scratch *s, bool expired)
{
	struct bn_ended *v = &s->ended;
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
	table_find(s, BN_QUOTED, s->pkt.now, &p);
	if (!table_copy(&p, &s->ended_reply))
		__builtin_memset(&s->ended_reply, 0, sizeof(s->ended_reply));
	event_closed(expired ? BN_CLOSE_EXPIRED : BN_CLOSE_EVICTED);
}

/* Ways that have an entry, be it alive or not. */
static __always_inline __u32 table_used(const struct bn_flow_set *set)
{
	__u32 n = 0;
	int i;

#pragma unroll
	for (i = 0; i < BN_WAYS; i++)
		n += !!set->tag[i];
	return n;
}

static __always_inline __u32 table_alive(const struct bn_flow_set *set, __u32 now)
{
	__u32 n = 0;
	int i;

#pragma unroll
	for (i = 0; i < BN_WAYS; i++)
		n += set->tag[i] &&
		     (set->established & 1u << i || !bn_expired(set->expires[i], now));
	return n;
}

/*
 * Which set a new key goes to: its home, unless that is crowded and the other one is less so. Where
 * an expired entry of the key stands at home, it's to be overwritten: fast_flow() looks there first.
 */
static __noinline __u32 table_choose(__u32 home, __u32 tag, __u32 now)
{
	struct bn_flow_set *set = table_set(home), *elsewhere;
	struct bn_scratch *s = bn_scratch_get();
	__u32 other, n;
	int i;

	if (unlikely(s && s->not_in))
		return s->not_in == home + 1 ? table_other(home, tag) : home;
	n = set ? table_alive(set, now) : 0;
	if (n < BN_WAYS_CROWDED)
		return home;
#pragma unroll
	for (i = 0; i < BN_WAYS; i++) /* read again, rather than kept on a stack that is full */
		if (*(volatile __u32 *)&set->tag[i] == tag)
			return home;
	other = table_other(home, tag);
	elsewhere = table_set(other);
	return elsewhere && table_alive(elsewhere, now) < n ? other : home;
}

/* How long an established entry stays without a packet, jiffies. */
static __always_inline __u32 table_lasts(__u8 protocol)
{
	return protocol == IPPROTO_TCP ? bn_config.life.established : bn_config.life.udp_lasting;
}

/* The deadline of an established entry whose old one has passed, by its last packet. */
static __always_inline __u32 table_deadline(const struct bn_flow_entry *e)
{
	return e->flow.last_seen + table_lasts(e->key.protocol);
}

/* Whether an entry reserves its key for another flow than that of the packet in hand. */
static __always_inline bool table_reserved(const struct bn_flow_hot *f, const struct bn_scratch *s)
{
	return f->action != BN_ACT_DROP && !flow_answers(f, &s->pkt.tuple, s->fwd.flags);
}

/* What table_insert() has to do for most: s->placed_set and s->placed_way say where the entry is now. */
BN_GLOBAL int table_put(__u32 direction, __u32 life, __u32 owned)
{
	struct bn_scratch *s = bn_scratch_get();
	const struct bn_tuple *key;
	/* what the verifier doesn't follow, or it would walk every order of the ways */
	struct bn_pick volatile *pick;
	__u32 now, tag, home, index, way, best, keep = BN_WAYS, at, bits;
	bool report = false, expired = false, taken = false, was_away = false, same;
	struct bn_flow_set *set;
	const struct bn_flow *f;
	__u32 old_tag = 0, alike = 0;
	__u64 hash;
	int i;

	if (!s)
		return -22;
	key = table_key(s, direction);
	f = direction == BN_OPPOSITE ? &s->rev : &s->fwd;
	hash = table_hash(key);
	now = s->pkt.now;
	s->pick.best = bn_flow_way(hash);
	home = bn_flow_home(hash, bn_config.flow_mask);
	tag = bn_flow_tag(hash);
	set = table_set(home);
	if (!set)
		return -22;
	index = home;
	if (unlikely(set->spilled || table_used(set) >= BN_WAYS_CROWDED)) {
		/* at home it is found below */
		at = set->spilled ? table_search(direction, now) : TABLE_NOT_FOUND;
		index = at != TABLE_NOT_FOUND ? at >> 3 : table_choose(home, tag, now);
		set = table_set(index);
		if (!set)
			return -22;
	}
	/* a flow's second half never throws out its first */
	if (direction == BN_THIS && s->placed_set == index)
		keep = s->placed_way;
	pick = &s->pick;
	pick->way = BN_WAYS;
	pick->same = 0;
	/* what is established counts as more than any transient's rest of life */
	pick->left = BN_PICK_NEVER;
	if (index != home) /* before it can be looked for; put right below where it was there */
		table_spilled(home, 1);
	bpf_spin_lock(&set->lock);
	/* most newcomers find nobody like them, and a free way: the one looked for in first, or any */
#pragma unroll
	for (i = 0; i < BN_WAYS; i++) {
		alike |= set->tag[i] == tag;
		if (!set->tag[i])
			pick->way = i;
	}
	best = pick->best;
	if (best < BN_WAYS && !set->tag[best])
		pick->way = best;
	if (likely(!alike && pick->way < BN_WAYS))
		goto picked;
	pick->way = BN_WAYS;
#pragma unroll
	for (i = 0; i < BN_WAYS; i++) {
		/* those that expire in the same jiffy take turns, by bits of the newcomer's tag */
		__s64 left =
			(__s64)(__s32)(set->expires[i] - now) * 8 + (((__u32)i + (tag >> 1)) & 7);

		if (set->established & 1u << i) {
			if (bn_expired(set->expires[i], now))
				set->expires[i] = table_deadline(&set->entry[i]);
			if (!bn_expired(set->expires[i], now))
				left = BN_PICK_NEVER;
		}
		if (!set->tag[i])
			left = -BN_PICK_NEVER;
		/* of those that are free, the one where it is looked for first */
		if (left < 0 && (__u32)i == pick->best)
			left = -BN_PICK_NEVER - 1;
		if ((__u32)i == keep)
			left = BN_PICK_NEVER;
		if (set->tag[i] == tag && tuple_equal(&set->entry[i].key, key)) {
			left = -BN_PICK_NEVER - 2;
			pick->same = 1;
		}
		if (left < pick->left) {
			pick->left = left;
			pick->way = i;
		}
	}
picked:
	way = pick->way;
	same = pick->same;
	if (way < BN_WAYS) {
		struct bn_flow_entry *e = &set->entry[way];

		bits = 1u << way;
		expired = bn_expired(set->expires[way], now);
		old_tag = set->tag[way];
		if (old_tag) {
			if (same && owned && !expired && table_reserved(&e->flow, s)) {
				taken = true;
			} else {
				s->ended.key = e->key;
				s->ended.flow.hot = e->flow;
				s->ended.flow.cold = set->cold[way];
				report = true;
			}
		}
		if (!taken) {
			was_away = set->away & bits;
			*(volatile __u32 *)&set->tag[way] = 0;
			*(volatile __u64 *)&e->key.sport = 0;
			e->flow = f->hot;
			set->cold[way] = f->cold;
			e->key.saddr = key->saddr;
			e->key.daddr = key->daddr;
			barrier_data(e);
			*(volatile __u64 *)&e->key.sport = *(__u64 *)&key->sport;
			set->expires[way] = now + life;
			set->established &= (__u8)~bits;
			if (index != home)
				set->away |= (__u8)bits;
			else
				set->away &= (__u8)~bits;
			*(volatile __u32 *)&set->tag[way] = tag;
		}
	}
	bpf_spin_unlock(&set->lock);
	if (was_away)
		table_spilled(table_other(index, old_tag), -1);
	if (way >= BN_WAYS || taken) {
		if (index != home)
			table_spilled(home, -1);
		return taken ? -EEXIST : -ENOSPC;
	}
	s->placed_set = index;
	s->placed_way = way;
	/* The same flow under the same key is an update, not an end. */
	if (report && (!same || expired))
		table_report(s, expired);
	return 0;
}

/*
 * Gives way to an entry of the same key in the set that table_put() has not put it into: 0, or -EEXIST if
 * the key is to be `owned` and is another flow's.
 */
BN_GLOBAL int table_yield(__u32 direction, __u32 owned)
{
	struct bn_scratch *s = bn_scratch_get();
	const struct bn_tuple *key;
	struct bn_flow_set *set;
	bool others = false;
	__u32 tag, way;

	if (!s)
		return -22;
	key = table_key(s, direction);
	tag = bn_flow_tag(table_hash(key));
	set = table_set(table_other(s->placed_set, tag));
	if (!set)
		return -22;
	bpf_spin_lock(&set->lock);
	way = table_search_set(set, key, tag, s->pkt.now);
	if (way < BN_WAYS)
		others = table_reserved(&set->entry[way].flow, s);
	bpf_spin_unlock(&set->lock);
	if (way == TABLE_NOT_FOUND)
		return 0;
	table_change_at(s->placed_set << 3 | (s->placed_way & 7), tag, TABLE_FREE, 0, s->pkt.now);
	return owned && others ? -EEXIST : 0;
}

/*
 * Puts one direction under its key for `life` jiffies, as a transient entry. With `owned`, an
 * unexpired entry of the same key that belongs to another flow (one whose opposite direction is
 * not the packet in hand) is left alone and -EEXIST returned: that is how a translated tuple
 * is reserved; a refusal reserves none.
 *
 * A set has a way for what is new, however many established flows there are. Where both halves of a
 * flow mean the same set, that way is the first half's, and the second one's is in its other set. So
 * -ENOSPC, for none at all, takes another CPU that establishes flows there meanwhile.
 *
 * Two CPUs may put the same key into both its sets. Each then looks into the set that it has not put it
 * into, under that set's lock, so the later one at least sees the earlier; who sees another gives way.
 */
static __always_inline int table_insert(struct bn_scratch *s, __u32 direction, __u32 life,
					__u32 owned)
{
	int r = table_put(direction, life, owned);
	const struct bn_flow_set *set;

	if (unlikely(r == -ENOSPC)) {
		s->not_in = s->placed_set + 1;
		r = table_put(direction, life, owned);
		s->not_in = 0;
	}
	if (r)
		return r;
	set = table_set(s->placed_set);
	if (likely(set && !set->spilled && s->placed_set <= bn_config.flow_mask >> 1)) /* a home */
		return 0;
	return table_yield(direction, owned);
}
