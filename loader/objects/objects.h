/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The standalone source of Kubernetes objects: reads and validates manifests, keeps them in a
 * database, plays the controllers' part (EndpointSlices from selectors, clusterIP and nodePort
 * allotment) and hands every change of what the objects mean to the datapath as one bn_change.
 *
 * Every change is all or nothing: what is refused, here or by the commit callback, leaves the
 * database, the model and the datapath as they were. Nothing here is reentrant: a callback may
 * read (get, each_service, pod_labels, address_owner) but not apply, delete or set endpoints.
 *
 * Namespaces need no Namespace object; one only gives labels to its namespace. To delete it deletes
 * all that is in the namespace, as in Kubernetes, but for running endpoints; that a folder no longer
 * has it does not.
 */
#pragma once

#include <address.h>
#include <error.h>
#include <jansson.h>
#include <model.h>

struct bn_objects;

struct bn_objects_config {
	const char *state_dir; /* holds objects.db; made where missing */
	const char *node_name;
	const struct bn_cidr *service_cidrs; /* of both families; the first one's is the default */
	size_t n_service_cidrs;
	uint16_t node_port_min, node_port_max; /* 0: as in Kubernetes, 30000 to 32767 */
	uint32_t frontend_kinds; /* that commit is given: 1 << BN_FRONTEND_..., or'ed; 0: all */

	/*
	 * Puts a change into effect, all or nothing. A failure rolls the change back, and its text
	 * reaches whoever asked. Peers of pods have identity BN_IDENTITY_UNKNOWN.
	 * peers_removed names addresses that are no peers any more; an address that became an
	 * endpoint of this node is among them, so what belongs to an endpoint must stay.
	 */
	int (*commit)(void *user, const struct bn_change *change, struct bn_error *err);
	/*
	 * After a commit: labels, addresses or existence of a Pod changed, or its Namespace's
	 * labels did. Not called for bn_objects_endpoint_set and _remove. May be NULL.
	 */
	void (*pod_changed)(void *user, const char *namespace, const char *name);
	/*
	 * After each apply, delete or change of a folder: how it ended, and how long it took from
	 * its being taken in to the datapath's having it. May be NULL.
	 */
	void (*applied)(void *user, int result, double seconds);
	/*
	 * Whether no socket of the host's holds a port of an address, or of 0.0.0.0 or ::. Asked
	 * before a node port or host port comes into use. NULL: it never does.
	 */
	bool (*host_port_free)(void *user, const union bn_addr *addr, uint16_t port,
			       uint8_t protocol);
	void *user;
};

/* Opens the store and builds the model from it; commits nothing. `config` is copied. */
int bn_objects_new(const struct bn_objects_config *config, struct bn_objects **ret,
		   struct bn_error *err);
/*
 * Commits the whole model as one change. Until it succeeds, endpoints may be set, and nothing
 * reaches the commit callback; apply and delete are refused with -EAGAIN.
 */
int bn_objects_start(struct bn_objects *objects, struct bn_error *err);
/* Closes the store. What was committed stays in force. */
void bn_objects_free(struct bn_objects *objects);

struct bn_input {
	const char *file; /* name for messages */
	const char *text; /* need not be terminated */
	size_t size;
};

/*
 * Applies every object of the inputs. *ret_results is, in input order,
 *   [{kind: "service", namespace, name, result: "created" | "configured" | "unchanged"}]
 * without `namespace` for Nodes and Namespaces. -EINVAL for bad input, -EFBIG where a limit is
 * passed, otherwise what the store or the commit callback returned.
 */
int bn_objects_apply(struct bn_objects *objects, const struct bn_input *inputs, size_t n,
		     json_t **ret_results, struct bn_error *err);
/* Deletes them; the result is "deleted". -ENOENT where one does not exist. */
int bn_objects_delete(struct bn_objects *objects, const struct bn_input *inputs, size_t n,
		      json_t **ret_results, struct bn_error *err);

/*
 * Objects as they were applied, with what was allotted and defaulted. `kind` as kubectl takes it
 * (services, service, svc). Without a name: all of the namespace, or of every namespace, by
 * namespace and name. With a name and no namespace: "default". -ENOENT, -EINVAL (kind).
 */
int bn_objects_get(struct bn_objects *objects, const char *kind, const char *namespace,
		   const char *name, json_t **ret_array, struct bn_error *err);

/*
 * One service as the datapath has it, or all by namespace and name. The spec lives during the
 * call. A non-zero return of fn ends the walk and is returned. -ENOENT.
 */
int bn_objects_each_service(struct bn_objects *objects,
			    int (*fn)(void *user, const struct bn_service_spec *service),
			    void *user);
int bn_objects_service(struct bn_objects *objects, const char *namespace, const char *name,
		       int (*fn)(void *user, const struct bn_service_spec *service), void *user);

/* Labels of a Pod. -ENOENT where there is no manifest. Returns what fn returns. */
int bn_objects_pod_labels(struct bn_objects *objects, const char *namespace, const char *name,
			  int (*fn)(void *user, const struct bn_label *labels, size_t n),
			  void *user);

/*
 * A running endpoint of this node and its addresses: they take the place of what a Pod manifest
 * says of its addresses, and without a manifest the pod has no labels and no Service selects it.
 * An address that another pod, node or service has is refused with -EADDRINUSE, and so is a host
 * port of the Pod that is taken here.
 * Endpoints are not stored: set them anew after a restart.
 */
int bn_objects_endpoint_set(struct bn_objects *objects, const char *namespace, const char *pod,
			    const union bn_addr *ips, size_t n, struct bn_error *err);
/* -ENOENT where no such endpoint is set. */
int bn_objects_endpoint_remove(struct bn_objects *objects, const char *namespace, const char *pod,
			       struct bn_error *err);

enum bn_owner_kind {
	BN_OWNER_NODE,
	BN_OWNER_POD,
	BN_OWNER_SERVICE,
};

struct bn_owner {
	enum bn_owner_kind kind;
	const char *namespace; /* "" for a node; both borrowed until the next change */
	const char *name;
};

/* Who has an address (of a service: its cluster IPs). -ENOENT. */
int bn_objects_address_owner(struct bn_objects *objects, const union bn_addr *addr,
			     struct bn_owner *ret);
