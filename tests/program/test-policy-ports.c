// SPDX-License-Identifier: Apache-2.0
/* Policy's ports: protocols, ranges, runs of any length, and what has no ports. */
#include "lib/program.h"

#include <linux/pkt_cls.h>
#include <stdlib.h>

#define ALLOW(rule) (BN_VERDICT_ALLOW | (rule))
#define ICMP(family) ((family) == 4 ? 1 : 58)
#define LAST_PORT 65535

static void off(struct bn_rig *rig, int family)
{
	bn_rig_policy_clear(rig);
}

/* What B takes from A. */
static void say_parts(struct bn_rig *rig, const struct bn_policy_part *parts, __u32 n)
{
	bn_rig_policy_run(rig, BN_POD_B, BN_POLICY_INGRESS, rig->dev[BN_POD_A].identity, parts, n);
	bn_rig_policy_enforce(rig, BN_POD_B, BN_POLICY_INGRESS, true);
}

/* The packet's verdict, and the rule that its record names. */
static const char *ask(struct bn_rig *rig, int family, __u8 protocol, __u16 port, __u32 verdict)
{
	static char why[128];
	static __u16 sport;
	struct bn_step s = {.hook = BN_HOOK_FROM_POD,
			    .device = BN_POD_A,
			    .in = {.protocol = protocol,
				   .src = "A",
				   .dst = "B",
				   .sport = 1024 + (sport++ & 0x7fff),
				   .dport = port,
				   .tcp_flags = protocol == IPPROTO_TCP ? SYN : 0}};
	struct bn_result r;

	if (protocol == ICMP(family)) {
		s.in.type = family == 4 ? 8 : 128;
		s.in.icmp_id = s.in.sport;
	}
	bn_step_send(rig, &s, family, &r);
	if (r.verdict != (verdict & BN_VERDICT_ALLOW ? TC_ACT_REDIRECT : TC_ACT_SHOT))
		snprintf(why, sizeof(why), "protocol %u, port %u: verdict %d", protocol, port,
			 r.verdict);
	else if (!rig->n_events || rig->events[rig->n_events - 1].ingress_verdict != verdict)
		snprintf(why, sizeof(why), "protocol %u, port %u: rule %#x, should be %#x",
			 protocol, port,
			 rig->n_events ? rig->events[rig->n_events - 1].ingress_verdict : 0,
			 verdict);
	else
		return NULL;
	return why;
}

static const struct {
	__u8 number;
	__u32 policy;
} protocols[] = {
	{IPPROTO_TCP, BN_POLICY_TCP}, {IPPROTO_UDP, BN_POLICY_UDP}, {IPPROTO_SCTP, BN_POLICY_SCTP}};

/* A range of each protocol: its ends pass, what is beside them and the other protocols do not. */
static const char *ranges(struct bn_rig *rig, int family)
{
	static const __u16 range[][2] = {{0, 0},   {0, LAST_PORT}, {LAST_PORT, LAST_PORT},
					 {80, 80}, {8000, 8080},   {1, 65534}};
	const char *wrong = NULL;

	for (size_t i = 0; i < sizeof(range) / sizeof(range[0]); i++) {
		__u16 first = range[i][0], last = range[i][1];

		for (size_t p = 0; p < 3 && !wrong; p++) {
			bn_rig_policy_ports(rig, BN_POD_B, BN_POLICY_INGRESS,
					    rig->dev[BN_POD_A].identity, protocols[p].policy, first,
					    last, ALLOW(1), 2);
			for (size_t q = 0; q < 3 && !wrong; q++) {
				__u32 inside = p == q ? ALLOW(1) : 2;

				wrong = ask(rig, family, protocols[q].number, first, inside);
				if (!wrong)
					wrong = ask(rig, family, protocols[q].number, last, inside);
				if (!wrong && first)
					wrong = ask(rig, family, protocols[q].number, first - 1, 2);
				if (!wrong && last < LAST_PORT)
					wrong = ask(rig, family, protocols[q].number, last + 1, 2);
			}
			if (!wrong)
				wrong = ask(rig, family, ICMP(family), 0, 2);
		}
	}
	return wrong;
}

/* Each rule's port `step` behind the last, of each protocol the same number of them. */
struct lengths {
	__u32 parts, protocols, step;
};

