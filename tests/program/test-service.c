// SPDX-License-Identifier: Apache-2.0
/*
 * Services: which backend, what is refused and how, what changes when a backend or a decision
 * does.
 */
#include "lib/program.h"

#include <arpa/inet.h>
#include <string.h>

#define OPENED [BN_CNT_FLOWS_OPENED] = 1, [BN_CNT_DECISIONS] = 1
#define SCTP_PROTOCOL 132

static __u16 port_at(const struct bn_packet *p, int offset)
{
	return p->data[p->l4 + offset] << 8 | p->data[p->l4 + offset + 1];
}

static const char *all_backends(struct bn_rig *rig, int family)
{
	int hits[4] = {}, other = 0;

	for (int i = 0; i < 200; i++) {
		struct bn_step s = {.hook = BN_HOOK_FROM_POD,
				    .device = BN_POD_A,
				    TCP("A", 10000 + i, "VIP2", 80, SYN)};
		struct bn_result r;
		__u16 port;

		if (bn_step_send(rig, &s, family, &r) != 7)
			return "not forwarded";
		port = port_at(&r.out, 2);
		if (port >= 8080 && port <= 8083)
			hits[port - 8080]++;
		else
			other++;
	}
	if (other)
		return "a backend of another port or service";
	for (int i = 0; i < 4; i++)
		if (hits[i] < 20) /* 50 expected; below 20 once in 10^7 runs */
			return "a backend gets (almost) nothing";
	return NULL;
}

/* The backend's port that a flow's entry has now, 0: no entry. */
static __u16 flow_port(struct bn_rig *rig, int family, __u8 protocol, __u16 client, __u16 vport)
{
	struct bn_tuple key = bn_tuple_make(family, protocol, "A", client, "VIP2", vport);
	struct bn_flow f;

	return bn_rig_flow(rig, &key, &f) ? ntohs(f.to_dport) : 0;
}

static int send_query(struct bn_rig *rig, int family, struct bn_result *r)
{
	struct bn_step s = {
		.hook = BN_HOOK_FROM_POD, .device = BN_POD_A, UDP("A", 5000, "VIP2", 53)};

	return bn_step_send(rig, &s, family, r);
}

static struct bn_service_key vip2_dns(int family)
{
	return (struct bn_service_key){
		.addr = bn_rig_addr("VIP2", family), .port = htons(53), .protocol = IPPROTO_UDP};
}

static struct bn_service both;

/* Takes one of the two UDP backends out of the service, as the agent does. */
static void backend_leave(struct bn_rig *rig, int family, int which)
{
	__u32 first = bn_program_backend(family, IPPROTO_UDP);
	struct bn_service_key key = vip2_dns(family);
	struct bn_service one;

	both = one = bn_rig_frontend(rig, &key);
	one.place[0] = both.place[!which];
	one.count = 1;
	bn_rig_frontend_set(rig, &key, &one);
	bn_rig_backend_set(rig, first + which, BN_BACKEND_TERMINATING, 1);
}

static void backend_return(struct bn_rig *rig, int family, int which)
{
	__u32 first = bn_program_backend(family, IPPROTO_UDP);
	struct bn_service_key key = vip2_dns(family);

	both.place[which].gen++;
	bn_rig_frontend_set(rig, &key, &both);
	bn_rig_backend_set(rig, first + which, BN_BACKEND_ACTIVE, 0);
}

static const char *udp_moves(struct bn_rig *rig, int family)
{
	const char *wrong = NULL;
	struct bn_result r;
	__u16 had, has;

	if (send_query(rig, family, &r) != 7)
		return "first query not forwarded";
	had = port_at(&r.out, 2);
	backend_leave(rig, family, had - 5301);
	if (send_query(rig, family, &r) != 7)
		wrong = "query after the backend left not forwarded";
	has = port_at(&r.out, 2);
	if (!wrong && has == had)
		wrong = "UDP stays with a backend that left";
	if (!wrong && flow_port(rig, family, IPPROTO_UDP, 5000, 53) != has)
		wrong = "the entry still names the old backend";
	backend_return(rig, family, had - 5301);
	return wrong;
}

