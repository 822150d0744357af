// SPDX-License-Identifier: Apache-2.0
/* Options and the configuration file: what is accepted, what is refused and with which words. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "config-keys.h"
#include "config.h"
#include "error.h"
#include "lib/temp.h"

#include <bpfnet/limits.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define ARGS_MAX 32

struct result {
	int r;
	enum bn_config_action action;
	struct bn_agent_config config;
	struct bn_error err;
	char *file; /* the file, if there was one */
};

/* `options` are split at blanks; `yaml` becomes a file for --config. */
static struct result parse(const char *yaml, size_t size, const char *options)
{
	struct result result = {0};
	char *argv[ARGS_MAX + 1] = {"bpfnetd"}, *copy = strdup(options), *rest = copy, *word;
	char name[BN_TEMP_MAX];
	int argc = 1, fd;

	if (yaml) {
		result.file = strdup(bn_temp_name(name, "config"));
		fd = mkstemp(result.file);
		assert_true(fd >= 0);
		assert_int_equal(write(fd, yaml, size), size);
		close(fd);
		argv[argc++] = "--config";
		argv[argc++] = result.file;
	}
	while ((word = strsep(&rest, " "))) {
		assert_true(argc < ARGS_MAX);
		if (*word)
			argv[argc++] = word;
	}
	result.r = bn_agent_config_parse(argc, argv, &result.config, &result.action, &result.err);
	if (result.file)
		unlink(result.file);
	free(copy);
	return result;
}

static void done(struct result *result)
{
	bn_agent_config_done(&result->config);
	bn_error_done(&result->err);
	free(result->file);
}

static struct result parse_good(const char *yaml, const char *options)
{
	struct result result = parse(yaml, yaml ? strlen(yaml) : 0, options);

	if (result.r < 0)
		fail_msg("refused: %s", bn_error_text(&result.err));
	return result;
}

static void assert_bad(const char *yaml, size_t size, const char *options, const char *words)
{
	struct result result = parse(yaml, size, options);
	const char *text = bn_error_text(&result.err);

	if (result.r >= 0)
		fail_msg("accepted: %s %s", yaml ? yaml : "", options);
	assert_int_equal(result.r, -EINVAL);
	if (!strstr(text, words))
		fail_msg("\"%s\" does not say \"%s\"", text, words);
	if (result.file && !strstr(text, result.file))
		fail_msg("\"%s\" does not name the file", text);
	assert_null(strchr(text, '\n'));
	done(&result);
}

static void test_defaults(void **state)
{
	struct result result = parse_good(NULL, "--node-name n");
	const struct bn_agent_config *c = &result.config;

	assert_int_equal(result.action, BN_CONFIG_RUN);
	assert_string_equal(c->run_dir, "/run/bpfnet");
	assert_string_equal(c->state_dir, "/var/lib/bpfnet");
	assert_string_equal(c->bpffs, "/sys/fs/bpf/bpfnet");
	assert_int_equal(c->manifests.n, 0);
	assert_int_equal(c->devices.n, 0);
	assert_int_equal(c->pod_cidrs.n, 2);
	assert_int_equal(c->service_cidrs.n, 2);
	assert_int_equal(c->service_cidrs.items[0].prefix, 12);
	assert_int_equal(c->service_cidrs.items[1].prefix, 108);
	assert_int_equal(c->masquerade, BN_MASQUERADE_ON);
	assert_int_equal(c->nat_exclude.n, 0);
	assert_true(c->flow_events);
	assert_null(c->socket_group);
	assert_int_equal(c->socket_gid, (gid_t)-1);
	assert_int_equal(c->sizes.flows, BN_DEFAULT_FLOWS);
	assert_int_equal(c->sizes.event_bytes, BN_DEFAULT_EVENT_BYTES);
#define BN_X(name, seconds, text) assert_int_equal(c->life.name, seconds);
	BN_LIFETIMES(BN_X)
#undef BN_X
	assert_int_equal(c->nat_ports.min, 61000);
	assert_int_equal(c->nat_ports.max, 65535);
	assert_int_equal(c->node_ports.min, 30000);
	assert_int_equal(c->node_ports.max, 32767);
	assert_int_equal(c->node_port_addresses.cidrs.n, 0);
	assert_false(c->node_port_addresses.primary);
	assert_int_equal(c->load_balancer_mode, BN_LOAD_BALANCER_SNAT);
	assert_int_equal(c->metrics_listen.port, 0);
	assert_int_equal(c->log_level, BN_LOG_INFO);
	assert_int_equal(c->log_format, BN_LOG_TEXT);
	done(&result);
}

