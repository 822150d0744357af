// SPDX-License-Identifier: Apache-2.0
/*
 * Takes a command line apart by the command table. Options may stand anywhere behind the command
 * that has them, common ones also before it; names are never guessed from abbreviations, so that
 * new options can't change what a script means.
 */
#include <bpfnet/control.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "command.h"
#include "text.h"

const struct bn_command *bn_command_find(const struct bn_command *group, const char *name)
{
	for (const struct bn_command *c = group->commands; c && c->name; c++) {
		if (strcmp(c->name, name) == 0)
			return c;
	}
	return NULL;
}

const struct bn_option *bn_option_find(const struct bn_command *command, const char *name,
				       size_t len)
{
	const struct bn_option *const lists[] = {command->options, bn_common_options};

	for (size_t i = 0; i < 2; i++) {
		for (const struct bn_option *o = lists[i]; o && o->name; o++) {
			if (strncmp(o->name, name, len) == 0 && o->name[len] == '\0')
				return o;
		}
	}
	return NULL;
}

const struct bn_option *bn_option_find_letter(const struct bn_command *command, char letter)
{
	const struct bn_option *const lists[] = {command->options, bn_common_options};

	for (size_t i = 0; i < 2; i++) {
		for (const struct bn_option *o = lists[i]; o && o->name; o++) {
			if (letter && o->letter == letter)
				return o;
		}
	}
	return NULL;
}

const struct bn_command *bn_call_command(const struct bn_call *call)
{
	return call->path[call->depth - 1];
}

const char *bn_call_option(const struct bn_call *call, const char *name)
{
	for (size_t i = call->n_values; i > 0; i--) {
		const struct bn_value *v = &call->values[i - 1];

		if (strcmp(v->option->name, name) == 0)
			return v->value ? v->value : "";
	}
	return NULL;
}

int bn_call_usage(const struct bn_call *call, const char *format, ...)
{
	char *text = NULL;
	char path[128] = "";
	va_list ap;

	va_start(ap, format);
	if (vasprintf(&text, format, ap) < 0)
		text = NULL;
	va_end(ap);
	for (int i = 0; i < call->depth; i++)
		snprintf(path + strlen(path), sizeof(path) - strlen(path), "%s%s", i ? " " : "",
			 call->path[i]->name);
	bn_fail("%s; see '%s --help'", text ? text : "out of memory", path);
	free(text);
	return BN_EXIT_USAGE;
}

bool bn_split_name(const char *text, char **ret_namespace, const char **ret_name)
{
	const char *slash = strchr(text, '/');

	if (!slash || slash == text || slash[1] == '\0' || strchr(slash + 1, '/'))
		return false;
	*ret_namespace = strndup(text, (size_t)(slash - text));
	*ret_name = slash + 1;
	return *ret_namespace != NULL;
}

/* Words of a closed set are taken in any case. */
static bool is_word(const char *words, const char *word)
{
	size_t n = strlen(word);

	for (const char *p = words; *p; p += strcspn(p, " "), p += *p == ' ') {
		if (strcspn(p, " ") == n && strncasecmp(p, word, n) == 0)
			return true;
	}
	return false;
}

/*
 * Which formats there are is the command's affair, and its name may be still to come. The first
 * word of its list is what it writes unless told otherwise.
 */
static int choose_format(struct bn_call *call)
{
	static const char *const formats[] = {
		[BN_FORMAT_TABLE] = "table",     [BN_FORMAT_WIDE] = "wide",
		[BN_FORMAT_JSON] = "json",       [BN_FORMAT_YAML] = "yaml",
		[BN_FORMAT_COMPACT] = "compact", [BN_FORMAT_JSONPB] = "jsonpb",
		[BN_FORMAT_DICT] = "dict",
	};
	const char *words = bn_option_find(bn_call_command(call), "output", 6)->words;
	const char *word = call->output ? call->output : words;
	size_t n = call->output ? strlen(word) : strcspn(words, " ");

	if (call->output && !is_word(words, word))
		return bn_call_usage(call, "'--output %s' is none of: %s", word, words);
	for (size_t i = 0; i < sizeof(formats) / sizeof(formats[0]); i++) {
		if (strlen(formats[i]) == n && strncasecmp(word, formats[i], n) == 0)
			call->format = (enum bn_format)i;
	}
	return 0;
}

static bool take_common(struct bn_call *call, const struct bn_option *o, const char *value)
{
	if (strcmp(o->name, "help") == 0)
		call->help = true;
	else if (strcmp(o->name, "run-dir") == 0)
		call->run_dir = value;
	else if (strcmp(o->name, "no-headers") == 0)
		call->no_headers = true;
	else if (strcmp(o->name, "output") == 0)
		call->output = value;
	else
		return false;
	return true;
}

