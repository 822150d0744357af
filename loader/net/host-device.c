// SPDX-License-Identifier: Apache-2.0
/*
 * Why: nothing of the kernel's calls a program for what a host sends to an address that is nobody's,
 * unless a route leads it to a device of ours.
 *
 * Invariants: a device that is not as bn_host_device_ensure() makes it is not ours and is left
 * alone; a route that is already right is not written again, since every route change makes all
 * flows look again.
 */
#include "net/host-device.h"

#include "error.h"
#include "net/inventory.h"
#include "net/netlink.h"
#include "net/veth-settings.h"
#include "net/veth.h"

#include <bpfnet/endpoint.h>
#include <arpa/inet.h>
#include <errno.h>
#include <linux/if_addr.h>
#include <linux/if_link.h>
#include <linux/neighbour.h>
#include <linux/rtnetlink.h>
#include <linux/veth.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ATTEMPTS 8

static void name_of(const char *prefix, const char *bpffs, char ret[IF_NAMESIZE])
{
	uint32_t h = 2166136261u; /* FNV-1a */

	for (const char *p = bpffs; *p; p++)
		h = (h ^ (uint8_t)*p) * 16777619u;
	snprintf(ret, IF_NAMESIZE, "%s%08x", prefix, h);
}

static int create(struct bn_nl *nl, const char *name, const char *peer_name, uint32_t mtu)
{
	static const uint8_t mac[6] = BN_HOST_MAC;
	const struct ifinfomsg ifi = {.ifi_family = AF_UNSPEC};
	struct nlattr *info, *data, *peer;

	bn_nl_begin(nl, RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL);
	bn_nl_header(nl, &ifi, sizeof(ifi));
	bn_nl_put_str(nl, IFLA_IFNAME, name);
	bn_nl_put_u32(nl, IFLA_MTU, mtu);
	info = bn_nl_nest(nl, IFLA_LINKINFO);
	bn_nl_put_str(nl, IFLA_INFO_KIND, "veth");
	data = bn_nl_nest(nl, IFLA_INFO_DATA);
	peer = bn_nl_nest(nl, VETH_INFO_PEER);
	bn_nl_put_raw(nl, &ifi, sizeof(ifi));
	bn_nl_put_str(nl, IFLA_IFNAME, peer_name);
	bn_nl_put_u32(nl, IFLA_MTU, mtu);
	bn_nl_put(nl, IFLA_ADDRESS, mac, sizeof(mac));
	bn_nl_nest_end(nl, peer);
	bn_nl_nest_end(nl, data);
	bn_nl_nest_end(nl, info);
	return bn_nl_send(nl, NULL, NULL);
}

/* The flows' entries name the device by its ifindex, from which its MAC follows as a pod's does. */
static int set_mac_and_mtu(struct bn_nl *nl, const struct bn_link *link, const uint8_t mac[6],
			   uint32_t mtu)
{
	const struct ifinfomsg ifi = {.ifi_index = link->ifindex};

	if (link->mtu == mtu && !memcmp(link->mac, mac, sizeof(link->mac)))
		return 0;
	bn_nl_begin(nl, RTM_NEWLINK, 0);
	bn_nl_header(nl, &ifi, sizeof(ifi));
	bn_nl_put_u32(nl, IFLA_MTU, mtu);
	bn_nl_put(nl, IFLA_ADDRESS, mac, 6);
	return bn_nl_send(nl, NULL, NULL);
}

static bool is_pair(const struct bn_link *link, const struct bn_link *peer)
{
	return !strcmp(link->kind, "veth") && bn_link_is_host_side(peer) &&
	       link->peer_ifindex == peer->ifindex && peer->peer_ifindex == link->ifindex;
}

static void put_addr(struct bn_nl *nl, uint16_t type, const union bn_addr *addr)
{
	if (bn_addr_is_v4(addr))
		bn_nl_put(nl, type, addr->b + 12, 4);
	else
		bn_nl_put(nl, type, addr->b, 16);
}

