/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The inside of services.h: the mirror of bn_services, bn_service_slots and bn_backends, shared by
 *
 *   services-mirror.c  keeping it, and reading what a predecessor left
 *   services-choice.c  what a frontend chooses from, and how
 *   services-stage.c   working out a commit without touching the kernel
 *   services-write.c   putting it into the maps
 *   services-audit.c   all of it against the maps
 *   services.c         the commit, and questions
 */
#pragma once

#include "datapath/runs.h"
#include "datapath/services.h"

#include <bpfnet/frontends.h>

#include <stdbool.h>

#define HASH_NONFATAL_OOM 1
#include <uthash.h>

struct backend_key {
	union bn_addr addr;
	uint32_t service;
	__be16 port;
	uint8_t protocol;
	uint8_t pad;
};

struct backend {
	struct backend_key key;
	uint32_t index;
	uint32_t gen;
	uint32_t refs;                  /* frontends that list it, in whatever state */
	uint32_t serves;                /* of these, the ones that send new flows to it */
	uint32_t staged, staged_serves; /* the same after the commit under way */
	uint8_t state;                  /* as in the map */
	uint8_t wanted;                 /* as the commit under way wants it */
	uint8_t touched;                /* on the commit's list */
	uint8_t born;                   /* by the commit under way */
	UT_hash_handle hh;
};

struct service;

struct frontend {
	struct bn_service_key key;
	struct bn_service value;
	struct service *owner;     /* NULL: a predecessor's, unclaimed */
	struct backend **backends; /* all listed; first those that have places */
	uint32_t n_backends;
	uint16_t *weights;      /* of those with places; NULL: not known */
	struct bn_service next; /* the commit under way */
	struct backend **next_backends;
	uint16_t *next_weights;
	uint32_t n_next;
	struct service *next_owner;
	enum { KEEP, WRITE, REMOVE } op;
	uint8_t touched;
	uint8_t born;
	UT_hash_handle hh;
	struct frontend *sibling; /* of the same owner */
	struct frontend *list;    /* the commit's */
};

/* An address that frontends share: its port-0 entry in the map. */
struct address {
	union bn_addr addr;
	uint32_t refs;
	uint8_t known; /* in the map */
	uint8_t touched;
	UT_hash_handle hh;
	struct address *list;
};

struct service {
	char *key; /* "namespace/name" */
	uint32_t id;
	struct frontend *frontends;
	UT_hash_handle hh, hh_id;
};

struct bn_services {
	struct bn_services_config config;
	struct bn_frontends table;
	struct bn_runs runs, luts;
	struct bn_epochs *epochs; /* mapped */
	struct frontend *frontends;
	struct backend *backends;
	struct address *addresses;
	struct service *services, *by_id;
	uint32_t *free_backends; /* indices given back, the latest last */
	size_t n_free, cap_free;
	uint32_t top_backend; /* first index never used */
	uint32_t next_id;
	uint32_t *gens; /* generations of free indices, by index, lazily sized */
	uint32_t n_gens;
	uint64_t n_frontends, n_backends;
	uint64_t retired_udp;
	/* the commit under way */
	struct frontend *changed;
	struct address *changed_addresses;
	struct backend **touched;
	size_t n_touched, cap_touched;
};

/* services-mirror.c */
int bn_mirror_push_free(struct bn_services *s, uint32_t index);
int bn_mirror_touch_backend(struct bn_services *s, struct backend *b);
struct backend *bn_mirror_backend_find(struct bn_services *s, const struct backend_key *key);
int bn_mirror_backend_add(struct bn_services *s, const struct backend_key *key, uint32_t index,
			  struct backend **ret);
struct address *bn_mirror_address_get(struct bn_services *s, const union bn_addr *addr);
struct frontend *bn_mirror_frontend_find(struct bn_services *s, const struct bn_service_key *key);
struct frontend *bn_mirror_frontend_add(struct bn_services *s, const struct bn_service_key *key);
void bn_mirror_frontend_drop(struct bn_services *s, struct frontend *f);
struct service *bn_mirror_service_find(struct bn_services *s, const char *namespace,
				       const char *name);
void bn_mirror_service_destroy(struct service *v);
void bn_mirror_service_drop(struct bn_services *s, struct service *v);
int bn_mirror_service_register(struct bn_services *s, struct service *v, uint32_t id);
struct service *bn_mirror_service_get(struct bn_services *s, const char *namespace,
				      const char *name);

/* services-choice.c */
uint32_t bn_choice_places(const struct bn_service *v);
int bn_choice_stage(struct bn_services *s, const struct service *v,
		    const struct bn_frontend_spec *fs, struct frontend *f);
bool bn_choice_same(const struct frontend *f);
/* Runs of places and lines: taken for f->next, given back, found in use, within their maps. */
int bn_choice_take(struct bn_services *s, const char *service, struct frontend *f,
		   struct bn_error *err);
void bn_choice_give(struct bn_services *s, const struct bn_service *v);
void bn_choice_claim(struct bn_services *s, const struct bn_service *v);
bool bn_choice_sound(const struct bn_services *s, const struct bn_service *v);
void bn_choice_slot(const struct backend *b, struct bn_service_slot *ret);
void bn_choice_fill(struct frontend *f);
int bn_choice_write_luts(struct bn_services *s, const struct frontend *f);

/* services-stage.c */
int bn_services_stage_backend(struct bn_services *s, const struct service *v,
			      const struct bn_frontend_spec *fs, const struct bn_backend_spec *bs,
			      struct backend **ret);
void bn_services_stage_remove(struct bn_services *s, struct frontend *f);
int bn_services_stage_service(struct bn_services *s, const struct bn_service_spec *spec,
			      struct bn_error *err);
int bn_services_stage_references(struct bn_services *s);
int bn_services_stage_room(struct bn_services *s, struct bn_error *err);
int bn_services_stage_indices(struct bn_services *s, struct bn_error *err);

/* services-write.c: what the map says of a backend */
void bn_mirror_backend_value(const struct backend *b, struct bn_backend *ret);
/* in this order */
int bn_services_write_backends(struct bn_services *s);
int bn_services_write_places(struct bn_services *s);
int bn_services_write_frontends(struct bn_services *s);
int bn_services_delete_frontends(struct bn_services *s);
int bn_services_retire_backends(struct bn_services *s);
/* ... and afterwards, whether it went well or not */
void bn_services_settle_frontends(struct bn_services *s, bool ok);
void bn_services_settle_backends(struct bn_services *s, bool ok);
void bn_services_settle_addresses(struct bn_services *s, bool ok);
void bn_services_settle_services(struct bn_services *s, const struct bn_service_spec *set,
				 size_t n);
