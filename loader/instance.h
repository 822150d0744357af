/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One instance to a run folder, a state folder and a bpffs folder: each is locked for as long as
 * the agent lives.
 */
#pragma once

#include <stdbool.h>

struct bn_error;

struct bn_instance_folders {
	const char *run_dir, *state_dir, *bpffs;
};

struct bn_instance {
	int run_fd, state_fd, bpffs_fd;        /* -1: not held */
	bool made_run, made_state, made_bpffs; /* the folder was not there before the start */
};

#define BN_INSTANCE_NULL {.run_fd = -1, .state_fd = -1, .bpffs_fd = -1}

/* How long an instance has to end by itself. */
#define BN_INSTANCE_GRACE_MS 10000

/* <run-dir>/bpfnetd.lock; its first line is the pid of whoever holds it. */
#define BN_INSTANCE_RUN_LOCK "bpfnetd.lock"
#define BN_INSTANCE_STATE_LOCK "lock"

/*
 * Makes the folders, mounts bpffs where need be, and takes all of them. -EBUSY where another
 * instance has one, named with its pid; everything else as bn_folder_make() and
 * bn_bpffs_prepare() say. ret_mounted may be NULL. A failure leaves no folder that it made.
 */
int bn_instance_start(struct bn_instance *ret, const struct bn_instance_folders *folders,
		      bool *ret_mounted, struct bn_error *err);

/*
 * For --uninstall: stops the instance that runs on these folders, if one does (SIGTERM, after
 * grace_ms SIGKILL), waits for its end and takes the folders, so that nobody starts meanwhile.
 * Makes no folder; one that does not exist is fine. -EBUSY, with nothing stopped, where one
 * instance does not have all three. ret_stopped may be NULL.
 */
int bn_instance_stop(struct bn_instance *ret, const struct bn_instance_folders *folders,
		     int grace_ms, bool *ret_stopped, struct bn_error *err);

/*
 * The end of --uninstall: bn_bpffs_release(), the lock files, and the run and state folders where
 * they are empty by then. Lets go of everything, also on failure.
 */
int bn_instance_remove(struct bn_instance *instance, const struct bn_instance_folders *folders,
		       struct bn_error *err);

/*
 * After a start that came to nothing: takes back the folders that bn_instance_start() made, as far
 * as they are empty, and lets go of all.
 */
void bn_instance_abandon(struct bn_instance *instance, const struct bn_instance_folders *folders);

/* Lets go of the folders and leaves the lock files: removing them is for bn_instance_remove(). */
void bn_instance_done(struct bn_instance *instance);
