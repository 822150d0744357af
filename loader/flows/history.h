/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The last flows of this node. Each one kept has a sequence number that never repeats; readers
 * hold numbers, not pointers, so a slow one finds out exactly how much it missed.
 */
#pragma once

#include "flows/names.h"

#include <bpfnet/event.h>
#include <bpfnet/flow.h>
#include <bpfnet/policy.h>

#define BN_HISTORY_DEFAULT 16384
#define BN_HISTORY_MAX 1048576

/* An event with the names of its time. */
struct bn_flow_record {
	struct bn_event event;
	uint64_t time; /* CLOCK_REALTIME, ns */
	struct bn_name *source;
	struct bn_name *destination; /* of the final address, see bn_flow_destination() */
	struct bn_name *service;
	struct bn_name *rule[BN_POLICY_DIRECTIONS]; /* that decided; NULL: none did */
};
_Static_assert(sizeof(struct bn_flow_record) == 208, "what a kept flow costs");

void bn_flow_record_done(struct bn_flow_record *record);

/* Whether the addresses that the packet leaves with are known. */
static inline bool bn_flow_decided(const struct bn_event *e)
{
	return (e->to_saddr.d[0] | e->to_saddr.d[1]) && (e->to_daddr.d[0] | e->to_daddr.d[1]);
}

/* Whether it would have been dropped, were its policy not in audit mode. */
static inline bool bn_flow_is_audited(const struct bn_event *e)
{
	return e->header.type == BN_EVENT_AUDIT ||
	       (e->header.type == BN_EVENT_FLOW_OPENED && e->reason);
}

/* Whether a packet was dropped, as its record or a trace's tells. */
static inline bool bn_flow_is_dropped(const struct bn_event *e)
{
	return e->header.type == BN_EVENT_DROP || (e->header.type == BN_EVENT_TRACE && e->reason);
}

/* Who the packet went to in the end: the backend, where a service was addressed. */
static inline const union bn_addr *bn_flow_destination(const struct bn_event *e, __be16 *ret_port)
{
	bool decided = bn_flow_decided(e);

	*ret_port = decided ? e->to_dport : e->tuple.dport;
	return decided ? &e->to_daddr : &e->tuple.daddr;
}

/*
 * Whether the packet belongs to a flow's reply direction: 0, 1, or -1 where no flow was known.
 * Openings and closings are told in the direction of the first packet.
 */
static inline int bn_flow_is_reply(const struct bn_event *e)
{
	switch (e->header.type) {
	case BN_EVENT_DROP:
	case BN_EVENT_TRACE:
		return e->flags & BN_FLOW_ORIGIN ? 0 : e->flags ? 1 : -1;
	case BN_EVENT_AUDIT:
		return !(e->flags & BN_FLOW_ORIGIN);
	}
	return 0;
}

struct bn_history;

/* `size` flows, 1 to BN_HISTORY_MAX; 0: the default. Memory is taken as it fills. */
int bn_history_new(size_t size, struct bn_history **ret);
void bn_history_free(struct bn_history *history);
/* Takes the record's references; the oldest record makes room. Returns the number it got. */
uint64_t bn_history_add(struct bn_history *history, const struct bn_flow_record *record);
/* Records oldest <= number < next exist. */
uint64_t bn_history_oldest(const struct bn_history *history);
uint64_t bn_history_next(const struct bn_history *history);
/* NULL where it is overwritten or not there yet; valid until the next bn_history_add(). */
const struct bn_flow_record *bn_history_at(const struct bn_history *history, uint64_t number);
size_t bn_history_size(const struct bn_history *history);
