/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Filters as people write them into a file: "FIELD=VALUE" or "not FIELD=VALUE", with the fields and
 * values of flows/filter.h. `label=app=web` is the label app=web.
 */
#pragma once

#include "flows/filter.h"

#include <stddef.h>

/* -EINVAL: explained in err. No items give NULL, which matches everything. */
int bn_flow_filter_text(char *const *items, size_t n, struct bn_flow_filter **ret,
			struct bn_error *err);
