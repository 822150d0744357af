// SPDX-License-Identifier: Apache-2.0
/*
 * The table of `top`, on a screen or on paper. Where it is too wide, the columns that matter least go
 * first, then names are cut: what is left is aligned, however small the terminal.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "text.h"
#include "top.h"

#define NAME_MIN 8 /* places that a name is not cut below while a column of numbers can go */
#define CELLS_MAX (BN_TOP_COLUMNS + 3)

static const struct {
	const char *title;
	const char *key; /* in JSON */
	bool bytes;
	int worth; /* the least goes first */
} columns[BN_TOP_COLUMNS] = {
	[BN_TOP_FLOWS] = {"FLOWS", "flows", false, 4},
	[BN_TOP_NEW] = {"NEW/s", "new_per_s", false, 2},
	[BN_TOP_PACKETS] = {"PKT/s", "packets_per_s", false, 1},
	[BN_TOP_OUT] = {"OUT/s", "bytes_out_per_s", true, 6},
	[BN_TOP_IN] = {"IN/s", "bytes_in_per_s", true, 5},
	[BN_TOP_DROPPED] = {"DROP/s", "drops_per_s", false, 3},
	[BN_TOP_TOTAL] = {"DROPS", "drops", false, 7},
};

struct cell {
	char *text; /* cleaned, owned */
	size_t width;
};

struct layout {
	struct cell *cells; /* rows of `n` */
	size_t n;           /* columns */
	size_t n_rows;      /* the header is the first */
	size_t width[CELLS_MAX];
	int worth[CELLS_MAX]; /* 0: a name */
	bool right[CELLS_MAX];
	bool gone[CELLS_MAX];
};

/* 0, 3.2, 17, 4.5K, 12M: at most five places. */
static void print_number(FILE *f, double v, bool bytes)
{
	static const char units[] = " KMGTPE";
	const double step = bytes ? 1024 : 1000;
	size_t u = 0;

	for (; v >= 999.5 && units[u + 1]; u++)
		v /= step;
	if (v < 9.95 && v != floor(v))
		fprintf(f, "%.1f", v);
	else
		fprintf(f, "%.0f", v);
	if (u)
		fputc(units[u], f);
}

static void put(struct layout *l, size_t row, size_t column, char *text)
{
	struct cell *c = &l->cells[row * l->n + column];

	c->text = text;
	c->width = text ? bn_text_width(text) : 0;
	if (c->width > l->width[column])
		l->width[column] = c->width;
}

static void put_name(struct layout *l, size_t row, size_t column, const char *name)
{
	char *text = NULL;
	size_t size;
	FILE *f = open_memstream(&text, &size);

	if (!f)
		return;
	bn_text_clean(f, name && *name ? name : "-");
	fclose(f);
	put(l, row, column, text);
}

static void put_number(struct layout *l, size_t row, size_t column, double v, bool bytes)
{
	char *text = NULL;
	size_t size;
	FILE *f = open_memstream(&text, &size);

	if (!f)
		return;
	print_number(f, v, bytes);
	fclose(f);
	put(l, row, column, text);
}

static void put_title(struct layout *l, size_t column, const char *title, bool sorted)
{
	char *text = NULL;

	if (asprintf(&text, "%s%s", sorted ? "*" : "", title) < 0)
		text = NULL;
	put(l, 0, column, text);
}

/* Columns of the view: its names, its numbers, and of drops the last one's ends. */
static void lay_header(struct layout *l, const struct bn_top_style *s)
{
	static const char *const names[BN_TOP_VIEWS] = {"SOURCE", "SERVICE", "REASON"};
	size_t n = 0;

	put_title(l, n++, names[s->view], s->sort == BN_TOP_NAME);
	if (s->view == BN_TOP_TALKERS)
		put_title(l, n++, "DESTINATION", false);
	for (int i = 0; i < BN_TOP_COLUMNS; i++) {
		if (!bn_top_has(s->view, i))
			continue;
		l->worth[n] = columns[i].worth;
		l->right[n] = true;
		put_title(l, n++, columns[i].title, s->sort == (enum bn_top_column)i);
	}
	if (s->view == BN_TOP_DROPS)
		put_title(l, n, "LAST", false);
}

static void lay_row(struct layout *l, size_t at, const struct bn_top_row *r,
		    const struct bn_top_style *s)
{
	size_t n = 0;

	put_name(l, at, n++, r->name);
	if (s->view == BN_TOP_TALKERS)
		put_name(l, at, n++, r->other);
	for (int i = 0; i < BN_TOP_COLUMNS; i++) {
		if (bn_top_has(s->view, i))
			put_number(l, at, n++, r->value[i], columns[i].bytes);
	}
	if (s->view == BN_TOP_DROPS)
		put_name(l, at, n, r->last);
}

