/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What several rules together say of each protocol and port, as parts of struct bn_policy_part:
 * sorted, the first at 0, neighbours different. Of rules that cover a port the first one counts; one
 * that passes leaves it to the first of the next tier.
 */
#pragma once

#include <bpfnet/policy.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Keys from `from` to `to`, inclusive, as bn_policy_key() makes them. */
struct bn_port_range {
	uint32_t from, to;
};

#define BN_PORT_KEY_MAX (BN_POLICY_OTHER << 16)
/* Every protocol and port. */
#define BN_PORT_RANGE_ALL ((struct bn_port_range){0, BN_PORT_KEY_MAX})

struct bn_port_rule {
	const struct bn_port_range *ranges; /* none: covers nothing */
	size_t n;
	uint32_t verdict;
	uint8_t tier; /* rules of one stand together */
	bool pass;    /* it has no verdict */
};

/* `otherwise`: the verdict where no rule covers. *ret is the caller's to free. -ENOMEM. */
int bn_ports_compile(const struct bn_port_rule *rules, size_t n, uint32_t otherwise,
		     struct bn_policy_part **ret, size_t *ret_n);
