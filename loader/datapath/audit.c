// SPDX-License-Identifier: Apache-2.0
/* What every audited table has in common: one entry looked up, compared, mended, counted. */
#include "datapath/audit.h"

#include <bpf/bpf.h>
#include <errno.h>
#include <string.h>

#define VALUE_MAX 128

static void failed(struct bn_audit_count *c, int error)
{
	c->failed++;
	c->error = error;
}

bool bn_audit_entry(struct bn_audit_count *c, int fd, const void *key, const void *want,
		    uint32_t value_size)
{
	char is[VALUE_MAX];

	c->checked++;
	if (value_size > sizeof(is)) {
		c->wrong++;
		failed(c, -E2BIG);
		return false;
	}
	if (bpf_map_lookup_elem(fd, key, is) == 0) {
		if (!memcmp(is, want, value_size))
			return false;
		c->wrong++;
	} else if (errno == ENOENT) {
		c->missing++;
	} else {
		c->wrong++;
		failed(c, -errno);
		return false;
	}
	if (bpf_map_update_elem(fd, key, want, BPF_ANY))
		failed(c, -errno);
	return true;
}

void bn_audit_extra(struct bn_audit_count *c, int fd, const void *key)
{
	int r = bpf_map_delete_elem(fd, key) ? -errno : 0;

	if (r == -ENOENT) /* gone by itself meanwhile */
		return;
	c->extra++;
	if (r)
		failed(c, r);
}
