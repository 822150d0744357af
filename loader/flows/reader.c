// SPDX-License-Identifier: Apache-2.0
/*
 * The ring buffer's reader. libbpf's ring_buffer__consume() goes on for as long as records
 * arrive, and its bounded form needs libbpf 1.5; but a negative value from the callback ends the
 * round after that record is consumed, which is how a turn is bounded here. After one that used up
 * its budget the descriptor is looked at anew, once the loop's other sources have had theirs.
 *
 * The datapath wakes us for the first record of a while, and for those after it we look by
 * ourselves: so the descriptor is edge-triggered, or every record that is there when we are about
 * to sleep would be a turn of its own.
 *
 * Invariants:
 *  - After a turn that found something there is another one, by the clock, when the datapath has
 *    begun to wake us again.
 *  - A record is copied before it is checked, and only the copy is used.
 *  - Nothing out of range passes bn_event_check(); tables may be indexed by type, hook, reason
 *    and cause without asking again.
 */
#include "flows/reader.h"

#include <bpf/libbpf.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <time.h>
#include <unistd.h>

#define NSEC_PER_SEC 1000000000ull

/* Twice as long as the datapath's silence: a record is a little older than its wake-up. */
#define LOOK_USEC (2 * BN_EVENT_QUIET_NS / 1000)
/* Once more after that, for a processor that was taken away between the one and the other. */
#define LAST_LOOK_USEC 1000000u

struct bn_reader {
	struct bn_reader_ops ops;
	struct bn_reader_stats stats;
	struct ring_buffer *ring;
	sd_event_source *source;
	sd_event_source *look; /* the next turn by the clock */
	int empty;             /* turns by the clock that have found nothing since one has */
	int map_fd;            /* our own: epoll forgets a file when its last descriptor closes */
	int64_t offset;        /* CLOCK_REALTIME - CLOCK_MONOTONIC, as of this turn */
	uint64_t now;          /* CLOCK_MONOTONIC, as of this turn */
	unsigned int budget;
};

static uint64_t clock_ns(clockid_t id)
{
	struct timespec ts;

	clock_gettime(id, &ts);
	return (uint64_t)ts.tv_sec * NSEC_PER_SEC + (uint64_t)ts.tv_nsec;
}

uint64_t bn_event_realtime(uint64_t monotonic)
{
	uint64_t now = clock_ns(CLOCK_MONOTONIC);
	uint64_t real = clock_ns(CLOCK_REALTIME);

	return monotonic == 0 || monotonic > now ? real : real - (now - monotonic);
}

int bn_event_check(const void *data, size_t size, struct bn_event *ret)
{
	struct bn_event e;

	if (size != sizeof(e))
		return -EBADMSG;
	memcpy(&e, data, sizeof(e));
	if (e.header.version != BN_EVENT_VERSION || e.header.size != sizeof(e))
		return -EBADMSG;
	if (e.header.type < BN_EVENT_FLOW_OPENED || e.header.type > BN_EVENT_AUDIT)
		return -EBADMSG;
	/* A flow may end where no packet is: swept, or thrown out for another. */
	if (e.hook > BN_HOOK_TO_UPLINK || e.hook == BN_HOOK_XDP ||
	    (e.hook == 0 && e.header.type != BN_EVENT_FLOW_CLOSED))
		return -EBADMSG;
	if (e.reason >= BN_DROP_MAX || e.cause > BN_CLOSE_STALE)
		return -EBADMSG;
	if ((e.header.type == BN_EVENT_DROP || e.header.type == BN_EVENT_AUDIT) &&
	    e.reason == BN_DROP_NONE)
		return -EBADMSG;
	if (e.header.type == BN_EVENT_FLOW_CLOSED && e.cause == 0)
		return -EBADMSG;
	if (e.closed_by > BN_CLOSED_BY_DESTINATION)
		return -EBADMSG;
	/* A drop may come before the IP header could be read; a flow never does. */
	if (e.tuple.family != BN_IPV4 && e.tuple.family != BN_IPV6 &&
	    (e.tuple.family != 0 || e.header.type != BN_EVENT_DROP))
		return -EBADMSG;
	*ret = e;
	return 0;
}

