// SPDX-License-Identifier: Apache-2.0
/* Which backend a new flow gets: inline places, lists, Maglev tables, affinity, policies. */
#include "choice.h"

#include "datapath/maglev.h"

#include <errno.h>
#include <stdio.h>

/*
 * Whether backends got flows in proportion to `weights` (NULL: alike): within six standard
 * deviations, which chance leaves once in 500 million.
 */
static const char *shares(const struct choice_hits *h, int n, const int *weights, int draws)
{
	int sum = 0, got = 0;

	for (int i = 0; i < n; i++)
		sum += weights ? weights[i] : 1;
	for (int i = 0; i < n; i++) {
		double p = (weights ? weights[i] : 1) / (double)sum;
		double off = h->backend[i] - draws * p;

		got += h->backend[i];
		if (off * off > 36 * draws * p * (1 - p) + 1) {
			fprintf(stderr, "backend %d: %d of %d, %.0f expected\n", i, h->backend[i],
				draws, draws * p);
			return "a share that chance does not give";
		}
	}
	return got == draws ? NULL : "flows that no backend of the list got";
}

/* ---- how the list is kept ---- */

static const char *inline_list(struct bn_rig *rig, int family)
{
	struct bn_services_usage usage;
	struct choice_hits h;

	choice_frontend("VIP", BN_FRONTEND_CLUSTER_IP, IPPROTO_TCP);
	choice_backends(3);
	choice_apply();
	bn_services_usage(choice.agent, &usage);
	if (!(choice_entry(rig, "VIP", IPPROTO_TCP).flags & BN_SERVICE_INLINE) || usage.lines)
		return "three backends don't stand in the entry";
	h = choice_draw(rig, (struct bn_step)INSIDE("VIP", IPPROTO_TCP), 600);
	return shares(&h, 3, NULL, 600);
}

static const char *long_list(struct bn_rig *rig, int family)
{
	struct bn_services_usage usage;
	struct bn_service v;
	struct choice_hits h;

	choice_frontend("VIP", BN_FRONTEND_CLUSTER_IP, IPPROTO_TCP);
	choice_backends(5);
	choice_apply();
	v = choice_entry(rig, "VIP", IPPROTO_TCP);
	bn_services_usage(choice.agent, &usage);
	if (v.flags & BN_SERVICE_INLINE || v.count != 5 || v.lut_size || usage.lines)
		return "five backends inside need a list, and no table";
	h = choice_draw(rig, (struct bn_step)INSIDE("VIP", IPPROTO_TCP), 1000);
	return shares(&h, 5, NULL, 1000);
}

/* The same client gets the same backend as long as that is there, flow table or not. */
static const char *maglev(struct bn_rig *rig, int family)
{
	enum { CLIENTS = 2000 };
	static int had[CLIENTS];
	struct bn_step s = OUTSIDE("LB", IPPROTO_TCP), vip = OUTSIDE("VIP", IPPROTO_TCP);
	struct bn_services_usage usage;
	struct choice_hits h = {0};
	struct bn_service v;
	int moved = 0;

	choice_frontend("LB", BN_FRONTEND_LOAD_BALANCER, IPPROTO_TCP)->consistent = true;
	choice_frontend("VIP", BN_FRONTEND_CLUSTER_IP, IPPROTO_TCP)->consistent = true;
	choice_backends(10);
	choice_apply();
	v = choice_entry(rig, "LB", IPPROTO_TCP);
	bn_services_usage(choice.agent, &usage);
	/* 1021 entries in 32 lines of 64 bytes, for each of the two */
	if (v.lut_size != bn_maglev_size(10) || v.lut_size != 1021 || usage.lines != 64)
		return "a table of another size";
	for (int i = 0; i < CLIENTS; i++) {
		had[i] = choice_send(rig, &s, (__u16)(1024 + i));
		if (had[i] < 0)
			return "not forwarded";
		h.backend[had[i]]++;
	}
	for (int i = 0; i < 10; i++) {
		if (h.backend[i] < CLIENTS / 10 * 7 / 10 || h.backend[i] > CLIENTS / 10 * 13 / 10)
			return "a backend's share is far from the others'";
	}
	bn_rig_forget(rig);
	for (int i = 0; i < CLIENTS; i++) {
		if (choice_send(rig, &vip, (__u16)(1024 + i)) != had[i])
			return "another backend by another address of the service";
	}
	bn_rig_forget(rig);
	choice_without(4);
	choice_apply();
	for (int i = 0; i < CLIENTS; i++) {
		int at = choice_send(rig, &s, (__u16)(1024 + i));

		if (at < 0 || at == 4)
			return "to a backend that is not there";
		moved += at != had[i] && had[i] != 4;
	}
	/* 3.0 % for so many entries a backend, as datapath/maglev.h has it */
	return moved * 100 > CLIENTS * 6 ? "a backend that goes moves others' flows" : NULL;
}

