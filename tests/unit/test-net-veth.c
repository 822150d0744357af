// SPDX-License-Identifier: Apache-2.0
/* The veth pair of an endpoint: its end state in full, and that a failure leaves nothing. */
#include "test-net-fixture.h"

#include "address.h"
#include "net/inventory.h"
#include "net/netlink.h"
#include "net/sysctl.h"
#include "net/veth.h"

#include <errno.h>

static struct bn_nl *nl;

static int setup(void **state)
{
	if (tn_fresh_node(state) < 0)
		return -1;
	return bn_nl_open(NETLINK_ROUTE, &nl, NULL);
}

static int teardown(void **state)
{
	bn_nl_free(nl);
	nl = NULL;
	return 0;
}

struct seen {
	int calls;
	bool was_down;
	int result;
};

static int on_attach(void *user, const struct bn_veth *veth, struct bn_error *err)
{
	struct seen *seen = user;
	struct bn_link link;

	seen->calls++;
	assert_int_equal(bn_link_get(nl, NULL, veth->ifindex, &link), 0);
	seen->was_down = !(link.flags & IFF_UP);
	return seen->result < 0 ? bn_error_set(err, seen->result, "refused by the test") : 0;
}

static union bn_addr ips[2];

static struct bn_veth_spec spec_for(int pod)
{
	assert_int_equal(bn_addr_parse("10.61.0.7", &ips[0], NULL), 0);
	assert_int_equal(bn_addr_parse("fd61::7", &ips[1], NULL), 0);
	return (struct bn_veth_spec){
		.host_ifname = "bntest0",
		.pod_ifname = "eth0",
		.netns_fd = pod,
		.ips = ips,
		.n_ips = 2,
	};
}

static void assert_sysctl(const char *key, const char *value)
{
	char have[BN_SYSCTL_VALUE_MAX];

	assert_int_equal(bn_sysctl_read(key, have), 0);
	assert_string_equal(have, value);
}

static void test_end_state(void **state)
{
	struct seen seen = {0};
	const int pod = tn_pod();
	struct bn_veth_spec spec = spec_for(pod);
	struct bn_error err = BN_ERROR_INIT;
	union bn_addr node_v4, node_v6;
	struct bn_veth veth;
	const char *out;
	char mac[32];
	int r;

	tn_sh(-1, "ip addr add 10.60.0.1/24 dev lo; ip addr add fd60::1/64 dev lo nodad");
	bn_addr_parse("10.60.0.1", &node_v4, NULL);
	bn_addr_parse("fd60::1", &node_v6, NULL);
	spec.mtu = 1440;
	spec.node_v4 = &node_v4;
	spec.node_v6 = &node_v6;
	r = bn_veth_create(nl, &spec, on_attach, &seen, &veth, &err);
	if (r < 0)
		fail_msg("%s", bn_error_text(&err));
	assert_int_equal(seen.calls, 1);
	assert_true(seen.was_down);
	assert_int_equal(veth.mtu, 1440);

	out = tn_sh(-1, "ip -d link show dev bntest0");
	assert_true(tn_has(out, "02:bf:ff:ff:ff:ff"));
	assert_true(tn_has(out, "mtu 1440"));
	assert_true(tn_has(out, "state UP"));
	assert_true(tn_has(out, "addrgenmode none"));
	assert_string_equal(tn_sh(-1, "ip -br addr show dev bntest0 | awk '{print $3}'"), "\n");
	out = tn_sh(-1, "ip route show table main");
	assert_true(tn_has(out, "10.61.0.7 dev bntest0 proto 191 scope link src 10.60.0.1"));
	out = tn_sh(-1, "ip -6 route show table main");
	assert_true(tn_has(out, "fd61::7 dev bntest0 proto 191 src fd60::1"));
	snprintf(mac, sizeof(mac), "02:bf:00:00:%02x:%02x", veth.ifindex >> 8, veth.ifindex & 0xff);
	out = tn_sh(-1, "ip neigh show dev bntest0");
	assert_true(tn_has(out, "10.61.0.7 lladdr 02:bf:00:00"));
	assert_true(tn_has(out, "fd61::7 lladdr 02:bf:00:00"));
	assert_true(tn_has(out, "PERMANENT"));
	assert_sysctl("net/ipv4/conf/bntest0/rp_filter", "0");
	assert_sysctl("net/ipv4/conf/bntest0/accept_local", "1");
	assert_sysctl("net/ipv4/conf/bntest0/forwarding", "1");
	assert_sysctl("net/ipv4/conf/bntest0/proxy_arp", "0");
	assert_sysctl("net/ipv6/conf/bntest0/accept_ra", "0");
	assert_sysctl("net/ipv6/conf/bntest0/accept_dad", "0");
	assert_sysctl("net/ipv6/conf/bntest0/disable_ipv6", "0");

	out = tn_sh(pod, "ip link show");
	assert_true(tn_has(out, mac));
	assert_true(tn_has(out, "lo: <LOOPBACK,UP,LOWER_UP>"));
	assert_true(tn_has(out, "mtu 1440"));
	out = tn_sh(pod, "ip addr show dev eth0");
	assert_true(tn_has(out, "inet 10.61.0.7/32 scope global"));
	assert_true(tn_has(out, "inet6 fd61::7/128 scope global nodad"));
	assert_null(strstr(out, "tentative"));
	out = tn_sh(pod, "ip route; ip -6 route");
	assert_true(tn_has(out, "default via 169.254.1.1 dev eth0"));
	assert_true(tn_has(out, "169.254.1.1 dev eth0 proto 191 scope link"));
	assert_true(tn_has(out, "default via fe80::1 dev eth0"));

	assert_int_equal(bn_veth_remove(nl, veth.ifindex, &err), 0);
	assert_int_equal(bn_veth_remove(nl, veth.ifindex, &err), 0);
	assert_null(strstr(tn_sh(pod, "ip link show"), "eth0"));
	assert_null(strstr(tn_sh(-1, "ip route; ip -6 route"), "bntest0"));
	close(pod);
}

