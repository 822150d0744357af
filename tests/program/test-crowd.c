// SPDX-License-Identifier: Apache-2.0
/*
 * As many translated flows towards one destination as there are ports: pods' own by masquerade, and
 * others' through a NodePort to a backend elsewhere. And as many flows from one port as a poller has,
 * which the table's hash has in one set.
 */
#include "lib/program.h"

#include <string.h>

static __u16 port_at(const struct bn_result *r, int offset)
{
	return (__u16)(r->out.data[r->out.l4 + offset] << 8 | r->out.data[r->out.l4 + offset + 1]);
}

/* The client's port that each port of the node stands for, 0: none. */
static __u16 client_of[65536];

/*
 * New flows until one is refused, which is for the range and for nothing else: 95 % of it at the
 * least have found a port by then, and no two the same.
 */
static const char *fill(struct bn_rig *rig, int family, struct bn_step s)
{
	const int range = rig->config.nat_port_max - rig->config.nat_port_min + 1;
	struct bn_counts before, after;
	struct bn_result result;
	int n;

	memset(client_of, 0, sizeof(client_of));
	bn_rig_counts(rig, &before);
	for (n = 0; n <= range; n++) {
		__u16 port;

		s.in.sport = (__u16)(1024 + n);
		if (bn_step_send(rig, &s, family, &result) != 7)
			break;
		port = port_at(&result, 0);
		if (port < rig->config.nat_port_min || port > rig->config.nat_port_max)
			return "a port outside the range";
		if (client_of[port])
			return "a port twice";
		client_of[port] = s.in.sport;
	}
	bn_rig_counts(rig, &after);
	if (n < range * 95 / 100)
		return "refused with less than 95 % of the range taken";
	if (n > range)
		return "more flows than ports";
	for (int i = 0; i < BN_DROP_MAX; i++) {
		if (after.drop[i] - before.drop[i] != (i == BN_DROP_NAT_PORTS_EXHAUSTED))
			return "not refused by name, once";
	}
	if (after.counter[BN_CNT_FLOWS_EVICTED] != before.counter[BN_CNT_FLOWS_EVICTED])
		return "the table is too small for this test";
	return NULL;
}

/* Every one of them gets its answer. */
static const char *answers(struct bn_rig *rig, int family, struct bn_step back)
{
	struct bn_result result;

	for (int port = rig->config.nat_port_min; port <= rig->config.nat_port_max; port++) {
		if (!client_of[port])
			continue;
		back.in.dport = (__u16)port;
		if (bn_step_send(rig, &back, family, &result) != 7)
			return "an answer is not sent on";
		if (port_at(&result, 2) != client_of[port])
			return "an answer reaches another client";
	}
	return NULL;
}

static const char *crowd(struct bn_rig *rig, int family, struct bn_step s, struct bn_step back,
			 struct bn_step other)
{
	const char *wrong = fill(rig, family, s);
	struct bn_result result;

	wrong = wrong ? wrong : answers(rig, family, back);
	/* the same ports serve another destination */
	if (!wrong && bn_step_send(rig, &other, family, &result) != 7)
		wrong = "refused towards another destination";
	return wrong;
}

static const char *masqueraded(struct bn_rig *rig, int family, __u8 protocol)
{
	return crowd(rig, family,
		     (struct bn_step){FROM(BN_POD_A), .in = {.protocol = protocol,
							     .src = "A",
							     .dst = "WORLD",
							     .dport = 443,
							     .tcp_flags = SYN}},
		     (struct bn_step){UPLINK, .in = {.protocol = protocol,
						     .src = "WORLD",
						     .sport = 443,
						     .dst = "NODE",
						     .tcp_flags = SYN | ACK}},
		     (struct bn_step){FROM(BN_POD_B), .in = {.protocol = protocol,
							     .src = "B",
							     .sport = 1024,
							     .dst = "ROUTER",
							     .dport = 443,
							     .tcp_flags = SYN}});
}

static const char *masqueraded_tcp(struct bn_rig *rig, int family)
{
	return masqueraded(rig, family, IPPROTO_TCP);
}

