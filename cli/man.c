// SPDX-License-Identifier: Apache-2.0
/*
 * Manual pages from the command table, in man(7)'s language: `bpfnet man` lists them, `bpfnet
 * man PAGE` prints one. bpfnet(1) names the commands, bpfnet-COMMAND(1) explains each.
 */
#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "command.h"
#include "flow.h"
#include "text.h"

/* Text with what roff would take for itself escaped; len bytes at most. */
static void put(FILE *f, const char *s, size_t len)
{
	bool start = true; /* of a line */

	for (; *s && len; s++, len--) {
		if (start && (*s == '.' || *s == '\''))
			fputs("\\&", f);
		start = *s == '\n';
		if (*s == '\\')
			fputs("\\e", f);
		else if (*s == '-')
			fputs("\\-", f);
		else if (*s == '\'')
			fputs("\\(aq", f);
		else
			fputc(*s, f);
	}
}

static void put_all(FILE *f, const char *s)
{
	put(f, s, strlen(s));
}

static void put_paragraphs(FILE *f, const char *text)
{
	while (*text) {
		const char *end = strstr(text, "\n\n");
		size_t len = end ? (size_t)(end - text) : strlen(text);

		fputs(".PP\n", f);
		put(f, text, len);
		fputc('\n', f);
		text += len + (end ? 2 : 0);
	}
}

/* `c`: whose options of its own stand in place of common ones of their name. */
static void put_options(FILE *f, const struct bn_command *c, const struct bn_option *options)
{
	for (const struct bn_option *o = options; o && o->name; o++) {
		if (bn_option_find(c, o->name, strlen(o->name)) != o)
			continue;
		fputs(".TP\n", f);
		if (o->letter)
			fprintf(f, "\\fB\\-%c\\fR, ", o->letter);
		fputs("\\fB\\-\\-", f);
		put_all(f, o->name);
		fputs("\\fR", f);
		if (o->arg) {
			fputs(" \\fI", f);
			put_all(f, o->arg);
			fputs("\\fR", f);
		}
		fputc('\n', f);
		put_all(f, o->help);
		fputs(".\n", f);
	}
}

static void put_synopsis(FILE *f, const struct bn_command *const *path, int depth)
{
	char *text = NULL;
	size_t size = 0;
	FILE *m = open_memstream(&text, &size);

	if (!m)
		return;
	bn_help_synopsis(m, path, depth);
	fclose(m);
	fputs(".nf\n\\fB", f);
	/* names of programs and commands are bold, what follows is not */
	for (const char *p = text; *p; p++) {
		if (*p == ' ' && (p[1] == '[' || isupper((unsigned char)p[1]))) {
			fputs("\\fR", f);
			put_all(f, p);
			break;
		}
		put(f, p, 1);
	}
	fputs("\\fR\n.fi\n", f);
	free(text);
}

static void put_examples(FILE *f, const struct bn_command *c)
{
	if (!c->examples)
		return;
	fputs(".PP\n.nf\n.RS 4\n", f);
	put_all(f, c->examples);
	fputs("\n.RE\n.fi\n", f);
}

static void put_reason(const char *label, const char *text, void *user)
{
	FILE *f = user;

	fputs(".TP\n\\fB", f);
	put_all(f, label);
	fputs("\\fR\n", f);
	put_all(f, text);
	fputs(".\n", f);
}

static void put_title(FILE *f, const char *page, const char *help)
{
	fputs(".\\\" SPDX-License-Identifier: Apache-2.0\n", f);
	fputs(".TH ", f);
	for (const char *p = page; *p; p++)
		fputc(toupper((unsigned char)*p), f);
	fputs(" 1 \"\" \"bpfnet " BN_VERSION "\" \"bpfnet\"\n.SH NAME\n", f);
	put_all(f, page);
	fputs(" \\- ", f);
	put_all(f, help);
	fputs("\n.SH SYNOPSIS\n", f);
}

