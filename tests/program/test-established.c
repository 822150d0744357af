// SPDX-License-Identifier: Apache-2.0
/*
 * The path of ordinary connections, both directions, through NAT and without: addresses, ports,
 * TTL and checksums of every packet, where the flow's entries live, and what is counted.
 */
#include "lib/program.h"

#define OPENED [BN_CNT_FLOWS_OPENED] = 1, [BN_CNT_DECISIONS] = 1

static const char *both_in(struct bn_rig *rig, int family, __u8 protocol, const char *client,
			   __u16 cport, const char *vip, __u16 vport, const char *server,
			   __u16 sport, enum bn_where where)
{
	struct bn_tuple out = bn_tuple_make(family, protocol, client, cport, vip, vport);
	struct bn_tuple back = bn_tuple_make(family, protocol, server, sport, client, cport);
	struct bn_flow f = {}, r = {};

	if (bn_rig_flow(rig, &out, &f) != where)
		return "the original direction's entry is in the wrong table";
	if (bn_rig_flow(rig, &back, &r) != where)
		return "the reply direction's entry is in the wrong table";
	if (!(f.flags & BN_FLOW_ORIGIN) || r.flags & BN_FLOW_ORIGIN)
		return "BN_FLOW_ORIGIN is not on the first packet's direction";
	if (!bn_addr_equal(&f.to_daddr, &back.saddr) || !bn_addr_equal(&r.to_saddr, &out.daddr))
		return "the two entries don't lead to each other";
	if (f.out_ifindex != rig->dev[BN_POD_B].ifindex || f.action != BN_ACT_PEER ||
	    r.out_ifindex != rig->dev[BN_POD_A].ifindex || r.action != BN_ACT_PEER)
		return "an entry sends to the wrong device";
	if (where == BN_ESTABLISHED &&
	    (!(f.state & BN_FS_ESTABLISHED) || !(r.state & BN_FS_ESTABLISHED)))
		return "an entry of the main table is not marked established";
	return NULL;
}

static const char *tcp_half_open(struct bn_rig *rig, int family, const struct bn_result *r)
{
	return both_in(rig, family, IPPROTO_TCP, "A", 40000, "VIP", 80, "B", 8080, BN_TRANSIENT);
}

static const char *tcp_established(struct bn_rig *rig, int family, const struct bn_result *r)
{
	return both_in(rig, family, IPPROTO_TCP, "A", 40000, "VIP", 80, "B", 8080, BN_ESTABLISHED);
}

static const char *tcp_counted(struct bn_rig *rig, int family, const struct bn_result *r)
{
	struct bn_tuple key = bn_tuple_make(family, IPPROTO_TCP, "A", 40000, "VIP", 80);
	struct bn_tuple back = bn_tuple_make(family, IPPROTO_TCP, "B", 8080, "A", 40000);
	__u64 ip = family == 4 ? 20 : 40;
	struct bn_flow f, b;

	bn_rig_flow(rig, &key, &f);
	bn_rig_flow(rig, &back, &b);
	/* SYN, ACK, 101 bytes; SYN-ACK, 64 bytes */
	if (f.packets != 3 || f.bytes != 3 * (ip + 20) + 101)
		return "packets or bytes of the original direction";
	if (b.packets != 2 || b.bytes != 2 * (ip + 20) + 64)
		return "packets or bytes of the reply direction";
	return NULL;
}

static const char *direct_established(struct bn_rig *rig, int family, const struct bn_result *r)
{
	return both_in(rig, family, IPPROTO_TCP, "A", 41000, "B", 9000, "B", 9000, BN_ESTABLISHED);
}

static const char *udp_short(struct bn_rig *rig, int family, const struct bn_result *r)
{
	return both_in(rig, family, IPPROTO_UDP, "A", 5000, "VIP", 53, "B", 5353, BN_TRANSIENT);
}

static const char *zero_checksum(struct bn_rig *rig, int family, const struct bn_result *r)
{
	return r->out.data[r->out.l4 + 6] || r->out.data[r->out.l4 + 7]
		       ? "a UDP packet without a checksum got one"
		       : NULL;
}

