// SPDX-License-Identifier: Apache-2.0
/* Kernel settings changed and put back; settings and firewalls that break forwarding explained. */
#include "test-net-fixture.h"

#include "net/hostcheck.h"
#include "net/port.h"
#include "net/sysctl.h"

#include <address.h>
#include <arpa/inet.h>
#include <bpfnet/limits.h>
#include <errno.h>
#include <netinet/in.h>
#include <sys/socket.h>

static void assert_sysctl(const char *key, const char *value)
{
	char have[BN_SYSCTL_VALUE_MAX];

	assert_int_equal(bn_sysctl_read(key, have), 0);
	assert_string_equal(have, value);
}

static int setup(void **state)
{
	int r = tn_fresh_node(state);

	/* The machine's own values may be inherited. */
	tn_sh(-1, "sysctl -qw net.ipv4.ip_forward=0 net.ipv6.conf.all.forwarding=0"
		  " net.ipv4.conf.all.rp_filter=0 net.ipv4.conf.default.rp_filter=0");
	return r;
}

static void test_forwarding(void **state)
{
	const char *const uplinks[] = {"tn0.7", "tn1"};
	struct bn_error err = BN_ERROR_INIT;
	struct bn_sysctl *s;

	tn_sh(-1, "ip link add tn0.7 type veth peer name tn1; ip link add tn2 type bridge;"
		  "echo 1 > /proc/sys/net/ipv4/conf/tn2/forwarding;"
		  "echo 0 > /proc/sys/net/ipv6/conf/tn1/accept_ra;"
		  "echo 1 > /proc/sys/net/ipv6/conf/tn0.7/accept_ra");
	assert_int_equal(bn_sysctl_new(TN_STATE, &s, &err), 0);
	if (bn_sysctl_enable_forwarding(s, uplinks, 2, &err) < 0)
		fail_msg("%s", bn_error_text(&err));
	assert_sysctl("net/ipv4/ip_forward", "1");
	assert_sysctl("net/ipv6/conf/all/forwarding", "1");
	assert_sysctl("net/ipv6/conf/tn0.7/accept_ra", "2");
	assert_sysctl("net/ipv6/conf/tn1/accept_ra", "0");
	bn_sysctl_free(s);

	/* The next agent finds all in order and still knows what was before. */
	assert_int_equal(bn_sysctl_new(TN_STATE, &s, &err), 0);
	assert_int_equal(bn_sysctl_enable_forwarding(s, uplinks, 2, &err), 0);
	assert_int_equal(bn_sysctl_restore(s, &err), 0);
	assert_sysctl("net/ipv4/ip_forward", "0");
	assert_sysctl("net/ipv4/conf/tn2/forwarding", "1");
	assert_sysctl("net/ipv4/conf/tn1/forwarding", "0");
	assert_sysctl("net/ipv6/conf/all/forwarding", "0");
	assert_sysctl("net/ipv6/conf/tn0.7/accept_ra", "1");
	assert_sysctl("net/ipv6/conf/tn1/accept_ra", "0");
	assert_string_equal(tn_sh(-1, "ls " TN_STATE), "");
	bn_sysctl_free(s);
}

static void test_remembered(void **state)
{
	struct bn_error err = BN_ERROR_INIT;
	struct bn_sysctl *s;

	tn_sh(-1, "ip link add tn0 type bridge");
	assert_int_equal(bn_sysctl_new(TN_STATE, &s, NULL), 0);
	assert_int_equal(bn_sysctl_set(s, "net/ipv4/conf/tn0/rp_filter", "2", NULL), 0);
	assert_int_equal(bn_sysctl_set(s, "net/ipv4/conf/tn0/rp_filter", "1", NULL), 0);
	assert_int_equal(bn_sysctl_set(s, "net/ipv4/conf/tn0/accept_local", "1", NULL), 0);
	assert_int_equal(bn_sysctl_set(s, "net/ipv4/conf/nobody/rp_filter", "1", &err), -ENOENT);
	assert_true(tn_has(bn_error_text(&err), "net/ipv4/conf/nobody/rp_filter"));
	assert_int_equal(bn_sysctl_set(s, "net/../kernel/x", "1", NULL), -EINVAL);
	/* Someone else changed it since: it stays. */
	assert_int_equal(bn_sysctl_write("net/ipv4/conf/tn0/accept_local", "0"), 0);
	assert_int_equal(bn_sysctl_write("net/ipv4/conf/tn0/accept_local", "0"), 0);
	assert_int_equal(bn_sysctl_restore(s, NULL), 0);
	assert_sysctl("net/ipv4/conf/tn0/rp_filter", "0");
	assert_sysctl("net/ipv4/conf/tn0/accept_local", "0");
	bn_sysctl_free(s);
	bn_error_done(&err);

	/* The only record of the old values is not thrown away for being damaged. */
	tn_sh(-1, "echo '[{\"key\": 1}]' > " TN_STATE "/sysctls.json");
	assert_int_equal(bn_sysctl_new(TN_STATE, &s, &err), -EBADMSG);
	assert_true(tn_has(bn_error_text(&err), "sysctls.json is damaged"));
	bn_error_done(&err);
	tn_sh(-1, "echo '{' > " TN_STATE "/sysctls.json");
	assert_int_equal(bn_sysctl_new(TN_STATE, &s, &err), -EBADMSG);
	bn_error_done(&err);
}

