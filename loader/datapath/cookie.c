// SPDX-License-Identifier: Apache-2.0
/*
 * Why: Linux 5.7 to 5.13 tell a namespace's cookie to BPF programs only. So a child of ours enters a
 * cgroup of its own, then the namespace, and makes a socket; a program on that cgroup looks on.
 *
 * Invariant: cgroup and program are gone when this returns, whatever became of the child.
 */
#include "datapath/cookie.h"

#include "cookie.skel.h"

#include <bpf/libbpf.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

/* In the child: only what is safe after fork(). */
static int make_socket(int procs_fd, int netns_fd)
{
	if (write(procs_fd, "0", 1) != 1)
		return errno;
	if (netns_fd >= 0 && setns(netns_fd, CLONE_NEWNET) < 0)
		return errno;
	return socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0) < 0 ? errno : 0;
}

static int run_child(int procs_fd, int netns_fd)
{
	int status;
	pid_t pid = fork();

	if (pid < 0)
		return -errno;
	if (pid == 0)
		_exit(make_socket(procs_fd, netns_fd));
	while (waitpid(pid, &status, 0) < 0) {
		if (errno != EINTR)
			return -errno;
	}
	return WIFEXITED(status) ? -WEXITSTATUS(status) : -EIO;
}

static int ask(const char *cgroup, int netns_fd, uint64_t *ret)
{
	int dir = open(cgroup, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	int procs = dir < 0 ? -1 : openat(dir, "cgroup.procs", O_WRONLY | O_CLOEXEC);
	struct bn_cookie *skel = NULL;
	struct bpf_link *link = NULL;
	int r = procs < 0 ? -errno : 0;

	if (!r) {
		skel = bn_cookie__open_and_load();
		r = skel ? 0 : -errno;
	}
	if (!r) {
		link = bpf_program__attach_cgroup(skel->progs.bn_read_cookie, dir);
		r = link ? run_child(procs, netns_fd) : -errno;
	}
	if (!r && !skel->bss->bn_cookie)
		r = -ENODATA;
	if (!r)
		*ret = skel->bss->bn_cookie;
	bpf_link__destroy(link);
	bn_cookie__destroy(skel);
	if (procs >= 0)
		close(procs);
	if (dir >= 0)
		close(dir);
	return r;
}

int bn_cookie_by_program(const char *cgroup, int netns_fd, uint64_t *ret, struct bn_error *err)
{
	char own[PATH_MAX];
	int r;

	if (snprintf(own, sizeof(own), "%s/bpfnet-cookie-%d", cgroup, getpid()) >= (int)sizeof(own))
		return bn_error_set(err, -ENAMETOOLONG, "the path of the cgroup is too long");
	/* one of a process that had our number and was killed here */
	rmdir(own);
	if (mkdir(own, 0755) < 0)
		return bn_error_set(err, -errno, "can't make the cgroup %s: %s", own,
				    strerror(errno));
	r = ask(own, netns_fd, ret);
	rmdir(own);
	return r < 0 ? bn_error_set(err, r, "can't tell the network namespace's cookie: %s",
				    strerror(-r))
		     : 0;
}
