// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/*
 * The programs on the pair of devices by which the node's own packets to services go: on the
 * egress of the node's end, which knows what is locally generated, and on the ingress of the far
 * end, where packets are decided as a pod's are.
 */
#include "lib/fast.h"
#include "lib/slow.h"

static __noinline int slow_from_host(struct __sk_buff *skb, const struct bn_looked *looked)
{
	struct bn_scratch *s = bn_scratch_get();
	int r;

	if (!s || !looked)
		return TC_ACT_SHOT;
	slow_begin(skb, s, BN_HOOK_FROM_HOST, looked);
	if (skb->protocol == bpf_htons(ETH_P_ARP))
		return bn_drop_quiet(s, BN_DROP_NEIGHBOUR);
	r = slow_parse(skb, looked);
	if (r)
		return bn_drop(r);
	/* what every kernel says to a link of its own */
	if (s->pkt.flags & BN_PKT_ND)
		return bn_drop_quiet(s, BN_DROP_NEIGHBOUR);
	r = endpoint_check_destination(&s->pkt.tuple);
	if (r)
		return bn_drop_quiet(s, r);
	/* a socket that is bound to the loopback: its answers would find no way back */
	if (outside_martian(&s->pkt.tuple))
		return bn_drop(BN_DROP_MARTIAN_SOURCE);
	party_of_address(&s->src, &s->pkt.tuple.saddr);
	if (s->src.kind != BN_ADDR_HOST)
		return bn_drop(BN_DROP_SPOOFED_SOURCE);
	return slow_packet(skb, s);
}

SEC("tc")
int bn_from_host(struct __sk_buff *skb)
{
	struct bn_looked looked;
	int r = fast_path(skb, BN_HOOK_FROM_HOST, &looked);

	return r != BN_SLOW ? r : slow_from_host(skb, &looked);
}

/* What other devices sent is none of the node's own, whatever address it claims. */
static __noinline int slow_host_egress(struct __sk_buff *skb)
{
	struct bn_scratch *s = bn_scratch_get();
	const struct bn_looked looked = {};

	if (!s)
		return TC_ACT_SHOT;
	slow_begin(skb, s, BN_HOOK_FROM_HOST, &looked);
	bn_parse(skb);
	return bn_drop(BN_DROP_NOT_LOCAL);
}

SEC("tc")
int bn_host_egress(struct __sk_buff *skb)
{
	return skb->ingress_ifindex ? slow_host_egress(skb) : TC_ACT_UNSPEC;
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
