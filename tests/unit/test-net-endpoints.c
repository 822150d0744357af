// SPDX-License-Identifier: Apache-2.0
/* The registry: adding and refusing, killed at every step, adopted, gone with the namespace. */
#include "test-net-fixture.h"

#include "address.h"
#include "net/endpoints.h"

#include <bpfnet/limits.h>
#include <errno.h>
#include <sys/wait.h>

/* What the datapath's side was told, and what it answers. */
struct world {
	char log[4096];
	int publish, attach;
	int die; /* 1: in publish, 2: in attach, as by SIGKILL */
	char names[4096];
};

static struct world world;
static sd_event *event;

static void note(const char *what, const struct bn_endpoint_info *info)
{
	const size_t n = strlen(world.log);

	snprintf(world.log + n, sizeof(world.log) - n, "%s %s;", what, info->pod);
}

static int on_publish(void *user, const struct bn_endpoint_info *info, struct bn_error *err)
{
	note("publish", info);
	assert_true(info->ifindex > 0);
	assert_true(info->slot > BN_SLOT_NONE && info->slot < BN_SLOTS);
	if (world.die == 1)
		_exit(42);
	return world.publish < 0 ? bn_error_set(err, world.publish, "map is full") : 0;
}

static int on_attach(void *user, const struct bn_endpoint_info *info, struct bn_error *err)
{
	note("attach", info);
	if (world.die == 2)
		_exit(42);
	return world.attach < 0 ? bn_error_set(err, world.attach, "no program") : 0;
}

static void on_withdraw(void *user, const struct bn_endpoint_info *info)
{
	note("withdraw", info);
}

static int on_describe(void *user, const struct bn_endpoint_info *info, json_t *endpoint)
{
	return json_object_set_new(endpoint, "identity", json_integer(256 + info->slot));
}

static struct bn_endpoints *open_registry(void)
{
	const struct bn_endpoints_config config = {
		.state_dir = TN_STATE,
		.ops = {on_publish, on_attach, on_withdraw, on_describe, NULL},
	};
	struct bn_error err = BN_ERROR_INIT;
	struct bn_endpoints *e;

	if (bn_endpoints_new(event, &config, &e, &err) < 0 || bn_endpoints_restore(e, &err) < 0)
		fail_msg("%s", bn_error_text(&err));
	return e;
}

static int setup(void **state)
{
	memset(&world, 0, sizeof(world));
	return tn_fresh_node(state) < 0 || sd_event_new(&event) < 0 ? -1 : 0;
}

static int teardown(void **state)
{
	event = sd_event_unref(event);
	return 0;
}

static int add(struct bn_endpoints *e, int netns, const char *pod, const char *ip1, const char *ip2,
	       const char *ifname, struct bn_error *err)
{
	struct bn_endpoint_request request = {
		.namespace = "default",
		.pod = pod,
		.ifname = ifname,
		.netns_name = "tn-pod",
		.netns_fd = netns,
	};
	union bn_addr ips[3];
	const char *const texts[] = {ip1, ip2};

	request.ips = ips;
	for (int i = 0; i < 2; i++) {
		if (texts[i])
			assert_int_equal(bn_addr_parse(texts[i], &ips[request.n_ips++], NULL), 0);
	}
	return bn_endpoints_add(e, &request, err);
}

static void add_ok(struct bn_endpoints *e, int netns, const char *pod, const char *ip1,
		   const char *ip2)
{
	struct bn_error err = BN_ERROR_INIT;

	if (add(e, netns, pod, ip1, ip2, NULL, &err) < 0)
		fail_msg("%s", bn_error_text(&err));
}

static void settle(void)
{
	while (sd_event_run(event, 0) > 0)
		;
}

static void assert_nothing_left(void)
{
	assert_string_equal(tn_sh(-1, "ls " TN_STATE "/endpoints"), "");
	assert_string_equal(tn_sh(-1, "ip -br link | grep -v ^lo; true"), "");
	assert_string_equal(tn_sh(-1, "ip route; ip -6 route"), "");
}

