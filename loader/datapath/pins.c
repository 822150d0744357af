// SPDX-License-Identifier: Apache-2.0
#include "datapath/pins.h"

#include "datapath/flow-table.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <bpfnet/access.h>
#include <bpfnet/frontends.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static uint32_t or_default(uint32_t v, uint32_t fallback)
{
	return v ? v : fallback;
}

uint32_t bn_pins_size(const struct bn_sizes *s, enum bn_map_id id)
{
	switch (id) {
	case BN_MAP_bn_flows:
		return bn_flow_sets(or_default(s->flows, BN_DEFAULT_FLOWS));
	case BN_MAP_bn_services:
		return BN_SERVICE_GROUP *
		       bn_frontends_groups(or_default(s->services, BN_DEFAULT_SERVICES));
	case BN_MAP_bn_maglev:
		return or_default(s->maglev, BN_DEFAULT_MAGLEV);
	case BN_MAP_bn_affinity:
		return or_default(s->affinity, BN_DEFAULT_AFFINITY);
	case BN_MAP_bn_service_slots:
		return or_default(s->service_slots, BN_DEFAULT_SERVICE_SLOTS);
	case BN_MAP_bn_backends:
		return or_default(s->backends, BN_DEFAULT_BACKENDS);
	case BN_MAP_bn_addresses:
		return or_default(s->addresses, BN_DEFAULT_ADDRESSES);
	case BN_MAP_bn_ranges:
		return or_default(s->ranges, BN_DEFAULT_RANGES);
	case BN_MAP_bn_sources:
		return or_default(s->source_ranges, BN_DEFAULT_SOURCE_RANGES);
	case BN_MAP_bn_fragments:
		return or_default(s->fragments, BN_DEFAULT_FRAGMENTS);
	case BN_MAP_bn_sock_dgram:
		return or_default(s->datagram_peers, BN_DEFAULT_DATAGRAM_PEERS);
	case BN_MAP_bn_policy:
		return or_default(s->policy_tables, BN_DEFAULT_POLICY_TABLES);
	case BN_MAP_bn_policy_pages:
		return or_default(s->policy_pages, BN_DEFAULT_POLICY_PAGES);
	case BN_MAP_bn_policy_ports:
		return or_default(s->policy_lines, BN_DEFAULT_POLICY_LINES);
	case BN_MAP_bn_policy_hits:
		return or_default(s->policy_rules, BN_DEFAULT_POLICY_RULES);
	case BN_MAP_bn_policy_cidrs:
		return or_default(s->policy_cidrs, BN_DEFAULT_POLICY_CIDRS);
	case BN_MAP_bn_events:
		return or_default(s->event_bytes, BN_DEFAULT_EVENT_BYTES);
	default:
		return 0;
	}
}

int bn_pins_size_maps(struct bpf_object *obj, const struct bn_sizes *sizes, struct bn_error *err)
{
	for (int i = 0; i < BN_MAP_MAX; i++) {
		struct bpf_map *m = bpf_object__find_map_by_name(obj, bn_map_names[i]);
		uint32_t n = bn_pins_size(sizes, i);

		if (m && n && bpf_map__set_max_entries(m, n))
			return bn_error_set(err, -errno, "can't size the map %s to %u entries: %m",
					    bn_map_names[i], n);
	}
	return 0;
}

static bool same_shape(int fd, const struct bpf_map *m)
{
	struct bn_map_shape s;

	return bn_map_shape(fd, &s) == 0 && s.type == bpf_map__type(m) &&
	       s.key_size == bpf_map__key_size(m) && s.value_size == bpf_map__value_size(m) &&
	       s.max_entries == bpf_map__max_entries(m) && s.flags == bpf_map__map_flags(m);
}

static int pin_path(char *buf, size_t size, const char *bpffs, enum bn_map_id id)
{
	int n = snprintf(buf, size, "%s/maps/%s", bpffs, bn_map_names[id]);

	return n < 0 || (size_t)n >= size ? -ENAMETOOLONG : 0;
}

bool bn_pins_node(const char *bpffs, struct bn_node *ret)
{
	char path[4096];
	struct bn_map_shape shape;
	/* one of before its last member is shorter */
	struct bn_node node = {0};
	uint32_t zero = 0;
	bool ok;
	int fd;

	if (pin_path(path, sizeof(path), bpffs, BN_MAP_bn_node))
		return false;
	fd = bpf_obj_get(path);
	if (fd < 0)
		return false;
	ok = bn_map_shape(fd, &shape) == 0 && shape.value_size <= sizeof(node) &&
	     bpf_map_lookup_elem(fd, &zero, &node) == 0 && node.abi == BN_ABI_VERSION;
	close(fd);
	if (ok)
		*ret = node;
	return ok;
}

