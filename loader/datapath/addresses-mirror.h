/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The inside of addresses.h, shared by
 *
 *   addresses.c        what an address is, and what an interface is
 *   addresses-node.c   the node, its devices, CIDRs
 *   addresses-audit.c  all of it against the maps
 */
#pragma once

#include "datapath/addresses.h"
#include "datapath/wanted.h"

#define HASH_NONFATAL_OOM 1
#include <uthash.h>

enum origin {
	FROM_ENDPOINT,
	FROM_NODE,
	FROM_MODEL,
	ORIGINS,
};

struct entry {
	union bn_addr addr;
	struct bn_address as[ORIGINS];
	uint8_t has;   /* bits by origin */
	uint8_t known; /* in the map, with `value` */
	uint8_t claimed;
	struct bn_address value;
	UT_hash_handle hh;
};

struct bn_addresses {
	struct bn_addresses_config config;
	struct entry *entries;
	struct bn_epochs *epochs; /* the map itself */
	struct bn_wanted endpoints, devices, ranges;
	union bn_addr node4, node6; /* as bn_addresses_node() was told */
	bool node_known;
	struct bn_firewall firewall; /* of the node's own addresses */
	bool staging;                /* between bn_addresses_stage() and bn_addresses_switch() */
};

/* What the map should say of the address; NULL: nothing claims it (any more). */
static inline const struct bn_address *bn_mirror_effective(const struct entry *e)
{
	for (int o = 0; o < ORIGINS; o++) {
		if (e->has & (1 << o))
			return &e->as[o];
	}
	return NULL;
}
