// SPDX-License-Identifier: Apache-2.0
/* How often records wake their reader, who has taken each before the next one comes. */
#include "lib/program.h"

#include <sys/epoll.h>
#include <time.h>
#include <unistd.h>

#define FLOWS 400

static uint64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000 + (uint64_t)ts.tv_nsec;
}

struct reader {
	int epoll;
	unsigned int wakes;
};

/* The record is still there, or its wake-up would not be told. */
static void on_event(const struct bn_event *event, void *data)
{
	struct reader *r = data;
	struct epoll_event e;

	r->wakes += epoll_wait(r->epoll, &e, 1, 0) == 1;
}

static bool open_flow(struct bn_rig *rig, int family, __u16 port)
{
	struct bn_step syn = {FROM(BN_POD_A), TCP("A", port, "B", 8080, SYN)};
	struct bn_result result;

	bn_step_send(rig, &syn, family, &result);
	return rig->n_events == 1 && rig->events[0].header.type == BN_EVENT_FLOW_OPENED;
}

static const char *count(struct bn_rig *rig, int family, struct reader *r)
{
	const struct timespec quiet = {.tv_nsec = 2 * BN_EVENT_QUIET_NS};
	unsigned int most;
	uint64_t start;

	nanosleep(&quiet, NULL);
	if (!open_flow(rig, family, 999) || r->wakes != 1)
		return "the first record wakes nobody";
	start = now_ns();
	for (__u16 i = 0; i < FLOWS; i++) {
		if (!open_flow(rig, family, (__u16)(1000 + i)))
			return "not one record for a new flow";
	}
	/* one for each stretch of that time, on every CPU that this thread has been on */
	most = (unsigned int)((now_ns() - start) / BN_EVENT_QUIET_NS + 1) * (unsigned int)rig->cpus;
	if (r->wakes > 1 + most)
		return "woken more often than that";
	nanosleep(&quiet, NULL);
	r->wakes = 0;
	if (!open_flow(rig, family, 998) || r->wakes != 1)
		return "the first record after a while wakes nobody";
	return NULL;
}

static const char *seldom(struct bn_rig *rig, int family)
{
	struct reader r = {.epoll = epoll_create1(EPOLL_CLOEXEC)};
	struct epoll_event e = {.events = EPOLLIN | EPOLLET};
	const char *wrong;

	if (r.epoll < 0 || epoll_ctl(r.epoll, EPOLL_CTL_ADD, bn_rig_map(rig, "bn_events"), &e))
		return "no epoll";
	rig->on_event = on_event;
	rig->on_event_data = &r;
	wrong = count(rig, family, &r);
	rig->on_event = NULL;
	close(r.epoll);
	return wrong;
}

static const struct bn_case cases[] = {{"wake-ups", .run = seldom}};

int main(void)
{
	/* none is thrown out for another */
	static const struct bn_rig_options large = {.flow_sets = 4096};

	return bn_program_main("wake", cases, sizeof(cases) / sizeof(cases[0]), &large);
}
