/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the agent remembers of the objects: only what decides about packets. The objects' full
 * text is in the store. An object is never changed once it is linked, but for a Service's
 * allotments, which its first transaction fills in; a new version takes the old one's place.
 *
 * Files: object.c (life of an object), parse-*.c (tree to object), index.c (tables and links),
 * allot.c (cluster IPs and node ports), host-port.c (host ports of pods), build.c (objects to
 * specs), choose.c (which backends get new flows), publish.c (specs to the datapath), stage.c and
 * transaction.c (a change: staged, then committed or undone), objects.c, query.c (the public
 * functions).
 */
#pragma once

#include "arena.h"
#include "check.h"
#include "objects.h"
#include "store.h"

#include <sys/queue.h>

#define HASH_NONFATAL_OOM 1
#include <uthash.h>

enum bn_object_kind {
	BN_KIND_NAMESPACE,
	BN_KIND_NODE,
	BN_KIND_POD,
	BN_KIND_SERVICE,
	BN_KIND_SLICE,
	BN_KIND_POLICY,
	BN_KIND_CLUSTER_POLICY,
	BN_KIND_STORED_MAX,
	BN_KIND_RUNNING = BN_KIND_STORED_MAX, /* a running endpoint; never in the store */
	_BN_KIND_MAX,
};

/* Says that an address or a node port has an owner. One key may have several until a
 * transaction ends, which then finds out. Part of its owner, so linking never allocates. */
struct bn_claim {
	struct {
		union bn_addr addr;
		uint32_t port; /* 0: the key is an address */
	} key;
	uint16_t item; /* of a Pod's port: which of its host ports */
	struct bn_object *owner;
	struct bn_claim *next; /* of the same key; only the first is in the table */
	UT_hash_handle hh;
};

struct bn_object {
	UT_hash_handle hh;
	struct bn_arena arena;
	char *key;             /* kind, namespace, zero byte, name */
	const char *namespace; /* "" where the kind has none; both point into the key */
	const char *name;
	struct bn_claim *claims;
	uint32_t transaction; /* that touched it last */
	uint16_t n_claims;
	uint8_t kind; /* enum bn_object_kind */
};

/* Everything of one namespace that has, or asks for, one label. */
struct bn_label_ref;

struct bn_label_link {
	LIST_ENTRY(bn_label_link) entry;
	struct bn_label_ref *ref; /* NULL: not linked */
	struct bn_object *object;
};

LIST_HEAD(bn_label_links, bn_label_link);

struct bn_label_ref {
	UT_hash_handle hh;
	struct bn_label_links pods, services;
	LIST_ENTRY(bn_label_ref) idle; /* among those that may be unused */
	bool is_idle;
	size_t n_pods, n_services;
	char key[]; /* namespace, zero byte, key, zero byte, value */
};

struct bn_labels_object { /* a Namespace */
	struct bn_object o;
	struct bn_label *labels;
	size_t n_labels;
	bool audit;
};

struct bn_node_object {
	struct bn_object o;
	struct bn_label *labels;
	size_t n_labels;
	const char *zone; /* or NULL */
	bool audit;       /* of its firewall */
	union bn_addr *ips;
	size_t n_ips;
};

/* A running endpoint. */
struct bn_running_object {
	struct bn_object o;
	union bn_addr *ips;
	size_t n_ips;
};

/* A port of the host that leads to a pod's. */
struct bn_host_port {
	union bn_addr addr; /* with one family in `families`: 0.0.0.0 or :: is every address */
	uint16_t port, target;
	uint8_t protocol;
	uint8_t families;         /* bits BN_HOST_IPV4, BN_HOST_IPV6; both: no hostIP was given */
	bool init;                /* of an init container; for messages, as are these */
	uint16_t container, item; /* spec.containers[].ports[] */
};

#define BN_HOST_IPV4 1
#define BN_HOST_IPV6 2

struct bn_pod_object {
	struct bn_object o;
	struct bn_service_ref *ref; /* of its host ports; NULL: not linked, or none */
	struct bn_label *labels;
	struct bn_label_link *links; /* one a label */
	size_t n_labels;
	const struct bn_running_object *running; /* NULL: no endpoint here */
	const char *node;                        /* or NULL */
	struct bn_pod_port *ports;               /* named ones */
	struct bn_host_port *host_ports;
	size_t n_ports, n_host_ports;
	union bn_addr ips[2]; /* at most one of a family */
	uint16_t weight;      /* by annotation; 1 */
	uint8_t n_ips;
	bool ready, terminating, finished, host_network, audit;
};

struct bn_service_port {
	const char *name;        /* "" where it has none */
	const char *target_name; /* NULL: by number */
	uint16_t port;
	uint16_t target;
	uint16_t node_port; /* 0: none yet, or none at all */
	uint8_t protocol;
};

