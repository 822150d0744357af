// SPDX-License-Identifier: Apache-2.0
/*
 * Reading and showing values. What show() writes, read() takes back from a file and gives the
 * same; a list never has an item twice; a field that read() refused is as it was.
 */
#include "config-types.h"

#include "flows/filter-text.h"

#include <errno.h>
#include <limits.h>
#include <net/if.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static int set_string(char **field, const char *text)
{
	char *copy = strdup(text);

	if (!copy)
		return -ENOMEM;
	free(*field);
	*field = copy;
	return 0;
}

static json_t *show_string(const struct bn_key *key, const void *field)
{
	const char *s = *(char *const *)field;

	return json_string(s ? s : "none");
}

static void clear_string(void *field)
{
	char **s = field;

	free(*s);
	*s = NULL;
}

static int add_string(struct bn_string_list *list, const char *text)
{
	char **items;

	for (size_t i = 0; i < list->n; i++) {
		if (!strcmp(list->items[i], text))
			return -EEXIST;
	}
	if (list->n == BN_CONFIG_LIST_MAX)
		return -E2BIG;
	items = reallocarray(list->items, list->n + 1, sizeof(*items));
	if (!items)
		return -ENOMEM;
	list->items = items;
	items[list->n] = strdup(text);
	if (!items[list->n])
		return -ENOMEM;
	list->n++;
	return 0;
}

static json_t *show_strings(const struct bn_key *key, const void *field)
{
	const struct bn_string_list *list = field;
	json_t *array = json_array();

	for (size_t i = 0; i < list->n; i++) {
		if (json_array_append_new(array, json_string(list->items[i])) < 0) {
			json_decref(array);
			return NULL;
		}
	}
	return array;
}

static void clear_strings(void *field)
{
	struct bn_string_list *list = field;

	for (size_t i = 0; i < list->n; i++)
		free(list->items[i]);
	free(list->items);
	*list = (struct bn_string_list){0};
}

/*
 * A folder, without slashes at the end. On the command line one may be relative to the working
 * directory; in a file that would be one that nobody reading it knows.
 */
static int resolve(const struct bn_key *key, const char *text, enum bn_value_form form,
		   char ret[PATH_MAX])
{
	char path[PATH_MAX], cwd[PATH_MAX];
	size_t n;

	if (!*text || strlen(text) >= sizeof(path))
		return -EINVAL;
	for (const char *p = text; *p; p++) {
		if ((unsigned char)*p < 0x20 || *p == 0x7f)
			return -EINVAL;
	}
	strcpy(path, text);
	if (*text != '/') {
		if (form != BN_VALUE_ARGUMENT)
			return -EINVAL;
		if (!getcwd(cwd, sizeof(cwd)))
			return -errno;
		if ((size_t)snprintf(path, sizeof(path), "%s/%s", cwd, text) >= sizeof(path))
			return -EINVAL;
	}
	for (n = strlen(path); n && path[n - 1] == '/'; n--)
		path[n - 1] = 0;
	if (!n || n > key->max)
		return -EINVAL;
	memcpy(ret, path, n + 1);
	return 0;
}

static int read_path(const struct bn_key *key, void *field, const char *text,
		     enum bn_value_form form)
{
	char path[PATH_MAX];
	int r = resolve(key, text, form, path);

	return r < 0 ? r : set_string(field, path);
}

static int read_path_item(const struct bn_key *key, void *field, const char *text,
			  enum bn_value_form form)
{
	char path[PATH_MAX];
	int r = resolve(key, text, form, path);

	return r < 0 ? r : add_string(field, path);
}

static int read_path_none(const struct bn_key *key, void *field, const char *text,
			  enum bn_value_form form)
{
	if (!strcmp(text, "none"))
		return set_string(field, text);
	return read_path(key, field, text, form);
}

/* useradd's form of a name, or a number. */
static int read_group(const struct bn_key *key, void *field, const char *text,
		      enum bn_value_form form)
{
	static const char set[] =
		"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-";
	size_t n = strlen(text);

	if (!n || n > 32 || *text == '-' || text[strspn(text, set)])
		return -EINVAL;
	return set_string(field, text);
}