/* The gateways answer by program; with neighbours in its place both families carry at once. */
static void test_carries(void **state)
{
	const int pod = tn_pod();
	struct bn_veth_spec spec = spec_for(pod);
	struct bn_veth veth;

	tn_sh(-1, "ip addr add 10.60.0.1/32 dev lo; ip addr add fd60::1/128 dev lo nodad");
	assert_int_equal(bn_veth_create(nl, &spec, NULL, NULL, &veth, NULL), 0);
	tn_sh(pod, "ip neigh replace 169.254.1.1 lladdr 02:bf:ff:ff:ff:ff dev eth0;"
		   "ip neigh replace fe80::1 lladdr 02:bf:ff:ff:ff:ff dev eth0");
	assert_true(tn_has(tn_sh(-1, "ping -c1 -W1 -I 10.60.0.1 10.61.0.7"), " 0% packet loss"));
	assert_true(tn_has(tn_sh(-1, "ping -c1 -W1 -I fd60::1 fd61::7"), " 0% packet loss"));
	bn_veth_remove(nl, veth.ifindex, NULL);
	close(pod);
}

/* IPv6 switched off on the node and in the pod: on where it is asked for, and only there. */
static void test_disabled_v6(void **state)
{
	static const char off[] = "sysctl -qw net.ipv6.conf.all.disable_ipv6=1"
				  " net.ipv6.conf.default.disable_ipv6=1";
	const int pod = tn_pod();
	struct bn_veth_spec spec = spec_for(pod);
	struct bn_error err = BN_ERROR_INIT;
	struct bn_veth veth;

	tn_sh(-1, "%s", off);
	tn_sh(pod, "%s", off);
	if (bn_veth_create(nl, &spec, NULL, NULL, &veth, &err) < 0)
		fail_msg("%s", bn_error_text(&err));
	assert_true(tn_has(tn_sh(pod, "ip -6 addr show eth0; ip -6 route"), "fd61::7/128"));
	assert_true(tn_has(tn_sh(pod, "ip -6 addr show eth0; ip -6 route"), "default via fe80::1"));
	assert_true(tn_has(tn_sh(-1, "ip -6 route"), "fd61::7 dev bntest0"));
	bn_veth_remove(nl, veth.ifindex, NULL);
	spec.n_ips = 1;
	assert_int_equal(bn_veth_create(nl, &spec, NULL, NULL, &veth, &err), 0);
	assert_string_equal(tn_sh(pod, "cat /proc/sys/net/ipv6/conf/eth0/disable_ipv6"), "1\n");
	bn_veth_remove(nl, veth.ifindex, NULL);
	close(pod);
}

static void test_repair(void **state)
{
	const int pod = tn_pod();
	struct bn_veth_spec spec = spec_for(pod);
	struct bn_veth veth;
	const char *out;

	assert_int_equal(bn_veth_create(nl, &spec, NULL, NULL, &veth, NULL), 0);
	tn_sh(-1, "ip link set bntest0 down; sysctl -qw net.ipv4.conf.bntest0.rp_filter=1");
	assert_int_equal(bn_veth_repair(nl, &spec, &veth, NULL), 0);
	assert_int_equal(bn_veth_repair(nl, &spec, &veth, NULL), 0);
	out = tn_sh(-1, "ip route; ip -6 route; ip neigh");
	assert_true(tn_has(out, "10.61.0.7 dev bntest0 proto 191 scope link"));
	assert_true(tn_has(out, "fd61::7 dev bntest0 proto 191"));
	assert_true(tn_has(out, "10.61.0.7 dev bntest0 lladdr"));
	assert_sysctl("net/ipv4/conf/bntest0/rp_filter", "0");
	bn_veth_remove(nl, veth.ifindex, NULL);
	close(pod);
}

