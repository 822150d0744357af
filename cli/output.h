/* SPDX-License-Identifier: Apache-2.0 */
/* How results are written: as a table, as JSON or as YAML. */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stdio.h>

#include "command.h"

struct bn_column {
	const char *title;
	const char *key; /* of the row's object */
	/* writes the cell; NULL: the value as it is */
	void (*cell)(FILE *f, const json_t *row, const struct bn_column *column);
	bool right; /* a number */
	bool wide;  /* only with -o wide */
};

/* A result as a whole: an array of rows (or one object), or the value itself as JSON or YAML. */
int bn_output(const struct bn_call *call, const struct bn_column *columns, const json_t *result);

/* A result that comes row by row. Tables measure the first rows and keep these widths. */
struct bn_rows;
struct bn_rows *bn_rows_new(const struct bn_call *call, const struct bn_column *columns);
int bn_rows_add(struct bn_rows *rows, const json_t *row);
/* Shows what is still being measured. */
void bn_rows_flush(struct bn_rows *rows);
/* `failed`: what has not been shown stays unshown, not even a header. */
void bn_rows_end(struct bn_rows *rows, bool failed);

bool bn_output_is_table(const struct bn_call *call);
void bn_output_json(FILE *f, const json_t *value);
/* `in_list`: as an element of a list that goes on. */
int bn_output_yaml(FILE *f, const json_t *value, bool in_list);
/* A value in a cell: text cleaned, nothing as "-", arrays joined by commas. */
void bn_output_value(FILE *f, const json_t *value);
/* ADDRESS:PORT, [ADDRESS]:PORT for IPv6, without the port where it is 0. */
void bn_output_address(FILE *f, const char *ip, json_int_t port);
