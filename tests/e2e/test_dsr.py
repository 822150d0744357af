# SPDX-License-Identifier: Apache-2.0
"""Direct server return: the backend's node sees the client and answers it, past the node that the
client asked. Who sees whom by which way, what is on the links between, and what is told of it.

Three nodes, the only backend on the second one, a client outside.
"""
import itertools
import os
import socket
import struct

import pytest

import dsr
import netns
import peers
from dsr import SYN, WEB, Uplink, balanced, frontends, through, through_first
from harness import FAMILIES, eventually
from servers import Nginx
from test_nodeport import node_port

numbers = itertools.count(60)


@pytest.fixture(scope="module")
def cluster(module_cluster, tmp_path_factory):
    return dsr.one_backend(module_cluster, dsr.options(tmp_path_factory))


# ------------------------------------------------------------------ who is seen
@pytest.mark.parametrize("family", FAMILIES)
def test_the_backend_sees_the_client(cluster, family):
    """And the client an answer from whom it asked, by every way to the service."""
    client, want = cluster.outside, ("web", cluster.client_ip[family])
    for f in frontends(cluster, family):
        for _ in range(5):
            assert client.tcp(f.address, f.web)[:2] == want
            assert client.udp(f.address, f.dns)[:2] == want
            assert client.udp(f.address, f.dns, connect=False)[:2] == want
            assert client.udp(f.address, f.dns, data=b"")[:2] == want
            assert peers.sctp(client.ns, f.address, f.sig, next(client.ports)) == ("web", f.address)


@pytest.mark.parametrize("family", FAMILIES)
def test_much(cluster, family):
    for f in frontends(cluster, family):
        s, _ = cluster.outside.tcp_open(f.address, f.web)
        with s:
            peers.echo(s, os.urandom(400000))


@pytest.mark.parametrize("family", FAMILIES)
def test_http(cluster, family):
    """A real client and a real server."""
    with Nginx(cluster.web.node, cluster.web.ns, "web", 8001):
        for f in frontends(cluster, family):
            host = f"[{f.address}]" if family == 6 else f.address
            out = netns.run(cluster.client, "curl", "-sS", "-g", "-f", "--max-time", "30", "-Z",
                            "--parallel-max", "20", "--local-port",
                            "{}-{}".format(*cluster.outside.some()),
                            *[f"http://{host}:{f.files}/"] * 100).stdout
            assert out.splitlines() == [f"web {cluster.client_ip[family]}"] * 100


@pytest.mark.parametrize("family", FAMILIES)
def test_iperf(cluster, family):
    name, port = f"iperf{family}", 30160 + family
    m = node_port(name, 0, number=next(numbers), families=(family,), selector={"app": "web"})
    m["spec"]["ports"] = [{"name": p.lower(), "port": 5201, "protocol": p, "nodePort": port}
                          for p in ("TCP", "UDP")]
    cluster.apply(m)
    server = cluster.web.node.popen(cluster.web.ns, "iperf3", "-s")
    try:
        for node in (cluster.nodes[0], cluster.nodes[2]):
            for mode in ([], ["-R"], ["-u", "-b", "20M"], ["-u", "-b", "20M", "-R"]):
                eventually(lambda: "receiver" in netns.run(
                    cluster.client, "iperf3", "-c", node.ip[family], "-p", port, "-t", "1",
                    "-P", "2", *mode).stdout, timeout=15)
    finally:
        server.kill()
        server.wait()
    cluster.delete(m)


