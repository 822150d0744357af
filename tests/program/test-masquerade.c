// SPDX-License-Identifier: Apache-2.0
/*
 * Masquerade: pods' traffic to what is neither pod nor node takes the node's address and a port
 * of the range, and its replies and errors find their way back.
 */
#include "lib/program.h"

#include <string.h>

#define OPENED [BN_CNT_FLOWS_OPENED] = 1, [BN_CNT_DECISIONS] = 1

static struct bn_result result;

static __u16 port_at(int offset)
{
	return result.out.data[result.out.l4 + offset] << 8 |
	       result.out.data[result.out.l4 + offset + 1];
}

/* Whether the packet out is this one, whatever its MACs. */
static int came_out(struct bn_rig *rig, int family, struct bn_packet_spec spec)
{
	struct bn_step s = {.hook = BN_HOOK_FROM_POD, .device = BN_POD_A, .in = spec};
	struct bn_packet want;

	bn_step_packet(rig, &s, family, &want);
	if (result.out.len >= 12)
		memcpy(want.data, result.out.data, 12);
	return !bn_packet_diff(stderr, &want, &result.out);
}

static int from_pod(struct bn_rig *rig, int family, int pod, struct bn_packet_spec spec)
{
	struct bn_step s = {.hook = BN_HOOK_FROM_POD, .device = pod, .in = spec};

	return bn_step_send(rig, &s, family, &result);
}

static int from_uplink(struct bn_rig *rig, int family, struct bn_packet_spec spec)
{
	struct bn_step s = {.hook = BN_HOOK_FROM_UPLINK, .device = BN_UPLINK, .in = spec};

	return bn_step_send(rig, &s, family, &result);
}

