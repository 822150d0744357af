// SPDX-License-Identifier: Apache-2.0
/* Fragments: in order they pass NAT and policy, otherwise they are dropped by name. */
#include "lib/program.h"

#include <string.h>

#define OPENED [BN_CNT_FLOWS_OPENED] = 1, [BN_CNT_DECISIONS] = 1
#define DECIDED .count = {[BN_CNT_DECISIONS] = 1}
#define ALLOW(rule) (BN_VERDICT_ALLOW | (rule))

static struct bn_packet whole, want_whole, part[4], want[4];

/* A datagram through VIP udp/53 in pieces, and what has to come out. */
static void build(struct bn_rig *rig, int family, size_t first, __u32 id)
{
	struct bn_step s = {.hook = BN_HOOK_FROM_POD,
			    .device = BN_POD_A,
			    UDP("A", 7000, "VIP", 53, .payload = 2000)};
	struct bn_step out = {.hook = BN_HOOK_FROM_POD,
			      .device = BN_POD_A,
			      UDP("A", 7000, "B", 5353, .payload = 2000, .ttl = 63)};
	size_t total;

	bn_step_packet(rig, &s, family, &whole);
	bn_step_packet(rig, &out, family, &want_whole);
	total = whole.len - whole.l4;
	bn_packet_fragment(&part[0], &whole, 0, first, 1, id);
	bn_packet_fragment(&part[1], &whole, first, 512, 1, id);
	bn_packet_fragment(&part[2], &whole, first + 512, total - first - 512, 0, id);
	bn_packet_fragment(&want[0], &want_whole, 0, first, 1, id);
	bn_packet_fragment(&want[1], &want_whole, first, 512, 1, id);
	bn_packet_fragment(&want[2], &want_whole, first + 512, total - first - 512, 0, id);
}

static int send_part(struct bn_rig *rig, const struct bn_packet *p, struct bn_result *r)
{
	bn_rig_run(rig, BN_HOOK_FROM_POD, BN_POD_A, 0, p, r);
	return r->verdict;
}

static int dropped_for(struct bn_rig *rig, __u8 reason)
{
	return rig->n_events == 1 && rig->events[0].header.type == BN_EVENT_DROP &&
	       rig->events[0].reason == reason;
}

static const char *in_order(struct bn_rig *rig, int family)
{
	struct bn_result r;

	build(rig, family, 512, 0x1234);
	for (int i = 0; i < 3; i++) {
		if (send_part(rig, &part[i], &r) != 7)
			return "a fragment in order is not forwarded";
		memcpy(want[i].data, r.out.data, 12);
		if (bn_packet_diff(stderr, &want[i], &r.out))
			return "a fragment in order comes out wrong";
	}
	/* twice the same datagram: retransmission with the same id is common */
	return send_part(rig, &part[0], &r) == 7 ? NULL : "the first fragment again is refused";
}

static const char *both_ways(struct bn_rig *rig, int family)
{
	struct bn_step reply = {.hook = BN_HOOK_FROM_POD,
				.device = BN_POD_B,
				UDP("B", 5353, "A", 7000, .payload = 1800)};
	struct bn_step out = {.hook = BN_HOOK_FROM_POD,
			      .device = BN_POD_B,
			      UDP("VIP", 53, "A", 7000, .payload = 1800, .ttl = 63)};
	struct bn_packet a, b, p, w;
	struct bn_result r;

	build(rig, family, 1024, 1);
	send_part(rig, &part[0], &r);
	bn_step_packet(rig, &reply, family, &a);
	bn_step_packet(rig, &out, family, &b);
	for (int i = 0; i < 2; i++) {
		size_t at = i ? 1024 : 0, len = i ? a.len - a.l4 - 1024 : 1024;

		bn_packet_fragment(&p, &a, at, len, !i, 77);
		bn_packet_fragment(&w, &b, at, len, !i, 77);
		bn_rig_run(rig, BN_HOOK_FROM_POD, BN_POD_B, 0, &p, &r);
		if (r.verdict != 7)
			return "a reply's fragment is not forwarded";
		memcpy(w.data, r.out.data, 12);
		if (bn_packet_diff(stderr, &w, &r.out))
			return "a reply's fragment comes out wrong";
	}
	return NULL;
}

