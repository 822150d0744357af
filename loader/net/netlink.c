// SPDX-License-Identifier: Apache-2.0
/*
 * Why: every device, address, route and neighbour is made by request and acknowledgement, without
 * child processes, and a refusal must be explained in the kernel's words.
 *
 * Invariants: one request is under way at a time; answers of another sequence number (left over
 * from a request that timed out) are skipped; nothing grows with what the kernel sends, and a
 * request never blocks longer than BN_NL_TIMEOUT_S.
 */
#include "net/netlink.h"

#include "error.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>

#define REQUEST_SIZE 4096
/* Kernels fill a dump's message up to the size of the reader's buffer, 32 KiB at most. */
#define ANSWER_SIZE 32768

struct bn_nl {
	struct mnl_socket *socket;
	uint32_t seq;
	bool overflow;
	char reason[160];
	union {
		struct nlmsghdr header;
		char bytes[REQUEST_SIZE];
	} request;
	union {
		struct nlmsghdr header;
		char bytes[ANSWER_SIZE];
	} answer;
};

int bn_nl_open(int protocol, struct bn_nl **ret, struct bn_error *err)
{
	struct timeval timeout = {.tv_sec = BN_NL_TIMEOUT_S};
	struct bn_nl *nl;
	int one = 1;
	int r;

	nl = malloc(sizeof(*nl));
	if (!nl)
		return bn_error_set(err, -ENOMEM, "cannot open a netlink socket: out of memory");
	nl->seq = 0;
	nl->overflow = false;
	nl->reason[0] = '\0';
	nl->socket = mnl_socket_open2(protocol, SOCK_CLOEXEC);
	if (!nl->socket) {
		r = -errno;
		goto fail;
	}
	if (mnl_socket_bind(nl->socket, 0, MNL_SOCKET_AUTOPID) < 0 ||
	    setsockopt(mnl_socket_get_fd(nl->socket), SOL_SOCKET, SO_RCVTIMEO, &timeout,
		       sizeof(timeout)) < 0) {
		r = -errno;
		goto fail;
	}
	/* Both are niceties: without them an error has a number and no text. */
	mnl_socket_setsockopt(nl->socket, NETLINK_EXT_ACK, &one, sizeof(one));
	mnl_socket_setsockopt(nl->socket, NETLINK_CAP_ACK, &one, sizeof(one));
	*ret = nl;
	return 0;
fail:
	bn_nl_free(nl);
	return bn_error_set(err, r, "cannot open a netlink socket: %s", strerror(-r));
}

void bn_nl_free(struct bn_nl *nl)
{
	if (!nl)
		return;
	if (nl->socket)
		mnl_socket_close(nl->socket);
	free(nl);
}

void bn_nl_begin(struct bn_nl *nl, uint16_t type, uint16_t flags)
{
	struct nlmsghdr *m = mnl_nlmsg_put_header(nl->request.bytes);

	m->nlmsg_type = type;
	m->nlmsg_flags = NLM_F_REQUEST | flags;
	nl->overflow = false;
}

static void *reserve(struct bn_nl *nl, size_t size)
{
	struct nlmsghdr *m = &nl->request.header;

	if (nl->overflow || MNL_ALIGN(m->nlmsg_len) + MNL_ALIGN(size) > REQUEST_SIZE) {
		nl->overflow = true;
		return NULL;
	}
	return mnl_nlmsg_put_extra_header(m, size);
}

void bn_nl_header(struct bn_nl *nl, const void *header, size_t size)
{
	void *to = reserve(nl, size);

	if (to)
		memcpy(to, header, size);
}

void bn_nl_put_raw(struct bn_nl *nl, const void *data, size_t size)
{
	bn_nl_header(nl, data, size);
}

void bn_nl_put(struct bn_nl *nl, uint16_t type, const void *data, size_t size)
{
	if (nl->overflow ||
	    !mnl_attr_put_check(&nl->request.header, REQUEST_SIZE, type, size, data))
		nl->overflow = true;
}

void bn_nl_put_u8(struct bn_nl *nl, uint16_t type, uint8_t v)
{
	bn_nl_put(nl, type, &v, sizeof(v));
}

void bn_nl_put_u32(struct bn_nl *nl, uint16_t type, uint32_t v)
{
	bn_nl_put(nl, type, &v, sizeof(v));
}

void bn_nl_put_str(struct bn_nl *nl, uint16_t type, const char *s)
{
	bn_nl_put(nl, type, s, strlen(s) + 1);
}

struct nlattr *bn_nl_nest(struct bn_nl *nl, uint16_t type)
{
	struct nlattr *nest = NULL;

	if (!nl->overflow)
		nest = mnl_attr_nest_start_check(&nl->request.header, REQUEST_SIZE, type);
	if (!nest)
		nl->overflow = true;
	return nest;
}

void bn_nl_nest_end(struct bn_nl *nl, struct nlattr *nest)
{
	if (nest && !nl->overflow)
		mnl_attr_nest_end(&nl->request.header, nest);
}

