# SPDX-License-Identifier: Apache-2.0
"""ClusterIP services on real traffic, balanced packet by packet and at the socket."""
import itertools
import socket

import pytest

import peers
from harness import FAMILIES, cluster_ips, eventually, pod_manifest, service_manifest, slice_manifest

BACKENDS = ("b1", "b2", "b3")
numbers = itertools.count(10)


@pytest.fixture(scope="module", params=["packet", "socket"])
def node(request, module_node):
    node = module_node(cgroup=request.param == "socket")
    node.at_socket = request.param == "socket"
    client = node.pod("client", labels={"app": "client"})
    client.tcp(8080)
    for name in BACKENDS:
        pod = node.pod(name, labels={"app": "web"}, ports=[("http", 8080, "TCP"),
                                                           ("dns", 5353, "UDP")])
        pod.tcp(8080)
        pod.tcp(9090, name + "-9090")
        pod.udp(5353)
        pod.sctp(3868)
    node.client = client
    return node


def make(node, ports, **kw):
    """A service of its own for the test; selects the web pods unless told otherwise."""
    n = next(numbers)
    kw.setdefault("selector", {"app": "web"})
    m = service_manifest(f"s{n}", ports, ips=cluster_ips(n), **kw)
    node.apply(m)
    return m, dict(zip(FAMILIES, cluster_ips(n)))


def names(node, ask, expected, most=150):
    """Ask until every expected backend has answered and no other one has."""
    seen = set()
    for _ in range(most):
        seen.add(ask())
        assert seen <= set(expected), f"{seen - set(expected)} answered, expected {expected}"
        if seen == set(expected):
            return
    raise AssertionError(f"only {seen} of {expected} answered {most} requests")


@pytest.mark.parametrize("family", FAMILIES)
def test_tcp_reaches_every_backend(node, family):
    _, vip = make(node, [(80, 8080)])
    names(node, lambda: peers.tcp(node.client.ns, vip[family], 80).name, BACKENDS)
    b = peers.tcp(node.client.ns, vip[family], 80)
    assert b.client == node.client.ip[family], "the client's address did not arrive"
    assert b.local_port == 8080


@pytest.mark.parametrize("connect", [True, False], ids=["connected", "sendto"])
@pytest.mark.parametrize("family", FAMILIES)
def test_udp_reaches_every_backend(node, family, connect):
    _, vip = make(node, [(53, 5353, "UDP")])
    names(node, lambda: peers.udp(node.client.ns, vip[family], 53, connect=connect).name, BACKENDS)


@pytest.mark.parametrize("family", FAMILIES)
def test_sctp(node, family):
    """INIT and INIT-ACK through the service, to another port, CRC32c right at both ends."""
    _, vip = make(node, [(3000, 3868, "SCTP")])
    bad = node.peers.sctp_bad_crc
    seen = set()
    for _ in range(60):
        name, source = peers.sctp(node.client.ns, vip[family], 3000)
        assert source == vip[family], "the answer did not come from the service's address"
        seen.add(name)
        if seen == set(BACKENDS):
            break
    assert seen == set(BACKENDS)
    assert node.peers.sctp_bad_crc == bad


def test_many_ports_and_named_ports(node):
    _, vip = make(node, [(80, "http", "TCP", "web"), (90, 9090, "TCP", "alt"),
                         (53, "dns", "UDP", "dns"), (53, 8080, "TCP", "dns-tcp")])
    for family in FAMILIES:
        ip = vip[family]
        assert peers.tcp(node.client.ns, ip, 80).local_port == 8080
        assert peers.tcp(node.client.ns, ip, 90).name.endswith("-9090")
        assert peers.tcp(node.client.ns, ip, 53).local_port == 8080
        assert peers.udp(node.client.ns, ip, 53).local_port == 5353


def test_the_host_reaches_a_service(node):
    _, vip = make(node, [(80, 8080), (53, 5353, "UDP")])
    for family in FAMILIES:
        assert peers.tcp(node.ns, vip[family], 80).name in BACKENDS
        assert peers.udp(node.ns, vip[family], 53).name in BACKENDS


def test_given_endpoint_slices_win(node):
    n = next(numbers)
    vip = dict(zip(FAMILIES, cluster_ips(n)))
    web = [node.pods[f"default/{b}"] for b in BACKENDS]
    node.apply(service_manifest(f"s{n}", [(80, 8080, "TCP", "http")], ips=cluster_ips(n)),
               *(slice_manifest(f"s{n}", f"v{f}", f, [("http", 9090, "TCP")],
                                [web[0].ip[f], web[2].ip[f]]) for f in FAMILIES))
    for family in FAMILIES:
        names(node, lambda: peers.tcp(node.client.ns, vip[family], 80).name, ("b1-9090", "b3-9090"))


