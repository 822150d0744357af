/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Flows as lines of JSON over HTTP, one reader of the observer for each answer: what holds for
 * `bpfnet flows` over the control socket holds here, the filters and what a slow reader is told.
 */
#pragma once

#include "error.h"
#include "flows/observer.h"
#include "http/http.h"

#define BN_UI_STREAMS_MAX 16 /* at once */

struct bn_ui_streams;

/* All that is given must outlive it, but for `http`: see bn_ui_streams_stop(). */
int bn_ui_streams_new(sd_event *event, struct bn_http *http, struct bn_observer *observer,
		      struct bn_ui_streams **ret);
/* Lets go of every connection: the next run of their server ends them. */
void bn_ui_streams_stop(struct bn_ui_streams *streams);
/* After the server's end. */
void bn_ui_streams_free(struct bn_ui_streams *streams);

/*
 * An answer with the flows that `query` (bn_flow_query_parse()'s object as text; NULL: all) asks
 * for; without one for some time, an empty line. -EBUSY: there are too many streams; -EINVAL, or
 * -E2BIG: a wrong query, explained.
 */
int bn_ui_stream(struct bn_ui_streams *streams, struct MHD_Connection *connection,
		 const char *query, struct MHD_Response **ret, struct bn_error *err);
