// SPDX-License-Identifier: Apache-2.0
/*
 * Where a flow's entries live and when they move: half-open, established, closing, closed and
 * expired; full tables; tuples that collide. What lasts is in test-lasting.c.
 */
#include "lib/program.h"

#include <unistd.h>

#define OPENED [BN_CNT_FLOWS_OPENED] = 1, [BN_CNT_DECISIONS] = 1

static const char *pair(struct bn_rig *rig, int family, __u16 client, enum bn_where where,
			__u8 state, __u8 reply_state)
{
	static char why[128];
	struct bn_tuple key = bn_tuple_make(family, IPPROTO_TCP, "A", client, "VIP", 80);
	struct bn_tuple back = bn_tuple_make(family, IPPROTO_TCP, "B", 8080, "A", client);
	struct bn_flow f = {}, r = {};
	__u8 closing = BN_FS_CLOSING | BN_FS_SYN;

	if (bn_rig_flow(rig, &key, &f) != where || bn_rig_flow(rig, &back, &r) != where)
		return "the entries are not where they should be";
	if ((f.state & closing) != state || (r.state & closing) != reply_state) {
		snprintf(why, sizeof(why), "state %02x, reply %02x; should be %02x, %02x",
			 f.state & closing, r.state & closing, state, reply_state);
		return why;
	}
	return NULL;
}

#define CHECK(name, client, where, state, reply) \
	static const char *name(struct bn_rig *rig, int family, const struct bn_result *r) \
	{ \
		return pair(rig, family, client, where, state, reply); \
	}

CHECK(syn_sent, 40000, BN_TRANSIENT, BN_FS_SYN, 0)
CHECK(syn_received, 40000, BN_TRANSIENT, BN_FS_SYN, BN_FS_SYN)
CHECK(established, 40000, BN_ESTABLISHED, BN_FS_SYN, BN_FS_SYN)
CHECK(half_closed, 40000, BN_TRANSIENT, BN_FS_SYN | BN_FS_FIN, BN_FS_SYN | BN_FS_PEER_FIN)
CHECK(closed, 40000, BN_TRANSIENT, BN_FS_SYN | BN_FS_FIN | BN_FS_PEER_FIN,
      BN_FS_SYN | BN_FS_FIN | BN_FS_PEER_FIN)
CHECK(reset, 40000, BN_TRANSIENT, BN_FS_SYN | BN_FS_PEER_RST, BN_FS_SYN | BN_FS_RST)
CHECK(reset_half_open, 40000, BN_TRANSIENT, BN_FS_SYN | BN_FS_PEER_RST, BN_FS_RST)

static struct bn_result result;

static int packet_send(struct bn_rig *rig, int family, int pod, const char *src, __u16 sport,
		       const char *dst, __u16 dport, __u8 protocol, __u8 flags)
{
	return bn_pod_send(rig, family, pod, src, sport, dst, dport, protocol, flags, &result);
}

static const char *expires(struct bn_rig *rig, int family)
{
	struct bn_step s = {.hook = BN_HOOK_FROM_POD,
			    .device = BN_POD_A,
			    .in = {.protocol = family == 4 ? 1 : 58,
				   .type = family == 4 ? 8 : 128,
				   .src = "A",
				   .dst = "B",
				   .icmp_id = 5}};
	struct bn_counts before, after;

	bn_step_send(rig, &s, family, &result);
	usleep(200000); /* life.icmp is 2 jiffies below */
	bn_rig_counts(rig, &before);
	bn_step_send(rig, &s, family, &result);
	bn_rig_counts(rig, &after);
	if (after.counter[BN_CNT_FLOWS_OPENED] - before.counter[BN_CNT_FLOWS_OPENED] != 1)
		return "an expired flow was taken for a live one";
	if (after.counter[BN_CNT_FLOWS_CLOSED] - before.counter[BN_CNT_FLOWS_CLOSED] != 1)
		return "the end of the expired flow was not reported";
	for (unsigned int i = 0; i < rig->n_events; i++)
		if (rig->events[i].header.type == BN_EVENT_FLOW_CLOSED &&
		    rig->events[i].cause != BN_CLOSE_EXPIRED)
			return "closed for another cause than expiry";
	return NULL;
}

