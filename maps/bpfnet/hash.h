/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * The hash of the set tables, the same on both sides of the ABI: multilinear over 64-bit words
 * with secret odd keys (Carter and Wegman 1979; Lemire and Kaser 2014), most of its products independent
 * of each other so that the CPU makes them side by side, and a bijective finish that spreads the
 * high bits, the good ones, over all of the result.
 */
#pragma once

#include <bpfnet/types.h>

#define BN_HASH_KEYS 6
/* Of bn_hash_tuple(): another's entries are looked for where they are not, so they are put anew. */
#define BN_HASH_VERSION 2

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

/* What the low halves of a flow's two directions differ in, where its client is known by its port. */
#define BN_HASH_OPPOSITE 0x80000001u

/*
 * The high half tells the flows of a set apart, any two of which differ in it as dice do. The low one says
 * where in a table a flow is, and most of what a new flow costs is waiting for memory and for what translates
 * its address. So it is made of as little of the tuple as will do:
 *
 * Of two ports of which one is a client's, as kernels give them out (Linux from 32768, RFC 6335 from 49152),
 * only that end counts. It is the same in both directions whatever a service makes of the other end, so the
 * answers' place is known before the backend is: the set beside. Else (a client with a low port, a server
 * with a high one) both ends count, and the directions' places have nothing to do with each other.
 *
 * Ports that follow each other get neighbours: kernels give them out in steps of two, so that some
 * connections after each other share a page.
 *
 * Where a client's flows are is secret, as it is of any other hash: nobody can aim at others' places. A
 * client who has many from one port has them in one set, and so has a server with a high port those from
 * low ones; what doesn't fit there is all over the table's other half (bn_flow_other()), and costs a look
 * more.
 *
 * `key`: BN_HASH_KEYS secret odd numbers.
 */
static inline __attribute__((always_inline)) __u64 bn_hash_tuple(const volatile __u64 *key,
								 const struct bn_tuple *t)
{
	const __u64 *w = (const __u64 *)t;
	__u64 source = w[0] * key[0] + w[1] * key[1];
	__u64 destination = w[2] * key[0] + w[3] * key[1];
	__u32 ports, rest, at, opposite = 0;
	__u64 hash;

	__builtin_memcpy(&ports, &t->sport, sizeof(ports));
	__builtin_memcpy(&rest, &t->protocol, sizeof(rest));
	ports = BN_HASH_BE32(ports);
	hash = bn_hash_finish(source * key[2] + destination * key[3] + rest * key[4], key[5]) +
	       ((__u64)(ports * 0x9e3779b1u) << 32);
	if (!((ports ^ ports << 16) & 0x80000000)) {
		at = (__u32)hash;
		ports = (ports >> 16) + (ports & 0xffff);
	} else if (ports & 0x80000000) {
		at = (__u32)bn_hash_finish(source, key[5]);
		ports >>= 16;
	} else {
		at = (__u32)bn_hash_finish(destination, key[5]);
		ports &= 0xffff;
		opposite = BN_HASH_OPPOSITE;
	}
	/* an odd port is nowhere near its even neighbours */
	at += (ports >> 1) + (ports & 1) * 0x35a7;
	return hash >> 32 << 32 | (at ^ opposite);
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
