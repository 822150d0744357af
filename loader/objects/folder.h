/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A folder of manifests: its *.yaml, *.yml and *.json are applied at once and whenever they
 * change, and objects whose file is gone, or no longer has them, are deleted.
 */
#pragma once

#include "objects.h"

#include <systemd/sd-event.h>

struct bn_folder;

/*
 * Watches `dir` and applies what is in it. Needs a started bn_objects. A broken file is logged
 * and no error: what its last good content brought stays in force.
 */
int bn_folder_new(sd_event *event, struct bn_objects *objects, const char *dir,
		  struct bn_folder **ret, struct bn_error *err);
/* Calls fn for each reason why what is in the folder is not, or not all, in force. */
void bn_folder_problems(const struct bn_folder *folder,
			void (*fn)(void *user, const char *dir, const char *problem), void *user);
/* Ends the watch; objects stay. */
void bn_folder_free(struct bn_folder *folder);
