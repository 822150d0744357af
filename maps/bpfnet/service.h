/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * Services. A frontend (address, port, protocol) names a run of places in bn_service_slots; each
 * place holds the index of a backend. A change writes a new run and then replaces the frontend's
 * value, so a reader sees the old list or the new one, never a mixture.
 */
#pragma once

#include <bpfnet/types.h>

/*
 * bn_services key. `port` 0 with protocol 0 marks an address that some service owns: what is
 * sent there on a port that no frontend has is refused, not routed.
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
	BN_SERVICE_RESTRICTED = 1 << 0, /* bn_sources says who may use it from outside */
};

struct bn_service {
	__u32 id;    /* 0   service id, the same for all frontends of a Service object */
	__u32 first; /* 4   index of its first place in bn_service_slots */
	__u32 count; /* 8   places; 0: no backend, refuse */
	__u8 kind;   /* 12  enum bn_frontend_kind */
	__u8 flags;  /* 13  enum bn_service_flag */
	__u16 pad;   /* 14 */
};
BN_ASSERT_SIZE(struct bn_service, 16);

/*
 * bn_service_slots: array of places. A place has all that a first packet needs of its backend, so
 * that choosing one touches one cache line.
 */
struct bn_service_slot {
	union bn_addr addr; /* 0 */
	__be16 port;        /* 16 */
	__u16 pad;          /* 18 */
	__u32 backend;      /* 20  index into bn_backends */
	__u32 gen;          /* 24  the backend's generation */
	__u32 pad2;         /* 28 */
};
BN_ASSERT_SIZE(struct bn_service_slot, 32);

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
