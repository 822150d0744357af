// SPDX-License-Identifier: Apache-2.0
/*
 * SIGKILL at any moment: a child adds and deletes endpoints as fast as it can and is killed again
 * and again; each time the next start finds devices, records and the registry saying the same.
 */
#include "test-net-fixture.h"

#include "address.h"
#include "net/endpoints.h"
#include "net/inventory.h"
#include "net/netlink.h"

#include <errno.h>
#include <signal.h>
#include <sys/wait.h>
#include <time.h>

#define PODS 4
#define KILLS 40
#define LONGEST_NS 40000000

static struct bn_endpoints *open_registry(sd_event *event)
{
	const struct bn_endpoints_config config = {.state_dir = TN_STATE};
	struct bn_error err = BN_ERROR_INIT;
	struct bn_endpoints *e;

	if (bn_endpoints_new(event, &config, &e, &err) < 0 || bn_endpoints_restore(e, &err) < 0)
		fail_msg("%s", bn_error_text(&err));
	return e;
}

static int add(struct bn_endpoints *e, int netns, int i, struct bn_error *err)
{
	struct bn_endpoint_request request = {
		.namespace = "default",
		.netns_name = "",
		.netns_fd = netns,
	};
	char pod[16], text[32];
	union bn_addr ips[2];

	snprintf(pod, sizeof(pod), "p%d", i);
	snprintf(text, sizeof(text), "10.61.0.%d", i + 1);
	assert_int_equal(bn_addr_parse(text, &ips[0], NULL), 0);
	snprintf(text, sizeof(text), "fd61::%d", i + 1);
	assert_int_equal(bn_addr_parse(text, &ips[1], NULL), 0);
	request.pod = pod;
	request.ips = ips;
	request.n_ips = 2;
	return bn_endpoints_add(e, &request, err);
}

static void child(const int pods[PODS])
{
	struct bn_endpoints *e;
	sd_event *event;

	if (sd_event_new(&event) < 0)
		_exit(1);
	e = open_registry(event);
	for (int i = 0;; i = (i + 1) % PODS) {
		struct bn_error err = BN_ERROR_INIT;
		char pod[16];
		int r;

		snprintf(pod, sizeof(pod), "p%d", i);
		r = bn_endpoints_delete(e, "default", pod, NULL);
		if (r == 0 || r == -ENOENT)
			r = add(e, pods[i], i, &err);
		if (r < 0) {
			fprintf(stderr, "%s\n", bn_error_text(&err));
			_exit(1);
		}
	}
}

struct check {
	struct bn_nl *nl;
	size_t n;
};

static int check_one(void *user, const struct bn_endpoint_info *info)
{
	struct check *c = user;
	struct bn_link link;

	c->n++;
	assert_int_equal(info->state, BN_ENDPOINT_READY);
	assert_int_equal(bn_link_get(c->nl, info->host_ifname, 0, &link), 0);
	assert_int_equal(link.ifindex, info->ifindex);
	assert_true(bn_link_is_ready(&link));
	return 0;
}

static void check_consistent(struct bn_endpoints *e)
{
	struct check c = {0};
	struct bn_link *links;
	size_t n, host_sides = 0;
	char count[16];

	assert_int_equal(bn_nl_open(NETLINK_ROUTE, &c.nl, NULL), 0);
	assert_int_equal(bn_endpoints_each(e, check_one, &c), 0);
	assert_int_equal(bn_inventory_links(c.nl, &links, &n, NULL), 0);
	for (size_t i = 0; i < n; i++)
		host_sides += bn_link_is_host_side(&links[i]);
	assert_int_equal(host_sides, c.n);
	snprintf(count, sizeof(count), "%zu\n", c.n);
	assert_string_equal(tn_sh(-1, "ls " TN_STATE "/endpoints | grep -c 'json$'; true"), count);
	snprintf(count, sizeof(count), "%zu\n", 2 * c.n);
	assert_string_equal(tn_sh(-1, "(ip route; ip -6 route) | grep -c 'proto 191'; true"),
			    count);
	free(links);
	bn_nl_free(c.nl);
}

static void test_killed_anywhere(void **state)
{
	int pods[PODS];
	unsigned seed = 7;
	size_t found = 0;

	for (int i = 0; i < PODS; i++)
		pods[i] = tn_pod();
	for (int k = 0; k < KILLS; k++) {
		const struct timespec wait = {.tv_nsec = rand_r(&seed) % LONGEST_NS};
		struct bn_endpoints *e;
		sd_event *event;
		int status;
		pid_t pid;

		pid = fork();
		assert_true(pid >= 0);
		if (pid == 0)
			child(pods);
		nanosleep(&wait, NULL);
		kill(pid, SIGKILL);
		assert_int_equal(waitpid(pid, &status, 0), pid);
		assert_true(WIFSIGNALED(status));
		assert_true(sd_event_new(&event) >= 0);
		e = open_registry(event);
		check_consistent(e);
		found += bn_endpoints_count(e);
		/* And from there all works. */
		if (k == KILLS - 1) {
			assert_int_equal(bn_endpoints_uninstall(e, NULL), 0);
			assert_string_equal(tn_sh(-1, "ls " TN_STATE), "");
			assert_string_equal(tn_sh(-1, "ip -br link | grep -v ^lo; true"), "");
		}
		bn_endpoints_free(e);
		sd_event_unref(event);
	}
	assert_true(found > 0);
	for (int i = 0; i < PODS; i++)
		close(pods[i]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(test_killed_anywhere, tn_fresh_node),
	};

	return cmocka_run_group_tests(tests, tn_enter, NULL);
}
