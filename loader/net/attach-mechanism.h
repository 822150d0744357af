/* SPDX-License-Identifier: Apache-2.0 */
/* What each mechanism of attach.h provides, and what those of links share. */
#pragma once

#include "net/attach.h"

struct bn_attach_ops {
	int (*attach)(const char *dir, int ifindex, enum bn_attach_point point, int prog_fd,
		      struct bn_error *err);
	/* 0 also where nothing is recorded. */
	int (*detach)(const char *dir, int ifindex, enum bn_attach_point point,
		      struct bn_error *err);
	/* 0 where the recorded attachment is not in force (device gone, filter removed). */
	uint32_t (*prog_id)(const char *dir, int ifindex, enum bn_attach_point point);
};

extern const struct bn_attach_ops bn_attach_tcx;
extern const struct bn_attach_ops bn_attach_clsact;

/* 1 the kernel has tcx, 0 it has not, or -errno. */
int bn_attach_tcx_probe(void);

/* The qdisc of a device that is gone is forgotten. */
void bn_attach_clsact_forget_qdisc(const char *dir, int ifindex);

#define BN_ATTACH_PATH_MAX 4096

/*
 * attach-link.c: calls fn for every name in the folder, which it may remove; a negative result ends
 * the walk and is returned. A folder that is not there is empty.
 */
typedef int (*bn_attach_record_fn)(void *user, const char *path, const char *name);
int bn_attach_each_record(const char *dir, bn_attach_record_fn fn, void *user,
			  struct bn_error *err);

/* A pinned link's descriptor; -ENOENT, without a text: there is none. */
int bn_attach_link_open(const char *path, struct bn_error *err);
/* Takes over `fd`. */
int bn_attach_link_pin(int fd, const char *path, struct bn_error *err);
/* Passes on bpf_link_update()'s result, with a text. */
int bn_attach_link_replaced(int r, const char *path, struct bn_error *err);
/* Detaches and unpins; 0 also where nothing is pinned. */
int bn_attach_link_remove(const char *path, struct bn_error *err);
