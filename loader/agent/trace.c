// SPDX-License-Identifier: Apache-2.0
/*
 * `policy trace`: makes the first packet of the flow that is asked about, has the datapath decide it
 * without effect (datapath/dry-run.h) and says what it decided and why.
 */
#include "agent/trace.h"

#include "agent/agent.h"
#include "flows/json.h"

#include <arpa/inet.h>
#include <bpfnet/control.h>
#include <errno.h>
#include <net/ethernet.h>
#include <netinet/icmp6.h>
#include <netinet/ip.h>
#include <netinet/ip6.h>
#include <netinet/ip_icmp.h>
#include <netinet/tcp.h>
#include <netinet/udp.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define CANNOT "can't trace: "

/* One end of the flow. */
struct end {
	const char *text;
	char *namespace;
	const char *pod; /* in `namespace`'s memory; NULL: an address */
	const union bn_addr *ips;
	size_t n_ips;
	union bn_addr ip; /* as given, or the pod's of the flow's family */
};

struct question {
	struct end from, to;
	struct bn_trace flow;
};

/* ---- the packet ---- */

struct packet {
	uint8_t data[128];
	size_t len, l4;
	uint32_t pseudo; /* sum of the pseudo header */
};

static uint32_t sum_of(const void *data, size_t len, uint32_t sum)
{
	const uint8_t *p = data;

	for (size_t i = 0; i + 1 < len; i += 2)
		sum += (uint32_t)(p[i] << 8 | p[i + 1]);
	return len % 2 ? sum + (uint32_t)(p[len - 1] << 8) : sum;
}

static uint16_t folded(uint32_t sum)
{
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return htons((uint16_t)~sum);
}

static void put(struct packet *p, const void *data, size_t len)
{
	memcpy(p->data + p->len, data, len);
	p->len += len;
}

static void put_ip(struct packet *p, const struct bn_trace *q, size_t payload)
{
	const union bn_addr *saddr = &q->from, *daddr = &q->to;

	if (bn_addr_is_v4(daddr)) {
		struct iphdr ip = {
			.version = 4,
			.ihl = 5,
			.tot_len = htons((uint16_t)(sizeof(ip) + payload)),
			.frag_off = htons(IP_DF),
			.ttl = 64,
			.protocol = q->protocol,
			.saddr = saddr->w[3],
			.daddr = daddr->w[3],
		};

		p->pseudo = sum_of(&ip.saddr, 8, 0);
		ip.check = folded(sum_of(&ip, sizeof(ip), 0));
		put(p, &ip, sizeof(ip));
	} else {
		struct ip6_hdr ip = {
			.ip6_flow = htonl(6u << 28),
			.ip6_plen = htons((uint16_t)payload),
			.ip6_nxt = q->protocol,
			.ip6_hlim = 64,
		};

		memcpy(&ip.ip6_src, saddr, sizeof(ip.ip6_src));
		memcpy(&ip.ip6_dst, daddr, sizeof(ip.ip6_dst));
		p->pseudo = sum_of(&ip.ip6_src, 32, 0);
		put(p, &ip, sizeof(ip));
	}
	p->pseudo += (uint32_t)payload + q->protocol;
	p->l4 = p->len;
}

static uint16_t transport_sum(const void *header, size_t len, uint32_t pseudo)
{
	return folded(sum_of(header, len, pseudo));
}

