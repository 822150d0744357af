/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * The established path: parse, one lookup, apply. TCP and UDP without options, extension headers
 * or fragments, whose flow stands in the main table and still holds. Everything else returns
 * BN_SLOW with the packet untouched. So does a refused flow's packet, unless all there is to do is
 * to count it: a flood of those should cost no more.
 */
#pragma once

#include "lib/endpoint.h"
#include "lib/epoch.h"
#include "lib/nat.h"
#include "lib/service.h"
#include "lib/transient.h"

#define BN_SLOW (-100)
#define BN_SLOW_LOOKED (-101) /* and the main table doesn't have it */

/* What the parser hands on; pointers are verified for the headers they point to. */
struct bn_fast {
	struct ethhdr *eth;
	void *l3;
	void *l4;
	__u32 l4_off;
	__u8 family;
	__u8 protocol;
	__u8 ttl;
	__u8 l4_hlen;
};

static __always_inline bool fast_parse(struct __sk_buff *skb, struct bn_fast *p, struct bn_tuple *t)
{
	void *data = (void *)(long)skb->data, *end = (void *)(long)skb->data_end;
	__be16 *ports;
	__u32 len;

	p->eth = data;
	p->l3 = data + ETH_HLEN;
	if (p->l3 + sizeof(struct iphdr) + 8 > end)
		return false;
	if (p->eth->h_proto == bpf_htons(ETH_P_IP)) {
		struct iphdr *ip = p->l3;

		if (*(__u8 *)ip != 0x45 || ip->frag_off & bpf_htons(IP_MF | IP_OFFSET))
			return false;
		len = bpf_ntohs(ip->tot_len);
		p->family = BN_IPV4;
		p->protocol = ip->protocol;
		p->ttl = ip->ttl;
		p->l4_off = ETH_HLEN + sizeof(*ip);
		p->l4 = p->l3 + sizeof(*ip);
		bn_addr_set_v4(&t->saddr, ip->saddr);
		bn_addr_set_v4(&t->daddr, ip->daddr);
	} else if (p->eth->h_proto == bpf_htons(ETH_P_IPV6)) {
		struct ipv6hdr *ip = p->l3;

		if (p->l3 + sizeof(*ip) + 8 > end)
			return false;
		len = bpf_ntohs(ip->payload_len) + sizeof(*ip);
		p->family = BN_IPV6;
		p->protocol = ip->nexthdr;
		p->ttl = ip->hop_limit;
		p->l4_off = ETH_HLEN + sizeof(*ip);
		p->l4 = p->l3 + sizeof(*ip);
		__builtin_memcpy(&t->saddr, &ip->saddr, 16);
		__builtin_memcpy(&t->daddr, &ip->daddr, 16);
	} else {
		return false;
	}
	if (p->protocol == IPPROTO_TCP) {
		__u8 *tcp = p->l4;

		if (p->l4 + sizeof(struct tcphdr) > end)
			return false;
		if (tcp[13] & (TCP_FIN | TCP_SYN | TCP_RST))
			return false;
		p->l4_hlen = (tcp[12] >> 4) * 4;
		if (p->l4_hlen < sizeof(struct tcphdr))
			return false;
	} else if (p->protocol == IPPROTO_UDP) {
		p->l4_hlen = sizeof(struct udphdr);
	} else {
		return false;
	}
	/* what lies about its length is for the full parser to name; so is BIG TCP's zero */
	if (len < p->l4_off - ETH_HLEN + p->l4_hlen || len > skb->len - ETH_HLEN)
		return false;
	ports = p->l4;
	t->sport = ports[0];
	t->dport = ports[1];
	t->protocol = p->protocol;
	t->family = p->family;
	t->pad = 0;
	return true;
}

static __always_inline bool fast_fits(struct __sk_buff *skb, const struct bn_fast *p, __u32 len,
				      __u32 mtu)
{
	__u32 gso;

	if (likely(len <= mtu))
		return true;
	gso = skb->gso_size;
	return gso && gso + p->l4_off - ETH_HLEN + p->l4_hlen <= mtu;
}

