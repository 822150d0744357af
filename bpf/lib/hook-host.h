/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * The programs on the pair of devices by which the node's own packets to services go: on the
 * egress of the node's end, which knows what is locally generated, and on the ingress of the far
 * end, where packets are decided as a pod's are. And on the loopback's, by which the node's packets to
 * addresses of its own go: some of these are a service's.
 */
#pragma once

#include "lib/fast.h"
#include "lib/slow.h"

static __noinline int slow_from_host(struct __sk_buff *skb, const struct bn_looked *looked)
{
	struct bn_scratch *s = bn_scratch_get();
	int r;

	if (!s || !looked)
		return TC_ACT_SHOT;
	slow_begin(skb, s, BN_HOOK_FROM_HOST, looked);
	if (skb->protocol == bpf_htons(ETH_P_ARP))
		return bn_drop_quiet(s, BN_DROP_NEIGHBOUR);
	r = slow_parse(skb, looked);
	if (r)
		return bn_drop(r);
	/* what every kernel says to a link of its own */
	if (s->pkt.flags & BN_PKT_ND)
		return bn_drop_quiet(s, BN_DROP_NEIGHBOUR);
	r = endpoint_check_destination(&s->pkt.tuple);
	if (r)
		return bn_drop_quiet(s, r);
	/* a socket that is bound to the loopback: its answers would find no way back */
	if (outside_martian(&s->pkt.tuple))
		return bn_drop(BN_DROP_MARTIAN_SOURCE);
	party_of_address(&s->src, &s->pkt.tuple.saddr);
	if (s->src.kind != BN_ADDR_HOST)
		return bn_drop(BN_DROP_SPOOFED_SOURCE);
	return slow_packet(skb, s);
}

static __always_inline int from_host(struct __sk_buff *skb)
{
	struct bn_looked looked;
	int r = fast_path(skb, BN_HOOK_FROM_HOST, &looked);

	return r != BN_SLOW ? r : slow_from_host(skb, &looked);
}

/* What other devices sent is none of the node's own, whatever address it claims. */
static __noinline int slow_host_egress(struct __sk_buff *skb)
{
	struct bn_scratch *s = bn_scratch_get();
	const struct bn_looked looked = {};

	if (!s)
		return TC_ACT_SHOT;
	slow_begin(skb, s, BN_HOOK_FROM_HOST, &looked);
	bn_parse(skb);
	return bn_drop(BN_DROP_NOT_LOCAL);
}

static __always_inline int host_egress(struct __sk_buff *skb)
{
	return skb->ingress_ifindex ? slow_host_egress(skb) : TC_ACT_UNSPEC;
}

/* To 127.0.0.0/8 and ::1, which is left alone before anything is asked; as is what is no IP. */
static __always_inline bool loopback_only(struct __sk_buff *skb)
{
	void *data = (void *)(long)skb->data, *end = (void *)(long)skb->data_end;

	if (skb->protocol == bpf_htons(ETH_P_IP)) {
		struct iphdr *ip = data + ETH_HLEN;

		if ((void *)(ip + 1) > end)
			return true;
		return (ip->daddr & bpf_htonl(0xff000000)) == bpf_htonl(LOOPBACK_NET << 24);
	}
	if (skb->protocol == bpf_htons(ETH_P_IPV6)) {
		struct ipv6hdr *ip = data + ETH_HLEN;
		const __be32 *d = ip->daddr.in6_u.u6_addr32;

		if ((void *)(ip + 1) > end)
			return true;
		return !d[0] && !d[1] && !d[2] && d[3] == bpf_htonl(1);
	}
	return true;
}

/* Whether an address of the node has a frontend on the packet's port. */
static __always_inline bool loopback_service(struct bn_scratch *s)
{
	const struct bn_tuple *t = &s->pkt.tuple;
	struct bn_service_entry *e;
	struct bn_address *a;
	union bn_addr any = {};

	e = service_entry(&t->daddr, t->dport, t->protocol);
	if (e)
		return true;
	a = bpf_map_lookup_elem(&bn_addresses, &t->daddr);
	if (!a || a->kind != BN_ADDR_HOST)
		return false;
	if (t->family == BN_IPV4)
		bn_addr_set_v4(&any, 0);
	e = service_entry(&any, t->dport, t->protocol);
	return e && (e->value.kind != BN_FRONTEND_NODE_PORT || a->flags & BN_HOST_NODE_PORTS);
}

/*
 * Whether the packet belongs to a flow of a service, or begins one. What is broken does not, nor what
 * comes from an address to which no answer would find its way.
 */
BN_GLOBAL int loopback_is_ours(struct __sk_buff *skb)
{
	const struct bn_looked nothing = {};
	struct bn_scratch *s = bn_scratch_get();
	__u32 which = BN_THIS, peer = host_peer_ifindex();
	struct bn_quoted q = {};
	struct bn_place place;
	struct bn_flow_hot *f;

	if (!s || !peer)
		return 0;
	slow_begin(skb, s, BN_HOOK_FROM_HOST, &nothing);
	if (bn_parse(skb) || outside_martian(&s->pkt.tuple))
		return 0;
	/* a connection's first packet: a flow that its port had before may be of a service that is gone */
	if (s->pkt.tuple.protocol == IPPROTO_TCP &&
	    (s->pkt.tcp_flags & (TCP_SYN | TCP_ACK)) == TCP_SYN)
		return loopback_service(s);
	if (s->pkt.flags & BN_PKT_ICMP_ERROR) {
		if (icmp_error_parse(skb, s, &q))
			return 0;
		bn_tuple_reverse(&s->peer, &s->inner);
		which = BN_OPPOSITE;
	} else if (s->pkt.flags & (BN_PKT_FRAG_FIRST | BN_PKT_FRAG_LATER) && frag_ports()) {
		return 0;
	}
	table_find(s, which, s->pkt.now, &place);
	f = table_flow(&place);
	if (f)
		return f->in_ifindex == peer;
	return which == BN_THIS && s->pkt.tuple.protocol != IPPROTO_TCP &&
	       decide_has_ports(s->pkt.tuple.protocol) && loopback_service(s);
}

/*
 * What the node sends to itself, on its way back in. A service's packets go on at the far end as
 * if the pair had brought them; all others as if nobody had looked.
 */
static __always_inline int from_loopback(struct __sk_buff *skb)
{
	const __u8 mac[6] = BN_HOST_MAC;

	if (loopback_only(skb) || !loopback_is_ours(skb) ||
	    bpf_skb_store_bytes(skb, 0, mac, sizeof(mac), 0))
		return TC_ACT_UNSPEC;
	return bpf_redirect(host_peer_ifindex(), BPF_F_INGRESS);
}
