# SPDX-License-Identifier: Apache-2.0
"""Direct server return and the path: packets of all sizes and kinds, and the errors that they meet.

Three nodes, the only backend on the second one, a client outside.
"""
import errno
import hashlib
import itertools
import json
import os
import socket

import pytest

import dsr
import harness
import netns
import peers
from cluster import BALANCED
from dsr import TAKES, Uplink, endpoint, forget_mtu, frontends, through, through_first, towards
from harness import FAMILIES, eventually, slice_manifest
from rawnet import ICMP, IP, UDP, ICMPv6PacketTooBig, IPv6, Raw, Tap
from servers import Nginx
from test_nodeport import node_port

numbers = itertools.count(60)
FAR = {4: "198.51.100.9", 6: "fd00:51::9"}
HEADERS = {4: 20, 6: 40}
# socket options that Python has no names for, with their level
MTU_DISCOVER = {4: (socket.IPPROTO_IP, 10), 6: (socket.IPPROTO_IPV6, 23)}
MTU = {4: (socket.IPPROTO_IP, 14), 6: (socket.IPPROTO_IPV6, 24)}
TELL = {4: (socket.IPPROTO_IP, 11), 6: (socket.IPPROTO_IPV6, 25)}  # IP_RECVERR
HOPS = {4: (socket.IPPROTO_IP, socket.IP_TTL), 6: (socket.IPPROTO_IPV6, socket.IPV6_UNICAST_HOPS)}
SEGMENT = (socket.IPPROTO_UDP, 103)
DONT, DO, OMIT = 0, 2, 5  # of MTU_DISCOVER


@pytest.fixture(scope="module")
def cluster(module_cluster, tmp_path_factory):
    return dsr.one_backend(module_cluster, dsr.options(tmp_path_factory))


@pytest.fixture
def unlearned(cluster):
    """What was told of paths is forgotten, before the test and after it."""
    spaces = cluster.client, cluster.web.ns, *[n.ns for n in cluster.nodes]
    forget_mtu(*spaces)
    yield
    forget_mtu(*spaces)


# ------------------------------------------------------------------------- sizes
@pytest.mark.parametrize("family", FAMILIES)
def test_datagrams_in_fragments(cluster, unlearned, family):
    """Both ways. Full ones leave no room for the frontend: who sends them is told, or they are cut
    once more."""
    client, data = cluster.outside, os.urandom(8192)
    for f in frontends(cluster, family):
        eventually(lambda: client.udp(f.address, f.dns, data=data))
        for _ in range(5):
            assert client.udp(f.address, f.dns, data=data, tries=1).client == client.ip[family]


@pytest.mark.parametrize("family", FAMILIES)
def test_a_datagram_of_the_whole_mtu(cluster, unlearned, family):
    """One that must not be fragmented: its sender learns by how much less it is."""
    for f in through_first(cluster, family):
        full = 1500 - HEADERS[family] - 8
        with cluster.outside.udp_socket(f.address, f.dns) as s:
            s.setsockopt(*MTU_DISCOVER[family], DO)
            assert s.getsockopt(*MTU[family]) == 1500
            s.send(bytes(full))
            with pytest.raises(OSError) as told:
                s.recv(65536)
            assert told.value.errno == errno.EMSGSIZE
            assert s.getsockopt(*MTU[family]) == 1500 - TAKES[family]
            banner = peers.udp_exchange(s, os.urandom(full - TAKES[family]))
            assert banner.client == cluster.client_ip[family]
            with pytest.raises(OSError) as told:
                s.send(bytes(full - TAKES[family] + 1))
            assert told.value.errno == errno.EMSGSIZE


def test_a_datagram_that_may_be_cut(cluster, unlearned):
    """IPv4 without DF: the first node does it, and nobody is told."""
    for f in through_first(cluster, 4):
        for how in (DONT, OMIT):
            with cluster.outside.udp_socket(f.address, f.dns) as s:
                s.setsockopt(*MTU_DISCOVER[4], how)
                for size in (1464, 1465, 1472, 1473, 8192):
                    assert peers.udp_exchange(s, os.urandom(size)).client == cluster.client_ip[4]
                assert s.getsockopt(*MTU[4]) == 1500


