// SPDX-License-Identifier: Apache-2.0
/*
 * Flow filters. Everything is parsed once, when a reader subscribes, so that a match is
 * comparisons only; the terms are kept sorted by field, so that one pass sees each field's
 * alternatives together.
 *
 * Invariant: a parsed filter has no bad value; bn_flow_filter_match() cannot fail.
 */
#include "flows/filter.h"

#include "address.h"
#include "flows/json.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

enum field_kind {
	KIND_POD,
	KIND_SERVICE,
	KIND_NAMESPACE,
	KIND_LABEL,
	KIND_IP,
	KIND_PORT,
	KIND_IDENTITY,
	KIND_PROTOCOL,
	KIND_TCP_FLAGS,
	KIND_VERDICT,
	KIND_DROP_REASON,
};

enum end {
	END_FROM = 1,
	END_TO = 2,
	END_EITHER = END_FROM | END_TO,
};

static const struct field {
	const char *name;
	enum field_kind kind;
	enum end end;
} fields[] = {
	{"pod", KIND_POD, END_EITHER},
	{"from-pod", KIND_POD, END_FROM},
	{"to-pod", KIND_POD, END_TO},
	{"namespace", KIND_NAMESPACE, END_EITHER},
	{"from-namespace", KIND_NAMESPACE, END_FROM},
	{"to-namespace", KIND_NAMESPACE, END_TO},
	{"label", KIND_LABEL, END_EITHER},
	{"ip", KIND_IP, END_EITHER},
	{"from-ip", KIND_IP, END_FROM},
	{"to-ip", KIND_IP, END_TO},
	{"port", KIND_PORT, END_EITHER},
	{"from-port", KIND_PORT, END_FROM},
	{"to-port", KIND_PORT, END_TO},
	{"identity", KIND_IDENTITY, END_EITHER},
	{"from-identity", KIND_IDENTITY, END_FROM},
	{"to-identity", KIND_IDENTITY, END_TO},
	{"protocol", KIND_PROTOCOL, END_EITHER},
	{"tcp-flags", KIND_TCP_FLAGS, END_EITHER},
	{"verdict", KIND_VERDICT, END_EITHER},
	{"drop-reason", KIND_DROP_REASON, END_EITHER},
	{"service", KIND_SERVICE, END_EITHER},
};

#define N_FIELDS (sizeof(fields) / sizeof(*fields))

#define FIELD_NAMES \
	"pod, from-pod, to-pod, namespace, from-namespace, to-namespace, label, ip, from-ip, " \
	"to-ip, port, from-port, to-port, identity, from-identity, to-identity, protocol, " \
	"tcp-flags, verdict, drop-reason or service"

enum label_operator {
	LABEL_EXISTS,
	LABEL_EQUAL,
	LABEL_NOT_EQUAL,
};

struct label_term {
	const char *key;
	const char *value;
	enum label_operator op;
	bool reserved; /* key is the name of a reserved identity */
};

struct term {
	const struct field *field;
	bool negate;
	char *text;            /* what the strings below point into */
	const char *namespace; /* pod, service, namespace */
	const char *prefix;    /* pod, service */
	struct label_term *labels;
	size_t n_labels;
	struct bn_cidr cidr;
	unsigned int
		number; /* port, identity, flags, drop reason, verdict (event type), protocol */
	unsigned int alternate; /* protocol */
};

struct bn_flow_filter {
	size_t n;
	struct term terms[];
};

static int parse_name(struct term *t)
{
	char *slash = strchr(t->text, '/');

	if (slash) {
		*slash = 0;
		t->namespace = t->text;
		t->prefix = slash + 1;
	} else {
		t->namespace = "default";
		t->prefix = t->text;
	}
	return *t->namespace && (slash || *t->prefix) && !strchr(t->prefix, '/') ? 0 : -EINVAL;
}

static int parse_namespace(struct term *t)
{
	t->namespace = t->text;
	return *t->text && !strchr(t->text, '/') ? 0 : -EINVAL;
}

static int parse_one_label(struct label_term *l, char *text)
{
	char *equal = strchr(text, '=');

	if (strncmp(text, "k8s:", 4) == 0)
		text += 4;
	if (strncmp(text, "reserved:", 9) == 0) {
		l->key = text + 9;
		l->reserved = true;
		for (uint32_t i = 0; i < BN_IDENTITY_FIRST; i++) {
			const char *name = bn_identity_label(i);

			if (name && strcmp(name, l->key) == 0)
				return 0;
		}
		return -EINVAL;
	}
	l->key = text;
	l->op = LABEL_EXISTS;
	if (equal) {
		l->op = LABEL_EQUAL;
		l->value = equal + 1;
		*equal = 0;
		if (equal > text && equal[-1] == '!') {
			l->op = LABEL_NOT_EQUAL;
			equal[-1] = 0;
		} else if (*l->value == '=') { /* == is = in Kubernetes' selectors */
			l->value++;
		}
	}
	if (!*l->key || strpbrk(l->key, " !()") || (l->value && strpbrk(l->value, " =!()")))
		return -EINVAL;
	return 0;
}

