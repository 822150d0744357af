// SPDX-License-Identifier: Apache-2.0
/*
 * Why: the steps that adding, removing and restoring an endpoint have in common.
 *
 * Invariant: none of them leaves the registry's tables (names, slots) disagreeing.
 */
#include "net/endpoints-internal.h"

#include "error.h"
#include "log.h"
#include "net/inventory.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

struct endpoint *bn_endpoints_by_name(const struct bn_endpoints *e, const char *namespace,
				      const char *pod)
{
	struct endpoint *ep = NULL;
	char name[512];
	int n;

	n = snprintf(name, sizeof(name), "%s/%s", namespace, pod);
	if (n < (int)sizeof(name))
		HASH_FIND(by_name, e->by_name, name, (size_t)n, ep);
	return ep;
}

void bn_endpoint_spec(const struct bn_endpoints *e, const struct endpoint *ep, int netns_fd,
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

int bn_endpoint_publish(struct bn_endpoints *e, const struct endpoint *ep, struct bn_error *err)
{
	struct bn_endpoint_info info;

	bn_endpoint_info_fill(ep, &info);
	return e->ops.publish ? e->ops.publish(e->ops.user, &info, err) : 0;
}

int bn_endpoint_attach(struct bn_endpoints *e, const struct endpoint *ep, struct bn_error *err)
{
	struct bn_endpoint_info info;

	bn_endpoint_info_fill(ep, &info);
	return e->ops.attach ? e->ops.attach(e->ops.user, &info, err) : 0;
}

void bn_endpoint_withdraw(struct bn_endpoints *e, const struct endpoint *ep)
{
	struct bn_endpoint_info info;

	bn_endpoint_info_fill(ep, &info);
	if (e->ops.withdraw)
		e->ops.withdraw(e->ops.user, &info);
}

int bn_endpoint_enlist(struct bn_endpoints *e, struct endpoint *ep)
{
	HASH_ADD_KEYPTR(by_name, e->by_name, ep->name, strlen(ep->name), ep);
	if (!ep->by_name.tbl)
		return -ENOMEM;
	e->slots[ep->slot] = ep;
	return 0;
}

void bn_endpoint_discard(struct bn_endpoints *e, struct endpoint *ep)
{
	if (ep->by_name.tbl)
		HASH_DELETE(by_name, e->by_name, ep);
	if (e->slots[ep->slot] == ep)
		e->slots[ep->slot] = NULL;
	bn_endpoint_free(ep);
}

void bn_endpoint_forget_record(struct bn_endpoints *e, const char *host_ifname)
{
	struct bn_error err = BN_ERROR_INIT;

	/* The next start finds no device and tries again. */
	if (bn_endpoint_forget(e->folder, host_ifname, &err) < 0)
		bn_logf(BN_LOG_WARNING, "%s, ignoring", bn_error_text(&err));
	bn_error_done(&err);
}

bool bn_endpoint_device_is(struct bn_endpoints *e, const struct endpoint *ep)
{
	struct bn_link link;

	return bn_link_get(e->nl, ep->host_ifname, 0, &link) == 0 && bn_link_is_host_side(&link) &&
	       link.ifindex == ep->veth.ifindex && link.peer_ifindex == ep->veth.peer_ifindex;
}
