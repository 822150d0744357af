// SPDX-License-Identifier: Apache-2.0
/*
 * A change of policy or labels is one for both ends of a flow: what comes is not in force before the
 * generation grows, all of it is from then on, and no packet meets one end's old with the other's new.
 */
#include "lib/program.h"

#include <linux/pkt_cls.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

#define ALLOW(rule) (BN_VERDICT_ALLOW | (rule))
#define PASSES .outcome = BN_FORWARDED, .count = {[BN_CNT_FLOWS_OPENED] = 1, [BN_CNT_DECISIONS] = 1}
#define DECIDED .count = {[BN_CNT_DECISIONS] = 1}
#define EGRESS DROP(POLICY_EGRESS), DECIDED
#define INGRESS DROP(POLICY_INGRESS), DECIDED

#define STRANGE (BN_IDENTITY_FIRST + 200)
#define RACE_SECONDS 2

static __u32 id(const struct bn_rig *rig, int pod)
{
	return rig->dev[pod].identity;
}

static void stage(struct bn_rig *rig, int pod, __u16 egress, __u16 ingress, bool audit)
{
	struct bn_policy_ref policy = {
		.identity = pod == BN_RIG_NODE ? BN_IDENTITY_HOST : id(rig, pod),
		.egress = egress,
		.ingress = ingress,
	};

	bn_rig_policy_stage(rig, pod, &policy, audit);
}

static void off(struct bn_rig *rig, int family)
{
	bn_rig_policy_clear(rig);
}

static void turn(struct bn_rig *rig, int family)
{
	bn_rig_policy_turn(rig);
}

static void a_closes(struct bn_rig *rig, int family)
{
	stage(rig, BN_POD_A, BN_POLICY_CLOSED, BN_POLICY_OPEN, false);
}

static void a_opens(struct bn_rig *rig, int family)
{
	stage(rig, BN_POD_A, BN_POLICY_OPEN, BN_POLICY_OPEN, false);
}

static void b_closes(struct bn_rig *rig, int family)
{
	stage(rig, BN_POD_B, BN_POLICY_OPEN, BN_POLICY_CLOSED, false);
}

/* The sender denies it, and lets the receiver do that. */
static void hand_over(struct bn_rig *rig, int family)
{
	bn_rig_policy_table(rig, BN_POD_A, BN_POLICY_EGRESS, BN_POLICY_CLOSED);
	a_opens(rig, family);
	b_closes(rig, family);
}

static void a_closes_audited(struct bn_rig *rig, int family)
{
	bn_rig_policy_table(rig, BN_POD_A, BN_POLICY_EGRESS, BN_POLICY_CLOSED);
	stage(rig, BN_POD_A, BN_POLICY_CLOSED, BN_POLICY_OPEN, true);
}

static void b_enforces(struct bn_rig *rig, int family)
{
	rig->dev[BN_POD_B].flags = BN_EP_AUDIT_BOTH;
	bn_rig_policy_table(rig, BN_POD_B, BN_POLICY_INGRESS, BN_POLICY_CLOSED);
	b_closes(rig, family);
}

static void node_closes(struct bn_rig *rig, int family)
{
	stage(rig, BN_RIG_NODE, BN_POLICY_OPEN, BN_POLICY_CLOSED, false);
}

/* A lets out what goes to B as it is known, not what goes to the pod that B becomes. */
static void b_is_renamed(struct bn_rig *rig, int family)
{
	struct bn_policy_ref policy = {.identity = STRANGE};

	bn_rig_policy_say(rig, BN_POD_A, BN_POLICY_EGRESS, id(rig, BN_POD_B), ALLOW(1));
	bn_rig_policy_say(rig, BN_POD_A, BN_POLICY_EGRESS, STRANGE, 5);
	/* what comes has the table too */
	stage(rig, BN_POD_A, rig->dev[BN_POD_A].egress, BN_POLICY_OPEN, false);
	bn_rig_policy_stage(rig, BN_POD_B, &policy, false);
}

/* The other way around: B may get from A as it is known. */
static void a_is_renamed(struct bn_rig *rig, int family)
{
	struct bn_policy_ref policy = {.identity = STRANGE};

	bn_rig_policy_say(rig, BN_POD_B, BN_POLICY_INGRESS, id(rig, BN_POD_A), ALLOW(1));
	bn_rig_policy_say(rig, BN_POD_B, BN_POLICY_INGRESS, STRANGE, 5);
	stage(rig, BN_POD_B, BN_POLICY_OPEN, rig->dev[BN_POD_B].ingress, false);
	bn_rig_policy_stage(rig, BN_POD_A, &policy, false);
}

static const char *knows(struct bn_rig *rig, __u32 src, __u32 dst)
{
	const struct bn_event *e = &rig->events[0];

	return e->src_identity == src && e->dst_identity == dst ? NULL : "the record's identities";
}

static const char *knows_old(struct bn_rig *rig, int family, const struct bn_result *r)
{
	return knows(rig, id(rig, BN_POD_A), id(rig, BN_POD_B));
}

static const char *knows_new_b(struct bn_rig *rig, int family, const struct bn_result *r)
{
	return knows(rig, id(rig, BN_POD_A), STRANGE);
}

static const char *knows_new_a(struct bn_rig *rig, int family, const struct bn_result *r)
{
	return knows(rig, STRANGE, id(rig, BN_POD_B));
}

/* ---- beside packets ---- */

struct changes {
	struct bn_rig *rig;
	atomic_bool end;
	unsigned int n;
};

