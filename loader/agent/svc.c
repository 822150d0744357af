// SPDX-License-Identifier: Apache-2.0
/*
 * `svc list` and `svc get`: services as the datapath has them. Connections and bytes are counted in
 * the flow tables themselves when somebody asks: nothing to drift, nothing to pay for.
 */
#include "agent/agent.h"
#include "datapath/flow-table.h"

#include <arpa/inet.h>
#include <bpfnet/access.h>
#include <bpfnet/control.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define HASH_NONFATAL_OOM 1
#include <uthash.h>
#undef uthash_nonfatal_oom
#define uthash_nonfatal_oom(element) (l->no_memory = true)

static const char *const kind_names[BN_FRONTEND_MAX] = {
	[BN_FRONTEND_CLUSTER_IP] = "ClusterIP",       [BN_FRONTEND_NODE_PORT] = "NodePort",
	[BN_FRONTEND_LOAD_BALANCER] = "LoadBalancer", [BN_FRONTEND_EXTERNAL_IP] = "ExternalIP",
	[BN_FRONTEND_HOST_PORT] = "HostPort",
};

static const char *const state_names[BN_BACKEND_STATE_MAX] = {
	[BN_BACKEND_ACTIVE] = "active",
	[BN_BACKEND_TERMINATING] = "terminating",
	[BN_BACKEND_NOT_READY] = "not-ready",
};

struct traffic {
	uint32_t connections;
	uint64_t bytes; /* of these, towards the backend */
};

/* What comes back from a backend: a reply's entry has no index, but the backend's address. */
struct replies {
	struct {
		union bn_addr addr;
		uint32_t service; /* id */
		__be16 port;
		uint16_t protocol;
	} key;
	uint64_t bytes;
	UT_hash_handle hh;
};

struct listing {
	struct bn_agent *agent;
	json_t *array;
	const char *namespace;   /* NULL: all */
	struct traffic *traffic; /* by backend index */
	uint32_t n_traffic;
	struct replies *replies;
	bool no_memory; /* uthash could not grow a table */
};

static const char *protocol_name(uint8_t protocol)
{
	return protocol == IPPROTO_TCP ? "TCP" : protocol == IPPROTO_UDP ? "UDP" : "SCTP";
}

static const char *policy_name(bool local)
{
	return local ? "Local" : "Cluster";
}

static json_t *text_or_null(const char *s)
{
	return s ? json_string(s) : json_null();
}

static int count_reply(struct listing *l, const struct bn_tuple *key, const struct bn_flow *flow)
{
	struct replies probe = {.key = {.addr = key->saddr,
					.service = bn_flow_service(&flow->hot),
					.port = key->sport,
					.protocol = key->protocol}};
	struct replies *found = NULL;

	HASH_FIND(hh, l->replies, &probe.key, sizeof(probe.key), found);
	if (!found) {
		found = malloc(sizeof(*found));
		if (!found)
			return -ENOMEM;
		*found = probe;
		HASH_ADD(hh, l->replies, key, sizeof(found->key), found);
		if (l->no_memory) {
			free(found);
			return -ENOMEM;
		}
	}
	found->bytes += flow->bytes;
	return 0;
}

static int count_flow(void *user, const struct bn_tuple *key, const struct bn_flow *flow,
		      int64_t expires_ms, bool established)
{
	struct listing *l = user;
	uint32_t index;

	if (flow->flags & BN_FLOW_COUNTED)
		return 0;
	if (flow->flags & BN_FLOW_SERVICE && !(flow->flags & BN_FLOW_ORIGIN))
		return count_reply(l, key, flow);
	if (!(flow->flags & BN_FLOW_BACKEND))
		return 0;
	index = bn_flow_backend_index(flow->backend);
	if (index >= l->n_traffic)
		return 0;
	l->traffic[index].connections++;
	l->traffic[index].bytes += flow->bytes;
	return 0;
}

