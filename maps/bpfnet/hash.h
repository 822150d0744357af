/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * The hash of the set tables, the same on both sides of the ABI: multilinear over 64-bit words
 * with secret odd keys (Carter and Wegman 1979; Lemire and Kaser 2014), its products independent
 * of each other so that the CPU makes them side by side, and a bijective finish that spreads the
 * high bits, the good ones, over all of the result.
 */
#pragma once

#include <bpfnet/types.h>

#define BN_HASH_KEYS 6
/* Of bn_hash_tuple(): another's entries are looked for where they are not, so they are put anew. */
#define BN_HASH_VERSION 1

#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
#define BN_HASH_BE32(x) __builtin_bswap32(x)
#else
#define BN_HASH_BE32(x) ((__u32)(x))
#endif

static inline __attribute__((always_inline)) __u64 bn_hash_finish(__u64 h, __u64 key)
{
	h ^= h >> 32;
	h *= key;
	return h ^ h >> 32;
}

/*
 * Of two ends' flows, those whose ports follow each other get neighbours of the low half, which says
 * where in a table they are: most of what a new flow costs is waiting for memory and for what translates
 * its address, and kernels give out ports in steps of two, so four connections after each other share a
 * page. Where all of them are is secret, as it is of any other hash: nobody can aim at others' places. The
 * high halves of two ends' flows differ for any two pairs of ports.
 *
 * `key`: BN_HASH_KEYS secret odd numbers.
 */
static inline __attribute__((always_inline)) __u64 bn_hash_tuple(const volatile __u64 *key,
								 const struct bn_tuple *t)
{
	const __u64 *w = (const __u64 *)t;
	__u32 ports, rest, sum;
	__u64 h;

	__builtin_memcpy(&ports, &t->sport, sizeof(ports));
	__builtin_memcpy(&rest, &t->protocol, sizeof(rest));
	h = bn_hash_finish(w[0] * key[0] + w[1] * key[1] + w[2] * key[2] + w[3] * key[3] +
				   rest * key[4],
			   key[5]);
	ports = BN_HASH_BE32(ports);
	sum = (ports >> 16) + (ports & 0xffff);
	/* an odd port is nowhere near its even neighbours */
	return h + ((__u64)(ports * 0x9e3779b1u) << 32) + (sum >> 1) + (sum & 1) * 0x35a7;
}

static inline __attribute__((always_inline)) __u64
bn_hash_frontend(const volatile __u64 *key, const union bn_addr *addr, __be16 port, __u8 protocol)
{
	return bn_hash_finish(addr->d[0] * key[0] + addr->d[1] * key[1] +
				      ((__u64)port << 8 | protocol) * key[2],
			      key[5]);
}

#ifndef __bpf__
/* Keys from one secret number, by splitmix64 (Steele, Lea and Flood 2014). */
static inline void bn_hash_keys(__u64 seed, __u64 ret[BN_HASH_KEYS])
{
	for (int i = 0; i < BN_HASH_KEYS; i++) {
		__u64 z = seed += 0x9e3779b97f4a7c15ull;

		z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9ull;
		z = (z ^ z >> 27) * 0x94d049bb133111ebull;
		ret[i] = (z ^ z >> 31) | 1;
	}
}
#endif
