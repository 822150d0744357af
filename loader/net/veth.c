// SPDX-License-Identifier: Apache-2.0
/*
 * Why: a pod is attached in an order in which no packet passes before the programs are in place:
 * the pair is made down, programs are attached, then the pod's side goes up, then the host's.
 *
 * Invariants: the host side never has an address; nothing is left of a create that failed; work in
 * the pod's namespace goes through sockets opened there, the thread only visits it.
 */
#include "net/veth.h"

#include "address.h"
#include "error.h"
#include "net/inventory.h"
#include "net/netlink.h"
#include "net/netns.h"
#include "net/veth-settings.h"

#include <arpa/inet.h>
#include <bpfnet/endpoint.h>
#include <errno.h>
#include <linux/if_addr.h>
#include <linux/if_link.h>
#include <linux/neighbour.h>
#include <linux/rtnetlink.h>
#include <linux/veth.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define READY_TIMEOUT_MS 2000
#define LOOPBACK_IFINDEX 1

/* What a create holds while it runs. */
struct work {
	struct bn_nl *node;
	const struct bn_veth_spec *spec;
	struct bn_veth veth;
	struct bn_nl *pod;
	/* Link notifications of the node and of the pod. */
	struct mnl_socket *watch[2];
	bool raised_loopback;
	struct bn_error *err;
};

void bn_veth_host_name(const char *namespace, const char *pod, unsigned attempt,
		       char ret[IF_NAMESIZE])
{
	const char *parts[] = {namespace, "/", pod};
	uint64_t h = 14695981039346656037u + attempt; /* FNV-1a */

	for (size_t i = 0; i < 3; i++) {
		for (const char *p = parts[i]; *p; p++)
			h = (h ^ (uint8_t)*p) * 1099511628211u;
	}
	snprintf(ret, IF_NAMESIZE, "bn%012llx",
		 (unsigned long long)((h ^ h >> 48) & 0xffffffffffff));
}

void bn_veth_pod_mac(int host_ifindex, uint8_t ret[6])
{
	const uint32_t be = htonl((uint32_t)host_ifindex);

	ret[0] = BN_POD_MAC_HI;
	ret[1] = BN_POD_MAC_LO;
	memcpy(ret + 2, &be, sizeof(be));
}

static bool wants_v6(const struct bn_veth_spec *spec)
{
	for (size_t i = 0; i < spec->n_ips; i++) {
		if (!bn_addr_is_v4(&spec->ips[i]))
			return true;
	}
	return false;
}

static void put_addr(struct bn_nl *nl, uint16_t type, const union bn_addr *addr)
{
	if (bn_addr_is_v4(addr))
		bn_nl_put(nl, type, addr->b + 12, 4);
	else
		bn_nl_put(nl, type, addr->b, 16);
}

static uint8_t af(const union bn_addr *addr)
{
	return bn_addr_is_v4(addr) ? AF_INET : AF_INET6;
}

static uint8_t whole(const union bn_addr *addr)
{
	return bn_addr_is_v4(addr) ? 32 : 128;
}

static int link_flags(struct bn_nl *nl, int ifindex, bool up)
{
	const struct ifinfomsg ifi = {
		.ifi_index = ifindex,
		.ifi_flags = up ? IFF_UP : 0,
		.ifi_change = IFF_UP,
	};

	bn_nl_begin(nl, RTM_NEWLINK, 0);
	bn_nl_header(nl, &ifi, sizeof(ifi));
	return bn_nl_send(nl, NULL, NULL);
}

/* ---- the pair ---- */

