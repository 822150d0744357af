// SPDX-License-Identifier: Apache-2.0
/*
 * `top`: the command. One wait for all that may happen: a record, a key, the end of the interval. On
 * paper (no terminal, --once, JSON) the same tables are printed one below the other.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>

#include "client.h"
#include "output.h"
#include "text.h"
#include "top.h"

#define INTERVAL_MIN 0.1
#define INTERVAL_MAX 3600.0
#define ROWS_DEFAULT 20
/* Reading a large flow table takes a while, of the agent's time too: at most a tenth of all. */
#define READING_SHARE 10

struct top {
	const struct bn_call *call;
	struct bn_top *data;
	struct bn_client *flows;
	uint64_t lost; /* records that this reader was too slow for */
	double interval;
	size_t rows; /* on paper */
	bool once, screen, paused, turned, help;
	enum bn_top_view view;
	enum bn_top_column sort;
	size_t first;
	int64_t read_at,
		took; /* the last reading, CLOCK_MONOTONIC, and how long it was, microseconds */
};

static int64_t now_usec(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (int64_t)ts.tv_sec * 1000000 + ts.tv_nsec / 1000;
}

/* ---- what is read ---- */

static int on_conn(const json_t *object, const char *text, size_t len, void *user)
{
	bn_top_conn(user, object);
	return 0;
}

static int on_flow(const json_t *object, const char *text, size_t len, void *user)
{
	struct top *t = user;
	const json_t *lost = json_object_get(object, "lost_events");

	if (lost) {
		const json_t *n = json_object_get(lost, "num_events_lost");

		t->lost += (uint64_t)(json_is_string(n) ? atoll(json_string_value(n))
							: json_integer_value(n));
	} else {
		bn_top_flow(t->data, object);
	}
	return 0;
}

static int read_endpoints(struct top *t)
{
	struct bn_ask ask = BN_ASK("endpoint.list", NULL);
	json_t *endpoints = NULL;
	int r;

	ask.quiet = t->screen;
	r = bn_client_ask(t->call, &ask, &endpoints);
	if (!r)
		bn_top_endpoints(t->data, endpoints);
	json_decref(endpoints);
	return r;
}

static int read_table(struct top *t)
{
	const int64_t begin = now_usec();
	struct bn_ask ask = BN_ASK("ct.list", NULL);
	int r;

	ask.quiet = t->screen;
	r = read_endpoints(t);
	if (r)
		return r;
	bn_top_begin(t->data);
	r = bn_client_stream(t->call, &ask, on_conn, t->data);
	if (r)
		return r;
	bn_top_end(t->data, t->read_at ? (double)(begin - t->read_at) / 1e6 : 1);
	t->read_at = begin;
	t->took = now_usec() - begin;
	return 0;
}

/* ---- what is shown ---- */

static void print_line(void *user, size_t n, const char *text)
{
	puts(text);
}

static char *time_text(char buf[32])
{
	const time_t now = time(NULL);
	struct tm tm;

	gmtime_r(&now, &tm);
	strftime(buf, 32, "%Y-%m-%dT%H:%M:%SZ", &tm);
	return buf;
}

static void print_json(const struct top *t, const struct bn_top_row *const *rows, size_t n)
{
	char when[32];
	json_t *o = json_pack("{s:s, s:s, s:f, s:I, s:o}", "time", time_text(when), "view",
			      bn_top_views[t->view], "interval_s", t->interval, "records_lost",
			      (json_int_t)t->lost, "rows", bn_top_json(rows, n, t->view));

	json_dumpf(o, stdout, JSON_COMPACT | JSON_REAL_PRECISION(12));
	putchar('\n');
	json_decref(o);
}

static void print_paper(const struct top *t, const struct bn_top_row *const *rows, size_t n)
{
	const struct bn_top_style style = {.view = t->view,
					   .sort = BN_TOP_SORTS,
					   .most = t->rows,
					   .headers = !t->call->no_headers};
	json_t *list;

	n = n < t->rows ? n : t->rows;
	if (t->call->format == BN_FORMAT_JSON) {
		print_json(t, rows, n);
	} else if (t->call->format == BN_FORMAT_YAML) {
		list = bn_top_json(rows, n, t->view);
		bn_output_yaml(stdout, list, false);
		json_decref(list);
	} else {
		bn_top_table(rows, n, &style, print_line, NULL);
		if (!t->once)
			putchar('\n');
	}
}

