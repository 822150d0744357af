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

static inline __attribute__((always_inline)) __u64 bn_hash_finish(__u64 h, __u64 key)
{
	h ^= h >> 32;
	h *= key;
	return h ^ h >> 32;
}

/* `key`: BN_HASH_KEYS secret odd numbers. */
static inline __attribute__((always_inline)) __u64 bn_hash_tuple(const volatile __u64 *key,
								 const struct bn_tuple *t)
{
	const __u64 *w = (const __u64 *)t;

	return bn_hash_finish(w[0] * key[0] + w[1] * key[1] + w[2] * key[2] + w[3] * key[3] +
				      w[4] * key[4],
			      key[5]);
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
