// SPDX-License-Identifier: Apache-2.0
/*
 * Drives the wrapper programs (wrap.bpf.c). Times are the thread's CPU time around
 * BPF_PROG_TEST_RUN: the kernel's own figure is cut to whole nanoseconds, and wall time counts
 * whoever else had the CPU in the rescheduling points between chunks of repeats.
 */
#include "bench.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "wrap.skel.h"

static struct bench_wrap *wrap;
static struct bn_packet tape_packet; /* the template, for the length */
static int tape_device;
static struct bn_mac uplink_mac;
static const struct bn_mac router_mac = {{0x02, 0, 0, 0, 0, 0x01}};

void bench_die(const char *what, unsigned long long seen, unsigned long long wanted)
{
	fprintf(stderr, "bench: %s: %llu, should be %llu\n", what, seen, wanted);
	exit(1);
}

void bench_wrap_open(void)
{
	int fd, zero = 0;

	wrap = bench_wrap__open_and_load();
	if (!wrap)
		bn_rig_die("load the wrapper", errno);
	fd = bpf_program__fd(wrap->progs.empty);
	if (bpf_map_update_elem(bpf_map__fd(wrap->maps.nothing), &zero, &fd, BPF_ANY))
		bn_rig_die("wrapper's empty target", errno);
	fd = bpf_program__fd(wrap->progs.xdp_empty);
	if (bpf_map_update_elem(bpf_map__fd(wrap->maps.xdp_nothing), &zero, &fd, BPF_ANY))
		bn_rig_die("wrapper's empty target of XDP", errno);
}

void bench_wrap_close(void)
{
	bench_wrap__destroy(wrap);
}

static double cpu_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
	return t.tv_sec * 1e9 + t.tv_nsec;
}

