/* SPDX-License-Identifier: Apache-2.0 */
/* A trace's filter: from what a reader asks for to what the datapath compares. */
#pragma once

#include "error.h"

#include <bpfnet/trace.h>
#include <jansson.h>
#include <stddef.h>

/* A pod's addresses, valid until the next change; -ENOENT. */
typedef int (*bn_trace_pod_fn)(void *user, const char *namespace, const char *name,
			       const union bn_addr **ret_ips, size_t *ret_n);

/*
 * Reads [{field, value}] as <bpfnet/control.h> has it; NULL is every packet. -EINVAL what is no filter,
 * -E2BIG more values than there is room for, -ENOENT no such pod, each with a text.
 */
int bn_trace_filter_parse(const json_t *filters, bn_trace_pod_fn pod, void *user,
			  struct bn_trace_filter *ret, struct bn_error *err);
