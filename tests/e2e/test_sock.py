# SPDX-License-Identifier: Apache-2.0
"""Balancing at the socket: what a process sees of it, whose sockets it is for, and its life."""
import datetime
import errno
import ipaddress
import itertools
import json
import os
import shutil
import socket
import subprocess
import sys

import pytest

import harness
import netns
import peers
from harness import BPFTOOL, FAMILIES, cluster_ips, eventually, service_manifest, slice_manifest

BACKENDS = ("b1", "b2", "b3")
HOOKS = {f"{hook}{family}" for hook in ("connect", "sendmsg", "recvmsg", "getpeername", "post_bind")
         for family in FAMILIES} | {"sock_release"}
numbers = itertools.count(60)
VIP = dict(zip(FAMILIES, cluster_ips(1)))

pytestmark = pytest.mark.skipif(not harness.cgroup2_root(), reason="cgroup2 is not mounted")


def cluster(node, ports=((80, 8080), (53, 5353, "UDP"))):
    node.client = node.pod("client")
    for name in BACKENDS:
        pod = node.pod(name, labels={"app": "web"})
        pod.tcp(8080)
        pod.udp(5353)
    node.apply(service_manifest("web", ports, {"app": "web"}, ips=cluster_ips(1)))
    return node


@pytest.fixture(scope="module")
def node(module_node):
    return cluster(module_node(cgroup=True))


@pytest.fixture(params=["pod", "host"])
def ns(request, node):
    return node.client.ns if request.param == "pod" else node.ns


def features(node):
    return node.json("status")["features"]


def attached(node):
    return {a["hook"]: a for a in node.json("status")["attachments"] if a["mechanism"] == "cgroup"}


def tcp_peer(ns, ip, port, fam=None):
    """(getpeername of a connection, who answered)."""
    with netns.within(ns):
        s = socket.socket(fam or peers.family(ip))
    with s:
        s.settimeout(5 * peers.SLOW)
        s.connect((ip, port))
        return s.getpeername()[:2], s.recv(200).split()[0].decode()


# -------------------------------------------------------------------- what a process sees
def test_status(node):
    assert features(node)["socket_balancing"] is True
    assert set(attached(node)) == HOOKS
    assert all(a["program"] for a in attached(node).values())
    assert node.status() == 0


@pytest.mark.parametrize("family", FAMILIES)
def test_tcp(node, ns, family):
    seen = set()
    for _ in range(100):
        peer, name = tcp_peer(ns, VIP[family], 80)
        assert peer == (VIP[family], 80), "getpeername() tells another address"
        seen.add(name)
    assert seen == set(BACKENDS)


@pytest.mark.parametrize("family", FAMILIES)
def test_no_packet_is_translated(node, family):
    """The connection leaves the pod with a backend's address, so there is nothing to undo."""
    with peers.tcp_open(node.client.ns, VIP[family], 80)[0] as s:
        peers.echo(s, b"x")
        port = s.getsockname()[1]
        flow = next(f for f in node.lines("ct", "list") if f["source_port"] == port)
        assert flow["destination"] in {node.pods[f"default/{b}"].ip[family] for b in BACKENDS}
        assert flow["destination_port"] == 8080 and not flow["nat"]


def source_port(f):
    return next(iter(f["l4"].values())).get("source_port")


@pytest.mark.parametrize("family", FAMILIES)
def test_flows_name_the_service(node, ns, family):
    """The packet has a backend's address; its record names the service, and no other's does."""
    # ports come back: what was there before this test is no answer
    start = (datetime.datetime.now(datetime.timezone.utc) - datetime.timedelta(seconds=0.05)) \
        .strftime("%Y-%m-%dT%H:%M:%S.%f")

    def service_of(port):
        f = node.wait_flow(f"from port {port}", "--port", port,
                           match=lambda f: source_port(f) == port and f["time"] >= start)
        return (f.get("destination_service") or {}).get("name")

    backend = node.pods["default/b1"].ip[family]
    with peers.tcp_open(ns, VIP[family], 80)[0] as s:
        assert service_of(s.getsockname()[1]) == "web"
        open_ = sum(b["connections"] for b in node.service("web")["backends"])
        assert open_ >= 1, "a connection through the socket is not counted"
    for connect in (True, False):
        with peers.udp_socket(ns, VIP[family], 53, connect=connect) as s:
            peers.udp_exchange(s, to=None if connect else (VIP[family], 53))
            assert service_of(s.getsockname()[1]) == "web"
    with peers.tcp_open(ns, backend, 8080)[0] as s:
        assert service_of(s.getsockname()[1]) is None
    with peers.udp_socket(ns, backend, 5353) as s:
        peers.udp_exchange(s)
        assert service_of(s.getsockname()[1]) is None


