/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Addresses and CIDRs as people write them. Reading is strict: inet_pton's forms only, no leading
 * zeros, zones or spaces, and no IPv4-mapped IPv6, which is how `union bn_addr` stores IPv4.
 */
#pragma once

#include <bpfnet/types.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define BN_ADDR_STRLEN 46 /* INET6_ADDRSTRLEN */
#define BN_CIDR_STRLEN (BN_ADDR_STRLEN + 4)

struct bn_cidr {
	union bn_addr addr;
	uint8_t prefix; /* of the family: 0 to 32, or 0 to 128 */
	uint8_t family; /* BN_IPV4 or BN_IPV6 */
};

/* Where to listen: ADDRESS:PORT, IPv6 in brackets. Port 0: nowhere, "off". */
struct bn_listen {
	union bn_addr addr;
	uint16_t port;
};
#define BN_LISTEN_STRLEN (BN_ADDR_STRLEN + 8)

/* 0.0.0.0 and :: */
extern const union bn_addr bn_addr_any4, bn_addr_any6;

/* Returns 0 or -EINVAL; ret_family (BN_IPV4 or BN_IPV6) may be NULL. */
int bn_addr_parse(const char *text, union bn_addr *ret, int *ret_family);
/* Returns buf. */
const char *bn_addr_format(const union bn_addr *addr, char buf[BN_ADDR_STRLEN]);
int bn_addr_family(const union bn_addr *addr);

/* ADDRESS/PREFIX. Bits past the prefix are an error unless they are zero. 0 or -EINVAL. */
int bn_cidr_parse(const char *text, struct bn_cidr *ret);
const char *bn_cidr_format(const struct bn_cidr *cidr, char buf[BN_CIDR_STRLEN]);
bool bn_cidr_contains(const struct bn_cidr *cidr, const union bn_addr *addr);

/* Returns buf. */
const char *bn_listen_format(const struct bn_listen *listen, char buf[BN_LISTEN_STRLEN]);