static void run(bool v6, struct bn_hostcheck *ret)
{
	const char *const uplinks[] = {"tn0"};
	struct bn_error err = BN_ERROR_INIT;

	if (bn_hostcheck_run(uplinks, 1, v6, ret, &err) < 0)
		fail_msg("%s", bn_error_text(&err));
}

/* The finding of that name, its text; NULL: none. */
static const char *finding(const struct bn_hostcheck *h, const char *name)
{
	for (size_t i = 0; i < h->n; i++) {
		assert_null(strchr(h->findings[i].text, '\n'));
		if (!strcmp(h->findings[i].name, name))
			return h->findings[i].text;
	}
	return NULL;
}

static void test_settings(void **state)
{
	struct bn_hostcheck h;

	tn_sh(-1, "ip link add tn0 type bridge");
	run(true, &h);
	assert_int_equal(h.n, 2);
	assert_non_null(finding(&h, "ip-forward-off"));
	assert_non_null(finding(&h, "ipv6-forwarding-off"));
	bn_hostcheck_done(&h);
	tn_sh(-1, "sysctl -qw net.ipv4.ip_forward=1");
	run(false, &h);
	assert_int_equal(h.n, 0);
	bn_hostcheck_done(&h);
	tn_sh(-1, "sysctl -qw net.ipv6.conf.all.forwarding=1 net.ipv4.conf.tn0.rp_filter=1"
		  " net.ipv6.conf.tn0.disable_ipv6=1");
	run(true, &h);
	assert_int_equal(h.n, 2);
	assert_true(tn_has(finding(&h, "rp-filter-strict"), "net.ipv4.conf.tn0.rp_filter"));
	assert_non_null(finding(&h, "ipv6-disabled"));
	assert_int_equal(h.findings[0].severity, BN_HOSTCHECK_NOTE);
	bn_hostcheck_done(&h);
	tn_sh(-1, "sysctl -qw net.ipv4.conf.tn0.rp_filter=0 net.ipv4.conf.all.rp_filter=1");
	run(false, &h);
	assert_non_null(finding(&h, "rp-filter-strict-all"));
	bn_hostcheck_done(&h);
}

static void check_ports(unsigned min, unsigned max, const char *says)
{
	struct bn_hostcheck h = BN_HOSTCHECK_INIT;

	assert_int_equal(bn_hostcheck_ports(&h, "x-conflict", "services", "a.b", min, max), 0);
	assert_int_equal(h.n, says ? 1 : 0);
	if (says)
		assert_true(tn_has(finding(&h, "x-conflict"), says));
	bn_hostcheck_done(&h);
}

static void test_local_ports(void **state)
{
	tn_sh(-1, "sysctl -qw net.ipv4.ip_local_port_range='32768 60999'");
	check_ports(30000, 32767, NULL);
	check_ports(61000, 65535, NULL);
	check_ports(30000, 32768, "services take ports 30000-32768 (a.b), which");
	check_ports(30000, 32768, "add 32768-32768 to net.ipv4.ip_local_reserved_ports");
	check_ports(60000, 65535, "add 60000-60999");
	tn_sh(-1, "sysctl -qw net.ipv4.ip_local_port_range='1024 65535'");
	check_ports(30000, 32767, "is 1024 65535");
	tn_sh(-1, "sysctl -qw net.ipv4.ip_local_reserved_ports=8080,30000-30999,31000-40000");
	check_ports(30000, 32767, NULL);
	check_ports(29999, 32767, "add 29999-32767");
	check_ports(40000, 40001, "add 40000-40001");
	tn_sh(-1, "sysctl -qw net.ipv4.ip_local_reserved_ports=30000-31000,31002-40000");
	check_ports(30000, 32767, "services take");
}

