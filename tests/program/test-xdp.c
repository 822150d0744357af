// SPDX-License-Identifier: Apache-2.0
/*
 * bn_xdp beside bn_from_uplink: a flow that tc has established leaves XDP with the same bytes and
 * the next hop's MACs, by the device that it came in by or by another uplink; whatever is not an
 * established flow's plain packet passes untouched.
 */
#include "lib/program.h"

#include <errno.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#define NAT_PORT 64000

#define UPLINK2 .hook = BN_HOOK_FROM_UPLINK, .device = BN_UPLINK2

static const __u8 router_mac[BN_RIG_DEVICES][6] = {
	[BN_UPLINK] = {2, 0, 0, 0, 0, 1},
	[BN_UPLINK2] = {2, 0, 0, 0, 0, 2},
};

static void one_port(struct bn_config *config)
{
	config->nat_port_min = NAT_PORT;
	config->nat_port_max = NAT_PORT;
	config->event_rate = ~0u;
}

static void device_prepare(struct bn_rig *rig)
{
	bn_rig_xdp_prepare(rig, BN_UPLINK);
	bn_rig_xdp_prepare(rig, BN_UPLINK2);
	if (!bn_rig_can_xdp(rig, BN_UPLINK)) {
		print_message("before 5.15 a kernel can't run XDP on behalf of a device\n");
		skip();
	}
	bn_rig_uplink_set(rig, BN_UPLINK, 0);
	bn_rig_uplink_set(rig, BN_UPLINK2, 0);
	bn_rig_epoch_bump(rig, BN_SLOT_NONE); /* hops of earlier cases are forgotten */
}

static void xdp_run(struct bn_rig *rig, int device, const struct bn_packet *in,
		    struct bn_result *ret)
{
	bn_rig_xdp_run(rig, bpf_program__fd(bn_rig_program(rig, BN_HOOK_XDP)), device, in, 1, ret);
}

static void make(struct bn_rig *rig, const struct bn_step *s, int family, struct bn_packet *ret)
{
	struct bn_mac own = bn_rig_own_mac(rig, s->device);

	bn_step_packet(rig, s, family, ret);
	memcpy(ret->data, own.b, 6);
}

static const char *passes_by(struct bn_rig *rig, int device, const struct bn_packet *in)
{
	struct bn_counts before, after;
	struct bn_result out;

	bn_rig_counts(rig, &before);
	xdp_run(rig, device, in, &out);
	bn_rig_counts(rig, &after);
	if (out.verdict != XDP_PASS)
		return "not passed";
	if (out.out.len != in->len || memcmp(out.out.data, in->data, in->len))
		return "passed, but changed";
	return memcmp(&before, &after, sizeof(before)) ? "passed, but counted" : NULL;
}

static const char *passes(struct bn_rig *rig, const struct bn_packet *in)
{
	return passes_by(rig, BN_UPLINK, in);
}

/* XDP's outcome is tc's with MACs, and counts the packet once. */
static const char *leaves(struct bn_rig *rig, int family, const struct bn_step *s,
			  const struct bn_tuple *key, int device)
{
	struct bn_mac own = bn_rig_own_mac(rig, device);
	struct bn_result tc, xdp;
	struct bn_flow was, is;
	struct bn_packet in;

	make(rig, s, family, &in);
	bn_rig_run(rig, BN_HOOK_FROM_UPLINK, s->device, 0, &in, &tc);
	if (tc.verdict != 7)
		return "tc itself does not redirect";
	if (bn_rig_flow(rig, key, &was) != BN_ESTABLISHED)
		return "the flow is not established";
	xdp_run(rig, s->device, &in, &xdp);
	if (xdp.verdict != (device == s->device ? XDP_TX : XDP_REDIRECT))
		return "not sent";
	bn_rig_flow(rig, key, &is);
	if (is.packets != was.packets + 1 || is.bytes != was.bytes + in.len - 14)
		return "not counted as one packet of the flow";
	if (memcmp(xdp.out.data, router_mac[device], 6) || memcmp(xdp.out.data + 6, own.b, 6))
		return "not to the router's MAC from the device's";
	if (xdp.out.len != tc.out.len ||
	    memcmp(xdp.out.data + 12, tc.out.data + 12, xdp.out.len - 12))
		return "other bytes than from tc";
	return NULL;
}

static const char *sent(struct bn_rig *rig, int family, const struct bn_step *s,
			const struct bn_tuple *key)
{
	return leaves(rig, family, s, key, s->device);
}

