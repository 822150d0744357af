// SPDX-License-Identifier: Apache-2.0
/*
 * The library's epoll descriptor is a source of the agent's loop, and so is a timer for its
 * connections' time, armed only while there are any. The library ends a connection that makes no
 * progress; one that makes too little is ended here, by a shutdown, since connections that began
 * earlier are over earlier and so stand in a queue.
 */
#include "http/http.h"

#include "address.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>
#include <sys/socket.h>
#include <unistd.h>

#define HTTP_BACKLOG 128

struct connection {
	TAILQ_ENTRY(connection) entry;
	int fd;
	uint64_t until; /* CLOCK_MONOTONIC, microseconds */
	bool out;       /* of the queue: shut down, or kept */
};

struct bn_http {
	struct bn_http_config config;
	sd_event *event;
	struct MHD_Daemon *daemon;
	sd_event_source *io, *timer;
	TAILQ_HEAD(, connection) connections;
	int reserve_fd; /* closed to take in and turn away what would not fit */
};

static uint64_t now_usec(const struct bn_http *http)
{
	uint64_t now = 0;

	sd_event_now(http->event, CLOCK_MONOTONIC, &now);
	return now;
}

static void end_old(struct bn_http *http, uint64_t now)
{
	struct connection *c;

	while ((c = TAILQ_FIRST(&http->connections)) && c->until <= now) {
		TAILQ_REMOVE(&http->connections, c, entry);
		c->out = true;
		shutdown(c->fd, SHUT_RDWR);
	}
}

static void run(struct bn_http *http)
{
	uint64_t now = now_usec(http), at = UINT64_MAX;
	const struct connection *first;
	MHD_UNSIGNED_LONG_LONG ms = 0;

	end_old(http, now);
	MHD_run(http->daemon);
	if (MHD_get_timeout(http->daemon, &ms) == MHD_YES)
		at = now + ms * 1000;
	first = TAILQ_FIRST(&http->connections);
	if (first && first->until < at)
		at = first->until;
	if (at == UINT64_MAX) {
		sd_event_source_set_enabled(http->timer, SD_EVENT_OFF);
		return;
	}
	sd_event_source_set_time(http->timer, at);
	sd_event_source_set_enabled(http->timer, SD_EVENT_ONESHOT);
}

static int on_io(sd_event_source *source, int fd, uint32_t revents, void *user)
{
	run(user);
	return 0;
}

static int on_timer(sd_event_source *source, uint64_t usec, void *user)
{
	run(user);
	return 0;
}

/* ---- the library's callbacks ---- */

static void on_connection(void *user, struct MHD_Connection *connection, void **state,
			  enum MHD_ConnectionNotificationCode code)
{
	struct bn_http *http = user;
	struct connection *c = *state;
	const union MHD_ConnectionInfo *info;

	if (code == MHD_CONNECTION_NOTIFY_CLOSED) {
		if (c && !c->out)
			TAILQ_REMOVE(&http->connections, c, entry);
		free(c);
		*state = NULL;
		return;
	}
	info = MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CONNECTION_FD);
	c = info ? calloc(1, sizeof(*c)) : NULL;
	*state = c;
	if (!c)
		return;
	c->fd = info->connect_fd;
	c->until = now_usec(http) + http->config.lifetime * 1000000ull;
	TAILQ_INSERT_TAIL(&http->connections, c, entry);
}

static enum MHD_Result on_request(void *user, struct MHD_Connection *connection, const char *url,
				  const char *method, const char *version, const char *data,
				  size_t *size, void **state)
{
	static char seen;
	const struct bn_http *http = user;

	if (!*state) {
		*state = &seen;
		return MHD_YES;
	}
	if (*size) {
		*size = 0;
		return MHD_YES;
	}
	return http->config.answer(http->config.user, connection, method, url);
}

void bn_http_keep(struct bn_http *http, struct MHD_Connection *connection)
{
	const union MHD_ConnectionInfo *info =
		MHD_get_connection_info(connection, MHD_CONNECTION_INFO_SOCKET_CONTEXT);
	struct connection *c = info ? info->socket_context : NULL;

	if (!c || c->out)
		return;
	TAILQ_REMOVE(&http->connections, c, entry);
	c->out = true;
}

void bn_http_resume(struct bn_http *http, struct MHD_Connection *connection)
{
	MHD_resume_connection(connection);
	/* the library looks at it when it is run next, and nothing of its own says so */
	sd_event_source_set_time(http->timer, 0);
	sd_event_source_set_enabled(http->timer, SD_EVENT_ONESHOT);
}

/* ---- listening ---- */

