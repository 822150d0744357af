// SPDX-License-Identifier: Apache-2.0
/* Sockets of a namespace: its cookie, and ending one of them by netlink. */
#include "datapath/cookie.h"
#include "mounts.h"
#include "net/netns.h"
#include "net/sock-destroy.h"
#include "test-net-fixture.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <sys/socket.h>

static int cookie_of(void *user)
{
	return bn_netns_cookie(-1, user);
}

static void test_cookie(void **state)
{
	uint64_t own = 0, pod = 0, inside = 0, again = 0;
	int fd = tn_pod();

	assert_int_equal(bn_netns_cookie(-1, &own), 0);
	assert_int_equal(bn_netns_cookie(fd, &pod), 0);
	assert_int_equal(bn_netns_run(fd, cookie_of, &inside), 0);
	assert_int_equal(bn_netns_cookie(-1, &again), 0);
	assert_true(own && pod && own != pod);
	assert_int_equal(inside, pod);
	assert_int_equal(again, own);
	close(fd);
	assert_true(bn_netns_cookie(fd, &pod) < 0);
	assert_int_equal(inside, pod);
}

static int take_cgroup2(const struct bn_mount *mount, void *user)
{
	if (!strcmp(mount->type, "cgroup2") && !*(char *)user)
		strcpy(user, mount->point);
	return 0;
}

/* As on kernels whose sockets don't tell. */
static void test_cookie_by_program(void **state)
{
	char cgroup[4096] = "", before[TN_OUTPUT];
	struct bn_error err = BN_ERROR_INIT;
	uint64_t told = 0, seen = 0;
	int fd = tn_pod();

	assert_int_equal(bn_mounts_each("/proc/self/mountinfo", take_cgroup2, cgroup), 0);
	if (!*cgroup)
		skip();
	strcpy(before, tn_sh(-1, "ls %s | grep bpfnet-cookie", cgroup));
	for (int i = 0; i < 2; i++) {
		assert_int_equal(bn_netns_cookie(i ? fd : -1, &told), 0);
		assert_int_equal(bn_cookie_by_program(cgroup, i ? fd : -1, &seen, &err), 0);
		assert_int_equal(seen, told);
	}
	assert_string_equal(tn_sh(-1, "ls %s | grep bpfnet-cookie", cgroup), before);
	assert_true(bn_cookie_by_program(TN_DIR, fd, &seen, &err) < 0);
	assert_non_null(err.text);
	assert_int_equal(seen, told);
	bn_error_done(&err);
	close(fd);
}

struct peer {
	int fd;
	struct bn_sock_name name;
};

static void address(union bn_addr *ret, __be16 *ret_port, const struct sockaddr_storage *ss)
{
	const struct sockaddr_in *v4 = (const void *)ss;
	const struct sockaddr_in6 *v6 = (const void *)ss;

	if (ss->ss_family == AF_INET) {
		bn_addr_set_v4(ret, v4->sin_addr.s_addr);
		*ret_port = v4->sin_port;
	} else {
		memcpy(ret, &v6->sin6_addr, sizeof(*ret));
		*ret_port = v6->sin6_port;
	}
}

static void connected(struct peer *ret, int family, const char *to)
{
	struct sockaddr_in6 v6 = {.sin6_family = AF_INET6, .sin6_port = htons(5353)};
	struct sockaddr_in v4 = {.sin_family = AF_INET, .sin_port = htons(5353)};
	struct sockaddr_storage own, other;
	socklen_t own_size = sizeof(own), other_size = sizeof(other), size = sizeof(uint64_t);

	memset(ret, 0, sizeof(*ret));
	ret->fd = socket(family, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	assert_true(ret->fd >= 0);
	assert_int_equal(
		inet_pton(family, to,
			  family == AF_INET ? (void *)&v4.sin_addr : (void *)&v6.sin6_addr),
		1);
	assert_int_equal(connect(ret->fd, family == AF_INET ? (void *)&v4 : (void *)&v6,
				 family == AF_INET ? sizeof(v4) : sizeof(v6)),
			 0);
	assert_int_equal(getsockname(ret->fd, (void *)&own, &own_size), 0);
	assert_int_equal(getpeername(ret->fd, (void *)&other, &other_size), 0);
	address(&ret->name.local, &ret->name.local_port, &own);
	address(&ret->name.remote, &ret->name.remote_port, &other);
	ret->name.family = family == AF_INET ? BN_IPV4 : BN_IPV6;
	ret->name.protocol = IPPROTO_UDP;
	assert_int_equal(getsockopt(ret->fd, SOL_SOCKET, SO_COOKIE, &ret->name.cookie, &size), 0);
}

static int error_of(const struct peer *p)
{
	char byte;

	return recv(p->fd, &byte, 1, 0) < 0 ? errno : 0;
}

static void check(int family, const char *to)
{
	struct bn_error err = BN_ERROR_INIT;
	struct peer one, other;
	struct bn_sock_name stranger;

	connected(&one, family, to);
	connected(&other, family, to);
	stranger = one.name;
	stranger.cookie++;
	assert_int_equal(bn_sock_destroy_by_name(&stranger, NULL), 0);
	assert_int_equal(error_of(&one), EAGAIN);
	if (bn_sock_destroy_by_name(&one.name, &err) == -EOPNOTSUPP)
		skip(); /* CONFIG_INET_DIAG_DESTROY is not set */
	assert_null(err.text);
	assert_int_equal(error_of(&one), ECONNABORTED);
	assert_int_equal(error_of(&other), EAGAIN);
	/* gone: fine */
	close(one.fd);
	assert_int_equal(bn_sock_destroy_by_name(&one.name, NULL), 0);
	close(other.fd);
}

static void test_destroy(void **state)
{
	check(AF_INET, "127.0.0.1");
	check(AF_INET6, "::1");
	check(AF_INET6, "::ffff:127.0.0.1");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(test_cookie, tn_fresh_node),
		cmocka_unit_test_setup(test_cookie_by_program, tn_fresh_node),
		cmocka_unit_test_setup(test_destroy, tn_fresh_node),
	};

	return cmocka_run_group_tests(tests, tn_enter, NULL);
}
