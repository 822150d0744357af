// SPDX-License-Identifier: Apache-2.0
/*
 * Invariants:
 *  - `size` ends with a newline or is 0; when that can't be kept, the file is closed, and mended
 *    before it is used again.
 *  - A rename only ever moves into a gap or over the oldest, so that trying again loses nothing.
 */
#include "flows/export-file.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#define BLOCK 65536

struct bn_export_file {
	char *path;
	uint64_t max;
	unsigned int backups;
	int fd; /* -1: to be opened */
	uint64_t size;
	uint64_t rotations;
};

const char *bn_export_problem_label(enum bn_export_problem problem)
{
	static const char *const labels[] = {
#define BN_X(name, label) [BN_EXPORT_##name] = label,
		BN_EXPORT_PROBLEMS(BN_X)
#undef BN_X
	};

	return problem < BN_EXPORT_PROBLEM_MAX ? labels[problem] : "unknown";
}

const char *bn_export_problem_text(enum bn_export_problem problem, int error)
{
	switch (problem) {
	case BN_EXPORT_NO_FILE:
		return "it is not a regular file with one name";
	case BN_EXPORT_FOREIGN:
		return "what it begins with is no flow";
	case BN_EXPORT_IN_USE:
		return "another process has locked it";
	default:
		return strerror(error);
	}
}

static enum bn_export_problem problem_of(int error)
{
	switch (error) {
	case ENOSPC:
	case EDQUOT:
	case EFBIG:
		return BN_EXPORT_NO_SPACE;
	case EACCES:
	case EPERM:
	case EROFS:
		return BN_EXPORT_PERMISSION;
	case ENOENT:
	case ENOTDIR:
		return BN_EXPORT_NO_FOLDER;
	case ELOOP:
	case EISDIR:
	case ENXIO:
		return BN_EXPORT_NO_FILE;
	}
	return BN_EXPORT_IO;
}

int bn_export_file_new(const char *path, uint64_t max, unsigned int backups,
		       struct bn_export_file **ret)
{
	struct bn_export_file *f = calloc(1, sizeof(*f));

	if (!f)
		return -ENOMEM;
	f->fd = -1;
	f->max = max;
	f->backups = backups;
	f->path = strdup(path);
	if (!f->path) {
		free(f);
		return -ENOMEM;
	}
	*ret = f;
	return 0;
}

static void file_close(struct bn_export_file *f)
{
	if (f->fd >= 0)
		close(f->fd);
	f->fd = -1;
}

void bn_export_file_free(struct bn_export_file *f)
{
	if (!f)
		return;
	file_close(f);
	free(f->path);
	free(f);
}

uint64_t bn_export_file_rotations(const struct bn_export_file *f)
{
	return f->rotations;
}

static bool read_all(int fd, char *buf, size_t len, uint64_t at)
{
	while (len) {
		ssize_t n = pread(fd, buf, len, (off_t)at);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0) {
			errno = n < 0 ? errno : EIO;
			return false;
		}
		buf += n;
		at += (uint64_t)n;
		len -= (size_t)n;
	}
	return true;
}

/* Where the last whole line ends. */
static enum bn_export_problem find_end(int fd, uint64_t size, uint64_t *ret)
{
	static const uint64_t most = BN_EXPORT_LINE_MAX;
	char block[BLOCK];

	for (uint64_t end = size; end && size - end < most;) {
		size_t n = end < BLOCK ? (size_t)end : BLOCK;
		const char *newline;

		if (!read_all(fd, block, n, end - n))
			return problem_of(errno);
		newline = memrchr(block, '\n', n);
		end -= n;
		if (newline) {
			*ret = end + (uint64_t)(newline - block) + 1;
			return BN_EXPORT_NONE;
		}
	}
	errno = EBADMSG;
	*ret = 0;
	return size > most ? BN_EXPORT_FOREIGN : BN_EXPORT_NONE;
}

/* Whether a file that starts with these may be one of ours: flows/json.h's first keys. */
static bool is_ours(const char *head, size_t n)
{
	static const char *const starts[] = {"{\"time\":\"", "{\"lost_events\":"};

	for (size_t i = 0; i < sizeof(starts) / sizeof(*starts); i++) {
		size_t most = strlen(starts[i]);

		if (!memcmp(head, starts[i], n < most ? n : most))
			return true;
	}
	return false;
}

/* Cuts off a line without an end, of a file that has nothing but flows. */
static enum bn_export_problem mend(int fd, uint64_t *size)
{
	enum bn_export_problem problem;
	char head[32];
	uint64_t end;
	size_t n = *size < sizeof(head) ? (size_t)*size : sizeof(head);

	if (!n)
		return BN_EXPORT_NONE;
	if (!read_all(fd, head, n, 0))
		return problem_of(errno);
	if (!is_ours(head, n)) {
		errno = EBADMSG;
		return BN_EXPORT_FOREIGN;
	}
	problem = find_end(fd, *size, &end);
	if (problem != BN_EXPORT_NONE || end == *size)
		return problem;
	if (ftruncate(fd, (off_t)end) < 0)
		return problem_of(errno);
	*size = end;
	return BN_EXPORT_NONE;
}

static enum bn_export_problem adopt(int fd, uint64_t *ret_size)
{
	struct stat st;

