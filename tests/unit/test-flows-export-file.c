// SPDX-License-Identifier: Apache-2.0
/* The file that flows are exported to: rotation, what is left of a crash, what is no file of ours. */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <signal.h>
#include <sys/file.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "flows/export-file.h"
#include "lib/temp.h"

static char dir[BN_TEMP_MAX];
static char path[BN_TEMP_MAX + 16];
static struct bn_export_file *file;

static const char *name(const char *suffix)
{
	static char text[96];

	snprintf(text, sizeof(text), "%s%s", path, suffix);
	return text;
}

static int setup(void **state)
{
	char command[2 * BN_TEMP_MAX + 32];

	snprintf(command, sizeof(command), "rm -rf %s && mkdir %s", dir, dir);
	assert_int_equal(system(command), 0);
	assert_int_equal(bn_export_file_new(path, 100, 3, &file), 0);
	return 0;
}

static int teardown(void **state)
{
	bn_export_file_free(file);
	return 0;
}

/* A line of 21 bytes. */
static const char *line(unsigned int n)
{
	static char text[32];

	snprintf(text, sizeof(text), "{\"time\":\"%09u\"}\n", n);
	return text;
}

static void put(const char *suffix, const char *text)
{
	FILE *f = fopen(name(suffix), "w");

	assert_non_null(f);
	fputs(text, f);
	fclose(f);
}

static const char *get(const char *suffix)
{
	static char text[4096];
	FILE *f = fopen(name(suffix), "r");

	if (!f)
		return NULL;
	text[fread(text, 1, sizeof(text) - 1, f)] = 0;
	fclose(f);
	return text;
}

static enum bn_export_problem append(const char *lines)
{
	size_t taken;
	int error;
	enum bn_export_problem problem =
		bn_export_file_write(file, lines, strlen(lines), &taken, &error);

	assert_int_equal(problem == BN_EXPORT_NONE, taken == strlen(lines));
	assert_int_equal(problem == BN_EXPORT_NONE, error == 0);
	return problem;
}

static unsigned int lines_of(const char *suffix, unsigned int first)
{
	const char *text = get(suffix);
	unsigned int n = 0;

	for (; text && *text; text += strlen(line(0)), n++)
		assert_memory_equal(text, line(first + n), strlen(line(0)));
	return n;
}

static void test_rotates_between_lines(void **state)
{
	char all[13 * 32] = "";

	for (unsigned int i = 0; i < 13; i++)
		strcat(all, line(i));
	assert_int_equal(append(all), BN_EXPORT_NONE);
	/* 4 lines are 84 bytes: 4, 4, 4 and the rest */
	assert_int_equal(lines_of(".3", 0), 4);
	assert_int_equal(lines_of(".2", 4), 4);
	assert_int_equal(lines_of(".1", 8), 4);
	assert_int_equal(lines_of("", 12), 1);
	assert_int_equal(bn_export_file_rotations(file), 3);
	for (unsigned int i = 13; i < 17; i++)
		assert_int_equal(append(line(i)), BN_EXPORT_NONE);
	assert_int_equal(lines_of(".3", 4), 4);
	assert_int_equal(lines_of("", 16), 1);
	assert_int_not_equal(access(name(".4"), F_OK), 0);
}

static void test_no_backups(void **state)
{
	bn_export_file_free(file);
	assert_int_equal(bn_export_file_new(path, 100, 0, &file), 0);
	for (unsigned int i = 0; i < 5; i++)
		assert_int_equal(append(line(i)), BN_EXPORT_NONE);
	assert_int_equal(lines_of("", 4), 1);
	assert_int_not_equal(access(name(".1"), F_OK), 0);
}

