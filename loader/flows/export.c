// SPDX-License-Identifier: Apache-2.0
/*
 *   event loop --- queue (copy under the lock) ---> thread --- file
 *              <-- eventfd: there is room, the problem is another --
 *
 * Invariants:
 *  - The lock is never held across a system call that a disk answers.
 *  - The thread owns `work` and the file; everything else of `struct writer` is under the lock.
 *  - A thread that the disk doesn't let go of is left behind with its struct writer, which nobody
 *    else touches from then on.
 */
#include "flows/export.h"

#include "flows/buffer.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#define RETRY_SEC 1
#define LEAVE_SEC 2

struct writer {
	pthread_mutex_t lock;
	pthread_cond_t wake;
	struct bn_buf queue;
	bool idle;    /* the thread waits for lines */
	bool waiting; /* the event loop waits for room */
	bool stop;
	struct bn_export_stats stats;
	int notify_fd;
	struct bn_buf work;
	struct bn_export_file *file;
};

struct bn_export {
	struct bn_subscription *sub;
	sd_event_source *notified;
	struct writer *w;
	pthread_t thread;
	bool running;
	enum bn_export_problem told;
	void (*changed)(void *user);
	void *user;
};

/* ---- the thread ---- */

static void notify(const struct writer *w)
{
	/* what can fail is a counter that is full, which wakes as well */
	(void)!write(w->notify_fd, &(uint64_t){1}, sizeof(uint64_t));
}

static uint64_t count_lines(const char *data, size_t len)
{
	uint64_t n = 0;

	for (const char *p = data, *end = data + len; p < end; n++)
		p = (const char *)memchr(p, '\n', (size_t)(end - p)) + 1;
	return n;
}

/* Waits for lines, with the lock; false: to stop. */
static bool next_lines(struct writer *w)
{
	struct bn_buf empty;

	while (w->queue.len == 0 && !w->stop) {
		w->idle = true;
		pthread_cond_wait(&w->wake, &w->lock);
	}
	w->idle = false;
	if (w->queue.len == 0)
		return false;
	empty = w->work;
	w->work = w->queue;
	w->queue = empty;
	bn_buf_reset(&w->queue);
	if (w->waiting)
		notify(w);
	return true;
}

static void wait_to_retry(struct writer *w)
{
	struct timespec at;

	clock_gettime(CLOCK_MONOTONIC, &at);
	at.tv_sec += RETRY_SEC;
	while (!w->stop && pthread_cond_timedwait(&w->wake, &w->lock, &at) == 0)
		;
}

static void *write_lines(void *user)
{
	struct writer *w = user;
	size_t done = 0;

	pthread_mutex_lock(&w->lock);
	for (;;) {
		enum bn_export_problem problem, before = w->stats.problem;
		size_t taken;
		int error;

		pthread_mutex_unlock(&w->lock);
		problem = bn_export_file_write(w->file, w->work.data + done, w->work.len - done,
					       &taken, &error);
		pthread_mutex_lock(&w->lock);
		w->stats.lines += count_lines(w->work.data + done, taken);
		w->stats.bytes += taken;
		w->stats.rotations = bn_export_file_rotations(w->file);
		w->stats.problem = problem;
		w->stats.error = error;
		done += taken;
		if (problem != before)
			notify(w);
		if (problem == BN_EXPORT_NONE) {
			bn_buf_reset(&w->work);
			done = 0;
			if (!next_lines(w))
				break;
			continue;
		}
		w->stats.failures[problem]++;
		if (w->stop)
			break;
		wait_to_retry(w);
	}
	pthread_mutex_unlock(&w->lock);
	return NULL;
}

/* ---- the event loop ---- */

static int send_line(void *user, const char *line, size_t len)
{
	struct bn_export *e = user;
	struct writer *w = e->w;
	int r = 0;

	pthread_mutex_lock(&w->lock);
	if (len >= BN_EXPORT_LINE_MAX) {
		w->stats.lost++;
	} else if (w->queue.len + len + 1 > BN_EXPORT_QUEUE) {
		w->waiting = true;
		r = -EAGAIN;
	} else {
		bn_buf_put(&w->queue, line, len + 1);
		if (w->idle)
			pthread_cond_signal(&w->wake);
	}
	pthread_mutex_unlock(&w->lock);
	return r;
}

