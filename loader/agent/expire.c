// SPDX-License-Identifier: Apache-2.0
/*
 * When UDP backends stop taking new flows, sockets that connect() bound to them are ended, once for
 * a burst of changes: by the kernel's iterator (6.5), else one by one through sock_diag. Both work
 * inside the socket's namespace, which is entered by its name.
 */
#include "agent/agent.h"

#include "log.h"
#include "net/netns.h"
#include "net/sock-destroy.h"

#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct pass {
	struct bn_agent *a;
	const struct bn_sock_stale *stale; /* all of one namespace */
	size_t n;
	int fd; /* of the namespace, -1: our own */
};

static void complain(int r)
{
	if (r < 0)
		bn_logf(BN_LOG_WARNING, "can't end sockets of backends that went: %s, ignoring",
			strerror(-r));
}

static int by_netns(const void *a, const void *b)
{
	const struct bn_sock_stale *x = a, *y = b;

	return x->peer.netns < y->peer.netns ? -1 : x->peer.netns > y->peer.netns;
}

static int destroy_all(void *user)
{
	struct pass *p = user;

	return bn_sock_iters_destroy(p->a->sock_iters);
}

static int destroy_each(void *user)
{
	struct pass *p = user;
	struct bn_error err = BN_ERROR_INIT;

	for (size_t i = 0; i < p->n; i++) {
		const struct bn_sock_stale *s = &p->stale[i];
		const struct bn_sock_name name = {
			.family = s->family,
			.protocol = IPPROTO_UDP,
			.local = s->local,
			.remote = s->peer.backend,
			.local_port = s->local_port,
			.remote_port = s->peer.backend_port,
			.cookie = s->peer.cookie,
		};

		bn_sock_destroy_by_name(&name, &err);
	}
	if (err.text)
		bn_logf(BN_LOG_WARNING, "%s, ignoring", bn_error_text(&err));
	bn_error_done(&err);
	return 0;
}

/* A name may be another namespace's by now: the cookie tells. */
static int find_netns(void *user, const struct bn_endpoint_info *info)
{
	struct pass *p = user;
	int fd;

	if (info->netns_cookie != p->stale->peer.netns || !*info->netns ||
	    bn_netns_open(info->netns, &fd, NULL) < 0)
		return 0;
	if (bn_agent_sockets_cookie(p->a, fd) != info->netns_cookie) {
		close(fd);
		return 0;
	}
	p->fd = fd;
	return -EEXIST; /* ends the walk */
}

static void in_netns(struct pass *p, int (*fn)(void *user))
{
	int r;

	p->fd = -1;
	if (p->stale->peer.netns != p->a->netns_cookie &&
	    bn_endpoints_each(p->a->endpoints, find_netns, p) >= 0)
		return;
	r = p->fd < 0 ? fn(p) : bn_netns_run(p->fd, fn, p);
	if (p->fd >= 0)
		close(p->fd);
	complain(r);
}

/* How many are left to be told; fn is called in each namespace that has some. */
static size_t pass(struct bn_agent *a, int (*fn)(void *user))
{
	struct bn_sock_stale *stale = NULL;
	size_t n = 0;
	int r;

	r = bn_sock_iters_stale(a->sock_iters, &stale, &n);
	if (r < 0)
		bn_logf(BN_LOG_WARNING,
			"can't look for sockets of backends that went: %s, ignoring", strerror(-r));
	if (n && fn) {
		qsort(stale, n, sizeof(*stale), by_netns);
		for (size_t i = 0, end; i < n; i = end) {
			struct pass p = {.a = a, .stale = &stale[i]};

			for (end = i + 1; end < n && !by_netns(&stale[i], &stale[end]);)
				end++;
			p.n = end - i;
			in_netns(&p, fn);
		}
	}
	free(stale);
	return n;
}

static int in_endpoint(void *user, const struct bn_endpoint_info *info)
{
	struct pass *p = user;
	int fd;

	if (!*info->netns || bn_netns_open(info->netns, &fd, NULL) < 0)
		return 0;
	if (bn_agent_sockets_cookie(p->a, fd) == info->netns_cookie)
		complain(bn_netns_run(fd, destroy_all, p));
	close(fd);
	return 0;
}

/* Where nothing says which namespaces have some: each looks for its own. */
static void everywhere(struct bn_agent *a)
{
	struct pass p = {.a = a};

	complain(destroy_all(&p));
	bn_endpoints_each(a->endpoints, in_endpoint, &p);
}

static int on_expire(sd_event_source *source, void *user)
{
	struct bn_agent *a = user;
	size_t left = 0;

	sd_event_source_set_enabled(source, SD_EVENT_OFF);
	if (!bn_sock_iters_finds(a->sock_iters)) {
		everywhere(a);
		return 0;
	}
	if (pass(a, destroy_all) && pass(a, destroy_each))
		left = pass(a, NULL);
	if (left)
		bn_logf(BN_LOG_WARNING,
			"connected UDP sockets whose backend went are not told: %zu", left);
	return 0;
}

int bn_agent_expire_start(struct bn_agent *a, struct bn_error *err)
{
	int r;

	r = bn_sock_iters_new(&a->programs, &a->sock_iters, err);
	if (r < 0)
		return r;
	/* once now, for what went while no agent ran */
	r = sd_event_add_defer(a->event, &a->expire, on_expire, a);
	return r < 0 ? bn_error_set(err, r, "can't prepare for backends that go: %s", strerror(-r))
		     : 0;
}

void bn_agent_expire(struct bn_agent *a)
{
	struct bn_services_usage usage;

	bn_services_usage(a->services, &usage);
	if (a->expire && usage.retired_udp != a->retired_udp)
		sd_event_source_set_enabled(a->expire, SD_EVENT_ONESHOT);
	a->retired_udp = usage.retired_udp;
}

void bn_agent_expire_done(struct bn_agent *a)
{
	sd_event_source_unref(a->expire);
	bn_sock_iters_free(a->sock_iters);
}