# ------------------------------------------------------------------- on the wire
@pytest.mark.parametrize("family", FAMILIES)
def test_on_the_wire(cluster, family):
    """What begins a flow says which frontend was asked, and every datagram; no answer passes the
    node that was asked."""
    first, second = cluster.nodes[:2]
    client, source, pod = cluster.outside, cluster.client_ip[family], cluster.web.ip[family]
    for f in through_first(cluster, family):
        u, mine = client.udp_socket(f.address, f.dns), next(client.ports)
        with Uplink(first) as asked, Uplink(second) as answering, u:
            s, _ = client.tcp_open(f.address, f.web)
            with s:
                flows = {"TCP": (s.getsockname()[1], f.web, 8080),
                         "UDP": (u.getsockname()[1], f.dns, 5353), "SCTP": (mine, f.sig, 3868)}
                peers.echo(s, os.urandom(5000))
                for _ in range(3):
                    peers.udp_exchange(u)
                peers.sctp(client.ns, f.address, f.sig, mine)
                came, went = asked.passed()
                _, answers = answering.passed()
        for protocol, (port, asked_for, target) in flows.items():
            frontend = f.address, asked_for
            here, there, passing, back = ([p for p in packets if p.protocol == protocol and ends(p)]
                                          for packets, ends in (
                (came, lambda p: (p.src, p.sport) == (source, port)),
                (went, lambda p: (p.src, p.sport) == (source, port)),
                (came + went, lambda p: (p.dst, p.dport) == (source, port)),
                (answers, lambda p: (p.dst, p.dport) == (source, port))))
            assert not passing
            assert {(p.dst, p.dport, p.frontend) for p in here} == {(*frontend, None)}
            assert {(p.dst, p.dport) for p in there} == {(pod, target)}
            assert sum(p.size for p in here) == sum(p.size for p in there)
            assert {(p.src, p.sport, p.frontend) for p in back} == {(*frontend, None)}
            begin = [p for p in there if protocol != "TCP" or p.flags & SYN]
            assert [p.frontend for p in begin] == [frontend] * (3 if protocol == "UDP" else 1)
            assert not [p for p in there if p not in begin and p.frontend]


@pytest.mark.parametrize("family", FAMILIES)
def test_nothing_is_said_where_the_backend_is(cluster, family):
    """Asked itself, its node has it only to hand over."""
    f = through(cluster.nodes[1], family)
    with Uplink(cluster.nodes[1]) as uplink:
        assert cluster.outside.tcp(f.address, f.web).name == "web"
        assert cluster.outside.udp(f.address, f.dns).name == "web"
        came, went = uplink.passed()
    assert not [p for p in came + went if p.frontend]


# ----------------------------------------------------------------- two addresses
class OnePort:
    """Connections from one port of the client to several addresses."""

    def __init__(self, cluster, family):
        self.ns, self.own = cluster.client, (cluster.client_ip[family], next(cluster.outside.ports))

    def open(self, ip, port, timeout=3):
        return peers.tcp_open(self.ns, ip, port, timeout, own=self.own)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_second_address_from_one_port(cluster, family):
    """The backend's node can't tell two frontends of one client's port apart, and takes the second
    for nothing; the node that was asked for both knows better."""
    source, port = cluster.client_ip[family], OnePort(cluster, family)
    first, second, other = cluster.nodes
    s, banner = port.open(first.ip[family], WEB)
    with s:
        assert banner[:3] == ("web", *port.own)
        with pytest.raises(TimeoutError):
            port.open(other.ip[family], WEB, timeout=1)
        second.wait_drop("dsr-conflict", "--ip", source, "--port", port.own[1])
        assert 'bpfnet_drop_packets_total{reason="dsr-conflict"' in second.bpfnet("metrics").stdout
        peers.echo(s, b"x" * 100000)
        for f in balanced(cluster, family):
            t, banner = port.open(f.address, f.web)
            with t:
                assert banner[:2] == ("web", first.ip[family])
                peers.echo(t, b"y" * 100000)
                peers.echo(s, b"x" * 100000)
        # of the backend's own node, which gives the client another port
        t, banner = port.open(second.ip[family], WEB)
        with t:
            assert banner[:2] == ("web", source) and banner.client_port != port.own[1]
            peers.echo(t, b"y" * 100000)
            peers.echo(s, b"x" * 100000)
    # once that has ended it is as any other
    s, banner = eventually(lambda: port.open(other.ip[family], WEB, timeout=2), timeout=20)
    with s:
        assert banner[:3] == ("web", *port.own)


