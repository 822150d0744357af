/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Services in the kernel's maps: what stands there, what is wanted, the smallest difference, in an
 * order in which every intermediate state is right: backends, then the places that name them,
 * then the frontends that name the places, then what is no longer wanted.
 */
#pragma once

#include "error.h"
#include "model.h"

#include <bpfnet/config.h>
#include <stdbool.h>
#include <stdint.h>

struct bn_services;
struct bn_audit_report;

struct bn_services_config {
	int services_fd, slots_fd, backends_fd, maglev_fd,
		epochs_fd; /* borrowed; epochs_fd -1: none */
	uint32_t max_services, max_slots, max_backends, max_lines;
	uint64_t hash_key[BN_HASH_KEYS];
	/* An address became a service's or ceased to be one; NULL: nobody asks. */
	void (*address)(void *user, const union bn_addr *addr, bool owned);
	void *user;
};

/* Reads what a predecessor left in the maps; it counts as unclaimed until a commit names it. */
int bn_services_new(const struct bn_services_config *config, struct bn_services **ret,
		    struct bn_error *err);
void bn_services_free(struct bn_services *s);

/*
 * Makes services as specified and takes others away: all or nothing. -ENOSPC with the exact count
 * where a map is too small; nothing has changed then.
 */
int bn_services_commit(struct bn_services *s, const struct bn_service_spec *set, size_t n_set,
		       const struct bn_service_spec *removed, size_t n_removed,
		       struct bn_error *err);
/* Removes what no commit has claimed since bn_services_new(). */
int bn_services_prune(struct bn_services *s, struct bn_error *err);

/* Whether a predecessor's entries for one of its frontends stand, and nobody has claimed them. */
bool bn_services_stands(struct bn_services *s, const struct bn_service_spec *spec);

/* The index by which flows name a backend of a service. -ENOENT. */
int bn_services_backend_index(struct bn_services *s, const char *namespace, const char *name,
			      const union bn_addr *addr, uint16_t port, uint8_t protocol,
			      uint32_t *ret);
/* The id that events call a service by; -ENOENT. */
int bn_services_id(struct bn_services *s, const char *namespace, const char *name, uint32_t *ret);

/* Every address that a service has. */
void bn_services_addresses(const struct bn_services *s,
			   void (*fn)(void *user, const union bn_addr *addr), void *user);

struct bn_services_usage {
	uint64_t frontends, backends, slots, lines;
	uint64_t retired_udp; /* backends that stopped taking new flows, since the start */
};
void bn_services_usage(const struct bn_services *s, struct bn_services_usage *ret);

/* One slice of the audit of all of it. Returns whether there is more. */
bool bn_services_audit(struct bn_services *s, struct bn_audit_report *report);