/* A checksum that is wrong must not be made right: the receiver is to notice. */
static const char *stays_wrong(struct bn_rig *rig, int family)
{
	struct bn_step steps[] = {
		{FROM(BN_POD_A), TCP("A", 47000, "VIP", 80, SYN, .checksum = BN_CSUM_WRONG)},
		{FROM(BN_POD_A), UDP("A", 47000, "VIP", 53, .checksum = BN_CSUM_WRONG)},
		{FROM(BN_POD_A), SCTP("A", 47000, "VIP", 3868, .checksum = BN_CSUM_WRONG)},
	};
	struct bn_result r;
	char why[128];

	for (size_t i = 0; i < sizeof(steps) / sizeof(steps[0]); i++)
		if (bn_step_send(rig, &steps[i], family, &r) == 7 &&
		    !bn_packet_verify(&r.out, why, sizeof(why)))
			return "a wrong checksum was made right";
	return NULL;
}

static const __u8 tcp_timestamps[] = {1, 1, 8, 10, 1, 2, 3, 4, 5, 6, 7, 8};
static const __u8 record_route[] = {7, 7, 4, 0, 0, 0, 0, 1};

static const struct bn_case cases[] = {
	{"TCP through a ClusterIP: handshake, data both ways",
	 .step = {{"SYN", FROM(BN_POD_A), TCP("A", 40000, "VIP", 80, SYN, .seq = 100),
		   DNAT("B", 8080), .count = {OPENED}, .check = tcp_half_open},
		  {"SYN-ACK", FROM(BN_POD_B),
		   TCP("B", 8080, "A", 40000, SYN | ACK, .seq = 7, .ack = 101), SNAT("VIP", 80),
		   .check = tcp_half_open},
		  {"ACK", FROM(BN_POD_A), TCP("A", 40000, "VIP", 80, ACK, .seq = 101, .ack = 8),
		   DNAT("B", 8080), .count = {[BN_CNT_FLOWS_PROMOTED] = 2},
		   .check = tcp_established},
		  {"odd payload", FROM(BN_POD_A),
		   TCP("A", 40000, "VIP", 80, ACK | BN_TCP_PSH, .seq = 101, .ack = 8,
		       .payload = 101),
		   DNAT("B", 8080), .check = tcp_established},
		  {"answer", FROM(BN_POD_B),
		   TCP("B", 8080, "A", 40000, ACK, .seq = 8, .ack = 202, .payload = 64),
		   SNAT("VIP", 80), .check = tcp_counted}}},
	{"TCP: options, TOS and small TTL pass as they are",
	 .step = {{"SYN", FROM(BN_POD_A),
		   TCP("A", 40001, "VIP", 80, SYN, .tcp_options = tcp_timestamps,
		       .tcp_options_len = 12, .tos = 0xb8),
		   DNAT("B", 8080), .count = {OPENED}},
		  {"SYN-ACK", FROM(BN_POD_B),
		   TCP("B", 8080, "A", 40001, SYN | ACK, .tcp_options = tcp_timestamps,
		       .tcp_options_len = 12, .ttl = 2),
		   SNAT("VIP", 80)},
		  {"ACK", FROM(BN_POD_A),
		   TCP("A", 40001, "VIP", 80, ACK, .tcp_options = tcp_timestamps,
		       .tcp_options_len = 12, .tos = 3),
		   DNAT("B", 8080), .count = {[BN_CNT_FLOWS_PROMOTED] = 2}},
		  {"urgent, largest", FROM(BN_POD_A),
		   TCP("A", 40001, "VIP", 80, ACK | BN_TCP_URG, .tcp_options = tcp_timestamps,
		       .tcp_options_len = 12, .payload = 1420),
		   DNAT("B", 8080)}}},
	{"a wrong checksum stays wrong", .run = stays_wrong},
	{"a port that the service leaves alone",
	 .step = {{"SYN", FROM(BN_POD_A), TCP("A", 40002, "VIP", 81, SYN), DNAT("B", 81),
		   .count = {OPENED}},
		  {"SYN-ACK", FROM(BN_POD_B), TCP("B", 81, "A", 40002, SYN | ACK), SNAT("VIP", 81)},
		  {"ACK", FROM(BN_POD_A), TCP("A", 40002, "VIP", 81, ACK), DNAT("B", 81),
		   .count = {[BN_CNT_FLOWS_PROMOTED] = 2}}}},
	{"pod to pod without NAT",
	 .step = {{"SYN", FROM(BN_POD_A), TCP("A", 41000, "B", 9000, SYN), .outcome = BN_FORWARDED,
		   .count = {OPENED}},
		  {"SYN-ACK", FROM(BN_POD_B), TCP("B", 9000, "A", 41000, SYN | ACK),
		   .outcome = BN_FORWARDED},
		  {"ACK", FROM(BN_POD_A), TCP("A", 41000, "B", 9000, ACK), .outcome = BN_FORWARDED,
		   .count = {[BN_CNT_FLOWS_PROMOTED] = 2}, .check = direct_established},
		  {"data", FROM(BN_POD_A), TCP("A", 41000, "B", 9000, ACK, .payload = 33),
		   .outcome = BN_FORWARDED},
		  {"data back", FROM(BN_POD_B), TCP("B", 9000, "A", 41000, ACK, .payload = 1),
		   .outcome = BN_FORWARDED}}},
	{"TCP with IPv4 options", .families = 4,
	 .step = {{"SYN", FROM(BN_POD_A),
		   TCP("A", 40003, "VIP", 80, SYN, .options = record_route, .options_len = 8),
		   DNAT("B", 8080), .count = {OPENED}},
		  {"SYN-ACK", FROM(BN_POD_B),
		   TCP("B", 8080, "A", 40003, SYN | ACK, .options = record_route, .options_len = 8),
		   SNAT("VIP", 80)},
		  {"ACK", FROM(BN_POD_A), TCP("A", 40003, "VIP", 80, ACK), DNAT("B", 8080),
		   .count = {[BN_CNT_FLOWS_PROMOTED] = 2}},
		  {"established, options", FROM(BN_POD_A),
		   TCP("A", 40003, "VIP", 80, ACK, .options = record_route, .options_len = 8,
		       .payload = 3),
		   DNAT("B", 8080)}}},
	{"TCP behind IPv6 extension headers", .families = 6,
	 .step = {{"SYN", FROM(BN_POD_A),
		   TCP("A", 40004, "VIP", 80, SYN, .exts = 2,
		       .ext = {{.type = 0, .data = {1, 4}},
			       {.type = 60, .len = 16, .data = {1, 12}}}),
		   DNAT("B", 8080), .count = {OPENED}},
		  {"SYN-ACK", FROM(BN_POD_B), TCP("B", 8080, "A", 40004, SYN | ACK),
		   SNAT("VIP", 80)},
		  {"ACK", FROM(BN_POD_A),
		   TCP("A", 40004, "VIP", 80, ACK, .flow_label = 0xabcde, .tos = 0x28, .exts = 1,
		       .ext = {{.type = 60, .data = {1, 4}}}),
		   DNAT("B", 8080), .count = {[BN_CNT_FLOWS_PROMOTED] = 2}},
		  {"established, chain", FROM(BN_POD_A),
		   TCP("A", 40004, "VIP", 80, ACK, .payload = 9, .exts = 1,
		       .ext = {{.type = 60, .data = {1, 4}}}),
		   DNAT("B", 8080)}}},
	{"UDP through a ClusterIP",
	 .step = {{"query", FROM(BN_POD_A), UDP("A", 5000, "VIP", 53, .payload = 33),
		   DNAT("B", 5353), .count = {OPENED}, .check = udp_short},
		  {"answer", FROM(BN_POD_B), UDP("B", 5353, "A", 5000, .payload = 511),
		   SNAT("VIP", 53), .check = udp_short},
		  {"another", FROM(BN_POD_A), UDP("A", 5000, "VIP", 53), DNAT("B", 5353)}}},
	{"UDP without a checksum stays without", .families = 4,
	 .step = {{"query", FROM(BN_POD_A),
		   UDP("A", 5001, "VIP", 53, .payload = 5, .checksum = BN_CSUM_ZERO),
		   DNAT("B", 5353), .count = {OPENED}, .check = zero_checksum},
		  {"answer", FROM(BN_POD_B),
		   UDP("B", 5353, "A", 5001, .payload = 5, .checksum = BN_CSUM_ZERO),
		   SNAT("VIP", 53), .check = zero_checksum}}},
	{"SCTP through a ClusterIP, the port changed: CRC32c",
	 .step = {{"INIT", FROM(BN_POD_A), SCTP("A", 6000, "VIP", 3868, .payload = 20),
		   DNAT("B", 3869), .count = {OPENED}},
		  {"INIT-ACK", FROM(BN_POD_B),
		   SCTP("B", 3869, "A", 6000, .seq = 99, .payload = 300), SNAT("VIP", 3868)},
		  {"odd length", FROM(BN_POD_A),
		   SCTP("A", 6000, "VIP", 3868, .seq = 5, .payload = 1001), DNAT("B", 3869)},
		  {"nothing but the header", FROM(BN_POD_A), SCTP("A", 6000, "VIP", 3868, .seq = 5),
		   DNAT("B", 3869)}}},
	{"what arrives through the stack from the node itself",
	 .step = {{"SYN", TO(BN_POD_B), TCP("NODE", 42000, "B", 8080, SYN), .outcome = BN_PASSED,
		   .count = {OPENED}},
		  {"SYN-ACK", FROM(BN_POD_B), TCP("B", 8080, "NODE", 42000, SYN | ACK),
		   .outcome = BN_PASSED},
		  {"ACK", TO(BN_POD_B), TCP("NODE", 42000, "B", 8080, ACK), .outcome = BN_PASSED,
		   .count = {[BN_CNT_FLOWS_PROMOTED] = 2}},
		  {"data", TO(BN_POD_B), TCP("NODE", 42000, "B", 8080, ACK, .payload = 12),
		   .outcome = BN_PASSED},
		  {"data back", FROM(BN_POD_B), TCP("B", 8080, "NODE", 42000, ACK, .payload = 12),
		   .outcome = BN_PASSED}}},
	{"pod to its node",
	 .step = {{"SYN", FROM(BN_POD_A), TCP("A", 43000, "NODE", 22, SYN), .outcome = BN_PASSED,
		   .count = {OPENED}},
		  {"SYN-ACK", TO(BN_POD_A), TCP("NODE", 22, "A", 43000, SYN | ACK),
		   .outcome = BN_PASSED},
		  {"ACK", FROM(BN_POD_A), TCP("A", 43000, "NODE", 22, ACK), .outcome = BN_PASSED,
		   .count = {[BN_CNT_FLOWS_PROMOTED] = 2}},
		  {"the node's data", TO(BN_POD_A), TCP("NODE", 22, "A", 43000, ACK, .payload = 4),
		   .outcome = BN_PASSED},
		  {"the same, from outside", UPLINK, TCP("NODE", 22, "A", 43000, ACK, .payload = 4),
		   DROP(UPLINK_SPOOF)}}},
	{"pod to the world leaves by the uplink",
	 .step = {{"SYN", FROM(BN_POD_A), TCP("A", 44000, "WORLD", 443, SYN),
		   .outcome = BN_FORWARDED, .count = {OPENED}},
		  {"SYN-ACK", UPLINK, TCP("WORLD", 443, "A", 44000, SYN | ACK),
		   .outcome = BN_FORWARDED},
		  {"ACK", FROM(BN_POD_A), TCP("A", 44000, "WORLD", 443, ACK),
		   .outcome = BN_FORWARDED, .count = {[BN_CNT_FLOWS_PROMOTED] = 2}}}},
	{"a backend on another node",
	 .step = {{"SYN", FROM(BN_POD_A), TCP("A", 45000, "VIP", 82, SYN), DNAT("REMOTE", 8082),
		   .count = {OPENED}},
		  {"SYN-ACK", UPLINK, TCP("REMOTE", 8082, "A", 45000, SYN | ACK),
		   SNAT("VIP", 82)}}},
};

int main(void)
{
	return bn_program_main("established", cases, sizeof(cases) / sizeof(cases[0]), NULL);
}
