// SPDX-License-Identifier: Apache-2.0
#include "net/sock-destroy.h"

#include "error.h"
#include "net/netlink.h"

#include <errno.h>
#include <linux/inet_diag.h>
#include <linux/sock_diag.h>
#include <string.h>
#include <sys/socket.h>

static void put_address(__be32 ret[4], __u8 family, const union bn_addr *addr)
{
	if (family == BN_IPV4)
		ret[0] = addr->w[3];
	else
		memcpy(ret, addr->w, sizeof(addr->w));
}

int bn_sock_destroy_by_name(const struct bn_sock_name *name, struct bn_error *err)
{
	struct inet_diag_req_v2 req = {
		.sdiag_family = name->family == BN_IPV4 ? AF_INET : AF_INET6,
		.sdiag_protocol = name->protocol,
		.idiag_states = ~0u,
		.id =
			{
				.idiag_sport = name->local_port,
				.idiag_dport = name->remote_port,
				.idiag_cookie = {(__u32)name->cookie, (__u32)(name->cookie >> 32)},
			},
	};
	struct bn_nl *nl = NULL;
	int r;

	put_address(req.id.idiag_src, name->family, &name->local);
	put_address(req.id.idiag_dst, name->family, &name->remote);
	r = bn_nl_open(NETLINK_SOCK_DIAG, &nl, err);
	if (r < 0)
		return r;
	bn_nl_begin(nl, SOCK_DESTROY, 0);
	bn_nl_header(nl, &req, sizeof(req));
	r = bn_nl_send(nl, NULL, NULL);
	if (r < 0 && r != -ENOENT)
		bn_error_set(err, r, "can't end a socket: %s", bn_nl_reason(nl, r));
	bn_nl_free(nl);
	return r == -ENOENT ? 0 : r;
}
