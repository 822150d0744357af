// SPDX-License-Identifier: Apache-2.0
/*
 * A watched folder. inotify only says that something changed; what changed is found by comparing
 * the files' inode, size and times with what was last read, so a lost event is caught by the next
 * one. Only changed files are read, all of them in one change of the objects; a file that can't
 * be taken is left out, logged once, and tried again whenever the folder changes.
 */
#include "folder.h"

#include "log.h"
#include "state.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <unistd.h>

#define FOLDER_FILES_MAX 65536
#define FOLDER_BYTES_MAX ((size_t)256 << 20)
#define FOLDER_SETTLE_USEC 20000 /* several files of one copy make one change */

struct file {
	char *name;
	struct stat stat; /* as of the last reading */
	bool good;        /* what was read is in force */
	bool seen;        /* in the folder now */
	bool changed;     /* since it was read */
	char *complaint;  /* logged last */
	char *text;       /* while a change is made */
	size_t size;
};

struct bn_folder {
	struct bn_objects *objects;
	char *dir;
	char *problem; /* of the folder as a whole; NULL: none */
	sd_event_source *source, *timer;
	struct file *files; /* sorted by name */
	size_t n, room;
};

static bool is_manifest(const char *name)
{
	static const char *const ends[] = {".yaml", ".yml", ".json"};
	size_t n = strlen(name);

	for (size_t i = 0; i < sizeof(ends) / sizeof(ends[0]); i++) {
		size_t k = strlen(ends[i]);

		if (*name != '.' && n > k && !strcmp(name + n - k, ends[i]))
			return true;
	}
	return false;
}

static void file_done(struct file *file)
{
	free(file->name);
	free(file->complaint);
	free(file->text);
}

static void complain(struct bn_folder *folder, struct file *file, const char *why)
{
	char *copy;

	if (file->complaint && !strcmp(file->complaint, why) && !file->changed)
		return;
	bn_log(BN_LOG_ERROR, "manifest refused, keeping its last good content", "folder",
	       folder->dir, "reason", why, NULL);
	copy = strdup(why);
	free(file->complaint);
	file->complaint = copy;
}

/* Takes the place of what was wrong before; NULL: nothing is any more. */
static void set_problem(struct bn_folder *folder, const char *why)
{
	free(folder->problem);
	folder->problem = why ? strdup(why) : NULL;
}

/* ---- finding what changed ---- */

static int compare_files(const void *x, const void *y)
{
	const struct file *a = x, *b = y;

	return strcmp(a->name, b->name);
}

static struct file *find_file(struct bn_folder *folder, const char *name)
{
	struct file probe = {.name = (char *)name};

	if (!folder->n)
		return NULL;
	return bsearch(&probe, folder->files, folder->n, sizeof(probe), compare_files);
}

static bool same_stat(const struct stat *a, const struct stat *b)
{
	return a->st_dev == b->st_dev && a->st_ino == b->st_ino && a->st_size == b->st_size &&
	       a->st_mtim.tv_sec == b->st_mtim.tv_sec && a->st_mtim.tv_nsec == b->st_mtim.tv_nsec &&
	       a->st_ctim.tv_sec == b->st_ctim.tv_sec && a->st_ctim.tv_nsec == b->st_ctim.tv_nsec;
}

/* New files stand behind the sorted ones, at `known`, until the scan ends. */
static int note_file(struct bn_folder *folder, size_t known, const char *name,
		     const struct stat *stat)
{
	size_t all = folder->n;
	struct file *file, *files;

	folder->n = known;
	file = find_file(folder, name);
	folder->n = all;
	if (file) {
		file->seen = true;
		file->changed = !same_stat(&file->stat, stat);
		file->stat = *stat;
		return 0;
	}
	if (folder->n == folder->room) {
		size_t room = folder->room ? 2 * folder->room : 16;

		files = reallocarray(folder->files, room, sizeof(*files));
		if (!files)
			return -ENOMEM;
		folder->files = files;
		folder->room = room;
	}
	file = &folder->files[folder->n];
	*file = (struct file){.name = strdup(name), .stat = *stat, .seen = true, .changed = true};
	if (!file->name)
		return -ENOMEM;
	folder->n++;
	return 0;
}

