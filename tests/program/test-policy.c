// SPDX-License-Identifier: Apache-2.0
/*
 * NetworkPolicy's decision on a flow's first packet: tables, identities and rules; which rule is
 * named and hit; whom policy leaves alone, and which end's address and port it sees.
 */
#include "lib/program.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#define OPENED [BN_CNT_FLOWS_OPENED] = 1, [BN_CNT_DECISIONS] = 1
#define PASSES .outcome = BN_FORWARDED, .count = {OPENED}
#define DECIDED .count = {[BN_CNT_DECISIONS] = 1}
#define EGRESS DROP(POLICY_EGRESS)
#define INGRESS DROP(POLICY_INGRESS)
#define ALLOW(rule) (BN_VERDICT_ALLOW | (rule))

/* Nobody's identity: no rule names it. */
#define STRANGE (BN_IDENTITY_FIRST + 200)

static __u32 id(const struct bn_rig *rig, int pod)
{
	return rig->dev[pod].identity;
}

static void off(struct bn_rig *rig, int family)
{
	bn_rig_policy_cidr(rig, "WORLD", family, 0);
	bn_rig_policy_cidr(rig, "VIP", family, 0);
	bn_rig_policy_clear(rig);
}

/* ---- two ends ---- */

static void a_denied(struct bn_rig *rig, int family)
{
	bn_rig_policy_say(rig, BN_POD_A, BN_POLICY_EGRESS, id(rig, BN_POD_B), 3);
}

static void b_denied(struct bn_rig *rig, int family)
{
	bn_rig_policy_say(rig, BN_POD_A, BN_POLICY_EGRESS, id(rig, BN_POD_B), ALLOW(1));
	bn_rig_policy_say(rig, BN_POD_B, BN_POLICY_INGRESS, id(rig, BN_POD_A), 4);
}

static void both_denied(struct bn_rig *rig, int family)
{
	a_denied(rig, family);
	bn_rig_policy_say(rig, BN_POD_B, BN_POLICY_INGRESS, id(rig, BN_POD_A), 4);
}

static void both_allow(struct bn_rig *rig, int family)
{
	bn_rig_policy_say(rig, BN_POD_A, BN_POLICY_EGRESS, id(rig, BN_POD_B), ALLOW(1));
	bn_rig_policy_say(rig, BN_POD_B, BN_POLICY_INGRESS, id(rig, BN_POD_A), ALLOW(2));
	bn_rig_policy_table(rig, BN_POD_A, BN_POLICY_INGRESS, BN_POLICY_CLOSED);
	bn_rig_policy_table(rig, BN_POD_B, BN_POLICY_EGRESS, BN_POLICY_CLOSED);
}

/* The rule that allows leads to the highest number that one has. */
static void far_rule(struct bn_rig *rig, int family)
{
	bn_rig_policy_say(rig, BN_POD_A, BN_POLICY_EGRESS, id(rig, BN_POD_B),
			  ALLOW(BN_VERDICT_RULE));
}

/* ---- tables ---- */

static void a_closed(struct bn_rig *rig, int family)
{
	bn_rig_policy_table(rig, BN_POD_A, BN_POLICY_EGRESS, BN_POLICY_CLOSED);
}

static void b_closed(struct bn_rig *rig, int family)
{
	bn_rig_policy_table(rig, BN_POD_B, BN_POLICY_INGRESS, BN_POLICY_CLOSED);
}

static void a_no_table(struct bn_rig *rig, int family)
{
	bn_rig_policy_table(rig, BN_POD_A, BN_POLICY_EGRESS, BN_DEFAULT_POLICY_TABLES - 1);
}

static void a_beyond(struct bn_rig *rig, int family)
{
	bn_rig_policy_table(rig, BN_POD_A, BN_POLICY_EGRESS, BN_DEFAULT_POLICY_TABLES);
}

static void a_open(struct bn_rig *rig, int family)
{
	bn_rig_policy_table(rig, BN_POD_A, BN_POLICY_EGRESS, BN_POLICY_OPEN);
}

/* ---- identities ---- */

