// SPDX-License-Identifier: Apache-2.0
#include "trace/filter.h"

#include "address.h"
#include "flows/json.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define CANNOT "can't trace: "

/* How far each list of the filter is filled. */
struct fill {
	struct bn_trace_filter *filter;
	size_t addrs, ports, protocols, flags;
	bn_trace_pod_fn pod;
	void *user;
	struct bn_error *err;
};

static int too_many(struct fill *f, const char *what, size_t max)
{
	return bn_error_set(f->err, -E2BIG, CANNOT "more than %zu %s", max, what);
}

static int add_addr(struct fill *f, enum bn_trace_kind kind, uint16_t ends,
		    const struct bn_cidr *cidr)
{
	struct bn_trace_addr *a = &f->filter->addrs[f->addrs];
	unsigned int bits = cidr->prefix + (cidr->family == BN_IPV4 ? 96u : 0u);

	if (f->addrs == BN_TRACE_ADDRS)
		return too_many(f, "addresses (of pods, too)", BN_TRACE_ADDRS);
	f->addrs++;
	*a = (struct bn_trace_addr){.kind = 1u << kind, .ends = ends, .family = cidr->family};
	for (unsigned int i = 0; i < bits; i++)
		a->mask.b[i / 8] |= (uint8_t)(0x80 >> i % 8);
	for (int i = 0; i < 2; i++)
		a->addr.d[i] = cidr->addr.d[i] & a->mask.d[i];
	f->filter->wanted |= 1u << kind;
	return 0;
}

static int add_ip(struct fill *f, enum bn_trace_kind kind, uint16_t ends, const char *text)
{
	struct bn_cidr cidr = {0};
	int family;

	if (strchr(text, '/')) {
		if (bn_cidr_parse(text, &cidr))
			return -EINVAL;
	} else {
		if (bn_addr_parse(text, &cidr.addr, &family))
			return -EINVAL;
		cidr.family = (uint8_t)family;
		cidr.prefix = family == BN_IPV4 ? 32 : 128;
	}
	return add_addr(f, kind, ends, &cidr);
}

static int add_pod(struct fill *f, enum bn_trace_kind kind, uint16_t ends, const char *text)
{
	const char *slash = strchr(text, '/'), *name = slash ? slash + 1 : text;
	const union bn_addr *ips;
	char *namespace;
	size_t n;
	int r;

	if (!*name || slash == text || strchr(name, '/'))
		return -EINVAL;
	namespace = slash ? strndup(text, (size_t)(slash - text)) : strdup("default");
	if (!namespace)
		return -ENOMEM;
	r = f->pod(f->user, namespace, name, &ips, &n);
	if (r || !n)
		r = bn_error_set(f->err, -ENOENT, CANNOT "there is no pod %s/%s with an address",
				 namespace, name);
	free(namespace);
	for (size_t i = 0; i < n && !r; i++) {
		struct bn_cidr cidr = {.addr = ips[i], .family = (uint8_t)bn_addr_family(&ips[i])};

		cidr.prefix = cidr.family == BN_IPV4 ? 32 : 128;
		r = add_addr(f, kind, ends, &cidr);
	}
	return r;
}

static int add_port(struct fill *f, enum bn_trace_kind kind, uint16_t ends, const char *text)
{
	size_t len = strlen(text);
	unsigned long port = strtoul(text, NULL, 10);

	if (!len || len > 5 || strspn(text, "0123456789") != len || !port || port > UINT16_MAX)
		return -EINVAL;
	if (f->ports == BN_TRACE_PORTS)
		return too_many(f, "ports", BN_TRACE_PORTS);
	f->filter->ports[f->ports++] = (struct bn_trace_port){
		.port = htons((uint16_t)port), .ends = ends, .kind = 1u << kind};
	f->filter->wanted |= 1u << kind;
	return 0;
}

static int add_protocol(struct fill *f, enum bn_trace_kind kind, uint16_t ends, const char *text)
{
	static const struct {
		const char *name;
		uint8_t numbers[2];
	} protocols[] = {
		{"tcp", {IPPROTO_TCP}},     {"udp", {IPPROTO_UDP}},
		{"sctp", {IPPROTO_SCTP}},   {"icmp", {IPPROTO_ICMP, IPPROTO_ICMPV6}},
		{"icmpv4", {IPPROTO_ICMP}}, {"icmpv6", {IPPROTO_ICMPV6}},
	};

	for (size_t i = 0; i < sizeof(protocols) / sizeof(*protocols); i++) {
		if (strcasecmp(text, protocols[i].name))
			continue;
		for (int k = 0; k < 2 && protocols[i].numbers[k]; k++) {
			if (f->protocols == BN_TRACE_PROTOCOLS)
				return too_many(f, "protocols", BN_TRACE_PROTOCOLS);
			f->filter->protocols[f->protocols++] = protocols[i].numbers[k];
		}
		f->filter->wanted |= 1u << kind;
		return 0;
	}
	return -EINVAL;
}

