// SPDX-License-Identifier: Apache-2.0
/*
 * Who may send what: spoofed addresses and MACs, unknown devices, destinations that don't exist
 * for a pod, ARP and neighbour discovery.
 */
#include "lib/program.h"

#include <string.h>

#define OPENED [BN_CNT_FLOWS_OPENED] = 1, [BN_CNT_DECISIONS] = 1
#define DECIDED .count = {[BN_CNT_DECISIONS] = 1}

static struct bn_packet arp_packets[8];
static struct bn_packet nd_packets[8];

enum { ARP_REQUEST, ARP_REPLY, ARP_SPOOF, ARP_PROBE, ARP_ANNOUNCE, ARP_SHORT, ARP_MAC };

static void arp_build(struct bn_rig *rig, struct bn_packet *p, __u8 op, const char *spa,
		      const char *tpa)
{
	static const __u8 fixed[] = {8, 6, 0, 1, 8, 0, 6, 4, 0};
	union bn_addr s = bn_rig_addr(spa, 4), t = bn_rig_addr(tpa, 4);

	memset(p, 0, sizeof(*p));
	memset(p->data, 0xff, 6);
	memcpy(p->data + 6, rig->dev[BN_POD_A].mac.b, 6);
	memcpy(p->data + 12, fixed, sizeof(fixed));
	p->data[21] = op;
	memcpy(p->data + 22, rig->dev[BN_POD_A].mac.b, 6);
	memcpy(p->data + 28, &s.w[3], 4);
	memcpy(p->data + 38, &t.w[3], 4);
	p->len = 42;
}

static void arp_prepare(struct bn_rig *rig, int family)
{
	arp_build(rig, &arp_packets[ARP_REQUEST], 1, "A", "GW");
	arp_build(rig, &arp_packets[ARP_REPLY], 2, "A", "GW");
	arp_build(rig, &arp_packets[ARP_SPOOF], 1, "B", "GW");
	arp_build(rig, &arp_packets[ARP_PROBE], 1, "0.0.0.0", "A");
	arp_build(rig, &arp_packets[ARP_ANNOUNCE], 1, "A", "A");
	arp_packets[ARP_SHORT] = arp_packets[ARP_REQUEST];
	arp_packets[ARP_SHORT].len = 41;
	arp_packets[ARP_MAC] = arp_packets[ARP_REQUEST];
	arp_packets[ARP_MAC].data[27] ^= 1; /* ARP's sender is not the frame's */
}

static const char *arp_answer(struct bn_rig *rig, int family)
{
	static const struct bn_mac host = {BN_HOST_MAC};
	const struct bn_packet *in = &arp_packets[ARP_REQUEST];
	struct bn_step s = {.hook = BN_HOOK_FROM_POD, .device = BN_POD_A, .raw = in};
	struct bn_packet want = *in;
	struct bn_result r;

	if (bn_step_send(rig, &s, family, &r) != 7)
		return "a request for the gateway is not answered";
	memcpy(want.data, in->data + 6, 6);
	memcpy(want.data + 6, host.b, 6);
	want.data[21] = 2;
	memcpy(want.data + 22, host.b, 6);
	memcpy(want.data + 28, in->data + 38, 4);
	memcpy(want.data + 32, in->data + 22, 6);
	memcpy(want.data + 38, in->data + 28, 4);
	return bn_packet_diff(stderr, &want, &r.out) ? "the ARP answer differs" : NULL;
}

enum { NS_GATEWAY, NS_DAD, NS_SPOOF, NS_HOPS, NS_MAC, ND_ROUTER };

static void ns_build(struct bn_rig *rig, struct bn_packet *p, __u8 type, const char *src,
		     const char *target, __u8 ttl)
{
	__u8 body[24] = {[16] = 1, [17] = 1};
	struct bn_packet_spec spec = {.protocol = 58,
				      .src = bn_rig_address(src, 6),
				      .dst = "ff02::1:ff00:1",
				      .type = type,
				      .ttl = ttl,
				      .bytes = body,
				      .payload = sizeof(body),
				      .smac = rig->dev[BN_POD_A].mac,
				      .dmac = {{0x33, 0x33, 0xff, 0, 0, 1}}};

	bn_address_parse(bn_rig_address(target, 6), body);
	memcpy(body + 18, rig->dev[BN_POD_A].mac.b, 6);
	if (!strcmp(src, "::")) /* no source link-layer option in a DAD probe */
		spec.payload = 16;
	bn_packet_build(p, &spec);
}