/* Extended acknowledgement: attributes behind the error and what is quoted of the request. */
static void keep_reason(struct bn_nl *nl, const struct nlmsghdr *m)
{
	const struct nlmsgerr *e = mnl_nlmsg_get_payload(m);
	size_t skip = sizeof(*e);
	const struct nlattr *a;

	if (!(m->nlmsg_flags & NLM_F_ACK_TLVS))
		return;
	if (!(m->nlmsg_flags & NLM_F_CAPPED))
		skip += e->msg.nlmsg_len - MNL_NLMSG_HDRLEN;
	if (skip > mnl_nlmsg_get_payload_len(m))
		return;
	mnl_attr_for_each(a, m, skip)
	{
		if (mnl_attr_get_type(a) != NLMSGERR_ATTR_MSG ||
		    mnl_attr_validate(a, MNL_TYPE_NUL_STRING) < 0)
			continue;
		strncpy(nl->reason, mnl_attr_get_str(a), sizeof(nl->reason) - 1);
		nl->reason[sizeof(nl->reason) - 1] = '\0';
	}
}

/* One message of the answer: 1 the answer is complete, 0 more follows, or an error. */
static int take(struct bn_nl *nl, const struct nlmsghdr *m, bn_nl_fn fn, void *user)
{
	const struct nlmsgerr *e;
	const int *status;
	int r;

	if (m->nlmsg_flags & NLM_F_DUMP_INTR)
		return -EAGAIN;
	switch (m->nlmsg_type) {
	case NLMSG_NOOP:
		return 0;
	case NLMSG_OVERRUN:
		return -ENOBUFS;
	case NLMSG_DONE:
		/* A dump that failed in the middle says so here. */
		status = mnl_nlmsg_get_payload(m);
		if (mnl_nlmsg_get_payload_len(m) >= sizeof(*status) && *status < 0)
			return *status;
		return 1;
	case NLMSG_ERROR:
		if (mnl_nlmsg_get_payload_len(m) < sizeof(*e))
			return -EBADMSG;
		e = mnl_nlmsg_get_payload(m);
		if (e->error)
			keep_reason(nl, m);
		return e->error ? e->error : 1;
	default:
		r = fn ? fn(m, user) : 0;
		return r < 0 ? r : 0;
	}
}

/*
 * Reads to the end of the answer even when the callback or the kernel gave up on it, so that the
 * next request does not start among the rest of this one.
 */
static int receive(struct bn_nl *nl, bn_nl_fn fn, void *user)
{
	bool complete = false;
	int result = 0;

	while (!complete) {
		const struct nlmsghdr *m = &nl->answer.header;
		ssize_t n;
		int left;

		do {
			n = mnl_socket_recvfrom(nl->socket, nl->answer.bytes, ANSWER_SIZE);
		} while (n < 0 && errno == EINTR);
		if (n < 0)
			return errno == EAGAIN ? -ETIMEDOUT : -errno;
		for (left = (int)n; mnl_nlmsg_ok(m, left); m = mnl_nlmsg_next(m, &left)) {
			int r;

			if (m->nlmsg_seq != nl->seq)
				continue;
			r = take(nl, m, result < 0 ? NULL : fn, user);
			if (r < 0 && result == 0)
				result = r;
			if (r > 0 || m->nlmsg_type == NLMSG_ERROR || m->nlmsg_type == NLMSG_DONE)
				complete = true;
		}
	}
	return result;
}

static int transact(struct bn_nl *nl, uint16_t flags, bn_nl_fn fn, void *user)
{
	struct nlmsghdr *m = &nl->request.header;
	ssize_t n;

	nl->reason[0] = '\0';
	if (nl->overflow)
		return -EMSGSIZE;
	m->nlmsg_flags |= flags;
	m->nlmsg_seq = ++nl->seq;
	do {
		n = mnl_socket_sendto(nl->socket, m, m->nlmsg_len);
	} while (n < 0 && errno == EINTR);
	if (n < 0)
		return -errno;
	return receive(nl, fn, user);
}

int bn_nl_send(struct bn_nl *nl, bn_nl_fn fn, void *user)
{
	return transact(nl, NLM_F_ACK, fn, user);
}

int bn_nl_dump(struct bn_nl *nl, bn_nl_fn fn, void *user)
{
	return transact(nl, NLM_F_DUMP, fn, user);
}

const char *bn_nl_reason(const struct bn_nl *nl, int r)
{
	return nl->reason[0] ? nl->reason : strerror(-r);
}

void bn_nl_attrs(const struct nlmsghdr *m, size_t header, const struct nlattr **ret, int max)
{
	const struct nlattr *a;

	memset(ret, 0, sizeof(*ret) * ((size_t)max + 1));
	if (mnl_nlmsg_get_payload_len(m) < header)
		return;
	mnl_attr_for_each(a, m, header)
	{
		if (mnl_attr_get_type(a) <= max)
			ret[mnl_attr_get_type(a)] = a;
	}
}

void bn_nl_nested(const struct nlattr *nest, const struct nlattr **ret, int max)
{
	const struct nlattr *a;

	memset(ret, 0, sizeof(*ret) * ((size_t)max + 1));
	if (!nest)
		return;
	mnl_attr_for_each_nested(a, nest)
	{
		if (mnl_attr_get_type(a) <= max)
			ret[mnl_attr_get_type(a)] = a;
	}
}

uint32_t bn_nl_u32(const struct nlattr *a, uint32_t missing)
{
	return a && mnl_attr_get_payload_len(a) >= sizeof(uint32_t) ? mnl_attr_get_u32(a) : missing;
}

uint8_t bn_nl_u8(const struct nlattr *a, uint8_t missing)
{
	return a && mnl_attr_get_payload_len(a) >= 1 ? mnl_attr_get_u8(a) : missing;
}

const char *bn_nl_str(const struct nlattr *a)
{
	return a && mnl_attr_validate(a, MNL_TYPE_NUL_STRING) == 0 ? mnl_attr_get_str(a) : "";
}
