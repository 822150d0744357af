// SPDX-License-Identifier: Apache-2.0
/*
 * The ring buffer's reader: which records are refused, and the whole way through a real ring
 * buffer, filled by a small BPF program that puts the packet it is run on into a record. The
 * latter needs the right to load programs, and is skipped without.
 */
#include "unit/flows-fixture.h"

#include <bpf/bpf.h>
#include <linux/bpf.h>
#include <linux/pkt_cls.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include "flows/observer.h"
#include "flows/reader.h"

static void test_good_records(void **state)
{
	struct bn_event e =
		fixture_event(BN_EVENT_FLOW_OPENED, IPPROTO_TCP, "10.0.0.1", 1, "10.0.0.2", 2);
	struct bn_event got;

	assert_int_equal(bn_event_check(&e, sizeof(e), &got), 0);
	assert_memory_equal(&got, &e, sizeof(e));
	e.header.type = BN_EVENT_FLOW_CLOSED;
	e.cause = BN_CLOSE_STALE;
	e.hook = 0;
	assert_int_equal(bn_event_check(&e, sizeof(e), &got), 0);
	e = fixture_event(BN_EVENT_DROP, IPPROTO_TCP, "fd00::1", 1, "::ffff", 2);
	e.reason = BN_DROP_MAX - 1;
	assert_int_equal(bn_event_check(&e, sizeof(e), &got), 0);
	memset(&e.tuple, 0, sizeof(e.tuple));
	assert_int_equal(bn_event_check(&e, sizeof(e), &got), 0);
}

static void test_malformed_records(void **state)
{
	const struct bn_event good =
		fixture_event(BN_EVENT_FLOW_OPENED, IPPROTO_TCP, "10.0.0.1", 1, "10.0.0.2", 2);
	struct bn_event got;
	static const struct {
		const char *what;
		size_t offset;
		uint8_t value;
	} edits[] = {
		{"version 0", offsetof(struct bn_event, header.version), 0},
		{"next version", offsetof(struct bn_event, header.version), BN_EVENT_VERSION + 1},
		{"type 0", offsetof(struct bn_event, header.type), 0},
		{"unknown type", offsetof(struct bn_event, header.type), BN_EVENT_AUDIT + 1},
		{"closed without a cause", offsetof(struct bn_event, header.type),
		 BN_EVENT_FLOW_CLOSED},
		{"drop without a reason", offsetof(struct bn_event, header.type), BN_EVENT_DROP},
		{"audit without a reason", offsetof(struct bn_event, header.type), BN_EVENT_AUDIT},
		{"size", offsetof(struct bn_event, header.size), 8},
		{"no hook", offsetof(struct bn_event, hook), 0},
		{"unknown hook", offsetof(struct bn_event, hook), BN_HOOK_XDP},
		{"hook beyond", offsetof(struct bn_event, hook), BN_HOOK_TO_UPLINK + 1},
		{"unknown reason", offsetof(struct bn_event, reason), BN_DROP_MAX},
		{"unknown cause", offsetof(struct bn_event, cause), BN_CLOSE_STALE + 1},
		{"unknown closer", offsetof(struct bn_event, closed_by),
		 BN_CLOSED_BY_DESTINATION + 1},
		{"no family", offsetof(struct bn_event, tuple.family), 0},
		{"unknown family", offsetof(struct bn_event, tuple.family), 10},
	};

	for (size_t i = 0; i < sizeof(edits) / sizeof(*edits); i++) {
		struct bn_event e = good;

		((uint8_t *)&e)[edits[i].offset] = edits[i].value;
		if (bn_event_check(&e, sizeof(e), &got) != -EBADMSG)
			fail_msg("%s: taken", edits[i].what);
	}
	for (size_t size = 0; size < sizeof(good); size++) {
		void *cut = malloc(size ? size : 1); /* so that a sanitizer sees what is read */

		memcpy(cut, &good, size);
		assert_int_equal(bn_event_check(cut, size, &got), -EBADMSG);
		free(cut);
	}
}

