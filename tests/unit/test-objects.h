/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The rig of the objects tests: a state folder of its own and a datapath that keeps what it is
 * told as JSON, so that a test compares the outcome of any number of changes with one text.
 */
#pragma once

#include "objects/objects.h"
#include "lib/temp.h"

#include <errno.h>
#include <jansson.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
/* cmocka wants the headers above first */
#include <cmocka.h>

struct rig {
	char dir[BN_TEMP_MAX];
	struct bn_objects *objects;
	struct bn_cidr cidrs[4];
	size_t n_cidrs;
	uint32_t kinds;         /* frontends that the datapath takes; 0: all */
	uint16_t node_ports[2]; /* 0: the default */
	const char *held;       /* "10.0.0.1:80/6 0.0.0.0:53/17": sockets of the host */
	json_t *services;       /* "ns/name": {"10.96.0.1:80/6": ["10.0.0.1:8080", ...]} */
	json_t *peers;          /* "10.0.0.1": kind */
	json_t *pods;           /* names given to pod_changed */
	unsigned commits, services_told, peers_told;
	int fail; /* what commit returns next */
	/* sees what is committed, if set */
	void (*told)(void *user, const struct bn_change *change);
	void *told_user;
};

static inline json_t *rig_frontends(const struct bn_service_spec *service)
{
	static const char *const states[] = {"?", "", " terminating", " not ready"};
	json_t *frontends = json_object();

	for (size_t i = 0; i < service->n_frontends; i++) {
		const struct bn_frontend_spec *f = &service->frontends[i];
		char key[128], addr[BN_ADDR_STRLEN];
		json_t *backends = json_array();

		for (size_t k = 0; k < f->n_backends; k++) {
			const struct bn_backend_spec *b = &f->backends[k];
			char text[128];

			assert_int_equal(bn_addr_family(&b->addr), bn_addr_family(&f->addr));
			snprintf(text, sizeof(text), "%s:%u%s", bn_addr_format(&b->addr, addr),
				 b->port, states[b->state]);
			json_array_append_new(backends, json_string(text));
		}
		snprintf(key, sizeof(key), "%s:%u/%u", bn_addr_format(&f->addr, addr), f->port,
			 f->protocol);
		json_object_set_new(frontends, key, backends);
	}
	return frontends;
}

static inline int rig_commit(void *user, const struct bn_change *change, struct bn_error *err)
{
	struct rig *rig = user;
	char key[600], addr[BN_ADDR_STRLEN];

	if (rig->fail)
		return bn_error_set(err, rig->fail, "the datapath is full");
	rig->commits++;
	if (rig->told)
		rig->told(rig->told_user, change);
	rig->services_told += change->n_services + change->n_removed;
	rig->peers_told += change->n_peers + change->n_peers_removed;
	for (size_t i = 0; i < change->n_services; i++) {
		snprintf(key, sizeof(key), "%s/%s", change->services[i].namespace,
			 change->services[i].name);
		json_object_set_new(rig->services, key, rig_frontends(&change->services[i]));
	}
	for (size_t i = 0; i < change->n_removed; i++) {
		snprintf(key, sizeof(key), "%s/%s", change->removed[i].namespace,
			 change->removed[i].name);
		assert_int_equal(json_object_del(rig->services, key), 0);
	}
	for (size_t i = 0; i < change->n_peers; i++)
		json_object_set_new(rig->peers, bn_addr_format(&change->peers[i].addr, addr),
				    json_integer(change->peers[i].kind));
	for (size_t i = 0; i < change->n_peers_removed; i++)
		assert_int_equal(json_object_del(rig->peers,
						 bn_addr_format(&change->peers_removed[i], addr)),
				 0);
	return 0;
}

static inline void rig_pod_changed(void *user, const char *namespace, const char *name)
{
	struct rig *rig = user;
	char text[600];

	snprintf(text, sizeof(text), "%s/%s", namespace, name);
	json_array_append_new(rig->pods, json_string(text));
}

static inline bool rig_host_port_free(void *user, const union bn_addr *addr, uint16_t port,
				      uint8_t protocol)
{
	const struct rig *rig = user;
	char text[80], buf[BN_ADDR_STRLEN];

	snprintf(text, sizeof(text), "%s:%u/%u", bn_addr_format(addr, buf), port, protocol);
	return !rig->held || !strstr(rig->held, text);
}

