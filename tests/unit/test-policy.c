// SPDX-License-Identifier: Apache-2.0
/*
 * Policies from the model to the maps: models drawn at random, compiled and compared with the plain
 * evaluator, after every change and at every moment of one.
 */
#include "unit/policy-fixture.h"

#include <stdio.h>

/* ---- drawing models ---- */

static uint64_t seed;

static uint32_t draw(uint32_t n)
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return (uint32_t)((seed >> 11) % n);
}

static const char *const keys[] = {"app", "tier", "env"};
static const char *const values[] = {"a", "b", "c"};
static const char *const rule_names[] = {"first", "second", "third"};
static const char *const port_names[] = {"http", "dns", "metrics"};
static const uint8_t protocols[] = {IPPROTO_TCP, IPPROTO_UDP, IPPROTO_SCTP};
static const uint16_t ports[] = {53, 80, 81, 8080, 65535};

static const struct bn_selector *draw_selector(struct pf_policy *p)
{
	struct bn_selector *s = &p->selectors[p->n_selectors];
	struct bn_requirement *r = p->requirements[p->n_selectors++];

	s->requirements = r;
	s->n = draw(3);
	for (size_t i = 0; i < s->n; i++) {
		r[i].op = (uint8_t)draw(4);
		r[i].key = keys[draw(3)];
		r[i].n_values = r[i].op <= BN_NOT_IN ? (uint16_t)(1 + draw(2)) : 0;
		r[i].values = &values[draw(2)];
	}
	return s;
}

static void draw_block(struct bn_policy_peer *peer, struct bn_cidr *except)
{
	static const char *const blocks[] = {"10.0.0.0/8",    "0.0.0.0/0",    "10.1.0.0/16",
					     "192.0.2.0/24",  "fd00::/8",     "::/0",
					     "2001:db8::/32", "172.31.0.0/16"};
	static const char *const exceptions[][2] = {
		{"10.1.0.0/30", "10.1.0.8/29"},         {"192.0.2.0/24", "10.0.0.0/8"},
		{"10.1.0.4/30", "10.1.0.4/31"},         {"192.0.2.128/25", "192.0.2.1/32"},
		{"fd00::/126", "fd00::8/125"},          {"fd00::/8", "2001:db8:1::/48"},
		{"2001:db8:1::/48", "2001:db8::1/128"}, {"172.31.0.2/32", "172.31.0.0/24"}};
	uint32_t i = draw(8);

	peer->is_block = true;
	assert_int_equal(bn_cidr_parse(blocks[i], &peer->block), 0);
	peer->n_except = draw(3);
	peer->except = except;
	for (size_t k = 0; k < peer->n_except; k++)
		assert_int_equal(bn_cidr_parse(exceptions[i][k], &except[k]), 0);
}

static void draw_rule(struct pf_policy *p, int d, int k)
{
	struct bn_policy_rule *rule = &p->rules[d][k];

	rule->n_peers = draw(PF_PEERS + 1);
	rule->peers = p->peers[d][k];
	for (size_t i = 0; i < rule->n_peers; i++) {
		struct bn_policy_peer *peer = &p->peers[d][k][i];
		uint32_t what = draw(4);

		*peer = (struct bn_policy_peer){0};
		if (!what)
			draw_block(peer, p->except[d][k][i]);
		if (what == 1 || what == 3)
			peer->pods = draw_selector(p);
		if (what == 2 || what == 3)
			peer->namespaces = draw_selector(p);
	}
	rule->n_ports = draw(4);
	rule->ports = p->ports[d][k];
	for (size_t i = 0; i < rule->n_ports; i++) {
		struct bn_policy_port *port = &p->ports[d][k][i];

		*port = (struct bn_policy_port){.protocol = protocols[draw(3)]};
		if (draw(4) == 0)
			port->name = port_names[draw(3)];
		else if (draw(4))
			port->port = port->end = ports[draw(5)];
		if (port->port && draw(3) == 0)
			port->end = ports[draw(5)] > port->port ? 65535 : port->port;
	}
}

