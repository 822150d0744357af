/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The audit: what stands in the kernel's maps against what is wanted, and the difference mended.
 * Commits keep the two the same by themselves; this finds what something else has changed.
 *
 * It is done in slices, so that a large map does not keep the event loop: each call does a bounded
 * part and says whether there is more. Commits may come between two slices. What is mended is
 * written in the order of a commit, so every intermediate state is right.
 */
#pragma once

#include <bpfnet/access.h>
#include <stdbool.h>
#include <stdint.h>

/* X(NAME, "name in reports and metrics") */
#define BN_AUDITS(X) \
	X(NODE, "bn_node") \
	X(RANGES, "bn_ranges") \
	X(DEVICES, "bn_devices") \
	X(ENDPOINTS, "bn_endpoints") \
	X(ADDRESSES, "bn_addresses") \
	X(BACKENDS, "bn_backends") \
	X(SERVICE_SLOTS, "bn_service_slots") \
	X(SERVICES, "bn_services") \
	X(SOCK_NETNS, "bn_sock_netns") \
	X(SOURCES, "bn_sources") \
	X(PROGRAMS, "programs")

enum bn_audit_id {
#define BN_X(id, name) BN_AUDIT_##id,
	BN_AUDITS(BN_X)
#undef BN_X
		BN_AUDIT_MAX,
};

/* System calls of one slice, about: some hundred microseconds. */
#define BN_AUDIT_SLICE 512

struct bn_audit_count {
	uint64_t checked; /* wanted entries that were looked at */
	uint64_t missing, wrong, extra;
	uint64_t failed; /* of these, not mended */
	int error;       /* -errno of the last that failed */
};

struct bn_audit_report {
	struct bn_audit_count of[BN_AUDIT_MAX];
	/* where the next slice of the table under way goes on; zeroed before the first */
	struct {
		unsigned phase;
		uint32_t bucket;
		struct bn_map_cursor map;
	} at;
};

/*
 * One wanted entry: looked up, and written where it is missing or another. Returns whether it had
 * to be.
 */
bool bn_audit_entry(struct bn_audit_count *c, int fd, const void *key, const void *want,
		    uint32_t value_size);
/* One entry that nobody wants: deleted. */
void bn_audit_extra(struct bn_audit_count *c, int fd, const void *key);

static inline uint64_t bn_audit_repairs(const struct bn_audit_count *c)
{
	return c->missing + c->wrong + c->extra - c->failed;
}
