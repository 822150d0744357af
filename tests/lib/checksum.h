/* SPDX-License-Identifier: Apache-2.0 */
/* Checksums, always from scratch: what the datapath's differences are measured against. */
#pragma once

#include <linux/types.h>
#include <stddef.h>

/* Adds `len` bytes to a running one's-complement sum, as 16-bit words in network order. */
__u32 bn_sum_add(__u32 sum, const void *data, size_t len);
/* The folded and inverted sum, in network order. */
__be16 bn_sum_finish(__u32 sum);
/* CRC32c as SCTP has it (RFC 9260 appendix A), in the order of the wire. */
__le32 bn_crc32c(const void *data, size_t len);
