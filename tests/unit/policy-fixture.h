/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A model for tests of policy, drawn at random or written down, what stands in real maps for it, and
 * a plain evaluator written from the API's text that knows nothing of identities or tables.
 */
#pragma once

#include "policy/policy.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "policy-run.h"
#include "lib/temp.h"

#include <bpf/bpf.h>
#include <bpfnet/limits.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>

#define PF_NAMESPACES 3
#define PF_PODS 12
#define PF_POLICIES 6
#define PF_CLUSTER 5 /* without a namespace, behind the others */
#define PF_ALL (PF_POLICIES + PF_CLUSTER)
#define PF_RULES 3
#define PF_PEERS 3
#define PF_WORLD 6
#define PF_NODES 2

struct pf_pod {
	bool exists, local;
	char name[16];
	int namespace;
	struct bn_label labels[3];
	size_t n_labels;
	struct bn_pod_port ports[3];
	size_t n_ports;
	union bn_addr ips[2];
	size_t n_ips;
};

struct pf_policy {
	bool exists;
	char name[16];
	int namespace;
	struct bn_policy_spec spec;
	struct bn_requirement requirements[2 + PF_RULES * PF_PEERS * 2 * 2][2];
	struct bn_selector selectors[2 + PF_RULES * PF_PEERS * 2 * 2];
	size_t n_selectors;
	struct bn_policy_peer peers[2][PF_RULES][PF_PEERS];
	struct bn_cidr except[2][PF_RULES][PF_PEERS][2];
	struct bn_policy_port ports[2][PF_RULES][3];
	struct bn_policy_rule rules[2][PF_RULES];
};

struct pf_namespace {
	struct bn_label labels[2];
	size_t n_labels;
};

/* What is wanted. */
struct pf_model {
	struct pf_namespace namespaces[PF_NAMESPACES], nodes[PF_NODES]; /* labels */
	struct pf_pod pods[PF_PODS];
	struct pf_policy policies[PF_ALL];
};

/* What the maps of endpoints and addresses would say. */
struct pf_maps {
	struct bn_policy_endpoint endpoints[PF_PODS];
	uint32_t identity[PF_PODS][2];
	bool published[PF_PODS]; /* as an endpoint */
	uint32_t nodes[PF_NODES];
};

struct pf {
	struct bn_policy *policy;
	struct bn_policy_config config;
	char dir[BN_TEMP_MAX];
	int fd[5];
	struct pf_model models[2];
	struct pf_model *now, *next; /* in force, whose memory is pointed to; wanted next */
	struct pf_maps maps, coming; /* in force; what a change stages */
	bool staging, turned;
	char rules[4096][16];        /* own names, as told; "-": it has none */
	void (*told)(struct pf *pf); /* after each callback, if set */
	size_t n_told;
	int fail_at;        /* callbacks until one fails; 0: none does */
	bool only_policies; /* changes tell of policies alone */
	bool abort_first;   /* a change is prepared and let go of before it is made */
};

static const char *const pf_namespace_names[PF_NAMESPACES] = {"red", "green", "blue"};

static inline union bn_addr pf_addr(const char *text)
{
	union bn_addr addr;

	assert_int_equal(bn_addr_parse(text, &addr, NULL), 0);
	return addr;
}

static inline union bn_addr pf_world(int i)
{
	static const char *const worlds[PF_WORLD] = {"192.0.2.1",   "192.0.2.129",   "198.51.100.7",
						     "2001:db8::1", "2001:db8:1::1", "203.0.113.9"};

	return pf_addr(worlds[i]);
}

static inline union bn_addr pf_node(int i)
{
	return pf_addr(i ? "2001:db8:ffff::2" : "172.31.0.2");
}

static inline struct pf_pod *pf_pod(struct pf_model *m, const char *namespace, const char *name)
{
	for (int i = 0; i < PF_PODS; i++) {
		if (!strcmp(m->pods[i].name, name) &&
		    !strcmp(pf_namespace_names[m->pods[i].namespace], namespace))
			return &m->pods[i];
	}
	return NULL;
}

/* ---- callbacks ---- */

static inline void pf_stage(void *user)
{
	struct pf *pf = user;

	pf->coming = pf->maps;
	pf->staging = true;
}

static inline void pf_turn(void *user, bool take)
{
	struct pf *pf = user;

	if (take)
		pf->maps = pf->coming;
	pf->staging = false;
	pf->turned |= take;
	if (take && pf->told)
		pf->told(pf);
}