static struct bn_tuple tuple_of(const struct bn_step *s, int family)
{
	return bn_tuple_make(family, s->in.protocol, s->in.src, s->in.sport, s->in.dst,
			     s->in.dport);
}

static const char *whole(struct bn_rig *rig, int family, const struct bn_step *there,
			 const struct bn_step *back)
{
	struct bn_tuple to = tuple_of(there, family), from = tuple_of(back, family);
	const char *wrong;
	struct bn_packet in;

	make(rig, there, family, &in);
	/* the hop is asked for, and this one goes by tc */
	wrong = passes(rig, &in);
	wrong = wrong ? wrong : sent(rig, family, there, &to);
	make(rig, back, family, &in);
	wrong = wrong ? wrong : passes(rig, &in);
	wrong = wrong ? wrong : sent(rig, family, back, &from);
	if (wrong)
		return wrong;
	/* a second later the kernel is to see its neighbour used again */
	usleep(1100000);
	make(rig, there, family, &in);
	wrong = passes(rig, &in);
	wrong = wrong ? wrong : sent(rig, family, there, &to);
	/* overheard, for another machine */
	make(rig, there, family, &in);
	in.data[5] ^= 1;
	wrong = wrong ? wrong : passes(rig, &in);
	return wrong;
}

static const struct bn_step tcp_there = {UPLINK,
					 TCP("WORLD", 40000, "NODE", 30081, ACK, .payload = 1201)};
static const struct bn_step tcp_back = {UPLINK,
					TCP("REMOTE", 8082, "NODE", NAT_PORT, ACK, .payload = 77)};
static const struct bn_step udp_there = {UPLINK, UDP("WORLD", 5000, "NODE", 30054, .payload = 40)};
static const struct bn_step udp_back = {UPLINK,
					UDP("REMOTE", 5354, "NODE", NAT_PORT, .payload = 701)};

static const char *tcp(struct bn_rig *rig, int family)
{
	return whole(rig, family, &tcp_there, &tcp_back);
}

static const char *udp(struct bn_rig *rig, int family)
{
	struct bn_result r;

	/* several packets over seconds make it lasting */
	for (int i = 0; i < 12; i++) {
		bn_step_send(rig, &udp_there, family, &r);
		bn_step_send(rig, &udp_back, family, &r);
		usleep(300000);
	}
	return whole(rig, family, &udp_there, &udp_back);
}

static const struct bn_step other_there = {
	UPLINK, TCP("WORLD", 40000, "NODE", 30084, ACK, .payload = 1201)};
static const struct bn_step other_back = {
	UPLINK2, TCP("OTHER", 8084, "NODE3", NAT_PORT, ACK, .payload = 77)};
static const struct bn_step other_udp_there = {UPLINK,
					       UDP("WORLD", 5000, "NODE", 30056, .payload = 40)};
static const struct bn_step other_udp_back = {
	UPLINK2, UDP("OTHER", 5356, "NODE3", NAT_PORT, .payload = 701)};

static void uplinks_set(struct bn_rig *rig, __u32 first, __u32 second)
{
	bn_rig_uplink_set(rig, BN_UPLINK, first);
	bn_rig_uplink_set(rig, BN_UPLINK2, second);
	bn_rig_epoch_bump(rig, BN_SLOT_NONE);
}

/* As tc leaves the flow after a change of the devices: decided again. */
static void by_tc(struct bn_rig *rig, const struct bn_step *s, int family)
{
	struct bn_result r;

	bn_step_send(rig, s, family, &r);
}

static const char *crosses(struct bn_rig *rig, int family, const struct bn_step *s, int device)
{
	struct bn_tuple key = tuple_of(s, family);
	struct bn_packet in;
	const char *wrong;

	by_tc(rig, s, family);
	make(rig, s, family, &in);
	wrong = passes_by(rig, s->device, &in);
	return wrong ? wrong : leaves(rig, family, s, &key, device);
}

/* tc has it, when the next hop is asked for and after. */
static const char *stays(struct bn_rig *rig, int family, const struct bn_step *s)
{
	struct bn_packet in;
	const char *wrong;

	by_tc(rig, s, family);
	make(rig, s, family, &in);
	wrong = passes_by(rig, s->device, &in);
	return wrong ? wrong : passes_by(rig, s->device, &in);
}