static int handshake(struct bn_rig *rig, int family, __u16 port)
{
	return packet_send(rig, family, BN_POD_A, "A", port, "VIP", 80, IPPROTO_TCP, SYN) == 7 &&
	       packet_send(rig, family, BN_POD_B, "B", 8080, "A", port, IPPROTO_TCP, SYN | ACK) ==
		       7 &&
	       packet_send(rig, family, BN_POD_A, "A", port, "VIP", 80, IPPROTO_TCP, ACK) == 7;
}

static const char *full_table(struct bn_rig *rig, int family)
{
	struct bn_tuple key = bn_tuple_make(family, IPPROTO_TCP, "A", 50000, "VIP", 80);
	struct bn_tuple back = bn_tuple_make(family, IPPROTO_TCP, "B", 8080, "A", 50000);
	struct bn_counts before, after;
	struct bn_flow f = {};

	bn_rig_flows_fill(rig, 0);
	bn_rig_counts(rig, &before);
	if (!handshake(rig, family, 50000))
		return "a full table refuses a connection";
	bn_rig_counts(rig, &after);
	if (after.counter[BN_CNT_FLOWS_FULL] == before.counter[BN_CNT_FLOWS_FULL])
		return "that it can't be kept for good was not counted";
	if (after.counter[BN_CNT_FLOWS_PROMOTED] != before.counter[BN_CNT_FLOWS_PROMOTED])
		return "something was established in a full table";
	for (int i = 0; i < 4; i++)
		if (packet_send(rig, family, BN_POD_A, "A", 50000, "VIP", 80, IPPROTO_TCP, ACK) !=
			    7 ||
		    packet_send(rig, family, BN_POD_B, "B", 8080, "A", 50000, IPPROTO_TCP, ACK) !=
			    7)
			return "the connection does not go on";
	if (bn_rig_flow(rig, &key, &f) != BN_TRANSIENT || !(f.state & BN_FS_ESTABLISHED) ||
	    !(f.state & BN_FS_CROWDED))
		return "the original direction is not kept as established";
	if (bn_rig_flow(rig, &back, &f) != BN_TRANSIENT || !(f.state & BN_FS_ESTABLISHED) ||
	    !(f.state & BN_FS_CROWDED))
		return "the reply direction is not kept as established";
	return NULL;
}

/* More half-open flows than home sets have room for: they spill, and none is thrown out. */
static const char *half_open_spill(struct bn_rig *rig, int family)
{
	struct bn_counts before, after;

	bn_rig_counts(rig, &before);
	for (__u16 port = 51000; port < 51120; port++) {
		if (packet_send(rig, family, BN_POD_A, "A", port, "VIP", 80, IPPROTO_TCP, SYN) != 7)
			return "a connection refused";
	}
	bn_rig_counts(rig, &after);
	if (after.counter[BN_CNT_FLOWS_EVICTED] != before.counter[BN_CNT_FLOWS_EVICTED])
		return "a half-open flow was thrown out though there is room";
	for (__u16 port = 51000; port < 51120; port++) {
		if (packet_send(rig, family, BN_POD_B, "B", 8080, "A", port, IPPROTO_TCP,
				SYN | ACK) != 7 ||
		    result.out.data[result.out.l4 + 1] != 80)
			return "a reply is not translated back";
	}
	return NULL;
}

/* Every set has room for one more established entry: home sets are left for the others. */
static const char *crowded_table(struct bn_rig *rig, int family)
{
	unsigned int established = 0;

	bn_rig_flows_fill(rig, 1);
	for (__u16 port = 50001; port < 50011; port++) {
		struct bn_tuple key = bn_tuple_make(family, IPPROTO_TCP, "A", port, "VIP", 80);
		struct bn_tuple back = bn_tuple_make(family, IPPROTO_TCP, "B", 8080, "A", port);
		enum bn_where one, other;
		struct bn_flow f;

		if (!handshake(rig, family, port))
			return "a crowded table refuses a connection";
		one = bn_rig_flow(rig, &key, &f);
		other = bn_rig_flow(rig, &back, &f);
		if (one == BN_NOWHERE || one != other)
			return "the two entries are of different classes, or gone";
		established += one == BN_ESTABLISHED;
	}
	return established < 9 ? "there was room for more" : NULL;
}

