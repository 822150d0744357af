// SPDX-License-Identifier: Apache-2.0
/*
 * Putting the configuration together: defaults, over them the file, over that the command line.
 * A list that a later layer names replaces the earlier layers' as a whole. The caller gets all of
 * it or an explanation, and nothing outside the process has changed.
 */
#include "config.h"

#include "config-keys.h"
#include "config-types.h"
#include "error.h"
#include "mounts.h"

#include <ctype.h>
#include <errno.h>
#include <getopt.h>
#include <grp.h>
#include <limits.h>
#include <linux/magic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/vfs.h>
#include <unistd.h>

#define OPTIONS_MAX 64

struct given {
	const struct bn_key *key;
	const char *value;
};

struct command_line {
	struct given *given;
	size_t n;
	enum bn_config_action action;
	const char *file;
};

static int set_default(const struct bn_key *key, struct bn_agent_config *config)
{
	char buf[128], *rest = buf, *word;
	int r = 0;

	if (!key->type)
		return 0;
	if (key->type == &bn_type_number) {
		*(uint32_t *)bn_key_field(key, config) = key->number;
		return 0;
	}
	if (!key->fallback)
		return 0;
	snprintf(buf, sizeof(buf), "%s", key->fallback);
	while (r == 0 && (word = strsep(&rest, " ")))
		r = key->type->read(key, bn_key_field(key, config), word, BN_VALUE_ARGUMENT);
	return r;
}

/* What getopt did not like about arg. */
static int usage(int result, const char *arg, struct bn_error *err)
{
	size_t n = strcspn(arg, "=");
	const struct bn_key *key = NULL;
	char name[64];

	if (!strncmp(arg, "--", 2) && n - 2 < sizeof(name)) {
		snprintf(name, sizeof(name), "%.*s", (int)(n - 2), arg + 2);
		key = bn_key_find(NULL, name);
	}
	if (key && result == ':')
		return bn_error_set(err, -EINVAL, "wrong usage: --%s needs a value: %s", key->name,
				    key->arg);
	if (key)
		return bn_error_set(err, -EINVAL, "wrong usage: --%s takes no value", key->name);
	return bn_error_set(err, -EINVAL, "wrong usage: unknown option %s; see bpfnetd --help",
			    arg);
}

static void long_options(struct option options[OPTIONS_MAX])
{
	size_t n = 0;

	for (size_t i = 0; i < bn_keys_n && n < OPTIONS_MAX - 1; i++) {
		if (!bn_keys[i].section)
			options[n++] = (struct option){
				.name = bn_keys[i].name,
				.has_arg = bn_keys[i].arg ? required_argument : no_argument,
			};
	}
	options[n] = (struct option){0};
}

/* getopt takes beginnings of names too, which would change meaning as options are added. */
static bool is_whole(const char *arg, const char *name)
{
	size_t n = strlen(name);

	return !strncmp(arg, "--", 2) && !strncmp(arg + 2, name, n) &&
	       (!arg[2 + n] || arg[2 + n] == '=');
}

static int read_options(int argc, char **argv, struct command_line *line, struct bn_error *err)
{
	struct option options[OPTIONS_MAX];
	const struct bn_key *key;
	int at, index, r;

	long_options(options);
	opterr = 0;
	for (optind = 0;;) {
		at = optind ? optind : 1;
		r = getopt_long(argc, argv, "+:", options, &index);
		if (r < 0)
			break;
		if (r == '?' || r == ':')
			return usage(r, argv[at], err);
		if (!is_whole(argv[at], options[index].name))
			return bn_error_set(err, -EINVAL,
					    "wrong usage: unknown option %s; is it --%s?", argv[at],
					    options[index].name);
		key = bn_key_find(NULL, options[index].name);
		if (key->type)
			line->given[line->n++] = (struct given){key, optarg};
		else if (key->arg)
			line->file = optarg;
		else if (line->action < key->action)
			line->action = key->action;
	}
	if (optind < argc)
		return bn_error_set(err, -EINVAL,
				    "wrong usage: unexpected argument \"%s\"; see bpfnetd --help",
				    argv[optind]);
	return 0;
}

