# SPDX-License-Identifier: Apache-2.0
"""XDP on the uplink: a node without backends forwards what it balances in the driver.

The link's side of each node's veth is as a NIC's wire would be (xdp.py).
"""
import contextlib
import json
import os
import signal

import pytest

import peers
import xdp
from harness import FAMILIES
from test_nodeport import node_port
from test_trace import tracing

WEB, DNS = 30080, 30053


@pytest.fixture(scope="module", params=["native", "generic"])
def cluster(request, module_cluster):
    c = module_cluster(nodes=2, options=["--xdp", request.param])
    c.mode = request.param
    c.serve(*xdp.wire(c.lan, "n0", "n1"))
    for node in c.nodes:
        node.json("map", "audit")
    c.web = c.pod(1, "web", {"app": "web"})
    c.web.tcp(8080)
    c.web.udp(5353)
    c.apply(node_port("web", WEB, DNS, number=1, selector={"app": "web"}))
    return c


def sent(node):
    """Frames that left the uplink by XDP_TX, as its driver counts them."""
    return xdp.counter(node.ns, "up0", "xdp_tx")


def status_of(node):
    """Also when it is degraded."""
    return json.loads(node.bpfnet("-o", "json", "status", check=False).stdout)


def uplink(node):
    return [a for a in status_of(node)["attachments"] if a["hook"] == "xdp"]


def test_status_shows_the_mode(cluster):
    for node in cluster.nodes:
        status = status_of(node)
        assert status["state"] == "live", status["reasons"]
        assert status["features"]["xdp"] == {"up0": cluster.mode}
        assert [(a["device"], a["mechanism"]) for a in uplink(node)] == [("up0", cluster.mode)]


@pytest.mark.parametrize("family", FAMILIES)
def test_tcp_of_an_established_flow(cluster, family):
    node = cluster.nodes[0]
    before = sent(node)
    s, _ = peers.tcp_open(cluster.client, node.ip[family], WEB)
    with s:
        for _ in range(8):
            peers.echo(s, os.urandom(400000))
    if cluster.mode == "native":
        assert sent(node) - before > 1000


@pytest.mark.parametrize("family", FAMILIES)
def test_traced_in_the_driver(cluster, family):
    """A connection's packets at the driver's program, and what that passes on once more behind it."""
    node = cluster.nodes[0]
    with tracing(node, "--port", WEB, "--protocol", "tcp") as trace:
        before = sent(node)
        s, _ = peers.tcp_open(cluster.client, node.ip[family], WEB)
        with s:
            for _ in range(4):
                peers.echo(s, b"hello driver")
        there = trace.wait(lambda p: p["trace"]["action"] == "sent-back" and
                           p["IP"]["destination"] == cluster.web.ip[family])
        back = trace.wait(lambda p: p["trace"]["action"] == "sent-back" and p["is_reply"])
        if cluster.mode == "native":
            assert sent(node) > before
        lines = trace.lines
    for p in there, back:
        assert (p["trace"]["hook"], p["trace"]["device"], p["trace"]["to_device"]) == \
            ("xdp", "up0", "up0")
    assert there["destination_service"]["name"] == "web"
    assert there["original"] == {"ip": node.ip[family], "port": WEB}
    first = [(p["trace"]["hook"], p["trace"]["action"]) for p in lines
             if p["trace"]["packet"] == lines[0]["trace"]["packet"]]
    assert first == [("xdp", "passed"), ("from-uplink", "redirected")]


@pytest.mark.parametrize("family", FAMILIES)
def test_udp(cluster, family):
    for size in (1, 1200, 8192):
        for _ in range(20):
            assert peers.udp(cluster.client, cluster.nodes[0].ip[family], DNS,
                             data=os.urandom(size)).name == "web"


@pytest.mark.parametrize("family", FAMILIES)
def test_agent_dies_and_comes_back_under_load(cluster, family):
    node = cluster.nodes[0]
    program = uplink(node)[0]["program"]
    s, _ = peers.tcp_open(cluster.client, node.ip[family], WEB)
    with s:
        peers.echo(s, os.urandom(100000))
        node.stop(signal.SIGKILL)
        before = sent(node)
        peers.echo(s, os.urandom(400000))
        if cluster.mode == "native":
            assert sent(node) > before
        node.spawn()
        peers.echo(s, os.urandom(400000))
        node.wait_ready()
        peers.echo(s, os.urandom(400000))
    after = uplink(node)
    assert [a["mechanism"] for a in after] == [cluster.mode]
    assert after[0]["program"] != program


def test_another_backend_is_met_at_once(cluster):
    """What XDP forwards follows the flow table: connections end where their backend is."""
    for family in FAMILIES:
        for _ in range(20):
            assert peers.tcp(cluster.client, cluster.nodes[0].ip[family], WEB).name == "web"


def test_other_modes_on_the_next_start(make_node):
    """A veth is left alone unless told; a mode that is no longer wanted goes; nothing stays."""
    node = make_node()
    assert status_of(node)["features"]["xdp"]["up0"].startswith("off: a virtual device")
    with contextlib.closing(xdp.Pass(node.world, "w0")):
        for mode in ("native", "generic", "native", "off"):
            node.stop()
            node.start("--xdp", mode)
            assert [a["mechanism"] for a in uplink(node)] == [mode] * (mode != "off")
            assert ("xdp" in node.link(node.ns, "up0")) == (mode != "off")
    assert status_of(node)["features"]["xdp"]["up0"] == "off: off in the configuration"


def test_veth_whose_other_end_would_not_wake(make_node):
    """Native XDP there would leave what it sends lying: tc takes it, status says why."""
    node = make_node(options=["--xdp", "native"])

    def is_off():
        node.json("map", "audit")
        status = status_of(node)
        assert not uplink(node) and "xdp" not in node.link(node.ns, "up0")
        assert status["features"]["xdp"]["up0"].startswith("off: the other end of this veth")
        assert status["state"] == "degraded"
        assert ["xdp: native" in r for r in status["reasons"]] == [True]
    is_off()
    with contextlib.closing(xdp.Pass(node.world, "w0")):
        node.json("map", "audit")
        assert [a["mechanism"] for a in uplink(node)] == ["native"]
        assert status_of(node)["state"] == "live"
    is_off()
    with contextlib.closing(xdp.Pass(node.world, "w0", "generic")):
        is_off()


def test_anothers_program_stays(make_node):
    node = make_node()
    with contextlib.closing(xdp.Pass(node.ns, "up0", "generic")):
        before = node.link(node.ns, "up0")["xdp"]
        node.stop()
        node.start("--xdp", "generic")
        assert node.link(node.ns, "up0")["xdp"] == before and not uplink(node)
        assert "another XDP program" in status_of(node)["features"]["xdp"]["up0"]
    node.json("map", "audit")
    assert [a["mechanism"] for a in uplink(node)] == ["generic"]
    assert status_of(node)["state"] == "live"
