# SPDX-License-Identifier: Apache-2.0
"""The node's own packets to services, where its sockets are not balanced: by a route to a device of
bpfnetd's own."""
import json
import os
import re
import socket

import pytest

import netns
import peers
from harness import (FAMILIES, NODE, SERVICE_CIDRS, WORLD, cluster_ips, eventually,
                     service_manifest, slice_manifest)

BACKENDS = ("b1", "b2")
UNOWNED = {4: "10.96.77.77", 6: "fd00:96::7:7777"}


def build(node):
    for name in BACKENDS:
        pod = node.pod(name, labels={"app": "web"})
        pod.tcp(8080)
        pod.udp(5353)
        pod.sctp(3868)
    node.apply(service_manifest("web", [(80, 8080), (53, 5353, "UDP"), (38, 3868, "SCTP")],
                                {"app": "web"}, ips=cluster_ips(1)))
    node.vip = dict(zip(FAMILIES, cluster_ips(1)))
    return node


@pytest.fixture(scope="module")
def node(module_node):
    n = build(module_node())
    n.serve(n.peers.tcp(n.world, "outside", 8080), *n.peers.udp(n.world, "outside", 5353))
    n.serve(n.peers.tcp(n.ns, "node", 8181), *n.peers.udp(n.ns, "node", 5454))
    for name, number, address, tcp, udp in (("far", 2, WORLD, 8080, 5353),
                                            ("own", 3, NODE, 8181, 5454)):
        ports = [(80, tcp, "TCP", "http"), (53, udp, "UDP", "dns")]
        n.apply(service_manifest(name, ports, ips=cluster_ips(number)),
                *(slice_manifest(name, f"v{f}", f, [("http", tcp, "TCP"), ("dns", udp, "UDP")],
                                 [address[f]]) for f in FAMILIES))
    n.apply(service_manifest("nobody", [(80, 8080), (53, 5353, "UDP")], {"app": "nobody"},
                             ips=cluster_ips(4)))
    return n


def address(number, family):
    return cluster_ips(number)[FAMILIES.index(family)]


def device(node):
    return next(name for name in node.link_names() if name.startswith("bnhost"))


def routes(node):
    return {r["dst"] for f in FAMILIES for r in json.loads(
        netns.run(node.ns, "ip", f"-{f}", "-j", "route", "show", "dev", device(node)).stdout)}


@pytest.mark.parametrize("family", FAMILIES)
def test_every_backend(node, family):
    """With the node's address, whose port is the client's own; many at once."""
    vip = node.vip[family]
    for ask in (lambda: peers.tcp(node.ns, vip, 80), lambda: peers.udp(node.ns, vip, 53),
                lambda: peers.udp(node.ns, vip, 53, connect=False)):
        banners = [ask() for _ in range(40)]
        assert {b.name for b in banners} == set(BACKENDS)
        assert {b.client for b in banners} == {NODE[family]}
    f = node.wait_flow("of the node", "--to-port", "8080", match=lambda f:
                       f["traffic_direction"] == "EGRESS" and
                       f.get("destination_service", {}).get("name") == "web")
    assert f["source"]["labels"] == ["reserved:host"]


@pytest.mark.parametrize("family", FAMILIES)
def test_sctp(node, family):
    assert peers.sctp(node.ns, node.vip[family], 38) in [(b, node.vip[family]) for b in BACKENDS]


@pytest.mark.parametrize("family", FAMILIES)
def test_backend_elsewhere(node, family):
    """Its answers come by the uplink, to a port of the configured range."""
    for ask in (lambda: peers.tcp(node.ns, address(2, family), 80),
                lambda: peers.udp(node.ns, address(2, family), 53)):
        banner = ask()
        assert (banner.name, banner.client) == ("outside", NODE[family])
    with peers.tcp_bound(node.ns, NODE[family]) as s:
        s.connect((address(2, family), 80))
        assert b"outside" in s.recv(4096)
        peers.echo(s, os.urandom(300000))
        # beside a plain connection from the same port to the same backend
        with peers.tcp_bound(node.ns, NODE[family], s.getsockname()[1]) as plain:
            plain.connect((WORLD[family], 8080))
            assert b"outside" in plain.recv(4096)
            peers.echo(plain, b"no translation")
        peers.echo(s, b"still here")


@pytest.mark.parametrize("family", FAMILIES)
def test_backend_is_the_node(node, family):
    assert peers.tcp(node.ns, address(3, family), 80).name == "node"
    assert peers.udp(node.ns, address(3, family), 53).name == "node"
    s, _ = peers.tcp_open(node.ns, address(3, family), 80)
    with s:
        peers.echo(s, os.urandom(100000))


@pytest.mark.parametrize("family", FAMILIES)
def test_refused_at_once(node, family):
    for ip, port in ((address(4, family), 80), (node.vip[family], 81), (UNOWNED[family], 80)):
        assert peers.tcp_error(node.ns, ip, port, timeout=0.95) == "ECONNREFUSED", (ip, port)
    for ip, port in ((address(4, family), 53), (node.vip[family], 54), (UNOWNED[family], 53)):
        assert peers.udp_error(node.ns, ip, port) in ("ECONNREFUSED", "EHOSTUNREACH"), (ip, port)


@pytest.mark.parametrize("family", FAMILIES)
def test_ping(node, family):
    netns.run(node.ns, "ping", "-n", "-c", "1", "-W", "3", node.vip[family])