/* What the parser makes of a ClusterNetworkPolicy's rule. */
static void draw_cluster_rule(struct pf_policy *p, int d, int k)
{
	struct bn_policy_rule *rule = &p->rules[d][k];

	draw_rule(p, d, k);
	rule->action = (uint8_t)draw(3);
	rule->name = draw(2) ? rule_names[k] : NULL;
	for (size_t i = 0; i < rule->n_peers; i++) {
		struct bn_policy_peer *peer = &p->peers[d][k][i];

		if (peer->is_block)
			continue;
		if (!draw(4))
			*peer = (struct bn_policy_peer){.nodes = draw_selector(p)};
		else if (!peer->namespaces)
			peer->namespaces = draw_selector(p);
	}
	for (size_t i = 0; i < rule->n_ports; i++) {
		if (p->ports[d][k][i].name)
			p->ports[d][k][i].protocol = 0;
	}
}

static void draw_policy(struct pf_policy *p, int i)
{
	bool cluster = i >= PF_POLICIES;

	memset(p, 0, sizeof(*p));
	p->exists = draw(4);
	/* in the order of the array */
	snprintf(p->name, sizeof(p->name), "%c%c", cluster ? 'c' : 'p', 'a' + i);
	p->namespace = cluster ? 0 : (int)draw(PF_NAMESPACES);
	p->spec.pods = *draw_selector(p);
	if (cluster) {
		p->spec.namespaces = *draw_selector(p);
		p->spec.tier = draw(2) ? BN_TIER_ADMIN : BN_TIER_BASELINE;
		p->spec.priority = (uint16_t)draw(3);
	}
	for (int d = 0; d < BN_POLICY_DIRECTIONS; d++) {
		p->spec.n_rules[d] = draw(PF_RULES + 1);
		p->spec.selects[d] = cluster ? p->spec.n_rules[d] : draw(3);
		p->spec.rules[d] = p->rules[d];
		for (size_t k = 0; k < p->spec.n_rules[d]; k++)
			cluster ? draw_cluster_rule(p, d, (int)k) : draw_rule(p, d, (int)k);
	}
}

static void draw_labels(struct bn_label *labels, size_t *n, size_t most)
{
	*n = 0;
	for (size_t i = 0; i < most; i++) {
		if (draw(3))
			labels[(*n)++] = (struct bn_label){keys[i], values[draw(3)]};
	}
}

static void draw_pod(struct pf_pod *pod, int i)
{
	char text[32];

	memset(pod, 0, sizeof(*pod));
	snprintf(pod->name, sizeof(pod->name), "pod%d", i);
	pod->exists = draw(8);
	pod->namespace = i % PF_NAMESPACES;
	pod->local = i < PF_PODS / 2;
	draw_labels(pod->labels, &pod->n_labels, 3);
	for (uint32_t k = 0; k < 3; k++) {
		if (draw(2))
			pod->ports[pod->n_ports++] = (struct bn_pod_port){
				port_names[k], ports[draw(5)], protocols[draw(3)]};
	}
	snprintf(text, sizeof(text), "10.1.0.%d", i + 1);
	pod->ips[pod->n_ips++] = pf_addr(text);
	snprintf(text, sizeof(text), "fd00::%d", i + 1);
	pod->ips[pod->n_ips++] = pf_addr(text);
}

/* Specs point into their model, so what is kept is moved over, pointers and all. */
static void move_policy(struct pf_policy *to, const struct pf_policy *from)
{
	const char *a = (const char *)from, *b = (const char *)to;

#define MOVE(p) \
	do { \
		if (p) \
			(p) = (void *)(b + ((const char *)(p) - a)); \
	} while (0)
	*to = *from;
	MOVE(to->spec.pods.requirements);
	MOVE(to->spec.namespaces.requirements);
	for (size_t i = 0; i < to->n_selectors; i++)
		MOVE(to->selectors[i].requirements);
	for (int d = 0; d < BN_POLICY_DIRECTIONS; d++) {
		MOVE(to->spec.rules[d]);
		for (size_t k = 0; k < to->spec.n_rules[d]; k++) {
			MOVE(to->rules[d][k].peers);
			MOVE(to->rules[d][k].ports);
			for (size_t n = 0; n < to->rules[d][k].n_peers; n++) {
				MOVE(to->peers[d][k][n].pods);
				MOVE(to->peers[d][k][n].namespaces);
				MOVE(to->peers[d][k][n].nodes);
				MOVE(to->peers[d][k][n].except);
			}
		}
	}
#undef MOVE
}

