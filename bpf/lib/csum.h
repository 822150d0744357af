/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * One's-complement arithmetic (RFC 1071, RFC 1624). A *delta* is the folded sum of ~old + new
 * over what changes; adding it to an un-inverted sum updates it.
 */
#pragma once

#include "lib/uapi.h"
#include <bpfnet/types.h>

static __always_inline __u16 csum_fold16(__u64 sum)
{
	sum = (sum & 0xffffffff) + (sum >> 32);
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	return (__u16)sum;
}

/* A checksum field as it stands in the packet (inverted), updated by a delta. */
static __always_inline __u16 csum_apply(__u16 check, __u16 delta)
{
	__u32 sum = (__u16)~check + (__u32)delta;

	sum = (sum & 0xffff) + (sum >> 16);
	return (__u16)~sum;
}

/* The same for the un-inverted sum that stands in a CHECKSUM_PARTIAL packet's field. */
static __always_inline __u16 csum_apply_plain(__u16 sum16, __u16 delta)
{
	__u32 sum = (__u32)sum16 + delta;

	return (__u16)((sum & 0xffff) + (sum >> 16));
}

static __always_inline __u64 csum_addr_delta(const union bn_addr *from, const union bn_addr *to)
{
	/* the mapped prefix of IPv4 cancels out, so this serves both families */
	return (__u64)(__u32)~from->w[0] + to->w[0] + (__u32)~from->w[1] + to->w[1] +
	       (__u32)~from->w[2] + to->w[2] + (__u32)~from->w[3] + to->w[3];
}

static __always_inline __u64 csum_u16_delta(__u16 from, __u16 to)
{
	return (__u64)(__u16)~from + to;
}
