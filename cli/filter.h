/* SPDX-License-Identifier: Apache-2.0 */
/* A filter of `bpfnet flows`, taken apart: read by filter.c, compared by flow-match.c. */
#pragma once

#include "flow.h"

enum bn_filter_kind {
	BN_FILTER_POD,
	BN_FILTER_SERVICE,
	BN_FILTER_NAMESPACE,
	BN_FILTER_LABEL,
	BN_FILTER_IP,
	BN_FILTER_PORT,
	BN_FILTER_IDENTITY,
	BN_FILTER_PROTOCOL,
	BN_FILTER_TCP_FLAGS,
	BN_FILTER_VERDICT,
	BN_FILTER_DROP_REASON,
};

enum bn_filter_end {
	BN_END_FROM = 1,
	BN_END_TO = 2,
	BN_END_EITHER = BN_END_FROM | BN_END_TO,
};

struct bn_filter_field {
	const char *name;
	enum bn_filter_kind kind;
	enum bn_filter_end end;
};

/* One of a selector's parts: KEY (no value), KEY=VALUE or KEY!=VALUE. */
struct bn_filter_label {
	const char *key; /* "reserved:host" for reserved ones */
	const char *value;
	bool differs;
};

struct bn_filter {
	const struct bn_filter_field *field;
	bool not;
	char *text;  /* as the agent takes it, in its usual form */
	char *parts; /* what the strings below point into */
	/* by field->kind */
	const char *namespace; /* pod, service, namespace */
	const char *prefix;    /* pod, service */
	struct bn_filter_label *labels;
	size_t n_labels;
	unsigned char address[16]; /* network byte order, IPv4 in the first 4 */
	int family;                /* AF_INET or AF_INET6 */
	unsigned bits;             /* of the address, that count */
	uint32_t number;           /* port, identity */
	unsigned flags;            /* TCP header's, by bit */
};

struct bn_filters {
	size_t n;
	struct bn_filter filters[];
};

/* "host", "world", ... for identities that are reserved, NULL for others. */
const char *bn_identity_name(uint32_t identity);
/* By bit of the TCP header: "FIN" to "CWR". */
extern const char *const bn_tcp_flag_names[8];
