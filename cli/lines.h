/* SPDX-License-Identifier: Apache-2.0 */
/* Lines of a descriptor, of bounded length. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#define BN_LINE_LONG 2

struct bn_lines {
	int fd;
	size_t max; /* bytes of a line, about */
	/* Called before every read. 0 or -errno. */
	int (*wait)(struct bn_lines *lines);
	void *user;
	bool unfinished; /* what follows the last newline is a line, too */
	/* private */
	bool skipping;
	char *data; /* the next line begins at `start` */
	size_t start;
	size_t end;
	size_t capacity;
};

/*
 * The next line, valid until the next call, without its newline. 1; BN_LINE_LONG for one that
 * was too long and is gone; 0 at the end; -errno.
 */
int bn_lines_next(struct bn_lines *lines, char **ret_line, size_t *ret_len);
void bn_lines_done(struct bn_lines *lines);
