// SPDX-License-Identifier: Apache-2.0
/*
 * Invariant: a line is in the file before its number is given out. A free number waits for one
 * turn at least; among those that may be used again, the one that is free longest comes first.
 */
#include "policy/registry.h"

#include "error.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>
#include <sys/stat.h>
#include <unistd.h>

#define HASH_NONFATAL_OOM 1
#include <uthash.h>

#define REGISTRY_SLACK 4096 /* lines that say nothing any more before the file is written anew */

struct entry {
	UT_hash_handle hh;
	uint32_t number;
	uint32_t references;
	char text[];
};

struct free_number {
	STAILQ_ENTRY(free_number) next;
	uint32_t number, turn;
};

struct bn_registry {
	struct entry *by_text;
	struct entry **by_number; /* from `first` */
	STAILQ_HEAD(, free_number) free;
	const char *what;
	char *path;
	int fd;
	uint32_t first, limit, top; /* top: the first number never used */
	uint32_t turn, lines;
	bool frozen;
};

static struct entry *find(const struct bn_registry *r, uint32_t number)
{
	return number >= r->first && number < r->limit ? r->by_number[number - r->first] : NULL;
}

static void forget(struct bn_registry *r, struct entry *e)
{
	r->by_number[e->number - r->first] = NULL;
	HASH_DEL(r->by_text, e);
	free(e);
}

static int insert(struct bn_registry *r, uint32_t number, const char *text, struct entry **ret)
{
	size_t n = strlen(text);
	struct entry *e = calloc(1, sizeof(*e) + n + 1);

	if (!e)
		return -ENOMEM;
	e->number = number;
	memcpy(e->text, text, n);
	HASH_ADD(hh, r->by_text, text[0], n, e);
	if (!e->hh.tbl) {
		free(e);
		return -ENOMEM;
	}
	r->by_number[number - r->first] = e;
	if (number >= r->top)
		r->top = number + 1;
	*ret = e;
	return 0;
}

static void drop(struct bn_registry *r, struct entry *e)
{
	struct free_number *f = calloc(1, sizeof(*f));

	/* without memory the number is lost until a restart */
	if (f) {
		f->number = e->number;
		f->turn = r->turn;
		STAILQ_INSERT_TAIL(&r->free, f, next);
	}
	forget(r, e);
}

/* A whole line or none, since the next one would be read as its end. */
static int say(struct bn_registry *r, const char *line, size_t n)
{
	ssize_t done = write(r->fd, line, n);
	struct stat st;

	if (done == (ssize_t)n) {
		r->lines++;
		return 0;
	}
	if (done < 0)
		return -errno;
	if (fstat(r->fd, &st) || ftruncate(r->fd, st.st_size - done))
		return -errno;
	return -EIO;
}

/* What is free is known when all lines are read. */
static int load_line(struct bn_registry *r, char *line)
{
	struct entry *e;
	uint32_t number;
	const char *text;
	int at = 0;

	if ((line[0] != '+' && line[0] != '-') ||
	    sscanf(line + 1, "%" SCNu32 " %n", &number, &at) != 1 || number < r->first ||
	    number >= r->limit)
		return 0;
	e = find(r, number);
	if (e)
		forget(r, e);
	text = line + 1 + at;
	if (line[0] == '-' || !*text)
		return 0;
	/* where it could not be said that its old number went */
	HASH_FIND(hh, r->by_text, text, strlen(text), e);
	if (e)
		forget(r, e);
	return insert(r, number, text, &e);
}

static int load(struct bn_registry *r)
{
	FILE *f = fopen(r->path, "re");
	char *line = NULL;
	size_t room = 0;
	ssize_t n;
	int result = 0;

	if (!f)
		return errno == ENOENT ? 0 : -errno;
	while (!result && (n = getline(&line, &room, f)) > 0) {
		/* half a line is what a kill left, of a number that nobody has got */
		if (line[n - 1] != '\n')
			break;
		line[n - 1] = 0;
		result = load_line(r, line);
	}
	if (!result && ferror(f))
		result = -EIO;
	free(line);
	fclose(f);
	return result;
}

/* The file as short as it can be, in place of what it was. */
static int rewrite(struct bn_registry *r)
{
	char fresh[4096];
	int fd, copy, result = 0;
	FILE *f;

	snprintf(fresh, sizeof(fresh), "%s.tmp", r->path);
	fd = open(fresh, O_WRONLY | O_CREAT | O_TRUNC | O_APPEND | O_CLOEXEC, 0666);
	if (fd < 0)
		return -errno;
	copy = fcntl(fd, F_DUPFD_CLOEXEC, 0);
	f = copy < 0 ? NULL : fdopen(copy, "w");
	if (!f) {
		result = -errno;
		if (copy >= 0)
			close(copy);
		goto fail;
	}
	for (uint32_t i = r->first; i < r->top; i++) {
		const struct entry *e = find(r, i);

		if (e)
			fprintf(f, "+%" PRIu32 " %s\n", i, e->text);
	}
	if (fflush(f) || ferror(f))
		result = -EIO;
	fclose(f);
	if (!result && rename(fresh, r->path))
		result = -errno;
	if (result)
		goto fail;
	if (r->fd >= 0)
		close(r->fd);
	r->fd = fd;
	r->lines = HASH_COUNT(r->by_text);
	return 0;
fail:
	close(fd);
	unlink(fresh);
	return result;
}

