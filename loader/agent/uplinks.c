// SPDX-License-Identifier: Apache-2.0
/*
 * The node's own side: devices that lead out of it (configured, or those of the default routes),
 * their MTUs, and the node's addresses. One scan brings the datapath in line with what the kernel
 * says now; notifications only ask for another scan, once for a burst of them.
 */
#include "agent/agent.h"
#include "log.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static bool is_configured(const struct bn_agent *a, const char *name)
{
	for (size_t i = 0; i < a->config->devices.n; i++) {
		if (!strcmp(a->config->devices.items[i], name))
			return true;
	}
	return false;
}

static int wanted_uplinks(struct bn_agent *a, struct bn_uplink **ret, size_t *ret_n,
			  struct bn_error *err)
{
	struct bn_link *links = NULL;
	int *defaults = NULL;
	size_t n_links = 0, n_defaults = 0, n = 0;
	struct bn_uplink *u = NULL;
	int r;

	r = bn_inventory_links(a->nl, &links, &n_links, err);
	if (!r && !a->config->devices.n)
		r = bn_inventory_default_devices(a->nl, &defaults, &n_defaults, err);
	if (!r) {
		u = calloc(n_links + 1, sizeof(*u));
		r = u ? 0 : -ENOMEM;
	}
	for (size_t i = 0; i < n_links && !r; i++) {
		bool wanted = is_configured(a, links[i].name);

		for (size_t k = 0; k < n_defaults && !wanted; k++)
			wanted = defaults[k] == links[i].ifindex;
		if (!wanted || bn_link_is_host_side(&links[i]))
			continue;
		u[n].ifindex = links[i].ifindex;
		u[n].mtu = links[i].mtu;
		memcpy(u[n].device.mac, links[i].mac, sizeof(u[n].device.mac));
		memcpy(u[n].name, links[i].name, sizeof(u[n].name));
		n++;
	}
	free(links);
	free(defaults);
	if (r) {
		free(u);
		return r;
	}
	*ret = u;
	*ret_n = n;
	return 0;
}

static const union bn_addr *address_of(const struct bn_own_address *own, size_t n, int ifindex,
				       bool v4)
{
	for (size_t i = 0; i < n; i++) {
		if ((!ifindex || own[i].ifindex == ifindex) && !own[i].link_local &&
		    !own[i].host_scope && !!bn_addr_is_v4(&own[i].addr) == v4)
			return &own[i].addr;
	}
	return NULL;
}

void bn_agent_name_own(struct bn_agent *a, const union bn_addr *addr)
{
	struct bn_name_spec spec = {
		.kind = BN_NAME_HOST,
		.name = a->config->node_name,
		.identity = BN_IDENTITY_HOST,
	};

	bn_names_set(a->names, addr, &spec);
}

static const struct bn_uplink *find_uplink(const struct bn_uplink *u, size_t n, int ifindex)
{
	for (size_t i = 0; i < n; i++) {
		if (u[i].ifindex == ifindex)
			return &u[i];
	}
	return NULL;
}

static int apply_addresses(struct bn_agent *a, struct bn_uplink *u, size_t n_u,
			   struct bn_error *err)
{
	const union bn_addr *node4 = NULL, *node6 = NULL;
	struct bn_own_address *own = NULL;
	struct bn_own_spec *all = NULL;
	size_t n = 0;
	int r;

	r = bn_inventory_addresses(a->nl, &own, &n, err);
	if (r)
		return r;
	all = calloc(n + 1, sizeof(*all));
	if (!all) {
		free(own);
		return -ENOMEM;
	}
	for (size_t i = 0; i < n_u; i++) {
		node4 = node4 ? node4 : address_of(own, n, u[i].ifindex, true);
		node6 = node6 ? node6 : address_of(own, n, u[i].ifindex, false);
	}
	node4 = node4 ? node4 : address_of(own, n, 0, true);
	node6 = node6 ? node6 : address_of(own, n, 0, false);
	a->primary[0] = node4 ? *node4 : (union bn_addr){0};
	a->primary[1] = node6 ? *node6 : (union bn_addr){0};
	for (size_t i = 0; i < n; i++) {
		all[i].addr = own[i].addr;
		all[i].node_ports = bn_agent_takes_node_ports(a, &own[i].addr);
	}
	r = bn_addresses_own(a->addresses, all, n, err);
	for (size_t i = 0; i < n_u && !r; i++) {
		const union bn_addr *v4 = address_of(own, n, u[i].ifindex, true);
		const union bn_addr *v6 = address_of(own, n, u[i].ifindex, false);
		const struct bn_uplink *was = find_uplink(a->uplinks, a->n_uplinks, u[i].ifindex);

		if (v4)
			u[i].device.v4 = *v4;
		if (v6)
			u[i].device.v6 = *v6;
		u[i].device.mtu = u[i].mtu;
		u[i].device.flags = was ? was->device.flags : 0;
		r = bn_addresses_device(a->addresses, (uint32_t)u[i].ifindex, &u[i].device, err);
	}
	if (!r)
		r = bn_addresses_node(a->addresses, node4, node6, err);
	for (size_t i = 0; i < n && !r; i++) {
		if (!own[i].link_local)
			bn_agent_name_own(a, &own[i].addr);
	}
	if (a->endpoints)
		bn_endpoints_set_node(a->endpoints, node4, node6);
	free(all);
	free(own);
	return r;
}

bool bn_agent_takes_node_ports(const struct bn_agent *a, const union bn_addr *local)
{
	const struct bn_node_addresses *which = &a->config->node_port_addresses;

	if (which->primary)
		return bn_addr_equal(local, &a->primary[0]) || bn_addr_equal(local, &a->primary[1]);
	for (size_t i = 0; i < which->cidrs.n; i++) {
		if (bn_cidr_contains(&which->cidrs.items[i], local))
			return true;
	}
	return !which->cidrs.n;
}

