// SPDX-License-Identifier: Apache-2.0
/*
 * The configuration file: YAML (and so JSON), one document, two levels of keys. Scalars keep
 * their text, and the table of keys says what it means: `node-name: 1e3` is a name, not a
 * thousand. Whatever is not understood is refused with its line and the path of its key.
 */
#include "config-keys.h"
#include "error.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <yaml.h>

#define FILE_MAX (1 << 20)
#define DEPTH_MAX 8

struct reader {
	const char *path;
	struct bn_agent_config *config;
	struct bn_error *err;
	yaml_document_t document;
};

static int fail(struct reader *r, size_t line, const char *why)
{
	return bn_error_set(r->err, -EINVAL, "can't use the configuration %s: line %zu: %s",
			    r->path, line + 1, why);
}

static const yaml_node_t *node_at(struct reader *r, int index)
{
	return yaml_document_get_node(&r->document, index);
}

static bool is_scalar(const yaml_node_t *n)
{
	return n->type == YAML_SCALAR_NODE && !strcmp((const char *)n->tag, YAML_STR_TAG) &&
	       !memchr(n->data.scalar.value, 0, n->data.scalar.length);
}

static const char *scalar_text(const yaml_node_t *n)
{
	return (const char *)n->data.scalar.value;
}

/* "maps.flows" */
static const char *path_of(const struct bn_key *key, char buf[130])
{
	char name[64];

	snprintf(buf, 130, "%s%s%s", key->section ? key->section : "", key->section ? "." : "",
		 bn_key_name(key, name));
	return buf;
}

static int wrong(struct reader *r, const struct bn_key *key, const yaml_node_t *n, int error)
{
	char why[512], path[130], expects[BN_CONFIG_EXPECTS_MAX], is[100];

	if (is_scalar(n))
		snprintf(is, sizeof(is), "\"%.80s\"", scalar_text(n));
	else
		snprintf(is, sizeof(is), "%s",
			 n->type == YAML_MAPPING_NODE    ? "a mapping"
			 : n->type == YAML_SEQUENCE_NODE ? "a list"
							 : "a value with a tag");
	path_of(key, path);
	if (error == -ENOMEM)
		return error;
	if (error == -EEXIST)
		snprintf(why, sizeof(why), "%s has %s twice", path, is);
	else if (error == -E2BIG)
		snprintf(why, sizeof(why), "%s has more than %d items", path, BN_CONFIG_LIST_MAX);
	else
		snprintf(why, sizeof(why), "%s is %s, expected %s%s", path, is,
			 key->type->list ? "a list, each item " : "", bn_key_expects(key, expects));
	return fail(r, n->start_mark.line, why);
}

static int read_scalar(struct reader *r, const struct bn_key *key, const yaml_node_t *n)
{
	enum bn_value_form form;
	int error;

	if (!is_scalar(n))
		return wrong(r, key, n, -EINVAL);
	form = n->data.scalar.style == YAML_PLAIN_SCALAR_STYLE ? BN_VALUE_PLAIN : BN_VALUE_QUOTED;
	error = key->type->read(key, bn_key_field(key, r->config), scalar_text(n), form);
	return error < 0 ? wrong(r, key, n, error) : 0;
}

static int read_value(struct reader *r, const struct bn_key *key, const yaml_node_t *n)
{
	int error = 0;

	if (!key->type->list)
		return read_scalar(r, key, n);
	key->type->clear(bn_key_field(key, r->config));
	if (n->type != YAML_SEQUENCE_NODE)
		return read_scalar(r, key, n);
	for (const yaml_node_item_t *i = n->data.sequence.items.start;
	     error == 0 && i < n->data.sequence.items.top; i++)
		error = read_scalar(r, key, node_at(r, *i));
	return error;
}