static int parse_label(struct term *t)
{
	size_t n = 1;
	char *rest = t->text, *one;

	for (const char *p = t->text; *p; p++)
		n += *p == ',';
	t->labels = calloc(n, sizeof(*t->labels));
	if (!t->labels)
		return -ENOMEM;
	while ((one = strsep(&rest, ",")))
		if (parse_one_label(&t->labels[t->n_labels++], one) < 0)
			return -EINVAL;
	return 0;
}

static int parse_ip(struct term *t)
{
	int family;

	if (strchr(t->text, '/'))
		return bn_cidr_parse(t->text, &t->cidr);
	if (bn_addr_parse(t->text, &t->cidr.addr, &family) < 0)
		return -EINVAL;
	t->cidr.family = (uint8_t)family;
	t->cidr.prefix = family == BN_IPV4 ? 32 : 128;
	return 0;
}

static int parse_number(struct term *t, unsigned long min, unsigned long max)
{
	size_t n = strlen(t->text);
	unsigned long number;

	if (n == 0 || n > 10 || strspn(t->text, "0123456789") != n)
		return -EINVAL;
	number = strtoul(t->text, NULL, 10);
	if (number < min || number > max)
		return -EINVAL;
	t->number = (unsigned int)number;
	return 0;
}

static int parse_port(struct term *t)
{
	return parse_number(t, 1, UINT16_MAX);
}

static int parse_identity(struct term *t)
{
	for (uint32_t i = 0; i < BN_IDENTITY_FIRST; i++) {
		const char *name = bn_identity_label(i);

		if (name && strcasecmp(t->text, name) == 0) {
			t->number = i;
			return 0;
		}
	}
	return parse_number(t, 0, UINT32_MAX);
}

static int parse_tcp_flags(struct term *t)
{
	char *rest = t->text, *one;

	while ((one = strsep(&rest, ","))) {
		unsigned int i = 0;

		while (i < 8 && strcasecmp(one, bn_tcp_flag_label(i)) != 0)
			i++;
		if (i == 8)
			return -EINVAL;
		t->number |= 1u << i;
	}
	return 0;
}

static int parse_protocol(struct term *t)
{
	static const struct {
		const char *name;
		unsigned int number, alternate;
	} protocols[] = {
		{"tcp", IPPROTO_TCP, IPPROTO_TCP},      {"udp", IPPROTO_UDP, IPPROTO_UDP},
		{"sctp", IPPROTO_SCTP, IPPROTO_SCTP},   {"icmp", IPPROTO_ICMP, IPPROTO_ICMPV6},
		{"icmpv4", IPPROTO_ICMP, IPPROTO_ICMP}, {"icmpv6", IPPROTO_ICMPV6, IPPROTO_ICMPV6},
	};

	for (size_t i = 0; i < sizeof(protocols) / sizeof(*protocols); i++) {
		if (strcasecmp(t->text, protocols[i].name) != 0)
			continue;
		t->number = protocols[i].number;
		t->alternate = protocols[i].alternate;
		return 0;
	}
	return -EINVAL;
}

static int parse_verdict(struct term *t)
{
	static const char *const verdicts[] = {"forwarded", "dropped", "audit"};

	for (unsigned int i = 0; i < sizeof(verdicts) / sizeof(*verdicts); i++) {
		if (strcasecmp(t->text, verdicts[i]) == 0) {
			t->number = i;
			return 0;
		}
	}
	return -EINVAL;
}

static int parse_drop_reason(struct term *t)
{
	for (unsigned int i = BN_DROP_NONE + 1; i < BN_DROP_MAX; i++) {
		if (strcasecmp(t->text, bn_drop_reason_label(i)) == 0) {
			t->number = i;
			return 0;
		}
	}
	return -EINVAL;
}

