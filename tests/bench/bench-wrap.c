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

static int wrapper_fd(enum bench_protocol p, bool base)
{
	const struct bpf_program *const programs[2][BENCH_PROTOCOLS] = {
		{wrap->progs.wrap_tcp4, wrap->progs.wrap_tcp6, wrap->progs.wrap_udp4,
		 wrap->progs.wrap_udp6},
		{wrap->progs.base_tcp4, wrap->progs.base_tcp6, wrap->progs.base_udp4,
		 wrap->progs.base_udp6}};

	return bpf_program__fd(programs[base][p]);
}

static void spec_fill(struct bn_packet_spec *ret, enum bench_protocol p,
		      const struct bench_packet *packet, const struct bench_flow *f,
		      const char *client, char text[2][INET6_ADDRSTRLEN])
{
	int v4 = bench_family(p) == 4;
	const union bn_addr *other = packet->reply ? &f->backend : &f->vip;

	inet_ntop(v4 ? AF_INET : AF_INET6, v4 ? (const void *)&other->w[3] : other->b, text[0],
		  INET6_ADDRSTRLEN);
	strcpy(text[1], bn_rig_address(client, bench_family(p)));
	*ret = (struct bn_packet_spec){
		.protocol = bench_ipproto(p),
		.src = packet->reply ? text[0] : text[1],
		.dst = packet->reply ? text[1] : text[0],
		.sport = packet->reply ? f->to_dport : f->sport,
		.dport = packet->reply ? f->to_sport : f->dport,
		.tcp_flags = packet->tcp_flags,
		.payload = packet->payload,
		.smac = {{BN_POD_MAC_HI, BN_POD_MAC_LO}},
		.dmac = {BN_HOST_MAC},
	};
}

void bench_tape(struct bench_node *node, enum bench_protocol p, const struct bench_packet *packet,
		const struct bench_flow *flows, unsigned int n, const char *client)
{
	static struct wrap_tape tape[WRAP_TAPE_MAX];
	static __u32 keys[WRAP_TAPE_MAX];
	LIBBPF_OPTS(bpf_map_batch_opts, opts);
	int fd = bpf_program__fd(bn_rig_program(&node->rig, BN_HOOK_FROM_POD)), zero = 0;
	char text[2][INET6_ADDRSTRLEN];
	struct bn_packet_spec spec;
	__u32 count = n;

	tape_device = packet->reply ? BN_POD_B : client[0] == 'C' ? BN_POD_C : BN_POD_A;
	for (unsigned int i = 0; i < n; i++) {
		struct bn_packet *b = &tape_packet;

		spec_fill(&spec, p, packet, &flows[i], client, text);
		spec.smac = node->rig.dev[tape_device].mac;
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
	if (bpf_map_update_elem(bpf_map__fd(wrap->maps.targets), &zero, &fd, BPF_ANY))
		bn_rig_die("wrapper's target (programs of another type?)", errno);
}

static double timed(struct bench_node *node, int fd, unsigned int repeat, struct bn_result *r)
{
	double from, to;

	from = cpu_ns();
	bn_rig_run_fd(&node->rig, fd, node->rig.dev[tape_device].ifindex, 0, &tape_packet, repeat,
		      r);
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
	ret->base = timed(node, wrapper_fd(p, true), repeat, &r);
	wrap->bss->tape_next = 0;
	ret->wrapped = timed(node, wrapper_fd(p, false), repeat, &r);
}

void bench_apply(struct bench_node *node, enum bench_protocol p, unsigned int repeat)
{
	struct bn_result r;

	wrap->bss->tape_next = 0;
	timed(node, wrapper_fd(p, false), repeat, &r);
}

double bench_empty(struct bench_node *node, unsigned int repeat)
{
	struct bn_result r;

	return timed(node, bpf_program__fd(wrap->progs.empty), repeat, &r);
}

void bench_once(struct bench_node *node, enum bench_protocol p, unsigned int at,
		struct bn_result *ret)
{
	wrap->bss->tape_next = at;
	timed(node, wrapper_fd(p, false), 1, ret);
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
		int v4 = bench_family(p) == 4;
		const union bn_addr *other = packet->reply ? &f->vip : &f->backend;
		struct bn_packet_spec spec;
		struct bn_packet want;
		struct bn_result r;

		spec_fill(&spec, p, packet, f, "A", text);
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
		spec.smac = (struct bn_mac){BN_HOST_MAC};
		spec.dmac = node->rig.dev[packet->reply ? BN_POD_A : BN_POD_B].mac;
		bn_packet_build(&want, &spec);
		bench_once(node, p, at, &r);
		if (r.verdict != 7)
			bench_die("verdict", r.verdict, 7);
		if (bn_packet_diff(stderr, &want, &r.out))
			bench_die("differences in the packet out", 1, 0);
	}
}
