/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * Where a packet goes next. A local pod is reached past the stack; what leaves the node goes out
 * of an uplink the same way if the kernel's routing says so, and everything else (this node's own
 * addresses, routes to other devices, no route) is the stack's affair.
 */
#pragma once

#include "lib/packet.h"

/* mtu_result shares its bytes with tot_len since 5.12; before, MTUs come from bn_devices. */
struct bpf_fib_lookup___mtu {
	__u16 mtu_result;
} __attribute__((preserve_access_index));

static __noinline int route_fib(struct __sk_buff *skb, struct bn_flow *f, __u8 family,
				__u8 protocol)
{
	struct bpf_fib_lookup p = {};
	struct bn_device *dev;
	__u32 ifindex;
	long r;

	if (!f)
		return 0;
	p.family = family == BN_IPV4 ? AF_INET : AF_INET6;
	p.l4_protocol = protocol;
	p.ifindex = skb->ifindex;
	if (family == BN_IPV4) {
		p.ipv4_src = f->to_saddr.w[3];
		p.ipv4_dst = f->to_daddr.w[3];
	} else {
		__builtin_memcpy(p.ipv6_src, &f->to_saddr, 16);
		__builtin_memcpy(p.ipv6_dst, &f->to_daddr, 16);
	}
	r = bpf_fib_lookup(skb, &p, sizeof(p), 0);
	/* too large for the device: the route is known all the same, and the MTU is checked later */
	if (r != BPF_FIB_LKUP_RET_SUCCESS && r != BPF_FIB_LKUP_RET_NO_NEIGH &&
	    r != BPF_FIB_LKUP_RET_FRAG_NEEDED)
		return 0;
	ifindex = p.ifindex;
	dev = bpf_map_lookup_elem(&bn_devices, &ifindex);
	if (!dev)
		return 0;
	f->action = BN_ACT_NEIGH;
	f->out_ifindex = ifindex;
	f->mtu = dev->mtu;
	if (bpf_core_field_exists(struct bpf_fib_lookup___mtu, mtu_result) && p.mtu_result)
		f->mtu = p.mtu_result;
	return 0;
}

/* Fills action, out_ifindex and mtu of a flow whose next hop leads to `dst`. */
static __always_inline void route_set(struct __sk_buff *skb, struct bn_flow *f,
				      const struct bn_party *dst, __u8 family, __u8 protocol,
				      __u8 hook)
{
	f->action = BN_ACT_PASS;
	f->out_ifindex = 0;
	f->mtu = 0;
	if (dst->kind == BN_ADDR_LOCAL_POD) {
		f->out_ifindex = dst->ifindex;
		if (hook != BN_HOOK_TO_POD) {
			f->action = BN_ACT_PEER;
			/* what the loopback lets through whole, a pod takes in whole */
			f->mtu = hook == BN_HOOK_FROM_HOST ? 0xffff : dst->mtu;
		}
		return;
	}
	if (!hook_is_egress(hook) && dst->kind != BN_ADDR_HOST)
		route_fib(skb, f, family, protocol);
}
