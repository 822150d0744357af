/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* What the wrapper programs and the benchmark agree on; see wrap.bpf.c. */
#pragma once

#include <bpfnet/types.h>

#define WRAP_TAPE_MAX 65536
#define WRAP_HEAD_MAX 80

/* What differs from one repeat to the next; the rest comes from the template. */
struct wrap_tape {
	union bn_addr daddr; /* 0 */
	__be16 sport;        /* 16 */
	__be16 dport;        /* 18 */
	__be16 l3_check;     /* 20  IPv4 */
	__be16 l4_check;     /* 22 */
};
BN_ASSERT_SIZE(struct wrap_tape, 24);
