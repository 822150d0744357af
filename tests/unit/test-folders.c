// SPDX-License-Identifier: Apache-2.0
/*
 * Folders, bpffs and the one instance on them. Mounting takes root; those tests are skipped
 * without, and everything happens under folders of their own.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "error.h"
#include "folders.h"
#include "instance.h"
#include "lib/temp.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define USUAL "/sys/fs/bpf"

struct place {
	char top[BN_TEMP_MAX], run[96], state[96], bpffs[96];
	struct bn_instance_folders folders;
};

/* bpffs on itself, under top; nothing but top is made. */
static int setup(void **state)
{
	struct place *p = calloc(1, sizeof(*p));

	if (!bn_temp_dir(p->top, "folders"))
		return -1;
	snprintf(p->run, sizeof(p->run), "%s/a/run", p->top);
	snprintf(p->state, sizeof(p->state), "%s/b/state", p->top);
	snprintf(p->bpffs, sizeof(p->bpffs), "%s/c/bpffs", p->top);
	p->folders = (struct bn_instance_folders){p->run, p->state, p->bpffs};
	*state = p;
	return 0;
}

static int teardown(void **state)
{
	struct place *p = *state;
	char command[160];
	int r;

	umount2(p->bpffs, MNT_DETACH);
	snprintf(command, sizeof(command), "rm -rf '%s'", p->top);
	r = system(command);
	free(p);
	return r;
}

static bool is_root(void)
{
	return geteuid() == 0;
}

static bool exists(const char *path)
{
	return access(path, F_OK) == 0;
}

static unsigned int mode_of(const char *path)
{
	struct stat st;

	assert_int_equal(stat(path, &st), 0);
	return st.st_mode & 07777;
}

static void assert_ok(int r, struct bn_error *err)
{
	if (r < 0)
		fail_msg("%d: %s", r, bn_error_text(err));
	assert_null(err->text);
}

/* Also forgets the error. */
static void assert_says(struct bn_error *err, const char *words)
{
	if (!strstr(bn_error_text(err), words))
		fail_msg("\"%s\" does not say \"%s\"", bn_error_text(err), words);
	bn_error_done(err);
}

static void test_make(void **state)
{
	struct bn_error err = BN_ERROR_INIT;
	struct place *p = *state;
	mode_t mask = umask(0077);
	char path[128];

	assert_ok(bn_folder_make(p->run, 0755, &err), &err);
	assert_ok(bn_folder_make(p->state, 0700, &err), &err);
	umask(mask);
	assert_int_equal(mode_of(p->run), 0755);
	assert_int_equal(mode_of(p->state), 0700);
	snprintf(path, sizeof(path), "%s/a", p->top);
	assert_int_equal(mode_of(path), 0755);
	assert_ok(bn_folder_make(p->run, 0755, &err), &err);

	assert_int_equal(chmod(p->run, 0777), 0);
	assert_int_equal(bn_folder_make(p->run, 0755, &err), -EPERM);
	assert_says(&err, "others may write");
	snprintf(path, sizeof(path), "%s/file", p->top);
	close(open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600));
	assert_int_equal(bn_folder_make(path, 0755, &err), -ENOTDIR);
	assert_says(&err, path);
	strcat(path, "/below");
	assert_int_equal(bn_folder_make(path, 0755, &err), -ENOTDIR);
	assert_says(&err, path);
}

/* Mounted on the folder itself, and taken away again. */
static void test_bpffs_own(void **state)
{
	struct bn_error err = BN_ERROR_INIT;
	struct place *p = *state;
	bool mounted = false;
	char path[128];

	if (!is_root())
		skip();
	assert_ok(bn_folder_make(p->state, 0700, &err), &err);
	assert_ok(bn_bpffs_prepare(p->bpffs, p->state, &mounted, &err), &err);
	assert_true(mounted);
	assert_ok(bn_bpffs_prepare(p->bpffs, p->state, &mounted, &err), &err);
	assert_false(mounted);

	/* what someone else keeps in it keeps it */
	snprintf(path, sizeof(path), "%s/foreign", p->bpffs);
	assert_int_equal(mkdir(path, 0700), 0);
	bn_bpffs_release(p->bpffs, p->state, &err);
	bn_error_done(&err);
	assert_true(exists(path));
	assert_int_equal(rmdir(path), 0);
	assert_ok(bn_bpffs_release(p->bpffs, p->state, &err), &err);
	assert_false(exists(p->bpffs));
	assert_ok(bn_bpffs_release(p->bpffs, p->state, &err), &err);
	assert_ok(rmdir(p->state), &err);
}

