/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Metrics over HTTP: GET /metrics, in the agent's loop. The text is made at most once a second,
 * however many ask, and is one however many are sent it.
 */
#pragma once

#include "address.h"
#include "metrics/metrics.h"

#include <systemd/sd-event.h>

struct bn_metrics_listen;

/*
 * Listens, or tries again every few seconds while it can't: the datapath does not wait for who
 * watches it. All that is given must outlive it.
 */
int bn_metrics_listen_new(sd_event *event, struct bn_metrics *metrics, const struct bn_listen *at,
			  struct bn_metrics_listen **ret);
void bn_metrics_listen_free(struct bn_metrics_listen *listen);
/* Why nobody is served, -errno; 0: they are. NULL: nobody is to be. */
int bn_metrics_listen_error(const struct bn_metrics_listen *listen);
