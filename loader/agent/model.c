// SPDX-License-Identifier: Apache-2.0
/*
 * Between the objects and the datapath: a change of the model becomes a commit of services and
 * addresses, an endpoint becomes entries and attached programs, and both give flows their names.
 */
#include "agent/agent.h"

#include "health/health.h"
#include "log.h"
#include "net/inventory.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

struct labels {
	json_t *object;
};

static int collect_labels(void *user, const struct bn_label *labels, size_t n)
{
	struct labels *l = user;

	l->object = json_object();
	for (size_t i = 0; i < n; i++)
		json_object_set_new(l->object, labels[i].key, json_string(labels[i].value));
	return l->object ? 0 : -ENOMEM;
}

struct pod_name {
	struct bn_name_spec spec;
	struct bn_label *labels;
	json_t *text; /* of the labels */
};

/* A pod's name for flows, with its labels where a manifest gives them. */
static void pod_name_init(struct pod_name *ret, struct bn_agent *a, const char *namespace,
			  const char *name, uint32_t identity)
{
	struct labels l = {0};
	struct bn_label *labels = NULL;
	const char *key;
	json_t *value;
	size_t n = 0;

	if (bn_objects_pod_labels(a->objects, namespace, name, collect_labels, &l) == 0 &&
	    l.object) {
		labels = calloc(json_object_size(l.object) + 1, sizeof(*labels));
		json_object_foreach(l.object, key, value) {
			if (labels)
				labels[n++] = (struct bn_label){key, json_string_value(value)};
		}
	}
	*ret = (struct pod_name){
		.spec = {.kind = BN_NAME_POD,
			 .namespace = namespace,
			 .name = name,
			 .labels = labels,
			 .n_labels = n,
			 .identity = identity},
		.labels = labels,
		.text = l.object,
	};
}

static void pod_name_done(struct pod_name *name)
{
	free(name->labels);
	json_decref(name->text);
}

static void name_remote_pod(struct bn_agent *a, const union bn_addr *addr, const char *namespace,
			    const char *pod, uint32_t identity)
{
	struct pod_name name;

	pod_name_init(&name, a, namespace, pod, identity);
	bn_names_set(a->names, addr, &name.spec);
	pod_name_done(&name);
}

static void name_endpoint(struct bn_agent *a, const struct bn_endpoint_info *info)
{
	struct bn_policy_endpoint policy;
	struct pod_name name;

	bn_policy_endpoint(a->policy, info->namespace, info->pod, &policy);
	pod_name_init(&name, a, info->namespace, info->pod, policy.identity4);
	name.spec.local = true;
	for (size_t i = 0; i < info->n_ips; i++)
		bn_names_set(a->names, &info->ips[i], &name.spec);
	if (info->ifindex)
		bn_names_device_set(a->names, (uint32_t)info->ifindex, &name.spec);
	pod_name_done(&name);
}

void bn_agent_name_peer(struct bn_agent *a, const struct bn_peer_spec *peer)
{
	struct bn_name_spec spec = {.identity = peer->identity};
	struct bn_owner owner;

	if (bn_objects_address_owner(a->objects, &peer->addr, &owner) < 0)
		return;
	if (owner.kind == BN_OWNER_POD) {
		name_remote_pod(a, &peer->addr, owner.namespace, owner.name, peer->identity);
		return;
	}
	if (owner.kind != BN_OWNER_NODE)
		return;
	spec.kind = peer->kind == BN_ADDR_HOST ? BN_NAME_HOST : BN_NAME_NODE;
	spec.name = owner.name;
	bn_names_set(a->names, &peer->addr, &spec);
}

void bn_agent_name_services(struct bn_agent *a, const struct bn_change *c)
{
	uint32_t id;

	for (size_t i = 0; i < c->n_services; i++) {
		if (bn_services_id(a->services, c->services[i].namespace, c->services[i].name,
				   &id) == 0)
			bn_names_service_id_set(a->names, id, c->services[i].namespace,
						c->services[i].name);
	}
}

static bool is_endpoint(struct bn_agent *a, const union bn_addr *addr)
{
	struct bn_owner owner;
	struct bn_endpoint_info info;

	if (bn_objects_address_owner(a->objects, addr, &owner) < 0 || owner.kind != BN_OWNER_POD)
		return false;
	if (bn_endpoints_find(a->endpoints, owner.namespace, owner.name, &info) < 0)
		return false;
	for (size_t i = 0; i < info.n_ips; i++) {
		if (bn_addr_equal(&info.ips[i], addr))
			return true;
	}
	return false;
}

