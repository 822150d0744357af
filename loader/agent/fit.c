// SPDX-License-Identifier: Apache-2.0
/*
 * What is stored and does not fit: at a start with smaller maps than before, when refusing the
 * change is no longer possible. Then everything that fits comes into force, what stood in the maps
 * first, then in the order of the store; the rest is remembered with the reason, degrades the node,
 * and is tried again whenever something may have made room.
 *
 * A change of a service that is left out is not refused for what it does not fit: it is stored, as
 * it was before, and stays left out. All else is refused as ever.
 */
#include "agent/agent.h"
#include "log.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define HASH_NONFATAL_OOM 1
#include <uthash.h>

struct left_service {
	char *key; /* namespace/name */
	char *reason;
	UT_hash_handle hh;
};

struct left_peer {
	struct bn_peer_spec spec;
	UT_hash_handle hh;
};

struct bn_agent_fit {
	struct left_service *services; /* in the order in which they were left out */
	struct left_peer *peers;
	sd_event_source *again;
};

static struct left_service *find(const struct bn_agent *a, const char *namespace, const char *name)
{
	struct left_service *l = NULL;
	char key[600];

	snprintf(key, sizeof(key), "%s/%s", namespace, name);
	if (a->fit)
		HASH_FIND_STR(a->fit->services, key, l);
	return l;
}

static void forget(struct bn_agent *a, struct left_service *l)
{
	if (!l)
		return;
	HASH_DEL(a->fit->services, l);
	free(l->key);
	free(l->reason);
	free(l);
}

static int leave_out(struct bn_agent *a, const struct bn_service_spec *spec,
		     const struct bn_error *why)
{
	struct left_service *l = find(a, spec->namespace, spec->name);
	char *reason = strdup(bn_error_text(why));

	if (!reason)
		return -ENOMEM;
	if (l) {
		free(l->reason);
		l->reason = reason;
		return 0;
	}
	l = calloc(1, sizeof(*l));
	if (!l || asprintf(&l->key, "%s/%s", spec->namespace, spec->name) < 0) {
		free(l);
		free(reason);
		return -ENOMEM;
	}
	l->reason = reason;
	HASH_ADD_KEYPTR(hh, a->fit->services, l->key, strlen(l->key), l);
	bn_log(BN_LOG_ERROR, "a service does not fit and is not in force", "service", l->key,
	       "error", reason, NULL);
	return 0;
}

/* One service alone: in force, left out, or a failure. */
static int try_service(struct bn_agent *a, const struct bn_service_spec *spec, struct bn_error *err)
{
	struct bn_error why = BN_ERROR_INIT;
	int r = bn_services_commit(a->services, spec, 1, NULL, 0, &why);

	if (!r)
		forget(a, find(a, spec->namespace, spec->name));
	else if (r == -ENOSPC)
		r = leave_out(a, spec, &why);
	else
		bn_error_set(err, r, "%s", bn_error_text(&why));
	bn_error_done(&why);
	return r;
}

static int start_services(struct bn_agent *a, const struct bn_change *c, struct bn_error *err)
{
	struct bn_error why = BN_ERROR_INIT;
	bool *stood;
	int r = bn_services_commit(a->services, c->services, c->n_services, NULL, 0, &why);

	if (r != -ENOSPC) {
		if (r)
			bn_error_set(err, r, "%s", bn_error_text(&why));
		bn_error_done(&why);
		return r;
	}
	bn_error_done(&why);
	stood = calloc(c->n_services, sizeof(*stood));
	if (!stood)
		return -ENOMEM;
	r = 0;
	for (size_t i = 0; i < c->n_services; i++)
		stood[i] = bn_services_stands(a->services, &c->services[i]);
	for (int first = 1; first >= 0; first--) {
		for (size_t i = 0; i < c->n_services && !r; i++) {
			if (stood[i] == first)
				r = try_service(a, &c->services[i], err);
		}
	}
	free(stood);
	return r;
}

int bn_agent_fit_services(struct bn_agent *a, const struct bn_change *c, struct bn_error *err)
{
	struct bn_service_spec *strict;
	size_t n = 0;
	int r;

	if (!a->filled && !c->n_removed)
		return start_services(a, c, err);
	if (!a->fit->services)
		return bn_services_commit(a->services, c->services, c->n_services, c->removed,
					  c->n_removed, err);
	strict = calloc(c->n_services + 1, sizeof(*strict));
	if (!strict)
		return -ENOMEM;
	for (size_t i = 0; i < c->n_services; i++) {
		if (!find(a, c->services[i].namespace, c->services[i].name))
			strict[n++] = c->services[i];
	}
	r = bn_services_commit(a->services, strict, n, c->removed, c->n_removed, err);
	free(strict);
	for (size_t i = 0; i < c->n_removed && !r; i++)
		forget(a, find(a, c->removed[i].namespace, c->removed[i].name));
	for (size_t i = 0; i < c->n_services && !r; i++) {
		if (find(a, c->services[i].namespace, c->services[i].name))
			r = try_service(a, &c->services[i], err);
	}
	return r;
}

static struct left_peer *find_peer(struct bn_agent *a, const union bn_addr *addr)
{
	struct left_peer *p = NULL;

	HASH_FIND(hh, a->fit->peers, addr, sizeof(*addr), p);
	return p;
}

