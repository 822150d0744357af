/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A node for tests: a network namespace of its own with the host sides of a few pods and an
 * uplink, the real programs loaded from their skeletons, and the maps filled by the ABI, as the
 * agent would.
 */
#pragma once

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <bpfnet/config.h>
#include <bpfnet/endpoint.h>
#include <bpfnet/event.h>
#include <bpfnet/flow.h>
#include <bpfnet/frontends.h>
#include <bpfnet/limits.h>
#include <bpfnet/policy.h>
#include <bpfnet/service.h>
#include <stdbool.h>

#include "packet.h"

enum bn_rig_device {
	BN_POD_A,
	BN_POD_B,
	BN_POD_C,
	BN_RIG_PODS,
	BN_UPLINK = BN_RIG_PODS,
	BN_RIG_NODE = BN_UPLINK, /* as a pod: the node itself, whose policy is its firewall */
	BN_HOST,                 /* of the node's own packets to services, both of the pair */
	BN_STRANGER,             /* a device that is nobody's */
	BN_UPLINK2,              /* the way to "OTHER", with an MTU of 1400 */
	BN_RIG_DEVICES,
};

/* `.b` of the MACs in a packet from or to a device. */
struct bn_rig_dev {
	const char *name;
	__u32 ifindex;
	struct bn_mac mac;    /* of the far side */
	union bn_addr v4, v6; /* of the pod */
	__u16 slot;
	__u16 mtu;
	__u16 egress, ingress; /* policy tables */
	__u32 identity, identity6, flags, epoch;
};

struct bn_rig_options {
	__u32 flow_sets;   /* 2^n, 0: 1024; BN_DEFAULT_FLOW_SETS takes a while to empty */
	__u32 event_bytes; /* of the ring buffer, 0: the default */
	bool quiet;        /* no flow records, as for benchmarks */
	bool masquerade;
	/* Last say on the constants, may be NULL. */
	void (*configure)(struct bn_config *config);
};

#define BN_RIG_EVENTS 64

struct bn_rig {
	struct bpf_object *objects[4]; /* pod, uplink, host, XDP */
	void *skeletons[4];
	struct bn_rig_dev dev[BN_RIG_DEVICES];
	struct ring_buffer *ring;
	struct bn_event events[BN_RIG_EVENTS]; /* since the last run */
	unsigned int n_events;
	void (*on_event)(const struct bn_event *e, void *data); /* sees them all; may be NULL */
	void *on_event_data;
	__u32 next_backend, next_service, next_line;
	int cpus;
	struct bn_config config;
	struct bn_frontends frontends;
	bool complete; /* run packets as CHECKSUM_COMPLETE, as a NIC would deliver them */
};

/* One frontend with its backends. */
struct bn_rig_backend {
	union bn_addr addr;
	__u16 port;
	__u8 state; /* 0: active */
};

/*
 * Enters a new network namespace and makes the devices; once per process, before any rig.
 * Every function below ends the process with a message where the kernel refuses: a rig that
 * can't be built is no test result.
 */
void bn_rig_enter(void);

void bn_rig_new(struct bn_rig *rig, const struct bn_rig_options *options);
void bn_rig_free(struct bn_rig *rig);
/* Forgets all flows, fragments and pending records; services and endpoints stay. */
void bn_rig_forget(struct bn_rig *rig);
void bn_rig_forget_transient(struct bn_rig *rig);

int bn_rig_map(const struct bn_rig *rig, const char *name);
struct bpf_program *bn_rig_program(const struct bn_rig *rig, __u8 hook);

/*
 * Names of the rig's addresses, so that one table serves both families: "A" "B" "C" (pods),
 * "VIP" "VIP2".. (services), "NODE", "WORLD", "GW"; anything else is an address as written.
 */
const char *bn_rig_address(const char *name, int family);
union bn_addr bn_rig_addr(const char *name, int family);

/* Adds a frontend; returns the index of its first backend. */
__u32 bn_rig_service(struct bn_rig *rig, const union bn_addr *addr, __u16 port, __u8 protocol,
		     const struct bn_rig_backend *backends, __u32 n);
/* A frontend's value, for tests that change it. */
struct bn_service bn_rig_frontend(const struct bn_rig *rig, const struct bn_service_key *key);
void bn_rig_frontend_set(struct bn_rig *rig, const struct bn_service_key *key,
			 const struct bn_service *value);
/* Marks an address as a service's, so that its other ports are refused. */
void bn_rig_own_address(struct bn_rig *rig, const union bn_addr *addr);
void bn_rig_backend_set(struct bn_rig *rig, __u32 index, __u8 state, int bump_generation);
void bn_rig_endpoint_set(struct bn_rig *rig, int pod, __u32 flags);
/* BN_UPLINK's or BN_UPLINK2's, enum bn_device_flag. */
void bn_rig_uplink_set(struct bn_rig *rig, int device, __u32 flags);
void bn_rig_mtu_set(struct bn_rig *rig, int pod, __u16 mtu);

/* Policy (rig-policy.c). Rules' numbers in what bn_rig_policy_allow() writes. */
#define BN_RIG_ALLOW_RULE 7u
#define BN_RIG_DENY_RULE 8u
/* Whether a pod is selected; then what is not allowed is denied. */
void bn_rig_policy_enforce(struct bn_rig *rig, int pod, enum bn_policy_direction direction,
			   bool on);
/* Likewise, by a table's number. */
void bn_rig_policy_table(struct bn_rig *rig, int pod, enum bn_policy_direction direction,
			 __u16 table);
