// SPDX-License-Identifier: Apache-2.0
/* The flow itself: the node's route, what the datapath would do with it, what it did lately. */
#include "agent/why.h"

#include "agent/agent.h"
#include "flows/json.h"
#include "net/route.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define LATELY_S 300
#define JUST_NOW_S 60 /* what was dropped longer ago may be over */

/* ---- route ---- */

static bool is_uplink(const struct why *w, int ifindex)
{
	for (size_t i = 0; i < w->a->n_uplinks; i++) {
		if (w->a->uplinks[i].ifindex == ifindex)
			return true;
	}
	return false;
}

static void uplink_layer(struct why *w, int ifindex)
{
	char name[IF_NAMESIZE] = "?";
	uint32_t is;

	for (size_t i = 0; i < w->a->n_uplinks; i++) {
		if (w->a->uplinks[i].ifindex == ifindex)
			memcpy(name, w->a->uplinks[i].name, sizeof(name));
	}
	is = bn_attached(&w->a->attach, ifindex, BN_ATTACH_INGRESS);
	if (is && is == bn_programs_id(&w->a->programs, BN_PROGRAM_FROM_UPLINK))
		why_ok(w, "programs", name, "attached to ingress of %s, where answers arrive",
		       name);
	else
		why_wrong(w, "programs", name, why_text("'bpfnet map audit' attaches it again"),
			  "no program of bpfnetd is attached to the ingress of %s, where answers "
			  "arrive",
			  name);
}

/* What leaves the node needs a route, a device of bpfnetd's, and a neighbour that answers. */
static void node_route(struct why *w, const union bn_addr *to)
{
	char text[BN_ADDR_STRLEN], via[BN_ADDR_STRLEN], name[IF_NAMESIZE];
	struct bn_route route;
	int r = bn_route_get(w->nl, to, &route);
	const union bn_addr *next = r == 0 && route.has_via ? &route.via : to;

	bn_addr_format(to, text);
	if (r < 0) {
		why_wrong(w, "route", w->a->config->node_name,
			  why_text("give the node one: 'ip route get %s'", text),
			  "this node has no route to %s: %s", text, strerror(-r));
		return;
	}
	if (route.local)
		return;
	if (!if_indextoname((unsigned int)route.ifindex, name))
		snprintf(name, sizeof(name), "%d", route.ifindex);
	bn_addr_format(next, via);
	if (!is_uplink(w, route.ifindex))
		why_wrong(w, "route", w->a->config->node_name,
			  why_text("name it with --device, or correct the route"),
			  "this node's route to %s leads out of %s, which is none of its devices "
			  "('bpfnet config' lists them)",
			  text, name);
	else if (bn_neighbour_failed(w->nl, route.ifindex, next))
		why_wrong(w, "route", w->a->config->node_name,
			  why_text("see whether it is up and on that link: 'ip neighbour show dev "
				   "%s'",
				   name),
			  "the next hop to %s, %s on %s, does not answer", text, via, name);
	else
		why_ok(w, "route", w->a->config->node_name, "to %s by %s%s%s", text, name,
		       route.has_via ? " via " : "", route.has_via ? via : "");
	if (is_uplink(w, route.ifindex))
		uplink_layer(w, route.ifindex);
}

static const union bn_addr *of_family(const struct why_pod *p, bool v4)
{
	for (size_t i = 0; i < p->n_ips; i++) {
		if (!!bn_addr_is_v4(&p->ips[i]) == v4)
			return &p->ips[i];
	}
	return NULL;
}

void why_route(struct why *w)
{
	const union bn_addr *ips = w->by_ip ? &w->to_ip : w->to.ips;
	size_t n = w->by_ip ? 1 : w->to.n_ips;

	if (!w->to_text || w->target == WHY_NOBODY || !w->from.here)
		return;
	for (size_t i = 0; i < n; i++) {
		if (!of_family(&w->from, bn_addr_is_v4(&ips[i])))
			continue;
		why_pod_route(w, &w->from, &ips[i]);
		if (w->target == WHY_OUTSIDE || (w->target == WHY_POD && !w->to.here))
			node_route(w, &ips[i]);
	}
	/* the pod sends to the service, the node to its backends */
	for (size_t i = 0; w->target == WHY_SERVICE && i < w->n_legs; i++) {
		struct bn_owner owner;
		struct bn_endpoint_info info;

		if (!of_family(&w->from, bn_addr_is_v4(&w->legs[i].to)))
			continue;
		if (!w->legs[i].backend) {
			if (!w->by_ip)
				why_pod_route(w, &w->from, &w->legs[i].to);
		} else if (bn_objects_address_owner(w->a->objects, &w->legs[i].to, &owner) ||
			   owner.kind != BN_OWNER_POD ||
			   bn_endpoints_find(w->a->endpoints, owner.namespace, owner.name, &info)) {
			node_route(w, &w->legs[i].to);
		}
	}
}

