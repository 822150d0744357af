/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* Who sends and who receives: the source check, and what an address is to this node. */
#pragma once

#include "lib/event.h"

/* A pod's MAC follows from its host-side ifindex, so neither check nor rewrite needs a lookup. */
static __always_inline void mac_of_pod(__u8 *mac, __u32 ifindex)
{
	__u16 *m = (__u16 *)mac;

	m[0] = bpf_htons(BN_POD_MAC_HI << 8 | BN_POD_MAC_LO);
	m[1] = bpf_htons(ifindex >> 16);
	m[2] = bpf_htons(ifindex & 0xffff);
}

static __always_inline bool mac_is_pods(const struct ethhdr *eth, __u32 ifindex)
{
	const __u16 *m = (const __u16 *)eth->h_source;

	return m[0] == bpf_htons(BN_POD_MAC_HI << 8 | BN_POD_MAC_LO) &&
	       m[1] == bpf_htons(ifindex >> 16) && m[2] == bpf_htons(ifindex & 0xffff);
}

static __always_inline void mac_set(struct ethhdr *eth, __u32 ifindex)
{
	const __u8 host[6] = BN_HOST_MAC;

	mac_of_pod(eth->h_dest, ifindex);
	__builtin_memcpy(eth->h_source, host, 6);
}

static __always_inline void party_of_endpoint(struct bn_party *p, const struct bn_endpoint *ep,
					      __u32 ifindex)
{
	__builtin_memcpy(p->policy, ep->policy, sizeof(p->policy));
	p->ifindex = ifindex;
	p->flags = ep->flags;
	p->epoch = ep->epoch;
	p->slot = ep->slot;
	p->mtu = ep->mtu;
	p->kind = BN_ADDR_LOCAL_POD;
}

/* The same, of the endpoint's IPv6 address. */
static __always_inline void party_identities6(struct bn_party *p, const struct bn_endpoint *ep)
{
	p->policy[0].identity = ep->identity6[0];
	p->policy[1].identity = ep->identity6[1];
}

static BN_SHARED int party_of_address(struct bn_party *p, const union bn_addr *addr)
{
	struct bn_address *a;

	if (!p || !addr)
		return 0;
	a = bpf_map_lookup_elem(&bn_addresses, addr);
	__builtin_memset(p, 0, sizeof(*p));
	if (!a) {
		party_identity_set(p, BN_IDENTITY_WORLD);
		return 0;
	}
	__builtin_memcpy(p->policy, a->policy, sizeof(p->policy));
	p->kind = a->kind;
	p->ifindex = a->ifindex;
	p->flags = a->flags;
	p->epoch = a->epoch;
	p->slot = a->slot;
	p->mtu = a->mtu;
	return 0;
}

static __always_inline const union bn_addr *endpoint_address(const struct bn_endpoint *ep,
							     __u8 family)
{
	return family == BN_IPV4 ? &ep->v4 : &ep->v6;
}

static __always_inline bool endpoint_owns(const struct bn_endpoint *ep, const union bn_addr *addr,
					  __u8 family)
{
	const union bn_addr *own = endpoint_address(ep, family);

	return !bn_addr_zero(own) && bn_addr_equal(own, addr);
}

/* Destinations that never leave a pod. Returns 0 or the reason. */
static __always_inline int endpoint_check_destination(const struct bn_tuple *t)
{
	__u8 b;

	if (t->family == BN_IPV4) {
		b = t->daddr.b[12];
		if (b >= 224) /* multicast, reserved, broadcast */
			return BN_DROP_MULTICAST;
		if (b == 127 || b == 0)
			return BN_DROP_WRONG_DESTINATION;
		if (b == 169 && t->daddr.b[13] == 254 &&
		    !bn_addr_equal(&t->daddr, (const void *)&bn_config.gateway4))
			return BN_DROP_LINK_LOCAL;
		return 0;
	}
	if (t->daddr.b[0] == 0xff)
		return BN_DROP_MULTICAST;
	if (t->daddr.b[0] == 0xfe && (t->daddr.b[1] & 0xc0) == 0x80 &&
	    !bn_addr_equal(&t->daddr, (const void *)&bn_config.gateway6))
		return BN_DROP_LINK_LOCAL;
	if (t->daddr.d[0] == 0 && t->daddr.w[2] == 0 && (t->daddr.w[3] & bpf_htonl(~1u)) == 0)
		return BN_DROP_WRONG_DESTINATION; /* :: and ::1 */
	return 0;
}
