/* SPDX-License-Identifier: Apache-2.0 */
/* Folders and files that a test makes for itself: in TMPDIR, or where the C library has them. */
#pragma once

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#define BN_TEMP_MAX 64 /* with its NUL: a socket in the folder has to fit into sun_path */

/* Fills a template for mkstemp(); NULL, with errno, if it does not fit. */
static inline char *bn_temp_name(char ret[BN_TEMP_MAX], const char *name)
{
	const char *folder = getenv("TMPDIR");
	int n = snprintf(ret, BN_TEMP_MAX, "%s/bpfnet-%s-XXXXXX",
			 folder && *folder ? folder : P_tmpdir, name);

	if (n >= 0 && n < BN_TEMP_MAX)
		return ret;
	errno = ENAMETOOLONG;
	return NULL;
}

/* Makes a folder of the caller's, who removes it; NULL, with errno, if that failed. */
static inline char *bn_temp_dir(char ret[BN_TEMP_MAX], const char *name)
{
	return bn_temp_name(ret, name) ? mkdtemp(ret) : NULL;
}
