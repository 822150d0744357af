/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Loading: opens the skeletons, takes over the pinned maps of a predecessor where they fit, sets
 * the node's constants, loads the programs and pins the maps. Programs themselves live as long as
 * their links do.
 */
#pragma once

#include "error.h"

#include <bpfnet/config.h>
#include <stdbool.h>
#include <stdint.h>

/* One list of maps for loading, pinning, status and `map list`. X(name, what it holds) */
#define BN_MAPS(X) \
	X(bn_flows, "flows, one entry each way") \
	X(bn_epochs, "epochs of endpoint slots") \
	X(bn_services, "frontends") \
	X(bn_service_slots, "places of services' backend lists") \
	X(bn_maglev, "lines of Maglev tables") \
	X(bn_affinity, "backends that clients keep") \
	X(bn_backends, "backends") \
	X(bn_endpoints, "endpoints by interface") \
	X(bn_addresses, "what an address is") \
	X(bn_devices, "devices that lead out of the node") \
	X(bn_node, "the node's addresses and the table's seed") \
	X(bn_policy, "policy tables, one a direction of endpoints that are alike") \
	X(bn_policy_pages, "pages of policy tables, 256 identities each") \
	X(bn_policy_ports, "lines of verdicts by port") \
	X(bn_policy_hits, "flows that each rule decided") \
	X(bn_policy_cidrs, "CIDRs that policies name") \
	X(bn_fragments, "ports of fragmented datagrams") \
	X(bn_drops, "drops by reason") \
	X(bn_counters, "counters") \
	X(bn_ranges, "CIDRs") \
	X(bn_sources, "who may use restricted services") \
	X(bn_events, "events to the agent") \
	X(bn_sock_netns, "namespaces whose sockets are balanced") \
	X(bn_sock_dgram, "services that unconnected sockets talk to") \
	X(bn_sock_tcp, "services that TCP sockets are connected to") \
	X(bn_sock_peer, "services that other sockets are connected to")

struct bpf_object;

enum bn_map_id {
#define BN_X(name, text) BN_MAP_##name,
	BN_MAPS(BN_X)
#undef BN_X
		BN_MAP_MAX,
};

enum bn_program_id {
	BN_PROGRAM_FROM_POD,
	BN_PROGRAM_TO_POD,
	BN_PROGRAM_FROM_UPLINK,
	BN_PROGRAM_TO_UPLINK,
	BN_PROGRAM_FROM_HOST,
	BN_PROGRAM_HOST_EGRESS,
	BN_PROGRAM_FROM_LOOPBACK,
	BN_PROGRAM_XDP, /* -errno: the kernel has refused it */
	BN_PROGRAM_MAX,
};

/* Entry counts; 0 takes the default of limits.h. */
struct bn_sizes {
	uint32_t flows, services, backends, service_slots, maglev, affinity, addresses, ranges,
		source_ranges, fragments, datagram_peers, event_bytes, policy_tables, policy_pages,
		policy_lines, policy_rules, policy_cidrs;
};

struct bn_programs_config {
	const char *bpffs; /* pins go to <bpffs>/maps */
	struct bn_sizes sizes;
	struct bn_config node; /* lifetimes in seconds here; hz, hash_key, flow_mask are set */
};

struct bn_sweep; /* the skeleton of sweep.bpf.c */

struct bn_programs {
	int maps[BN_MAP_MAX];         /* descriptors, owned */
	int programs[BN_PROGRAM_MAX]; /* descriptors, owned */
	struct bn_sweep *sweep;       /* owned */
	uint32_t hz;
	bool adopted;          /* the flow tables are a predecessor's */
	struct bn_config node; /* as set */
	int old_flows;         /* a predecessor's table of another size, owned; -1: none */
};

extern const char *const bn_map_names[BN_MAP_MAX];
extern const char *const bn_map_texts[BN_MAP_MAX];

/* Names the feature and the kernel that has it where something is missing. */
int bn_programs_probe(struct bn_error *err);
int bn_programs_load(struct bn_programs *ret, const struct bn_programs_config *config,
		     struct bn_error *err);
/*
 * Takes over what a predecessor's table of another size has got since it was first read: to be
 * called when no program uses that table any more.
 */
void bn_programs_carry_over(struct bn_programs *p);
/* Gives an object that is not loaded yet the maps; what it declares and nobody else has it goes without. */
int bn_programs_share_maps(struct bpf_object *obj, const struct bn_programs *programs,
			   struct bn_error *err);
/* The kernel's number of a loaded program; 0: it could not be asked. */
uint32_t bn_programs_id(const struct bn_programs *p, enum bn_program_id program);
/* Closes descriptors; pins and attached programs stay. */
void bn_programs_done(struct bn_programs *p);
