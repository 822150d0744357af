// SPDX-License-Identifier: Apache-2.0
/*
 * The node's own packets to services: decided as a pod's are, though nobody's policy holds them
 * back, with a port of the range towards backends elsewhere, and answers into the node's stack.
 */
#include "lib/program.h"

#define OPENED [BN_CNT_FLOWS_OPENED] = 1, [BN_CNT_DECISIONS] = 1
#define SCTP_PROTOCOL 132
#define NAT_PORT 64000
#define OUT(d, dp) \
	.outcome = BN_FORWARDED, .to_src = "NODE", .to_sport = NAT_PORT, .to_dst = (d), \
	.to_dport = (dp)
/* into the node's stack, as if from the service */
#define IN(s, sp) .outcome = BN_DELIVERED, .to_src = (s), .to_sport = (sp), .to_dst = "NODE"

static void one_port(struct bn_config *config)
{
	config->nat_port_min = NAT_PORT;
	config->nat_port_max = NAT_PORT;
	config->event_rate = ~0u;
}

static void stale(struct bn_rig *rig, int family)
{
	bn_rig_epoch_bump(rig, BN_SLOT_NONE);
}

static void isolate_b(struct bn_rig *rig, int family)
{
	bn_rig_policy_enforce(rig, BN_POD_B, BN_POLICY_INGRESS, true);
}

static void allow_all(struct bn_rig *rig, int family)
{
	bn_rig_policy_clear(rig);
}

static void forget_transient(struct bn_rig *rig, int family)
{
	bn_rig_forget_transient(rig);
}

static const char *recorded(struct bn_rig *rig, int family, const struct bn_result *result)
{
	struct bn_tuple key = bn_tuple_make(family, IPPROTO_TCP, "NODE", 40000, "VIP", 80);
	struct bn_flow f;

	if (bn_rig_flow(rig, &key, &f) != BN_ESTABLISHED)
		return "the flow is not established";
	if (f.flags & BN_FLOW_MASQ || f.action != BN_ACT_PEER ||
	    f.in_ifindex != rig->dev[BN_HOST].ifindex)
		return "not sent past the stack into the pod";
	key = bn_tuple_make(family, IPPROTO_TCP, "B", 8080, "NODE", 40000);
	if (bn_rig_flow(rig, &key, &f) != BN_ESTABLISHED)
		return "the reply direction is not established";
	if (f.action != BN_ACT_HOST || f.out_ifindex != rig->dev[BN_HOST].ifindex)
		return "replies don't come by the node's device";
	return NULL;
}