static inline int pf_endpoint(void *user, const char *namespace, const char *name,
			      struct bn_error *err)
{
	struct pf *pf = user;
	struct pf_maps *maps = pf->staging ? &pf->coming : &pf->maps;
	const struct pf_pod *pod = pf_pod(pf->next, namespace, name);
	long i = pod ? pod - pf->next->pods : 0;

	/* the node itself, which none of the policies here select */
	if (!strcmp(namespace, BN_NODE_NAMESPACE)) {
		struct bn_policy_endpoint node;

		bn_policy_endpoint(pf->policy, namespace, name, &node);
		assert_int_equal(node.egress, BN_POLICY_OPEN);
		assert_int_equal(node.ingress, BN_POLICY_OPEN);
		return 0;
	}
	assert_non_null(pod);
	if (pf->fail_at && !--pf->fail_at)
		return -EIO;
	bn_policy_endpoint(pf->policy, namespace, name, &maps->endpoints[i]);
	maps->identity[i][0] = maps->endpoints[i].identity4;
	maps->identity[i][1] = maps->endpoints[i].identity6;
	maps->published[i] = true;
	pf->n_told++;
	if (pf->told)
		pf->told(pf);
	return 0;
}

static inline int pf_address(void *user, const union bn_addr *addr, uint32_t identity,
			     struct bn_error *err)
{
	struct pf *pf = user;
	struct pf_maps *maps = pf->staging ? &pf->coming : &pf->maps;

	for (int i = 0; i < PF_PODS; i++) {
		const struct pf_pod *pod = &pf->next->pods[i];

		for (size_t k = 0; pod->exists && k < pod->n_ips; k++) {
			if (bn_addr_equal(&pod->ips[k], addr))
				maps->identity[i][!bn_addr_is_v4(addr)] = identity;
		}
	}
	for (int i = 0; i < PF_NODES; i++) {
		union bn_addr node = pf_node(i);

		if (bn_addr_equal(&node, addr))
			maps->nodes[i] = identity;
	}
	pf->n_told++;
	if (pf->told)
		pf->told(pf);
	return 0;
}

static inline void pf_rule(void *user, uint32_t number, const struct bn_policy_rule_name *name)
{
	struct pf *pf = user;

	snprintf(pf->rules[number], sizeof(pf->rules[number]), "%s",
		 !name        ? ""
		 : name->rule ? name->rule
			      : "-");
}

/* ---- life ---- */

static inline void pf_open(struct pf *pf)
{
	struct bn_error err = BN_ERROR_INIT;

	if (bn_policy_new(&pf->config, &pf->policy, &err))
		fail_msg("%s", bn_error_text(&err));
	for (int i = 0; i < PF_PODS; i++) {
		if (pf->maps.published[i])
			assert_int_equal(bn_policy_found(pf->policy, pf->maps.endpoints[i].egress,
							 pf->maps.endpoints[i].ingress),
					 0);
	}
}

static inline void pf_setup(struct pf *pf, uint32_t tables, uint32_t pages, uint32_t lines)
{
	LIBBPF_OPTS(bpf_map_create_opts, mapped, .map_flags = BPF_F_MMAPABLE);
	LIBBPF_OPTS(bpf_map_create_opts, lpm, .map_flags = BPF_F_NO_PREALLOC);

	memset(pf, 0, sizeof(*pf));
	pf->now = &pf->models[0];
	pf->next = &pf->models[1];
	assert_non_null(bn_temp_dir(pf->dir, "policy"));
	pf->fd[0] = bpf_map_create(BPF_MAP_TYPE_ARRAY, "t", 4, sizeof(struct bn_policy_table),
				   tables, &mapped);
	pf->fd[1] = bpf_map_create(BPF_MAP_TYPE_ARRAY, "p", 4, sizeof(struct bn_policy_page), pages,
				   &mapped);
	pf->fd[2] = bpf_map_create(BPF_MAP_TYPE_ARRAY, "l", 4, sizeof(struct bn_policy_line), lines,
				   &mapped);
	pf->fd[3] = bpf_map_create(BPF_MAP_TYPE_ARRAY, "h", 4, 8, 4096, NULL);
	pf->fd[4] = bpf_map_create(BPF_MAP_TYPE_LPM_TRIE, "c", sizeof(struct bn_range_key),
				   sizeof(struct bn_policy_cidr), 4096, &lpm);
	for (int i = 0; i < 5; i++)
		assert_true(pf->fd[i] >= 0);
	pf->config = (struct bn_policy_config){
		.state_dir = pf->dir,
		.tables_fd = pf->fd[0],
		.pages_fd = pf->fd[1],
		.ports_fd = pf->fd[2],
		.hits_fd = pf->fd[3],
		.cidrs_fd = pf->fd[4],
		.tables = tables,
		.pages = pages,
		.lines = lines,
		.rules = 4096,
		.cidrs = 4096,
		.stage = pf_stage,
		.turn = pf_turn,
		.endpoint = pf_endpoint,
		.address = pf_address,
		.rule = pf_rule,
		.user = pf,
	};
	pf_open(pf);
}

