/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A small hash map and what is wanted in it: every entry is written through here and remembered, so
 * that the audit can tell what something else did to the map.
 */
#pragma once

#include "datapath/audit.h"

struct bn_wanted_entry;

struct bn_wanted {
	int fd; /* borrowed */
	uint32_t key_size, value_size;
	struct bn_wanted_entry *entries;
};

int bn_wanted_init(struct bn_wanted *w, int fd);
void bn_wanted_done(struct bn_wanted *w);
/* Writes the entry, also where it is known: whoever sets wants it to be there now. */
int bn_wanted_set(struct bn_wanted *w, const void *key, const void *value);
/* Deletes it; one that does not exist is no error. */
int bn_wanted_remove(struct bn_wanted *w, const void *key);
/* Deletes what the map has and nobody has set: what a predecessor left. */
int bn_wanted_prune(struct bn_wanted *w);
/* The whole map at once. */
void bn_wanted_audit(struct bn_wanted *w, struct bn_audit_count *c);
