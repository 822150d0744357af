// SPDX-License-Identifier: Apache-2.0
/*
 * Identities and prefixes. An identity's text says what it stands for:
 *
 *   pod/NAMESPACE/KEY=VALUE,...;NAME:PROTOCOL=PORT,...;BLOCK,...     a pod's address
 *   node/KEY=VALUE,...;BLOCK,...                                     another node's
 *   world;BLOCK,...                                                  any other
 *
 * Labels and port names are those that policies mention, blocks those that have the address. A
 * prefix is one that a block or an exception names, or all of a family; the longest one around an
 * address tells which blocks have it.
 */
#include "policy/internal.h"

#include <bpfnet/limits.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int mention_add(struct mention **all, const char *text, bool *ret_new)
{
	struct mention *m = NULL;
	size_t n = strlen(text);

	HASH_FIND(hh, *all, text, n, m);
	if (m) {
		m->count++;
		return 0;
	}
	m = calloc(1, sizeof(*m) + n + 1);
	if (!m)
		return -ENOMEM;
	memcpy(m->text, text, n);
	m->count = 1;
	HASH_ADD(hh, *all, text[0], n, m);
	if (!m->hh.tbl) {
		free(m);
		return -ENOMEM;
	}
	*ret_new = true;
	return 0;
}

void mention_remove(struct mention **all, const char *text)
{
	struct mention *m = NULL;

	HASH_FIND(hh, *all, text, strlen(text), m);
	if (!m || --m->count)
		return;
	HASH_DEL(*all, m);
	free(m);
}

static bool mentioned(const struct mention *all, const char *text)
{
	struct mention *m = NULL;

	HASH_FIND(hh, all, text, strlen(text), m);
	return m;
}

const struct namespace *namespace_find(const struct bn_policy *p, const char *name)
{
	struct namespace *ns = NULL;

	HASH_FIND(hh, p->namespaces, name, strlen(name), ns);
	return ns;
}

/* ---- prefixes ---- */

static int compare_cidrs(const struct bn_cidr *a, const struct bn_cidr *b)
{
	int r = (int)a->family - b->family;

	if (!r)
		r = memcmp(&a->addr, &b->addr, sizeof(a->addr));
	return r ? r : (int)a->prefix - b->prefix;
}

/* That a block names a prefix, as its own or as an exception. */
struct naming {
	struct bn_cidr cidr;
	struct peers *block; /* NULL: a whole family */
	bool except;
};

static int compare_namings(const void *x, const void *y)
{
	return compare_cidrs(&((const struct naming *)x)->cidr, &((const struct naming *)y)->cidr);
}

static int compare_texts(const void *x, const void *y)
{
	return strcmp(*(const char *const *)x, *(const char *const *)y);
}

static size_t count_namings(const struct bn_policy *p)
{
	size_t n = 2;

	for (const struct peers *s = p->peers; s; s = s->hh.next)
		n += s->block ? 1 + s->n_except : 0;
	return n;
}

static size_t collect_namings(const struct bn_policy *p, struct naming *list)
{
	size_t n = 0;

	list[n++] = (struct naming){.cidr = {.addr = bn_addr_any4, .family = BN_IPV4}};
	list[n++] = (struct naming){.cidr = {.addr = bn_addr_any6, .family = BN_IPV6}};
	for (struct peers *s = p->peers; s; s = s->hh.next) {
		if (!s->block)
			continue;
		list[n++] = (struct naming){.cidr = s->cidr, .block = s};
		for (size_t i = 0; i < s->n_except; i++)
			list[n++] = (struct naming){s->except[i], s, true};
	}
	qsort(list, n, sizeof(*list), compare_namings);
	return n;
}

static bool is_exception(const struct naming *list, size_t n, const char *block)
{
	for (size_t i = 0; i < n; i++) {
		if (list[i].except && !strcmp(list[i].block->text, block))
			return true;
	}
	return false;
}

