// SPDX-License-Identifier: Apache-2.0
/*
 * Asked by trying: the rules of who excludes whom (wildcards, dual-stack sockets, SO_REUSEPORT,
 * SO_BINDTODEVICE) are the kernel's own. Nothing listens meanwhile, so no client notices. What only
 * our own programs refuse (EPERM, in a cgroup where bind is guarded) is not held by a socket. Ports
 * below 1024 need CAP_NET_BIND_SERVICE, without which the kernel does not come to the question.
 */
#include "net/port.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static int try_bind(int fd, const union bn_addr *addr, uint16_t port)
{
	struct sockaddr_in6 six = {.sin6_family = AF_INET6, .sin6_port = htons(port)};
	struct sockaddr_in four = {.sin_family = AF_INET, .sin_port = htons(port)};

	if (bn_addr_is_v4(addr)) {
		four.sin_addr.s_addr = addr->w[3];
		return bind(fd, (const struct sockaddr *)&four, sizeof(four));
	}
	memcpy(&six.sin6_addr, addr, sizeof(six.sin6_addr));
	return bind(fd, (const struct sockaddr *)&six, sizeof(six));
}

bool bn_port_is_free(const union bn_addr *addr, uint16_t port, uint8_t protocol)
{
	bool v4 = bn_addr_is_v4(addr), held = false;
	int type = protocol == IPPROTO_UDP ? SOCK_DGRAM : SOCK_STREAM;
	int fd, on = 1;

	fd = socket(v4 ? AF_INET : AF_INET6, type | SOCK_CLOEXEC, protocol);
	if (fd < 0)
		return true;
	if (!v4)
		setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof(on));
	/* what remains of connections of TCP is no listener; of UDP the option would hide one */
	if (protocol == IPPROTO_TCP)
		setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	if (try_bind(fd, addr, port) < 0)
		held = errno == EADDRINUSE;
	close(fd);
	return !held;
}
