// SPDX-License-Identifier: Apache-2.0
/*
 * Runs tables of cases. The expected packet is built from scratch by the same builder as the
 * input, so every checksum in it is right by definition and a whole comparison of bytes proves
 * the datapath's arithmetic.
 */
#include "case.h"

#include <arpa/inet.h>
#include <bpfnet/dsr.h>
#include <linux/pkt_cls.h>
#include <netinet/in.h>
#include <string.h>

static const struct bn_mac host_mac = {BN_HOST_MAC};
static const struct bn_mac router_mac = {{0x02, 0, 0, 0, 0, 0x01}};

struct run {
	struct bn_rig *rig;
	const struct bn_case *c;
	const struct bn_step *s;
	int family, wrong, number;
	bool complete;
};

static FILE *complain(struct run *run)
{
	run->wrong++;
	fprintf(stderr, "%s, IPv%d%s, step %d (%s): ", run->c->name, run->family,
		run->complete ? ", CHECKSUM_COMPLETE" : "", run->number,
		run->s->what ? run->s->what : "-");
	return stderr;
}

static bool mac_zero(const struct bn_mac *m)
{
	static const struct bn_mac zero;

	return !memcmp(m, &zero, sizeof(zero));
}

/* Before whatever options or extension headers there are. */
static void frontend_put(struct bn_packet_spec *spec, const struct bn_step_frontend *frontend,
			 int family, __u8 options[40])
{
	union bn_addr addr = bn_rig_addr(frontend->addr, family);
	__be16 port = htons(frontend->port);
	struct bn_ext *e = &spec->ext[0];

	if (family == 4) {
		memcpy(options, (__u8[]){BN_DSR_OPTION4, 8}, 2);
		memcpy(options + 2, &port, 2);
		memcpy(options + 4, &addr.b[12], 4);
		if (spec->options_len > 32)
			bn_rig_die("a packet without room for an option of 8 bytes", 0);
		if (spec->options_len)
			memcpy(options + 8, spec->options, spec->options_len);
		spec->options = options;
		spec->options_len += 8;
		return;
	}
	memmove(e + 1, e, spec->exts++ * sizeof(*e));
	*e = (struct bn_ext){.type = 60, .len = 24, .data = {BN_DSR_OPTION6, 20}};
	memcpy(e->data + 2, &port, 2);
	memcpy(e->data + 6, addr.b, 16);
}

static void packet_resolve(struct bn_packet *ret, const struct bn_packet_spec *spec,
			   const struct bn_step_frontend *frontend, int family)
{
	struct bn_packet_spec s = *spec;
	__u8 options[40];

	s.src = bn_rig_address(s.src, family);
	s.dst = bn_rig_address(s.dst, family);
	if (frontend && frontend->addr)
		frontend_put(&s, frontend, family, options);
	bn_packet_build(ret, &s);
}

void bn_step_packet(struct bn_rig *rig, const struct bn_step *s, int family, struct bn_packet *ret)
{
	struct bn_packet_spec in = s->in;
	const struct bn_mac *near = s->device == BN_UPLINK ? &router_mac : &rig->dev[s->device].mac;

	if (s->raw) {
		*ret = *s->raw;
		return;
	}
	if (mac_zero(&in.smac))
		in.smac = s->hook == BN_HOOK_TO_POD ? host_mac : *near;
	if (mac_zero(&in.dmac))
		in.dmac = s->hook == BN_HOOK_TO_POD ? rig->dev[s->device].mac : host_mac;
	packet_resolve(ret, &in, &s->frontend, family);
}

void bn_quote(struct bn_rig *rig, int family, struct bn_packet *ret, struct bn_packet_spec spec)
{
	struct bn_step s = {.hook = BN_HOOK_FROM_POD, .device = BN_POD_B, .in = spec};

	bn_step_packet(rig, &s, family, ret);
}

