# SPDX-License-Identifier: Apache-2.0
"""Pods and the world behind the uplink: routes, masquerade, ICMP errors, path MTU, downloads."""
import hashlib
import os

import pytest

import netns
import peers
from harness import FAMILIES, NODE, WORLD, cluster_ips, eventually, service_manifest, slice_manifest
from rawnet import IP, UDP, Ether, IPv6, Raw, Tap
from servers import Nginx

# A network behind the world's router, reached through a smaller MTU.
FAR = {4: "198.51.100.9", 6: "fd00:51::9"}
# Who can be nobody's peer past a router.
MARTIANS = {4: ("127.0.0.1", "169.254.9.9"), 6: ("::1", "fe80::9")}


@pytest.fixture(scope="module", params=["on", "off", "ipv4"])
def node(request, module_node):
    node = module_node(options=["--masquerade", request.param])
    node.masquerade = {4: request.param != "off", 6: request.param == "on"}
    node.serve(node.peers.tcp(node.world, "world", 8080))
    node.serve(*node.peers.udp(node.world, "world", 5353))
    node.a = node.pod("a", labels={"app": "a"})
    node.a.tcp(8080)
    node.a.udp(5353)
    node.a.sctp(3868)
    return node


@pytest.mark.parametrize("family", FAMILIES)
def test_pod_to_world(node, family):
    source = NODE[family] if node.masquerade[family] else node.a.ip[family]
    b = peers.tcp(node.a.ns, WORLD[family], 8080)
    assert (b.name, b.client) == ("world", source)
    b = peers.udp(node.a.ns, WORLD[family], 5353)
    assert (b.name, b.client) == ("world", source)
    assert peers.udp(node.a.ns, WORLD[family], 5353, data=bytes(8192)).client == source
    s, _ = peers.tcp_open(node.a.ns, WORLD[family], 8080)
    with s:
        peers.echo(s, os.urandom(300000))


@pytest.mark.parametrize("family", FAMILIES)
def test_world_to_pod(node, family):
    b = peers.tcp(node.world, node.a.ip[family], 8080)
    assert (b.name, b.client) == ("a", WORLD[family])
    assert peers.udp(node.world, node.a.ip[family], 5353).name == "a"
    assert peers.udp(node.world, node.a.ip[family], 5353, data=bytes(8192)).name == "a"
    assert peers.sctp(node.world, node.a.ip[family], 3868)[0] == "a"


@pytest.mark.parametrize("family", FAMILIES)
def test_ping_the_world_and_back(node, family):
    for ns, ip in ((node.a.ns, WORLD[family]), (node.world, node.a.ip[family])):
        out = netns.run(ns, "ping", "-n", "-c", "2", "-i", "0.2", "-W", "3", ip).stdout
        assert " 0% packet loss" in out


@pytest.mark.parametrize("family", FAMILIES)
def test_errors_come_back(node, family):
    assert peers.tcp_error(node.a.ns, WORLD[family], 9) == "ECONNREFUSED"
    assert peers.udp_error(node.a.ns, WORLD[family], 9) == "ECONNREFUSED"
    assert peers.udp_error(node.world, node.a.ip[family], 9) == "ECONNREFUSED"


@pytest.mark.parametrize("family", FAMILIES)
def test_errors_come_back_through_a_service(node, family):
    """UDP to a closed port of a backend outside: the ICMP error is translated twice."""
    number = 20 + family
    vip = cluster_ips(number)[FAMILIES.index(family)]
    name = f"out{family}"
    node.apply(service_manifest(name, [(53, 9, "UDP", "dns"), (80, 8080, "TCP", "http")], ips=[vip],
                                families=(family,)),
               slice_manifest(name, "a", family, [("dns", 9, "UDP"), ("http", 8080, "TCP")],
                              [WORLD[family]]))
    assert peers.udp_error(node.a.ns, vip, 53) == "ECONNREFUSED"
    assert peers.tcp(node.a.ns, vip, 80).name == "world"


