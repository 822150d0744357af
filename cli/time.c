// SPDX-License-Identifier: Apache-2.0
/*
 * Times as people type them: a span back from now in Go's notation with days added, or a point
 * in time, RFC 3339 or without a zone for local time.
 */
#include <ctype.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "flow.h"

#define NS_SEC INT64_C(1000000000)
#define SPAN_MAX_SEC (100.0 * 365 * 24 * 3600)

static bool parse_span(const char *text, int64_t *ret)
{
	static const struct {
		const char *unit;
		double sec;
	} units[] = {{"ns", 1e-9}, {"us", 1e-6}, {"ms", 1e-3}, {"s", 1},
		     {"m", 60},    {"h", 3600},  {"d", 86400}};
	double sum = 0;

	if (!*text)
		return false;
	while (*text) {
		size_t digits = strspn(text, "0123456789.");
		size_t letters, i;
		char *end;
		double n;

		if (digits == 0 || digits > 20)
			return false;
		n = strtod(text, &end);
		if (end != text + digits)
			return false;
		text = end;
		letters = strspn(text, "nusmhd");
		for (i = 0; i < sizeof(units) / sizeof(units[0]); i++) {
			if (strlen(units[i].unit) == letters &&
			    strncmp(units[i].unit, text, letters) == 0)
				break;
		}
		if (i == sizeof(units) / sizeof(units[0]))
			return false;
		sum += n * units[i].sec;
		text += letters;
	}
	if (sum > SPAN_MAX_SEC)
		return false;
	*ret = (int64_t)(sum * (double)NS_SEC);
	return true;
}

/* .123456789, of which at most nine digits count */
static bool parse_fraction(const char **p, int64_t *ret)
{
	int64_t unit = NS_SEC;

	*ret = 0;
	if (**p != '.')
		return true;
	if (!isdigit((unsigned char)(*p)[1]))
		return false;
	for ((*p)++; isdigit((unsigned char)**p); (*p)++) {
		unit /= 10;
		*ret += unit * (**p - '0');
	}
	return true;
}

static bool parse_zone(const char *p, bool *ret_local, long *ret_offset)
{
	struct tm tm = {0};

	*ret_local = *p == '\0';
	*ret_offset = 0;
	if (*ret_local || strcmp(p, "Z") == 0 || strcmp(p, "z") == 0)
		return true;
	if (strlen(p) != 6 || (*p != '+' && *p != '-') || p[3] != ':')
		return false;
	p = strptime(p, "%z", &tm);
	if (!p || *p)
		return false;
	*ret_offset = tm.tm_gmtoff;
	return true;
}

bool bn_time_parse_point(const char *text, int64_t *ret)
{
	struct tm tm = {.tm_isdst = -1};
	int64_t fraction = 0;
	long offset;
	bool local;
	const char *p, *time;
	time_t sec;

	p = strptime(text, "%Y-%m-%d", &tm);
	if (!p || p != text + 10)
		return false;
	if (*p == 'T' || *p == 't' || *p == ' ') {
		p++;
		time = strptime(p, "%H:%M:%S", &tm);
		if (time)
			p = time;
		else
			p = strptime(p, "%H:%M", &tm);
		if (!p || (time && !parse_fraction(&p, &fraction)))
			return false;
	} else if (*p) {
		return false;
	}
	if (!parse_zone(p, &local, &offset))
		return false;
	sec = local ? mktime(&tm) : timegm(&tm) - offset;
	if (sec < 0 || sec > INT64_MAX / NS_SEC - 1)
		return false;
	*ret = sec * NS_SEC + fraction;
	return true;
}

bool bn_time_parse(const char *text, int64_t now_ns, int64_t *ret)
{
	int64_t span;

	if (parse_span(text, &span)) {
		*ret = now_ns > span ? now_ns - span : 0;
		return true;
	}
	return bn_time_parse_point(text, ret);
}
