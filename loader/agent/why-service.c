// SPDX-License-Identifier: Apache-2.0
/* Services: which frontend is meant, whether somebody stands behind it, whose backend a pod is. */
#include "agent/why.h"

#include "agent/agent.h"
#include "address.h"

#include <stdio.h>
#include <string.h>

struct look {
	struct why *w;
	size_t frontends; /* of the service or address that is asked about */
	size_t matching;  /* of these, with its port and protocol */
	char ports[256];  /* that there are */
	char name[330];
};

static const char *const kinds[BN_FRONTEND_MAX] = {
	[BN_FRONTEND_CLUSTER_IP] = "cluster IP",
	[BN_FRONTEND_NODE_PORT] = "node port",
	[BN_FRONTEND_LOAD_BALANCER] = "load balancer's address",
	[BN_FRONTEND_EXTERNAL_IP] = "external IP",
	[BN_FRONTEND_HOST_PORT] = "host port",
};

static bool is_used(const struct bn_frontend_spec *f, const struct bn_backend_spec *b)
{
	return b->use & (f->local_inside ? BN_USE_LOCAL : BN_USE_CLUSTER);
}

/* Why nobody answers, and what to do. */
static void no_backend(struct why *w, const struct bn_service_spec *s,
		       const struct bn_frontend_spec *f, const char *frontend)
{
	char list[160] = "";
	size_t elsewhere = 0;
	int n = 0;

	for (size_t i = 0; i < f->n_backends; i++) {
		const struct bn_backend_spec *b = &f->backends[i];

		elsewhere += !!(b->use & BN_USE_CLUSTER);
		if (i < 3 && b->pod && n < (int)sizeof(list))
			n += snprintf(list + n, sizeof(list) - (size_t)n, "%s%s", n ? ", " : "",
				      b->pod);
	}
	if (!f->n_backends)
		why_wrong(w, "service", s->name,
			  why_text("look whether its selector matches the labels of pods that have "
				   "an address: 'bpfnet get service %s/%s -o yaml', 'bpfnet get "
				   "pods -n %s'",
				   s->namespace, s->name, s->namespace),
			  "the service %s/%s has no backend for %s: no pod and no EndpointSlice "
			  "stands behind it",
			  s->namespace, s->name, frontend);
	else if (f->local_inside && elsewhere)
		why_wrong(w, "service", s->name,
			  why_text("start one here, or set internalTrafficPolicy to Cluster"),
			  "the service %s/%s has no ready backend on this node for %s: its "
			  "internalTrafficPolicy is Local, and its %zu ready ones are elsewhere",
			  s->namespace, s->name, frontend, elsewhere);
	else
		why_wrong(w, "service", s->name,
			  why_text("see why the pods' Ready condition is not true: 'bpfnet svc get "
				   "%s/%s' has their state",
				   s->namespace, s->name),
			  "the service %s/%s has no ready backend for %s: none of its %zu is "
			  "ready%s%s%s",
			  s->namespace, s->name, frontend, f->n_backends, *list ? " (" : "", list,
			  *list ? ")" : "");
}

/* A backend that is a pod of this node must work itself; what does is not worth a line. */
static void backend_pod(struct why *w, const struct bn_service_spec *s,
			const struct bn_backend_spec *b)
{
	struct why_pod p = {0};
	bool quiet = w->quiet;

	if (!b->local || !b->pod || why_pod_set(&p, s->namespace, b->pod))
		return;
	w->quiet = true;
	if (!bn_endpoints_find(w->a->endpoints, p.namespace, p.pod, &p.info) &&
	    why_pod_known(w, &p, false))
		why_pod_walk(w, &p);
	w->quiet = quiet;
	why_pod_done(&p);
}

static void look_backends(struct look *l, const struct bn_service_spec *s,
			  const struct bn_frontend_spec *f, const char *frontend, const char *kind)
{
	struct why *w = l->w;
	char what[330];
	size_t used = 0;

	for (size_t i = 0; i < f->n_backends; i++) {
		const struct bn_backend_spec *b = &f->backends[i];

		if (!is_used(f, b))
			continue;
		used++;
		snprintf(what, sizeof(what), "%s, backend of %s/%s", b->pod ? b->pod : "an address",
			 s->namespace, s->name);
		why_leg_add(w, &b->addr, b->port, f->protocol, true, what);
		/* both families' lists name the same pods */
		if (i < WHY_LEGS_MAX && bn_addr_is_v4(&b->addr) == bn_addr_is_v4(&w->from.ips[0]))
			backend_pod(w, s, b);
	}
	if (!used)
		no_backend(w, s, f, frontend);
	else
		why_ok(w, "service", s->name,
		       "%s is a %s of the service %s/%s: %zu of %zu backends are ready", frontend,
		       kind, s->namespace, s->name, used, f->n_backends);
}

static bool is_any(const union bn_addr *addr)
{
	return bn_addr_equal(addr, &bn_addr_any4) || bn_addr_equal(addr, &bn_addr_any6);
}

/* Whether the frontend is one that is asked about. */
static bool is_meant(const struct look *l, const struct bn_frontend_spec *f)
{
	const struct why *w = l->w;

	if (!w->by_ip)
		return f->kind == BN_FRONTEND_CLUSTER_IP;
	if (is_any(&f->addr))
		return w->target == WHY_NODE && bn_addr_is_v4(&f->addr) == bn_addr_is_v4(&w->to_ip);
	return bn_addr_equal(&f->addr, &w->to_ip);
}