static void move_model(struct pf_model *to, const struct pf_model *from)
{
	*to = *from;
	for (int i = 0; i < PF_ALL; i++)
		move_policy(&to->policies[i], &from->policies[i]);
	pf_bind(to);
}

/* Policies, a pod, a namespace, a node, or all of these in one change. */
static void draw_change(struct pf *pf)
{
	struct pf_model *m = pf->next;
	uint32_t n = 1 + draw(3), all = draw(4), i;

	pf->only_policies = false;
	pf->abort_first = !draw(4);
	for (uint32_t what = all ? draw(5) : 0; what < 5; what += all ? 5 : 1) {
		switch (what) {
		case 0:
		case 1:
			pf->only_policies = all && draw(2);
			while (n) {
				i = draw(PF_ALL);
				draw_policy(&m->policies[i], (int)i);
				n--;
			}
			break;
		case 2:
			i = draw(PF_PODS);
			draw_pod(&m->pods[i], (int)i);
			break;
		case 3:
			i = draw(PF_NAMESPACES);
			draw_labels(m->namespaces[i].labels, &m->namespaces[i].n_labels, 2);
			break;
		case 4:
			i = draw(PF_NODES);
			draw_labels(m->nodes[i].labels, &m->nodes[i].n_labels, 2);
			break;
		}
	}
}

/* ---- comparing ---- */

struct other {
	const struct pf_pod *pod; /* NULL: an address */
	union bn_addr addr;
	uint32_t identity;
};

static uint32_t key_of(uint8_t protocol, uint16_t port)
{
	return bn_policy_key(protocol == IPPROTO_TCP   ? BN_POLICY_TCP
			     : protocol == IPPROTO_UDP ? BN_POLICY_UDP
						       : BN_POLICY_SCTP,
			     port);
}

static bool same_rule(const struct pf *pf, uint32_t verdict, const struct pf_policy *policy,
		      int direction, int rule)
{
	struct bn_policy_rule_name name;
	char want[40];

	const char *own;

	if (bn_policy_rule_name(pf->policy, verdict, &name))
		return false;
	snprintf(want, sizeof(want), "%s%s%s", policy->spec.namespace,
		 *policy->spec.namespace ? "/" : "", policy->name);
	own = rule < 0 ? NULL : policy->rules[direction][rule].name;
	return !strcmp(name.policy, want) && name.direction == direction && name.index == rule &&
	       !own == !name.rule && (!own || !strcmp(own, name.rule)) &&
	       !strcmp(pf->rules[verdict & BN_VERDICT_RULE], own ? own : "-");
}

/* What the maps say is what the model means; at rest it also names the rule. */
static void compare(struct pf *pf, const struct pf_model *m, bool amid, int i, int d,
		    const struct other *o)
{
	const struct bn_policy_endpoint *e = &pf->maps.endpoints[i];
	uint32_t table = d == BN_POLICY_EGRESS ? e->egress : e->ingress;

	for (size_t p = 0; p < 3; p++) {
		for (size_t k = 0; k < 5; k++) {
			uint32_t verdict =
				pf_verdict(pf, table, o->identity, key_of(protocols[p], ports[k]));
			const struct pf_policy *policy;
			int rule;
			const struct pf_question question = {
				m, &m->pods[i], d, o->pod, &o->addr, protocols[p], ports[k]};
			bool allowed = pf_allows(&question, &policy, &rule);

			if (!!(verdict & BN_VERDICT_ALLOW) != allowed)
				fail_msg("%s %s, peer %s id %u, protocol %u port %u: not %s%s",
					 m->pods[i].name, d ? "ingress" : "egress",
					 o->pod ? o->pod->name : "address", o->identity,
					 protocols[p], ports[k], allowed ? "allowed" : "denied",
					 !amid           ? ""
					 : m == pf->next ? ", behind the turn"
							 : ", before the turn");
			if (amid)
				continue;
			if (!policy && verdict != BN_VERDICT_ALLOW)
				fail_msg("%s: a rule decides where none does", m->pods[i].name);
			if (policy && !same_rule(pf, verdict, policy, d, rule))
				fail_msg("%s %s, peer %s id %u, protocol %u port %u: %#x is not "
					 "%s/%s/%d",
					 m->pods[i].name, d ? "ingress" : "egress",
					 o->pod ? o->pod->name : "address", o->identity,
					 protocols[p], ports[k], verdict, policy->spec.namespace,
					 policy->name, rule);
		}
	}
}