static int scan(struct bn_folder *folder, struct bn_error *err)
{
	size_t known = folder->n;
	struct dirent *entry;
	struct stat st;
	int r = 0;
	DIR *dir;

	dir = opendir(folder->dir);
	if (!dir)
		return bn_error_set(err, -errno, "cannot read the manifests in %s: %m",
				    folder->dir);
	for (size_t i = 0; i < known; i++)
		folder->files[i].seen = folder->files[i].changed = false;
	while (r == 0 && (entry = readdir(dir))) {
		/* links are followed; folders, pipes and editors' leavings are not manifests */
		if (!is_manifest(entry->d_name) || fstatat(dirfd(dir), entry->d_name, &st, 0) < 0 ||
		    !S_ISREG(st.st_mode))
			continue;
		if (folder->n == FOLDER_FILES_MAX)
			r = bn_error_set(err, -EFBIG, "%s has more than %d manifests, split it",
					 folder->dir, FOLDER_FILES_MAX);
		else
			r = note_file(folder, known, entry->d_name, &st);
	}
	closedir(dir);
	qsort(folder->files, folder->n, sizeof(*folder->files), compare_files);
	return r;
}

/* ---- reading ---- */

static int read_all(int fd, char *buf, size_t size)
{
	for (size_t at = 0; at < size;) {
		ssize_t n = read(fd, buf + at, size - at);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		if (!n)
			return -EAGAIN; /* cut while it was read; the writer's event follows */
		at += (size_t)n;
	}
	return 0;
}

static int read_file(struct bn_folder *folder, struct file *file, size_t *total)
{
	char *path = NULL;
	struct stat st;
	int fd, r = 0;

	if (asprintf(&path, "%s/%s", folder->dir, file->name) < 0)
		return -ENOMEM;
	/* O_NONBLOCK: a file that became a pipe must not stop the agent */
	fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	free(path);
	if (fd < 0)
		return -errno;
	if (fstat(fd, &st) < 0)
		r = -errno;
	else if (!S_ISREG(st.st_mode))
		r = -EINVAL;
	else if ((size_t)st.st_size > FOLDER_BYTES_MAX - *total)
		r = -EFBIG;
	if (r == 0) {
		file->size = (size_t)st.st_size;
		file->text = malloc(file->size + 1);
		r = file->text ? read_all(fd, file->text, file->size) : -ENOMEM;
		file->stat = st;
		*total += file->size;
	}
	close(fd);
	return r;
}

static void forget_texts(struct bn_folder *folder)
{
	for (size_t i = 0; i < folder->n; i++) {
		free(folder->files[i].text);
		folder->files[i].text = NULL;
	}
}

static void read_changed(struct bn_folder *folder)
{
	size_t total = 0;

	for (size_t i = 0; i < folder->n; i++) {
		struct file *file = &folder->files[i];
		char *why = NULL;
		int r;

		if (!file->seen || (file->good && !file->changed))
			continue;
		r = read_file(folder, file, &total);
		if (r == 0)
			continue;
		free(file->text);
		file->text = NULL;
		file->good = false;
		if (asprintf(&why, "%s: cannot be read: %s", file->name,
			     r == -EFBIG ? "more than 256 MiB in one folder" : strerror(-r)) >= 0)
			complain(folder, file, why);
		free(why);
	}
}

/* ---- applying ---- */

/* One attempt with the files that have a text; *ret_bad is the one to leave out. */
static int sync_once(struct bn_folder *folder, struct file **ret_bad, struct bn_error *err)
{
	struct bn_sync_file *files = calloc(folder->n + 1, sizeof(*files));
	struct file **which = calloc(folder->n + 1, sizeof(struct file *));
	size_t n = 0, bad = 0;
	int r = files && which ? 0 : -ENOMEM;

	*ret_bad = NULL;
	for (size_t i = 0; r == 0 && i < folder->n; i++) {
		struct file *file = &folder->files[i];
		char *path = NULL;

		if (!file->seen)
			continue;
		if (asprintf(&path, "%s/%s", folder->dir, file->name) < 0) {
			r = -ENOMEM;
			break;
		}
		which[n] = file;
		files[n++] = (struct bn_sync_file){
			.path = path,
			.input = {.file = path, .text = file->text, .size = file->size},
			.kept = !file->text,
		};
	}
	if (r == 0) {
		r = bn_objects_sync(folder->objects, folder->dir, files, n, &bad, err);
		if (r < 0 && bad < n)
			*ret_bad = which[bad];
	}
	for (size_t i = 0; i < n; i++)
		free((char *)files[i].path);
	free(files);
	free(which);
	return r;
}

/* The files that were taken are good; those that vanished are forgotten. */
static void settle(struct bn_folder *folder)
{
	size_t n = 0;

	for (size_t i = 0; i < folder->n; i++) {
		struct file *file = &folder->files[i];

		if (!file->seen) {
			file_done(file);
			continue;
		}
		if (file->text) {
			file->good = true;
			free(file->complaint);
			file->complaint = NULL;
		}
		folder->files[n++] = *file;
	}
	folder->n = n;
}

