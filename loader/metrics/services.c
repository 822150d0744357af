// SPDX-License-Identifier: Apache-2.0
/*
 * Connections by service and backend, and how long handshakes take, from the records of flows. This
 * runs for every record, so what is known already costs a look at a hash table and a few compares.
 */
#include "metrics/sources.h"

#include <stdio.h>
#include <string.h>

#include "address.h"

#include <arpa/inet.h>
#include <netinet/in.h>

struct key {
	union bn_addr backend; /* zero in those of handshakes */
	__u32 service;
	__be16 port;
	__u8 protocol;
	__u8 pad[9];
};
_Static_assert(sizeof(struct key) == BN_SERIES_KEY, "compared whole");

enum {
	LABEL_NAMESPACE,
	LABEL_SERVICE,
	LABEL_BACKEND,
	LABEL_POD,
};

static const char *namespace_of(const struct bn_name *name)
{
	const char *namespace = bn_name_namespace(name);

	return namespace ? namespace : "";
}

/* Whether a label is the name of a pod; NULL: of none. */
static bool is_pod(const char *label, const struct bn_name *pod)
{
	const char *namespace = pod ? namespace_of(pod) : "";
	size_t n = strlen(namespace);

	if (!pod)
		return !*label;
	return !strncmp(label, namespace, n) && label[n] == '/' &&
	       !strcmp(label + n + 1, bn_name_text(pod));
}

/* Numbers of services and addresses of pods are given to others in time. */
static bool is_another(const struct bn_series *s, const struct bn_name *service,
		       const struct bn_name *pod)
{
	return strcmp(s->labels[LABEL_SERVICE], bn_name_text(service)) ||
	       strcmp(s->labels[LABEL_NAMESPACE], namespace_of(service)) ||
	       (s->labels[LABEL_POD] && !is_pod(s->labels[LABEL_POD], pod));
}

static void label(struct bn_series *s, const struct bn_name *service, const struct key *key,
		  const struct bn_name *pod)
{
	char backend[BN_LISTEN_STRLEN], name[512] = "";
	const struct bn_listen at = {key->backend, ntohs(key->port)};
	const char *values[BN_SERIES_LABELS] = {
		[LABEL_NAMESPACE] = namespace_of(service),
		[LABEL_SERVICE] = bn_name_text(service),
		[LABEL_BACKEND] = at.port ? bn_listen_format(&at, backend) : NULL,
		[LABEL_POD] = name,
	};

	if (pod)
		snprintf(name, sizeof(name), "%s/%s", namespace_of(pod), bn_name_text(pod));
	bn_series_label(s, values);
}

static struct bn_series *series_of(struct bn_series_set *set, const struct key *key,
				   const struct bn_flow_record *record, const struct bn_name *pod)
{
	struct bn_series *s = bn_series_get(set, key, record->event.time);

	if (s == &set->other)
		return s;
	if (s->labels[0] && is_another(s, record->service, pod))
		bn_series_reset(s);
	if (!s->labels[0])
		label(s, record->service, key, pod);
	return s;
}

void bn_metrics_services_count(struct bn_metrics_flows *f, const struct bn_flow_record *record)
{
	const struct bn_event *e = &record->event;
	const struct bn_name *pod = record->destination;
	struct key key = {.service = e->service, .protocol = e->tuple.protocol};

	if (!e->service || !record->service)
		return;
	/* 0: within a jiffy, or none seen */
	if (e->header.type == BN_EVENT_FLOW_CLOSED && e->tuple.protocol == IPPROTO_TCP &&
	    (e->handshake || e->state & BN_FS_ESTABLISHED)) {
		key.protocol = 0;
		bn_histogram_add(&series_of(&f->handshakes, &key, record, NULL)->histogram,
				 e->handshake / 1e6);
	}
	if (e->header.type != BN_EVENT_FLOW_OPENED)
		return;
	key.backend = *bn_flow_destination(e, &key.port);
	if (pod && bn_name_kind(pod) != BN_NAME_POD)
		pod = NULL;
	series_of(&f->connections, &key, record, pod)->count++;
}

int bn_metrics_services_init(struct bn_metrics_flows *f, size_t series)
{
	int r = bn_series_init(&f->connections, series, 4);

	return r < 0 ? r : bn_series_init(&f->handshakes, series, 2);
}

static void put_connections(void *user, const struct bn_series *s)
{
	bn_metric_u64(user, BN_METRIC_SERVICE_CONNECTIONS, s->count, "namespace", s->labels[0],
		      "service", s->labels[1], "backend", s->labels[2], "pod", s->labels[3], NULL);
}

static void put_handshakes(void *user, const struct bn_series *s)
{
	bn_metric_histogram(user, BN_METRIC_SERVICE_HANDSHAKE, &s->histogram, "namespace",
			    s->labels[0], "service", s->labels[1], NULL);
}

void bn_metrics_services_collect(struct bn_metrics_out *out, struct bn_metrics_flows *f)
{
	bn_series_each(&f->connections, put_connections, out);
	bn_series_each(&f->handshakes, put_handshakes, out);
	bn_metric_u64(out, BN_METRIC_OTHER, f->connections.others, "metric",
		      "bpfnet_service_connections_total", NULL);
	bn_metric_u64(out, BN_METRIC_OTHER, f->handshakes.others, "metric",
		      "bpfnet_service_handshake_seconds", NULL);
}