/* See the header's picture: for reverse-path filters. */
static int add_dummy(struct bn_nl *nl, int ifindex)
{
	const struct ifaddrmsg ifa = {
		.ifa_family = AF_INET,
		.ifa_prefixlen = 32,
		.ifa_scope = RT_SCOPE_HOST,
		.ifa_index = (uint32_t)ifindex,
	};
	union bn_addr dummy;

	bn_addr_set_v4(&dummy, htonl(BN_DUMMY_V4));
	bn_nl_begin(nl, RTM_NEWADDR, NLM_F_CREATE | NLM_F_REPLACE);
	bn_nl_header(nl, &ifa, sizeof(ifa));
	put_addr(nl, IFA_LOCAL, &dummy);
	put_addr(nl, IFA_ADDRESS, &dummy);
	return bn_nl_send(nl, NULL, NULL);
}

int bn_host_device_ensure(struct bn_nl *nl, const char *bpffs, uint32_t mtu, bool v6,
			  struct bn_host_device *ret, struct bn_error *err)
{
	static const uint8_t peer_mac[6] = BN_HOST_MAC;
	char name[IF_NAMESIZE], peer_name[IF_NAMESIZE];
	struct bn_link link, peer;
	uint8_t mac[6];
	int r;

	name_of("bnhost", bpffs, name);
	name_of("bnpeer", bpffs, peer_name);
	r = bn_link_get(nl, name, 0, &link);
	if (r == -ENODEV) {
		r = create(nl, name, peer_name, mtu);
		if (!r)
			r = bn_link_get(nl, name, 0, &link);
	}
	if (!r)
		r = bn_link_get(nl, peer_name, 0, &peer);
	if (!r && !is_pair(&link, &peer))
		return bn_error_set(
			err, -EEXIST,
			"the devices %s and %s are not as bpfnetd makes them; remove them", name,
			peer_name);
	if (!r) {
		bn_veth_pod_mac(link.ifindex, mac);
		r = set_mac_and_mtu(nl, &link, mac, mtu);
	}
	if (!r)
		r = set_mac_and_mtu(nl, &peer, peer_mac, mtu);
	if (!r)
		r = add_dummy(nl, link.ifindex);
	if (r < 0)
		return bn_error_set(err, r, "cannot make the pair %s and %s: %s", name, peer_name,
				    bn_nl_reason(nl, r));
	r = bn_veth_set_near(name, v6, err);
	if (!r)
		r = bn_veth_set_host(peer_name, v6, err);
	if (r < 0)
		return r;
	ret->ifindex = link.ifindex;
	ret->peer_ifindex = peer.ifindex;
	return 0;
}

static uint8_t af_of(uint8_t family)
{
	return family == BN_IPV4 ? AF_INET : AF_INET6;
}

static void gateway_of(uint8_t family, union bn_addr *ret)
{
	bn_addr_parse(family == BN_IPV4 ? BN_GATEWAY_V4 : BN_GATEWAY_V6, ret, NULL);
}

static int up(struct bn_nl *nl, int ifindex)
{
	const struct ifinfomsg ifi = {
		.ifi_index = ifindex, .ifi_flags = IFF_UP, .ifi_change = IFF_UP};
	struct bn_link link;
	int r = bn_link_get(nl, NULL, ifindex, &link);

	if (r < 0 || link.flags & IFF_UP)
		return r;
	bn_nl_begin(nl, RTM_NEWLINK, 0);
	bn_nl_header(nl, &ifi, sizeof(ifi));
	return bn_nl_send(nl, NULL, NULL);
}

static int add_gateway(struct bn_nl *nl, int ifindex, uint8_t family)
{
	static const uint8_t mac[6] = BN_HOST_MAC;
	const struct ndmsg nd = {
		.ndm_family = af_of(family),
		.ndm_ifindex = ifindex,
		.ndm_state = NUD_PERMANENT,
	};
	union bn_addr gateway;

	gateway_of(family, &gateway);
	bn_nl_begin(nl, RTM_NEWNEIGH, NLM_F_CREATE | NLM_F_REPLACE);
	bn_nl_header(nl, &nd, sizeof(nd));
	put_addr(nl, NDA_DST, &gateway);
	bn_nl_put(nl, NDA_LLADDR, mac, sizeof(mac));
	return bn_nl_send(nl, NULL, NULL);
}

