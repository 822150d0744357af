// SPDX-License-Identifier: Apache-2.0
/*
 * What the API server fills in: IP families, cluster IPs, node ports. It is filled in only after
 * everything that a transaction names has been claimed, so an allotment never takes an address
 * that a later document of the same file asks for.
 *
 * As in Kubernetes the lower part of a range is allotted last, to leave it to those who choose
 * addresses by hand; a cursor keeps an address that was just given back from being used at once.
 */
#include "state.h"

#include <bpfnet/limits.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>

int bn_allot_open(struct bn_objects *objects)
{
	if (!objects->config.node_port_min) {
		objects->config.node_port_min = BN_NODE_PORT_FIRST;
		objects->config.node_port_max = BN_NODE_PORT_LAST;
	}
	objects->allotter.cursors =
		calloc(objects->config.n_service_cidrs + 1, sizeof(*objects->allotter.cursors));
	return objects->allotter.cursors ? 0 : -ENOMEM;
}

void bn_allot_close(struct bn_objects *objects)
{
	free(objects->allotter.cursors);
	objects->allotter.cursors = NULL;
}

/* ---- claims ---- */

static struct bn_claim *add_claim(struct bn_service_object *service, const union bn_addr *addr,
				  uint32_t port)
{
	struct bn_claim *claim;

	for (size_t i = 0; port && i < service->o.n_claims; i++) {
		if (service->o.claims[i].key.port == port)
			return NULL; /* the same node port for another protocol */
	}
	claim = &service->o.claims[service->o.n_claims++];
	if (addr)
		claim->key.addr = *addr;
	claim->key.port = port;
	return claim;
}

void bn_allot_prepare(struct bn_service_object *service)
{
	service->o.n_claims = 0;
	for (size_t i = 0; i < service->n_cluster_ips; i++)
		add_claim(service, &service->cluster_ips[i], 0);
	for (size_t i = 0; i < service->n_ports; i++) {
		if (service->ports[i].node_port)
			add_claim(service, NULL, service->ports[i].node_port);
	}
	if (service->health_port)
		add_claim(service, NULL, service->health_port);
}

static int claim_late(struct bn_objects *objects, struct bn_service_object *service,
		      const union bn_addr *addr, uint32_t port)
{
	struct bn_claim *claim = add_claim(service, addr, port);

	return claim ? bn_index_claim(objects, &service->o, claim) : 0;
}

/* ---- updates ---- */

static bool has_node_ports(const struct bn_service_object *service)
{
	return service->type == BN_TYPE_NODE_PORT ||
	       (service->type == BN_TYPE_LOAD_BALANCER && !service->no_node_ports);
}

static bool uses_node_port(const struct bn_service_object *service, uint16_t node_port)
{
	for (size_t i = 0; i < service->n_ports; i++) {
		if (service->ports[i].node_port == node_port)
			return true;
	}
	return service->health_port == node_port;
}

static void keep_node_ports(struct bn_service_object *service, const struct bn_service_object *old)
{
	if (!service->health_port && service->external_local &&
	    service->type == BN_TYPE_LOAD_BALANCER)
		service->health_port = old->health_port;
	if (!has_node_ports(service))
		return;
	for (size_t i = 0; i < service->n_ports; i++) {
		struct bn_service_port *port = &service->ports[i];

		for (size_t k = 0; k < old->n_ports && !port->node_port; k++) {
			const struct bn_service_port *was = &old->ports[k];

			if (was->node_port && was->port == port->port &&
			    was->protocol == port->protocol &&
			    !uses_node_port(service, was->node_port))
				port->node_port = was->node_port;
		}
	}
}

static int check_port(const struct bn_objects *objects, const struct bn_field *field, uint16_t port,
		      const struct bn_service_object *old)
{
	unsigned min = objects->config.node_port_min, max = objects->config.node_port_max;

	if (!port || (port >= min && port <= max) || (old && uses_node_port(old, port)))
		return 0;
	return bn_field_fail(field, "must be %u to %u, not %u", min, max, port);
}

int bn_allot_check_ports(const struct bn_objects *objects, const struct bn_field *root,
			 const struct bn_service_object *service,
			 const struct bn_service_object *old)
{
	struct bn_field spec = bn_field_get(root, "spec");
	struct bn_field ports = bn_field_get(&spec, "ports");
	struct bn_field health = bn_field_get(&spec, "healthCheckNodePort");

	for (size_t i = 0; i < service->n_ports; i++) {
		struct bn_field item = bn_field_item(&ports, i);
		struct bn_field port = bn_field_get(&item, "nodePort");

		if (check_port(objects, &port, service->ports[i].node_port, old) < 0)
			return -EINVAL;
	}
	return check_port(objects, &health, service->health_port, old);
}

