/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * Every reason for which the datapath drops or refuses a packet: the one table that feeds the
 * enum, the CLI's text, the metric label and the manual. Numbers are part of the ABI: append
 * only, never renumber (tests/unit holds them in place).
 *
 *   X(number, NAME, "label", "what it means, and what to do")
 *
 * `label` is what `bpfnet flows --drop-reason` takes and what metrics carry.
 */
#pragma once

#define BN_DROP_REASONS(X) \
	X(1, MALFORMED_HEADER, "malformed-header", "a header is truncated, overlaps another or contradicts the packet's length; look at the sender") \
	X(2, UNSUPPORTED_ETHERTYPE, "unsupported-ethertype", "neither IPv4, IPv6 nor ARP (VLAN tags included); pods speak plain IP") \
	X(3, UNKNOWN_ENDPOINT, "unknown-endpoint", "the interface is not that of a known endpoint; add it with 'bpfnet endpoint add'") \
	X(4, SPOOFED_SOURCE, "spoofed-source", "the source address is not the sender's own") \
	X(5, SPOOFED_MAC, "spoofed-mac", "the source MAC address is not the one the endpoint was given") \
	X(6, SOURCE_ROUTED, "source-routed", "an IPv4 source-route option or an IPv6 routing header; nobody needs those") \
	X(7, EXTENSION_HEADERS, "extension-headers", "more IPv6 extension headers than the datapath follows") \
	X(8, FRAGMENT_OVERLAP, "fragment-overlap", "a fragment that could overwrite the transport header, or a first fragment without one") \
	X(9, FRAGMENT_UNKNOWN, "fragment-unknown", "a later fragment whose first one has not been seen (out of order or lost)") \
	X(10, MULTICAST, "multicast", "multicast and broadcast don't leave a pod") \
	X(11, LINK_LOCAL, "link-local", "link-local destinations other than the gateway don't exist for a pod") \
	X(12, NEIGHBOUR, "neighbour", "an ARP or neighbour-discovery message that a pod has no business sending") \
	X(13, SERVICE_NO_BACKEND, "service-no-backend", "the service has no ready backend; look at 'bpfnet svc get' and the pods' readiness") \
	X(14, SERVICE_UNKNOWN, "service-unknown", "an address or port of the service range that no service owns") \
	X(15, POLICY_EGRESS, "policy-egress", "the sender's egress policy does not allow it") \
	X(16, POLICY_INGRESS, "policy-ingress", "the receiver's ingress policy does not allow it") \
	X(17, ICMP_UNRELATED, "icmp-unrelated", "an ICMP error that quotes no known flow") \
	X(18, ICMP_UNSOLICITED, "icmp-unsolicited", "an echo reply that nobody asked for") \
	X(19, TTL_EXCEEDED, "ttl-exceeded", "TTL or hop limit reached zero; the sender was told") \
	X(20, PACKET_TOO_BIG, "packet-too-big", "larger than the next hop's MTU and not to be fragmented; the sender was told") \
	X(21, NAT_PORTS_EXHAUSTED, "nat-ports-exhausted", "no free source port towards this destination; widen the range") \
	X(22, FLOW_TABLE_FULL, "flow-table-full", "the flow could not be recorded; raise maps.flows") \
	X(23, WRONG_DESTINATION, "wrong-destination", "not addressed to the endpoint it was delivered to") \
	X(24, MAPPED_ADDRESS, "mapped-address", "an IPv6 packet with an IPv4-mapped address") \
	X(25, UPLINK_SPOOF, "uplink-spoof", "arrived from outside with the address of a local pod, of this node or of a service") \
	X(26, CHECKSUM_UPDATE, "checksum-update", "the packet could not be rewritten; report this") \
	X(27, REDIRECT_STALE, "redirect-stale", "the next hop went away while the packet was under way") \
	X(28, NO_ROUTE, "no-route", "no route to the destination on this node") \
	X(29, INTERNAL, "internal", "a map of the datapath could not be read; report this") \
	X(30, NAT_LOOP, "nat-loop", "the translation would send the packet back to where it came from") \
	X(31, MARTIAN_SOURCE, "martian-source", "arrived from outside with a source that nobody can have: multicast, broadcast, loopback, unspecified or link-local") \
	X(32, SOURCE_RANGE, "source-range", "the service's loadBalancerSourceRanges do not list the sender") \
	X(33, NOT_LOCAL, "not-local", "forwarded from another device to the node's own way to services, which only the node itself takes") \
	X(34, DSR_FRONTEND, "dsr-frontend", "direct server return was asked for from an address and port at which no service has this pod as a backend; nodes must know each other by Node objects and have the same services") \
	X(35, DSR_CONFLICT, "dsr-conflict", "the client has a connection between the same ports to the same backend by another address of the service; direct server return can't tell them apart")

enum bn_drop_reason {
	BN_DROP_NONE = 0,
#define BN_X(number, name, label, text) BN_DROP_##name = number,
	BN_DROP_REASONS(BN_X)
#undef BN_X
	BN_DROP_MAX = 36, /* one past the last */
};
