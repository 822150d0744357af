// SPDX-License-Identifier: Apache-2.0
/* A pod of this node, looked at from both ends of its interface. */
#include "agent/why.h"

#include "agent/agent.h"
#include "net/netns.h"
#include "net/route.h"
#include "net/veth.h"

#include <errno.h>
#include <linux/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

int why_pod_set(struct why_pod *p, const char *namespace, const char *pod)
{
	p->key = why_text("%s/%s", namespace, pod);
	p->namespace = p->key ? strdup(namespace) : NULL;
	if (!p->namespace)
		return -ENOMEM;
	p->pod = p->key + strlen(namespace) + 1;
	return 0;
}

void why_pod_done(struct why_pod *p)
{
	free((char *)p->namespace);
	free(p->key);
	free(p->node);
	free(p->unseen);
	bn_nl_free(p->nl);
}

/* ---- known ---- */

static char *node_of(const json_t *manifest)
{
	const char *node = NULL;

	json_unpack((json_t *)manifest, "{s:{s:s}}", "spec", "nodeName", &node);
	return node && *node ? strdup(node) : NULL;
}

static const char *addresses(const struct why_pod *p, char buf[128])
{
	char one[BN_ADDR_STRLEN];
	int n = 0;

	*buf = 0;
	for (size_t i = 0; i < p->n_ips; i++)
		n += snprintf(buf + n, 128 - (size_t)n, "%s%s", i ? " and " : "",
			      bn_addr_format(&p->ips[i], one));
	return buf;
}

static void take_addresses(struct why_pod *p, const union bn_addr *ips, size_t n)
{
	for (p->n_ips = 0; p->n_ips < n && p->n_ips < 2; p->n_ips++)
		p->ips[p->n_ips] = ips[p->n_ips];
}

static bool endpoint_known(struct why *w, struct why_pod *p)
{
	const struct bn_endpoint_info *i = &p->info;
	char text[128];

	p->here = true;
	take_addresses(p, i->ips, i->n_ips);
	if (i->state == BN_ENDPOINT_DEGRADED)
		why_wrong(w, "pod", p->key,
			  why_text("'bpfnet endpoint delete %s', then add it again", p->key),
			  "the endpoint %s is degraded: %s", p->key,
			  i->reason ? i->reason : "see bpfnetd's log");
	else if (i->state == BN_ENDPOINT_ADDING || !i->ifindex)
		why_wrong(w, "pod", p->key, why_text("ask again in a moment"),
			  "the endpoint %s is only being added", p->key);
	else
		why_ok(w, "pod", p->key, "%s is an endpoint of this node: %s and %s, %s", p->key,
		       i->host_ifname, i->ifname, addresses(p, text));
	return i->ifindex;
}

/* What is known of a pod that has no endpoint here. */
static bool manifest_known(struct why *w, struct why_pod *p, const json_t *manifest, bool source)
{
	const union bn_addr *ips = NULL;
	char text[128];
	size_t n = 0;

	p->node = node_of(manifest);
	if (p->node && !strcmp(p->node, w->a->config->node_name)) {
		free(p->node);
		p->node = NULL;
	}
	if (!bn_policy_pod(w->a->policy, p->namespace, p->pod, &ips, &n))
		take_addresses(p, ips, n);
	if (p->node && source)
		why_wrong(w, "pod", p->key, why_text("ask there"),
			  "%s is a pod of the node %s, not of this one (%s)", p->key, p->node,
			  w->a->config->node_name);
	else if (!p->node)
		why_wrong(w, "pod", p->key,
			  why_text("attach it: 'bpfnet endpoint add %s --netns NAME --ip IP'",
				   p->key),
			  "%s has a manifest, but no endpoint on this node", p->key);
	else if (!n)
		why_wrong(w, "pod", p->key,
			  why_text("see whether it runs: 'bpfnet get pods -n %s'", p->namespace),
			  "%s of the node %s has no address", p->key, p->node);
	else
		why_ok(w, "pod", p->key,
		       "%s is a pod of the node %s, %s: its interface and its ingress policy are "
		       "that node's, and not looked at",
		       p->key, p->node, addresses(p, text));
	return p->node && n && !source;
}

bool why_pod_known(struct why *w, struct why_pod *p, bool source)
{
	json_t *list = NULL;
	bool known;

	if (!bn_endpoints_find(w->a->endpoints, p->namespace, p->pod, &p->info))
		return endpoint_known(w, p);
	if (bn_objects_get(w->a->objects, "Pod", p->namespace, p->pod, &list, NULL) ||
	    !json_array_size(list)) {
		json_decref(list);
		why_wrong(w, "pod", p->key,
			  why_text("check the name: 'bpfnet endpoint list' shows the endpoints, "
				   "'bpfnet get pods' the manifests"),
			  source ? "there is no pod %s: no endpoint of this node and no manifest "
				   "has that name"
				 : "there is no pod %s, nor a service: no endpoint of this node "
				   "and no manifest has that name",
			  p->key);
		return false;
	}
	known = manifest_known(w, p, json_array_get(list, 0), source);
	json_decref(list);
	return known;
}

