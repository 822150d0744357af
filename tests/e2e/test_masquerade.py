# SPDX-License-Identifier: Apache-2.0
"""Masquerade at the end of its range of ports: a hundred of them, real sockets, one destination."""
import contextlib
import errno
import re
import socket

import pytest

import peers
from harness import FAMILIES, NODE, WORLD, eventually

FIRST, PORTS = 62000, 100


@pytest.fixture(scope="module")
def node(module_node, tmp_path_factory):
    config = tmp_path_factory.mktemp("masquerade") / "bpfnetd.yaml"
    config.write_text(f"nat: {{ports: {FIRST}-{FIRST + PORTS - 1}}}\n")
    n = module_node(options=["--config", str(config)])
    n.serve(n.peers.tcp(n.world, "world", 8080), n.peers.tcp(n.world, "again", 8081))
    n.serve(*n.peers.udp(n.world, "world", 5353), *n.peers.udp(n.world, "again", 5354))
    n.clients = [n.pod("a"), n.pod("b")]
    return n


def dropped(node):
    """Packets for want of a port, as the metric counts them."""
    return sum(map(int, re.findall(
        r'^bpfnet_drop_packets_total\{reason="nat-ports-exhausted",direction="egress"\} (\d+)$',
        node.bpfnet("metrics").stdout, re.M)))


def taken(banners):
    ports = [b.client_port for b in banners]
    assert len(set(ports)) == len(ports), "two flows share a port towards one destination"
    assert all(FIRST <= p < FIRST + PORTS for p in ports)
    return set(ports)


@pytest.mark.parametrize("family", FAMILIES)
def test_tcp(node, family):
    """95 % of the range all work; with all of it taken the next is refused by name and counted."""
    with contextlib.ExitStack() as stack:
        banners, before = [], dropped(node)

        def another(port=8080):
            pod = node.clients[len(banners) % 2]
            s, banner = peers.tcp_open(pod.ns, WORLD[family], port, timeout=2)
            stack.enter_context(s)
            assert banner.client == NODE[family]
            return s, banner
        sockets = []
        for _ in range(PORTS * 95 // 100):
            s, banner = another()
            sockets.append(s)
            banners.append(banner)
        taken(banners)
        assert dropped(node) == before
        while len(banners) < PORTS:
            s, banner = another()
            sockets.append(s)
            banners.append(banner)
        assert len(taken(banners)) == PORTS
        before = dropped(node)
        assert peers.tcp_error(node.clients[0].ns, WORLD[family], 8080, timeout=1) == "timeout"
        assert dropped(node) > before
        node.wait_drop("nat-ports-exhausted", "--to-port", 8080)
        # the same ports serve another destination; and all that is open works
        assert another(8081)[1].name == "again"
        for s in sockets:
            peers.echo(s, b"unharmed")
        # a connection that ends gives its port back, when the flow's last lifetime is over
        sockets[0].close()
        assert eventually(another, "a port that is free again", timeout=30)[1].name == "world"


@pytest.mark.parametrize("family", FAMILIES)
def test_udp(node, family):
    with contextlib.ExitStack() as stack:
        sockets = []

        def another(port=5353):
            pod = node.clients[len(sockets) % 2]
            s = stack.enter_context(peers.udp_socket(pod.ns, WORLD[family], port, timeout=1))
            return s, peers.udp_exchange(s)
        banners = []
        before = dropped(node)
        for n in range(PORTS):
            s, banner = another()
            assert banner.client == NODE[family]
            sockets.append(s)
            banners.append(banner)
            assert n >= PORTS * 95 // 100 or dropped(node) == before
        assert len(taken(banners)) == PORTS
        before = dropped(node)
        with pytest.raises(OSError) as e:
            another()
        assert isinstance(e.value, socket.timeout) or e.value.errno == errno.EPERM
        assert dropped(node) > before
        assert another(5354)[1].name == "again"
        for s, banner in zip(sockets, banners):
            assert peers.udp_exchange(s).client_port == banner.client_port