/* The packet that opens the flow, from a port that systems choose for clients. */
static void build(struct packet *p, const struct bn_trace *q, const uint8_t mac[6])
{
	struct ether_header eth = {
		.ether_dhost = {0x02, 0, 0, 0, 0, 1},
		.ether_type = htons(bn_addr_is_v4(&q->to) ? ETHERTYPE_IP : ETHERTYPE_IPV6),
	};
	const uint16_t sport = htons((uint16_t)(49152 + random() % 16384));

	memset(p, 0, sizeof(*p));
	memcpy(eth.ether_shost, mac, sizeof(eth.ether_shost));
	put(p, &eth, sizeof(eth));
	switch (q->protocol) {
	case IPPROTO_TCP: {
		struct tcphdr tcp = {.source = sport,
				     .dest = htons(q->port),
				     .doff = 5,
				     .syn = 1,
				     .window = htons(64240)};

		put_ip(p, q, sizeof(tcp));
		tcp.check = transport_sum(&tcp, sizeof(tcp), p->pseudo);
		put(p, &tcp, sizeof(tcp));
		break;
	}
	case IPPROTO_UDP: {
		struct udphdr udp = {
			.source = sport, .dest = htons(q->port), .len = htons(sizeof(udp))};

		put_ip(p, q, sizeof(udp));
		udp.check = transport_sum(&udp, sizeof(udp), p->pseudo);
		put(p, &udp, sizeof(udp));
		break;
	}
	case IPPROTO_SCTP: {
		/* an INIT chunk; its CRC32c is the receiver's to judge */
		struct {
			uint16_t source, dest;
			uint32_t tag, checksum;
			uint8_t type, flags;
			uint16_t length;
			uint32_t init_tag, window;
			uint16_t out, in;
			uint32_t tsn;
		} sctp = {
			.source = sport,
			.dest = htons(q->port),
			.type = 1,
			.length = htons(20),
			.init_tag = 1,
			.window = htonl(65536),
			.out = htons(1),
			.in = htons(1),
			.tsn = 1,
		};

		put_ip(p, q, sizeof(sctp));
		put(p, &sctp, sizeof(sctp));
		break;
	}
	case IPPROTO_ICMP: {
		struct icmphdr icmp = {.type = ICMP_ECHO, .un.echo.id = sport};

		put_ip(p, q, sizeof(icmp));
		icmp.checksum = transport_sum(&icmp, sizeof(icmp), 0);
		put(p, &icmp, sizeof(icmp));
		break;
	}
	default: {
		struct icmp6_hdr icmp = {.icmp6_type = ICMP6_ECHO_REQUEST, .icmp6_id = sport};

		put_ip(p, q, sizeof(icmp));
		icmp.icmp6_cksum = transport_sum(&icmp, sizeof(icmp), p->pseudo);
		put(p, &icmp, sizeof(icmp));
	}
	}
}

/* ---- the question ---- */

static int read_end(struct bn_agent *a, json_t *params, const char *key, struct end *ret,
		    struct bn_error *err)
{
	const char *slash;

	ret->text = json_string_value(json_object_get(params, key));
	if (!ret->text)
		return bn_error_set(err, -EINVAL, CANNOT "params.%s must be given", key);
	if (bn_addr_parse(ret->text, &ret->ip, NULL) == 0) {
		ret->ips = &ret->ip;
		ret->n_ips = 1;
		return 0;
	}
	slash = strchr(ret->text, '/');
	if (!slash || slash == ret->text || !slash[1] || strchr(slash + 1, '/'))
		return bn_error_set(err, -EINVAL,
				    CANNOT "'%s' is neither NS/POD nor an IPv4 or IPv6 address",
				    ret->text);
	ret->namespace = strdup(ret->text);
	if (!ret->namespace)
		return -ENOMEM;
	ret->namespace[slash - ret->text] = 0;
	ret->pod = ret->namespace + (slash - ret->text) + 1;
	if (bn_policy_pod(a->policy, ret->namespace, ret->pod, &ret->ips, &ret->n_ips))
		return bn_error_set(err, -ENOENT, CANNOT "there is no pod %s", ret->text);
	if (!ret->n_ips)
		return bn_error_set(err, -ENOENT, CANNOT "the pod %s has no address", ret->text);
	return 0;
}

static const union bn_addr *of_family(const struct end *end, int family)
{
	for (size_t i = 0; i < end->n_ips; i++) {
		if (bn_addr_family(&end->ips[i]) == family)
			return &end->ips[i];
	}
	return NULL;
}

/* A family that both ends have, IPv4 first. */
static int choose_family(struct question *q, struct bn_error *err)
{
	static const int families[] = {BN_IPV4, BN_IPV6};

	for (size_t i = 0; i < 2; i++) {
		const union bn_addr *from = of_family(&q->from, families[i]);
		const union bn_addr *to = of_family(&q->to, families[i]);

		if (!from || !to)
			continue;
		q->flow.from = *from;
		q->flow.to = *to;
		q->flow.from_text = q->from.text;
		q->flow.to_text = q->to.text;
		return 0;
	}
	return bn_error_set(err, -EINVAL, CANNOT "%s and %s have no address of the same family",
			    q->from.text, q->to.text);
}