static const char *masqueraded_udp(struct bn_rig *rig, int family)
{
	return masqueraded(rig, family, IPPROTO_UDP);
}

static const char *node_port(struct bn_rig *rig, int family, __u8 protocol, __u16 port,
			     __u16 backend)
{
	return crowd(rig, family,
		     (struct bn_step){UPLINK, .in = {.protocol = protocol,
						     .src = "WORLD",
						     .dst = "NODE",
						     .dport = port,
						     .tcp_flags = SYN}},
		     (struct bn_step){UPLINK, .in = {.protocol = protocol,
						     .src = "REMOTE",
						     .sport = backend,
						     .dst = "NODE",
						     .tcp_flags = SYN | ACK}},
		     (struct bn_step){FROM(BN_POD_A), .in = {.protocol = protocol,
							     .src = "A",
							     .sport = 1024,
							     .dst = "WORLD",
							     .dport = 443,
							     .tcp_flags = SYN}});
}

static const char *node_port_tcp(struct bn_rig *rig, int family)
{
	return node_port(rig, family, IPPROTO_TCP, 30081, 8082);
}

static const char *node_port_udp(struct bn_rig *rig, int family)
{
	return node_port(rig, family, IPPROTO_UDP, 30054, 5354);
}

#define POLLED 600 /* more than a set counts of those that are elsewhere */
#define POLLER 40000

static const char *poll(struct bn_rig *rig, int family, struct bn_step ask, struct bn_step answer,
			int rounds)
{
	struct bn_counts before, after;
	struct bn_result result;

	bn_rig_counts(rig, &before);
	for (int round = 0; round < rounds; round++) {
		for (__u16 port = 1; port <= POLLED; port++) {
			ask.in.dport = port;
			if (bn_step_send(rig, &ask, family, &result) != 7)
				return "not sent on";
			answer.in.dport = port_at(&result, 0);
			answer.in.sport = port;
			if (bn_step_send(rig, &answer, family, &result) != 7)
				return "an answer is not sent on";
			if (port_at(&result, 2) != POLLER)
				return "an answer reaches another port";
			/* is found again, however many there are by now */
			ask.in.dport = port / 2 + 1;
			if (bn_step_send(rig, &ask, family, &result) != 7)
				return "not sent on again";
		}
		ask.in.tcp_flags = ACK;
		answer.in.tcp_flags = ACK;
	}
	bn_rig_counts(rig, &after);
	if (after.counter[BN_CNT_FLOWS_OPENED] - before.counter[BN_CNT_FLOWS_OPENED] != POLLED)
		return "not as many flows as there are ends";
	if (after.counter[BN_CNT_FLOWS_EVICTED] != before.counter[BN_CNT_FLOWS_EVICTED])
		return "one was thrown out for another";
	return NULL;
}

static const char *one_port(struct bn_rig *rig, int family, __u8 protocol)
{
	return poll(rig, family,
		    (struct bn_step){FROM(BN_POD_A), .in = {.protocol = protocol,
							    .src = "A",
							    .sport = POLLER,
							    .dst = "WORLD",
							    .tcp_flags = SYN}},
		    (struct bn_step){UPLINK, .in = {.protocol = protocol,
						    .src = "WORLD",
						    .dst = "NODE",
						    .tcp_flags = SYN | ACK}},
		    3);
}

static const char *one_port_tcp(struct bn_rig *rig, int family)
{
	return one_port(rig, family, IPPROTO_TCP);
}

static const char *one_port_udp(struct bn_rig *rig, int family)
{
	return one_port(rig, family, IPPROTO_UDP);
}

static const struct bn_case cases[] = {
	{"masqueraded TCP", .run = masqueraded_tcp},
	{"masqueraded UDP", .run = masqueraded_udp},
	{"TCP through a NodePort", .run = node_port_tcp},
	{"UDP through a NodePort", .run = node_port_udp},
	{"TCP from one port to many", .run = one_port_tcp},
	{"UDP from one port to many", .run = one_port_udp},
};

int main(void)
{
	static const struct bn_rig_options whole = {.flow_sets = 32768, .masquerade = true};

	return bn_program_main("one destination", cases, sizeof(cases) / sizeof(cases[0]), &whole);
}
