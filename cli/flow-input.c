// SPDX-License-Identifier: Apache-2.0
/*
 * Stored flows: JSON lines, as `bpfnet flows -o json` and -o jsonpb write them. The file may be
 * anything: a line that is no flow is named, counted and left out, and neither its length nor its
 * contents harm.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "flow.h"
#include "lines.h"
#include "text.h"
#include "wait.h"

#define LINE_BYTES_MAX (1u << 20) /* a flow takes some 1,000 */
#define NAMED_MAX 20              /* bad lines that are named; the others are counted */

/* A flow that may be one of the last. */
struct kept {
	json_t *flow;
	char *text;
	size_t len;
};

struct input {
	const char *name;
	const struct bn_filters *filters;
	const struct bn_flow_range *range;
	struct bn_flow_show *show;
	struct bn_lines lines;
	struct bn_wait_stream stream;
	unsigned long long n_lines, n_bad;
	struct kept *kept; /* a ring, once there are range->last of them */
	size_t n_kept, room, oldest;
};

static void on_idle(void *user)
{
	bn_flow_show_idle(user);
}

static int on_wait(struct bn_lines *lines)
{
	struct input *in = lines->user;

	return bn_wait(lines->fd, POLLIN, &in->stream);
}

static void bad_line(struct input *in, const char *why)
{
	if (in->n_bad++ < NAMED_MAX)
		bn_fail("%s: line %llu is no flow: %s", in->name, in->n_lines, why);
}

/* What is wrong with it, or NULL; `ret_time` in nanoseconds since the epoch. */
static const char *check(const json_t *flow, int64_t *ret_time)
{
	static const char *const objects[] = {"IP", "l4", "source", "destination"};
	const char *time = json_string_value(json_object_get(flow, "time"));

	if (!json_is_object(flow))
		return "not an object";
	if (!time || !bn_time_parse_point(time, ret_time))
		return "'time' is not a time like 2006-01-02T15:04:05Z";
	if (json_object_get(flow, "lost_events"))
		return NULL;
	if (!json_is_string(json_object_get(flow, "verdict")))
		return "'verdict' is not a text";
	for (size_t i = 0; i < sizeof(objects) / sizeof(objects[0]); i++) {
		const json_t *o = json_object_get(flow, objects[i]);

		if (o && !json_is_object(o) && !json_is_null(o))
			return "'IP', 'l4', 'source' or 'destination' is not an object";
	}
	return NULL;
}

static bool wanted(const struct input *in, const json_t *flow, int64_t time)
{
	if (time < in->range->since || (in->range->until && time > in->range->until))
		return false;
	return json_object_get(flow, "lost_events") || bn_filters_match(in->filters, flow);
}

static int show_kept(struct input *in)
{
	int r = 0;

	for (size_t i = 0; i < in->n_kept && !r; i++) {
		const struct kept *k = &in->kept[(in->oldest + i) % in->n_kept];

		r = bn_flow_show(in->show, k->flow, k->text, k->len);
	}
	return r;
}

static void drop_kept(struct input *in)
{
	for (size_t i = 0; i < in->n_kept; i++) {
		json_decref(in->kept[i].flow);
		free(in->kept[i].text);
	}
	free(in->kept);
}

static int keep(struct input *in, json_t *flow, const char *text, size_t len)
{
	struct kept *k, new = {.flow = flow, .text = malloc(len), .len = len};

	if (!new.text)
		return bn_fail("out of memory");
	memcpy(new.text, text, len);
	if (in->n_kept == in->range->last) {
		k = &in->kept[in->oldest++];
		in->oldest %= in->n_kept;
		json_decref(k->flow);
		free(k->text);
	} else {
		if (in->n_kept == in->room) {
			in->room = in->room ? in->room * 2 : 64;
			k = reallocarray(in->kept, in->room, sizeof(*k));
			if (!k) {
				free(new.text);
				return bn_fail("out of memory");
			}
			in->kept = k;
		}
		k = &in->kept[in->n_kept++];
	}
	*k = new;
	json_incref(flow);
	return 0;
}

static int take_flow(struct input *in, json_t *flow, const char *text, size_t len)
{
	const char *why;
	int64_t time = 0;

	why = check(flow, &time);
	if (why) {
		bad_line(in, why);
		return 0;
	}
	if (!wanted(in, flow, time))
		return 0;
	return in->range->last ? keep(in, flow, text, len)
			       : bn_flow_show(in->show, flow, text, len);
}

static int take_line(struct input *in, const char *text, size_t len)
{
	json_t *object, *inner;
	json_error_t why;
	char *dump;
	int r;

	if (len == 0)
		return 0;
	object = json_loadb(text, len, JSON_REJECT_DUPLICATES, &why);
	if (!object) {
		bad_line(in, why.text);
		return 0;
	}
	inner = json_object_get(object, "flow");
	dump = json_is_object(inner) ? json_dumps(inner, JSON_COMPACT) : NULL;
	if (dump)
		r = take_flow(in, inner, dump, strlen(dump));
	else
		r = take_flow(in, object, text, len);
	free(dump);
	json_decref(object);
	return r;
}

static int take_all(struct input *in)
{
	size_t len = 0;
	char *text;
	int r;

	for (;;) {
		r = bn_lines_next(&in->lines, &text, &len);
		if (r == 0)
			return in->range->last ? show_kept(in) : 0;
		/* an interrupt and a reader that has seen enough end it, main() tells of a full disk */
		if (r == -EINTR || r == -EPIPE || r == -EIO)
			return 0;
		if (r < 0)
			return bn_fail("can't read '%s': %s", in->name, strerror(-r));
		in->n_lines++;
		if (r == BN_LINE_LONG)
			bad_line(in, "longer than 1 MiB");
		else if (take_line(in, text, len))
			return BN_EXIT_FAILED;
	}
}

int bn_flow_input(const char *file, const struct bn_filters *filters,
		  const struct bn_flow_range *range, struct bn_flow_show *show)
{
	struct input in = {
		.name = strcmp(file, "-") == 0 ? "standard input" : file,
		.filters = filters,
		.range = range,
		.show = show,
		.lines = {.fd = STDIN_FILENO,
			  .max = LINE_BYTES_MAX,
			  .wait = on_wait,
			  .user = &in,
			  .unfinished = true},
		.stream = {.idle = on_idle, .user = show},
	};
	int r;

	if (strcmp(file, "-") != 0)
		in.lines.fd = open(file, O_RDONLY | O_CLOEXEC | O_NOCTTY);
	if (in.lines.fd < 0)
		return bn_fail("can't read '%s': %s", file, strerror(errno));
	r = take_all(&in);
	if (in.lines.fd != STDIN_FILENO)
		close(in.lines.fd);
	drop_kept(&in);
	bn_lines_done(&in.lines);
	if (in.n_bad)
		r = bn_fail("%s: %llu of %llu lines are no flows and were left out", in.name,
			    in.n_bad, in.n_lines);
	return r;
}
