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

int bn_runs_take(struct bn_runs *runs, uint32_t n, uint32_t *ret_first)
{
	uint32_t capacity = bn_run_capacity(n);
	int c, d;

	if (!n) {
		*ret_first = 0;
		return 0;
	}
	c = class_of(n);
	if (c >= BN_RUN_CLASSES)
		return -ENOSPC;
	if (runs->free[c].n) {
		*ret_first = runs->free[c].first[--runs->free[c].n];
	} else if (capacity <= runs->size - runs->top) {
		*ret_first = runs->top;
		runs->top += capacity;
	} else {
		/* split the smallest larger free run */
		for (d = c + 1; d < BN_RUN_CLASSES && !runs->free[d].n; d++)
			;
		if (d == BN_RUN_CLASSES)
			return -ENOSPC;
		*ret_first = runs->free[d].first[--runs->free[d].n];
		while (d-- > c)
			list_push(&runs->free[d], *ret_first + (1u << d));
	}
	runs->used += capacity;
	return 0;
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

int bn_runs_claimed(struct bn_runs *runs)
{
	size_t n = 0, i = 0;
	uint32_t at = 0;
	uint64_t *all;

	for (int c = 0; c < BN_RUN_CLASSES; c++)
		n += runs->kept[c].n;
	all = calloc(n ? n : 1, sizeof(*all));
	if (!all)
		return -ENOMEM;
	for (int c = 0; c < BN_RUN_CLASSES; c++) {
		for (size_t k = 0; k < runs->kept[c].n; k++)
			all[i++] = (uint64_t)runs->kept[c].first[k] << 8 | (unsigned)c;
		runs->kept[c].n = 0;
	}
	qsort(all, n, sizeof(*all), by_value);
	for (i = 0; i < n; i++) {
		uint32_t first = (uint32_t)(all[i] >> 8);

		free_gap(runs, at, first);
		if (first + (1u << (all[i] & 0xff)) > at)
			at = first + (1u << (all[i] & 0xff));
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
