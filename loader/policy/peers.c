// SPDX-License-Identifier: Apache-2.0
/* Whom rules name. A set is looked at once for each identity that comes, not for each rule. */
#include "policy/internal.h"
#include "policy/selector.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int compare_cidrs(const void *x, const void *y)
{
	const struct bn_cidr *a = x, *b = y;
	int r = memcmp(&a->addr, &b->addr, sizeof(a->addr));

	return r ? r : (int)a->prefix - b->prefix;
}

/* Exceptions in order, each once; the text is what equal blocks share. */
static char *block_text(struct peers *s, const struct bn_policy_peer *spec)
{
	char buf[BN_CIDR_STRLEN];
	char *text = NULL;
	size_t size;
	FILE *f;

	s->cidr = spec->block;
	s->except = bn_arena_alloc(&s->arena, spec->n_except, sizeof(*s->except));
	if (!s->except)
		return NULL;
	if (spec->n_except)
		memcpy(s->except, spec->except, spec->n_except * sizeof(*s->except));
	qsort(s->except, spec->n_except, sizeof(*s->except), compare_cidrs);
	for (size_t i = 0; i < spec->n_except; i++) {
		if (!i || compare_cidrs(&s->except[i], &s->except[i - 1]))
			s->except[s->n_except++] = s->except[i];
	}
	f = open_memstream(&text, &size);
	if (!f)
		return NULL;
	fputs(bn_cidr_format(&s->cidr, buf), f);
	for (size_t i = 0; i < s->n_except; i++)
		fprintf(f, "!%s", bn_cidr_format(&s->except[i], buf));
	if (fclose(f)) {
		free(text);
		return NULL;
	}
	return text;
}

static char *nodes_text(const struct bn_policy_peer *spec)
{
	char *nodes = bn_selector_text(spec->nodes), *text = NULL;
	int n = nodes ? asprintf(&text, "nodes(%s)", nodes) : -1;

	free(nodes);
	return n < 0 ? NULL : text;
}

static char *pods_text(const char *namespace, const struct bn_policy_peer *spec)
{
	char *pods = spec->pods ? bn_selector_text(spec->pods) : strdup("");
	char *namespaces = spec->namespaces ? bn_selector_text(spec->namespaces) : NULL;
	char *text = NULL;
	int n = -1;

	if (pods && (namespaces || !spec->namespaces))
		n = spec->namespaces ? asprintf(&text, "pods(%s) namespaces(%s)", pods, namespaces)
				     : asprintf(&text, "pods(%s) in %s", pods, namespace);
	free(pods);
	free(namespaces);
	return n < 0 ? NULL : text;
}

static int fill(struct peers *s, const char *namespace, const struct bn_policy_peer *spec)
{
	int r = 0;

	s->block = spec->is_block;
	if (s->block)
		return 0;
	if (spec->nodes) {
		s->is_nodes = true;
		return bn_selector_copy(&s->arena, spec->nodes, &s->nodes);
	}
	if (spec->pods)
		r = bn_selector_copy(&s->arena, spec->pods, &s->pods);
	if (!r && spec->namespaces) {
		s->has_namespaces = true;
		r = bn_selector_copy(&s->arena, spec->namespaces, &s->namespaces);
	} else if (!r) {
		s->namespace = bn_arena_strdup(&s->arena, namespace);
		r = s->namespace ? 0 : -ENOMEM;
	}
	return r;
}

static void peers_free(struct peers *s)
{
	bn_arena_done(&s->arena);
	free(s->text);
	free(s->bits);
	free(s);
}

int peers_get(struct bn_policy *p, const char *namespace, const struct bn_policy_peer *spec,
	      struct peers **ret)
{
	struct peers *s = calloc(1, sizeof(*s)), *known = NULL;
	bool changed;
	int r;

