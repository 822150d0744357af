// SPDX-License-Identifier: Apache-2.0
/*
 * Map access in batches of BATCH entries: one system call instead of thousands. Hash walks use
 * BPF_MAP_LOOKUP_BATCH (5.6), whose buffer must hold the fullest bucket; when it doesn't, the
 * kernel says ENOSPC and the buffer is doubled.
 */
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <bpfnet/access.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* what the kernel says of a map without the operation; user space has no name for it */
#define ENOTSUPP 524
#define BATCH 4096u

int bn_map_shape(int fd, struct bn_map_shape *ret)
{
	struct bpf_map_info info = {0};
	__u32 len = sizeof(info);

	if (bpf_map_get_info_by_fd(fd, &info, &len))
		return -errno;
	*ret = (struct bn_map_shape){
		.type = info.type,
		.key_size = info.key_size,
		.value_size = info.value_size,
		.max_entries = info.max_entries,
		.flags = info.map_flags,
	};
	memcpy(ret->name, info.name, sizeof(ret->name));
	ret->name[sizeof(ret->name) - 1] = '\0';
	return 0;
}

static int write_singly(int fd, const char *keys, size_t ks, const char *values, size_t vs,
			size_t n, size_t *done)
{
	for (size_t i = 0; i < n; i++) {
		if (bpf_map_update_elem(fd, keys + i * ks, values + i * vs, BPF_ANY))
			return -errno;
		(*done)++;
	}
	return 0;
}

static bool batch_unsupported(int err)
{
	return err == ENOTSUPP || err == EOPNOTSUPP || err == EINVAL;
}

int bn_map_write(int fd, const void *keys, const void *values, size_t n, size_t *ret_done)
{
	struct bn_map_shape shape;
	size_t done = 0, ks, vs;
	int r;

	r = bn_map_shape(fd, &shape);
	if (r)
		return r;
	ks = shape.key_size;
	vs = shape.value_size;
	while (done < n) {
		__u32 count = n - done > BATCH ? BATCH : (__u32)(n - done);
		const char *k = (const char *)keys + done * ks;
		const char *v = (const char *)values + done * vs;

		if (bpf_map_update_batch(fd, k, v, &count, NULL)) {
			r = -errno;
			if (batch_unsupported(errno) && !done)
				r = write_singly(fd, keys, ks, values, vs, n, &done);
			else
				done += count;
			break;
		}
		done += count;
	}
	if (ret_done)
		*ret_done = done;
	return r;
}

int bn_map_delete(int fd, const void *keys, size_t n)
{
	struct bn_map_shape shape;
	int r;

	r = bn_map_shape(fd, &shape);
	if (r)
		return r;
	for (size_t i = 0; i < n; i++) {
		if (bpf_map_delete_elem(fd, (const char *)keys + i * shape.key_size) &&
		    errno != ENOENT)
			return -errno;
	}
	return 0;
}

static int each_singly(int fd, const struct bn_map_shape *shape,
		       int (*fn)(void *, const void *, const void *), void *user)
{
	char *key = calloc(2, shape->key_size);
	char *value = calloc(1, shape->value_size);
	char *next = key ? key + shape->key_size : NULL;
	const void *prev = NULL;
	int r = 0;

	if (!key || !value)
		r = -ENOMEM;
	while (!r && !bpf_map_get_next_key(fd, prev, next)) {
		memcpy(key, next, shape->key_size);
		prev = key;
		if (bpf_map_lookup_elem(fd, key, value) == 0)
			r = fn(user, key, value);
	}
	free(key);
	free(value);
	return r;
}

struct batch {
	char *keys, *values;
	uint32_t cap; /* entries; grows to the fullest bucket */
};

static void batch_done(struct batch *b)
{
	free(b->keys);
	free(b->values);
	b->keys = b->values = NULL;
}

