// SPDX-License-Identifier: Apache-2.0
/*
 * Headers that lie, and random bytes: whatever comes, nothing is forwarded that an honest parser
 * would not forward, and nothing is forwarded changed in a way that it would not verify.
 */
#include "lib/program.h"

#include <string.h>

#define OPENED [BN_CNT_FLOWS_OPENED] = 1, [BN_CNT_DECISIONS] = 1

static int leaves(int verdict)
{
	return verdict == 7;
}

/* Every length from the link header to one byte short of the packet. */
static const char *truncations_of(struct bn_rig *rig, int family, const struct bn_step *s)
{
	static char why[256];
	struct bn_packet whole, cut;
	struct bn_result r;

	bn_step_packet(rig, s, family, &whole);
	for (size_t len = 14; len < whole.len; len++) {
		cut = whole;
		cut.len = len;
		bn_rig_run(rig, s->hook, s->device, 0, &cut, &r);
		if (r.verdict == BN_VERDICT_REFUSED)
			continue;
		if (r.verdict != 2) {
			snprintf(why, sizeof(why),
				 "protocol %u cut to %zu of %zu bytes: verdict %d", s->in.protocol,
				 len, whole.len, r.verdict);
			return why;
		}
		if (rig->n_events != 1 || rig->events[0].header.type != BN_EVENT_DROP) {
			snprintf(why, sizeof(why), "protocol %u cut to %zu bytes: no drop record",
				 s->in.protocol, len);
			return why;
		}
	}
	return NULL;
}

static const char *truncated(struct bn_rig *rig, int family)
{
	const struct bn_step packets[] = {
		{.hook = BN_HOOK_FROM_POD,
		 .device = BN_POD_A,
		 TCP("A", 1000, "VIP", 80, SYN, .payload = 20)},
		{.hook = BN_HOOK_FROM_POD,
		 .device = BN_POD_A,
		 UDP("A", 1000, "VIP", 53, .payload = 20)},
		{.hook = BN_HOOK_FROM_POD,
		 .device = BN_POD_A,
		 SCTP("A", 1000, "VIP", 3868, .payload = 20)},
		{.hook = BN_HOOK_FROM_POD,
		 .device = BN_POD_A,
		 .in = {.protocol = family == 4 ? 1 : 58,
			.type = family == 4 ? 8 : 128,
			.src = "A",
			.dst = "B",
			.icmp_id = 7,
			.payload = 20}},
		{.hook = BN_HOOK_FROM_POD,
		 .device = BN_POD_A,
		 TCP("A", 1000, "VIP", 80, SYN, .exts = 2,
		     .ext = {{.type = 0, .len = 16, .data = {1, 12}},
			     {.type = 60, .data = {1, 4}}})},
		{.hook = BN_HOOK_TO_POD, .device = BN_POD_A, TCP("NODE", 1000, "A", 80, SYN)},
	};

	for (size_t i = 0; i < sizeof(packets) / sizeof(packets[0]); i++) {
		const char *wrong = truncations_of(rig, family, &packets[i]);

		if (wrong)
			return wrong;
	}
	return NULL;
}

static int established_flow(struct bn_rig *rig, int family)
{
	struct bn_step s = {
		.hook = BN_HOOK_FROM_POD, .device = BN_POD_A, TCP("A", 1000, "VIP", 80, SYN)};
	struct bn_step back = {
		.hook = BN_HOOK_FROM_POD, .device = BN_POD_B, TCP("B", 8080, "A", 1000, SYN | ACK)};
	struct bn_result r;

	if (bn_step_send(rig, &s, family, &r) != 7 || bn_step_send(rig, &back, family, &r) != 7)
		return 0;
	s.in.tcp_flags = ACK;
	return bn_step_send(rig, &s, family, &r) == 7 && bn_rig_flows_count(rig) == 2;
}

/* The same on a connection that exists: the established path parses for itself. */
static const char *truncated_established(struct bn_rig *rig, int family)
{
	struct bn_step s = {.hook = BN_HOOK_FROM_POD,
			    .device = BN_POD_A,
			    TCP("A", 1000, "VIP", 80, ACK, .payload = 20)};

	if (!established_flow(rig, family))
		return "handshake";
	s.in.options = family == 4 ? "\1\1\1\1" : NULL;
	for (s.in.options_len = 0; s.in.options_len <= (family == 4 ? 4 : 0);
	     s.in.options_len += 4) {
		const char *wrong = truncations_of(rig, family, &s);

		if (wrong)
			return wrong;
	}
	return NULL;
}

