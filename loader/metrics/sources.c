// SPDX-License-Identifier: Apache-2.0
/*
 * The sources of bpfnetd's metrics: the datapath's own counters, which stay exact when events are
 * lost; what became of the events; and the process. A counter that cannot be read is left out,
 * because a 0 would be a lie.
 */
#include "metrics/sources.h"

#include "flows/json.h"

#include <dirent.h>
#include <stdio.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

static const struct {
	enum bn_counter counter;
	enum bn_metric metric;
} counters[] = {
	{BN_CNT_FLOWS_OPENED, BN_METRIC_FLOWS_OPENED},
	{BN_CNT_FLOWS_CLOSED, BN_METRIC_FLOWS_CLOSED},
	{BN_CNT_FLOWS_PROMOTED, BN_METRIC_FLOWS_PROMOTED},
	{BN_CNT_FLOWS_DEMOTED, BN_METRIC_FLOWS_DEMOTED},
	{BN_CNT_FLOWS_FULL, BN_METRIC_FLOWS_FULL},
	{BN_CNT_FLOWS_EVICTED, BN_METRIC_FLOWS_EVICTED},
	{BN_CNT_FORWARDED_PACKETS, BN_METRIC_SLOW_PATH_PACKETS},
	{BN_CNT_DECISIONS, BN_METRIC_DECISIONS},
	{BN_CNT_STALE, BN_METRIC_FLOWS_STALE},
	{BN_CNT_ICMP_TRANSLATED, BN_METRIC_ICMP_TRANSLATED},
	{BN_CNT_REJECTS, BN_METRIC_REJECTS},
};

static void collect_drops(struct bn_metrics_out *out, const struct bn_metrics_datapath *d)
{
	static const char *const directions[BN_DROPPED_WAYS] = {
		[BN_DROPPED_EGRESS] = "egress", [BN_DROPPED_INGRESS] = "ingress"};
	struct bn_drop_counter drops[BN_DROP_MAX] = {0};

	if (d->drops(d->user, drops) < 0)
		return;
	for (unsigned int i = BN_DROP_NONE + 1; i < BN_DROP_MAX; i++) {
		const char *reason = bn_drop_reason_label(i);

		for (unsigned int way = 0; way < BN_DROPPED_WAYS; way++) {
			bn_metric_u64(out, BN_METRIC_DROP_PACKETS, drops[i].of[way].packets,
				      "reason", reason, "direction", directions[way], NULL);
			bn_metric_u64(out, BN_METRIC_DROP_BYTES, drops[i].of[way].bytes, "reason",
				      reason, "direction", directions[way], NULL);
		}
		bn_metric_u64(out, BN_METRIC_EVENTS_SUPPRESSED, drops[i].suppressed, "reason",
			      reason, NULL);
		bn_metric_u64(out, BN_METRIC_DROP_EVENTS_LOST, drops[i].lost, "reason", reason,
			      NULL);
	}
}

/* A flow that closes between the two readings is in neither of them for once. */
static uint64_t at_least(uint64_t *told, uint64_t now)
{
	if (now > *told)
		*told = now;
	return *told;
}

