// SPDX-License-Identifier: Apache-2.0
/* Flows into a file: started as configured, and what there is to say of it. */
#include "agent/agent.h"

#include "flows/export.h"
#include "flows/filter-text.h"
#include "log.h"

#include <stdio.h>
#include <string.h>

#define BYTES_PER_MB 1000000ull

static void on_changed(void *user)
{
	struct bn_agent *a = user;
	const char *path = a->config->export_file;
	struct bn_export_stats s;
	char lost[24];

	bn_export_stats(a->export, &s);
	if (s.problem == BN_EXPORT_NONE) {
		snprintf(lost, sizeof(lost), "%llu", (unsigned long long)s.lost);
		bn_log(BN_LOG_INFO, "flows are exported again", "file", path, "lost", lost, NULL);
	} else {
		bn_log(BN_LOG_WARNING, "flows aren't exported, tried again each second", "file",
		       path, "reason", bn_export_problem_label(s.problem), "error",
		       bn_export_problem_text(s.problem, s.error), NULL);
	}
}

int bn_agent_export_start(struct bn_agent *a, struct bn_error *err)
{
	const struct bn_agent_config *c = a->config;
	const struct bn_export_config config = {
		.path = c->export_file,
		.max_bytes = c->export_max_mb * BYTES_PER_MB,
		.backups = c->export_max_backups,
		.changed = on_changed,
		.user = a,
	};
	struct bn_flow_filter *filter = NULL;
	int r;

	if (!c->export_file)
		return 0;
	r = bn_flow_filter_text(c->export_filters.items, c->export_filters.n, &filter, err);
	if (r < 0)
		return r;
	r = bn_export_new(a->event, a->observer, &config, &filter, &a->export);
	bn_flow_filter_free(filter);
	return r < 0 ? bn_error_set(err, r, "can't prepare to export flows: %s", strerror(-r)) : 0;
}

void bn_agent_export_done(struct bn_agent *a)
{
	bn_export_free(a->export);
	a->export = NULL;
}

void bn_agent_export_problem(const struct bn_agent *a, void (*fn)(void *user, json_t *text),
			     void *user)
{
	struct bn_export_stats s;

	if (!a->export)
		return;
	bn_export_stats(a->export, &s);
	if (s.problem != BN_EXPORT_NONE)
		fn(user, json_sprintf("flows aren't exported to %s: %s: %s", a->config->export_file,
				      bn_export_problem_label(s.problem),
				      bn_export_problem_text(s.problem, s.error)));
}

json_t *bn_agent_export_json(const struct bn_agent *a)
{
	json_t *failures = json_object();
	struct bn_export_stats s;

	if (!a->export) {
		json_decref(failures);
		return NULL;
	}
	bn_export_stats(a->export, &s);
	for (unsigned int i = BN_EXPORT_NONE + 1; i < BN_EXPORT_PROBLEM_MAX; i++) {
		if (s.failures[i])
			json_object_set_new(failures, bn_export_problem_label(i),
					    json_integer((json_int_t)s.failures[i]));
	}
	return json_pack("{s:s, s:s, s:I, s:I, s:I, s:I, s:o}", "file", a->config->export_file,
			 "problem", bn_export_problem_label(s.problem), "lines",
			 (json_int_t)s.lines, "bytes", (json_int_t)s.bytes, "lost",
			 (json_int_t)s.lost, "rotations", (json_int_t)s.rotations, "failures",
			 failures);
}

void bn_agent_export_collect(struct bn_metrics_out *out, void *user)
{
	const struct bn_agent *a = user;
	struct bn_export_stats s;

	if (!a->export)
		return;
	bn_export_stats(a->export, &s);
	bn_metric_u64(out, BN_METRIC_EXPORT_LINES, s.lines, NULL);
	bn_metric_u64(out, BN_METRIC_EXPORT_BYTES, s.bytes, NULL);
	bn_metric_u64(out, BN_METRIC_EXPORT_LOST, s.lost, NULL);
	bn_metric_u64(out, BN_METRIC_EXPORT_ROTATIONS, s.rotations, NULL);
	for (unsigned int i = BN_EXPORT_NONE + 1; i < BN_EXPORT_PROBLEM_MAX; i++)
		bn_metric_u64(out, BN_METRIC_EXPORT_FAILURES, s.failures[i], "reason",
			      bn_export_problem_label(i), NULL);
}
