// SPDX-License-Identifier: Apache-2.0
/* The end of a change: it takes effect, or it is let go of. */
#include "policy/internal.h"

#include "datapath/wanted.h"

#include <bpfnet/limits.h>
#include <stdlib.h>
#include <string.h>

/* What policies mention for the first time goes on being new after an abort: it stays mentioned. */
static void settle_flags(struct bn_policy *p)
{
	for (struct peers *s = p->peers; s; s = s->hh.next)
		s->fresh = s->changed = false;
	for (size_t i = 0; i < p->n_fresh; i++) {
		if (p->identities[p->fresh[i]])
			p->identities[p->fresh[i]]->fresh = false;
	}
	p->n_fresh = 0;
	p->blocks_new = p->prepared = false;
}

void bn_policy_abort(struct bn_policy *p)
{
	struct namespace *ns, *next_ns;
	struct node_address *node, *next_node;
	bool changed, gone = p->blocks_gone;
	struct peers *s;
	struct pod *pod;

	if (!p->prepared)
		return;
	while ((pod = LIST_FIRST(&p->staged))) {
		LIST_REMOVE(pod, entry);
		state_done(p, &pod->next);
		pod->staged = pod->told = false;
		if (!pod->now.exists)
			pod_forget(p, pod);
	}
	HASH_ITER(hh, p->nodes, node, next_node) {
		identity_put(p, node->next);
		node->next = 0;
		node->staged = false;
	}
	if (p->prefixes_staged)
		prefixes_done(p, &p->next_prefixes);
	p->prefixes_staged = false;
	HASH_ITER(hh, p->namespaces, ns, next_ns)
		ns->staged = false;
	/* bits that namespaces' labels changed are what they were; tables made of them are stale */
	for (s = p->peers; s; s = s->hh.next) {
		for (uint32_t i = BN_IDENTITY_FIRST; s->changed && i < p->n_identities; i++) {
			if (p->identities[i])
				peers_look(p, s, p->identities[i], &changed);
		}
	}
	policies_settle(p, true);
	bn_space_release(p->space);
	p->blocks_gone = gone; /* blocks that came and go with this change told nothing apart */
	settle_flags(p);
}

static struct bn_range_key range_of(const struct bn_cidr *cidr)
{
	struct bn_range_key key = {.prefixlen = cidr->prefix + (cidr->family == BN_IPV4 ? 96u : 0)};

	memcpy(key.addr, &cidr->addr, sizeof(key.addr));
	return key;
}

static int put_prefixes(struct bn_policy *p, const struct prefixes *all)
{
	int r = 0;

	for (size_t i = 0; i < all->n && !r; i++) {
		struct bn_policy_cidr value = {.identity = all->list[i].identity};
		struct bn_range_key key = range_of(&all->list[i].cidr);

		r = bn_wanted_set(&p->cidrs, &key, &value);
	}
	return r;
}

static void remove_prefixes(struct bn_policy *p, const struct prefixes *from,
			    const struct prefixes *but)
{
	const struct bn_cidr *cidr;
	size_t at = 0, at_but = 0;

	while ((cidr = prefixes_next(from, but, &at, &at_but))) {
		struct bn_range_key key = range_of(cidr);

		bn_wanted_remove(&p->cidrs, &key);
	}
}

static bool same_decisions(const struct pod_state *a, const struct pod_state *b)
{
	if (a->exists != b->exists || a->local != b->local || a->n_ips != b->n_ips ||
	    a->audited != b->audited)
		return false;
	for (int d = 0; d < BN_POLICY_DIRECTIONS; d++) {
		if (a->tables[d] != b->tables[d] || a->closed[d] != b->closed[d])
			return false;
	}
	for (size_t i = 0; i < a->n_ips; i++) {
		if (!bn_addr_equal(&a->ips[i], &b->ips[i]) || a->identities[i] != b->identities[i])
			return false;
	}
	return true;
}

static int tell_pod(struct bn_policy *p, struct pod *pod, struct bn_error *err)
{
	const struct pod_state *state = &pod->next;
	int r = 0;

	if (!state->exists || same_decisions(&pod->now, state))
		return 0;
	pod->told = true;
	if (state->local)
		return p->config.endpoint(p->config.user, pod->namespace, pod->name, err);
	for (size_t i = 0; i < state->n_ips && !r; i++)
		r = p->config.address(p->config.user, &state->ips[i], state->identities[i], err);
	return r;
}

/* Everybody whose identity or tables change, of what is to come. */
static int tell(struct bn_policy *p, struct bn_error *err)
{
	struct node_address *node, *next_node;
	struct pod *pod;
	int r = 0;

	HASH_ITER(hh, p->nodes, node, next_node) {
		if (!r && node->next && node->now && node->next != node->now)
			r = p->config.address(p->config.user, &node->addr, node->next, err);
	}
	LIST_FOREACH(pod, &p->staged, entry) {
		if (!r)
			r = tell_pod(p, pod, err);
	}
	return r;
}

/*
 * One change for everybody: who sends and who receives are asked by the same policies and known by
 * the same labels, those of before or those of now.
 */
static int tell_all(struct bn_policy *p, struct bn_error *err)
{
	int r;

	p->config.stage(p->config.user);
	r = tell(p, err);
	p->config.turn(p->config.user, !r);
	return r ? r : tell(p, err);
}

