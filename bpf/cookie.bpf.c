// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/* Attached for a moment, to a cgroup with one process: the network namespace of the socket it makes. */
#include "lib/uapi.h"

__u64 bn_cookie = 0;

SEC("cgroup/sock_create")
int bn_read_cookie(struct bpf_sock *ctx)
{
	bn_cookie = bpf_get_netns_cookie(ctx);
	return 1;
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
