/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Metrics: one table of name, type and help, and a writer of Prometheus' text format. Whoever has
 * numbers registers a source; it is asked each time the text is wanted, so nothing is counted
 * twice and an agent that nobody asks does nothing.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

/* X(NAME, "name", "type", "help") */
#define BN_METRICS(X) \
	X(BUILD_INFO, "bpfnet_build_info", "gauge", "Version of the agent; always 1.") \
	X(DROP_PACKETS, "bpfnet_drop_packets_total", "counter", "Packets dropped or refused by the datapath; egress: of a pod or the node itself, ingress: towards a pod or from outside.") \
	X(DROP_BYTES, "bpfnet_drop_bytes_total", "counter", "Bytes of these packets, from the IP header on.") \
	X(FLOWS_OPENED, "bpfnet_flows_opened_total", "counter", "Flows allowed, counted at their first packet.") \
	X(FLOWS_CLOSED, "bpfnet_flows_closed_total", "counter", "Flows that ended.") \
	X(FLOWS_PROMOTED, "bpfnet_flows_promoted_total", "counter", "Entries that became established.") \
	X(FLOWS_DEMOTED, "bpfnet_flows_demoted_total", "counter", "Entries that the datapath took out of the table of established flows.") \
	X(FLOWS_FULL, "bpfnet_flows_full_total", "counter", "Flows that are established but found no room to be kept so.") \
	X(FLOWS_EVICTED, "bpfnet_flows_evicted_total", "counter", "Live transient entries thrown out of a full set of the flow table.") \
	X(FLOWS_STALE, "bpfnet_flows_stale_total", "counter", "Flows decided anew because policy, routes or backends changed.") \
	X(FLOWS_ENDED, "bpfnet_flows_ended_total", "counter", "Closings of flows that were reported to the agent, by cause.") \
	X(FLOWS, "bpfnet_flows", "gauge", "Flows in the flow table; refused: what is remembered as refused.") \
	X(PACKETS, "bpfnet_packets_total", "counter", "Packets of flows, both directions.") \
	X(BYTES, "bpfnet_bytes_total", "counter", "Bytes of these packets, from the IP header on.") \
	X(NAT_FLOWS, "bpfnet_nat_flows", "gauge", "Flows whose addresses are translated, by what is.") \
	X(NAT_PORTS, "bpfnet_nat_ports", "gauge", "Source ports that translated flows may take towards one destination.") \
	X(SERVICE_CONNECTIONS, "bpfnet_service_connections_total", "counter", "Flows opened to a service, by the backend that was chosen.") \
	X(SERVICE_HANDSHAKE, "bpfnet_service_handshake_seconds", "histogram", "From the SYN to the end of the handshake, of connections to a service that have ended; known to a jiffy of the kernel, 1 to 10 ms.") \
	X(POLICY_VERDICTS, "bpfnet_policy_verdicts_total", "counter", "Flows that a policy allowed, and that it denied: by its rules or, where it is a NetworkPolicy, because none does.") \
	X(DECISIONS, "bpfnet_decisions_total", "counter", "First packets decided in full.") \
	X(SLOW_PATH_PACKETS, "bpfnet_slow_path_packets_total", "counter", "Packets that took the slow path and went on.") \
	X(ICMP_TRANSLATED, "bpfnet_icmp_translated_total", "counter", "ICMP errors translated through NAT.") \
	X(REJECTS, "bpfnet_rejects_total", "counter", "Resets and ICMP unreachables answered to refused packets.") \
	X(EVENTS_RECEIVED, "bpfnet_events_received_total", "counter", "Records that the agent took from the ring buffer.") \
	X(EVENTS_MALFORMED, "bpfnet_events_malformed_total", "counter", "Records skipped because they were out of range.") \
	X(EVENTS_LOST, "bpfnet_events_lost_total", "counter", "Records lost, by stage: in the ring buffer that was full, or by readers that were too slow.") \
	X(FLOW_EVENTS_LOST, "bpfnet_flow_events_lost_total", "counter", "Records of flows that found the ring buffer full, by type.") \
	X(DROP_EVENTS_LOST, "bpfnet_drop_events_lost_total", "counter", "Records of drops that found the ring buffer full, by reason.") \
	X(EVENTS_SUPPRESSED, "bpfnet_events_suppressed_total", "counter", "Drops without a record: over the rate limit, or chatter that never has one.") \
	X(EVENTS_INJECTED, "bpfnet_events_injected_total", "counter", "Events that the agent made itself.") \
	X(FLOW_EVENTS, "bpfnet_flow_events_total", "counter", "Events kept as flows, by type.") \
	X(HISTORY_FLOWS, "bpfnet_history_flows", "gauge", "Flows kept for readers.") \
	X(HISTORY_MAX_FLOWS, "bpfnet_history_max_flows", "gauge", "Flows kept at most.") \
	X(HISTORY_RESTORED, "bpfnet_history_restored_flows", "gauge", "Flows of before the agent's start that it found again.") \
	X(HISTORY_OVERWRITTEN, "bpfnet_history_overwritten_total", "counter", "Kept flows that made room for newer ones.") \
	X(READERS, "bpfnet_flow_readers", "gauge", "Readers of flows.") \
	X(READERS_OPENED, "bpfnet_flow_readers_opened_total", "counter", "Readers of flows since the start.") \
	X(READER_SENT, "bpfnet_flow_reader_sent_total", "counter", "Flows that readers took.") \
	X(EXPORT_LINES, "bpfnet_flow_export_lines_total", "counter", "Lines written to the file that flows are exported to.") \
	X(EXPORT_BYTES, "bpfnet_flow_export_bytes_total", "counter", "Bytes of these lines.") \
	X(EXPORT_LOST, "bpfnet_flow_export_lost_total", "counter", "Records missing in the file, each told there by a line.") \
	X(EXPORT_ROTATIONS, "bpfnet_flow_export_rotations_total", "counter", "Files that were full and made room for the next.") \
	X(EXPORT_FAILURES, "bpfnet_flow_export_failures_total", "counter", "Attempts to write to the file that failed, one a second, by reason.") \
	X(NAMES, "bpfnet_names", "gauge", "Names known, by kind.") \
	X(MAP_ENTRIES, "bpfnet_map_entries", "gauge", "Entries of a BPF map.") \
	X(MAP_MAX_ENTRIES, "bpfnet_map_max_entries", "gauge", "Entries that a BPF map holds at most.") \
	X(MAP_BYTES, "bpfnet_map_bytes", "gauge", "Memory of a BPF map.") \
	X(AUDITS, "bpfnet_audits_total", "counter", "Comparisons of the maps with what is wanted that came to an end.") \
	X(AUDIT_REPAIRS, "bpfnet_audit_repairs_total", "counter", "Entries that an audit found changed by something else and put right.") \
	X(AUDIT_FAILED, "bpfnet_audit_unrepaired_entries", "gauge", "Entries that the last audit could not put right.") \
	X(AUDIT_LAST, "bpfnet_audit_last_run_timestamp_seconds", "gauge", "When the last audit ended, in seconds since the epoch.") \
	X(APPLY, "bpfnet_apply_duration_seconds", "histogram", "From a change of manifests that was taken in to the datapath enforcing it.") \
	X(APPLY_REFUSED, "bpfnet_apply_refused_total", "counter", "Changes of manifests that were refused.") \
	X(OTHER, "bpfnet_metrics_other_total", "counter", "Observations of a metric that went to its series `other`, for want of room (metrics.series).") \
	X(PROCESS_START, "process_start_time_seconds", "gauge", "When the agent started, in seconds since the epoch.") \
	X(PROCESS_CPU, "process_cpu_seconds_total", "counter", "CPU time of the agent.") \
	X(PROCESS_RESIDENT, "process_resident_memory_bytes", "gauge", "Resident memory of the agent.") \
	X(PROCESS_FDS, "process_open_fds", "gauge", "File descriptors that the agent has open.") \
	X(PROCESS_MAX_FDS, "process_max_fds", "gauge", "File descriptors that the agent may have open.")

