// SPDX-License-Identifier: Apache-2.0
/*
 * Tables. Of the policies that select a pod in one direction, taken tier by tier, by priority and by
 * name, and of their rules, taken by index, each identity meets those that name it; which ports that
 * allows is a run. Since most identities meet the same rules, they are gathered into groups first:
 * all begin in one, and each rule leads those it names to the next.
 */
#include "policy/internal.h"
#include "policy/ports.h"
#include "policy/selector.h"

#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- ports ---- */

static uint32_t protocol_of(uint8_t protocol)
{
	return protocol == IPPROTO_TCP   ? BN_POLICY_TCP
	       : protocol == IPPROTO_UDP ? BN_POLICY_UDP
					 : BN_POLICY_SCTP;
}

/* What a rule's ports are at a destination with these named ports; *ret is the caller's to free. */
static int ranges_of(const struct rule *rule, const struct bn_pod_port *ports, size_t n_ports,
		     struct bn_port_range **ret, size_t *ret_n)
{
	struct bn_port_range *ranges = calloc(rule->n_ports * (n_ports + 1) + 1, sizeof(*ranges));
	size_t n = 0;

	if (!ranges)
		return -ENOMEM;
	if (!rule->n_ports)
		ranges[n++] = BN_PORT_RANGE_ALL;
	for (size_t i = 0; i < rule->n_ports; i++) {
		const struct bn_policy_port *port = &rule->ports[i];
		uint32_t protocol = protocol_of(port->protocol);

		for (size_t k = 0; port->name && k < n_ports; k++) {
			uint32_t key = bn_policy_key(protocol_of(ports[k].protocol), ports[k].port);

			if ((!port->protocol || ports[k].protocol == port->protocol) &&
			    !strcmp(ports[k].name, port->name))
				ranges[n++] = (struct bn_port_range){key, key};
		}
		if (!port->name)
			ranges[n++] = (struct bn_port_range){
				bn_policy_key(protocol, port->port),
				bn_policy_key(protocol, port->end ? port->end : 65535)};
	}
	*ret = ranges;
	*ret_n = n;
	return 0;
}

/* The run of an identity that meets these rules. */
static int run_of(struct bn_policy *p, const struct table *t, const struct rule *const *rules,
		  size_t n, const struct identity *identity, uint32_t *ret, struct bn_error *err)
{
	const struct bn_pod_port *ports = t->ports;
	struct bn_policy_part *parts = NULL;
	size_t n_ports = t->n_ports, n_parts;
	struct bn_port_rule *list = calloc(n + 1, sizeof(*list));
	int r = list ? 0 : -ENOMEM;

	if (t->direction == BN_POLICY_EGRESS) {
		ports = identity ? identity->ports : NULL;
		n_ports = identity ? identity->n_ports : 0;
	}
	for (size_t i = 0; i < n && !r; i++) {
		list[i].tier = rules[i]->tier;
		list[i].pass = rules[i]->action == BN_ACTION_PASS;
		list[i].verdict = rules[i]->number;
		if (rules[i]->action == BN_ACTION_ACCEPT)
			list[i].verdict |= BN_VERDICT_ALLOW;
		r = ranges_of(rules[i], ports, n_ports, (struct bn_port_range **)&list[i].ranges,
			      &list[i].n);
	}
	if (!r)
		r = bn_ports_compile(list, n, t->otherwise, &parts, &n_parts);
	if (!r)
		r = bn_space_run(p->space, parts, n_parts, ret, err);
	for (size_t i = 0; list && i < n; i++)
		free((void *)list[i].ranges);
	free(list);
	free(parts);
	return r;
}

/* ---- one identity ---- */

static bool meets(const struct rule *rule, uint32_t identity)
{
	bool meets = rule->everybody;

	for (size_t i = 0; i < rule->n_peers && !meets; i++)
		meets = peers_have(rule->peers[i], identity);
	return meets;
}

static size_t count_rules(const struct table *t)
{
	size_t n = 0;

	for (size_t i = 0; i < t->n_policies; i++)
		n += t->policies[i]->spec.n_rules[t->direction];
	return n;
}

static int fill_one(struct bn_policy *p, struct table *t, const struct rule **rules,
		    uint32_t identity, struct bn_error *err)
{
	size_t n = 0;
	uint32_t run;
	int r;

	for (size_t i = 0; i < t->n_policies; i++) {
		const struct policy *policy = t->policies[i];

		for (size_t k = 0; k < policy->spec.n_rules[t->direction]; k++) {
			if (meets(&policy->rules[t->direction][k], identity))
				rules[n++] = &policy->rules[t->direction][k];
		}
	}
	r = run_of(p, t, rules, n, p->identities[identity], &run, err);
	if (r)
		return r;
	r = bn_space_table_set(p->space, t->number, identity, run, err);
	bn_space_run_put(p->space, run);
	return r;
}

