// SPDX-License-Identifier: Apache-2.0
/*
 * Direct server return. As the node that the client asks: what goes on to a backend elsewhere keeps the
 * client's address, and what begins a flow there says which frontend was meant. As the backend's node: the
 * pod gets what the client sent, and answers from that frontend; nobody makes it answer from another.
 */
#include "lib/program.h"

#include <arpa/inet.h>
#include <bpfnet/source.h>
#include <errno.h>
#include <string.h>

#define OPENED [BN_CNT_FLOWS_OPENED] = 1, [BN_CNT_DECISIONS] = 1
#define REFUSED_BY_NAME [BN_CNT_DECISIONS] = 1
#define REPLACED .count = {OPENED, [BN_CNT_FLOWS_CLOSED] = 1}, .cause = BN_CLOSE_STALE
#define NAT_PORT 64000
/* to the backend elsewhere: saying so, and as one of many */
#define BEGINS(d, dp, f, fp) DNAT(d, dp), .to_frontend = {(f), (fp)}
#define FOLLOWS(d, dp) DNAT(d, dp)
/* with this node's address */
#define OUT(d, dp) \
	.outcome = BN_FORWARDED, .to_src = "NODE", .to_sport = NAT_PORT, .to_dst = (d), \
	.to_dport = (dp)
#define ASKED(f, fp) .frontend = {(f), (fp)}
#define PLAIN .outcome = BN_FORWARDED
#define BY_STACK .outcome = BN_PASSED

static void direct(struct bn_config *config)
{
	config->nat_port_min = NAT_PORT;
	config->nat_port_max = NAT_PORT;
	config->event_rate = ~0u;
	config->features |= BN_FEATURE_DSR;
}

static void hybrid(struct bn_config *config)
{
	direct(config);
	config->features &= ~(__u32)BN_FEATURE_DSR_UDP;
}

static void plain(struct bn_config *config)
{
	direct(config);
	config->features &= ~(__u32)BN_FEATURE_DSR;
}

static void stale(struct bn_rig *rig, int family)
{
	bn_rig_epoch_bump(rig, BN_SLOT_NONE);
}

static void forget_transient(struct bn_rig *rig, int family)
{
	bn_rig_forget_transient(rig);
}

static void six_hours(struct bn_rig *rig, int family)
{
	bn_rig_flows_age(rig, rig->config.life.established / 2 + rig->config.hz);
	bn_rig_sweep(rig);
}

/* The client's direction on the node that it asked: the established path's, and yet to be thrown out. */
static const char *passes(struct bn_rig *rig, int family, const struct bn_result *result)
{
	struct bn_tuple key = bn_tuple_make(family, IPPROTO_TCP, "WORLD", 40000, "NODE", 30081);
	struct bn_flow f;

	if (bn_rig_flow(rig, &key, &f) != BN_TRANSIENT)
		return "what only its client shows is no transient flow";
	if (!(f.state & BN_FS_ESTABLISHED) || f.state & BN_FS_CROWDED)
		return "the established path leaves it";
	if (!bn_flow_is_direct(&f.hot) || f.flags & BN_FLOW_MASQ || f.action != BN_ACT_NEIGH)
		return "flags of a flow that is answered past this node";
	return NULL;
}

static void service_with(struct bn_rig *rig, int family, const char *frontend, __u16 port,
			 const char *backend)
{
	union bn_addr addr = bn_rig_addr(frontend, family);
	struct bn_rig_backend b = {.addr = bn_rig_addr(backend, family), .port = 80};

	bn_rig_service(rig, &addr, port, IPPROTO_TCP, &b, 1);
}

static void no_pod(struct bn_rig *rig, int family)
{
	service_with(rig, family, "ANY", 30090, "DIRECT");
	service_with(rig, family, "ANY", 30091, "NODE9");
}

static struct bn_packet of_reply, at_backend, by_pod, as_sent, as_come;

static void quotes(struct bn_rig *rig, int family)
{
	bn_quote(rig, family, &of_reply,
		 QUOTED("NODE", 30054, "WORLD", 5000, .payload = 40, .ttl = 9));
	bn_quote(rig, family, &at_backend,
		 QUOTED("REMOTE", 5354, "WORLD", 5000, .payload = 40, .ttl = 9));
	bn_quote(rig, family, &by_pod, QUOTED("B", 5353, "WORLD", 5000, .payload = 40, .ttl = 9));
	bn_quote(rig, family, &as_come, QUOTED("WORLD", 5000, "B", 5353, .payload = 40, .ttl = 9));
	bn_quote(rig, family, &as_sent,
		 QUOTED("WORLD", 5000, "NODE9", 30053, .payload = 40, .ttl = 9));
}

#define TOO_BIG .reason = BN_DROP_PACKET_TOO_BIG

/* Room for 4 bytes behind them: none for what has to be said. */
static const __u8 full[36] = {[0 ... 35] = 1};

