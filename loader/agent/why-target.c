// SPDX-License-Identifier: Apache-2.0
/* Whom the flow is for: a pod, a service by name or address, a node, somebody outside, or nobody. */
#include "agent/why.h"

#include "agent/agent.h"
#include "address.h"

#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CANNOT "can't say why: "

/* ---- who it is ---- */

static int set_port(struct why *w, const char *text, struct bn_error *err)
{
	char *end;
	long port = strtol(text, &end, 10);

	if (*end || end == text || port < 1 || port > 65535)
		return bn_error_set(err, -EINVAL, CANNOT "'%s' is no port, 1 to 65535", text);
	if (w->port && w->port != port)
		return bn_error_set(err, -EINVAL, CANNOT "two ports are given: %ld and %u", port,
				    w->port);
	w->port = (uint16_t)port;
	return 0;
}

/* IP, IPv4:PORT, [IP] or [IP]:PORT; 1: it is none of these. */
static int read_ip(struct why *w, struct bn_error *err)
{
	char *text = w->to_copy, *port = NULL, *end;

	w->by_ip = bn_addr_parse(text, &w->to_ip, NULL) == 0;
	if (w->by_ip)
		return 0;
	if (*text == '[') {
		end = strchr(text, ']');
		if (!end || (end[1] && end[1] != ':'))
			return 1;
		*end = 0;
		port = end[1] ? end + 2 : NULL;
		text++;
	} else {
		port = strchr(text, ':');
		if (!port || strchr(port + 1, ':'))
			return 1;
		*port++ = 0;
	}
	w->by_ip = bn_addr_parse(text, &w->to_ip, NULL) == 0;
	return !w->by_ip ? 1 : port ? set_port(w, port, err) : 0;
}

static int seen(void *user, const struct bn_service_spec *service)
{
	return 0;
}

static bool is_pod(struct why *w, const struct why_pod *p)
{
	struct bn_endpoint_info info;
	json_t *list = NULL;
	bool found = !bn_endpoints_find(w->a->endpoints, p->namespace, p->pod, &info);

	if (!found)
		found = !bn_objects_get(w->a->objects, "Pod", p->namespace, p->pod, &list, NULL) &&
			json_array_size(list);
	json_decref(list);
	return found;
}

/* NS/NAME is a pod, or a service where no pod is called so; svc/NS/NAME is a service. */
static int read_name(struct why *w, struct bn_error *err)
{
	bool service = !strncmp(w->to_text, "svc/", 4) && strchr(w->to_text + 4, '/');
	char *name, *namespace;
	int r;

	strcpy(w->to_copy, w->to_text);
	namespace = w->to_copy + (service ? 4 : 0);
	name = strchr(namespace, '/');
	if (!name || name == namespace || !name[1])
		return bn_error_set(err, -EINVAL,
				    CANNOT "'%s' is none of NS/POD, NS/SERVICE, IP and IP:PORT",
				    w->to_text);
	*name++ = 0;
	r = why_pod_set(&w->to, namespace, name);
	if (r)
		return r;
	w->target = WHY_POD;
	if (!service && is_pod(w, &w->to))
		return 0;
	if (!bn_objects_service(w->a->objects, namespace, name, seen, NULL))
		w->target = WHY_SERVICE;
	else if (service)
		return bn_error_set(err, -ENOENT, CANNOT "there is no service %s/%s", namespace,
				    name);
	return 0;
}

int why_target_find(struct why *w, struct bn_error *err)
{
	int r;

	w->to_copy = strdup(w->to_text);
	if (!w->to_copy)
		return -ENOMEM;
	r = read_ip(w, err);
	return r > 0 ? read_name(w, err) : r;
}

/* ---- legs ---- */

void why_leg_add(struct why *w, const union bn_addr *to, uint16_t port, uint8_t protocol,
		 bool backend, const char *what)
{
	struct why_leg *leg = &w->legs[w->n_legs];

	if (w->n_legs == WHY_LEGS_MAX) {
		w->n_legs_over++;
		return;
	}
	for (size_t i = 0; i < w->n_legs; i++) {
		const struct why_leg *have = &w->legs[i];

		if (bn_addr_equal(&have->to, to) && have->port == port &&
		    have->protocol == protocol)
			return;
	}
	w->n_legs++;
	leg->to = *to;
	leg->port = port;
	leg->protocol = protocol;
	leg->backend = backend;
	snprintf(leg->what, sizeof(leg->what), "%s", what);
}