int table_fill(struct bn_policy *p, struct table *t, const uint32_t *identities, size_t n,
	       struct bn_error *err)
{
	const struct rule **rules = calloc(count_rules(t) + 1, sizeof(*rules));
	int r = rules ? 0 : -ENOMEM;

	for (size_t i = 0; i < n && !r; i++)
		r = fill_one(p, t, rules, identities[i], err);
	free(rules);
	return r;
}

/* ---- all of them ---- */

struct group {
	uint32_t up, rule; /* the group before, and the rule that led here */
	uint32_t run;
	bool named; /* a rule's ports have names, egress: runs differ within the group */
	bool done;
};

struct groups {
	struct group *list;
	uint32_t n, room;
	uint32_t *of;   /* group of each identity */
	uint32_t *next; /* during one rule: group that a group's members go to; 0: none yet */
	const struct rule **rules;
};

static int group_add(struct groups *g, uint32_t up, uint32_t rule, uint32_t *ret)
{
	if (g->n == g->room) {
		uint32_t room = g->room ? 2 * g->room : 64;
		struct group *list = reallocarray(g->list, room, sizeof(*list));
		uint32_t *next = list ? reallocarray(g->next, room, sizeof(*next)) : NULL;

		if (list)
			g->list = list;
		if (!next)
			return -ENOMEM;
		memset(next + g->room, 0, (room - g->room) * sizeof(*next));
		g->next = next;
		g->room = room;
	}
	g->list[g->n] = (struct group){
		.up = up,
		.rule = rule,
		.named = g->n && (g->list[up].named || g->rules[rule]->named),
	};
	*ret = g->n++;
	return 0;
}

static int lead(struct groups *g, uint32_t rule, uint32_t identity)
{
	uint32_t from = g->of[identity], to = g->next[from];
	int r = 0;

	if (!to) {
		r = group_add(g, from, rule, &to);
		if (!r)
			g->next[from] = to;
	}
	if (!r)
		g->of[identity] = to;
	return r;
}

static int gather_rule(struct bn_policy *p, struct groups *g, uint32_t index)
{
	const struct rule *rule = g->rules[index];
	uint32_t before = g->n;
	int r = 0;

	for (uint32_t i = 0; rule->everybody && i < BN_IDENTITY_FIRST && !r; i++)
		r = lead(g, index, i);
	for (uint32_t word = 0; word * 64 < p->n_identities && !r; word++) {
		uint64_t bits = 0;

		for (size_t i = 0; i < rule->n_peers; i++) {
			if (word < rule->peers[i]->words)
				bits |= rule->peers[i]->bits[word];
		}
		if (rule->everybody)
			bits = ~0ull;
		for (; bits && !r; bits &= bits - 1) {
			uint32_t identity = word * 64 + (uint32_t)__builtin_ctzll(bits);

			if (identity >= BN_IDENTITY_FIRST && identity < p->n_identities)
				r = lead(g, index, identity);
		}
	}
	for (uint32_t i = before; i < g->n; i++)
		g->next[g->list[i].up] = 0;
	return r;
}

static int run_of_group(struct bn_policy *p, const struct table *t, struct groups *g,
			uint32_t group, const struct identity *identity, uint32_t *ret,
			struct bn_error *err)
{
	size_t n = 0;
	const struct rule **rules;
	int r;

	for (uint32_t i = group; i; i = g->list[i].up)
		n++;
	rules = calloc(n + 1, sizeof(*rules));
	if (!rules)
		return -ENOMEM;
	for (uint32_t i = group, k = (uint32_t)n; i; i = g->list[i].up)
		rules[--k] = g->rules[g->list[i].rule];
	r = run_of(p, t, rules, n, identity, ret, err);
	free(rules);
	return r;
}

/* Whether someone may be let in for want of a name: whom a rule keeps out, or hands on. */
static bool keeps_out(const struct table *t)
{
	for (size_t i = 0; i < t->n_policies; i++) {
		const struct policy *policy = t->policies[i];

		for (size_t k = 0; k < policy->spec.n_rules[t->direction]; k++) {
			if (policy->rules[t->direction][k].action != BN_ACTION_ACCEPT)
				return true;
		}
	}
	return false;
}