static const struct parser {
	int (*parse)(struct term *t);
	const char *expected;
} parsers[] = {
	[KIND_POD] = {parse_name, "[NAMESPACE/]PREFIX of a pod's name, as in default/web"},
	[KIND_SERVICE] = {parse_name, "[NAMESPACE/]PREFIX of a service's name, as in default/web"},
	[KIND_NAMESPACE] = {parse_namespace, "the name of a namespace"},
	[KIND_LABEL] = {parse_label, "KEY, KEY=VALUE or KEY!=VALUE, several separated by commas"},
	[KIND_IP] = {parse_ip, "an address or a CIDR, as in 10.0.0.7, 10.0.0.0/8 or fd00::/64"},
	[KIND_PORT] = {parse_port, "a number from 1 to 65535"},
	[KIND_IDENTITY] = {parse_identity,
			   "an identity's number, or unknown, host, world or remote-node"},
	[KIND_TCP_FLAGS] = {parse_tcp_flags, "flags of FIN, SYN, RST, PSH, ACK, URG, ECE and CWR, "
					     "several separated by commas"},
	[KIND_PROTOCOL] = {parse_protocol, "tcp, udp, sctp, icmp, icmpv4 or icmpv6"},
	[KIND_VERDICT] = {parse_verdict, "forwarded, dropped or audit"},
#define BN_X(number, name, label, text) " " label
	[KIND_DROP_REASON] = {parse_drop_reason, "one of" BN_DROP_REASONS(BN_X)},
#undef BN_X
};

static int parse_term(struct term *t, const json_t *o, struct bn_error *err)
{
	const json_t *field = json_object_get(o, "field");
	const json_t *value = json_object_get(o, "value");
	const json_t *negate = json_object_get(o, "not");
	const struct parser *parser;
	int r;

	if (!json_is_string(field) || !json_is_string(value) ||
	    (negate && !json_is_boolean(negate)))
		return bn_error_set(err, -EINVAL,
				    "cannot filter flows: expected {\"field\": TEXT, \"value\": "
				    "TEXT, \"not\": true or false} in every place of 'filters'");
	for (size_t i = 0; i < N_FIELDS && !t->field; i++)
		if (strcmp(fields[i].name, json_string_value(field)) == 0)
			t->field = &fields[i];
	if (!t->field)
		return bn_error_set(
			err, -EINVAL,
			"cannot filter flows by '%.64s': no such field; use " FIELD_NAMES,
			json_string_value(field));
	parser = &parsers[t->field->kind];
	t->negate = json_is_true(negate);
	/* a NUL inside, or too much of it, is no name of anything */
	r = -EINVAL;
	if (json_string_length(value) <= BN_FLOW_FILTER_VALUE_MAX &&
	    strlen(json_string_value(value)) == json_string_length(value)) {
		t->text = strdup(json_string_value(value));
		r = t->text ? parser->parse(t) : -ENOMEM;
	}
	if (r == -ENOMEM)
		return r;
	if (r < 0)
		return bn_error_set(err, -EINVAL, "cannot filter flows by %s '%.64s': expected %s",
				    t->field->name, json_string_value(value), parser->expected);
	return 0;
}

static int term_compare(const void *a, const void *b)
{
	const struct term *x = a, *y = b;

	if (x->negate != y->negate)
		return x->negate - y->negate;
	return (x->field > y->field) - (x->field < y->field);
}

int bn_flow_filter_parse(const json_t *filters, struct bn_flow_filter **ret, struct bn_error *err)
{
	struct bn_flow_filter *f;
	size_t n = json_array_size(filters);
	int r;

	if (filters && !json_is_array(filters))
		return bn_error_set(err, -EINVAL, "cannot filter flows: 'filters' is not an array");
	if (n > BN_FLOW_FILTERS_MAX)
		return bn_error_set(err, -E2BIG,
				    "cannot filter flows: %zu filters, at most %d are taken", n,
				    BN_FLOW_FILTERS_MAX);
	if (n == 0) {
		*ret = NULL;
		return 0;
	}
	f = calloc(1, sizeof(*f) + n * sizeof(*f->terms));
	if (!f)
		return -ENOMEM;
	while (f->n < n) {
		r = parse_term(&f->terms[f->n], json_array_get(filters, f->n), err);
		f->n++;
		if (r < 0) {
			bn_flow_filter_free(f);
			return r;
		}
	}
	qsort(f->terms, f->n, sizeof(*f->terms), term_compare);
	*ret = f;
	return 0;
}

void bn_flow_filter_free(struct bn_flow_filter *f)
{
	if (!f)
		return;
	for (size_t i = 0; i < f->n; i++) {
		free(f->terms[i].text);
		free(f->terms[i].labels);
	}
	free(f);
}

static bool match_name(const struct term *t, const struct bn_name *name, enum bn_name_kind kind)
{
	const char *namespace = name ? bn_name_namespace(name) : NULL;

	return namespace && bn_name_kind(name) == kind && strcmp(namespace, t->namespace) == 0 &&
	       strncmp(bn_name_text(name), t->prefix, strlen(t->prefix)) == 0;
}

static bool match_namespace(const struct term *t, const struct bn_name *name)
{
	const char *namespace = name ? bn_name_namespace(name) : NULL;

	return namespace && strcmp(namespace, t->namespace) == 0;
}

