// SPDX-License-Identifier: Apache-2.0
/*
 * The mirror of bn_addresses and its neighbours.
 *
 * Invariant: tables are in place before the epoch is bumped that makes flows look at them.
 */
#include "datapath/addresses-mirror.h"

#include <bpf/bpf.h>
#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

static int remember(void *user, const void *key, const void *value)
{
	struct bn_addresses *a = user;
	struct entry *e = calloc(1, sizeof(*e));

	if (!e)
		return -ENOMEM;
	memcpy(&e->addr, key, sizeof(e->addr));
	memcpy(&e->value, value, sizeof(e->value));
	e->known = 1;
	if (e->value.kind == BN_ADDR_HOST) {
		uint32_t now = a->epochs->generation % BN_GENERATIONS;
		const struct bn_policy_ref *policy = &e->value.policy[now];

		a->firewall = (struct bn_firewall){policy->egress, policy->ingress,
						   e->value.flags & BN_EP_AUDIT << now};
	}
	HASH_ADD(hh, a->entries, addr, sizeof(e->addr), e);
	return 0;
}

int bn_addresses_new(const struct bn_addresses_config *config, struct bn_addresses **ret,
		     struct bn_error *err)
{
	struct bn_addresses *a = calloc(1, sizeof(*a));
	int r;

	if (!a)
		return -ENOMEM;
	a->config = *config;
	a->epochs = mmap(NULL, sizeof(*a->epochs), PROT_READ | PROT_WRITE, MAP_SHARED,
			 config->epochs_fd, 0);
	if (a->epochs == MAP_FAILED) {
		a->epochs = NULL;
		r = -errno;
	} else {
		r = bn_map_each(config->addresses_fd, remember, a);
		if (!r)
			r = bn_wanted_init(&a->endpoints, config->endpoints_fd);
		if (!r)
			r = bn_wanted_init(&a->devices, config->devices_fd);
		if (!r)
			r = bn_wanted_init(&a->ranges, config->ranges_fd);
	}
	if (r) {
		bn_addresses_free(a);
		return bn_error_set(err, r, "can't read the addresses that stand in the maps: %s",
				    strerror(-r));
	}
	*ret = a;
	return 0;
}

void bn_addresses_free(struct bn_addresses *a)
{
	struct entry *e, *tmp;

	if (!a)
		return;
	HASH_ITER(hh, a->entries, e, tmp) {
		HASH_DEL(a->entries, e);
		free(e);
	}
	if (a->epochs)
		munmap(a->epochs, sizeof(*a->epochs));
	bn_wanted_done(&a->endpoints);
	bn_wanted_done(&a->devices);
	bn_wanted_done(&a->ranges);
	free(a);
}

static void bump(struct bn_addresses *a, uint16_t slot)
{
	atomic_fetch_add((_Atomic uint32_t *)&a->epochs->slot[slot], 1);
}

void bn_addresses_bump(struct bn_addresses *a)
{
	bump(a, BN_SLOT_NONE);
}

static struct entry *find(const struct bn_addresses *a, const union bn_addr *addr)
{
	struct entry *e;

	HASH_FIND(hh, a->entries, addr, sizeof(*addr), e);
	return e;
}

static struct entry *get(struct bn_addresses *a, const union bn_addr *addr)
{
	struct entry *e = find(a, addr);

	if (e)
		return e;
	e = calloc(1, sizeof(*e));
	if (!e)
		return NULL;
	e->addr = *addr;
	HASH_ADD(hh, a->entries, addr, sizeof(e->addr), e);
	return e;
}

/*
 * Brings the map in line with the entry; the entry is gone if nothing is left of it. Tells by
 * *ret_kind whether what the address is has changed (and not just how it is reached).
 */
