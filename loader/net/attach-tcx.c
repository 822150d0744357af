// SPDX-License-Identifier: Apache-2.0
/*
 * Why: a tcx link is the kernel's own record of who attached what, and bpf_link_update() swaps its
 * program between two packets.
 *
 * Invariants: a link is pinned or it is not there at all: if the agent dies between creating and
 * pinning, the kernel detaches it. A pin whose device is gone (ifindex 0) is replaced, so that a
 * new device with an old number is never taken for attached.
 */
#include "net/attach-mechanism.h"

#include "error.h"

#include <bpf/bpf.h>
#include <errno.h>
#include <linux/bpf.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* enum bpf_attach_type and struct bpf_link_info have these since Linux 6.6; headers may be older.
 */
#define TCX_INGRESS 46
#define TCX_EGRESS 47

struct tcx_info {
	uint32_t ifindex;
	uint32_t attach_type;
};

static enum bpf_attach_type type_of(enum bn_attach_point point)
{
	return (enum bpf_attach_type)(point == BN_ATTACH_INGRESS ? TCX_INGRESS : TCX_EGRESS);
}

static int pin_path(const char *dir, int ifindex, enum bn_attach_point point,
		    char ret[BN_ATTACH_PATH_MAX])
{
	return snprintf(ret, BN_ATTACH_PATH_MAX, "%s/tcx-%s-%d", dir, bn_attach_point_name(point),
			ifindex) >= BN_ATTACH_PATH_MAX
		       ? -ENAMETOOLONG
		       : 0;
}

/* The device that a link is on, 0: none any more. */
static int link_info(int fd, struct tcx_info *ret, uint32_t *ret_prog_id)
{
	struct bpf_link_info info;
	uint32_t size = sizeof(info);
	int r;

	memset(&info, 0, sizeof(info));
	r = bpf_link_get_info_by_fd(fd, &info, &size);
	if (r < 0)
		return r;
	/* All members of the union begin at the same place. */
	memcpy(ret, (const char *)&info + offsetof(struct bpf_link_info, xdp), sizeof(*ret));
	*ret_prog_id = info.prog_id;
	return 0;
}

static int create(const char *path, int ifindex, enum bn_attach_point point, int prog_fd,
		  struct bn_error *err)
{
	int fd;

	fd = bpf_link_create(prog_fd, ifindex, type_of(point), NULL);
	if (fd < 0)
		return bn_error_set(err, fd, "cannot attach to the %s of interface %d by tcx: %s",
				    bn_attach_point_name(point), ifindex, strerror(-fd));
	return bn_attach_link_pin(fd, path, err);
}

static int tcx_attach(const char *dir, int ifindex, enum bn_attach_point point, int prog_fd,
		      struct bn_error *err)
{
	char path[BN_ATTACH_PATH_MAX];
	struct tcx_info info = {0};
	uint32_t prog_id;
	int fd, r;

	r = pin_path(dir, ifindex, point, path);
	if (r < 0)
		return bn_error_set(err, r, "the path of the bpffs folder is too long");
	fd = bn_attach_link_open(path, err);
	if (fd < 0 && fd != -ENOENT)
		return fd;
	if (fd < 0)
		return create(path, ifindex, point, prog_fd, err);
	r = link_info(fd, &info, &prog_id);
	if (r == 0 && info.ifindex == (uint32_t)ifindex && info.attach_type == type_of(point)) {
		r = bpf_link_update(fd, prog_fd, NULL);
		close(fd);
		return bn_attach_link_replaced(r, path, err);
	}
	close(fd);
	if (unlink(path) < 0)
		return bn_error_set(err, -errno, "cannot remove the stale link %s: %s", path,
				    strerror(errno));
	return create(path, ifindex, point, prog_fd, err);
}

static int tcx_detach(const char *dir, int ifindex, enum bn_attach_point point,
		      struct bn_error *err)
{
	char path[BN_ATTACH_PATH_MAX];
	int r = pin_path(dir, ifindex, point, path);

	if (r < 0)
		return r;
	return bn_attach_link_remove(path, err);
}

static uint32_t tcx_prog_id(const char *dir, int ifindex, enum bn_attach_point point)
{
	char path[BN_ATTACH_PATH_MAX];
	struct tcx_info info = {0};
	uint32_t prog_id = 0;
	int fd;

	if (pin_path(dir, ifindex, point, path) < 0)
		return 0;
	fd = bpf_obj_get(path);
	if (fd < 0)
		return 0;
	if (link_info(fd, &info, &prog_id) < 0 || info.ifindex != (uint32_t)ifindex)
		prog_id = 0;
	close(fd);
	return prog_id;
}

int bn_attach_tcx_probe(void)
{
	const struct bpf_insn insns[] = {
		{.code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = BPF_REG_0, .imm = 0},
		{.code = BPF_JMP | BPF_EXIT},
	};
	int prog, r;

	prog = bpf_prog_load(BPF_PROG_TYPE_SCHED_CLS, "bn_probe", "Dual BSD/GPL", insns, 2, NULL);
	if (prog < 0)
		return prog;
	/* ENODEV comes from tcx itself; a kernel without it does not know the attach type. */
	r = bpf_link_create(prog, INT32_MAX, type_of(BN_ATTACH_INGRESS), NULL);
	close(prog);
	if (r >= 0) {
		close(r);
		return 1;
	}
	return r == -ENODEV;
}

const struct bn_attach_ops bn_attach_tcx = {
	.attach = tcx_attach,
	.detach = tcx_detach,
	.prog_id = tcx_prog_id,
};