static const char *half_open_moves(struct bn_rig *rig, int family)
{
	struct bn_step syn = {
		.hook = BN_HOOK_FROM_POD, .device = BN_POD_A, TCP("A", 46000, "VIP2", 80, SYN)};
	__u32 first = bn_program_backend(family, IPPROTO_TCP);
	struct bn_result r;
	__u16 had;

	bn_step_send(rig, &syn, family, &r);
	had = port_at(&r.out, 2);
	bn_rig_backend_set(rig, first + had - 8080, BN_BACKEND_ACTIVE, 1);
	for (int i = 0; i < 40; i++) {
		/* still in the list here: the choice is free to fall on it again */
		if (bn_step_send(rig, &syn, family, &r) != 7)
			return "SYN again not forwarded";
		if (port_at(&r.out, 2) != had)
			return NULL;
		bn_rig_backend_set(rig, first + had - 8080, BN_BACKEND_ACTIVE, 1);
	}
	return "a half-open flow never chooses again";
}

static int handshake(struct bn_rig *rig, int family, __u16 client, __u16 *ret_port)
{
	struct bn_step s = {
		.hook = BN_HOOK_FROM_POD, .device = BN_POD_A, TCP("A", client, "VIP2", 80, SYN)};
	struct bn_step back = {.hook = BN_HOOK_FROM_POD, TCP("", 0, "A", client, SYN | ACK)};
	struct bn_result r;

	if (bn_step_send(rig, &s, family, &r) != 7)
		return -1;
	*ret_port = port_at(&r.out, 2);
	back.device = *ret_port == 8081 || *ret_port == 8082 ? BN_POD_C : BN_POD_B;
	back.in.src = back.device == BN_POD_C ? "C" : "B";
	back.in.sport = *ret_port;
	if (bn_step_send(rig, &back, family, &r) != 7)
		return -1;
	s.in.tcp_flags = ACK;
	return bn_step_send(rig, &s, family, &r) == 7 ? 0 : -1;
}

static const char *established_stays(struct bn_rig *rig, int family)
{
	struct bn_step data = {.hook = BN_HOOK_FROM_POD,
			       .device = BN_POD_A,
			       TCP("A", 46001, "VIP2", 80, ACK, .payload = 10)};
	__u32 first = bn_program_backend(family, IPPROTO_TCP);
	const char *wrong = NULL;
	struct bn_result r;
	__u16 had;

	if (handshake(rig, family, 46001, &had))
		return "handshake";
	bn_rig_backend_set(rig, first + had - 8080, BN_BACKEND_TERMINATING, 1);
	if (bn_step_send(rig, &data, family, &r) != 7 || port_at(&r.out, 2) != had)
		wrong = "an established connection to a terminating backend was moved or cut";
	bn_rig_backend_set(rig, first + had - 8080, BN_BACKEND_ACTIVE, 0);
	return wrong;
}

static const char *epoch_keeps_nat(struct bn_rig *rig, int family)
{
	struct bn_step data = {.hook = BN_HOOK_FROM_POD,
			       .device = BN_POD_A,
			       TCP("A", 46002, "VIP2", 80, ACK, .payload = 10)};
	struct bn_counts before, after;
	struct bn_result r;
	__u16 had;

	if (handshake(rig, family, 46002, &had))
		return "handshake";
	for (int i = 0; i < 12; i++) {
		bn_rig_epoch_bump(rig, i % 3 ? rig->dev[i % 3].slot : BN_SLOT_NONE);
		bn_rig_counts(rig, &before);
		if (bn_step_send(rig, &data, family, &r) != 7)
			return "cut by an epoch bump";
		if (port_at(&r.out, 2) != had)
			return "an epoch bump chose another backend";
		bn_rig_counts(rig, &after);
		if (after.counter[BN_CNT_DECISIONS] != before.counter[BN_CNT_DECISIONS] ||
		    after.counter[BN_CNT_FLOWS_OPENED] != before.counter[BN_CNT_FLOWS_OPENED])
			return "a stale flow was opened anew";
		if (i % 3 == 0 && after.counter[BN_CNT_STALE] == before.counter[BN_CNT_STALE])
			return "the node's epoch was not noticed";
		bn_rig_counts(rig, &before);
		bn_step_send(rig, &data, family, &r);
		bn_rig_counts(rig, &after);
		if (after.counter[BN_CNT_STALE] != before.counter[BN_CNT_STALE])
			return "decided anew twice for one bump";
	}
	return NULL;
}

static void egress_on(struct bn_rig *rig, int family)
{
	bn_rig_policy_enforce(rig, BN_POD_A, BN_POLICY_EGRESS, true);
}

