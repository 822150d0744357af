// SPDX-License-Identifier: Apache-2.0
/*
 * Making the agent's folders, and taking them away again without touching anyone else's.
 *
 * bpffs: pins live as long as the mount that holds them, so they must be on one that outlives the
 * agent. What `ip netns exec`, `unshare --mount` or a service manager's sandboxing set up ends
 * with its last process; such a mount is told by pid 1 not having it.
 *
 * A mount that bpfnet made says so by itself (its source is "bpfnet"), as a note in a file would
 * outlast the mount and then speak of someone else's. Folders can't say it, so those made on
 * bpffs above `dir` are noted in the state folder; a stale note can only lead to the removal of
 * an empty folder.
 */
#include "folders.h"

#include "error.h"
#include "mounts.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/magic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/vfs.h>
#include <unistd.h>

#define BPFFS_USUAL "/sys/fs/bpf"
#define BPFFS_SOURCE "bpfnet"
#define NOTE "bpffs-folders"

/* 1: made, 0: was there. */
static int make_one(const char *path, mode_t mode, struct bn_error *err)
{
	if (mkdir(path, mode) < 0) {
		if (errno == EEXIST)
			return 0;
		return bn_error_set(err, -errno, "can't make the folder %s: %m", path);
	}
	if (chmod(path, mode) < 0)
		return bn_error_set(err, -errno, "can't set the mode of %s: %m", path);
	return 1;
}

/* Called for each folder that was made. */
typedef int (*made_fn)(const char *path, void *user, struct bn_error *err);

/* The parents of path and path itself, from the top; 1 if path was made, 0 if it was there. */
static int make_path(const char *path, mode_t parents, mode_t mode, made_fn made, void *user,
		     struct bn_error *err)
{
	char part[PATH_MAX];
	int r = 0;

	for (size_t i = 1; i < sizeof(part); i++) {
		if (path[i] && path[i] != '/')
			continue;
		memcpy(part, path, i);
		part[i] = 0;
		r = make_one(part, path[i] ? parents : mode, err);
		if (r > 0 && made) {
			int n = made(part, user, err);

			if (n < 0)
				return n;
		}
		if (r < 0 || !path[i])
			return r;
	}
	return bn_error_set(err, -ENAMETOOLONG, "can't make the folder %.64s...: too long a path",
			    path);
}

int bn_folder_make(const char *path, mode_t mode, struct bn_error *err)
{
	struct stat st;
	int r;

	r = make_path(path, 0755, mode, NULL, NULL, err);
	if (r < 0)
		return r;
	if (stat(path, &st) < 0)
		return bn_error_set(err, -errno, "can't use the folder %s: %m", path);
	if (!S_ISDIR(st.st_mode))
		return bn_error_set(err, -ENOTDIR, "can't use %s: it is no folder", path);
	if ((st.st_uid && st.st_uid != geteuid()) || st.st_mode & (S_IWGRP | S_IWOTH))
		return bn_error_set(err, -EPERM,
				    "can't use the folder %s: others may write in it; make it "
				    "root's, mode %04o",
				    path, mode);
	return 0;
}

static bool is_bpffs(const char *path)
{
	struct statfs fs;

	return statfs(path, &fs) == 0 && fs.f_type == BPF_FS_MAGIC;
}

static bool is_below(const char *path, const char *folder)
{
	size_t n = strlen(folder);

	return !strncmp(path, folder, n) && (!path[n] || path[n] == '/');
}

/* Cuts path down to what exists. */
static void cut_to_existing(char *path)
{
	struct stat st;
	char *slash;

	while (stat(path, &st) < 0 && (slash = strrchr(path, '/'))) {
		*slash = 0;
		if (slash == path) {
			strcpy(path, "/");
			return;
		}
	}
}

