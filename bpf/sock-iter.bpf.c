// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/*
 * Connected UDP sockets whose backend is gone: nothing but an error tells them, because what they
 * send meets no hook that could send it elsewhere. The first program finds them, in whatever
 * namespace they are; the second, where the kernel has bpf_sock_destroy() (6.5), ends those of the
 * namespace that its iterator was opened in.
 */
#include "lib/sock.h"

extern int bpf_sock_destroy(struct sock_common *sk) __weak __ksym;

#define TCP_ESTABLISHED 1 /* of UDP: connected */

static __always_inline bool iter_is_stale(const struct bn_sock_peer *p, const struct sock *sk)
{
	/* a socket that was closed waits for a grace period, with its storage and without its port */
	return sk->__sk_common.skc_num && sk->__sk_common.skc_state == TCP_ESTABLISHED &&
	       sk->__sk_common.skc_dport == p->backend_port && !sock_peer_current(p);
}

SEC("iter/bpf_sk_storage_map")
int bn_iter_stale(struct bpf_iter__bpf_sk_storage_map *ctx)
{
	const struct bn_sock_peer *p = ctx->value;
	struct seq_file *seq = ctx->meta->seq;
	struct bn_sock_stale stale = {};
	struct sock *sk = ctx->sk;

	if (!sk || !p || sk->sk_protocol != IPPROTO_UDP || !iter_is_stale(p, sk))
		return 0;
	stale.peer = *p;
	stale.local_port = bpf_htons(sk->__sk_common.skc_num);
	if (sk->__sk_common.skc_family == AF_INET) {
		stale.family = BN_IPV4;
		bn_addr_set_v4(&stale.local, sk->__sk_common.skc_rcv_saddr);
	} else {
		stale.family = BN_IPV6;
		bpf_probe_read_kernel(&stale.local, sizeof(stale.local),
				      &sk->__sk_common.skc_v6_rcv_saddr);
	}
	bpf_seq_write(seq, &stale, sizeof(stale));
	return 0;
}

SEC("iter/udp")
int bn_iter_destroy(struct bpf_iter__udp *ctx)
{
	struct sock *sk = (struct sock *)ctx->udp_sk;
	struct bn_sock_peer *p;

	if (!sk || !bpf_ksym_exists(bpf_sock_destroy))
		return 0;
	p = bpf_sk_storage_get(&bn_sock_peer, sk, NULL, 0);
	if (p && iter_is_stale(p, sk))
		bpf_sock_destroy((struct sock_common *)sk);
	return 0;
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
