/* SPDX-License-Identifier: Apache-2.0 */
/* The packet benchmark: nodes with many services, flows on them, and timed runs. */
#pragma once

#include "lib/rig.h"

#include "wrap.h"

#define BENCH_BACKENDS 3  /* of each service */
#define BENCH_FLOWS 16384 /* the cycle of the second row */
#define BENCH_BATCH 1024  /* flows opened side by side; few enough that no set overflows */
#define BENCH_REPEAT_ONE 200000u
#define BENCH_REPEAT_CYCLE (32u * BENCH_FLOWS)

enum bench_protocol {
	BENCH_TCP4,
	BENCH_TCP6,
	BENCH_UDP4,
	BENCH_UDP6,
	BENCH_PROTOCOLS,
};

/* Where a node's clients are, and so what its programs run on. */
enum bench_path {
	BENCH_FROM_POD, /* at pod A, the backends at pod B */
	BENCH_UPLINK,   /* in the world, at a NodePort, the backends on another node */
	BENCH_XDP,      /* the same packets, in the driver */
};

/* One flow of a client to a service, and what the datapath made of it. */
struct bench_flow {
	union bn_addr vip;
	__u16 sport, dport;
	union bn_addr backend; /* as translated */
	__u16 to_sport, to_dport;
	bool learnt; /* the three above are known */
};

/* What stands in the main table. */
enum bench_table {
	BENCH_EMPTY,
	BENCH_ESTABLISHED, /* BENCH_FLOWS flows */
	BENCH_FILLED,      /* they, and others until it is three quarters full */
};

struct bench_node {
	struct bn_rig rig;
	unsigned int services;
	enum bench_table table;
	enum bench_path path;
	unsigned int rules; /* of the client's egress, and of the backends' ingress; 0: no policy */
	__u32 next_port;
	struct bench_flow *flows; /* BENCH_FLOWS of them, established */
};

/* A packet of a flow. */
struct bench_packet {
	bool reply;
	__u8 tcp_flags;
	__u16 payload;
};

static inline int bench_family(enum bench_protocol p)
{
	return p == BENCH_TCP4 || p == BENCH_UDP4 ? 4 : 6;
}

static inline __u8 bench_ipproto(enum bench_protocol p)
{
	return p == BENCH_TCP4 || p == BENCH_TCP6 ? 6 : 17;
}

/* nodes */
void bench_node_new(struct bench_node *node, unsigned int services, enum bench_table table,
		    enum bench_path path);
/* Policy on both ends: one rule that allows all, or as many as there are ports that they name, with
 * the services' own among them. */
void bench_policy(struct bench_node *node, enum bench_protocol p, unsigned int rules);
/* Fills in node->services services of one protocol and family, three backends each; NodePorts
 * unless the path is from a pod. */
void bench_services(struct bench_node *node, enum bench_protocol p);
void bench_node_free(struct bench_node *node);
/* A flow that no one has had: another source port or service. */
void bench_flow_draw(struct bench_node *node, enum bench_protocol p, struct bench_flow *ret);
/* Learns from the records of n flows where they were sent; ends the process if one is missing. */
void bench_flows_learn(struct bench_node *node, enum bench_protocol p, struct bench_flow *flows,
		       unsigned int n);
/* The same from the flow table, where some may have been thrown out meanwhile: keeps those that are
 * there, and says how many that are. */
unsigned int bench_flows_kept(struct bench_node *node, enum bench_protocol p,
			      struct bench_flow *flows, unsigned int n);
/* Opens node->flows, proves that all stand in the main table, fills it up if the node says so. */
void bench_flows_establish(struct bench_node *node, enum bench_protocol p);
/* Sum of the packets that the flows' entries in the main table have counted. */
__u64 bench_flows_packets(struct bench_node *node, enum bench_protocol p);
void bench_drain(struct bench_node *node);
/* The name of the address that connections come from. */
const char *bench_client(const struct bench_node *node);

/* the wrapper */
void bench_wrap_open(void);
void bench_wrap_close(void);
/* Points the wrapper at a program and writes the tape: this packet of each of the flows. */
void bench_tape(struct bench_node *node, enum bench_protocol p, const struct bench_packet *packet,
		const struct bench_flow *flows, unsigned int n, const char *client);
/* XDP: until the next tape, what makes one access to a table of the same size. */
void bench_target_access(void);
struct bench_time {
	double wrapped,
		base; /* ns a repeat: the datapath under the wrapper, the empty program under it */
};
/* Runs the tape through both wrappers. */
void bench_run(struct bench_node *node, enum bench_protocol p, unsigned int repeat,
	       struct bench_time *ret);
/* Only the datapath, once through: to set something up. Its records stay in the ring buffer. */
void bench_apply(struct bench_node *node, enum bench_protocol p, unsigned int repeat);
/* The empty program of the path's kind. */
double bench_empty(struct bench_node *node, unsigned int repeat);
/* One repeat at a place on the tape: what came out. In XDP one more where that asked for a hop. */
void bench_once(struct bench_node *node, enum bench_protocol p, unsigned int at,
		struct bn_result *ret);
/* Compares the output at places of the tape with packets built from scratch. */
void bench_compare(struct bench_node *node, enum bench_protocol p,
		   const struct bench_packet *packet, const struct bench_flow *flows,
		   unsigned int n);

/* Times for a row of the round's table; ends the process if the flows' entries have not counted
 * `wanted` packets since `before`, `missed` at the most less. */
void bench_record(const char *row, const struct bench_node *node, enum bench_protocol p,
		  double empty, const struct bench_time *t);
void bench_proved(struct bench_node *node, enum bench_protocol p, __u64 before, __u64 wanted,
		  __u64 missed);
extern int bench_round;

/* NodePorts in XDP: a node's uplink, whose flows are established, gets the program; its rows. */
void bench_xdp_begin(struct bench_node *node);
void bench_xdp(struct bench_node *node, enum bench_protocol p, double empty);

/* the quiet connection; returns the exit status */
int bench_quiet(unsigned int connections, unsigned int exchanges);

void bench_die(const char *what, unsigned long long seen, unsigned long long wanted)
	__attribute__((noreturn));