static inline void pf_teardown(struct pf *pf)
{
	char command[BN_TEMP_MAX + 8];

	bn_policy_free(pf->policy);
	for (int i = 0; i < 5; i++)
		close(pf->fd[i]);
	snprintf(command, sizeof(command), "rm -rf %s", pf->dir);
	assert_int_equal(system(command), 0);
}

/* ---- what the datapath would say ---- */

static inline uint32_t pf_cidr_identity(const struct pf *pf, const union bn_addr *addr)
{
	struct bn_range_key key = {.prefixlen = 128};
	struct bn_policy_cidr value;

	memcpy(key.addr, addr, sizeof(key.addr));
	return bpf_map_lookup_elem(pf->fd[4], &key, &value) ? BN_IDENTITY_WORLD : value.identity;
}

static inline uint32_t pf_verdict(const struct pf *pf, uint32_t table, uint32_t identity,
				  uint32_t key)
{
	struct bn_policy_table t;
	struct bn_policy_page p;
	struct bn_policy_line *lines;
	uint32_t page, run, verdict;

	if (table == BN_POLICY_OPEN)
		return BN_VERDICT_ALLOW;
	if (bpf_map_lookup_elem(pf->fd[0], &table, &t))
		return 0;
	page = t.page[identity / BN_POLICY_PAGE];
	if (bpf_map_lookup_elem(pf->fd[1], &page, &p))
		return 0;
	run = p.run[identity % BN_POLICY_PAGE];
	if (!run)
		return 0;
	lines = calloc(bn_policy_run_lines(run), sizeof(*lines));
	assert_non_null(lines);
	for (uint32_t i = 0; i < bn_policy_run_lines(run); i++) {
		uint32_t n = bn_policy_run_first(run) + i;

		assert_int_equal(bpf_map_lookup_elem(pf->fd[2], &n, &lines[i]), 0);
	}
	verdict = run_verdict(lines, run, key);
	free(lines);
	return verdict;
}

/* ---- the plain evaluator ---- */

static inline bool pf_selects(const struct bn_selector *s, const struct bn_label *labels, size_t n,
			      const char *namespace)
{
	for (size_t i = 0; i < s->n; i++) {
		const struct bn_requirement *r = &s->requirements[i];
		const char *value = NULL;
		bool in = false;

		for (size_t k = 0; k < n; k++) {
			if (!strcmp(labels[k].key, r->key))
				value = labels[k].value;
		}
		if (namespace && !strcmp(r->key, "kubernetes.io/metadata.name"))
			value = namespace;
		for (size_t k = 0; value && k < r->n_values; k++)
			in |= !strcmp(value, r->values[k]);
		if ((r->op == BN_IN && !in) || (r->op == BN_NOT_IN && in) ||
		    (r->op == BN_EXISTS && !value) || (r->op == BN_DOES_NOT_EXIST && value))
			return false;
	}
	return true;
}

static inline bool pf_is_peer(const struct pf_model *m, const struct pf_policy *policy,
			      const struct bn_policy_peer *peer, const struct pf_pod *pod,
			      const union bn_addr *addr)
{
	if (peer->is_block) {
		if (!bn_cidr_contains(&peer->block, addr))
			return false;
		for (size_t i = 0; i < peer->n_except; i++) {
			if (bn_cidr_contains(&peer->except[i], addr))
				return false;
		}
		return true;
	}
	for (int i = 0; peer->nodes && i < PF_NODES; i++) {
		union bn_addr node = pf_node(i);

		if (bn_addr_equal(&node, addr))
			return pf_selects(peer->nodes, m->nodes[i].labels, m->nodes[i].n_labels,
					  NULL);
	}
	if (!pod || peer->nodes)
		return false;
	if (!peer->namespaces && pod->namespace != policy->namespace)
		return false;
	if (peer->namespaces &&
	    !pf_selects(peer->namespaces, m->namespaces[pod->namespace].labels,
			m->namespaces[pod->namespace].n_labels, pf_namespace_names[pod->namespace]))
		return false;
	return !peer->pods || pf_selects(peer->pods, pod->labels, pod->n_labels, NULL);
}

