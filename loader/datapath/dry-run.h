/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the datapath would do with a packet: the same programs, loaded a second time and attached to
 * nothing, look into the maps that are in force and write to maps of their own. So the answer is the
 * datapath's, and nothing changes by asking.
 */
#pragma once

#include "datapath/programs.h"

#include <bpfnet/event.h>
#include <stddef.h>

struct bn_dry_run;

/* `programs` is borrowed for its life. */
int bn_dry_run_new(const struct bn_programs *programs, struct bn_dry_run **ret,
		   struct bn_error *err);
void bn_dry_run_free(struct bn_dry_run *dry);

struct bn_dry_question {
	enum bn_program_id program; /* from or to a pod, from the uplink */
	uint32_t ifindex;           /* the device that it is attached to */
	uint32_t ingress_ifindex; /* to a pod: where the packet came in; 0: from the node itself */
	const void *packet;       /* from the Ethernet header on */
	size_t len;               /* bytes */
};

struct bn_dry_answer {
	bool told;             /* there is a record: the packet concerns the datapath */
	struct bn_event event; /* what the datapath would report of it */
	int action;            /* TC_ACT_... */
};

/* Asked as of a flow's first packet, whatever flows there are. */
int bn_dry_run_ask(struct bn_dry_run *dry, const struct bn_dry_question *question,
		   struct bn_dry_answer *ret, struct bn_error *err);
