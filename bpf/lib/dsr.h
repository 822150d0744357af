/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * Direct server return (maps/bpfnet/dsr.h): what says it is put into a packet on the node that the
 * client asked, and taken out of it on the backend's node, before that decides anything.
 *
 * Who sends such a packet makes a pod here answer from another address, so it is believed only what
 * the services say too: the frontend is theirs, no address of this node, the client may use it, and
 * the pod is one of its backends.
 */
#pragma once

#include "lib/endpoint.h"
#include "lib/flow.h"
#include "lib/pick.h"
#include "lib/rewrite.h"
#include <bpfnet/dsr.h>

/* How much longer a packet becomes. */
static __always_inline __u32 dsr_bytes(__u8 family)
{
	return family == BN_IPV4 ? sizeof(struct bn_dsr4) : sizeof(struct bn_dsr6);
}

/*
 * Whether a flow from outside to a backend elsewhere, chosen and routed, is to be answered past this
 * node: a pod's, whose node has these programs. An IPv4 header that is full of options has no room for
 * it, and an IPv6 header of options hop by hop has to be the first (RFC 8200 4.1).
 */
static __always_inline bool dsr_wanted(struct __sk_buff *skb, const struct bn_scratch *s)
{
	const __u32 feature = s->pkt.tuple.protocol == IPPROTO_UDP ? BN_FEATURE_DSR_UDP
								   : BN_FEATURE_DSR_TCP;

	__u8 next;

	if (!(bn_config.features & feature) || s->pkt.hook != BN_HOOK_FROM_UPLINK ||
	    (s->dst.kind && s->dst.kind != BN_ADDR_REMOTE_POD) ||
	    !(range_flags(&s->fwd.to_daddr) & BN_RANGE_POD))
		return false;
	if (s->pkt.tuple.family == BN_IPV4)
		return s->pkt.l4_off + sizeof(struct bn_dsr4) <= ETH_HLEN + 60;
	return !bpf_skb_load_bytes(skb, ETH_HLEN + 6, &next, 1) && next != NEXTHDR_HOP;
}

/* `by` bytes more or less behind the IPv4 header, which add `sum` to its checksum's. 0 or the reason. */
static __always_inline int dsr_resize4(struct __sk_buff *skb, const __s32 by, __u64 sum)
{
	struct iphdr ip;
	__u16 first, len;

	if (bpf_skb_adjust_room(skb, by, BPF_ADJ_ROOM_NET, BPF_F_ADJ_ROOM_FIXED_GSO) ||
	    bpf_skb_load_bytes(skb, ETH_HLEN, &ip, sizeof(ip)))
		return BN_DROP_CHECKSUM_UPDATE;
	first = *(__u16 *)&ip;
	len = ip.tot_len;
	ip.ihl += by / 4;
	ip.tot_len = bpf_htons(bpf_ntohs(len) + by);
	sum += csum_u16_delta(first, *(__u16 *)&ip) + csum_u16_delta(len, ip.tot_len);
	ip.check = csum_apply(ip.check, csum_fold16(sum));
	if (bpf_skb_store_bytes(skb, ETH_HLEN, &ip, sizeof(ip), BPF_F_RECOMPUTE_CSUM))
		return BN_DROP_CHECKSUM_UPDATE;
	return 0;
}

/* The same behind the IPv6 header, which `next` follows then. */
static __always_inline int dsr_resize6(struct __sk_buff *skb, const __s32 by, __u8 next)
{
	struct ipv6hdr ip;

	if (bpf_skb_adjust_room(skb, by, BPF_ADJ_ROOM_NET, BPF_F_ADJ_ROOM_FIXED_GSO) ||
	    bpf_skb_load_bytes(skb, ETH_HLEN, &ip, 8))
		return BN_DROP_CHECKSUM_UPDATE;
	ip.nexthdr = next;
	ip.payload_len = bpf_htons(bpf_ntohs(ip.payload_len) + by);
	if (bpf_skb_store_bytes(skb, ETH_HLEN, &ip, 8, BPF_F_RECOMPUTE_CSUM))
		return BN_DROP_CHECKSUM_UPDATE;
	return 0;
}