static int on_notified(sd_event_source *source, int fd, uint32_t revents, void *user)
{
	struct bn_export *e = user;
	struct writer *w = e->w;
	enum bn_export_problem problem;
	uint64_t count;
	bool resume;

	(void)!read(fd, &count, sizeof(count));
	pthread_mutex_lock(&w->lock);
	resume = w->waiting && w->queue.len < BN_EXPORT_QUEUE / 2;
	if (resume)
		w->waiting = false;
	problem = w->stats.problem;
	pthread_mutex_unlock(&w->lock);
	if (resume)
		bn_subscription_resume(e->sub);
	if (problem != e->told) {
		e->told = problem;
		e->changed(e->user);
	}
	return 0;
}

void bn_export_stats(const struct bn_export *e, struct bn_export_stats *ret)
{
	struct bn_reader_totals totals;

	pthread_mutex_lock(&e->w->lock);
	*ret = e->w->stats;
	pthread_mutex_unlock(&e->w->lock);
	bn_subscription_totals(e->sub, &totals);
	for (unsigned int source = 0; source < BN_LOST_MAX; source++)
		ret->lost += totals.lost[source];
}

/* ---- life ---- */

static void writer_free(struct writer *w)
{
	if (!w)
		return;
	bn_export_file_free(w->file);
	if (w->notify_fd >= 0)
		close(w->notify_fd);
	bn_buf_done(&w->queue);
	bn_buf_done(&w->work);
	pthread_cond_destroy(&w->wake);
	pthread_mutex_destroy(&w->lock);
	free(w);
}

static int writer_new(const struct bn_export_config *config, struct writer **ret)
{
	struct writer *w = calloc(1, sizeof(*w));
	pthread_condattr_t attr;
	int r;

	if (!w)
		return -ENOMEM;
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_mutex_init(&w->lock, NULL);
	pthread_cond_init(&w->wake, &attr);
	pthread_condattr_destroy(&attr);
	w->notify_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	r = w->notify_fd < 0 ? -errno : 0;
	/* so that no line fails for want of memory later */
	if (r == 0 && (!bn_buf_reserve(&w->queue, BN_EXPORT_QUEUE) ||
		       !bn_buf_reserve(&w->work, BN_EXPORT_QUEUE)))
		r = -ENOMEM;
	if (r == 0)
		r = bn_export_file_new(config->path, config->max_bytes, config->backups, &w->file);
	if (r < 0) {
		writer_free(w);
		return r;
	}
	*ret = w;
	return 0;
}

/* Signals are the event loop's; and SIGXFSZ, blocked, is an error of write() like any other. */
static int start_thread(struct bn_export *e)
{
	sigset_t all, before;
	int r;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	r = pthread_create(&e->thread, NULL, write_lines, e->w);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	e->running = r == 0;
	return -r;
}

int bn_export_new(sd_event *loop, struct bn_observer *observer,
		  const struct bn_export_config *config, struct bn_flow_filter **filter,
		  struct bn_export **ret)
{
	struct bn_flow_query query = {.follow = true, .filter = *filter};
	struct bn_export *e = calloc(1, sizeof(*e));
	int r;

	if (!e)
		return -ENOMEM;
	e->changed = config->changed;
	e->user = config->user;
	r = writer_new(config, &e->w);
	if (r == 0)
		r = sd_event_add_io(loop, &e->notified, e->w->notify_fd, EPOLLIN, on_notified, e);
	if (r >= 0) {
		(void)sd_event_source_set_description(e->notified, "flow export");
		r = start_thread(e);
	}
	if (r >= 0)
		r = bn_observer_subscribe(observer, &query, send_line, NULL, e, &e->sub);
	if (r < 0) {
		bn_export_free(e);
		return r;
	}
	*filter = NULL;
	*ret = e;
	return 0;
}

/* False: it is still in a system call. */
static bool stop_thread(struct bn_export *e)
{
	struct timespec until;

	if (!e->running)
		return true;
	pthread_mutex_lock(&e->w->lock);
	e->w->stop = true;
	pthread_cond_signal(&e->w->wake);
	pthread_mutex_unlock(&e->w->lock);
	clock_gettime(CLOCK_REALTIME, &until);
	until.tv_sec += LEAVE_SEC;
	if (pthread_timedjoin_np(e->thread, NULL, &until) == 0)
		return true;
	pthread_detach(e->thread);
	return false;
}

void bn_export_free(struct bn_export *e)
{
	if (!e)
		return;
	bn_subscription_free(e->sub);
	sd_event_source_disable_unref(e->notified);
	if (stop_thread(e))
		writer_free(e->w);
	free(e);
}