/* The kernel puts its own iterators into a bpffs (CONFIG_BPF_PRELOAD). */
static bool is_empty(const char *path)
{
	struct dirent *entry;
	bool empty = true;
	DIR *d;

	d = opendir(path);
	if (!d)
		return false;
	while (empty && (entry = readdir(d))) {
		const char *n = entry->d_name;

		empty = !strcmp(n, ".") || !strcmp(n, "..") || !strcmp(n, "maps.debug") ||
			!strcmp(n, "progs.debug");
	}
	closedir(d);
	return empty;
}

static int is_of_device(const struct bn_mount *mount, void *user)
{
	const struct stat *st = user;

	return mount->major == major(st->st_dev) && mount->minor == minor(st->st_dev);
}

/* Where pid 1's table can't be read, there is nothing to compare with. */
static int check_lasting(const char *path, struct bn_error *err)
{
	struct stat st;
	int r;

	if (stat(path, &st) < 0)
		return bn_error_set(err, -errno, "can't use the bpffs at %s: %m", path);
	r = bn_mounts_each("/proc/1/mountinfo", is_of_device, &st);
	if (r != 0)
		return 0;
	return bn_error_set(err, -EXDEV,
			    "can't pin at %s: its bpffs is in this process's private mount "
			    "namespace alone and would be gone with it; `ip netns exec` makes "
			    "one, enter with `nsenter --net=/run/netns/NAME` instead",
			    path);
}

/*
 * Instances that start at the same time must not mount on top of each other, which would hide the
 * first one's pins: the folder below is the lock.
 */