/* Behind the network header, of the packet in hand, whose NAT is done. 0 or the reason. */
static __always_inline int dsr_put4(struct __sk_buff *skb, const struct bn_scratch *s)
{
	struct bn_dsr4 o = {
		.type = BN_DSR_OPTION4,
		.len = sizeof(o),
		.port = s->pkt.tuple.dport,
		.addr = s->pkt.tuple.daddr.w[3],
	};

	if (s->pkt.l4_off + sizeof(o) > ETH_HLEN + 60 ||
	    dsr_resize4(skb, sizeof(o),
			bpf_csum_diff(NULL, 0, (__be32 *)&o, sizeof(o), 0) & 0xffffffff) ||
	    bpf_skb_store_bytes(skb, ETH_HLEN + sizeof(struct iphdr), &o, sizeof(o),
				BPF_F_RECOMPUTE_CSUM))
		return BN_DROP_CHECKSUM_UPDATE;
	return 0;
}

static __always_inline int dsr_put6(struct __sk_buff *skb, const struct bn_scratch *s)
{
	struct bn_dsr6 o = {
		.hdrlen = sizeof(o) / 8 - 1,
		.type = BN_DSR_OPTION6,
		.len = sizeof(o) - 4,
		.port = s->pkt.tuple.dport,
	};

	__builtin_memcpy(o.addr, &s->pkt.tuple.daddr, sizeof(o.addr));
	if (bpf_skb_load_bytes(skb, ETH_HLEN + 6, &o.next, 1))
		return BN_DROP_CHECKSUM_UPDATE;
	if (o.next == NEXTHDR_HOP)
		return BN_DROP_EXTENSION_HEADERS;
	if (dsr_resize6(skb, sizeof(o), NEXTHDR_DEST) ||
	    bpf_skb_store_bytes(skb, ETH_HLEN + sizeof(struct ipv6hdr), &o, sizeof(o),
				BPF_F_RECOMPUTE_CSUM))
		return BN_DROP_CHECKSUM_UPDATE;
	return 0;
}

BN_GLOBAL int dsr_put(struct __sk_buff *skb)
{
	struct bn_scratch *s = bn_scratch_get();

	if (!s)
		return BN_DROP_INTERNAL;
	return s->pkt.tuple.family == BN_IPV4 ? dsr_put4(skb, s) : dsr_put6(skb, s);
}

/* Taken out: what the parser found lies so much closer. */
static __always_inline void dsr_taken(struct bn_packet *p, __u32 bytes)
{
	p->l4_off -= bytes;
	p->len -= bytes;
	p->flags |= BN_PKT_DSR;
}

static __always_inline int dsr_take4(struct __sk_buff *skb, struct bn_scratch *s)
{
	struct bn_dsr4 o;
	int r;

	if (s->pkt.l4_off < ETH_HLEN + sizeof(struct iphdr) + sizeof(o) ||
	    bpf_skb_load_bytes(skb, ETH_HLEN + sizeof(struct iphdr), &o, sizeof(o)) ||
	    o.type != BN_DSR_OPTION4 || o.len != sizeof(o))
		return 0;
	bn_addr_set_v4(&s->frontend, o.addr);
	s->frontend_port = o.port;
	r = dsr_resize4(skb, -(__s32)sizeof(o),
			bpf_csum_diff((__be32 *)&o, sizeof(o), NULL, 0, 0) & 0xffffffff);
	if (!r)
		dsr_taken(&s->pkt, sizeof(o));
	return r;
}