static int refuse_change(const struct bn_field *spec, size_t i, const char *to,
			 const struct bn_service_object *old)
{
	struct bn_field list = bn_field_get(spec, "clusterIPs");
	struct bn_field item = list.value ? bn_field_item(&list, i)
					  : bn_field_get(spec, "clusterIP");
	char from[BN_ADDR_STRLEN] = "None";

	if (!old->headless)
		bn_addr_format(&old->cluster_ips[i], from);
	return bn_field_fail(
		&item, "is immutable, it can't change from %s to %s; delete the Service first",
		from, to);
}

int bn_allot_update(const struct bn_field *root, struct bn_service_object *service,
		    const struct bn_service_object *old)
{
	struct bn_field spec = bn_field_get(root, "spec");
	struct bn_field families = bn_field_get(&spec, "ipFamilies");
	char to[BN_ADDR_STRLEN];

	keep_node_ports(service, old);
	if (service->type == BN_TYPE_EXTERNAL_NAME || old->type == BN_TYPE_EXTERNAL_NAME)
		return 0;
	if (service->headless && !old->headless)
		return refuse_change(&spec, 0, "None", old);
	for (size_t i = 0; i < service->n_given_ips; i++) {
		if (i >= old->n_cluster_ips && !old->headless)
			continue; /* a second family is added */
		if (old->headless || !bn_addr_equal(&service->cluster_ips[i], &old->cluster_ips[i]))
			return refuse_change(&spec, i, bn_addr_format(&service->cluster_ips[i], to),
					     old);
	}
	if (service->n_families && service->families[0] != old->families[0])
		return bn_field_fail(&families,
				     "the first family is immutable, it can't change "
				     "from IPv%d to IPv%d; delete the Service first",
				     old->families[0], service->families[0]);
	service->headless = old->headless;
	if (service->policy == BN_FAMILY_UNSET)
		service->policy = old->policy;
	if (!service->n_families) {
		service->n_families = service->policy == BN_FAMILY_SINGLE ? 1 : old->n_families;
		memcpy(service->families, old->families, sizeof(old->families));
	}
	while (service->n_cluster_ips < old->n_cluster_ips &&
	       service->n_cluster_ips < (service->policy == BN_FAMILY_SINGLE ? 1 : 2)) {
		service->cluster_ips[service->n_cluster_ips] =
			old->cluster_ips[service->n_cluster_ips];
		service->n_cluster_ips++;
	}
	return 0;
}

/* ---- allotment ---- */

static bool has_cidr(const struct bn_objects *objects, uint8_t family)
{
	for (size_t i = 0; i < objects->config.n_service_cidrs; i++) {
		if (objects->config.service_cidrs[i].family == family)
			return true;
	}
	return false;
}

/* The nth address of a range. */
static union bn_addr nth(const struct bn_cidr *cidr, uint64_t n)
{
	union bn_addr addr = cidr->addr;

	for (int i = 15; n; i--, n >>= 8)
		addr.b[i] |= (uint8_t)n;
	return addr;
}

/* A free address among the host numbers first to last, beginning at `start`. */
static bool search(struct bn_objects *objects, const struct bn_cidr *cidr, uint64_t first,
		   uint64_t last, uint64_t start, uint64_t *ret)
{
	uint64_t n = start < first || start > last ? first : start;
	uint64_t tries = HASH_COUNT(objects->claims) + 1ULL;
	union bn_addr addr;

	if (tries > last - first + 1)
		tries = last - first + 1;
	for (; tries; tries--) {
		addr = nth(cidr, n);
		if (!bn_index_claimed(objects, &addr, 0)) {
			*ret = n;
			return true;
		}
		n = n == last ? first : n + 1;
	}
	return false;
}

static bool allot_from(struct bn_objects *objects, size_t i, union bn_addr *ret)
{
	const struct bn_cidr *cidr = &objects->config.service_cidrs[i];
	unsigned bits = (cidr->family == BN_IPV4 ? 32u : 128u) - cidr->prefix;
	uint64_t size = 1ULL << (bits < 62 ? bits : 62), first = 0, last = size - 1, band, n;

	if (size >= 4) { /* neither the network's own address nor the broadcast address */
		first++;
		last--;
	}
	band = size / 16 > 256 ? 256 : size / 16 < 16 ? 16 : size / 16;
	if (band > last - first)
		band = 0;
	if (!search(objects, cidr, first + band, last, objects->allotter.cursors[i], &n) &&
	    (!band || !search(objects, cidr, first, first + band - 1, first, &n)))
		return false;
	objects->allotter.cursors[i] = n + 1;
	*ret = nth(cidr, n);
	return true;
}

