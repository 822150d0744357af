// SPDX-License-Identifier: Apache-2.0
/* What the agent's parts have to say in metrics, and where these are served. */
#include "agent/agent.h"

#include "datapath/flow-table.h"

#include <bpfnet/access.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <xxhash.h>

static int read_counters(void *user, __u64 ret[BN_CNT_MAX])
{
	struct bn_agent *a = user;
	uint64_t values[BN_CNT_MAX];
	int r = bn_counters_read(a->programs.maps[BN_MAP_bn_counters], values);

	for (int i = 0; i < BN_CNT_MAX && !r; i++)
		ret[i] = values[i];
	return r;
}

int bn_agent_events_lost(void *user, uint64_t *ret)
{
	const struct bn_agent *a = user;

	return bn_counter_read(a->programs.maps[BN_MAP_bn_counters], BN_CNT_EVENTS_LOST, ret);
}

static int read_drops(void *user, struct bn_drop_counter ret[BN_DROP_MAX])
{
	struct bn_agent *a = user;

	return bn_drops_read(a->programs.maps[BN_MAP_bn_drops], ret);
}

static int read_flows(void *user, struct bn_flow_sums *ret)
{
	struct bn_agent *a = user;
	int r = bn_flows_sum(&a->programs, ret);

	a->flow_entries = r ? 0 : ret->live;
	return r;
}

/* ---- maps ---- */

static void map_metric(void *user, int id, const struct bn_map_state *state)
{
	bn_metric_map(user, bn_map_names[id], state->fills, state->entries, state->max,
		      state->bytes);
}

static void collect_maps(struct bn_metrics_out *out, void *user)
{
	struct bn_agent *a = user;

	/* the table was walked a moment ago, for the datapath's own metrics */
	bn_agent_each_map(a, &a->flow_entries, map_metric, out);
}

/* ---- policies ---- */

struct policies {
	struct bn_agent *agent;
	uint64_t now;
	uint64_t rest; /* flows of those without a series of their own */
};

static void count_policy(void *user, const char *namespace, const char *name,
			 enum bn_policy_direction direction, bool allowed, uint64_t flows)
{
	struct policies *p = user;
	struct bn_series_set *set = &p->agent->policy_series;
	const char *values[BN_SERIES_LABELS] = {
		namespace, name, direction == BN_POLICY_EGRESS ? "egress" : "ingress",
		allowed ? "allowed" : "denied"};
	unsigned char key[BN_SERIES_KEY] = {0};
	XXH128_canonical_t hash;
	struct bn_series *s;
	char text[512];
	int n;

	n = snprintf(text, sizeof(text), "%s/%s %d %d", namespace, name, direction, allowed);
	XXH128_canonicalFromHash(&hash, XXH3_128bits(text, (size_t)n));
	memcpy(key, &hash, sizeof(hash));
	s = bn_series_get(set, key, p->now);
	if (s == &set->other) {
		p->rest += flows;
		return;
	}
	if (!s->labels[0])
		bn_series_label(s, values);
	bn_series_sum(s, flows);
}

static void put_policy(void *user, const struct bn_series *s)
{
	bn_metric_u64(user, BN_METRIC_POLICY_VERDICTS, s->sum.base + s->sum.last, "namespace",
		      s->labels[0], "policy", s->labels[1], "direction", s->labels[2], "verdict",
		      s->labels[3], NULL);
}

static void collect_policies(struct bn_metrics_out *out, void *user)
{
	struct bn_agent *a = user;
	struct policies p = {.agent = a};
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	p.now = (uint64_t)ts.tv_sec * 1000000000ull + (uint64_t)ts.tv_nsec;
	if (bn_policy_each_verdict(a->policy, count_policy, &p) < 0)
		return;
	/* those that are gone are not told of for ever */
	bn_series_prune(&a->policy_series, p.now);
	bn_series_sum(&a->policy_series.other, p.rest);
	bn_series_each(&a->policy_series, put_policy, out);
	bn_metric_u64(out, BN_METRIC_OTHER, a->policy_series.others, "metric",
		      "bpfnet_policy_verdicts_total", NULL);
}

/* ---- changes ---- */

void bn_agent_applied(void *user, int result, double seconds)
{
	struct bn_agent *a = user;

	if (result < 0)
		a->applies_refused++;
	else
		bn_histogram_add(&a->applies, seconds);
}

static void collect_applies(struct bn_metrics_out *out, void *user)
{
	const struct bn_agent *a = user;

	bn_metric_histogram(out, BN_METRIC_APPLY, &a->applies, NULL);
	bn_metric_u64(out, BN_METRIC_APPLY_REFUSED, a->applies_refused, NULL);
}

/* ---- life ---- */

int bn_agent_metrics_start(struct bn_agent *a)
{
	int r;

	r = bn_metrics_new(&a->metrics);
	if (r < 0)
		return r;
	a->metrics_datapath = (struct bn_metrics_datapath){
		.counters = read_counters,
		.drops = read_drops,
		.flows = read_flows,
		.user = a,
		.nat_ports = a->config->nat_ports.max - a->config->nat_ports.min + 1u,
	};
	a->metrics_flows.observer = a->observer;
	a->metrics_flows.names = a->names;
	r = bn_series_init(&a->policy_series, a->config->metrics_series, 4);
	if (r >= 0)
		r = bn_metrics_add_datapath(a->metrics, &a->metrics_datapath);
	if (r >= 0)
		r = bn_metrics_add_flows(a->metrics, &a->metrics_flows, a->config->metrics_series);
	if (r >= 0)
		r = bn_metrics_add_agent(a->metrics);
	if (r >= 0)
		r = bn_metrics_register(a->metrics, collect_maps, a);
	if (r >= 0)
		r = bn_metrics_register(a->metrics, bn_agent_export_collect, a);
	if (r >= 0)
		r = bn_metrics_register(a->metrics, collect_policies, a);
	if (r >= 0)
		r = bn_metrics_register(a->metrics, collect_applies, a);
	return r < 0 ? r : bn_metrics_register(a->metrics, bn_agent_collect_audit, a);
}

int bn_agent_metrics_listen(struct bn_agent *a)
{
	if (!a->config->metrics_listen.port)
		return 0;
	return bn_metrics_listen_new(a->event, a->metrics, &a->config->metrics_listen,
				     &a->metrics_listen);
}

void bn_agent_metrics_done(struct bn_agent *a)
{
	bn_metrics_listen_free(a->metrics_listen);
	bn_metrics_free(a->metrics);
	bn_metrics_flows_done(&a->metrics_flows);
	bn_series_done(&a->policy_series);
}
