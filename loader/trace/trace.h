/* SPDX-License-Identifier: Apache-2.0 */
/*
 * `trace`: every packet of a filter at each hook that it passes, for as long as its reader stays. The
 * programs that tell are loaded and in place only while there is a reader; their filters expire by
 * themselves where this process no longer renews them.
 */
#pragma once

#include "datapath/tracers.h"
#include "flows/observer.h"
#include "server/server.h"
#include "trace/filter.h"

struct bn_tracing;

struct bn_tracing_config {
	const struct bn_programs *programs; /* borrowed, as are the others */
	struct bn_observer *observer;       /* gives names */
	const char *node_name;
	bn_trace_pod_fn pod;
	/* Puts the tracing programs into the places of the plain ones; NULL: the plain ones again. */
	int (*place)(void *user, const struct bn_tracers *tracers, struct bn_error *err);
	void *user;
};

int bn_tracing_new(sd_event *loop, const struct bn_tracing_config *config, struct bn_tracing **ret);
/* Readers must be gone. */
void bn_tracing_free(struct bn_tracing *tracing);
/* The control socket's method; `user` is the struct bn_tracing. */
int bn_tracing_method(struct bn_request *request, void *user);

/* Copies the record to `ret` where all of it is in range: 0, or -EBADMSG. */
int bn_trace_record_check(const void *data, size_t size, struct bn_trace_record *ret);
