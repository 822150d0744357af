// SPDX-License-Identifier: Apache-2.0
/* The monitor's notifications and the dumps of what the node has. */
#include "test-net-fixture.h"

#include "address.h"
#include "net/inventory.h"
#include "net/monitor.h"
#include "net/netlink.h"

#include <errno.h>
#include <net/if.h>

struct seen {
	char log[8192];
	int resyncs;
};

static void note(struct seen *s, const char *format, ...) __attribute__((format(printf, 2, 3)));
static void note(struct seen *s, const char *format, ...)
{
	const size_t n = strlen(s->log);
	va_list ap;

	va_start(ap, format);
	vsnprintf(s->log + n, sizeof(s->log) - n, format, ap);
	va_end(ap);
}

static void on_link(void *user, const struct bn_link *link)
{
	note(user, "link %s mtu %u;", link->name, link->mtu);
}

static void on_link_gone(void *user, const struct bn_link *link)
{
	note(user, "gone %s;", link->name);
}

static void on_address(void *user, const struct bn_own_address *address, bool added)
{
	char text[BN_ADDR_STRLEN];

	if (!address->link_local)
		note(user, "%s %s/%u;", added ? "added" : "removed",
		     bn_addr_format(&address->addr, text), address->prefix);
}

static void on_routes(void *user, bool by_default)
{
	note(user, "%s;", by_default ? "default route" : "routes");
}

static void on_resync(void *user)
{
	((struct seen *)user)->resyncs++;
}

static const struct bn_monitor_ops all = {on_link, on_link_gone, on_address, on_routes, on_resync};

/* Everything that is there now; a loop with nothing to do returns at once. */
static void settle(sd_event *event)
{
	while (sd_event_run(event, 0) > 0)
		;
}

/*
 * Whether that is said, by what is there now or soon: the kernel tells of an IPv6 address from a work
 * queue.
 */
static bool said(sd_event *event, struct seen *seen, const char *what)
{
	for (int i = 0; i < 100 && !strstr(seen->log, what); i++)
		sd_event_run(event, 100000);
	settle(event);
	return tn_has(seen->log, what);
}

static void test_events(void **state)
{
	struct seen seen = {0};
	struct bn_monitor *m;
	sd_event *event;

	assert_true(sd_event_new(&event) >= 0);
	assert_int_equal(bn_monitor_new(event, &all, &seen, &m, NULL), 0);
	settle(event);
	assert_string_equal(seen.log, "");

	tn_sh(-1, "ip link add tn0 type veth peer name tn1");
	assert_true(said(event, &seen, "link tn0 mtu 1500;"));
	memset(&seen, 0, sizeof(seen));
	tn_sh(-1, "ip link set tn0 mtu 1400");
	assert_true(said(event, &seen, "link tn0 mtu 1400;"));
	memset(&seen, 0, sizeof(seen));
	tn_sh(-1, "ip addr add 10.62.0.1/24 dev tn0; ip addr add fd62::1/64 dev tn0 nodad");
	assert_true(said(event, &seen, "added 10.62.0.1/24;"));
	assert_true(said(event, &seen, "added fd62::1/64;"));
	memset(&seen, 0, sizeof(seen));
	tn_sh(-1, "ip link set tn0 up; ip route add 10.63.0.0/16 via 10.62.0.2");
	assert_true(said(event, &seen, "routes;"));
	assert_null(strstr(seen.log, "default"));
	memset(&seen, 0, sizeof(seen));
	tn_sh(-1, "ip route add default via 10.62.0.2");
	assert_true(said(event, &seen, "default route;"));
	memset(&seen, 0, sizeof(seen));
	tn_sh(-1, "ip addr del 10.62.0.1/24 dev tn0");
	assert_true(said(event, &seen, "removed 10.62.0.1/24;"));
	memset(&seen, 0, sizeof(seen));
	tn_sh(-1, "ip link del tn1");
	assert_true(said(event, &seen, "gone tn0;"));
	assert_true(said(event, &seen, "gone tn1;"));
	assert_int_equal(seen.resyncs, 0);

	bn_monitor_free(m);
	sd_event_unref(event);
}

/* More than the socket's buffer holds, while nobody reads: said so, and life goes on. */
static void test_overrun(void **state)
{
	struct seen seen = {0};
	struct bn_monitor *m;
	sd_event *event;

	assert_true(sd_event_new(&event) >= 0);
	assert_int_equal(bn_monitor_new(event, &all, &seen, &m, NULL), 0);
	tn_sh(-1, "ip link add tn0 type bridge; for i in $(seq 2000); do "
		  "echo link set tn0 mtu $((1400 + i %% 2)); done | ip -batch -");
	settle(event);
	assert_int_equal(seen.resyncs, 1);
	memset(&seen, 0, sizeof(seen));
	tn_sh(-1, "ip link del tn0");
	assert_true(said(event, &seen, "gone tn0;"));
	assert_int_equal(seen.resyncs, 0);
	bn_monitor_free(m);
	sd_event_unref(event);
}