static int apply_option(const struct given *g, struct bn_agent_config *config, struct bn_error *err)
{
	char expects[BN_CONFIG_EXPECTS_MAX];
	int r = g->key->type->read(g->key, bn_key_field(g->key, config), g->value,
				   BN_VALUE_ARGUMENT);

	switch (r) {
	case -EEXIST: /* the same again changes nothing */
		return 0;
	case -E2BIG:
		return bn_error_set(err, -EINVAL, "wrong usage: --%s more than %d times",
				    g->key->name, BN_CONFIG_LIST_MAX);
	case -EINVAL:
		return bn_error_set(err, -EINVAL, "wrong usage: --%s \"%s\": expected %s",
				    g->key->name, g->value, bn_key_expects(g->key, expects));
	case -ENOMEM:
		return r;
	default:
		return r < 0 ? bn_error_set(err, r, "can't read --%s \"%s\": %s", g->key->name,
					    g->value, strerror(-r))
			     : 0;
	}
}

static int apply_options(const struct command_line *line, struct bn_agent_config *config,
			 struct bn_error *err)
{
	int r = 0;

	for (size_t i = 0; i < line->n; i++) {
		if (line->given[i].key->type->list)
			line->given[i].key->type->clear(bn_key_field(line->given[i].key, config));
	}
	for (size_t i = 0; r == 0 && i < line->n; i++)
		r = apply_option(&line->given[i], config, err);
	return r;
}

/* As the kubelet does: the host name in lower case. */
static int name_node(struct bn_agent_config *config, struct bn_error *err)
{
	char name[HOST_NAME_MAX + 1];

	if (config->node_name)
		return 0;
	if (gethostname(name, sizeof(name)) < 0)
		return bn_error_set(err, -errno, "can't find the host name: %m; give --node-name");
	name[sizeof(name) - 1] = 0;
	for (char *p = name; *p; p++)
		*p = (char)tolower((unsigned char)*p);
	if (!bn_config_is_node_name(name))
		return bn_error_set(err, -EINVAL,
				    "the host name \"%s\" can't be a node's name: expected %s; "
				    "give --node-name",
				    name, bn_key_find(NULL, "node-name")->expects);
	config->node_name = strdup(name);
	return config->node_name ? 0 : -ENOMEM;
}

static bool is_cgroup2(const char *path)
{
	struct statfs fs;

	return statfs(path, &fs) == 0 && fs.f_type == CGROUP2_SUPER_MAGIC;
}

/* The root of the hierarchy: not one that a container or a bind mount shows a part of. */
static int take_cgroup_root(const struct bn_mount *mount, void *user)
{
	char **ret = user;

	if (strcmp(mount->type, "cgroup2") || strcmp(mount->root, "/") || !is_cgroup2(mount->point))
		return 0;
	*ret = strdup(mount->point);
	return *ret ? 1 : -ENOMEM;
}

/* A machine without cgroup2 has none: services are balanced packet by packet there. */
static int find_cgroup(struct bn_agent_config *config, bool check, struct bn_error *err)
{
	int r = 0;

	if (!config->cgroup)
		r = bn_mounts_each("/proc/self/mountinfo", take_cgroup_root, &config->cgroup);
	else if (!strcmp(config->cgroup, "none"))
		bn_key_find(NULL, "cgroup")->type->clear(&config->cgroup);
	else if (check && !is_cgroup2(config->cgroup))
		return bn_error_set(err, -EINVAL,
				    "can't use --cgroup %s: it is no folder of cgroup2; give one "
				    "or none",
				    config->cgroup);
	return r < 0 ? bn_error_set(err, r,
				    "can't look for the root of cgroup2 in "
				    "/proc/self/mountinfo: %s; give --cgroup",
				    strerror(-r))
		     : 0;
}

static int find_group(struct bn_agent_config *config, bool check, struct bn_error *err)
{
	const char *name = config->socket_group;
	const struct group *group;
	unsigned long gid;
	char *end;

	config->socket_gid = (gid_t)-1;
	if (!strcmp(name, "none")) {
		bn_key_find(NULL, "socket-group")->type->clear(&config->socket_group);
		return 0;
	}
	group = getgrnam(name);
	if (group) {
		config->socket_gid = group->gr_gid;
		return 0;
	}
	errno = 0;
	gid = strtoul(name, &end, 10);
	if (*name >= '0' && *name <= '9' && !*end && !errno && gid < (gid_t)-1)
		config->socket_gid = (gid_t)gid;
	else if (check)
		return bn_error_set(err, -EINVAL,
				    "can't use --socket-group %s: there is no such group", name);
	return 0;
}