static void test_add_list_delete(void **state)
{
	struct bn_endpoints *e = open_registry();
	struct bn_error err = BN_ERROR_INIT;
	const int pod = tn_pod();
	json_t *list, *want;

	add_ok(e, pod, "web-0", "10.61.0.1", "fd61::1");
	assert_string_equal(world.log, "publish web-0;attach web-0;");
	assert_int_equal(bn_endpoints_count(e), 1);
	assert_true(tn_has(tn_sh(pod, "ip -br addr show eth0"), "10.61.0.1/32"));
	list = bn_endpoints_json(e);
	assert_int_equal(json_array_size(list), 1);
	want = json_object();
	json_object_update(want, json_array_get(list, 0));
	assert_string_equal(json_string_value(json_object_get(want, "namespace")), "default");
	assert_string_equal(json_string_value(json_object_get(want, "pod")), "web-0");
	assert_string_equal(json_string_value(json_object_get(want, "netns")), "tn-pod");
	assert_string_equal(json_string_value(json_object_get(want, "ifname")), "eth0");
	assert_string_equal(json_string_value(json_object_get(want, "state")), "ready");
	assert_int_equal(json_integer_value(json_object_get(want, "identity")), 257);
	assert_int_equal(json_integer_value(json_object_get(want, "slot")), 1);
	assert_int_equal(json_integer_value(json_object_get(want, "mtu")), 1500);
	assert_int_equal(json_array_size(json_object_get(want, "ips")), 2);
	assert_null(json_object_get(want, "reason"));
	json_decref(want);
	json_decref(list);

	world.log[0] = '\0';
	assert_int_equal(bn_endpoints_delete(e, "default", "web-0", &err), 0);
	assert_string_equal(world.log, "withdraw web-0;");
	assert_nothing_left();
	settle();
	assert_string_equal(world.log, "withdraw web-0;");
	assert_int_equal(bn_endpoints_delete(e, "default", "web-0", &err), -ENOENT);
	assert_true(tn_has(bn_error_text(&err), "default/web-0: there is none"));
	bn_error_done(&err);
	bn_endpoints_free(e);
	close(pod);
}

