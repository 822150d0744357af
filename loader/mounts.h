/* SPDX-License-Identifier: Apache-2.0 */
/* Reading /proc/PID/mountinfo. */
#pragma once

/* Valid during the call of bn_mount_fn. Paths and names are as they are, without escapes. */
struct bn_mount {
	unsigned int major, minor; /* of the file system: the same wherever else it is mounted */
	const char *root;          /* what of the file system is mounted here */
	const char *point;
	const char *type;
	const char *source;
};

/* Returns 0 to go on; anything else ends the walk and is what it returns. */
typedef int (*bn_mount_fn)(const struct bn_mount *mount, void *user);

/* In the order of mounting. -errno where the table can't be read. */
int bn_mounts_each(const char *mountinfo, bn_mount_fn fn, void *user);
