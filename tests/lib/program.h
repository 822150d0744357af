/* SPDX-License-Identifier: Apache-2.0 */
/* What every program-test binary shares: the services of the rig, and cmocka around the tables. */
#pragma once

#include "case.h"

/*
 * Services of the standard rig, in both families (backend port after the arrow):
 *   VIP      tcp/80 -> B:8080    tcp/81 -> B:81     tcp/82 -> REMOTE:8082
 *            udp/53 -> B:5353    udp/81 -> B:81     sctp/3868 -> B:3869
 *   VIP2     tcp/80 -> B:8080 C:8081 C:8082 B:8083  tcp/443 -> C:8443
 *            udp/53 -> B:5301 C:5302
 *   VIP3     tcp/80, udp/53, sctp/3868: no backend
 *   HAIRPIN  tcp/80 -> A:8080    udp/53 -> A:5353
 */
void bn_program_services(struct bn_rig *rig);

/* For a case's `prepare`: skips it, and says so, where no packet can come by another device. */
void bn_program_by_another(struct bn_rig *rig, int family);

/* LB:80 admits WORLD's network and nobody else, LB:81 stays open; and LB:80 open again. */
void bn_program_restrict(struct bn_rig *rig, int family);
void bn_program_open(struct bn_rig *rig, int family);

/* First backend index of VIP2 tcp/80 and udp/53, by family. */
__u32 bn_program_backend(int family, __u8 protocol);

/*
 * Runs the cases as one cmocka group, each once per family. `options` may be NULL: small tables.
 * Returns the number that failed, for main().
 */
int bn_program_main(const char *group, const struct bn_case *cases, size_t n,
		    const struct bn_rig_options *options);
