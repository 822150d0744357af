# SPDX-License-Identifier: Apache-2.0
"""From the node to addresses of its own that are a service's: NodePorts, host ports, external and load
balancers' addresses; with balancing at the socket, and without, by the loopback device. And what is no
service's there stays what it is."""
import errno
import json
import os
import re

import pytest

import harness
import netns
import peers
from harness import (FAMILIES, NODE, WORLD, cluster_ips, eventually, pod_manifest,
                     service_manifest, slice_manifest)

BACKENDS = {"b1", "b2"}
WEB, DNS, SCTP, FAR, OWN, NOBODY = 30080, 30053, 30038, 30081, 30082, 30083


def node_port(name, number, ports, selector=None, **spec):
    """ports: (name, target, protocol, nodePort)"""
    m = service_manifest(name, [], selector, ips=cluster_ips(number))
    m["spec"].update({"type": "NodePort", "ports": [
        {"name": n, "port": target, "targetPort": target, "protocol": proto, "nodePort": np}
        for n, target, proto, np in ports], **spec})
    return m


@pytest.fixture(scope="module", params=["packet", "socket"])
def node(request, module_node):
    if request.param == "socket" and not harness.cgroup2_root():
        pytest.skip("cgroup2 is not mounted")
    n = module_node(cgroup=request.param == "socket")
    n.by_socket = request.param == "socket"
    for name in sorted(BACKENDS):
        pod = n.pod(name, labels={"app": "web"})
        pod.tcp(8080)
        pod.udp(5353)
        pod.sctp(3868)
    n.serve(n.peers.tcp(n.world, "outside", 8080), *n.peers.udp(n.world, "outside", 5353))
    n.serve(n.peers.tcp(n.ns, "node", 8181), *n.peers.udp(n.ns, "node", 5454))
    n.apply(node_port("web", 1, [("http", 8080, "TCP", WEB), ("dns", 5353, "UDP", DNS),
                                 ("sig", 3868, "SCTP", SCTP)], {"app": "web"},
                      externalIPs=list(NODE.values())),
            node_port("nobody", 4, [("http", 8080, "TCP", NOBODY), ("dns", 5353, "UDP", NOBODY)],
                      {"app": "nobody"}))
    for name, number, address, np, tcp, udp in (("far", 2, WORLD, FAR, 8080, 5353),
                                                ("own", 3, NODE, OWN, 8181, 5454)):
        n.apply(node_port(name, number, [("http", tcp, "TCP", np), ("dns", udp, "UDP", np)]),
                *(slice_manifest(name, f"v{f}", f, [("http", tcp, "TCP"), ("dns", udp, "UDP")],
                                 [address[f]]) for f in FAMILIES))
    return n


def test_status(node):
    status = node.json("status")
    assert status["features"]["socket_balancing"] is node.by_socket
    assert status["features"]["host_packets"] is True
    assert any("loopback" in note for note in status["notes"]) is not node.by_socket


@pytest.mark.parametrize("family", FAMILIES)
def test_node_port(node, family):
    for ask in (lambda: peers.tcp(node.ns, NODE[family], WEB),
                lambda: peers.udp(node.ns, NODE[family], DNS),
                lambda: peers.udp(node.ns, NODE[family], DNS, connect=False)):
        banners = [ask() for _ in range(40)]
        assert {b.name for b in banners} == BACKENDS
        assert {b.client for b in banners} == {NODE[family]}
    assert peers.sctp(node.ns, NODE[family], SCTP) in [(b, NODE[family]) for b in BACKENDS]


@pytest.mark.parametrize("family", FAMILIES)
def test_much(node, family):
    """Bulk both ways; datagrams that the loopback takes whole and the pod's device does not."""
    for port in (WEB, FAR, OWN):
        s, _ = peers.tcp_open(node.ns, NODE[family], port)
        with s:
            peers.echo(s, os.urandom(1000000))
    for port in (DNS, OWN):
        assert peers.udp(node.ns, NODE[family], port, data=os.urandom(8192))
    # out of the node its kernel has to be told first, and IPv6 learns no path MTU to itself
    assert family == 6 or eventually(lambda: path_mtu_known(node, family))


def path_mtu_known(node, family):
    try:
        return peers.udp(node.ns, NODE[family], FAR, data=os.urandom(8192))
    except OSError as e:
        assert e.errno == errno.EMSGSIZE
        return None


@pytest.mark.parametrize("family", FAMILIES)
def test_external_address_of_its_own(node, family):
    """The port that the service has; what else listens there is reached as before."""
    assert {peers.tcp(node.ns, NODE[family], 8080).name for _ in range(20)} == BACKENDS
    assert peers.tcp(node.ns, NODE[family], 8181).name == "node"
    assert peers.udp(node.ns, NODE[family], 5454).name == "node"


@pytest.mark.parametrize("family", FAMILIES)
def test_backend_elsewhere(node, family):
    for ask in (peers.tcp, peers.udp):
        banner = ask(node.ns, NODE[family], FAR)
        assert (banner.name, banner.client) == ("outside", NODE[family])


