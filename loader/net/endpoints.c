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
#include "net/endpoint-record.h"
#include "net/identity.h"
#include "net/inventory.h"
#include "net/monitor.h"
#include "net/netlink.h"

#include <bpfnet/endpoint.h>
#include <bpfnet/limits.h>
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define FOLDER "endpoints"
#define NAME_ATTEMPTS 8

struct bn_endpoints {
	struct endpoint *by_name;
	struct endpoint *slots[BN_SLOTS];
	uint16_t last_slot;
	char *folder;
	struct bn_endpoints_ops ops;
	struct bn_identities *identities;
	struct bn_monitor *monitor;
	struct bn_nl *nl;
	uint32_t mtu;
	union bn_addr node[2]; /* IPv4, IPv6 */
	bool has_node[2];
};

/* ---- small things ---- */

static struct endpoint *by_name(const struct bn_endpoints *e, const char *namespace, const char *pod)
{
	struct endpoint *ep = NULL;
	char name[512];
	int n;

	n = snprintf(name, sizeof(name), "%s/%s", namespace, pod);
	if (n < (int)sizeof(name))
		HASH_FIND(by_name, e->by_name, name, (size_t)n, ep);
	return ep;
}

static struct endpoint *by_ifindex(const struct bn_endpoints *e, int ifindex)
{
	struct endpoint *ep;

	for (ep = e->by_name; ep; ep = ep->by_name.next) {
		if (ep->veth.ifindex == ifindex)
			return ep;
	}
	return NULL;
}

static void spec_of(const struct bn_endpoints *e, const struct endpoint *ep, int netns_fd,
		    struct bn_veth_spec *ret)
{
	*ret = (struct bn_veth_spec){
		.host_ifname = ep->host_ifname,
		.pod_ifname = ep->ifname,
		.netns_fd = netns_fd,
		.ips = ep->ips,
		.n_ips = ep->n_ips,
		.mtu = e->mtu,
		.node_v4 = e->has_node[0] ? &e->node[0] : NULL,
		.node_v6 = e->has_node[1] ? &e->node[1] : NULL,
	};
}

static int publish(struct bn_endpoints *e, const struct endpoint *ep, struct bn_error *err)
{
	struct bn_endpoint_info info;

	bn_endpoint_info_fill(ep, &info);
	return e->ops.publish ? e->ops.publish(e->ops.user, &info, err) : 0;
}

static int attach(struct bn_endpoints *e, const struct endpoint *ep, struct bn_error *err)
{
	struct bn_endpoint_info info;

	bn_endpoint_info_fill(ep, &info);
	return e->ops.attach ? e->ops.attach(e->ops.user, &info, err) : 0;
}

static void withdraw(struct bn_endpoints *e, const struct endpoint *ep)
{
	struct bn_endpoint_info info;

	bn_endpoint_info_fill(ep, &info);
	if (e->ops.withdraw)
		e->ops.withdraw(e->ops.user, &info);
}

/* The identity of the pod's labels as they are now; the caller puts it. */
static int identify(struct bn_endpoints *e, const struct endpoint *ep, uint32_t *ret,
		    struct bn_error *err)
{
	json_t *labels = NULL;
	int r = -ENOENT;

	if (e->ops.labels)
		r = e->ops.labels(e->ops.user, ep->namespace, ep->pod, &labels);
	if (r < 0 && r != -ENOENT)
		return bn_error_set(err, r, "cannot read the labels of %s: %s", ep->name,
				    strerror(-r));
	r = bn_identities_get(e->identities, ep->namespace, r < 0 ? NULL : labels, ret, err);
	json_decref(labels);
	return r;
}

static int enlist(struct bn_endpoints *e, struct endpoint *ep)
{
	HASH_ADD_KEYPTR(by_name, e->by_name, ep->name, strlen(ep->name), ep);
	if (!ep->by_name.tbl)
		return -ENOMEM;
	e->slots[ep->slot] = ep;
	return 0;
}

/* From the registry; the record and the device are someone else's affair. */
static void discard(struct bn_endpoints *e, struct endpoint *ep)
{
	if (ep->by_name.tbl)
		HASH_DELETE(by_name, e->by_name, ep);
	if (e->slots[ep->slot] == ep)
		e->slots[ep->slot] = NULL;
	if (ep->identity)
		bn_identities_put(e->identities, ep->identity);
	bn_endpoint_free(ep);
}

static void forget(struct bn_endpoints *e, const char *host_ifname)
{
	struct bn_error err = BN_ERROR_INIT;

	/* The next start finds no device and tries again. */
	if (bn_endpoint_forget(e->folder, host_ifname, &err) < 0)
		bn_logf(BN_LOG_WARNING, "%s, ignoring", bn_error_text(&err));
	bn_error_done(&err);
}