static void forget_peer(struct bn_agent *a, struct left_peer *p)
{
	if (!p)
		return;
	HASH_DEL(a->fit->peers, p);
	free(p);
}

int bn_agent_fit_peers(struct bn_agent *a, const struct bn_peer_spec *peers, size_t n,
		       struct bn_error *err)
{
	struct bn_error why = BN_ERROR_INIT;
	int r = bn_addresses_peers(a->addresses, peers, n, NULL, 0, a->filled ? err : &why);

	for (size_t i = 0; i < n && !r && a->fit->peers; i++)
		forget_peer(a, find_peer(a, &peers[i].addr));
	if (r != -ENOSPC || a->filled) {
		if (r && !a->filled)
			bn_error_set(err, r, "%s", bn_error_text(&why));
		bn_error_done(&why);
		return r;
	}
	bn_error_done(&why);
	r = 0;
	for (int known = 1; known >= 0; known--) {
		for (size_t i = 0; i < n && !r; i++) {
			struct left_peer *p;

			/* what stood in the map takes no room that it has not got */
			if (bn_addresses_known(a->addresses, &peers[i].addr) != known)
				continue;
			r = bn_addresses_peers(a->addresses, &peers[i], 1, NULL, 0, NULL);
			if (r != -ENOSPC)
				continue;
			p = calloc(1, sizeof(*p));
			if (!p)
				return -ENOMEM;
			p->spec = peers[i];
			HASH_ADD(hh, a->fit->peers, spec.addr, sizeof(p->spec.addr), p);
			r = 0;
		}
	}
	return r ? bn_error_set(err, r, "can't write the addresses of pods and nodes: %s",
				strerror(-r))
		 : 0;
}

void bn_agent_fit_removed(struct bn_agent *a, const union bn_addr *removed, size_t n)
{
	for (size_t i = 0; i < n; i++)
		forget_peer(a, find_peer(a, &removed[i]));
}

static int try_again(void *user, const struct bn_service_spec *spec)
{
	struct bn_agent *a = user;
	const struct bn_change change = {.services = spec, .n_services = 1};
	struct bn_error err = BN_ERROR_INIT;
	int r = try_service(a, spec, &err);

	if (r)
		bn_log(BN_LOG_ERROR, "can't make a service that was left out", "error",
		       bn_error_text(&err), NULL);
	else if (!find(a, spec->namespace, spec->name))
		bn_agent_name_services(a, &change);
	bn_error_done(&err);
	return 0;
}

int bn_agent_fit_again(struct bn_agent *a)
{
	struct left_service *l, *tmp;
	struct left_peer *p, *ptmp;

	HASH_ITER(hh, a->fit->peers, p, ptmp) {
		p->spec.identity = bn_agent_policy_identity(a, &p->spec);
		if (bn_addresses_peers(a->addresses, &p->spec, 1, NULL, 0, NULL))
			break;
		forget_peer(a, p);
	}
	HASH_ITER(hh, a->fit->services, l, tmp) {
		char *namespace = strdup(l->key), *name = namespace ? strchr(namespace, '/') : NULL;

		if (!name)
			return -ENOMEM;
		*name++ = '\0';
		if (bn_objects_service(a->objects, namespace, name, try_again, a) == -ENOENT)
			forget(a, l);
		free(namespace);
	}
	return 0;
}

static int on_again(sd_event_source *source, void *user)
{
	sd_event_source_set_enabled(source, SD_EVENT_OFF);
	bn_agent_fit_again(user);
	return 0;
}

void bn_agent_fit_room(struct bn_agent *a)
{
	if (a->filled && (a->fit->services || a->fit->peers))
		sd_event_source_set_enabled(a->fit->again, SD_EVENT_ONESHOT);
}

const char *bn_agent_fit_reason(const struct bn_agent *a, const char *namespace, const char *name)
{
	const struct left_service *l = find(a, namespace, name);

	return l ? l->reason : NULL;
}

void bn_agent_fit_problems(const struct bn_agent *a, void (*fn)(void *user, json_t *text),
			   void *user)
{
	const struct left_service *l = a->fit->services;

	if (l)
		fn(user, json_sprintf("%u services do not fit and are not in force, the first is "
				      "%s: %s",
				      HASH_COUNT(l), l->key, l->reason));
	if (a->fit->peers)
		fn(user, json_sprintf("%u addresses of pods and nodes do not fit; raise "
				      "maps.addresses",
				      HASH_COUNT(a->fit->peers)));
}

int bn_agent_fit_start(struct bn_agent *a)
{
	int r;

	a->fit = calloc(1, sizeof(*a->fit));
	if (!a->fit)
		return -ENOMEM;
	r = sd_event_add_defer(a->event, &a->fit->again, on_again, a);
	return r < 0 ? r : sd_event_source_set_enabled(a->fit->again, SD_EVENT_OFF);
}

void bn_agent_fit_done(struct bn_agent *a)
{
	struct left_service *l, *tmp;
	struct left_peer *p, *ptmp;

	if (!a->fit)
		return;
	HASH_ITER(hh, a->fit->services, l, tmp)
		forget(a, l);
	HASH_ITER(hh, a->fit->peers, p, ptmp)
		forget_peer(a, p);
	sd_event_source_unref(a->fit->again);
	free(a->fit);
	a->fit = NULL;
}
