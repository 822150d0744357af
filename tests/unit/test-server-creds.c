// SPDX-License-Identifier: Apache-2.0
/* Who may do what on the control socket, and how a request line is read. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "server/creds.h"
#include "server/head.h"

#define NOBODY 65534
#define GROUP 4711

static void test_may(void **state)
{
	gid_t groups[] = {100, GROUP, 200};
	static const struct {
		uid_t uid;
		gid_t gid;
		size_t n_groups;
		gid_t group; /* configured */
		bool read, write;
	} cases[] = {
		{0, 0, 0, BN_SERVER_NO_GROUP, true, true},
		{0, 0, 0, GROUP, true, true},
		{1000, 1000, 0, BN_SERVER_NO_GROUP, false, false},
		{1000, 1000, 0, GROUP, false, false},
		{1000, GROUP, 0, GROUP, true, false},
		{1000, 1000, 3, GROUP, true, false},
		{1000, 1000, 1, GROUP, false, false},
		{1000, 0, 0, GROUP, false, false},
		/* no group configured must not match a group that looks like none */
		{1000, (gid_t)-1, 0, BN_SERVER_NO_GROUP, false, false},
		{(uid_t)-1, GROUP, 3, GROUP, false, false},
		{NOBODY, NOBODY, 0, GROUP, false, false},
		/* the user that the agent itself runs as */
		{998, 998, 0, BN_SERVER_NO_GROUP, true, true},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct bn_creds c = {
			.uid = cases[i].uid,
			.gid = cases[i].gid,
			.groups = groups,
			.n_groups = cases[i].n_groups,
		};

		assert_int_equal(bn_creds_may(&c, BN_ACCESS_READ, 998, cases[i].group),
				 cases[i].read);
		assert_int_equal(bn_creds_may(&c, BN_ACCESS_WRITE, 998, cases[i].group),
				 cases[i].write);
	}
}

static void test_read(void **state)
{
	struct bn_creds c = BN_CREDS_NULL;
	gid_t groups[256];
	int n = getgroups(256, groups);
	int fds[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
	assert_int_equal(bn_creds_read(fds[0], &c), 0);
	assert_int_equal(c.pid, getpid());
	assert_int_equal(c.uid, getuid());
	assert_int_equal(c.gid, getgid());
	assert_int_equal(c.n_groups, n);
	assert_true(n == 0 || memcmp(c.groups, groups, (size_t)n * sizeof(gid_t)) == 0);
	bn_creds_done(&c);
	close(fds[0]);
	close(fds[1]);
	assert_int_equal(bn_creds_read(-1, &c), -EBADF);
}

static int parse(const char *line, struct bn_head *ret, struct bn_error *err)
{
	return bn_head_parse(line, strlen(line), ret, err);
}

static void test_head(void **state)
{
	static const char line[] = "{\"v\":1,\"method\":\"svc.get\",\"params\":{\"name\":\"web\"},"
				   "\"body\":7,\"later\":true}";
	struct bn_head h = BN_HEAD_NULL;
	struct bn_error err = BN_ERROR_INIT;

	assert_int_equal(parse(line, &h, NULL), 0);
	assert_string_equal(h.method, "svc.get");
	assert_string_equal(json_string_value(json_object_get(h.params, "name")), "web");
	assert_int_equal(h.body, 7);
	bn_head_done(&h);
	assert_int_equal(parse("{\"v\":1,\"method\":\"a\",\"params\":null}", &h, NULL), 0);
	assert_int_equal(json_object_size(h.params), 0);
	assert_int_equal(h.body, 0);
	bn_head_done(&h);
	assert_int_equal(parse("{\"v\":9,\"method\":\"a\"}", &h, &err), -EPROTONOSUPPORT);
	assert_non_null(strstr(bn_error_text(&err), "version 9"));
	bn_error_done(&err);
	assert_int_equal(bn_head_parse("\0", 1, &h, &err), -EPROTO);
	bn_error_done(&err);
	assert_null(h.root);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_may),
		cmocka_unit_test(test_read),
		cmocka_unit_test(test_head),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