static void test_realtime(void **state)
{
	struct timespec mono, real;
	uint64_t m, r, got;

	clock_gettime(CLOCK_MONOTONIC, &mono);
	clock_gettime(CLOCK_REALTIME, &real);
	m = (uint64_t)mono.tv_sec * 1000000000 + (uint64_t)mono.tv_nsec;
	r = (uint64_t)real.tv_sec * 1000000000 + (uint64_t)real.tv_nsec;
	got = bn_event_realtime(m - 5000000000);
	assert_true(got > r - 5050000000 && got < r - 4950000000);
	assert_true(bn_event_realtime(0) >= r);
	assert_true(bn_event_realtime(UINT64_MAX) < r + 1000000000);
}

/*
 * A classifier: the first `size` bytes of the packet become a record of the ring buffer, submitted
 * with `flags`.
 */
static int program_new(int ring_fd, int size, int flags)
{
	const struct bpf_insn code[] = {
		/* bpf_skb_load_bytes(skb, 0, fp - 160, 160) */
		{.code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = 2, .imm = 0},
		{.code = BPF_ALU64 | BPF_MOV | BPF_X, .dst_reg = 3, .src_reg = 10},
		{.code = BPF_ALU64 | BPF_ADD | BPF_K, .dst_reg = 3, .imm = -160},
		{.code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = 4, .imm = 160},
		{.code = BPF_JMP | BPF_CALL, .imm = BPF_FUNC_skb_load_bytes},
		/* where that fails: 1 */
		{.code = BPF_JMP | BPF_JEQ | BPF_K, .dst_reg = 0, .imm = 0, .off = 2},
		{.code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = 0, .imm = 1},
		{.code = BPF_JMP | BPF_EXIT},
		/* return bpf_ringbuf_output(ring, fp - 160, size, flags) */
		{.code = BPF_LD | BPF_DW | BPF_IMM,
		 .dst_reg = 1,
		 .src_reg = BPF_PSEUDO_MAP_FD,
		 .imm = ring_fd},
		{0},
		{.code = BPF_ALU64 | BPF_MOV | BPF_X, .dst_reg = 2, .src_reg = 10},
		{.code = BPF_ALU64 | BPF_ADD | BPF_K, .dst_reg = 2, .imm = -160},
		{.code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = 3, .imm = size},
		{.code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = 4, .imm = flags},
		{.code = BPF_JMP | BPF_CALL, .imm = BPF_FUNC_ringbuf_output},
		{.code = BPF_JMP | BPF_EXIT},
	};

	return bpf_prog_load(BPF_PROG_TYPE_SCHED_CLS, "bn_test_events", "Apache-2.0", code,
			     sizeof(code) / sizeof(*code), NULL);
}

/* Returns what the program did: 0, or 1 and the like where the record did not fit. */
static uint32_t put(int program, const struct bn_event *e)
{
	LIBBPF_OPTS(bpf_test_run_opts, opts, .data_in = e, .data_size_in = sizeof(*e));

	assert_int_equal(bpf_prog_test_run_opts(program, &opts), 0);
	return opts.retval;
}

struct ring {
	sd_event *loop;
	struct bn_names *names;
	struct bn_observer *observer;
	int map, whole, cut,
		still; /* programs: a whole record, one cut short, one that wakes nobody */
	uint64_t lost;
	size_t lines;
	char *line;
	uint64_t told;
};

static int read_lost(void *user, uint64_t *ret)
{
	const struct ring *r = user;

	*ret = r->lost;
	return 0;
}

static int on_line(void *user, const char *line, size_t len)
{
	struct ring *r = user;
	enum bn_lost_source source;
	uint64_t lost;

	if (fixture_lost(line, &source, &lost)) {
		assert_int_equal(source, BN_LOST_DATAPATH);
		r->told += lost;
		return 0;
	}
	free(r->line);
	r->line = strndup(line, len);
	r->lines++;
	return 0;
}

static long resident_kib(void)
{
	FILE *f = fopen("/proc/self/statm", "re");
	long pages = 0;

	assert_int_equal(fscanf(f, "%*d %ld", &pages), 1);
	(void)fclose(f);
	return pages * (sysconf(_SC_PAGESIZE) / 1024);
}

