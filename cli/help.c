// SPDX-License-Identifier: Apache-2.0
/* `--help` of every level, from the command table. */
#include <ctype.h>
#include <string.h>

#include "command.h"
#include "text.h"

#define WIDTH 100
#define HELP_COLUMN 28

void bn_help_synopsis(FILE *f, const struct bn_command *const *path, int depth)
{
	const struct bn_command *c = path[depth - 1];

	for (int i = 0; i < depth; i++)
		fprintf(f, "%s%s", i ? " " : "", path[i]->name);
	if (depth == 1)
		fputs(" [COMMON OPTIONS]", f);
	if (c->options)
		fputs(" [OPTIONS]", f);
	if (c->commands)
		fputs(" COMMAND", f);
	for (const struct bn_argument *a = c->args; a && a->name; a++)
		fprintf(f, a->optional ? " [%s%s]" : " %s%s", a->name, a->repeat ? "..." : "");
}

static void print_item(FILE *f, const char *item, const char *help)
{
	int n = fprintf(f, "  %s", item);

	if (n + 2 > HELP_COLUMN) {
		fputc('\n', f);
		n = 0;
	}
	/* the first line continues the item's, the others are indented below it */
	for (size_t len = strlen(help); len > 0;) {
		size_t take = len, room = WIDTH - HELP_COLUMN;

		if (take > room) {
			for (take = room; take > 0 && help[take] != ' '; take--)
				;
			if (take == 0)
				take = room;
		}
		fprintf(f, "%*s%.*s\n", HELP_COLUMN - n, "", (int)take, help);
		n = 0;
		help += take + (help[take] == ' ');
		len = strlen(help);
	}
}

static void print_options(FILE *f, const struct bn_command *c, const char *title,
			  const struct bn_option *options)
{
	if (!options || !options->name)
		return;
	fprintf(f, "\n%s:\n", title);
	for (const struct bn_option *o = options; o->name; o++) {
		char item[64];
		char letter[5] = "";

		/* the command's own stands in place of a common one */
		if (bn_option_find(c, o->name, strlen(o->name)) != o)
			continue;
		if (o->letter)
			snprintf(letter, sizeof(letter), "-%c, ", o->letter);
		snprintf(item, sizeof(item), "%s--%s%s%s", letter, o->name, o->arg ? " " : "",
			 o->arg ? o->arg : "");
		print_item(f, item, o->help);
	}
}

void bn_help_print(FILE *f, const struct bn_command *const *path, int depth)
{
	const struct bn_command *c = path[depth - 1];

	fputs("Usage: ", f);
	bn_help_synopsis(f, path, depth);
	fprintf(f, "\n\n%c%s.\n", toupper((unsigned char)*c->help), c->help + 1);
	if (c->text) {
		fputc('\n', f);
		bn_text_fill(f, c->text, 0, WIDTH);
	}
	if (c->commands)
		fputs("\nCommands:\n", f);
	for (const struct bn_command *s = c->commands; s && s->name; s++) {
		if (!s->hidden)
			print_item(f, s->name, s->help);
	}
	print_options(f, c, "Options", c->options);
	print_options(f, c, "Common options", bn_common_options);
	if (c->examples) {
		fputs("\nExamples:\n", f);
		for (const char *p = c->examples; *p; p += strcspn(p, "\n"), p += *p == '\n')
			fprintf(f, "  %.*s\n", (int)strcspn(p, "\n"), p);
	}
}

int bn_cmd_help(struct bn_call *call)
{
	const struct bn_command *path[BN_DEPTH_MAX] = {&bn_root};
	int depth = 1;

	for (int i = 0; i < call->n_args; i++) {
		const struct bn_command *c = bn_command_find(path[depth - 1], call->args[i]);

		if (!c)
			return bn_call_usage(call, "there is no command '%s'", call->args[i]);
		path[depth++] = c;
	}
	bn_help_print(stdout, path, depth);
	return BN_EXIT_DONE;
}