/* Listens, or only binds where `type` is SOCK_DGRAM; the socket. */
static int hold(int type, const char *text, uint16_t port, bool v6only)
{
	struct sockaddr_in6 six = {.sin6_family = AF_INET6, .sin6_port = htons(port)};
	struct sockaddr_in four = {.sin_family = AF_INET, .sin_port = htons(port)};
	bool v6 = strchr(text, ':');
	int fd = socket(v6 ? AF_INET6 : AF_INET, type | SOCK_CLOEXEC, 0), on = v6only;

	assert_true(fd >= 0);
	assert_int_equal(inet_pton(v6 ? AF_INET6 : AF_INET, text,
				   v6 ? (void *)&six.sin6_addr : (void *)&four.sin_addr),
			 1);
	if (v6)
		assert_int_equal(setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof(on)), 0);
	assert_int_equal(bind(fd, v6 ? (struct sockaddr *)&six : (struct sockaddr *)&four,
			      v6 ? sizeof(six) : sizeof(four)),
			 0);
	if (type == SOCK_STREAM)
		assert_int_equal(listen(fd, 1), 0);
	return fd;
}

static bool is_free(const char *text, uint16_t port, uint8_t protocol)
{
	union bn_addr addr;

	assert_int_equal(bn_addr_parse(text, &addr, NULL), 0);
	return bn_port_is_free(&addr, port, protocol);
}

static void test_held_ports(void **state)
{
	int fd;

	tn_sh(-1, "ip link set lo up");
	assert_true(is_free("0.0.0.0", 7000, IPPROTO_TCP));
	fd = hold(SOCK_STREAM, "127.0.0.1", 7000, false);
	assert_false(is_free("0.0.0.0", 7000, IPPROTO_TCP));
	assert_false(is_free("127.0.0.1", 7000, IPPROTO_TCP));
	assert_true(is_free("127.0.0.2", 7000, IPPROTO_TCP));
	assert_true(is_free("::", 7000, IPPROTO_TCP));
	assert_true(is_free("0.0.0.0", 7000, IPPROTO_UDP));
	assert_true(is_free("0.0.0.0", 7001, IPPROTO_TCP));
	close(fd);
	assert_true(is_free("0.0.0.0", 7000, IPPROTO_TCP));
	/* of both families by one socket, and of IPv6 alone */
	fd = hold(SOCK_STREAM, "::", 7000, false);
	assert_false(is_free("0.0.0.0", 7000, IPPROTO_TCP));
	assert_false(is_free("::1", 7000, IPPROTO_TCP));
	close(fd);
	fd = hold(SOCK_DGRAM, "::", 7000, true);
	assert_true(is_free("0.0.0.0", 7000, IPPROTO_UDP));
	assert_false(is_free("::", 7000, IPPROTO_UDP));
	close(fd);
	/* neither an address of somebody else's nor a protocol without sockets is held */
	assert_true(is_free("192.0.2.1", 7000, IPPROTO_TCP));
	assert_true(is_free("0.0.0.0", 7000, IPPROTO_SCTP));
}