static void test_options(void **state)
{
	char listen[BN_LISTEN_STRLEN];
	struct result result =
		parse_good(NULL, "--node-name=a.b-1 --run-dir /r/ --state-dir /s --bpffs /b "
				 "--manifests /m --manifests /n --device eth0 --device eth0 "
				 "--cgroup none --masquerade off --log-level debug");
	const struct bn_agent_config *c = &result.config;

	assert_string_equal(c->node_name, "a.b-1");
	assert_string_equal(c->run_dir, "/r");
	assert_int_equal(c->manifests.n, 2);
	assert_string_equal(c->manifests.items[1], "/n");
	assert_int_equal(c->devices.n, 1);
	assert_null(c->cgroup);
	assert_int_equal(c->masquerade, BN_MASQUERADE_OFF);
	assert_int_equal(c->log_level, BN_LOG_DEBUG);
	done(&result);

	result = parse_good(NULL, "--node-name a --masquerade ipv6");
	assert_int_equal(result.config.masquerade, BN_MASQUERADE_IPV6);
	done(&result);

	result = parse_good(NULL, "--node-name a --metrics-listen 127.0.0.1:9962");
	assert_string_equal(bn_listen_format(&result.config.metrics_listen, listen),
			    "127.0.0.1:9962");
	done(&result);
	result = parse_good("metrics-listen: \"[fd00::1]:65535\"\nmetrics: {series: 7}\n",
			    "--node-name a");
	assert_string_equal(bn_listen_format(&result.config.metrics_listen, listen),
			    "[fd00::1]:65535");
	assert_int_equal(result.config.metrics_series, 7);
	done(&result);
	result = parse_good("metrics-listen: 0.0.0.0:1\n", "--node-name a --metrics-listen off");
	assert_string_equal(bn_listen_format(&result.config.metrics_listen, listen), "off");
	done(&result);
	result = parse_good("ui-listen: 127.0.0.1:9963\nui: {hosts: [a.example, b]}\n",
			    "--node-name a");
	assert_string_equal(bn_listen_format(&result.config.ui_listen, listen), "127.0.0.1:9963");
	assert_int_equal(result.config.ui_hosts.n, 2);
	assert_string_equal(result.config.ui_hosts.items[1], "b");
	done(&result);
	result = parse_good("metrics-listen: off\n", "--node-name a");
	assert_int_equal(result.config.metrics_listen.port, 0);
	done(&result);

	result = parse_good(NULL, "--log-format json --pod-cidr 10.1.0.0/16 --socket-group 12 "
				  "--uninstall --run-dir relative --node-name a --node-name b");
	assert_int_equal(result.action, BN_CONFIG_UNINSTALL);
	assert_int_equal(result.config.pod_cidrs.n, 1);
	assert_int_equal(result.config.socket_gid, 12);
	assert_int_equal(result.config.run_dir[0], '/');
	assert_non_null(strstr(result.config.run_dir, "/relative"));
	assert_string_equal(result.config.node_name, "b");
	done(&result);

	/* what is not there any more is no reason to leave the rest */
	result = parse_good(NULL, "--uninstall --cgroup /nonexistent --socket-group no-such");
	done(&result);
	result = parse_good(NULL, "--help --uninstall");
	assert_int_equal(result.action, BN_CONFIG_HELP);
	done(&result);
	result = parse_good(NULL, "--version");
	assert_int_equal(result.action, BN_CONFIG_VERSION);
	done(&result);
}

