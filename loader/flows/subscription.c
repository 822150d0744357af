// SPDX-License-Identifier: Apache-2.0
/*
 * Readers of flows. A reader has no queue of its own: it has a place in the history. New flows are
 * written once and handed to all readers that have caught up; a reader without room falls back to
 * its place in the history and goes on from there, a bounded stretch in each turn of the loop.
 * What the history overwrites before a slow reader gets there is counted and told.
 *
 *             `last` of them found            at the newest flow
 *   SCANNING ---------------------> REPLAYING <----------------> LIVE
 *                                     |  ^                        |
 *                           no room   v  | resume        no room  |
 *                                    WAITING <--------------------+
 *
 * and from each of them ENDING, once the query is answered or the reader is gone.
 *
 * Invariants:
 *  - The turn source is on while some reader is SCANNING, REPLAYING or ENDING: readers that wait,
 *    for flows or for room, cost nothing. One turn serves one of them, in rotation. (Not a defer
 *    source: sd-event keeps the age of those, so one that is armed again each time would run
 *    before every other source of its priority.)
 *  - Callbacks of readers run with readers->busy held; a subscription that is freed meanwhile is
 *    `dead`, gets no more calls, and is freed when the last of them is over.
 */
#include "flows/subscription.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

/* Bounds of one turn: records looked at, and lines written. */
#define TURN_RECORDS 4096
#define TURN_LINES 128

enum state {
	STATE_SCANNING,
	STATE_REPLAYING,
	STATE_WAITING,
	STATE_LIVE,
	STATE_ENDING,
	STATE_ENDED,
};

struct bn_subscription {
	TAILQ_ENTRY(bn_subscription) entry;
	struct bn_readers *readers;
	struct bn_flow_query query; /* the filter is owned */
	enum state state;
	bool dead;
	uint64_t wanted;              /* SCANNING: matches still to be found */
	uint64_t scan;                /* SCANNING: everything from here on has been looked at */
	uint64_t cursor;              /* the next flow to look at; not kept up in LIVE */
	uint64_t stop;                /* where a reader that does not follow ends */
	uint64_t untold[BN_LOST_MAX]; /* losses to be told before the next flow */
	struct bn_reader_totals totals;
	int error;              /* ENDING */
	sd_event_source *timer; /* the end of a follower's time */
	bn_flow_send_fn send;
	bn_flow_end_fn end;
	void *user;
};

static void subscription_destroy(struct bn_subscription *sub)
{
	sd_event_source_disable_unref(sub->timer);
	bn_flow_query_done(&sub->query);
	free(sub);
}

static void enter(struct bn_readers *readers)
{
	readers->busy++;
}

static void leave(struct bn_readers *readers)
{
	struct bn_subscription *sub, *next;

	if (--readers->busy)
		return;
	for (sub = TAILQ_FIRST(&readers->list); sub; sub = next) {
		next = TAILQ_NEXT(sub, entry);
		if (!sub->dead)
			continue;
		TAILQ_REMOVE(&readers->list, sub, entry);
		subscription_destroy(sub);
	}
}

static bool runnable(const struct bn_subscription *sub)
{
	return !sub->dead && (sub->state == STATE_SCANNING || sub->state == STATE_REPLAYING ||
			      sub->state == STATE_ENDING);
}

static void update_runnable(struct bn_readers *readers, bool before, bool after)
{
	readers->runnable += (unsigned int)after - (unsigned int)before;
	(void)sd_event_source_set_enabled(readers->turn,
					  readers->runnable ? SD_EVENT_ON : SD_EVENT_OFF);
}

static void set_state(struct bn_subscription *sub, enum state state)
{
	bool before = runnable(sub);

	sub->state = state;
	update_runnable(sub->readers, before, runnable(sub));
}

static void finish(struct bn_subscription *sub, int error)
{
	sub->error = error;
	set_state(sub, STATE_ENDING);
}

/* Where there is no room, the flow that was to come waits in the history, under `number`. */
static int refused(struct bn_subscription *sub, uint64_t number, int r)
{
	if (sub->dead)
		return -ECANCELED;
	if (r == 0)
		return 0;
	if (r == -EAGAIN) {
		sub->cursor = number;
		set_state(sub, STATE_WAITING);
	} else {
		finish(sub, r);
	}
	return r;
}

static void count_lost(struct bn_subscription *sub, enum bn_lost_source source, uint64_t count)
{
	sub->untold[source] += count;
	sub->totals.lost[source] += count;
	if (source == BN_LOST_READER)
		sub->readers->lost += count;
}

static uint64_t realtime(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_REALTIME, &ts);
	return (uint64_t)ts.tv_sec * 1000000000 + (uint64_t)ts.tv_nsec;
}

