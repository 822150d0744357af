// SPDX-License-Identifier: Apache-2.0
/*
 * Readers of traces, one a slot. The first one has the programs loaded and placed, the last one has
 * them taken away.
 *
 * Invariants: a slot's filter is in the kernel from when its reader has it until that is gone, and
 * expires by itself; a record goes to whoever had the slot when the packet passed.
 */
#include "trace/trace.h"

#include "flows/reader.h"
#include "log.h"
#include "trace/json.h"

#include <bpf/libbpf.h>
#include <bpfnet/control.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <time.h>

#define RENEW_USEC 1000000ull
#define EXPIRE_NS 5000000000ull /* what a stopped agent leaves on, at most */
#define TURN_RECORDS 256u
#define NUMBERS 4096u /* packets whose number is remembered */

struct reader {
	struct bn_tracing *tracing;
	struct bn_stream *stream;
	uint32_t slot;
	uint64_t since; /* CLOCK_MONOTONIC, ns */
	struct bn_trace_filter filter;
	uint64_t suppressed, lost; /* told */
};

struct bn_tracing {
	sd_event *loop;
	struct bn_tracing_config config;
	struct reader *readers[BN_TRACE_SLOTS];
	unsigned int n_readers;
	struct bn_tracers *tracers; /* NULL: nobody reads */
	struct ring_buffer *ring;
	sd_event_source *io, *renew;
	unsigned int budget;
	struct bn_buf line;
	uint64_t last_number;
	struct {
		uint64_t kernel, number;
	} numbers[NUMBERS];
};

static uint64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000 + (uint64_t)ts.tv_nsec;
}

int bn_trace_record_check(const void *data, size_t size, struct bn_trace_record *ret)
{
	struct bn_trace_record r;

	if (size < sizeof(r))
		return -EBADMSG;
	memcpy(&r, data, sizeof(r));
	if (r.event.header.version != BN_EVENT_VERSION || r.event.header.type != BN_EVENT_TRACE ||
	    r.event.header.size != sizeof(r) || !r.event.hook || r.event.hook >= BN_HOOK_MAX ||
	    r.event.reason >= BN_DROP_MAX || !r.action || r.action >= BN_TRACE_ACTION_MAX ||
	    r.captured > sizeof(r.bytes))
		return -EBADMSG;
	if (r.event.tuple.family != BN_IPV4 && r.event.tuple.family != BN_IPV6 &&
	    (r.event.tuple.family || !r.event.reason))
		return -EBADMSG;
	*ret = r;
	return 0;
}

/* Small numbers in the order in which packets come, for those that the datapath gives. */
static uint64_t number_of(struct bn_tracing *t, uint64_t kernel)
{
	size_t at = (kernel >> 16 ^ kernel << 8) % NUMBERS;

	if (t->numbers[at].kernel != kernel) {
		t->numbers[at].kernel = kernel;
		t->numbers[at].number = ++t->last_number;
	}
	return t->numbers[at].number;
}

static void device_name(uint32_t ifindex, char ret[IF_NAMESIZE])
{
	if (!ifindex || !if_indextoname(ifindex, ret))
		*ret = '\0';
}

static void tell(struct bn_tracing *t, const struct bn_trace_record *r)
{
	struct bn_flow_record named = {.event = r->event, .time = bn_event_realtime(r->event.time)};
	struct bn_trace_line line = {
		.record = r,
		.named = &named,
		.node_name = t->config.node_name,
		.packet = number_of(t, r->packet),
	};

	device_name(r->event.ifindex, line.device);
	device_name(r->to_ifindex, line.to_device);
	bn_observer_name(t->config.observer, &named);
	bn_buf_reset(&t->line);
	bn_trace_json(&t->line, &line);
	bn_flow_record_done(&named);
	for (uint32_t i = 0; i < BN_TRACE_SLOTS && !t->line.failed; i++) {
		struct reader *reader = t->readers[i];

		/* what a slow reader misses, the stream counts and tells */
		if (reader && r->traces >> i & 1 && r->event.time >= reader->since)
			(void)bn_stream_send(reader->stream, t->line.data, t->line.len);
	}
}

static int on_record(void *user, void *data, size_t size)
{
	struct bn_tracing *t = user;
	struct bn_trace_record r;

	if (bn_trace_record_check(data, size, &r) == 0)
		tell(t, &r);
	return --t->budget ? 0 : -EAGAIN;
}

static int on_ring(sd_event_source *source, int fd, uint32_t revents, void *user)
{
	struct bn_tracing *t = user;

	t->budget = TURN_RECORDS;
	(void)ring_buffer__consume(t->ring);
	return 0;
}

static int renew(struct reader *r)
{
	r->filter.expires = now_ns() + EXPIRE_NS;
	return bn_tracers_set(r->tracing->tracers, r->slot, &r->filter);
}

static void tell_missed(struct reader *r)
{
	uint64_t suppressed, lost;
	char text[128];
	int n;

	if (bn_tracers_missed(r->tracing->tracers, r->slot, &suppressed, &lost) < 0 ||
	    (suppressed == r->suppressed && lost == r->lost))
		return;
	n = snprintf(text, sizeof(text), "{\"missed\":{\"rate\":%llu,\"room\":%llu}}",
		     (unsigned long long)(suppressed - r->suppressed),
		     (unsigned long long)(lost - r->lost));
	r->suppressed = suppressed;
	r->lost = lost;
	(void)bn_stream_send(r->stream, text, (size_t)n);
}

