# SPDX-License-Identifier: Apache-2.0
"""Pods among themselves and with their host: addresses, ping, traceroute, neighbours."""
import json
import re

import pytest

import netns
import peers
from harness import FAMILIES, NODE, cluster_ips, eventually, service_manifest
from rawnet import ARP, ICMPv6ND_NA, ICMPv6ND_NS, ICMPv6NDOptSrcLLAddr, Ether, IPv6, Tap

ANY = {4: "0.0.0.0", 6: "::"}


@pytest.fixture(scope="module")
def node(module_node):
    node = module_node()
    for name in ("a", "b"):
        pod = node.pod(name, labels={"app": name})
        pod.tcp(8080)
        pod.udp(5353)
        pod.sctp(3868)
    node.serve(node.peers.tcp(node.ns, "host", 8080))
    node.serve(*node.peers.udp(node.ns, "host", 5353))
    node.a, node.b = node.pods["default/a"], node.pods["default/b"]
    node.vip = dict(zip(FAMILIES, cluster_ips(1)))
    node.apply(service_manifest("svc-b", [(80, 8080), (53, 5353, "UDP")], {"app": "b"},
                                ips=cluster_ips(1)))
    return node


def ping(ns, ip, *args):
    return netns.run(ns, "ping", "-n", "-c", "2", "-i", "0.2", "-W", "3", *args, ip).stdout


@pytest.mark.parametrize("family", FAMILIES)
def test_pod_to_pod(node, family):
    b = peers.tcp(node.a.ns, node.b.ip[family], 8080)
    assert (b.name, b.client) == ("b", node.a.ip[family])
    b = peers.udp(node.a.ns, node.b.ip[family], 5353)
    assert (b.name, b.client) == ("b", node.a.ip[family])
    assert peers.sctp(node.a.ns, node.b.ip[family], 3868) == ("b", node.b.ip[family])


@pytest.mark.parametrize("family", FAMILIES)
def test_pod_to_host(node, family):
    b = peers.tcp(node.a.ns, NODE[family], 8080)
    assert (b.name, b.client) == ("host", node.a.ip[family])
    assert peers.udp(node.a.ns, NODE[family], 5353).name == "host"


@pytest.mark.parametrize("family", FAMILIES)
def test_host_to_pod(node, family):
    """Health checks."""
    assert peers.tcp(node.ns, node.a.ip[family], 8080).name == "a"
    assert peers.udp(node.ns, node.a.ip[family], 5353).name == "a"
    assert peers.udp(node.ns, node.a.ip[family], 5353, data=bytes(8192)).name == "a"


@pytest.mark.parametrize("family", FAMILIES)
def test_pod_to_itself(node, family):
    assert peers.tcp(node.a.ns, node.a.ip[family], 8080).name == "a"


@pytest.mark.parametrize("family", FAMILIES)
def test_closed_port(node, family):
    assert peers.tcp_error(node.a.ns, node.b.ip[family], 9) == "ECONNREFUSED"
    assert peers.udp_error(node.a.ns, node.b.ip[family], 9) == "ECONNREFUSED"
    assert peers.udp_error(node.ns, node.b.ip[family], 9) == "ECONNREFUSED"


@pytest.mark.parametrize("family", FAMILIES)
def test_ping(node, family):
    for ns, ip in ((node.a.ns, node.b.ip[family]), (node.a.ns, NODE[family]),
                   (node.ns, node.a.ip[family])):
        assert " 0% packet loss" in ping(ns, ip), (ns, ip)
    assert " 0% packet loss" in ping(node.a.ns, node.b.ip[family], "-s", "4000")


@pytest.mark.parametrize("family", FAMILIES)
def test_ping_a_service(node, family):
    """A ClusterIP speaks its own ports only: an answer at once that says so, or an echo."""
    r = netns.run(node.a.ns, "ping", "-n", "-c", "1", "-W", "3", node.vip[family], check=False)
    assert " 0% packet loss" in r.stdout or "nreachable" in r.stdout, r.stdout


@pytest.mark.parametrize("family", FAMILIES)
def test_traceroute(node, family):
    """Pod to pod is reached, and what is told on the way carries sensible addresses."""
    for target in (node.b.ip[family], NODE[family]):
        out = netns.run(node.a.ns, "traceroute", f"-{family}", "-n", "-q", "1", "-w", "2", "-m",
                        "5", target).stdout
        hops = re.findall(r"^ *\d+ +(\S+)", out, re.M)
        assert hops and hops[-1] == target and "*" not in hops, out


