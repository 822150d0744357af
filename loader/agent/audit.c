// SPDX-License-Identifier: Apache-2.0
/*
 * The slow audit: every few minutes, and when `bpfnet map audit` asks, what stands in the kernel is
 * compared with what is wanted, and the difference mended and reported. Nothing should ever be
 * found: commits keep the two the same. What is found was changed by something else.
 *
 * A run is many turns of the event loop, each of one slice, behind everything else that waits.
 */
#include "agent/agent.h"
#include "datapath/audit.h"
#include "log.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Until the next try where not all could be mended. */
#define RETRY_SEC 60
/* The wake-up may fall together with others within this. */
#define ACCURACY_USEC (30ull * 1000000)

enum part {
	PART_ADDRESSES,
	PART_SERVICES,
	PART_PROGRAMS,
	PART_END,
};

struct bn_agent_audit {
	sd_event_source *timer, *slice;
	bool running;
	enum part part;
	struct bn_audit_report now, last;
	uint64_t runs;
	uint64_t repaired[BN_AUDIT_MAX]; /* since the start */
	uint64_t ended;                  /* when the last one did, CLOCK_MONOTONIC; 0: never */
	uint64_t ended_real;             /* the same, CLOCK_REALTIME */
	/* who asked: for the run under way, and for the one after it */
	struct bn_request **asked, **next;
	size_t n_asked, n_next;
};

static const char *const names[BN_AUDIT_MAX] = {
#define BN_X(id, name) [BN_AUDIT_##id] = name,
	BN_AUDITS(BN_X)
#undef BN_X
};

static void audit_program(struct bn_agent *a, int ifindex, enum bn_attach_point point,
			  enum bn_program_id program)
{
	struct bn_audit_count *c = &a->audit->now.of[BN_AUDIT_PROGRAMS];
	uint32_t is = bn_attached(&a->attach, ifindex, point);
	int r;

	c->checked++;
	if (is == bn_programs_id(&a->programs, program))
		return;
	if (is)
		c->wrong++;
	else
		c->missing++;
	r = bn_attach(&a->attach, ifindex, point, a->programs.programs[program], NULL);
	if (r < 0) {
		c->failed++;
		c->error = r;
	}
}

static int audit_endpoint(void *user, const struct bn_endpoint_info *info)
{
	struct bn_agent *a = user;

	if (!info->ifindex || info->state == BN_ENDPOINT_ADDING)
		return 0;
	/* in the order in which they are attached: out of the pod is open last */
	audit_program(a, info->ifindex, BN_ATTACH_EGRESS, BN_PROGRAM_TO_POD);
	audit_program(a, info->ifindex, BN_ATTACH_INGRESS, BN_PROGRAM_FROM_POD);
	return 0;
}

static void audit_programs(struct bn_agent *a)
{
	bn_endpoints_each(a->endpoints, audit_endpoint, a);
	for (size_t i = 0; i < a->n_uplinks; i++) {
		audit_program(a, a->uplinks[i].ifindex, BN_ATTACH_INGRESS, BN_PROGRAM_FROM_UPLINK);
		if (a->uplinks[i].guarded)
			audit_program(a, a->uplinks[i].ifindex, BN_ATTACH_EGRESS,
				      BN_PROGRAM_TO_UPLINK);
	}
	bn_agent_xdp_audit(a, &a->audit->now.of[BN_AUDIT_PROGRAMS]);
	if (!a->host_attached)
		return;
	audit_program(a, a->host.ifindex, BN_ATTACH_EGRESS, BN_PROGRAM_HOST_EGRESS);
	audit_program(a, a->host.peer_ifindex, BN_ATTACH_INGRESS, BN_PROGRAM_FROM_HOST);
	audit_program(a, BN_LOOPBACK_IFINDEX, BN_ATTACH_INGRESS, BN_PROGRAM_FROM_LOOPBACK);
}

static json_t *count_json(const char *name, const struct bn_audit_count *c)
{
	return json_pack("{s:s, s:I, s:I, s:I, s:I, s:I}", "name", name, "checked",
			 (json_int_t)c->checked, "missing", (json_int_t)c->missing, "wrong",
			 (json_int_t)c->wrong, "extra", (json_int_t)c->extra, "failed",
			 (json_int_t)c->failed);
}

