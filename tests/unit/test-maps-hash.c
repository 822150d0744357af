// SPDX-License-Identifier: Apache-2.0
/* Where the flow table's hash puts entries: what belongs together side by side, and all else anywhere. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>

#include <arpa/inet.h>
#include <bpfnet/flow.h>
#include <bpfnet/hash.h>
#include <cmocka.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>

#define SETS BN_DEFAULT_FLOW_SETS
#define HOMES (SETS / 2)
#define SETS_PER_PAGE (4096 / sizeof(struct bn_flow_set))
/* What Linux gives out for connect() by default: even ports first. */
#define PORT_FIRST 32768
#define PORT_LAST 60999

static __u64 keys[BN_HASH_KEYS];

static struct bn_tuple tuple(__u32 from, __u16 sport, __u32 to, __u16 dport)
{
	struct bn_tuple t = {.sport = htons(sport),
			     .dport = htons(dport),
			     .protocol = IPPROTO_TCP,
			     .family = BN_IPV4};

	bn_addr_set_v4(&t.saddr, htonl(from));
	bn_addr_set_v4(&t.daddr, htonl(to));
	return t;
}

static __u32 home(const struct bn_tuple *t)
{
	return bn_flow_home(bn_hash_tuple(keys, t), SETS - 1);
}

static int setup(void **state)
{
	srand(20261128);
	bn_hash_keys(0x0123456789abcdefull, keys);
	return 0;
}

static __u32 any(void)
{
	return (__u32)rand() << 16 ^ (__u32)rand();
}

/* One client's connections after each other, and their answers, each in the set beside the last one's. */
static void follows(void **state)
{
	for (int pair = 0; pair < 100; pair++) {
		__u32 client = any(), service = any(), pages = 0;

		for (__u16 port = PORT_FIRST; port < PORT_LAST - 1; port += 2) {
			struct bn_tuple t = tuple(client, port, service, 80);
			struct bn_tuple next = tuple(client, port + 2, service, 80);
			struct bn_tuple r, next_r;

			bn_tuple_reverse(&r, &t);
			bn_tuple_reverse(&next_r, &next);
			assert_int_equal((home(&t) + 1) % HOMES, home(&next));
			assert_int_equal(home(&r), home(&t) ^ 1);
			assert_int_equal(home(&next_r), home(&next) ^ 1);
			pages += home(&t) / SETS_PER_PAGE != home(&next) / SETS_PER_PAGE;
		}
		assert_in_range(pages, 0, (PORT_LAST - PORT_FIRST) / 2 / SETS_PER_PAGE + 1);
	}
}

/* Where the answers will be looked for is known from the client's first packet, whoever answers. */
static void answers(void **state)
{
	for (int i = 0; i < 10000; i++) {
		struct bn_tuple t = tuple(any(), (__u16)any() | 0x8000, any(), any() & 0x7fff);
		struct bn_tuple reply = tuple(any(), any() & 0x7fff, 0, ntohs(t.sport));
		__u32 at = (__u32)bn_hash_tuple(keys, &t), expected = at ^ BN_HASH_OPPOSITE;

		reply.daddr = t.saddr;
		assert_int_equal((__u32)bn_hash_tuple(keys, &reply), expected);
		assert_int_not_equal(bn_flow_home(at, SETS - 1), bn_flow_home(expected, SETS - 1));
	}
}

/* Two clients' ports, or two servers': both ends count, and the directions are far from each other. */
static void both_ends(void **state)
{
	static const __u16 ports[][2] = {{1025, 80}, {50051, 40000}, {32767, 0}, {65535, 32768}};
	unsigned int same = 0, beside = 0;

	for (size_t k = 0; k < sizeof(ports) / sizeof(ports[0]); k++) {
		for (int i = 0; i < 1000; i++) {
			__u32 client = any(), server = any();
			struct bn_tuple t = tuple(client, ports[k][0], server, ports[k][1]);
			struct bn_tuple other = tuple(client, ports[k][0], any(), ports[k][1]);
			struct bn_tuple reply;

			bn_tuple_reverse(&reply, &t);
			same += home(&t) == home(&other);
			beside += home(&reply) / 2 == home(&t) / 2;
		}
	}
	assert_in_range(same, 0, 5);
	assert_in_range(beside, 0, 8);
}