static void uplinks_free(struct bn_agent *a)
{
	for (size_t i = 0; i < a->n_uplinks; i++)
		free(a->uplinks[i].xdp_why);
	free(a->uplinks);
	a->uplinks = NULL;
	a->n_uplinks = 0;
}

int bn_agent_uplinks_scan(struct bn_agent *a, struct bn_error *err)
{
	struct bn_uplink *u = NULL;
	uint32_t mtu = 0;
	size_t n = 0;
	int r;

	r = wanted_uplinks(a, &u, &n, err);
	if (r)
		return r;
	r = apply_addresses(a, u, n, err);
	for (size_t i = 0; i < n && !r; i++) {
		const struct bn_uplink *was = find_uplink(a->uplinks, a->n_uplinks, u[i].ifindex);

		if (!mtu || u[i].mtu < mtu)
			mtu = u[i].mtu;
		u[i].attached = was && was->attached;
		u[i].guarded = was && was->guarded;
		u[i].xdp = was ? was->xdp : BN_XDP_OFF;
		u[i].xdp_why = was && was->xdp_why ? strdup(was->xdp_why) : NULL;
		if (u[i].attached || !a->filled)
			continue;
		r = bn_attach(&a->attach, u[i].ifindex, BN_ATTACH_INGRESS,
			      a->programs.programs[BN_PROGRAM_FROM_UPLINK], err);
		u[i].attached = r >= 0;
		r = r < 0 ? r : 0;
		if (u[i].attached)
			bn_agent_xdp_attach(a, &u[i]);
		if (!r)
			r = bn_agent_firewall_attach(a, &u[i], err);
	}
	for (size_t i = 0; i < a->n_uplinks; i++) {
		if (find_uplink(u, n, a->uplinks[i].ifindex))
			continue;
		bn_detach(&a->attach, a->uplinks[i].ifindex, BN_ATTACH_INGRESS, NULL);
		bn_detach(&a->attach, a->uplinks[i].ifindex, BN_ATTACH_EGRESS, NULL);
		bn_addresses_device(a->addresses, (uint32_t)a->uplinks[i].ifindex, NULL, NULL);
	}
	uplinks_free(a);
	a->uplinks = u;
	a->n_uplinks = n;
	if (a->filled) {
		bn_agent_xdp_redirects(a);
		bn_agent_xdp_prune(a);
	}
	if (a->endpoints && mtu)
		bn_endpoints_set_mtu(a->endpoints, mtu);
	bn_agent_host_apply(a, mtu);
	bn_addresses_bump(a->addresses);
	return r;
}

static int on_rescan(sd_event_source *source, void *user)
{
	struct bn_agent *a = user;
	struct bn_error err = BN_ERROR_INIT;

	sd_event_source_set_enabled(source, SD_EVENT_OFF);
	if (bn_agent_uplinks_scan(a, &err) < 0)
		bn_log(BN_LOG_ERROR, "can't follow a change of the node's network", "error",
		       bn_error_text(&err), NULL);
	bn_error_done(&err);
	return 0;
}

static void ask_rescan(struct bn_agent *a)
{
	if (a->rescan)
		sd_event_source_set_enabled(a->rescan, SD_EVENT_ONESHOT);
}

static void on_link(void *user, const struct bn_link *link)
{
	if (!bn_link_is_host_side(link))
		ask_rescan(user);
}

static void on_address(void *user, const struct bn_own_address *address, bool added)
{
	ask_rescan(user);
}

static void on_routes(void *user, bool by_default)
{
	struct bn_agent *a = user;

	if (by_default)
		ask_rescan(a);
	else
		bn_addresses_bump(a->addresses);
}

static void on_resync(void *user)
{
	ask_rescan(user);
}

int bn_agent_uplinks_start(struct bn_agent *a, struct bn_error *err)
{
	static const struct bn_monitor_ops ops = {
		.link = on_link,
		.link_gone = on_link,
		.address = on_address,
		.routes = on_routes,
		.resync = on_resync,
	};
	const char **names;
	int r;

	r = bn_monitor_new(a->event, &ops, a, &a->monitor, err);
	if (r < 0)
		return r;
	r = sd_event_add_defer(a->event, &a->rescan, on_rescan, a);
	if (r < 0)
		return bn_error_set(err, r, "can't watch the node's network: %s", strerror(-r));
	sd_event_source_set_enabled(a->rescan, SD_EVENT_OFF);
	r = bn_agent_uplinks_scan(a, err);
	if (r < 0)
		return r;
	for (size_t i = 0; i < a->config->devices.n; i++) {
		bool found = false;

		for (size_t k = 0; k < a->n_uplinks && !found; k++)
			found = !strcmp(a->uplinks[k].name, a->config->devices.items[i]);
		if (!found)
			return bn_error_set(err, -ENODEV,
					    "can't use the device '%s': there is none of that name "
					    "in this network namespace",
					    a->config->devices.items[i]);
	}
	names = calloc(a->n_uplinks + 1, sizeof(*names));
	if (!names)
		return -ENOMEM;
	for (size_t i = 0; i < a->n_uplinks; i++)
		names[i] = a->uplinks[i].name;
	r = bn_sysctl_enable_forwarding(a->sysctl, names, a->n_uplinks, err);
	free(names);
	return r;
}

void bn_agent_uplinks_done(struct bn_agent *a)
{
	sd_event_source_unref(a->rescan);
	a->rescan = NULL;
	bn_monitor_free(a->monitor);
	a->monitor = NULL;
	uplinks_free(a);
}
