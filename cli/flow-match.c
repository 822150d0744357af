// SPDX-License-Identifier: Apache-2.0
/*
 * Filters against flows as JSON. The agent compares its own records (loader/flows/filter.c); the
 * two must say the same of every flow, which tests/unit/test-flows-stored.c holds them to.
 *
 * A flow that comes from outside may be of any shape: what is not where it belongs is not there.
 */
#include <arpa/inet.h>
#include <string.h>
#include <strings.h>

#include "filter.h"

static const char *text_of(const json_t *o, const char *key)
{
	return json_string_value(json_object_get(o, key));
}

static bool match_name(const struct bn_filter *f, const json_t *o, const char *key)
{
	const char *namespace = text_of(o, "namespace"), *name = text_of(o, key);

	return namespace && name && strcmp(namespace, f->namespace) == 0 &&
	       strncmp(name, f->prefix, strlen(f->prefix)) == 0;
}

static bool match_pod(const struct bn_filter *f, const json_t *end)
{
	return match_name(f, end, "pod_name");
}

static bool match_namespace(const struct bn_filter *f, const json_t *end)
{
	const char *namespace = text_of(end, "namespace");

	return namespace && strcmp(namespace, f->namespace) == 0;
}

static bool match_identity(const struct bn_filter *f, const json_t *end)
{
	const json_t *identity = json_object_get(end, "identity");

	return json_is_integer(identity) && json_integer_value(identity) == (json_int_t)f->number;
}

static bool is_reserved(const json_t *end, const char *name)
{
	const json_t *identity = json_object_get(end, "identity");
	json_int_t n = json_integer_value(identity);
	const char *own = json_is_integer(identity) && n >= 0 && n <= UINT32_MAX
				  ? bn_identity_name((uint32_t)n)
				  : NULL;

	return own && strcmp(own, name + strlen("reserved:")) == 0;
}

static bool match_one_label(const struct bn_filter_label *l, const json_t *end)
{
	const json_t *item;
	size_t i, len = strlen(l->key);

	if (strncmp(l->key, "reserved:", 9) == 0)
		return is_reserved(end, l->key);
	json_array_foreach(json_object_get(end, "labels"), i, item) {
		const char *label = json_string_value(item);

		if (!label || strncmp(label, "k8s:", 4) != 0)
			continue;
		label += 4;
		if (strncmp(label, l->key, len) != 0 || label[len] != '=')
			continue;
		return !l->value || (strcmp(label + len + 1, l->value) == 0) != l->differs;
	}
	return l->differs;
}

static bool match_label(const struct bn_filter *f, const json_t *end)
{
	for (size_t i = 0; i < f->n_labels; i++) {
		if (!match_one_label(&f->labels[i], end))
			return false;
	}
	return true;
}

static bool match_ends(const struct bn_filter *f, const json_t *flow,
		       bool (*match)(const struct bn_filter *f, const json_t *end))
{
	return (f->field->end & BN_END_FROM && match(f, json_object_get(flow, "source"))) ||
	       (f->field->end & BN_END_TO && match(f, json_object_get(flow, "destination")));
}

static bool in_cidr(const struct bn_filter *f, const char *ip)
{
	unsigned char address[16];
	unsigned bytes = f->bits / 8, rest = f->bits % 8;

	if (!ip || inet_pton(f->family, ip, address) != 1)
		return false;
	return memcmp(address, f->address, bytes) == 0 &&
	       (!rest || !((address[bytes] ^ f->address[bytes]) >> (8 - rest)));
}

/* A service's address is the destination of what was sent to it. */
static bool match_ip(const struct bn_filter *f, const json_t *flow)
{
	const json_t *ip = json_object_get(flow, "IP");

	if (f->field->end & BN_END_FROM && in_cidr(f, text_of(ip, "source")))
		return true;
	return f->field->end & BN_END_TO &&
	       (in_cidr(f, text_of(ip, "destination")) ||
		in_cidr(f, text_of(json_object_get(flow, "original"), "ip")));
}

