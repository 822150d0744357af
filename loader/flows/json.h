/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A flow as one line of JSON, with the field names of Hubble's flow where it has them.
 *
 *   time               RFC 3339, nanoseconds, UTC
 *   verdict            FORWARDED, DROPPED, AUDIT
 *   drop_reason, drop_reason_desc
 *                      number and label of the drop reason (maps/bpfnet/drop_reasons.h)
 *   event_type         opened, closed, drop, audit (of a flow that goes on although policy denies it
 *                      by now); of a trace (trace/json.h): trace
 *   IP                 source, destination, ipVersion (IPv4, IPv6); left out where a packet was
 *                      dropped before its IP header could be read
 *   l4                 TCP {source_port, destination_port, flags {SYN: true, ...}}, UDP and SCTP
 *                      {source_port, destination_port}, ICMPv4 and ICMPv6 {type, code} of an echo;
 *                      anything else {protocol: number}
 *   source, destination
 *                      identity, namespace, pod_name, labels ("k8s:key=value", or one of
 *                      "reserved:host", "reserved:world", "reserved:remote-node",
 *                      "reserved:unknown"); a node has node_name in place of namespace and pod
 *   destination_service, source_service
 *                      namespace, name, port_name; the latter on a reply
 *   traffic_direction  EGRESS out of a pod of this node or out of the node itself, INGRESS into one or from outside
 *   is_reply           left out where a packet was dropped without a known flow
 *   node_name, interface {index}, Summary
 *   original           ip, port: the destination that the sender addressed, where it is not the
 *                      one that the packet went to (the service's frontend)
 *   translated         ip, port: the source that the receiver sees, where it is not the sender's
 *                      (IP.source_xlated is the same address, as Hubble has it)
 *   packets, bytes, reply_packets, reply_bytes, duration_ms, handshake_us, tcp_flags,
 *   reply_tcp_flags, close_cause, closed_by
 *                      of closed flows; handshake_us where a handshake was seen, at most 16777215;
 *                      tcp_flags are those that any packet of the direction has had (l4's own are
 *                      empty here); close_cause is fin, rst, expired, evicted or stale; closed_by is
 *                      the end, source or destination, whose FIN or RST began it, left out without
 *                      one
 *
 * What users of `hubble observe` expect of a flow to a service holds here: source is the client,
 * IP.destination, the port and destination are the backend chosen, destination_service the
 * service. A connection refused for want of a backend has the frontend in IP.destination.
 */
#pragma once

#include "flows/buffer.h"
#include "flows/history.h"

/* Appends the object without a newline. */
void bn_flow_json(struct bn_buf *buf, const struct bn_flow_record *record, const char *node_name);

/* Where records were lost, by the names that Hubble has for it. */
enum bn_lost_source {
	BN_LOST_DATAPATH, /* PERF_EVENT_RING_BUFFER: the ring buffer was full */
	BN_LOST_READER,   /* HUBBLE_RING_BUFFER: overwritten before a slow reader came to them */
	BN_LOST_MAX,
};
/*
 * Appends {"lost_events":{"source":...,"num_events_lost":"N"},"time":...,"node_name":...}: N
 * records are missing at this place. `time` is CLOCK_REALTIME, ns.
 */
void bn_flow_json_lost(struct bn_buf *buf, enum bn_lost_source source, uint64_t count,
		       uint64_t time, const char *node_name);

/* The label of a drop reason; "unknown" out of range. */
const char *bn_drop_reason_label(unsigned int reason);
/* The cause of a flow's end; "unknown" out of range. */
const char *bn_close_cause_label(unsigned int cause);
/* "FIN" to "CWR", by bit of the TCP header, 0 to 7. */
const char *bn_tcp_flag_label(unsigned int bit);
/* "host", "world", "remote-node" or "unknown" for reserved identities, NULL for others. */
const char *bn_identity_label(uint32_t identity);
