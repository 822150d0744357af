// SPDX-License-Identifier: Apache-2.0
/*
 * Events become flows here: from the ring buffer, or from the agent itself, through one function
 * that gives names, keeps, counts and hands on.
 *
 * Invariant: names are looked up as of the event's own time, once; everything later uses the
 * references that the kept record holds.
 */
#include "flows/observer.h"

#include "flows/reader.h"
#include "flows/restore.h"
#include "flows/subscription.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

struct bn_observer {
	struct bn_names *names;
	struct bn_history *history;
	struct bn_reader *reader; /* NULL: injected events only */
	struct bn_readers readers;
	int (*lost)(void *user, uint64_t *ret);
	void *lost_user;
	uint64_t lost_told; /* of what `lost` says, already told to readers */
	void (*sink)(void *user, const struct bn_flow_record *record);
	void *sink_user;
	uint64_t injected, restored;
	uint64_t opened, closed, dropped, audited;
};

/*
 * The service that was addressed, by the address that the client used: the destination of what
 * goes forward, the source of what comes back as its receiver sees it.
 */
static struct bn_name *service_of(struct bn_names *names, const struct bn_event *e)
{
	bool reply = bn_flow_is_reply(e) == 1;
	struct bn_name *service;

	if (!e->service && !(e->flags & BN_FLOW_SERVICE) && e->reason != BN_DROP_SERVICE_NO_BACKEND)
		return NULL;
	service = bn_names_service_get(names, reply ? &e->to_saddr : &e->tuple.daddr,
				       ntohs(reply ? e->to_sport : e->tuple.dport),
				       e->tuple.protocol, e->time);
	if (!service && e->service)
		service = bn_names_service_id_get(names, e->service, e->time);
	return service;
}

/*
 * A flow that ends is told without identities. The registry has them, and an address that it does
 * not know is no pod's and no node's.
 */
static uint32_t identity_of(const struct bn_name *name)
{
	return name ? bn_name_identity(name) : BN_IDENTITY_WORLD;
}

/* A drop is told by the program of one end's device, and the device does not lie. */
static void name_ends(struct bn_observer *o, struct bn_flow_record *record)
{
	struct bn_event *e = &record->event;
	bool drop = e->header.type == BN_EVENT_DROP || e->header.type == BN_EVENT_TRACE;
	__be16 port;

	if (drop && e->hook == BN_HOOK_FROM_POD) {
		record->source = bn_names_device_get(o->names, e->ifindex, e->time);
		if (record->source)
			e->src_identity = bn_name_identity(record->source);
	}
	if (!e->tuple.family) {
		if (drop && e->hook == BN_HOOK_TO_POD)
			record->destination = bn_names_device_get(o->names, e->ifindex, e->time);
		return;
	}
	if (!record->source)
		record->source = bn_names_get(o->names, &e->tuple.saddr, e->time);
	record->destination = bn_names_get(o->names, bn_flow_destination(e, &port), e->time);
	record->service = service_of(o->names, e);
}

/* A flow that has closed tells how long it lasted where these stand. */
static void name_rules(struct bn_observer *o, struct bn_flow_record *record)
{
	const struct bn_event *e = &record->event;
	uint32_t egress = e->egress_verdict & BN_VERDICT_RULE;
	uint32_t ingress = e->ingress_verdict & BN_VERDICT_RULE;

	if (e->header.type == BN_EVENT_FLOW_CLOSED)
		return;
	if (egress)
		record->rule[BN_POLICY_EGRESS] = bn_names_rule_get(o->names, egress, e->time);
	if (ingress)
		record->rule[BN_POLICY_INGRESS] = bn_names_rule_get(o->names, ingress, e->time);
}

static bool is_local(const struct bn_name *name)
{
	return name && bn_name_is_local(name);
}

/* Likewise where a flow that ended without a packet had its first one. */
static uint8_t hook_of(const struct bn_flow_record *record)
{
	if (is_local(record->source))
		return BN_HOOK_FROM_POD;
	return is_local(record->destination) ? BN_HOOK_TO_POD : BN_HOOK_FROM_UPLINK;
}

void bn_observer_name(struct bn_observer *o, struct bn_flow_record *record)
{
	struct bn_event *e = &record->event;

	name_ends(o, record);
	name_rules(o, record);
	if (e->header.type != BN_EVENT_FLOW_CLOSED)
		return;
	if (e->src_identity == BN_IDENTITY_UNKNOWN)
		e->src_identity = identity_of(record->source);
	if (e->dst_identity == BN_IDENTITY_UNKNOWN)
		e->dst_identity = identity_of(record->destination);
	if (!e->hook)
		e->hook = hook_of(record);
}

static void take(struct bn_observer *o, const struct bn_event *event, uint64_t time)
{
	struct bn_flow_record record = {.event = *event, .time = time};
	uint64_t number;

	bn_observer_name(o, &record);
	switch (event->header.type) {
	case BN_EVENT_FLOW_OPENED:
		o->opened++;
		break;
	case BN_EVENT_FLOW_CLOSED:
		o->closed++;
		break;
	case BN_EVENT_DROP:
		o->dropped++;
		break;
	case BN_EVENT_AUDIT:
		o->audited++;
		break;
	}
	number = bn_history_add(o->history, &record);
	if (o->sink)
		o->sink(o->sink_user, &record);
	bn_readers_offer(&o->readers, number);
}

/* Counted by the agent that took it first. */
static void take_again(void *user, const struct bn_event *event)
{
	struct bn_observer *o = user;
	struct bn_flow_record record = {
		.event = *event,
		.time = bn_event_realtime(event->time),
	};

	bn_observer_name(o, &record);
	bn_history_add(o->history, &record);
	o->restored++;
}

