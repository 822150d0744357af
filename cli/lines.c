// SPDX-License-Identifier: Apache-2.0
#include "lines.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define READ_SIZE (64u << 10)

/* Makes room for READ_SIZE bytes behind what there is. */
static int make_room(struct bn_lines *l)
{
	if (l->start > 0) {
		memmove(l->data, l->data + l->start, l->end - l->start);
		l->end -= l->start;
		l->start = 0;
	}
	if (l->end > l->max) {
		l->skipping = true;
		l->end = 0;
	}
	if (l->capacity - l->end < READ_SIZE) {
		size_t capacity = l->capacity ? l->capacity * 2 : 2 * READ_SIZE;
		char *data = realloc(l->data, capacity);

		if (!data)
			return -ENOMEM;
		l->data = data;
		l->capacity = capacity;
	}
	return 0;
}

/* More bytes: how many, 0 at the end, -errno. */
static ssize_t fill(struct bn_lines *l)
{
	for (;;) {
		int r = l->wait(l);
		ssize_t n;

		if (r < 0)
			return r;
		n = read(l->fd, l->data + l->end, l->capacity - l->end);
		if (n >= 0)
			return n;
		if (errno != EAGAIN && errno != EINTR)
			return -errno;
	}
}

/* Hands out what lies before `end` in the buffer. */
static int take(struct bn_lines *l, char *end, char **ret_line, size_t *ret_len)
{
	*ret_line = l->data + l->start;
	*ret_len = (size_t)(end - *ret_line);
	l->start += *ret_len;
	if (!l->skipping)
		return 1;
	l->skipping = false;
	return BN_LINE_LONG;
}

int bn_lines_next(struct bn_lines *l, char **ret_line, size_t *ret_len)
{
	size_t scanned = l->start;

	for (;;) {
		char *newline = l->data ? memchr(l->data + scanned, '\n', l->end - scanned) : NULL;
		ssize_t n;
		int r;

		if (newline) {
			r = take(l, newline, ret_line, ret_len);
			l->start++;
			return r;
		}
		r = make_room(l);
		if (r < 0)
			return r;
		scanned = l->end;
		n = fill(l);
		if (n < 0)
			return (int)n;
		if (n == 0 && l->unfinished && (l->end > 0 || l->skipping))
			return take(l, l->data + l->end, ret_line, ret_len);
		if (n == 0)
			return 0;
		l->end += (size_t)n;
	}
}

void bn_lines_done(struct bn_lines *l)
{
	free(l->data);
	l->data = NULL;
}