/* ---- inside ---- */

/* How `ip` is called for the pod's namespace. */
static const char *ip_in_pod(const struct why_pod *p, char buf[300])
{
	const char *netns = p->info.netns;

	if (!*netns)
		snprintf(buf, 300, "ip");
	else if (strchr(netns, '/'))
		snprintf(buf, 300, "nsenter --net=%.250s ip", netns);
	else
		snprintf(buf, 300, "ip -n %.250s", netns);
	return buf;
}

static int open_inside(void *user)
{
	struct why_pod *p = user;

	return bn_nl_open(NETLINK_ROUTE, &p->nl, NULL);
}

/* A name may be another namespace's by now: the cookie tells. */
static void enter(struct why *w, struct why_pod *p)
{
	int fd = -1, r;

	if (!*p->info.netns || bn_netns_open(p->info.netns, &fd, NULL) < 0) {
		p->unseen = why_text("its network namespace can't be opened by the name '%s'",
				     p->info.netns);
		return;
	}
	if (p->info.netns_cookie && bn_agent_sockets_cookie(w->a, fd) != p->info.netns_cookie) {
		p->unseen = why_text("the name '%s' is another network namespace's by now",
				     p->info.netns);
	} else {
		r = bn_netns_run(fd, open_inside, p);
		if (r < 0)
			p->unseen = why_text("its network namespace can't be entered: %s",
					     strerror(-r));
	}
	close(fd);
}

static char *attach_again(const struct why_pod *p)
{
	return why_text("detach and attach the pod: 'bpfnet endpoint delete %s', then "
			"'bpfnet endpoint add'",
			p->key);
}

static bool interface_layer(struct why *w, struct why_pod *p)
{
	const struct bn_endpoint_info *i = &p->info;
	char ip[300];
	int r;

	r = bn_link_get(w->nl, NULL, i->ifindex, &p->host);
	if (r == 0)
		r = bn_link_get_peer(w->nl, &p->host, &p->peer);
	if (r < 0) {
		why_wrong(w, "interface", p->key, attach_again(p),
			  p->host.ifindex ? "%s of %s, the other end of %s, is not to be found: %s"
					  : "%s of %s is gone, and so is %s: %s",
			  i->ifname, p->key, i->host_ifname, strerror(-r));
		return false;
	}
	if (!(p->host.flags & IFF_UP))
		why_wrong(w, "interface", p->key, why_text("'ip link set dev %s up'", p->host.name),
			  "%s, the node's side of %s, is down", p->host.name, p->key);
	else if (!(p->peer.flags & IFF_UP))
		why_wrong(w, "interface", p->key,
			  why_text("'%s link set dev %s up'; its routes and IPv6 addresses went "
				   "with it and come back by detaching and attaching the pod",
				   ip_in_pod(p, ip), p->peer.name),
			  "the link is down in the pod: %s of %s", p->peer.name, p->key);
	else if (!bn_link_is_ready(&p->host))
		why_wrong(w, "interface", p->key, attach_again(p),
			  "%s, the node's side of %s, is up but has no carrier", p->host.name,
			  p->key);
	else
		why_ok(w, "interface", p->key, "both sides are up: %s here, %s in the pod",
		       p->host.name, p->peer.name);
	return true;
}

static void programs_layer(struct why *w, struct why_pod *p)
{
	static const struct {
		enum bn_attach_point point;
		enum bn_program_id program;
		const char *what;
	} wanted[] = {{BN_ATTACH_INGRESS, BN_PROGRAM_FROM_POD, "what the pod sends"},
		      {BN_ATTACH_EGRESS, BN_PROGRAM_TO_POD, "what it is sent"}};
	const struct bn_attach *how = &w->a->attach;
	bool ok = true;

	for (size_t i = 0; i < 2; i++) {
		uint32_t is = bn_attached(how, p->info.ifindex, wanted[i].point);

		if (is && is == bn_programs_id(&w->a->programs, wanted[i].program))
			continue;
		ok = false;
		why_wrong(w, "programs", p->key,
			  why_text("'bpfnet map audit' attaches it again; find out what took it "
				   "away, for bpfnetd does not"),
			  is ? "another program than bpfnetd's is at the %s of %s, where %s is "
			       "decided"
			     : "no program is attached to the %s of %s, where %s is decided",
			  bn_attach_point_name(wanted[i].point), p->info.host_ifname,
			  wanted[i].what);
	}
	if (ok)
		why_ok(w, "programs", p->key, "attached to ingress and egress of %s by %s",
		       p->info.host_ifname, bn_attach_mechanism_name(how->mechanism));
}

static bool has_address(const struct bn_own_address *own, size_t n, int ifindex,
			const union bn_addr *ip)
{
	for (size_t i = 0; i < n; i++) {
		if (own[i].ifindex == ifindex && bn_addr_equal(&own[i].addr, ip))
			return true;
	}
	return false;
}