static const struct refusal {
	const char *pod, *ip1, *ip2, *ifname;
	int netns; /* 0 a pod's, 1 the node's own, 2 a file, 3 that of pod "taken" */
	int result;
	const char *says;
} refusals[] = {
	{"p", NULL, NULL, NULL, 0, -EINVAL, "needs an address"},
	{"p", "10.61.0.2", "10.61.0.3", NULL, 0, -EINVAL, "one address of each family"},
	{"p", "fd61::2", "fd61::3", NULL, 0, -EINVAL, "one address of each family"},
	{"p", "127.0.0.5", NULL, NULL, 0, -EINVAL,
	 "127.0.0.5 can't be a pod's address: it is loopback"},
	{"p", "::1", NULL, NULL, 0, -EINVAL, "loopback"},
	{"p", "0.0.0.0", NULL, NULL, 0, -EINVAL, "unspecified"},
	{"p", "::", NULL, NULL, 0, -EINVAL, "unspecified"},
	{"p", "224.0.0.1", NULL, NULL, 0, -EINVAL, "multicast"},
	{"p", "255.255.255.255", NULL, NULL, 0, -EINVAL, "broadcast"},
	{"p", "ff02::1", NULL, NULL, 0, -EINVAL, "multicast"},
	{"p", "169.254.7.7", NULL, NULL, 0, -EINVAL, "link-local"},
	{"p", "10.61.0.2", "fe80::2", NULL, 0, -EINVAL,
	 "fe80::2 can't be a pod's address: it is link-local"},
	{"p", "10.61.0.1", NULL, NULL, 0, -EADDRINUSE,
	 "10.61.0.1 is taken by endpoint default/taken"},
	{"p", "10.61.0.2", "fd61::1", NULL, 0, -EADDRINUSE, "fd61::1 is taken by endpoint"},
	{"p", "10.60.0.1", NULL, NULL, 0, -EADDRINUSE, "10.60.0.1 is taken by this node itself"},
	{"taken", "10.61.0.1", "fd61::1", NULL, 3, -EEXIST, "default/taken exists already"},
	{"taken", "10.61.0.9", NULL, NULL, 0, -EEXIST, "default/taken exists already"},
	{"p", "10.61.0.2", NULL, "an-interface-name", 0, -EINVAL,
	 "an-interface-name is too long: 17"},
	{"p", "10.61.0.2", NULL, "", 0, -EINVAL, "can't be the name"},
	{"p", "10.61.0.2", NULL, "a b", 0, -EINVAL, "'a b' can't be the name"},
	{"p", "10.61.0.2", NULL, "a/b", 0, -EINVAL, "can't be the name"},
	{"p", "10.61.0.2", NULL, "eth%d", 0, -EINVAL, "can't be the name"},
	{"p", "10.61.0.2", NULL, "..", 0, -EINVAL, "can't be the name"},
	{"p", "10.61.0.2", NULL, "all", 0, -EINVAL, "can't be the name"},
	{"p", "10.61.0.2", NULL, "lo", 0, -EINVAL, "can't be the name"},
	{"p", "10.61.0.2", NULL, "eth0", 3, -EEXIST, "eth0 exists already"},
	{"p", "10.61.0.2", NULL, "eth1", 3, -EEXIST, "IPv4 default route already"},
	{"p", "10.61.0.2", NULL, NULL, 1, -EINVAL, "the node's own network namespace"},
	{"p", "10.61.0.2", NULL, NULL, 2, -EINVAL, "tn-pod is no network namespace"},
	{"../p", "10.61.0.2", NULL, NULL, 0, -EINVAL, "the pod's name must be"},
	{"-p", "10.61.0.2", NULL, NULL, 0, -EINVAL, "the pod's name must be"},
	{"", "10.61.0.2", NULL, NULL, 0, -EINVAL, "the pod's name must be"},
	{"P", "10.61.0.2", NULL, NULL, 0, -EINVAL, "the pod's name must be"},
};

static void test_refusals(void **state)
{
	const int taken = tn_pod(), pod = tn_pod();
	const int own = open("/proc/self/ns/net", O_RDONLY), file = open("/dev/null", O_RDONLY);
	const int netns[] = {pod, own, file, taken};
	struct bn_endpoints *e = open_registry();
	char before[8192];

	tn_sh(-1, "ip addr add 10.60.0.1/24 dev lo");
	add_ok(e, taken, "taken", "10.61.0.1", "fd61::1");
	snprintf(before, sizeof(before), "%s",
		 tn_sh(-1, "ip -br link; ip -6 route; ip route; ls " TN_STATE "/endpoints"));
	for (size_t i = 0; i < sizeof(refusals) / sizeof(refusals[0]); i++) {
		const struct refusal *r = &refusals[i];
		struct bn_error err = BN_ERROR_INIT;

		assert_int_equal(add(e, netns[r->netns], r->pod, r->ip1, r->ip2, r->ifname, &err),
				 r->result);
		assert_true(tn_has(bn_error_text(&err), r->says));
		assert_true(tn_has(bn_error_text(&err), "cannot add endpoint default/"));
		assert_null(strchr(bn_error_text(&err), '\n'));
		bn_error_done(&err);
	}
	assert_string_equal(
		tn_sh(-1, "ip -br link; ip -6 route; ip route; ls " TN_STATE "/endpoints"), before);
	assert_string_equal(tn_sh(pod, "ip -br link | grep -v ^lo; true"), "");
	/* What was refused for one reason works without it. */
	add_ok(e, pod, "p", "10.61.0.2", "fd61::2");
	assert_int_equal(bn_endpoints_uninstall(e, NULL), 0);
	assert_string_equal(tn_sh(-1, "ls " TN_STATE), "");
	bn_endpoints_free(e);
	close(own);
	close(file);
	close(pod);
	close(taken);
}

