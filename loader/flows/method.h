/* SPDX-License-Identifier: Apache-2.0 */
/* The method "flows" of the control socket, as <bpfnet/control.h> has it. */
#pragma once

struct bn_request;

/* A bn_method_fn; `user` is the struct bn_observer, which must outlive the server. */
int bn_flows_method(struct bn_request *request, void *user);