static int allot_address(struct bn_objects *objects, struct bn_service_object *service,
			 uint8_t family, const struct bn_document *document, struct bn_error *err)
{
	size_t i = service->n_cluster_ips;

	for (size_t k = 0; k < objects->config.n_service_cidrs; k++) {
		if (objects->config.service_cidrs[k].family != family ||
		    !allot_from(objects, k, &service->cluster_ips[i]))
			continue;
		service->n_cluster_ips++;
		return claim_late(objects, service, &service->cluster_ips[i], 0);
	}
	return bn_document_fail(
		document, err, has_cidr(objects, family) ? -ENOSPC : -EINVAL,
		has_cidr(objects, family)
			? "spec.clusterIPs: every IPv%d address of the service "
			  "CIDRs is taken, add a --service-cidr"
			: "spec.clusterIPs: there is no IPv%d service CIDR to allot "
			  "from, name an address or add a --service-cidr",
		family);
}

static int settle_families(struct bn_objects *objects, struct bn_service_object *service,
			   const struct bn_document *document, struct bn_error *err)
{
	uint8_t second;

	if (service->policy == BN_FAMILY_UNSET) {
		if (service->n_cluster_ips == 2 || service->n_families == 2 ||
		    (service->headless && !service->n_selector))
			service->policy = BN_FAMILY_REQUIRE_DUAL;
		else
			service->policy = BN_FAMILY_SINGLE;
	}
	if (!service->n_families) {
		service->n_families = 1;
		if (service->n_cluster_ips)
			service->families[0] = (uint8_t)bn_addr_family(&service->cluster_ips[0]);
		else if (objects->config.n_service_cidrs)
			service->families[0] = objects->config.service_cidrs[0].family;
		else
			service->families[0] = BN_IPV4;
	}
	if (service->policy == BN_FAMILY_SINGLE || service->n_families == 2)
		return 0;
	second = BN_IPV4 + BN_IPV6 - service->families[0];
	if (service->n_cluster_ips < 2 && !service->headless && !has_cidr(objects, second)) {
		if (service->policy == BN_FAMILY_PREFER_DUAL)
			return 0;
		return bn_document_fail(
			document, err, -EINVAL,
			"spec.ipFamilyPolicy: RequireDualStack needs a service CIDR "
			"of each family, add an IPv%d --service-cidr",
			second);
	}
	service->families[service->n_families++] = second;
	return 0;
}

/* A socket of the host's on a port is passed by: what is allotted has to work. */
static int allot_node_port(struct bn_objects *objects, uint8_t protocol, uint16_t *ret)
{
	unsigned first = objects->config.node_port_min, last = objects->config.node_port_max;
	unsigned n = last - first + 1, band = n / 32, at = objects->allotter.node_port;

	/* Kubernetes' band (KEP-3668) */
	band = band < 16 ? 16 : band > 128 ? 128 : band;
	if (at < first || at > last)
		at = first + (band < n ? band : 0);
	for (; n; n--, at++) {
		if (at > last)
			at = first;
		if (bn_index_claimed(objects, NULL, at) ||
		    !bn_conflict_node_port_free(objects, (uint16_t)at, protocol))
			continue;
		*ret = (uint16_t)at;
		objects->allotter.node_port = (uint16_t)(at + 1);
		return 0;
	}
	return -ENOSPC;
}

static int allot_node_ports(struct bn_objects *objects, struct bn_service_object *service,
			    const struct bn_document *document, struct bn_error *err)
{
	bool health = service->type == BN_TYPE_LOAD_BALANCER && service->external_local;
	int r = 0;

	for (size_t i = 0; r == 0 && i < service->n_ports && has_node_ports(service); i++) {
		if (service->ports[i].node_port)
			continue;
		r = allot_node_port(objects, service->ports[i].protocol,
				    &service->ports[i].node_port);
		if (r == 0)
			r = claim_late(objects, service, NULL, service->ports[i].node_port);
	}
	if (r == 0 && health && !service->health_port) {
		r = allot_node_port(objects, IPPROTO_TCP, &service->health_port);
		if (r == 0)
			r = claim_late(objects, service, NULL, service->health_port);
	}
	if (r == -ENOSPC)
		return bn_document_fail(
			document, err, r, "spec.ports: every node port from %u to %u is taken",
			objects->config.node_port_min, objects->config.node_port_max);
	return r;
}

