// SPDX-License-Identifier: Apache-2.0
/*
 * Invariants: a link is pinned or it is not there at all; a foreign program is never replaced. The
 * mode is part of the pin's name, because the kernel does not tell it of a link.
 */
#include "net/attach-xdp.h"

#include "error.h"
#include "net/attach-mechanism.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <linux/ethtool.h>
#include <linux/if_link.h>
#include <linux/sockios.h>
#include <net/if.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

static const char *const names[] = {
	[BN_XDP_OFF] = "off",
	[BN_XDP_NATIVE] = "native",
	[BN_XDP_GENERIC] = "generic",
	[BN_XDP_AUTO] = "auto",
};

const char *bn_xdp_mode_name(enum bn_xdp_mode mode)
{
	return names[mode];
}

static int pin_path(const char *dir, int ifindex, enum bn_xdp_mode mode,
		    char ret[BN_ATTACH_PATH_MAX])
{
	return snprintf(ret, BN_ATTACH_PATH_MAX, "%s/xdp-%s-%d", dir, names[mode], ifindex) >=
			       BN_ATTACH_PATH_MAX
		       ? -ENAMETOOLONG
		       : 0;
}

/* The program of a pinned link if it is on this device; 0: it is not. */
static uint32_t link_program(int fd, int ifindex)
{
	struct bpf_link_info info;
	uint32_t size = sizeof(info);

	memset(&info, 0, sizeof(info));
	if (bpf_link_get_info_by_fd(fd, &info, &size) < 0 || info.type != BPF_LINK_TYPE_XDP ||
	    info.xdp.ifindex != (uint32_t)ifindex)
		return 0;
	return info.prog_id;
}

/* 1: the pinned link runs the program now; 0: there is none. */
static int take_over(const char *path, int ifindex, int prog_fd, struct bn_error *err)
{
	int fd = bn_attach_link_open(path, err), r = 0;

	if (fd < 0)
		return fd == -ENOENT ? 0 : fd;
	if (link_program(fd, ifindex))
		r = bpf_link_update(fd, prog_fd, NULL) < 0 ? -errno : 1;
	close(fd);
	if (r > 0)
		return r;
	if (r < 0 && r != -ENOLINK)
		return bn_attach_link_replaced(r, path, err);
	/* of a device that is gone */
	return bn_attach_link_remove(path, err);
}

static int create(const char *path, int ifindex, enum bn_xdp_mode mode, int prog_fd,
		  struct bn_error *err)
{
	LIBBPF_OPTS(bpf_link_create_opts, opts,
		    .flags = mode == BN_XDP_NATIVE ? XDP_FLAGS_DRV_MODE : XDP_FLAGS_SKB_MODE);
	int fd = bpf_link_create(prog_fd, ifindex, BPF_XDP, &opts);

	if (fd == -EBUSY || fd == -EEXIST)
		return bn_error_set(err, -EBUSY,
				    "another XDP program is on it; 'bpftool net' shows it");
	if (fd < 0)
		return bn_error_set(err, fd, "no %s XDP on it: %s", names[mode], strerror(-fd));
	return bn_attach_link_pin(fd, path, err);
}

static int detach_mode(const char *dir, int ifindex, enum bn_xdp_mode mode, struct bn_error *err)
{
	char path[BN_ATTACH_PATH_MAX];
	int r = pin_path(dir, ifindex, mode, path);

	return r < 0 ? r : bn_attach_link_remove(path, err);
}

int bn_xdp_attach(const char *dir, int ifindex, enum bn_xdp_mode mode, int prog_fd,
		  struct bn_error *err)
{
	char path[BN_ATTACH_PATH_MAX];
	int r;

	if (mkdir(dir, 0700) < 0 && errno != EEXIST)
		return bn_error_set(err, -errno, "cannot create %s: %s; is bpffs mounted there?",
				    dir, strerror(errno));
	/* a device has room for one link */
	for (int m = BN_XDP_NATIVE; m <= BN_XDP_GENERIC; m++) {
		r = m == (int)mode && prog_fd >= 0 ? 0 : detach_mode(dir, ifindex, m, err);
		if (r < 0)
			return r;
	}
	if (mode == BN_XDP_OFF)
		return 0;
	if (prog_fd < 0)
		return bn_error_set(err, prog_fd,
				    "the kernel takes no XDP program of ours: %s; the agent's log "
				    "has more",
				    strerror(-prog_fd));
	r = pin_path(dir, ifindex, mode, path);
	if (r < 0)
		return bn_error_set(err, r, "the path of the bpffs folder is too long");
	r = take_over(path, ifindex, prog_fd, err);
	if (r)
		return r < 0 ? r : 0;
	return create(path, ifindex, mode, prog_fd, err);
}

