// SPDX-License-Identifier: Apache-2.0
/*
 * The control socket from a client's side: framing, limits, rubbish, half messages, descriptors,
 * and where the socket lives.
 */
#include "server-fixture.h"

#include <signal.h>

static void test_answers(void **state)
{
	struct fixture *f = *state;
	int fd = client(f);

	assert_string_equal(ask(f, fd, "{\"v\":1,\"method\":\"status\"}\n"),
			    "{\"ok\":true,\"result\":{\"state\":\"live\"}}\n");
	/* one connection serves many requests, also two in one piece */
	assert_string_equal(
		ask(f, fd, "{\"v\":1,\"method\":\"status\"}\n{\"v\":1,\"method\":\"status\"}\n"),
		"{\"ok\":true,\"result\":{\"state\":\"live\"}}\n"
		"{\"ok\":true,\"result\":{\"state\":\"live\"}}\n");
	assert_string_equal(ask(f, fd, "{\"v\":1,\"method\":\"missing\"}\n"),
			    "{\"ok\":false,\"error\":\"No such file or directory\",\"code\":"
			    "\"not-found\"}\n");
	assert_non_null(strstr(ask(f, fd, "{\"v\":1,\"method\":\"nope\"}\n"), "unknown-method"));
	assert_non_null(strstr(ask(f, fd, "{\"v\":1,\"method\":\"status\"}\n"), "live"));
	assert_int_equal(stats(f).requests, 5);
	assert_int_equal(stats(f).queued_bytes, 0);
	close(fd);
	pump(f);
	assert_int_equal(stats(f).connections, 0);
}

static void test_byte_by_byte(void **state)
{
	struct fixture *f = *state;
	const char *request = "{\"v\":1,\"method\":\"apply\",\"body\":11}\nhello world"
			      "{\"v\":1,\"method\":\"status\"}\n";
	int fd = client(f);

	for (const char *p = request; *p; p++)
		say(f, fd, p, 1);
	assert_string_equal(hear(f, fd),
			    "{\"ok\":true,\"result\":{\"size\":11,\"begin\":\"hello\"}}\n"
			    "{\"ok\":true,\"result\":{\"state\":\"live\"}}\n");
	/* the same in one piece: what follows the body is the next request */
	assert_string_equal(ask(f, fd, request),
			    "{\"ok\":true,\"result\":{\"size\":11,\"begin\":\"hello\"}}\n"
			    "{\"ok\":true,\"result\":{\"state\":\"live\"}}\n");
	assert_non_null(
		strstr(ask(f, fd, "{\"v\":1,\"method\":\"apply\",\"body\":0}\n"), "\"size\":0"));
	close(fd);
}

static void test_large_body(void **state)
{
	struct fixture *f = *state;
	size_t size = 8 << 20;
	char *body = malloc(size);
	char line[80];
	int fd = client(f);

	memset(body, 'a', size);
	snprintf(line, sizeof(line), "{\"v\":1,\"method\":\"apply\",\"body\":%zu}\n", size);
	say(f, fd, line, strlen(line));
	say(f, fd, body, size);
	assert_non_null(strstr(hear(f, fd), "\"size\":8388608"));
	free(body);
	close(fd);
}

static void test_rubbish(void **state)
{
	static const struct {
		const char *line;
		const char *code;
	} cases[] = {
		{"\n", "bad-request"},
		{"GET / HTTP/1.1\r\n", "bad-request"},
		{"[]\n", "bad-request"},
		{"{}\n", "bad-request"},
		{"{\"v\":1}\n", "bad-request"},
		{"{\"v\":\"1\",\"method\":\"status\"}\n", "bad-request"},
		{"{\"v\":2,\"method\":\"status\"}\n", "version"},
		{"{\"v\":1,\"method\":\"status\",\"v\":1}\n", "bad-request"},
		{"{\"v\":1,\"method\":\"\"}\n", "bad-request"},
		{"{\"v\":1,\"method\":\"\\u001b[31m\"}\n", "bad-request"},
		{"{\"v\":1,\"method\":\"status\",\"params\":[]}\n", "bad-request"},
		{"{\"v\":1,\"method\":\"status\",\"body\":-1}\n", "bad-request"},
		{"{\"v\":1,\"method\":\"status\",\"body\":1.5}\n", "bad-request"},
		{"{\"v\":1,\"method\":\"status\",\"body\":9223372036854775807}\n", "too-large"},
		{"{\"v\":1,\"method\":\"status\",\"body\":92233720368547758070}\n", "bad-request"},
		{"{\"v\":1,\"method\":\"status\",\"body\":1}\n", "too-large"},
		{"{\"v\":1,\"method\":\"apply\",\"body\":268435457}\n", "too-large"},
		{"{\"v\":1,\"method\":\"nope\",\"body\":1}\n", "unknown-method"},
		{"{\"v\":1,\"method\":\"st\xff\xfe\"}\n", "bad-request"},
		{"{\"v\":1,\"method\":\"status\"} x\n", "bad-request"},
	};
	struct fixture *f = *state;

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		int fd = client(f);
		char code[64];

		snprintf(code, sizeof(code), "\"code\":\"%s\"}\n", cases[i].code);
		if (!strstr(ask(f, fd, cases[i].line), code))
			fail_msg("%s answered %s", cases[i].line, f->answer);
		/* exactly one line, then the end */
		assert_ptr_equal(strchr(f->answer, '\n'), f->answer + f->answer_len - 1);
		assert_true(hung_up(f, fd));
		close(fd);
	}
	assert_int_equal(stats(f).bad_requests, sizeof(cases) / sizeof(cases[0]));
	assert_int_equal(stats(f).requests, 0);
	assert_int_equal(stats(f).connections, 0);
}