@pytest.mark.parametrize("family", FAMILIES)
def test_connected_udp(node, ns, family):
    seen = set()
    for _ in range(100):
        with peers.udp_socket(ns, VIP[family], 53) as s:
            assert s.getpeername()[:2] == (VIP[family], 53)
            s.send(b"q")
            answer, source = s.recvfrom(1000)
            assert source[:2] == (VIP[family], 53), "the answer comes from somewhere else"
            seen.add(answer.split()[0].decode())
    assert seen == set(BACKENDS)


@pytest.mark.parametrize("family", FAMILIES)
def test_datagrams_stay_with_their_backend(node, ns, family):
    """One socket, one backend; answers come from the service; other sockets, other backends."""
    seen = set()
    for _ in range(60):
        with peers.udp_socket(ns, VIP[family], 53, connect=False) as s:
            names = {peers.udp_exchange(s, to=(VIP[family], 53)).name for _ in range(5)}
        assert len(names) == 1, f"one socket was sent to {names}"
        seen |= names
    assert seen == set(BACKENDS)


def test_one_socket_many_services(node, ns):
    """Answers of several services on one unconnected socket are told apart, direct ones too."""
    vips = []
    for n, backend in enumerate(BACKENDS):
        ips = cluster_ips(20 + n)
        pod = node.pods[f"default/{backend}"]
        node.apply(service_manifest(f"one-{backend}", [(53, 5353, "UDP", "dns")], ips=ips),
                   *(slice_manifest(f"one-{backend}", f"v{f}", f, [("dns", 5353, "UDP")],
                                    [pod.ip[f]]) for f in FAMILIES))
        vips.append(ips)
    for i, family in enumerate(FAMILIES):
        with peers.udp_socket(ns, vips[0][i], 53, connect=False) as s:
            for _ in range(3):
                for ips, backend in zip(vips, BACKENDS):
                    assert peers.udp_exchange(s, to=(ips[i], 53)).name == backend
        direct = node.pods["default/b1"].ip[family]
        with peers.udp_socket(ns, direct, 5353, connect=False) as s:
            assert peers.udp_exchange(s, to=(direct, 5353)).name == "b1"


def test_mapped_addresses(node, ns):
    """IPv4 through an IPv6 socket, as Java and Go use it."""
    mapped = "::ffff:" + VIP[4]
    peer, name = tcp_peer(ns, mapped, 80, socket.AF_INET6)
    assert name in BACKENDS
    assert ipaddress.ip_address(peer[0]) == ipaddress.ip_address(mapped) and peer[1] == 80
    for connect in (True, False):
        with peers.udp_socket(ns, mapped, 53, connect=connect) as s:
            s.send(b"q") if connect else s.sendto(b"q", (mapped, 53))
            answer, source = s.recvfrom(1000)
            assert answer.split()[0].decode() in BACKENDS
            assert ipaddress.ip_address(source[0]) == ipaddress.ip_address(mapped)
            assert source[1] == 53


def test_a_udp_socket_connected_again(node, ns):
    """From a service to something else, and to a backend itself, which is then what it is."""
    backend = node.pods["default/b1"].ip[4]
    with peers.udp_socket(ns, VIP[4], 53) as s:
        assert peers.udp_exchange(s).name in BACKENDS
        for _ in range(2):
            s.connect((backend, 5353))
            assert s.getpeername() == (backend, 5353)
            s.send(b"q")
            answer, source = s.recvfrom(1000)
            assert source == (backend, 5353) and answer.split()[0] == b"b1"
            s.connect((VIP[4], 53))
            assert s.getpeername() == (VIP[4], 53)


def test_what_is_no_service_is_left_alone(node, ns):
    """A backend by its own address, and another port of a service's address."""
    for family in FAMILIES:
        direct = node.pods["default/b2"].ip[family]
        assert tcp_peer(ns, direct, 8080) == ((direct, 8080), "b2")
        with peers.udp_socket(ns, direct, 5353) as s:
            assert peers.udp_exchange(s).name == "b2" and s.getpeername()[0] == direct
    for family in FAMILIES:
        assert peers.tcp_error(node.client.ns, VIP[family], 8080, 0.95) == "ECONNREFUSED"


