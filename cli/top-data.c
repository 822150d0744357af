// SPDX-License-Identifier: Apache-2.0
/*
 * What `top` adds up. Invariant: `seen` of a connection is what of it has been added to its rows, so
 * whichever of table and records tells of it first, the rest is the difference.
 */
#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "top.h"

#define HASH_NONFATAL_OOM 1
#include <uthash.h>
#undef uthash_nonfatal_oom
#define uthash_nonfatal_oom(element) ((element)->lost = true)

#define IDLE_MAX 10 /* intervals after which a row without flows goes */
#define KEY_MAX 700

struct counts {
	uint64_t opened, packets, bytes, reply_bytes, drops;
};

struct row {
	struct bn_top_row shown;
	struct counts now; /* of the interval that runs */
	uint64_t flows;    /* of the reading that runs */
	uint64_t drops;    /* since the start */
	unsigned int idle;
	bool lost; /* could not be put into the table */
	char *last;
	UT_hash_handle hh;
	char key[]; /* name, and behind its NUL the other */
};

struct conn {
	uint64_t packets, bytes, reply_bytes; /* seen */
	unsigned int reading;
	bool lost;
	UT_hash_handle hh;
	char key[];
};

struct name {
	bool lost;
	UT_hash_handle hh;
	char *text;
	char key[];
};

struct bn_top {
	struct row *rows[BN_TOP_VIEWS];
	struct conn *conns;
	struct name *names;
	unsigned int reading; /* 0: none yet */
};

const char *const bn_top_views[BN_TOP_VIEWS] = {"talkers", "services", "drops"};
const char *const bn_top_sorts[BN_TOP_SORTS] = {"flows", "new",     "packets", "out",
						"in",    "dropped", "total",   "name"};

bool bn_top_has(enum bn_top_view view, enum bn_top_column column)
{
	if (view == BN_TOP_DROPS)
		return column >= BN_TOP_DROPPED;
	return column != BN_TOP_TOTAL;
}

struct bn_top *bn_top_new(void)
{
	return calloc(1, sizeof(struct bn_top));
}

static void row_free(struct row *r)
{
	free(r->last);
	free(r);
}

void bn_top_free(struct bn_top *t)
{
	struct row *r, *next_r;
	struct conn *c, *next_c;
	struct name *n, *next_n;

	if (!t)
		return;
	for (int v = 0; v < BN_TOP_VIEWS; v++) {
		HASH_ITER(hh, t->rows[v], r, next_r) {
			HASH_DEL(t->rows[v], r);
			row_free(r);
		}
	}
	HASH_ITER(hh, t->conns, c, next_c) {
		HASH_DEL(t->conns, c);
		free(c);
	}
	HASH_ITER(hh, t->names, n, next_n) {
		HASH_DEL(t->names, n);
		free(n->text);
		free(n);
	}
	free(t);
}

static const char *text_of(const json_t *o, const char *key)
{
	return json_string_value(json_object_get(o, key));
}

static uint64_t count_of(const json_t *o, const char *key)
{
	json_int_t n = json_integer_value(json_object_get(o, key));

	return n > 0 ? (uint64_t)n : 0;
}

/* ---- names ---- */

static void set_name(struct bn_top *t, const char *ip, const char *text)
{
	struct name *n = NULL;
	char *copy;

	HASH_FIND_STR(t->names, ip, n);
	if (n && !strcmp(n->text, text))
		return;
	copy = strdup(text);
	if (!copy)
		return;
	if (!n) {
		n = calloc(1, sizeof(*n) + strlen(ip) + 1);
		if (!n) {
			free(copy);
			return;
		}
		strcpy(n->key, ip);
		HASH_ADD_STR(t->names, key, n);
		if (n->lost) {
			free(n);
			free(copy);
			return;
		}
	}
	free(n->text);
	n->text = copy;
}

static const char *name_of(struct bn_top *t, const char *ip)
{
	struct name *n = NULL;

	if (!ip)
		return "-";
	HASH_FIND_STR(t->names, ip, n);
	return n ? n->text : ip;
}

