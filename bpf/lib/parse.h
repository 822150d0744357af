/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * The full parser, for every packet that the established path does not take. It reads through
 * bpf_skb_load_bytes(), so it works on non-linear packets, and believes nothing: lengths must
 * agree with each other and with the packet. Returns 0 or the reason to drop.
 */
#pragma once

#include "lib/packet.h"

#define BN_EXT_HEADERS_MAX 6
/*
 * What of the transport header and behind it a first fragment has to have: ports and flags are not
 * elsewhere, nor overwritten (RFC 1858, 3128, 7112). So none begins before.
 */
#define BN_FRAG_MIN_OFFSET 64

static __always_inline int parse_tcp(struct __sk_buff *skb, struct bn_packet *p, __u32 l4_len)
{
	struct tcphdr th;

	if (l4_len < sizeof(th) || bpf_skb_load_bytes(skb, p->l4_off, &th, sizeof(th)))
		return BN_DROP_MALFORMED_HEADER;
	p->tcp_hlen = th.doff * 4;
	if (p->tcp_hlen < sizeof(th) || p->tcp_hlen > l4_len)
		return BN_DROP_MALFORMED_HEADER;
	p->tuple.sport = th.source;
	p->tuple.dport = th.dest;
	p->tcp_flags = ((__u8 *)&th)[13];
	return 0;
}

static __always_inline int parse_udp(struct __sk_buff *skb, struct bn_packet *p, __u32 l4_len)
{
	struct udphdr uh;
	__u32 len;

	if (l4_len < sizeof(uh) || bpf_skb_load_bytes(skb, p->l4_off, &uh, sizeof(uh)))
		return BN_DROP_MALFORMED_HEADER;
	len = bpf_ntohs(uh.len);
	/* A first fragment's length is the datagram's; a GSO packet's that of all segments. */
	if (len < sizeof(uh) || (len > l4_len && !(p->flags & BN_PKT_FRAG_FIRST) && !skb->gso_size))
		return BN_DROP_MALFORMED_HEADER;
	p->tuple.sport = uh.source;
	p->tuple.dport = uh.dest;
	return 0;
}

static __always_inline int parse_sctp(struct __sk_buff *skb, struct bn_packet *p, __u32 l4_len)
{
	__be16 ports[2];

	/* common header (RFC 9260 3.1): ports, verification tag, checksum */
	if (l4_len < 12 || bpf_skb_load_bytes(skb, p->l4_off, ports, sizeof(ports)))
		return BN_DROP_MALFORMED_HEADER;
	p->tuple.sport = ports[0];
	p->tuple.dport = ports[1];
	return 0;
}

static __always_inline int parse_icmp(struct __sk_buff *skb, struct bn_packet *p, __u32 l4_len)
{
	struct {
		__u8 type, code;
		__u16 check;
		__be16 id, seq;
	} h;

	if (l4_len < sizeof(h) || bpf_skb_load_bytes(skb, p->l4_off, &h, sizeof(h)))
		return BN_DROP_MALFORMED_HEADER;
	p->icmp_type = h.type;
	if (p->tuple.family == BN_IPV4) {
		if (h.type == ICMP_ECHO)
			p->flags |= BN_PKT_ECHO_REQUEST;
		else if (h.type == ICMP_ECHOREPLY)
			p->flags |= BN_PKT_ECHO_REPLY;
		else if (h.type == ICMP_DEST_UNREACH || h.type == ICMP_TIME_EXCEEDED ||
			 h.type == ICMP_PARAMETERPROB || h.type == ICMP_REDIRECT)
			p->flags |= BN_PKT_ICMP_ERROR;
	} else {
		if (h.type == ICMPV6_ECHO_REQUEST)
			p->flags |= BN_PKT_ECHO_REQUEST;
		else if (h.type == ICMPV6_ECHO_REPLY)
			p->flags |= BN_PKT_ECHO_REPLY;
		else if (h.type < 128) /* errors, RFC 4443 2.1 */
			p->flags |= BN_PKT_ICMP_ERROR;
		else if ((h.type >= NDISC_ROUTER_SOLICITATION && h.type <= NDISC_REDIRECT) ||
			 (h.type >= ICMPV6_MGM_QUERY && h.type <= ICMPV6_MGM_REDUCTION) ||
			 h.type == ICMPV6_MLD2_REPORT)
			p->flags |= BN_PKT_ND;
	}
	if (p->flags & BN_PKT_ECHO_REQUEST)
		p->tuple.sport = h.id;
	else if (p->flags & BN_PKT_ECHO_REPLY)
		p->tuple.dport = h.id;
	return 0;
}