static int open_socket(const union bn_addr *addr, uint16_t port)
{
	int type = SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, on = 1, off = 0, fd, r = 0;
	struct sockaddr_in6 six = {.sin6_family = AF_INET6, .sin6_port = htons(port)};
	struct sockaddr_in four = {
		.sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = addr->w[3]};
	bool v6 = bn_addr_family(addr) == BN_IPV6;

	memcpy(&six.sin6_addr, addr, sizeof(six.sin6_addr));
	fd = socket(v6 ? AF_INET6 : AF_INET, type, 0);
	if (fd < 0)
		return -errno;
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	setsockopt(fd, IPPROTO_IP, IP_FREEBIND, &on, sizeof(on));
	if (v6) {
		setsockopt(fd, IPPROTO_IPV6, IPV6_FREEBIND, &on, sizeof(on));
		if (setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof(off)) < 0)
			r = -errno;
	}
	if (r == 0 && bind(fd, v6 ? (struct sockaddr *)&six : (struct sockaddr *)&four,
			   v6 ? sizeof(six) : sizeof(four)) < 0)
		r = -errno;
	if (r == 0 && listen(fd, HTTP_BACKLOG) < 0)
		r = -errno;
	if (r < 0) {
		close(fd);
		return r;
	}
	return fd;
}

int bn_http_listen(const union bn_addr *addr, uint16_t port)
{
	int fd = open_socket(addr, port);

	if (fd == -EAFNOSUPPORT && bn_addr_equal(addr, &bn_addr_any6))
		fd = open_socket(&bn_addr_any4, port);
	return fd;
}

void bn_http_accept(struct bn_http *http, int listener)
{
	struct sockaddr_storage from;
	socklen_t size = sizeof(from);
	int fd;

	fd = accept4(listener, (struct sockaddr *)&from, &size, SOCK_CLOEXEC | SOCK_NONBLOCK);
	if (fd < 0 && (errno == EMFILE || errno == ENFILE) && http->reserve_fd >= 0) {
		/* else the loop would be woken for it for ever */
		close(http->reserve_fd);
		fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
		if (fd >= 0)
			close(fd);
		http->reserve_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
		return;
	}
	if (fd < 0)
		return;
	if (http->config.admit && !http->config.admit(http->config.user, fd)) {
		close(fd);
		return;
	}
	/* the library closes what it does not take */
	MHD_add_connection(http->daemon, fd, (struct sockaddr *)&from, size);
	run(http);
}

/* ---- life ---- */

static int watch(struct bn_http *http)
{
	const union MHD_DaemonInfo *info =
		MHD_get_daemon_info(http->daemon, MHD_DAEMON_INFO_EPOLL_FD);
	int r;

	if (!info)
		return -ENOTSUP;
	r = sd_event_add_io(http->event, &http->io, info->epoll_fd, EPOLLIN, on_io, http);
	if (r < 0)
		return r;
	r = sd_event_add_time(http->event, &http->timer, CLOCK_MONOTONIC, 0, 1, on_timer, http);
	return r < 0 ? r : sd_event_source_set_enabled(http->timer, SD_EVENT_OFF);
}

int bn_http_new(sd_event *event, const struct bn_http_config *config, struct bn_http **ret)
{
	struct bn_http *http = calloc(1, sizeof(*http));
	int r = -ENOMEM;

	if (!http)
		return -ENOMEM;
	http->config = *config;
	http->event = sd_event_ref(event);
	TAILQ_INIT(&http->connections);
	http->reserve_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
	http->daemon = MHD_start_daemon(
		MHD_USE_EPOLL | MHD_USE_NO_LISTEN_SOCKET | MHD_ALLOW_SUSPEND_RESUME, 0, NULL, NULL,
		on_request, http, MHD_OPTION_CONNECTION_LIMIT, config->connections,
		MHD_OPTION_PER_IP_CONNECTION_LIMIT, config->per_address,
		MHD_OPTION_CONNECTION_MEMORY_LIMIT, config->memory, MHD_OPTION_CONNECTION_TIMEOUT,
		config->idle, MHD_OPTION_NOTIFY_CONNECTION,
		config->lifetime ? on_connection : (MHD_NotifyConnectionCallback)NULL, http,
		MHD_OPTION_END);
	if (http->daemon)
		r = watch(http);
	if (r < 0) {
		bn_http_free(http);
		return r;
	}
	*ret = http;
	return 0;
}

void bn_http_free(struct bn_http *http)
{
	if (!http)
		return;
	sd_event_source_disable_unref(http->io);
	sd_event_source_disable_unref(http->timer);
	if (http->daemon)
		MHD_stop_daemon(http->daemon);
	if (http->reserve_fd >= 0)
		close(http->reserve_fd);
	sd_event_unref(http->event);
	free(http);
}