/* ---- an address ---- */

static bool is_node(struct why *w, const union bn_addr *addr)
{
	struct bn_name *name = bn_names_get(w->a->names, addr, UINT64_MAX);
	bool host = name && bn_name_kind(name) == BN_NAME_HOST;

	bn_name_unref(name);
	return host;
}

static bool within(const struct bn_cidr_list *list, const union bn_addr *addr)
{
	for (size_t i = 0; i < list->n; i++) {
		if (bn_cidr_contains(&list->items[i], addr))
			return true;
	}
	return false;
}

static void nobody(struct why *w)
{
	const struct bn_agent_config *c = w->a->config;
	char ip[BN_ADDR_STRLEN];
	bool service = within(&c->service_cidrs, &w->to_ip);

	bn_addr_format(&w->to_ip, ip);
	if (!service && !within(&c->pod_cidrs, &w->to_ip)) {
		w->target = WHY_OUTSIDE;
		why_ok(w, "destination", ip, "%s is an address outside: no pod, node or service",
		       ip);
		return;
	}
	w->target = WHY_NOBODY;
	why_wrong(
		w, "destination", ip,
		why_text(service ? "'bpfnet svc list' shows the services and their addresses"
				 : "'bpfnet get pods -o wide' and 'bpfnet endpoint list' show who "
				   "has which"),
		service ? "nobody has the address %s: it is of the service range, and no service "
			  "has it"
			: "nobody has the address %s: it is of the pods' range, and no pod that "
			  "this node knows has it",
		ip);
}

/* Which kind of address it is; a pod's makes it a question about the pod. */
static void classify(struct why *w)
{
	struct bn_owner owner;
	char ip[BN_ADDR_STRLEN];
	size_t frontends;
	bool matching;

	bn_addr_format(&w->to_ip, ip);
	w->target = is_node(w, &w->to_ip) ? WHY_NODE : WHY_OUTSIDE;
	frontends = why_service_walk(w, &matching);
	if (frontends && (matching || w->target != WHY_NODE)) {
		w->target = WHY_SERVICE;
		return;
	}
	if (w->target == WHY_NODE || (!bn_objects_address_owner(w->a->objects, &w->to_ip, &owner) &&
				      owner.kind == BN_OWNER_NODE)) {
		why_ok(w, "destination", ip, "%s is an address of %s", ip,
		       w->target == WHY_NODE ? "this node" : "another node");
		w->target = w->target == WHY_NODE ? WHY_NODE : WHY_OUTSIDE;
	} else if (!bn_objects_address_owner(w->a->objects, &w->to_ip, &owner) &&
		   owner.kind == BN_OWNER_POD &&
		   !why_pod_set(&w->to, owner.namespace, owner.name)) {
		w->target = WHY_POD;
	} else {
		nobody(w);
	}
}

/* A pod on a port; without one, on those by which services know it. */
static void pod_legs(struct why *w)
{
	if (!w->port && w->protocol != IPPROTO_ICMP) {
		why_ports_of(w, &w->to);
		return;
	}
	for (size_t i = 0; i < w->to.n_ips; i++) {
		if (!w->by_ip || bn_addr_equal(&w->to.ips[i], &w->to_ip))
			why_leg_add(w, &w->to.ips[i], w->port, w->protocol, false, w->to.key);
	}
}

void why_target_walk(struct why *w)
{
	bool matching;

	if (!w->to_text)
		return;
	if (w->by_ip)
		classify(w);
	else if (w->target == WHY_SERVICE)
		why_service_walk(w, &matching);
	if (w->target == WHY_POD && !why_pod_known(w, &w->to, false)) {
		w->target = WHY_NOBODY;
	} else if (w->target == WHY_POD) {
		if (w->to.here)
			why_pod_walk(w, &w->to);
		pod_legs(w);
	} else if ((w->target == WHY_OUTSIDE || w->target == WHY_NODE) &&
		   (w->port || w->protocol == IPPROTO_ICMP)) {
		why_leg_add(w, &w->to_ip, w->port, w->protocol, false, w->to_text);
	}
}
