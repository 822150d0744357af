// SPDX-License-Identifier: Apache-2.0
/* Who may do what on the control socket, and how a request line is read. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <grp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "log.h"
#include "server/creds.h"
#include "server/head.h"
#include "lib/temp.h"

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

static int on_any(struct bn_request *r, void *user)
{
	bn_reply(r, json_true());
	return 0;
}

/* Connects as a stranger and asks; exits with 1 for each answer that is ok, 2 for the second. */
static void child(const char *dir, gid_t group)
{
	static const char *const asks[] = {"{\"v\":1,\"method\":\"status\"}\n",
					   "{\"v\":1,\"method\":\"apply\"}\n"};
	struct sockaddr_un a = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);
	char answer[512];
	int result = 0;

	snprintf(a.sun_path, sizeof(a.sun_path), "%s/bpfnet.sock", dir);
	if (setgroups(1, &group) < 0 || setgid(NOBODY) < 0 || setuid(NOBODY) < 0)
		_exit(100);
	if (connect(fd, (struct sockaddr *)&a, sizeof(a)) < 0)
		_exit(errno == EACCES ? 101 : 102);
	for (int i = 0; i < 2; i++) {
		ssize_t n;

		if (send(fd, asks[i], strlen(asks[i]), MSG_NOSIGNAL) < 0)
			break;
		n = recv(fd, answer, sizeof(answer) - 1, 0);
		/* who was refused is hung up on, perhaps with the second question still unread */
		if (n <= 0 && i > 0)
			break;
		answer[n > 0 ? n : 0] = '\0';
		if (strstr(answer, "\"ok\":true"))
			result |= 1 << i;
		else if (!strstr(answer, "\"forbidden\""))
			_exit(103);
	}
	_exit(result);
}

static int on_child(sd_event_source *source, const siginfo_t *si, void *user)
{
	*(int *)user = si->si_status;
	return 0;
}

/* What a stranger with this supplementary group gets. `mode`: of the socket, 0: as it is made. */
static int try_as_stranger(gid_t configured, gid_t group, mode_t mode)
{
	char dir[BN_TEMP_MAX], path[128];
	struct bn_server_config config = {.run_dir = bn_temp_dir(dir, "creds"),
					  .group = configured};
	struct bn_server *server;
	sd_event *event;
	int status = -1;
	sigset_t mask;
	pid_t pid;

	sigemptyset(&mask);
	sigaddset(&mask, SIGCHLD);
	sigprocmask(SIG_BLOCK, &mask, NULL);
	assert_int_equal(chmod(dir, 0755), 0);
	assert_int_equal(sd_event_new(&event), 0);
	assert_int_equal(bn_server_new(event, &config, &server, NULL), 0);
	bn_server_method(server, "status", BN_ACCESS_READ, on_any, NULL);
	bn_server_method(server, "apply", BN_ACCESS_WRITE, on_any, NULL);
	snprintf(path, sizeof(path), "%s/bpfnet.sock", dir);
	if (mode)
		assert_int_equal(chmod(path, mode), 0);
	pid = fork();
	if (pid == 0)
		child(dir, group);
	assert_true(sd_event_add_child(event, NULL, pid, WEXITED, on_child, &status) >= 0);
	for (int i = 0; i < 100 && status < 0; i++)
		sd_event_run(event, 100000);
	bn_server_free(server);
	sd_event_unref(event);
	assert_int_equal(rmdir(dir), 0);
	return status;
}

static void test_strangers(void **state)
{
	if (geteuid() != 0)
		skip();
	assert_int_equal(try_as_stranger(GROUP, GROUP, 0), 1); /* reads, may not write */
	assert_int_equal(try_as_stranger(GROUP, GROUP + 1, 0), 101);
	assert_int_equal(try_as_stranger(BN_SERVER_NO_GROUP, GROUP, 0), 101);
	/* where the file's mode lets everybody in, the credentials still don't */
	assert_int_equal(try_as_stranger(GROUP, GROUP + 1, 0666), 0);
	assert_int_equal(try_as_stranger(BN_SERVER_NO_GROUP, GROUP, 0666), 0);
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
		cmocka_unit_test(test_strangers),
		cmocka_unit_test(test_head),
	};

	bn_log_setup(BN_LOG_ERROR, BN_LOG_TEXT);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