static int begin(struct listing *l)
{
	struct bn_map_shape shape;
	int r;

	l->array = json_array();
	r = bn_map_shape(l->agent->programs.maps[BN_MAP_bn_backends], &shape);
	if (r)
		return r;
	l->n_traffic = shape.max_entries;
	l->traffic = calloc(l->n_traffic, sizeof(*l->traffic));
	if (!l->traffic || !l->array)
		return -ENOMEM;
	return bn_flows_each(&l->agent->programs, count_flow, l);
}

static void end(struct listing *l)
{
	struct replies *one, *next;

	HASH_ITER(hh, l->replies, one, next) {
		HASH_DELETE(hh, l->replies, one);
		free(one);
	}
	free(l->traffic);
	json_decref(l->array);
}

/* ---- backends ---- */

static uint64_t reply_bytes(const struct listing *l, const struct bn_service_spec *s,
			    uint8_t protocol, const struct bn_backend_spec *b)
{
	struct replies probe = {
		.key = {.addr = b->addr, .port = htons(b->port), .protocol = protocol}};
	struct replies *found = NULL;

	if (bn_services_id(l->agent->services, s->namespace, s->name, &probe.key.service) < 0)
		return 0;
	HASH_FIND(hh, l->replies, &probe.key, sizeof(probe.key), found);
	return found ? found->bytes : 0;
}

static json_t *backend_json(struct listing *l, const struct bn_service_spec *s, uint8_t protocol,
			    const struct bn_backend_spec *b)
{
	struct traffic traffic = {0};
	char ip[BN_ADDR_STRLEN];
	uint32_t index = 0;
	json_t *o, *serves;

	if (!bn_services_backend_index(l->agent->services, s->namespace, s->name, &b->addr, b->port,
				       protocol, &index) &&
	    index < l->n_traffic)
		traffic = l->traffic[index];
	serves = json_array();
	if (b->use & BN_USE_CLUSTER)
		json_array_append_new(serves, json_string(policy_name(false)));
	if (b->use & BN_USE_LOCAL)
		json_array_append_new(serves, json_string(policy_name(true)));
	o = json_pack("{s:s, s:i, s:s, s:s, s:i, s:i, s:o, s:o, s:o, s:o, s:I, s:I}", "ip",
		      bn_addr_format(&b->addr, ip), "port", (int)b->port, "protocol",
		      protocol_name(protocol), "state", state_names[b->state], "weight",
		      (int)b->weight, "local_weight", (int)b->local_weight, "serves", serves,
		      "node", text_or_null(b->node), "pod", text_or_null(b->pod), "zone",
		      text_or_null(b->zone), "connections", (json_int_t)traffic.connections,
		      "bytes", (json_int_t)(traffic.bytes + reply_bytes(l, s, protocol, b)));
	return o;
}

/* Backends that are not in the list yet: several frontends lead to the same. */
static void add_backends(struct listing *l, json_t *list, json_t *seen,
			 const struct bn_service_spec *s, uint8_t protocol,
			 const struct bn_backend_spec *backends, size_t n)
{
	char key[BN_ADDR_STRLEN + 16], ip[BN_ADDR_STRLEN];

	for (size_t i = 0; i < n; i++) {
		snprintf(key, sizeof(key), "%s %u %u", bn_addr_format(&backends[i].addr, ip),
			 backends[i].port, protocol);
		if (json_object_get(seen, key))
			continue;
		json_object_set_new(seen, key, json_true());
		json_array_append_new(list, backend_json(l, s, protocol, &backends[i]));
	}
}

static json_t *backends_json(struct listing *l, const struct bn_service_spec *s)
{
	json_t *list = json_array(), *seen = json_object();

	for (size_t i = 0; i < s->n_frontends; i++) {
		const struct bn_frontend_spec *f = &s->frontends[i];

		/* of one port and family all have one list */
		if (i && f->backends == f[-1].backends)
			continue;
		add_backends(l, list, seen, s, f->protocol, f->backends, f->n_backends);
	}
	for (size_t i = 0; i < s->n_headless; i++)
		add_backends(l, list, seen, s, s->headless[i].protocol, s->headless[i].backends,
			     s->headless[i].n_backends);
	json_decref(seen);
	return list;
}

