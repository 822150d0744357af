// SPDX-License-Identifier: Apache-2.0
#include "http/listener.h"

#include "log.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#define RETRY_USEC 5000000

struct bn_http_listener {
	sd_event *event;
	struct bn_http *http;
	const struct bn_listen *at;
	const char *what;
	int fd, error;
	sd_event_source *source, *retry;
};

static int on_accept(sd_event_source *source, int fd, uint32_t revents, void *user)
{
	struct bn_http_listener *l = user;

	bn_http_accept(l->http, fd);
	return 0;
}

static int start(struct bn_http_listener *l)
{
	int r = bn_http_listen(&l->at->addr, l->at->port);

	if (r < 0)
		return r;
	l->fd = r;
	r = sd_event_add_io(l->event, &l->source, l->fd, EPOLLIN, on_accept, l);
	if (r < 0) {
		close(l->fd);
		l->fd = -1;
	}
	return r < 0 ? r : 0;
}

static int try(struct bn_http_listener *l)
{
	char at[BN_LISTEN_STRLEN], text[128];
	int r = start(l);

	bn_listen_format(l->at, at);
	if (r < 0 && r != l->error) {
		snprintf(text, sizeof(text), "can't serve %s, trying again", l->what);
		bn_log(BN_LOG_ERROR, text, "address", at, "error", strerror(-r), NULL);
	}
	if (r == 0) {
		snprintf(text, sizeof(text), "serving %s", l->what);
		bn_log(BN_LOG_INFO, text, "address", at, NULL);
	}
	l->error = r;
	if (r == 0)
		return 0;
	r = sd_event_source_set_time_relative(l->retry, RETRY_USEC);
	return r < 0 ? r : sd_event_source_set_enabled(l->retry, SD_EVENT_ONESHOT);
}

static int on_retry(sd_event_source *source, uint64_t usec, void *user)
{
	return try(user);
}

int bn_http_listener_new(sd_event *event, struct bn_http *http, const struct bn_listen *at,
			 const char *what, struct bn_http_listener **ret)
{
	struct bn_http_listener *l = calloc(1, sizeof(*l));
	int r;

	if (!l)
		return -ENOMEM;
	l->event = sd_event_ref(event);
	l->http = http;
	l->at = at;
	l->what = what;
	l->fd = -1;
	r = sd_event_add_time(event, &l->retry, CLOCK_MONOTONIC, 0, 0, on_retry, l);
	if (r >= 0)
		r = sd_event_source_set_enabled(l->retry, SD_EVENT_OFF);
	if (r >= 0)
		r = try(l);
	if (r < 0) {
		bn_http_listener_free(l);
		return r;
	}
	*ret = l;
	return 0;
}

void bn_http_listener_free(struct bn_http_listener *l)
{
	if (!l)
		return;
	sd_event_source_disable_unref(l->source);
	sd_event_source_disable_unref(l->retry);
	if (l->fd >= 0)
		close(l->fd);
	sd_event_unref(l->event);
	free(l);
}

int bn_http_listener_error(const struct bn_http_listener *l)
{
	return l->error;
}
