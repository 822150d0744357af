// SPDX-License-Identifier: Apache-2.0
/* The socket's methods that read and change what the agent holds; see <bpfnet/control.h>. */
#include "agent/agent.h"

#include "address.h"
#include "flows/method.h"
#include "metrics/method.h"
#include "trace/trace.h"

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
		{"svc.list", BN_ACCESS_READ, bn_agent_method_svc_list, a},
		{"svc.get", BN_ACCESS_READ, bn_agent_method_svc_get, a},
		{"policy.list", BN_ACCESS_READ, bn_agent_method_policy_list, a},
		{"policy.get", BN_ACCESS_READ, bn_agent_method_policy_get, a},
		{"policy.trace", BN_ACCESS_READ, bn_agent_method_policy_trace, a},
		{"why", BN_ACCESS_READ, bn_agent_method_why, a},
		{"flows", BN_ACCESS_READ, bn_flows_method, a->observer},
		{"trace", BN_ACCESS_WRITE, bn_tracing_method, a->tracing},
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
