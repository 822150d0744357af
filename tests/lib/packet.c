// SPDX-License-Identifier: Apache-2.0
/*
 * Builds and checks packets. Everything is computed from scratch: lengths, the IPv4 header
 * checksum, and TCP, UDP, ICMP and SCTP checksums with their pseudo headers.
 */
#include "packet.h"

#include "checksum.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/if_ether.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>

#define PROTO_SCTP 132
#define PROTO_ICMPV6 58
#define IP6_FRAGMENT 44

static void packet_die(const char *what)
{
	fprintf(stderr, "tests/lib: cannot build packet: %s\n", what);
	abort();
}

static __u8 *packet_put(struct bn_packet *p, size_t len)
{
	__u8 *at = p->data + p->len;

	if (p->len + len > sizeof(p->data))
		packet_die("longer than BN_PACKET_MAX");
	memset(at, 0, len);
	p->len += len;
	return at;
}

static void put16(__u8 *at, __u16 value)
{
	at[0] = value >> 8;
	at[1] = value;
}

static void put32(__u8 *at, __u32 value)
{
	put16(at, value >> 16);
	put16(at + 2, value);
}

static __u16 get16(const __u8 *at)
{
	return (__u16)(at[0] << 8 | at[1]);
}

int bn_address_parse(const char *text, __u8 ret[16])
{
	memset(ret, 0, 16);
	if (inet_pton(AF_INET, text, ret + 12) == 1) {
		ret[10] = ret[11] = 0xff;
		return 4;
	}
	if (inet_pton(AF_INET6, text, ret) == 1)
		return 6;
	packet_die(text);
	return -1;
}

static void build_link(struct bn_packet *p, const struct bn_packet_spec *spec, __u16 proto)
{
	__u8 *eth = packet_put(p, ETH_HLEN);

	memcpy(eth, spec->dmac.b, ETH_ALEN);
	memcpy(eth + ETH_ALEN, spec->smac.b, ETH_ALEN);
	if (spec->vlan) {
		__u8 *tag = packet_put(p, 4);

		put16(eth + 12, ETH_P_8021Q);
		put16(tag, spec->vlan);
		eth = tag - 10; /* so that the type lands behind the tag */
	}
	put16(eth + 12, spec->ethertype ? spec->ethertype : proto);
}

static void build_ipv4(struct bn_packet *p, const struct bn_packet_spec *spec)
{
	__u8 src[16], dst[16], *ip;

	if (spec->options_len % 4 || spec->options_len > 40)
		packet_die("IPv4 options");
	bn_address_parse(spec->src, src);
	if (bn_address_parse(spec->dst, dst) != 4)
		packet_die("addresses of two families");
	p->l3 = p->len;
	ip = packet_put(p, 20 + spec->options_len);
	ip[0] = 0x40 | (5 + spec->options_len / 4);
	ip[1] = spec->tos;
	put16(ip + 4, spec->id);
	put16(ip + 6, spec->frag);
	ip[8] = spec->ttl ? spec->ttl : 64;
	ip[9] = spec->protocol;
	memcpy(ip + 12, src + 12, 4);
	memcpy(ip + 16, dst + 12, 4);
	if (spec->options_len)
		memcpy(ip + 20, spec->options, spec->options_len);
}

static void build_ipv6(struct bn_packet *p, const struct bn_packet_spec *spec)
{
	__u8 dst[16], *ip, *next;

	p->l3 = p->len;
	ip = packet_put(p, 40);
	put32(ip, 6u << 28 | (__u32)spec->tos << 20 | spec->flow_label);
	ip[7] = spec->ttl ? spec->ttl : 64;
	bn_address_parse(spec->src, ip + 8);
	if (bn_address_parse(spec->dst, dst) != 6)
		packet_die("addresses of two families");
	memcpy(ip + 24, dst, 16);
	next = ip + 6;
	for (int i = 0; i < spec->exts; i++) {
		const struct bn_ext *e = &spec->ext[i];
		size_t len = e->len ? e->len : 8;
		__u8 *at = packet_put(p, len);

		memcpy(at + 2, e->data, len - 2 < sizeof(e->data) ? len - 2 : sizeof(e->data));
		at[1] = e->type == IP6_FRAGMENT ? 0 : (len - 8) / 8;
		*next = e->type;
		next = at;
	}
	*next = spec->protocol;
}