static const char *lies_established(struct bn_rig *rig, int family)
{
	/* by offset into the packet and value: lengths that the established path must look at */
	const struct {
		const char *what;
		int in_l4, offset;
		__u8 value;
	} lies[] = {
		{"TCP header of 16 bytes", 1, 12, 0x40},
		{"TCP header beyond the packet", 1, 12, 0xf0},
		{"IP length beyond the packet", 0, family == 4 ? 2 : 4, 0x20},
		{"IP length within the headers", 0, family == 4 ? 3 : 5, family == 4 ? 30 : 10},
	};
	struct bn_step s = {.hook = BN_HOOK_FROM_POD,
			    .device = BN_POD_A,
			    TCP("A", 1000, "VIP", 80, ACK, .payload = 20)};
	static char why[128];
	struct bn_packet p;
	struct bn_result r;

	if (!established_flow(rig, family))
		return "handshake";
	for (size_t i = 0; i < sizeof(lies) / sizeof(lies[0]); i++) {
		bn_step_packet(rig, &s, family, &p);
		p.data[(lies[i].in_l4 ? p.l4 : p.l3) + lies[i].offset] = lies[i].value;
		bn_rig_run(rig, s.hook, s.device, 0, &p, &r);
		if (r.verdict != 2) {
			snprintf(why, sizeof(why), "%s: verdict %d", lies[i].what, r.verdict);
			return why;
		}
	}
	return NULL;
}

/* A byte of a packet's headers set to every value: what leaves must verify and keep its shape. */
static const char *mutations_of(struct bn_rig *rig, int family, const struct bn_step *s,
				size_t from, size_t to)
{
	static char why[256], reason[128];
	struct bn_packet whole, p;
	struct bn_result r;

	bn_step_packet(rig, s, family, &whole);
	for (size_t at = from; at < to; at++)
		for (int value = 0; value < 256; value++) {
			p = whole;
			p.data[at] = value;
			bn_packet_fix(&p);
			bn_rig_run(rig, s->hook, s->device, 0, &p, &r);
			if (!leaves(r.verdict))
				continue;
			if (bn_packet_verify(&r.out, reason, sizeof(reason))) {
				snprintf(why, sizeof(why), "byte %zu = %d left as a bad packet: %s",
					 at, value, reason);
				bn_packet_dump(stderr, &p);
				bn_packet_dump(stderr, &r.out);
				return why;
			}
			if (rig->n_events == BN_RIG_EVENTS)
				return "too many records";
		}
	return NULL;
}

static const char *mutated(struct bn_rig *rig, int family)
{
	struct bn_step s = {.hook = BN_HOOK_FROM_POD,
			    .device = BN_POD_A,
			    TCP("A", 1000, "VIP", 80, SYN, .payload = 8)};
	size_t end = 14 + (family == 4 ? 20 : 40) + 20;
	const char *wrong = mutations_of(rig, family, &s, 12, end);

	if (wrong)
		return wrong;
	s = (struct bn_step){.hook = BN_HOOK_FROM_POD,
			     .device = BN_POD_A,
			     UDP("A", 1000, "VIP", 53, .payload = 8)};
	return mutations_of(rig, family, &s, 12, end - 12);
}

static __u32 random_state = 20240117; /* fixed: a failure must repeat */

static __u32 random_next(void)
{
	random_state ^= random_state << 13;
	random_state ^= random_state >> 17;
	random_state ^= random_state << 5;
	return random_state;
}

/* The kernel's taint flags: a warning that a packet caused would add one. */
static unsigned long tainted(void)
{
	FILE *f = fopen("/proc/sys/kernel/tainted", "re");
	unsigned long flags = 0;

	if (f) {
		if (fscanf(f, "%lu", &flags) != 1)
			flags = 0;
		fclose(f);
	}
	return flags;
}

