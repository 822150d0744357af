/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A place where HTTP is served. One that can't be listened on is tried again every few seconds: the
 * datapath does not wait for who watches it.
 */
#pragma once

#include "address.h"
#include "http/http.h"

struct bn_http_listener;

/* All that is given must outlive it; `what` is served, for the log. 0, or -errno of the loop. */
int bn_http_listener_new(sd_event *event, struct bn_http *http, const struct bn_listen *at,
			 const char *what, struct bn_http_listener **ret);
void bn_http_listener_free(struct bn_http_listener *listener);
/* Why nobody is served, -errno; 0: they are. */
int bn_http_listener_error(const struct bn_http_listener *listener);
