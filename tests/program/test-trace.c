// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/* The programs that trace: they do what the plain ones do, and tell of it what a filter wants. */
#include "lib/program.h"

#include <arpa/inet.h>
#include <bpfnet/trace.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "trace.skel.h"

static struct bn_trace *skel;
static struct ring_buffer *ring;
static struct bn_trace_record record;
static unsigned int records;

static int on_record(void *user, void *data, size_t size)
{
	if (size == sizeof(record))
		memcpy(&record, data, sizeof(record));
	records++;
	return 0;
}

/* The rig's maps, but for those that are the traces' own. */
static void load(struct bn_rig *rig)
{
	struct bpf_map *m, *theirs;
	int r;

	skel = bn_trace__open();
	if (!skel)
		bn_rig_die("trace.skel.h", errno);
	memcpy((void *)&skel->rodata->bn_config, &rig->config, sizeof(rig->config));
	bpf_object__for_each_map(m, skel->obj)
	{
		theirs = NULL;
		for (int i = 0; i < 3 && !theirs; i++)
			theirs = bpf_object__find_map_by_name(rig->objects[i], bpf_map__name(m));
		if (theirs && !bpf_map__is_internal(m) && bpf_map__reuse_fd(m, bpf_map__fd(theirs)))
			bn_rig_die(bpf_map__name(m), errno);
	}
	r = bpf_object__load(skel->obj);
	if (r)
		bn_rig_die("loading the programs that trace", -r);
	ring = ring_buffer__new(bpf_map__fd(skel->maps.bn_trace_ring), on_record, NULL, NULL);
	if (!ring)
		bn_rig_die("ring_buffer__new", errno);
}

static void want(const struct bn_trace_filter *filter)
{
	struct bn_trace_filter f = *filter;
	struct timespec ts;
	uint32_t slot = 3;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	f.expires += ((uint64_t)ts.tv_sec + 100) * 1000000000;
	if (bpf_map_update_elem(bpf_map__fd(skel->maps.bn_trace_filter), &slot, &f, BPF_ANY))
		bn_rig_die("bn_trace_filter", errno);
}

static const struct bn_trace_filter everything = {
	.verdicts = BN_TRACE_FORWARDED | BN_TRACE_DROPPED,
};

/* A packet through the traced program of a pod. */
static int pass(struct bn_rig *rig, const struct bn_step *s, int family, struct bn_result *ret)
{
	struct bn_packet in;

	if (!skel)
		load(rig);
	memset(&record, 0, sizeof(record));
	records = 0;
	bn_step_packet(rig, s, family, &in);
	bn_rig_run_fd(rig, bpf_program__fd(skel->progs.bn_trace_from_pod),
		      rig->dev[s->device].ifindex, 0, &in, 1, ret);
	ring_buffer__consume(ring);
	ring_buffer__consume(rig->ring);
	if (records == 1 && memcmp(record.bytes, in.data, record.captured))
		records = 99;
	return ret->verdict;
}

static const struct bn_step syn = {FROM(BN_POD_A), TCP("A", 4000, "VIP", 80, SYN)};

static const char *delivers(struct bn_rig *rig, int family)
{
	const struct bn_step steps[] = {
		{FROM(BN_POD_A), TCP("A", 4000, "VIP", 80, SYN)},
		{FROM(BN_POD_B), TCP("B", 8080, "A", 4000, SYN | ACK)},
		{FROM(BN_POD_A), TCP("A", 4000, "VIP", 80, ACK)},
		/* the established path's */
		{FROM(BN_POD_A), TCP("A", 4000, "VIP", 80, ACK)},
		{FROM(BN_POD_B), TCP("B", 8080, "A", 4000, ACK)},
	};
	struct bn_result result;
	uint64_t packet = 0;

	if (!skel)
		load(rig);
	want(&everything);
	bn_rig_forget(rig);
	for (size_t i = 0; i < sizeof(steps) / sizeof(steps[0]); i++) {
		bool reply = steps[i].device == BN_POD_B;
		struct bn_tuple key =
			reply ? bn_tuple_make(family, IPPROTO_TCP, "B", 8080, "A", 4000)
			      : bn_tuple_make(family, IPPROTO_TCP, "A", 4000, "VIP", 80);
		union bn_addr to = bn_rig_addr(reply ? "A" : "B", family);
		union bn_addr from = bn_rig_addr(reply ? "VIP" : "A", family);

		if (pass(rig, &steps[i], family, &result) != 7)
			return "not redirected";
		if (records != 1 || record.traces != 8)
			return "not one record";
		if (record.action != BN_TRACE_DELIVERED || record.event.reason ||
		    record.to_ifindex != rig->dev[reply ? BN_POD_A : BN_POD_B].ifindex ||
		    record.event.ifindex != rig->dev[steps[i].device].ifindex)
			return "not delivered to the other one";
		if (memcmp(&record.event.tuple, &key, sizeof(key)))
			return "the packet as it came is another";
		if (!bn_addr_equal(&record.event.to_daddr, &to) ||
		    !bn_addr_equal(&record.event.to_saddr, &from) ||
		    record.event.to_dport != htons(reply ? 4000 : 8080))
			return "the packet as it leaves is another";
		if (!!(record.event.flags & BN_FLOW_ORIGIN) == reply)
			return "the wrong direction";
		/* of a known flow's packet nobody has looked for the ends */
		if (i ? record.event.src_identity || record.event.dst_identity
		      : !record.event.src_identity || !record.event.dst_identity)
			return "the ends are not those that the packet's decision knew";
		if (record.packet == packet)
			return "two packets of one number";
		packet = record.packet;
	}
	return NULL;
}