/* An address of a family that the service has not would never answer. */
static int check_external(const struct bn_service_object *service,
			  const struct bn_document *document, struct bn_error *err)
{
	for (size_t i = 0; i < service->n_external_ips; i++) {
		int family = bn_addr_family(&service->external_ips[i]);

		if (family != service->families[0] &&
		    (service->n_families < 2 || family != service->families[1]))
			return bn_document_fail(document, err, -EINVAL,
						"spec.externalIPs[%zu]: is an IPv%d address, the "
						"Service has IPv%d alone; set spec.ipFamilyPolicy",
						i, family, service->families[0]);
	}
	return 0;
}

int bn_allot_service(struct bn_objects *objects, struct bn_service_object *service,
		     const struct bn_document *document, struct bn_error *err)
{
	int r;

	if (service->type == BN_TYPE_EXTERNAL_NAME)
		return 0;
	r = settle_families(objects, service, document, err);
	while (r == 0 && !service->headless && service->n_cluster_ips < service->n_families)
		r = allot_address(objects, service, service->families[service->n_cluster_ips],
				  document, err);
	if (r == 0)
		r = check_external(service, document, err);
	return r < 0 ? r : allot_node_ports(objects, service, document, err);
}

/* ---- the store's form ---- */

int bn_allot_format(const struct bn_service_object *service, char **ret)
{
	json_t *families = json_array(), *ips = json_array(), *ports = json_array(), *all;
	char buf[BN_ADDR_STRLEN];

	for (size_t i = 0; i < service->n_families; i++)
		json_array_append_new(families, json_integer(service->families[i]));
	for (size_t i = 0; i < service->n_cluster_ips; i++)
		json_array_append_new(ips,
				      json_string(bn_addr_format(&service->cluster_ips[i], buf)));
	for (size_t i = 0; i < service->n_ports; i++)
		json_array_append_new(ports, json_integer(service->ports[i].node_port));
	all = json_pack("{s:i, s:b, s:o, s:o, s:o, s:i}", "policy", service->policy, "headless",
			service->headless, "families", families, "clusterIPs", ips, "nodePorts",
			ports, "healthCheckNodePort", service->health_port);
	*ret = all ? json_dumps(all, JSON_COMPACT) : NULL;
	json_decref(all);
	return *ret ? 0 : -ENOMEM;
}

/* The database may have been edited: whatever does not fit is refused. */
int bn_allot_parse(struct bn_service_object *service, const char *text)
{
	json_t *all = json_loads(text, JSON_REJECT_DUPLICATES, NULL);
	json_t *families, *ips, *ports, *item;
	int policy, headless, health, r = -EINVAL;
	size_t i;

	if (json_unpack(all, "{s:i, s:b, s:o, s:o, s:o, s:i}", "policy", &policy, "headless",
			&headless, "families", &families, "clusterIPs", &ips, "nodePorts", &ports,
			"healthCheckNodePort", &health) < 0)
		goto out;
	if (policy < BN_FAMILY_UNSET || policy > BN_FAMILY_REQUIRE_DUAL || health < 0 ||
	    health > 65535 || json_array_size(families) > 2 || json_array_size(ips) > 2 ||
	    json_array_size(ports) != service->n_ports)
		goto out;
	service->policy = (uint8_t)policy;
	service->headless = headless;
	service->health_port = (uint16_t)health;
	service->n_families = service->n_cluster_ips = 0;
	json_array_foreach(families, i, item) {
		json_int_t family = json_integer_value(item);

		if (family != BN_IPV4 && family != BN_IPV6)
			goto out;
		service->families[service->n_families++] = (uint8_t)family;
	}
	json_array_foreach(ips, i, item) {
		if (!json_is_string(item) ||
		    bn_addr_parse(json_string_value(item), &service->cluster_ips[i], NULL) < 0)
			goto out;
		service->n_cluster_ips++;
	}
	json_array_foreach(ports, i, item) {
		json_int_t port = json_integer_value(item);

		if (port < 0 || port > 65535)
			goto out;
		service->ports[i].node_port = (uint16_t)port;
	}
	r = 0;
out:
	json_decref(all);
	return r;
}
