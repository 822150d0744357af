/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* What the contexts of tc and XDP programs have in common. */
#pragma once

#include "lib/packet.h"

struct bn_frame {
	void *data, *end;
	__u32 len; /* from the Ethernet header on; tc: with what is not linear */
	__u32 ifindex;
};

/* `hook` is a constant, so only one half is left of this. */
static __always_inline void frame_of(struct bn_frame *ret, void *ctx, const enum bn_hook hook)
{
	if (hook == BN_HOOK_XDP) {
		struct xdp_md *xdp = ctx;

		ret->data = (void *)(long)xdp->data;
		ret->end = (void *)(long)xdp->data_end;
		ret->len = ret->end - ret->data;
		ret->ifindex = xdp->ingress_ifindex;
	} else {
		struct __sk_buff *skb = ctx;

		ret->data = (void *)(long)skb->data;
		ret->end = (void *)(long)skb->data_end;
		ret->len = skb->len;
		ret->ifindex = skb->ifindex;
	}
}
