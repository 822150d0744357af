/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Programs on devices: tcx links where the kernel has them (6.6), a filter in a clsact qdisc where
 * not. Both outlive the agent, and both are replaced in place: there is no moment without a
 * program when a newer agent takes over.
 *
 * What is attached is written down in a folder of bpffs, `dir`, which goes when the kernel's
 * memory of it goes:
 *
 *   tcx-<point>-<ifindex>     the pinned link; unpinning it detaches the program
 *   clsact-<point>-<ifindex>  an empty folder: our filter is in that device's qdisc
 *   clsact-qdisc-<ifindex>    an empty folder: the qdisc itself is ours to remove
 */
#pragma once

#include <net/if.h>
#include <stdbool.h>
#include <stdint.h>

struct bn_error;

enum bn_attach_mechanism {
	BN_ATTACH_TCX,
	BN_ATTACH_CLSACT,
	_BN_ATTACH_MECHANISM_MAX,
};

/* As the device sees it: what it receives, what it is about to send. */
enum bn_attach_point {
	BN_ATTACH_INGRESS,
	BN_ATTACH_EGRESS,
	_BN_ATTACH_POINT_MAX,
};

struct bn_attach {
	enum bn_attach_mechanism mechanism;
	const char *dir; /* <bpffs>/links; its parent must exist */
};

struct bn_attachment {
	int ifindex;
	char ifname[IF_NAMESIZE]; /* "" where the device is gone */
	enum bn_attach_point point;
	enum bn_attach_mechanism mechanism;
	uint32_t prog_id; /* 0: recorded here, but not there any more */
};

const char *bn_attach_mechanism_name(enum bn_attach_mechanism mechanism); /* "tcx", "clsact" */
const char *bn_attach_point_name(enum bn_attach_point point);             /* "ingress", "egress" */

/* By asking the kernel for a tcx link on a device that can't exist, not by its version. */
int bn_attach_probe(enum bn_attach_mechanism *ret, struct bn_error *err);

/*
 * Attaches, or replaces what an earlier call or an earlier agent attached there. What is there by
 * the other mechanism is removed afterwards.
 */
int bn_attach(const struct bn_attach *how, int ifindex, enum bn_attach_point point, int prog_fd,
	      struct bn_error *err);
/* Removes our program by whichever mechanism it is there; fine where it or the device is gone. */
int bn_detach(const struct bn_attach *how, int ifindex, enum bn_attach_point point,
	      struct bn_error *err);

/* The id of what of ours runs there by how->mechanism; 0: nothing. */
uint32_t bn_attached(const struct bn_attach *how, int ifindex, enum bn_attach_point point);

/* Calls fn for everything attached; a negative result ends it and is returned. */
typedef int (*bn_attach_list_fn)(void *user, const struct bn_attachment *attachment);
int bn_attach_list(const struct bn_attach *how, bn_attach_list_fn fn, void *user,
		   struct bn_error *err);
/* Forgets what belongs to devices that are gone. Returns how many records that were. */
int bn_attach_sweep(const struct bn_attach *how, struct bn_error *err);
/* Detaches everything and removes the folder. */
int bn_attach_uninstall(const struct bn_attach *how, struct bn_error *err);
