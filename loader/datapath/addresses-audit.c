// SPDX-License-Identifier: Apache-2.0
/*
 * The audit of addresses and their neighbours. What was mended is news to every flow that was
 * decided by what stood there meanwhile, so the node's epoch follows each slice that mended.
 */
#include "datapath/addresses-mirror.h"
#include "datapath/buckets.h"

#include <bpf/bpf.h>
#include <errno.h>
#include <string.h>

struct auditing {
	struct bn_addresses *a;
	struct bn_audit_count *c;
};

static void audit_node(struct bn_addresses *a, struct bn_audit_count *c)
{
	struct bn_node node;
	uint32_t zero = 0;

	if (!a->node_known)
		return;
	c->checked++;
	if (bpf_map_lookup_elem(a->config.node_fd, &zero, &node)) {
		c->wrong++;
		c->failed++;
		c->error = -errno;
		return;
	}
	if (bn_addr_equal(&node.v4, &a->node4) && bn_addr_equal(&node.v6, &a->node6))
		return;
	c->wrong++;
	node.v4 = a->node4;
	node.v6 = a->node6;
	if (bpf_map_update_elem(a->config.node_fd, &zero, &node, BPF_ANY)) {
		c->failed++;
		c->error = -errno;
	}
}

static void audit_address(void *user, void *entry)
{
	struct auditing *au = user;
	struct entry *e = entry;
	const struct bn_address *want = bn_mirror_effective(e);

	if (!want)
		return;
	if (bn_audit_entry(au->c, au->a->config.addresses_fd, &e->addr, want, sizeof(*want))) {
		e->value = *want;
		e->known = 1;
	}
}

static int audit_unknown(void *user, const void *key, const void *value)
{
	struct auditing *au = user;
	struct entry *e;

	HASH_FIND(hh, au->a->entries, key, sizeof(union bn_addr), e);
	if (!e)
		bn_audit_extra(au->c, au->a->config.addresses_fd, key);
	return 0;
}

bool bn_addresses_audit(struct bn_addresses *a, struct bn_audit_report *report)
{
	enum {
		NODE,
		RANGES,
		DEVICES,
		ENDPOINTS,
		WANTED,
		UNKNOWN,
		END,
	};
	struct auditing au = {a, &report->of[BN_AUDIT_ADDRESSES]};
	uint64_t before = 0, after = 0;
	bool more = false;
	int r;

	for (int i = 0; i < BN_AUDIT_MAX; i++)
		before += bn_audit_repairs(&report->of[i]);
	switch (report->at.phase) {
	case NODE:
		audit_node(a, &report->of[BN_AUDIT_NODE]);
		break;
	case RANGES:
		bn_wanted_audit(&a->ranges, &report->of[BN_AUDIT_RANGES]);
		break;
	case DEVICES:
		bn_wanted_audit(&a->devices, &report->of[BN_AUDIT_DEVICES]);
		break;
	case ENDPOINTS:
		/* before the addresses that lead to them */
		bn_wanted_audit(&a->endpoints, &report->of[BN_AUDIT_ENDPOINTS]);
		break;
	case WANTED:
		more = bn_buckets_walk(a->entries ? a->entries->hh.tbl : NULL, &report->at.bucket,
				       BN_AUDIT_SLICE, audit_address, &au);
		break;
	case UNKNOWN:
		r = bn_map_walk(a->config.addresses_fd, &report->at.map, BN_AUDIT_SLICE, &more,
				audit_unknown, &au);
		if (r)
			au.c->error = r;
		break;
	}
	for (int i = 0; i < BN_AUDIT_MAX; i++)
		after += bn_audit_repairs(&report->of[i]);
	if (after != before)
		bn_addresses_bump(a);
	if (!more && ++report->at.phase == END) {
		memset(&report->at, 0, sizeof(report->at));
		return false;
	}
	return true;
}