static const char *random_bytes(struct bn_rig *rig, int family)
{
	static const __u8 hooks[] = {BN_HOOK_FROM_POD, BN_HOOK_TO_POD, BN_HOOK_FROM_UPLINK};
	struct bn_step s = {.device = BN_POD_A, TCP("A", 1000, "VIP", 80, SYN, .payload = 40)};
	static char why[256], reason[128];
	unsigned long before = tainted();
	struct bn_packet p;
	struct bn_result r;

	for (int i = 0; i < 30000; i++) {
		s.hook = hooks[i % 3];
		s.device = s.hook == BN_HOOK_FROM_UPLINK ? BN_UPLINK : BN_POD_A;
		bn_step_packet(rig, &s, family, &p);
		if (i % 7 == 0) {
			/* nothing kept but the link header */
			p.len = 14 + random_next() % 120;
			for (size_t at = 14; at < p.len; at++)
				p.data[at] = random_next();
		} else {
			for (int n = 1 + random_next() % 6; n; n--)
				p.data[12 + random_next() % (p.len - 12)] = random_next();
		}
		if (i & 1)
			bn_packet_fix(&p);
		bn_rig_run(rig, s.hook, s.device, 0, &p, &r);
		if (!leaves(r.verdict) || !(i & 1))
			continue;
		if (bn_packet_verify(&p, reason, sizeof(reason)) == 0 &&
		    bn_packet_verify(&r.out, reason, sizeof(reason))) {
			snprintf(why, sizeof(why), "run %d left as a bad packet: %s", i, reason);
			bn_packet_dump(stderr, &p);
			bn_packet_dump(stderr, &r.out);
			return why;
		}
	}
	return tainted() == before ? NULL : "the kernel warned";
}

static const __u8 loose_route[] = {131, 7, 4, 10, 244, 0, 4, 1};
static const __u8 strict_route[] = {1, 137, 7, 4, 10, 244, 0, 4};
static const __u8 hidden_route[] = {7, 3, 4, 131, 7, 4, 10, 0};
static const __u8 zero_option[] = {7, 0, 0, 0};
static const __u8 long_option[] = {7, 9, 4, 0};
static const __u8 cut_option[] = {1, 1, 1, 7};
static const __u8 after_end[] = {0, 131, 3, 4};
static const __u8 no_ops[40] = {[0 ... 39] = 1};
static const __u8 last_route[40] = {[0 ... 38] = 1, [39] = 131};
static const __u8 longest_route[40] = {7, 33, 4, [33] = 131, 7, 4, 10, 0, 0, 1};

/* An IPv4 header whose length field says `words`. */
static struct bn_packet lying[8];

static void lies_prepare(struct bn_rig *rig, int family)
{
	const struct bn_step s = {.hook = BN_HOOK_FROM_POD,
				  .device = BN_POD_A,
				  TCP("A", 1000, "VIP", 80, SYN, .payload = 40)};
	const struct bn_step u = {.hook = BN_HOOK_FROM_POD,
				  .device = BN_POD_A,
				  UDP("A", 1000, "VIP", 53, .payload = 40)};
	size_t l4;

	for (int i = 0; i < 8; i++)
		bn_step_packet(rig, i < 5 ? &s : &u, family, &lying[i]);
	l4 = lying[0].l4;
	if (family == 4) {
		lying[0].data[14] = 0x44; /* header of 16 bytes */
		lying[1].data[14] = 0x65; /* another version */
		lying[2].data[17] = 19;   /* total length within the header */
		lying[2].data[16] = 0;
		lying[3].data[16] = 0x40; /* longer than the packet */
	} else {
		lying[0].data[14] = 0x40;
		lying[1].data[14] = 0x70;
		lying[2].data[19] = 12; /* payload shorter than a TCP header */
		lying[3].data[18] = 0x40;
	}
	lying[4].data[l4 + 12] = 0x40; /* TCP header of 16 bytes */
	lying[5].data[l4 + 5] = 7;     /* UDP length below its header */
	lying[6].data[l4 + 4] = 0x40;  /* UDP length beyond the packet */
	lying[7] = lying[3];
	bn_step_packet(rig, &s, family, &lying[7]);
	lying[7].data[l4 + 12] = 0xf0; /* TCP header of 60 bytes in 60: within, options of zeros */
	lying[7].data[l4 + 13] = 0;
	memset(lying[7].data + l4 + 20, 0, 40);
	bn_packet_fix(&lying[7]);
}

#define RAW(n) FROM(BN_POD_A), .raw = &lying[n]