static int ring_setup(void **state)
{
	static struct ring r;
	struct bn_observer_config config = {
		.node_name = "node-a", .lost = read_lost, .user = &r, .history = 100};
	long before;

	r = (struct ring){.whole = -1, .cut = -1, .still = -1};
	*state = NULL;
	r.map = bpf_map_create(BPF_MAP_TYPE_RINGBUF, "bn_test_events", 0, 0, 256 * 1024, NULL);
	if (r.map < 0)
		return 0;
	r.whole = program_new(r.map, 160, 0);
	r.cut = program_new(r.map, 24, 0);
	r.still = program_new(r.map, 160, BPF_RB_NO_WAKEUP);
	assert_true(r.whole >= 0 && r.cut >= 0 && r.still >= 0);
	assert_int_equal(sd_event_new(&r.loop), 0);
	assert_int_equal(bn_names_new(NULL, &r.names), 0);
	fixture_pod(r.names, "10.0.0.1", "default", "client", 300, "client");
	config.events_fd = r.map;
	config.names = r.names;
	before = resident_kib();
	assert_int_equal(bn_observer_new(r.loop, &config, &r.observer), 0);
	print_message("ring buffer of 256 KiB: %ld KiB resident\n", resident_kib() - before);
	*state = &r;
	return 0;
}

static int ring_teardown(void **state)
{
	struct ring *r = *state;

	if (!r)
		return 0;
	bn_observer_free(r->observer);
	bn_names_free(r->names);
	sd_event_unref(r->loop);
	close(r->whole);
	close(r->cut);
	close(r->still);
	close(r->map);
	free(r->line);
	return 0;
}

static void test_through_the_ring(void **state)
{
	struct ring *r = *state;
	struct bn_event e = fixture_event(BN_EVENT_FLOW_OPENED, IPPROTO_TCP, "10.0.0.1", 1000,
					  "203.0.113.9", 80);
	struct bn_flow_query q = {.follow = true};
	struct bn_subscription *sub;
	struct bn_observer_stats s;

	if (!r)
		skip();
	assert_int_equal(bn_observer_subscribe(r->observer, &q, on_line, NULL, r, &sub), 0);
	while (sd_event_run(r->loop, 0) > 0)
		;
	assert_int_equal(put(r->whole, &e), 0);
	assert_int_equal(put(r->cut, &e), 0);
	e.header.version = 9;
	assert_int_equal(put(r->whole, &e), 0);
	while (sd_event_run(r->loop, 0) > 0)
		;
	bn_observer_stats(r->observer, &s);
	assert_int_equal(s.received, 3);
	assert_int_equal(s.malformed, 2);
	assert_int_equal(s.opened, 1);
	assert_int_equal(r->lines, 1);
	assert_non_null(strstr(r->line, "\"pod_name\":\"client\""));
	bn_subscription_free(sub);
}

static uint64_t received(struct ring *r)
{
	struct bn_observer_stats s;

	bn_observer_stats(r->observer, &s);
	return s.received;
}

/* Records that wake nobody are found after one that did, for as long as there are any. */
static void test_silent_records(void **state)
{
	struct ring *r = *state;
	struct bn_event e =
		fixture_event(BN_EVENT_DROP, IPPROTO_TCP, "10.0.0.1", 1000, "203.0.113.9", 80);
	unsigned int turns = 0;

	if (!r)
		skip();
	while (sd_event_run(r->loop, 0) > 0)
		;
	assert_int_equal(put(r->whole, &e), 0);
	while (received(r) < 1)
		assert_true(sd_event_run(r->loop, 10000000) > 0);
	for (unsigned int i = 2; i < 10; i++) {
		assert_int_equal(put(r->still, &e), 0);
		while (received(r) < i)
			assert_true(sd_event_run(r->loop, 10000000) > 0);
	}
	/* then it sleeps: nothing for longer than its last look takes */
	while (sd_event_run(r->loop, 3000000) > 0)
		turns++;
	assert_in_range(turns, 1, 20);
}

static int count_other(sd_event_source *source, int fd, uint32_t revents, void *user)
{
	++*(unsigned int *)user;
	return 0;
}