/* Records made during this turn are a little ahead of it; nothing is by more. */
static int plausible(const struct bn_reader *r, uint64_t time)
{
	return time != 0 && time < r->now + NSEC_PER_SEC;
}

static int on_record(void *ctx, void *data, size_t size)
{
	struct bn_reader *r = ctx;
	struct bn_event e;

	r->stats.received++;
	if (bn_event_check(data, size, &e) < 0)
		r->stats.malformed++;
	else
		r->ops.event(r->ops.user, &e,
			     (plausible(r, e.time) ? e.time : r->now) + (uint64_t)r->offset);
	return --r->budget ? 0 : -EAGAIN;
}

static int look_in(struct bn_reader *r, uint64_t usec)
{
	int res = sd_event_source_set_time_relative(r->look, usec);

	return res < 0 ? res : sd_event_source_set_enabled(r->look, SD_EVENT_ONESHOT);
}

/* Returns how many records there were, at most the budget; negative: the loop is out of memory. */
static int turn(struct bn_reader *r)
{
	int behind, taken, res;

	/* Each turn anew: the wall clock may be stepped, and the monotonic one stops in suspend. */
	r->now = clock_ns(CLOCK_MONOTONIC);
	r->offset = (int64_t)(clock_ns(CLOCK_REALTIME) - r->now);
	r->budget = BN_READER_BUDGET;
	(void)ring_buffer__consume(r->ring);
	behind = r->budget == 0;
	taken = (int)(BN_READER_BUDGET - r->budget);
	if (r->ops.turn)
		r->ops.turn(r->ops.user);
	if (!taken)
		return 0;
	r->empty = 0;
	/* setting the events of an edge-triggered source again has them looked at again */
	res = behind ? sd_event_source_set_io_events(r->source, EPOLLIN | EPOLLET)
		     : look_in(r, LOOK_USEC);
	return res < 0 ? res : taken;
}

static int on_readable(sd_event_source *source, int fd, uint32_t revents, void *user)
{
	int taken = turn(user);

	return taken < 0 ? taken : 0;
}

static int on_look(sd_event_source *source, uint64_t usec, void *user)
{
	struct bn_reader *r = user;
	int taken = turn(r);

	if (taken)
		return taken < 0 ? taken : 0;
	return r->empty++ ? 0 : look_in(r, LAST_LOOK_USEC);
}

int bn_reader_new(sd_event *loop, int map_fd, const struct bn_reader_ops *ops,
		  struct bn_reader **ret)
{
	struct bn_reader *r = calloc(1, sizeof(*r));
	int res;

	if (!r)
		return -ENOMEM;
	r->ops = *ops;
	r->map_fd = fcntl(map_fd, F_DUPFD_CLOEXEC, 0);
	if (r->map_fd < 0) {
		res = -errno;
		goto fail;
	}
	r->ring = ring_buffer__new(r->map_fd, on_record, r, NULL);
	if (!r->ring) {
		res = -errno;
		goto fail;
	}
	res = sd_event_add_io(loop, &r->source, r->map_fd, EPOLLIN | EPOLLET, on_readable, r);
	if (res < 0)
		goto fail;
	(void)sd_event_source_set_description(r->source, "ring buffer");
	res = sd_event_add_time_relative(loop, &r->look, CLOCK_MONOTONIC, 0, 1000, on_look, r);
	if (res < 0)
		goto fail;
	(void)sd_event_source_set_enabled(r->look, SD_EVENT_OFF);
	*ret = r;
	return 0;
fail:
	bn_reader_free(r);
	return res;
}

void bn_reader_free(struct bn_reader *r)
{
	if (!r)
		return;
	sd_event_source_disable_unref(r->source);
	sd_event_source_disable_unref(r->look);
	ring_buffer__free(r->ring);
	if (r->map_fd >= 0)
		close(r->map_fd);
	free(r);
}

void bn_reader_stats(const struct bn_reader *r, struct bn_reader_stats *ret)
{
	*ret = r->stats;
}