@pytest.mark.parametrize("family", FAMILIES)
def test_full_segments(cluster, unlearned, family):
    """They carry no frontend and so have all of the MTU; none is lost."""
    for f in through_first(cluster, family):
        s, _ = cluster.outside.tcp_open(f.address, f.web)
        with s:
            for _ in range(4):
                peers.echo(s, os.urandom(400000))
            # 20 bytes of TCP, 12 of timestamps
            assert s.getsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG) == 1500 - HEADERS[family] - 32
            assert peers.lost(s) == 0


@pytest.mark.parametrize("family", FAMILIES)
def test_datagrams_that_travel_as_one(cluster, unlearned, family):
    """A stack may hand over many datagrams at once (UDP_SEGMENT): each says where it was sent to."""
    for f in through_first(cluster, family):
        for size in (100, 1000, 1500 - TAKES[family] - HEADERS[family] - 8):
            with cluster.outside.udp_socket(f.address, f.dns) as s, Uplink(cluster.nodes[0]) as tap:
                s.setsockopt(*SEGMENT, size)
                sent = [bytes([i]) * size for i in range(20)] + [b"the last one"]
                s.send(b"".join(sent))
                got = [s.recv(65536).split(b"\n", 1) for _ in sent]
                came, went = tap.passed()
            assert sorted(body for _, body in got) == sorted(sent)
            assert {line.split()[1].decode() for line, _ in got} == {cluster.client_ip[family]}
            assert {p.frontend for p in went if p.protocol == "UDP"} == {(f.address, f.dns)}


# ----------------------------------------------------------------------- headers
def test_a_clients_own_ipv4_options(cluster):
    """Beside the frontend where there is room; where there is none, the node asks for itself."""
    f, source = through(cluster.nodes[0], 4), cluster.client_ip[4]
    for length, seen in ((4, source), (32, source), (36, f.address), (40, f.address)):
        with cluster.outside.udp_socket(f.address, f.dns) as s:
            s.setsockopt(socket.IPPROTO_IP, socket.IP_OPTIONS, b"\x01" * length)
            for _ in range(3):
                assert peers.udp_exchange(s).client == seen, length
        with peers.tcp_bound(cluster.client, *cluster.outside.own(f.address)) as s:
            s.setsockopt(socket.IPPROTO_IP, socket.IP_OPTIONS, b"\x01" * length)
            s.connect((f.address, f.web))
            assert s.recv(1000).decode().split()[1] == seen, length
            peers.echo(s, os.urandom(100000))


def test_a_clients_own_ipv6_headers(cluster):
    """Behind the one that has the frontend, but for options hop by hop, which have to be the first."""
    f, padding = through(cluster.nodes[0], 6), b"\0\0\x01\x04\0\0\0\0"
    for headers in ((socket.IPV6_DSTOPTS,), (socket.IPV6_HOPOPTS,),
                    (socket.IPV6_HOPOPTS, socket.IPV6_DSTOPTS)):
        direct = socket.IPV6_HOPOPTS not in headers
        seen = cluster.client_ip[6] if direct else f.address
        with cluster.outside.udp_socket(f.address, f.dns) as s, Uplink(cluster.nodes[0]) as tap:
            for h in headers:
                s.setsockopt(socket.IPPROTO_IPV6, h, padding)
            for _ in range(3):
                assert peers.udp_exchange(s).client == seen
            _, went = tap.passed()
        asked = [(f.address, f.dns) if direct else None] * 3
        assert [p.frontend for p in went if p.protocol == "UDP"][:3] == asked
        with peers.tcp_bound(cluster.client, *cluster.outside.own(f.address)) as s:
            for h in headers:
                s.setsockopt(socket.IPPROTO_IPV6, h, padding)
            s.connect((f.address, f.web))
            assert s.recv(1000).decode().split()[1] == seen
            peers.echo(s, os.urandom(100000))