/* ---- policy ---- */

static void rules_text(struct why *w, const struct bn_event *e, char *buf, size_t size)
{
	json_t *rules = bn_trace_rules(w->a, e), *rule;
	size_t i, n = 0;

	*buf = 0;
	json_array_foreach(rules, i, rule) {
		const json_t *index = json_object_get(rule, "index");
		const char *policy = json_string_value(json_object_get(rule, "policy"));
		const char *direction = json_string_value(json_object_get(rule, "direction"));

		if (n >= size)
			break;
		if (json_is_integer(index))
			n += (size_t)snprintf(buf + n, size - n, "%s%s rule %lld of %s",
					      n ? ", " : "", direction,
					      (long long)json_integer_value(index), policy);
		else
			n += (size_t)snprintf(buf + n, size - n, "%s%s denied by %s", n ? ", " : "",
					      direction, policy);
	}
	if (!json_array_size(rules))
		snprintf(buf, size, "no policy selects either end");
	json_decref(rules);
}

/* The rule that denies, borrowed from `rules`; NULL: none does. */
static const json_t *denying(const json_t *rules)
{
	const json_t *rule;
	size_t i;

	json_array_foreach(rules, i, rule) {
		if (!json_is_true(json_object_get(rule, "allow")))
			return rule;
	}
	return NULL;
}

static const char *reason_text(unsigned int reason)
{
	static const char *const texts[BN_DROP_MAX] = {
#define BN_X(number, name, label, text) [number] = text,
		BN_DROP_REASONS(BN_X)
#undef BN_X
	};

	return reason < BN_DROP_MAX && texts[reason] ? texts[reason] : "unknown";
}

static void denied(struct why *w, const struct why_leg *leg, const struct bn_event *e,
		   const char *flow)
{
	json_t *rules = bn_trace_rules(w->a, e);
	const json_t *rule = denying(rules), *index = json_object_get(rule, "index");
	const char *policy = json_string_value(json_object_get(rule, "policy"));
	bool egress = e->reason == BN_DROP_POLICY_EGRESS;

	if (policy && json_is_integer(index))
		why_wrong(w, "policy", policy,
			  why_text("change that rule, or allow it by one before it; 'bpfnet policy "
				   "get %s' shows them",
				   policy),
			  "%s is denied by %s rule %lld of the policy %s", flow,
			  json_string_value(json_object_get(rule, "direction")),
			  (long long)json_integer_value(index), policy);
	else if (policy && (egress || e->reason == BN_DROP_POLICY_INGRESS))
		why_wrong(w, "policy", policy,
			  why_text("allow it by a rule of %s, or of another policy that selects "
				   "%s; 'bpfnet policy get %s' shows its rules",
				   policy, egress ? "the sender" : "the receiver", policy),
			  "%s is denied: the %s policy %s selects %s, and no rule allows it", flow,
			  egress ? "egress" : "ingress", policy,
			  egress ? "the sender" : "the receiver");
	else
		why_wrong(w, "policy", leg->what, why_text("%s", reason_text(e->reason)),
			  "the datapath refuses %s: %s", flow, bn_drop_reason_label(e->reason));
	json_decref(rules);
}

/* What one denial has in common with another, so that it is told once. */
struct denial {
	uint32_t verdict;
	uint8_t reason;
};