@pytest.mark.parametrize("size", [1472, 1473, 8192, 20000])
@pytest.mark.parametrize("family", FAMILIES)
def test_large_udp(node, family, size):
    """Datagrams of several fragments, to the service and back."""
    _, vip = make(node, [(53, 5353, "UDP")])
    assert peers.udp(node.client.ns, vip[family], 53, data=bytes(size)).name in BACKENDS


@pytest.mark.parametrize("family", FAMILIES)
def test_large_tcp(node, family):
    _, vip = make(node, [(80, 8080)])
    s, _ = peers.tcp_open(node.client.ns, vip[family], 80)
    with s:
        for _ in range(20):
            peers.echo(s, b"0123456789abcdef" * 2048)


@pytest.mark.parametrize("family", FAMILIES)
def test_refused_at_once(node, family):
    """No backend, a port and an address that nobody owns: an error, not silence."""
    _, vip = make(node, [(80, 8080), (53, 5353, "UDP")], selector={"app": "nobody"})
    unowned = {4: "10.96.77.77", 6: "fd00:96::7:7777"}[family]
    ns = node.client.ns
    for ip, port in ((vip[family], 80), (vip[family], 81), (unowned, 80)):
        assert peers.tcp_error(ns, ip, port, timeout=0.95) == "ECONNREFUSED", (ip, port)
    for ip, port in ((vip[family], 53), (vip[family], 54), (unowned, 53)):
        assert peers.udp_error(ns, ip, port) in ("ECONNREFUSED", "EHOSTUNREACH"), (ip, port)


def test_readiness(node):
    late = node.pod("late", labels={"app": "late"}, ready=False)
    late.tcp(8080)
    _, vip = make(node, [(80, 8080)], selector={"app": "late"})
    assert peers.tcp_error(node.client.ns, vip[4], 80) == "ECONNREFUSED"
    node.apply(pod_manifest(late, {"app": "late"}, ready=True))
    for family in FAMILIES:
        assert peers.tcp(node.client.ns, vip[family], 80).name == "late"
    node.apply(pod_manifest(late, {"app": "late"}, ready=False))
    assert peers.tcp_error(node.client.ns, vip[4], 80) == "ECONNREFUSED"
    node.apply(pod_manifest(late, {"app": "other"}, ready=True))
    assert peers.tcp_error(node.client.ns, vip[4], 80) == "ECONNREFUSED"


def test_terminating_backend(node):
    """New connections avoid it, what is open carries on; alone it still serves."""
    n = next(numbers)
    name, vip = f"s{n}", cluster_ips(n)[0]
    b1, b2 = (node.pods[f"default/{b}"].ip[4] for b in BACKENDS[:2])
    ends = {"ready": False, "serving": True, "terminating": True}
    ports = [("http", 8080, "TCP")]
    service = service_manifest(name, [(80, 8080, "TCP", "http")], ips=[vip], families=(4,))
    node.apply(service, slice_manifest(name, "a", 4, ports, [b1]))
    s, banner = peers.tcp_open(node.client.ns, vip, 80)
    assert banner.name == "b1"
    node.apply(slice_manifest(name, "a", 4, ports, [(b1, ends), b2]))
    with s:
        peers.echo(s, b"still here")
        for _ in range(20):
            assert peers.tcp(node.client.ns, vip, 80).name == "b2"
        states = {b["ip"]: b["state"] for b in node.service(name)["backends"]}
        assert states == {b1: "terminating", b2: "active"}
        node.apply(slice_manifest(name, "a", 4, ports, [(b1, ends)]))
        assert peers.tcp(node.client.ns, vip, 80).name == "b1"
        peers.echo(s, b"and still")


@pytest.mark.parametrize("family", FAMILIES)
def test_udp_moves_at_once_when_its_backend_goes(node, family):
    n = next(numbers)
    name, vip = f"s{n}", dict(zip(FAMILIES, cluster_ips(n)))[family]
    b1, b2 = (node.pods[f"default/{b}"].ip[family] for b in BACKENDS[:2])
    ports = [("dns", 5353, "UDP")]
    node.apply(service_manifest(name, [(53, 5353, "UDP", "dns")], ips=[vip], families=(family,)),
               slice_manifest(name, "a", family, ports, [b1]))
    # unconnected, as a resolver's socket: a socket that connect() bound to a backend has to be
    # told by an ICMP error, which is the kernel's affair
    with peers.udp_socket(node.client.ns, vip, 53, connect=False) as s:
        assert peers.udp_exchange(s, to=(vip, 53)).name == "b1"
        node.apply(slice_manifest(name, "a", family, ports, [b2]))
        assert peers.udp_exchange(s, to=(vip, 53)).name == "b2"