static const struct bn_case cases[] = {
	{"truncated anywhere", .run = truncated},
	{"truncated anywhere, on an established connection", .run = truncated_established},
	{"lengths that lie, on an established connection", .run = lies_established},
	{"lengths that lie", .prepare = lies_prepare,
	 .step = {{"header length", RAW(0), DROP(MALFORMED_HEADER)},
		  {"version", RAW(1), DROP(MALFORMED_HEADER)},
		  {"length too small", RAW(2), DROP(MALFORMED_HEADER)},
		  {"length too large", RAW(3), DROP(MALFORMED_HEADER)},
		  {"TCP header too small", RAW(4), DROP(MALFORMED_HEADER)},
		  {"UDP length too small", RAW(5), DROP(MALFORMED_HEADER)},
		  {"UDP length too large", RAW(6), DROP(MALFORMED_HEADER)}}},
	{"IPv4 options", .families = 4,
	 .step = {{"loose source route", FROM(BN_POD_A),
		   UDP("A", 1, "B", 53, .options = loose_route, .options_len = 8),
		   DROP(SOURCE_ROUTED)},
		  {"strict source route behind a no-op", FROM(BN_POD_A),
		   UDP("A", 1, "B", 53, .options = strict_route, .options_len = 8),
		   DROP(SOURCE_ROUTED)},
		  {"source route behind another option", FROM(BN_POD_A),
		   UDP("A", 1, "B", 53, .options = hidden_route, .options_len = 8),
		   DROP(SOURCE_ROUTED)},
		  {"option of no length", FROM(BN_POD_A),
		   UDP("A", 1, "B", 53, .options = zero_option, .options_len = 4),
		   DROP(MALFORMED_HEADER)},
		  {"option beyond the header", FROM(BN_POD_A),
		   UDP("A", 1, "B", 53, .options = long_option, .options_len = 4),
		   DROP(MALFORMED_HEADER)},
		  {"option cut by the header's end", FROM(BN_POD_A),
		   UDP("A", 1, "B", 53, .options = cut_option, .options_len = 4),
		   DROP(MALFORMED_HEADER)},
		  {"source route in the last byte that there can be", FROM(BN_POD_A),
		   UDP("A", 1, "B", 53, .options = last_route, .options_len = 40),
		   DROP(SOURCE_ROUTED)},
		  {"source route behind the longest option", FROM(BN_POD_A),
		   UDP("A", 1, "B", 53, .options = longest_route, .options_len = 40),
		   DROP(SOURCE_ROUTED)},
		  {"nothing but no-ops", FROM(BN_POD_A),
		   UDP("A", 2, "B", 53, .options = no_ops, .options_len = 40),
		   .outcome = BN_FORWARDED, .count = {OPENED}},
		  {"bytes behind the end of options mean nothing", FROM(BN_POD_A),
		   UDP("A", 1, "B", 53, .options = after_end, .options_len = 4),
		   .outcome = BN_FORWARDED, .count = {OPENED}}}},
	{"IPv6 extension headers", .families = 6,
	 .step = {{"routing header 0", FROM(BN_POD_A),
		   UDP("A", 1, "B", 53, .exts = 1,
		       .ext = {{.type = 43, .len = 24, .data = {0, 1}}}),
		   DROP(SOURCE_ROUTED)},
		  {"segment routing", FROM(BN_POD_A),
		   UDP("A", 1, "B", 53, .exts = 1,
		       .ext = {{.type = 43, .len = 24, .data = {4, 0}}}),
		   DROP(SOURCE_ROUTED)},
		  {"routing header behind others", FROM(BN_POD_A),
		   UDP("A", 1, "B", 53, .exts = 3,
		       .ext = {{.type = 0, .data = {1, 4}},
			       {.type = 60, .data = {1, 4}},
			       {.type = 43}}),
		   DROP(SOURCE_ROUTED)},
		  {"hop-by-hop not first", FROM(BN_POD_A),
		   UDP("A", 1, "B", 53, .exts = 2,
		       .ext = {{.type = 60, .data = {1, 4}}, {.type = 0, .data = {1, 4}}}),
		   DROP(MALFORMED_HEADER)},
		  {"ten headers", FROM(BN_POD_A),
		   UDP("A", 1, "B", 53, .exts = 10,
		       .ext = {{.type = 60},
			       {.type = 60},
			       {.type = 60},
			       {.type = 60},
			       {.type = 60},
			       {.type = 60},
			       {.type = 60},
			       {.type = 60},
			       {.type = 60},
			       {.type = 60}}),
		   DROP(EXTENSION_HEADERS)},
		  {"a port hidden behind a chain is still the port", FROM(BN_POD_A),
		   UDP("A", 1, "VIP", 53, .exts = 3,
		       .ext = {{.type = 0, .data = {1, 4}},
			       {.type = 60, .data = {1, 4}},
			       {.type = 60, .len = 16, .data = {1, 12}}}),
		   DNAT("B", 5353), .count = {OPENED}}}},
	{"every byte of the headers, every value", .run = mutated},
	{"random bytes into every program", .run = random_bytes},
	{"from outside, a local pod's address behind a source route", .families = 4,
	 .step = {{"to the node", UPLINK,
		   UDP("A", 1, "NODE", 53, .options = loose_route, .options_len = 8),
		   DROP(UPLINK_SPOOF)}}},
};

int main(void)
{
	return bn_program_main("malformed", cases, sizeof(cases) / sizeof(cases[0]), NULL);
}
