/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Network namespaces: telling them apart, and doing one thing inside another one.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

struct bn_error;

/* What makes a namespace the same one again: device and inode of its file in nsfs. */
struct bn_netns_id {
	uint64_t dev;
	uint64_t ino;
};

static inline bool bn_netns_same(const struct bn_netns_id *a, const struct bn_netns_id *b)
{
	return a->dev == b->dev && a->ino == b->ino;
}

/* Of an open descriptor: -EINVAL where it is no network namespace. */
int bn_netns_identify(int fd, struct bn_netns_id *ret);
/* Of the namespace that the caller is in. */
int bn_netns_own(struct bn_netns_id *ret);
/* Opens NAME (under /run/netns) or PATH; the caller closes. */
int bn_netns_open(const char *name, int *ret_fd, struct bn_error *err);

/*
 * Calls fn inside the namespace and comes back, whatever fn does; the process ends where coming
 * back is impossible, because a node agent in a pod's namespace would configure the wrong host.
 * fn must not wait for anything. Returns what fn returns, or -errno when entering failed.
 */
int bn_netns_run(int fd, int (*fn)(void *user), void *user);

/*
 * What BPF programs know the namespace by, fd -1: the caller's. Unique while the machine runs.
 * -ENOPROTOOPT where the kernel does not tell.
 */
int bn_netns_cookie(int fd, uint64_t *ret);
