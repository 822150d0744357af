// SPDX-License-Identifier: Apache-2.0
/*
 * Flows whose lifetime is over are removed once a minute, and only while there are any: an agent
 * without flows sleeps. The timer is armed by flows that open, which the agent hears of; where it
 * is told of none (flow events are off) the timer never ends.
 */
#include "agent/agent.h"
#include "datapath/flow-table.h"
#include "log.h"

#include <string.h>

#define SWEEP_USEC (60ull * 1000000)

static int on_sweep(sd_event_source *source, uint64_t usec, void *user)
{
	struct bn_agent *a = user;
	uint64_t opened = bn_observer_opened(a->observer);
	bool quiet = a->config->flow_events && opened == a->opened_swept;
	uint64_t live = 0;
	int r;

	r = bn_flows_sweep(&a->programs, &live);
	if (r)
		bn_logf(BN_LOG_WARNING, "can't look for idle flows: %s, ignoring", strerror(-r));
	a->opened_swept = opened;
	if (!r && !live && quiet) {
		sd_event_source_set_enabled(source, SD_EVENT_OFF);
		return 0;
	}
	sd_event_source_set_time(source, usec + SWEEP_USEC);
	sd_event_source_set_enabled(source, SD_EVENT_ONESHOT);
	return 0;
}

static int on_activity(sd_event_source *source, void *user)
{
	struct bn_agent *a = user;
	int enabled = SD_EVENT_OFF;
	uint64_t now;

	if (bn_observer_opened(a->observer) == a->opened_swept ||
	    sd_event_source_get_enabled(a->sweep, &enabled) < 0 || enabled != SD_EVENT_OFF)
		return 0;
	if (sd_event_now(a->event, CLOCK_MONOTONIC, &now) < 0)
		return 0;
	sd_event_source_set_time(a->sweep, now + SWEEP_USEC);
	sd_event_source_set_enabled(a->sweep, SD_EVENT_ONESHOT);
	return 0;
}

int bn_agent_sweep_start(struct bn_agent *a)
{
	uint64_t now;
	int r;

	r = sd_event_now(a->event, CLOCK_MONOTONIC, &now);
	if (r < 0)
		return r;
	r = sd_event_add_time(a->event, &a->sweep, CLOCK_MONOTONIC, now + SWEEP_USEC, 1000000,
			      on_sweep, a);
	if (r < 0)
		return r;
	/* runs after whatever woke the loop; it never wakes it */
	return sd_event_add_post(a->event, NULL, on_activity, a);
}