/* Now the sender denies, now the receiver, as the agent changes that: there is always one. */
static void *change(void *data)
{
	struct changes *c = data;

	while (!atomic_load(&c->end)) {
		bool a = c->n % 2;

		for (int after = 0; after < 2; after++) {
			(a ? a_closes : a_opens)(c->rig, 4);
			stage(c->rig, BN_POD_B, BN_POLICY_OPEN,
			      a ? BN_POLICY_OPEN : BN_POLICY_CLOSED, false);
			if (!after)
				bn_rig_policy_turn(c->rig);
		}
		c->n++;
	}
	return NULL;
}

static __u64 seconds(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (__u64)now.tv_sec;
}

static const char *beside(struct bn_rig *rig, int family)
{
	struct changes c = {.rig = rig};
	__u64 until = seconds() + RACE_SECONDS;
	const char *wrong = NULL;
	struct bn_result result;
	unsigned int sent = 0;
	pthread_t thread;

	bn_rig_policy_table(rig, BN_POD_A, BN_POLICY_EGRESS, BN_POLICY_CLOSED);
	if (pthread_create(&thread, NULL, change, &c))
		return "no second thread";
	/* another flow each time: one that is denied is remembered */
	while (!wrong && (seconds() < until || c.n < 100)) {
		bn_pod_send(rig, family, BN_POD_A, "A", (__u16)(1024 + sent++ % 60000), "B", 80,
			    IPPROTO_TCP, SYN, &result);
		if (result.verdict != TC_ACT_SHOT)
			wrong = "a packet passed that old and new policies deny";
	}
	atomic_store(&c.end, true);
	pthread_join(thread, NULL);
	return wrong;
}

static const struct bn_case cases[] = {
	{"the sender's policy", .prepare = a_closes, .restore = off,
	 .step = {{"before", FROM(BN_POD_A), TCP("A", 40000, "B", 80, SYN), PASSES},
		  {"from then on", FROM(BN_POD_A), TCP("A", 40001, "B", 80, SYN), EGRESS,
		   .before = turn},
		  {"who is not part of it", FROM(BN_POD_C), TCP("C", 40000, "B", 80, SYN), PASSES},
		  {"a flow looks again when its end's epoch grows", FROM(BN_POD_B),
		   TCP("B", 80, "A", 40000, SYN | ACK), .outcome = BN_FORWARDED}}},
	{"the receiver's policy", .prepare = b_closes, .restore = off,
	 .step = {{"before", FROM(BN_POD_A), TCP("A", 40000, "B", 80, SYN), PASSES},
		  {"from then on", FROM(BN_POD_A), TCP("A", 40001, "B", 80, SYN), INGRESS,
		   .before = turn},
		  {"from outside", UPLINK, TCP("WORLD", 40000, "B", 80, SYN), INGRESS},
		  {"through a service", FROM(BN_POD_A), TCP("A", 40002, "VIP", 80, SYN), INGRESS}}},
	{"from the sender to the receiver", .prepare = hand_over, .restore = off,
	 .step = {{"before", FROM(BN_POD_A), TCP("A", 40000, "B", 80, SYN), EGRESS},
		  {"from then on", FROM(BN_POD_A), TCP("A", 40001, "B", 80, SYN), INGRESS,
		   .before = turn},
		  {"back again", FROM(BN_POD_A), TCP("A", 40002, "B", 80, SYN), EGRESS,
		   .before = turn}}},
	{"audit comes", .prepare = a_closes_audited, .restore = off,
	 .step = {{"before", FROM(BN_POD_A), TCP("A", 40000, "B", 80, SYN), EGRESS},
		  {"from then on", FROM(BN_POD_A), TCP("A", 40001, "B", 80, SYN), PASSES,
		   .audited = BN_DROP_POLICY_EGRESS, .before = turn}}},
	{"audit goes", .prepare = b_enforces, .restore = off,
	 .step = {{"before", FROM(BN_POD_A), TCP("A", 40000, "B", 80, SYN), PASSES,
		   .audited = BN_DROP_POLICY_INGRESS},
		  {"from then on", FROM(BN_POD_A), TCP("A", 40001, "B", 80, SYN), INGRESS,
		   .before = turn}}},
	{"the receiver's labels", .prepare = b_is_renamed, .restore = off,
	 .step = {{"before", FROM(BN_POD_A), TCP("A", 40000, "B", 80, SYN), PASSES,
		   .egress = ALLOW(1), .check = knows_old},
		  {"from then on", FROM(BN_POD_A), TCP("A", 40001, "B", 80, SYN), EGRESS,
		   .egress = 5, .before = turn, .check = knows_new_b}}},
	{"the sender's labels", .prepare = a_is_renamed, .restore = off,
	 .step = {{"before", FROM(BN_POD_A), TCP("A", 40000, "B", 80, SYN), PASSES,
		   .ingress = ALLOW(1), .check = knows_old},
		  {"from then on", FROM(BN_POD_A), TCP("A", 40001, "B", 80, SYN), INGRESS,
		   .ingress = 5, .before = turn, .check = knows_new_a}}},
	{"the node's firewall", .prepare = node_closes, .restore = off,
	 .step = {{"before", UPLINK, TCP("WORLD", 40000, "NODE", 8080, SYN), .outcome = BN_PASSED,
		   .count = {[BN_CNT_FLOWS_OPENED] = 1, [BN_CNT_DECISIONS] = 1}},
		  {"from then on", UPLINK, TCP("WORLD", 40001, "NODE", 8080, SYN), INGRESS,
		   .before = turn}}},
	{"changes beside packets", .restore = off, .run = beside},
};

int main(void)
{
	return bn_program_main("policy-generations", cases, sizeof(cases) / sizeof(cases[0]), NULL);
}
