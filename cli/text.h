/* SPDX-License-Identifier: Apache-2.0 */
/* Text for terminals: nothing that comes from elsewhere may steer them. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

/* Writes UTF-8 with control characters (C0, DEL, C1, direction marks) as \x1b or \u202e. */
void bn_text_clean(FILE *f, const char *s);
/* The same of a JSON text, which it stays: \u001b. */
void bn_text_clean_json(FILE *f, const char *s, size_t len);
/* Whether there is nothing of that kind in it. */
bool bn_text_is_clean(const char *s);
/* Places the text takes on the screen, one a character. */
size_t bn_text_width(const char *s);
/* Whether standard output takes colours; `when` is auto (or NULL), always or never. */
bool bn_text_color(const char *when);
/* `bpfnet: ...` to standard error, cleaned; returns BN_EXIT_FAILED. */
int bn_fail(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* Paragraphs separated by empty lines, filled to `width` places, each line indented. */
void bn_text_fill(FILE *f, const char *text, unsigned indent, unsigned width);