static void test_rollback(void **state)
{
	struct bn_endpoints *e = open_registry();
	struct bn_error err = BN_ERROR_INIT;
	const int pod = tn_pod();

	world.publish = -ENOSPC;
	assert_int_equal(add(e, pod, "p", "10.61.0.2", NULL, NULL, &err), -ENOSPC);
	assert_true(tn_has(bn_error_text(&err), "map is full"));
	assert_string_equal(world.log, "publish p;withdraw p;");
	assert_nothing_left();
	bn_error_done(&err);
	memset(&world, 0, sizeof(world));
	world.attach = -EPERM;
	assert_int_equal(add(e, pod, "p", "10.61.0.2", NULL, NULL, &err), -EPERM);
	assert_string_equal(world.log, "publish p;attach p;withdraw p;");
	assert_nothing_left();
	assert_int_equal(bn_endpoints_count(e), 0);
	assert_string_equal(tn_sh(pod, "ip -br link | grep -v ^lo; true"), "");
	bn_error_done(&err);
	bn_endpoints_free(e);
	close(pod);
}

/* Killed inside the add: half an endpoint is on disk and in the kernel. */
static void test_killed(void **state)
{
	teardown(state);
	for (int die = 1; die <= 2; die++) {
		const int pod = tn_pod();
		struct bn_endpoints *e;
		int status;
		pid_t child;

		setup(state);
		child = fork();
		if (child == 0) {
			/* A loop does not live on in a child. */
			if (sd_event_new(&event) < 0)
				_exit(1);
			e = open_registry();
			world.die = die;
			add(e, pod, "p", "10.61.0.2", "fd61::2", NULL, NULL);
			_exit(0);
		}
		assert_int_equal(waitpid(child, &status, 0), child);
		assert_int_equal(WEXITSTATUS(status), 42);
		assert_true(tn_has(tn_sh(-1, "ls " TN_STATE "/endpoints"), "bn"));
		assert_true(tn_has(tn_sh(pod, "ip link"), "eth0"));
		e = open_registry();
		assert_int_equal(bn_endpoints_count(e), 0);
		assert_string_equal(world.log, "withdraw p;");
		assert_nothing_left();
		assert_string_equal(tn_sh(pod, "ip -br link | grep -v ^lo; true"), "");
		/* The next try works. */
		add_ok(e, pod, "p", "10.61.0.2", "fd61::2");
		bn_endpoints_free(e);
		close(pod);
		teardown(state);
	}
	sd_event_new(&event);
}

static int take_info(void *user, const struct bn_endpoint_info *info)
{
	const size_t n = strlen(world.names);

	snprintf(world.names + n, sizeof(world.names) - n, "%s slot=%u if=%d st=%d;", info->pod,
		 info->slot, info->ifindex, info->state);
	return 0;
}

static const char *names(struct bn_endpoints *e)
{
	world.names[0] = '\0';
	json_decref(bn_endpoints_json(e)); /* sorts */
	assert_int_equal(bn_endpoints_each(e, take_info, NULL), 0);
	return world.names;
}

