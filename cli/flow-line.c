// SPDX-License-Identifier: Apache-2.0
/*
 * A flow as one line, after `hubble observe`:
 *
 *   Nov 23 09:20:11.123: default/client:40112 -> default/web-1:8080 FORWARDED (TCP SYN opened ...)
 *
 * A reply is shown with its ends exchanged and the arrow turned round, so that the lines of one
 * connection read alike. Everything but the detail is free of blanks.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "flow.h"
#include "output.h"
#include "text.h"

#define RED "31"
#define GREEN "32"
#define CYAN "36"
#define YELLOW "33"

static const char *text_of(const json_t *o, const char *key)
{
	return json_string_value(json_object_get(o, key));
}

static json_int_t int_of(const json_t *o, const char *key)
{
	return json_integer_value(json_object_get(o, key));
}

static void color(FILE *f, const struct bn_flow_style *style, const char *code)
{
	if (style->color)
		fprintf(f, "\033[%sm", code);
}

/* RFC 3339 in, local time out; as it is where it can't be read. */
void bn_flow_print_time(FILE *f, const json_t *flow)
{
	const char *text = text_of(flow, "time");
	int64_t ns = 0;
	struct tm tm;
	time_t sec;
	char when[32];

	if (!text || !bn_time_parse_point(text, &ns)) {
		bn_text_clean(f, text ? text : "-");
		return;
	}
	sec = (time_t)(ns / 1000000000);
	localtime_r(&sec, &tm);
	strftime(when, sizeof(when), "%b %e %H:%M:%S", &tm);
	fprintf(f, "%s.%03d", when, (int)(ns / 1000000 % 1000));
}

/* The layer-4 object and its name ("TCP"), NULL where there is none. */
static const json_t *layer4(const json_t *flow, const char **ret_name)
{
	const json_t *l4 = json_object_get(flow, "l4");
	const json_t *v;
	const char *key;

	json_object_foreach((json_t *)l4, key, v) {
		*ret_name = key;
		return v;
	}
	*ret_name = NULL;
	return NULL;
}

void bn_flow_print_end(FILE *f, const json_t *flow, bool source, const struct bn_flow_style *style)
{
	const json_t *end = json_object_get(flow, source ? "source" : "destination");
	const char *ip = text_of(json_object_get(flow, "IP"), source ? "source" : "destination");
	const char *pod = text_of(end, "pod_name");
	const char *namespace = text_of(end, "namespace");
	const char *name;
	json_int_t port = int_of(layer4(flow, &name), source ? "source_port" : "destination_port");

	color(f, style, CYAN);
	if (pod && *pod && !style->numeric) {
		bn_text_clean(f, namespace ? namespace : "");
		fputc('/', f);
		bn_text_clean(f, pod);
		if (port)
			fprintf(f, ":%lld", (long long)port);
	} else {
		bn_output_address(f, ip, port);
	}
	color(f, style, "0");
}

/* SYN,ACK; false, and nothing: there are none. */
static bool print_flags(FILE *f, const json_t *flags, const char *before)
{
	const char *flag;
	const json_t *v;
	bool any = false;

	json_object_foreach((json_t *)flags, flag, v) {
		if (!json_is_true(v))
			continue;
		fputs(any ? "," : before, f);
		bn_text_clean(f, flag);
		any = true;
	}
	return any;
}

void bn_flow_print_flags(FILE *f, const json_t *flow)
{
	bool any = print_flags(f, json_object_get(flow, "tcp_flags"), "");

	if (any)
		fputs(" out", f);
	if (print_flags(f, json_object_get(flow, "reply_tcp_flags"), any ? ", " : ""))
		fputs(" in", f);
}

/* TCP SYN,ACK; ICMPv4 type 8; protocol 47 */
static void print_layer4(FILE *f, const json_t *flow)
{
	const char *name;
	const json_t *l4 = layer4(flow, &name);

	if (!name) {
		fputs("no transport header", f);
		return;
	}
	bn_text_clean(f, name);
	if (json_is_number(l4))
		fprintf(f, " %lld", (long long)json_integer_value(l4));
	if (json_object_get(l4, "type"))
		fprintf(f, " type %lld", (long long)int_of(l4, "type"));
	print_flags(f, json_object_get(l4, "flags"), " ");
}

static void print_bytes(FILE *f, json_int_t n)
{
	static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB"};
	double v = (double)n;
	size_t i = 0;

	for (; v >= 1024 && i < 4; i++)
		v /= 1024;
	fprintf(f, i ? "%.1f %s" : "%.0f %s", v, units[i]);
}

static void print_closed(FILE *f, const json_t *flow)
{
	const char *cause = text_of(flow, "close_cause"), *by = text_of(flow, "closed_by");

	if (cause) {
		fputc(' ', f);
		bn_text_clean(f, cause);
	}
	if (by) {
		fputs(" by ", f);
		bn_text_clean(f, by);
	}
	fprintf(f, ", %lld packets ", (long long)int_of(flow, "packets"));
	print_bytes(f, int_of(flow, "bytes"));
	fprintf(f, " out, %lld packets ", (long long)int_of(flow, "reply_packets"));
	print_bytes(f, int_of(flow, "reply_bytes"));
	fprintf(f, " in, %.3f s", (double)int_of(flow, "duration_ms") / 1000);
	if (int_of(flow, "handshake_us") > 0)
		fprintf(f, ", handshake %lld us", (long long)int_of(flow, "handshake_us"));
}

