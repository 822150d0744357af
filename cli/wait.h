/* SPDX-License-Identifier: Apache-2.0 */
/* The one place where the command waits. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

/* SIGINT and SIGTERM end a wait, SIGPIPE is an error of write(2). */
void bn_wait_signals(void);

/* Of what is written while more comes in. */
struct bn_wait_stream {
	void (*idle)(void *user); /* nothing has come for a moment; or NULL */
	void *user;
};

/*
 * Waits for poll(2)'s events on fd; `stream` may be NULL. 0, -EINTR after a signal, or, of a
 * stream, -EPIPE where nobody reads standard output any more and -EIO where it can't be written
 * (main() says why).
 */
int bn_wait(int fd, short events, const struct bn_wait_stream *stream);

/* Doesn't wait: 0 where there is something to read, else -EAGAIN. */
int bn_wait_none(int fd);

/*
 * Until fd has something to read, a key is pressed (with `keys`), a signal is caught, or the time is
 * over. 0, -EINTR on SIGINT and SIGTERM, -EPIPE where standard output has no reader any more.
 */
int bn_wait_key(int fd, bool keys, int64_t usec);
