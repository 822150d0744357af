// SPDX-License-Identifier: Apache-2.0
/*
 * Flows that last: UDP that becomes established, what goes on after its lifetime, and what only one
 * side keeps up, until somebody else takes the place of the reply's entry or its tuple.
 */
#include "lib/program.h"

#include <string.h>
#include <unistd.h>

static struct bn_result result;

static int query(struct bn_rig *rig, int family, __u16 port)
{
	return bn_pod_send(rig, family, BN_POD_A, "A", port, "VIP", 53, IPPROTO_UDP, 0, &result);
}

static int reply(struct bn_rig *rig, int family, __u16 port)
{
	return bn_pod_send(rig, family, BN_POD_B, "B", 5353, "A", port, IPPROTO_UDP, 0, &result);
}

/* Two seconds of the configuration below. */
static void wait_lasting(struct bn_rig *rig)
{
	usleep(1000000 / 100 * 2 * rig->config.hz); /* HZ is 100 at the least */
}

/* Both directions out of the main table, of even and odd length. */
static const char *udp_established(struct bn_rig *rig, int family, enum bn_checksum checksum)
{
	for (__u16 payload = 0; payload < 4; payload++) {
		struct bn_step out = {
			.hook = BN_HOOK_FROM_POD,
			.device = BN_POD_A,
			UDP("A", 5000, "VIP", 53, .payload = payload, .checksum = checksum)};
		struct bn_step back = {
			.hook = BN_HOOK_FROM_POD,
			.device = BN_POD_B,
			UDP("B", 5353, "A", 5000, .payload = payload, .checksum = checksum)};
		struct bn_packet want;

		if (bn_step_send(rig, &out, family, &result) != 7)
			return "not forwarded from the main table";
		out.in.dst = "B";
		out.in.dport = 5353;
		out.in.ttl = 63;
		bn_step_packet(rig, &out, family, &want);
		memcpy(want.data, result.out.data, 12);
		if (bn_packet_diff(stderr, &want, &result.out))
			return "differs out of the main table";
		if (bn_step_send(rig, &back, family, &result) != 7)
			return "reply not forwarded from the main table";
		back.in.src = "VIP";
		back.in.sport = 53;
		back.in.ttl = 63;
		bn_step_packet(rig, &back, family, &want);
		memcpy(want.data, result.out.data, 12);
		if (bn_packet_diff(stderr, &want, &result.out))
			return "reply differs out of the main table";
	}
	return NULL;
}

static const char *udp_lasts(struct bn_rig *rig, int family)
{
	struct bn_tuple key = bn_tuple_make(family, IPPROTO_UDP, "A", 5000, "VIP", 53);
	struct bn_counts before, after;
	const char *wrong;
	struct bn_flow f;

	for (int i = 0; i < 3; i++)
		if (query(rig, family, 5000) != 7 || reply(rig, family, 5000) != 7)
			return "not forwarded";
	if (bn_rig_flow(rig, &key, &f) != BN_TRANSIENT)
		return "a flow of a moment is in the main table";
	wait_lasting(rig);
	bn_rig_counts(rig, &before);
	query(rig, family, 5000);
	reply(rig, family, 5000);
	bn_rig_counts(rig, &after);
	if (bn_rig_flow(rig, &key, &f) != BN_ESTABLISHED)
		return "a lasting flow is not in the main table";
	if (after.counter[BN_CNT_FLOWS_PROMOTED] - before.counter[BN_CNT_FLOWS_PROMOTED] != 2)
		return "not counted as promoted";
	wrong = udp_established(rig, family, BN_CSUM_RIGHT);
	if (!wrong && family == 4)
		wrong = udp_established(rig, family, BN_CSUM_ZERO);
	return wrong;
}

static const char *udp_one_sided(struct bn_rig *rig, int family)
{
	struct bn_tuple key = bn_tuple_make(family, IPPROTO_UDP, "A", 5001, "VIP", 53);
	struct bn_flow f;

	for (int i = 0; i < 6; i++)
		query(rig, family, 5001);
	wait_lasting(rig);
	for (int i = 0; i < 6; i++)
		query(rig, family, 5001);
	return bn_rig_flow(rig, &key, &f) == BN_TRANSIENT
		       ? NULL
		       : "a flow that nobody answers is established";
}

static __u64 counted(const struct bn_counts *before, const struct bn_counts *after, int counter)
{
	return after->counter[counter] - before->counter[counter];
}

static __u16 source_port(const struct bn_packet *p)
{
	return p->data[p->l4] << 8 | p->data[p->l4 + 1];
}

static __u16 destination_port(const struct bn_packet *p)
{
	return p->data[p->l4 + 2] << 8 | p->data[p->l4 + 3];
}

