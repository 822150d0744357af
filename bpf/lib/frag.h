/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * Fragments: the first one leaves its protocol and ports for those that follow in order, and none of
 * those may lie over it.
 */
#pragma once

#include "lib/packet.h"

static __always_inline void frag_key(struct bn_fragment_key *k, const struct bn_packet *p)
{
	k->saddr = p->tuple.saddr;
	k->daddr = p->tuple.daddr;
	k->id = p->frag_id;
	k->protocol = p->tuple.family == BN_IPV4 ? p->tuple.protocol : 0;
	k->family = p->tuple.family;
	k->pad = 0;
}

/* Remembers what a first fragment says, or finds it for a later one. 0 or the reason. */
BN_GLOBAL int frag_ports(void)
{
	struct bn_scratch *s = bn_scratch_get();
	struct bn_fragment_key key;
	struct bn_fragment *f, first = {};

	if (!s)
		return BN_DROP_INTERNAL;
	frag_key(&key, &s->pkt);
	if (s->pkt.flags & BN_PKT_FRAG_FIRST) {
		first.sport = s->pkt.tuple.sport;
		first.dport = s->pkt.tuple.dport;
		first.protocol = s->pkt.tuple.protocol;
		first.end = s->pkt.frag_edge;
		first.seen = s->pkt.now;
		bpf_map_update_elem(&bn_fragments, &key, &first, BPF_ANY);
		return 0;
	}
	f = bpf_map_lookup_elem(&bn_fragments, &key);
	if (!f || s->pkt.now - f->seen > bn_config.life.fragment)
		return BN_DROP_FRAGMENT_UNKNOWN;
	/* RFC 5722; and of IPv4's, what policy has seen is what the receiver puts together */
	if (s->pkt.frag_edge < f->end)
		return BN_DROP_FRAGMENT_OVERLAP;
	s->pkt.tuple.protocol = f->protocol;
	s->pkt.tuple.sport = f->sport;
	s->pkt.tuple.dport = f->dport;
	return 0;
}
