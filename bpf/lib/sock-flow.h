/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * A flow that was balanced at the socket is a plain one on the wire. Its first packet asks the socket
 * that sent it which service it believes it talks to, so that the flow's records name the service
 * and its backend's connections are counted.
 */
#pragma once

#include "lib/sock-peer.h"

/* The sender's socket, as an answer to the packet would find it; to be released. */
static __always_inline struct bpf_sock *sock_flow_sender(struct __sk_buff *skb,
							 const struct bn_tuple *p, __u64 netns)
{
	struct bpf_sock_tuple t = {};
	__u32 size;

	if (p->family == BN_IPV4) {
		size = sizeof(t.ipv4);
		t.ipv4.saddr = p->daddr.w[3];
		t.ipv4.daddr = p->saddr.w[3];
		t.ipv4.sport = p->dport;
		t.ipv4.dport = p->sport;
	} else {
		size = sizeof(t.ipv6);
		__builtin_memcpy(t.ipv6.saddr, &p->daddr, 16);
		__builtin_memcpy(t.ipv6.daddr, &p->saddr, 16);
		t.ipv6.sport = p->dport;
		t.ipv6.dport = p->sport;
	}
	if (p->protocol == IPPROTO_TCP)
		return bpf_sk_lookup_tcp(skb, &t, size, netns, 0);
	if (p->protocol == IPPROTO_UDP)
		return bpf_sk_lookup_udp(skb, &t, size, netns, 0);
	return NULL;
}

/* Of a socket that isn't the packet's own; 0 where nobody has asked for it yet. */
static __always_inline __u64 sock_cookie(const struct bpf_sock *sk)
{
	return BPF_CORE_READ(sock_kernel(sk), __sk_common.skc_cookie.counter);
}

/* Names the service of the flow in s->fwd, if that is what the socket was told of its peer. */
static __always_inline void sock_flow_name(struct bn_scratch *s, struct bpf_sock *sk, __u64 cookie)
{
	const struct bn_sock_peer *p = sock_peer_of(sk, cookie);
	struct bn_sock_end to;

	to.addr = s->pkt.tuple.daddr;
	to.port = s->pkt.tuple.dport;
	if (!p || !sock_peer_is(p, &to))
		return;
	s->fwd.served = p->id;
	if (!sock_peer_current(p))
		return;
	s->fwd.flags |= BN_FLOW_BACKEND;
	s->fwd.backend = bn_flow_backend(p->index, p->gen);
}

/* The flow in s->fwd is new and has no service. */
BN_GLOBAL int sock_flow_service(struct __sk_buff *skb)
{
	struct bn_scratch *s = bn_scratch_get();
	__u32 ifindex = skb->ifindex;
	struct bn_endpoint *ep;
	struct bpf_sock *sk;
	__u64 netns = BPF_F_CURRENT_NETNS;

	if (!s)
		return 0;
	/* a packet keeps its socket until a stack takes it in */
	sk = skb->sk;
	if (sk) {
		sk = bpf_sk_fullsock(sk);
		if (sk)
			sock_flow_name(s, sk, bpf_get_socket_cookie(skb));
		return 0;
	}
	if (s->pkt.hook == BN_HOOK_FROM_POD) {
		ep = bpf_map_lookup_elem(&bn_endpoints, &ifindex);
		if (!ep || !ep->netns)
			return 0;
		netns = ep->netns - 1;
	}
	sk = sock_flow_sender(skb, &s->pkt.tuple, netns);
	if (!sk)
		return 0;
	sock_flow_name(s, sk, sock_cookie(sk));
	bpf_sk_release(sk);
	return 0;
}
