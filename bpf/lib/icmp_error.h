/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * ICMP errors through NAT (RFC 5508): the packet that an error quotes names the flow it is about.
 * Both the error and the quote are translated to what the flow's other end knows, so path-MTU
 * discovery, traceroute and ECONNREFUSED work through services. An error about no known flow is
 * dropped.
 *
 * The quoted tuple, reversed, is the key of the direction that the error travels in.
 */
#pragma once

#include "lib/flow.h"
#include "lib/nat.h"

struct bn_quoted {
	__u32 l3_off;
	__u32 l4_off;
	__u32 l4_len; /* of what is quoted */
};

/* Reads the quoted headers into s->inner. Returns 0 or the reason. */
static __always_inline int icmp_error_parse(struct __sk_buff *skb, struct bn_scratch *s,
					    struct bn_quoted *q)
{
	struct bn_tuple *t = &s->inner;
	__u8 l4[8], protocol;
	__u32 end = ETH_HLEN + s->pkt.len;

	__builtin_memset(t, 0, sizeof(*t));
	q->l3_off = s->pkt.l4_off + 8;
	t->family = s->pkt.tuple.family;
	if (t->family == BN_IPV4) {
		struct iphdr ip;

		if (bpf_skb_load_bytes(skb, q->l3_off, &ip, sizeof(ip)) || ip.version != 4 ||
		    ip.ihl < 5 || ip.frag_off & bpf_htons(IP_OFFSET))
			return BN_DROP_ICMP_UNRELATED;
		protocol = ip.protocol;
		bn_addr_set_v4(&t->saddr, ip.saddr);
		bn_addr_set_v4(&t->daddr, ip.daddr);
		q->l4_off = q->l3_off + ip.ihl * 4;
	} else {
		struct ipv6hdr ip;

		if (bpf_skb_load_bytes(skb, q->l3_off, &ip, sizeof(ip)) || ip.version != 6)
			return BN_DROP_ICMP_UNRELATED;
		protocol = ip.nexthdr;
		__builtin_memcpy(&t->saddr, &ip.saddr, 16);
		__builtin_memcpy(&t->daddr, &ip.daddr, 16);
		q->l4_off = q->l3_off + sizeof(ip);
		if (protocol == NEXTHDR_FRAGMENT) {
			if (bpf_skb_load_bytes(skb, q->l4_off, l4, 8) || l4[2] || l4[3] & 0xf8)
				return BN_DROP_ICMP_UNRELATED;
			protocol = l4[0];
			q->l4_off += 8;
		}
	}
	t->protocol = protocol;
	if (q->l4_off + 8 > end || bpf_skb_load_bytes(skb, q->l4_off, l4, sizeof(l4)))
		return BN_DROP_ICMP_UNRELATED;
	q->l4_len = end - q->l4_off;
	if (protocol == IPPROTO_TCP || protocol == IPPROTO_UDP || protocol == IPPROTO_SCTP) {
		__builtin_memcpy(&t->sport, l4, 2);
		__builtin_memcpy(&t->dport, l4 + 2, 2);
	} else if ((protocol == IPPROTO_ICMP && l4[0] == ICMP_ECHO) ||
		   (protocol == IPPROTO_ICMPV6 && l4[0] == ICMPV6_ECHO_REQUEST)) {
		__builtin_memcpy(&t->sport, l4 + 4, 2);
	} else if ((protocol == IPPROTO_ICMP && l4[0] == ICMP_ECHOREPLY) ||
		   (protocol == IPPROTO_ICMPV6 && l4[0] == ICMPV6_ECHO_REPLY)) {
		__builtin_memcpy(&t->dport, l4 + 4, 2);
	} else if (protocol == IPPROTO_ICMP || protocol == IPPROTO_ICMPV6) {
		return BN_DROP_ICMP_UNRELATED; /* never an error about an error */
	}
	return 0;
}

/* Rewrites the quote from s->inner to s->inner_to; adds to *delta what the ICMP checksum sees. */
static __always_inline int icmp_error_quote(struct __sk_buff *skb, struct bn_scratch *s,
					    const struct bn_quoted *q, __u64 *delta)
{
	const struct bn_tuple *from = &s->inner, *to = &s->inner_to;
	__u64 addr = csum_addr_delta(&from->saddr, &to->saddr) +
		     csum_addr_delta(&from->daddr, &to->daddr);
	__u64 ports =
		csum_u16_delta(from->sport, to->sport) + csum_u16_delta(from->dport, to->dport);
	__u32 check_off = 0;
	__u16 check;

	if (from->family == BN_IPV4) {
		struct iphdr ip;

		if (bpf_skb_load_bytes(skb, q->l3_off, &ip, sizeof(ip)))
			return BN_DROP_CHECKSUM_UPDATE;
		ip.saddr = to->saddr.w[3];
		ip.daddr = to->daddr.w[3];
		ip.check = csum_apply(ip.check, csum_fold16(addr));
		/* an IPv4 header sums to a constant: nothing for the ICMP checksum to see */
		if (bpf_skb_store_bytes(skb, q->l3_off, &ip, sizeof(ip), BPF_F_RECOMPUTE_CSUM))
			return BN_DROP_CHECKSUM_UPDATE;
	} else {
		if (bpf_skb_store_bytes(skb, q->l3_off + 8, &to->saddr, 16, BPF_F_RECOMPUTE_CSUM) ||
		    bpf_skb_store_bytes(skb, q->l3_off + 24, &to->daddr, 16, BPF_F_RECOMPUTE_CSUM))
			return BN_DROP_CHECKSUM_UPDATE;
		*delta += addr;
	}
	*delta += ports;
	switch (from->protocol) {
	case IPPROTO_TCP:
		check_off = BN_CHECK_TCP;
		break;
	case IPPROTO_UDP:
		check_off = BN_CHECK_UDP;
		break;
	case IPPROTO_ICMP:
		check_off = BN_CHECK_ICMP;
		addr = 0;
		break;
	case IPPROTO_ICMPV6:
		check_off = BN_CHECK_ICMP;
		break;
	}
	if (from->protocol == IPPROTO_ICMP || from->protocol == IPPROTO_ICMPV6) {
		__be16 id = to->sport ? to->sport : to->dport;

		if (bpf_skb_store_bytes(skb, q->l4_off + 4, &id, 2, BPF_F_RECOMPUTE_CSUM))
			return BN_DROP_CHECKSUM_UPDATE;
	} else if (bpf_skb_store_bytes(skb, q->l4_off, &to->sport, 2, BPF_F_RECOMPUTE_CSUM) ||
		   bpf_skb_store_bytes(skb, q->l4_off + 2, &to->dport, 2, BPF_F_RECOMPUTE_CSUM)) {
		return BN_DROP_CHECKSUM_UPDATE;
	}
	if (!check_off || q->l4_len < check_off + 2)
		return 0;
	if (bpf_skb_load_bytes(skb, q->l4_off + check_off, &check, 2))
		return BN_DROP_CHECKSUM_UPDATE;
	if (from->protocol == IPPROTO_UDP && !check)
		return 0;
	{
		__u16 mended = csum_apply(check, csum_fold16(addr + ports));

		if (from->protocol == IPPROTO_UDP && !mended)
			mended = 0xffff;
		*delta += csum_u16_delta(check, mended);
		if (bpf_skb_store_bytes(skb, q->l4_off + check_off, &mended, 2,
					BPF_F_RECOMPUTE_CSUM))
			return BN_DROP_CHECKSUM_UPDATE;
	}
	return 0;
}

