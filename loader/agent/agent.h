/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The agent: everything that bpfnetd holds while it runs, and the order in which it comes up.
 *
 *   objects (what is wanted) --commit--> services, addresses (what stands in the maps)
 *   endpoints (pods here)    --publish/attach--> addresses, programs on devices
 *   events (ring buffer)     --> observer --> readers
 *
 * Start, restart and repair are the same run: every part reads what stands, and the commits that
 * follow are differences.
 */
#pragma once

#include "config.h"
#include "datapath/addresses.h"
#include "datapath/programs.h"
#include "datapath/services.h"
#include "datapath/sources.h"
#include "datapath/sock-iters.h"
#include "datapath/wanted.h"
#include "error.h"
#include "flows/names.h"
#include "flows/observer.h"
#include "metrics/listen.h"
#include "metrics/sources.h"
#include "net/attach.h"
#include "net/endpoints.h"
#include "net/host-device.h"
#include "net/monitor.h"
#include "net/netlink.h"
#include "net/sysctl.h"
#include "objects/folder.h"
#include "objects/objects.h"
#include "policy/policy.h"
#include "server/server.h"
#include "ui/ui.h"

#include <systemd/sd-event.h>

struct bn_dry_run;
struct bn_health;
struct bn_hostcheck;
struct bn_tracing;

/* A device that leads out of the node. */
struct bn_uplink {
	int ifindex;
	char name[IF_NAMESIZE];
	uint32_t mtu;
	bool attached;
	bool guarded;            /* the firewall's program is on its egress */
	enum bn_xdp_mode xdp;    /* in force */
	char *xdp_why;           /* why it is off, owned; NULL: it is not */
	struct bn_device device; /* what the datapath is told of it */
};

struct bn_agent {
	const struct bn_agent_config *config;
	sd_event *event;
	bool filled; /* the maps are what the objects say: programs may be attached */
	bool live;   /* started, and so is the socket */

	struct bn_programs programs;
	bool loaded;
	char links_dir[4096];
	struct bn_attach attach;
	struct bn_services *services;
	struct bn_sources *sources;
	struct bn_addresses *addresses;
	struct bn_policy *policy;
	bool guarded;                /* policies select this node */
	struct bn_dry_run *dry_run;  /* NULL: nobody has asked yet */
	struct bn_wanted sock_netns; /* whose sockets are balanced */
	char *sockets_off;           /* why sockets are not balanced; NULL: they are */
	uint64_t netns_cookie;
	struct bn_sock_iters *sock_iters;
	sd_event_source *expire; /* deferred: once for a burst of changes */
	uint64_t retired_udp;    /* backends, as of the last look */

	struct bn_nl *nl;
	struct bn_monitor *monitor;
	struct bn_sysctl *sysctl;
	struct bn_endpoints *endpoints;
	struct bn_uplink *uplinks;
	size_t n_uplinks;
	union bn_addr primary[2];   /* the node's own of either family; zero: none */
	sd_event_source *rescan;    /* deferred: once for a burst of changes */
	struct bn_host_device host; /* by which the node's own packets to services go */
	uint32_t host_mtu;
	bool host_attached;
	char *host_off; /* why they don't; NULL: they do */

	struct bn_objects *objects;
	struct bn_health *health;
	struct bn_folder **folders;
	size_t n_folders;

	struct bn_names *names;
	struct bn_observer *observer;
	struct bn_export *export; /* NULL: flows go to no file */
	struct bn_metrics *metrics;
	struct bn_metrics_datapath metrics_datapath;
	struct bn_metrics_flows metrics_flows;
	struct bn_series_set policy_series;
	struct bn_histogram applies; /* changes of manifests */
	uint64_t applies_refused;
	uint64_t flow_entries; /* as of the last look at the flow table for metrics */
	struct bn_metrics_listen *metrics_listen; /* NULL: nobody is served */
	struct bn_ui *ui;                         /* likewise */
	sd_event_source *sweep;
	uint64_t opened_swept; /* flows opened before the last sweep */

	struct bn_tracing *tracing;
	int plain[BN_PROGRAM_MAX]; /* during a trace: what programs.programs has otherwise; -1 */

	struct bn_agent_audit *audit;
	struct bn_agent_fit *fit;

	struct bn_server *server;
	bool started;       /* the objects were committed once */
	bool commit_failed; /* the last commit was refused */
	char *refused;      /* why the last change that was asked for was; NULL: it was not */
};

/*
 * Brings everything up to READY. A failure on folders that hold nothing of an agent yet leaves
 * nothing there; one that took over a predecessor's datapath leaves that in force.
 */
int bn_agent_start(struct bn_agent *a, const struct bn_agent_config *config, sd_event *event,
		   struct bn_error *err);
/* Reads the manifest folders again. */
int bn_agent_reload(struct bn_agent *a, struct bn_error *err);
/* Lets go of everything; the datapath stays in force. */
void bn_agent_done(struct bn_agent *a);

/* Removes every trace of an agent on these folders, which must not be running. */
int bn_agent_uninstall(const struct bn_agent_config *config, struct bn_error *err);

