/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The table of frontends (bn_services) from user space: a mapping that one process at a time
 * writes, while the datapath reads. Every change is complete for a reader at any moment.
 */
#pragma once

#include <bpfnet/hash.h>
#include <bpfnet/service.h>
#include <stddef.h>
#include <stdint.h>

struct bn_frontends {
	struct bn_service_entry *entries; /* mapped; NULL: released */
	int fd;                           /* borrowed */
	size_t bytes;
	uint32_t groups;
	uint64_t key[BN_HASH_KEYS];
};

#define BN_FRONTENDS_NULL {0}

/* Groups that `frontends` need: a quarter of the entries stays free. */
uint32_t bn_frontends_groups(uint32_t frontends);

/* Maps the table; `fd` is borrowed until bn_frontends_close(). 0 or -errno. */
int bn_frontends_open(struct bn_frontends *ret, int fd, const uint64_t key[BN_HASH_KEYS]);
/*
 * The kernel maps all of an array's pages at once, and all of them count as resident. So whoever has
 * nothing to do with the table for a while releases it, and holds it again (0 or -errno) before
 * anything below.
 */
int bn_frontends_hold(struct bn_frontends *t);
void bn_frontends_release(struct bn_frontends *t);
void bn_frontends_close(struct bn_frontends *t);

/* What stands under the key, or NULL. Valid until the next change. */
const struct bn_service *bn_frontends_get(const struct bn_frontends *t,
					  const struct bn_service_key *key);
/* Adds or replaces. -ENOSPC: no room for this key. */
int bn_frontends_set(struct bn_frontends *t, const struct bn_service_key *key,
		     const struct bn_service *value);
/* Fine where there is none. */
void bn_frontends_delete(struct bn_frontends *t, const struct bn_service_key *key);

/* What bn_frontends_walk()'s function says of an entry that is to go, wherever it stands. */
#define BN_FRONTENDS_DROP 1

/*
 * Calls fn for the entries of at most `n` groups from group *at, which is moved on; returns its
 * first result that is neither 0 nor BN_FRONTENDS_DROP. The end is reached when *at is `groups`.
 */
int bn_frontends_walk(struct bn_frontends *t, uint32_t *at, uint32_t n,
		      int (*fn)(void *user, const struct bn_service_key *key,
				const struct bn_service *value),
		      void *user);
