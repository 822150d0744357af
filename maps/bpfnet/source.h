/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * bn_sources: whom a restricted service (BN_SERVICE_RESTRICTED) admits from outside, by longest
 * prefix of the service's id and the source's address.
 */
#pragma once

#include <bpfnet/types.h>

struct bn_source_key {
	__u32 prefixlen; /* 0   BN_SOURCE_PREFIX(), never within the id */
	__u32 service;   /* 4   bn_service.id */
	__be32 addr[4];  /* 8   as union bn_addr, which would be aligned to 8 */
};
BN_ASSERT_SIZE(struct bn_source_key, 24);

/* `bits` of the address in its 16-byte form: IPv4 prefixes are 96 bits longer. */
#define BN_SOURCE_PREFIX(bits) (32 + (bits))

struct bn_source {
	__u32 pad; /* 0   that it is there is all it says */
};
BN_ASSERT_SIZE(struct bn_source, 4);
