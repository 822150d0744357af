// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/* Run once by the agent, never attached: jiffies and the clock at one moment tell the kernel's HZ. */
#include "lib/uapi.h"

__u64 bn_clock_jiffies = 0;
__u64 bn_clock_ktime = 0;

SEC("tc")
int bn_read_clock(struct __sk_buff *skb)
{
	bn_clock_jiffies = bpf_jiffies64();
	bn_clock_ktime = bpf_ktime_get_ns();
	return 0;
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
