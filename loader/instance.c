// SPDX-License-Identifier: Apache-2.0
/*
 * Who owns the folders. The truth is a flock(2): it ends with the process however that ends, and
 * nobody inherits it, as descriptors close on exec and the agent forks no process that stays. The
 * pid in the lock file only tells whom to name or to stop, and is believed of a process that has
 * the locked file open.
 *
 * Run and state folders hold a lock file each; on bpffs there are no files, so the folder itself
 * is locked. A lock file may be removed by who holds it; whoever locked one that is no longer at
 * its path tries again.
 */
#include "instance.h"

#include "error.h"
#include "folders.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/pidfd.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <time.h>
#include <unistd.h>

/* A service manager starts a stopped agent again; each round stops what got in between. */
#define ROUNDS_MAX 4

enum place {
	PLACE_RUN,
	PLACE_STATE,
	PLACE_BPFFS,
	PLACE_MAX,
};

struct lock {
	char path[PATH_MAX];
	const char *option; /* that names the folder */
	const char *folder;
	bool is_file;
	int fd;
	int result; /* 0: held, -EBUSY: another has it, -ENOENT: no such folder */
};

static void locks_init(struct lock locks[PLACE_MAX], const struct bn_instance_folders *folders)
{
	locks[PLACE_RUN] = (struct lock){
		.option = "--run-dir", .folder = folders->run_dir, .is_file = true};
	locks[PLACE_STATE] = (struct lock){
		.option = "--state-dir", .folder = folders->state_dir, .is_file = true};
	locks[PLACE_BPFFS] = (struct lock){.option = "--bpffs", .folder = folders->bpffs};
	snprintf(locks[PLACE_RUN].path, PATH_MAX, "%s/" BN_INSTANCE_RUN_LOCK, folders->run_dir);
	snprintf(locks[PLACE_STATE].path, PATH_MAX, "%s/" BN_INSTANCE_STATE_LOCK,
		 folders->state_dir);
	snprintf(locks[PLACE_BPFFS].path, PATH_MAX, "%s", folders->bpffs);
	for (int i = 0; i < PLACE_MAX; i++) {
		locks[i].fd = -1;
		locks[i].result = -ENOENT;
	}
}

static void locks_done(struct lock locks[PLACE_MAX])
{
	for (int i = 0; i < PLACE_MAX; i++) {
		if (locks[i].fd >= 0)
			close(locks[i].fd);
		locks[i].fd = -1;
	}
}

static void locks_take(const struct lock locks[PLACE_MAX], struct bn_instance *ret)
{
	ret->run_fd = locks[PLACE_RUN].fd;
	ret->state_fd = locks[PLACE_STATE].fd;
	ret->bpffs_fd = locks[PLACE_BPFFS].fd;
}

/* What another instance has is open too, to look at. */
static void locks_drop_foreign(struct lock locks[PLACE_MAX])
{
	for (int i = 0; i < PLACE_MAX; i++) {
		if (locks[i].fd >= 0 && locks[i].result < 0) {
			close(locks[i].fd);
			locks[i].fd = -1;
		}
	}
}

static bool same_file(const struct stat *a, const struct stat *b)
{
	return a->st_dev == b->st_dev && a->st_ino == b->st_ino;
}

static bool is_at(int fd, const char *path)
{
	struct stat mine, there;

	return fstat(fd, &mine) == 0 && stat(path, &there) == 0 && same_file(&mine, &there);
}

static int write_pid(int fd)
{
	char text[24];
	int n = snprintf(text, sizeof(text), "%d\n", getpid());

	if (ftruncate(fd, 0) < 0 || pwrite(fd, text, (size_t)n, 0) != n)
		return -EIO;
	return 0;
}

/* Sets fd and result; where another has it, fd is open to look at. */
static int acquire(struct lock *l, struct bn_error *err)
{
	int flags = l->is_file ? O_RDWR | O_CREAT | O_NOFOLLOW : O_RDONLY | O_DIRECTORY;

	for (;;) {
		l->fd = open(l->path, flags | O_CLOEXEC | O_NOCTTY, 0644);
		if (l->fd < 0) {
			l->result = -errno;
			break;
		}
		if (flock(l->fd, LOCK_EX | LOCK_NB) < 0) {
			l->result = errno == EWOULDBLOCK ? -EBUSY : -errno;
			break;
		}
		if (is_at(l->fd, l->path)) {
			l->result = l->is_file ? write_pid(l->fd) : 0;
			break;
		}
		close(l->fd);
	}
	if (l->result == -ENOENT || l->result == -EBUSY)
		return l->result;
	return l->result < 0 ? bn_error_set(err, l->result, "can't lock %s: %s", l->path,
					    strerror(-l->result))
			     : 0;
}

