// SPDX-License-Identifier: Apache-2.0
/*
 * What does not fit is found one by one: the first table for which there is no room ends the preparation.
 * By how much a change does not fit is known when all of it has been prepared where there is room.
 */
#include "policy/internal.h"

#include <stdio.h>
#include <stdlib.h>

static void say(const struct bn_space_use *lacks, const struct bn_policy_config *fit,
		struct bn_error *err)
{
	const struct {
		uint32_t more, size;
		const char *one, *many, *key;
	} all[] = {
		{lacks->tables, fit->tables, "table", "tables", "policy-tables"},
		{lacks->pages, fit->pages, "page of identities", "pages of identities",
		 "policy-pages"},
		{lacks->lines, fit->lines, "line of ports", "lines of ports", "policy-lines"},
	};
	char text[512] = "";
	size_t at = 0;

	for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
		if (all[i].more)
			at += (size_t)snprintf(text + at, sizeof(text) - at,
					       "%s%u %s more than fit (raise maps.%s, which is %u)",
					       at ? ", " : "", all[i].more,
					       all[i].more == 1 ? all[i].one : all[i].many,
					       all[i].key, all[i].size);
	}
	if (at)
		bn_error_set(err, 0, "policy needs, beside what is in force, %s", text);
}

void policy_measure(struct bn_policy *p, const struct bn_change *c, struct bn_error *err)
{
	struct bn_space *space = p->space, *copy;
	struct bn_space_use lacks = {0};
	struct bn_error ignored = BN_ERROR_INIT;

	if (!numbers_rested(p) || bn_space_measure(space, &copy))
		return;
	p->space = copy;
	if (!prepare_change(p, c, &ignored)) {
		lacks = bn_space_lacks(copy);
		bn_policy_abort(p);
	}
	p->space = space;
	bn_space_close(copy);
	bn_space_release(space);
	say(&lacks, &p->config, err);
	bn_error_done(&ignored);
}
