/* SPDX-License-Identifier: Apache-2.0 */
/* A client of a server that runs in this process's event loop. */
#pragma once

#include "test-net-fixture.h"

#include <systemd/sd-event.h>
#include <time.h>

static inline uint64_t http_now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / 1000000;
}

static inline void http_say(int fd, const char *request)
{
	assert_int_equal(send(fd, request, strlen(request), MSG_NOSIGNAL), strlen(request));
}

/*
 * Lets the loop run until `part` was heard or the connection has ended; with NULL, until it has ended.
 * Puts a text of less than `size` bytes into reply; false: it took longer than that.
 */
static inline bool http_hear(sd_event *event, int fd, char *reply, size_t size, const char *part,
			     uint64_t limit_ms)
{
	uint64_t until = http_now_ms() + limit_ms;
	size_t n = 0;

	reply[0] = '\0';
	while (!part || !strstr(reply, part)) {
		ssize_t got;

		sd_event_run(event, 1000);
		got = recv(fd, reply + n, size - 1 - n, MSG_DONTWAIT);
		if (got == 0 || (got < 0 && errno != EAGAIN))
			break;
		n += got > 0 ? (size_t)got : 0;
		reply[n] = '\0';
		if (http_now_ms() > until)
			return false;
	}
	return true;
}