static void draw(struct top *t, const struct bn_top_row *const *rows, size_t n)
{
	struct bn_screen s = {.style = {.view = t->view, .sort = t->sort}, .help = t->help};
	char title[200], note[200], lost[64] = "";

	if (t->first >= n)
		t->first = n ? n - 1 : 0;
	s.first = t->first;
	if (t->lost)
		snprintf(lost, sizeof(lost), ", %llu records missed", (unsigned long long)t->lost);
	snprintf(title, sizeof(title), "bpfnet top: %s, every %.3g s%s%s", bn_top_views[t->view],
		 t->interval, t->paused ? ", paused" : "", lost);
	snprintf(note, sizeof(note), "%zu rows, by %s%s; h for help, q to quit", n,
		 bn_top_sorts[t->sort], t->turned ? " turned round" : "");
	s.title = title;
	s.note = note;
	bn_screen_draw(&s, rows, n);
}

static int show(struct top *t)
{
	const struct bn_top_row **rows;
	size_t n;

	rows = bn_top_rows(t->data, t->view, t->sort, t->turned, &n);
	if (!rows)
		return bn_fail("out of memory");
	if (t->screen)
		draw(t, rows, n);
	else
		print_paper(t, rows, n);
	free(rows);
	return 0;
}

/* ---- keys ---- */

static enum bn_top_column first_sort(enum bn_top_view view)
{
	return view == BN_TOP_DROPS ? BN_TOP_DROPPED : BN_TOP_OUT;
}

static void change_view(struct top *t, enum bn_top_view view)
{
	t->view = view;
	t->first = 0;
	if (t->sort != BN_TOP_NAME && !bn_top_has(view, t->sort))
		t->sort = first_sort(view);
}

static void change_sort(struct top *t, int by)
{
	int sort = (int)t->sort;

	do
		sort = (sort + by + BN_TOP_SORTS) % BN_TOP_SORTS;
	while (sort != BN_TOP_NAME && !bn_top_has(t->view, (enum bn_top_column)sort));
	t->sort = (enum bn_top_column)sort;
}

static void change_interval(struct top *t, double by)
{
	t->interval *= by;
	if (t->interval < INTERVAL_MIN)
		t->interval = INTERVAL_MIN;
	if (t->interval > INTERVAL_MAX)
		t->interval = INTERVAL_MAX;
}

/* false: to quit */
static bool on_key(struct top *t, enum bn_top_key key)
{
	switch (key) {
	case BN_KEY_QUIT:
		return false;
	case BN_KEY_VIEW:
		change_view(t, (t->view + 1) % BN_TOP_VIEWS);
		break;
	case BN_KEY_TALKERS:
	case BN_KEY_SERVICES:
	case BN_KEY_DROPS:
		change_view(t, (enum bn_top_view)(BN_TOP_TALKERS + (int)(key - BN_KEY_TALKERS)));
		break;
	case BN_KEY_LEFT:
		change_sort(t, -1);
		break;
	case BN_KEY_RIGHT:
		change_sort(t, 1);
		break;
	case BN_KEY_TURN:
		t->turned = !t->turned;
		break;
	case BN_KEY_PAUSE:
		t->paused = !t->paused;
		break;
	case BN_KEY_FASTER:
		change_interval(t, 0.5);
		break;
	case BN_KEY_SLOWER:
		change_interval(t, 2);
		break;
	case BN_KEY_UP:
		t->first -= t->first > 0;
		break;
	case BN_KEY_DOWN:
		t->first++;
		break;
	case BN_KEY_HELP:
		t->help = !t->help;
		break;
	case BN_KEY_NONE:
	case BN_KEY_OTHER:
		break;
	}
	return true;
}

/* Whatever has been typed; false: to quit. Draws anew where something was. */
static bool keys(struct top *t)
{
	enum bn_top_key key;
	bool any = false;

	while (t->screen && (key = bn_screen_key()) != BN_KEY_NONE) {
		any = true;
		if (!on_key(t, key))
			return false;
	}
	return !any || !show(t);
}

/* ---- the loop ---- */

