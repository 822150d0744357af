/* SPDX-License-Identifier: Apache-2.0 */
/* The kinds of values that a key may have. */
#pragma once

#include "config-keys.h"

extern const struct bn_key_type bn_type_path;       /* char * */
extern const struct bn_key_type bn_type_paths;      /* struct bn_string_list */
extern const struct bn_key_type bn_type_path_none;  /* char *, NULL as long as nothing was said */
extern const struct bn_key_type bn_type_group;      /* likewise */
extern const struct bn_key_type bn_type_node_name;  /* char * */
extern const struct bn_key_type bn_type_interfaces; /* struct bn_string_list */
extern const struct bn_key_type bn_type_host_names; /* struct bn_string_list */
extern const struct bn_key_type bn_type_cidrs;      /* struct bn_cidr_list */
extern const struct bn_key_type bn_type_node_addresses; /* struct bn_node_addresses */
extern const struct bn_key_type bn_type_on_off;         /* bool */
extern const struct bn_key_type bn_type_choice;         /* an enum, by key->choices */
extern const struct bn_key_type bn_type_switch;         /* likewise, with on and off among them */
extern const struct bn_key_type bn_type_number;         /* uint32_t */
extern const struct bn_key_type bn_type_listen;         /* struct bn_listen */
extern const struct bn_key_type bn_type_ports;          /* struct bn_port_range */
extern const struct bn_key_type bn_type_protocol_ports; /* struct bn_protocol_ports */
extern const struct bn_key_type bn_type_flow_filters;   /* struct bn_string_list */

/* DNS-1123 subdomain: what Kubernetes takes for a Node's name. */
bool bn_config_is_node_name(const char *s);
