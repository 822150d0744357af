/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* The node's constants, in .rodata: the verifier drops branches that they rule out. */
#pragma once

#include "lib/uapi.h"
#include <bpfnet/config.h>
#include <bpfnet/limits.h>

const volatile struct bn_config bn_config = {
	.hash_key = {0x9fb21c651e98df25ull, 0xbf58476d1ce4e5b9ull, 0x94d049bb133111ebull,
		     0xd6e8feb86659fd93ull, 0xa0761d6478bd642full, 0xe7037ed1a0b428dbull},
	.flow_mask = BN_DEFAULT_FLOW_SETS - 1,
	.service_groups = BN_DEFAULT_SERVICE_GROUPS,
	.hz = 250,
	.features = BN_FEATURE_EVENTS | BN_FEATURE_REDIRECT_PEER,
	.event_rate = 1000,
	.nat_port_min = 61000,
	.nat_port_max = 65535,
	.gateway4 = {.b = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 169, 254, 1, 1}},
	.gateway6 = {.b = {0xfe, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1}},
	.life =
		{
#define BN_X(name, seconds, text) .name = (seconds) * 250,
			BN_LIFETIMES(BN_X)
#undef BN_X
		},
};

static __always_inline __u32 bn_now(void)
{
	return (__u32)bpf_jiffies64();
}

/* The gateway's address, which ICMP errors come from where the node has none of the family. */
static __always_inline void bn_gateway(__u8 family, union bn_addr *ret)
{
	if (family == BN_IPV4) {
		ret->d[0] = bn_config.gateway4.d[0];
		ret->d[1] = bn_config.gateway4.d[1];
	} else {
		ret->d[0] = bn_config.gateway6.d[0];
		ret->d[1] = bn_config.gateway6.d[1];
	}
}
