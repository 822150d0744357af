// SPDX-License-Identifier: Apache-2.0
/*
 * What the record of a closed connection says: who closed it and how, the flags that each direction
 * has shown, on the established path as well, and how long the handshake took.
 */
#include "lib/program.h"

#include <string.h>
#include <time.h>
#include <unistd.h>

#define CLIENT 40000
/* of which case.h has no short names */
#define PSH_ 0x08
#define ECE_ 0x40
#define CWR_ 0x80

static struct bn_result result;
static char why[160];

static bool sends(struct bn_rig *rig, int family, int pod, __u8 flags)
{
	struct bn_step s = {.hook = BN_HOOK_FROM_POD, .device = pod};

	s.in.protocol = IPPROTO_TCP;
	s.in.tcp_flags = flags;
	s.in.payload = flags & PSH_ ? 100 : 0;
	s.in.src = pod == BN_POD_A ? "A" : "B";
	s.in.sport = pod == BN_POD_A ? CLIENT : 8080;
	s.in.dst = pod == BN_POD_A ? "VIP" : "A";
	s.in.dport = pod == BN_POD_A ? 80 : CLIENT;
	return bn_step_send(rig, &s, family, &result) == 7; /* redirected */
}

/* From the client, and from the server; negative: a while passes. */
#define C(flags) (flags)
#define S(flags) ((flags) | 0x100)
#define END 0x1000
#define WAIT(ms) (-(ms))

struct closing {
	const char *name;
	int packet[12];
	__u8 cause, by, flags, reply_flags;
	bool shaken;
};

#define HANDSHAKE C(SYN), WAIT(5), S(SYN | ACK), C(ACK)

static const struct closing closings[] = {
	{"the client's FIN first, data both ways",
	 {HANDSHAKE, C(ACK | PSH_), S(ACK | ECE_), C(ACK | CWR_), C(FIN | ACK), S(ACK),
	  S(FIN | ACK), END},
	 BN_CLOSE_FIN,
	 BN_CLOSED_BY_SOURCE,
	 FIN | SYN | ACK | PSH_ | CWR_,
	 FIN | SYN | ACK | ECE_,
	 true},
	{"the server's FIN first",
	 {HANDSHAKE, S(FIN | ACK | PSH_), C(ACK), C(FIN | ACK), END},
	 BN_CLOSE_FIN,
	 BN_CLOSED_BY_DESTINATION,
	 FIN | SYN | ACK,
	 FIN | SYN | ACK | PSH_,
	 true},
	{"a FIN that comes twice",
	 {HANDSHAKE, C(FIN | ACK), C(FIN | ACK), S(FIN | ACK), END},
	 BN_CLOSE_FIN,
	 BN_CLOSED_BY_SOURCE,
	 FIN | SYN | ACK,
	 FIN | SYN | ACK,
	 true},
	{"the client's reset",
	 {HANDSHAKE, C(RST), END},
	 BN_CLOSE_RST,
	 BN_CLOSED_BY_SOURCE,
	 SYN | ACK | RST,
	 SYN | ACK,
	 true},
	{"the server's reset upon the client's FIN",
	 {HANDSHAKE, C(FIN | ACK), S(RST | ACK), END},
	 BN_CLOSE_RST,
	 BN_CLOSED_BY_DESTINATION,
	 FIN | SYN | ACK,
	 RST | SYN | ACK,
	 true},
	{"refused by the server",
	 {C(SYN | ECE_ | CWR_), S(RST | ACK), END},
	 BN_CLOSE_RST,
	 BN_CLOSED_BY_DESTINATION,
	 SYN | ECE_ | CWR_,
	 RST | ACK,
	 false},
	{"given up by the client",
	 {C(SYN), S(SYN | ACK), C(RST), END},
	 BN_CLOSE_RST,
	 BN_CLOSED_BY_SOURCE,
	 SYN | RST,
	 SYN | ACK,
	 false},
	{"never answered",
	 {C(SYN), WAIT(600), C(SYN), END},
	 BN_CLOSE_EXPIRED,
	 BN_CLOSED_BY_NOBODY,
	 SYN,
	 0,
	 false},
};

static __u64 now_us(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (__u64)ts.tv_sec * 1000000 + (__u64)ts.tv_nsec / 1000;
}