static void test_line_longer_than_a_file(void **state)
{
	char text[256];

	memset(text, 'x', sizeof(text));
	memcpy(text, "{\"time\":\"", 9);
	strcpy(text + sizeof(text) - 2, "\n");
	assert_int_equal(append(line(0)), BN_EXPORT_NONE);
	assert_int_equal(append(text), BN_EXPORT_NONE);
	assert_int_equal(append(line(1)), BN_EXPORT_NONE);
	assert_int_equal(lines_of("", 1), 1);
	assert_string_equal(get(".1"), text);
	assert_int_equal(lines_of(".2", 0), 1);
}

static void test_half_a_line_is_cut_off(void **state)
{
	static const char *const halves[] = {"{\"ti", "{\"lost_events\":{", "{"};
	char text[64];

	for (size_t i = 0; i < 3; i++) {
		bn_export_file_free(file);
		assert_int_equal(bn_export_file_new(path, 100, 3, &file), 0);
		snprintf(text, sizeof(text), "%s%s", line(0), halves[i]);
		put("", text);
		assert_int_equal(append(line(1)), BN_EXPORT_NONE);
		assert_int_equal(lines_of("", 0), 2);
	}
	put("", halves[0]);
	assert_int_equal(append(line(0)), BN_EXPORT_NONE);
	assert_int_equal(lines_of("", 0), 1);
}

static void test_long_half_line_is_cut_off(void **state)
{
	size_t n = 300000;
	char *text = malloc(n + 1);

	memset(text, 'x', n);
	text[n] = 0;
	memcpy(text, line(0), strlen(line(0)));
	put("", text);
	free(text);
	assert_int_equal(append(line(1)), BN_EXPORT_NONE);
	assert_int_equal(lines_of("", 0), 2);
}

static void test_file_of_somebody_else(void **state)
{
	static const char *const texts[] = {"root:x:0:0\n", "{\"a\": 1}", "\n"};

	for (size_t i = 0; i < 3; i++) {
		put("", texts[i]);
		assert_int_equal(append(line(0)), BN_EXPORT_FOREIGN);
		assert_string_equal(get(""), texts[i]);
	}
	assert_int_equal(unlink(path), 0);
	assert_int_equal(append(line(0)), BN_EXPORT_NONE);
}

static void test_no_regular_file(void **state)
{
	put(".target", "");
	assert_int_equal(symlink(name(".target"), path), 0);
	assert_int_equal(append(line(0)), BN_EXPORT_NO_FILE);
	assert_string_equal(get(".target"), "");
	assert_int_equal(unlink(path), 0);
	assert_int_equal(mkfifo(path, 0600), 0);
	assert_int_equal(append(line(0)), BN_EXPORT_NO_FILE);
	assert_int_equal(unlink(path), 0);
	assert_int_equal(mkdir(path, 0700), 0);
	assert_int_equal(append(line(0)), BN_EXPORT_NO_FILE);
	assert_int_equal(rmdir(path), 0);
	put("", "");
	assert_int_equal(link(path, name(".second")), 0);
	assert_int_equal(append(line(0)), BN_EXPORT_NO_FILE);
	assert_int_equal(unlink(name(".second")), 0);
	assert_int_equal(append(line(0)), BN_EXPORT_NONE);
}

static void test_folder_comes_and_goes(void **state)
{
	char moved[BN_TEMP_MAX + 8];

	snprintf(moved, sizeof(moved), "%s-moved", dir);
	assert_int_equal(append(line(0)), BN_EXPORT_NONE);
	assert_int_equal(rename(dir, moved), 0);
	assert_int_equal(append(line(1)), BN_EXPORT_NO_FOLDER);
	assert_int_equal(rename(moved, dir), 0);
	assert_int_equal(append(line(1)), BN_EXPORT_NONE);
	assert_int_equal(lines_of("", 0), 2);
}

