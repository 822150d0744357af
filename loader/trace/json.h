/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A packet at a hook as one line of JSON: a flow's (flows/json.h), and
 *
 *   trace    packet (a number, the same at all hooks), hook, device, action (passed, redirected,
 *            delivered, injected, sent-back, dropped, answered), to_device, verdict (what the program
 *            returned)
 *   capture  length, original_length (bytes), data (base64): the frame as it came to the hook
 */
#pragma once

#include "flows/json.h"

#include <bpfnet/trace.h>
#include <net/if.h>

struct bn_trace_line {
	const struct bn_trace_record *record;
	struct bn_flow_record *named; /* of the record's event */
	const char *node_name;
	uint64_t packet;             /* as readers know it */
	char device[IF_NAMESIZE];    /* "": gone */
	char to_device[IF_NAMESIZE]; /* "": none */
};

/* Appends the object without a newline. */
void bn_trace_json(struct bn_buf *buf, const struct bn_trace_line *line);