static void nd_prepare(struct bn_rig *rig, int family)
{
	ns_build(rig, &nd_packets[NS_GATEWAY], 135, "A", "GW", 255);
	ns_build(rig, &nd_packets[NS_DAD], 135, "::", "A", 255);
	ns_build(rig, &nd_packets[NS_SPOOF], 135, "B", "GW", 255);
	ns_build(rig, &nd_packets[NS_HOPS], 135, "A", "GW", 64);
	ns_build(rig, &nd_packets[NS_MAC], 135, "A", "GW", 255);
	nd_packets[NS_MAC].data[11] ^= 1;
	ns_build(rig, &nd_packets[ND_ROUTER], 133, "A", "GW", 255);
}

static const char *nd_answer(struct bn_rig *rig, int family)
{
	struct bn_step s = {
		.hook = BN_HOOK_FROM_POD, .device = BN_POD_A, .raw = &nd_packets[NS_GATEWAY]};
	__u8 body[24] = {[16] = 2, [17] = 1};
	struct bn_packet_spec spec = {.protocol = 58,
				      .src = bn_rig_address("GW", 6),
				      .dst = bn_rig_address("A", 6),
				      .type = 136,
				      .ttl = 255,
				      .bytes = body,
				      .payload = sizeof(body),
				      .smac = {BN_HOST_MAC},
				      .dmac = rig->dev[BN_POD_A].mac};
	struct bn_packet want;
	struct bn_result r;

	if (bn_step_send(rig, &s, family, &r) != 7)
		return "a solicitation for the gateway is not answered";
	/* solicited and override must be set (RFC 4861 7.2.4); router is the answerer's affair */
	spec.icmp_rest = 0x60000000 | (r.out.data[58] & 0x80u) << 24;
	bn_address_parse(bn_rig_address("GW", 6), body);
	memcpy(body + 18, spec.smac.b, 6);
	bn_packet_build(&want, &spec);
	return bn_packet_diff(stderr, &want, &r.out) ? "the advertisement differs" : NULL;
}

#define RAW(p) FROM(BN_POD_A), .raw = &(p)