static int create_pair(struct work *w)
{
	static const uint8_t host_mac[6] = BN_HOST_MAC;
	const struct bn_veth_spec *spec = w->spec;
	const struct ifinfomsg ifi = {.ifi_family = AF_UNSPEC};
	struct nlattr *info, *data, *peer;
	struct bn_nl *nl = w->node;
	struct bn_link link;
	int r;

	bn_nl_begin(nl, RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL);
	bn_nl_header(nl, &ifi, sizeof(ifi));
	bn_nl_put_str(nl, IFLA_IFNAME, spec->host_ifname);
	bn_nl_put_u32(nl, IFLA_MTU, w->veth.mtu);
	bn_nl_put(nl, IFLA_ADDRESS, host_mac, sizeof(host_mac));
	info = bn_nl_nest(nl, IFLA_LINKINFO);
	bn_nl_put_str(nl, IFLA_INFO_KIND, "veth");
	data = bn_nl_nest(nl, IFLA_INFO_DATA);
	peer = bn_nl_nest(nl, VETH_INFO_PEER);
	bn_nl_put_raw(nl, &ifi, sizeof(ifi));
	bn_nl_put_str(nl, IFLA_IFNAME, spec->pod_ifname);
	bn_nl_put_u32(nl, IFLA_MTU, w->veth.mtu);
	bn_nl_put_u32(nl, IFLA_NET_NS_FD, (uint32_t)spec->netns_fd);
	bn_nl_nest_end(nl, peer);
	bn_nl_nest_end(nl, data);
	bn_nl_nest_end(nl, info);
	r = bn_nl_send(nl, NULL, NULL);
	if (r < 0)
		return bn_error_set(w->err, r, "cannot create the pair %s and %s: %s",
				    spec->host_ifname, spec->pod_ifname, bn_nl_reason(nl, r));
	r = bn_link_get(nl, spec->host_ifname, 0, &link);
	if (r < 0)
		return bn_error_set(w->err, r, "interface %s went away while being set up: %s",
				    spec->host_ifname, bn_nl_reason(nl, r));
	w->veth.ifindex = link.ifindex;
	w->veth.peer_ifindex = link.peer_ifindex;
	bn_veth_pod_mac(link.ifindex, w->veth.mac);
	return 0;
}

/* ---- the pod's side ---- */

static int open_watch(struct mnl_socket **ret)
{
	struct mnl_socket *s = mnl_socket_open2(NETLINK_ROUTE, SOCK_CLOEXEC | SOCK_NONBLOCK);

	if (!s)
		return -errno;
	if (mnl_socket_bind(s, RTMGRP_LINK, MNL_SOCKET_AUTOPID) < 0) {
		int r = -errno;

		mnl_socket_close(s);
		return r;
	}
	*ret = s;
	return 0;
}

static int open_in_pod(void *user)
{
	struct work *w = user;
	int r;

	r = bn_nl_open(NETLINK_ROUTE, &w->pod, w->err);
	return r < 0 ? r : open_watch(&w->watch[1]);
}

static int enter_pod(struct work *w)
{
	const char *ifname = w->spec->pod_ifname;
	struct bn_link link;
	int r;

	r = open_watch(&w->watch[0]);
	if (r == 0)
		r = bn_netns_run(w->spec->netns_fd, open_in_pod, w);
	if (r < 0)
		return bn_error_set(w->err, r, "cannot enter the pod's network namespace: %s",
				    strerror(-r));
	r = bn_link_get(w->pod, ifname, 0, &link);
	if (r == 0)
		return bn_error_set(
			w->err, -EEXIST,
			"interface %s exists already in the pod's network namespace; choose another --ifname",
			ifname);
	return r == -ENODEV ? 0 : r;
}

static int set_pod_sysctls(void *user)
{
	struct work *w = user;

	return bn_veth_set_pod(w->spec->pod_ifname, w->err);
}

static int raise_loopback(struct work *w)
{
	struct bn_link lo;
	int r;

	r = bn_link_get(w->pod, NULL, LOOPBACK_IFINDEX, &lo);
	if (r == 0 && !(lo.flags & IFF_UP)) {
		r = link_flags(w->pod, LOOPBACK_IFINDEX, true);
		w->raised_loopback = r == 0;
	}
	return r < 0 ? bn_error_set(w->err, r, "cannot set the pod's lo up: %s",
				    bn_nl_reason(w->pod, r))
		     : 0;
}

