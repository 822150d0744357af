// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/* The programs on the host side of every pod's veth: loaded once, attached to each. */
#include "lib/hook-pod.h"

SEC("tc")
int bn_from_pod(struct __sk_buff *skb)
{
	return from_pod(skb);
}

SEC("tc")
int bn_to_pod(struct __sk_buff *skb)
{
	return to_pod(skb);
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
