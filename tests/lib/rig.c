// SPDX-License-Identifier: Apache-2.0
/*
 * Loads the programs as the agent does (one set of maps for all objects, constants set between
 * open and load) and fills the maps by the ABI headers alone.
 */
#include "rig.h"

#include <arpa/inet.h>
#include <errno.h>
#include <net/if.h>
#include <stdlib.h>
#include <string.h>

#include "host.skel.h"
#include "pod.skel.h"
#include "sweep.skel.h"
#include "uplink.skel.h"
#include "xdp.skel.h"

static int map_of(struct bpf_object *o, const char *name)
{
	return bpf_object__find_map_fd_by_name(o, name);
}

int bn_rig_map(const struct bn_rig *rig, const char *name)
{
	int fd = map_of(rig->objects[0], name);

	if (fd < 0)
		bn_rig_die(name, -fd);
	return fd;
}

struct bpf_program *bn_rig_program(const struct bn_rig *rig, __u8 hook)
{
	static const char *const names[] = {
		[BN_HOOK_FROM_POD] = "bn_from_pod",
		[BN_HOOK_TO_POD] = "bn_to_pod",
		[BN_HOOK_FROM_UPLINK] = "bn_from_uplink",
		[BN_HOOK_FROM_HOST] = "bn_from_host",
		[BN_HOOK_XDP] = "bn_xdp",
		[BN_HOOK_TO_UPLINK] = "bn_to_uplink",
	};
	static const int objects[] = {
		[BN_HOOK_FROM_UPLINK] = 1,
		[BN_HOOK_FROM_HOST] = 2,
		[BN_HOOK_XDP] = 3,
		[BN_HOOK_TO_UPLINK] = 1,
	};
	struct bpf_program *p =
		bpf_object__find_program_by_name(rig->objects[objects[hook]], names[hook]);

	if (!p)
		bn_rig_die(names[hook], ENOENT);
	return p;
}

static void update(const struct bn_rig *rig, const char *map, const void *key, const void *value)
{
	int r = bpf_map_update_elem(bn_rig_map(rig, map), key, value, BPF_ANY);

	if (r)
		bn_rig_die(map, -r);
}

static void resize(struct bpf_object *o, const char *name, __u32 entries)
{
	struct bpf_map *m = bpf_object__find_map_by_name(o, name);

	if (m && entries)
		bpf_map__set_max_entries(m, entries);
}

/* The maps that the first object has made when it was loaded are also another's. */
static void maps_share(struct bn_rig *rig, struct bpf_object *o)
{
	struct bpf_map *m;

	bpf_object__for_each_map(m, o)
	{
		struct bpf_map *have;

		if (bpf_map__is_internal(m))
			continue;
		have = bpf_object__find_map_by_name(rig->objects[0], bpf_map__name(m));
		if (have && bpf_map__fd(have) >= 0)
			bpf_map__reuse_fd(m, bpf_map__fd(have));
	}
}

static void object_load(struct bn_rig *rig, int i, const struct bn_rig_options *options)
{
	struct bpf_object *o = rig->objects[i];
	int r;

	resize(o, "bn_flows", rig->config.flow_mask + 1);
	resize(o, "bn_events", options->event_bytes);
	if (i)
		maps_share(rig, o);
	r = bpf_object__load(o);
	if (r)
		bn_rig_die(bpf_object__name(o), -r);
}

static void configure(struct bn_rig *rig, struct bn_config *c, const struct bn_rig_options *options)
{
	c->flow_mask = (options->flow_sets ? options->flow_sets : 1024) - 1;
	if (options->quiet)
		c->features &= ~BN_FEATURE_EVENTS;
	if (options->masquerade)
		c->features |= BN_FEATURE_MASQUERADE;
	if (options->configure)
		options->configure(c);
	rig->config = *c;
}

static int libbpf_say(enum libbpf_print_level level, const char *format, va_list args)
{
	return level == LIBBPF_WARN ? vfprintf(stderr, format, args) : 0;
}

