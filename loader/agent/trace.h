/* SPDX-License-Identifier: Apache-2.0 */
/* Asking the datapath what it would do with a flow's first packet, for `policy trace` and `why`. */
#pragma once

#include "datapath/dry-run.h"

#include <jansson.h>

struct bn_agent;

struct bn_trace {
	const char *from_text, *to_text; /* what errors call the ends */
	union bn_addr from, to;          /* of one family */
	uint8_t protocol;                /* IPPROTO_ICMP: of either family */
	uint16_t port;                   /* host byte order */
};

/* Reads protocol (tcp where it is absent) and port; without `needs_port` that may be absent: 0. */
int bn_trace_read_flow(json_t *params, bool needs_port, struct bn_trace *ret, struct bn_error *err);

/* -EOPNOTSUPP where the packet meets no program of this node. */
int bn_agent_trace(struct bn_agent *a, const struct bn_trace *flow, struct bn_dry_answer *ret,
		   struct bn_error *err);

/* The rules that decided, [{policy, direction, index, allow}], egress first. */
json_t *bn_trace_rules(struct bn_agent *a, const struct bn_event *e);