/* Who is in a prefix: whoever is in the one around it, but for exceptions, and who begins here. */
static int members(struct prefixes *all, struct prefix *prefix, const struct prefix *up,
		   const struct naming *list, size_t n)
{
	size_t room = n + (up ? up->n_in : 0);

	prefix->in = bn_arena_alloc(&all->arena, room, sizeof(*prefix->in));
	if (!prefix->in)
		return -ENOMEM;
	for (size_t i = 0; up && i < up->n_in; i++) {
		if (!is_exception(list, n, up->in[i]))
			prefix->in[prefix->n_in++] = up->in[i];
	}
	for (size_t i = 0; i < n; i++) {
		const char *text;

		if (!list[i].block || list[i].except)
			continue;
		text = bn_arena_strdup(&all->arena, list[i].block->text);
		if (!text)
			return -ENOMEM;
		prefix->in[prefix->n_in++] = text;
	}
	qsort(prefix->in, prefix->n_in, sizeof(*prefix->in), compare_texts);
	return 0;
}

/* ---- identities ---- */

static int remember_fresh(struct bn_policy *p, uint32_t number)
{
	if (p->n_fresh == p->room_fresh) {
		size_t room = p->room_fresh ? 2 * p->room_fresh : 64;
		uint32_t *fresh = reallocarray(p->fresh, room, sizeof(*fresh));

		if (!fresh)
			return -ENOMEM;
		p->fresh = fresh;
		p->room_fresh = room;
	}
	p->fresh[p->n_fresh++] = number;
	return 0;
}

static void identity_free(struct identity *i)
{
	if (!i)
		return;
	bn_arena_done(&i->arena);
	free(i);
}

/* Looks at what is asked for by its text; makes it of `i`, which is the caller's no more. */
static int intern(struct bn_policy *p, struct identity *i, const char *text, uint32_t *ret,
		  struct bn_error *err)
{
	bool fresh, changed;
	uint32_t number;
	int r;

	r = bn_registry_get(p->identity_numbers, text, &number, &fresh, err);
	if (r || p->identities[number]) {
		identity_free(i);
		*ret = number;
		return r;
	}
	i->number = number;
	i->fresh = true;
	p->identities[number] = i;
	if (number >= p->n_identities)
		p->n_identities = number + 1;
	r = remember_fresh(p, number);
	for (struct peers *s = p->peers; s && !r; s = s->hh.next)
		r = peers_look(p, s, i, &changed);
	if (r) {
		identity_put(p, number);
		return r;
	}
	*ret = number;
	return 0;
}

void identity_put(struct bn_policy *p, uint32_t number)
{
	struct identity *i = number < BN_IDENTITY_FIRST ? NULL : p->identities[number];

	if (!i || !bn_registry_put(p->identity_numbers, number))
		return;
	peers_forget(p, number);
	p->identities[number] = NULL;
	identity_free(i);
}

static int put_blocks(struct identity *i, const struct prefix *prefix, FILE *f)
{
	size_t n = prefix ? prefix->n_in : 0;

	i->blocks = bn_arena_alloc(&i->arena, n, sizeof(*i->blocks));
	if (!i->blocks)
		return -ENOMEM;
	fputc(';', f);
	for (size_t k = 0; k < n; k++) {
		i->blocks[k] = bn_arena_strdup(&i->arena, prefix->in[k]);
		if (!i->blocks[k])
			return -ENOMEM;
		fprintf(f, "%s%s", k ? "," : "", i->blocks[k]);
	}
	i->n_blocks = n;
	return 0;
}

static int compare_labels(const void *x, const void *y)
{
	return strcmp(((const struct bn_label *)x)->key, ((const struct bn_label *)y)->key);
}

static int put_labels(const struct bn_policy *p, struct identity *i, const struct bn_label *labels,
		      size_t n, FILE *f)
{
	i->labels = bn_arena_alloc(&i->arena, n, sizeof(*i->labels));
	if (!i->labels)
		return -ENOMEM;
	for (size_t k = 0; k < n; k++) {
		struct bn_label *l = &i->labels[i->n_labels];

		if (!mentioned(p->keys, labels[k].key))
			continue;
		l->key = bn_arena_strdup(&i->arena, labels[k].key);
		l->value = bn_arena_strdup(&i->arena, labels[k].value);
		if (!l->key || !l->value)
			return -ENOMEM;
		i->n_labels++;
	}
	qsort(i->labels, i->n_labels, sizeof(*i->labels), compare_labels);
	for (size_t k = 0; k < i->n_labels; k++)
		fprintf(f, "%s%s=%s", k ? "," : "", i->labels[k].key, i->labels[k].value);
	return 0;
}

