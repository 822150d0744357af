// SPDX-License-Identifier: Apache-2.0
/*
 * Coming up and letting go. The order of coming up is the order of trust: maps and programs, what
 * the node is, endpoints as they are recorded, what is wanted; then what a predecessor left and
 * nothing has claimed goes. Only when the maps are whole do the programs that read them take the
 * place of a predecessor's, and only then does anybody get to ask.
 */
#include "agent/agent.h"

#include "datapath/dry-run.h"
#include "datapath/pins.h"
#include "health/health.h"
#include "log.h"
#include "net/attach-cgroup.h"
#include "net/hostcheck.h"
#include "net/port.h"
#include "trace/trace.h"

#include <bpf/bpf.h>
#include <bpfnet/access.h>
#include <errno.h>
#include <malloc.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static uint32_t features(const struct bn_agent_config *c)
{
	static const uint32_t direct[] = {
		[BN_LOAD_BALANCER_SNAT] = 0,
		[BN_LOAD_BALANCER_DSR] = BN_FEATURE_DSR,
		[BN_LOAD_BALANCER_HYBRID] = BN_FEATURE_DSR_TCP,
	};

	return BN_FEATURE_REDIRECT_PEER |
	       (c->masquerade & BN_MASQUERADE_IPV4 ? BN_FEATURE_MASQUERADE4 : 0) |
	       (c->masquerade & BN_MASQUERADE_IPV6 ? BN_FEATURE_MASQUERADE6 : 0) |
	       (c->flow_events ? BN_FEATURE_EVENTS : 0) | direct[c->load_balancer_mode];
}

static int start_datapath(struct bn_agent *a, struct bn_error *err)
{
	const struct bn_agent_config *c = a->config;
	struct bn_programs_config config = {
		.bpffs = c->bpffs,
		.sizes = c->sizes,
		.node =
			{
				.features = features(c),
				.event_rate = c->drop_rate,
				.nat_port_min = c->nat_ports.min,
				.nat_port_max = c->nat_ports.max,
			},
	};
	struct bn_map_shape shape;
	int r;

	bn_addr_parse(BN_GATEWAY_V4, &config.node.gateway4, NULL);
	bn_addr_parse(BN_GATEWAY_V6, &config.node.gateway6, NULL);
#define BN_X(name, seconds, text) config.node.life.name = c->life.name;
	BN_LIFETIMES(BN_X)
#undef BN_X
	bn_agent_firewall_config(c, &config.node);
	r = bn_programs_probe(err);
	if (r)
		return r;
	r = bn_attach_probe(&a->attach.mechanism, err);
	if (r < 0)
		return r;
	snprintf(a->links_dir, sizeof(a->links_dir), "%s/links", c->bpffs);
	a->attach.dir = a->links_dir;
	r = bn_programs_load(&a->programs, &config, err);
	a->loaded = true;
	if (r)
		return r;

	struct bn_addresses_config addresses = {
		.endpoints_fd = a->programs.maps[BN_MAP_bn_endpoints],
		.addresses_fd = a->programs.maps[BN_MAP_bn_addresses],
		.devices_fd = a->programs.maps[BN_MAP_bn_devices],
		.node_fd = a->programs.maps[BN_MAP_bn_node],
		.ranges_fd = a->programs.maps[BN_MAP_bn_ranges],
		.epochs_fd = a->programs.maps[BN_MAP_bn_epochs],
	};
	struct bn_services_config services = {
		.services_fd = a->programs.maps[BN_MAP_bn_services],
		.slots_fd = a->programs.maps[BN_MAP_bn_service_slots],
		.backends_fd = a->programs.maps[BN_MAP_bn_backends],
		.maglev_fd = a->programs.maps[BN_MAP_bn_maglev],
		.epochs_fd = a->programs.maps[BN_MAP_bn_epochs],
		.address = bn_agent_host_address,
		.user = a,
	};

	bn_map_shape(addresses.addresses_fd, &shape);
	addresses.max_addresses = shape.max_entries;
	bn_map_shape(addresses.ranges_fd, &shape);
	addresses.max_ranges = shape.max_entries;
	bn_map_shape(services.services_fd, &shape);
	/* a quarter stays free, so that every key finds room */
	services.max_services = shape.max_entries / BN_SERVICE_GROUP * (BN_SERVICE_GROUP - 1);
	bn_map_shape(services.slots_fd, &shape);
	services.max_slots = shape.max_entries;
	bn_map_shape(services.backends_fd, &shape);
	services.max_backends = shape.max_entries;
	bn_map_shape(services.maglev_fd, &shape);
	services.max_lines = shape.max_entries;
	memcpy(services.hash_key, a->programs.node.hash_key, sizeof(services.hash_key));
	r = bn_addresses_new(&addresses, &a->addresses, err);
	if (!r)
		r = bn_sources_new(a->programs.maps[BN_MAP_bn_sources],
				   c->load_balancer_mode != BN_LOAD_BALANCER_SNAT, &a->sources,
				   err);
	return r ? r : bn_services_new(&services, &a->services, err);
}