/* They are emptied apart from one another, and bpffs takes no files. */
static int check_folders(const struct bn_agent_config *config, struct bn_error *err)
{
	const struct {
		const char *a_name, *a, *b_name, *b;
	} pairs[] = {
		{"run-dir", config->run_dir, "state-dir", config->state_dir},
		{"run-dir", config->run_dir, "bpffs", config->bpffs},
		{"state-dir", config->state_dir, "bpffs", config->bpffs},
	};

	for (size_t i = 0; i < sizeof(pairs) / sizeof(pairs[0]); i++) {
		if (!strcmp(pairs[i].a, pairs[i].b))
			return bn_error_set(err, -EINVAL,
					    "wrong usage: --%s and --%s are both %s: each needs a "
					    "folder of its "
					    "own",
					    pairs[i].a_name, pairs[i].b_name, pairs[i].a);
	}
	return 0;
}

/* A reply to a translated flow and a NodePort would be one and the same packet. */
static int check_ports(const struct bn_agent_config *config, struct bn_error *err)
{
	const struct bn_port_range *nat = &config->nat_ports, *node = &config->node_ports;

	if (nat->min > node->max || node->min > nat->max)
		return 0;
	return bn_error_set(
		err, -EINVAL,
		"can't use the configuration %s: nat.ports is %u-%u, but NodePorts are from %u to %u "
		"(services.node-port-range): take ranges apart from each other",
		config->file ? config->file : "", nat->min, nat->max, node->min, node->max);
}

/* What can only be said when all layers have spoken. Removing needs less than running. */
static int finish(struct bn_agent_config *config, bool run, struct bn_error *err)
{
	int r = check_folders(config, err);

	if (r == 0 && run)
		r = check_ports(config, err);
	if (r == 0)
		r = name_node(config, err);
	if (config->export_file && !strcmp(config->export_file, "none"))
		bn_key_find("flows", "export-file")->type->clear(&config->export_file);
	if (r == 0)
		r = find_cgroup(config, run, err);
	return r < 0 ? r : find_group(config, run, err);
}

/* Values are quoted in messages, which are one line. */
static void clean(struct bn_error *err)
{
	for (char *p = err ? err->text : NULL; p && *p; p++) {
		if ((unsigned char)*p < 0x20 || *p == 0x7f)
			*p = '?';
	}
}

int bn_agent_config_parse(int argc, char **argv, struct bn_agent_config *ret,
			  enum bn_config_action *ret_action, struct bn_error *err)
{
	struct bn_agent_config config = {.socket_gid = (gid_t)-1};
	struct command_line line = {.action = BN_CONFIG_RUN};
	int r;

	line.given = calloc((size_t)argc + 1, sizeof(*line.given));
	if (!line.given)
		return -ENOMEM;
	r = read_options(argc, argv, &line, err);
	if (r < 0 || line.action == BN_CONFIG_HELP || line.action == BN_CONFIG_VERSION)
		goto out;
	for (size_t i = 0; r == 0 && i < bn_keys_n; i++)
		r = set_default(&bn_keys[i], &config);
	if (r == 0 && line.file) {
		config.file = strdup(line.file);
		r = config.file ? bn_config_file_read(line.file, &config, err) : -ENOMEM;
	}
	if (r == 0)
		r = apply_options(&line, &config, err);
	if (r == 0)
		r = finish(&config, line.action == BN_CONFIG_RUN, err);
out:
	free(line.given);
	if (r < 0) {
		bn_agent_config_done(&config);
		clean(err);
		return r;
	}
	*ret = config;
	*ret_action = line.action;
	return 0;
}

void bn_agent_config_done(struct bn_agent_config *config)
{
	if (!config)
		return;
	for (size_t i = 0; i < bn_keys_n; i++) {
		if (bn_keys[i].type && bn_keys[i].type->clear)
			bn_keys[i].type->clear(bn_key_field(&bn_keys[i], config));
	}
	free(config->file);
	config->file = NULL;
}

json_t *bn_agent_config_json(const struct bn_agent_config *config)
{
	json_t *top = json_object(), *into;
	char name[64];

	for (size_t i = 0; i < bn_keys_n; i++) {
		const struct bn_key *key = &bn_keys[i];

		if (!key->type)
			continue;
		into = key->section ? json_object_get(top, key->section) : top;
		if (!into) {
			into = json_object();
			if (json_object_set_new(top, key->section, into) < 0)
				goto no_memory;
		}
		if (json_object_set_new(into, bn_key_name(key, name),
					key->type->show(key, (const char *)config + key->offset)) <
		    0)
			goto no_memory;
	}
	return top;
no_memory:
	json_decref(top);
	return NULL;
}
