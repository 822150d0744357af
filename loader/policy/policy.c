// SPDX-License-Identifier: Apache-2.0
/* What is asked of policy, and its beginning and end. */
#include "policy/internal.h"

#include "datapath/wanted.h"

#include <bpfnet/limits.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- asking ---- */

static uint16_t table_number(const struct pod_state *state, enum bn_policy_direction direction)
{
	if (state->closed[direction])
		return BN_POLICY_CLOSED;
	return state->tables[direction] ? (uint16_t)state->tables[direction]->number
					: BN_POLICY_OPEN;
}

void bn_policy_endpoint(const struct bn_policy *p, const char *namespace, const char *pod,
			struct bn_policy_endpoint *ret)
{
	const struct pod *known = pod_find(p, namespace, pod);
	const struct pod_state *state = known ? state_of(p, known) : NULL;

	*ret = (struct bn_policy_endpoint){.egress = BN_POLICY_CLOSED, .ingress = BN_POLICY_CLOSED};
	if (!state || !state->exists)
		return;
	ret->audit = state->audited;
	ret->egress = table_number(state, BN_POLICY_EGRESS);
	ret->ingress = table_number(state, BN_POLICY_INGRESS);
	for (size_t i = 0; i < state->n_ips; i++) {
		if (bn_addr_is_v4(&state->ips[i]))
			ret->identity4 = state->identities[i];
		else
			ret->identity6 = state->identities[i];
	}
	if (!ret->identity4)
		ret->identity4 = ret->identity6;
	if (!ret->identity6)
		ret->identity6 = ret->identity4;
}

static uint32_t identity_in(const struct pod_state *state, const union bn_addr *addr)
{
	for (size_t i = 0; state->exists && i < state->n_ips; i++) {
		if (bn_addr_equal(&state->ips[i], addr))
			return state->identities[i];
	}
	return BN_IDENTITY_UNKNOWN;
}

uint32_t bn_policy_identity(const struct bn_policy *p, const char *namespace, const char *pod,
			    const union bn_addr *addr)
{
	const struct pod *known = pod ? pod_find(p, namespace, pod) : NULL;
	struct node_address *node = NULL;
	uint32_t identity;

	if (!pod) {
		HASH_FIND(hh, p->nodes, addr, sizeof(*addr), node);
		return !node ? BN_IDENTITY_UNKNOWN : node->now ? node->now : node->next;
	}
	if (!known)
		return BN_IDENTITY_UNKNOWN;
	identity = identity_in(&known->now, addr);
	return identity || !known->staged ? identity : identity_in(&known->next, addr);
}

int bn_policy_pod(const struct bn_policy *p, const char *namespace, const char *pod,
		  const union bn_addr **ret_ips, size_t *ret_n)
{
	const struct pod *known = pod_find(p, namespace, pod);

	if (!known || !known->now.exists)
		return -ENOENT;
	*ret_ips = known->now.ips;
	*ret_n = known->now.n_ips;
	return 0;
}

uint32_t bn_policy_world(const struct bn_policy *p, const union bn_addr *addr)
{
	const struct prefix *prefix = prefix_of(p, addr);

	return prefix ? prefix->identity : BN_IDENTITY_WORLD;
}

void bn_policy_selects(const struct bn_policy *p, const char *namespace, const char *pod,
		       bool ret[BN_POLICY_DIRECTIONS])
{
	const struct pod *known = pod_find(p, namespace, pod);

	for (int d = 0; d < BN_POLICY_DIRECTIONS; d++)
		ret[d] = known && (known->now.tables[d] || known->now.closed[d]);
}

const char *bn_policy_problem(const struct bn_policy *p)
{
	for (const struct pod *pod = p->pods; p->problem && pod; pod = pod->hh.next) {
		for (int d = 0; d < BN_POLICY_DIRECTIONS; d++) {
			if (pod->now.closed[d])
				return p->problem;
		}
	}
	return NULL;
}

/* What a policy in force calls one of its rules. */
static const char *own_name(const struct bn_policy *p, const struct bn_policy_rule_name *rule)
{
	const struct policy *policy;

	/* only those without a namespace name rules */
	LIST_FOREACH(policy, &p->cluster, entry) {
		if (!strcmp(policy->key, rule->policy) && !policy->coming && rule->index >= 0 &&
		    (size_t)rule->index < policy->spec.n_rules[rule->direction])
			return policy->spec.rules[rule->direction][rule->index].name;
	}
	return NULL;
}

int bn_policy_rule_name(const struct bn_policy *p, uint32_t verdict,
			struct bn_policy_rule_name *ret)
{
	const char *text = bn_registry_text(p->rule_numbers, verdict & BN_VERDICT_RULE);
	const char *index = text ? strrchr(text, '/') : NULL;
	const char *direction = index ? memrchr(text, '/', (size_t)(index - text)) : NULL;
	size_t n = direction ? (size_t)(direction - text) : 0;

