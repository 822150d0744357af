/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * NetworkPolicy's place in the decision: asked once per flow and epoch, for both ends on this node
 * (maps/bpfnet/policy.h has the tables). Always allowed, by the API's rules: what a pod sends to
 * itself, and what it exchanges with the node that it runs on (kubelet's health checks).
 *
 * The node itself may have tables too, its firewall: for what it sends out and what is sent to it, its
 * pods' packets among the latter. What its configuration names as failsafe is never asked about.
 */
#pragma once

#include "lib/packet.h"

/* The identity that policy knows the other end by. */
static __noinline __u32 policy_identity(const struct bn_party *p, const union bn_addr *addr,
					__u32 generation)
{
	struct bn_range_key key = {.prefixlen = 128};
	struct bn_policy_cidr *cidr;

	if (!p || !addr)
		return BN_IDENTITY_UNKNOWN;
	if (p->kind)
		return p->policy[generation % BN_GENERATIONS].identity;
	__builtin_memcpy(key.addr, addr, sizeof(key.addr));
	cidr = bpf_map_lookup_elem(&bn_policy_cidrs, &key);
	return cidr ? cidr->identity : BN_IDENTITY_WORLD;
}

/* A run of parts: the last line that does not begin behind `key`. */
static __always_inline struct bn_policy_line *policy_line(__u32 run, __u32 key)
{
	__u32 at = bn_policy_run_first(run), step = bn_policy_run_lines(run), n;
	struct bn_policy_line *line;
	int i;

	for (i = 0; i < BN_POLICY_RUN_LEVELS; i++) {
		step >>= 1;
		if (!step)
			break;
		n = at + step;
		line = bpf_map_lookup_elem(&bn_policy_ports, &n);
		if (line && line->part[0].from <= key)
			at = n;
	}
	return bpf_map_lookup_elem(&bn_policy_ports, &at);
}

static __always_inline __u32 policy_searched(__u32 run, __u32 key)
{
	struct bn_policy_line *line = policy_line(run, key);
	__u32 verdict = 0;
	int i;

	if (!line)
		return 0;
#pragma unroll
	for (i = 0; i < BN_POLICY_PARTS; i++) {
		if (line->part[i].from <= key)
			verdict = line->part[i].verdict;
	}
	return verdict;
}

/* A run with an index: nothing that depends on the key is a branch, which the CPU would guess. */
static __always_inline __u32 policy_indexed(__u32 run, __u32 index, __u32 key)
{
	__u32 first = bn_policy_run_first(run), last = index * BN_POLICY_BITS_KEYS - 1, at;
	struct bn_policy_line *line;
	struct bn_policy_bits *bits;

	if (key > last)
		key = last;
	at = first + key / BN_POLICY_BITS_KEYS;
	line = bpf_map_lookup_elem(&bn_policy_ports, &at);
	if (!line)
		return 0;
	bits = &line->bits[key / 32 % BN_POLICY_BITS];
	key = bits->before + __builtin_popcount(bits->begins & ((2u << key % 32) - 1));
	at = first + key / BN_POLICY_VERDICTS;
	line = bpf_map_lookup_elem(&bn_policy_ports, &at);
	return line ? line->verdict[key % BN_POLICY_VERDICTS] : 0;
}

/* What a table says of a peer and a port; a table, page or run that does not exist denies. */
BN_GLOBAL int policy_verdict(__u32 table, __u32 peer, __u32 key)
{
	struct bn_policy_table *t;
	struct bn_policy_page *p;
	__u32 page, run, index;

	t = bpf_map_lookup_elem(&bn_policy, &table);
	if (!t || peer >= BN_IDENTITIES)
		return 0;
	page = t->page[peer / BN_POLICY_PAGE];
	p = bpf_map_lookup_elem(&bn_policy_pages, &page);
	if (!p)
		return 0;
	run = p->run[peer % BN_POLICY_PAGE];
	index = bn_policy_run_index(run);
	return (int)(index ? policy_indexed(run, index, key) : policy_searched(run, key));
}

/* Counts for the rule that decided. */
static __always_inline void policy_hit(__u32 verdict)
{
	__u32 rule = verdict & BN_VERDICT_RULE;
	__u64 *hits = rule ? bpf_map_lookup_elem(&bn_policy_hits, &rule) : NULL;

	if (hits)
		__sync_fetch_and_add(hits, 1);
}

static __always_inline __u32 policy_key(__u8 protocol, __be16 dport)
{
	switch (protocol) {
	case IPPROTO_TCP:
		return bn_policy_key(BN_POLICY_TCP, bpf_ntohs(dport));
	case IPPROTO_UDP:
		return bn_policy_key(BN_POLICY_UDP, bpf_ntohs(dport));
	case IPPROTO_SCTP:
		return bn_policy_key(BN_POLICY_SCTP, bpf_ntohs(dport));
	default:
		return bn_policy_key(BN_POLICY_OTHER, 0);
	}
}

static __always_inline bool policy_failsafe_has(enum bn_policy_direction direction, __u32 key)
{
	int i;

#pragma unroll
	for (i = 0; i < BN_FAILSAFE_PORTS; i++) {
		if (bn_config.failsafe[direction][i] == (BN_FAILSAFE_SET | key))
			return true;
	}
	return false;
}

/* Whether the node has to be within reach on this port: of a flow from `src` to `dst`. */
static __noinline bool policy_failsafe(const struct bn_party *src, const struct bn_party *dst,
				       __u32 key)
{
	if (!src || !dst)
		return false;
	if (dst->kind == BN_ADDR_HOST)
		return policy_failsafe_has(BN_POLICY_INGRESS, key);
	return src->kind == BN_ADDR_HOST && policy_failsafe_has(BN_POLICY_EGRESS, key);
}

/* What policy has for an end by now: the generation has changed since the end was looked up. */
static __noinline void policy_renew(struct bn_party *p, const union bn_addr *addr)
{
	const struct bn_address *a;

	if (!p || !addr)
		return;
	a = bpf_map_lookup_elem(&bn_addresses, addr);
	/* an end that is the host by where its packets come from stays that */
	if (!a || a->kind != p->kind)
		return;
	__builtin_memcpy(p->policy, a->policy, sizeof(p->policy));
	p->flags = a->flags;
	p->epoch = a->epoch;
}

static __always_inline __u32 policy_generation_of(const struct bn_epochs *ep)
{
	return *(const volatile __u32 *)&ep->generation;
}

/*
 * Settles by which generation both ends' entries are read. Where one has come since the packet began,
 * either may be from before it was staged: both are looked up again. A generation takes the agent
 * thousands of packets' time; who meets a second one all the same is refused.
 */
static __always_inline bool policy_generation(struct bn_scratch *s, const union bn_addr *saddr,
					      const union bn_addr *daddr)
{
	const struct bn_epochs *ep = epochs_get();
	__u32 now;

	if (!ep)
		return false;
	now = policy_generation_of(ep);
	if (now == s->generation)
		return true;
	s->generation = now;
	policy_renew(&s->src, saddr);
	policy_renew(&s->dst, daddr);
	return policy_generation_of(ep) == now;
}

/*
 * Both ends of a flow from s->src, which has the address `saddr`, to s->dst, which has `daddr`;
 * `key` has the port behind NAT. 0 or the reason; s->verdict says by which rules.
 */
static __noinline int policy_check(struct bn_scratch *s, const union bn_addr *saddr,
				   const union bn_addr *daddr, __u32 key)
{
	__u32 egress = 0, ingress = 0, identity, audit = 0, table;
	int reason = 0;

	if (!s || !saddr || !daddr || !policy_generation(s, saddr, daddr))
		return BN_DROP_INTERNAL;
	if (s->src.kind == BN_ADDR_HOST && (s->dst.kind == BN_ADDR_HOST || s->dst.slot))
		return 0;
	if (s->src.slot && s->src.slot == s->dst.slot)
		return 0;
	if (policy_failsafe(&s->src, &s->dst, key))
		return 0;
	table = party_policy(s, &s->src)->egress;
	if (table && s->dst.kind != BN_ADDR_HOST) {
		identity = policy_identity(&s->dst, daddr, s->generation);
		egress = policy_verdict(table, identity, key);
		s->verdict[BN_POLICY_EGRESS] = egress;
		if (!(egress & BN_VERDICT_ALLOW)) {
			audit = BN_DROP_POLICY_EGRESS;
			if (!party_audited(s, &s->src)) {
				reason = BN_DROP_POLICY_EGRESS;
				goto out;
			}
		}
	}
	table = party_policy(s, &s->dst)->ingress;
	if (table) {
		identity = policy_identity(&s->src, saddr, s->generation);
		ingress = policy_verdict(table, identity, key);
		s->verdict[BN_POLICY_INGRESS] = ingress;
		if (!(ingress & BN_VERDICT_ALLOW)) {
			if (!party_audited(s, &s->dst)) {
				reason = BN_DROP_POLICY_INGRESS;
				goto out;
			}
			if (!audit)
				audit = BN_DROP_POLICY_INGRESS;
		}
	}
	s->audited = audit;
out:
	/* after both loads, which the CPU does side by side: an atomic addition would come between */
	policy_hit(egress);
	policy_hit(ingress);
	return reason;
}

/*
 * The same for a packet that can't be its connection's first: which end began it is not known, so
 * each must be allowed to. Otherwise a connection that a new policy has cut would go on as one from
 * the server to the client.
 */
static __noinline int policy_check_midway(struct bn_scratch *s, const union bn_addr *saddr,
					  const union bn_addr *daddr, __be16 sport)
{
	__u32 egress, ingress, audited;
	struct bn_party src;
	int r;

	if (!s || !saddr || !daddr)
		return BN_DROP_INTERNAL;
	egress = s->verdict[BN_POLICY_EGRESS];
	ingress = s->verdict[BN_POLICY_INGRESS];
	audited = s->audited;
	src = s->src;
	s->src = s->dst;
	s->dst = src;
	r = policy_check(s, daddr, saddr, policy_key(s->pkt.tuple.protocol, sport));
	s->dst = s->src;
	s->src = src;
	if (r)
		return r;
	/* told: the rules of the packet's own direction, those of the other where it has none */
	if (egress)
		s->verdict[BN_POLICY_EGRESS] = egress;
	if (ingress)
		s->verdict[BN_POLICY_INGRESS] = ingress;
	s->audited = audited ? audited : s->audited;
	return 0;
}