static int set_health(struct bn_agent *a, const struct bn_change *c)
{
	size_t n = c->n_services + c->n_removed;
	struct bn_health_service *services = calloc(n + 1, sizeof(*services));
	int r;

	if (!services)
		return -ENOMEM;
	for (size_t i = 0; i < n; i++) {
		bool gone = i >= c->n_services;
		const struct bn_service_spec *s = gone ? &c->removed[i - c->n_services]
						       : &c->services[i];

		services[i] = (struct bn_health_service){
			.namespace = s->namespace,
			.name = s->name,
			.port = gone ? 0 : s->health_port,
			.local = gone ? 0 : s->local_ready,
		};
	}
	r = bn_health_set(a->health, services, n);
	free(services);
	return r;
}

/* Whom services admit from outside, of those that have an id already: before their commit. */
static int add_sources(struct bn_agent *a, const struct bn_change *c, struct bn_error *err)
{
	uint32_t id;
	int r = 0;

	for (size_t i = 0; i < c->n_services && !r; i++) {
		if (!bn_services_id(a->services, c->services[i].namespace, c->services[i].name,
				    &id))
			r = bn_sources_add(a->sources, id, &c->services[i], err);
	}
	return r;
}

/* ... and after it, when all have one: those that went are no longer admitted. */
static int settle_sources(struct bn_agent *a, const struct bn_change *c, const uint32_t *gone,
			  bool ok, struct bn_error *err)
{
	uint32_t id;
	int r = 0;

	for (size_t i = 0; i < c->n_services; i++) {
		if (bn_services_id(a->services, c->services[i].namespace, c->services[i].name, &id))
			continue;
		if (ok && !r)
			r = bn_sources_add(a->sources, id, &c->services[i], err);
		if (ok && !r)
			bn_sources_trim(a->sources, id);
		else
			bn_sources_revert(a->sources, id);
	}
	for (size_t i = 0; ok && i < c->n_removed; i++) {
		if (gone[i])
			bn_sources_remove(a->sources, gone[i]);
	}
	return r;
}

int bn_agent_commit(void *user, const struct bn_change *c, struct bn_error *err)
{
	struct bn_agent *a = user;
	struct bn_peer_spec *peers;
	uint32_t *gone;
	int r;

	gone = calloc(c->n_removed + 1, sizeof(*gone));
	peers = calloc(c->n_peers + 1, sizeof(*peers));
	r = gone && peers ? bn_agent_policy_prepare(a, c, err) : -ENOMEM;
	if (r) {
		free(gone);
		free(peers);
		a->commit_failed = r;
		return r;
	}
	for (size_t i = 0; i < c->n_peers; i++) {
		peers[i] = c->peers[i];
		peers[i].identity = bn_agent_policy_identity(a, &peers[i]);
	}
	for (size_t i = 0; i < c->n_removed; i++)
		bn_services_id(a->services, c->removed[i].namespace, c->removed[i].name, &gone[i]);
	/* what a predecessor left is in force until its policies are */
	if (!a->filled)
		bn_addresses_stage(a->addresses);
	/* addresses first: a backend's pod is known before a service sends flows to it */
	r = bn_agent_fit_peers(a, peers, c->n_peers, err);
	if (!r)
		r = add_sources(a, c, err);
	if (!r)
		r = bn_agent_fit_services(a, c, err);
	if (r)
		settle_sources(a, c, gone, false, NULL);
	else
		r = settle_sources(a, c, gone, true, err);
	if (r)
		bn_policy_abort(a->policy);
	else
		r = bn_policy_commit(a->policy, err);
	if (!r && !a->filled)
		r = bn_agent_fit_peers(a, peers, c->n_peers, err);
	if (!r)
		r = bn_addresses_peers(a->addresses, NULL, 0, c->peers_removed, c->n_peers_removed,
				       err);
	a->commit_failed = r;
	bn_agent_expire(a);
	if (!r) {
		bn_agent_fit_removed(a, c->peers_removed, c->n_peers_removed);
		bn_agent_fit_room(a);
		for (size_t i = 0; i < c->n_removed; i++) {
			if (gone[i])
				bn_names_service_id_remove(a->names, gone[i]);
		}
		for (size_t i = 0; i < c->n_peers_removed; i++) {
			/* the node's own stay its own without a Node object */
			if (bn_addresses_is_own(a->addresses, &c->peers_removed[i]))
				bn_agent_name_own(a, &c->peers_removed[i]);
			else if (!is_endpoint(a, &c->peers_removed[i]))
				bn_names_remove(a->names, &c->peers_removed[i]);
		}
		for (size_t i = 0; i < c->n_peers; i++) {
			peers[i].identity = bn_agent_policy_identity(a, &peers[i]);
			bn_agent_name_peer(a, &peers[i]);
		}
		bn_agent_name_services(a, c);
		/* the datapath has it: what can't be answered now is in the log */
		if (set_health(a, c) < 0)
			bn_log(BN_LOG_ERROR, "can't answer health checks: out of memory", NULL);
	}
	free(gone);
	free(peers);
	return r;
}

