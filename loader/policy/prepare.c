// SPDX-License-Identifier: Apache-2.0
/*
 * Preparation makes states of what changes beside those in force, and only adds: identities, peers,
 * tables. So an abort lets go of the new states, a commit of the old ones. What an in-force table
 * gains meanwhile are identities that no address has.
 */
#include "policy/internal.h"

#include <bpfnet/limits.h>
#include <errno.h>
#include <linux/membarrier.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

static struct node_address *need_node(struct bn_policy *p, const union bn_addr *addr)
{
	struct node_address *node = NULL;

	HASH_FIND(hh, p->nodes, addr, sizeof(*addr), node);
	if (node)
		return node;
	node = calloc(1, sizeof(*node));
	if (!node)
		return NULL;
	node->addr = *addr;
	HASH_ADD(hh, p->nodes, addr, sizeof(node->addr), node);
	if (!node->hh.tbl) {
		free(node);
		return NULL;
	}
	return node;
}

/* The labels of an address's node; without any, whose it was may be gone. */
static void stage_labels(struct node_address *node, const struct bn_label *labels, size_t n)
{
	node->next_labels = labels;
	node->n_next_labels = n;
	node->staged = true;
}

static void stage_gone(struct bn_policy *p, const union bn_addr *addr)
{
	struct node_address *node = NULL;

	HASH_FIND(hh, p->nodes, addr, sizeof(*addr), node);
	if (node)
		stage_labels(node, NULL, 0);
}

/*
 * Addresses of nodes come as peers, their labels as nodes. An address that leaves keeps an identity,
 * which costs nothing.
 */
static int stage_nodes(struct bn_policy *p, const struct bn_change *c)
{
	struct node_address *node;

	for (size_t i = 0; i < c->n_peers_removed; i++)
		stage_gone(p, &c->peers_removed[i]);
	for (size_t i = 0; i < c->n_peers; i++) {
		if (c->peers[i].kind != BN_ADDR_REMOTE_NODE) {
			stage_gone(p, &c->peers[i].addr);
			continue;
		}
		node = need_node(p, &c->peers[i].addr);
		if (!node)
			return -ENOMEM;
		stage_labels(node, node->labels, node->n_labels);
	}
	for (size_t i = 0; i < c->n_nodes; i++) {
		const struct bn_node_spec *spec = &c->nodes[i];

		for (size_t k = 0; k < spec->n_ips; k++) {
			node = need_node(p, &spec->ips[k]);
			if (!node)
				return -ENOMEM;
			stage_labels(node, spec->labels, spec->n_labels);
		}
	}
	return 0;
}

static int identify_nodes(struct bn_policy *p, const struct bn_change *c, bool all,
			  struct bn_error *err)
{
	struct node_address *node, *tmp;
	int r = stage_nodes(p, c);

	HASH_ITER(hh, p->nodes, node, tmp) {
		if ((all || node->staged) && !r)
			r = identity_of_node(p, node, &node->next, err);
	}
	return r;
}

static int identify_pods(struct bn_policy *p, bool all, struct bn_error *err)
{
	struct pod *pod;
	int r = 0;

	for (pod = p->pods; all && pod && !r; pod = pod->hh.next)
		r = pod_restage(p, pod);
	LIST_FOREACH(pod, &p->staged, entry) {
		for (size_t i = 0; i < pod->next.n_ips && !r; i++)
			r = identity_of_pod(p, pod, &pod->next, &pod->next.ips[i],
					    &pod->next.identities[i], err);
		if (r)
			return r;
	}
	return 0;
}

/* Namespaces' labels: who is meant by them among identities that stood already. */
static int look_again(struct bn_policy *p)
{
	bool changed;
	int r = 0;

	for (uint32_t i = BN_IDENTITY_FIRST; i < p->n_identities && !r; i++) {
		const struct identity *identity = p->identities[i];
		const struct namespace *ns;

		if (!identity || !identity->pod)
			continue;
		ns = namespace_find(p, identity->namespace);
		if (!ns || !ns->staged)
			continue;
		for (struct peers *s = p->peers; s && !r; s = s->hh.next) {
			if (!s->has_namespaces)
				continue;
			r = peers_look(p, s, identity, &changed);
			s->changed |= changed && !identity->fresh;
		}
	}
	return r;
}

/*
 * A pod's table, or that it is closed for want of one: at the start, when nothing is in force that could
 * stay, and as long as there is still no room from then on.
 */
static int table_or_closed(struct bn_policy *p, const struct pod *pod,
			   const struct pod_state *state, int d, struct table **ret,
			   bool *ret_closed, struct bn_error *err)
{
	struct bn_error why = BN_ERROR_INIT;
	int r = table_of(p, pod, state, d, ret, &why);

	*ret_closed = r == -ENOSPC && (!p->started || pod->now.closed[d]);
	if (*ret_closed) {
		if (!p->problem)
			p->problem = strdup(bn_error_text(&why));
		r = 0;
	} else if (r) {
		bn_error_set(err, r, "%s", bn_error_text(&why));
	}
	bn_error_done(&why);
	return r;
}

