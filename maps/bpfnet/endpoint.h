/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * Endpoints and addresses. bn_endpoints says what an interface is (by host-side ifindex, for
 * the source check); bn_addresses says what an address is (for the destination and for peers'
 * identities); bn_ranges says what a CIDR is.
 */
#pragma once

#include <bpfnet/limits.h>
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

/*
 * What policy knows an address by, and what it has for it. There are two of each: bn_epochs.generation
 * says by its lowest bit which is in force, so that a change of policy or labels is one for all
 * addresses. Both are the same unless one is under way, or was when the agent was killed.
 */
struct bn_policy_ref {
	__u32 identity;
	__u16 egress;  /* table of bn_policy for what it sends, BN_POLICY_OPEN: no policy */
	__u16 ingress; /* ... for what it gets; both of a local pod or this node */
};
BN_ASSERT_SIZE(struct bn_policy_ref, 8);

enum bn_endpoint_flag {
	/* what its policy denies passes, and is reported, also the node's; << 1: in odd generations */
	BN_EP_AUDIT = 1 << 1,
	BN_EP_AUDIT_BOTH = BN_EP_AUDIT | BN_EP_AUDIT << 1,
};

/* bn_endpoints: key __u32 ifindex of the host side. */
struct bn_endpoint {
	union bn_addr v4; /* 0   mapped; all zero: none */
	union bn_addr v6; /* 16  all zero: none */
	__u16 slot;       /* 32  index into bn_epochs; never BN_SLOT_NONE */
	__u16 mtu;        /* 34  of the pod's interface */
	__u32 flags;      /* 36  enum bn_endpoint_flag */
	__u32 epoch;      /* 40  of its slot, as of this content */
	__u32 netns;      /* 44  id of its network namespace as the node's has it, plus 1; 0: not known */
	struct bn_policy_ref policy[BN_GENERATIONS]; /* 48  of its IPv4 address */
	__u32 identity6[BN_GENERATIONS]; /* 64  of its IPv6 address: CIDRs may tell them apart */
};
BN_ASSERT_SIZE(struct bn_endpoint, 72);

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
	__u32 ifindex; /* 0   host side, BN_ADDR_LOCAL_POD only */
	__u16 slot;    /* 4   BN_SLOT_NONE unless local pod */
	__u16 mtu;     /* 6 */
	__u8 kind;     /* 8   enum bn_address_kind */
	__u8 pad[3];   /* 9 */
	__u32 flags;   /* 12  enum bn_endpoint_flag of a local pod, enum bn_host_flag */
	__u32 epoch;   /* 16  of its slot, as of this content */
	struct bn_policy_ref policy[BN_GENERATIONS]; /* 20 */
};
BN_ASSERT_SIZE(struct bn_address, 36);

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
