// SPDX-License-Identifier: Apache-2.0
/*
 * Walking the flow tables from user space. Deleting is a second look-up away from reading: an
 * entry that came to life in between is left alone, since its last_seen is read again.
 */
#include "datapath/sweep.h"

#include <bpf/bpf.h>
#include <bpfnet/access.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define SETS_PER_READ 256

/*
 * jiffies start at 2^32 - 300 * HZ and advance with the monotonic clock; a jiffy of error is
 * nothing to lifetimes of seconds.
 */
uint32_t bn_jiffies(const struct bn_programs *p)
{
	struct timespec ts;
	uint64_t ticks;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	ticks = (uint64_t)ts.tv_sec * p->hz + (uint64_t)ts.tv_nsec * p->hz / 1000000000u;
	return (uint32_t)(ticks - 300u * (uint64_t)p->hz);
}

static uint32_t lifetime(const struct bn_programs *p, const struct bn_tuple *key,
			 const struct bn_flow *f)
{
	if (key->protocol != 6)
		return p->node.life.udp_lasting;
	return f->state & BN_FS_CLOSING ? p->node.life.closing : p->node.life.established;
}

static bool idle(const struct bn_programs *p, const struct bn_tuple *key, const struct bn_flow *f,
		 uint32_t now)
{
	return (int32_t)(now - f->last_seen) > (int32_t)lifetime(p, key, f);
}

static void peer_key(struct bn_tuple *ret, const struct bn_tuple *key, const struct bn_flow *f)
{
	ret->saddr = f->to_daddr;
	ret->daddr = f->to_saddr;
	ret->sport = f->to_dport;
	ret->dport = f->to_sport;
	ret->protocol = key->protocol;
	ret->family = key->family;
	ret->pad = 0;
}

struct sweep {
	const struct bn_programs *p;
	uint32_t now;
	struct bn_tuple *gone;
	size_t n, cap;
	uint64_t seen;
};

static int collect(void *user, const void *key, const void *value)
{
	struct sweep *s = user;
	struct bn_flow f;
	struct bn_tuple t;

	s->seen++;
	memcpy(&t, key, sizeof(t));
	memcpy(&f, value, sizeof(f));
	if (!idle(s->p, &t, &f, s->now))
		return 0;
	if (s->n == s->cap) {
		size_t cap = s->cap ? s->cap * 2 : 256;
		struct bn_tuple *p = reallocarray(s->gone, cap, sizeof(*p));

		if (!p)
			return -ENOMEM;
		s->gone = p;
		s->cap = cap;
	}
	s->gone[s->n++] = t;
	return 0;
}

static void closed_event(struct bn_event *e, const struct bn_tuple *key, const struct bn_flow *f,
			 const struct bn_flow *r, const struct bn_programs *p, uint32_t now)
{
	memset(e, 0, sizeof(*e));
	e->header.version = BN_EVENT_VERSION;
	e->header.type = BN_EVENT_FLOW_CLOSED;
	e->header.size = sizeof(*e);
	e->cause = BN_CLOSE_EXPIRED;
	e->flags = f->flags;
	e->tuple = *key;
	e->to_saddr = f->to_saddr;
	e->to_daddr = f->to_daddr;
	e->to_sport = f->to_sport;
	e->to_dport = f->to_dport;
	e->service = f->service;
	e->backend = f->backend;
	e->state = f->state;
	e->duration = (uint32_t)((uint64_t)(now - f->created) * 1000 / p->hz);
	e->packets = f->packets;
	e->bytes = f->bytes;
	e->handshake = f->handshake;
	if (r) {
		e->reply_state = r->state;
		e->reply_packets = r->packets;
		e->reply_bytes = r->bytes;
	}
}