/*
 * A client takes its ports again, whose flows of before have expired and still stand in their homes,
 * which are crowded by now.
 */
static const char *expired_at_home(struct bn_rig *rig, int family)
{
	const __u16 first = 51001, n = 8;
	struct bn_counts before, after;

	for (__u16 port = first; port < first + n; port++)
		if (!handshake(rig, family, port) ||
		    packet_send(rig, family, BN_POD_B, "B", 8080, "A", port, IPPROTO_TCP, RST) != 7)
			return "not forwarded";
	bn_rig_flows_expire(rig);
	bn_rig_flows_crowd(rig);
	for (__u16 port = first; port < first + n; port++) {
		struct bn_tuple key = bn_tuple_make(family, IPPROTO_TCP, "A", port, "VIP", 80);
		struct bn_tuple back = bn_tuple_make(family, IPPROTO_TCP, "B", 8080, "A", port);
		enum bn_where where;
		struct bn_flow f;

		bn_rig_counts(rig, &before);
		if (!handshake(rig, family, port))
			return "a crowded table refuses a connection";
		bn_rig_counts(rig, &after);
		if (after.counter[BN_CNT_FLOWS_OPENED] - before.counter[BN_CNT_FLOWS_OPENED] != 1)
			return "one handshake was taken for several flows";
		where = bn_rig_flow(rig, &key, &f);
		if (where == BN_NOWHERE || !(f.state & BN_FS_ESTABLISHED) ||
		    bn_rig_flow(rig, &back, &f) != where || !(f.state & BN_FS_ESTABLISHED))
			return "the connection is not established";
	}
	return NULL;
}

static const char *same_tuple(struct bn_rig *rig, int family)
{
	__u16 port;

	/* A:41000 -> B:8080 taken by itself, then by way of the service */
	if (packet_send(rig, family, BN_POD_A, "A", 41000, "B", 8080, IPPROTO_TCP, SYN) != 7)
		return "direct connection refused";
	if (packet_send(rig, family, BN_POD_A, "A", 41000, "VIP", 80, IPPROTO_TCP, SYN) != 7)
		return "the same source port through the service is refused";
	port = result.out.data[result.out.l4] << 8 | result.out.data[result.out.l4 + 1];
	if (port == 41000)
		return "two flows share one translated tuple";
	if (port < rig->config.nat_port_min || port > rig->config.nat_port_max)
		return "the other source port is outside the range";
	if (packet_send(rig, family, BN_POD_B, "B", 8080, "A", port, IPPROTO_TCP, SYN | ACK) != 7)
		return "the reply to the translated port is refused";
	if (result.out.data[result.out.l4 + 2] != 41000 >> 8 ||
	    result.out.data[result.out.l4 + 3] != (41000 & 255))
		return "the reply does not get the client's own port back";
	if (packet_send(rig, family, BN_POD_B, "B", 8080, "A", 41000, IPPROTO_TCP, SYN | ACK) !=
		    7 ||
	    result.out.data[result.out.l4] != 8080 >> 8)
		return "the direct flow's reply is translated";
	return NULL;
}

static const char *same_tuple_direct(struct bn_rig *rig, int family)
{
	if (packet_send(rig, family, BN_POD_A, "A", 41001, "VIP", 80, IPPROTO_TCP, SYN) != 7)
		return "connection through the service refused";
	if (packet_send(rig, family, BN_POD_A, "A", 41001, "B", 8080, IPPROTO_TCP, SYN) != 7)
		return "a direct connection whose tuple a translated one holds is refused";
	return NULL;
}

static void quick(struct bn_config *c)
{
	c->hz = 10; /* so that two seconds are twenty jiffies */
	c->life.icmp = 2;
}

