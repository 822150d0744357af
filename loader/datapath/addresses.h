/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the datapath knows of interfaces, addresses, devices and ranges, and the epochs that tell
 * flows of a change. An address can be several things at once (a peer of the model and an endpoint
 * of this node); the endpoint comes first, then this node's own, then the model's.
 */
#pragma once

#include "error.h"
#include "model.h"

#include <bpfnet/config.h>
#include <bpfnet/endpoint.h>
#include <stdint.h>

struct bn_addresses;
struct bn_audit_report;
struct bn_cidr;

struct bn_addresses_config {
	int endpoints_fd, addresses_fd, devices_fd, node_fd, ranges_fd, epochs_fd; /* borrowed */
	uint32_t max_addresses, max_ranges;
};

/* Reads what a predecessor left; it counts as unclaimed until something names it. */
int bn_addresses_new(const struct bn_addresses_config *config, struct bn_addresses **ret,
		     struct bn_error *err);
void bn_addresses_free(struct bn_addresses *a);
/* Removes what nothing has named since bn_addresses_new(). */
int bn_addresses_prune(struct bn_addresses *a, struct bn_error *err);

struct bn_interface {
	uint32_t ifindex;
	uint16_t slot, mtu;
	uint32_t identity4, identity6;
	uint16_t egress, ingress; /* policy tables */
	uint32_t flags;           /* enum bn_endpoint_flag */
	uint32_t netns;           /* as in struct bn_endpoint */
	const union bn_addr *ips;
	size_t n_ips;
};

/*
 * Room for an endpoint that is set later, before bn_addresses_prune(): until then nobody else gets
 * it. Changes nothing that stands in the maps. -ENOSPC as in bn_addresses_endpoint_set().
 */
int bn_addresses_endpoint_reserve(struct bn_addresses *a, const union bn_addr *ips, size_t n,
				  struct bn_error *err);
/* New or changed. -ENOSPC where the tables are full; nothing has changed then. */
int bn_addresses_endpoint_set(struct bn_addresses *a, const struct bn_interface *i,
			      struct bn_error *err);
void bn_addresses_endpoint_remove(struct bn_addresses *a, const struct bn_interface *i);

/* What the model says of addresses; all or nothing. */
int bn_addresses_peers(struct bn_addresses *a, const struct bn_peer_spec *set, size_t n_set,
		       const union bn_addr *removed, size_t n_removed, struct bn_error *err);

/*
 * A change of policy or labels, for all addresses in one instant: between stage and switch,
 * bn_addresses_endpoint_set(), _peer_identity() and _firewall() write what comes beside what is in
 * force. From the switch on that is what comes (`take`) or what was; the same calls follow for each
 * of them, to write it on both sides and to let flows know.
 */
void bn_addresses_stage(struct bn_addresses *a);
void bn_addresses_switch(struct bn_addresses *a, bool take);

/* The identity of an address that the model names; one that it does not name is no error. */
int bn_addresses_peer_identity(struct bn_addresses *a, const union bn_addr *addr, uint32_t identity,
			       struct bn_error *err);

struct bn_own_spec {
	union bn_addr addr;
	bool node_ports; /* NodePorts answer on it */
};

/* This node's own addresses, all of them, in place of the ones before. */
int bn_addresses_own(struct bn_addresses *a, const struct bn_own_spec *own, size_t n,
		     struct bn_error *err);
/* Policy tables of the node itself, its firewall; BN_POLICY_OPEN both: it has none. */
struct bn_firewall {
	uint16_t egress, ingress;
	bool audit; /* what they deny passes, and is reported */
};

/* Until this is called, the node's addresses keep what a predecessor gave them. */
int bn_addresses_firewall(struct bn_addresses *a, const struct bn_firewall *firewall,
			  struct bn_error *err);
/* The address of each family that errors and masquerading start from; NULL: none. */
int bn_addresses_node(struct bn_addresses *a, const union bn_addr *v4, const union bn_addr *v6,
		      struct bn_error *err);
/* The device by which the node's stack gets answers of services; 0: none. */
int bn_addresses_host(struct bn_addresses *a, uint32_t ifindex, uint32_t peer_ifindex,
		      struct bn_error *err);
/* A device that leads out of the node; NULL takes it away. */
int bn_addresses_device(struct bn_addresses *a, uint32_t ifindex, const struct bn_device *device,
			struct bn_error *err);
/* The CIDRs with a meaning, all of them, in place of the ones before. */
int bn_addresses_ranges(struct bn_addresses *a, const struct bn_cidr *cidrs, const uint32_t *flags,
			size_t n, struct bn_error *err);
/* Routes, addresses or devices changed: every flow's next packet looks again. */
void bn_addresses_bump(struct bn_addresses *a);
/* Whether it is this node's, by bn_addresses_own(). */
bool bn_addresses_is_own(const struct bn_addresses *a, const union bn_addr *addr);
bool bn_addresses_known(struct bn_addresses *a, const union bn_addr *addr);
uint64_t bn_addresses_count(const struct bn_addresses *a);
/* One slice of the audit of all of it. Returns whether there is more. */
bool bn_addresses_audit(struct bn_addresses *a, struct bn_audit_report *report);
