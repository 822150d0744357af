// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/* The program on an uplink's driver. */
#include "lib/hook-xdp.h"

SEC("xdp")
int bn_xdp(struct xdp_md *xdp)
{
	return in_driver(xdp);
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