/* An established UDP flow of the client's port, answered. */
static bool lasting(struct bn_rig *rig, int family, __u16 port)
{
	struct bn_tuple key = bn_tuple_make(family, IPPROTO_UDP, "A", port, "VIP", 53);
	struct bn_flow f;

	for (int i = 0; i < 2; i++) {
		query(rig, family, port);
		reply(rig, family, port);
		wait_lasting(rig);
	}
	query(rig, family, port);
	return bn_rig_flow(rig, &key, &f) == BN_ESTABLISHED;
}

/* A newcomer has taken the place of a reply's entry. */
static void without_reply(struct bn_flow_entry *e)
{
	if (!(e->flow.flags & BN_FLOW_ORIGIN))
		e->key.protocol = 255; /* nobody's */
}

static const char *lasting_idle(struct bn_rig *rig, int family)
{
	struct bn_tuple key = bn_tuple_make(family, IPPROTO_UDP, "A", 5002, "VIP", 53);
	struct bn_tuple back = bn_tuple_make(family, IPPROTO_UDP, "B", 5353, "A", 5002);
	const __u32 over = rig->config.life.udp_lasting + 10;
	struct bn_counts before, after;
	struct bn_flow f, r;

	if (!lasting(rig, family, 5002))
		return "a lasting flow is not established";
	bn_rig_flow(rig, &key, &f);
	bn_rig_flows_age(rig, over);
	bn_rig_counts(rig, &before);
	if (query(rig, family, 5002) != 7)
		return "not forwarded after its time";
	bn_rig_counts(rig, &after);
	if (counted(&before, &after, BN_CNT_FLOWS_OPENED))
		return "another flow, though both directions' entries stand";
	if (bn_rig_flow(rig, &key, &r) != BN_ESTABLISHED || r.packets != f.packets + 1)
		return "not counted by its entry";
	if (bn_rig_flow(rig, &back, &r) != BN_ESTABLISHED || (__s32)(r.last_seen - f.last_seen) < 0)
		return "the reply's entry may be thrown out before there is a reply";
	bn_rig_flows_age(rig, over);
	bn_rig_flows_change(rig, without_reply);
	bn_rig_counts(rig, &before);
	if (query(rig, family, 5002) != 7)
		return "not forwarded without a reply's entry";
	bn_rig_counts(rig, &after);
	if (counted(&before, &after, BN_CNT_FLOWS_OPENED) != 1 ||
	    counted(&before, &after, BN_CNT_FLOWS_CLOSED) != 1)
		return "not a new flow without a reply's entry";
	if (reply(rig, family, 5002) != 7)
		return "the reply is not forwarded";
	if (source_port(&result.out) != 53)
		return "the reply leaves untranslated";
	return NULL;
}

/* Whether the flow that goes from A to B itself is whole: counted by nobody, and replied to as it is. */
static const char *direct_whole(struct bn_rig *rig, int family, __u8 protocol, __u16 port,
				__u16 server)
{
	struct bn_tuple key = bn_tuple_make(family, protocol, "A", port, "B", server);
	struct bn_tuple back = bn_tuple_make(family, protocol, "B", server, "A", port);
	const __u8 over = BN_FS_CLOSING;
	struct bn_flow f, r;

	if (bn_rig_flow(rig, &key, &f) == BN_NOWHERE || bn_rig_flow(rig, &back, &r) == BN_NOWHERE)
		return "an entry of the other flow is gone";
	if ((f.flags | r.flags) & BN_FLOW_COUNTED || (f.state | r.state) & over)
		return "the other flow is taken for one that has ended";
	if (bn_pod_send(rig, family, BN_POD_B, "B", server, "A", port, protocol, SYN | ACK,
			&result) != 7)
		return "the other flow's reply is not forwarded";
	if (source_port(&result.out) != server || destination_port(&result.out) != port)
		return "the other flow's reply is translated";
	return NULL;
}

/* Goes on after its lifetime; the tuple of its replies is another flow's by then. */
static const char *lasting_taken(struct bn_rig *rig, int family)
{
	struct bn_counts before, after;
	const char *wrong;
	__u16 port;

	if (!lasting(rig, family, 5003))
		return "a lasting flow is not established";
	bn_rig_flows_age(rig, rig->config.life.udp_lasting + 10);
	if (bn_pod_send(rig, family, BN_POD_A, "A", 5003, "B", 5353, IPPROTO_UDP, 0, &result) != 7)
		return "the direct flow is refused";
	if (source_port(&result.out) != 5003)
		return "the direct flow is translated";
	bn_rig_counts(rig, &before);
	if (query(rig, family, 5003) != 7)
		return "not forwarded";
	bn_rig_counts(rig, &after);
	port = source_port(&result.out);
	if (port == 5003)
		return "two flows share one translated tuple";
	if (counted(&before, &after, BN_CNT_FLOWS_OPENED) != 1 ||
	    counted(&before, &after, BN_CNT_FLOWS_CLOSED) != 1)
		return "not the end of one flow and the begin of another";
	wrong = direct_whole(rig, family, IPPROTO_UDP, 5003, 5353);
	if (wrong)
		return wrong;
	if (reply(rig, family, port) != 7)
		return "the reply is not forwarded";
	if (source_port(&result.out) != 53 || destination_port(&result.out) != 5003)
		return "the reply is not translated back";
	return NULL;
}

