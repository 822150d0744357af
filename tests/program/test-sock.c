// SPDX-License-Identifier: Apache-2.0
/*
 * The socket programs. BPF_PROG_TEST_RUN knows no such program on most kernels, so they are attached
 * to a cgroup of this test's own and asked by real sockets of it, in its own namespace; what they
 * take that for, the node's or a pod's, is in a map. Backends listen on the loopback.
 */
#include "sock-stage.h"

#include <arpa/inet.h>
#include <bpfnet/sock.h>
#include <errno.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#define PORT 8080
#define NODE_PORT 30080

/* ------------------------------------------------------------------------------ the services */

/*
 * Of both families, backends on the loopback:
 *   VIP   tcp/80 -> :8080    udp/53 -> :8080
 *   VIP2  tcp/80 -> :8081    udp/53 -> :8081
 *   VIP3  tcp/80, udp/53: no backend
 *   any   tcp/30080 -> :8080, IPv4 alone
 */
static const char *backend_of(int family)
{
	return family == 4 ? "127.0.0.2" : "::1";
}

static void services(void)
{
	static const char *const vip[] = {"VIP", "VIP2", "VIP3"};
	union bn_addr any = {.b = {[10] = 0xff, [11] = 0xff}}, loopback;
	struct bn_rig_backend b = {.port = PORT};

	for (int family = 4; family <= 6; family += 2) {
		bn_address_parse(backend_of(family), b.addr.b);
		for (__u16 i = 0; i < 3; i++) {
			union bn_addr a = bn_rig_addr(vip[i], family);

			b.port = PORT + i;
			bn_rig_service(&rig, &a, 80, IPPROTO_TCP, &b, i < 2);
			bn_rig_service(&rig, &a, 53, IPPROTO_UDP, &b, i < 2);
		}
	}
	bn_address_parse("127.0.0.2", loopback.b);
	b = (struct bn_rig_backend){.addr = loopback, .port = PORT};
	bn_rig_service(&rig, &any, NODE_PORT, IPPROTO_TCP, &b, 1);
}

static __u64 cookie_of(int fd)
{
	socklen_t size = sizeof(__u64);
	__u64 ret = 0;

	assert_int_equal(getsockopt(fd, SOL_SOCKET, SO_COOKIE, &ret, &size), 0);
	return ret;
}

static struct bn_sock_place place_of(__u64 cookie)
{
	__u32 at = cookie & (BN_SOCK_PLACES - 1);
	struct bn_sock_place p;

	assert_int_equal(bpf_map_lookup_elem(bn_rig_map(&rig, "bn_sock_tcp"), &at, &p), 0);
	return p;
}

/* What a program's refusal is to the process: before bpf_set_retval(), EPERM. */
static int refusal(int error)
{
	return stage_can_set_retval() ? error : EPERM;
}

/* ------------------------------------------------------------------------------ TCP */

static int family; /* of the case, 4 or 6 */

static const char *vip(const char *n)
{
	return bn_rig_address(n, family);
}

static void test_tcp(void **state)
{
	const __u32 kinds[] = {BN_NETNS_NODE, BN_NETNS_POD};
	int l = listener(backend_of(family), SOCK_STREAM, PORT);

	for (int i = 0; i < 2; i++) {
		int fd = open_socket(vip("VIP"), SOCK_STREAM), got;

		stage_namespace_is(kinds[i]);
		assert_int_equal(connect_to(fd, vip("VIP"), 80), 0);
		got = accept(l, NULL, NULL);
		assert_true(got >= 0);
		assert_string_equal(peer(fd).text, name(vip("VIP"), 80).text);
		close(got);
		close(fd);
	}
	close(l);
}

/* IPv4 by a socket of IPv6 */
static void test_tcp_mapped(void **state)
{
	int l = listener("127.0.0.2", SOCK_STREAM, PORT), fd = socket(AF_INET6, SOCK_STREAM, 0);
	char mapped[64];

	snprintf(mapped, sizeof(mapped), "::ffff:%s", bn_rig_address("VIP", 4));
	stage_namespace_is(BN_NETNS_POD);
	assert_int_equal(connect_to(fd, mapped, 80), 0);
	assert_string_equal(peer(fd).text, name(mapped, 80).text);
	close(fd);
	close(l);
}

