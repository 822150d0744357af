// SPDX-License-Identifier: Apache-2.0
/*
 * Shell completion. The scripts only ask `bpfnet __complete WORD...`, whose last word is the one
 * to complete, so they never go stale: everything comes from the command table, and names come
 * from the agent. A line is a candidate, with a tab and what it means behind it where that is
 * known; `:file` and `:folder` leave it to the shell.
 */
#include <dirent.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "client.h"
#include "flow.h"
#include "text.h"

#define PATIENCE_SEC 2 /* for the agent */

struct completion {
	struct bn_call call;            /* run_dir is what the words say */
	const char *prefix;             /* the word to complete */
	const char *kind;               /* the first argument */
	const struct bn_option *option; /* whose value it is */
	int n_args;                     /* before the word */
};

static void candidate(const struct completion *c, const char *word, const char *help)
{
	if (strncmp(word, c->prefix, strlen(c->prefix)) != 0 || strpbrk(word, "\t\n"))
		return;
	bn_text_clean(stdout, word);
	if (help)
		printf("\t%s", help);
	putchar('\n');
}

static void complete_words(const struct completion *c, const char *words)
{
	char *copy = strdup(words), *save = NULL;

	for (char *w = copy ? strtok_r(copy, " ", &save) : NULL; w; w = strtok_r(NULL, " ", &save))
		candidate(c, w, NULL);
	free(copy);
}

static void complete_commands(const struct completion *c, const struct bn_command *group)
{
	for (const struct bn_command *s = group->commands; s && s->name; s++) {
		if (!s->hidden)
			candidate(c, s->name, s->help);
	}
}

static void complete_options(const struct completion *c, const struct bn_option *options)
{
	const struct bn_command *command = bn_call_command(&c->call);

	for (const struct bn_option *o = options; o && o->name; o++) {
		char word[64];

		if (bn_option_find(command, o->name, strlen(o->name)) != o)
			continue;
		snprintf(word, sizeof(word), "--%s", o->name);
		candidate(c, word, o->help);
	}
}

/* NS/NAME, or NAME alone for what is in no namespace, of the agent's objects of a kind. */
static void complete_objects(const struct completion *c, const char *kind)
{
	struct bn_ask ask = BN_ASK("get", json_pack("{s:s}", "kind", kind));
	json_t *result = NULL;
	const json_t *o;
	size_t i;

	ask.quiet = true;
	alarm(PATIENCE_SEC);
	bn_client_ask(&c->call, &ask, &result);
	alarm(0);
	json_array_foreach(result, i, o) {
		const json_t *meta = json_object_get(o, "metadata");
		const char *namespace = json_string_value(json_object_get(meta, "namespace"));
		const char *name = json_string_value(json_object_get(meta, "name"));
		char word[512];

		if (!name)
			continue;
		snprintf(word, sizeof(word), "%s%s%s", namespace ? namespace : "",
			 namespace ? "/" : "", name);
		candidate(c, word, NULL);
	}
	json_decref(result);
	json_decref(ask.params);
}

/* Attached pods, which need no manifest. */
static void complete_pods(const struct completion *c)
{
	struct bn_ask ask = BN_ASK("endpoint.list", NULL);
	json_t *result = NULL;
	const json_t *o;
	size_t i;

	ask.quiet = true;
	alarm(PATIENCE_SEC);
	bn_client_ask(&c->call, &ask, &result);
	alarm(0);
	json_array_foreach(result, i, o) {
		const char *namespace = json_string_value(json_object_get(o, "namespace"));
		const char *pod = json_string_value(json_object_get(o, "pod"));
		char word[512];

		snprintf(word, sizeof(word), "%s/%s", namespace ? namespace : "", pod ? pod : "");
		candidate(c, word, NULL);
	}
	json_decref(result);
}

static void complete_netns(const struct completion *c)
{
	DIR *dir = opendir("/run/netns");
	struct dirent *e;

	while (dir && (e = readdir(dir))) {
		if (e->d_name[0] != '.')
			candidate(c, e->d_name, NULL);
	}
	if (dir)
		closedir(dir);
	if (strchr(c->prefix, '/'))
		puts(":file");
}

static void complete_reason(const char *label, const char *text, void *user)
{
	candidate(user, label, text);
}

static void complete_place(struct completion *c, enum bn_complete what, const char *words)
{
	switch (what) {
	case BN_COMPLETE_NONE:
	case BN_COMPLETE_COMMAND:
		break;
	case BN_COMPLETE_WORDS:
	case BN_COMPLETE_WORDS_OPEN:
		complete_words(c, words);
		break;
	case BN_COMPLETE_FILE:
		puts(":file");
		break;
	case BN_COMPLETE_FOLDER:
		puts(":folder");
		break;
	case BN_COMPLETE_NETNS:
		complete_netns(c);
		break;
	case BN_COMPLETE_REASON:
		bn_reasons_each(complete_reason, c);
		break;
	case BN_COMPLETE_SERVICE:
		complete_objects(c, "Service");
		break;
	case BN_COMPLETE_POLICY:
		complete_objects(c, "NetworkPolicy");
		complete_objects(c, "ClusterNetworkPolicy");
		break;
	case BN_COMPLETE_POD:
		complete_pods(c);
		break;
	case BN_COMPLETE_NAMESPACE:
		complete_objects(c, "Namespace");
		break;
	case BN_COMPLETE_OBJECT:
		if (c->kind && bn_get_kind(c->kind))
			complete_objects(c, bn_get_kind(c->kind));
		break;
	}
}