/* A client with many flows from one port: in one set, but what spills from there is all over the rest. */
static void one_port(void **state)
{
	static unsigned int n[SETS];
	__u32 client = any(), most = 0;
	struct bn_tuple t = tuple(client, 40000, any(), 161);
	__u32 first = home(&t);

	memset(n, 0, sizeof(n));
	for (int i = 0; i < HOMES; i++) {
		t = tuple(client, 40000, 0x0a000000 + (__u32)i, 161);
		assert_int_equal(home(&t), first);
		n[bn_flow_other(first, bn_flow_tag(bn_hash_tuple(keys, &t)), SETS - 1)]++;
	}
	for (int i = 0; i < SETS; i++) {
		if (i < HOMES)
			assert_int_equal(n[i], 0);
		most = n[i] > most ? n[i] : most;
	}
	assert_in_range(most, 3, 9); /* one a set, Poisson */
}

/* All that one pair of addresses can have towards one port: no set gets more than its share. */
static void shares(void **state)
{
	static unsigned int n[HOMES];
	__u32 client = any(), service = any();

	memset(n, 0, sizeof(n));
	for (__u32 port = PORT_FIRST; port <= PORT_LAST; port++) {
		struct bn_tuple t = tuple(client, (__u16)port, service, 443);

		n[home(&t)]++;
	}
	for (int i = 0; i < HOMES; i++)
		assert_in_range(n[i], 0, 2);
}

/* Tags are what tells entries of one set apart before their keys do. */
static void tags_differ(void **state)
{
	static unsigned char seen[1 << 29];
	__u32 client = any(), service = any();
	unsigned int twice = 0;

	for (__u32 port = 0; port <= 0xffff; port++) {
		struct bn_tuple t = tuple(client, (__u16)port, service, 443);
		__u32 tag = bn_flow_tag(bn_hash_tuple(keys, &t));

		twice += seen[tag >> 3] >> (tag & 7) & 1;
		seen[tag >> 3] |= (unsigned char)(1 << (tag & 7));
	}
	assert_in_range(twice, 0, 1); /* the lowest bit is always set */
}

/*
 * Flows of many ends: sets get as many as by throwing dice, ways of a set as well, and both sets of an
 * entry do not follow from each other. 98,304 entries are 6 a set; more than 7 are then in a quarter of
 * them (Poisson), of 16,384 sets 4,190 with a deviation of 56.
 */
static void spreads(void **state)
{
	static unsigned int n[HOMES], way[BN_WAYS], others[SETS];
	unsigned int over = 0, empty = 0;

	memset(n, 0, sizeof(n));
	memset(others, 0, sizeof(others));
	for (int i = 0; i < 6 * HOMES; i++) {
		/* addresses that differ in few bits, as those of one cluster do */
		struct bn_tuple t = tuple(0x0af40000 | (any() & 0xfff), (__u16)(any() | 0x8000),
					  0x0a600000 | (any() & 0x3ff), 80);
		__u64 hash = bn_hash_tuple(keys, &t);
		__u32 tag = bn_flow_tag(hash);

		n[home(&t)]++;
		way[bn_flow_way(hash)]++;
		others[bn_flow_other(home(&t), tag, SETS - 1)]++;
	}
	for (int i = 0; i < HOMES; i++) {
		over += n[i] > BN_WAYS;
		empty += !n[i];
		assert_int_equal(others[i], 0);
		assert_in_range(others[HOMES + i], 0, 24);
	}
	assert_in_range(over, 4190 - 5 * 56, 4190 + 5 * 56);
	assert_in_range(empty, 10, 80);
	for (int i = 0; i < BN_WAYS; i++)
		assert_in_range(way[i], 6 * HOMES / BN_WAYS - 700, 6 * HOMES / BN_WAYS + 700);
}

/* Two ports of one pair are as far from each other wherever the pair is, and that is secret. */
static void secret(void **state)
{
	struct bn_tuple t = tuple(0x0af40001, 40000, 0x0a600001, 80);
	struct bn_tuple other = tuple(0x0af40002, 40000, 0x0a600001, 80);
	__u32 at[64], apart[64];
	unsigned int same_at = 0, same_apart = 0;

	for (int i = 0; i < 64; i++) {
		bn_hash_keys(any(), keys);
		at[i] = home(&t);
		apart[i] = (home(&other) - home(&t)) % HOMES;
		for (int k = 0; k < i; k++) {
			same_at += at[k] == at[i];
			same_apart += apart[k] == apart[i];
		}
	}
	assert_in_range(same_at, 0, 3);
	assert_in_range(same_apart, 0, 3);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(follows, setup),
		cmocka_unit_test_setup(answers, setup),
		cmocka_unit_test_setup(both_ends, setup),
		cmocka_unit_test_setup(one_port, setup),
		cmocka_unit_test_setup(shares, setup),
		cmocka_unit_test_setup(tags_differ, setup),
		cmocka_unit_test_setup(spreads, setup),
		cmocka_unit_test_setup(secret, setup),
	};

	return cmocka_run_group_tests_name("hash", tests, NULL, NULL);
}