/*
 * Whether the error comes from where its sender may know of the flow: what a pod or the host sends
 * from the device that the flow's entry names, what others send only where the flow itself comes
 * from none. On its way to a pod it may also be the stack's own.
 */
static __always_inline bool icmp_error_related(const struct __sk_buff *skb,
					       const struct bn_scratch *s)
{
	__u32 in = s->fwd.in_ifindex;

	if (hook_has_device(s->pkt.hook))
		return in == s->pkt.ifindex;
	if (s->pkt.hook == BN_HOOK_TO_POD)
		return !in || !skb->ingress_ifindex || in == skb->ingress_ifindex;
	return !in;
}

/*
 * Finds the flow that the error is about and translates error and quote. On success s->fwd is the
 * flow's entry in the error's direction, its to_* the error's own new addresses, and the packet
 * only needs sending on. Returns 0 or the reason.
 */
BN_GLOBAL int icmp_error_translate(struct __sk_buff *skb)
{
	struct bn_scratch *s = bn_scratch_get();
	const struct bn_flow *f;
	struct bn_quoted q = {};
	struct bn_place place;
	__u64 delta = 0, outer;
	__u16 check;
	int r;

	if (!s)
		return BN_DROP_INTERNAL;
	f = &s->fwd;
	if (s->pkt.flags & (BN_PKT_FRAG_FIRST | BN_PKT_FRAG_LATER))
		return BN_DROP_ICMP_UNRELATED;
	r = icmp_error_parse(skb, s, &q);
	if (r)
		return r;
	bn_tuple_reverse(&s->peer, &s->inner);
	table_find(s, BN_OPPOSITE, s->pkt.now, &place);
	if (!table_copy(&place, &s->fwd))
		return BN_DROP_ICMP_UNRELATED;
	if (f->action == BN_ACT_DROP)
		return BN_DROP_ICMP_UNRELATED;
	if (!icmp_error_related(skb, s))
		return BN_DROP_ICMP_UNRELATED;
	/* The error must be for the end that sent what it quotes. */
	if (!bn_addr_equal(&s->pkt.tuple.daddr, &s->inner.saddr))
		return BN_DROP_ICMP_UNRELATED;
	s->inner_to.saddr = f->to_daddr;
	s->inner_to.daddr = f->to_saddr;
	s->inner_to.sport = f->to_dport;
	s->inner_to.dport = f->to_sport;
	if (f->flags & BN_FLOW_NAT) {
		r = icmp_error_quote(skb, s, &q, &delta);
		if (r)
			return r;
		/* Outer addresses: a router's own stays, the flow's end is shown as its alias. */
		if (!bn_addr_equal(&s->pkt.tuple.saddr, &s->peer.saddr))
			s->fwd.to_saddr = s->pkt.tuple.saddr;
		outer = csum_addr_delta(&s->pkt.tuple.saddr, &s->fwd.to_saddr) +
			csum_addr_delta(&s->pkt.tuple.daddr, &s->fwd.to_daddr);
		s->fwd.l3_delta = csum_fold16(outer);
		if (s->pkt.tuple.family == BN_IPV6)
			delta += outer;
		if (bpf_skb_load_bytes(skb, s->pkt.l4_off + 2, &check, 2))
			return BN_DROP_CHECKSUM_UPDATE;
		check = csum_apply(check, csum_fold16(delta));
		if (bpf_skb_store_bytes(skb, s->pkt.l4_off + 2, &check, 2, BPF_F_RECOMPUTE_CSUM))
			return BN_DROP_CHECKSUM_UPDATE;
		bn_count(BN_CNT_ICMP_TRANSLATED, 1);
	} else {
		s->fwd.to_saddr = s->pkt.tuple.saddr;
		s->fwd.to_daddr = s->pkt.tuple.daddr;
		s->fwd.l3_delta = 0;
	}
	/* what remains is the network header: no ports, no transport checksum */
	s->fwd.flags &= ~BN_FLOW_NAT;
	return 0;
}
