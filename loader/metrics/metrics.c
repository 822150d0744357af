// SPDX-License-Identifier: Apache-2.0
/*
 * The writer of Prometheus' text format. All samples of a metric must stand together under one
 * heading, whichever source they come from, so each metric has a buffer of its own while sources
 * are asked; the text is these, in the order of the table, without those that have no sample.
 */
#include "metrics/metrics.h"

#include "flows/buffer.h"

#include <errno.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

struct metric {
	const char *name;
	const char *type;
	const char *help;
};

static const struct metric table[BN_METRIC_MAX] = {
#define BN_X(id, name, type, help) [BN_METRIC_##id] = {name, type, help},
	BN_METRICS(BN_X)
#undef BN_X
};

struct source {
	bn_metrics_fn collect;
	void *user;
};

struct bn_metrics {
	struct source *sources;
	size_t n_sources;
};

struct bn_metrics_out {
	struct bn_buf samples[BN_METRIC_MAX];
};

int bn_metrics_new(struct bn_metrics **ret)
{
	struct bn_metrics *m = calloc(1, sizeof(*m));

	if (!m)
		return -ENOMEM;
	*ret = m;
	return 0;
}

void bn_metrics_free(struct bn_metrics *m)
{
	if (!m)
		return;
	free(m->sources);
	free(m);
}

int bn_metrics_register(struct bn_metrics *m, bn_metrics_fn collect, void *user)
{
	struct source *sources = reallocarray(m->sources, m->n_sources + 1, sizeof(*m->sources));

	if (!sources)
		return -ENOMEM;
	sources[m->n_sources] = (struct source){collect, user};
	m->sources = sources;
	m->n_sources++;
	return 0;
}

/* A label's value may hold any UTF-8; three characters are escaped. */
static void put_label_value(struct bn_buf *b, const char *s)
{
	for (; *s; s++) {
		if (*s == '\n')
			bn_buf_puts(b, "\\n");
		else if (*s == '"' || *s == '\\')
			bn_buf_put(b, (const char[]){'\\', *s}, 2);
		else
			bn_buf_putc(b, *s);
	}
}

/* `suffix` and the label `le` are a histogram's, else "" and NULL. */
static void put_head(struct bn_buf *b, enum bn_metric id, const char *suffix, const char *le,
		     va_list ap)
{
	const char *label;
	char before = '{';

	bn_buf_puts(b, table[id].name);
	bn_buf_puts(b, suffix);
	while ((label = va_arg(ap, const char *))) {
		bn_buf_putc(b, before);
		bn_buf_puts(b, label);
		bn_buf_puts(b, "=\"");
		put_label_value(b, va_arg(ap, const char *));
		bn_buf_putc(b, '"');
		before = ',';
	}
	if (le) {
		bn_buf_putc(b, before);
		bn_buf_puts(b, "le=\"");
		bn_buf_puts(b, le);
		bn_buf_putc(b, '"');
		before = ',';
	}
	bn_buf_puts(b, before == ',' ? "} " : " ");
}

static void put_f64(struct bn_buf *b, double value)
{
	char number[64];

	if (isnan(value))
		snprintf(number, sizeof(number), "NaN\n");
	else if (isinf(value))
		snprintf(number, sizeof(number), value > 0 ? "+Inf\n" : "-Inf\n");
	else
		snprintf(number, sizeof(number), "%.15g\n", value);
	bn_buf_puts(b, number);
}

static void put_u64(struct bn_buf *b, uint64_t value)
{
	bn_buf_u64(b, value);
	bn_buf_putc(b, '\n');
}

void bn_metric_u64(struct bn_metrics_out *out, enum bn_metric id, uint64_t value, ...)
{
	va_list ap;

	va_start(ap, value);
	put_head(&out->samples[id], id, "", NULL, ap);
	va_end(ap);
	put_u64(&out->samples[id], value);
}

void bn_metric_f64(struct bn_metrics_out *out, enum bn_metric id, double value, ...)
{
	va_list ap;

	va_start(ap, value);
	put_head(&out->samples[id], id, "", NULL, ap);
	va_end(ap);
	put_f64(&out->samples[id], value);
}

static const double bounds[] = BN_HISTOGRAM_BOUNDS;
_Static_assert(sizeof(bounds) / sizeof(bounds[0]) == BN_HISTOGRAM_BUCKETS - 1, "and one above");

void bn_histogram_add(struct bn_histogram *h, double seconds)
{
	size_t i = 0;

	while (i < BN_HISTOGRAM_BUCKETS - 1 && seconds > bounds[i])
		i++;
	h->bucket[i]++;
	h->sum += seconds;
}

void bn_metric_histogram(struct bn_metrics_out *out, enum bn_metric id,
			 const struct bn_histogram *h, ...)
{
	struct bn_buf *b = &out->samples[id];
	uint64_t count = 0;
	char le[32];
	va_list ap;

	for (size_t i = 0; i < BN_HISTOGRAM_BUCKETS; i++) {
		count += h->bucket[i];
		if (i < BN_HISTOGRAM_BUCKETS - 1)
			snprintf(le, sizeof(le), "%g", bounds[i]);
		else
			snprintf(le, sizeof(le), "+Inf");
		va_start(ap, h);
		put_head(b, id, "_bucket", le, ap);
		va_end(ap);
		put_u64(b, count);
	}
	va_start(ap, h);
	put_head(b, id, "_sum", NULL, ap);
	va_end(ap);
	put_f64(b, h->sum);
	va_start(ap, h);
	put_head(b, id, "_count", NULL, ap);
	va_end(ap);
	put_u64(b, count);
}

int bn_metrics_text(struct bn_metrics *m, char **ret, size_t *ret_len)
{
	struct bn_metrics_out *out = calloc(1, sizeof(*out));
	struct bn_buf text = BN_BUF_INIT;
	int r = -ENOMEM;

	if (!out)
		return -ENOMEM;
	for (size_t i = 0; i < m->n_sources; i++)
		m->sources[i].collect(out, m->sources[i].user);
	for (size_t i = 0; i < BN_METRIC_MAX; i++) {
		const struct bn_buf *samples = &out->samples[i];

		if (samples->failed)
			goto finish;
		if (samples->len == 0)
			continue;
		bn_buf_puts(&text, "# HELP ");
		bn_buf_puts(&text, table[i].name);
		bn_buf_putc(&text, ' ');
		bn_buf_puts(&text, table[i].help);
		bn_buf_puts(&text, "\n# TYPE ");
		bn_buf_puts(&text, table[i].name);
		bn_buf_putc(&text, ' ');
		bn_buf_puts(&text, table[i].type);
		bn_buf_putc(&text, '\n');
		bn_buf_put(&text, samples->data, samples->len);
	}
	bn_buf_putc(&text, 0);
	if (text.failed)
		goto finish;
	*ret = text.data;
	*ret_len = text.len - 1;
	text = (struct bn_buf)BN_BUF_INIT;
	r = 0;
finish:
	for (size_t i = 0; i < BN_METRIC_MAX; i++)
		bn_buf_done(&out->samples[i]);
	bn_buf_done(&text);
	free(out);
	return r;
}
