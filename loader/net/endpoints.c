// SPDX-License-Identifier: Apache-2.0
/*
 * Why: the one place that knows which pods this node has, and keeps devices, records and the
 * datapath's tables saying the same.
 *
 * Invariants:
 *  - an endpoint's record is on disk, as "adding", before its device exists, and as "ready" before
 *    anyone is told that it works;
 *  - no packet passes a device without programs: they are attached before it goes up, and the
 *    device goes before they are withdrawn;
 *  - a slot belongs to one endpoint, and is taken again as late as possible;
 *  - only devices that have the name, the number and the MAC that we wrote down are ever removed.
 */
#include "net/endpoints.h"

#include "address.h"
#include "error.h"
#include "log.h"
#include "net/endpoints-internal.h"
#include "net/inventory.h"
#include "net/monitor.h"
#include "net/netlink.h"

#include <bpfnet/endpoint.h>
#include <bpfnet/limits.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define FOLDER "endpoints"
#define NAME_ATTEMPTS 8

/* ---- new, free ---- */

int bn_endpoints_new(sd_event *event, const struct bn_endpoints_config *config,
		     struct bn_endpoints **ret, struct bn_error *err)
{
	struct bn_endpoints *e = calloc(1, sizeof(*e));
	int r = -ENOMEM;

	if (!e || asprintf(&e->folder, "%s/" FOLDER, config->state_dir) < 0)
		goto fail;
	e->ops = config->ops;
	e->mtu = config->mtu;
	if (mkdir(e->folder, 0700) < 0 && errno != EEXIST) {
		r = bn_error_set(err, -errno, "cannot create %s: %s", e->folder, strerror(errno));
		goto fail;
	}
	r = bn_nl_open(NETLINK_ROUTE, &e->nl, err);
	if (r == 0)
		r = bn_monitor_new(event, &bn_endpoints_watch, e, &e->monitor, err);
	if (r < 0)
		goto fail;
	*ret = e;
	return 0;
fail:
	bn_endpoints_free(e);
	return bn_error_set(err, r, "cannot set up the endpoints: %s", strerror(-r));
}

void bn_endpoints_free(struct bn_endpoints *e)
{
	if (!e)
		return;
	while (e->by_name)
		bn_endpoint_discard(e, e->by_name);
	bn_monitor_free(e->monitor);
	bn_nl_free(e->nl);
	free(e->folder);
	free(e);
}

/* ---- add ---- */

static int find_slot(const struct bn_endpoints *e, uint16_t *ret, struct bn_error *err)
{
	for (unsigned i = 1; i < BN_SLOTS; i++) {
		/* Round 1 to BN_SLOTS - 1, from behind the last one taken. */
		unsigned slot = (e->last_slot + i - 1) % (BN_SLOTS - 1) + 1;

		if (e->slots[slot])
			continue;
		*ret = (uint16_t)slot;
		return 0;
	}
	return bn_error_set(err, -ENOSPC,
			    "this node has %d endpoints already, the most there can be",
			    BN_SLOTS - 1);
}

static int check_free(struct bn_endpoints *e, const struct bn_endpoint_request *request,
		      struct bn_error *err)
{
	const struct endpoint *have = bn_endpoints_by_name(e, request->namespace, request->pod);
	struct bn_own_address *own = NULL;
	char text[BN_ADDR_STRLEN];
	size_t n = 0;
	int r;

	if (have)
		return bn_error_set(
			err, -EEXIST,
			"endpoint %s exists already (%s in %s); delete it first to change it",
			have->name, bn_addr_format(&have->ips[0], text),
			*have->netns ? have->netns : "a network namespace");
	r = bn_inventory_addresses(e->nl, &own, &n, err);
	if (r < 0)
		return r;
	for (size_t i = 0; i < request->n_ips && r == 0; i++) {
		const union bn_addr *ip = &request->ips[i];

		for (have = e->by_name; have && r == 0; have = have->by_name.next) {
			for (size_t k = 0; k < have->n_ips; k++) {
				if (bn_addr_equal(ip, &have->ips[k]))
					r = bn_error_set(
						err, -EADDRINUSE,
						"%s is taken by endpoint %s; choose another --ip",
						bn_addr_format(ip, text), have->name);
			}
		}
		for (size_t k = 0; k < n && r == 0; k++) {
			if (bn_addr_equal(ip, &own[k].addr))
				r = bn_error_set(
					err, -EADDRINUSE,
					"%s is taken by this node itself; choose another --ip",
					bn_addr_format(ip, text));
		}
	}
	free(own);
	return r;
}

