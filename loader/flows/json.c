// SPDX-License-Identifier: Apache-2.0
/*
 * The flow writer. It runs for every event that some reader wants, so it appends to a buffer and
 * builds no tree; tests read its output back with a JSON library.
 *
 * Invariant: every byte that does not come from this file passes bn_buf_json_string().
 */
#include "flows/json.h"

#include "address.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <time.h>

#define NSEC_PER_SEC 1000000000ull

#define put_lit(b, text) bn_buf_put(b, text, sizeof(text) - 1)

static const char *const drop_labels[BN_DROP_MAX] = {
#define BN_X(number, name, label, text) [number] = label,
	BN_DROP_REASONS(BN_X)
#undef BN_X
};

const char *bn_drop_reason_label(unsigned int reason)
{
	return reason < BN_DROP_MAX && drop_labels[reason] ? drop_labels[reason] : "unknown";
}

const char *bn_close_cause_label(unsigned int cause)
{
	static const char *const labels[] = {
		[BN_CLOSE_FIN] = "fin",         [BN_CLOSE_RST] = "rst",
		[BN_CLOSE_EXPIRED] = "expired", [BN_CLOSE_EVICTED] = "evicted",
		[BN_CLOSE_STALE] = "stale",
	};

	return cause < sizeof(labels) / sizeof(*labels) && labels[cause] ? labels[cause]
									 : "unknown";
}

const char *bn_identity_label(uint32_t identity)
{
	switch (identity) {
	case BN_IDENTITY_UNKNOWN:
		return "unknown";
	case BN_IDENTITY_HOST:
		return "host";
	case BN_IDENTITY_WORLD:
		return "world";
	case BN_IDENTITY_REMOTE_NODE:
		return "remote-node";
	}
	return NULL;
}

static void put_time(struct bn_buf *b, uint64_t time)
{
	time_t sec = (time_t)(time / NSEC_PER_SEC);
	struct tm tm;
	char text[64];
	int len;

	gmtime_r(&sec, &tm); /* cannot fail: 64 bits of nanoseconds end in the year 2554 */
	len = snprintf(text, sizeof(text), "%04d-%02d-%02dT%02d:%02d:%02d.%09uZ", tm.tm_year + 1900,
		       tm.tm_mon + 1, tm.tm_mday, tm.tm_hour, tm.tm_min, tm.tm_sec,
		       (unsigned int)(time % NSEC_PER_SEC));
	bn_buf_put(b, text, (size_t)len);
}

static void put_addr(struct bn_buf *b, const union bn_addr *addr)
{
	char text[BN_ADDR_STRLEN];

	bn_buf_putc(b, '"');
	bn_buf_puts(b, bn_addr_format(addr, text));
	bn_buf_putc(b, '"');
}

/* ,"key":value; readers of JSON stop at 63 bits, which no honest counter reaches. */
static void put_number(struct bn_buf *b, const char *key, uint64_t value)
{
	if (value > INT64_MAX)
		value = INT64_MAX;
	put_lit(b, ",\"");
	bn_buf_puts(b, key);
	put_lit(b, "\":");
	bn_buf_u64(b, value);
}

static void put_string(struct bn_buf *b, const char *key, const char *value)
{
	put_lit(b, ",\"");
	bn_buf_puts(b, key);
	put_lit(b, "\":");
	bn_buf_json_string(b, value);
}

static void put_address_port(struct bn_buf *b, const char *key, const union bn_addr *addr,
			     __be16 port)
{
	put_lit(b, ",\"");
	bn_buf_puts(b, key);
	put_lit(b, "\":{\"ip\":");
	put_addr(b, addr);
	put_number(b, "port", ntohs(port));
	bn_buf_putc(b, '}');
}

static bool has_ports(uint8_t protocol)
{
	return protocol == IPPROTO_TCP || protocol == IPPROTO_UDP || protocol == IPPROTO_SCTP;
}

static void put_ip(struct bn_buf *b, const struct bn_event *e, const union bn_addr *destination,
		   bool translated)
{
	if (e->tuple.family == 0)
		return;
	put_lit(b, ",\"IP\":{\"source\":");
	put_addr(b, &e->tuple.saddr);
	if (translated) {
		put_lit(b, ",\"source_xlated\":");
		put_addr(b, &e->to_saddr);
	}
	put_lit(b, ",\"destination\":");
	put_addr(b, destination);
	if (e->tuple.family == BN_IPV4)
		put_lit(b, ",\"ipVersion\":\"IPv4\"}");
	else
		put_lit(b, ",\"ipVersion\":\"IPv6\"}");
}

