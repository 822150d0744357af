// SPDX-License-Identifier: Apache-2.0
/*
 * Why: the agent starts from what the kernel has, not from what it remembers, and compares again
 * whenever the monitor may have missed something.
 *
 * Invariant: a result is one consistent dump; an interrupted one is thrown away and repeated.
 */
#include "net/inventory.h"

#include "error.h"
#include "net/netlink.h"

#include <arpa/inet.h>
#include <bpfnet/endpoint.h>
#include <errno.h>
#include <linux/if.h>
#include <linux/if_addr.h>
#include <linux/if_link.h>
#include <linux/rtnetlink.h>
#include <stdlib.h>
#include <string.h>

#define ATTEMPTS 8
#define LINK_ATTRIBUTES IFLA_XDP /* the highest that is read */

struct array {
	void *items;
	size_t n;
	size_t allocated;
	size_t item_size;
};

static int array_add(struct array *a, const void *item)
{
	if (a->n == a->allocated) {
		size_t more = a->allocated ? a->allocated * 2 : 16;
		void *items = reallocarray(a->items, more, a->item_size);

		if (!items)
			return -ENOMEM;
		a->items = items;
		a->allocated = more;
	}
	memcpy((char *)a->items + a->n++ * a->item_size, item, a->item_size);
	return 0;
}

bool bn_link_is_host_side(const struct bn_link *link)
{
	static const uint8_t mac[6] = BN_HOST_MAC;

	return !strcmp(link->kind, "veth") && !memcmp(link->mac, mac, sizeof(mac));
}

bool bn_link_is_ready(const struct bn_link *link)
{
	/* Until the carrier's event has been handled the device has no queue and drops. */
	return (link->flags & IFF_UP) && link->operstate == IF_OPER_UP;
}

bool bn_link_read(const struct nlmsghdr *m, struct bn_link *ret)
{
	const struct nlattr *a[LINK_ATTRIBUTES + 1];
	const struct nlattr *info[IFLA_INFO_KIND + 1];
	const struct nlattr *xdp[IFLA_XDP_ATTACHED + 1];
	const struct ifinfomsg *ifi;

	if (m->nlmsg_type != RTM_NEWLINK && m->nlmsg_type != RTM_DELLINK)
		return false;
	if (mnl_nlmsg_get_payload_len(m) < sizeof(*ifi))
		return false;
	ifi = mnl_nlmsg_get_payload(m);
	if (ifi->ifi_family != AF_UNSPEC)
		return false;
	bn_nl_attrs(m, sizeof(*ifi), a, LINK_ATTRIBUTES);
	bn_nl_nested(a[IFLA_LINKINFO], info, IFLA_INFO_KIND);
	bn_nl_nested(a[IFLA_XDP], xdp, IFLA_XDP_ATTACHED);
	memset(ret, 0, sizeof(*ret));
	ret->ifindex = ifi->ifi_index;
	ret->flags = ifi->ifi_flags;
	ret->peer_ifindex = (int)bn_nl_u32(a[IFLA_LINK], 0);
	ret->peer_netns = (int)bn_nl_u32(a[IFLA_LINK_NETNSID], UINT32_MAX);
	ret->mtu = bn_nl_u32(a[IFLA_MTU], 0);
	ret->operstate = bn_nl_u8(a[IFLA_OPERSTATE], IF_OPER_UNKNOWN);
	ret->xdp = bn_nl_u8(xdp[IFLA_XDP_ATTACHED], XDP_ATTACHED_NONE);
	strncpy(ret->name, bn_nl_str(a[IFLA_IFNAME]), sizeof(ret->name) - 1);
	strncpy(ret->kind, bn_nl_str(info[IFLA_INFO_KIND]), sizeof(ret->kind) - 1);
	if (a[IFLA_ADDRESS] && mnl_attr_get_payload_len(a[IFLA_ADDRESS]) == sizeof(ret->mac))
		memcpy(ret->mac, mnl_attr_get_payload(a[IFLA_ADDRESS]), sizeof(ret->mac));
	return true;
}

