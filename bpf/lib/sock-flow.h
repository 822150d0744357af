/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * A flow that was balanced at the socket is a plain one on the wire. Its first packet asks the socket
 * that sent it which service it believes it talks to, so that the flow's records name the service
 * and its backend's connections are counted.
 */
#pragma once

#include "lib/sock.h"

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

/* Names the service of the flow in s->fwd, which is new and has none. */
BN_GLOBAL int sock_flow_service(struct __sk_buff *skb)
{
	struct bn_scratch *s = bn_scratch_get();
	__u32 ifindex = skb->ifindex;
	const struct bn_sock_peer *p;
	struct bn_endpoint *ep;
	struct bn_sock_end to;
	struct bpf_sock *sk;
	__u64 netns = BPF_F_CURRENT_NETNS;

	if (!s)
		return 0;
	if (s->pkt.hook == BN_HOOK_FROM_POD) {
		ep = bpf_map_lookup_elem(&bn_endpoints, &ifindex);
		if (!ep || !ep->netns)
			return 0;
		netns = ep->netns - 1;
	}
	sk = sock_flow_sender(skb, &s->pkt.tuple, netns);
	if (!sk)
		return 0;
	p = bpf_sk_storage_get(&bn_sock_peer, sk, NULL, 0);
	to.addr = s->pkt.tuple.daddr;
	to.port = s->pkt.tuple.dport;
	if (p && sock_peer_is(p, &to)) {
		s->fwd.service = p->id;
		if (sock_peer_current(p)) {
			s->fwd.flags |= BN_FLOW_BACKEND;
			s->fwd.backend = p->index;
			s->fwd.backend_gen = p->gen;
		}
	}
	bpf_sk_release(sk);
	return 0;
}
