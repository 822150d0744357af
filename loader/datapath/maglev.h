/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Maglev lookup tables (Eisenbud et al., NSDI 2016, section 3.4): which backend a flow's hash
 * means. The table follows from the set of backends alone, whatever their order, the history or
 * the node, so every node sends a flow to the same backend, and a backend that comes or goes moves
 * few flows of the others.
 */
#pragma once

#include <bpfnet/types.h>
#include <stddef.h>
#include <stdint.h>

/*
 * Entries for each backend, at least. Removing one of n backends whose weights are alike moves this
 * share of the flows of the others, mean of ten sets:
 *
 *   entries a backend     20     41     82    164    327    655   1311
 *   of n = 10           7.9 %  4.5 %  3.0 %  1.9 %  1.3 %  0.9 %
 *   of n = 100          3.8 %  3.2 %  2.6 %  1.7 %  1.1 %  0.7 %  0.4 %
 *   of n = 1000         2.1 %  1.5 %  0.9 %  0.6 %  0.5 %  0.5 %  0.4 %
 *
 * and the busiest backend has at most 1 % more than the mean. What it costs is memory: a service
 * of 10 backends takes 2 KB, one of 100 takes 32 KB.
 */
#define BN_MAGLEV_RATIO 100

/* A table's places are 16 bits. */
#define BN_MAGLEV_BACKENDS_MAX 65535

struct bn_maglev_backend {
	union bn_addr addr;
	uint16_t port;   /* host byte order */
	uint16_t weight; /* shares; 0: takes no flow */
};

/*
 * The size of the table for n backends, a prime; 0 where there is nothing to choose. Sizes stand
 * just below powers of four: places are allotted in powers of two, and another size moves all flows
 * that no flow table holds, so steps are wide (at 2, 10, 40, 163, 655, 2621 ... backends).
 */
uint32_t bn_maglev_size(size_t n);

/*
 * Fills ret_table, of `size` entries (as bn_maglev_size() says), with indices into `backends`,
 * each as often as its weight asks for, to within one entry. Returns 0 or -errno: -EINVAL where
 * all weights are 0, -E2BIG for too many backends.
 */
int bn_maglev_build(const struct bn_maglev_backend *backends, size_t n, uint32_t size,
		    uint16_t *ret_table);
