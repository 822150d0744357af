// SPDX-License-Identifier: Apache-2.0
/* The node's own entry, the devices that lead out of it, and the CIDRs with a meaning. */
#include "datapath/addresses-mirror.h"

#include "address.h"

#include <bpf/bpf.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

int bn_addresses_node(struct bn_addresses *a, const union bn_addr *v4, const union bn_addr *v6,
		      struct bn_error *err)
{
	static const union bn_addr none;
	struct bn_node node;
	uint32_t zero = 0;

	if (bpf_map_lookup_elem(a->config.node_fd, &zero, &node))
		return bn_error_set(err, -errno, "can't read the node's entry: %m");
	a->node4 = v4 ? *v4 : none;
	a->node6 = v6 ? *v6 : none;
	a->node_known = true;
	node.v4 = a->node4;
	node.v6 = a->node6;
	if (bpf_map_update_elem(a->config.node_fd, &zero, &node, BPF_ANY))
		return bn_error_set(err, -errno, "can't write the node's entry: %m");
	return 0;
}

int bn_addresses_host(struct bn_addresses *a, uint32_t ifindex, uint32_t peer_ifindex,
		      struct bn_error *err)
{
	struct bn_node node;
	uint32_t zero = 0;

	if (bpf_map_lookup_elem(a->config.node_fd, &zero, &node))
		return bn_error_set(err, -errno, "can't read the node's entry: %m");
	if (node.host_ifindex == ifindex && node.peer_ifindex == peer_ifindex)
		return 0;
	node.host_ifindex = ifindex;
	node.peer_ifindex = peer_ifindex;
	if (bpf_map_update_elem(a->config.node_fd, &zero, &node, BPF_ANY))
		return bn_error_set(err, -errno, "can't write the node's entry: %m");
	return 0;
}

int bn_addresses_device(struct bn_addresses *a, uint32_t ifindex, const struct bn_device *device,
			struct bn_error *err)
{
	int r = device ? bn_wanted_set(&a->devices, &ifindex, device)
		       : bn_wanted_remove(&a->devices, &ifindex);

	bn_addresses_bump(a);
	return r ? bn_error_set(err, r, "can't write the entry of device %u: %s", ifindex,
				strerror(-r))
		 : 0;
}

struct stale_ranges {
	struct bn_range_key *keys;
	size_t n;
};

static int collect_range(void *user, const void *key, const void *value)
{
	struct stale_ranges *s = user;
	struct bn_range_key *p = reallocarray(s->keys, s->n + 1, sizeof(*p));

	if (!p)
		return -ENOMEM;
	s->keys = p;
	memcpy(&s->keys[s->n++], key, sizeof(*p));
	return 0;
}

static void range_key(struct bn_range_key *ret, const struct bn_cidr *c)
{
	ret->prefixlen = c->prefix + (c->family == BN_IPV4 ? 96u : 0u);
	memcpy(ret->addr, &c->addr, sizeof(ret->addr));
}

int bn_addresses_ranges(struct bn_addresses *a, const struct bn_cidr *cidrs, const uint32_t *flags,
			size_t n, struct bn_error *err)
{
	struct stale_ranges old = {0};
	int r;

	if (n > a->config.max_ranges)
		return bn_error_set(err, -ENOSPC,
				    "%zu CIDRs do not fit, %u are the most; raise maps.ranges",
				    n - a->config.max_ranges, a->config.max_ranges);
	r = bn_map_each(a->config.ranges_fd, collect_range, &old);
	for (size_t i = 0; i < n && !r; i++) {
		struct bn_range value = {0};
		struct bn_range_key key;

		range_key(&key, &cidrs[i]);
		for (size_t k = 0; k < n; k++) {
			struct bn_range_key other;

			range_key(&other, &cidrs[k]);
			if (!memcmp(&key, &other, sizeof(key)))
				value.flags |= flags[k];
		}
		r = bn_wanted_set(&a->ranges, &key, &value);
	}
	for (size_t i = 0; i < old.n && !r; i++) {
		bool still = false;

		for (size_t k = 0; k < n && !still; k++) {
			struct bn_range_key key;

			range_key(&key, &cidrs[k]);
			still = !memcmp(&key, &old.keys[i], sizeof(key));
		}
		if (!still)
			r = bn_wanted_remove(&a->ranges, &old.keys[i]);
	}
	free(old.keys);
	bn_addresses_bump(a);
	return r ? bn_error_set(err, r, "can't write the CIDRs: %s", strerror(-r)) : 0;
}
