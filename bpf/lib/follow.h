/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * What a pod sends on a flow that the table has and that is not established, or that the packet closes:
 * handshakes, short exchanges, FINs. The flow moves on in its life, and the established path sends the
 * packet on: by a copy of the entry, for nothing keeps the entry itself where it is.
 */
#pragma once

#include "lib/flow.h"
#include "lib/service.h"

/*
 * Whether the packet in hand, found where s->found_... say, may go this way: s->fwd is a copy of its
 * flow's entry then. Nothing is changed yet.
 */
BN_GLOBAL int follow_copy(void)
{
	struct bn_scratch *s = bn_scratch_get();

	if (!s)
		return 0;
	s->pkt.now = bn_now();
	/* a SYN may begin another flow under the same key */
	if ((s->pkt.tcp_flags & (TCP_SYN | TCP_ACK)) == TCP_SYN || !flow_lookup())
		return 0;
	return s->fwd.action != BN_ACT_DROP && !flow_is_sent_directly(&s->fwd.hot);
}

/*
 * Moves the flow in s->fwd on; 0: its backend has left, or the entry of a translated flow's replies is
 * gone, and nothing is done.
 */
BN_GLOBAL int follow_track(void)
{
	const __u8 translated = BN_FLOW_ORIGIN | BN_FLOW_NAT;
	struct bn_scratch *s = bn_scratch_get();
	struct bn_place place;

	if (!s || !service_backend_serves(s))
		return 0;
	if (!flow_established(s->fwd.state) && (s->fwd.flags & translated) == translated) {
		flow_peer_key(&s->peer, &s->pkt.tuple, &s->fwd);
		if (!flow_peer(s, &place))
			return 0;
		table_extend(&place, s->pkt.now + flow_life(&s->fwd, s->pkt.tuple.protocol));
	}
	flow_track();
	return 1;
}