static void collect_datapath(struct bn_metrics_out *out, void *user)
{
	struct bn_metrics_datapath *d = user;
	__u64 values[BN_CNT_MAX] = {0};
	struct bn_flow_sums sums = {0};

	collect_drops(out, d);
	if (d->counters(d->user, values) < 0)
		return;
	for (size_t i = 0; i < sizeof(counters) / sizeof(*counters); i++)
		bn_metric_u64(out, counters[i].metric, values[counters[i].counter], NULL);
	bn_metric_u64(out, BN_METRIC_EVENTS_LOST, values[BN_CNT_EVENTS_LOST], "stage",
		      "ring-buffer", NULL);
	bn_metric_u64(out, BN_METRIC_FLOW_EVENTS_LOST, values[BN_CNT_LOST_OPENED], "type", "opened",
		      NULL);
	bn_metric_u64(out, BN_METRIC_FLOW_EVENTS_LOST, values[BN_CNT_LOST_CLOSED], "type", "closed",
		      NULL);
	bn_metric_u64(out, BN_METRIC_FLOW_EVENTS_LOST, values[BN_CNT_LOST_AUDITED], "type", "audit",
		      NULL);
	if (d->flows(d->user, &sums) < 0)
		return;
	bn_metric_u64(out, BN_METRIC_PACKETS,
		      at_least(&d->packets, values[BN_CNT_CLOSED_PACKETS] + sums.packets), NULL);
	bn_metric_u64(out, BN_METRIC_BYTES,
		      at_least(&d->bytes, values[BN_CNT_CLOSED_BYTES] + sums.bytes), NULL);
	bn_metric_u64(out, BN_METRIC_FLOWS, sums.established, "state", "established", NULL);
	bn_metric_u64(out, BN_METRIC_FLOWS, sums.transient, "state", "transient", NULL);
	bn_metric_u64(out, BN_METRIC_FLOWS, sums.refused, "state", "refused", NULL);
	bn_metric_u64(out, BN_METRIC_NAT_FLOWS, sums.dnat, "nat", "dnat", NULL);
	bn_metric_u64(out, BN_METRIC_NAT_FLOWS, sums.snat, "nat", "snat", NULL);
	bn_metric_u64(out, BN_METRIC_NAT_FLOWS, sums.both, "nat", "dnat,snat", NULL);
	bn_metric_u64(out, BN_METRIC_NAT_PORTS, d->nat_ports, NULL);
}

int bn_metrics_add_datapath(struct bn_metrics *m, struct bn_metrics_datapath *datapath)
{
	return bn_metrics_register(m, collect_datapath, datapath);
}

static void count_flow(void *user, const struct bn_flow_record *record)
{
	struct bn_metrics_flows *f = user;

	if (record->event.header.type == BN_EVENT_FLOW_CLOSED)
		f->ended[record->event.cause]++;
	bn_metrics_services_count(f, record);
}

static void collect_flows(struct bn_metrics_out *out, void *user)
{
	struct bn_metrics_flows *f = user;
	struct bn_observer_stats s;
	struct bn_names_stats n;

	bn_observer_stats(f->observer, &s);
	bn_names_stats(f->names, &n);
	for (unsigned int i = BN_CLOSE_FIN; i <= BN_CLOSE_STALE; i++)
		bn_metric_u64(out, BN_METRIC_FLOWS_ENDED, f->ended[i], "cause",
			      bn_close_cause_label(i), NULL);
	bn_metric_u64(out, BN_METRIC_EVENTS_RECEIVED, s.received, NULL);
	bn_metric_u64(out, BN_METRIC_EVENTS_MALFORMED, s.malformed, NULL);
	bn_metric_u64(out, BN_METRIC_EVENTS_LOST, s.reader_lost, "stage", "readers", NULL);
	bn_metric_u64(out, BN_METRIC_EVENTS_INJECTED, s.injected, NULL);
	bn_metric_u64(out, BN_METRIC_FLOW_EVENTS, s.opened, "type", "opened", NULL);
	bn_metric_u64(out, BN_METRIC_FLOW_EVENTS, s.closed, "type", "closed", NULL);
	bn_metric_u64(out, BN_METRIC_FLOW_EVENTS, s.dropped, "type", "drop", NULL);
	bn_metric_u64(out, BN_METRIC_FLOW_EVENTS, s.audited, "type", "audit", NULL);
	bn_metric_u64(out, BN_METRIC_HISTORY_FLOWS, s.kept, NULL);
	bn_metric_u64(out, BN_METRIC_HISTORY_MAX_FLOWS, s.max_kept, NULL);
	bn_metric_u64(out, BN_METRIC_HISTORY_RESTORED, s.restored, NULL);
	bn_metric_u64(out, BN_METRIC_HISTORY_OVERWRITTEN, s.overwritten, NULL);
	bn_metric_u64(out, BN_METRIC_READERS, s.readers, NULL);
	bn_metric_u64(out, BN_METRIC_READERS_OPENED, s.readers_total, NULL);
	bn_metric_u64(out, BN_METRIC_READER_SENT, s.reader_sent, NULL);
	bn_metric_u64(out, BN_METRIC_NAMES, n.addresses, "kind", "address", NULL);
	bn_metric_u64(out, BN_METRIC_NAMES, n.services, "kind", "frontend", NULL);
	bn_metric_u64(out, BN_METRIC_NAMES, n.removed, "kind", "removed", NULL);
	bn_metrics_services_collect(out, f);
}

