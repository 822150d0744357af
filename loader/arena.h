/* SPDX-License-Identifier: Apache-2.0 */
/* Memory that is freed together: an object's variable parts, or a change while it is built. */
#pragma once

#include <stddef.h>

struct bn_arena_chunk;

struct bn_arena {
	struct bn_arena_chunk *chunks;
	size_t used, size; /* of the newest chunk */
};

/* Zeroed memory, or NULL. n * size must not overflow: both come from bounded counts. */
void *bn_arena_alloc(struct bn_arena *arena, size_t n, size_t size);
char *bn_arena_strdup(struct bn_arena *arena, const char *s);
void bn_arena_done(struct bn_arena *arena);