/* A restart adopts what works, with the same slots, and puts it in order. */
static void test_adopt(void **state)
{
	const int a = tn_pod(), b = tn_pod(), c = tn_pod();
	struct bn_endpoints *e = open_registry();
	struct bn_endpoint_info info;
	char before[4096], host[16];

	add_ok(e, a, "a", "10.61.0.1", NULL);
	add_ok(e, b, "b", "10.61.0.2", "fd61::2");
	add_ok(e, c, "c", "10.61.0.3", NULL);
	assert_int_equal(bn_endpoints_delete(e, "default", "a", NULL), 0);
	snprintf(before, sizeof(before), "%s", names(e));
	bn_endpoints_free(e);

	world.log[0] = '\0';
	tn_sh(-1, "ip route flush proto 191; ip neigh flush all nud permanent");
	e = open_registry();
	assert_string_equal(names(e), before);
	assert_non_null(strstr(world.log, "publish b;attach b;"));
	assert_non_null(strstr(world.log, "publish c;attach c;"));
	assert_null(strstr(world.log, "withdraw"));
	assert_true(tn_has(tn_sh(-1, "ip route"), "10.61.0.2 dev bn"));
	assert_true(tn_has(tn_sh(-1, "ip neigh"), "fd61::2 dev bn"));
	/* A slot is taken again as late as possible. */
	add_ok(e, a, "a", "10.61.0.1", NULL);
	assert_int_equal(bn_endpoints_find(e, "default", "a", &info), 0);
	assert_int_equal(info.slot, 4);

	/* One goes away, one is replaced by a stranger of the same name, while nobody looks. */
	assert_int_equal(bn_endpoints_find(e, "default", "b", &info), 0);
	strcpy(host, info.host_ifname);
	bn_endpoints_free(e);
	tn_sh(-1, "ip link del %s; ip link add %s type bridge", host, host);
	tn_sh(c, "ip link del eth0");
	world.log[0] = '\0';
	e = open_registry();
	assert_int_equal(bn_endpoints_count(e), 1);
	assert_non_null(strstr(world.log, "withdraw b;"));
	assert_non_null(strstr(world.log, "withdraw c;"));
	assert_true(tn_has(tn_sh(-1, "ip link"), host));
	assert_int_equal(bn_endpoints_uninstall(e, NULL), 0);
	assert_true(tn_has(tn_sh(-1, "ip link"), host));
	bn_endpoints_free(e);
	close(a);
	close(b);
	close(c);
}

/* What can't be put in order is degraded and says why, and recovers. */
static void test_degraded(void **state)
{
	struct bn_endpoints *e = open_registry();
	struct bn_endpoint_info info;
	const int pod = tn_pod();
	json_t *list;

	add_ok(e, pod, "p", "10.61.0.2", NULL);
	bn_endpoints_free(e);
	world.attach = -EPERM;
	e = open_registry();
	assert_int_equal(bn_endpoints_find(e, "default", "p", &info), 0);
	assert_int_equal(info.state, BN_ENDPOINT_DEGRADED);
	assert_string_equal(info.reason, "no program");
	list = bn_endpoints_json(e);
	assert_string_equal(json_string_value(json_object_get(json_array_get(list, 0), "reason")),
			    "no program");
	json_decref(list);
	world.attach = 0;
	bn_endpoints_set_node(e, NULL, NULL);
	assert_int_equal(bn_endpoints_find(e, "default", "p", &info), 0);
	assert_int_equal(info.state, BN_ENDPOINT_READY);
	assert_null(info.reason);
	bn_endpoints_uninstall(e, NULL);
	bn_endpoints_free(e);
	close(pod);
}

static void test_damaged_records(void **state)
{
	static const char *const records[] = {
		"",
		"{",
		"[]",
		"{}",
		"{\"version\": 2}",
		"{\"version\":1,\"state\":\"ready\",\"namespace\":\"..\",\"pod\":\"p\",\"ifname\":"
		"\"eth0\","
		"\"host_ifname\":\"bnx\",\"ifindex\":9,\"peer_ifindex\":2,\"ips\":[\"10.0.0.1\"],"
		"\"netns_dev\":1,\"netns_ino\":2,\"slot\":1,\"mtu\":1500}",
		"{\"version\":1,\"state\":\"ready\",\"namespace\":\"d\",\"pod\":\"p\",\"ifname\":"
		"\"eth0\","
		"\"host_ifname\":\"bnx\",\"ifindex\":9,\"peer_ifindex\":2,\"ips\":[\"10.0.0.1\"],"
		"\"netns_dev\":1,\"netns_ino\":2,\"slot\":4096,\"mtu\":1500}",
	};
	struct bn_endpoints *e;

	for (size_t i = 0; i < sizeof(records) / sizeof(records[0]); i++) {
		tn_sh(-1,
		      "mkdir -p " TN_STATE "/endpoints; printf '%%s' '%s' > " TN_STATE
		      "/endpoints/bnx.json",
		      records[i]);
		e = open_registry();
		assert_int_equal(bn_endpoints_count(e), 0);
		bn_endpoints_free(e);
	}
	/* Uninstalling leaves no record, broken or half written, and no device of one. */
	tn_sh(-1, "ip link add bnx address 02:bf:ff:ff:ff:ff type veth peer name tn0;"
		  "ip link add bny type bridge; touch " TN_STATE "/endpoints/bny.json " TN_STATE
		  "/endpoints/bnz.json.tmp");
	e = open_registry();
	assert_int_equal(bn_endpoints_uninstall(e, NULL), 0);
	bn_endpoints_free(e);
	assert_string_equal(tn_sh(-1, "ls " TN_STATE), "");
	assert_string_equal(tn_sh(-1, "ip -br link | awk '!/^lo/ {print $1}'"), "bny\n");
}

