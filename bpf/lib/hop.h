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
	__u32 ifindex;      /* 16  in and out */
	__u32 epoch;        /* 20  of routes, addresses and devices */
	__u32 asked;        /* 24  jiffies */
	__u8 dest[6];       /* 28 */
	__u8 source[6];     /* 34 */
	__u8 known;         /* 40 */
	__u8 pad[23];
};
BN_ASSERT_SIZE(struct bn_hop_mac, 64);

/* Each CPU has its own: nobody reads one half of two answers. */
BN_MAP(bn_hops, BPF_MAP_TYPE_PERCPU_ARRAY, __u32, struct bn_hop_mac, BN_HOPS);

static __noinline int hop_ask(struct xdp_md *xdp, struct bn_hop_mac *h, const struct bn_flow_hot *f,
			      __u32 kind)
{
	struct bpf_fib_lookup p = {};
	__u8 protocol = kind >> 8;

	if (!h || !f)
		return 0;
	h->known = 0;
	p.family = (kind & 0xff) == BN_IPV4 ? AF_INET : AF_INET6;
	p.l4_protocol = protocol;
	p.ifindex = xdp->ingress_ifindex;
	if ((kind & 0xff) == BN_IPV4) {
		p.ipv4_src = f->to_saddr.w[3];
		p.ipv4_dst = f->to_daddr.w[3];
	} else {
		__builtin_memcpy(p.ipv6_src, &f->to_saddr, 16);
		__builtin_memcpy(p.ipv6_dst, &f->to_daddr, 16);
	}
	if (bpf_fib_lookup(xdp, &p, sizeof(p), 0) != BPF_FIB_LKUP_RET_SUCCESS ||
	    p.ifindex != xdp->ingress_ifindex)
		return 0;
	h->addr = f->to_daddr;
	h->ifindex = p.ifindex;
	__builtin_memcpy(h->dest, p.dmac, 6);
	__builtin_memcpy(h->source, p.smac, 6);
	h->known = 1;
	return 0;
}

/* The flow's next hop back out of the same device; NULL: this packet goes by tc. */
static __always_inline const struct bn_hop_mac *hop_find(struct xdp_md *xdp,
							 const struct bn_flow_hot *f,
							 const __u8 family, const __u8 protocol,
							 __u32 epoch)
{
	const union bn_addr *to = &f->to_daddr;
	__u32 now = bn_now(), at;
	struct bn_hop_mac *h;

	at = (to->w[0] ^ to->w[1] ^ to->w[2] ^ to->w[3]) * 0x9e3779b1u >> 22;
	h = bpf_map_lookup_elem(&bn_hops, &at);
	if (!h)
		return NULL;
	if (likely(h->known && h->epoch == epoch && h->ifindex == f->out_ifindex &&
		   now - h->asked < bn_config.hz && bn_addr_equal(&h->addr, to)))
		return h;
	h->epoch = epoch;
	h->asked = now;
	hop_ask(xdp, h, f, protocol << 8 | family);
	return NULL;
}

/* A frame that was sent to another machine and is only overheard is not ours to forward. */
static __always_inline bool hop_is_for(const struct bn_hop_mac *h, const struct ethhdr *eth)
{
	return !__builtin_memcmp(h->source, eth->h_dest, 6);
}

static __always_inline void hop_set(const struct bn_hop_mac *h, struct ethhdr *eth)
{
	__builtin_memcpy(eth->h_dest, h->dest, 6);
	__builtin_memcpy(eth->h_source, h->source, 6);
}