static const char *tells_why(struct bn_rig *rig, int family)
{
	const struct bn_step refused = {FROM(BN_POD_A), TCP("A", 4001, "VIP3", 80, SYN)};
	const struct bn_step spoofed = {FROM(BN_POD_A), TCP("C", 4001, "B", 80, SYN)};
	struct bn_trace_filter drops = {.verdicts = BN_TRACE_DROPPED};
	struct bn_result result;

	if (!skel)
		load(rig);
	bn_rig_forget(rig);
	want(&drops);
	if (pass(rig, &refused, family, &result) != 7 || records != 1 ||
	    record.event.reason != BN_DROP_SERVICE_NO_BACKEND || record.action != BN_TRACE_ANSWERED)
		return "a refusal is not told";
	if (pass(rig, &spoofed, family, &result) != 2 || records != 1 ||
	    record.event.reason != BN_DROP_SPOOFED_SOURCE || record.action != BN_TRACE_DROP)
		return "a drop is not told";
	drops.reasons = 1ull << BN_DROP_SPOOFED_SOURCE;
	want(&drops);
	if (pass(rig, &refused, family, &result) != 7 || records)
		return "another reason is told";
	return pass(rig, &syn, family, &result) != 7 || records ? "what is no drop is told" : NULL;
}

static struct bn_trace_addr addr_of(const char *name, int family, unsigned int kind,
				    unsigned int ends)
{
	struct bn_trace_addr a = {.addr = bn_rig_addr(name, family),
				  .kind = 1u << kind,
				  .ends = (__u16)ends,
				  .family = (__u16)family};

	memset(&a.mask, 255, sizeof(a.mask));
	return a;
}

static const char *filters(struct bn_rig *rig, int family)
{
	static const struct {
		const char *what, *addr;
		unsigned int kind, ends;
		__u16 port;
		unsigned int port_ends;
		__u8 protocol, flags;
		unsigned int told;
	} cases[] = {
		{"either end", "A", BN_TRACE_IP, 3, 0, 0, 0, 0, 1},
		{"the source", "A", BN_TRACE_FROM_IP, 1, 0, 0, 0, 0, 1},
		{"not the destination", "A", BN_TRACE_TO_IP, 2, 0, 0, 0, 0, 0},
		{"the service", "VIP", BN_TRACE_TO_IP, 2, 80, 2, 0, 0, 1},
		{"the backend", "B", BN_TRACE_TO_IP, 2, 8080, 2, 0, 0, 1},
		{"neither before nor behind the translation", "VIP", BN_TRACE_TO_IP, 2, 8080, 2, 0,
		 0, 0},
		{"another port", "A", BN_TRACE_IP, 3, 81, 3, 0, 0, 0},
		{"another end's port", "A", BN_TRACE_IP, 3, 80, 1, 0, 0, 0},
		{"the protocol", NULL, 0, 0, 0, 0, IPPROTO_TCP, 0, 1},
		{"another protocol", NULL, 0, 0, 0, 0, IPPROTO_UDP, 0, 0},
		{"the flags", NULL, 0, 0, 0, 0, 0, SYN, 1},
		{"more flags", NULL, 0, 0, 0, 0, 0, SYN | ACK, 0},
	};
	struct bn_result result;

	if (!skel)
		load(rig);
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct bn_trace_filter f = everything;

		memset(f.protocols, BN_TRACE_NO_PROTOCOL, sizeof(f.protocols));
		if (cases[i].addr) {
			/* the last place is as good as the first */
			f.addrs[BN_TRACE_ADDRS - 1] =
				addr_of(cases[i].addr, family, cases[i].kind, cases[i].ends);
			f.wanted |= 1u << cases[i].kind;
		}
		if (cases[i].port) {
			f.ports[BN_TRACE_PORTS - 1] =
				(struct bn_trace_port){.port = htons(cases[i].port),
						       .ends = (__u16)cases[i].port_ends,
						       .kind = 1u << BN_TRACE_PORT};
			f.wanted |= 1u << BN_TRACE_PORT;
		}
		if (cases[i].protocol) {
			f.protocols[1] = cases[i].protocol;
			f.wanted |= 1u << BN_TRACE_PROTOCOL;
		}
		if (cases[i].flags) {
			f.flags[1] = cases[i].flags;
			f.wanted |= 1u << BN_TRACE_TCP_FLAGS;
		}
		want(&f);
		bn_rig_forget(rig);
		if (pass(rig, &syn, family, &result) != 7)
			return "not redirected";
		if (records != cases[i].told)
			return cases[i].what;
	}
	return NULL;
}