/* As the kernel tells; 0 where it does not (file systems that have several device numbers). */
static pid_t holder_by_kernel(int fd)
{
	unsigned int major_, minor_;
	unsigned long long inode;
	char *line = NULL;
	size_t size = 0;
	struct stat st;
	pid_t pid, found = 0;
	FILE *f;

	f = fopen("/proc/locks", "re");
	if (!f || fstat(fd, &st) < 0)
		goto out;
	/* "1: FLOCK  ADVISORY  WRITE 1607 fe:00:10952854 0 EOF"; waiters have "->" second */
	while (!found && getline(&line, &size, f) > 0) {
		if (sscanf(line, "%*s FLOCK %*s %*s %d %x:%x:%llu", &pid, &major_, &minor_,
			   &inode) == 4 &&
		    makedev(major_, minor_) == st.st_dev && inode == st.st_ino && pid > 0)
			found = pid;
	}
out:
	if (f)
		fclose(f);
	free(line);
	return found;
}

static pid_t holder_by_file(int fd)
{
	char text[24];
	ssize_t n = pread(fd, text, sizeof(text) - 1, 0);
	char *end;
	long pid;

	if (n <= 0)
		return 0;
	text[n] = 0;
	pid = strtol(text, &end, 10);
	return end != text && *end == '\n' && pid > 0 && pid <= INT_MAX ? (pid_t)pid : 0;
}

/* Whom to name: 0 where nobody knows. */
static pid_t holder(const struct lock *l)
{
	pid_t pid = holder_by_kernel(l->fd);

	return pid || !l->is_file ? pid : holder_by_file(l->fd);
}

static bool has_open(pid_t pid, int fd)
{
	struct dirent *entry;
	struct stat mine, theirs;
	bool found = false;
	char path[64];
	DIR *d;

	snprintf(path, sizeof(path), "/proc/%d/fd", pid);
	d = opendir(path);
	if (!d)
		return false;
	if (fstat(fd, &mine) == 0) {
		while (!found && (entry = readdir(d)))
			found = fstatat(dirfd(d), entry->d_name, &theirs, 0) == 0 &&
				same_file(&mine, &theirs);
	}
	closedir(d);
	return found;
}

static bool is_held_by(const struct lock *l, pid_t pid)
{
	return l->result == -EBUSY && (holder_by_kernel(l->fd) == pid || has_open(pid, l->fd));
}

static int refuse(const struct lock *l, struct bn_error *err)
{
	pid_t pid = holder(l);

	if (!pid)
		return bn_error_set(err, -EBUSY,
				    "can't start on %s: another bpfnetd runs there; stop it or give "
				    "another %s",
				    l->folder, l->option);
	return bn_error_set(err, -EBUSY,
			    "can't start on %s: bpfnetd with pid %d runs there; stop it or give "
			    "another %s",
			    l->folder, pid, l->option);
}

static int start_one(struct lock *l, struct bn_error *err)
{
	int r = acquire(l, err);

	if (r == -EBUSY)
		return refuse(l, err);
	return r == -ENOENT ? bn_error_set(err, r, "can't lock %s: it went away", l->path) : r;
}

int bn_instance_start(struct bn_instance *ret, const struct bn_instance_folders *folders,
		      bool *ret_mounted, struct bn_error *err)
{
	struct lock locks[PLACE_MAX];
	int r;

	locks_init(locks, folders);
	*ret = (struct bn_instance){
		.made_run = access(folders->run_dir, F_OK) < 0,
		.made_state = access(folders->state_dir, F_OK) < 0,
		.made_bpffs = access(folders->bpffs, F_OK) < 0,
	};
	r = bn_folder_make(folders->run_dir, 0755, err);
	if (r == 0)
		r = start_one(&locks[PLACE_RUN], err);
	if (r == 0)
		r = bn_folder_make(folders->state_dir, 0700, err);
	if (r == 0)
		r = start_one(&locks[PLACE_STATE], err);
	if (r == 0)
		r = bn_bpffs_prepare(folders->bpffs, folders->state_dir, ret_mounted, err);
	if (r == 0)
		r = start_one(&locks[PLACE_BPFFS], err);
	locks_drop_foreign(locks);
	locks_take(locks, ret);
	if (r < 0)
		bn_instance_abandon(ret, folders);
	return r;
}

static int64_t now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

/* 1: it ended, 0: not in that time. */
static int wait_end(int pidfd, int ms)
{
	struct pollfd p = {.fd = pidfd, .events = POLLIN};
	int64_t deadline = now_ms() + ms, left = ms;
	int r;

	for (;;) {
		r = poll(&p, 1, (int)left);
		if (r >= 0)
			return r;
		if (errno != EINTR)
			return -errno;
		left = deadline - now_ms();
		if (left < 0)
			left = 0;
	}
}

static int end_process(int pidfd, pid_t pid, int grace_ms, struct bn_error *err)
{
	static const int signals[] = {SIGTERM, SIGKILL};
	int r = 0;

	for (size_t i = 0; r == 0 && i < sizeof(signals) / sizeof(signals[0]); i++) {
		if (pidfd_send_signal(pidfd, signals[i], NULL, 0) < 0 && errno != ESRCH)
			return bn_error_set(err, -errno, "can't stop bpfnetd with pid %d: %m", pid);
		r = wait_end(pidfd, grace_ms);
	}
	if (r > 0)
		return 0;
	return bn_error_set(err, r < 0 ? r : -ETIMEDOUT,
			    "can't stop bpfnetd with pid %d: it does not end; see its state in "
			    "/proc/%d/status",
			    pid, pid);
}