enum bn_service_type {
	BN_TYPE_CLUSTER_IP,
	BN_TYPE_NODE_PORT,
	BN_TYPE_LOAD_BALANCER,
	BN_TYPE_EXTERNAL_NAME,
};

enum bn_family_policy {
	BN_FAMILY_UNSET,
	BN_FAMILY_SINGLE,
	BN_FAMILY_PREFER_DUAL,
	BN_FAMILY_REQUIRE_DUAL,
};

/* trafficDistribution: what hints the derived endpoints get (KEP-4444, KEP-3015). */
enum bn_distribution {
	BN_DISTRIBUTION_NONE,
	BN_DISTRIBUTION_CLOSE, /* the old name of the next */
	BN_DISTRIBUTION_ZONE,
	BN_DISTRIBUTION_NODE,
};

#define BN_WEIGHT_GROUPS_MAX 16

/* Pods with a label, and what they get together of the service's new flows. */
struct bn_weight_group {
	struct bn_label label;
	uint16_t share;
};

struct bn_service_ref;

struct bn_service_object {
	struct bn_object o;
	struct bn_service_ref *ref;
	LIST_ENTRY(bn_service_object) zoned; /* those with a distribution */
	struct bn_weight_group *groups;
	uint8_t n_groups;
	uint8_t distribution; /* enum bn_distribution */
	struct bn_label *selector;
	size_t n_selector;
	const struct bn_label *under; /* of the selector, that link hangs under; NULL: not yet */
	struct bn_label_link link;
	struct bn_service_port *ports;
	union bn_addr *external_ips, *ingress_ips;
	struct bn_cidr *source_ranges;
	uint16_t n_ports, n_external_ips, n_ingress_ips, n_source_ranges;
	uint16_t health_port;
	uint32_t affinity_seconds; /* 0: none */
	union bn_addr cluster_ips[2];
	uint8_t n_cluster_ips;
	uint8_t n_given_ips; /* of cluster_ips, those that the manifest names */
	uint8_t families[2]; /* BN_IPV4, BN_IPV6 */
	uint8_t n_families;
	uint8_t policy; /* enum bn_family_policy */
	uint8_t type;   /* enum bn_service_type */
	bool headless, publish_not_ready, internal_local, external_local;
	bool no_node_ports; /* a LoadBalancer that wants none */
};

struct bn_slice_port {
	const char *name;
	uint16_t port;
	uint8_t protocol;
};

/* Where an endpoint is for; most of a slice share one. */
struct bn_slice_hints {
	const char *zones[8], *nodes[8]; /* Kubernetes' limits */
	uint8_t n_zones, n_nodes;
};

struct bn_slice_endpoint {
	union bn_addr addr;
	uint8_t state; /* enum bn_backend_state */
	const char *node;
	const char *pod;
	const char *zone;
	const struct bn_slice_hints *hints; /* NULL: none */
};

struct bn_slice_object {
	struct bn_object o;
	LIST_ENTRY(bn_slice_object) entry; /* of its service */
	struct bn_service_ref *ref;
	const char *service; /* NULL: for none */
	struct bn_slice_port *ports;
	struct bn_slice_endpoint *endpoints;
	uint32_t n_ports, n_endpoints;
	uint8_t family;
	bool hinted; /* an endpoint has hints */
};

struct bn_policy_object { /* a NetworkPolicy, or a ClusterNetworkPolicy */
	struct bn_object o;
	struct bn_policy_spec spec;
};

/*
 * A service by name: the Service object and the slices that are given for it; or a Pod with host
 * ports, under "pod/NAME".
 */
struct bn_service_ref {
	UT_hash_handle hh;
	struct bn_service_object *service; /* NULL: slices without a Service */
	struct bn_pod_object *pod;
	LIST_HEAD(, bn_slice_object) slices;
	STAILQ_ENTRY(bn_service_ref) touched;
	bool is_touched;
	bool is_known; /* to the datapath */
	char key[];    /* namespace, zero byte, name */
};

/* An address that a transaction touches, and what it was to the datapath before. */
struct bn_touched_addr {
	union bn_addr addr;
	struct bn_peer_spec before; /* kind 0: no peer */
	UT_hash_handle hh;
};

/* A policy, pod or namespace that a transaction touches. */
struct bn_touched_object {
	UT_hash_handle hh;
	uint8_t kind;
	char key[]; /* as an object's: kind, namespace, zero byte, name */
};

/* One object of a transaction: either may be NULL. */
struct bn_entry {
	struct bn_object *old, *new;
	unsigned document;
	long item;
	uint32_t input;
	uint8_t result; /* enum bn_result */
};

