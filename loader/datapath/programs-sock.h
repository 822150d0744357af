/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Loading of the socket programs, on the maps that the packet programs have. They may be refused
 * where those are not: services are balanced packet by packet then.
 */
#pragma once

#include "datapath/programs.h"

/*
 * X(name, hook), the order in which they are attached: who translates back comes before who
 * translates.
 */
#define BN_SOCK_PROGRAMS(X) \
	X(getpeername4, BPF_CGROUP_INET4_GETPEERNAME) \
	X(getpeername6, BPF_CGROUP_INET6_GETPEERNAME) \
	X(recvmsg4, BPF_CGROUP_UDP4_RECVMSG) \
	X(recvmsg6, BPF_CGROUP_UDP6_RECVMSG) \
	X(sendmsg4, BPF_CGROUP_UDP4_SENDMSG) \
	X(sendmsg6, BPF_CGROUP_UDP6_SENDMSG) \
	X(sock_release, BPF_CGROUP_INET_SOCK_RELEASE) \
	X(connect4, BPF_CGROUP_INET4_CONNECT) \
	X(connect6, BPF_CGROUP_INET6_CONNECT) \
	X(post_bind4, BPF_CGROUP_INET4_POST_BIND) \
	X(post_bind6, BPF_CGROUP_INET6_POST_BIND)

enum bn_sock_program {
#define BN_X(name, hook) BN_SOCK_##name,
	BN_SOCK_PROGRAMS(BN_X)
#undef BN_X
		BN_SOCK_MAX,
};

struct bn_sock_programs {
	int fds[BN_SOCK_MAX]; /* owned, -1: not loaded */
};

int bn_sock_programs_load(struct bn_sock_programs *ret, const struct bn_programs *programs,
			  struct bn_error *err);
void bn_sock_programs_done(struct bn_sock_programs *p);
