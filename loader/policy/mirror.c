// SPDX-License-Identifier: Apache-2.0
/*
 * What the model says, as policy sees it: policies by namespace, pods and namespaces, each with what
 * a change makes of it beside what is in force.
 */
#include "policy/internal.h"

#include <bpf/bpf.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *const direction_names[] = {
	[BN_POLICY_EGRESS] = "egress",
	[BN_POLICY_INGRESS] = "ingress",
};

/* ---- policies ---- */

/* "NAMESPACE/NAME", or the name alone. */
struct policy_key {
	char text[330];
};

static struct policy_key policy_key(const struct bn_policy_spec *spec)
{
	struct policy_key ret;

	snprintf(ret.text, sizeof(ret.text), "%s%s%s", spec->namespace, *spec->namespace ? "/" : "",
		 spec->name);
	return ret;
}

/* Whether what no rule of it allows is denied. */
static bool denies_by_default(const struct bn_policy_spec *spec, int direction)
{
	return spec->selects[direction] && spec->tier == BN_TIER_NETWORK_POLICY;
}

struct rule_text {
	char text[400];
};

/* What a rule's number is registered under; index -1: what no rule allows. */
static struct rule_text rule_text(const char *policy, int direction, long index)
{
	struct rule_text ret;

	if (index < 0)
		snprintf(ret.text, sizeof(ret.text), "%s/%s/default", policy,
			 direction_names[direction]);
	else
		snprintf(ret.text, sizeof(ret.text), "%s/%s/%ld", policy,
			 direction_names[direction], index);
	return ret;
}

/* No number is left; those rules of the change that have one are in the registry. */
static int no_rules(const struct bn_policy *p, const struct bn_change *c, struct bn_error *err)
{
	size_t n = 0;

	for (size_t i = 0; i < c->n_policies; i++) {
		const struct bn_policy_spec *spec = &c->policies[i];
		struct policy_key key = policy_key(spec);

		for (int d = 0; d < BN_POLICY_DIRECTIONS; d++) {
			for (long k = denies_by_default(spec, d) ? -1 : 0;
			     k < (long)spec->n_rules[d]; k++) {
				struct rule_text text = rule_text(key.text, d, k);

				n += !bn_registry_has(p->rule_numbers, text.text);
			}
		}
	}
	return bn_error_set(err, -ENOSPC,
			    "policy needs %zu rules more than fit, %u are the most; raise "
			    "maps.policy-rules",
			    n, p->config.rules - 1);
}

static void tell_rule(struct bn_policy *p, const struct policy *policy, int direction, long index,
		      uint32_t number)
{
	struct bn_policy_rule_name name;

	if (!p->config.rule || bn_policy_rule_name(p, number, &name))
		return;
	name.rule = index < 0 ? NULL : policy->spec.rules[direction][index].name;
	p->config.rule(p->config.user, number, &name);
}

static int number_rule(struct bn_policy *p, const struct bn_change *c, const struct policy *policy,
		       int direction, long index, uint32_t *ret, struct bn_error *err)
{
	struct rule_text text = rule_text(policy->key, direction, index);
	struct bn_error why = BN_ERROR_INIT;
	uint64_t zero = 0;
	bool fresh;
	int r;

	r = bn_registry_get(p->rule_numbers, text.text, ret, &fresh, &why);
	if (r == -ENOSPC)
		no_rules(p, c, err);
	else if (r)
		bn_error_set(err, r, "%s", bn_error_text(&why));
	bn_error_done(&why);
	if (!r && fresh && bpf_map_update_elem(p->config.hits_fd, ret, &zero, BPF_ANY))
		r = -errno;
	if (!r)
		tell_rule(p, policy, direction, index, *ret);
	return r;
}

static void unnumber_rule(struct bn_policy *p, uint32_t number)
{
	if (number && bn_registry_put(p->rule_numbers, number) && p->config.rule)
		p->config.rule(p->config.user, number, NULL);
}

