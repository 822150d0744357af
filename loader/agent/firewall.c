// SPDX-License-Identifier: Apache-2.0
/*
 * The node's own firewall: policies that select the node (model.h) are tables of its addresses. While
 * it has any, a program on the uplinks' egress keeps the flows that the node begins. It comes before
 * the tables, and goes after them: replies to the node must never be nobody's.
 */
#include "agent/agent.h"

#include "log.h"

#include <bpfnet/policy.h>
#include <netinet/in.h>

void bn_agent_firewall_config(const struct bn_agent_config *config, struct bn_config *ret)
{
	for (int d = 0; d < BN_POLICY_DIRECTIONS; d++) {
		const struct bn_protocol_ports *ports = &config->failsafe[d];

		for (size_t i = 0; i < ports->n; i++) {
			uint8_t protocol = ports->items[i].protocol;
			uint32_t p = protocol == IPPROTO_TCP   ? BN_POLICY_TCP
				     : protocol == IPPROTO_UDP ? BN_POLICY_UDP
							       : BN_POLICY_SCTP;

			ret->failsafe[d][i] = BN_FAILSAFE_SET |
					      bn_policy_key(p, ports->items[i].port);
		}
	}
}

int bn_agent_firewall_attach(struct bn_agent *a, struct bn_uplink *uplink, struct bn_error *err)
{
	int r;

	if (!a->filled || uplink->guarded == a->guarded)
		return 0;
	if (!a->guarded) {
		bn_detach(&a->attach, uplink->ifindex, BN_ATTACH_EGRESS, NULL);
		uplink->guarded = false;
		return 0;
	}
	r = bn_attach(&a->attach, uplink->ifindex, BN_ATTACH_EGRESS,
		      a->programs.programs[BN_PROGRAM_TO_UPLINK], err);
	if (r < 0)
		return r;
	uplink->guarded = true;
	return 0;
}

int bn_agent_firewall_apply(struct bn_agent *a, struct bn_error *err)
{
	struct bn_policy_endpoint policy;
	struct bn_firewall firewall;
	bool was = a->guarded;
	int r = 0;

	bn_policy_endpoint(a->policy, BN_NODE_NAMESPACE, BN_NODE_POD, &policy);
	firewall = (struct bn_firewall){policy.egress, policy.ingress, policy.audit};
	a->guarded = policy.egress != BN_POLICY_OPEN || policy.ingress != BN_POLICY_OPEN;
	for (size_t i = 0; a->guarded && i < a->n_uplinks && !r; i++)
		r = bn_agent_firewall_attach(a, &a->uplinks[i], err);
	if (!r)
		r = bn_addresses_firewall(a->addresses, &firewall, err);
	for (size_t i = 0; !a->guarded && i < a->n_uplinks; i++)
		bn_agent_firewall_attach(a, &a->uplinks[i], NULL);
	if (!r && was != a->guarded)
		bn_log(BN_LOG_INFO, a->guarded ? "host firewall on" : "host firewall off", NULL);
	return r;
}
