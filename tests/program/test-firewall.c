// SPDX-License-Identifier: Apache-2.0
/*
 * The node's own firewall: what comes to its addresses from outside and from its pods, what it sends
 * out itself, and replies of either. Failsafe is TCP 22 towards the node and UDP 53 from it.
 */
#include "lib/program.h"

#include <string.h>

#define OPENED [BN_CNT_FLOWS_OPENED] = 1, [BN_CNT_DECISIONS] = 1
#define LETIN .outcome = BN_PASSED, .count = {OPENED}
#define FOLLOWS .outcome = BN_PASSED
#define DECIDED .count = {[BN_CNT_DECISIONS] = 1}
#define PROMOTED .count = {[BN_CNT_FLOWS_PROMOTED] = 2}
#define CUT(...) \
	.cause = BN_CLOSE_STALE, \
	.count = {[BN_CNT_STALE] = 1, [BN_CNT_FLOWS_CLOSED] = 1, ##__VA_ARGS__}
#define EGRESS DROP(POLICY_EGRESS)
#define INGRESS DROP(POLICY_INGRESS)
#define ALLOW(rule) (BN_VERDICT_ALLOW | (rule))
/* Out of the node, from itself. */
#define OUT .hook = BN_HOOK_TO_UPLINK, .device = BN_UPLINK

static void failsafe(struct bn_config *c)
{
	c->failsafe[BN_POLICY_INGRESS][0] = BN_FAILSAFE_SET | bn_policy_key(BN_POLICY_TCP, 22);
	c->failsafe[BN_POLICY_EGRESS][0] = BN_FAILSAFE_SET | bn_policy_key(BN_POLICY_UDP, 53);
	c->event_rate = ~0u;
}

static void off(struct bn_rig *rig, int family)
{
	bn_rig_policy_clear(rig);
}

/* The world may reach TCP 80. */
static void web(struct bn_rig *rig, int family)
{
	bn_rig_policy_ports(rig, BN_RIG_NODE, BN_POLICY_INGRESS, BN_IDENTITY_WORLD, BN_POLICY_TCP,
			    80, 80, ALLOW(1), 2);
}

static void web_shut(struct bn_rig *rig, int family)
{
	bn_rig_policy_say(rig, BN_RIG_NODE, BN_POLICY_INGRESS, BN_IDENTITY_WORLD, 3);
}

static void web_audited(struct bn_rig *rig, int family)
{
	rig->dev[BN_RIG_NODE].flags = BN_EP_AUDIT_BOTH;
	web(rig, family);
}

/* The node may reach TCP 443 of the world, and whoever wants may reach it. */
static void out(struct bn_rig *rig, int family)
{
	bn_rig_policy_ports(rig, BN_RIG_NODE, BN_POLICY_EGRESS, BN_IDENTITY_WORLD, BN_POLICY_TCP,
			    443, 443, ALLOW(1), 2);
}

static void out_shut(struct bn_rig *rig, int family)
{
	bn_rig_policy_say(rig, BN_RIG_NODE, BN_POLICY_EGRESS, BN_IDENTITY_WORLD, 3);
}

static void closed(struct bn_rig *rig, int family)
{
	bn_rig_policy_table(rig, BN_RIG_NODE, BN_POLICY_INGRESS, BN_POLICY_CLOSED);
	bn_rig_policy_table(rig, BN_RIG_NODE, BN_POLICY_EGRESS, BN_POLICY_CLOSED);
}

static void pods(struct bn_rig *rig, int family)
{
	bn_rig_policy_ports(rig, BN_RIG_NODE, BN_POLICY_INGRESS, rig->dev[BN_POD_A].identity,
			    BN_POLICY_TCP, 80, 80, ALLOW(1), 2);
	bn_rig_policy_table(rig, BN_RIG_NODE, BN_POLICY_EGRESS, BN_POLICY_CLOSED);
	bn_rig_policy_table(rig, BN_POD_A, BN_POLICY_EGRESS, BN_POLICY_CLOSED);
	bn_rig_policy_table(rig, BN_POD_A, BN_POLICY_INGRESS, BN_POLICY_CLOSED);
}

static const struct bn_case cases[] = {
	{"no firewall",
	 .step = {{"in", UPLINK, TCP("WORLD", 40000, "NODE", 80, SYN), FOLLOWS},
		  {"out", OUT, TCP("NODE", 80, "WORLD", 40000, SYN | ACK), FOLLOWS}}},
	{"towards the node", .prepare = web, .restore = off,
	 .step = {{"SYN", UPLINK, TCP("WORLD", 40000, "NODE", 80, SYN), LETIN, .ingress = ALLOW(1)},
		  {"SYN-ACK", OUT, TCP("NODE", 80, "WORLD", 40000, SYN | ACK), FOLLOWS},
		  {"ACK", UPLINK, TCP("WORLD", 40000, "NODE", 80, ACK), FOLLOWS, PROMOTED},
		  {"data", UPLINK, TCP("WORLD", 40000, "NODE", 80, ACK), FOLLOWS},
		  {"data back", OUT, TCP("NODE", 80, "WORLD", 40000, ACK), FOLLOWS},
		  {"another port", UPLINK, TCP("WORLD", 40000, "NODE", 81, SYN), INGRESS, DECIDED,
		   .ingress = 2},
		  {"again: remembered", UPLINK, TCP("WORLD", 40000, "NODE", 81, SYN), INGRESS,
		   .ingress = 2},
		  {"another of its addresses", UPLINK, UDP("WORLD", 40000, "NODE2", 80), INGRESS,
		   DECIDED, .ingress = 2},
		  {"a pod of another node", UPLINK, TCP("REMOTE", 40000, "NODE", 80, SYN), INGRESS,
		   DECIDED},
		  {"midway, of no flow", UPLINK, TCP("WORLD", 40001, "NODE", 81, ACK), INGRESS,
		   DECIDED, .ingress = 2},
		  {"a SYN-ACK that nobody asked for", UPLINK,
		   TCP("WORLD", 80, "NODE", 50000, SYN | ACK), INGRESS, DECIDED, .ingress = 2}}},
	{"what the node began", .prepare = web, .restore = off,
	 .step = {{"SYN", OUT, TCP("NODE", 50000, "WORLD", 443, SYN), LETIN},
		  {"SYN-ACK", UPLINK, TCP("WORLD", 443, "NODE", 50000, SYN | ACK), FOLLOWS},
		  {"ACK", OUT, TCP("NODE", 50000, "WORLD", 443, ACK), FOLLOWS, PROMOTED},
		  {"data", UPLINK, TCP("WORLD", 443, "NODE", 50000, ACK), FOLLOWS},
		  {"query", OUT, UDP("NODE", 50000, "WORLD", 123), LETIN},
		  {"answer", UPLINK, UDP("WORLD", 123, "NODE", 50000), FOLLOWS},
		  {"another's answer", UPLINK, UDP("WORLD", 124, "NODE", 50000), INGRESS, DECIDED,
		   .ingress = 2},
		  {"of its direction, from outside", UPLINK, TCP("NODE", 50000, "WORLD", 443, ACK),
		   DROP(UPLINK_SPOOF)}}},
	{"from the node", .prepare = out, .restore = off,
	 .step = {{"allowed", OUT, TCP("NODE", 50000, "WORLD", 443, SYN), LETIN,
		   .egress = ALLOW(1)},
		  {"denied", OUT, TCP("NODE", 50000, "WORLD", 80, SYN), EGRESS, DECIDED,
		   .egress = 2},
		  {"again", OUT, TCP("NODE", 50000, "WORLD", 80, SYN), EGRESS, .egress = 2},
		  {"what comes in", UPLINK, TCP("WORLD", 40000, "NODE", 80, SYN), LETIN},
		  {"its reply", OUT, TCP("NODE", 80, "WORLD", 40000, SYN | ACK), FOLLOWS},
		  {"with no address of its own", OUT, UDP("WORLD", 68, "REMOTE", 67), FOLLOWS}}},
	{"a change cuts what it denies", .prepare = web, .restore = off,
	 .step = {{"SYN", UPLINK, TCP("WORLD", 40000, "NODE", 80, SYN), LETIN, .ingress = ALLOW(1)},
		  {"SYN-ACK", OUT, TCP("NODE", 80, "WORLD", 40000, SYN | ACK), FOLLOWS},
		  {"ACK", UPLINK, TCP("WORLD", 40000, "NODE", 80, ACK), FOLLOWS, PROMOTED},
		  {"SYN", OUT, TCP("NODE", 50000, "WORLD", 443, SYN), LETIN},
		  {"SYN-ACK", UPLINK, TCP("WORLD", 443, "NODE", 50000, SYN | ACK), FOLLOWS},
		  {"ACK", OUT, TCP("NODE", 50000, "WORLD", 443, ACK), FOLLOWS, PROMOTED},
		  {"its reply", OUT, TCP("NODE", 80, "WORLD", 40000, ACK), INGRESS,
		   CUT([BN_CNT_FLOWS_DEMOTED] = 2), .before = web_shut, .ingress = 3},
		  {"what it does not touch", UPLINK, TCP("WORLD", 443, "NODE", 50000, ACK), FOLLOWS,
		   .count = {[BN_CNT_STALE] = 1}},
		  {"until it does", UPLINK, TCP("WORLD", 443, "NODE", 50000, ACK), EGRESS,
		   CUT([BN_CNT_FLOWS_DEMOTED] = 2), .before = out_shut, .egress = 3}}},
	{"failsafe", .prepare = closed, .restore = off,
	 .step = {{"SYN", UPLINK, TCP("WORLD", 40000, "NODE", 22, SYN), LETIN},
		  {"SYN-ACK", OUT, TCP("NODE", 22, "WORLD", 40000, SYN | ACK), FOLLOWS},
		  {"a connection that was there before", UPLINK,
		   TCP("WORLD", 40001, "NODE", 22, ACK), LETIN},
		  {"likewise, the node's side first", OUT, TCP("NODE", 22, "WORLD", 40002, ACK),
		   LETIN},
		  {"after a change", OUT, TCP("NODE", 22, "WORLD", 40002, ACK), FOLLOWS,
		   .count = {[BN_CNT_STALE] = 1}, .before = closed},
		  {"from the other side", UPLINK, TCP("WORLD", 40002, "NODE", 22, ACK), FOLLOWS,
		   .count = {[BN_CNT_STALE] = 1, [BN_CNT_FLOWS_PROMOTED] = 2}},
		  {"query", OUT, UDP("NODE", 50000, "WORLD", 53), LETIN},
		  {"answer", UPLINK, UDP("WORLD", 53, "NODE", 50000), FOLLOWS},
		  {"the other protocol", UPLINK, UDP("WORLD", 40000, "NODE", 22), INGRESS, DECIDED},
		  {"the other direction", OUT, TCP("NODE", 50000, "WORLD", 22, SYN), EGRESS,
		   DECIDED},
		  {"from the failsafe's port", UPLINK, TCP("WORLD", 22, "NODE", 80, SYN), INGRESS,
		   DECIDED},
		  {"likewise midway", UPLINK, TCP("WORLD", 22, "NODE", 81, ACK), INGRESS, DECIDED},
		  {"from a pod", FROM(BN_POD_A), TCP("A", 40000, "NODE", 22, SYN), LETIN}}},
	{"pods of this node", .prepare = pods, .restore = off,
	 .step = {{"allowed", FROM(BN_POD_A), TCP("A", 40000, "NODE", 80, SYN), LETIN,
		   .ingress = ALLOW(1)},
		  {"the reply", TO(BN_POD_A), TCP("NODE", 80, "A", 40000, SYN | ACK), FOLLOWS},
		  {"denied", FROM(BN_POD_A), TCP("A", 40000, "NODE", 81, SYN), INGRESS, DECIDED,
		   .ingress = 2},
		  {"another pod", FROM(BN_POD_B), TCP("B", 40000, "NODE", 80, SYN), INGRESS,
		   DECIDED},
		  {"the node to its pod", TO(BN_POD_A), TCP("NODE", 50000, "A", 8080, SYN), LETIN},
		  {"the pod's reply", FROM(BN_POD_A), TCP("A", 8080, "NODE", 50000, SYN | ACK),
		   FOLLOWS}}},
	{"audit", .prepare = web_audited, .restore = off,
	 .step = {{"would be denied", UPLINK, TCP("WORLD", 40000, "NODE", 81, SYN), LETIN,
		   .ingress = 2, .audited = BN_DROP_POLICY_INGRESS}}},
	{"ICMP", .families = 4, .prepare = web, .restore = off,
	 .step = {{"echo request from outside", UPLINK,
		   .in = {.protocol = IPPROTO_ICMP,
			  .src = "WORLD",
			  .dst = "NODE",
			  .type = 8,
			  .icmp_id = 7},
		   INGRESS, DECIDED, .ingress = 2},
		  {"echo request of the node", OUT,
		   .in = {.protocol = IPPROTO_ICMP,
			  .src = "NODE",
			  .dst = "WORLD",
			  .type = 8,
			  .icmp_id = 7},
		   LETIN},
		  {"the reply", UPLINK,
		   .in = {.protocol = IPPROTO_ICMP,
			  .src = "WORLD",
			  .dst = "NODE",
			  .type = 0,
			  .icmp_id = 7},
		   FOLLOWS},
		  {"a reply that nobody asked for", UPLINK,
		   .in = {.protocol = IPPROTO_ICMP,
			  .src = "WORLD",
			  .dst = "NODE",
			  .type = 0,
			  .icmp_id = 8},
		   DROP(ICMP_UNSOLICITED)}}},
	{"services of pods are not the node's", .prepare = closed, .restore = off,
	 .step = {{"from outside", UPLINK, TCP("WORLD", 40000, "VIP", 80, SYN), DNAT("B", 8080),
		   .count = {OPENED}},
		  {"the reply", FROM(BN_POD_B), TCP("B", 8080, "WORLD", 40000, SYN | ACK),
		   SNAT("VIP", 80)}}},
};

int main(void)
{
	const struct bn_rig_options options = {.configure = failsafe};

	return bn_program_main("firewall", cases, sizeof(cases) / sizeof(cases[0]), &options);
}