int bn_trace_read_flow(json_t *params, bool needs_port, struct bn_trace *ret, struct bn_error *err)
{
	static const struct {
		const char *name;
		uint8_t number;
	} protocols[] = {{"tcp", IPPROTO_TCP},
			 {"udp", IPPROTO_UDP},
			 {"sctp", IPPROTO_SCTP},
			 {"icmp", IPPROTO_ICMP}};
	const char *protocol = json_string_value(json_object_get(params, "protocol"));
	const json_t *port = json_object_get(params, "port");

	for (size_t i = 0; i < sizeof(protocols) / sizeof(*protocols); i++) {
		if (!strcasecmp(protocol ? protocol : "tcp", protocols[i].name))
			ret->protocol = protocols[i].number;
	}
	if (!ret->protocol)
		return bn_error_set(err, -EINVAL,
				    CANNOT "the protocol '%s' is none of tcp, udp, sctp and icmp",
				    protocol);
	if ((port || needs_port) && ret->protocol != IPPROTO_ICMP &&
	    (!json_is_integer(port) || json_integer_value(port) < 1 ||
	     json_integer_value(port) > 65535))
		return bn_error_set(err, -EINVAL,
				    CANNOT "params.port must be a number from 1 to 65535");
	ret->port = (uint16_t)json_integer_value(port);
	return 0;
}

static int read_question(struct bn_agent *a, json_t *params, struct question *q,
			 struct bn_error *err)
{
	int r = bn_trace_read_flow(params, true, &q->flow, err);

	if (!r)
		r = read_end(a, params, "from", &q->from, err);
	if (!r)
		r = read_end(a, params, "to", &q->to, err);
	return r ? r : choose_family(q, err);
}

/* ---- where it would enter ---- */

/* The endpoint here that has the address; false: none. */
static bool endpoint_of(struct bn_agent *a, const union bn_addr *addr, struct bn_endpoint_info *ret)
{
	struct bn_owner owner;

	return bn_objects_address_owner(a->objects, addr, &owner) == 0 &&
	       owner.kind == BN_OWNER_POD &&
	       bn_endpoints_find(a->endpoints, owner.namespace, owner.name, ret) == 0 &&
	       ret->ifindex;
}

static bool is_nodes(struct bn_agent *a, const union bn_addr *addr)
{
	struct bn_name *name = bn_names_get(a->names, addr, UINT64_MAX);
	bool host = name && bn_name_kind(name) == BN_NAME_HOST;

	bn_name_unref(name);
	return host;
}

static int place(struct bn_agent *a, const struct bn_trace *q, struct bn_dry_question *ret,
		 uint8_t mac[6], struct bn_error *err)
{
	struct bn_endpoint_info from, to;
	bool here = endpoint_of(a, &q->to, &to);

	if (endpoint_of(a, &q->from, &from)) {
		memcpy(mac, from.mac, 6);
		ret->program = BN_PROGRAM_FROM_POD;
		ret->ifindex = (uint32_t)from.ifindex;
		return 0;
	}
	if (is_nodes(a, &q->from)) {
		if (!here && (!a->guarded || !a->n_uplinks || is_nodes(a, &q->to)))
			return bn_error_set(err, -EOPNOTSUPP,
					    CANNOT "what the node itself sends to %s is no pod's, "
						   "and no policy selects the node",
					    q->to_text);
		ret->program = here ? BN_PROGRAM_TO_POD : BN_PROGRAM_TO_UPLINK;
		ret->ifindex = (uint32_t)(here ? to.ifindex : a->uplinks[0].ifindex);
		return 0;
	}
	if (!a->n_uplinks)
		return bn_error_set(err, -EOPNOTSUPP,
				    CANNOT "%s is not on this node, and no device leads out of it",
				    q->from_text);
	ret->program = BN_PROGRAM_FROM_UPLINK;
	ret->ifindex = (uint32_t)a->uplinks[0].ifindex;
	return 0;
}

/* ---- the answer ---- */

json_t *bn_trace_rules(struct bn_agent *a, const struct bn_event *e)
{
	const uint32_t verdicts[BN_POLICY_DIRECTIONS] = {
		[BN_POLICY_EGRESS] = e->egress_verdict,
		[BN_POLICY_INGRESS] = e->ingress_verdict,
	};
	json_t *list = json_array();

	for (int d = 0; d < BN_POLICY_DIRECTIONS; d++) {
		struct bn_policy_rule_name name;
		json_t *rule;

		if (!(verdicts[d] & BN_VERDICT_RULE) ||
		    bn_policy_rule_name(a->policy, verdicts[d], &name))
			continue;
		rule = json_pack("{sssssosb}", "policy", name.policy, "direction",
				 d == BN_POLICY_EGRESS ? "egress" : "ingress", "index",
				 name.index < 0 ? json_null() : json_integer(name.index), "allow",
				 (int)(verdicts[d] >> 31));
		if (name.rule)
			json_object_set_new(rule, "rule", json_string(name.rule));
		json_array_append_new(list, rule);
	}
	return list;
}

