// SPDX-License-Identifier: Apache-2.0
/* Flows whose backend, port or service goes: which choose again at once, and which carry on. */
#include "choice.h"

#include <string.h>
#include <unistd.h>

static void one_of_four(__u8 protocol, int outside)
{
	struct bn_frontend_spec *f = choice_frontend(
		outside ? "LB" : "VIP",
		outside ? BN_FRONTEND_LOAD_BALANCER : BN_FRONTEND_CLUSTER_IP, protocol);

	f->consistent = outside;
	choice_backends(4);
	choice_apply();
}

static struct bn_step client(int outside, __u8 protocol)
{
	struct bn_step in = INSIDE("VIP", protocol), out = OUTSIDE("LB", protocol);

	return outside ? out : in;
}

/* The backend's answer to the client's port; whether it gets through. */
static bool answered(struct bn_rig *rig, int at, int outside, __u8 protocol, __u16 port, __u8 flags)
{
	struct bn_step s = {.hook = BN_HOOK_FROM_POD,
			    .device = at % 2 ? BN_POD_C : BN_POD_B,
			    .in = {.protocol = protocol,
				   .src = at % 2 ? "C" : "B",
				   .sport = (__u16)(CHOICE_FIRST + at),
				   .dst = outside ? "WORLD" : "A",
				   .dport = port,
				   .tcp_flags = flags}};
	struct bn_result r;

	return bn_step_send(rig, &s, choice.family, &r) == 7;
}

/* From a pod here and from outside. */
static const char *both_ways(struct bn_rig *rig, const char *(*fn)(struct bn_rig *rig, int outside))
{
	const char *wrong = fn(rig, 0);

	bn_rig_forget(rig);
	return wrong ? wrong : fn(rig, 1);
}

/* No backend takes what is new any more: what the step's packet gets then. */
static const char *none_left(struct bn_rig *rig, struct bn_step *s)
{
	for (size_t i = 0; i < choice.n_backends; i++)
		choice_use(i, BN_BACKEND_TERMINATING, 0);
	choice_apply();
	if (choice_send(rig, s, 5000) != -1 || choice_refusal != BN_DROP_SERVICE_NO_BACKEND)
		return "not refused at once when none is left";
	return NULL;
}

/* Two seconds of the configuration below, after which a UDP flow can be one that lasts. */
static void wait_lasting(struct bn_rig *rig)
{
	usleep(1000000 / 100 * 2 * rig->config.hz);
}

static const char *udp(struct bn_rig *rig, int outside)
{
	struct bn_step s = client(outside, IPPROTO_UDP);
	struct bn_tuple key = bn_tuple_make(choice.family, IPPROTO_UDP, outside ? "WORLD" : "A",
					    5000, outside ? "LB" : "VIP", CHOICE_PORT);
	struct bn_flow f;
	int had, has;

	choice.n_frontends = 0;
	one_of_four(IPPROTO_UDP, outside);
	had = choice_send(rig, &s, 5000);
	if (had < 0 || !answered(rig, had, outside, IPPROTO_UDP, 5000, 0))
		return "not forwarded";
	wait_lasting(rig);
	for (int i = 0; i < 3; i++) {
		if (choice_send(rig, &s, 5000) != had ||
		    !answered(rig, had, outside, IPPROTO_UDP, 5000, 0))
			return "UDP that nothing happened to moves";
	}
	if (bn_rig_flow(rig, &key, &f) != BN_ESTABLISHED)
		return "not established";
	/* of another service: nothing to it */
	choice_use((size_t)(had + 1) % 4, BN_BACKEND_TERMINATING, 0);
	choice_apply();
	if (choice_send(rig, &s, 5000) != had)
		return "moves when another backend goes";
	choice_use((size_t)had, BN_BACKEND_TERMINATING, 0);
	choice_apply();
	has = choice_send(rig, &s, 5000);
	if (has < 0 || has == had || has == (had + 1) % 4)
		return "does not move to a live backend at once";
	if (choice_send(rig, &s, 5000) != has)
		return "moves twice";
	return none_left(rig, &s);
}

static const char *udp_moves(struct bn_rig *rig, int family)
{
	return both_ways(rig, udp);
}

static const char *half_open(struct bn_rig *rig, int outside)
{
	struct bn_step s = client(outside, IPPROTO_TCP);
	int had, has;

	choice.n_frontends = 0;
	one_of_four(IPPROTO_TCP, outside);
	had = choice_send(rig, &s, 5000);
	choice_use((size_t)had, BN_BACKEND_TERMINATING, 0);
	choice_apply();
	has = choice_send(rig, &s, 5000);
	if (has < 0 || has == had)
		return "a SYN again does not move to a live backend";
	if (choice_send(rig, &s, 5000) != has)
		return "a SYN again moves without need";
	choice_without((size_t)has); /* no pod any more, not even terminating */
	choice_apply();
	had = choice_send(rig, &s, 5000);
	if (had < 0 || had == has)
		return "a SYN again does not leave a backend that is no more";
	return none_left(rig, &s);
}

static const char *half_open_moves(struct bn_rig *rig, int family)
{
	return both_ways(rig, half_open);
}

