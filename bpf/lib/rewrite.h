/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* The slow path's rewriting of a packet: whatever the established path does not take. */
#pragma once

#include "lib/endpoint.h"
#include "lib/nat.h"
#include "lib/sctp.h"

/* Where the protocol keeps a checksum that NAT must mend; 0: nowhere, or not here (SCTP). */
static __always_inline __u32 nat_check_offset(__u8 protocol)
{
	switch (protocol) {
	case IPPROTO_TCP:
		return BN_CHECK_TCP;
	case IPPROTO_UDP:
		return BN_CHECK_UDP;
	case IPPROTO_ICMP:
	case IPPROTO_ICMPV6:
		return BN_CHECK_ICMP;
	}
	return 0;
}

/*
 * Rewrites the packet in hand to s->fwd.to_*, for the slow path: any header length, fragments,
 * SCTP, ICMP echo. `hop` is how it leaves where that is a hop (enum bn_action), else 0; a pod's MAC,
 * or the node's, is written too. Returns 0 or the reason to drop.
 */
BN_GLOBAL int nat_rewrite(struct __sk_buff *skb, __u32 hop)
{
	struct bn_scratch *s = bn_scratch_get();
	void *data, *end, *l3, *l4;
	__u32 off, check;
	__u8 family, protocol;

	if (!s)
		return BN_DROP_INTERNAL;
	off = s->pkt.l4_off;
	family = s->pkt.tuple.family;
	protocol = s->pkt.tuple.protocol;
	if (off > 511)
		return BN_DROP_EXTENSION_HEADERS;
	if (protocol == IPPROTO_SCTP && s->fwd.flags & BN_FLOW_NAT &&
	    !(s->pkt.flags & BN_PKT_FRAG_LATER) && sctp_rewrite(skb))
		return BN_DROP_CHECKSUM_UPDATE;
	data = (void *)(long)skb->data;
	end = (void *)(long)skb->data_end;
	if (data + (off & 511) + 20 > end) {
		if (bpf_skb_pull_data(skb, off + 20 < skb->len ? off + 20 : skb->len))
			return BN_DROP_CHECKSUM_UPDATE;
		data = (void *)(long)skb->data;
		end = (void *)(long)skb->data_end;
	}
	l3 = data + ETH_HLEN;
	if (l3 + sizeof(struct iphdr) > end ||
	    (family == BN_IPV6 && l3 + sizeof(struct ipv6hdr) > end))
		return BN_DROP_MALFORMED_HEADER;
	if (hop == BN_ACT_PEER || s->fwd.action == BN_ACT_HOST)
		mac_set(data, s->fwd.out_ifindex);
	if (family == BN_IPV6) {
		if (l3 + sizeof(struct ipv6hdr) > end)
			return BN_DROP_MALFORMED_HEADER;
		nat_network(l3, &s->fwd.hot, BN_IPV6, hop);
	} else {
		nat_network(l3, &s->fwd.hot, BN_IPV4, hop);
	}
	check = nat_check_offset(protocol);
	if (check && s->fwd.flags & BN_FLOW_NAT && !(s->pkt.flags & BN_PKT_FRAG_LATER)) {
		__be16 *field;

		l4 = data + (off & 511);
		if (protocol == IPPROTO_ICMP || protocol == IPPROTO_ICMPV6) {
			if (l4 + 8 > end)
				return BN_DROP_MALFORMED_HEADER;
			field = l4 + 4;
			*field = s->pkt.flags & BN_PKT_ECHO_REQUEST ? s->fwd.to_sport
								    : s->fwd.to_dport;
			if (nat_transport(skb, l4 + BN_CHECK_ICMP, off + BN_CHECK_ICMP, &s->fwd.hot,
					  family, protocol))
				return BN_DROP_CHECKSUM_UPDATE;
		} else if (protocol == IPPROTO_TCP) {
			if (l4 + 20 > end)
				return BN_DROP_MALFORMED_HEADER;
			field = l4;
			field[0] = s->fwd.to_sport;
			field[1] = s->fwd.to_dport;
			if (nat_transport(skb, l4 + BN_CHECK_TCP, off + BN_CHECK_TCP, &s->fwd.hot,
					  family, IPPROTO_TCP))
				return BN_DROP_CHECKSUM_UPDATE;
		} else {
			if (l4 + 8 > end)
				return BN_DROP_MALFORMED_HEADER;
			field = l4;
			field[0] = s->fwd.to_sport;
			field[1] = s->fwd.to_dport;
			if (nat_transport(skb, l4 + BN_CHECK_UDP, off + BN_CHECK_UDP, &s->fwd.hot,
					  family, IPPROTO_UDP))
				return BN_DROP_CHECKSUM_UPDATE;
		}
	} else if (family == BN_IPV6 && s->fwd.l3_delta)
		nat_csum_complete(skb,
				  s->fwd.l3_delta); /* no pseudo header cancels the addresses */
	/* IPv6 has no header checksum that would cancel the hop limit's step either */
	if (hop && family == BN_IPV6)
		nat_csum_complete(skb, BN_TTL_STEP6);
	return 0;
}
