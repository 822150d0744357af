// SPDX-License-Identifier: Apache-2.0
/*
 * Generations of policy in the entries of addresses: what is staged is not in force before the switch,
 * all of it is from then on, and an agent that was killed on the way leaves what was in force.
 */
#include "addresses-fixture.h"

#include <bpfnet/policy.h>
#include <stdbool.h>
#include <string.h>

#define IFINDEX 7
#define SLOT 3

static const union bn_addr pod4 = {.w = {0, 0, 0xffff0000, 0x0100f40a}};
static const union bn_addr pod6 = {.w = {0xfd, 0, 0, 1}};
static const union bn_addr remote = {.w = {0xfd, 0, 0, 2}};
static const union bn_addr node = {.w = {0xfd, 0, 0, 3}};

/* What policy has for everybody; the pod's IPv6 address is the identity behind that of IPv4. */
struct said {
	struct bn_policy_ref pod, node;
	uint32_t remote;
	bool audit;
};

static const struct said before = {
	.pod = {300, 1, 2}, .node = {BN_IDENTITY_HOST, 3, 4}, .remote = 310};
static const struct said behind = {
	.pod = {400, 5, 6}, .node = {BN_IDENTITY_HOST, 7, 8}, .remote = 410, .audit = true};

struct state {
	struct bn_addresses_config maps;
	struct bn_addresses *a;
};

static void say(struct bn_addresses *a, const struct said *what)
{
	const union bn_addr ips[] = {pod4, pod6};
	const struct bn_interface i = {
		.ifindex = IFINDEX,
		.slot = SLOT,
		.mtu = 1500,
		.identity4 = what->pod.identity,
		.identity6 = what->pod.identity + 1,
		.egress = what->pod.egress,
		.ingress = what->pod.ingress,
		.flags = what->audit ? BN_EP_AUDIT : 0,
		.ips = ips,
		.n_ips = 2,
	};
	const struct bn_firewall firewall = {what->node.egress, what->node.ingress, what->audit};

	assert_int_equal(bn_addresses_endpoint_set(a, &i, NULL), 0);
	assert_int_equal(bn_addresses_peer_identity(a, &remote, what->remote, NULL), 0);
	assert_int_equal(bn_addresses_firewall(a, &firewall, NULL), 0);
}

/* What an agent learns of addresses before policies: who there is. */
static void learn(struct bn_addresses *a, const struct said *what)
{
	const struct bn_peer_spec peer = {
		.addr = remote, .kind = BN_ADDR_REMOTE_POD, .identity = what->remote};
	const struct bn_own_spec own = {.addr = node, .node_ports = true};

	assert_int_equal(bn_addresses_peers(a, &peer, 1, NULL, 0, NULL), 0);
	assert_int_equal(bn_addresses_own(a, &own, 1, NULL), 0);
}

static struct bn_epochs epochs(const struct state *s)
{
	struct bn_epochs e;
	uint32_t zero = 0;

	assert_int_equal(bpf_map_lookup_elem(s->maps.epochs_fd, &zero, &e), 0);
	return e;
}

static void address_says(const struct state *s, const union bn_addr *addr, uint32_t generation,
			 const struct bn_policy_ref *policy, bool audit)
{
	struct bn_address a;

	assert_int_equal(bpf_map_lookup_elem(s->maps.addresses_fd, addr, &a), 0);
	assert_memory_equal(&a.policy[generation], policy, sizeof(*policy));
	assert_int_equal(!!(a.flags & BN_EP_AUDIT << generation), audit);
}

static void generation_says(const struct state *s, uint32_t generation, const struct said *what)
{
	struct bn_policy_ref pod = what->pod, peer = {.identity = what->remote};
	struct bn_endpoint e;
	uint32_t ifindex = IFINDEX;

	assert_int_equal(bpf_map_lookup_elem(s->maps.endpoints_fd, &ifindex, &e), 0);
	assert_memory_equal(&e.policy[generation], &pod, sizeof(pod));
	assert_int_equal(e.identity6[generation], pod.identity + 1);
	assert_int_equal(!!(e.flags & BN_EP_AUDIT << generation), what->audit);
	address_says(s, &pod4, generation, &pod, what->audit);
	pod.identity++;
	address_says(s, &pod6, generation, &pod, what->audit);
	address_says(s, &node, generation, &what->node, what->audit);
	address_says(s, &remote, generation, &peer, false);
}

static void in_force(const struct state *s, const struct said *what)
{
	generation_says(s, epochs(s).generation % BN_GENERATIONS, what);
}

