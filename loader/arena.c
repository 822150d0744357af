// SPDX-License-Identifier: Apache-2.0
/*
 * A bump allocator. Chunks start small and double, because most objects are a few hundred bytes
 * and there are tens of thousands of them. Every chunk but the newest is full.
 */
#include "arena.h"

#include <stdalign.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define ARENA_FIRST 240 /* with the chunk's and malloc's header 256 */
#define ARENA_LARGEST 65536

struct bn_arena_chunk {
	struct bn_arena_chunk *next;
	alignas(max_align_t) char data[];
};

void *bn_arena_alloc(struct bn_arena *arena, size_t n, size_t size)
{
	struct bn_arena_chunk *chunk;
	size_t bytes, room;
	void *p;

	if (__builtin_mul_overflow(n, size, &bytes) || bytes > SIZE_MAX / 2)
		return NULL;
	bytes = (bytes + alignof(void *) - 1) & ~(alignof(void *) - 1);
	if (!arena->chunks || arena->size - arena->used < bytes) {
		room = arena->chunks ? arena->size * 2 : ARENA_FIRST;
		if (room > ARENA_LARGEST)
			room = ARENA_LARGEST;
		if (room < bytes)
			room = bytes;
		chunk = malloc(sizeof(*chunk) + room);
		if (!chunk)
			return NULL;
		chunk->next = arena->chunks;
		arena->chunks = chunk;
		arena->size = room;
		arena->used = 0;
	}
	p = arena->chunks->data + arena->used;
	arena->used += bytes;
	return memset(p, 0, bytes);
}

char *bn_arena_strdup(struct bn_arena *arena, const char *s)
{
	size_t n = strlen(s) + 1;
	char *copy = bn_arena_alloc(arena, n, 1);

	return copy ? memcpy(copy, s, n) : NULL;
}

void bn_arena_done(struct bn_arena *arena)
{
	while (arena->chunks) {
		struct bn_arena_chunk *next = arena->chunks->next;

		free(arena->chunks);
		arena->chunks = next;
	}
	arena->used = arena->size = 0;
}
