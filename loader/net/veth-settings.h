/* SPDX-License-Identifier: Apache-2.0 */
/* Kernel settings of an endpoint's two devices, in the namespace that the caller is in. */
#pragma once

#include <stdbool.h>

struct bn_error;

/* `v6`: the pod has an IPv6 address; -EAFNOSUPPORT where the kernel has no IPv6. */
int bn_veth_set_host(const char *ifname, bool v6, struct bn_error *err);
/* The same for a device by which the node's own addresses come back to it. */
int bn_veth_set_near(const char *ifname, bool v6, struct bn_error *err);
/* Needed for IPv6 alone; a pod's other settings are its own affair. */
int bn_veth_set_pod(const char *ifname, struct bn_error *err);
