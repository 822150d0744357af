/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* The programs on the host side of every pod's veth: loaded once, attached to each. */
#pragma once

#include "lib/fast.h"
#include "lib/neigh.h"
#include "lib/slow.h"

/* From a pod: who it is, and that it says so. */
static __noinline int slow_from_pod(struct __sk_buff *skb, const struct bn_looked *looked)
{
	struct bn_scratch *s = bn_scratch_get();
	struct bn_endpoint *ep;
	struct ethhdr eth __attribute__((aligned(4)));
	__u32 ifindex = skb->ifindex;
	bool group = false;
	int r;

	if (!s || !looked)
		return TC_ACT_SHOT;
	slow_begin(skb, s, BN_HOOK_FROM_POD, looked);
	if (skb->protocol == bpf_htons(ETH_P_ARP) && !skb->vlan_present)
		return neigh_arp(skb);
	ep = bpf_map_lookup_elem(&bn_endpoints, &ifindex);
	if (!ep)
		return bn_drop(BN_DROP_UNKNOWN_ENDPOINT);
	party_of_endpoint(&s->src, ep, ifindex);
	r = slow_parse(skb, looked);
	if (r)
		return bn_drop(r);
	if (s->pkt.tuple.family == BN_IPV6)
		party_identities6(&s->src, ep);
	if (!(looked->flags & BN_LOOKED_MAC)) {
		if (bpf_skb_load_bytes(skb, 0, &eth, sizeof(eth)) || !mac_is_pods(&eth, ifindex))
			return bn_drop(BN_DROP_SPOOFED_MAC);
		group = eth.h_dest[0] & 1;
	}
	if (s->pkt.flags & BN_PKT_ND)
		return neigh_discovery(skb);
	if (!endpoint_owns(ep, &s->pkt.tuple.saddr, s->pkt.tuple.family)) {
		/* what a pod's kernel says to its link before it has an address */
		if (s->pkt.tuple.family == BN_IPV6 && s->pkt.tuple.daddr.b[0] == 0xff)
			return bn_drop_quiet(s, BN_DROP_MULTICAST);
		return bn_drop(BN_DROP_SPOOFED_SOURCE);
	}
	r = endpoint_check_destination(&s->pkt.tuple);
	if (!r && group)
		r = BN_DROP_MULTICAST;
	if (r)
		return bn_drop(r);
	return slow_packet(skb, s);
}

/* Through the stack to a pod: from this node, another device, or a pod whose packet was large. */
static __noinline int slow_to_pod(struct __sk_buff *skb, const struct bn_looked *looked)
{
	struct bn_scratch *s = bn_scratch_get();
	struct bn_endpoint *ep;
	__u32 ifindex = skb->ifindex;
	int r;

	if (!s || !looked)
		return TC_ACT_SHOT;
	slow_begin(skb, s, BN_HOOK_TO_POD, looked);
	if (skb->protocol == bpf_htons(ETH_P_ARP) && !skb->vlan_present)
		return bn_drop_quiet(s, BN_DROP_NEIGHBOUR);
	ep = bpf_map_lookup_elem(&bn_endpoints, &ifindex);
	if (!ep)
		return bn_drop(BN_DROP_UNKNOWN_ENDPOINT);
	r = slow_parse(skb, looked);
	if (r)
		return bn_drop(r);
	if (s->pkt.flags & BN_PKT_ND ||
	    (s->pkt.tuple.family == BN_IPV6 && s->pkt.tuple.daddr.b[0] == 0xff))
		return bn_drop_quiet(s, BN_DROP_NEIGHBOUR);
	if (!endpoint_owns(ep, &s->pkt.tuple.daddr, s->pkt.tuple.family))
		return bn_drop(BN_DROP_WRONG_DESTINATION);
	party_of_address(&s->src, &s->pkt.tuple.saddr);
	if (!skb->ingress_ifindex) {
		/* locally generated, whatever its address */
		s->src.kind = BN_ADDR_HOST;
		party_identity_set(&s->src, BN_IDENTITY_HOST);
		s->src.slot = BN_SLOT_NONE;
	} else if (s->src.kind == BN_ADDR_HOST ||
		   (s->src.kind == BN_ADDR_LOCAL_POD && s->src.ifindex != skb->ingress_ifindex)) {
		return bn_drop(BN_DROP_UPLINK_SPOOF);
	}
	return slow_packet(skb, s);
}

static __always_inline int from_pod(struct __sk_buff *skb)
{
	struct bn_looked looked;
	int r = fast_path(skb, BN_HOOK_FROM_POD, &looked);

	return r != BN_SLOW ? r : slow_from_pod(skb, &looked);
}

static __always_inline int to_pod(struct __sk_buff *skb)
{
	struct bn_looked looked;
	int r = fast_path(skb, BN_HOOK_TO_POD, &looked);

	return r != BN_SLOW ? r : slow_to_pod(skb, &looked);
}
