/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Numbers of places in a map, from 1 on: 0 is nobody's. What is given back rests until
 * bn_stock_turn(), since a packet may still be reading there.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

struct bn_stock {
	uint32_t *free, *resting;
	uint32_t n_free, n_resting;
	uint32_t top; /* from here on none was ever taken */
	uint32_t size, used;
};

/* Numbers below `size`. bn_stock_done() is due whatever comes of it. */
int bn_stock_init(struct bn_stock *stock, uint32_t size);
void bn_stock_done(struct bn_stock *stock);

/* The same numbers free, resting and taken, and more of them: up to `size`. As bn_stock_init(). */
int bn_stock_copy(struct bn_stock *to, const struct bn_stock *from, uint32_t size);

/* False: none is left. */
bool bn_stock_take(struct bn_stock *stock, uint32_t *ret);
void bn_stock_give(struct bn_stock *stock, uint32_t number);
void bn_stock_turn(struct bn_stock *stock);

/*
 * A number that was in use before, once for each; the others below the top are told by
 * bn_stock_free() before the first is taken.
 */
void bn_stock_found(struct bn_stock *stock, uint32_t number);
void bn_stock_free(struct bn_stock *stock, uint32_t number);
