// SPDX-License-Identifier: Apache-2.0
/* The rig's names for addresses, counters and drop reasons. */
#include "rig.h"

#include <string.h>

static const struct {
	const char *name, *v4, *v6;
} names[] = {
	{"A", "10.244.0.2", "fd00:244::2"},
	{"B", "10.244.0.3", "fd00:244::3"},
	{"C", "10.244.0.4", "fd00:244::4"},
	{"VIP", "10.96.0.10", "fd00:96::10"},     /* one backend, B */
	{"VIP2", "10.96.0.20", "fd00:96::20"},    /* backends B and C on several ports */
	{"VIP3", "10.96.0.30", "fd00:96::30"},    /* no backend */
	{"HAIRPIN", "10.96.0.40", "fd00:96::40"}, /* one backend, A */
	{"UNOWNED", "10.96.0.99", "fd00:96::99"}, /* in the range, nobody's */
	{"LB", "203.0.113.80", "2001:db8::80"},   /* a load balancer's */
	{"ANY", "0.0.0.0", "::"},                 /* NodePorts: every address of the node */
	{"NODE", "172.31.0.2", "fd00:31::2"},
	{"NODE2", "172.31.1.2", "fd00:31:1::2"}, /* takes no NodePorts */
	{"NODE3", "172.31.2.2", "fd00:31:2::2"}, /* of the second uplink */
	{"WORLD", "203.0.113.9", "2001:db8::9"},
	{"ROUTER", "172.31.0.1", "fd00:31::1"},
	{"REMOTE", "10.244.9.9", "fd00:244::9:9"}, /* a pod of another node */
	{"OTHER", "10.244.8.8", "fd00:244::8:8"},  /* another one's, by the second uplink */
	{"NODE8", "172.31.0.8", "fd00:31::8"},     /* other nodes */
	{"NODE9", "172.31.0.9", "fd00:31::9"},
	{"DIRECT", "192.0.2.200", "fd00:99:1::9"}, /* excluded from masquerade */
	{"GW", BN_GATEWAY_V4, BN_GATEWAY_V6},
};

const char *bn_rig_address(const char *name, int family)
{
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		if (!strcmp(names[i].name, name))
			return family == 4 ? names[i].v4 : names[i].v6;
	return name;
}

union bn_addr bn_rig_addr(const char *name, int family)
{
	union bn_addr a;

	bn_address_parse(bn_rig_address(name, family), a.b);
	return a;
}

const char *bn_rig_drop_label(__u8 reason)
{
	static const char *const labels[BN_DROP_MAX] = {
#define BN_X(number, name, label, text) [number] = label,
		BN_DROP_REASONS(BN_X)
#undef BN_X
	};

	return reason < BN_DROP_MAX && labels[reason] ? labels[reason] : "none";
}

const char *bn_rig_counter_name(unsigned int counter)
{
	static const char *const counters[BN_CNT_MAX] = {
		[BN_CNT_CLOSED_PACKETS] = "packets of closed flows",
		[BN_CNT_CLOSED_BYTES] = "bytes of closed flows",
		[BN_CNT_FLOWS_OPENED] = "flows opened",
		[BN_CNT_FLOWS_CLOSED] = "flows closed",
		[BN_CNT_FLOWS_PROMOTED] = "entries promoted",
		[BN_CNT_FLOWS_DEMOTED] = "entries demoted",
		[BN_CNT_FLOWS_FULL] = "promotions refused",
		[BN_CNT_FLOWS_EVICTED] = "entries evicted",
		[BN_CNT_EVENTS_LOST] = "events lost",
		[BN_CNT_FORWARDED_PACKETS] = "slow-path packets forwarded",
		[BN_CNT_DECISIONS] = "decisions",
		[BN_CNT_STALE] = "stale",
		[BN_CNT_ICMP_TRANSLATED] = "ICMP translated",
		[BN_CNT_REJECTS] = "rejects",
		[BN_CNT_LOST_OPENED] = "records of openings lost",
		[BN_CNT_LOST_CLOSED] = "records of closings lost",
		[BN_CNT_LOST_AUDITED] = "records of audited flows lost",
	};

	return counter < BN_CNT_MAX && counters[counter] ? counters[counter] : "?";
}