static void compare_all(struct pf *pf, const struct pf_model *m, bool amid)
{
	for (int i = 0; i < PF_PODS; i++) {
		/* one that comes or goes has no traffic yet, or none any more */
		if (!m->pods[i].exists || !m->pods[i].local || !pf->maps.published[i] ||
		    (amid && (!pf->now->pods[i].exists || !pf->next->pods[i].exists)))
			continue;
		for (int d = 0; d < BN_POLICY_DIRECTIONS; d++) {
			struct other o;

			for (int k = 0; k < PF_PODS; k++) {
				if (k == i || !m->pods[k].exists ||
				    (amid &&
				     (!pf->now->pods[k].exists || !pf->next->pods[k].exists)))
					continue;
				for (size_t a = 0; a < 2; a++) {
					o = (struct other){&m->pods[k], m->pods[k].ips[a],
							   pf->maps.identity[k][a]};
					compare(pf, m, amid, i, d, &o);
				}
			}
			for (int k = 0; k < PF_WORLD; k++) {
				o = (struct other){.addr = pf_world(k)};
				o.identity = pf_cidr_identity(pf, &o.addr);
				compare(pf, m, amid, i, d, &o);
			}
			for (int k = 0; k < PF_NODES; k++) {
				o = (struct other){.addr = pf_node(k),
						   .identity = pf->maps.nodes[k]};
				compare(pf, m, amid, i, d, &o);
			}
		}
	}
}

/* Each end by itself means all of the old until the turn, and all of the new from then on. */
static void compare_amid(struct pf *pf)
{
	if (pf->n_told % 3) /* each takes some ten thousand look-ups */
		return;
	compare_all(pf, pf->turned ? pf->next : pf->now, true);
}

static void begin(struct pf *pf)
{
	for (int i = 0; i < PF_PODS; i++)
		draw_pod(&pf->next->pods[i], i);
	for (int i = 0; i < PF_ALL; i++)
		draw_policy(&pf->next->policies[i], i);
	for (int i = 0; i < PF_NAMESPACES; i++)
		draw_labels(pf->next->namespaces[i].labels, &pf->next->namespaces[i].n_labels, 2);
	for (int i = 0; i < PF_NODES; i++)
		draw_labels(pf->next->nodes[i].labels, &pf->next->nodes[i].n_labels, 2);
}

static void change(struct pf *pf)
{
	struct bn_error err = BN_ERROR_INIT;

	if (pf_change(pf, &err))
		fail_msg("%s", bn_error_text(&err));
	compare_all(pf, pf->now, false);
}

#define ROUNDS 12
#define CHANGES 12

static void test_random(void **state)
{
	static struct pf pf;

	for (uint64_t round = 1; round <= ROUNDS; round++) {
		seed = round * 0x9e3779b97f4a7c15ull;
		pf_setup(&pf, 64, 512, 4096);
		begin(&pf);
		change(&pf);
		for (int i = 0; i < CHANGES; i++) {
			move_model(pf.next, pf.now);
			draw_change(&pf);
			pf.told = compare_amid;
			change(&pf);
			pf.told = NULL;
		}
		pf_teardown(&pf);
	}
}

