// SPDX-License-Identifier: Apache-2.0
/*
 * The kernel's mount tables, line by line: proc(5), /proc/PID/mountinfo. Fields have blanks and
 * backslashes as three octal digits, so splitting at blanks is exact. Lines of another form are
 * passed over, because what a later kernel adds is no reason to fail.
 */
#include "mounts.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static bool is_octal(char c)
{
	return c >= '0' && c <= '7';
}

static char *unescape(char *field)
{
	char *to = field;

	for (const char *from = field; *from;) {
		if (from[0] == '\\' && is_octal(from[1]) && is_octal(from[2]) &&
		    is_octal(from[3])) {
			*to++ = (char)((from[1] - '0') << 6 | (from[2] - '0') << 3 |
				       (from[3] - '0'));
			from += 4;
		} else {
			*to++ = *from++;
		}
	}
	*to = 0;
	return field;
}

/* "ID PARENT MAJOR:MINOR ROOT POINT OPTIONS [FIELD]... - TYPE SOURCE OPTIONS" */
static bool split(char *line, struct bn_mount *ret)
{
	char *rest = line, *field[5], *type, *source;

	line[strcspn(line, "\n")] = 0;
	for (size_t i = 0; i < sizeof(field) / sizeof(field[0]); i++) {
		field[i] = strsep(&rest, " ");
		if (!rest)
			return false;
	}
	rest = strstr(rest, " - ");
	if (!rest)
		return false;
	rest += strlen(" - ");
	type = strsep(&rest, " ");
	source = strsep(&rest, " ");
	if (!source || sscanf(field[2], "%u:%u", &ret->major, &ret->minor) != 2)
		return false;
	ret->root = unescape(field[3]);
	ret->point = unescape(field[4]);
	ret->type = unescape(type);
	ret->source = unescape(source);
	return true;
}

int bn_mounts_each(const char *mountinfo, bn_mount_fn fn, void *user)
{
	struct bn_mount mount;
	char *line = NULL;
	size_t size = 0;
	FILE *f;
	int r = 0;

	f = fopen(mountinfo, "re");
	if (!f)
		return -errno;
	while (r == 0 && getline(&line, &size, f) >= 0) {
		if (split(line, &mount))
			r = fn(&mount, user);
	}
	if (r == 0 && ferror(f))
		r = -EIO;
	free(line);
	fclose(f);
	return r;
}
