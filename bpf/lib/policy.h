/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * NetworkPolicy's place in the decision: asked once per flow and epoch, for both ends on this
 * node. An endpoint that no policy selects in a direction allows all; one that is selected allows
 * what the table says. Traffic from the own node always reaches its pods (kubelet's health
 * checks), by the API's rule.
 */
#pragma once

#include "lib/packet.h"

static __always_inline bool policy_allows(const struct bn_party *subject,
					  const struct bn_party *peer, const struct bn_tuple *t,
					  __be16 dport, __u8 direction)
{
	struct bn_policy_key key = {
		.identity = subject->identity,
		.peer = peer->identity,
		.port = dport,
		.protocol = t->protocol,
		.direction = direction,
	};
	struct bn_policy_verdict *v = bpf_map_lookup_elem(&bn_policy, &key);

	return v && v->allow;
}

/* Both ends; s->src and s->dst are known, `dport` is the one behind NAT. 0 or the reason. */
static __always_inline int policy_check(const struct bn_party *src, const struct bn_party *dst,
					const struct bn_tuple *t, __be16 dport)
{
	if (src->kind == BN_ADDR_LOCAL_POD && src->flags & BN_EP_EGRESS_ENFORCED &&
	    !policy_allows(src, dst, t, dport, BN_POLICY_EGRESS))
		return BN_DROP_POLICY_EGRESS;
	if (dst->kind == BN_ADDR_LOCAL_POD && dst->flags & BN_EP_INGRESS_ENFORCED &&
	    src->kind != BN_ADDR_HOST && !policy_allows(dst, src, t, dport, BN_POLICY_INGRESS))
		return BN_DROP_POLICY_INGRESS;
	return 0;
}
