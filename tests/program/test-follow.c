// SPDX-License-Identifier: Apache-2.0
/*
 * Packets of known flows that are not established: the established path sends them on once the flow has
 * moved on, and what is odd about them is left to the slow path, with the flow as it was.
 */
#include "lib/program.h"

#define CLIENT 40000
#define OPENED [BN_CNT_FLOWS_OPENED] = 1, [BN_CNT_DECISIONS] = 1
#define BY_SLOW_PATH BN_CNT_FORWARDED_PACKETS

static __u64 slow_before;

static __u64 slow_packets(const struct bn_rig *rig)
{
	struct bn_counts c;

	bn_rig_counts(rig, &c);
	return c.counter[BY_SLOW_PATH];
}

static void look(struct bn_rig *rig, int family)
{
	slow_before = slow_packets(rig);
}

static const char *fast(struct bn_rig *rig, int family, const struct bn_result *r)
{
	return slow_packets(rig) == slow_before ? NULL : "took the slow path";
}

static const char *slow(struct bn_rig *rig, int family, const struct bn_result *r)
{
	return slow_packets(rig) == slow_before + 1 ? NULL : "did not take the slow path";
}

#define FAST .before = look, .check = fast
#define SLOW .before = look, .check = slow

/* The entries of A's flow to B by the service. */
static bool entries(const struct bn_rig *rig, int family, __u8 protocol, struct bn_flow *flow,
		    struct bn_flow *reply)
{
	bool tcp = protocol == IPPROTO_TCP;
	struct bn_tuple key = bn_tuple_make(family, protocol, "A", CLIENT, "VIP", tcp ? 80 : 53);
	struct bn_tuple back = bn_tuple_make(family, protocol, "B", tcp ? 8080 : 5353, "A", CLIENT);

	return bn_rig_flow(rig, &key, flow) != BN_NOWHERE &&
	       bn_rig_flow(rig, &back, reply) != BN_NOWHERE;
}

/* Nothing of the reply has been seen. */
static const char *unanswered(struct bn_rig *rig, int family, const struct bn_result *r)
{
	struct bn_flow f, reply;

	if (!entries(rig, family, IPPROTO_TCP, &f, &reply))
		return "an entry is gone";
	if (reply.packets || reply.state || reply.tcp_flags)
		return "the flow has moved on";
	return NULL;
}

/* One answer, counted once. */
static const char *answered_once(struct bn_rig *rig, int family, const struct bn_result *r)
{
	struct bn_flow f, reply;

	if (!entries(rig, family, IPPROTO_TCP, &f, &reply))
		return "an entry is gone";
	if (f.packets != 1 || reply.packets != 1 || reply.bytes != (family == 4 ? 40 : 60) ||
	    !(reply.state & BN_FS_SYN) || reply.tcp_flags != (SYN | ACK))
		return "the SYN-ACK is not the reply's only packet";
	return NULL;
}

static void forget_reply(struct bn_flow_entry *e)
{
	if (!(e->flow.flags & BN_FLOW_ORIGIN))
		e->key.family = 0;
}

static void without_reply(struct bn_rig *rig, int family)
{
	bn_rig_flows_change(rig, forget_reply);
	look(rig, family);
}

/* The entry of replies is there again, by the way that makes it. */
static const char *mended(struct bn_rig *rig, int family, const struct bn_result *r)
{
	struct bn_flow f, reply;

	if (!entries(rig, family, IPPROTO_UDP, &f, &reply) || f.packets != 2)
		return "the reply's entry was not made again";
	return slow(rig, family, r);
}

static const char *lived(struct bn_rig *rig, int family, const struct bn_result *r)
{
	struct bn_flow f, reply;

	if (!entries(rig, family, IPPROTO_UDP, &f, &reply) || f.packets != 3 || reply.packets != 2)
		return "not three queries and two answers";
	return fast(rig, family, r);
}

static void stale(struct bn_rig *rig, int family)
{
	bn_rig_epoch_bump(rig, rig->dev[BN_POD_B].slot);
	look(rig, family);
}