static const struct bn_event *closed(const struct bn_rig *rig)
{
	for (unsigned int i = 0; i < rig->n_events && i < BN_RIG_EVENTS; i++)
		if (rig->events[i].header.type == BN_EVENT_FLOW_CLOSED)
			return &rig->events[i];
	return NULL;
}

static const char *check(const struct closing *c, const struct bn_event *e, __u64 waited,
			 __u64 took)
{
	if (e->cause != c->cause || e->closed_by != c->by)
		snprintf(why, sizeof(why), "%s: cause %u by %u, should be %u by %u", c->name,
			 e->cause, e->closed_by, c->cause, c->by);
	else if (e->tcp_flags != c->flags || e->reply_tcp_flags != c->reply_flags)
		snprintf(why, sizeof(why), "%s: flags %02x, %02x, should be %02x, %02x", c->name,
			 e->tcp_flags, e->reply_tcp_flags, c->flags, c->reply_flags);
	else if (c->shaken ? e->handshake < waited || e->handshake > took : e->handshake != 0)
		snprintf(why, sizeof(why), "%s: the handshake took %u us, should be %llu to %llu",
			 c->name, e->handshake, c->shaken ? waited : 0, c->shaken ? took : 0);
	else
		return NULL;
	return why;
}

static const char *close_one(struct bn_rig *rig, int family, const struct closing *c)
{
	__u64 start = now_us(), waited = 0, took = 0;
	const struct bn_event *e = NULL;

	for (const int *p = c->packet; *p != END; p++) {
		if (e)
			return "closed before its end";
		if (*p < 0) {
			usleep((useconds_t) - *p * 1000);
			waited = (__u64) - *p * 1000;
			continue;
		}
		if (!sends(rig, family, *p & 0x100 ? BN_POD_B : BN_POD_A, (__u8)*p)) {
			snprintf(why, sizeof(why), "%s: packet %td goes nowhere", c->name,
				 p - c->packet);
			return why;
		}
		if (*p == C(ACK) && !took)
			took = now_us() - start;
		e = closed(rig);
	}
	if (!e) {
		snprintf(why, sizeof(why), "%s: no record", c->name);
		return why;
	}
	return check(c, e, waited, took);
}

static const char *all(struct bn_rig *rig, int family)
{
	const char *wrong = NULL;

	for (size_t i = 0; i < sizeof(closings) / sizeof(closings[0]) && !wrong; i++)
		wrong = close_one(rig, family, &closings[i]);
	return wrong;
}

/* The rest of a connection whose SYN has been sent. */
static const struct bn_event *finish(struct bn_rig *rig, int family)
{
	sends(rig, family, BN_POD_B, SYN | ACK);
	sends(rig, family, BN_POD_A, ACK);
	sends(rig, family, BN_POD_A, RST);
	return closed(rig);
}

/* The entry has 24 bits for it. */
static const char *long_handshake(struct bn_rig *rig, int family)
{
	const struct bn_event *e;

	/* beyond 16 seconds of the configuration below, HZ being 100 at the least */
	for (int i = 0; i < 40; i++) {
		sends(rig, family, BN_POD_A, SYN);
		usleep(10000);
	}
	e = finish(rig, family);
	if (!e)
		return "no record";
	return e->handshake == BN_HANDSHAKE_MAX ? NULL
						: "a handshake beyond the end of its counter";
}

static void forget_clock(struct bn_flow_entry *e)
{
	bn_handshake_set(&e->flow, 0);
}

/* Its SYN came while flows were not reported, or before an agent that tells the time. */
static const char *unknown_handshake(struct bn_rig *rig, int family)
{
	const struct bn_event *e;

	sends(rig, family, BN_POD_A, SYN);
	bn_rig_flows_change(rig, forget_clock);
	e = finish(rig, family);
	if (!e)
		return "no record";
	return e->handshake == 0 ? NULL : "how long it took is told without having been seen";
}

/* 16 seconds are 32 jiffies, and an unanswered SYN is forgotten after 50. */
static void quick(struct bn_config *c)
{
	c->hz = 2;
	c->life.syn = 50;
}

static const struct bn_case cases[] = {
	{"who closed it and how, flags, handshake", .run = all},
	{"a handshake of more than 16 seconds", .run = long_handshake},
	{"a handshake that nobody timed", .run = unknown_handshake},
};

int main(void)
{
	static const struct bn_rig_options options = {.flow_sets = 64, .configure = quick};

	return bn_program_main("closing", cases, sizeof(cases) / sizeof(cases[0]), &options);
}
