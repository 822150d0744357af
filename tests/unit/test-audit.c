// SPDX-License-Identifier: Apache-2.0
/* The audit's parts on maps of their own: walks in parts, what is found, what is mended. */
#include "addresses-fixture.h"
#include "datapath/audit.h"
#include "datapath/buckets.h"
#include "datapath/services.h"
#include "datapath/wanted.h"
#include "maps-fixture.h"

#include <bpf/bpf.h>
#include <errno.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#define ENTRIES 5000

struct item {
	uint32_t key;
	unsigned seen;
	UT_hash_handle hh;
};

static void see(void *user, void *entry)
{
	((struct item *)entry)->seen++;
	(*(unsigned *)user)++;
}

/* What is there from the first part to the last is seen, whatever comes and goes between. */
static void test_buckets(void **state)
{
	struct item *items = NULL, *e, *tmp;
	unsigned calls = 0, parts = 0;
	uint32_t at = 0, next = 0;

	for (; next < 100; next++) {
		e = calloc(1, sizeof(*e));
		e->key = next;
		HASH_ADD(hh, items, key, sizeof(e->key), e);
	}
	while (bn_buckets_walk(items->hh.tbl, &at, 8, see, &calls)) {
		parts++;
		/* the table doubles several times under way, and loses what came between */
		for (unsigned i = 0; i < 200; i++, next++) {
			e = calloc(1, sizeof(*e));
			e->key = next;
			HASH_ADD(hh, items, key, sizeof(e->key), e);
		}
		if (parts > 20) {
			uint32_t gone = next - 50;

			HASH_FIND(hh, items, &gone, sizeof(gone), e);
			HASH_DEL(items, e);
			free(e);
			if (parts > 40)
				break;
		}
	}
	assert_true(parts > 3);
	while (bn_buckets_walk(items->hh.tbl, &at, 512, see, &calls))
		parts++;
	assert_int_equal(at, 0);
	HASH_ITER(hh, items, e, tmp) {
		if (e->key < 100)
			assert_true(e->seen >= 1);
		HASH_DEL(items, e);
		free(e);
	}
	assert_false(bn_buckets_walk(NULL, &at, 8, see, &calls));
}

struct seen {
	uint8_t keys[ENTRIES];
	int fd;
};

static int count(void *user, const void *key, const void *value)
{
	struct seen *s = user;
	uint32_t k;

	memcpy(&k, key, sizeof(k));
	s->keys[k]++;
	assert_memory_equal(key, value, 4);
	/* deleting what is under the cursor hides nothing */
	if (k % 3 == 0)
		bpf_map_delete_elem(s->fd, key);
	return 0;
}

static void test_walk(void **state)
{
	struct seen s = {.fd = maps_hash(4, 4, ENTRIES)};
	struct bn_map_cursor at = {0};
	bool more = true;
	int parts = 0;

	for (uint32_t i = 0; i < ENTRIES; i++)
		assert_int_equal(bpf_map_update_elem(s.fd, &i, &i, BPF_ANY), 0);
	while (more) {
		assert_int_equal(bn_map_walk(s.fd, &at, 100, &more, count, &s), 0);
		parts++;
	}
	assert_true(parts > 10);
	for (uint32_t i = 0; i < ENTRIES; i++)
		assert_int_equal(s.keys[i], 1);
	/* and anew from the beginning */
	memset(s.keys, 0, sizeof(s.keys));
	for (more = true; more;)
		assert_int_equal(bn_map_walk(s.fd, &at, 4096, &more, count, &s), 0);
	for (uint32_t i = 0; i < ENTRIES; i++)
		assert_int_equal(s.keys[i], i % 3 != 0);
	close(s.fd);
}

