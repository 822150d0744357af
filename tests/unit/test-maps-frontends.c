// SPDX-License-Identifier: Apache-2.0
/* The table of frontends, against a plain list of what it should hold. */
#include <bpfnet/frontends.h>
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define FRONTENDS 3000

static struct bn_frontends table;

static void fresh(uint32_t frontends)
{
	free(table.entries);
	memset(&table, 0, sizeof(table));
	table.groups = bn_frontends_groups(frontends);
	table.entries =
		calloc((size_t)table.groups * BN_SERVICE_GROUP, sizeof(struct bn_service_entry));
	assert_non_null(table.entries);
	bn_hash_keys(42, (__u64 *)table.key);
}

static struct bn_service_key key_of(uint32_t i)
{
	struct bn_service_key key = {.port = (__be16)(i * 7), .protocol = i % 2 ? 6 : 17};

	bn_addr_set_v4(&key.addr, 0x0a600000 + i / 3);
	return key;
}

static struct bn_service value_of(uint32_t i)
{
	return (struct bn_service){.id = i + 1, .flags = BN_SERVICE_INLINE, .count = i % 3};
}

/* As bpf/lib/service.h looks: the home group, and the other one where that has spilled. */
static const struct bn_service *as_the_datapath(const struct bn_service_key *key)
{
	__u64 hash = bn_hash_frontend((const volatile __u64 *)table.key, &key->addr, key->port,
				      key->protocol);
	uint32_t group = bn_service_home(hash, table.groups);

	for (int round = 0; round < 2; round++) {
		struct bn_service_entry *g = &table.entries[(size_t)group * BN_SERVICE_GROUP];

		for (unsigned int i = 0; i < BN_SERVICE_GROUP; i++) {
			if (BN_GROUP_USED(g->group) & 1u << i && g[i].port == key->port &&
			    g[i].protocol == key->protocol && bn_addr_equal(&g[i].addr, &key->addr))
				return &g[i].value;
		}
		if (!BN_GROUP_SPILLED(g->group))
			return NULL;
		group = bn_service_elsewhere(hash, table.groups);
	}
	return NULL;
}

static int count(void *user, const struct bn_service_key *key, const struct bn_service *value)
{
	++*(uint32_t *)user;
	return 0;
}

static uint32_t total(void)
{
	uint32_t n = 0, at = 0;

	assert_int_equal(bn_frontends_walk(&table, &at, UINT32_MAX, count, &n), 0);
	return n;
}

static void test_full(void **state)
{
	fresh(FRONTENDS);
	for (uint32_t i = 0; i < FRONTENDS; i++) {
		struct bn_service_key key = key_of(i);
		struct bn_service value = value_of(i);

		assert_int_equal(bn_frontends_set(&table, &key, &value), 0);
		/* whatever had to move is still found */
		for (uint32_t k = i > 50 ? i - 50 : 0; k <= i; k++) {
			key = key_of(k);
			assert_non_null(as_the_datapath(&key));
			assert_int_equal(as_the_datapath(&key)->id, k + 1);
		}
	}
	for (uint32_t i = 0; i < FRONTENDS; i++) {
		struct bn_service_key key = key_of(i);

		assert_int_equal(as_the_datapath(&key)->id, i + 1);
	}
	assert_int_equal(total(), FRONTENDS);
}

static void test_no_room(void **state)
{
	uint32_t i = 0;
	int r = 0;

	fresh(30);
	for (; !r && i < 1000; i++) {
		struct bn_service_key key = key_of(i);
		struct bn_service value = value_of(i);

		r = bn_frontends_set(&table, &key, &value);
	}
	assert_int_equal(r, -ENOSPC);
	assert_true(i > 30);
	assert_int_equal(total(), i - 1);
	for (uint32_t k = 0; k + 1 < i; k++) {
		struct bn_service_key key = key_of(k);

		assert_non_null(as_the_datapath(&key));
	}
}