static void build_transport(struct bn_packet *p, const struct bn_packet_spec *spec)
{
	__u8 *l4;

	p->l4 = p->len;
	switch (spec->protocol) {
	case IPPROTO_TCP:
		if (spec->tcp_options_len % 4)
			packet_die("TCP options");
		l4 = packet_put(p, 20 + spec->tcp_options_len);
		put32(l4 + 4, spec->seq);
		put32(l4 + 8, spec->ack);
		l4[12] = (5 + spec->tcp_options_len / 4) << 4;
		l4[13] = spec->tcp_flags;
		if (!spec->no_window)
			put16(l4 + 14, spec->window ? spec->window : 0xffff);
		if (spec->tcp_options_len)
			memcpy(l4 + 20, spec->tcp_options, spec->tcp_options_len);
		break;
	case IPPROTO_UDP:
		l4 = packet_put(p, 8);
		break;
	case PROTO_SCTP:
		l4 = packet_put(p, 12);
		put32(l4 + 4, spec->seq);
		break;
	case IPPROTO_ICMP:
	case PROTO_ICMPV6:
		l4 = packet_put(p, 8);
		l4[0] = spec->type;
		l4[1] = spec->code;
		put32(l4 + 4, spec->icmp_rest);
		if (spec->icmp_id || spec->icmp_seq)
			put32(l4 + 4, (__u32)spec->icmp_id << 16 | spec->icmp_seq);
		return;
	default:
		return;
	}
	put16(l4, spec->sport);
	put16(l4 + 2, spec->dport);
}

static void build_payload(struct bn_packet *p, const struct bn_packet_spec *spec)
{
	p->payload = p->len;
	if (spec->quote) {
		size_t len = spec->quote->len - spec->quote->l3;

		if (spec->quote_len && spec->quote_len < len)
			len = spec->quote_len;
		memcpy(packet_put(p, len), spec->quote->data + spec->quote->l3, len);
	} else if (spec->bytes) {
		memcpy(packet_put(p, spec->payload), spec->bytes, spec->payload);
	} else {
		__u8 *at = packet_put(p, spec->payload);

		for (size_t i = 0; i < spec->payload; i++)
			at[i] = i * 7 + 1;
	}
}

/* The place of a transport's checksum within its header, or -1. */
static int checksum_offset(__u8 protocol)
{
	switch (protocol) {
	case IPPROTO_TCP:
		return 16;
	case IPPROTO_UDP:
		return 6;
	case PROTO_SCTP:
		return 8;
	case IPPROTO_ICMP:
	case PROTO_ICMPV6:
		return 2;
	default:
		return -1;
	}
}

struct layout {
	int family;
	__u8 protocol;
	size_t l4, end; /* of the upper layer, by the IP header's length */
	int fragment;   /* more fragments or an offset */
};