void bn_top_endpoints(struct bn_top *t, const json_t *endpoints)
{
	const json_t *e, *ip;
	size_t i, k;

	json_array_foreach(endpoints, i, e) {
		char name[KEY_MAX];

		if (!text_of(e, "namespace") || !text_of(e, "pod"))
			continue;
		snprintf(name, sizeof(name), "%s/%s", text_of(e, "namespace"), text_of(e, "pod"));
		json_array_foreach(json_object_get(e, "ips"), k, ip) {
			if (json_is_string(ip))
				set_name(t, json_string_value(ip), name);
		}
	}
}

/* ---- rows ---- */

static struct row *row_of(struct bn_top *t, enum bn_top_view view, const char *name,
			  const char *other)
{
	const size_t n = strlen(name) + 1, m = other ? strlen(other) + 1 : 0;
	char key[2 * KEY_MAX];
	struct row *r = NULL;

	if (n > KEY_MAX || m > KEY_MAX)
		return NULL;
	memcpy(key, name, n);
	if (m)
		memcpy(key + n, other, m);
	HASH_FIND(hh, t->rows[view], key, n + m, r);
	if (r)
		return r;
	r = calloc(1, sizeof(*r) + n + m);
	if (!r)
		return NULL;
	memcpy(r->key, key, n + m);
	r->shown.name = r->key;
	r->shown.other = m ? r->key + n : NULL;
	HASH_ADD(hh, t->rows[view], key[0], n + m, r);
	if (r->lost) {
		free(r);
		return NULL;
	}
	return r;
}

static struct conn *conn_of(struct bn_top *t, const char *key)
{
	struct conn *c = NULL;

	HASH_FIND_STR(t->conns, key, c);
	if (c)
		return c;
	c = calloc(1, sizeof(*c) + strlen(key) + 1);
	if (!c)
		return NULL;
	strcpy(c->key, key);
	c->reading = t->reading;
	HASH_ADD_STR(t->conns, key, c);
	if (c->lost) {
		free(c);
		return NULL;
	}
	return c;
}

static uint64_t grown(uint64_t *seen, uint64_t now)
{
	/* less than before: a new flow on the same ports */
	const uint64_t by = now >= *seen ? now - *seen : now;

	*seen = now;
	return by;
}

/* What a connection has carried by now goes to the rows that it belongs to. */
static void carry(struct bn_top *t, struct conn *c, struct row *const rows[2], uint64_t packets,
		  uint64_t bytes, uint64_t reply_bytes, bool count)
{
	const uint64_t p = grown(&c->packets, packets), b = grown(&c->bytes, bytes),
		       r = grown(&c->reply_bytes, reply_bytes);

	for (int i = 0; i < 2 && count; i++) {
		if (!rows[i])
			continue;
		rows[i]->now.packets += p;
		rows[i]->now.bytes += b;
		rows[i]->now.reply_bytes += r;
	}
}

/* Both tables' words for a connection: protocol, source, final destination. */
static void conn_key(char buf[KEY_MAX], const char *protocol, const char *source,
		     json_int_t source_port, const char *destination, json_int_t destination_port)
{
	snprintf(buf, KEY_MAX, "%.16s %.64s %lld %.64s %lld", protocol, source,
		 (long long)source_port, destination, (long long)destination_port);
	for (char *p = buf; *p && *p != ' '; p++)
		*p = (char)tolower((unsigned char)*p);
}

/* ---- the table ---- */

void bn_top_begin(struct bn_top *t)
{
	struct row *r, *next;

	t->reading++;
	for (int v = 0; v < BN_TOP_VIEWS; v++) {
		HASH_ITER(hh, t->rows[v], r, next)
			r->flows = 0;
	}
}

