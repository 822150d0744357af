/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the ring buffer `bn_events` still holds of records that an earlier agent has taken out: their
 * bytes stay until the datapath writes there again.
 */
#pragma once

#include <bpfnet/event.h>
#include <stddef.h>

/*
 * Hands on the last `max` of them, oldest first; those that are not well-formed are left out. To be
 * called before anybody reads on, and what nobody has taken out yet stays where it is. Borrows map_fd.
 * Returns how many were handed on, or -errno.
 */
int bn_events_restore(int map_fd, size_t max,
		      void (*event)(void *user, const struct bn_event *event), void *user);
