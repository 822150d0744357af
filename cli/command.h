/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The command table: every command is one record, and help, synopsis, completion and manual
 * pages come from it. Arrays end with an empty record.
 */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

enum {
	BN_EXIT_DONE = 0,
	BN_EXIT_FAILED = 1,
	BN_EXIT_USAGE = 2,
	BN_EXIT_DEGRADED = 3, /* of `status` */
};

/* What may stand in a place, for completion. */
enum bn_complete {
	BN_COMPLETE_NONE,
	BN_COMPLETE_WORDS,      /* one of `words`, separated by spaces */
	BN_COMPLETE_WORDS_OPEN, /* likewise, but others may stand there, too */
	BN_COMPLETE_FILE,
	BN_COMPLETE_FOLDER,
	BN_COMPLETE_NETNS,
	BN_COMPLETE_REASON,
	BN_COMPLETE_COMMAND,
	/* the following ask the agent */
	BN_COMPLETE_SERVICE,
	BN_COMPLETE_POLICY,
	BN_COMPLETE_POD,
	BN_COMPLETE_NAMESPACE,
	BN_COMPLETE_OBJECT, /* of the kind in the first argument */
};

struct bn_option {
	const char *name; /* long, without dashes */
	char letter;      /* 0: none */
	const char *arg;  /* what the value is called; NULL: takes none */
	const char *help;
	bool repeat; /* may be given several times */
	enum bn_complete complete;
	const char *words;
};

struct bn_argument {
	const char *name;
	bool optional;
	bool repeat; /* the last one only */
	enum bn_complete complete;
	const char *words;
};

struct bn_call;

struct bn_command {
	const char *name;
	const char *help;     /* one line, no full stop */
	const char *text;     /* paragraphs for --help and the manual, separated by empty lines */
	const char *examples; /* lines `command # what it does` */
	const struct bn_argument *args;
	const struct bn_option *options;
	const struct bn_command *commands; /* a group has these instead of args and run */
	bool hidden;
	int (*run)(struct bn_call *call); /* returns the exit code */
};

extern const struct bn_command bn_root;
extern const struct bn_option bn_common_options[];
extern const struct bn_option bn_flows_options[], bn_trace_options[]; /* table-flows.c */

#define BN_DEPTH_MAX 4

struct bn_value {
	const struct bn_option *option;
	const char *value; /* NULL where the option takes none */
};

enum bn_format {
	BN_FORMAT_TABLE,
	BN_FORMAT_WIDE,
	BN_FORMAT_JSON,
	BN_FORMAT_YAML,
	/* of `flows` alone */
	BN_FORMAT_COMPACT,
	BN_FORMAT_JSONPB,
	BN_FORMAT_DICT,
};

/* A command line, taken apart. */
struct bn_call {
	const struct bn_command *path[BN_DEPTH_MAX]; /* from the root on */
	int depth;
	const char **args;
	int n_args;
	struct bn_value *values; /* in the order given */
	size_t n_values;
	const char *run_dir;
	const char *output; /* as given; NULL: not */
	enum bn_format format;
	bool no_headers;
	bool help;
};

/* 0, or BN_EXIT_USAGE after having said why. With `help` set, nothing is missing. */
int bn_call_parse(struct bn_call *call, int argc, char **argv);
void bn_call_done(struct bn_call *call);
const struct bn_command *bn_call_command(const struct bn_call *call);
/* The last value of an option, "" for one that takes none; NULL: not given. */
const char *bn_call_option(const struct bn_call *call, const char *name);
/* Prints what is wrong with the command line; returns BN_EXIT_USAGE. */
int bn_call_usage(const struct bn_call *call, const char *format, ...)
	__attribute__((format(printf, 2, 3)));

/* --port as a number into `params`; BN_EXIT_USAGE after having said what is wrong with it. */
int bn_call_port(const struct bn_call *call, json_t *params);

/* Splits NS/NAME (both not empty); false: not of that form. `ret_namespace` is to be freed. */
bool bn_split_name(const char *text, char **ret_namespace, const char **ret_name);

const struct bn_command *bn_command_find(const struct bn_command *group, const char *name);
const struct bn_option *bn_option_find(const struct bn_command *command, const char *name,
				       size_t len);
const struct bn_option *bn_option_find_letter(const struct bn_command *command, char letter);

void bn_help_print(FILE *f, const struct bn_command *const *path, int depth);
/* `bpfnet svc get [options] NS/NAME`, without the newline. */
void bn_help_synopsis(FILE *f, const struct bn_command *const *path, int depth);

/* "Service" for "svc"; NULL: no kind is called so. */
const char *bn_get_kind(const char *name);

/* The commands. */
int bn_cmd_help(struct bn_call *call);
int bn_cmd_apply(struct bn_call *call);
int bn_cmd_delete(struct bn_call *call);
int bn_cmd_get(struct bn_call *call);
int bn_cmd_endpoint_add(struct bn_call *call);
int bn_cmd_endpoint_delete(struct bn_call *call);
int bn_cmd_endpoint_list(struct bn_call *call);
int bn_cmd_policy_list(struct bn_call *call);
int bn_cmd_policy_get(struct bn_call *call);
int bn_cmd_policy_trace(struct bn_call *call);
int bn_cmd_svc_list(struct bn_call *call);
int bn_cmd_svc_get(struct bn_call *call);
int bn_cmd_why(struct bn_call *call);
int bn_cmd_flows(struct bn_call *call);
int bn_cmd_trace(struct bn_call *call);
int bn_cmd_top(struct bn_call *call);
int bn_cmd_ct_list(struct bn_call *call);
int bn_cmd_nat_list(struct bn_call *call);
int bn_cmd_map_list(struct bn_call *call);
int bn_cmd_map_audit(struct bn_call *call);
int bn_cmd_metrics(struct bn_call *call);
int bn_cmd_status(struct bn_call *call);
int bn_cmd_config(struct bn_call *call);
int bn_cmd_version(struct bn_call *call);
int bn_cmd_completion(struct bn_call *call);
int bn_cmd_complete(struct bn_call *call);
int bn_cmd_man(struct bn_call *call);