bool bn_own_address_read(const struct nlmsghdr *m, struct bn_own_address *ret)
{
	const struct nlattr *a[IFA_LOCAL + 1];
	const struct nlattr *addr;
	const struct ifaddrmsg *ifa;

	if (m->nlmsg_type != RTM_NEWADDR && m->nlmsg_type != RTM_DELADDR)
		return false;
	if (mnl_nlmsg_get_payload_len(m) < sizeof(*ifa))
		return false;
	ifa = mnl_nlmsg_get_payload(m);
	bn_nl_attrs(m, sizeof(*ifa), a, IFA_LOCAL);
	/* Of a point-to-point link IFA_ADDRESS is the other end's. */
	addr = a[IFA_LOCAL] ? a[IFA_LOCAL] : a[IFA_ADDRESS];
	if (!addr)
		return false;
	memset(ret, 0, sizeof(*ret));
	ret->ifindex = (int)ifa->ifa_index;
	ret->prefix = ifa->ifa_prefixlen;
	ret->host_scope = ifa->ifa_scope == RT_SCOPE_HOST;
	if (ifa->ifa_family == AF_INET && mnl_attr_get_payload_len(addr) == 4) {
		bn_addr_set_v4(&ret->addr, mnl_attr_get_u32(addr));
		/* of our own device, and nobody is there */
		if (ret->addr.w[3] == htonl(BN_DUMMY_V4))
			return false;
		ret->link_local = ret->addr.b[12] == 169 && ret->addr.b[13] == 254;
		return true;
	}
	if (ifa->ifa_family == AF_INET6 && mnl_attr_get_payload_len(addr) == sizeof(ret->addr)) {
		memcpy(&ret->addr, mnl_attr_get_payload(addr), sizeof(ret->addr));
		ret->link_local = ret->addr.b[0] == 0xfe && (ret->addr.b[1] & 0xc0) == 0x80;
		return true;
	}
	return false;
}

static int take_link(const struct nlmsghdr *m, void *user)
{
	struct array *links = user;
	struct bn_link link;

	return bn_link_read(m, &link) ? array_add(links, &link) : 0;
}

static int take_address(const struct nlmsghdr *m, void *user)
{
	struct array *addresses = user;
	struct bn_own_address address;

	return bn_own_address_read(m, &address) ? array_add(addresses, &address) : 0;
}

static int add_device(struct array *devices, int ifindex)
{
	const int *known = devices->items;

	for (size_t i = 0; i < devices->n; i++) {
		if (known[i] == ifindex)
			return 0;
	}
	return ifindex > 0 ? array_add(devices, &ifindex) : 0;
}

static int add_nexthops(struct array *devices, const struct nlattr *multipath)
{
	const char *at = mnl_attr_get_payload(multipath);
	size_t left = mnl_attr_get_payload_len(multipath);
	int r = 0;

	while (r == 0 && left >= sizeof(struct rtnexthop)) {
		const struct rtnexthop *nh = (const void *)at;
		const size_t step = RTNH_ALIGN((size_t)nh->rtnh_len);

		if (nh->rtnh_len < sizeof(*nh) || step > left)
			break;
		r = add_device(devices, nh->rtnh_ifindex);
		at += step;
		left -= step;
	}
	return r;
}

static int take_route(const struct nlmsghdr *m, void *user)
{
	const struct nlattr *a[RTA_TABLE + 1];
	const struct rtmsg *rt;
	int r;

	if (m->nlmsg_type != RTM_NEWROUTE || mnl_nlmsg_get_payload_len(m) < sizeof(*rt))
		return 0;
	rt = mnl_nlmsg_get_payload(m);
	bn_nl_attrs(m, sizeof(*rt), a, RTA_TABLE);
	if (rt->rtm_dst_len || rt->rtm_type != RTN_UNICAST || (rt->rtm_flags & RTM_F_CLONED) ||
	    bn_nl_u32(a[RTA_TABLE], rt->rtm_table) != RT_TABLE_MAIN)
		return 0;
	r = add_device(user, (int)bn_nl_u32(a[RTA_OIF], 0));
	return r < 0 || !a[RTA_MULTIPATH] ? r : add_nexthops(user, a[RTA_MULTIPATH]);
}

static int dump(struct bn_nl *nl, uint16_t type, const void *header, size_t size, bn_nl_fn fn,
		struct array *ret, const char *what, struct bn_error *err)
{
	int r = -EAGAIN;

