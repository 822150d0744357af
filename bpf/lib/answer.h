/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * Answers to a sender whose packet goes no further: a reset for TCP (RFC 9293 3.10.7.1), an ICMP
 * error for the rest (RFC 792, RFC 4443), an echo reply of a service's address. The packet in
 * hand becomes the answer and goes back the way it came. Always before NAT, so that the sender
 * sees its packet quoted as it was sent.
 *
 * A packet with an unfinished checksum (CHECKSUM_PARTIAL) keeps that mark, whatever becomes of it.
 * A pod's stack takes such an answer as it is; on its way out of the node it will still be
 * finished, so the answer must be right after that (answer_finished()). Before 6.2 nobody tells: an
 * answer to a neighbour on the same machine that left its checksum to us comes out wrong there.
 */
#pragma once

#include "lib/csum.h"
#include "lib/host.h"
#include "lib/nat.h"

/* The frame's and the network header's part of an answer, at s->header. */
struct bn_answer4 {
	struct ethhdr eth __attribute__((aligned(4)));
	struct iphdr ip;
	__u8 l4[20];
} __attribute__((packed));

struct bn_answer6 {
	struct ethhdr eth __attribute__((aligned(4)));
	struct ipv6hdr ip;
} __attribute__((packed));

/* Back to the pod, or to whoever passed the packet on to this node. */
static __always_inline void answer_eth(struct __sk_buff *skb, const struct bn_scratch *s,
				       struct ethhdr *eth, __be16 protocol)
{
	if (s->pkt.hook == BN_HOOK_FROM_UPLINK) {
		bpf_skb_load_bytes(skb, 0, eth->h_source, 6);
		bpf_skb_load_bytes(skb, 6, eth->h_dest, 6);
	} else {
		mac_set(eth, s->pkt.hook == BN_HOOK_FROM_HOST ? host_ifindex() : s->pkt.ifindex);
	}
	eth->h_proto = protocol;
}

/* Where the transport header is in a packet without options or extension headers. */
static __always_inline __u32 answer_l4_off(const struct bn_scratch *s)
{
	return ETH_HLEN +
	       (s->pkt.tuple.family == BN_IPV4 ? sizeof(struct iphdr) : sizeof(struct ipv6hdr));
}

/* Whether the checksum of the packet in hand will still be finished on its way out. */
static __always_inline bool answer_partial(struct __sk_buff *skb, const struct bn_scratch *s)
{
	return s->pkt.hook == BN_HOOK_FROM_UPLINK && nat_ip_summed(skb) == CHECKSUM_PARTIAL;
}

static __always_inline void answer_ip4(struct iphdr *ip, const union bn_addr *from,
				       const union bn_addr *to, __u8 protocol, __u32 len)
{
	__builtin_memset(ip, 0, sizeof(*ip));
	ip->version = 4;
	ip->ihl = 5;
	ip->tot_len = bpf_htons(sizeof(*ip) + len);
	ip->frag_off = bpf_htons(IP_DF);
	ip->ttl = 64;
	ip->protocol = protocol;
	ip->saddr = from->w[3];
	ip->daddr = to->w[3];
	ip->check = ~csum_fold16(bpf_csum_diff(NULL, 0, (__be32 *)ip, sizeof(*ip), 0) & 0xffffffff);
}

static __always_inline void answer_ip6(struct ipv6hdr *ip, const union bn_addr *from,
				       const union bn_addr *to, __u8 protocol, __u32 len)
{
	__builtin_memset(ip, 0, sizeof(*ip));
	ip->version = 6;
	ip->payload_len = bpf_htons(len);
	ip->nexthdr = protocol;
	ip->hop_limit = 64;
	__builtin_memcpy(&ip->saddr, from, 16);
	__builtin_memcpy(&ip->daddr, to, 16);
}