struct ranges {
	struct bn_cidr *cidrs;
	uint32_t *flags;
	size_t n;
};

/* A range may mean several things, but has one entry. */
static void add_ranges(struct ranges *r, const struct bn_cidr_list *list, uint32_t flag)
{
	for (size_t i = 0; i < list->n; i++) {
		size_t at = 0;

		while (at < r->n && memcmp(&r->cidrs[at], &list->items[i], sizeof(*r->cidrs)))
			at++;
		if (at == r->n)
			r->cidrs[r->n++] = list->items[i];
		r->flags[at] |= flag;
	}
}

static int start_ranges(struct bn_agent *a, struct bn_error *err)
{
	const struct bn_agent_config *c = a->config;
	size_t n = c->service_cidrs.n + c->pod_cidrs.n + c->nat_exclude.n;
	struct ranges ranges = {
		.cidrs = calloc(n + 1, sizeof(*ranges.cidrs)),
		.flags = calloc(n + 1, sizeof(*ranges.flags)),
	};
	int r = -ENOMEM;

	if (ranges.cidrs && ranges.flags) {
		add_ranges(&ranges, &c->service_cidrs, BN_RANGE_SERVICE);
		add_ranges(&ranges, &c->pod_cidrs, BN_RANGE_POD);
		add_ranges(&ranges, &c->nat_exclude, BN_RANGE_DIRECT);
		r = bn_addresses_ranges(a->addresses, ranges.cidrs, ranges.flags, ranges.n, err);
	}
	free(ranges.cidrs);
	free(ranges.flags);
	return r;
}

static int start_flows(struct bn_agent *a, struct bn_error *err)
{
	struct bn_observer_config config = {
		.events_fd = a->programs.maps[BN_MAP_bn_events],
		.node_name = a->config->node_name,
		.names = a->names,
		.history = a->config->flow_history,
		.lost = bn_agent_events_lost,
		.user = a,
	};
	int r;

	r = bn_observer_new(a->event, &config, &a->observer);
	if (r < 0)
		return bn_error_set(err, r, "can't read the datapath's events: %s", strerror(-r));
	r = bn_agent_sweep_start(a);
	if (r >= 0)
		r = bn_agent_tracing_start(a);
	if (r >= 0)
		r = bn_agent_audit_start(a);
	if (r >= 0)
		r = bn_agent_metrics_start(a);
	return r < 0 ? bn_error_set(err, r, "can't prepare metrics: %s", strerror(-r)) : 0;
}

static bool host_port_free(void *user, const union bn_addr *addr, uint16_t port, uint8_t protocol)
{
	const struct bn_agent *a = user;

	/* a port of ours that passes from one service to another */
	if (protocol == IPPROTO_TCP && bn_health_holds(a->health, port))
		return true;
	return bn_port_is_free(addr, port, protocol);
}

static bool takes_health(void *user, const union bn_addr *local)
{
	return bn_agent_takes_node_ports(user, local);
}

static int start_objects(struct bn_agent *a, struct bn_error *err)
{
	const struct bn_health_ops health = {.takes = takes_health, .user = a};
	struct bn_objects_config config = {
		.state_dir = a->config->state_dir,
		.node_name = a->config->node_name,
		.service_cidrs = a->config->service_cidrs.items,
		.n_service_cidrs = a->config->service_cidrs.n,
		.node_port_min = a->config->node_ports.min,
		.node_port_max = a->config->node_ports.max,
		.commit = bn_agent_commit,
		.pod_changed = bn_agent_pod_changed,
		.applied = bn_agent_applied,
		.host_port_free = host_port_free,
		.user = a,
	};
	int r;

	r = bn_names_new(NULL, &a->names);
	if (r < 0)
		return r;
	r = bn_health_new(a->event, &health, &a->health);
	if (r < 0)
		return r;
	return bn_objects_new(&config, &a->objects, err);
}

static int start_endpoints(struct bn_agent *a, struct bn_error *err)
{
	struct bn_endpoints_config config = {
		.state_dir = a->config->state_dir,
		.ops = bn_agent_endpoint_ops,
	};

	config.ops.user = a;
	return bn_endpoints_new(a->event, &config, &a->endpoints, err);
}

