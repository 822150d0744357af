// SPDX-License-Identifier: Apache-2.0
/*
 * Invariant: a key that is in the table can be found by a reader that starts at any moment and
 * looks at the home group, at the other one if the home's word says that some have spilled, and
 * once more if the word of either has changed meanwhile. So an entry that moves is in both places for a
 * while, and the word changes before it leaves the old one.
 *
 * An entry that the word names is not written, since its writer can lose the processor, or die, in
 * the middle: a new value goes to a free entry, which the word then names instead, and from there to
 * the entry's way again, where readers who were still at it see by `seq` that they have to look anew.
 * Only where no entry is free far and wide is one written in its place.
 */
#include <bpfnet/frontends.h>

#include <errno.h>
#include <string.h>
#include <sys/mman.h>

#include <bpfnet/access.h>

#define USED_MASK ((1u << BN_SERVICE_GROUP) - 1)
#define BN_MOVES 3 /* entries that are moved at most to make room for one */

uint32_t bn_frontends_groups(uint32_t frontends)
{
	return frontends / (BN_SERVICE_GROUP - 1) + 1;
}

int bn_frontends_open(struct bn_frontends *ret, int fd, const uint64_t key[BN_HASH_KEYS])
{
	struct bn_map_shape shape;
	int r = bn_map_shape(fd, &shape);

	if (r)
		return r;
	if (shape.value_size != sizeof(struct bn_service_entry) ||
	    shape.max_entries < BN_SERVICE_GROUP)
		return -EINVAL;
	*ret = (struct bn_frontends){
		.fd = fd,
		.bytes = (size_t)shape.max_entries * sizeof(struct bn_service_entry),
		.groups = shape.max_entries / BN_SERVICE_GROUP,
	};
	memcpy(ret->key, key, sizeof(ret->key));
	return bn_frontends_hold(ret);
}

int bn_frontends_hold(struct bn_frontends *t)
{
	void *p;

	if (t->entries)
		return 0;
	p = mmap(NULL, t->bytes, PROT_READ | PROT_WRITE, MAP_SHARED, t->fd, 0);
	if (p == MAP_FAILED)
		return -errno;
	t->entries = p;
	return 0;
}

void bn_frontends_release(struct bn_frontends *t)
{
	if (t->entries)
		munmap(t->entries, t->bytes);
	t->entries = NULL;
}

void bn_frontends_close(struct bn_frontends *t)
{
	bn_frontends_release(t);
	memset(t, 0, sizeof(*t));
}

static uint64_t hash_of(const struct bn_frontends *t, const union bn_addr *addr, __be16 port,
			uint8_t protocol)
{
	return bn_hash_frontend((const volatile __u64 *)t->key, addr, port, protocol);
}

static struct bn_service_entry *group_of(const struct bn_frontends *t, uint32_t group)
{
	return &t->entries[(size_t)group * BN_SERVICE_GROUP];
}

static struct bn_service_entry *find_in(const struct bn_frontends *t, uint32_t group,
					const struct bn_service_key *key)
{
	struct bn_service_entry *g = group_of(t, group);

	for (unsigned int i = 0; i < BN_SERVICE_GROUP; i++) {
		if (BN_GROUP_USED(g->group) & 1u << i && g[i].port == key->port &&
		    g[i].protocol == key->protocol && bn_addr_equal(&g[i].addr, &key->addr))
			return &g[i];
	}
	return NULL;
}

static struct bn_service_entry *find(const struct bn_frontends *t, const struct bn_service_key *key)
{
	uint64_t hash = hash_of(t, &key->addr, key->port, key->protocol);
	struct bn_service_entry *e = find_in(t, bn_service_home(hash, t->groups), key);

	return e ? e : find_in(t, bn_service_elsewhere(hash, t->groups), key);
}

const struct bn_service *bn_frontends_get(const struct bn_frontends *t,
					  const struct bn_service_key *key)
{
	struct bn_service_entry *e = find(t, key);

	return e ? &e->value : NULL;
}

/* Word of a group: its used entries and spilled count changed, and its count of changes. */
static void group_change(const struct bn_frontends *t, uint32_t group, uint32_t used, int spilled)
{
	struct bn_service_entry *g = group_of(t, group);
	uint32_t word = g->group, out = BN_GROUP_SPILLED(word);

	/* a count that has been at its most stays there: it can only cost a look too many */
	if (out != 255)
		out = (uint32_t)((int)out + spilled);
	word = ((word >> 16) + 1) << 16 | out << 8 | (used & USED_MASK);
	__atomic_store_n(&g->group, word, __ATOMIC_SEQ_CST);
}

