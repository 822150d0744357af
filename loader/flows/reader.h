/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reads the ring buffer `bn_events` in the event loop and hands on what is well-formed.
 */
#pragma once

#include <bpfnet/event.h>
#include <stddef.h>
#include <stdint.h>
#include <systemd/sd-event.h>

/* Records handled in one turn of the loop, so that a storm leaves room for everything else. */
#define BN_READER_BUDGET 256

struct bn_reader_ops {
	/* `time` is the event's CLOCK_REALTIME in ns. */
	void (*event)(void *user, const struct bn_event *event, uint64_t time);
	void (*turn)(void *user); /* a turn is over */
	void *user;
};

struct bn_reader_stats {
	uint64_t received;  /* records taken out, malformed ones included */
	uint64_t malformed; /* of these, skipped */
};

struct bn_reader;

/* Borrows map_fd for the call only. */
int bn_reader_new(sd_event *loop, int map_fd, const struct bn_reader_ops *ops,
		  struct bn_reader **ret);
void bn_reader_free(struct bn_reader *reader);
void bn_reader_stats(const struct bn_reader *reader, struct bn_reader_stats *ret);

/* Copies the record to `ret` where all of it is in range: 0, or -EBADMSG. */
int bn_event_check(const void *data, size_t size, struct bn_event *ret);
/* CLOCK_REALTIME of a CLOCK_MONOTONIC time; 0 and times to come are now. */
uint64_t bn_event_realtime(uint64_t monotonic);
