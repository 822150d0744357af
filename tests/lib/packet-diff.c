// SPDX-License-Identifier: Apache-2.0
/* Says in words where two packets differ: rows of hex with the field's name beside them. */
#include "packet.h"

#include <linux/if_ether.h>
#include <string.h>

struct field {
	__u8 from, to; /* bytes, inclusive */
	const char *name;
};

static const struct field link_fields[] = {
	{0, 5, "destination MAC"}, {6, 11, "source MAC"}, {12, 13, "EtherType"}, {}};
static const struct field ipv4_fields[] = {{0, 0, "IPv4 version, header length"},
					   {1, 1, "IPv4 TOS"},
					   {2, 3, "IPv4 total length"},
					   {4, 5, "IPv4 id"},
					   {6, 7, "IPv4 fragment field"},
					   {8, 8, "TTL"},
					   {9, 9, "IPv4 protocol"},
					   {10, 11, "IPv4 header checksum"},
					   {12, 15, "IPv4 source"},
					   {16, 19, "IPv4 destination"},
					   {20, 59, "IPv4 options"},
					   {}};
static const struct field ipv6_fields[] = {{0, 3, "IPv6 version, class, flow label"},
					   {4, 5, "IPv6 payload length"},
					   {6, 6, "IPv6 next header"},
					   {7, 7, "hop limit"},
					   {8, 23, "IPv6 source"},
					   {24, 39, "IPv6 destination"},
					   {40, 255, "IPv6 extension headers"},
					   {}};
static const struct field port_fields[] = {{0, 1, "source port"}, {2, 3, "destination port"}, {}};
static const struct field tcp_fields[] = {
	{4, 7, "TCP sequence number"},  {8, 11, "TCP acknowledgement"}, {12, 12, "TCP data offset"},
	{13, 13, "TCP flags"},          {14, 15, "TCP window"},         {16, 17, "TCP checksum"},
	{18, 19, "TCP urgent pointer"}, {20, 59, "TCP options"},        {}};
static const struct field udp_fields[] = {{4, 5, "UDP length"}, {6, 7, "UDP checksum"}, {}};
static const struct field sctp_fields[] = {
	{4, 7, "SCTP verification tag"}, {8, 11, "SCTP checksum"}, {}};
static const struct field icmp_fields[] = {
	{0, 0, "ICMP type"}, {1, 1, "ICMP code"}, {2, 3, "ICMP checksum"}, {4, 7, "ICMP rest"}, {}};

static const char *field_find(const struct field *fields, size_t at)
{
	for (; fields->name; fields++)
		if (at >= fields->from && at <= fields->to)
			return fields->name;
	return NULL;
}

static const char *transport_field(__u8 protocol, size_t at)
{
	const char *name;

	switch (protocol) {
	case 6:
		name = field_find(tcp_fields, at);
		break;
	case 17:
		name = field_find(udp_fields, at);
		break;
	case 132:
		name = field_find(sctp_fields, at);
		break;
	case 1:
	case 58:
		name = field_find(icmp_fields, at);
		return name ? name : "ICMP payload";
	default:
		return "payload";
	}
	if (!name)
		name = field_find(port_fields, at);
	return name ? name : "payload";
}

/* What the byte at an offset is, by the expected packet's own layout. */
static const char *field_name(const struct bn_packet *p, size_t at)
{
	const __u8 *ip = p->data + p->l3;
	const char *name;

	if (!p->l3 || at < p->l3) {
		name = field_find(link_fields, at);
		return name ? name : "link payload";
	}
	if (p->l4 && at >= p->l4) {
		__u8 protocol = ip[0] >> 4 == 4 ? ip[9] : ip[6];

		/* behind extension headers the last one's next header says it */
		if (ip[0] >> 4 == 6)
			for (size_t ext = p->l3 + 40; ext < p->l4;) {
				protocol = p->data[ext];
				ext += 8 + (p->data[ext + 1] * 8u);
			}
		return transport_field(protocol, at - p->l4);
	}
	name = field_find(ip[0] >> 4 == 4 ? ipv4_fields : ipv6_fields, at - p->l3);
	return name ? name : "?";
}

static void dump_row(FILE *to, const char *label, const struct bn_packet *p, size_t row)
{
	fprintf(to, "  %-9s %04zx ", label, row);
	for (size_t i = row; i < row + 16; i++)
		if (i < p->len)
			fprintf(to, " %02x", p->data[i]);
	fputc('\n', to);
}

void bn_packet_dump(FILE *to, const struct bn_packet *p)
{
	for (size_t row = 0; row < p->len; row += 16)
		dump_row(to, "", p, row);
}

int bn_packet_diff(FILE *to, const struct bn_packet *expected, const struct bn_packet *seen)
{
	size_t max = expected->len > seen->len ? expected->len : seen->len;
	const char *last = NULL;
	int rows = 0;

	if (expected->len == seen->len && !memcmp(expected->data, seen->data, seen->len))
		return 0;
	if (expected->len != seen->len)
		fprintf(to, "  length: expected %zu, seen %zu\n", expected->len, seen->len);
	for (size_t row = 0; row < max && rows < 8; row += 16) {
		int differs = 0;

		for (size_t i = row; i < row + 16 && i < max; i++) {
			const char *name;

			if (i < expected->len && i < seen->len &&
			    expected->data[i] == seen->data[i])
				continue;
			differs = 1;
			name = field_name(expected, i);
			if (name != last)
				fprintf(to, "  differs: %s (byte %zu)\n", name, i);
			last = name;
		}
		if (!differs)
			continue;
		dump_row(to, "expected", expected, row);
		dump_row(to, "seen", seen, row);
		rows++;
	}
	return 1;
}
