// SPDX-License-Identifier: Apache-2.0
/*
 * The listening side of the control socket: where it lives, who is let in, which methods there
 * are. Invariants: the socket appears under its name only when it listens, so a client that
 * finds it is never refused by it; a living agent's socket is never taken away; the number of
 * connections is bounded, with some kept for root so that readers can't lock it out.
 */
#include "server/server.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "log.h"
#include "server/conn.h"

#define BACKLOG 128
#define CONNECTIONS_DEFAULT 256u
#define CONNECTIONS_ROOT 16u
#define ACCEPT_MAX 16 /* an event */
#define STREAM_QUEUE_DEFAULT (1u << 20)
#define SEC UINT64_C(1000000)
#define LOG_WINDOW (10 * SEC)
#define LOG_BURST 5

void bn_server_complain(struct bn_server *s, const struct bn_creds *who, const char *what)
{
	char uid[16], pid[16], suppressed[16];
	uint64_t now = 0;

	sd_event_now(s->event, CLOCK_MONOTONIC, &now);
	if (now - s->log_window_usec > LOG_WINDOW) {
		s->log_window_usec = now;
		s->log_count = 0;
	}
	if (s->log_count >= LOG_BURST) {
		s->log_suppressed++;
		return;
	}
	s->log_count++;
	snprintf(uid, sizeof(uid), "%u", (unsigned)who->uid);
	snprintf(pid, sizeof(pid), "%d", (int)who->pid);
	snprintf(suppressed, sizeof(suppressed), "%u", s->log_suppressed);
	bn_log(BN_LOG_WARNING, "control socket: client refused", "why", what, "uid", uid, "pid",
	       pid, s->log_suppressed ? "suppressed" : NULL, suppressed, NULL);
	s->log_suppressed = 0;
}

/* Tells a client at the door why it may not come in; it has read nothing yet, so there is room. */
static void server_turn_away(int fd, const char *code, const char *text)
{
	char line[256];
	int n = snprintf(line, sizeof(line), "{\"ok\":false,\"error\":\"%s\",\"code\":\"%s\"}\n",
			 text, code);

	if (send(fd, line, (size_t)n, MSG_DONTWAIT | MSG_NOSIGNAL) < 0) {
		/* it has gone: nobody to tell */
	}
	close(fd);
}

int bn_server_adopt(struct bn_server *s, int fd)
{
	struct bn_creds creds = BN_CREDS_NULL;
	unsigned max = s->config.connections_max;
	char text[128];
	int r;

	r = bn_creds_read(fd, &creds);
	if (r < 0) {
		close(fd);
		return r;
	}
	if (!bn_creds_may(&creds, BN_ACCESS_READ, s->owner, s->config.group)) {
		s->stats.forbidden++;
		bn_server_complain(s, &creds, "not in the group that may read");
		snprintf(text, sizeof(text),
			 "user %u may not use this socket: only root and the configured group may",
			 (unsigned)creds.uid);
		server_turn_away(fd, BN_CONTROL_CODE_FORBIDDEN, text);
		bn_creds_done(&creds);
		return -EACCES;
	}
	if (!bn_creds_may(&creds, BN_ACCESS_WRITE, s->owner, s->config.group))
		max = max > CONNECTIONS_ROOT ? max - CONNECTIONS_ROOT : 1;
	if (s->stats.connections >= max) {
		s->stats.refused_full++;
		bn_server_complain(s, &creds, "too many connections");
		server_turn_away(fd, BN_CONTROL_CODE_BUSY, "too many connections; try again later");
		bn_creds_done(&creds);
		return -EBUSY;
	}
	return bn_conn_new(s, fd, &creds);
}

/*
 * Descriptors have run out. The waiting connection would wake the loop for ever: take it with
 * the descriptor kept for this and hang up.
 */