@pytest.mark.parametrize("family", FAMILIES)
def test_no_backend(node, ns, family):
    """Refused at once; and as soon as there is one, it works."""
    ips = dict(zip(FAMILIES, cluster_ips(30 + family)))
    m = service_manifest(f"none-{family}", [(80, 8080), (53, 5353, "UDP")], {"app": "nobody"},
                         ips=list(ips.values()))
    node.apply(m)
    ip = ips[family]
    assert peers.tcp_error(ns, ip, 80, 0.95) == "ECONNREFUSED"
    with peers.udp_socket(ns, ip, 53, connect=False) as s:
        if ns == node.ns:  # a pod's is refused by the packet path, which unconnected UDP is not told
            with pytest.raises(OSError) as e:
                s.sendto(b"q", (ip, 53))
            assert e.value.errno in (errno.ECONNREFUSED, errno.EPERM)
        m["spec"]["selector"] = {"app": "web"}
        node.apply(m)
        assert peers.udp_exchange(s, to=(ip, 53)).name in BACKENDS
    assert tcp_peer(ns, ip, 80)[1] in BACKENDS
    node.delete(m)


@pytest.mark.skipif(not shutil.which("dig") or not shutil.which("dnsmasq"),
                    reason="dig and dnsmasq are not installed")
def test_dns(node, ns):
    """dig over UDP and TCP, from a server that answers on a service's address."""
    server = node.pods.get("default/dns") or node.pod("dns", labels={"app": "dns"})
    ips = cluster_ips(40)
    node.apply(service_manifest("dns", [(53, 53, "UDP"), (53, 53, "TCP")], {"app": "dns"}, ips=ips))
    p = node.popen(server.ns, "dnsmasq", "--keep-in-foreground", "--no-resolv", "--no-hosts",
                   "--no-daemon", "--conf-file=/dev/null", "--port=53", "--user=root",
                   "--pid-file=", "--address=/service.test/192.0.2.7",
                   stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        eventually(lambda: peers.tcp_error(server.ns, "127.0.0.1", 53) is None, "dnsmasq listens")
        for ip in ips:
            for how in ("+notcp", "+tcp"):
                out = netns.run(ns, "dig", f"@{ip}", how, "+short", "+time=2", "+tries=2",
                                "name.service.test", "A").stdout
                assert out.strip() == "192.0.2.7", (ip, how, out)
    finally:
        p.kill()
        p.wait()


# -------------------------------------------------------------------- whose sockets
def really_connected_to(ns, s):
    """The peer as the kernel has it, whatever getpeername() says: (address, port) of IPv4 UDP."""
    port = f":{s.getsockname()[1]:04X}"
    line = next(line.split() for line in netns.read_proc_net(ns, "udp").splitlines()
                if line.split()[1].endswith(port))
    address, _, port = line[2].partition(":")
    return socket.inet_ntoa(int(address, 16).to_bytes(4, sys.byteorder)), int(port, 16)


def test_sockets_of_others_are_left_alone(node):
    """The world's sockets are in the same cgroup, but in no namespace of the node's."""
    netns.ip(node.world, f"route replace {VIP[4]}/32 via {harness.NODE[4]}")
    with peers.udp_socket(node.world, VIP[4], 53) as s:
        assert really_connected_to(node.world, s) == (VIP[4], 53)
    with peers.udp_socket(node.client.ns, VIP[4], 53) as s:
        assert really_connected_to(node.client.ns, s) in {
            (node.pods[f"default/{b}"].ip[4], 5353) for b in BACKENDS}


def test_two_nodes(node, make_node):
    """The same service address on two nodes in one cgroup: each has its own backends."""
    other = make_node(cgroup=True)
    client = other.pod("client")
    far = other.pod("far", labels={"app": "web"})
    far.tcp(8080, "far")
    other.apply(service_manifest("web", [(80, 8080)], {"app": "web"}, ips=cluster_ips(1)))
    for _ in range(10):
        for family in FAMILIES:
            assert tcp_peer(client.ns, VIP[family], 80)[1] == "far"
            assert tcp_peer(other.ns, VIP[family], 80)[1] == "far"
            assert tcp_peer(node.client.ns, VIP[family], 80)[1] in BACKENDS


def namespaces(node):
    out = subprocess.run([BPFTOOL, "-j", "map", "dump", "pinned",
                          f"{node.bpffs}/maps/bn_sock_netns"], text=True, capture_output=True,
                         check=True).stdout
    return len(json.loads(out))


def test_namespaces_come_and_go(make_node):
    node = make_node(cgroup=True)
    assert namespaces(node) == 1, "the node's own"
    pods = [node.pod(f"p{i}") for i in range(3)]
    assert namespaces(node) == 4
    node.detach(pods[0])
    assert namespaces(node) == 3
    node.kill()
    netns.ip(None, f"netns del {pods[1].ns}")
    del node.pods[pods[1].key]
    node.start()
    eventually(lambda: namespaces(node) == 2, "the namespace that went meanwhile is forgotten")


# -------------------------------------------------------------------- its life
def test_life_of_the_links(make_node):
    """Killed: it goes on. Started: the same links with new programs. Off: gone. On: back."""
    node = cluster(make_node(cgroup=True))
    links = {f: os.stat(f"{node.bpffs}/links/{f}").st_ino
             for f in os.listdir(f"{node.bpffs}/links") if f.startswith("cgroup-")}
    programs = {h: a["program"] for h, a in attached(node).items()}
    with peers.tcp_open(node.client.ns, VIP[4], 80)[0] as s, \
            peers.udp_socket(node.ns, VIP[6], 53) as u:
        node.kill()
        for _ in range(5):
            assert tcp_peer(node.client.ns, VIP[6], 80)[0] == (VIP[6], 80)
            assert tcp_peer(node.ns, VIP[4], 80)[0] == (VIP[4], 80)
        node.start()
        peers.echo(s, b"still here")
        assert s.getpeername() == (VIP[4], 80), "what the socket was told is forgotten"
        assert peers.udp_exchange(u).name in BACKENDS
    now = attached(node)
    assert set(now) == HOOKS
    assert all(now[h]["program"] != programs[h] for h in HOOKS), "the programs are the old ones"
    assert links == {f: os.stat(f"{node.bpffs}/links/{f}").st_ino for f in links}
    node.stop()
    at = node.options.index("--cgroup") + 1
    cgroup, node.options[at] = node.options[at], "none"
    node.start()
    assert not attached(node) and features(node)["socket_balancing"] is False
    assert node.status() == 0, "switched off is no degradation"
    assert peers.tcp(node.client.ns, VIP[4], 80).name in BACKENDS
    node.stop()
    node.options[at] = cgroup
    node.start()
    assert set(attached(node)) == HOOKS


def test_another_cgroup(make_node, session):
    """A changed --cgroup moves the links."""
    below = os.path.join(session.cgroup, "below")
    os.mkdir(below)
    try:
        node = make_node(cgroup=True)
        node.stop()
        node.options[node.options.index("--cgroup") + 1] = below
        node.start()
        assert {a["cgroup"] for a in attached(node).values()} == {below}
        out = subprocess.run([BPFTOOL, "-j", "cgroup", "show", below], text=True,
                             capture_output=True, check=True).stdout
        assert len(json.loads(out)) == len(HOOKS)
        node.stop()
        assert node.uninstall() == 0
    finally:
        eventually(lambda: not os.rmdir(below), "the cgroup is free")


def test_foreign_program_that_admits_no_other(make_node, session, node):
    """Reported with the reason, no degradation, and the packet path balances."""
    above = os.path.join(session.cgroup, "..", f"bpfnet-{session.id}-foreign")
    below = os.path.join(above, "below")
    os.makedirs(below)
    program = str(attached(node)["connect4"]["program"])
    subprocess.run([BPFTOOL, "cgroup", "attach", above, "connect4", "id", program], check=True)
    try:
        other = make_node(start=False)
        other.options[other.options.index("--cgroup") + 1] = below
        other.start()
        f = features(other)
        assert f["socket_balancing"] is False
        assert "connect4" in f["socket_balancing_reason"], f
        assert below in f["socket_balancing_reason"], f
        assert not attached(other), "half of the hooks are worse than none"
        assert other.status() == 0
        client, backend = other.pod("client"), other.pod("b", labels={"app": "web"})
        backend.tcp(8080)
        other.apply(service_manifest("web", [(80, 8080)], {"app": "web"}, ips=cluster_ips(1)))
        assert peers.tcp(client.ns, VIP[4], 80).name == "b"
        subprocess.run([BPFTOOL, "cgroup", "detach", above, "connect4", "id", program], check=True)
        other.stop()
        other.start()
        assert features(other)["socket_balancing"] is True
        other.stop()
        other.uninstall()
    finally:
        eventually(lambda: not os.rmdir(below), "the cgroup is free")
        os.rmdir(above)


def test_links_that_somebody_detached_come_back(make_node):
    node = make_node(cgroup=True)
    for hook in ("connect4", "recvmsg6"):
        subprocess.run([BPFTOOL, "link", "detach", "pinned", f"{node.bpffs}/links/cgroup-{hook}"],
                       check=True)
    report = {r["name"]: r for r in node.json("map", "audit")}["programs"]
    assert (report["missing"], report["failed"]) == (2, 0)
    assert set(attached(node)) == HOOKS
    report = {r["name"]: r for r in node.json("map", "audit")}["programs"]
    assert report["missing"] == 0


# -------------------------------------------------------------------- node ports
def need_kind(node, service, kind):
    if kind not in {f["kind"] for f in node.service(service)["frontends"]}:
        pytest.skip(f"the agent does not hand {kind} frontends to the datapath yet")


@pytest.fixture(scope="module")
def node_ports(node):
    """A NodePort service: {TCP: port, UDP: port}."""
    ports = {"TCP": 31080, "UDP": 31053}
    m = service_manifest("np", [(80, 8080), (53, 5353, "UDP")], {"app": "web"},
                         ips=cluster_ips(50), type="NodePort")
    for p in m["spec"]["ports"]:
        p["nodePort"] = ports[p["protocol"]]
    node.apply(m)
    need_kind(node, "np", "NodePort")
    return ports


LOOPBACK = {4: "127.0.0.1", 6: "::1"}


@pytest.mark.parametrize("family", FAMILIES)
def test_node_port_at_the_nodes_address(node, ns, node_ports, family):
    ip = harness.NODE[family]
    assert tcp_peer(ns, ip, node_ports["TCP"])[0] == (ip, node_ports["TCP"])
    seen = {tcp_peer(ns, ip, node_ports["TCP"])[1] for _ in range(60)}
    assert seen == set(BACKENDS)
    for connect in (True, False):
        assert peers.udp(ns, ip, node_ports["UDP"], connect=connect).name in BACKENDS


@pytest.mark.parametrize("family", FAMILIES)
def test_node_port_at_the_loopback(node, node_ports, family):
    """The node's own; a pod's loopback is the pod's."""
    for ip in (LOOPBACK[family], {4: "127.9.9.9", 6: "::1"}[family]):
        peer, name = tcp_peer(node.ns, ip, node_ports["TCP"])
        assert name in BACKENDS and peer == (ip, node_ports["TCP"])
    for connect in (True, False):
        assert peers.udp(node.ns, LOOPBACK[family], node_ports["UDP"], connect=connect).name \
            in BACKENDS
    assert peers.tcp_error(node.client.ns, LOOPBACK[family], node_ports["TCP"]) == "ECONNREFUSED"
    with netns.within(node.client.ns):
        own = socket.create_server((LOOPBACK[family], node_ports["TCP"]),
                                   family=peers.family(LOOPBACK[family]))
    with own, netns.within(node.client.ns):
        with socket.create_connection((LOOPBACK[family], node_ports["TCP"]), timeout=5) as s:
            conn, peer = own.accept()
            conn.close()
            assert peer[1] == s.getsockname()[1], "somebody else was at the pod's loopback"


def bind(ns, address, port, kind=socket.SOCK_STREAM):
    with netns.within(ns):
        s = socket.socket(peers.family(address), kind)
    with s:
        try:
            s.bind((address, port))
        except OSError as e:
            return errno.errorcode[e.errno]
    return None


def test_node_ports_cannot_be_bound(node, node_ports):
    """In the node's namespace only, in the same protocol only, and no longer than it is taken."""
    refused = ("EADDRINUSE", "EPERM")
    tcp, udp = node_ports["TCP"], node_ports["UDP"]
    for address in ("0.0.0.0", "::", harness.NODE[4], harness.NODE[6], "127.0.0.1", "::1"):
        assert bind(node.ns, address, tcp) in refused, address
        assert bind(node.ns, address, udp, socket.SOCK_DGRAM) in refused, address
        assert bind(node.ns, address, tcp, socket.SOCK_DGRAM) is None
        assert bind(node.ns, address, tcp + 1) is None
        assert bind(node.ns, address, 0) is None
    pod = node.pods["default/b1"]
    for address in ("0.0.0.0", "::", pod.ip[4]):
        assert bind(pod.ns, address, tcp) is None, "a pod's port is its own"
    assert bind(node.world, "0.0.0.0", tcp) is None
    m = service_manifest("short", [(80, 8080)], {"app": "web"}, ips=cluster_ips(51),
                         type="NodePort")
    m["spec"]["ports"][0]["nodePort"] = 31099
    node.apply(m)
    assert bind(node.ns, "0.0.0.0", 31099) in refused
    node.delete(m)
    assert bind(node.ns, "0.0.0.0", 31099) is None


def test_host_port(node, ns):
    """A pod's port published on the node, on all addresses and on the loopback alone."""
    pod = node.pods.get("default/published")
    if not pod:
        pod = node.pod("published")
        pod.tcp(8080)
    m = harness.pod_manifest(pod, {"app": "published"})
    m["spec"]["containers"][0]["ports"] = [
        {"name": "all", "containerPort": 8080, "hostPort": 8088, "protocol": "TCP"},
        {"name": "lo", "containerPort": 8080, "hostPort": 8089, "protocol": "TCP",
         "hostIP": "127.0.0.1"}]
    node.apply(m)
    if not node.service("pod/published"):
        pytest.skip("the agent does not hand HostPort frontends to the datapath yet")
    for family in FAMILIES:
        assert tcp_peer(ns, harness.NODE[family], 8088)[1] == "published"
    assert peers.tcp_error(ns, harness.NODE[4], 8089, 0.95) == "ECONNREFUSED"
    if ns == node.ns:
        for family in FAMILIES:
            assert tcp_peer(ns, LOOPBACK[family], 8088)[1] == "published"
        assert tcp_peer(ns, "127.0.0.1", 8089)[1] == "published"
        assert bind(ns, "127.0.0.1", 8089) in ("EADDRINUSE", "EPERM")
        assert bind(ns, harness.NODE[4], 8089) is None


# -------------------------------------------------------------------- backends that go
@pytest.mark.parametrize("mapped", [False, True], ids=["plain", "mapped"])
@pytest.mark.parametrize("family", FAMILIES)
def test_connected_udp_is_told_when_its_backend_goes(node, ns, family, mapped):
    """Its next calls fail; connected again it has the other backend. Nobody else is disturbed."""
    if mapped and family == 6:
        pytest.skip("only IPv4 is mapped")
    n = next(numbers)
    name, vip = f"leaves{n}", dict(zip(FAMILIES, cluster_ips(n)))[family]
    b1, b2 = (node.pods[f"default/{b}"].ip[family] for b in BACKENDS[:2])
    ports = [("dns", 5353, "UDP")]
    node.apply(service_manifest(name, [(53, 5353, "UDP", "dns")], ips=[vip], families=(family,)),
               slice_manifest(name, "a", family, ports, [b1]))
    vip = "::ffff:" + vip if mapped else vip
    with peers.udp_socket(ns, vip, 53) as s, peers.udp_socket(ns, b1, 5353) as direct, \
            peers.udp_socket(ns, VIP[family], 53) as other:
        assert peers.udp_exchange(s).name == "b1"
        assert peers.udp_exchange(direct).name == "b1" and peers.udp_exchange(other)
        node.apply(slice_manifest(name, "a", family, ports, [b2]))
        peers.assert_told(s)
        s.connect((vip, 53))
        assert peers.udp_exchange(s).name == "b2"
        assert peers.udp_exchange(direct).name == "b1", "the backend itself still answers"
        assert peers.udp_exchange(other).name in BACKENDS
    assert "not told" not in node.log()


def test_connected_udp_is_told_when_no_agent_ran(make_node):
    """The backend goes while the agent is dead: its successor tells the socket."""
    node = cluster(make_node(cgroup=True))
    n = next(numbers)
    b1, b2 = (node.pods[f"default/{b}"].ip[4] for b in BACKENDS[:2])
    ports, folder = [("dns", 5353, "UDP")], os.path.join(node.dir, "manifests")
    os.makedirs(folder)
    node.stop()
    node.options += ["--manifests", folder]

    def write(backend):
        with open(folder + "/slice.yaml", "w") as f:
            f.write(node.documents([
                service_manifest("w", [(53, 5353, "UDP", "dns")], ips=[cluster_ips(n)[0]],
                                 families=(4,)), slice_manifest("w", "a", 4, ports, [backend])]))
    write(b1)
    node.start()
    with peers.udp_socket(node.client.ns, cluster_ips(n)[0], 53) as s:
        assert peers.udp_exchange(s).name == "b1"
        node.kill()
        write(b2)
        node.start()
        peers.assert_told(s)
