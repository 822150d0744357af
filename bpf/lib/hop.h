/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * Resolved next hops, for XDP, which has no bpf_redirect_neigh(). A packet whose hop is not known,
 * or was asked for more than a second ago, has the kernel's answer noted and goes by tc itself: so
 * the kernel's neighbour entry is used, and stays resolved, though XDP never touches it.
 */
#pragma once

#include "lib/packet.h"

#define BN_HOPS 1024 /* 2^n; two destinations of one place take turns */

struct bn_hop_mac {
	union bn_addr addr; /* 0   where the packet goes to, not the router */
	__u32 in_ifindex;   /* 16  0: not known */
	__u32 out_ifindex;  /* 20  0: no device that XDP may send it by */
	__u32 epoch;        /* 24  of routes, addresses and devices */
	__u32 asked;        /* 28  jiffies */
	union { /* 32  an Ethernet header's first twelve bytes, in as few words as there are */
		struct {
			__u8 dest[6];
			__u8 source[6];
		};
		struct {
			__u64 head;
			__u32 tail;
		};
	};
	__u8 own[6];   /* 48  the MAC of the device that it comes in by */
	__u8 rest[10]; /* 54 */
};
BN_ASSERT_SIZE(struct bn_hop_mac, 64);
BN_ASSERT_AT(struct bn_hop_mac, tail, 40);

/* Each CPU has its own: nobody reads one half of two answers. */
BN_MAP(bn_hops, BPF_MAP_TYPE_PERCPU_ARRAY, __u32, struct bn_hop_mac, BN_HOPS);

/* Whether a frame that came in by one device may be sent by another. */
static __always_inline bool hop_crosses(const struct bn_device *in, __u32 out_ifindex)
{
	const struct bn_device *out = bpf_map_lookup_elem(&bn_devices, &out_ifindex);

	if (!out || !(in->flags & BN_DEVICE_REDIRECTS))
		return false;
	return in->flags & BN_DEVICE_GENERIC || out->flags & BN_DEVICE_TAKES;
}

/* `kind`: the family, and above it the protocol. */
static __noinline int hop_ask(struct xdp_md *xdp, struct bn_hop_mac *h, const struct bn_flow_hot *f,
			      __u32 kind)
{
	struct bpf_fib_lookup p = {};
	__u32 ifindex = xdp->ingress_ifindex;
	__u8 protocol = kind >> 8;
	struct bn_device *in;

	if (!h || !f)
		return 0;
	h->in_ifindex = 0;
	in = bpf_map_lookup_elem(&bn_devices, &ifindex);
	if (!in)
		return 0;
	p.family = (kind & 0xff) == BN_IPV4 ? AF_INET : AF_INET6;
	p.l4_protocol = protocol;
	p.ifindex = ifindex;
	if ((kind & 0xff) == BN_IPV4) {
		p.ipv4_src = f->to_saddr.w[3];
		p.ipv4_dst = f->to_daddr.w[3];
	} else {
		__builtin_memcpy(p.ipv6_src, &f->to_saddr, 16);
		__builtin_memcpy(p.ipv6_dst, &f->to_daddr, 16);
	}
	if (bpf_fib_lookup(xdp, &p, sizeof(p), 0) != BPF_FIB_LKUP_RET_SUCCESS)
		return 0;
	h->addr = f->to_daddr;
	h->in_ifindex = ifindex;
	h->out_ifindex = p.ifindex == ifindex || hop_crosses(in, p.ifindex) ? p.ifindex : 0;
	__builtin_memcpy(h->own, in->mac, 6);
	__builtin_memcpy(h->dest, p.dmac, 6);
	__builtin_memcpy(h->source, p.smac, 6);
	return 0;
}

/* The flow's next hop, from the device that it comes in by; NULL: this packet goes by tc. */
static __always_inline const struct bn_hop_mac *hop_find(struct xdp_md *xdp,
							 const struct bn_flow_hot *f,
							 const __u8 family, const __u8 protocol,
							 __u32 ifindex, __u32 epoch, __u32 now)
{
	const union bn_addr *to = &f->to_daddr;
	struct bn_hop_mac *h;
	__u32 at = to->w[3] ^ ifindex; /* who comes in by two devices has two places */

	if (family == BN_IPV6)
		at ^= to->w[0] ^ to->w[1] ^ to->w[2];
	at = at * 0x9e3779b1u >> 22;
	h = bpf_map_lookup_elem(&bn_hops, &at);
	if (!h)
		return NULL;
	if (likely(h->in_ifindex == ifindex && h->epoch == epoch && now - h->asked < bn_config.hz &&
		   bn_addr_equal(&h->addr, to)))
		return likely(h->out_ifindex == f->out_ifindex) ? h : NULL;
	h->epoch = epoch;
	h->asked = now;
	hop_ask(xdp, h, f, protocol << 8 | family);
	return NULL;
}

/*
 * MACs by the word: compilers take struct ethhdr for unaligned and go by the byte, which is a fifth
 * of all that there is to do for a packet. x86 has no unaligned words.
 */
static __always_inline bool hop_mac_equal(const __u8 *a, const __u8 *b)
{
	return *(const __u32 *)a == *(const __u32 *)b &&
	       *(const __u16 *)(a + 4) == *(const __u16 *)(b + 4);
}

/* A frame that was sent to another machine and is only overheard is not ours to forward. */
static __always_inline bool hop_is_for(const struct bn_hop_mac *h, const struct ethhdr *eth)
{
	return hop_mac_equal(eth->h_dest, h->own);
}

static __always_inline void hop_set(const struct bn_hop_mac *h, struct ethhdr *eth)
{
	*(__u64 *)eth = h->head;
	*(__u32 *)((void *)eth + 8) = h->tail;
}