static int compare_ports(const void *x, const void *y)
{
	const struct bn_pod_port *a = x, *b = y;
	int r = strcmp(a->name, b->name);

	if (!r)
		r = (int)a->protocol - b->protocol;
	return r ? r : (int)a->port - b->port;
}

static int put_ports(const struct bn_policy *p, struct identity *i, const struct pod_state *state,
		     FILE *f)
{
	i->ports = bn_arena_alloc(&i->arena, state->n_ports, sizeof(*i->ports));
	if (!i->ports)
		return -ENOMEM;
	for (size_t k = 0; k < state->n_ports; k++) {
		struct bn_pod_port *port = &i->ports[i->n_ports];

		if (!mentioned(p->port_names, state->ports[k].name))
			continue;
		*port = state->ports[k];
		port->name = bn_arena_strdup(&i->arena, port->name);
		if (!port->name)
			return -ENOMEM;
		i->n_ports++;
	}
	qsort(i->ports, i->n_ports, sizeof(*i->ports), compare_ports);
	fputc(';', f);
	for (size_t k = 0; k < i->n_ports; k++)
		fprintf(f, "%s%s:%u=%u", k ? "," : "", i->ports[k].name, i->ports[k].protocol,
			i->ports[k].port);
	return 0;
}

const struct prefix *prefix_of(const struct bn_policy *p, const union bn_addr *addr)
{
	const struct prefixes *all = p->prefixes_staged ? &p->next_prefixes : &p->prefixes;
	struct bn_cidr key = {.addr = *addr, .family = (uint8_t)bn_addr_family(addr)};
	size_t low = 0, high = all->n, at;

	key.prefix = key.family == BN_IPV4 ? 32 : 128;
	while (low < high) {
		size_t mid = (low + high) / 2;

		if (compare_cidrs(&all->list[mid].cidr, &key) <= 0)
			low = mid + 1;
		else
			high = mid;
	}
	if (!low)
		return NULL;
	for (at = low - 1; !bn_cidr_contains(&all->list[at].cidr, addr); at = all->list[at].up) {
		if (all->list[at].up == at)
			return NULL;
	}
	return &all->list[at];
}

int identity_of_pod(struct bn_policy *p, const struct pod *pod, const struct pod_state *state,
		    const union bn_addr *addr, uint32_t *ret, struct bn_error *err)
{
	struct identity *i = calloc(1, sizeof(*i));
	char *text = NULL;
	size_t size;
	FILE *f = open_memstream(&text, &size);
	int r = i && f ? 0 : -ENOMEM;

	if (!r) {
		i->pod = true;
		i->namespace = bn_arena_strdup(&i->arena, pod->namespace);
		fprintf(f, "pod/%s/", pod->namespace);
		r = i->namespace ? put_labels(p, i, state->labels, state->n_labels, f) : -ENOMEM;
	}
	if (!r)
		r = put_ports(p, i, state, f);
	if (!r)
		r = put_blocks(i, prefix_of(p, addr), f);
	if (f && fclose(f) && !r)
		r = -ENOMEM;
	if (r)
		identity_free(i);
	else
		r = intern(p, i, text, ret, err);
	free(text);
	return r;
}

static int put_node(const struct bn_policy *p, struct identity *i, const struct node_address *node,
		    FILE *f)
{
	i->node = true;
	fputs("node/", f);
	return node->staged ? put_labels(p, i, node->next_labels, node->n_next_labels, f)
			    : put_labels(p, i, node->labels, node->n_labels, f);
}

/*
 * An address that is no pod's: a node's, or with NULL the world's. By its blocks, and nodes' labels
 * where policies know nodes; where there is nothing of either by what it is.
 */
