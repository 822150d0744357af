/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Settings of the host that break forwarding to and from pods, found by looking and explained with
 * what to do about them. Nothing is changed here.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

struct bn_error;

enum bn_hostcheck_severity {
	BN_HOSTCHECK_NOTE,     /* by choice, or harmless as far as can be told */
	BN_HOSTCHECK_DEGRADED, /* some traffic is lost */
};

struct bn_hostcheck_finding {
	const char *name; /* "forward-policy-drop", ...: stable, for scripts */
	enum bn_hostcheck_severity severity;
	char *text; /* owned: what is wrong and what to do, one line */
};

struct bn_hostcheck {
	struct bn_hostcheck_finding *findings;
	size_t n;
};

#define BN_HOSTCHECK_INIT {0}

/*
 * Looks at the network namespace that the caller is in, through netlink, getsockopt and /proc: no
 * child process, no waiting. A subsystem that the kernel does not have is no finding. `v6`: pods
 * have IPv6 addresses, or may get some. The result is the caller's to empty with _done().
 */
int bn_hostcheck_run(const char *const *uplinks, size_t n_uplinks, bool v6,
		     struct bn_hostcheck *ret, struct bn_error *err);
void bn_hostcheck_done(struct bn_hostcheck *h);

/*
 * Adds a finding where the node's own connections take ports that are also given to `whom`: a
 * packet could then be either's. `key` of the configuration is where they are given.
 */
int bn_hostcheck_ports(struct bn_hostcheck *h, const char *name, const char *whom, const char *key,
		       unsigned min, unsigned max);

/* For the files that look, see hostcheck-nft.c and hostcheck-legacy.c. */
int bn_hostcheck_add(struct bn_hostcheck *h, const char *name, enum bn_hostcheck_severity severity,
		     const char *format, ...) __attribute__((format(printf, 4, 5)));
int bn_hostcheck_nft(struct bn_hostcheck *h);
int bn_hostcheck_legacy(struct bn_hostcheck *h);