static const char *out_of_order(struct bn_rig *rig, int family)
{
	struct bn_result r;

	build(rig, family, 512, 0x4321);
	if (send_part(rig, &part[1], &r) != 2 || !dropped_for(rig, BN_DROP_FRAGMENT_UNKNOWN))
		return "a later fragment without its first one";
	send_part(rig, &part[0], &r);
	build(rig, family, 512, 0x4322);
	if (send_part(rig, &part[2], &r) != 2 || !dropped_for(rig, BN_DROP_FRAGMENT_UNKNOWN))
		return "a later fragment of another datagram";
	return NULL;
}

static const char *tiny(struct bn_rig *rig, int family)
{
	struct bn_result r;
	struct bn_packet p;

	build(rig, family, 8, 5);
	if (send_part(rig, &part[0], &r) != 2 || !dropped_for(rig, BN_DROP_FRAGMENT_OVERLAP))
		return "a first fragment of eight bytes";
	build(rig, family, 512, 6);
	send_part(rig, &part[0], &r);
	bn_packet_fragment(&p, &whole, 8, 512, 1, 6);
	if (send_part(rig, &p, &r) != 2 || !dropped_for(rig, BN_DROP_FRAGMENT_OVERLAP))
		return "a fragment at offset 8, over the transport header";
	bn_packet_fragment(&p, &whole, 504, 512, 1, 6);
	if (send_part(rig, &p, &r) != 2 || !dropped_for(rig, BN_DROP_FRAGMENT_OVERLAP))
		return "a fragment over the end of the first one";
	return NULL;
}

static const char *tcp_overlap(struct bn_rig *rig, int family)
{
	struct bn_step syn = {.hook = BN_HOOK_FROM_POD,
			      .device = BN_POD_A,
			      TCP("A", 7001, "VIP", 80, SYN, .payload = 600)};
	struct bn_packet tcp, p;
	struct bn_result r;

	bn_step_packet(rig, &syn, family, &tcp);
	/* RFC 1858: flags in the second fragment */
	bn_packet_fragment(&p, &tcp, 0, 8, 1, 9);
	if (send_part(rig, &p, &r) != 2 || !dropped_for(rig, BN_DROP_FRAGMENT_OVERLAP))
		return "TCP ports without flags";
	/* RFC 3128: the header rewritten by a second fragment at offset 8 */
	bn_packet_fragment(&p, &tcp, 0, 128, 1, 10);
	send_part(rig, &p, &r);
	bn_packet_fragment(&p, &tcp, 8, 128, 0, 10);
	if (send_part(rig, &p, &r) != 2 || !dropped_for(rig, BN_DROP_FRAGMENT_OVERLAP))
		return "a fragment over the TCP flags";
	return NULL;
}

static const char *beyond(struct bn_rig *rig, int family)
{
	struct bn_result r;

	build(rig, family, 512, 11);
	send_part(rig, &part[0], &r);
	/* the last fragment pushed to where it passes 65535 bytes (ping of death) */
	if (family == 4) {
		part[2].data[20] = 0x1f;
		part[2].data[21] = 0xff;
		bn_packet_fix(&part[2]);
	} else {
		part[2].data[56] = 0xff;
		part[2].data[57] = 0xf8;
	}
	return send_part(rig, &part[2], &r) == 2 && dropped_for(rig, BN_DROP_FRAGMENT_OVERLAP)
		       ? NULL
		       : "a fragment beyond 65535 bytes";
}

static const char *spoofed(struct bn_rig *rig, int family)
{
	struct bn_result r;

	build(rig, family, 512, 12);
	send_part(rig, &part[0], &r);
	bn_rig_run(rig, BN_HOOK_FROM_POD, BN_POD_C, 0, &part[1], &r);
	return r.verdict == 2 ? NULL : "a later fragment out of another pod";
}

static const char *atomic(struct bn_rig *rig, int family)
{
	/* RFC 6946: a fragment header with neither offset nor more is a whole packet */
	struct bn_step s = {.hook = BN_HOOK_FROM_POD,
			    .device = BN_POD_A,
			    UDP("A", 7002, "VIP", 53, .exts = 1, .payload = 3,
				.ext = {{.type = 44, .data = {0, 0, 0, 0, 0, 9}}})};
	char why[128];
	struct bn_result r;

	if (bn_step_send(rig, &s, family, &r) != 7)
		return "an atomic fragment is refused";
	return bn_packet_verify(&r.out, why, sizeof(why)) ? "an atomic fragment's checksum" : NULL;
}