int bn_pins_folder(const char *bpffs, struct bn_error *err)
{
	char path[4096];

	snprintf(path, sizeof(path), "%s/maps", bpffs);
	if (mkdir(path, 0700) && errno != EEXIST)
		return bn_error_set(err, -errno, "can't make the folder %s: %m", path);
	return 0;
}

void bn_pins_none(struct bn_pins *ret)
{
	for (int i = 0; i < BN_MAP_MAX; i++) {
		ret->found[i] = -1;
		ret->fits[i] = false;
	}
}

int bn_pins_reuse(struct bn_pins *ret, struct bpf_object *obj, const char *bpffs, uint32_t hash,
		  struct bn_error *err)
{
	for (int i = 0; i < BN_MAP_MAX; i++) {
		struct bpf_map *m = bpf_object__find_map_by_name(obj, bn_map_names[i]);
		char path[4096];
		int r;

		if (!m)
			continue;
		r = pin_path(path, sizeof(path), bpffs, i);
		if (r)
			return bn_error_set(err, r, "the bpffs path '%s' is too long", bpffs);
		ret->found[i] = bpf_obj_get(path);
		if (ret->found[i] < 0)
			continue;
		ret->fits[i] = same_shape(ret->found[i], m) &&
			       (i != BN_MAP_bn_flows || hash == BN_HASH_VERSION);
		if (ret->fits[i] && bpf_map__reuse_fd(m, ret->found[i]))
			return bn_error_set(err, -errno, "can't take over the map %s: %m",
					    bn_map_names[i]);
	}
	return 0;
}

static bool same_entries(int fd, const struct bpf_map *m)
{
	struct bn_map_shape was;

	return bn_map_shape(fd, &was) == 0 && was.key_size == bpf_map__key_size(m) &&
	       was.value_size == bpf_map__value_size(m);
}

int bn_pins_flows(const struct bn_pins *pins, struct bpf_object *obj)
{
	const int fd = pins->found[BN_MAP_bn_flows];
	struct bpf_map *m = bpf_object__find_map_by_name(obj, bn_map_names[BN_MAP_bn_flows]);

	return fd >= 0 && m && !pins->fits[BN_MAP_bn_flows] && same_entries(fd, m) ? fd : -1;
}

int bn_pins_replace(const struct bn_pins *pins, struct bpf_object *obj, const char *bpffs,
		    struct bn_error *err)
{
	for (int i = 0; i < BN_MAP_MAX; i++) {
		struct bpf_map *m = bpf_object__find_map_by_name(obj, bn_map_names[i]);
		char path[4096], fresh[4096 + 8];
		int fd;

		if (!m || pins->fits[i])
			continue;
		fd = bpf_map__fd(m);
		pin_path(path, sizeof(path), bpffs, i);
		/* bpffs replaces by rename, so that a pin is there at every moment */
		snprintf(fresh, sizeof(fresh), "%s_new", path);
		unlink(fresh);
		if (bpf_obj_pin(fd, fresh) || rename(fresh, path)) {
			unlink(fresh);
			return bn_error_set(err, -errno, "can't pin the map %s at %s: %m",
					    bn_map_names[i], path);
		}
	}
	return 0;
}

void bn_pins_done(struct bn_pins *pins)
{
	for (int i = 0; i < BN_MAP_MAX; i++) {
		if (pins->found[i] >= 0)
			close(pins->found[i]);
	}
}

int bn_pins_remove(const char *bpffs, struct bn_error *err)
{
	char path[4096];

	for (int i = 0; i < BN_MAP_MAX; i++) {
		if (pin_path(path, sizeof(path), bpffs, i))
			return bn_error_set(err, -ENAMETOOLONG, "the bpffs path '%s' is too long",
					    bpffs);
		if (unlink(path) && errno != ENOENT)
			return bn_error_set(err, -errno, "can't remove the pin %s: %m", path);
	}
	snprintf(path, sizeof(path), "%s/maps", bpffs);
	if (rmdir(path) && errno != ENOENT)
		return bn_error_set(err, -errno, "can't remove the folder %s: %m", path);
	return 0;
}