static const struct bn_case cases[] = {
	{"another pod's address as source",
	 .step = {{"TCP", FROM(BN_POD_A), TCP("B", 1, "C", 80, SYN), DROP(SPOOFED_SOURCE)},
		  {"to a service", FROM(BN_POD_A), UDP("C", 1, "VIP", 53), DROP(SPOOFED_SOURCE)},
		  {"the node's", FROM(BN_POD_A), UDP("NODE", 1, "B", 53), DROP(SPOOFED_SOURCE)},
		  {"the world's", FROM(BN_POD_A), UDP("WORLD", 1, "B", 53), DROP(SPOOFED_SOURCE)},
		  {"the gateway's", FROM(BN_POD_A), UDP("GW", 1, "B", 53), DROP(SPOOFED_SOURCE)}}},
	{"another pod's source on a connection that exists",
	 .step = {{"SYN", FROM(BN_POD_A), TCP("A", 40000, "VIP", 80, SYN), DNAT("B", 8080),
		   .count = {OPENED}},
		  {"SYN-ACK", FROM(BN_POD_B), TCP("B", 8080, "A", 40000, SYN | ACK),
		   SNAT("VIP", 80)},
		  {"ACK", FROM(BN_POD_A), TCP("A", 40000, "VIP", 80, ACK), DNAT("B", 8080),
		   .count = {[BN_CNT_FLOWS_PROMOTED] = 2}},
		  {"the client's segment out of another pod", FROM(BN_POD_C),
		   TCP("A", 40000, "VIP", 80, ACK, .payload = 5), DROP(SPOOFED_SOURCE)},
		  {"a reset of the server's out of another pod", FROM(BN_POD_C),
		   TCP("B", 8080, "A", 40000, RST), DROP(SPOOFED_SOURCE)},
		  {"with a wrong MAC", FROM(BN_POD_A),
		   TCP("A", 40000, "VIP", 80, ACK, .smac = {{2, 0xbf, 9, 9, 9, 9}}),
		   DROP(SPOOFED_MAC)}}},
	{"a wrong source MAC",
	 .step = {{"TCP", FROM(BN_POD_A), TCP("A", 1, "VIP", 80, SYN, .smac = {{2, 0, 0, 0, 0, 9}}),
		   DROP(SPOOFED_MAC)}}},
	{"a device that is no endpoint",
	 .step = {{"from", FROM(BN_STRANGER), TCP("A", 1, "VIP", 80, SYN), DROP(UNKNOWN_ENDPOINT)},
		  {"to", TO(BN_STRANGER), TCP("NODE", 1, "A", 80, SYN), DROP(UNKNOWN_ENDPOINT)}}},
	{"through the stack: not the pod's address",
	 .step = {{"to", TO(BN_POD_A), TCP("NODE", 1, "B", 80, SYN), DROP(WRONG_DESTINATION)}}},
	{"VLAN tags", .step = {{"tagged", FROM(BN_POD_A), UDP("A", 1, "VIP", 53, .vlan = 7),
				DROP(UNSUPPORTED_ETHERTYPE)}}},
	{"other EtherTypes",
	 .step = {{"LLDP", FROM(BN_POD_A), UDP("A", 1, "VIP", 53, .ethertype = 0x88cc),
		   DROP(UNSUPPORTED_ETHERTYPE)},
		  {"MPLS", FROM(BN_POD_A), UDP("A", 1, "VIP", 53, .ethertype = 0x8847),
		   DROP(UNSUPPORTED_ETHERTYPE)}}},
	{"destinations that don't exist for a pod", .families = 4,
	 .step = {{"multicast", FROM(BN_POD_A), UDP("A", 1, "224.0.0.251", 5353), DROP(MULTICAST)},
		  {"broadcast", FROM(BN_POD_A), UDP("A", 1, "255.255.255.255", 67),
		   DROP(MULTICAST)},
		  {"link-local", FROM(BN_POD_A), TCP("A", 1, "169.254.169.254", 80, SYN),
		   DROP(LINK_LOCAL)},
		  {"loopback", FROM(BN_POD_A), TCP("A", 1, "127.0.0.1", 80, SYN),
		   DROP(WRONG_DESTINATION)},
		  {"its own address", FROM(BN_POD_A), TCP("A", 1, "A", 80, SYN), DROP(NAT_LOOP),
		   .count = {[BN_CNT_DECISIONS] = 1}}}},
	{"destinations that don't exist for a pod", .families = 6,
	 .step = {{"multicast", FROM(BN_POD_A), UDP("A", 1, "ff02::fb", 5353), DROP(MULTICAST)},
		  {"link-local", FROM(BN_POD_A), TCP("A", 1, "fe80::2", 80, SYN), DROP(LINK_LOCAL)},
		  {"loopback", FROM(BN_POD_A), TCP("A", 1, "::1", 80, SYN),
		   DROP(WRONG_DESTINATION)},
		  {"nothing", FROM(BN_POD_A), TCP("A", 1, "::", 80, SYN), DROP(WRONG_DESTINATION)},
		  {"mapped destination", FROM(BN_POD_A), TCP("A", 1, "::ffff:10.244.0.3", 80, SYN),
		   DROP(MAPPED_ADDRESS)},
		  {"mapped source", FROM(BN_POD_A), TCP("::ffff:10.244.0.2", 1, "B", 80, SYN),
		   DROP(MAPPED_ADDRESS)}}},
	{"ARP", .families = 4, .prepare = arp_prepare, .run = arp_answer,
	 .step = {{"a reply", RAW(arp_packets[ARP_REPLY]), DROP(NEIGHBOUR), .quiet = true},
		  {"another's address", RAW(arp_packets[ARP_SPOOF]), DROP(SPOOFED_SOURCE)},
		  {"duplicate detection", RAW(arp_packets[ARP_PROBE]), DROP(NEIGHBOUR),
		   .quiet = true},
		  {"announcement", RAW(arp_packets[ARP_ANNOUNCE]), DROP(NEIGHBOUR), .quiet = true},
		  {"truncated", RAW(arp_packets[ARP_SHORT]), DROP(MALFORMED_HEADER)},
		  {"another's MAC", RAW(arp_packets[ARP_MAC]), DROP(SPOOFED_MAC)}}},
	{"neighbour discovery", .families = 6, .prepare = nd_prepare, .run = nd_answer,
	 .step = {{"duplicate detection", RAW(nd_packets[NS_DAD]), DROP(NEIGHBOUR), .quiet = true},
		  {"another's address", RAW(nd_packets[NS_SPOOF]), DROP(SPOOFED_SOURCE)},
		  {"forwarded by a router", RAW(nd_packets[NS_HOPS]), DROP(MALFORMED_HEADER)},
		  {"another's MAC", RAW(nd_packets[NS_MAC]), DROP(SPOOFED_MAC)},
		  {"router solicitation", RAW(nd_packets[ND_ROUTER]), DROP(NEIGHBOUR),
		   .quiet = true}}},
	{"the uplink: the addresses of pods and node don't come from outside",
	 .step = {{"a local pod's", UPLINK, TCP("A", 1, "B", 80, SYN), DROP(UPLINK_SPOOF)},
		  {"the node's", UPLINK, TCP("NODE", 1, "B", 80, SYN), DROP(UPLINK_SPOOF)}}},
	/* its reply would be the pod's own packet to the service, which then went out as it is */
	{"the uplink: nobody outside speaks for a service",
	 .step = {{"an answer that nobody asked for", UPLINK, UDP("VIP", 53, "A", 7000),
		   DROP(UPLINK_SPOOF), DECIDED},
		  {"to a NodePort", UPLINK, UDP("VIP", 53, "NODE", 30053), DROP(UPLINK_SPOOF),
		   DECIDED},
		  {"a connection", UPLINK, TCP("VIP", 80, "A", 40000, SYN), DROP(UPLINK_SPOOF),
		   DECIDED},
		  {"one picked up midway", UPLINK, TCP("VIP", 80, "A", 40000, SYN | ACK),
		   DROP(UPLINK_SPOOF), DECIDED},
		  {"from no port of the service", UPLINK, TCP("VIP", 9999, "A", 40000, SYN),
		   DROP(UPLINK_SPOOF), DECIDED},
		  {"SCTP", UPLINK, SCTP("VIP", 3868, "A", 7003), DROP(UPLINK_SPOOF), DECIDED},
		  {"no service's address of the range", UPLINK, UDP("UNOWNED", 53, "A", 7000),
		   DROP(UPLINK_SPOOF), DECIDED},
		  {"a load balancer's", UPLINK, TCP("LB", 80, "A", 40000, SYN), DROP(UPLINK_SPOOF),
		   DECIDED},
		  {"from no port of it: another node's own, perhaps", UPLINK,
		   TCP("LB", 9999, "A", 40000, SYN), .outcome = BN_FORWARDED, .count = {OPENED}},
		  {"the pod asks the service", FROM(BN_POD_A), UDP("A", 7000, "VIP", 53),
		   DNAT("B", 5353), .count = {OPENED}},
		  {"which answers", FROM(BN_POD_B), UDP("B", 5353, "A", 7000), SNAT("VIP", 53)},
		  {"and so does who poses as it", UPLINK, UDP("VIP", 53, "A", 7000),
		   DROP(UPLINK_SPOOF), DECIDED},
		  {"a connection to it", FROM(BN_POD_A), TCP("A", 40000, "VIP", 80, SYN),
		   DNAT("B", 8080), .count = {OPENED}}}},
	{"another device: neither there", .prepare = bn_program_by_another,
	 .step = {{"an answer that nobody asked for", TO_BY(BN_POD_A, BN_STRANGER),
		   UDP("VIP", 53, "A", 7000), DROP(UPLINK_SPOOF), DECIDED},
		  {"a load balancer's", TO_BY(BN_POD_A, BN_STRANGER),
		   TCP("LB", 80, "A", 40000, SYN), DROP(UPLINK_SPOOF), DECIDED},
		  {"from no port of it", TO_BY(BN_POD_A, BN_STRANGER),
		   TCP("LB", 9999, "A", 40000, SYN), .outcome = BN_PASSED, .count = {OPENED}}}},
	{"another device: sources that nobody has", .families = 4, .prepare = bn_program_by_another,
	 .step = {{"loopback", TO_BY(BN_POD_B, BN_STRANGER), TCP("127.0.0.1", 1, "B", 80, SYN),
		   DROP(MARTIAN_SOURCE), DECIDED}}},
	{"another device: sources that nobody has", .families = 6, .prepare = bn_program_by_another,
	 .step = {{"loopback", TO_BY(BN_POD_B, BN_STRANGER), TCP("::1", 1, "B", 80, SYN),
		   DROP(MARTIAN_SOURCE), DECIDED}}},
	{"the uplink: sources that nobody has", .families = 4,
	 .step = {{"loopback", UPLINK, TCP("127.0.0.1", 1, "B", 80, SYN), DROP(MARTIAN_SOURCE),
		   DECIDED},
		  {"none", UPLINK, UDP("0.0.0.0", 1, "B", 53), DROP(MARTIAN_SOURCE), DECIDED},
		  {"link-local", UPLINK, UDP("169.254.1.1", 1, "B", 53), DROP(MARTIAN_SOURCE),
		   DECIDED},
		  {"multicast", UPLINK, UDP("224.0.0.1", 1, "B", 53), DROP(MARTIAN_SOURCE),
		   DECIDED},
		  {"broadcast", UPLINK, UDP("255.255.255.255", 1, "B", 53), DROP(MARTIAN_SOURCE),
		   DECIDED}}},
	{"the uplink: sources that nobody has", .families = 6,
	 .step = {{"loopback", UPLINK, TCP("::1", 1, "B", 80, SYN), DROP(MARTIAN_SOURCE), DECIDED},
		  {"none", UPLINK, UDP("::", 1, "B", 53), DROP(MARTIAN_SOURCE), DECIDED},
		  {"link-local", UPLINK, UDP("fe80::9", 1, "B", 53), DROP(MARTIAN_SOURCE), DECIDED},
		  {"multicast", UPLINK, UDP("ff02::1", 1, "B", 53), DROP(MARTIAN_SOURCE),
		   DECIDED}}},
};

int main(void)
{
	return bn_program_main("source", cases, sizeof(cases) / sizeof(cases[0]), NULL);
}