static const char *both_ways(struct bn_rig *rig, int family, const struct bn_step *there,
			     const struct bn_step *back)
{
	const __u32 native = BN_DEVICE_REDIRECTS | BN_DEVICE_TAKES;
	const char *wrong;

	uplinks_set(rig, native, native);
	wrong = crosses(rig, family, there, BN_UPLINK2);
	return wrong ? wrong : crosses(rig, family, back, BN_UPLINK);
}

static const char *other_tcp(struct bn_rig *rig, int family)
{
	return both_ways(rig, family, &other_there, &other_back);
}

static const char *other_udp(struct bn_rig *rig, int family)
{
	for (int i = 0; i < 12; i++) {
		by_tc(rig, &other_udp_there, family);
		by_tc(rig, &other_udp_back, family);
		usleep(300000);
	}
	return both_ways(rig, family, &other_udp_there, &other_udp_back);
}

/* Which of the devices can do what decides; a generic program's frames every device takes. */
static const char *other_flags(struct bn_rig *rig, int family)
{
	static const struct {
		__u32 in, out;
		bool crosses;
	} cases[] = {
		{0, 0, false},
		{BN_DEVICE_REDIRECTS, 0, false},
		{0, BN_DEVICE_TAKES, false},
		{BN_DEVICE_TAKES, BN_DEVICE_REDIRECTS, false},
		{BN_DEVICE_REDIRECTS, BN_DEVICE_REDIRECTS | BN_DEVICE_GENERIC, false},
		{BN_DEVICE_REDIRECTS, BN_DEVICE_TAKES, true},
		{BN_DEVICE_REDIRECTS | BN_DEVICE_GENERIC, 0, true},
	};
	static char text[80];

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		const char *wrong;

		uplinks_set(rig, cases[i].in, cases[i].out);
		wrong = cases[i].crosses ? crosses(rig, family, &other_there, BN_UPLINK2)
					 : stays(rig, family, &other_there);
		if (wrong) {
			snprintf(text, sizeof(text), "flags %#x, %#x: %s", cases[i].in,
				 cases[i].out, wrong);
			return text;
		}
	}
	return NULL;
}

static const char *other_odd(struct bn_rig *rig, int family)
{
	const struct bn_step steps[] = {
		{UPLINK, TCP("WORLD", 40000, "NODE", 30084, ACK, .payload = 1401)},
		{UPLINK, TCP("WORLD", 40000, "NODE", 30084, ACK, .ttl = 1)},
		{UPLINK, TCP("WORLD", 40000, "NODE", 30084, FIN | ACK)},
	};
	struct bn_mac second = bn_rig_own_mac(rig, BN_UPLINK2);
	struct bn_tuple key = tuple_of(&other_there, family);
	struct bn_step other_side = other_there;
	const char *wrong = other_tcp(rig, family);
	struct bn_packet in;

	for (size_t i = 0; i < sizeof(steps) / sizeof(steps[0]) && !wrong; i++) {
		make(rig, &steps[i], family, &in);
		wrong = passes(rig, &in);
	}
	/* the MAC of the device that it would leave by is not the one that it came in by */
	make(rig, &other_there, family, &in);
	memcpy(in.data, second.b, 6);
	wrong = wrong ? wrong : passes(rig, &in);
	/* one flow by both devices: neither takes the other's next hop away */
	other_side.device = BN_UPLINK2;
	wrong = wrong ? wrong : crosses(rig, family, &other_side, BN_UPLINK2);
	for (int i = 0; i < 3 && !wrong; i++) {
		wrong = leaves(rig, family, &other_there, &key, BN_UPLINK2);
		wrong = wrong ? wrong : leaves(rig, family, &other_side, &key, BN_UPLINK2);
	}
	return wrong;
}

