// SPDX-License-Identifier: Apache-2.0
/*
 * Text for terminals. Names and messages come from manifests, interfaces and the agent, so they
 * are never written as they are: what could move the cursor, change colours or reverse the
 * direction of writing is shown as an escape.
 */
#include "text.h"

#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include "command.h"

/* Bytes of the character at s, 0 where it isn't well-formed UTF-8; its number in *ret. */
static size_t decode(const unsigned char *s, uint32_t *ret)
{
	size_t n = s[0] < 0x80 ? 1 : s[0] >= 0xf0 ? 4 : s[0] >= 0xe0 ? 3 : s[0] >= 0xc2 ? 2 : 0;
	uint32_t c = n == 1 ? s[0] : s[0] & (0x7fu >> n);

	for (size_t i = 1; i < n; i++) {
		if ((s[i] & 0xc0) != 0x80)
			return 0;
		c = c << 6 | (s[i] & 0x3f);
	}
	*ret = c;
	return n;
}

static bool is_control(uint32_t c)
{
	return c < 0x20 || (c >= 0x7f && c < 0xa0) || (c >= 0x200e && c <= 0x200f) ||
	       (c >= 0x2028 && c <= 0x202e) || (c >= 0x2066 && c <= 0x2069);
}

void bn_text_clean(FILE *f, const char *s)
{
	while (*s) {
		uint32_t c = 0;
		size_t n = decode((const unsigned char *)s, &c);

		if (n == 0) {
			fprintf(f, "\\x%02x", (unsigned char)*s);
			n = 1;
		} else if (is_control(c)) {
			fprintf(f, c < 0x100 ? "\\x%02x" : "\\u%04x", c);
		} else {
			fwrite(s, 1, n, f);
		}
		s += n;
	}
}

bool bn_text_is_clean(const char *s)
{
	for (size_t n; *s; s += n) {
		uint32_t c = 0;

		n = decode((const unsigned char *)s, &c);
		if (n == 0 || is_control(c))
			return false;
	}
	return true;
}

void bn_text_clean_json(FILE *f, const char *s, size_t len)
{
	const char *end = s + len;

	while (s < end) {
		uint32_t c = 0;
		size_t n = decode((const unsigned char *)s, &c);

		/* what is no character is none of a JSON text; a raw tab stands outside of strings */
		if (n && n <= (size_t)(end - s) && !is_control(c))
			fwrite(s, 1, n, f);
		else if (n && c >= 0x20)
			fprintf(f, "\\u%04x", c);
		s += n ? n : 1;
	}
}

size_t bn_text_width(const char *s)
{
	size_t n = 0;

	for (; *s; s++)
		n += ((unsigned char)*s & 0xc0) != 0x80;
	return n;
}

bool bn_text_color(const char *when)
{
	const char *no_color = getenv("NO_COLOR");
	const char *term = getenv("TERM");

	if (when && strcasecmp(when, "always") == 0)
		return true;
	if (when && strcasecmp(when, "never") == 0)
		return false;
	return isatty(STDOUT_FILENO) && !(no_color && *no_color) && term &&
	       strcmp(term, "dumb") != 0;
}

int bn_fail(const char *format, ...)
{
	char *text = NULL;
	va_list ap;

	va_start(ap, format);
	if (vasprintf(&text, format, ap) < 0)
		text = NULL;
	va_end(ap);
	fflush(stdout);
	fputs("bpfnet: ", stderr);
	bn_text_clean(stderr, text ? text : "out of memory");
	fputc('\n', stderr);
	free(text);
	return BN_EXIT_FAILED;
}

void bn_text_fill(FILE *f, const char *text, unsigned indent, unsigned width)
{
	unsigned column = 0;

	while (*text) {
		size_t n = strcspn(text, " \n");

		if (n > 0) {
			if (column && column + 1 + n > width) {
				fputc('\n', f);
				column = 0;
			}
			if (column)
				column += (unsigned)fprintf(f, " %.*s", (int)n, text);
			else
				column = (unsigned)fprintf(f, "%*s%.*s", (int)indent, "", (int)n,
							   text);
			text += n;
		}
		if (text[0] == '\n' && text[1] == '\n') {
			fputs("\n\n", f);
			column = 0;
			text += 2;
		} else if (*text) {
			text++;
		}
	}
	if (column)
		fputc('\n', f);
}