def test_excluded_from_masquerade(make_node, tmp_path):
    """The world's own network is excluded: its servers see pods' addresses."""
    config = tmp_path / "bpfnetd.yaml"
    config.write_text("nat:\n  exclude: [172.31.0.0/30, 'fd00:31::/64']\n")
    node = make_node(options=["--config", str(config), "--masquerade", "on"])
    node.serve(node.peers.tcp(node.world, "world", 8080))
    netns.ip(node.world, "addr add 198.51.100.1/32 dev lo", "addr add fd00:51::1/128 dev lo nodad")
    a = node.pod("a")
    for family, elsewhere in ((4, "198.51.100.1"), (6, "fd00:51::1")):
        assert peers.tcp(a.ns, WORLD[family], 8080).client == a.ip[family]
        assert peers.tcp(a.ns, elsewhere, 8080).client == NODE[family]


@pytest.mark.parametrize("family", FAMILIES)
def test_masquerade_of_many(make_node, tmp_path, family):
    """95 % of the range towards one destination at once, then more than it has."""
    config = tmp_path / "bpfnetd.yaml"
    config.write_text("nat: {ports: 62000-62299}\n")
    node = make_node(options=["--config", str(config)])
    node.serve(node.peers.tcp(node.world, "world", 8080), node.peers.tcp(node.world, "world", 8081))
    a = node.pod("a")
    held = [peers.tcp_open(a.ns, WORLD[family], 8080) for _ in range(300 * 95 // 100)]
    ports = {b.client_port for _, b in held}
    assert len(ports) == len(held) and ports <= set(range(62000, 62300))
    refused = None
    while not refused:
        try:
            held.append(peers.tcp_open(a.ns, WORLD[family], 8080, timeout=1))
        except TimeoutError as e:
            refused = e
    assert 285 < len(held) <= 300
    node.wait_drop("nat-ports-exhausted")
    # another destination has a range of its own, and those that are open go on
    assert peers.tcp(a.ns, WORLD[family], 8081).client_port in range(62000, 62300)
    for s, _ in held:
        with s:
            peers.echo(s, b"still here")


@pytest.mark.parametrize("family", FAMILIES)
def test_traceroute_out(node, family):
    out = netns.run(node.a.ns, "traceroute", f"-{family}", "-n", "-q", "1", "-w", "2", "-m", "5",
                    WORLD[family]).stdout
    last = out.strip().splitlines()[-1]
    assert WORLD[family] in last, out


@pytest.mark.parametrize("family", FAMILIES)
def test_spoofed_from_outside(node, family):
    """What claims to come from a local pod, this node, a service or from nobody does not come in."""
    cls = IP if family == 4 else IPv6
    name, vip = f"forged{family}", cluster_ips(60 + family)[FAMILIES.index(family)]
    mac = node.link(node.ns, "up0")["address"]
    b = node.pods.get("default/b")
    if not b:
        b = node.pod("b", labels={"app": "b"})
        b.udp(5353)
    node.apply(service_manifest(name, [(53, 5353, "UDP", "dns")], {"app": "b"}, ips=[vip],
                                families=(family,)))
    assert eventually(lambda: peers.udp(node.a.ns, vip, 53).name == "b")
    with Tap(node.world, "w0") as world, Tap(node.a.ns) as pod:
        for source in (b.ip[family], NODE[family], vip, *MARTIANS[family]):
            world.send(Ether(dst=mac) / cls(src=source, dst=node.a.ip[family]) /
                       UDP(sport=53, dport=7000) / Raw(b"FORGED"))
        # the flow that a forged answer would have begun is this one's, which goes to the service
        pod.send(Ether(src=node.a.mac, dst=mac) / cls(src=node.a.ip[family], dst=vip) /
                 UDP(sport=7000, dport=53) / Raw(b"a-query"))
        got = pod.until(lambda f: cls in f and f[cls].src == vip and b"a-query" in bytes(f))
        world.send(Ether(dst=mac) / cls(src=WORLD[family], dst=node.a.ip[family]) /
                   UDP(sport=5, dport=5) / Raw(b"the-marker"))
        got += pod.until(lambda f: b"the-marker" in bytes(f))
    assert not [f for f in got if b"FORGED" in bytes(f)]
    node.wait_drop("uplink-spoof", "--ip", vip)
    node.wait_drop("martian-source")


@pytest.fixture(scope="module")
def far(node, session):
    """A server two hops out, behind a link of 1300 bytes."""
    ns = f"{node.id}-far"
    netns.ip(None, f"netns add {ns}",
             f"link add f0 netns {ns} type veth peer name w1 netns {node.world}")
    netns.sysctl(node.world, ipv4__ip_forward=1, ipv6__conf__all__forwarding=1)
    for space, dev, v4, v6, local in ((ns, "f0", FAR[4], FAR[6], 2),
                                      (node.world, "w1", "198.51.100.1", "fd00:51::1", 1)):
        netns.ip(space, "link set lo up", f"link set {dev} addrgenmode none",
                 f"link set {dev} mtu 1300 up", f"addr add {v4}/24 dev {dev}",
                 f"addr add {v6}/64 dev {dev} nodad", f"addr add fe80::{local}/64 dev {dev} nodad")
    netns.ip(ns, "route add default via 198.51.100.1", "route add default via fd00:51::1")
    sockets = [node.peers.tcp(ns, "far", 8080)]
    yield ns
    node.peers.close(*sockets)
    netns.ip(None, f"netns del {ns}")


@pytest.mark.parametrize("family", FAMILIES)
def test_path_mtu_outwards(node, far, family):
    """The pod sends more than the far link takes: 'too big' finds its way back, data flows."""
    s, banner = peers.tcp_open(node.a.ns, FAR[family], 8080)
    assert banner.name == "far"
    with s:
        peers.echo(s, os.urandom(400000))
    out = node.a.run("tracepath", f"-{family}", "-n", "-m", "6", FAR[family]).stdout
    assert "pmtu 1300" in out, out


@pytest.mark.parametrize("family", FAMILIES)
def test_download_over_a_small_mtu(node, far, family, tmp_path):
    """nginx in a pod, a client behind the small link: path-MTU discovery of the download."""
    data = os.urandom(3 << 20)
    (tmp_path / "big").write_bytes(data)
    address = node.a.ip[family]
    url = f"http://[{address}]:8000/big" if family == 6 else f"http://{address}:8000/big"
    with Nginx(node, node.a.ns, "a", 8000, root=tmp_path):
        out = tmp_path / "got"
        netns.run(far, "curl", "-sS", "-f", "--max-time", "60", "-o", str(out), url)
        assert hashlib.sha256(out.read_bytes()).digest() == hashlib.sha256(data).digest()


@pytest.mark.parametrize("family", FAMILIES)
def test_service_with_a_far_backend(node, far, family):
    """Too-big errors translated through the service's NAT as well."""
    vip = cluster_ips(30 + family)[FAMILIES.index(family)]
    name = f"far{family}"
    node.apply(service_manifest(name, [(80, 8080, "TCP", "http")], ips=[vip], families=(family,)),
               slice_manifest(name, "a", family, [("http", 8080, "TCP")], [FAR[family]]))
    s, banner = peers.tcp_open(node.a.ns, vip, 80)
    assert banner.name == "far"
    with s:
        peers.echo(s, os.urandom(400000))


def test_http_through_a_service(node, tmp_path):
    """Many requests of a real client to a real server, both families, none lost."""
    node.apply(service_manifest("http", [(80, 8001)], {"app": "a"}, ips=cluster_ips(40)))
    client = node.pods.get("default/client") or node.pod("client")
    with Nginx(node, node.a.ns, "a", 8001):
        for vip in cluster_ips(40):
            url = f"http://[{vip}]/" if ":" in vip else f"http://{vip}/"
            r = client.run("curl", "-sS", "-g", "-f", "--max-time", "20", "-Z", "--parallel-max",
                           "20", *[url] * 100)
            assert len(r.stdout.splitlines()) == 100, r.stdout[-500:]


def test_iperf_through_a_service(node):
    node.apply(service_manifest("iperf", [(5201, 5201), (5201, 5201, "UDP")], {"app": "a"},
                                ips=cluster_ips(41)))
    client = node.pods.get("default/client") or node.pod("client")
    server = node.popen(node.a.ns, "iperf3", "-s")
    try:
        for vip in cluster_ips(41):
            for mode in ([], ["-R"], ["-u", "-b", "20M"]):
                eventually(lambda: "receiver" in client.run(
                    "iperf3", "-c", vip, "-t", "1", "-P", "2", *mode).stdout, timeout=15)
    finally:
        server.kill()
        server.wait()