@pytest.mark.parametrize("family", FAMILIES)
def test_backend_is_the_node(node, family):
    for ask in (peers.tcp, peers.udp):
        banner = ask(node.ns, NODE[family], OWN)
        assert (banner.name, banner.client) == ("node", NODE[family])
    if node.by_socket:
        return
    # beside a plain connection from the same port to the same listener
    with peers.tcp_bound(node.ns, NODE[family]) as s:
        s.connect((NODE[family], OWN))
        assert s.recv(4096)
        with peers.tcp_bound(node.ns, NODE[family], s.getsockname()[1]) as plain:
            plain.connect((NODE[family], 8181))
            assert plain.recv(4096)
            peers.echo(plain, b"no translation")
        peers.echo(s, b"still here")


@pytest.mark.parametrize("family", FAMILIES)
def test_refused_at_once(node, family):
    """By a service without backends; and by the node, on ports that are nobody's."""
    for port in (NOBODY, 30999):
        assert peers.tcp_error(node.ns, NODE[family], port, timeout=0.95) == "ECONNREFUSED"
        with pytest.raises(ConnectionRefusedError), \
                peers.udp_socket(node.ns, NODE[family], port) as s:
            peers.udp_exchange(s)


@pytest.mark.parametrize("family", FAMILIES)
def test_errors_come_back(node, family):
    """A backend on the node whose port nobody has: its ICMP error goes by the loopback too."""
    name, port = f"shut{family}", 30090 + family
    m = node_port(name, 5 + family, [("dns", 9, "UDP", port)])
    m["spec"].update(ipFamilies=[f"IPv{family}"],
                     clusterIPs=[cluster_ips(5 + family)[FAMILIES.index(family)]])
    m["spec"]["clusterIP"] = m["spec"]["clusterIPs"][0]
    m["spec"].pop("ipFamilyPolicy", None)
    node.apply(m, slice_manifest(name, "v", family, [("dns", 9, "UDP")], [NODE[family]]))
    assert peers.udp_error(node.ns, NODE[family], port) == "ECONNREFUSED"
    node.delete(m)


def test_host_port(node):
    pod = node.pod("published")
    pod.tcp(8080)
    m = pod_manifest(pod, {})
    m["spec"]["containers"][0]["ports"] = [{"containerPort": 8080, "hostPort": 8888}]
    node.apply(m)
    for family in FAMILIES:
        assert peers.tcp(node.ns, NODE[family], 8888).name == "published"
    node.delete(m)


@pytest.mark.parametrize("family", FAMILIES)
def test_established_outlives_its_service(node, family):
    m = node_port("brief", 8, [("http", 8080, "TCP", 30085)], {"app": "web"})
    node.apply(m)
    s, _ = peers.tcp_open(node.ns, NODE[family], 30085)
    with s:
        node.delete(m)
        peers.echo(s, b"still here")
    assert peers.tcp_error(node.ns, NODE[family], 30085) == "ECONNREFUSED"


@pytest.mark.parametrize("family", FAMILIES)
def test_the_loopback_itself(node, family):
    """Addresses of the loopback are the socket programs' alone."""
    local = {4: "127.0.0.1", 6: "::1"}[family]
    node.serve(node.peers.tcp(node.ns, "local", 8282 + family))
    s, _ = peers.tcp_open(node.ns, local, 8282 + family)
    with s:
        peers.echo(s, os.urandom(1000000))
    if not node.by_socket:
        assert peers.tcp_error(node.ns, local, WEB) == "ECONNREFUSED"


def test_reverse_path_filters(node):
    for value in (1, 2):
        netns.sysctl(node.ns, ipv4__conf__all__rp_filter=value)
        try:
            for port in (WEB, FAR, OWN):
                assert peers.tcp(node.ns, NODE[4], port).name
                assert peers.tcp(node.ns, NODE[4], port).name
        finally:
            netns.sysctl(node.ns, ipv4__conf__all__rp_filter=0)


def lo_programs(node):
    return [p for d in json.loads(netns.run(node.ns, harness.BPFTOOL, "-j", "net").stdout)
            for p in d["tc"] if p["devname"] == "lo"]


def test_death_audit_and_uninstall(make_node):
    node = make_node()
    node.pod("b1", labels={"app": "web"}).tcp(8080)
    node.apply(node_port("web", 1, [("http", 8080, "TCP", WEB)], {"app": "web"}))
    s, _ = peers.tcp_open(node.ns, NODE[4], WEB)
    node.kill()
    peers.echo(s, b"without an agent")
    assert peers.tcp(node.ns, NODE[4], WEB).name == "b1"
    node.start()
    peers.echo(s, b"with another one")
    s.close()
    # its device goes: a new one takes its place
    name = next(n for n in node.link_names() if n.startswith("bnhost"))
    netns.ip(node.ns, f"link del {name}")
    for f in FAMILIES:
        assert eventually(lambda: peers.tcp(node.ns, NODE[f], WEB).name == "b1")
    assert len(lo_programs(node)) == 1
    node.stop()
    node.uninstall()
    assert not lo_programs(node)
    assert not [n for n in node.link_names() if re.match("bnhost|bnpeer", n)]