void bn_top_conn(struct bn_top *t, const json_t *o)
{
	const char *protocol = text_of(o, "protocol"), *source = text_of(o, "source");
	const char *to = text_of(o, "to_destination"), *service = text_of(o, "service");
	const char *port = to ? "to_destination_port" : "destination_port";
	struct row *rows[2] = {0};
	char key[KEY_MAX];
	struct conn *c;
	bool first;

	if (!to)
		to = text_of(o, "destination");
	if (!protocol || !source || !to)
		return;
	conn_key(key, protocol, source, json_integer_value(json_object_get(o, "source_port")), to,
		 json_integer_value(json_object_get(o, port)));
	rows[0] = row_of(t, BN_TOP_TALKERS, name_of(t, source), name_of(t, to));
	rows[1] = service ? row_of(t, BN_TOP_SERVICES, service, NULL) : NULL;
	c = conn_of(t, key);
	if (!c)
		return;
	/* what was carried before the first reading was not carried now */
	first = t->reading <= 1;
	c->reading = t->reading;
	carry(t, c, rows, count_of(o, "packets"), count_of(o, "bytes"), count_of(o, "reply_bytes"),
	      !first);
	for (int i = 0; i < 2; i++) {
		if (rows[i])
			rows[i]->flows++;
	}
}

static void row_end(struct row *r, double seconds)
{
	const struct counts *n = &r->now;
	double *v = r->shown.value;

	v[BN_TOP_FLOWS] = (double)r->flows;
	v[BN_TOP_NEW] = (double)n->opened / seconds;
	v[BN_TOP_PACKETS] = (double)n->packets / seconds;
	v[BN_TOP_OUT] = (double)n->bytes / seconds;
	v[BN_TOP_IN] = (double)n->reply_bytes / seconds;
	v[BN_TOP_DROPPED] = (double)n->drops / seconds;
	v[BN_TOP_TOTAL] = (double)r->drops;
	r->idle = r->flows || n->opened || n->packets || n->reply_bytes || n->drops ? 0
										    : r->idle + 1;
	memset(&r->now, 0, sizeof(r->now));
	r->shown.last = r->last;
}

void bn_top_end(struct bn_top *t, double seconds)
{
	struct row *r, *next;
	struct conn *c, *next_c;

	for (int v = 0; v < BN_TOP_VIEWS; v++) {
		HASH_ITER(hh, t->rows[v], r, next) {
			row_end(r, seconds > 0 ? seconds : 1);
			if (r->idle <= IDLE_MAX || v == BN_TOP_DROPS)
				continue;
			HASH_DEL(t->rows[v], r);
			row_free(r);
		}
	}
	/* one that ended since the last reading is kept for one more: it may still be read */
	HASH_ITER(hh, t->conns, c, next_c) {
		if (t->reading - c->reading < 2)
			continue;
		HASH_DEL(t->conns, c);
		free(c);
	}
}

/* ---- records ---- */

/* NS/POD, the node's name or the address; names of what can't lie are learnt. */
static const char *end_name(struct bn_top *t, const json_t *flow, bool source, bool learn,
			    char buf[KEY_MAX])
{
	const json_t *end = json_object_get(flow, source ? "source" : "destination");
	const char *ip = text_of(json_object_get(flow, "IP"), source ? "source" : "destination");
	const char *pod = text_of(end, "pod_name"), *node = text_of(end, "node_name");

	if (pod && *pod)
		snprintf(buf, KEY_MAX, "%s/%s",
			 text_of(end, "namespace") ? text_of(end, "namespace") : "", pod);
	else if (node && *node)
		snprintf(buf, KEY_MAX, "%s", node);
	else
		return name_of(t, ip);
	if (learn && ip)
		set_name(t, ip, buf);
	return buf;
}

static struct row *service_row(struct bn_top *t, const json_t *flow)
{
	const json_t *service = json_object_get(flow, "destination_service");
	char name[KEY_MAX];

	if (!text_of(service, "name"))
		return NULL;
	snprintf(name, sizeof(name), "%s/%s",
		 text_of(service, "namespace") ? text_of(service, "namespace") : "",
		 text_of(service, "name"));
	return row_of(t, BN_TOP_SERVICES, name, NULL);
}

