# SPDX-License-Identifier: Apache-2.0
"""XDP between two uplinks: a client behind one, the backend's node behind the other.

    client ── lan ── up0  node 0  up1 ── back ── up1  node 1  pod
                                  172.31.1.0/24, fd00:31:1::/64

The links' sides of node 0's veths are as NICs' wires would be (xdp.py).
"""
import os
import signal
import socket
import time

import pytest

import cluster as clusters
import netns
import peers
import xdp
from conftest import NODES
from harness import FAMILIES, addressed
from test_nodeport import node_port
from test_trace import tracing
from test_xdp import status_of, uplink

WEB, DNS = 30080, 30053
ECHOED = 400000
FULL = ECHOED // 1500  # frames at least, each way


class TwoLinks(clusters.Cluster):
    back_ip = [{4: f"172.31.1.{2 + n}", 6: f"fd00:31:1::{2 + n}"} for n in range(2)]

    def __init__(self, session, **kw):
        super().__init__(session, nodes=2, **kw)
        try:
            netns.ip(self.lan, "link add br1 type bridge mcast_snooping 0", "link set br1 up")
            for node in self.nodes:
                self._second(node)
        except BaseException:
            self.close()
            raise

    def _second(self, node):
        port, other = f"b{node.number}", self.nodes[1 - node.number]
        netns.ip(None, f"link add up1 netns {node.ns} type veth peer name {port} netns {self.lan}")
        netns.ip(self.lan, f"link set {port} master br1", f"link set {port} up")
        addressed(node.ns, "up1", self.back_ip[node.number])
        via = self.back_ip[other.number]
        netns.ip(node.ns, f"route replace 10.244.{other.subnet}.0/24 via {via[4]}",
                 f"route replace fd00:244:0:{other.subnet}::/64 via {via[6]}")


@pytest.fixture(scope="module")
def cluster(request, session, nothing_stays):
    c = TwoLinks(session, options=["--device", "up1", "--xdp", "native"])
    nodes = request.config.stash.setdefault(NODES, [])
    nodes.extend(c.nodes)
    try:
        ports = ("n0", "b0", "n1", "b1")
        c.wires = dict(zip(ports, xdp.wire(c.lan, *ports)))
        c.serve(*c.wires.values())
        c.start()
        c.web = c.pod(1, "web", {"app": "web"})
        c.web.tcp(8080)
        c.web.udp(5353)
        c.apply(node_port("web", WEB, DNS, number=1, selector={"app": "web"}))
        yield c
    finally:
        for node in c.nodes:
            nodes.remove(node)
        c.close()


def features(node):
    return status_of(node)["features"]


class Redirected:
    """Frames that node 0 sent by its other uplink, from up0 and from up1."""

    def __init__(self, cluster, mode="native"):
        ns = cluster.nodes[0].ns
        if mode == "native":
            self.counters = [lambda dev=dev: xdp.counter(ns, dev, "xdp_redirect")
                             for dev in ("up0", "up1")]
        else:  # nothing counts them
            self.counters = [xdp.PastStack(ns, dev).count for dev in ("up1", "up0")]
        self.before = [c() for c in self.counters]

    def since(self):
        return [c() - was for c, was in zip(self.counters, self.before)]


def open_tcp(cluster, family):
    s, banner = peers.tcp_open(cluster.client, cluster.nodes[0].ip[family], WEB)
    assert (banner.name, banner.client) == ("web", cluster.back_ip[0][family])
    return s


def test_status(cluster):
    for node in cluster.nodes:
        assert status_of(node)["state"] == "live", status_of(node)["reasons"]
        assert features(node)["xdp"] == {"up0": "native", "up1": "native"}
        assert features(node)["xdp_redirect"] == {"up0": "on", "up1": "on"}


@pytest.mark.parametrize("family", FAMILIES)
def test_tcp(cluster, family):
    redirected = Redirected(cluster)
    with open_tcp(cluster, family) as s:
        peers.echo(s, os.urandom(ECHOED))
    assert min(redirected.since()) > FULL


