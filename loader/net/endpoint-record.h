/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One endpoint as the registry holds it and as it is written down. For endpoints.c and its tests.
 */
#pragma once

#include "net/endpoints.h"
#include "net/netns.h"
#include "net/veth.h"

#include <stdbool.h>

#define HASH_NONFATAL_OOM 1
#include <uthash.h>

struct endpoint {
	UT_hash_handle by_name;
	char *name; /* namespace/pod: the key */
	char *namespace, *pod;
	char *netns; /* as given, "" where unknown */
	char *reason;
	struct bn_netns_id netns_id;
	uint64_t netns_cookie; /* 0: the kernel does not tell */
	char ifname[IF_NAMESIZE];
	char host_ifname[IF_NAMESIZE];
	union bn_addr ips[BN_VETH_IPS_MAX];
	size_t n_ips;
	struct bn_veth veth;
	uint16_t slot;
	enum bn_endpoint_state state;
	/* As notifications say: those of its making come first, and say down. */
	enum { LINK_MAKING, LINK_UP, LINK_DOWN } link;
};

/* Copies what the request says; -ENOMEM. */
int bn_endpoint_from_request(const struct bn_endpoint_request *request, struct endpoint **ret);
void bn_endpoint_free(struct endpoint *e);
void bn_endpoint_info_fill(const struct endpoint *e, struct bn_endpoint_info *ret);

/* Into and from <folder>/<host ifname>.json. */
int bn_endpoint_write(const char *folder, const struct endpoint *e, struct bn_error *err);
int bn_endpoint_read(const char *folder, const char *host_ifname, struct endpoint **ret,
		     struct bn_error *err);
int bn_endpoint_forget(const char *folder, const char *host_ifname, struct bn_error *err);

/* Whether the request can be an endpoint at all, apart from what exists already. */
int bn_endpoint_check(const struct bn_endpoint_request *request, struct bn_netns_id *ret_netns,
		      struct bn_error *err);
/* Whether the addresses may be a pod's on this node. */
int bn_endpoint_check_ips(const union bn_addr *ips, size_t n, struct bn_error *err);
bool bn_endpoint_name_ok(const char *name, size_t max);
bool bn_endpoint_ifname_ok(const char *ifname);