/* A packet that the main table doesn't know: dropped and counted if its flow stands refused. */
static __always_inline int fast_refused(struct __sk_buff *skb, const struct bn_tuple *t,
					__u32 ifindex, __u32 len, const enum bn_hook hook)
{
	__u32 now = bn_now(), reason;
	const struct bn_epochs *ep = epochs_get();
	struct bn_drop_counter *c;
	struct bn_place place;
	struct bn_flow *f;

	transient_find(t, now, &place);
	f = transient_flow(&place);
	if (!f || f->action != BN_ACT_DROP || !ep)
		return BN_SLOW_LOOKED;
	if (f->in_ifindex != (hook == BN_HOOK_FROM_POD ? ifindex : 0) ||
	    f->epoch != epoch_sum(ep, f->src_slot, f->dst_slot))
		return BN_SLOW_LOOKED;
	reason = f->reason;
	c = bpf_map_lookup_elem(&bn_drops, &reason);
	/* one that is to be reported goes the long way */
	if (!c || now - c->window >= bn_config.hz || c->sent < bn_config.event_rate)
		return BN_SLOW_LOOKED;
	c->packets++;
	c->bytes += len;
	c->suppressed++;
	return TC_ACT_SHOT;
}

static __always_inline int fast_path(struct __sk_buff *skb, const enum bn_hook hook)
{
	const struct bn_epochs *ep;
	__u32 ifindex = skb->ifindex, len = skb->len - ETH_HLEN;
	struct bn_tuple t;
	struct bn_fast p;
	struct bn_flow *f;
	bool hop;

	if (unlikely(!fast_parse(skb, &p, &t)))
		return BN_SLOW;
	f = bpf_map_lookup_elem(&bn_flows, &t);
	if (!f)
		return fast_refused(skb, &t, ifindex, len, hook);
	ep = epochs_get();
	if (!ep || unlikely(f->epoch != epoch_sum(ep, f->src_slot, f->dst_slot)))
		return BN_SLOW;
	if (hook == BN_HOOK_FROM_POD) {
		if (f->in_ifindex != ifindex || !mac_is_pods(p.eth, ifindex))
			return BN_SLOW;
	} else if (f->in_ifindex) {
		return BN_SLOW;
	}
	hop = false;
	if (hook == BN_HOOK_TO_POD) {
		if (f->out_ifindex != ifindex)
			return BN_SLOW;
	} else {
		if (f->action == BN_ACT_PEER || f->action == BN_ACT_NEIGH) {
			hop = true;
			if (p.ttl <= 1 || !fast_fits(skb, &p, len, f->mtu))
				return BN_SLOW;
		} else if (hook == BN_HOOK_FROM_UPLINK) {
			return BN_SLOW;
		}
	}
	if (p.protocol == IPPROTO_UDP && f->flags & BN_FLOW_ORIGIN && !service_backend_current(f))
		return BN_SLOW;

	f->packets++;
	f->bytes += len;
	f->last_seen = bn_now();

	if (hop && f->action == BN_ACT_PEER)
		mac_set(p.eth, f->out_ifindex);
	if (p.family == BN_IPV4)
		nat_network(p.l3, f, BN_IPV4, hop);
	else
		nat_network(p.l3, f, BN_IPV6, hop);
	if (f->flags & BN_FLOW_NAT) {
		__be16 *ports = p.l4;
		__u32 check = p.protocol == IPPROTO_TCP ? BN_CHECK_TCP : BN_CHECK_UDP;

		ports[0] = f->to_sport;
		ports[1] = f->to_dport;
		if (p.protocol == IPPROTO_TCP) {
			if (nat_transport(skb, p.l4 + BN_CHECK_TCP, p.l4_off + check, f, p.family,
					  IPPROTO_TCP))
				return TC_ACT_SHOT;
		} else if (nat_transport(skb, p.l4 + BN_CHECK_UDP, p.l4_off + check, f, p.family,
					 IPPROTO_UDP)) {
			return TC_ACT_SHOT;
		}
	}
	if (hop && p.family == BN_IPV6)
		nat_csum_complete(skb, BN_TTL_STEP6);
	if (!hop)
		return TC_ACT_UNSPEC;
	if (f->action == BN_ACT_PEER)
		return bpf_redirect_peer(f->out_ifindex, 0);
	return bpf_redirect_neigh(f->out_ifindex, NULL, 0, 0);
}
