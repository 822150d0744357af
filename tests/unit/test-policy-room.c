// SPDX-License-Identifier: Apache-2.0
/* Policies for which there is no room: by how much, exactly; and what a start closes for want of it. */
#include "policy-fixture.h"

#include "error.h"

#define INGRESS BN_POLICY_INGRESS
#define PORTS 20

/* Of six pods each has a policy of its own, and a label by which it is meant. */
static const char *const apps[PF_POLICIES] = {"a", "b", "c", "d", "e", "f"};
static struct bn_requirement requirements[PF_POLICIES];
static struct bn_policy_port ports[PF_POLICIES][PORTS];
static struct bn_policy_rule rules[PF_POLICIES];

static void fill(struct pf_model *m, unsigned int policies)
{
	memset(m, 0, sizeof(*m));
	for (int i = 0; i < PF_POLICIES; i++) {
		struct pf_policy *p = &m->policies[i];
		struct pf_pod *pod = &m->pods[i];
		char text[32];

		snprintf(pod->name, sizeof(pod->name), "pod%d", i);
		snprintf(text, sizeof(text), "10.1.0.%d", i + 1);
		pod->exists = pod->local = true;
		pod->labels[pod->n_labels++] = (struct bn_label){"app", apps[i]};
		pod->ips[pod->n_ips++] = pf_addr(text);

		requirements[i] = (struct bn_requirement){"app", &apps[i], 1, BN_IN};
		for (int k = 0; k < PORTS; k++)
			ports[i][k] = (struct bn_policy_port){
				.protocol = IPPROTO_TCP,
				.port = (uint16_t)(7000 + 100 * i + 2 * k),
				.end = (uint16_t)(7000 + 100 * i + 2 * k),
			};
		rules[i] = (struct bn_policy_rule){.ports = ports[i], .n_ports = PORTS};
		snprintf(p->name, sizeof(p->name), "p%d", i);
		p->exists = policies & 1u << i;
		p->spec.pods = (struct bn_selector){&requirements[i], 1};
		p->spec.selects[INGRESS] = true;
		p->spec.rules[INGRESS] = &rules[i];
		p->spec.n_rules[INGRESS] = 1;
	}
}

static const char *const whats[] = {"table", "page", "line"};

/* The number before the word; 0: nothing is said of it. */
static unsigned int lacks(const char *text, const char *what)
{
	unsigned int n = 0;

	for (; text && *text; text += strspn(text, "0123456789")) {
		char word[16] = "";

		text += strcspn(text, "0123456789");
		if (sscanf(text, "%u %15[a-z]", &n, word) == 2 &&
		    !strncmp(word, what, strlen(what)))
			return n;
	}
	return 0;
}

/* Policies come and go, and nothing else is told. */
static int set_policies(struct pf *pf, unsigned int was, unsigned int is, struct bn_error *err)
{
	struct bn_policy_spec come[PF_POLICIES], gone[PF_POLICIES];
	struct bn_change c = {.policies = come, .policies_removed = gone};
	struct pf_model *m = pf->next;
	int r;

	fill(m, is);
	pf_bind(m);
	for (int i = 0; i < PF_POLICIES; i++) {
		if (is & ~was & 1u << i)
			come[c.n_policies++] = m->policies[i].spec;
		if (was & ~is & 1u << i)
			gone[c.n_policies_removed++] = m->policies[i].spec;
	}
	r = bn_policy_prepare(pf->policy, &c, err);
	return r ? r : bn_policy_commit(pf->policy, err);
}