static int start_server(struct bn_agent *a, struct bn_error *err)
{
	struct bn_server_config config = {
		.run_dir = a->config->run_dir,
		.group = a->config->socket_gid,
	};
	int r;

	r = bn_server_new(a->event, &config, &a->server, err);
	return r < 0 ? r : bn_agent_methods(a, err);
}

static void stop_folders(struct bn_agent *a)
{
	for (size_t i = 0; i < a->n_folders; i++)
		bn_folder_free(a->folders[i]);
	free(a->folders);
	a->folders = NULL;
	a->n_folders = 0;
}

int bn_agent_reload(struct bn_agent *a, struct bn_error *err)
{
	stop_folders(a);
	a->folders = calloc(a->config->manifests.n + 1, sizeof(struct bn_folder *));
	if (!a->folders)
		return -ENOMEM;
	for (size_t i = 0; i < a->config->manifests.n; i++) {
		int r = bn_folder_new(a->event, a->objects, a->config->manifests.items[i],
				      &a->folders[i], err);

		if (r < 0)
			return r;
		a->n_folders++;
	}
	return 0;
}

/* What `status` says of the host as long as it is so, also where nobody asks. */
static void report_host(struct bn_agent *a)
{
	struct bn_hostcheck check = BN_HOSTCHECK_INIT;

	bn_agent_hostcheck(a, &check);
	for (size_t i = 0; i < check.n; i++) {
		if (check.findings[i].severity == BN_HOSTCHECK_DEGRADED)
			bn_log(BN_LOG_WARNING, check.findings[i].text, NULL);
	}
	bn_hostcheck_done(&check);
}

static int start(struct bn_agent *a, const struct bn_agent_config *config, sd_event *event,
		 struct bn_error *err)
{
	int r;

	memset(a, 0, sizeof(*a));
	for (int i = 0; i < BN_MAP_MAX; i++)
		a->programs.maps[i] = -1;
	for (int i = 0; i < BN_PROGRAM_MAX; i++)
		a->programs.programs[i] = a->plain[i] = -1;
	a->programs.old_flows = -1;
	a->config = config;
	a->event = sd_event_ref(event);

	r = bn_agent_fit_start(a);
	if (r < 0)
		return r;
	r = start_datapath(a, err);
	if (r < 0)
		return r;
	r = bn_agent_policy_start(a, err);
	if (r < 0)
		return r;
	r = bn_agent_sockets_start(a, err);
	if (r < 0)
		return r;
	r = start_ranges(a, err);
	if (r < 0)
		return r;
	r = bn_nl_open(NETLINK_ROUTE, &a->nl, err);
	if (r < 0)
		return r;
	r = bn_sysctl_new(config->state_dir, &a->sysctl, err);
	if (r < 0)
		return r;
	r = start_objects(a, err);
	if (r < 0)
		return r;
	r = start_endpoints(a, err);
	if (r < 0)
		return r;
	r = bn_agent_uplinks_start(a, err);
	if (r < 0)
		return r;
	r = start_flows(a, err);
	if (r < 0)
		return r;
	r = bn_endpoints_restore(a->endpoints, err);
	if (r < 0)
		return r;
	r = bn_objects_start(a->objects, err);
	if (r < 0)
		return r;
	a->started = true;
	r = bn_services_prune(a->services, err);
	if (r < 0)
		return r;
	r = bn_sources_prune(a->sources);
	if (r < 0)
		return bn_error_set(err, r, "can't tidy the map of source ranges: %s",
				    strerror(-r));
	r = bn_addresses_prune(a->addresses, err);
	if (r < 0)
		return r;
	r = bn_agent_fit_again(a);
	if (r < 0)
		return r;
	r = bn_agent_attach_endpoints(a, err);
	if (r < 0)
		return r;
	r = bn_agent_uplinks_scan(a, err);
	if (r < 0)
		return r;
	bn_agent_sockets_attach(a);
	bn_programs_carry_over(&a->programs);
	bn_attach_sweep(&a->attach, NULL);
	r = bn_agent_reload(a, err);
	if (r < 0)
		return r;
	/* once names stand, before anybody asks */
	r = bn_observer_restore(a->observer, a->programs.maps[BN_MAP_bn_events]);
	if (r < 0)
		bn_log(BN_LOG_WARNING, "flows of before the start are not found again", "error",
		       strerror(-r), NULL);
	/* which has them already, from the agent before */
	r = bn_agent_export_start(a, err);
	if (r < 0)
		return r;
	r = start_server(a, err);
	if (r < 0)
		return r;
	r = bn_agent_metrics_listen(a);
	if (r < 0)
		return bn_error_set(err, r, "can't prepare to serve metrics: %s", strerror(-r));
	r = bn_agent_ui_start(a);
	if (r < 0)
		return bn_error_set(err, r, "can't prepare to serve the page: %s", strerror(-r));
	report_host(a);
	a->live = true;
	malloc_trim(0);
	return 0;
}