/* On one that is there: only the folders are ours. */
static void test_bpffs_nested(void **state)
{
	struct bn_error err = BN_ERROR_INIT;
	char outer[96], dir[128], other[160];
	struct place *p = *state;
	bool mounted = true;

	if (!is_root())
		skip();
	assert_ok(bn_folder_make(p->state, 0700, &err), &err);
	assert_ok(bn_folder_make(p->bpffs, 0700, &err), &err);
	assert_int_equal(mount("test", p->bpffs, "bpf", 0, NULL), 0);
	snprintf(outer, sizeof(outer), "%.80s/x", p->bpffs);
	snprintf(dir, sizeof(dir), "%s/y/z", outer);
	snprintf(other, sizeof(other), "%s/other", outer);
	assert_ok(bn_bpffs_prepare(dir, p->state, &mounted, &err), &err);
	assert_false(mounted);
	assert_int_equal(mode_of(dir), 0700);

	assert_int_equal(mkdir(other, 0700), 0);
	assert_ok(bn_bpffs_release(dir, p->state, &err), &err);
	assert_false(exists(dir));
	assert_true(exists(other));
	assert_ok(bn_bpffs_prepare(dir, p->state, &mounted, &err), &err);
	assert_int_equal(rmdir(other), 0);

	/* pins that are left are named, not lost */
	snprintf(other, sizeof(other), "%s/pin", dir);
	assert_int_equal(mkdir(other, 0700), 0);
	assert_int_equal(bn_bpffs_release(dir, p->state, &err), -ENOTEMPTY);
	assert_says(&err, dir);
	assert_int_equal(rmdir(other), 0);
	assert_ok(bn_bpffs_release(dir, p->state, &err), &err);
	assert_false(exists(dir));
	assert_true(exists(p->bpffs));
	assert_int_equal(umount(p->bpffs), 0);
}

static void test_bpffs_occupied(void **state)
{
	struct bn_error err = BN_ERROR_INIT;
	struct place *p = *state;
	char path[128];

	if (!is_root())
		skip();
	assert_ok(bn_folder_make(p->state, 0700, &err), &err);
	assert_ok(bn_folder_make(p->bpffs, 0700, &err), &err);
	snprintf(path, sizeof(path), "%s/file", p->bpffs);
	close(open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600));
	assert_int_equal(bn_bpffs_prepare(p->bpffs, p->state, NULL, &err), -ENOTEMPTY);
	assert_says(&err, p->bpffs);
	assert_true(exists(path));
}

