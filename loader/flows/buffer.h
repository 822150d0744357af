/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An append buffer for text that is made often: it grows, is reset rather than freed, and keeps
 * the first failure, so that a writer checks once, at the end.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

struct bn_buf {
	char *data;
	size_t len;
	size_t size;
	bool failed; /* out of memory: data is incomplete */
};

#define BN_BUF_INIT {0}

void bn_buf_reset(struct bn_buf *b);
void bn_buf_done(struct bn_buf *b);
/* Makes room for `len` more bytes; false, and failed set, where there is no memory. */
bool bn_buf_reserve(struct bn_buf *b, size_t len);
void bn_buf_u64(struct bn_buf *b, uint64_t v);
/*
 * A JSON string with its quotes. Control characters (C0, DEL and C1) leave as \u escapes and
 * bytes that are no UTF-8 as U+FFFD, so what is printed can't drive a terminal.
 */
void bn_buf_json_string(struct bn_buf *b, const char *s);
void bn_buf_json_text(struct bn_buf *b, const char *s); /* the same without the quotes */

static inline void bn_buf_put(struct bn_buf *b, const char *data, size_t len)
{
	if (b->size - b->len < len && !bn_buf_reserve(b, len))
		return;
	memcpy(b->data + b->len, data, len);
	b->len += len;
}

static inline void bn_buf_puts(struct bn_buf *b, const char *s)
{
	bn_buf_put(b, s, strlen(s));
}

static inline void bn_buf_putc(struct bn_buf *b, char c)
{
	bn_buf_put(b, &c, 1);
}
