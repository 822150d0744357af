// SPDX-License-Identifier: Apache-2.0
#include "error.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

int bn_error_set(struct bn_error *err, int r, const char *format, ...)
{
	va_list ap;

	if (!err || err->text)
		return r;
	va_start(ap, format);
	if (vasprintf(&err->text, format, ap) < 0)
		err->text = NULL;
	va_end(ap);
	return r;
}

const char *bn_error_text(const struct bn_error *err)
{
	return err && err->text ? err->text : "out of memory";
}

void bn_error_done(struct bn_error *err)
{
	if (!err)
		return;
	free(err->text);
	err->text = NULL;
}