static int tell_lost(struct bn_subscription *sub, uint64_t number)
{
	struct bn_readers *readers = sub->readers;
	struct bn_buf *line = &readers->notice;

	for (unsigned int source = 0; source < BN_LOST_MAX; source++) {
		int r;

		if (sub->untold[source] == 0)
			continue;
		bn_buf_reset(line);
		bn_flow_json_lost(line, source, sub->untold[source], realtime(),
				  readers->node_name);
		bn_buf_putc(line, '\n');
		if (line->failed)
			return 0; /* with the next flow, then */
		r = sub->send(sub->user, line->data, line->len - 1);
		if (r == 0)
			sub->untold[source] = 0;
		r = refused(sub, number, r);
		if (r < 0)
			return r;
	}
	return 0;
}

static int write_line(struct bn_readers *readers, const struct bn_flow_record *record)
{
	bn_buf_reset(&readers->line);
	bn_flow_json(&readers->line, record, readers->node_name);
	bn_buf_putc(&readers->line, '\n');
	return readers->line.failed ? -ENOMEM : 0;
}

/* Hands on the line that is written. */
static int deliver(struct bn_subscription *sub, uint64_t number)
{
	struct bn_readers *readers = sub->readers;
	int r = tell_lost(sub, number);

	if (r < 0)
		return r;
	r = refused(sub, number, sub->send(sub->user, readers->line.data, readers->line.len - 1));
	if (r == 0) {
		sub->totals.sent++;
		readers->sent++;
	}
	return r;
}

static bool wants(const struct bn_subscription *sub, const struct bn_flow_record *record)
{
	if (record->time < sub->query.since ||
	    (sub->query.until && record->time > sub->query.until))
		return false;
	return bn_flow_filter_match(sub->query.filter, record);
}

void bn_readers_offer(struct bn_readers *readers, uint64_t number)
{
	const struct bn_flow_record *record = bn_history_at(readers->history, number);
	struct bn_subscription *sub;
	bool written = false;

	enter(readers);
	TAILQ_FOREACH(sub, &readers->list, entry) {
		if (sub->dead || sub->state != STATE_LIVE || !wants(sub, record))
			continue;
		if (!written && write_line(readers, record) < 0) {
			count_lost(sub, BN_LOST_READER, 1);
			continue;
		}
		written = true;
		(void)deliver(sub, number);
	}
	leave(readers);
}

void bn_readers_lost(struct bn_readers *readers, uint64_t count)
{
	struct bn_subscription *sub;

	enter(readers);
	TAILQ_FOREACH(sub, &readers->list, entry) {
		if (sub->dead || !sub->query.follow || sub->state >= STATE_ENDING)
			continue;
		count_lost(sub, BN_LOST_DATAPATH, count);
		if (sub->state == STATE_LIVE)
			(void)tell_lost(sub, bn_history_next(readers->history));
	}
	leave(readers);
}

/* Backwards, to the oldest of the `last` flows that the reader wants. */
static void scan_turn(struct bn_subscription *sub)
{
	struct bn_history *history = sub->readers->history;
	uint64_t oldest = bn_history_oldest(history);

	for (unsigned int n = 0; n < TURN_RECORDS; n++) {
		if (sub->scan <= oldest || sub->wanted == 0) {
			set_state(sub, STATE_REPLAYING);
			return;
		}
		if (wants(sub, bn_history_at(history, --sub->scan))) {
			sub->cursor = sub->scan;
			sub->wanted--;
		}
	}
}

static void replay_turn(struct bn_subscription *sub)
{
	struct bn_history *history = sub->readers->history;
	uint64_t oldest = bn_history_oldest(history);
	uint64_t next = bn_history_next(history);
	unsigned int lines = 0;

	if (sub->cursor < oldest) {
		/* nobody was promised what lies behind the end */
		uint64_t to = oldest < sub->stop ? oldest : sub->stop;

		if (to > sub->cursor)
			count_lost(sub, BN_LOST_READER, to - sub->cursor);
		sub->cursor = oldest;
	}
	if (next > sub->stop)
		next = sub->stop;
	for (unsigned int n = 0; n < TURN_RECORDS && lines < TURN_LINES; n++) {
		const struct bn_flow_record *record;

		if (sub->cursor >= next)
			break;
		record = bn_history_at(history, sub->cursor);
		if (wants(sub, record)) {
			if (write_line(sub->readers, record) < 0)
				count_lost(sub, BN_LOST_READER, 1);
			else if (deliver(sub, sub->cursor) < 0)
				return;
			lines++;
		}
		sub->cursor++;
	}
	if (sub->cursor < next || tell_lost(sub, sub->cursor) < 0)
		return;
	if (sub->query.follow)
		set_state(sub, STATE_LIVE);
	else
		finish(sub, 0);
}