static void put_rest(FILE *f, const struct bn_command *c)
{
	fputs(".SH COMMON OPTIONS\nThese may stand before or behind the command.\n", f);
	put_options(f, c, bn_common_options);
	fputs(".SH EXIT STATUS\n.TP\n0\nDone.\n.TP\n1\nFailed; standard error says what was attempted, "
	      "on what, why, and what to try.\n.TP\n2\nWrong usage.\n",
	      f);
	if (c == &bn_root || c->run == bn_cmd_status)
		fputs(".TP\n3\nOnly of \\fBbpfnet status\\fR: degraded.\n", f);
}

static void print_root(FILE *f)
{
	put_title(f, bn_root.name, bn_root.help);
	put_synopsis(f, (const struct bn_command *const[]){&bn_root}, 1);
	fputs(".SH DESCRIPTION\n", f);
	put_paragraphs(f,
		       "bpfnet talks to bpfnetd(8), the agent of this node, over the socket in "
		       "its run directory. Root may do everything; members of the group that the "
		       "agent is configured with may list and watch.\n\n"
		       "Results are tables for people, or JSON or YAML for programs, whose keys "
		       "stay. Names of kinds, fields and files are Kubernetes' own.");
	fputs(".SH COMMANDS\n", f);
	for (const struct bn_command *c = bn_root.commands; c->name; c++) {
		if (c->hidden)
			continue;
		fputs(".TP\n\\fBbpfnet\\-", f);
		put_all(f, c->name);
		fputs("\\fR(1)\n", f);
		put_all(f, c->help);
		fputs(".\n", f);
	}
	put_rest(f, &bn_root);
	fputs(".SH ENVIRONMENT\n.TP\n\\fBNO_COLOR\\fR\nWhere it is set and not empty, nothing is "
	      "coloured unless \\fB\\-\\-color always\\fR says so.\n"
	      ".SH FILES\n.TP\n\\fI/run/bpfnet/bpfnet.sock\\fR\nThe agent\\(aqs socket.\n"
	      ".SH SEE ALSO\n\\fBbpfnetd\\fR(8)\n",
	      f);
}

static void print_command(FILE *f, const struct bn_command *c)
{
	const struct bn_command *path[BN_DEPTH_MAX] = {&bn_root, c};
	char page[64];

	snprintf(page, sizeof(page), "bpfnet-%s", c->name);
	put_title(f, page, c->help);
	for (const struct bn_command *s = c->commands; s && s->name; s++) {
		path[2] = s;
		put_synopsis(f, path, 3);
	}
	if (!c->commands)
		put_synopsis(f, path, 2);
	if (c->text) {
		fputs(".SH DESCRIPTION\n", f);
		put_paragraphs(f, c->text);
	}
	if (c->commands)
		fputs(".SH COMMANDS\n", f);
	for (const struct bn_command *s = c->commands; s && s->name; s++) {
		fprintf(f, ".SS bpfnet %s %s\n", c->name, s->name);
		put_all(f, s->help);
		fputs(".\n", f);
		if (s->text)
			put_paragraphs(f, s->text);
		put_options(f, s, s->options);
		put_examples(f, s);
	}
	if (c->options && c->options->name) {
		fputs(".SH OPTIONS\n", f);
		put_options(f, c, c->options);
	}
	if (c->examples) {
		fputs(".SH EXAMPLES\n", f);
		put_examples(f, c);
	}
	if (c->run == bn_cmd_flows) {
		fputs(".SH DROP REASONS\n", f);
		bn_reasons_each(put_reason, f);
	}
	put_rest(f, c);
	fputs(".SH SEE ALSO\n\\fBbpfnet\\fR(1), \\fBbpfnetd\\fR(8)\n", f);
}

int bn_cmd_man(struct bn_call *call)
{
	const char *page = call->n_args ? call->args[0] : NULL;

	if (page && strcmp(page, bn_root.name) == 0) {
		print_root(stdout);
		return BN_EXIT_DONE;
	}
	if (!page)
		puts(bn_root.name);
	for (const struct bn_command *c = bn_root.commands; c->name; c++) {
		char name[64];

		if (c->hidden)
			continue;
		snprintf(name, sizeof(name), "%s-%s", bn_root.name, c->name);
		if (!page) {
			puts(name);
		} else if (strcmp(page, name) == 0) {
			print_command(stdout, c);
			return BN_EXIT_DONE;
		}
	}
	return page ? bn_call_usage(call, "there is no page '%s'", page) : BN_EXIT_DONE;
}