static void entry_write(struct bn_service_entry *e, const struct bn_service_key *key,
			const struct bn_service *value)
{
	uint32_t seq = e->seq | 1; /* it is odd already where a writer died */

	__atomic_store_n(&e->seq, seq, __ATOMIC_SEQ_CST);
	e->addr = key->addr;
	e->port = key->port;
	e->protocol = key->protocol;
	e->pad = 0;
	e->value = *value;
	__atomic_store_n(&e->seq, seq + 1, __ATOMIC_SEQ_CST);
}

/* A reader that is still at an entry that nothing names any more looks again. */
static void entry_leave(struct bn_service_entry *e)
{
	__atomic_store_n(&e->seq, e->seq + 2, __ATOMIC_SEQ_CST);
}

/* A free entry of the group, the one that readers look at first if it is; -1: there is none. */
static int free_in(const struct bn_frontends *t, uint32_t group, uint64_t hash)
{
	uint32_t used = BN_GROUP_USED(group_of(t, group)->group), way = bn_service_way(hash);

	if (!(used & 1u << way))
		return (int)way;
	return used == USED_MASK ? -1 : __builtin_ctz(~used);
}

/* Puts a key into a group with room that does not have it; `home` is the key's. */
static void put(struct bn_frontends *t, uint32_t group, int at, uint32_t home,
		const struct bn_service_key *key, const struct bn_service *value)
{
	struct bn_service_entry *g = group_of(t, group);

	/* one that has spilled and is nowhere costs a look; one that nobody looks for is lost */
	if (group != home)
		group_change(t, home, BN_GROUP_USED(group_of(t, home)->group), 1);
	entry_write(&g[at], key, value);
	group_change(t, group, BN_GROUP_USED(g->group) | 1u << at, 0);
}

static void drop(struct bn_frontends *t, struct bn_service_entry *e)
{
	size_t index = (size_t)(e - t->entries);
	uint32_t group = (uint32_t)(index / BN_SERVICE_GROUP);
	uint64_t hash = hash_of(t, &e->addr, e->port, e->protocol);
	uint32_t home = bn_service_home(hash, t->groups);
	uint32_t used = BN_GROUP_USED(group_of(t, group)->group);

	group_change(t, group, used & ~(1u << index % BN_SERVICE_GROUP), 0);
	if (group != home && group == bn_service_elsewhere(hash, t->groups))
		group_change(t, home, BN_GROUP_USED(group_of(t, home)->group), -1);
	entry_leave(e);
}

/* Makes room in a group by moving one of its entries to the other group it may be in. */
static bool make_room(struct bn_frontends *t, uint32_t group, int depth)
{
	struct bn_service_entry *g = group_of(t, group);

	for (int deep = 0; deep <= depth; deep++) {
		for (unsigned int i = 0; i < BN_SERVICE_GROUP; i++) {
			uint64_t hash = hash_of(t, &g[i].addr, g[i].port, g[i].protocol);
			uint32_t home = bn_service_home(hash, t->groups);
			uint32_t to = group == home ? bn_service_elsewhere(hash, t->groups) : home;
			struct bn_service_key key = {.port = g[i].port, .protocol = g[i].protocol};
			struct bn_service value = g[i].value;
			int at = to == group ? -1 : free_in(t, to, hash);

			key.addr = g[i].addr;
			if (at < 0 && deep && to != group && make_room(t, to, deep - 1))
				at = free_in(t, to, hash);
			/* what made room further on may have taken this very entry along */
			if (at < 0 || find_in(t, group, &key) != &g[i])
				continue;
			put(t, to, at, home, &key, &value);
			drop(t, &g[i]);
			return true;
		}
	}
	return false;
}

/* A new value in an entry that is free, and one store takes the old one away and the new one in. */
static void exchange(struct bn_frontends *t, uint32_t group, uint32_t from, uint32_t to,
		     const struct bn_service_key *key, const struct bn_service *value)
{
	struct bn_service_entry *g = group_of(t, group);

	entry_write(&g[to], key, value);
	group_change(t, group, (BN_GROUP_USED(g->group) | 1u << to) & ~(1u << from), 0);
	entry_leave(&g[from]);
}

