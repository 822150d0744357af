// SPDX-License-Identifier: Apache-2.0
/*
 * Why: the kernel's defaults of a new device are for a host on a network, not for a gateway of one
 * pod; each setting that differs is named here with its reason.
 *
 * Invariant: what has its value already is not written, so a read-only /proc/sys is no obstacle
 * once a device is set up.
 */
#include "net/veth-settings.h"

#include "error.h"
#include "net/sysctl.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

/* Settings of one device, `%s`; IPv6's are only there where the kernel has IPv6. */
struct setting {
	const char *key;
	const char *value;
};

static const struct setting unfiltered[] = {
	{"net/ipv4/conf/%s/rp_filter", "0"}, /* the source is checked by the program */
};

static const struct setting loose[] = {
	{"net/ipv4/conf/%s/rp_filter", "2"}, /* strict for all devices is not for this one */
};

static const struct setting host_v4[] = {
	{"net/ipv4/conf/%s/accept_local", "1"}, /* hairpins and service replies */
	{"net/ipv4/conf/%s/forwarding", "1"},     {"net/ipv4/conf/%s/proxy_arp", "0"},
	{"net/ipv4/conf/%s/send_redirects", "0"}, {"net/ipv4/conf/%s/accept_redirects", "0"},
};

static const struct setting host_v6[] = {
	{"net/ipv6/conf/%s/addr_gen_mode", "1"}, /* none: no link-local address */
	{"net/ipv6/conf/%s/accept_ra", "0"},        {"net/ipv6/conf/%s/autoconf", "0"},
	{"net/ipv6/conf/%s/accept_dad", "0"},       {"net/ipv6/conf/%s/dad_transmits", "0"},
	{"net/ipv6/conf/%s/accept_redirects", "0"}, {"net/ipv6/conf/%s/proxy_ndp", "0"},
	{"net/ipv6/conf/%s/forwarding", "1"},
};

static const struct setting wanted_v6[] = {
	{"net/ipv6/conf/%s/disable_ipv6", "0"},
};

static const struct setting pod_v6[] = {
	{"net/ipv6/conf/%s/accept_dad", "0"}, /* else the link-local address waits a second */
	{"net/ipv6/conf/%s/disable_ipv6", "0"},
};

static int apply(const struct setting *settings, size_t n, const char *ifname, struct bn_error *err)
{
	for (size_t i = 0; i < n; i++) {
		char have[BN_SYSCTL_VALUE_MAX];
		char key[128];
		int r;

		snprintf(key, sizeof(key), settings[i].key, ifname);
		r = bn_sysctl_read(key, have);
		if (r == 0 && !strcmp(have, settings[i].value))
			continue;
		r = bn_sysctl_write(key, settings[i].value);
		if (r < 0)
			return bn_error_set(err, r,
					    "cannot set %s to %s: %s; is /proc/sys writable here?",
					    key, settings[i].value, strerror(-r));
	}
	return 0;
}

#define APPLY(settings, ifname, err) \
	apply(settings, sizeof(settings) / sizeof((settings)[0]), ifname, err)

static bool has_v6(const char *ifname)
{
	char value[BN_SYSCTL_VALUE_MAX];
	char key[128];

	snprintf(key, sizeof(key), "net/ipv6/conf/%s/disable_ipv6", ifname);
	return bn_sysctl_read(key, value) == 0;
}

static int set_host(const char *ifname, bool v6, struct bn_error *err)
{
	int r;

	r = APPLY(host_v4, ifname, err);
	if (r < 0)
		return r;
	if (!has_v6(ifname)) {
		if (!v6)
			return 0;
		return bn_error_set(
			err, -EAFNOSUPPORT,
			"an IPv6 address was asked for, but this node's kernel runs without IPv6; boot it without ipv6.disable=1");
	}
	r = APPLY(host_v6, ifname, err);
	if (r == 0 && v6)
		r = APPLY(wanted_v6, ifname, err);
	return r;
}

int bn_veth_set_host(const char *ifname, bool v6, struct bn_error *err)
{
	int r = APPLY(unfiltered, ifname, err);

	return r < 0 ? r : set_host(ifname, v6, err);
}

int bn_veth_set_near(const char *ifname, bool v6, struct bn_error *err)
{
	int r = APPLY(loose, ifname, err);

	return r < 0 ? r : set_host(ifname, v6, err);
}

int bn_veth_set_pod(const char *ifname, struct bn_error *err)
{
	if (!has_v6(ifname))
		return bn_error_set(
			err, -EAFNOSUPPORT,
			"an IPv6 address was asked for, but the pod's network namespace has no IPv6");
	return APPLY(pod_v6, ifname, err);
}