/* What goes wrong, made by hand in the pod or on the node, and a word of the explanation. */
static const struct failure {
	const char *in_pod, *on_node;
	int attach;
	uint32_t mtu;
	int result;
	const char *says;
} failures[] = {
	{.in_pod = "ip link add eth0 type bridge",
	 .result = -EEXIST,
	 .says = "eth0 exists already in the pod's"},
	{.on_node = "ip link add bntest0 type bridge", .result = -EEXIST, .says = "bntest0"},
	{.attach = -EPERM, .result = -EPERM, .says = "refused by the test"},
	{.in_pod = "ip link set lo up; ip route add default dev lo",
	 .result = -EEXIST,
	 .says = "IPv4 default route already"},
	{.in_pod =
		 "ip link add br0 type bridge; ip link set br0 up; ip -6 route add default dev br0",
	 .result = -EEXIST,
	 .says = "IPv6 default route already"},
	{.on_node = "ip route add 10.61.0.7/32 dev lo",
	 .result = -EEXIST,
	 .says = "a route to 10.61.0.7 already"},
	{.mtu = 1000, .result = -EINVAL, .says = "IPv6 needs an MTU of 1280"},
	{.mtu = 70000, .result = -EINVAL, .says = "cannot create the pair"},
};

static void test_rollback(void **state)
{
	for (size_t i = 0; i < sizeof(failures) / sizeof(failures[0]); i++) {
		const struct failure *f = &failures[i];
		struct bn_error err = BN_ERROR_INIT;
		char before[8192], pod_before[8192];
		struct seen seen = {.result = f->attach};
		struct bn_veth_spec spec;
		struct bn_veth veth;
		const char *state_of = "ip -o link | sed 's/^[0-9]*: //; s/ qdisc [a-z]*//'; ip "
				       "route; ip -6 route; ip neigh";
		int pod;

		assert_int_equal(tn_fresh_node(state), 0);
		bn_nl_free(nl);
		assert_int_equal(bn_nl_open(NETLINK_ROUTE, &nl, NULL), 0);
		pod = tn_pod();
		spec = spec_for(pod);
		spec.mtu = f->mtu;
		if (f->in_pod)
			tn_sh(pod, "%s", f->in_pod);
		if (f->on_node)
			tn_sh(-1, "%s", f->on_node);
		snprintf(before, sizeof(before), "%s", tn_sh(-1, "%s", state_of));
		snprintf(pod_before, sizeof(pod_before), "%s", tn_sh(pod, "%s", state_of));
		assert_int_equal(bn_veth_create(nl, &spec, on_attach, &seen, &veth, &err),
				 f->result);
		assert_true(tn_has(bn_error_text(&err), f->says));
		assert_string_equal(tn_sh(-1, "%s", state_of), before);
		assert_string_equal(tn_sh(pod, "%s", state_of), pod_before);
		bn_error_done(&err);
		close(pod);
	}
}

static void test_names(void **state)
{
	char a[IF_NAMESIZE], b[IF_NAMESIZE];
	uint8_t mac[6];

	bn_veth_host_name("default", "web-0", 0, a);
	assert_int_equal(strlen(a), 14);
	assert_memory_equal(a, "bn", 2);
	bn_veth_host_name("default", "web-0", 0, b);
	assert_string_equal(a, b);
	bn_veth_host_name("default", "web-0", 1, b);
	assert_string_not_equal(a, b);
	bn_veth_host_name("defaul", "t/web-0", 0, b);
	assert_string_not_equal(a, b);
	bn_veth_pod_mac(0x01020304, mac);
	assert_memory_equal(mac, "\x02\xbf\x01\x02\x03\x04", 6);
}

/* The thread comes back from a pod's namespace, also from one it can't enter. */
static int fail_inside(void *user)
{
	return -EXDEV;
}

static void test_netns_return(void **state)
{
	struct bn_netns_id before, after;
	const int pod = tn_pod();
	int file = open("/dev/null", O_RDONLY);

	assert_int_equal(bn_netns_own(&before), 0);
	assert_int_equal(bn_netns_run(pod, fail_inside, NULL), -EXDEV);
	assert_int_equal(bn_netns_run(file, fail_inside, NULL), -EINVAL);
	assert_int_equal(bn_netns_own(&after), 0);
	assert_true(bn_netns_same(&before, &after));
	assert_int_equal(bn_netns_identify(file, &after), -EINVAL);
	assert_int_equal(bn_netns_identify(pod, &after), 0);
	assert_false(bn_netns_same(&before, &after));
	close(file);
	close(pod);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_end_state, setup, teardown),
		cmocka_unit_test_setup_teardown(test_carries, setup, teardown),
		cmocka_unit_test_setup_teardown(test_disabled_v6, setup, teardown),
		cmocka_unit_test_setup_teardown(test_repair, setup, teardown),
		cmocka_unit_test_setup_teardown(test_rollback, setup, teardown),
		cmocka_unit_test(test_names),
		cmocka_unit_test_setup_teardown(test_netns_return, setup, teardown),
	};

	return cmocka_run_group_tests(tests, tn_enter, NULL);
}
