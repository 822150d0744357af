// SPDX-License-Identifier: Apache-2.0
#include "policy/stock.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

int bn_stock_init(struct bn_stock *s, uint32_t size)
{
	s->free = calloc(size, sizeof(*s->free));
	s->resting = calloc(size, sizeof(*s->resting));
	s->size = size;
	s->top = 1;
	return s->free && s->resting ? 0 : -ENOMEM;
}

int bn_stock_copy(struct bn_stock *to, const struct bn_stock *from, uint32_t size)
{
	int r = bn_stock_init(to, size);

	if (r)
		return r;
	memcpy(to->free, from->free, from->n_free * sizeof(*to->free));
	memcpy(to->resting, from->resting, from->n_resting * sizeof(*to->resting));
	to->n_free = from->n_free;
	to->n_resting = from->n_resting;
	to->top = from->top;
	to->used = from->used;
	return 0;
}

void bn_stock_done(struct bn_stock *s)
{
	free(s->free);
	free(s->resting);
}

bool bn_stock_take(struct bn_stock *s, uint32_t *ret)
{
	if (s->n_free)
		*ret = s->free[--s->n_free];
	else if (s->top < s->size)
		*ret = s->top++;
	else
		return false;
	s->used++;
	return true;
}

void bn_stock_give(struct bn_stock *s, uint32_t number)
{
	s->resting[s->n_resting++] = number;
	s->used--;
}

void bn_stock_turn(struct bn_stock *s)
{
	for (uint32_t i = 0; i < s->n_resting; i++)
		s->free[s->n_free++] = s->resting[i];
	s->n_resting = 0;
}

void bn_stock_found(struct bn_stock *s, uint32_t number)
{
	if (number >= s->top)
		s->top = number + 1;
	s->used++;
}

void bn_stock_free(struct bn_stock *s, uint32_t number)
{
	s->free[s->n_free++] = number;
}