def test_traced(cluster):
    """Programs that trace redirect as the plain ones do, and say where to."""
    redirected = Redirected(cluster)
    with tracing(cluster.nodes[0], "--port", WEB, "--protocol", "tcp") as trace:
        with open_tcp(cluster, 4) as s:
            peers.echo(s, os.urandom(ECHOED))
        ways = [trace.wait(lambda p: p["trace"]["hook"] == "xdp" and
                           p["trace"]["action"] == "redirected" and p["is_reply"] is reply)
                for reply in (False, True)]
    assert min(redirected.since()) > FULL
    assert [(p["trace"]["device"], p["trace"]["to_device"]) for p in ways] == \
        [("up0", "up1"), ("up1", "up0")]


def test_udp(cluster):
    """Lasting flows, of both families at once."""
    redirected, socks = Redirected(cluster), []
    for family in FAMILIES:
        with netns.within(cluster.client):
            s = socket.socket(peers.family(cluster.nodes[0].ip[family]), socket.SOCK_DGRAM)
        s.settimeout(5 * peers.SLOW)
        s.connect((cluster.nodes[0].ip[family], DNS))
        socks.append(s)
    deadline = time.monotonic() + 30 * peers.SLOW
    while min(redirected.since()) < 20:
        assert time.monotonic() < deadline, redirected.since()
        for s in socks:
            data = os.urandom(1000)
            s.send(data)
            assert s.recv(4096).endswith(data)
        time.sleep(0.1)
    for s in socks:
        s.close()


def test_agent_dies(cluster):
    node = cluster.nodes[0]
    with open_tcp(cluster, 4) as s:
        peers.echo(s, b"established")
        node.stop(signal.SIGKILL)
        redirected = Redirected(cluster)
        peers.echo(s, os.urandom(ECHOED))
        assert min(redirected.since()) > FULL
        node.start()
        peers.echo(s, os.urandom(1000))
        redirected = Redirected(cluster)
        peers.echo(s, os.urandom(ECHOED))
        assert min(redirected.since()) > FULL


def test_target_that_takes_no_frames(cluster):
    """Connections go on by tc, status says so, and XDP takes over again when it can."""
    node = cluster.nodes[0]
    with open_tcp(cluster, 4) as s, open_tcp(cluster, 6) as s6:
        for c in (s, s6):
            peers.echo(c, os.urandom(1000))
        cluster.wires["b0"].close()
        node.json("map", "audit")
        assert features(node)["xdp_redirect"] == {"up0": "on", "up1": "off: no XDP on it"}
        assert features(node)["xdp"]["up1"].startswith("off: the other end of this veth")
        assert status_of(node)["state"] == "degraded"
        redirected = Redirected(cluster)
        for c in (s, s6):
            peers.echo(c, os.urandom(ECHOED))
        assert redirected.since() == [0, 0]
        cluster.wires["b0"] = xdp.Pass(cluster.lan, "b0")
        cluster.serve(cluster.wires["b0"])
        node.json("map", "audit")
        assert features(node)["xdp_redirect"] == {"up0": "on", "up1": "on"}
        redirected = Redirected(cluster)
        for c in (s, s6):
            peers.echo(c, os.urandom(ECHOED))
        assert min(redirected.since()) > 2 * FULL


def test_generic(cluster):
    """By the stack, whatever is at the other end."""
    node = cluster.nodes[0]
    cluster.wires["b0"].close()
    node.stop()
    node.start("--xdp", "generic")
    text = "on: to every uplink, and from those that are generic"
    assert features(node)["xdp_redirect"] == {"up0": text, "up1": text}
    assert [a["mechanism"] for a in uplink(node)] == ["generic", "generic"]
    with open_tcp(cluster, 4) as s, open_tcp(cluster, 6) as s6:
        redirected = Redirected(cluster, "generic")
        for c in (s, s6):
            peers.echo(c, os.urandom(ECHOED))
        assert min(redirected.since()) > 2 * FULL
