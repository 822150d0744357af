/* SPDX-License-Identifier: Apache-2.0 */
/*
 * XDP on the devices that lead out of the node. A program there is a pinned link (5.9), which
 * outlives the agent and whose program is swapped in place:
 *
 *   xdp-native-<ifindex>, xdp-generic-<ifindex>   in the folder of attach.h
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct bn_error;

enum bn_xdp_mode {
	BN_XDP_OFF,
	BN_XDP_NATIVE,  /* in the driver */
	BN_XDP_GENERIC, /* in the stack, before tc */
	BN_XDP_AUTO,    /* configuration only */
};

const char *bn_xdp_mode_name(enum bn_xdp_mode mode); /* "off", "native", "generic", "auto" */

/*
 * Attaches by `mode`, or replaces the program of the link that is there; then removes one of the
 * other mode. -EBUSY: somebody else's program is on the device, and stays. OFF detaches. `prog_fd`
 * is -errno where the kernel has refused to load the program: it is returned, and a predecessor's
 * link goes, for nobody keeps its maps any more.
 */
int bn_xdp_attach(const char *dir, int ifindex, enum bn_xdp_mode mode, int prog_fd,
		  struct bn_error *err);
/* The id of our program there; 0: none. *ret is its mode. */
uint32_t bn_xdp_attached(const char *dir, int ifindex, enum bn_xdp_mode *ret);
/* Removes every link whose device is not among the `n` of `keep`. */
int bn_xdp_detach_others(const char *dir, const int *keep, size_t n, struct bn_error *err);

/*
 * What the driver can do of XDP_REDIRECT: send frames of its program by another device, and send
 * frames of another's. -EOPNOTSUPP: this kernel (before 6.3) does not tell.
 */
int bn_xdp_redirects(int ifindex, bool *ret_from, bool *ret_to);

/*
 * What `auto` means for a device: tries `ret` in order until one attaches; none (0): *ret_why says
 * why. Returns how many.
 */
int bn_xdp_choose(const char *ifname, enum bn_xdp_mode ret[2], const char **ret_why);