static __always_inline int parse_transport(struct __sk_buff *skb, struct bn_packet *p, __u32 l4_len)
{
	switch (p->tuple.protocol) {
	case IPPROTO_TCP:
		return parse_tcp(skb, p, l4_len);
	case IPPROTO_UDP:
		return parse_udp(skb, p, l4_len);
	case IPPROTO_SCTP:
		return parse_sctp(skb, p, l4_len);
	case IPPROTO_ICMP:
		return p->tuple.family == BN_IPV4 ? parse_icmp(skb, p, l4_len) : 0;
	case IPPROTO_ICMPV6:
		return p->tuple.family == BN_IPV6 ? parse_icmp(skb, p, l4_len) : 0;
	}
	return 0;
}

#define BN_OPTIONS_MAX 40

/*
 * Source routing options are refused (RFC 7126); others are carried along. The verifier follows every
 * way through the loop that leaves another number in a register, which took it longer than all the
 * rest of a program: hence one load, and a cursor in memory, of which it knows nothing.
 */
static __always_inline int parse_ip4_options(struct __sk_buff *skb, struct bn_scratch *s, __u32 len)
{
	volatile __u32 *cursor = &s->cursor;
	int i;

	_Static_assert(sizeof(s->header) == 64, "masked below");
	len &= 63;
	bn_opaque(len);
	if (len < 4 || bpf_skb_load_bytes(skb, ETH_HLEN + sizeof(struct iphdr), s->header, len))
		return BN_DROP_MALFORMED_HEADER;
	*cursor = 0;
	for (i = 0; i < BN_OPTIONS_MAX; i++) {
		__u32 at = *cursor, type, size = 1;

		if (at >= len)
			return 0;
		type = s->header[at & 63];
		if (type == 0) /* end of list */
			return 0;
		if (type == 131 || type == 137) /* loose and strict source route */
			return BN_DROP_SOURCE_ROUTED;
		if (type != 1) { /* no operation, of one byte */
			size = s->header[(at + 1) & 63];
			if (at + 1 >= len || size < 2 || at + size > len)
				return BN_DROP_MALFORMED_HEADER;
		}
		*cursor = at + size;
	}
	return 0;
}

static __always_inline int parse_ip4(struct __sk_buff *skb, struct bn_scratch *s)
{
	struct bn_packet *p = &s->pkt;
	struct iphdr ip;
	__u32 hlen, total, offset;
	__u16 frag;
	int r;

	if (bpf_skb_load_bytes(skb, ETH_HLEN, &ip, sizeof(ip)))
		return BN_DROP_MALFORMED_HEADER;
	hlen = ip.ihl * 4;
	total = bpf_ntohs(ip.tot_len);
	if (!total && skb->gso_size) /* BIG TCP, since 6.3 */
		total = skb->len - ETH_HLEN;
	if (ip.version != 4 || hlen < sizeof(ip) || total < hlen || total > skb->len - ETH_HLEN)
		return BN_DROP_MALFORMED_HEADER;
	p->tuple.family = BN_IPV4;
	p->tuple.protocol = ip.protocol;
	bn_addr_set_v4(&p->tuple.saddr, ip.saddr);
	bn_addr_set_v4(&p->tuple.daddr, ip.daddr);
	p->len = total;
	p->ttl = ip.ttl;
	p->l4_off = ETH_HLEN + hlen;
	if (hlen > sizeof(ip)) {
		r = parse_ip4_options(skb, s, hlen - sizeof(ip));
		if (r)
			return r;
	}
	frag = bpf_ntohs(ip.frag_off);
	if (frag & IP_DF)
		p->flags |= BN_PKT_DF;
	offset = (frag & IP_OFFSET) * 8;
	p->frag_id = ip.id;
	if (offset) {
		p->flags |= BN_PKT_FRAG_LATER;
		p->frag_edge = offset;
		if (offset < BN_FRAG_MIN_OFFSET || offset + (total - hlen) > 65535)
			return BN_DROP_FRAGMENT_OVERLAP;
		return 0;
	}
	p->frag_edge = total - hlen;
	if (frag & IP_MF)
		p->flags |= BN_PKT_FRAG_FIRST;
	r = parse_transport(skb, p, total - hlen);
	if (r && (p->flags & BN_PKT_FRAG_FIRST))
		return BN_DROP_FRAGMENT_OVERLAP;
	if ((p->flags & BN_PKT_FRAG_FIRST) && total - hlen < BN_FRAG_MIN_OFFSET)
		return BN_DROP_FRAGMENT_OVERLAP;
	return r;
}

struct bn_ext_header {
	__u8 next;
	__u8 len;
	__u8 type;
	__u8 left;
	__be32 id;
};