static inline bool pf_is_port(const struct bn_policy_rule *rule, const struct pf_pod *destination,
			      uint8_t protocol, uint16_t port)
{
	for (size_t i = 0; i < rule->n_ports; i++) {
		const struct bn_policy_port *p = &rule->ports[i];

		if (p->protocol && p->protocol != protocol)
			continue;
		if (!p->name && (!p->port || (port >= p->port && port <= p->end)))
			return true;
		for (size_t k = 0; p->name && destination && k < destination->n_ports; k++) {
			if (destination->ports[k].protocol == protocol &&
			    destination->ports[k].port == port &&
			    !strcmp(destination->ports[k].name, p->name))
				return true;
		}
	}
	return !rule->n_ports;
}

/* What is asked of one end. */
struct pf_question {
	const struct pf_model *m;
	const struct pf_pod *subject;
	int direction;
	const struct pf_pod *peer; /* NULL: an address */
	const union bn_addr *addr;
	uint8_t protocol;
	uint16_t port;
};

static inline bool pf_covers(const struct pf_question *q, const struct pf_policy *policy,
			     const struct bn_policy_rule *rule)
{
	bool peers = !rule->n_peers;

	for (size_t n = 0; n < rule->n_peers && !peers; n++)
		peers = pf_is_peer(q->m, policy, &rule->peers[n], q->peer, q->addr);
	return peers && pf_is_port(rule, q->direction == BN_POLICY_EGRESS ? q->peer : q->subject,
				   q->protocol, q->port);
}

/* The ClusterNetworkPolicy of a tier that comes after `last`, NULL: none. */
static inline const struct pf_policy *pf_next(const struct pf_model *m, int tier,
					      const struct pf_policy *last)
{
	const struct pf_policy *best = NULL;

	/* of equal priority the first by name, and names sort as the array does */
	for (int i = PF_POLICIES; i < PF_ALL; i++) {
		const struct pf_policy *p = &m->policies[i];
		int after = last ? p->spec.priority - last->spec.priority : 1;

		if (!p->exists || p->spec.tier != tier || after < 0 || (!after && p <= last))
			continue;
		if (!best || p->spec.priority < best->spec.priority)
			best = p;
	}
	return best;
}

/* BN_ACTION_PASS: the tier decides nothing. */
static inline int pf_tier(const struct pf_question *q, int tier,
			  const struct pf_policy **ret_policy, int *ret_rule)
{
	const struct pf_pod *s = q->subject;
	const struct pf_policy *p = NULL;

	while ((p = pf_next(q->m, tier, p))) {
		if (!pf_selects(&p->spec.pods, s->labels, s->n_labels, NULL) ||
		    !pf_selects(&p->spec.namespaces, q->m->namespaces[s->namespace].labels,
				q->m->namespaces[s->namespace].n_labels,
				pf_namespace_names[s->namespace]))
			continue;
		for (size_t k = 0; k < p->spec.n_rules[q->direction]; k++) {
			const struct bn_policy_rule *rule = &p->spec.rules[q->direction][k];

			if (!pf_covers(q, p, rule))
				continue;
			*ret_policy = p;
			*ret_rule = (int)k;
			return rule->action;
		}
	}
	return BN_ACTION_PASS;
}

/*
 * Whether policy of one end allows; *ret_policy and *ret_rule say by what, in NetworkPolicy the first
 * by name and index, or rule -1 of the first policy that selects. NULL: no policy decides.
 */
static inline bool pf_allows(const struct pf_question *q, const struct pf_policy **ret_policy,
			     int *ret_rule)
{
	const struct pf_pod *subject = q->subject;
	const struct pf_policy *first = NULL;
	int direction = q->direction, action = pf_tier(q, BN_TIER_ADMIN, ret_policy, ret_rule);

	if (action != BN_ACTION_PASS)
		return action == BN_ACTION_ACCEPT;
	*ret_policy = NULL;
	/* names sort as the array does */
	for (int i = 0; i < PF_POLICIES; i++) {
		const struct pf_policy *policy = &q->m->policies[i];

		if (!policy->exists || policy->namespace != subject->namespace ||
		    !policy->spec.selects[direction] ||
		    !pf_selects(&policy->spec.pods, subject->labels, subject->n_labels, NULL))
			continue;
		if (!first)
			first = policy;
		for (size_t k = 0; k < policy->spec.n_rules[direction]; k++) {
			if (!pf_covers(q, policy, &policy->spec.rules[direction][k]))
				continue;
			*ret_policy = policy;
			*ret_rule = (int)k;
			return true;
		}
	}
	*ret_policy = first;
	*ret_rule = -1;
	if (first)
		return false;
	action = pf_tier(q, BN_TIER_BASELINE, ret_policy, ret_rule);
	if (action == BN_ACTION_PASS)
		*ret_policy = NULL;
	return action != BN_ACTION_DENY;
}