/* Whether readers find the entry where they look first. What says that an address is owned they want last. */
static bool is_in_its_way(const struct bn_frontends *t, const struct bn_service_entry *e)
{
	uint64_t hash = hash_of(t, &e->addr, e->port, e->protocol);

	return e->port && group_of(t, bn_service_home(hash, t->groups)) + bn_service_way(hash) == e;
}

/* The way of a new frontend is its own, if the entry there would not be found at once even so. */
static void clear_way(struct bn_frontends *t, uint32_t home, uint64_t hash)
{
	struct bn_service_entry *g = group_of(t, home), *e = g + bn_service_way(hash);
	uint32_t used = BN_GROUP_USED(g->group), way = bn_service_way(hash);
	struct bn_service_key key = {.addr = e->addr, .port = e->port, .protocol = e->protocol};
	struct bn_service value = e->value;

	if (used & 1u << way && used != USED_MASK && !is_in_its_way(t, e))
		exchange(t, home, way, (uint32_t)__builtin_ctz(~used), &key, &value);
}

static void replace(struct bn_frontends *t, uint64_t hash, uint32_t home, uint32_t other,
		    const struct bn_service_key *key, const struct bn_service *value)
{
	struct bn_service_entry *e = find_in(t, home, key);
	uint32_t group = e ? home : other, to = e ? other : home;
	struct bn_service_entry *g = group_of(t, group);
	int at = free_in(t, group, hash);

	e = e ? e : find_in(t, other, key);
	if (at >= 0) {
		uint32_t from = (uint32_t)(e - g), spare = (uint32_t)at;

		exchange(t, group, from, spare, key, value);
		if (from == bn_service_way(hash))
			exchange(t, group, spare, from, key, value);
		return;
	}
	at = to == group ? -1 : free_in(t, to, hash);
	if (at < 0) {
		entry_write(e, key, value);
		return;
	}
	put(t, to, at, home, key, value);
	drop(t, e);
}

int bn_frontends_set(struct bn_frontends *t, const struct bn_service_key *key,
		     const struct bn_service *value)
{
	uint64_t hash = hash_of(t, &key->addr, key->port, key->protocol);
	uint32_t home = bn_service_home(hash, t->groups);
	uint32_t other = bn_service_elsewhere(hash, t->groups);

	if (find(t, key)) {
		/* of the two groups one is to have a free entry */
		if (free_in(t, home, hash) < 0 && free_in(t, other, hash) < 0 &&
		    !make_room(t, home, BN_MOVES))
			make_room(t, other, BN_MOVES);
		replace(t, hash, home, other, key, value);
		return 0;
	}
	if (free_in(t, home, hash) < 0 && free_in(t, other, hash) < 0 &&
	    !make_room(t, home, BN_MOVES) && !make_room(t, other, BN_MOVES))
		return -ENOSPC;
	if (key->port)
		clear_way(t, home, hash);
	if (free_in(t, home, hash) >= 0)
		put(t, home, free_in(t, home, hash), home, key, value);
	else
		put(t, other, free_in(t, other, hash), home, key, value);
	return 0;
}

void bn_frontends_delete(struct bn_frontends *t, const struct bn_service_key *key)
{
	struct bn_service_entry *e = find(t, key);

	if (e)
		drop(t, e);
}

int bn_frontends_walk(struct bn_frontends *t, uint32_t *at, uint32_t n,
		      int (*fn)(void *user, const struct bn_service_key *key,
				const struct bn_service *value),
		      void *user)
{
	int r = 0;

	for (; n && *at < t->groups && !r; n--, ++*at) {
		struct bn_service_entry *g = group_of(t, *at);

		for (unsigned int i = 0; i < BN_SERVICE_GROUP && !r; i++) {
			struct bn_service_key key = {.port = g[i].port, .protocol = g[i].protocol};
			struct bn_service value = g[i].value;
			const struct bn_service_entry *first;

			key.addr = g[i].addr;
			if (!(BN_GROUP_USED(g->group) & 1u << i))
				continue;
			first = find(t, &key);
			/* one of two that a writer left who died between them */
			r = first && first != &g[i] ? BN_FRONTENDS_DROP : fn(user, &key, &value);
			if (r == BN_FRONTENDS_DROP) {
				drop(t, &g[i]);
				r = 0;
			}
		}
	}
	return r;
}
