/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Who may use a service from outside (loadBalancerSourceRanges), in bn_sources. The datapath asks
 * for frontends that are marked as restricted alone, and refuses whom it does not find.
 *
 * With direct server return also which addresses of this node may answer for a service: those of its
 * backends here, whether new flows go to them or not, where anybody outside can reach it.
 *
 * A change takes three steps around the services' own commit, so that nobody who may before and
 * after is refused in between: bn_sources_add() what is new, then the commit, then
 * bn_sources_trim() what has gone, or bn_sources_revert() where it failed.
 */
#pragma once

#include "datapath/audit.h"
#include "error.h"
#include "model.h"

struct bn_sources;

/* `answers`: who may answer is wanted in the map, too. */
int bn_sources_new(int fd, bool answers, struct bn_sources **ret, struct bn_error *err);
void bn_sources_free(struct bn_sources *s);

/* Lets in and answer, besides whom it did, whom the spec of the service with this id lists. */
int bn_sources_add(struct bn_sources *s, uint32_t id, const struct bn_service_spec *spec,
		   struct bn_error *err);
/* From now on only those of the last bn_sources_add(); all others of the id are forgotten. */
void bn_sources_trim(struct bn_sources *s, uint32_t id);
/* As it was before the last bn_sources_add(). */
void bn_sources_revert(struct bn_sources *s, uint32_t id);
/* The service is gone. */
void bn_sources_remove(struct bn_sources *s, uint32_t id);

/* What a predecessor left of services that nobody claimed. */
int bn_sources_prune(struct bn_sources *s);
void bn_sources_audit(struct bn_sources *s, struct bn_audit_count *c);
