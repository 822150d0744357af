/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * Endpoints and addresses. bn_endpoints says what an interface is (by host-side ifindex, for
 * the source check); bn_addresses says what an address is (for the destination and for peers'
 * identities); bn_ranges says what a CIDR is.
 */
#pragma once

#include <bpfnet/types.h>

/* The MAC of every host side: pods' gateway. A pod's own MAC follows from its host ifindex. */
#define BN_HOST_MAC {0x02, 0xbf, 0xff, 0xff, 0xff, 0xff}
#define BN_POD_MAC_HI 0x02
#define BN_POD_MAC_LO 0xbf /* 02:bf:<host ifindex, big endian> */

/* The pods' gateway, the same on every host side. */
#define BN_GATEWAY_V4 "169.254.1.1"
#define BN_DUMMY_V4   0xc0000008 /* 192.0.0.8 (RFC 7600), host byte order */
#define BN_GATEWAY_V6 "fe80::1"

/*
 * An endpoint's entries carry the epoch that they belong to, and are written before the epoch
 * array says the same: a flow decided by what it read is stale exactly until it read the newest.
 */

enum bn_endpoint_flag {
	BN_EP_AUDIT = 1 << 1, /* what its policy denies passes, and is reported; also the node's */
};

/* bn_endpoints: key __u32 ifindex of the host side. */
struct bn_endpoint {
	union bn_addr v4; /* 0   mapped; all zero: none */
	union bn_addr v6; /* 16  all zero: none */
	__u32 identity;   /* 32  of its IPv4 address */
	__u16 slot;       /* 36  index into bn_epochs; never BN_SLOT_NONE */
	__u16 mtu;        /* 38  of the pod's interface */
	__u32 flags;      /* 40  enum bn_endpoint_flag */
	__u32 epoch;      /* 44  of its slot, as of this content */
	__u32 netns;      /* 48  id of its network namespace as the node's has it, plus 1; 0: not known */
	__u32 identity6;  /* 52  of its IPv6 address: CIDRs may tell them apart */
	__u16 egress;     /* 56  table of bn_policy for what it sends, BN_POLICY_OPEN: no policy */
	__u16 ingress;    /* 58  ... for what it gets */
	__u32 pad;        /* 60 */
};
BN_ASSERT_SIZE(struct bn_endpoint, 64);

/* Of an address of this node (BN_ADDR_HOST). */
enum bn_host_flag {
	BN_HOST_NODE_PORTS = 1 << 0, /* services.node-port-addresses has it: NodePorts answer here */
};

enum bn_address_kind {
	BN_ADDR_LOCAL_POD = 1,   /* behind ifindex */
	BN_ADDR_HOST = 2,        /* this node's own */
	BN_ADDR_REMOTE_POD = 3,  /* a pod of another node, or one without an interface here */
	BN_ADDR_REMOTE_NODE = 4,
};

/* bn_addresses: key union bn_addr. */
struct bn_address {
	__u32 identity; /* 0 */
	__u32 ifindex;  /* 4   host side, BN_ADDR_LOCAL_POD only */
	__u16 slot;     /* 8   BN_SLOT_NONE unless local pod */
	__u16 mtu;      /* 10 */
	__u8 kind;      /* 12  enum bn_address_kind */
	__u8 pad[3];    /* 13 */
	__u32 flags;    /* 16  enum bn_endpoint_flag of a local pod, enum bn_host_flag */
	__u32 epoch;    /* 20  of its slot, as of this content */
	__u16 egress;   /* 24  of a local pod or this node, as in struct bn_endpoint */
	__u16 ingress;  /* 26 */
};
BN_ASSERT_SIZE(struct bn_address, 28);

/* bn_ranges: longest prefix match; IPv4 prefixes are 96 bits longer. */
struct bn_range_key {
	__u32 prefixlen;
	__be32 addr[4]; /* as union bn_addr, which would be aligned to 8 */
};
BN_ASSERT_SIZE(struct bn_range_key, 20);

enum bn_range_flag {
	BN_RANGE_SERVICE = 1 << 0, /* --service-cidr: never routed out */
	BN_RANGE_POD = 1 << 1,     /* --pod-cidr: never masqueraded */
	BN_RANGE_DIRECT = 1 << 2,  /* nat.exclude: likewise, though no pods' */
};

struct bn_range {
	__u32 flags; /* enum bn_range_flag */
};
BN_ASSERT_SIZE(struct bn_range, 4);
