// SPDX-License-Identifier: Apache-2.0
/* Policy tables written by the ABI alone: each pod has one table for either direction. */
#include "rig.h"

#include <bpfnet/policy-run.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>

static void put(const struct bn_rig *rig, const char *map, __u32 key, const void *value)
{
	int r = bpf_map_update_elem(bn_rig_map(rig, map), &key, value, BPF_ANY);

	if (r)
		bn_rig_die(map, -r);
}

static __u32 table_of(int pod, enum bn_policy_direction direction)
{
	return 1 + (__u32)pod * BN_POLICY_DIRECTIONS + direction;
}

/* Pages of the two hundreds of identities that the rig has. */
static __u32 page_of(__u32 table, __u32 peer)
{
	return 1 + table * 2 + peer / BN_POLICY_PAGE;
}

void bn_rig_policy_table(struct bn_rig *rig, int pod, enum bn_policy_direction direction,
			 __u16 table)
{
	if (direction == BN_POLICY_EGRESS)
		rig->dev[pod].egress = table;
	else
		rig->dev[pod].ingress = table;
	bn_rig_epoch_bump(rig, rig->dev[pod].slot);
}

void bn_rig_policy_enforce(struct bn_rig *rig, int pod, enum bn_policy_direction direction, bool on)
{
	bn_rig_policy_table(rig, pod, direction, on ? table_of(pod, direction) : BN_POLICY_OPEN);
}

void bn_rig_policy_cidr(struct bn_rig *rig, const char *name, int family, __u32 identity)
{
	struct bn_range_key key = {.prefixlen = 128};
	struct bn_policy_cidr value = {.identity = identity};
	int map = bn_rig_map(rig, "bn_policy_cidrs"), r = 0;

	bn_address_parse(bn_rig_address(name, family), (__u8 *)key.addr);
	if (identity)
		r = bpf_map_update_elem(map, &key, &value, BPF_ANY);
	else
		bpf_map_delete_elem(map, &key);
	if (r)
		bn_rig_die("bn_policy_cidrs", -r);
}

void bn_rig_policy_run(struct bn_rig *rig, int pod, enum bn_policy_direction direction, __u32 peer,
		       const struct bn_policy_part *parts, __u32 n)
{
	__u32 table = table_of(pod, direction), page = page_of(table, peer), first;
	struct bn_policy_run run;
	struct bn_policy_table t = {0};
	struct bn_policy_page p;

	if (bn_policy_run_make(&run, parts, n))
		bn_rig_die("policy", ENOMEM);
	first = rig->next_line ? rig->next_line : 1;
	rig->next_line = first + run.n;
	for (__u32 i = 0; i < run.n; i++)
		put(rig, "bn_policy_ports", first + i, &run.lines[i]);
	if (bpf_map_lookup_elem(bn_rig_map(rig, "bn_policy_pages"), &page, &p))
		bn_rig_die("bn_policy_pages", errno);
	p.run[peer % BN_POLICY_PAGE] = run.name | first;
	bn_policy_run_done(&run);
	put(rig, "bn_policy_pages", page, &p);
	for (__u32 i = 0; i < 2; i++)
		t.page[i] = page_of(table, i * BN_POLICY_PAGE);
	put(rig, "bn_policy", table, &t);
}

void bn_rig_policy_say(struct bn_rig *rig, int pod, enum bn_policy_direction direction, __u32 peer,
		       __u32 verdict)
{
	bn_rig_policy_run(rig, pod, direction, peer, &(struct bn_policy_part){0, verdict}, 1);
	bn_rig_policy_enforce(rig, pod, direction, true);
}

static void run_ports(struct bn_rig *rig, int pod, enum bn_policy_direction direction, __u32 peer,
		      __u32 protocol, __u16 first, __u16 last, __u32 verdict, __u32 otherwise)
{
	struct bn_policy_part parts[] = {
		{0, otherwise},
		{bn_policy_key(protocol, first), verdict},
		{bn_policy_key(protocol, last) + 1, otherwise},
	};
	bool begins = !parts[1].from;

	bn_rig_policy_run(rig, pod, direction, peer, parts + begins, 3 - begins);
}

void bn_rig_policy_ports(struct bn_rig *rig, int pod, enum bn_policy_direction direction,
			 __u32 peer, __u32 protocol, __u16 first, __u16 last, __u32 verdict,
			 __u32 otherwise)
{
	run_ports(rig, pod, direction, peer, protocol, first, last, verdict, otherwise);
	bn_rig_policy_enforce(rig, pod, direction, true);
}

