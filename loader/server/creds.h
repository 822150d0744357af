/* SPDX-License-Identifier: Apache-2.0 */
/* Who is at the other end of a connection, and what may they do. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "server/server.h"

struct bn_creds {
	pid_t pid;
	uid_t uid;
	gid_t gid;
	gid_t *groups; /* owned: supplementary groups as of the connect */
	size_t n_groups;
};

#define BN_CREDS_NULL {.uid = (uid_t) - 1, .gid = (gid_t) - 1}

int bn_creds_read(int fd, struct bn_creds *ret);
/* `owner` is the user the agent runs as, `group` the group whose members may read. */
bool bn_creds_may(const struct bn_creds *c, enum bn_access access, uid_t owner, gid_t group);
void bn_creds_done(struct bn_creds *c);