/* Runs of all identities; each stands for a reference that is put when the table has its own. */
static int runs_of(struct bn_policy *p, const struct table *t, struct groups *g, uint32_t *runs,
		   uint32_t *owned, size_t *n_owned, struct bn_error *err)
{
	int r = 0;

	for (uint32_t i = 0; i < p->n_identities && !r; i++) {
		struct group *group = &g->list[g->of[i]];
		bool named = group->named && t->direction == BN_POLICY_EGRESS;

		if (i == BN_IDENTITY_UNKNOWN && keeps_out(t))
			continue;
		if (group->done && !named) {
			runs[i] = group->run;
			continue;
		}
		r = run_of_group(p, t, g, g->of[i], p->identities[i], &runs[i], err);
		if (r)
			break;
		owned[(*n_owned)++] = runs[i];
		group->run = runs[i];
		group->done = true;
	}
	return r;
}

static int compile(struct bn_policy *p, struct table *t, struct bn_error *err)
{
	struct groups g = {0};
	uint32_t *runs = calloc(p->n_identities, sizeof(*runs));
	uint32_t *owned = calloc(p->n_identities + 1, sizeof(*owned)), zero, rest = 0;
	size_t n_owned = 0, n = 0;
	int r = -ENOMEM;

	g.of = calloc(p->n_identities, sizeof(*g.of));
	g.rules = calloc(count_rules(t) + 1, sizeof(*g.rules));
	if (runs && owned && g.of && g.rules)
		r = group_add(&g, 0, 0, &zero);
	for (size_t i = 0; i < t->n_policies && !r; i++) {
		for (size_t k = 0; k < t->policies[i]->spec.n_rules[t->direction] && !r; k++) {
			g.rules[n] = &t->policies[i]->rules[t->direction][k];
			r = gather_rule(p, &g, (uint32_t)n++);
		}
	}
	/* those that nobody has yet: denied, and by default where that has a name */
	if (!r && t->otherwise != BN_VERDICT_ALLOW)
		r = run_of(p, t, NULL, 0, NULL, &rest, err);
	if (!r)
		r = runs_of(p, t, &g, runs, owned, &n_owned, err);
	if (!r)
		r = bn_space_table(p->space, runs, p->n_identities, rest, &t->number, err);
	for (size_t i = 0; i < n_owned; i++)
		bn_space_run_put(p->space, owned[i]);
	bn_space_run_put(p->space, rest);
	free(runs);
	free(owned);
	free(g.list);
	free(g.next);
	free(g.of);
	free(g.rules);
	return r;
}

/* ---- which table ---- */

static bool selects(const struct bn_policy *p, const struct policy *policy, const struct pod *pod,
		    const struct pod_state *state, enum bn_policy_direction direction)
{
	return !policy->leaving && policy->spec.selects[direction] &&
	       bn_selector_matches(&policy->spec.pods, state->labels, state->n_labels, NULL) &&
	       (*policy->spec.namespace ||
		(strcmp(pod->namespace, BN_NODE_NAMESPACE) != 0 &&
		 namespace_matches(p, &policy->spec.namespaces, pod->namespace)));
}

/* Those of a tier that select the pod; counts them where `list` is NULL. */
static size_t select_tier(const struct bn_policy *p, const struct pod *pod,
			  const struct pod_state *state, enum bn_policy_direction direction,
			  enum bn_policy_tier tier, struct policy **list)
{
	const struct policy_list *all =
		policies_beside(p, tier == BN_TIER_NETWORK_POLICY ? pod->namespace : "");
	struct policy *policy;
	size_t n = 0;

	if (!all)
		return 0;
	LIST_FOREACH(policy, all, entry) {
		if (policy->spec.tier != tier || !selects(p, policy, pod, state, direction))
			continue;
		if (list)
			list[n] = policy;
		n++;
	}
	return n;
}

/* All that select the pod, in the order in which they are asked. */
static int select_policies(const struct bn_policy *p, const struct pod *pod,
			   const struct pod_state *state, struct table *t)
{
	enum bn_policy_direction d = t->direction;
	size_t admin = select_tier(p, pod, state, d, BN_TIER_ADMIN, NULL);
	size_t named = select_tier(p, pod, state, d, BN_TIER_NETWORK_POLICY, NULL);
	size_t baseline = named ? 0 : select_tier(p, pod, state, d, BN_TIER_BASELINE, NULL);

	t->n_policies = admin + named + baseline;
	t->otherwise = BN_VERDICT_ALLOW;
	if (!t->n_policies)
		return 0;
	t->policies = calloc(t->n_policies, sizeof(struct policy *));
	if (!t->policies)
		return -ENOMEM;
	select_tier(p, pod, state, d, BN_TIER_ADMIN, t->policies);
	if (named) {
		select_tier(p, pod, state, d, BN_TIER_NETWORK_POLICY, t->policies + admin);
		t->otherwise = t->policies[admin]->deny[d];
	} else {
		select_tier(p, pod, state, d, BN_TIER_BASELINE, t->policies + admin);
	}
	return 0;
}