static __always_inline __u64 answer_pseudo(const union bn_addr *from, const union bn_addr *to,
					   __u8 family, __u8 protocol, __u32 len)
{
	__u64 sum = bpf_htonl(len) + (__u64)bpf_htonl(protocol);

	sum += (__u64)from->w[3] + to->w[3];
	if (family == BN_IPV6)
		sum += (__u64)from->w[0] + from->w[1] + from->w[2] + to->w[0] + to->w[1] + to->w[2];
	return sum;
}

static __always_inline int answer_send(struct __sk_buff *skb, const struct bn_scratch *s)
{
	bpf_skb_change_type(skb, PACKET_HOST);
	if (s->pkt.hook == BN_HOOK_FROM_UPLINK)
		return bpf_redirect(skb->ifindex, 0);
	if (s->pkt.hook == BN_HOOK_FROM_HOST)
		return bpf_redirect(host_ifindex(), BPF_F_INGRESS);
	return bpf_redirect_peer(skb->ifindex, 0);
}

static __always_inline int answer_reject(struct __sk_buff *skb, const struct bn_scratch *s)
{
	bn_count(BN_CNT_REJECTS, 1);
	return answer_send(skb, s);
}

/* A reset in answer to the TCP segment in hand; a reset itself gets none. */
BN_GLOBAL int answer_reset(struct __sk_buff *skb)
{
	struct bn_scratch *s = bn_scratch_get();
	const union bn_addr *from, *to;
	struct tcphdr th;
	__u32 seq, ack, len, off;
	__u64 sum;
	__u8 flags;

	if (!s || s->pkt.tcp_flags & TCP_RST)
		return TC_ACT_SHOT;
	if (bpf_skb_load_bytes(skb, s->pkt.l4_off, &th, sizeof(th)))
		return TC_ACT_SHOT;
	len = s->pkt.len + ETH_HLEN - s->pkt.l4_off - s->pkt.tcp_hlen;
	len += !!(s->pkt.tcp_flags & TCP_SYN) + !!(s->pkt.tcp_flags & TCP_FIN);
	if (s->pkt.tcp_flags & TCP_ACK) {
		seq = th.ack_seq;
		ack = 0;
		flags = TCP_RST;
	} else {
		seq = 0;
		ack = bpf_htonl(bpf_ntohl(th.seq) + len);
		flags = TCP_RST | TCP_ACK;
	}
	from = &s->pkt.tuple.daddr;
	to = &s->pkt.tuple.saddr;
	__builtin_memset(&th, 0, sizeof(th));
	th.source = s->pkt.tuple.dport;
	th.dest = s->pkt.tuple.sport;
	th.seq = seq;
	th.ack_seq = ack;
	th.doff = 5;
	((__u8 *)&th)[13] = flags;
	sum = answer_pseudo(from, to, s->pkt.tuple.family, IPPROTO_TCP, sizeof(th));
	off = answer_l4_off(s);
	if (!answer_partial(skb, s)) {
		sum += bpf_csum_diff(NULL, 0, (__be32 *)&th, sizeof(th), 0) & 0xffffffff;
		th.check = ~csum_fold16(sum);
	} else if (s->pkt.l4_off == off) {
		th.check = csum_fold16(sum);
	} else {
		return TC_ACT_SHOT; /* it would be finished in another place */
	}
	if (s->pkt.tuple.family == BN_IPV4) {
		struct bn_answer4 *h = (void *)s->header;

		answer_eth(skb, s, &h->eth, bpf_htons(ETH_P_IP));
		answer_ip4(&h->ip, from, to, IPPROTO_TCP, sizeof(th));
		if (bpf_skb_change_tail(skb, off + sizeof(th), 0) ||
		    bpf_skb_store_bytes(skb, 0, h, ETH_HLEN + sizeof(h->ip), BPF_F_INVALIDATE_HASH))
			return TC_ACT_SHOT;
	} else {
		struct bn_answer6 *h = (void *)s->header;

		answer_eth(skb, s, &h->eth, bpf_htons(ETH_P_IPV6));
		answer_ip6(&h->ip, from, to, IPPROTO_TCP, sizeof(th));
		if (bpf_skb_change_tail(skb, off + sizeof(th), 0) ||
		    bpf_skb_store_bytes(skb, 0, h, sizeof(*h), BPF_F_INVALIDATE_HASH))
			return TC_ACT_SHOT;
	}
	if (bpf_skb_store_bytes(skb, off, &th, sizeof(th), 0))
		return TC_ACT_SHOT;
	return answer_reject(skb, s);
}