static inline int rig_try_open(struct rig *rig, struct bn_error *err)
{
	struct bn_objects_config config = {
		.state_dir = rig->dir,
		.node_name = "node-a",
		.service_cidrs = rig->cidrs,
		.n_service_cidrs = rig->n_cidrs,
		.node_port_min = rig->node_ports[0],
		.node_port_max = rig->node_ports[1],
		.frontend_kinds = rig->kinds,
		.commit = rig_commit,
		.pod_changed = rig_pod_changed,
		.host_port_free = rig_host_port_free,
		.user = rig,
	};

	return bn_objects_new(&config, &rig->objects, err);
}

static inline void rig_open(struct rig *rig)
{
	struct bn_error err = BN_ERROR_INIT;

	rig->services = json_object();
	rig->peers = json_object();
	rig->pods = json_array();
	if (rig_try_open(rig, &err) < 0 || bn_objects_start(rig->objects, &err) < 0)
		fail_msg("%s", bn_error_text(&err));
}

static inline void rig_close(struct rig *rig)
{
	bn_objects_free(rig->objects);
	rig->objects = NULL;
	json_decref(rig->services);
	json_decref(rig->peers);
	json_decref(rig->pods);
}

static inline void rig_reopen(struct rig *rig)
{
	rig_close(rig);
	rig_open(rig);
}

static inline void rig_setup_cidrs(struct rig *rig, const char *const *cidrs)
{
	*rig = (struct rig){0};
	assert_non_null(bn_temp_dir(rig->dir, "objects"));
	for (; *cidrs; cidrs++)
		assert_int_equal(bn_cidr_parse(*cidrs, &rig->cidrs[rig->n_cidrs++]), 0);
	rig_open(rig);
}

static inline void rig_setup(struct rig *rig)
{
	rig_setup_cidrs(rig, (const char *const[]){"10.96.0.0/16", "fd00:96::/112", NULL});
}

static inline void rig_teardown(struct rig *rig)
{
	char path[128];
	static const char *const files[] = {"objects.db", "objects.db-wal", "objects.db-shm"};

	rig_close(rig);
	for (size_t i = 0; i < 3; i++) {
		snprintf(path, sizeof(path), "%s/%s", rig->dir, files[i]);
		unlink(path);
	}
	rmdir(rig->dir);
}

/* Returns the results as "service default/web created", one a line, or NULL and the error. */
static inline char *rig_run(struct rig *rig, bool delete, const char *text, size_t size,
			    struct bn_error *err)
{
	struct bn_input input = {.file = "in", .text = text, .size = size};
	json_t *results = NULL, *one;
	char *out = NULL;
	size_t i, n = 0;
	FILE *f;
	int r;

	r = delete ? bn_objects_delete(rig->objects, &input, 1, &results, err)
		   : bn_objects_apply(rig->objects, &input, 1, &results, err);
	if (r < 0) {
		assert_null(results);
		return NULL;
	}
	f = open_memstream(&out, &n);
	json_array_foreach(results, i, one) {
		const char *ns = json_string_value(json_object_get(one, "namespace"));

		fprintf(f, "%s%s %s%s%s %s", i ? "\n" : "",
			json_string_value(json_object_get(one, "kind")), ns ? ns : "",
			ns ? "/" : "", json_string_value(json_object_get(one, "name")),
			json_string_value(json_object_get(one, "result")));
	}
	fclose(f);
	json_decref(results);
	return out;
}

static inline void rig_expect(struct rig *rig, bool delete, const char *text, const char *results)
{
	struct bn_error err = BN_ERROR_INIT;
	char *out = rig_run(rig, delete, text, strlen(text), &err);

	if (!out)
		fail_msg("%s", bn_error_text(&err));
	if (results)
		assert_string_equal(out, results);
	free(out);
}

#define rig_apply(rig, text, results) rig_expect(rig, false, text, results)
#define rig_delete(rig, text, results) rig_expect(rig, true, text, results)

