// SPDX-License-Identifier: Apache-2.0
/*
 * The filters of `bpfnet flows`: read here, so that the answer to a mistype names the option and
 * what was expected, and handed to the agent, or compared with stored flows (flow-match.c).
 *
 * Invariant: what passes here, the agent takes (loader/flows/filter.c), and means the same by it.
 */
#include "filter.h"

#include <arpa/inet.h>
#include <bpfnet/drop_reasons.h>
#include <bpfnet/limits.h>
#include <ctype.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "text.h"

/* The agent's limits. */
#define FILTERS_MAX 256
#define VALUE_MAX 1024

static const struct {
	const char *label;
	const char *text;
} reasons[] = {
#define BN_X(number, name, label, text) {label, text},
	BN_DROP_REASONS(BN_X)
#undef BN_X
};

#define N_REASONS (sizeof(reasons) / sizeof(reasons[0]))

void bn_reasons_each(void (*each)(const char *label, const char *text, void *user), void *user)
{
	for (size_t i = 0; i < N_REASONS; i++)
		each(reasons[i].label, reasons[i].text, user);
}

const char *const bn_tcp_flag_names[8] = {"FIN", "SYN", "RST", "PSH", "ACK", "URG", "ECE", "CWR"};

const char *bn_identity_name(uint32_t identity)
{
	static const char *const names[] = {
		[BN_IDENTITY_UNKNOWN] = "unknown",
		[BN_IDENTITY_HOST] = "host",
		[BN_IDENTITY_WORLD] = "world",
		[BN_IDENTITY_REMOTE_NODE] = "remote-node",
	};

	return identity < sizeof(names) / sizeof(names[0]) ? names[identity] : NULL;
}

/*
 * Each reader returns what was expected, or NULL; it may put the text into its usual form.
 * `parts` is a copy of the text, to be cut up.
 */
static const char *read_reason(struct bn_filter *f)
{
	for (size_t i = 0; i < N_REASONS; i++) {
		if (strcasecmp(reasons[i].label, f->text) == 0) {
			strcpy(f->text, reasons[i].label);
			return NULL;
		}
	}
	return "a label that 'bpfnet flows --drop-reason <TAB>' or bpfnet-flows(1) lists";
}

/* A whole number without signs, blanks or leading zeroes. */
static bool read_number(const char *text, unsigned long max, unsigned long *ret)
{
	size_t n = strlen(text);

	if (n == 0 || n > 10 || strspn(text, "0123456789") != n || (n > 1 && *text == '0'))
		return false;
	*ret = strtoul(text, NULL, 10);
	return *ret <= max;
}

static const char *read_ip(struct bn_filter *f)
{
	static const char expected[] = "an IPv4 or IPv6 address or a CIDR, like 10.0.0.0/8";
	static const unsigned char mapped[12] = {[10] = 0xff, [11] = 0xff};
	char *slash = strchr(f->parts, '/');
	unsigned long bits;

	if (slash)
		*slash++ = '\0';
	f->family = strchr(f->parts, ':') ? AF_INET6 : AF_INET;
	if (inet_pton(f->family, f->parts, f->address) != 1)
		return expected;
	if (f->family == AF_INET6 && memcmp(f->address, mapped, sizeof(mapped)) == 0)
		return "an IPv4 address in its own notation, like 10.0.0.1";
	f->bits = f->family == AF_INET6 ? 128 : 32;
	if (!slash)
		return NULL;
	if (!read_number(slash, f->bits, &bits))
		return expected;
	for (unsigned i = (unsigned)bits; i < f->bits; i++) {
		if (f->address[i / 8] & 0x80 >> i % 8)
			return "a CIDR whose address has no bits behind the prefix, like "
			       "10.0.0.0/8";
	}
	f->bits = (unsigned)bits;
	return NULL;
}

static const char *read_port(struct bn_filter *f)
{
	unsigned long port;

	if (!read_number(f->text, 65535, &port) || port == 0)
		return "a port, 1 to 65535";
	f->number = (uint32_t)port;
	return NULL;
}

static const char *read_identity(struct bn_filter *f)
{
	unsigned long number;

	for (f->number = 0; bn_identity_name(f->number); f->number++) {
		if (strcasecmp(bn_identity_name(f->number), f->text) == 0)
			return NULL;
	}
	if (!read_number(f->text, UINT32_MAX, &number))
		return "an identity's number, or unknown, host, world or remote-node";
	f->number = (uint32_t)number;
	return NULL;
}

