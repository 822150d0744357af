// SPDX-License-Identifier: Apache-2.0
/*
 * Why: BPF programs tell network namespaces apart by a cookie that is no part of their files; a
 * socket in the namespace is asked for it (SO_NETNS_COOKIE, Linux 5.14).
 */
#include "net/netns.h"

#include <errno.h>
#include <sys/socket.h>
#include <unistd.h>

#ifndef SO_NETNS_COOKIE
#define SO_NETNS_COOKIE 71
#endif

static int read_cookie(void *user)
{
	uint64_t cookie;
	socklen_t size = sizeof(cookie);
	int fd, r = 0;

	fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -errno;
	if (getsockopt(fd, SOL_SOCKET, SO_NETNS_COOKIE, &cookie, &size) < 0)
		r = -errno;
	else
		*(uint64_t *)user = cookie;
	close(fd);
	return r;
}

int bn_netns_cookie(int fd, uint64_t *ret)
{
	return fd < 0 ? read_cookie(ret) : bn_netns_run(fd, read_cookie, ret);
}
