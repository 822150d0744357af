// SPDX-License-Identifier: Apache-2.0
/* --help, from the table of keys, in lines of at most 80 columns. */
#include "config-keys.h"

#include <string.h>

#define TEXT_COLUMN 30
#define LINE_MAX_COLUMN 80

/* Words of text after column `at`, continued at TEXT_COLUMN. */
static size_t wrap(FILE *f, size_t at, const char *text)
{
	while (*text) {
		size_t n = strcspn(text, " ");

		if (at + 1 + n > LINE_MAX_COLUMN) {
			fprintf(f, "\n%*s", TEXT_COLUMN, "");
			at = TEXT_COLUMN;
		}
		fprintf(f, " %.*s", (int)n, text);
		at += n + 1;
		text += n + strspn(text + n, " ");
	}
	return at;
}

static void default_text(const struct bn_key *key, char *buf, size_t size)
{
	buf[0] = 0;
	if (!key->type)
		return;
	snprintf(buf, size, "(%sdefault: ", key->type->list ? "repeatable, " : "");
	size -= strlen(buf);
	buf += strlen(buf);
	if (key->fallback_shown || key->fallback)
		snprintf(buf, size, "%s)",
			 key->fallback_shown ? key->fallback_shown : key->fallback);
	else
		snprintf(buf, size, "%u)", key->number);
}

static void print_key(FILE *f, const struct bn_key *key)
{
	char name[64], text[128];
	int at;

	at = fprintf(f, "  %s%s%s%s", key->section ? "  " : "--", bn_key_name(key, name),
		     key->arg ? " " : "", key->arg ? key->arg : "");
	if (at < TEXT_COLUMN)
		at += fprintf(f, "%*s", TEXT_COLUMN - at, "");
	else
		at = fprintf(f, "\n%*s", TEXT_COLUMN, "") - 1;
	default_text(key, text, sizeof(text));
	wrap(f, wrap(f, (size_t)at, key->help), text);
	fputc('\n', f);
}

void bn_agent_config_help(FILE *f)
{
	const char *section = NULL;

	fputs("usage: bpfnetd [OPTION]...\n"
	      "\n"
	      "The node agent of bpfnet. It runs in the foreground, in the network namespace\n"
	      "that it is started in; the datapath goes on when it ends. See bpfnetd(8).\n"
	      "\n"
	      "Options; all but --config and the last three are keys of its file, too:\n",
	      f);
	for (size_t i = 0; i < bn_keys_n; i++) {
		const struct bn_key *key = &bn_keys[i];

		if (key->section && !section)
			fputs("\nFurther keys of the file:\n", f);
		if (key->section && (!section || strcmp(section, key->section)))
			fprintf(f, "  %s:\n", key->section);
		section = key->section;
		print_key(f, key);
	}
}