static int set_pod_mac(struct work *w)
{
	const struct ifinfomsg ifi = {.ifi_index = w->veth.peer_ifindex};
	int r;

	bn_nl_begin(w->pod, RTM_NEWLINK, 0);
	bn_nl_header(w->pod, &ifi, sizeof(ifi));
	bn_nl_put(w->pod, IFLA_ADDRESS, w->veth.mac, sizeof(w->veth.mac));
	r = bn_nl_send(w->pod, NULL, NULL);
	return r < 0 ? bn_error_set(w->err, r, "cannot set the MAC address of the pod's %s: %s",
				    w->spec->pod_ifname, bn_nl_reason(w->pod, r))
		     : 0;
}

static int add_pod_address(struct work *w, const union bn_addr *ip)
{
	const struct ifaddrmsg ifa = {
		.ifa_family = af(ip),
		.ifa_prefixlen = whole(ip),
		.ifa_scope = RT_SCOPE_UNIVERSE,
		.ifa_index = (uint32_t)w->veth.peer_ifindex,
	};
	char text[BN_ADDR_STRLEN];
	int r;

	bn_nl_begin(w->pod, RTM_NEWADDR, NLM_F_CREATE | NLM_F_EXCL);
	bn_nl_header(w->pod, &ifa, sizeof(ifa));
	put_addr(w->pod, IFA_LOCAL, ip);
	put_addr(w->pod, IFA_ADDRESS, ip);
	if (!bn_addr_is_v4(ip))
		bn_nl_put_u32(w->pod, IFA_FLAGS, IFA_F_NODAD);
	r = bn_nl_send(w->pod, NULL, NULL);
	return r < 0 ? bn_error_set(w->err, r, "cannot give %s to the pod's %s: %s",
				    bn_addr_format(ip, text), w->spec->pod_ifname,
				    bn_nl_reason(w->pod, r))
		     : 0;
}

/* `dst` NULL: the default route. */
struct route {
	const union bn_addr *dst;
	const union bn_addr *gateway;
	const union bn_addr *source;
	uint8_t family;
	int ifindex;
};

static int add_route(struct bn_nl *nl, const struct route *route, uint16_t flags)
{
	const struct rtmsg rt = {
		.rtm_family = route->family,
		.rtm_dst_len = route->dst ? whole(route->dst) : 0,
		.rtm_table = RT_TABLE_MAIN,
		.rtm_protocol = BN_ROUTE_PROTOCOL,
		/* IPv6 has no scopes. */
		.rtm_scope = route->gateway || route->family == AF_INET6 ? RT_SCOPE_UNIVERSE
									 : RT_SCOPE_LINK,
		.rtm_type = RTN_UNICAST,
	};

	bn_nl_begin(nl, RTM_NEWROUTE, flags);
	bn_nl_header(nl, &rt, sizeof(rt));
	if (route->dst)
		put_addr(nl, RTA_DST, route->dst);
	if (route->gateway)
		put_addr(nl, RTA_GATEWAY, route->gateway);
	if (route->source)
		put_addr(nl, RTA_PREFSRC, route->source);
	bn_nl_put_u32(nl, RTA_OIF, (uint32_t)route->ifindex);
	return bn_nl_send(nl, NULL, NULL);
}

static int add_pod_routes(struct work *w, const union bn_addr *ip)
{
	const bool v4 = bn_addr_is_v4(ip);
	struct route route = {.family = af(ip), .ifindex = w->veth.peer_ifindex};
	union bn_addr gateway;
	int r = 0;

	if (bn_addr_parse(v4 ? BN_GATEWAY_V4 : BN_GATEWAY_V6, &gateway, NULL) < 0)
		return -EINVAL;
	if (v4) {
		route.dst = &gateway;
		r = add_route(w->pod, &route, NLM_F_CREATE | NLM_F_EXCL);
	}
	if (r == 0) {
		route.dst = NULL;
		route.gateway = &gateway;
		r = add_route(w->pod, &route, NLM_F_CREATE | NLM_F_EXCL);
	}
	if (r == -EEXIST)
		return bn_error_set(
			w->err, r,
			"the pod's network namespace has an %s default route already; remove it first",
			v4 ? "IPv4" : "IPv6");
	return r < 0 ? bn_error_set(w->err, r, "cannot add the pod's %s default route: %s",
				    v4 ? "IPv4" : "IPv6", bn_nl_reason(w->pod, r))
		     : 0;
}