int bn_observer_restore(struct bn_observer *o, int events_fd)
{
	return bn_events_restore(events_fd, bn_history_size(o->history), take_again, o);
}

static void on_event(void *user, const struct bn_event *event, uint64_t time)
{
	take(user, event, time);
}

static void on_turn(void *user)
{
	struct bn_observer *o = user;
	uint64_t lost;

	bn_names_prune(o->names);
	if (!o->lost || o->lost(o->lost_user, &lost) < 0)
		return;
	if (lost > o->lost_told)
		bn_readers_lost(&o->readers, lost - o->lost_told);
	o->lost_told = lost;
}

int bn_observer_new(sd_event *loop, const struct bn_observer_config *config,
		    struct bn_observer **ret)
{
	struct bn_observer *o = calloc(1, sizeof(*o));
	const struct bn_reader_ops ops = {.event = on_event, .turn = on_turn, .user = o};
	int r;

	if (!o)
		return -ENOMEM;
	o->readers.turn_fd = -1;
	o->names = config->names;
	o->lost = config->lost;
	o->lost_user = config->user;
	r = bn_readers_init(&o->readers, loop);
	if (r < 0)
		goto fail;
	r = -ENOMEM;
	o->readers.node_name = strdup(config->node_name);
	if (!o->readers.node_name)
		goto fail;
	r = bn_history_new(config->history, &o->history);
	if (r < 0)
		goto fail;
	o->readers.history = o->history;
	/* the counter is older than this process: only what is lost from now on is news */
	if (o->lost && o->lost(o->lost_user, &o->lost_told) < 0)
		o->lost_told = 0;
	if (config->events_fd >= 0)
		r = bn_reader_new(loop, config->events_fd, &ops, &o->reader);
	if (r < 0)
		goto fail;
	*ret = o;
	return 0;
fail:
	bn_observer_free(o);
	return r;
}

void bn_observer_free(struct bn_observer *o)
{
	if (!o)
		return;
	bn_reader_free(o->reader);
	bn_readers_done(&o->readers);
	bn_history_free(o->history);
	free(o);
}

const struct bn_history *bn_observer_history(const struct bn_observer *o)
{
	return o->history;
}

void bn_observer_set_sink(struct bn_observer *o,
			  void (*sink)(void *user, const struct bn_flow_record *record), void *user)
{
	o->sink = sink;
	o->sink_user = user;
}

int bn_observer_inject(struct bn_observer *o, const struct bn_event *event)
{
	struct bn_event e;
	int r = bn_event_check(event, event->header.size, &e);

	if (r < 0)
		return r;
	if (e.time == 0) {
		struct timespec ts;

		clock_gettime(CLOCK_MONOTONIC, &ts);
		e.time = (uint64_t)ts.tv_sec * 1000000000 + (uint64_t)ts.tv_nsec;
	}
	o->injected++;
	take(o, &e, bn_event_realtime(e.time));
	return 0;
}

static int query_number(const json_t *params, const char *key, uint64_t *ret, struct bn_error *err)
{
	const json_t *value = json_object_get(params, key);

	if (!value || json_is_null(value))
		return 0;
	if (!json_is_integer(value) || json_integer_value(value) < 0)
		return bn_error_set(err, -EINVAL,
				    "cannot read flows: '%s' is not a number from 0 on", key);
	*ret = (uint64_t)json_integer_value(value);
	return 0;
}

int bn_flow_query_parse(const json_t *params, struct bn_flow_query *ret, struct bn_error *err)
{
	const json_t *follow = json_object_get(params, "follow");
	struct bn_flow_query q = {0};
	int r;

	if (follow && !json_is_boolean(follow) && !json_is_null(follow))
		return bn_error_set(err, -EINVAL,
				    "cannot read flows: 'follow' is neither true nor false");
	q.follow = json_is_true(follow);
	r = query_number(params, "last", &q.last, err);
	if (r == 0)
		r = query_number(params, "since", &q.since, err);
	if (r == 0)
		r = query_number(params, "until", &q.until, err);
	if (r == 0 && q.until && q.until < q.since)
		r = bn_error_set(err, -EINVAL, "cannot read flows: 'until' is before 'since'");
	if (r == 0)
		r = bn_flow_filter_parse(json_object_get(params, "filters"), &q.filter, err);
	if (r < 0)
		return r;
	*ret = q;
	return 0;
}

void bn_flow_query_done(struct bn_flow_query *q)
{
	bn_flow_filter_free(q->filter);
	q->filter = NULL;
}

int bn_observer_subscribe(struct bn_observer *o, struct bn_flow_query *query, bn_flow_send_fn send,
			  bn_flow_end_fn end, void *user, struct bn_subscription **ret)
{
	return bn_readers_subscribe(&o->readers, query, send, end, user, ret);
}

uint64_t bn_observer_opened(const struct bn_observer *o)
{
	return o->opened;
}

void bn_observer_stats(const struct bn_observer *o, struct bn_observer_stats *ret)
{
	struct bn_reader_stats reader = {0};
	uint64_t oldest = bn_history_oldest(o->history);

	if (o->reader)
		bn_reader_stats(o->reader, &reader);
	*ret = (struct bn_observer_stats){
		.received = reader.received,
		.malformed = reader.malformed,
		.lost = o->lost_told,
		.injected = o->injected,
		.restored = o->restored,
		.opened = o->opened,
		.closed = o->closed,
		.dropped = o->dropped,
		.audited = o->audited,
		.overwritten = oldest,
		.kept = bn_history_next(o->history) - oldest,
		.max_kept = bn_history_size(o->history),
		.readers = o->readers.current,
		.readers_total = o->readers.total,
		.reader_sent = o->readers.sent,
		.reader_lost = o->readers.lost,
	};
	if (o->lost)
		(void)o->lost(o->lost_user, &ret->lost);
}
