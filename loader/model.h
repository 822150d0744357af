/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The model: what the objects mean, whatever they came from (manifests today, the Kubernetes API
 * later). loader/objects makes it, loader/datapath turns it into map contents, loader/flows takes
 * names from it. Everything here is plain data; strings are borrowed from whoever fills the
 * struct and are only valid during the call that passes it, unless a function says otherwise.
 */
#pragma once

#include <address.h>
#include <bpfnet/endpoint.h>
#include <bpfnet/policy.h>
#include <bpfnet/service.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * Which new flows a backend gets. Whether it is ready, what is left when none is, and topology are
 * decided where the objects are known, so the datapath only looks at these bits.
 */
enum bn_backend_use {
	BN_USE_CLUSTER = 1, /* those whose traffic policy is Cluster */
	BN_USE_LOCAL = 2,   /* those whose traffic policy is Local */
};

/* One backend of one service port. */
struct bn_backend_spec {
	union bn_addr addr;
	uint16_t port; /* host byte order */
	/*
	 * Shares of the new flows, relative to the frontend's other backends of the same use; at
	 * least 1 where the use is set. They differ where an annotation splits traffic between
	 * groups of pods, since a group's share is divided among those of it that are used.
	 */
	uint16_t weight;       /* BN_USE_CLUSTER */
	uint16_t local_weight; /* BN_USE_LOCAL */
	uint8_t state;         /* enum bn_backend_state, never BN_BACKEND_FREE */
	uint8_t use;           /* enum bn_backend_use, as bits; 0: no new flows */
	bool local;            /* on this node */
	const char *node;      /* node name, or NULL */
	const char *pod;       /* pod name in the service's namespace, or NULL */
	const char *zone;      /* or NULL */
};

/* One address and port under which a service answers. */
struct bn_frontend_spec {
	/* BN_FRONTEND_NODE_PORT, HOST_PORT: 0.0.0.0 or :: is every address of this node */
	union bn_addr addr;
	uint16_t port;             /* host byte order */
	uint8_t protocol;          /* IPPROTO_TCP, IPPROTO_UDP, IPPROTO_SCTP */
	uint8_t kind;              /* enum bn_frontend_kind */
	const char *port_name;     /* name of the Service's port, or NULL */
	uint16_t port_index;       /* of the Service's port, the same for all its frontends */
	uint32_t affinity_seconds; /* sessionAffinity ClientIP; 0: none */
	/*
	 * Traffic policy Local: of what pods of this node and the node itself send
	 * (internalTrafficPolicy, of cluster IPs alone) and of what comes from outside
	 * (externalTrafficPolicy, of all other kinds).
	 */
	bool local_inside, local_outside;
	bool consistent; /* outside traffic or weights: choose by a Maglev table */
	/*
	 * loadBalancerSourceRanges of addr's family: who else sends from outside is refused. With
	 * `restricted` and no range, everybody of the family is.
	 */
	bool restricted;
	const struct bn_cidr *source_ranges;
	size_t n_source_ranges;
	/* backends of the same family as addr, in any order, without duplicates */
	const struct bn_backend_spec *backends;
	size_t n_backends;
};

/* What stands behind one port of a service that has no frontend. */
struct bn_headless_spec {
	uint8_t protocol;
	const char *port_name;
	const struct bn_backend_spec *backends; /* of one family */
	size_t n_backends;
};

/*
 * A Service with everything that answers for it; or the host ports of a Pod of this node, named
 * "pod/NAME", which no Service can be, of the type "HostPort".
 */
struct bn_service_spec {
	const char *namespace;
	const char *name;
	const char *type; /* as in the object: ClusterIP, NodePort, LoadBalancer, ExternalName */
	const struct bn_frontend_spec *frontends;
	size_t n_frontends;
	const struct bn_headless_spec *headless;
	size_t n_headless;
	/* for people; what the datapath does is in the frontends */
	uint32_t affinity_seconds;
	bool is_headless, internal_local, external_local;
	const char *distribution; /* trafficDistribution, or NULL */
	uint16_t health_port;     /* healthCheckNodePort to be answered; 0: none */
	size_t local_ready;       /* ready backends on this node, by address */
};

/* What is known of an address that is not an endpoint of this node. */
struct bn_peer_spec {
	union bn_addr addr;
	uint8_t kind; /* BN_ADDR_HOST, BN_ADDR_REMOTE_POD, BN_ADDR_REMOTE_NODE */
	uint32_t identity;
};

struct bn_label {
	const char *key;
	const char *value;
};

/* matchLabels and matchExpressions, all of which must hold; none: everything is selected. */
enum bn_operator {
	BN_IN,
	BN_NOT_IN, /* also what has no such label */
	BN_EXISTS,
	BN_DOES_NOT_EXIST,
};

struct bn_requirement {
	const char *key;
	const char *const *values;
	uint16_t n_values;
	uint8_t op; /* enum bn_operator */
};