void policy_free(struct bn_policy *p, struct policy *policy)
{
	if (!policy)
		return;
	for (int d = 0; d < BN_POLICY_DIRECTIONS; d++) {
		for (size_t i = 0; policy->rules[d] && i < policy->spec.n_rules[d]; i++) {
			struct rule *rule = &policy->rules[d][i];

			for (size_t k = 0; k < rule->n_peers; k++)
				peers_put(p, rule->peers[k]);
			for (size_t k = 0; rule->named && k < rule->n_ports; k++) {
				if (rule->ports[k].name && d == BN_POLICY_EGRESS)
					mention_remove(&p->port_names, rule->ports[k].name);
			}
			free(rule->peers);
			unnumber_rule(p, rule->number);
		}
		free(policy->rules[d]);
		unnumber_rule(p, policy->deny[d]);
	}
	free(policy->key);
	free(policy);
}

static int mention_keys(struct bn_policy *p, const struct bn_selector *selector)
{
	int r = 0;

	for (size_t i = 0; selector && i < selector->n && !r; i++)
		r = mention_add(&p->keys, selector->requirements[i].key, &p->keys_new);
	return r;
}

static int rule_init(struct bn_policy *p, const struct bn_change *c, struct policy *policy,
		     int direction, size_t index, struct bn_error *err)
{
	const struct bn_policy_rule *spec = &policy->spec.rules[direction][index];
	struct rule *rule = &policy->rules[direction][index];
	int r = 0;

	rule->tier = policy->spec.tier;
	rule->action = spec->action;
	rule->everybody = !spec->n_peers;
	rule->peers = calloc(spec->n_peers + 1, sizeof(struct peers *));
	if (!rule->peers)
		return -ENOMEM;
	/* keys are never forgotten in this run: identities may tell more apart than they must */
	for (size_t i = 0; i < spec->n_peers && !r; i++) {
		r = mention_keys(p, spec->peers[i].pods);
		if (!r)
			r = mention_keys(p, spec->peers[i].nodes);
		if (!r)
			r = peers_get(p, policy->spec.namespace, &spec->peers[i],
				      &rule->peers[rule->n_peers]);
		rule->n_peers += !r;
	}
	for (size_t i = 0; i < spec->n_ports && !r; i++) {
		rule->named |= spec->ports[i].name != NULL;
		if (spec->ports[i].name && direction == BN_POLICY_EGRESS)
			r = mention_add(&p->port_names, spec->ports[i].name, &p->ports_new);
	}
	rule->ports = spec->ports;
	rule->n_ports = spec->n_ports;
	return r ? r : number_rule(p, c, policy, direction, (long)index, &rule->number, err);
}

static struct namespace *namespace_need(struct bn_policy *p, const char *name)
{
	struct namespace *ns = (struct namespace *)namespace_find(p, name);
	size_t n = strlen(name);

	if (ns)
		return ns;
	ns = calloc(1, sizeof(*ns) + n + 1);
	if (!ns)
		return NULL;
	memcpy(ns->name, name, n);
	LIST_INIT(&ns->policies);
	HASH_ADD(hh, p->namespaces, name[0], n, ns);
	if (!ns->hh.tbl) {
		free(ns);
		return NULL;
	}
	return ns;
}

const struct policy_list *policies_beside(const struct bn_policy *p, const char *namespace)
{
	const struct namespace *ns = *namespace ? namespace_find(p, namespace) : NULL;

	return !*namespace ? &p->cluster : ns ? &ns->policies : NULL;
}

static int compare_policies(const struct bn_policy_spec *a, const struct bn_policy_spec *b)
{
	int r = (int)a->tier - b->tier;

	if (!r)
		r = (int)a->priority - b->priority;
	return r ? r : strcmp(a->name, b->name);
}

/* A policy that leaves stands before the one that takes its place. */
static void enlist(struct policy_list *list, struct policy *policy)
{
	struct policy *at, *before = NULL;

	LIST_FOREACH(at, list, entry) {
		if (compare_policies(&at->spec, &policy->spec) > 0)
			break;
		before = at;
	}
	if (before)
		LIST_INSERT_AFTER(before, policy, entry);
	else
		LIST_INSERT_HEAD(list, policy, entry);
}

static struct policy *find_among(const struct policy_list *list, const char *namespace,
				 const char *name)
{
	struct policy *policy;

	if (!list)
		return NULL;
	LIST_FOREACH(policy, list, entry) {
		if (!policy->leaving && !strcmp(policy->spec.name, name) &&
		    !strcmp(policy->spec.namespace, namespace))
			return policy;
	}
	return NULL;
}