static void note_port(struct look *l, const struct bn_frontend_spec *f)
{
	char one[32];

	snprintf(one, sizeof(one), "%u/%s", f->port, why_protocol(f->protocol));
	/* 80/TCP is within 8080/TCP as well */
	for (const char *at = strstr(l->ports, one); at; at = strstr(at + 1, one)) {
		if (at == l->ports || at[-1] == ' ')
			return;
	}
	if (strlen(l->ports) + strlen(one) + 3 > sizeof(l->ports))
		return;
	if (*l->ports)
		strcat(l->ports, ", ");
	strcat(l->ports, one);
}

static void look_frontend(struct look *l, const struct bn_service_spec *s,
			  const struct bn_frontend_spec *f)
{
	const union bn_addr *addr = is_any(&f->addr) ? &l->w->to_ip : &f->addr;
	char text[64], frontend[96], what[330];

	l->frontends++;
	snprintf(l->name, sizeof(l->name), "%s/%s", s->namespace, s->name);
	note_port(l, f);
	if (l->w->port && (f->port != l->w->port || f->protocol != l->w->protocol))
		return;
	l->matching++;
	snprintf(frontend, sizeof(frontend), "%s/%s", why_address(addr, f->port, text),
		 why_protocol(f->protocol));
	snprintf(what, sizeof(what), "the service %s/%s", s->namespace, s->name);
	why_leg_add(l->w, addr, f->port, f->protocol, false, what);
	look_backends(l, s, f, frontend, kinds[f->kind]);
}

static int look_service(void *user, const struct bn_service_spec *s)
{
	struct look *l = user;
	const char *refused = NULL;
	size_t before = l->frontends;

	for (size_t i = 0; i < s->n_frontends; i++) {
		if (is_meant(l, &s->frontends[i]))
			look_frontend(l, s, &s->frontends[i]);
	}
	if (l->frontends > before || !l->w->by_ip)
		refused = bn_agent_fit_reason(l->w->a, s->namespace, s->name);
	if (refused)
		why_wrong(l->w, "service", s->name, why_text("make room, as that says"),
			  "the service %s/%s is not in force: %s", s->namespace, s->name, refused);
	if (l->w->by_ip || s->n_frontends)
		return 0;
	if (!s->is_headless)
		why_wrong(l->w, "service", s->name, why_text("name its backends or a pod instead"),
			  "the service %s/%s is of the type %s and has no address", s->namespace,
			  s->name, s->type);
	/* who asks for its name is told its pods' addresses */
	for (size_t i = 0; i < s->n_headless; i++) {
		const struct bn_headless_spec *h = &s->headless[i];

		for (size_t k = 0; k < h->n_backends; k++)
			why_leg_add(l->w, &h->backends[k].addr, h->backends[k].port, h->protocol,
				    true, h->backends[k].pod ? h->backends[k].pod : "an address");
	}
	if (s->is_headless)
		why_ok(l->w, "service", s->name,
		       "the service %s/%s is headless: who asks for its name is told its pods' "
		       "addresses",
		       s->namespace, s->name);
	return 0;
}

static void wrong_port(const struct look *l)
{
	why_wrong(l->w, "service", l->name,
		  why_text("ask for one of these, or give the service that port ('bpfnet get "
			   "service %s -o yaml')",
			   l->name),
		  "%s has no port %u/%s: it has %s", l->name, l->w->port,
		  why_protocol(l->w->protocol), l->ports);
}

size_t why_service_walk(struct why *w, bool *ret_matching)
{
	struct look l = {.w = w};

	if (w->by_ip)
		bn_objects_each_service(w->a->objects, look_service, &l);
	else
		bn_objects_service(w->a->objects, w->to.namespace, w->to.pod, look_service, &l);
	*ret_matching = l.matching;
	if (l.frontends && !l.matching && w->target != WHY_NODE)
		wrong_port(&l);
	return l.frontends;
}

struct known_ports {
	struct why *w;
	const struct why_pod *pod;
	bool tell; /* of which services it is a backend */
};

static bool is_of(const struct why_pod *p, const union bn_addr *addr)
{
	for (size_t i = 0; i < p->n_ips; i++) {
		if (bn_addr_equal(&p->ips[i], addr))
			return true;
	}
	return false;
}

static int look_for_pod(void *user, const struct bn_service_spec *s)
{
	struct known_ports *k = user;
	bool member = false, used = false;

	for (size_t i = 0; i < s->n_frontends; i++) {
		const struct bn_frontend_spec *f = &s->frontends[i];

		for (size_t b = 0; b < f->n_backends; b++) {
			if (!is_of(k->pod, &f->backends[b].addr))
				continue;
			member = true;
			used |= !!f->backends[b].use;
			if (!k->tell)
				why_leg_add(k->w, &f->backends[b].addr, f->backends[b].port,
					    f->protocol, false, k->pod->key);
		}
	}
	if (!k->tell || !member)
		return 0;
	if (used)
		why_ok(k->w, "service", s->name, "%s is a backend of %s/%s and gets new flows",
		       k->pod->key, s->namespace, s->name);
	else
		why_wrong(k->w, "service", s->name,
			  why_text("see why its Ready condition is not true"),
			  "%s is a backend of %s/%s, but is not ready and gets no new flows",
			  k->pod->key, s->namespace, s->name);
	return 0;
}

void why_ports_of(struct why *w, struct why_pod *p)
{
	struct known_ports k = {.w = w, .pod = p};

	bn_objects_each_service(w->a->objects, look_for_pod, &k);
}

void why_services_of(struct why *w, struct why_pod *p)
{
	struct known_ports k = {.w = w, .pod = p, .tell = true};

	/* with a destination it is the sender, and whom it serves is not the question */
	if (w->to_text)
		return;
	bn_objects_each_service(w->a->objects, look_for_pod, &k);
}