/* Nothing is done for what isn't ours: there is no route to a service. */
static void test_strangers(void **state)
{
	int fd = open_socket(vip("VIP"), SOCK_DGRAM), r;

	stage_namespace_is(0);
	r = connect_to(fd, vip("VIP"), 53);
	assert_true(r || !strcmp(peer(fd).text, name(vip("VIP"), 53).text));
	close(fd);
	/* a port of the service that it does not have */
	stage_namespace_is(BN_NETNS_POD);
	fd = open_socket(vip("VIP"), SOCK_DGRAM);
	r = connect_to(fd, vip("VIP"), 54);
	assert_true(r || !strcmp(peer(fd).text, name(vip("VIP"), 54).text));
	close(fd);
}

static void test_no_backend(void **state)
{
	int fd = open_socket(vip("VIP3"), SOCK_STREAM);

	stage_namespace_is(BN_NETNS_NODE);
	assert_int_equal(connect_to(fd, vip("VIP3"), 80), refusal(ECONNREFUSED));
	close(fd);
	/* a pod's goes out, for the packet path to refuse */
	stage_namespace_is(BN_NETNS_POD);
	fd = open_socket(vip("VIP3"), SOCK_DGRAM);
	assert_int_equal(connect_to(fd, vip("VIP3"), 53), 0);
	assert_string_equal(peer(fd).text, name(vip("VIP3"), 53).text);
	close(fd);
}

/*
 * Since kernels allocate sockets' storage without taking a lock, they have none to give on a processor
 * without cmpxchg16b, as an emulated one may be.
 */
static void needs_storage(void)
{
	int fd = open_socket(vip("VIP"), SOCK_DGRAM), map = bn_rig_map(&rig, "bn_sock_peer");
	struct bn_sock_peer nothing = {};
	int r = bpf_map_update_elem(map, &fd, &nothing, BPF_ANY);

	close(fd);
	if (r == -ENOMEM) {
		print_message("skipped: this machine's kernel gives sockets no storage\n");
		skip();
	}
	assert_int_equal(r, 0);
}

static void test_place(void **state)
{
	needs_storage();

	int l = listener(backend_of(family), SOCK_STREAM, PORT);
	int fd = open_socket(vip("VIP"), SOCK_STREAM), other, map = bn_rig_map(&rig, "bn_sock_tcp");
	struct bn_sock_place p, taken = {.peer.cookie = 1};
	__u64 cookie = cookie_of(fd);
	__u32 at;

	stage_namespace_is(BN_NETNS_POD);
	assert_int_equal(place_of(cookie).peer.cookie, 0);
	assert_int_equal(connect_to(fd, vip("VIP"), 80), 0);
	p = place_of(cookie);
	assert_int_equal(p.peer.cookie, cookie);
	assert_int_equal(p.peer.backend_port, htons(PORT));
	/* whoever closes something else does not take it away */
	other = dup(fd);
	close(other);
	assert_string_equal(peer(fd).text, name(vip("VIP"), 80).text);
	close(fd);
	assert_int_equal(place_of(cookie).peer.cookie, 0);

	/* taken by a socket with a cookie like this one's: its own storage has it */
	fd = open_socket(vip("VIP"), SOCK_STREAM);
	cookie = cookie_of(fd);
	at = cookie & (BN_SOCK_PLACES - 1);
	taken.peer.cookie = cookie + BN_SOCK_PLACES;
	assert_int_equal(bpf_map_update_elem(map, &at, &taken, BPF_ANY), 0);
	assert_int_equal(connect_to(fd, vip("VIP"), 80), 0);
	assert_string_equal(peer(fd).text, name(vip("VIP"), 80).text);
	close(fd);
	p = place_of(cookie);
	assert_int_equal(p.peer.cookie, taken.peer.cookie);
	taken.peer.cookie = 0;
	assert_int_equal(bpf_map_update_elem(map, &at, &taken, BPF_ANY), 0);
	close(l);
}

/* ------------------------------------------------------------------------------ UDP */