static void settled(const struct state *s, const struct said *what)
{
	for (uint32_t g = 0; g < BN_GENERATIONS; g++)
		generation_says(s, g, what);
}

static int setup(void **state)
{
	static struct state s;

	s.maps = addresses_maps(16);
	assert_int_equal(bn_addresses_new(&s.maps, &s.a, NULL), 0);
	learn(s.a, &before);
	say(s.a, &before);
	settled(&s, &before);
	*state = &s;
	return 0;
}

static int teardown(void **state)
{
	struct state *s = *state;

	bn_addresses_free(s->a);
	addresses_maps_done(&s->maps);
	return 0;
}

static void test_taken(void **state)
{
	struct state *s = *state;
	const struct bn_epochs was = epochs(s);

	bn_addresses_stage(s->a);
	say(s->a, &behind);
	in_force(s, &before);
	/* the pod's flows have nothing to look at yet */
	assert_int_equal(epochs(s).slot[SLOT], was.slot[SLOT]);
	bn_addresses_switch(s->a, true);
	in_force(s, &behind);
	say(s->a, &behind);
	settled(s, &behind);
	assert_int_equal(epochs(s).generation, was.generation + 1);
	assert_int_equal(epochs(s).slot[SLOT], was.slot[SLOT] + 1);
	/* of the remote pod and the node, whose flows have no slot */
	assert_int_not_equal(epochs(s).slot[BN_SLOT_NONE], was.slot[BN_SLOT_NONE]);

	/* and back, the other generation now */
	bn_addresses_stage(s->a);
	say(s->a, &before);
	in_force(s, &behind);
	bn_addresses_switch(s->a, true);
	in_force(s, &before);
	say(s->a, &before);
	settled(s, &before);
}

static void test_not_taken(void **state)
{
	struct state *s = *state;
	const struct bn_epochs was = epochs(s);

	bn_addresses_stage(s->a);
	say(s->a, &behind);
	bn_addresses_switch(s->a, false);
	in_force(s, &before);
	assert_int_equal(epochs(s).generation, was.generation);
	say(s->a, &before);
	settled(s, &before);
}

/* An endpoint that comes amid a change has one policy only. */
static void test_comes_amid(void **state)
{
	struct state *s = *state;
	const union bn_addr ip = {.w = {0xfd, 0, 0, 9}};
	const struct bn_interface i = {.ifindex = IFINDEX + 1,
				       .slot = SLOT + 1,
				       .identity4 = 500,
				       .identity6 = 501,
				       .egress = 9,
				       .ingress = 10,
				       .flags = BN_EP_AUDIT,
				       .ips = &ip,
				       .n_ips = 1};
	const struct bn_policy_ref policy = {501, 9, 10};

	bn_addresses_stage(s->a);
	assert_int_equal(bn_addresses_endpoint_set(s->a, &i, NULL), 0);
	for (uint32_t g = 0; g < BN_GENERATIONS; g++)
		address_says(s, &ip, g, &policy, true);
	bn_addresses_switch(s->a, false);
	bn_addresses_endpoint_remove(s->a, &i);
}

static void killed(struct state *s, bool turned)
{
	const struct said *force = turned ? &behind : &before;

	bn_addresses_stage(s->a);
	say(s->a, &behind);
	if (turned)
		bn_addresses_switch(s->a, true);
	bn_addresses_free(s->a);

	assert_int_equal(bn_addresses_new(&s->maps, &s->a, NULL), 0);
	in_force(s, force);
	/* all of the first commit is staged; who there is comes before their policies */
	bn_addresses_stage(s->a);
	learn(s->a, turned ? &before : &behind);
	in_force(s, force);
	say(s->a, &behind);
	in_force(s, force);
	bn_addresses_switch(s->a, true);
	in_force(s, &behind);
	say(s->a, &behind);
	settled(s, &behind);
	assert_int_equal(bn_addresses_prune(s->a, NULL), 0);
	settled(s, &behind);
}

static void test_killed_before_the_switch(void **state)
{
	killed(*state, false);
}

static void test_killed_behind_the_switch(void **state)
{
	killed(*state, true);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_taken, setup, teardown),
		cmocka_unit_test_setup_teardown(test_not_taken, setup, teardown),
		cmocka_unit_test_setup_teardown(test_comes_amid, setup, teardown),
		cmocka_unit_test_setup_teardown(test_killed_before_the_switch, setup, teardown),
		cmocka_unit_test_setup_teardown(test_killed_behind_the_switch, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
