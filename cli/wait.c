// SPDX-License-Identifier: Apache-2.0
/*
 * Invariants: signals are let in here and nowhere else, so that an interrupt is never missed;
 * a stream's output is flushed before it is waited for more, so that what is shown is current and
 * still written in large pieces.
 */
#include "wait.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

#define IDLE_MS 200

static volatile sig_atomic_t interrupted;
static sigset_t wait_mask;

static void on_signal(int number)
{
	interrupted = 1;
}

void bn_wait_signals(void)
{
	struct sigaction action = {.sa_handler = on_signal};
	sigset_t block;

	signal(SIGPIPE, SIG_IGN);
	sigaction(SIGINT, &action, NULL);
	sigaction(SIGTERM, &action, NULL);
	sigemptyset(&block);
	sigaddset(&block, SIGINT);
	sigaddset(&block, SIGTERM);
	sigprocmask(SIG_BLOCK, &block, &wait_mask);
	sigdelset(&wait_mask, SIGINT);
	sigdelset(&wait_mask, SIGTERM);
}

/* ppoll() lets no signal in while there is something to read. */
static bool is_interrupted(void)
{
	sigset_t pending;

	sigpending(&pending);
	return interrupted || sigismember(&pending, SIGINT) || sigismember(&pending, SIGTERM);
}

int bn_wait(int fd, short events, const struct bn_wait_stream *stream)
{
	struct pollfd fds[2] = {
		{.fd = fd, .events = events}, {.fd = stream ? STDOUT_FILENO : -1}, /* errors only */
	};

	if (stream && poll(fds, 2, 0) == 0) {
		fflush(stdout);
		if (stream->idle && poll(fds, 2, IDLE_MS) == 0) {
			stream->idle(stream->user);
			fflush(stdout);
		}
	}
	if (stream && ferror(stdout))
		return -EIO;
	while (!is_interrupted()) {
		if (ppoll(fds, 2, NULL, &wait_mask) < 0) {
			if (errno == EINTR)
				continue;
			return -errno;
		}
		if (fds[1].revents)
			return -EPIPE;
		if (fds[0].revents)
			return 0;
	}
	return -EINTR;
}

int bn_wait_none(int fd)
{
	struct pollfd p = {.fd = fd, .events = POLLIN};

	return poll(&p, 1, 0) == 1 ? 0 : -EAGAIN;
}

int bn_wait_key(int fd, bool keys, int64_t usec)
{
	struct pollfd fds[3] = {
		{.fd = fd, .events = POLLIN},
		{.fd = keys ? STDIN_FILENO : -1, .events = POLLIN},
		{.fd = keys ? -1 : STDOUT_FILENO}, /* errors only */
	};
	const struct timespec timeout = {.tv_sec = usec / 1000000,
					 .tv_nsec = usec % 1000000 * 1000};

	if (is_interrupted())
		return -EINTR;
	if (ppoll(fds, 3, &timeout, &wait_mask) < 0 && errno != EINTR)
		return -errno;
	return is_interrupted() ? -EINTR : fds[2].revents ? -EPIPE : 0;
}