#define HANDSHAKE \
	{"SYN",           FROM(BN_POD_A),    TCP("A", 40000, "VIP", 80, SYN), \
	 DNAT("B", 8080), .count = {OPENED}, .check = syn_sent}, \
		{"SYN-ACK", FROM(BN_POD_B), TCP("B", 8080, "A", 40000, SYN | ACK), \
		 SNAT("VIP", 80), .check = syn_received}, \
	{ \
		"ACK", FROM(BN_POD_A), TCP("A", 40000, "VIP", 80, ACK), DNAT("B", 8080), \
			.count = {[BN_CNT_FLOWS_PROMOTED] = 2}, .check = established \
	}

static const struct bn_case cases[] = {
	{"TCP from SYN to the last ACK, and again",
	 .step = {HANDSHAKE,
		  {"FIN", FROM(BN_POD_A), TCP("A", 40000, "VIP", 80, FIN | ACK), DNAT("B", 8080),
		   .count = {[BN_CNT_FLOWS_DEMOTED] = 2}, .check = half_closed},
		  {"data the other way", FROM(BN_POD_B),
		   TCP("B", 8080, "A", 40000, ACK, .payload = 100), SNAT("VIP", 80),
		   .check = half_closed},
		  {"FIN again", FROM(BN_POD_A), TCP("A", 40000, "VIP", 80, FIN | ACK),
		   DNAT("B", 8080), .check = half_closed},
		  {"FIN of the server", FROM(BN_POD_B), TCP("B", 8080, "A", 40000, FIN | ACK),
		   SNAT("VIP", 80), .count = {[BN_CNT_FLOWS_CLOSED] = 1}, .cause = BN_CLOSE_FIN,
		   .check = closed},
		  {"last ACK", FROM(BN_POD_A), TCP("A", 40000, "VIP", 80, ACK), DNAT("B", 8080),
		   .check = closed},
		  {"SYN: a new flow", FROM(BN_POD_A), TCP("A", 40000, "VIP", 80, SYN),
		   DNAT("B", 8080), .count = {OPENED}, .check = syn_sent}}},
	{"SYN again is the same flow",
	 .step = {{"SYN", FROM(BN_POD_A), TCP("A", 40000, "VIP", 80, SYN), DNAT("B", 8080),
		   .count = {OPENED}},
		  {"SYN again", FROM(BN_POD_A), TCP("A", 40000, "VIP", 80, SYN), DNAT("B", 8080),
		   .check = syn_sent}}},
	{"reset of an established connection",
	 .step = {HANDSHAKE,
		  {"RST", FROM(BN_POD_B), TCP("B", 8080, "A", 40000, RST), SNAT("VIP", 80),
		   .count = {[BN_CNT_FLOWS_DEMOTED] = 2, [BN_CNT_FLOWS_CLOSED] = 1},
		   .cause = BN_CLOSE_RST, .check = reset},
		  {"RST again", FROM(BN_POD_B), TCP("B", 8080, "A", 40000, RST), SNAT("VIP", 80)},
		  {"SYN: a new flow", FROM(BN_POD_A), TCP("A", 40000, "VIP", 80, SYN),
		   DNAT("B", 8080), .count = {OPENED}}}},
	{"a refused connection",
	 .step = {{"SYN", FROM(BN_POD_A), TCP("A", 40000, "VIP", 80, SYN), DNAT("B", 8080),
		   .count = {OPENED}},
		  {"RST", FROM(BN_POD_B), TCP("B", 8080, "A", 40000, RST | ACK), SNAT("VIP", 80),
		   .count = {[BN_CNT_FLOWS_CLOSED] = 1}, .cause = BN_CLOSE_RST,
		   .check = reset_half_open}}},
	{"an expired entry is a new flow", .run = expires},
	{"a full table: the connection goes on", .run = full_table},
	{"half-open flows of crowded sets", .run = half_open_spill},
	{"a table with one place left in each set", .run = crowded_table},
	{"ports that are used again, in crowded homes", .run = expired_at_home},
	{"a translated tuple that another flow holds", .run = same_tuple},
	{"a plain tuple that a translated flow holds", .run = same_tuple_direct},
};

int main(void)
{
	static const struct bn_rig_options options = {.flow_sets = 64, .configure = quick};

	return bn_program_main("lifecycle", cases, sizeof(cases) / sizeof(cases[0]), &options);
}
