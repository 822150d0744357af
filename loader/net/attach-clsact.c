// SPDX-License-Identifier: Apache-2.0
/*
 * Why: kernels before 6.6 have no tcx links; there a program is a filter in the clsact qdisc, which
 * outlives its maker and is replaced atomically (cls_bpf swaps the program under RCU).
 *
 * Invariants: a record is made before what it records, so a killed agent leaves records too many
 * and never too few; only the filter with our handle and priority is touched; a qdisc is removed
 * only where it was us who made it and no filter of anyone is left in it.
 */
#include "net/attach-mechanism.h"

#include "error.h"
#include "net/netlink.h"

#include <bpf/libbpf.h>
#include <errno.h>
#include <linux/pkt_sched.h>
#include <linux/rtnetlink.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* After the priorities that others start from (1, 49152 down); the pair is ours by convention. */
#define HANDLE 0xbf
#define PRIORITY 0xbf

static int record_path(const char *dir, const char *what, int ifindex, char ret[BN_ATTACH_PATH_MAX])
{
	return snprintf(ret, BN_ATTACH_PATH_MAX, "%s/clsact-%s-%d", dir, what, ifindex) >=
			       BN_ATTACH_PATH_MAX
		       ? -ENAMETOOLONG
		       : 0;
}

/* 1 it was made now, 0 it was there. */
static int record(const char *dir, const char *what, int ifindex)
{
	char path[BN_ATTACH_PATH_MAX];

	if (record_path(dir, what, ifindex, path) < 0)
		return -ENAMETOOLONG;
	if (mkdir(path, 0700) == 0)
		return 1;
	return errno == EEXIST ? 0 : -errno;
}

static bool recorded(const char *dir, const char *what, int ifindex)
{
	char path[BN_ATTACH_PATH_MAX];

	return record_path(dir, what, ifindex, path) == 0 && access(path, F_OK) == 0;
}

static void forget(const char *dir, const char *what, int ifindex)
{
	char path[BN_ATTACH_PATH_MAX];

	if (record_path(dir, what, ifindex, path) == 0)
		rmdir(path);
}

static enum bpf_tc_attach_point side(enum bn_attach_point point)
{
	return point == BN_ATTACH_INGRESS ? BPF_TC_INGRESS : BPF_TC_EGRESS;
}

static int make_qdisc(const char *dir, int ifindex, struct bn_error *err)
{
	LIBBPF_OPTS(bpf_tc_hook, hook, .ifindex = ifindex,
		    .attach_point = BPF_TC_INGRESS | BPF_TC_EGRESS);
	int fresh, r;

	fresh = record(dir, "qdisc", ifindex);
	if (fresh < 0)
		return bn_error_set(err, fresh, "cannot make a record in %s: %s", dir,
				    strerror(-fresh));
	r = bpf_tc_hook_create(&hook);
	if (r == 0)
		return 0;
	if (fresh > 0)
		forget(dir, "qdisc", ifindex);
	if (r == -EEXIST)
		return 0;
	return bn_error_set(
		err, r,
		"cannot create a clsact qdisc on interface %d: %s; the kernel needs CONFIG_NET_SCH_INGRESS and CONFIG_NET_CLS_BPF",
		ifindex, strerror(-r));
}

static int take_filter(const struct nlmsghdr *m, void *user)
{
	bool *found = user;

	*found = *found || m->nlmsg_type == RTM_NEWTFILTER;
	return 0;
}

/* Whether anyone has a filter there; an answer that can't be had counts as yes. */
static bool has_filters(int ifindex)
{
	static const uint32_t parents[] = {
		TC_H_MAKE(TC_H_CLSACT, TC_H_MIN_INGRESS),
		TC_H_MAKE(TC_H_CLSACT, TC_H_MIN_EGRESS),
	};
	bool found = false;
	struct bn_nl *nl;
	int r;

	if (bn_nl_open(NETLINK_ROUTE, &nl, NULL) < 0)
		return true;
	for (int i = 0; i < 2 && !found; i++) {
		const struct tcmsg tc = {.tcm_ifindex = ifindex, .tcm_parent = parents[i]};

		bn_nl_begin(nl, RTM_GETTFILTER, 0);
		bn_nl_header(nl, &tc, sizeof(tc));
		r = bn_nl_dump(nl, take_filter, &found);
		found = found || r < 0;
	}
	bn_nl_free(nl);
	return found;
}

