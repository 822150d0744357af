// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/* The program on the ingress of every device that leads out of the node. */
#include "lib/fast.h"
#include "lib/slow.h"

/*
 * From outside. Packets for local pods are decided here; what is for the node itself passes,
 * unless it is the reply to a masqueraded flow. Whatever else is routed through this node is not
 * ours.
 */
static __noinline int slow_from_uplink(struct __sk_buff *skb, bool looked)
{
	struct bn_scratch *s = bn_scratch_get();
	int where, r;

	if (!s)
		return TC_ACT_SHOT;
	slow_begin(skb, s, BN_HOOK_FROM_UPLINK, looked);
	r = bn_parse(skb);
	if (!s->pkt.tuple.family || s->pkt.flags & BN_PKT_ND)
		return TC_ACT_UNSPEC;
	party_of_address(&s->src, &s->pkt.tuple.saddr);
	if (s->src.kind == BN_ADDR_LOCAL_POD || s->src.kind == BN_ADDR_HOST)
		return bn_drop(BN_DROP_UPLINK_SPOOF);
	party_of_address(&s->dst, &s->pkt.tuple.daddr);
	if (s->dst.kind == BN_ADDR_LOCAL_POD)
		return r ? bn_drop(r) : slow_packet(skb, s);
	if (r)
		return TC_ACT_UNSPEC; /* malformed, but the node's own affair */
	if (s->dst.kind != BN_ADDR_HOST || !(bn_config.features & BN_FEATURE_MASQUERADE))
		return TC_ACT_UNSPEC;
	if (s->pkt.flags & BN_PKT_ICMP_ERROR)
		return icmp_error_translate(skb) ? TC_ACT_UNSPEC : slow_send(skb);
	if (s->pkt.flags & (BN_PKT_FRAG_FIRST | BN_PKT_FRAG_LATER) && frag_ports())
		return TC_ACT_UNSPEC;
	where = flow_lookup();
	if (!where || s->fwd.action != BN_ACT_PEER || !(s->fwd.flags & BN_FLOW_MASQ))
		return TC_ACT_UNSPEC;
	return slow_flow(skb);
}

SEC("tc")
int bn_from_uplink(struct __sk_buff *skb)
{
	int r = fast_path(skb, BN_HOOK_FROM_UPLINK);

	return r > BN_SLOW ? r : slow_from_uplink(skb, r == BN_SLOW_LOOKED);
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