/* ---- changes ---- */

static inline void pf_bind(struct pf_model *m)
{
	for (int i = 0; i < PF_ALL; i++) {
		struct pf_policy *p = &m->policies[i];

		p->spec.namespace = i < PF_POLICIES ? pf_namespace_names[p->namespace] : "";
		p->spec.name = p->name;
	}
}

static inline struct bn_pod_spec pf_pod_spec(const struct pf_pod *pod)
{
	return (struct bn_pod_spec){
		.namespace = pf_namespace_names[pod->namespace],
		.name = pod->name,
		.labels = pod->labels,
		.n_labels = pod->n_labels,
		.ports = pod->ports,
		.n_ports = pod->n_ports,
		.ips = pod->ips,
		.n_ips = pod->n_ips,
		.local = pod->local,
	};
}

/*
 * Puts pf->next into force, everything in one change; where that succeeds the two trade places.
 */
static inline int pf_change(struct pf *pf, struct bn_error *err)
{
	static struct bn_policy_spec policies[PF_ALL], gone[PF_ALL];
	static struct bn_pod_spec pods[PF_PODS], removed[PF_PODS];
	static struct bn_namespace_spec namespaces[PF_NAMESPACES];
	static struct bn_peer_spec peers[PF_NODES];
	static struct bn_node_spec nodes[PF_NODES];
	static union bn_addr addrs[PF_NODES];
	struct bn_change c = {
		.policies = policies,
		.policies_removed = gone,
		.pods = pods,
		.pods_removed = removed,
		.namespaces = namespaces,
		.n_namespaces = PF_NAMESPACES,
		.peers = peers,
		.n_peers = PF_NODES,
		.nodes = nodes,
		.n_nodes = PF_NODES,
	};
	int r;

	pf->turned = false;
	pf_bind(pf->next);
	/* what did not change is told too: a commit must make nothing of it */
	for (int i = 0; i < PF_ALL; i++) {
		const struct pf_policy *was = &pf->now->policies[i], *is = &pf->next->policies[i];

		if (is->exists)
			policies[c.n_policies++] = is->spec;
		if (was->exists && (!is->exists || was->namespace != is->namespace))
			gone[c.n_policies_removed++] = was->spec;
	}
	for (int i = 0; i < PF_PODS; i++) {
		if (pf->next->pods[i].exists)
			pods[c.n_pods++] = pf_pod_spec(&pf->next->pods[i]);
		else if (pf->now->pods[i].exists)
			removed[c.n_pods_removed++] = pf_pod_spec(&pf->now->pods[i]);
	}
	for (int i = 0; i < PF_NAMESPACES; i++)
		namespaces[i] = (struct bn_namespace_spec){pf_namespace_names[i],
							   pf->next->namespaces[i].labels,
							   pf->next->namespaces[i].n_labels};
	for (int i = 0; i < PF_NODES; i++) {
		addrs[i] = pf_node(i);
		peers[i] = (struct bn_peer_spec){.addr = addrs[i], .kind = BN_ADDR_REMOTE_NODE};
		nodes[i] = (struct bn_node_spec){.labels = pf->next->nodes[i].labels,
						 .n_labels = pf->next->nodes[i].n_labels,
						 .ips = &addrs[i],
						 .n_ips = 1};
	}
	if (pf->only_policies)
		c.n_pods = c.n_pods_removed = c.n_namespaces = c.n_peers = c.n_nodes = 0;
	if (pf->abort_first) {
		r = bn_policy_prepare(pf->policy, &c, err);
		bn_policy_abort(pf->policy);
		if (r)
			return r;
	}
	r = bn_policy_prepare(pf->policy, &c, err);
	if (r)
		return r;
	for (int i = 0; i < PF_NODES; i++)
		pf->maps.nodes[i] = bn_policy_identity(pf->policy, NULL, NULL, &addrs[i]);
	r = bn_policy_commit(pf->policy, err);
	for (int i = 0; i < PF_NODES && r; i++)
		pf->maps.nodes[i] = bn_policy_identity(pf->policy, NULL, NULL, &addrs[i]);
	for (int i = 0; i < PF_PODS; i++) {
		const struct pf_pod *pod = r ? &pf->now->pods[i] : &pf->next->pods[i];

		if (!pod->exists || !pod->local)
			pf->maps.published[i] = false;
	}
	if (!r) {
		struct pf_model *was = pf->now;

		pf->now = pf->next;
		pf->next = was;
	}
	return r;
}
