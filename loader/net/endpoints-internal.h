/* SPDX-License-Identifier: Apache-2.0 */
/* The registry's inside, shared by endpoints*.c alone. */
#pragma once

#include "net/endpoint-record.h"
#include "net/endpoints.h"
#include "net/monitor.h"

#include <bpfnet/limits.h>

struct bn_nl;

struct bn_endpoints {
	struct endpoint *by_name;
	struct endpoint *slots[BN_SLOTS];
	uint16_t last_slot;
	char *folder;
	struct bn_endpoints_ops ops;
	struct bn_monitor *monitor;
	struct bn_nl *nl;
	uint32_t mtu;
	union bn_addr node[2]; /* IPv4, IPv6 */
	bool has_node[2];
};

/* How the registry follows its devices: endpoints-restore.c. */
extern const struct bn_monitor_ops bn_endpoints_watch;
/* Puts the host side in order again, and the whole endpoint where it is degraded. */
void bn_endpoint_refresh(struct bn_endpoints *e, struct endpoint *ep);

/* Removes records that could not be restored, and their devices: for uninstalling. */
int bn_endpoints_purge(struct bn_endpoints *e, struct bn_error *err);

struct endpoint *bn_endpoints_by_name(const struct bn_endpoints *e, const char *namespace,
				      const char *pod);
void bn_endpoint_spec(const struct bn_endpoints *e, const struct endpoint *ep, int netns_fd,
		      struct bn_veth_spec *ret);

/* The caller's operations, with the endpoint as it is now. */
int bn_endpoint_publish(struct bn_endpoints *e, const struct endpoint *ep, struct bn_error *err);
int bn_endpoint_attach(struct bn_endpoints *e, const struct endpoint *ep, struct bn_error *err);
void bn_endpoint_withdraw(struct bn_endpoints *e, const struct endpoint *ep);

/* Into the registry, which owns it from then on; -ENOMEM. */
int bn_endpoint_enlist(struct bn_endpoints *e, struct endpoint *ep);
/* Frees it, out of the registry if it is there; record and device are someone else's affair. */
void bn_endpoint_discard(struct bn_endpoints *e, struct endpoint *ep);
/* Removes the record; a failure is logged. */
void bn_endpoint_forget_record(struct bn_endpoints *e, const char *host_ifname);
/* Whether the device is the one that was made for the endpoint. */
bool bn_endpoint_device_is(struct bn_endpoints *e, const struct endpoint *ep);