/* Asked in the middle of parts and where they meet; of very long runs not everywhere. */
static const char *run_of(struct bn_rig *rig, int family, const struct lengths *l)
{
	__u32 n = l->parts, each = n / l->protocols + 1;
	struct bn_policy_part *parts = calloc(n, sizeof(*parts));
	const char *wrong = NULL;

	if (!parts)
		return "out of memory";
	for (__u32 i = 1; i < n; i++)
		parts[i].from = bn_policy_key((i - 1) / each, l->step * ((i - 1) % each + 1));
	for (__u32 i = 0; i < n; i++)
		parts[i].verdict = (i & 1 ? BN_VERDICT_ALLOW : 0) | (1000 + i);
	say_parts(rig, parts, n);
	for (__u32 i = 0; i < n && !wrong; i += 1 + n / 600) {
		__u32 next = i + 1 < n ? parts[i + 1].from : bn_policy_key(BN_POLICY_OTHER, 0);
		__u32 keys[] = {parts[i].from, parts[i].from + 1, next - 1};

		for (size_t k = 0; k < 3 && !wrong; k++) {
			if (keys[k] >= next)
				continue;
			wrong = ask(rig, family, protocols[keys[k] >> 16].number,
				    keys[k] & LAST_PORT, parts[i].verdict);
		}
	}
	if (!wrong)
		wrong = ask(rig, family, ICMP(family), 0, parts[n - 1].verdict);
	free(parts);
	return wrong;
}

static const char *runs(struct bn_rig *rig, int family)
{
	static const struct lengths lengths[] = {{1, 3, 100},
						 {2, 3, 100},
						 {7, 3, 100},
						 {8, 3, 100},
						 {9, 3, 100},
						 {15, 3, 100},
						 {16, 3, 100},
						 {17, 3, 100},
						 {33, 3, 100},
						 {64, 3, 100},
						 {65, 3, 100},
						 {129, 3, 100},
						 {500, 3, 100},
						 /* with an index (bpfnet/policy.h) */
						 {9, 1, 31},
						 {16, 1, 1},
						 {17, 1, 16},
						 {65, 1, 4},
						 {1000, 1, 12},
						 {3000, 1, 21},
						 {8193, 3, 23}};
	const char *wrong = NULL;

	for (size_t i = 0; i < sizeof(lengths) / sizeof(lengths[0]) && !wrong; i++) {
		wrong = run_of(rig, family, &lengths[i]);
		bn_rig_policy_clear(rig);
	}
	return wrong;
}

/* What has no ports is what rules without ports are about, and they alone. */
static const char *portless(struct bn_rig *rig, int family)
{
	/* experimental, GRE, and the other family's ICMP */
	const __u8 others[] = {ICMP(family), 253, 47, ICMP(10 - family)};
	const char *wrong = NULL;

	for (size_t i = 0; i < sizeof(others) && !wrong; i++) {
		struct bn_policy_part all[] = {{0, 1},
					       {bn_policy_key(BN_POLICY_OTHER, 0), ALLOW(2)}};

		bn_rig_policy_ports(rig, BN_POD_B, BN_POLICY_INGRESS, rig->dev[BN_POD_A].identity,
				    BN_POLICY_TCP, 0, LAST_PORT, ALLOW(1), 2);
		wrong = ask(rig, family, others[i], 0, 2);
		if (wrong)
			break;
		bn_rig_policy_say(rig, BN_POD_B, BN_POLICY_INGRESS, rig->dev[BN_POD_A].identity,
				  ALLOW(3));
		bn_rig_forget(rig);
		wrong = ask(rig, family, others[i], 0, ALLOW(3));
		if (wrong)
			break;
		say_parts(rig, all, 2);
		bn_rig_forget(rig);
		wrong = ask(rig, family, others[i], 0, ALLOW(2));
		if (!wrong)
			wrong = ask(rig, family, IPPROTO_SCTP, LAST_PORT, 1);
	}
	return wrong;
}

static const struct bn_case cases[] = {
	{"ports: first, last and beside them; protocols apart", .restore = off, .run = ranges},
	{"runs of many ports", .restore = off, .run = runs},
	{"what has no ports", .restore = off, .run = portless},
};

int main(void)
{
	return bn_program_main("policy-ports", cases, sizeof(cases) / sizeof(cases[0]), NULL);
}
