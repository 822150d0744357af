// SPDX-License-Identifier: Apache-2.0
/*
 * Why: one way to attach, replace, list and remove programs, whichever mechanism the kernel has or
 * an earlier agent used.
 *
 * Invariant: records in the folder are the only source of what is ours; a name there that is not
 * of the form in attach.h is left alone.
 */
#include "net/attach.h"

#include "error.h"
#include "net/attach-mechanism.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static const struct bn_attach_ops *const mechanisms[] = {
	[BN_ATTACH_TCX] = &bn_attach_tcx,
	[BN_ATTACH_CLSACT] = &bn_attach_clsact,
};

const char *bn_attach_mechanism_name(enum bn_attach_mechanism mechanism)
{
	return mechanism == BN_ATTACH_TCX ? "tcx" : "clsact";
}

const char *bn_attach_point_name(enum bn_attach_point point)
{
	return point == BN_ATTACH_INGRESS ? "ingress" : "egress";
}

int bn_attach_probe(enum bn_attach_mechanism *ret, struct bn_error *err)
{
	int r = bn_attach_tcx_probe();

	if (r < 0)
		return bn_error_set(
			err, r,
			"cannot load a tc program: %s; bpfnetd needs root (CAP_BPF, CAP_NET_ADMIN) and a kernel with CONFIG_BPF_SYSCALL",
			strerror(-r));
	*ret = r ? BN_ATTACH_TCX : BN_ATTACH_CLSACT;
	return 0;
}

int bn_attach(const struct bn_attach *how, int ifindex, enum bn_attach_point point, int prog_fd,
	      struct bn_error *err)
{
	int r;

	if (mkdir(how->dir, 0700) < 0 && errno != EEXIST)
		return bn_error_set(err, -errno, "cannot create %s: %s; is bpffs mounted there?",
				    how->dir, strerror(errno));
	r = mechanisms[how->mechanism]->attach(how->dir, ifindex, point, prog_fd, err);
	for (int m = 0; r == 0 && m < _BN_ATTACH_MECHANISM_MAX; m++) {
		if (m != (int)how->mechanism)
			r = mechanisms[m]->detach(how->dir, ifindex, point, err);
	}
	return r;
}

int bn_detach(const struct bn_attach *how, int ifindex, enum bn_attach_point point,
	      struct bn_error *err)
{
	int r = 0;

	for (int m = 0; m < _BN_ATTACH_MECHANISM_MAX; m++) {
		int one = mechanisms[m]->detach(how->dir, ifindex, point, err);

		if (one < 0)
			r = one;
	}
	return r;
}

uint32_t bn_attached(const struct bn_attach *how, int ifindex, enum bn_attach_point point)
{
	return mechanisms[how->mechanism]->prog_id(how->dir, ifindex, point);
}

/* mechanism-what-ifindex; `what` is a point's name or "qdisc" (then *ret_qdisc is set). */
static bool parse(const char *name, struct bn_attachment *ret, bool *ret_qdisc)
{
	char mechanism[8], what[8];
	int ifindex, end = 0;

	if (sscanf(name, "%7[a-z]-%7[a-z]-%9d%n", mechanism, what, &ifindex, &end) != 3 ||
	    name[end] || ifindex <= 0)
		return false;
	memset(ret, 0, sizeof(*ret));
	ret->ifindex = ifindex;
	*ret_qdisc = !strcmp(mechanism, "clsact") && !strcmp(what, "qdisc");
	for (int m = 0; m < _BN_ATTACH_MECHANISM_MAX; m++) {
		ret->mechanism = m;
		if (strcmp(mechanism, bn_attach_mechanism_name(m)) != 0)
			continue;
		for (int p = 0; p < _BN_ATTACH_POINT_MAX; p++) {
			ret->point = p;
			if (!strcmp(what, bn_attach_point_name(p)))
				return true;
		}
	}
	return *ret_qdisc;
}

typedef int (*record_fn)(const struct bn_attach *how, const struct bn_attachment *a, bool qdisc,
			 void *user);

struct walk {
	const struct bn_attach *how;
	record_fn fn;
	void *user;
};

static int walk_one(void *user, const char *path, const char *record)
{
	const struct walk *w = user;
	struct bn_attachment a;
	bool qdisc;

	if (!parse(record, &a, &qdisc))
		return 0;
	if (!if_indextoname((unsigned)a.ifindex, a.ifname))
		a.ifname[0] = '\0';
	if (!qdisc)
		a.prog_id = mechanisms[a.mechanism]->prog_id(w->how->dir, a.ifindex, a.point);
	return w->fn(w->how, &a, qdisc, w->user);
}

static int each(const struct bn_attach *how, record_fn fn, void *user, struct bn_error *err)
{
	struct walk w = {how, fn, user};

	return bn_attach_each_record(how->dir, walk_one, &w, err);
}

struct listing {
	bn_attach_list_fn fn;
	void *user;
};

static int list_one(const struct bn_attach *how, const struct bn_attachment *a, bool qdisc,
		    void *user)
{
	const struct listing *l = user;

	return qdisc ? 0 : l->fn(l->user, a);
}

int bn_attach_list(const struct bn_attach *how, bn_attach_list_fn fn, void *user,
		   struct bn_error *err)
{
	struct listing l = {.fn = fn, .user = user};

	return each(how, list_one, &l, err);
}

struct sweep {
	int removed;
	struct bn_error *err;
};

static int sweep_one(const struct bn_attach *how, const struct bn_attachment *a, bool qdisc,
		     void *user)
{
	struct sweep *s = user;

	if (qdisc) {
		if (!*a->ifname)
			bn_attach_clsact_forget_qdisc(how->dir, a->ifindex);
		return 0;
	}
	if (a->prog_id)
		return 0;
	s->removed++;
	return mechanisms[a->mechanism]->detach(how->dir, a->ifindex, a->point, s->err);
}

int bn_attach_sweep(const struct bn_attach *how, struct bn_error *err)
{
	struct sweep s = {.err = err};
	int r = each(how, sweep_one, &s, err);

	return r < 0 ? r : s.removed;
}

static int remove_one(const struct bn_attach *how, const struct bn_attachment *a, bool qdisc,
		      void *user)
{
	return qdisc ? 0 : mechanisms[a->mechanism]->detach(how->dir, a->ifindex, a->point, user);
}

int bn_attach_uninstall(const struct bn_attach *how, struct bn_error *err)
{
	int r = each(how, remove_one, err, err);

	if (r == 0)
		r = bn_attach_sweep(how, err);
	if (r >= 0 && rmdir(how->dir) < 0 && errno != ENOENT)
		return bn_error_set(err, -errno, "cannot remove %s: %s", how->dir, strerror(errno));
	return r < 0 ? r : 0;
}
