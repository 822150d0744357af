// SPDX-License-Identifier: Apache-2.0
/*
 * Services for what comes from outside: NodePorts and load balancers' addresses, with backends
 * here (the client's address stays) and elsewhere (this node's address and a port of its range).
 * The range is one port, so every packet out is known, and it is soon exhausted.
 */
#include "lib/program.h"

#include <arpa/inet.h>
#include <string.h>

#define OPENED [BN_CNT_FLOWS_OPENED] = 1, [BN_CNT_DECISIONS] = 1
#define SCTP_PROTOCOL 132
#define NAT_PORT 64000
/* to a backend elsewhere, from this node; and back to the client */
#define OUT(d, dp) \
	.outcome = BN_FORWARDED, .to_src = "NODE", .to_sport = NAT_PORT, .to_dst = (d), \
	.to_dport = (dp)
#define BACK(s, sp, d, dp) \
	.outcome = BN_FORWARDED, .to_src = (s), .to_sport = (sp), .to_dst = (d), .to_dport = (dp)

static void one_port(struct bn_config *config)
{
	config->nat_port_min = NAT_PORT;
	config->nat_port_max = NAT_PORT;
	config->event_rate = ~0u;
}

/* How the flow of a connection from outside stands in the tables. */
static const char *recorded(struct bn_rig *rig, int family, const struct bn_result *result)
{
	struct bn_tuple key = bn_tuple_make(family, IPPROTO_TCP, "WORLD", 40000, "NODE", 30080);
	struct bn_flow f;

	if (bn_rig_flow(rig, &key, &f) != BN_ESTABLISHED)
		return "the flow is not established";
	if (f.flags & BN_FLOW_MASQ || !(f.flags & BN_FLOW_SERVICE))
		return "flags of a flow to a backend here";
	if (f.action != BN_ACT_PEER || f.out_ifindex != rig->dev[BN_POD_B].ifindex)
		return "not sent past the stack into the pod";
	key = bn_tuple_make(family, IPPROTO_TCP, "B", 8080, "WORLD", 40000);
	if (bn_rig_flow(rig, &key, &f) != BN_ESTABLISHED)
		return "the reply direction is not established";
	if (f.action != BN_ACT_NEIGH || f.out_ifindex != rig->dev[BN_UPLINK].ifindex)
		return "replies don't leave past the stack";
	return NULL;
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

/* what a remote backend or a router says about packets that it got from this node */
static struct bn_packet at_backend, at_client, to_client, by_backend;

static void quotes(struct bn_rig *rig, int family)
{
	bn_quote(rig, family, &at_backend,
		 QUOTED("NODE", NAT_PORT, "REMOTE", 5354, .payload = 40, .ttl = 9));
	bn_quote(rig, family, &at_client,
		 QUOTED("WORLD", 5000, "NODE", 30054, .payload = 40, .ttl = 9));
	bn_quote(rig, family, &to_client,
		 QUOTED("NODE", 30053, "WORLD", 5000, .payload = 40, .ttl = 9));
	bn_quote(rig, family, &by_backend,
		 QUOTED("B", 5353, "WORLD", 5000, .payload = 40, .ttl = 9));
}

#define UNTOUCHED .outcome = BN_PASSED

static const struct bn_case cases[] = {
	{"TCP to a backend here, from SYN to the established path",
	 .step = {{"SYN", UPLINK, TCP("WORLD", 40000, "NODE", 30080, SYN), DNAT("B", 8080),
		   .count = {OPENED}},
		  {"SYN-ACK", FROM(BN_POD_B), TCP("B", 8080, "WORLD", 40000, SYN | ACK),
		   SNAT("NODE", 30080)},
		  {"ACK", UPLINK, TCP("WORLD", 40000, "NODE", 30080, ACK), DNAT("B", 8080),
		   .count = {[BN_CNT_FLOWS_PROMOTED] = 2}, .check = recorded},
		  {"data", UPLINK, TCP("WORLD", 40000, "NODE", 30080, ACK, .payload = 99),
		   DNAT("B", 8080)},
		  {"its answer", FROM(BN_POD_B),
		   TCP("B", 8080, "WORLD", 40000, ACK, .payload = 1200), SNAT("NODE", 30080)},
		  {"routes have changed: data", UPLINK,
		   TCP("WORLD", 40000, "NODE", 30080, ACK, .payload = 9), DNAT("B", 8080),
		   .count = {[BN_CNT_STALE] = 1}, .before = stale},
		  {"and its answer", FROM(BN_POD_B),
		   TCP("B", 8080, "WORLD", 40000, ACK, .payload = 9), SNAT("NODE", 30080),
		   .count = {[BN_CNT_STALE] = 1}}}},
	{"TCP to a backend elsewhere",
	 .step = {{"SYN", UPLINK, TCP("WORLD", 40000, "NODE", 30081, SYN), OUT("REMOTE", 8082),
		   .count = {OPENED}},
		  {"SYN-ACK", UPLINK, TCP("REMOTE", 8082, "NODE", NAT_PORT, SYN | ACK),
		   BACK("NODE", 30081, "WORLD", 40000)},
		  {"ACK", UPLINK, TCP("WORLD", 40000, "NODE", 30081, ACK), OUT("REMOTE", 8082),
		   .count = {[BN_CNT_FLOWS_PROMOTED] = 2}},
		  {"data", UPLINK, TCP("WORLD", 40000, "NODE", 30081, ACK, .payload = 1400),
		   OUT("REMOTE", 8082)},
		  {"its answer", UPLINK, TCP("REMOTE", 8082, "NODE", NAT_PORT, ACK, .payload = 1),
		   BACK("NODE", 30081, "WORLD", 40000)},
		  {"routes have changed: an answer", UPLINK,
		   TCP("REMOTE", 8082, "NODE", NAT_PORT, ACK, .payload = 2),
		   BACK("NODE", 30081, "WORLD", 40000), .count = {[BN_CNT_STALE] = 1},
		   .before = stale},
		  {"data", UPLINK, TCP("WORLD", 40000, "NODE", 30081, ACK, .payload = 3),
		   OUT("REMOTE", 8082), .count = {[BN_CNT_STALE] = 1}},
		  {"FIN", UPLINK, TCP("WORLD", 40000, "NODE", 30081, FIN | ACK),
		   OUT("REMOTE", 8082), .count = {[BN_CNT_FLOWS_DEMOTED] = 2}},
		  {"its FIN", UPLINK, TCP("REMOTE", 8082, "NODE", NAT_PORT, FIN | ACK),
		   BACK("NODE", 30081, "WORLD", 40000), .count = {[BN_CNT_FLOWS_CLOSED] = 1},
		   .cause = BN_CLOSE_FIN}}},
	{"UDP to a backend here",
	 .step = {{"request", UPLINK, UDP("WORLD", 5000, "NODE", 30053, .payload = 40),
		   DNAT("B", 5353), .count = {OPENED}},
		  {"answer", FROM(BN_POD_B), UDP("B", 5353, "WORLD", 5000, .payload = 700),
		   SNAT("NODE", 30053)}}},
	{"UDP to a backend elsewhere",
	 .step = {{"request", UPLINK, UDP("WORLD", 5000, "NODE", 30054, .payload = 40),
		   OUT("REMOTE", 5354), .count = {OPENED}},
		  {"answer", UPLINK, UDP("REMOTE", 5354, "NODE", NAT_PORT, .payload = 700),
		   BACK("NODE", 30054, "WORLD", 5000)}}},
	{"UDP without a checksum keeps none", .families = 4,
	 .step = {{"request", UPLINK, UDP("WORLD", 5000, "NODE", 30054, .checksum = BN_CSUM_ZERO),
		   OUT("REMOTE", 5354), .count = {OPENED}}}},
	{"SCTP to a backend here and back",
	 .step = {{"INIT", UPLINK, SCTP("WORLD", 5000, "NODE", 30038, .payload = 20),
		   DNAT("B", 3869), .count = {OPENED}},
		  {"INIT-ACK", FROM(BN_POD_B), SCTP("B", 3869, "WORLD", 5000, .payload = 20),
		   SNAT("NODE", 30038)}}},
	{"SCTP to a backend elsewhere and back",
	 .step = {{"INIT", UPLINK, SCTP("WORLD", 5000, "NODE", 30039, .payload = 20),
		   OUT("REMOTE", 3868), .count = {OPENED}},
		  {"INIT-ACK", UPLINK, SCTP("REMOTE", 3868, "NODE", NAT_PORT, .payload = 20),
		   BACK("NODE", 30039, "WORLD", 5000)}}},
	{"a load balancer's address",
	 .step = {{"a backend here", UPLINK, TCP("WORLD", 40000, "LB", 80, SYN), DNAT("B", 8080),
		   .count = {OPENED}},
		  {"SYN-ACK", FROM(BN_POD_B), TCP("B", 8080, "WORLD", 40000, SYN | ACK),
		   SNAT("LB", 80)},
		  {"a backend elsewhere", UPLINK, TCP("WORLD", 40000, "LB", 81, SYN),
		   OUT("REMOTE", 8082), .count = {OPENED}},
		  {"its SYN-ACK", UPLINK, TCP("REMOTE", 8082, "NODE", NAT_PORT, SYN | ACK),
		   BACK("LB", 81, "WORLD", 40000)}}},
	{"from a pod, a NodePort is a service like others",
	 .step = {{"a backend here", FROM(BN_POD_A), TCP("A", 40000, "NODE", 30080, SYN),
		   DNAT("B", 8080), .count = {OPENED}},
		  {"SYN-ACK", FROM(BN_POD_B), TCP("B", 8080, "A", 40000, SYN | ACK),
		   SNAT("NODE", 30080)},
		  {"a backend elsewhere, the pod's address kept", FROM(BN_POD_A),
		   TCP("A", 40001, "NODE", 30081, SYN), DNAT("REMOTE", 8082), .count = {OPENED}},
		  {"its SYN-ACK", UPLINK, TCP("REMOTE", 8082, "A", 40001, SYN | ACK),
		   SNAT("NODE", 30081)},
		  {"another port of the node is the node's", FROM(BN_POD_A),
		   TCP("A", 40000, "NODE", 30099, SYN), UNTOUCHED, .count = {OPENED}}}},
	{"hairpin: a pod through a NodePort to itself",
	 .step = {{"SYN", FROM(BN_POD_A), TCP("A", 40000, "NODE", 30083, SYN),
		   .outcome = BN_FORWARDED, .to_src = "NODE", .to_dst = "A", .to_dport = 8080,
		   .count = {OPENED}},
		  {"SYN-ACK", FROM(BN_POD_A), TCP("A", 8080, "NODE", 40000, SYN | ACK),
		   BACK("NODE", 30083, "A", 40000)}}},
	{"a pod elsewhere through a NodePort here back to its own node",
	 .step = {{"SYN", UPLINK, TCP("REMOTE", 40000, "NODE", 30081, SYN), OUT("REMOTE", 8082),
		   .count = {OPENED}},
		  {"SYN-ACK", UPLINK, TCP("REMOTE", 8082, "NODE", NAT_PORT, SYN | ACK),
		   BACK("NODE", 30081, "REMOTE", 40000)}}},
	{"one port towards different destinations, none left towards the same",
	 .step = {{"first", UPLINK, UDP("WORLD", 5000, "NODE", 30054), OUT("REMOTE", 5354),
		   .count = {OPENED}},
		  {"another port of the backend", UPLINK, TCP("WORLD", 5000, "NODE", 30081, SYN),
		   OUT("REMOTE", 8082), .count = {OPENED}},
		  {"the same again from another client", UPLINK, UDP("ROUTER", 5000, "NODE", 30054),
		   DROP(NAT_PORTS_EXHAUSTED), .count = {[BN_CNT_DECISIONS] = 1}},
		  {"the first goes on", UPLINK, UDP("WORLD", 5000, "NODE", 30054),
		   OUT("REMOTE", 5354)}}},
	{"no backend: a reset at once",
	 .step = {{"NodePort", UPLINK, TCP("WORLD", 40000, "NODE", 30082, SYN, .seq = 6),
		   RESET("NODE", 30082, "WORLD", 40000, RST | ACK, .ack = 7, .no_window = 1),
		   REFUSED(SERVICE_NO_BACKEND)},
		  {"load balancer", UPLINK, TCP("WORLD", 40000, "LB", 82, SYN, .seq = 6),
		   RESET("LB", 82, "WORLD", 40000, RST | ACK, .ack = 7, .no_window = 1),
		   REFUSED(SERVICE_NO_BACKEND)}}},
	{"no backend: port unreachable at once", .families = 4,
	 .step = {{"UDP", UPLINK, UDP("WORLD", 5000, "NODE", 30055, .payload = 9),
		   UNREACHABLE4(.src = "NODE", .dst = "WORLD"), REFUSED(SERVICE_NO_BACKEND)}}},
	{"no backend: port unreachable at once", .families = 6,
	 .step = {{"UDP", UPLINK, UDP("WORLD", 5000, "NODE", 30055, .payload = 9),
		   UNREACHABLE6(.src = "NODE", .dst = "WORLD"), REFUSED(SERVICE_NO_BACKEND)}}},
	{"a port of a load balancer's address that no service has",
	 .step = {{"TCP", UPLINK, TCP("WORLD", 40000, "LB", 99, SYN, .seq = 6),
		   RESET("LB", 99, "WORLD", 40000, RST | ACK, .ack = 7, .no_window = 1),
		   REFUSED(SERVICE_UNKNOWN)}}},
	{"echo to a load balancer's address is answered", .families = 4,
	 .step = {{"echo", UPLINK,
		   .in = {.protocol = 1,
			  .src = "WORLD",
			  .dst = "LB",
			  .type = 8,
			  .icmp_id = 7,
			  .icmp_seq = 1,
			  .payload = 56},
		   .outcome = BN_ANSWERED,
		   .answer = {.protocol = 1,
			      .src = "LB",
			      .dst = "WORLD",
			      .icmp_id = 7,
			      .icmp_seq = 1,
			      .payload = 56},
		   .count = {[BN_CNT_DECISIONS] = 1}}}},
	{"the node's own ports and echoes pass",
	 .step = {{"a connection to the node", UPLINK, TCP("WORLD", 40000, "NODE", 22, SYN),
		   UNTOUCHED},
		  {"an answer to the node", UPLINK, UDP("WORLD", 53, "NODE", 30054 + 1000),
		   UNTOUCHED},
		  {"another protocol on a NodePort's number", UPLINK,
		   UDP("WORLD", 40000, "NODE", 30080), UNTOUCHED}}},
	{"NodePorts answer on the addresses that take them",
	 .step = {{"from outside", UPLINK, TCP("WORLD", 40000, "NODE2", 30080, SYN), UNTOUCHED},
		  {"from a pod", FROM(BN_POD_A), TCP("A", 40000, "NODE2", 30080, SYN), UNTOUCHED,
		   .count = {OPENED}}}},
	{"loopback is not served from outside", .families = 4,
	 .step = {{"to the stack, which drops it", UPLINK,
		   TCP("WORLD", 40000, "127.0.0.1", 30080, SYN), UNTOUCHED}}},
	{"loopback is not served from outside", .families = 6,
	 .step = {{"to the stack, which drops it", UPLINK, TCP("WORLD", 40000, "::1", 30080, SYN),
		   UNTOUCHED}}},
	{"a backend that policy isolates", .prepare = isolate_b, .restore = allow_all,
	 .step = {{"SYN", UPLINK, TCP("WORLD", 40000, "NODE", 30080, SYN), DROP(POLICY_INGRESS),
		   .count = {[BN_CNT_DECISIONS] = 1}}}},
	{"source ranges: for senders outside, by the service", .prepare = bn_program_restrict,
	 .restore = bn_program_open,
	 .step = {{"of the range", UPLINK, TCP("WORLD", 40000, "LB", 80, SYN), DNAT("B", 8080),
		   .count = {OPENED}},
		  {"another", UPLINK, TCP("ROUTER", 40000, "LB", 80, SYN), DROP(SOURCE_RANGE),
		   .count = {[BN_CNT_DECISIONS] = 1}},
		  {"a pod elsewhere, which comes from outside", UPLINK,
		   TCP("REMOTE", 40000, "LB", 80, SYN), DROP(SOURCE_RANGE),
		   .count = {[BN_CNT_DECISIONS] = 1}},
		  {"another service", UPLINK, TCP("ROUTER", 40000, "LB", 81, SYN),
		   OUT("REMOTE", 8082), .count = {OPENED}},
		  {"a pod here", FROM(BN_POD_A), TCP("A", 40000, "LB", 80, SYN), DNAT("B", 8080),
		   .count = {OPENED}}}},
	{"the reply's entry is made again when it was thrown out",
	 .step = {{"request", UPLINK, UDP("WORLD", 5000, "NODE", 30053), DNAT("B", 5353),
		   .count = {OPENED}},
		  {"all transient flows are gone: another request", UPLINK,
		   UDP("WORLD", 5000, "NODE", 30053), DNAT("B", 5353), .count = {OPENED},
		   .before = forget_transient},
		  {"answer", FROM(BN_POD_B), UDP("B", 5353, "WORLD", 5000), SNAT("NODE", 30053)}}},
	{"sources that nobody has", .families = 4,
	 .step = {{"loopback", UPLINK, TCP("127.0.0.1", 1, "NODE", 30080, SYN),
		   DROP(MARTIAN_SOURCE), .count = {[BN_CNT_DECISIONS] = 1}},
		  {"broadcast", UPLINK, TCP("255.255.255.255", 1, "NODE", 30080, SYN),
		   DROP(MARTIAN_SOURCE), .count = {[BN_CNT_DECISIONS] = 1}},
		  {"multicast", UPLINK, TCP("224.0.0.1", 1, "LB", 80, SYN), DROP(MARTIAN_SOURCE),
		   .count = {[BN_CNT_DECISIONS] = 1}},
		  {"none", UPLINK, UDP("0.0.0.0", 1, "NODE", 30053), DROP(MARTIAN_SOURCE),
		   .count = {[BN_CNT_DECISIONS] = 1}},
		  {"this node", UPLINK, TCP("NODE", 1, "NODE", 30080, SYN), DROP(UPLINK_SPOOF)},
		  {"a pod of this node", UPLINK, TCP("A", 1, "NODE", 30080, SYN),
		   DROP(UPLINK_SPOOF)}}},
	{"sources that nobody has", .families = 6,
	 .step = {{"loopback", UPLINK, TCP("::1", 1, "NODE", 30080, SYN), DROP(MARTIAN_SOURCE),
		   .count = {[BN_CNT_DECISIONS] = 1}},
		  {"none", UPLINK, UDP("::", 1, "NODE", 30053), DROP(MARTIAN_SOURCE),
		   .count = {[BN_CNT_DECISIONS] = 1}},
		  {"multicast", UPLINK, UDP("ff02::1", 1, "NODE", 30053), DROP(MARTIAN_SOURCE),
		   .count = {[BN_CNT_DECISIONS] = 1}},
		  {"link-local", UPLINK, UDP("fe80::9", 1, "NODE", 30053), DROP(MARTIAN_SOURCE),
		   .count = {[BN_CNT_DECISIONS] = 1}},
		  {"a pod of this node", UPLINK, TCP("A", 1, "NODE", 30080, SYN),
		   DROP(UPLINK_SPOOF)}}},
	{"TTL and MTU are checked towards the client's side", .families = 4, .prepare = quotes,
	 .step = {{"the last hop was before", UPLINK,
		   UDP("WORLD", 5000, "NODE", 30053, .ttl = 1, .payload = 8),
		   .outcome = BN_ANSWERED, .quote = true, .reason = BN_DROP_TTL_EXCEEDED,
		   .answer = {.protocol = 1, .src = "NODE", .dst = "WORLD", .type = 11},
		   .to_dst = "B", .to_dport = 5353, .count = {OPENED, [BN_CNT_REJECTS] = 1}},
		  {"larger than the pod's MTU", UPLINK,
		   UDP("WORLD", 5000, "NODE", 30053, .frag = BN_IP_DF, .payload = 1600),
		   .outcome = BN_ANSWERED, .quote = true, .reason = BN_DROP_PACKET_TOO_BIG,
		   .answer = {.protocol = 1,
			      .src = "NODE",
			      .dst = "WORLD",
			      .type = 3,
			      .code = 4,
			      .icmp_rest = 1500,
			      .quote_len = 548},
		   .count = {[BN_CNT_REJECTS] = 1}},
		  {"larger than the way to another node, which the stack can't take", UPLINK,
		   UDP("WORLD", 5000, "NODE", 30054, .payload = 1600), .outcome = BN_ANSWERED,
		   .quote = true, .reason = BN_DROP_PACKET_TOO_BIG,
		   .answer = {.protocol = 1,
			      .src = "NODE",
			      .dst = "WORLD",
			      .type = 3,
			      .code = 4,
			      .icmp_rest = 1500,
			      .quote_len = 548},
		   .to_src = "NODE", .to_sport = NAT_PORT, .to_dst = "REMOTE", .to_dport = 5354,
		   .count = {OPENED, [BN_CNT_REJECTS] = 1}}}},
	{"errors about the way to a backend elsewhere reach the client", .families = 4,
	 .prepare = quotes,
	 .step = {{"request", UPLINK, UDP("WORLD", 5000, "NODE", 30054, .payload = 40),
		   OUT("REMOTE", 5354), .count = {OPENED}},
		  {"of a router", UPLINK,
		   ERROR(1, 3, 4, "ROUTER", "NODE", at_backend, .icmp_rest = 1300),
		   .outcome = BN_FORWARDED, .to_dst = "WORLD", .to_quote = &at_client, TRANSLATED},
		  {"of the backend, which the client knows as the node", UPLINK,
		   ERROR(1, 3, 3, "REMOTE", "NODE", at_backend), .outcome = BN_FORWARDED,
		   .to_src = "NODE", .to_dst = "WORLD", .to_quote = &at_client, TRANSLATED}}},
	{"errors about the way to a backend elsewhere reach the client", .families = 6,
	 .prepare = quotes,
	 .step = {{"request", UPLINK, UDP("WORLD", 5000, "NODE", 30054, .payload = 40),
		   OUT("REMOTE", 5354), .count = {OPENED}},
		  {"of a router", UPLINK,
		   ERROR(58, 2, 0, "ROUTER", "NODE", at_backend, .icmp_rest = 1300),
		   .outcome = BN_FORWARDED, .to_dst = "WORLD", .to_quote = &at_client, TRANSLATED},
		  {"of the backend, which the client knows as the node", UPLINK,
		   ERROR(58, 1, 4, "REMOTE", "NODE", at_backend), .outcome = BN_FORWARDED,
		   .to_src = "NODE", .to_dst = "WORLD", .to_quote = &at_client, TRANSLATED}}},
	{"errors about the way to the client reach the backend", .families = 4, .prepare = quotes,
	 .step = {{"request", UPLINK, UDP("WORLD", 5000, "NODE", 30053, .payload = 40),
		   DNAT("B", 5353), .count = {OPENED}},
		  {"answer", FROM(BN_POD_B), UDP("B", 5353, "WORLD", 5000, .payload = 40),
		   SNAT("NODE", 30053)},
		  {"too big", UPLINK,
		   ERROR(1, 3, 4, "ROUTER", "NODE", to_client, .icmp_rest = 1300),
		   .outcome = BN_FORWARDED, .to_dst = "B", .to_quote = &by_backend, TRANSLATED}}},
	{"errors about the way to the client reach the backend", .families = 6, .prepare = quotes,
	 .step = {{"request", UPLINK, UDP("WORLD", 5000, "NODE", 30053, .payload = 40),
		   DNAT("B", 5353), .count = {OPENED}},
		  {"answer", FROM(BN_POD_B), UDP("B", 5353, "WORLD", 5000, .payload = 40),
		   SNAT("NODE", 30053)},
		  {"too big", UPLINK,
		   ERROR(58, 2, 0, "ROUTER", "NODE", to_client, .icmp_rest = 1300),
		   .outcome = BN_FORWARDED, .to_dst = "B", .to_quote = &by_backend, TRANSLATED}}},
};

/*
 * Packets to a NodePort, cut after every byte: dropped by name once the port can be read, left to the
 * node's stack (which refuses them) before, never sent on.
 */
static const char *cut_short(struct bn_rig *rig, int family)
{
	struct bn_step s = {UPLINK, TCP("WORLD", 40000, "NODE", 30080, SYN)};
	struct bn_packet whole, cut;
	struct bn_result result;

	bn_step_packet(rig, &s, family, &whole);
	for (size_t len = (size_t)whole.l4; len < whole.len; len++) {
		struct bn_counts before, after;
		__u64 drops = 0;

		cut = whole;
		cut.len = len;
		/* lengths agree with what there is, as a sender would write them */
		if (family == 4) {
			cut.data[cut.l3 + 2] = (__u8)((len - cut.l3) >> 8);
			cut.data[cut.l3 + 3] = (__u8)(len - cut.l3);
		} else {
			cut.data[cut.l3 + 4] = (__u8)((len - cut.l4) >> 8);
			cut.data[cut.l3 + 5] = (__u8)(len - cut.l4);
		}
		bn_rig_counts(rig, &before);
		bn_rig_run(rig, BN_HOOK_FROM_UPLINK, BN_UPLINK, 0, &cut, &result);
		bn_rig_counts(rig, &after);
		for (int i = 0; i < BN_DROP_MAX; i++)
			drops += after.drop[i] - before.drop[i];
		if (len < (size_t)whole.l4 + 4 ? result.verdict != -1 : result.verdict != 2)
			return "a verdict that is neither the stack's nor a drop";
		if (drops != (len >= (size_t)whole.l4 + 4))
			return "not dropped by name";
	}
	return NULL;
}

static const struct bn_case broken[] = {
	{"cut short", .run = cut_short},
	{"options that source-route", .families = 4,
	 .step = {{"loose", UPLINK,
		   TCP("WORLD", 1, "NODE", 30080, SYN, .options = "\x83\x07\x04\x0a\x00\x00\x01",
		       .options_len = 8),
		   DROP(SOURCE_ROUTED)},
		  {"the node's own port: its stack's affair", UPLINK,
		   TCP("WORLD", 1, "NODE", 22, SYN, .options = "\x83\x07\x04\x0a\x00\x00\x01",
		       .options_len = 8),
		   UNTOUCHED}}},
};

int main(void)
{
	static const struct bn_rig_options options = {
		.flow_sets = 64, .masquerade = true, .configure = one_port};
	int r = bn_program_main("nodeport", cases, sizeof(cases) / sizeof(cases[0]), &options);

	return r | bn_program_main("broken headers to a NodePort", broken,
				   sizeof(broken) / sizeof(broken[0]), &options);
}
