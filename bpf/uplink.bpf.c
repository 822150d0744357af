// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/* The programs on every device that leads out of the node. */
#include "lib/hook-uplink.h"

SEC("tc")
int bn_from_uplink(struct __sk_buff *skb)
{
	return from_uplink(skb);
}

SEC("tc")
int bn_to_uplink(struct __sk_buff *skb)
{
	return to_uplink(skb);
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
