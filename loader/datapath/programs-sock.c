// SPDX-License-Identifier: Apache-2.0
#include "datapath/programs-sock.h"

#include "sock.skel.h"

#include <bpf/libbpf.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

/* Whether a socket program may say with which errno it refuses; else it is EPERM. */
static bool can_set_retval(void)
{
	return libbpf_probe_bpf_helper(BPF_PROG_TYPE_CGROUP_SOCK_ADDR, BPF_FUNC_set_retval, NULL) ==
		       1 &&
	       libbpf_probe_bpf_helper(BPF_PROG_TYPE_CGROUP_SOCK, BPF_FUNC_set_retval, NULL) == 1;
}

int bn_sock_programs_load(struct bn_sock_programs *ret, const struct bn_programs *programs,
			  struct bn_error *err)
{
	struct bn_config config = programs->node;
	struct bn_sock *sock = bn_sock__open();
	int r;

	for (int i = 0; i < BN_SOCK_MAX; i++)
		ret->fds[i] = -1;
	if (!sock)
		return bn_error_set(err, -errno, "can't open the socket programs: %m");
	if (can_set_retval())
		config.features |= BN_FEATURE_SET_RETVAL;
	memcpy((void *)&sock->rodata->bn_config, &config, sizeof(config));
	r = bn_programs_share_maps(sock->obj, programs, err);
	if (!r) {
		r = bpf_object__load(sock->obj);
		if (r)
			bn_error_set(err, r,
				     "can't load the socket programs: %s; the verifier's log is at "
				     "debug level (--log-level debug)",
				     strerror(-r));
	}
	if (!r) {
#define BN_X(name, hook) \
	ret->fds[BN_SOCK_##name] = \
		fcntl(bpf_program__fd(sock->progs.bn_##name), F_DUPFD_CLOEXEC, 3);
		BN_SOCK_PROGRAMS(BN_X)
#undef BN_X
	}
	bn_sock__destroy(sock);
	return r;
}

void bn_sock_programs_done(struct bn_sock_programs *p)
{
	for (int i = 0; i < BN_SOCK_MAX; i++) {
		if (p->fds[i] >= 0)
			close(p->fds[i]);
		p->fds[i] = -1;
	}
}
