// SPDX-License-Identifier: Apache-2.0
/*
 * The fuzzers (tests/fuzz), without looking for anything new: their seeds, and inputs made of them by
 * chance, always the same.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include <dirent.h>
#include <stdio.h>
#include <string.h>

#define INPUT_MAX 8192
#define ROUNDS 4000 /* of each seed */

int fuzz_event(const uint8_t *data, size_t size);
int fuzz_manifest(const uint8_t *data, size_t size);
int fuzz_socket(const uint8_t *data, size_t size);

struct fuzzer {
	const char *name;
	int (*one)(const uint8_t *data, size_t size);
};

/* An exact copy, so that reading past its end is noticed by whoever watches memory. */
static void run(const struct fuzzer *f, const uint8_t *data, size_t size)
{
	uint8_t *copy = malloc(size ? size : 1);

	assert_non_null(copy);
	memcpy(copy, data, size);
	f->one(copy, size);
	free(copy);
}

/* Bytes changed, a part doubled, left out or replaced by another one. */
static size_t change(uint8_t *data, size_t size)
{
	for (int n = 1 + rand() % 4; n && size; n--) {
		size_t at = (size_t)rand() % size, len = 1 + (size_t)rand() % 16;

		if (len > size - at)
			len = size - at;
		switch (rand() % 5) {
		case 0:
			data[at] = (uint8_t)rand();
			break;
		case 1:
			data[at] ^= (uint8_t)(1 << rand() % 8);
			break;
		case 2:
			memmove(data + at, data + at + len, size - at - len);
			size -= len;
			break;
		case 3:
			if (size + len > INPUT_MAX)
				break;
			memmove(data + at + len, data + at, size - at);
			size += len;
			break;
		default:
			memmove(data + at, data + (size_t)rand() % (size - len + 1), len);
			break;
		}
	}
	return size;
}

static void run_seed(const struct fuzzer *f, const char *path)
{
	static uint8_t seed[INPUT_MAX], data[INPUT_MAX];
	FILE *file = fopen(path, "re");
	size_t size;

	assert_non_null(file);
	size = fread(seed, 1, sizeof(seed), file);
	assert_true(feof(file));
	fclose(file);
	run(f, seed, size);
	srand((unsigned int)size);
	for (int i = 0; i < ROUNDS; i++) {
		memcpy(data, seed, size);
		run(f, data, change(data, size));
	}
}

static void test_fuzzer(void **state)
{
	const struct fuzzer *f = *state;
	char path[4096];
	struct dirent *e;
	int seeds = 0;
	DIR *dir;

	run(f, (const uint8_t *)"", 0);
	snprintf(path, sizeof(path), "tests/fuzz/seeds/%s", f->name);
	dir = opendir(path);
	assert_non_null(dir);
	while ((e = readdir(dir))) {
		if (e->d_name[0] == '.')
			continue;
		snprintf(path, sizeof(path), "tests/fuzz/seeds/%s/%s", f->name, e->d_name);
		run_seed(f, path);
		seeds++;
	}
	closedir(dir);
	assert_true(seeds > 0);
}

int main(void)
{
	static struct fuzzer all[] = {
		{"event", fuzz_event}, {"manifest", fuzz_manifest}, {"socket", fuzz_socket}};
	struct CMUnitTest tests[sizeof(all) / sizeof(all[0])] = {0};

	for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++)
		tests[i] = (struct CMUnitTest){
			.name = all[i].name, .test_func = test_fuzzer, .initial_state = &all[i]};
	return cmocka_run_group_tests_name("fuzz", tests, NULL, NULL);
}