struct bn_selector {
	const struct bn_requirement *requirements;
	size_t n;
};

/* Who is at the other end: pods, other nodes, or addresses. */
struct bn_policy_peer {
	const struct bn_selector *pods;       /* NULL: all of the namespaces' */
	const struct bn_selector *namespaces; /* NULL: the policy's own */
	const struct bn_selector *nodes;      /* by nodes' labels; the two above are NULL */
	bool is_block;                        /* ipBlock; the selectors are NULL */
	struct bn_cidr block;
	const struct bn_cidr *except; /* within the block */
	size_t n_except;
};

/* Ports of the destination. */
struct bn_policy_port {
	uint8_t protocol;   /* IPPROTO_TCP, IPPROTO_UDP, IPPROTO_SCTP; with a name also 0: any */
	uint16_t port, end; /* host byte order, inclusive; both 0: all of the protocol */
	const char *name;   /* of the destination pod's port, instead of a number; or NULL */
};

/* What becomes of what a rule covers. */
enum bn_policy_action {
	BN_ACTION_ACCEPT, /* all that NetworkPolicy has */
	BN_ACTION_DENY,
	BN_ACTION_PASS, /* the tier's other rules are left out */
};

struct bn_policy_rule {
	uint8_t action;                     /* enum bn_policy_action */
	const char *name;                   /* its own, or NULL */
	const struct bn_policy_peer *peers; /* none: everybody */
	size_t n_peers;
	const struct bn_policy_port *ports; /* none: every protocol and port */
	size_t n_ports;
};

/*
 * Which policies are asked in turn: Admin; NetworkPolicy, which has the last word where one selects
 * the pod; Baseline. What none of them decides is allowed.
 */
enum bn_policy_tier {
	BN_TIER_NETWORK_POLICY,
	BN_TIER_ADMIN,
	BN_TIER_BASELINE,
};

/*
 * A NetworkPolicy, or a ClusterNetworkPolicy, which has no namespace. What it points to stays valid
 * until a commit that names it again or removes it has returned, and so does what struct bn_pod_spec,
 * bn_node_spec and bn_namespace_spec point to.
 */
struct bn_policy_spec {
	const char *namespace; /* "": none */
	const char *name;
	uint8_t tier;                  /* enum bn_policy_tier */
	uint16_t priority;             /* within the tier; the lowest is asked first */
	struct bn_selector namespaces; /* of the pods; not NetworkPolicy's */
	struct bn_selector pods;
	bool host; /* of nodes: `pods` selects them, and it is in force for their own addresses */
	bool selects[BN_POLICY_DIRECTIONS]; /* policyTypes */
	const struct bn_policy_rule *rules[BN_POLICY_DIRECTIONS];
	size_t n_rules[BN_POLICY_DIRECTIONS];
};

struct bn_pod_port {
	const char *name;
	uint16_t port;
	uint8_t protocol;
};

/* A pod as policy sees it; with BN_NODE_NAMESPACE this node itself, which has no addresses here. */
#define BN_NODE_NAMESPACE "@node" /* no namespace's name */
#define BN_NODE_POD ""
struct bn_pod_spec {
	const char *namespace, *name;
	const struct bn_label *labels; /* none without a manifest */
	size_t n_labels;
	const struct bn_pod_port *ports; /* named ones */
	size_t n_ports;
	const union bn_addr *ips; /* none where they are the node's or another's by now */
	size_t n_ips;
	bool local; /* it has an endpoint here */
	bool audit; /* what its policies deny passes, and is reported */
};

/* Another node as policy sees it. */
struct bn_node_spec {
	const char *name;
	const struct bn_label *labels;
	size_t n_labels;
	const union bn_addr *ips;
	size_t n_ips;
};

struct bn_namespace_spec {
	const char *name;
	const struct bn_label *labels;
	size_t n_labels;
	bool audit; /* of all its pods */
};

/*
 * A change of the model that must take effect as a whole or not at all: what one `apply` or
 * `delete`, one reload of a folder, or one start brings.
 */
struct bn_change {
	const struct bn_service_spec *services; /* new or changed, complete */
	size_t n_services;
	const struct bn_service_spec *removed; /* only namespace and name are set */
	size_t n_removed;
	const struct bn_peer_spec *peers; /* new or changed */
	size_t n_peers;
	const union bn_addr *peers_removed;
	size_t n_peers_removed;
	/* new or changed; of what is removed only the names are set */
	const struct bn_policy_spec *policies, *policies_removed;
	size_t n_policies, n_policies_removed;
	const struct bn_pod_spec *pods, *pods_removed;
	size_t n_pods, n_pods_removed;
	const struct bn_namespace_spec *namespaces; /* one that is removed has no labels */
	size_t n_namespaces;
	const struct bn_node_spec *nodes; /* one that is removed has no addresses */
	size_t n_nodes;
};