/* Sets all CPUs' values of a map's element. */
static void set_all(const struct bpf_map *map, uint32_t key, const void *value, size_t size,
		    const struct bn_rig *rig)
{
	size_t room = (bpf_map__value_size(map) + 7) & ~7ul;
	char *values = calloc((size_t)rig->cpus, room);

	for (int i = 0; values && i < rig->cpus && value; i++)
		memcpy(values + (size_t)i * room, value, size);
	if (!values || bpf_map_update_elem(bpf_map__fd(map), &key, values, BPF_ANY))
		bn_rig_die(bpf_map__name(map), errno);
	free(values);
}

static const char *ends_by_itself(struct bn_rig *rig, int family)
{
	struct bn_trace_count spent = {.sent = BN_TRACE_RATE}, *counts;
	struct bn_trace_filter old = everything;
	struct bn_result result;
	struct timespec ts;
	uint64_t over = 0;
	uint32_t slot = 3;

	if (!skel)
		load(rig);
	bn_rig_forget(rig);
	want(&everything);
	clock_gettime(CLOCK_MONOTONIC, &ts);
	spent.window = (uint64_t)(ts.tv_sec + 50) * 1000000000;
	set_all(skel->maps.bn_trace_counts, slot, &spent, sizeof(spent), rig);
	if (pass(rig, &syn, family, &result) != 7 || !records)
		return "a window of the future is one";
	spent.window = (uint64_t)ts.tv_sec * 1000000000 + (uint64_t)ts.tv_nsec;
	set_all(skel->maps.bn_trace_counts, slot, &spent, sizeof(spent), rig);
	counts = calloc((size_t)rig->cpus, sizeof(*counts));
	if (pass(rig, &syn, family, &result) != 7 || records || !counts ||
	    bpf_map_lookup_elem(bpf_map__fd(skel->maps.bn_trace_counts), &slot, counts))
		return "more than the rate is told";
	for (int i = 0; i < rig->cpus; i++)
		over += counts[i].suppressed;
	free(counts);
	set_all(skel->maps.bn_trace_counts, slot, NULL, 0, rig);
	if (over != 1)
		return "what is over the rate is not counted";
	old.expires = -101ull * 1000000000;
	want(&old);
	if (pass(rig, &syn, family, &result) != 7 || records)
		return "an expired filter is told of";
	want(&everything);
	if (pass(rig, &syn, family, &result) != 7 || records)
		return "whoever sleeps looks again too soon";
	set_all(skel->maps.bn_trace_state, 0, NULL, 0, rig);
	return NULL;
}

static const struct bn_case cases[] = {
	{"delivers what the plain program would, and tells", .run = delivers},
	{"tells why a packet is dropped", .run = tells_why},
	{"tells what the filter wants", .run = filters},
	{"a rate, and an end by itself", .run = ends_by_itself},
};

int main(void)
{
	return bn_program_main("trace", cases, sizeof(cases) / sizeof(cases[0]), NULL);
}
