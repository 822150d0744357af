/* SPDX-License-Identifier: Apache-2.0 */
/* Label selectors, as metav1.LabelSelector has them. */
#pragma once

#include "arena.h"
#include "model.h"

/*
 * `name` is of a namespace, whose label kubernetes.io/metadata.name it is whatever `labels` say, as
 * the API server sets it; NULL for pods.
 */
bool bn_selector_matches(const struct bn_selector *selector, const struct bn_label *labels,
			 size_t n, const char *name);
/* A text that equal selectors share. NULL: out of memory. */
char *bn_selector_text(const struct bn_selector *selector);
int bn_selector_copy(struct bn_arena *arena, const struct bn_selector *from,
		     struct bn_selector *ret);