static void endpoint_publish(struct bn_rig *rig, int pod)
{
	const struct bn_rig_dev *d = &rig->dev[pod];
	struct bn_endpoint e = {.v4 = d->v4,
				.v6 = d->v6,
				.slot = d->slot,
				.mtu = d->mtu,
				.flags = d->flags,
				.epoch = d->epoch};
	struct bn_address a = {.ifindex = d->ifindex,
			       .slot = d->slot,
			       .mtu = d->mtu,
			       .kind = BN_ADDR_LOCAL_POD,
			       .flags = d->flags,
			       .epoch = d->epoch};

	for (int g = 0; g < BN_GENERATIONS; g++) {
		e.policy[g] = (struct bn_policy_ref){d->identity, d->egress, d->ingress};
		e.identity6[g] = d->identity6;
		a.policy[g] = e.policy[g];
	}
	update(rig, "bn_addresses", &d->v4, &a);
	for (int g = 0; g < BN_GENERATIONS; g++)
		a.policy[g].identity = d->identity6;
	update(rig, "bn_addresses", &d->v6, &a);
	update(rig, "bn_endpoints", &d->ifindex, &e);
}

void bn_rig_endpoint_set(struct bn_rig *rig, int pod, __u32 flags)
{
	rig->dev[pod].flags = flags;
	bn_rig_epoch_bump(rig, rig->dev[pod].slot);
}

void bn_rig_mtu_set(struct bn_rig *rig, int pod, __u16 mtu)
{
	rig->dev[pod].mtu = mtu;
	bn_rig_epoch_bump(rig, rig->dev[pod].slot);
}

static void devices_find(struct bn_rig *rig)
{
	static const char *const names[] = {"bna", "bnb", "bnc", "bnup", "bnh", "bnx", "bnup2"};
	static const char *const pods[] = {"A", "B", "C"};

	for (int i = 0; i < BN_RIG_DEVICES; i++) {
		struct bn_rig_dev *d = &rig->dev[i];
		__u32 n;

		d->name = names[i];
		d->ifindex = if_nametoindex(names[i]);
		if (!d->ifindex)
			bn_rig_die(names[i], errno);
		n = htonl(d->ifindex);
		d->mac.b[0] = BN_POD_MAC_HI;
		d->mac.b[1] = BN_POD_MAC_LO;
		memcpy(d->mac.b + 2, &n, 4);
		if (i >= BN_RIG_PODS)
			continue;
		d->v4 = bn_rig_addr(pods[i], 4);
		d->v6 = bn_rig_addr(pods[i], 6);
		d->slot = i + 1;
		d->mtu = 1500;
		d->identity = d->identity6 = BN_IDENTITY_FIRST + i;
	}
}

static void range_add(struct bn_rig *rig, const char *addr, __u32 len, __u32 flags)
{
	struct bn_range_key key = {.prefixlen = len};
	struct bn_range value = {.flags = flags};

	if (bn_address_parse(addr, (__u8 *)key.addr) == 4)
		key.prefixlen += 96;
	update(rig, "bn_ranges", &key, &value);
}

static void address_add(struct bn_rig *rig, const char *name, __u8 kind, __u32 identity,
			__u32 flags)
{
	struct bn_address a = {.kind = kind, .flags = flags};
	struct bn_policy_ref policy = {.identity = identity};

	if (kind == BN_ADDR_HOST) {
		policy.egress = rig->dev[BN_RIG_NODE].egress;
		policy.ingress = rig->dev[BN_RIG_NODE].ingress;
		a.flags |= rig->dev[BN_RIG_NODE].flags;
	}
	for (int g = 0; g < BN_GENERATIONS; g++)
		a.policy[g] = policy;

	for (int family = 4; family <= 6; family += 2) {
		union bn_addr addr = bn_rig_addr(name, family);

		update(rig, "bn_addresses", &addr, &a);
	}
}

