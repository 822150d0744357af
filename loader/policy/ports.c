// SPDX-License-Identifier: Apache-2.0
/*
 * Painting a line: its pieces lie between the ends of all ranges; each range paints, in the order
 * of the rules, what nobody has painted. `next` leads over painted pieces, so that all of it costs
 * as much as sorting the ends. What is passed counts as painted, until the next tier begins.
 */
#include "policy/ports.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static int compare(const void *x, const void *y)
{
	const uint32_t *a = x, *b = y;

	return *a < *b ? -1 : *a > *b;
}

static size_t unpainted(size_t *next, size_t i)
{
	size_t at = i;

	while (next[at] != at)
		at = next[at];
	while (next[i] != at) {
		size_t up = next[i];

		next[i] = at;
		i = up;
	}
	return at;
}

static size_t piece(const uint32_t *ends, size_t n, uint32_t key)
{
	const uint32_t *at = bsearch(&key, ends, n, sizeof(*ends), compare);

	return at ? (size_t)(at - ends) : n;
}

int bn_ports_compile(const struct bn_port_rule *rules, size_t n, uint32_t otherwise,
		     struct bn_policy_part **ret, size_t *ret_n)
{
	size_t room = 2, n_ends = 0, n_pieces = 0, n_parts = 0, *next, *left;
	struct bn_policy_part *parts;
	uint32_t *ends, *verdicts;
	int r = -ENOMEM;

	for (size_t i = 0; i < n; i++)
		room += 2 * rules[i].n;
	ends = calloc(room, sizeof(*ends));
	verdicts = calloc(room, sizeof(*verdicts));
	next = calloc(room, sizeof(*next));
	left = calloc(room, sizeof(*left));
	parts = calloc(room, sizeof(*parts));
	if (!ends || !verdicts || !next || !left || !parts)
		goto out;
	ends[n_ends++] = 0;
	ends[n_ends++] = BN_PORT_KEY_MAX + 1;
	for (size_t i = 0; i < n; i++) {
		for (size_t k = 0; k < rules[i].n; k++) {
			ends[n_ends++] = rules[i].ranges[k].from;
			ends[n_ends++] = rules[i].ranges[k].to + 1;
		}
	}
	qsort(ends, n_ends, sizeof(*ends), compare);
	for (size_t i = 0; i < n_ends; i++) {
		if (!i || ends[i] != ends[i - 1])
			ends[n_pieces++] = ends[i];
	}
	/* the last end begins no piece, and stops every range */
	for (size_t i = 0; i < n_pieces; i++) {
		next[i] = left[i] = i;
		verdicts[i] = otherwise;
	}
	for (size_t i = 0; i < n; i++) {
		if (i && rules[i].tier != rules[i - 1].tier)
			memcpy(next, left, n_pieces * sizeof(*next));
		for (size_t k = 0; k < rules[i].n; k++) {
			size_t at = piece(ends, n_pieces, rules[i].ranges[k].from);
			size_t end = piece(ends, n_pieces, rules[i].ranges[k].to + 1);

			for (at = unpainted(next, at); at < end; at = unpainted(next, at)) {
				next[at] = at + 1;
				if (rules[i].pass)
					continue;
				verdicts[at] = rules[i].verdict;
				left[at] = at + 1;
			}
		}
	}
	for (size_t i = 0; i + 1 < n_pieces; i++) {
		if (n_parts && parts[n_parts - 1].verdict == verdicts[i])
			continue;
		parts[n_parts++] = (struct bn_policy_part){ends[i], verdicts[i]};
	}
	*ret = parts;
	*ret_n = n_parts;
	parts = NULL;
	r = 0;
out:
	free(ends);
	free(verdicts);
	free(next);
	free(left);
	free(parts);
	return r;
}
