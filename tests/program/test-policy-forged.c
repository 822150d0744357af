// SPDX-License-Identifier: Apache-2.0
/*
 * Packets that pose as part of a flow which does not exist, next to one that does: policy refuses
 * them, nothing but refusals is recorded, and the live flow does not notice.
 */
#include "lib/program.h"

#include <string.h>

#define OPENED [BN_CNT_FLOWS_OPENED] = 1, [BN_CNT_DECISIONS] = 1
#define DECIDED .count = {[BN_CNT_DECISIONS] = 1}
#define EGRESS DROP(POLICY_EGRESS), .check = untouched
#define INGRESS DROP(POLICY_INGRESS), .check = untouched
#define SPOOFED DROP(SPOOFED_SOURCE), .check = untouched
#define OUTSIDE DROP(UPLINK_SPOOF), .check = untouched
#define ALLOW(rule) (BN_VERDICT_ALLOW | (rule))

struct end {
	const char *addr;
	__u16 port;
};

/* The live flow: as the client knows it, and who answers. */
static struct {
	struct end client, service, backend;
	struct bn_flow entry[2];
} live;

/* ---- policy ---- */

static void b_for_a(struct bn_rig *rig, int family)
{
	bn_rig_policy_ports(rig, BN_POD_B, BN_POLICY_INGRESS, rig->dev[BN_POD_A].identity,
			    BN_POLICY_TCP, 8080, 8080, ALLOW(1), 2);
	live.client = (struct end){"A", 40000};
	live.service = (struct end){"VIP", 80};
	live.backend = (struct end){"B", 8080};
}

static void b_for_a_alone(struct bn_rig *rig, int family)
{
	b_for_a(rig, family);
	bn_rig_policy_table(rig, BN_POD_B, BN_POLICY_EGRESS, BN_POLICY_CLOSED);
	bn_rig_policy_table(rig, BN_POD_A, BN_POLICY_INGRESS, BN_POLICY_CLOSED);
}

static void b_for_c(struct bn_rig *rig, int family)
{
	bn_rig_policy_say(rig, BN_POD_B, BN_POLICY_INGRESS, rig->dev[BN_POD_C].identity, ALLOW(1));
	bn_rig_policy_table(rig, BN_POD_B, BN_POLICY_EGRESS, BN_POLICY_CLOSED);
	live.client = (struct end){"A", 40000};
	live.service = (struct end){"VIP2", 443};
	live.backend = (struct end){"C", 8443};
}

static void off(struct bn_rig *rig, int family)
{
	bn_rig_policy_clear(rig);
}

/* ---- the live flow ---- */

static struct bn_tuple live_key(int family, int back)
{
	const struct end *from = back ? &live.backend : &live.client;
	const struct end *to = back ? &live.client : &live.service;

	return bn_tuple_make(family, IPPROTO_TCP, from->addr, from->port, to->addr, to->port);
}

static const char *noted(struct bn_rig *rig, int family, const struct bn_result *r)
{
	for (int back = 0; back < 2; back++) {
		struct bn_tuple key = live_key(family, back);

		if (bn_rig_flow(rig, &key, &live.entry[back]) != BN_ESTABLISHED)
			return "the live flow is not established";
	}
	return NULL;
}

static void count_open(const struct bn_flow_entry *e, enum bn_where where, void *data)
{
	unsigned int *open = data;

	*open += e->flow.action != BN_ACT_DROP;
}

static const char *untouched(struct bn_rig *rig, int family, const struct bn_result *r)
{
	unsigned int open = 0;

	for (int back = 0; back < 2; back++) {
		struct bn_tuple key = live_key(family, back);
		struct bn_flow f;

		if (bn_rig_flow(rig, &key, &f) != BN_ESTABLISHED)
			return "an entry of the live flow is no longer established";
		if (memcmp(&f, &live.entry[back], sizeof(f)))
			return "an entry of the live flow has changed";
	}
	bn_rig_flows_each(rig, count_open, &open);
	return open == 2 ? NULL : "there is an entry that is no refusal";
}

#define LIVE(v, vp, b, bp, pod, rule) \
	{"SYN",       FROM(BN_POD_A),    TCP("A", 40000, v, vp, SYN), \
	 DNAT(b, bp), .count = {OPENED}, .ingress = (rule)}, \
		{"SYN-ACK", FROM(pod), TCP(b, bp, "A", 40000, SYN | ACK), SNAT(v, vp)}, \
	{ \
		"ACK", FROM(BN_POD_A), TCP("A", 40000, v, vp, ACK), DNAT(b, bp), \
			.count = {[BN_CNT_FLOWS_PROMOTED] = 2}, .check = noted \
	}