/* Ends the one process that has all of the locks; -EBUSY where there is none such. */
static int stop_holder(const struct lock locks[PLACE_MAX], int grace_ms, struct bn_error *err)
{
	const struct lock *busy = NULL;
	int pidfd, r = 0;
	pid_t pid;

	for (int i = PLACE_MAX - 1; i >= 0; i--) {
		if (locks[i].result == -EBUSY)
			busy = &locks[i];
	}
	pid = holder(busy);
	pidfd = pid ? pidfd_open(pid, 0) : -1;
	if (pidfd < 0) {
		/* ended meanwhile, or in a pid namespace that we don't see into */
		return pid && errno == ESRCH
			       ? 0
			       : bn_error_set(err, -EBUSY,
					      "can't stop the bpfnetd that has %s: its process can't "
					      "be seen from here; stop it first",
					      busy->folder);
	}
	for (int i = 0; r == 0 && i < PLACE_MAX; i++) {
		if (!is_held_by(&locks[i], pid) && wait_end(pidfd, 0) == 0)
			r = bn_error_set(err, -EBUSY,
					 "can't stop bpfnetd with pid %d: it has %s, but not %s; "
					 "give all of its folders (%s), or try again if it is "
					 "just starting",
					 pid, busy->folder, locks[i].folder, locks[i].option);
	}
	if (r == 0)
		r = end_process(pidfd, pid, grace_ms, err);
	close(pidfd);
	return r;
}

int bn_instance_stop(struct bn_instance *ret, const struct bn_instance_folders *folders,
		     int grace_ms, bool *ret_stopped, struct bn_error *err)
{
	struct lock locks[PLACE_MAX];
	int r = 0;

	for (int round = 0; round <= ROUNDS_MAX; round++) {
		bool busy = false;

		locks_init(locks, folders);
		for (int i = 0; i < PLACE_MAX; i++) {
			r = acquire(&locks[i], err);
			busy = busy || r == -EBUSY;
			if (r < 0 && r != -EBUSY && r != -ENOENT)
				goto fail;
		}
		if (!busy) {
			*ret = (struct bn_instance){0};
			locks_take(locks, ret);
			if (ret_stopped)
				*ret_stopped = round > 0;
			return 0;
		}
		r = stop_holder(locks, grace_ms, err);
		if (r < 0)
			goto fail;
		locks_done(locks);
	}
	return bn_error_set(err, -EBUSY,
			    "can't stop bpfnetd on %s: it is started again each time; stop the "
			    "service first (systemctl stop bpfnetd)",
			    folders->run_dir);
fail:
	locks_done(locks);
	return r;
}

static void remove_folder(const char *folder, const char *lock, int fd)
{
	char path[PATH_MAX];

	/* without the lock it may be someone's who is just starting */
	if (fd < 0)
		return;
	snprintf(path, sizeof(path), "%s/%s", folder, lock);
	unlink(path);
	rmdir(folder);
}

int bn_instance_remove(struct bn_instance *instance, const struct bn_instance_folders *folders,
		       struct bn_error *err)
{
	int r;

	/* an open descriptor would keep the mount busy */
	if (instance->bpffs_fd >= 0)
		close(instance->bpffs_fd);
	instance->bpffs_fd = -1;
	r = bn_bpffs_release(folders->bpffs, folders->state_dir, err);
	remove_folder(folders->state_dir, BN_INSTANCE_STATE_LOCK, instance->state_fd);
	remove_folder(folders->run_dir, BN_INSTANCE_RUN_LOCK, instance->run_fd);
	bn_instance_done(instance);
	return r;
}

void bn_instance_abandon(struct bn_instance *instance, const struct bn_instance_folders *folders)
{
	if (instance->made_bpffs && instance->state_fd >= 0) {
		if (instance->bpffs_fd >= 0)
			close(instance->bpffs_fd);
		instance->bpffs_fd = -1;
		bn_bpffs_release(folders->bpffs, folders->state_dir, NULL);
	}
	if (instance->made_state)
		remove_folder(folders->state_dir, BN_INSTANCE_STATE_LOCK, instance->state_fd);
	if (instance->made_run)
		remove_folder(folders->run_dir, BN_INSTANCE_RUN_LOCK, instance->run_fd);
	bn_instance_done(instance);
}

void bn_instance_done(struct bn_instance *instance)
{
	int *fds[] = {&instance->bpffs_fd, &instance->state_fd, &instance->run_fd};

	for (size_t i = 0; i < sizeof(fds) / sizeof(fds[0]); i++) {
		if (*fds[i] >= 0)
			close(*fds[i]);
		*fds[i] = -1;
	}
}
