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
/* A time alone: RFC 3339, or without a zone for local time. */
bool bn_time_parse_point(const char *text, int64_t *ret);

struct bn_filters;

/* Those of a command line. 0, or an exit code after having said what was expected. */
int bn_filters_parse(const struct bn_call *call, struct bn_filters **ret);
void bn_filters_free(struct bn_filters *filters);
/* As the agent takes them, an array, the caller's. */
json_t *bn_filters_json(const struct bn_filters *filters);
bool bn_filters_match(const struct bn_filters *filters, const json_t *flow);

/* Calls with every drop reason's label and meaning. */
void bn_reasons_each(void (*each)(const char *label, const char *text, void *user), void *user);

struct bn_flow_style {
	bool numeric; /* addresses instead of names */
	bool color;
};

/* A flow as one line: TIME NS/POD:PORT -> NS/POD:PORT VERDICT (detail). */
void bn_flow_print(FILE *f, const json_t *flow, const struct bn_flow_style *style);

/* Its parts, without a newline. */
void bn_flow_print_time(FILE *f, const json_t *flow);
void bn_flow_print_end(FILE *f, const json_t *flow, bool source, const struct bn_flow_style *style);
void bn_flow_print_verdict(FILE *f, const json_t *flow, const struct bn_flow_style *style);
/* Why it was dropped, or would have been; false, and nothing: it was not. */
bool bn_flow_print_reason(FILE *f, const json_t *flow);
/* What was on the wire, and how a flow ended; `type`: with what the record is about. */
void bn_flow_print_packet(FILE *f, const json_t *flow, bool type);
/* TCP flags that a closed flow has seen: FIN,ACK out, RST in. Nothing of others. */
void bn_flow_print_flags(FILE *f, const json_t *flow);
/* The service addressed and where; false, and nothing: none was. */
bool bn_flow_print_service(FILE *f, const json_t *flow);
/*
 * The policies that decided, each behind a separator but for the first; `allowed`: those that let
 * it pass, too. False, and nothing: there are none.
 */
bool bn_flow_print_rules(FILE *f, const json_t *flow, bool allowed, const char *separator);

/* Writes flows in the format that the call asks for. */
struct bn_flow_show;
struct bn_flow_show *bn_flow_show_new(const struct bn_call *call,
				      const struct bn_flow_style *style);
/* `text`: the flow's JSON. 0, or an exit code after having said why. */
int bn_flow_show(struct bn_flow_show *show, const json_t *flow, const char *text, size_t len);
/* Nothing has come for a moment: what is held back to be aligned is written. */
void bn_flow_show_idle(struct bn_flow_show *show);
void bn_flow_show_free(struct bn_flow_show *show, bool failed);

/* Which of the flows are wanted. */
struct bn_flow_range {
	int64_t since; /* nanoseconds since the epoch, 0: no bound */
	int64_t until;
	size_t last; /* 0: all */
};

/* Shows the stored flows of a file, "-" being standard input. Returns the exit code. */
int bn_flow_input(const char *file, const struct bn_filters *filters,
		  const struct bn_flow_range *range, struct bn_flow_show *show);
