/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * Sizes: those that are part of the ABI (array lengths inside stored structs, slot counts) and
 * the defaults of those that configuration may change. Entry counts, not bytes.
 */
#pragma once

/* Bumped whenever a stored struct changes its meaning; a pinned map of another ABI is replaced. */
#define BN_ABI_VERSION 6

/* Endpoint slots of a node: an endpoint's index into the epoch array. 0 is "no endpoint". */
#define BN_SLOTS 4096
#define BN_SLOT_NONE 0

/* Of policy, that an entry has room for: the one in force and the one that comes (endpoint.h). */
#define BN_GENERATIONS 2

/* Backends that there may be at most: how many bits of its word a flow names its own by. */
#define BN_BACKEND_BITS 20
#define BN_BACKENDS_MAX (1u << BN_BACKEND_BITS)

/* Service ids are below; 0 is no service. */
#define BN_SERVICE_IDS (1u << 23)

/* NodePorts are allotted and accepted from here (kube-apiserver's default range). */
#define BN_NODE_PORT_FIRST 30000
#define BN_NODE_PORT_LAST 32767

/* Ways of one set of the flow table: tags and deadlines of a set fill one cache line. */
#define BN_WAYS 7
/* Established entries of a set, so that new flows find room; and how many live ones turn newcomers away. */
#define BN_WAYS_ESTABLISHED 6
#define BN_WAYS_CROWDED 5
/* What the table is sized for, on average: one in ten thousand then finds both its sets full. */
#define BN_WAYS_PLANNED 4

/* Defaults, `maps:` in the configuration file. */
#define BN_DEFAULT_FLOWS 131072           /* that can be established at once; 2 entries a flow */
#define BN_DEFAULT_FLOW_SETS 32768        /* what these need: sets of BN_WAYS_PLANNED, 2^n */
#define BN_DEFAULT_SERVICES 65536         /* frontends: address, port, protocol */
#define BN_DEFAULT_SERVICE_GROUPS 21846   /* of 4 entries, so that three quarters are used */
#define BN_DEFAULT_MAGLEV 131072          /* lines of 32 entries of all Maglev tables together */
#define BN_DEFAULT_AFFINITY 65536         /* clients that keep their backend */
#define BN_DEFAULT_BACKENDS 262144        /* distinct backend address, port, protocol */
#define BN_DEFAULT_SERVICE_SLOTS 524288   /* places in all services' backend lists together */
#define BN_DEFAULT_ADDRESSES 65536        /* pods and nodes known by address */
#define BN_DEFAULT_RANGES 1024            /* CIDRs with a meaning to the datapath */
#define BN_DEFAULT_SOURCE_RANGES 16384    /* loadBalancerSourceRanges of all services together */
#define BN_DEFAULT_FRAGMENTS 8192         /* datagrams with fragments under way */
#define BN_DEFAULT_DATAGRAM_PEERS 32768   /* unconnected sockets' services: 2 entries each */
#define BN_DEFAULT_POLICY_TABLES 2048     /* endpoints that policies treat differently, per direction */
#define BN_DEFAULT_POLICY_PAGES 8192      /* different pages of 256 identities in all tables */
#define BN_DEFAULT_POLICY_LINES 65536     /* lines of 8 verdicts by port in all tables */
#define BN_DEFAULT_POLICY_RULES 65536     /* rules, and policies once for each direction */
#define BN_DEFAULT_POLICY_CIDRS 65536     /* CIDRs and exceptions that policies name */
#define BN_DEFAULT_EVENT_BYTES (1u << 20) /* ring buffer, a power of two and of pages */

/* Numbers that identities have; a table of policy has a place for each. */
#define BN_IDENTITIES 65536

/* Reserved identities (node-local numbers); pods get theirs from BN_IDENTITY_FIRST on. */
enum bn_identity {
	BN_IDENTITY_UNKNOWN = 0,
	BN_IDENTITY_HOST = 1,        /* this node's own addresses */
	BN_IDENTITY_WORLD = 2,       /* any address that is no pod's and no node's */
	BN_IDENTITY_REMOTE_NODE = 3, /* another node */
	BN_IDENTITY_FIRST = 256,
};