static __always_inline int dsr_take6(struct __sk_buff *skb, struct bn_scratch *s)
{
	struct bn_dsr6 o;
	__u8 next;
	int r;

	if (s->pkt.l4_off < ETH_HLEN + sizeof(struct ipv6hdr) + sizeof(o) ||
	    bpf_skb_load_bytes(skb, ETH_HLEN + 6, &next, 1) || next != NEXTHDR_DEST ||
	    bpf_skb_load_bytes(skb, ETH_HLEN + sizeof(struct ipv6hdr), &o, sizeof(o)) ||
	    o.hdrlen != sizeof(o) / 8 - 1 || o.type != BN_DSR_OPTION6 || o.len != sizeof(o) - 4 ||
	    o.reserved)
		return 0;
	__builtin_memcpy(&s->frontend, o.addr, sizeof(o.addr));
	s->frontend_port = o.port;
	if (bn_addr_is_v4(&s->frontend))
		return BN_DROP_MAPPED_ADDRESS;
	r = dsr_resize6(skb, -(__s32)sizeof(o), o.next);
	if (!r)
		dsr_taken(&s->pkt, sizeof(o));
	return r;
}

/*
 * What another node has put into the packet in hand, if it has, is taken out of it: BN_PKT_DSR, and the
 * frontend is s->frontend. 0 or the reason.
 */
BN_GLOBAL int dsr_take(struct __sk_buff *skb)
{
	struct bn_scratch *s = bn_scratch_get();

	if (!s)
		return BN_DROP_INTERNAL;
	return s->pkt.tuple.family == BN_IPV4 ? dsr_take4(skb, s) : dsr_take6(skb, s);
}

/* Whether the pod in s->pkt.tuple may answer from s->frontend: 0 with s->ask.id, or the reason. */
BN_GLOBAL int dsr_accept(void)
{
	struct bn_source_key key = {.prefixlen = BN_SOURCE_WHOLE};
	struct bn_scratch *s = bn_scratch_get();
	int r;

	if (!s)
		return BN_DROP_INTERNAL;
	pick_ask(s);
	s->ask.addr = s->frontend;
	s->ask.port = s->frontend_port;
	r = pick_name();
	if (!s->ask.id) {
		party_of_address(&s->leaves_as, &s->frontend);
		if (s->leaves_as.kind != BN_ADDR_REMOTE_NODE)
			return BN_DROP_DSR_FRONTEND;
		service_any(&s->ask.addr, s->pkt.tuple.family);
		r = pick_name();
		if (!s->ask.id || s->ask.kind != BN_FRONTEND_NODE_PORT)
			return BN_DROP_DSR_FRONTEND;
	} else if (s->ask.kind == BN_FRONTEND_NODE_PORT || s->ask.kind == BN_FRONTEND_HOST_PORT) {
		return BN_DROP_DSR_FRONTEND;
	}
	if (r)
		return r;
	key.service = s->ask.id | BN_SOURCE_ANSWERS;
	__builtin_memcpy(key.addr, &s->pkt.tuple.daddr, sizeof(key.addr));
	key.port = s->pkt.tuple.dport;
	key.protocol = s->pkt.tuple.protocol;
	return bpf_map_lookup_elem(&bn_sources, &key) ? 0 : BN_DROP_DSR_FRONTEND;
}

/*
 * The packet in hand, of a flow that the pod answers from another node's frontend, becomes what the
 * client sent: for an error that quotes it. 0, also where it is no such flow's, or the reason.
 */
BN_GLOBAL int dsr_as_sent(struct __sk_buff *skb)
{
	struct bn_scratch *s = bn_scratch_get();
	const struct bn_flow_hot *f;
	struct bn_place place;

	if (!s)
		return BN_DROP_INTERNAL;
	flow_peer_key(&s->peer, &s->pkt.tuple, &s->fwd);
	f = flow_peer(s, &place);
	if (!f || !flow_is_answered_directly(f))
		return 0;
	s->fwd.to_daddr = f->to_saddr;
	s->fwd.to_dport = f->to_sport;
	s->fwd.flags |= BN_FLOW_NAT;
	nat_prepare(&s->fwd.hot, &s->pkt.tuple);
	s->pkt.tuple.daddr = s->fwd.to_daddr;
	s->pkt.tuple.dport = s->fwd.to_dport;
	return nat_rewrite(skb, 0);
}
