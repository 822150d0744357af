/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The observer: takes events from the datapath, gives them the names of their time, keeps the last
 * ones and hands them to any number of readers as lines of JSON (flows/json.h).
 */
#pragma once

#include "flows/filter.h"
#include "flows/history.h"
#include "flows/json.h"

#include <systemd/sd-event.h>

struct bn_observer;
struct bn_subscription;

struct bn_observer_config {
	int events_fd;          /* the map bn_events; -1: injected events only */
	const char *node_name;  /* copied */
	struct bn_names *names; /* borrowed for the observer's life */
	size_t history;         /* flows kept; 0: BN_HISTORY_DEFAULT */
	/* Records that found the ring buffer full, since ever; may be NULL. 0 or -errno. */
	int (*lost)(void *user, uint64_t *ret);
	void *user;
};

struct bn_observer_stats {
	uint64_t received;  /* records taken from the ring buffer */
	uint64_t malformed; /* of these, out of range and skipped */
	uint64_t lost;      /* records that found the ring buffer full */
	uint64_t injected;  /* events the agent made itself */
	uint64_t restored;  /* flows of before the start, in none of the others but kept */
	uint64_t opened, closed, dropped, audited; /* flows taken, by type */
	uint64_t overwritten;                      /* flows that made room for newer ones */
	uint64_t kept;                             /* flows in the history now */
	uint64_t max_kept;
	uint64_t readers;       /* subscriptions now */
	uint64_t readers_total; /* since the start */
	uint64_t reader_sent;   /* lines taken by readers */
	uint64_t reader_lost;   /* flows that were overwritten before a slow reader came to them */
};

/*
 * What a reader wants, as <bpfnet/control.h> has it. All zero is everything that is kept; `last`
 * is that many of the newest that match; since and until bound the time; with `follow` new ones
 * come as well, and old ones only where `last` or `since` asks for them.
 */
struct bn_flow_query {
	bool follow;
	uint64_t last;
	uint64_t since; /* CLOCK_REALTIME ns, 0: no bound */
	uint64_t until;
	struct bn_flow_filter *filter; /* NULL: everything */
};

struct bn_reader_totals {
	uint64_t sent;              /* flows */
	uint64_t lost[BN_LOST_MAX]; /* records: of the reader's own slowness, of the datapath's */
};

/*
 * Takes one line of `len` bytes: a flow, or where records are missing at this place, how many
 * (flows/json.h). Of those that a slow reader missed nobody knows whether it wanted them. A newline follows at line[len], so that len + 1 bytes can be written at once.
 * Never blocks. Returns
 *   0        taken
 *   -EAGAIN  no room: the reader goes on from this line after bn_subscription_resume(); the
 *            history is its queue, and what is overwritten in the meantime is counted and told
 *   other    the reader is gone: end() follows
 */
typedef int (*bn_flow_send_fn)(void *user, const char *line, size_t len);
/*
 * No more lines: error is 0 where the query is answered. Called from the event loop, never from
 * within bn_observer_subscribe(). Here as in send, bn_subscription_free() may be called.
 */
typedef void (*bn_flow_end_fn)(void *user, int error, const struct bn_reader_totals *totals);

int bn_observer_new(sd_event *loop, const struct bn_observer_config *config,
		    struct bn_observer **ret);
/* Subscriptions must have been freed. */
void bn_observer_free(struct bn_observer *observer);

/*
 * Keeps what the ring buffer still holds of an earlier agent's flows, with the names that there are
 * now. To be called once those stand, before the loop runs. How many, or -errno.
 */
int bn_observer_restore(struct bn_observer *observer, int events_fd);

/* What is kept; valid until the next event is taken. */
const struct bn_history *bn_observer_history(const struct bn_observer *observer);

/* Sees every flow taken, before readers do. One sink. */
void bn_observer_set_sink(struct bn_observer *observer,
			  void (*sink)(void *user, const struct bn_flow_record *record),
			  void *user);

/* Gives a record that is not kept the names of its event's time, which the caller gives back. */
void bn_observer_name(struct bn_observer *observer, struct bn_flow_record *record);

/*
 * An event that does not come from the ring buffer: flows that the agent closes itself, tests.
 * A `time` of 0 is now. 0, or -EBADMSG where it is not well-formed.
 */
int bn_observer_inject(struct bn_observer *observer, const struct bn_event *event);

/*
 * Reads {follow, last, since, until, filters}: follow true or false, last a number of flows,
 * since and until nanoseconds since the epoch, filters as in flows/filter.h; all optional.
 */
int bn_flow_query_parse(const json_t *params, struct bn_flow_query *ret, struct bn_error *err);
void bn_flow_query_done(struct bn_flow_query *query);

/* Takes query->filter on success, and clears it there. Lines come from the event loop only. */
int bn_observer_subscribe(struct bn_observer *observer, struct bn_flow_query *query,
			  bn_flow_send_fn send, bn_flow_end_fn end, void *user,
			  struct bn_subscription **ret);
/* There is room again after send returned -EAGAIN. */
void bn_subscription_resume(struct bn_subscription *sub);
/* As of now. */
void bn_subscription_totals(const struct bn_subscription *sub, struct bn_reader_totals *ret);
/* Ends it without a call to end(). */
void bn_subscription_free(struct bn_subscription *sub);

void bn_observer_stats(const struct bn_observer *observer, struct bn_observer_stats *ret);
/* Its `opened` alone, which costs nothing. */
uint64_t bn_observer_opened(const struct bn_observer *observer);