	if (fstat(fd, &st) < 0)
		return problem_of(errno);
	if (!S_ISREG(st.st_mode) || st.st_nlink > 1) {
		errno = S_ISREG(st.st_mode) ? EMLINK : EINVAL;
		return BN_EXPORT_NO_FILE;
	}
	if (flock(fd, LOCK_EX | LOCK_NB) < 0)
		return errno == EWOULDBLOCK ? BN_EXPORT_IN_USE : problem_of(errno);
	*ret_size = (uint64_t)st.st_size;
	return mend(fd, ret_size);
}

static enum bn_export_problem file_open(struct bn_export_file *f)
{
	enum bn_export_problem problem;
	struct stat st;
	int error;

	/* opening a device or a tape may do something already */
	if (lstat(f->path, &st) == 0 && !S_ISREG(st.st_mode)) {
		errno = S_ISLNK(st.st_mode) ? ELOOP : S_ISDIR(st.st_mode) ? EISDIR : EINVAL;
		return BN_EXPORT_NO_FILE;
	}
	f->fd = open(f->path,
		     O_RDWR | O_APPEND | O_CREAT | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC,
		     0640);
	if (f->fd < 0)
		return problem_of(errno);
	problem = adopt(f->fd, &f->size);
	if (problem == BN_EXPORT_NONE)
		return BN_EXPORT_NONE;
	error = errno;
	file_close(f);
	errno = error;
	return problem;
}

/* The file under its name, open, at the end of a line. */
static enum bn_export_problem file_ready(struct bn_export_file *f)
{
	struct stat named, open;

	if (f->fd >= 0 && (lstat(f->path, &named) < 0 || fstat(f->fd, &open) < 0 ||
			   named.st_dev != open.st_dev || named.st_ino != open.st_ino ||
			   named.st_nlink > 1 || (uint64_t)open.st_size != f->size))
		file_close(f);
	return f->fd >= 0 ? BN_EXPORT_NONE : file_open(f);
}

static bool backup_name(const struct bn_export_file *f, unsigned int number, char ret[PATH_MAX])
{
	int n = number ? snprintf(ret, PATH_MAX, "%s.%u", f->path, number)
		       : snprintf(ret, PATH_MAX, "%s", f->path);

	if (n < PATH_MAX)
		return true;
	errno = ENAMETOOLONG;
	return false;
}

static enum bn_export_problem rotate(struct bn_export_file *f)
{
	char from[PATH_MAX], to[PATH_MAX];
	unsigned int gap = 1;
	struct stat st;

	if (f->backups == 0) {
		if (unlink(f->path) < 0)
			return BN_EXPORT_ROTATION;
		file_close(f);
		f->rotations++;
		return BN_EXPORT_NONE;
	}
	while (gap < f->backups) {
		if (!backup_name(f, gap, to))
			return BN_EXPORT_ROTATION;
		if (lstat(to, &st) < 0 && errno == ENOENT)
			break;
		gap++;
	}
	for (unsigned int i = gap; i-- > 0;) {
		if (!backup_name(f, i, from) || !backup_name(f, i + 1, to) || rename(from, to) < 0)
			return BN_EXPORT_ROTATION;
	}
	file_close(f);
	f->rotations++;
	return BN_EXPORT_NONE;
}

static size_t whole_lines(const char *data, size_t len)
{
	const char *newline = memrchr(data, '\n', len);

	return newline ? (size_t)(newline - data) + 1 : 0;
}

/* Of `len` bytes, the lines that the file has room for; 0: it is full. */
static size_t fitting(const struct bn_export_file *f, const char *lines, size_t len)
{
	uint64_t room = f->size < f->max ? f->max - f->size : 0;
	size_t n = whole_lines(lines, room < len ? (size_t)room : len);

	if (!n && !f->size) /* longer than a file */
		n = (size_t)((char *)memchr(lines, '\n', len) - lines) + 1;
	return n;
}

enum bn_export_problem bn_export_file_write(struct bn_export_file *f, const char *lines, size_t len,
					    size_t *ret_taken, int *ret_error)
{
	enum bn_export_problem problem;

	*ret_taken = 0;
	*ret_error = 0;
	do {
		size_t n, whole;
		ssize_t written;

		problem = file_ready(f);
		if (problem != BN_EXPORT_NONE || !len)
			break;
		n = fitting(f, lines, len);
		if (!n) {
			problem = rotate(f);
			if (problem != BN_EXPORT_NONE)
				break;
			continue;
		}
		written = write(f->fd, lines, n);
		if (written < 0) {
			if (errno == EINTR)
				continue;
			problem = problem_of(errno);
			break;
		}
		whole = whole_lines(lines, (size_t)written);
		f->size += whole;
		if ((size_t)written > whole && ftruncate(f->fd, (off_t)f->size) < 0)
			file_close(f);
		if (!whole) {
			/* room for a part of a line only, and for as much the next time */
			problem = BN_EXPORT_NO_SPACE;
			errno = ENOSPC;
			break;
		}
		*ret_taken += whole;
		lines += whole;
		len -= whole;
	} while (len);
	if (problem != BN_EXPORT_NONE)
		*ret_error = errno;
	return problem;
}
