// SPDX-License-Identifier: Apache-2.0
/* Loading, with a predecessor's maps (pins.h) where they can be taken over. */
#include "datapath/programs.h"

#include "datapath/clock.h"
#include "datapath/flow-table.h"
#include "datapath/pins.h"
#include "host.skel.h"
#include "log.h"
#include "pod.skel.h"
#include "sweep.skel.h"
#include "uplink.skel.h"
#include "xdp.skel.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <bpfnet/service.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <unistd.h>

const char *const bn_map_names[BN_MAP_MAX] = {
#define BN_X(name, text) #name,
	BN_MAPS(BN_X)
#undef BN_X
};

const char *const bn_map_texts[BN_MAP_MAX] = {
#define BN_X(name, text) text,
	BN_MAPS(BN_X)
#undef BN_X
};

int bn_programs_probe(struct bn_error *err)
{
	static const struct {
		enum bpf_func_id helper;
		const char *text;
	} needs[] = {
		{BPF_FUNC_ringbuf_reserve, "the BPF ring buffer (Linux 5.8 and later)"},
		{BPF_FUNC_redirect_peer, "bpf_redirect_peer() (Linux 5.10 and later)"},
		{BPF_FUNC_redirect_neigh, "bpf_redirect_neigh() (Linux 5.10 and later)"},
	};

	if (access("/sys/kernel/btf/vmlinux", R_OK))
		return bn_error_set(err, -ENOTSUP,
				    "can't load the datapath: this kernel has no BTF "
				    "(/sys/kernel/btf/vmlinux); it needs CONFIG_DEBUG_INFO_BTF, "
				    "Linux 5.10 and later of the distributions have it");
	for (size_t i = 0; i < sizeof(needs) / sizeof(needs[0]); i++) {
		int r = libbpf_probe_bpf_helper(BPF_PROG_TYPE_SCHED_CLS, needs[i].helper, NULL);

		if (r == 0)
			return bn_error_set(err, -ENOTSUP,
					    "can't load the datapath: this kernel lacks %s",
					    needs[i].text);
	}
	return 0;
}

/*
 * An object's bytes have been read, and are not needed again: half a megabyte of pages each, which are the
 * executable's and would come back.
 */
static void forget(const void *(*bytes_of)(size_t *))
{
	const uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE);
	size_t size;
	const uintptr_t bytes = (uintptr_t)bytes_of(&size);
	const uintptr_t begin = (bytes + page - 1) & ~(page - 1),
			end = (bytes + size) & ~(page - 1);

	if (begin < end)
		(void)madvise((void *)begin, end - begin, MADV_DONTNEED);
}

static int keep_fd(int fd)
{
	int copy = fcntl(fd, F_DUPFD_CLOEXEC, 3);

	return copy < 0 ? -errno : copy;
}

static int load_object(struct bpf_object *obj, const char *what, struct bn_error *err)
{
	int r = bpf_object__load(obj);

	if (r)
		return bn_error_set(err, r,
				    "can't load the %s programs: %s; the verifier's log is at "
				    "debug level (--log-level debug)",
				    what, strerror(-r));
	return 0;
}

static void to_jiffies(struct bn_config *c, uint32_t hz)
{
#define BN_X(name, seconds, text) c->life.name = (c->life.name ? c->life.name : (seconds)) * hz;
	BN_LIFETIMES(BN_X)
#undef BN_X
}

/*
 * A skeleton's variables are the kernel's only once its own load has mapped them, which goes by the
 * object here; libbpf does it by itself since 1.5.
 */
static int share_data(struct bpf_map *map, void *data, size_t size, struct bn_error *err)
{
	if (mmap(data, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, bpf_map__fd(map), 0) ==
	    MAP_FAILED)
		return bn_error_set(err, -errno, "can't map %s: %m", bpf_map__name(map));
	return 0;
}

/* Gives the object the maps that the first one has made or taken over, and loads it. */
static int load_beside(struct bpf_object *obj, struct bpf_object *first, const char *what,
		       const struct bn_sizes *sizes, struct bn_error *err)
{
	int r = bn_pins_size_maps(obj, sizes, err);

	for (int i = 0; i < BN_MAP_MAX && !r; i++) {
		struct bpf_map *m = bpf_object__find_map_by_name(obj, bn_map_names[i]);
		struct bpf_map *ours = bpf_object__find_map_by_name(first, bn_map_names[i]);

		if (m && ours && bpf_map__reuse_fd(m, bpf_map__fd(ours)))
			r = bn_error_set(err, -errno, "can't share the map %s: %m",
					 bn_map_names[i]);
	}
	return r ? r : load_object(obj, what, err);
}