static void test_storm(void **state)
{
	struct ring *r = *state;
	struct bn_event e = fixture_event(BN_EVENT_FLOW_OPENED, IPPROTO_TCP, "10.0.0.1", 1000,
					  "203.0.113.9", 80);
	struct bn_flow_query q = {.follow = true};
	struct bn_subscription *sub;
	struct bn_observer_stats s;
	sd_event_source *source;
	unsigned int sent = 0, others = 0, turns = 0;
	int fd;

	if (!r)
		skip();
	assert_int_equal(bn_observer_subscribe(r->observer, &q, on_line, NULL, r, &sub), 0);
	while (sd_event_run(r->loop, 0) > 0)
		;
	while (put(r->whole, &e) == 0)
		sent++;
	r->lost = 1; /* what the datapath's counter says now */
	assert_true(sent > 4 * BN_READER_BUDGET);
	fd = eventfd(1, EFD_CLOEXEC);
	assert_true(sd_event_add_io(r->loop, &source, fd, EPOLLIN, count_other, &others) >= 0);
	do {
		assert_true(sd_event_run(r->loop, 0) > 0);
		bn_observer_stats(r->observer, &s);
		turns++;
	} while (s.received < sent && turns < 10000);
	assert_int_equal(s.received, sent);
	assert_int_equal(s.malformed, 0);
	assert_int_equal(s.lost, 1);
	assert_int_equal(r->lines, sent);
	assert_int_equal(r->told, 1);
	assert_in_range(turns, sent / BN_READER_BUDGET, 3 * sent / BN_READER_BUDGET + 3);
	assert_true(others >= sent / BN_READER_BUDGET / 2); /* the storm let others pass */
	sd_event_source_unref(source);
	close(fd);
	bn_subscription_free(sub);
}

/* A record may be refused while there is room for it: where a lock can't be had in time. */
static void test_lost_with_room(void **state)
{
	struct ring *r = *state;
	struct bn_event e = fixture_event(BN_EVENT_FLOW_OPENED, IPPROTO_TCP, "10.0.0.1", 1000,
					  "203.0.113.9", 80);
	struct bn_flow_query q = {.follow = true}, other = {.follow = true};
	struct bn_subscription *sub, *second;
	struct bn_observer_stats s;

	if (!r)
		skip();
	assert_int_equal(bn_observer_subscribe(r->observer, &q, on_line, NULL, r, &sub), 0);
	assert_int_equal(bn_observer_subscribe(r->observer, &other, on_line, NULL, r, &second), 0);
	r->lost = 3;
	assert_int_equal(put(r->whole, &e), 0);
	while (sd_event_run(r->loop, 0) > 0)
		;
	assert_int_equal(r->lines, 2);
	assert_int_equal(r->told, 6); /* to each of both */
	bn_observer_stats(r->observer, &s);
	assert_int_equal(s.lost, 3);
	assert_int_equal(s.reader_lost, 0); /* which was no reader's fault */
	bn_subscription_free(sub);
	bn_subscription_free(second);
}

/* The map's descriptor is borrowed for the call only. */
static void test_closed_descriptor(void **state)
{
	struct ring *r = *state;
	struct bn_event e =
		fixture_event(BN_EVENT_DROP, IPPROTO_TCP, "10.0.0.1", 1000, "203.0.113.9", 80);
	struct bn_observer_stats s;

	if (!r)
		skip();
	close(r->map);
	r->map = -1;
	assert_int_equal(put(r->whole, &e), 0);
	assert_true(sd_event_run(r->loop, 1000000) > 0);
	bn_observer_stats(r->observer, &s);
	assert_int_equal(s.dropped, 1);
}

static void run_out(struct ring *r)
{
	while (sd_event_run(r->loop, 0) > 0)
		;
}

/* n records, told apart by their source port. */
static void put_many(struct ring *r, int program, unsigned int first, unsigned int n)
{
	struct bn_event e =
		fixture_event(BN_EVENT_FLOW_OPENED, IPPROTO_TCP, "10.0.0.1", 0, "203.0.113.9", 80);

	for (unsigned int i = 0; i < n; i++) {
		e.tuple.sport = htons((uint16_t)(first + i));
		assert_int_equal(put(program, &e), 0);
	}
}

/* The agent is gone, and another one has the map. How many flows it finds. */
static unsigned int again(struct ring *r, size_t history)
{
	struct bn_observer_config config = {
		.events_fd = r->map, .node_name = "node-a", .names = r->names, .history = history};
	struct bn_observer_stats s;
	int n;

	bn_observer_free(r->observer);
	r->observer = NULL;
	assert_int_equal(bn_observer_new(r->loop, &config, &r->observer), 0);
	n = bn_observer_restore(r->observer, r->map);
	bn_observer_stats(r->observer, &s);
	assert_int_equal(s.restored, n);
	assert_int_equal(s.kept, n);
	assert_int_equal(s.opened, 0);
	return (unsigned int)n;
}