@pytest.mark.parametrize("family", FAMILIES)
def test_hops(cluster, family):
    """Both nodes are one, and both tell the client of its own datagram where none is left."""
    for f in through_first(cluster, family):
        for hops in (1, 2, 3):
            with cluster.outside.udp_socket(f.address, f.dns) as s:
                s.setsockopt(*TELL[family], 1)
                s.setsockopt(*HOPS[family], hops)
                if hops == 3:
                    assert peers.udp_exchange(s).name == "web"
                    continue
                s.send(b"x")
                with pytest.raises(OSError) as told:
                    s.recv(100)
                assert told.value.errno == errno.EHOSTUNREACH, hops


# -------------------------------------------------------------------- ICMP errors
@pytest.mark.parametrize("family", FAMILIES)
def test_errors_of_a_backend(cluster, family):
    """A closed port of the backend: its errors reach the client, from whom it asked."""
    name, external = f"shut{family}", BALANCED[family] + "30"
    m = node_port(name, 30130 + family, 30140 + family, number=next(numbers), families=(family,),
                  ports=(9, 9, 0), externalIPs=[external])
    cluster.apply(m, slice_manifest(name, "a", family, [("http", 9, "TCP"), ("dns", 9, "UDP")],
                                    [endpoint(cluster.web, family)]))
    for address, web, dns in [(n.ip[family], 30130 + family, 30140 + family)
                              for n in cluster.nodes] + [(external, 80, 53)]:
        assert peers.tcp_error(cluster.client, address, web) == "ECONNREFUSED"
        assert peers.udp_error(cluster.client, address, dns) == "ECONNREFUSED"
    cluster.delete(m)


@pytest.mark.parametrize("family", FAMILIES)
def test_backend_whose_node_nobody_names(cluster, family):
    """An EndpointSlice of someone's own with a pod's address."""
    name, port = f"byhand{family}", 30150 + family
    m = node_port(name, port, number=next(numbers), families=(family,))
    cluster.apply(m, slice_manifest(name, "a", family, [("http", 8080, "TCP")],
                                    [cluster.web.ip[family]]))
    for node in cluster.nodes:
        assert cluster.outside.tcp(node.ip[family], port).client == cluster.client_ip[family]
    cluster.delete(m)


def learned(pod, address):
    """The path's MTU as a pod knows it."""
    route = json.loads(pod.run("ip", "-j", "route", "get", address).stdout)[0]
    return next((int(m["mtu"]) for m in route.get("metrics", []) if "mtu" in m), 1500)


@pytest.mark.parametrize("family", FAMILIES)
def test_an_answer_that_is_too_big(cluster, unlearned, family):
    """Of a router on the client's side, which knows the frontend alone: the backend is told."""
    source, first = cluster.client_ip[family], cluster.nodes[0]
    for f in through_first(cluster, family):
        assert learned(cluster.web, source) == 1500
        with cluster.outside.udp_socket(f.address, f.dns) as s, Tap(cluster.client, "w0") as tap:
            peers.udp_exchange(s)
            quoted = UDP(sport=f.dns, dport=s.getsockname()[1]) / Raw(bytes(600))
            if family == 4:
                error = IP(src=source, dst=f.address) / ICMP(type=3, code=4, nexthopmtu=1300) / \
                    IP(src=f.address, dst=source, flags="DF") / quoted
            else:
                error = IPv6(src=source, dst=f.address) / ICMPv6PacketTooBig(mtu=1300) / \
                    IPv6(src=f.address, dst=source) / quoted
            tap.send(towards(first, cluster.client, bytes(error)))
            eventually(lambda: learned(cluster.web, source) == 1300)
            assert peers.udp_exchange(s, os.urandom(1400)).name == "web"
        forget_mtu(cluster.web.ns)


