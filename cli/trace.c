// SPDX-License-Identifier: Apache-2.0
/*
 * `trace`: packets of a filter, a line for each hook that they pass:
 *
 *   TIME: #PACKET HOOK DEVICE: NS/POD:PORT -> NS/POD:PORT VERDICT (what became of it; detail)
 *
 * or, with --write, as pcapng (pcapng.h), where that line is the packet's comment.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "client.h"
#include "flow.h"
#include "pcapng.h"
#include "text.h"

struct trace {
	const struct bn_call *call;
	struct bn_flow_style style;
	long left;      /* packets until the end; 0: no end */
	long long last; /* the last packet's number */
	FILE *file;     /* of --write, or NULL */
	const char *name;
	struct bn_pcapng *pcapng;
};

static const char *text_of(const json_t *o, const char *key)
{
	const char *text = json_string_value(json_object_get(o, key));

	return text ? text : "";
}

static void print_action(FILE *f, const json_t *trace)
{
	const char *to = text_of(trace, "to_device");

	bn_text_clean(f, text_of(trace, "action"));
	if (*to) {
		fputs(" to ", f);
		bn_text_clean(f, to);
	}
}

/* All of the line behind the time. */
static void print_packet(FILE *f, const json_t *packet, const struct bn_flow_style *style)
{
	const json_t *trace = json_object_get(packet, "trace");

	fprintf(f, "#%lld ", (long long)json_integer_value(json_object_get(trace, "packet")));
	bn_text_clean(f, text_of(trace, "hook"));
	fputc(' ', f);
	bn_text_clean(f, text_of(trace, "device"));
	fputs(": ", f);
	bn_flow_print_end(f, packet, true, style);
	fputs(" -> ", f);
	bn_flow_print_end(f, packet, false, style);
	fputc(' ', f);
	bn_flow_print_verdict(f, packet, style);
	fputs(" (", f);
	if (bn_flow_print_reason(f, packet))
		fputs(", ", f);
	print_action(f, trace);
	fputs("; ", f);
	bn_flow_print_packet(f, packet, false);
	fprintf(f, ", %lld B",
		(long long)json_integer_value(
			json_object_get(json_object_get(packet, "capture"), "original_length")));
	if (json_object_get(packet, "original") || json_object_get(packet, "destination_service") ||
	    json_object_get(packet, "source_service")) {
		fputs("; service ", f);
		bn_flow_print_service(f, packet);
	}
	if (json_object_get(packet, "egress_denied_by") ||
	    json_object_get(packet, "ingress_denied_by")) {
		fputs("; ", f);
		bn_flow_print_rules(f, packet, false, "; ");
	}
	fputc(')', f);
}

/* Bytes of base64 without blanks, at most `max`; what is none ends it. */
static size_t read_base64(const char *text, uint8_t *ret, size_t max)
{
	static const char digits[] =
		"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
	unsigned int bits = 0, have = 0;
	size_t n = 0;

	for (; *text && n < max; text++) {
		const char *digit = strchr(digits, *text);

		if (!digit)
			break;
		bits = bits << 6 | (unsigned int)(digit - digits);
		have += 6;
		if (have >= 8) {
			have -= 8;
			ret[n++] = (uint8_t)(bits >> have);
		}
	}
	return n;
}

static bool is_outbound(const char *hook)
{
	return strcmp(hook, "to-pod") == 0 || strcmp(hook, "to-uplink") == 0 ||
	       strcmp(hook, "host-egress") == 0;
}

static int write_packet(struct trace *t, const json_t *packet)
{
	const struct bn_flow_style plain = {.numeric = t->style.numeric};
	const json_t *capture = json_object_get(packet, "capture");
	const json_t *trace = json_object_get(packet, "trace");
	const char *hook = text_of(trace, "hook");
	uint8_t data[128];
	int64_t time = 0;
	char *comment = NULL;
	size_t size;
	FILE *f = open_memstream(&comment, &size);
	bool written;

	if (!f)
		return bn_fail("out of memory");
	print_packet(f, packet, &plain);
	fclose(f);
	bn_time_parse_point(text_of(packet, "time"), &time);
	written = comment &&
		  bn_pcapng_write(
			  t->pcapng,
			  &(struct bn_pcapng_packet){
				  .device = text_of(trace, "device"),
				  .time = (uint64_t)time,
				  .data = data,
				  .len = read_base64(text_of(capture, "data"), data, sizeof(data)),
				  .original_len = (size_t)json_integer_value(
					  json_object_get(capture, "original_length")),
				  .outbound = is_outbound(hook),
				  .number = (uint64_t)json_integer_value(
					  json_object_get(trace, "packet")),
				  .xdp = strcmp(hook, "xdp") == 0,
				  .verdict = json_integer_value(json_object_get(trace, "verdict")),
				  .comment = comment,
			  });
	free(comment);
	return written ? 0 : bn_fail("can't write %s: %s", t->name, strerror(errno));
}

