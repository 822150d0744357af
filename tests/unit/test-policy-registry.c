// SPDX-License-Identifier: Apache-2.0
/* Numbers for texts: the same after a restart, never two texts' at once, whatever the file holds. */
#include "policy/registry.h"

#include "error.h"
#include "lib/temp.h"

#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include <cmocka.h>

static char dir[BN_TEMP_MAX], path[128];
static struct bn_registry *r;

static void start(uint32_t first, uint32_t limit)
{
	struct bn_error err = BN_ERROR_INIT;

	if (bn_registry_open(path, "names", first, limit, &r, &err))
		fail_msg("%s", bn_error_text(&err));
}

static int setup(void **state)
{
	assert_non_null(bn_temp_dir(dir, "registry"));
	snprintf(path, sizeof(path), "%s/names.log", dir);
	return 0;
}

static int teardown(void **state)
{
	char tmp[140];

	bn_registry_close(r);
	r = NULL;
	unlink(path);
	snprintf(tmp, sizeof(tmp), "%s.tmp", path);
	unlink(tmp);
	assert_int_equal(rmdir(dir), 0);
	return 0;
}

/* As a restart does it: a new agent asks for what it wants, then the first turn. */
static void restart(uint32_t first, uint32_t limit)
{
	bn_registry_freeze(r);
	bn_registry_close(r);
	start(first, limit);
}

static uint32_t get(const char *text, bool is_new)
{
	struct bn_error err = BN_ERROR_INIT;
	uint32_t number = 0;
	bool fresh = !is_new;

	if (bn_registry_get(r, text, &number, &fresh, &err))
		fail_msg("%s: %s", text, bn_error_text(&err));
	assert_int_equal(fresh, is_new);
	assert_string_equal(bn_registry_text(r, number), text);
	return number;
}

static void refuse(const char *text, int result, const char *message)
{
	struct bn_error err = BN_ERROR_INIT;
	uint32_t number = 123456;
	bool fresh;

	assert_int_equal(bn_registry_get(r, text, &number, &fresh, &err), result);
	assert_non_null(strstr(bn_error_text(&err), message));
	assert_int_equal(number, 123456);
	bn_error_done(&err);
}

static void file_is(const char *text)
{
	FILE *f = fopen(path, "w");

	assert_non_null(f);
	fputs(text, f);
	assert_int_equal(fclose(f), 0);
}

static void file_has(const char *text)
{
	char buf[512] = "";
	FILE *f = fopen(path, "r");

	assert_non_null(f);
	buf[fread(buf, 1, sizeof(buf) - 1, f)] = 0;
	fclose(f);
	assert_string_equal(buf, text);
}

static void test_restart(void **state)
{
	start(256, 300);
	assert_int_equal(get("a", true), 256);
	assert_int_equal(get("b of two words", true), 257);
	assert_int_equal(get("a", false), 256);
	assert_int_equal(bn_registry_count(r), 2);
	file_has("+256 a\n+257 b of two words\n");
	restart(256, 300);
	assert_int_equal(get("b of two words", false), 257);
	assert_int_equal(get("c", true), 258);
	assert_int_equal(get("a", false), 256);
	bn_registry_turn(r);
	assert_int_equal(bn_registry_count(r), 3);
}

/* What an earlier run left and nobody asks for is gone with the first turn, not before. */
static void test_left(void **state)
{
	file_is("+256 a\n+257 b\n");
	start(256, 258);
	assert_int_equal(get("b", false), 257);
	assert_string_equal(bn_registry_text(r, 256), "a");
	refuse("c", -ENOSPC, "2 names are in use, no more fit");
	bn_registry_turn(r);
	assert_null(bn_registry_text(r, 256));
	file_has("+257 b\n");
	assert_int_equal(get("c", true), 256);
}

static void test_references(void **state)
{
	uint32_t a;

	start(1, 10);
	a = get("a", true);
	get("a", false);
	bn_registry_hold(r, a);
	assert_false(bn_registry_put(r, a));
	assert_false(bn_registry_put(r, a));
	assert_string_equal(bn_registry_text(r, a), "a");
	assert_true(bn_registry_put(r, a));
	assert_null(bn_registry_text(r, a));
	assert_int_equal(bn_registry_count(r), 0);
	file_has("+1 a\n-1\n");
	/* of nobody's */
	assert_false(bn_registry_put(r, a));
	assert_false(bn_registry_put(r, 0));
	assert_false(bn_registry_put(r, 10));
	bn_registry_hold(r, 5);
	assert_null(bn_registry_text(r, 0));
	assert_null(bn_registry_text(r, 10));
	assert_null(bn_registry_text(r, UINT32_MAX));
}

/* A number rests until the next turn, and the one that rests longest comes first. */
static void test_turns(void **state)
{
	start(1, 4);
	bn_registry_turn(r);
	get("a", true);
	get("b", true);
	get("c", true);
	assert_true(bn_registry_put(r, 2));
	refuse("d", -ENOSPC, "2 names are in use, no more fit");
	bn_registry_turn(r);
	assert_true(bn_registry_put(r, 1));
	assert_int_equal(get("d", true), 2);
	refuse("e", -ENOSPC, "2 names are in use, no more fit");
	bn_registry_turn(r);
	assert_int_equal(get("e", true), 1);
	refuse("f", -ENOSPC, "3 names are in use, no more fit");
	/* what exists is had when full, too */
	assert_int_equal(get("c", false), 3);
}

