// SPDX-License-Identifier: Apache-2.0
/*
 * Why: what comes over the socket ends up in device names, paths and kernel tables; it is refused
 * by name before anything is made of it.
 *
 * Invariant: whatever passes here is safe as part of a file name and of a path under /proc/sys.
 */
#include "address.h"
#include "error.h"
#include "net/endpoint-record.h"

#include <ctype.h>
#include <errno.h>
#include <limits.h>
#include <string.h>

#define NAMESPACE_MAX 63 /* RFC 1123 label */
#define POD_MAX 253      /* RFC 1123 subdomain */

bool bn_endpoint_name_ok(const char *name, size_t max)
{
	const size_t n = name ? strnlen(name, max + 1) : 0;

	if (n == 0 || n > max)
		return false;
	for (size_t i = 0; i < n; i++) {
		const bool inner = i > 0 && i + 1 < n;
		const char c = name[i];

		if (!((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') ||
		      (inner && (c == '-' || c == '.'))))
			return false;
	}
	return true;
}

/* Stricter than the kernel: '%' makes it choose a number, the words are folders of /proc/sys. */
bool bn_endpoint_ifname_ok(const char *ifname)
{
	static const char *const reserved[] = {".", "..", "all", "default", "lo"};

	for (size_t i = 0; i < sizeof(reserved) / sizeof(reserved[0]); i++) {
		if (!strcmp(ifname, reserved[i]))
			return false;
	}
	for (const char *p = ifname; *p; p++) {
		if (!isascii(*p) || !isgraph(*p) || strchr("/:%\"\\'", *p))
			return false;
	}
	return *ifname != '\0';
}

static const char *not_for_pods(const union bn_addr *ip)
{
	static const union bn_addr unspecified, loopback = {.b = {[15] = 1}};
	const uint8_t *b = ip->b;

	if (bn_addr_is_v4(ip)) {
		b += 12;
		if (b[0] == 0)
			return "unspecified (0.0.0.0/8)";
		if (b[0] == 127)
			return "loopback";
		if (b[0] == 169 && b[1] == 254)
			return "link-local";
		if (b[0] >= 224 && b[0] < 240)
			return "multicast";
		return b[0] >= 240 ? "reserved or broadcast (240.0.0.0/4)" : NULL;
	}
	if (bn_addr_equal(ip, &unspecified))
		return "unspecified";
	if (bn_addr_equal(ip, &loopback))
		return "loopback";
	if (b[0] == 0xfe && (b[1] & 0xc0) == 0x80)
		return "link-local";
	return b[0] == 0xff ? "multicast" : NULL;
}

int bn_endpoint_check_ips(const union bn_addr *ips, size_t n, struct bn_error *err)
{
	char text[BN_ADDR_STRLEN];

	if (n == 0)
		return bn_error_set(err, -EINVAL, "an endpoint needs an address; give --ip");
	for (size_t i = 0; i < n; i++) {
		const char *why = not_for_pods(&ips[i]);

		if (why)
			return bn_error_set(err, -EINVAL, "%s can't be a pod's address: it is %s",
					    bn_addr_format(&ips[i], text), why);
	}
	/* Two at most, or some two are of one family. */
	if (n > BN_VETH_IPS_MAX || (n == 2 && bn_addr_is_v4(&ips[0]) == bn_addr_is_v4(&ips[1])))
		return bn_error_set(
			err, -EINVAL,
			"an endpoint has at most one address of each family, IPv4 and IPv6");
	return 0;
}

int bn_endpoint_check(const struct bn_endpoint_request *request, struct bn_netns_id *ret_netns,
		      struct bn_error *err)
{
	const char *ifname = request->ifname ? request->ifname : "eth0";
	const char *netns = request->netns_name ? request->netns_name : "the given descriptor";
	struct bn_netns_id own;
	int r;

	if (!bn_endpoint_name_ok(request->namespace, NAMESPACE_MAX) ||
	    strchr(request->namespace, '.'))
		return bn_error_set(
			err, -EINVAL,
			"the namespace must be 1 to %d lower-case letters, digits or '-'",
			NAMESPACE_MAX);
	if (!bn_endpoint_name_ok(request->pod, POD_MAX))
		return bn_error_set(
			err, -EINVAL,
			"the pod's name must be 1 to %d lower-case letters, digits, '-' or '.'",
			POD_MAX);
	if (strlen(ifname) >= IF_NAMESIZE)
		return bn_error_set(
			err, -EINVAL,
			"the interface name %.40s is too long: %zu characters, Linux allows %d",
			ifname, strlen(ifname), IF_NAMESIZE - 1);
	if (!bn_endpoint_ifname_ok(ifname))
		return bn_error_set(err, -EINVAL, "'%s' can't be the name of a pod's interface",
				    ifname);
	if (strlen(netns) >= PATH_MAX)
		return bn_error_set(err, -ENAMETOOLONG,
				    "the name of the network namespace is too long");
	r = bn_endpoint_check_ips(request->ips, request->n_ips, err);
	if (r < 0)
		return r;
	r = bn_netns_identify(request->netns_fd, ret_netns);
	if (r < 0)
		return bn_error_set(err, -EINVAL, "%.200s is no network namespace", netns);
	r = bn_netns_own(&own);
	if (r < 0)
		return bn_error_set(err, r, "cannot tell the node's own network namespace: %s",
				    strerror(-r));
	if (bn_netns_same(&own, ret_netns))
		return bn_error_set(
			err, -EINVAL,
			"%.200s is the node's own network namespace; a pod needs one of its own",
			netns);
	return 0;
}
