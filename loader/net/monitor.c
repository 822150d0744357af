// SPDX-License-Identifier: Apache-2.0
/*
 * Why: devices go away with their namespace, uplinks change their MTU, addresses and routes come
 * and go; the datapath's tables follow at once.
 *
 * Invariants: callbacks run from the event loop only, never inside bn_monitor_new(); they may free
 * nothing of the monitor itself. A wake-up handles a bounded number of messages, then lets the
 * loop's other sources have their turn.
 */
#include "net/monitor.h"

#include "error.h"
#include "net/netlink.h"

#include <errno.h>
#include <linux/rtnetlink.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#define RECEIVE_BUFFER (1 << 20) /* a thousand veths made at once */
#define MESSAGE_SIZE 32768
#define READS_PER_WAKEUP 64

struct bn_monitor {
	struct mnl_socket *socket;
	sd_event_source *source;
	struct bn_monitor_ops ops;
	void *user;
	bool routes_changed;
	bool default_changed;
	union {
		struct nlmsghdr header;
		char bytes[MESSAGE_SIZE];
	} message;
};

static unsigned groups(const struct bn_monitor_ops *ops)
{
	unsigned g = 0;

	if (ops->link || ops->link_gone)
		g |= RTMGRP_LINK;
	if (ops->address)
		g |= RTMGRP_IPV4_IFADDR | RTMGRP_IPV6_IFADDR;
	if (ops->routes)
		g |= RTMGRP_IPV4_ROUTE | RTMGRP_IPV6_ROUTE;
	return g;
}

static void note_route(struct bn_monitor *m, const struct nlmsghdr *h)
{
	const struct rtmsg *rt;

	if (mnl_nlmsg_get_payload_len(h) < sizeof(*rt))
		return;
	rt = mnl_nlmsg_get_payload(h);
	/* Cached exceptions (path MTU, redirects) are no change of routing. */
	if (rt->rtm_flags & RTM_F_CLONED)
		return;
	m->routes_changed = true;
	if (rt->rtm_dst_len == 0)
		m->default_changed = true;
}

static void dispatch(struct bn_monitor *m, const struct nlmsghdr *h)
{
	struct bn_own_address address;
	struct bn_link link;

	switch (h->nlmsg_type) {
	case RTM_NEWLINK:
		if (m->ops.link && bn_link_read(h, &link))
			m->ops.link(m->user, &link);
		break;
	case RTM_DELLINK:
		if (m->ops.link_gone && bn_link_read(h, &link))
			m->ops.link_gone(m->user, &link);
		break;
	case RTM_NEWADDR:
	case RTM_DELADDR:
		if (m->ops.address && bn_own_address_read(h, &address))
			m->ops.address(m->user, &address, h->nlmsg_type == RTM_NEWADDR);
		break;
	case RTM_NEWROUTE:
	case RTM_DELROUTE:
		note_route(m, h);
		break;
	}
}

static int on_readable(sd_event_source *source, int fd, uint32_t revents, void *user)
{
	struct bn_monitor *m = user;
	bool lost = false;

	m->routes_changed = false;
	m->default_changed = false;
	for (int i = 0; i < READS_PER_WAKEUP; i++) {
		const struct nlmsghdr *h = &m->message.header;
		struct sockaddr_nl from = {0};
		socklen_t size = sizeof(from);
		ssize_t n;
		int left;

		n = recvfrom(fd, m->message.bytes, sizeof(m->message.bytes),
			     MSG_DONTWAIT | MSG_TRUNC, (struct sockaddr *)&from, &size);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno == ENOBUFS) {
			lost = true;
			continue;
		}
		if (n < 0)
			break;
		if (n > (ssize_t)sizeof(m->message.bytes)) {
			lost = true;
			continue;
		}
		if (from.nl_pid != 0)
			continue; /* only the kernel is believed */
		for (left = (int)n; mnl_nlmsg_ok(h, left); h = mnl_nlmsg_next(h, &left))
			dispatch(m, h);
	}
	if (m->routes_changed && m->ops.routes)
		m->ops.routes(m->user, m->default_changed);
	if (lost && m->ops.resync)
		m->ops.resync(m->user);
	return 0;
}

int bn_monitor_new(sd_event *event, const struct bn_monitor_ops *ops, void *user,
		   struct bn_monitor **ret, struct bn_error *err)
{
	struct bn_monitor *m = calloc(1, sizeof(*m));
	int size = RECEIVE_BUFFER;
	int r = -ENOMEM;
	int fd;

	if (!m)
		goto fail;
	m->ops = *ops;
	m->user = user;
	m->socket = mnl_socket_open2(NETLINK_ROUTE, SOCK_CLOEXEC | SOCK_NONBLOCK);
	if (!m->socket) {
		r = -errno;
		goto fail;
	}
	fd = mnl_socket_get_fd(m->socket);
	if (setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof(size)) < 0)
		setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &size, sizeof(size));
	if (mnl_socket_bind(m->socket, groups(ops), MNL_SOCKET_AUTOPID) < 0) {
		r = -errno;
		goto fail;
	}
	r = sd_event_add_io(event, &m->source, fd, EPOLLIN, on_readable, m);
	if (r < 0)
		goto fail;
	sd_event_source_set_description(m->source, "netlink-monitor");
	*ret = m;
	return 0;
fail:
	bn_monitor_free(m);
	return bn_error_set(err, r, "cannot watch the node's network: %s", strerror(-r));
}

void bn_monitor_free(struct bn_monitor *m)
{
	if (!m)
		return;
	sd_event_source_disable_unref(m->source);
	if (m->socket)
		mnl_socket_close(m->socket);
	free(m);
}