/* SCTP's checksum covers all fragments, so a translated port can't be mended in the first. */
static const char *sctp(struct bn_rig *rig, int family)
{
	struct bn_step s = {.hook = BN_HOOK_FROM_POD,
			    .device = BN_POD_A,
			    SCTP("A", 7003, "VIP", 3868, .payload = 900)};
	struct bn_packet init, p;
	struct bn_result r;

	bn_step_packet(rig, &s, family, &init);
	bn_packet_fragment(&p, &init, 0, 512, 1, 20);
	return send_part(rig, &p, &r) == 2 ? NULL : "left with a checksum that can't be right";
}

/* ---- IPv6: headers around the fragment header, where only port 80 is allowed ---- */

/* Fragment headers' bytes: offset and whether more follow, the datagram's number. */
#define PART(offset, more, id) \
	{ \
		.type = 44, .data = {(offset) >> 8, ((offset) & 0xf8) | (more), 0, 0, 0, (id) } \
	}
#define OPTIONS(n) {.type = 60, .len = (n), .data = {1, (n) - 4}}
#define WEB(port, e, n, ...) \
	TCP("WORLD", 40000, "B", port, SYN, .exts = (n), .payload = 64, .ext = {e, ##__VA_ARGS__})
#define SHORT(n) UPLINK, .raw = &cut[n]
#define UNKNOWN DROP(FRAGMENT_UNKNOWN)
#define OVERLAP DROP(FRAGMENT_OVERLAP)
#define INGRESS DROP(POLICY_INGRESS), .ingress = 2

enum {
	CUT_AT_FRAGMENT,
	CUT_IN_OPTIONS,
	CUT_AT_OPTIONS,
	CUT_BEHIND_PORTS,
	CUT_BEFORE_FLAGS,
	CUT_BEHIND_HEADER,
	CUTS,
};

static struct bn_packet cut[CUTS];

/* A first fragment that ends `end` bytes behind its fragment header. */
static void cut_build(struct bn_rig *rig, struct bn_packet *ret, const struct bn_step *s,
		      size_t end)
{
	bn_step_packet(rig, s, 6, ret);
	ret->len = ret->l3 + 40 + 8 + end;
	ret->data[ret->l3 + 4] = 0;
	ret->data[ret->l3 + 5] = 8 + end;
}

static void web_only(struct bn_rig *rig, int family)
{
	const struct bn_step bare = {UPLINK, WEB(80, PART(0, 1, 1), 1)};
	const struct bn_step behind = {UPLINK, WEB(80, PART(0, 1, 1), 2, OPTIONS(16))};

	bn_rig_policy_ports(rig, BN_POD_B, BN_POLICY_INGRESS, BN_IDENTITY_WORLD, BN_POLICY_TCP, 80,
			    80, ALLOW(1), 2);
	cut_build(rig, &cut[CUT_AT_FRAGMENT], &bare, 0);
	cut_build(rig, &cut[CUT_IN_OPTIONS], &behind, 8);
	cut_build(rig, &cut[CUT_AT_OPTIONS], &behind, 16);
	cut_build(rig, &cut[CUT_BEHIND_PORTS], &bare, 8);
	cut_build(rig, &cut[CUT_BEFORE_FLAGS], &behind, 16 + 8);
	cut_build(rig, &cut[CUT_BEHIND_HEADER], &bare, 24);
}

static void off(struct bn_rig *rig, int family)
{
	bn_rig_policy_clear(rig);
}

static const struct bn_case cases[] = {
	{"in order through a ClusterIP", .run = in_order},
	{"replies in order", .run = both_ways},
	{"out of order", .run = out_of_order},
	{"tiny first and overlapping second fragments", .run = tiny},
	{"TCP flags hidden by fragments", .run = tcp_overlap},
	{"beyond the largest datagram", .run = beyond},
	{"of another sender", .run = spoofed},
	{"atomic fragments", .families = 6, .run = atomic},
	{"SCTP through a translated port", .run = sctp},
	{"headers that end in the second fragment", .families = 6, .prepare = web_only,
	 .restore = off,
	 .step = {{"nothing behind the fragment header", SHORT(CUT_AT_FRAGMENT), OVERLAP},
		  {"in the midst of options", SHORT(CUT_IN_OPTIONS), DROP(MALFORMED_HEADER)},
		  {"behind options", SHORT(CUT_AT_OPTIONS), OVERLAP},
		  {"behind the ports", SHORT(CUT_BEHIND_PORTS), OVERLAP},
		  {"before TCP's flags, behind options", SHORT(CUT_BEFORE_FLAGS), OVERLAP},
		  {"behind TCP's header", SHORT(CUT_BEHIND_HEADER), OVERLAP},
		  {"the header itself, in time", UPLINK, WEB(22, PART(16, 0, 1), 1), OVERLAP},
		  {"behind what is too short", UPLINK, WEB(80, PART(64, 0, 1), 1), UNKNOWN}}},
	{"options behind the fragment header", .families = 6, .prepare = web_only, .restore = off,
	 .step = {{"a port that is denied", UPLINK, WEB(22, PART(0, 1, 1), 2, OPTIONS(16)), INGRESS,
		   DECIDED},
		  {"its second part", UPLINK, WEB(80, PART(104, 0, 1), 1), INGRESS},
		  {"one that is allowed", UPLINK, WEB(80, PART(0, 1, 2), 2, OPTIONS(16)),
		   .outcome = BN_FORWARDED, .count = {OPENED}, .ingress = ALLOW(1)},
		  {"its second part", UPLINK, WEB(22, PART(104, 0, 2), 1), .outcome = BN_FORWARDED},
		  {"which names the options, as the first one did", UPLINK,
		   .in = {.src = "WORLD",
			  .dst = "B",
			  .protocol = 60,
			  .exts = 1,
			  .ext = {PART(104, 0, 2)},
			  .payload = 64},
		   .outcome = BN_FORWARDED},
		  {"or another protocol: only the first one's counts", UPLINK,
		   UDP("WORLD", 1, "B", 2, .exts = 1, .ext = {PART(104, 0, 2)}, .payload = 64),
		   .outcome = BN_FORWARDED},
		  {"a second fragment header behind the options", UPLINK,
		   WEB(80, PART(0, 1, 3), 3, OPTIONS(16), PART(0, 1, 3)), DROP(MALFORMED_HEADER)},
		  {"options before and behind, denied", UPLINK,
		   WEB(23, OPTIONS(8), 3, PART(0, 1, 4), OPTIONS(8)), INGRESS, DECIDED},
		  {"options before and behind, allowed", UPLINK,
		   WEB(80, OPTIONS(8), 3, PART(0, 1, 5), OPTIONS(8)), .outcome = BN_FORWARDED}}},
	{"fragments that would overwrite the ports", .families = 6, .prepare = web_only,
	 .restore = off,
	 .step = {{"port 80", UPLINK, WEB(80, PART(0, 1, 1), 1), .outcome = BN_FORWARDED,
		   .count = {OPENED}, .ingress = ALLOW(1)},
		  {"at offset 8", UPLINK, WEB(22, PART(8, 0, 1), 1), OVERLAP},
		  {"at offset 56", UPLINK, WEB(22, PART(56, 0, 1), 1), OVERLAP},
		  {"another first one", UPLINK, WEB(22, PART(0, 1, 1), 1), INGRESS, DECIDED},
		  {"whose ports count from now on", UPLINK, WEB(80, PART(88, 0, 1), 1), INGRESS},
		  {"port 80 behind options", UPLINK, WEB(80, PART(0, 1, 2), 2, OPTIONS(24)),
		   .outcome = BN_FORWARDED},
		  {"at the options' end", UPLINK, WEB(22, PART(24, 0, 2), 1), OVERLAP},
		  {"as many options as no fragment may begin in", UPLINK,
		   WEB(80, PART(0, 1, 3), 2, OPTIONS(64)), .outcome = BN_FORWARDED},
		  {"at their end", UPLINK, WEB(22, PART(64, 0, 3), 1), OVERLAP},
		  {"over the sequence number", UPLINK, WEB(22, PART(72, 0, 3), 1), OVERLAP},
		  {"over the payload", UPLINK, WEB(22, PART(144, 0, 3), 1), OVERLAP},
		  {"behind it", UPLINK, WEB(22, PART(152, 0, 3), 1), .outcome = BN_FORWARDED}}},
};

int main(void)
{
	return bn_program_main("fragment", cases, sizeof(cases) / sizeof(cases[0]), NULL);
}