/* The next entries from the cursor on, as many as the batch holds. */
static int batch_fill(struct batch *b, int fd, const struct bn_map_shape *shape,
		      struct bn_map_cursor *at, __u32 *ret_n, bool *ret_more)
{
	/* a hash's token is a number, other maps' is a key */
	char out[BN_MAP_TOKEN] = {0};

	for (;;) {
		__u32 count = b->cap;

		if (!b->keys) {
			b->keys = malloc((size_t)b->cap * shape->key_size);
			b->values = malloc((size_t)b->cap * shape->value_size);
			if (!b->keys || !b->values)
				return -ENOMEM;
		}
		*ret_more = true;
		if (bpf_map_lookup_batch(fd, at->begun ? at->token : NULL, out, b->keys, b->values,
					 &count, NULL)) {
			if (errno == ENOSPC && b->cap < (1u << 20)) {
				batch_done(b);
				b->cap *= 2;
				continue;
			}
			if (errno != ENOENT)
				return -errno;
			*ret_more = false; /* with count entries: the last of them */
		}
		memcpy(at->token, out, sizeof(out));
		at->begun = *ret_more;
		*ret_n = count;
		return 0;
	}
}

static int walk(int fd, struct bn_map_cursor *at, struct batch *b, bool *ret_more,
		int (*fn)(void *, const void *, const void *), void *user)
{
	struct bn_map_shape shape;
	__u32 n = 0;
	int r;

	*ret_more = false;
	r = bn_map_shape(fd, &shape);
	if (r)
		return r;
	if (shape.key_size > sizeof(at->token))
		return each_singly(fd, &shape, fn, user);
	r = batch_fill(b, fd, &shape, at, &n, ret_more);
	if (r && !at->begun && batch_unsupported(-r)) {
		*ret_more = false;
		return each_singly(fd, &shape, fn, user);
	}
	for (__u32 i = 0; i < n && !r; i++)
		r = fn(user, b->keys + (size_t)i * shape.key_size,
		       b->values + (size_t)i * shape.value_size);
	return r;
}

int bn_map_walk(int fd, struct bn_map_cursor *at, uint32_t n, bool *ret_more,
		int (*fn)(void *, const void *, const void *), void *user)
{
	struct batch b = {.cap = n};
	int r = walk(fd, at, &b, ret_more, fn, user);

	batch_done(&b);
	return r;
}

int bn_map_each(int fd, int (*fn)(void *, const void *, const void *), void *user)
{
	struct batch b = {.cap = BATCH};
	struct bn_map_cursor at = {0};
	bool more;
	int r;

	do
		r = walk(fd, &at, &b, &more, fn, user);
	while (!r && more);
	batch_done(&b);
	return r;
}

static int read_singly(int fd, uint32_t first, uint32_t count, char *values, size_t vs,
		       uint64_t elem_flags)
{
	for (uint32_t i = 0; i < count; i++) {
		uint32_t key = first + i;

		if (bpf_map_lookup_elem_flags(fd, &key, values + i * vs, elem_flags))
			return -errno;
	}
	return 0;
}

int bn_array_read(int fd, uint32_t first, uint32_t count, void *ret_values, uint64_t elem_flags)
{
	LIBBPF_OPTS(bpf_map_batch_opts, opts, .elem_flags = elem_flags);
	uint32_t *keys = malloc(sizeof(*keys) * BATCH);
	struct bn_map_shape shape;
	uint32_t done = 0;
	int r;

	if (!keys)
		return -ENOMEM;
	r = bn_map_shape(fd, &shape);
	while (!r && done < count) {
		__u32 n = count - done > BATCH ? BATCH : count - done;
		__u32 before = first + done - 1, after = 0;
		char *out = (char *)ret_values + (size_t)done * shape.value_size;

		/* the token of a batch is the key that the last one ended with */
		if (bpf_map_lookup_batch(fd, first + done ? &before : NULL, &after, keys, out, &n,
					 &opts) &&
		    errno != ENOENT) {
			r = batch_unsupported(errno)
				    ? read_singly(fd, first + done, count - done, out,
						  shape.value_size, elem_flags)
				    : -errno;
			break;
		}
		if (!n)
			r = -ENOENT;
		done += n;
	}
	free(keys);
	return r;
}

