// SPDX-License-Identifier: Apache-2.0
/*
 * Why: endpoints live longer than the agent and may end without it: what is found at the start is
 * adopted or removed, what goes away later is noticed.
 *
 * Invariants: only whole endpoints are adopted; what is gone is withdrawn before anything is
 * adopted; an endpoint that can't be put in order stays, degraded, with the reason.
 */
#include "net/endpoints-internal.h"

#include "error.h"
#include "log.h"
#include "net/inventory.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static struct endpoint *by_ifindex(const struct bn_endpoints *e, int ifindex)
{
	struct endpoint *ep;

	for (ep = e->by_name; ep; ep = ep->by_name.next) {
		if (ep->veth.ifindex == ifindex)
			return ep;
	}
	return NULL;
}

static void degrade(struct endpoint *ep, const struct bn_error *why)
{
	ep->state = BN_ENDPOINT_DEGRADED;
	free(ep->reason);
	ep->reason = strdup(bn_error_text(why));
	bn_log(BN_LOG_ERROR, "endpoint is degraded", "endpoint", ep->name, "reason", ep->reason,
	       NULL);
}

static void vanished(struct bn_endpoints *e, struct endpoint *ep)
{
	bn_log(BN_LOG_INFO, "endpoint removed: its network namespace or device is gone", "endpoint",
	       ep->name, "netns", ep->netns, "interface", ep->host_ifname, NULL);
	bn_endpoint_withdraw(e, ep);
	bn_endpoint_forget_record(e, ep->host_ifname);
	bn_endpoint_discard(e, ep);
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
	int r;

	bn_endpoint_spec(e, ep, -1, &spec);
	r = bn_endpoint_publish(e, ep, &err);
	if (r == 0)
		r = bn_endpoint_attach(e, ep, &err);
	if (r == 0)
		r = bn_veth_repair(e->nl, &spec, &ep->veth, &err);
	if (r < 0)
		degrade(ep, &err);
	else
		ep->state = BN_ENDPOINT_READY;
	bn_error_done(&err);
}

void bn_endpoint_refresh(struct bn_endpoints *e, struct endpoint *ep)
{
	struct bn_error err = BN_ERROR_INIT;
	struct bn_veth_spec spec;

	if (ep->state == BN_ENDPOINT_DEGRADED) {
		settle(e, ep);
		return;
	}
	bn_endpoint_spec(e, ep, -1, &spec);
	if (bn_veth_refresh(e->nl, &spec, &ep->veth, &err) < 0)
		degrade(ep, &err);
	bn_error_done(&err);
}

static void on_link(void *user, const struct bn_link *link)
{
	struct bn_endpoints *e = user;
	struct endpoint *ep = by_ifindex(e, link->ifindex);
	const bool up = link->flags & IFF_UP;

	if (!ep)
		return;
	if (up && ep->link == LINK_DOWN)
		bn_endpoint_refresh(e, ep); /* routes and neighbours went when it was set down */
	else if (!up && ep->link == LINK_UP && bn_endpoint_device_is(e, ep))
		bn_log(BN_LOG_WARNING, "an endpoint's interface was set down by someone",
		       "endpoint", ep->name, "interface", ep->host_ifname, NULL);
	if (up)
		ep->link = LINK_UP;
	else if (ep->link == LINK_UP)
		ep->link = LINK_DOWN;
}

static void on_resync(void *user)
{
	struct bn_endpoints *e = user;
	struct endpoint *ep, *tmp;

	HASH_ITER(by_name, e->by_name, ep, tmp) {
		if (!bn_endpoint_device_is(e, ep))
			vanished(e, ep);
		else
			bn_endpoint_refresh(e, ep);
	}
}

const struct bn_monitor_ops bn_endpoints_watch = {
	.link = on_link,
	.link_gone = on_link_gone,
	.resync = on_resync,
};

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
		bn_endpoint_withdraw(e, ep);
	bn_endpoint_forget_record(e, ep->host_ifname);
	bn_error_done(&err);
	bn_endpoint_free(ep);
}

/* Also gives an endpoint of an agent that knew no cookies its own. */
static void check_netns_name(struct bn_endpoints *e, struct endpoint *ep)
{
	struct bn_netns_id id;
	int fd;

	if (!*ep->netns || bn_netns_open(ep->netns, &fd, NULL) < 0)
		return;
	if (bn_netns_identify(fd, &id) < 0)
		; /* whatever it is, it is not the endpoint's */
	else if (bn_netns_same(&id, &ep->netns_id) && !ep->netns_cookie && e->ops.cookie)
		ep->netns_cookie = e->ops.cookie(e->ops.user, fd);
	else if (!bn_netns_same(&id, &ep->netns_id))
		bn_log(BN_LOG_WARNING,
		       "an endpoint's network namespace has lost its name to another", "endpoint",
		       ep->name, "netns", ep->netns, NULL);
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
		bn_log(BN_LOG_ERROR,
		       "an endpoint can't be restored; delete its interface and the file, then add it again",
		       "reason", bn_error_text(&err), "interface", host_ifname, NULL);
		bn_error_done(&err);
		return;
	}
	if (ep->state == BN_ENDPOINT_ADDING) {
		remove_half_made(e, ep);
	} else if (!bn_endpoint_device_is(e, ep)) {
		vanished(e, ep);
	} else if (e->slots[ep->slot] || bn_endpoints_by_name(e, ep->namespace, ep->pod) ||
		   bn_endpoint_enlist(e, ep) < 0) {
		bn_log(BN_LOG_ERROR, "an endpoint can't be restored: its name or slot is another's",
		       "endpoint", ep->name, "interface", ep->host_ifname, NULL);
		bn_endpoint_free(ep);
	}
}

/* Records by the name of their device; what a kill left of writing one is removed. */
static int each_record(struct bn_endpoints *e, void (*fn)(struct bn_endpoints *, const char *),
		       struct bn_error *err)
{
	struct dirent *entry;
	DIR *dir;

	dir = opendir(e->folder);
	if (!dir)
		return bn_error_set(err, -errno, "cannot read %s: %s", e->folder, strerror(errno));
	while ((entry = readdir(dir))) {
		char host_ifname[IF_NAMESIZE];
		int end = 0;

		if (sscanf(entry->d_name, "%15[^.].json%n", host_ifname, &end) != 1 || !end)
			continue;
		if (!entry->d_name[end])
			fn(e, host_ifname);
		else if (!strcmp(entry->d_name + end, ".tmp"))
			unlinkat(dirfd(dir), entry->d_name, 0);
	}
	closedir(dir);
	return 0;
}

static void purge_record(struct bn_endpoints *e, const char *host_ifname)
{
	struct bn_link link;

	if (bn_link_get(e->nl, host_ifname, 0, &link) == 0 && bn_link_is_host_side(&link))
		bn_veth_remove(e->nl, link.ifindex, NULL);
	bn_endpoint_forget_record(e, host_ifname);
}

int bn_endpoints_purge(struct bn_endpoints *e, struct bn_error *err)
{
	return each_record(e, purge_record, err);
}

int bn_endpoints_restore(struct bn_endpoints *e, struct bn_error *err)
{
	struct endpoint *ep, *tmp;
	int r;

	/* All that is gone goes first: the number of its device may be an adopted one's by now. */
	r = each_record(e, take_record, err);
	if (r < 0)
		return r;
	HASH_ITER(by_name, e->by_name, ep, tmp) {
		if (ep->slot > e->last_slot)
			e->last_slot = ep->slot;
		ep->link = LINK_UP;
		check_netns_name(e, ep);
		settle(e, ep);
	}
	return 0;
}
