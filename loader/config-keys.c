// SPDX-License-Identifier: Apache-2.0
/*
 * The table of keys. A row is all there is to an option: reading it from the command line and
 * the file, --help, and `bpfnet config` follow from it; a test holds bpfnetd(8) against it.
 */
#include "config-keys.h"

#include "config-types.h"

#include <bpfnet/limits.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>

/* Room for the longest name below the folder: sun_path for the socket, PATH_MAX for pins. */
#define RUN_DIR_MAX 90
#define PATH_MOST (PATH_MAX - 256)

/* In jiffies, at 1000 a second, a lifetime must stay far from half of 32 bits. */
#define LIFETIME_MAX 1209600

#define AT(field) offsetof(struct bn_agent_config, field)

static const struct bn_choice levels[] = {
	{"error", BN_LOG_ERROR},
	{"warning", BN_LOG_WARNING},
	{"info", BN_LOG_INFO},
	{"debug", BN_LOG_DEBUG},
	{NULL, 0},
};
static const struct bn_choice families[] = {
	{"on", BN_MASQUERADE_ON},
	{"off", BN_MASQUERADE_OFF},
	{"ipv4", BN_MASQUERADE_IPV4},
	{"ipv6", BN_MASQUERADE_IPV6},
	{NULL, 0},
};
static const struct bn_choice xdp_modes[] = {
	{"auto", BN_XDP_AUTO},
	{"native", BN_XDP_NATIVE},
	{"generic", BN_XDP_GENERIC},
	{"off", BN_XDP_OFF},
	{NULL, 0},
};
static const struct bn_choice load_balancer_modes[] = {
	{"snat", BN_LOAD_BALANCER_SNAT},
	{"dsr", BN_LOAD_BALANCER_DSR},
	{"hybrid", BN_LOAD_BALANCER_HYBRID},
	{NULL, 0},
};
static const struct bn_choice formats[] = {{"text", BN_LOG_TEXT}, {"json", BN_LOG_JSON}, {NULL, 0}};

_Static_assert(sizeof(enum bn_log_level) == sizeof(int), "bn_type_choice writes an int");
_Static_assert(sizeof(enum bn_log_format) == sizeof(int), "bn_type_choice writes an int");
_Static_assert(sizeof(enum bn_load_balancer_mode) == sizeof(int), "bn_type_choice writes an int");
_Static_assert(sizeof(enum bn_xdp_mode) == sizeof(int), "bn_type_switch writes an int");
_Static_assert(sizeof(enum bn_masquerade) == sizeof(int), "bn_type_switch writes an int");