/* With this much room, one policy in force and six wanted: what lacks of each. */
static int ask(const uint32_t size[3], unsigned int ret[3])
{
	static struct pf pf;
	struct bn_error err = BN_ERROR_INIT;
	int r;

	pf_setup(&pf, size[0], size[1], size[2]);
	fill(pf.next, 1);
	assert_int_equal(pf_change(&pf, NULL), 0);
	if (bn_policy_problem(pf.policy))
		fail_msg("%u %u %u: %s", size[0], size[1], size[2], bn_policy_problem(pf.policy));
	for (int again = 0; again < 2; again++) {
		r = set_policies(&pf, 1, 077, &err);
		for (int i = 0; i < 3; i++)
			ret[i] = lacks(err.text, whats[i]);
		bn_error_done(&err);
		if (!r)
			break;
		/* what was in force stays */
		assert_true(pf.maps.endpoints[0].ingress != BN_POLICY_OPEN);
		assert_int_equal(pf.maps.endpoints[1].ingress, BN_POLICY_OPEN);
	}
	pf_teardown(&pf);
	return r;
}

static void test_exact(void **state)
{
	static const uint32_t small[][3] = {{4, 64, 256}, {64, 4, 256}, {64, 64, 20}, {4, 4, 20},
					    {3, 64, 256}, {64, 6, 256}, {64, 64, 40}, {2, 4, 40}};

	for (size_t i = 0; i < sizeof(small) / sizeof(small[0]); i++) {
		uint32_t size[3];
		unsigned int more[3], again[3];

		memcpy(size, small[i], sizeof(size));
		if (ask(size, more) != -ENOSPC)
			fail_msg("%zu: it fits", i);
		for (int k = 0; k < 3; k++)
			size[k] += more[k];
		if (ask(size, again))
			fail_msg("%zu: %u %u %u more, and still %u %u %u", i, more[0], more[1],
				 more[2], again[0], again[1], again[2]);
		for (int k = 0; k < 3; k++) {
			if (!more[k])
				continue;
			size[k]--;
			assert_int_equal(ask(size, again), -ENOSPC);
			for (int j = 0; j < 3; j++)
				assert_int_equal(again[j], j == k);
			size[k]++;
		}
	}
}

static unsigned int closed(const struct pf *pf)
{
	unsigned int n = 0;

	for (int i = 0; i < PF_POLICIES; i++)
		n += pf->maps.endpoints[i].ingress == BN_POLICY_CLOSED;
	return n;
}

static void expect_closed(const struct pf *pf, unsigned int n)
{
	assert_int_equal(closed(pf), n);
	assert_int_equal(lacks(bn_policy_problem(pf->policy), whats[0]), n);
	assert_int_equal(!bn_policy_problem(pf->policy), !n);
}

/* A start with too little room: some are closed, which hinders nothing, until there is room. */
static void test_closed(void **state)
{
	static const struct {
		unsigned int policies, closed;
	} steps[] = {{076, 2}, {074, 1}, {070, 0}, {050, 0}, {051, 0}};
	static struct pf pf;
	struct bn_error err = BN_ERROR_INIT;
	unsigned int was = 077, only;

	/* number 0 is no table's */
	pf_setup(&pf, 1 + 3, 64, 1024);
	fill(pf.next, was);
	assert_int_equal(pf_change(&pf, NULL), 0);
	expect_closed(&pf, 3);
	for (size_t i = 0; i < sizeof(steps) / sizeof(steps[0]); i++) {
		if (set_policies(&pf, was, steps[i].policies, &err))
			fail_msg("step %zu: %s", i, bn_error_text(&err));
		was = steps[i].policies;
		if (steps[i].closed != closed(&pf))
			fail_msg("step %zu: %u closed", i, closed(&pf));
		expect_closed(&pf, steps[i].closed);
		for (int k = 0; k < PF_POLICIES; k++)
			assert_int_equal(pf.maps.endpoints[k].ingress == BN_POLICY_OPEN,
					 !(was & 1u << k));
	}
	/* from then on it is refused again */
	assert_int_equal(set_policies(&pf, was, 077, &err), -ENOSPC);
	only = lacks(bn_error_text(&err), whats[0]);
	assert_int_equal(only, 3);
	bn_error_done(&err);
	expect_closed(&pf, 0);
	pf_teardown(&pf);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_exact),
		cmocka_unit_test(test_closed),
	};

	return cmocka_run_group_tests_name("policy-room", tests, NULL, NULL);
}