/* Whether a rule of the policy gives a port by this name. */
static bool asks_for(const struct policy *policy, enum bn_policy_direction direction,
		     const char *name)
{
	for (size_t i = 0; i < policy->spec.n_rules[direction]; i++) {
		const struct rule *rule = &policy->rules[direction][i];

		for (size_t k = 0; rule->named && k < rule->n_ports; k++) {
			if (rule->ports[k].name && !strcmp(rule->ports[k].name, name))
				return true;
		}
	}
	return false;
}

static bool asked_for(const struct table *t, const char *name)
{
	for (size_t i = 0; i < t->n_policies; i++) {
		if (asks_for(t->policies[i], t->direction, name))
			return true;
	}
	return false;
}

static int key_of(struct table *t, const struct pod_state *state)
{
	size_t size;
	FILE *f = open_memstream(&t->key, &size);

	if (!f)
		return -ENOMEM;
	fputc(t->direction == BN_POLICY_EGRESS ? 'e' : 'i', f);
	for (size_t i = 0; i < t->n_policies; i++)
		fprintf(f, " %s#%llu", t->policies[i]->key,
			(unsigned long long)t->policies[i]->generation);
	for (size_t i = 0; t->direction == BN_POLICY_INGRESS && i < state->n_ports; i++) {
		if (asked_for(t, state->ports[i].name))
			fprintf(f, " %s:%u=%u", state->ports[i].name, state->ports[i].protocol,
				state->ports[i].port);
	}
	return fclose(f) ? -ENOMEM : 0;
}

static void table_free(struct table *t)
{
	for (size_t i = 0; i < t->n_ports; i++)
		free((void *)t->ports[i].name);
	free(t->ports);
	free(t->policies);
	free(t->key);
	free(t);
}

static int keep_ports(struct table *t, const struct pod_state *state)
{
	if (t->direction != BN_POLICY_INGRESS)
		return 0;
	t->ports = calloc(state->n_ports + 1, sizeof(*t->ports));
	if (!t->ports)
		return -ENOMEM;
	for (size_t i = 0; i < state->n_ports; i++) {
		struct bn_pod_port *port = &t->ports[t->n_ports];

		if (!asked_for(t, state->ports[i].name))
			continue;
		*port = state->ports[i];
		port->name = strdup(port->name);
		if (!port->name)
			return -ENOMEM;
		t->n_ports++;
	}
	return 0;
}

int table_of(struct bn_policy *p, const struct pod *pod, const struct pod_state *state,
	     enum bn_policy_direction direction, struct table **ret, struct bn_error *err)
{
	struct table *t, *known = NULL;
	int r;

	*ret = NULL;
	t = calloc(1, sizeof(*t));
	if (!t)
		return -ENOMEM;
	t->direction = direction;
	r = select_policies(p, pod, state, t);
	if (r || !t->n_policies) {
		table_free(t);
		return r;
	}
	r = key_of(t, state);
	if (!r)
		HASH_FIND_STR(p->tables, t->key, known);
	if (known) {
		table_free(t);
		known->references++;
		*ret = known;
		return 0;
	}
	if (!r)
		r = keep_ports(t, state);
	if (!r)
		r = compile(p, t, err);
	if (!r) {
		HASH_ADD_KEYPTR(hh, p->tables, t->key, strlen(t->key), t);
		if (!t->hh.tbl) {
			bn_space_table_put(p->space, t->number);
			r = -ENOMEM;
		}
	}
	if (r) {
		table_free(t);
		return r;
	}
	t->references = 1;
	LIST_INSERT_HEAD(&p->all_tables, t, entry);
	*ret = t;
	return 0;
}

void table_put(struct bn_policy *p, struct table *t)
{
	if (!t || --t->references)
		return;
	if (!t->stale)
		HASH_DEL(p->tables, t);
	LIST_REMOVE(t, entry);
	bn_space_table_put(p->space, t->number);
	table_free(t);
}

static bool is_wrong(const struct table *t)
{
	for (size_t i = 0; i < t->n_policies; i++) {
		const struct policy *policy = t->policies[i];

		for (size_t k = 0; k < policy->spec.n_rules[t->direction]; k++) {
			const struct rule *rule = &policy->rules[t->direction][k];

			for (size_t m = 0; m < rule->n_peers; m++) {
				if (rule->peers[m]->changed)
					return true;
			}
		}
	}
	return false;
}

void tables_retire(struct bn_policy *p)
{
	struct table *t;

	LIST_FOREACH(t, &p->all_tables, entry) {
		if (t->stale || !is_wrong(t))
			continue;
		t->stale = true;
		HASH_DEL(p->tables, t);
	}
}
