/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The agent's folders: run and state on ordinary file systems, pins on bpffs.
 */
#pragma once

#include <stdbool.h>
#include <sys/types.h>

struct bn_error;

/*
 * Makes the folder with that mode, whatever the umask, and its parents with 0755. One that is
 * there stays as it is, and is refused (-EPERM) where others than root and us may write in it.
 */
int bn_folder_make(const char *path, mode_t mode, struct bn_error *err);

/*
 * Makes `dir` on bpffs. Where no bpffs is mounted above it, mounts one: on /sys/fs/bpf if dir is
 * below that, else on dir itself. Folders that it makes are noted in state_dir, which must exist;
 * what it mounts tells by its source in the mount table. ret_mounted may be NULL.
 *
 * -EXDEV: pins would be in a private mount namespace alone, and gone with its last process.
 */
int bn_bpffs_prepare(const char *dir, const char *state_dir, bool *ret_mounted,
		     struct bn_error *err);
/*
 * Takes back what bn_bpffs_prepare() did, as far as nobody uses it: the empty folders, the mount
 * if it is bpfnet's (whichever instance's) and nothing is pinned in it, the note. Pins of ours
 * must be gone. Fine where nothing is there.
 */
int bn_bpffs_release(const char *dir, const char *state_dir, struct bn_error *err);
