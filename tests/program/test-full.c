// SPDX-License-Identifier: Apache-2.0
/* A table that is full of established flows: what is new finds room, and so does its answer. */
#include "lib/program.h"

#include <linux/pkt_cls.h>
#include <string.h>

/* Some of these flows have both directions in one set, whose only way is then the first one's. */
static const char *new_flows(struct bn_rig *rig, int family)
{
	struct bn_step s = {FROM(BN_POD_A), UDP("A", 0, "VIP", 53)};
	struct bn_step back = {FROM(BN_POD_B), UDP("B", 5353, "A", 0)};
	union bn_addr vip = bn_rig_addr("VIP", family);
	struct bn_counts before, after;
	struct bn_result result;

	bn_rig_flows_fill(rig, 0);
	bn_rig_counts(rig, &before);
	for (int port = 1024; port < 16384; port++) {
		s.in.sport = (__u16)port;
		back.in.dport = (__u16)port;
		if (bn_step_send(rig, &s, family, &result) != TC_ACT_REDIRECT)
			return "a first packet is dropped";
		if (bn_step_send(rig, &back, family, &result) != TC_ACT_REDIRECT)
			return "its answer is dropped";
		if (memcmp(result.out.data + result.out.l3 + (family == 4 ? 12 : 8),
			   vip.b + (family == 4 ? 12 : 0), family == 4 ? 4 : 16))
			return "its answer is not translated";
	}
	bn_rig_counts(rig, &after);
	for (int i = 0; i < BN_DROP_MAX; i++)
		if (after.drop[i] != before.drop[i])
			return "something was dropped";
	return NULL;
}

static const struct bn_case cases[] = {
	{"what is new and its answer find room, in the same set too", .run = new_flows},
};

int main(void)
{
	static const struct bn_rig_options options = {.flow_sets = 256};

	return bn_program_main("full", cases, sizeof(cases) / sizeof(cases[0]), &options);
}