enum bn_metric {
#define BN_X(id, name, type, help) BN_METRIC_##id,
	BN_METRICS(BN_X)
#undef BN_X
	BN_METRIC_MAX,
};

struct bn_metrics;
struct bn_metrics_out;

/* Seconds: from what a loaded local link takes to where TCP sends its SYN again and again. */
#define BN_HISTOGRAM_BOUNDS \
	{50e-6, 100e-6, 250e-6, 500e-6, 1e-3, 2.5e-3, 5e-3, 10e-3, 25e-3, 50e-3, \
	 100e-3, 250e-3, 500e-3, 1, 2.5, 5, 10}
#define BN_HISTOGRAM_BUCKETS 18 /* with the one above the last bound */

struct bn_histogram {
	uint64_t bucket[BN_HISTOGRAM_BUCKETS]; /* each by itself, not those below it */
	double sum;
};

void bn_histogram_add(struct bn_histogram *histogram, double seconds);

typedef void (*bn_metrics_fn)(struct bn_metrics_out *out, void *user);

int bn_metrics_new(struct bn_metrics **ret);
void bn_metrics_free(struct bn_metrics *metrics);
/* `user` must stay valid until bn_metrics_free(). */
int bn_metrics_register(struct bn_metrics *metrics, bn_metrics_fn collect, void *user);
/* The whole text, NUL-terminated; to be freed by the caller. */
int bn_metrics_text(struct bn_metrics *metrics, char **ret, size_t *ret_len);

/*
 * One sample, from within a source. Labels follow as pairs of const char *name, const char *value,
 * ended by NULL; values may hold anything.
 */
void bn_metric_u64(struct bn_metrics_out *out, enum bn_metric id, uint64_t value, ...)
	__attribute__((sentinel));
void bn_metric_f64(struct bn_metrics_out *out, enum bn_metric id, double value, ...)
	__attribute__((sentinel));
/* As many samples as it takes. */
void bn_metric_histogram(struct bn_metrics_out *out, enum bn_metric id,
			 const struct bn_histogram *histogram, ...) __attribute__((sentinel));