static bool match_one_label(const struct label_term *l, const struct bn_name *name,
			    uint32_t identity)
{
	size_t len = strlen(l->key);
	const char *label = NULL;

	if (l->reserved) {
		const char *reserved = bn_identity_label(identity);

		return reserved && strcmp(reserved, l->key) == 0;
	}
	while (name && (label = bn_name_label_next(name, label))) {
		if (strncmp(label, l->key, len) != 0 || label[len] != '=')
			continue;
		if (l->op == LABEL_EXISTS)
			return true;
		return (strcmp(label + len + 1, l->value) == 0) == (l->op == LABEL_EQUAL);
	}
	return l->op == LABEL_NOT_EQUAL;
}

static uint32_t identity_of(const struct bn_name *name, uint32_t told)
{
	return told == BN_IDENTITY_UNKNOWN && name ? bn_name_identity(name) : told;
}

static bool match_label(const struct term *t, const struct bn_name *name, uint32_t identity)
{
	identity = identity_of(name, identity);
	for (size_t i = 0; i < t->n_labels; i++)
		if (!match_one_label(&t->labels[i], name, identity))
			return false;
	return true;
}

static bool match_ip(const struct term *t, const struct bn_event *e)
{
	__be16 port;

	if (e->tuple.family == 0)
		return false;
	if (t->field->end & END_FROM && bn_cidr_contains(&t->cidr, &e->tuple.saddr))
		return true;
	return t->field->end & END_TO &&
	       (bn_cidr_contains(&t->cidr, &e->tuple.daddr) ||
		bn_cidr_contains(&t->cidr, bn_flow_destination(e, &port)));
}

static bool match_port(const struct term *t, const struct bn_event *e)
{
	__be16 want = htons((uint16_t)t->number), port;

	if (e->tuple.family == 0 ||
	    (e->tuple.protocol != IPPROTO_TCP && e->tuple.protocol != IPPROTO_UDP &&
	     e->tuple.protocol != IPPROTO_SCTP))
		return false;
	if (t->field->end & END_FROM && e->tuple.sport == want)
		return true;
	(void)bn_flow_destination(e, &port);
	return t->field->end & END_TO && (e->tuple.dport == want || port == want);
}

static bool match_tcp_flags(const struct term *t, const struct bn_event *e)
{
	if (e->tuple.family == 0 || e->tuple.protocol != IPPROTO_TCP)
		return false;
	if ((e->tcp_flags & t->number) == t->number)
		return true;
	return e->header.type == BN_EVENT_FLOW_CLOSED &&
	       (e->reply_tcp_flags & t->number) == t->number;
}

static bool match_term(const struct term *t, const struct bn_flow_record *rec)
{
	const struct bn_event *e = &rec->event;
	enum end end = t->field->end;

	switch (t->field->kind) {
	case KIND_POD:
		return (end & END_FROM && match_name(t, rec->source, BN_NAME_POD)) ||
		       (end & END_TO && match_name(t, rec->destination, BN_NAME_POD));
	case KIND_SERVICE:
		return match_name(t, rec->service, BN_NAME_SERVICE);
	case KIND_NAMESPACE:
		return (end & END_FROM && match_namespace(t, rec->source)) ||
		       (end & END_TO && match_namespace(t, rec->destination));
	case KIND_LABEL:
		return match_label(t, rec->source, e->src_identity) ||
		       match_label(t, rec->destination, e->dst_identity);
	case KIND_IP:
		return match_ip(t, e);
	case KIND_PORT:
		return match_port(t, e);
	case KIND_IDENTITY:
		return (end & END_FROM && identity_of(rec->source, e->src_identity) == t->number) ||
		       (end & END_TO &&
			identity_of(rec->destination, e->dst_identity) == t->number);
	case KIND_TCP_FLAGS:
		return match_tcp_flags(t, e);
	case KIND_PROTOCOL:
		return e->tuple.family &&
		       (e->tuple.protocol == t->number || e->tuple.protocol == t->alternate);
	case KIND_VERDICT:
		return t->number == (e->header.type == BN_EVENT_DROP ? 1
				     : bn_flow_is_audited(e)         ? 2
								     : 0);
	case KIND_DROP_REASON:
		return (e->header.type == BN_EVENT_DROP || bn_flow_is_audited(e)) &&
		       e->reason == t->number;
	}
	return false;
}

bool bn_flow_filter_match(const struct bn_flow_filter *f, const struct bn_flow_record *record)
{
	size_t i = 0;

	if (!f)
		return true;
	while (i < f->n && !f->terms[i].negate) {
		const struct field *field = f->terms[i].field;
		bool any = false;

		for (; i < f->n && !f->terms[i].negate && f->terms[i].field == field; i++)
			any = any || match_term(&f->terms[i], record);
		if (!any)
			return false;
	}
	for (; i < f->n; i++)
		if (match_term(&f->terms[i], record))
			return false;
	return true;
}