static const struct bn_case asked[] = {
	{"TCP to a backend elsewhere",
	 .step = {{"SYN", UPLINK, TCP("WORLD", 40000, "NODE", 30081, SYN),
		   BEGINS("REMOTE", 8082, "NODE", 30081), .count = {OPENED}},
		  {"SYN again: the first one may be lost", UPLINK,
		   TCP("WORLD", 40000, "NODE", 30081, SYN), BEGINS("REMOTE", 8082, "NODE", 30081)},
		  {"ACK of an answer that nobody saw here", UPLINK,
		   TCP("WORLD", 40000, "NODE", 30081, ACK), FOLLOWS("REMOTE", 8082),
		   .check = passes},
		  {"data of full size", UPLINK,
		   TCP("WORLD", 40000, "NODE", 30081, ACK, .payload = 1440),
		   FOLLOWS("REMOTE", 8082)},
		  {"routes have changed: data", UPLINK,
		   TCP("WORLD", 40000, "NODE", 30081, ACK, .payload = 3), FOLLOWS("REMOTE", 8082),
		   .count = {[BN_CNT_STALE] = 1}, .before = stale, .check = passes},
		  {"FIN", UPLINK, TCP("WORLD", 40000, "NODE", 30081, FIN | ACK),
		   FOLLOWS("REMOTE", 8082)},
		  {"ACK of its FIN", UPLINK, TCP("WORLD", 40000, "NODE", 30081, ACK),
		   FOLLOWS("REMOTE", 8082)},
		  {"reset", UPLINK, TCP("WORLD", 40000, "NODE", 30081, RST),
		   FOLLOWS("REMOTE", 8082), .count = {[BN_CNT_FLOWS_CLOSED] = 1},
		   .cause = BN_CLOSE_RST}}},
	{"a load balancer's address",
	 .step = {{"SYN", UPLINK, TCP("WORLD", 40000, "LB", 81, SYN),
		   BEGINS("REMOTE", 8082, "LB", 81), .count = {OPENED}},
		  {"ACK", UPLINK, TCP("WORLD", 40000, "LB", 81, ACK), FOLLOWS("REMOTE", 8082)}}},
	{"a backend here: nothing to be said",
	 .step = {{"SYN", UPLINK, TCP("WORLD", 40000, "NODE", 30080, SYN), DNAT("B", 8080),
		   .count = {OPENED}}}},
	{"a pod here, whose answer comes by this node",
	 .step = {{"SYN", FROM(BN_POD_A), TCP("A", 40001, "NODE", 30081, SYN), DNAT("REMOTE", 8082),
		   .count = {OPENED}}}},
	{"each datagram of UDP says it",
	 .step = {{"request", UPLINK, UDP("WORLD", 5000, "NODE", 30054, .payload = 40),
		   BEGINS("REMOTE", 5354, "NODE", 30054), .count = {OPENED}},
		  {"another", UPLINK, UDP("WORLD", 5000, "NODE", 30054, .payload = 41),
		   BEGINS("REMOTE", 5354, "NODE", 30054)},
		  {"all is forgotten: a third", UPLINK, UDP("WORLD", 5000, "NODE", 30054),
		   BEGINS("REMOTE", 5354, "NODE", 30054), .count = {OPENED},
		   .before = forget_transient}}},
	{"UDP without a checksum keeps none", .families = 4,
	 .step = {{"request", UPLINK, UDP("WORLD", 5000, "NODE", 30054, .checksum = BN_CSUM_ZERO),
		   BEGINS("REMOTE", 5354, "NODE", 30054), .count = {OPENED}}}},
	{"SCTP: its INIT",
	 .step = {{"INIT", UPLINK, SCTP("WORLD", 5000, "NODE", 30039, .payload = 20),
		   BEGINS("REMOTE", 3868, "NODE", 30039), .count = {OPENED}},
		  {"DATA", UPLINK,
		   SCTP("WORLD", 5000, "NODE", 30039, .bytes = "\0\3\0\24abcdefghijklmnop",
			.payload = 20),
		   FOLLOWS("REMOTE", 3868)}}},
	{"in the middle of a connection whose entry is lost: the same backend",
	 .step = {{"data", UPLINK, TCP("WORLD", 40000, "NODE", 30081, ACK, .payload = 9),
		   FOLLOWS("REMOTE", 8082), .count = {OPENED}},
		  {"more", UPLINK, TCP("WORLD", 40000, "NODE", 30081, ACK, .payload = 9),
		   FOLLOWS("REMOTE", 8082), .check = passes}}},
	{"a flow in use outlives an established one's time",
	 .step = {{"SYN", UPLINK, TCP("WORLD", 40000, "NODE", 30081, SYN),
		   BEGINS("REMOTE", 8082, "NODE", 30081), .count = {OPENED}},
		  {"ACK", UPLINK, TCP("WORLD", 40000, "NODE", 30081, ACK), FOLLOWS("REMOTE", 8082)},
		  {"data after half of it", UPLINK,
		   TCP("WORLD", 40000, "NODE", 30081, ACK, .payload = 1), FOLLOWS("REMOTE", 8082),
		   .before = six_hours, .check = passes},
		  {"and after the whole", UPLINK,
		   TCP("WORLD", 40000, "NODE", 30081, ACK, .payload = 1), FOLLOWS("REMOTE", 8082),
		   .before = six_hours, .check = passes}}},
	{"a SYN of an established flow is another: nobody here saw the first one's end",
	 .step = {{"SYN", UPLINK, TCP("WORLD", 40000, "NODE", 30081, SYN),
		   BEGINS("REMOTE", 8082, "NODE", 30081), .count = {OPENED}},
		  {"ACK", UPLINK, TCP("WORLD", 40000, "NODE", 30081, ACK), FOLLOWS("REMOTE", 8082)},
		  {"SYN", UPLINK, TCP("WORLD", 40000, "NODE", 30081, SYN),
		   BEGINS("REMOTE", 8082, "NODE", 30081), REPLACED}}},
	{"the same ports to the same backend by another frontend: with this node's address",
	 .step = {{"by the NodePort", UPLINK, TCP("WORLD", 40000, "NODE", 30081, SYN),
		   BEGINS("REMOTE", 8082, "NODE", 30081), .count = {OPENED}},
		  {"by the load balancer's address", UPLINK, TCP("WORLD", 40000, "LB", 81, SYN),
		   OUT("REMOTE", 8082), .count = {OPENED}},
		  {"its answer", UPLINK, TCP("REMOTE", 8082, "NODE", NAT_PORT, SYN | ACK),
		   .outcome = BN_FORWARDED, .to_src = "LB", .to_sport = 81, .to_dst = "WORLD",
		   .to_dport = 40000},
		  {"the first goes on", UPLINK, TCP("WORLD", 40000, "NODE", 30081, ACK),
		   FOLLOWS("REMOTE", 8082)}}},
	{"backends that are no pods: with this node's address", .prepare = no_pod,
	 .step = {{"outside the cluster", UPLINK, TCP("WORLD", 40000, "NODE", 30090, SYN),
		   OUT("DIRECT", 80), .count = {OPENED}},
		  {"another node", UPLINK, TCP("WORLD", 40000, "NODE", 30091, SYN),
		   OUT("NODE9", 80), .count = {OPENED}}}},
	{"options of the client stay behind it", .families = 4,
	 .step = {{"a router alert", UPLINK,
		   TCP("WORLD", 40000, "NODE", 30081, SYN, .options = "\x94\x04\0\0",
		       .options_len = 4),
		   BEGINS("REMOTE", 8082, "NODE", 30081), .count = {OPENED}},
		  {"a header that is full: with this node's address", UPLINK,
		   TCP("WORLD", 40001, "NODE", 30081, SYN, .options = full,
		       .options_len = sizeof(full)),
		   OUT("REMOTE", 8082), .count = {OPENED}}}},
	{"extension headers of the client stay behind it", .families = 6,
	 .step = {{"hop by hop, which has to be the first: with this node's address", UPLINK,
		   UDP("WORLD", 5001, "NODE", 30054, .payload = 9,
		       .ext = {{.type = 0, .data = {1, 4}}}, .exts = 1),
		   OUT("REMOTE", 5354), .count = {OPENED}},
		  {"for the destination", UPLINK,
		   UDP("WORLD", 5000, "NODE", 30054, .payload = 9,
		       .ext = {{.type = 60, .data = {1, 4}}}, .exts = 1),
		   BEGINS("REMOTE", 5354, "NODE", 30054), .count = {OPENED}}}},
	{"what it costs of the MTU", .families = 4,
	 .step = {{"as large as goes", UPLINK,
		   UDP("WORLD", 5000, "NODE", 30054, .payload = 1464, .frag = BN_IP_DF),
		   BEGINS("REMOTE", 5354, "NODE", 30054), .count = {OPENED}},
		  {"a byte more, not to be fragmented: its sender is told", UPLINK,
		   UDP("WORLD", 5000, "NODE", 30054, .payload = 1465, .frag = BN_IP_DF),
		   ANSWER(1, 3, 4, "NODE", "WORLD", .icmp_rest = 1492, .quote_len = 548), TOO_BIG,
		   .count = {[BN_CNT_REJECTS] = 1}},
		  {"that may be fragmented: by the stack", UPLINK,
		   UDP("WORLD", 5000, "NODE", 30054, .payload = 1465), .outcome = BN_PASSED,
		   .to_dst = "REMOTE", .to_dport = 5354, .to_frontend = {"NODE", 30054}}}},
	{"what it costs of the MTU", .families = 6,
	 .step = {{"as large as goes", UPLINK, UDP("WORLD", 5000, "NODE", 30054, .payload = 1428),
		   BEGINS("REMOTE", 5354, "NODE", 30054), .count = {OPENED}},
		  {"a byte more: its sender is told", UPLINK,
		   UDP("WORLD", 5000, "NODE", 30054, .payload = 1429),
		   ANSWER(58, 2, 0, "NODE", "WORLD", .icmp_rest = 1476, .quote_len = 1232), TOO_BIG,
		   .count = {[BN_CNT_REJECTS] = 1}}}},
	{"a router's error about an answer reaches the pod that sent it", .families = 4,
	 .prepare = quotes,
	 .step = {{"request", UPLINK, UDP("WORLD", 5000, "NODE", 30054),
		   BEGINS("REMOTE", 5354, "NODE", 30054), .count = {OPENED}},
		  {"too big", UPLINK, ERROR(1, 3, 4, "ROUTER", "NODE", of_reply, .icmp_rest = 1300),
		   .outcome = BN_FORWARDED, .to_dst = "REMOTE", .to_quote = &at_backend,
		   TRANSLATED}}},
	{"a router's error about an answer reaches the pod that sent it", .families = 6,
	 .prepare = quotes,
	 .step = {{"request", UPLINK, UDP("WORLD", 5000, "NODE", 30054),
		   BEGINS("REMOTE", 5354, "NODE", 30054), .count = {OPENED}},
		  {"too big", UPLINK,
		   ERROR(58, 2, 0, "ROUTER", "NODE", of_reply, .icmp_rest = 1300),
		   .outcome = BN_FORWARDED, .to_dst = "REMOTE", .to_quote = &at_backend,
		   TRANSLATED}}},
};