static void say_missed(const json_t *missed)
{
	long long rate = json_integer_value(json_object_get(missed, "rate"));
	long long room = json_integer_value(json_object_get(missed, "room"));

	if (rate)
		bn_fail("%lld packets are missing here: more than is told in a second", rate);
	if (room)
		bn_fail("%lld packets are missing here: the agent was too slow", room);
}

/* All hooks of the last packet that is wanted, so the end is the next one's first. */
static bool is_over(struct trace *t, const json_t *packet)
{
	long long number =
		json_integer_value(json_object_get(json_object_get(packet, "trace"), "packet"));

	if (!t->left || number <= t->last)
		return false;
	t->last = number;
	return --t->left == 0;
}

static int show(const json_t *packet, const char *text, size_t len, void *user)
{
	struct trace *t = user;
	const json_t *missed = json_object_get(packet, "missed");

	if (missed && (t->file || t->call->format == BN_FORMAT_COMPACT)) {
		say_missed(missed);
		return 0;
	}
	if (!missed && is_over(t, packet))
		return -1;
	if (t->file)
		return write_packet(t, packet);
	if (t->call->format == BN_FORMAT_JSON) {
		bn_text_clean_json(stdout, text, len);
		putchar('\n');
		return 0;
	}
	bn_flow_print_time(stdout, packet);
	fputs(": ", stdout);
	print_packet(stdout, packet, &t->style);
	putchar('\n');
	return 0;
}

static void show_idle(void *user)
{
	const struct trace *t = user;

	if (t->file)
		fflush(t->file);
}

static int open_file(struct trace *t)
{
	int fd;

	t->name = bn_call_option(t->call, "write");
	if (!t->name)
		return 0;
	if (strcmp(t->name, "-") == 0) {
		if (isatty(STDOUT_FILENO))
			return bn_call_usage(t->call,
					     "'--write -': packets are not for a terminal; "
					     "give it a pipe");
		t->file = stdout;
		t->name = "standard output";
	} else {
		/* what is on the wire is not for everybody */
		fd = open(t->name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
		t->file = fd < 0 ? NULL : fdopen(fd, "w");
	}
	if (!t->file)
		return bn_fail("can't write %s: %s", t->name, strerror(errno));
	t->pcapng = bn_pcapng_new(t->file);
	return t->pcapng ? 0 : bn_fail("out of memory");
}

static int close_file(struct trace *t, int r)
{
	bn_pcapng_free(t->pcapng);
	if (t->file && t->file != stdout && (ferror(t->file) | fclose(t->file)) && !r)
		r = bn_fail("can't write %s: %s", t->name, strerror(errno));
	return r;
}

static int take_count(const struct bn_call *call, long *ret)
{
	const char *text = bn_call_option(call, "count");
	char *rest;

	if (!text)
		return 0;
	*ret = strtol(text, &rest, 10);
	if (*rest || !*text || text[strspn(text, "0123456789")] || *ret < 1 || *ret > 100000000)
		return bn_call_usage(call, "'--count %s': expected a number from 1 to 100000000",
				     text);
	++*ret;
	return 0;
}

int bn_cmd_trace(struct bn_call *call)
{
	struct trace t = {.call = call,
			  .style = {.numeric = bn_call_option(call, "numeric"),
				    .color = bn_text_color(bn_call_option(call, "color"))}};
	struct bn_filters *filters = NULL;
	struct bn_ask ask = BN_ASK("trace", NULL);
	int r = bn_filters_parse(call, &filters);

	if (!r)
		r = take_count(call, &t.left);
	if (!r)
		r = open_file(&t);
	if (!r) {
		ask.params = json_pack("{s:o}", "filters", bn_filters_json(filters));
		ask.idle = show_idle;
		r = bn_client_stream(call, &ask, show, &t);
		json_decref(ask.params);
	}
	bn_filters_free(filters);
	return close_file(&t, r);
}