int bn_host_device_raise(struct bn_nl *nl, const struct bn_host_device *device, bool v6,
			 struct bn_error *err)
{
	int r = up(nl, device->peer_ifindex);

	if (r >= 0)
		r = up(nl, device->ifindex);
	if (r >= 0)
		r = add_gateway(nl, device->ifindex, BN_IPV4);
	if (r >= 0 && v6)
		r = add_gateway(nl, device->ifindex, BN_IPV6);
	return r < 0 ? bn_error_set(err, r, "cannot set the node's device for services up: %s",
				    bn_nl_reason(nl, r))
		     : 0;
}

/* ---- routes ---- */

struct standing {
	struct bn_cidr to;    /* first: by_cidr() takes either */
	union bn_addr source; /* zero: none */
	bool kept;
};

struct routes {
	int ifindex;
	struct standing *items;
	size_t n;
};

static bool read_addr(const struct nlattr *a, uint8_t family, union bn_addr *ret)
{
	size_t size = family == BN_IPV4 ? 4 : 16;

	memset(ret, 0, sizeof(*ret));
	if (!a || mnl_attr_get_payload_len(a) != size)
		return false;
	if (family == BN_IPV4)
		bn_addr_set_v4(ret, mnl_attr_get_u32(a));
	else
		memcpy(ret, mnl_attr_get_payload(a), size);
	return true;
}

static int take_route(const struct nlmsghdr *m, void *user)
{
	const struct nlattr *a[RTA_TABLE + 1];
	struct routes *routes = user;
	struct standing s = {0}, *more;
	const struct rtmsg *rt;

	if (m->nlmsg_type != RTM_NEWROUTE || mnl_nlmsg_get_payload_len(m) < sizeof(*rt))
		return 0;
	rt = mnl_nlmsg_get_payload(m);
	bn_nl_attrs(m, sizeof(*rt), a, RTA_TABLE);
	if (rt->rtm_protocol != BN_ROUTE_PROTOCOL || rt->rtm_flags & RTM_F_CLONED ||
	    (int)bn_nl_u32(a[RTA_OIF], 0) != routes->ifindex)
		return 0;
	s.to.family = rt->rtm_family == AF_INET ? BN_IPV4 : BN_IPV6;
	s.to.prefix = rt->rtm_dst_len;
	if (!read_addr(a[RTA_DST], s.to.family, &s.to.addr))
		return 0;
	read_addr(a[RTA_PREFSRC], s.to.family, &s.source);
	more = reallocarray(routes->items, routes->n + 1, sizeof(*more));
	if (!more)
		return -ENOMEM;
	routes->items = more;
	routes->items[routes->n++] = s;
	return 0;
}

static int read_routes(struct bn_nl *nl, struct routes *routes)
{
	static const uint8_t families[] = {AF_INET, AF_INET6};
	int r = 0;

	for (int attempt = 0; attempt < ATTEMPTS; attempt++) {
		routes->n = 0;
		for (size_t i = 0; i < sizeof(families); i++) {
			const struct rtmsg rt = {.rtm_family = families[i]};

			bn_nl_begin(nl, RTM_GETROUTE, 0);
			bn_nl_header(nl, &rt, sizeof(rt));
			r = bn_nl_dump(nl, take_route, routes);
			if (r < 0)
				break;
		}
		if (r != -EAGAIN)
			break;
	}
	return r;
}

static int change_route(struct bn_nl *nl, uint16_t type, uint16_t flags, int ifindex,
			const struct bn_cidr *to, const union bn_addr *source)
{
	const struct rtmsg rt = {
		.rtm_family = af_of(to->family),
		.rtm_dst_len = to->prefix,
		.rtm_table = RT_TABLE_MAIN,
		.rtm_protocol = BN_ROUTE_PROTOCOL,
		.rtm_scope = RT_SCOPE_UNIVERSE,
		.rtm_type = RTN_UNICAST,
		/* the IPv4 gateway is reached by no route */
		.rtm_flags = to->family == BN_IPV4 ? RTNH_F_ONLINK : 0,
	};
	union bn_addr gateway;

	gateway_of(to->family, &gateway);
	bn_nl_begin(nl, type, flags);
	bn_nl_header(nl, &rt, sizeof(rt));
	put_addr(nl, RTA_DST, &to->addr);
	put_addr(nl, RTA_GATEWAY, &gateway);
	if (source)
		put_addr(nl, RTA_PREFSRC, source);
	bn_nl_put_u32(nl, RTA_OIF, (uint32_t)ifindex);
	return bn_nl_send(nl, NULL, NULL);
}