static int wrapper_fd(const struct bench_node *node, enum bench_protocol p, bool base)
{
#define BY_PROTOCOL(kind) \
	{wrap->progs.kind##_tcp4, wrap->progs.kind##_tcp6, wrap->progs.kind##_udp4, \
	 wrap->progs.kind##_udp6}
	const struct bpf_program *const programs[2][2][BENCH_PROTOCOLS] = {
		{BY_PROTOCOL(wrap), BY_PROTOCOL(base)},
		{BY_PROTOCOL(xdp_wrap), BY_PROTOCOL(xdp_base)}};
#undef BY_PROTOCOL

	return bpf_program__fd(programs[node->path == BENCH_XDP][base][p]);
}

static void spec_fill(const struct bench_node *node, struct bn_packet_spec *ret,
		      enum bench_protocol p, const struct bench_packet *packet,
		      const struct bench_flow *f, const char *client,
		      char text[2][INET6_ADDRSTRLEN])
{
	bool outside = node->path != BENCH_FROM_POD;
	int v4 = bench_family(p) == 4;
	const union bn_addr *other = packet->reply ? &f->backend : &f->vip;

	inet_ntop(v4 ? AF_INET : AF_INET6, v4 ? (const void *)&other->w[3] : other->b, text[0],
		  INET6_ADDRSTRLEN);
	/* outside the backend answers the node */
	if (packet->reply && outside)
		client = "NODE";
	strcpy(text[1], bn_rig_address(client, bench_family(p)));
	*ret = (struct bn_packet_spec){
		.protocol = bench_ipproto(p),
		.src = packet->reply ? text[0] : text[1],
		.dst = packet->reply ? text[1] : text[0],
		.sport = packet->reply ? f->to_dport : f->sport,
		.dport = packet->reply ? f->to_sport : f->dport,
		.tcp_flags = packet->tcp_flags,
		.payload = packet->payload,
		.smac = outside ? router_mac : node->rig.dev[tape_device].mac,
		.dmac = outside ? uplink_mac : (struct bn_mac){BN_HOST_MAC},
	};
}

static void target_set(const struct bench_node *node)
{
	static const __u8 hooks[] = {[BENCH_FROM_POD] = BN_HOOK_FROM_POD,
				     [BENCH_UPLINK] = BN_HOOK_FROM_UPLINK,
				     [BENCH_XDP] = BN_HOOK_XDP};
	int fd = bpf_program__fd(bn_rig_program(&node->rig, hooks[node->path])), zero = 0;
	const struct bpf_map *m = node->path == BENCH_XDP ? wrap->maps.xdp_targets
							  : wrap->maps.targets;

	if (bpf_map_update_elem(bpf_map__fd(m), &zero, &fd, BPF_ANY))
		bn_rig_die("wrapper's target (programs of another type?)", errno);
}

void bench_target_access(void)
{
	int fd = bpf_program__fd(wrap->progs.xdp_access), zero = 0;

	if (bpf_map_update_elem(bpf_map__fd(wrap->maps.xdp_targets), &zero, &fd, BPF_ANY))
		bn_rig_die("wrapper's target of one access", errno);
}

void bench_tape(struct bench_node *node, enum bench_protocol p, const struct bench_packet *packet,
		const struct bench_flow *flows, unsigned int n, const char *client)
{
	static struct wrap_tape tape[WRAP_TAPE_MAX];
	static __u32 keys[WRAP_TAPE_MAX];
	LIBBPF_OPTS(bpf_map_batch_opts, opts);
	char text[2][INET6_ADDRSTRLEN];
	struct bn_packet_spec spec;
	__u32 count = n;

	tape_device = node->path != BENCH_FROM_POD ? BN_UPLINK
		      : packet->reply              ? BN_POD_B
		      : client[0] == 'C'           ? BN_POD_C
						   : BN_POD_A;
	uplink_mac = bn_rig_own_mac(&node->rig, BN_UPLINK);
	for (unsigned int i = 0; i < n; i++) {
		struct bn_packet *b = &tape_packet;

		spec_fill(node, &spec, p, packet, &flows[i], client, text);
		bn_packet_build(b, &spec);
		keys[i] = i;
		bn_address_parse(spec.dst, tape[i].daddr.b);
		tape[i].sport = htons(spec.sport);
		tape[i].dport = htons(spec.dport);
		memcpy(&tape[i].l3_check, b->data + b->l3 + 10, 2);
		memcpy(&tape[i].l4_check, b->data + b->l4 + (bench_ipproto(p) == 6 ? 16 : 6), 2);
	}
	if (bpf_map_update_batch(bpf_map__fd(wrap->maps.tape), keys, tape, &count, &opts))
		bn_rig_die("tape", errno);
	memcpy(wrap->bss->head, tape_packet.data, sizeof(wrap->bss->head));
	wrap->bss->tape_count = n;
	wrap->bss->tape_next = 0;
	target_set(node);
}

static double timed(struct bench_node *node, int fd, unsigned int repeat, struct bn_result *r)
{
	double from, to;

	from = cpu_ns();
	if (node->path == BENCH_XDP)
		bn_rig_xdp_run(&node->rig, fd, tape_device, &tape_packet, repeat, r);
	else
		bn_rig_run_fd(&node->rig, fd, node->rig.dev[tape_device].ifindex, 0, &tape_packet,
			      repeat, r);
	to = cpu_ns();
	if (wrap->bss->errors)
		bench_die("repeats that the wrapper could not make", wrap->bss->errors, 0);
	return (to - from) / repeat;
}

void bench_run(struct bench_node *node, enum bench_protocol p, unsigned int repeat,
	       struct bench_time *ret)
{
	struct bn_result r;

	wrap->bss->tape_next = 0;
	ret->base = timed(node, wrapper_fd(node, p, true), repeat, &r);
	wrap->bss->tape_next = 0;
	ret->wrapped = timed(node, wrapper_fd(node, p, false), repeat, &r);
}

void bench_apply(struct bench_node *node, enum bench_protocol p, unsigned int repeat)
{
	struct bn_result r;

	wrap->bss->tape_next = 0;
	timed(node, wrapper_fd(node, p, false), repeat, &r);
}

double bench_empty(struct bench_node *node, unsigned int repeat)
{
	struct bn_result r;

	return timed(node,
		     bpf_program__fd(node->path == BENCH_XDP ? wrap->progs.xdp_empty
							     : wrap->progs.empty),
		     repeat, &r);
}

void bench_once(struct bench_node *node, enum bench_protocol p, unsigned int at,
		struct bn_result *ret)
{
	for (int asked = 0; asked < 2; asked++) {
		wrap->bss->tape_next = at;
		timed(node, wrapper_fd(node, p, false), 1, ret);
		if (node->path != BENCH_XDP || ret->verdict != XDP_PASS)
			break;
	}
	wrap->bss->tape_next = 0;
}

void bench_compare(struct bench_node *node, enum bench_protocol p,
		   const struct bench_packet *packet, const struct bench_flow *flows,
		   unsigned int n)
{
	for (unsigned int k = 0; k < 64; k++) {
		unsigned int at = n > 1 ? k * (n / 64) : 0;
		char text[2][INET6_ADDRSTRLEN], to[INET6_ADDRSTRLEN];
		const struct bench_flow *f = &flows[at];
		bool outside = node->path != BENCH_FROM_POD;
		int v4 = bench_family(p) == 4, sent = node->path == BENCH_XDP ? XDP_TX : 7;
		const union bn_addr *other = packet->reply ? &f->vip : &f->backend;
		struct bn_packet_spec spec;
		struct bn_packet want;
		struct bn_result r;

		spec_fill(node, &spec, p, packet, f, bench_client(node), text);
		inet_ntop(v4 ? AF_INET : AF_INET6, v4 ? (const void *)&other->w[3] : other->b, to,
			  sizeof(to));
		spec.ttl = 63;
		if (packet->reply) {
			spec.src = to;
			spec.sport = f->dport;
			spec.dport = f->sport;
		} else {
			spec.dst = to;
			spec.sport = f->to_sport;
			spec.dport = f->to_dport;
		}
		if (outside)
			*(packet->reply ? &spec.dst : &spec.src) =
				bn_rig_address(packet->reply ? "WORLD" : "NODE", bench_family(p));
		spec.smac = outside ? uplink_mac : (struct bn_mac){BN_HOST_MAC};
		spec.dmac = outside ? router_mac
				    : node->rig.dev[packet->reply ? BN_POD_A : BN_POD_B].mac;
		bn_packet_build(&want, &spec);
		bench_once(node, p, at, &r);
		if (r.verdict != sent)
			bench_die("verdict", r.verdict, sent);
		if (bn_packet_diff(stderr, &want, &r.out))
			bench_die("differences in the packet out", 1, 0);
	}
}