static void degrade(struct endpoint *ep, const struct bn_error *why)
{
	ep->state = BN_ENDPOINT_DEGRADED;
	free(ep->reason);
	ep->reason = strdup(bn_error_text(why));
	bn_log(BN_LOG_ERROR, "endpoint is degraded", "endpoint", ep->name, "reason", ep->reason,
	       NULL);
}

/* Whether the device is the one that was made for the endpoint. */
static bool device_is(struct bn_endpoints *e, const struct endpoint *ep)
{
	struct bn_link link;

	return bn_link_get(e->nl, ep->host_ifname, 0, &link) == 0 && bn_link_is_host_side(&link) &&
	       link.ifindex == ep->veth.ifindex && link.peer_ifindex == ep->veth.peer_ifindex;
}

/* ---- devices that come and go by themselves ---- */

static void vanished(struct bn_endpoints *e, struct endpoint *ep)
{
	bn_log(BN_LOG_INFO, "endpoint removed: its network namespace or device is gone", "endpoint",
	       ep->name, "netns", ep->netns, "interface", ep->host_ifname, NULL);
	withdraw(e, ep);
	forget(e, ep->host_ifname);
	discard(e, ep);
}

static void on_link_gone(void *user, const struct bn_link *gone)
{
	struct bn_endpoints *e = user;
	struct endpoint *ep = by_ifindex(e, gone->ifindex);
	struct bn_link link;

	/* The notification may be older than a device with the same number. */
	if (ep && bn_link_get(e->nl, NULL, gone->ifindex, &link) == -ENODEV)
		vanished(e, ep);
}

/* Publishes, attaches and puts the host side in order; what fails shows in the endpoint's state. */
static void settle(struct bn_endpoints *e, struct endpoint *ep)
{
	struct bn_error err = BN_ERROR_INIT;
	struct bn_veth_spec spec;
	int r = 0;

	spec_of(e, ep, -1, &spec);
	if (!ep->identity)
		r = identify(e, ep, &ep->identity, &err);
	if (r == 0)
		r = publish(e, ep, &err);
	if (r == 0)
		r = attach(e, ep, &err);
	if (r == 0)
		r = bn_veth_repair(e->nl, &spec, &ep->veth, &err);
	if (r < 0)
		degrade(ep, &err);
	else
		ep->state = BN_ENDPOINT_READY;
	bn_error_done(&err);
}

static void refresh(struct bn_endpoints *e, struct endpoint *ep)
{
	struct bn_error err = BN_ERROR_INIT;
	struct bn_veth_spec spec;

	if (ep->state == BN_ENDPOINT_DEGRADED) {
		settle(e, ep);
		return;
	}
	spec_of(e, ep, -1, &spec);
	if (bn_veth_refresh(e->nl, &spec, &ep->veth, &err) < 0)
		degrade(ep, &err);
	bn_error_done(&err);
}

static void on_link(void *user, const struct bn_link *link)
{
	struct bn_endpoints *e = user;
	struct endpoint *ep = by_ifindex(e, link->ifindex);
	const bool up = link->flags & IFF_UP;

	if (!ep || ep->up == up)
		return;
	ep->up = up;
	/* Someone set it down and up again: routes and neighbours went with the first. */
	if (up)
		refresh(e, ep);
	else
		bn_log(BN_LOG_WARNING, "an endpoint's interface was set down by someone",
		       "endpoint", ep->name, "interface", ep->host_ifname, NULL);
}

static void on_resync(void *user)
{
	struct bn_endpoints *e = user;
	struct endpoint *ep, *tmp;

	HASH_ITER(by_name, e->by_name, ep, tmp) {
		if (!device_is(e, ep))
			vanished(e, ep);
		else
			refresh(e, ep);
	}
}

/* ---- new, free ---- */

int bn_endpoints_new(sd_event *event, const struct bn_endpoints_config *config,
		     struct bn_endpoints **ret, struct bn_error *err)
{
	static const struct bn_monitor_ops watch = {
		.link = on_link,
		.link_gone = on_link_gone,
		.resync = on_resync,
	};
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
	r = bn_identities_new(config->state_dir, &e->identities, err);
	if (r == 0)
		r = bn_nl_open(NETLINK_ROUTE, &e->nl, err);
	if (r == 0)
		r = bn_monitor_new(event, &watch, e, &e->monitor, err);
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
		discard(e, e->by_name);
	bn_monitor_free(e->monitor);
	bn_nl_free(e->nl);
	bn_identities_free(e->identities);
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
	return bn_error_set(err, -ENOSPC, "this node has %d endpoints already, the most there can be",
			    BN_SLOTS - 1);
}

