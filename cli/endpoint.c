// SPDX-License-Identifier: Apache-2.0
/*
 * `endpoint`: attaches and detaches pods. The namespace is opened here, in the mount namespace
 * and with the rights of who typed the command, and goes to the agent as a descriptor.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/nsfs.h>
#include <net/if.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "client.h"
#include "output.h"
#include "text.h"

static void cell_policy(FILE *f, const json_t *row, const struct bn_column *column)
{
	static const char *const directions[] = {"ingress", "egress"};
	const json_t *policy = json_object_get(row, "policy");
	const char *separator = "";

	for (size_t i = 0; i < 2; i++) {
		const json_t *v = json_object_get(policy, directions[i]);

		if (json_is_true(v) || (json_is_array(v) && json_array_size(v)) ||
		    json_integer_value(v) > 0) {
			fprintf(f, "%s%s", separator, directions[i]);
			separator = ",";
		}
	}
}

static const struct bn_column columns[] = {
	{.title = "NAMESPACE", .key = "namespace"},
	{.title = "POD", .key = "pod"},
	{.title = "IPS", .key = "ips"},
	{.title = "STATE", .key = "state"},
	{.title = "IDENTITY", .key = "identity", .right = true},
	{.title = "HOST-IFNAME", .key = "host_ifname"},
	{.title = "POLICY", .cell = cell_policy},
	{.title = "IFNAME", .key = "ifname", .wide = true},
	{.title = "NETNS", .key = "netns", .wide = true},
	{0},
};

/* Opens a namespace by its name or path; -1 after having said why. */
static int open_netns(const char *netns, const char *pod)
{
	char *path = NULL;
	int fd, type;

	if (strchr(netns, '/') ? asprintf(&path, "%s", netns) < 0
			       : asprintf(&path, "/run/netns/%s", netns) < 0) {
		bn_fail("out of memory");
		return -1;
	}
	fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	if (fd < 0) {
		bn_fail("can't add '%s': network namespace '%s' (%s) does not exist or can't be "
			"opened: %s; 'ip netns list' names those that do",
			pod, netns, path, strerror(errno));
	} else {
		type = ioctl(fd, NS_GET_NSTYPE);
		if (type != CLONE_NEWNET) {
			bn_fail("can't add '%s': '%s' (%s) is not a network namespace", pod, netns,
				path);
			close(fd);
			fd = -1;
		}
	}
	free(path);
	return fd;
}

static bool is_address(const char *text)
{
	unsigned char address[16];

	return inet_pton(AF_INET, text, address) == 1 || inet_pton(AF_INET6, text, address) == 1;
}

/* What was attached or detached, as one line, or as the agent describes it. */
static int print_endpoint(const struct bn_call *call, const json_t *result, const char *what)
{
	if (!bn_output_is_table(call))
		return bn_output(call, NULL, result);
	fputs("endpoint/", stdout);
	bn_text_clean(stdout, call->args[0]);
	printf(" %s\n", what);
	return BN_EXIT_DONE;
}

int bn_cmd_endpoint_add(struct bn_call *call)
{
	const char *netns = bn_call_option(call, "netns");
	const char *ifname = bn_call_option(call, "ifname");
	json_t *params = NULL, *result = NULL, *ips = json_array();
	char *namespace = NULL;
	const char *pod;
	struct bn_ask ask = BN_ASK("endpoint.add", NULL);
	int r;

	if (!bn_split_name(call->args[0], &namespace, &pod)) {
		r = bn_call_usage(call, "'%s' is not of the form NS/POD", call->args[0]);
		goto out;
	}
	for (size_t i = 0; i < call->n_values; i++) {
		const struct bn_value *v = &call->values[i];

		if (strcmp(v->option->name, "ip") != 0)
			continue;
		if (!is_address(v->value)) {
			r = bn_call_usage(call, "'--ip %s' is not an IPv4 or IPv6 address",
					  v->value);
			goto out;
		}
		json_array_append_new(ips, json_string(v->value));
	}
	if (!netns || !*netns || json_array_size(ips) == 0) {
		r = bn_call_usage(call, "'--netns' and at least one '--ip' are needed");
		goto out;
	}
	if (!ifname)
		ifname = "eth0";
	if (strlen(ifname) >= IFNAMSIZ) {
		r = bn_fail("can't add '%s': interface name '%s' is too long; the kernel takes %d "
			    "characters",
			    call->args[0], ifname, IFNAMSIZ - 1);
		goto out;
	}
	ask.fd = open_netns(netns, call->args[0]);
	if (ask.fd < 0) {
		r = BN_EXIT_FAILED;
		goto out;
	}
	params = json_pack("{s:s,s:s,s:s,s:s,s:O}", "namespace", namespace, "pod", pod, "netns",
			   netns, "ifname", ifname, "ips", ips);
	ask.params = params;
	r = params ? bn_client_ask(call, &ask, &result)
		   : bn_fail("can't add '%s': a name is not UTF-8", call->args[0]);
	if (!r)
		r = print_endpoint(call, result, "added");
out:
	if (ask.fd >= 0)
		close(ask.fd);
	json_decref(result);
	json_decref(params);
	json_decref(ips);
	free(namespace);
	return r;
}

int bn_cmd_endpoint_delete(struct bn_call *call)
{
	json_t *params = NULL, *result = NULL;
	char *namespace = NULL;
	const char *pod;
	int r;

	if (!bn_split_name(call->args[0], &namespace, &pod))
		return bn_call_usage(call, "'%s' is not of the form NS/POD", call->args[0]);
	params = json_pack("{s:s,s:s}", "namespace", namespace, "pod", pod);
	r = bn_client_ask(call, &(struct bn_ask)BN_ASK("endpoint.delete", params), &result);
	if (!r)
		r = print_endpoint(call, result, "deleted");
	json_decref(result);
	json_decref(params);
	free(namespace);
	return r;
}

int bn_cmd_endpoint_list(struct bn_call *call)
{
	json_t *result = NULL;
	int r;

	r = bn_client_ask(call, &(struct bn_ask)BN_ASK("endpoint.list", NULL), &result);
	if (!r)
		r = bn_output(call, columns, result);
	json_decref(result);
	return r;
}