static const struct bn_case asked_hybrid[] = {
	{"TCP by direct server return, UDP with this node's address",
	 .step = {{"SYN", UPLINK, TCP("WORLD", 40000, "NODE", 30081, SYN),
		   BEGINS("REMOTE", 8082, "NODE", 30081), .count = {OPENED}},
		  {"request", UPLINK, UDP("WORLD", 5000, "NODE", 30054), OUT("REMOTE", 5354),
		   .count = {OPENED}}}},
};

/* Who answers for the frontend: its service has these backends here. */
static void answers(struct bn_rig *rig, int family, const char *frontend, __u16 port, __u8 protocol,
		    const char *pod, __u16 pod_port)
{
	struct bn_service_key key = {
		.addr = bn_rig_addr(frontend, family), .port = htons(port), .protocol = protocol};
	struct bn_source_key source = {.prefixlen = BN_SOURCE_WHOLE};
	union bn_addr addr = bn_rig_addr(pod, family);
	struct bn_source value = {0};

	source.service = bn_rig_frontend(rig, &key).id | BN_SOURCE_ANSWERS;
	memcpy(source.addr, &addr, sizeof(source.addr));
	source.port = htons(pod_port);
	source.protocol = protocol;
	if (bpf_map_update_elem(bn_rig_map(rig, "bn_sources"), &source, &value, BPF_ANY))
		bn_rig_die("answers", errno);
}