static void test_endless_line(void **state)
{
	struct fixture *f = *state;
	char *junk = malloc(4 << 20);
	int fd = client(f);

	memset(junk, '[', 4 << 20);
	say(f, fd, junk, 4 << 20);
	assert_non_null(strstr(hear(f, fd), "too-large"));
	free(junk);
	close(fd);
	/* nested deeper than any parser likes, but a line */
	fd = client(f);
	junk = malloc(100001);
	memset(junk, '[', 100000);
	junk[100000] = '\n';
	say(f, fd, junk, 100001);
	assert_non_null(strstr(hear(f, fd), "bad-request"));
	free(junk);
	close(fd);
}

static void test_ends_early(void **state)
{
	struct fixture *f = *state;
	int fd = client(f);

	tell(f, fd, "{\"v\":1,\"meth");
	shutdown(fd, SHUT_WR);
	assert_non_null(strstr(hear(f, fd), "ended early"));
	close(fd);
	fd = client(f);
	tell(f, fd, "{\"v\":1,\"method\":\"apply\",\"body\":10}\nabc");
	shutdown(fd, SHUT_WR);
	assert_non_null(strstr(hear(f, fd), "ended early"));
	close(fd);
	/* a whole request before the end is answered */
	fd = client(f);
	tell(f, fd, "{\"v\":1,\"method\":\"status\"}\n");
	shutdown(fd, SHUT_WR);
	assert_non_null(strstr(hear(f, fd), "live"));
	assert_true(hung_up(f, fd));
	close(fd);
	assert_int_equal(stats(f).bad_requests, 2);
}

static void send_fds(int to, const char *text, const int *fds, size_t n)
{
	char control[CMSG_SPACE(sizeof(int) * 8)] __attribute__((aligned(8))) = {0};
	struct iovec iov = {.iov_base = (char *)text, .iov_len = strlen(text)};
	struct msghdr msg = {
		.msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = control,
		.msg_controllen = CMSG_SPACE(sizeof(int) * n),
	};
	struct cmsghdr *h = CMSG_FIRSTHDR(&msg);

	h->cmsg_level = SOL_SOCKET;
	h->cmsg_type = SCM_RIGHTS;
	h->cmsg_len = CMSG_LEN(sizeof(int) * n);
	memcpy(CMSG_DATA(h), fds, sizeof(int) * n);
	assert_int_equal(sendmsg(to, &msg, MSG_NOSIGNAL), strlen(text));
}

static size_t open_fds(void)
{
	size_t n = 0;

	for (int fd = 0; fd < 1024; fd++)
		n += fcntl(fd, F_GETFD) >= 0;
	return n;
}

