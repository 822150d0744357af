/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Kernel settings under /proc/sys of the network namespace that the caller is in. Keys are paths
 * below it ("net/ipv4/ip_forward"), because device names may contain dots.
 *
 * Those that belong to the node and not to a device of ours are changed through struct bn_sysctl,
 * which remembers what they were in <state-dir>/sysctls.json, so that uninstalling puts them back.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#define BN_SYSCTL_VALUE_MAX 64

struct bn_error;
struct bn_sysctl;

/* Without remembering anything. -ENOENT where the kernel or the device has no such setting. */
int bn_sysctl_read(const char *key, char ret[BN_SYSCTL_VALUE_MAX]);
int bn_sysctl_write(const char *key, const char *value);

/* A broken state file is refused, not overwritten: it holds the only record of the old values. */
int bn_sysctl_new(const char *state_dir, struct bn_sysctl **ret, struct bn_error *err);
void bn_sysctl_free(struct bn_sysctl *s);
/* Does nothing where the setting has the value; the first old value of a key is what stays. */
int bn_sysctl_set(struct bn_sysctl *s, const char *key, const char *value, struct bn_error *err);
/*
 * Lets the node route both families. Forwarding of IPv6 stops router advertisements from being
 * heard, so uplinks that lived by them (accept_ra 1, not forwarding) get accept_ra 2 first.
 */
int bn_sysctl_enable_forwarding(struct bn_sysctl *s, const char *const *uplinks, size_t n,
				struct bn_error *err);
/* Puts back what was changed, last first, unless someone else changed it since; forgets it all. */
int bn_sysctl_restore(struct bn_sysctl *s, struct bn_error *err);
