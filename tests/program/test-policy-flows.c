// SPDX-License-Identifier: Apache-2.0
/*
 * NetworkPolicy over a flow's life: what a change cuts and what it leaves alone, refusals that are
 * remembered, and what goes along with a flow: replies, ICMP errors, fragments.
 */
#include "lib/program.h"

#include <linux/pkt_cls.h>
#include <string.h>

#define OPENED [BN_CNT_FLOWS_OPENED] = 1, [BN_CNT_DECISIONS] = 1
#define PASSES .outcome = BN_FORWARDED, .count = {OPENED}
#define FOLLOWS .outcome = BN_FORWARDED
#define DECIDED .count = {[BN_CNT_DECISIONS] = 1}
#define AGAIN .count = {[BN_CNT_STALE] = 1}
#define CUT(...) \
	.cause = BN_CLOSE_STALE, \
	.count = {[BN_CNT_STALE] = 1, [BN_CNT_FLOWS_CLOSED] = 1, ##__VA_ARGS__}
#define EGRESS DROP(POLICY_EGRESS)
#define INGRESS DROP(POLICY_INGRESS)
#define ALLOW(rule) (BN_VERDICT_ALLOW | (rule))
#define PROMOTED .count = {[BN_CNT_FLOWS_PROMOTED] = 2}
#define DEMOTED [BN_CNT_FLOWS_DEMOTED] = 2

static void off(struct bn_rig *rig, int family)
{
	bn_rig_policy_clear(rig);
}

static void a_allows(struct bn_rig *rig, int family)
{
	bn_rig_policy_say(rig, BN_POD_A, BN_POLICY_EGRESS, rig->dev[BN_POD_B].identity, ALLOW(1));
}

static void a_denies(struct bn_rig *rig, int family)
{
	bn_rig_policy_say(rig, BN_POD_A, BN_POLICY_EGRESS, rig->dev[BN_POD_B].identity, 2);
}

static void b_allows(struct bn_rig *rig, int family)
{
	bn_rig_policy_say(rig, BN_POD_B, BN_POLICY_INGRESS, rig->dev[BN_POD_A].identity, ALLOW(3));
}

static void b_denies(struct bn_rig *rig, int family)
{
	bn_rig_policy_say(rig, BN_POD_B, BN_POLICY_INGRESS, rig->dev[BN_POD_A].identity, 4);
}

static void b_shut_in(struct bn_rig *rig, int family)
{
	bn_rig_policy_table(rig, BN_POD_B, BN_POLICY_EGRESS, BN_POLICY_CLOSED);
}

static void a_shut_in(struct bn_rig *rig, int family)
{
	bn_rig_policy_table(rig, BN_POD_A, BN_POLICY_INGRESS, BN_POLICY_CLOSED);
	bn_rig_policy_table(rig, BN_POD_A, BN_POLICY_EGRESS, BN_POLICY_CLOSED);
}

/* The peer gets other labels: an identity that A's rules don't name. */
static void b_renamed(struct bn_rig *rig, int family)
{
	rig->dev[BN_POD_B].identity = rig->dev[BN_POD_B].identity6 = BN_IDENTITY_FIRST + 50;
	bn_rig_epoch_bump(rig, rig->dev[BN_POD_B].slot);
}

/* ... and one that they name too, by another rule. */
static void b_renamed_alike(struct bn_rig *rig, int family)
{
	bn_rig_policy_run(rig, BN_POD_A, BN_POLICY_EGRESS, BN_IDENTITY_FIRST + 51,
			  &(struct bn_policy_part){0, ALLOW(5)}, 1);
	rig->dev[BN_POD_B].identity = rig->dev[BN_POD_B].identity6 = BN_IDENTITY_FIRST + 51;
	bn_rig_epoch_bump(rig, rig->dev[BN_POD_B].slot);
}

static void c_denied(struct bn_rig *rig, int family)
{
	bn_rig_policy_say(rig, BN_POD_C, BN_POLICY_INGRESS, rig->dev[BN_POD_A].identity, 4);
}

static void a_audited(struct bn_rig *rig, int family)
{
	a_denies(rig, family);
	bn_rig_endpoint_set(rig, BN_POD_A, BN_EP_AUDIT_BOTH);
}

static void b_audited(struct bn_rig *rig, int family)
{
	b_denies(rig, family);
	bn_rig_endpoint_set(rig, BN_POD_B, BN_EP_AUDIT_BOTH);
}

/* B may send nothing of its own accord. */
static void a_replaced(struct bn_rig *rig, int family)
{
	b_shut_in(rig, family);
	bn_rig_epoch_bump(rig, rig->dev[BN_POD_A].slot);
	rig->dev[BN_POD_A].slot = 9;
	bn_rig_epoch_bump(rig, 9);
}

static void a_back(struct bn_rig *rig, int family)
{
	rig->dev[BN_POD_A].slot = BN_POD_A + 1;
	off(rig, family);
}

static enum bn_where at(struct bn_rig *rig, int family, const char *src, __u16 sport,
			const char *dst, __u16 dport)
{
	struct bn_tuple key = bn_tuple_make(family, IPPROTO_TCP, src, sport, dst, dport);
	struct bn_flow f;

	return bn_rig_flow(rig, &key, &f);
}

static const char *gone(struct bn_rig *rig, int family, const struct bn_result *r)
{
	return at(rig, family, "A", 40000, "VIP", 80) || at(rig, family, "B", 8080, "A", 40000)
		       ? "an entry of the flow is left"
		       : NULL;
}

static const char *kept(struct bn_rig *rig, int family, const struct bn_result *r)
{
	return at(rig, family, "A", 40000, "VIP", 80) != BN_ESTABLISHED ||
			       at(rig, family, "B", 8080, "A", 40000) != BN_ESTABLISHED
		       ? "an entry of the flow is no longer established"
		       : NULL;
}

/* Ends are named as the packet has them, whichever direction the flow was judged in. */
static const char *named(struct bn_rig *rig, int to)
{
	const struct bn_event *e = NULL;
	int from;

	for (unsigned int i = 0; i < rig->n_events; i++)
		if (rig->events[i].header.type == BN_EVENT_DROP ||
		    rig->events[i].header.type == BN_EVENT_AUDIT)
			e = &rig->events[i];
	if (!e)
		return "no record of it";
	from = rig->dev[BN_POD_A].ifindex == e->ifindex ? BN_POD_A : BN_POD_B;
	if (e->src_identity != rig->dev[from].identity)
		return "the record's source is another identity";
	return e->dst_identity != rig->dev[to].identity
		       ? "the record's destination is another identity"
		       : NULL;
}

static const char *named_b(struct bn_rig *rig, int family, const struct bn_result *r)
{
	const char *wrong = gone(rig, family, r);

	return wrong ? wrong : named(rig, BN_POD_B);
}

static const char *named_a(struct bn_rig *rig, int family, const struct bn_result *r)
{
	const char *wrong = gone(rig, family, r);

	return wrong ? wrong : named(rig, BN_POD_A);
}

static const char *kept_named_b(struct bn_rig *rig, int family, const struct bn_result *r)
{
	const char *wrong = kept(rig, family, r);

	return wrong ? wrong : named(rig, BN_POD_B);
}

static const char *kept_named_a(struct bn_rig *rig, int family, const struct bn_result *r)
{
	const char *wrong = kept(rig, family, r);

	return wrong ? wrong : named(rig, BN_POD_A);
}

static const char *named_a_only(struct bn_rig *rig, int family, const struct bn_result *r)
{
	return named(rig, BN_POD_A);
}

#define CONNECTION(e, i) \
	{"SYN",           FROM(BN_POD_A),    TCP("A", 40000, "VIP", 80, SYN), \
	 DNAT("B", 8080), .count = {OPENED}, .egress = (e), \
	 .ingress = (i)}, \
		{"SYN-ACK", FROM(BN_POD_B), TCP("B", 8080, "A", 40000, SYN | ACK), \
		 SNAT("VIP", 80)}, \
	{ \
		"ACK", FROM(BN_POD_A), TCP("A", 40000, "VIP", 80, ACK), DNAT("B", 8080), PROMOTED, \
			.check = kept \
	}
#define DATA FROM(BN_POD_A), TCP("A", 40000, "VIP", 80, ACK, .payload = 9)
#define DATA_BACK FROM(BN_POD_B), TCP("B", 8080, "A", 40000, ACK, .payload = 9)
#define CHUNK(type) .payload = 20, .bytes = (const __u8[20]){(type), 0, 0, 20}
#define SCTP_DATA 0
#define SCTP_INIT 1
#define SCTP_INIT_ACK 2
#define SCTP_SACK 3
#define PICKED_UP \
	{"in its middle", FROM(BN_POD_A), TCP("A", 40000, "B", 80, ACK), PASSES}, \
	{ \
		"an answer", FROM(BN_POD_B), TCP("B", 80, "A", 40000, ACK), FOLLOWS, PROMOTED \
	}

/* ---- ICMP errors ---- */

#define UNREACHABLE(family) \
	.protocol = (family) == 4 ? 1 : 58, .type = (family) == 4 ? 3 : 1, \
	.code = (family) == 4 ? 3 : 4

static int datagram(struct bn_rig *rig, int family, struct bn_packet *sent)
{
	struct bn_step s = {FROM(BN_POD_A), UDP("A", 5000, "B", 5353, .payload = 21)};
	struct bn_result r;

	bn_step_packet(rig, &s, family, sent);
	return bn_step_send(rig, &s, family, &r);
}

/* B's error about what it got; 0 or the reason it was dropped for. */
static int error_back(struct bn_rig *rig, int family, const struct bn_packet *quote)
{
	struct bn_step s = {FROM(BN_POD_B),
			    .in = {UNREACHABLE(family), .src = "B", .dst = "A", .quote = quote}};
	struct bn_result r;

	if (bn_step_send(rig, &s, family, &r) == TC_ACT_REDIRECT)
		return 0;
	return rig->n_events == 1 ? rig->events[0].reason : -1;
}

static const char *errors(struct bn_rig *rig, int family)
{
	struct bn_packet sent;

	b_shut_in(rig, family);
	a_allows(rig, family);
	if (datagram(rig, family, &sent) != TC_ACT_REDIRECT)
		return "a datagram that policy allows";
	if (error_back(rig, family, &sent))
		return "an error about what policy allows is dropped";
	b_allows(rig, family);
	if (error_back(rig, family, &sent))
		return "an error is dropped after a change that still allows the flow";
	a_denies(rig, family);
	if (error_back(rig, family, &sent) != BN_DROP_ICMP_UNRELATED)
		return "an error about a flow that is denied by now passes";
	if (datagram(rig, family, &sent) != TC_ACT_SHOT)
		return "a datagram that policy denies";
	if (error_back(rig, family, &sent) != BN_DROP_ICMP_UNRELATED)
		return "an error about what was refused passes";
	bn_rig_forget(rig);
	if (error_back(rig, family, &sent) != BN_DROP_ICMP_UNRELATED)
		return "an error about nothing passes";
	return NULL;
}

/* ---- echo ---- */

static int echo(struct bn_rig *rig, int family, int pod, const char *src, const char *dst,
		bool reply)
{
	struct bn_step s = {FROM(pod), .in = {.protocol = family == 4 ? 1 : 58,
					      .type = family == 4 ? (reply ? 0 : 8) : 128 + reply,
					      .src = src,
					      .dst = dst,
					      .icmp_id = 77}};
	struct bn_result r;

	return bn_step_send(rig, &s, family, &r);
}

static const char *echoes(struct bn_rig *rig, int family)
{
	a_allows(rig, family);
	b_shut_in(rig, family);
	if (echo(rig, family, BN_POD_A, "A", "B", false) != TC_ACT_REDIRECT)
		return "an echo request that policy allows";
	if (echo(rig, family, BN_POD_B, "B", "A", true) != TC_ACT_REDIRECT)
		return "its reply";
	if (echo(rig, family, BN_POD_B, "B", "A", false) != TC_ACT_SHOT)
		return "a request the other way";
	a_denies(rig, family);
	if (echo(rig, family, BN_POD_B, "B", "A", true) != TC_ACT_SHOT)
		return "a reply after a change that denies the request";
	if (echo(rig, family, BN_POD_A, "A", "B", false) != TC_ACT_SHOT)
		return "a request that policy denies";
	return NULL;
}

/* ---- fragments ---- */

static int parts_send(struct bn_rig *rig, int family, __u32 number, int verdict[3])
{
	struct bn_step s = {FROM(BN_POD_A), UDP("A", 7000, "B", 5353, .payload = 1600)};
	struct bn_packet whole, p;
	struct bn_result r;
	int dropped = 0;

	bn_step_packet(rig, &s, family, &whole);
	for (size_t i = 0; i < 3; i++) {
		size_t from = i * 512, total = whole.len - whole.l4;

		bn_packet_fragment(&p, &whole, from, i < 2 ? 512 : total - from, i < 2, number);
		bn_rig_run(rig, BN_HOOK_FROM_POD, BN_POD_A, 0, &p, &r);
		verdict[i] = r.verdict;
		for (unsigned int k = 0; k < rig->n_events; k++)
			dropped += rig->events[k].header.type == BN_EVENT_DROP &&
				   rig->events[k].reason == BN_DROP_POLICY_EGRESS &&
				   rig->events[k].egress_verdict == 2;
	}
	return dropped;
}

static const char *fragments(struct bn_rig *rig, int family)
{
	int v[3];

	a_allows(rig, family);
	if (parts_send(rig, family, 1, v) || v[0] != TC_ACT_REDIRECT || v[1] != TC_ACT_REDIRECT ||
	    v[2] != TC_ACT_REDIRECT)
		return "fragments of what policy allows";
	a_denies(rig, family);
	if (parts_send(rig, family, 2, v) != 3)
		return "fragments of what policy denies by now";
	bn_rig_forget(rig);
	if (parts_send(rig, family, 3, v) != 3)
		return "fragments of what policy denies";
	return NULL;
}

/* What came in between a datagram's parts counts for those that follow. */
static const char *fragments_amid(struct bn_rig *rig, int family)
{
	struct bn_step s = {FROM(BN_POD_A), UDP("A", 7000, "B", 5353, .payload = 1600)};
	struct bn_packet whole, p;
	struct bn_result r;

	a_allows(rig, family);
	bn_step_packet(rig, &s, family, &whole);
	bn_packet_fragment(&p, &whole, 0, 512, 1, 9);
	bn_rig_run(rig, BN_HOOK_FROM_POD, BN_POD_A, 0, &p, &r);
	a_denies(rig, family);
	bn_packet_fragment(&p, &whole, 512, 512, 1, 9);
	bn_rig_run(rig, BN_HOOK_FROM_POD, BN_POD_A, 0, &p, &r);
	return r.verdict == TC_ACT_SHOT ? NULL : "a part that followed the change passes";
}

static const struct bn_case cases[] = {
	{"a change denies at the sender: its next packet is cut", .prepare = a_allows,
	 .restore = off,
	 .step = {CONNECTION(ALLOW(1), 0),
		  {"data", DATA, EGRESS, CUT(DEMOTED), .egress = 2, .before = a_denies,
		   .check = named_b},
		  {"data again: as any first packet", DATA, EGRESS, DECIDED, .egress = 2},
		  {"and again", DATA, EGRESS, .egress = 2},
		  {"an answer to it, as if the far end had begun", DATA_BACK, EGRESS, DECIDED,
		   .egress = 2}}},
	{"a change denies at the receiver: a reply is cut", .restore = off,
	 .step = {CONNECTION(0, 0),
		  {"answer", DATA_BACK, INGRESS, CUT(DEMOTED), .ingress = 4, .before = b_denies,
		   .check = named_a},
		  {"data", DATA, INGRESS, DECIDED, .ingress = 4}}},
	{"a change denies what is half open", .restore = off,
	 .step = {{"SYN", FROM(BN_POD_A), TCP("A", 40000, "VIP", 80, SYN), DNAT("B", 8080),
		   .count = {OPENED}},
		  {"SYN-ACK", FROM(BN_POD_B), TCP("B", 8080, "A", 40000, SYN | ACK), INGRESS, CUT(),
		   .ingress = 4, .before = b_denies, .check = named_a}}},
	{"a change denies a datagram's flow", .restore = off,
	 .step = {{"query", FROM(BN_POD_A), UDP("A", 40000, "B", 53), PASSES},
		  {"answer", FROM(BN_POD_B), UDP("B", 53, "A", 40000), EGRESS, CUT(), .egress = 2,
		   .before = a_denies},
		  {"query", FROM(BN_POD_A), UDP("A", 40000, "B", 53), EGRESS, DECIDED,
		   .egress = 2}}},
	{"a change that still allows keeps the flow", .prepare = a_allows, .restore = off,
	 .step = {CONNECTION(ALLOW(1), 0),
		  {"data", DATA, DNAT("B", 8080), AGAIN, .egress = ALLOW(1), .ingress = ALLOW(3),
		   .before = b_allows, .check = kept},
		  {"once", DATA, DNAT("B", 8080), .check = kept},
		  {"answer", DATA_BACK, SNAT("VIP", 80), AGAIN, .egress = ALLOW(1),
		   .ingress = ALLOW(3), .check = kept},
		  {"once", DATA_BACK, SNAT("VIP", 80), .check = kept},
		  {"policy of the replies' direction", DATA_BACK, SNAT("VIP", 80), AGAIN,
		   .egress = ALLOW(1), .ingress = ALLOW(3), .before = b_shut_in, .check = kept},
		  {"policy gone", DATA, DNAT("B", 8080), AGAIN, .before = off, .check = kept}}},
	{"a change at another pod does not touch the flow", .prepare = a_allows, .restore = off,
	 .step = {CONNECTION(ALLOW(1), 0),
		  {"data", DATA, DNAT("B", 8080), .before = c_denied, .check = kept},
		  {"answer", DATA_BACK, SNAT("VIP", 80), .check = kept}}},
	{"the peer's identity changes: denied", .prepare = a_allows, .restore = off,
	 .step = {CONNECTION(ALLOW(1), 0),
		  {"answer", DATA_BACK, EGRESS, CUT(DEMOTED), .before = b_renamed,
		   .check = named_a}}},
	{"the peer's identity changes: allowed by another rule", .prepare = a_allows,
	 .restore = off,
	 .step = {CONNECTION(ALLOW(1), 0),
		  {"data", DATA, DNAT("B", 8080), AGAIN, .egress = ALLOW(5),
		   .before = b_renamed_alike, .check = kept},
		  {"answer", DATA_BACK, SNAT("VIP", 80), AGAIN, .egress = ALLOW(5),
		   .check = kept}}},
	{"A's address goes to another pod: what was a reply is none", .restore = a_back,
	 .step = {CONNECTION(0, 0),
		  {"answer", DATA_BACK, EGRESS,
		   .count = {[BN_CNT_STALE] = 1,
			     [BN_CNT_DECISIONS] = 1,
			     [BN_CNT_FLOWS_CLOSED] = 1,
			     DEMOTED},
		   .cause = BN_CLOSE_STALE, .before = a_replaced, .check = named_a_only}}},
	{"a refusal ends with the policy", .prepare = a_denies, .restore = off,
	 .step = {{"SYN", FROM(BN_POD_A), TCP("A", 40000, "B", 80, SYN), EGRESS, DECIDED,
		   .egress = 2},
		  {"again", FROM(BN_POD_A), TCP("A", 40000, "B", 80, SYN), EGRESS, .egress = 2},
		  {"the peer's policy changes: asked anew", FROM(BN_POD_A),
		   TCP("A", 40000, "B", 80, SYN), EGRESS, DECIDED, .egress = 2, .before = b_allows},
		  {"allowed", FROM(BN_POD_A), TCP("A", 40000, "B", 80, SYN), PASSES,
		   .egress = ALLOW(1), .ingress = ALLOW(3), .before = a_allows},
		  {"SYN-ACK", FROM(BN_POD_B), TCP("B", 80, "A", 40000, SYN | ACK), FOLLOWS},
		  {"ACK", FROM(BN_POD_A), TCP("A", 40000, "B", 80, ACK), FOLLOWS, PROMOTED}}},
	{"a refusal the other way is not in a flow's way", .prepare = b_shut_in, .restore = off,
	 .step = {{"refused", FROM(BN_POD_B), UDP("B", 53, "A", 40000), EGRESS, DECIDED},
		  {"again", FROM(BN_POD_B), UDP("B", 53, "A", 40000), EGRESS},
		  {"query", FROM(BN_POD_A), UDP("A", 40000, "B", 53), PASSES},
		  {"now it is a reply", FROM(BN_POD_B), UDP("B", 53, "A", 40000), FOLLOWS}}},
	{"a refusal the other way is not in a service's way", .prepare = b_shut_in, .restore = off,
	 .step = {{"refused", FROM(BN_POD_B), UDP("B", 5353, "A", 40000), EGRESS, DECIDED},
		  {"query", FROM(BN_POD_A), UDP("A", 40000, "VIP", 53), DNAT("B", 5353),
		   .count = {OPENED}},
		  {"now it is a reply", FROM(BN_POD_B), UDP("B", 5353, "A", 40000),
		   SNAT("VIP", 53)}}},
	{"the pod's own node, after changes", .restore = off,
	 .step = {{"SYN", TO(BN_POD_A), TCP("NODE", 40000, "A", 8080, SYN), .outcome = BN_PASSED,
		   .count = {OPENED}},
		  {"SYN-ACK", FROM(BN_POD_A), TCP("A", 8080, "NODE", 40000, SYN | ACK),
		   .outcome = BN_PASSED, AGAIN, .before = a_shut_in},
		  {"ACK", TO(BN_POD_A), TCP("NODE", 40000, "A", 8080, ACK), .outcome = BN_PASSED,
		   .count = {[BN_CNT_STALE] = 1, [BN_CNT_FLOWS_PROMOTED] = 2}},
		  {"with an address that is not the node's", TO(BN_POD_A),
		   TCP("WORLD", 40001, "A", 8080, SYN), .outcome = BN_PASSED, .count = {OPENED}},
		  {"the same, after a change", TO(BN_POD_A), TCP("WORLD", 40001, "A", 8080, SYN),
		   .outcome = BN_PASSED, AGAIN, .before = a_shut_in},
		  {"its reply", FROM(BN_POD_A), TCP("A", 8080, "WORLD", 40001, SYN | ACK),
		   .outcome = BN_PASSED, AGAIN}}},
	{"audit keeps what policy denies by now, and tells it once", .prepare = a_allows,
	 .restore = off,
	 .step = {CONNECTION(ALLOW(1), 0),
		  {"data", DATA, DNAT("B", 8080), AGAIN, .egress = 2, .before = a_audited,
		   .audited = BN_DROP_POLICY_EGRESS, .check = kept_named_b},
		  {"once", DATA, DNAT("B", 8080), .check = kept},
		  {"answer", DATA_BACK, SNAT("VIP", 80), AGAIN, .egress = 2, .check = kept},
		  {"answer, after another change", DATA_BACK, SNAT("VIP", 80), AGAIN, .egress = 2,
		   .before = a_audited, .audited = BN_DROP_POLICY_EGRESS, .check = kept_named_a},
		  {"data", DATA, DNAT("B", 8080), AGAIN, .egress = 2, .check = kept},
		  {"allowed again", DATA, DNAT("B", 8080), AGAIN, .egress = ALLOW(1),
		   .before = a_allows, .check = kept}}},
	{"audit at the receiving end", .prepare = b_allows, .restore = off,
	 .step = {{"query", FROM(BN_POD_A), UDP("A", 40000, "B", 53), PASSES, .ingress = ALLOW(3)},
		  {"again", FROM(BN_POD_A), UDP("A", 40000, "B", 53), FOLLOWS, AGAIN, .ingress = 4,
		   .before = b_audited, .audited = BN_DROP_POLICY_INGRESS},
		  {"reply", FROM(BN_POD_B), UDP("B", 53, "A", 40000), FOLLOWS, AGAIN,
		   .ingress = 4}}},
	{"picked up midway: it is cut where the far end may not begin it", .restore = off,
	 .step = {PICKED_UP,
		  {"data", FROM(BN_POD_A), TCP("A", 40000, "B", 80, ACK), EGRESS, CUT(DEMOTED),
		   .before = b_shut_in},
		  {"answer", FROM(BN_POD_B), TCP("B", 80, "A", 40000, ACK), EGRESS, DECIDED}}},
	{"likewise, by its answer", .restore = off,
	 .step = {PICKED_UP,
		  {"answer", FROM(BN_POD_B), TCP("B", 80, "A", 40000, ACK), EGRESS, CUT(DEMOTED),
		   .before = b_shut_in}}},
	{"likewise, in the direction that was seen first", .restore = off,
	 .step = {PICKED_UP,
		  {"answer", FROM(BN_POD_B), TCP("B", 80, "A", 40000, ACK), EGRESS, CUT(DEMOTED),
		   .egress = 2, .before = a_denies}}},
	{"picked up midway: kept where both ends may begin it", .restore = off,
	 .step = {PICKED_UP,
		  {"data", FROM(BN_POD_A), TCP("A", 40000, "B", 80, ACK), FOLLOWS, AGAIN,
		   .ingress = ALLOW(3), .before = b_allows},
		  {"answer", FROM(BN_POD_B), TCP("B", 80, "A", 40000, ACK), FOLLOWS, AGAIN,
		   .ingress = ALLOW(3)}}},
	{"picked up by its SYN-ACK: whoever sent it did not begin it", .restore = off,
	 .step = {{"SYN-ACK", FROM(BN_POD_B), TCP("B", 80, "A", 40000, SYN | ACK), PASSES},
		  {"ACK", FROM(BN_POD_A), TCP("A", 40000, "B", 80, ACK), FOLLOWS, PROMOTED},
		  {"data", FROM(BN_POD_A), TCP("A", 40000, "B", 80, ACK), EGRESS, CUT(DEMOTED),
		   .egress = 2, .before = a_denies}}},
	{"an association of which the INIT was seen", .restore = off,
	 .step = {{"INIT", FROM(BN_POD_A), SCTP("A", 40000, "B", 80, CHUNK(SCTP_INIT)), PASSES},
		  {"INIT-ACK", FROM(BN_POD_B), SCTP("B", 80, "A", 40000, CHUNK(SCTP_INIT_ACK)),
		   FOLLOWS},
		  {"what the far end may not begin", FROM(BN_POD_A),
		   SCTP("A", 40000, "B", 80, CHUNK(SCTP_DATA)), FOLLOWS, AGAIN,
		   .before = b_shut_in},
		  {"its answer", FROM(BN_POD_B), SCTP("B", 80, "A", 40000, CHUNK(SCTP_SACK)),
		   FOLLOWS, AGAIN}}},
	{"an association of which it was not", .restore = off,
	 .step = {{"DATA", FROM(BN_POD_A), SCTP("A", 40000, "B", 80, CHUNK(SCTP_DATA)), PASSES},
		  {"SACK", FROM(BN_POD_B), SCTP("B", 80, "A", 40000, CHUNK(SCTP_SACK)), FOLLOWS},
		  {"DATA", FROM(BN_POD_A), SCTP("A", 40000, "B", 80, CHUNK(SCTP_DATA)), EGRESS,
		   CUT(), .before = b_shut_in}}},
	{"echo", .restore = off, .run = echoes},
	{"ICMP errors", .restore = off, .run = errors},
	{"fragments", .restore = off, .run = fragments},
	{"fragments amid a change", .restore = off, .run = fragments_amid},
};

int main(void)
{
	return bn_program_main("policy-flows", cases, sizeof(cases) / sizeof(cases[0]), NULL);
}
