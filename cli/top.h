/* SPDX-License-Identifier: Apache-2.0 */
/*
 * `bpfnet top`: who talks to whom, which services, what is dropped.
 *
 * The flow table, read once an interval, says what live flows have carried; the stream of records
 * says what opened, what was dropped, and the last of what a flow carried that ended in between. So a
 * flow is counted to its last packet, and never twice.
 */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

enum bn_top_view {
	BN_TOP_TALKERS,
	BN_TOP_SERVICES,
	BN_TOP_DROPS,
	BN_TOP_VIEWS,
};

/* The columns of numbers, in their order on the screen; rows can be sorted by each, or by name. */
enum bn_top_column {
	BN_TOP_FLOWS,
	BN_TOP_NEW,
	BN_TOP_PACKETS,
	BN_TOP_OUT,
	BN_TOP_IN,
	BN_TOP_DROPPED,
	BN_TOP_TOTAL, /* drops since the start */
	BN_TOP_COLUMNS,
	BN_TOP_NAME = BN_TOP_COLUMNS,
	BN_TOP_SORTS,
};

struct bn_top_row {
	const char *name, *other;     /* who, to whom; `other` NULL but of talkers */
	const char *last;             /* of drops: the last one's ends */
	double value[BN_TOP_COLUMNS]; /* as of the last interval, a second where it is a rate */
};

extern const char *const bn_top_views[BN_TOP_VIEWS];
extern const char *const bn_top_sorts[BN_TOP_SORTS]; /* as --sort has them */

/* Whether the view has the column. */
bool bn_top_has(enum bn_top_view view, enum bn_top_column column);

/* ---- top-data.c ---- */

struct bn_top;

struct bn_top *bn_top_new(void);
void bn_top_free(struct bn_top *t);
/* `endpoint list`'s answer: whose addresses are whose. */
void bn_top_endpoints(struct bn_top *t, const json_t *endpoints);
/* A record of the flows' stream. */
void bn_top_flow(struct bn_top *t, const json_t *flow);
/* A reading of the flow table: its rows between begin and end, `seconds` after the one before. */
void bn_top_begin(struct bn_top *t);
void bn_top_conn(struct bn_top *t, const json_t *conn);
void bn_top_end(struct bn_top *t, double seconds);
/*
 * The view's rows, sorted, largest first; free() the array, not the rows, which are valid until the
 * next call of another function. NULL without memory or rows.
 */
const struct bn_top_row **bn_top_rows(struct bn_top *t, enum bn_top_view view,
				      enum bn_top_column sort, bool turned, size_t *ret_n);

/* ---- top-view.c ---- */

struct bn_top_style {
	enum bn_top_view view;
	enum bn_top_column sort; /* marked in the header; BN_TOP_SORTS: none */
	size_t width;            /* places; 0: as many as it takes */
	size_t most;             /* rows */
	bool headers;
};

/* Calls `line` with the header (n 0) and each row (n from 1), cleaned, cut to the width. */
void bn_top_table(const struct bn_top_row *const *rows, size_t n, const struct bn_top_style *style,
		  void (*line)(void *user, size_t n, const char *text), void *user);
json_t *bn_top_json(const struct bn_top_row *const *rows, size_t n, enum bn_top_view view);

/* ---- top-screen.c ---- */

enum bn_top_key {
	BN_KEY_NONE,
	BN_KEY_QUIT,
	BN_KEY_VIEW,    /* the next one */
	BN_KEY_TALKERS, /* these three are a view each */
	BN_KEY_SERVICES,
	BN_KEY_DROPS,
	BN_KEY_LEFT, /* sort by the column on that side */
	BN_KEY_RIGHT,
	BN_KEY_TURN,
	BN_KEY_PAUSE,
	BN_KEY_FASTER,
	BN_KEY_SLOWER,
	BN_KEY_UP,
	BN_KEY_DOWN,
	BN_KEY_HELP,
	BN_KEY_OTHER, /* to be drawn anew */
};

/* Takes over the terminal; false: it can't be used so. */
bool bn_screen_open(void);
void bn_screen_close(void);
enum bn_top_key bn_screen_key(void);

struct bn_screen {
	const char *title; /* cleaned */
	const char *note;
	struct bn_top_style style;
	size_t first; /* row at the top */
	bool help;
};

void bn_screen_draw(const struct bn_screen *s, const struct bn_top_row *const *rows, size_t n);