static int take_option(struct bn_call *call, const struct bn_option *o, const char *value)
{
	if (take_common(call, o, value))
		return 0;
	if (!o->repeat && bn_call_option(call, o->name))
		return bn_call_usage(call, "option '--%s' is given twice", o->name);
	if (o->complete == BN_COMPLETE_WORDS && !is_word(o->words, value))
		return bn_call_usage(call, "'--%s %s' is none of: %s", o->name, value, o->words);
	call->values[call->n_values++] = (struct bn_value){.option = o, .value = value};
	return 0;
}

static int parse_long(struct bn_call *call, int argc, char **argv, int *i)
{
	const char *name = argv[*i] + 2;
	size_t len = strcspn(name, "=");
	const struct bn_option *o = bn_option_find(bn_call_command(call), name, len);

	if (!o)
		return bn_call_usage(call, "there is no option '--%.*s'", (int)len, name);
	if (!o->arg) {
		if (name[len])
			return bn_call_usage(call, "option '--%s' takes no value", o->name);
		return take_option(call, o, NULL);
	}
	if (name[len])
		return take_option(call, o, name + len + 1);
	if (*i + 1 >= argc)
		return bn_call_usage(call, "option '--%s' needs a value, %s", o->name, o->arg);
	return take_option(call, o, argv[++*i]);
}

static int parse_short(struct bn_call *call, int argc, char **argv, int *i)
{
	for (const char *p = argv[*i] + 1; *p; p++) {
		const struct bn_option *o = bn_option_find_letter(bn_call_command(call), *p);
		int r;

		if (!o)
			return bn_call_usage(call, "there is no option '-%c'", *p);
		if (o->arg) {
			if (p[1])
				return take_option(call, o, p + 1);
			if (*i + 1 >= argc)
				return bn_call_usage(call, "option '-%c' needs a value, %s", *p,
						     o->arg);
			return take_option(call, o, argv[++*i]);
		}
		r = take_option(call, o, NULL);
		if (r)
			return r;
	}
	return 0;
}

static int parse_word(struct bn_call *call, const char *word)
{
	const struct bn_command *c = bn_call_command(call);

	if (!c->commands) {
		call->args[call->n_args++] = word;
		return 0;
	}
	c = bn_command_find(c, word);
	if (!c)
		return bn_call_usage(call, "there is no command '%s'", word);
	call->path[call->depth++] = c;
	return 0;
}

static int check_args(struct bn_call *call)
{
	const struct bn_command *c = bn_call_command(call);
	const struct bn_argument *a = c->args;
	int n = 0;

	if (c->commands)
		return bn_call_usage(call, "a command is missing");
	for (; a && a->name; a++) {
		if (n >= call->n_args && !a->optional)
			return bn_call_usage(call, "argument %s is missing", a->name);
		n = a->repeat ? call->n_args : n + 1;
	}
	if (call->n_args > n)
		return bn_call_usage(call, "'%s' is one argument too many", call->args[n]);
	return 0;
}

int bn_call_parse(struct bn_call *call, int argc, char **argv)
{
	bool words_only = false;
	int r = 0;

	*call = (struct bn_call){.run_dir = BN_CONTROL_DEFAULT_RUN_DIR};
	call->path[call->depth++] = &bn_root;
	call->args = calloc((size_t)argc + 1, sizeof(*call->args));
	/* every character of a bundle of letters may be an option */
	for (int i = 1; i < argc; i++)
		call->n_values += strlen(argv[i]) + 1;
	call->values = calloc(call->n_values + 1, sizeof(*call->values));
	call->n_values = 0;
	if (!call->args || !call->values)
		return bn_fail("out of memory");
	for (int i = 1; i < argc && r == 0; i++) {
		const char *arg = argv[i];

		/* the words to complete are not ours to judge */
		if (bn_call_command(call)->hidden && bn_call_command(call)->run == bn_cmd_complete)
			words_only = true;
		if (!words_only && strcmp(arg, "--") == 0)
			words_only = true;
		else if (words_only || arg[0] != '-' || arg[1] == '\0')
			r = parse_word(call, arg);
		else if (arg[1] == '-')
			r = parse_long(call, argc, argv, &i);
		else
			r = parse_short(call, argc, argv, &i);
	}
	if (!r)
		r = choose_format(call);
	if (r || call->help)
		return r;
	return check_args(call);
}

void bn_call_done(struct bn_call *call)
{
	free(call->args);
	free(call->values);
	*call = (struct bn_call){0};
}

int bn_call_port(const struct bn_call *call, json_t *params)
{
	const char *text = bn_call_option(call, "port");
	char *end;
	long port;

	if (!text)
		return 0;
	port = strtol(text, &end, 10);
	if (*end || end == text || port < 1 || port > 65535)
		return bn_call_usage(call, "--port '%s' is not a number from 1 to 65535", text);
	json_object_set_new(params, "port", json_integer(port));
	return 0;
}