static bool exists(const char *dir, const char *name)
{
	char path[4096 + 64];

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	return access(path, F_OK) == 0;
}

int bn_agent_start(struct bn_agent *a, const struct bn_agent_config *config, sd_event *event,
		   struct bn_error *err)
{
	bool fresh = !exists(config->bpffs, "maps") && !exists(config->bpffs, "links") &&
		     !exists(config->state_dir, "objects.db") &&
		     !exists(config->state_dir, "endpoints");
	int r = start(a, config, event, err);

	if (r >= 0)
		return r;
	bn_agent_done(a);
	if (fresh)
		bn_agent_uninstall(config, NULL);
	return r;
}

void bn_agent_done(struct bn_agent *a)
{
	bn_server_free(a->server);
	bn_ui_free(a->ui);
	bn_tracing_free(a->tracing);
	bn_agent_metrics_done(a);
	stop_folders(a);
	bn_agent_uplinks_done(a);
	sd_event_source_unref(a->sweep);
	bn_agent_audit_done(a);
	bn_agent_fit_done(a);
	bn_endpoints_free(a->endpoints);
	bn_policy_free(a->policy);
	bn_dry_run_free(a->dry_run);
	bn_objects_free(a->objects);
	bn_health_free(a->health);
	bn_agent_export_done(a);
	bn_observer_free(a->observer);
	bn_names_free(a->names);
	bn_sysctl_free(a->sysctl);
	bn_nl_free(a->nl);
	bn_services_free(a->services);
	bn_sources_free(a->sources);
	bn_addresses_free(a->addresses);
	bn_agent_expire_done(a);
	bn_agent_sockets_done(a);
	bn_agent_host_done(a);
	if (a->loaded)
		bn_programs_done(&a->programs);
	free(a->refused);
	sd_event_unref(a->event);
	memset(a, 0, sizeof(*a));
}

/* Keeps the first failure, goes on with the rest: as much as can be removed is. */
static void keep(int r, int *first)
{
	if (r < 0 && !*first)
		*first = r;
}

static void remove_file(const char *dir, const char *name)
{
	char path[4096 + 64];

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	unlink(path);
}

int bn_agent_uninstall(const struct bn_agent_config *config, struct bn_error *err)
{
	static const struct bn_endpoints_ops none;
	struct bn_endpoints_config endpoints_config = {.state_dir = config->state_dir, .ops = none};
	struct bn_endpoints *endpoints = NULL;
	struct bn_sysctl *sysctl = NULL;
	struct bn_attach attach = {0};
	struct bn_nl *nl = NULL;
	sd_event *event = NULL;
	char links[4096];
	int r = 0;

	snprintf(links, sizeof(links), "%s/links", config->bpffs);
	attach.dir = links;
	if (access(config->state_dir, F_OK) == 0) {
		keep(sd_event_new(&event), &r);
		if (event)
			keep(bn_endpoints_new(event, &endpoints_config, &endpoints, err), &r);
		if (endpoints) {
			keep(bn_endpoints_uninstall(endpoints, err), &r);
			bn_endpoints_free(endpoints);
		}
	}
	keep(bn_nl_open(NETLINK_ROUTE, &nl, err), &r);
	if (nl)
		keep(bn_host_device_remove(nl, config->bpffs, err), &r);
	bn_nl_free(nl);
	keep(bn_cgroup_detach(links, err), &r);
	keep(bn_xdp_detach_others(links, NULL, 0, err), &r);
	if (access(links, F_OK) == 0)
		keep(bn_attach_uninstall(&attach, err), &r);
	if (access(config->bpffs, F_OK) == 0)
		keep(bn_pins_remove(config->bpffs, err), &r);
	if (access(config->state_dir, F_OK) == 0) {
		keep(bn_sysctl_new(config->state_dir, &sysctl, err), &r);
		if (sysctl) {
			keep(bn_sysctl_restore(sysctl, err), &r);
			bn_sysctl_free(sysctl);
		}
		remove_file(config->state_dir, "objects.db");
		remove_file(config->state_dir, "objects.db-wal");
		remove_file(config->state_dir, "objects.db-shm");
		remove_file(config->state_dir, "sysctls.json");
		remove_file(config->state_dir, BN_POLICY_IDENTITIES_FILE);
		remove_file(config->state_dir, BN_POLICY_RULES_FILE);
	}
	remove_file(config->run_dir, "bpfnet.sock");
	sd_event_unref(event);
	return r;
}
