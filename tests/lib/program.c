// SPDX-License-Identifier: Apache-2.0
/* The standard rig's services, and a cmocka group made from a table of cases. */
#include "program.h"

#include <arpa/inet.h>
#include <bpfnet/source.h>
#include <errno.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define SCTP_PROTOCOL 132

static struct bn_rig the_rig;
static __u32 vip2_backends[2][2]; /* by family, by TCP or UDP */

struct service {
	const char *name;
	__u8 protocol;
	__u16 port;
	struct {
		const char *addr;
		__u16 port;
	} backend[4];
};

static const struct service services[] = {
	{"VIP", IPPROTO_TCP, 80, {{"B", 8080}}},
	{"VIP", IPPROTO_TCP, 81, {{"B", 81}}},
	{"VIP", IPPROTO_TCP, 82, {{"REMOTE", 8082}}},
	{"VIP", IPPROTO_TCP, 83, {{"NODE", 8083}}},
	{"VIP", IPPROTO_UDP, 53, {{"B", 5353}}},
	{"VIP", IPPROTO_UDP, 81, {{"B", 81}}},
	{"VIP", SCTP_PROTOCOL, 3868, {{"B", 3869}}},
	{"VIP2", IPPROTO_TCP, 80, {{"B", 8080}, {"C", 8081}, {"C", 8082}, {"B", 8083}}},
	{"VIP2", IPPROTO_TCP, 443, {{"C", 8443}}},
	{"VIP2", IPPROTO_UDP, 53, {{"B", 5301}, {"C", 5302}}},
	{"VIP3", IPPROTO_TCP, 80, {{0}}},
	{"VIP3", IPPROTO_UDP, 53, {{0}}},
	{"VIP3", SCTP_PROTOCOL, 3868, {{0}}},
	{"HAIRPIN", IPPROTO_TCP, 80, {{"A", 8080}}},
	{"HAIRPIN", IPPROTO_UDP, 53, {{"A", 5353}}},
	{"LB", IPPROTO_TCP, 80, {{"B", 8080}}},
	{"LB", IPPROTO_TCP, 81, {{"REMOTE", 8082}}},
	{"LB", IPPROTO_TCP, 82, {{0}}},
	{"ANY", IPPROTO_TCP, 30080, {{"B", 8080}}},
	{"ANY", IPPROTO_UDP, 30053, {{"B", 5353}}},
	{"ANY", SCTP_PROTOCOL, 30038, {{"B", 3869}}},
	{"ANY", IPPROTO_TCP, 30081, {{"REMOTE", 8082}}},
	{"ANY", IPPROTO_UDP, 30054, {{"REMOTE", 5354}}},
	{"ANY", SCTP_PROTOCOL, 30039, {{"REMOTE", 3868}}},
	{"ANY", IPPROTO_TCP, 30082, {{0}}},
	{"ANY", IPPROTO_UDP, 30055, {{0}}},
	{"ANY", IPPROTO_TCP, 30083, {{"A", 8080}}},
	{"ANY", IPPROTO_TCP, 30084, {{"OTHER", 8084}}},
	{"ANY", IPPROTO_UDP, 30056, {{"OTHER", 5356}}},
};

static void service_add(struct bn_rig *rig, const struct service *s, int family)
{
	union bn_addr vip = bn_rig_addr(s->name, family);
	struct bn_rig_backend backends[4] = {};
	__u32 n = 0, first;

	for (; n < 4 && s->backend[n].addr; n++) {
		backends[n].addr = bn_rig_addr(s->backend[n].addr, family);
		backends[n].port = s->backend[n].port;
	}
	first = bn_rig_service(rig, &vip, s->port, s->protocol, backends, n);
	if (n > 1)
		vip2_backends[family == 6][s->protocol == IPPROTO_UDP] = first;
	/* a NodePort makes nobody the owner of the node's addresses */
	if (s->name[0] != 'A')
		bn_rig_own_address(rig, &vip);
}

static struct bn_service_key restricted(int family)
{
	return (struct bn_service_key){
		.addr = bn_rig_addr("LB", family), .port = htons(80), .protocol = IPPROTO_TCP};
}

void bn_program_restrict(struct bn_rig *rig, int family)
{
	struct bn_source_key source = {.prefixlen = BN_SOURCE_PREFIX(family == 4 ? 96 + 24 : 32)};
	union bn_addr network = bn_rig_addr(family == 4 ? "203.0.113.0" : "2001:db8::", family);
	const struct bn_service_key key = restricted(family);
	struct bn_service service = bn_rig_frontend(rig, &key);
	struct bn_source value = {0};

	service.flags |= BN_SERVICE_RESTRICTED;
	source.service = service.id;
	memcpy(source.addr, &network, sizeof(source.addr));
	bn_rig_frontend_set(rig, &key, &service);
	if (bpf_map_update_elem(bn_rig_map(rig, "bn_sources"), &source, &value, BPF_ANY))
		bn_rig_die("bn_sources", errno);
}

void bn_program_open(struct bn_rig *rig, int family)
{
	const struct bn_service_key key = restricted(family);
	struct bn_service service = bn_rig_frontend(rig, &key);

	service.flags &= (__u8)~BN_SERVICE_RESTRICTED;
	bn_rig_frontend_set(rig, &key, &service);
}

void bn_program_services(struct bn_rig *rig)
{
	for (int family = 4; family <= 6; family += 2)
		for (size_t i = 0; i < sizeof(services) / sizeof(services[0]); i++)
			service_add(rig, &services[i], family);
}

__u32 bn_program_backend(int family, __u8 protocol)
{
	return vip2_backends[family == 6][protocol == IPPROTO_UDP];
}

void bn_program_by_another(struct bn_rig *rig, int family)
{
	(void)family;
	if (!bn_rig_can_ingress(rig)) {
		print_message("this kernel runs no packet that came by another device\n");
		skip();
	}
}

static void case_test(void **state)
{
	const struct bn_case *c = *state;
	int wrong = 0;

	for (int family = 4; family <= 6; family += 2) {
		if (c->families && c->families != family)
			continue;
		wrong += bn_case_run(&the_rig, c, family, false);
		if (bn_rig_can_complete(&the_rig) && c->step[0].hook)
			wrong += bn_case_run(&the_rig, c, family, true);
	}
	if (wrong)
		fail_msg("%s: %d differences", c->name, wrong);
}

/* Every drop leaves a record, however many come in a second. */
static void unlimited(struct bn_config *c)
{
	c->event_rate = ~0u;
}

int bn_program_main(const char *group, const struct bn_case *cases, size_t n,
		    const struct bn_rig_options *options)
{
	static const struct bn_rig_options small = {.flow_sets = 64, .configure = unlimited};
	struct CMUnitTest *tests = calloc(n, sizeof(*tests));
	int failed;

	if (!tests)
		bn_rig_die(group, ENOMEM);
	bn_rig_enter();
	bn_rig_new(&the_rig, options ? options : &small);
	bn_program_services(&the_rig);
	for (size_t i = 0; i < n; i++)
		tests[i] = (struct CMUnitTest){.name = cases[i].name,
					       .test_func = case_test,
					       .initial_state = (void *)&cases[i]};
	failed = _cmocka_run_group_tests(group, tests, n, NULL, NULL);
	bn_rig_free(&the_rig);
	free(tests);
	return failed;
}