static bool leg_layer(struct why *w, const struct why_leg *leg, struct denial *last)
{
	struct bn_trace flow = {.from_text = w->from.key,
				.to_text = leg->what,
				.to = leg->to,
				.protocol = leg->protocol,
				.port = leg->port};
	struct bn_error err = BN_ERROR_INIT;
	struct bn_dry_answer answer;
	char to[64], rules[700], text[1200];
	struct denial now;
	int r;

	flow.from = *of_family(&w->from, bn_addr_is_v4(&leg->to));
	snprintf(text, sizeof(text), "%s from %s to %s (%s)", why_protocol(leg->protocol),
		 w->from.key, why_address(&leg->to, leg->port, to), leg->what);
	r = bn_agent_trace(w->a, &flow, &answer, &err);
	if (r < 0) {
		why_wrong(w, "policy", leg->what, why_text("see bpfnetd's log"),
			  "the datapath could not be asked about %s: %s", text,
			  bn_error_text(&err));
		bn_error_done(&err);
		return false;
	}
	if (!answer.told) {
		why_ok(w, "policy", leg->what, "%s: the datapath leaves it to the node's stack",
		       text);
		return true;
	}
	if (answer.event.header.type == BN_EVENT_DROP) {
		now = (struct denial){answer.event.egress_verdict ^ answer.event.ingress_verdict,
				      answer.event.reason};
		if (now.verdict != last->verdict || now.reason != last->reason)
			denied(w, leg, &answer.event, text);
		*last = now;
		return false;
	}
	rules_text(w, &answer.event, rules, sizeof(rules));
	if (!leg->backend || w->target != WHY_SERVICE || bn_flow_is_audited(&answer.event))
		why_ok(w, "policy", leg->what, "%s passes%s: %s", text,
		       bn_flow_is_audited(&answer.event) ? " only because policy is in audit mode"
							 : "",
		       rules);
	return true;
}

/* Without a port there is no packet to ask about: only whom policies select can be said. */
static void without_port(struct why *w)
{
	bool from[BN_POLICY_DIRECTIONS], to[BN_POLICY_DIRECTIONS] = {0};

	bn_policy_selects(w->a->policy, w->from.namespace, w->from.pod, from);
	if (w->target == WHY_POD && w->to.here)
		bn_policy_selects(w->a->policy, w->to.namespace, w->to.pod, to);
	w->decided = !from[BN_POLICY_EGRESS] && !to[BN_POLICY_INGRESS];
	if (w->decided)
		why_ok(w, "policy", w->to_text,
		       "no policy selects either end: every port is allowed");
	else
		why_wrong(w, "policy", w->to_text, why_text("ask again with --port"),
			  "policies select %s: what they allow depends on the port, and none is "
			  "given",
			  !to[BN_POLICY_INGRESS] ? w->from.key : w->to.key);
}

/* Of a pod alone: what holds for it whoever is at the other end. */
static void selected(struct why *w)
{
	bool by[BN_POLICY_DIRECTIONS];

	bn_policy_selects(w->a->policy, w->from.namespace, w->from.pod, by);
	why_ok(w, "policy", w->from.key, "%s is %s by policies%s", w->from.key,
	       by[BN_POLICY_EGRESS] && by[BN_POLICY_INGRESS] ? "restricted both ways"
	       : by[BN_POLICY_EGRESS]                        ? "restricted in what it sends"
	       : by[BN_POLICY_INGRESS]                       ? "restricted in what it receives"
							     : "not restricted",
	       by[BN_POLICY_EGRESS] || by[BN_POLICY_INGRESS]
		       ? ": name the other end and --port to have a flow decided"
		       : "");
}

void why_policy(struct why *w)
{
	struct denial last = {0};
	size_t asked = 0;

	if (!w->to_text) {
		selected(w);
		return;
	}
	if (w->target == WHY_NOBODY || !w->from.here)
		return;
	if (!w->n_legs) {
		if (w->target != WHY_SERVICE)
			without_port(w);
		return;
	}
	w->decided = true;
	for (size_t i = 0; i < w->n_legs; i++) {
		if (!of_family(&w->from, bn_addr_is_v4(&w->legs[i].to)))
			continue;
		asked++;
		w->decided &= leg_layer(w, &w->legs[i], &last);
	}
	if (!asked) {
		w->decided = false;
		why_wrong(w, "policy", w->to_text,
			  why_text("give the pod an address of that family, or ask for the other"),
			  "%s has no address of the family of %s", w->from.key, w->to_text);
	}
	if (w->n_legs_over)
		why_ok(w, "policy", w->to_text, "%zu more backends were not asked about",
		       w->n_legs_over);
}

/* ---- drops ---- */

struct drops {
	size_t n[BN_DROP_MAX];
	uint64_t newest[BN_DROP_MAX]; /* CLOCK_REALTIME, ns */
	size_t total;
};

static bool is_pod(const struct bn_name *name, const struct why_pod *p)
{
	return name && bn_name_kind(name) == BN_NAME_POD && !strcmp(bn_name_text(name), p->pod) &&
	       !strcmp(bn_name_namespace(name), p->namespace);
}