/* An echo request to a service's address, answered in its place. */
BN_GLOBAL int answer_echo(struct __sk_buff *skb)
{
	struct bn_scratch *s = bn_scratch_get();
	__u8 type = s && s->pkt.tuple.family == BN_IPV4 ? ICMP_ECHOREPLY : ICMPV6_ECHO_REPLY;
	struct ethhdr eth __attribute__((aligned(4)));
	__u16 check, before, after;
	__u8 word[2];

	if (!s || bpf_skb_load_bytes(skb, s->pkt.l4_off, word, 2) ||
	    bpf_skb_load_bytes(skb, s->pkt.l4_off + 2, &check, 2))
		return TC_ACT_SHOT;
	/* addresses trade places, which no sum notices; the type changes */
	__builtin_memcpy(&before, word, 2);
	word[0] = type;
	__builtin_memcpy(&after, word, 2);
	check = csum_apply(check, csum_fold16(csum_u16_delta(before, after)));
	answer_eth(skb, s, &eth, skb->protocol);
	if (bpf_skb_store_bytes(skb, s->pkt.l4_off, word, 2, BPF_F_RECOMPUTE_CSUM) ||
	    bpf_skb_store_bytes(skb, s->pkt.l4_off + 2, &check, 2, BPF_F_RECOMPUTE_CSUM) ||
	    bpf_skb_store_bytes(skb, 0, &eth, sizeof(eth), 0))
		return TC_ACT_SHOT;
	if (s->pkt.tuple.family == BN_IPV4) {
		if (bpf_skb_store_bytes(skb, ETH_HLEN + 12, &s->pkt.tuple.daddr.w[3], 4,
					BPF_F_RECOMPUTE_CSUM) ||
		    bpf_skb_store_bytes(skb, ETH_HLEN + 16, &s->pkt.tuple.saddr.w[3], 4,
					BPF_F_RECOMPUTE_CSUM))
			return TC_ACT_SHOT;
	} else if (bpf_skb_store_bytes(skb, ETH_HLEN + 8, &s->pkt.tuple.daddr, 16,
				       BPF_F_RECOMPUTE_CSUM) ||
		   bpf_skb_store_bytes(skb, ETH_HLEN + 24, &s->pkt.tuple.saddr, 16,
				       BPF_F_RECOMPUTE_CSUM)) {
		return TC_ACT_SHOT;
	}
	return answer_send(skb, s);
}

/* The sum of `len` bytes at s->quote (len <= BN_QUOTE_MAX, padded with zeros to a word). */
BN_GLOBAL __u32 answer_quote_sum(__u32 len)
{
	struct bn_scratch *s = bn_scratch_get();
	__u32 sum = 0, at = 0;
	int i;

	if (!s)
		return 0;
	/* kernels before 6.13 sum at most 512 bytes a call */
#pragma unroll
	for (i = 0; i < 3; i++) {
		__u32 n = len - at;

		if (at >= len)
			break;
		if (n > 512)
			n = 512;
		n = (n + 3) & ~3u;
		bn_opaque(n);
		if (n > (i == 2 ? BN_QUOTE_MAX - 1024 : 512))
			break;
		sum = (__u32)csum_fold16(
			(bpf_csum_diff(NULL, 0, (__be32 *)(s->quote + i * 512), n, 0) &
			 0xffffffff) +
			(__u64)sum);
		at += 512;
	}
	return sum;
}

/*
 * What finishing the checksum of the packet quoted, which sums to `sum` with its IP header, will
 * add to the sum of an ICMP error that quotes it; -1 where that can't be told (options, extension
 * headers, SCTP's CRC32c).
 */