static void node_publish(struct bn_rig *rig)
{
	address_add(rig, "NODE", BN_ADDR_HOST, BN_IDENTITY_HOST, BN_HOST_NODE_PORTS);
	address_add(rig, "NODE2", BN_ADDR_HOST, BN_IDENTITY_HOST, 0);
	address_add(rig, "NODE3", BN_ADDR_HOST, BN_IDENTITY_HOST, 0);
}

void bn_rig_uplink_set(struct bn_rig *rig, int device, __u32 flags)
{
	const char *name = device == BN_UPLINK ? "NODE" : "NODE3";
	struct bn_device up = {.v4 = bn_rig_addr(name, 4),
			       .v6 = bn_rig_addr(name, 6),
			       .mtu = device == BN_UPLINK ? 1500 : 1400,
			       .flags = flags};
	struct bn_mac mac = bn_rig_own_mac(rig, device);

	memcpy(up.mac, mac.b, sizeof(up.mac));
	update(rig, "bn_devices", &rig->dev[device].ifindex, &up);
}

static void node_fill(struct bn_rig *rig)
{
	struct bn_node node = {.v4 = bn_rig_addr("NODE", 4),
			       .v6 = bn_rig_addr("NODE", 6),
			       .host_ifindex = rig->dev[BN_HOST].ifindex,
			       .peer_ifindex = rig->dev[BN_HOST].ifindex};
	__u32 zero = 0;

	range_add(rig, "10.96.0.0", 12, BN_RANGE_SERVICE);
	range_add(rig, "fd00:96::", 32, BN_RANGE_SERVICE);
	range_add(rig, "10.244.0.0", 16, BN_RANGE_POD);
	range_add(rig, "fd00:244::", 32, BN_RANGE_POD);
	range_add(rig, "192.0.2.128", 25, BN_RANGE_DIRECT);
	range_add(rig, "fd00:99:1::", 48, BN_RANGE_DIRECT);
	bn_rig_uplink_set(rig, BN_UPLINK, 0);
	bn_rig_uplink_set(rig, BN_UPLINK2, 0);
	update(rig, "bn_node", &zero, &node);
	node_publish(rig);
	address_add(rig, "REMOTE", BN_ADDR_REMOTE_POD, BN_IDENTITY_FIRST + 100, 0);
	address_add(rig, "OTHER", BN_ADDR_REMOTE_POD, BN_IDENTITY_FIRST + 101, 0);
	address_add(rig, "NODE8", BN_ADDR_REMOTE_NODE, BN_IDENTITY_REMOTE_NODE, 0);
	address_add(rig, "NODE9", BN_ADDR_REMOTE_NODE, BN_IDENTITY_REMOTE_NODE, 0);
	for (int i = 0; i < BN_RIG_PODS; i++)
		endpoint_publish(rig, i);
}

static int event_take(void *ctx, void *data, size_t size)
{
	struct bn_rig *rig = ctx;

	if (size != sizeof(struct bn_event))
		bn_rig_die("a record of another size than struct bn_event", 0);
	if (rig->n_events < BN_RIG_EVENTS)
		memcpy(&rig->events[rig->n_events], data, size);
	rig->n_events++;
	if (rig->on_event)
		rig->on_event(data, rig->on_event_data);
	return 0;
}

