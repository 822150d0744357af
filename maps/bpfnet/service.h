/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * Services. A frontend (address, port, protocol) names backends: up to three stand in its entry, so
 * that a first packet looks at one pair of cache lines; more are a run of places in
 * bn_service_slots. A change writes a new run and then the entry, so a reader sees the old list or
 * the new one, never a mixture.
 */
#pragma once

#include <bpfnet/types.h>

/*
 * What a frontend is known by. `port` 0 with protocol 0 marks an address that some service owns:
 * what is sent there on a port that no frontend has is refused, not routed. Node ports and host
 * ports on all of the node's addresses stand under the unspecified one of the family, ::ffff:0.0.0.0
 * or ::.
 */
struct bn_service_key {
	union bn_addr addr; /* 0 */
	__be16 port;        /* 16 */
	__u8 protocol;      /* 18  IPPROTO_TCP, IPPROTO_UDP, IPPROTO_SCTP */
	__u8 pad[5];        /* 19 */
};
BN_ASSERT_SIZE(struct bn_service_key, 24);

enum bn_frontend_kind {
	BN_FRONTEND_CLUSTER_IP = 0,
	BN_FRONTEND_NODE_PORT = 1,
	BN_FRONTEND_LOAD_BALANCER = 2,
	BN_FRONTEND_EXTERNAL_IP = 3,
	BN_FRONTEND_HOST_PORT = 4,
	BN_FRONTEND_MAX,
};

enum bn_service_flag {
	BN_SERVICE_INLINE = 1 << 0,        /* place[], not lists */
	BN_SERVICE_LOCAL_INSIDE = 1 << 1,  /* internalTrafficPolicy: Local */
	BN_SERVICE_LOCAL_OUTSIDE = 1 << 2, /* externalTrafficPolicy: Local */
	BN_SERVICE_RESTRICTED = 1 << 3,    /* loadBalancerSourceRanges, in bn_sources */
};

/* A place has all that a first packet needs of its backend. */
struct bn_service_slot {
	__be32 addr[4]; /* 0   as union bn_addr, which would be aligned to 8 */
	__u32 backend;  /* 16  index into bn_backends */
	__u32 gen;      /* 20  the backend's generation */
	__be16 port;    /* 24 */
	__u16 pad;      /* 26 */
};
BN_ASSERT_SIZE(struct bn_service_slot, 28);

#define BN_SERVICE_PLACES 3

struct bn_service {
	__u32 id;         /* 0   service id, the same for all frontends of a Service object */
	__u8 kind;        /* 4   enum bn_frontend_kind */
	__u8 flags;       /* 5   enum bn_service_flag */
	__u16 port_index; /* 6   of the Service's port: what its frontends share affinity by */
	__u32 count;      /* 8   backends for traffic of policy Cluster; 0: refuse */
	__u32 affinity;   /* 12  seconds that a client keeps its backend, 0: none */
	union {           /* 16 */
		struct bn_service_slot place[BN_SERVICE_PLACES];
		struct {
			__u32 first;          /* 16  of `count` places, then local_count */
			__u32 local_count;    /* 20  backends for traffic of policy Local */
			__u32 lut;            /* 24  first line of the Maglev table in bn_maglev */
			__u32 lut_size;       /* 28  its entries; 0: choose at random */
			__u32 local_lut;      /* 32 */
			__u32 local_lut_size; /* 36 */
		};
	};
};
BN_ASSERT_SIZE(struct bn_service, 100);

/*
 * bn_services: an array of groups of BN_SERVICE_GROUP entries. A frontend's hash names its home
 * group and another one for when that is full. The agent alone writes, by a mapping, and replaces
 * what is in use: `seq` is odd while an entry is written and changes when it is left, so that a
 * reader that was at it looks again. The first entry of a group carries the group's word: which
 * entries are used, how many of its own live elsewhere, and a count of its changes, by which a
 * reader that found nothing knows that it has to look again.
 */
#define BN_SERVICE_GROUP 4
#define BN_GROUP_USED(word) ((word) & 0xf)
#define BN_GROUP_SPILLED(word) ((word) >> 8 & 0xff)

struct bn_service_entry {
	union bn_addr addr; /* 0 */
	__be16 port;        /* 16 */
	__u8 protocol;      /* 18 */
	__u8 pad;           /* 19 */
	__u32 group;        /* 20  of the group's first entry */
	__u32 seq;          /* 24 */
	struct bn_service value;
};
BN_ASSERT_SIZE(struct bn_service_entry, 128);
BN_ASSERT_AT(struct bn_service_entry, value, 28);

static inline __attribute__((always_inline)) __u32 bn_service_home(__u64 hash, __u32 groups)
{
	return (__u32)((hash >> 32) * groups >> 32);
}

static inline __attribute__((always_inline)) __u32 bn_service_elsewhere(__u64 hash, __u32 groups)
{
	return (__u32)((hash & 0xffffffff) * groups >> 32);
}

/* Of a group, where it is looked for first. */
static inline __attribute__((always_inline)) __u32 bn_service_way(__u64 hash)
{
	return (__u32)hash & (BN_SERVICE_GROUP - 1);
}

/* bn_maglev: lines of the tables (Eisenbud et al. 2016), places relative to the list's first. */
#define BN_MAGLEV_LINE 32
struct bn_maglev_line {
	__u16 place[BN_MAGLEV_LINE];
};
BN_ASSERT_SIZE(struct bn_maglev_line, 64);

/* bn_affinity: which backend a client of a service port has. */
struct bn_affinity_key {
	union bn_addr client; /* 0   ::, then a namespace's cookie, for sockets */
	__u32 id;             /* 16  of the service */
	__u16 port_index;     /* 20 */
	__u8 local;           /* 22  chosen among those for traffic of policy Local */
	__u8 family;          /* 23  of the backend */
};
BN_ASSERT_SIZE(struct bn_affinity_key, 24);

struct bn_affinity {
	struct bn_service_slot slot; /* 0 */
	__u32 seen;                  /* 28  jiffies, low 32 bits */
};
BN_ASSERT_SIZE(struct bn_affinity, 32);

enum bn_backend_state {
	BN_BACKEND_FREE = 0,
	BN_BACKEND_ACTIVE = 1,
	BN_BACKEND_TERMINATING = 2,
	BN_BACKEND_NOT_READY = 3,
	BN_BACKEND_STATE_MAX,
};

/*
 * bn_backends, by index. `gen` is bumped when the backend stops taking new flows: a flow that
 * is not established and holds another generation chooses again.
 */
struct bn_backend {
	union bn_addr addr; /* 0 */
	__be16 port;        /* 16 */
	__u8 protocol;      /* 18 */
	__u8 state;         /* 19  enum bn_backend_state */
	__u32 gen;          /* 20 */
};
BN_ASSERT_SIZE(struct bn_backend, 24);