static void b_strange(struct bn_rig *rig, int family)
{
	bn_rig_policy_say(rig, BN_POD_A, BN_POLICY_EGRESS, id(rig, BN_POD_B), ALLOW(1));
	rig->dev[BN_POD_B].identity = rig->dev[BN_POD_B].identity6 = STRANGE;
	bn_rig_epoch_bump(rig, rig->dev[BN_POD_B].slot);
}

/* A CIDR may tell a pod's addresses apart: B takes A's IPv4, A sends to B's IPv6. */
static void families_apart(struct bn_rig *rig, int family)
{
	rig->dev[BN_POD_A].identity6 = STRANGE;
	rig->dev[BN_POD_B].identity6 = STRANGE + 1;
	bn_rig_policy_say(rig, BN_POD_B, BN_POLICY_INGRESS, rig->dev[BN_POD_A].identity, ALLOW(1));
	bn_rig_policy_say(rig, BN_POD_B, BN_POLICY_INGRESS, STRANGE, 2);
	bn_rig_policy_say(rig, BN_POD_C, BN_POLICY_EGRESS, rig->dev[BN_POD_B].identity, 3);
	bn_rig_policy_say(rig, BN_POD_C, BN_POLICY_EGRESS, STRANGE + 1, ALLOW(4));
	bn_rig_policy_say(rig, BN_POD_B, BN_POLICY_INGRESS, rig->dev[BN_POD_C].identity, ALLOW(5));
	bn_rig_epoch_bump(rig, rig->dev[BN_POD_A].slot);
}

static void world_open(struct bn_rig *rig, int family)
{
	bn_rig_policy_say(rig, BN_POD_A, BN_POLICY_EGRESS, BN_IDENTITY_WORLD, ALLOW(1));
	bn_rig_policy_say(rig, BN_POD_A, BN_POLICY_EGRESS, STRANGE, 5);
	bn_rig_policy_say(rig, BN_POD_A, BN_POLICY_EGRESS, BN_IDENTITY_REMOTE_NODE, ALLOW(2));
}

static void world_is(struct bn_rig *rig, int family, __u32 identity)
{
	bn_rig_policy_cidr(rig, "WORLD", family, identity);
	bn_rig_epoch_bump(rig, BN_SLOT_NONE);
}

static void world_strange(struct bn_rig *rig, int family)
{
	world_is(rig, family, STRANGE);
}

static void world_paged(struct bn_rig *rig, int family)
{
	world_is(rig, family, BN_IDENTITIES - 1);
}

static void world_beyond(struct bn_rig *rig, int family)
{
	world_is(rig, family, BN_IDENTITIES + BN_IDENTITY_WORLD);
}

static void world_in(struct bn_rig *rig, int family)
{
	bn_rig_policy_ports(rig, BN_POD_B, BN_POLICY_INGRESS, BN_IDENTITY_WORLD, BN_POLICY_TCP,
			    8080, 8080, ALLOW(1), 2);
}

static void remote_in(struct bn_rig *rig, int family)
{
	bn_program_by_another(rig, family);
	bn_rig_policy_ports(rig, BN_POD_B, BN_POLICY_INGRESS, BN_IDENTITY_FIRST + 100,
			    BN_POLICY_TCP, 8080, 8080, ALLOW(1), 2);
}

/* ---- services ---- */

static void a_backend_port(struct bn_rig *rig, int family)
{
	bn_rig_policy_ports(rig, BN_POD_A, BN_POLICY_EGRESS, id(rig, BN_POD_B), BN_POLICY_TCP, 8080,
			    8080, ALLOW(1), 2);
	bn_rig_policy_ports(rig, BN_POD_B, BN_POLICY_INGRESS, id(rig, BN_POD_A), BN_POLICY_TCP,
			    8080, 8080, ALLOW(3), 4);
}

/* The service's own port and address, which are nobody's at the backend. */
static void a_service_port(struct bn_rig *rig, int family)
{
	bn_rig_policy_ports(rig, BN_POD_A, BN_POLICY_EGRESS, id(rig, BN_POD_B), BN_POLICY_TCP, 80,
			    80, ALLOW(1), 2);
	bn_rig_policy_say(rig, BN_POD_A, BN_POLICY_EGRESS, STRANGE, ALLOW(3));
	bn_rig_policy_cidr(rig, "VIP", family, STRANGE);
}