	for (int i = 0; i < ATTEMPTS && r == -EAGAIN; i++) {
		ret->n = 0;
		bn_nl_begin(nl, type, 0);
		bn_nl_header(nl, header, size);
		r = bn_nl_dump(nl, fn, ret);
	}
	if (r < 0) {
		free(ret->items);
		ret->items = NULL;
		return bn_error_set(err, r, "cannot list the node's %s: %s", what,
				    bn_nl_reason(nl, r));
	}
	return 0;
}

static int get_link(struct bn_nl *nl, const char *name, int ifindex, int netns, struct bn_link *ret)
{
	const struct ifinfomsg ifi = {.ifi_index = name ? 0 : ifindex};
	struct array links = {.item_size = sizeof(struct bn_link)};
	int r;

	bn_nl_begin(nl, RTM_GETLINK, 0);
	bn_nl_header(nl, &ifi, sizeof(ifi));
	if (name)
		bn_nl_put_str(nl, IFLA_IFNAME, name);
	if (netns >= 0)
		bn_nl_put_u32(nl, IFLA_TARGET_NETNSID, (uint32_t)netns);
	r = bn_nl_send(nl, take_link, &links);
	if (r == 0 && links.n == 0)
		r = -ENODEV;
	if (r == 0)
		memcpy(ret, links.items, sizeof(*ret));
	free(links.items);
	return r;
}

int bn_link_get(struct bn_nl *nl, const char *name, int ifindex, struct bn_link *ret)
{
	return get_link(nl, name, ifindex, -1, ret);
}

int bn_link_get_peer(struct bn_nl *nl, const struct bn_link *link, struct bn_link *ret)
{
	return link->peer_ifindex ? get_link(nl, NULL, link->peer_ifindex, link->peer_netns, ret)
				  : -ENODEV;
}

int bn_inventory_links(struct bn_nl *nl, struct bn_link **ret, size_t *ret_n, struct bn_error *err)
{
	const struct ifinfomsg ifi = {.ifi_family = AF_UNSPEC};
	struct array links = {.item_size = sizeof(struct bn_link)};
	int r;

	r = dump(nl, RTM_GETLINK, &ifi, sizeof(ifi), take_link, &links, "network devices", err);
	if (r < 0)
		return r;
	*ret = links.items;
	*ret_n = links.n;
	return 0;
}

static bool on_host_side(const struct bn_link *links, size_t n, int ifindex)
{
	for (size_t i = 0; i < n; i++) {
		if (links[i].ifindex == ifindex)
			return bn_link_is_host_side(&links[i]);
	}
	return false;
}

int bn_inventory_addresses(struct bn_nl *nl, struct bn_own_address **ret, size_t *ret_n,
			   struct bn_error *err)
{
	const struct ifaddrmsg ifa = {.ifa_family = AF_UNSPEC};
	struct array addresses = {.item_size = sizeof(struct bn_own_address)};
	struct bn_own_address *list;
	struct bn_link *links = NULL;
	size_t n_links = 0;
	size_t kept = 0;
	int r;

	r = bn_inventory_links(nl, &links, &n_links, err);
	if (r < 0)
		return r;
	r = dump(nl, RTM_GETADDR, &ifa, sizeof(ifa), take_address, &addresses, "addresses", err);
	if (r < 0)
		goto out;
	list = addresses.items;
	for (size_t i = 0; i < addresses.n; i++) {
		if (!on_host_side(links, n_links, list[i].ifindex))
			list[kept++] = list[i];
	}
	*ret = list;
	*ret_n = kept;
out:
	free(links);
	return r;
}

int bn_inventory_default_devices(struct bn_nl *nl, int **ret, size_t *ret_n, struct bn_error *err)
{
	struct array devices = {.item_size = sizeof(int)};
	static const uint8_t families[] = {AF_INET, AF_INET6};

	for (size_t i = 0; i < sizeof(families); i++) {
		const struct rtmsg rt = {.rtm_family = families[i], .rtm_table = RT_TABLE_MAIN};
		struct array found = {.item_size = sizeof(int)};
		int r;

		r = dump(nl, RTM_GETROUTE, &rt, sizeof(rt), take_route, &found, "routes", err);
		for (size_t k = 0; r == 0 && k < found.n; k++)
			r = add_device(&devices, ((int *)found.items)[k]);
		free(found.items);
		if (r < 0) {
			free(devices.items);
			return r;
		}
	}
	*ret = devices.items;
	*ret_n = devices.n;
	return 0;
}