static json_t *report_json(const struct bn_audit_report *report)
{
	json_t *o = json_array();

	for (int i = 0; i < BN_AUDIT_MAX; i++)
		json_array_append_new(o, count_json(names[i], &report->of[i]));
	return o;
}

static void log_count(const char *name, const struct bn_audit_count *c)
{
	char missing[24], wrong[24], extra[24], failed[24];
	bool bad = c->failed || c->error;

	if (!c->missing && !c->wrong && !c->extra && !bad)
		return;
	snprintf(missing, sizeof(missing), "%llu", (unsigned long long)c->missing);
	snprintf(wrong, sizeof(wrong), "%llu", (unsigned long long)c->wrong);
	snprintf(extra, sizeof(extra), "%llu", (unsigned long long)c->extra);
	snprintf(failed, sizeof(failed), "%llu", (unsigned long long)c->failed);
	bn_log(bad ? BN_LOG_ERROR : BN_LOG_WARNING,
	       bad ? "something else changed the datapath, and not all of it could be mended"
		   : "something else changed the datapath, mended",
	       "what", name, "missing", missing, "wrong", wrong, "extra", extra, "failed", failed,
	       bad ? "error" : NULL, strerror(-c->error), NULL);
}

static void run(struct bn_agent *a)
{
	struct bn_agent_audit *au = a->audit;

	au->running = true;
	au->part = PART_ADDRESSES;
	memset(&au->now, 0, sizeof(au->now));
	au->asked = au->next;
	au->n_asked = au->n_next;
	au->next = NULL;
	au->n_next = 0;
	sd_event_source_set_enabled(au->slice, SD_EVENT_ON);
}

static void arm(struct bn_agent *a)
{
	uint64_t now, seconds = a->config->audit_interval;

	if (!seconds || sd_event_now(a->event, CLOCK_MONOTONIC, &now) < 0)
		return;
	for (int i = 0; i < BN_AUDIT_MAX && seconds > RETRY_SEC; i++) {
		if (a->audit->last.of[i].failed)
			seconds = RETRY_SEC;
	}
	sd_event_source_set_time(a->audit->timer, now + seconds * 1000000ull);
	sd_event_source_set_enabled(a->audit->timer, SD_EVENT_ONESHOT);
}

static void finish(struct bn_agent *a)
{
	struct bn_agent_audit *au = a->audit;

	au->running = false;
	au->last = au->now;
	au->runs++;
	sd_event_now(a->event, CLOCK_MONOTONIC, &au->ended);
	sd_event_now(a->event, CLOCK_REALTIME, &au->ended_real);
	sd_event_source_set_enabled(au->slice, SD_EVENT_OFF);
	for (int i = 0; i < BN_AUDIT_MAX; i++) {
		au->repaired[i] += bn_audit_repairs(&au->now.of[i]);
		log_count(names[i], &au->now.of[i]);
	}
	for (size_t i = 0; i < au->n_asked; i++)
		bn_reply(au->asked[i], report_json(&au->now));
	free(au->asked);
	au->asked = NULL;
	au->n_asked = 0;
	if (au->n_next)
		run(a);
	else
		arm(a);
}

static int on_slice(sd_event_source *source, void *user)
{
	struct bn_agent *a = user;
	struct bn_agent_audit *au = a->audit;
	bool more = false;

	switch (au->part) {
	case PART_ADDRESSES:
		more = bn_addresses_audit(a->addresses, &au->now);
		break;
	case PART_SERVICES:
		more = bn_services_audit(a->services, &au->now);
		if (!more)
			bn_sources_audit(a->sources, &au->now.of[BN_AUDIT_SOURCES]);
		break;
	case PART_PROGRAMS:
		bn_wanted_audit(&a->sock_netns, &au->now.of[BN_AUDIT_SOCK_NETNS]);
		audit_programs(a);
		bn_agent_host_audit(a);
		bn_agent_sockets_audit(a, &au->now.of[BN_AUDIT_PROGRAMS]);
		break;
	case PART_END:
		break;
	}
	if (!more && ++au->part == PART_END)
		finish(a);
	return 0;
}

