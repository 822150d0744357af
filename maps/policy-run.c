// SPDX-License-Identifier: Apache-2.0
#include <bpfnet/policy-run.h>

#include <errno.h>
#include <stdlib.h>

static uint32_t levels_for(size_t n, size_t of_line)
{
	uint32_t levels = 0;

	while (of_line << levels < n)
		levels++;
	return levels;
}

static void lay_parts(struct bn_policy_line *lines, uint32_t n_lines,
		      const struct bn_policy_part *parts, size_t n)
{
	for (size_t i = 0; i < (size_t)n_lines * BN_POLICY_PARTS; i++)
		lines[i / BN_POLICY_PARTS].part[i % BN_POLICY_PARTS] =
			i < n ? parts[i] : (struct bn_policy_part){.from = BN_POLICY_END};
}

static void lay_index(struct bn_policy_line *lines, uint32_t index,
		      const struct bn_policy_part *parts, size_t n)
{
	uint32_t at = index * BN_POLICY_VERDICTS;
	size_t i = 0;

	for (uint32_t group = 0; group < index * BN_POLICY_BITS; group++) {
		struct bn_policy_bits *bits =
			&lines[group / BN_POLICY_BITS].bits[group % BN_POLICY_BITS];

		bits->before = at - 1;
		for (; i < n && parts[i].from / 32 == group; i++, at++) {
			bits->begins |= 1u << parts[i].from % 32;
			lines[at / BN_POLICY_VERDICTS].verdict[at % BN_POLICY_VERDICTS] =
				parts[i].verdict;
		}
	}
}

int bn_policy_run_make(struct bn_policy_run *ret, const struct bn_policy_part *parts, size_t n)
{
	uint32_t levels = levels_for(n, BN_POLICY_PARTS), indexed, index;

	/* an index of all keys up to where the last part begins, and the verdicts */
	index = levels_for((size_t)parts[n - 1].from + 1, BN_POLICY_BITS_KEYS);
	indexed = levels_for(((size_t)BN_POLICY_VERDICTS << index) + n, BN_POLICY_VERDICTS);
	ret->name = 0;
	if (levels && indexed <= levels) {
		levels = indexed;
		ret->name = (1 + index) << BN_POLICY_RUN_INDEX_SHIFT;
	}
	ret->name |= levels << BN_POLICY_RUN_LEVELS_SHIFT;
	ret->n = 1u << levels;
	ret->lines = calloc(ret->n, sizeof(*ret->lines));
	if (!ret->lines)
		return -ENOMEM;
	if (bn_policy_run_index(ret->name))
		lay_index(ret->lines, bn_policy_run_index(ret->name), parts, n);
	else
		lay_parts(ret->lines, ret->n, parts, n);
	return 0;
}

void bn_policy_run_done(struct bn_policy_run *run)
{
	free(run->lines);
}