static void answer(int server, const char *text)
{
	struct sockaddr_storage from;
	socklen_t size = sizeof(from);
	char buf[8];

	assert_int_equal(recvfrom(server, buf, sizeof(buf), 0, (struct sockaddr *)&from, &size), 1);
	assert_int_equal(sendto(server, text, strlen(text), 0, (struct sockaddr *)&from, size),
			 strlen(text));
}

static struct name receive(int fd, const char *expected)
{
	struct pollfd p = {.fd = fd, .events = POLLIN};
	struct sockaddr_storage from;
	socklen_t size = sizeof(from);
	char buf[8] = "";

	assert_int_equal(poll(&p, 1, 10000), 1);
	assert_true(recvfrom(fd, buf, sizeof(buf) - 1, 0, (struct sockaddr *)&from, &size) >= 0);
	assert_string_equal(buf, expected);
	return name_of(&from);
}

static void test_udp_connected(void **state)
{
	needs_storage();

	int server = listener(backend_of(family), SOCK_DGRAM, PORT);
	int fd = open_socket(vip("VIP"), SOCK_DGRAM);

	stage_namespace_is(BN_NETNS_POD);
	assert_int_equal(connect_to(fd, vip("VIP"), 53), 0);
	assert_string_equal(peer(fd).text, name(vip("VIP"), 53).text);
	assert_int_equal(send(fd, "q", 1, 0), 1);
	answer(server, "a");
	assert_string_equal(receive(fd, "a").text, name(vip("VIP"), 53).text);
	/* connected again, to the backend itself: that is who it talks to then */
	assert_int_equal(connect_to(fd, backend_of(family), PORT), 0);
	assert_string_equal(peer(fd).text, name(backend_of(family), PORT).text);
	assert_int_equal(send(fd, "q", 1, 0), 1);
	answer(server, "b");
	assert_string_equal(receive(fd, "b").text, name(backend_of(family), PORT).text);
	close(fd);
	close(server);
}

static int send_to(int fd, const char *addr, uint16_t port)
{
	struct sockaddr_storage a;
	socklen_t size = address(&a, addr, port);

	return sendto(fd, "q", 1, 0, (struct sockaddr *)&a, size) < 0 ? errno : 0;
}

/* One socket, two services and one who is none: answers come from whom it asked. */
static void test_udp_unconnected(void **state)
{
	int one = listener(backend_of(family), SOCK_DGRAM, PORT);
	int two = listener(backend_of(family), SOCK_DGRAM, PORT + 1);
	int none = listener(backend_of(family), SOCK_DGRAM, PORT + 2);
	int fd = open_socket(vip("VIP"), SOCK_DGRAM);

	stage_namespace_is(BN_NETNS_NODE);
	for (int i = 0; i < 3; i++) {
		assert_int_equal(send_to(fd, vip("VIP"), 53), 0);
		answer(one, "1");
		assert_string_equal(receive(fd, "1").text, name(vip("VIP"), 53).text);
		assert_int_equal(send_to(fd, vip("VIP2"), 53), 0);
		answer(two, "2");
		assert_string_equal(receive(fd, "2").text, name(vip("VIP2"), 53).text);
		assert_int_equal(send_to(fd, backend_of(family), PORT + 2), 0);
		answer(none, "3");
		assert_string_equal(receive(fd, "3").text, name(backend_of(family), PORT + 2).text);
	}
	assert_int_equal(send_to(fd, vip("VIP3"), 53), refusal(ECONNREFUSED));
	close(fd);
	close(one);
	close(two);
	close(none);
}

/* ------------------------------------------------------------------------------ bind */

static int try_bind(const char *addr, int type, uint16_t port, int only6)
{
	int fd = open_socket(addr, type), r;

	if (family_of(addr) == AF_INET6)
		assert_int_equal(setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &only6, sizeof(only6)),
				 0);
	r = bind_to(fd, addr, port);
	close(fd);
	return r;
}

