/* SPDX-License-Identifier: Apache-2.0 */
/* The method "metrics" of the control socket: Prometheus text, one string. */
#pragma once

struct bn_request;

/* A bn_method_fn; `user` is the struct bn_metrics. */
int bn_metrics_method(struct bn_request *request, void *user);