static bool is_port(const struct bn_filter *f, const json_t *o, const char *key)
{
	const json_t *port = json_object_get(o, key);

	return json_is_integer(port) && json_integer_value(port) == (json_int_t)f->number;
}

static bool match_port(const struct bn_filter *f, const json_t *flow)
{
	static const char *const protocols[] = {"TCP", "UDP", "SCTP"};
	const json_t *l4 = json_object_get(flow, "l4"), *o = NULL;

	for (size_t i = 0; i < 3 && !o; i++)
		o = json_object_get(l4, protocols[i]);
	if (f->field->end & BN_END_FROM && is_port(f, o, "source_port"))
		return true;
	return f->field->end & BN_END_TO &&
	       (is_port(f, o, "destination_port") ||
		(o && is_port(f, json_object_get(flow, "original"), "port")));
}

static bool match_protocol(const struct bn_filter *f, const json_t *flow)
{
	const json_t *l4 = json_object_get(flow, "l4"), *v;
	const char *key;

	json_object_foreach((json_t *)l4, key, v) {
		if (strcasecmp(key, f->text) == 0)
			return true;
		if (strcmp(f->text, "icmp") == 0 && strncmp(key, "ICMPv", 5) == 0)
			return true;
	}
	return false;
}

static bool has_flags(const struct bn_filter *f, const json_t *flags)
{
	for (unsigned i = 0; i < 8; i++) {
		if (f->flags & 1u << i &&
		    !json_is_true(json_object_get(flags, bn_tcp_flag_names[i])))
			return false;
	}
	return true;
}

static bool match_tcp_flags(const struct bn_filter *f, const json_t *flow)
{
	const json_t *tcp = json_object_get(json_object_get(flow, "l4"), "TCP");

	return tcp && (has_flags(f, json_object_get(tcp, "flags")) ||
		       has_flags(f, json_object_get(flow, "tcp_flags")) ||
		       has_flags(f, json_object_get(flow, "reply_tcp_flags")));
}

static bool is_text(const json_t *flow, const char *key, const char *want)
{
	const char *text = text_of(flow, key);

	return text && strcasecmp(text, want) == 0;
}

static bool match(const struct bn_filter *f, const json_t *flow)
{
	switch (f->field->kind) {
	case BN_FILTER_POD:
		return match_ends(f, flow, match_pod);
	case BN_FILTER_NAMESPACE:
		return match_ends(f, flow, match_namespace);
	case BN_FILTER_LABEL:
		return match_ends(f, flow, match_label);
	case BN_FILTER_IDENTITY:
		return match_ends(f, flow, match_identity);
	case BN_FILTER_SERVICE:
		return match_name(f, json_object_get(flow, "destination_service"), "name") ||
		       match_name(f, json_object_get(flow, "source_service"), "name");
	case BN_FILTER_IP:
		return match_ip(f, flow);
	case BN_FILTER_PORT:
		return match_port(f, flow);
	case BN_FILTER_PROTOCOL:
		return match_protocol(f, flow);
	case BN_FILTER_TCP_FLAGS:
		return match_tcp_flags(f, flow);
	case BN_FILTER_VERDICT:
		return is_text(flow, "verdict", f->text);
	case BN_FILTER_DROP_REASON:
		return is_text(flow, "drop_reason_desc", f->text);
	}
	return false;
}

/* Whether one of the alternatives for `field` holds. */
static bool match_any(const struct bn_filters *filters, const struct bn_filter_field *field,
		      const json_t *flow)
{
	for (size_t i = 0; i < filters->n; i++) {
		const struct bn_filter *f = &filters->filters[i];

		if (!f->not&&f->field == field && match(f, flow))
			return true;
	}
	return false;
}

bool bn_filters_match(const struct bn_filters *filters, const json_t *flow)
{
	for (size_t i = 0; i < filters->n; i++) {
		const struct bn_filter *f = &filters->filters[i];

		if (f->not? match(f, flow) : !match_any(filters, f->field, flow))
			return false;
	}
	return true;
}