static void backends_here(struct bn_rig *rig, int family)
{
	answers(rig, family, "ANY", 30080, IPPROTO_TCP, "B", 8080);
	answers(rig, family, "ANY", 30053, IPPROTO_UDP, "B", 5353);
	answers(rig, family, "ANY", 30038, 132, "B", 3869);
	answers(rig, family, "LB", 80, IPPROTO_TCP, "B", 8080);
	answers(rig, family, "VIP", 80, IPPROTO_TCP, "B", 8080);
	quotes(rig, family);
}

static void restricted(struct bn_rig *rig, int family)
{
	backends_here(rig, family);
	bn_program_restrict(rig, family);
}

static void isolate_b(struct bn_rig *rig, int family)
{
	backends_here(rig, family);
	bn_rig_policy_enforce(rig, BN_POD_B, BN_POLICY_INGRESS, true);
}

static void allow_all(struct bn_rig *rig, int family)
{
	bn_rig_policy_clear(rig);
}

static void small_pod(struct bn_rig *rig, int family)
{
	backends_here(rig, family);
	bn_quote(rig, family, &as_sent,
		 QUOTED("WORLD", 5000, "NODE9", 30053, .payload = 1400, .frag = BN_IP_DF));
	bn_rig_mtu_set(rig, BN_POD_B, 1400);
}

static void usual_pod(struct bn_rig *rig, int family)
{
	bn_rig_mtu_set(rig, BN_POD_B, 1500);
}

static const char *both_established(struct bn_rig *rig, int family, const struct bn_result *result)
{
	struct bn_tuple key = bn_tuple_make(family, IPPROTO_TCP, "WORLD", 40000, "B", 8080);
	union bn_addr node9 = bn_rig_addr("NODE9", family);
	struct bn_flow f;

	if (bn_rig_flow(rig, &key, &f) != BN_ESTABLISHED)
		return "the client's direction is not established";
	if (f.flags & BN_FLOW_NAT || !(f.flags & BN_FLOW_SERVICE) || f.action != BN_ACT_PEER)
		return "flags of the client's direction";
	key = bn_tuple_make(family, IPPROTO_TCP, "B", 8080, "WORLD", 40000);
	if (bn_rig_flow(rig, &key, &f) != BN_ESTABLISHED)
		return "the answers' direction is not established";
	if (!bn_flow_is_direct(&f.hot) || !bn_addr_equal(&f.to_saddr, &node9) ||
	    f.action != BN_ACT_NEIGH || f.out_ifindex != rig->dev[BN_UPLINK].ifindex)
		return "answers don't leave from the frontend, past the stack";
	return NULL;
}

