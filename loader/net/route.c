// SPDX-License-Identifier: Apache-2.0
/* Single look-ups, as `ip route get` and `ip neighbour get` do them. */
#include "net/route.h"

#include "net/netlink.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/neighbour.h>
#include <linux/rtnetlink.h>
#include <string.h>

static void put_address(struct bn_nl *nl, uint16_t type, const union bn_addr *addr)
{
	if (bn_addr_is_v4(addr))
		bn_nl_put(nl, type, &addr->w[3], 4);
	else
		bn_nl_put(nl, type, addr, sizeof(*addr));
}

static bool read_address(const void *data, size_t size, union bn_addr *ret)
{
	__be32 v4;

	if (size == sizeof(*ret)) {
		memcpy(ret, data, sizeof(*ret));
		return true;
	}
	if (size != sizeof(v4))
		return false;
	memcpy(&v4, data, sizeof(v4));
	bn_addr_set_v4(ret, v4);
	return true;
}

/* An IPv4 route may have an IPv6 next hop: RTA_VIA, a family and its address. */
static void read_next_hop(const struct nlattr *const *a, struct bn_route *ret)
{
	if (a[RTA_GATEWAY])
		ret->has_via = read_address(mnl_attr_get_payload(a[RTA_GATEWAY]),
					    mnl_attr_get_payload_len(a[RTA_GATEWAY]), &ret->via);
	else if (a[RTA_VIA] && mnl_attr_get_payload_len(a[RTA_VIA]) > sizeof(struct rtvia))
		ret->has_via = read_address(
			(const char *)mnl_attr_get_payload(a[RTA_VIA]) + sizeof(struct rtvia),
			mnl_attr_get_payload_len(a[RTA_VIA]) - sizeof(struct rtvia), &ret->via);
}

struct lookup {
	struct bn_route route;
	int error;
	bool found;
};

static int take_route(const struct nlmsghdr *m, void *user)
{
	const struct nlattr *a[RTA_VIA + 1];
	struct lookup *l = user;
	const struct rtmsg *rt;

	if (m->nlmsg_type != RTM_NEWROUTE || mnl_nlmsg_get_payload_len(m) < sizeof(*rt))
		return 0;
	rt = mnl_nlmsg_get_payload(m);
	bn_nl_attrs(m, sizeof(*rt), a, RTA_VIA);
	l->found = true;
	l->error = rt->rtm_type == RTN_UNREACHABLE ? -EHOSTUNREACH
		   : rt->rtm_type == RTN_PROHIBIT  ? -EACCES
		   : rt->rtm_type == RTN_BLACKHOLE ? -EINVAL
						   : 0;
	l->route.local = rt->rtm_type == RTN_LOCAL;
	l->route.ifindex = (int)bn_nl_u32(a[RTA_OIF], 0);
	read_next_hop(a, &l->route);
	return 0;
}

int bn_route_get(struct bn_nl *nl, const union bn_addr *to, struct bn_route *ret)
{
	const bool v4 = bn_addr_is_v4(to);
	const struct rtmsg rt = {.rtm_family = v4 ? AF_INET : AF_INET6,
				 .rtm_dst_len = v4 ? 32 : 128};
	struct lookup l = {0};
	int r;

	bn_nl_begin(nl, RTM_GETROUTE, 0);
	bn_nl_header(nl, &rt, sizeof(rt));
	put_address(nl, RTA_DST, to);
	r = bn_nl_send(nl, take_route, &l);
	if (r == 0)
		r = l.found ? l.error : -ENETUNREACH;
	if (r == 0)
		*ret = l.route;
	return r;
}

static int take_neighbour(const struct nlmsghdr *m, void *user)
{
	const struct ndmsg *nd;

	if (m->nlmsg_type != RTM_NEWNEIGH || mnl_nlmsg_get_payload_len(m) < sizeof(*nd))
		return 0;
	nd = mnl_nlmsg_get_payload(m);
	*(bool *)user = nd->ndm_state & NUD_FAILED;
	return 0;
}

bool bn_neighbour_failed(struct bn_nl *nl, int ifindex, const union bn_addr *addr)
{
	const struct ndmsg nd = {.ndm_family = bn_addr_is_v4(addr) ? AF_INET : AF_INET6,
				 .ndm_ifindex = ifindex};
	bool failed = false;

	bn_nl_begin(nl, RTM_GETNEIGH, 0);
	bn_nl_header(nl, &nd, sizeof(nd));
	put_address(nl, NDA_DST, addr);
	/* without an entry nobody has asked yet */
	return bn_nl_send(nl, take_neighbour, &failed) == 0 && failed;
}