void bn_rig_new(struct bn_rig *rig, const struct bn_rig_options *options)
{
	struct bn_pod *pod;
	struct bn_uplink *uplink;
	struct bn_host *host;
	struct bn_xdp *xdp;

	memset(rig, 0, sizeof(*rig));
	libbpf_set_print(libbpf_say);
	rig->cpus = libbpf_num_possible_cpus();
	pod = bn_pod__open();
	uplink = bn_uplink__open();
	host = bn_host__open();
	xdp = bn_xdp__open();
	if (!pod || !uplink || !host || !xdp)
		bn_rig_die("open skeletons", errno);
	rig->skeletons[0] = pod;
	rig->skeletons[1] = uplink;
	rig->skeletons[2] = host;
	rig->skeletons[3] = xdp;
	rig->objects[0] = pod->obj;
	rig->objects[1] = uplink->obj;
	rig->objects[2] = host->obj;
	rig->objects[3] = xdp->obj;
	configure(rig, (struct bn_config *)&pod->rodata->bn_config, options);
	configure(rig, (struct bn_config *)&uplink->rodata->bn_config, options);
	configure(rig, (struct bn_config *)&host->rodata->bn_config, options);
	configure(rig, (struct bn_config *)&xdp->rodata->bn_config, options);
	for (int i = 0; i < 4; i++)
		object_load(rig, i, options);
	devices_find(rig);
	node_fill(rig);
	if (bn_frontends_open(&rig->frontends, bn_rig_map(rig, "bn_services"),
			      (const uint64_t *)rig->config.hash_key))
		bn_rig_die("map bn_services", errno);
	rig->ring = ring_buffer__new(bn_rig_map(rig, "bn_events"), event_take, rig, NULL);
	if (!rig->ring)
		bn_rig_die("ring buffer", errno);
}

void bn_rig_free(struct bn_rig *rig)
{
	ring_buffer__free(rig->ring);
	bn_frontends_close(&rig->frontends);
	bn_pod__destroy(rig->skeletons[0]);
	bn_uplink__destroy(rig->skeletons[1]);
	bn_host__destroy(rig->skeletons[2]);
	bn_xdp__destroy(rig->skeletons[3]);
	memset(rig, 0, sizeof(*rig));
}

void bn_rig_sweep(struct bn_rig *rig)
{
	struct bn_sweep *sweep = bn_sweep__open();
	struct bn_packet any = {.len = 64};
	int r;

	if (!sweep)
		bn_rig_die("open skeleton", errno);
	*(struct bn_config *)&sweep->rodata->bn_config = rig->config;
	maps_share(rig, sweep->obj);
	r = bn_sweep__load(sweep);
	if (r)
		bn_rig_die("load the sweep", -r);
	sweep->bss->bn_sweep_remove = true;
	while (sweep->bss->bn_sweep_next <= rig->config.flow_mask) {
		struct bn_result result;

		bn_rig_run_fd(rig, bpf_program__fd(sweep->progs.bn_sweep),
			      rig->dev[BN_POD_A].ifindex, 0, &any, 1, &result);
	}
	bn_sweep__destroy(sweep);
}

static void frontend_set(struct bn_rig *rig, const struct bn_service_key *key,
			 const struct bn_service *value)
{
	int r = bn_frontends_set(&rig->frontends, key, value);

	if (r)
		bn_rig_die("bn_services", -r);
}

__u32 bn_rig_service(struct bn_rig *rig, const union bn_addr *addr, __u16 port, __u8 protocol,
		     const struct bn_rig_backend *backends, __u32 n)
{
	struct bn_service_key key = {.addr = *addr, .port = htons(port), .protocol = protocol};
	struct bn_service service = {.id = ++rig->next_service, .count = n};
	__u32 first = rig->next_backend;

	if (!addr->d[0] && !addr->w[3])
		service.kind = BN_FRONTEND_NODE_PORT;
	if (n <= BN_SERVICE_PLACES)
		service.flags = BN_SERVICE_INLINE;
	else
		service.first = first; /* a backend's place has its index here */
	for (__u32 i = 0; i < n; i++) {
		struct bn_backend b = {.addr = backends[i].addr,
				       .port = htons(backends[i].port),
				       .protocol = protocol,
				       .state = backends[i].state ? backends[i].state
								  : BN_BACKEND_ACTIVE,
				       .gen = 1};
		__u32 index = rig->next_backend++;
		struct bn_service_slot slot = {.port = b.port, .backend = index, .gen = b.gen};

		memcpy(slot.addr, &b.addr, sizeof(slot.addr));
		update(rig, "bn_backends", &index, &b);
		update(rig, "bn_service_slots", &index, &slot);
		if (n <= BN_SERVICE_PLACES)
			service.place[i] = slot;
	}
	frontend_set(rig, &key, &service);
	return first;
}

