/* SPDX-License-Identifier: Apache-2.0 */
/*
 * libmicrohttpd in the agent's loop, without a thread and without a listener of its own. Whoever
 * may connect is a stranger, so the number of connections, their memory and their time are bounded;
 * nothing here blocks.
 */
#pragma once

#include <bpfnet/types.h>
#include <microhttpd.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <systemd/sd-event.h>

struct bn_http;

struct bn_http_config {
	/*
	 * Answers a request whose head is read, and a body of which was read and forgotten. MHD_NO
	 * closes the connection.
	 */
	enum MHD_Result (*answer)(void *user, struct MHD_Connection *connection, const char *method,
				  const char *path);
	/* Whether to talk on a connection that was taken in; NULL: always. */
	bool (*admit)(void *user, int fd);
	void *user;
	unsigned int connections, per_address; /* at once */
	size_t memory;                         /* bytes of a request's head */
	unsigned int idle;                     /* seconds without progress */
	unsigned int lifetime;                 /* seconds of a connection in all; 0: no bound */
};

int bn_http_new(sd_event *event, const struct bn_http_config *config, struct bn_http **ret);
/* Closes every connection; none may be suspended. */
void bn_http_free(struct bn_http *http);
/* The connection may last longer than `lifetime`, as long as it makes progress. */
void bn_http_keep(struct bn_http *http, struct MHD_Connection *connection);
/* Goes on with a connection that was suspended, in the loop's next turn. */
void bn_http_resume(struct bn_http *http, struct MHD_Connection *connection);

/*
 * A non-blocking socket that listens on an address that the node may not have yet; on :: for IPv4
 * as well, or alone where there is no IPv6. Returns a descriptor or -errno.
 */
int bn_http_listen(const union bn_addr *addr, uint16_t port);
/* Takes in one connection of a listener that is readable. */
void bn_http_accept(struct bn_http *http, int listener);