static const struct bn_case backend[] = {
	{"TCP, from SYN to the last FIN", .prepare = backends_here,
	 .step = {{"SYN", UPLINK, TCP("WORLD", 40000, "B", 8080, SYN), ASKED("NODE9", 30080), PLAIN,
		   .count = {OPENED}},
		  {"SYN again", UPLINK, TCP("WORLD", 40000, "B", 8080, SYN), ASKED("NODE9", 30080),
		   PLAIN},
		  {"SYN-ACK", FROM(BN_POD_B), TCP("B", 8080, "WORLD", 40000, SYN | ACK),
		   SNAT("NODE9", 30080)},
		  {"ACK", UPLINK, TCP("WORLD", 40000, "B", 8080, ACK), PLAIN,
		   .count = {[BN_CNT_FLOWS_PROMOTED] = 2}, .check = both_established},
		  {"data", UPLINK, TCP("WORLD", 40000, "B", 8080, ACK, .payload = 1440), PLAIN},
		  {"its answer", FROM(BN_POD_B),
		   TCP("B", 8080, "WORLD", 40000, ACK, .payload = 1440), SNAT("NODE9", 30080)},
		  {"a SYN of before, late", UPLINK, TCP("WORLD", 40000, "B", 8080, SYN),
		   ASKED("NODE9", 30080), PLAIN, .check = both_established},
		  {"routes have changed: data", UPLINK,
		   TCP("WORLD", 40000, "B", 8080, ACK, .payload = 1), PLAIN,
		   .count = {[BN_CNT_STALE] = 1}, .before = stale},
		  {"its answer", FROM(BN_POD_B), TCP("B", 8080, "WORLD", 40000, ACK, .payload = 1),
		   SNAT("NODE9", 30080), .count = {[BN_CNT_STALE] = 1}, .check = both_established},
		  {"FIN", FROM(BN_POD_B), TCP("B", 8080, "WORLD", 40000, FIN | ACK),
		   SNAT("NODE9", 30080), .count = {[BN_CNT_FLOWS_DEMOTED] = 2}},
		  {"its FIN", UPLINK, TCP("WORLD", 40000, "B", 8080, FIN | ACK), PLAIN,
		   .count = {[BN_CNT_FLOWS_CLOSED] = 1}, .cause = BN_CLOSE_FIN},
		  {"another connection, by another address", UPLINK,
		   TCP("WORLD", 40000, "B", 8080, SYN), ASKED("LB", 80), PLAIN, .count = {OPENED}},
		  {"its SYN-ACK", FROM(BN_POD_B), TCP("B", 8080, "WORLD", 40000, SYN | ACK),
		   SNAT("LB", 80)}}},
	{"UDP: the latest datagram says where answers come from", .prepare = backends_here,
	 .step = {{"request", UPLINK, UDP("WORLD", 5000, "B", 5353, .payload = 40),
		   ASKED("NODE9", 30053), PLAIN, .count = {OPENED}},
		  {"answer", FROM(BN_POD_B), UDP("B", 5353, "WORLD", 5000, .payload = 700),
		   SNAT("NODE9", 30053)},
		  {"another request", UPLINK, UDP("WORLD", 5000, "B", 5353, .payload = 40),
		   ASKED("NODE9", 30053), PLAIN},
		  {"one by another node", UPLINK, UDP("WORLD", 5000, "B", 5353, .payload = 40),
		   ASKED("NODE8", 30053), PLAIN, REPLACED},
		  {"its answer", FROM(BN_POD_B), UDP("B", 5353, "WORLD", 5000, .payload = 7),
		   SNAT("NODE8", 30053)},
		  {"all is forgotten: a request", UPLINK, UDP("WORLD", 5000, "B", 5353),
		   ASKED("NODE8", 30053), PLAIN, .count = {OPENED}, .before = forget_transient},
		  {"its answer", FROM(BN_POD_B), UDP("B", 5353, "WORLD", 5000),
		   SNAT("NODE8", 30053)}}},
	{"SCTP", .prepare = backends_here,
	 .step = {{"INIT", UPLINK, SCTP("WORLD", 5000, "B", 3869, .payload = 20),
		   ASKED("NODE9", 30038), PLAIN, .count = {OPENED}},
		  {"INIT-ACK", FROM(BN_POD_B), SCTP("B", 3869, "WORLD", 5000, .payload = 20),
		   SNAT("NODE9", 30038)}}},
	{"a cluster IP that is routed to a node", .prepare = backends_here,
	 .step = {{"SYN", UPLINK, TCP("WORLD", 40000, "B", 8080, SYN), ASKED("VIP", 80), PLAIN,
		   .count = {OPENED}},
		  {"SYN-ACK", FROM(BN_POD_B), TCP("B", 8080, "WORLD", 40000, SYN | ACK),
		   SNAT("VIP", 80)}}},
	{"a connection by another address while one goes on", .prepare = backends_here,
	 .step = {{"SYN", UPLINK, TCP("WORLD", 40000, "B", 8080, SYN), ASKED("NODE9", 30080), PLAIN,
		   .count = {OPENED}},
		  {"nobody has answered: another SYN", UPLINK, TCP("WORLD", 40000, "B", 8080, SYN),
		   ASKED("NODE8", 30080), PLAIN, REPLACED},
		  {"SYN-ACK", FROM(BN_POD_B), TCP("B", 8080, "WORLD", 40000, SYN | ACK),
		   SNAT("NODE8", 30080)},
		  {"ACK", UPLINK, TCP("WORLD", 40000, "B", 8080, ACK), PLAIN,
		   .count = {[BN_CNT_FLOWS_PROMOTED] = 2}},
		  {"the first one's SYN", UPLINK, TCP("WORLD", 40000, "B", 8080, SYN),
		   ASKED("NODE9", 30080), DROP(DSR_CONFLICT)},
		  {"the pod goes on", FROM(BN_POD_B),
		   TCP("B", 8080, "WORLD", 40000, ACK, .payload = 9), SNAT("NODE8", 30080)}}},
	{"a connection to the pod itself, and one by a node", .prepare = backends_here,
	 .step = {{"SYN", UPLINK, TCP("WORLD", 40000, "B", 8080, SYN), PLAIN, .count = {OPENED}},
		  {"SYN-ACK", FROM(BN_POD_B), TCP("B", 8080, "WORLD", 40000, SYN | ACK), BY_STACK},
		  {"ACK", UPLINK, TCP("WORLD", 40000, "B", 8080, ACK), PLAIN,
		   .count = {[BN_CNT_FLOWS_PROMOTED] = 2}},
		  {"SYN by a node", UPLINK, TCP("WORLD", 40000, "B", 8080, SYN),
		   ASKED("NODE9", 30080), DROP(DSR_CONFLICT)}}},
	{"a connection by a frontend of this node's own, from the same port",
	 .prepare = backends_here,
	 .step = {{"SYN by another node", UPLINK, TCP("WORLD", 40000, "B", 8080, SYN),
		   ASKED("NODE9", 30080), PLAIN, .count = {OPENED}},
		  {"SYN-ACK", FROM(BN_POD_B), TCP("B", 8080, "WORLD", 40000, SYN | ACK),
		   SNAT("NODE9", 30080)},
		  {"ACK", UPLINK, TCP("WORLD", 40000, "B", 8080, ACK), PLAIN,
		   .count = {[BN_CNT_FLOWS_PROMOTED] = 2}},
		  {"SYN by this one gets another port", UPLINK,
		   TCP("WORLD", 40000, "NODE", 30080, SYN), DNAT("B", 8080), .to_sport = NAT_PORT,
		   .count = {OPENED}},
		  {"its SYN-ACK", FROM(BN_POD_B), TCP("B", 8080, "WORLD", NAT_PORT, SYN | ACK),
		   .outcome = BN_FORWARDED, .to_src = "NODE", .to_sport = 30080, .to_dst = "WORLD",
		   .to_dport = 40000},
		  {"the first goes on", FROM(BN_POD_B),
		   TCP("B", 8080, "WORLD", 40000, ACK, .payload = 9), SNAT("NODE9", 30080)}}},
	{"a connection by another node, from the port of one by this one", .prepare = backends_here,
	 .step = {{"SYN by this node", UPLINK, TCP("WORLD", 40000, "NODE", 30080, SYN),
		   DNAT("B", 8080), .count = {OPENED}},
		  {"SYN-ACK", FROM(BN_POD_B), TCP("B", 8080, "WORLD", 40000, SYN | ACK),
		   SNAT("NODE", 30080)},
		  {"ACK", UPLINK, TCP("WORLD", 40000, "NODE", 30080, ACK), DNAT("B", 8080),
		   .count = {[BN_CNT_FLOWS_PROMOTED] = 2}},
		  {"SYN by another", UPLINK, TCP("WORLD", 40000, "B", 8080, SYN),
		   ASKED("NODE9", 30080), DROP(DSR_CONFLICT), .count = {REFUSED_BY_NAME}},
		  {"the first ends", UPLINK, TCP("WORLD", 40000, "NODE", 30080, RST),
		   DNAT("B", 8080),
		   .count = {[BN_CNT_FLOWS_CLOSED] = 1, [BN_CNT_FLOWS_DEMOTED] = 2},
		   .cause = BN_CLOSE_RST},
		  {"SYN by another", UPLINK, TCP("WORLD", 40000, "B", 8080, SYN),
		   ASKED("NODE9", 30080), PLAIN, .count = {OPENED}}}},
	{"UDP from one port by this node and by another", .prepare = backends_here,
	 .step = {{"by this one", UPLINK, UDP("WORLD", 5000, "NODE", 30053), DNAT("B", 5353),
		   .count = {OPENED}},
		  {"by another", UPLINK, UDP("WORLD", 5000, "B", 5353), ASKED("NODE9", 30053),
		   PLAIN, REPLACED},
		  {"answer", FROM(BN_POD_B), UDP("B", 5353, "WORLD", 5000), SNAT("NODE9", 30053)},
		  {"by this one, with another port", UPLINK, UDP("WORLD", 5000, "NODE", 30053),
		   DNAT("B", 5353), .to_sport = NAT_PORT, .count = {OPENED}},
		  {"by another again", UPLINK, UDP("WORLD", 5000, "B", 5353), ASKED("NODE9", 30053),
		   PLAIN},
		  {"answer", FROM(BN_POD_B), UDP("B", 5353, "WORLD", 5000), SNAT("NODE9", 30053)},
		  {"answer to this node's", FROM(BN_POD_B), UDP("B", 5353, "WORLD", NAT_PORT),
		   .outcome = BN_FORWARDED, .to_src = "NODE", .to_sport = 30053, .to_dst = "WORLD",
		   .to_dport = 5000}}},
	{"UDP that the pod began", .prepare = backends_here,
	 .step = {{"the pod speaks first", FROM(BN_POD_B), UDP("B", 5353, "WORLD", 5000),
		   .outcome = BN_FORWARDED, .to_src = "NODE", .to_sport = NAT_PORT,
		   .count = {OPENED}},
		  {"its client by another node", UPLINK, UDP("WORLD", 5000, "B", 5353),
		   ASKED("NODE9", 30053), PLAIN, REPLACED},
		  {"answer", FROM(BN_POD_B), UDP("B", 5353, "WORLD", 5000), SNAT("NODE9", 30053)}}},
	{"frontends that are none of this pod's", .prepare = backends_here,
	 .step = {{"a port that no service has", UPLINK, TCP("WORLD", 40000, "B", 8080, SYN),
		   ASKED("NODE9", 30099), DROP(DSR_FRONTEND), .count = {REFUSED_BY_NAME}},
		  {"a NodePort of nobody's address", UPLINK, TCP("WORLD", 40000, "B", 8080, SYN),
		   ASKED("ROUTER", 30080), DROP(DSR_FRONTEND), .count = {REFUSED_BY_NAME}},
		  {"this node's own", UPLINK, TCP("WORLD", 40000, "B", 8080, SYN),
		   ASKED("NODE", 30080), DROP(DSR_FRONTEND), .count = {REFUSED_BY_NAME}},
		  {"the client itself", UPLINK, TCP("WORLD", 40000, "B", 8080, SYN),
		   ASKED("WORLD", 30080), DROP(DSR_FRONTEND), .count = {REFUSED_BY_NAME}},
		  {"all addresses", UPLINK, TCP("WORLD", 40000, "B", 8080, SYN),
		   ASKED("ANY", 30080), DROP(DSR_FRONTEND), .count = {REFUSED_BY_NAME}},
		  {"a service with other backends", UPLINK, TCP("WORLD", 40000, "B", 8080, SYN),
		   ASKED("LB", 81), DROP(DSR_FRONTEND), .count = {REFUSED_BY_NAME}},
		  {"another pod", UPLINK, TCP("WORLD", 40000, "C", 8080, SYN),
		   ASKED("NODE9", 30080), DROP(DSR_FRONTEND), .count = {REFUSED_BY_NAME}},
		  {"another port of the pod", UPLINK, TCP("WORLD", 40000, "B", 8081, SYN),
		   ASKED("NODE9", 30080), DROP(DSR_FRONTEND), .count = {REFUSED_BY_NAME}},
		  {"another protocol", UPLINK, UDP("WORLD", 40000, "B", 8080),
		   ASKED("NODE9", 30080), DROP(DSR_FRONTEND), .count = {REFUSED_BY_NAME}},
		  {"a source that nobody has", UPLINK, TCP("VIP", 40000, "B", 8080, SYN),
		   ASKED("NODE9", 30080), DROP(UPLINK_SPOOF), .count = {REFUSED_BY_NAME}}}},
	{"source ranges hold whoever says that he has asked", .prepare = restricted,
	 .restore = bn_program_open,
	 .step = {{"of the range", UPLINK, TCP("WORLD", 40000, "B", 8080, SYN), ASKED("LB", 80),
		   PLAIN, .count = {OPENED}},
		  {"another", UPLINK, TCP("ROUTER", 40000, "B", 8080, SYN), ASKED("LB", 80),
		   DROP(SOURCE_RANGE), .count = {REFUSED_BY_NAME}}}},
	{"a claim that is false ends nothing", .prepare = backends_here,
	 .step = {{"request", UPLINK, UDP("WORLD", 5000, "B", 5353), ASKED("NODE9", 30053), PLAIN,
		   .count = {OPENED}},
		  {"another frontend, nobody's", UPLINK, UDP("WORLD", 5000, "B", 5353),
		   ASKED("NODE9", 30099), DROP(DSR_FRONTEND)},
		  {"answer", FROM(BN_POD_B), UDP("B", 5353, "WORLD", 5000), SNAT("NODE9", 30053)},
		  {"the pod asks somebody", FROM(BN_POD_B), UDP("B", 5000, "DIRECT", 53), PLAIN,
		   .count = {OPENED}},
		  {"what claims to be the answer", UPLINK, UDP("DIRECT", 53, "B", 5000),
		   ASKED("NODE9", 30053), DROP(DSR_FRONTEND)},
		  {"the answer", UPLINK, UDP("DIRECT", 53, "B", 5000), PLAIN}}},
	{"an address of the other family", .families = 6, .prepare = backends_here,
	 .step = {{"IPv4", UPLINK, TCP("WORLD", 40000, "B", 8080, SYN),
		   ASKED("::ffff:172.31.0.9", 30080), DROP(MAPPED_ADDRESS)}}},
	{"what looks like it and is not stays where it is", .families = 4, .prepare = backends_here,
	 .step = {{"a byte too short", UPLINK,
		   TCP("WORLD", 40000, "B", 8080, SYN,
		       .options = "\x9e\x07\x75\x80\xac\x1f\x00\x00", .options_len = 8),
		   PLAIN, .count = {OPENED}},
		  {"longer", UPLINK,
		   TCP("WORLD", 40001, "B", 8080, SYN,
		       .options = "\x9e\x0c\x75\x80\xac\x1f\x00\x09\0\0\0\0", .options_len = 12),
		   PLAIN, .count = {OPENED}},
		  {"not the first one", UPLINK,
		   TCP("WORLD", 40002, "B", 8080, SYN,
		       .options = "\x01\x01\x01\x01\x9e\x08\x75\x80\xac\x1f\x00\x09",
		       .options_len = 12),
		   PLAIN, .count = {OPENED}},
		  {"past the header's end", UPLINK,
		   TCP("WORLD", 40003, "B", 8080, SYN, .options = "\x9e\x08\x75\x80",
		       .options_len = 4),
		   DROP(MALFORMED_HEADER)}}},
	{"what looks like it and is not stays where it is", .families = 6, .prepare = backends_here,
	 .step = {{"another option", UPLINK,
		   TCP("WORLD", 40000, "B", 8080, SYN,
		       .ext = {{.type = 60, .len = 24, .data = {0x1f, 20}}}, .exts = 1),
		   PLAIN, .count = {OPENED}},
		  {"of another length", UPLINK,
		   TCP("WORLD", 40001, "B", 8080, SYN,
		       .ext = {{.type = 60, .len = 24, .data = {0x1e, 19}}}, .exts = 1),
		   PLAIN, .count = {OPENED}},
		  {"hop by hop", UPLINK,
		   TCP("WORLD", 40002, "B", 8080, SYN,
		       .ext = {{.type = 0, .len = 24, .data = {0x1e, 20}}}, .exts = 1),
		   PLAIN, .count = {OPENED}}}},
	{"options of the client's own reach the pod", .families = 4, .prepare = backends_here,
	 .step = {{"a router alert", UPLINK,
		   TCP("WORLD", 40000, "B", 8080, SYN, .options = "\x94\x04\0\0", .options_len = 4),
		   ASKED("NODE9", 30080), PLAIN, .count = {OPENED}}}},
	{"policy judges the client", .prepare = isolate_b, .restore = allow_all,
	 .step = {{"SYN", UPLINK, TCP("WORLD", 40000, "B", 8080, SYN), ASKED("NODE9", 30080),
		   DROP(POLICY_INGRESS), .count = {REFUSED_BY_NAME}},
		  {"and again", UPLINK, TCP("WORLD", 40000, "B", 8080, SYN), ASKED("NODE9", 30080),
		   DROP(POLICY_INGRESS)}}},
	{"a pod's error about what its client sent", .families = 4, .prepare = backends_here,
	 .step = {{"request", UPLINK, UDP("WORLD", 5000, "B", 5353, .payload = 40),
		   ASKED("NODE9", 30053), PLAIN, .count = {OPENED}},
		  {"port unreachable", FROM(BN_POD_B), ERROR(1, 3, 3, "B", "WORLD", as_come),
		   .outcome = BN_FORWARDED, .to_src = "NODE9", .to_quote = &as_sent, TRANSLATED},
		  {"a router's about its answer, by the node that was asked", UPLINK,
		   ERROR(1, 3, 4, "ROUTER", "B", by_pod, .icmp_rest = 1300), PLAIN}}},
	{"a pod's error about what its client sent", .families = 6, .prepare = backends_here,
	 .step = {{"request", UPLINK, UDP("WORLD", 5000, "B", 5353, .payload = 40),
		   ASKED("NODE9", 30053), PLAIN, .count = {OPENED}},
		  {"port unreachable", FROM(BN_POD_B), ERROR(58, 1, 4, "B", "WORLD", as_come),
		   .outcome = BN_FORWARDED, .to_src = "NODE9", .to_quote = &as_sent, TRANSLATED},
		  {"a router's about its answer, by the node that was asked", UPLINK,
		   ERROR(58, 2, 0, "ROUTER", "B", by_pod, .icmp_rest = 1300), PLAIN}}},
	{"this node's error quotes what the client sent", .families = 4, .prepare = small_pod,
	 .restore = usual_pod,
	 .step = {{"too big for the pod", UPLINK,
		   UDP("WORLD", 5000, "B", 5353, .payload = 1400, .frag = BN_IP_DF),
		   ASKED("NODE9", 30053),
		   ANSWER(1, 3, 4, "NODE", "WORLD", .icmp_rest = 1400, .quote = &as_sent,
			  .quote_len = 548),
		   .reason = BN_DROP_PACKET_TOO_BIG, .count = {OPENED, [BN_CNT_REJECTS] = 1}}}},
	{"this node's error quotes what the client sent", .families = 6, .prepare = small_pod,
	 .restore = usual_pod,
	 .step = {{"too big for the pod", UPLINK, UDP("WORLD", 5000, "B", 5353, .payload = 1400),
		   ASKED("NODE9", 30053),
		   ANSWER(58, 2, 0, "NODE", "WORLD", .icmp_rest = 1400, .quote = &as_sent,
			  .quote_len = 1232),
		   .reason = BN_DROP_PACKET_TOO_BIG, .count = {OPENED, [BN_CNT_REJECTS] = 1}}}},
	{"an answer too big for the way to the client: its pod is told", .families = 4,
	 .prepare = backends_here,
	 .step = {{"request", UPLINK, UDP("WORLD", 5000, "B", 5353, .payload = 40),
		   ASKED("NODE9", 30053), PLAIN, .count = {OPENED}},
		  {"the stack would take no other's address", FROM(BN_POD_B),
		   UDP("B", 5353, "WORLD", 5000, .payload = 1473),
		   ANSWER(1, 3, 4, "NODE", "B", .icmp_rest = 1500, .quote_len = 548), TOO_BIG,
		   .count = {[BN_CNT_REJECTS] = 1}}}},
};

static const struct bn_case off[] = {
	{"without direct server return it is an option like any", .prepare = backends_here,
	 .step = {{"SYN", UPLINK, TCP("WORLD", 40000, "B", 8080, SYN), ASKED("NODE9", 30080), PLAIN,
		   .to_frontend = {"NODE9", 30080}, .count = {OPENED}},
		  {"SYN-ACK", FROM(BN_POD_B), TCP("B", 8080, "WORLD", 40000, SYN | ACK),
		   BY_STACK}}},
};

#define GROUP(name, cases, how) \
	bn_program_main( \
		name, cases, sizeof(cases) / sizeof(cases[0]), \
		&(struct bn_rig_options){.flow_sets = 64, .masquerade = true, .configure = (how)})

int main(void)
{
	int r = GROUP("dsr: the node that is asked", asked, direct);

	r |= GROUP("dsr: hybrid", asked_hybrid, hybrid);
	r |= GROUP("dsr: the backend's node", backend, direct);
	return r | GROUP("dsr: off", off, plain);
}