static int raise_pod(struct work *w)
{
	const struct bn_veth_spec *spec = w->spec;
	int r = 0;

	if (wants_v6(spec)) {
		r = bn_netns_run(spec->netns_fd, set_pod_sysctls, w);
		if (r < 0)
			return bn_error_set(w->err, r,
					    "cannot enter the pod's network namespace: %s",
					    strerror(-r));
	}
	r = raise_loopback(w);
	for (size_t i = 0; r == 0 && i < spec->n_ips; i++)
		r = add_pod_address(w, &spec->ips[i]);
	if (r < 0)
		return r;
	r = link_flags(w->pod, w->veth.peer_ifindex, true);
	if (r < 0)
		return bn_error_set(w->err, r, "cannot set the pod's %s up: %s", spec->pod_ifname,
				    bn_nl_reason(w->pod, r));
	for (size_t i = 0; r == 0 && i < spec->n_ips; i++)
		r = add_pod_routes(w, &spec->ips[i]);
	return r;
}

/* ---- the host's side ---- */

static int add_neighbour(struct bn_nl *nl, int ifindex, const union bn_addr *ip,
			 const uint8_t mac[6])
{
	const struct ndmsg nd = {
		.ndm_family = af(ip),
		.ndm_ifindex = ifindex,
		.ndm_state = NUD_PERMANENT,
	};

	bn_nl_begin(nl, RTM_NEWNEIGH, NLM_F_CREATE | NLM_F_REPLACE);
	bn_nl_header(nl, &nd, sizeof(nd));
	put_addr(nl, NDA_DST, ip);
	bn_nl_put(nl, NDA_LLADDR, mac, 6);
	return bn_nl_send(nl, NULL, NULL);
}

static int raise_host(struct bn_nl *nl, const struct bn_veth_spec *spec, const struct bn_veth *veth,
		      uint16_t route_flags, struct bn_error *err)
{
	char text[BN_ADDR_STRLEN];
	int r;

	r = link_flags(nl, veth->ifindex, true);
	if (r < 0)
		return bn_error_set(err, r, "cannot set %s up: %s", spec->host_ifname,
				    bn_nl_reason(nl, r));
	for (size_t i = 0; i < spec->n_ips; i++) {
		const union bn_addr *ip = &spec->ips[i];
		const struct route route = {
			.family = af(ip),
			.dst = ip,
			.source = bn_addr_is_v4(ip) ? spec->node_v4 : spec->node_v6,
			.ifindex = veth->ifindex,
		};

		r = add_neighbour(nl, veth->ifindex, ip, veth->mac);
		if (r < 0)
			return bn_error_set(err, r, "cannot add the neighbour %s on %s: %s",
					    bn_addr_format(ip, text), spec->host_ifname,
					    bn_nl_reason(nl, r));
		r = add_route(nl, &route, route_flags);
		if (r == -EEXIST)
			return bn_error_set(
				err, r,
				"this node has a route to %s already; remove it or choose another --ip",
				bn_addr_format(ip, text));
		if (r < 0)
			return bn_error_set(err, r, "cannot add the route to %s over %s: %s",
					    bn_addr_format(ip, text), spec->host_ifname,
					    bn_nl_reason(nl, r));
	}
	return 0;
}

/* ---- waiting for the carrier ---- */

static long now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

static void drain(int fd)
{
	char bytes[4096];

	/* What it says is asked for anew; an overrun (ENOBUFS) is as good as a message. */
	while (recv(fd, bytes, sizeof(bytes), MSG_DONTWAIT) > 0 || errno == ENOBUFS)
		;
}