/* Its addresses stand where they should, and the node's routes to them lead to it. */
static void address_layer(struct why *w, struct why_pod *p)
{
	struct bn_own_address *own = NULL;
	bool seen, ok = true;
	struct bn_route route;
	char text[128], ip[300];
	size_t n = 0;

	seen = p->nl && bn_inventory_addresses(p->nl, &own, &n, NULL) == 0;
	for (size_t i = 0; i < p->n_ips; i++) {
		char addr[BN_ADDR_STRLEN];

		bn_addr_format(&p->ips[i], addr);
		if (seen && !has_address(own, n, p->peer.ifindex, &p->ips[i])) {
			ok = false;
			why_wrong(w, "address", p->key,
				  why_text("'%s address add %s dev %s%s', or detach and attach "
					   "the pod",
					   ip_in_pod(p, ip), addr, p->peer.name,
					   bn_addr_is_v4(&p->ips[i]) ? "" : " nodad"),
				  "%s has lost its address: %s does not have %s", p->key,
				  p->peer.name, addr);
		}
		if (bn_route_get(w->nl, &p->ips[i], &route) || route.ifindex != p->info.ifindex) {
			ok = false;
			why_wrong(w, "address", p->key,
				  why_text("'ip route get %s' shows where it leads; detach and "
					   "attach the pod to have it made again",
					   addr),
				  "the node's route to %s does not lead to %s of %s", addr,
				  p->info.host_ifname, p->key);
		}
	}
	free(own);
	if (ok && seen)
		why_ok(w, "address", p->key, "%s has %s, and the node's routes lead to it",
		       p->peer.name, addresses(p, text));
	else if (ok)
		why_ok(w, "address", p->key,
		       "the node's routes to %s lead to it; inside nothing was looked at: %s",
		       addresses(p, text), p->unseen ? p->unseen : "netlink failed");
}

static bool has_v6(const struct why_pod *p)
{
	for (size_t i = 0; i < p->n_ips; i++) {
		if (!bn_addr_is_v4(&p->ips[i]))
			return true;
	}
	return false;
}

/* veth loses without a word what the other end is too small for. */
static void mtu_layer(struct why *w, struct why_pod *p)
{
	const struct bn_link *host = &p->host, *peer = &p->peer;
	const uint32_t low = host->mtu < peer->mtu ? host->mtu : peer->mtu;
	char ip[300];

	if (has_v6(p) && low < BN_VETH_MTU_MIN_V6)
		why_wrong(w, "mtu", p->key,
			  why_text("'%s link set dev %s mtu %u', here and there",
				   peer->mtu == low ? ip_in_pod(p, ip) : "ip",
				   peer->mtu == low ? peer->name : host->name, p->info.mtu),
			  "the MTU of %s is too small for IPv6: %u of %s, and %d is the least",
			  p->key, low, peer->mtu == low ? peer->name : host->name,
			  BN_VETH_MTU_MIN_V6);
	else if (peer->mtu > host->mtu)
		why_wrong(w, "mtu", p->key,
			  why_text("'ip link set dev %s mtu %u'", host->name, peer->mtu),
			  "%s sends packets of up to %u bytes, but %s, the node's side, takes "
			  "only %u: larger ones are lost without a word",
			  p->key, peer->mtu, host->name, host->mtu);
	else if (peer->mtu < host->mtu)
		why_wrong(
			w, "mtu", p->key,
			why_text("'ip link set dev %s mtu %u'", host->name, peer->mtu),
			"%s takes packets of up to %u bytes on %s, but %s, the node's side, sends "
			"up to %u: larger ones from the node are lost without a word",
			p->key, peer->mtu, peer->name, host->name, host->mtu);
	else
		why_ok(w, "mtu", p->key, "%u bytes on both sides", low);
}

void why_pod_walk(struct why *w, struct why_pod *p)
{
	if (!p->info.ifindex || !interface_layer(w, p))
		return;
	enter(w, p);
	programs_layer(w, p);
	address_layer(w, p);
	mtu_layer(w, p);
}

void why_pod_route(struct why *w, struct why_pod *p, const union bn_addr *to)
{
	struct bn_route route;
	char text[BN_ADDR_STRLEN];
	int r;

	bn_addr_format(to, text);
	if (!p->nl) {
		why_ok(w, "route", p->key, "the pod's route to %s was not looked at: %s", text,
		       p->unseen ? p->unseen : "it has no interface");
		return;
	}
	r = bn_route_get(p->nl, to, &route);
	if (r < 0)
		why_wrong(w, "route", p->key, attach_again(p), "%s has no route to %s: %s", p->key,
			  text, strerror(-r));
	else if (route.ifindex != p->peer.ifindex && !route.local)
		why_wrong(w, "route", p->key,
			  why_text("remove that route, or what else the pod is attached to"),
			  "%s does not send to %s by %s but by another interface of its own",
			  p->key, text, p->peer.name);
	else
		why_ok(w, "route", p->key, "%s sends to %s by %s", p->key, text,
		       route.local ? "its loopback: it is its own" : p->peer.name);
}
