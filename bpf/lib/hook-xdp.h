/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * The program on an uplink's driver: established flows to a service's backend elsewhere and back,
 * out of the device that they came from or of another uplink. Everything else is passed on
 * untouched to bn_from_uplink, which decides.
 */
#pragma once

#include "lib/fast.h"

static __always_inline int in_driver(struct xdp_md *xdp)
{
	struct bn_looked looked; /* nobody's: tc looks for itself */
	int r = fast_path(xdp, BN_HOOK_XDP, &looked);

	if (r == BN_SLOW)
		return XDP_PASS;
	return r == XDP_TX || r == XDP_REDIRECT ? r : XDP_DROP;
}