static bool is_alnum(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
}

bool bn_config_is_node_name(const char *s)
{
	size_t n = strlen(s);

	if (!n || n > 253)
		return false;
	for (size_t i = 0, label = 0; i < n; i++) {
		bool edge = !label || i + 1 == n || s[i + 1] == '.';

		if (s[i] == '.') {
			if (!label || i + 1 == n)
				return false;
			label = 0;
		} else if (++label > 63 || !(is_alnum(s[i]) || (s[i] == '-' && !edge))) {
			return false;
		}
	}
	return true;
}

static int read_node_name(const struct bn_key *key, void *field, const char *text,
			  enum bn_value_form form)
{
	return bn_config_is_node_name(text) ? set_string(field, text) : -EINVAL;
}

static int read_host_name(const struct bn_key *key, void *field, const char *text,
			  enum bn_value_form form)
{
	return bn_config_is_node_name(text) ? add_string(field, text) : -EINVAL;
}

/* The kernel's dev_valid_name(). */
static int read_interface(const struct bn_key *key, void *field, const char *text,
			  enum bn_value_form form)
{
	if (!*text || strlen(text) >= IFNAMSIZ || !strcmp(text, ".") || !strcmp(text, ".."))
		return -EINVAL;
	for (const char *p = text; *p; p++) {
		if ((unsigned char)*p <= ' ' || strchr("/:\x7f", *p))
			return -EINVAL;
	}
	return add_string(field, text);
}

static int read_cidr(const struct bn_key *key, void *field, const char *text,
		     enum bn_value_form form)
{
	struct bn_cidr_list *list = field;
	struct bn_cidr cidr, *items;

	/* zeroed, because items are compared as bytes */
	memset(&cidr, 0, sizeof(cidr));
	if (bn_cidr_parse(text, &cidr) < 0)
		return -EINVAL;
	for (size_t i = 0; i < list->n; i++) {
		if (!memcmp(&list->items[i], &cidr, sizeof(cidr)))
			return -EEXIST;
	}
	if (list->n == BN_CONFIG_LIST_MAX)
		return -E2BIG;
	items = reallocarray(list->items, list->n + 1, sizeof(*items));
	if (!items)
		return -ENOMEM;
	list->items = items;
	items[list->n++] = cidr;
	return 0;
}

static json_t *show_cidrs(const struct bn_key *key, const void *field)
{
	const struct bn_cidr_list *list = field;
	json_t *array = json_array();
	char buf[BN_CIDR_STRLEN];

	for (size_t i = 0; i < list->n; i++) {
		if (json_array_append_new(array,
					  json_string(bn_cidr_format(&list->items[i], buf))) < 0) {
			json_decref(array);
			return NULL;
		}
	}
	return array;
}

static void clear_cidrs(void *field)
{
	struct bn_cidr_list *list = field;

	free(list->items);
	*list = (struct bn_cidr_list){0};
}

/* CIDRs, or the one word. */
static int read_node_address(const struct bn_key *key, void *field, const char *text,
			     enum bn_value_form form)
{
	struct bn_node_addresses *list = field;

	if (list->primary)
		return strcmp(text, "primary") ? -EINVAL : -EEXIST;
	if (strcmp(text, "primary"))
		return read_cidr(key, &list->cidrs, text, form);
	if (list->cidrs.n)
		return -EINVAL;
	list->primary = true;
	return 0;
}

static json_t *show_node_addresses(const struct bn_key *key, const void *field)
{
	const struct bn_node_addresses *list = field;

	return list->primary ? json_pack("[s]", "primary") : show_cidrs(key, &list->cidrs);
}

static void clear_node_addresses(void *field)
{
	struct bn_node_addresses *list = field;

	clear_cidrs(&list->cidrs);
	list->primary = false;
}

/* YAML 1.1 has on and off as booleans, so programs that write files write them as true, false. */
static const char *plain_switch(const char *text, enum bn_value_form form)
{
	if (form == BN_VALUE_PLAIN && !strcmp(text, "true"))
		return "on";
	if (form == BN_VALUE_PLAIN && !strcmp(text, "false"))
		return "off";
	return text;
}