/* All that the pod's table says of a peer's identity, which is below 512. */
void bn_rig_policy_run(struct bn_rig *rig, int pod, enum bn_policy_direction direction, __u32 peer,
		       const struct bn_policy_part *parts, __u32 n);
/* One verdict for all of it, and the pod is selected. */
void bn_rig_policy_say(struct bn_rig *rig, int pod, enum bn_policy_direction direction, __u32 peer,
		       __u32 verdict);
/* Another where the ports of one protocol (enum bn_policy_protocol) are from `first` to `last`. */
void bn_rig_policy_ports(struct bn_rig *rig, int pod, enum bn_policy_direction direction,
			 __u32 peer, __u32 protocol, __u16 first, __u16 last, __u32 verdict,
			 __u32 otherwise);
/* The one port that a peer may reach. */
void bn_rig_policy_allow(struct bn_rig *rig, int pod, enum bn_policy_direction direction,
			 __u32 peer, __u8 protocol, __u16 port);
/* The identity of an address that is no pod's and no node's, as a CIDR gives it; 0: none. */
void bn_rig_policy_cidr(struct bn_rig *rig, const char *name, int family, __u32 identity);
/*
 * What policy has for a pod's addresses, or the node's, from the next bn_rig_policy_turn() on; behind
 * it, the same again makes both generations equal. No epoch grows.
 */
void bn_rig_policy_stage(struct bn_rig *rig, int pod, const struct bn_policy_ref *policy,
			 bool audit);
void bn_rig_policy_turn(struct bn_rig *rig);
/* No policy for anybody, and the identities that pods begin with. */
void bn_rig_policy_clear(struct bn_rig *rig);
#define BN_RIG_RULES 16 /* whose hits are looked at */
__u64 bn_rig_policy_hits(const struct bn_rig *rig, __u32 rule);

void bn_rig_epoch_bump(struct bn_rig *rig, __u16 slot);

/* What a tuple's entry is. */
enum bn_where {
	BN_NOWHERE = 0,
	BN_ESTABLISHED = 1,
	BN_TRANSIENT = 2,
};
enum bn_where bn_rig_flow(const struct bn_rig *rig, const struct bn_tuple *key,
			  struct bn_flow *ret);
/* Calls back for every entry of the flow table. */
void bn_rig_flows_each(const struct bn_rig *rig,
		       void (*fn)(const struct bn_flow_entry *e, enum bn_where where, void *data),
		       void *data);
/* The same, and what it changes is written back. */
void bn_rig_flows_change(struct bn_rig *rig, void (*fn)(struct bn_flow_entry *e));
/* Established entries. */
__u32 bn_rig_flows_count(const struct bn_rig *rig);
/* Puts established entries into every way that takes one, but for `spare` of each set. */
void bn_rig_flows_fill(struct bn_rig *rig, unsigned int spare);
/* Home sets are crowded with others' established entries, the sets that they spill to aren't. */
void bn_rig_flows_crowd(struct bn_rig *rig);
/* The time of every transient entry is over; it stays where it is, as until the next sweep. */
void bn_rig_flows_expire(struct bn_rig *rig);
/* As if nothing had happened for so many jiffies. */
void bn_rig_flows_age(struct bn_rig *rig, __u32 jiffies);
/* What the agent does once a minute: flows whose time is over go. */
void bn_rig_sweep(struct bn_rig *rig);
/* Puts n established entries into ways that `random` draws, as tuples' hashes would. */
void bn_rig_flows_fill_random(struct bn_rig *rig, __u32 n, __u32 (*random)(void));

/* Since 6.18 the kernel itself refuses to run a program on less than an IP header. */
#define BN_VERDICT_REFUSED (-1000)
/* With `complete`: skb->csum no longer agrees with the packet. */
#define BN_VERDICT_BAD_SUM (-1001)

/* What one run of a program did. */
struct bn_result {
	int verdict;
	struct bn_packet out;
};

/* `ingress` is what the stack would have as the packet's first device, 0 for local ones. */
void bn_rig_run(struct bn_rig *rig, __u8 hook, int device, __u32 ingress,
		const struct bn_packet *in, struct bn_result *ret);
/* Whether this kernel can run packets as CHECKSUM_COMPLETE (6.15 and later). */
bool bn_rig_can_complete(struct bn_rig *rig);
/* Whether the kernel takes a packet's ingress device for a test run. */
bool bn_rig_can_ingress(struct bn_rig *rig);
/* The same for any program. */
void bn_rig_run_fd(struct bn_rig *rig, int prog_fd, __u32 ifindex, __u32 ingress,
		   const struct bn_packet *in, __u32 repeat, struct bn_result *ret);

/* XDP: prepare the device first, whose program stays on it. */
void bn_rig_xdp_prepare(const struct bn_rig *rig, int device);
/* Whether this kernel can run XDP on behalf of a device (5.15 and later). */
bool bn_rig_can_xdp(const struct bn_rig *rig, int device);
void bn_rig_xdp_run(const struct bn_rig *rig, int prog_fd, int device, const struct bn_packet *in,
		    __u32 repeat, struct bn_result *ret);
/* The MAC of our side of a device's pair. */
struct bn_mac bn_rig_own_mac(const struct bn_rig *rig, int device);

struct bn_counts {
	__u64 counter[BN_CNT_MAX];
	__u64 drop[BN_DROP_MAX];
	__u64 dropped[BN_DROPPED_WAYS][BN_DROP_MAX];
};
void bn_rig_counts(const struct bn_rig *rig, struct bn_counts *ret);
const char *bn_rig_drop_label(__u8 reason);
const char *bn_rig_counter_name(unsigned int counter);

void bn_rig_die(const char *what, int error) __attribute__((noreturn));
