/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The model: what the objects mean, whatever they came from (manifests today, the Kubernetes API
 * later). loader/objects makes it, loader/datapath turns it into map contents, loader/flows takes
 * names from it. Everything here is plain data; strings are borrowed from whoever fills the
 * struct and are only valid during the call that passes it, unless a function says otherwise.
 */
#pragma once

#include <bpfnet/endpoint.h>
#include <bpfnet/service.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* One backend of one service port. */
struct bn_backend_spec {
	union bn_addr addr;
	uint16_t port;    /* host byte order */
	uint16_t weight;  /* 1 unless an annotation says otherwise */
	uint8_t state;    /* enum bn_backend_state, never BN_BACKEND_FREE */
	const char *node; /* node name, or NULL */
	const char *pod;  /* pod name in the service's namespace, or NULL */
};

/* One address and port under which a service answers. */
struct bn_frontend_spec {
	union bn_addr addr;
	uint16_t port;         /* host byte order */
	uint8_t protocol;      /* IPPROTO_TCP, IPPROTO_UDP, IPPROTO_SCTP */
	uint8_t kind;          /* enum bn_frontend_kind */
	const char *port_name; /* name of the Service's port, or NULL */
	/* backends of the same family as addr, in any order, without duplicates */
	const struct bn_backend_spec *backends;
	size_t n_backends;
};

/* A Service with everything that answers for it. */
struct bn_service_spec {
	const char *namespace;
	const char *name;
	const char *type; /* as in the object: ClusterIP, NodePort, LoadBalancer, ExternalName */
	const struct bn_frontend_spec *frontends;
	size_t n_frontends;
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
};