/* Follows the words before the one to complete, as the parser would. */
static void follow(struct completion *c, const char *const *words, int n)
{
	struct bn_call *call = &c->call;

	call->path[call->depth++] = &bn_root;
	for (int i = 0; i < n; i++) {
		const struct bn_command *command = bn_call_command(call);
		const char *w = words[i];

		c->option = NULL;
		if (w[0] == '-' && w[1] == '-')
			c->option = bn_option_find(command, w + 2, strlen(w + 2));
		else if (w[0] == '-' && w[1] && !w[2])
			c->option = bn_option_find_letter(command, w[1]);
		if (c->option && c->option->arg) {
			if (i + 1 < n) {
				if (strcmp(c->option->name, "run-dir") == 0)
					call->run_dir = words[i + 1];
				i++;
				c->option = NULL;
			}
			continue;
		}
		c->option = NULL;
		if (w[0] == '-' && w[1])
			continue;
		if (!command->commands) {
			if (c->n_args++ == 0)
				c->kind = w;
			continue;
		}
		command = bn_command_find(command, w);
		if (!command || call->depth == BN_DEPTH_MAX)
			return;
		call->path[call->depth++] = command;
	}
}

int bn_cmd_complete(struct bn_call *call)
{
	struct completion c = {.call = {.run_dir = call->run_dir}};
	int n = call->n_args ? call->n_args - 1 : 0;
	const struct bn_command *command;
	const struct bn_argument *a;

	c.prefix = call->n_args ? call->args[n] : "";
	follow(&c, call->args, n);
	command = bn_call_command(&c.call);
	if (c.option) {
		complete_place(&c, c.option->complete, c.option->words);
		return BN_EXIT_DONE;
	}
	if (c.prefix[0] == '-') {
		complete_options(&c, command->options);
		complete_options(&c, bn_common_options);
		return BN_EXIT_DONE;
	}
	if (command->commands) {
		complete_commands(&c, command);
		return BN_EXIT_DONE;
	}
	a = command->args;
	for (int i = 0; a && a->name && i < c.n_args && !a->repeat; i++)
		a++;
	if (a && a->name && a->complete == BN_COMPLETE_COMMAND)
		complete_commands(&c, &bn_root);
	else if (a && a->name)
		complete_place(&c, a->complete, a->words);
	return BN_EXIT_DONE;
}

static const char bash_script[] =
	"# bash completion for bpfnet; bpfnet itself knows what fits\n"
	"_bpfnet()\n"
	"{\n"
	"	local line cur=${COMP_WORDS[COMP_CWORD]}\n"
	"	COMPREPLY=()\n"
	"	while IFS= read -r line; do\n"
	"		case $line in\n"
	"		:file) compopt -o filenames; mapfile -t -O ${#COMPREPLY[@]} COMPREPLY < <(compgen -f -- "
	"\"$cur\") ;;\n"
	"		:folder) compopt -o filenames; mapfile -t -O ${#COMPREPLY[@]} COMPREPLY < <(compgen -d "
	"-- \"$cur\") ;;\n"
	"		*/) compopt -o nospace; COMPREPLY+=(\"$line\") ;;\n"
	"		*) COMPREPLY+=(\"${line%%$'\\t'*}\") ;;\n"
	"		esac\n"
	"	done < <(\"${COMP_WORDS[0]}\" __complete \"${COMP_WORDS[@]:1:COMP_CWORD}\" 2>/dev/null)\n"
	"}\n"
	"complete -F _bpfnet bpfnet\n";

static const char zsh_script[] =
	"#compdef bpfnet\n"
	"# zsh completion for bpfnet; bpfnet itself knows what fits\n"
	"_bpfnet() {\n"
	"	local line tab=$'\\t'\n"
	"	local -a found\n"
	"	for line in ${(f)\"$(${words[1]} __complete ${(@)words[2,CURRENT]} 2>/dev/null)\"}; do\n"
	"		case $line in\n"
	"		:file) _files ;;\n"
	"		:folder) _files -/ ;;\n"
	"		*) found+=(\"${${line%%$tab*}//:/\\\\:}${${line#*$tab}:+:${line#*$tab}}\") ;;\n"
	"		esac\n"
	"	done\n"
	"	(( $#found )) && _describe bpfnet found\n"
	"}\n"
	"compdef _bpfnet bpfnet\n";

static const char fish_script[] =
	"# fish completion for bpfnet; bpfnet itself knows what fits\n"
	"function __bpfnet_complete\n"
	"	set -l words (commandline -opc) (commandline -ct)\n"
	"	for line in ($words[1] __complete $words[2..-1] 2>/dev/null)\n"
	"		switch $line\n"
	"			case :file :folder\n"
	"				__fish_complete_path (commandline -ct)\n"
	"			case '*'\n"
	"				echo $line\n"
	"		end\n"
	"	end\n"
	"end\n"
	"complete -c bpfnet -f -a '(__bpfnet_complete)'\n";

int bn_cmd_completion(struct bn_call *call)
{
	const char *shell = call->args[0];

	if (strcmp(shell, "bash") == 0)
		fputs(bash_script, stdout);
	else if (strcmp(shell, "zsh") == 0)
		fputs(zsh_script, stdout);
	else if (strcmp(shell, "fish") == 0)
		fputs(fish_script, stdout);
	else
		return bn_call_usage(call, "'%s' is none of: bash zsh fish", shell);
	return BN_EXIT_DONE;
}
