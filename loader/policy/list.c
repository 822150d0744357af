// SPDX-License-Identifier: Apache-2.0
/* `policy list` and `policy get`: the policies in force, and what their rules have decided. */
#include "policy/internal.h"

#include <bpf/bpf.h>
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

static json_t *policy_json(const struct bn_policy *p, const struct policy *policy)
{
	static const struct {
		int direction;
		const char *type, *name;
	} kinds[] = {
		{BN_POLICY_INGRESS, "Ingress", "ingress"},
		{BN_POLICY_EGRESS, "Egress", "egress"},
	};
	json_t *types = json_array(), *rules = json_array(), *denied = json_object();

	for (size_t k = 0; k < sizeof(kinds) / sizeof(kinds[0]); k++) {
		int d = kinds[k].direction;

		if (!policy->spec.selects[d])
			continue;
		json_array_append_new(types, json_string(kinds[k].type));
		for (size_t i = 0; i < policy->spec.n_rules[d]; i++)
			json_array_append_new(rules,
					      json_pack("{sssIsI}", "direction", kinds[k].name,
							"index", (json_int_t)i, "hits",
							hits_of(p, policy->rules[d][i].number)));
		json_object_set_new(denied, kinds[k].name,
				    json_integer(hits_of(p, policy->deny[d])));
	}
	return json_pack("{sssssosIsoso}", "namespace", policy->spec.namespace, "name",
			 policy->spec.name, "types", types, "endpoints", endpoints_of(p, policy),
			 "rules", rules, "denied", denied);
}

static int by_name(const struct namespace *a, const struct namespace *b)
{
	return strcmp(a->name, b->name);
}

json_t *bn_policy_json(struct bn_policy *p, const char *namespace, const char *name)
{
	json_t *list = json_array();
	struct namespace *ns;
	struct policy *policy;

	HASH_SRT(hh, p->namespaces, by_name);
	for (ns = p->namespaces; list && ns; ns = ns->hh.next) {
		if (namespace && strcmp(ns->name, namespace))
			continue;
		LIST_FOREACH(policy, &ns->policies, entry) {
			if (name && strcmp(policy->spec.name, name))
				continue;
			if (json_array_append_new(list, policy_json(p, policy)) < 0) {
				json_decref(list);
				return NULL;
			}
		}
	}
	return list;
}