static const struct bn_case cases[] = {
	{"TCP to a pod here, from SYN to the established path",
	 .step = {{"SYN", HOST, TCP("NODE", 40000, "VIP", 80, SYN), DNAT("B", 8080),
		   .count = {OPENED}},
		  {"SYN-ACK", FROM(BN_POD_B), TCP("B", 8080, "NODE", 40000, SYN | ACK),
		   IN("VIP", 80)},
		  {"ACK", HOST, TCP("NODE", 40000, "VIP", 80, ACK), DNAT("B", 8080),
		   .count = {[BN_CNT_FLOWS_PROMOTED] = 2}, .check = recorded},
		  {"data", HOST, TCP("NODE", 40000, "VIP", 80, ACK, .payload = 99),
		   DNAT("B", 8080)},
		  {"its answer", FROM(BN_POD_B),
		   TCP("B", 8080, "NODE", 40000, ACK, .payload = 1200), IN("VIP", 80)},
		  {"routes have changed: data", HOST,
		   TCP("NODE", 40000, "VIP", 80, ACK, .payload = 9), DNAT("B", 8080),
		   .count = {[BN_CNT_STALE] = 1}, .before = stale},
		  {"and its answer", FROM(BN_POD_B),
		   TCP("B", 8080, "NODE", 40000, ACK, .payload = 9), IN("VIP", 80),
		   .count = {[BN_CNT_STALE] = 1}},
		  {"FIN", HOST, TCP("NODE", 40000, "VIP", 80, FIN | ACK), DNAT("B", 8080),
		   .count = {[BN_CNT_FLOWS_DEMOTED] = 2}},
		  {"its FIN", FROM(BN_POD_B), TCP("B", 8080, "NODE", 40000, FIN | ACK),
		   IN("VIP", 80), .count = {[BN_CNT_FLOWS_CLOSED] = 1}, .cause = BN_CLOSE_FIN}}},
	{"TCP to a backend elsewhere",
	 .step = {{"SYN", HOST, TCP("NODE", 40000, "VIP", 82, SYN), OUT("REMOTE", 8082),
		   .count = {OPENED}},
		  {"SYN-ACK", UPLINK, TCP("REMOTE", 8082, "NODE", NAT_PORT, SYN | ACK),
		   IN("VIP", 82), .to_dport = 40000},
		  {"ACK", HOST, TCP("NODE", 40000, "VIP", 82, ACK), OUT("REMOTE", 8082),
		   .count = {[BN_CNT_FLOWS_PROMOTED] = 2}},
		  {"data", HOST, TCP("NODE", 40000, "VIP", 82, ACK, .payload = 700),
		   OUT("REMOTE", 8082)},
		  {"its answer", UPLINK, TCP("REMOTE", 8082, "NODE", NAT_PORT, ACK, .payload = 1),
		   IN("VIP", 82), .to_dport = 40000},
		  {"routes have changed: an answer", UPLINK,
		   TCP("REMOTE", 8082, "NODE", NAT_PORT, ACK, .payload = 2), IN("VIP", 82),
		   .to_dport = 40000, .count = {[BN_CNT_STALE] = 1}, .before = stale},
		  {"data", HOST, TCP("NODE", 40000, "VIP", 82, ACK, .payload = 3),
		   OUT("REMOTE", 8082), .count = {[BN_CNT_STALE] = 1}}}},
	{"no port left towards the same backend",
	 .step = {{"first", HOST, TCP("NODE", 40000, "VIP", 82, SYN), OUT("REMOTE", 8082),
		   .count = {OPENED}},
		  {"second", HOST, TCP("NODE", 40001, "VIP", 82, SYN), DROP(NAT_PORTS_EXHAUSTED),
		   .count = {[BN_CNT_DECISIONS] = 1}}}},
	{"UDP and its answer, also when the table forgot",
	 .step = {{"request", HOST, UDP("NODE", 5000, "VIP", 53, .payload = 40), DNAT("B", 5353),
		   .count = {OPENED}},
		  {"answer", FROM(BN_POD_B), UDP("B", 5353, "NODE", 5000, .payload = 700),
		   IN("VIP", 53)},
		  {"forgotten: the request makes it anew", HOST,
		   UDP("NODE", 5000, "VIP", 53, .payload = 40), DNAT("B", 5353), .count = {OPENED},
		   .before = forget_transient},
		  {"answer", FROM(BN_POD_B), UDP("B", 5353, "NODE", 5000, .payload = 700),
		   IN("VIP", 53)}}},
	{"SCTP and its answer",
	 .step = {{"INIT", HOST, SCTP("NODE", 5000, "VIP", 3868, .payload = 20), DNAT("B", 3869),
		   .count = {OPENED}},
		  {"INIT-ACK", FROM(BN_POD_B), SCTP("B", 3869, "NODE", 5000, .payload = 20),
		   IN("VIP", 3868)}}},
	{"a backend that is the node: both ways by the service's address",
	 .step = {{"SYN", HOST, TCP("NODE", 40000, "VIP", 83, SYN), .outcome = BN_DELIVERED,
		   .to_src = "VIP", .to_dst = "NODE", .to_dport = 8083, .count = {OPENED}},
		  {"SYN-ACK", HOST, TCP("NODE", 8083, "VIP", 40000, SYN | ACK), IN("VIP", 83),
		   .to_dport = 40000},
		  {"ACK", HOST, TCP("NODE", 40000, "VIP", 83, ACK), .outcome = BN_DELIVERED,
		   .to_src = "VIP", .to_dst = "NODE", .to_dport = 8083,
		   .count = {[BN_CNT_FLOWS_PROMOTED] = 2}},
		  {"data", HOST, TCP("NODE", 40000, "VIP", 83, ACK, .payload = 9),
		   .outcome = BN_DELIVERED, .to_src = "VIP", .to_dst = "NODE", .to_dport = 8083},
		  {"routes have changed: its answer", HOST,
		   TCP("NODE", 8083, "VIP", 40000, ACK, .payload = 99), IN("VIP", 83),
		   .to_dport = 40000, .count = {[BN_CNT_STALE] = 1}, .before = stale}}},
	{"the node reaches pods whatever their policy", .prepare = isolate_b, .restore = allow_all,
	 .step = {{"SYN", HOST, TCP("NODE", 40000, "VIP", 80, SYN), DNAT("B", 8080),
		   .count = {OPENED}}}},
	{"no backend: a reset at once",
	 .step = {{"TCP", HOST, TCP("NODE", 40000, "VIP3", 80, SYN, .seq = 6),
		   RESET("VIP3", 80, "NODE", 40000, RST | ACK, .ack = 7, .no_window = 1),
		   REFUSED(SERVICE_NO_BACKEND)}}},
	{"no backend: port unreachable at once", .families = 4,
	 .step = {{"UDP", HOST, UDP("NODE", 5000, "VIP3", 53, .payload = 9),
		   UNREACHABLE4(.src = "VIP3", .dst = "NODE"), REFUSED(SERVICE_NO_BACKEND)}}},
	{"no backend: port unreachable at once", .families = 6,
	 .step = {{"UDP", HOST, UDP("NODE", 5000, "VIP3", 53, .payload = 9),
		   UNREACHABLE6(.src = "VIP3", .dst = "NODE"), REFUSED(SERVICE_NO_BACKEND)}}},
	{"what no service has is refused, not routed",
	 .step = {{"a port", HOST, TCP("NODE", 40000, "VIP", 99, SYN, .seq = 6),
		   RESET("VIP", 99, "NODE", 40000, RST | ACK, .ack = 7, .no_window = 1),
		   REFUSED(SERVICE_UNKNOWN)},
		  {"an address of nobody's", HOST, TCP("NODE", 40000, "WORLD", 80, SYN, .seq = 6),
		   RESET("WORLD", 80, "NODE", 40000, RST | ACK, .ack = 7, .no_window = 1),
		   REFUSED(SERVICE_UNKNOWN)}}},
	{"sources that no answer would reach",
	 .step = {{"another's", HOST, TCP("WORLD", 40000, "VIP", 80, SYN), DROP(SPOOFED_SOURCE)},
		  {"a pod's", HOST, TCP("A", 40000, "VIP", 80, SYN), DROP(SPOOFED_SOURCE)}}},
	{"a loopback source", .families = 4,
	 .step = {{"", HOST, TCP("127.0.0.1", 40000, "VIP", 80, SYN), DROP(MARTIAN_SOURCE)}}},
	{"a loopback source", .families = 6,
	 .step = {{"", HOST, TCP("::1", 40000, "VIP", 80, SYN), DROP(MARTIAN_SOURCE)}}},
};

int main(void)
{
	static const struct bn_rig_options options = {
		.flow_sets = 64, .masquerade = true, .configure = one_port};

	return bn_program_main("host", cases, sizeof(cases) / sizeof(cases[0]), &options);
}