struct bn_tuple bn_tuple_make(int family, __u8 protocol, const char *src, __u16 sport,
			      const char *dst, __u16 dport)
{
	return (struct bn_tuple){.saddr = bn_rig_addr(src, family),
				 .daddr = bn_rig_addr(dst, family),
				 .sport = htons(sport),
				 .dport = htons(dport),
				 .protocol = protocol,
				 .family = family};
}

/* The device of a local pod's address, or -1. */
static int device_of(struct bn_rig *rig, const char *name, int family)
{
	union bn_addr a = bn_rig_addr(name, family);

	for (int i = 0; i < BN_RIG_PODS; i++)
		if (bn_addr_equal(&a, family == 4 ? &rig->dev[i].v4 : &rig->dev[i].v6))
			return i;
	return -1;
}

/* Packets given by their bytes are changed in place; only those that pass untouched may be. */
static void expected_packet(struct run *run, const struct bn_packet *in, struct bn_packet *ret)
{
	const struct bn_step *s = run->s;
	struct bn_packet_spec out = s->in;
	int device;

	if (s->outcome == BN_ANSWERED) {
		out = s->answer;
		if (s->quote && !out.quote)
			out.quote = in;
		if (mac_zero(&out.smac))
			out.smac = host_mac;
		if (mac_zero(&out.dmac))
			out.dmac = s->device == BN_UPLINK ? router_mac
							  : run->rig->dev[s->device].mac;
		packet_resolve(ret, &out, NULL, run->family);
		return;
	}
	if (s->raw) {
		*ret = *in;
		return;
	}
	memcpy(out.dmac.b, in->data, 6);
	memcpy(out.smac.b, in->data + 6, 6);
	if (s->to_src)
		out.src = s->to_src;
	if (s->to_dst)
		out.dst = s->to_dst;
	if (s->to_sport)
		out.sport = s->to_sport;
	if (s->to_dport)
		out.dport = s->to_dport;
	if (s->to_quote)
		out.quote = s->to_quote;
	if (s->outcome == BN_DELIVERED) {
		out.smac = host_mac;
		out.dmac = run->rig->dev[BN_HOST].mac;
	} else if (s->outcome == BN_FORWARDED) {
		out.ttl = (out.ttl ? out.ttl : 64) - 1;
		out.smac = host_mac;
		device = device_of(run->rig, out.dst, run->family);
		if (device >= 0)
			out.dmac = run->rig->dev[device].mac;
	}
	packet_resolve(ret, &out, &s->to_frontend, run->family);
}

static int verdict_wanted(enum bn_outcome o, int verdict)
{
	switch (o) {
	case BN_FORWARDED:
	case BN_DELIVERED:
	case BN_ANSWERED:
		return verdict == TC_ACT_REDIRECT;
	case BN_PASSED:
		return verdict == TC_ACT_OK || verdict == TC_ACT_UNSPEC;
	case BN_DROPPED:
		return verdict == TC_ACT_SHOT;
	}
	return 0;
}

/*
 * What RFCs leave to whoever answers: IPv4 id, TOS, DF, TTL, flow label and the window of a
 * reset. Taken over from what was seen, so that everything else must match.
 */
static void answer_freedoms(struct bn_packet *want, const struct bn_packet *seen)
{
	__u8 *w = want->data + want->l3;
	const __u8 *s = seen->data + want->l3;

	if (want->l3 != 14 || seen->len < 34 || !s[8] || (w[0] & 0xf0) != (s[0] & 0xf0))
		return;
	if (w[0] >> 4 == 4) {
		w[1] = s[1];
		memcpy(w + 4, s + 4, 2);
		w[6] = (w[6] & ~0x40) | (s[6] & 0x40);
		w[8] = s[8];
	} else if (w[6] != 58 || want->data[want->l4] < 133) {
		w[7] = s[7];
	}
	bn_packet_fix(want);
}