static int64_t next_reading(const struct top *t)
{
	const int64_t interval = (int64_t)(t->interval * 1e6);
	const int64_t least = t->took * READING_SHARE;

	return t->read_at + (interval > least ? interval : least);
}

/* Until the interval is over. 0, an exit code, or -EINTR: it is to end. */
static int pass_interval(struct top *t)
{
	int64_t left;
	int r;

	while ((left = next_reading(t) - now_usec()) > 0) {
		if (!t->screen && (fflush(stdout) == EOF || ferror(stdout)))
			return -EINTR; /* main() says why */
		r = bn_client_wait(t->flows, t->screen, left);
		if (!r)
			r = bn_client_take(t->flows, on_flow, t);
		if (r)
			return r < 0 ? -EINTR : r;
		if (!keys(t))
			return -EINTR;
	}
	return bn_client_take(t->flows, on_flow, t);
}

static int run(struct top *t)
{
	int r = 0;

	if (t->screen)
		r = show(t);
	while (!r) {
		r = pass_interval(t);
		if (!r)
			r = read_table(t);
		if (!r && !t->paused)
			r = show(t);
		if (!r && t->once)
			break;
	}
	return r;
}

/* ---- the command line ---- */

/* Index of a word in a list; -1: it is not there. */
static int word_of(const char *const *words, int n, const char *word)
{
	for (int i = 0; i < n; i++) {
		if (!strcasecmp(words[i], word))
			return i;
	}
	return -1;
}

static int take_interval(struct top *t)
{
	const char *text = bn_call_option(t->call, "interval");
	char *end;

	t->interval = 2;
	if (!text)
		return 0;
	t->interval = strtod(text, &end);
	if (end == text || *end || !(t->interval >= INTERVAL_MIN && t->interval <= INTERVAL_MAX))
		return bn_call_usage(t->call, "'--interval %s': expected seconds, %g to %g", text,
				     INTERVAL_MIN, INTERVAL_MAX);
	return 0;
}

static int take_options(struct top *t)
{
	const char *view = bn_call_option(t->call, "view"), *sort = bn_call_option(t->call, "sort");
	const char *rows = bn_call_option(t->call, "rows");
	int v = view ? word_of(bn_top_views, BN_TOP_VIEWS, view) : BN_TOP_TALKERS, s;
	char *end;
	long n;

	t->view = (enum bn_top_view)v;
	s = sort ? word_of(bn_top_sorts, BN_TOP_SORTS, sort) : (int)first_sort(t->view);
	t->sort = (enum bn_top_column)s;
	if (s != BN_TOP_NAME && !bn_top_has(t->view, t->sort))
		return bn_call_usage(t->call, "'--sort %s': the view '%s' has no such column", sort,
				     bn_top_views[t->view]);
	t->rows = t->call->format == BN_FORMAT_TABLE || t->call->format == BN_FORMAT_WIDE
			  ? ROWS_DEFAULT
			  : SIZE_MAX;
	if (rows) {
		n = strtol(rows, &end, 10);
		if (end == rows || *end || n < 1 || n > 1000000)
			return bn_call_usage(t->call, "'--rows %s': expected 1 to 1000000", rows);
		t->rows = (size_t)n;
	}
	t->once = bn_call_option(t->call, "once");
	return take_interval(t);
}

int bn_cmd_top(struct bn_call *call)
{
	struct top t = {.call = call};
	json_t *params = json_pack("{s:b}", "follow", true);
	int r = take_options(&t);

	if (!r) {
		t.data = bn_top_new();
		r = t.data ? read_table(&t) : bn_fail("out of memory");
	}
	if (!r)
		r = bn_client_open(call, &(struct bn_ask)BN_ASK("flows", params), &t.lost,
				   &t.flows);
	if (!r) {
		t.screen = !t.once && bn_output_is_table(call) && bn_screen_open();
		r = run(&t);
		/* the screen would hide what went wrong */
		if (t.screen) {
			bn_screen_close();
			if (r > 0)
				bn_fail("bpfnetd at %s does not answer any more", call->run_dir);
		}
	}
	bn_client_close(t.flows);
	bn_top_free(t.data);
	json_decref(params);
	return r < 0 ? BN_EXIT_DONE : r;
}