static void server_shed(struct bn_server *s, int listen_fd)
{
	int fd;

	if (s->reserve_fd < 0)
		return;
	close(s->reserve_fd);
	fd = accept4(listen_fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	if (fd >= 0)
		server_turn_away(fd, BN_CONTROL_CODE_BUSY, "the agent is out of descriptors");
	s->reserve_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
	s->stats.refused_full++;
}

static int server_on_listen(sd_event_source *source, int fd, uint32_t revents, void *user)
{
	struct bn_server *s = user;

	for (int i = 0; i < ACCEPT_MAX; i++) {
		int conn = accept4(fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

		if (conn >= 0) {
			bn_server_adopt(s, conn);
			continue;
		}
		if (errno == EMFILE || errno == ENFILE)
			server_shed(s, fd);
		break;
	}
	return 0;
}

static int make_dirs(const char *path, struct bn_error *err)
{
	char *copy = strdup(path);
	int r = 0;

	if (!copy)
		return -ENOMEM;
	for (char *p = copy + 1; r == 0; p++) {
		char c = *p;

		if (c != '/' && c != '\0')
			continue;
		*p = '\0';
		if (mkdir(copy, 0755) < 0 && errno != EEXIST)
			r = bn_error_set(err, -errno, "can't make the run directory '%s': %s", copy,
					 strerror(errno));
		*p = c;
		if (c == '\0')
			break;
	}
	free(copy);
	return r;
}

/* Paths longer than sun_path go by way of the folder's descriptor. */
static int make_address(int dir_fd, const char *dir, const char *name, struct sockaddr_un *ret)
{
	int n;

	*ret = (struct sockaddr_un){.sun_family = AF_UNIX};
	n = snprintf(ret->sun_path, sizeof(ret->sun_path), "%s/%s", dir, name);
	if ((size_t)n >= sizeof(ret->sun_path))
		n = snprintf(ret->sun_path, sizeof(ret->sun_path), "/proc/self/fd/%d/%s", dir_fd,
			     name);
	return (size_t)n < sizeof(ret->sun_path) ? 0 : -ENAMETOOLONG;
}

/* 0: nobody listens there, a leftover may be replaced. */
static int check_stale(int dir_fd, const struct bn_server *s, struct bn_error *err)
{
	struct sockaddr_un address;
	struct stat st;
	int fd, r = 0;

	if (fstatat(dir_fd, BN_CONTROL_SOCKET, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return errno == ENOENT ? 0
				       : bn_error_set(err, -errno, "can't look at '%s': %s",
						      s->path, strerror(errno));
	if (!S_ISSOCK(st.st_mode))
		return bn_error_set(err, -EEXIST,
				    "can't listen on '%s': the file is not a socket; remove it or "
				    "choose another --run-dir",
				    s->path);
	r = make_address(dir_fd, s->config.run_dir, BN_CONTROL_SOCKET, &address);
	if (r < 0)
		return r;
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return -errno;
	/* EAGAIN: its queue of connections is full, so somebody has it */
	if (connect(fd, (struct sockaddr *)&address, sizeof(address)) == 0 || errno == EAGAIN)
		r = bn_error_set(err, -EADDRINUSE,
				 "can't listen on '%s': another bpfnetd answers there; stop it or "
				 "choose another --run-dir",
				 s->path);
	else if (errno != ECONNREFUSED && errno != ENOENT)
		r = bn_error_set(err, -errno, "can't listen on '%s': %s", s->path, strerror(errno));
	close(fd);
	return r;
}

/* Binds under a name of its own, makes it ready, and only then moves it to its place. */
static int bind_socket(struct bn_server *s, int dir_fd, int *ret_fd, struct bn_error *err)
{
	struct sockaddr_un address;
	struct stat st;
	char name[48];
	mode_t mask;
	int fd, r;

	snprintf(name, sizeof(name), ".%s.%d", BN_CONTROL_SOCKET, (int)getpid());
	r = make_address(dir_fd, s->config.run_dir, name, &address);
	if (r < 0)
		return bn_error_set(err, r, "can't listen on '%s': the path is too long", s->path);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return bn_error_set(err, -errno, "can't make the control socket: %s",
				    strerror(errno));
	unlinkat(dir_fd, name, 0);
	mask = umask(0117);
	r = bind(fd, (struct sockaddr *)&address, sizeof(address)) < 0 ? -errno : 0;
	umask(mask);
	if (r < 0)
		goto fail;
	if ((s->config.group != BN_SERVER_NO_GROUP &&
	     fchownat(dir_fd, name, (uid_t)-1, s->config.group, AT_SYMLINK_NOFOLLOW) < 0) ||
	    listen(fd, BACKLOG) < 0 || fstatat(dir_fd, name, &st, AT_SYMLINK_NOFOLLOW) < 0 ||
	    renameat(dir_fd, name, dir_fd, BN_CONTROL_SOCKET) < 0) {
		r = -errno;
		unlinkat(dir_fd, name, 0);
		goto fail;
	}
	s->path_dev = st.st_dev;
	s->path_ino = st.st_ino;
	*ret_fd = fd;
	return 0;
fail:
	close(fd);
	return bn_error_set(err, r, "can't listen on '%s': %s", s->path, strerror(-r));
}

static int server_listen(struct bn_server *s, struct bn_error *err)
{
	const char *dir = s->config.run_dir;
	int dir_fd, fd = -1, r;

	if (asprintf(&s->path, "%s/%s", dir, BN_CONTROL_SOCKET) < 0) {
		s->path = NULL;
		return -ENOMEM;
	}
	r = make_dirs(dir, err);
	if (r < 0)
		return r;
	dir_fd = open(dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (dir_fd < 0)
		return bn_error_set(err, -errno, "can't open the run directory '%s': %s", dir,
				    strerror(errno));
	r = check_stale(dir_fd, s, err);
	if (r >= 0)
		r = bind_socket(s, dir_fd, &fd, err);
	close(dir_fd);
	if (r < 0)
		return r;
	r = sd_event_add_io(s->event, &s->listen, fd, EPOLLIN, server_on_listen, s);
	if (r < 0) {
		close(fd);
		return bn_error_set(err, r, "can't watch the control socket: %s", strerror(-r));
	}
	sd_event_source_set_io_fd_own(s->listen, 1);
	return 0;
}

static void server_defaults(struct bn_server_config *c)
{
	if (!c->connections_max)
		c->connections_max = CONNECTIONS_DEFAULT;
	if (!c->stream_queue_max)
		c->stream_queue_max = STREAM_QUEUE_DEFAULT;
	if (!c->reply_max)
		c->reply_max = BN_CONTROL_REPLY_MAX;
	if (!c->line_timeout_usec)
		c->line_timeout_usec = 10 * SEC;
	if (!c->body_timeout_usec)
		c->body_timeout_usec = 60 * SEC;
	if (!c->drain_timeout_usec)
		c->drain_timeout_usec = 60 * SEC;
}

int bn_server_new(sd_event *event, const struct bn_server_config *config, struct bn_server **ret,
		  struct bn_error *err)
{
	struct bn_server *s = calloc(1, sizeof(*s));
	int r;

	if (!s)
		return -ENOMEM;
	s->event = sd_event_ref(event);
	s->config = *config;
	server_defaults(&s->config);
	s->owner = geteuid();
	LIST_INIT(&s->conns);
	LIST_INIT(&s->requests);
	s->reserve_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
	s->config.run_dir = strdup(config->run_dir);
	r = s->config.run_dir ? server_listen(s, err) : -ENOMEM;
	if (r < 0) {
		bn_server_free(s);
		return r;
	}
	*ret = s;
	return 0;
}

/* Removes the socket's file unless a successor has put its own there. */
static void server_unlink(const struct bn_server *s)
{
	struct stat st;

	if (s->listen && lstat(s->path, &st) == 0 && st.st_dev == s->path_dev &&
	    st.st_ino == s->path_ino)
		unlink(s->path);
}

void bn_server_free(struct bn_server *s)
{
	struct bn_server_method_entry *m, *next;
	struct bn_request *r;

	if (!s)
		return;
	server_unlink(s);
	sd_event_source_disable_unref(s->listen);
	while (!LIST_EMPTY(&s->conns))
		bn_conn_close(LIST_FIRST(&s->conns));
	while ((r = LIST_FIRST(&s->requests))) {
		LIST_REMOVE(r, entry);
		r->server = NULL;
	}
	HASH_ITER(hh, s->methods, m, next) {
		HASH_DEL(s->methods, m);
		free(m);
	}
	if (s->reserve_fd >= 0)
		close(s->reserve_fd);
	sd_event_unref(s->event);
	free((char *)s->config.run_dir);
	free(s->path);
	free(s);
}

static const struct {
	const char *name;
	size_t body_max;
	unsigned fds_max;
} limits[] = {
#define BN_X(name, access, body, fds) {name, body, fds},
	BN_CONTROL_METHODS(BN_X)
#undef BN_X
};

int bn_server_method(struct bn_server *s, const char *name, enum bn_access access, bn_method_fn fn,
		     void *user)
{
	struct bn_server_method_entry *m;

	HASH_FIND_STR(s->methods, name, m);
	if (m)
		return -EEXIST;
	m = calloc(1, sizeof(*m));
	if (!m)
		return -ENOMEM;
	m->name = name;
	m->access = access;
	m->fn = fn;
	m->user = user;
	for (size_t i = 0; i < sizeof(limits) / sizeof(limits[0]); i++) {
		if (strcmp(limits[i].name, name) == 0) {
			m->body_max = limits[i].body_max;
			m->fds_max = limits[i].fds_max;
		}
	}
	HASH_ADD_KEYPTR(hh, s->methods, m->name, strlen(m->name), m);
	return 0;
}

void bn_server_get_stats(const struct bn_server *s, struct bn_server_stats *ret)
{
	*ret = s->stats;
}