static void release_qdisc(const char *dir, int ifindex)
{
	LIBBPF_OPTS(bpf_tc_hook, hook, .ifindex = ifindex,
		    .attach_point = BPF_TC_INGRESS | BPF_TC_EGRESS);

	if (recorded(dir, "ingress", ifindex) || recorded(dir, "egress", ifindex) ||
	    !recorded(dir, "qdisc", ifindex))
		return;
	/* Someone else moved in: it is theirs now. */
	if (!has_filters(ifindex))
		bpf_tc_hook_destroy(&hook);
	forget(dir, "qdisc", ifindex);
}

static int clsact_attach(const char *dir, int ifindex, enum bn_attach_point point, int prog_fd,
			 struct bn_error *err)
{
	LIBBPF_OPTS(bpf_tc_hook, hook, .ifindex = ifindex, .attach_point = side(point));
	LIBBPF_OPTS(bpf_tc_opts, opts, .handle = HANDLE, .priority = PRIORITY, .prog_fd = prog_fd,
		    .flags = BPF_TC_F_REPLACE);
	const char *name = bn_attach_point_name(point);
	int fresh, r;

	r = make_qdisc(dir, ifindex, err);
	if (r < 0)
		return r;
	fresh = record(dir, name, ifindex);
	if (fresh < 0)
		return bn_error_set(err, fresh, "cannot make a record in %s: %s", dir,
				    strerror(-fresh));
	r = bpf_tc_attach(&hook, &opts);
	if (r == 0)
		return 0;
	if (fresh > 0)
		forget(dir, name, ifindex);
	release_qdisc(dir, ifindex);
	return bn_error_set(err, r, "cannot attach to the %s of interface %d by clsact: %s", name,
			    ifindex, strerror(-r));
}

static int clsact_detach(const char *dir, int ifindex, enum bn_attach_point point,
			 struct bn_error *err)
{
	LIBBPF_OPTS(bpf_tc_hook, hook, .ifindex = ifindex, .attach_point = side(point));
	LIBBPF_OPTS(bpf_tc_opts, opts, .handle = HANDLE, .priority = PRIORITY);
	const char *name = bn_attach_point_name(point);
	int r;

	if (!recorded(dir, name, ifindex))
		return 0;
	r = bpf_tc_detach(&hook, &opts);
	/* EINVAL: no qdisc of that kind there (any more). */
	if (r < 0 && r != -ENOENT && r != -ENODEV && r != -EINVAL)
		return bn_error_set(err, r, "cannot detach from the %s of interface %d: %s", name,
				    ifindex, strerror(-r));
	forget(dir, name, ifindex);
	release_qdisc(dir, ifindex);
	return 0;
}

static uint32_t clsact_prog_id(const char *dir, int ifindex, enum bn_attach_point point)
{
	LIBBPF_OPTS(bpf_tc_hook, hook, .ifindex = ifindex, .attach_point = side(point));
	LIBBPF_OPTS(bpf_tc_opts, opts, .handle = HANDLE, .priority = PRIORITY);

	if (!recorded(dir, bn_attach_point_name(point), ifindex) || bpf_tc_query(&hook, &opts) < 0)
		return 0;
	return opts.prog_id;
}

void bn_attach_clsact_forget_qdisc(const char *dir, int ifindex)
{
	forget(dir, "qdisc", ifindex);
}

const struct bn_attach_ops bn_attach_clsact = {
	.attach = clsact_attach,
	.detach = clsact_detach,
	.prog_id = clsact_prog_id,
};