/* Rules as people and programs make them, and what is found. */
static const struct firewall {
	const char *rules;
	const char *name; /* NULL: nothing to complain about */
	const char *says;
} firewalls[] = {
	{"true", NULL, NULL},
	{"nft add table inet f && nft add chain inet f thru '{type filter hook forward priority 0; policy accept;}'",
	 NULL, NULL},
	{"nft add table inet f && nft add chain inet f thru '{type filter hook forward priority 0; policy drop;}'",
	 "forward-policy-drop", "inet f thru"},
	/* What the explanation asks for. */
	{"nft add table inet f && nft add chain inet f thru '{type filter hook forward priority 0; policy drop;}' && "
	 "nft insert rule inet f thru iifname 'bn*' accept && nft insert rule inet f thru oifname 'bn*' accept",
	 NULL, NULL},
	{"nft add table inet f && nft add chain inet f thru '{type filter hook forward priority 0; policy drop;}' && "
	 "nft insert rule inet f thru iifname 'bn*' accept",
	 "forward-policy-drop", "inet f thru"},
	/* firewalld: a last rule that rejects. */
	{"nft add table inet f && nft add chain inet f thru '{type filter hook forward priority 0; policy accept;}' && "
	 "nft add rule inet f thru ct state established accept && nft add rule inet f thru counter reject with icmpx admin-prohibited",
	 "forward-rule-drop", "a last rule"},
	{"nft add table inet f && nft add chain inet f thru '{type filter hook forward priority 0; policy accept;}' && "
	 "nft add rule inet f thru ip saddr 192.0.2.1 drop",
	 NULL, NULL},
	{"nft add table inet f && nft add chain inet f incoming '{type filter hook input priority 0; policy drop;}'",
	 NULL, NULL},
	/* Docker and ufw. */
	{"iptables-nft -P FORWARD DROP", "forward-policy-drop", "ip filter FORWARD"},
	{"ip6tables-nft -P FORWARD DROP", "forward-policy-drop", "ip6 filter FORWARD"},
	{"iptables-nft -A FORWARD -j REJECT", "forward-rule-drop", "ip filter FORWARD"},
	{"iptables-nft -P FORWARD DROP && iptables-nft -N DOCKER-USER && iptables-nft -I FORWARD -j DOCKER-USER && "
	 "iptables-nft -I DOCKER-USER -i bn+ -j ACCEPT && iptables-nft -I DOCKER-USER -o bn+ -j ACCEPT",
	 NULL, NULL},
	{"iptables-legacy -P FORWARD DROP", "forward-legacy-drop",
	 "iptables-legacy -I FORWARD -i bn+"},
	{"ip6tables-legacy -P FORWARD DROP", "forward-legacy-drop", "ip6tables-legacy"},
	{"iptables-legacy -A FORWARD -s 192.0.2.1 -j DROP", NULL, NULL},
	{"iptables-legacy -A FORWARD -j REJECT", "forward-legacy-drop", "iptables-legacy"},
	{"iptables-legacy -P FORWARD DROP && iptables-legacy -I FORWARD -i bn+ -j ACCEPT && iptables-legacy -I FORWARD -o bn+ -j ACCEPT",
	 NULL, NULL},
	{"ip6tables-legacy -P FORWARD DROP && ip6tables-legacy -I FORWARD -i bn+ -j ACCEPT && ip6tables-legacy -I FORWARD -o bn+ -j ACCEPT",
	 NULL, NULL},
};

static void test_firewalls(void **state)
{
	for (size_t i = 0; i < sizeof(firewalls) / sizeof(firewalls[0]); i++) {
		const struct firewall *f = &firewalls[i];
		struct bn_hostcheck h;
		const char *text;

		setup(state);
		tn_sh(-1, "ip link add tn0 type bridge; sysctl -qw net.ipv4.ip_forward=1"
			  " net.ipv6.conf.all.forwarding=1");
		assert_string_equal(tn_sh(-1, "%s && echo made", f->rules), "made\n");
		run(true, &h);
		assert_int_equal(h.n, f->name ? 1 : 0);
		if (f->name) {
			text = finding(&h, f->name);
			assert_non_null(text);
			assert_true(tn_has(text, f->says));
			assert_int_equal(h.findings[0].severity, BN_HOSTCHECK_DEGRADED);
		}
		bn_hostcheck_done(&h);
	}
}

/* Looking makes no table. */
static void test_no_trace(void **state)
{
	struct bn_hostcheck h;

	tn_sh(-1, "ip link add tn0 type bridge");
	run(true, &h);
	bn_hostcheck_done(&h);
	assert_string_equal(
		tn_sh(-1,
		      "cat /proc/net/ip_tables_names /proc/net/ip6_tables_names; nft list ruleset"),
		"");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(test_forwarding, setup),
		cmocka_unit_test_setup(test_remembered, setup),
		cmocka_unit_test_setup(test_settings, setup),
		cmocka_unit_test_setup(test_local_ports, setup),
		cmocka_unit_test_setup(test_held_ports, setup),
		cmocka_unit_test_setup(test_firewalls, setup),
		cmocka_unit_test_setup(test_no_trace, setup),
	};

	return cmocka_run_group_tests(tests, tn_enter, NULL);
}
