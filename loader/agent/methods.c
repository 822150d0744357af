// SPDX-License-Identifier: Apache-2.0
/* The socket's methods that read and change what the agent holds; see <bpfnet/control.h>. */
#include "agent/agent.h"

#include "address.h"
#include "datapath/sweep.h"
#include "flows/method.h"
#include "metrics/method.h"

#include <bpfnet/access.h>
#include <bpfnet/control.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>
#include <unistd.h>

static int invalid(struct bn_request *r, const char *text)
{
	bn_reply_error(r, BN_CONTROL_CODE_INVALID, text);
	return 0;
}

/* --- apply, delete, get --- */

typedef int (*change_fn)(struct bn_objects *, const struct bn_input *, size_t, json_t **,
			 struct bn_error *);

/*
 * What the datapath refused is wanted and not in force until a later change is taken, or until it
 * is taken back, by deleting what never came to be.
 */
static void note_refusal(struct bn_agent *a, int result, const struct bn_error *err)
{
	if (!a->commit_failed && result < 0 && result != -ENOENT)
		return;
	free(a->refused);
	a->refused = a->commit_failed ? strdup(bn_error_text(err)) : NULL;
}

static int method_change(struct bn_request *r, struct bn_agent *a, change_fn change)
{
	json_t *files = json_object_get(bn_request_params(r), "files"), *results = NULL;
	struct bn_error err = BN_ERROR_INIT;
	struct bn_input *in;
	size_t size, at = 0, n = json_array_size(files);
	const char *body = bn_request_body(r, &size);
	int ret;

	if (!json_is_array(files))
		return invalid(r, "params.files must be an array of {name, size}");
	in = calloc(n ? n : 1, sizeof(*in));
	if (!in)
		return -ENOMEM;
	for (size_t i = 0; i < n; i++) {
		json_t *f = json_array_get(files, i);
		json_int_t len = json_integer_value(json_object_get(f, "size"));

		in[i].file = json_string_value(json_object_get(f, "name"));
		if (!in[i].file || len < 0 || (size_t)len > size - at) {
			free(in);
			return invalid(r, "params.files must be an array of {name, size} whose "
					  "sizes add up to the body's");
		}
		in[i].text = body + at;
		in[i].size = (size_t)len;
		at += (size_t)len;
	}
	a->commit_failed = false;
	ret = change(a->objects, in, n, &results, &err);
	free(in);
	note_refusal(a, ret, &err);
	if (ret < 0)
		bn_reply_errno(r, ret, &err);
	else
		bn_reply(r, results);
	bn_error_done(&err);
	return 0;
}

static int method_apply(struct bn_request *r, void *user)
{
	return method_change(r, user, bn_objects_apply);
}

static int method_delete(struct bn_request *r, void *user)
{
	return method_change(r, user, bn_objects_delete);
}

static const char *param(struct bn_request *r, const char *key)
{
	return json_string_value(json_object_get(bn_request_params(r), key));
}

/* A Service that is stored and not in force says so where Kubernetes' objects do. */
static void add_condition(struct bn_agent *a, json_t *object)
{
	const char *kind = NULL, *namespace = NULL, *name = NULL, *reason;
	json_t *status = json_object_get(object, "status"), *conditions;

	if (json_unpack(object, "{s:s, s:{s:s, s:s}}", "kind", &kind, "metadata", "namespace",
			&namespace, "name", &name) ||
	    strcmp(kind, "Service"))
		return;
	reason = bn_agent_fit_reason(a, namespace, name);
	if (!reason)
		return;
	if (!json_is_object(status)) {
		status = json_object();
		json_object_set_new(object, "status", status);
	}
	conditions = json_object_get(status, "conditions");
	if (!json_is_array(conditions)) {
		conditions = json_array();
		json_object_set_new(status, "conditions", conditions);
	}
	json_array_append_new(conditions,
			      json_pack("{s:s, s:s, s:s, s:s}", "type", "Programmed", "status",
					"False", "reason", "NoRoom", "message", reason));
}