static size_t total(const struct layout *l)
{
	size_t n = 0;

	for (size_t i = 0; i < l->n; i++)
		n += l->gone[i] ? 0 : l->width[i] + (n ? 2 : 0);
	return n;
}

static void cut_names(struct layout *l, size_t width, size_t least)
{
	while (total(l) > width) {
		size_t widest = CELLS_MAX;

		for (size_t i = 0; i < l->n; i++) {
			if (!l->worth[i] && l->width[i] > least &&
			    (widest == CELLS_MAX || l->width[i] > l->width[widest]))
				widest = i;
		}
		if (widest == CELLS_MAX)
			return;
		l->width[widest]--;
	}
}

static void fit(struct layout *l, size_t width)
{
	cut_names(l, width, NAME_MIN);
	while (total(l) > width) {
		size_t least = CELLS_MAX;

		for (size_t i = 0; i < l->n; i++) {
			if (l->worth[i] && !l->gone[i] &&
			    (least == CELLS_MAX || l->worth[i] < l->worth[least]))
				least = i;
		}
		if (least == CELLS_MAX)
			break;
		l->gone[least] = true;
	}
	cut_names(l, width, 1);
}

/* The cell's first `width` characters, the last of them '~' where some are left out. */
static void print_cell(FILE *f, const struct cell *c, size_t width, bool right, bool last)
{
	const bool cut = c->width > width;
	const size_t keep = cut ? width - 1 : c->width;
	const size_t pad = width > c->width ? width - c->width : 0;
	const char *p = c->text ? c->text : "";
	size_t n = 0;

	if (right)
		fprintf(f, "%*s", (int)pad, "");
	for (; *p; p++) {
		n += ((unsigned char)*p & 0xc0) != 0x80;
		if (n > keep)
			break;
		fputc(*p, f);
	}
	if (cut)
		fputc('~', f);
	if (!right && !last)
		fprintf(f, "%*s", (int)pad, "");
}

static void print_row(const struct layout *l, size_t row, FILE *f)
{
	bool first = true;
	size_t last = 0;

	for (size_t i = 0; i < l->n; i++) {
		if (!l->gone[i])
			last = i;
	}
	for (size_t i = 0; i < l->n; i++) {
		if (l->gone[i])
			continue;
		if (!first)
			fputs("  ", f);
		first = false;
		print_cell(f, &l->cells[row * l->n + i], l->width[i], l->right[i], i == last);
	}
}

void bn_top_table(const struct bn_top_row *const *rows, size_t n, const struct bn_top_style *style,
		  void (*line)(void *user, size_t n, const char *text), void *user)
{
	struct layout l = {.n = style->view == BN_TOP_TALKERS    ? 8
				: style->view == BN_TOP_SERVICES ? 7
								 : 4};

	n = n < style->most ? n : style->most;
	l.n_rows = n + 1;
	l.cells = calloc(l.n_rows * l.n, sizeof(*l.cells));
	if (!l.cells)
		return;
	lay_header(&l, style);
	for (size_t i = 0; i < n; i++)
		lay_row(&l, i + 1, rows[i], style);
	if (style->width)
		fit(&l, style->width);
	for (size_t i = style->headers ? 0 : 1; i < l.n_rows; i++) {
		char *text = NULL;
		size_t size;
		FILE *f = open_memstream(&text, &size);

		if (!f)
			break;
		print_row(&l, i, f);
		fclose(f);
		if (text)
			line(user, i, text);
		free(text);
	}
	for (size_t i = 0; i < l.n_rows * l.n; i++)
		free(l.cells[i].text);
	free(l.cells);
}

json_t *bn_top_json(const struct bn_top_row *const *rows, size_t n, enum bn_top_view view)
{
	static const char *const names[BN_TOP_VIEWS] = {"source", "service", "reason"};
	json_t *list = json_array();

	for (size_t i = 0; i < n; i++) {
		const struct bn_top_row *r = rows[i];
		json_t *o = json_pack("{s:s, s:s*, s:s*}", names[view], r->name, "destination",
				      r->other, "last", r->last);

		for (int c = 0; c < BN_TOP_COLUMNS && o; c++) {
			const bool whole = c == BN_TOP_FLOWS || c == BN_TOP_TOTAL;

			if (bn_top_has(view, c))
				json_object_set_new(
					o, columns[c].key,
					whole ? json_integer((json_int_t)r->value[c])
					      : json_real(round(r->value[c] * 1000) / 1000));
		}
		json_array_append_new(list, o);
	}
	return list;
}
