// SPDX-License-Identifier: Apache-2.0
/*
 * Access to the control socket. The kernel vouches for the peer (SO_PEERCRED, SO_PEERGROUPS: as
 * of its connect, whoever holds the descriptor later); file modes are only the outer fence.
 */
#include "server/creds.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/socket.h>

int bn_creds_read(int fd, struct bn_creds *ret)
{
	struct ucred cred;
	socklen_t size = sizeof(cred);
	gid_t *groups = NULL;

	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &cred, &size) < 0)
		return -errno;
	/* asked with no room, the kernel names the size that it needs */
	size = 0;
	if (getsockopt(fd, SOL_SOCKET, SO_PEERGROUPS, NULL, &size) < 0 && errno != ERANGE)
		return -errno;
	if (size > 0) {
		groups = malloc(size);
		if (!groups)
			return -ENOMEM;
		if (getsockopt(fd, SOL_SOCKET, SO_PEERGROUPS, groups, &size) < 0) {
			int r = -errno;

			free(groups);
			return r;
		}
	}
	*ret = (struct bn_creds){
		.pid = cred.pid,
		.uid = cred.uid,
		.gid = cred.gid,
		.groups = groups,
		.n_groups = size / sizeof(gid_t),
	};
	return 0;
}

bool bn_creds_may(const struct bn_creds *c, enum bn_access access, uid_t owner, gid_t group)
{
	/* unmapped users look like -1 */
	if (c->uid == (uid_t)-1)
		return false;
	if (c->uid == 0 || c->uid == owner)
		return true;
	if (access != BN_ACCESS_READ || group == BN_SERVER_NO_GROUP)
		return false;
	if (c->gid == group)
		return true;
	for (size_t i = 0; i < c->n_groups; i++) {
		if (c->groups[i] == group)
			return true;
	}
	return false;
}

void bn_creds_done(struct bn_creds *c)
{
	free(c->groups);
	*c = (struct bn_creds)BN_CREDS_NULL;
}
