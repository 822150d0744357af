// SPDX-License-Identifier: Apache-2.0
/*
 * Why: a connection of the node's own that happens to take a port of ours as its source gets the
 * replies of somebody else, or has its own taken for requests. The kernel draws such ports from
 * ip_local_port_range but for ip_local_reserved_ports, both of them for IPv4 and IPv6.
 */
#include "net/hostcheck.h"

#include <stdio.h>
#include <stdlib.h>

/* The lowest port from `port` up to `max` that is not reserved; max + 1: all of them are. */
static unsigned skip_reserved(unsigned port, unsigned max)
{
	FILE *f = fopen("/proc/sys/net/ipv4/ip_local_reserved_ports", "re");
	unsigned from, to;
	int c;

	/* "80,8000-8100", in rising order */
	while (f && port <= max && fscanf(f, "%u", &from) == 1) {
		to = from;
		c = fgetc(f);
		if (c == '-' && fscanf(f, "%u", &to) == 1)
			c = fgetc(f);
		if (from <= port && port <= to)
			port = to + 1;
		if (c != ',')
			break;
	}
	if (f)
		fclose(f);
	return port;
}

int bn_hostcheck_ports(struct bn_hostcheck *h, const char *name, const char *whom, const char *key,
		       unsigned min, unsigned max)
{
	FILE *f = fopen("/proc/sys/net/ipv4/ip_local_port_range", "re");
	unsigned low = 0, high = 0, from, to;
	bool known;

	known = f && fscanf(f, "%u %u", &low, &high) == 2;
	if (f)
		fclose(f);
	from = min > low ? min : low;
	to = max < high ? max : high;
	if (!known || from > to || skip_reserved(from, to) > to)
		return 0;
	return bn_hostcheck_add(
		h, name, BN_HOSTCHECK_DEGRADED,
		"%s take ports %u-%u (%s), which this node's own connections take as well (net.ipv4.ip_local_port_range is %u %u), so replies may reach the wrong one: make one of the ranges smaller, or add %u-%u to net.ipv4.ip_local_reserved_ports",
		whom, min, max, key, low, high, from, to);
}
