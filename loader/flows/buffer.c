// SPDX-License-Identifier: Apache-2.0
/*
 * The append buffer under the flow writer. A line of a flow is made for every event that some
 * reader wants to see, so a number costs no printf and a clean stretch of a string one memcpy.
 *
 * Invariant: len <= size, and once `failed` is set nothing is appended until a reset.
 */
#include "flows/buffer.h"

#include <stdlib.h>

#define BUFFER_FIRST 1024

void bn_buf_reset(struct bn_buf *b)
{
	b->len = 0;
	b->failed = false;
}

void bn_buf_done(struct bn_buf *b)
{
	if (!b)
		return;
	free(b->data);
	*b = (struct bn_buf)BN_BUF_INIT;
}

bool bn_buf_reserve(struct bn_buf *b, size_t len)
{
	size_t size = b->size ? b->size : BUFFER_FIRST;
	char *data;

	if (b->failed)
		return false;
	while (size - b->len < len) {
		if (size > SIZE_MAX / 2)
			goto fail;
		size *= 2;
	}
	if (size == b->size)
		return true;
	data = realloc(b->data, size);
	if (!data)
		goto fail;
	b->data = data;
	b->size = size;
	return true;
fail:
	b->failed = true;
	return false;
}

void bn_buf_u64(struct bn_buf *b, uint64_t v)
{
	char digits[20];
	char *p = digits + sizeof(digits);

	do {
		*--p = (char)('0' + v % 10);
		v /= 10;
	} while (v);
	bn_buf_put(b, p, (size_t)(digits + sizeof(digits) - p));
}

/* Length of the UTF-8 sequence at s, 0 where it is none (RFC 3629: no overlong, no surrogate). */
static size_t utf8_len(const unsigned char *s)
{
	if (s[0] < 0x80)
		return 1;
	if (s[0] >= 0xc2 && s[0] <= 0xdf)
		return (s[1] & 0xc0) == 0x80 ? 2 : 0;
	if (s[0] >= 0xe0 && s[0] <= 0xef) {
		if ((s[1] & 0xc0) != 0x80 || (s[2] & 0xc0) != 0x80)
			return 0;
		if ((s[0] == 0xe0 && s[1] < 0xa0) || (s[0] == 0xed && s[1] > 0x9f))
			return 0;
		return 3;
	}
	if (s[0] >= 0xf0 && s[0] <= 0xf4) {
		if ((s[1] & 0xc0) != 0x80 || (s[2] & 0xc0) != 0x80 || (s[3] & 0xc0) != 0x80)
			return 0;
		if ((s[0] == 0xf0 && s[1] < 0x90) || (s[0] == 0xf4 && s[1] > 0x8f))
			return 0;
		return 4;
	}
	return 0;
}

static void put_escape(struct bn_buf *b, unsigned char c)
{
	static const char hex[] = "0123456789abcdef";
	char text[6] = {'\\', 'u', '0', '0', hex[c >> 4], hex[c & 15]};

	bn_buf_put(b, text, sizeof(text));
}

void bn_buf_json_text(struct bn_buf *b, const char *text)
{
	const unsigned char *s = (const unsigned char *)text;
	const unsigned char *clean = s;

	while (*s) {
		size_t len = utf8_len(s);
		bool plain = len > 1 ? s[0] != 0xc2 || s[1] >= 0xa0
				     : len == 1 && *s >= 0x20 && *s != 0x7f && *s != '"' &&
					       *s != '\\';

		if (plain) {
			s += len;
			continue;
		}
		bn_buf_put(b, (const char *)clean, (size_t)(s - clean));
		if (len == 0) {
			bn_buf_puts(b, "\xef\xbf\xbd");
			len = 1;
		} else if (*s == '"' || *s == '\\') {
			bn_buf_putc(b, '\\');
			bn_buf_putc(b, (char)*s);
		} else {
			put_escape(b, len == 2 ? s[1] : s[0]);
		}
		s += len;
		clean = s;
	}
	bn_buf_put(b, (const char *)clean, (size_t)(s - clean));
}

void bn_buf_json_string(struct bn_buf *b, const char *s)
{
	bn_buf_putc(b, '"');
	bn_buf_json_text(b, s);
	bn_buf_putc(b, '"');
}
