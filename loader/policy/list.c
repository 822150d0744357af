// SPDX-License-Identifier: Apache-2.0
/* `policy list` and `policy get`: the policies in force, and what their rules have decided. */
#include "policy/internal.h"

#include <bpf/bpf.h>
#include <bpfnet/access.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

static json_int_t hits_of(const struct bn_policy *p, uint32_t rule)
{
	uint64_t hits = 0;

	bpf_map_lookup_elem(p->config.hits_fd, &rule, &hits);
	return (json_int_t)hits;
}

static json_int_t endpoints_of(const struct bn_policy *p, const struct policy *policy)
{
	json_int_t n = 0;

	for (const struct pod *pod = p->pods; pod; pod = pod->hh.next) {
		bool selected = false;

		for (int d = 0; d < BN_POLICY_DIRECTIONS; d++) {
			const struct table *t = pod->now.tables[d];

			for (size_t i = 0; t && i < t->n_policies; i++)
				selected |= t->policies[i] == policy;
		}
		n += selected;
	}
	return n;
}

/* A rule that passes decides nothing, and is not counted. */
static json_t *rule_json(const struct bn_policy *p, const struct policy *policy, int direction,
			 const char *name, size_t index)
{
	static const char *const actions[] = {"Accept", "Deny", "Pass"};
	const struct bn_policy_rule *spec = &policy->spec.rules[direction][index];
	uint32_t number = policy->rules[direction][index].number;
	json_t *rule = json_pack("{sssI}", "direction", name, "index", (json_int_t)index);

	if (policy->spec.tier != BN_TIER_NETWORK_POLICY) {
		json_object_set_new(rule, "name",
				    spec->name ? json_string(spec->name) : json_null());
		json_object_set_new(rule, "action", json_string(actions[spec->action]));
	}
	json_object_set_new(rule, "hits",
			    spec->action == BN_ACTION_PASS ? json_null()
							   : json_integer(hits_of(p, number)));
	return rule;
}

static json_t *policy_json(const struct bn_policy *p, const struct policy *policy)
{
	static const struct {
		int direction;
		const char *type, *name;
	} kinds[] = {
		{BN_POLICY_INGRESS, "Ingress", "ingress"},
		{BN_POLICY_EGRESS, "Egress", "egress"},
	};
	bool cluster = policy->spec.tier != BN_TIER_NETWORK_POLICY;
	json_t *types = json_array(), *rules = json_array(), *denied = json_object(), *ret;

	for (size_t k = 0; k < sizeof(kinds) / sizeof(kinds[0]); k++) {
		int d = kinds[k].direction;

		if (!policy->spec.selects[d])
			continue;
		json_array_append_new(types, json_string(kinds[k].type));
		for (size_t i = 0; i < policy->spec.n_rules[d]; i++)
			json_array_append_new(rules, rule_json(p, policy, d, kinds[k].name, i));
		if (!cluster)
			json_object_set_new(denied, kinds[k].name,
					    json_integer(hits_of(p, policy->deny[d])));
	}
	ret = cluster ? json_pack("{sosssssI}", "namespace", json_null(), "name", policy->spec.name,
				  "tier", policy->spec.tier == BN_TIER_ADMIN ? "Admin" : "Baseline",
				  "priority", (json_int_t)policy->spec.priority)
		      : json_pack("{sssssb}", "namespace", policy->spec.namespace, "name",
				  policy->spec.name, "host", policy->spec.host);
	json_object_set_new(ret, "types", types);
	json_object_set_new(ret, "endpoints", json_integer(endpoints_of(p, policy)));
	json_object_set_new(ret, "rules", rules);
	json_object_set_new(ret, "denied", denied);
	return ret;
}

static int append(const struct bn_policy *p, const struct policy_list *policies,
		  const char *namespace, const char *name, json_t *list)
{
	const struct policy *policy;

	LIST_FOREACH(policy, policies, entry) {
		if ((name && strcmp(policy->spec.name, name)) ||
		    (namespace && strcmp(policy->spec.namespace, namespace)))
			continue;
		if (json_array_append_new(list, policy_json(p, policy)) < 0)
			return -ENOMEM;
	}
	return 0;
}

static int by_name(const struct namespace *a, const struct namespace *b)
{
	return strcmp(a->name, b->name);
}

json_t *bn_policy_json(struct bn_policy *p, const char *namespace, const char *name)
{
	json_t *list = json_array();
	struct namespace *ns;
	int r = list ? 0 : -ENOMEM;

	if (!r && (!namespace || !*namespace))
		r = append(p, &p->cluster, namespace, name, list);
	HASH_SRT(hh, p->namespaces, by_name);
	for (ns = p->namespaces; !r && ns; ns = ns->hh.next) {
		if (!namespace || !strcmp(ns->name, namespace) ||
		    !strcmp(ns->name, BN_NODE_NAMESPACE))
			r = append(p, &ns->policies, namespace, name, list);
	}
	if (!r)
		return list;
	json_decref(list);
	return NULL;
}

void bn_policy_use(const struct bn_policy *p, struct bn_policy_use *ret)
{
	struct bn_space_use space = bn_space_use(p->space);

	*ret = (struct bn_policy_use){
		.tables = space.tables,
		.pages = space.pages,
		.lines = space.lines,
		.rules = bn_registry_count(p->rule_numbers),
		.cidrs = (uint32_t)p->prefixes.n,
	};
}

static void tell(const struct policy *policy, const uint64_t *hits,
		 void (*fn)(void *user, const char *namespace, const char *name,
			    enum bn_policy_direction direction, bool allowed, uint64_t flows),
		 void *user)
{
	const struct bn_policy_spec *spec = &policy->spec;
	uint64_t sums[2]; /* denied, allowed */

	for (unsigned int d = 0; d < BN_POLICY_DIRECTIONS; d++) {
		if (!spec->selects[d])
			continue;
		/* no NetworkPolicy: its rules deny, not their absence */
		sums[false] = policy->deny[d] ? hits[policy->deny[d]] : 0;
		sums[true] = 0;
		for (size_t i = 0; i < spec->n_rules[d]; i++) {
			if (spec->rules[d][i].action != BN_ACTION_PASS)
				sums[spec->rules[d][i].action == BN_ACTION_ACCEPT] +=
					hits[policy->rules[d][i].number];
		}
		fn(user, spec->namespace, spec->name, d, true, sums[true]);
		fn(user, spec->namespace, spec->name, d, false, sums[false]);
	}
}

int bn_policy_each_verdict(struct bn_policy *p,
			   void (*fn)(void *user, const char *namespace, const char *name,
				      enum bn_policy_direction direction, bool allowed,
				      uint64_t flows),
			   void *user)
{
	const struct policy *policy;
	const struct namespace *ns;
	uint64_t *hits;
	int r;

	if (!bn_registry_count(p->rule_numbers))
		return 0;
	hits = calloc(p->config.rules, sizeof(*hits));
	if (!hits)
		return -ENOMEM;
	/* all at once: one by one they would be a system call each */
	r = bn_array_read(p->config.hits_fd, 0, p->config.rules, hits, 0);
	if (!r) {
		LIST_FOREACH(policy, &p->cluster, entry)
			tell(policy, hits, fn, user);
		for (ns = p->namespaces; ns; ns = ns->hh.next)
			LIST_FOREACH(policy, &ns->policies, entry)
				tell(policy, hits, fn, user);
	}
	free(hits);
	return r;
}
