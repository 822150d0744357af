/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * Direct server return, as it is on the wire between two nodes. The node that a client outside has
 * asked sends its packet on to a backend elsewhere with the client's address, and the backend's node
 * answers the client from the frontend that it had asked. Which that is travels in the packets by
 * which a flow begins for the backend's node: SYN of TCP, INIT of SCTP, and every datagram of UDP,
 * since the first node never sees an answer.
 *
 * IPv4: an option of 8 bytes, the first one behind the header (RFC 791 3.1; number 158 is for
 * experiments, RFC 4727 3.3, and copied when a packet is fragmented).
 * IPv6: a destination options header of 24 bytes, the first one behind the header (RFC 8200 4.6;
 * option 0x1e is for experiments, RFC 4727 3.5: who doesn't know it skips it, and nobody changes it
 * on the way).
 *
 * That much less is left of the next hop's MTU: who sends more is told so (RFC 1191, RFC 8201).
 */
#pragma once

#include <bpfnet/types.h>

#define BN_DSR_OPTION4 158
#define BN_DSR_OPTION6 0x1e

struct bn_dsr4 {
	__u8 type;   /* 0   BN_DSR_OPTION4 */
	__u8 len;    /* 1   8 */
	__be16 port; /* 2   of the frontend */
	__be32 addr; /* 4 */
};
BN_ASSERT_SIZE(struct bn_dsr4, 8);

struct bn_dsr6 {
	__u8 next;       /* 0   what follows */
	__u8 hdrlen;     /* 1   2: units of 8 bytes, less the first */
	__u8 type;       /* 2   BN_DSR_OPTION6 */
	__u8 len;        /* 3   20 */
	__be16 port;     /* 4   of the frontend */
	__u16 reserved;  /* 6   0 */
	__be32 addr[4];  /* 8 */
};
BN_ASSERT_SIZE(struct bn_dsr6, 24);
