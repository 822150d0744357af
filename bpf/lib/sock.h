/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * What the socket programs know of the socket in hand: whose it is, and where it wants to go.
 * They run in the process's context and may be preempted there, so unlike the packet programs
 * they share no scratch area.
 */
#pragma once

#include "lib/service.h"

#define LOOPBACK_NET 127 /* of 127.0.0.0/8 */

struct bn_sock_end {
	union bn_addr addr;
	__be16 port;
};

/* Whose sockets we act on: 0 for a namespace that is neither this node's nor a pod's of it. */
static __always_inline __u32 sock_netns(__u64 cookie)
{
	struct bn_sock_netns *n = bpf_map_lookup_elem(&bn_sock_netns, &cookie);

	return n ? n->kind : 0;
}

/* A socket as the kernel has it, to be read with BPF_CORE_READ() and its like. */
static __always_inline const struct sock *sock_kernel(const struct bpf_sock *sk)
{
	const struct sock *k = NULL;

	/* the verifier lets nobody look behind a socket's pointer; a copy of it is a number */
	bpf_probe_read_kernel(&k, sizeof(k), &sk);
	return k;
}

/*
 * The kernel's own sockets (NFS, iSCSI, MPTCP subflows) keep the address they were given: their
 * owners compare it later and know nothing of getpeername().
 */
static __always_inline bool sock_is_kernels(const struct bpf_sock *sk)
{
	const struct sock *k = sock_kernel(sk);

	return BPF_CORE_READ_BITFIELD_PROBED(k, sk_kern_sock);
}

static __always_inline bool sock_is_ipv6_only(const struct bpf_sock *sk)
{
	const struct sock *k = sock_kernel(sk);

	return BPF_CORE_READ_BITFIELD_PROBED(k, __sk_common.skc_ipv6only);
}

/* The address that connect() or sendmsg() names, or that recvmsg() or getpeername() would tell. */
static __always_inline void sock_end_load(struct bn_sock_end *ret, const struct bpf_sock_addr *ctx,
					  __u8 family)
{
	if (family == BN_IPV4) {
		bn_addr_set_v4(&ret->addr, ctx->user_ip4);
	} else {
		ret->addr.w[0] = ctx->user_ip6[0];
		ret->addr.w[1] = ctx->user_ip6[1];
		ret->addr.w[2] = ctx->user_ip6[2];
		ret->addr.w[3] = ctx->user_ip6[3];
	}
	ret->port = (__be16)ctx->user_port;
}

static __always_inline void sock_end_store(struct bpf_sock_addr *ctx, __u8 family,
					   const union bn_addr *addr, __be16 port)
{
	/* else the compiler keeps ctx + offset in a register, which the verifier refuses */
	asm volatile("" : "+r"(ctx));
	if (family == BN_IPV4) {
		ctx->user_ip4 = addr->w[3];
	} else {
		ctx->user_ip6[0] = addr->w[0];
		ctx->user_ip6[1] = addr->w[1];
		ctx->user_ip6[2] = addr->w[2];
		ctx->user_ip6[3] = addr->w[3];
	}
	ctx->user_port = port;
}

/* The address of frontends that answer on all of the node's: 0.0.0.0, mapped, or :: */
static __always_inline void sock_any(union bn_addr *ret, const union bn_addr *of)
{
	ret->d[0] = ret->d[1] = 0;
	if (bn_addr_is_v4(of))
		bn_addr_set_v4(ret, 0);
}

static __always_inline bool sock_is_any(const union bn_addr *a)
{
	return bn_addr_is_v4(a) ? !a->w[3] : bn_addr_zero(a);
}

/* Including the unspecified address, which connect() takes for the loopback. */
static __always_inline bool sock_is_loopback(const union bn_addr *a)
{
	if (bn_addr_is_v4(a))
		return a->b[12] == LOOPBACK_NET || !a->w[3];
	return !a->d[0] && !a->w[2] && !(a->w[3] & bpf_htonl(~1u));
}

static __always_inline int sock_pick(struct bn_ask *ask, const union bn_addr *addr, __be16 port,
				     __u8 protocol, __u64 cookie)
{
	ask->addr = *addr;
	/* whoever lives in a namespace is one client */
	ask->client.d[0] = 0;
	ask->client.d[1] = cookie;
	ask->port = port;
	ask->protocol = protocol;
	ask->outside = 0;
	ask->hash = 0;
	return service_pick(ask);
}

/*
 * Chooses a backend of the frontend under an address: its own, or a node port of any address where
 * the address is the node's. The loopback is a namespace's own: in a pod it is not the node's.
 * ask->id 0: there is none. Else 0 or the reason.
 */
static __always_inline int sock_choose(struct bn_sock_peer *ret, struct bn_ask *ask,
				       const struct bn_sock_end *to, __u8 protocol, __u32 netns)
{
	struct bn_address *a;
	union bn_addr any;
	int r;

	ask->id = 0;
	if (!to->port)
		return 0;
	if (sock_is_loopback(&to->addr) && netns != BN_NETNS_NODE)
		return 0;
	r = sock_pick(ask, &to->addr, to->port, protocol, ret->netns);
	if (!ask->id) {
		if (!sock_is_loopback(&to->addr)) {
			a = bpf_map_lookup_elem(&bn_addresses, &to->addr);
			if (!a || a->kind != BN_ADDR_HOST)
				return 0;
		}
		sock_any(&any, &to->addr);
		r = sock_pick(ask, &any, to->port, protocol, ret->netns);
	}
	if (!ask->id || r)
		return r;
	service_slot_addr(&ret->backend, &ask->slot);
	ret->backend_port = ask->slot.port;
	ret->service = to->addr;
	ret->service_port = to->port;
	ret->id = ask->id;
	ret->index = ask->slot.backend;
	ret->gen = ask->slot.gen;
	return 0;
}

static __always_inline bool sock_peer_current(const struct bn_sock_peer *p)
{
	return service_generation_is(p->index, p->gen);
}

static __always_inline bool sock_peer_is(const struct bn_sock_peer *p, const struct bn_sock_end *e)
{
	return p->backend_port == e->port && bn_addr_equal(&p->backend, &e->addr);
}

/*
 * There is no backend. A pod's packet goes out as it is: the packet path refuses it, with a reset
 * or an ICMP error that the socket reports, and tells of it with its source port. What the node
 * itself sends meets no program of ours, so it is refused here.
 */
static __always_inline int sock_refuse(__u32 netns)
{
	if (netns != BN_NETNS_NODE)
		return 1;
	if (bn_config.features & BN_FEATURE_SET_RETVAL)
		bpf_set_retval(-ECONNREFUSED);
	return 0;
}
