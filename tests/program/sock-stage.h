/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where the socket programs play: a cgroup of the test's own, whose sockets they are attached to, and
 * its network namespace, which is the node's, a pod's or a stranger's as the test says.
 */
#pragma once

#include "lib/program.h"

#include <stdint.h>
#include <sys/socket.h>

extern struct bn_rig rig;

/* Runs `test` in the cgroup, in a process of its own: its exit code. */
int stage_main(int (*test)(void));
/* The rig, and the programs on its maps; the services are the test's. */
void stage_build(void);
/* enum bn_netns_kind, 0: somebody else's */
void stage_namespace_is(__u32 kind);
/* Whether a program may say with which errno it refuses. */
bool stage_can_set_retval(void);

/* "[ADDRESS]:PORT" */
struct name {
	char text[64];
};
struct name name(const char *addr, uint16_t port);
struct name name_of(const struct sockaddr_storage *a);
/* What getpeername() says. */
struct name peer(int fd);

int family_of(const char *addr);
/* These fail the test where they can't do it. */
socklen_t address(struct sockaddr_storage *ret, const char *addr, uint16_t port);
int open_socket(const char *addr, int type);
int listener(const char *addr, int type, uint16_t port);
/* 0 or errno */
int bind_to(int fd, const char *addr, uint16_t port);
int connect_to(int fd, const char *addr, uint16_t port);