uint32_t bn_xdp_attached(const char *dir, int ifindex, enum bn_xdp_mode *ret)
{
	for (int m = BN_XDP_NATIVE; m <= BN_XDP_GENERIC; m++) {
		char path[BN_ATTACH_PATH_MAX];
		uint32_t id;
		int fd;

		if (pin_path(dir, ifindex, m, path) < 0)
			break;
		fd = bpf_obj_get(path);
		if (fd < 0)
			continue;
		id = link_program(fd, ifindex);
		close(fd);
		*ret = m;
		if (id)
			return id;
	}
	*ret = BN_XDP_OFF;
	return 0;
}

struct keeping {
	const int *ifindexes;
	size_t n;
	struct bn_error *err;
};

static int detach_unkept(void *user, const char *path, const char *record)
{
	const struct keeping *keep = user;
	int ifindex, end = 0;
	char mode[8];

	if (sscanf(record, "xdp-%7[a-z]-%9d%n", mode, &ifindex, &end) != 2 || record[end])
		return 0;
	for (size_t i = 0; i < keep->n; i++) {
		if (keep->ifindexes[i] == ifindex)
			return 0;
	}
	return bn_attach_link_remove(path, keep->err);
}

int bn_xdp_detach_others(const char *dir, const int *keep, size_t n, struct bn_error *err)
{
	struct keeping kept = {keep, n, err};

	return bn_attach_each_record(dir, detach_unkept, &kept, err);
}

/* Empty where the device has no hardware, nor what passes for it. */
static void bus_of(const char *ifname, char ret[ETHTOOL_BUSINFO_LEN])
{
	struct ethtool_drvinfo info = {.cmd = ETHTOOL_GDRVINFO};
	struct ifreq req = {.ifr_data = (void *)&info};
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	ret[0] = '\0';
	snprintf(req.ifr_name, sizeof(req.ifr_name), "%s", ifname);
	if (fd >= 0 && ioctl(fd, SIOCETHTOOL, &req) == 0)
		snprintf(ret, ETHTOOL_BUSINFO_LEN, "%.*s", ETHTOOL_BUSINFO_LEN - 1, info.bus_info);
	if (fd >= 0)
		close(fd);
}

/* enum netdev_xdp_act of the kernel's linux/netdev.h, which distributions of before 6.3 lack */
#define CAN_REDIRECT 2u
#define CAN_TAKE 4u

int bn_xdp_redirects(int ifindex, bool *ret_from, bool *ret_to)
{
	LIBBPF_OPTS(bpf_xdp_query_opts, opts);
	int r = bpf_xdp_query(ifindex, 0, &opts);

	*ret_from = opts.feature_flags & CAN_REDIRECT;
	*ret_to = opts.feature_flags & CAN_TAKE;
	/* whatever has XDP at all says so in a bit of its own */
	return r < 0 ? r : opts.feature_flags ? 0 : -EOPNOTSUPP;
}

int bn_xdp_choose(const char *ifname, enum bn_xdp_mode ret[2], const char **ret_why)
{
	char bus[ETHTOOL_BUSINFO_LEN];

	bus_of(ifname, bus);
	*ret_why = NULL;
	if (!*bus) {
		/* veth and its like: a neighbour on this machine leaves checksums to hardware */
		*ret_why = "a virtual device may deliver unfinished checksums, which XDP can't "
			   "see; where it doesn't, say xdp: native";
		return 0;
	}
	ret[0] = BN_XDP_NATIVE;
	ret[1] = BN_XDP_GENERIC;
	/* a hypervisor's device leaves them unfinished too, unless its driver knows of XDP */
	return strchr(bus, ':') ? 2 : 1;
}
