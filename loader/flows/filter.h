/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which flows a reader wants. As JSON: an array of {"field": F, "value": V, "not": false}.
 *
 * One field given several times matches where any of its values does; different fields must all
 * match; what has "not" must not match, whichever of them. Fields:
 *
 *   pod from-pod to-pod                    [NAMESPACE/]PREFIX of the pod's name, as `hubble observe`
 *                                          has it: without a namespace it is "default"; NAMESPACE/
 *                                          is every pod in it
 *   service                                the same for the service's name
 *   namespace from-namespace to-namespace  the whole name
 *   label                                  KEY, KEY=VALUE or KEY!=VALUE, several with commas (all
 *                                          must hold of one end); "k8s:" before KEY is ignored,
 *                                          reserved:host, :world, :remote-node, :unknown
 *   ip from-ip to-ip                       an address or a CIDR; a service's address matches the
 *                                          flows that were sent to it
 *   port from-port to-port                 of TCP, UDP and SCTP; a service's port likewise
 *   identity from-identity to-identity     a number, or unknown, host, world, remote-node
 *   tcp-flags                              of TCP, all of those given, separated by commas: of the
 *                                          packet; where a flow has closed, of either direction
 *   protocol                               tcp, udp, sctp, icmp (both families), icmpv4, icmpv6
 *   verdict                                forwarded, dropped, audit
 *   drop-reason                            a label of maps/bpfnet/drop_reasons.h
 *
 * Fields without from- or to- match either end.
 */
#pragma once

#include "error.h"
#include "flows/history.h"

#include <jansson.h>

#define BN_FLOW_FILTERS_MAX 256
#define BN_FLOW_FILTER_VALUE_MAX 1024

struct bn_flow_filter;

/* NULL and an empty array give NULL, which matches everything. */
int bn_flow_filter_parse(const json_t *filters, struct bn_flow_filter **ret, struct bn_error *err);
void bn_flow_filter_free(struct bn_flow_filter *filter);
bool bn_flow_filter_match(const struct bn_flow_filter *filter, const struct bn_flow_record *record);
