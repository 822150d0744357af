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
	X(DROP_PACKETS, "bpfnet_drop_packets_total", "counter", "Packets dropped or refused by the datapath.") \
	X(DROP_BYTES, "bpfnet_drop_bytes_total", "counter", "Bytes of these packets, from the IP header on.") \
	X(FLOWS_OPENED, "bpfnet_flows_opened_total", "counter", "Flows allowed, counted at their first packet.") \
	X(FLOWS_CLOSED, "bpfnet_flows_closed_total", "counter", "Flows that ended.") \
	X(FLOWS_PROMOTED, "bpfnet_flows_promoted_total", "counter", "Entries that became established.") \
	X(FLOWS_DEMOTED, "bpfnet_flows_demoted_total", "counter", "Entries that the datapath took out of the table of established flows.") \
	X(FLOWS_FULL, "bpfnet_flows_full_total", "counter", "Flows that are established but found no room to be kept so.") \
	X(FLOWS_EVICTED, "bpfnet_flows_evicted_total", "counter", "Live transient entries thrown out of a full set of the flow table.") \
	X(FLOWS_STALE, "bpfnet_flows_stale_total", "counter", "Flows decided anew because policy, routes or backends changed.") \
	X(FLOWS_ENDED, "bpfnet_flows_ended_total", "counter", "Closings of flows that were reported to the agent, by cause.") \
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
	X(HISTORY_OVERWRITTEN, "bpfnet_history_overwritten_total", "counter", "Kept flows that made room for newer ones.") \
	X(READERS, "bpfnet_flow_readers", "gauge", "Readers of flows.") \
	X(READERS_OPENED, "bpfnet_flow_readers_opened_total", "counter", "Readers of flows since the start.") \
	X(READER_SENT, "bpfnet_flow_reader_sent_total", "counter", "Flows that readers took.") \
	X(NAMES, "bpfnet_names", "gauge", "Names known, by kind.") \
	X(MAP_ENTRIES, "bpfnet_map_entries", "gauge", "Entries of a BPF map.") \
	X(MAP_MAX_ENTRIES, "bpfnet_map_max_entries", "gauge", "Entries that a BPF map holds at most.") \
	X(MAP_BYTES, "bpfnet_map_bytes", "gauge", "Memory of a BPF map.") \
	X(AUDITS, "bpfnet_audits_total", "counter", "Comparisons of the maps with what is wanted that came to an end.") \
	X(AUDIT_REPAIRS, "bpfnet_audit_repairs_total", "counter", "Entries that an audit found changed by something else and put right.") \
	X(AGENT_START, "bpfnet_agent_start_time_seconds", "gauge", "When the agent started, in seconds since the epoch.") \
	X(AGENT_CPU, "bpfnet_agent_cpu_seconds_total", "counter", "CPU time of the agent.") \
	X(AGENT_RESIDENT, "bpfnet_agent_resident_memory_bytes", "gauge", "Resident memory of the agent.") \
	X(AGENT_FDS, "bpfnet_agent_open_fds", "gauge", "File descriptors that the agent has open.")

enum bn_metric {
#define BN_X(id, name, type, help) BN_METRIC_##id,
	BN_METRICS(BN_X)
#undef BN_X
	BN_METRIC_MAX,
};

struct bn_metrics;
struct bn_metrics_out;

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
