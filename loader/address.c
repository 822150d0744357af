// SPDX-License-Identifier: Apache-2.0
/*
 * One reading and one writing of addresses, because manifests, options, the socket and the maps
 * compare them byte by byte. A `union bn_addr` tells its family by itself: IPv4 is mapped, and a
 * mapped address is never accepted as IPv6 text.
 */
#include "address.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

const union bn_addr bn_addr_any4 = {.b = {[10] = 0xff, [11] = 0xff}};
const union bn_addr bn_addr_any6;

int bn_addr_family(const union bn_addr *addr)
{
	return bn_addr_is_v4(addr) ? BN_IPV4 : BN_IPV6;
}

int bn_addr_parse(const char *text, union bn_addr *ret, int *ret_family)
{
	struct in6_addr six;
	struct in_addr four;
	union bn_addr addr;
	int family = BN_IPV4;

	if (inet_pton(AF_INET, text, &four) == 1) {
		bn_addr_set_v4(&addr, four.s_addr);
	} else if (inet_pton(AF_INET6, text, &six) == 1) {
		memcpy(&addr, &six, sizeof(addr));
		if (bn_addr_is_v4(&addr))
			return -EINVAL;
		family = BN_IPV6;
	} else {
		return -EINVAL;
	}
	*ret = addr;
	if (ret_family)
		*ret_family = family;
	return 0;
}

const char *bn_addr_format(const union bn_addr *addr, char buf[BN_ADDR_STRLEN])
{
	if (bn_addr_is_v4(addr))
		inet_ntop(AF_INET, &addr->w[3], buf, BN_ADDR_STRLEN);
	else
		inet_ntop(AF_INET6, addr, buf, BN_ADDR_STRLEN);
	return buf;
}

/* True where the first `bits` bits of the two are the same. */
static bool same_prefix(const union bn_addr *a, const union bn_addr *b, unsigned int bits)
{
	unsigned int bytes = bits / 8, rest = bits % 8;

	if (memcmp(a->b, b->b, bytes))
		return false;
	return !rest || !((a->b[bytes] ^ b->b[bytes]) >> (8 - rest));
}

/* Prefix length within the 128 bits of union bn_addr. */
static unsigned int stored_prefix(const struct bn_cidr *cidr)
{
	return cidr->family == BN_IPV4 ? 96u + cidr->prefix : cidr->prefix;
}

int bn_cidr_parse(const char *text, struct bn_cidr *ret)
{
	const char *slash = strchr(text, '/');
	unsigned int prefix = 0, bits;
	char buf[BN_ADDR_STRLEN];
	struct bn_cidr cidr;
	const char *p;
	int family;

	if (!slash || (size_t)(slash - text) >= sizeof(buf))
		return -EINVAL;
	memcpy(buf, text, (size_t)(slash - text));
	buf[slash - text] = 0;
	if (bn_addr_parse(buf, &cidr.addr, &family) < 0)
		return -EINVAL;
	p = slash + 1;
	if (!*p || strlen(p) > 3 || (p[0] == '0' && p[1]))
		return -EINVAL;
	for (; *p; p++) {
		if (*p < '0' || *p > '9')
			return -EINVAL;
		prefix = prefix * 10 + (unsigned int)(*p - '0');
	}
	if (prefix > (family == BN_IPV4 ? 32 : 128))
		return -EINVAL;
	cidr.prefix = (uint8_t)prefix;
	cidr.family = (uint8_t)family;
	for (bits = stored_prefix(&cidr); bits < 128; bits++) {
		if (cidr.addr.b[bits / 8] & (0x80 >> bits % 8))
			return -EINVAL;
	}
	*ret = cidr;
	return 0;
}

const char *bn_cidr_format(const struct bn_cidr *cidr, char buf[BN_CIDR_STRLEN])
{
	size_t n;

	bn_addr_format(&cidr->addr, buf);
	n = strlen(buf);
	snprintf(buf + n, BN_CIDR_STRLEN - n, "/%u", cidr->prefix);
	return buf;
}

bool bn_cidr_contains(const struct bn_cidr *cidr, const union bn_addr *addr)
{
	if (cidr->family != bn_addr_family(addr))
		return false;
	return same_prefix(&cidr->addr, addr, stored_prefix(cidr));
}

const char *bn_listen_format(const struct bn_listen *listen, char buf[BN_LISTEN_STRLEN])
{
	char addr[BN_ADDR_STRLEN];

	if (!listen->port)
		return strcpy(buf, "off");
	snprintf(buf, BN_LISTEN_STRLEN,
		 bn_addr_family(&listen->addr) == BN_IPV6 ? "[%s]:%u" : "%s:%u",
		 bn_addr_format(&listen->addr, addr), listen->port);
	return buf;
}
