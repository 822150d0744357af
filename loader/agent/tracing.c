// SPDX-License-Identifier: Apache-2.0
/*
 * Which of its programs the node runs: the plain ones, or while somebody traces those that tell of
 * packets. Whatever attaches programs takes them from a->programs, so a pod that comes during a trace
 * has the ones that trace, too.
 */
#include "agent/agent.h"

#include "log.h"
#include "trace/trace.h"

#include <errno.h>
#include <string.h>

struct places {
	struct bn_agent *agent;
	int failed; /* the first error */
	struct bn_error *err;
};

static void put(struct places *p, int ifindex, enum bn_attach_point point,
		enum bn_program_id program)
{
	struct bn_agent *a = p->agent;
	int r = bn_attach(&a->attach, ifindex, point, a->programs.programs[program], p->err);

	if (r < 0 && !p->failed)
		p->failed = r;
}

static int put_endpoint(void *user, const struct bn_endpoint_info *info)
{
	if (!info->ifindex || info->state == BN_ENDPOINT_ADDING)
		return 0;
	put(user, info->ifindex, BN_ATTACH_EGRESS, BN_PROGRAM_TO_POD);
	put(user, info->ifindex, BN_ATTACH_INGRESS, BN_PROGRAM_FROM_POD);
	return 0;
}

static int put_all(struct bn_agent *a, struct bn_error *err)
{
	struct places p = {.agent = a, .err = err};

	bn_endpoints_each(a->endpoints, put_endpoint, &p);
	for (size_t i = 0; i < a->n_uplinks; i++) {
		struct bn_uplink *u = &a->uplinks[i];

		put(&p, u->ifindex, BN_ATTACH_INGRESS, BN_PROGRAM_FROM_UPLINK);
		if (u->guarded)
			put(&p, u->ifindex, BN_ATTACH_EGRESS, BN_PROGRAM_TO_UPLINK);
		if (u->xdp != BN_XDP_OFF)
			bn_agent_xdp_attach(a, u);
	}
	if (a->host_attached) {
		put(&p, a->host.ifindex, BN_ATTACH_EGRESS, BN_PROGRAM_HOST_EGRESS);
		put(&p, a->host.peer_ifindex, BN_ATTACH_INGRESS, BN_PROGRAM_FROM_HOST);
		put(&p, BN_LOOPBACK_IFINDEX, BN_ATTACH_INGRESS, BN_PROGRAM_FROM_LOOPBACK);
	}
	return p.failed;
}

/* Descriptors in a->programs are the plain ones' or borrowed; the plain ones' stay in a->plain. */
static int place(void *user, const struct bn_tracers *tracers, struct bn_error *err)
{
	struct bn_agent *a = user;

	if (tracers)
		memcpy(a->plain, a->programs.programs, sizeof(a->plain));
	for (int i = 0; i < BN_PROGRAM_MAX; i++) {
		int fd = tracers ? bn_tracers_program(tracers, i) : a->plain[i];

		if (a->plain[i] >= 0 && fd >= 0)
			a->programs.programs[i] = fd;
		if (!tracers)
			a->plain[i] = -1;
	}
	return put_all(a, err);
}

static int pod(void *user, const char *namespace, const char *name, const union bn_addr **ret_ips,
	       size_t *ret_n)
{
	struct bn_agent *a = user;

	return bn_policy_pod(a->policy, namespace, name, ret_ips, ret_n);
}

int bn_agent_tracing_start(struct bn_agent *a)
{
	const struct bn_tracing_config config = {
		.programs = &a->programs,
		.observer = a->observer,
		.node_name = a->config->node_name,
		.pod = pod,
		.place = place,
		.user = a,
	};

	return bn_tracing_new(a->event, &config, &a->tracing);
}