/* Walks the headers; an independent and simple parser. -1 with a reason where it can't. */
static int packet_layout(const struct bn_packet *p, struct layout *ret, const char **why)
{
	const __u8 *ip = p->data + p->l3;
	size_t left = p->len > p->l3 ? p->len - p->l3 : 0;

	memset(ret, 0, sizeof(*ret));
	*why = "no IP header";
	if (!p->l3 || !left)
		return -1;
	ret->family = ip[0] >> 4;
	*why = "IP header truncated";
	if (ret->family == 4) {
		size_t ihl = (ip[0] & 15) * 4;

		if (left < 20 || ihl < 20 || left < ihl)
			return -1;
		*why = "IPv4 total length";
		if (get16(ip + 2) > left || get16(ip + 2) < ihl)
			return -1;
		ret->protocol = ip[9];
		ret->l4 = p->l3 + ihl;
		ret->end = p->l3 + get16(ip + 2);
		ret->fragment = (get16(ip + 6) & 0x3fff) != 0;
		return 0;
	}
	*why = "IP version";
	if (ret->family != 6)
		return -1;
	*why = "IPv6 header truncated";
	if (left < 40)
		return -1;
	*why = "IPv6 payload length";
	if (get16(ip + 4) + 40u > left)
		return -1;
	ret->end = p->l3 + 40 + get16(ip + 4);
	ret->l4 = p->l3 + 40;
	ret->protocol = ip[6];
	for (;;) {
		const __u8 *at = p->data + ret->l4;
		__u8 type = ret->protocol;

		if (type != 0 && type != 43 && type != 44 && type != 60)
			return 0;
		*why = "IPv6 extension header truncated";
		if (ret->l4 + 8 > ret->end)
			return -1;
		if (type == IP6_FRAGMENT)
			ret->fragment = (get16(at + 2) & 0xfff9) != 0;
		ret->protocol = at[0];
		ret->l4 += type == IP6_FRAGMENT ? 8 : 8 + at[1] * 8u;
		if (ret->l4 > ret->end)
			return -1;
		/* what follows a later fragment's header is payload */
		if (type == IP6_FRAGMENT && get16(at + 2) & 0xfff8)
			return 0;
	}
}

static __be16 transport_sum(const struct bn_packet *p, const struct layout *l)
{
	const __u8 *ip = p->data + p->l3;
	size_t len = l->end - l->l4;
	__u32 sum = 0;

	if (l->family == 6)
		sum = bn_sum_add(sum, ip + 8, 32);
	else if (l->protocol != IPPROTO_ICMP)
		sum = bn_sum_add(sum, ip + 12, 8);
	if (l->family == 6 || l->protocol != IPPROTO_ICMP)
		sum += len + l->protocol;
	return bn_sum_finish(bn_sum_add(sum, p->data + l->l4, len));
}

void bn_packet_fix(struct bn_packet *p)
{
	struct layout l;
	const char *why;
	int at;

	if (packet_layout(p, &l, &why))
		return;
	if (l.family == 4) {
		__u8 *ip = p->data + p->l3;
		__be16 sum;

		memset(ip + 10, 0, 2);
		sum = bn_sum_finish(bn_sum_add(0, ip, l.l4 - p->l3));
		memcpy(ip + 10, &sum, 2);
	}
	at = checksum_offset(l.protocol);
	if (l.fragment || at < 0 || l.l4 + at + 2 > l.end)
		return;
	if (l.protocol == PROTO_SCTP) {
		__le32 crc;

		if (l.l4 + 12 > l.end)
			return;
		memset(p->data + l.l4 + 8, 0, 4);
		crc = bn_crc32c(p->data + l.l4, l.end - l.l4);
		memcpy(p->data + l.l4 + 8, &crc, 4);
	} else {
		__be16 sum;

		memset(p->data + l.l4 + at, 0, 2);
		sum = transport_sum(p, &l);
		if (l.protocol == IPPROTO_UDP && !sum)
			sum = 0xffff;
		memcpy(p->data + l.l4 + at, &sum, 2);
	}
}

