// SPDX-License-Identifier: Apache-2.0
/*
 * ICMP and ICMPv6: echo, errors through NAT in both directions, and the errors that the datapath
 * itself answers with, which quote the packet as its sender sent it.
 */
#include "lib/program.h"

#define OPENED [BN_CNT_FLOWS_OPENED] = 1, [BN_CNT_DECISIONS] = 1
#define V4 1
#define V6 58
#define ECHO(p, t, s, d, ...) \
	.in = {.protocol = (p), \
	       .type = (t), \
	       .src = (s), \
	       .dst = (d), \
	       .icmp_id = 77, \
	       .icmp_seq = 3, \
	       ##__VA_ARGS__}

/* Quoted packets, as the two ends of VIP udp/53 (to B) and tcp/82 (to REMOTE) know them. */
static struct bn_packet at_server, at_client, by_server, by_client, on_wire, sent, tcp8_wire,
	tcp8_sent, nobody, error_inside;

#define Q(ret, proto, s, sp, d, dp, ...) \
	bn_quote(rig, family, &(ret), \
		 (struct bn_packet_spec){.protocol = (proto), \
					 .src = (s), \
					 .sport = (sp), \
					 .dst = (d), \
					 .dport = (dp), \
					 ##__VA_ARGS__})

static void quotes_prepare(struct bn_rig *rig, int family)
{
	Q(at_server, IPPROTO_UDP, "A", 5000, "B", 5353, .payload = 21, .ttl = 63);
	Q(at_client, IPPROTO_UDP, "A", 5000, "VIP", 53, .payload = 21, .ttl = 63);
	Q(by_client, IPPROTO_UDP, "VIP", 53, "A", 5000, .payload = 40, .ttl = 63);
	Q(by_server, IPPROTO_UDP, "B", 5353, "A", 5000, .payload = 40, .ttl = 63);
	Q(on_wire, IPPROTO_TCP, "A", 45000, "REMOTE", 8082, .payload = 64, .ttl = 62,
	  .tcp_flags = ACK);
	Q(sent, IPPROTO_TCP, "A", 45000, "VIP", 82, .payload = 64, .ttl = 62, .tcp_flags = ACK);
	tcp8_wire = on_wire;
	tcp8_wire.len = tcp8_wire.l4 + 8;
	tcp8_sent = sent;
	tcp8_sent.len = tcp8_sent.l4 + 8;
	Q(nobody, IPPROTO_UDP, "A", 1, "B", 2);
	Q(error_inside, family == 4 ? V4 : V6, "A", 0, "B", 0, .type = family == 4 ? 3 : 1,
	  .quote = &nobody);
}

static void small_mtu(struct bn_rig *rig, int family)
{
	bn_rig_mtu_set(rig, BN_POD_B, 1400);
}

static void usual_mtu(struct bn_rig *rig, int family)
{
	bn_rig_mtu_set(rig, BN_POD_B, 1500);
}

#define UDP_FLOW \
	{ \
		"query", FROM(BN_POD_A), UDP("A", 5000, "VIP", 53, .payload = 21), \
			DNAT("B", 5353), .count = { \
				OPENED \
			} \
	}
#define TCP_FLOW \
	{"SYN", FROM(BN_POD_A), TCP("A", 45000, "VIP", 82, SYN), DNAT("REMOTE", 8082), \
	 .count = {OPENED}}, \
		{"SYN-ACK", UPLINK, TCP("REMOTE", 8082, "A", 45000, SYN | ACK), SNAT("VIP", 82)}, \
	{ \
		"ACK", FROM(BN_POD_A), TCP("A", 45000, "VIP", 82, ACK), DNAT("REMOTE", 8082), \
			.count = {[BN_CNT_FLOWS_PROMOTED] = 2} \
	}
#define LOCAL_FLOW \
	{"SYN", FROM(BN_POD_A), TCP("A", 46000, "VIP", 80, SYN), DNAT("B", 8080), \
	 .count = {OPENED}}, \
		{"SYN-ACK", FROM(BN_POD_B), TCP("B", 8080, "A", 46000, SYN | ACK), \
		 SNAT("VIP", 80)}, \
	{ \
		"ACK", FROM(BN_POD_A), TCP("A", 46000, "VIP", 80, ACK), DNAT("B", 8080), \
			.count = {[BN_CNT_FLOWS_PROMOTED] = 2} \
	}
#define TOLD(r, ...) .reason = BN_DROP_##r, .count = {[BN_CNT_REJECTS] = 1, ##__VA_ARGS__}

static const struct bn_case cases[] = {
	{"echo", .families = 4,
	 .step = {{"request", FROM(BN_POD_A), ECHO(V4, 8, "A", "B", .payload = 56),
		   .outcome = BN_FORWARDED, .count = {OPENED}},
		  {"reply", FROM(BN_POD_B), ECHO(V4, 0, "B", "A", .payload = 56),
		   .outcome = BN_FORWARDED},
		  {"a reply that nobody asked for", FROM(BN_POD_C), ECHO(V4, 0, "C", "A"),
		   DROP(ICMP_UNSOLICITED)},
		  {"another identifier", FROM(BN_POD_B),
		   .in = {.protocol = V4, .src = "B", .dst = "A", .icmp_id = 78},
		   DROP(ICMP_UNSOLICITED)},
		  {"to the node", FROM(BN_POD_A), ECHO(V4, 8, "A", "NODE"), .outcome = BN_PASSED,
		   .count = {OPENED}},
		  {"the node's reply", TO(BN_POD_A), ECHO(V4, 0, "NODE", "A"),
		   .outcome = BN_PASSED}}},
	{"echo", .families = 6,
	 .step = {{"request", FROM(BN_POD_A), ECHO(V6, 128, "A", "B", .payload = 57),
		   .outcome = BN_FORWARDED, .count = {OPENED}},
		  {"reply", FROM(BN_POD_B), ECHO(V6, 129, "B", "A", .payload = 57),
		   .outcome = BN_FORWARDED},
		  {"a reply that nobody asked for", FROM(BN_POD_C), ECHO(V6, 129, "C", "A"),
		   DROP(ICMP_UNSOLICITED)},
		  {"to the node", FROM(BN_POD_A), ECHO(V6, 128, "A", "NODE"), .outcome = BN_PASSED,
		   .count = {OPENED}},
		  {"the node's reply", TO(BN_POD_A), ECHO(V6, 129, "NODE", "A"),
		   .outcome = BN_PASSED}}},
	{"echo to a ClusterIP is answered", .families = 4,
	 .step = {{"request", FROM(BN_POD_A), ECHO(V4, 8, "A", "VIP", .payload = 56),
		   .outcome = BN_ANSWERED, .count = {[BN_CNT_DECISIONS] = 1},
		   .answer = {.protocol = V4,
			      .type = 0,
			      .src = "VIP",
			      .dst = "A",
			      .icmp_id = 77,
			      .icmp_seq = 3,
			      .payload = 56}}}},
	{"echo to a ClusterIP is answered", .families = 6,
	 .step = {{"request", FROM(BN_POD_A), ECHO(V6, 128, "A", "VIP", .payload = 56),
		   .outcome = BN_ANSWERED, .count = {[BN_CNT_DECISIONS] = 1},
		   .answer = {.protocol = V6,
			      .type = 129,
			      .src = "VIP",
			      .dst = "A",
			      .icmp_id = 77,
			      .icmp_seq = 3,
			      .payload = 56}}}},
	{"the server's error reaches the client as the service's", .families = 4,
	 .prepare = quotes_prepare,
	 .step = {UDP_FLOW,
		  {"port unreachable", FROM(BN_POD_B), ERROR(V4, 3, 3, "B", "A", at_server),
		   .outcome = BN_FORWARDED, .to_src = "VIP", .to_quote = &at_client, TRANSLATED},
		  {"the quote cut to eight bytes of UDP", FROM(BN_POD_B),
		   ERROR(V4, 3, 3, "B", "A", at_server, .quote_len = 28), .outcome = BN_FORWARDED,
		   .to_src = "VIP", .to_quote = &at_client, TRANSLATED}}},
	{"the server's error reaches the client as the service's", .families = 6,
	 .prepare = quotes_prepare,
	 .step = {UDP_FLOW,
		  {"port unreachable", FROM(BN_POD_B), ERROR(V6, 1, 4, "B", "A", at_server),
		   .outcome = BN_FORWARDED, .to_src = "VIP", .to_quote = &at_client, TRANSLATED}}},
	{"the client's error reaches the server", .families = 4, .prepare = quotes_prepare,
	 .step = {UDP_FLOW,
		  {"answer", FROM(BN_POD_B), UDP("B", 5353, "A", 5000, .payload = 40),
		   SNAT("VIP", 53)},
		  {"port unreachable", FROM(BN_POD_A), ERROR(V4, 3, 3, "A", "VIP", by_client),
		   .outcome = BN_FORWARDED, .to_dst = "B", .to_quote = &by_server, TRANSLATED}}},
	{"the client's error reaches the server", .families = 6, .prepare = quotes_prepare,
	 .step = {UDP_FLOW,
		  {"answer", FROM(BN_POD_B), UDP("B", 5353, "A", 5000, .payload = 40),
		   SNAT("VIP", 53)},
		  {"port unreachable", FROM(BN_POD_A), ERROR(V6, 1, 4, "A", "VIP", by_client),
		   .outcome = BN_FORWARDED, .to_dst = "B", .to_quote = &by_server, TRANSLATED}}},
	{"a router's error keeps the router's address", .families = 4, .prepare = quotes_prepare,
	 .step = {TCP_FLOW,
		  {"fragmentation needed", UPLINK,
		   ERROR(V4, 3, 4, "ROUTER", "A", on_wire, .icmp_rest = 1300),
		   .outcome = BN_FORWARDED, .to_quote = &sent, TRANSLATED},
		  {"time exceeded, eight bytes of TCP", UPLINK,
		   ERROR(V4, 11, 0, "ROUTER", "A", tcp8_wire), .outcome = BN_FORWARDED,
		   .to_quote = &tcp8_sent, TRANSLATED}}},
	{"a router's error keeps the router's address", .families = 6, .prepare = quotes_prepare,
	 .step = {TCP_FLOW,
		  {"packet too big", UPLINK,
		   ERROR(V6, 2, 0, "ROUTER", "A", on_wire, .icmp_rest = 1300),
		   .outcome = BN_FORWARDED, .to_quote = &sent, TRANSLATED},
		  {"time exceeded, eight bytes of TCP", UPLINK,
		   ERROR(V6, 3, 0, "ROUTER", "A", tcp8_wire), .outcome = BN_FORWARDED,
		   .to_quote = &tcp8_sent, TRANSLATED}}},
	{"errors about nothing", .families = 4, .prepare = quotes_prepare,
	 .step = {UDP_FLOW,
		  {"no such flow", FROM(BN_POD_B), ERROR(V4, 3, 3, "B", "A", nobody),
		   DROP(ICMP_UNRELATED)},
		  {"an error about an error", FROM(BN_POD_B),
		   ERROR(V4, 3, 3, "B", "A", error_inside), DROP(ICMP_UNRELATED)},
		  {"of a pod that is no end of the flow", FROM(BN_POD_C),
		   ERROR(V4, 3, 3, "C", "A", at_server), DROP(ICMP_UNRELATED)},
		  {"to another than who sent it", FROM(BN_POD_B),
		   ERROR(V4, 3, 3, "B", "C", at_server), DROP(ICMP_UNRELATED)},
		  {"without a quote", FROM(BN_POD_B),
		   .in = {.protocol = V4, .type = 3, .code = 3, .src = "B", .dst = "A"},
		   DROP(ICMP_UNRELATED)},
		  {"half a quote", FROM(BN_POD_B),
		   ERROR(V4, 3, 3, "B", "A", at_server, .quote_len = 27), DROP(ICMP_UNRELATED)},
		  {"from outside", UPLINK, ERROR(V4, 3, 3, "ROUTER", "A", nobody),
		   DROP(ICMP_UNRELATED)},
		  {"from outside, about two pods' flow", UPLINK,
		   ERROR(V4, 3, 4, "ROUTER", "A", at_server, .icmp_rest = 576),
		   DROP(ICMP_UNRELATED)}}},
	{"errors about nothing", .families = 6, .prepare = quotes_prepare,
	 .step = {UDP_FLOW,
		  {"no such flow", FROM(BN_POD_B), ERROR(V6, 1, 4, "B", "A", nobody),
		   DROP(ICMP_UNRELATED)},
		  {"an error about an error", FROM(BN_POD_B),
		   ERROR(V6, 1, 4, "B", "A", error_inside), DROP(ICMP_UNRELATED)},
		  {"of a pod that is no end of the flow", FROM(BN_POD_C),
		   ERROR(V6, 1, 4, "C", "A", at_server), DROP(ICMP_UNRELATED)},
		  {"to another than who sent it", FROM(BN_POD_B),
		   ERROR(V6, 1, 4, "B", "C", at_server), DROP(ICMP_UNRELATED)},
		  {"without a quote", FROM(BN_POD_B),
		   .in = {.protocol = V6, .type = 1, .code = 4, .src = "B", .dst = "A"},
		   DROP(ICMP_UNRELATED)},
		  {"half a quote", FROM(BN_POD_B),
		   ERROR(V6, 1, 4, "B", "A", at_server, .quote_len = 47), DROP(ICMP_UNRELATED)},
		  {"from outside", UPLINK, ERROR(V6, 1, 4, "ROUTER", "A", nobody),
		   DROP(ICMP_UNRELATED)},
		  {"from outside, about two pods' flow", UPLINK,
		   ERROR(V6, 2, 0, "ROUTER", "A", at_server, .icmp_rest = 1280),
		   DROP(ICMP_UNRELATED)}}},
	{"too big for the next hop", .families = 4, .prepare = small_mtu, .restore = usual_mtu,
	 .step = {{"DF, 1401 bytes", FROM(BN_POD_A),
		   UDP("A", 5000, "VIP", 53, .frag = BN_IP_DF, .payload = 1373),
		   ANSWER(V4, 3, 4, "NODE", "A", .icmp_rest = 1400, .quote_len = 548),
		   TOLD(PACKET_TOO_BIG, OPENED), .to_dst = "B", .to_dport = 5353},
		  {"DF, 1400 bytes", FROM(BN_POD_A),
		   UDP("A", 5000, "VIP", 53, .frag = BN_IP_DF, .payload = 1372), DNAT("B", 5353)},
		  {"no DF: the stack fragments it", FROM(BN_POD_A),
		   UDP("A", 5000, "VIP", 53, .payload = 1373), .outcome = BN_PASSED, .to_dst = "B",
		   .to_dport = 5353},
		  LOCAL_FLOW,
		  {"established, DF", FROM(BN_POD_A),
		   TCP("A", 46000, "VIP", 80, ACK, .frag = BN_IP_DF, .payload = 1361),
		   ANSWER(V4, 3, 4, "NODE", "A", .icmp_rest = 1400, .quote_len = 548),
		   TOLD(PACKET_TOO_BIG)},
		  {"established, no DF", FROM(BN_POD_A),
		   TCP("A", 46000, "VIP", 80, ACK, .payload = 1361), .outcome = BN_PASSED,
		   .to_dst = "B", .to_dport = 8080}}},
	{"too big for the next hop", .families = 6, .prepare = small_mtu, .restore = usual_mtu,
	 .step = {{"1401 bytes", FROM(BN_POD_A), UDP("A", 5000, "VIP", 53, .payload = 1353),
		   ANSWER(V6, 2, 0, "NODE", "A", .icmp_rest = 1400, .quote_len = 1232),
		   TOLD(PACKET_TOO_BIG, OPENED), .to_dst = "B", .to_dport = 5353},
		  {"1400 bytes", FROM(BN_POD_A), UDP("A", 5000, "VIP", 53, .payload = 1352),
		   DNAT("B", 5353)},
		  LOCAL_FLOW,
		  {"established", FROM(BN_POD_A), TCP("A", 46000, "VIP", 80, ACK, .payload = 1341),
		   ANSWER(V6, 2, 0, "NODE", "A", .icmp_rest = 1400, .quote_len = 1232),
		   TOLD(PACKET_TOO_BIG)}}},
	{"TTL", .families = 4, .prepare = quotes_prepare,
	 .step = {{"1 on the first packet", FROM(BN_POD_A),
		   UDP("A", 5000, "VIP", 53, .ttl = 1, .payload = 9),
		   ANSWER(V4, 11, 0, "NODE", "A"), TOLD(TTL_EXCEEDED, OPENED), .to_dst = "B",
		   .to_dport = 5353},
		  LOCAL_FLOW,
		  {"1, established", FROM(BN_POD_A), TCP("A", 46000, "VIP", 80, ACK, .ttl = 1),
		   ANSWER(V4, 11, 0, "NODE", "A"), TOLD(TTL_EXCEEDED)},
		  {"2, established", FROM(BN_POD_A), TCP("A", 46000, "VIP", 80, ACK, .ttl = 2),
		   DNAT("B", 8080)},
		  {"an error is not answered", FROM(BN_POD_B),
		   ERROR(V4, 3, 3, "B", "A", at_server, .ttl = 1), DROP(TTL_EXCEEDED),
		   TRANSLATED}}},
	{"hop limit", .families = 6, .prepare = quotes_prepare,
	 .step = {{"1 on the first packet", FROM(BN_POD_A),
		   UDP("A", 5000, "VIP", 53, .ttl = 1, .payload = 9), ANSWER(V6, 3, 0, "NODE", "A"),
		   TOLD(TTL_EXCEEDED, OPENED), .to_dst = "B", .to_dport = 5353},
		  LOCAL_FLOW,
		  {"1, established", FROM(BN_POD_A), TCP("A", 46000, "VIP", 80, ACK, .ttl = 1),
		   ANSWER(V6, 3, 0, "NODE", "A"), TOLD(TTL_EXCEEDED)},
		  {"2, established", FROM(BN_POD_A), TCP("A", 46000, "VIP", 80, ACK, .ttl = 2),
		   DNAT("B", 8080)},
		  {"an error is not answered", FROM(BN_POD_B),
		   ERROR(V6, 1, 4, "B", "A", at_server, .ttl = 1), DROP(TTL_EXCEEDED),
		   TRANSLATED}}},
};

int main(void)
{
	return bn_program_main("icmp", cases, sizeof(cases) / sizeof(cases[0]), NULL);
}
