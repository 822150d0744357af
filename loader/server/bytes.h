/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A queue of bytes: appended at the end, consumed at the front. Grows by doubling, so memory
 * follows what has really arrived; gives its memory back when it runs empty.
 */
#pragma once

#include <stddef.h>

struct bn_bytes {
	char *data; /* owned; the bytes are data[start .. end) */
	size_t start;
	size_t end;
	size_t capacity;
};

#define BN_BYTES_NULL {0}

static inline size_t bn_bytes_size(const struct bn_bytes *b)
{
	return b->end - b->start;
}

static inline char *bn_bytes_head(struct bn_bytes *b)
{
	return b->data + b->start;
}

/* Makes place for n more bytes behind the last one; the pointer to it, or NULL. */
char *bn_bytes_reserve(struct bn_bytes *b, size_t n);
int bn_bytes_append(struct bn_bytes *b, const void *data, size_t n);
void bn_bytes_consume(struct bn_bytes *b, size_t n);
void bn_bytes_done(struct bn_bytes *b);
