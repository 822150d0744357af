// SPDX-License-Identifier: Apache-2.0
/*
 * The filters of `bpfnet flows`: checked here for what a mistype looks like, so that the answer
 * names the option and what was expected, and handed to the agent, which applies them.
 */
#include <arpa/inet.h>
#include <bpfnet/drop_reasons.h>
#include <ctype.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "flow.h"
#include "text.h"

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

/* Each check returns what was expected, or NULL; it may put the value into its usual form. */
static const char *check_reason(char *value)
{
	for (size_t i = 0; i < N_REASONS; i++) {
		if (strcasecmp(reasons[i].label, value) == 0) {
			strcpy(value, reasons[i].label);
			return NULL;
		}
	}
	return "a label that 'bpfnet flows --drop-reason <TAB>' or bpfnet-flows(1) lists";
}

static const char *check_ip(char *value)
{
	static const char expected[] = "an IPv4 or IPv6 address or a CIDR, like 10.0.0.0/8";
	char *slash = strchr(value, '/');
	unsigned char address[16];
	long bits = 32;
	char *end;
	int family;

	if (slash)
		*slash = '\0';
	family = strchr(value, ':') ? AF_INET6 : AF_INET;
	if (inet_pton(family, value, address) != 1)
		return expected;
	if (!slash)
		return NULL;
	*slash = '/';
	if (!isdigit((unsigned char)slash[1]))
		return expected;
	bits = strtol(slash + 1, &end, 10);
	return *end || bits > (family == AF_INET6 ? 128 : 32) ? expected : NULL;
}

static const char *check_port(char *value)
{
	size_t n = strlen(value);

	if (n > 0 && n <= 5 && strspn(value, "0123456789") == n && atoi(value) > 0 &&
	    atoi(value) < 65536)
		return NULL;
	return "a port, 1 to 65535";
}

/* [NS/]NAME or NS/ */
static const char *check_name(char *value)
{
	char *slash = strchr(value, '/');

	if (*value && slash != value && !(slash && strchr(slash + 1, '/')))
		return NULL;
	return "NS/NAME, NAME (in 'default') or NS/ (all of it)";
}

static const char *check_namespace(char *value)
{
	return *value && !strchr(value, '/') ? NULL : "a namespace's name";
}

static const char *check_label(char *value)
{
	/* no empty key, at the beginning or behind a comma */
	for (const char *p = value;; p++) {
		if (!*p || strchr("=!,", *p) || isspace((unsigned char)*p))
			return "KEY, KEY=VALUE or KEY!=VALUE, several with commas";
		p = strchr(p, ',');
		if (!p)
			return NULL;
	}
}

static const char *make_lower(char *value)
{
	for (; *value; value++)
		*value = (char)tolower((unsigned char)*value);
	return NULL;
}

static const char *make_upper(char *value)
{
	for (; *value; value++)
		*value = (char)toupper((unsigned char)*value);
	return NULL;
}

static const struct {
	const char *field;
	const char *(*check)(char *value);
} fields[] = {
	{"pod", check_name},
	{"from-pod", check_name},
	{"to-pod", check_name},
	{"namespace", check_namespace},
	{"from-namespace", check_namespace},
	{"to-namespace", check_namespace},
	{"label", check_label},
	{"ip", check_ip},
	{"from-ip", check_ip},
	{"to-ip", check_ip},
	{"port", check_port},
	{"from-port", check_port},
	{"to-port", check_port},
	{"protocol", make_lower},
	{"verdict", make_upper},
	{"drop-reason", check_reason},
	{"service", check_name},
};

static int add_filter(const struct bn_call *call, json_t *filters, size_t field, const char *text,
		      bool not)
{
	char *value = strdup(text);
	const char *expected;
	json_t *filter;
	int r = 0;

	if (!value)
		return bn_fail("out of memory");
	expected = fields[field].check(value);
	if (expected) {
		r = bn_call_usage(call, "'--%s %s': expected %s", fields[field].field, text,
				  expected);
		goto out;
	}
	filter = json_pack("{s:s,s:s,s:b}", "field", fields[field].field, "value", value, "not",
			   not);
	if (!filter)
		r = bn_call_usage(call, "'--%s %s' is not UTF-8", fields[field].field, text);
	else if (json_array_append_new(filters, filter) < 0)
		r = bn_fail("out of memory");
out:
	free(value);
	return r;
}

int bn_filters_parse(const struct bn_call *call, json_t **ret)
{
	json_t *filters = json_array();
	bool not = false;
	int r = 0;

	for (size_t i = 0; i < call->n_values && !r; i++) {
		const struct bn_value *v = &call->values[i];
		size_t field;

		if (strcmp(v->option->name, "not") == 0) {
			if (not)
				r = bn_call_usage(call, "'--not' is given twice in a row");
			not = true;
			continue;
		}
		for (field = 0; field < sizeof(fields) / sizeof(fields[0]); field++) {
			if (strcmp(fields[field].field, v->option->name) == 0)
				break;
		}
		if (field == sizeof(fields) / sizeof(fields[0]))
			continue;
		r = add_filter(call, filters, field, v->value, not);
		not = false;
	}
	if (!r && not)
		r = bn_call_usage(call, "no filter follows '--not'");
	if (r)
		json_decref(filters);
	else
		*ret = filters;
	return r;
}