/* ---- services ---- */

static json_t *frontend_json(const struct bn_frontend_spec *f)
{
	char text[BN_CIDR_STRLEN];
	json_t *o, *ranges;

	o = json_pack("{s:s, s:i, s:s, s:s, s:o, s:s}", "ip", bn_addr_format(&f->addr, text),
		      "port", (int)f->port, "protocol", protocol_name(f->protocol), "kind",
		      kind_names[f->kind], "name", text_or_null(f->port_name), "traffic_policy",
		      policy_name(f->local_inside || f->local_outside));
	if (!f->restricted)
		return o;
	ranges = json_array();
	for (size_t i = 0; i < f->n_source_ranges; i++)
		json_array_append_new(ranges,
				      json_string(bn_cidr_format(&f->source_ranges[i], text)));
	json_object_set_new(o, "source_ranges", ranges);
	return o;
}

static int add_service(void *user, const struct bn_service_spec *s)
{
	struct listing *l = user;
	json_t *frontends, *health, *o;
	const char *refused;

	if (l->namespace && strcmp(l->namespace, s->namespace))
		return 0;
	frontends = json_array();
	for (size_t i = 0; i < s->n_frontends; i++)
		json_array_append_new(frontends, frontend_json(&s->frontends[i]));
	health = s->health_port ? json_pack("{s:i, s:I}", "port", (int)s->health_port,
					    "local_endpoints", (json_int_t)s->local_ready)
				: json_null();
	o = json_pack("{s:s, s:s, s:s, s:b, s:s, s:s, s:o, s:I, s:o, s:o, s:o}", "namespace",
		      s->namespace, "name", s->name, "type", s->type, "headless", s->is_headless,
		      "internal_traffic_policy", policy_name(s->internal_local),
		      "external_traffic_policy", policy_name(s->external_local),
		      "traffic_distribution", text_or_null(s->distribution), "session_affinity_s",
		      (json_int_t)s->affinity_seconds, "health_check", health, "frontends",
		      frontends, "backends", backends_json(l, s));
	refused = bn_agent_fit_reason(l->agent, s->namespace, s->name);
	if (refused)
		json_object_set_new(o, "refused", json_string(refused));
	return json_array_append_new(l->array, o) ? -ENOMEM : 0;
}

static const char *param(struct bn_request *r, const char *name)
{
	return json_string_value(json_object_get(bn_request_params(r), name));
}

static int list_services(struct bn_agent *a, const char *namespace, json_t **ret)
{
	struct listing l = {.agent = a, .namespace = namespace};
	int r = begin(&l);

	if (!r)
		r = bn_objects_each_service(a->objects, add_service, &l);
	if (!r)
		*ret = json_incref(l.array);
	end(&l);
	return r;
}

json_t *bn_agent_services_json(struct bn_agent *a, const char *namespace)
{
	json_t *list = NULL;

	return list_services(a, namespace, &list) < 0 ? NULL : list;
}

int bn_agent_method_svc_list(struct bn_request *r, void *user)
{
	json_t *list = NULL;
	int ret = list_services(user, param(r, "namespace"), &list);

	if (!ret)
		bn_reply(r, list);
	return ret;
}

int bn_agent_method_svc_get(struct bn_request *r, void *user)
{
	const char *namespace = param(r, "namespace"), *name = param(r, "name");
	struct listing l = {.agent = user};
	struct bn_error err = BN_ERROR_INIT;
	int ret;

	if (!namespace || !name) {
		bn_reply_error(r, BN_CONTROL_CODE_INVALID,
			       "params.namespace and params.name must be given");
		return 0;
	}
	ret = begin(&l);
	if (!ret)
		ret = bn_objects_service(l.agent->objects, namespace, name, add_service, &l);
	if (ret < 0) {
		bn_error_set(&err, ret, "service %s/%s not found", namespace, name);
		bn_reply_errno(r, ret, &err);
	} else {
		bn_reply(r, json_incref(json_array_get(l.array, 0)));
	}
	bn_error_done(&err);
	end(&l);
	return 0;
}