static int choose_host_name(struct bn_endpoints *e, struct endpoint *ep, struct bn_error *err)
{
	struct bn_link link;
	int r;

	for (unsigned i = 0; i < NAME_ATTEMPTS; i++) {
		bn_veth_host_name(ep->namespace, ep->pod, i, ep->host_ifname);
		r = bn_link_get(e->nl, ep->host_ifname, 0, &link);
		if (r == -ENODEV)
			return 0;
		if (r < 0)
			return bn_error_set(err, r, "cannot look for interface %s: %s",
					    ep->host_ifname, bn_nl_reason(e->nl, r));
	}
	return bn_error_set(
		err, -EEXIST,
		"interface %s and others for endpoint %s exist already; remove them: 'ip link delete %s'",
		ep->host_ifname, ep->name, ep->host_ifname);
}

struct adding {
	struct bn_endpoints *e;
	struct endpoint *ep;
	bool reached; /* publish was called: withdraw on failure */
};

static int on_device(void *user, const struct bn_veth *veth, struct bn_error *err)
{
	struct adding *a = user;
	int r;

	a->ep->veth = *veth;
	a->reached = true;
	r = bn_endpoint_publish(a->e, a->ep, err);
	return r < 0 ? r : bn_endpoint_attach(a->e, a->ep, err);
}

static int make(struct bn_endpoints *e, struct endpoint *ep, int netns_fd, struct bn_error *err)
{
	struct adding a = {.e = e, .ep = ep};
	struct bn_veth_spec spec;
	int r;

	r = choose_host_name(e, ep, err);
	if (r < 0)
		return r;
	r = bn_endpoint_write(e->folder, ep, err);
	if (r < 0)
		return r;
	bn_endpoint_spec(e, ep, netns_fd, &spec);
	r = bn_veth_create(e->nl, &spec, on_device, &a, &ep->veth, err);
	if (r == 0) {
		ep->state = BN_ENDPOINT_READY;
		r = bn_endpoint_write(e->folder, ep, err);
		if (r < 0)
			bn_veth_remove(e->nl, ep->veth.ifindex, NULL);
	}
	if (r < 0) {
		if (a.reached)
			bn_endpoint_withdraw(e, ep);
		bn_endpoint_forget_record(e, ep->host_ifname);
	}
	return r;
}

int bn_endpoints_add(struct bn_endpoints *e, const struct bn_endpoint_request *request,
		     struct bn_error *err)
{
	struct bn_error why = BN_ERROR_INIT;
	struct endpoint *ep = NULL;
	struct bn_netns_id netns;
	int r;

	r = bn_endpoint_check(request, &netns, &why);
	if (r == 0)
		r = check_free(e, request, &why);
	if (r == 0)
		r = bn_endpoint_from_request(request, &ep);
	if (r < 0)
		goto fail;
	ep->netns_id = netns;
	if (e->ops.cookie)
		ep->netns_cookie = e->ops.cookie(e->ops.user, request->netns_fd);
	r = find_slot(e, &ep->slot, &why);
	if (r == 0)
		r = make(e, ep, request->netns_fd, &why);
	if (r < 0)
		goto fail;
	e->last_slot = ep->slot;
	r = bn_endpoint_enlist(e, ep);
	if (r < 0) {
		bn_veth_remove(e->nl, ep->veth.ifindex, NULL);
		bn_endpoint_withdraw(e, ep);
		bn_endpoint_forget_record(e, ep->host_ifname);
		goto fail;
	}
	bn_log(BN_LOG_INFO, "endpoint added", "endpoint", ep->name, "netns", ep->netns, "interface",
	       ep->host_ifname, NULL);
	return 0;
fail:
	if (ep)
		bn_endpoint_discard(e, ep);
	bn_error_set(err, r, "cannot add endpoint %.63s/%.253s: %s",
		     request->namespace ? request->namespace : "", request->pod ? request->pod : "",
		     bn_error_text(&why));
	bn_error_done(&why);
	return r;
}

/* ---- delete ---- */

static int destroy(struct bn_endpoints *e, struct endpoint *ep, struct bn_error *err)
{
	int r = 0;

	if (bn_endpoint_device_is(e, ep))
		r = bn_veth_remove(e->nl, ep->veth.ifindex, err);
	if (r < 0)
		return r;
	bn_endpoint_withdraw(e, ep);
	r = bn_endpoint_forget(e->folder, ep->host_ifname, err);
	bn_endpoint_discard(e, ep);
	return r;
}

int bn_endpoints_delete(struct bn_endpoints *e, const char *namespace, const char *pod,
			struct bn_error *err)
{
	struct endpoint *ep = bn_endpoints_by_name(e, namespace, pod);
	int r;

