// SPDX-License-Identifier: Apache-2.0
/*
 * Checksums for the tests. Written from the RFCs (1071, 9260 appendix A) bit by bit and without
 * looking at the datapath's tables, so that a mistake there can't be repeated here.
 */
#include "checksum.h"

#include <arpa/inet.h>
#include <endian.h>

__u32 bn_sum_add(__u32 sum, const void *data, size_t len)
{
	const __u8 *p = data;

	for (size_t i = 0; i + 1 < len; i += 2)
		sum += (__u32)p[i] << 8 | p[i + 1];
	if (len & 1)
		sum += (__u32)p[len - 1] << 8;
	return (sum & 0xffff) + (sum >> 16);
}

__be16 bn_sum_finish(__u32 sum)
{
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return htons(~sum & 0xffff);
}

__le32 bn_crc32c(const void *data, size_t len)
{
	const __u8 *p = data;
	__u32 crc = ~0u;

	for (size_t i = 0; i < len; i++) {
		crc ^= p[i];
		for (int bit = 0; bit < 8; bit++)
			crc = crc >> 1 ^ (crc & 1 ? 0x82f63b78 : 0);
	}
	return htole32(~crc);
}