void bn_rig_policy_allow(struct bn_rig *rig, int pod, enum bn_policy_direction direction,
			 __u32 peer, __u8 protocol, __u16 port)
{
	__u32 p = protocol == IPPROTO_TCP   ? BN_POLICY_TCP
		  : protocol == IPPROTO_UDP ? BN_POLICY_UDP
					    : BN_POLICY_SCTP;

	run_ports(rig, pod, direction, peer, p, port, port, BN_VERDICT_ALLOW | BN_RIG_ALLOW_RULE,
		  BN_RIG_DENY_RULE);
}

static struct bn_epochs *epochs(const struct bn_rig *rig)
{
	struct bn_epochs *e = malloc(sizeof(*e));
	__u32 zero = 0;

	if (!e || bpf_map_lookup_elem(bn_rig_map(rig, "bn_epochs"), &zero, e))
		bn_rig_die("bn_epochs", errno);
	return e;
}

static void refer(struct bn_policy_ref *policies, __u32 *flags, __u32 generation,
		  const struct bn_policy_ref *policy, bool audit)
{
	policies[generation] = *policy;
	*flags &= ~((__u32)BN_EP_AUDIT << generation);
	*flags |= audit ? (__u32)BN_EP_AUDIT << generation : 0;
}

void bn_rig_policy_stage(struct bn_rig *rig, int pod, const struct bn_policy_ref *policy,
			 bool audit)
{
	const struct bn_rig_dev *d = &rig->dev[pod];
	int endpoints = bn_rig_map(rig, "bn_endpoints"),
	    addresses = bn_rig_map(rig, "bn_addresses");
	struct bn_epochs *e = epochs(rig);
	__u32 coming = (e->generation + 1) % BN_GENERATIONS;
	struct bn_endpoint endpoint;

	free(e);
	for (int family = 4; family <= 6; family += 2) {
		union bn_addr addr = pod == BN_RIG_NODE ? bn_rig_addr("NODE", family)
				     : family == 4      ? d->v4
							: d->v6;
		struct bn_address a;

		if (bpf_map_lookup_elem(addresses, &addr, &a))
			bn_rig_die("bn_addresses", errno);
		refer(a.policy, &a.flags, coming, policy, audit);
		if (bpf_map_update_elem(addresses, &addr, &a, BPF_EXIST))
			bn_rig_die("bn_addresses", errno);
	}
	if (pod == BN_RIG_NODE)
		return;
	if (bpf_map_lookup_elem(endpoints, &d->ifindex, &endpoint))
		bn_rig_die("bn_endpoints", errno);
	refer(endpoint.policy, &endpoint.flags, coming, policy, audit);
	endpoint.identity6[coming] = policy->identity;
	if (bpf_map_update_elem(endpoints, &d->ifindex, &endpoint, BPF_EXIST))
		bn_rig_die("bn_endpoints", errno);
}

void bn_rig_policy_turn(struct bn_rig *rig)
{
	struct bn_epochs *e = epochs(rig);

	e->generation++;
	put(rig, "bn_epochs", 0, e);
	free(e);
}

void bn_rig_policy_clear(struct bn_rig *rig)
{
	struct bn_policy_table t = {0};
	struct bn_policy_page p = {0};

	for (__u32 table = 1; table <= (BN_RIG_NODE + 1) * BN_POLICY_DIRECTIONS; table++) {
		put(rig, "bn_policy", table, &t);
		for (__u32 i = 0; i < 2; i++)
			put(rig, "bn_policy_pages", page_of(table, i * BN_POLICY_PAGE), &p);
	}
	rig->next_line = 0;
	rig->dev[BN_RIG_NODE].egress = rig->dev[BN_RIG_NODE].ingress = BN_POLICY_OPEN;
	rig->dev[BN_RIG_NODE].flags = 0;
	bn_rig_epoch_bump(rig, BN_SLOT_NONE);
	for (int pod = 0; pod < BN_RIG_PODS; pod++) {
		rig->dev[pod].egress = rig->dev[pod].ingress = BN_POLICY_OPEN;
		rig->dev[pod].identity = rig->dev[pod].identity6 = BN_IDENTITY_FIRST + (__u32)pod;
		rig->dev[pod].flags = 0;
		bn_rig_epoch_bump(rig, rig->dev[pod].slot);
	}
}

__u64 bn_rig_policy_hits(const struct bn_rig *rig, __u32 rule)
{
	__u64 hits = 0;

	if (bpf_map_lookup_elem(bn_rig_map(rig, "bn_policy_hits"), &rule, &hits))
		bn_rig_die("bn_policy_hits", errno);
	return hits;
}
