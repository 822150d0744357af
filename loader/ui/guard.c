// SPDX-License-Identifier: Apache-2.0
#include "ui/guard.h"

#include <netinet/in.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>

#define HOST_MAX 256

/* The name or number without port and brackets, which *ret_v6 tells of. */
static bool split(const char *header, char host[HOST_MAX], bool *ret_v6)
{
	const char *end;

	*ret_v6 = *header == '[';
	header += *ret_v6;
	end = header + strcspn(header, *ret_v6 ? "]" : ":");
	if (end == header || end - header >= HOST_MAX)
		return false;
	memcpy(host, header, (size_t)(end - header));
	host[end - header] = '\0';
	if (*ret_v6 && *end++ != ']')
		return false;
	if (!*end)
		return true;
	/* which port is of no account: it may have been forwarded */
	return *end == ':' && end[1] && !end[1 + strspn(end + 1, "0123456789")];
}

bool bn_ui_knows_host(const char *header, const union bn_addr *local,
		      const struct bn_string_list *hosts)
{
	char host[HOST_MAX];
	union bn_addr addr;
	int family;
	bool v6;

	if (!split(header, host, &v6))
		return false;
	if (bn_addr_parse(host, &addr, &family) == 0)
		return (family == BN_IPV6) == v6 && bn_addr_equal(&addr, local);
	if (v6)
		return false;
	if (strcasecmp(host, "localhost") == 0)
		return true;
	for (size_t i = 0; i < hosts->n; i++)
		if (strcasecmp(host, hosts->items[i]) == 0)
			return true;
	return false;
}

static bool local_address(struct MHD_Connection *connection, union bn_addr *ret)
{
	const union MHD_ConnectionInfo *info =
		MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CONNECTION_FD);
	struct sockaddr_storage at;
	socklen_t size = sizeof(at);

	memset(ret, 0, sizeof(*ret));
	if (!info || getsockname(info->connect_fd, (struct sockaddr *)&at, &size) < 0)
		return false;
	if (at.ss_family == AF_INET6) {
		memcpy(ret, &((struct sockaddr_in6 *)&at)->sin6_addr, sizeof(*ret));
		return true;
	}
	*ret = bn_addr_any4;
	ret->w[3] = ((struct sockaddr_in *)&at)->sin_addr.s_addr;
	return at.ss_family == AF_INET;
}

const char *bn_ui_refuses(struct MHD_Connection *connection, const struct bn_string_list *hosts)
{
	const char *host =
		MHD_lookup_connection_value(connection, MHD_HEADER_KIND, MHD_HTTP_HEADER_HOST);
	const char *site =
		MHD_lookup_connection_value(connection, MHD_HEADER_KIND, "Sec-Fetch-Site");
	union bn_addr local;

	if (!host || !local_address(connection, &local) || !bn_ui_knows_host(host, &local, hosts))
		return "This page is served under its address, as localhost, and under the names "
		       "that ui.hosts of bpfnetd's configuration lists.\n";
	if (site && strcmp(site, "same-origin") && strcmp(site, "none"))
		return "Another site's page may not read this one.\n";
	return NULL;
}