	/* NAMESPACE/NAME/DIRECTION/INDEX, or without a namespace */
	if (!direction || n >= sizeof(ret->policy))
		return -ENOENT;
	memcpy(ret->policy, text, n);
	ret->policy[n] = 0;
	ret->direction = direction[1] == 'i' ? BN_POLICY_INGRESS : BN_POLICY_EGRESS;
	ret->index = index[1] == 'd' ? -1 : atoi(index + 1);
	ret->rule = own_name(p, ret);
	return 0;
}

/* ---- life ---- */

static int open_registry(const struct bn_policy_config *config, const char *name, const char *what,
			 uint32_t first, uint32_t limit, struct bn_registry **ret,
			 struct bn_error *err)
{
	char path[4096];

	snprintf(path, sizeof(path), "%s/%s", config->state_dir, name);
	return bn_registry_open(path, what, first, limit, ret, err);
}

int bn_policy_new(const struct bn_policy_config *config, struct bn_policy **ret,
		  struct bn_error *err)
{
	struct bn_space_config space = {
		.tables_fd = config->tables_fd,
		.pages_fd = config->pages_fd,
		.ports_fd = config->ports_fd,
		.tables = config->tables,
		.pages = config->pages,
		.lines = config->lines,
	};
	struct bn_policy *p = calloc(1, sizeof(*p));
	int r = -ENOMEM;

	if (!p)
		return -ENOMEM;
	p->config = *config;
	p->n_identities = BN_IDENTITY_FIRST;
	LIST_INIT(&p->all_tables);
	LIST_INIT(&p->cluster);
	LIST_INIT(&p->staged);
	p->identities = calloc(BN_IDENTITIES, sizeof(struct identity *));
	if (p->identities)
		r = open_registry(config, BN_POLICY_IDENTITIES_FILE, "identities",
				  BN_IDENTITY_FIRST, BN_IDENTITIES, &p->identity_numbers, err);
	if (!r)
		r = open_registry(config, BN_POLICY_RULES_FILE, "rules of policies", 1,
				  config->rules, &p->rule_numbers, err);
	if (!r)
		r = bn_wanted_init(&p->cidrs, config->cidrs_fd);
	if (!r)
		r = bn_space_open(&space, &p->space, err);
	if (r) {
		bn_policy_free(p);
		return bn_error_set(err, r, "can't set up policies: %s", strerror(-r));
	}
	*ret = p;
	return 0;
}

int bn_policy_found(struct bn_policy *p, uint32_t egress, uint32_t ingress)
{
	int r = bn_space_found(p->space, egress);

	return r ? r : bn_space_found(p->space, ingress);
}

static void policies_free(struct bn_policy *p, struct policy_list *list)
{
	struct policy *policy;

	while ((policy = LIST_FIRST(list))) {
		LIST_REMOVE(policy, entry);
		policy_free(p, policy);
	}
}

void bn_policy_free(struct bn_policy *p)
{
	struct namespace *ns, *next_ns;
	struct node_address *node, *next_node;
	struct mention *m, *next_m;
	struct pod *pod, *next_pod;

	if (!p)
		return;
	p->config.rule = NULL;
	HASH_ITER(hh, p->pods, pod, next_pod) {
		for (int d = 0; d < BN_POLICY_DIRECTIONS; d++)
			table_put(p, pod->now.tables[d]);
		free(pod->now.identities);
		free(pod->now.ips);
		pod_forget(p, pod);
	}
	HASH_ITER(hh, p->nodes, node, next_node) {
		HASH_DEL(p->nodes, node);
		free(node);
	}
	free(p->prefixes.list);
	bn_arena_done(&p->prefixes.arena);
	/* the numbers stay in the files: what stands in the maps goes on meaning them */
	bn_registry_freeze(p->identity_numbers);
	bn_registry_freeze(p->rule_numbers);
	policies_free(p, &p->cluster);
	HASH_ITER(hh, p->namespaces, ns, next_ns) {
		policies_free(p, &ns->policies);
		HASH_DEL(p->namespaces, ns);
		free(ns);
	}
	for (uint32_t i = 0; p->identities && i < p->n_identities; i++) {
		if (!p->identities[i])
			continue;
		bn_arena_done(&p->identities[i]->arena);
		free(p->identities[i]);
	}
	free(p->identities);
	HASH_ITER(hh, p->keys, m, next_m) {
		HASH_DEL(p->keys, m);
		free(m);
	}
	HASH_ITER(hh, p->port_names, m, next_m) {
		HASH_DEL(p->port_names, m);
		free(m);
	}
	bn_registry_close(p->identity_numbers);
	bn_registry_close(p->rule_numbers);
	bn_wanted_done(&p->cidrs);
	bn_space_close(p->space);
	free(p->fresh);
	free(p->problem);
	free(p);
}