/* clang-format off */
const struct bn_key bn_keys[] = {
	{.name = "config", .arg = "FILE", .help = "read these options from a YAML file; "
		"the command line wins"},
	{.name = "node-name", .arg = "NAME", .type = &bn_type_node_name, .offset = AT(node_name),
		.help = "the node's name, as Pods have it in spec.nodeName",
		.expects = "a DNS-1123 subdomain: lower-case letters, digits, '-' and '.'",
		.fallback_shown = "the host name"},
	{.name = "run-dir", .arg = "DIR", .type = &bn_type_path, .offset = AT(run_dir),
		.help = "the folder of the socket", .max = RUN_DIR_MAX,
		.expects = "an absolute path of at most 90 bytes", .fallback = "/run/bpfnet"},
	{.name = "state-dir", .arg = "DIR", .type = &bn_type_path, .offset = AT(state_dir),
		.help = "what must outlive a reboot: objects, endpoints, allotted addresses",
		.max = PATH_MOST, .expects = "an absolute path", .fallback = "/var/lib/bpfnet"},
	{.name = "bpffs", .arg = "DIR", .type = &bn_type_path, .offset = AT(bpffs),
		.help = "where programs, links and maps are pinned; bpffs is mounted if need be",
		.max = PATH_MOST, .expects = "an absolute path",
		.fallback = "/sys/fs/bpf/bpfnet"},
	{.name = "manifests", .arg = "DIR", .type = &bn_type_paths, .offset = AT(manifests),
		.help = "a folder of Kubernetes manifests, watched for changes",
		.max = PATH_MOST, .expects = "an absolute path", .fallback_shown = "none"},
	{.name = "device", .arg = "IF", .type = &bn_type_interfaces, .offset = AT(devices),
		.help = "a device that leads out of the node",
		.expects = "the name of a network interface, of at most 15 bytes",
		.fallback_shown = "those of the default routes"},
	{.name = "cgroup", .arg = "DIR|none", .type = &bn_type_path_none, .offset = AT(cgroup),
		.help = "the cgroup2 folder whose sockets are balanced as they connect; none: "
			"packet by packet",
		.max = PATH_MOST, .expects = "an absolute path or none",
		.fallback_shown = "the root of cgroup2"},
	{.name = "pod-cidr", .arg = "CIDR", .type = &bn_type_cidrs, .offset = AT(pod_cidrs),
		.help = "a range of pods' addresses; a guide, others are accepted too",
		.expects = "ADDRESS/PREFIX without bits past the prefix",
		.fallback = "10.244.0.0/16 fd00:10:244::/48"},
	{.name = "service-cidr", .arg = "CIDR", .type = &bn_type_cidrs,
		.offset = AT(service_cidrs),
		.help = "a range that clusterIPs are allotted from; others are accepted too",
		.expects = "ADDRESS/PREFIX without bits past the prefix",
		.fallback = "10.96.0.0/12 fd00:10:96::/108"},
	{.name = "masquerade", .arg = "on|off|ipv4|ipv6", .type = &bn_type_switch,
		.offset = AT(masquerade), .choices = families,
		.help = "pods take the node's address towards anything but pods and nodes",
		.expects = "on or off, ipv4 or ipv6 for one family alone", .fallback = "on"},
	{.name = "xdp", .arg = "auto|native|generic|off", .type = &bn_type_switch,
		.offset = AT(xdp), .choices = xdp_modes,
		.help = "where uplinks' established service traffic to other nodes is forwarded: "
			"in the driver, in the stack before tc, or by tc alone",
		.expects = "auto, native, generic or off", .fallback = "auto"},
	{.name = "policy-audit", .arg = "on|off", .type = &bn_type_on_off,
		.offset = AT(policy_audit),
		.help = "what policies deny on this node passes and is reported with the verdict AUDIT",
		.expects = "on or off", .fallback = "off"},
	{.name = "socket-group", .arg = "GROUP|none", .type = &bn_type_group,
		.offset = AT(socket_group), .help = "the group that may read from the socket",
		.expects = "the name or number of a group, or none", .fallback = "none"},
	{.name = "metrics-listen", .arg = "ADDRESS:PORT|off", .type = &bn_type_listen,
		.offset = AT(metrics_listen),
		.help = "where Prometheus finds metrics over HTTP, at /metrics",
		.expects = "ADDRESS:PORT, an IPv6 address in brackets, or off", .fallback = "off"},
	{.name = "ui-listen", .arg = "ADDRESS:PORT|off", .type = &bn_type_listen,
		.offset = AT(ui_listen),
		.help = "where a browser finds a page of who talks to whom, and every flow; it "
			"asks for no password: 127.0.0.1 is a good address",
		.expects = "ADDRESS:PORT, an IPv6 address in brackets, or off", .fallback = "off"},
	{.name = "log-level", .arg = "error|warning|info|debug", .type = &bn_type_choice,
		.offset = AT(log_level), .help = "the least severe messages to log",
		.expects = "error, warning, info or debug", .choices = levels, .fallback = "info"},
	{.name = "log-format", .arg = "text|json", .type = &bn_type_choice,
		.offset = AT(log_format), .help = "the form of log lines",
		.expects = "text or json", .choices = formats, .fallback = "text"},
	{.name = "uninstall", .action = BN_CONFIG_UNINSTALL,
		.help = "stop the instance on these folders and remove every trace of it"},
	{.name = "help", .action = BN_CONFIG_HELP, .help = "show this"},
	{.name = "version", .action = BN_CONFIG_VERSION, .help = "show the version"},

#define NUMBER(s, n, field, least, most, value, text) \
	{.section = s, .name = n, .arg = "N", .type = &bn_type_number, .offset = AT(field), \
	 .min = least, .max = most, .number = value, .help = text}

	NUMBER("maps", "flows", sizes.flows, 1, 1 << 24, BN_DEFAULT_FLOWS,
	       "established flows' entries, 2 a flow; a seventh more for others"),
	NUMBER("maps", "services", sizes.services, 1, 1 << 24, BN_DEFAULT_SERVICES,
	       "addresses and ports of services"),
	NUMBER("maps", "service-slots", sizes.service_slots, 1, 1 << 26,
	       BN_DEFAULT_SERVICE_SLOTS, "places in all services' backend lists together"),
	NUMBER("maps", "backends", sizes.backends, 1, BN_BACKENDS_MAX, BN_DEFAULT_BACKENDS,
	       "distinct backends: address, port, protocol"),
	NUMBER("maps", "maglev", sizes.maglev, 1, 1 << 24, BN_DEFAULT_MAGLEV,
	       "lines of 32 entries of all services' Maglev tables together"),
	NUMBER("maps", "affinity", sizes.affinity, 1, 1 << 24, BN_DEFAULT_AFFINITY,
	       "clients that keep their backend (sessionAffinity)"),
	NUMBER("maps", "addresses", sizes.addresses, 1, 1 << 24, BN_DEFAULT_ADDRESSES,
	       "pods and nodes known by address"),
	NUMBER("maps", "ranges", sizes.ranges, 1, 1 << 20, BN_DEFAULT_RANGES,
	       "CIDRs with a meaning to the datapath"),
	NUMBER("maps", "source-ranges", sizes.source_ranges, 1, 1 << 24, BN_DEFAULT_SOURCE_RANGES,
	       "loadBalancerSourceRanges of all services together; in the modes dsr and hybrid "
	       "their backends on this node, too"),
	NUMBER("maps", "fragments", sizes.fragments, 1, 1 << 20, BN_DEFAULT_FRAGMENTS,
	       "datagrams with fragments under way"),
	NUMBER("maps", "datagram-peers", sizes.datagram_peers, 2, 1 << 22,
	       BN_DEFAULT_DATAGRAM_PEERS, "services of unconnected sockets; 2 entries each"),
	NUMBER("maps", "policy-tables", sizes.policy_tables, 2, 1 << 15, BN_DEFAULT_POLICY_TABLES,
	       "endpoints that policies treat differently, each direction"),
	NUMBER("maps", "policy-pages", sizes.policy_pages, 2, 1 << 24, BN_DEFAULT_POLICY_PAGES,
	       "different pages of 256 identities in all policy tables"),
	NUMBER("maps", "policy-lines", sizes.policy_lines, 2, 1 << 24, BN_DEFAULT_POLICY_LINES,
	       "lines of 8 ports' verdicts in all policy tables"),
	NUMBER("maps", "policy-rules", sizes.policy_rules, 2, 1 << 23, BN_DEFAULT_POLICY_RULES,
	       "rules of policies, and one a policy and direction"),
	NUMBER("maps", "policy-cidrs", sizes.policy_cidrs, 2, 1 << 24, BN_DEFAULT_POLICY_CIDRS,
	       "CIDRs and exceptions that policies name"),
	{.section = "maps", .name = "events", .arg = "BYTES", .type = &bn_type_number,
		.offset = AT(sizes.event_bytes), .min = 1 << 16, .max = 1 << 30, .power = true,
		.number = BN_DEFAULT_EVENT_BYTES,
		.help = "the ring buffer of flow and drop records"},

#define BN_X(life_, seconds, text) \
	{.section = "lifetimes", .name = #life_, .arg = "SECONDS", .type = &bn_type_number, \
	 .offset = AT(life.life_), .min = 1, .max = LIFETIME_MAX, .number = seconds, .help = text},
	BN_LIFETIMES(BN_X)
#undef BN_X

	NUMBER("flows", "history", flow_history, 1, 1 << 20, 16384,
	       "flows kept for `bpfnet flows`"),
	{.section = "flows", .name = "events", .arg = "on|off", .type = &bn_type_on_off,
		.offset = AT(flow_events), .expects = "on or off", .fallback = "on",
		.help = "records of flows; those of drops are always sent"},
	NUMBER("flows", "drop-rate", drop_rate, 0, 1000000, 1000,
	       "drop records a second, for each reason and CPU"),

	{.section = "flows", .name = "export-file", .arg = "FILE|none", .type = &bn_type_path_none,
		.offset = AT(export_file), .max = PATH_MOST, .expects = "an absolute path or none",
		.fallback_shown = "none",
		.help = "flows are appended to it, as `bpfnet flows -o json` shows them"},
	NUMBER("flows", "export-file-max-mb", export_max_mb, 1, 1000000, 10,
	       "megabytes after which the file is renamed to FILE.1, and FILE.1 to FILE.2"),
	NUMBER("flows", "export-file-max-backups", export_max_backups, 0, 1000, 5,
	       "such files kept besides FILE"),
	{.section = "flows", .name = "export-filters", .arg = "FILTER", .type = &bn_type_flow_filters,
		.offset = AT(export_filters), .fallback_shown = "every flow",
		.expects = "FIELD=VALUE or not FIELD=VALUE, as the options of `bpfnet flows`",
		.help = "flows that are exported"},

	NUMBER("metrics", "series", metrics_series, 1, 100000, 500,
	       "services, backends and policies that one metric tells apart; what is beyond is "
	       "counted as `other`"),

	{.section = "ui", .name = "hosts", .arg = "NAME", .type = &bn_type_host_names,
		.offset = AT(ui_hosts), .fallback_shown = "none",
		.expects = "a DNS name: lower-case letters, digits, '-' and '.'",
		.help = "names that browsers may use for the page besides its address and localhost"},

	{.section = "services", .name = "node-port-range", .arg = "MIN-MAX",
		.type = &bn_type_ports, .offset = AT(node_ports), .min = 1024,
		.fallback = "30000-32767", .expects = "MIN-MAX, ports from 1024 to 65535",
		.help = "node ports of services, given or allotted"},
	{.section = "services", .name = "node-port-addresses", .arg = "CIDR|primary",
		.type = &bn_type_node_addresses, .offset = AT(node_port_addresses),
		.fallback_shown = "every address",
		.expects = "ADDRESS/PREFIX without bits past the prefix, or primary alone",
		.help = "the node's addresses that take node ports; primary: those that it is "
			"known by"},
	{.section = "services", .name = "load-balancer-mode", .arg = "snat|dsr|hybrid",
		.type = &bn_type_choice, .offset = AT(load_balancer_mode),
		.choices = load_balancer_modes, .fallback = "snat",
		.expects = "snat, dsr or hybrid, the same on all nodes",
		.help = "how traffic from outside goes on to a pod on another node: from this "
			"node's address, or from the client's, whom that node answers (direct "
			"server return); hybrid: UDP from this node's"},

	{.section = "host-firewall", .name = "failsafe-ingress", .arg = "PROTOCOL/PORT",
		.type = &bn_type_protocol_ports, .offset = AT(failsafe[BN_POLICY_INGRESS]),
		.fallback = "tcp/22 tcp/6443 udp/68 udp/546",
		.expects = "tcp, udp or sctp, a slash and a port, at most 16 of them",
		.help = "ports of the node that no policy closes"},
	{.section = "host-firewall", .name = "failsafe-egress", .arg = "PROTOCOL/PORT",
		.type = &bn_type_protocol_ports, .offset = AT(failsafe[BN_POLICY_EGRESS]),
		.fallback = "tcp/53 udp/53 tcp/6443 udp/67 udp/547",
		.expects = "tcp, udp or sctp, a slash and a port, at most 16 of them",
		.help = "ports elsewhere that no policy keeps the node from"},

	NUMBER("audit", "interval", audit_interval, 0, 604800, 600,
	       "seconds from one comparison of the maps with what is wanted to the next; 0: only "
	       "when asked"),

	{.section = "nat", .name = "ports", .arg = "MIN-MAX", .type = &bn_type_ports,
		.offset = AT(nat_ports), .min = 1024, .fallback = "61000-65535",
		.expects = "MIN-MAX, ports from 1024 to 65535",
		.help = "source ports of masquerade; keep clear of net.ipv4.ip_local_port_range "
			"and of node ports"},
	{.section = "nat", .name = "exclude", .arg = "CIDR", .type = &bn_type_cidrs,
		.offset = AT(nat_exclude), .fallback_shown = "none",
		.expects = "ADDRESS/PREFIX without bits past the prefix",
		.help = "destinations towards which pods keep their address, like pods and nodes"},
#undef NUMBER
};
/* clang-format on */