static int method_get(struct bn_request *r, void *user)
{
	struct bn_agent *a = user;
	struct bn_error err = BN_ERROR_INIT;
	json_t *result = NULL;
	int ret;

	if (!param(r, "kind"))
		return invalid(r, "params.kind must be given");
	ret = bn_objects_get(a->objects, param(r, "kind"), param(r, "namespace"), param(r, "name"),
			     &result, &err);
	for (size_t i = 0; ret >= 0 && i < json_array_size(result); i++)
		add_condition(a, json_array_get(result, i));
	if (ret < 0)
		bn_reply_errno(r, ret, &err);
	else
		bn_reply(r, result);
	bn_error_done(&err);
	return 0;
}

/* --- endpoints --- */

static json_t *find_endpoint(struct bn_agent *a, const char *namespace, const char *pod)
{
	json_t *all = bn_endpoints_json(a->endpoints), *e, *found = NULL;
	size_t i;

	json_array_foreach(all, i, e) {
		if (!strcmp(json_string_value(json_object_get(e, "namespace")), namespace) &&
		    !strcmp(json_string_value(json_object_get(e, "pod")), pod))
			found = json_incref(e);
	}
	json_decref(all);
	return found;
}

static int method_endpoint_add(struct bn_request *r, void *user)
{
	struct bn_agent *a = user;
	json_t *ips = json_object_get(bn_request_params(r), "ips"), *ip;
	struct bn_error err = BN_ERROR_INIT;
	union bn_addr addrs[8];
	struct bn_endpoint_request req = {
		.namespace = param(r, "namespace"),
		.pod = param(r, "pod"),
		.ifname = param(r, "ifname"),
		.netns_name = param(r, "netns"),
		.ips = addrs,
	};
	size_t i;
	int ret = 0;

	if (!req.namespace || !req.pod)
		return invalid(r, "params.namespace and params.pod must be given");
	if (!json_is_array(ips) || json_array_size(ips) > sizeof(addrs) / sizeof(addrs[0]))
		return invalid(r, "params.ips must be an array of at most two addresses");
	json_array_foreach(ips, i, ip) {
		const char *text = json_string_value(ip);

		if (!text || bn_addr_parse(text, &addrs[i], NULL)) {
			bn_error_set(&err, -EINVAL,
				     "can't add the endpoint %s/%s: '%s' is no IPv4 or IPv6 "
				     "address",
				     req.namespace, req.pod, text ? text : "");
			bn_reply_errno(r, -EINVAL, &err);
			bn_error_done(&err);
			return 0;
		}
		req.n_ips++;
	}
	req.netns_fd = bn_request_take_fd(r, 0);
	if (req.netns_fd < 0)
		return invalid(r,
			       "a descriptor of the network namespace must come with the request");
	ret = bn_endpoints_add(a->endpoints, &req, &err);
	close(req.netns_fd);
	if (ret < 0) {
		bn_reply_errno(r, ret, &err);
	} else {
		json_t *e = find_endpoint(a, req.namespace, req.pod);

		bn_reply(r, e ? e : json_null());
	}
	bn_error_done(&err);
	return 0;
}

static int method_endpoint_delete(struct bn_request *r, void *user)
{
	struct bn_agent *a = user;
	const char *namespace = param(r, "namespace"), *pod = param(r, "pod");
	struct bn_error err = BN_ERROR_INIT;
	json_t *was;
	int ret;

	if (!namespace || !pod)
		return invalid(r, "params.namespace and params.pod must be given");
	was = find_endpoint(a, namespace, pod);
	ret = bn_endpoints_delete(a->endpoints, namespace, pod, &err);
	if (ret < 0) {
		json_decref(was);
		bn_reply_errno(r, ret, &err);
	} else {
		bn_reply(r, was ? was : json_null());
	}
	bn_error_done(&err);
	return 0;
}

static int method_endpoint_list(struct bn_request *r, void *user)
{
	struct bn_agent *a = user;
	json_t *list = bn_endpoints_json(a->endpoints);

	if (!list)
		return -ENOMEM;
	bn_reply(r, list);
	return 0;
}

/* --- services --- */

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

static const char *protocol_name(uint8_t protocol)
{
	return protocol == 6 ? "TCP" : protocol == 17 ? "UDP" : "SCTP";
}