static int add_flags(struct fill *f, enum bn_trace_kind kind, uint16_t ends, const char *text)
{
	char copy[64], *rest = copy, *one;
	uint8_t flags = 0;

	if (strlen(text) >= sizeof(copy))
		return -EINVAL;
	strcpy(copy, text);
	while ((one = strsep(&rest, ","))) {
		unsigned int i = 0;

		while (i < 8 && strcasecmp(one, bn_tcp_flag_label(i)))
			i++;
		if (i == 8)
			return -EINVAL;
		flags |= (uint8_t)(1u << i);
	}
	if (f->flags == BN_TRACE_FLAGS)
		return too_many(f, "sets of TCP flags", BN_TRACE_FLAGS);
	f->filter->flags[f->flags++] = flags;
	f->filter->wanted |= 1u << kind;
	return 0;
}

static int add_verdict(struct fill *f, enum bn_trace_kind kind, uint16_t ends, const char *text)
{
	if (!strcasecmp(text, "forwarded"))
		f->filter->verdicts |= BN_TRACE_FORWARDED;
	else if (!strcasecmp(text, "dropped"))
		f->filter->verdicts |= BN_TRACE_DROPPED;
	else
		return -EINVAL;
	return 0;
}

static int add_reason(struct fill *f, enum bn_trace_kind kind, uint16_t ends, const char *text)
{
	_Static_assert(BN_DROP_MAX <= 64, "a bit for each reason");
	for (unsigned int i = BN_DROP_NONE + 1; i < BN_DROP_MAX; i++) {
		if (strcasecmp(text, bn_drop_reason_label(i)) == 0) {
			f->filter->reasons |= 1ull << i;
			return 0;
		}
	}
	return -EINVAL;
}

#define BOTH (BN_TRACE_FROM | BN_TRACE_TO)

static const struct field {
	const char *name;
	int (*add)(struct fill *f, enum bn_trace_kind kind, uint16_t ends, const char *text);
	enum bn_trace_kind kind;
	uint16_t ends;
	const char *expected;
} fields[] = {
	{"pod", add_pod, BN_TRACE_POD, BOTH, "[NAMESPACE/]NAME of a pod"},
	{"from-pod", add_pod, BN_TRACE_FROM_POD, BN_TRACE_FROM, "[NAMESPACE/]NAME of a pod"},
	{"to-pod", add_pod, BN_TRACE_TO_POD, BN_TRACE_TO, "[NAMESPACE/]NAME of a pod"},
	{"ip", add_ip, BN_TRACE_IP, BOTH, "an address or a CIDR"},
	{"from-ip", add_ip, BN_TRACE_FROM_IP, BN_TRACE_FROM, "an address or a CIDR"},
	{"to-ip", add_ip, BN_TRACE_TO_IP, BN_TRACE_TO, "an address or a CIDR"},
	{"port", add_port, BN_TRACE_PORT, BOTH, "a number from 1 to 65535"},
	{"from-port", add_port, BN_TRACE_FROM_PORT, BN_TRACE_FROM, "a number from 1 to 65535"},
	{"to-port", add_port, BN_TRACE_TO_PORT, BN_TRACE_TO, "a number from 1 to 65535"},
	{"protocol", add_protocol, BN_TRACE_PROTOCOL, 0, "tcp, udp, sctp, icmp, icmpv4 or icmpv6"},
	{"tcp-flags", add_flags, BN_TRACE_TCP_FLAGS, 0,
	 "flags of FIN, SYN, RST, PSH, ACK, URG, ECE and CWR"},
	{"verdict", add_verdict, BN_TRACE_KINDS, 0, "forwarded or dropped"},
	{"drop-reason", add_reason, BN_TRACE_KINDS, 0, "the label of a reason"},
};

static int parse_one(struct fill *f, const json_t *o)
{
	const char *name = json_string_value(json_object_get(o, "field"));
	const char *value = json_string_value(json_object_get(o, "value"));

	if (!name || !value || json_is_true(json_object_get(o, "not")))
		return bn_error_set(f->err, -EINVAL,
				    CANNOT "expected {\"field\": TEXT, \"value\": TEXT} in every "
					   "place of 'filters'");
	for (size_t i = 0; i < sizeof(fields) / sizeof(*fields); i++) {
		int r;

		if (strcmp(name, fields[i].name))
			continue;
		r = fields[i].add(f, fields[i].kind, fields[i].ends, value);
		if (r == -EINVAL)
			return bn_error_set(f->err, r, CANNOT "%s '%.64s': expected %s", name,
					    value, fields[i].expected);
		return r;
	}
	return bn_error_set(f->err, -EINVAL, CANNOT "no packet is traced by '%.64s'", name);
}

int bn_trace_filter_parse(const json_t *filters, bn_trace_pod_fn pod, void *user,
			  struct bn_trace_filter *ret, struct bn_error *err)
{
	struct fill f = {.filter = ret, .pod = pod, .user = user, .err = err};
	int r = 0;

	memset(ret, 0, sizeof(*ret));
	memset(ret->protocols, BN_TRACE_NO_PROTOCOL, sizeof(ret->protocols));
	if (filters && !json_is_array(filters))
		return bn_error_set(err, -EINVAL, CANNOT "'filters' is not an array");
	for (size_t i = 0; i < json_array_size(filters) && !r; i++)
		r = parse_one(&f, json_array_get(filters, i));
	/* a reason is a drop's */
	if (!ret->verdicts)
		ret->verdicts = BN_TRACE_DROPPED | (ret->reasons ? 0 : BN_TRACE_FORWARDED);
	if (ret->reasons && ret->verdicts & BN_TRACE_FORWARDED)
		ret->reasons |= 1ull << BN_DROP_NONE;
	return r;
}