/* What could have stood there: "flows, services, ...". */
static void list_keys(const char *section, char *buf, size_t size)
{
	const char *last = NULL;
	size_t n = 0;

	buf[0] = 0;
	for (size_t i = 0; i < bn_keys_n && n < size; i++) {
		const struct bn_key *key = &bn_keys[i];
		const char *name = key->section;
		char own[64];

		if (section && (!key->section || strcmp(key->section, section)))
			continue;
		if (section || !key->section)
			name = key->type ? bn_key_name(key, own) : NULL;
		if (!name || (name == key->section && last && !strcmp(last, name)))
			continue;
		last = name == key->section ? name : NULL;
		n += (size_t)snprintf(buf + n, size - n, "%s%s", n ? ", " : "", name);
	}
}

static int unknown(struct reader *r, const char *section, const char *name, size_t line)
{
	char names[400], why[640];
	const struct bn_key *option = section ? NULL : bn_key_find(NULL, name);

	if (option) {
		snprintf(why, sizeof(why), "\"%s\" is an option of the command line only", name);
		return fail(r, line, why);
	}
	list_keys(section, names, sizeof(names));
	snprintf(why, sizeof(why), "unknown key \"%s%s%.64s\", expected one of: %s",
		 section ? section : "", section ? "." : "", name, names);
	return fail(r, line, why);
}

static int read_mapping(struct reader *r, const char *section, const yaml_node_t *mapping);

static int read_pair(struct reader *r, const char *section, const yaml_node_t *name,
		     const yaml_node_t *value)
{
	const struct bn_key *key = bn_key_find(section, scalar_text(name));
	char why[200];

	if (key && key->type)
		return read_value(r, key, value);
	if (section || key || !bn_key_is_section(scalar_text(name)))
		return unknown(r, section, scalar_text(name), name->start_mark.line);
	if (value->type == YAML_MAPPING_NODE)
		return read_mapping(r, scalar_text(name), value);
	/* a heading whose keys are all commented out */
	if (is_scalar(value) && !value->data.scalar.length &&
	    value->data.scalar.style == YAML_PLAIN_SCALAR_STYLE)
		return 0;
	snprintf(why, sizeof(why), "%s must be a mapping", scalar_text(name));
	return fail(r, value->start_mark.line, why);
}

static int read_mapping(struct reader *r, const char *section, const yaml_node_t *mapping)
{
	const yaml_node_pair_t *first = mapping->data.mapping.pairs.start;
	char why[120];
	int error;

	if (strcmp((const char *)mapping->tag, YAML_MAP_TAG))
		return fail(r, mapping->start_mark.line, "tags are not supported");
	for (const yaml_node_pair_t *p = first; p < mapping->data.mapping.pairs.top; p++) {
		const yaml_node_t *name = node_at(r, p->key);

		if (!is_scalar(name))
			return fail(r, name->start_mark.line, "a key must be a plain word");
		for (const yaml_node_pair_t *q = first; q < p; q++) {
			if (strcmp(scalar_text(node_at(r, q->key)), scalar_text(name)))
				continue;
			snprintf(why, sizeof(why), "\"%.64s\" stands there twice",
				 scalar_text(name));
			return fail(r, name->start_mark.line, why);
		}
		error = read_pair(r, section, name, node_at(r, p->value));
		if (error < 0)
			return error;
	}
	return 0;
}

static int parser_error(struct reader *r, const yaml_parser_t *p)
{
	char why[256];

	if (p->error == YAML_MEMORY_ERROR)
		return -ENOMEM;
	snprintf(why, sizeof(why), "broken YAML: %s%s%s", p->problem ? p->problem : "unreadable",
		 p->context ? ", " : "", p->context ? p->context : "");
	return fail(r, p->error == YAML_READER_ERROR ? p->mark.line : p->problem_mark.line, why);
}

/* A second document would be silently ignored otherwise. */
static int read_end(struct reader *r, yaml_parser_t *p)
{
	yaml_document_t more;
	const yaml_node_t *root;
	int error = 0;

	if (!yaml_parser_load(p, &more))
		return parser_error(r, p);
	root = yaml_document_get_root_node(&more);
	if (root)
		error = fail(r, root->start_mark.line, "a second document; there may be only one");
	yaml_document_delete(&more);
	return error;
}

