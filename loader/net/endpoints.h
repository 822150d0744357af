/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The endpoint registry: the pods attached to this node. An endpoint is written down before
 * anything is made of it and again when all of it works; so at whatever moment the agent dies, the
 * next one finds whole endpoints, which it adopts, or half ones, which it removes.
 *
 * State: <state-dir>/endpoints/<host ifname>.json, one file each.
 */
#pragma once

#include <bpfnet/types.h>
#include <jansson.h>
#include <net/if.h>
#include <stddef.h>
#include <stdint.h>
#include <systemd/sd-event.h>

struct bn_endpoints;
struct bn_error;

struct bn_endpoint_request {
	const char *namespace, *pod;
	const char *ifname;     /* in the pod; NULL: eth0 */
	const char *netns_name; /* as the user gave it, for `list` */
	int netns_fd;           /* borrowed */
	const union bn_addr *ips;
	size_t n_ips;
};

enum bn_endpoint_state {
	BN_ENDPOINT_ADDING,
	BN_ENDPOINT_READY,
	BN_ENDPOINT_DEGRADED, /* adopted, but not everything of it could be put in order */
};

/* Borrowed, valid during the call that passes it. */
struct bn_endpoint_info {
	const char *namespace, *pod;
	const char *netns, *ifname, *host_ifname;
	int ifindex; /* host side; 0 where a half-made endpoint never got that far */
	const union bn_addr *ips;
	size_t n_ips;
	uint16_t slot; /* 1 to BN_SLOTS - 1 */
	uint16_t mtu;
	uint8_t mac[6];        /* the pod's */
	uint64_t netns_cookie; /* 0: not known */
	enum bn_endpoint_state state;
	const char *reason; /* why degraded, or NULL */
};

/* In this order while adding; an error rolls back. */
struct bn_endpoints_ops {
	/* Puts the endpoint into the datapath's tables. */
	int (*publish)(void *user, const struct bn_endpoint_info *info, struct bn_error *err);
	/* Attaches the programs to info->ifindex, which is down while adding. */
	int (*attach)(void *user, const struct bn_endpoint_info *info, struct bn_error *err);
	/* Undoes both. The device is gone already. */
	void (*withdraw)(void *user, const struct bn_endpoint_info *info);
	/* Adds to what `list` says of the endpoint: its identity and policy. Optional. */
	int (*describe)(void *user, const struct bn_endpoint_info *info, json_t *endpoint);
	/* What BPF programs know the namespace by; optional, 0 where it can't be told. */
	uint64_t (*cookie)(void *user, int netns_fd);
	void *user;
};

struct bn_endpoints_config {
	const char *state_dir;
	struct bn_endpoints_ops ops;
	uint32_t mtu; /* of the uplink; 0: 1500 */
};

/* Watches for devices that go away with their namespace. */
int bn_endpoints_new(sd_event *event, const struct bn_endpoints_config *config,
		     struct bn_endpoints **ret, struct bn_error *err);
/* Leaves endpoints, devices and records alone. */
void bn_endpoints_free(struct bn_endpoints *e);

/*
 * At start: adopts endpoints whose devices still exist (publish, attach, host side repaired),
 * removes half-made ones, drops those that went away. What went wrong with one endpoint shows in
 * its state and does not keep the others down.
 */
int bn_endpoints_restore(struct bn_endpoints *e, struct bn_error *err);

/* Returns when both families work, or nothing of it is left. -EINVAL, -EEXIST, -EADDRINUSE,
 * -ENOSPC and others, explained. */
int bn_endpoints_add(struct bn_endpoints *e, const struct bn_endpoint_request *request,
		     struct bn_error *err);
/* -ENOENT where there is no such endpoint. */
int bn_endpoints_delete(struct bn_endpoints *e, const char *namespace, const char *pod,
			struct bn_error *err);

/* The uplink's MTU, for endpoints added from now on. */
void bn_endpoints_set_mtu(struct bn_endpoints *e, uint32_t mtu);
/*
 * The node's address of each family, NULL: none; the source of its own packets to pods. To be
 * called at each change of the node's addresses, even to the same: the kernel deletes IPv4 routes
 * whose source went away for a moment. Repairs the host side of all endpoints.
 */
void bn_endpoints_set_node(struct bn_endpoints *e, const union bn_addr *v4,
			   const union bn_addr *v6);

/* A negative result of fn ends it and is returned. fn may not add or delete. */
typedef int (*bn_endpoints_fn)(void *user, const struct bn_endpoint_info *info);
int bn_endpoints_each(struct bn_endpoints *e, bn_endpoints_fn fn, void *user);
/* -ENOENT; ret is valid until the registry changes. */
int bn_endpoints_find(struct bn_endpoints *e, const char *namespace, const char *pod,
		      struct bn_endpoint_info *ret);
size_t bn_endpoints_count(const struct bn_endpoints *e);

/* `endpoint list`: an array sorted by namespace and pod; NULL: out of memory. */
json_t *bn_endpoints_json(struct bn_endpoints *e);

/* Removes all endpoints, their devices and the records. */
int bn_endpoints_uninstall(struct bn_endpoints *e, struct bn_error *err);
