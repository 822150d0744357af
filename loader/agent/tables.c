// SPDX-License-Identifier: Apache-2.0
/*
 * `ct list` and `nat list`: a snapshot of the flow tables, written as fast as the reader takes it.
 * Each flow is one line: its origin direction, with the reply's counters beside it where that was
 * found. Of direct server return the backend's node translates the reply alone, which is the line of
 * `nat list` there.
 */
#include "agent/agent.h"

#include "address.h"
#include "datapath/flow-table.h"

#include <arpa/inet.h>
#include <bpf/bpf.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>

struct row {
	struct bn_tuple key;
	struct bn_flow flow;
	int64_t expires_ms;
};

/* What comes back, under the tuple of the reply as it arrives. */
struct reply {
	struct bn_tuple key;
	uint64_t packets, bytes;
	bool direct;
};

struct listing {
	struct bn_agent *agent;
	struct row *rows;
	size_t n, cap, at;
	struct reply *replies; /* sorted when all are there */
	size_t n_replies, cap_replies;
	bool nat;
};

static int by_key(const void *a, const void *b)
{
	return memcmp(a, b, sizeof(struct bn_tuple));
}

static int collect_reply(struct listing *l, const struct bn_tuple *key, const struct bn_flow *flow)
{
	if (l->n_replies == l->cap_replies) {
		size_t cap = l->cap_replies ? l->cap_replies * 2 : 1024;
		struct reply *p = reallocarray(l->replies, cap, sizeof(*p));

		if (!p)
			return -ENOMEM;
		l->replies = p;
		l->cap_replies = cap;
	}
	l->replies[l->n_replies++] =
		(struct reply){*key, flow->packets, flow->bytes, bn_flow_is_direct(&flow->hot)};
	return 0;
}

/*
 * The reply's entry is under the reverse of the tuple that the packet leaves with. From a reply that is
 * direct its origin would not be found so (bpfnet/flow.h), but nobody looks.
 */
static const struct reply *reply_of(const struct listing *l, const struct row *r)
{
	const struct bn_tuple key = {
		.saddr = r->flow.to_daddr,
		.daddr = r->flow.to_saddr,
		.sport = r->flow.to_dport,
		.dport = r->flow.to_sport,
		.protocol = r->key.protocol,
		.family = r->key.family,
	};

	return bsearch(&key, l->replies, l->n_replies, sizeof(*l->replies), by_key);
}

static int collect(void *user, const struct bn_tuple *key, const struct bn_flow *flow,
		   int64_t expires_ms, bool established)
{
	struct listing *l = user;

	if (flow->action == BN_ACT_DROP || (l->nat && !(flow->flags & BN_FLOW_NAT)))
		return 0;
	if (!(flow->flags & BN_FLOW_ORIGIN)) {
		if (!l->nat)
			return collect_reply(l, key, flow);
		if (!bn_flow_is_direct(&flow->hot))
			return 0;
	}
	if (l->n == l->cap) {
		size_t cap = l->cap ? l->cap * 2 : 1024;
		struct row *p = reallocarray(l->rows, cap, sizeof(*p));

		if (!p)
			return -ENOMEM;
		l->rows = p;
		l->cap = cap;
	}
	l->rows[l->n++] = (struct row){*key, *flow, expires_ms};
	return 0;
}

static const char *protocol_text(uint8_t protocol, char buf[16])
{
	switch (protocol) {
	case IPPROTO_TCP:
		return "tcp";
	case IPPROTO_UDP:
		return "udp";
	case IPPROTO_SCTP:
		return "sctp";
	case IPPROTO_ICMP:
		return "icmp";
	case IPPROTO_ICMPV6:
		return "icmpv6";
	}
	snprintf(buf, 16, "%u", protocol);
	return buf;
}

static const char *state_text(const struct row *r)
{
	uint8_t s = r->flow.state;

	if (r->key.protocol == IPPROTO_TCP) {
		if (s & (BN_FS_RST | BN_FS_PEER_RST) ||
		    (s & (BN_FS_FIN | BN_FS_PEER_FIN)) == (BN_FS_FIN | BN_FS_PEER_FIN))
			return "closed";
		if (s & BN_FS_CLOSING)
			return "closing";
		/* the answers, which would establish it, go past this node */
		if (bn_flow_is_direct(&r->flow.hot) && r->flow.flags & BN_FLOW_ORIGIN)
			return "one-sided";
		return s & BN_FS_ESTABLISHED ? "established" : "half-open";
	}
	return s & BN_FS_ESTABLISHED ? "established" : "transient";
}

