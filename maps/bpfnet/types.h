/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * Types that both sides of the ABI agree on. `__bpf__` is defined by clang's BPF target; there
 * the kernel's own types come from vmlinux.h, in user space from the uapi headers.
 *
 * Rules for everything under maps/: fixed-width types only, padding explicit and zeroed (hash
 * keys are compared byte by byte), `__be16`/`__be32` for what is in network byte order, no bool,
 * no pointer, no bare enum in a stored struct, and the layout asserted where it is declared.
 */
#pragma once

#ifdef __bpf__
#include "vmlinux.h"
#else
#include <linux/bpf.h>
#include <linux/types.h>
#include <stddef.h>
#endif

#ifndef BN_ASSERT_SIZE
#define BN_ASSERT_SIZE(type, size) \
	_Static_assert(sizeof(type) == (size), "ABI: sizeof(" #type ") must be " #size)
#define BN_ASSERT_AT(type, member, offset) \
	_Static_assert(__builtin_offsetof(type, member) == (offset), \
		       "ABI: " #type "." #member " must be at " #offset)
#endif

/*
 * An address of either family in 16 bytes, network byte order. IPv4 is stored as its mapped
 * form ::ffff:a.b.c.d (RFC 4291 section 2.5.5.2), so one key type serves both families. Real
 * IPv6 packets may not carry mapped addresses (RFC 6890); the datapath drops them, so the two
 * families can't meet in one key.
 */
union bn_addr {
	__be32 w[4];
	__u64 d[2];
	__u8 b[16];
};
BN_ASSERT_SIZE(union bn_addr, 16);

/* Address families as they are stored in keys and events: the IP version, not AF_*. */
enum bn_family {
	BN_IPV4 = 4,
	BN_IPV6 = 6,
};

/*
 * A flow's key: addresses and ports as they are in the packet. For ICMP and ICMPv6 echo the
 * identifier takes the place of a port: sport of a request, dport of a reply, the other one 0,
 * so that a reply's tuple is its request's, reversed. Protocols without ports have both 0.
 */
struct bn_tuple {
	union bn_addr saddr; /* 0 */
	union bn_addr daddr; /* 16 */
	__be16 sport;        /* 32 */
	__be16 dport;        /* 34 */
	__u8 protocol;       /* 36  IPPROTO_* of the upper layer, after extension headers */
	__u8 family;         /* 37  enum bn_family */
	__u16 pad;           /* 38 */
};
BN_ASSERT_SIZE(struct bn_tuple, 40);
BN_ASSERT_AT(struct bn_tuple, sport, 32);
BN_ASSERT_AT(struct bn_tuple, protocol, 36);

static inline __attribute__((always_inline)) void bn_addr_set_v4(union bn_addr *a, __be32 v4)
{
	a->d[0] = 0;
#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
	a->w[2] = 0xffff0000;
#else
	a->w[2] = 0x0000ffff;
#endif
	a->w[3] = v4;
}

static inline __attribute__((always_inline)) int bn_addr_is_v4(const union bn_addr *a)
{
#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
	return a->d[0] == 0 && a->w[2] == 0xffff0000;
#else
	return a->d[0] == 0 && a->w[2] == 0x0000ffff;
#endif
}

static inline __attribute__((always_inline)) int bn_addr_equal(const union bn_addr *a,
							       const union bn_addr *b)
{
	return a->d[0] == b->d[0] && a->d[1] == b->d[1];
}

static inline __attribute__((always_inline)) void bn_tuple_reverse(struct bn_tuple *ret,
								   const struct bn_tuple *t)
{
	ret->saddr = t->daddr;
	ret->daddr = t->saddr;
	ret->sport = t->dport;
	ret->dport = t->sport;
	ret->protocol = t->protocol;
	ret->family = t->family;
	ret->pad = 0;
}
