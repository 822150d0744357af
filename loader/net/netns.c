// SPDX-License-Identifier: Apache-2.0
/*
 * Why: a pod's namespace comes as a descriptor from an unprivileged-looking socket, so it is
 * checked to be a network namespace and not the node's own before anything is done in it.
 *
 * Invariant: outside bn_netns_run() the thread is in the namespace that it was started in.
 */
#include "net/netns.h"

#include "error.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/nsfs.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#define OWN "/proc/thread-self/ns/net"
#define NAMED "/run/netns/"

int bn_netns_identify(int fd, struct bn_netns_id *ret)
{
	struct stat st;

	/* ENOTTY from anything that is no namespace file. */
	if (ioctl(fd, NS_GET_NSTYPE) != CLONE_NEWNET)
		return -EINVAL;
	if (fstat(fd, &st) < 0)
		return -errno;
	ret->dev = st.st_dev;
	ret->ino = st.st_ino;
	return 0;
}

int bn_netns_own(struct bn_netns_id *ret)
{
	struct stat st;

	if (stat(OWN, &st) < 0)
		return -errno;
	ret->dev = st.st_dev;
	ret->ino = st.st_ino;
	return 0;
}

int bn_netns_open(const char *name, int *ret_fd, struct bn_error *err)
{
	char path[4096];
	struct bn_netns_id id;
	int fd;
	int r;

	if (!name || !*name)
		return bn_error_set(err, -EINVAL, "no network namespace given");
	if (snprintf(path, sizeof(path), "%s%s", strchr(name, '/') ? "" : NAMED, name) >=
	    (int)sizeof(path))
		return bn_error_set(err, -ENAMETOOLONG,
				    "the name of the network namespace is too long");
	fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	if (fd < 0)
		return bn_error_set(
			err, -errno,
			"cannot open network namespace %s: %s; 'ip netns list' shows the named ones",
			name, strerror(errno));
	r = bn_netns_identify(fd, &id);
	if (r < 0) {
		close(fd);
		return bn_error_set(err, -EINVAL, "%s is no network namespace", name);
	}
	*ret_fd = fd;
	return 0;
}

int bn_netns_run(int fd, int (*fn)(void *user), void *user)
{
	int own;
	int r;

	own = open(OWN, O_RDONLY | O_CLOEXEC);
	if (own < 0)
		return -errno;
	if (setns(fd, CLONE_NEWNET) < 0) {
		r = -errno;
		close(own);
		return r;
	}
	r = fn(user);
	if (setns(own, CLONE_NEWNET) < 0)
		abort();
	close(own);
	return r;
}
