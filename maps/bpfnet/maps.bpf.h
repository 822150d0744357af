/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * The maps, as the datapath declares them. Sizes are the defaults; the agent sets the configured
 * ones before it creates the maps, and pins each under its name. Names stay within 15 characters,
 * which is what the kernel keeps.
 */
#pragma once

#include <bpfnet/config.h>
#include <bpfnet/endpoint.h>
#include <bpfnet/event.h>
#include <bpfnet/flow.h>
#include <bpfnet/policy.h>
#include <bpfnet/service.h>
#include <bpfnet/source.h>
#include <bpfnet/sock.h>
#include <bpf/bpf_helpers.h>

#define BN_MAP(_name, _type, _key, _value, _max) \
	struct { \
		__uint(type, _type); \
		__uint(max_entries, _max); \
		__type(key, _key); \
		__type(value, _value); \
	} _name SEC(".maps")

BN_MAP(bn_service_slots, BPF_MAP_TYPE_ARRAY, __u32, struct bn_service_slot,
       BN_DEFAULT_SERVICE_SLOTS);
BN_MAP(bn_maglev, BPF_MAP_TYPE_ARRAY, __u32, struct bn_maglev_line, BN_DEFAULT_MAGLEV);
BN_MAP(bn_affinity, BPF_MAP_TYPE_LRU_HASH, struct bn_affinity_key, struct bn_affinity,
       BN_DEFAULT_AFFINITY);
BN_MAP(bn_backends, BPF_MAP_TYPE_ARRAY, __u32, struct bn_backend, BN_DEFAULT_BACKENDS);
BN_MAP(bn_endpoints, BPF_MAP_TYPE_HASH, __u32, struct bn_endpoint, BN_SLOTS);
BN_MAP(bn_addresses, BPF_MAP_TYPE_HASH, union bn_addr, struct bn_address, BN_DEFAULT_ADDRESSES);
BN_MAP(bn_devices, BPF_MAP_TYPE_HASH, __u32, struct bn_device, 256);
BN_MAP(bn_node, BPF_MAP_TYPE_ARRAY, __u32, struct bn_node, 1);
BN_MAP(bn_fragments, BPF_MAP_TYPE_LRU_HASH, struct bn_fragment_key, struct bn_fragment,
       BN_DEFAULT_FRAGMENTS);
BN_MAP(bn_sock_netns, BPF_MAP_TYPE_HASH, __u64, struct bn_sock_netns, BN_SLOTS);
BN_MAP(bn_sock_dgram, BPF_MAP_TYPE_LRU_HASH, struct bn_sock_dgram_key, struct bn_sock_peer,
       BN_DEFAULT_DATAGRAM_PEERS);
BN_MAP(bn_sock_tcp, BPF_MAP_TYPE_ARRAY, __u32, struct bn_sock_place, BN_SOCK_PLACES);
BN_MAP(bn_drops, BPF_MAP_TYPE_PERCPU_ARRAY, __u32, struct bn_drop_counter, BN_DROP_MAX);
BN_MAP(bn_counters, BPF_MAP_TYPE_PERCPU_ARRAY, __u32, __u64, BN_CNT_MAX);

/* May be mapped so that its elements begin on a page (see flow.h); a lock keeps it from being so. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, BN_DEFAULT_FLOW_SETS);
	__type(key, __u32);
	__type(value, struct bn_flow_set);
} bn_flows SEC(".maps");

/* Mapped by the agent, which alone writes it. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, BN_SERVICE_GROUP *BN_DEFAULT_SERVICE_GROUPS);
	__type(key, __u32);
	__type(value, struct bn_service_entry);
} bn_services SEC(".maps");

/* Mapped by the agent, which alone writes them. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, BN_DEFAULT_POLICY_TABLES);
	__type(key, __u32);
	__type(value, struct bn_policy_table);
} bn_policy SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, BN_DEFAULT_POLICY_PAGES);
	__type(key, __u32);
	__type(value, struct bn_policy_page);
} bn_policy_pages SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, BN_DEFAULT_POLICY_LINES);
	__type(key, __u32);
	__type(value, struct bn_policy_line);
} bn_policy_ports SEC(".maps");

/* Flows that a rule has decided, by its number. */
BN_MAP(bn_policy_hits, BPF_MAP_TYPE_ARRAY, __u32, __u64, BN_DEFAULT_POLICY_RULES);

struct {
	__uint(type, BPF_MAP_TYPE_LPM_TRIE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, BN_DEFAULT_POLICY_CIDRS);
	__type(key, struct bn_range_key);
	__type(value, struct bn_policy_cidr);
} bn_policy_cidrs SEC(".maps");

/* Mapped by the agent, so that a bump is one store. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct bn_epochs);
} bn_epochs SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_LPM_TRIE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, BN_DEFAULT_RANGES);
	__type(key, struct bn_range_key);
	__type(value, struct bn_range);
} bn_ranges SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_LPM_TRIE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, BN_DEFAULT_SOURCE_RANGES);
	__type(key, struct bn_source_key);
	__type(value, struct bn_source);
} bn_sources SEC(".maps");

/* A socket's own: made with its first connect() to a service, gone with it. */
struct {
	__uint(type, BPF_MAP_TYPE_SK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, int);
	__type(value, struct bn_sock_peer);
} bn_sock_peer SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, BN_DEFAULT_EVENT_BYTES);
} bn_events SEC(".maps");