int bn_registry_open(const char *path, const char *what, uint32_t first, uint32_t limit,
		     struct bn_registry **ret, struct bn_error *err)
{
	struct bn_registry *r = calloc(1, sizeof(*r));
	int result = -ENOMEM;

	if (!r)
		return -ENOMEM;
	STAILQ_INIT(&r->free);
	r->fd = -1;
	r->what = what;
	r->first = r->top = first;
	r->limit = limit;
	r->path = strdup(path);
	r->by_number = calloc(limit - first, sizeof(struct entry *));
	if (r->path && r->by_number)
		result = load(r);
	if (!result)
		result = rewrite(r);
	if (result) {
		bn_registry_close(r);
		return bn_error_set(err, result, "can't keep %s in %s: %s", what, path,
				    strerror(-result));
	}
	/* holes that the file has are free */
	for (uint32_t i = first; i < r->top; i++) {
		struct free_number *f = find(r, i) ? NULL : calloc(1, sizeof(*f));

		if (!f)
			continue;
		f->number = i;
		STAILQ_INSERT_TAIL(&r->free, f, next);
	}
	*ret = r;
	return 0;
}

void bn_registry_close(struct bn_registry *r)
{
	struct free_number *f;
	struct entry *e, *tmp;

	if (!r)
		return;
	HASH_ITER(hh, r->by_text, e, tmp) {
		HASH_DEL(r->by_text, e);
		free(e);
	}
	while ((f = STAILQ_FIRST(&r->free))) {
		STAILQ_REMOVE_HEAD(&r->free, next);
		free(f);
	}
	if (r->fd >= 0)
		close(r->fd);
	free(r->by_number);
	free(r->path);
	free(r);
}

/* The number that comes next; *ret_free is what to take off the list with it, or NULL. */
static bool next_number(struct bn_registry *r, uint32_t *ret, struct free_number **ret_free)
{
	struct free_number *f = STAILQ_FIRST(&r->free);

	*ret_free = NULL;
	*ret = r->top;
	/* fresh ones first: the longer a freed one rests, the less it is mistaken by people */
	if (r->top < r->limit && (!f || r->top - r->first < 4096))
		return true;
	if (!f || f->turn >= r->turn)
		return r->top < r->limit;
	*ret = f->number;
	*ret_free = f;
	return true;
}

int bn_registry_get(struct bn_registry *r, const char *text, uint32_t *ret, bool *ret_new,
		    struct bn_error *err)
{
	struct free_number *f;
	struct entry *e = NULL;
	uint32_t number;
	char *line;
	int n, result;

	HASH_FIND(hh, r->by_text, text, strlen(text), e);
	*ret_new = !e;
	if (e) {
		e->references++;
		*ret = e->number;
		return 0;
	}
	if (!next_number(r, &number, &f))
		return bn_error_set(err, -ENOSPC, "%u %s are in use, no more fit",
				    HASH_COUNT(r->by_text), r->what);
	n = asprintf(&line, "+%" PRIu32 " %s\n", number, text);
	if (n < 0)
		return -ENOMEM;
	result = say(r, line, (size_t)n);
	free(line);
	if (!result)
		result = insert(r, number, text, &e);
	if (result)
		return bn_error_set(err, result, "can't keep %s in %s: %s", r->what, r->path,
				    strerror(-result));
	if (f) {
		STAILQ_REMOVE_HEAD(&r->free, next);
		free(f);
	}
	e->references = 1;
	*ret = number;
	return 0;
}

void bn_registry_freeze(struct bn_registry *r)
{
	if (r)
		r->frozen = true;
}

void bn_registry_hold(struct bn_registry *r, uint32_t number)
{
	struct entry *e = find(r, number);

	if (e)
		e->references++;
}

bool bn_registry_put(struct bn_registry *r, uint32_t number)
{
	struct entry *e = find(r, number);
	char line[16];

	if (!e || --e->references || r->frozen)
		return false;
	say(r, line, (size_t)snprintf(line, sizeof(line), "-%" PRIu32 "\n", number));
	drop(r, e);
	return true;
}

const char *bn_registry_text(const struct bn_registry *r, uint32_t number)
{
	const struct entry *e = find(r, number);

	return e ? e->text : NULL;
}

bool bn_registry_has(const struct bn_registry *r, const char *text)
{
	struct entry *e = NULL;

	HASH_FIND(hh, r->by_text, text, strlen(text), e);
	return e;
}

void bn_registry_turn(struct bn_registry *r)
{
	struct entry *e, *tmp;

	if (!r->turn) {
		HASH_ITER(hh, r->by_text, e, tmp) {
			if (!e->references)
				drop(r, e);
		}
		rewrite(r);
	} else if (r->lines > 2 * HASH_COUNT(r->by_text) + REGISTRY_SLACK) {
		rewrite(r);
	}
	r->turn++;
}

uint32_t bn_registry_count(const struct bn_registry *r)
{
	return HASH_COUNT(r->by_text);
}