static int put(struct bn_addresses *a, struct entry *e, bool *ret_kind)
{
	const struct bn_address *want = bn_mirror_effective(e);

	e->claimed = 1;
	if (!want) {
		if (e->known) {
			if (bpf_map_delete_elem(a->config.addresses_fd, &e->addr) &&
			    errno != ENOENT)
				return -errno;
			*ret_kind = true;
		}
		HASH_DEL(a->entries, e);
		free(e);
		return 0;
	}
	if (e->known && !memcmp(&e->value, want, sizeof(*want)))
		return 0;
	if (bpf_map_update_elem(a->config.addresses_fd, &e->addr, want, BPF_ANY))
		return -errno;
	/* flows of an endpoint's address depend on its slot, others on nothing else */
	if (!e->known || e->value.kind != want->kind || e->value.slot != want->slot ||
	    (want->slot == BN_SLOT_NONE &&
	     (memcmp(e->value.policy, want->policy, sizeof(want->policy)) ||
	      e->value.flags != want->flags)))
		*ret_kind = true;
	e->value = *want;
	e->known = 1;
	return 0;
}

static int full(struct bn_addresses *a, size_t coming, struct bn_error *err)
{
	uint64_t need = HASH_COUNT(a->entries) + (uint64_t)coming;

	if (need <= a->config.max_addresses)
		return 0;
	return bn_error_set(
		err, -ENOSPC, "%llu addresses do not fit, %u are the most; raise maps.addresses",
		(unsigned long long)(need - a->config.max_addresses), a->config.max_addresses);
}

static int put_as(struct bn_addresses *a, const union bn_addr *addr, enum origin o,
		  const struct bn_address *value, bool *ret_kind)
{
	struct entry *e = value ? get(a, addr) : find(a, addr);

	if (!e)
		return value ? -ENOMEM : 0;
	if (value) {
		e->as[o] = *value;
		e->has |= 1 << o;
	} else {
		e->has &= ~(1 << o);
	}
	return put(a, e, ret_kind);
}

static int room_for(struct bn_addresses *a, const union bn_addr *ips, size_t n,
		    struct bn_error *err)
{
	size_t coming = 0;

	for (size_t i = 0; i < n; i++)
		coming += !find(a, &ips[i]);
	return full(a, coming, err);
}

int bn_addresses_endpoint_reserve(struct bn_addresses *a, const union bn_addr *ips, size_t n,
				  struct bn_error *err)
{
	int r = room_for(a, ips, n, err);

	/* an entry that says nothing: bn_addresses_prune() removes those that nobody has filled */
	for (size_t i = 0; i < n && !r; i++) {
		if (!get(a, &ips[i]))
			r = -ENOMEM;
	}
	return r;
}

/* Generations that a write is for: all of them, or while a change is staged the one to come. */
static bool writes(const struct bn_addresses *a, uint32_t generation)
{
	return !a->staging || generation != a->epochs->generation % BN_GENERATIONS;
}

/* What policy has for an address, `e` if there is one; in force goes on what the map has for it. */
static void policy_fill(const struct bn_addresses *a, const struct entry *e,
			struct bn_address *value, const struct bn_policy_ref *policy, bool audit)
{
	bool stands = e && e->known && e->value.kind == value->kind;

	for (uint32_t g = 0; g < BN_GENERATIONS; g++) {
		bool news = !stands || writes(a, g);
		uint32_t bit = (uint32_t)BN_EP_AUDIT << g;

		value->policy[g] = news ? *policy : e->value.policy[g];
		value->flags = (value->flags & ~bit) | (news ? audit * bit : e->value.flags & bit);
	}
}

/*
 * The endpoint as it is to be. While a change is staged, only the generation to come is the new one,
 * and no flow has to look at it yet.
 */
static void interface_entries(const struct bn_addresses *a, const struct bn_interface *i,
			      struct bn_endpoint *ep, struct bn_address *value)
{
	struct bn_endpoint known;
	bool stands = a->staging &&
		      !bpf_map_lookup_elem(a->config.endpoints_fd, &i->ifindex, &known);