static void check_output(struct run *run, const struct bn_packet *in, const struct bn_result *r)
{
	static const char *const outcomes[] = {
		[BN_FORWARDED] = "forwarded", [BN_PASSED] = "passed",
		[BN_DELIVERED] = "delivered", [BN_ANSWERED] = "answered",
		[BN_DROPPED] = "dropped",
	};
	struct bn_packet want;
	char why[128];

	if (r->verdict == BN_VERDICT_BAD_SUM) {
		fprintf(complain(run), "skb->csum is not the packet's sum any more\n");
		return;
	}
	if (!verdict_wanted(run->s->outcome, r->verdict)) {
		fprintf(complain(run), "verdict %d, should be %s\n", r->verdict,
			outcomes[run->s->outcome]);
		return;
	}
	if (run->s->outcome == BN_DROPPED)
		return;
	expected_packet(run, in, &want);
	if (run->s->outcome == BN_ANSWERED && !run->s->answer.ethertype)
		answer_freedoms(&want, &r->out);
	/* The MACs of a redirected packet are the redirect's affair, not the program's. */
	if (run->s->outcome == BN_FORWARDED)
		memcpy(want.data, r->out.data, 12);
	if (want.len != r->out.len || memcmp(want.data, r->out.data, want.len)) {
		fprintf(complain(run), "packet out differs\n");
		bn_packet_diff(stderr, &want, &r->out);
	} else if (run->s->in.checksum == BN_CSUM_RIGHT && !run->s->raw &&
		   bn_packet_verify(&r->out, why, sizeof(why))) {
		fprintf(complain(run), "packet out: %s\n", why);
	}
}

/* What the records of flows that closed add up to. */
static __u64 closed_sum(const struct bn_rig *rig, bool bytes)
{
	__u64 sum = 0;

	for (unsigned int i = 0; i < rig->n_events && i < BN_RIG_EVENTS; i++) {
		const struct bn_event *e = &rig->events[i];

		if (e->header.type == BN_EVENT_FLOW_CLOSED)
			sum += bytes ? e->bytes + e->reply_bytes : e->packets + e->reply_packets;
	}
	return sum;
}

static void check_counts(struct run *run, const struct bn_counts *before,
			 const struct bn_counts *after)
{
	for (unsigned int i = 0; i < BN_CNT_MAX; i++) {
		__u64 seen = after->counter[i] - before->counter[i], want = run->s->count[i];

		if (i == BN_CNT_CLOSED_PACKETS)
			want = closed_sum(run->rig, false);
		else if (i == BN_CNT_CLOSED_BYTES)
			want = closed_sum(run->rig, true);
		if (i != BN_CNT_FORWARDED_PACKETS && seen != want)
			fprintf(complain(run), "%s: counted %llu, should be %llu\n",
				bn_rig_counter_name(i), seen, want);
	}
	for (unsigned int way = 0; way < BN_DROPPED_WAYS; way++) {
		for (unsigned int i = 0; i < BN_DROP_MAX; i++) {
			__u64 seen = after->dropped[way][i] - before->dropped[way][i];
			__u64 want = run->s->reason && i == run->s->reason &&
				     way == bn_hook_direction(run->s->hook);

			if (seen != want)
				fprintf(complain(run),
					"drops %s, %s: counted %llu, should be %llu\n",
					bn_rig_drop_label(i), way ? "ingress" : "egress", seen,
					want);
		}
	}
}

/* A rule is hit when it is asked, which a refusal that is remembered is not. */
static void check_hits(struct run *run, const __u64 *before)
{
	const struct bn_step *s = run->s;
	bool asked = s->count[BN_CNT_DECISIONS] || s->count[BN_CNT_STALE];

	for (__u32 i = 1; i < BN_RIG_RULES; i++) {
		__u64 seen = bn_rig_policy_hits(run->rig, i) - before[i];
		__u64 want = asked * ((s->egress & BN_VERDICT_RULE) == i) +
			     asked * ((s->ingress & BN_VERDICT_RULE) == i);

		if (seen != want)
			fprintf(complain(run), "rule %u: hit %llu times, should be %llu\n", i, seen,
				want);
	}
}