@pytest.mark.parametrize("family", FAMILIES)
def test_large(node, family):
    assert peers.udp(node.ns, node.vip[family], 53, data=bytes(20000)).name in BACKENDS
    s, _ = peers.tcp_open(node.ns, node.vip[family], 80)
    with s:
        peers.echo(s, os.urandom(500000))


def udp_socket(family):
    return socket.socket(socket.AF_INET if family == 4 else socket.AF_INET6, socket.SOCK_DGRAM)


@pytest.mark.parametrize("family", FAMILIES)
def test_address_outside_the_ranges(node, family):
    """Its route comes with the service, is restored with the rest, and goes with the service."""
    ip = {4: "198.51.100.7", 6: "2001:db8:100::7"}[family]
    service = service_manifest("ext", [(80, 8080), (53, 5353, "UDP")], {"app": "web"},
                               ips=cluster_ips(5), externalIPs=[ip])
    node.apply(service)
    assert ip in routes(node)
    assert peers.tcp(node.ns, ip, 80).name in BACKENDS
    assert peers.udp(node.ns, ip, 53).name in BACKENDS
    assert peers.tcp_error(node.ns, ip, 81, timeout=0.95) == "ECONNREFUSED"
    node.stop()
    netns.run(node.ns, "ip", f"-{family}", "route", "del", ip, "dev", device(node))
    node.start()
    assert peers.tcp(node.ns, ip, 80).name in BACKENDS
    node.delete(service)
    assert ip not in routes(node)


def test_own_addresses_get_no_route(node):
    service = service_manifest("ext-own", [(80, 8080)], {"app": "web"}, ips=cluster_ips(6),
                               externalIPs=list(NODE.values()))
    node.apply(service)
    assert not routes(node) & set(NODE.values())
    node.delete(service)


@pytest.mark.parametrize("family", FAMILIES)
def test_not_for_what_is_forwarded(node, family):
    """A route of the world's to the service range leads nowhere, and nothing goes in circles."""
    netns.ip(node.world, f"route replace {SERVICE_CIDRS[FAMILIES.index(family)]} via {NODE[family]}")
    with netns.within(node.world), udp_socket(family) as s:
        s.sendto(b"x", (UNOWNED[family], 53))
    node.wait_drop("not-local", "--to-ip", UNOWNED[family])


def test_strict_reverse_path_filter(node):
    netns.sysctl(node.ns, ipv4__conf__all__rp_filter=1)
    try:
        assert peers.tcp(node.ns, node.vip[4], 80).name in BACKENDS
        assert peers.udp(node.ns, node.vip[4], 53).name in BACKENDS
        assert peers.tcp(node.ns, address(2, 4), 80).name == "outside"
    finally:
        netns.sysctl(node.ns, ipv4__conf__all__rp_filter=0)


def test_audit_mends(node):
    wanted = routes(node)
    assert len(wanted) == 2
    for f in FAMILIES:
        netns.run(node.ns, "ip", f"-{f}", "route", "flush", "dev", device(node), "proto", "191")
    assert not wanted & routes(node)
    node.json("map", "audit")
    assert routes(node) == wanted
    for f in FAMILIES:
        assert peers.tcp(node.ns, node.vip[f], 80).name in BACKENDS


def test_device_comes_back(node):
    netns.ip(node.ns, f"link del {device(node)}")
    for f in FAMILIES:
        eventually(lambda: peers.tcp(node.ns, node.vip[f], 80).name in BACKENDS, "its own device")


def test_status_says_so(node):
    status = node.json("status")
    features = status["features"]
    assert status["state"] == "live"
    assert any("loopback" in note for note in status["notes"])
    assert features["host_packets"] is True
    assert features["socket_balancing"] is False


def test_agents_death_restart_and_uninstall(make_node):
    node = build(make_node())
    name = device(node)
    open_ = {f: peers.tcp_open(node.ns, node.vip[f], 80)[0] for f in FAMILIES}
    node.kill()
    for f in FAMILIES:
        peers.echo(open_[f], b"without an agent")
        assert peers.tcp(node.ns, node.vip[f], 80).name in BACKENDS
    node.start()
    assert device(node) == name
    for f in FAMILIES:
        peers.echo(open_[f], b"with another agent")
        assert peers.tcp(node.ns, node.vip[f], 80).name in BACKENDS
        open_[f].close()
    node.stop()
    assert peers.tcp(node.ns, node.vip[4], 80).name in BACKENDS
    node.uninstall()
    assert not [n for n in node.link_names() if re.match("bnhost|bnpeer", n)]


def test_a_route_of_others_is_left_alone(make_node):
    """What gets in the way degrades the node and is said."""
    node = make_node(start=False)
    netns.ip(node.ns, f"route add {SERVICE_CIDRS[0]} via {WORLD[4]}")
    build(node.start())
    status = json.loads(node.bpfnet("-o", "json", "status", check=False).stdout)
    assert status["state"] == "degraded"
    assert SERVICE_CIDRS[0] in " ".join(status["reasons"])
    assert SERVICE_CIDRS[0] in status["features"]["host_packets_reason"]
    assert peers.tcp(node.ns, node.vip[6], 80).name in BACKENDS
    netns.ip(node.ns, f"route del {SERVICE_CIDRS[0]} via {WORLD[4]}")
    node.json("map", "audit")
    assert node.status() == 0
    assert peers.tcp(node.ns, node.vip[4], 80).name in BACKENDS