static int tables_of_pod(struct bn_policy *p, struct pod *pod, struct bn_error *err)
{
	int r = 0;

	pod->next.audited = pod_audited(p, pod, &pod->next);
	for (int d = 0; d < BN_POLICY_DIRECTIONS && !r; d++)
		r = table_or_closed(p, pod, &pod->next, d, &pod->next.tables[d],
				    &pod->next.closed[d], err);
	return r;
}

static bool pod_is_closed(const struct pod_state *state)
{
	return state->closed[BN_POLICY_EGRESS] || state->closed[BN_POLICY_INGRESS];
}

/* A pod here that has not changed is staged if its tables have. */
static int choose_others(struct bn_policy *p, struct pod *pod, struct bn_error *err)
{
	struct table *found[BN_POLICY_DIRECTIONS] = {NULL};
	bool closed[BN_POLICY_DIRECTIONS] = {false};
	struct pod_state *next = &pod->next;
	int r = 0;

	for (int d = 0; d < BN_POLICY_DIRECTIONS && !r; d++)
		r = table_or_closed(p, pod, &pod->now, d, &found[d], &closed[d], err);
	if (!r && (memcmp(found, pod->now.tables, sizeof(found)) ||
		   memcmp(closed, pod->now.closed, sizeof(closed)) ||
		   pod_audited(p, pod, &pod->now) != pod->now.audited))
		r = pod_restage(p, pod);
	if (r || !pod->staged) {
		for (int d = 0; d < BN_POLICY_DIRECTIONS; d++)
			table_put(p, found[d]);
		return r;
	}
	for (size_t i = 0; i < next->n_ips; i++) {
		next->identities[i] = pod->now.identities[i];
		bn_registry_hold(p->identity_numbers, next->identities[i]);
	}
	memcpy(next->tables, found, sizeof(found));
	memcpy(next->closed, closed, sizeof(closed));
	next->audited = pod_audited(p, pod, next);
	return 0;
}

static int choose_tables(struct bn_policy *p, bool all, struct bn_error *err)
{
	struct pod *pod;
	int r = 0;

	LIST_FOREACH(pod, &p->staged, entry) {
		if (pod->next.exists && pod->next.local && !r)
			r = tables_of_pod(p, pod, err);
	}
	/* what is open first: it must not want for what a closed one might take */
	for (int closed = 0; closed < 2; closed++) {
		for (pod = p->pods; (all || closed) && pod && !r; pod = pod->hh.next) {
			if (!pod->staged && pod->now.exists && pod->now.local &&
			    pod_is_closed(&pod->now) == closed)
				r = choose_others(p, pod, err);
		}
	}
	return r;
}

static bool concerns(const struct bn_policy *p, const struct bn_change *c)
{
	bool nodes = false;

	for (size_t i = 0; i < c->n_peers && !nodes; i++)
		nodes = c->peers[i].kind == BN_ADDR_REMOTE_NODE;
	return nodes || c->n_nodes || c->n_policies || c->n_policies_removed || c->n_pods ||
	       c->n_pods_removed || c->n_namespaces || p->blocks_new || !p->started;
}

int prepare_change(struct bn_policy *p, const struct bn_change *c, struct bn_error *err)
{
	struct table *t;
	bool all;
	int r;

	p->prepared = true;
	p->policies_staged = c->n_policies || c->n_policies_removed;
	p->n_fresh = 0;
	r = mirror_change(p, c, err);
	if (!r && (p->blocks_new || !p->prefixes.n)) {
		r = prefixes_build(p, &p->next_prefixes, err);
		p->prefixes_staged = !r;
		if (!r)
			r = prefixes_fit(p, &p->next_prefixes, err);
	}
	all = p->keys_new || p->ports_new || p->prefixes_staged;
	if (!r)
		r = identify_pods(p, all, err);
	if (!r)
		r = identify_nodes(p, c, all, err);
	if (!r && c->n_namespaces)
		r = look_again(p);
	if (!r)
		tables_retire(p);
	/* tables that leave with this change are in force until then */
	LIST_FOREACH(t, &p->all_tables, entry) {
		if (!r)
			r = table_fill(p, t, p->fresh, p->n_fresh, err);
	}
	if (!r)
		r = choose_tables(p, p->policies_staged || c->n_namespaces, err);
	if (r) {
		bn_policy_abort(p);
		return bn_error_set(err, r, "can't compile the policies: %s", strerror(-r));
	}
	return 0;
}

/*
 * What earlier changes freed may be used at once, since no packet is under way any more that has
 * seen it: the kernel waits for that, some hundredths of a second.
 */
bool numbers_rested(struct bn_policy *p)
{
	if (!p->started || syscall(SYS_membarrier, MEMBARRIER_CMD_GLOBAL, 0, 0))
		return false;
	numbers_turn(p);
	return true;
}

int bn_policy_prepare(struct bn_policy *p, const struct bn_change *c, struct bn_error *err)
{
	struct bn_error why = BN_ERROR_INIT;
	int r;

	if (!concerns(p, c))
		return 0;
	r = prepare_change(p, c, &why);
	if (r == -ENOSPC && numbers_rested(p)) {
		bn_error_done(&why);
		r = prepare_change(p, c, &why);
	}
	if (r == -ENOSPC)
		policy_measure(p, c, err);
	if (r)
		bn_error_set(err, r, "%s", bn_error_text(&why));
	bn_error_done(&why);
	return r;
}
