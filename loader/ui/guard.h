/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Who may ask. There is no password: whoever reaches the address may read. What a browser would ask
 * for on behalf of another site is turned away: a name that was bent to this address (DNS
 * rebinding), and requests that another site's page makes.
 */
#pragma once

#include "config.h"

#include <microhttpd.h>

/* NULL: yes. Otherwise why not, a line for people. */
const char *bn_ui_refuses(struct MHD_Connection *connection, const struct bn_string_list *hosts);
/*
 * Whether a Host header names `local` by its number (brackets around IPv6, with or without a port),
 * localhost, or one of `hosts`.
 */
bool bn_ui_knows_host(const char *header, const union bn_addr *local,
		      const struct bn_string_list *hosts);
