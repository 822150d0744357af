// SPDX-License-Identifier: Apache-2.0
/*
 * The life of an object: one allocation for its fixed part and name, an arena for the rest.
 */
#include "state.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const struct bn_kind_info bn_kinds[_BN_KIND_MAX] = {
	[BN_KIND_NAMESPACE] = {"v1", "Namespace", "namespace", "namespaces", "ns",
			       sizeof(struct bn_labels_object), false},
	[BN_KIND_NODE] = {"v1", "Node", "node", "nodes", "no", sizeof(struct bn_node_object),
			  false},
	[BN_KIND_POD] = {"v1", "Pod", "pod", "pods", "po", sizeof(struct bn_pod_object), true},
	[BN_KIND_SERVICE] = {"v1", "Service", "service", "services", "svc",
			     sizeof(struct bn_service_object), true},
	[BN_KIND_SLICE] = {"discovery.k8s.io/v1", "EndpointSlice", "endpointslice",
			   "endpointslices", "slices", sizeof(struct bn_slice_object), true},
	[BN_KIND_POLICY] = {"networking.k8s.io/v1", "NetworkPolicy", "networkpolicy",
			    "networkpolicies", "netpol", sizeof(struct bn_policy_object), true},
	[BN_KIND_CLUSTER_POLICY] = {"policy.networking.k8s.io/v1alpha2", "ClusterNetworkPolicy",
				    "clusternetworkpolicy", "clusternetworkpolicies", "cnp",
				    sizeof(struct bn_policy_object), false},
	[BN_KIND_RUNNING] = {"", "", "endpoint", "endpoints", NULL,
			     sizeof(struct bn_running_object), true},
};

struct bn_object *bn_object_new(enum bn_object_kind kind, const char *namespace, const char *name)
{
	size_t n = strlen(namespace), fixed = bn_kinds[kind].size;
	struct bn_object *object = calloc(1, fixed + n + strlen(name) + 3);
	char *key;

	if (!object)
		return NULL;
	key = (char *)object + fixed;
	key[0] = (char)('a' + kind);
	strcpy(key + 1, namespace);
	strcpy(key + n + 2, name);
	object->key = key;
	object->namespace = key + 1;
	object->name = key + n + 2;
	object->kind = (uint8_t)kind;
	return object;
}

void bn_object_free(struct bn_object *object)
{
	if (!object)
		return;
	bn_arena_done(&object->arena);
	free(object);
}

size_t bn_object_key_size(const struct bn_object *object)
{
	return (size_t)(object->name - object->key) + strlen(object->name);
}

const char *bn_object_describe(const struct bn_object *object, char *buf, size_t size)
{
	snprintf(buf, size, "%s %s%s%s", bn_kinds[object->kind].singular, object->namespace,
		 *object->namespace ? "/" : "", object->name);
	return buf;
}