static void test_descriptors(void **state)
{
	struct fixture *f = *state;
	int fd = client(f), file, many[8];
	size_t before = open_fds() - 2; /* the loop's timer stays; both ends of this go */

	file = memfd_create("test", MFD_CLOEXEC);
	assert_int_equal(write(file, "hello", 5), 5);
	send_fds(fd, "{\"v\":1,\"method\":\"endpoint.add\"}\n", &file, 1);
	assert_string_equal(hear(f, fd), "{\"ok\":true,\"result\":\"hello\"}\n");
	/* none: the method says so */
	assert_non_null(strstr(ask(f, fd, "{\"v\":1,\"method\":\"endpoint.add\"}\n"), "invalid"));
	/* where none is wanted, or too many, or too late */
	send_fds(fd, "{\"v\":1,\"method\":\"status\"}\n", &file, 1);
	assert_non_null(strstr(hear(f, fd), "at most 0 descriptors"));
	for (int i = 0; i < 8; i++)
		many[i] = file;
	send_fds(fd, "{\"v\":1,\"method\":\"endpoint.add\"}\n", many, 8);
	assert_non_null(strstr(hear(f, fd), "at most 1 descriptors"));
	tell(f, fd, "{\"v\":1,\"method\":\"apply\",\"body\":5}\n");
	send_fds(fd, "abc", &file, 1);
	assert_non_null(strstr(hear(f, fd), "first byte"));
	close(fd);
	/* and what a client leaves behind is closed */
	fd = client(f);
	send_fds(fd, "{", &file, 1);
	pump(f);
	close(fd);
	pump(f);
	close(file);
	assert_int_equal(open_fds(), before);
}

static void test_too_many(void **state)
{
	struct fixture *f = *state;
	int fds[20], more;

	for (int i = 0; i < 20; i++)
		fds[i] = client(f);
	more = client(f);
	assert_non_null(strstr(hear(f, more), "\"busy\""));
	assert_true(hung_up(f, more));
	close(more);
	assert_non_null(strstr(ask(f, fds[0], "{\"v\":1,\"method\":\"status\"}\n"), "live"));
	for (int i = 0; i < 20; i++)
		close(fds[i]);
	pump(f);
	assert_int_equal(stats(f).connections, 0);
	assert_int_equal(stats(f).refused_full, 1);
}

static void test_addresses(void **state)
{
	struct fixture *f = *state;
	struct bn_server_config config = {.run_dir = f->dir, .group = BN_SERVER_NO_GROUP};
	struct bn_error err = BN_ERROR_INIT;
	struct bn_server *other = NULL;
	char path[300], deep[256];
	struct stat st;
	int fd;

	snprintf(path, sizeof(path), "%s/%s", f->dir, BN_CONTROL_SOCKET);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0660);
	/* a living agent keeps its socket */
	assert_int_equal(bn_server_new(f->event, &config, &other, &err), -EADDRINUSE);
	assert_non_null(strstr(bn_error_text(&err), "another bpfnetd"));
	bn_error_done(&err);
	/* what is left of a dead one is replaced */
	bn_server_free(f->server);
	f->server = NULL;
	fd = socket(AF_UNIX, SOCK_STREAM, 0);
	struct sockaddr_un a = {.sun_family = AF_UNIX};
	strcpy(a.sun_path, path);
	assert_int_equal(bind(fd, (struct sockaddr *)&a, sizeof(a)), 0);
	close(fd);
	assert_int_equal(bn_server_new(f->event, &config, &other, &err), 0);
	bn_server_free(other);
	/* a file that is no socket is left alone */
	fd = open(path, O_CREAT | O_WRONLY, 0600);
	close(fd);
	assert_int_equal(bn_server_new(f->event, &config, &other, &err), -EEXIST);
	bn_error_done(&err);
	assert_int_equal(unlink(path), 0);
	/* folders are made, and paths may be longer than a socket's address */
	snprintf(deep, sizeof(deep), "%s/%0100d/%060d", f->dir, 1, 2);
	config.run_dir = deep;
	assert_int_equal(bn_server_new(f->event, &config, &other, &err), 0);
	snprintf(path, sizeof(path), "%s/%s", deep, BN_CONTROL_SOCKET);
	assert_int_equal(access(path, F_OK), 0);
	bn_server_free(other);
	assert_int_equal(access(path, F_OK), -1);
	assert_int_equal(rmdir(deep), 0);
	*strrchr(deep, '/') = '\0';
	assert_int_equal(rmdir(deep), 0);
	/* a file where a folder should be */
	config.run_dir = "/dev/null/x";
	assert_int_equal(bn_server_new(f->event, &config, &other, &err), -ENOTDIR);
	assert_non_null(strstr(bn_error_text(&err), "/dev/null"));
	bn_error_done(&err);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_answers),     TEST(test_byte_by_byte), TEST(test_large_body),
		TEST(test_rubbish),     TEST(test_endless_line), TEST(test_ends_early),
		TEST(test_descriptors), TEST(test_too_many),     TEST(test_addresses),
	};

	signal(SIGPIPE, SIG_IGN);
	bn_log_setup(BN_LOG_ERROR, BN_LOG_TEXT); /* refusals are what is tested here */
	return cmocka_run_group_tests(tests, NULL, NULL);
}
