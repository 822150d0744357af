/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * What differs between nodes and is fixed for the life of a loaded program: `bn_config` in
 * .rodata, filled between open and load. What changes at run time lives in maps.
 */
#pragma once

#include <bpfnet/hash.h>
#include <bpfnet/types.h>

/* Lifetimes in seconds; the agent turns them into jiffies. Keys of `lifetimes:` in the file. */
#define BN_LIFETIMES(X) \
	X(syn, 60, "half-open TCP") \
	X(established, 21600, "established TCP, idle") \
	X(closing, 120, "TCP after the first FIN") \
	X(closed, 10, "TCP after both FINs or a reset") \
	X(udp, 30, "UDP and SCTP that is not lasting") \
	X(udp_lasting, 180, "UDP and SCTP seen in both directions over seconds, idle") \
	X(icmp, 30, "ICMP echo and protocols without ports") \
	X(refusal, 5, "a cached refusal") \
	X(fragment, 30, "ports of a fragmented datagram")

/* A port that the node's own firewall leaves open: bn_policy_key() and this. */
#define BN_FAILSAFE_SET (1u << 31)
#define BN_FAILSAFE_PORTS 16 /* for each direction */

struct bn_config {
	__u64 hash_key[BN_HASH_KEYS]; /* 0  of the set tables; secret, kept over restarts */
	__u32 flow_mask;        /* 48  sets of bn_flows - 1 */
	__u32 service_groups;   /* 52  of bn_services */
	__u32 hz;               /* 56  jiffies a second */
	__u32 features;         /* 60  enum bn_feature */
	__u32 event_rate;       /* 64  drop records a second, per reason and CPU */
	__u16 nat_port_min;     /* 68  source ports of masquerade and hairpin, host order */
	__u16 nat_port_max;     /* 70  inclusive */
	__u64 pad;              /* 72 */
	union bn_addr gateway4; /* 80 */
	union bn_addr gateway6; /* 96 */
	struct {
#define BN_X(name, seconds, text) __u32 name;
		BN_LIFETIMES(BN_X)
#undef BN_X
	} life; /* 112 jiffies */
	/* 148 by enum bn_policy_direction: what the node's firewall never denies; 0: none */
	__u32 failsafe[2][BN_FAILSAFE_PORTS];
	__u32 pad2;
};
BN_ASSERT_SIZE(struct bn_config, 280);
BN_ASSERT_AT(struct bn_config, gateway4, 80);
BN_ASSERT_AT(struct bn_config, life, 112);

enum bn_feature {
	BN_FEATURE_MASQUERADE4 = 1 << 0,
	BN_FEATURE_EVENTS = 1 << 1,      /* flow records; drops are always reported */
	BN_FEATURE_REDIRECT_PEER = 1 << 2, /* bpf_redirect_peer(), 5.10 and later */
	BN_FEATURE_MASQUERADE6 = 1 << 3,
	BN_FEATURE_DRY_RUN = 1 << 4,     /* a question: clients' affinities stay as they are */
	BN_FEATURE_DSR_TCP = 1 << 5,     /* direct server return (bpfnet/dsr.h): TCP and SCTP */
	BN_FEATURE_DSR_UDP = 1 << 6,
	BN_FEATURE_SET_RETVAL = 1 << 16, /* bpf_set_retval() in socket programs, 6.1 and later */
};
#define BN_FEATURE_DSR (BN_FEATURE_DSR_TCP | BN_FEATURE_DSR_UDP)
#define BN_FEATURE_MASQUERADE (BN_FEATURE_MASQUERADE4 | BN_FEATURE_MASQUERADE6)

/* bn_devices: key __u32 ifindex; devices that lead out of the node. */
struct bn_device {
	union bn_addr v4; /* 0   the address to masquerade with; zero: none of that family */
	union bn_addr v6; /* 16 */
	__u32 mtu;        /* 32 */
	__u32 flags;      /* 36  enum bn_device_flag */
	__u8 mac[6];      /* 40 */
	__u16 pad;        /* 46 */
};
BN_ASSERT_SIZE(struct bn_device, 48);

/* What XDP may do beyond sending a frame back. */
enum bn_device_flag {
	BN_DEVICE_REDIRECTS = 1 << 0, /* its program's frames may leave by one that takes them */
	BN_DEVICE_TAKES = 1 << 1,     /* its driver sends frames that another driver received */
	BN_DEVICE_GENERIC = 1 << 2,   /* its program's frames are the stack's: every device takes them */
};

/*
 * bn_node: one element. What of the node changes at run time or must outlive the agent: its own
 * address of each family (zero where it has none), the seed of the set tables' keys, the ABI of the
 * pinned maps, the device by which its own traffic to services goes.
 */
struct bn_node {
	union bn_addr v4; /* 0 */
	union bn_addr v6; /* 16 */
	__u64 hash_seed;  /* 32 */
	__u32 abi;        /* 40  BN_ABI_VERSION */
	__u32 host_ifindex; /* 44 the node's end of its pair (net/host-device.h), 0: none */
	__u32 peer_ifindex; /* 48 the far end, where the node's own packets are decided */
	__u32 hash;         /* 52 BN_HASH_VERSION by which bn_flows is laid out */
};
BN_ASSERT_SIZE(struct bn_node, 56);