static json_t *text_or_null(const char *s)
{
	return s ? json_string(s) : json_null();
}

static bool listed(json_t *backends, const char *ip, unsigned port, const char *protocol)
{
	json_t *b;
	size_t i;

	json_array_foreach(backends, i, b) {
		if (json_integer_value(json_object_get(b, "port")) == port &&
		    !strcmp(json_string_value(json_object_get(b, "ip")), ip) &&
		    !strcmp(json_string_value(json_object_get(b, "protocol")), protocol))
			return true;
	}
	return false;
}

struct service_list {
	struct bn_agent *agent;
	json_t *array;
	const char *namespace; /* NULL: all */
	uint32_t *open;        /* flows by backend index */
	uint32_t n_open;
};

static int count_flow(void *user, const struct bn_tuple *key, const struct bn_flow *flow,
		      int64_t expires_ms, bool established)
{
	struct service_list *l = user;
	const uint8_t wanted = BN_FLOW_ORIGIN | BN_FLOW_BACKEND;

	if ((flow->flags & wanted) == wanted && !(flow->flags & BN_FLOW_COUNTED) &&
	    flow->backend < l->n_open)
		l->open[flow->backend]++;
	return 0;
}

/* Connections are counted in the flow tables themselves: nothing to drift, nothing to pay for. */
static int service_list_begin(struct service_list *l)
{
	struct bn_map_shape shape;
	int r;

	l->array = json_array();
	r = bn_map_shape(l->agent->programs.maps[BN_MAP_bn_backends], &shape);
	if (r)
		return r;
	l->n_open = shape.max_entries;
	l->open = calloc(l->n_open, sizeof(*l->open));
	if (!l->open || !l->array)
		return -ENOMEM;
	return bn_flows_each(&l->agent->programs, count_flow, l);
}

static void service_list_end(struct service_list *l)
{
	free(l->open);
	json_decref(l->array);
}

static void add_backend(struct service_list *l, json_t *backends, const struct bn_service_spec *s,
			const struct bn_frontend_spec *f, const struct bn_backend_spec *b)
{
	const char *protocol = protocol_name(f->protocol);
	char ip[BN_ADDR_STRLEN];
	uint32_t index = 0, open = 0;
	json_t *o;

	bn_addr_format(&b->addr, ip);
	if (listed(backends, ip, b->port, protocol))
		return;
	if (!bn_services_backend_index(l->agent->services, s->namespace, s->name, &b->addr, b->port,
				       f->protocol, &index) &&
	    index < l->n_open)
		open = l->open[index];
	o = json_pack("{s:s, s:i, s:s, s:s, s:i, s:o, s:o, s:I}", "ip", ip, "port", (int)b->port,
		      "protocol", protocol, "state",
		      b->state < BN_BACKEND_STATE_MAX && state_names[b->state]
			      ? state_names[b->state]
			      : "unknown",
		      "weight", (int)b->weight, "node", text_or_null(b->node), "pod",
		      text_or_null(b->pod), "connections", (json_int_t)open);
	json_array_append_new(backends, o);
}

static int add_service(void *user, const struct bn_service_spec *s)
{
	struct service_list *l = user;
	json_t *frontends, *backends, *o;
	const char *refused;
	char ip[BN_ADDR_STRLEN];

	if (l->namespace && strcmp(l->namespace, s->namespace))
		return 0;
	frontends = json_array();
	backends = json_array();
	for (size_t i = 0; i < s->n_frontends; i++) {
		const struct bn_frontend_spec *f = &s->frontends[i];

		o = json_pack("{s:s, s:i, s:s, s:s, s:o}", "ip", bn_addr_format(&f->addr, ip),
			      "port", (int)f->port, "protocol", protocol_name(f->protocol), "kind",
			      kind_names[f->kind], "name", text_or_null(f->port_name));
		json_array_append_new(frontends, o);
		for (size_t k = 0; k < f->n_backends; k++)
			add_backend(l, backends, s, f, &f->backends[k]);
	}
	o = json_pack("{s:s, s:s, s:s, s:o, s:o}", "namespace", s->namespace, "name", s->name,
		      "type", s->type, "frontends", frontends, "backends", backends);
	refused = bn_agent_fit_reason(l->agent, s->namespace, s->name);
	if (refused)
		json_object_set_new(o, "refused", json_string(refused));
	return json_array_append_new(l->array, o) ? -ENOMEM : 0;
}