/* A NodePort of IPv4 alone. */
static void test_bind(void **state)
{
	const int taken = refusal(EADDRINUSE);

	stage_namespace_is(BN_NETNS_NODE);
	assert_int_equal(try_bind("0.0.0.0", SOCK_STREAM, NODE_PORT, 0), taken);
	assert_int_equal(try_bind("127.0.0.1", SOCK_STREAM, NODE_PORT, 0), taken);
	assert_int_equal(try_bind("0.0.0.0", SOCK_DGRAM, NODE_PORT, 0), 0);
	assert_int_equal(try_bind("0.0.0.0", SOCK_STREAM, NODE_PORT + 1, 0), 0);
	/* a socket of IPv6 that answers IPv4 too, and one that does not */
	assert_int_equal(try_bind("::", SOCK_STREAM, NODE_PORT, 0), taken);
	assert_int_equal(try_bind("::ffff:127.0.0.1", SOCK_STREAM, NODE_PORT, 0), taken);
	assert_int_equal(try_bind("::", SOCK_STREAM, NODE_PORT, 1), 0);
	assert_int_equal(try_bind("::1", SOCK_STREAM, NODE_PORT, 0), 0);
	assert_int_equal(try_bind("::", SOCK_DGRAM, NODE_PORT, 0), 0);
	/* a pod's ports and a stranger's are their own */
	stage_namespace_is(BN_NETNS_POD);
	assert_int_equal(try_bind("0.0.0.0", SOCK_STREAM, NODE_PORT, 0), 0);
	stage_namespace_is(0);
	assert_int_equal(try_bind("::", SOCK_STREAM, NODE_PORT, 0), 0);
}

/* The same for one of IPv6. */
static void test_bind_6(void **state)
{
	const int taken = refusal(EADDRINUSE);
	struct bn_rig_backend b = {.port = PORT, .addr.b = {[15] = 1}};
	union bn_addr any = {0};

	bn_rig_service(&rig, &any, NODE_PORT + 6, IPPROTO_TCP, &b, 1);
	stage_namespace_is(BN_NETNS_NODE);
	assert_int_equal(try_bind("::", SOCK_STREAM, NODE_PORT + 6, 0), taken);
	assert_int_equal(try_bind("::", SOCK_STREAM, NODE_PORT + 6, 1), taken);
	assert_int_equal(try_bind("::1", SOCK_STREAM, NODE_PORT + 6, 0), taken);
	assert_int_equal(try_bind("0.0.0.0", SOCK_STREAM, NODE_PORT + 6, 0), 0);
}

/* A NodePort at the loopback, from the node; in a pod the loopback is the pod's own. */
static void test_node_port(void **state)
{
	int l = listener("127.0.0.2", SOCK_STREAM, PORT);
	int fd = open_socket("127.0.0.1", SOCK_STREAM);

	stage_namespace_is(BN_NETNS_NODE);
	assert_int_equal(connect_to(fd, "127.0.0.1", NODE_PORT), 0);
	assert_string_equal(peer(fd).text, name("127.0.0.1", NODE_PORT).text);
	close(fd);
	stage_namespace_is(BN_NETNS_POD);
	fd = open_socket("127.0.0.1", SOCK_STREAM);
	assert_int_equal(connect_to(fd, "127.0.0.1", NODE_PORT), ECONNREFUSED);
	close(fd);
	/* the node's address is, from anywhere */
	fd = open_socket("127.0.0.1", SOCK_STREAM);
	assert_int_equal(connect_to(fd, bn_rig_address("NODE", 4), NODE_PORT), 0);
	assert_string_equal(peer(fd).text, name(bn_rig_address("NODE", 4), NODE_PORT).text);
	close(fd);
	close(l);
}

/* ------------------------------------------------------------------------------ the stage */

static int family_4(void **state)
{
	family = 4;
	return 0;
}

static int family_6(void **state)
{
	family = 6;
	return 0;
}

static int run(void)
{
#define BOTH(f) \
	cmocka_unit_test_setup(f, family_4), \
	{ \
		#f ": IPv6", f, family_6, NULL, NULL \
	}
	const struct CMUnitTest tests[] = {
		BOTH(test_tcp),
		cmocka_unit_test(test_tcp_mapped),
		BOTH(test_strangers),
		BOTH(test_no_backend),
		BOTH(test_place),
		BOTH(test_udp_connected),
		BOTH(test_udp_unconnected),
		cmocka_unit_test(test_bind),
		cmocka_unit_test(test_bind_6),
		cmocka_unit_test(test_node_port),
	};

	stage_build();
	services();
	return cmocka_run_group_tests_name("sock", tests, NULL, NULL);
}

int main(void)
{
	return stage_main(run);
}
