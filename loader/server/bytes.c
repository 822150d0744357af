// SPDX-License-Identifier: Apache-2.0
/*
 * The byte queue of a connection. Invariant: start <= end <= capacity, and an empty queue holds
 * no memory beyond KEEP, so that idle connections cost next to nothing.
 */
#include "server/bytes.h"

#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define KEEP 4096

char *bn_bytes_reserve(struct bn_bytes *b, size_t n)
{
	size_t size = bn_bytes_size(b);
	size_t capacity = b->capacity ? b->capacity : 512;
	char *data;

	if (b->capacity - b->end >= n)
		return b->data + b->end;
	/* moving pays only when it frees at least what it copies */
	if (b->start >= size && b->capacity - size >= n) {
		memmove(b->data, b->data + b->start, size);
		b->start = 0;
		b->end = size;
		return b->data + b->end;
	}
	if (n > SIZE_MAX / 4 - b->end)
		return NULL;
	while (capacity - b->end < n)
		capacity *= 2;
	data = realloc(b->data, capacity);
	if (!data)
		return NULL;
	b->data = data;
	b->capacity = capacity;
	return b->data + b->end;
}

int bn_bytes_append(struct bn_bytes *b, const void *data, size_t n)
{
	char *place = bn_bytes_reserve(b, n);

	if (!place)
		return -ENOMEM;
	memcpy(place, data, n);
	b->end += n;
	return 0;
}

void bn_bytes_consume(struct bn_bytes *b, size_t n)
{
	b->start += n;
	if (b->start < b->end)
		return;
	b->start = b->end = 0;
	if (b->capacity > KEEP)
		bn_bytes_done(b);
}

void bn_bytes_done(struct bn_bytes *b)
{
	free(b->data);
	*b = (struct bn_bytes)BN_BYTES_NULL;
}