/* A half-open flow's reply's entry was thrown out, and its tuple is another flow's by now. */
static const char *half_open_taken(struct bn_rig *rig, int family)
{
	struct bn_counts before, after;

	if (bn_pod_send(rig, family, BN_POD_A, "A", 40003, "VIP", 80, IPPROTO_TCP, SYN, &result) !=
		    7 ||
	    source_port(&result.out) != 40003)
		return "not forwarded";
	bn_rig_flows_change(rig, without_reply);
	if (bn_pod_send(rig, family, BN_POD_A, "A", 40003, "B", 8080, IPPROTO_TCP, SYN, &result) !=
		    7 ||
	    source_port(&result.out) != 40003)
		return "the direct flow is refused or translated";
	bn_rig_counts(rig, &before);
	if (bn_pod_send(rig, family, BN_POD_A, "A", 40003, "VIP", 80, IPPROTO_TCP, SYN, &result) !=
	    7)
		return "the second SYN is refused";
	bn_rig_counts(rig, &after);
	if (source_port(&result.out) == 40003)
		return "two flows share one translated tuple";
	if (counted(&before, &after, BN_CNT_FLOWS_OPENED) != 1 ||
	    counted(&before, &after, BN_CNT_FLOWS_CLOSED) != 1)
		return "not the end of one flow and the begin of another";
	return direct_whole(rig, family, IPPROTO_TCP, 40003, 8080);
}

/* The client asks again and again, and is answered when its first question is forgotten. */
static const char *late_reply(struct bn_rig *rig, int family)
{
	const __u32 half = rig->config.life.udp / 2 + 1;

	for (int i = 0; i < 2; i++) {
		if (query(rig, family, 5005) != 7)
			return "not forwarded";
		bn_rig_flows_age(rig, half);
	}
	if (reply(rig, family, 5005) != 7)
		return "the reply is not forwarded";
	if (source_port(&result.out) != 53 || destination_port(&result.out) != 5005)
		return "the reply leaves untranslated";
	return NULL;
}

/* Only the client sends for longer than a lifetime: nobody throws the reply's entry out. */
static const char *lasting_one_way(struct bn_rig *rig, int family)
{
	struct bn_tuple key = bn_tuple_make(family, IPPROTO_UDP, "A", 5004, "VIP", 53);
	struct bn_tuple back = bn_tuple_make(family, IPPROTO_UDP, "B", 5353, "A", 5004);
	const __u32 half = rig->config.life.udp_lasting / 2 + 10;
	struct bn_flow f;

	if (!lasting(rig, family, 5004))
		return "a lasting flow is not established";
	for (int i = 0; i < 3; i++) {
		bn_rig_flows_age(rig, half);
		if (query(rig, family, 5004) != 7)
			return "not forwarded";
		bn_rig_sweep(rig);
	}
	if (bn_rig_flow(rig, &key, &f) != BN_ESTABLISHED ||
	    bn_rig_flow(rig, &back, &f) != BN_ESTABLISHED)
		return "the sweep has removed a flow that goes on";
	bn_rig_flows_fill(rig, 0);
	for (__u16 port = 20000; port < 21000; port++)
		bn_pod_send(rig, family, BN_POD_A, "A", port, "VIP", 80, IPPROTO_TCP, SYN, &result);
	if (bn_rig_flow(rig, &back, &f) != BN_ESTABLISHED)
		return "a newcomer has thrown the reply's entry out";
	bn_rig_flows_age(rig, 2 * half);
	bn_rig_sweep(rig);
	if (bn_rig_flow(rig, &key, &f) != BN_NOWHERE || bn_rig_flow(rig, &back, &f) != BN_NOWHERE)
		return "the sweep has left a flow that is over";
	return NULL;
}

static void quick(struct bn_config *c)
{
	c->hz = 10; /* so that two seconds are twenty jiffies */
}

static const struct bn_case cases[] = {
	{"UDP that lasts moves to the main table", .run = udp_lasts},
	{"UDP that nobody answers does not", .run = udp_one_sided},
	{"UDP that goes on after its lifetime", .run = lasting_idle},
	{"UDP that goes on after its lifetime, its reply's tuple taken", .run = lasting_taken},
	{"a half-open flow whose reply's tuple is taken", .run = half_open_taken},
	{"UDP that only one side keeps up", .run = lasting_one_way},
	{"UDP that is answered late", .run = late_reply},
};

int main(void)
{
	static const struct bn_rig_options options = {.flow_sets = 64, .configure = quick};

	return bn_program_main("lasting", cases, sizeof(cases) / sizeof(cases[0]), &options);
}