static const char *weights(struct bn_rig *rig, int family)
{
	static const int want[] = {1, 2, 7};
	const char *wrong;
	struct choice_hits h;

	choice_frontend("VIP", BN_FRONTEND_CLUSTER_IP, IPPROTO_TCP)->consistent = true;
	choice_frontend("LB", BN_FRONTEND_LOAD_BALANCER, IPPROTO_TCP)->consistent = true;
	choice_backends(3);
	for (int i = 0; i < 3; i++)
		choice.backends[i].weight = choice.backends[i].local_weight = (__u16)want[i];
	choice_apply();
	h = choice_draw(rig, (struct bn_step)INSIDE("VIP", IPPROTO_TCP), 1000);
	wrong = shares(&h, 3, want, 1000);
	if (!wrong) {
		h = choice_draw(rig, (struct bn_step)OUTSIDE("LB", IPPROTO_TCP), 1000);
		wrong = shares(&h, 3, want, 1000);
	}
	/* changed in place */
	for (int i = 0; i < 3; i++)
		choice.backends[i].weight = choice.backends[i].local_weight = 5;
	choice_apply();
	h = choice_draw(rig, (struct bn_step)INSIDE("VIP", IPPROTO_TCP), 1000);
	return wrong ? wrong : shares(&h, 3, NULL, 1000);
}

/* ---- affinity ---- */

#define AFFINITY 6000 /* seconds: much, since the configuration's are short */

/* Lets all that clients have age by so many seconds. */
static void age(struct bn_rig *rig, __u32 seconds)
{
	int fd = bn_rig_map(rig, "bn_affinity");
	struct bn_affinity_key key, *at = NULL;
	struct bn_affinity value;

	while (!bpf_map_get_next_key(fd, at, &key)) {
		at = &key;
		if (bpf_map_lookup_elem(fd, &key, &value))
			bn_rig_die("bn_affinity", errno);
		value.seen -= seconds * rig->config.hz;
		if (bpf_map_update_elem(fd, &key, &value, BPF_EXIST))
			bn_rig_die("bn_affinity", errno);
	}
}

static int only(const struct choice_hits *h)
{
	int at = -1;

	for (int i = 0; i < CHOICE_MOST; i++) {
		if (h->backend[i])
			at = at == -1 ? i : -2;
	}
	return h->refused || h->other ? -2 : at;
}

static const char *sticks(struct bn_rig *rig, __u8 protocol)
{
	struct bn_step vip = INSIDE("VIP", protocol), lb = INSIDE("LB", protocol);
	struct bn_step out = OUTSIDE("LB", protocol);
	struct choice_hits h = choice_draw(rig, vip, 40);
	int has = only(&h), outside, others = 0;

	if (has < 0)
		return "a client has more than one backend";
	h = choice_draw(rig, lb, 40);
	if (only(&h) != has)
		return "another one by another address of the same port";
	h = choice_draw(rig, out, 40);
	outside = only(&h);
	if (outside < 0)
		return "a client outside has more than one backend";
	/* nearly over, then in use again: it counts from the last flow */
	for (int i = 0; i < 3; i++) {
		age(rig, AFFINITY * 5 / 6);
		h = choice_draw(rig, vip, 1);
		if (only(&h) != has)
			return "forgotten before its time";
	}
	h = choice_draw(rig, out, 1);
	for (int i = 0; i < 60; i++) {
		age(rig, AFFINITY + 2);
		h = choice_draw(rig, vip, 1);
		others += only(&h) != has;
	}
	if (others < 20) /* 48 expected */
		return "kept after its time";
	h = choice_draw(rig, vip, 1);
	has = only(&h);
	/* the backend stops taking new flows: another one, and that one for good */
	choice_use((size_t)has, BN_BACKEND_TERMINATING, 0);
	choice_apply();
	h = choice_draw(rig, vip, 40);
	if (only(&h) < 0 || only(&h) == has)
		return "a client stays with a backend that is gone";
	outside = only(&h);
	choice_use((size_t)has, BN_BACKEND_ACTIVE, BN_USE_CLUSTER | BN_USE_LOCAL);
	choice_apply();
	h = choice_draw(rig, vip, 40);
	return only(&h) == outside ? NULL : "a backend that comes back takes others' clients";
}