/* On an established flow with a known hop, so that only what is odd stands in the way. */
static const char *odd(struct bn_rig *rig, int family)
{
	static const __u8 nops[4] = {1, 1, 1, 1};
	const struct bn_step steps[] = {
		{UPLINK, TCP("WORLD", 40000, "NODE", 30081, SYN)},
		{UPLINK, TCP("WORLD", 40000, "NODE", 30081, FIN | ACK)},
		{UPLINK, TCP("WORLD", 40000, "NODE", 30081, RST)},
		{UPLINK, TCP("WORLD", 40000, "NODE", 30081, ACK, .ttl = 1)},
		{UPLINK, TCP("WORLD", 40000, "NODE", 30081, ACK, .payload = 1500)},
		{UPLINK, TCP("WORLD", 40000, "NODE", 30081, ACK, .vlan = 5)},
		{UPLINK, TCP("WORLD", 40001, "NODE", 30081, ACK)},
		{UPLINK, TCP("WORLD", 40000, "NODE", 80, ACK)},
		{UPLINK, SCTP("WORLD", 40000, "NODE", 30081, .payload = 20)},
		{UPLINK,
		 TCP("WORLD", 40000, "NODE", 30081, ACK, .options = nops, .options_len = 4)},
		{UPLINK, TCP("WORLD", 40000, "NODE", 30081, ACK, .frag = BN_IP_MF, .payload = 80)},
		{UPLINK, TCP("WORLD", 40000, "NODE", 30081, ACK, .frag = 10, .payload = 80)},
	};
	/* the last three are IPv4's */
	size_t n = sizeof(steps) / sizeof(steps[0]) - (family == 6 ? 3 : 0);
	const char *wrong = tcp(rig, family);
	static char text[80];
	struct bn_packet in;

	for (size_t i = 0; i < n && !wrong; i++) {
		make(rig, &steps[i], family, &in);
		wrong = passes(rig, &in);
		if (wrong)
			snprintf(text, sizeof(text), "odd packet %zu: %s", i + 1, wrong);
	}
	if (wrong)
		return *text ? text : wrong;
	/* lengths that lie: the IP header's, TCP's; and every truncation */
	make(rig, &tcp_there, family, &in);
	in.data[family == 4 ? 17 : 19]++;
	wrong = passes(rig, &in);
	make(rig, &tcp_there, family, &in);
	in.data[in.l4 + 12] = 0x40;
	wrong = wrong ? wrong : passes(rig, &in);
	for (size_t len = 34; len < in.payload && !wrong; len++) {
		make(rig, &tcp_there, family, &in);
		in.len = len;
		wrong = passes(rig, &in);
	}
	if (wrong)
		return wrong;
	bn_rig_epoch_bump(rig, BN_SLOT_NONE);
	make(rig, &tcp_there, family, &in);
	return passes(rig, &in) ? "a decision of another epoch was followed" : NULL;
}

#define ESTABLISH .prepare = establish
#define ESTABLISH_OTHER .prepare = establish_other

static void handshake(struct bn_rig *rig, int family, const struct bn_step steps[3])
{
	device_prepare(rig);
	for (size_t i = 0; i < 3; i++)
		by_tc(rig, &steps[i], family);
}

static void establish(struct bn_rig *rig, int family)
{
	const struct bn_step steps[] = {
		{UPLINK, TCP("WORLD", 40000, "NODE", 30081, SYN)},
		{UPLINK, TCP("REMOTE", 8082, "NODE", NAT_PORT, SYN | ACK)},
		{UPLINK, TCP("WORLD", 40000, "NODE", 30081, ACK)},
	};

	handshake(rig, family, steps);
}

static void establish_other(struct bn_rig *rig, int family)
{
	const struct bn_step steps[] = {
		{UPLINK, TCP("WORLD", 40000, "NODE", 30084, SYN)},
		{UPLINK2, TCP("OTHER", 8084, "NODE3", NAT_PORT, SYN | ACK)},
		{UPLINK, TCP("WORLD", 40000, "NODE", 30084, ACK)},
	};

	handshake(rig, family, steps);
}

static void only_device(struct bn_rig *rig, int family)
{
	device_prepare(rig);
}

static const struct bn_case cases[] = {
	{"TCP to a backend elsewhere and back", ESTABLISH, .run = tcp},
	{"UDP to a backend elsewhere and back", .prepare = only_device, .run = udp},
	{"what is odd is for tc, as it came", ESTABLISH, .run = odd},
	{"TCP by another uplink and back", ESTABLISH_OTHER, .run = other_tcp},
	{"UDP by another uplink and back", .prepare = only_device, .run = other_udp},
	{"only between devices that can", ESTABLISH_OTHER, .run = other_flags},
	{"what is odd for another uplink is for tc", ESTABLISH_OTHER, .run = other_odd},
};

/* Next hops are each CPU's own: where the test is moved to another one, the hop is asked for anew. */
static void stay(void)
{
	int cpu = sched_getcpu();
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(cpu < 0 ? 0 : cpu, &set);
	if (sched_setaffinity(0, sizeof(set), &set))
		bn_rig_die("sched_setaffinity", errno);
}

int main(void)
{
	static const struct bn_rig_options options = {
		.flow_sets = 64, .masquerade = true, .configure = one_port};

	stay();
	return bn_program_main("xdp", cases, sizeof(cases) / sizeof(cases[0]), &options);
}