/* [NS/]NAME or NS/ */
static const char *read_name(struct bn_filter *f)
{
	char *slash = strchr(f->parts, '/');

	f->namespace = "default";
	f->prefix = f->parts;
	if (slash) {
		*slash = '\0';
		f->namespace = f->parts;
		f->prefix = slash + 1;
	}
	if (*f->namespace && (slash || *f->prefix) && !strchr(f->prefix, '/'))
		return NULL;
	return "NS/NAME, NAME (in 'default') or NS/ (all of it)";
}

static const char *read_namespace(struct bn_filter *f)
{
	f->namespace = f->text;
	return *f->text && !strchr(f->text, '/') ? NULL : "a namespace's name";
}

static bool read_one_label(struct bn_filter_label *l, char *text)
{
	char *equal = strchr(text, '=');

	if (strncmp(text, "k8s:", 4) == 0)
		text += 4;
	l->key = text;
	if (strncmp(text, "reserved:", 9) == 0) {
		for (uint32_t i = 0; bn_identity_name(i); i++) {
			if (strcmp(bn_identity_name(i), text + 9) == 0)
				return true;
		}
		return false;
	}
	if (equal) {
		l->value = equal + 1 + (equal[1] == '=');
		*equal = '\0';
		if (equal > text && equal[-1] == '!') {
			l->value = equal + 1;
			l->differs = true;
			equal[-1] = '\0';
		}
	}
	return *l->key && !strpbrk(l->key, " !()") && !(l->value && strpbrk(l->value, " =!()"));
}

static const char *read_label(struct bn_filter *f)
{
	char *rest = f->parts, *one;
	size_t n = 1;

	for (const char *p = f->text; *p; p++)
		n += *p == ',';
	f->labels = calloc(n, sizeof(*f->labels));
	if (!f->labels)
		return "more memory";
	while ((one = strsep(&rest, ","))) {
		if (!read_one_label(&f->labels[f->n_labels++], one))
			return "KEY, KEY=VALUE or KEY!=VALUE, several with commas";
	}
	return NULL;
}

static const char *read_tcp_flags(struct bn_filter *f)
{
	char *rest = f->parts, *one;

	for (char *p = f->text; *p; p++)
		*p = (char)toupper((unsigned char)*p);
	while ((one = strsep(&rest, ","))) {
		unsigned i = 0;

		while (i < 8 && strcasecmp(one, bn_tcp_flag_names[i]) != 0)
			i++;
		if (i == 8)
			return "flags of FIN, SYN, RST, PSH, ACK, URG, ECE and CWR, several with "
			       "commas";
		f->flags |= 1u << i;
	}
	return NULL;
}

/* The option's own list of words has been asked already. */
static const char *read_protocol(struct bn_filter *f)
{
	for (char *p = f->text; *p; p++)
		*p = (char)tolower((unsigned char)*p);
	return NULL;
}

static const char *read_verdict(struct bn_filter *f)
{
	for (char *p = f->text; *p; p++)
		*p = (char)toupper((unsigned char)*p);
	return NULL;
}

static const struct bn_filter_field fields[] = {
	{"pod", BN_FILTER_POD, BN_END_EITHER},
	{"from-pod", BN_FILTER_POD, BN_END_FROM},
	{"to-pod", BN_FILTER_POD, BN_END_TO},
	{"namespace", BN_FILTER_NAMESPACE, BN_END_EITHER},
	{"from-namespace", BN_FILTER_NAMESPACE, BN_END_FROM},
	{"to-namespace", BN_FILTER_NAMESPACE, BN_END_TO},
	{"label", BN_FILTER_LABEL, BN_END_EITHER},
	{"ip", BN_FILTER_IP, BN_END_EITHER},
	{"from-ip", BN_FILTER_IP, BN_END_FROM},
	{"to-ip", BN_FILTER_IP, BN_END_TO},
	{"port", BN_FILTER_PORT, BN_END_EITHER},
	{"from-port", BN_FILTER_PORT, BN_END_FROM},
	{"to-port", BN_FILTER_PORT, BN_END_TO},
	{"identity", BN_FILTER_IDENTITY, BN_END_EITHER},
	{"from-identity", BN_FILTER_IDENTITY, BN_END_FROM},
	{"to-identity", BN_FILTER_IDENTITY, BN_END_TO},
	{"protocol", BN_FILTER_PROTOCOL, BN_END_EITHER},
	{"tcp-flags", BN_FILTER_TCP_FLAGS, BN_END_EITHER},
	{"verdict", BN_FILTER_VERDICT, BN_END_EITHER},
	{"drop-reason", BN_FILTER_DROP_REASON, BN_END_EITHER},
	{"service", BN_FILTER_SERVICE, BN_END_EITHER},
};