static json_t *address_json(const union bn_addr *addr, uint16_t port)
{
	char text[BN_ADDR_STRLEN];

	bn_addr_format(addr, text);
	return port ? json_sprintf(bn_addr_is_v4(addr) ? "%s:%u" : "[%s]:%u", text, port)
		    : json_string(text);
}

static json_t *service_json(struct bn_agent *a, const struct bn_event *e)
{
	struct bn_name *name =
		e->service ? bn_names_service_id_get(a->names, e->service, UINT64_MAX) : NULL;
	json_t *text = name ? json_sprintf("%s/%s", bn_name_namespace(name), bn_name_text(name))
			    : json_null();

	bn_name_unref(name);
	return text;
}

static json_t *answer_json(struct bn_agent *a, const struct bn_trace *q,
			   const struct bn_dry_answer *answer)
{
	const struct bn_event *e = &answer->event;
	bool dropped = e->header.type == BN_EVENT_DROP;
	json_t *reason = e->reason ? json_string(bn_drop_reason_label(e->reason)) : json_null();
	json_t *backend = e->flags & BN_FLOW_BACKEND
				  ? address_json(&e->to_daddr, ntohs(e->to_dport))
				  : json_null();
	const char *verdict = dropped ? "DROPPED" : bn_flow_is_audited(e) ? "AUDIT" : "FORWARDED";

	return json_pack("{sssososososIsIsoso}", "verdict", verdict, "drop_reason", reason, "rules",
			 bn_trace_rules(a, e), "service", service_json(a, e), "backend", backend,
			 "source_identity",
			 (json_int_t)(e->src_identity ? e->src_identity
						      : bn_policy_world(a->policy, &q->from)),
			 "destination_identity",
			 (json_int_t)(e->dst_identity ? e->dst_identity
						      : bn_policy_world(a->policy, &e->to_daddr)),
			 "source", address_json(&q->from, 0), "destination",
			 address_json(&q->to, q->port));
}

int bn_agent_trace(struct bn_agent *a, const struct bn_trace *flow, struct bn_dry_answer *ret,
		   struct bn_error *err)
{
	struct bn_dry_question dry = {0};
	uint8_t mac[6] = {0x02, 0, 0, 0, 0, 2};
	struct bn_trace q = *flow;
	struct packet packet;
	int r;

	if (q.protocol == IPPROTO_ICMP && !bn_addr_is_v4(&q.to))
		q.protocol = IPPROTO_ICMPV6;
	if (!a->dry_run) {
		r = bn_dry_run_new(&a->programs, &a->dry_run, err);
		if (r)
			return r;
	}
	r = place(a, &q, &dry, mac, err);
	if (r)
		return r;
	build(&packet, &q, mac);
	dry.packet = packet.data;
	dry.len = packet.len;
	return bn_dry_run_ask(a->dry_run, &dry, ret, err);
}

int bn_agent_method_policy_trace(struct bn_request *r, void *user)
{
	struct bn_error err = BN_ERROR_INIT;
	struct bn_agent *a = user;
	struct bn_dry_answer answer;
	struct question q = {0};
	json_t *result = NULL;
	int e;

	e = read_question(a, bn_request_params(r), &q, &err);
	if (!e)
		e = bn_agent_trace(a, &q.flow, &answer, &err);
	if (!e && !answer.told)
		e = bn_error_set(&err, -EOPNOTSUPP,
				 CANNOT "neither %s nor %s is a pod of this node or a service: "
					"ask the node that has one of them",
				 q.from.text, q.to.text);
	if (!e)
		result = answer_json(a, &q.flow, &answer);
	if (result)
		bn_reply(r, result);
	else
		bn_reply_errno(r, e ? e : -ENOMEM, &err);
	free(q.from.namespace);
	free(q.to.namespace);
	bn_error_done(&err);
	return 0;
}