/* SYN and SYN-ACK have passed: the two ends agree, and what terminates still serves. */
static const char *handshake(struct bn_rig *rig, int outside)
{
	struct bn_step s = client(outside, IPPROTO_TCP);
	int had;

	choice.n_frontends = 0;
	one_of_four(IPPROTO_TCP, outside);
	had = choice_send(rig, &s, 5000);
	if (had < 0 || !answered(rig, had, outside, IPPROTO_TCP, 5000, SYN | ACK))
		return "not forwarded";
	choice_use((size_t)had, BN_BACKEND_TERMINATING, 0);
	choice_apply();
	s.in.tcp_flags = ACK;
	if (choice_send(rig, &s, 5000) != had)
		return "the handshake's last segment goes elsewhere";
	s.in.payload = 100;
	for (int i = 0; i < 3; i++) {
		if (choice_send(rig, &s, 5000) != had ||
		    !answered(rig, had, outside, IPPROTO_TCP, 5000, ACK))
			return "an established connection is cut";
	}
	/* also when nothing is left for new ones */
	for (size_t i = 0; i < 4; i++)
		choice_use(i, BN_BACKEND_TERMINATING, 0);
	choice_apply();
	if (choice_send(rig, &s, 5000) != had ||
	    !answered(rig, had, outside, IPPROTO_TCP, 5000, ACK))
		return "an established connection is cut with the last backend";
	s.in.tcp_flags = SYN;
	s.in.payload = 0;
	return choice_send(rig, &s, 5001) == -1 ? NULL : "a new connection is not refused";
}

static const char *handshake_stays(struct bn_rig *rig, int family)
{
	return both_ways(rig, handshake);
}

/* The port is removed from the service, later it has it again. */
static const char *port_returns(struct bn_rig *rig, int outside)
{
	struct bn_step s = client(outside, IPPROTO_TCP), other;
	int had;

	choice.n_frontends = 0;
	one_of_four(IPPROTO_TCP, outside);
	had = choice_send(rig, &s, 5000);
	if (had < 0 || !answered(rig, had, outside, IPPROTO_TCP, 5000, SYN | ACK))
		return "not forwarded";
	s.in.tcp_flags = ACK;
	choice_send(rig, &s, 5000);
	other = client(outside, IPPROTO_TCP);
	for (int round = 0; round < 2; round++) {
		choice_withdraw();
		if (choice_send(rig, &other, 5001) >= 0)
			return "a port that is removed takes new flows";
		if (choice_send(rig, &s, 5000) != had ||
		    !answered(rig, had, outside, IPPROTO_TCP, 5000, ACK))
			return "an established connection is cut with its port";
		choice_apply();
		if (choice_send(rig, &s, 5000) != had ||
		    !answered(rig, had, outside, IPPROTO_TCP, 5000, ACK))
			return "an established connection is cut when its port returns";
		if (choice_send(rig, &other, 5002) < 0)
			return "the port does not return";
		bn_rig_epoch_bump(rig, BN_SLOT_NONE);
	}
	return NULL;
}

static const char *port_comes_back(struct bn_rig *rig, int family)
{
	return both_ways(rig, port_returns);
}

/* A successor of the agent finds it all, and goes on with the same indices and generations. */
static const char *successor(struct bn_rig *rig, int family)
{
	struct bn_step s = client(1, IPPROTO_UDP);
	struct bn_service_spec of;
	int had;

	one_of_four(IPPROTO_UDP, 1);
	had = choice_send(rig, &s, 5000);
	of = *choice_spec(choice.n_frontends);
	bn_services_free(choice.agent);
	{
		struct bn_frontend_spec f = choice.frontends[0];
		struct bn_backend_spec b[4];

		memcpy(b, choice.backends, sizeof(b));
		choice_begin(rig, family);
		memcpy(choice.backends, b, sizeof(b));
		choice.n_backends = 4;
		choice.frontends[0] = f;
		choice.n_frontends = 1;
	}
	if (!bn_services_stands(choice.agent, &of))
		return "a successor does not find the service";
	choice_apply();
	if (had < 0 || choice_send(rig, &s, 5000) != had)
		return "a successor moves what stands";
	choice_use((size_t)had, BN_BACKEND_TERMINATING, 0);
	choice_apply();
	return choice_send(rig, &s, 5000) == had ? "does not move away by a successor's word"
						 : NULL;
}

#define CASE(text, function) {text, .prepare = choice_begin, .restore = choice_end, .run = function}

static const struct bn_case cases[] = {
	CASE("UDP leaves a backend that goes", udp_moves),
	CASE("half-open TCP leaves a backend that goes", half_open_moves),
	CASE("a handshake that a backend has answered stays with it", handshake_stays),
	CASE("a port that goes and returns keeps its connections", port_comes_back),
	CASE("a successor of the agent", successor),
};

int main(void)
{
	static const struct bn_rig_options options = {.flow_sets = 1024,
						      .configure = choice_configure};

	return bn_program_main("leaving", cases, sizeof(cases) / sizeof(cases[0]), &options);
}