static bool has_address(const struct bn_own_address *list, size_t n, const char *text,
			bool link_local)
{
	union bn_addr addr;

	assert_int_equal(bn_addr_parse(text, &addr, NULL), 0);
	for (size_t i = 0; i < n; i++) {
		if (bn_addr_equal(&list[i].addr, &addr))
			return list[i].link_local == link_local;
	}
	return false;
}

static void test_inventory(void **state)
{
	struct bn_own_address *addresses;
	struct bn_link *links, link;
	size_t n, n_default;
	struct bn_nl *nl;
	int *devices;

	assert_int_equal(bn_nl_open(NETLINK_ROUTE, &nl, NULL), 0);
	tn_sh(-1, "ip link add tn0 mtu 1380 type veth peer name tn1;"
		  "ip link add bn0 address 02:bf:ff:ff:ff:ff type veth peer name bn1;"
		  "ip link set tn0 up; ip link set tn1 up;"
		  "ip addr add 10.62.0.1/24 dev tn0; ip addr add fd62::1/64 dev tn0 nodad;"
		  "ip addr add fe80::77/64 dev tn0 nodad; ip addr add 10.64.0.1/32 dev bn0");
	assert_int_equal(bn_inventory_links(nl, &links, &n, NULL), 0);
	assert_int_equal(n, 5);
	free(links);
	assert_int_equal(bn_link_get(nl, "tn0", 0, &link), 0);
	assert_int_equal(link.mtu, 1380);
	assert_string_equal(link.kind, "veth");
	assert_int_equal(link.peer_ifindex, if_nametoindex("tn1"));
	assert_false(bn_link_is_host_side(&link));
	assert_int_equal(bn_link_get(nl, "bn0", 0, &link), 0);
	assert_true(bn_link_is_host_side(&link));
	assert_false(bn_link_is_ready(&link));
	assert_int_equal(bn_link_get(nl, "nobody", 0, &link), -ENODEV);
	assert_int_equal(bn_link_get(nl, NULL, 4242, &link), -ENODEV);

	assert_int_equal(bn_inventory_addresses(nl, &addresses, &n, NULL), 0);
	assert_true(has_address(addresses, n, "127.0.0.1", false));
	assert_true(has_address(addresses, n, "10.62.0.1", false));
	assert_true(has_address(addresses, n, "fd62::1", false));
	assert_true(has_address(addresses, n, "fe80::77", true));
	assert_false(has_address(addresses, n, "10.64.0.1", false));
	free(addresses);

	assert_int_equal(bn_inventory_default_devices(nl, &devices, &n_default, NULL), 0);
	assert_int_equal(n_default, 0);
	free(devices);
	tn_sh(-1,
	      "ip addr add 10.65.0.1/24 dev tn1;"
	      "ip route add default nexthop via 10.62.0.2 dev tn0 nexthop via 10.65.0.2 dev tn1;"
	      "ip -6 route add default via fd62::2; ip route add default dev lo table 7");
	assert_int_equal(bn_inventory_default_devices(nl, &devices, &n_default, NULL), 0);
	assert_int_equal(n_default, 2);
	assert_int_equal(devices[0], if_nametoindex("tn0"));
	assert_int_equal(devices[1], if_nametoindex("tn1"));
	free(devices);
	bn_nl_free(nl);
}

/* What does not fit in a request is refused, and the socket works on. */
static void test_request_bounds(void **state)
{
	static const char large[5000];
	struct bn_link link;
	struct bn_nl *nl;

	assert_int_equal(bn_nl_open(NETLINK_ROUTE, &nl, NULL), 0);
	bn_nl_begin(nl, 16, 0);
	bn_nl_put(nl, 1, large, sizeof(large));
	bn_nl_put_u32(nl, 2, 7);
	bn_nl_nest_end(nl, bn_nl_nest(nl, 3));
	assert_int_equal(bn_nl_send(nl, NULL, NULL), -EMSGSIZE);
	bn_nl_begin(nl, 16, 0);
	bn_nl_put_raw(nl, large, sizeof(large));
	assert_int_equal(bn_nl_send(nl, NULL, NULL), -EMSGSIZE);
	assert_int_equal(bn_link_get(nl, "lo", 0, &link), 0);
	assert_int_equal(link.ifindex, 1);
	bn_nl_free(nl);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(test_events, tn_fresh_node),
		cmocka_unit_test_setup(test_overrun, tn_fresh_node),
		cmocka_unit_test_setup(test_inventory, tn_fresh_node),
		cmocka_unit_test_setup(test_request_bounds, tn_fresh_node),
	};

	return cmocka_run_group_tests(tests, tn_enter, NULL);
}
