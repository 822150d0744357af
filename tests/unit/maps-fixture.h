/* SPDX-License-Identifier: Apache-2.0 */
/* Maps of a test's own, without programs. */
#pragma once

#include <bpf/bpf.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static inline int maps_hash(uint32_t ks, uint32_t vs, uint32_t max)
{
	int fd = bpf_map_create(BPF_MAP_TYPE_HASH, "bn_test", ks, vs, max, NULL);

	assert_true(fd >= 0);
	return fd;
}

static inline int maps_array(uint32_t vs, uint32_t max, uint32_t flags)
{
	LIBBPF_OPTS(bpf_map_create_opts, opts, .map_flags = flags);
	int fd = bpf_map_create(BPF_MAP_TYPE_ARRAY, "bn_test", 4, vs, max, &opts);

	assert_true(fd >= 0);
	return fd;
}