static int start_parser(yaml_parser_t *p, const unsigned char *text, size_t size)
{
	if (!yaml_parser_initialize(p))
		return -ENOMEM;
	yaml_parser_set_encoding(p, YAML_UTF8_ENCODING);
	yaml_parser_set_input_string(p, text, size);
	return 0;
}

/* libyaml's time grows with the square of the depth: nothing deep is given to yaml_parser_load(). */
static int check_depth(struct reader *r, const unsigned char *text, size_t size)
{
	yaml_event_type_t type = YAML_NO_EVENT;
	yaml_event_t event;
	yaml_parser_t p;
	int depth = 0, error;

	error = start_parser(&p, text, size);
	if (error < 0)
		return error;
	while (error == 0 && type != YAML_STREAM_END_EVENT) {
		if (!yaml_parser_parse(&p, &event)) {
			error = parser_error(r, &p);
			break;
		}
		type = event.type;
		if (type == YAML_MAPPING_START_EVENT || type == YAML_SEQUENCE_START_EVENT)
			depth++;
		if (type == YAML_MAPPING_END_EVENT || type == YAML_SEQUENCE_END_EVENT)
			depth--;
		if (depth > DEPTH_MAX)
			error = fail(r, event.start_mark.line, "nested too deeply");
		yaml_event_delete(&event);
	}
	yaml_parser_delete(&p);
	return error;
}

static int read_text(struct reader *r, const unsigned char *text, size_t size)
{
	const yaml_node_t *root;
	yaml_parser_t p;
	int error;

	error = check_depth(r, text, size);
	if (error == 0)
		error = start_parser(&p, text, size);
	if (error < 0)
		return error;
	if (!yaml_parser_load(&p, &r->document)) {
		error = parser_error(r, &p);
		yaml_parser_delete(&p);
		return error;
	}
	root = yaml_document_get_root_node(&r->document);
	if (root && root->type == YAML_MAPPING_NODE)
		error = read_mapping(r, NULL, root);
	else if (root && !(is_scalar(root) && !root->data.scalar.length))
		error = fail(r, root->start_mark.line, "expected a mapping of keys to values");
	if (root && error == 0)
		error = read_end(r, &p);
	yaml_document_delete(&r->document);
	yaml_parser_delete(&p);
	return error;
}

/* Never blocks on a FIFO, never reads more than FILE_MAX. */
static int slurp(struct reader *r, unsigned char **ret, size_t *ret_size)
{
	unsigned char *text = NULL;
	struct stat st;
	FILE *f = NULL;
	int fd, error;

	fd = open(r->path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	if (fd < 0 || fstat(fd, &st) < 0) {
		error = bn_error_set(r->err, -errno, "can't read the configuration %s: %m",
				     r->path);
		goto out;
	}
	error = -EINVAL;
	if (!S_ISREG(st.st_mode)) {
		bn_error_set(r->err, error, "can't read the configuration %s: it is no file",
			     r->path);
		goto out;
	}
	text = malloc(FILE_MAX + 1);
	f = fdopen(fd, "r");
	if (!text || !f) {
		error = -ENOMEM;
		goto out;
	}
	*ret_size = fread(text, 1, FILE_MAX + 1, f);
	if (ferror(f)) {
		error = bn_error_set(r->err, -EIO, "can't read the configuration %s: %m", r->path);
		goto out;
	}
	if (*ret_size > FILE_MAX) {
		bn_error_set(r->err, error, "can't use the configuration %s: larger than 1 MiB",
			     r->path);
		goto out;
	}
	*ret = text;
	text = NULL;
	error = 0;
out:
	free(text);
	if (f)
		fclose(f);
	else if (fd >= 0)
		close(fd);
	return error;
}

int bn_config_file_read(const char *path, struct bn_agent_config *config, struct bn_error *err)
{
	struct reader r = {.path = path, .config = config, .err = err};
	unsigned char *text = NULL;
	size_t size = 0;
	int error;

	error = slurp(&r, &text, &size);
	if (error == 0)
		error = read_text(&r, text, size);
	free(text);
	return error;
}