const size_t bn_keys_n = sizeof(bn_keys) / sizeof(bn_keys[0]);

const char *bn_key_name(const struct bn_key *key, char buf[64])
{
	snprintf(buf, 64, "%s", key->name);
	for (char *p = buf; *p; p++) {
		if (*p == '_')
			*p = '-';
	}
	return buf;
}

static bool same(const char *a, const char *b)
{
	return a == b || (a && b && !strcmp(a, b));
}

const char *bn_load_balancer_mode_name(enum bn_load_balancer_mode mode)
{
	const struct bn_choice *c = load_balancer_modes;

	while (c[1].name && c->value != (int)mode)
		c++;
	return c->name;
}

const struct bn_key *bn_key_find(const char *section, const char *name)
{
	char buf[64];

	for (size_t i = 0; i < bn_keys_n; i++) {
		if (same(bn_keys[i].section, section) && same(bn_key_name(&bn_keys[i], buf), name))
			return &bn_keys[i];
	}
	return NULL;
}

bool bn_key_is_section(const char *name)
{
	for (size_t i = 0; i < bn_keys_n; i++) {
		if (same(bn_keys[i].section, name))
			return true;
	}
	return false;
}

const char *bn_key_expects(const struct bn_key *key, char buf[BN_CONFIG_EXPECTS_MAX])
{
	if (key->expects)
		snprintf(buf, BN_CONFIG_EXPECTS_MAX, "%s", key->expects);
	else
		snprintf(buf, BN_CONFIG_EXPECTS_MAX, "a %s from %u to %u",
			 key->power ? "power of two" : "number", key->min, key->max);
	return buf;
}
