/* SPDX-License-Identifier: Apache-2.0 */
/*
 * healthCheckNodePort: a balancer outside asks each node by HTTP whether a service with
 * externalTrafficPolicy Local has a backend there, and sends to those alone that say so. The answer
 * is kube-proxy's: 200 with local endpoints, 503 without.
 *
 * While no service has such a port there is no socket and no HTTP server.
 */
#pragma once

#include <bpfnet/types.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <systemd/sd-event.h>

struct bn_error;
struct bn_health;

struct bn_health_ops {
	/* Whether an address of this node takes node ports; what comes to others is closed. */
	bool (*takes)(void *user, const union bn_addr *local);
	void *user;
};

int bn_health_new(sd_event *event, const struct bn_health_ops *ops, struct bn_health **ret);
void bn_health_free(struct bn_health *health);

/* What a service is asked on and how many ready local endpoints it has. */
struct bn_health_service {
	const char *namespace, *name;
	uint16_t port; /* 0: it is asked nothing */
	size_t local;
};

/*
 * Changes all of these at once, so that a port may pass from one service to another. One that
 * can't be listened on is logged, and tried again at the next call.
 */
int bn_health_set(struct bn_health *health, const struct bn_health_service *services, size_t n);
/* Whether a port is listened on, by this program. */
bool bn_health_holds(const struct bn_health *health, uint16_t port);
/* Calls fn for every service whose port can't be listened on. */
void bn_health_problems(const struct bn_health *health,
			void (*fn)(void *user, const struct bn_health_service *service, int error),
			void *user);
