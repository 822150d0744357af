// SPDX-License-Identifier: Apache-2.0
/*
 * Why: what must be known of an endpoint to adopt it or to remove what is left of it.
 *
 * Invariant: a record that is read is checked like a request: every field is there, in range, and
 * safe to use as a name.
 */
#include "net/endpoint-record.h"

#include "address.h"
#include "error.h"
#include "net/statefile.h"

#include <bpfnet/endpoint.h>
#include <bpfnet/limits.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define VERSION 1

static int set_names(struct endpoint *e, const char *namespace, const char *pod, const char *netns)
{
	e->namespace = strdup(namespace);
	e->pod = strdup(pod);
	e->netns = strdup(netns ? netns : "");
	if (!e->namespace || !e->pod || !e->netns)
		return -ENOMEM;
	if (asprintf(&e->name, "%s/%s", namespace, pod) < 0) {
		e->name = NULL;
		return -ENOMEM;
	}
	return 0;
}

int bn_endpoint_from_request(const struct bn_endpoint_request *request, struct endpoint **ret)
{
	struct endpoint *e = calloc(1, sizeof(*e));
	int r;

	if (!e)
		return -ENOMEM;
	r = set_names(e, request->namespace, request->pod, request->netns_name);
	if (r < 0) {
		bn_endpoint_free(e);
		return r;
	}
	strcpy(e->ifname, request->ifname ? request->ifname : "eth0");
	memcpy(e->ips, request->ips, request->n_ips * sizeof(e->ips[0]));
	e->n_ips = request->n_ips;
	e->state = BN_ENDPOINT_ADDING;
	*ret = e;
	return 0;
}

void bn_endpoint_free(struct endpoint *e)
{
	if (!e)
		return;
	free(e->name);
	free(e->namespace);
	free(e->pod);
	free(e->netns);
	free(e->reason);
	free(e);
}

void bn_endpoint_info_fill(const struct endpoint *e, struct bn_endpoint_info *ret)
{
	*ret = (struct bn_endpoint_info){
		.namespace = e->namespace,
		.pod = e->pod,
		.netns = e->netns,
		.ifname = e->ifname,
		.host_ifname = e->host_ifname,
		.ifindex = e->veth.ifindex,
		.ips = e->ips,
		.n_ips = e->n_ips,
		.slot = e->slot,
		.netns_cookie = e->netns_cookie,
		.mtu = e->veth.mtu > UINT16_MAX ? UINT16_MAX : (uint16_t)e->veth.mtu,
		.state = e->state,
		.reason = e->state == BN_ENDPOINT_DEGRADED ? e->reason : NULL,
	};
	memcpy(ret->mac, e->veth.mac, sizeof(ret->mac));
}

static int record_path(const char *folder, const char *host_ifname, char ret[PATH_MAX])
{
	return snprintf(ret, PATH_MAX, "%s/%s.json", folder, host_ifname) >= PATH_MAX
		       ? -ENAMETOOLONG
		       : 0;
}

int bn_endpoint_write(const char *folder, const struct endpoint *e, struct bn_error *err)
{
	char path[PATH_MAX], text[BN_ADDR_STRLEN];
	json_t *ips = json_array();
	json_t *record;
	int r;

	for (size_t i = 0; i < e->n_ips; i++)
		json_array_append_new(ips, json_string(bn_addr_format(&e->ips[i], text)));
	record = json_pack("{sisssssssssssisisosIsIsisI}", "version", VERSION, "state",
			   e->state == BN_ENDPOINT_ADDING ? "adding" : "ready", "namespace",
			   e->namespace, "pod", e->pod, "ifname", e->ifname, "host_ifname",
			   e->host_ifname, "ifindex", e->veth.ifindex, "peer_ifindex",
			   e->veth.peer_ifindex, "ips", ips, "netns_dev",
			   (json_int_t)e->netns_id.dev, "netns_ino", (json_int_t)e->netns_id.ino,
			   "slot", e->slot, "mtu", (json_int_t)e->veth.mtu);
	/* The name of a namespace is a path as typed: maybe no UTF-8, and then not kept. */
	if (record)
		json_object_set_new(record, "netns", json_string(e->netns));
	if (record && e->netns_cookie)
		json_object_set_new(record, "netns_cookie",
				    json_integer((json_int_t)e->netns_cookie));
	r = record_path(folder, e->host_ifname, path);
	if (!record)
		r = bn_error_set(err, -ENOMEM, "cannot write the endpoint down: out of memory");
	else if (r == 0)
		r = bn_statefile_write(path, record, err);
	json_decref(record);
	return r;
}