static int wait_ready(struct work *w)
{
	struct bn_nl *const nl[2] = {w->node, w->pod};
	const int ifindex[2] = {w->veth.ifindex, w->veth.peer_ifindex};
	const long deadline = now_ms() + READY_TIMEOUT_MS;
	struct pollfd fds[2];

	for (int i = 0; i < 2; i++)
		fds[i] = (struct pollfd){.fd = mnl_socket_get_fd(w->watch[i]), .events = POLLIN};
	for (;;) {
		long left = deadline - now_ms();
		bool ready = true;

		for (int i = 0; i < 2; i++) {
			struct bn_link link;
			int r = bn_link_get(nl[i], NULL, ifindex[i], &link);

			if (r < 0)
				return bn_error_set(w->err, r,
						    "interface %s went away while being set up",
						    i ? w->spec->pod_ifname : w->spec->host_ifname);
			ready = ready && bn_link_is_ready(&link);
		}
		if (ready)
			return 0;
		if (left <= 0 || poll(fds, 2, (int)left) == 0)
			return bn_error_set(
				w->err, -ETIMEDOUT,
				"the link between %s and the pod's %s did not come up within %d ms; something set one of them down",
				w->spec->host_ifname, w->spec->pod_ifname, READY_TIMEOUT_MS);
		for (int i = 0; i < 2; i++)
			drain(fds[i].fd);
	}
}

/* ---- the whole ---- */

static void undo(struct work *w)
{
	if (w->veth.ifindex)
		bn_veth_remove(w->node, w->veth.ifindex, NULL);
	if (w->raised_loopback)
		link_flags(w->pod, LOOPBACK_IFINDEX, false);
}

static void work_done(struct work *w)
{
	bn_nl_free(w->pod);
	for (int i = 0; i < 2; i++) {
		if (w->watch[i])
			mnl_socket_close(w->watch[i]);
	}
}

int bn_veth_create(struct bn_nl *nl, const struct bn_veth_spec *spec, bn_veth_attach_fn attach,
		   void *user, struct bn_veth *ret, struct bn_error *err)
{
	struct work w = {
		.node = nl,
		.spec = spec,
		.veth.mtu = spec->mtu ? spec->mtu : BN_VETH_MTU_DEFAULT,
		.err = err,
	};
	int r;

	if (wants_v6(spec) && w.veth.mtu < BN_VETH_MTU_MIN_V6)
		return bn_error_set(
			err, -EINVAL,
			"IPv6 needs an MTU of %d and the uplink's is %u; raise it or leave the IPv6 address out",
			BN_VETH_MTU_MIN_V6, w.veth.mtu);
	r = enter_pod(&w);
	if (r == 0)
		r = create_pair(&w);
	if (r == 0)
		r = set_pod_mac(&w);
	if (r == 0)
		r = bn_veth_set_host(spec->host_ifname, wants_v6(spec), err);
	if (r == 0 && attach)
		r = attach(user, &w.veth, err);
	if (r == 0)
		r = raise_pod(&w);
	if (r == 0)
		r = raise_host(nl, spec, &w.veth, NLM_F_CREATE | NLM_F_EXCL, err);
	if (r == 0)
		r = wait_ready(&w);
	if (r == 0)
		*ret = w.veth;
	else
		undo(&w);
	work_done(&w);
	return r;
}

int bn_veth_repair(struct bn_nl *nl, const struct bn_veth_spec *spec, const struct bn_veth *veth,
		   struct bn_error *err)
{
	int r = bn_veth_set_host(spec->host_ifname, wants_v6(spec), err);

	return r < 0 ? r : bn_veth_refresh(nl, spec, veth, err);
}

int bn_veth_refresh(struct bn_nl *nl, const struct bn_veth_spec *spec, const struct bn_veth *veth,
		    struct bn_error *err)
{
	return raise_host(nl, spec, veth, NLM_F_CREATE | NLM_F_REPLACE, err);
}

int bn_veth_remove(struct bn_nl *nl, int ifindex, struct bn_error *err)
{
	const struct ifinfomsg ifi = {.ifi_index = ifindex};
	int r;

	bn_nl_begin(nl, RTM_DELLINK, 0);
	bn_nl_header(nl, &ifi, sizeof(ifi));
	r = bn_nl_send(nl, NULL, NULL);
	if (r == 0 || r == -ENODEV)
		return 0;
	return bn_error_set(err, r, "cannot remove interface %d: %s", ifindex, bn_nl_reason(nl, r));
}