/* Nothing depends on it: without, tc takes what it would have taken. */
static int load_xdp(struct bn_xdp *xdp, struct bpf_object *first, const struct bn_sizes *sizes)
{
	struct bn_error err = BN_ERROR_INIT;
	int r = load_beside(xdp->obj, first, "XDP", sizes, &err);

	if (r)
		bn_logf(BN_LOG_WARNING, "%s", bn_error_text(&err));
	bn_error_done(&err);
	return r ? r : keep_fd(bpf_program__fd(xdp->progs.bn_xdp));
}

int bn_programs_load(struct bn_programs *ret, const struct bn_programs_config *config,
		     struct bn_error *err)
{
	struct bn_pod *pod = NULL;
	struct bn_uplink *uplink = NULL;
	struct bn_host *host = NULL;
	struct bn_sweep *sweep = NULL;
	struct bn_xdp *xdp = NULL;
	struct bn_node node = {0};
	struct bn_config c = config->node;
	struct bn_pins pins;
	bool known;
	uint32_t hz, zero = 0;
	int r, old;

	for (int i = 0; i < BN_MAP_MAX; i++)
		ret->maps[i] = -1;
	for (int i = 0; i < BN_PROGRAM_MAX; i++)
		ret->programs[i] = -1;
	ret->old_flows = -1;
	bn_pins_none(&pins);
	r = bn_pins_folder(config->bpffs, err);
	if (r)
		return r;
	r = bn_clock_hz(&hz, err);
	if (r)
		return r;
	known = bn_pins_node(config->bpffs, &node);
	if (!known) {
		memset(&node, 0, sizeof(node));
		if (getrandom(&node.hash_seed, sizeof(node.hash_seed), 0) != sizeof(node.hash_seed))
			return bn_error_set(err, -EIO, "can't get random bytes");
		node.abi = BN_ABI_VERSION;
	}
	c.hz = hz;
	bn_hash_keys(node.hash_seed, c.hash_key);
	c.service_groups = bn_pins_size(&config->sizes, BN_MAP_bn_services) / BN_SERVICE_GROUP;
	c.flow_mask = bn_pins_size(&config->sizes, BN_MAP_bn_flows) - 1;
	to_jiffies(&c, hz);