void bn_rig_own_address(struct bn_rig *rig, const union bn_addr *addr)
{
	struct bn_service_key key = {.addr = *addr};
	struct bn_service service = {.id = rig->next_service};

	frontend_set(rig, &key, &service);
}

struct bn_service bn_rig_frontend(const struct bn_rig *rig, const struct bn_service_key *key)
{
	const struct bn_service *v = bn_frontends_get(&rig->frontends, key);

	if (!v)
		bn_rig_die("bn_services", ENOENT);
	return *v;
}

void bn_rig_frontend_set(struct bn_rig *rig, const struct bn_service_key *key,
			 const struct bn_service *value)
{
	frontend_set(rig, key, value);
}

struct aging {
	struct bn_rig *rig;
	__u32 index, gen;
};

/* The generation of a backend's places, wherever they are. */
static int age_places(void *user, const struct bn_service_key *key, const struct bn_service *value)
{
	struct aging *a = user;
	struct bn_service v = *value;

	if (!(v.flags & BN_SERVICE_INLINE))
		return 0;
	for (__u32 i = 0; i < v.count; i++) {
		if (v.place[i].backend == a->index && v.place[i].gen != a->gen) {
			v.place[i].gen = a->gen;
			frontend_set(a->rig, key, &v);
		}
	}
	return 0;
}

void bn_rig_backend_set(struct bn_rig *rig, __u32 index, __u8 state, int bump_generation)
{
	struct bn_epochs *e = calloc(1, sizeof(*e));
	struct aging aging = {.rig = rig, .index = index};
	struct bn_service_slot slot;
	struct bn_backend b;
	__u32 zero = 0, at = 0;
	int r = bpf_map_lookup_elem(bn_rig_map(rig, "bn_backends"), &index, &b);

	if (r || !e)
		bn_rig_die("bn_backends", -r);
	b.state = state;
	b.gen += bump_generation;
	update(rig, "bn_backends", &index, &b);
	r = bpf_map_lookup_elem(bn_rig_map(rig, "bn_service_slots"), &index, &slot);
	if (r)
		bn_rig_die("bn_service_slots", -r);
	slot.gen = b.gen;
	update(rig, "bn_service_slots", &index, &slot);
	aging.gen = b.gen;
	bn_frontends_walk(&rig->frontends, &at, rig->frontends.groups, age_places, &aging);
	if (bpf_map_lookup_elem(bn_rig_map(rig, "bn_epochs"), &zero, e))
		bn_rig_die("bn_epochs", errno);
	e->backends += bump_generation;
	update(rig, "bn_epochs", &zero, e);
	free(e);
}

/* As the agent does it: what carries the epoch first, then the epoch. */
void bn_rig_epoch_bump(struct bn_rig *rig, __u16 slot)
{
	struct bn_epochs *e = malloc(sizeof(*e));
	__u32 zero = 0;
	int r;

	if (!e)
		bn_rig_die("epochs", ENOMEM);
	r = bpf_map_lookup_elem(bn_rig_map(rig, "bn_epochs"), &zero, e);
	if (r)
		bn_rig_die("bn_epochs", -r);
	e->slot[slot]++;
	if (slot == BN_SLOT_NONE)
		node_publish(rig);
	for (int i = 0; slot != BN_SLOT_NONE && i < BN_RIG_PODS; i++) {
		if (rig->dev[i].slot != slot)
			continue;
		rig->dev[i].epoch = e->slot[slot];
		endpoint_publish(rig, i);
	}
	update(rig, "bn_epochs", &zero, e);
	free(e);
}