/* What is kept is what has these ports, in order. */
static void expect_ports(const struct ring *r, unsigned int first, unsigned int n)
{
	const struct bn_history *h = bn_observer_history(r->observer);
	uint64_t at = bn_history_oldest(h);

	assert_int_equal(bn_history_next(h) - at, n);
	for (unsigned int i = 0; i < n; i++) {
		const struct bn_flow_record *f = bn_history_at(h, at + i);

		assert_int_equal(ntohs(f->event.tuple.sport), first + i);
		assert_string_equal(bn_name_text(f->source), "client");
	}
}

static void test_restored(void **state)
{
	struct ring *r = *state;

	if (!r)
		skip();
	assert_int_equal(again(r, 0), 0);
	put_many(r, r->whole, 1, 10);
	run_out(r);
	put_many(r, r->whole, 11, 3); /* while nobody runs */
	assert_int_equal(again(r, 0), 10);
	expect_ports(r, 1, 10);
	run_out(r);
	expect_ports(r, 1, 13);
	assert_int_equal(again(r, 0), 13);
	expect_ports(r, 1, 13);
	assert_int_equal(again(r, 5), 5);
	expect_ports(r, 9, 5);
}

/* A ring that has come round, and has unread records as well. */
static void test_restored_from_a_full_ring(void **state)
{
	const unsigned int records = 256 * 1024 / (8 + sizeof(struct bn_event));
	struct ring *r = *state;
	struct bn_event e =
		fixture_event(BN_EVENT_FLOW_OPENED, IPPROTO_TCP, "10.0.0.1", 0, "203.0.113.9", 80);
	unsigned int n, at = 1, unread = 0;

	if (!r)
		skip();
	for (; at <= 4000; at += 400) {
		put_many(r, r->whole, at, 400);
		run_out(r);
	}
	n = again(r, 10000);
	/* all but the one that the datapath might be about to write over */
	assert_in_range(n, records - 2, records - 1);
	expect_ports(r, at - n, n);
	put_many(r, r->whole, at, 1000);
	n = again(r, 10000);
	assert_in_range(n, records - 1002, records - 1001);
	expect_ports(r, at - n, n);
	while (put(r->whole, &e) == 0)
		unread++;
	assert_in_range(unread, 1, records);
	assert_int_equal(again(r, 10000), 0);
	run_out(r);
	assert_int_equal(received(r), 1000 + unread);
}

/* What can't be a record ends it, what is no good one is left out. */
static void test_restored_among_rubbish(void **state)
{
	struct ring *r = *state;
	struct bn_event bad =
		fixture_event(BN_EVENT_FLOW_OPENED, IPPROTO_TCP, "10.0.0.1", 0, "203.0.113.9", 80);

	if (!r)
		skip();
	bad.hook = BN_HOOK_XDP;
	put_many(r, r->whole, 1, 5);
	put_many(r, r->cut, 6, 1);
	put_many(r, r->whole, 7, 2);
	assert_int_equal(put(r->whole, &bad), 0);
	put_many(r, r->whole, 9, 2);
	run_out(r);
	assert_int_equal(again(r, 0), 4);
	expect_ports(r, 7, 4);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_good_records),
		cmocka_unit_test(test_malformed_records),
		cmocka_unit_test(test_realtime),
		cmocka_unit_test_setup_teardown(test_through_the_ring, ring_setup, ring_teardown),
		cmocka_unit_test_setup_teardown(test_silent_records, ring_setup, ring_teardown),
		cmocka_unit_test_setup_teardown(test_storm, ring_setup, ring_teardown),
		cmocka_unit_test_setup_teardown(test_lost_with_room, ring_setup, ring_teardown),
		cmocka_unit_test_setup_teardown(test_restored, ring_setup, ring_teardown),
		cmocka_unit_test_setup_teardown(test_restored_from_a_full_ring, ring_setup,
						ring_teardown),
		cmocka_unit_test_setup_teardown(test_restored_among_rubbish, ring_setup,
						ring_teardown),
		cmocka_unit_test_setup_teardown(test_closed_descriptor, ring_setup, ring_teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
