/* SPDX-License-Identifier: Apache-2.0 */
/* Where the metrics of bpfnetd come from. Everything given must outlive the metrics. */
#pragma once

#include "flows/observer.h"
#include "metrics/series.h"

#include <stdbool.h>

/* The datapath's counters, summed over CPUs by the accessors of maps/. 0 or -errno. */
struct bn_metrics_datapath {
	int (*counters)(void *user, __u64 ret[BN_CNT_MAX]);
	int (*drops)(void *user, struct bn_drop_counter ret[BN_DROP_MAX]);
	int (*flows)(void *user, struct bn_flow_sums *ret);
	void *user;
	uint32_t nat_ports;      /* of the range that translated flows take theirs from */
	uint64_t packets, bytes; /* as they were told last */
};

/* Events by cause and by service, seen as they come: the observer's sink. */
struct bn_metrics_flows {
	uint64_t ended[BN_CLOSE_STALE + 1]; /* by enum bn_close_cause */
	struct bn_series_set connections, handshakes;
	struct bn_observer *observer;
	struct bn_names *names;
};

int bn_metrics_add_datapath(struct bn_metrics *metrics, struct bn_metrics_datapath *datapath);
/*
 * Takes the observer's sink. `flows` is zeroed but for its two pointers; `series` is how many
 * services, and backends, are told apart.
 */
int bn_metrics_add_flows(struct bn_metrics *metrics, struct bn_metrics_flows *flows, size_t series);
void bn_metrics_flows_done(struct bn_metrics_flows *flows);
/* The version, and what the process itself uses. */
int bn_metrics_add_agent(struct bn_metrics *metrics);

/* One map, from within a source; `fills`: it has entries that come and go. */
void bn_metric_map(struct bn_metrics_out *out, const char *map, bool fills, uint64_t entries,
		   uint64_t max_entries, uint64_t bytes);

/* services.c: of one flow, and the samples. */
int bn_metrics_services_init(struct bn_metrics_flows *flows, size_t series);
void bn_metrics_services_count(struct bn_metrics_flows *flows, const struct bn_flow_record *record);
void bn_metrics_services_collect(struct bn_metrics_out *out, struct bn_metrics_flows *flows);