static int mount_at(const char *point, bool *ret_mounted, struct bn_error *err)
{
	int fd, r = 0;

	fd = open(point, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return bn_error_set(err, -errno, "can't mount bpffs on %s: %m", point);
	if (flock(fd, LOCK_EX) < 0) {
		r = bn_error_set(err, -errno, "can't lock %s to mount bpffs: %m", point);
	} else if (is_bpffs(point)) {
		*ret_mounted = false;
	} else if (!is_empty(point)) {
		r = bn_error_set(err, -ENOTEMPTY,
				 "can't mount bpffs on %s: the folder is not empty; give --bpffs "
				 "another one",
				 point);
	} else if (mount(BPFFS_SOURCE, point, "bpf", MS_NOSUID | MS_NODEV | MS_NOEXEC,
			 "mode=0700") < 0) {
		r = bn_error_set(err, -errno, "can't mount bpffs on %s: %m; %s", point,
				 errno == ENODEV ? "this kernel has no BPF file system"
						 : "it takes CAP_SYS_ADMIN");
	} else {
		*ret_mounted = true;
	}
	close(fd);
	return r;
}

/* *ret_point: where the file system that will hold dir is to be looked at. */
static int find_or_mount(const char *dir, char ret_point[PATH_MAX], bool *ret_mounted,
			 struct bn_error *err)
{
	bool made = false;
	int r;

	if (strlen(dir) >= PATH_MAX)
		return bn_error_set(err, -ENAMETOOLONG, "can't use the bpffs folder: too long");
	strcpy(ret_point, dir);
	cut_to_existing(ret_point);
	*ret_mounted = false;
	if (is_bpffs(ret_point))
		return check_lasting(ret_point, err);

	strcpy(ret_point, is_below(dir, BPFFS_USUAL) ? BPFFS_USUAL : dir);
	if (!strcmp(ret_point, dir) && strcmp(dir, BPFFS_USUAL)) {
		r = make_path(dir, 0755, 0700, NULL, NULL, err);
		if (r < 0)
			return r;
		made = r > 0;
	}
	r = mount_at(ret_point, ret_mounted, err);
	if (r == 0)
		r = check_lasting(ret_point, err);
	if (r < 0 && *ret_mounted) {
		umount2(ret_point, UMOUNT_NOFOLLOW);
		*ret_mounted = false;
	}
	if (r < 0 && made)
		rmdir(dir);
	return r;
}

static int note_path(const char *state_dir, char ret[PATH_MAX], struct bn_error *err)
{
	if ((size_t)snprintf(ret, PATH_MAX, "%s/" NOTE, state_dir) >= PATH_MAX)
		return bn_error_set(err, -ENAMETOOLONG, "can't use the state folder: too long");
	return 0;
}

static int note_made(const char *path, void *user, struct bn_error *err)
{
	const char *note = user;
	int r = 0;
	FILE *f;

	f = fopen(note, "ae");
	if (!f)
		return bn_error_set(err, -errno, "can't write %s: %m", note);
	fprintf(f, "%s\n", path);
	if (ferror(f))
		r = -EIO;
	if (fclose(f) && r == 0)
		r = -errno;
	return r < 0 ? bn_error_set(err, r, "can't write %s: %s", note, strerror(-r)) : 0;
}

int bn_bpffs_prepare(const char *dir, const char *state_dir, bool *ret_mounted,
		     struct bn_error *err)
{
	char point[PATH_MAX], note[PATH_MAX];
	bool mounted = false;
	int r;

	r = note_path(state_dir, note, err);
	if (r == 0)
		r = find_or_mount(dir, point, &mounted, err);
	if (r == 0)
		r = make_path(dir, 0700, 0700, note_made, note, err);
	if (r < 0)
		return r;
	if (!is_bpffs(dir))
		return bn_error_set(err, -ENOTDIR, "can't pin at %s: it is not on bpffs", dir);
	if (ret_mounted)
		*ret_mounted = mounted;
	return 0;
}

struct own_mount {
	const char *dir;
	char point[PATH_MAX]; /* "": none */
};

/* The last mount above dir is the one that it is on. */
static int find_own(const struct bn_mount *mount, void *user)
{
	struct own_mount *own = user;

	if (!is_below(own->dir, mount->point) || strlen(mount->point) >= sizeof(own->point))
		return 0;
	if (!strcmp(mount->type, "bpf") && !strcmp(mount->source, BPFFS_SOURCE))
		strcpy(own->point, mount->point);
	else if (is_below(mount->point, own->point))
		own->point[0] = 0;
	return 0;
}

static int unmount_own(const char *dir, struct bn_error *err)
{
	struct own_mount own = {.dir = dir};

	bn_mounts_each("/proc/self/mountinfo", find_own, &own);
	if (!*own.point || !is_empty(own.point))
		return 0;
	/* someone who is in there keeps it; the next one to leave takes it away */
	if (umount2(own.point, UMOUNT_NOFOLLOW) < 0 && errno != EBUSY && errno != EINVAL)
		return bn_error_set(err, -errno, "can't unmount %s: %m", own.point);
	if (!strcmp(own.point, dir))
		rmdir(dir);
	return 0;
}

/* The folders noted, the last first; one that is not empty is someone's. */
static void remove_noted(const char *note)
{
	char *line = NULL;
	char **lines = NULL;
	size_t n = 0, size = 0;
	FILE *f;

	f = fopen(note, "re");
	if (!f)
		return;
	while (getline(&line, &size, f) > 0) {
		char **more = reallocarray(lines, n + 1, sizeof(*lines));

		if (!more)
			break;
		lines = more;
		line[strcspn(line, "\n")] = 0;
		lines[n++] = line;
		line = NULL;
	}
	fclose(f);
	while (n--) {
		if (is_bpffs(lines[n]))
			rmdir(lines[n]);
		free(lines[n]);
	}
	free(line);
	free(lines);
}

int bn_bpffs_release(const char *dir, const char *state_dir, struct bn_error *err)
{
	char note[PATH_MAX];
	int r;

	r = note_path(state_dir, note, err);
	if (r < 0)
		return r;
	if (is_bpffs(dir) && rmdir(dir) < 0 && errno != EBUSY && errno != ENOENT)
		return bn_error_set(err, -errno, "can't remove the folder %s: %m", dir);
	remove_noted(note);
	r = unmount_own(dir, err);
	if (r == 0 && unlink(note) < 0 && errno != ENOENT && errno != ENOTDIR)
		r = bn_error_set(err, -errno, "can't remove %s: %m", note);
	return r;
}