#define TO_VIP(flags, ...) \
	FROM(BN_POD_A), TCP("A", CLIENT, "VIP", 80, flags, ##__VA_ARGS__), DNAT("B", 8080)
#define BACK(flags, ...) \
	FROM(BN_POD_B), TCP("B", 8080, "A", CLIENT, flags, ##__VA_ARGS__), SNAT("VIP", 80)
#define OPENS {"SYN", TO_VIP(SYN), .count = {OPENED}, SLOW}
#define PROMOTES .count = {[BN_CNT_FLOWS_PROMOTED] = 2}
#define CLOSES .count = {[BN_CNT_FLOWS_CLOSED] = 1}
#define QUERY FROM(BN_POD_A), UDP("A", CLIENT, "VIP", 53, .payload = 30), DNAT("B", 5353)
#define REPLY FROM(BN_POD_B), UDP("B", 5353, "A", CLIENT, .payload = 60), SNAT("VIP", 53)

static const struct bn_case cases[] = {
	{"a connection by a service: its SYN alone takes the slow path",
	 .step = {OPENS,
		  {"SYN-ACK", BACK(SYN | ACK), FAST},
		  {"SYN-ACK again", BACK(SYN | ACK), FAST},
		  {"ACK", TO_VIP(ACK), PROMOTES, FAST},
		  {"data", TO_VIP(ACK, .payload = 64), FAST},
		  {"FIN", BACK(FIN | ACK), .count = {[BN_CNT_FLOWS_DEMOTED] = 2}, FAST},
		  {"its ACK", TO_VIP(ACK), FAST},
		  {"FIN", TO_VIP(FIN | ACK), CLOSES, .cause = BN_CLOSE_FIN, FAST},
		  {"FIN again", TO_VIP(FIN | ACK), FAST},
		  {"its ACK", BACK(ACK), FAST},
		  {"SYN: a new one", TO_VIP(SYN), .count = {OPENED}, SLOW}}},
	{"a connection from pod to pod",
	 .step = {{"SYN", FROM(BN_POD_A), TCP("A", CLIENT, "B", 8080, SYN), .outcome = BN_FORWARDED,
		   .count = {OPENED}, SLOW},
		  {"SYN again", FROM(BN_POD_A), TCP("A", CLIENT, "B", 8080, SYN),
		   .outcome = BN_FORWARDED, SLOW},
		  {"SYN-ACK", FROM(BN_POD_B), TCP("B", 8080, "A", CLIENT, SYN | ACK),
		   .outcome = BN_FORWARDED, FAST},
		  {"ACK", FROM(BN_POD_A), TCP("A", CLIENT, "B", 8080, ACK), .outcome = BN_FORWARDED,
		   PROMOTES, FAST},
		  {"RST", FROM(BN_POD_B), TCP("B", 8080, "A", CLIENT, RST), .outcome = BN_FORWARDED,
		   .count = {[BN_CNT_FLOWS_DEMOTED] = 2, [BN_CNT_FLOWS_CLOSED] = 1},
		   .cause = BN_CLOSE_RST, FAST}}},
	{"a connection to the world",
	 .step = {{"SYN", FROM(BN_POD_A), TCP("A", CLIENT, "WORLD", 80, SYN),
		   .outcome = BN_FORWARDED, .count = {OPENED}, SLOW},
		  {"RST", FROM(BN_POD_A), TCP("A", CLIENT, "WORLD", 80, RST),
		   .outcome = BN_FORWARDED, CLOSES, .cause = BN_CLOSE_RST, FAST}}},
	{"an exchange by UDP: its first datagram alone takes the slow path",
	 .step = {{"query", QUERY, .count = {OPENED}, SLOW},
		  {"answer", REPLY, FAST},
		  {"query", QUERY, FAST},
		  {"answer", REPLY, FAST},
		  {"query", QUERY, .before = look, .check = lived}}},
	{"the reply's entry is made again",
	 .step = {{"query", QUERY, .count = {OPENED}},
		  {"query", QUERY, .before = without_reply, .check = mended},
		  {"answer", REPLY, FAST}}},
	{"TTL of 1 in the handshake: answered, and counted once", .families = 4,
	 .step = {OPENS,
		  {"SYN-ACK", FROM(BN_POD_B), TCP("B", 8080, "A", CLIENT, SYN | ACK, .ttl = 1),
		   ANSWER(IPPROTO_ICMP, 11, 0, "NODE", "B"), .reason = BN_DROP_TTL_EXCEEDED,
		   .count = {[BN_CNT_REJECTS] = 1}, .check = answered_once}}},
	{"another's MAC in the handshake",
	 .step = {OPENS,
		  {"SYN-ACK", FROM(BN_POD_B),
		   TCP("B", 8080, "A", CLIENT, SYN | ACK, .smac = {{2, 0xbf, 9, 9, 9, 9}}),
		   DROP(SPOOFED_MAC), .check = unanswered}}},
	{"another pod's answer in the handshake",
	 .step = {OPENS,
		  {"SYN-ACK", FROM(BN_POD_C), TCP("B", 8080, "A", CLIENT, SYN | ACK),
		   DROP(SPOOFED_SOURCE), .check = unanswered}}},
	{"a stale flow is decided anew",
	 .step = {OPENS,
		  {"SYN-ACK", BACK(SYN | ACK), .before = stale, .check = slow,
		   .count = {[BN_CNT_STALE] = 1}},
		  {"ACK", TO_VIP(ACK), .before = look, .check = slow,
		   .count = {[BN_CNT_STALE] = 1, [BN_CNT_FLOWS_PROMOTED] = 2}},
		  {"data", TO_VIP(ACK, .payload = 64), FAST}}},
};

int main(void)
{
	return bn_program_main("follow", cases, sizeof(cases) / sizeof(cases[0]), NULL);
}
