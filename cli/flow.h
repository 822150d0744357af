/* SPDX-License-Identifier: Apache-2.0 */
/* The parts of `bpfnet flows`. */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "command.h"

/* A span back from now_ns or a time, in nanoseconds since the epoch; false: neither. */
bool bn_time_parse(const char *text, int64_t now_ns, int64_t *ret);

/*
 * The filters of a command line as the agent takes them, an array, in *ret (the caller's). 0, or
 * BN_EXIT_USAGE after having said what was expected.
 */
int bn_filters_parse(const struct bn_call *call, json_t **ret);

/* Calls with every drop reason's label and meaning. */
void bn_reasons_each(void (*each)(const char *label, const char *text, void *user), void *user);

struct bn_flow_style {
	bool numeric; /* addresses instead of names */
	bool color;
	bool wide; /* identities and labels too */
};

/* A flow as one line: TIME NS/POD:PORT -> NS/POD:PORT VERDICT (detail). */
void bn_flow_print(FILE *f, const json_t *flow, const struct bn_flow_style *style);
