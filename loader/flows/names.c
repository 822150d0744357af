// SPDX-License-Identifier: Apache-2.0
/*
 * The registry of names. A cluster has a hundred thousand of them on a node that never speaks to
 * most, so a record is one allocation with its own text at its end; namespaces and label sets,
 * which many records share, are interned.
 *
 * Invariants:
 *  - `live` holds at most one record of a key, `gone` the chain of those that it had before,
 *    newest first; the chain's records are older than the live one.
 *  - `expiry` lists everything in `gone` in the order of its end, so the first to expire is always
 *    the oldest of its chain.
 *  - A record's fields never change while it is in a table or referenced; only its count does.
 *  - The interning pool outlives the registry while records point into it.
 */
#define HASH_NONFATAL_OOM 1
#include "flows/names.h"

#include "flows/pool.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>
#include <time.h>
#include <uthash.h>

enum name_space {
	SPACE_ADDRESS,
	SPACE_FRONTEND,
	SPACE_SERVICE_ID,
	SPACE_DEVICE,
	SPACE_RULE,
};

struct name_key {
	union bn_addr addr; /* of a service, a device or a rule: its number in w[0] */
	uint16_t port;
	uint8_t protocol;
	uint8_t space; /* enum name_space */
} __attribute__((packed, aligned(4)));
_Static_assert(sizeof(struct name_key) == 20, "hashed byte by byte: no padding");

struct bn_name {
	UT_hash_handle hh;
	struct name_key key;
	uint32_t refs;
	uint64_t since;
	struct bn_shared *namespace;
	struct bn_shared *extra; /* labels, or the name of a service's port */
	uint32_t identity;       /* of a rule: its index and one */
	uint8_t kind : 7;
	uint8_t local : 1;
	char text[];
};

struct gone {
	UT_hash_handle hh; /* under the record's key; the newest of its chain only */
	struct bn_name *name;
	uint64_t until;
	struct gone *older;
	struct gone *newer;
	TAILQ_ENTRY(gone) expiry;
};

struct bn_names {
	struct bn_name *live;
	struct gone *gone;
	TAILQ_HEAD(, gone) expiry;
	struct bn_pool *pool;
	uint64_t (*clock)(void);
	size_t n_addresses;
	size_t n_frontends;
};

static uint64_t clock_monotonic(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000 + (uint64_t)ts.tv_nsec;
}

int bn_names_new(uint64_t (*clock)(void), struct bn_names **ret)
{
	struct bn_names *names = calloc(1, sizeof(*names));
	struct bn_pool *pool = bn_pool_new();

	if (!names || !pool) {
		free(names);
		if (pool)
			bn_pool_unref(pool);
		return -ENOMEM;
	}
	names->pool = pool;
	names->clock = clock ? clock : clock_monotonic;
	TAILQ_INIT(&names->expiry);
	*ret = names;
	return 0;
}

/* Takes the oldest of its chain, which the first to expire always is. */
static void gone_free(struct bn_names *names, struct gone *g)
{
	TAILQ_REMOVE(&names->expiry, g, expiry);
	if (g->newer)
		g->newer->older = NULL;
	else
		HASH_DEL(names->gone, g);
	bn_name_unref(g->name);
	free(g);
}

void bn_names_free(struct bn_names *names)
{
	struct bn_name *name, *tmp;
	struct gone *g;

	if (!names)
		return;
	while ((g = TAILQ_FIRST(&names->expiry)))
		gone_free(names, g);
	HASH_ITER(hh, names->live, name, tmp) {
		HASH_DEL(names->live, name);
		bn_name_unref(name);
	}
	bn_pool_unref(names->pool);
	free(names);
}

static void prune(struct bn_names *names, uint64_t now)
{
	struct gone *g;

	while ((g = TAILQ_FIRST(&names->expiry)) && g->until + BN_NAMES_GRACE_NS < now)
		gone_free(names, g);
}

void bn_names_prune(struct bn_names *names)
{
	if (!TAILQ_EMPTY(&names->expiry))
		prune(names, names->clock());
}

static void count(struct bn_names *names, const struct name_key *key, int by)
{
	if (key->space == SPACE_ADDRESS)
		names->n_addresses += (size_t)by;
	else if (key->space == SPACE_FRONTEND)
		names->n_frontends += (size_t)by;
}

static struct bn_name *find(struct bn_names *names, const struct name_key *key)
{
	struct bn_name *name;

	HASH_FIND(hh, names->live, key, sizeof(struct name_key), name);
	return name;
}

/* Moves a live record to the chain of what its key meant before. */
static int retire(struct bn_names *names, struct bn_name *name, uint64_t now)
{
	struct gone *g = calloc(1, sizeof(*g));
	struct gone *older;

	if (!g)
		return -ENOMEM;
	g->name = name;
	g->until = now;
	HASH_FIND(hh, names->gone, &name->key, sizeof(struct name_key), older);
	/* The new one first: a table that becomes empty is freed and may not come back. */
	HASH_ADD_KEYPTR(hh, names->gone, &name->key, sizeof(struct name_key), g);
	if (!g->hh.tbl) {
		free(g);
		return -ENOMEM;
	}
	if (older) {
		HASH_DEL(names->gone, older);
		older->newer = g;
		g->older = older;
	}
	TAILQ_INSERT_TAIL(&names->expiry, g, expiry);
	HASH_DEL(names->live, name);
	count(names, &name->key, -1);
	return 0;
}

