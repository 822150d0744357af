# SPDX-License-Identifier: Apache-2.0
"""A few large tests of everything that must work on every kernel: what the virtual machines run.

Process start-up dominates there, so this stays with few nodes, few commands and no scapy.
"""
import os
import socket
import subprocess
import threading

import pytest

import netns
import peers
from harness import FAMILIES, NODE, SLOW, WORLD, cluster_ips, eventually, service_manifest

VIP = dict(zip(FAMILIES, cluster_ips(1)))
EMPTY = dict(zip(FAMILIES, cluster_ips(2)))


def build(node):
    """Two backends, of which one is also the client of its own service."""
    for name in ("b1", "b2"):
        pod = node.pod(name, labels={"app": "web"}, ports=[("http", 8080, "TCP")])
        pod.tcp(8080)
        pod.udp(5353)
        pod.sctp(3868)
    node.client = node.pod("client")
    node.serve(node.peers.tcp(node.ns, "host", 8080), node.peers.tcp(node.world, "world", 8080))
    node.apply(
        service_manifest("web", [(80, "http"), (53, 5353, "UDP"), (3000, 3868, "SCTP")],
                         {"app": "web"}, ips=cluster_ips(1)),
        service_manifest("empty", [(80, 8080), (53, 53, "UDP")], {"app": "none"}, ips=cluster_ips(2)))
    return node


def test_traffic(make_node):
    node = build(make_node())
    client = node.client.ns
    for family in FAMILIES:
        vip = VIP[family]
        # every backend answers, by TCP, UDP, SCTP
        for ask in (lambda: peers.tcp(client, vip, 80).name, lambda: peers.udp(client, vip, 53).name,
                    lambda: peers.sctp(client, vip, 3000)[0]):
            seen = set()
            eventually(lambda: seen.add(ask()) or seen == {"b1", "b2"}, f"both backends of {vip}",
                       every=0)
        # large: segments and fragments
        s, banner = peers.tcp_open(client, vip, 80)
        with s:
            assert banner.client == node.client.ip[family]
            peers.echo(s, os.urandom(200000))
        assert peers.udp(client, vip, 53, data=bytes(8192))
        # hairpin, the host, the world, and back
        b1 = node.pods["default/b1"]
        assert {peers.tcp(b1.ns, vip, 80).name for _ in range(30)} == {"b1", "b2"}
        assert peers.tcp(node.ns, b1.ip[family], 8080).name == "b1"
        assert peers.tcp(client, NODE[family], 8080).name == "host"
        assert peers.tcp(client, WORLD[family], 8080).client == NODE[family], "masquerade"
        assert peers.tcp(node.world, b1.ip[family], 8080).client == WORLD[family]
        # refusals
        assert peers.tcp_error(client, EMPTY[family], 80) == "ECONNREFUSED"
        assert peers.tcp_error(client, vip, 81) == "ECONNREFUSED"
        assert peers.udp_error(client, EMPTY[family], 53) in ("ECONNREFUSED", "EHOSTUNREACH")
        assert peers.udp_error(client, b1.ip[family], 9) == "ECONNREFUSED"
        netns.run(client, "ping", "-n", "-c", "1", "-W", "10", b1.ip[family])
    node.wait_flow("a flow to b1", "--pod", "default/b1", match=lambda f: f["verdict"] == "FORWARDED")
    node.wait_drop("service-no-backend")


def test_restart_and_uninstall(make_node):
    node = build(make_node(cgroup=True))
    client = node.client.ns
    conns = [peers.tcp_open(client, VIP[f], 80)[0] for f in FAMILIES]

    def all_work():
        for family, s in zip(FAMILIES, conns):
            peers.echo(s, b"still")
            assert peers.tcp(client, VIP[family], 80)
            assert peers.udp(client, VIP[family], 53)
    all_work()
    node.kill()
    all_work()
    node.start()
    assert node.status() == 0
    all_work()
    assert node.stop() == 0
    all_work()
    for s in conns:
        s.close()
    node.start()
    node.uninstall()
    assert not os.path.exists(node.bpffs)
    assert node.link_names() == {"lo", "up0"}
    node.agent.wait()


def sctp_socket(ns, address, port=0):
    """Bound, so that an association is between two addresses and INIT says no others."""
    with netns.within(ns):
        s = socket.socket(peers.family(address), socket.SOCK_STREAM, socket.IPPROTO_SCTP)
    s.settimeout(10 * SLOW)
    s.bind((address, port))
    return s


def sctp_echo(listening, seen):
    s, client = listening.accept()
    seen.append(client[0])
    with s:
        while data := s.recv(65536):
            s.sendall(data)


def test_sctp_sockets(make_node):
    """The kernel's own SCTP through a service: what raw packets can't show is that it likes what it gets."""
    subprocess.run(["modprobe", "-q", "sctp"], check=False)
    try:
        socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_SCTP).close()
    except OSError as e:
        pytest.skip(f"this kernel has no SCTP sockets: {e}")
    node = make_node()
    client, server = node.pod("client"), node.pod("server", labels={"app": "server"})
    node.apply(service_manifest("sig", [(3000, 3868, "SCTP")], {"app": "server"}, ips=cluster_ips(1)))
    for family in FAMILIES:
        seen = []
        with sctp_socket(server.ns, server.ip[family], 3868) as listening, \
                sctp_socket(client.ns, client.ip[family]) as s:
            listening.listen(5)
            thread = threading.Thread(target=sctp_echo, args=(listening, seen))
            thread.start()
            s.connect((VIP[family], 3000))
            for size in (1, 100, 1400, 20000):
                data, got = os.urandom(size), b""
                s.sendall(data)
                while len(got) < size:
                    got += s.recv(65536)
                assert got == data
            s.close()
            thread.join()
        assert seen == [client.ip[family]]
    node.wait_flow("named after the service", "--service", "default/sig", "--protocol", "sctp")
    for ns in (client.ns, server.ns):
        counters = dict(line.split() for line in netns.run(ns, "cat", "/proc/net/sctp/snmp").stdout.splitlines())
        assert counters["SctpChecksumErrors"] == "0"