/* agent/model.c: between the objects and the datapath. */
int bn_agent_commit(void *user, const struct bn_change *change, struct bn_error *err);
void bn_agent_pod_changed(void *user, const char *namespace, const char *name);
int bn_agent_publish_endpoint(struct bn_agent *a, const struct bn_endpoint_info *info,
			      struct bn_error *err);
/* What flows call a peer. */
void bn_agent_name_peer(struct bn_agent *a, const struct bn_peer_spec *peer);
void bn_agent_name_services(struct bn_agent *a, const struct bn_change *change);
extern const struct bn_endpoints_ops bn_agent_endpoint_ops;

/* agent/policy.c: what policies make of endpoints and addresses. */
int bn_agent_policy_start(struct bn_agent *a, struct bn_error *err);
/* Policies of a change, before anything else of it; then commit or abort. */
int bn_agent_policy_prepare(struct bn_agent *a, const struct bn_change *change,
			    struct bn_error *err);
/* The identity of a peer as of the change that is prepared. */
uint32_t bn_agent_policy_identity(struct bn_agent *a, const struct bn_peer_spec *peer);
struct bn_interface;
void bn_agent_policy_interface(struct bn_agent *a, const struct bn_endpoint_info *info,
			       struct bn_interface *ret);
int bn_agent_policy_describe(void *user, const struct bn_endpoint_info *info, json_t *endpoint);
int bn_agent_method_policy_list(struct bn_request *r, void *user);
int bn_agent_method_policy_get(struct bn_request *r, void *user);
/* agent/trace.c */
int bn_agent_method_policy_trace(struct bn_request *r, void *user);
/* agent/why.c */
int bn_agent_method_why(struct bn_request *r, void *user);

/* Attaches the programs to every endpoint that was taken over. */
/* firewall.c */
void bn_agent_firewall_config(const struct bn_agent_config *config, struct bn_config *ret);
/* Brings the tables of the node's addresses in line with its policy, and the uplinks' programs. */
int bn_agent_firewall_apply(struct bn_agent *a, struct bn_error *err);
/* One uplink's program. */
int bn_agent_firewall_attach(struct bn_agent *a, struct bn_uplink *uplink, struct bn_error *err);

int bn_agent_attach_endpoints(struct bn_agent *a, struct bn_error *err);

/* agent/uplinks.c: the node's own devices and addresses. */
bool bn_agent_takes_node_ports(const struct bn_agent *a, const union bn_addr *local);
/* The name of one of the node's own addresses. */
void bn_agent_name_own(struct bn_agent *a, const union bn_addr *addr);
int bn_agent_uplinks_start(struct bn_agent *a, struct bn_error *err);
int bn_agent_uplinks_scan(struct bn_agent *a, struct bn_error *err);
void bn_agent_uplinks_done(struct bn_agent *a);

/* agent/host.c: the node's own packets to services. `mtu` of the uplinks, 0: there are none. */
void bn_agent_host_apply(struct bn_agent *a, uint32_t mtu);
void bn_agent_host_audit(struct bn_agent *a);
/* An address became a service's, or ceased to be one. */
void bn_agent_host_address(void *user, const union bn_addr *addr, bool owned);
void bn_agent_host_status(struct bn_agent *a, json_t *features, json_t *notes);
void bn_agent_host_done(struct bn_agent *a);
/* agent/xdp.c: XDP on the uplinks. */
struct bn_audit_count;
void bn_agent_xdp_attach(struct bn_agent *a, struct bn_uplink *u);
/* Tells the datapath which uplinks XDP may redirect from and to. */
void bn_agent_xdp_redirects(struct bn_agent *a);
/* Removes what is on devices that are no uplinks (any more). */
void bn_agent_xdp_prune(struct bn_agent *a);
void bn_agent_xdp_audit(struct bn_agent *a, struct bn_audit_count *c);
/* Two features, by uplink: the mode, or why it is off; where there are several, redirection. */
void bn_agent_xdp_status(struct bn_agent *a, json_t *features, json_t *attachments);
/* A mode that was asked for by name and is not in force. */
void bn_agent_xdp_problems(const struct bn_agent *a, void (*fn)(void *user, json_t *text),
			   void *user);

/* agent/sockets.c: balancing at the socket. */
int bn_agent_sockets_start(struct bn_agent *a, struct bn_error *err);
void bn_agent_sockets_attach(struct bn_agent *a);
/* Links that somebody detached are made again. */
void bn_agent_sockets_audit(struct bn_agent *a, struct bn_audit_count *c);
/* Of a network namespace, -1: our own; 0 where it can't be told. */
uint64_t bn_agent_sockets_cookie(void *user, int netns_fd);
int bn_agent_sockets_endpoint_set(struct bn_agent *a, const struct bn_endpoint_info *info,
				  struct bn_error *err);
void bn_agent_sockets_endpoint_remove(struct bn_agent *a, const struct bn_endpoint_info *info);
void bn_agent_sockets_status(struct bn_agent *a, json_t *features, json_t *attachments);
void bn_agent_sockets_done(struct bn_agent *a);