/* Where an endpoint or address can't be told, those that were are told back. */
static void test_failed(void **state)
{
	static struct pf pf;
	int failed = 0;

	for (uint64_t round = 1; round <= 6; round++) {
		seed = round * 0x9e3779b97f4a7c15ull;
		pf_setup(&pf, 64, 512, 4096);
		begin(&pf);
		change(&pf);
		for (int i = 0; i < CHANGES; i++) {
			struct bn_error err = BN_ERROR_INIT;

			move_model(pf.next, pf.now);
			draw_change(&pf);
			pf.fail_at = 1 + (int)draw(4);
			failed += pf_change(&pf, &err) != 0;
			pf.fail_at = 0;
			bn_error_done(&err);
			compare_all(&pf, pf.now, false);
			move_model(pf.next, pf.now);
			pf.only_policies = pf.abort_first = false;
			change(&pf);
		}
		pf_teardown(&pf);
	}
	assert_true(failed > 5);
}

/* Tables with the same content may stand for one another. */
static uint16_t same_table(const struct pf *pf, uint16_t is, uint16_t was)
{
	struct bn_policy_table a, b;
	uint32_t i = is, k = was;

	if (is == was || bpf_map_lookup_elem(pf->fd[0], &i, &a) ||
	    bpf_map_lookup_elem(pf->fd[0], &k, &b))
		return is;
	return memcmp(&a, &b, sizeof(a)) ? is : was;
}

/* A restart that wants the same finds it, and changes no number of a table or an identity. */
static void test_restart(void **state)
{
	static struct pf pf;
	struct pf_maps before;

	for (uint64_t round = 1; round <= 6; round++) {
		seed = round * 0xbf58476d1ce4e5b9ull;
		pf_setup(&pf, 64, 512, 4096);
		begin(&pf);
		change(&pf);
		before = pf.maps;
		for (int i = 0; i < 3; i++) {
			bn_policy_free(pf.policy);
			pf_open(&pf);
			move_model(pf.next, pf.now);
			change(&pf);
			for (int k = 0; k < PF_PODS; k++) {
				struct bn_policy_endpoint *is = &pf.maps.endpoints[k],
							  *was = &before.endpoints[k];

				is->egress = same_table(&pf, is->egress, was->egress);
				is->ingress = same_table(&pf, is->ingress, was->ingress);
			}
			assert_memory_equal(&before, &pf.maps, sizeof(before));
		}
		pf_teardown(&pf);
	}
}

/* What does not fit is refused with the count, and everything stays as it was. */
static void test_full(void **state)
{
	static struct pf pf;
	int refused = 0;

	/* few: each refusal waits for the kernel */
	for (uint64_t round = 1; round <= 5; round++) {
		struct bn_error err = BN_ERROR_INIT;

		seed = round * 0x94d049bb133111ebull;
		pf_setup(&pf, 9, 24, 64);
		for (int i = 0; i < PF_PODS; i++)
			draw_pod(&pf.next->pods[i], i);
		change(&pf);
		for (int i = 0; i < 20; i++) {
			int r;

			move_model(pf.next, pf.now);
			for (uint32_t k = 0; k < PF_ALL; k++)
				draw_policy(&pf.next->policies[k], (int)k);
			r = pf_change(&pf, &err);
			if (r) {
				assert_int_equal(r, -ENOSPC);
				assert_non_null(strstr(bn_error_text(&err), "raise maps.policy-"));
				refused++;
			}
			bn_error_done(&err);
			compare_all(&pf, pf.now, false);
		}
		pf_teardown(&pf);
	}
	assert_true(refused > 10);
}

