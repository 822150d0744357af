// SPDX-License-Identifier: Apache-2.0
/*
 * Why: what the agent remembers across kill -9 and power loss is read by the next start, which must
 * find the old contents or the new, never half of one.
 *
 * Invariant: the file under its own name is always complete; a leftover `.tmp` means nothing.
 */
#include "net/statefile.h"

#include "error.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Far above anything written here; a larger file is not ours. */
#define SIZE_MAX_BYTES (16 << 20)

int bn_statefile_read(const char *path, json_t **ret, struct bn_error *err)
{
	json_error_t why;
	json_t *value;
	off_t size;
	int fd;

	fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	if (fd < 0 && errno == ENOENT)
		return -ENOENT;
	if (fd < 0)
		return bn_error_set(err, -errno, "cannot read %s: %s", path, strerror(errno));
	size = lseek(fd, 0, SEEK_END);
	if (size < 0 || size > SIZE_MAX_BYTES || lseek(fd, 0, SEEK_SET) < 0) {
		close(fd);
		return bn_error_set(err, -EBADMSG, "%s is too large to be a state file of bpfnet",
				    path);
	}
	value = json_loadfd(fd, JSON_REJECT_DUPLICATES, &why);
	close(fd);
	if (!value)
		return bn_error_set(err, -EBADMSG, "%s is damaged (line %d: %s)", path, why.line,
				    why.text);
	*ret = value;
	return 0;
}

/* Makes a rename or removal in the folder of `path` durable. */
static int sync_folder(const char *path)
{
	char folder[PATH_MAX];
	char *slash;
	int r = 0;
	int fd;

	if (snprintf(folder, sizeof(folder), "%s", path) >= (int)sizeof(folder))
		return -ENAMETOOLONG;
	slash = strrchr(folder, '/');
	if (!slash)
		return -EINVAL;
	*slash = '\0';
	fd = open(*folder ? folder : "/", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	if (fsync(fd) < 0)
		r = -errno;
	close(fd);
	return r;
}

int bn_statefile_write(const char *path, const json_t *value, struct bn_error *err)
{
	char tmp[PATH_MAX];
	int r = 0;
	int fd;

	if (snprintf(tmp, sizeof(tmp), "%s.tmp", path) >= (int)sizeof(tmp))
		return bn_error_set(err, -ENAMETOOLONG, "the state folder's path is too long");
	fd = open(tmp, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0)
		return bn_error_set(err, -errno, "cannot write %s: %s", tmp, strerror(errno));
	/* jansson keeps no errno; the usual cause is a full disk. */
	if (json_dumpfd(value, fd, JSON_COMPACT) < 0)
		r = errno ? -errno : -EIO;
	else if (write(fd, "\n", 1) != 1 || fsync(fd) < 0)
		r = -errno;
	if (close(fd) < 0 && r == 0)
		r = -errno;
	if (r == 0 && rename(tmp, path) < 0)
		r = -errno;
	if (r == 0)
		r = sync_folder(path);
	else
		unlink(tmp);
	return r < 0 ? bn_error_set(err, r, "cannot write %s: %s", path, strerror(-r)) : 0;
}

int bn_statefile_remove(const char *path, struct bn_error *err)
{
	char tmp[PATH_MAX];
	int r = 0;

	/* What a kill in the middle of a write left. */
	if (snprintf(tmp, sizeof(tmp), "%s.tmp", path) < (int)sizeof(tmp))
		unlink(tmp);
	if (unlink(path) < 0)
		r = errno == ENOENT ? 0 : -errno;
	else
		r = sync_folder(path);
	return r < 0 ? bn_error_set(err, r, "cannot remove %s: %s", path, strerror(-r)) : 0;
}
