// SPDX-License-Identifier: Apache-2.0
/*
 * `apply` and `delete`: the client reads the files, so that paths mean what they mean to who
 * typed them, and sends names and bytes in one request; the agent does it all or nothing.
 */
#include <bpfnet/control.h>
#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "client.h"
#include "output.h"
#include "text.h"

struct manifests {
	const char *verb; /* for messages */
	json_t *names;    /* [{name, size}] */
	struct iovec *texts;
	size_t n;
	size_t capacity;
	size_t bytes;
};

static void manifests_done(struct manifests *m)
{
	for (size_t i = 0; i < m->n; i++)
		free(m->texts[i].iov_base);
	free(m->texts);
	json_decref(m->names);
}

/* Takes text over. */
static int manifests_add(struct manifests *m, const char *name, char *text, size_t size)
{
	json_t *file;

	m->bytes += size;
	if (m->n == m->capacity) {
		size_t capacity = m->capacity ? 2 * m->capacity : 16;
		struct iovec *texts = realloc(m->texts, capacity * sizeof(*texts));

		if (!texts) {
			free(text);
			return bn_fail("out of memory");
		}
		m->texts = texts;
		m->capacity = capacity;
	}
	m->texts[m->n++] = (struct iovec){.iov_base = text, .iov_len = size};
	file = json_pack("{s:s,s:I}", "name", name, "size", (json_int_t)size);
	if (!file)
		return bn_fail("can't %s '%s': the file's name is not UTF-8", m->verb, name);
	return json_array_append_new(m->names, file) < 0 ? bn_fail("out of memory") : 0;
}

static int read_file(struct manifests *m, const char *name, int fd)
{
	size_t capacity = 64u << 10, size = 0;
	char *text = malloc(capacity);
	ssize_t n = 1;

	while (text && n > 0) {
		if (m->bytes + size > BN_CONTROL_BODY_MAX) {
			free(text);
			return bn_fail("can't %s '%s': more than %u MiB of manifests in one call; "
				       "split them",
				       m->verb, name, BN_CONTROL_BODY_MAX >> 20);
		}
		if (size == capacity) {
			char *larger = realloc(text, capacity * 2);

			if (!larger)
				break;
			text = larger;
			capacity *= 2;
		}
		n = read(fd, text + size, capacity - size);
		if (n < 0 && errno == EINTR) {
			free(text);
			return bn_fail("can't read '%s': interrupted", name);
		}
		if (n < 0) {
			free(text);
			return bn_fail("can't read '%s': %s", name, strerror(errno));
		}
		size += (size_t)n;
	}
	if (!text || n > 0) {
		free(text);
		return bn_fail("can't read '%s': out of memory", name);
	}
	return manifests_add(m, name, text, size);
}

static int is_manifest(const struct dirent *e)
{
	const char *dot = strrchr(e->d_name, '.');

	return e->d_name[0] != '.' && dot &&
	       (strcmp(dot, ".yaml") == 0 || strcmp(dot, ".yml") == 0 || strcmp(dot, ".json") == 0);
}

static int read_path(struct manifests *m, const char *path);

static int read_folder(struct manifests *m, const char *path)
{
	struct dirent **entries;
	int n = scandir(path, &entries, is_manifest, alphasort);
	int r = 0;

	if (n < 0)
		return bn_fail("can't read the folder '%s': %s", path, strerror(errno));
	if (n == 0)
		r = bn_fail("can't %s '%s': the folder has no *.yaml, *.yml or *.json", m->verb,
			    path);
	for (int i = 0; i < n; i++) {
		char *name = NULL;

		if (!r && asprintf(&name, "%s/%s", path, entries[i]->d_name) < 0)
			r = bn_fail("out of memory");
		else if (!r)
			r = read_path(m, name);
		free(name);
		free(entries[i]);
	}
	free(entries);
	return r;
}

static int read_path(struct manifests *m, const char *path)
{
	struct stat st;
	int fd, r;

	if (strcmp(path, "-") == 0)
		return read_file(m, "-", STDIN_FILENO);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return bn_fail("can't open '%s': %s", path, strerror(errno));
	if (fstat(fd, &st) == 0 && S_ISDIR(st.st_mode))
		r = read_folder(m, path);
	else
		r = read_file(m, path, fd);
	close(fd);
	return r;
}

/* `service/default/web created`, as kubectl, with the namespace. */
static int print_changes(const json_t *result)
{
	const json_t *o;
	size_t i;

	json_array_foreach(result, i, o) {
		const char *kind = json_string_value(json_object_get(o, "kind"));
		const char *namespace = json_string_value(json_object_get(o, "namespace"));
		const char *name = json_string_value(json_object_get(o, "name"));
		const char *what = json_string_value(json_object_get(o, "result"));

		for (const char *p = kind ? kind : "object"; *p; p++)
			putchar(tolower((unsigned char)*p));
		putchar('/');
		if (namespace && *namespace) {
			bn_text_clean(stdout, namespace);
			putchar('/');
		}
		bn_text_clean(stdout, name ? name : "-");
		putchar(' ');
		bn_text_clean(stdout, what ? what : "-");
		putchar('\n');
	}
	return BN_EXIT_DONE;
}

static int run(struct bn_call *call, const char *method)
{
	struct manifests m = {.verb = method, .names = json_array()};
	json_t *params = NULL, *result = NULL;
	struct bn_ask ask;
	int r = 0;

	if (call->n_values == 0) {
		r = bn_call_usage(call, "which manifests? -f FILE is missing");
		goto out;
	}
	for (size_t i = 0; i < call->n_values && !r; i++)
		r = read_path(&m, call->values[i].value);
	if (r)
		goto out;
	params = json_pack("{s:O}", "files", m.names);
	ask = (struct bn_ask)BN_ASK(method, params);
	ask.body = m.texts;
	ask.n_body = m.n;
	r = bn_client_ask(call, &ask, &result);
	if (!r)
		r = bn_output_is_table(call) ? print_changes(result)
					     : bn_output(call, NULL, result);
out:
	json_decref(result);
	json_decref(params);
	manifests_done(&m);
	return r;
}

int bn_cmd_apply(struct bn_call *call)
{
	return run(call, "apply");
}

int bn_cmd_delete(struct bn_call *call)
{
	return run(call, "delete");
}
