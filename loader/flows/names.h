/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Names of addresses and of services, as of a packet's time.
 *
 * A name is an immutable, counted record. Whoever keeps a flow keeps references to the names it
 * had, so a later change never rewrites history. What was removed or replaced stays resolvable
 * for BN_NAMES_GRACE_NS, because events arrive after the packets they speak of.
 *
 * Times are CLOCK_MONOTONIC nanoseconds, as in struct bn_event. Ports are in host byte order.
 */
#pragma once

#include "model.h"

#include <stdbool.h>

#define BN_NAMES_GRACE_NS (5ull * 1000 * 1000 * 1000)

enum bn_name_kind {
	BN_NAME_POD,
	BN_NAME_NODE, /* another node */
	BN_NAME_HOST, /* this node */
	BN_NAME_WORLD,
	BN_NAME_SERVICE,
	BN_NAME_RULE, /* of a policy */
};

struct bn_name_spec {
	enum bn_name_kind kind;
	const char *namespace; /* of a pod; NULL otherwise */
	const char *name;      /* of the pod or node */
	const struct bn_label *labels;
	size_t n_labels;
	uint32_t identity;
	bool local; /* an endpoint of this node */
};

struct bn_names;
struct bn_name;

struct bn_names_stats {
	size_t addresses; /* live */
	size_t services;  /* live frontends */
	size_t removed;   /* kept for late events */
};

/* `clock` replaces CLOCK_MONOTONIC in tests; NULL otherwise. */
int bn_names_new(uint64_t (*clock)(void), struct bn_names **ret);
/* References that others hold stay valid. */
void bn_names_free(struct bn_names *names);

/* New or changed; setting what is there already is no change. */
int bn_names_set(struct bn_names *names, const union bn_addr *addr,
		 const struct bn_name_spec *spec);
/* 0, or -ENOENT. */
int bn_names_remove(struct bn_names *names, const union bn_addr *addr);
/* A reference to the name that `addr` had at `time`, or NULL. */
struct bn_name *bn_names_get(struct bn_names *names, const union bn_addr *addr, uint64_t time);

/* Whose interface it is, for packets whose source address is a lie or that have none. */
int bn_names_device_set(struct bn_names *names, uint32_t ifindex, const struct bn_name_spec *spec);
int bn_names_device_remove(struct bn_names *names, uint32_t ifindex);
struct bn_name *bn_names_device_get(struct bn_names *names, uint32_t ifindex, uint64_t time);

/* A service's frontend. `port_name` may be NULL. */
int bn_names_service_set(struct bn_names *names, const union bn_addr *addr, uint16_t port,
			 uint8_t protocol, const char *namespace, const char *name,
			 const char *port_name);
int bn_names_service_remove(struct bn_names *names, const union bn_addr *addr, uint16_t port,
			    uint8_t protocol);
struct bn_name *bn_names_service_get(struct bn_names *names, const union bn_addr *addr,
				     uint16_t port, uint8_t protocol, uint64_t time);

/* A service by the datapath's number, for events whose packet never carried the frontend. */
int bn_names_service_id_set(struct bn_names *names, uint32_t id, const char *namespace,
			    const char *name);
int bn_names_service_id_remove(struct bn_names *names, uint32_t id);
struct bn_name *bn_names_service_id_get(struct bn_names *names, uint32_t id, uint64_t time);

/*
 * A policy's rule by the datapath's number; namespace NULL: of a policy without one; index -1: what
 * no rule allows; `rule` is its own name, or NULL.
 */
int bn_names_rule_set(struct bn_names *names, uint32_t number, const char *namespace,
		      const char *policy, int index, const char *rule);
int bn_names_rule_remove(struct bn_names *names, uint32_t number);
struct bn_name *bn_names_rule_get(struct bn_names *names, uint32_t number, uint64_t time);

/* Forgets what was removed longer ago than the grace time; set and remove do so as well. */
void bn_names_prune(struct bn_names *names);
void bn_names_stats(const struct bn_names *names, struct bn_names_stats *ret);

struct bn_name *bn_name_ref(struct bn_name *name);
void bn_name_unref(struct bn_name *name);

enum bn_name_kind bn_name_kind(const struct bn_name *name);
bool bn_name_is_local(const struct bn_name *name);
uint32_t bn_name_identity(const struct bn_name *name);
const char *bn_name_namespace(const struct bn_name *name); /* or NULL */
const char *bn_name_text(const struct bn_name *name);
const char *bn_name_port_name(const struct bn_name *name); /* a service's port name, or NULL */
int bn_name_rule_index(const struct bn_name *name);
/* Its own name; NULL: none. */
const char *bn_name_rule_text(const struct bn_name *name);
/* Labels as "key=value", sorted: NULL gives the first one, the last one gives NULL. */
const char *bn_name_label_next(const struct bn_name *name, const char *label);