BN_GLOBAL int answer_finished(__u32 sum)
{
	struct bn_scratch *s = bn_scratch_get();
	__u16 before, after;

	if (!s || s->pkt.l4_off != answer_l4_off(s))
		return -1;
	if (s->pkt.tuple.family == BN_IPV4) {
		/* an IPv4 header sums to nothing */
		if (s->pkt.tuple.protocol == IPPROTO_TCP)
			before = *(__u16 *)(s->quote + sizeof(struct iphdr) + BN_CHECK_TCP);
		else if (s->pkt.tuple.protocol == IPPROTO_UDP)
			before = *(__u16 *)(s->quote + sizeof(struct iphdr) + BN_CHECK_UDP);
		else
			return -1;
	} else {
		if (s->pkt.tuple.protocol == IPPROTO_TCP)
			before = *(__u16 *)(s->quote + sizeof(struct ipv6hdr) + BN_CHECK_TCP);
		else if (s->pkt.tuple.protocol == IPPROTO_UDP)
			before = *(__u16 *)(s->quote + sizeof(struct ipv6hdr) + BN_CHECK_UDP);
		else
			return -1;
		sum = csum_fold16((__u64)sum + (bpf_csum_diff((__be32 *)s->quote,
							      sizeof(struct ipv6hdr), NULL, 0, 0) &
						0xffffffff));
	}
	after = ~csum_fold16(sum);
	if (!after)
		after = 0xffff;
	return csum_fold16(csum_u16_delta(before, after));
}

struct bn_icmp_header {
	__u8 type, code;
	__u16 check;
	__be32 info;
};

/* Type and code of an ICMP error of both families, as one number for answer_icmp(). */
#define BN_ICMP(type4, code4, type6, code6) \
	((__u32)(type4) << 24 | (__u32)(code4) << 16 | (__u32)(type6) << 8 | (code6))

/*
 * Turns the packet in hand into an ICMP error that quotes it and sends it back, from s->inner.saddr.
 * `mtu` is the second word's lower half. No error is ever answered with an error, nor a later
 * fragment (RFC 1122 3.2.2).
 */
