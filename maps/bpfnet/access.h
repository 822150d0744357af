/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Typed access to the maps from user space. Descriptors are borrowed. All functions return 0 or
 * -errno; outputs are untouched on failure. Batched calls fall back to single ones where a kernel
 * or a map type has no batch operation.
 */
#pragma once

#include <bpfnet/config.h>
#include <bpfnet/endpoint.h>
#include <bpfnet/event.h>
#include <bpfnet/flow.h>
#include <bpfnet/service.h>
#include <bpfnet/sock.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define BN_MAP_TOKEN 64 /* of a batch: at least the largest key */

struct bn_map_shape {
	uint32_t type; /* enum bpf_map_type */
	uint32_t key_size;
	uint32_t value_size; /* of one CPU's value in per-CPU maps */
	uint32_t max_entries;
	uint32_t flags;
	char name[16];
};

int bn_map_shape(int fd, struct bn_map_shape *ret);

/* Writes n entries. On failure *ret_done (may be NULL) tells how many were written. */
int bn_map_write(int fd, const void *keys, const void *values, size_t n, size_t *ret_done);
/* Deletes n keys; those that don't exist are no error. */
int bn_map_delete(int fd, const void *keys, size_t n);
/*
 * Calls fn for every entry of a hash map. An entry that is deleted while this runs may be missed
 * or seen; a return other than 0 ends the walk and is returned.
 */
int bn_map_each(int fd, int (*fn)(void *user, const void *key, const void *value), void *user);
/* The same in parts, for who must not take long; zeroed, it begins. */
struct bn_map_cursor {
	bool begun;
	char token[BN_MAP_TOKEN];
};
/*
 * Calls fn for the next `n` entries or so, and tells whether there are more; at the end the cursor
 * begins anew. A map type without batches is walked whole.
 */
int bn_map_walk(int fd, struct bn_map_cursor *at, uint32_t n, bool *ret_more,
		int (*fn)(void *user, const void *key, const void *value), void *user);
/* Reads `count` elements of an array from `first`; elem_flags as BPF_F_LOCK. */
int bn_array_read(int fd, uint32_t first, uint32_t count, void *ret_values, uint64_t elem_flags);
/* Writes `count` elements of an array from `first`. */
int bn_array_write(int fd, uint32_t first, uint32_t count, const void *values);

/* Sums over CPUs. */
int bn_counters_read(int fd, uint64_t ret[BN_CNT_MAX]);
int bn_counter_read(int fd, enum bn_counter counter, uint64_t *ret);
int bn_drops_read(int fd, struct bn_drop_counter ret[BN_DROP_MAX]);

/* Entries in use; for arrays and ring buffers max_entries. */
int bn_map_count(int fd, uint64_t *ret);
/* Kernel memory of the map, from fdinfo's memlock; bytes. */
int bn_map_bytes(int fd, uint64_t *ret);
