/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * Unconnected UDP: each datagram names its service anew, and its answer must come from there. A
 * socket stays with a backend for as long as that takes new flows, as a connected one would.
 *
 * Two services that send one socket to one backend share the entry for its answers, which then come
 * from the service that was asked last.
 */
#pragma once

#include "lib/sock.h"

static __always_inline void dgram_key(struct bn_sock_dgram_key *ret, __u64 cookie,
				      const union bn_addr *addr, __be16 port, __u8 direction)
{
	__builtin_memset(ret, 0, sizeof(*ret));
	ret->cookie = cookie;
	ret->addr = *addr;
	ret->port = port;
	ret->direction = direction;
}

static __always_inline void dgram_remember(const struct bn_sock_peer *p, bool answers_only)
{
	struct bn_sock_dgram_key key;

	/* first what an answer needs */
	dgram_key(&key, p->cookie, &p->backend, p->backend_port, BN_SOCK_FROM_BACKEND);
	bpf_map_update_elem(&bn_sock_dgram, &key, p, BPF_ANY);
	if (answers_only)
		return;
	dgram_key(&key, p->cookie, &p->service, p->service_port, BN_SOCK_TO_SERVICE);
	bpf_map_update_elem(&bn_sock_dgram, &key, p, BPF_ANY);
}

/* For the flow's first packet, which asks the socket; a connected one has something else to tell. */
static __always_inline void dgram_tell_flow(struct bpf_sock_addr *ctx, const struct bn_sock_peer *p)
{
	struct bpf_sock *sk = ctx->sk;
	struct bn_sock_peer *stored;

	if (sk->state == BPF_TCP_ESTABLISHED)
		return;
	stored = bpf_sk_storage_get(&bn_sock_peer, sk, NULL, BPF_SK_STORAGE_GET_F_CREATE);
	if (stored && (stored->id != p->id || stored->gen != p->gen || stored->index != p->index ||
		       stored->service_port != p->service_port))
		*stored = *p;
}

static __always_inline int dgram_send(struct bpf_sock_addr *ctx, __u8 family)
{
	struct bn_sock_peer *known, *answers, peer = {};
	struct bn_sock_dgram_key key;
	struct bn_ask ask = {};
	struct bn_sock_end to;
	__u32 netns;
	int r;

	peer.netns = bpf_get_netns_cookie(ctx);
	netns = sock_netns(peer.netns);
	if (!netns)
		return 1;
	sock_end_load(&to, ctx, family);
	peer.cookie = bpf_get_socket_cookie(ctx);
	dgram_key(&key, peer.cookie, &to.addr, to.port, BN_SOCK_TO_SERVICE);
	known = bpf_map_lookup_elem(&bn_sock_dgram, &key);
	r = sock_choose(&peer, &ask, &to, IPPROTO_UDP, netns);
	if (!ask.id || sock_is_kernels(ctx->sk))
		return 1;
	if (known && known->id == ask.id && sock_peer_current(known)) {
		peer = *known;
		dgram_key(&key, peer.cookie, &peer.backend, peer.backend_port,
			  BN_SOCK_FROM_BACKEND);
		answers = bpf_map_lookup_elem(&bn_sock_dgram, &key);
		/* evicted, or another service's since */
		if (!answers || answers->service_port != to.port ||
		    !bn_addr_equal(&answers->service, &to.addr))
			dgram_remember(&peer, true);
	} else {
		if (r)
			return sock_refuse(netns);
		dgram_remember(&peer, false);
	}
	dgram_tell_flow(ctx, &peer);
	sock_end_store(ctx, family, &peer.backend, peer.backend_port);
	return 1;
}

/* The service that an answer is from, NULL: whoever it says. */
static __always_inline const struct bn_sock_peer *dgram_answer(struct bpf_sock_addr *ctx,
							       const struct bn_sock_end *from)
{
	struct bn_sock_dgram_key key;

	dgram_key(&key, bpf_get_socket_cookie(ctx), &from->addr, from->port, BN_SOCK_FROM_BACKEND);
	return bpf_map_lookup_elem(&bn_sock_dgram, &key);
}
