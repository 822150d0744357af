/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Small numbers for texts, the same after a restart: identities by what they stand for, rules by
 * their names. A number is written down before anyone uses it, so that what stands in the maps
 * always has a meaning; the file need not outlive the machine's run, since the maps don't either.
 *
 * The file is a log: "+NUMBER TEXT" or "-NUMBER" a line, written anew when it has grown. Texts have
 * no line breaks.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

struct bn_error;
struct bn_registry;

/* Numbers from `first` up to `limit` - 1. `what` names them in errors ("identities"). */
int bn_registry_open(const char *path, const char *what, uint32_t first, uint32_t limit,
		     struct bn_registry **ret, struct bn_error *err);
void bn_registry_close(struct bn_registry *registry);

/* Takes a reference. *ret_new: the number meant something else before, or nothing. -ENOSPC. */
int bn_registry_get(struct bn_registry *registry, const char *text, uint32_t *ret, bool *ret_new,
		    struct bn_error *err);
/* From now on what is put stays in the file: the end of an agent is none of its numbers. */
void bn_registry_freeze(struct bn_registry *registry);
void bn_registry_hold(struct bn_registry *registry, uint32_t number);
/* Returns whether that was the last reference. */
bool bn_registry_put(struct bn_registry *registry, uint32_t number);
/* NULL: the number is not in use. */
const char *bn_registry_text(const struct bn_registry *registry, uint32_t number);
/*
 * Between changes: numbers that were free at the last turn may be used again, since no packet is
 * under way any more that has seen them. The first turn also forgets what an earlier run left and
 * nobody has asked for.
 */
void bn_registry_turn(struct bn_registry *registry);
bool bn_registry_has(const struct bn_registry *registry, const char *text);
uint32_t bn_registry_count(const struct bn_registry *registry);
