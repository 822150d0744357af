/* SPDX-License-Identifier: Apache-2.0 */
/*
 * NetworkPolicy and ClusterNetworkPolicy from the model to the datapath's tables (maps/bpfnet/policy.h). Labels that policies
 * mention, the ports they name and the CIDRs they know make identities; policies that select an
 * endpoint make its tables. A change costs what it touches: a pod whose labels make an identity
 * that exists costs nothing, one that makes a new one a word in every table.
 *
 * The order in which a change takes effect, so that each packet meets either all of the old policies
 * and labels or all of the new: identities are filled in everywhere and tables complete before a
 * generation names them (maps/bpfnet/endpoint.h), CIDRs come before and go after.
 */
#pragma once

#include "error.h"
#include "model.h"

#include <jansson.h>

/* In the state folder. */
#define BN_POLICY_IDENTITIES_FILE "identities.log"
#define BN_POLICY_RULES_FILE "rules.log"

struct bn_policy;

/*
 * A rule: "default/web", or "lockdown" where the policy has no namespace; its direction, and its
 * index; -1: what no rule allows.
 */
struct bn_policy_rule_name {
	char policy[330];
	uint8_t direction;
	int index;
	const char *rule; /* its own name, valid until the next change; NULL: none */
};

struct bn_policy_config {
	const char *state_dir; /* keeps identities.log and rules.log */
	int tables_fd, pages_fd, ports_fd, hits_fd, cidrs_fd; /* borrowed */
	uint32_t tables, pages, lines, rules, cidrs;          /* the maps' sizes */
	bool audit;                                           /* all pods of the node */
	/*
	 * What a commit makes of endpoints and addresses: called after the tables are in place, for
	 * pods with an endpoint here whose identity or tables changed, and for other addresses whose
	 * identity did. Twice for each: between `stage` and `turn` it says what is to come, which
	 * `turn` puts in force for all of them in one instant (or not: `take` is false); after it,
	 * what is.
	 */
	void (*stage)(void *user);
	void (*turn)(void *user, bool take);
	int (*endpoint)(void *user, const char *namespace, const char *pod, struct bn_error *err);
	int (*address)(void *user, const union bn_addr *addr, uint32_t identity,
		       struct bn_error *err);
	/* A rule's number and name, or NULL where it means none any more. May be NULL. */
	void (*rule)(void *user, uint32_t number, const struct bn_policy_rule_name *name);
	void *user;
};

int bn_policy_new(const struct bn_policy_config *config, struct bn_policy **ret,
		  struct bn_error *err);
void bn_policy_free(struct bn_policy *policy);
/* Tables that an endpoint of an earlier run names; before the first change. */
int bn_policy_found(struct bn_policy *policy, uint32_t egress, uint32_t ingress);

/*
 * Readies a change: everything that can fail. Each is followed by a commit or an abort. -ENOSPC
 * says what does not fit and by how much; nothing has changed then. The first change, which is the
 * whole model of a start, closes endpoints whose tables don't fit instead.
 */
int bn_policy_prepare(struct bn_policy *policy, const struct bn_change *change,
		      struct bn_error *err);
int bn_policy_commit(struct bn_policy *policy, struct bn_error *err);
void bn_policy_abort(struct bn_policy *policy);

/* What an endpoint is to policy, as of the change that is prepared or the last one. */
struct bn_policy_endpoint {
	uint32_t identity4, identity6;
	uint16_t egress, ingress; /* tables */
	bool audit;               /* what they deny passes, and is reported */
};
/* Of a pod that nobody has told of: an endpoint that may do nothing. */
void bn_policy_endpoint(const struct bn_policy *policy, const char *namespace, const char *pod,
			struct bn_policy_endpoint *ret);
/*
 * Of a pod's address, or a node's with pod NULL: what is in force, or what a change that is prepared
 * gives one that is new.
 */
uint32_t bn_policy_identity(const struct bn_policy *policy, const char *namespace, const char *pod,
			    const union bn_addr *addr);

/* A pod's addresses, here or elsewhere; valid until the next change. -ENOENT. */
int bn_policy_pod(const struct bn_policy *policy, const char *namespace, const char *pod,
		  const union bn_addr **ret_ips, size_t *ret_n);
/* Of an address that is no pod's and no node's. */
uint32_t bn_policy_world(const struct bn_policy *policy, const union bn_addr *addr);

/* Whether policies select a pod, for `endpoint list`. */
void bn_policy_selects(const struct bn_policy *policy, const char *namespace, const char *pod,
		       bool ret[BN_POLICY_DIRECTIONS]);
/* What did not fit at the start and still closes a pod, or NULL. */
const char *bn_policy_problem(const struct bn_policy *policy);

/* The rule of a verdict; -ENOENT: none has that number. */
int bn_policy_rule_name(const struct bn_policy *policy, uint32_t verdict,
			struct bn_policy_rule_name *ret);

/* What of the maps is in use. */
struct bn_policy_use {
	uint32_t tables, pages, lines, rules, cidrs;
};
void bn_policy_use(const struct bn_policy *policy, struct bn_policy_use *ret);

/*
 * Flows that each policy in force has allowed, and denied: by its rules or, where it is a
 * NetworkPolicy, because none does. Since these rules are; namespace "": it has none. 0 or -errno.
 */
int bn_policy_each_verdict(struct bn_policy *policy,
			   void (*fn)(void *user, const char *namespace, const char *name,
				      enum bn_policy_direction direction, bool allowed,
				      uint64_t flows),
			   void *user);

/* `policy list` and `policy get`: an array; namespace "": those without. NULL: out of memory. */
json_t *bn_policy_json(struct bn_policy *policy, const char *namespace, const char *name);