static struct policy *find_policy(const struct bn_policy *p, const char *namespace,
				  const char *name)
{
	struct policy *policy = find_among(policies_beside(p, namespace), namespace, name);

	return policy ? policy : find_among(policies_beside(p, BN_NODE_NAMESPACE), namespace, name);
}

static int add_policy(struct bn_policy *p, const struct bn_change *c,
		      const struct bn_policy_spec *spec, struct bn_error *err)
{
	/* where those are that it selects among */
	struct namespace *ns = spec->host         ? namespace_need(p, BN_NODE_NAMESPACE)
			       : *spec->namespace ? namespace_need(p, spec->namespace)
						  : NULL;
	struct policy *policy = calloc(1, sizeof(*policy)), *old;
	int r = 0;

	if ((*spec->namespace && !ns) || !policy)
		r = -ENOMEM;
	else if (!(policy->key = strdup(policy_key(spec).text)))
		r = -ENOMEM;
	if (r) {
		free(policy);
		return r;
	}
	policy->spec = *spec;
	policy->generation = ++p->generation;
	for (int d = 0; d < BN_POLICY_DIRECTIONS && !r; d++) {
		policy->rules[d] = calloc(spec->n_rules[d] + 1, sizeof(struct rule));
		r = policy->rules[d] ? 0 : -ENOMEM;
		for (size_t i = 0; i < spec->n_rules[d] && !r; i++)
			r = rule_init(p, c, policy, d, i, err);
		if (!r && denies_by_default(spec, d))
			r = number_rule(p, c, policy, d, -1, &policy->deny[d], err);
	}
	if (r) {
		policy_free(p, policy);
		return r;
	}
	old = find_policy(p, spec->namespace, spec->name);
	if (old)
		old->leaving = true;
	policy->coming = true;
	enlist(ns ? &ns->policies : &p->cluster, policy);
	return 0;
}

/* ---- pods ---- */

struct pod *pod_find(const struct bn_policy *p, const char *namespace, const char *name)
{
	struct pod *pod = NULL;
	char key[400];

	snprintf(key, sizeof(key), "%s/%s", namespace, name);
	HASH_FIND_STR(p->pods, key, pod);
	return pod;
}

void state_done(struct bn_policy *p, struct pod_state *state)
{
	for (size_t i = 0; state->identities && i < state->n_ips; i++)
		identity_put(p, state->identities[i]);
	for (int d = 0; d < BN_POLICY_DIRECTIONS; d++)
		table_put(p, state->tables[d]);
	free(state->identities);
	free(state->ips);
	memset(state, 0, sizeof(*state));
}

static int stage_pod(struct bn_policy *p, struct pod *pod, const struct bn_pod_spec *spec)
{
	struct pod_state *next = &pod->next;

	*next = (struct pod_state){
		.exists = true,
		.local = spec->local,
		.audit = spec->audit,
		.labels = spec->labels,
		.n_labels = spec->n_labels,
		.ports = spec->ports,
		.n_ports = spec->n_ports,
		.ips = calloc(spec->n_ips + 1, sizeof(union bn_addr)),
		.identities = calloc(spec->n_ips + 1, sizeof(uint32_t)),
		.n_ips = spec->n_ips,
	};
	if (!pod->staged)
		LIST_INSERT_HEAD(&p->staged, pod, entry);
	pod->staged = true;
	if (!next->ips || !next->identities)
		return -ENOMEM;
	if (spec->n_ips)
		memcpy(next->ips, spec->ips, spec->n_ips * sizeof(*next->ips));
	return 0;
}

int pod_restage(struct bn_policy *p, struct pod *pod)
{
	struct bn_pod_spec spec = {
		.labels = pod->now.labels,
		.n_labels = pod->now.n_labels,
		.ports = pod->now.ports,
		.n_ports = pod->now.n_ports,
		.ips = pod->now.ips,
		.n_ips = pod->now.n_ips,
		.local = pod->now.local,
		.audit = pod->now.audit,
	};

	return pod->staged || !pod->now.exists ? 0 : stage_pod(p, pod, &spec);
}