/* Before the first turn nothing is used again: packets of the earlier run may be under way. */
static void test_holes(void **state)
{
	file_is("+1 a\n+3 c\n+2 b\n-2\n");
	start(1, 4);
	get("a", false);
	get("c", false);
	refuse("d", -ENOSPC, "2 names are in use, no more fit");
	bn_registry_turn(r);
	assert_int_equal(get("d", true), 2);
	refuse("e", -ENOSPC, "3 names are in use, no more fit");
}

/* A number that was used twice in one run is no free one after a restart. */
static void test_reused(void **state)
{
	start(1, 4);
	get("a", true);
	get("b", true);
	get("c", true);
	bn_registry_turn(r);
	bn_registry_put(r, 1);
	bn_registry_turn(r);
	assert_int_equal(get("d", true), 1);
	restart(1, 4);
	assert_int_equal(get("d", false), 1);
	assert_int_equal(get("b", false), 2);
	assert_int_equal(get("c", false), 3);
	bn_registry_turn(r);
	bn_registry_turn(r);
	refuse("e", -ENOSPC, "3 names are in use, no more fit");
	bn_registry_put(r, 2);
	bn_registry_turn(r);
	assert_int_equal(get("e", true), 2);
	refuse("f", -ENOSPC, "3 names are in use, no more fit");
}

/* The end of an agent puts everything; the file keeps it for the next one. */
static void test_freeze(void **state)
{
	start(1, 10);
	get("a", true);
	get("b", true);
	bn_registry_freeze(r);
	assert_false(bn_registry_put(r, 1));
	assert_false(bn_registry_put(r, 2));
	file_has("+1 a\n+2 b\n");
	bn_registry_close(r);
	bn_registry_freeze(NULL);
	start(1, 10);
	assert_int_equal(get("b", false), 2);
	assert_int_equal(get("a", false), 1);
}

static void test_broken(void **state)
{
	/* a torn last line is of a number that nobody has got */
	file_is("+1 a\n+2 b\n+3 abc");
	start(1, 10);
	file_has("+1 a\n+2 b\n");
	assert_null(bn_registry_text(r, 3));
	assert_int_equal(get("abcdef", true), 3);
	bn_registry_close(r);
	/* lines that are none, numbers out of range, a number said twice, a text said twice */
	file_is("\n+\n+x a\n+0 zero\n+10 ten\n+4294967297 wide\n-7\n+5\n*6 star\n+1 a\n+1 b\n+2 "
		"c\n+3 c\n");
	start(1, 10);
	assert_int_equal(get("b", false), 1);
	assert_int_equal(bn_registry_count(r), 2);
	assert_null(bn_registry_text(r, 6));
	get("a", true);
	get("c", false);
	bn_registry_close(r);
	file_is("");
	start(1, 10);
	assert_int_equal(bn_registry_count(r), 0);
}

/* The file does not grow with what comes and goes, and is right at every moment. */
static void test_rewritten(void **state)
{
	char text[16];

	start(1, 3);
	get("stays", true);
	bn_registry_turn(r);
	for (int i = 0; i < 20000; i++) {
		snprintf(text, sizeof(text), "n%d", i);
		assert_int_equal(get(text, true), 2);
		if (i + 1 < 20000)
			bn_registry_put(r, 2);
		bn_registry_turn(r);
	}
	restart(1, 3);
	file_has("+1 stays\n+2 n19999\n");
	assert_int_equal(get("stays", false), 1);
}

/* Half a line on a full disk is taken back: the next one is whole. */
static void test_full_disk(void **state)
{
	struct rlimit was, small;

	start(1, 10);
	get("a", true);
	signal(SIGXFSZ, SIG_IGN);
	assert_int_equal(getrlimit(RLIMIT_FSIZE, &was), 0);
	small = was;
	small.rlim_cur = 5 + 3; /* "+1 a\n" and a part of the next */
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
	refuse("bcdef", -EIO, "can't keep names in");
	refuse("bcdef", -EIO, "can't keep names in");
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &was), 0);
	assert_int_equal(get("c", true), 2);
	assert_int_equal(get("bcdef", true), 3);
	file_has("+1 a\n+2 c\n+3 bcdef\n");
}

/* A number that can't be written down is not lost. */
static void test_not_lost(void **state)
{
	struct rlimit was, none;

	start(1, 3);
	get("a", true);
	get("b", true);
	bn_registry_put(r, 1);
	bn_registry_turn(r);
	signal(SIGXFSZ, SIG_IGN);
	assert_int_equal(getrlimit(RLIMIT_FSIZE, &was), 0);
	none = was;
	none.rlim_cur = 1;
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &none), 0);
	refuse("c", -EFBIG, "can't keep names in");
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &was), 0);
	assert_int_equal(get("c", true), 1);
}

static void test_no_folder(void **state)
{
	struct bn_error err = BN_ERROR_INIT;

	assert_int_equal(bn_registry_open("/nonexistent/x", "names", 1, 2, &r, &err), -ENOENT);
	assert_string_equal(bn_error_text(&err),
			    "can't keep names in /nonexistent/x: No such file or directory");
	bn_error_done(&err);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_restart),   TEST(test_left),     TEST(test_references),
		TEST(test_turns),     TEST(test_holes),    TEST(test_reused),
		TEST(test_freeze),    TEST(test_broken),   TEST(test_rewritten),
		TEST(test_full_disk), TEST(test_not_lost), TEST(test_no_folder),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
