// SPDX-License-Identifier: Apache-2.0
/*
 * Tables and JSON. Tables are aligned by columns, numbers to the right, without blanks at the
 * ends of lines; every cell is cleaned of control characters. JSON passes through as the agent
 * sent it.
 */
#include "output.h"

#include <stdlib.h>
#include <string.h>

#include "text.h"

#define COLUMNS_MAX 16
#define MEASURED_ROWS 1000 /* held back to find the widths */

struct bn_rows {
	const struct bn_call *call;
	const struct bn_column *columns[COLUMNS_MAX]; /* those that are shown */
	size_t n_columns;
	size_t width[COLUMNS_MAX];
	char *(*held)[COLUMNS_MAX];
	size_t n_held;
	bool flowing; /* the widths are fixed */
};

bool bn_output_is_table(const struct bn_call *call)
{
	return call->format == BN_FORMAT_TABLE || call->format == BN_FORMAT_WIDE;
}

void bn_output_json(FILE *f, const json_t *value)
{
	json_dumpf(value, f, JSON_INDENT(2) | JSON_ENCODE_ANY);
	fputc('\n', f);
}

void bn_output_value(FILE *f, const json_t *value)
{
	const json_t *item;
	char *text;
	size_t i;

	switch (value ? json_typeof(value) : JSON_NULL) {
	case JSON_STRING:
		if (*json_string_value(value))
			bn_text_clean(f, json_string_value(value));
		else
			fputc('-', f);
		return;
	case JSON_ARRAY:
		if (json_array_size(value) == 0)
			fputc('-', f);
		json_array_foreach(value, i, item) {
			if (i)
				fputc(',', f);
			bn_output_value(f, item);
		}
		return;
	case JSON_NULL:
		fputc('-', f);
		return;
	default:
		text = json_dumps(value, JSON_COMPACT | JSON_ENCODE_ANY);
		bn_text_clean(f, text ? text : "-");
		free(text);
	}
}

void bn_output_address(FILE *f, const char *ip, json_int_t port)
{
	if (!ip) {
		fputc('-', f);
		return;
	}
	if (port && strchr(ip, ':')) {
		fputc('[', f);
		bn_text_clean(f, ip);
		fputc(']', f);
	} else {
		bn_text_clean(f, ip);
	}
	if (port)
		fprintf(f, ":%lld", (long long)port);
}

static char *make_cell(const struct bn_column *column, const json_t *row)
{
	char *text = NULL;
	size_t size = 0;
	FILE *f = open_memstream(&text, &size);

	if (!f)
		return NULL;
	if (column->cell)
		column->cell(f, row, column);
	else
		bn_output_value(f, json_object_get(row, column->key));
	fclose(f);
	if (text && !*text) {
		free(text);
		return strdup("-");
	}
	return text;
}

static void print_cells(const struct bn_rows *rows, const char *const *cells)
{
	for (size_t i = 0; i < rows->n_columns; i++) {
		const char *cell = cells[i] ? cells[i] : "-";
		size_t n = bn_text_width(cell);
		int pad = n < rows->width[i] ? (int)(rows->width[i] - n) : 0;

		if (i)
			fputs("   ", stdout);
		if (rows->columns[i]->right)
			printf("%*s%s", pad, "", cell);
		else if (i + 1 < rows->n_columns)
			printf("%s%*s", cell, pad, "");
		else
			fputs(cell, stdout);
	}
	putchar('\n');
}

static void rows_free_held(struct bn_rows *rows)
{
	for (size_t i = 0; i < rows->n_held; i++) {
		for (size_t j = 0; j < rows->n_columns; j++)
			free(rows->held[i][j]);
	}
	free(rows->held);
	rows->held = NULL;
	rows->n_held = 0;
}

static void rows_flow(struct bn_rows *rows)
{
	if (!rows->call->no_headers) {
		const char *titles[COLUMNS_MAX];

		for (size_t i = 0; i < rows->n_columns; i++)
			titles[i] = rows->columns[i]->title;
		print_cells(rows, titles);
	}
	for (size_t i = 0; i < rows->n_held; i++)
		print_cells(rows, (const char *const *)rows->held[i]);
	rows_free_held(rows);
	rows->flowing = true;
}

struct bn_rows *bn_rows_new(const struct bn_call *call, const struct bn_column *columns)
{
	struct bn_rows *rows = calloc(1, sizeof(*rows));

	if (!rows)
		return NULL;
	rows->call = call;
	if (!bn_output_is_table(call))
		return rows;
	for (const struct bn_column *c = columns; c->title; c++) {
		if (c->wide && call->format != BN_FORMAT_WIDE)
			continue;
		rows->columns[rows->n_columns] = c;
		rows->width[rows->n_columns++] = bn_text_width(c->title);
	}
	rows->held = calloc(MEASURED_ROWS, sizeof(*rows->held));
	if (!rows->held) {
		free(rows);
		return NULL;
	}
	return rows;
}

static int rows_add_table(struct bn_rows *rows, const json_t *row)
{
	char *cells[COLUMNS_MAX] = {0};

	for (size_t i = 0; i < rows->n_columns; i++)
		cells[i] = make_cell(rows->columns[i], row);
	if (!rows->flowing && rows->n_held == MEASURED_ROWS)
		rows_flow(rows);
	if (rows->flowing) {
		print_cells(rows, (const char *const *)cells);
		for (size_t i = 0; i < rows->n_columns; i++)
			free(cells[i]);
		return 0;
	}
	for (size_t i = 0; i < rows->n_columns; i++) {
		size_t n = cells[i] ? bn_text_width(cells[i]) : 1;

		if (n > rows->width[i])
			rows->width[i] = n;
	}
	memcpy(rows->held[rows->n_held++], cells, sizeof(cells));
	return 0;
}

int bn_rows_add(struct bn_rows *rows, const json_t *row)
{
	switch (rows->call->format) {
	case BN_FORMAT_JSON:
		json_dumpf(row, stdout, JSON_COMPACT | JSON_ENCODE_ANY);
		putchar('\n');
		return 0;
	case BN_FORMAT_YAML:
		return bn_output_yaml(stdout, row, true);
	default:
		return rows_add_table(rows, row);
	}
}

void bn_rows_flush(struct bn_rows *rows)
{
	if (!rows->flowing && rows->n_held)
		rows_flow(rows);
}

void bn_rows_end(struct bn_rows *rows, bool failed)
{
	if (bn_output_is_table(rows->call) && !rows->flowing && (rows->n_held || !failed))
		rows_flow(rows);
	rows_free_held(rows);
	free(rows);
}

int bn_output(const struct bn_call *call, const struct bn_column *columns, const json_t *result)
{
	struct bn_rows *rows;
	const json_t *row;
	size_t i;

	if (call->format == BN_FORMAT_JSON) {
		bn_output_json(stdout, result);
		return BN_EXIT_DONE;
	}
	if (call->format == BN_FORMAT_YAML)
		return bn_output_yaml(stdout, result, false) ? BN_EXIT_FAILED : BN_EXIT_DONE;
	rows = bn_rows_new(call, columns);
	if (!rows)
		return bn_fail("out of memory");
	if (json_is_array(result)) {
		json_array_foreach(result, i, row)
			bn_rows_add(rows, row);
	} else {
		bn_rows_add(rows, result);
	}
	bn_rows_end(rows, false);
	return BN_EXIT_DONE;
}