static int method_svc_list(struct bn_request *r, void *user)
{
	struct service_list l = {.agent = user, .namespace = param(r, "namespace")};
	int ret = service_list_begin(&l);

	if (!ret)
		ret = bn_objects_each_service(l.agent->objects, add_service, &l);
	if (!ret)
		bn_reply(r, json_incref(l.array));
	service_list_end(&l);
	return ret;
}

static int method_svc_get(struct bn_request *r, void *user)
{
	struct service_list l = {.agent = user};
	const char *namespace = param(r, "namespace"), *name = param(r, "name");
	struct bn_error err = BN_ERROR_INIT;
	int ret;

	if (!namespace || !name)
		return invalid(r, "params.namespace and params.name must be given");
	ret = service_list_begin(&l);
	if (!ret)
		ret = bn_objects_service(l.agent->objects, namespace, name, add_service, &l);
	if (ret < 0) {
		bn_error_set(&err, ret, "service %s/%s not found", namespace, name);
		bn_reply_errno(r, ret, &err);
	} else {
		bn_reply(r, json_incref(json_array_get(l.array, 0)));
	}
	bn_error_done(&err);
	service_list_end(&l);
	return 0;
}

/* --- the rest --- */

static int method_config(struct bn_request *r, void *user)
{
	struct bn_agent *a = user;
	json_t *o = bn_agent_config_json(a->config);

	if (!o)
		return -ENOMEM;
	bn_reply(r, o);
	return 0;
}

static int method_version(struct bn_request *r, void *user)
{
	struct bn_agent *a = user;
	struct utsname u;

	uname(&u);
	bn_reply(r,
		 json_pack("{s:s, s:i, s:s, s:s}", "version", BN_VERSION, "control",
			   BN_CONTROL_VERSION, "node", a->config->node_name, "kernel", u.release));
	return 0;
}

int bn_agent_methods(struct bn_agent *a, struct bn_error *err)
{
	const struct {
		const char *name;
		enum bn_access access;
		bn_method_fn fn;
		void *user;
	} methods[] = {
		{"apply", BN_ACCESS_WRITE, method_apply, a},
		{"delete", BN_ACCESS_WRITE, method_delete, a},
		{"get", BN_ACCESS_READ, method_get, a},
		{"endpoint.add", BN_ACCESS_WRITE, method_endpoint_add, a},
		{"endpoint.delete", BN_ACCESS_WRITE, method_endpoint_delete, a},
		{"endpoint.list", BN_ACCESS_READ, method_endpoint_list, a},
		{"svc.list", BN_ACCESS_READ, method_svc_list, a},
		{"svc.get", BN_ACCESS_READ, method_svc_get, a},
		{"flows", BN_ACCESS_READ, bn_flows_method, a->observer},
		{"ct.list", BN_ACCESS_READ, bn_agent_method_ct_list, a},
		{"nat.list", BN_ACCESS_READ, bn_agent_method_nat_list, a},
		{"map.list", BN_ACCESS_READ, bn_agent_method_map_list, a},
		{"map.audit", BN_ACCESS_WRITE, bn_agent_method_map_audit, a},
		{"metrics", BN_ACCESS_READ, bn_metrics_method, a->metrics},
		{"status", BN_ACCESS_READ, bn_agent_method_status, a},
		{"config", BN_ACCESS_READ, method_config, a},
		{"version", BN_ACCESS_READ, method_version, a},
	};

	for (size_t i = 0; i < sizeof(methods) / sizeof(methods[0]); i++) {
		int r = bn_server_method(a->server, methods[i].name, methods[i].access,
					 methods[i].fn, methods[i].user);

		if (r < 0)
			return bn_error_set(err, r, "can't register the method %s: %s",
					    methods[i].name, strerror(-r));
	}
	return 0;
}