static void test_wanted(void **state)
{
	int fd = maps_hash(4, 8, 4);
	struct bn_audit_count c = {0};
	struct bn_wanted w;
	uint32_t key = 9;
	uint64_t value = 7, is;

	/* a predecessor's entry goes when nobody has set it */
	assert_int_equal(bpf_map_update_elem(fd, &key, &value, BPF_ANY), 0);
	assert_int_equal(bn_wanted_init(&w, fd), 0);
	for (key = 0; key < 3; key++) {
		value = key + 100;
		assert_int_equal(bn_wanted_set(&w, &key, &value), 0);
	}
	assert_int_equal(bn_wanted_prune(&w), 0);
	key = 9;
	assert_int_equal(bpf_map_lookup_elem(fd, &key, &is), -ENOENT);
	bn_wanted_audit(&w, &c);
	assert_int_equal(c.checked, 3);
	assert_int_equal(bn_audit_repairs(&c), 0);

	/* one gone, one changed, one strange */
	key = 0;
	bpf_map_delete_elem(fd, &key);
	key = 1;
	bpf_map_update_elem(fd, &key, &value, BPF_ANY);
	key = 77;
	bpf_map_update_elem(fd, &key, &value, BPF_ANY);
	memset(&c, 0, sizeof(c));
	bn_wanted_audit(&w, &c);
	assert_int_equal(c.missing, 1);
	assert_int_equal(c.wrong, 1);
	assert_int_equal(c.extra, 1);
	assert_int_equal(c.failed, 0);
	for (key = 0; key < 3; key++) {
		assert_int_equal(bpf_map_lookup_elem(fd, &key, &is), 0);
		assert_int_equal(is, key + 100);
	}
	key = 77;
	assert_int_equal(bpf_map_lookup_elem(fd, &key, &is), -ENOENT);

	/* what was taken away is not wanted back, what did not fit neither */
	key = 0;
	assert_int_equal(bn_wanted_remove(&w, &key), 0);
	assert_int_equal(bn_wanted_remove(&w, &key), 0);
	for (key = 10; key < 12; key++)
		assert_int_equal(bn_wanted_set(&w, &key, &value), 0);
	assert_int_equal(bn_wanted_set(&w, &key, &value), -E2BIG);
	memset(&c, 0, sizeof(c));
	bn_wanted_audit(&w, &c);
	assert_int_equal(c.checked, 4);
	assert_int_equal(bn_audit_repairs(&c) + c.failed, 0);
	bn_wanted_done(&w);
	close(fd);
}

#define MANY 3000

static union bn_addr address(uint32_t i)
{
	union bn_addr a = {.w = {htonl(0xfd000000), 0, 0, htonl(i)}};

	return a;
}

static void test_addresses(void **state)
{
	struct bn_addresses_config config = addresses_maps(2 * MANY);
	struct bn_peer_spec *peers = calloc(MANY, sizeof(*peers));
	struct bn_audit_report report = {0};
	struct bn_audit_count *c = &report.of[BN_AUDIT_ADDRESSES];
	struct bn_addresses *a = NULL;
	struct bn_epochs before, after;
	struct bn_address value;
	union bn_addr strange = address(MANY + 7);
	uint32_t zero = 0;
	int slices = 0;

	for (uint32_t i = 0; i < MANY; i++)
		peers[i] = (struct bn_peer_spec){.addr = address(i), .kind = BN_ADDR_REMOTE_POD};
	assert_int_equal(bn_addresses_new(&config, &a, NULL), 0);
	assert_int_equal(bn_addresses_peers(a, peers, MANY, NULL, 0, NULL), 0);
	bpf_map_lookup_elem(config.epochs_fd, &zero, &before);
	while (bn_addresses_audit(a, &report))
		slices++;
	assert_true(slices > 8);
	assert_true(c->checked >= MANY);
	assert_int_equal(bn_audit_repairs(c) + c->failed, 0);
	/* nothing was mended, so no flow need look again */
	bpf_map_lookup_elem(config.epochs_fd, &zero, &after);
	assert_memory_equal(&before, &after, sizeof(before));

	for (uint32_t i = 0; i < MANY; i += 10)
		bpf_map_delete_elem(config.addresses_fd, &peers[i].addr);
	bpf_map_lookup_elem(config.addresses_fd, &peers[1].addr, &value);
	bpf_map_update_elem(config.addresses_fd, &strange, &value, BPF_ANY);
	value.kind = BN_ADDR_HOST;
	bpf_map_update_elem(config.addresses_fd, &peers[1].addr, &value, BPF_ANY);
	memset(&report, 0, sizeof(report));
	/* changes of the model come between two slices */
	for (uint32_t i = 0; bn_addresses_audit(a, &report); i++)
		assert_int_equal(bn_addresses_peers(a, NULL, 0, &peers[MANY - 1 - i].addr, 1, NULL),
				 0);
	assert_in_range(c->missing, MANY / 10 - 3, MANY / 10);
	assert_int_equal(c->wrong, 1);
	assert_int_equal(c->extra, 1);
	assert_int_equal(c->failed, 0);
	assert_int_equal(bpf_map_lookup_elem(config.addresses_fd, &peers[1].addr, &value), 0);
	assert_int_equal(value.kind, BN_ADDR_REMOTE_POD);
	assert_int_equal(bpf_map_lookup_elem(config.addresses_fd, &strange, &value), -ENOENT);
	bpf_map_lookup_elem(config.epochs_fd, &zero, &after);
	assert_int_not_equal(before.slot[BN_SLOT_NONE], after.slot[BN_SLOT_NONE]);
	bn_addresses_free(a);
	free(peers);
	addresses_maps_done(&config);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_buckets),
		cmocka_unit_test(test_walk),
		cmocka_unit_test(test_wanted),
		cmocka_unit_test(test_addresses),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