static const char *const tcp_flag_names[8] = {"FIN", "SYN", "RST", "PSH",
					      "ACK", "URG", "ECE", "CWR"};

const char *bn_tcp_flag_label(unsigned int bit)
{
	return tcp_flag_names[bit & 7];
}

static void put_tcp_flags(struct bn_buf *b, const char *key, uint8_t flags)
{
	bool first = true;

	put_lit(b, ",\"");
	bn_buf_puts(b, key);
	put_lit(b, "\":{");
	for (unsigned int i = 0; i < 8; i++) {
		if (!(flags & (1u << i)))
			continue;
		if (!first)
			bn_buf_putc(b, ',');
		bn_buf_putc(b, '"');
		bn_buf_put(b, tcp_flag_names[i], 3);
		put_lit(b, "\":true");
		first = false;
	}
	bn_buf_putc(b, '}');
}

static void put_ports(struct bn_buf *b, const char *name, const struct bn_event *e, __be16 dport)
{
	bn_buf_putc(b, '"');
	bn_buf_puts(b, name);
	put_lit(b, "\":{\"source_port\":");
	bn_buf_u64(b, ntohs(e->tuple.sport));
	put_number(b, "destination_port", ntohs(dport));
}

/* The tuple has the identifier in a request's source port and in a reply's destination port. */
static void put_icmp(struct bn_buf *b, const char *name, const struct bn_tuple *t,
		     const char *request, const char *reply)
{
	bn_buf_putc(b, '"');
	bn_buf_puts(b, name);
	put_lit(b, "\":{");
	if (t->sport || t->dport) {
		put_lit(b, "\"type\":");
		bn_buf_puts(b, t->sport ? request : reply);
		put_lit(b, ",\"code\":0");
	}
	bn_buf_putc(b, '}');
}

static void put_l4(struct bn_buf *b, const struct bn_event *e, __be16 dport)
{
	if (e->tuple.family == 0)
		return;
	put_lit(b, ",\"l4\":{");
	switch (e->tuple.protocol) {
	case IPPROTO_TCP:
		put_ports(b, "TCP", e, dport);
		put_tcp_flags(b, "flags",
			      e->header.type == BN_EVENT_FLOW_CLOSED ? 0 : e->tcp_flags);
		bn_buf_putc(b, '}');
		break;
	case IPPROTO_UDP:
		put_ports(b, "UDP", e, dport);
		bn_buf_putc(b, '}');
		break;
	case IPPROTO_SCTP:
		put_ports(b, "SCTP", e, dport);
		bn_buf_putc(b, '}');
		break;
	case IPPROTO_ICMP:
		put_icmp(b, "ICMPv4", &e->tuple, "8", "0");
		break;
	case IPPROTO_ICMPV6:
		put_icmp(b, "ICMPv6", &e->tuple, "128", "129");
		break;
	default:
		put_lit(b, "\"protocol\":");
		bn_buf_u64(b, e->tuple.protocol);
	}
	bn_buf_putc(b, '}');
}

static void put_endpoint(struct bn_buf *b, const char *key, const struct bn_name *name,
			 uint32_t identity)
{
	const char *label = NULL, *reserved;
	bool first = true;

	if (identity == BN_IDENTITY_UNKNOWN && name)
		identity = bn_name_identity(name);
	put_lit(b, ",\"");
	bn_buf_puts(b, key);
	put_lit(b, "\":{\"identity\":");
	bn_buf_u64(b, identity);
	if (name && bn_name_kind(name) == BN_NAME_POD) {
		if (bn_name_namespace(name))
			put_string(b, "namespace", bn_name_namespace(name));
		put_string(b, "pod_name", bn_name_text(name));
	} else if (name && bn_name_kind(name) != BN_NAME_WORLD) {
		put_string(b, "node_name", bn_name_text(name));
	}
	put_lit(b, ",\"labels\":[");
	reserved = bn_identity_label(identity);
	if (reserved && !(name && bn_name_kind(name) == BN_NAME_POD)) {
		put_lit(b, "\"reserved:");
		bn_buf_puts(b, reserved);
		bn_buf_putc(b, '"');
		first = false;
	}
	while (name && (label = bn_name_label_next(name, label))) {
		if (!first)
			bn_buf_putc(b, ',');
		put_lit(b, "\"k8s:");
		bn_buf_json_text(b, label);
		bn_buf_putc(b, '"');
		first = false;
	}
	put_lit(b, "]}");
}

