// SPDX-License-Identifier: Apache-2.0
/*
 * Balancing at the socket, as far as the agent is concerned: which namespaces count, attaching, and
 * saying why not. Nothing here keeps the node down: without it services are balanced packet by
 * packet.
 */
#include "agent/agent.h"

#include "datapath/cookie.h"
#include "datapath/programs-sock.h"
#include "log.h"
#include "net/attach-cgroup.h"
#include "net/netns.h"

#include <bpf/bpf.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

uint64_t bn_agent_sockets_cookie(void *user, int netns_fd)
{
	struct bn_agent *a = user;
	struct bn_error err = BN_ERROR_INIT;
	uint64_t cookie = 0;

	if (bn_netns_cookie(netns_fd, &cookie) < 0 && a->config->cgroup &&
	    bn_cookie_by_program(a->config->cgroup, netns_fd, &cookie, &err) < 0)
		bn_logf(BN_LOG_WARNING, "%s: its sockets are not balanced", bn_error_text(&err));
	bn_error_done(&err);
	return cookie;
}

/* Cookie 0 is a namespace that can't be told from others. */
static int set_netns(struct bn_agent *a, uint64_t cookie, enum bn_netns_kind kind,
		     struct bn_error *err)
{
	const struct bn_sock_netns value = {.kind = kind};
	int r = cookie ? bn_wanted_set(&a->sock_netns, &cookie, &value) : 0;

	return r < 0 ? bn_error_set(err, r, "can't write the map bn_sock_netns: %s", strerror(-r))
		     : 0;
}

int bn_agent_sockets_start(struct bn_agent *a, struct bn_error *err)
{
	int r;

	r = bn_wanted_init(&a->sock_netns, a->programs.maps[BN_MAP_bn_sock_netns]);
	if (r < 0)
		return bn_error_set(err, r, "can't use the map bn_sock_netns: %s", strerror(-r));
	a->netns_cookie = bn_agent_sockets_cookie(a, -1);
	if (!a->netns_cookie && a->config->cgroup)
		a->sockets_off = strdup("the node's network namespace can't be told from others; "
					"see the log");
	return set_netns(a, a->netns_cookie, BN_NETNS_NODE, err);
}

static int attach(struct bn_agent *a, struct bn_error *err)
{
	struct bn_sock_programs programs;
	struct bn_cgroup_hook hooks[] = {
#define BN_X(name_, hook) {.name = #name_, .attach_type = hook},
		BN_SOCK_PROGRAMS(BN_X)
#undef BN_X
	};
	int r;

	r = bn_sock_programs_load(&programs, &a->programs, err);
	if (r < 0)
		return r;
	for (int i = 0; i < BN_SOCK_MAX; i++)
		hooks[i].prog_fd = programs.fds[i];
	r = bn_cgroup_attach(a->links_dir, a->config->cgroup, hooks, BN_SOCK_MAX, err);
	bn_sock_programs_done(&programs);
	return r;
}

void bn_agent_sockets_attach(struct bn_agent *a)
{
	struct bn_error err = BN_ERROR_INIT;

	if (!a->config->cgroup && !a->sockets_off)
		a->sockets_off = strdup("--cgroup none, or no cgroup2 is mounted");
	if (!a->sockets_off && attach(a, &err) < 0) {
		a->sockets_off = strdup(bn_error_text(&err));
		bn_log(BN_LOG_WARNING, "services are balanced packet by packet only", "reason",
		       bn_error_text(&err), NULL);
	}
	/* sockets that talk to a service stay what they are without it */
	if (!a->sockets_off && bn_agent_expire_start(a, &err) < 0)
		bn_log(BN_LOG_WARNING, "sockets are not told when their backend goes", "reason",
		       bn_error_text(&err), NULL);
	/* a predecessor's, which had what we have not */
	if (a->sockets_off && bn_cgroup_detach(a->links_dir, &err) < 0)
		bn_logf(BN_LOG_ERROR, "%s, ignoring", bn_error_text(&err));
	bn_wanted_prune(&a->sock_netns);
	bn_error_done(&err);
}

static int count_attached(void *user, const char *name, uint64_t cgroup_id, uint32_t prog_id)
{
	*(unsigned *)user += cgroup_id != 0; /* 0: detached */
	return 0;
}

void bn_agent_sockets_audit(struct bn_agent *a, struct bn_audit_count *c)
{
	unsigned n = 0;
	int r;

	if (a->sockets_off)
		return;
	c->checked += BN_SOCK_MAX;
	bn_cgroup_list(a->links_dir, count_attached, &n, NULL);
	if (n >= BN_SOCK_MAX)
		return;
	c->missing += BN_SOCK_MAX - n;
	r = attach(a, NULL);
	if (r < 0) {
		c->failed += BN_SOCK_MAX - n;
		c->error = r;
	}
}

int bn_agent_sockets_endpoint_set(struct bn_agent *a, const struct bn_endpoint_info *info,
				  struct bn_error *err)
{
	return set_netns(a, info->netns_cookie, BN_NETNS_POD, err);
}

static int shares_netns(void *user, const struct bn_endpoint_info *other)
{
	const struct bn_endpoint_info *info = user;

	return other->netns_cookie == info->netns_cookie && other->slot != info->slot ? -EEXIST : 0;
}

/* A namespace may hold several endpoints: it counts until the last of them has left. */
void bn_agent_sockets_endpoint_remove(struct bn_agent *a, const struct bn_endpoint_info *info)
{
	struct bn_endpoint_info copy = *info;

	if (a->endpoints && bn_endpoints_each(a->endpoints, shares_netns, &copy) < 0)
		return;
	bn_wanted_remove(&a->sock_netns, &info->netns_cookie);
}

static int attachment_json(void *user, const char *name, uint64_t cgroup_id, uint32_t prog_id)
{
	struct bn_agent *a = ((void **)user)[0];

	json_array_append_new(((void **)user)[1],
			      json_pack("{s:s*, s:s, s:s, s:I}", "cgroup", a->config->cgroup,
					"hook", name, "mechanism", "cgroup", "program",
					(json_int_t)prog_id));
	return 0;
}

void bn_agent_sockets_status(struct bn_agent *a, json_t *features, json_t *attachments)
{
	void *user[] = {a, attachments};

	json_object_set_new(features, "socket_balancing", json_boolean(!a->sockets_off));
	if (a->sockets_off)
		json_object_set_new(features, "socket_balancing_reason",
				    json_string(a->sockets_off));
	bn_cgroup_list(a->links_dir, attachment_json, user, NULL);
}

void bn_agent_sockets_done(struct bn_agent *a)
{
	bn_wanted_done(&a->sock_netns);
	free(a->sockets_off);
}
