// SPDX-License-Identifier: Apache-2.0
/*
 * A size-class allocator over an array of places. Invariants: runs handed out never overlap; every
 * place below `top` is in exactly one run that is in use, free or kept back, except holes left by
 * a predecessor with other sizes, which are lost until the next cold start.
 */
#include "datapath/runs.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

void bn_runs_init(struct bn_runs *runs, uint32_t size)
{
	memset(runs, 0, sizeof(*runs));
	runs->size = size;
}

void bn_runs_done(struct bn_runs *runs)
{
	for (int c = 0; c < BN_RUN_CLASSES; c++) {
		free(runs->free[c].first);
		free(runs->kept[c].first);
	}
	memset(runs, 0, sizeof(*runs));
}

static int class_of(uint32_t n)
{
	int c = 0;

	while ((1u << c) < n)
		c++;
	return c;
}

uint32_t bn_run_capacity(uint32_t n)
{
	return n ? 1u << class_of(n) : 0;
}

static int list_push(struct bn_run_list *l, uint32_t first)
{
	if (l->n == l->cap) {
		size_t cap = l->cap ? l->cap * 2 : 16;
		uint32_t *p = reallocarray(l->first, cap, sizeof(*p));

		if (!p)
			return -ENOMEM;
		l->first = p;
		l->cap = cap;
	}
	l->first[l->n++] = first;
	return 0;
}

static int list_copy(struct bn_run_list *to, const struct bn_run_list *from)
{
	int r = 0;

	for (size_t i = 0; i < from->n && !r; i++)
		r = list_push(to, from->first[i]);
	return r;
}

int bn_runs_copy(struct bn_runs *to, const struct bn_runs *from)
{
	int r = 0;

	bn_runs_init(to, from->size);
	to->top = from->top;
	to->used = from->used;
	for (int c = 0; c < BN_RUN_CLASSES && !r; c++) {
		r = list_copy(&to->free[c], &from->free[c]);
		if (!r)
			r = list_copy(&to->kept[c], &from->kept[c]);
	}
	return r;
}

void bn_runs_grow(struct bn_runs *runs, uint32_t n)
{
	runs->size = runs->top + bn_run_capacity(n);
}

static int by_value(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return x < y ? -1 : x > y;
}

static void free_gap(struct bn_runs *runs, uint32_t from, uint32_t to)
{
	while (from < to) {
		int c = 0;

		while (c + 1 < BN_RUN_CLASSES && (2u << c) <= to - from)
			c++;
		list_push(&runs->free[c], from);
		from += 1u << c;
	}
}

/* Takes all runs off the lists, in their order. *ret is the caller's; NULL: no memory. */
static size_t list_take(struct bn_run_list lists[BN_RUN_CLASSES], uint64_t **ret)
{
	size_t n = 0, i = 0;

	for (int c = 0; c < BN_RUN_CLASSES; c++)
		n += lists[c].n;
	*ret = calloc(n ? n : 1, sizeof(**ret));
	if (!*ret)
		return 0;
	for (int c = 0; c < BN_RUN_CLASSES; c++) {
		for (size_t k = 0; k < lists[c].n; k++)
			(*ret)[i++] = (uint64_t)lists[c].first[k] << 8 | (unsigned)c;
		lists[c].n = 0;
	}
	qsort(*ret, n, sizeof(**ret), by_value);
	return n;
}

static uint32_t run_end(uint64_t run)
{
	return (uint32_t)(run >> 8) + (1u << (run & 0xff));
}

/* Free runs side by side become one, and what is behind all that is in use was never used. */
static void merge(struct bn_runs *runs)
{
	uint64_t *all;
	size_t n = list_take(runs->free, &all);

	for (size_t i = 0, k; i < n; i = k) {
		for (k = i + 1; k < n && (uint32_t)(all[k] >> 8) == run_end(all[k - 1]); k++)
			;
		if (run_end(all[k - 1]) == runs->top)
			runs->top = (uint32_t)(all[i] >> 8);
		else
			free_gap(runs, (uint32_t)(all[i] >> 8), run_end(all[k - 1]));
	}
	free(all);
}

static int take(struct bn_runs *runs, uint32_t n, uint32_t *ret_first)
{
	uint32_t capacity = bn_run_capacity(n);
	int c = class_of(n), d;

	if (c >= BN_RUN_CLASSES)
		return -ENOSPC;
	/* the smallest free one that holds it, so that what is in use stays together */
	for (d = c; d < BN_RUN_CLASSES && !runs->free[d].n; d++)
		;
	if (d < BN_RUN_CLASSES) {
		*ret_first = runs->free[d].first[--runs->free[d].n];
		while (d-- > c)
			list_push(&runs->free[d], *ret_first + (1u << d));
	} else if (capacity <= runs->size - runs->top) {
		*ret_first = runs->top;
		runs->top += capacity;
	} else {
		return -ENOSPC;
	}
	runs->used += capacity;
	return 0;
}

int bn_runs_take(struct bn_runs *runs, uint32_t n, uint32_t *ret_first)
{
	int r;

	if (!n) {
		*ret_first = 0;
		return 0;
	}
	r = take(runs, n, ret_first);
	if (r == -ENOSPC) {
		merge(runs);
		r = take(runs, n, ret_first);
	}
	return r;
}

void bn_runs_give(struct bn_runs *runs, uint32_t first, uint32_t n)
{
	if (!n)
		return;
	runs->used -= bn_run_capacity(n);
	/* without memory for the list the run is lost until the next cold start */
	list_push(&runs->kept[class_of(n)], first);
}

void bn_runs_claim(struct bn_runs *runs, uint32_t first, uint32_t n)
{
	uint32_t capacity = bn_run_capacity(n);

	if (!n)
		return;
	if (first + capacity > runs->top)
		runs->top = first + capacity;
	runs->used += capacity;
	/* remembered in kept[] until bn_runs_claimed() turns the gaps into free runs */
	list_push(&runs->kept[class_of(n)], first);
}

int bn_runs_claimed(struct bn_runs *runs)
{
	uint64_t *all;
	size_t n = list_take(runs->kept, &all);
	uint32_t at = 0;

	if (!all)
		return -ENOMEM;
	for (size_t i = 0; i < n; i++) {
		free_gap(runs, at, (uint32_t)(all[i] >> 8));
		if (run_end(all[i]) > at)
			at = run_end(all[i]);
	}
	free(all);
	return 0;
}

void bn_runs_settle(struct bn_runs *runs)
{
	for (int c = 0; c < BN_RUN_CLASSES; c++) {
		for (size_t i = 0; i < runs->kept[c].n; i++)
			list_push(&runs->free[c], runs->kept[c].first[i]);
		runs->kept[c].n = 0;
	}
}
