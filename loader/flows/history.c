// SPDX-License-Identifier: Apache-2.0
/*
 * A ring of flow records in one anonymous mapping: the kernel gives pages as they are first
 * written, so an agent that has seen nothing has paid for nothing, and the whole is freed at once.
 *
 * Invariant: record n is in slot n % size, and `next` only grows.
 */
#include "flows/history.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/mman.h>

struct bn_history {
	struct bn_flow_record *ring;
	size_t size;
	uint64_t next;
};

void bn_flow_record_done(struct bn_flow_record *record)
{
	bn_name_unref(record->source);
	bn_name_unref(record->destination);
	bn_name_unref(record->service);
	record->source = record->destination = record->service = NULL;
	for (int d = 0; d < BN_POLICY_DIRECTIONS; d++) {
		bn_name_unref(record->rule[d]);
		record->rule[d] = NULL;
	}
}

int bn_history_new(size_t size, struct bn_history **ret)
{
	struct bn_history *h;

	if (size == 0)
		size = BN_HISTORY_DEFAULT;
	if (size > BN_HISTORY_MAX)
		return -EINVAL;
	h = calloc(1, sizeof(*h));
	if (!h)
		return -ENOMEM;
	h->size = size;
	h->ring = mmap(NULL, size * sizeof(*h->ring), PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (h->ring == MAP_FAILED) {
		free(h);
		return -ENOMEM;
	}
	/* a huge page would be paid for in full by its first record */
	(void)madvise(h->ring, size * sizeof(*h->ring), MADV_NOHUGEPAGE);
	*ret = h;
	return 0;
}

void bn_history_free(struct bn_history *h)
{
	if (!h)
		return;
	for (uint64_t n = bn_history_oldest(h); n < h->next; n++)
		bn_flow_record_done(&h->ring[n % h->size]);
	munmap(h->ring, h->size * sizeof(*h->ring));
	free(h);
}

uint64_t bn_history_add(struct bn_history *h, const struct bn_flow_record *record)
{
	struct bn_flow_record *slot = &h->ring[h->next % h->size];

	if (h->next >= h->size)
		bn_flow_record_done(slot);
	*slot = *record;
	return h->next++;
}

uint64_t bn_history_oldest(const struct bn_history *h)
{
	return h->next > h->size ? h->next - h->size : 0;
}

uint64_t bn_history_next(const struct bn_history *h)
{
	return h->next;
}

const struct bn_flow_record *bn_history_at(const struct bn_history *h, uint64_t number)
{
	if (number < bn_history_oldest(h) || number >= h->next)
		return NULL;
	return &h->ring[number % h->size];
}

size_t bn_history_size(const struct bn_history *h)
{
	return h->size;
}