static int check_free(struct bn_endpoints *e, const struct bn_endpoint_request *request,
		      struct bn_error *err)
{
	const struct endpoint *have = by_name(e, request->namespace, request->pod);
	struct bn_own_address *own = NULL;
	char text[BN_ADDR_STRLEN];
	size_t n = 0;
	int r;

	if (have)
		return bn_error_set(err, -EEXIST,
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
					r = bn_error_set(err, -EADDRINUSE,
							 "%s is taken by endpoint %s; choose another --ip",
							 bn_addr_format(ip, text), have->name);
			}
		}
		for (size_t k = 0; k < n && r == 0; k++) {
			if (bn_addr_equal(ip, &own[k].addr))
				r = bn_error_set(err, -EADDRINUSE,
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
	return bn_error_set(err, -EEXIST,
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
	r = publish(a->e, a->ep, err);
	return r < 0 ? r : attach(a->e, a->ep, err);
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
	spec_of(e, ep, netns_fd, &spec);
	r = bn_veth_create(e->nl, &spec, on_device, &a, &ep->veth, err);
	if (r == 0) {
		ep->state = BN_ENDPOINT_READY;
		ep->up = true;
		r = bn_endpoint_write(e->folder, ep, err);
		if (r < 0)
			bn_veth_remove(e->nl, ep->veth.ifindex, NULL);
	}
	if (r < 0) {
		if (a.reached)
			withdraw(e, ep);
		forget(e, ep->host_ifname);
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
	r = find_slot(e, &ep->slot, &why);
	if (r == 0)
		r = identify(e, ep, &ep->identity, &why);
	if (r == 0)
		r = make(e, ep, request->netns_fd, &why);
	if (r < 0)
		goto fail;
	e->last_slot = ep->slot;
	r = enlist(e, ep);
	if (r < 0) {
		bn_veth_remove(e->nl, ep->veth.ifindex, NULL);
		withdraw(e, ep);
		forget(e, ep->host_ifname);
		goto fail;
	}
	bn_log(BN_LOG_INFO, "endpoint added", "endpoint", ep->name, "netns", ep->netns, "interface",
	       ep->host_ifname, NULL);
	return 0;
fail:
	if (ep)
		discard(e, ep);
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

	if (device_is(e, ep))
		r = bn_veth_remove(e->nl, ep->veth.ifindex, err);
	if (r < 0)
		return r;
	withdraw(e, ep);
	r = bn_endpoint_forget(e->folder, ep->host_ifname, err);
	discard(e, ep);
	return r;
}

int bn_endpoints_delete(struct bn_endpoints *e, const char *namespace, const char *pod,
			struct bn_error *err)
{
	struct endpoint *ep = by_name(e, namespace, pod);
	int r;

	if (!ep)
		return bn_error_set(err, -ENOENT,
				    "cannot delete endpoint %.63s/%.253s: there is none; 'bpfnet endpoint list' shows them",
				    namespace, pod);
	r = destroy(e, ep, err);
	if (r == 0)
		bn_logf(BN_LOG_INFO, "endpoint deleted endpoint=%s/%s", namespace, pod);
	return r;
}

/* ---- restore ---- */

/* What a killed agent left in the middle of an add. */
static void remove_half_made(struct bn_endpoints *e, struct endpoint *ep)
{
	struct bn_error err = BN_ERROR_INIT;
	struct bn_link link;

	if (bn_link_get(e->nl, ep->host_ifname, 0, &link) == 0 && bn_link_is_host_side(&link)) {
		ep->veth.ifindex = link.ifindex;
		if (bn_veth_remove(e->nl, link.ifindex, &err) < 0)
			bn_logf(BN_LOG_ERROR, "%s, ignoring", bn_error_text(&err));
	}
	bn_log(BN_LOG_WARNING, "endpoint removed: its adding was interrupted; add it again",
	       "endpoint", ep->name, "interface", ep->host_ifname, NULL);
	if (ep->veth.ifindex)
		withdraw(e, ep);
	forget(e, ep->host_ifname);
	bn_error_done(&err);
	bn_endpoint_free(ep);
}

static void check_netns_name(const struct endpoint *ep)
{
	struct bn_netns_id id;
	int fd;

	if (!*ep->netns || bn_netns_open(ep->netns, &fd, NULL) < 0)
		return;
	if (bn_netns_identify(fd, &id) == 0 && !bn_netns_same(&id, &ep->netns_id))
		bn_log(BN_LOG_WARNING, "an endpoint's network namespace has lost its name to another",
		       "endpoint", ep->name, "netns", ep->netns, NULL);
	close(fd);
}

/* One record: into the registry, or away with what it stands for. */
static void take_record(struct bn_endpoints *e, const char *host_ifname)
{
	struct bn_error err = BN_ERROR_INIT;
	struct endpoint *ep;
	int r;

	r = bn_endpoint_read(e->folder, host_ifname, &ep, &err);
	if (r < 0) {
		bn_log(BN_LOG_ERROR, "an endpoint can't be restored; delete its interface and the file, then add it again",
		       "reason", bn_error_text(&err), "interface", host_ifname, NULL);
		bn_error_done(&err);
		return;
	}
	if (ep->state == BN_ENDPOINT_ADDING) {
		remove_half_made(e, ep);
	} else if (!device_is(e, ep)) {
		vanished(e, ep);
	} else if (e->slots[ep->slot] || by_name(e, ep->namespace, ep->pod) || enlist(e, ep) < 0) {
		bn_log(BN_LOG_ERROR, "an endpoint can't be restored: its name or slot is another's",
		       "endpoint", ep->name, "interface", ep->host_ifname, NULL);
		bn_endpoint_free(ep);
	}
}

int bn_endpoints_restore(struct bn_endpoints *e, struct bn_error *err)
{
	struct endpoint *ep, *tmp;
	struct dirent *entry;
	DIR *dir;

	dir = opendir(e->folder);
	if (!dir)
		return bn_error_set(err, -errno, "cannot read %s: %s", e->folder, strerror(errno));
	/* All that is gone goes first: the number of its device may be an adopted one's by now. */
	while ((entry = readdir(dir))) {
		char host_ifname[IF_NAMESIZE];
		int end = 0;

		if (sscanf(entry->d_name, "%15[^.].json%n", host_ifname, &end) == 1 && end &&
		    !entry->d_name[end])
			take_record(e, host_ifname);
	}
	closedir(dir);
	HASH_ITER(by_name, e->by_name, ep, tmp) {
		if (ep->slot > e->last_slot)
			e->last_slot = ep->slot;
		ep->up = true;
		settle(e, ep);
		check_netns_name(ep);
	}
	return bn_identities_settle(e->identities, err);
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
		refresh(e, ep);
}

int bn_endpoints_relabel(struct bn_endpoints *e, const char *namespace, const char *pod,
			 struct bn_error *err)
{
	struct endpoint *ep = by_name(e, namespace, pod);
	uint32_t old, identity;
	int r;

	if (!ep)
		return 0;
	r = identify(e, ep, &identity, err);
	if (r < 0)
		return r;
	old = ep->identity;
	ep->identity = identity;
	r = identity == old ? 0 : publish(e, ep, err);
	if (r < 0)
		ep->identity = old;
	/* One of the two references is not needed: the old one's, or that to what was refused. */
	bn_identities_put(e->identities, r < 0 ? identity : old);
	return r;
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
	const struct endpoint *ep = by_name(e, namespace, pod);

	if (!ep)
		return -ENOENT;
	bn_endpoint_info_fill(ep, ret);
	return 0;
}

size_t bn_endpoints_count(const struct bn_endpoints *e)
{
	return HASH_CNT(by_name, e->by_name);
}

static json_t *to_json(const struct endpoint *ep)
{
	static const char *const states[] = {
		[BN_ENDPOINT_ADDING] = "adding",
		[BN_ENDPOINT_READY] = "ready",
		[BN_ENDPOINT_DEGRADED] = "degraded",
	};
	char text[BN_ADDR_STRLEN], mac[18];
	json_t *ips = json_array();
	const uint8_t *m = ep->veth.mac;
	json_t *o;

	for (size_t i = 0; i < ep->n_ips; i++)
		json_array_append_new(ips, json_string(bn_addr_format(&ep->ips[i], text)));
	snprintf(mac, sizeof(mac), "%02x:%02x:%02x:%02x:%02x:%02x", m[0], m[1], m[2], m[3], m[4],
		 m[5]);
	o = json_pack("{sssssossss sIss s{sbsb} sisIssss*}", "namespace", ep->namespace, "pod",
		      ep->pod, "ips", ips, "ifname", ep->ifname, "host_ifname", ep->host_ifname,
		      "identity", (json_int_t)ep->identity, "state", states[ep->state], "policy",
		      "ingress", 0, "egress", 0, "slot", ep->slot, "mtu", (json_int_t)ep->veth.mtu,
		      "mac", mac, "reason",
		      ep->state == BN_ENDPOINT_DEGRADED ? ep->reason : NULL);
	if (o && json_object_set_new(o, "netns", json_string(ep->netns)) < 0)
		json_object_set_new(o, "netns", json_null());
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
		if (json_array_append_new(list, to_json(ep)) < 0) {
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
	if (r < 0)
		return r;
	r = bn_identities_uninstall(e->identities, err);
	if (r == 0 && rmdir(e->folder) < 0 && errno != ENOENT)
		r = bn_error_set(err, -errno, "cannot remove %s: %s", e->folder, strerror(errno));
	return r;
}
