/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Programs on a cgroup: links, which other people's programs stand beside (a link attaches with
 * BPF_F_ALLOW_MULTI always), pinned in the folder of attach.h as
 *
 *   cgroup-<name>
 *
 * They outlive the agent and are replaced in place.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

struct bn_error;

struct bn_cgroup_hook {
	const char *name; /* of the pin: no '/' */
	int attach_type;  /* enum bpf_attach_type */
	int prog_fd;
};

/*
 * Attaches all hooks to the cgroup, in their order, or none. A link of an earlier agent on the same
 * cgroup gets the new program, one on another cgroup is removed. -EPERM, explained, where an
 * ancestor's program admits no other.
 */
int bn_cgroup_attach(const char *dir, const char *cgroup, const struct bn_cgroup_hook *hooks,
		     size_t n, struct bn_error *err);
/* Detaches everything that is pinned in dir. */
int bn_cgroup_detach(const char *dir, struct bn_error *err);

/* Calls fn for everything attached; a negative result ends it and is returned. */
typedef int (*bn_cgroup_list_fn)(void *user, const char *name, uint64_t cgroup_id,
				 uint32_t prog_id);
int bn_cgroup_list(const char *dir, bn_cgroup_list_fn fn, void *user, struct bn_error *err);
