/* SPDX-License-Identifier: Apache-2.0 */
/* Events and names that the tests of the observer share. */
#pragma once

#include <arpa/inet.h>
#include <bpfnet/event.h>
#include <bpfnet/flow.h>
#include <errno.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "address.h"
#include "flows/json.h"
#include "flows/names.h"

static inline union bn_addr fixture_addr(const char *text)
{
	union bn_addr a;

	assert_int_equal(bn_addr_parse(text, &a, NULL), 0);
	return a;
}

/* SOURCE:SPORT -> DESTINATION:DPORT, undecided */
static inline struct bn_event fixture_event(uint8_t type, uint8_t protocol, const char *source,
					    uint16_t sport, const char *destination, uint16_t dport)
{
	struct bn_event e = {0};

	e.header.version = BN_EVENT_VERSION;
	e.header.type = type;
	e.header.size = sizeof(e);
	e.hook = BN_HOOK_FROM_POD;
	e.tuple.saddr = fixture_addr(source);
	e.tuple.daddr = fixture_addr(destination);
	e.tuple.sport = htons(sport);
	e.tuple.dport = htons(dport);
	e.tuple.protocol = protocol;
	e.tuple.family = strchr(source, ':') ? BN_IPV6 : BN_IPV4;
	if (type == BN_EVENT_FLOW_CLOSED)
		e.cause = BN_CLOSE_FIN;
	if (type == BN_EVENT_DROP)
		e.reason = BN_DROP_POLICY_INGRESS;
	return e;
}

static inline void fixture_target(struct bn_event *e, const char *source, uint16_t sport,
				  const char *destination, uint16_t dport)
{
	e->to_saddr = fixture_addr(source);
	e->to_daddr = fixture_addr(destination);
	e->to_sport = htons(sport);
	e->to_dport = htons(dport);
	e->flags |= BN_FLOW_ORIGIN;
}

static inline void fixture_pod(struct bn_names *names, const char *addr, const char *namespace,
			       const char *name, uint32_t identity, const char *app)
{
	const struct bn_label labels[] = {{"tier", "back"}, {"app", app}};
	const struct bn_name_spec spec = {
		.kind = BN_NAME_POD,
		.namespace = namespace,
		.name = name,
		.labels = labels,
		.n_labels = app ? 2 : 0,
		.identity = identity,
	};
	union bn_addr a = fixture_addr(addr);

	assert_int_equal(bn_names_set(names, &a, &spec), 0);
}

/* Whether `line` begins with {"lost_events":...}, and what it says. */
static inline bool fixture_lost(const char *line, enum bn_lost_source *ret_source,
				uint64_t *ret_count)
{
	char source[32];
	unsigned long long n;

	if (sscanf(line, "{\"lost_events\":{\"source\":\"%31[A-Z_]\",\"num_events_lost\":\"%llu\"}",
		   source, &n) != 2)
		return false;
	*ret_source = strcmp(source, "HUBBLE_RING_BUFFER") ? BN_LOST_DATAPATH : BN_LOST_READER;
	*ret_count = n;
	return true;
}
