/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * ARP (RFC 826) and neighbour discovery (RFC 4861) of pods. Whatever a pod asks for, the answer is
 * the host side's MAC, so a default route is all that a pod needs. A pod that asks about its own
 * address (duplicate detection) or announces one gets no answer.
 */
#pragma once

#include "lib/csum.h"
#include "lib/endpoint.h"

struct bn_arp {
	__be16 hrd, pro;
	__u8 hln, pln;
	__be16 op;
	__u8 sha[6];
	__u8 spa[4];
	__u8 tha[6];
	__u8 tpa[4];
} __attribute__((packed));

BN_GLOBAL int neigh_arp(struct __sk_buff *skb)
{
	struct bn_scratch *s = bn_scratch_get();
	const __u8 host[6] = BN_HOST_MAC;
	struct bn_endpoint *ep;
	struct ethhdr eth __attribute__((aligned(4)));
	struct bn_arp arp;
	__u32 ifindex = skb->ifindex;
	__be32 spa, tpa;

	if (!s)
		return TC_ACT_SHOT;
	if (bpf_skb_load_bytes(skb, 0, &eth, sizeof(eth)) ||
	    bpf_skb_load_bytes(skb, ETH_HLEN, &arp, sizeof(arp)) || arp.hrd != bpf_htons(1) ||
	    arp.pro != bpf_htons(ETH_P_IP) || arp.hln != 6 || arp.pln != 4)
		return bn_drop(BN_DROP_MALFORMED_HEADER);
	ep = bpf_map_lookup_elem(&bn_endpoints, &ifindex);
	if (!ep)
		return bn_drop(BN_DROP_UNKNOWN_ENDPOINT);
	if (!mac_is_pods(&eth, ifindex) || __builtin_memcmp(arp.sha, eth.h_source, 6))
		return bn_drop(BN_DROP_SPOOFED_MAC);
	__builtin_memcpy(&spa, arp.spa, 4);
	__builtin_memcpy(&tpa, arp.tpa, 4);
	if (arp.op != bpf_htons(1) || spa == tpa || tpa == ep->v4.w[3])
		return bn_drop_quiet(s, BN_DROP_NEIGHBOUR);
	if (spa && spa != ep->v4.w[3])
		return bn_drop(BN_DROP_SPOOFED_SOURCE);
	arp.op = bpf_htons(2);
	__builtin_memcpy(arp.tha, arp.sha, 6);
	__builtin_memcpy(arp.sha, host, 6);
	__builtin_memcpy(arp.spa, &tpa, 4);
	__builtin_memcpy(arp.tpa, &spa, 4);
	__builtin_memcpy(eth.h_dest, eth.h_source, 6);
	__builtin_memcpy(eth.h_source, host, 6);
	if (bpf_skb_store_bytes(skb, 0, &eth, sizeof(eth), 0) ||
	    bpf_skb_store_bytes(skb, ETH_HLEN, &arp, sizeof(arp), BPF_F_RECOMPUTE_CSUM))
		return bn_drop(BN_DROP_CHECKSUM_UPDATE);
	bpf_skb_change_type(skb, PACKET_HOST);
	return bpf_redirect_peer(ifindex, 0);
}

struct bn_nd {
	struct ipv6hdr ip;
	__u8 type, code;
	__u16 check;
	__u32 flags;
	union bn_addr target;
	__u8 option, option_len;
	__u8 lladdr[6];
} __attribute__((packed));

#define BN_ND_LEN (sizeof(struct bn_nd))

/* Neighbour discovery and MLD from a pod; the caller has parsed it. */
BN_GLOBAL int neigh_discovery(struct __sk_buff *skb)
{
	struct bn_scratch *s = bn_scratch_get();
	const __u8 host[6] = BN_HOST_MAC;
	struct bn_endpoint *ep;
	struct ethhdr eth __attribute__((aligned(4)));
	struct bn_nd *nd;
	__u32 ifindex = skb->ifindex;
	__s64 sum;

	if (!s)
		return TC_ACT_SHOT;
	if (s->pkt.icmp_type != NDISC_NEIGHBOUR_SOLICITATION)
		return bn_drop_quiet(s, BN_DROP_NEIGHBOUR);
	nd = (struct bn_nd *)s->quote;
	if (s->pkt.l4_off != ETH_HLEN + sizeof(struct ipv6hdr) || s->pkt.ttl != 255 ||
	    bpf_skb_load_bytes(skb, 0, &eth, sizeof(eth)) ||
	    bpf_skb_load_bytes(skb, ETH_HLEN, nd, BN_ND_LEN - 8))
		return bn_drop(BN_DROP_MALFORMED_HEADER);
	ep = bpf_map_lookup_elem(&bn_endpoints, &ifindex);
	if (!ep)
		return bn_drop(BN_DROP_UNKNOWN_ENDPOINT);
	if (!mac_is_pods(&eth, ifindex))
		return bn_drop(BN_DROP_SPOOFED_MAC);
	if (bn_addr_zero(&s->pkt.tuple.saddr)) /* duplicate address detection: nobody objects */
		return bn_drop_quiet(s, BN_DROP_NEIGHBOUR);
	if (!endpoint_owns(ep, &s->pkt.tuple.saddr, BN_IPV6) &&
	    !(s->pkt.tuple.saddr.b[0] == 0xfe && s->pkt.tuple.saddr.b[1] == 0x80 &&
	      !bn_addr_equal(&s->pkt.tuple.saddr, (const void *)&bn_config.gateway6)))
		return bn_drop(BN_DROP_SPOOFED_SOURCE);
	if (endpoint_owns(ep, &nd->target, BN_IPV6) || nd->target.b[0] == 0xff)
		return bn_drop_quiet(s, BN_DROP_NEIGHBOUR);

	/* The answer: the target's address from the host side's MAC, solicited, override. */
	__builtin_memcpy(&nd->ip.daddr, &s->pkt.tuple.saddr, 16);
	__builtin_memcpy(&nd->ip.saddr, &nd->target, 16);
	nd->ip.payload_len = bpf_htons(BN_ND_LEN - sizeof(struct ipv6hdr));
	nd->type = NDISC_NEIGHBOUR_ADVERTISEMENT;
	nd->code = 0;
	nd->check = 0;
	nd->flags = bpf_htonl(0xe0000000); /* router, solicited, override */
	nd->option = 2;                    /* target link-layer address */
	nd->option_len = 1;
	__builtin_memcpy(nd->lladdr, host, 6);
	/* pseudo header: addresses, length, next header */
	sum = bpf_csum_diff(NULL, 0, (__be32 *)&nd->ip.saddr, BN_ND_LEN - 8,
			    bpf_htonl(BN_ND_LEN - sizeof(struct ipv6hdr)));
	sum = (sum & 0xffffffff) + bpf_htonl(IPPROTO_ICMPV6);
	nd->check = ~csum_fold16(sum);
	__builtin_memcpy(eth.h_dest, eth.h_source, 6);
	__builtin_memcpy(eth.h_source, host, 6);
	if (bpf_skb_change_tail(skb, ETH_HLEN + BN_ND_LEN, 0) ||
	    bpf_skb_store_bytes(skb, 0, &eth, sizeof(eth), 0) ||
	    bpf_skb_store_bytes(skb, ETH_HLEN, nd, BN_ND_LEN, BPF_F_RECOMPUTE_CSUM))
		return bn_drop(BN_DROP_CHECKSUM_UPDATE);
	bpf_skb_change_type(skb, PACKET_HOST);
	return bpf_redirect_peer(ifindex, 0);
}