static void a_remote(struct bn_rig *rig, int family)
{
	bn_rig_policy_ports(rig, BN_POD_A, BN_POLICY_EGRESS, BN_IDENTITY_FIRST + 100, BN_POLICY_TCP,
			    8082, 8082, ALLOW(1), 2);
}

/* The union that names a refusal's rule is the one of the backend. */
static const char *names_no_backend(struct bn_rig *rig, int family, const struct bn_result *r)
{
	const struct bn_event *e = &rig->events[0];

	return e->flags & BN_FLOW_BACKEND && e->backend == 2
		       ? "the record takes the rule for a backend"
		       : NULL;
}

static void a_shut_in(struct bn_rig *rig, int family)
{
	a_closed(rig, family);
	bn_rig_policy_table(rig, BN_POD_A, BN_POLICY_INGRESS, BN_POLICY_CLOSED);
}

/* ---- audit ---- */

static void a_audited(struct bn_rig *rig, int family)
{
	a_denied(rig, family);
	bn_rig_endpoint_set(rig, BN_POD_A, BN_EP_AUDIT_BOTH);
}

static void b_audited(struct bn_rig *rig, int family)
{
	b_denied(rig, family);
	bn_rig_endpoint_set(rig, BN_POD_B, BN_EP_AUDIT_BOTH);
}

static void both_audited(struct bn_rig *rig, int family)
{
	both_denied(rig, family);
	bn_rig_endpoint_set(rig, BN_POD_A, BN_EP_AUDIT_BOTH);
	bn_rig_endpoint_set(rig, BN_POD_B, BN_EP_AUDIT_BOTH);
}

static void only_a_audited(struct bn_rig *rig, int family)
{
	both_denied(rig, family);
	bn_rig_endpoint_set(rig, BN_POD_A, BN_EP_AUDIT_BOTH);
}