	*ep = (struct bn_endpoint){.slot = i->slot, .mtu = i->mtu, .netns = i->netns};
	ep->epoch = a->epochs->slot[i->slot] + !a->staging;
	for (uint32_t g = 0; g < BN_GENERATIONS; g++) {
		bool news = !stands || writes(a, g);

		ep->policy[g] = news ? (struct bn_policy_ref){i->identity4, i->egress, i->ingress}
				     : known.policy[g];
		ep->identity6[g] = news ? i->identity6 : known.identity6[g];
		ep->flags |= (news ? i->flags << g : known.flags) & (uint32_t)BN_EP_AUDIT << g;
	}
	for (size_t n = 0; n < i->n_ips; n++) {
		if (bn_addr_is_v4(&i->ips[n]))
			ep->v4 = i->ips[n];
		else
			ep->v6 = i->ips[n];
	}
	*value = (struct bn_address){
		.ifindex = i->ifindex,
		.slot = ep->slot,
		.mtu = ep->mtu,
		.kind = BN_ADDR_LOCAL_POD,
		.flags = ep->flags,
		.epoch = ep->epoch,
	};
}

int bn_addresses_endpoint_set(struct bn_addresses *a, const struct bn_interface *i,
			      struct bn_error *err)
{
	struct bn_endpoint ep;
	struct bn_address value;
	bool kind = false;
	int r = room_for(a, i->ips, i->n_ips, err);

	if (r)
		return r;
	interface_entries(a, i, &ep, &value);
	r = bn_wanted_set(&a->endpoints, &i->ifindex, &ep);
	if (r)
		return bn_error_set(err, r, "can't write the endpoint's entry: %s", strerror(-r));
	for (size_t n = 0; n < i->n_ips && !r; n++) {
		for (int g = 0; g < BN_GENERATIONS; g++) {
			value.policy[g] = ep.policy[g];
			if (!bn_addr_is_v4(&i->ips[n]))
				value.policy[g].identity = ep.identity6[g];
		}
		r = put_as(a, &i->ips[n], FROM_ENDPOINT, &value, &kind);
	}
	if (!a->staging)
		bump(a, i->slot); /* to the entries' epoch: what carries it is in place */
	if (kind)
		bn_addresses_bump(a);
	if (r) {
		bn_addresses_endpoint_remove(a, i);
		return bn_error_set(err, r, "can't write the endpoint's addresses: %s",
				    strerror(-r));
	}
	return 0;
}

void bn_addresses_endpoint_remove(struct bn_addresses *a, const struct bn_interface *i)
{
	bool kind = false;

	for (size_t n = 0; n < i->n_ips; n++)
		put_as(a, &i->ips[n], FROM_ENDPOINT, NULL, &kind);
	bn_wanted_remove(&a->endpoints, &i->ifindex);
	bump(a, i->slot);
	if (kind)
		bn_addresses_bump(a);
}

/* Of one of the node's own addresses. */
static void guard(const struct bn_addresses *a, const struct entry *e, struct bn_address *value)
{
	policy_fill(
		a, e, value,
		&(struct bn_policy_ref){BN_IDENTITY_HOST, a->firewall.egress, a->firewall.ingress},
		a->firewall.audit);
}

int bn_addresses_firewall(struct bn_addresses *a, const struct bn_firewall *firewall,
			  struct bn_error *err)
{
	struct entry *e, *tmp;
	bool kind = false;
	int r = 0;

	a->firewall = *firewall;
	HASH_ITER(hh, a->entries, e, tmp) {
		for (int o = 0; o < ORIGINS; o++) {
			if (e->as[o].kind == BN_ADDR_HOST)
				guard(a, e, &e->as[o]);
		}
		if (e->has && !r)
			r = put(a, e, &kind);
	}
	if (kind)
		bn_addresses_bump(a);
	return r ? bn_error_set(err, r, "can't write the policy of the node's addresses: %s",
				strerror(-r))
		 : 0;
}