/* Whether one end is the destination that is asked about; legs name services' addresses. */
static bool is_target(const struct why *w, const struct bn_name *name, const union bn_addr *addr,
		      __be16 port)
{
	if (w->target == WHY_POD && is_pod(name, &w->to))
		return !w->port || ntohs(port) == w->port;
	if (w->by_ip && bn_addr_equal(addr, &w->to_ip))
		return !w->port || ntohs(port) == w->port;
	for (size_t i = 0; i < w->n_legs; i++) {
		if (bn_addr_equal(addr, &w->legs[i].to) && ntohs(port) == w->legs[i].port)
			return true;
	}
	return false;
}

static bool is_asked(const struct why *w, const struct bn_flow_record *r)
{
	const struct bn_event *e = &r->event;
	__be16 port;
	const union bn_addr *to = bn_flow_destination(e, &port);

	if (e->header.type != BN_EVENT_DROP)
		return false;
	if (!w->to_text)
		return is_pod(r->source, &w->from) || is_pod(r->destination, &w->from);
	if (is_pod(r->source, &w->from))
		return is_target(w, r->destination, to, port) ||
		       is_target(w, r->destination, &e->tuple.daddr, e->tuple.dport);
	return is_pod(r->destination, &w->from) &&
	       is_target(w, r->source, &e->tuple.saddr, e->tuple.sport);
}

static void collect(const struct why *w, uint64_t now, struct drops *ret)
{
	const struct bn_history *h = bn_observer_history(w->a->observer);
	const uint64_t since = now - LATELY_S * 1000000000ull;

	for (uint64_t i = bn_history_next(h); i > bn_history_oldest(h); i--) {
		const struct bn_flow_record *r = bn_history_at(h, i - 1);
		unsigned int reason;

		if (!r || r->time < since)
			break;
		if (!is_asked(w, r))
			continue;
		reason = r->event.reason < BN_DROP_MAX ? r->event.reason : BN_DROP_NONE;
		ret->n[reason]++;
		ret->total++;
		if (r->time > ret->newest[reason])
			ret->newest[reason] = r->time;
	}
}

/*
 * What the first packet is asked for: the layers before have said what holds now, so such a drop is
 * either theirs already or over.
 */
static bool is_decided(unsigned int reason)
{
	switch (reason) {
	case BN_DROP_POLICY_EGRESS:
	case BN_DROP_POLICY_INGRESS:
	case BN_DROP_SERVICE_NO_BACKEND:
	case BN_DROP_SERVICE_UNKNOWN:
	case BN_DROP_NO_ROUTE:
	case BN_DROP_UNKNOWN_ENDPOINT:
		return true;
	}
	return false;
}

/* What happens to healthy pods as well, and the sender was told of or does not mind. */
static bool is_usual(unsigned int reason)
{
	switch (reason) {
	case BN_DROP_MULTICAST:
	case BN_DROP_LINK_LOCAL:
	case BN_DROP_NEIGHBOUR:
	case BN_DROP_ICMP_UNRELATED:
	case BN_DROP_ICMP_UNSOLICITED:
	case BN_DROP_TTL_EXCEEDED:
	case BN_DROP_PACKET_TOO_BIG:
		return true;
	}
	return false;
}

void why_drops(struct why *w)
{
	const char *of = w->to_text ? w->to_text : w->from.key;
	struct drops drops = {0};
	struct timespec ts;
	uint64_t now;

	if (w->target == WHY_NOBODY || !w->from.here)
		return;
	clock_gettime(CLOCK_REALTIME, &ts);
	now = (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
	collect(w, now, &drops);
	for (unsigned int i = 0; i < BN_DROP_MAX; i++) {
		const uint64_t age = now > drops.newest[i] ? (now - drops.newest[i]) / 1000000000u
							   : 0;
		const char *label = bn_drop_reason_label(i);

		if (!drops.n[i])
			continue;
		if (is_usual(i) || age > JUST_NOW_S ||
		    (is_decided(i) && (w->decided || w->wrong)) || (is_decided(i) && !w->to_text))
			why_ok(w, "drops", of, "%zu dropped as %s, the last one %llu s ago: %s",
			       drops.n[i], label, (unsigned long long)age,
			       is_usual(i)      ? "that is usual"
			       : !is_decided(i) ? "none within the last minute"
			       : !w->to_text    ? "name the other end to ask about it"
			       : w->decided     ? "that would pass now"
						: "see above");
		else
			why_wrong(w, "drops", of, why_text("%s", reason_text(i)),
				  "%zu dropped as %s, the last one %llu s ago", drops.n[i], label,
				  (unsigned long long)age);
	}
	if (!drops.total)
		why_ok(w, "drops", of, "none is kept of the last %d minutes", LATELY_S / 60);
}