static void put_service(struct bn_buf *b, const char *key, const struct bn_name *service)
{
	put_lit(b, ",\"");
	bn_buf_puts(b, key);
	put_lit(b, "\":{\"name\":");
	bn_buf_json_string(b, bn_name_text(service));
	if (bn_name_namespace(service))
		put_string(b, "namespace", bn_name_namespace(service));
	if (bn_name_port_name(service))
		put_string(b, "port_name", bn_name_port_name(service));
	bn_buf_putc(b, '}');
}

static const char *protocol_name(uint8_t protocol)
{
	switch (protocol) {
	case IPPROTO_TCP:
		return "TCP";
	case IPPROTO_UDP:
		return "UDP";
	case IPPROTO_SCTP:
		return "SCTP";
	case IPPROTO_ICMP:
		return "ICMPv4";
	case IPPROTO_ICMPV6:
		return "ICMPv6";
	}
	return NULL;
}

static void put_summary(struct bn_buf *b, const struct bn_event *e)
{
	const char *protocol = protocol_name(e->tuple.protocol);
	bool first = true;

	put_lit(b, ",\"Summary\":\"");
	if (e->tuple.family == 0) {
		put_lit(b, "no IP packet");
	} else if (protocol) {
		bn_buf_puts(b, protocol);
	} else {
		put_lit(b, "IP protocol ");
		bn_buf_u64(b, e->tuple.protocol);
	}
	if (e->header.type == BN_EVENT_FLOW_CLOSED) {
		put_lit(b, " closed: ");
		bn_buf_puts(b, bn_close_cause_label(e->cause));
		put_lit(b, ", ");
		bn_buf_u64(b, e->packets);
		put_lit(b, " packets out, ");
		bn_buf_u64(b, e->reply_packets);
		put_lit(b, " back");
	} else if (e->tuple.family && e->tuple.protocol == IPPROTO_TCP && e->tcp_flags) {
		put_lit(b, " Flags: ");
		for (unsigned int i = 0; i < 8; i++) {
			if (!(e->tcp_flags & (1u << i)))
				continue;
			if (!first)
				put_lit(b, ", ");
			bn_buf_put(b, tcp_flag_names[i], 3);
			first = false;
		}
	}
	bn_buf_putc(b, '"');
}

static void put_totals(struct bn_buf *b, const struct bn_event *e)
{
	put_number(b, "packets", e->packets);
	put_number(b, "bytes", e->bytes);
	put_number(b, "reply_packets", e->reply_packets);
	put_number(b, "reply_bytes", e->reply_bytes);
	put_number(b, "duration_ms", e->duration);
	if (e->handshake)
		put_number(b, "handshake_us", e->handshake);
	if (e->tuple.protocol == IPPROTO_TCP) {
		put_tcp_flags(b, "tcp_flags", e->tcp_flags);
		put_tcp_flags(b, "reply_tcp_flags", e->reply_tcp_flags);
	}
	put_string(b, "close_cause", bn_close_cause_label(e->cause));
	if (e->closed_by)
		put_string(b, "closed_by",
			   e->closed_by == BN_CLOSED_BY_SOURCE ? "source" : "destination");
}

static void put_nat(struct bn_buf *b, const struct bn_event *e, bool translated)
{
	bool ports = has_ports(e->tuple.protocol);

	if (!bn_flow_decided(e))
		return;
	if (!bn_addr_equal(&e->to_daddr, &e->tuple.daddr) ||
	    (ports && e->to_dport != e->tuple.dport))
		put_address_port(b, "original", &e->tuple.daddr, ports ? e->tuple.dport : 0);
	if (translated)
		put_address_port(b, "translated", &e->to_saddr, ports ? e->to_sport : 0);
}

/* As Hubble names them; the index of what no rule allows is null. */
static void put_rule(struct bn_buf *b, const struct bn_flow_record *record, int direction)
{
	static const char *const keys[BN_POLICY_DIRECTIONS][2] = {
		[BN_POLICY_EGRESS] = {"egress_denied_by", "egress_allowed_by"},
		[BN_POLICY_INGRESS] = {"ingress_denied_by", "ingress_allowed_by"},
	};
	const struct bn_event *e = &record->event;
	uint32_t verdict = direction == BN_POLICY_EGRESS ? e->egress_verdict : e->ingress_verdict;
	const struct bn_name *rule = record->rule[direction];

	if (!rule)
		return;
	put_lit(b, ",\"");
	bn_buf_puts(b, keys[direction][verdict >> 31]);
	put_lit(b, "\":[{\"name\":");
	bn_buf_json_string(b, bn_name_text(rule));
	if (bn_name_namespace(rule)) {
		put_string(b, "namespace", bn_name_namespace(rule));
		put_lit(b, ",\"kind\":\"NetworkPolicy\"");
	} else {
		put_lit(b, ",\"kind\":\"ClusterNetworkPolicy\"");
	}
	put_lit(b, ",\"index\":");
	if (bn_name_rule_index(rule) < 0)
		put_lit(b, "null");
	else
		bn_buf_u64(b, (uint64_t)bn_name_rule_index(rule));
	if (bn_name_rule_text(rule))
		put_string(b, "rule", bn_name_rule_text(rule));
	put_lit(b, "}]");
}

