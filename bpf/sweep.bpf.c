// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/*
 * Run by the agent through BPF_PROG_TEST_RUN, never attached: walking the flow table where it
 * stands, under its own locks, and putting entries of a predecessor's table into it.
 */
#include "lib/flow.h"

/* Sets that one run looks at: the verifier walks every one of them. */
#define SWEEP_SETS 64

__u32 bn_sweep_remove;             /* whether expired flows go, or are only not counted */
__u32 bn_sweep_next;               /* the set to go on with */
struct bn_flow_sums bn_sweep_sums; /* of what is alive, since the agent set this to 0 */
__u64 bn_sweep_gone;               /* entries removed */

/* The entry to put in, and jiffies that it has to live. */
struct bn_flow_entry bn_adopt_entry;
struct bn_flow_cold bn_adopt_cold;
__u32 bn_adopt_established;
__s32 bn_adopt_left;

static __always_inline bool sweep_over(const struct bn_flow_set *set, __u32 way, __u32 now)
{
	if (!bn_expired(set->expires[way], now))
		return false;
	return !flow_established(set->entry[way].flow.state) ||
	       bn_expired(table_deadline(&set->entry[way]), now);
}

/* An entry whose time is over: the flow goes if its other direction's is, too, else it stays as long. */
BN_GLOBAL int sweep_entry(__u32 index, __u32 way)
{
	struct bn_scratch *s = bn_scratch_get();
	struct bn_flow_set *set = table_set(index), *other;
	struct bn_place own, opposite;
	__u32 w;

	if (!s || !set || way >= BN_WAYS)
		return 0;
	own.set = set;
	own.index = index;
	own.way = way;
	own.tag = set->tag[way];
	s->pkt.tuple = set->entry[way].key;
	s->pkt.now = bn_now();
	if (!own.tag || !table_copy(&own, &s->fwd))
		return 0;
	flow_peer_key(&s->peer, &s->pkt.tuple, &s->fwd);
	/* as of its last packet, when both were alive */
	flow_opposite(s, s->fwd.last_seen, &opposite);
	other = opposite.set;
	w = opposite.way;
	if (other && w < BN_WAYS && !sweep_over(other, w, s->pkt.now)) {
		if (flow_established(s->fwd.state)) /* or a newcomer would take its place */
			table_extend(&own, table_deadline(&other->entry[w]));
		return 0;
	}
	if (s->fwd.action != BN_ACT_DROP)
		flow_report_closed(s, &own, &opposite, BN_CLOSE_EXPIRED);
	bn_sweep_gone += table_change(&own, TABLE_FREE, 0, s->pkt.now) >= 0;
	bn_sweep_gone += table_change(&opposite, TABLE_FREE, 0, s->pkt.now) >= 0;
	return 1;
}

static __always_inline void sweep_add(const struct bn_flow_hot *f)
{
	struct bn_flow_sums *sums = &bn_sweep_sums;

	sums->live++;
	if (f->action == BN_ACT_DROP) {
		sums->refused++;
		return;
	}
	if (!(f->flags & BN_FLOW_COUNTED)) {
		sums->packets += f->packets;
		sums->bytes += f->bytes;
	}
	if (!(f->flags & BN_FLOW_ORIGIN))
		return;
	if (f->state & BN_FS_ESTABLISHED && !(f->state & BN_FS_CLOSING))
		sums->established++;
	else
		sums->transient++;
	if (!(f->flags & BN_FLOW_NAT))
		return;
	if (f->flags & BN_FLOW_HAIRPIN || (f->flags & BN_FLOW_MASQ && f->flags & BN_FLOW_SERVICE))
		sums->both++;
	else if (f->flags & BN_FLOW_MASQ)
		sums->snat++;
	else
		sums->dnat++;
}

BN_GLOBAL int sweep_set(__u32 index)
{
	struct bn_flow_set *set = table_set(index);
	__u32 way, now = bn_now();

	if (!set)
		return 0;
	for (way = 0; way < BN_WAYS; way++) {
		if (!set->tag[way])
			continue;
		if (sweep_over(set, way, now)) {
			if (bn_sweep_remove)
				sweep_entry(index, way);
			continue;
		}
		sweep_add(&set->entry[way].flow);
		/* transient all the same (flow_promote_direct()): who needs a place asks no further */
		if (bn_sweep_remove && bn_expired(set->expires[way], now))
			set->expires[way] = table_deadline(&set->entry[way]);
	}
	return 0;
}

SEC("tc")
int bn_sweep(struct __sk_buff *skb)
{
	__u32 i, from = bn_sweep_next;

	for (i = 0; i < SWEEP_SETS; i++)
		sweep_set(from + i);
	bn_sweep_next = from + SWEEP_SETS;
	return 0;
}

/* Puts bn_adopt_entry in unless its key is there already. */
SEC("tc")
int bn_adopt(struct __sk_buff *skb)
{
	struct bn_scratch *s = bn_scratch_get();
	struct bn_place place;

	if (!s)
		return 0;
	s->placed_set = ~0u;
	s->pkt.tuple = bn_adopt_entry.key;
	s->pkt.now = bn_now();
	s->fwd.hot = bn_adopt_entry.flow;
	s->fwd.cold = bn_adopt_cold;
	table_find(s, BN_THIS, s->pkt.now, &place);
	if (place.set || table_insert(s, BN_THIS, bn_adopt_left, false) || !bn_adopt_established)
		return 0;
	table_find(s, BN_THIS, s->pkt.now, &place);
	table_change(&place, TABLE_ESTABLISH, 0, s->pkt.now + bn_adopt_left);
	return 0;
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