def test_service_removed_and_back(node):
    m, vip = make(node, [(80, 8080)])
    assert peers.tcp(node.client.ns, vip[4], 80)
    assert "deleted" in node.delete(m).stdout
    assert peers.tcp_error(node.client.ns, vip[4], 80) == "ECONNREFUSED"
    node.apply(m)
    assert peers.tcp(node.client.ns, vip[4], 80)


def test_port_changes_while_a_connection_is_open(node):
    m, vip = make(node, [(80, 8080)])
    s, _ = peers.tcp_open(node.client.ns, vip[4], 80)
    with s:
        m["spec"]["ports"][0]["port"] = 81
        node.apply(m)
        peers.echo(s, b"unbroken")
        assert peers.tcp_error(node.client.ns, vip[4], 80) == "ECONNREFUSED"
        assert peers.tcp(node.client.ns, vip[4], 81).name in BACKENDS


@pytest.mark.parametrize("family", FAMILIES)
def test_hairpin(node, family):
    """A pod reaches its own service, through several ports, without seeing itself as a stranger."""
    solo = node.pods.get("default/solo")
    if not solo:
        solo = node.pod("solo", labels={"app": "solo"})
        solo.tcp(8080)
        solo.tcp(9090)
        solo.udp(5353)
    _, vip = make(node, [(80, 8080), (90, 9090), (53, 5353, "UDP")], selector={"app": "solo"})
    for port in (80, 90):
        s, banner = peers.tcp_open(solo.ns, vip[family], port)
        with s:
            assert banner.name == "solo"
            peers.echo(s, bytes(50000))
    for _ in range(5):
        assert peers.udp(solo.ns, vip[family], 53).name == "solo"


def test_source_ports_do_not_collide(node):
    """Many connections from one pod to one service, all at once."""
    _, vip = make(node, [(80, 8080)])
    socks = [peers.tcp_open(node.client.ns, vip[4], 80)[0] for _ in range(100)]
    for i, s in enumerate(socks):
        peers.echo(s, b"%d" % i)
    for s in socks:
        s.close()


def test_same_source_port_again(node):
    """A client that reuses its port right after closing gets a new connection."""
    _, vip = make(node, [(80, 8080)], selector={"app": "web"})
    for _ in range(5):
        s = peers.tcp_socket(node.client.ns, vip[4])
        with s:
            s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            # an RST instead of TIME_WAIT, so that the kernel lets the port be used again
            s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            s.bind((node.client.ip[4], 33333))
            s.connect((vip[4], 80))
            assert s.recv(100)


def test_svc_list(node):
    m, vip = make(node, [(80, 8080), (53, 5353, "UDP")])
    name = m["metadata"]["name"]
    s = node.service(name)
    assert s["type"] == "ClusterIP"
    fronts = {(f["ip"], f["port"], f["protocol"]) for f in s["frontends"]}
    assert fronts == {(vip[f], p, proto) for f in FAMILIES
                      for p, proto in ((80, "TCP"), (53, "UDP"))}
    backs = {(b["ip"], b["port"]): b for b in s["backends"]}
    for name_ in BACKENDS:
        pod = node.pods[f"default/{name_}"]
        for family in FAMILIES:
            b = backs[(pod.ip[family], 8080)]
            assert b["state"] == "active" and b["pod"].endswith(name_)
    assert name in node.bpfnet("svc", "list").stdout
    assert vip[4] in node.bpfnet("svc", "get", f"default/{name}").stdout


def test_cluster_ip_is_allotted(node):
    """Left out: taken from the service range, no collision, and kept when applied again."""
    manifests = [service_manifest(f"auto{i}", [(80, 8080)], {"app": "web"}) for i in range(8)]
    node.apply(*manifests)

    def addresses():
        return [tuple(f["ip"] for f in node.service(f"auto{i}")["frontends"]) for i in range(8)]
    first = addresses()
    flat = list(itertools.chain(*first))
    assert len(set(flat)) == 16, "two families for each of 8 services, all different"
    assert "unchanged" in node.apply(*manifests).stdout
    assert addresses() == first
    for ip in flat[:4]:
        assert eventually(lambda: peers.tcp(node.client.ns, ip, 80))
