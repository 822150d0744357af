// SPDX-License-Identifier: Apache-2.0
#include "choice.h"

#include <stdio.h>
#include <string.h>

struct choice choice;
__u8 choice_refusal;

static void agent_die(const char *what, const struct bn_error *err)
{
	fprintf(stderr, "%s\n", err->text);
	bn_rig_die(what, 0);
}

static __u32 entries(const struct bn_rig *rig, const char *map)
{
	return bpf_map__max_entries(bpf_object__find_map_by_name(rig->objects[0], map));
}

void choice_begin(struct bn_rig *rig, int family)
{
	struct bn_services_config c = {
		.services_fd = bn_rig_map(rig, "bn_services"),
		.slots_fd = bn_rig_map(rig, "bn_service_slots"),
		.backends_fd = bn_rig_map(rig, "bn_backends"),
		.maglev_fd = bn_rig_map(rig, "bn_maglev"),
		.epochs_fd = bn_rig_map(rig, "bn_epochs"),
		.max_services = entries(rig, "bn_services"),
		.max_slots = entries(rig, "bn_service_slots"),
		.max_backends = entries(rig, "bn_backends"),
		.max_lines = entries(rig, "bn_maglev"),
	};
	struct bn_error err = {0};

	memset(&choice, 0, sizeof(choice));
	choice.family = family;
	memcpy(c.hash_key, rig->config.hash_key, sizeof(c.hash_key));
	if (bn_services_new(&c, &choice.agent, &err))
		agent_die("bn_services_new", &err);
}

const struct bn_service_spec *choice_spec(size_t n_frontends)
{
	static struct bn_service_spec v;

	for (size_t i = 0; i < choice.n_frontends; i++) {
		choice.frontends[i].backends = choice.backends;
		choice.frontends[i].n_backends = choice.n_backends;
	}
	v = (struct bn_service_spec){.namespace = "default",
				     .name = "choice",
				     .type = "ClusterIP",
				     .frontends = choice.frontends,
				     .n_frontends = n_frontends};
	return &v;
}

void choice_apply(void)
{
	struct bn_error err = {0};

	if (bn_services_commit(choice.agent, choice_spec(choice.n_frontends), 1, NULL, 0, &err))
		agent_die("bn_services_commit", &err);
}

void choice_withdraw(void)
{
	struct bn_error err = {0};

	if (bn_services_commit(choice.agent, NULL, 0, choice_spec(0), 1, &err))
		agent_die("bn_services_commit", &err);
}

void choice_end(struct bn_rig *rig, int family)
{
	choice_withdraw();
	bn_services_free(choice.agent);
	choice.agent = NULL;
}

struct bn_frontend_spec *choice_frontend(const char *address, __u8 kind, __u8 protocol)
{
	struct bn_frontend_spec *f = &choice.frontends[choice.n_frontends++];

	*f = (struct bn_frontend_spec){.addr = bn_rig_addr(address, choice.family),
				       .port = CHOICE_PORT,
				       .protocol = protocol,
				       .kind = kind};
	return f;
}

void choice_backends(size_t n)
{
	choice.n_backends = n;
	for (size_t i = 0; i < n; i++)
		choice.backends[i] = (struct bn_backend_spec){
			.addr = bn_rig_addr(i % 2 ? "C" : "B", choice.family),
			.port = (__u16)(CHOICE_FIRST + i),
			.weight = 1,
			.local_weight = 1,
			.state = BN_BACKEND_ACTIVE,
			.use = BN_USE_CLUSTER | BN_USE_LOCAL};
}

void choice_use(size_t i, __u8 state, __u8 bits)
{
	choice.backends[i].state = state;
	choice.backends[i].use = bits;
}

void choice_without(size_t i)
{
	choice.n_backends--;
	memmove(&choice.backends[i], &choice.backends[i + 1],
		(choice.n_backends - i) * sizeof(choice.backends[0]));
}

struct bn_service choice_entry(const struct bn_rig *rig, const char *address, __u8 protocol)
{
	struct bn_service_key key = {.addr = bn_rig_addr(address, choice.family),
				     .port = htons(CHOICE_PORT),
				     .protocol = protocol};

	return bn_rig_frontend(rig, &key);
}

int choice_send(struct bn_rig *rig, struct bn_step *s, __u16 sport)
{
	struct bn_counts before, after;
	struct bn_result r;
	int port;

	s->in.sport = sport;
	bn_rig_counts(rig, &before);
	if (bn_step_send(rig, s, choice.family, &r) == 7) {
		port = r.out.data[r.out.l4 + 2] << 8 | r.out.data[r.out.l4 + 3];
		if (port >= CHOICE_FIRST && port < CHOICE_FIRST + CHOICE_MOST)
			return port - CHOICE_FIRST;
	}
	bn_rig_counts(rig, &after);
	for (choice_refusal = 1; choice_refusal < BN_DROP_MAX; choice_refusal++) {
		if (after.drop[choice_refusal] != before.drop[choice_refusal])
			return after.counter[BN_CNT_REJECTS] == before.counter[BN_CNT_REJECTS] + 1
				       ? -1
				       : -2;
	}
	return -2;
}

struct choice_hits choice_draw(struct bn_rig *rig, struct bn_step s, int n)
{
	struct choice_hits h = {0};

	bn_rig_forget(rig);
	for (int i = 0; i < n; i++) {
		int at = choice_send(rig, &s, (__u16)(1024 + i));

		if (at >= 0)
			h.backend[at]++;
		else if (at == -1)
			h.refused++;
		else
			h.other++;
	}
	return h;
}

void choice_configure(struct bn_config *config)
{
	config->event_rate = ~0u;
	config->hz = 10; /* jiffies are fewer than they say, so that seconds are short */
}