static const struct bn_case cases[] = {
	{"nobody's policy",
	 .step = {{"SYN", FROM(BN_POD_A), TCP("A", 40000, "B", 80, SYN), PASSES}}},
	{"the sender's policy denies", .prepare = a_denied, .restore = off,
	 .step = {{"SYN", FROM(BN_POD_A), TCP("A", 40000, "B", 80, SYN), EGRESS, DECIDED,
		   .egress = 3},
		  {"again: remembered, and no other hit", FROM(BN_POD_A),
		   TCP("A", 40000, "B", 80, SYN), EGRESS, .egress = 3},
		  {"to whom no rule names", FROM(BN_POD_A), TCP("A", 40000, "C", 80, SYN), EGRESS,
		   DECIDED},
		  {"the other way", FROM(BN_POD_B), TCP("B", 40000, "A", 80, SYN), PASSES}}},
	{"the receiver's policy denies", .prepare = b_denied, .restore = off,
	 .step = {{"SYN", FROM(BN_POD_A), TCP("A", 40000, "B", 80, SYN), INGRESS, DECIDED,
		   .egress = ALLOW(1), .ingress = 4},
		  {"again", FROM(BN_POD_A), TCP("A", 40000, "B", 80, SYN), INGRESS, .ingress = 4},
		  {"from whom no rule names", FROM(BN_POD_C), TCP("C", 40000, "B", 80, SYN),
		   INGRESS, DECIDED}}},
	{"both deny: the sender's is named", .prepare = both_denied, .restore = off,
	 .step = {{"SYN", FROM(BN_POD_A), TCP("A", 40000, "B", 80, SYN), EGRESS, DECIDED,
		   .egress = 3}}},
	{"both allow, and replies pass whatever policy says of their direction",
	 .prepare = both_allow, .restore = off,
	 .step = {{"SYN", FROM(BN_POD_A), TCP("A", 40000, "B", 80, SYN), PASSES, .egress = ALLOW(1),
		   .ingress = ALLOW(2)},
		  {"SYN-ACK", FROM(BN_POD_B), TCP("B", 80, "A", 40000, SYN | ACK),
		   .outcome = BN_FORWARDED},
		  {"ACK", FROM(BN_POD_A), TCP("A", 40000, "B", 80, ACK), .outcome = BN_FORWARDED,
		   .count = {[BN_CNT_FLOWS_PROMOTED] = 2}},
		  {"datagram", FROM(BN_POD_A), UDP("A", 40000, "B", 53), PASSES, .egress = ALLOW(1),
		   .ingress = ALLOW(2)},
		  {"answer", FROM(BN_POD_B), UDP("B", 53, "A", 40000), .outcome = BN_FORWARDED},
		  {"another's answer", FROM(BN_POD_B), UDP("B", 53, "A", 40001), EGRESS, DECIDED},
		  {"a reply that nobody asked for", FROM(BN_POD_B),
		   TCP("B", 81, "A", 40000, SYN | ACK), EGRESS, DECIDED}}},
	{"a rule without a counter", .prepare = far_rule, .restore = off,
	 .step = {{"SYN", FROM(BN_POD_A), TCP("A", 40000, "B", 80, SYN), PASSES,
		   .egress = ALLOW(BN_VERDICT_RULE)}}},
	{"tables: closed, none, beyond the map, open", .prepare = a_closed, .restore = off,
	 .step = {{"closed", FROM(BN_POD_A), TCP("A", 40000, "B", 80, SYN), EGRESS, DECIDED},
		  {"closed to the world", FROM(BN_POD_A), TCP("A", 40000, "WORLD", 80, SYN), EGRESS,
		   DECIDED},
		  {"a number without a table", FROM(BN_POD_A), TCP("A", 40000, "B", 80, SYN),
		   EGRESS, DECIDED, .before = a_no_table},
		  {"beyond", FROM(BN_POD_A), TCP("A", 40000, "B", 80, SYN), EGRESS, DECIDED,
		   .before = a_beyond},
		  {"closed at the other end", FROM(BN_POD_C), TCP("C", 40000, "B", 80, SYN),
		   INGRESS, DECIDED, .before = b_closed},
		  {"open", FROM(BN_POD_A), TCP("A", 40000, "C", 80, SYN), PASSES,
		   .before = a_open}}},
	{"an identity that no rule names", .prepare = b_strange, .restore = off,
	 .step = {{"SYN", FROM(BN_POD_A), TCP("A", 40000, "B", 80, SYN), EGRESS, DECIDED}}},
	{"a pod's two addresses are two identities", .families = 4, .prepare = families_apart,
	 .restore = off,
	 .step = {{"from", FROM(BN_POD_A), TCP("A", 40000, "B", 80, SYN), PASSES,
		   .ingress = ALLOW(1)},
		  {"to", FROM(BN_POD_C), TCP("C", 40000, "B", 80, SYN), EGRESS, DECIDED,
		   .egress = 3}}},
	{"a pod's two addresses are two identities", .families = 6, .prepare = families_apart,
	 .restore = off,
	 .step = {{"from", FROM(BN_POD_A), TCP("A", 40000, "B", 80, SYN), INGRESS, DECIDED,
		   .ingress = 2},
		  {"to", FROM(BN_POD_C), TCP("C", 40000, "B", 80, SYN), PASSES, .egress = ALLOW(4),
		   .ingress = ALLOW(5)}}},
	{"behind IPv6 extension headers", .families = 6, .prepare = world_in, .restore = off,
	 .step = {{"allowed", UPLINK,
		   TCP("WORLD", 40000, "B", 8080, SYN, .exts = 2,
		       .ext = {{.type = 0, .data = {1, 4}},
			       {.type = 60, .len = 16, .data = {1, 12}}}),
		   PASSES, .ingress = ALLOW(1)},
		  {"denied", UPLINK,
		   TCP("WORLD", 40000, "B", 8081, SYN, .exts = 2,
		       .ext = {{.type = 0, .data = {1, 4}},
			       {.type = 60, .len = 16, .data = {1, 12}}}),
		   INGRESS, DECIDED, .ingress = 2},
		  {"more than are followed", UPLINK,
		   TCP("WORLD", 40000, "B", 8080, SYN, .exts = 7,
		       .ext = {{.type = 60, .data = {1, 4}},
			       {.type = 60, .data = {1, 4}},
			       {.type = 60, .data = {1, 4}},
			       {.type = 60, .data = {1, 4}},
			       {.type = 60, .data = {1, 4}},
			       {.type = 60, .data = {1, 4}},
			       {.type = 60, .data = {1, 4}}}),
		   DROP(EXTENSION_HEADERS)}}},
	{"addresses: the world, a CIDR's, and numbers that are no identity's",
	 .prepare = world_open, .restore = off,
	 .step = {{"the world", FROM(BN_POD_A), TCP("A", 40000, "WORLD", 80, SYN), PASSES,
		   .egress = ALLOW(1)},
		  {"a CIDR that is denied", FROM(BN_POD_A), TCP("A", 40001, "WORLD", 80, SYN),
		   EGRESS, DECIDED, .egress = 5, .before = world_strange},
		  {"of a page that is not there", FROM(BN_POD_A), TCP("A", 40002, "WORLD", 80, SYN),
		   EGRESS, DECIDED, .before = world_paged},
		  {"of no page", FROM(BN_POD_A), TCP("A", 40003, "WORLD", 80, SYN), EGRESS, DECIDED,
		   .before = world_beyond}}},
	{"from outside", .prepare = world_in, .restore = off,
	 .step = {{"allowed", UPLINK, TCP("WORLD", 40000, "B", 8080, SYN), PASSES,
		   .ingress = ALLOW(1)},
		  {"denied", UPLINK, TCP("WORLD", 40000, "B", 8081, SYN), INGRESS, DECIDED,
		   .ingress = 2},
		  {"a NodePort is its backend's port", UPLINK,
		   TCP("WORLD", 40001, "NODE", 30080, SYN), DNAT("B", 8080), .count = {OPENED},
		   .ingress = ALLOW(1)},
		  {"a pod of another node", UPLINK, TCP("REMOTE", 40000, "B", 8080, SYN), INGRESS,
		   DECIDED}}},
	{"through the stack from another device", .prepare = remote_in, .restore = off,
	 .step = {{"allowed", TO_BY(BN_POD_B, BN_STRANGER), TCP("REMOTE", 40000, "B", 8080, SYN),
		   .outcome = BN_PASSED, .count = {OPENED}, .ingress = ALLOW(1)},
		  {"denied", TO_BY(BN_POD_B, BN_STRANGER), TCP("REMOTE", 40000, "B", 8081, SYN),
		   INGRESS, DECIDED, .ingress = 2},
		  {"of the world", TO_BY(BN_POD_B, BN_STRANGER),
		   TCP("WORLD", 40000, "B", 8080, SYN), INGRESS, DECIDED}}},
	{"services: the backend's address and port count", .prepare = a_backend_port,
	 .restore = off,
	 .step = {{"through the ClusterIP", FROM(BN_POD_A), TCP("A", 40000, "VIP", 80, SYN),
		   DNAT("B", 8080), .count = {OPENED}, .egress = ALLOW(1), .ingress = ALLOW(3)},
		  {"another port of the backend", FROM(BN_POD_A), TCP("A", 40000, "VIP", 81, SYN),
		   EGRESS, DECIDED, .egress = 2, .check = names_no_backend}}},
	{"services: the ClusterIP's own do not", .prepare = a_service_port, .restore = off,
	 .step = {{"through the ClusterIP", FROM(BN_POD_A), TCP("A", 40000, "VIP", 80, SYN), EGRESS,
		   DECIDED, .egress = 2, .check = names_no_backend},
		  {"again", FROM(BN_POD_A), TCP("A", 40000, "VIP", 80, SYN), EGRESS, .egress = 2,
		   .check = names_no_backend},
		  {"a port that the service has not", FROM(BN_POD_A),
		   TCP("A", 40000, "VIP", 443, SYN),
		   RESET("VIP", 443, "A", 40000, RST | ACK, .ack = 1, .no_window = 1),
		   REFUSED(SERVICE_UNKNOWN)}}},
	{"services: a backend of another node", .prepare = a_remote, .restore = off,
	 .step = {{"allowed", FROM(BN_POD_A), TCP("A", 40000, "VIP", 82, SYN), DNAT("REMOTE", 8082),
		   .count = {OPENED}, .egress = ALLOW(1)},
		  {"denied", FROM(BN_POD_A), TCP("A", 40000, "REMOTE", 80, SYN), EGRESS, DECIDED,
		   .egress = 2}}},
	{"a pod reaches itself through its service", .prepare = a_shut_in, .restore = off,
	 .step = {{"SYN", FROM(BN_POD_A), TCP("A", 40000, "HAIRPIN", 80, SYN),
		   .outcome = BN_FORWARDED, .to_src = "HAIRPIN", .to_dst = "A", .to_dport = 8080,
		   .count = {OPENED}},
		  {"SYN-ACK", FROM(BN_POD_A), TCP("A", 8080, "HAIRPIN", 40000, SYN | ACK),
		   .outcome = BN_FORWARDED, .to_src = "HAIRPIN", .to_sport = 80, .to_dst = "A"}}},
	{"the pod's own node", .prepare = a_shut_in, .restore = off,
	 .step = {{"to the pod", TO(BN_POD_A), TCP("NODE", 40000, "A", 8080, SYN),
		   .outcome = BN_PASSED, .count = {OPENED}},
		  {"the pod's reply", FROM(BN_POD_A), TCP("A", 8080, "NODE", 40000, SYN | ACK),
		   .outcome = BN_PASSED},
		  {"whatever address it gives", TO(BN_POD_A), TCP("WORLD", 40000, "A", 8080, SYN),
		   .outcome = BN_PASSED, .count = {OPENED}},
		  {"from the pod", FROM(BN_POD_A), TCP("A", 40001, "NODE", 22, SYN),
		   .outcome = BN_PASSED, .count = {OPENED}},
		  {"the node's reply", TO(BN_POD_A), TCP("NODE", 22, "A", 40001, SYN | ACK),
		   .outcome = BN_PASSED},
		  {"from outside with the node's address", UPLINK,
		   TCP("NODE", 40002, "A", 8080, SYN), DROP(UPLINK_SPOOF)}}},
	{"audit: what the sender's policy denies passes", .prepare = a_audited, .restore = off,
	 .step = {{"SYN", FROM(BN_POD_A), TCP("A", 40000, "B", 80, SYN), PASSES, .egress = 3,
		   .audited = BN_DROP_POLICY_EGRESS},
		  {"SYN-ACK", FROM(BN_POD_B), TCP("B", 80, "A", 40000, SYN | ACK),
		   .outcome = BN_FORWARDED},
		  {"to whom no rule names", FROM(BN_POD_A), UDP("A", 40000, "C", 80), PASSES,
		   .audited = BN_DROP_POLICY_EGRESS}}},
	{"audit: what the receiver's policy denies passes", .prepare = b_audited, .restore = off,
	 .step = {{"SYN", FROM(BN_POD_A), TCP("A", 40000, "B", 80, SYN), PASSES, .egress = ALLOW(1),
		   .ingress = 4, .audited = BN_DROP_POLICY_INGRESS}}},
	{"audit at both ends", .prepare = both_audited, .restore = off,
	 .step = {{"SYN", FROM(BN_POD_A), TCP("A", 40000, "B", 80, SYN), PASSES, .egress = 3,
		   .ingress = 4, .audited = BN_DROP_POLICY_EGRESS}}},
	{"audit at one end does not open the other", .prepare = only_a_audited, .restore = off,
	 .step = {{"SYN", FROM(BN_POD_A), TCP("A", 40000, "B", 80, SYN), INGRESS, DECIDED,
		   .egress = 3, .ingress = 4},
		  {"again", FROM(BN_POD_A), TCP("A", 40000, "B", 80, SYN), INGRESS, .ingress = 4}}},
};

int main(void)
{
	return bn_program_main("policy", cases, sizeof(cases) / sizeof(cases[0]), NULL);
}
