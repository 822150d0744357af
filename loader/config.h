/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The agent's configuration: defaults, then the file, then the command line. One table of keys
 * (config-keys.c) makes the options, the file's keys, --help and the JSON of `bpfnet config`.
 */
#pragma once

#include "address.h"
#include "datapath/programs.h"
#include "log.h"
#include "net/attach-xdp.h"

#include <bpfnet/config.h>
#include <bpfnet/policy.h>
#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/types.h>

struct bn_error;

enum bn_config_action {
	BN_CONFIG_RUN,
	BN_CONFIG_UNINSTALL,
	BN_CONFIG_HELP,    /* print bn_agent_config_help(), exit 0 */
	BN_CONFIG_VERSION, /* print BN_VERSION, exit 0 */
};

/* Families whose packets take the node's address, as bits. */
enum bn_masquerade {
	BN_MASQUERADE_OFF = 0,
	BN_MASQUERADE_IPV4 = 1 << 0,
	BN_MASQUERADE_IPV6 = 1 << 1,
	BN_MASQUERADE_ON = BN_MASQUERADE_IPV4 | BN_MASQUERADE_IPV6,
};

/* How traffic from outside goes on to a service's backend on another node. */
enum bn_load_balancer_mode {
	BN_LOAD_BALANCER_SNAT,   /* from the node's address, which is answered */
	BN_LOAD_BALANCER_DSR,    /* from the client's, whom the backend's node answers */
	BN_LOAD_BALANCER_HYBRID, /* UDP as with SNAT, the others as with DSR */
};

struct bn_string_list {
	char **items;
	size_t n;
};

struct bn_cidr_list {
	struct bn_cidr *items;
	size_t n;
};

/* Which of the node's addresses take node ports; empty: every one. */
struct bn_node_addresses {
	struct bn_cidr_list cidrs;
	bool primary; /* only those that the node is known by */
};

/* "tcp/22" */
struct bn_protocol_port {
	uint8_t protocol; /* IPPROTO_TCP, IPPROTO_UDP, IPPROTO_SCTP */
	uint16_t port;    /* host byte order */
};

struct bn_protocol_ports {
	struct bn_protocol_port items[BN_FAILSAFE_PORTS];
	size_t n;
};

struct bn_port_range {
	uint16_t min, max;
};

/* Everything is owned and in force: nothing is left at "default" but an empty `devices`. */
struct bn_agent_config {
	char *file; /* NULL: none was given */
	char *node_name;
	char *run_dir, *state_dir, *bpffs; /* absolute */
	struct bn_string_list manifests;   /* absolute */
	struct bn_string_list devices;     /* empty: the devices of the default routes */
	char *cgroup;                      /* absolute; NULL: none */
	struct bn_cidr_list pod_cidrs, service_cidrs;
	enum bn_masquerade masquerade;
	enum bn_xdp_mode xdp;
	bool policy_audit; /* what policies deny passes, and is reported */
	struct bn_protocol_ports
		failsafe[BN_POLICY_DIRECTIONS]; /* what the firewall never denies */
	enum bn_log_level log_level;
	enum bn_log_format log_format;
	char *socket_group; /* NULL: none */
	gid_t socket_gid;   /* (gid_t)-1: none */
	struct bn_sizes sizes;
	struct {
#define BN_X(name, seconds, text) uint32_t name;
		BN_LIFETIMES(BN_X)
#undef BN_X
	} life; /* seconds */
	uint32_t flow_history;
	bool flow_events;
	char *export_file; /* of flows; absolute; NULL: none */
	uint32_t export_max_mb, export_max_backups;
	struct bn_string_list export_filters; /* flows/filter-text.h */
	uint32_t drop_rate;                   /* records a second, per reason and CPU */
	struct bn_port_range nat_ports;
	struct bn_port_range node_ports;
	struct bn_node_addresses node_port_addresses;
	enum bn_load_balancer_mode load_balancer_mode;
	struct bn_listen metrics_listen;
	struct bn_listen ui_listen;
	struct bn_string_list ui_hosts; /* names of the page besides its address */
	uint32_t metrics_series;        /* label sets of a metric whose labels the objects give */
	uint32_t audit_interval;        /* seconds; 0: only when asked */
	struct bn_cidr_list nat_exclude;
};

/*
 * Reads the command line and the file that it names. *ret is to be released by
 * bn_agent_config_done() whenever 0 is returned; it is empty where *ret_action is HELP or VERSION.
 * -EINVAL: wrong usage or a wrong file, explained; -errno otherwise.
 */
int bn_agent_config_parse(int argc, char **argv, struct bn_agent_config *ret,
			  enum bn_config_action *ret_action, struct bn_error *err);
void bn_agent_config_done(struct bn_agent_config *config);

/* What is in force, with the keys and the forms of the file; NULL without memory. */
json_t *bn_agent_config_json(const struct bn_agent_config *config);
void bn_agent_config_help(FILE *f);
/* As in the file: "snat", "dsr", "hybrid". */
const char *bn_load_balancer_mode_name(enum bn_load_balancer_mode mode);