void bn_agent_pod_changed(void *user, const char *namespace, const char *name)
{
	struct bn_agent *a = user;
	struct bn_endpoint_info info;

	if (a->endpoints && bn_endpoints_find(a->endpoints, namespace, name, &info) == 0)
		name_endpoint(a, &info);
}

static void interface_of(struct bn_interface *ret, const struct bn_endpoint_info *info)
{
	*ret = (struct bn_interface){
		.ifindex = (uint32_t)info->ifindex,
		.slot = info->slot,
		.mtu = info->mtu,
		.ips = info->ips,
		.n_ips = info->n_ips,
	};
}

/* Without socket programs nobody asks. */
static uint32_t netns_of(struct bn_agent *a, const struct bn_endpoint_info *info)
{
	struct bn_link link;

	if (a->sockets_off || !a->config->cgroup || !info->ifindex ||
	    bn_link_get(a->nl, NULL, info->ifindex, &link) < 0 || link.peer_netns < 0)
		return 0;
	return (uint32_t)link.peer_netns + 1;
}

int bn_agent_publish_endpoint(struct bn_agent *a, const struct bn_endpoint_info *info,
			      struct bn_error *err)
{
	struct bn_interface i;
	int r;

	interface_of(&i, info);
	i.netns = netns_of(a, info);
	bn_agent_policy_interface(a, info, &i);
	r = bn_addresses_endpoint_set(a->addresses, &i, err);
	if (!r)
		name_endpoint(a, info);
	return r;
}

static int endpoint_publish(void *user, const struct bn_endpoint_info *info, struct bn_error *err)
{
	struct bn_agent *a = user;
	int r;

	r = bn_objects_endpoint_set(a->objects, info->namespace, info->pod, info->ips, info->n_ips,
				    err);
	if (r < 0)
		return r;
	/* one that is taken over keeps what a predecessor gave it until its policy is known */
	if (a->started)
		r = bn_agent_publish_endpoint(a, info, err);
	else
		r = bn_addresses_endpoint_reserve(a->addresses, info->ips, info->n_ips, err);
	if (!r)
		r = bn_agent_sockets_endpoint_set(a, info, err);
	if (r)
		bn_objects_endpoint_remove(a->objects, info->namespace, info->pod, NULL);
	return r;
}

static int endpoint_attach(void *user, const struct bn_endpoint_info *info, struct bn_error *err)
{
	struct bn_agent *a = user;
	int r;

	/*
	 * A predecessor's programs go on with its maps, which may not be ours: they are replaced when
	 * ours are filled.
	 */
	if (!a->filled)
		return 0;
	/* out of the pod is open last: what it sends is decided, what it gets is checked */
	r = bn_attach(&a->attach, info->ifindex, BN_ATTACH_EGRESS,
		      a->programs.programs[BN_PROGRAM_TO_POD], err);
	if (r < 0)
		return r;
	return bn_attach(&a->attach, info->ifindex, BN_ATTACH_INGRESS,
			 a->programs.programs[BN_PROGRAM_FROM_POD], err);
}

static int attach_one(void *user, const struct bn_endpoint_info *info)
{
	struct bn_error err = BN_ERROR_INIT;

	/* one that can't be keeps the others no longer down than an adopted one out of order */
	if (info->ifindex && endpoint_attach(user, info, &err) < 0)
		bn_log(BN_LOG_ERROR, "can't attach the programs of an endpoint", "namespace",
		       info->namespace, "pod", info->pod, "error", bn_error_text(&err), NULL);
	bn_error_done(&err);
	return 0;
}

int bn_agent_attach_endpoints(struct bn_agent *a, struct bn_error *err)
{
	a->filled = true;
	return bn_endpoints_each(a->endpoints, attach_one, a);
}

static void endpoint_withdraw(void *user, const struct bn_endpoint_info *info)
{
	struct bn_agent *a = user;
	struct bn_interface i;

	interface_of(&i, info);
	bn_objects_endpoint_remove(a->objects, info->namespace, info->pod, NULL);
	bn_addresses_endpoint_remove(a->addresses, &i);
	bn_agent_sockets_endpoint_remove(a, info);
	for (size_t n = 0; n < info->n_ips; n++)
		bn_names_remove(a->names, &info->ips[n]);
	if (info->ifindex) {
		bn_names_device_remove(a->names, (uint32_t)info->ifindex);
		bn_detach(&a->attach, info->ifindex, BN_ATTACH_INGRESS, NULL);
		bn_detach(&a->attach, info->ifindex, BN_ATTACH_EGRESS, NULL);
	}
}

const struct bn_endpoints_ops bn_agent_endpoint_ops = {
	.publish = endpoint_publish,
	.attach = endpoint_attach,
	.withdraw = endpoint_withdraw,
	.describe = bn_agent_policy_describe,
	.cookie = bn_agent_sockets_cookie,
};