void bn_packet_build(struct bn_packet *ret, const struct bn_packet_spec *spec)
{
	__u8 addr[16];
	int v4 = bn_address_parse(spec->src, addr) == 4;
	__u8 *ip;

	memset(ret, 0, sizeof(*ret));
	build_link(ret, spec, v4 ? ETH_P_IP : ETH_P_IPV6);
	if (v4)
		build_ipv4(ret, spec);
	else
		build_ipv6(ret, spec);
	build_transport(ret, spec);
	build_payload(ret, spec);
	ip = ret->data + ret->l3;
	if (v4)
		put16(ip + 2, ret->len - ret->l3);
	else
		put16(ip + 4, ret->len - ret->l3 - 40);
	if (spec->protocol == IPPROTO_UDP)
		put16(ret->data + ret->l4 + 4, ret->len - ret->l4);
	bn_packet_fix(ret);
	if (spec->checksum == BN_CSUM_ZERO)
		put16(ret->data + ret->l4 + checksum_offset(spec->protocol), 0);
	else if (spec->checksum == BN_CSUM_WRONG)
		ret->data[ret->l4 + checksum_offset(spec->protocol)] ^= 0x55;
	else if (spec->checksum == BN_CSUM_WRONG_IP)
		ret->data[ret->l3 + 10] ^= 0x55;
}

void bn_packet_fragment(struct bn_packet *ret, const struct bn_packet *whole, size_t offset,
			size_t len, int more, __u32 id)
{
	int v4 = whole->data[whole->l3] >> 4 == 4;
	/* What every fragment repeats: up to the transport header. */
	size_t head = whole->l4;
	__u8 *ip;

	if (offset % 8 || (more && len % 8) || whole->l4 + offset + len > whole->len)
		packet_die("fragment's offset or length");
	memset(ret, 0, sizeof(*ret));
	memcpy(packet_put(ret, head), whole->data, head);
	ret->l3 = whole->l3;
	ip = ret->data + ret->l3;
	if (v4) {
		put16(ip + 4, id);
		put16(ip + 6, (more ? BN_IP_MF : 0) | offset / 8);
	} else {
		__u8 *frag = packet_put(ret, 8);

		frag[0] = ip[6];
		ip[6] = IP6_FRAGMENT;
		put16(frag + 2, offset | (more ? 1 : 0));
		put32(frag + 4, id);
	}
	ret->l4 = ret->len;
	memcpy(packet_put(ret, len), whole->data + whole->l4 + offset, len);
	if (v4)
		put16(ip + 2, ret->len - ret->l3);
	else
		put16(ip + 4, ret->len - ret->l3 - 40);
	bn_packet_fix(ret); /* only the IPv4 header: a fragment's transport is left alone */
}

int bn_packet_verify(const struct bn_packet *p, char *why, size_t size)
{
	struct bn_packet right = *p;
	const char *reason;
	struct layout l;
	int at;

	if (packet_layout(p, &l, &reason)) {
		snprintf(why, size, "%s", reason);
		return -EBADMSG;
	}
	at = checksum_offset(l.protocol);
	bn_packet_fix(&right);
	if (l.family == 4 && memcmp(p->data + p->l3 + 10, right.data + p->l3 + 10, 2)) {
		snprintf(why, size, "IPv4 header checksum %04x, should be %04x",
			 get16(p->data + p->l3 + 10), get16(right.data + p->l3 + 10));
		return -EBADMSG;
	}
	if (l.protocol == IPPROTO_UDP && l.family == 4 && !l.fragment &&
	    !get16(p->data + l.l4 + at))
		return 0;
	if (at >= 0 && !l.fragment &&
	    memcmp(p->data + l.l4 + at, right.data + l.l4 + at, l.protocol == PROTO_SCTP ? 4 : 2)) {
		snprintf(why, size, "transport checksum %04x, should be %04x",
			 get16(p->data + l.l4 + at), get16(right.data + l.l4 + at));
		return -EBADMSG;
	}
	return 0;
}

void bn_packet_locate(struct bn_packet *p)
{
	const char *why;
	struct layout l;
	__u16 type;

	p->l3 = p->l4 = p->payload = 0;
	if (p->len < ETH_HLEN)
		return;
	type = get16(p->data + 12);
	if (type != ETH_P_IP && type != ETH_P_IPV6)
		return;
	p->l3 = ETH_HLEN;
	if (!packet_layout(p, &l, &why))
		p->l4 = l.l4;
}
