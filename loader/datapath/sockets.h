/* SPDX-License-Identifier: Apache-2.0 */
/* Whose sockets are balanced: bn_sock_netns, kept as endpoints come and go. */
#pragma once

#include "error.h"

#include <bpfnet/sock.h>
#include <stdint.h>

struct bn_sockets;

/* Reads what a predecessor left; it stays until bn_sockets_prune() unless somebody claims it. */
int bn_sockets_new(int netns_fd, struct bn_sockets **ret, struct bn_error *err);
void bn_sockets_free(struct bn_sockets *s);

/* Fine where it is set already, and where the cookie is 0: not known. */
int bn_sockets_netns_set(struct bn_sockets *s, uint64_t cookie, enum bn_netns_kind kind,
			 struct bn_error *err);
void bn_sockets_netns_remove(struct bn_sockets *s, uint64_t cookie);
/* Removes what nobody has claimed. */
void bn_sockets_prune(struct bn_sockets *s);
