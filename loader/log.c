// SPDX-License-Identifier: Apache-2.0
#include "log.h"

#include <jansson.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static enum bn_log_level log_max = BN_LOG_INFO;
static enum bn_log_format log_format = BN_LOG_TEXT;

void bn_log_setup(enum bn_log_level max, enum bn_log_format format)
{
	log_max = max;
	log_format = format;
}

enum bn_log_level bn_log_max(void)
{
	return log_max;
}

static const char *level_name(enum bn_log_level level)
{
	switch (level) {
	case BN_LOG_ERROR:
		return "error";
	case BN_LOG_WARNING:
		return "warning";
	case BN_LOG_INFO:
		return "info";
	case BN_LOG_DEBUG:
		return "debug";
	}
	return "info";
}

/* Control characters never reach a terminal: names come from manifests and interfaces. */
static void put_clean(FILE *f, const char *s, int quote)
{
	for (; *s; s++) {
		unsigned char c = (unsigned char)*s;

		if (c < 0x20 || c == 0x7f)
			fprintf(f, "\\x%02x", c);
		else if (quote && (c == '"' || c == '\\'))
			fprintf(f, "\\%c", c);
		else
			fputc(c, f);
	}
}

static void put_value(FILE *f, const char *v)
{
	if (*v && !strpbrk(v, " \t\n\"\\=")) {
		put_clean(f, v, 0);
		return;
	}
	fputc('"', f);
	put_clean(f, v, 1);
	fputc('"', f);
}

static void log_text(FILE *f, enum bn_log_level level, const char *message, va_list ap)
{
	const char *key;

	if (getenv("JOURNAL_STREAM"))
		fprintf(f, "<%d>", (int)level);
	fprintf(f, "%s: ", level_name(level));
	put_clean(f, message, 0);
	while ((key = va_arg(ap, const char *))) {
		const char *value = va_arg(ap, const char *);

		fprintf(f, " %s=", key);
		put_value(f, value ? value : "-");
	}
	fputc('\n', f);
}

static void log_json(FILE *f, enum bn_log_level level, const char *message, va_list ap)
{
	json_t *o = json_object();
	struct timespec ts;
	struct tm tm;
	char when[64];
	const char *key;

	clock_gettime(CLOCK_REALTIME, &ts);
	gmtime_r(&ts.tv_sec, &tm);
	strftime(when, sizeof(when), "%Y-%m-%dT%H:%M:%S", &tm);
	snprintf(when + strlen(when), sizeof(when) - strlen(when), ".%06ldZ", ts.tv_nsec / 1000);
	json_object_set_new(o, "time", json_string(when));
	json_object_set_new(o, "level", json_string(level_name(level)));
	json_object_set_new(o, "message", json_string(message));
	while ((key = va_arg(ap, const char *))) {
		const char *value = va_arg(ap, const char *);

		json_object_set_new(o, key, value ? json_string(value) : json_null());
	}
	json_dumpf(o, f, JSON_COMPACT);
	fputc('\n', f);
	json_decref(o);
}

/* One write(2) a line, so that lines of several processes don't mix. */
static void emit(enum bn_log_level level, const char *message, va_list ap)
{
	char *line = NULL;
	size_t size = 0;
	FILE *f = open_memstream(&line, &size);

	if (!f)
		return;
	if (log_format == BN_LOG_JSON)
		log_json(f, level, message, ap);
	else
		log_text(f, level, message, ap);
	if (fclose(f) == 0 && write(STDERR_FILENO, line, size) < 0) {
		/* nowhere left to say so */
	}
	free(line);
}

void bn_log(enum bn_log_level level, const char *message, ...)
{
	va_list ap;

	if (level > log_max)
		return;
	va_start(ap, message);
	emit(level, message, ap);
	va_end(ap);
}

static void emit_plain(enum bn_log_level level, const char *message, ...)
{
	va_list ap;

	va_start(ap, message);
	emit(level, message, ap);
	va_end(ap);
}

void bn_logf(enum bn_log_level level, const char *format, ...)
{
	char *text = NULL;
	va_list ap;

	if (level > log_max)
		return;
	va_start(ap, format);
	if (vasprintf(&text, format, ap) < 0)
		text = NULL;
	va_end(ap);
	if (text)
		emit_plain(level, text, NULL);
	free(text);
}