/* agent/expire.c: connected UDP sockets whose backend went. */
int bn_agent_expire_start(struct bn_agent *a, struct bn_error *err);
/* After a commit. */
void bn_agent_expire(struct bn_agent *a);
void bn_agent_expire_done(struct bn_agent *a);

/* agent/idle.c: removing idle flows. */
int bn_agent_sweep_start(struct bn_agent *a);

/* agent/fit.c: what is stored and does not fit. */
int bn_agent_fit_start(struct bn_agent *a);
void bn_agent_fit_done(struct bn_agent *a);
/* As bn_services_commit(), but what does not fit at the start is left out and not refused. */
int bn_agent_fit_services(struct bn_agent *a, const struct bn_change *c, struct bn_error *err);
int bn_agent_fit_peers(struct bn_agent *a, const struct bn_peer_spec *peers, size_t n,
		       struct bn_error *err);
void bn_agent_fit_removed(struct bn_agent *a, const union bn_addr *removed, size_t n);
/* There may be room: what was left out is tried again, now or after this change. */
int bn_agent_fit_again(struct bn_agent *a);
void bn_agent_fit_room(struct bn_agent *a);
/* Why the service is not in force, NULL: it is. */
const char *bn_agent_fit_reason(const struct bn_agent *a, const char *namespace, const char *name);
void bn_agent_fit_problems(const struct bn_agent *a, void (*fn)(void *user, json_t *text),
			   void *user);

/* agent/tracing.c: which programs the node runs, while somebody traces and otherwise. */
int bn_agent_tracing_start(struct bn_agent *a);

/* agent/audit.c: what stands in the kernel against what is wanted, now and then. */
int bn_agent_audit_start(struct bn_agent *a);
void bn_agent_audit_done(struct bn_agent *a);
/* For `status`: {runs, interval_s, ago_s, repaired: {map: entries}}; NULL without memory. */
json_t *bn_agent_audit_json(struct bn_agent *a);
/* Calls fn with what the last audit could not put right. */
void bn_agent_audit_problems(struct bn_agent *a, void (*fn)(void *user, json_t *text), void *user);
void bn_agent_collect_audit(struct bn_metrics_out *out, void *user);
int bn_agent_method_map_audit(struct bn_request *r, void *user);

/* agent/methods.c, agent/status.c: the socket's methods. */
int bn_agent_methods(struct bn_agent *a, struct bn_error *err);
int bn_agent_method_status(struct bn_request *r, void *user);
/* `status`; NULL without memory. */
json_t *bn_agent_status_json(struct bn_agent *a);
/* Why the node is degraded, texts, and what is only worth knowing; both the caller's. */
json_t *bn_agent_reasons(struct bn_agent *a, json_t **ret_notes);
int bn_agent_method_map_list(struct bn_request *r, void *user);
/* What of the host gets in the way; *ret is to be emptied, also after an error. */
int bn_agent_hostcheck(struct bn_agent *a, struct bn_hostcheck *ret);
/* A map as it is now. `fills`: it has entries that come and go, and `entries` of `max` are there. */
struct bn_map_state {
	bool fills;
	uint64_t entries, max, bytes;
};
/* `flows`: live entries of the flow table where they are known, or NULL. */
void bn_agent_each_map(struct bn_agent *a, const uint64_t *flows,
		       void (*fn)(void *user, int id, const struct bn_map_state *state),
		       void *user);
/* agent/export.c: flows into a file. */
struct bn_metrics_out;
int bn_agent_export_start(struct bn_agent *a, struct bn_error *err);
void bn_agent_export_done(struct bn_agent *a);
/* Why none are written, where that is so. */
void bn_agent_export_problem(const struct bn_agent *a, void (*fn)(void *user, json_t *text),
			     void *user);
/* NULL: none are wanted. */
json_t *bn_agent_export_json(const struct bn_agent *a);
void bn_agent_export_collect(struct bn_metrics_out *out, void *user);
/* agent/metrics.c */
int bn_agent_metrics_start(struct bn_agent *a);
/* Where the configuration wants it: when there is something to tell. */
int bn_agent_metrics_listen(struct bn_agent *a);
void bn_agent_metrics_done(struct bn_agent *a);
/* Records that found the ring buffer full, since ever. */
int bn_agent_events_lost(void *user, uint64_t *ret);
/* For struct bn_objects_config. */
void bn_agent_applied(void *user, int result, double seconds);
/* agent/ui.c: the page, where the configuration wants it. */
int bn_agent_ui_start(struct bn_agent *a);
/* agent/svc.c */
/* `svc list` of a namespace, NULL: of all. NULL without memory or where the maps can't be read. */
json_t *bn_agent_services_json(struct bn_agent *a, const char *namespace);
int bn_agent_method_svc_list(struct bn_request *r, void *user);
int bn_agent_method_svc_get(struct bn_request *r, void *user);
/* agent/tables.c */
int bn_agent_method_ct_list(struct bn_request *r, void *user);
int bn_agent_method_nat_list(struct bn_request *r, void *user);