	if (!ep)
		return bn_error_set(
			err, -ENOENT,
			"cannot delete endpoint %.63s/%.253s: there is none; 'bpfnet endpoint list' shows them",
			namespace, pod);
	r = destroy(e, ep, err);
	if (r == 0)
		bn_logf(BN_LOG_INFO, "endpoint deleted endpoint=%s/%s", namespace, pod);
	return r;
}

/* ---- changes ---- */

void bn_endpoints_set_mtu(struct bn_endpoints *e, uint32_t mtu)
{
	e->mtu = mtu;
}

void bn_endpoints_set_node(struct bn_endpoints *e, const union bn_addr *v4, const union bn_addr *v6)
{
	const union bn_addr *given[2] = {v4, v6};
	struct endpoint *ep;

	for (int i = 0; i < 2; i++) {
		e->has_node[i] = given[i];
		if (given[i])
			e->node[i] = *given[i];
	}
	for (ep = e->by_name; ep; ep = ep->by_name.next)
		bn_endpoint_refresh(e, ep);
}

/* ---- reading ---- */

int bn_endpoints_each(struct bn_endpoints *e, bn_endpoints_fn fn, void *user)
{
	struct bn_endpoint_info info;
	struct endpoint *ep;
	int r = 0;

	for (ep = e->by_name; ep && r >= 0; ep = ep->by_name.next) {
		bn_endpoint_info_fill(ep, &info);
		r = fn(user, &info);
	}
	return r < 0 ? r : 0;
}

int bn_endpoints_find(struct bn_endpoints *e, const char *namespace, const char *pod,
		      struct bn_endpoint_info *ret)
{
	const struct endpoint *ep = bn_endpoints_by_name(e, namespace, pod);

	if (!ep)
		return -ENOENT;
	bn_endpoint_info_fill(ep, ret);
	return 0;
}

size_t bn_endpoints_count(const struct bn_endpoints *e)
{
	return HASH_CNT(by_name, e->by_name);
}

static json_t *to_json(const struct bn_endpoints *e, const struct endpoint *ep)
{
	static const char *const states[] = {
		[BN_ENDPOINT_ADDING] = "adding",
		[BN_ENDPOINT_READY] = "ready",
		[BN_ENDPOINT_DEGRADED] = "degraded",
	};
	char text[BN_ADDR_STRLEN], mac[18];
	json_t *ips = json_array();
	const uint8_t *m = ep->veth.mac;
	struct bn_endpoint_info info;
	json_t *o;

	for (size_t i = 0; i < ep->n_ips; i++)
		json_array_append_new(ips, json_string(bn_addr_format(&ep->ips[i], text)));
	snprintf(mac, sizeof(mac), "%02x:%02x:%02x:%02x:%02x:%02x", m[0], m[1], m[2], m[3], m[4],
		 m[5]);
	o = json_pack("{sssssossss ss sisIssss*}", "namespace", ep->namespace, "pod", ep->pod,
		      "ips", ips, "ifname", ep->ifname, "host_ifname", ep->host_ifname, "state",
		      states[ep->state], "slot", ep->slot, "mtu", (json_int_t)ep->veth.mtu, "mac",
		      mac, "reason", ep->state == BN_ENDPOINT_DEGRADED ? ep->reason : NULL);
	if (o && json_object_set_new(o, "netns", json_string(ep->netns)) < 0)
		json_object_set_new(o, "netns", json_null());
	bn_endpoint_info_fill(ep, &info);
	if (o && e->ops.describe && e->ops.describe(e->ops.user, &info, o) < 0) {
		json_decref(o);
		return NULL;
	}
	return o;
}

static int in_order(const struct endpoint *a, const struct endpoint *b)
{
	int r = strcmp(a->namespace, b->namespace);

	return r ? r : strcmp(a->pod, b->pod);
}

json_t *bn_endpoints_json(struct bn_endpoints *e)
{
	json_t *list = json_array();
	struct endpoint *ep;

	HASH_SRT(by_name, e->by_name, in_order);
	for (ep = e->by_name; list && ep; ep = ep->by_name.next) {
		if (json_array_append_new(list, to_json(e, ep)) < 0) {
			json_decref(list);
			list = NULL;
		}
	}
	return list;
}

/* ---- the end ---- */

int bn_endpoints_uninstall(struct bn_endpoints *e, struct bn_error *err)
{
	struct endpoint *ep, *tmp;
	int r = 0;

	HASH_ITER(by_name, e->by_name, ep, tmp) {
		int one = destroy(e, ep, err);

		if (one < 0)
			r = one;
	}
	if (r == 0)
		r = bn_endpoints_purge(e, err);
	if (r == 0 && rmdir(e->folder) < 0 && errno != ENOENT)
		r = bn_error_set(err, -errno, "cannot remove %s: %s", e->folder, strerror(errno));
	return r;
}