static const char *nat_text(const struct bn_flow *f)
{
	if (!(f->flags & BN_FLOW_NAT))
		return "";
	if (f->flags & BN_FLOW_HAIRPIN)
		return "dnat,snat";
	if (f->flags & BN_FLOW_MASQ)
		return f->flags & BN_FLOW_SERVICE ? "dnat,snat" : "snat";
	return f->flags & BN_FLOW_ORIGIN ? "dnat" : "snat";
}

static json_t *service_json(const struct listing *l, uint32_t id)
{
	struct bn_name *name = id ? bn_names_service_id_get(l->agent->names, id, UINT64_MAX) : NULL;
	json_t *text = name ? json_sprintf("%s/%s", bn_name_namespace(name), bn_name_text(name))
			    : json_null();

	bn_name_unref(name);
	return text;
}

static void add_reply(const struct listing *l, const struct row *r, json_t *o)
{
	const struct reply *reply = reply_of(l, r);
	bool direct = bn_flow_is_direct(&r->flow.hot) || (reply && reply->direct);

	json_object_update_new(o, json_pack("{s:I, s:I, s:o}", "reply_packets",
					    (json_int_t)(reply ? reply->packets : 0), "reply_bytes",
					    (json_int_t)(reply ? reply->bytes : 0), "service",
					    service_json(l, bn_flow_service(&r->flow.hot))));
	json_object_set_new(o, "direct", json_boolean(direct));
}

static json_t *to_json(const struct listing *l, const struct row *r)
{
	char from[BN_ADDR_STRLEN], to[BN_ADDR_STRLEN], nfrom[BN_ADDR_STRLEN], nto[BN_ADDR_STRLEN];
	char proto[16];
	json_t *o;

	o = json_pack("{s:s, s:s, s:i, s:s, s:i}", "protocol",
		      protocol_text(r->key.protocol, proto), "source",
		      bn_addr_format(&r->key.saddr, from), "source_port", ntohs(r->key.sport),
		      "destination", bn_addr_format(&r->key.daddr, to), "destination_port",
		      ntohs(r->key.dport));
	if (l->nat || r->flow.flags & BN_FLOW_NAT)
		json_object_update_new(
			o, json_pack("{s:s, s:i, s:s, s:i}", "to_source",
				     bn_addr_format(&r->flow.to_saddr, nfrom), "to_source_port",
				     ntohs(r->flow.to_sport), "to_destination",
				     bn_addr_format(&r->flow.to_daddr, nto), "to_destination_port",
				     ntohs(r->flow.to_dport)));
	json_object_update_new(o,
			       json_pack("{s:s, s:s, s:I, s:I, s:I}", "state", state_text(r), "nat",
					 nat_text(&r->flow), "packets", (json_int_t)r->flow.packets,
					 "bytes", (json_int_t)r->flow.bytes, "expires_s",
					 (json_int_t)(r->expires_ms / 1000)));
	if (!l->nat)
		add_reply(l, r, o);
	return o;
}

static void listing_free(struct listing *l)
{
	free(l->rows);
	free(l->replies);
	free(l);
}

static void on_closed(void *user)
{
	listing_free(user);
}

static void on_room(struct bn_stream *s, void *user)
{
	struct listing *l = user;

	while (l->at < l->n && bn_stream_room(s) > 1024) {
		json_t *o = to_json(l, &l->rows[l->at++]);
		char *line = o ? json_dumps(o, JSON_COMPACT) : NULL;

		if (line)
			bn_stream_send(s, line, strlen(line));
		free(line);
		json_decref(o);
	}
	if (l->at == l->n) {
		bn_stream_end(s, json_pack("{s:I}", "sent", (json_int_t)l->n));
		listing_free(l);
	}
}

static int list(struct bn_request *r, struct bn_agent *a, bool nat)
{
	struct listing *l = calloc(1, sizeof(*l));
	struct bn_stream *s;
	int ret;

	if (!l)
		return -ENOMEM;
	l->agent = a;
	l->nat = nat;
	ret = bn_flows_each(&a->programs, collect, l);
	if (ret) {
		listing_free(l);
		return ret;
	}
	if (l->n_replies)
		qsort(l->replies, l->n_replies, sizeof(*l->replies), by_key);
	s = bn_reply_stream(r, on_closed, l);
	if (!s) {
		listing_free(l);
		return 0;
	}
	bn_stream_on_room(s, on_room);
	return 0;
}

int bn_agent_method_ct_list(struct bn_request *r, void *user)
{
	return list(r, user, false);
}

int bn_agent_method_nat_list(struct bn_request *r, void *user)
{
	return list(r, user, true);
}