static bool same(const struct bn_name *a, const struct bn_name *b)
{
	/* shared strings are equal where their addresses are */
	return a->namespace == b->namespace && a->extra == b->extra && a->identity == b->identity &&
	       a->kind == b->kind && a->local == b->local && strcmp(a->text, b->text) == 0;
}

/* Takes `name`. */
static int publish(struct bn_names *names, struct bn_name *name)
{
	struct bn_name *old = find(names, &name->key);
	uint64_t now = names->clock();
	int r = 0;

	prune(names, now);
	if (old && same(old, name))
		goto drop;
	if (old) {
		r = retire(names, old, now);
		if (r < 0)
			goto drop;
	}
	name->since = now;
	HASH_ADD(hh, names->live, key, sizeof(struct name_key), name);
	if (!name->hh.tbl) {
		r = -ENOMEM;
		goto drop;
	}
	count(names, &name->key, 1);
	return 0;
drop:
	bn_name_unref(name);
	return r;
}

static struct bn_name *name_new(const struct name_key *key, enum bn_name_kind kind,
				uint32_t identity, const char *text)
{
	size_t len = strlen(text) + 1;
	/* not sizeof: the text begins in what would be padding */
	struct bn_name *name = malloc(offsetof(struct bn_name, text) + len);

	if (!name)
		return NULL;
	memset(name, 0, offsetof(struct bn_name, text));
	name->key = *key;
	name->refs = 1;
	name->kind = kind & 0x7f;
	name->identity = identity;
	memcpy(name->text, text, len);
	return name;
}

static int withdraw(struct bn_names *names, const struct name_key *key)
{
	struct bn_name *name = find(names, key);
	uint64_t now = names->clock();

	prune(names, now);
	return name ? retire(names, name, now) : -ENOENT;
}

/*
 * What the key meant at `time`. A time before everything known gets the oldest record: the
 * packets of a pod can be older than its name, after a start for example.
 */
static struct bn_name *resolve(struct bn_names *names, const struct name_key *key, uint64_t time)
{
	struct bn_name *name = find(names, key);
	struct bn_name *oldest = name;
	struct gone *g;

	if (name && name->since <= time)
		return bn_name_ref(name);
	HASH_FIND(hh, names->gone, key, sizeof(struct name_key), g);
	if (g && !name && time > g->until + BN_NAMES_GRACE_NS)
		return NULL;
	for (; g; g = g->older) {
		oldest = g->name;
		if (oldest->since <= time)
			break;
	}
	return oldest ? bn_name_ref(oldest) : NULL;
}

static struct name_key address_key(const union bn_addr *addr)
{
	return (struct name_key){.addr = *addr, .space = SPACE_ADDRESS};
}

static struct name_key frontend_key(const union bn_addr *addr, uint16_t port, uint8_t protocol)
{
	return (struct name_key){
		.addr = *addr, .port = port, .protocol = protocol, .space = SPACE_FRONTEND};
}

static struct name_key device_key(uint32_t ifindex)
{
	return (struct name_key){.addr.w[0] = ifindex, .space = SPACE_DEVICE};
}

static struct name_key service_id_key(uint32_t id)
{
	return (struct name_key){.addr.w[0] = id, .space = SPACE_SERVICE_ID};
}

static struct name_key rule_key(uint32_t number)
{
	return (struct name_key){.addr.w[0] = number, .space = SPACE_RULE};
}

static int end_set(struct bn_names *names, const struct name_key *key,
		   const struct bn_name_spec *spec)
{
	struct bn_name *name = name_new(key, spec->kind, spec->identity, spec->name);
	int r;

	if (!name)
		return -ENOMEM;
	name->local = spec->local;
	r = bn_pool_string(names->pool, spec->namespace, &name->namespace);
	if (r == 0)
		r = bn_pool_labels(names->pool, spec->labels, spec->n_labels, &name->extra);
	if (r < 0) {
		bn_name_unref(name);
		return r;
	}
	return publish(names, name);
}

int bn_names_set(struct bn_names *names, const union bn_addr *addr, const struct bn_name_spec *spec)
{
	struct name_key key = address_key(addr);

	return end_set(names, &key, spec);
}

int bn_names_remove(struct bn_names *names, const union bn_addr *addr)
{
	struct name_key key = address_key(addr);

	return withdraw(names, &key);
}

struct bn_name *bn_names_get(struct bn_names *names, const union bn_addr *addr, uint64_t time)
{
	struct name_key key = address_key(addr);

	return resolve(names, &key, time);
}

int bn_names_device_set(struct bn_names *names, uint32_t ifindex, const struct bn_name_spec *spec)
{
	struct name_key key = device_key(ifindex);

	return end_set(names, &key, spec);
}

int bn_names_device_remove(struct bn_names *names, uint32_t ifindex)
{
	struct name_key key = device_key(ifindex);

	return withdraw(names, &key);
}