/* Follows the chain to the upper layer (RFC 8200 4): sets protocol, l4_off, fragment flags. */
static __always_inline int parse_ip6_chain(struct __sk_buff *skb, struct bn_packet *p, __u8 next,
					   __u32 end)
{
	__u32 at = ETH_HLEN + sizeof(struct ipv6hdr);
	int i;

	for (i = 0; i <= BN_EXT_HEADERS_MAX; i++) {
		struct bn_ext_header h;
		__u32 len;

		if (next != NEXTHDR_HOP && next != NEXTHDR_ROUTING && next != NEXTHDR_DEST &&
		    next != NEXTHDR_AUTH && next != NEXTHDR_FRAGMENT) {
			p->tuple.protocol = next;
			p->l4_off = at;
			return 0;
		}
		if (i == BN_EXT_HEADERS_MAX)
			break;
		if (at + sizeof(h) > end || bpf_skb_load_bytes(skb, at, &h, sizeof(h)))
			return BN_DROP_MALFORMED_HEADER;
		if (next == NEXTHDR_ROUTING)
			return BN_DROP_SOURCE_ROUTED;
		if (next == NEXTHDR_FRAGMENT) {
			__u16 frag = (__u16)h.type << 8 | h.left;
			__u32 offset = frag & 0xfff8;

			if (p->flags & (BN_PKT_FRAG_FIRST | BN_PKT_FRAG_LATER))
				return BN_DROP_MALFORMED_HEADER;
			p->frag_id = h.id;
			len = 8;
			if (offset) {
				/* what follows is payload, whatever it looks like */
				p->flags |= BN_PKT_FRAG_LATER;
				p->frag_edge = offset;
				p->tuple.protocol = h.next;
				p->l4_off = at + len;
				if (offset < BN_FRAG_MIN_OFFSET ||
				    offset + (end - at - len) > 65535)
					return BN_DROP_FRAGMENT_OVERLAP;
				return 0;
			}
			p->frag_edge = end - at - len;
			if (frag & 1)
				p->flags |= BN_PKT_FRAG_FIRST;
		} else if (next == NEXTHDR_AUTH) {
			len = (h.len + 2) * 4;
		} else {
			if (next == NEXTHDR_HOP && i > 0)
				return BN_DROP_MALFORMED_HEADER;
			len = (h.len + 1) * 8;
		}
		next = h.next;
		at += len;
		if (at > end)
			return BN_DROP_MALFORMED_HEADER;
	}
	return BN_DROP_EXTENSION_HEADERS;
}

static __always_inline int parse_ip6(struct __sk_buff *skb, struct bn_packet *p)
{
	struct ipv6hdr ip;
	__u32 total, end;
	int r;

	if (bpf_skb_load_bytes(skb, ETH_HLEN, &ip, sizeof(ip)))
		return BN_DROP_MALFORMED_HEADER;
	total = bpf_ntohs(ip.payload_len) + sizeof(ip);
	if (!ip.payload_len && skb->gso_size) /* BIG TCP, since 5.19 */
		total = skb->len - ETH_HLEN;
	if (ip.version != 6 || total > skb->len - ETH_HLEN)
		return BN_DROP_MALFORMED_HEADER;
	p->tuple.family = BN_IPV6;
	__builtin_memcpy(&p->tuple.saddr, &ip.saddr, 16);
	__builtin_memcpy(&p->tuple.daddr, &ip.daddr, 16);
	p->len = total;
	p->ttl = ip.hop_limit;
	p->flags |= BN_PKT_DF;
	p->tuple.protocol = ip.nexthdr;
	if (bn_addr_is_v4(&p->tuple.saddr) || bn_addr_is_v4(&p->tuple.daddr))
		return BN_DROP_MAPPED_ADDRESS;
	end = ETH_HLEN + total;
	r = parse_ip6_chain(skb, p, ip.nexthdr, end);
	if (r)
		return r;
	if (p->flags & BN_PKT_FRAG_LATER)
		return 0;
	r = parse_transport(skb, p, end - p->l4_off);
	if (p->flags & BN_PKT_FRAG_FIRST) {
		/* RFC 7112: the first fragment carries the whole chain, and the ports */
		if (r || end - p->l4_off < BN_FRAG_MIN_OFFSET)
			return BN_DROP_FRAGMENT_OVERLAP;
	}
	return r;
}

BN_GLOBAL int bn_parse(struct __sk_buff *skb)
{
	struct bn_scratch *s = bn_scratch_get();
	struct bn_packet *p;

	if (!s)
		return BN_DROP_INTERNAL;
	p = &s->pkt;
	if (skb->vlan_present)
		return BN_DROP_UNSUPPORTED_ETHERTYPE;
	if (skb->protocol == bpf_htons(ETH_P_IP))
		return parse_ip4(skb, s);
	if (skb->protocol == bpf_htons(ETH_P_IPV6))
		return parse_ip6(skb, p);
	return BN_DROP_UNSUPPORTED_ETHERTYPE;
}
