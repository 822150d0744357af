// SPDX-License-Identifier: Apache-2.0
/*
 * The node's own way to services, where its sockets are not balanced or a socket is none that can be:
 * routes to a pair of devices whose far end decides. What is missing of it costs the node that way and
 * nothing else, so it fails by saying so in `status`.
 */
#include "agent/agent.h"
#include "datapath/audit.h"
#include "log.h"
#include "net/veth.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static bool is_zero(const union bn_addr *addr)
{
	return !(addr->d[0] | addr->d[1]);
}

static bool wants_v6(const struct bn_agent *a, uint32_t mtu)
{
	return mtu >= BN_VETH_MTU_MIN_V6 && !is_zero(&a->primary[1]);
}

static int attach(struct bn_agent *a, struct bn_error *err)
{
	int r;

	/* what is not the node's own is turned away before the far end believes it */
	r = bn_attach(&a->attach, a->host.ifindex, BN_ATTACH_EGRESS,
		      a->programs.programs[BN_PROGRAM_HOST_EGRESS], err);
	if (r < 0)
		return r;
	r = bn_attach(&a->attach, a->host.peer_ifindex, BN_ATTACH_INGRESS,
		      a->programs.programs[BN_PROGRAM_FROM_HOST], err);
	if (r < 0)
		return r;
	/* last: it sends on to both */
	return bn_attach(&a->attach, BN_LOOPBACK_IFINDEX, BN_ATTACH_INGRESS,
			 a->programs.programs[BN_PROGRAM_FROM_LOOPBACK], err);
}

static const union bn_addr *source_of(const struct bn_agent *a, uint8_t family)
{
	const union bn_addr *source = &a->primary[family != BN_IPV4];

	return is_zero(source) ? NULL : source;
}

/*
 * Whether the address needs a route of its own. What is a node's or a pod's is reached as such: a
 * route would take all else away that listens there.
 */
static bool is_apart(struct bn_agent *a, const union bn_addr *addr)
{
	bool v4 = bn_addr_is_v4(addr);

	for (size_t i = 0; i < a->config->service_cidrs.n; i++) {
		if (bn_cidr_contains(&a->config->service_cidrs.items[i], addr))
			return false;
	}
	return !bn_addr_equal(addr, v4 ? &bn_addr_any4 : &bn_addr_any6) &&
	       !(v4 && addr->b[12] == 127) && !bn_addresses_known(a->addresses, addr) &&
	       (v4 || wants_v6(a, a->host_mtu));
}

static void route_to(const struct bn_agent *a, const union bn_addr *addr, struct bn_host_route *ret)
{
	bool v4 = bn_addr_is_v4(addr);

	*ret = (struct bn_host_route){
		.to = {.addr = *addr, .prefix = v4 ? 32 : 128, .family = v4 ? BN_IPV4 : BN_IPV6},
		.source = source_of(a, v4 ? BN_IPV4 : BN_IPV6),
	};
}

struct wanted {
	struct bn_agent *agent;
	struct bn_host_route *routes;
	size_t n, allocated;
	bool failed;
};

static void want(struct wanted *w, const struct bn_host_route *route)
{
	if (w->n == w->allocated) {
		size_t more = w->allocated ? w->allocated * 2 : 16;
		struct bn_host_route *p = reallocarray(w->routes, more, sizeof(*p));

		if (!p) {
			w->failed = true;
			return;
		}
		w->routes = p;
		w->allocated = more;
	}
	w->routes[w->n++] = *route;
}

static void want_address(void *user, const union bn_addr *addr)
{
	struct wanted *w = user;
	struct bn_host_route route;

	if (!is_apart(w->agent, addr))
		return;
	route_to(w->agent, addr, &route);
	want(w, &route);
}

static int set_routes(struct bn_agent *a, bool v6, struct bn_error *err)
{
	const struct bn_cidr_list *cidrs = &a->config->service_cidrs;
	struct wanted w = {.agent = a};
	int r = -ENOMEM;

	for (size_t i = 0; i < cidrs->n; i++) {
		struct bn_host_route route = {
			.to = cidrs->items[i],
			.source = source_of(a, cidrs->items[i].family),
		};

		if (cidrs->items[i].family == BN_IPV4 || v6)
			want(&w, &route);
	}
	bn_services_addresses(a->services, want_address, &w);
	if (!w.failed)
		r = bn_host_device_routes(a->nl, &a->host, w.routes, w.n, err);
	free(w.routes);
	return r;
}

void bn_agent_host_address(void *user, const union bn_addr *addr, bool owned)
{
	struct bn_error err = BN_ERROR_INIT;
	struct bn_agent *a = user;
	struct bn_host_route route;

	/* until then, and where it failed, all routes are made at once */
	if (!a->host_attached || !is_apart(a, addr))
		return;
	route_to(a, addr, &route);
	if (bn_host_device_route(a->nl, &a->host, &route, owned, &err) < 0)
		bn_log(BN_LOG_WARNING, "the node's own packets to a service are not balanced",
		       "error", bn_error_text(&err), NULL);
	bn_error_done(&err);
}

static int apply(struct bn_agent *a, uint32_t mtu, struct bn_error *err)
{
	struct bn_host_device was = a->host;
	bool v6 = wants_v6(a, mtu);
	int r;

	r = bn_host_device_ensure(a->nl, a->config->bpffs, mtu, v6, &a->host, err);
	if (r < 0)
		return r;
	r = bn_addresses_host(a->addresses, (uint32_t)a->host.ifindex,
			      (uint32_t)a->host.peer_ifindex, err);
	/* a predecessor's programs go on with its maps until ours are filled */
	if (r < 0 || !a->filled)
		return r;
	if (!a->host_attached || was.ifindex != a->host.ifindex ||
	    was.peer_ifindex != a->host.peer_ifindex) {
		r = attach(a, err);
		if (r < 0)
			return r;
		a->host_attached = true;
	}
	r = bn_host_device_raise(a->nl, &a->host, v6, err);
	return r < 0 ? r : set_routes(a, v6, err);
}

void bn_agent_host_apply(struct bn_agent *a, uint32_t mtu)
{
	struct bn_error err = BN_ERROR_INIT;
	char *reason = NULL;

	a->host_mtu = mtu ? mtu : BN_VETH_MTU_DEFAULT;
	if (apply(a, a->host_mtu, &err) < 0) {
		reason = strdup(bn_error_text(&err));
		if (reason && (!a->host_off || strcmp(reason, a->host_off)))
			bn_log(BN_LOG_WARNING,
			       "the node's own packets to services are not balanced", "reason",
			       reason, NULL);
	}
	free(a->host_off);
	a->host_off = reason;
	bn_error_done(&err);
}

void bn_agent_host_audit(struct bn_agent *a)
{
	bn_agent_host_apply(a, a->host_mtu);
}

void bn_agent_host_status(struct bn_agent *a, json_t *features, json_t *notes)
{
	if (a->sockets_off)
		json_array_append_new(
			notes,
			json_string("sockets are not balanced: from the node itself, what is "
				    "published on the loopback is out of reach"));
	json_object_set_new(features, "host_packets", json_boolean(!a->host_off));
	if (a->host_off)
		json_object_set_new(features, "host_packets_reason", json_string(a->host_off));
}

void bn_agent_host_done(struct bn_agent *a)
{
	free(a->host_off);
	a->host_off = NULL;
}
