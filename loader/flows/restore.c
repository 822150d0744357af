// SPDX-License-Identifier: Apache-2.0
/*
 * The layout is the kernel's ABI (kernel/bpf/ringbuf.c): the consumer's position in a page of its own,
 * the producer's in the next, then the data, mapped twice so that no record is ever cut. A record is a
 * header of 8 bytes, its length and flags first, and is padded to 8.
 *
 * Records are found from the consumer's position backwards, since nothing says where the oldest one
 * begins: all have the length of struct bn_event, and the header before each has to say so. The
 * walk ends where one does not.
 *
 * Invariant: the datapath may write meanwhile. It writes the header of its next record at the
 * producer's position before it moves that on, so what is within a record of the position, a ring's
 * length back, is not believed; and that is judged after everything has been copied.
 */
#include "flows/restore.h"

#include "flows/reader.h"

#include <bpf/bpf.h>
#include <errno.h>
#include <linux/bpf.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define STRIDE ((BPF_RINGBUF_HDR_SZ + sizeof(struct bn_event) + 7) / 8 * 8)

struct ring {
	const unsigned long *consumer;
	const unsigned long *producer;
	const unsigned char *data;
	size_t size; /* of the data, a power of two */
	size_t page;
};

static unsigned long position(const unsigned long *p)
{
	return __atomic_load_n(p, __ATOMIC_ACQUIRE);
}

static int ring_map(int map_fd, struct ring *ret)
{
	struct bpf_map_info info = {0};
	uint32_t len = sizeof(info);
	struct ring r = {.page = (size_t)sysconf(_SC_PAGESIZE)};
	void *p;

	if (bpf_map_get_info_by_fd(map_fd, &info, &len) < 0)
		return -errno;
	r.size = info.max_entries;
	p = mmap(NULL, r.page, PROT_READ, MAP_SHARED, map_fd, 0);
	if (p == MAP_FAILED)
		return -errno;
	r.consumer = p;
	p = mmap(NULL, r.page + 2 * r.size, PROT_READ, MAP_SHARED, map_fd, (off_t)r.page);
	if (p == MAP_FAILED) {
		int e = errno;

		munmap((void *)r.consumer, r.page);
		return -e;
	}
	r.producer = p;
	r.data = (const unsigned char *)p + r.page;
	*ret = r;
	return 0;
}

static void ring_unmap(const struct ring *r)
{
	munmap((void *)r->consumer, r->page);
	munmap((void *)r->producer, r->page + 2 * r->size);
}

/* The record before `at`, if there is one whole: its bytes behind the header, or NULL. */
static const void *record_before(const struct ring *r, unsigned long at)
{
	const unsigned char *header;
	uint32_t len;

	if (at < STRIDE)
		return NULL;
	header = r->data + ((at - STRIDE) & (r->size - 1));
	memcpy(&len, header, sizeof(len));
	return (len & ~BPF_RINGBUF_DISCARD_BIT) == sizeof(struct bn_event)
		       ? header + BPF_RINGBUF_HDR_SZ
		       : NULL;
}

/* Copies backwards from `end`, the newest to copies[0]. How many. */
static size_t copy(const struct ring *r, unsigned long end, struct bn_event *copies, size_t max)
{
	size_t n = 0;

	while (n < max) {
		const void *record = record_before(r, end - n * STRIDE);

		if (!record)
			break;
		memcpy(&copies[n++], record, sizeof(*copies));
	}
	return n;
}

/* Of n copies, those that the datapath can't have written to. */
static size_t untouched(const struct ring *r, unsigned long end, size_t n)
{
	unsigned long producer = position(r->producer);
	unsigned long oldest = producer + STRIDE > r->size ? producer + STRIDE - r->size : 0;

	return end < oldest ? 0 : end - n * STRIDE >= oldest ? n : (end - oldest) / STRIDE;
}

int bn_events_restore(int map_fd, size_t max,
		      void (*event)(void *user, const struct bn_event *event), void *user)
{
	struct bn_event *copies, e;
	unsigned long end;
	struct ring r = {0};
	int taken = 0, res = ring_map(map_fd, &r);
	size_t n;

	if (res < 0)
		return res;
	if (max > r.size / STRIDE)
		max = r.size / STRIDE;
	copies = calloc(max ? max : 1, sizeof(*copies));
	if (!copies) {
		ring_unmap(&r);
		return -ENOMEM;
	}
	end = position(r.consumer);
	n = copy(&r, end, copies, max);
	n = untouched(&r, end, n);
	while (n--) {
		if (bn_event_check(&copies[n], sizeof(copies[n]), &e) < 0)
			continue;
		event(user, &e);
		taken++;
	}
	free(copies);
	ring_unmap(&r);
	return taken;
}