static void check_verdicts(struct run *run, const struct bn_event *e)
{
	if (e->egress_verdict != run->s->egress || e->ingress_verdict != run->s->ingress)
		fprintf(complain(run), "record's verdicts %#x and %#x, should be %#x and %#x\n",
			e->egress_verdict, e->ingress_verdict, run->s->egress, run->s->ingress);
}

static void check_drop_record(struct run *run, const struct bn_event *e, const struct bn_packet *in)
{
	const struct bn_step *s = run->s;
	size_t taken = 0;

	if (e->reason != s->reason)
		fprintf(complain(run), "record says %s, should say %s\n",
			bn_rig_drop_label(e->reason), bn_rig_drop_label(s->reason));
	if (e->hook != s->hook || e->ifindex != run->rig->dev[s->device].ifindex)
		fprintf(complain(run), "record names hook %u, device %u\n", e->hook, e->ifindex);
	/* a frontend is taken out before anything else is done, where it can be one */
	if (s->frontend.addr && s->reason != BN_DROP_MAPPED_ADDRESS)
		taken = run->family == 4 ? sizeof(struct bn_dsr4) : sizeof(struct bn_dsr6);
	if (!s->raw && s->in.src && e->tuple.family &&
	    e->length != in->len - (in->l3 ? in->l3 : 14) - taken)
		fprintf(complain(run), "record's length %u of a packet of %zu\n", e->length,
			in->len - in->l3);
}

static void check_audited(struct run *run, const struct bn_event *e)
{
	if (e->reason != run->s->audited)
		fprintf(complain(run), "record is audited for %s, should be %s\n",
			bn_rig_drop_label(e->reason), bn_rig_drop_label(run->s->audited));
}

static void check_opened_record(struct run *run, const struct bn_event *e)
{
	const struct bn_step *s = run->s;
	__u16 sport = s->in.sport, dport = s->in.dport;
	struct bn_tuple want, to;

	if (s->in.type == 8 || s->in.type == 128)
		sport = s->in.icmp_id;
	want = bn_tuple_make(run->family, s->in.protocol, s->in.src, sport, s->in.dst, dport);
	to = bn_tuple_make(run->family, s->in.protocol, s->to_src ? s->to_src : s->in.src,
			   s->to_sport ? s->to_sport : sport, s->to_dst ? s->to_dst : s->in.dst,
			   s->to_dport ? s->to_dport : dport);
	if (memcmp(&want, &e->tuple, sizeof(want)))
		fprintf(complain(run), "opened record has another tuple\n");
	if (!bn_addr_equal(&to.saddr, &e->to_saddr) || !bn_addr_equal(&to.daddr, &e->to_daddr) ||
	    to.sport != e->to_sport || to.dport != e->to_dport)
		fprintf(complain(run), "opened record has another translation\n");
}

static void check_records(struct run *run, const struct bn_packet *in)
{
	__u64 drops = 0, opened = 0, closed = 0, audited = 0;
	const struct bn_step *s = run->s;

	for (unsigned int i = 0; i < run->rig->n_events && i < BN_RIG_EVENTS; i++) {
		const struct bn_event *e = &run->rig->events[i];

		if (e->header.version != BN_EVENT_VERSION || e->header.size != sizeof(*e) ||
		    !e->time)
			fprintf(complain(run), "record without version, size or time\n");
		switch (e->header.type) {
		case BN_EVENT_DROP:
			drops++;
			check_drop_record(run, e, in);
			check_verdicts(run, e);
			break;
		case BN_EVENT_FLOW_OPENED:
			opened++;
			check_verdicts(run, e);
			check_audited(run, e);
			if (!s->raw)
				check_opened_record(run, e);
			break;
		case BN_EVENT_FLOW_CLOSED:
			closed++;
			if (s->cause && e->cause != s->cause)
				fprintf(complain(run), "closed for cause %u, should be %u\n",
					e->cause, s->cause);
			break;
		case BN_EVENT_AUDIT:
			audited++;
			check_verdicts(run, e);
			check_audited(run, e);
			break;
		default:
			fprintf(complain(run), "record of unknown type %u\n", e->header.type);
		}
	}
	if (drops != (s->reason && !s->quiet))
		fprintf(complain(run), "%llu drop records\n", drops);
	if (audited != (s->audited && !opened))
		fprintf(complain(run), "%llu audit records\n", audited);
	if (opened != s->count[BN_CNT_FLOWS_OPENED] || closed != s->count[BN_CNT_FLOWS_CLOSED])
		fprintf(complain(run), "%llu opened and %llu closed records\n", opened, closed);
}

