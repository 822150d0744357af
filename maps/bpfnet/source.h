/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * bn_sources: whom a restricted service (BN_SERVICE_RESTRICTED) admits from outside, by longest
 * prefix of the service's id and the source's address; and with BN_SOURCE_ANSWERS in the id, whole,
 * which backends of it this node has, in whatever state, and so may answer from a frontend of the
 * service that another node has (bpfnet/dsr.h).
 */
#pragma once

#include <bpfnet/types.h>

struct bn_source_key {
	__u32 prefixlen; /* 0   BN_SOURCE_PREFIX(), never within the id; BN_SOURCE_WHOLE */
	__u32 service;   /* 4   bn_service.id, perhaps BN_SOURCE_ANSWERS */
	__be32 addr[4];  /* 8   as union bn_addr, which would be aligned to 8 */
	__be16 port;     /* 24  of the backend */
	__u8 protocol;   /* 26  likewise */
	__u8 pad;        /* 27 */
};
BN_ASSERT_SIZE(struct bn_source_key, 28);

#define BN_SOURCE_ANSWERS (1u << 31)

/* `bits` of the address in its 16-byte form: IPv4 prefixes are 96 bits longer. */
#define BN_SOURCE_PREFIX(bits) (32 + (bits))
#define BN_SOURCE_WHOLE (32 + 128 + 32)

struct bn_source {
	__u32 pad; /* 0   that it is there is all it says */
};
BN_ASSERT_SIZE(struct bn_source, 4);