static void test_random(void **state)
{
	static uint32_t want[FRONTENDS]; /* the value's id, 0: not there */
	uint32_t have = 0;

	fresh(FRONTENDS);
	srand(7);
	for (int step = 0; step < 60000; step++) {
		uint32_t i = (uint32_t)rand() % FRONTENDS;
		struct bn_service_key key = key_of(i);
		struct bn_service value = value_of((uint32_t)step);

		if (rand() % 3) {
			assert_int_equal(bn_frontends_set(&table, &key, &value), 0);
			have += !want[i];
			want[i] = value.id;
		} else {
			bn_frontends_delete(&table, &key);
			have -= !!want[i];
			want[i] = 0;
		}
		i = (uint32_t)rand() % FRONTENDS;
		key = key_of(i);
		if (want[i])
			assert_int_equal(as_the_datapath(&key)->id, want[i]);
		else
			assert_null(as_the_datapath(&key));
	}
	assert_int_equal(total(), have);
	for (uint32_t i = 0; i < table.groups * BN_SERVICE_GROUP; i++)
		assert_int_equal(table.entries[i].seq % 2, 0);
}

/* A value that readers may be at is left as it is until none is sent there, and then they look again. */
static void test_replaced(void **state)
{
	uint32_t in_place = 0;

	fresh(FRONTENDS);
	for (uint32_t i = 0; i < FRONTENDS; i++) {
		struct bn_service_key key = key_of(i);
		struct bn_service value = value_of(i);

		assert_int_equal(bn_frontends_set(&table, &key, &value), 0);
	}
	for (uint32_t i = 0; i < FRONTENDS; i++) {
		struct bn_service_key key = key_of(i);
		struct bn_service value = value_of(i + FRONTENDS), copy;
		const struct bn_service *old = as_the_datapath(&key);
		const struct bn_service_entry *entry =
			(const void *)((const char *)old -
				       offsetof(struct bn_service_entry, value));
		const struct bn_service_entry *group =
			entry - (entry - table.entries) % BN_SERVICE_GROUP;
		uint32_t seq = entry->seq, word = group->group;

		copy = *old;
		assert_int_equal(bn_frontends_set(&table, &key, &value), 0);
		assert_int_equal(as_the_datapath(&key)->id, value.id);
		in_place += group->group == word;
		if (as_the_datapath(&key) != old)
			assert_memory_equal(old, &copy, sizeof(copy));
		else
			assert_true((group->group >> 16) - (word >> 16) >= 2);
		assert_int_not_equal(entry->seq, seq);
	}
	assert_int_equal(in_place, 0);
	assert_int_equal(total(), FRONTENDS);
}

static struct bn_service_key mark_of(uint32_t i)
{
	struct bn_service_key key = {0};

	bn_addr_set_v4(&key.addr, 0x0a600000 + i);
	return key;
}

static bool is_first_looked_at(const struct bn_service_key *key)
{
	__u64 hash = bn_hash_frontend((const volatile __u64 *)table.key, &key->addr, key->port,
				      key->protocol);
	size_t at = (size_t)bn_service_home(hash, table.groups) * BN_SERVICE_GROUP +
		    bn_service_way(hash);

	return as_the_datapath(key) == &table.entries[at].value;
}

/*
 * A frontend stands where a reader looks first, whatever changes, but where another frontend does: that
 * its address is owned, and an entry that has no place of its own, are anywhere in the group.
 */
static void test_way(void **state)
{
	uint32_t away = 0;

	fresh(FRONTENDS);
	for (int change = 0; change < 3; change++) {
		for (uint32_t i = 0; i < FRONTENDS / 4; i++) {
			struct bn_service_key key = mark_of(i / 3);
			struct bn_service value = value_of(i);

			if (i % 3 == 0)
				assert_int_equal(bn_frontends_set(&table, &key, &value), 0);
			key = key_of(i);
			assert_int_equal(bn_frontends_set(&table, &key, &value), 0);
		}
	}
	for (uint32_t i = 0; i < FRONTENDS / 4; i++) {
		struct bn_service_key key = key_of(i);
		struct bn_service_entry *e;
		__u64 hash = bn_hash_frontend((const volatile __u64 *)table.key, &key.addr,
					      key.port, key.protocol);

		assert_int_equal(as_the_datapath(&key)->id, i + 1);
		if (is_first_looked_at(&key))
			continue;
		away++;
		/* whose way that is; the group may have been full when it came */
		e = &table.entries[(size_t)bn_service_home(hash, table.groups) * BN_SERVICE_GROUP];
		if (BN_GROUP_SPILLED(e->group) ||
		    BN_GROUP_USED(e->group) == (1u << BN_SERVICE_GROUP) - 1)
			continue;
		e += bn_service_way(hash);
		key = (struct bn_service_key){
			.addr = e->addr, .port = e->port, .protocol = e->protocol};
		assert_int_not_equal(e->port, 0);
		assert_true(is_first_looked_at(&key));
	}
	assert_in_range(away, 1, FRONTENDS / 4 / 8);
	for (uint32_t i = 0; i < FRONTENDS / 4; i++) {
		struct bn_service_key key = mark_of(i / 3);

		assert_int_equal(as_the_datapath(&key)->id, i / 3 * 3 + 1);
	}
}