@pytest.mark.parametrize("family", FAMILIES)
def test_one_port_again_and_again(cluster, family):
    """The first node has not seen how connections end, and may know more of them than there are."""
    port, f = OnePort(cluster, family), through(cluster.nodes[0], family)
    for _ in range(20):
        s, banner = port.open(f.address, f.web)
        with s:
            peers.echo(s, b"x" * 10000)
            s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        assert banner[:3] == ("web", *port.own)


@pytest.mark.parametrize("family", FAMILIES)
def test_datagrams_from_one_port(cluster, family):
    """Each is answered from where it was sent to, whatever was asked before."""
    ways = frontends(cluster, family)
    client = cluster.outside
    with client.udp_socket(ways[0].address, ways[0].dns, connect=False, timeout=1) as s:
        for f in ways * 2 + ways[::-1]:
            for _ in range(2):
                assert peers.udp_exchange(s, to=(f.address, f.dns)).name == "web"


# ------------------------------------------------------------------ what is told
def source_port(f):
    return next(iter(f["l4"].values())).get("source_port")


@pytest.mark.parametrize("family", FAMILIES)
def test_told_on_both_nodes(cluster, family):
    client, source, pod = cluster.outside, cluster.client_ip[family], cluster.web.ip[family]
    for way in through_first(cluster, family):
        s, _ = client.tcp_open(way.address, way.web)
        u = client.udp_socket(way.address, way.dns)
        with s, u:
            peers.udp_exchange(u)
            mine = s.getsockname()[1]
            for protocol, port, number, target in (("tcp", mine, way.web, 8080),
                                                   ("udp", u.getsockname()[1], way.dns, 5353)):
                for node in cluster.nodes[:2]:
                    f = node.wait_flow("opened", "--service", "default/web", "--port", port,
                                       match=lambda f: source_port(f) == port)
                    assert f["verdict"] == "FORWARDED" and not f["is_reply"]
                    assert (f["IP"]["source"], f["IP"]["destination"]) == (source, pod)
                    assert "source_xlated" not in f["IP"]
                    assert f["l4"][protocol.upper()]["destination_port"] == target
                    assert f["destination"]["pod_name"] == "web"
                    if node is cluster.nodes[0]:
                        assert f["original"] == {"ip": way.address, "port": number}
                    entry = next(e for e in node.lines("ct", "list") if e["protocol"] == protocol and
                                 (e["source"], e["source_port"]) == (source, port))
                    assert entry["service"] == "default/web" and entry["direct"]
                    assert entry["packets"] >= 1
                    assert (entry["reply_packets"] > 0) == (node is cluster.nodes[1])
        # the backend's node has seen the end of both directions
        f = cluster.nodes[1].wait_flow("closed", "--port", mine, match=lambda f:
                                       f["event_type"] == "closed" and source_port(f) == mine)
        assert f["close_cause"] == "fin" and f["packets"] >= 4 and f["reply_packets"] >= 3


@pytest.mark.parametrize("family", FAMILIES)
def test_nat_list(cluster, family):
    """The first node translates the client's packets, the backend's node the answers."""
    source, pod, here = cluster.client_ip[family], cluster.web.ip[family], cluster.nodes[0].ip[family]

    def translated(node, address, port):
        entry = next(e for e in node.lines("nat", "list")
                     if (e["source"], e["source_port"]) == (address, port) and
                     mine in (e["source_port"], e["destination_port"]))
        return [*((entry[k], entry[k + "_port"])
                  for k in ("destination", "to_source", "to_destination")), entry["nat"]]
    s, _ = cluster.outside.tcp_open(here, WEB)
    with s:
        mine = s.getsockname()[1]
        assert translated(cluster.nodes[0], source, mine) == \
            [(here, WEB), (source, mine), (pod, 8080), "dnat"]
        assert translated(cluster.nodes[1], pod, 8080) == \
            [(source, mine), (here, WEB), (source, mine), "snat"]


def test_status(cluster):
    for node in cluster.nodes:
        status = node.json("status")
        assert status["state"] == "live" and status["features"]["load_balancer_mode"] == "dsr"
