/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The inside of policy.h:
 *
 *   mirror.c    policies, pods and namespaces as the model has them
 *   prepare.c   a change beside what is in force
 *   measure.c   by how much it does not fit
 *   commit.c    its end: in force, or let go of
 *   policy.c    questions; life
 *   peers.c     whom rules name: sets of identities, kept as bits
 *   identity.c  what stands for pods and addresses, and the CIDRs that tell addresses apart
 *   compile.c   tables
 *
 * A change is prepared beside what is in force: new states stand in `next`, hold what they need,
 * and either take the place of `now` or are let go of.
 */
#pragma once

#include "arena.h"
#include "datapath/wanted.h"
#include "error.h"
#include "policy/policy.h"
#include "policy/registry.h"
#include "policy/space.h"

#include <sys/queue.h>

#define HASH_NONFATAL_OOM 1
#include <uthash.h>

/* Whom one entry of a rule's `from` or `to` means; equal ones of all policies are one. */
struct peers {
	UT_hash_handle hh;
	char *text;
	uint32_t references;
	bool block;
	bool fresh;   /* made by the change at hand */
	bool changed; /* other identities than before, among those that existed */
	/* pods */
	bool has_namespaces;
	char *namespace; /* where no namespaces are selected */
	struct bn_selector pods, namespaces;
	bool is_nodes; /* other nodes, by `nodes`, instead */
	struct bn_selector nodes;
	/* addresses */
	struct bn_cidr cidr;
	struct bn_cidr *except;
	size_t n_except;
	struct bn_arena arena;
	uint64_t *bits; /* of the identities that are meant */
	size_t words;
};

struct rule {
	struct peers **peers;
	size_t n_peers;
	bool everybody;
	const struct bn_policy_port *ports;
	size_t n_ports;
	bool named; /* a port has a name */
	uint8_t tier, action;
	uint32_t number;
};

struct policy {
	UT_hash_handle hh;
	LIST_ENTRY(policy) entry; /* of its namespace, by name; of those without one */
	char *key;                /* namespace/name, or the name alone */
	uint64_t generation;
	struct bn_policy_spec spec;
	struct rule *rules[BN_POLICY_DIRECTIONS];
	/* number of what no rule allows; 0: not selected, or not NetworkPolicy's */
	uint32_t deny[BN_POLICY_DIRECTIONS];
	bool leaving; /* replaced or removed by the change at hand */
	bool coming;  /* made by it */
};

LIST_HEAD(policy_list, policy);

/* How often policies mention a label key or a port name. */
struct mention {
	UT_hash_handle hh;
	uint32_t count;
	char text[];
};

struct identity {
	uint32_t number;
	bool fresh; /* made by the change at hand */
	bool pod, node;
	const char *namespace;
	struct bn_label *labels; /* those that policies mention */
	size_t n_labels;
	struct bn_pod_port *ports; /* likewise */
	size_t n_ports;
	const char *ports_text;
	const char **blocks; /* texts of peers that are blocks, sorted */
	size_t n_blocks;
	struct bn_arena arena;
};

struct table {
	UT_hash_handle hh;
	char *key; /* direction, policies with their generations, the ports that names mean */
	uint32_t references;
	uint32_t number;
	bool stale; /* its peers have changed: who looks for it gets another */
	uint8_t direction;
	struct policy **policies; /* in the order in which they are asked */
	size_t n_policies;
	uint32_t otherwise;        /* verdict of what no rule decides */
	struct bn_pod_port *ports; /* of the subject, ingress */
	size_t n_ports;
	LIST_ENTRY(table) entry;
};

struct pod_state {
	bool exists, local, audit;
	const struct bn_label *labels;
	size_t n_labels;
	const struct bn_pod_port *ports;
	size_t n_ports;
	union bn_addr *ips;
	uint32_t *identities; /* one an address */
	size_t n_ips;
	struct table *tables[BN_POLICY_DIRECTIONS]; /* NULL: open, or closed */
	bool closed[BN_POLICY_DIRECTIONS];          /* the table did not fit at the start */
	bool audited;                               /* by itself, its namespace or the node */
};

struct pod {
	UT_hash_handle hh;
	char *key; /* namespace/name */
	char *namespace;
	const char *name;
	struct pod_state now, next;
	bool staged;
	bool told;             /* of `next`, by a commit */
	LIST_ENTRY(pod) entry; /* of those that are staged */
};

/* The address of a node. */
struct node_address {
	UT_hash_handle hh;
	union bn_addr addr;
	const struct bn_label *labels, *next_labels; /* of the node */
	size_t n_labels, n_next_labels;
	bool staged;
	uint32_t now, next; /* 0: none */
};

struct namespace
{
	UT_hash_handle hh;
	const struct bn_label *labels, *next_labels;
	size_t n_labels, n_next_labels;
	bool audit, next_audit;
	bool staged;
	struct policy_list policies;
	char name[];
};

/* A prefix that policies name, and who is in it but in none that is longer. */
struct prefix {
	struct bn_cidr cidr;
	const char **in; /* texts of the blocks that contain it, sorted; the prefixes' arena's */
	size_t n_in;
	size_t up; /* the prefix around it; its own index: none */
	uint32_t identity;
};

struct prefixes {
	struct prefix *list; /* by family, address, length */
	size_t n;
	struct bn_arena arena;
};

