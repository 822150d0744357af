/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A service whose maps the agent's own modules write, and packets to it: both sides of the ABI in one
 * process.
 */
#pragma once

#include "lib/program.h"

#include "datapath/services.h"

#include <arpa/inet.h>

#define CHOICE_PORT 1080
#define CHOICE_FIRST 9000 /* a backend is known by its port */
#define CHOICE_MOST 100

/* The service of a case: its frontends have the same backends. */
struct choice {
	struct bn_services *agent;
	struct bn_backend_spec backends[CHOICE_MOST];
	struct bn_frontend_spec frontends[4];
	size_t n_frontends, n_backends;
	int family;
};
extern struct choice choice;

/* A case's prepare and restore. */
void choice_begin(struct bn_rig *rig, int family);
void choice_end(struct bn_rig *rig, int family);

/* What was said of the service becomes so. */
void choice_apply(void);
void choice_withdraw(void);
const struct bn_service_spec *choice_spec(size_t n_frontends);

struct bn_frontend_spec *choice_frontend(const char *address, __u8 kind, __u8 protocol);
/* B and C in turn, each with a port of its own. */
void choice_backends(size_t n);
void choice_use(size_t i, __u8 state, __u8 bits);
/* Takes it out of the service. */
void choice_without(size_t i);
/* What stands in the map. */
struct bn_service choice_entry(const struct bn_rig *rig, const char *address, __u8 protocol);

#define INSIDE(address, proto) \
	{ \
		.hook = BN_HOOK_FROM_POD, .device = BN_POD_A, \
		.in = {.protocol = (proto), \
		       .src = "A", \
		       .dst = (address), \
		       .dport = CHOICE_PORT, \
		       .tcp_flags = SYN } \
	}
#define OUTSIDE(address, proto) \
	{ \
		.hook = BN_HOOK_FROM_UPLINK, .device = BN_UPLINK, \
		.in = {.protocol = (proto), \
		       .src = "WORLD", \
		       .dst = (address), \
		       .dport = CHOICE_PORT, \
		       .tcp_flags = SYN } \
	}

/* Which backend a packet went to; -1 refused for what is in choice_refusal, -2 anything else. */
int choice_send(struct bn_rig *rig, struct bn_step *s, __u16 sport);
extern __u8 choice_refusal;

/* How many of a run's flows each backend got. */
struct choice_hits {
	int backend[CHOICE_MOST], refused, other;
};

/* As many new flows, each from a port of its own. */
struct choice_hits choice_draw(struct bn_rig *rig, struct bn_step s, int n);

/* The agent is quick, and so is the clock: a second is ten jiffies. */
void choice_configure(struct bn_config *config);
