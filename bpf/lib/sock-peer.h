/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * Where it is kept what a connected socket was told. A socket's storage costs two allocations and
 * two frees, a fortieth of a short connection, so TCP has a table of places besides, which follow
 * from the socket's cookie. One that finds its place taken by another socket has its storage.
 */
#pragma once

#include "lib/sock.h"

static __always_inline struct bn_sock_place *sock_place(__u64 cookie)
{
	__u32 at = cookie & (BN_SOCK_PLACES - 1);

	return bpf_map_lookup_elem(&bn_sock_tcp, &at);
}

/* Where `sk` was told something: NULL if it was not. The cookie is its own, 0: it has none. */
static __always_inline struct bn_sock_peer *sock_peer_of(void *sk, __u64 cookie)
{
	struct bn_sock_place *place = sock_place(cookie);

	if (place && cookie && place->peer.cookie == cookie)
		return &place->peer;
	return bpf_sk_storage_get(&bn_sock_peer, sk, NULL, 0);
}

/* The place is the socket's, whose cookie is p->cookie, from now on; false: another has it. */
static __always_inline bool sock_place_take(const struct bn_sock_peer *p)
{
	struct bn_sock_place *place = sock_place(p->cookie);
	bool mine;

	if (!place)
		return false;
	bpf_spin_lock(&place->lock);
	mine = !place->peer.cookie || place->peer.cookie == p->cookie;
	if (mine)
		place->peer = *p;
	bpf_spin_unlock(&place->lock);
	return mine;
}

static __always_inline void sock_place_leave(__u64 cookie)
{
	struct bn_sock_place *place = sock_place(cookie);

	/* nobody else writes it before that */
	if (place && place->peer.cookie == cookie)
		*(volatile __u64 *)&place->peer.cookie = 0;
}

static __always_inline void sock_peer_set(struct bpf_sock_addr *ctx, const struct bn_sock_peer *p)
{
	struct bn_sock_peer *stored;

	if (ctx->protocol == IPPROTO_TCP && sock_place_take(p))
		return;
	/* out of memory: it talks to the backend, and getpeername() says so */
	stored = bpf_sk_storage_get(&bn_sock_peer, ctx->sk, NULL, BPF_SK_STORAGE_GET_F_CREATE);
	if (stored)
		*stored = *p;
}

/* Connected again, to what is no service. */
static __always_inline void sock_peer_clear(struct bpf_sock_addr *ctx)
{
	sock_place_leave(bpf_get_socket_cookie(ctx));
	bpf_sk_storage_delete(&bn_sock_peer, ctx->sk);
}