/* An address that is somebody's, but not known whose, gets in by no rule that means others. */
static void test_unknown(void **state)
{
	static struct pf pf;
	static const struct bn_selector all;
	static const struct bn_policy_peer everybody = {.pods = &all, .namespaces = &all};
	struct pf_policy *p;

	pf_setup(&pf, 64, 512, 4096);
	pf.next->pods[0] = (struct pf_pod){.exists = true,
					   .local = true,
					   .name = "pod0",
					   .n_ips = 1,
					   .ips = {pf_addr("10.1.0.1")}};
	p = &pf.next->policies[PF_POLICIES];
	p->exists = true;
	strcpy(p->name, "deny");
	p->rules[0][0] = (struct bn_policy_rule){.peers = &everybody, .n_peers = 1};
	p->spec = (struct bn_policy_spec){.tier = BN_TIER_ADMIN, .selects = {true}, .n_rules = {1}};
	for (int action = BN_ACTION_ACCEPT; action <= BN_ACTION_PASS; action++) {
		uint32_t verdict, key = key_of(IPPROTO_TCP, 80);

		p = &pf.next->policies[PF_POLICIES];
		p->rules[0][0].action = (uint8_t)action;
		p->spec.rules[0] = p->rules[0];
		change(&pf);
		verdict = pf_verdict(&pf, pf.maps.endpoints[0].egress, BN_IDENTITY_UNKNOWN, key);
		assert_int_equal(verdict, action == BN_ACTION_ACCEPT ? BN_VERDICT_ALLOW : 0);
		verdict = pf_verdict(&pf, pf.maps.endpoints[0].egress, BN_IDENTITY_WORLD, key);
		assert_int_equal(verdict, BN_VERDICT_ALLOW);
		assert_int_equal(pf.maps.endpoints[0].ingress, BN_POLICY_OPEN);
		*pf.next = *pf.now;
	}
	pf_teardown(&pf);
}

/* Whoever has the address of a node that is gone is no such node. */
static void test_node_gone(void **state)
{
	static struct pf pf;
	static const char *const value = "b";
	const struct bn_requirement requirement = {"a", &value, 1, BN_IN};
	const struct bn_selector labelled = {&requirement, 1};
	const struct bn_policy_peer nodes = {.nodes = &labelled};
	const struct bn_policy_rule deny = {
		.action = BN_ACTION_DENY, .peers = &nodes, .n_peers = 1};
	union bn_addr addr = pf_node(0);
	const struct bn_node_spec gone = {.name = "gone"};
	const struct bn_change leave = {
		.peers_removed = &addr, .n_peers_removed = 1, .nodes = &gone, .n_nodes = 1};
	uint32_t table, key = key_of(IPPROTO_TCP, 80);
	struct bn_error err = BN_ERROR_INIT;
	struct pf_policy *p;

	pf_setup(&pf, 64, 512, 4096);
	pf.next->pods[0] = (struct pf_pod){.exists = true, .local = true, .name = "pod0"};
	pf.next->nodes[0] = (struct pf_namespace){.labels = {{"a", "b"}}, .n_labels = 1};
	p = &pf.next->policies[PF_POLICIES];
	p->exists = true;
	strcpy(p->name, "deny");
	p->rules[0][0] = deny;
	p->spec = (struct bn_policy_spec){
		.tier = BN_TIER_ADMIN, .selects = {true}, .rules = {p->rules[0]}, .n_rules = {1}};
	change(&pf);
	table = pf.maps.endpoints[0].egress;
	assert_false(pf_verdict(&pf, table, pf.maps.nodes[0], key) & BN_VERDICT_ALLOW);
	assert_true(pf_verdict(&pf, table, pf.maps.nodes[1], key) & BN_VERDICT_ALLOW);
	assert_int_equal(bn_policy_prepare(pf.policy, &leave, &err), 0);
	assert_int_equal(bn_policy_commit(pf.policy, &err), 0);
	memset(&pf.now->nodes[0], 0xff, sizeof(pf.now->nodes[0]));
	assert_int_equal(pf.maps.nodes[0], bn_policy_identity(pf.policy, NULL, NULL, &addr));
	assert_true(pf_verdict(&pf, table, pf.maps.nodes[0], key) & BN_VERDICT_ALLOW);
	pf_teardown(&pf);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_random),  cmocka_unit_test(test_failed),
		cmocka_unit_test(test_restart), cmocka_unit_test(test_full),
		cmocka_unit_test(test_unknown), cmocka_unit_test(test_node_gone),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