#define SPEC(proto, s, sp, d, dp, ...) \
	((struct bn_packet_spec){.protocol = (proto), \
				 .src = (s), \
				 .sport = (sp), \
				 .dst = (d), \
				 .dport = (dp), \
				 ##__VA_ARGS__})

static const char *there_and_back(struct bn_rig *rig, int family, __u8 protocol)
{
	__u8 syn = protocol == IPPROTO_TCP ? SYN : 0, ack = protocol == IPPROTO_TCP ? ACK : 0;
	__u16 port;

	for (int i = 0; i < 3; i++) {
		__u8 out = i ? ack : syn, back = i ? ack : syn | ack;
		__u16 payload = protocol == IPPROTO_TCP && !i ? 0 : 31 + i;

		if (from_pod(rig, family, BN_POD_A,
			     SPEC(protocol, "A", 40000, "WORLD", 443, .tcp_flags = out,
				  .payload = payload)) != 7)
			return "not sent on";
		if (!i)
			port = port_at(0);
		if (port < rig->config.nat_port_min || port > rig->config.nat_port_max)
			return "the source port is outside the range";
		if (!came_out(rig, family,
			      SPEC(protocol, "NODE", port, "WORLD", 443, .tcp_flags = out,
				   .payload = payload, .ttl = 63)))
			return "the packet out differs";
		if (from_uplink(rig, family,
				SPEC(protocol, "WORLD", 443, "NODE", port, .tcp_flags = back,
				     .payload = payload)) != 7)
			return "the reply is not sent on";
		if (!came_out(rig, family,
			      SPEC(protocol, "WORLD", 443, "A", 40000, .tcp_flags = back,
				   .payload = payload, .ttl = 63)))
			return "the reply differs";
	}
	return NULL;
}

static const char *tcp(struct bn_rig *rig, int family)
{
	return there_and_back(rig, family, IPPROTO_TCP);
}

static const char *udp(struct bn_rig *rig, int family)
{
	return there_and_back(rig, family, IPPROTO_UDP);
}

static const char *sctp(struct bn_rig *rig, int family)
{
	return there_and_back(rig, family, 132);
}

static const char *echo(struct bn_rig *rig, int family)
{
	__u8 protocol = family == 4 ? 1 : 58;
	__u16 id;

	if (from_pod(rig, family, BN_POD_A,
		     SPEC(protocol, "A", 0, "WORLD", 0, .type = family == 4 ? 8 : 128, .icmp_id = 9,
			  .icmp_seq = 1, .payload = 56)) != 7)
		return "not sent on";
	id = port_at(4);
	if (!came_out(rig, family,
		      SPEC(protocol, "NODE", 0, "WORLD", 0, .type = family == 4 ? 8 : 128,
			   .icmp_id = id, .icmp_seq = 1, .payload = 56, .ttl = 63)))
		return "the request out differs";
	if (from_uplink(rig, family,
			SPEC(protocol, "WORLD", 0, "NODE", 0, .type = family == 4 ? 0 : 129,
			     .icmp_id = id, .icmp_seq = 1, .payload = 56)) != 7)
		return "the reply is not sent on";
	if (!came_out(rig, family,
		      SPEC(protocol, "WORLD", 0, "A", 0, .type = family == 4 ? 0 : 129,
			   .icmp_id = 9, .icmp_seq = 1, .payload = 56, .ttl = 63)))
		return "the reply differs";
	return NULL;
}

static const char *same_port(struct bn_rig *rig, int family)
{
	__u16 first, second;

	from_pod(rig, family, BN_POD_A, SPEC(IPPROTO_UDP, "A", 62000, "WORLD", 53));
	first = port_at(0);
	if (from_pod(rig, family, BN_POD_B, SPEC(IPPROTO_UDP, "B", first, "WORLD", 53)) != 7)
		return "the second pod's packet is not sent on";
	second = port_at(0);
	if (first == second)
		return "two pods share one port towards one destination";
	from_uplink(rig, family, SPEC(IPPROTO_UDP, "WORLD", 53, "NODE", first));
	if (!came_out(rig, family, SPEC(IPPROTO_UDP, "WORLD", 53, "A", 62000, .ttl = 63)))
		return "the first pod's reply differs";
	from_uplink(rig, family, SPEC(IPPROTO_UDP, "WORLD", 53, "NODE", second));
	if (!came_out(rig, family, SPEC(IPPROTO_UDP, "WORLD", 53, "B", first, .ttl = 63)))
		return "the second pod's reply differs";
	return NULL;
}

static const char *error_back(struct bn_rig *rig, int family)
{
	struct bn_packet quoted, want_quoted;
	struct bn_step s = {.hook = BN_HOOK_FROM_POD, .device = BN_POD_A};
	__u8 protocol = family == 4 ? 1 : 58, type = family == 4 ? 3 : 2;
	__u16 port;

	from_pod(rig, family, BN_POD_A, SPEC(IPPROTO_UDP, "A", 40000, "WORLD", 53, .payload = 99));
	port = port_at(0);
	s.in = SPEC(IPPROTO_UDP, "NODE", port, "WORLD", 53, .payload = 99, .ttl = 60);
	bn_step_packet(rig, &s, family, &quoted);
	s.in = SPEC(IPPROTO_UDP, "A", 40000, "WORLD", 53, .payload = 99, .ttl = 60);
	bn_step_packet(rig, &s, family, &want_quoted);
	if (from_uplink(rig, family,
			SPEC(protocol, "ROUTER", 0, "NODE", 0, .type = type,
			     .code = family == 4 ? 4 : 0, .icmp_rest = 1300, .quote = &quoted)) !=
	    7)
		return "a router's error is not sent on";
	if (!came_out(rig, family,
		      SPEC(protocol, "ROUTER", 0, "A", 0, .type = type, .code = family == 4 ? 4 : 0,
			   .icmp_rest = 1300, .quote = &want_quoted, .ttl = 63)))
		return "a router's error differs";
	return NULL;
}

static const struct bn_case cases[] = {
	{"TCP to the world and back", .run = tcp},
	{"UDP to the world and back", .run = udp},
	{"SCTP to the world and back", .run = sctp},
	{"echo to the world and back", .run = echo},
	{"two pods, one port, one destination", .run = same_port},
	{"a router's error about a masqueraded flow", .run = error_back},
	{"pods keep their address towards pods and nodes",
	 .step = {{"a pod of another node", FROM(BN_POD_A), UDP("A", 1000, "REMOTE", 53),
		   .outcome = BN_FORWARDED, .count = {OPENED}},
		  {"a pod here", FROM(BN_POD_A), UDP("A", 1000, "B", 53), .outcome = BN_FORWARDED,
		   .count = {OPENED}},
		  {"the node", FROM(BN_POD_A), UDP("A", 1000, "NODE", 53), .outcome = BN_PASSED,
		   .count = {OPENED}}}},
	{"pods keep their address towards an excluded range",
	 .step = {{"out", FROM(BN_POD_A), UDP("A", 1000, "DIRECT", 53), .outcome = BN_FORWARDED,
		   .count = {OPENED}},
		  {"and back", UPLINK, UDP("DIRECT", 53, "A", 1000), .outcome = BN_FORWARDED}}},
	{"what is the node's own passes",
	 .step = {{"a reply to a socket of the node", UPLINK,
		   TCP("WORLD", 443, "NODE", 64000, SYN | ACK), .outcome = BN_PASSED},
		  {"a connection to the node", UPLINK, TCP("WORLD", 64000, "NODE", 22, SYN),
		   .outcome = BN_PASSED}}},
};

static const struct bn_case one_family[] = {
	{"IPv6 is not masqueraded where IPv4 alone is", .families = 6,
	 .step = {{"out", FROM(BN_POD_A), UDP("A", 1000, "WORLD", 53), .outcome = BN_FORWARDED,
		   .count = {OPENED}},
		  {"and back", UPLINK, UDP("WORLD", 53, "A", 1000), .outcome = BN_FORWARDED}}},
	{"IPv4 is, where it alone is", .families = 4, .run = udp},
};

static void ipv4_alone(struct bn_config *config)
{
	config->features &= ~BN_FEATURE_MASQUERADE6;
}

int main(void)
{
	static const struct bn_rig_options both = {.flow_sets = 64, .masquerade = true};
	static const struct bn_rig_options ipv4 = {
		.flow_sets = 64, .masquerade = true, .configure = ipv4_alone};
	int r = bn_program_main("masquerade", cases, sizeof(cases) / sizeof(cases[0]), &both);

	return r | bn_program_main("masquerade of one family", one_family,
				   sizeof(one_family) / sizeof(one_family[0]), &ipv4);
}