static void test_moved_or_truncated_by_others(void **state)
{
	assert_int_equal(append(line(0)), BN_EXPORT_NONE);
	assert_int_equal(rename(path, name(".old")), 0);
	assert_int_equal(append(line(1)), BN_EXPORT_NONE);
	assert_int_equal(lines_of(".old", 0), 1);
	assert_int_equal(lines_of("", 1), 1);
	assert_int_equal(truncate(path, 0), 0);
	assert_int_equal(append(line(2)), BN_EXPORT_NONE);
	assert_int_equal(lines_of("", 2), 1);
}

static void test_in_use(void **state)
{
	int fd;

	put("", "");
	fd = open(path, O_RDONLY);
	assert_true(fd >= 0 && flock(fd, LOCK_EX) == 0);
	assert_int_equal(append(line(0)), BN_EXPORT_IN_USE);
	close(fd);
	assert_int_equal(append(line(0)), BN_EXPORT_NONE);
}

/* However often it is tried, no file but the oldest is lost, and none grows. */
static void test_rename_fails(void **state)
{
	char all[4 * 32] = "";

	assert_int_equal(mkdir(name(".1"), 0700), 0);
	for (unsigned int i = 0; i < 4; i++)
		strcat(all, line(i));
	assert_int_equal(append(all), BN_EXPORT_NONE);
	assert_int_equal(rmdir(name(".1")), 0);
	put(".1", "one");
	put(".3", "three");
	assert_int_equal(mkdir(name(".2"), 0700), 0);
	for (unsigned int i = 0; i < 3; i++) {
		/* .2 is a folder: it moves to .3 only over a folder */
		assert_int_equal(append(line(4)), BN_EXPORT_ROTATION);
		assert_string_equal(get(".1"), "one");
		assert_int_equal(lines_of("", 0), 4);
	}
	assert_int_equal(rmdir(name(".2")), 0);
	assert_int_equal(append(line(4)), BN_EXPORT_NONE);
	assert_int_equal(lines_of("", 4), 1);
	assert_int_equal(lines_of(".1", 0), 4);
	assert_string_equal(get(".2"), "one");
	assert_string_equal(get(".3"), "three");
}

/* The kernel writes a part of what it has no room for. */
static void test_no_space_in_a_line(void **state)
{
	struct rlimit before, limit;
	char both[64];
	size_t taken;
	int error;

	signal(SIGXFSZ, SIG_IGN);
	assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
	limit = (struct rlimit){.rlim_cur = 30, .rlim_max = before.rlim_max};
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
	snprintf(both, sizeof(both), "%s", line(0));
	strcat(both, line(1));
	assert_int_equal(bn_export_file_write(file, both, strlen(both), &taken, &error),
			 BN_EXPORT_NO_SPACE);
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
	assert_int_equal(taken, strlen(line(0)));
	assert_int_equal(error, ENOSPC);
	assert_int_equal(lines_of("", 0), 1);
	assert_int_equal(append(line(1)), BN_EXPORT_NONE);
	assert_int_equal(lines_of("", 0), 2);
}

static void test_only_checks_without_lines(void **state)
{
	assert_int_equal(append(""), BN_EXPORT_NONE);
	assert_string_equal(get(""), "");
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(test_rotates_between_lines),
		TEST(test_no_backups),
		TEST(test_line_longer_than_a_file),
		TEST(test_half_a_line_is_cut_off),
		TEST(test_long_half_line_is_cut_off),
		TEST(test_file_of_somebody_else),
		TEST(test_no_regular_file),
		TEST(test_folder_comes_and_goes),
		TEST(test_moved_or_truncated_by_others),
		TEST(test_in_use),
		TEST(test_rename_fails),
		TEST(test_no_space_in_a_line),
		TEST(test_only_checks_without_lines),
	};
	char command[96];
	int r;

	if (!bn_temp_dir(dir, "export"))
		return 1;
	snprintf(path, sizeof(path), "%s/flows.jsonl", dir);
	r = cmocka_run_group_tests(tests, NULL, NULL);
	snprintf(command, sizeof(command), "rm -rf %s", dir);
	return system(command) ? 1 : r;
}
