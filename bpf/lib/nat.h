/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * Rewriting a packet to the tuple that its flow gives: addresses, ports, TTL, checksums.
 *
 * Most local traffic has an unfinished transport checksum (CHECKSUM_PARTIAL): its field holds the
 * un-inverted sum of the pseudo header, and a full update would corrupt it. Since 6.2 a kfunc
 * shows us ip_summed, so everything is done by direct access; before, the kernel's own helpers
 * do the transport checksum in difference form.
 */
#pragma once

#include "lib/csum.h"
#include "lib/packet.h"

extern void *bpf_cast_to_kern_ctx(void *obj) __weak __ksym;

enum bn_checksum_offset {
	BN_CHECK_TCP = 16,
	BN_CHECK_UDP = 6,
	BN_CHECK_ICMP = 2,
};

/* Whether the transport checksum covers the addresses; ICMP's doesn't, and SCTP has another. */
static __always_inline bool nat_has_pseudo(__u8 protocol)
{
	return protocol == IPPROTO_TCP || protocol == IPPROTO_UDP || protocol == IPPROTO_ICMPV6;
}

/* Fills the deltas that turn `key` into f->to_*. */
static BN_SHARED int nat_prepare(struct bn_flow_hot *f, const struct bn_tuple *key)
{
	__u64 addr, ports;

	if (!f || !key)
		return 0;
	addr = csum_addr_delta(&key->saddr, &f->to_saddr) +
	       csum_addr_delta(&key->daddr, &f->to_daddr);
	ports = csum_u16_delta(key->sport, f->to_sport) + csum_u16_delta(key->dport, f->to_dport);
	f->l3_delta = csum_fold16(addr);
	if (nat_has_pseudo(key->protocol))
		ports += addr;
	else if (key->protocol != IPPROTO_ICMP)
		ports = 0;
	f->l4_delta = csum_fold16(ports);
	return 0;
}

/* One step of a hop: TTL - 1 in the IPv4 word TTL|protocol, hop limit - 1 in next header|limit. */
#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
#define BN_TTL_STEP4 0xfffe
#define BN_TTL_STEP6 0xfeff
#else
#define BN_TTL_STEP4 0xfeff
#define BN_TTL_STEP6 0xfffe
#endif

/* The network header: addresses and, with `hop`, one TTL step. */
static __always_inline void nat_network(void *l3, const struct bn_flow_hot *f, __u8 family,
					bool hop)
{
	if (family == BN_IPV4) {
		struct iphdr *ip = l3;
		/* three summands, so a carry at the most of 2 */
		__u32 sum = (__u16)~ip->check + (__u32)f->l3_delta + (hop ? BN_TTL_STEP4 : 0);

		ip->saddr = f->to_saddr.w[3];
		ip->daddr = f->to_daddr.w[3];
		if (hop)
			ip->ttl--;
		sum = (sum & 0xffff) + (sum >> 16);
		ip->check = ~(sum + (sum >> 16));
	} else {
		struct ipv6hdr *ip = l3;
		__u32 *sa = (__u32 *)&ip->saddr, *da = (__u32 *)&ip->daddr;

		sa[0] = f->to_saddr.w[0];
		sa[1] = f->to_saddr.w[1];
		sa[2] = f->to_saddr.w[2];
		sa[3] = f->to_saddr.w[3];
		da[0] = f->to_daddr.w[0];
		da[1] = f->to_daddr.w[1];
		da[2] = f->to_daddr.w[2];
		da[3] = f->to_daddr.w[3];
		if (hop)
			ip->hop_limit--;
	}
}

/* ip_summed of the packet, or -1 where the kernel can't be asked. */
static __always_inline int nat_ip_summed(struct __sk_buff *skb)
{
	struct sk_buff *kskb;

	if (!bpf_ksym_exists(bpf_cast_to_kern_ctx))
		return -1;
	kskb = bpf_cast_to_kern_ctx(skb);
	return BPF_CORE_READ_BITFIELD(kskb, ip_summed);
}

/* Tells skb->csum of a change that no checksum field makes up for. Nothing unless COMPLETE. */
static __always_inline void nat_csum_complete(struct __sk_buff *skb, __u16 delta)
{
	int summed = nat_ip_summed(skb);

	if (summed < 0 || summed == CHECKSUM_COMPLETE)
		bpf_csum_update(skb, delta);
}

/* What the pseudo header contributes to f->l4_delta. */
static __always_inline __u16 nat_pseudo(const struct bn_flow_hot *f, __u8 protocol)
{
	return nat_has_pseudo(protocol) ? f->l3_delta : 0;
}

/* A finished transport checksum, updated. */
static __always_inline void nat_transport_full(__u16 *check, const struct bn_flow_hot *f,
					       __u8 protocol)
{
	__u16 sum = csum_apply(*check, f->l4_delta);

	if (protocol == IPPROTO_UDP && !sum)
		sum = 0xffff;
	*check = sum;
}

/*
 * The transport checksum at `check` (verified by the caller), `off` bytes into the frame. The
 * last thing done to a packet: without the kfunc it invalidates packet pointers.
 *
 * On CHECKSUM_COMPLETE skb->csum covers the packet from the network header on. An IPv4 header
 * sums to a constant, so what is left is minus the pseudo header's change, in the transport
 * part; in IPv6 the addresses themselves cancel that.
 */
static __always_inline int nat_transport(struct __sk_buff *skb, __u16 *check, __u32 off,
					 const struct bn_flow_hot *f, __u8 family, __u8 protocol)
{
	const __u16 pseudo = nat_pseudo(f, protocol);
	int summed;

	if (protocol == IPPROTO_UDP && !*check) {
		/* IPv4 without a checksum; what PARTIAL leaves there is never 0 */
		nat_csum_complete(skb, csum_fold16((__u32)f->l4_delta + (__u16)~pseudo));
		return 0;
	}
	summed = nat_ip_summed(skb);
	if (summed < 0) {
		__u64 flags = protocol == IPPROTO_UDP ? BPF_F_MARK_MANGLED_0 : 0;
		__u16 rest = csum_fold16((__u32)f->l4_delta + (__u16)~pseudo);

		if (pseudo && bpf_l4_csum_replace(skb, off, 0, pseudo, flags | BPF_F_PSEUDO_HDR))
			return -1;
		if (rest && bpf_l4_csum_replace(skb, off, 0, rest, flags))
			return -1;
		if (family == BN_IPV6) /* the helper counts as if for IPv4; no-op unless COMPLETE */
			bpf_csum_update(skb, pseudo);
		return 0;
	}
	if (summed == CHECKSUM_PARTIAL) {
		*check = csum_apply_plain(*check, pseudo);
		return 0;
	}
	nat_transport_full(check, f, protocol);
	if (summed == CHECKSUM_COMPLETE && family == BN_IPV4)
		bpf_csum_update(skb, (__u16)~pseudo);
	return 0;
}