/* What of a flow that ended no reading has seen. Protocols without ports are left to the readings. */
static void closed(struct bn_top *t, const json_t *flow, struct row *const rows[2])
{
	const json_t *ip = json_object_get(flow, "IP"), *l4 = json_object_get(flow, "l4"), *ports;
	const char *protocol;
	char key[KEY_MAX];
	struct conn *c;

	json_object_foreach((json_t *)l4, protocol, ports) {
		if (!text_of(ip, "source") || !text_of(ip, "destination") ||
		    !json_object_get(ports, "source_port"))
			return;
		conn_key(key, protocol, text_of(ip, "source"),
			 json_integer_value(json_object_get(ports, "source_port")),
			 text_of(ip, "destination"),
			 json_integer_value(json_object_get(ports, "destination_port")));
		c = conn_of(t, key);
		if (c)
			carry(t, c, rows, count_of(flow, "packets"), count_of(flow, "bytes"),
			      count_of(flow, "reply_bytes"), true);
		return;
	}
}

static void dropped(struct bn_top *t, const json_t *flow, struct row *const rows[2],
		    const char *from, const char *to)
{
	const char *reason = text_of(flow, "drop_reason_desc");
	struct row *all[3] = {rows[0], rows[1],
			      row_of(t, BN_TOP_DROPS, reason ? reason : "unknown", NULL)};

	for (int i = 0; i < 3; i++) {
		if (!all[i])
			continue;
		all[i]->now.drops++;
		all[i]->drops++;
	}
	if (!all[2])
		return;
	free(all[2]->last);
	if (asprintf(&all[2]->last, "%s -> %s", from, to) < 0)
		all[2]->last = NULL;
	all[2]->shown.last = all[2]->last;
}

void bn_top_flow(struct bn_top *t, const json_t *flow)
{
	const char *event = text_of(flow, "event_type");
	const bool drop = event && !strcmp(event, "drop");
	char from[KEY_MAX], to[KEY_MAX];
	struct row *rows[2];
	const char *a, *b;

	if (!event)
		return;
	a = end_name(t, flow, true, !drop, from);
	b = end_name(t, flow, false, !drop, to);
	rows[0] = row_of(t, BN_TOP_TALKERS, a, b);
	rows[1] = service_row(t, flow);
	if (drop) {
		dropped(t, flow, rows, a, b);
	} else if (!strcmp(event, "closed")) {
		closed(t, flow, rows);
	} else if (!strcmp(event, "opened")) {
		for (int i = 0; i < 2; i++) {
			if (rows[i])
				rows[i]->now.opened++;
		}
	}
}

/* ---- sorted ---- */

struct order {
	enum bn_top_column sort;
	bool turned;
};

static int by_name(const struct bn_top_row *a, const struct bn_top_row *b)
{
	const int r = strcmp(a->name, b->name);

	return r || !a->other || !b->other ? r : strcmp(a->other, b->other);
}

static int compare(const void *x, const void *y, void *user)
{
	const struct bn_top_row *a = *(const struct bn_top_row *const *)x;
	const struct bn_top_row *b = *(const struct bn_top_row *const *)y;
	const struct order *o = user;
	int r = 0;

	if (o->sort < BN_TOP_COLUMNS)
		r = (a->value[o->sort] < b->value[o->sort]) -
		    (a->value[o->sort] > b->value[o->sort]);
	if (!r)
		r = by_name(a, b);
	return o->turned ? -r : r;
}

const struct bn_top_row **bn_top_rows(struct bn_top *t, enum bn_top_view view,
				      enum bn_top_column sort, bool turned, size_t *ret_n)
{
	const struct bn_top_row **list;
	struct order order = {sort, turned};
	struct row *r, *next;
	size_t n = 0;

	*ret_n = 0;
	list = calloc(HASH_COUNT(t->rows[view]) + 1, sizeof(*list));
	if (!list)
		return NULL;
	HASH_ITER(hh, t->rows[view], r, next)
		list[n++] = &r->shown;
	qsort_r(list, n, sizeof(*list), compare, &order);
	*ret_n = n;
	return list;
}