/* 0, or what went wrong, of fn in a process of its own with a private mount namespace. */
static int in_private_namespace(int (*fn)(struct place *p), struct place *p)
{
	int status;
	pid_t pid = fork();

	if (pid == 0) {
		if (unshare(CLONE_NEWNS) || mount("", "/", NULL, MS_REC | MS_PRIVATE, NULL))
			_exit(99);
		_exit(fn(p));
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

/* What `ip netns exec` does to /sys. */
static int start_below_new_sys(struct place *p)
{
	char dir[96];
	bool mounted;

	snprintf(dir, sizeof(dir), USUAL "/%s", strrchr(p->top, '/') + 1);
	if (umount2("/sys", MNT_DETACH) || mount("sysfs", "/sys", "sysfs", 0, NULL))
		return 98;
	return -bn_bpffs_prepare(dir, p->state, &mounted, NULL);
}

static int start_on_itself(struct place *p)
{
	return -bn_bpffs_prepare(p->bpffs, p->state, NULL, NULL);
}

static void test_bpffs_private(void **state)
{
	struct bn_error err = BN_ERROR_INIT;
	struct place *p = *state;

	if (!is_root() || access("/proc/1/mountinfo", R_OK))
		skip();
	assert_ok(bn_folder_make(p->state, 0700, &err), &err);
	assert_int_equal(in_private_namespace(start_below_new_sys, p), EXDEV);
	assert_int_equal(in_private_namespace(start_on_itself, p), EXDEV);
	assert_false(exists(p->bpffs));

	/* one that all have is fine, whoever looks at it */
	assert_ok(bn_bpffs_prepare(p->bpffs, p->state, NULL, &err), &err);
	assert_int_equal(in_private_namespace(start_on_itself, p), 0);
	assert_ok(bn_bpffs_release(p->bpffs, p->state, &err), &err);
}

/* Another agent: returns when it runs on the folders. */
static pid_t start_other(struct place *p, bool stubborn)
{
	int pipefd[2];
	char byte;
	pid_t pid;

	assert_int_equal(pipe2(pipefd, O_CLOEXEC), 0);
	pid = fork();
	if (pid == 0) {
		struct bn_instance instance = BN_INSTANCE_NULL;

		prctl(PR_SET_PDEATHSIG, SIGKILL);
		signal(SIGTERM, stubborn ? SIG_IGN : SIG_DFL);
		if (bn_instance_start(&instance, &p->folders, NULL, NULL) < 0)
			_exit(1);
		if (write(pipefd[1], "x", 1) != 1)
			_exit(1);
		for (;;)
			pause();
	}
	close(pipefd[1]);
	assert_int_equal(read(pipefd[0], &byte, 1), 1);
	close(pipefd[0]);
	return pid;
}

static int end_of(pid_t pid)
{
	int status;

	assert_int_equal(waitpid(pid, &status, 0), pid);
	return WIFSIGNALED(status) ? WTERMSIG(status) : 0;
}

static void test_one_instance(void **state)
{
	struct bn_instance instance = BN_INSTANCE_NULL;
	struct bn_error err = BN_ERROR_INIT;
	struct place *p = *state, other = *p;
	char words[200];
	pid_t pid;

	if (!is_root())
		skip();
	pid = start_other(p, false);
	snprintf(words, sizeof(words), "can't start on %s: bpfnetd with pid %d runs there", p->run,
		 pid);
	assert_int_equal(bn_instance_start(&instance, &p->folders, NULL, &err), -EBUSY);
	assert_says(&err, words);
	assert_int_equal(instance.run_fd, -1);

	/* any one of the folders is enough */
	strcat(other.run, "2");
	other.folders = (struct bn_instance_folders){other.run, other.state, other.bpffs};
	snprintf(words, sizeof(words), "can't start on %s: bpfnetd with pid %d", p->state, pid);
	assert_int_equal(bn_instance_start(&instance, &other.folders, NULL, &err), -EBUSY);
	assert_says(&err, words);
	strcat(other.state, "2");
	snprintf(words, sizeof(words), "can't start on %s: ", p->bpffs);
	assert_int_equal(bn_instance_start(&instance, &other.folders, NULL, &err), -EBUSY);
	assert_says(&err, words);
	/* what the refused starts made is gone, and what they met stays */
	assert_false(exists(other.run));
	assert_false(exists(other.state));
	assert_true(exists(p->bpffs));

	/* a crash frees them all */
	kill(pid, SIGKILL);
	assert_int_equal(end_of(pid), SIGKILL);
	assert_ok(bn_instance_start(&instance, &p->folders, NULL, &err), &err);
	bn_instance_done(&instance);
	assert_ok(bn_instance_start(&instance, &p->folders, NULL, &err), &err);
	assert_ok(bn_instance_remove(&instance, &p->folders, &err), &err);
}

/* A start that came to nothing takes back its own folders and no one else's. */
static void test_abandon(void **state)
{
	struct bn_instance instance = BN_INSTANCE_NULL;
	struct bn_error err = BN_ERROR_INIT;
	struct place *p = *state;

	if (!is_root())
		skip();
	assert_ok(bn_folder_make(p->state, 0700, &err), &err);
	assert_ok(bn_instance_start(&instance, &p->folders, NULL, &err), &err);
	bn_instance_abandon(&instance, &p->folders);
	assert_false(exists(p->run));
	assert_false(exists(p->bpffs));
	assert_true(exists(p->state));
	assert_int_equal(instance.state_fd, -1);
	/* a second one, as the program does on its way out, is nothing */
	bn_instance_done(&instance);

	assert_ok(bn_instance_start(&instance, &p->folders, NULL, &err), &err);
	bn_instance_done(&instance);
	assert_ok(bn_instance_start(&instance, &p->folders, NULL, &err), &err);
	bn_instance_abandon(&instance, &p->folders);
	assert_true(exists(p->run));
	assert_true(exists(p->bpffs));
	assert_ok(bn_instance_stop(&instance, &p->folders, 100, NULL, &err), &err);
	assert_ok(bn_instance_remove(&instance, &p->folders, &err), &err);
}

static void test_stop(void **state)
{
	struct bn_instance instance = BN_INSTANCE_NULL;
	struct bn_error err = BN_ERROR_INIT;
	struct place *p = *state;
	bool stopped = false;
	pid_t pid;

	if (!is_root())
		skip();
	pid = start_other(p, false);
	assert_ok(bn_instance_stop(&instance, &p->folders, BN_INSTANCE_GRACE_MS, &stopped, &err),
		  &err);
	assert_true(stopped);
	assert_int_equal(end_of(pid), SIGTERM);
	assert_true(instance.run_fd >= 0 && instance.state_fd >= 0 && instance.bpffs_fd >= 0);
	assert_ok(bn_instance_remove(&instance, &p->folders, &err), &err);
	assert_false(exists(p->run));
	assert_false(exists(p->state));
	assert_false(exists(p->bpffs));

	/* nothing there: fine, and nothing is made */
	assert_ok(bn_instance_stop(&instance, &p->folders, 100, &stopped, &err), &err);
	assert_false(stopped);
	assert_ok(bn_instance_remove(&instance, &p->folders, &err), &err);
	assert_false(exists(p->run));

	pid = start_other(p, true);
	assert_ok(bn_instance_stop(&instance, &p->folders, 50, &stopped, &err), &err);
	assert_int_equal(end_of(pid), SIGKILL);
	assert_ok(bn_instance_remove(&instance, &p->folders, &err), &err);
}

/* A forgotten option must not stop a stranger. */
static void test_stop_of_another(void **state)
{
	struct bn_instance instance = BN_INSTANCE_NULL;
	struct bn_error err = BN_ERROR_INIT;
	struct place *p = *state, other = *p;
	char path[128];
	pid_t pid;
	int fd;

	if (!is_root())
		skip();
	pid = start_other(p, false);
	strcat(other.run, "2");
	other.folders = (struct bn_instance_folders){other.run, other.state, other.bpffs};
	assert_int_equal(bn_instance_stop(&instance, &other.folders, 100, NULL, &err), -EBUSY);
	assert_says(&err, other.run);
	assert_int_equal(waitpid(pid, NULL, WNOHANG), 0);

	kill(pid, SIGKILL);
	end_of(pid);

	/* nor must a number that a crash left behind and someone else has by now */
	pid = fork();
	if (pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		for (;;)
			pause();
	}
	snprintf(path, sizeof(path), "%s/" BN_INSTANCE_RUN_LOCK, p->run);
	fd = open(path, O_WRONLY | O_TRUNC | O_CLOEXEC);
	assert_true(fd >= 0);
	dprintf(fd, "%d\n", pid);
	close(fd);
	assert_ok(bn_instance_stop(&instance, &p->folders, 100, NULL, &err), &err);
	assert_ok(bn_instance_remove(&instance, &p->folders, &err), &err);
	assert_int_equal(waitpid(pid, NULL, WNOHANG), 0);
	kill(pid, SIGKILL);
	end_of(pid);
}

#define TEST(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_make),           TEST(test_bpffs_own),     TEST(test_bpffs_nested),
		TEST(test_bpffs_occupied), TEST(test_bpffs_private), TEST(test_one_instance),
		TEST(test_abandon),        TEST(test_stop),          TEST(test_stop_of_another),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