static int identity_of_address(struct bn_policy *p, const struct node_address *node,
			       const struct prefix *prefix, uint32_t *ret, struct bn_error *err)
{
	struct identity *i;
	char *text = NULL;
	size_t size;
	FILE *f;
	int r;

	*ret = node ? BN_IDENTITY_REMOTE_NODE : BN_IDENTITY_WORLD;
	if ((!prefix || !prefix->n_in) && (!node || !p->n_node_peers))
		return 0;
	i = calloc(1, sizeof(*i));
	f = open_memstream(&text, &size);
	r = i && f ? 0 : -ENOMEM;
	if (!r && node)
		r = put_node(p, i, node, f);
	else if (!r)
		fputs("world", f);
	if (!r)
		r = put_blocks(i, prefix, f);
	if (f && fclose(f) && !r)
		r = -ENOMEM;
	if (r)
		identity_free(i);
	else
		r = intern(p, i, text, ret, err);
	free(text);
	return r;
}

int identity_of_node(struct bn_policy *p, const struct node_address *node, uint32_t *ret,
		     struct bn_error *err)
{
	return identity_of_address(p, node, prefix_of(p, &node->addr), ret, err);
}

/* ---- prefixes, made ---- */

int prefixes_build(struct bn_policy *p, struct prefixes *ret, struct bn_error *err)
{
	size_t n = count_namings(p), at = 0;
	struct naming *list = calloc(n, sizeof(*list));
	int r = 0;

	memset(ret, 0, sizeof(*ret));
	ret->list = calloc(n, sizeof(*ret->list));
	if (!list || !ret->list) {
		free(list);
		return -ENOMEM;
	}
	n = collect_namings(p, list);
	for (size_t i = 0; i < n && !r; i = at) {
		struct prefix *prefix = &ret->list[ret->n], *up = NULL;
		size_t around = ret->n;

		for (at = i + 1; at < n && !compare_cidrs(&list[at].cidr, &list[i].cidr); at++)
			;
		prefix->cidr = list[i].cidr;
		/* sorted like this, the one around is the last or is around that */
		if (ret->n) {
			around = ret->n - 1;
			while (!bn_cidr_contains(&ret->list[around].cidr, &prefix->cidr.addr) &&
			       ret->list[around].up != around)
				around = ret->list[around].up;
			if (ret->list[around].cidr.family == prefix->cidr.family)
				up = &ret->list[around];
			else
				around = ret->n;
		}
		prefix->up = around;
		r = members(ret, prefix, up, &list[i], at - i);
		if (!r)
			r = identity_of_address(p, NULL, prefix, &prefix->identity, err);
		ret->n += !r;
	}
	free(list);
	if (r)
		prefixes_done(p, ret);
	return r;
}

const struct bn_cidr *prefixes_next(const struct prefixes *from, const struct prefixes *but,
				    size_t *at, size_t *at_but)
{
	while (*at < from->n) {
		const struct bn_cidr *cidr = &from->list[(*at)++].cidr;

		while (*at_but < but->n && compare_cidrs(&but->list[*at_but].cidr, cidr) < 0)
			++*at_but;
		if (*at_but == but->n || compare_cidrs(&but->list[*at_but].cidr, cidr))
			return cidr;
	}
	return NULL;
}

int prefixes_fit(const struct bn_policy *p, const struct prefixes *next, struct bn_error *err)
{
	size_t n = next->n, at = 0, at_next = 0;

	while (prefixes_next(&p->prefixes, next, &at, &at_next))
		n++;
	if (n <= p->config.cidrs)
		return 0;
	return bn_error_set(err, -ENOSPC,
			    "policy needs %zu CIDRs more than fit beside those in force, %u are "
			    "the most; raise maps.policy-cidrs",
			    n - p->config.cidrs, p->config.cidrs);
}

void prefixes_done(struct bn_policy *p, struct prefixes *prefixes)
{
	for (size_t i = 0; i < prefixes->n; i++)
		identity_put(p, prefixes->list[i].identity);
	free(prefixes->list);
	bn_arena_done(&prefixes->arena);
	memset(prefixes, 0, sizeof(*prefixes));
}