int bn_addresses_peers(struct bn_addresses *a, const struct bn_peer_spec *set, size_t n_set,
		       const union bn_addr *removed, size_t n_removed, struct bn_error *err)
{
	size_t coming = 0;
	bool kind = false;
	int r;

	for (size_t i = 0; i < n_set; i++)
		coming += !find(a, &set[i].addr);
	r = full(a, coming, err);
	for (size_t i = 0; i < n_set && !r; i++) {
		const struct bn_policy_ref policy = {.identity = set[i].identity};
		const struct entry *e = find(a, &set[i].addr);
		struct bn_address value = {.kind = set[i].kind};

		if (value.kind == BN_ADDR_HOST)
			guard(a, e, &value);
		else
			policy_fill(a, e, &value, &policy, false);
		r = put_as(a, &set[i].addr, FROM_MODEL, &value, &kind);
	}
	for (size_t i = 0; i < n_removed && !r; i++)
		r = put_as(a, &removed[i], FROM_MODEL, NULL, &kind);
	if (kind)
		bn_addresses_bump(a);
	return r ? bn_error_set(err, r, "can't write the addresses of pods and nodes: %s",
				strerror(-r))
		 : 0;
}

void bn_addresses_stage(struct bn_addresses *a)
{
	a->staging = true;
}

void bn_addresses_switch(struct bn_addresses *a, bool take)
{
	if (take)
		atomic_fetch_add((_Atomic uint32_t *)&a->epochs->generation, 1);
	a->staging = false;
}

int bn_addresses_peer_identity(struct bn_addresses *a, const union bn_addr *addr, uint32_t identity,
			       struct bn_error *err)
{
	struct entry *e = find(a, addr);
	bool kind = false;
	int r;

	if (!e || !(e->has & (1 << FROM_MODEL)))
		return 0;
	for (uint32_t g = 0; g < BN_GENERATIONS; g++) {
		if (writes(a, g))
			e->as[FROM_MODEL].policy[g].identity = identity;
	}
	r = put(a, e, &kind);
	if (kind)
		bn_addresses_bump(a);
	return r ? bn_error_set(err, r, "can't write the identity of an address: %s", strerror(-r))
		 : 0;
}

int bn_addresses_own(struct bn_addresses *a, const struct bn_own_spec *own, size_t n,
		     struct bn_error *err)
{
	struct bn_address value = {.kind = BN_ADDR_HOST};
	struct entry *e, *tmp;
	bool kind = false;
	int r = 0;

	HASH_ITER(hh, a->entries, e, tmp) {
		bool still = false;

		if (!(e->has & (1 << FROM_NODE)))
			continue;
		for (size_t i = 0; i < n && !still; i++)
			still = bn_addr_equal(&own[i].addr, &e->addr);
		if (!still && !r)
			r = put_as(a, &e->addr, FROM_NODE, NULL, &kind);
	}
	for (size_t i = 0; i < n && !r; i++) {
		value.flags = own[i].node_ports ? BN_HOST_NODE_PORTS : 0;
		guard(a, find(a, &own[i].addr), &value);
		r = put_as(a, &own[i].addr, FROM_NODE, &value, &kind);
	}
	if (kind)
		bn_addresses_bump(a);
	return r ? bn_error_set(err, r, "can't write this node's addresses: %s", strerror(-r)) : 0;
}

int bn_addresses_prune(struct bn_addresses *a, struct bn_error *err)
{
	struct entry *e, *tmp;
	bool kind = false;
	int r = 0;

	HASH_ITER(hh, a->entries, e, tmp) {
		if (!e->claimed && !r)
			r = put(a, e, &kind);
	}
	if (!r)
		r = bn_wanted_prune(&a->endpoints);
	if (!r)
		r = bn_wanted_prune(&a->devices);
	if (kind)
		bn_addresses_bump(a);
	return r ? bn_error_set(err, r, "can't remove stale addresses: %s", strerror(-r)) : 0;
}

uint64_t bn_addresses_count(const struct bn_addresses *a)
{
	return HASH_COUNT(a->entries);
}

bool bn_addresses_is_own(const struct bn_addresses *a, const union bn_addr *addr)
{
	const struct entry *e = find(a, addr);

	return e && e->has & (1 << FROM_NODE);
}

bool bn_addresses_known(struct bn_addresses *a, const union bn_addr *addr)
{
	return find(a, addr);
}