enum bn_result {
	BN_RESULT_UNCHANGED,
	BN_RESULT_CREATED,
	BN_RESULT_CONFIGURED,
	BN_RESULT_DELETED,
};

struct bn_allotter {
	uint64_t *cursors;  /* one a service CIDR: the next host number to try */
	uint16_t node_port; /* the next to try */
};

struct bn_objects {
	struct bn_objects_config config;
	struct bn_store *store;
	struct bn_object *objects;
	struct bn_claim *claims;
	struct bn_label_ref *labels;
	LIST_HEAD(, bn_label_ref) idle_labels;
	struct bn_service_ref *services;
	LIST_HEAD(, bn_service_object) zoned_services;
	STAILQ_HEAD(, bn_service_ref) touched_services;
	struct bn_touched_addr *touched_addrs;
	struct bn_touched_object *touched_objects;
	struct bn_allotter allotter;
	uint32_t transaction;
	bool started;
	bool busy;      /* a transaction is under way */
	bool no_memory; /* uthash could not grow a table */
};

/* object.c */

struct bn_kind_info {
	const char *version;
	const char *kind;
	const char *singular, *plural, *shorthand; /* shorthand may be NULL */
	size_t size;
	bool namespaced;
};

extern const struct bn_kind_info bn_kinds[_BN_KIND_MAX];

struct bn_object *bn_object_new(enum bn_object_kind kind, const char *namespace, const char *name);
void bn_object_free(struct bn_object *object);
size_t bn_object_key_size(const struct bn_object *object);
/* "service default/web" */
const char *bn_object_describe(const struct bn_object *object, char *buf, size_t size);

/* parse.c, parse-*.c: tree to object; errors name the field. */

struct bn_identity_key {
	enum bn_object_kind kind;
	const char *namespace; /* "" where the kind has none */
	const char *name;
};

int bn_parse_identity(const struct bn_document *document, json_t *tree, struct bn_identity_key *ret,
		      struct bn_error *err);
int bn_parse_object(const struct bn_document *document, json_t *tree, struct bn_object **ret,
		    struct bn_error *err);

int bn_parse_labels(const struct bn_field *field, struct bn_arena *arena, struct bn_label **ret,
		    size_t *ret_n);
int bn_parse_node(const struct bn_field *root, struct bn_node_object *node);
int bn_parse_pod(const struct bn_field *root, struct bn_pod_object *pod);
int bn_parse_service(const struct bn_field *root, struct bn_service_object *service);
int bn_parse_slice(const struct bn_field *root, struct bn_slice_object *slice);
int bn_parse_policy(const struct bn_field *root, struct bn_policy_object *policy);
int bn_parse_cluster_policy(const struct bn_field *root, struct bn_policy_object *policy);
/* Refuses what stands beside spec and status. */
int bn_parse_members(const struct bn_field *root);
int bn_parse_selector(const struct bn_field *field, struct bn_arena *arena,
		      struct bn_selector *ret);
/* Bits past the prefix are ignored, as Kubernetes does. */
int bn_parse_cidr(const struct bn_field *field, struct bn_cidr *ret);
/* Annotations that give weights. Absent: *ret stays as it is. */
int bn_parse_weight(const struct bn_field *root, uint16_t *ret);
int bn_parse_weight_groups(const struct bn_field *root, struct bn_service_object *service);
/* A copy in the arena; -ENOMEM. */
int bn_parse_copy(struct bn_arena *arena, const char *s, const char **ret);

/* index.c */

struct bn_object *bn_index_find(struct bn_objects *objects, enum bn_object_kind kind,
				const char *namespace, const char *name);
/* Puts an object into every table, or takes it out; both touch what it bears on. */
int bn_index_link(struct bn_objects *objects, struct bn_object *object);
void bn_index_unlink(struct bn_objects *objects, struct bn_object *object);
int bn_index_claim(struct bn_objects *objects, struct bn_object *owner, struct bn_claim *claim);
const struct bn_claim *bn_index_claimed(struct bn_objects *objects, const union bn_addr *addr,
					uint32_t port);
struct bn_service_ref *bn_index_service(struct bn_objects *objects, const char *namespace,
					const char *name);