static const char *event_type(const struct bn_event *e)
{
	switch (e->header.type) {
	case BN_EVENT_FLOW_OPENED:
		return "opened";
	case BN_EVENT_FLOW_CLOSED:
		return "closed";
	case BN_EVENT_AUDIT:
		return "audit";
	case BN_EVENT_TRACE:
		return "trace";
	}
	return "drop";
}

static const char *direction(const struct bn_event *e)
{
	switch (e->hook) {
	case BN_HOOK_FROM_POD:
	case BN_HOOK_FROM_HOST:
	case BN_HOOK_TO_UPLINK:
	case BN_HOOK_HOST_EGRESS:
	case BN_HOOK_LOOPBACK:
		return "EGRESS";
	case BN_HOOK_TO_POD:
	case BN_HOOK_FROM_UPLINK:
	case BN_HOOK_XDP:
		return "INGRESS";
	}
	return "TRAFFIC_DIRECTION_UNKNOWN";
}

void bn_flow_json(struct bn_buf *b, const struct bn_flow_record *record, const char *node_name)
{
	const struct bn_event *e = &record->event;
	__be16 dport;
	const union bn_addr *destination = bn_flow_destination(e, &dport);
	int reply = bn_flow_is_reply(e);
	bool translated = bn_flow_decided(e) &&
			  (!bn_addr_equal(&e->to_saddr, &e->tuple.saddr) ||
			   (has_ports(e->tuple.protocol) && e->to_sport != e->tuple.sport));

	put_lit(b, "{\"time\":\"");
	put_time(b, record->time);
	if (bn_flow_is_dropped(e)) {
		put_lit(b, "\",\"verdict\":\"DROPPED\"");
		put_number(b, "drop_reason", e->reason);
		put_string(b, "drop_reason_desc", bn_drop_reason_label(e->reason));
	} else if (bn_flow_is_audited(e)) {
		put_lit(b, "\",\"verdict\":\"AUDIT\"");
		put_number(b, "drop_reason", e->reason);
		put_string(b, "drop_reason_desc", bn_drop_reason_label(e->reason));
	} else {
		put_lit(b, "\",\"verdict\":\"FORWARDED\"");
	}
	put_string(b, "event_type", event_type(e));
	put_ip(b, e, destination, translated);
	put_l4(b, e, dport);
	put_endpoint(b, "source", record->source, e->src_identity);
	put_endpoint(b, "destination", record->destination, e->dst_identity);
	if (record->service)
		put_service(b, reply == 1 ? "source_service" : "destination_service",
			    record->service);
	put_string(b, "traffic_direction", direction(e));
	if (reply == 0)
		put_lit(b, ",\"is_reply\":false");
	else if (reply == 1)
		put_lit(b, ",\"is_reply\":true");
	put_string(b, "node_name", node_name);
	if (e->ifindex) {
		put_lit(b, ",\"interface\":{\"index\":");
		bn_buf_u64(b, e->ifindex);
		bn_buf_putc(b, '}');
	}
	put_nat(b, e, translated);
	put_rule(b, record, BN_POLICY_EGRESS);
	put_rule(b, record, BN_POLICY_INGRESS);
	if (e->header.type == BN_EVENT_FLOW_CLOSED)
		put_totals(b, e);
	put_summary(b, e);
	bn_buf_putc(b, '}');
}

void bn_flow_json_lost(struct bn_buf *b, enum bn_lost_source source, uint64_t count, uint64_t time,
		       const char *node_name)
{
	static const char *const sources[BN_LOST_MAX] = {
		[BN_LOST_DATAPATH] = "PERF_EVENT_RING_BUFFER",
		[BN_LOST_READER] = "HUBBLE_RING_BUFFER",
	};

	put_lit(b, "{\"lost_events\":{\"source\":\"");
	bn_buf_puts(b, sources[source]);
	put_lit(b, "\",\"num_events_lost\":\"");
	bn_buf_u64(b, count);
	put_lit(b, "\"},\"time\":\"");
	put_time(b, time);
	bn_buf_putc(b, '"');
	put_string(b, "node_name", node_name);
	bn_buf_putc(b, '}');
}