@pytest.mark.parametrize("family", FAMILIES)
def test_tracepath(node, family):
    out = netns.run(node.a.ns, "tracepath", f"-{family}", "-n", "-m", "5", node.b.ip[family]).stdout
    assert "reached" in out and "pmtu 1500" in out, out


def test_pods_need_no_more_than_a_default_route(node):
    """One link, one default route for each family, and no link-local business on the way."""
    for family in FAMILIES:
        routes = json.loads(node.a.run("ip", f"-{family}", "-j", "route", "show", "default").stdout)
        assert len(routes) == 1, routes
    addresses = json.loads(node.a.run("ip", "-j", "addr", "show", "dev", "eth0").stdout)[0]
    mine = {(a["local"], a["prefixlen"]) for a in addresses["addr_info"] if a["scope"] == "global"}
    assert mine == {(node.a.ip[4], 32), (node.a.ip[6], 128)}
    assert not any(a.get("tentative") for a in addresses["addr_info"])


def gateway(pod, family):
    route = json.loads(pod.run("ip", f"-{family}", "-j", "route", "show", "default").stdout)[0]
    return route["gateway"]


def test_arp_is_answered_for_the_gateway(node):
    pod, gw = node.a, gateway(node.a, 4)
    with Tap(pod.ns) as tap:
        tap.send(Ether(src=pod.mac, dst="ff:ff:ff:ff:ff:ff") / ARP(
            op=1, hwsrc=pod.mac, psrc=pod.ip[4], pdst=gw))
        answer = tap.expect(lambda f: ARP in f and f[ARP].op == 2, what="ARP answer")
        assert answer[ARP].psrc == gw
        assert answer[ARP].hwdst == pod.mac


def test_neighbour_solicitation_is_answered_for_the_gateway(node):
    pod, gw = node.a, gateway(node.a, 6)
    with Tap(pod.ns) as tap:
        tap.send(Ether(src=pod.mac, dst="33:33:ff:00:00:01") /
                 IPv6(src=pod.ip[6], dst=gw, hlim=255) / ICMPv6ND_NS(tgt=gw) /
                 ICMPv6NDOptSrcLLAddr(lladdr=pod.mac))
        answer = tap.expect(lambda f: ICMPv6ND_NA in f, what="neighbour advertisement")
        assert answer[ICMPv6ND_NA].tgt == gw


@pytest.mark.parametrize("family", FAMILIES)
def test_a_pod_comes_and_goes(node, family):
    """The address is silent before, works as soon as `add` returns, and again after a move."""
    pod = node.pod("guest", attach=False, index=99)
    pod.tcp(8080)
    for _ in range(3):
        node.attach(pod)
        assert peers.tcp(node.a.ns, pod.ip[family], 8080).name == "guest"
        assert peers.tcp(pod.ns, node.b.ip[family], 8080).client == pod.ip[family]
        node.detach(pod)
        links = json.loads(pod.run("ip", "-j", "link").stdout)
        assert [li["ifname"] for li in links] == ["lo"], "the pod's device stayed"
    node.remove(pod)


def test_a_namespace_that_vanishes(node):
    """Its endpoint can be deleted, and the name and addresses be used again."""
    pod = node.pod("gone", attach=True, index=98)
    netns.ip(None, f"netns del {pod.ns}")
    eventually(lambda: node.detach(pod, check=False).returncode == 0 or
               "default/gone" not in node.bpfnet("endpoint", "list").stdout)
    del node.pods[pod.key]
    again = node.pod("gone", index=98)
    again.tcp(8080)
    assert peers.tcp(node.a.ns, again.ip[4], 8080).name == "gone"
    node.remove(again)


def test_one_family_only(node):
    for family in FAMILIES:
        other = 10 - family
        pod = node.pod(f"only{family}", families=(family,), index=90 + family)
        pod.tcp(8080)
        assert peers.tcp(node.a.ns, pod.ip[family], 8080).name == pod.name
        routes = pod.run("ip", f"-{other}", "route", "show", "default").stdout
        assert not routes.strip(), routes
        node.remove(pod)


def test_endpoint_list(node):
    e = next(e for e in node.json("endpoint", "list") if e["pod"] == "a")
    assert e["namespace"] == "default" and set(e["ips"]) == set(node.a.ip.values())
    assert e["ifname"] == "eth0" and node.link(node.ns, e["host_ifname"])
    assert e["state"] and isinstance(e["identity"], int)
    assert set(e["policy"]) == {"ingress", "egress"}