bool pod_audited(const struct bn_policy *p, const struct pod *pod, const struct pod_state *state)
{
	const struct namespace *ns = namespace_find(p, pod->namespace);

	return p->config.audit || state->audit || (ns && (ns->staged ? ns->next_audit : ns->audit));
}

static int add_pod(struct bn_policy *p, const struct bn_pod_spec *spec)
{
	struct pod *pod = pod_find(p, spec->namespace, spec->name);

	if (!pod) {
		pod = calloc(1, sizeof(*pod));
		if (!pod || asprintf(&pod->key, "%s/%s", spec->namespace, spec->name) < 0) {
			free(pod);
			return -ENOMEM;
		}
		pod->namespace = strdup(spec->namespace);
		pod->name = pod->key + strlen(spec->namespace) + 1;
		if (pod->namespace)
			HASH_ADD_KEYPTR(hh, p->pods, pod->key, strlen(pod->key), pod);
		if (!pod->namespace || !pod->hh.tbl) {
			free(pod->namespace);
			free(pod->key);
			free(pod);
			return -ENOMEM;
		}
	}
	return stage_pod(p, pod, spec);
}

void pod_forget(struct bn_policy *p, struct pod *pod)
{
	HASH_DEL(p->pods, pod);
	free(pod->namespace);
	free(pod->key);
	free(pod);
}

/* ---- a change ---- */

int mirror_change(struct bn_policy *p, const struct bn_change *c, struct bn_error *err)
{
	static const struct bn_pod_spec node = {
		.namespace = BN_NODE_NAMESPACE, .name = BN_NODE_POD, .local = true};
	int r = 0;

	for (size_t i = 0; i < c->n_namespaces && !r; i++) {
		struct namespace *ns = namespace_need(p, c->namespaces[i].name);

		if (!ns)
			return -ENOMEM;
		ns->next_labels = c->namespaces[i].labels;
		ns->n_next_labels = c->namespaces[i].n_labels;
		ns->next_audit = c->namespaces[i].audit;
		ns->staged = true;
	}
	for (size_t i = 0; i < c->n_policies && !r; i++)
		r = add_policy(p, c, &c->policies[i], err);
	for (size_t i = 0; i < c->n_policies_removed && !r; i++) {
		struct policy *old = find_policy(p, c->policies_removed[i].namespace,
						 c->policies_removed[i].name);

		if (old)
			old->leaving = true;
	}
	for (size_t i = 0; i < c->n_pods && !r; i++)
		r = add_pod(p, &c->pods[i]);
	if (!r && !pod_find(p, BN_NODE_NAMESPACE, BN_NODE_POD))
		r = add_pod(p, &node);
	for (size_t i = 0; i < c->n_pods_removed && !r; i++) {
		struct pod *pod =
			pod_find(p, c->pods_removed[i].namespace, c->pods_removed[i].name);

		/* with a state that does not exist */
		if (pod && !pod->staged) {
			pod->staged = true;
			LIST_INSERT_HEAD(&p->staged, pod, entry);
		}
	}
	return r;
}

/* The rules of one that stays after all have the names that it gives them. */
static void tell_again(struct bn_policy *p, const struct policy *policy)
{
	for (int d = 0; d < BN_POLICY_DIRECTIONS; d++) {
		for (size_t i = 0; i < policy->spec.n_rules[d]; i++)
			tell_rule(p, policy, d, (long)i, policy->rules[d][i].number);
	}
}

static void settle_list(struct bn_policy *p, struct policy_list *list, bool aborted)
{
	struct policy *policy = LIST_FIRST(list), *next;

	for (; policy; policy = next) {
		next = LIST_NEXT(policy, entry);
		if (aborted ? policy->coming : policy->leaving) {
			LIST_REMOVE(policy, entry);
			policy_free(p, policy);
			continue;
		}
		if (policy->leaving)
			tell_again(p, policy);
		policy->coming = policy->leaving = false;
	}
}

void policies_settle(struct bn_policy *p, bool aborted)
{
	struct namespace *ns, *next_ns;

	if (!p->policies_staged)
		return;
	settle_list(p, &p->cluster, aborted);
	HASH_ITER(hh, p->namespaces, ns, next_ns)
		settle_list(p, &ns->policies, aborted);
}
