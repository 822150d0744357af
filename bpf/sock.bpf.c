// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/*
 * Balancing at the socket: a service's address becomes a backend's before the first packet, so a
 * connection costs no translation at all. The programs are attached to a cgroup that holds
 * more than this node's sockets: those of other namespaces pass untouched, and so does whatever
 * is no frontend of a service.
 */
#include "lib/sock-dgram.h"
#include "lib/sock-peer.h"

static __always_inline int sock_connect(struct bpf_sock_addr *ctx, __u8 family)
{
	struct bn_sock_peer peer = {};
	struct bn_ask ask = {};
	struct bn_sock_end to;
	__u32 netns;
	int r;

	peer.netns = bpf_get_netns_cookie(ctx);
	netns = sock_netns(peer.netns);
	if (!netns)
		return 1;
	sock_end_load(&to, ctx, family);
	r = sock_choose(&peer, &ask, &to, (__u8)ctx->protocol, netns);
	if (!ask.id || sock_is_kernels(ctx->sk)) {
		sock_peer_clear(ctx);
		return 1;
	}
	peer.cookie = bpf_get_socket_cookie(ctx);
	if (r)
		return sock_refuse(netns);
	sock_peer_set(ctx, &peer);
	sock_end_store(ctx, family, &peer.backend, peer.backend_port);
	return 1;
}

/* What the process is told of its peer. */
static __always_inline int sock_tell(struct bpf_sock_addr *ctx, __u8 family, bool datagram)
{
	const struct bn_sock_peer *p;
	struct bn_sock_end from;

	p = sock_peer_of(ctx->sk, bpf_get_socket_cookie(ctx));
	if (!p && !datagram)
		return 1;
	sock_end_load(&from, ctx, family);
	if (p && !sock_peer_is(p, &from))
		p = NULL;
	if (!p && datagram && sock_netns(bpf_get_netns_cookie(ctx)))
		p = dgram_answer(ctx, &from);
	if (p)
		sock_end_store(ctx, family, &p->service, p->service_port);
	return 1;
}

SEC("cgroup/connect4")
int bn_connect4(struct bpf_sock_addr *ctx)
{
	return sock_connect(ctx, BN_IPV4);
}

SEC("cgroup/connect6")
int bn_connect6(struct bpf_sock_addr *ctx)
{
	return sock_connect(ctx, BN_IPV6);
}

/* close(): nobody asks for its peer any more. */
SEC("cgroup/sock_release")
int bn_sock_release(struct bpf_sock *ctx)
{
	if (ctx->protocol == IPPROTO_TCP)
		sock_place_leave(bpf_get_socket_cookie(ctx));
	return 1;
}

SEC("cgroup/sendmsg4")
int bn_sendmsg4(struct bpf_sock_addr *ctx)
{
	return dgram_send(ctx, BN_IPV4);
}

SEC("cgroup/sendmsg6")
int bn_sendmsg6(struct bpf_sock_addr *ctx)
{
	return dgram_send(ctx, BN_IPV6);
}

SEC("cgroup/recvmsg4")
int bn_recvmsg4(struct bpf_sock_addr *ctx)
{
	return sock_tell(ctx, BN_IPV4, true);
}

SEC("cgroup/recvmsg6")
int bn_recvmsg6(struct bpf_sock_addr *ctx)
{
	return sock_tell(ctx, BN_IPV6, true);
}

SEC("cgroup/getpeername4")
int bn_getpeername4(struct bpf_sock_addr *ctx)
{
	return sock_tell(ctx, BN_IPV4, false);
}

SEC("cgroup/getpeername6")
int bn_getpeername6(struct bpf_sock_addr *ctx)
{
	return sock_tell(ctx, BN_IPV6, false);
}

/* Whether a port of the node is a service's: under an address of its own, or under all. */
static __always_inline bool port_taken(const struct bn_sock_end *at, __u8 protocol)
{
	struct bn_service_entry *e = service_entry(&at->addr, at->port, protocol);
	union bn_addr any;

	if (!e && !sock_is_any(&at->addr)) {
		sock_any(&any, &at->addr);
		e = service_entry(&any, at->port, protocol);
	}
	return e &&
	       (e->value.kind == BN_FRONTEND_NODE_PORT || e->value.kind == BN_FRONTEND_HOST_PORT);
}

/* A socket that would never get what is sent to its port may not believe that it has it. */
static __always_inline int sock_bound(struct bpf_sock *ctx, struct bn_sock_end *at)
{
	if (sock_netns(bpf_get_netns_cookie(ctx)) != BN_NETNS_NODE)
		return 1;
	at->port = bpf_htons((__u16)ctx->src_port);
	if (!port_taken(at, (__u8)ctx->protocol))
		return 1;
	if (bn_config.features & BN_FEATURE_SET_RETVAL)
		bpf_set_retval(-EADDRINUSE);
	return 0;
}

SEC("cgroup/post_bind4")
int bn_post_bind4(struct bpf_sock *ctx)
{
	struct bn_sock_end at = {};

	bn_addr_set_v4(&at.addr, ctx->src_ip4);
	return sock_bound(ctx, &at);
}

/* A socket bound to :: answers IPv4 too, unless it has said otherwise. */
SEC("cgroup/post_bind6")
int bn_post_bind6(struct bpf_sock *ctx)
{
	struct bn_sock_end at = {};
	int r;

	at.addr.w[0] = ctx->src_ip6[0];
	at.addr.w[1] = ctx->src_ip6[1];
	at.addr.w[2] = ctx->src_ip6[2];
	at.addr.w[3] = ctx->src_ip6[3];
	r = sock_bound(ctx, &at);
	if (!r || !bn_addr_zero(&at.addr) || sock_is_ipv6_only(ctx))
		return r;
	bn_addr_set_v4(&at.addr, 0);
	return sock_bound(ctx, &at);
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