static int read_ips(struct endpoint *e, const json_t *ips)
{
	const json_t *ip;
	size_t i;

	if (!json_is_array(ips) || json_array_size(ips) > BN_VETH_IPS_MAX)
		return -EBADMSG;
	json_array_foreach((json_t *)ips, i, ip) {
		if (!json_is_string(ip) ||
		    bn_addr_parse(json_string_value(ip), &e->ips[i], NULL) < 0)
			return -EBADMSG;
	}
	e->n_ips = json_array_size(ips);
	return bn_endpoint_check_ips(e->ips, e->n_ips, NULL);
}

static int read_record(struct endpoint *e, json_t *record, const char *host_ifname)
{
	const char *state, *namespace, *pod, *ifname, *host, *netns = "";
	json_int_t dev, ino, mtu, cookie = 0;
	int version, slot;
	json_t *ips;

	if (json_unpack(record, "{sisssssssssssisisosIsIsisIs?ss?I}", "version", &version, "state",
			&state, "namespace", &namespace, "pod", &pod, "ifname", &ifname,
			"host_ifname", &host, "ifindex", &e->veth.ifindex, "peer_ifindex",
			&e->veth.peer_ifindex, "ips", &ips, "netns_dev", &dev, "netns_ino", &ino,
			"slot", &slot, "mtu", &mtu, "netns", &netns, "netns_cookie", &cookie) < 0)
		return -EBADMSG;
	if (version != VERSION || strcmp(host, host_ifname) != 0 || strlen(host) >= IF_NAMESIZE ||
	    strlen(ifname) >= IF_NAMESIZE || !bn_endpoint_ifname_ok(ifname) ||
	    !bn_endpoint_ifname_ok(host) || !bn_endpoint_name_ok(namespace, 63) ||
	    !bn_endpoint_name_ok(pod, 253) || slot <= BN_SLOT_NONE || slot >= BN_SLOTS || mtu < 0 ||
	    mtu > UINT32_MAX || e->veth.ifindex < 0 || e->veth.peer_ifindex < 0 ||
	    read_ips(e, ips) < 0)
		return -EBADMSG;
	strcpy(e->ifname, ifname);
	strcpy(e->host_ifname, host);
	bn_veth_pod_mac(e->veth.ifindex, e->veth.mac);
	e->veth.mtu = (uint32_t)mtu;
	e->netns_id = (struct bn_netns_id){.dev = (uint64_t)dev, .ino = (uint64_t)ino};
	e->netns_cookie = (uint64_t)cookie;
	e->slot = (uint16_t)slot;
	e->state = !strcmp(state, "ready") ? BN_ENDPOINT_READY : BN_ENDPOINT_ADDING;
	return set_names(e, namespace, pod, netns);
}

int bn_endpoint_read(const char *folder, const char *host_ifname, struct endpoint **ret,
		     struct bn_error *err)
{
	char path[PATH_MAX];
	json_t *record = NULL;
	struct endpoint *e;
	int r;

	r = record_path(folder, host_ifname, path);
	if (r == 0)
		r = bn_statefile_read(path, &record, err);
	if (r < 0)
		return r;
	e = calloc(1, sizeof(*e));
	r = e ? read_record(e, record, host_ifname) : -ENOMEM;
	json_decref(record);
	if (r < 0) {
		bn_endpoint_free(e);
		return bn_error_set(err, r, "%s is damaged", path);
	}
	*ret = e;
	return 0;
}

int bn_endpoint_forget(const char *folder, const char *host_ifname, struct bn_error *err)
{
	char path[PATH_MAX];
	int r = record_path(folder, host_ifname, path);

	return r < 0 ? r : bn_statefile_remove(path, err);
}
