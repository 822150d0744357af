/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * Balancing at the socket: whose sockets, and what became of them. A socket's state is keyed by the
 * socket itself: its storage goes with it, what is under its cookie is given back by a hook of
 * close() or thrown out by others.
 */
#pragma once

#include <bpfnet/types.h>

/* bn_sock_netns: key __u64 netns cookie; the namespaces whose sockets are this node's. */
enum bn_netns_kind {
	BN_NETNS_NODE = 1,
	BN_NETNS_POD = 2,
};

struct bn_sock_netns {
	__u32 kind; /* 0   enum bn_netns_kind */
	__u32 pad;  /* 4 */
};
BN_ASSERT_SIZE(struct bn_sock_netns, 8);

/*
 * What a socket was told: it talks to `backend` and believes it talks to `service`. Of connected
 * sockets in their storage (bn_sock_peer) or, TCP, in a place of bn_sock_tcp; of datagrams of
 * unconnected ones in bn_sock_dgram.
 */
struct bn_sock_peer {
	union bn_addr backend; /* 0 */
	union bn_addr service; /* 16 */
	__u64 cookie;          /* 32  of the socket */
	__u64 netns;           /* 40  cookie of its namespace */
	__u32 id;              /* 48  service id */
	__u32 index;           /* 52  into bn_backends */
	__u32 gen;             /* 56  the backend's, as it was chosen */
	__be16 backend_port;   /* 60 */
	__be16 service_port;   /* 62 */
};
BN_ASSERT_SIZE(struct bn_sock_peer, 64);

/* bn_sock_tcp: array; the place of a socket is its cookie modulo BN_SOCK_PLACES. */
#define BN_SOCK_PLACES 65536

struct bn_sock_place {
	struct bpf_spin_lock lock; /* 0   of who takes it */
	__u32 pad;                 /* 4 */
	struct bn_sock_peer peer;  /* 8   cookie 0: free */
};
BN_ASSERT_SIZE(struct bn_sock_place, 72);
BN_ASSERT_AT(struct bn_sock_place, peer, 8);

/*
 * bn_sock_dgram: key; the value is a struct bn_sock_peer. Each (socket, service) has two entries:
 * which backend its next datagram goes to, and which service an answer of that backend is from.
 */
enum bn_sock_direction {
	BN_SOCK_TO_SERVICE = 1,   /* `addr`, `port`: the service's */
	BN_SOCK_FROM_BACKEND = 2, /* the backend's */
};

struct bn_sock_dgram_key {
	__u64 cookie;       /* 0 */
	union bn_addr addr; /* 8 */
	__be16 port;        /* 24 */
	__u8 direction;     /* 26  enum bn_sock_direction */
	__u8 pad[5];        /* 27 */
};
BN_ASSERT_SIZE(struct bn_sock_dgram_key, 32);

/* A connected UDP socket whose backend takes nothing new any more, as the iterator tells it. */
struct bn_sock_stale {
	struct bn_sock_peer peer; /* 0 */
	union bn_addr local;      /* 64 */
	__be16 local_port;        /* 80 */
	__u8 family;              /* 82  enum bn_family of the socket; IPv4 may be mapped in IPv6 */
	__u8 pad[5];              /* 83 */
};
BN_ASSERT_SIZE(struct bn_sock_stale, 88);
