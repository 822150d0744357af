// SPDX-License-Identifier: Apache-2.0
/*
 * The checks and their listening sockets. All share one HTTP server, which finds the
 * service by the port that a request came to.
 */
#include "health/health.h"

#include "address.h"
#include "health/answer.h"
#include "http/http.h"
#include "log.h"

#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define HASH_NONFATAL_OOM 1
#include <uthash.h>
#undef uthash_nonfatal_oom
#define uthash_nonfatal_oom(element) (oom = true)

#define HEALTH_CONNECTIONS_MAX 64
#define HEALTH_PER_ADDRESS_MAX 16
#define HEALTH_MEMORY_MAX 4096 /* bytes of a request's head */
#define HEALTH_IDLE 5          /* seconds without progress; balancers keep connections */

struct check {
	char *namespace, *name;
	uint16_t port;
	size_t local;
	struct bn_health *health;
	int fd;    /* -1: not listening */
	int error; /* why not; 0: not tried */
	sd_event_source *source;
	UT_hash_handle hh;      /* by key */
	UT_hash_handle hh_port; /* those that listen */
	char key[];             /* NAMESPACE/NAME */
};

struct bn_health {
	sd_event *event;
	struct bn_health_ops ops;
	struct check *checks, *ports;
	struct bn_http *http; /* while something listens */
};

/* ---- answering ---- */

bool bn_health_answer(const struct bn_health *health, uint16_t port, struct bn_health_service *ret)
{
	struct check *c = NULL;

	HASH_FIND(hh_port, health->ports, &port, sizeof(port), c);
	if (!c)
		return false;
	*ret = (struct bn_health_service){c->namespace, c->name, c->port, c->local};
	return true;
}

bool bn_health_holds(const struct bn_health *health, uint16_t port)
{
	struct bn_health_service service;

	return health && bn_health_answer(health, port, &service);
}

/* ---- listening ---- */

static bool is_taken(void *user, int fd)
{
	const struct bn_health *health = user;
	struct sockaddr_storage ss = {0};
	socklen_t size = sizeof(ss);
	union bn_addr addr;

	if (getsockname(fd, (struct sockaddr *)&ss, &size) < 0)
		return false;
	if (ss.ss_family == AF_INET)
		bn_addr_set_v4(&addr, ((struct sockaddr_in *)&ss)->sin_addr.s_addr);
	else
		memcpy(&addr, &((struct sockaddr_in6 *)&ss)->sin6_addr, sizeof(addr));
	return health->ops.takes(health->ops.user, &addr);
}

static int on_accept(sd_event_source *source, int listener, uint32_t revents, void *user)
{
	const struct check *c = user;

	bn_http_accept(c->health->http, listener);
	return 0;
}

static void stop(struct check *c)
{
	if (c->fd < 0)
		return;
	HASH_DELETE(hh_port, c->health->ports, c);
	sd_event_source_disable_unref(c->source);
	c->source = NULL;
	close(c->fd);
	c->fd = -1;
}

static int start(struct check *c)
{
	struct bn_health *health = c->health;
	const struct bn_http_config config = {
		.answer = bn_health_respond,
		.admit = is_taken,
		.user = health,
		.connections = HEALTH_CONNECTIONS_MAX,
		.per_address = HEALTH_PER_ADDRESS_MAX,
		.memory = HEALTH_MEMORY_MAX,
		.idle = HEALTH_IDLE,
	};
	bool oom = false;
	int r;

	if (!health->http) {
		r = bn_http_new(health->event, &config, &health->http);
		if (r < 0)
			return r;
	}
	r = bn_http_listen(&bn_addr_any6, c->port);
	if (r < 0)
		return r;
	c->fd = r;
	HASH_ADD(hh_port, health->ports, port, sizeof(c->port), c);
	if (oom) {
		close(c->fd);
		c->fd = -1;
		return -ENOMEM;
	}
	r = sd_event_add_io(health->event, &c->source, c->fd, EPOLLIN, on_accept, c);
	if (r < 0)
		stop(c);
	return r;
}

/* ---- checks ---- */

static void drop(struct check *c)
{
	stop(c);
	HASH_DELETE(hh, c->health->checks, c);
	free(c->namespace);
	free(c);
}

static struct check *find(struct bn_health *health, const struct bn_health_service *service)
{
	struct check *c = NULL;
	char *key;

	/* most nodes have none, and a start has every service */
	if (!health->checks || asprintf(&key, "%s/%s", service->namespace, service->name) < 0)
		return NULL;
	HASH_FIND_STR(health->checks, key, c);
	free(key);
	return c;
}

static struct check *add(struct bn_health *health, const struct bn_health_service *service)
{
	size_t n = strlen(service->namespace), size = n + strlen(service->name) + 2;
	struct check *c = calloc(1, sizeof(*c) + size);
	bool oom = false;

	if (!c)
		return NULL;
	c->health = health;
	c->fd = -1;
	snprintf(c->key, size, "%s/%s", service->namespace, service->name);
	c->namespace = strndup(service->namespace, n);
	c->name = c->key + n + 1;
	if (c->namespace)
		HASH_ADD_STR(health->checks, key, c);
	if (!c->namespace || oom) {
		free(c->namespace);
		free(c);
		return NULL;
	}
	return c;
}

static void listen_again(struct check *c)
{
	int r;

	if (c->fd >= 0)
		return;
	r = start(c);
	if (r < 0 && r != c->error)
		bn_log(BN_LOG_ERROR, "can't listen for a service's health checks", "service",
		       c->key, "error", strerror(-r), NULL);
	c->error = r;
}

int bn_health_set(struct bn_health *health, const struct bn_health_service *services, size_t n)
{
	struct check *c, *next;
	int r = 0;

	for (size_t i = 0; i < n; i++) {
		c = find(health, &services[i]);
		if (c && !services[i].port)
			drop(c);
		else if (c && c->port != services[i].port)
			stop(c);
	}
	for (size_t i = 0; i < n; i++) {
		if (!services[i].port)
			continue;
		c = find(health, &services[i]);
		if (!c)
			c = add(health, &services[i]);
		if (!c) {
			r = -ENOMEM;
			continue;
		}
		c->port = services[i].port;
		c->local = services[i].local;
	}
	/* those that another held up to now have their turn too */
	HASH_ITER(hh, health->checks, c, next)
		listen_again(c);
	if (!health->ports) {
		bn_http_free(health->http);
		health->http = NULL;
	}
	return r;
}

void bn_health_problems(const struct bn_health *health,
			void (*fn)(void *user, const struct bn_health_service *service, int error),
			void *user)
{
	struct check *c, *next;

	HASH_ITER(hh, health->checks, c, next) {
		struct bn_health_service service = {c->namespace, c->name, c->port, c->local};

		if (c->fd < 0)
			fn(user, &service, -c->error);
	}
}

int bn_health_new(sd_event *event, const struct bn_health_ops *ops, struct bn_health **ret)
{
	struct bn_health *health = calloc(1, sizeof(*health));

	if (!health)
		return -ENOMEM;
	health->event = sd_event_ref(event);
	health->ops = *ops;
	*ret = health;
	return 0;
}

void bn_health_free(struct bn_health *health)
{
	struct check *c, *next;

	if (!health)
		return;
	HASH_ITER(hh, health->checks, c, next)
		drop(c);
	bn_http_free(health->http);
	sd_event_unref(health->event);
	free(health);
}