static __u32 came_by(const struct bn_rig *rig, const struct bn_step *s)
{
	return s->by ? rig->dev[s->by - 1].ifindex : 0;
}

int bn_step_send(struct bn_rig *rig, const struct bn_step *s, int family, struct bn_result *ret)
{
	struct bn_packet in;

	bn_step_packet(rig, s, family, &in);
	bn_rig_run(rig, s->hook, s->device, came_by(rig, s), &in, ret);
	return ret->verdict;
}

int bn_pod_send(struct bn_rig *rig, int family, int pod, const char *src, __u16 sport,
		const char *dst, __u16 dport, __u8 protocol, __u8 tcp_flags, struct bn_result *ret)
{
	struct bn_step s = {.hook = BN_HOOK_FROM_POD,
			    .device = (__u8)pod,
			    .in = {.protocol = protocol,
				   .src = src,
				   .sport = sport,
				   .dst = dst,
				   .dport = dport,
				   .tcp_flags = tcp_flags}};

	return bn_step_send(rig, &s, family, ret);
}

static void step_run(struct run *run)
{
	const struct bn_step *s = run->s;
	struct bn_counts before, after;
	__u64 hits[BN_RIG_RULES];
	struct bn_result result;
	struct bn_packet in;
	const char *wrong;

	if (s->before)
		s->before(run->rig, run->family);
	for (__u32 i = 0; i < BN_RIG_RULES; i++)
		hits[i] = bn_rig_policy_hits(run->rig, i);
	bn_step_packet(run->rig, s, run->family, &in);
	bn_rig_counts(run->rig, &before);
	/* answers replace the whole packet; only pods get them, whose packets are never COMPLETE */
	run->rig->complete = run->complete && s->outcome != BN_ANSWERED;
	bn_rig_run(run->rig, s->hook, s->device, came_by(run->rig, s), &in, &result);
	run->rig->complete = false;
	bn_rig_counts(run->rig, &after);
	check_output(run, &in, &result);
	check_counts(run, &before, &after);
	check_hits(run, hits);
	check_records(run, &in);
	if (s->check) {
		wrong = s->check(run->rig, run->family, &result);
		if (wrong)
			fprintf(complain(run), "%s\n", wrong);
	}
}

int bn_case_run(struct bn_rig *rig, const struct bn_case *c, int family, bool complete)
{
	struct run run = {.rig = rig, .c = c, .family = family, .complete = complete};

	bn_rig_forget(rig);
	if (c->prepare)
		c->prepare(rig, family);
	for (int i = 0; i < BN_CASE_STEPS && c->step[i].hook && !run.wrong; i++) {
		run.s = &c->step[i];
		run.number = i + 1;
		step_run(&run);
	}
	if (c->run && !run.wrong && !complete) {
		const char *wrong = c->run(rig, family);

		if (wrong) {
			fprintf(stderr, "%s, IPv%d: %s\n", c->name, family, wrong);
			run.wrong++;
		}
	}
	if (c->restore)
		c->restore(rig, family);
	return run.wrong;
}