static void test_bad_options(void **state)
{
	static const struct {
		const char *options, *words;
	} cases[] = {
		{"--no-such-option", "--no-such-option"},
		{"-x", "-x"},
		{"-xy", "-xy"},
		{"word", "unexpected argument \"word\""},
		{"--run-dir", "--run-dir needs a value: DIR"},
		{"--uninstall=yes", "--uninstall takes no value"},
		{"--masq on", "is it --masquerade?"},
		{"--masquerade true", "expected on or off"},
		{"--node-name Upper", "DNS-1123"},
		{"--node-name a..b", "DNS-1123"},
		{"--node-name -a", "DNS-1123"},
		{"--node-name a-", "DNS-1123"},
		{"--node-name a-.b", "DNS-1123"},
		{"--node-name=", "DNS-1123"},
		{"--run-dir=", "absolute path"},
		{"--run-dir /", "absolute path"},
		{"--run-dir "
		 "/aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
		 "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
		 "90 bytes"},
		{"--run-dir /a --state-dir /a/", "--run-dir and --state-dir are both /a"},
		{"--bpffs /a --state-dir /a", "--state-dir and --bpffs are both /a"},
		{"--device a/b", "network interface"},
		{"--device abcdefghijklmnop", "15 bytes"},
		{"--device ..", "network interface"},
		{"--pod-cidr 10.0.0.0", "ADDRESS/PREFIX"},
		{"--pod-cidr 10.0.0.1/8", "ADDRESS/PREFIX"},
		{"--pod-cidr 10.0.0.0/33", "10.0.0.0/33"},
		{"--service-cidr fd00::/129", "fd00::/129"},
		{"--service-cidr ::ffff:1.2.3.4/128", "::ffff:1.2.3.4/128"},
		{"--cgroup /nonexistent", "can't use --cgroup /nonexistent"},
		{"--cgroup /tmp", "can't use --cgroup /tmp"},
		{"--node-name a\nb", "\"a?b\""},
		{"--socket-group no-such-group", "no such group"},
		{"--log-level loud", "error, warning, info or debug"},
		{"--log-format xml", "text or json"},
		{"--metrics-listen 9962", "ADDRESS:PORT, an IPv6 address in brackets, or off"},
		{"--metrics-listen :9962", "ADDRESS:PORT, an IPv6 address in brackets, or off"},
		{"--metrics-listen 1.2.3.4", "in brackets, or off"},
		{"--metrics-listen 1.2.3.4:", "in brackets, or off"},
		{"--metrics-listen 1.2.3.4:0", "in brackets, or off"},
		{"--metrics-listen 1.2.3.4:65536", "in brackets, or off"},
		{"--metrics-listen 1.2.3.4:80x", "in brackets, or off"},
		{"--metrics-listen 1.2.3:80", "in brackets, or off"},
		{"--metrics-listen [1.2.3.4]:80", "in brackets, or off"},
		{"--metrics-listen ::1:80", "in brackets, or off"},
		{"--metrics-listen [::1]", "in brackets, or off"},
		{"--metrics-listen [::1:80", "in brackets, or off"},
		{"--metrics-listen []:80", "in brackets, or off"},
		{"--metrics-listen [::ffff:1.2.3.4]:80", "in brackets, or off"},
		{"--metrics-listen localhost:80", "in brackets, or off"},
		{"--metrics-listen on", "in brackets, or off"},
		{"--metrics-listen [fe80::1%lo]:80", "in brackets, or off"},
		{"--flows 3", "--flows"},
		{"--flows 4", "--flows"},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		assert_bad(NULL, 0, cases[i].options, cases[i].words);
}

static void test_missing_file(void **state)
{
	struct result result = parse(NULL, 0, "--config /nonexistent/file");

	assert_int_equal(result.r, -ENOENT);
	assert_non_null(strstr(bn_error_text(&result.err), "/nonexistent/file"));
	done(&result);
	result = parse(NULL, 0, "--config /tmp");
	assert_int_equal(result.r, -EINVAL);
	done(&result);
}

static void test_file(void **state)
{
	static const char yaml[] =
		"# all there is\n"
		"node-name: 1e3\n"
		"run-dir: /r\n"
		"state-dir: \"/s\"\n"
		"manifests: [/m, /n]\n"
		"device:\n  - eth0\n"
		"cgroup: none\n"
		"pod-cidr: [10.1.0.0/16]\n"
		"service-cidr: 10.2.0.0/16\n"
		"masquerade: off\n"
		"log-level: warning\n"
		"maps: {flows: 10, events: 65536}\n"
		"lifetimes:\n  udp-lasting: 7\n  syn: 1209600\n"
		"flows: {history: 5, events: false, drop-rate: 0}\n"
		"services: {node-port-range: 3000-4000, node-port-addresses: primary, "
		"load-balancer-mode: dsr}\n"
		"nat:\n  ports: 2000-2000\n  exclude: [10.0.0.0/8, \"fd00::/8\"]\n";
	struct result result = parse_good(yaml, "");
	const struct bn_agent_config *c = &result.config;

	assert_string_equal(c->node_name, "1e3");
	assert_string_equal(c->run_dir, "/r");
	assert_string_equal(c->state_dir, "/s");
	assert_string_equal(c->file, result.file);
	assert_int_equal(c->manifests.n, 2);
	assert_string_equal(c->devices.items[0], "eth0");
	assert_null(c->cgroup);
	assert_int_equal(c->pod_cidrs.n, 1);
	assert_int_equal(c->service_cidrs.n, 1);
	assert_int_equal(c->masquerade, BN_MASQUERADE_OFF);
	assert_int_equal(c->nat_exclude.n, 2);
	assert_int_equal(c->nat_exclude.items[1].prefix, 8);
	assert_int_equal(c->log_level, BN_LOG_WARNING);
	assert_int_equal(c->sizes.flows, 10);
	assert_int_equal(c->sizes.event_bytes, 65536);
	assert_int_equal(c->sizes.services, BN_DEFAULT_SERVICES);
	assert_int_equal(c->life.udp_lasting, 7);
	assert_int_equal(c->life.syn, 1209600);
	assert_int_equal(c->flow_history, 5);
	assert_false(c->flow_events);
	assert_int_equal(c->drop_rate, 0);
	assert_int_equal(c->node_ports.min, 3000);
	assert_int_equal(c->node_ports.max, 4000);
	assert_true(c->node_port_addresses.primary);
	assert_int_equal(c->load_balancer_mode, BN_LOAD_BALANCER_DSR);
	assert_int_equal(c->nat_ports.min, 2000);
	assert_int_equal(c->nat_ports.max, 2000);
	done(&result);

	/* the command line wins, and replaces lists as a whole */
	result = parse_good(yaml, "--node-name n --manifests /z --masquerade on "
				  "--service-cidr fd00::/108");
	assert_string_equal(result.config.node_name, "n");
	assert_int_equal(result.config.manifests.n, 1);
	assert_string_equal(result.config.manifests.items[0], "/z");
	assert_int_equal(result.config.masquerade, BN_MASQUERADE_ON);
	assert_int_equal(result.config.service_cidrs.n, 1);
	assert_int_equal(result.config.service_cidrs.items[0].prefix, 108);
	assert_int_equal(result.config.pod_cidrs.n, 1);
	done(&result);
}

static void test_small_files(void **state)
{
	static const char *const cases[] = {
		"",
		"\n# nothing\n",
		"---\n...\n",
		"{}",
		"{\"masquerade\": \"on\"}",
		"maps:\n",
		"maps: {}\nflows:\n",
		"manifests: []\npod-cidr: []\n",
		"masquerade: true\n",
		"node-name: &n abc\ncgroup: none\n",
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct result result = parse_good(cases[i], "");

		done(&result);
	}
}

static void test_bad_files(void **state)
{
	static const struct {
		const char *yaml, *words;
	} cases[] = {
		{"no-such-key: 1\n", "line 1: unknown key \"no-such-key\""},
		{"maps: {nope: 1}\n", "unknown key \"maps.nope\", expected one of: flows, "},
		{"maps: {maps: {}}\n", "unknown key \"maps.maps\""},
		{"maps.flows: 1\n", "unknown key \"maps.flows\""},
		{"lifetimes: {udp_lasting: 3}\n", "lifetimes.udp_lasting"},
		{"config: /x\n", "command line only"},
		{"uninstall: true\n", "command line only"},
		{"\nmasquerade: perhaps\n",
		 "line 2: masquerade is \"perhaps\", expected on or off"},
		{"masquerade: \"true\"\n", "expected on or off"},
		{"masquerade: [on]\n", "masquerade is a list"},
		{"masquerade: IPv4\n", "expected on or off, ipv4 or ipv6"},
		{"nat: {exclude: [10.0.0.1/8]}\n", "each item ADDRESS/PREFIX without bits"},
		{"masquerade:\n", "masquerade is \"\""},
		{"maps: {flows: -1}\n", "maps.flows is \"-1\", expected a number from 1 to"},
		{"maps: {flows: 0}\n", "maps.flows"},
		{"maps: {flows: 16777217}\n", "maps.flows"},
		{"maps: {flows: 99999999999999999999999}\n", "maps.flows"},
		{"maps: {flows: 1.5}\n", "maps.flows"},
		{"maps: {flows: 0x10}\n", "maps.flows"},
		{"maps: {flows: 010}\n", "maps.flows"},
		{"maps: {flows: \"10\"}\n", "maps.flows is \"10\""},
		{"maps: {flows: {a: b}}\n", "maps.flows is a mapping"},
		{"maps: {flows: !!int 3}\n", "maps.flows is a value with a tag"},
		{"maps: {events: 100000}\n", "a power of two"},
		{"maps: {events: 4096}\n", "maps.events"},
		{"maps: {flows: 1, flows: 2}\n", "\"flows\" stands there twice"},
		{"maps: 3\n", "maps must be a mapping"},
		{"maps: [flows]\n", "maps must be a mapping"},
		{"lifetimes: {syn: 0}\n", "lifetimes.syn"},
		{"lifetimes: {syn: 1209601}\n", "lifetimes.syn"},
		{"flows: {history: 0}\n", "flows.history"},
		{"services: {node-port-range: 30000}\n", "services.node-port-range"},
		{"services: {node-port-range: 1000-2000}\n", "services.node-port-range"},
		{"services: {node-port-addresses: [primary, 10.0.0.0/8]}\n",
		 "services.node-port-addresses"},
		{"services: {node-port-addresses: [10.0.0.0/8, primary]}\n",
		 "services.node-port-addresses"},
		{"services: {node-port-addresses: [secondary]}\n", "or primary alone"},
		{"services: {load-balancer-mode: DSR}\n", "services.load-balancer-mode"},
		{"services: {load-balancer-mode: off}\n",
		 "expected snat, dsr or hybrid, the same on all nodes"},
		{"services: {load-balancer-mode: true}\n", "services.load-balancer-mode"},
		{"load-balancer-mode: dsr\n", "unknown key \"load-balancer-mode\""},
		{"services: {node-port-range: 60000-61000}\n",
		 "nat.ports is 61000-65535, but NodePorts are from 60000 to 61000"},
		{"nat: {ports: 61000}\n", "nat.ports"},
		{"nat: {ports: 32767-40000}\n", "NodePorts are from 30000 to 32767"},
		{"nat: {ports: 20000-30000}\n", "NodePorts are from 30000 to 32767"},
		{"nat: {ports: 5000-4000}\n", "nat.ports"},
		{"nat: {ports: 80-90}\n", "nat.ports"},
		{"nat: {ports: 2000-65536}\n", "nat.ports"},
		{"nat: {ports: 2000-3000-4000}\n", "nat.ports"},
		{"service-cidr: [10.0.0.0/33]\n", "10.0.0.0/33"},
		{"service-cidr: [10.0.0.0/8, 10.0.0.0/8]\n",
		 "service-cidr has \"10.0.0.0/8\" twice"},
		{"manifests: [/a, [/b]]\n", "manifests is a list, expected a list, each item"},
		{"manifests: [a]\n", "manifests is \"a\""},
		{"run-dir: r\n", "run-dir is \"r\", expected an absolute path"},
		{"run-dir: /a\nrun-dir: /b\n", "line 2: \"run-dir\" stands there twice"},
		{"run-dir: \"/a\\nb\"\n", "run-dir"},
		{"node-name: \"a\\0b\"\n", "node-name"},
		{"node-name: [\n", "broken YAML"},
		{"node-name: 'a\n", "broken YAML"},
		{"node-name: a\n  b: c\n", "broken YAML"},
		{"\tnode-name: a\n", "broken YAML"},
		{"&a [*a]\n", "expected a mapping"},
		{"maps: &a {flows: *a}\n", "maps.flows is a mapping"},
		{"manifests: &a [*a]\n", "manifests is a list"},
		{"? [a]\n: b\n", "a key must be a plain word"},
		{"[]\n", "expected a mapping"},
		{"word\n", "expected a mapping"},
		{"masquerade: on\n---\nmasquerade: off\n", "line 3: a second document"},
		{"--- !x {masquerade: on}\n", "tags are not supported"},
		{"node-name: \xff\xfe\n", "broken YAML"},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		assert_bad(cases[i].yaml, strlen(cases[i].yaml), "", cases[i].words);
	assert_bad("masquerade: on\0", 15, "", "broken YAML");
}

static void test_bounds(void **state)
{
	size_t size = (1 << 20) + 1;
	char *text = malloc(size), *at = text;

	assert_non_null(text);
	memset(text, '#', size);
	assert_bad(text, size, "", "larger than 1 MiB");
	memset(text, '[', size - 1);
	assert_bad(text, size - 1, "", "nested too deeply");
	at += sprintf(at, "device: [");
	for (int i = 0; i < BN_CONFIG_LIST_MAX + 1; i++)
		at += sprintf(at, "d%d,", i);
	at += sprintf(at, "]\n");
	assert_bad(text, (size_t)(at - text), "", "device has more than 64 items");
	free(text);
}

/* Written out as a file, what is in force gives itself again. */
static void test_json_round_trip(void **state)
{
	struct result first = parse_good("maps: {flows: 77}\nnat: {ports: 2000-3000}\n"
					 "manifests: [/a b]\ndevice: [x0]\n"
					 "services: {load-balancer-mode: hybrid}\n",
					 "--node-name n --socket-group 12 --masquerade off "
					 "--metrics-listen [::]:9962"),
		      second;
	json_t *a = bn_agent_config_json(&first.config), *b;
	char *text = json_dumps(a, JSON_INDENT(2));

	second = parse_good(text, "");
	assert_int_equal(second.config.load_balancer_mode, BN_LOAD_BALANCER_HYBRID);
	b = bn_agent_config_json(&second.config);
	assert_true(json_equal(a, b));
	assert_string_equal(json_string_value(json_object_get(a, "masquerade")), "off");
	assert_int_equal(json_integer_value(json_object_get(json_object_get(a, "maps"), "flows")),
			 77);
	free(text);
	json_decref(a);
	json_decref(b);
	done(&first);
	done(&second);
}

static char *slurp(const char *path)
{
	static char text[1 << 16];
	FILE *f = fopen(path, "r");
	size_t n;

	if (!f)
		fail_msg("can't open %s: run from the top folder", path);
	n = fread(text, 1, sizeof(text) - 1, f);
	text[n] = 0;
	fclose(f);
	return text;
}

/* "udp-lasting" is "udp\-lasting" there. */
static void as_roff(const char *name, char *ret)
{
	for (; *name; name++) {
		if (*name == '-')
			*ret++ = '\\';
		*ret++ = *name;
	}
	*ret = 0;
}

/* Every key is in --help and in the manual, with its default. */
static void test_manual(void **state)
{
	const char *man = slurp("man/bpfnetd.8"), *section, *at;
	char name[64], roff[128], want[300], *help = NULL;
	size_t size = 0;
	FILE *f = open_memstream(&help, &size);

	bn_agent_config_help(f);
	fclose(f);
	for (size_t i = 0; i < bn_keys_n; i++) {
		const struct bn_key *key = &bn_keys[i];

		bn_key_name(key, name);
		snprintf(want, sizeof(want), key->section ? "    %s " : "  --%s", name);
		if (!strstr(help, want))
			fail_msg("--help does not have \"%s\"", want);
		as_roff(name, roff);
		if (key->section)
			snprintf(want, sizeof(want), "\n.SS %s\n", key->section);
		section = key->section ? strstr(man, want) : man;
		if (!section)
			fail_msg("the manual does not have %s", want);
		snprintf(want, sizeof(want), key->section ? "\n.B %s\n" : "\n\\fB\\-\\-%s\\fR",
			 roff);
		at = strstr(section, want);
		if (!at)
			fail_msg("the manual does not have %s", want);
		if (key->type && !key->fallback && !key->fallback_shown) {
			snprintf(want, sizeof(want), "Default: %u.", key->number);
			at = strstr(at, "Default:");
			if (!at || strncmp(at, want, strlen(want)))
				fail_msg("the manual does not say \"%s\" of %s", want, name);
		}
	}
	for (char *line = help, *end; (end = strchr(line, '\n')); line = end + 1) {
		if (end - line > 80)
			fail_msg("--help has a long line: %.*s", (int)(end - line), line);
	}
	free(help);
}

static void test_example(void **state)
{
	struct result result = parse(NULL, 0, "--config systemd/bpfnetd.yaml");

	if (result.r < 0)
		fail_msg("%s", bn_error_text(&result.err));
	done(&result);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_defaults),
		cmocka_unit_test(test_options),
		cmocka_unit_test(test_bad_options),
		cmocka_unit_test(test_missing_file),
		cmocka_unit_test(test_file),
		cmocka_unit_test(test_small_files),
		cmocka_unit_test(test_bad_files),
		cmocka_unit_test(test_bounds),
		cmocka_unit_test(test_json_round_trip),
		cmocka_unit_test(test_manual),
		cmocka_unit_test(test_example),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