static const char *affinity(struct bn_rig *rig, int family)
{
	static const __u8 protocols[] = {IPPROTO_TCP, IPPROTO_UDP};
	const char *wrong = NULL;

	for (int i = 0; i < 2 && !wrong; i++) {
		choice.n_frontends = 0;
		choice_frontend("VIP", BN_FRONTEND_CLUSTER_IP, protocols[i]);
		choice_frontend("LB", BN_FRONTEND_LOAD_BALANCER, protocols[i]);
		choice.frontends[0].affinity_seconds = AFFINITY;
		choice.frontends[1].affinity_seconds = AFFINITY;
		choice.frontends[0].consistent = choice.frontends[1].consistent = true;
		choice.frontends[0].port_index = choice.frontends[1].port_index = (__u16)i;
		choice_backends(5);
		choice_apply();
		wrong = sticks(rig, protocols[i]);
	}
	return wrong;
}

/* ---- policies and states ---- */

static const char *refused(struct bn_rig *rig, struct bn_step s)
{
	struct choice_hits h = choice_draw(rig, s, 10);

	if (h.refused != 10)
		return "not refused at once";
	return choice_refusal == BN_DROP_SERVICE_NO_BACKEND ? NULL : "refused for another reason";
}

static const char *local(struct bn_rig *rig, int family)
{
	static const __u8 protocols[] = {IPPROTO_TCP, IPPROTO_UDP};
	const char *wrong = NULL;
	struct choice_hits h;

	for (int i = 0; i < 2 && !wrong; i++) {
		struct bn_step vip = INSIDE("VIP", protocols[i]), lb = INSIDE("LB", protocols[i]);
		struct bn_step out = OUTSIDE("LB", protocols[i]);

		choice.n_frontends = 0;
		choice_frontend("VIP", BN_FRONTEND_CLUSTER_IP, protocols[i])->local_inside = true;
		choice_frontend("LB", BN_FRONTEND_LOAD_BALANCER, protocols[i])->local_outside =
			true;
		choice.frontends[1].consistent = true;
		choice_backends(6);
		for (size_t k = 0; k < 6; k++)
			choice_use(k, BN_BACKEND_ACTIVE,
				   BN_USE_CLUSTER | (k < 2 ? BN_USE_LOCAL : 0));
		choice_apply();
		h = choice_draw(rig, vip, 200);
		wrong = shares(&h, 2, NULL, 200);
		if (wrong)
			return wrong;
		h = choice_draw(rig, out, 200);
		if (h.backend[0] + h.backend[1] != 200 || !h.backend[0] || !h.backend[1])
			return "from outside not the local ones, and all of them";
		/* a pod's own traffic to the address has no such policy */
		h = choice_draw(rig, lb, 600);
		wrong = shares(&h, 6, NULL, 600);
		/* none here: refused, though others have some */
		for (size_t k = 0; k < 6; k++)
			choice_use(k, BN_BACKEND_ACTIVE, BN_USE_CLUSTER);
		choice_apply();
		wrong = wrong ? wrong : refused(rig, vip);
		wrong = wrong ? wrong : refused(rig, out);
		h = choice_draw(rig, lb, 600);
		wrong = wrong ? wrong : shares(&h, 6, NULL, 600);
	}
	return wrong;
}

/* Topology and what terminates are the agent's choice; the datapath takes those with the bit. */
static const char *states(struct bn_rig *rig, int family)
{
	struct bn_step vip = INSIDE("VIP", IPPROTO_TCP);
	struct choice_hits h;

	choice_frontend("VIP", BN_FRONTEND_CLUSTER_IP, IPPROTO_TCP);
	choice_backends(4);
	choice_use(0, BN_BACKEND_TERMINATING, 0);
	choice_use(1, BN_BACKEND_NOT_READY, 0);
	choice_use(2, BN_BACKEND_ACTIVE, BN_USE_LOCAL); /* another zone's */
	choice_apply();
	h = choice_draw(rig, vip, 100);
	if (only(&h) != 3)
		return "new flows to a backend that gets none";
	/* it goes: the one that still serves is used again */
	choice_use(0, BN_BACKEND_TERMINATING, BN_USE_CLUSTER);
	choice_use(3, BN_BACKEND_NOT_READY, 0);
	choice_apply();
	h = choice_draw(rig, vip, 100);
	if (only(&h) != 0)
		return "a terminating one that is the last is not used";
	choice_use(0, BN_BACKEND_TERMINATING, 0);
	choice_apply();
	return refused(rig, vip);
}

#define CASE(text, function) {text, .prepare = choice_begin, .restore = choice_end, .run = function}

static const struct bn_case cases[] = {
	CASE("few backends stand in the entry", inline_list),
	CASE("more of them in a list", long_list),
	CASE("from outside by a Maglev table", maglev),
	CASE("weights", weights),
	CASE("a client keeps its backend", affinity),
	CASE("traffic policies", local),
	CASE("states and topology", states),
};

int main(void)
{
	static const struct bn_rig_options options = {.flow_sets = 1024,
						      .configure = choice_configure};

	return bn_program_main("choice", cases, sizeof(cases) / sizeof(cases[0]), &options);
}