static int read_on_off(const struct bn_key *key, void *field, const char *text,
		       enum bn_value_form form)
{
	bool *b = field;

	text = plain_switch(text, form);
	if (!strcmp(text, "on"))
		*b = true;
	else if (!strcmp(text, "off"))
		*b = false;
	else
		return -EINVAL;
	return 0;
}

static json_t *show_on_off(const struct bn_key *key, const void *field)
{
	return json_string(*(const bool *)field ? "on" : "off");
}

static int read_choice(const struct bn_key *key, void *field, const char *text,
		       enum bn_value_form form)
{
	for (const struct bn_choice *c = key->choices; c->name; c++) {
		if (!strcmp(text, c->name)) {
			*(int *)field = c->value;
			return 0;
		}
	}
	return -EINVAL;
}

static int read_switch(const struct bn_key *key, void *field, const char *text,
		       enum bn_value_form form)
{
	return read_choice(key, field, plain_switch(text, form), form);
}

static json_t *show_choice(const struct bn_key *key, const void *field)
{
	const struct bn_choice *c = key->choices;

	while (c[1].name && c->value != *(const int *)field)
		c++;
	return json_string(c->name);
}

/* Decimal digits alone, without zeros in front; false past max. */
static bool digits(const char *text, size_t n, uint64_t max, uint64_t *ret)
{
	uint64_t v = 0;

	if (!n || (text[0] == '0' && n > 1))
		return false;
	for (size_t i = 0; i < n; i++) {
		if (text[i] < '0' || text[i] > '9')
			return false;
		v = v * 10 + (uint64_t)(text[i] - '0');
		if (v > max)
			return false;
	}
	*ret = v;
	return true;
}

static int read_number(const struct bn_key *key, void *field, const char *text,
		       enum bn_value_form form)
{
	uint64_t v;

	if (form == BN_VALUE_QUOTED || !digits(text, strlen(text), key->max, &v) || v < key->min ||
	    (key->power && (v & (v - 1))))
		return -EINVAL;
	*(uint32_t *)field = (uint32_t)v;
	return 0;
}

static json_t *show_number(const struct bn_key *key, const void *field)
{
	return json_integer(*(const uint32_t *)field);
}

static int read_ports(const struct bn_key *key, void *field, const char *text,
		      enum bn_value_form form)
{
	const char *dash = strchr(text, '-');
	uint64_t min, max;
	struct bn_port_range *ports = field;

	if (!dash || !digits(text, (size_t)(dash - text), UINT16_MAX, &min) ||
	    !digits(dash + 1, strlen(dash + 1), UINT16_MAX, &max) || min < key->min || min > max)
		return -EINVAL;
	*ports = (struct bn_port_range){(uint16_t)min, (uint16_t)max};
	return 0;
}

static json_t *show_ports(const struct bn_key *key, const void *field)
{
	const struct bn_port_range *ports = field;

	return json_sprintf("%u-%u", ports->min, ports->max);
}

static const struct {
	const char *name;
	uint8_t protocol;
} protocols[] = {{"tcp", IPPROTO_TCP}, {"udp", IPPROTO_UDP}, {"sctp", IPPROTO_SCTP}};
#define PROTOCOLS (sizeof(protocols) / sizeof(protocols[0]))

static int read_protocol_port(const struct bn_key *key, void *field, const char *text,
			      enum bn_value_form form)
{
	struct bn_protocol_ports *list = field;
	struct bn_protocol_port item = {0};
	const char *slash = strchr(text, '/');
	uint64_t port;

	if (!slash || !digits(slash + 1, strlen(slash + 1), UINT16_MAX, &port) || !port)
		return -EINVAL;
	for (size_t i = 0; i < PROTOCOLS; i++) {
		if (strlen(protocols[i].name) == (size_t)(slash - text) &&
		    !strncmp(text, protocols[i].name, (size_t)(slash - text)))
			item = (struct bn_protocol_port){protocols[i].protocol, (uint16_t)port};
	}
	if (!item.protocol)
		return -EINVAL;
	for (size_t i = 0; i < list->n; i++) {
		if (list->items[i].protocol == item.protocol && list->items[i].port == item.port)
			return -EEXIST;
	}
	if (list->n == sizeof(list->items) / sizeof(list->items[0]))
		return -E2BIG;
	list->items[list->n++] = item;
	return 0;
}

