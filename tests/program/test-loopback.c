// SPDX-License-Identifier: Apache-2.0
/*
 * What the program on the loopback device picks out of the node's packets to itself. It only says
 * whose a packet is: those that it leaves alone must leave it as they came.
 */
#include "lib/program.h"

#include <arpa/inet.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <linux/pkt_cls.h>
#include <stdio.h>
#include <string.h>

#define LOOPBACK 1
#define DIVERTED TC_ACT_REDIRECT
#define LEFT TC_ACT_UNSPEC
#define NODE_PORT 30080

static int loopback_fd(struct bn_rig *rig)
{
	struct bpf_program *p =
		bpf_object__find_program_by_name(rig->objects[2], "bn_from_loopback");

	if (!p)
		bn_rig_die("bn_from_loopback", ENOENT);
	return bpf_program__fd(p);
}

static const char *sent(struct bn_rig *rig, int family, struct bn_packet_spec spec, int verdict)
{
	const struct bn_step s = {.hook = BN_HOOK_FROM_HOST, .device = BN_HOST, .in = spec};
	static const __u8 mac[] = BN_HOST_MAC;
	struct bn_counts before, after;
	struct bn_packet in, expected;
	struct bn_result r;

	bn_step_packet(rig, &s, family, &in);
	expected = in;
	if (verdict == DIVERTED)
		memcpy(expected.data, mac, sizeof(mac));
	bn_rig_counts(rig, &before);
	bn_rig_run_fd(rig, loopback_fd(rig), LOOPBACK, 0, &in, 1, &r);
	bn_rig_counts(rig, &after);
	if (r.verdict != verdict)
		return verdict == LEFT ? "diverted" : "not diverted";
	if (r.out.len != expected.len || memcmp(r.out.data, expected.data, expected.len))
		return "another packet";
	return memcmp(&before, &after, sizeof(before)) ? "counted" : NULL;
}

#define T(...) ((struct bn_step){TCP(__VA_ARGS__)}.in)
#define U(...) ((struct bn_step){UDP(__VA_ARGS__)}.in)
#define EXPECT(verdict, ...) \
	do { \
		const char *wrong_ = sent(rig, family, __VA_ARGS__, verdict); \
		if (wrong_) { \
			static char text_[128]; \
			snprintf(text_, sizeof(text_), "line %d: %s", __LINE__, wrong_); \
			return text_; \
		} \
	} while (0)

static const char *first_packets(struct bn_rig *rig, int family)
{
	const char *local = family == 4 ? "127.0.0.1" : "::1";

	EXPECT(DIVERTED, T("NODE", 40000, "NODE", NODE_PORT, SYN));
	EXPECT(DIVERTED, U("NODE", 40000, "NODE", 30053));
	EXPECT(LEFT, T("NODE", 40000, "NODE", 9, SYN));
	EXPECT(LEFT, U("NODE", 40000, "NODE", 9));
	EXPECT(LEFT, U("NODE", 40000, "NODE", NODE_PORT + 1000));
	/* nobody's middle */
	EXPECT(LEFT, T("NODE", 40000, "NODE", NODE_PORT, ACK));
	EXPECT(LEFT, T("NODE", NODE_PORT, "NODE", 40000, SYN | ACK));
	/* of the node, but not one that NodePorts are at */
	EXPECT(LEFT, T("NODE", 40000, "NODE2", NODE_PORT, SYN));
	EXPECT(LEFT, T(local, 40000, local, NODE_PORT, SYN));
	/* what would find no way back */
	EXPECT(LEFT, T(local, 40000, "NODE", NODE_PORT, SYN));
	EXPECT(LEFT, T("NODE", 40000, "WORLD", NODE_PORT, SYN));
	return NULL;
}

/* A flow that the far end has decided is known by its entry, whatever becomes of the service. */
static const char *flows(struct bn_rig *rig, int family)
{
	struct bn_step syn = {.hook = BN_HOOK_FROM_HOST,
			      .device = BN_HOST,
			      TCP("NODE", 41000, "NODE", NODE_PORT, SYN)};
	struct bn_step plain = {UPLINK, TCP("WORLD", 42000, "NODE", NODE_PORT, SYN)};
	struct bn_result r;

	if (bn_step_send(rig, &syn, family, &r) != DIVERTED)
		return "the far end does not send it on";
	EXPECT(DIVERTED, T("NODE", 41000, "NODE", NODE_PORT, ACK));
	EXPECT(DIVERTED, T("NODE", 41000, "NODE", NODE_PORT, FIN | ACK));
	/* another hook's flow is not the far end's */
	if (bn_step_send(rig, &plain, family, &r) != DIVERTED)
		return "the uplink does not send it on";
	EXPECT(LEFT, T("WORLD", 42000, "NODE", NODE_PORT, ACK));
	return NULL;
}

/* What a port had before its service went says nothing of the next connection from there. */
static const char *service_gone(struct bn_rig *rig, int family)
{
	struct bn_service_key key = {.addr = bn_rig_addr("ANY", family),
				     .port = htons(NODE_PORT),
				     .protocol = IPPROTO_TCP};
	struct bn_step syn = {.hook = BN_HOOK_FROM_HOST,
			      .device = BN_HOST,
			      TCP("NODE", 43000, "NODE", NODE_PORT, SYN)};
	const struct bn_service service = bn_rig_frontend(rig, &key);
	const char *middle, *first;
	struct bn_result r;

	if (bn_step_send(rig, &syn, family, &r) != DIVERTED)
		return "the far end does not send it on";
	bn_frontends_delete(&rig->frontends, &key);
	middle = sent(rig, family, T("NODE", 43000, "NODE", NODE_PORT, ACK), DIVERTED);
	first = sent(rig, family, T("NODE", 43000, "NODE", NODE_PORT, SYN), LEFT);
	bn_rig_frontend_set(rig, &key, &service);
	return middle ? middle : first;
}

/* No device, no way: as before there was one. */
static const char *no_device(struct bn_rig *rig, int family)
{
	int fd = bn_rig_map(rig, "bn_node");
	struct bn_node node, none;
	const char *wrong;
	__u32 zero = 0;

	bpf_map_lookup_elem(fd, &zero, &node);
	none = node;
	none.host_ifindex = none.peer_ifindex = 0;
	bpf_map_update_elem(fd, &zero, &none, BPF_ANY);
	wrong = sent(rig, family, T("NODE", 40000, "NODE", NODE_PORT, SYN), LEFT);
	bpf_map_update_elem(fd, &zero, &node, BPF_ANY);
	return wrong;
}

static const struct bn_case cases[] = {
	{"first packets", .run = first_packets},
	{"flows", .run = flows},
	{"the service is gone", .run = service_gone},
	{"no device", .run = no_device},
};

int main(void)
{
	return bn_program_main("loopback", cases, sizeof(cases) / sizeof(cases[0]), NULL);
}