/* Padding of struct bn_cidr is not compared. */
static int by_cidr(const void *left, const void *right)
{
	const struct bn_cidr *a = left, *b = right;
	int r = memcmp(&a->addr, &b->addr, sizeof(a->addr));

	if (!r)
		r = a->family - b->family;
	return r ? r : a->prefix - b->prefix;
}

/* Whether the route stands as it should; one that does not is not kept. */
static bool stands(struct routes *routes, const struct bn_host_route *wanted)
{
	static const union bn_addr none;
	struct standing *s = NULL;

	if (routes->n)
		s = bsearch(&wanted->to, routes->items, routes->n, sizeof(*s), by_cidr);
	if (!s || !bn_addr_equal(&s->source, wanted->source ? wanted->source : &none))
		return false;
	s->kept = true;
	return true;
}

int bn_host_device_routes(struct bn_nl *nl, const struct bn_host_device *device,
			  const struct bn_host_route *wanted, size_t n, struct bn_error *err)
{
	struct routes routes = {.ifindex = device->ifindex};
	bool *missing = calloc(n + 1, sizeof(*missing));
	char text[BN_CIDR_STRLEN];
	int result, r;

	if (!missing)
		return -ENOMEM;
	result = read_routes(nl, &routes);
	if (result < 0) {
		bn_error_set(err, result, "cannot list routes: %s", bn_nl_reason(nl, result));
		goto out;
	}
	if (routes.n)
		qsort(routes.items, routes.n, sizeof(*routes.items), by_cidr);
	for (size_t i = 0; i < n; i++)
		missing[i] = !stands(&routes, &wanted[i]);
	for (size_t i = 0; i < routes.n; i++) {
		if (!routes.items[i].kept)
			change_route(nl, RTM_DELROUTE, 0, device->ifindex, &routes.items[i].to,
				     NULL);
	}
	for (size_t i = 0; i < n; i++) {
		if (!missing[i])
			continue;
		r = change_route(nl, RTM_NEWROUTE, NLM_F_CREATE | NLM_F_EXCL, device->ifindex,
				 &wanted[i].to, wanted[i].source);
		if (r == -EEXIST)
			result = bn_error_set(err, r,
					      "this node has a route to %s already; remove it",
					      bn_cidr_format(&wanted[i].to, text));
		else if (r < 0)
			result = bn_error_set(err, r, "cannot add a route to %s: %s",
					      bn_cidr_format(&wanted[i].to, text),
					      bn_nl_reason(nl, r));
	}
out:
	free(routes.items);
	free(missing);
	return result;
}

int bn_host_device_route(struct bn_nl *nl, const struct bn_host_device *device,
			 const struct bn_host_route *route, bool wanted, struct bn_error *err)
{
	char text[BN_CIDR_STRLEN];
	int r = change_route(nl, wanted ? RTM_NEWROUTE : RTM_DELROUTE,
			     wanted ? NLM_F_CREATE | NLM_F_EXCL : 0, device->ifindex, &route->to,
			     wanted ? route->source : NULL);

	if (!r || (!wanted && (r == -ESRCH || r == -ENODEV)))
		return 0;
	return bn_error_set(err, r, "cannot change the route to %s: %s",
			    bn_cidr_format(&route->to, text), bn_nl_reason(nl, r));
}

int bn_host_device_remove(struct bn_nl *nl, const char *bpffs, struct bn_error *err)
{
	char name[IF_NAMESIZE], peer_name[IF_NAMESIZE];
	struct bn_link link, peer;

	name_of("bnhost", bpffs, name);
	name_of("bnpeer", bpffs, peer_name);
	if (bn_link_get(nl, name, 0, &link) < 0 || bn_link_get(nl, peer_name, 0, &peer) < 0 ||
	    !is_pair(&link, &peer))
		return 0;
	return bn_veth_remove(nl, link.ifindex, err);
}
