// SPDX-License-Identifier: Apache-2.0
/* Running bn_xdp on behalf of the uplink. */
#include "lib/rig.h"

#include <errno.h>
#include <linux/if_link.h>
#include <net/if.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

struct bn_mac bn_rig_own_mac(const struct bn_rig *rig, int device)
{
	struct ifreq req = {};
	struct bn_mac mac;
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	if (!if_indextoname(rig->dev[device].ifindex, req.ifr_name) || fd < 0 ||
	    ioctl(fd, SIOCGIFHWADDR, &req))
		bn_rig_die("a device's MAC", errno);
	close(fd);
	memcpy(mac.b, req.ifr_hwaddr.sa_data, sizeof(mac.b));
	return mac;
}

/* The kernel runs XDP on behalf of a device only where that has queues for it: an XDP program. */
void bn_rig_xdp_prepare(const struct bn_rig *rig, int device)
{
	if (bpf_xdp_attach((int)rig->dev[device].ifindex,
			   bpf_program__fd(bn_rig_program(rig, BN_HOOK_XDP)), XDP_FLAGS_DRV_MODE,
			   NULL))
		bn_rig_die("attach native XDP to a veth", errno);
}

static int run(int prog_fd, const struct bn_rig *rig, int device, const struct bn_packet *in,
	       __u32 repeat, struct bn_result *ret)
{
	struct xdp_md ctx = {.data_end = (__u32)in->len,
			     .ingress_ifindex = rig->dev[device].ifindex};
	LIBBPF_OPTS(bpf_test_run_opts, opts, .data_in = in->data, .data_size_in = (__u32)in->len,
		    .data_out = ret->out.data, .data_size_out = sizeof(ret->out.data),
		    .ctx_in = &ctx, .ctx_size_in = sizeof(ctx), .repeat = repeat);
	int r = bpf_prog_test_run_opts(prog_fd, &opts);

	ret->out.len = opts.data_size_out;
	ret->verdict = (int)opts.retval;
	return r;
}

bool bn_rig_can_xdp(const struct bn_rig *rig, int device)
{
	const struct bn_packet in = {.len = 64};
	struct bn_result out;

	return !run(bpf_program__fd(bn_rig_program(rig, BN_HOOK_XDP)), rig, device, &in, 1, &out);
}

void bn_rig_xdp_run(const struct bn_rig *rig, int prog_fd, int device, const struct bn_packet *in,
		    __u32 repeat, struct bn_result *ret)
{
	int r = run(prog_fd, rig, device, in, repeat, ret);

	if (r)
		bn_rig_die("BPF_PROG_TEST_RUN of XDP", -r);
	bn_packet_locate(&ret->out);
}
