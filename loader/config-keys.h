/* SPDX-License-Identifier: Apache-2.0 */
/* Inside the configuration: its keys, what each may hold, and how it is read and shown. */
#pragma once

#include "config.h"

#define BN_CONFIG_LIST_MAX 64
#define BN_CONFIG_EXPECTS_MAX 160

struct bn_key;

/* How a value is written: plain text has no quotes, so that a quoted number can be told. */
enum bn_value_form {
	BN_VALUE_ARGUMENT, /* on the command line; also of our own defaults */
	BN_VALUE_PLAIN,    /* in the file */
	BN_VALUE_QUOTED,
};

struct bn_key_type {
	bool list;
	/* Sets the field, or adds to it; -EINVAL where the text is not what is expected. */
	int (*read)(const struct bn_key *key, void *field, const char *text,
		    enum bn_value_form form);
	json_t *(*show)(const struct bn_key *key, const void *field);
	void (*clear)(void *field);
};

struct bn_choice {
	const char *name;
	int value;
};

struct bn_key {
	const char *section; /* of the file; NULL: at the top, and an option of the same name */
	const char *name;
	const char *arg;     /* what --help calls the value */
	const char *expects; /* "expected ..."; NULL: composed from min, max and power */
	const char *help;
	const char *fallback;           /* blanks between the items of a list; NULL: see below */
	const char *fallback_shown;     /* where the default is found out at start */
	const struct bn_key_type *type; /* NULL: only an option, with a meaning of its own */
	size_t offset;                  /* in struct bn_agent_config */
	const struct bn_choice *choices;
	uint32_t number, min, max; /* numbers: the default and what is accepted */
	bool power;                /* numbers: a power of two */
	enum bn_config_action action;
};

extern const struct bn_key bn_keys[];
extern const size_t bn_keys_n;

/* NULL where there is no such key. */
const struct bn_key *bn_key_find(const char *section, const char *name);
bool bn_key_is_section(const char *name);
/* The key's name as people write it: with dashes. */
const char *bn_key_name(const struct bn_key *key, char buf[64]);
const char *bn_key_expects(const struct bn_key *key, char buf[BN_CONFIG_EXPECTS_MAX]);

static inline void *bn_key_field(const struct bn_key *key, struct bn_agent_config *config)
{
	return (char *)config + key->offset;
}

/* config-file.c: what the file says, over what is in config. -EINVAL: refused, explained. */
int bn_config_file_read(const char *path, struct bn_agent_config *config, struct bn_error *err);