static int on_timer(sd_event_source *source, uint64_t usec, void *user)
{
	struct bn_agent *a = user;

	if (!a->audit->running)
		run(a);
	return 0;
}

int bn_agent_audit_start(struct bn_agent *a)
{
	struct bn_agent_audit *au = calloc(1, sizeof(*au));
	int r;

	if (!au)
		return -ENOMEM;
	a->audit = au;
	r = sd_event_add_time(a->event, &au->timer, CLOCK_MONOTONIC, UINT64_MAX, ACCURACY_USEC,
			      on_timer, a);
	if (r < 0)
		return r;
	r = sd_event_add_defer(a->event, &au->slice, on_slice, a);
	if (r < 0)
		return r;
	sd_event_source_set_enabled(au->timer, SD_EVENT_OFF);
	sd_event_source_set_enabled(au->slice, SD_EVENT_OFF);
	sd_event_source_set_priority(au->slice, SD_EVENT_PRIORITY_IDLE);
	arm(a);
	return 0;
}

void bn_agent_audit_done(struct bn_agent *a)
{
	struct bn_agent_audit *au = a->audit;

	if (!au)
		return;
	/* who asked has been hung up on; answering only frees the request */
	for (size_t i = 0; i < au->n_asked; i++)
		bn_reply(au->asked[i], NULL);
	for (size_t i = 0; i < au->n_next; i++)
		bn_reply(au->next[i], NULL);
	free(au->asked);
	free(au->next);
	sd_event_source_unref(au->timer);
	sd_event_source_unref(au->slice);
	free(au);
	a->audit = NULL;
}

int bn_agent_method_map_audit(struct bn_request *r, void *user)
{
	struct bn_agent *a = user;
	struct bn_agent_audit *au = a->audit;
	struct bn_request **p = reallocarray(au->next, au->n_next + 1, sizeof(struct bn_request *));

	if (!p)
		return -ENOMEM;
	/* the run under way may be past what the caller has seen: the answer is the next one's */
	au->next = p;
	au->next[au->n_next++] = r;
	if (!au->running)
		run(a);
	return 0;
}

json_t *bn_agent_audit_json(struct bn_agent *a)
{
	const struct bn_agent_audit *au = a->audit;
	json_t *repaired = json_object();
	uint64_t now = 0;

	sd_event_now(a->event, CLOCK_MONOTONIC, &now);
	for (int i = 0; i < BN_AUDIT_MAX; i++) {
		if (au->repaired[i])
			json_object_set_new(repaired, names[i],
					    json_integer((json_int_t)au->repaired[i]));
	}
	return json_pack("{s:I, s:i, s:o, s:o}", "runs", (json_int_t)au->runs, "interval_s",
			 (int)a->config->audit_interval, "ago_s",
			 au->runs ? json_integer((json_int_t)((now - au->ended) / 1000000))
				  : json_null(),
			 "repaired", repaired);
}

void bn_agent_audit_problems(struct bn_agent *a, void (*fn)(void *user, json_t *text), void *user)
{
	for (int i = 0; i < BN_AUDIT_MAX; i++) {
		const struct bn_audit_count *c = &a->audit->last.of[i];

		if (c->failed || c->error)
			fn(user,
			   json_sprintf("audit of %s: %llu entries could not be put right: %s",
					names[i], (unsigned long long)c->failed,
					strerror(-c->error)));
	}
}

void bn_agent_collect_audit(struct bn_metrics_out *out, void *user)
{
	const struct bn_agent *a = user;

	bn_metric_u64(out, BN_METRIC_AUDITS, a->audit->runs, NULL);
	if (a->audit->runs)
		bn_metric_f64(out, BN_METRIC_AUDIT_LAST, (double)a->audit->ended_real / 1e6, NULL);
	for (int i = 0; i < BN_AUDIT_MAX; i++) {
		bn_metric_u64(out, BN_METRIC_AUDIT_REPAIRS, a->audit->repaired[i], "map", names[i],
			      NULL);
		bn_metric_u64(out, BN_METRIC_AUDIT_FAILED, a->audit->last.of[i].failed, "map",
			      names[i], NULL);
	}
}