static int reload(struct bn_folder *folder, struct bn_error *err)
{
	struct file *bad;
	int r;

	r = scan(folder, err);
	if (r < 0)
		return r;
	read_changed(folder);
	for (;;) {
		struct bn_error reason = BN_ERROR_INIT;

		r = sync_once(folder, &bad, &reason);
		if (r == 0 || !bad) {
			if (r < 0)
				bn_error_set(err, r, "cannot apply the manifests in %s: %s",
					     folder->dir, bn_error_text(&reason));
			bn_error_done(&reason);
			break;
		}
		complain(folder, bad, bn_error_text(&reason));
		bn_error_done(&reason);
		bad->good = false;
		free(bad->text);
		bad->text = NULL;
	}
	if (r == 0)
		settle(folder);
	else
		for (size_t i = 0; i < folder->n; i++)
			folder->files[i].good = folder->files[i].good && !folder->files[i].text;
	forget_texts(folder);
	return r;
}

/* ---- events ---- */

static int on_settled(sd_event_source *source, uint64_t usec, void *user)
{
	struct bn_folder *folder = user;
	struct bn_error err = BN_ERROR_INIT;

	if (reload(folder, &err) < 0) {
		set_problem(folder, bn_error_text(&err));
		bn_log(BN_LOG_ERROR, folder->problem ? folder->problem : "out of memory", NULL);
	} else {
		set_problem(folder, NULL);
	}
	bn_error_done(&err);
	return 0;
}

static int on_inotify(sd_event_source *source, const struct inotify_event *event, void *user)
{
	struct bn_folder *folder = user;

	if (event->mask & (IN_DELETE_SELF | IN_MOVE_SELF | IN_IGNORED | IN_UNMOUNT)) {
		bn_log(BN_LOG_WARNING, "manifest folder is gone, its objects stay as they are",
		       "folder", folder->dir, NULL);
		set_problem(folder, "the folder is gone, its objects stay as they are");
		return 0;
	}
	if (!(event->mask & IN_Q_OVERFLOW) && (!event->len || !is_manifest(event->name)))
		return 0;
	sd_event_source_set_time_relative(folder->timer, FOLDER_SETTLE_USEC);
	sd_event_source_set_enabled(folder->timer, SD_EVENT_ONESHOT);
	return 0;
}

int bn_folder_new(sd_event *event, struct bn_objects *objects, const char *dir,
		  struct bn_folder **ret, struct bn_error *err)
{
	struct bn_folder *folder = calloc(1, sizeof(*folder));
	int r;

	if (!folder)
		return -ENOMEM;
	folder->objects = objects;
	folder->dir = realpath(dir, NULL);
	if (!folder->dir) {
		r = bn_error_set(err, -errno, "cannot use the manifest folder %s: %m", dir);
		goto fail;
	}
	/* the watch comes first, so nothing that changes during the first reading is missed */
	r = sd_event_add_inotify(event, &folder->source, folder->dir,
				 IN_CLOSE_WRITE | IN_MOVED_TO | IN_MOVED_FROM | IN_DELETE |
					 IN_ATTRIB | IN_DELETE_SELF | IN_MOVE_SELF | IN_ONLYDIR,
				 on_inotify, folder);
	if (r < 0) {
		bn_error_set(err, r, "cannot watch the manifest folder %s: %s", folder->dir,
			     strerror(-r));
		goto fail;
	}
	r = sd_event_add_time_relative(event, &folder->timer, CLOCK_MONOTONIC, FOLDER_SETTLE_USEC,
				       0, on_settled, folder);
	if (r >= 0)
		r = sd_event_source_set_enabled(folder->timer, SD_EVENT_OFF);
	if (r >= 0)
		r = reload(folder, err);
	if (r < 0)
		goto fail;
	*ret = folder;
	return 0;
fail:
	bn_folder_free(folder);
	return r;
}

void bn_folder_problems(const struct bn_folder *folder,
			void (*fn)(void *user, const char *dir, const char *problem), void *user)
{
	if (folder->problem)
		fn(user, folder->dir, folder->problem);
	for (size_t i = 0; i < folder->n; i++) {
		if (folder->files[i].seen && folder->files[i].complaint)
			fn(user, folder->dir, folder->files[i].complaint);
	}
}

void bn_folder_free(struct bn_folder *folder)
{
	if (!folder)
		return;
	sd_event_source_disable_unref(folder->source);
	sd_event_source_disable_unref(folder->timer);
	for (size_t i = 0; i < folder->n; i++)
		file_done(&folder->files[i]);
	free(folder->files);
	free(folder->problem);
	free(folder->dir);
	free(folder);
}