static void take_turn(struct bn_subscription *sub)
{
	switch (sub->state) {
	case STATE_SCANNING:
		scan_turn(sub);
		break;
	case STATE_REPLAYING:
		replay_turn(sub);
		break;
	case STATE_ENDING:
		set_state(sub, STATE_ENDED);
		if (sub->end)
			sub->end(sub->user, sub->error, &sub->totals);
		break;
	case STATE_WAITING:
	case STATE_LIVE:
	case STATE_ENDED:
		break;
	}
}

static int on_turn(sd_event_source *source, int fd, uint32_t revents, void *user)
{
	struct bn_readers *readers = user;
	struct bn_subscription *sub;

	TAILQ_FOREACH(sub, &readers->list, entry) {
		if (runnable(sub))
			break;
	}
	if (!sub)
		return 0;
	TAILQ_REMOVE(&readers->list, sub, entry);
	TAILQ_INSERT_TAIL(&readers->list, sub, entry);
	enter(readers);
	take_turn(sub);
	leave(readers);
	return 0;
}

static int on_until(sd_event_source *source, uint64_t usec, void *user)
{
	struct bn_subscription *sub = user;

	if (!sub->dead && sub->state == STATE_LIVE)
		finish(sub, 0);
	return 0;
}

/* Where the reader begins, and so what it does first. */
static void begin(struct bn_subscription *sub)
{
	struct bn_history *history = sub->readers->history;
	uint64_t next = bn_history_next(history);

	sub->stop = sub->query.follow ? UINT64_MAX : next;
	sub->cursor = next;
	if (sub->query.last) {
		sub->wanted = sub->query.last;
		sub->scan = next;
		set_state(sub, STATE_SCANNING);
		return;
	}
	if (!sub->query.follow || sub->query.since)
		sub->cursor = bn_history_oldest(history);
	set_state(sub, STATE_REPLAYING);
}

int bn_readers_subscribe(struct bn_readers *readers, struct bn_flow_query *query,
			 bn_flow_send_fn send, bn_flow_end_fn end, void *user,
			 struct bn_subscription **ret)
{
	struct bn_subscription *sub = calloc(1, sizeof(*sub));
	int r;

	if (!sub)
		return -ENOMEM;
	sub->readers = readers;
	sub->send = send;
	sub->end = end;
	sub->user = user;
	sub->state = STATE_LIVE;
	if (query->follow && query->until) {
		r = sd_event_add_time(readers->loop, &sub->timer, CLOCK_REALTIME,
				      query->until / 1000, 0, on_until, sub);
		if (r < 0) {
			free(sub);
			return r;
		}
	}
	sub->query = *query;
	query->filter = NULL;
	begin(sub);
	TAILQ_INSERT_TAIL(&readers->list, sub, entry);
	readers->current++;
	readers->total++;
	*ret = sub;
	return 0;
}

void bn_subscription_resume(struct bn_subscription *sub)
{
	if (sub->dead || sub->state != STATE_WAITING)
		return;
	set_state(sub, STATE_REPLAYING);
}

void bn_subscription_totals(const struct bn_subscription *sub, struct bn_reader_totals *ret)
{
	*ret = sub->totals;
}

void bn_subscription_free(struct bn_subscription *sub)
{
	struct bn_readers *readers;
	bool before;

	if (!sub || sub->dead)
		return;
	readers = sub->readers;
	readers->current--;
	before = runnable(sub);
	sub->dead = true;
	update_runnable(readers, before, false);
	enter(readers);
	leave(readers); /* frees it now, unless a reader's callback is running */
}

int bn_readers_init(struct bn_readers *readers, sd_event *loop)
{
	int r;

	TAILQ_INIT(&readers->list);
	readers->loop = sd_event_ref(loop);
	readers->turn_fd = eventfd(1, EFD_CLOEXEC | EFD_NONBLOCK);
	if (readers->turn_fd < 0)
		return -errno;
	r = sd_event_add_io(loop, &readers->turn, readers->turn_fd, EPOLLIN, on_turn, readers);
	if (r < 0)
		return r;
	(void)sd_event_source_set_description(readers->turn, "flow readers");
	return sd_event_source_set_enabled(readers->turn, SD_EVENT_OFF);
}

void bn_readers_done(struct bn_readers *readers)
{
	sd_event_source_disable_unref(readers->turn);
	if (readers->turn_fd >= 0)
		close(readers->turn_fd);
	bn_buf_done(&readers->line);
	bn_buf_done(&readers->notice);
	free(readers->node_name);
	sd_event_unref(readers->loop);
}
