/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * Epochs: a flow keeps the sum of those that its decision depends on (both ends' and the node's).
 * Each only grows, so the sum changes whenever one does. Read before the tables they guard.
 */
#pragma once

#include "lib/packet.h"

static __always_inline __u32 epoch_sum(const struct bn_epochs *e, __u32 slots)
{
	return e->slot[bn_flow_src_slot(slots)] + e->slot[bn_flow_dst_slot(slots)] +
	       e->slot[BN_SLOT_NONE];
}

static __always_inline const struct bn_epochs *epochs_get(void)
{
	__u32 zero = 0;

	return bpf_map_lookup_elem(&bn_epochs, &zero);
}