struct bn_policy {
	struct bn_policy_config config;
	struct bn_space *space;
	struct bn_registry *identity_numbers, *rule_numbers;
	struct bn_wanted cidrs;
	struct peers *peers;
	struct policy_list cluster; /* without a namespace: by tier, priority, name */
	struct pod *pods;
	LIST_HEAD(, pod) staged;
	struct namespace *namespaces;
	struct node_address *nodes;
	struct mention *keys, *port_names;
	struct identity **identities; /* by number */
	uint32_t n_identities;        /* one above the highest */
	LIST_HEAD(, table) all_tables;
	struct table *tables; /* by key */
	struct prefixes prefixes, next_prefixes;
	uint64_t generation;
	size_t n_node_peers; /* peers that are nodes */
	bool started;
	/* of the change at hand */
	bool prepared, prefixes_staged, policies_staged;
	bool going_back;                      /* a commit has failed */
	bool keys_new, ports_new, blocks_new; /* more than before is mentioned */
	bool blocks_gone;                     /* settled after the change */
	uint32_t *fresh;                      /* identities */
	size_t n_fresh, room_fresh;
	char *problem; /* what did not fit at the start, while something is closed for it */
};

static inline const struct pod_state *state_of(const struct bn_policy *p, const struct pod *pod)
{
	return pod->staged && !p->going_back ? &pod->next : &pod->now;
}

/* commit.c */
/* What the changes before this one have freed has rested, and may be used again. */
void numbers_turn(struct bn_policy *p);

/* prepare.c */
/* Once; on failure the change has been aborted. */
int prepare_change(struct bn_policy *p, const struct bn_change *c, struct bn_error *err);

/* Waits until what earlier changes freed may be used again; false where that can't be told. */
bool numbers_rested(struct bn_policy *p);

/* measure.c */
/*
 * By how much a change that is not prepared does not fit: said in *err, unless it is not for tables,
 * pages or runs.
 */
void policy_measure(struct bn_policy *p, const struct bn_change *c, struct bn_error *err);

/* mirror.c */
struct pod *pod_find(const struct bn_policy *p, const char *namespace, const char *name);
void pod_forget(struct bn_policy *p, struct pod *pod);
/* Stages a pod as it is; nothing where it is staged already. */
int pod_restage(struct bn_policy *p, struct pod *pod);
void state_done(struct bn_policy *p, struct pod_state *state);
/* Stages what a change says. */
int mirror_change(struct bn_policy *p, const struct bn_change *change, struct bn_error *err);
/* Takes out policies that left with a change, or that came where it is aborted. */
void policies_settle(struct bn_policy *p, bool aborted);
void policy_free(struct bn_policy *p, struct policy *policy);

/* The policies that stand beside one in this namespace; NULL: none do. "": those without. */
const struct policy_list *policies_beside(const struct bn_policy *p, const char *namespace);
/* Whether a pod in this state is in audit mode, as of the change at hand. */
bool pod_audited(const struct bn_policy *p, const struct pod *pod, const struct pod_state *state);

/* peers.c */
int peers_get(struct bn_policy *p, const char *namespace, const struct bn_policy_peer *spec,
	      struct peers **ret);
void peers_put(struct bn_policy *p, struct peers *peers);
bool peers_have(const struct peers *peers, uint32_t identity);
/* Whether a namespace is selected, as of the change at hand. */
bool namespace_matches(const struct bn_policy *p, const struct bn_selector *selector,
		       const char *namespace);
/* Looks whether they mean the identity; 1 where that is different from before. */
int peers_look(struct bn_policy *p, struct peers *peers, const struct identity *identity,
	       bool *ret_changed);
void peers_forget(struct bn_policy *p, uint32_t identity);

/* identity.c */
int mention_add(struct mention **all, const char *text, bool *ret_new);
void mention_remove(struct mention **all, const char *text);
/* References to identities; pods' and nodes' addresses have them, and prefixes. */
int identity_of_pod(struct bn_policy *p, const struct pod *pod, const struct pod_state *state,
		    const union bn_addr *addr, uint32_t *ret, struct bn_error *err);
int identity_of_node(struct bn_policy *p, const struct node_address *node, uint32_t *ret,
		     struct bn_error *err);
void identity_put(struct bn_policy *p, uint32_t identity);
const struct namespace *namespace_find(const struct bn_policy *p, const char *name);
/* The longest prefix around an address, as of the change at hand; NULL: none. */
const struct prefix *prefix_of(const struct bn_policy *p, const union bn_addr *addr);
int prefixes_build(struct bn_policy *p, struct prefixes *ret, struct bn_error *err);
/* Whether the map has room for them beside those in force; -ENOSPC. */
int prefixes_fit(const struct bn_policy *p, const struct prefixes *next, struct bn_error *err);
/* The next of `from` that `but` has not, NULL: no more. Both places begin as 0. */
const struct bn_cidr *prefixes_next(const struct prefixes *from, const struct prefixes *but,
				    size_t *at, size_t *at_but);
void prefixes_done(struct bn_policy *p, struct prefixes *prefixes);

/* compile.c */
/* The table of a pod in one direction; *ret NULL: no policy selects it. Takes a reference. */
int table_of(struct bn_policy *p, const struct pod *pod, const struct pod_state *state,
	     enum bn_policy_direction direction, struct table **ret, struct bn_error *err);
void table_put(struct bn_policy *p, struct table *table);
/* Fills identities in that no address has yet. */
int table_fill(struct bn_policy *p, struct table *table, const uint32_t *identities, size_t n,
	       struct bn_error *err);
/* Tables that a changed set of peers makes wrong are found no more. */
void tables_retire(struct bn_policy *p);