static const char *(*const readers[])(struct bn_filter *f) = {
	[BN_FILTER_POD] = read_name,
	[BN_FILTER_SERVICE] = read_name,
	[BN_FILTER_NAMESPACE] = read_namespace,
	[BN_FILTER_LABEL] = read_label,
	[BN_FILTER_IP] = read_ip,
	[BN_FILTER_PORT] = read_port,
	[BN_FILTER_IDENTITY] = read_identity,
	[BN_FILTER_PROTOCOL] = read_protocol,
	[BN_FILTER_TCP_FLAGS] = read_tcp_flags,
	[BN_FILTER_VERDICT] = read_verdict,
	[BN_FILTER_DROP_REASON] = read_reason,
};

static const struct bn_filter_field *find_field(const char *name)
{
	for (size_t i = 0; i < sizeof(fields) / sizeof(fields[0]); i++) {
		if (strcmp(fields[i].name, name) == 0)
			return &fields[i];
	}
	return NULL;
}

static int read_filter(const struct bn_call *call, struct bn_filter *f, const char *text)
{
	const char *expected;
	json_t *utf8;

	if (strlen(text) > VALUE_MAX)
		return bn_call_usage(call,
				     "the value of '--%s' is too long: expected %d bytes at "
				     "most",
				     f->field->name, VALUE_MAX);
	utf8 = json_string(text);
	json_decref(utf8);
	if (!utf8)
		return bn_call_usage(call, "'--%s %s' is not UTF-8", f->field->name, text);
	f->text = strdup(text);
	f->parts = strdup(text);
	if (!f->text || !f->parts)
		return bn_fail("out of memory");
	expected = readers[f->field->kind](f);
	return expected ? bn_call_usage(call, "'--%s %s': expected %s", f->field->name, text,
					expected)
			: 0;
}

void bn_filters_free(struct bn_filters *filters)
{
	if (!filters)
		return;
	for (size_t i = 0; i < filters->n; i++) {
		free(filters->filters[i].text);
		free(filters->filters[i].parts);
		free(filters->filters[i].labels);
	}
	free(filters);
}

int bn_filters_parse(const struct bn_call *call, struct bn_filters **ret)
{
	struct bn_filters *filters =
		calloc(1, sizeof(*filters) + call->n_values * sizeof(filters->filters[0]));
	bool not = false;
	int r = 0;

	if (!filters)
		return bn_fail("out of memory");
	for (size_t i = 0; i < call->n_values && !r; i++) {
		const struct bn_value *v = &call->values[i];
		struct bn_filter *f = &filters->filters[filters->n];

		if (strcmp(v->option->name, "not") == 0) {
			if (not)
				r = bn_call_usage(call, "'--not' is given twice in a row");
			not = true;
			continue;
		}
		f->field = find_field(v->option->name);
		if (!f->field)
			continue;
		f->not = not;
		not = false;
		filters->n++;
		r = read_filter(call, f, v->value);
	}
	if (!r && not)
		r = bn_call_usage(call, "no filter follows '--not'");
	if (!r && filters->n > FILTERS_MAX)
		r = bn_call_usage(call, "%zu filters are too many: expected %d at most", filters->n,
				  FILTERS_MAX);
	if (r)
		bn_filters_free(filters);
	else
		*ret = filters;
	return r;
}

json_t *bn_filters_json(const struct bn_filters *filters)
{
	json_t *array = json_array();

	for (size_t i = 0; i < filters->n; i++) {
		const struct bn_filter *f = &filters->filters[i];

		json_array_append_new(array, json_pack("{s:s,s:s,s:b}", "field", f->field->name,
						       "value", f->text, "not", f->not));
	}
	return array;
}