void bn_metrics_flows_done(struct bn_metrics_flows *flows)
{
	bn_series_done(&flows->connections);
	bn_series_done(&flows->handshakes);
}

int bn_metrics_add_flows(struct bn_metrics *m, struct bn_metrics_flows *flows, size_t series)
{
	int r = bn_metrics_services_init(flows, series);

	if (r < 0)
		return r;
	bn_observer_set_sink(flows->observer, count_flow, flows);
	return bn_metrics_register(m, collect_flows, flows);
}

/* Field 22 of /proc/self/stat is in clock ticks since boot; 0 where it can't be told. */
static double start_time(void)
{
	FILE *f = fopen("/proc/self/stat", "re");
	struct timespec real, boot;
	unsigned long long ticks = 0;
	long hz = sysconf(_SC_CLK_TCK);
	int n = 0;

	if (!f)
		return 0;
	/* the second field is the program's name, in parentheses; ours has none inside */
	n = fscanf(f,
		   "%*d (%*[^)]) %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %*u %*u %*d %*d %*d "
		   "%*d %*d %*d %llu",
		   &ticks);
	(void)fclose(f);
	if (n != 1 || hz <= 0)
		return 0;
	clock_gettime(CLOCK_REALTIME, &real);
	clock_gettime(CLOCK_BOOTTIME, &boot);
	return (double)(real.tv_sec - boot.tv_sec) + (double)(real.tv_nsec - boot.tv_nsec) / 1e9 +
	       (double)ticks / (double)hz;
}

static uint64_t resident_bytes(void)
{
	FILE *f = fopen("/proc/self/statm", "re");
	unsigned long long pages = 0;
	int n;

	if (!f)
		return 0;
	n = fscanf(f, "%*u %llu", &pages);
	(void)fclose(f);
	return n == 1 ? pages * (uint64_t)sysconf(_SC_PAGESIZE) : 0;
}

static uint64_t open_fds(void)
{
	DIR *d = opendir("/proc/self/fd");
	uint64_t n = 0;
	const struct dirent *e;

	if (!d)
		return 0;
	while ((e = readdir(d)))
		n += e->d_name[0] != '.';
	(void)closedir(d);
	return n - 1; /* the one that reads the folder */
}

static void collect_agent(struct bn_metrics_out *out, void *user)
{
	struct rusage usage;
	struct rlimit limit;
	uint64_t n;
	double start = start_time();

	bn_metric_u64(out, BN_METRIC_BUILD_INFO, 1, "version", BN_VERSION, NULL);
	if (start > 0)
		bn_metric_f64(out, BN_METRIC_PROCESS_START, start, NULL);
	if (getrusage(RUSAGE_SELF, &usage) == 0)
		bn_metric_f64(out, BN_METRIC_PROCESS_CPU,
			      (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
				      (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) /
					      1e6,
			      NULL);
	n = resident_bytes();
	if (n)
		bn_metric_u64(out, BN_METRIC_PROCESS_RESIDENT, n, NULL);
	n = open_fds();
	if (n)
		bn_metric_u64(out, BN_METRIC_PROCESS_FDS, n, NULL);
	if (getrlimit(RLIMIT_NOFILE, &limit) == 0)
		bn_metric_u64(out, BN_METRIC_PROCESS_MAX_FDS, limit.rlim_cur, NULL);
}

int bn_metrics_add_agent(struct bn_metrics *m)
{
	return bn_metrics_register(m, collect_agent, NULL);
}

void bn_metric_map(struct bn_metrics_out *out, const char *map, bool fills, uint64_t entries,
		   uint64_t max_entries, uint64_t bytes)
{
	bn_metric_u64(out, BN_METRIC_MAP_BYTES, bytes, "map", map, NULL);
	if (!fills)
		return;
	bn_metric_u64(out, BN_METRIC_MAP_ENTRIES, entries, "map", map, NULL);
	bn_metric_u64(out, BN_METRIC_MAP_MAX_ENTRIES, max_entries, "map", map, NULL);
}
