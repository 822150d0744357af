// SPDX-License-Identifier: Apache-2.0
/*
 * Why: a cgroup link (5.7) is the kernel's record of who attached what, and its program is swapped
 * between two system calls of whoever uses the sockets.
 *
 * Invariants: a link is pinned or it is not there at all; either all hooks are attached or none,
 * because a connect() that translates without a recvmsg() that translates back breaks what it
 * should serve.
 */
#include "net/attach-cgroup.h"

#include "error.h"
#include "net/attach-mechanism.h"

#include <bpf/bpf.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define PREFIX "cgroup-"

static int pin_path(const char *dir, const char *name, char ret[BN_ATTACH_PATH_MAX])
{
	return snprintf(ret, BN_ATTACH_PATH_MAX, "%s/" PREFIX "%s", dir, name) >= BN_ATTACH_PATH_MAX
		       ? -ENAMETOOLONG
		       : 0;
}

static int link_info(int fd, struct bpf_link_info *ret)
{
	uint32_t size = sizeof(*ret);

	memset(ret, 0, sizeof(*ret));
	return bpf_link_get_info_by_fd(fd, ret, &size);
}

/* 1: the pinned link is on this cgroup and runs the program now; 0: it is not there (any more). */
static int take_over(const char *path, const struct bn_cgroup_hook *hook, uint64_t cgroup_id,
		     struct bn_error *err)
{
	struct bpf_link_info info;
	int fd, r;

	fd = bn_attach_link_open(path, err);
	if (fd < 0)
		return fd == -ENOENT ? 0 : fd;
	r = link_info(fd, &info);
	if (r == 0 && info.type == BPF_LINK_TYPE_CGROUP && info.cgroup.cgroup_id == cgroup_id &&
	    info.cgroup.attach_type == (uint32_t)hook->attach_type)
		r = bpf_link_update(fd, hook->prog_fd, NULL) < 0 ? -errno : 1;
	close(fd);
	if (r > 0)
		return r;
	if (r < 0 && r != -ENOLINK)
		return bn_attach_link_replaced(r, path, err);
	/* of another cgroup, or of one that was removed */
	return bn_attach_link_remove(path, err);
}

static int create(const char *path, const char *cgroup, int cgroup_fd,
		  const struct bn_cgroup_hook *hook, struct bn_error *err)
{
	int fd;

	fd = bpf_link_create(hook->prog_fd, cgroup_fd, (enum bpf_attach_type)hook->attach_type,
			     NULL);
	if (fd == -EPERM)
		return bn_error_set(
			err, fd,
			"cannot attach %s to %s: a program on it or above admits no other; "
			"'bpftool cgroup tree' shows it, or give another --cgroup",
			hook->name, cgroup);
	if (fd < 0)
		return bn_error_set(err, fd, "cannot attach %s to %s: %s", hook->name, cgroup,
				    strerror(-fd));
	return bn_attach_link_pin(fd, path, err);
}

static int attach_one(const char *dir, const char *cgroup, int cgroup_fd, uint64_t cgroup_id,
		      const struct bn_cgroup_hook *hook, struct bn_error *err)
{
	char path[BN_ATTACH_PATH_MAX];
	int r;

	r = pin_path(dir, hook->name, path);
	if (r < 0)
		return bn_error_set(err, r, "the path of the bpffs folder is too long");
	r = take_over(path, hook, cgroup_id, err);
	if (r)
		return r < 0 ? r : 0;
	return create(path, cgroup, cgroup_fd, hook, err);
}

int bn_cgroup_attach(const char *dir, const char *cgroup, const struct bn_cgroup_hook *hooks,
		     size_t n, struct bn_error *err)
{
	struct stat st;
	int fd, r = 0;

	if (mkdir(dir, 0700) < 0 && errno != EEXIST)
		return bn_error_set(err, -errno, "cannot create %s: %s; is bpffs mounted there?",
				    dir, strerror(errno));
	fd = open(cgroup, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return bn_error_set(err, -errno, "cannot open the cgroup %s: %s", cgroup,
				    strerror(errno));
	/* a cgroup's id is the inode of its folder */
	if (fstat(fd, &st) < 0)
		r = bn_error_set(err, -errno, "cannot read the cgroup %s: %s", cgroup,
				 strerror(errno));
	for (size_t i = 0; i < n && r == 0; i++)
		r = attach_one(dir, cgroup, fd, st.st_ino, &hooks[i], err);
	close(fd);
	if (r < 0)
		bn_cgroup_detach(dir, NULL);
	return r;
}

/* The hook that a record is of; NULL: it is not a cgroup's. */
static const char *hook_of(const char *record)
{
	return strncmp(record, PREFIX, strlen(PREFIX)) ? NULL : record + strlen(PREFIX);
}

static int detach_one(void *user, const char *path, const char *record)
{
	return hook_of(record) ? bn_attach_link_remove(path, user) : 0;
}

int bn_cgroup_detach(const char *dir, struct bn_error *err)
{
	return bn_attach_each_record(dir, detach_one, err, err);
}

struct listing {
	bn_cgroup_list_fn fn;
	void *user;
};

static int list_one(void *user, const char *path, const char *record)
{
	const char *name = hook_of(record);
	const struct listing *l = user;
	struct bpf_link_info info;
	int fd, r;

	fd = name ? bpf_obj_get(path) : -ENOENT;
	if (fd < 0)
		return 0;
	r = link_info(fd, &info);
	close(fd);
	if (r < 0 || info.type != BPF_LINK_TYPE_CGROUP)
		return 0;
	return l->fn(l->user, name, info.cgroup.cgroup_id, info.prog_id);
}

int bn_cgroup_list(const char *dir, bn_cgroup_list_fn fn, void *user, struct bn_error *err)
{
	struct listing l = {.fn = fn, .user = user};

	return bn_attach_each_record(dir, list_one, &l, err);
}