static void ingress_on(struct bn_rig *rig, int family)
{
	bn_rig_policy_enforce(rig, BN_POD_B, BN_POLICY_INGRESS, true);
}

static void ingress_allow(struct bn_rig *rig, int family)
{
	bn_rig_policy_allow(rig, BN_POD_B, BN_POLICY_INGRESS, rig->dev[BN_POD_A].identity,
			    IPPROTO_TCP, 8080);
	ingress_on(rig, family);
}

static void policy_off(struct bn_rig *rig, int family)
{
	bn_rig_policy_clear(rig);
}

/* Somebody has made a pod's address an external one of his service. */
static void claim_pod(struct bn_rig *rig, int family)
{
	union bn_addr addr = bn_rig_addr("C", family);

	bn_rig_own_address(rig, &addr);
}

static const struct bn_case cases[] = {
	{"a service's claim to a pod's address leaves the pod its other ports",
	 .prepare = claim_pod,
	 .step = {{"TCP", FROM(BN_POD_A), TCP("A", 40000, "C", 8080, SYN), .outcome = BN_FORWARDED,
		   .count = {OPENED}},
		  {"UDP", FROM(BN_POD_A), UDP("A", 40000, "C", 5353), .outcome = BN_FORWARDED,
		   .count = {OPENED}}}},
	{"the choice covers all backends", .run = all_backends},
	{"several ports: another port, another backend",
	 .step = {{"tcp/443", FROM(BN_POD_A), TCP("A", 40000, "VIP2", 443, SYN), DNAT("C", 8443),
		   .count = {OPENED}},
		  {"tcp/80 from the same port", FROM(BN_POD_A), TCP("A", 40000, "VIP", 80, SYN),
		   DNAT("B", 8080), .count = {OPENED}}}},
	{"no backend: SYN gets RST, ACK of SEQ+1",
	 .step = {{"SYN", FROM(BN_POD_A), TCP("A", 40000, "VIP3", 80, SYN, .seq = 0xfffffff0),
		   RESET("VIP3", 80, "A", 40000, RST | ACK, .ack = 0xfffffff1, .no_window = 1),
		   REFUSED(SERVICE_NO_BACKEND)}}},
	{"no backend: a segment with ACK gets RST at its ACK, with data or FIN counted otherwise",
	 .step = {{"ACK", FROM(BN_POD_A),
		   TCP("A", 40000, "VIP3", 80, ACK, .seq = 5, .ack = 77, .payload = 10),
		   RESET("VIP3", 80, "A", 40000, RST, .seq = 77, .no_window = 1),
		   REFUSED(SERVICE_NO_BACKEND)},
		  {"SYN, FIN and data", FROM(BN_POD_A),
		   TCP("A", 40000, "VIP3", 80, SYN | FIN, .seq = 5, .payload = 10,
		       .tcp_options = "\1\1\1\1", .tcp_options_len = 4),
		   RESET("VIP3", 80, "A", 40000, RST | ACK, .ack = 17, .no_window = 1),
		   REFUSED(SERVICE_NO_BACKEND)},
		  {"a reset gets none", FROM(BN_POD_A), TCP("A", 40000, "VIP3", 80, RST),
		   DROP(SERVICE_NO_BACKEND), .count = {[BN_CNT_DECISIONS] = 1}}}},
	{"no backend: port unreachable for UDP and SCTP", .families = 4,
	 .step = {{"UDP", FROM(BN_POD_A), UDP("A", 5000, "VIP3", 53, .payload = 31),
		   UNREACHABLE4(.src = "VIP3", .dst = "A"), REFUSED(SERVICE_NO_BACKEND)},
		  {"SCTP", FROM(BN_POD_A), SCTP("A", 5000, "VIP3", 3868, .payload = 30),
		   UNREACHABLE4(.src = "VIP3", .dst = "A"), REFUSED(SERVICE_NO_BACKEND)},
		  {"1400 bytes: at most 576 in all", FROM(BN_POD_A),
		   UDP("A", 5000, "VIP3", 53, .payload = 1372),
		   UNREACHABLE4(.src = "VIP3", .dst = "A", .quote_len = 548),
		   REFUSED(SERVICE_NO_BACKEND)}}},
	{"no backend: port unreachable for UDP and SCTP", .families = 6,
	 .step = {{"UDP", FROM(BN_POD_A), UDP("A", 5000, "VIP3", 53, .payload = 31),
		   UNREACHABLE6(.src = "VIP3", .dst = "A"), REFUSED(SERVICE_NO_BACKEND)},
		  {"SCTP", FROM(BN_POD_A), SCTP("A", 5000, "VIP3", 3868, .payload = 30),
		   UNREACHABLE6(.src = "VIP3", .dst = "A"), REFUSED(SERVICE_NO_BACKEND)},
		  {"1400 bytes: at most 1280 in all", FROM(BN_POD_A),
		   UDP("A", 5000, "VIP3", 53, .payload = 1401),
		   UNREACHABLE6(.src = "VIP3", .dst = "A", .quote_len = 1232),
		   REFUSED(SERVICE_NO_BACKEND)}}},
	{"an address or port of the service range that no service owns",
	 .step = {{"port", FROM(BN_POD_A), TCP("A", 40000, "VIP", 9999, SYN, .seq = 1),
		   RESET("VIP", 9999, "A", 40000, RST | ACK, .ack = 2, .no_window = 1),
		   REFUSED(SERVICE_UNKNOWN)},
		  {"address", FROM(BN_POD_A), TCP("A", 40000, "UNOWNED", 80, SYN, .seq = 1),
		   RESET("UNOWNED", 80, "A", 40000, RST | ACK, .ack = 2, .no_window = 1),
		   REFUSED(SERVICE_UNKNOWN)},
		  {"protocol", FROM(BN_POD_A), TCP("A", 40000, "VIP", 3868, SYN, .seq = 1),
		   RESET("VIP", 3868, "A", 40000, RST | ACK, .ack = 2, .no_window = 1),
		   REFUSED(SERVICE_UNKNOWN)}}},
	{"UDP to a port that no service owns", .families = 4,
	 .step = {{"UDP", FROM(BN_POD_A), UDP("A", 5000, "UNOWNED", 53),
		   UNREACHABLE4(.src = "UNOWNED", .dst = "A"), REFUSED(SERVICE_UNKNOWN)}}},
	{"UDP to a port that no service owns", .families = 6,
	 .step = {{"UDP", FROM(BN_POD_A), UDP("A", 5000, "UNOWNED", 53),
		   UNREACHABLE6(.src = "UNOWNED", .dst = "A"), REFUSED(SERVICE_UNKNOWN)}}},
	{"hairpin: a pod that is its own backend sees the service",
	 .step = {{"SYN", FROM(BN_POD_A), TCP("A", 40000, "HAIRPIN", 80, SYN),
		   .outcome = BN_FORWARDED, .to_src = "HAIRPIN", .to_dst = "A", .to_dport = 8080,
		   .count = {OPENED}},
		  {"SYN-ACK", FROM(BN_POD_A), TCP("A", 8080, "HAIRPIN", 40000, SYN | ACK),
		   .outcome = BN_FORWARDED, .to_src = "HAIRPIN", .to_sport = 80, .to_dst = "A"},
		  {"ACK", FROM(BN_POD_A), TCP("A", 40000, "HAIRPIN", 80, ACK),
		   .outcome = BN_FORWARDED, .to_src = "HAIRPIN", .to_dst = "A", .to_dport = 8080,
		   .count = {[BN_CNT_FLOWS_PROMOTED] = 2}},
		  {"data", FROM(BN_POD_A), TCP("A", 40000, "HAIRPIN", 80, ACK, .payload = 7),
		   .outcome = BN_FORWARDED, .to_src = "HAIRPIN", .to_dst = "A", .to_dport = 8080},
		  {"data back", FROM(BN_POD_A), TCP("A", 8080, "HAIRPIN", 40000, ACK, .payload = 8),
		   .outcome = BN_FORWARDED, .to_src = "HAIRPIN", .to_sport = 80, .to_dst = "A"}}},
	{"UDP leaves a backend that goes away", .run = udp_moves},
	{"a half-open connection leaves a backend that goes away", .run = half_open_moves},
	{"an established connection stays with its terminating backend", .run = established_stays},
	{"an epoch bump decides anew and keeps the translation", .run = epoch_keeps_nat},
	{"egress policy denies, and the refusal is remembered", .prepare = egress_on,
	 .restore = policy_off,
	 .step = {{"SYN", FROM(BN_POD_A), TCP("A", 40000, "VIP", 80, SYN), DROP(POLICY_EGRESS),
		   .count = {[BN_CNT_DECISIONS] = 1}},
		  {"SYN again", FROM(BN_POD_A), TCP("A", 40000, "VIP", 80, SYN),
		   DROP(POLICY_EGRESS)}}},
	{"ingress policy denies, sees the backend's port, and allows", .prepare = ingress_on,
	 .restore = policy_off,
	 .step = {{"denied", FROM(BN_POD_A), TCP("A", 40001, "VIP", 80, SYN), DROP(POLICY_INGRESS),
		   .count = {[BN_CNT_DECISIONS] = 1}},
		  {"allowed after the change", FROM(BN_POD_A), TCP("A", 40001, "VIP", 80, SYN),
		   DNAT("B", 8080), .before = ingress_allow, .count = {OPENED},
		   .ingress = BN_VERDICT_ALLOW | BN_RIG_ALLOW_RULE},
		  {"another pod", FROM(BN_POD_C), TCP("C", 40001, "B", 8080, SYN),
		   DROP(POLICY_INGRESS), .count = {[BN_CNT_DECISIONS] = 1}},
		  {"another port", FROM(BN_POD_A), TCP("A", 40001, "B", 8081, SYN),
		   DROP(POLICY_INGRESS), .count = {[BN_CNT_DECISIONS] = 1},
		   .ingress = BN_RIG_DENY_RULE},
		  {"the node itself", TO(BN_POD_B), TCP("NODE", 40001, "B", 8081, SYN),
		   .outcome = BN_PASSED, .count = {OPENED}}}},
	{"policy turned on cuts what is established", .restore = policy_off,
	 .step = {{"SYN", FROM(BN_POD_A), TCP("A", 40000, "VIP", 80, SYN), DNAT("B", 8080),
		   .count = {OPENED}},
		  {"SYN-ACK", FROM(BN_POD_B), TCP("B", 8080, "A", 40000, SYN | ACK),
		   SNAT("VIP", 80)},
		  {"ACK", FROM(BN_POD_A), TCP("A", 40000, "VIP", 80, ACK), DNAT("B", 8080),
		   .count = {[BN_CNT_FLOWS_PROMOTED] = 2}},
		  {"a reply, judged in the flow's original direction", FROM(BN_POD_B),
		   TCP("B", 8080, "A", 40000, ACK), .before = ingress_on, DROP(POLICY_INGRESS),
		   .count = {[BN_CNT_STALE] = 1,
			     [BN_CNT_FLOWS_CLOSED] = 1,
			     [BN_CNT_FLOWS_DEMOTED] = 2},
		   .cause = BN_CLOSE_STALE},
		  {"the server goes on, as if it had begun", FROM(BN_POD_B),
		   TCP("B", 8080, "A", 40000, ACK), DROP(POLICY_INGRESS),
		   .count = {[BN_CNT_DECISIONS] = 1}},
		  {"SYN-ACK", FROM(BN_POD_B), TCP("B", 8080, "A", 40000, SYN | ACK),
		   DROP(POLICY_INGRESS), .count = {[BN_CNT_DECISIONS] = 1}},
		  {"the client goes on", FROM(BN_POD_A), TCP("A", 40000, "VIP", 80, ACK),
		   DROP(POLICY_INGRESS), .count = {[BN_CNT_DECISIONS] = 1}},
		  {"a connection that the server begins is another", FROM(BN_POD_B),
		   TCP("B", 8080, "A", 40000, SYN), .outcome = BN_FORWARDED, .count = {OPENED}}}},
	{"a connection of before: passes where either end may begin it", .prepare = ingress_allow,
	 .restore = policy_off,
	 .step = {{"allowed both ways", FROM(BN_POD_B), TCP("B", 8080, "A", 40000, ACK),
		   .outcome = BN_FORWARDED, .count = {OPENED}, .ingress = BN_VERDICT_ALLOW | 7},
		  {"the client may not begin it", FROM(BN_POD_B), TCP("B", 8081, "A", 40001, ACK),
		   DROP(POLICY_INGRESS), .count = {[BN_CNT_DECISIONS] = 1}, .ingress = 8},
		  {"other port, from the client", FROM(BN_POD_A), TCP("A", 40002, "B", 8081, ACK),
		   DROP(POLICY_INGRESS), .count = {[BN_CNT_DECISIONS] = 1}, .ingress = 8}}},
};

int main(void)
{
	return bn_program_main("service", cases, sizeof(cases) / sizeof(cases[0]), NULL);
}