static const json_t *service_of(const json_t *flow)
{
	const json_t *service = json_object_get(flow, "destination_service");

	return service ? service : json_object_get(flow, "source_service");
}

static bool has_service(const json_t *flow)
{
	return service_of(flow) || json_object_get(flow, "original");
}

bool bn_flow_print_service(FILE *f, const json_t *flow)
{
	const json_t *service = service_of(flow);
	const json_t *original = json_object_get(flow, "original");

	if (!service && !original)
		return false;
	if (service) {
		const char *namespace = text_of(service, "namespace");
		const char *name = text_of(service, "name");

		bn_text_clean(f, namespace ? namespace : "");
		fputc('/', f);
		bn_text_clean(f, name ? name : "");
	}
	if (original) {
		if (service)
			fputc(' ', f);
		bn_output_address(f, text_of(original, "ip"), int_of(original, "port"));
	}
	return true;
}

/*
 * No rule of a NetworkPolicy denies: what none allows is denied by default. `n`: how much stands
 * before it already; returns how much there is then.
 */
static size_t print_rules(FILE *f, const json_t *flow, const char *direction, bool allowed,
			  const char *separator, size_t n)
{
	const json_t *rule, *list;
	char key[32];
	size_t i;

	snprintf(key, sizeof(key), "%s_%s_by", direction, allowed ? "allowed" : "denied");
	list = json_object_get(flow, key);
	json_array_foreach(list, i, rule) {
		const char *namespace = text_of(rule, "namespace"), *name = text_of(rule, "name");
		const char *own = text_of(rule, "rule");
		const json_t *index = json_object_get(rule, "index");

		fprintf(f, "%s%s ", n++ ? separator : "", direction);
		if (!json_is_integer(index))
			fputs("no rule: default deny by ", f);
		if (namespace) {
			bn_text_clean(f, namespace);
			fputc('/', f);
		}
		bn_text_clean(f, name ? name : "");
		if (json_is_integer(index))
			fprintf(f, " rule %lld", (long long)json_integer_value(index));
		if (own) {
			fputs(" \"", f);
			bn_text_clean(f, own);
			fputc('"', f);
		}
	}
	return n;
}

bool bn_flow_print_rules(FILE *f, const json_t *flow, bool allowed, const char *separator)
{
	static const char *const directions[] = {"egress", "ingress"};
	size_t n = 0;

	for (int i = 0; i < 2; i++) {
		n = print_rules(f, flow, directions[i], false, separator, n);
		if (allowed)
			n = print_rules(f, flow, directions[i], true, separator, n);
	}
	return n > 0;
}

bool bn_flow_print_reason(FILE *f, const json_t *flow)
{
	const char *reason = text_of(flow, "drop_reason_desc");

	if (!reason || !*reason)
		return false;
	bn_text_clean(f, reason);
	if (strcmp(reason, "spoofed-source") == 0) {
		/* the end is named by its device */
		fputc(' ', f);
		bn_output_address(f, text_of(json_object_get(flow, "IP"), "source"), 0);
	}
	return true;
}

void bn_flow_print_verdict(FILE *f, const json_t *flow, const struct bn_flow_style *style)
{
	const char *verdict = text_of(flow, "verdict");
	bool dropped = verdict && strcmp(verdict, "DROPPED") == 0;
	bool audited = verdict && strcmp(verdict, "AUDIT") == 0;

	color(f, style, dropped ? RED : audited ? YELLOW : GREEN);
	bn_text_clean(f, verdict ? verdict : "-");
	color(f, style, "0");
}

void bn_flow_print_packet(FILE *f, const json_t *flow, bool type)
{
	const char *event = text_of(flow, "event_type");

	print_layer4(f, flow);
	/* what the verdict says already */
	type = type && event && strcmp(event, "drop") != 0 && strcmp(event, "audit") != 0;
	if (type) {
		fputc(' ', f);
		bn_text_clean(f, event);
	}
	if (event && strcmp(event, "closed") == 0)
		print_closed(f, flow);
}

/* Service and rules, each behind a semicolon. */
static void print_more(FILE *f, const json_t *flow)
{
	if (has_service(flow)) {
		fputs("; service ", f);
		bn_flow_print_service(f, flow);
	}
	print_rules(f, flow, "egress", false, "; ", 1);
	print_rules(f, flow, "ingress", false, "; ", 1);
}

void bn_flow_print(FILE *f, const json_t *flow, const struct bn_flow_style *style)
{
	bool reply = json_is_true(json_object_get(flow, "is_reply"));

	bn_flow_print_time(f, flow);
	fputs(": ", f);
	bn_flow_print_end(f, flow, !reply, style);
	fputs(reply ? " <- " : " -> ", f);
	bn_flow_print_end(f, flow, reply, style);
	fputc(' ', f);
	bn_flow_print_verdict(f, flow, style);
	fputs(" (", f);
	if (bn_flow_print_reason(f, flow))
		fputs("; ", f);
	bn_flow_print_packet(f, flow, true);
	print_more(f, flow);
	fputs(")\n", f);
}