@pytest.mark.parametrize("family", FAMILIES)
def test_an_answer_that_nobody_waits_for(cluster, family):
    """The client's error finds the backend's socket."""
    pod, f = cluster.web, through(cluster.nodes[0], family)
    name, port = f"late{family}", 30190 + family
    m = node_port(name, 0, port, number=next(numbers), families=(family,), ports=(0, 5400, 0),
                  selector={"app": "web"})
    cluster.apply(m)
    with netns.within(pod.ns):
        server = socket.socket(peers.family(f.address), socket.SOCK_DGRAM)
    with server:
        server.settimeout(5 * peers.SLOW)
        server.bind((pod.ip[family], 5400))
        with cluster.outside.udp_socket(f.address, port) as s:
            s.send(b"x")
            _, client = server.recvfrom(100)
            assert client[:2] == s.getsockname()[:2]
        server.connect(client)
        server.send(b"too late")
        with pytest.raises(ConnectionRefusedError):
            server.recv(100)
    cluster.delete(m)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_backend_that_spoke_first(cluster, family):
    """As one that has more to say when the datagrams' flow is long forgotten: what the client sends
    next is answered all the same."""
    pod, f = cluster.web, through(cluster.nodes[0], family)
    name, port, number = f"push{family}", 30200 + family, 5410 + family
    m = node_port(name, 0, port, number=next(numbers), families=(family,), ports=(0, number, 0),
                  selector={"app": "web"})
    cluster.apply(m)
    with netns.within(pod.ns):
        server = socket.socket(peers.family(f.address), socket.SOCK_DGRAM)
    with server, cluster.outside.udp_socket(f.address, port, timeout=1) as s:
        server.settimeout(1 * peers.SLOW)
        server.bind((pod.ip[family], number))
        server.sendto(b"more", s.getsockname())

        def answered():
            s.send(b"x")
            server.sendto(b"y", server.recvfrom(100)[1])
            return s.recv(100) == b"y"
        assert eventually(answered)
    cluster.delete(m)


@pytest.fixture(scope="module")
def far(cluster):
    """A client behind the one outside, and behind a link of 1300 bytes, of which its connections say
    nothing."""
    ns = f"{cluster.id}-far"
    netns.ip(None, f"netns add {ns}",
             f"link add f0 netns {ns} type veth peer name w1 netns {cluster.client}")
    netns.sysctl(cluster.client, ipv4__ip_forward=1, ipv6__conf__all__forwarding=1)
    harness.addressed(ns, "f0", FAR, 1500)
    harness.addressed(cluster.client, "w1", {4: "198.51.100.1", 6: "fd00:51::1"}, 1300)
    netns.ip(ns, "route add default via 198.51.100.1 mtu lock 1300 advmss 1460",
             "route add default via fd00:51::1 mtu lock 1300 advmss 1440")
    yield ns
    netns.ip(None, f"netns del {ns}")


@pytest.mark.parametrize("family", FAMILIES)
def test_a_download_over_a_small_mtu(cluster, unlearned, far, tmp_path, family):
    """A router's error finds the backend, and its segments get smaller."""
    data = os.urandom(3 << 20)
    (tmp_path / "big").write_bytes(data)
    with Nginx(cluster.web.node, cluster.web.ns, "big", 8001, root=tmp_path):
        for f in frontends(cluster, family):
            assert learned(cluster.web, FAR[family]) == 1500
            host = f"[{f.address}]" if family == 6 else f.address
            out = tmp_path / "got"
            netns.run(far, "curl", "-sS", "-g", "-f", "--max-time", "60", "-o", out, "--local-port",
                      "{}-{}".format(*cluster.outside.some(10)), f"http://{host}:{f.files}/big")
            assert hashlib.sha256(out.read_bytes()).digest() == hashlib.sha256(data).digest()
            assert learned(cluster.web, FAR[family]) == 1300
            forget_mtu(cluster.web.ns)