struct bn_name *bn_names_device_get(struct bn_names *names, uint32_t ifindex, uint64_t time)
{
	struct name_key key = device_key(ifindex);

	return resolve(names, &key, time);
}

static int service_set(struct bn_names *names, const struct name_key *key, const char *namespace,
		       const char *text, const char *port_name)
{
	struct bn_name *name = name_new(key, BN_NAME_SERVICE, 0, text);
	int r;

	if (!name)
		return -ENOMEM;
	r = bn_pool_string(names->pool, namespace, &name->namespace);
	if (r == 0)
		r = bn_pool_string(names->pool, port_name, &name->extra);
	if (r < 0) {
		bn_name_unref(name);
		return r;
	}
	return publish(names, name);
}

int bn_names_service_set(struct bn_names *names, const union bn_addr *addr, uint16_t port,
			 uint8_t protocol, const char *namespace, const char *name,
			 const char *port_name)
{
	struct name_key key = frontend_key(addr, port, protocol);

	return service_set(names, &key, namespace, name, port_name);
}

int bn_names_service_remove(struct bn_names *names, const union bn_addr *addr, uint16_t port,
			    uint8_t protocol)
{
	struct name_key key = frontend_key(addr, port, protocol);

	return withdraw(names, &key);
}

struct bn_name *bn_names_service_get(struct bn_names *names, const union bn_addr *addr,
				     uint16_t port, uint8_t protocol, uint64_t time)
{
	struct name_key key = frontend_key(addr, port, protocol);

	return resolve(names, &key, time);
}

int bn_names_service_id_set(struct bn_names *names, uint32_t id, const char *namespace,
			    const char *name)
{
	struct name_key key = service_id_key(id);

	return service_set(names, &key, namespace, name, NULL);
}

int bn_names_service_id_remove(struct bn_names *names, uint32_t id)
{
	struct name_key key = service_id_key(id);

	return withdraw(names, &key);
}

struct bn_name *bn_names_service_id_get(struct bn_names *names, uint32_t id, uint64_t time)
{
	struct name_key key = service_id_key(id);

	return resolve(names, &key, time);
}

int bn_names_rule_set(struct bn_names *names, uint32_t number, const char *namespace,
		      const char *policy, int index, const char *rule)
{
	struct name_key key = rule_key(number);
	struct bn_name *name = name_new(&key, BN_NAME_RULE, (uint32_t)(index + 1), policy);
	int r;

	if (!name)
		return -ENOMEM;
	r = bn_pool_string(names->pool, namespace, &name->namespace);
	if (r == 0)
		r = bn_pool_string(names->pool, rule, &name->extra);
	if (r < 0) {
		bn_name_unref(name);
		return r;
	}
	return publish(names, name);
}

int bn_names_rule_remove(struct bn_names *names, uint32_t number)
{
	struct name_key key = rule_key(number);

	return withdraw(names, &key);
}

struct bn_name *bn_names_rule_get(struct bn_names *names, uint32_t number, uint64_t time)
{
	struct name_key key = rule_key(number);

	return resolve(names, &key, time);
}

void bn_names_stats(const struct bn_names *names, struct bn_names_stats *ret)
{
	*ret = (struct bn_names_stats){
		.addresses = names->n_addresses,
		.services = names->n_frontends,
	};
	for (struct gone *g = TAILQ_FIRST(&names->expiry); g; g = TAILQ_NEXT(g, expiry))
		ret->removed++;
}

struct bn_name *bn_name_ref(struct bn_name *name)
{
	if (name)
		name->refs++;
	return name;
}

void bn_name_unref(struct bn_name *name)
{
	if (!name || --name->refs)
		return;
	bn_shared_unref(name->namespace);
	bn_shared_unref(name->extra);
	free(name);
}

enum bn_name_kind bn_name_kind(const struct bn_name *name)
{
	return name->kind;
}

bool bn_name_is_local(const struct bn_name *name)
{
	return name->local;
}

uint32_t bn_name_identity(const struct bn_name *name)
{
	return name->identity;
}

const char *bn_name_namespace(const struct bn_name *name)
{
	return name->namespace ? name->namespace->text : NULL;
}

const char *bn_name_text(const struct bn_name *name)
{
	return name->text;
}

const char *bn_name_port_name(const struct bn_name *name)
{
	return name->kind == BN_NAME_SERVICE && name->extra ? name->extra->text : NULL;
}

int bn_name_rule_index(const struct bn_name *name)
{
	return (int)name->identity - 1;
}

const char *bn_name_rule_text(const struct bn_name *name)
{
	return name->kind == BN_NAME_RULE && name->extra ? name->extra->text : NULL;
}

const char *bn_name_label_next(const struct bn_name *name, const char *label)
{
	const struct bn_shared *labels =
		name->kind == BN_NAME_SERVICE || name->kind == BN_NAME_RULE ? NULL : name->extra;

	if (!labels)
		return NULL;
	if (!label)
		return labels->text;
	label += strlen(label) + 1;
	return label < labels->text + labels->len ? label : NULL;
}
