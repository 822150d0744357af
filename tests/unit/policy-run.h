/* SPDX-License-Identifier: Apache-2.0 */
/* What a run's lines say of a key, read plainly: part by part, and bit by bit. */
#pragma once

#include <bpfnet/policy.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static inline uint32_t run_verdict(const struct bn_policy_line *lines, uint32_t run, uint32_t key)
{
	uint32_t index = bn_policy_run_index(run), n = bn_policy_run_lines(run);
	uint32_t verdict = 0, place = index * 16 - 1;

	for (uint32_t i = 0; !index && i < n * 8; i++) {
		const struct bn_policy_part *part = &lines[i / 8].part[i % 8];

		if (part->from <= key && part->from != BN_POLICY_END)
			verdict = part->verdict;
	}
	if (!index)
		return verdict;
	assert_true(index < n);
	for (uint32_t i = 0; i <= key && i < index * 256; i++) {
		const struct bn_policy_bits *bits = &lines[i / 256].bits[i / 32 % 8];

		if (i % 32 == 0)
			assert_int_equal(bits->before, place);
		place += bits->begins >> i % 32 & 1;
	}
	assert_true(place / 16 >= index && place / 16 < n);
	return lines[place / 16].verdict[place % 16];
}
