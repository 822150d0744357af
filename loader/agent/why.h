/* SPDX-License-Identifier: Apache-2.0 */
/*
 * `why`: the layers that a person would walk, from the pod's interface to the policy, each of them
 * looked at where it is in force: in the kernel, or by asking the datapath itself.
 *
 *   why.c         the question, the order of the walk, the answer
 *   why-pod.c     a pod: known, its interface, programs, addresses, routes, MTU
 *   why-target.c  the destination: a name, or whose address it is
 *   why-service.c which frontend of a service, which backends
 *   why-flow.c    the flow: route, policy each way, drops
 */
#pragma once

#include "agent/trace.h"
#include "net/endpoints.h"
#include "net/inventory.h"

#include <jansson.h>

struct bn_agent;
struct bn_nl;

#define WHY_LEGS_MAX 64

struct why_pod {
	const char *namespace, *pod;
	char *key;  /* NS/POD, owned */
	bool here;  /* an endpoint of this node: `info` is set */
	char *node; /* another one that has it, owned; NULL: not told */
	union bn_addr ips[2];
	size_t n_ips;
	struct bn_endpoint_info info;
	struct bn_link host, peer; /* ifindex 0: not there */
	struct bn_nl *nl;          /* inside the pod, owned; NULL: `unseen` says why */
	char *unseen;
};

enum why_target {
	WHY_NOTHING, /* no destination was given */
	WHY_POD,
	WHY_SERVICE,
	WHY_NODE,
	WHY_OUTSIDE,
	WHY_NOBODY,
};

/* A flow that the datapath is asked about. */
struct why_leg {
	union bn_addr to;
	uint16_t port; /* host byte order */
	uint8_t protocol;
	bool backend; /* of a service that has a leg of its own */
	char what[320];
};

struct why {
	struct bn_agent *a;
	struct bn_nl *nl;
	json_t *layers;
	json_t *wrong; /* the first one, borrowed */
	bool quiet;    /* only what is wrong is kept */

	uint8_t protocol;
	uint16_t port; /* 0: not given */
	struct why_pod from, to;
	enum why_target target;
	const char *to_text;
	char *to_copy;       /* what `to_text` was taken apart in */
	union bn_addr to_ip; /* as given */
	bool by_ip;          /* `to_ip` is set */
	struct why_leg legs[WHY_LEGS_MAX];
	size_t n_legs, n_legs_over;
	bool decided; /* every leg passes */
};

/* A layer that is in order, or not; `of` is whom it is about. `advice` is owned by the call. */
void why_ok(struct why *w, const char *layer, const char *of, const char *format, ...)
	__attribute__((format(printf, 4, 5)));
void why_wrong(struct why *w, const char *layer, const char *of, char *advice, const char *format,
	       ...) __attribute__((format(printf, 5, 6)));
char *why_text(const char *format, ...) __attribute__((format(printf, 1, 2)));

int why_pod_set(struct why_pod *p, const char *namespace, const char *pod);
void why_pod_done(struct why_pod *p);
/* Whether it is worth asking on; says so where it is not. */
bool why_pod_known(struct why *w, struct why_pod *p, bool source);
/* Interface, programs, addresses and MTU of a pod that is here. */
void why_pod_walk(struct why *w, struct why_pod *p);
/* The pod's own way to an address. */
void why_pod_route(struct why *w, struct why_pod *p, const union bn_addr *to);

int why_target_find(struct why *w, struct bn_error *err);
/* Says who it is, and fills in the legs. */
void why_target_walk(struct why *w);
/* Says which frontends are meant and who stands behind them. Returns how many the service or the
 * address has; *ret_matching: some have the port that was asked for. */
size_t why_service_walk(struct why *w, bool *ret_matching);
/* Legs to the ports by which services know a pod. */
void why_ports_of(struct why *w, struct why_pod *p);
/* As a backend, of which services. */
void why_services_of(struct why *w, struct why_pod *p);
void why_leg_add(struct why *w, const union bn_addr *to, uint16_t port, uint8_t protocol,
		 bool backend, const char *what);

void why_route(struct why *w);
void why_policy(struct why *w);
void why_drops(struct why *w);

const char *why_protocol(uint8_t protocol);
const char *why_address(const union bn_addr *addr, uint16_t port, char buf[64]);