/* A writer died in an entry: nobody finds that, and the next one to write it ends even. */
static void test_died(void **state)
{
	struct bn_service_key key = key_of(1);
	struct bn_service value = value_of(1);

	fresh(1);
	for (uint32_t i = 0; i < table.groups * BN_SERVICE_GROUP; i++)
		table.entries[i].seq = 7;
	assert_int_equal(bn_frontends_set(&table, &key, &value), 0);
	for (uint32_t i = 0; i < table.groups * BN_SERVICE_GROUP; i++)
		assert_int_equal(table.entries[i].seq,
				 &table.entries[i].value == as_the_datapath(&key) ? 8 : 7);
}

/* A writer died between putting an entry elsewhere and taking it away here: a walk mends that. */
static void test_twice(void **state)
{
	struct bn_service_key key = key_of(1);
	struct bn_service value = value_of(1);
	struct bn_service_entry *e, *home, copy;
	__u64 hash;

	fresh(100);
	hash = bn_hash_frontend((const volatile __u64 *)table.key, &key.addr, key.port,
				key.protocol);
	assert_int_equal(bn_frontends_set(&table, &key, &value), 0);
	e = (void *)((char *)as_the_datapath(&key) - offsetof(struct bn_service_entry, value));
	copy = *e;
	e = &table.entries[BN_SERVICE_GROUP * (size_t)bn_service_elsewhere(hash, table.groups)];
	assert_false(BN_GROUP_USED(e->group));
	copy.group = e->group | 1;
	*e = copy;
	home = &table.entries[BN_SERVICE_GROUP * (size_t)bn_service_home(hash, table.groups)];
	home->group |= 1 << 8;
	assert_int_equal(total(), 1);
	assert_int_equal(BN_GROUP_USED(e->group), 0);
	assert_int_equal(BN_GROUP_SPILLED(home->group), 0);
	assert_int_equal(as_the_datapath(&key)->id, value.id);
}

static int drop_all(void *user, const struct bn_service_key *key, const struct bn_service *value)
{
	return BN_FRONTENDS_DROP;
}

static void test_drop(void **state)
{
	uint32_t at = 0;

	fresh(FRONTENDS);
	for (uint32_t i = 0; i < FRONTENDS; i++) {
		struct bn_service_key key = key_of(i);
		struct bn_service value = value_of(i);

		assert_int_equal(bn_frontends_set(&table, &key, &value), 0);
	}
	assert_int_equal(bn_frontends_walk(&table, &at, UINT32_MAX, drop_all, NULL), 0);
	assert_int_equal(total(), 0);
	for (uint32_t i = 0; i < table.groups; i++) {
		uint32_t word = table.entries[i * BN_SERVICE_GROUP].group;

		assert_int_equal(BN_GROUP_USED(word), 0);
		assert_int_equal(BN_GROUP_SPILLED(word), 0);
	}
	free(table.entries);
	table.entries = NULL;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_full),   cmocka_unit_test(test_no_room),
		cmocka_unit_test(test_random), cmocka_unit_test(test_replaced),
		cmocka_unit_test(test_way),    cmocka_unit_test(test_died),
		cmocka_unit_test(test_twice),  cmocka_unit_test(test_drop),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