static json_t *show_protocol_ports(const struct bn_key *key, const void *field)
{
	const struct bn_protocol_ports *list = field;
	json_t *array = json_array();

	for (size_t i = 0; i < list->n; i++) {
		for (size_t k = 0; k < PROTOCOLS; k++) {
			if (protocols[k].protocol == list->items[i].protocol)
				json_array_append_new(array,
						      json_sprintf("%s/%u", protocols[k].name,
								   list->items[i].port));
		}
	}
	return array;
}

static void clear_protocol_ports(void *field)
{
	((struct bn_protocol_ports *)field)->n = 0;
}

/* ADDRESS:PORT, IPv6 in brackets, or off. */
static int read_listen(const struct bn_key *key, void *field, const char *text,
		       enum bn_value_form form)
{
	const char *colon = strrchr(text, ':');
	struct bn_listen listen = {0};
	char host[BN_ADDR_STRLEN + 2], *addr = host;
	uint64_t port;
	size_t n;
	int family;

	if (!strcmp(plain_switch(text, form), "off")) {
		*(struct bn_listen *)field = listen;
		return 0;
	}
	n = colon ? (size_t)(colon - text) : 0;
	if (!n || n >= sizeof(host) || !digits(colon + 1, strlen(colon + 1), UINT16_MAX, &port) ||
	    !port)
		return -EINVAL;
	memcpy(host, text, n);
	host[n] = '\0';
	if (*host == '[') {
		if (host[n - 1] != ']')
			return -EINVAL;
		host[n - 1] = '\0';
		addr++;
	}
	if (bn_addr_parse(addr, &listen.addr, &family) < 0 || (family == BN_IPV6) != (addr > host))
		return -EINVAL;
	listen.port = (uint16_t)port;
	*(struct bn_listen *)field = listen;
	return 0;
}

static json_t *show_listen(const struct bn_key *key, const void *field)
{
	char text[BN_LISTEN_STRLEN];

	return json_string(bn_listen_format(field, text));
}

static int read_flow_filter(const struct bn_key *key, void *field, const char *text,
			    enum bn_value_form form)
{
	struct bn_flow_filter *filter = NULL;
	char *item = (char *)text;
	int r = bn_flow_filter_text(&item, 1, &filter, NULL);

	bn_flow_filter_free(filter);
	return r < 0 ? r : add_string(field, text);
}

const struct bn_key_type bn_type_path = {false, read_path, show_string, clear_string};
const struct bn_key_type bn_type_paths = {true, read_path_item, show_strings, clear_strings};
const struct bn_key_type bn_type_path_none = {false, read_path_none, show_string, clear_string};
const struct bn_key_type bn_type_group = {false, read_group, show_string, clear_string};
const struct bn_key_type bn_type_node_name = {false, read_node_name, show_string, clear_string};
const struct bn_key_type bn_type_host_names = {true, read_host_name, show_strings, clear_strings};
const struct bn_key_type bn_type_interfaces = {true, read_interface, show_strings, clear_strings};
const struct bn_key_type bn_type_protocol_ports = {true, read_protocol_port, show_protocol_ports,
						   clear_protocol_ports};
const struct bn_key_type bn_type_flow_filters = {true, read_flow_filter, show_strings,
						 clear_strings};
const struct bn_key_type bn_type_cidrs = {true, read_cidr, show_cidrs, clear_cidrs};
const struct bn_key_type bn_type_node_addresses = {true, read_node_address, show_node_addresses,
						   clear_node_addresses};
const struct bn_key_type bn_type_on_off = {false, read_on_off, show_on_off, NULL};
const struct bn_key_type bn_type_choice = {false, read_choice, show_choice, NULL};
const struct bn_key_type bn_type_switch = {false, read_switch, show_choice, NULL};
const struct bn_key_type bn_type_number = {false, read_number, show_number, NULL};
const struct bn_key_type bn_type_ports = {false, read_ports, show_ports, NULL};
const struct bn_key_type bn_type_listen = {false, read_listen, show_listen, NULL};