/* `ip netns del` takes the veth along; the notification removes the endpoint. */
static void test_netns_gone(void **state)
{
	struct bn_endpoints *e = open_registry();
	int pod = tn_pod();

	add_ok(e, pod, "p", "10.61.0.2", "fd61::2");
	settle();
	world.log[0] = '\0';
	close(pod); /* the last reference */
	for (int i = 0; i < 50 && bn_endpoints_count(e); i++)
		sd_event_run(event, 100000);
	assert_int_equal(bn_endpoints_count(e), 0);
	assert_string_equal(world.log, "withdraw p;");
	assert_nothing_left();
	pod = tn_pod();
	add_ok(e, pod, "p", "10.61.0.2", "fd61::2");
	assert_int_equal(bn_endpoints_uninstall(e, NULL), 0);
	bn_endpoints_free(e);
	close(pod);
}

/* Someone sets the host side down and up; the node's address goes and comes. */
static void test_self_repair(void **state)
{
	struct bn_endpoints *e = open_registry();
	const int pod = tn_pod();
	struct bn_endpoint_info info;
	union bn_addr v4;

	assert_int_equal(bn_addr_parse("10.60.0.1", &v4, NULL), 0);
	tn_sh(-1, "ip addr add 10.60.0.1/24 dev lo");
	bn_endpoints_set_node(e, &v4, NULL);
	add_ok(e, pod, "p", "10.61.0.2", "fd61::2");
	settle();
	assert_true(tn_has(tn_sh(-1, "ip route"), "scope link src 10.60.0.1"));
	assert_int_equal(bn_endpoints_find(e, "default", "p", &info), 0);
	tn_sh(-1, "ip link set %s down", info.host_ifname);
	settle();
	assert_string_equal(tn_sh(-1, "ip route | grep -c 10.61.0.2; true"), "0\n");
	tn_sh(-1, "ip link set %s up", info.host_ifname);
	settle();
	assert_true(tn_has(tn_sh(-1, "ip route"), "10.61.0.2 dev bn"));
	assert_true(tn_has(tn_sh(-1, "ip -6 neigh"), "fd61::2 dev bn"));
	tn_sh(-1, "ip addr del 10.60.0.1/24 dev lo");
	assert_string_equal(tn_sh(-1, "ip route | grep -c 10.61.0.2; true"), "0\n");
	bn_endpoints_set_node(e, NULL, NULL);
	assert_true(tn_has(tn_sh(-1, "ip route"), "10.61.0.2 dev bn"));
	bn_endpoints_uninstall(e, NULL);
	bn_endpoints_free(e);
	close(pod);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_add_list_delete, setup, teardown),
		cmocka_unit_test_setup_teardown(test_refusals, setup, teardown),
		cmocka_unit_test_setup_teardown(test_rollback, setup, teardown),
		cmocka_unit_test_setup_teardown(test_killed, setup, teardown),
		cmocka_unit_test_setup_teardown(test_adopt, setup, teardown),
		cmocka_unit_test_setup_teardown(test_degraded, setup, teardown),
		cmocka_unit_test_setup_teardown(test_damaged_records, setup, teardown),
		cmocka_unit_test_setup_teardown(test_netns_gone, setup, teardown),
		cmocka_unit_test_setup_teardown(test_self_repair, setup, teardown),
	};

	return cmocka_run_group_tests(tests, tn_enter, NULL);
}
