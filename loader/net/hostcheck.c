// SPDX-License-Identifier: Apache-2.0
/*
 * Why: a host where Docker, ufw or a hardening guide got to work first drops forwarded packets, and
 * nothing says so; `bpfnet status` does.
 *
 * Invariant: looking leaves no trace: no module is loaded and no table made for it.
 */
#include "net/hostcheck.h"

#include "error.h"
#include "net/sysctl.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FINDINGS_MAX 64

int bn_hostcheck_add(struct bn_hostcheck *h, const char *name, enum bn_hostcheck_severity severity,
		     const char *format, ...)
{
	struct bn_hostcheck_finding *findings;
	char *text;
	va_list ap;
	int r;

	if (h->n >= FINDINGS_MAX)
		return 0;
	va_start(ap, format);
	r = vasprintf(&text, format, ap);
	va_end(ap);
	if (r < 0)
		return -ENOMEM;
	findings = reallocarray(h->findings, h->n + 1, sizeof(*findings));
	if (!findings) {
		free(text);
		return -ENOMEM;
	}
	h->findings = findings;
	findings[h->n++] = (struct bn_hostcheck_finding){name, severity, text};
	return 0;
}

void bn_hostcheck_done(struct bn_hostcheck *h)
{
	if (!h)
		return;
	for (size_t i = 0; i < h->n; i++)
		free(h->findings[i].text);
	free(h->findings);
	*h = (struct bn_hostcheck)BN_HOSTCHECK_INIT;
}

/* A missing setting reads as its absence: -1. */
static int number(const char *key)
{
	char value[BN_SYSCTL_VALUE_MAX];

	return bn_sysctl_read(key, value) < 0 ? -1 : atoi(value);
}

static int device_number(const char *family, const char *ifname, const char *setting)
{
	char key[128];

	snprintf(key, sizeof(key), "net/%s/conf/%.16s/%s", family, ifname, setting);
	return number(key);
}

static int check_forwarding(struct bn_hostcheck *h, bool v6)
{
	int r = 0;

	if (number("net/ipv4/ip_forward") == 0)
		r = bn_hostcheck_add(
			h, "ip-forward-off", BN_HOSTCHECK_DEGRADED,
			"net.ipv4.ip_forward is 0, so pods reach nothing outside this node: set it to 1 and look in /etc/sysctl.d for what switched it off");
	if (r == 0 && v6 && number("net/ipv6/conf/all/forwarding") == 0)
		r = bn_hostcheck_add(
			h, "ipv6-forwarding-off", BN_HOSTCHECK_DEGRADED,
			"net.ipv6.conf.all.forwarding is 0, so pods reach nothing outside this node by IPv6: set it to 1 and look in /etc/sysctl.d for what switched it off");
	return r;
}

static int check_uplink(struct bn_hostcheck *h, const char *ifname, bool v6)
{
	const int all = number("net/ipv4/conf/all/rp_filter");
	const int own = device_number("ipv4", ifname, "rp_filter");
	int r = 0;

	/* The greater of the two counts; 1 is strict, 2 is loose. */
	if ((all > own ? all : own) == 1)
		r = bn_hostcheck_add(
			h, "rp-filter-strict", BN_HOSTCHECK_NOTE,
			"reverse-path filtering is strict on %s: packets that come in by another way than they would leave are dropped; where routing is asymmetric, set net.ipv4.conf.%s.rp_filter to 2",
			ifname, ifname);
	if (r == 0 && v6 && device_number("ipv6", ifname, "disable_ipv6") == 1)
		r = bn_hostcheck_add(
			h, "ipv6-disabled", BN_HOSTCHECK_NOTE,
			"IPv6 is disabled on %s, so pods' IPv6 stays on this node: set net.ipv6.conf.%s.disable_ipv6 to 0 if they should get out",
			ifname, ifname);
	return r;
}

/* rp_filter of `all` reaches the pods' devices as well, whose own is 0. */
static int check_strict_everywhere(struct bn_hostcheck *h)
{
	if (number("net/ipv4/conf/all/rp_filter") != 1)
		return 0;
	return bn_hostcheck_add(
		h, "rp-filter-strict-all", BN_HOSTCHECK_DEGRADED,
		"net.ipv4.conf.all.rp_filter is 1, which overrides the pods' devices: replies of services to this node's own pods may be dropped; set it to 0 or 2 and the uplinks' own as you like");
}

static int check_v6(struct bn_hostcheck *h, bool v6)
{
	if (!v6 || number("net/ipv6/conf/all/forwarding") >= 0)
		return 0;
	return bn_hostcheck_add(h, "ipv6-missing", BN_HOSTCHECK_DEGRADED,
				"this kernel runs without IPv6: boot it without ipv6.disable=1");
}

int bn_hostcheck_run(const char *const *uplinks, size_t n_uplinks, bool v6,
		     struct bn_hostcheck *ret, struct bn_error *err)
{
	struct bn_hostcheck h = BN_HOSTCHECK_INIT;
	int r;

	r = check_forwarding(&h, v6);
	if (r == 0)
		r = check_v6(&h, v6);
	if (r == 0)
		r = check_strict_everywhere(&h);
	for (size_t i = 0; i < n_uplinks && r == 0; i++)
		r = check_uplink(&h, uplinks[i], v6);
	if (r == 0)
		r = bn_hostcheck_nft(&h);
	if (r == 0)
		r = bn_hostcheck_legacy(&h);
	if (r < 0) {
		bn_hostcheck_done(&h);
		return bn_error_set(err, r, "cannot look at the host's settings: %s", strerror(-r));
	}
	*ret = h;
	return 0;
}