/* Both directions must be idle; the pair is removed together. */
static uint64_t remove_pair(struct sweep *s, const struct bn_tuple *key,
			    void (*closed)(void *, const struct bn_event *), void *user)
{
	int fd = s->p->maps[BN_MAP_bn_flows];
	struct bn_flow f, peer;
	struct bn_tuple other;
	struct bn_event event;
	bool has_peer;
	uint64_t n;

	if (bpf_map_lookup_elem(fd, key, &f) || !idle(s->p, key, &f, s->now))
		return 0;
	peer_key(&other, key, &f);
	has_peer = !bpf_map_lookup_elem(fd, &other, &peer);
	if (has_peer && !idle(s->p, &other, &peer, s->now))
		return 0;
	n = !bpf_map_delete_elem(fd, key);
	if (has_peer)
		n += !bpf_map_delete_elem(fd, &other);
	if (f.flags & BN_FLOW_ORIGIN) {
		closed_event(&event, key, &f, has_peer ? &peer : NULL, s->p, s->now);
		closed(user, &event);
	} else if (has_peer) {
		closed_event(&event, &other, &peer, &f, s->p, s->now);
		closed(user, &event);
	}
	return n;
}

int bn_sweep(const struct bn_programs *p, void (*closed)(void *user, const struct bn_event *event),
	     void *user, struct bn_sweep_result *ret)
{
	struct sweep s = {.p = p, .now = bn_jiffies(p)};
	uint64_t removed = 0;
	int r;

	r = bn_map_each(p->maps[BN_MAP_bn_flows], collect, &s);
	for (size_t i = 0; i < s.n; i++)
		removed += remove_pair(&s, &s.gone[i], closed, user);
	free(s.gone);
	if (r)
		return r;
	ret->removed = removed;
	ret->entries = s.seen - removed;
	return 0;
}

struct each {
	const struct bn_programs *p;
	uint32_t now;
	bn_flow_fn fn;
	void *user;
};

static int64_t to_ms(const struct bn_programs *p, int32_t jiffies)
{
	return (int64_t)jiffies * 1000 / p->hz;
}

static int each_established(void *user, const void *key, const void *value)
{
	struct each *e = user;
	struct bn_tuple t;
	struct bn_flow f;
	uint32_t until;

	memcpy(&t, key, sizeof(t));
	memcpy(&f, value, sizeof(f));
	until = f.last_seen + lifetime(e->p, &t, &f);
	return e->fn(e->user, &t, &f, to_ms(e->p, (int32_t)(until - e->now)), true);
}

static int each_transient(struct each *e)
{
	int fd = e->p->maps[BN_MAP_bn_transient];
	struct bn_transient_set *sets;
	struct bn_map_shape shape;
	int r;

	r = bn_map_shape(fd, &shape);
	if (r)
		return r;
	sets = calloc(SETS_PER_READ, sizeof(*sets));
	if (!sets)
		return -ENOMEM;
	for (uint32_t at = 0; at < shape.max_entries && !r; at += SETS_PER_READ) {
		uint32_t n = shape.max_entries - at;

		if (n > SETS_PER_READ)
			n = SETS_PER_READ;
		r = bn_array_read(fd, at, n, sets, BPF_F_LOCK);
		for (uint32_t i = 0; i < n && !r; i++) {
			for (int w = 0; w < BN_WAYS && !r; w++) {
				int32_t left = (int32_t)(sets[i].expires[w] - e->now);

				if (!sets[i].tag[w] || left < 0)
					continue;
				r = e->fn(e->user, &sets[i].entry[w].key, &sets[i].entry[w].flow,
					  to_ms(e->p, left), false);
			}
		}
	}
	free(sets);
	return r;
}

int bn_flows_each(const struct bn_programs *p, bn_flow_fn fn, void *user)
{
	struct each e = {.p = p, .now = bn_jiffies(p), .fn = fn, .user = user};
	int r;

	r = bn_map_each(p->maps[BN_MAP_bn_flows], each_established, &e);
	return r ? r : each_transient(&e);
}