static void take_over(struct bn_policy *p)
{
	struct namespace *ns, *next_ns;
	struct node_address *node, *next_node;
	struct pod *pod;

	while ((pod = LIST_FIRST(&p->staged))) {
		LIST_REMOVE(pod, entry);
		state_done(p, &pod->now);
		pod->now = pod->next;
		memset(&pod->next, 0, sizeof(pod->next));
		pod->staged = pod->told = false;
		if (!pod->now.exists)
			pod_forget(p, pod);
	}
	HASH_ITER(hh, p->nodes, node, next_node) {
		if (node->staged) {
			node->labels = node->next_labels;
			node->n_labels = node->n_next_labels;
			node->staged = false;
		}
		if (!node->next)
			continue;
		identity_put(p, node->now);
		node->now = node->next;
		node->next = 0;
	}
	HASH_ITER(hh, p->namespaces, ns, next_ns) {
		if (!ns->staged)
			continue;
		ns->labels = ns->next_labels;
		ns->n_labels = ns->n_next_labels;
		ns->audit = ns->next_audit;
		ns->staged = false;
	}
	if (p->prefixes_staged) {
		remove_prefixes(p, &p->prefixes, &p->next_prefixes);
		prefixes_done(p, &p->prefixes);
		p->prefixes = p->next_prefixes;
		memset(&p->next_prefixes, 0, sizeof(p->next_prefixes));
		p->prefixes_staged = false;
	}
	policies_settle(p, false);
	settle_flags(p);
	p->keys_new = p->ports_new = false;
}

/* Who was told of a change is told again what was, and CIDRs mean what they meant. */
static void go_back(struct bn_policy *p)
{
	struct bn_error ignored = BN_ERROR_INIT;
	struct node_address *node, *next_node;
	struct pod *pod;

	p->going_back = true;
	LIST_FOREACH(pod, &p->staged, entry) {
		const struct pod_state *was = &pod->now;
		int r = 0;

		if (!pod->told || !was->exists)
			continue;
		if (was->local)
			r = p->config.endpoint(p->config.user, pod->namespace, pod->name, &ignored);
		for (size_t i = 0; !was->local && i < was->n_ips && !r; i++)
			r = p->config.address(p->config.user, &was->ips[i], was->identities[i],
					      &ignored);
		/* the maps may go on naming what it was told: that is never given to another */
		if (r)
			memset(&pod->next, 0, sizeof(pod->next));
	}
	HASH_ITER(hh, p->nodes, node, next_node) {
		if (node->next && node->now && node->next != node->now)
			(void)p->config.address(p->config.user, &node->addr, node->now, &ignored);
	}
	if (p->prefixes_staged && p->started) {
		(void)put_prefixes(p, &p->prefixes);
		remove_prefixes(p, &p->next_prefixes, &p->prefixes);
	}
	p->going_back = false;
	bn_error_done(&ignored);
}

static int enforce(struct bn_policy *p, struct bn_error *err)
{
	int r = p->prefixes_staged ? put_prefixes(p, &p->next_prefixes) : 0;

	if (r)
		bn_error_set(err, r, "can't write the policies' CIDRs: %s", strerror(-r));
	else
		r = tell_all(p, err);
	if (r) {
		go_back(p);
		bn_policy_abort(p);
		return r;
	}
	take_over(p);
	return 0;
}

void numbers_turn(struct bn_policy *p)
{
	bn_space_turn(p->space);
	bn_registry_turn(p->identity_numbers);
	bn_registry_turn(p->rule_numbers);
}

/*
 * What is closed opens as soon as there is room, such as that which the change has freed; until then
 * it has a reason, which is by how much it does not fit.
 */
static void open_closed(struct bn_policy *p)
{
	static const struct bn_change nothing;
	struct bn_error why = BN_ERROR_INIT, ignored = BN_ERROR_INIT;

	if (bn_policy_problem(p) && numbers_rested(p) && !prepare_change(p, &nothing, &ignored))
		(void)enforce(p, &ignored);
	bn_error_done(&ignored);
	if (bn_policy_problem(p)) {
		policy_measure(p, &nothing, &why);
		if (!why.text)
			return;
	}
	free(p->problem);
	p->problem = why.text;
}

static int commit(struct bn_policy *p, struct bn_error *err)
{
	static const struct bn_change nothing;
	struct bn_error ignored = BN_ERROR_INIT;
	int r;

	if (!p->prepared)
		return 0;
	/* what the change before this one freed has rested */
	numbers_turn(p);
	r = enforce(p, err);
	if (r)
		return r;
	if (!p->started) {
		bn_space_settle(p->space);
		bn_wanted_prune(&p->cidrs);
		p->started = true;
	}
	open_closed(p);
	if (!p->blocks_gone)
		return 0;
	/*
	 * No table knows the blocks that went: what they told apart is one again. Where there is no
	 * room for that beside what is in force, the next change tries again: it's no error of this.
	 */
	p->blocks_gone = false;
	p->blocks_new = true;
	if (bn_policy_prepare(p, &nothing, &ignored) || enforce(p, &ignored))
		p->blocks_gone = true;
	bn_error_done(&ignored);
	return 0;
}

int bn_policy_commit(struct bn_policy *p, struct bn_error *err)
{
	int r = commit(p, err);

	bn_space_release(p->space);
	return r;
}
