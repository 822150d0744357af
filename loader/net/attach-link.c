// SPDX-License-Identifier: Apache-2.0
/* The folder of what is attached, and links pinned in it, as every mechanism keeps them. */
#include "net/attach-mechanism.h"

#include "error.h"

#include <bpf/bpf.h>
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* Removing the entry under the cursor is fine with readdir(). */
int bn_attach_each_record(const char *dir, bn_attach_record_fn fn, void *user, struct bn_error *err)
{
	char path[BN_ATTACH_PATH_MAX];
	struct dirent *entry;
	DIR *d = opendir(dir);
	int r = 0;

	if (!d)
		return errno == ENOENT ? 0
				       : bn_error_set(err, -errno, "cannot list %s: %s", dir,
						      strerror(errno));
	while (r >= 0 && (entry = readdir(d))) {
		if (snprintf(path, sizeof(path), "%s/%s", dir, entry->d_name) < (int)sizeof(path))
			r = fn(user, path, entry->d_name);
	}
	closedir(d);
	return r;
}

int bn_attach_link_open(const char *path, struct bn_error *err)
{
	int fd = bpf_obj_get(path);

	return fd >= 0 || fd == -ENOENT
		       ? fd
		       : bn_error_set(err, fd, "cannot open the pinned link %s: %s", path,
				      strerror(-fd));
}

int bn_attach_link_pin(int fd, const char *path, struct bn_error *err)
{
	int r = bpf_obj_pin(fd, path);

	close(fd);
	return r < 0 ? bn_error_set(err, r, "cannot pin the link %s: %s", path, strerror(-r)) : 0;
}

int bn_attach_link_replaced(int r, const char *path, struct bn_error *err)
{
	return r < 0 ? bn_error_set(err, r, "cannot replace the program of the link %s: %s", path,
				    strerror(-r))
		     : r;
}

int bn_attach_link_remove(const char *path, struct bn_error *err)
{
	int fd = bn_attach_link_open(path, err), r;

	if (fd < 0)
		return fd == -ENOENT ? 0 : fd;
	/* Now, and not when the kernel gets round to freeing the last reference. */
	r = bpf_link_detach(fd);
	close(fd);
	/* XDP says EINVAL of a device that is gone */
	if (r < 0 && r != -ENOLINK && r != -ENODEV && r != -EINVAL)
		return bn_error_set(err, r, "cannot detach the link %s: %s", path, strerror(-r));
	if (unlink(path) < 0 && errno != ENOENT)
		return bn_error_set(err, -errno, "cannot unpin %s: %s", path, strerror(errno));
	return 0;
}
