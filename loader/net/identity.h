/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Identities: a number for each distinct pair of a namespace and a set of labels, local to this
 * node. Numbers count up from BN_IDENTITY_FIRST and are not reused, over restarts either:
 * <state-dir>/identities.json says which are in use and what comes next.
 */
#pragma once

#include <jansson.h>
#include <stdint.h>

struct bn_error;
struct bn_identities;

int bn_identities_new(const char *state_dir, struct bn_identities **ret, struct bn_error *err);
void bn_identities_free(struct bn_identities *ids);

/* Takes a reference; `labels` is an object, NULL: no labels. Every get is undone by a put. */
int bn_identities_get(struct bn_identities *ids, const char *namespace, const json_t *labels,
		      uint32_t *ret, struct bn_error *err);
void bn_identities_put(struct bn_identities *ids, uint32_t identity);
/* Forgets those of an earlier run that nobody has taken: when all endpoints are restored. */
int bn_identities_settle(struct bn_identities *ids, struct bn_error *err);
/* Removes the file. */
int bn_identities_uninstall(struct bn_identities *ids, struct bn_error *err);
