/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A file of lines that is rotated by size: FILE, and FILE.1 (the newest) to FILE.N before it. All
 * of it blocks for as long as the disk does, so it is no code for the event loop.
 *
 * Every file holds whole lines only. A line that a predecessor was killed in is cut off when the
 * file is opened, one that found the disk full at once. A file that somebody moved away, removed
 * or truncated is noticed before the next line, without a signal.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

/* A line's length at most, with its newline; also how far back the end of a file is mended. */
#define BN_EXPORT_LINE_MAX (1u << 20)

/* X(NAME, "label") */
#define BN_EXPORT_PROBLEMS(X) \
	X(NONE, "none") \
	X(NO_SPACE, "no-space")     /* disk, quota or limit of size */ \
	X(PERMISSION, "permission") /* or a file system that is read-only */ \
	X(NO_FOLDER, "no-folder") \
	X(NO_FILE, "no-regular-file") /* a symlink, a FIFO, a folder, a device, a second name */ \
	X(FOREIGN, "foreign-file")    /* what is in it are no flows: it stays as it is */ \
	X(IN_USE, "in-use")           /* another process has locked it */ \
	X(ROTATION, "rotation")       /* the full file can't be renamed: nothing is written */ \
	X(IO, "io")

enum bn_export_problem {
#define BN_X(name, label) BN_EXPORT_##name,
	BN_EXPORT_PROBLEMS(BN_X)
#undef BN_X
		BN_EXPORT_PROBLEM_MAX,
};

struct bn_export_file;

/* `path` is copied. A file has `max` bytes at most, or one line; `backups` are kept besides it. */
int bn_export_file_new(const char *path, uint64_t max, unsigned int backups,
		       struct bn_export_file **ret);
void bn_export_file_free(struct bn_export_file *file);

/*
 * Appends whole lines, each of which ends with a newline; with a `len` of 0 it is only made sure
 * that there is a file. *ret_taken: bytes of lines that are in it, up to the first that is not.
 * *ret_error is the errno of the problem.
 */
enum bn_export_problem bn_export_file_write(struct bn_export_file *file, const char *lines,
					    size_t len, size_t *ret_taken, int *ret_error);
uint64_t bn_export_file_rotations(const struct bn_export_file *file);
/* "none" to "io" */
const char *bn_export_problem_label(enum bn_export_problem problem);
/* For people; valid until the next strerror(). */
const char *bn_export_problem_text(enum bn_export_problem problem, int error);