BN_GLOBAL int answer_icmp(struct __sk_buff *skb, __u32 spec, __u32 mtu)
{
	struct bn_scratch *s = bn_scratch_get();
	struct bn_icmp_header icmp = {};
	const union bn_addr *to, *from;
	__u32 quote, limit, grow, off, last;
	__u64 sum;

	if (!s)
		return TC_ACT_SHOT;
	if (s->pkt.flags & (BN_PKT_FRAG_LATER | BN_PKT_ICMP_ERROR | BN_PKT_ND))
		return TC_ACT_SHOT;
	from = &s->inner.saddr;
	to = &s->pkt.tuple.saddr;
	icmp.info = bpf_htonl(mtu);
	/* RFC 1812 4.3.2.3: at most 576 bytes in all; RFC 4443 2.4: the minimum MTU */
	limit = s->pkt.tuple.family == BN_IPV4 ? 576 - 28 : BN_QUOTE_MAX;
	quote = s->pkt.len;
	if (quote > limit)
		quote = limit;
	/* 5.10 learns bounds of the very register that is compared, not of its 32-bit copies */
	bn_opaque(quote);
	if (quote < 20 || quote > BN_QUOTE_MAX)
		return TC_ACT_SHOT;
	last = quote & ~3u;
	/* a bound of its own: 5.10 derives none from the one on quote */
	bn_opaque(last);
	if (last > BN_QUOTE_MAX)
		return TC_ACT_SHOT;
	*(__u32 *)(s->quote + last) = 0;
	if (bpf_skb_load_bytes(skb, ETH_HLEN, s->quote, quote))
		return TC_ACT_SHOT;
	sum = answer_quote_sum(quote);
	if (answer_partial(skb, s)) {
		int finished = answer_finished(sum);

		if (finished < 0)
			return TC_ACT_SHOT;
		sum += (__u32)finished;
	}
	if (skb->len != ETH_HLEN + quote && bpf_skb_change_tail(skb, ETH_HLEN + quote, 0))
		return TC_ACT_SHOT;
	if (s->pkt.tuple.family == BN_IPV4) {
		struct bn_answer4 *h = (void *)s->header;

		icmp.type = spec >> 24;
		icmp.code = spec >> 16;
		off = ETH_HLEN + sizeof(h->ip);
		grow = sizeof(h->ip) + sizeof(icmp);
		answer_eth(skb, s, &h->eth, bpf_htons(ETH_P_IP));
		answer_ip4(&h->ip, from, to, IPPROTO_ICMP, sizeof(icmp) + quote);
	} else {
		struct bn_answer6 *h = (void *)s->header;

		icmp.type = spec >> 8;
		icmp.code = spec;
		off = ETH_HLEN + sizeof(h->ip);
		grow = sizeof(h->ip) + sizeof(icmp);
		answer_eth(skb, s, &h->eth, bpf_htons(ETH_P_IPV6));
		answer_ip6(&h->ip, from, to, IPPROTO_ICMPV6, sizeof(icmp) + quote);
		sum += answer_pseudo(from, to, BN_IPV6, IPPROTO_ICMPV6, sizeof(icmp) + quote);
	}
	sum += bpf_csum_diff(NULL, 0, (__be32 *)&icmp, sizeof(icmp), 0) & 0xffffffff;
	icmp.check = ~csum_fold16(sum);
	if (bpf_skb_adjust_room(skb, grow, BPF_ADJ_ROOM_MAC, 0) ||
	    bpf_skb_store_bytes(skb, 0, s->header, off <= sizeof(s->header) ? off : 0,
				BPF_F_INVALIDATE_HASH) ||
	    bpf_skb_store_bytes(skb, off, &icmp, sizeof(icmp), 0))
		return TC_ACT_SHOT;
	return answer_reject(skb, s);
}

/* This node's errors come from its own address, or from the pods' gateway. */
static __always_inline void answer_source(struct bn_scratch *s)
{
	__u32 zero = 0;
	struct bn_node *n = bpf_map_lookup_elem(&bn_node, &zero);

	if (n)
		s->inner.saddr = s->pkt.tuple.family == BN_IPV4 ? n->v4 : n->v6;
	if (!n || bn_addr_zero(&s->inner.saddr))
		bn_gateway(s->pkt.tuple.family, &s->inner.saddr);
}

/* A refused connection: reset or port unreachable, as if from where it was sent to. */
static __always_inline int answer_refused(struct __sk_buff *skb, struct bn_scratch *s, __u32 reason)
{
	bn_drop(reason);
	if (s->pkt.flags & BN_PKT_FRAG_LATER)
		return TC_ACT_SHOT;
	if (s->pkt.tuple.protocol == IPPROTO_TCP)
		return answer_reset(skb);
	s->inner.saddr = s->pkt.tuple.daddr;
	return answer_icmp(skb,
			   BN_ICMP(ICMP_DEST_UNREACH, ICMP_PORT_UNREACH, ICMPV6_DEST_UNREACH,
				   ICMPV6_PORT_UNREACH),
			   0);
}

static __always_inline int answer_ttl(struct __sk_buff *skb, struct bn_scratch *s)
{
	bn_drop(BN_DROP_TTL_EXCEEDED);
	answer_source(s);
	return answer_icmp(skb, BN_ICMP(ICMP_TIME_EXCEEDED, 0, ICMPV6_TIME_EXCEED, 0), 0);
}

static __always_inline int answer_too_big(struct __sk_buff *skb, struct bn_scratch *s, __u32 mtu)
{
	bn_drop(BN_DROP_PACKET_TOO_BIG);
	answer_source(s);
	return answer_icmp(skb, BN_ICMP(ICMP_DEST_UNREACH, ICMP_FRAG_NEEDED, ICMPV6_PKT_TOOBIG, 0),
			   mtu);
}