static int on_renew(sd_event_source *source, uint64_t usec, void *user)
{
	struct bn_tracing *t = user;

	for (int i = 0; i < BN_TRACE_SLOTS; i++) {
		if (!t->readers[i])
			continue;
		(void)renew(t->readers[i]);
		tell_missed(t->readers[i]);
	}
	(void)sd_event_source_set_time_relative(source, RENEW_USEC);
	return sd_event_source_set_enabled(source, SD_EVENT_ONESHOT);
}

static void stop(struct bn_tracing *t)
{
	struct bn_error err = BN_ERROR_INIT;

	if (!t->tracers)
		return;
	/* they would stay until an audit finds them, and tell nobody anything */
	if (t->config.place(t->config.user, NULL, &err) < 0)
		bn_logf(BN_LOG_ERROR, "%s, ignoring", bn_error_text(&err));
	bn_error_done(&err);
	t->io = sd_event_source_disable_unref(t->io);
	t->renew = sd_event_source_disable_unref(t->renew);
	ring_buffer__free(t->ring);
	t->ring = NULL;
	bn_tracers_free(t->tracers);
	t->tracers = NULL;
	memset(t->numbers, 0, sizeof(t->numbers));
	t->last_number = 0;
}

static int start(struct bn_tracing *t, struct bn_error *err)
{
	int r = bn_tracers_new(t->config.programs, &t->tracers, err);

	if (r < 0)
		return r;
	t->ring = ring_buffer__new(bn_tracers_ring(t->tracers), on_record, t, NULL);
	r = t->ring ? 0 : -errno;
	if (!r)
		r = sd_event_add_io(t->loop, &t->io, bn_tracers_ring(t->tracers), EPOLLIN, on_ring,
				    t);
	if (r >= 0)
		r = sd_event_add_time_relative(t->loop, &t->renew, CLOCK_MONOTONIC, RENEW_USEC,
					       1000, on_renew, t);
	if (r < 0) {
		bn_error_set(err, r, "can't trace: %s", strerror(-r));
		stop(t);
	}
	return r;
}

static void reader_free(struct reader *r)
{
	struct bn_tracing *t = r->tracing;

	if (r->slot < BN_TRACE_SLOTS && t->readers[r->slot] == r) {
		t->readers[r->slot] = NULL;
		if (t->tracers)
			(void)bn_tracers_set(t->tracers, r->slot, NULL);
		if (--t->n_readers == 0)
			stop(t);
	}
	free(r);
}

static void on_closed(void *user)
{
	reader_free(user);
}

static int begin(struct bn_tracing *t, struct reader *r, struct bn_error *err)
{
	const bool first = !t->tracers;
	int res;

	for (r->slot = 0; r->slot < BN_TRACE_SLOTS && t->readers[r->slot]; r->slot++)
		;
	if (r->slot == BN_TRACE_SLOTS)
		return bn_error_set(err, -EBUSY,
				    "can't trace: %d traces run already, which is as many as may",
				    BN_TRACE_SLOTS);
	if (first) {
		res = start(t, err);
		if (res < 0)
			return res;
	}
	t->readers[r->slot] = r;
	t->n_readers++;
	r->since = now_ns();
	(void)bn_tracers_missed(t->tracers, r->slot, &r->suppressed, &r->lost);
	res = renew(r);
	if (res < 0)
		return bn_error_set(err, res, "can't set a trace's filter: %s", strerror(-res));
	/* behind the filter: a CPU whose packets nobody wants does not look again for a second */
	if (first)
		res = t->config.place(t->config.user, t->tracers, err);
	return res < 0 ? bn_error_set(err, res, "can't trace: %s", strerror(-res)) : 0;
}

int bn_tracing_method(struct bn_request *request, void *user)
{
	struct bn_tracing *t = user;
	const json_t *filters = json_object_get(bn_request_params(request), "filters");
	struct reader *r = calloc(1, sizeof(*r));
	struct bn_error err = BN_ERROR_INIT;
	int res;

	if (!r)
		return -ENOMEM;
	r->tracing = t;
	r->slot = 0;
	res = bn_trace_filter_parse(filters, t->config.pod, t->config.user, &r->filter, &err);
	if (!res)
		res = begin(t, r, &err);
	if (res == -EBUSY)
		bn_reply_error(request, BN_CONTROL_CODE_BUSY, bn_error_text(&err));
	else if (res < 0)
		bn_reply_errno(request, res, &err);
	else
		r->stream = bn_reply_stream(request, on_closed, r);
	if (!r->stream)
		reader_free(r);
	bn_error_done(&err);
	return 0;
}

int bn_tracing_new(sd_event *loop, const struct bn_tracing_config *config, struct bn_tracing **ret)
{
	struct bn_tracing *t = calloc(1, sizeof(*t));

	if (!t)
		return -ENOMEM;
	t->loop = sd_event_ref(loop);
	t->config = *config;
	*ret = t;
	return 0;
}

void bn_tracing_free(struct bn_tracing *t)
{
	if (!t)
		return;
	stop(t);
	bn_buf_done(&t->line);
	sd_event_unref(t->loop);
	free(t);
}