static inline void rig_refuse(struct rig *rig, const char *text, const char *message)
{
	struct bn_error err = BN_ERROR_INIT;
	unsigned commits = rig->commits;
	char *out = rig_run(rig, false, text, strlen(text), &err);

	if (out)
		fail_msg("accepted, instead of: %s", message);
	assert_string_equal(bn_error_text(&err), message);
	assert_null(strchr(err.text, '\n'));
	assert_int_equal(rig->commits, commits);
	bn_error_done(&err);
}

static inline void rig_json(const json_t *is, const char *should)
{
	json_t *want = json_loads(should, JSON_DECODE_ANY, NULL);

	assert_non_null(want);
	if (!json_equal(is, want)) {
		char *text = json_dumps(is, JSON_SORT_KEYS | JSON_ENCODE_ANY);

		print_error("is     %s\nshould %s\n", text, should);
		free(text);
		fail();
	}
	json_decref(want);
}

static inline json_t *rig_get(struct rig *rig, const char *kind, const char *ns, const char *name)
{
	struct bn_error err = BN_ERROR_INIT;
	json_t *list = NULL;

	if (bn_objects_get(rig->objects, kind, ns, name, &list, &err) < 0)
		fail_msg("%s", bn_error_text(&err));
	return list;
}

static inline union bn_addr rig_addr(const char *text)
{
	union bn_addr addr;

	assert_int_equal(bn_addr_parse(text, &addr, NULL), 0);
	return addr;
}

/* A service as text: a line a frontend, with the backends and what they get ("C", "L": weight). */
static inline void rig_print_backends(FILE *f, const struct bn_backend_spec *backends, size_t n)
{
	static const char *const states[] = {"?", "", " terminating", " not-ready"};
	char addr[BN_ADDR_STRLEN];

	for (size_t i = 0; i < n; i++) {
		const struct bn_backend_spec *b = &backends[i];

		fprintf(f, " %s:%u%s%s", bn_addr_format(&b->addr, addr), b->port,
			b->local ? " local" : "", states[b->state]);
		if (b->use & BN_USE_CLUSTER)
			fprintf(f, " C%u", b->weight);
		if (b->use & BN_USE_LOCAL)
			fprintf(f, " L%u", b->local_weight);
		fputs(i + 1 < n ? "," : "", f);
	}
	fputc('\n', f);
}

static inline int rig_print_service(void *user, const struct bn_service_spec *s)
{
	static const char *const kinds[] = {"ClusterIP", "NodePort", "LoadBalancer", "ExternalIP",
					    "HostPort"};
	char addr[BN_CIDR_STRLEN];
	FILE *f = user;

	for (size_t i = 0; i < s->n_frontends; i++) {
		const struct bn_frontend_spec *fs = &s->frontends[i];

		fprintf(f, "%s %s:%u/%u", kinds[fs->kind], bn_addr_format(&fs->addr, addr),
			fs->port, fs->protocol);
		if (fs->affinity_seconds)
			fprintf(f, " affinity %u", fs->affinity_seconds);
		fprintf(f, "%s%s%s", fs->local_inside ? " inside-local" : "",
			fs->local_outside ? " outside-local" : "",
			fs->consistent ? " consistent" : "");
		if (fs->restricted) {
			fputs(" from", f);
			for (size_t k = 0; k < fs->n_source_ranges; k++)
				fprintf(f, " %s", bn_cidr_format(&fs->source_ranges[k], addr));
		}
		fputs(" ->", f);
		rig_print_backends(f, fs->backends, fs->n_backends);
	}
	for (size_t i = 0; i < s->n_headless; i++) {
		fprintf(f, "headless %s/%u ->",
			s->headless[i].port_name ? s->headless[i].port_name : "",
			s->headless[i].protocol);
		rig_print_backends(f, s->headless[i].backends, s->headless[i].n_backends);
	}
	if (s->health_port)
		fprintf(f, "health %u: %zu\n", s->health_port, s->local_ready);
	return 0;
}

static inline void rig_service(struct rig *rig, const char *name, const char *want)
{
	char *text = NULL;
	size_t n = 0;
	FILE *f = open_memstream(&text, &n);
	int r = bn_objects_service(rig->objects, "default", name, rig_print_service, f);

	fclose(f);
	assert_int_equal(r, 0);
	assert_string_equal(text, want);
	free(text);
}