int bn_array_write(int fd, uint32_t first, uint32_t count, const void *values)
{
	uint32_t *keys = malloc(sizeof(*keys) * (count ? count : 1));
	int r;

	if (!keys)
		return -ENOMEM;
	for (uint32_t i = 0; i < count; i++)
		keys[i] = first + i;
	r = bn_map_write(fd, keys, values, count, NULL);
	free(keys);
	return r;
}

int bn_counter_read(int fd, enum bn_counter counter, uint64_t *ret)
{
	int cpus = libbpf_num_possible_cpus();
	uint32_t key = counter;
	uint64_t *values, sum = 0;
	int r = 0;

	if (cpus < 1)
		return cpus;
	values = calloc((size_t)cpus, sizeof(*values));
	if (!values)
		return -ENOMEM;
	if (bpf_map_lookup_elem(fd, &key, values))
		r = -errno;
	for (int c = 0; c < cpus; c++)
		sum += values[c];
	free(values);
	if (!r)
		*ret = sum;
	return r;
}

int bn_counters_read(int fd, uint64_t ret[BN_CNT_MAX])
{
	uint64_t sums[BN_CNT_MAX];

	for (uint32_t i = 0; i < BN_CNT_MAX; i++) {
		int r = bn_counter_read(fd, i, &sums[i]);

		if (r)
			return r;
	}
	memcpy(ret, sums, sizeof(sums));
	return 0;
}

int bn_drops_read(int fd, struct bn_drop_counter ret[BN_DROP_MAX])
{
	int cpus = libbpf_num_possible_cpus();
	struct bn_drop_counter sums[BN_DROP_MAX] = {0};
	struct bn_drop_counter *values;
	int r = 0;

	if (cpus < 1)
		return cpus;
	values = calloc((size_t)cpus, sizeof(*values));
	if (!values)
		return -ENOMEM;
	for (uint32_t i = 0; i < BN_DROP_MAX && !r; i++) {
		if (bpf_map_lookup_elem(fd, &i, values))
			r = -errno;
		for (int c = 0; c < cpus && !r; c++) {
			for (int d = 0; d < BN_DROPPED_WAYS; d++) {
				sums[i].of[d].packets += values[c].of[d].packets;
				sums[i].of[d].bytes += values[c].of[d].bytes;
			}
			sums[i].suppressed += values[c].suppressed;
			sums[i].lost += values[c].lost;
		}
	}
	free(values);
	if (!r)
		memcpy(ret, sums, sizeof(sums));
	return r;
}

static int count_one(void *user, const void *key, const void *value)
{
	(*(uint64_t *)user)++;
	return 0;
}

int bn_map_count(int fd, uint64_t *ret)
{
	struct bn_map_shape shape;
	uint64_t n = 0;
	int r;

	r = bn_map_shape(fd, &shape);
	if (r)
		return r;
	switch (shape.type) {
	case BPF_MAP_TYPE_HASH:
	case BPF_MAP_TYPE_LRU_HASH:
	case BPF_MAP_TYPE_LPM_TRIE:
		r = bn_map_each(fd, count_one, &n);
		if (r)
			return r;
		break;
	default:
		n = shape.max_entries;
	}
	*ret = n;
	return 0;
}

int bn_map_bytes(int fd, uint64_t *ret)
{
	char path[64], line[128];
	unsigned long long bytes = 0;
	bool found = false;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/self/fdinfo/%d", fd);
	f = fopen(path, "re");
	if (!f)
		return -errno;
	while (fgets(line, sizeof(line), f)) {
		if (sscanf(line, "memlock: %llu", &bytes) == 1) {
			found = true;
			break;
		}
	}
	fclose(f);
	if (!found)
		return -ENODATA;
	*ret = bytes;
	return 0;
}
