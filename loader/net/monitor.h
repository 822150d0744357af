/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What changes on the node, as the kernel tells it: no polling, no wake-up while nothing happens.
 */
#pragma once

#include "net/inventory.h"

#include <stdbool.h>
#include <systemd/sd-event.h>

struct bn_error;
struct bn_monitor;

/* Any may be NULL: its notifications are then not even subscribed to. */
struct bn_monitor_ops {
	/* A link appeared or changed: its MTU, flags, name. */
	void (*link)(void *user, const struct bn_link *link);
	void (*link_gone)(void *user, const struct bn_link *link);
	/* An address of the node, link-local ones included, came or went. */
	void (*address)(void *user, const struct bn_own_address *address, bool added);
	/*
	 * Routes of any table changed, once for all the notifications that a wake-up finds;
	 * `by_default`: a default route is among them.
	 */
	void (*routes)(void *user, bool by_default);
	/* Notifications were lost: whatever was learned from them must be read anew. */
	void (*resync)(void *user);
};

/* Subscribes first, so that a dump made afterwards misses nothing. */
int bn_monitor_new(sd_event *event, const struct bn_monitor_ops *ops, void *user,
		   struct bn_monitor **ret, struct bn_error *err);
void bn_monitor_free(struct bn_monitor *m);