	pod = bn_pod__open();
	uplink = bn_uplink__open();
	host = bn_host__open();
	sweep = bn_sweep__open();
	xdp = bn_xdp__open();
	if (!pod || !uplink || !host || !sweep || !xdp) {
		r = bn_error_set(err, -errno, "can't open the datapath's programs: %m");
		goto out;
	}
	memcpy((void *)&pod->rodata->bn_config, &c, sizeof(c));
	memcpy((void *)&uplink->rodata->bn_config, &c, sizeof(c));
	memcpy((void *)&host->rodata->bn_config, &c, sizeof(c));
	memcpy((void *)&sweep->rodata->bn_config, &c, sizeof(c));
	memcpy((void *)&xdp->rodata->bn_config, &c, sizeof(c));
	r = bn_pins_size_maps(pod->obj, &config->sizes, err);
	if (!r && known)
		r = bn_pins_reuse(&pins, pod->obj, config->bpffs, node.hash, err);
	if (!r)
		r = load_object(pod->obj, "pod", err);
	if (r)
		goto out;
	bpf_map_update_elem(bpf_map__fd(pod->maps.bn_node), &zero, &node, BPF_ANY);
	r = load_beside(uplink->obj, pod->obj, "uplink", &config->sizes, err);
	if (!r)
		r = load_beside(host->obj, pod->obj, "host", &config->sizes, err);
	if (!r)
		r = load_beside(sweep->obj, pod->obj, "sweep", &config->sizes, err);
	if (!r)
		r = share_data(sweep->maps.bss, sweep->bss, sizeof(*sweep->bss), err);
	if (r)
		goto out;
	for (int i = 0; i < BN_MAP_MAX; i++) {
		struct bpf_map *m = bpf_object__find_map_by_name(pod->obj, bn_map_names[i]);

		ret->maps[i] = m ? keep_fd(bpf_map__fd(m)) : -1;
	}
	ret->programs[BN_PROGRAM_FROM_POD] = keep_fd(bpf_program__fd(pod->progs.bn_from_pod));
	ret->programs[BN_PROGRAM_TO_POD] = keep_fd(bpf_program__fd(pod->progs.bn_to_pod));
	ret->programs[BN_PROGRAM_FROM_UPLINK] =
		keep_fd(bpf_program__fd(uplink->progs.bn_from_uplink));
	ret->programs[BN_PROGRAM_TO_UPLINK] = keep_fd(bpf_program__fd(uplink->progs.bn_to_uplink));
	ret->programs[BN_PROGRAM_FROM_HOST] = keep_fd(bpf_program__fd(host->progs.bn_from_host));
	ret->programs[BN_PROGRAM_FROM_LOOPBACK] =
		keep_fd(bpf_program__fd(host->progs.bn_from_loopback));
	ret->programs[BN_PROGRAM_HOST_EGRESS] =
		keep_fd(bpf_program__fd(host->progs.bn_host_egress));
	ret->programs[BN_PROGRAM_XDP] = load_xdp(xdp, pod->obj, &config->sizes);
	ret->hz = hz;
	ret->adopted = known && pins.fits[BN_MAP_bn_flows];
	ret->node = c;
	ret->sweep = sweep;
	sweep = NULL;
	old = bn_pins_flows(&pins, pod->obj);
	if (old >= 0)
		ret->old_flows = keep_fd(old);
	/* before it loses its name: who dies from here on has lost none of them */
	if (ret->old_flows >= 0)
		bn_flows_adopt(ret, ret->old_flows);
	r = bn_pins_replace(&pins, pod->obj, config->bpffs, err);
	if (r)
		goto out;
	/* who dies before this leaves flows that are put anew once more */
	node.hash = BN_HASH_VERSION;
	bpf_map_update_elem(ret->maps[BN_MAP_bn_node], &zero, &node, BPF_ANY);
out:
	bn_pins_done(&pins);
	forget(bn_pod__elf_bytes);
	forget(bn_uplink__elf_bytes);
	forget(bn_host__elf_bytes);
	forget(bn_sweep__elf_bytes);
	forget(bn_xdp__elf_bytes);
	bn_pod__destroy(pod);
	bn_uplink__destroy(uplink);
	bn_host__destroy(host);
	bn_sweep__destroy(sweep);
	bn_xdp__destroy(xdp);
	return r;
}

void bn_programs_carry_over(struct bn_programs *p)
{
	if (p->old_flows < 0)
		return;
	bn_flows_adopt(p, p->old_flows);
	close(p->old_flows);
	p->old_flows = -1;
}

int bn_programs_share_maps(struct bpf_object *obj, const struct bn_programs *programs,
			   struct bn_error *err)
{
	struct bpf_map *m;

	bpf_object__for_each_map(m, obj)
	{
		int at = -1;

		for (int i = 0; i < BN_MAP_MAX; i++) {
			if (!strcmp(bn_map_names[i], bpf_map__name(m)))
				at = i;
		}
		if (at >= 0 && bpf_map__reuse_fd(m, programs->maps[at]))
			return bn_error_set(err, -errno, "can't share the map %s: %m",
					    bpf_map__name(m));
		/* the packet programs' scratch area is no use here */
		if (at < 0 && !bpf_map__is_internal(m))
			bpf_map__set_autocreate(m, false);
	}
	return 0;
}

uint32_t bn_programs_id(const struct bn_programs *p, enum bn_program_id program)
{
	struct bpf_prog_info info = {0};
	uint32_t size = sizeof(info);

	return bpf_prog_get_info_by_fd(p->programs[program], &info, &size) ? 0 : info.id;
}

void bn_programs_done(struct bn_programs *p)
{
	bn_sweep__destroy(p->sweep);
	p->sweep = NULL;
	if (p->old_flows >= 0)
		close(p->old_flows);
	p->old_flows = -1;
	for (int i = 0; i < BN_MAP_MAX; i++) {
		if (p->maps[i] >= 0)
			close(p->maps[i]);
		p->maps[i] = -1;
	}
	for (int i = 0; i < BN_PROGRAM_MAX; i++) {
		if (p->programs[i] >= 0)
			close(p->programs[i]);
		p->programs[i] = -1;
	}
}
