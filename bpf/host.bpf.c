// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/* The programs on the pair of devices by which the node's own packets go, and on the loopback. */
#include "lib/hook-host.h"

SEC("tc")
int bn_from_host(struct __sk_buff *skb)
{
	return from_host(skb);
}

SEC("tc")
int bn_host_egress(struct __sk_buff *skb)
{
	return host_egress(skb);
}

SEC("tc")
int bn_from_loopback(struct __sk_buff *skb)
{
	return from_loopback(skb);
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