	if (!s)
		return -ENOMEM;
	s->text = spec->is_block ? block_text(s, spec)
		  : spec->nodes  ? nodes_text(spec)
				 : pods_text(namespace, spec);
	if (!s->text) {
		peers_free(s);
		return -ENOMEM;
	}
	HASH_FIND_STR(p->peers, s->text, known);
	if (known) {
		peers_free(s);
		known->references++;
		*ret = known;
		return 0;
	}
	r = fill(s, namespace, spec);
	/* identities of blocks that are new come with the prefixes, those of pods are here */
	for (uint32_t i = 0; !r && !s->block && i < p->n_identities; i++) {
		if (p->identities[i])
			r = peers_look(p, s, p->identities[i], &changed);
	}
	if (!r) {
		HASH_ADD_KEYPTR(hh, p->peers, s->text, strlen(s->text), s);
		r = s->hh.tbl ? 0 : -ENOMEM;
	}
	if (r) {
		peers_free(s);
		return r;
	}
	s->fresh = true;
	s->references = 1;
	p->blocks_new |= s->block;
	if (s->is_nodes && !p->n_node_peers++)
		p->keys_new = true; /* nodes need identities of their own */
	*ret = s;
	return 0;
}

void peers_put(struct bn_policy *p, struct peers *s)
{
	if (!s || --s->references)
		return;
	p->blocks_gone |= s->block;
	p->n_node_peers -= s->is_nodes;
	HASH_DEL(p->peers, s);
	peers_free(s);
}

bool peers_have(const struct peers *s, uint32_t identity)
{
	return identity / 64 < s->words && s->bits[identity / 64] >> (identity % 64) & 1;
}

static int set_bit(struct peers *s, uint32_t identity, bool value)
{
	size_t words = identity / 64 + 1;
	uint64_t *bits;

	if (words > s->words) {
		if (!value)
			return 0;
		words = words < 2 * s->words ? 2 * s->words : words;
		bits = reallocarray(s->bits, words, sizeof(*bits));
		if (!bits)
			return -ENOMEM;
		memset(bits + s->words, 0, (words - s->words) * sizeof(*bits));
		s->bits = bits;
		s->words = words;
	}
	if (value)
		s->bits[identity / 64] |= 1ull << (identity % 64);
	else
		s->bits[identity / 64] &= ~(1ull << (identity % 64));
	return 0;
}

static int compare_texts(const void *key, const void *item)
{
	return strcmp(key, *(const char *const *)item);
}

bool namespace_matches(const struct bn_policy *p, const struct bn_selector *selector,
		       const char *name)
{
	const struct namespace *ns = namespace_find(p, name);

	if (!ns)
		return bn_selector_matches(selector, NULL, 0, name);
	return ns->staged ? bn_selector_matches(selector, ns->next_labels, ns->n_next_labels, name)
			  : bn_selector_matches(selector, ns->labels, ns->n_labels, name);
}

static bool means(const struct bn_policy *p, const struct peers *s, const struct identity *i)
{
	if (s->block)
		return bsearch(s->text, i->blocks, i->n_blocks, sizeof(*i->blocks), compare_texts);
	if (s->is_nodes)
		return i->node && bn_selector_matches(&s->nodes, i->labels, i->n_labels, NULL);
	if (!i->pod)
		return false;
	if (s->has_namespaces) {
		if (!namespace_matches(p, &s->namespaces, i->namespace))
			return false;
	} else if (strcmp(s->namespace, i->namespace)) {
		return false;
	}
	return bn_selector_matches(&s->pods, i->labels, i->n_labels, NULL);
}

int peers_look(struct bn_policy *p, struct peers *s, const struct identity *identity,
	       bool *ret_changed)
{
	bool now = means(p, s, identity);

	*ret_changed = now != peers_have(s, identity->number);
	return *ret_changed ? set_bit(s, identity->number, now) : 0;
}

void peers_forget(struct bn_policy *p, uint32_t identity)
{
	struct peers *s, *tmp;

	HASH_ITER(hh, p->peers, s, tmp)
		set_bit(s, identity, false);
}