/* Ends a transaction's bookkeeping: nothing is touched any more, unused refs are freed. */
void bn_index_sweep(struct bn_objects *objects);
void bn_index_free(struct bn_objects *objects);
/* What an address is to the datapath now; kind 0: nothing, or an endpoint of this node. */
struct bn_peer_spec bn_index_peer(struct bn_objects *objects, const union bn_addr *addr);
/* The zone of a node, by its Node object; NULL: unknown. */
const char *bn_index_zone(struct bn_objects *objects, const char *node);
/* After a change of a node's zone: touches what chooses by zones. */
void bn_index_touch_zone(struct bn_objects *objects, const char *node);
/* Whether there is something of it that the datapath is told. */
bool bn_index_is_served(const struct bn_objects *objects, const struct bn_service_ref *ref);
/* The addresses that a pod answers on. */
size_t bn_pod_ips(const struct bn_pod_object *pod, const union bn_addr **ret);
bool bn_pod_has_label(const struct bn_pod_object *pod, const struct bn_label *label);
bool bn_pod_selected(const struct bn_pod_object *pod, const struct bn_service_object *service);
/* Calls fn for every pod that the service's selector matches. */
int bn_index_each_selected(struct bn_objects *objects, const struct bn_service_object *service,
			   int (*fn)(void *user, const struct bn_pod_object *pod), void *user);

/* allot.c */

int bn_allot_open(struct bn_objects *objects);
void bn_allot_close(struct bn_objects *objects);
/* Takes over what Kubernetes keeps across an update; refuses what it holds immutable. */
int bn_allot_update(const struct bn_field *root, struct bn_service_object *service,
		    const struct bn_service_object *old);
/* Node ports that `old`, which may be NULL, has not must be of the range. */
int bn_allot_check_ports(const struct bn_objects *objects, const struct bn_field *root,
			 const struct bn_service_object *service,
			 const struct bn_service_object *old);
/* Before linking: claims for the addresses and node ports that are known by now. */
void bn_allot_prepare(struct bn_service_object *service);
/* Families, cluster IPs and node ports that are still open; the service is linked. */
int bn_allot_service(struct bn_objects *objects, struct bn_service_object *service,
		     const struct bn_document *document, struct bn_error *err);
/* Allotments as text for the store, and back. */
int bn_allot_format(const struct bn_service_object *service, char **ret);
int bn_allot_parse(struct bn_service_object *service, const char *text);

/* host-port.c */

#define BN_HOST_PORT_PREFIX "pod/" /* of the name under which they are a service */

/* Whether this node is where the pod runs, and so its host ports are. */
bool bn_pod_is_here(const struct bn_objects *objects, const struct bn_pod_object *pod);
bool bn_host_port_overlaps(const struct bn_host_port *a, const struct bn_host_port *b);
/* "spec.containers[0].ports[1].hostPort" */
const char *bn_host_port_path(const struct bn_host_port *port, char *buf, size_t size);
/* The host ports of a pod of this node as frontends of their own. */
int bn_build_host_ports(struct bn_objects *objects, struct bn_arena *arena,
			const struct bn_pod_object *pod, struct bn_service_spec *ret);

/* build.c */

int bn_build_ref(struct bn_objects *objects, struct bn_arena *arena,
		 const struct bn_service_ref *ref, struct bn_service_spec *ret);
/* What the touched services and addresses are now, as a change. */
int bn_build_change(struct bn_objects *objects, struct bn_arena *arena, struct bn_change *ret);
/* Port number of a service port on a pod; 0 where the pod has no port of that name. */
uint16_t bn_build_target(const struct bn_service_port *port, const struct bn_pod_object *pod);
uint8_t bn_build_pod_state(const struct bn_service_object *service,
			   const struct bn_pod_object *pod);

/* publish.c */

/* Marks the begin and the end of a change; the begin fails with -EBUSY or -EAGAIN. */
int bn_transaction_begin(struct bn_objects *objects, struct bn_error *err);
void bn_transaction_end(struct bn_objects *objects);
/* Hands what was touched to the datapath; afterwards the datapath knows it. */
int bn_transaction_publish(struct bn_objects *objects, struct bn_error *err);

/* conflict.c */

/* Another owner of something that `object` claims, and which claim it is; NULL: none. */
const struct bn_object *bn_conflict_find(struct bn_objects *objects, const struct bn_object *object,
					 const struct bn_claim **ret);
/* A port that a socket of the host's holds and `old`, which may be NULL, had not; NULL: none. */
const struct bn_claim *bn_conflict_socket(struct bn_objects *objects,
					  const struct bn_object *object,
					  const struct bn_object *old);
bool bn_conflict_node_port_free(struct bn_objects *objects, uint16_t port, uint8_t protocol);
/* The field that a claim comes from. */
const char *bn_conflict_path(const struct bn_claim *claim, char *buf, size_t size);

/* transaction.c */

struct bn_sync_file {
	const char *path; /* origin of its objects */
	struct bn_input input;
	bool kept; /* not read: its objects stay */
};

/*
 * Makes what came from `folder` be what the files have. *ret_bad is the file that was the cause
 * of a failure, or n.
 */
int bn_objects_sync(struct bn_objects *objects, const char *folder,
		    const struct bn_sync_file *files, size_t n, size_t *ret_bad,
		    struct bn_error *err);