#define ALIVE(v, vp, b, bp, pod) \
	{"data", FROM(BN_POD_A), TCP("A", 40000, v, vp, ACK, .payload = 9), DNAT(b, bp)}, \
	{ \
		"an answer", FROM(pod), TCP(b, bp, "A", 40000, ACK, .payload = 9), SNAT(v, vp), \
			.check = noted \
	}
#define LIVE_B LIVE("VIP", 80, "B", 8080, BN_POD_B, ALLOW(1))
#define ALIVE_B ALIVE("VIP", 80, "B", 8080, BN_POD_B)

static const struct bn_case cases[] = {
	{"replies that nobody asked for, out of a pod", .prepare = b_for_a, .restore = off,
	 .step = {LIVE_B,
		  {"SYN-ACK", FROM(BN_POD_C), TCP("C", 80, "B", 8080, SYN | ACK), INGRESS, DECIDED},
		  {"ACK behind it", FROM(BN_POD_C), TCP("C", 80, "B", 8080, ACK), INGRESS},
		  {"what B would say to it", FROM(BN_POD_B), TCP("B", 8080, "C", 80, RST), INGRESS,
		   DECIDED},
		  {"ACK once more", FROM(BN_POD_C), TCP("C", 80, "B", 8080, ACK), INGRESS},
		  {"ACK", FROM(BN_POD_C), TCP("C", 81, "B", 8080, ACK), INGRESS, DECIDED},
		  {"RST from a client's port", FROM(BN_POD_C), TCP("C", 40000, "B", 8080, RST),
		   INGRESS, DECIDED},
		  {"FIN-ACK to another port", FROM(BN_POD_C), TCP("C", 80, "B", 8081, FIN | ACK),
		   INGRESS, DECIDED},
		  {"DNS", FROM(BN_POD_C), UDP("C", 53, "B", 40000), INGRESS, DECIDED},
		  {"from the live flow's client to another port", FROM(BN_POD_A),
		   TCP("A", 80, "B", 8081, SYN | ACK), INGRESS, DECIDED, .ingress = 2},
		  {"DNS from the live flow's client", FROM(BN_POD_A), UDP("A", 53, "B", 8080),
		   INGRESS, DECIDED, .ingress = 2},
		  {"through the service", FROM(BN_POD_C), TCP("C", 40001, "VIP", 80, ACK), INGRESS,
		   DECIDED},
		  ALIVE_B}},
	{"replies that nobody asked for, from outside", .prepare = b_for_a, .restore = off,
	 .step = {LIVE_B,
		  {"SYN-ACK", UPLINK, TCP("WORLD", 80, "B", 8080, SYN | ACK), INGRESS, DECIDED},
		  {"ACK behind it", UPLINK, TCP("WORLD", 80, "B", 8080, ACK), INGRESS},
		  {"what B would say to it", FROM(BN_POD_B), TCP("B", 8080, "WORLD", 80, RST),
		   INGRESS, DECIDED},
		  {"RST from a client's port", UPLINK, TCP("WORLD", 40000, "B", 8080, RST), INGRESS,
		   DECIDED},
		  {"FIN-ACK to another port", UPLINK, TCP("WORLD", 80, "B", 8081, FIN | ACK),
		   INGRESS, DECIDED},
		  {"DNS", UPLINK, UDP("WORLD", 53, "B", 40000), INGRESS, DECIDED},
		  {"another node's pod: SYN-ACK", UPLINK, TCP("REMOTE", 80, "B", 8080, SYN | ACK),
		   INGRESS, DECIDED},
		  {"its ACK", UPLINK, TCP("REMOTE", 81, "B", 8080, ACK), INGRESS, DECIDED},
		  {"its RST", UPLINK, TCP("REMOTE", 40000, "B", 8080, RST), INGRESS, DECIDED},
		  {"its FIN-ACK", UPLINK, TCP("REMOTE", 80, "B", 8081, FIN | ACK), INGRESS,
		   DECIDED},
		  {"its DNS", UPLINK, UDP("REMOTE", 53, "B", 40000), INGRESS, DECIDED},
		  ALIVE_B}},
	{"the live flow's addresses, from who does not have them", .prepare = b_for_a,
	 .restore = off,
	 .step = {LIVE_B,
		  {"the client's, to the service", FROM(BN_POD_C),
		   TCP("A", 40000, "VIP", 80, ACK, .payload = 9), SPOOFED},
		  {"the client's, to the backend", FROM(BN_POD_C),
		   TCP("A", 40000, "B", 8080, ACK, .payload = 9), SPOOFED},
		  {"the backend's", FROM(BN_POD_C), TCP("B", 8080, "A", 40000, ACK, .payload = 9),
		   SPOOFED},
		  {"the service's", FROM(BN_POD_C), TCP("VIP", 80, "A", 40000, RST), SPOOFED},
		  {"the service's, from the backend itself", FROM(BN_POD_B),
		   TCP("VIP", 80, "A", 40000, RST), SPOOFED},
		  {"the service's, to the backend", FROM(BN_POD_C),
		   TCP("VIP", 80, "B", 8080, SYN | ACK), SPOOFED},
		  {"the client's, from outside", UPLINK,
		   TCP("A", 40000, "VIP", 80, ACK, .payload = 9), OUTSIDE},
		  {"the client's, from outside to the backend", UPLINK,
		   TCP("A", 40000, "B", 8080, ACK, .payload = 9), OUTSIDE},
		  {"the backend's, from outside", UPLINK,
		   TCP("B", 8080, "A", 40000, ACK, .payload = 9), OUTSIDE},
		  ALIVE_B}},
	{"but for one port, the live flow", .prepare = b_for_a_alone, .restore = off,
	 .step = {LIVE_B,
		  {"the reply, to another port", FROM(BN_POD_B), TCP("B", 8080, "A", 40001, ACK),
		   EGRESS, DECIDED},
		  {"again", FROM(BN_POD_B), TCP("B", 8080, "A", 40001, ACK), EGRESS},
		  {"the reply, from another port", FROM(BN_POD_B), TCP("B", 8081, "A", 40000, ACK),
		   EGRESS, DECIDED},
		  {"its SYN-ACK", FROM(BN_POD_B), TCP("B", 80, "A", 40000, SYN | ACK), EGRESS,
		   DECIDED},
		  {"its datagram", FROM(BN_POD_B), UDP("B", 8080, "A", 40000), EGRESS, DECIDED},
		  {"from another port to the service: B may not have begun it", FROM(BN_POD_A),
		   TCP("A", 40001, "VIP", 80, ACK), EGRESS, DECIDED, .ingress = ALLOW(1)},
		  {"again: no refusal of a first packet", FROM(BN_POD_A),
		   TCP("A", 40001, "VIP", 80, ACK), EGRESS, DECIDED, .ingress = ALLOW(1)},
		  {"to another of the service's ports", FROM(BN_POD_A),
		   TCP("A", 40000, "VIP", 81, ACK), INGRESS, DECIDED, .ingress = 2},
		  {"to the backend, past the service", FROM(BN_POD_A),
		   TCP("A", 40000, "B", 8080, ACK), EGRESS, DECIDED, .ingress = ALLOW(1)},
		  {"another node's pod, with the reply's ports", UPLINK,
		   TCP("REMOTE", 8080, "A", 40000, ACK), INGRESS, DECIDED},
		  ALIVE_B}},
	{"only one pod is let in, another has a flow with it", .prepare = b_for_c, .restore = off,
	 .step = {LIVE("VIP2", 443, "C", 8443, BN_POD_C, 0),
		  {"SYN-ACK", FROM(BN_POD_A), TCP("A", 443, "B", 8080, SYN | ACK), INGRESS,
		   DECIDED},
		  {"from the live flow's port", FROM(BN_POD_A), TCP("A", 40000, "B", 8443, ACK),
		   INGRESS, DECIDED},
		  {"RST", FROM(BN_POD_A), TCP("A", 40000, "B", 8080, RST), INGRESS, DECIDED},
		  {"DNS", FROM(BN_POD_A), UDP("A", 53, "B", 40000), INGRESS, DECIDED},
		  {"who is let in, with a reply: B may not have asked", FROM(BN_POD_C),
		   TCP("C", 8443, "B", 40000, SYN | ACK), EGRESS, DECIDED, .ingress = ALLOW(1)},
		  {"with the live flow's ports", FROM(BN_POD_C), TCP("C", 8443, "B", 40000, ACK),
		   EGRESS, DECIDED, .ingress = ALLOW(1)},
		  ALIVE("VIP2", 443, "C", 8443, BN_POD_C),
		  {"who is let in begins", FROM(BN_POD_C), TCP("C", 8443, "B", 40000, SYN),
		   .outcome = BN_FORWARDED, .count = {OPENED}, .ingress = ALLOW(1)}}},
};

int main(void)
{
	return bn_program_main("policy-forged", cases, sizeof(cases) / sizeof(cases[0]), NULL);
}
