/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * SCTP's checksum is CRC32c over the whole packet (RFC 9260 6.8). CRC is linear: changing the
 * ports by d changes the CRC by d * x^(8 * length) mod P, so the payload need not be read. The
 * arithmetic is in the reflected representation, as zlib's crc32_combine() does it.
 */
#pragma once

#include "lib/nat.h"

#define BN_CRC32C_POLY 0x82f63b78u

/* x^(8 * 2^k) mod P */
static const __u32 sctp_power[16] = {
	0x00800000, 0x00008000, 0x82f63b78, 0x6ea2d55c, 0x18b8ea18, 0x510ac59a,
	0xb82be955, 0xb8fdb1e7, 0x88e56f72, 0x74c360a4, 0xe4172b16, 0x0d65762a,
	0x35d73a62, 0x28461564, 0xbf455269, 0xe2ea32dc,
};

/*
 * s->crc = s->crc * power mod P. Operands go through memory, where the verifier doesn't follow
 * their bits: it would otherwise walk every value they can have.
 */
BN_GLOBAL int sctp_multiply(__u32 power)
{
	struct bn_scratch *s = bn_scratch_get();
	__u32 a, b, p = 0;
	int i;

	if (!s)
		return 0;
	a = *(volatile __u32 *)&s->crc;
	*(volatile __u32 *)&s->crc = power;
	b = *(volatile __u32 *)&s->crc;
	for (i = 0; i < 32; i++) {
		p ^= b & -(a >> 31);
		a <<= 1;
		b = (b >> 1) ^ (BN_CRC32C_POLY & -(b & 1));
	}
	*(volatile __u32 *)&s->crc = p;
	return 0;
}

static __always_inline __u32 sctp_le32(__u32 v)
{
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
	return __builtin_bswap32(v);
#else
	return v;
#endif
}

/* The change of the CRC of `len` bytes when its first four change by `ports` (XOR, as loaded). */
static __always_inline __u32 sctp_crc_delta(struct bn_scratch *s, __u32 ports, __u32 len)
{
	int k;

	*(volatile __u32 *)&s->crc = sctp_le32(ports);
#pragma unroll
	for (k = 0; k < 16; k++) {
		if (len & (1u << k))
			sctp_multiply(sctp_power[k]);
	}
	return *(volatile __u32 *)&s->crc;
}

/* Ports and checksum of an SCTP packet of `len` bytes at l4_off. An unfinished checksum is the
 * kernel's to make (skb->csum_not_inet), and then only the ports are changed. */
BN_GLOBAL int sctp_rewrite(struct __sk_buff *skb)
{
	struct bn_scratch *s = bn_scratch_get();
	struct {
		__be16 sport, dport;
		__be32 vtag;
		__le32 crc;
	} h;
	__u32 before, after, len;

	if (!s)
		return -1;
	if (s->pkt.flags & BN_PKT_FRAG_FIRST)
		return -1; /* the checksum is over more than is here */
	if (bpf_skb_load_bytes(skb, s->pkt.l4_off, &h, sizeof(h)))
		return -1;
	__builtin_memcpy(&before, &h, 4);
	h.sport = s->fwd.to_sport;
	h.dport = s->fwd.to_dport;
	__builtin_memcpy(&after, &h, 4);
	if (before == after)
		return 0;
	len = s->pkt.len + ETH_HLEN - s->pkt.l4_off;
	if (len > 65535)
		return -1;
	if (nat_ip_summed(skb) != CHECKSUM_PARTIAL)
		h.crc ^= sctp_le32(sctp_crc_delta(s, before ^ after, len));
	return bpf_skb_store_bytes(skb, s->pkt.l4_off, &h, sizeof(h), BPF_F_RECOMPUTE_CSUM);
}
