// SPDX-License-Identifier: Apache-2.0
/*
 * The audit of the services' maps, in the order of a commit: backends, the places that name them,
 * the frontends that name the places, then what nobody wants. Places and backends that no list
 * names are not looked at: nothing reads them.
 *
 * A list that is found wrong is mended where it stands. For a moment it is half of what it was and
 * half of what it should be; what it was is what nobody wants.
 */
#include "datapath/audit.h"
#include "datapath/buckets.h"
#include "datapath/services-mirror.h"

#include <errno.h>
#include <string.h>

struct auditing {
	struct bn_services *s;
	struct bn_audit_count *c;
};

static void audit_backend(void *user, void *entry)
{
	struct auditing *au = user;
	const struct backend *b = entry;
	struct bn_backend want;

	bn_mirror_backend_value(b, &want);
	bn_audit_entry(au->c, au->s->config.backends_fd, &b->index, &want, sizeof(want));
}

static void audit_places(void *user, void *entry)
{
	struct auditing *au = user;
	const struct frontend *f = entry;

	if (f->value.flags & BN_SERVICE_INLINE)
		return;
	for (uint32_t i = 0; i < bn_choice_places(&f->value); i++) {
		uint32_t at = f->value.first + i;
		struct bn_service_slot want;

		if (!f->backends[i])
			continue;
		bn_choice_slot(f->backends[i], &want);
		bn_audit_entry(au->c, au->s->config.slots_fd, &at, &want, sizeof(want));
	}
}

static void audit_wanted(struct auditing *au, const struct bn_service_key *key,
			 const struct bn_service *want)
{
	const struct bn_service *have = bn_frontends_get(&au->s->table, key);
	int r;

	au->c->checked++;
	if (have && !memcmp(have, want, sizeof(*want)))
		return;
	if (have)
		au->c->wrong++;
	else
		au->c->missing++;
	r = bn_frontends_set(&au->s->table, key, want);
	if (r) {
		au->c->failed++;
		au->c->error = r;
	}
}

static void audit_frontend(void *user, void *entry)
{
	const struct frontend *f = entry;

	audit_wanted(user, &f->key, &f->value);
}

static void audit_owned(void *user, void *entry)
{
	const struct address *a = entry;
	struct bn_service_key key = {0};
	struct bn_service want = {0};

	key.addr = a->addr;
	audit_wanted(user, &key, &want);
}

static int audit_unknown(void *user, const struct bn_service_key *k, const struct bn_service *v)
{
	struct auditing *au = user;
	struct address *a = NULL;

	if (!k->port && !k->protocol)
		HASH_FIND(hh, au->s->addresses, &k->addr, sizeof(k->addr), a);
	if (a || bn_mirror_frontend_find(au->s, k))
		return 0;
	au->c->extra++;
	return BN_FRONTENDS_DROP;
}

#define TABLE(head) ((head) ? (head)->hh.tbl : NULL)

static bool audit_slice(struct bn_services *s, struct bn_audit_report *report)
{
	enum {
		BACKENDS,
		PLACES,
		FRONTENDS,
		OWNED,
		UNKNOWN,
		END,
	};
	struct bn_audit_count *of = report->of;
	struct auditing backends = {s, &of[BN_AUDIT_BACKENDS]};
	struct auditing places = {s, &of[BN_AUDIT_SERVICE_SLOTS]};
	struct auditing services = {s, &of[BN_AUDIT_SERVICES]};
	uint32_t *bucket = &report->at.bucket;
	bool more = false;

	switch (report->at.phase) {
	case BACKENDS:
		more = bn_buckets_walk(TABLE(s->backends), bucket, BN_AUDIT_SLICE, audit_backend,
				       &backends);
		break;
	case PLACES:
		/* a frontend has ten places or so; one of many thousands is a slice of its own */
		more = bn_buckets_walk(TABLE(s->frontends), bucket, BN_AUDIT_SLICE / 16,
				       audit_places, &places);
		break;
	case FRONTENDS:
		more = bn_buckets_walk(TABLE(s->frontends), bucket, BN_AUDIT_SLICE, audit_frontend,
				       &services);
		break;
	case OWNED:
		more = bn_buckets_walk(TABLE(s->addresses), bucket, BN_AUDIT_SLICE, audit_owned,
				       &services);
		break;
	case UNKNOWN:
		bn_frontends_walk(&s->table, bucket, BN_AUDIT_SLICE, audit_unknown, &services);
		more = *bucket < s->table.groups;
		break;
	}
	if (!more && ++report->at.phase == END) {
		memset(&report->at, 0, sizeof(report->at));
		return false;
	}
	return true;
}

bool bn_services_audit(struct bn_services *s, struct bn_audit_report *report)
{
	bool more;

	if (bn_frontends_hold(&s->table)) {
		/* out of memory: the next audit may have better luck */
		memset(&report->at, 0, sizeof(report->at));
		return false;
	}
	more = audit_slice(s, report);
	bn_frontends_release(&s->table);
	return more;
}
